"""The process that runs what is typed: one for each shell, as in OTP, so that an end of it does not end the shell.

Its mailbox is the user's: what others send to ``self()`` comes here.
"""

from __future__ import annotations

import builtins
import sys
from types import CodeType
from typing import Any, Final

import greenlet

from erlang_bridge.errors import BridgeError, ProcessExit
from erlang_bridge.kernel import io as device
from erlang_bridge.process import BodyProcess, Process
from erlang_bridge.shell import display
from erlang_bridge.shell.preemption import user_code
from erlang_bridge.shell.statements import SHOW
from erlang_bridge.shell.streams import LOCAL, Terminal, redirection
from erlang_bridge.terms import Pid
from erlang_bridge.terms.text import pid_text

RUN: Final = object()
"""First element of a message to the evaluator, with the code to run. No other node, and no user, can send it."""
DONE: Final = object()
"""First element of the answer, with an `Outcome`."""


class Outcome:
    """How code ended: ``done``, ``failed`` (its error has been shown), or ``exit``, with the code of SystemExit."""

    __slots__ = ("code", "kind")

    def __init__(self, kind: str, code: Any = None) -> None:
        self.kind = kind
        self.code = code


class Context:
    """Where code of one shell runs: its names, its terminal. Kept when an evaluator ends and the next one starts.

    Attributes:
        namespace: the globals of what is typed.
        builtins: what is found after these: Python's own, the helpers, and ``_``.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.builtins: dict[str, Any] = dict(vars(builtins))
        self.builtins[SHOW] = self.show
        self.namespace: dict[str, Any] = {"__name__": "__console__", "__doc__": None, "__builtins__": self.builtins}

    def show(self, value: Any) -> None:
        """Write a value, as ``sys.displayhook`` does, and keep it as ``_``."""
        if value is None:
            return
        self.builtins["_"] = None
        self.terminal.write(display.value_text(value, self.terminal.table.node_name, self.width()) + "\n")
        self.builtins["_"] = value

    def width(self) -> int:
        """Columns of the terminal; 80 where it has none."""
        process = self.terminal.table.current()
        if process is None:
            return 80
        try:
            return device.columns(process, self.terminal.leader)
        except BridgeError:
            return 80

    def run(self, process: Process, code: CodeType) -> Outcome:
        """Run code as `process`, the running one, and show the error that it raises."""
        redirection.install()
        try:
            with user_code(process, sys._getframe()):
                exec(code, self.namespace)  # noqa: S102  # what this is for
                self.terminal.flush()
        except ProcessExit:
            raise
        except SystemExit as error:
            return Outcome("exit", error.code)
        except BaseException as error:  # noqa: BLE001  # it is shown
            self._show_error(process, error)
            return Outcome("failed")
        return Outcome("done")

    def _show_error(self, process: Process, error: BaseException) -> None:
        try:
            # Classes of the user have a part in it.
            with user_code(process, sys._getframe()):
                text = display.error_text(error)
        except ProcessExit:
            raise
        except BaseException:  # noqa: BLE001  # of a class of the user
            text = f"{type(error).__name__}: its text cannot be shown\n"
        self.terminal.write(text)
        self.terminal.flush()


def start_evaluator(context: Context, server: Process) -> BodyProcess:
    """Start the evaluator of a shell, linked with `server`."""
    table = server.table

    def body() -> None:
        worker: Any = greenlet.getcurrent()
        # Workers are used again by other processes.
        worker.spawn_tree_locals = {LOCAL: context.terminal}
        try:
            _serve(context, process, server.pid)
        finally:
            del worker.spawn_tree_locals
            redirection.forget(process)

    process = table.add_body(body, parent=server.pid, group_leader=context.terminal.leader)
    process.initial_call = (__name__, "evaluator", 1)
    process.label = f"runs what is typed in the shell {pid_text(server.pid, table.node_name)}"
    table.link(server, process.pid)
    context.terminal.writer = process
    redirection.assign(process, context.terminal)
    return process


def _serve(context: Context, process: BodyProcess, server: Pid) -> None:
    while True:
        _, code = process.receive(_is_code)
        outcome = context.run(process, code)
        process.check_alive()
        process.table.send(process, server, (DONE, process.pid, outcome))


def _is_code(message: Any) -> bool:
    return type(message) is tuple and len(message) == 2 and message[0] is RUN
