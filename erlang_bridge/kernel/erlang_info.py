"""What other nodes ask a node about itself and its surroundings: functions of ``erlang``, ``net_kernel``, ``init``.

They only tell, but for those that end something: ``exit/2``, ``halt``, ``init:stop``. The cookie and the environment
are nobody's business.

Source: ERTS ``erlang.erl``; OTP ``lib/kernel/src/net_kernel.erl``, ``net_adm.erl``, ``erts/preloaded/src/init.erl``.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from erlang_bridge.errors import EpmdError, ErlangError
from erlang_bridge.kernel import process_info
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.kernel.statistics import BADARG, MEMORY_TYPES, UNDEFINED
from erlang_bridge.kernel.system_info import system_info
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.reports import charlist
from erlang_bridge.process import BehaviourProcess
from erlang_bridge.terms import Atom, Pid, Port, Reference
from erlang_bridge.version import __version__

OK: Final = Atom("ok")
ERROR: Final = Atom("error")
UNITS: Final = {
    "second": 1,
    "seconds": 1,
    "millisecond": 1_000,
    "milli_seconds": 1_000,
    "microsecond": 1_000_000,
    "micro_seconds": 1_000_000,
    "nanosecond": 1_000_000_000,
    "nano_seconds": 1_000_000_000,
    "native": 1_000_000_000,
    "perf_counter": 1_000_000_000,
}
"""Parts of a second; ours are native in nanoseconds."""
NODE_KINDS: Final = ("visible", "hidden", "connected", "this", "known")


def export(node: Any) -> None:
    """Export what is here to other nodes."""
    _export_numbers(node)
    _export_processes(node)
    _export_nodes(node)
    _export_time(node)
    _export_end(node)


# -- numbers ----------------------------------------------------------------------------------


def _export_numbers(node: Any) -> None:
    numbers = node.statistics
    node.export("erlang", "system_info", lambda item: system_info(node, item))
    node.export("erlang", "statistics", numbers.statistics)
    node.export("erlang", "system_flag", _system_flag)
    for module in ("erlang", "c"):
        node.export(module, "memory", lambda: memory(node), arity=0)
        node.export(module, "memory", lambda wanted: memory(node, wanted), arity=1)
    node.export("os", "type", lambda: (Atom("unix"), Atom(sys.platform)))
    node.export("os", "version", _os_version)
    node.export("os", "getpid", lambda: charlist(str(os.getpid())))


def memory(node: Any, wanted: Any = None) -> Any:
    """``erlang:memory/0,1``: ``[{Type, Bytes}]`` of all types or of a list, or the bytes of one.

    Raises:
        ErlangError: ``badarg``: there is no such type.
    """
    asked = [Atom(name) for name in MEMORY_TYPES] if wanted is None else wanted if type(wanted) is list else [wanted]
    if not all(type(item) is Atom and item.name in MEMORY_TYPES for item in asked):
        raise ErlangError(BADARG)
    measured = node.statistics.memory()
    told = [(item, measured[item.name]) for item in asked]
    return told if wanted is None or type(wanted) is list else told[0][1]


def _system_flag(flag: Any, value: Any) -> Any:
    """``erlang:system_flag/2``: nothing can be changed; ``scheduler_wall_time`` is always on.

    Raises:
        ErlangError: ``badarg``, for any other flag.
    """
    if flag is Atom("scheduler_wall_time") and isinstance(value, bool):
        return True
    raise ErlangError(BADARG)


def _os_version() -> Any:
    numbers = re.match(r"(\d+)\.(\d+)\.?(\d*)", platform.release())
    if numbers is None:
        return charlist(platform.release())
    return tuple(int(part or 0) for part in numbers.groups())


# -- processes --------------------------------------------------------------------------------


def _export_processes(node: Any) -> None:
    def exit_(pid: Any, reason: Any) -> bool:
        if type(pid) is not Pid:
            raise ErlangError(BADARG)
        node.exit(pid, reason)
        return True

    def send(destination: Any, message: Any) -> Any:
        match destination:
            case Pid() | Reference() | (Atom(), Atom()):
                node.send(destination, message)
            case Atom() if node.whereis(destination) is not None:
                node.send(destination, message)
            case _:
                raise ErlangError(BADARG)
        return message

    def own_leader(call: RemoteCall) -> Any:
        return call.process.group_leader

    node.export("erlang", "registered", lambda: list(node.table.names), arity=0)
    node.export("erlang", "exit", exit_, arity=2)
    node.export("erlang", "send", send)
    node.export("erlang", "self", lambda call: call.process.pid, with_call=True)
    node.export("erlang", "group_leader", own_leader, with_call=True, arity=0)
    node.export("erlang", "group_leader", lambda leader, pid: _set_leader(node, leader, pid), arity=2)
    node.export("erlang", "garbage_collect", _garbage_collect, with_call=True)
    node.export("proc_lib", "get_label", lambda pid: get_label(node, pid))
    for name in ("translate_initial_call", "initial_call"):
        as_arguments = name == "initial_call"
        node.export("proc_lib", name, lambda pid, full=as_arguments: initial_call(node, pid, full), arity=1)


def _set_leader(node: Any, leader: Any, pid: Any) -> bool:
    process = node.table.find(pid) if type(pid) is Pid else None
    if process is None or type(leader) is not Pid:
        raise ErlangError(BADARG)
    process.group_leader = leader
    return True


def _garbage_collect(call: RemoteCall, pid: Any = None, options: Any = ()) -> Any:
    """``erlang:garbage_collect/0,1,2``: Python looks at all processes at once, and not more often than is good.

    Returns:
        Whether the process is alive. With ``{async, Id}`` it is ``async``, and the caller gets
        ``{garbage_collect, Id, Alive}``.
    """
    node = call.node
    target = call.process.pid if pid is None else pid
    if type(target) is not Pid or target.node is not node.name or not isinstance(options, (list, tuple)):
        raise ErlangError(BADARG)
    alive = node.table.find(target) is not None
    if alive:
        node.statistics.garbage_collect()
    for option in options:
        match option:
            case (Atom("async"), request):
                node.table.send(call.process, call.caller, (Atom("garbage_collect"), request, alive))
                return Atom("async")
            case (Atom("type"), Atom("major" | "minor")):
                pass
            case _:
                raise ErlangError(BADARG)
    return alive


def get_label(node: Any, pid: Any) -> Any:
    """``proc_lib:get_label/1``: what ``set_label`` has set, or ``undefined``."""
    process = node.table.find(pid) if type(pid) is Pid else None
    return process_info.ITEMS["label"](process) if process is not None else UNDEFINED


def initial_call(node: Any, pid: Any, as_arguments: bool = False) -> Any:
    """``proc_lib:translate_initial_call/1``: ``{Module, init, 1}`` of a server or supervisor.

    Args:
        as_arguments: what ``proc_lib:initial_call/1`` answers: the arguments as a list of names in place of their
            number, and ``false`` where ``translate_initial_call`` answers with ``{proc_lib, init_p, 5}``: for a
            process that is no server, or dead.
    """
    process = node.table.find(pid) if type(pid) is Pid else None
    if not isinstance(process, BehaviourProcess) or not isinstance(process.instance, GenServer):
        return False if as_arguments else process_info.PROC_LIB_INIT
    module, function, arity = process_info.started_with(process)
    if not as_arguments:
        return module, function, arity
    return module, function, [Atom(f"Argument__{number}") for number in range(1, arity + 1)]


# -- nodes ------------------------------------------------------------------------------------


def _export_nodes(node: Any) -> None:
    node.export("erlang", "nodes", lambda: _nodes(node, "visible"), arity=0)
    node.export("erlang", "nodes", lambda kinds: nodes(node, kinds), arity=1)
    node.export("erlang", "node", _node_of)
    node.export("erlang", "is_alive", lambda: True, arity=0)
    node.export("net_kernel", "get_net_ticktime", lambda: round(node.options.net_ticktime_s))
    node.export("net_kernel", "longnames", lambda: "." in _host(node))
    node.export("net_adm", "ping", lambda name: _ping(node, name))
    node.export("net_adm", "names", lambda: _names(node), arity=0)
    # By this name it is reached; what it calls itself in the network is another matter.
    node.export("net_adm", "localhost", lambda: charlist(_host(node)))
    node.export("inet", "gethostname", lambda: (OK, charlist(socket.gethostname().partition(".")[0])))


def nodes(node: Any, kinds: Any) -> list[Atom]:
    """``erlang:nodes/1``: a kind, or a list of kinds: ``visible``, ``hidden``, ``connected``, ``this``, ``known``."""
    asked = kinds if type(kinds) is list else [kinds]
    if not all(type(kind) is Atom and kind.name in NODE_KINDS for kind in asked):
        raise ErlangError(BADARG)
    found = [name for kind in asked for name in _nodes(node, kind.name)]
    return list(dict.fromkeys(found))


def _nodes(node: Any, kind: str) -> list[Atom]:
    own = [node.name] if kind in ("this", "known") else []
    others = node.nodes("connected" if kind == "known" else kind) if kind != "this" else []
    return own + [Atom(name) for name in others]


def _node_of(of: Any) -> Atom:
    if type(of) not in (Pid, Port, Reference):
        raise ErlangError(BADARG)
    owner: Atom = of.node
    return owner


def _host(node: Any) -> str:
    return str(node.name.name.partition("@")[2])


def _ping(node: Any, name: Any) -> Atom:
    if type(name) is not Atom:
        raise ErlangError(BADARG)
    return Atom(node.ping(name))


def _names(node: Any) -> Any:
    """``net_adm:names/0``: what the epmd of this machine knows, ``{ok, [{Name, Port}]}`` or ``{error, address}``."""
    registration = node.registration
    try:
        known = registration.client.names() if registration is not None else {}
    except EpmdError:
        known = {}
    if not known:
        return ERROR, Atom("address")
    return OK, [(charlist(name), port) for name, port in known.items()]


# -- time -------------------------------------------------------------------------------------


def _export_time(node: Any) -> None:
    def clock(name: str, now_ns: Callable[[], int], *modules: str) -> None:
        for module in modules:
            node.export(module, name, now_ns, arity=0)
            node.export(module, name, lambda unit: _in_unit(now_ns(), unit), arity=1)

    clock("monotonic_time", time.monotonic_ns, "erlang")
    clock("system_time", time.time_ns, "erlang", "os")
    clock("time_offset", lambda: time.time_ns() - time.monotonic_ns(), "erlang")
    node.export("os", "perf_counter", time.perf_counter_ns, arity=0)
    for module, name in (("erlang", "timestamp"), ("os", "timestamp"), ("erlang", "now")):
        node.export(module, name, timestamp)
    node.export("erlang", "date", lambda: local_time()[0])
    node.export("erlang", "time", lambda: local_time()[1])
    node.export("erlang", "localtime", local_time)
    node.export("erlang", "universaltime", lambda: _parts(datetime.now(UTC)))


def timestamp() -> tuple[int, int, int]:
    """``erlang:timestamp/0``: megaseconds, seconds and microseconds since 1970."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return (*divmod(seconds, 1_000_000), nanoseconds // 1000)


