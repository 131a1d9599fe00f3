"""What is noted about aliases, monitors, and everything that ties our processes to those of another node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from erlang_bridge.process.process import Process
from erlang_bridge.terms import Atom, Pid, Reference

DOWN: Final = Atom("DOWN")


def is_down(message: Any, monitor: Reference | None = None) -> bool:
    """Whether a message says that a monitored process has ended.

    Args:
        monitor: the one that it has to be of; None: any.
    """
    if type(message) is not tuple or len(message) != 5 or message[0] is not DOWN:
        return False
    return monitor is None or bool(message[1] == monitor)


class Alias:
    """An active alias: messages sent to its reference go to `process`.

    Attributes:
        once: it ends with the first message through it (``reply`` and ``reply_demonitor``).
        with_monitor: it ends with the monitor of the same reference.
    """

    __slots__ = ("once", "process", "with_monitor")

    def __init__(self, process: Process, *, once: bool = False, with_monitor: bool = False) -> None:
        self.process = process
        self.once = once
        self.with_monitor = with_monitor


class Monitor:
    """A monitor that one of our processes has set.

    Attributes:
        watcher: whose it is; a pending call watches on its own behalf.
        target: the pid watched, or ``(name, node)``.
        tag: the first element of the message, ``'DOWN'`` unless the monitor's option says otherwise.
        process: the one watched, where it is ours; a name means the process that had it then.
    """

    __slots__ = ("process", "reference", "tag", "target", "watcher")

    def __init__(self, reference: Reference, watcher: Any, target: Any, tag: Any = DOWN) -> None:
        self.process: Process | None = None
        self.reference = reference
        self.watcher = watcher
        self.target = target
        self.tag = tag


class RemoteNode:
    """What ties our processes to those of one other node; all of it ends with the connection."""

    __slots__ = ("links", "monitors", "spawns", "watchers")

    def __init__(self) -> None:
        self.links: dict[tuple[Pid, Pid], Process] = {}
        """(ours, theirs) to our process."""
        self.monitors: dict[Reference, Monitor] = {}
        """Set by us on their processes."""
        self.watchers: dict[Reference, Process] = {}
        """Set by them on our processes."""
        self.spawns: dict[Reference, Callable[[Any, int], None]] = {}
        """Requests of ours without a reply: called with the reply and its flags."""


Emit = Callable[[Atom, tuple[Any, ...], Any, bool], bool]
"""``emit(node, control, payload, connect)``: send a signal, dialling first where `connect`. False: not sent."""
