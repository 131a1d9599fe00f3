"""What ``global`` remembers: locks, names, lost connections; and the rules that decide about them.

No processes, no messages, no clock: `global_name_server` owns one `Tables`, changes it, and sets and ends the monitors
that the tables only carry by their references.

Source: OTP ``lib/kernel/src/global.erl``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from erlang_bridge.terms import Atom, Pid, Reference
from erlang_bridge.terms.containers import exact_key
from erlang_bridge.terms.order import sort_key

GLOBAL: Final = Atom("global")
"""The resource that stands for the table of names: whoever changes it holds this lock."""
INSERT: Final = Atom("insert")
DELETE: Final = Atom("delete")

LONGEST_BACK_OFF_MS: Final = 8000
LOST_CONNECTION_KEPT_S: Final = 3600.0

LockId = tuple[Any, Any]
"""``{ResourceId, LockRequesterId}``."""
Operation = tuple[Atom, Any]
"""``{insert, {Name, Pid, Method}}`` or ``{delete, Name}``."""


def back_off_ms(times: int) -> int:
    """How long to wait at most before the next attempt to get a lock, after `times` failures: doubles, up to 8 s."""
    return LONGEST_BACK_OFF_MS if times > 5 else (1000 << times) // 8


def boss_of(nodes: Iterable[Atom]) -> Atom:
    """The node that everybody locks first, so that two who want the same locks meet there: the greatest name."""
    return max(nodes, key=lambda node: node.name)


def lockers_lock_id(one: Pid, other: Pid) -> LockId:
    """The lock that two lockers set together; both have to name it alike, since a node may be locked by both."""
    return (GLOBAL, sorted((one, other), key=sort_key))


# -- locks ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Lock:
    requester: Any
    requester_key: Any
    holders: dict[Pid, Reference]


class Locks:
    """The locks set on this node.

    A lock belongs to a requester, which is any term. Several processes may hold it in the name of the same requester;
    it ends when the last of them has deleted it or died. A process that sets it twice holds it once.

    Attributes:
        global_lock_died: the lock on `GLOBAL` ended with its holder, and was not set again. What that holder asked
            for may still be on its way, and must not be done.
    """

    def __init__(self) -> None:
        self.global_lock_died = False
        self._locks: dict[Any, _Lock] = {}
        self._of_monitor: dict[Reference, tuple[Any, Pid]] = {}

    def __len__(self) -> int:
        return len(self._locks)

    def is_free_for(self, lock_id: LockId) -> bool:
        """Whether nobody, or the same requester, holds it."""
        lock = self._locks.get(exact_key(lock_id[0]))
        return lock is None or lock.requester_key == exact_key(lock_id[1])

    def is_set(self, resource: Any) -> bool:
        return exact_key(resource) in self._locks

    def is_held_by(self, resource: Any, pid: Pid) -> bool:
        lock = self._locks.get(exact_key(resource))
        return lock is not None and pid in lock.holders

    def is_requested_by(self, resource: Any, requester: Any) -> bool:
        lock = self._locks.get(exact_key(resource))
        return lock is not None and lock.requester_key == exact_key(requester)

    def add(self, lock_id: LockId, pid: Pid, monitor: Reference) -> None:
        """Let `pid` hold the lock, which `is_free_for` its requester; `monitor` tells when it dies."""
        resource, requester = lock_id
        key = exact_key(resource)
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = _Lock(requester, exact_key(requester), {})
        lock.holders[pid] = monitor
        self._of_monitor[monitor] = (key, pid)

    def remove(self, lock_id: LockId, pid: Pid) -> Reference | None:
        """`pid` deletes the lock: the monitor that is not needed any more, or None if it does not hold it."""
        key = exact_key(lock_id[0])
        lock = self._locks.get(key)
        if lock is None or lock.requester_key != exact_key(lock_id[1]):
            return None
        return self._release(key, lock, pid, died=False)

    def holder_died(self, monitor: Reference) -> None:
        """The process behind `monitor` is dead, or its node is gone."""
        key, pid = self._of_monitor.get(monitor, (None, None))
        if pid is not None:
            self._release(key, self._locks[key], pid, died=True)

    def _release(self, key: Any, lock: _Lock, pid: Pid, *, died: bool) -> Reference | None:
        monitor = lock.holders.pop(pid, None)
        if monitor is not None:
            del self._of_monitor[monitor]
            if not lock.holders:
                del self._locks[key]
                if key == _GLOBAL_KEY:
                    self.global_lock_died = died
        return monitor


_GLOBAL_KEY: Final = exact_key(GLOBAL)


# -- names ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registered:
    """One name.

    Attributes:
        method: resolves a clash: a fun of ``(Name, Pid1, Pid2)``, as it came.
        monitor: set on `pid`.
        registrar_node: the node that registered a process of a C node, which has no ``global`` itself; else None.
    """

    name: Any
    pid: Pid
    method: Any
    monitor: Reference
    registrar_node: Atom | None = None

    @property
    def triple(self) -> tuple[Any, Pid, Any]:
        return (self.name, self.pid, self.method)


class Names:
    """The names that everybody in the cluster has agreed on, as far as this node has heard."""

    def __init__(self) -> None:
        self._by_name: dict[Any, Registered] = {}
        self._name_of_monitor: dict[Reference, Any] = {}
        self._names_of_pid: dict[Pid, dict[Any, None]] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Registered]:
        return iter(list(self._by_name.values()))

    def find(self, name: Any) -> Registered | None:
        return self._by_name.get(exact_key(name))

    def names_of(self, pid: Pid) -> list[Any]:
        return [self._by_name[key].name for key in self._names_of_pid.get(pid, ())]

    def triples(self) -> list[tuple[Any, Pid, Any]]:
        """``[{Name, Pid, Method}]``."""
        return [entry.triple for entry in self]

    def external(self) -> list[tuple[Any, Pid, Atom]]:
        """``[{Name, Pid, RegNode}]`` of the names of C nodes."""
        return [(entry.name, entry.pid, entry.registrar_node) for entry in self if entry.registrar_node is not None]

    def add(self, entry: Registered) -> None:
        """The name must be free: see `remove`."""
        key = exact_key(entry.name)
        self._by_name[key] = entry
        self._name_of_monitor[entry.monitor] = key
        self._names_of_pid.setdefault(entry.pid, {})[key] = None

    def remove(self, name: Any) -> Registered | None:
        """What had the name."""
        return self._remove(exact_key(name))

    def process_died(self, monitor: Reference) -> Registered | None:
        """The process behind `monitor` is dead, or its node is gone: the name that ends with it."""
        key = self._name_of_monitor.get(monitor)
        return None if key is None else self._remove(key)

    def _remove(self, key: Any) -> Registered | None:
        entry = self._by_name.pop(key, None)
        if entry is not None:
            del self._name_of_monitor[entry.monitor]
            names = self._names_of_pid[entry.pid]
            del names[key]
            if not names:
                del self._names_of_pid[entry.pid]
        return entry


Resolve = Callable[[Any, Any, Pid, Pid], Any]
"""``resolve(method, name, their_pid, our_pid)``: the pid that keeps the name, or ``none``. Raises `NotResolved`."""


class NotResolved(Exception):
    """The resolve method could not be run; the name goes to the process of the other side."""


def exchange_names(
    theirs: Iterable[tuple[Any, Pid, Any]], ours: Names, *, we_resolve: bool, resolve: Resolve
) -> tuple[list[Operation], list[Operation]]:
    """Compare the names of two partitions that are about to become one.

    Only one of the two sides resolves clashes, the one whose node has the smaller name; it tells the other the outcome.

    Returns:
        What is to be done on our side, and what on theirs beside what they find themselves.
    """
    for_us: list[Operation] = []
    for_them: list[Operation] = []
    for name, their_pid, their_method in theirs:
        entry = ours.find(name)
        if entry is None:
            for_us.append((INSERT, (name, their_pid, their_method)))
        elif entry.pid != their_pid and we_resolve:
            try:
                winner = resolve(entry.method, name, their_pid, entry.pid)
            except NotResolved:
                winner = their_pid
            if winner == their_pid:
                for_us.append((INSERT, (name, their_pid, their_method)))
            elif winner == entry.pid:
                for_them.append((INSERT, entry.triple))
            else:
                for_us.append((DELETE, name))
                for_them.append((DELETE, name))
    return for_us, for_them


# -- connections that others have lost --------------------------------------------------------


class LostConnections:
    """Which reports ``{lost_connection, NodeA, Incarnation, Number, NodeB}`` have been seen.

    Everybody passes them on to everybody, so each comes many times. The numbers of one incarnation of a node count up.
    """

    def __init__(self) -> None:
        self._latest: dict[tuple[Atom, Atom], tuple[Any, int, float]] = {}

    def is_news(self, reporter: Atom, lost: Atom, incarnation: Any, number: int, now_s: float) -> bool:
        """Whether this report has not been seen; from now on it has."""
        known = self._latest.get((reporter, lost))
        if known is not None and known[0] == incarnation and number <= known[1]:
            return False
        for key, (_, _, seen_s) in list(self._latest.items()):
            if now_s - seen_s > LOST_CONNECTION_KEPT_S:
                del self._latest[key]
        self._latest[(reporter, lost)] = (incarnation, number, now_s)
        return True


@dataclass(slots=True)
class Tables:
    """What one start of the name server shares with its helpers. It alone changes them.

    Attributes:
        known: members of our partition to the version of their ``global``; 0 where that is not known.
    """

    known: dict[Atom, int] = field(default_factory=dict)

    locks: Locks = field(default_factory=Locks)
    names: Names = field(default_factory=Names)
