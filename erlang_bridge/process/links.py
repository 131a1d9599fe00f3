"""Links, and the exit signals that go over them or are sent by somebody.

Source: ERTS, "Distribution Protocol", Link Protocol.
"""

from __future__ import annotations

from typing import Any, Final

from erlang_bridge.etf import NO_PAYLOAD
from erlang_bridge.etf import opcodes as op
from erlang_bridge.process.base import TableBase
from erlang_bridge.process.exit_rules import NOCONNECTION, NOPROC, Outcome, receive_exit_signal
from erlang_bridge.process.process import DEAD, LINKED, Process
from erlang_bridge.terms import Atom, Pid

EXIT: Final = Atom("EXIT")


class Links(TableBase):
    """The links of all processes."""

    # -- links ----------------------------------------------------------------------------------

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
            if not self.emit(to.node, (op.DOP_LINK, process.pid, to), NO_PAYLOAD, True):
                self.on_exit_signal(process, to, NOCONNECTION, link=True)

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

    def add_remote_link(self, process: Process, to: Pid) -> None:
        """Note a link that a SPAWN_REPLY has set up: no LINK signal is sent."""
        if not process.alive:
            self._emit_reason(to.node, (op.DOP_PAYLOAD_EXIT, process.pid, to), process.exit_reason)
            return
        _links(process)[to] = LINKED
        self._remote(to.node).links[(process.pid, to)] = process

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
        outcome, reason = receive_exit_signal(reason, link=link, trap_exit=process.trap_exit, own=sender == process.pid)
        if outcome is Outcome.MESSAGE:
            process.deliver((EXIT, sender, reason))
        elif outcome is Outcome.DIE:
            self.exit(process, reason)


def _links(process: Process) -> dict[Pid, int]:
    links = process.links
    if links is None:
        process.links = links = {}
    return links
