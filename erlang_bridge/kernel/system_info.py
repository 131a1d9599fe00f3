"""What a node runs on, and its limits: ``erlang:system_info/1``.

What a Python node does not have is answered with OTP's value for "none"; where OTP has a limit and Python has none,
the limit is the greatest number that the machine can count to.

Source: ERTS ``erlang.erl``, ``system_info/1``; erts ``erl_bif_info.c``.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import struct
import sys
import sysconfig
import time
from collections.abc import Callable
from typing import Any, Final

from erlang_bridge.errors import ErlangError
from erlang_bridge.kernel import process_info
from erlang_bridge.kernel.give_way import give_way
from erlang_bridge.kernel.memory import Allocator
from erlang_bridge.kernel.statistics import BADARG, DIRTY_CPU_SCHEDULERS, SCHEDULERS, UNDEFINED
from erlang_bridge.net.open_sockets import open_sockets
from erlang_bridge.otp.reports import charlist
from erlang_bridge.process.process import STATUS_NAMES
from erlang_bridge.terms import Atom, atom_table
from erlang_bridge.version import __version__

OTP_RELEASE: Final = 27
"""The release whose protocols are spoken: other nodes choose by it how to talk with this one."""
MAX_PROCESSES: Final = (1 << 28) - 1
"""A pid has so many ids."""
UNLIMITED: Final = sys.maxsize
PROCESSES_A_TURN: Final = 250
WORD_SIZE: Final = struct.calcsize("P")


def system_info(node: Any, item: Any) -> Any:
    """``erlang:system_info(Item)``.

    Raises:
        ErlangError: ``badarg``: there is no such item.
    """
    match item:
        case Atom(name) if name in ITEMS:
            return ITEMS[name](node)
        case (Atom("wordsize"), Atom("internal" | "external")):
            return WORD_SIZE
        case (Atom("allocator_sizes"), list(wanted)):
            return [(name, instances) for name, instances in allocator_sizes(node) if name in wanted]
        case (Atom("allocator" | "allocator_sizes"), wanted):
            return next((instances for name, instances in allocator_sizes(node) if name is wanted), False)
        case (Atom("cpu_topology"), Atom("defined" | "detected" | "used")):
            return UNDEFINED
    raise ErlangError(BADARG)


def allocator_sizes(node: Any) -> list[tuple[Atom, Any]]:
    """Every allocator with its one instance, as ``{allocator_sizes, Alloc}`` has them.

    ``{Alloc, [{instance, 0, [{mbcs, [{blocks, [{Type, [{size, Now, Max, Ever}]}]}, {carriers_size, Now, Max, Ever}]},
    {sbcs, ..}]}]}``: a carrier is memory from the system, a block what has been given out of it. Nobody keeps the
    greatest sizes there have been; they are answered with those of now.
    """
    return [(Atom(one.name), [(Atom("instance"), 0, _carriers(one))]) for one in node.statistics.allocators()]


def _carriers(one: Allocator) -> list[Any]:
    size, blocks, carriers = Atom("size"), Atom("blocks"), Atom("carriers_size")
    used = [(Atom(one.name), [(size, one.used, one.used, one.used)])]
    return [
        (Atom("mbcs"), [(blocks, used), (carriers, one.held, one.held, one.held)]),
        (Atom("sbcs"), [(blocks, []), (carriers, 0, 0, 0)]),
    ]


# -- one item ---------------------------------------------------------------------------------


def python_version() -> str:
    """Such as ``CPython 3.11.2``."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def _system_version(node: Any) -> list[int]:
    words = f"[{WORD_SIZE * 8}-bit] [smp:{SCHEDULERS}:{SCHEDULERS}] [async-threads:{_pool_size(node)}]"
    return charlist(f"pyanoma {__version__} [{python_version()}] {words}\n")


def _architecture() -> str:
    triple = sysconfig.get_config_var("HOST_GNU_TYPE")
    return str(triple) if triple else f"{platform.machine()}-{sys.platform}"


def _pool_size(node: Any) -> int:
    size: int = node.table.scheduler.hub.threadpool.maxsize
    return size


