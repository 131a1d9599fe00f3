"""Processes that other nodes start here: SPAWN_REQUEST, and with it ``rpc`` and ``erpc``.

Since OTP 23 ``rpc:call`` and ``erpc:call`` are spawn requests of ``erpc:execute_call/4``; the result is the exit
reason of the process.

Source: ERTS, "Distribution Protocol", SPAWN_REQUEST; OTP ``lib/kernel/src/erpc.erl``.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from erlang_bridge.errors import EtfEncodeError, ProcessExit
from erlang_bridge.etf import NO_PAYLOAD
from erlang_bridge.etf import opcodes as op
from erlang_bridge.kernel.callables import Callables, RemoteCall
from erlang_bridge.otp import reports
from erlang_bridge.process import BodyProcess, ProcessTable
from erlang_bridge.process.exit_rules import is_quiet
from erlang_bridge.terms import Atom, Pid, Reference

log = logging.getLogger("erlang_bridge.kernel")

LINK: Final = Atom("link")
MONITOR: Final = Atom("monitor")
BADOPT: Final = Atom("badopt")
ERPC: Final = Atom("erpc")
EXECUTE_CALL: Final = Atom("execute_call")
EXECUTE_CAST: Final = Atom("execute_cast")
RETURN: Final = Atom("return")
ERROR: Final = Atom("error")
UNDEF: Final = Atom("undef")

PRIORITY: Final = Atom("priority")
_PRIORITIES: Final = tuple((PRIORITY, Atom(level)) for level in ("low", "normal", "high", "max"))

FLAG_LINK: Final = 1
FLAG_MONITOR: Final = 2

# Options that mean something to the BEAM's scheduler and garbage collector only.
_IGNORED_OPTIONS: Final = frozenset(
    {
        "priority",
        "fullsweep_after",
        "min_heap_size",
        "min_bin_vheap_size",
        "max_heap_size",
        "message_queue_data",
        "scheduler",
        "async_dist",
    }
)


class SpawnServer:
    """Answers the spawn requests of other nodes from a table of callables."""

    def __init__(self, node: Any, table: ProcessTable, callables: Callables) -> None:
        self._node = node
        self._table = table
        self._callables = callables

    def on_spawn_request(
        self,
        from_node: Atom,
        request_id: Reference,
        parent: Pid,
        group_leader: Any,
        mfa: Any,
        options: Any,
        arguments: Any,
    ) -> None:
        """Start the process and answer; the reply goes out before any other signal of the new process."""
        table = self._table
        flags = _flags(options)
        if flags is None or type(mfa) is not tuple or len(mfa) != 3:
            self._answer(from_node, request_id, parent, 0, BADOPT)
            return
        module, function, _ = mfa
        leader = group_leader if type(group_leader) is Pid else None

        def body() -> None:
            self._run(process, parent, leader, module, function, arguments)

        process = table.add_body(body, parent=parent, group_leader=leader)
        process.initial_call = (str(module), str(function), len(arguments) if type(arguments) is list else 0)
        self._answer(from_node, request_id, parent, flags, process.pid)
        if flags & FLAG_LINK:
            table.add_remote_link(process, parent)
        if flags & FLAG_MONITOR:
            table.add_watcher(process, parent, process.pid, request_id)

    def refuse(self, from_node: Atom, request_id: Reference, parent: Pid) -> None:
        """Answer a request whose arguments could not be decoded."""
        self._answer(from_node, request_id, parent, 0, Atom("badarg"))

    def _answer(self, to_node: Atom, request_id: Reference, parent: Pid, flags: int, result: Any) -> None:
        self._table.emit(to_node, (op.DOP_SPAWN_REPLY, request_id, parent, flags, result), NO_PAYLOAD, False)

    def _run(
        self, process: BodyProcess, parent: Pid, leader: Pid | None, module: Any, function: Any, arguments: Any
    ) -> None:
        call = RemoteCall(self._node, process, parent, leader)
        if module is ERPC and type(arguments) is list:
            if function is EXECUTE_CALL and len(arguments) == 4:
                result, *target = arguments
                self._table.exit(process, self.execute_call(call, result, *target))
                return
            if function is EXECUTE_CAST and len(arguments) == 3:
                module, function, arguments = arguments
        if type(arguments) is list and self._callables.find(module, function, len(arguments)) is None:
            # Not a failure of the spawn: the process starts, and ends at once with undef.
            log.warning(
                "%s asked to run %s:%s/%d, which is not exported", parent.node, module, function, len(arguments)
            )
            self._table.exit(process, (UNDEF, [(module, function, arguments, [])]))
            return
        self._callables.apply(call, module, function, arguments)

    def execute_call(self, call: RemoteCall, result: Any, module: Any, function: Any, arguments: Any) -> Any:
        """Run a function for ``erpc:call`` and make the exit reason that carries its result."""
        try:
            return (result, RETURN, self._callables.apply(call, module, function, arguments))
        except ProcessExit:
            raise
        except BaseException as error:
            kind, reason, trace = reports.classify(error)
            if kind == "error":
                if isinstance(error, KeyboardInterrupt):
                    self._table.scheduler.hub.handle_system_error(type(error), error)
                return (result, ERROR, reason, trace)
            return (result, Atom(kind), reason)


def unencodable_result(reason: Any, error: EtfEncodeError) -> Any:
    """What goes out in place of an exit reason that has no term; keeps the shape that ``erpc`` waits for."""
    refused = reports.exception_term(error)
    if type(reason) is tuple and len(reason) >= 3 and type(reason[0]) is Reference:
        return (reason[0], ERROR, refused, [])
    return refused


def body_crashed(process: Any, error: BaseException) -> Any:
    """The exit reason of a body that an exception ended; reports it unless it is an orderly end."""
    reason = reports.exit_reason(error)
    if not is_quiet(reason):
        module, name, arity = process.initial_call or ("erlang", "apply", 2)
        reports.report_crash(process, error, (Atom(module[-255:]), Atom(name[-255:]), arity))
    return reason


def _flags(options: Any) -> int | None:
    """The flags of the reply that the options ask for; None if one of them is unknown."""
    if type(options) is not list:
        return None
    flags = 0
    for option in options:
        name = option[0] if type(option) is tuple and len(option) == 2 else option
        if name is LINK:
            flags |= FLAG_LINK
        elif name is MONITOR:
            flags |= FLAG_MONITOR
        elif not _is_ignored(name, option):
            return None
    return flags


def _is_ignored(name: Any, option: Any) -> bool:
    if name is PRIORITY:
        return option in _PRIORITIES
    return type(name) is Atom and name.name in _IGNORED_OPTIONS
