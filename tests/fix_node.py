"""Nodes under test, in this process, with the engines that tests start."""

from __future__ import annotations

from typing import Any

import pytest

from erlang_bridge import Node
from erlang_bridge.testing.plugin import NodeFactory
from tests.servers import Counter, Crasher, Idle

ENGINES = {"counter": Counter, "crasher": Crasher, "idle": Idle}


@pytest.fixture
def node_factory(node_factory: NodeFactory) -> NodeFactory:
    """Starts nodes that know `ENGINES`."""

    def start(name: str | None = None, **options: Any) -> Node:
        return node_factory(name, **{"engines": ENGINES, **options})

    return start


@pytest.fixture
def node(node_factory: NodeFactory) -> Node:
    """A visible node."""
    return node_factory()
