"""Nodes without a network, and modules to be edited, for the tests of code loading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from erlang_bridge import Node
from tests.code_projects import Project


@pytest.fixture
def lone_node() -> Iterator[Node]:
    """A node that nobody can reach."""
    with Node("code@127.0.0.1", cookie="c", listen=False) as node:
        yield node


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A package to write modules into."""
    project = Project(tmp_path)
    yield project
    project.close()
