"""What there is to know about a process: ``erlang:processes/0``, ``erlang:process_info/1`` and ``/2``.

Every item of OTP's is answered, so that a tool that asks for one of them does not fail. What a Python process does not
have (a heap of its own, generations of garbage) is answered with OTP's value for "none" or, for sizes, derived from
`memory`.

Source: ERTS ``erlang.erl``, ``process_info/1`` and ``/2``; erts ``erl_bif_info.c``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import greenlet

from erlang_bridge.errors import ErlangError
from erlang_bridge.otp import reports
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.readable import readable
from erlang_bridge.process import BehaviourProcess, Process, ProcessTable
from erlang_bridge.process.process import LINKED, RUNNING, STATUS_NAMES
from erlang_bridge.terms import Atom, Pid

BADARG: Final = Atom("badarg")
UNDEFINED: Final = Atom("undefined")
PROC_LIB_INIT: Final = (Atom("proc_lib"), Atom("init_p"), 5)
GEN_SERVER_LOOP: Final = (Atom("gen_server"), Atom("loop"), 7)
WORD_SIZE: Final = 8
MAX_FRAMES: Final = 32

# Frames that are the same in every process, and not its code.
_MACHINERY: Final = ("erlang_bridge.", "gevent.", "greenlet")


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
    """Bytes of the process's own objects: itself, its mailbox, its tables; not what its state refers to."""
    owned = (process.mailbox, process.links, process.monitors, process.monitored_by, process.aliases)
    size = sys.getsizeof(process) + sum(sys.getsizeof(part) for part in owned if part is not None)
    if isinstance(process, BehaviourProcess):
        instance = process.instance
        size += sys.getsizeof(instance) + sys.getsizeof(getattr(instance, "_state", None))
    return size


def stack(process: Process) -> list[Any]:
    """Where its code is: ``[{Module, Function, Arity, [{file, String}, {line, N}]}]``, innermost first.

    Empty for a server that waits for its next message.
    """
    running = process.greenlet
    if running is None:
        return []
    frame = sys._getframe() if running is greenlet.getcurrent() else running.gr_frame
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    user = [frame for frame in frames if not str(frame.f_globals.get("__name__", "")).startswith(_MACHINERY)]
    return [_entry(frame) for frame in user[:MAX_FRAMES]]


def _entry(frame: FrameType) -> tuple[Any, ...]:
    code = frame.f_code
    arity = code.co_argcount - (1 if code.co_varnames[:1] == ("self",) else 0)
    location = [(Atom("file"), reports.charlist(code.co_filename)), (Atom("line"), frame.f_lineno)]
    return Atom(str(frame.f_globals.get("__name__", "?"))[:255]), Atom(code.co_qualname[-255:]), arity, location


def _current_function(process: Process) -> Any:
    frames = stack(process)
    return frames[0][:3] if frames else _resting_place(process)


def _current_location(process: Process) -> Any:
    frames = stack(process)
    return frames[0] if frames else (*_resting_place(process), [])


def _resting_place(process: Process) -> Any:
    return GEN_SERVER_LOOP if isinstance(process, BehaviourProcess) else _mfa(process)


def _current_stacktrace(process: Process) -> Any:
    return stack(process) or [(*_resting_place(process), [])]


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
    return entries


def _monitors(process: Process) -> list[Any]:
    return [(Atom("process"), monitor.target) for monitor in (process.monitors or {}).values()]


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
    (Atom("min_bin_vheap_size"), 46422),
    (Atom("min_heap_size"), 233),
    (Atom("fullsweep_after"), 65535),
    (Atom("minor_gcs"), 0),
]

ITEMS: Final[dict[str, Callable[[Process], Any]]] = {
    "async_dist": _always(False),
    "backtrace": _backtrace,
    "binary": _always([]),
    "catchlevel": _always(0),
    "current_function": _current_function,
    "current_location": _current_location,
    "current_stacktrace": _current_stacktrace,
    "dictionary": _dictionary,
    "error_handler": _always(Atom("error_handler")),
    "fullsweep_after": _always(65535),
    "garbage_collection": _always(GARBAGE_COLLECTION),
    "garbage_collection_info": _always([]),
    "group_leader": lambda process: process.group_leader if process.group_leader is not None else process.pid,
    "heap_size": _words,
    "initial_call": _initial_call,
    "label": lambda process: UNDEFINED if process.label is None else readable(process.label),
    "last_calls": _always(False),
    "links": lambda process: [pid for pid, state in (process.links or {}).items() if state == LINKED],
    "magic_ref": _always([]),
    "max_heap_size": _always(MAX_HEAP_SIZE),
    "memory": memory,
    "message_queue_data": _always(Atom("on_heap")),
    "message_queue_len": lambda process: len(process.mailbox or ()),
    "messages": lambda process: [readable(message) for message in process.mailbox or ()],
    "min_bin_vheap_size": _always(46422),
    "min_heap_size": _always(233),
    "monitored_by": _monitored_by,
    "monitors": _monitors,
    "parent": lambda process: UNDEFINED if process.parent is None else process.parent,
    "priority": _always(Atom("normal")),
    "priority_messages": _always(False),
    "reductions": lambda process: process.reductions,
    "registered_name": lambda process: [] if process.name is None else process.name,
    "sequential_trace_token": _always([]),
    "stack_size": _always(0),
    "status": _status,
    "suspending": _always([]),
    "total_heap_size": _words,
    "trace": _always(0),
    "trap_exit": lambda process: process.trap_exit,
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
