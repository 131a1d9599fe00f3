"""Nodes under test, in this process, registered with the run's own epmd."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from erlang_bridge import Node
from tests.servers import Counter, Crasher, Idle

NodeFactory = Callable[..., Node]

ENGINES = {"counter": Counter, "crasher": Crasher, "idle": Idle}


@pytest.fixture
def node_factory(epmd_port: int, beam_cookie: str) -> Iterator[NodeFactory]:
    """Starts nodes; they stop with the test."""
    started: list[Node] = []

    def start(name: str | None = None, **options: Any) -> Node:
        options.setdefault("cookie", beam_cookie)
        options.setdefault("epmd_port_number", epmd_port)
        options.setdefault("engines", ENGINES)
        node = Node(name or f"py_{secrets.token_hex(4)}@127.0.0.1", **options)
        started.append(node)
        return node

    yield start
    for node in started:
        node.stop()


@pytest.fixture
def node(node_factory: NodeFactory) -> Node:
    """A visible node."""
    return node_factory()
