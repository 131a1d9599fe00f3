"""Signals from other nodes, taken to the process table: one method per kind, found in a table by opcode.

Semantic nonsense (a sender that is not of the peer's node, a reference that nobody knows) is dropped with a line in
the log; what breaks the frame has ended the connection before it comes here.

Source: ERTS, "Distribution Protocol", Protocol between Connected Nodes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from erlang_bridge.etf import opcodes as op
from erlang_bridge.kernel.spawn_server import SpawnServer
from erlang_bridge.process import ProcessTable
from erlang_bridge.terms import Atom, Pid, Reference

log = logging.getLogger("erlang_bridge.node")

UNDECODABLE: Final = Atom("undecodable_term")

_PRIORITY: Final = 1
_TOKEN: Final = 2
_TO_ALIAS: Final = 4
_TO_NAME: Final = 8
_EXIT: Final = 16


class Dispatcher:
    """Gives each signal of a connection to the process table."""

    def __init__(self, table: ProcessTable, spawn_server: SpawnServer) -> None:
        self._table = table
        self._spawn_server = spawn_server
        self._handlers: dict[int, Callable[[Atom, Any, Any], None]] = {
            op.DOP_LINK: self._link,
            op.DOP_UNLINK: self._unlink,
            op.DOP_UNLINK_ID: self._unlink_id,
            op.DOP_UNLINK_ID_ACK: self._unlink_id_ack,
            op.DOP_GROUP_LEADER: self._group_leader,
            op.DOP_MONITOR_P: self._monitor,
            op.DOP_DEMONITOR_P: self._demonitor,
            op.DOP_SEND_TT: lambda node, control, message: self._send(node, control[2], message),
            op.DOP_SEND_SENDER_TT: lambda node, control, message: self._send(node, control[2], message),
            op.DOP_REG_SEND_TT: lambda node, control, message: self._send(node, control[3], message),
            op.DOP_ALIAS_SEND_TT: lambda node, control, message: self._send(node, control[2], message),
            op.DOP_ALTACT_SIG_SEND: self._altact,
            op.DOP_EXIT: lambda node, control, _: self._exit(node, control, control[3]),
            op.DOP_EXIT_TT: lambda node, control, _: self._exit(node, control, control[4]),
            op.DOP_PAYLOAD_EXIT: self._exit,
            op.DOP_PAYLOAD_EXIT_TT: self._exit,
            op.DOP_EXIT2: lambda node, control, _: self._exit2(node, control, control[3]),
            op.DOP_EXIT2_TT: lambda node, control, _: self._exit2(node, control, control[4]),
            op.DOP_PAYLOAD_EXIT2: self._exit2,
            op.DOP_PAYLOAD_EXIT2_TT: self._exit2,
            op.DOP_MONITOR_P_EXIT: lambda node, control, _: self._monitor_exit(node, control, control[4]),
            op.DOP_PAYLOAD_MONITOR_P_EXIT: self._monitor_exit,
            op.DOP_SPAWN_REQUEST: self._spawn_request,
            op.DOP_SPAWN_REQUEST_TT: self._spawn_request,
            op.DOP_SPAWN_REPLY: self._spawn_reply,
            op.DOP_SPAWN_REPLY_TT: self._spawn_reply,
            op.BAD_TERM: self._bad_term,
        }

    def dispatch(self, node: Atom, signals: list[tuple[int, Any, Any]]) -> None:
        """Deliver what a connection with `node` has received, in order. Never raises for what a peer sent."""
        table = self._table
        processes = table.processes
        names = table.names
        ours = table.node_name
        creation = table.creation
        for opcode, control, payload in signals:
            try:
                if opcode == op.DOP_SEND_SENDER or opcode == op.DOP_SEND:
                    process = processes.get(control.id)
                    if (
                        process is not None
                        and control.creation == creation
                        and control.node is ours
                        and process.pid.serial == control.serial
                    ):
                        process.deliver(payload)
                elif opcode == op.DOP_REG_SEND:
                    process = names.get(control)
                    if process is not None:
                        process.deliver(payload)
                    else:
                        log.debug("message from %s to unknown name %s dropped", node, control)
                elif opcode == op.DOP_ALIAS_SEND:
                    if type(control) is Reference and control.node is ours:
                        table.on_alias_message(control, payload)
                else:
                    handler = self._handlers.get(opcode)
                    if handler is not None:
                        handler(node, control, payload)
            except Exception:
                log.exception("a signal from %s was dropped: operation %s, %r", node, opcode, control)

    def _send(self, node: Atom, destination: Any, message: Any) -> None:
        if type(destination) is Pid:
            process = self._table.find(destination)
            if process is not None:
                process.deliver(message)
        elif type(destination) is Atom:
            process = self._table.names.get(destination)
            if process is not None:
                process.deliver(message)
        elif type(destination) is Reference and destination.node is self._table.node_name:
            self._table.on_alias_message(destination, message)

    def _altact(self, node: Atom, control: Any, payload: Any) -> None:
        flags, sender, destination = control[1] & 0xFF, control[2], control[3]
        if flags & _EXIT:
            target: Any = destination
            if flags & _TO_ALIAS:
                entry = self._table.aliases.get(destination.words) if self._table.is_ours(destination) else None
                process = getattr(entry, "process", None)
            elif flags & _TO_NAME:
                process = self._table.names.get(destination)
            else:
                process = self._table.find(target)
            if process is not None:
                self._table.on_exit_signal(process, sender, payload, link=False)
            return
        self._send(node, destination, payload)

    def _of_peer(self, node: Atom, pid: Any, what: str) -> bool:
        if type(pid) is Pid and pid.node is node:
            return True
        log.warning("%s from %s dropped: its sender %s is not of that node", what, node, pid)
        return False

    def _link(self, node: Atom, control: Any, _: Any) -> None:
        if self._of_peer(node, control[1], "LINK"):
            self._table.on_link(control[1], control[2])

    def _unlink(self, node: Atom, control: Any, _: Any) -> None:
        if self._of_peer(node, control[1], "UNLINK"):
            self._table.on_unlink(control[1], control[2], None)

    def _unlink_id(self, node: Atom, control: Any, _: Any) -> None:
        if self._of_peer(node, control[2], "UNLINK_ID"):
            self._table.on_unlink(control[2], control[3], control[1])

    def _unlink_id_ack(self, node: Atom, control: Any, _: Any) -> None:
        if self._of_peer(node, control[2], "UNLINK_ID_ACK"):
            self._table.on_unlink_ack(control[1], control[2], control[3])

    def _group_leader(self, node: Atom, control: Any, _: Any) -> None:
        process = self._table.find(control[2])
        if process is not None and type(control[1]) is Pid:
            process.group_leader = control[1]

    def _monitor(self, node: Atom, control: Any, _: Any) -> None:
        if self._of_peer(node, control[1], "MONITOR_P"):
            self._table.on_monitor(control[1], control[2], control[3])

    def _demonitor(self, node: Atom, control: Any, _: Any) -> None:
        if self._of_peer(node, control[1], "DEMONITOR_P"):
            self._table.on_demonitor(control[1], control[3])

    def _exit(self, node: Atom, control: Any, reason: Any) -> None:
        if not self._of_peer(node, control[1], "EXIT"):
            return
        process = self._table.find(control[2])
        if process is not None:
            self._table.on_exit_signal(process, control[1], reason, link=True)

    def _exit2(self, node: Atom, control: Any, reason: Any) -> None:
        if type(control[1]) is not Pid:
            return
        process = self._table.find(control[2])
        if process is not None:
            self._table.on_exit_signal(process, control[1], reason, link=False)

    def _monitor_exit(self, node: Atom, control: Any, reason: Any) -> None:
        if type(control[3]) is Reference:
            self._table.on_monitor_exit(node, control[3], reason)

    def _spawn_request(self, node: Atom, control: Any, arguments: Any) -> None:
        _, request_id, parent, leader, mfa, options = control[:6]
        if self._of_peer(node, parent, "SPAWN_REQUEST") and type(request_id) is Reference:
            self._spawn_server.on_spawn_request(node, request_id, parent, leader, mfa, options, arguments)

    def _spawn_reply(self, node: Atom, control: Any, _: Any) -> None:
        _, request_id, _to, flags, result = control[:5]
        if type(request_id) is Reference:
            self._table.on_spawn_reply(node, request_id, flags, result)

    def _bad_term(self, node: Atom, what: Any, error: Any) -> None:
        """One payload could not be decoded. A message is lost; an end of a process must still be heard of."""
        opcode, control = what
        log.error("a message from %s was dropped, operation %s to %s: %s", node, opcode, control, error)
        if opcode in (op.DOP_PAYLOAD_EXIT, op.DOP_PAYLOAD_EXIT_TT):
            self._exit(node, control, UNDECODABLE)
        elif opcode in (op.DOP_PAYLOAD_EXIT2, op.DOP_PAYLOAD_EXIT2_TT):
            self._exit2(node, control, UNDECODABLE)
        elif opcode == op.DOP_PAYLOAD_MONITOR_P_EXIT:
            self._monitor_exit(node, control, UNDECODABLE)
        elif opcode in (op.DOP_SPAWN_REQUEST, op.DOP_SPAWN_REQUEST_TT) and type(control[2]) is Pid:
            self._spawn_server.refuse(node, control[1], control[2])
