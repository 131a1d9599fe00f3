"""What every part of the process table stands on: identities, who is alive, what is known about other nodes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import greenlet

from erlang_bridge.errors import EtfEncodeError
from erlang_bridge.etf import NO_PAYLOAD
from erlang_bridge.etf import opcodes as op
from erlang_bridge.process.process import Process
from erlang_bridge.process.records import Emit, RemoteNode
from erlang_bridge.process.scheduler import Scheduler
from erlang_bridge.terms import Atom, Pid, Reference

log = logging.getLogger("erlang_bridge.process")


class TableBase:
    """The state of a node's processes; `ProcessTable` is all of it.

    Args:
        emit: carries a signal to another node; see `Emit`.
    """

    # An object that gets another class, as the table does while it is traced, pays ever after for what is in its dict.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_dying",
        "_funnel_busy",
        "_last_id",
        "_last_reference",
        "_last_serial",
        "_last_unlink_id",
        "aliases",
        "connect_failures",
        "creation",
        "default_group_leader",
        "emit",
        "names",
        "node",
        "node_name",
        "processes",
        "remote",
        "scheduler",
        "spare_mailboxes",
        "timers",
        "tracing",
    )

    tracing: Any
    """The `Tracing` of this table, where it has one."""

    def __init__(self, node_name: Atom, creation: int, emit: Emit) -> None:
        self.node_name = node_name
        self.creation = creation
        self.emit = emit
        self.scheduler = Scheduler()
        self.processes: dict[int, Process] = {}
        self.names: dict[Atom, Process] = {}
        self.aliases: dict[tuple[int, ...], Any] = {}
        self.remote: dict[Atom, RemoteNode] = {}
        self.spare_mailboxes: list[deque[Any]] = []
        self.timers: set[Any] = set()
        self.default_group_leader: Pid | None = None
        self.connect_failures: dict[Atom, BaseException] = {}
        """Why the last attempt to connect with a node failed, until one succeeds. Kept by the node."""
        self.node: Any = None
        """The node that joins this table to the network, for code that runs in a process."""
        self._last_id = 0
        self._last_serial = 0
        self._last_reference = 0
        self._last_unlink_id = 0
        self._dying: deque[tuple[Process, Any]] = deque()
        self._funnel_busy = False
        self.release_of: Callable[[Atom, Callable[[int | None], None]], None] = lambda node, answer: answer(None)
        """Tells a function which OTP release a node runs, when that is known; None if it cannot be. Set from above."""
        self.substitute_reason: Callable[[Any, EtfEncodeError], Any] = lambda reason, error: Atom("unencodable_reason")
        """Makes a reason that has a term out of one that has none. Set from above."""
        self.on_report: Callable[[Process, Any, dict[Any, Any]], None] = lambda process, report, metadata: None
        """Told what a process reports, in the shape of OTP's logger: the report and its metadata. Set from above."""
        self.on_server: Callable[[type], None] = lambda server_class: None
        """Told the class of each server before it is started. Set from above."""
        self.on_body_crash: Callable[[Process, BaseException], Any] = _reason_of
        """Turns an exception that ended a body into its exit reason, and reports it. The layer above sets it."""

    # -- identity -------------------------------------------------------------------------------

    def make_pid(self) -> Pid:
        """The next pid. Ids are not used again before 2**28 others were, nor while their process lives."""
        self._last_id = number = self._last_id + 1
        if number >> 28 or self._last_serial:
            number = self._free_id()
        return Pid(self.node_name, number, self._last_serial, self.creation)

    def _free_id(self) -> int:
        """The next id that no process has, once all have been used."""
        while self._last_id >> 28 or self._last_id in self.processes:
            self._last_id += 1
            if self._last_id >> 28:
                self._last_id = 1
                # Not 0 again: that says that no id has been used twice.
                self._last_serial = self._last_serial % 0xFFFFFFFF + 1
        return self._last_id

    def make_reference(self) -> Reference:
        """A reference of three words, unique in this start of the node."""
        self._last_reference = number = self._last_reference + 1
        # The first word keeps to 18 bits: C nodes of old releases look at no more.
        return Reference(
            self.node_name, self.creation, (number & 0x3FFFF, (number >> 18) & 0xFFFFFFFF, (number >> 50) & 0xFFFFFFFF)
        )

    def is_ours(self, identifier: Pid | Reference) -> bool:
        """Whether a pid or reference belongs to this start of this node."""
        return identifier.node is self.node_name and identifier.creation == self.creation

    def find(self, pid: Pid) -> Process | None:
        """The live local process of that pid."""
        process = self.processes.get(pid.id)
        if (
            process is None
            or process.pid.serial != pid.serial
            or pid.creation != self.creation
            or pid.node is not self.node_name
        ):
            return None
        return process

    def current(self) -> Process | None:
        """The process in whose code the caller runs; None in a greenlet that is no process."""
        worker = greenlet.getcurrent()
        process = getattr(worker, "process", None)
        return process if isinstance(process, Process) and process.table is self else None

    def _remote(self, node: Atom) -> RemoteNode:
        remote = self.remote.get(node)
        if remote is None:
            self.remote[node] = remote = RemoteNode()
        return remote

    def _emit_reason(self, node: Atom, control: tuple[Any, ...], reason: Any) -> None:
        """Send a reason that came from user code.

        One that has no term must not keep others from hearing of the death.
        """
        try:
            self.emit(node, control, reason, False)
        except EtfEncodeError as error:
            log.warning("an exit reason cannot be sent, its text goes in its place: %s", error)
            self.emit(node, control, self.substitute_reason(reason, error), False)
        except Exception as error:  # a conversion of the user's own that raised
            log.exception("an exit reason cannot be sent")
            refused = EtfEncodeError("", None, f"its conversion raised {type(error).__name__}")
            self.emit(node, control, self.substitute_reason(reason, refused), False)

    def _take_back_monitor(self, node: Atom, process: Process, reference: Reference, target: Pid) -> None:
        """Undo a monitor that a spawn reply has brought and that nobody wants any more."""
        self.emit(node, (op.DOP_DEMONITOR_P, process.pid, target, reference), NO_PAYLOAD, False)

    def exit(self, process: Process, reason: Any) -> None:
        """End a process; see `ProcessTable.exit`."""
        raise NotImplementedError


def _reason_of(_process: Process, error: BaseException) -> Any:
    return (Atom(type(error).__name__), str(error))
