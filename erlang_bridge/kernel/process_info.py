"""What there is to know about a process: ``erlang:processes/0``, ``erlang:process_info/1`` and ``/2``.

Every item of OTP's is answered, so that a tool that asks for one of them does not fail. What a Python process does not
have (a heap of its own, generations of garbage) is answered with OTP's value for "none" or, for sizes, derived from
`memory`.

Items of our own, which OTP does not have: ``messages_handled``; ``turns``, how often the process has had the CPU;
``run_time`` and ``longest_turn``, in microseconds, without the time that its code was blocked. All four are also in the
dictionary under ``'$pyanoma'``, as a map, so that tools that do not know of them show them.

Source: ERTS ``erlang.erl``, ``process_info/1`` and ``/2``; erts ``erl_bif_info.c``.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from sys import getsizeof
from types import CodeType, FrameType
from typing import Any, Final

import greenlet

from erlang_bridge.errors import ErlangError
from erlang_bridge.otp import reports
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.readable import readable
from erlang_bridge.process import BehaviourProcess, Process, ProcessTable
from erlang_bridge.process.process import LINKED, RUNNING, STATUS_NAMES
from erlang_bridge.terms import Atom, Pid

log = logging.getLogger("erlang_bridge.kernel")

BADARG: Final = Atom("badarg")
UNDEFINED: Final = Atom("undefined")
PROC_LIB_INIT: Final = (Atom("proc_lib"), Atom("init_p"), 5)
COUNTERS: Final = Atom("$pyanoma")
GEN_SERVER_LOOP: Final = (Atom("gen_server"), Atom("loop"), 7)
WORD_SIZE: Final = 8
MAX_FRAMES: Final = 32
MAX_PARTS: Final = 64
"""Of a state with more parts than these only the container is measured."""
MAX_MESSAGES: Final = 1000
"""So many of the messages that wait are shown."""
MIN_HEAP_SIZE: Final = 233
MIN_BIN_VHEAP_SIZE: Final = 46422
FULLSWEEP_AFTER: Final = 65535

# Frames that are the same in every process, and not its code.
_SCHEDULER: Final = ("erlang_bridge.process.", "erlang_bridge.kernel.process_info", "gevent.", "greenlet")
_BRIDGE: Final = ("erlang_bridge.", *_SCHEDULER)
# Their parts are no objects of their own.
_LEAVES: Final = frozenset((type(None), bool, int, float, str, bytes, Atom, Pid))


def processes(table: ProcessTable) -> list[Pid]:
    """The pids of all live processes of the node."""
    return [process.pid for process in table.processes.values()]


def process_info(table: ProcessTable, pid: Any, items: Any = None) -> Any:
    """``erlang:process_info(Pid)`` and ``erlang:process_info(Pid, Item | [Item])``.

    Returns:
        ``undefined`` for one that is dead; ``{Item, Value}``; a list of these. As in OTP, ``registered_name`` asked for
        alone is ``[]`` where there is none.

    Raises:
        ErlangError: ``badarg``: not a pid of this node, or an item that does not exist.
    """
    if type(pid) is not Pid or pid.node is not table.node_name:
        raise ErlangError(BADARG)
    process = table.find(pid)
    if items is None:
        return UNDEFINED if process is None else _standard(process)
    readers = [_reader(item) for item in (items if isinstance(items, list) else [items])]
    if process is None:
        return UNDEFINED
    if isinstance(items, list):
        return [(item, read(process)) for item, read in zip(items, readers, strict=True)]
    value = readers[0](process)
    return [] if items is Atom("registered_name") and value == [] else (items, value)


def started_with(process: Process) -> tuple[Atom, Atom, int]:
    """``{M, init, 1}`` of a server, as ``proc_lib:translate_initial_call/1`` has it, or the function of a body."""
    if isinstance(process, BehaviourProcess):
        call = getattr(process.instance, "_initial_call", None)
        if call is not None:
            mfa: tuple[Atom, Atom, int] = call()
            return mfa
    return _mfa(process)


def _standard(process: Process) -> list[tuple[Atom, Any]]:
    names = STANDARD_ITEMS if process.name is not None else STANDARD_ITEMS[1:]
    return [(Atom(name), ITEMS[name](process)) for name in names]


def _reader(item: Any) -> Callable[[Process], Any]:
    if type(item) is Atom and item.name in ITEMS:
        return ITEMS[item.name]
    if type(item) is tuple and len(item) == 2 and item[0] is Atom("dictionary"):
        return lambda process: next((value for key, value in _dictionary(process) if key == item[1]), UNDEFINED)
    raise ErlangError(BADARG)


# -- one item ---------------------------------------------------------------------------------


def memory(process: Process) -> int:
    """Bytes of the process's own objects: itself, its mailbox, its tables, its state and what that is made of.

    One level deep: what the parts of a state refer to, and the content of messages, may belong to others as well.
    """
    size = getsizeof(process)
    for owned in (process.mailbox, process.links, process.monitors, process.monitored_by, process.dictionary):
        if owned is not None:
            size += getsizeof(owned)
    if isinstance(process, BehaviourProcess):
        instance = process.instance
        size += getsizeof(instance) + _state_size(getattr(instance, "_state", None))
    return size


def _state_size(state: Any) -> int:
    try:
        return _measured(state)
    except Exception:
        # A class of the user's own may raise anything when it is asked.
        log.debug("a state of class %s cannot be measured", type(state).__name__, exc_info=True)
        return 0


def _measured(state: Any) -> int:
    size = getsizeof(state)
    kind = type(state)
    if kind in _LEAVES:
        return size
    parts: Iterable[Any] = ()
    if kind in (tuple, list):
        parts = state if len(state) <= MAX_PARTS else ()
    elif kind is dict:
        parts = state.values() if len(state) <= MAX_PARTS else ()
    else:
        fields = getattr(state, "__dict__", None)
        if fields is not None:
            size += getsizeof(fields)
            parts = fields.values() if len(fields) <= MAX_PARTS else ()
        elif dataclasses.is_dataclass(state):
            parts = [getattr(state, name, None) for name in kind.__dataclass_fields__]
    return size + sum(map(getsizeof, parts))


def _frames(process: Process) -> Iterator[FrameType]:
    """What its code is in, innermost first; nothing for a server that waits for its next message."""
    running = process.greenlet
    if running is None:
        return
    frame = sys._getframe() if running is greenlet.getcurrent() else running.gr_frame
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_in(frame: FrameType, packages: tuple[str, ...]) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(packages)


def stack(process: Process) -> list[Any]:
    """Where its code is: ``[{Module, Function, Arity, [{file, String}, {line, N}]}]``, innermost first.

    The frames of user code; where there are none, as in processes of the bridge itself, those that are not of the
    scheduler. Empty for a server that waits for its next message.
    """
    frames = [frame for frame in _frames(process) if not _is_in(frame, _SCHEDULER)]
    user = [frame for frame in frames if not _is_in(frame, _BRIDGE)]
    return [_entry(frame) for frame in (user or frames)[:MAX_FRAMES]]


def _entry(frame: FrameType) -> tuple[Any, ...]:
    return _code_entry(str(frame.f_globals.get("__name__", "?")), frame.f_code, frame.f_lineno)


def _code_entry(module: str, code: CodeType, line: int) -> tuple[Any, ...]:
    arity = code.co_argcount - (1 if code.co_varnames[:1] == ("self",) else 0)
    location = [(Atom("file"), reports.charlist(code.co_filename)), (Atom("line"), line)]
    return Atom(module[:255]), Atom(code.co_qualname[-255:]), arity, location


def _resting_stack(process: Process) -> list[Any]:
    """The stack of a process whose code does not run.

    For a server that waits: the loop, then the callbacks of its class in which the next message may be handled.
    """
    if not isinstance(process, BehaviourProcess):
        return [(*_mfa(process), [])]
    kind = type(process.instance)
    loop = getattr(kind.handle_message, "__code__", None)
    entries: list[Any] = [(*GEN_SERVER_LOOP, [])]
    if loop is not None:
        entries = [(*GEN_SERVER_LOOP, _code_entry("", loop, loop.co_firstlineno)[3])]
    for name in ("handle_call", "handle_cast", "handle_info"):
        callback = getattr(kind, name, None)
        code = getattr(callback, "__code__", None)
        if code is not None and callback is not getattr(GenServer, name):
            entries.append(_code_entry(callback.__module__, code, code.co_firstlineno))
    return entries


def current_function(process: Process) -> tuple[Atom, Atom, int]:
    """``{Module, Function, Arity}``: the innermost of `stack`, or where a process of its kind waits."""
    if process.greenlet is None:
        return GEN_SERVER_LOOP if isinstance(process, BehaviourProcess) else _mfa(process)
    bridge: FrameType | None = None
    for frame in _frames(process):
        if not _is_in(frame, _BRIDGE):
            return _entry(frame)[:3]
        if bridge is None and not _is_in(frame, _SCHEDULER):
            bridge = frame
    return _entry(bridge)[:3] if bridge is not None else _mfa(process)


def _current_location(process: Process) -> Any:
    return _current_stacktrace(process)[0]


def _current_stacktrace(process: Process) -> Any:
    return stack(process) or _resting_stack(process)


def _mfa(process: Process) -> tuple[Atom, Atom, int]:
    module, function, arity = process.initial_call or ("erlang", "apply", 2)
    return Atom(module[-255:]), Atom(function[-255:]), arity


def _initial_call(process: Process) -> Any:
    # As on a BEAM: of a gen_server and the like the real one is in the dictionary.
    return PROC_LIB_INIT if isinstance(process, BehaviourProcess) else _mfa(process)


def _status(process: Process) -> Atom:
    if process.state == RUNNING and process.greenlet is not greenlet.getcurrent():
        return Atom("waiting")  # blocked in its code
    return Atom(STATUS_NAMES[process.state])


def _dictionary(process: Process) -> list[tuple[Any, Any]]:
    entries = [(readable(key), readable(value)) for key, value in (process.dictionary or {}).items()]
    if isinstance(process, BehaviourProcess) and isinstance(process.instance, GenServer):
        entries.append((Atom("$initial_call"), process.instance._initial_call()))
        entries.append((Atom("$ancestors"), reports.ancestors(process)))
    entries.append((COUNTERS, _counters(process)))
    return entries


def _counters(process: Process) -> dict[Atom, int]:
    return {
        Atom("messages"): process.reductions,
        Atom("turns"): process.turns,
        Atom("run_time_us"): _run_time(process),
        Atom("longest_turn_us"): _longest_turn(process),
    }


def _run_time(process: Process) -> int:
    return round(process.run_time_s * 1_000_000)


def _longest_turn(process: Process) -> int:
    return round(process.longest_turn_s * 1_000_000)


def _trace(process: Process) -> int:
    """The flags that it is traced with, as a number that only this version of the library knows the meaning of."""
    tracing = getattr(process.table, "tracing", None)
    mask = 0
    for watch in tracing.watches_of(process) if tracing is not None else ():
        mask |= watch.mask
    return mask


def _messages(process: Process) -> list[Any]:
    """The first `MAX_MESSAGES`, and in words how many more there are: the rest would hold up everybody."""
    waiting = process.mailbox or ()
    shown = [readable(message) for message in islice(waiting, MAX_MESSAGES)]
    if len(waiting) > MAX_MESSAGES:
        shown.append(f"... and {len(waiting) - MAX_MESSAGES} more".encode())
    return shown


def _monitors(process: Process) -> list[Any]:
    targets = [monitor.target for monitor in (process.monitors or {}).values()]
    return [(Atom("process"), target.pid if isinstance(target, Process) else target) for target in targets]


def _monitored_by(process: Process) -> list[Any]:
    watchers = [watcher for watcher, _ in (process.monitored_by or {}).values()]
    return [watcher.pid if isinstance(watcher, Process) else watcher for watcher in watchers]


def _backtrace(process: Process) -> bytes:
    lines = [f"{module}:{function}/{arity}" + _place(location) for module, function, arity, location in stack(process)]
    return "\n".join(lines).encode(errors="replace")


def _place(location: list[Any]) -> str:
    where = {key.name: value for key, value in location}
    return f" ({''.join(map(chr, where['file']))}:{where['line']})"


def _always(value: Any) -> Callable[[Process], Any]:
    return lambda process: value


def _words(process: Process) -> int:
    return memory(process) // WORD_SIZE


MAX_HEAP_SIZE: Final = {Atom("error_logger"): True, Atom("kill"): True, Atom("size"): 0}
GARBAGE_COLLECTION: Final = [
    (Atom("max_heap_size"), MAX_HEAP_SIZE),
    (Atom("min_bin_vheap_size"), MIN_BIN_VHEAP_SIZE),
    (Atom("min_heap_size"), MIN_HEAP_SIZE),
    (Atom("fullsweep_after"), FULLSWEEP_AFTER),
    (Atom("minor_gcs"), 0),
]

ITEMS: Final[dict[str, Callable[[Process], Any]]] = {
    "async_dist": _always(False),
    "backtrace": _backtrace,
    "binary": _always([]),
    "catchlevel": _always(0),
    "current_function": current_function,
    "current_location": _current_location,
    "current_stacktrace": _current_stacktrace,
    "dictionary": _dictionary,
    "error_handler": _always(Atom("error_handler")),
    "fullsweep_after": _always(FULLSWEEP_AFTER),
    "garbage_collection": _always(GARBAGE_COLLECTION),
    "garbage_collection_info": _always([]),
    "group_leader": lambda process: process.group_leader if process.group_leader is not None else process.pid,
    "heap_size": _words,
    "initial_call": _initial_call,
    "label": lambda process: UNDEFINED if process.label is None else readable(process.label),
    "last_calls": _always(False),
    "links": lambda process: [pid for pid, state in (process.links or {}).items() if state == LINKED],
    "longest_turn": _longest_turn,
    "magic_ref": _always([]),
    "max_heap_size": _always(MAX_HEAP_SIZE),
    "memory": memory,
    "message_queue_data": _always(Atom("on_heap")),
    "message_queue_len": lambda process: len(process.mailbox or ()),
    "messages": _messages,
    "messages_handled": lambda process: process.reductions,
    "min_bin_vheap_size": _always(MIN_BIN_VHEAP_SIZE),
    "min_heap_size": _always(MIN_HEAP_SIZE),
    "monitored_by": _monitored_by,
    "monitors": _monitors,
    "parent": lambda process: UNDEFINED if process.parent is None else process.parent,
    "priority": _always(Atom("normal")),
    "priority_messages": _always(False),
    "reductions": lambda process: process.reductions,
    "registered_name": lambda process: [] if process.name is None else process.name,
    "run_time": _run_time,
    "sequential_trace_token": _always([]),
    "stack_size": _always(0),
    "status": _status,
    "suspending": _always([]),
    "total_heap_size": _words,
    "trace": _trace,
    "trap_exit": lambda process: process.trap_exit,
    "turns": lambda process: process.turns,
}
"""Every item that `process_info` answers."""

STANDARD_ITEMS: Final = (
    "registered_name",
    "current_function",
    "initial_call",
    "status",
    "message_queue_len",
    "links",
    "dictionary",
    "trap_exit",
    "error_handler",
    "priority",
    "group_leader",
    "total_heap_size",
    "heap_size",
    "stack_size",
    "reductions",
    "garbage_collection",
    "suspending",
)
"""What ``process_info(Pid)`` has, in OTP's order; the first only where there is a name."""