def local_time() -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """``erlang:localtime/0``: ``{{Year, Month, Day}, {Hour, Minute, Second}}``."""
    return _parts(datetime.now().astimezone())


def _parts(when: datetime) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    return (when.year, when.month, when.day), (when.hour, when.minute, when.second)


def _in_unit(nanoseconds: int, unit: Any) -> int:
    if type(unit) is Atom and unit.name in UNITS:
        return nanoseconds * UNITS[unit.name] // 1_000_000_000
    if type(unit) is int and unit > 0:
        return nanoseconds * unit // 1_000_000_000
    raise ErlangError(BADARG)


# -- the end ----------------------------------------------------------------------------------


def _export_end(node: Any) -> None:
    def stop(status: Any = 0) -> Atom:
        if not _is_status(status):
            raise ErlangError(BADARG)
        node.stop()
        return OK

    def halt(status: Any = 0, options: Any = ()) -> Atom:
        flush = [type(option) is tuple and option[:1] == (Atom("flush"),) for option in _elements(options)]
        if not (status is Atom("abort") or _is_status(status)) or not all(flush):
            raise ErlangError(BADARG)
        # A BEAM ends at once; a program around the node has its own way to end.
        return stop()

    node.export("init", "stop", stop)
    node.export("erlang", "halt", halt)
    # The command line of the program may have secrets in it.
    node.export("init", "get_arguments", list, arity=0)
    node.export("init", "get_plain_arguments", list, arity=0)
    node.export("init", "get_argument", lambda flag: ERROR)
    node.export("init", "script_id", lambda: (charlist("pyanoma"), charlist(__version__)))


def _is_status(status: Any) -> bool:
    """A number, or text to print."""
    if type(status) is list:
        return all(type(character) is int and 0 <= character <= sys.maxunicode for character in status)
    return type(status) is int and status >= 0


def _elements(options: Any) -> Any:
    if not isinstance(options, (list, tuple)) or (options and type(options) is tuple):
        raise ErlangError(BADARG)
    return options
