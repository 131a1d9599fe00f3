"""What a node has done and what it needs: ``erlang:statistics/1`` and ``erlang:memory/0``.

One scheduler is ours: the thread with the hub, in which every process runs. All other threads of the operating
system process (the pool of `Node.offload`, C libraries) count as one dirty CPU scheduler.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from erlang_bridge.errors import ErlangError
from erlang_bridge.kernel import process_info
from erlang_bridge.kernel.give_way import give_way
from erlang_bridge.kernel.memory import Allocator, Allocators, CodeSizes, resident_bytes
from erlang_bridge.terms import Atom, atom_table

BADARG: Final = Atom("badarg")
UNDEFINED: Final = Atom("undefined")
SCHEDULERS: Final = 1
DIRTY_CPU_SCHEDULERS: Final = 1
MEASURED_PROCESSES: Final = 500
"""Of more processes than these a part is measured, and the sum is an estimate."""
COLLECT_EVERY_S: Final = 1.0
FULL_COLLECTION_BLOCKS: Final = 400_000
"""With more allocated blocks than these, which take 40 ms or so, a collection on request is of young objects only."""

MEMORY_TYPES: Final = (
    "total",
    "processes",
    "processes_used",
    "system",
    "atom",
    "atom_used",
    "binary",
    "code",
    "ets",
)


class NodeStatistics:
    """The numbers of one node, from its start on. For the hub's thread only."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.started_ns = time.monotonic_ns()
        self._cpu_before_ns = time.thread_time_ns(), time.process_time_ns()
        self._allocators = Allocators()
        self._code_sizes = CodeSizes()
        self._others_ns = 0
        self._last: dict[str, int] = {}
        self._collected_at = 0.0

    # -- what it has done -----------------------------------------------------------------------

    def uptime_ms(self) -> int:
        return (time.monotonic_ns() - self.started_ns) // 1_000_000

    def bytes_in_out(self) -> tuple[int, int]:
        """Of all connections with other nodes that there have been."""
        counted = self._node.connections.statistics()
        return counted["bytes_in"], counted["bytes_out"]

    def run_queue(self) -> int:
        return len(self._node.table.scheduler.ready)

    def scheduler_wall_time(self) -> list[tuple[int, int, int]]:
        """``{SchedulerId, ActiveTime, TotalTime}`` in ns: the hub's thread, then all other threads together.

        Active is the time on a CPU, of Python code and of what it calls.
        """
        own_before, all_before = self._cpu_before_ns
        own = time.thread_time_ns() - own_before
        # Two clocks, read one after the other: their difference may seem to shrink.
        self._others_ns = max(time.process_time_ns() - all_before - own, self._others_ns)
        elapsed = time.monotonic_ns() - self.started_ns
        return [(1, own, elapsed), (2, self._others_ns, elapsed)]

    def turns(self) -> int:
        """How often a process has had the CPU."""
        turns: int = self._node.table.scheduler.turns
        return turns

    def since_last(self, name: str, value: int) -> tuple[int, int]:
        """`value`, and how much it has grown since this was last asked for `name`."""
        before, self._last[name] = self._last.get(name, 0), value
        return value, value - before

    def statistics(self, item: Any) -> Any:
        """``erlang:statistics(Item)``.

        Raises:
            ErlangError: ``badarg``: there is no such item.
        """
        read = STATISTICS.get(item.name) if type(item) is Atom else None
        if read is None:
            raise ErlangError(BADARG)
        return read(self)

    # -- what it needs --------------------------------------------------------------------------

    def memory(self) -> dict[str, int]:
        """Bytes by type, as ``erlang:memory/0`` names them.

        ``total`` is what is resident of the operating system process. ``processes`` are their own objects (see
        `process_info.memory`); of more than `MEASURED_PROCESSES` every so-manieth is measured. ``binary`` is what the
        connections buffer, ``code`` the Python code that is loaded, ``ets`` the node's tables, ``system`` whatever is
        not ``processes``: CPython itself, too. Called in a process, it gives way to others where it takes long.
        """
        total, _ = resident_bytes()
        processes = min(self._process_bytes(), total)
        atoms = atom_table()[1]
        node = self._node
        return {
            "total": total,
            "processes": processes,
            "processes_used": processes,
            "system": total - processes,
            "atom": atoms,
            "atom_used": atoms,
            "binary": node.options.read_size + node.connections.statistics()["queued_bytes"],
            "code": self._patiently(self._code_sizes.measure()),
            "ets": sum(table.memory_bytes() for table in node.tables.all()),
        }

    def allocators(self) -> list[Allocator]:
        return self._allocators.measure()

    def garbage_collect(self) -> None:
        """Have CPython look for cycles, at most once in `COLLECT_EVERY_S`: it looks at all processes at once.

        Garbage that is in no cycle is freed without.
        """
        if time.monotonic() - self._collected_at < COLLECT_EVERY_S:
            return
        gc.collect(2 if sys.getallocatedblocks() <= FULL_COLLECTION_BLOCKS else 1)
        self._collected_at = time.monotonic()

    def _process_bytes(self) -> int:
        processes = self._node.table.processes
        count = len(processes)
        step = -(-count // MEASURED_PROCESSES)
        some = list(islice(processes.values(), None, None, step)) if count else []
        return sum(map(process_info.memory, some)) * count // max(len(some), 1)

    def _patiently(self, results: Iterator[int]) -> int:
        """The last of `results`; others have their turn between two of them, where there may be any."""
        scheduler = self._node.table.scheduler
        last = 0
        for result in results:
            last = result
            if not scheduler.in_hub():
                give_way()
        return last


def _runtime(numbers: NodeStatistics) -> tuple[int, int]:
    return numbers.since_last("runtime", time.process_time_ns() // 1_000_000)


def _wall_clock(numbers: NodeStatistics) -> tuple[int, int]:
    return numbers.since_last("wall_clock", numbers.uptime_ms())


def _reductions(numbers: NodeStatistics) -> tuple[int, int]:
    return numbers.since_last("reductions", numbers.turns())


def _exact_reductions(numbers: NodeStatistics) -> tuple[int, int]:
    return numbers.since_last("exact_reductions", numbers.turns())


def _io(numbers: NodeStatistics) -> tuple[tuple[Atom, int], tuple[Atom, int]]:
    received, sent = numbers.bytes_in_out()
    return (Atom("input"), received), (Atom("output"), sent)


def _garbage_collection(_numbers: NodeStatistics) -> tuple[int, int, int]:
    """How often CPython has looked for cycles, and how many objects it has found: it counts no words."""
    generations = gc.get_stats()
    return sum(one["collections"] for one in generations), sum(one["collected"] for one in generations), 0


def _queue_lengths(numbers: NodeStatistics) -> list[int]:
    return [numbers.run_queue(), 0]


def _active_tasks(numbers: NodeStatistics) -> list[int]:
    # Who asks is running.
    return [numbers.run_queue() + 1, 0]


STATISTICS: Final[dict[str, Callable[[NodeStatistics], Any]]] = {
    "active_tasks": _active_tasks,
    "active_tasks_all": _active_tasks,
    "context_switches": lambda numbers: (numbers.turns(), 0),
    "exact_reductions": _exact_reductions,
    "garbage_collection": _garbage_collection,
    "io": _io,
    "microstate_accounting": lambda numbers: UNDEFINED,
    "reductions": _reductions,
    "run_queue": NodeStatistics.run_queue,
    "run_queue_lengths": _queue_lengths,
    "run_queue_lengths_all": _queue_lengths,
    "runtime": _runtime,
    "scheduler_wall_time": NodeStatistics.scheduler_wall_time,
    "scheduler_wall_time_all": NodeStatistics.scheduler_wall_time,
    "total_active_tasks": lambda numbers: sum(_active_tasks(numbers)),
    "total_active_tasks_all": lambda numbers: sum(_active_tasks(numbers)),
    "total_run_queue_lengths": NodeStatistics.run_queue,
    "total_run_queue_lengths_all": NodeStatistics.run_queue,
    "wall_clock": _wall_clock,
}
"""Every item of ``erlang:statistics/1``. A reduction is a turn of a process."""
