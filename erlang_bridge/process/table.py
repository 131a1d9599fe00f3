"""All processes of one node, and the signals between them, local and remote alike.

Owns pids, references, registered names, aliases, links and monitors. Signals for other nodes leave through `emit`, as control
tuples of the distribution in their modern form; the node that joins this to the network feeds what comes in through the ``on_*``
methods. However a process ends, it ends in `ProcessTable.exit`: nothing else removes one.

Source: ERTS, "Distribution Protocol", Link Protocol and the table of control messages; Erlang Reference Manual, "Processes".
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import greenlet

from erlang_bridge.errors import EtfEncodeError, ProcessExit
from erlang_bridge.etf import NO_PAYLOAD
from erlang_bridge.etf import opcodes as op
from erlang_bridge.process.exit_rules import KILL, NOCONNECTION, NOPROC, NORMAL, Outcome, receive_exit_signal
from erlang_bridge.process.process import (
    DEAD,
    IDLE,
    LINKED,
    BehaviourProcess,
    BodyProcess,
    GuestProcess,
    Process,
)
from erlang_bridge.process.scheduler import Scheduler, Worker
from erlang_bridge.terms import Atom, ImproperList, Pid, Reference

log = logging.getLogger("erlang_bridge.process")

EMPTY_ATOM: Final = Atom("")
EXIT: Final = Atom("EXIT")
DOWN: Final = Atom("DOWN")
PROCESS: Final = Atom("process")
ALIAS: Final = Atom("alias")
UNDEF: Final = Atom("undef")


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
"""``emit(node, control, payload, connect)``: send a signal, dialling first where `connect`. False: not sent, no connection."""


class ProcessTable:
    """The processes of the node `node_name` of this `creation`.

    Args:
        emit: carries a signal to another node; see `Emit`.
    """

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
        self.node: Any = None
        """The node that joins this table to the network, for code that runs in a process."""
        self._last_id = 0
        self._last_serial = 0
        self._last_reference = 0
        self._last_unlink_id = 0
        self._dying: deque[tuple[Process, Any]] = deque()
        self._funnel_busy = False
        self.release_of: Callable[[Atom, Callable[[int | None], None]], None] = lambda node, answer: answer(None)
        """Tells a function which OTP release a node runs, as soon as that is known; None if it cannot be. Set from above."""
        self.substitute_reason: Callable[[Any, EtfEncodeError], Any] = lambda reason, error: Atom("unencodable_reason")
        """Makes a reason that has a term out of one that has none. Set from above."""
        self.on_body_crash: Callable[[Process, BaseException], Any] = _reason_of
        """Turns an exception that ended a body into its exit reason, and reports it. The layer above sets it."""

    # -- identity -------------------------------------------------------------------------------

    def make_pid(self) -> Pid:
        """The next pid. Ids are not used again before 2**28 others were."""
        self._last_id += 1
        if self._last_id >> 28:
            self._last_id = 1
            self._last_serial = (self._last_serial + 1) & 0xFFFFFFFF
        return Pid(self.node_name, self._last_id, self._last_serial, self.creation)

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

    # -- start ----------------------------------------------------------------------------------

    def add_body(
        self, body: Callable[[], Any], *, parent: Pid | None = None, group_leader: Pid | None = None
    ) -> BodyProcess:
        """Start a process that runs `body`. It gets its first turn later, never inside this call."""
        pid = self.make_pid()
        process = BodyProcess(self, pid, body)
        process.parent = parent
        process.group_leader = self.default_group_leader if group_leader is None else group_leader
        self.processes[pid.id] = process
        self.scheduler.enqueue(process)
        return process

    def add_behaviour(
        self, instance: Any, *, parent: Pid | None = None, trap_exit: bool = False, group_leader: Pid | None = None
    ) -> BehaviourProcess:
        """Start a process that gives each message to ``instance.handle_message``; see `BehaviourProcess`."""
        pid = self.make_pid()
        process = BehaviourProcess(self, pid, instance)
        process.parent = parent
        process.trap_exit = trap_exit
        process.group_leader = self.default_group_leader if group_leader is None else group_leader
        self.processes[pid.id] = process
        return process

    def add_guest(self) -> GuestProcess:
        """A process for the calling greenlet, which is none; the caller ends it with `exit`."""
        pid = self.make_pid()
        process = GuestProcess(self, pid)
        process.group_leader = self.default_group_leader
        self.processes[pid.id] = process
        return process

    def run_guarded(self, process: Process, body: Callable[[], Any]) -> None:
        """Run `body` as `process` and end it with the reason that comes of it."""
        reason: Any = NORMAL
        try:
            body()
        except ProcessExit as ended:
            reason = ended.reason
        except greenlet.GreenletExit:
            reason = KILL
        except BaseException as error:
            reason = self.on_body_crash(process, error)
            if isinstance(error, KeyboardInterrupt):
                self.scheduler.hub.handle_system_error(type(error), error)
        self.exit(process, reason)

    # -- names ----------------------------------------------------------------------------------

    def register(self, name: Atom, process: Process) -> None:
        """Raises ValueError: the name is taken, the process has one or is dead (``badarg`` in OTP)."""
        if process.state == DEAD:
            raise ValueError(f"cannot register {name}: {process.pid} is dead")
        if name in self.names:
            raise ValueError(f"the name {name} is registered already, by {self.names[name].pid}")
        if process.name is not None:
            raise ValueError(f"{process.pid} is registered already, as {process.name}")
        self.names[name] = process
        process.name = name

    def unregister(self, name: Atom) -> None:
        """Raises KeyError: no process has that name."""
        self.names.pop(name).name = None

    def whereis(self, name: Atom) -> Pid | None:
        process = self.names.get(name)
        return process.pid if process is not None else None

    # -- messages -------------------------------------------------------------------------------

    def send(self, sender: Process | None, destination: Any, message: Any) -> None:
        """Send to a pid, a registered name, ``(name, node)``, or an alias. What does not exist drops it silently.

        Raises:
            TypeError: not a destination.
            EtfEncodeError: the message has no term and would have to leave the node.
        """
        kind = type(destination)
        if kind is Pid:
            if destination.node is self.node_name:
                process = self.find(destination)
                if process is not None:
                    process.deliver(message)
            else:
                self._emit_send(sender, destination.node, destination, message)
        elif kind is Atom:
            process = self.names.get(destination)
            if process is not None:
                process.deliver(message)
            else:
                log.debug("message to unknown name %s dropped", destination)
        elif kind is Reference:
            if destination.node is self.node_name:
                self.on_alias_message(destination, message)
            else:
                # OTP's opcode for it carries a sender that has to be a pid.
                from_pid = sender.pid if sender is not None else self._nobody()
                self.emit(destination.node, (op.DOP_ALIAS_SEND, from_pid, destination), message, True)
        elif kind is tuple and len(destination) == 2 and all(type(part) is Atom for part in destination):
            name, node = destination
            if node is self.node_name:
                self.send(sender, name, message)
            else:
                from_pid = sender.pid if sender is not None else self._nobody()
                self.emit(node, (op.DOP_REG_SEND, from_pid, EMPTY_ATOM, name), message, True)
        else:
            raise TypeError(
                f"expected a Pid, an Atom, (Atom name, Atom node) or an alias Reference as destination, got {destination!r}"
            )

    def emit_if_connected(self, sender: Process, destination: tuple[Atom, Atom], message: Any) -> bool:
        """Send to ``(name, node)`` without dialling. False: there is no connection, nothing was sent."""
        name, node = destination
        return self.emit(node, (op.DOP_REG_SEND, sender.pid, EMPTY_ATOM, name), message, False)

    def _emit_send(self, sender: Process | None, node: Atom, destination: Pid, message: Any) -> None:
        from_pid = sender.pid if sender is not None else self._nobody()
        self.emit(node, (op.DOP_SEND_SENDER, from_pid, destination), message, True)

    def _nobody(self) -> Pid:
        return Pid(self.node_name, 0, 0, self.creation)

    def on_alias_message(self, reference: Reference, message: Any) -> None:
        """A message sent to one of our references; dropped where no alias of it is active."""
        if reference.creation != self.creation:
            return
        entry = self.aliases.get(reference.words)
        if entry is None:
            return
        if type(entry) is not Alias:
            entry.on_reply(message)
            return
        if entry.once:
            self.unalias(reference)
            if entry.with_monitor:
                self.demonitor(reference)
        entry.process.deliver(message)

    # -- aliases --------------------------------------------------------------------------------

    def alias(self, process: Process, *, once: bool = False) -> Reference:
        """A reference that messages can be sent to until `unalias` (or the first message, where `once`)."""
        reference = self.make_reference()
        self.add_alias(process, reference, once=once)
        return reference

    def add_alias(self, process: Process, reference: Reference, *, once: bool = False, with_monitor: bool = False) -> None:
        self.aliases[reference.words] = Alias(process, once=once, with_monitor=with_monitor)
        if process.aliases is None:
            process.aliases = set()
        process.aliases.add(reference.words)

    def unalias(self, reference: Reference) -> bool:
        """End an alias. False: it was not active."""
        entry = self.aliases.pop(reference.words, None)
        if type(entry) is Alias and entry.process.aliases is not None:
            entry.process.aliases.discard(reference.words)
        return entry is not None

    def take_reply(self, process: Process, message: Any) -> bool:
        """Give ``{[alias|Ref], Reply}`` that came to the pid to the call that waits for it.

        OTP 25's ``net_kernel`` answers that way. True: taken.
        """
        if type(message) is not tuple or len(message) != 2:
            return False
        tag = message[0]
        if type(tag) is ImproperList and tag.elements[0] is ALIAS:
            tag = tag.tail
        if type(tag) is not Reference or not self.is_ours(tag):
            return False
        entry = self.aliases.get(tag.words)
        if entry is None or type(entry) is Alias:
            return False
        entry.on_reply(message)
        return True

    # -- links ----------------------------------------------------------------------------------

    def _remote(self, node: Atom) -> RemoteNode:
        remote = self.remote.get(node)
        if remote is None:
            self.remote[node] = remote = RemoteNode()
        return remote

    def link(self, process: Process, to: Pid) -> None:
        """Link `process` with `to`; a dead one sends back an exit signal ``noproc``."""
        if to == process.pid:
            return
        links = process.links
        if links is not None and links.get(to) == LINKED:
            return
        if to.node is self.node_name:
            other = self.find(to)
            if other is None:
                self.on_exit_signal(process, to, NOPROC, link=True, linked=True)
                return
            _links(process)[to] = LINKED
            _links(other)[process.pid] = LINKED
        else:
            _links(process)[to] = LINKED
            self._remote(to.node).links[(process.pid, to)] = process
            self.emit(to.node, (op.DOP_LINK, process.pid, to), NO_PAYLOAD, True)

    def unlink(self, process: Process, to: Pid) -> None:
        """Undo a link. After it, no exit signal of `to` reaches `process`."""
        links = process.links
        if links is None or links.get(to) != LINKED:
            return
        if to.node is self.node_name:
            del links[to]
            other = self.find(to)
            if other is not None and other.links is not None:
                other.links.pop(process.pid, None)
        else:
            self._last_unlink_id += 1
            links[to] = self._last_unlink_id
            self.emit(to.node, (op.DOP_UNLINK_ID, self._last_unlink_id, process.pid, to), NO_PAYLOAD, False)

    def on_link(self, from_pid: Pid, to: Pid) -> None:
        process = self.find(to)
        if process is None:
            self.emit(from_pid.node, (op.DOP_PAYLOAD_EXIT, to, from_pid), NOPROC, False)
            return
        links = _links(process)
        # An entry that waits for the ack of our unlink stays as it is: a LINK that crosses an unlink loses.
        if from_pid not in links:
            links[from_pid] = LINKED
            self._remote(from_pid.node).links[(process.pid, from_pid)] = process

    def on_unlink(self, from_pid: Pid, to: Pid, unlink_id: int | None) -> None:
        """UNLINK_ID, or the old UNLINK where `unlink_id` is None. The ack is due in every case, also for the dead."""
        process = self.find(to)
        if process is not None and process.links is not None and process.links.get(from_pid) == LINKED:
            self._forget_link(process, from_pid)
        if unlink_id is not None:
            self.emit(from_pid.node, (op.DOP_UNLINK_ID_ACK, unlink_id, to, from_pid), NO_PAYLOAD, False)

    def on_unlink_ack(self, unlink_id: int, from_pid: Pid, to: Pid) -> None:
        process = self.find(to)
        if process is not None and process.links is not None and process.links.get(from_pid) == unlink_id:
            self._forget_link(process, from_pid)

    def _forget_link(self, process: Process, other: Pid) -> None:
        if process.links is not None:
            process.links.pop(other, None)
        remote = self.remote.get(other.node)
        if remote is not None:
            remote.links.pop((process.pid, other), None)

    # -- exit signals ---------------------------------------------------------------------------

    def send_exit(self, sender: Pid, to: Pid, reason: Any) -> None:
        """``exit(To, Reason)``: an explicit exit signal."""
        if to.node is self.node_name:
            process = self.find(to)
            if process is not None:
                self.on_exit_signal(process, sender, reason, link=False)
        else:
            self.emit(to.node, (op.DOP_PAYLOAD_EXIT2, sender, to), reason, True)

    def on_exit_signal(self, process: Process, sender: Pid, reason: Any, *, link: bool, linked: bool = False) -> None:
        """An exit signal has arrived.

        Args:
            link: it comes from the end of a linked process; without an active link it is dropped.
            linked: the link is known to have existed (its entry is gone already).
        """
        if process.state == DEAD:
            return
        if link and not linked:
            if process.links is None or process.links.get(sender) != LINKED:
                return
            self._forget_link(process, sender)
        outcome, reason = receive_exit_signal(
            reason, link=link, trap_exit=process.trap_exit, own=sender == process.pid
        )
        if outcome is Outcome.MESSAGE:
            process.deliver((EXIT, sender, reason))
        elif outcome is Outcome.DIE:
            self.exit(process, reason)

    # -- monitors -------------------------------------------------------------------------------

    def monitor(
        self,
        process: Process,
        target: Any,
        *,
        tag: Any = DOWN,
        alias: bool = False,
        alias_once: bool = False,
        watcher: Any = None,
        reference: Reference | None = None,
    ) -> Reference:
        """Have ``{Tag, Ref, process, Target, Reason}`` delivered when `target` ends (at once if it does not exist).

        Args:
            process: who monitors.
            target: a pid, a local name, or ``(name, node)``. A name means the process that has it now.
            alias, alias_once: make the reference an alias too, until the monitor ends or (once) the first message.
            watcher: told in place of `process`, by ``on_down(reason)``.
        """
        if reference is None:
            reference = self.make_reference()
        if type(target) is Atom:
            target = (target, self.node_name)
        entry = Monitor(reference, process if watcher is None else watcher, target, tag)
        if alias or alias_once:
            self.add_alias(process, reference, once=alias_once, with_monitor=True)
        node = target.node if type(target) is Pid else target[1]
        if process.monitors is None:
            process.monitors = {}
        process.monitors[reference] = entry
        if node is self.node_name:
            other = self.find(target) if type(target) is Pid else self.names.get(target[0])
            if other is None:
                self._fire(process, entry, NOPROC)
            else:
                if other.monitored_by is None:
                    other.monitored_by = {}
                other.monitored_by[reference] = (process, entry)
                entry.process = other
        else:
            self._remote(node).monitors[reference] = entry
            to = target if type(target) is Pid else target[0]
            self.emit(node, (op.DOP_MONITOR_P, process.pid, to, reference), NO_PAYLOAD, True)
        return reference

    def demonitor(self, reference: Reference, process: Process | None = None) -> bool:
        """End a monitor that `process` (default: the calling one) has set; its alias ends with it. False: there is none."""
        owner = process if process is not None else self.current()
        if owner is None or owner.monitors is None:
            return False
        entry = owner.monitors.pop(reference, None)
        if entry is None:
            return False
        self._end_alias_of_monitor(reference)
        self._withdraw(owner, entry)
        return True

    def _withdraw(self, owner: Process, entry: Monitor) -> None:
        """Take back the far half of a monitor."""
        if entry.process is not None:
            if entry.process.monitored_by is not None:
                entry.process.monitored_by.pop(entry.reference, None)
            return
        target = entry.target
        node = target.node if type(target) is Pid else target[1]
        remote = self.remote.get(node)
        if remote is not None and remote.monitors.pop(entry.reference, None) is not None:
            to = target if type(target) is Pid else target[0]
            self.emit(node, (op.DOP_DEMONITOR_P, owner.pid, to, entry.reference), NO_PAYLOAD, False)

    def _end_alias_of_monitor(self, reference: Reference) -> None:
        entry = self.aliases.get(reference.words)
        if type(entry) is Alias and entry.with_monitor:
            self.unalias(reference)

    def _fire(self, owner: Process, entry: Monitor, reason: Any) -> None:
        """The end of one of our monitors: tell its watcher."""
        if owner.monitors is not None:
            owner.monitors.pop(entry.reference, None)
        self._end_alias_of_monitor(entry.reference)
        watcher = entry.watcher
        if isinstance(watcher, Process):
            watcher.deliver((entry.tag, entry.reference, PROCESS, entry.target, reason))
        else:
            watcher.on_down(reason)

    def on_monitor(self, from_pid: Pid, target: Any, reference: Reference) -> None:
        """Another node monitors a pid or a name of ours."""
        process = self.find(target) if type(target) is Pid else self.names.get(target)
        if process is None:
            self.emit(from_pid.node, (op.DOP_PAYLOAD_MONITOR_P_EXIT, target, from_pid, reference), NOPROC, False)
            return
        self.add_watcher(process, from_pid, target, reference)

    def add_watcher(self, process: Process, watcher: Pid, target: Any, reference: Reference) -> None:
        """Note that a process of another node watches `process`, by `target` (its pid or its name)."""
        if process.monitored_by is None:
            process.monitored_by = {}
        process.monitored_by[reference] = (watcher, target)
        self._remote(watcher.node).watchers[reference] = process

    def on_demonitor(self, from_pid: Pid, reference: Reference) -> None:
        remote = self.remote.get(from_pid.node)
        process = remote.watchers.pop(reference, None) if remote is not None else None
        if process is not None and process.monitored_by is not None:
            process.monitored_by.pop(reference, None)

    def on_monitor_exit(self, node: Atom, reference: Reference, reason: Any) -> None:
        """A process of `node` that we monitor has ended. Drops what matches no monitor: it was taken back meanwhile."""
        remote = self.remote.get(node)
        entry = remote.monitors.pop(reference, None) if remote is not None else None
        if entry is None:
            return
        owner = entry.watcher if isinstance(entry.watcher, Process) else entry.watcher.process
        self._fire(owner, entry, reason)

    # -- the end --------------------------------------------------------------------------------

    def exit(self, process: Process, reason: Any) -> None:
        """End a process. The one way out for all of them: links and monitors are told, its name and aliases end.

        Ends at once everything that dies with it; a chain of links of any length does not recurse. Code of a process that
        was blocked unwinds with `ProcessExit`.
        """
        if process.state == DEAD:
            return
        process.state = DEAD
        process.exit_reason = reason
        self._dying.append((process, reason))
        if self._funnel_busy:
            return
        self._funnel_busy = True
        try:
            while self._dying:
                self._bury(*self._dying.popleft())
        finally:
            self._funnel_busy = False

    def _bury(self, process: Process, reason: Any) -> None:
        pid = process.pid
        self.processes.pop(pid.id, None)
        if process.name is not None:
            self.names.pop(process.name, None)
        process.mailbox = None
        links, process.links = process.links, None
        if links:
            for other_pid, unlink_id in links.items():
                if other_pid.node is self.node_name:
                    other = self.find(other_pid)
                    if other is not None and other.links is not None and other.links.pop(pid, None) is not None:
                        self.on_exit_signal(other, pid, reason, link=True, linked=True)
                else:
                    remote = self.remote.get(other_pid.node)
                    if remote is not None:
                        remote.links.pop((pid, other_pid), None)
                    if unlink_id == LINKED:
                        self._emit_reason(other_pid.node, (op.DOP_PAYLOAD_EXIT, pid, other_pid), reason)
        watchers, process.monitored_by = process.monitored_by, None
        if watchers:
            for reference, (watcher, entry) in watchers.items():
                if isinstance(watcher, Process):
                    self._fire(watcher, entry, reason)
                else:
                    remote = self.remote.get(watcher.node)
                    if remote is not None:
                        remote.watchers.pop(reference, None)
                    control = (op.DOP_PAYLOAD_MONITOR_P_EXIT, entry, watcher, reference)
                    self._emit_reason(watcher.node, control, reason)
        monitors, process.monitors = process.monitors, None
        if monitors:
            for entry in monitors.values():
                self._withdraw(process, entry)
        aliases, process.aliases = process.aliases, None
        if aliases:
            for words in aliases:
                self.aliases.pop(words, None)
        if process.on_exit is not None:
            on_exit, process.on_exit = process.on_exit, None
            on_exit(reason)
        blocked = process.greenlet
        if blocked is not None and blocked is not greenlet.getcurrent() and not isinstance(process, GuestProcess):
            self.scheduler.hub.loop.run_callback(self._unwind, process, blocked)

    def _unwind(self, process: Process, blocked: Any) -> None:
        # It may have come back by itself and serve another process by now.
        if isinstance(blocked, Worker) and blocked.process is process and not blocked.dead:
            blocked.throw(ProcessExit(process.exit_reason))

    def _emit_reason(self, node: Atom, control: tuple[Any, ...], reason: Any) -> None:
        """Send a reason that came from user code: one that has no term must not keep others from hearing of the death."""
        try:
            self.emit(node, control, reason, False)
        except EtfEncodeError as error:
            log.warning("an exit reason cannot be sent, its text goes in its place: %s", error)
            self.emit(node, control, self.substitute_reason(reason, error), False)

    def on_node_down(self, node: Atom) -> None:
        """The connection to `node` has ended: exit signals and downs ``noconnection``, once each; forget its watchers."""
        remote = self.remote.pop(node, None)
        if remote is None:
            return
        for (_, theirs), process in list(remote.links.items()):
            links = process.links
            if links is not None and links.pop(theirs, None) == LINKED:
                self.on_exit_signal(process, theirs, NOCONNECTION, link=True, linked=True)
        for entry in list(remote.monitors.values()):
            owner = entry.watcher if isinstance(entry.watcher, Process) else entry.watcher.process
            if owner.monitors is not None and entry.reference in owner.monitors:
                self._fire(owner, entry, NOCONNECTION)
        for reference, process in remote.watchers.items():
            if process.monitored_by is not None:
                process.monitored_by.pop(reference, None)
        for answer in list(remote.spawns.values()):
            answer(NOCONNECTION, 0)

    # -- spawn on other nodes -------------------------------------------------------------------

    def spawn_request(
        self,
        process: Process,
        node: Atom,
        mfa: tuple[Atom, Atom, list[Any]],
        options: list[Any],
        answer: Callable[[Any, int], None],
        *,
        group_leader: Pid | None = None,
        reference: Reference | None = None,
    ) -> Reference:
        """Ask `node` to start a process. `answer` gets its pid, or an atom that says why not, and the flags of the reply.

        The reference is also that of the monitor, where `options` has ``monitor``.
        """
        module, function, arguments = mfa
        if reference is None:
            reference = self.make_reference()
        leader = group_leader or process.group_leader or process.pid
        self._remote(node).spawns[reference] = answer
        control = (
            op.DOP_SPAWN_REQUEST,
            reference,
            process.pid,
            leader,
            (module, function, len(arguments)),
            options,
        )
        try:
            self.emit(node, control, arguments, True)
        except BaseException:
            remote = self.remote.get(node)
            if remote is not None:
                remote.spawns.pop(reference, None)
            raise
        return reference

    def abandon_spawn(self, reference: Reference, process: Process) -> None:
        """Nobody waits for the reply of a spawn request any more; the monitor it brings is taken back when it comes."""
        for node, remote in self.remote.items():
            if reference in remote.spawns:
                remote.spawns[reference] = lambda result, flags, node=node: self._take_back(node, process, reference, result)
                return

    def _take_back(self, node: Atom, process: Process, reference: Reference, result: Any) -> None:
        if type(result) is Pid:
            self.emit(node, (op.DOP_DEMONITOR_P, process.pid, result, reference), NO_PAYLOAD, False)

    def on_spawn_reply(self, node: Atom, reference: Reference, flags: int, result: Any) -> None:
        remote = self.remote.get(node)
        answer = remote.spawns.pop(reference, None) if remote is not None else None
        if answer is not None:
            answer(result, flags)

    def add_remote_link(self, process: Process, to: Pid) -> None:
        """Note a link that a SPAWN_REPLY has set up: no LINK signal is sent."""
        if not process.alive:
            self._emit_reason(to.node, (op.DOP_PAYLOAD_EXIT, process.pid, to), process.exit_reason)
            return
        _links(process)[to] = LINKED
        self._remote(to.node).links[(process.pid, to)] = process

    def add_remote_monitor(self, process: Process, target: Pid, reference: Reference, watcher: Any, tag: Any = DOWN) -> None:
        """Note a monitor that a SPAWN_REPLY has set up: no MONITOR_P is sent."""
        entry = Monitor(reference, process if watcher is None else watcher, target, tag)
        if not process.alive:
            self._take_back(target.node, process, reference, target)
            return
        if process.monitors is None:
            process.monitors = {}
        process.monitors[reference] = entry
        self._remote(target.node).monitors[reference] = entry

    # -- timers ---------------------------------------------------------------------------------

    def send_after(self, delay_s: float, destination: Any, message: Any) -> Timer:
        """Send `message` later. It is not sent to a process that has died by then."""
        return Timer(self, delay_s, destination, message)

    def close(self, reason: Any) -> None:
        """End every process with `reason`, then stop the scheduler."""
        for process in list(self.processes.values()):
            self.exit(process, reason)
        for timer in list(self.timers):
            timer.cancel()
        self.scheduler.close()

    def statistics(self) -> dict[str, int]:
        return {
            "processes": len(self.processes),
            "names": len(self.names),
            "aliases": len(self.aliases),
            "run_queue": len(self.scheduler.ready),
            "turns": self.scheduler.turns,
        }


class Timer:
    """A message that waits for its time. ``erlang:send_after/3``."""

    __slots__ = ("_destination", "_message", "_table", "_timer")

    def __init__(self, table: ProcessTable, delay_s: float, destination: Any, message: Any) -> None:
        self._table = table
        self._destination = destination
        self._message = message
        self._timer = table.scheduler.hub.loop.timer(max(0.0, delay_s))
        # update: the loop's idea of now is stale in a callback that has run for long.
        self._timer.start(self._fire, update=True)
        table.timers.add(self)

    def _fire(self) -> None:
        if self.cancel():
            self._table.send(None, self._destination, self._message)

    def cancel(self) -> bool:
        """False: it was sent or cancelled already."""
        timer, self._timer = self._timer, None
        if timer is None:
            return False
        timer.stop()
        timer.close()
        self._table.timers.discard(self)
        return True


def _links(process: Process) -> dict[Pid, int]:
    links = process.links
    if links is None:
        process.links = links = {}
    return links


def _reason_of(process: Process, error: BaseException) -> Any:
    return (Atom(type(error).__name__), str(error))


__all__ = ["IDLE", "Alias", "Monitor", "ProcessTable", "RemoteNode", "Timer"]
