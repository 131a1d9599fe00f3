"""The process ``global_name_server``: names and locks that a whole cluster shares, and the mesh that carries them.

Every node has the whole table of names. It changes in two ways, and under the lock on the resource ``global`` in both:

=====================  ==========================  ====================================================================
what happens           who locks                   how it gets to the others
=====================  ==========================  ====================================================================
a name is registered   the registrar of that node  calls ``register``, ``unregister`` to every member, while all are
or unregistered        locks all members           locked
two nodes connect      the lockers of the two      the two exchange their tables, and tell their partitions by
                       lock both partitions        ``new_nodes``; see `global_sessions`
a process dies, or     nobody                      everyone sees it himself, by a monitor
its node goes
=====================  ==========================  ====================================================================

The parts: this server answers calls and owns the tables (`global_tables`); `global_sessions` is the exchange with one
other node; `global_members` knows the partition and keeps it from overlapping with another; `global_locker` has the two
processes that wait for locks. The server itself never waits: other nodes' lockers do, for its answers.

Connections with hidden nodes take no part. Locks can be set over them all the same, by naming the node.

Source: OTP ``lib/kernel/src/global.erl``, version 8, with ``connect_all`` and ``prevent_overlapping_partitions``.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from typing import Any, Final

from erlang_bridge.kernel.global_locker import Locker, LockIsSet, LockSet, Registrar, Transaction
from erlang_bridge.kernel.global_members import OK, VERSION, Members, Met, NodeDown, NodeUp, NotSyncing
from erlang_bridge.kernel.global_sessions import Exchanged, Resolution, Sessions
from erlang_bridge.kernel.global_tables import GLOBAL, LockId, Names, Registered, Resolve, Tables
from erlang_bridge.otp import gen
from erlang_bridge.otp.gen_server import GenServer, start_server
from erlang_bridge.otp.results import NoReply, Reply, Stop
from erlang_bridge.terms import Atom, Pid, Reference
from erlang_bridge.terms.containers import exact_key

log = logging.getLogger("erlang_bridge.kernel")

YES: Final = Atom("yes")
UNDEFINED: Final = Atom("undefined")
WHEREIS_AGAIN_MS: Final = 4000


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A call: leave the cluster without having the others drop one another."""