def _open_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def _usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _compiler() -> Any:
    match = re.match(r"GCC (\d+)\.(\d+)\.(\d+)", platform.python_compiler())
    return UNDEFINED if match is None else (Atom("gnuc"), tuple(map(int, match.groups())))


def _allocator(node: Any) -> tuple[Any, ...]:
    name, version = platform.libc_ver()
    numbers = [int(part) for part in version.split(".") if part.isdigit()]
    return Atom(name) if name else UNDEFINED, numbers, [Atom(one.name) for one in node.statistics.allocators()], []


def _clock(python_name: Any, clock_id: str, now_ns: Callable[[], int]) -> list[tuple[Atom, Any]]:
    clock = time.get_clock_info(python_name)
    function = clock.implementation.partition("(")[0]
    return [
        (Atom("function"), Atom(function)),
        (Atom("clock_id"), Atom(clock_id)),
        (Atom("resolution"), round(1 / clock.resolution)),
        (Atom("parallel"), Atom("yes")),
        (Atom("time"), now_ns()),
    ]


def _controllers(node: Any) -> list[Any]:
    """``[{Node, Pid}]``: `net_kernel` stands for all connections, which have no process each."""
    net_kernel = node.whereis("net_kernel")
    return [(channel.node, net_kernel) for channel in node.connections.channels()] if net_kernel is not None else []


def port_count(node: Any) -> int:
    """Sockets of the node, which are shown as ports."""
    return sum(1 for _ in open_sockets(node.connections, node.registration))


def _or_undefined(pid: Any) -> Any:
    return UNDEFINED if pid is None else pid


# -- as text, for people ----------------------------------------------------------------------


def _info(node: Any) -> bytes:
    lines = [f"={name}: {size}" for name, size in node.statistics.memory().items()]
    lines.append(f"=processes: {len(node.table.processes)}")
    lines.append(f"=atoms: {atom_table()[0]}")
    return ("\n".join(lines) + "\n").encode()


def _procs(node: Any) -> bytes:
    """As in a crash dump: a paragraph for each process. Called in a process, it gives way to others now and then."""
    lines = []
    for number, process in enumerate(list(node.table.processes.values())):
        if number % PROCESSES_A_TURN == PROCESSES_A_TURN - 1 and not node.table.scheduler.in_hub():
            give_way()
        lines.append(f"=proc:{process.pid}")
        lines.append(f"State: {STATUS_NAMES[process.state]}")
        if process.name is not None:
            lines.append(f"Name: {process.name}")
        module, function, arity = process_info.started_with(process)
        lines.append(f"Spawned as: {module}:{function}/{arity}")
        lines.append(f"Message queue length: {len(process.mailbox or ())}")
        lines.append(f"Reductions: {process.reductions}")
        lines.append(f"Memory: {process_info.memory(process)}")
    return ("\n".join(lines) + "\n").encode(errors="replace")


def _loaded(node: Any) -> bytes:
    size = node.statistics.memory()["code"]
    names = sorted(sys.modules)
    return "\n".join([f"Current code: {size}", *names, ""]).encode(errors="replace")


def _dist(node: Any) -> bytes:
    lines = [f"=node:{node.name}", f"Creation: {node.creation}"]
    for channel in node.connections.channels():
        kind = "hidden" if channel.peer is not None and channel.peer.hidden else "visible"
        lines.append(f"={kind}_node:{channel.number}")
        lines.append(f"Name: {channel.node}")
        lines.extend(f"{name}: {value}" for name, value in channel.statistics().items())
    return ("\n".join(lines) + "\n").encode(errors="replace")


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda node: value


