"""The processes of a node without a network, and the test itself as one of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from erlang_bridge.process import GuestProcess, ProcessTable
from erlang_bridge.terms import Atom


@pytest.fixture
def table() -> Iterator[ProcessTable]:
    """The processes of a node that nobody can reach."""
    table = ProcessTable(Atom("alone@memory"), 7, lambda node, control, payload, connect: False)
    yield table
    table.close(Atom("shutdown"))


@pytest.fixture
def me(table: ProcessTable) -> GuestProcess:
    """The test itself, as a process."""
    return table.add_guest()
