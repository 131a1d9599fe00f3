"""``observer_backend``: what observer and etop ask for every now and then.

System information, samples for the load charts, and the list of all processes. A list is made and sent in pieces, and
others have their turn in between: with 100,000 processes nobody is held up for more than some milliseconds.

Source: OTP ``lib/runtime_tools/src/observer_backend.erl``; ``lib/observer/src/etop.erl``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from erlang_bridge.errors import ErlangError
from erlang_bridge.etf import encode_list
from erlang_bridge.kernel import process_info, system_info
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.kernel.erlang_info import timestamp
from erlang_bridge.kernel.give_way import give_way
from erlang_bridge.kernel.statistics import BADARG, MEMORY_TYPES, SCHEDULERS, UNDEFINED
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.readable import readable
from erlang_bridge.otp.reports import charlist
from erlang_bridge.process import BehaviourProcess, Process, Waiter
from erlang_bridge.terms import Atom, Pid
from erlang_bridge.terms.text import format_term
from erlang_bridge.version import __version__

OK: Final = Atom("ok")
STATS: Final = Atom("stats")
PROCS_INFO: Final = Atom("procs_info")
ETOP_PROC_INFO: Final = Atom("etop_proc_info")
ETOP_INFO: Final = Atom("etop_info")
PROCESSES_A_CHUNK: Final = 250
"""So many processes are looked at, and sent, in one turn: 2 ms or so."""
LABELS_FROM_RELEASE: Final = 27
"""The first release whose tools show labels in place of names."""
ASK_RELEASE_S: Final = 2.5
MAX_LABEL_CHARACTERS: Final = 255
SHORTEST_INTERVAL_S: Final = 0.01
LONGEST_INTERVAL_MS: Final = 0xFFFFFFFF
"""As of ``erlang:send_after/3``."""

SHOWN_MEMORY: Final = ("total", "processes", "atom", "binary", "code", "ets")
"""The load charts name what they draw by its place in this order."""
ETOP_MEMORY: Final = ("total", "processes", "ets", "atom", "code", "binary")

Row = tuple[Any, ...]


def export(node: Any) -> None:
    """Export what is here to other nodes."""

    def with_call(function: Any) -> None:
        node.export("observer_backend", function.__name__, function, with_call=True)

    node.export("observer_backend", "vsn", vsn)
    node.export("observer_backend", "sys_info", lambda: sys_info(node), arity=0)
    with_call(fetch_stats)
    with_call(procs_info)
    with_call(etop_collect)
    node.callables.add_resolver(lambda module, name, arity: _module_info(node, module, name, arity))


def vsn() -> tuple[Atom, list[int]]:
    """``{ok, Version}``; etop and ttb go on with whatever it is."""
    return OK, charlist(__version__)


def sys_info(node: Any) -> list[tuple[Atom, Any]]:
    """What the System and Memory Allocators tabs show."""
    numbers = node.statistics
    received, sent = numbers.bytes_in_out()
    first: list[tuple[str, Any]] = [
        ("uptime", numbers.uptime_ms()),
        ("run_queue", numbers.run_queue()),
        ("io_input", received),
        ("io_output", sent),
    ]
    info = [(Atom(name), value) for name, value in first]
    info += [(Atom(name), system_info.ITEMS[name](node)) for name in _SYSTEM_ITEMS]
    # For people to read: nobody chooses a protocol by these two.
    info += [
        (Atom("schedulers_available"), SCHEDULERS),
        (Atom("otp_release"), charlist(f"pyanoma {__version__}")),
        (Atom("version"), charlist(system_info.python_version())),
        (Atom("wordsize_internal"), system_info.WORD_SIZE),
        (Atom("wordsize_external"), system_info.WORD_SIZE),
        (Atom("alloc_info"), system_info.allocator_sizes(node)),
    ]
    return info + _memory(node, MEMORY_TYPES)


_SYSTEM_ITEMS: Final = (
    "logical_processors",
    "logical_processors_online",
    "logical_processors_available",
    "schedulers",
    "schedulers_online",
    "system_architecture",
    "kernel_poll",
    "smp_support",
    "threads",
    "thread_pool_size",
    "atom_limit",
    "atom_count",
    "process_limit",
    "process_count",
    "port_limit",
    "port_count",
    "ets_limit",
    "ets_count",
    "dist_buf_busy_limit",
)


def _memory(node: Any, types: tuple[str, ...]) -> list[tuple[Atom, Any]]:
    measured = node.statistics.memory()
    return [(Atom(name), measured[name]) for name in types]


def _module_info(node: Any, module: str, name: str, arity: int) -> Any:
    """``module_info/1`` of servers whose class nobody can find by its name: one made in a function, for example.

    Observer asks for it before it shows a state.
    """
    if name != "module_info" or arity != 1:
        return None
    for process in list(node.table.processes.values()):
        server = process.instance if isinstance(process, BehaviourProcess) else None
        if isinstance(server, GenServer) and process_info.started_with(process)[0].name == module:
            behaviour = Atom(server.behaviour)
            return lambda item: [(Atom("behaviour"), [behaviour])] if item is Atom("attributes") else []
    return None


# -- load charts ------------------------------------------------------------------------------


def fetch_stats(call: RemoteCall, observer: Any, interval_ms: Any) -> None:
    """Send ``{stats, 1, SchedulerWallTime, IO, Memory}`` to `observer` in intervals, until a message comes.

    Or until `observer` ends, also where it is not linked with this process.
    """
    if type(observer) is not Pid or type(interval_ms) is not int or not 0 <= interval_ms <= LONGEST_INTERVAL_MS:
        raise ErlangError(BADARG)
    process, node = call.process, call.node
    numbers = node.statistics
    node.table.monitor(process, observer)
    while True:
        try:
            process.receive(timeout_s=max(interval_ms / 1000, SHORTEST_INTERVAL_S))
        except TimeoutError:
            received, sent = numbers.bytes_in_out()
            traffic = ((Atom("input"), received), (Atom("output"), sent))
            sample = (STATS, 1, numbers.scheduler_wall_time(), traffic, _memory(node, SHOWN_MEMORY))
            node.table.send(process, observer, sample)
        else:
            return


# -- lists of processes -----------------------------------------------------------------------


def procs_info(call: RemoteCall, collector: Any) -> None:
    """Send ``{procs_info, Self, [Row]}`` to `collector` for some processes at a time, then end.

    A row is ``{etop_proc_info, Pid, Memory, Messages, Name, 0, CurrentFunction, MessageQueueLength}``. The name is the
    registered one, or what the process was started with, or, for the tools of OTP 27 and later, its label.
    """
    rows = _rows(call, collector)
    for chunk in rows:
        call.node.table.send(call.process, collector, (PROCS_INFO, call.process.pid, chunk))
        give_way()


def etop_collect(call: RemoteCall, collector: Any) -> None:
    """Send ``{Self, {etop_info, ...}}`` to `collector`, with a row for each process; see `procs_info`.

    It is one message. What takes long, making and encoding the rows, is done in pieces before it is sent.
    """
    node = call.node
    count = [0]

    def in_turns() -> Iterator[list[Row]]:
        for chunk in _rows(call, collector):
            count[0] += len(chunk)
            yield chunk
            give_way()

    leaves_the_node = collector.node is not node.name if type(collector) is Pid else False
    rows: Any = encode_list(in_turns()) if leaves_the_node else [row for chunk in in_turns() for row in chunk]
    info: Row = (
        ETOP_INFO,
        timestamp(),
        count[0],
        UNDEFINED,
        node.statistics.scheduler_wall_time(),
        node.statistics.run_queue(),
        [],
        _memory(node, ETOP_MEMORY),
        rows,
    )
    node.table.send(call.process, collector, (call.process.pid, info))


def _rows(call: RemoteCall, collector: Any) -> Iterator[list[Row]]:
    if type(collector) is not Pid:
        raise ErlangError(BADARG)
    node = call.node
    with_labels = _shows_labels(node, collector.node)
    # By pid, as processes come and go between two chunks.
    waiting = iter(list(node.table.processes))
    make = RowMaker(with_labels)
    find = node.table.processes.get
    while some := list(islice(waiting, PROCESSES_A_CHUNK)):
        living = [process for process in map(find, some) if process is not None and process is not call.process]
        if living:
            yield list(map(make.row, living))


def _shows_labels(node: Any, asking: Atom) -> bool:
    if asking is node.name:
        return True
    waiter = Waiter(node.table.scheduler)
    node.table.release_of(asking, waiter.set)
    waiter.wait(ASK_RELEASE_S)
    return waiter.done and waiter.result is not None and waiter.result >= LABELS_FROM_RELEASE


class RowMaker:
    """Makes rows of ``etop_proc_info``; with as little work for each process as can be."""

    def __init__(self, with_labels: bool) -> None:
        self._with_labels = with_labels
        self._names: dict[type, Any] = {}

    def row(self, process: Process) -> Row:
        name = process.name
        mailbox = process.mailbox
        if process.greenlet is None and isinstance(process, BehaviourProcess):
            function = process_info.GEN_SERVER_LOOP
        else:
            function = process_info.current_function(process)
        return (
            ETOP_PROC_INFO,
            process.pid,
            process_info.memory(process),
            process.reductions,
            self._name(process) if name is None else name,
            0,
            function,
            0 if mailbox is None else len(mailbox),
        )

    def _name(self, process: Process) -> Any:
        if process.label is not None and self._with_labels:
            return label_text(process.label)
        if not isinstance(process, BehaviourProcess):
            return process_info.started_with(process)
        kind = type(process.instance)
        known = self._names.get(kind)
        if known is None:
            known = process_info.started_with(process)
            if getattr(kind, "_initial_call", None) is GenServer._initial_call:
                # The same for every server of the class.
                self._names[kind] = known
        return known


def label_text(label: Any) -> bytes:
    """A label as the tools of OTP 27 show it: text as it is, any other term as ``~0tp`` prints it."""
    text = label.decode(errors="replace") if isinstance(label, bytes) else label
    if not isinstance(text, str):
        text = format_term(readable(label), most=MAX_LABEL_CHARACTERS)
    return text[:MAX_LABEL_CHARACTERS].encode(errors="replace")
