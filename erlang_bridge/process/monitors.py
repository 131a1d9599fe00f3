"""Monitors and aliases. A monitor's reference may be an alias too, and its end may end the alias.

Source: ERTS, "Distribution Protocol", MONITOR_P; Erlang Reference Manual, "Processes", Process Aliases.
"""

from __future__ import annotations

from typing import Any, Final

from erlang_bridge.etf import NO_PAYLOAD
from erlang_bridge.etf import opcodes as op
from erlang_bridge.process.base import TableBase
from erlang_bridge.process.exit_rules import NOCONNECTION, NOPROC
from erlang_bridge.process.process import Process
from erlang_bridge.process.records import DOWN, Alias, Monitor
from erlang_bridge.terms import Atom, ImproperList, Pid, Reference

PROCESS: Final = Atom("process")
ALIAS: Final = Atom("alias")


class Monitors(TableBase):
    """The monitors and aliases of all processes."""

    # -- aliases --------------------------------------------------------------------------------

    def alias(self, process: Process, *, once: bool = False) -> Reference:
        """A reference that messages can be sent to until `unalias` (or the first message, where `once`)."""
        reference = self.make_reference()
        self.add_alias(process, reference, once=once)
        return reference

    def add_alias(
        self, process: Process, reference: Reference, *, once: bool = False, with_monitor: bool = False
    ) -> None:
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
            if not self.emit(node, (op.DOP_MONITOR_P, process.pid, to, reference), NO_PAYLOAD, True):
                self.on_monitor_exit(node, reference, NOCONNECTION)
        return reference

    def demonitor(self, reference: Reference, process: Process | None = None) -> bool:
        """End a monitor that `process` (default: the calling one) has set, and its alias. False: there is none."""
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

    def add_remote_monitor(
        self, process: Process, target: Pid, reference: Reference, watcher: Any, tag: Any = DOWN
    ) -> None:
        """Note a monitor that a SPAWN_REPLY has set up: no MONITOR_P is sent."""
        entry = Monitor(reference, process if watcher is None else watcher, target, tag)
        if not process.alive:
            self._take_back_monitor(target.node, process, reference, target)
            return
        if process.monitors is None:
            process.monitors = {}
        process.monitors[reference] = entry
        self._remote(target.node).monitors[reference] = entry
