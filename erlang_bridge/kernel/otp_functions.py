"""Functions of OTP's behaviours that other nodes call here: ``sys``, ``supervisor``, ``gen_server``, ``gen_event``.

Each does what it does on a BEAM: it asks the process that it is given, on whatever node that is, in the process that
runs the call, and exits as OTP's does. So ``rpc:call(Node, sys, get_state, [mempool])`` asks the server ``mempool``
of that node.

Source: OTP ``lib/stdlib/src/sys.erl``, ``supervisor.erl``, ``gen_server.erl``, ``proc_lib.erl``, ``gen_event.erl``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from erlang_bridge.errors import CallTimeout, ErlangError, ErlangExit
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.otp import gen, sys_protocol
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.reports import charlist
from erlang_bridge.process import BehaviourProcess, Process
from erlang_bridge.process.exit_rules import NOPROC, NORMAL
from erlang_bridge.process.process import RUNNING
from erlang_bridge.process.records import DOWN
from erlang_bridge.terms import Atom, Pid

OK: Final = Atom("ok")
ERROR: Final = Atom("error")
FUNCTION_CLAUSE: Final = Atom("function_clause")
INFINITY: Final = Atom("infinity")
SYS: Final = Atom("sys")
ERROR_LOGGER: Final = Atom("error_logger")
ERROR_LOGGER_HANDLERS: Final = (Atom("log_mf_h"),)
DEFAULT_TIMEOUT_MS: Final = 5000
MAX_TIMEOUT_MS: Final = 0xFFFFFFFF
BUSY_TIMEOUT_S: Final = 0.2
"""How long a server whose code is blocked is waited for before its status is read from outside."""


def export(node: Any) -> None:
    """Export what is here to other nodes."""
    _export_sys(node)
    _export_supervisor(node)

    def with_call(module: str, function: Callable[..., Any], name: str | None = None) -> None:
        node.export(module, name or function.__name__, function, with_call=True)

    for arity in (2, 3):
        node.export("gen_server", "call", gen_server_call, with_call=True, arity=arity)
    with_call("gen_server", gen_server_cast, "cast")
    for module in ("gen_server", "proc_lib"):
        with_call(module, stop)
    with_call("gen_event", which_handlers)


# -- sys --------------------------------------------------------------------------------------


def _export_sys(node: Any) -> None:
    def request(name: str, make: Callable[..., Any], arity: int) -> None:
        """``sys:name(Process, ...)``, with `arity` arguments, and one more for a time-out."""

        def ask(call: RemoteCall, server: Any, *arguments: Any) -> Any:
            timeout = arguments[arity - 1] if len(arguments) == arity else DEFAULT_TIMEOUT_MS
            mfa = (SYS, Atom(name), [server, *arguments])
            return _system_call(call, server, make(*arguments[: arity - 1]), timeout, mfa)

        node.export("sys", name, ask, with_call=True, arity=arity)
        node.export("sys", name, ask, with_call=True, arity=arity + 1)

    def debug(command: str) -> Callable[[Any], Any]:
        return lambda value: (Atom("debug"), (Atom(command), value))

    request("suspend", lambda: Atom("suspend"), 1)
    request("resume", lambda: Atom("resume"), 1)
    request("no_debug", lambda: (Atom("debug"), Atom("no_debug")), 1)
    request("terminate", lambda reason: (Atom("terminate"), reason), 2)
    request("change_code", lambda *change: (Atom("change_code"), *change), 4)
    for command in ("statistics", "log", "trace", "log_to_file", "install", "remove"):
        request(command, debug(command), 2)
    for name, ask, arity in (
        ("get_state", get_state, 1),
        ("get_status", get_status, 1),
        ("replace_state", replace_state, 2),
    ):
        node.export("sys", name, ask, with_call=True, arity=arity)
        node.export("sys", name, ask, with_call=True, arity=arity + 1)


def _system_call(call: RemoteCall, server: Any, request: Any, timeout: Any, mfa: tuple[Any, ...]) -> Any:
    """Ask with a system message. Raises ErlangExit ``{Reason, mfa}``, as ``sys`` exits."""
    try:
        seconds = _seconds(timeout)
        return gen.call(call.process, _server(call, server), request, seconds, label=gen.SYSTEM, module="sys")
    except ErlangExit as error:
        reason = error.term[0] if type(error.term) is tuple and len(error.term) == 2 else error.term
        error.term = (reason, mfa)
        raise


def _timeout(given: tuple[Any, ...]) -> Any:
    return given[0] if given else DEFAULT_TIMEOUT_MS


def get_state(call: RemoteCall, server: Any, *timeout: Any) -> Any:
    """``sys:get_state/1,2``: the bare state."""
    mfa = (SYS, Atom("get_state"), [server, *timeout])
    return _state_of(_system_call(call, server, Atom("get_state"), _timeout(timeout), mfa))


def _state_of(answer: Any) -> Any:
    match answer:
        case (Atom("ok"), state):
            return state
        case (Atom("error"), reason):
            raise ErlangError(reason)
    return answer


def replace_state(call: RemoteCall, server: Any, fun: Any, *timeout: Any) -> Any:
    """``sys:replace_state/2,3``: the function of a BEAM cannot be run by a process here, which refuses.

    Raises:
        ErlangError: ``{callback_failed, Fun, {error, undef}}``.
    """
    mfa = (SYS, Atom("replace_state"), [server, fun, *timeout])
    return _state_of(_system_call(call, server, (Atom("replace_state"), fun), _timeout(timeout), mfa))


def get_status(call: RemoteCall, server: Any, *timeout: Any) -> Any:
    """``sys:get_status/1,2``.

    A server of this node whose code is blocked, by a call to another one or a sleep, cannot answer. Its status is read
    from outside then: the state is that before the callback which runs, and says so under ``"Busy"``.
    """
    table = call.node.table
    waited = _timeout(timeout)
    if _busy(table, server, call.process) is not None:
        waited = int(1000 * min(BUSY_TIMEOUT_S, _seconds(waited) or BUSY_TIMEOUT_S))
    mfa = (SYS, Atom("get_status"), [server, *timeout])
    try:
        return _system_call(call, server, Atom("get_status"), waited, mfa)
    except CallTimeout:
        busy = _busy(table, server, call.process)
        if busy is None:
            raise
        return _status_from_outside(busy)


def _busy(table: Any, server: Any, asking: Process) -> BehaviourProcess | None:
    """The process of a server here whose code is blocked."""
    pid = table.whereis(server) if type(server) is Atom else server
    process = table.find(pid) if type(pid) is Pid else None
    if (
        process is not None
        and process is not asking
        and isinstance(process, BehaviourProcess)
        and isinstance(process.instance, GenServer)
        and process.greenlet is not None
    ):
        return process
    return None


def _status_from_outside(process: BehaviourProcess) -> tuple[Any, ...]:
    status = sys_protocol.status(process.instance)
    *_, misc = status[3]
    where = "waits for a message" if process.state != RUNNING else "its code is blocked"
    told = (charlist("Busy"), charlist(f"{where}; the state is that before the callback which runs"))
    shown = [
        (Atom("data"), [*entry[1], told]) if index == 1 and entry[0] is Atom("data") else entry
        for index, entry in enumerate(misc)
    ]
    return (*status[:3], [*status[3][:-1], shown])


# -- supervisor -------------------------------------------------------------------------------


def _export_supervisor(node: Any) -> None:
    def request(name: str, arity: int) -> None:
        def ask(call: RemoteCall, supervisor: Any, *arguments: Any) -> Any:
            asked = (Atom(name), *arguments) if arguments else Atom(name)
            return gen_server_call(call, supervisor, asked, INFINITY)

        node.export("supervisor", name, ask, with_call=True, arity=arity)

    for name, arity in {
        "which_children": 1,
        "count_children": 1,
        "which_child": 2,
        "get_childspec": 2,
        "start_child": 2,
        "terminate_child": 2,
        "restart_child": 2,
        "delete_child": 2,
    }.items():
        request(name, arity)


# -- gen_server, proc_lib, gen_event ----------------------------------------------------------


def gen_server_call(call: RemoteCall, server: Any, request: Any, *timeout: Any) -> Any:
    """``gen_server:call/2,3``."""
    mfa = (Atom("gen_server"), Atom("call"), [server, request, *timeout])
    try:
        return gen.call(call.process, _server(call, server), request, _seconds(_timeout(timeout)))
    except ErlangError as error:
        raise ErlangExit(((error.reason, error.stacktrace or []), mfa)) from None
    except ErlangExit as error:
        reason = error.term[0] if type(error.term) is tuple and len(error.term) == 2 else error.term
        error.term = (reason, mfa)
        raise


def gen_server_cast(call: RemoteCall, server: Any, request: Any) -> Atom:
    """``gen_server:cast/2``."""
    try:
        gen.cast(call.process, call.node.table, _server(call, server), request)
    except ErlangExit:
        pass  # nobody has the global name: a cast never fails
    return OK


def stop(call: RemoteCall, server: Any, reason: Any = NORMAL, timeout: Any = INFINITY) -> Atom:
    """``gen_server:stop/1,3`` and ``proc_lib:stop/1,3``: have a process terminate with `reason` and wait for its end.

    Raises:
        ErlangExit: ``noproc``; ``timeout``; the reason that it has ended of, where that is another one.
    """
    process = call.process
    table = call.node.table
    destination = gen.resolve(table, _server(call, server))
    if type(destination) is Atom and destination not in table.names:
        raise ErlangExit(NOPROC)
    seconds = _seconds(timeout)
    monitor = table.monitor(process, destination)
    request = (Atom("terminate"), reason)
    table.send(process, destination, (gen.SYSTEM, (process.pid, monitor), request))
    try:
        down = process.receive(
            lambda message: type(message) is tuple and len(message) == 5 and message[:2] == (DOWN, monitor), seconds
        )
    except TimeoutError:
        table.demonitor(monitor, process)
        raise ErlangExit(gen.TIMEOUT) from None
    if down[4] != reason:
        raise ErlangExit(down[4])
    return OK


def which_handlers(call: RemoteCall, manager: Any) -> Any:
    """``gen_event:which_handlers/1``. ``error_logger`` keeps reports here, as ``log_mf_h`` does in OTP: see ``rb``."""
    if manager is ERROR_LOGGER:
        return list(ERROR_LOGGER_HANDLERS)
    # The label of a request to a gen_event is the pid of the asker.
    label: Any = call.process.pid
    server = _server(call, manager)
    try:
        return gen.call(call.process, server, Atom("which_handlers"), None, label=label, module="gen_event")
    except ErlangExit as error:
        error.term = error.term[0]
        raise


def _server(call: RemoteCall, server: Any) -> Any:
    """A server as `gen.call` takes it, from all that OTP's take: ``{global, Name}`` and ``{via, global, Name}``, too.

    Raises:
        ErlangExit: ``noproc``: nobody has the global name.
        ErlangError: ``function_clause``: it is no reference to a server.
    """
    match server:
        case Pid() | Atom():
            return server
        case (Atom("global"), name) | (Atom("via"), Atom("global"), name):
            pid = call.node.global_names.whereis_name(name)
            if pid is None:
                raise ErlangExit(NOPROC)
            return pid
        case (Atom(), Atom()):
            return server
    raise ErlangError(FUNCTION_CLAUSE)


def _seconds(timeout: Any) -> float | None:
    """A time-out of OTP's, in milliseconds or ``infinity``.

    Raises:
        ErlangError: ``function_clause``; ``timeout_value``: it is too large.
    """
    if timeout is INFINITY:
        return None
    if type(timeout) is not int or timeout < 0:
        raise ErlangError(FUNCTION_CLAUSE)
    if timeout > MAX_TIMEOUT_MS:
        raise ErlangError(Atom("timeout_value"))
    return timeout / 1000