ITEMS: Final[dict[str, Callable[[Any], Any]]] = {
    "alloc_util_allocators": lambda node: [Atom(one.name) for one in node.statistics.allocators()],
    "allocator": _allocator,
    "async_dist": _always(False),
    "atom_count": lambda node: atom_table()[0],
    "atom_limit": _always(UNLIMITED),
    "build_flavor": _always(Atom("cpython")),
    "build_type": _always(Atom("opt")),
    "c_compiler_used": lambda node: _compiler(),
    "check_io": _always([]),
    "compat_rel": _always(OTP_RELEASE),
    "cpu_topology": _always(UNDEFINED),
    "creation": lambda node: node.creation,
    "debug_compiled": lambda node: hasattr(sys, "gettotalrefcount"),
    "delayed_node_table_gc": _always(Atom("immediately")),
    "dirty_cpu_schedulers": _always(DIRTY_CPU_SCHEDULERS),
    "dirty_cpu_schedulers_online": _always(DIRTY_CPU_SCHEDULERS),
    "dirty_io_schedulers": _always(0),
    "dist": _dist,
    "dist_buf_busy_limit": lambda node: node.options.high_water,
    "dist_ctrl": _controllers,
    "dynamic_trace": _always(Atom("none")),
    "dynamic_trace_probes": _always(False),
    "emu_flavor": _always(Atom("cpython")),
    "emu_type": _always(Atom("opt")),
    "ets_count": lambda node: len(node.tables.all()),
    "ets_limit": _always(UNLIMITED),
    "fullsweep_after": _always((Atom("fullsweep_after"), process_info.FULLSWEEP_AFTER)),
    "garbage_collection": _always(
        [
            (Atom("max_heap_size"), 0),
            (Atom("min_bin_vheap_size"), process_info.MIN_BIN_VHEAP_SIZE),
            (Atom("min_heap_size"), process_info.MIN_HEAP_SIZE),
            (Atom("fullsweep_after"), process_info.FULLSWEEP_AFTER),
        ]
    ),
    "heap_sizes": _always([]),
    "heap_type": _always(Atom("shared")),
    "info": _info,
    "kernel_poll": lambda node: node.table.scheduler.hub.loop.backend in ("epoll", "kqueue", "port"),
    "loaded": _loaded,
    "logical_processors": lambda node: os.cpu_count() or Atom("unknown"),
    "logical_processors_available": lambda node: _usable_processors(),
    "logical_processors_online": lambda node: os.cpu_count() or Atom("unknown"),
    "machine": lambda node: charlist(platform.python_implementation()),
    "max_heap_size": _always(process_info.MAX_HEAP_SIZE),
    "message_queue_data": _always(Atom("on_heap")),
    "min_bin_vheap_size": _always((Atom("min_bin_vheap_size"), process_info.MIN_BIN_VHEAP_SIZE)),
    "min_heap_size": _always((Atom("min_heap_size"), process_info.MIN_HEAP_SIZE)),
    "modified_timing_level": _always(UNDEFINED),
    # As on a BEAM with a single scheduler.
    "multi_scheduling": _always(Atom("disabled")),
    "multi_scheduling_blockers": _always([]),
    "normal_multi_scheduling_blockers": _always([]),
    "os_monotonic_time_source": lambda node: _clock("monotonic", "CLOCK_MONOTONIC", time.monotonic_ns),
    "os_system_time_source": lambda node: _clock("time", "CLOCK_REALTIME", time.time_ns),
    "otp_release": _always(charlist(str(OTP_RELEASE))),
    "port_count": port_count,
    "port_limit": lambda node: _open_files(),
    "port_parallelism": _always(False),
    "process_count": lambda node: len(node.table.processes),
    "process_limit": _always(MAX_PROCESSES),
    "procs": _procs,
    "scheduler_bind_type": _always(Atom("unbound")),
    "scheduler_bindings": _always((Atom("unbound"),)),
    "scheduler_id": _always(1),
    "schedulers": _always(SCHEDULERS),
    "schedulers_online": _always(SCHEDULERS),
    "smp_support": _always(False),
    "start_time": lambda node: node.statistics.started_ns,
    "system_architecture": lambda node: charlist(_architecture()),
    "system_logger": lambda node: _or_undefined(node.whereis("logger_proxy")),
    "system_version": _system_version,
    "thread_pool_size": _pool_size,
    "threads": _always(True),
    "time_correction": _always(False),
    "time_offset": _always(Atom("final")),
    "time_warp_mode": _always(Atom("no_time_warp")),
    "tolerant_timeofday": _always(Atom("disabled")),
    "trace_control_word": _always(0),
    "update_cpu_info": _always(Atom("unchanged")),
    "version": lambda node: charlist(__version__),
    "wordsize": _always(WORD_SIZE),
}
"""Every item that is one word."""