class GlobalNameServer(GenServer):
    """Started with its `Tables`, and with what settles a clash of names."""

    trap_exit = True

    names: Names
    locker: Pid
    resolve_clash: Resolve

    def init(self, args: tuple[Tables, Resolve]) -> None:
        tables, self.resolve_clash = args
        self.names = tables.names
        self._locks = tables.locks
        self.locker = self._start_helper(Locker, (self.pid, tables))
        self._registrar = self._start_helper(Registrar, tables)
        self._members = Members(self, tables)
        self._sessions = Sessions(self, self._members)
        self._connections = {channel.node: channel.number for channel in self.node.connections.channels()}

    def _start_helper(self, server_class: type[GenServer], args: Any) -> Pid:
        table = self.process.table
        pid = start_server(table, server_class, args, lambda answer: None, parent=self.process, link=True)
        assert pid is not None
        return pid

    def format_status(self, status: dict[str, Any]) -> dict[str, Any]:
        shown = {
            "known": dict(self._members.known),
            "synced": list(self._members.synced),
            "sessions": list(self._sessions),
            "names": len(self.names),
            "locks": len(self._locks),
        }
        return {**status, "state": shown}

    # -- messages -------------------------------------------------------------------------------

    def handle_call(self, request: Any, caller: gen.Caller, state: Any) -> Any:
        if not self._is_connected_still(caller[0].node):
            return NoReply(state)
        match request:
            case (Atom("set_lock"), (_, _) as lock_id):
                return Reply(self._set_lock(lock_id, caller[0]), state)
            case (Atom("del_lock"), (_, _) as lock_id):
                monitor = self._locks.remove(lock_id, caller[0])
                if monitor is not None:
                    self.demonitor(monitor)
                return Reply(True, state)
            case (Atom("register"), name, Pid() as pid, method):
                self._insert(name, pid, method, None, self._may_register(caller[0]))
                return Reply(YES, state)
            case (Atom("unregister"), name):
                self._delete(name)
                return Reply(OK, state)
            case (Atom("register_ext"), name, Pid() as pid, method, Atom() as registrar_node):
                self._insert(name, pid, method, registrar_node, self._may_register(caller[0]))
                return Reply(YES, state)
            case Atom("get_known"):
                return Reply(list(self._members.known), state)
            case Atom("get_synced"):
                return Reply(list(self._members.synced), state)
            case Atom("get_protocol_version"):
                return Reply(VERSION, state)
            case Atom("get_names_ext"):
                return Reply(self.names.external(), state)
            case (Atom("sync"), list(nodes)):
                self._members.sync(caller, {node for node in nodes if type(node) is Atom})
                return NoReply(state)
            case Transaction():
                self.send(self._registrar, (gen.GEN_CALL, caller, request))
                return NoReply(state)
            case Disconnect():
                return Reply(self._disconnect_all(), state)
        log.warning("global_name_server received an unexpected call from %s: %r", caller[0], request)
        return NoReply(state)

    def handle_cast(self, message: Any, state: Any) -> NoReply:
        sessions = self._sessions
        match message:
            case (
                Atom("init_connect"),
                (int(version), his_tag, *_),
                Atom() as node,
                (Atom("locker"), _, _, Pid() as locker),
            ):
                sessions.init_connect(node, version, his_tag, locker)
            case (Atom("exchange"), Atom() as node, list(names), _, my_tag):
                sessions.exchange(node, names, my_tag)
            case (Atom("resolved"), Atom() as node, list(operations), list(known), _, list(external), my_tag):
                sessions.resolved(node, Resolution(operations, known, external), my_tag)
            case (Atom("new_nodes"), Atom(), list(operations), list(external), list(nodes), extra):
                sessions.new_nodes(operations, external, nodes, extra)
            case (Atom("in_sync"), Atom() as node, _):
                sessions.in_sync(node)
            case (Atom("lock_set"), Pid() as locker, bool(is_set), _, my_tag):
                # An invitation of no session is answered all the same: his partition is locked until it is.
                if is_set or sessions.current(locker.node, my_tag) is not None:
                    self.send(self.locker, LockSet(locker, is_set, my_tag))
            case (Atom("lock_set"), Pid() as locker, bool(is_set), _):
                self.send(self.locker, LockSet(locker, is_set, None))
            case (Atom("async_del_name") | Atom("async_del_lock"), _, _):
                pass  # Of releases before R14; the monitor has done it.
            case _:
                log.warning("global_name_server received an unexpected cast: %r", message)
        return NoReply(state)

    def handle_info(self, message: Any, state: Any) -> NoReply | Stop:
        match message:
            case (Atom("DOWN"), Reference() as monitor, _, _, _):
                self._locks.holder_died(monitor)
                entry = self.names.process_died(monitor)
                if entry is not None:
                    self._forget(entry)
            case NodeUp(node=node):
                self._connections[node] = message.connection
                if not message.hidden and self._is_connected_still(node):
                    self._sessions.nodeup(node)
            case NodeDown(node=node):
                self._connections.pop(node, None)
                if not message.hidden:
                    self._leave(node)
                    self._members.nodedown(node)
            case Met(node=node):
                if self._is_connected_still(node):
                    self._members.greet(node)
            case NotSyncing(node=node):
                self._members.not_syncing(node)
            case LockIsSet():
                self._sessions.lock_is_set(message)
            case Exchanged():
                self._sessions.exchanged(message)
            case (Atom("init_connect_ack"), Atom() as node, my_tag, his_tag):
                self._sessions.init_connect_ack(node, my_tag, his_tag)
            case (Atom("cancel_connect"), Atom() as node, my_tag):
                self._sessions.cancel_connect(node, my_tag)
            case (Atom("lost_connection"), Atom(), _, int(), Atom()):
                dropped = self._members.lost_connection(message)
                if dropped is not None:
                    self._members.ask_to_remove(dropped)
                    self._remove(dropped, "requested disconnect from")
            case (Atom("remove_connection"), Atom() as node):
                if self._members.is_known_or_pending(node):
                    self._remove(node, "disconnected")
                    self.node.disconnect(node)
            case (Atom("whereis"), name, caller) if gen.is_caller(caller):
                self._whereis(name, caller, message)
            case (Atom("EXIT"), Pid() as pid, reason):
                if pid in (self.locker, self._registrar):
                    return Stop((Atom("helper_died"), reason), state)
            case _:
                log.warning("global_name_server received an unexpected message: %r", message)
        return NoReply(state)

    # -- nodes ----------------------------------------------------------------------------------

    def _is_connected_still(self, node: Atom) -> bool:
        """Whether the connection over which messages of `node` come now, in the order of the mailbox, is there still.

        Its end stands further back in the mailbox otherwise, and so may its successor: who has asked for a lock over it
        has given up, and would keep one that he gets now for ever.
        """
        if node is self.node.name:
            return True
        channel = self.node.connections.peek(node)
        return channel is not None and channel.number == self._connections.get(node)

    def _leave(self, node: Atom) -> None:
        self._sessions.drop(node, tell=True)
        self._members.leave(node)

    def _remove(self, node: Atom, what: str) -> None:
        log.warning(
            "global at node %s %s node %s in order to prevent overlapping partitions", self.node.name, what, node
        )
        self._leave(node)
        self._members.expect_down(node)

    def _disconnect_all(self) -> list[Atom]:
        nodes = [Atom(name) for name in self.node.nodes()]
        for node in nodes:
            self._leave(node)
            self._members.expect_down(node)
            self.node.disconnect(node)
        return nodes

    # -- locks ----------------------------------------------------------------------------------

    def _set_lock(self, lock_id: LockId, pid: Pid) -> bool:
        if not self._locks.is_free_for(lock_id):
            return False
        if not self._locks.is_held_by(lock_id[0], pid):
            self._locks.add(lock_id, pid, self.monitor(pid))
        return True

    def _may_register(self, pid: Pid) -> bool:
        """Whether the lock is set under which `pid` registers: its node may have been away since it set it."""
        if self._locks.is_set(GLOBAL):
            return self._locks.is_held_by(GLOBAL, pid)
        return not self._locks.global_lock_died

    def _may_insert(self, extra: Any) -> bool:
        """The same for the outcome of a session; `extra` names the lock."""
        if not self._locks.is_set(GLOBAL):
            return not self._locks.global_lock_died
        for item in extra if type(extra) is list else ():
            match item:
                case (Atom("lock"), (_, requester)):
                    return self._locks.is_requested_by(GLOBAL, requester)
        return False

    # -- names ----------------------------------------------------------------------------------

    def change(self, operations: list[Any], external: list[Any], extra: Any) -> None:
        """Carry out what a session has come to: ``{insert, {Name, Pid, Method}}`` and ``{delete, Name}``.

        Args:
            external: ``[{Name, Pid, RegNode}]``: which of the names are of C nodes.
            extra: ``[{lock, LockId}, ...]``: the lock under which that was agreed on.
        """
        allowed = self._may_insert(extra)
        registrars = {exact_key(item[:2]): item[2] for item in external if _is_external(item)}
        deleted: list[Any] = []
        for operation in operations:
            match operation:
                case (Atom("insert"), (name, Pid() as pid, method)):
                    self._insert(name, pid, method, registrars.get(exact_key((name, pid))), allowed)
                case (Atom("delete"), name):
                    deleted.append(name)
        for name in deleted:
            self._delete(name)

    def _insert(self, name: Any, pid: Pid, method: Any, registrar_node: Atom | None, allowed: bool) -> None:
        self._delete(name)
        if not allowed:
            return
        if registrar_node is self.node.name:
            self.link(pid)
        self.names.add(Registered(name, pid, method, self.monitor(pid), registrar_node))

    def _delete(self, name: Any) -> None:
        entry = self.names.remove(name)
        if entry is not None:
            self.demonitor(entry.monitor)
            self._forget(entry)

    def _forget(self, entry: Registered) -> None:
        if entry.registrar_node is self.node.name and not self.names.names_of(entry.pid):
            self.unlink(entry.pid)

    def _whereis(self, name: Any, caller: gen.Caller, message: Any) -> None:
        """The question as old nodes ask it: answered when nobody is changing names."""
        if self._locks.is_set(GLOBAL):
            self.send_after(secrets.randbelow(WHEREIS_AGAIN_MS) / 1000, message)
            return
        entry = self.names.find(name)
        gen.reply(self.process, self.process.table, caller, UNDEFINED if entry is None else entry.pid)


def _is_external(item: Any) -> bool:
    return type(item) is tuple and len(item) == 3 and type(item[1]) is Pid and type(item[2]) is Atom
