"""The first part of a node's end: what is supervised is shut down, so that it can clean up.

First the supervision trees of this node, each from the last child to the first; then the engines that supervisors of
other nodes have here, all at once, as if those had shut them down. ``kernel_sup`` is no part of it: what is shut down
may call, print and log to its end.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Final

from erlang_bridge.kernel.services import KERNEL_SUP
from erlang_bridge.otp import gen
from erlang_bridge.otp.supervisor import Supervisor
from erlang_bridge.process import BehaviourProcess, Process, ProcessTable
from erlang_bridge.process.exit_rules import SHUTDOWN
from erlang_bridge.process.records import is_down
from erlang_bridge.terms import Atom

log = logging.getLogger("erlang_bridge.node")

TERMINATE: Final = Atom("terminate")


def stop_trees(table: ProcessTable, timeout_s: float) -> None:
    """Have the supervisors that no other one here supervises shut down, the last started first. Blocks.

    What has not ended within `timeout_s` all together is left running, with an error in the log.
    """
    deadline = monotonic() + timeout_s
    asker = table.add_guest()
    try:
        for root in reversed([process for process in table.processes.values() if _is_root(process)]):
            if not _stop(table, asker, root, deadline - monotonic()):
                log.error("the tree of %s has not ended within %g s", root.name or root.pid, timeout_s)
    finally:
        table.exit(asker, SHUTDOWN)


def stop_engines(table: ProcessTable, timeout_s: float) -> None:
    """Have the servers that trap exits and have a parent on another node terminate with ``shutdown``. Blocks.

    The others end without a word of theirs in any case. What has not ended within `timeout_s` is left running.
    """
    deadline = monotonic() + timeout_s
    asker = table.add_guest()
    try:
        engines = [process for process in table.processes.values() if _is_supervised_elsewhere(process)]
        monitors = {table.monitor(asker, engine.pid) for engine in engines}
        for engine in engines:
            assert engine.parent is not None
            table.on_exit_signal(engine, engine.parent, SHUTDOWN, link=False)
        while monitors:
            try:
                down = asker.receive(lambda message: type(message) is tuple, max(0.0, deadline - monotonic()))
            except TimeoutError:
                log.error("%d engines of other nodes' supervisors have not ended within %g s", len(monitors), timeout_s)
                return
            monitors.discard(down[1])
    finally:
        table.exit(asker, SHUTDOWN)


def _is_supervised_elsewhere(process: Process) -> bool:
    return (
        isinstance(process, BehaviourProcess)
        and process.trap_exit
        and process.parent is not None
        and process.parent.node is not process.table.node_name
    )


def _is_supervisor(process: Process) -> bool:
    return isinstance(process, BehaviourProcess) and isinstance(process.instance, Supervisor)


def _is_root(process: Process) -> bool:
    if not _is_supervisor(process) or process.name is KERNEL_SUP:
        return False
    seen = {process.pid}
    while process.parent is not None and process.parent not in seen:
        parent = process.table.find(process.parent)
        if parent is None:
            break
        if _is_supervisor(parent):
            return False
        seen.add(parent.pid)
        process = parent
    return True


def _stop(table: ProcessTable, asker: Process, root: Process, timeout_s: float) -> bool:
    if not root.alive:
        return True
    monitor = table.monitor(asker, root.pid)
    # As sys:terminate/2 does: a root may have no parent whose exit it would follow.
    table.send(asker, root.pid, (gen.SYSTEM, (asker.pid, monitor), (TERMINATE, SHUTDOWN)))
    try:
        asker.receive(lambda message: is_down(message, monitor), max(0.0, timeout_s))
    except TimeoutError:
        return False
    return True
