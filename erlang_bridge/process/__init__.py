"""Processes: pids, mailboxes, signals, links, monitors, names, aliases, timers, and the scheduler that runs them.

Knows nothing of sockets: signals for other nodes leave through one function, `table.Emit`.
"""

from erlang_bridge.process.process import BehaviourProcess, BodyProcess, GuestProcess, Process
from erlang_bridge.process.records import is_down
from erlang_bridge.process.table import ProcessTable
from erlang_bridge.process.timer import Timer
from erlang_bridge.process.waiter import PENDING, Waiter

__all__ = [
    "PENDING",
    "BehaviourProcess",
    "BodyProcess",
    "GuestProcess",
    "Process",
    "ProcessTable",
    "Timer",
    "Waiter",
    "is_down",
]
