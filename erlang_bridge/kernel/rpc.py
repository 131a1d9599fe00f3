"""Calls from here into other nodes: ``erpc:call`` and its kin, ``spawn``.

Source: OTP ``lib/kernel/src/erpc.erl``.
"""

from __future__ import annotations

from typing import Any, Final

from erlang_bridge.errors import CallTimeout, ErlangError, ErlangExit, ErlangThrow, EtfEncodeError, NoConnection
from erlang_bridge.otp.gen import TIMEOUT
from erlang_bridge.process import PENDING, Process, Waiter
from erlang_bridge.process.exit_rules import NOCONNECTION
from erlang_bridge.terms import Atom, Pid, Reference

ERPC: Final = Atom("erpc")
EXECUTE_CALL: Final = Atom("execute_call")
EXECUTE_CAST: Final = Atom("execute_cast")
MONITOR: Final = Atom("monitor")
LINK: Final = Atom("link")


class _Execution(Waiter):
    """One remote execution: waits for the spawn reply, then for the exit reason that carries the result."""

    __slots__ = ("process", "reference", "result_tag")

    def __init__(self, process: Process) -> None:
        super().__init__(process.table.scheduler)
        self.process = process
        self.result_tag = process.table.make_reference()
        self.reference: Reference | None = None

    def on_spawn_reply(self, result: Any, flags: int) -> None:
        if type(result) is not Pid:
            self.set(("refused", result))
        elif self.reference is None:
            # Given up before the reply came: nobody is interested in the outcome.
            return
        else:
            table = self.process.table
            table.add_remote_monitor(self.process, result, self.reference, self)

    def on_down(self, reason: Any) -> None:
        self.set(("down", reason))

    def abandon(self) -> None:
        table = self.process.table
        reference, self.reference = self.reference, None
        if reference is None:
            return
        if not table.demonitor(reference, self.process):
            table.abandon_spawn(reference, self.process)


def call(
    process: Process, node: Atom, module: str, function: str, arguments: list[Any], timeout_s: float | None = 5.0
) -> Any:
    """Run ``module:function(*arguments)`` on `node` and return its value.

    Raises:
        ErlangError, ErlangThrow, ErlangExit: what the function raised there (``undef`` is an `ErlangError`).
        NoConnection: the node is down. CallTimeout: no result in time; the function may go on running.
        EtfEncodeError: an argument has no term; nothing was sent.
    """
    process.check_alive()
    description = f"erpc:call({node}, {module}:{function}/{len(arguments)})"
    execution = _Execution(process)
    table = process.table
    mfa = (ERPC, EXECUTE_CALL, [execution.result_tag, Atom(module), Atom(function), list(arguments)])
    execution.reference = table.make_reference()
    try:
        table.spawn_request(process, node, mfa, [MONITOR], execution.on_spawn_reply, reference=execution.reference)
    except EtfEncodeError as error:
        raise error.within("[3]") from None
    try:
        execution.wait(timeout_s)
    finally:
        execution.abandon()
    outcome = execution.result
    if outcome is PENDING:
        raise CallTimeout(TIMEOUT, description)
    kind, reason = outcome
    if reason is NOCONNECTION:
        raise NoConnection(NOCONNECTION, description).because(table.connect_failures.get(node))
    if kind == "refused":
        raise ErlangError((ERPC, reason))
    return _unwrap(execution.result_tag, reason, description)


def _unwrap(tag: Reference, reason: Any, description: str) -> Any:
    if type(reason) is tuple and len(reason) in (3, 4) and reason[0] == tag:
        match reason[1:]:
            case (Atom("return"), value):
                return value
            case (Atom("throw"), thrown):
                raise ErlangThrow(thrown)
            case (Atom("exit"), exited):
                raise ErlangExit(exited, description)
            case (Atom("error"), error, list(trace)):
                raise ErlangError(error, trace)
            case (Atom("error"), error):
                raise ErlangError(error)
    # The remote process was ended by a signal before it had a result.
    raise ErlangExit((Atom("signal"), reason), description)


def cast(process: Process, node: Atom, module: str, function: str, arguments: list[Any]) -> None:
    """Run a function on `node` without waiting and without a result."""
    mfa = (ERPC, EXECUTE_CAST, [Atom(module), Atom(function), list(arguments)])
    process.table.spawn_request(process, node, mfa, [], lambda result, flags: None)


def spawn(
    process: Process,
    node: Atom,
    module: str,
    function: str,
    arguments: list[Any],
    *,
    link: bool = False,
    monitor: bool = False,
    timeout_s: float | None = 5.0,
) -> tuple[Pid, Reference | None]:
    """Start a process on `node` that runs ``module:function(*arguments)``.

    Returns:
        Its pid, and the reference of the monitor where one was asked for.

    Raises:
        NoConnection, CallTimeout; ErlangError: the node refused, with its reason (``notsup``, ``badopt``,
        ``system_limit``).
    """
    process.check_alive()
    table = process.table
    waiter = Waiter(table.scheduler)
    reference = table.make_reference()

    def answer(result: Any, flags: int) -> None:
        if type(result) is Pid:
            if flags & 1:
                table.add_remote_link(process, result)
            if flags & 2:
                table.add_remote_monitor(process, result, reference, None)
        waiter.set(result)

    options = ([LINK] if link else []) + ([MONITOR] if monitor else [])
    mfa = (Atom(module), Atom(function), list(arguments))
    table.spawn_request(process, node, mfa, options, answer, reference=reference)
    try:
        result = waiter.wait(timeout_s)
    finally:
        # Nothing to abandon where the reply has come.
        table.abandon_spawn(reference, process)
    description = f"spawn({node}, {module}:{function}/{len(arguments)})"
    if result is PENDING:
        raise CallTimeout(TIMEOUT, description)
    if type(result) is not Pid:
        if result is NOCONNECTION:
            raise NoConnection(NOCONNECTION, description).because(table.connect_failures.get(node))
        raise ErlangError(result)
    return result, reference if monitor else None
