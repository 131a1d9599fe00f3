"""Fixtures of the tests that run the command line, and of those that ask the Python node by rpc."""

from __future__ import annotations

from typing import Any

import pytest

from erlang_bridge import Atom, Node
from erlang_bridge.testing.beams import Beam
from tests.command_line import environment, pyanoma, python, start

__all__ = ["ask", "environment", "pyanoma", "python", "start"]


@pytest.fixture
def ask(shared_beam: Beam, node: Node) -> Any:
    """``ask(module, function, *arguments)`` is ``erpc:call`` from a BEAM."""

    def call(module: str, function: str, *arguments: Any) -> Any:
        return shared_beam.eval(
            "erpc:call(N, M, F, A)", N=node.name, M=Atom(module), F=Atom(function), A=list(arguments)
        )

    return call
