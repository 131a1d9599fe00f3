"""The first part of a node's end: its supervision trees are shut down, each from the last child to the first."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any, Final

from erlang_bridge.otp import gen
from erlang_bridge.otp.supervisor import Supervisor
from erlang_bridge.process import BehaviourProcess, Process, ProcessTable
from erlang_bridge.process.exit_rules import SHUTDOWN
from erlang_bridge.process.records import DOWN
from erlang_bridge.terms import Atom, Reference

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


def _is_supervisor(process: Process) -> bool:
    return isinstance(process, BehaviourProcess) and isinstance(process.instance, Supervisor)


def _is_root(process: Process) -> bool:
    if not _is_supervisor(process):
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
        asker.receive(lambda message: _is_down(message, monitor), max(0.0, timeout_s))
    except TimeoutError:
        return False
    return True


def _is_down(message: Any, monitor: Reference) -> bool:
    return type(message) is tuple and len(message) == 5 and message[0] is DOWN and message[1] == monitor
