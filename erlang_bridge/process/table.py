"""All processes of one node, and the signals between them, local and remote alike.

Owns pids, references, registered names, aliases (`monitors`), links (`links`) and monitors. Signals for other nodes
leave through `emit`, as control tuples of the distribution in their modern form; the node that joins this to the
network feeds what comes in through the ``on_*`` methods. However a process ends, it ends in `ProcessTable.exit`:
nothing else removes one.

Source: ERTS, "Distribution Protocol"; Erlang Reference Manual, "Processes".
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import greenlet

from erlang_bridge.errors import ProcessExit
from erlang_bridge.etf import opcodes as op
from erlang_bridge.process.exit_rules import KILL, NOCONNECTION, NORMAL
from erlang_bridge.process.links import Links
from erlang_bridge.process.monitors import Monitors
from erlang_bridge.process.process import DEAD, LINKED, BehaviourProcess, BodyProcess, GuestProcess, Process
from erlang_bridge.process.scheduler import Worker
from erlang_bridge.process.spawns import Spawns
from erlang_bridge.process.timer import Timer
from erlang_bridge.terms import Atom, Pid, Reference

log = logging.getLogger("erlang_bridge.process")

EMPTY_ATOM: Final = Atom("")


class ProcessTable(Links, Monitors, Spawns):
    """The processes of the node `node_name` of this `creation`; arguments as for `TableBase`."""

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
            try:
                reason = self.on_body_crash(process, error)
            except ProcessExit as ended:
                reason = ended.reason
            except Exception as failure:
                self.end_broken(process, failure)
            if isinstance(error, KeyboardInterrupt):
                self.scheduler.hub.handle_system_error(type(error), error)
        self.exit(process, reason)

    def end_broken(self, process: Process, error: BaseException) -> None:
        """End a process whose end could not be told as it should: an error of this library, or in a hook of it."""
        log.critical("process %s ended by an error outside of its own code", process.pid, exc_info=error)
        self.exit(process, (Atom("internal_error"), Atom(type(error).__name__[:255])))

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
                "expected a Pid, an Atom, (Atom name, Atom node) or an alias Reference as destination, "
                f"got {destination!r}"
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

    # -- the end --------------------------------------------------------------------------------

    def exit(self, process: Process, reason: Any) -> None:
        """End a process. The one way out for all of them: links and monitors are told, its name and aliases end.

        Ends at once everything that dies with it; a chain of links of any length does not recurse. Code of a process
        that was blocked unwinds with `ProcessExit`.
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
                try:
                    self._bury(*self._dying.popleft())
                except Exception:
                    log.exception("the end of a process could not be told to everybody")
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
        blocked = process.greenlet
        if monitors:
            is_idle = blocked is None or isinstance(process, GuestProcess)
            for entry in monitors.values():
                self._withdraw(process, entry)
                if is_idle and not isinstance(entry.watcher, Process):
                    # A call made on its behalf in a greenlet that does not end with it.
                    entry.watcher.on_down(reason)
        aliases, process.aliases = process.aliases, None
        if aliases:
            for words in aliases:
                self.aliases.pop(words, None)
        timers, process.timers = process.timers, None
        if timers:
            for timer in list(timers):
                timer.cancel()
        if blocked is not None and blocked is not greenlet.getcurrent():
            self.scheduler.hub.loop.run_callback(self._unwind, process, blocked)
        if process.on_exit is not None:
            on_exit, process.on_exit = process.on_exit, None
            on_exit(reason)

    def _unwind(self, process: Process, blocked: Any) -> None:
        if isinstance(process, GuestProcess):
            # Whatever else its greenlet does is none of our business.
            if process.waiting:
                blocked.switch()
        # It may have come back by itself and serve another process by now.
        elif isinstance(blocked, Worker) and blocked.process is process and not blocked.dead:
            blocked.throw(ProcessExit(process.exit_reason))

    def on_node_down(self, node: Atom) -> None:
        """The connection to `node` has ended: everybody tied to it hears ``noconnection``, once each."""
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
