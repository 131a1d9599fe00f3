"""``pyanoma_sup``: children of a stock supervisor that wait for a Python node, and the child that is one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, GenServer, Ignore, ModuleNotPushed, NoConnection, Node, NoProcess, Pid, Reply
from erlang_bridge.errors import ErlangError, ErlangExit
from erlang_bridge.kernel.push import push, pyanoma_sup_source
from erlang_bridge.otp import gen
from erlang_bridge.testing import INIT_ANSWER, Beam, BeamRelease, BeamFailure, compile_erlang as compile_with
from tests.fix_node import ENGINES, NodeFactory
from tests.python_nodes import ROOT, PythonNode
from tests.servers import Counter
from tests.waiting import until

OK = Atom("ok")
ERROR = Atom("error")
UNDEFINED = Atom("undefined")
NODEDOWN = Atom("nodedown")

PythonNodes = Callable[..., PythonNode]


class Witness(GenServer):
    """Says who called it, and what else it was sent."""

    def init(self, args: Any) -> list[Any]:
        return []

    def handle_call(self, request: Any, caller: Any, state: list[Any]) -> Any:
        match request:
            case Atom("who"):
                return Reply(caller.pid if hasattr(caller, "pid") else caller[0], state)
            case Atom("heard"):
                return Reply(state, state)
            case Atom("never"):
                return None

    def handle_cast(self, message: Any, state: list[Any]) -> Any:
        return self._heard((Atom("cast"), message), state)

    def handle_info(self, message: Any, state: list[Any]) -> Any:
        return self._heard((Atom("info"), message), state)

    def _heard(self, message: Any, state: list[Any]) -> Any:
        from erlang_bridge import NoReply

        return NoReply([*state, message])
