"""The exchange of names between two nodes that have connected: two partitions become one.

One exchange is a *session*. Each side gives it a tag, and every message carries the receiver's, so that what is left of
an older session is known for it.

==========  ==============================================  =====================================================
state       entered by                                      then
==========  ==============================================  =====================================================
calling     nodeup: send ``init_connect``                   wait for his
pending     ``init_connect``: send ``init_connect_ack``     the lockers lock both partitions, see `global_locker`
locked      both are: send ``exchange`` with our names      wait for his ``exchange``
resolving   ``exchange``: the smaller node settles clashes  send ``resolved``, wait for his
(over)      ``resolved``: change our table                  send ``new_nodes`` to our partition, unlock; connect with
                                                            his partition, and ``in_sync`` to each of them
==========  ==============================================  =====================================================

A member who hears ``new_nodes`` changes his table, connects with the new ones and sends them ``in_sync``; that ends a
session which is under way with its sender, since the tables are the same. ``cancel_connect``, or an
``init_connect_ack`` with tags that are not ours, begins a session anew. A lost connection ends one. Nothing else does,
and from *locked* on the partitions stay locked: hence every step is taken at once, and one that fails costs the
connection.

Source: OTP ``lib/kernel/src/global.erl``, Connection algorithm, version 8.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

from erlang_bridge.errors import ProcessExit
from erlang_bridge.kernel.global_locker import Cancel, Candidate, LockIsSet
from erlang_bridge.kernel.global_members import (
    FIRST_VERSION_WITH_PARTITIONS,
    VERSION,
    Members,
    is_triple,
    versions,
)
from erlang_bridge.kernel.global_tables import Operation, exchange_names
from erlang_bridge.otp.gen import GEN_CAST
from erlang_bridge.process import Process
from erlang_bridge.terms import Atom, Pid

log = logging.getLogger("erlang_bridge.kernel")

INIT_CONNECT: Final = Atom("init_connect")
INIT_CONNECT_ACK: Final = Atom("init_connect_ack")
CANCEL_CONNECT: Final = Atom("cancel_connect")
LOCKER: Final = Atom("locker")
NO_LONGER_A_PID: Final = Atom("no_longer_a_pid")
EXCHANGE: Final = Atom("exchange")
RESOLVED: Final = Atom("resolved")
UNUSED: Final = Atom("unused")
NEW_NODES: Final = Atom("new_nodes")
VSN: Final = Atom("vsn")
LOCK: Final = Atom("lock")
KILLED: Final = Atom("killed")


@dataclass(frozen=True, slots=True)
class Exchanged:
    """From the resolver of a session: what is to be done here, and what there."""

    node: Atom
    my_tag: int
    for_us: list[Operation]
    for_them: list[Operation]


@dataclass(frozen=True, slots=True)
class Resolution:
    """His ``resolved``: what is to be done here beside what we find ourselves, his partition, his names of C nodes."""

    operations: list[Any]
    known: list[Any]
    external: list[Any]


@dataclass(slots=True)
class Session:
    """One exchange. What is None has not come yet."""

    node: Atom
    my_tag: int
    his_tag: Any = None
    his_version: int | None = None
    lock_id: Any = None
    his_names: list[Any] | None = None
    resolver: Process | None = None
    our_operations: list[Operation] | None = None
    resolution: Resolution | None = None


class Sessions:
    """The sessions of one node, at most one with each other. Belongs to the name server, which calls the methods."""

    def __init__(self, server: Any, members: Members) -> None:
        self._server = server
        self._node = server.node
        self._names = server.names
        self._members = members
        self._sessions: dict[Atom, Session] = {}
        self._last_tag = 0

    def __iter__(self) -> Any:
        return iter(self._sessions)

    def current(self, node: Atom, my_tag: Any) -> Session | None:
        """The session with `node`, if it is the one with our tag `my_tag`."""
        session = self._sessions.get(node)
        return session if session is not None and session.my_tag == my_tag else None

    def _of_message(self, node: Atom, my_tag: Any) -> Session | None:
        """The session that a message belongs to; has the locker forget an older one."""
        session = self.current(node, my_tag)
        if session is None and type(my_tag) is int:
            self._to_locker(Cancel(node, my_tag))
        return session

    def _to_locker(self, message: Any) -> None:
        self._server.send(self._server.locker, message)

    # -- beginning and end ----------------------------------------------------------------------

    def nodeup(self, node: Atom) -> None:
        """A connection is up."""
        if node not in self._sessions:
            self._begin(node)

    def _begin(self, node: Atom) -> None:
        if node in self._members.known:
            return
        self._last_tag += 1
        session = self._sessions[node] = Session(node, self._last_tag)
        locker = (LOCKER, NO_LONGER_A_PID, dict(self._members.known), self._server.locker)
        self._members.cast(node, (INIT_CONNECT, (VERSION, session.my_tag), self._node.name, locker))

    def _begin_again(self, session: Session) -> None:
        self._end(session)
        self._begin(session.node)

    def drop(self, node: Atom, *, tell: bool) -> None:
        """End the session with `node`, if there is one; `tell` says whether he is told."""
        session = self._sessions.get(node)
        if session is not None:
            self._end(session, tell=tell)

    def _end(self, session: Session, *, tell: bool = True, announcements: tuple[tuple[Atom, Any], ...] = ()) -> None:
        node = session.node
        self._to_locker(Cancel(node, session.my_tag, announcements))
        if tell and session.his_version is not None:
            self._members.send(node, (CANCEL_CONNECT, self._node.name, session.his_tag))
        if session.resolver is not None:
            self._server.process.table.exit(session.resolver, KILLED)
        self._members.pending.pop(node, None)
        del self._sessions[node]

    # -- messages of the other side -------------------------------------------------------------

    def init_connect(self, node: Atom, version: int, his_tag: Any, locker: Pid) -> None:
        session = self._sessions.get(node)
        if session is None:
            return  # A member: he hears of that by in_sync.
        if session.his_version is not None:
            # Two sessions at once, and neither side can tell which one the other means: both begin again.
            self._members.send(node, (CANCEL_CONNECT, self._node.name, his_tag))
            self._begin_again(session)
            return
        session.his_tag = his_tag
        session.his_version = self._members.pending[node] = min(version, VERSION)
        self._to_locker(Candidate(node, locker, session.my_tag, his_tag))
        self._members.send(node, (INIT_CONNECT_ACK, self._node.name, his_tag, session.my_tag))

    def init_connect_ack(self, node: Atom, my_tag: Any, his_tag: Any) -> None:
        session = self._sessions.get(node)
        if session is not None and session.my_tag == my_tag and session.his_tag == his_tag:
            return
        self._members.send(node, (CANCEL_CONNECT, self._node.name, his_tag))
        if session is not None:
            self._begin_again(session)

    def cancel_connect(self, node: Atom, my_tag: Any) -> None:
        session = self.current(node, my_tag)
        if session is not None:
            self._begin_again(session)

    def exchange(self, node: Atom, names: list[Any], my_tag: Any) -> None:
        session = self._of_message(node, my_tag)
        if session is not None:
            session.his_names = names
            self._resolve(session)

    def resolved(self, node: Atom, resolution: Resolution, my_tag: Any) -> None:
        session = self._of_message(node, my_tag)
        if session is not None:
            session.resolution = resolution
            self._join(session)

    def new_nodes(self, operations: list[Any], external: list[Any], nodes: list[Any], extra: Any) -> None:
        """A member's session is over: his news. A session of ours with the new node goes on until it is ``in_sync``."""
        self._members.meet(self._members.add(versions(nodes)))
        self._server.change(operations, external, extra)

    def in_sync(self, node: Atom) -> None:
        self._members.note_synced(node)
        self.drop(node, tell=False)

    # -- our own steps --------------------------------------------------------------------------

    def lock_is_set(self, locked: LockIsSet) -> None:
        """From our locker: both partitions are locked."""
        session = self._of_message(locked.node, locked.my_tag)
        if session is not None:
            session.lock_id = locked.lock_id
            self._members.cast(session.node, (EXCHANGE, self._node.name, self._names.triples(), [], session.his_tag))
            self._resolve(session)

    def _resolve(self, session: Session) -> None:
        """Compare the names, once the lock is set and his have come."""
        if session.lock_id is None or session.his_names is None or session.resolver is not None:
            return
        node, his_names = session.node, [item for item in session.his_names if is_triple(item)]
        we_resolve = self._node.name.name < node.name
        server, names, resolve = self._server, self._names, self._server.resolve_clash

        def resolver() -> None:
            try:
                for_us, for_them = exchange_names(his_names, names, we_resolve=we_resolve, resolve=resolve)
            except ProcessExit:
                raise
            except Exception:
                log.exception("disconnecting from %s: its names could not be compared with ours", node)
                server.node.disconnect(node)
            else:
                server.process.deliver(Exchanged(node, session.my_tag, for_us, for_them))

        # A process of its own: a method may take its time, and locks have to be answered meanwhile.
        session.resolver = server.process.table.add_body(resolver)

    def exchanged(self, result: Exchanged) -> None:
        """From our resolver."""
        session = self._of_message(result.node, result.my_tag)
        if session is None or session.his_version is None:
            return
        session.our_operations = result.for_us
        members = self._members.known
        known = list(members.items()) if session.his_version >= FIRST_VERSION_WITH_PARTITIONS else list(members)
        external = self._names.external()
        resolved = (RESOLVED, self._node.name, result.for_them, known, UNUSED, external, session.his_tag)
        self._members.cast(session.node, resolved)
        self._join(session)

    def _join(self, session: Session) -> None:
        """The end, once both sides have said what the clashes came to."""
        if session.our_operations is None or session.resolution is None:
            return
        members, his = self._members, session.resolution
        operations = session.our_operations + his.operations
        his_nodes = {node: version for node, version in versions(his.known).items() if node is not self._node.name}
        extra = [(VSN, session.his_version), (LOCK, session.lock_id)]
        self._server.change(operations, his.external, extra)
        members.note_synced(session.node)
        for node in his_nodes:
            if node is not session.node:
                self.drop(node, tell=False)
        new_nodes = {node: version or members.version_of(node) for node, version in his_nodes.items()}
        new_nodes = {session.node: session.his_version or 0} | new_nodes
        news = (NEW_NODES, self._node.name, operations, his.external, list(new_nodes.items()), extra)
        # Sent by the locker, so that nobody is unlocked before he has heard them.
        self._end(session, tell=False, announcements=tuple((node, (GEN_CAST, news)) for node in members.known))
        members.add(new_nodes)
        members.meet(his_nodes)
