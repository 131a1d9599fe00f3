"""Who is a member of this node's partition, as ``global`` sees it, and that no two partitions overlap.

A member that loses another one reports it to all (``lost_connection``), each of them passes the report on, and all drop
the lost one (``remove_connection`` to it). So it cannot be that two members do not see each other and a third sees
both. The price: where only the connection between two was lost, the others drop both.

Source: OTP ``lib/kernel/src/global.erl``, Prevent Overlapping Partitions Algorithm.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from erlang_bridge.errors import BridgeError
from erlang_bridge.kernel.global_locker import GLOBAL_NAME_SERVER, KnownAdded, KnownRemoved
from erlang_bridge.kernel.global_tables import LostConnections, Tables
from erlang_bridge.kernel.multi_call import is_connected
from erlang_bridge.otp import gen
from erlang_bridge.terms import Atom, Pid

log = logging.getLogger("erlang_bridge.kernel")

VERSION: Final = 8
FIRST_VERSION_WITH_PARTITIONS: Final = 7

OK: Final = Atom("ok")
IN_SYNC: Final = Atom("in_sync")
LOST_CONNECTION: Final = Atom("lost_connection")
REMOVE_CONNECTION: Final = Atom("remove_connection")


@dataclass(frozen=True, slots=True)
class NodeUp:
    """To the name server: a connection is up; `connection` is its number."""

    node: Atom
    connection: int
    hidden: bool


@dataclass(frozen=True, slots=True)
class NodeDown:
    """To the name server: a connection has ended, or could not be made where a member was expected."""

    node: Atom
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Met:
    """To the name server: a member that we have been told of is connected."""

    node: Atom


@dataclass(frozen=True, slots=True)
class NotSyncing:
    """To the name server: a node that somebody wanted to be in sync with cannot be reached."""

    node: Atom


class Members:
    """The partition of one node. Belongs to the name server `server`, which calls the methods.

    Attributes:
        known: see `Tables`.
        synced: nodes that have the same names as we.
        pending: nodes with which names are being exchanged, to their version.
    """

    def __init__(self, server: Any, tables: Tables) -> None:
        self.known = tables.known
        self.synced: dict[Atom, None] = {}
        self.pending: dict[Atom, int] = {}
        self._server = server
        self._node = server.node
        self._removing: set[Atom] = set()
        self._lost = LostConnections()
        self._waiting: list[tuple[gen.Caller, set[Atom]]] = []
        self._reports = 0
        self._incarnation = (secrets.randbits(27) << 32) + self._node.creation

    def send(self, name: Atom, message: Any) -> None:
        """A message to the name server of a node that is connected; to another one, nothing."""
        if is_connected(self._node, name):
            process = self._server.process
            process.table.emit_if_connected(process, (GLOBAL_NAME_SERVER, name), message)

    def cast(self, name: Atom, message: Any) -> None:
        self.send(name, (gen.GEN_CAST, message))

    def tell_all(self, message: Any, except_for: Atom) -> None:
        """A message to all members, and to those that are about to be."""
        for name, version in {**self.pending, **self.known}.items():
            if name is not except_for and version >= FIRST_VERSION_WITH_PARTITIONS:
                self.send(name, message)

    def version_of(self, name: Atom) -> int:
        return VERSION if name is self._node.name else self.known.get(name) or self.pending.get(name, 0)

    # -- come -----------------------------------------------------------------------------------

    def add(self, nodes: dict[Atom, int]) -> list[Atom]:
        """Note members; those that are new."""
        added = [name for name in nodes if name not in self.known and name is not self._node.name]
        for name in added:
            self.known[name] = nodes[name]
        if added:
            self._server.send(self._server.locker, KnownAdded(tuple(added)))
        return added

    def meet(self, nodes: Iterable[Atom]) -> None:
        """Connect with members that we have been told of, and tell them that we have their names."""
        for name in nodes:
            if is_connected(self._node, name):
                self.greet(name)
            else:
                self._connect(name, Met(name), NodeDown(name))

    def greet(self, name: Atom) -> None:
        """Tell a member that we have its names, which ends a session with it.

        Not one that has left while we were connecting: names have to be exchanged with it again, and a session that
        only one side takes for ended would keep both partitions locked.
        """
        if name in self.known:
            self.cast(name, (IN_SYNC, self._node.name, True))

    def _connect(self, name: Atom, connected: Any, failed: Any) -> None:
        node, server = self._node, self._server.process

        def connect() -> None:
            try:
                node.connections.connect(name)
            except (BridgeError, OSError) as error:
                log.warning("global at node %s failed to connect to %s: %s", node.name, name, error)
                server.deliver(failed)
            else:
                if connected is not None:
                    server.deliver(connected)

        server.table.add_body(connect)

    # -- go -------------------------------------------------------------------------------------

    def is_known_or_pending(self, name: Atom) -> bool:
        return name in self.known or name in self.pending

    def leave(self, name: Atom) -> None:
        """It is no member any more. Monitors take its names and locks away."""
        self._server.send(self._server.locker, KnownRemoved(name))
        self.known.pop(name, None)
        self.synced.pop(name, None)
        self.not_syncing(name)

    def expect_down(self, name: Atom) -> None:
        """Do not report the end of its connection, which is to come: nobody has lost it."""
        self._removing.add(name)

    def nodedown(self, name: Atom) -> None:
        """A connection has ended. Called after `leave`."""
        if name in self._removing:
            self._removing.discard(name)
            return
        self._reports += 1
        self.tell_all((LOST_CONNECTION, self._node.name, self._incarnation, self._reports, name), name)

    def lost_connection(self, report: tuple[Any, ...]) -> Atom | None:
        """A member reports that it has lost another one. Returns who is to be dropped for that, where we have it."""
        _, reporter, incarnation, number, lost = report
        if not self._lost.is_news(reporter, lost, incarnation, number, time.monotonic()):
            return None
        self.tell_all(report, reporter)
        # Where he has lost us, the others drop us; so it is for us to drop him.
        dropped: Atom = reporter if lost is self._node.name else lost
        return dropped if self.is_known_or_pending(dropped) else None

    def ask_to_remove(self, name: Atom) -> None:
        """Have a member disconnect from us; one that is too old to understand, we disconnect."""
        if self.version_of(name) >= FIRST_VERSION_WITH_PARTITIONS:
            self.send(name, (REMOVE_CONNECTION, self._node.name))
        else:
            self._node.disconnect(name)

    # -- waiting until the tables are the same --------------------------------------------------

    def sync(self, caller: gen.Caller, nodes: set[Atom]) -> None:
        """Answer `caller` with ``ok`` when all `nodes` are in sync, or gone. Connects with them first."""
        nodes -= {self._node.name, *self.synced}
        self._waiting.append((caller, nodes))
        for name in list(nodes):
            if not is_connected(self._node, name):
                self._connect(name, None, NotSyncing(name))
        self._answer_synced()

    def note_synced(self, name: Atom) -> None:
        self.synced[name] = None
        self.not_syncing(name)

    def not_syncing(self, name: Atom) -> None:
        """Do not wait for it any more."""
        for _, nodes in self._waiting:
            nodes.discard(name)
        self._answer_synced()

    def _answer_synced(self) -> None:
        waiting, self._waiting = self._waiting, []
        for caller, nodes in waiting:
            if nodes:
                self._waiting.append((caller, nodes))
            else:
                self._server.reply(caller, OK)


def is_triple(item: Any) -> bool:
    """Whether it is ``{Name, Pid, Method}``."""
    return type(item) is tuple and len(item) == 3 and type(item[1]) is Pid


def versions(nodes: list[Any]) -> dict[Atom, int]:
    """From ``[{Node, Version}]``, or ``[Node]`` of old nodes."""
    found: dict[Atom, int] = {}
    for item in nodes:
        match item:
            case Atom() as node:
                found[node] = 0
            case (Atom() as node, int(version)):
                found[node] = version
    return found
