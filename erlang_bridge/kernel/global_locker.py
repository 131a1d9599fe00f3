"""The two processes that set the lock `GLOBAL`: the locker, when partitions meet, and the registrar, for one name.

Whoever changes the table of names holds the lock on every member of the partition. Two nodes that have just connected
belong to two partitions, and the locker of each has to lock both. It leads, or it follows:

==========  ============================================================  =======================================
state       what it does                                                  leaves by
==========  ============================================================  =======================================
idle        waits for candidates: nodes that have sent ``init_connect``   a candidate
pausing     lets others have their turn                                   time: lead one of the candidates;
                                                                          ``lock_set true`` of a candidate: follow
leading     has locked its partition and the candidate's node, has sent   ``lock_set true``: both locked;
            ``lock_set true``, and waits for the other locker             ``false`` or cancel: unlock, pausing
following   locks its partition, and answers ``lock_set`` true or false   true: both locked; false: pausing
locked      has told the name server, which exchanges the names           cancel, at the end of the exchange: unlock
==========  ============================================================  =======================================

A node that goes, goes with its connection, and the name server then cancels; only the wait for the other locker's
answer has a limit, for the case that it waits for a third one. Both lockers give the lock the same requester (their two
pids, sorted), so that neither keeps the other out of the nodes that both have to lock.

Everyone locks the member with the greatest name first and asks nobody else if that fails.

Source: OTP ``lib/kernel/src/global.erl``, ``loop_the_locker/1`` and ``loop_the_registrar/0``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import gevent

from erlang_bridge.errors import ProcessExit
from erlang_bridge.kernel.global_tables import GLOBAL, LockId, Locks, Tables, back_off_ms, boss_of, lockers_lock_id
from erlang_bridge.kernel.multi_call import is_connected, multi_call
from erlang_bridge.otp import gen
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.results import NoReply, Reply
from erlang_bridge.process import Process
from erlang_bridge.terms import Atom, Pid

GLOBAL_NAME_SERVER: Final = Atom("global_name_server")
SET_LOCK: Final = Atom("set_lock")
DEL_LOCK: Final = Atom("del_lock")
LOCK_SET: Final = Atom("lock_set")
GET_KNOWN: Final = Atom("get_known")

FIRST_PAUSE_S: Final = 0.2
"""Before leading, where no other node is known yet."""
LONGEST_WAIT_S: Final = 30.0
"""For the other locker's answer; after that we unlock, and try again later. One that comes too late invites us."""

# -- messages between the name server and its locker: objects, so that none of them can come from another node --


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node to share locks with; `locker` is its locker, the tags are those of the session."""

    node: Atom
    locker: Pid
    my_tag: int
    his_tag: Any


@dataclass(frozen=True, slots=True)
class Cancel:
    """The session is over, well or badly: send `announcements`, then unlock."""

    node: Atom
    my_tag: int
    announcements: tuple[tuple[Atom, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class LockSet:
    """The other locker's answer, or its invitation. `my_tag` is None from one that does not know of our session."""

    locker: Pid
    is_set: bool
    my_tag: Any


@dataclass(frozen=True, slots=True)
class KnownAdded:
    """There are more members."""

    nodes: tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class KnownRemoved:
    """There is one member less."""

    node: Atom


@dataclass(frozen=True, slots=True)
class LockIsSet:
    """From the locker: both partitions are locked, with this lock."""

    node: Atom
    my_tag: int
    lock_id: LockId


# -- locks on many nodes ----------------------------------------------------------------------


def within_reach(node: Any, tables: Tables, names: Iterable[Atom]) -> list[Atom]:
    """Those that are connected or, being members, are about to be. The others have nothing to lock or to be told."""
    return [name for name in names if name in tables.known or is_connected(node, name)]


def try_lock(process: Process, locks: Locks, lock_id: LockId, nodes: Iterable[Atom]) -> bool:
    """Set a lock on all of `nodes`, or on none of them; connect with them first. `process` holds it."""
    nodes = list(nodes)
    ours = process.table.node_name
    if len(nodes) > 1 and ours in nodes and not locks.is_free_for(lock_id):
        return False
    replies = multi_call(process, nodes, GLOBAL_NAME_SERVER, (SET_LOCK, lock_id))
    if all(reply is True for reply in replies.values()):
        return True
    unlock(process, lock_id, [node for node, reply in replies.items() if reply is True])
    return False


def unlock(process: Process, lock_id: LockId, nodes: Iterable[Atom]) -> None:
    """Delete a lock on those of `nodes` that are connected: where the connection has ended, so has the lock."""
    multi_call(process, nodes, GLOBAL_NAME_SERVER, (DEL_LOCK, lock_id), connect=False)


def unlock_boss_last(process: Process, lock_id: LockId, nodes: Iterable[Atom]) -> None:
    """`unlock`; who waits for the boss then finds all others free."""
    nodes = list(nodes)
    boss = boss_of(nodes)
    unlock(process, lock_id, [name for name in nodes if name is not boss])
    unlock(process, lock_id, [boss])


def pause(times: int) -> None:
    """Wait a random time, the longer the more attempts have failed."""
    gevent.sleep((1 + secrets.randbelow(back_off_ms(times))) / 1000)


# -- the locker -------------------------------------------------------------------------------


class Locker(GenServer):
    """One for each node, linked with the name server. Started with the server's pid and its `Tables`."""

    def init(self, args: tuple[Pid, Tables]) -> None:
        self._server, self._tables = args
        self._locks = self._tables.locks
        self._candidates: dict[Atom, Candidate] = {}
        self._known: dict[Atom, None] = {}
        self._just_synced = False

    def handle_call(self, request: Any, caller: Any, state: Any) -> NoReply:
        return self._next_turn()

    def handle_cast(self, message: Any, state: Any) -> NoReply:
        return self._next_turn()

    def handle_info(self, message: Any, state: Any) -> NoReply:
        match message:
            case Candidate(node=node):
                self._candidates[node] = message
            case Cancel(node=node, my_tag=tag):
                self._forget(node, tag)
            case LockSet(is_set=True):
                self._follow(message)
            case KnownAdded() | KnownRemoved():
                self._update_known(message)
            case Atom("timeout"):
                self._lead()
        return self._next_turn()

    def format_status(self, status: dict[str, Any]) -> dict[str, Any]:
        return {**status, "state": {"candidates": list(self._candidates), "known": list(self._known)}}

    def _next_turn(self) -> NoReply:
        return NoReply(None, timeout_s=self._pause_s() if self._candidates else None)

    def _pause_s(self) -> float:
        if self._just_synced:
            self._just_synced = False
            return 0.0
        if not self._known:
            return FIRST_PAUSE_S
        return min(1.0 + 0.1 * len(self._known), 3.0)

    def _forget(self, node: Atom, my_tag: int) -> None:
        candidate = self._candidates.get(node)
        if candidate is not None and candidate.my_tag == my_tag:
            del self._candidates[node]

    def _update_known(self, message: KnownAdded | KnownRemoved) -> None:
        if isinstance(message, KnownAdded):
            self._known.update(dict.fromkeys(message.nodes))
        else:
            self._known.pop(message.node, None)

    def _follow(self, invitation: LockSet) -> None:
        his = invitation.locker
        candidate = self._candidates.get(his.node)
        if candidate is None or invitation.my_tag not in (candidate.my_tag, None):
            # Straight to the locker, and without a tag: we know of no session to name.
            if is_connected(self.node, his.node):
                self.send(his, (LOCK_SET, self.pid, False, list(self._known)))
            return
        lock_id = lockers_lock_id(self.pid, his)
        is_set = self._lock_partition(lock_id, ())
        self._answer(candidate, is_set)
        if is_set:
            self._both_locked(candidate, lock_id, [self.node.name, *self._known])

    def _lead(self) -> None:
        if self._locks.is_set(GLOBAL):
            return
        for node in [node for node in self._candidates if node in self._known]:
            del self._candidates[node]
        if not self._candidates:
            return
        candidate = secrets.choice(list(self._candidates.values()))
        lock_id = lockers_lock_id(self.pid, candidate.locker)
        # His node too, which makes that nobody in his partition can lock it without coming to terms with us.
        if not self._lock_partition(lock_id, (candidate.node,)):
            return
        locked = [self.node.name, candidate.node, *self._known]
        self._answer(candidate, True)
        try:
            answer = self.receive(lambda message: _is_answer(message, candidate), LONGEST_WAIT_S)
        except TimeoutError:
            answer = _NO_ANSWER
        if isinstance(answer, Cancel):
            self._finish(answer, lock_id, locked)
        elif _lock_set(answer).is_set:
            self._both_locked(candidate, lock_id, locked)
        else:
            unlock_boss_last(self._process, lock_id, locked)

    def _both_locked(self, candidate: Candidate, lock_id: LockId, locked: list[Atom]) -> None:
        self.send(self._server, LockIsSet(candidate.node, candidate.my_tag, lock_id))
        cancel = self.receive(lambda message: _is_cancel(message, candidate))
        self._finish(cancel, lock_id, locked)
        self._just_synced = True

    def _finish(self, cancel: Cancel, lock_id: LockId, locked: list[Atom]) -> None:
        for node, message in cancel.announcements:
            self._process.table.emit_if_connected(self._process, (GLOBAL_NAME_SERVER, node), message)
        unlock_boss_last(self._process, lock_id, locked)
        self._forget(cancel.node, cancel.my_tag)

    def _lock_partition(self, lock_id: LockId, extra: Iterable[Atom]) -> bool:
        ours = self.node.name
        boss = boss_of([ours, *self._known])
        # Somebody who holds our lock may hold the boss already: do not get in his way.
        if boss is not ours and not self._locks.is_free_for(lock_id):
            return False
        locked: list[Atom] = []
        for step in range(3):
            nodes = ([boss], [ours, *extra], self._known)[step]
            nodes = within_reach(self.node, self._tables, (name for name in nodes if step == 0 or name is not boss))
            if not try_lock(self._process, self._locks, lock_id, nodes):
                unlock(self._process, lock_id, locked)
                return False
            locked += nodes
            if step == 0:
                self._take_known()
        return True

    def _take_known(self) -> None:
        while True:
            try:
                self._update_known(self.receive(lambda message: isinstance(message, (KnownAdded, KnownRemoved)), 0))
            except TimeoutError:
                return

    def _answer(self, candidate: Candidate, is_set: bool) -> None:
        message = (LOCK_SET, self.pid, is_set, list(self._known), candidate.his_tag)
        self._process.table.emit_if_connected(
            self._process, (GLOBAL_NAME_SERVER, candidate.node), (gen.GEN_CAST, message)
        )


def _is_cancel(message: Any, candidate: Candidate) -> bool:
    return isinstance(message, Cancel) and message.node is candidate.node and message.my_tag == candidate.my_tag


def _is_answer(message: Any, candidate: Candidate) -> bool:
    if _is_cancel(message, candidate):
        return True
    answer = _lock_set(message)
    return answer.locker.node is candidate.node and answer.my_tag in (candidate.my_tag, None)


_NO_ANSWER: Final = LockSet(Pid(Atom(""), 0, 0, 0), False, None)


def _lock_set(message: Any) -> LockSet:
    """A ``lock_set``, from the name server or, without a tag, straight from a locker; else one that is nobody's."""
    match message:
        case LockSet():
            return message
        case (Atom("lock_set"), Pid() as locker, bool(is_set), _):
            return LockSet(locker, is_set, None)
    return _NO_ANSWER


# -- the registrar ----------------------------------------------------------------------------


class Transaction:
    """A request to the registrar: call `function` with the nodes of the partition while they are locked."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Process, list[Atom]], Any]) -> None:
        self.function = function


class Registrar(GenServer):
    """Changes names for everyone on this node, one after the other. It outlives its clients, so it always unlocks."""

    def init(self, tables: Tables) -> None:
        self._locks = tables.locks

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        if type(request) is not Transaction:
            return NoReply(state)
        lock_id = (GLOBAL, self.pid)
        nodes = self._lock_known(lock_id)
        try:
            result: Any = request.function(self._process, nodes)
        except ProcessExit:
            raise
        except Exception as error:  # noqa: BLE001  # raised again in the caller
            result = error
        finally:
            unlock_boss_last(self._process, lock_id, nodes)
        return Reply(result, state)

    def _lock_known(self, lock_id: LockId) -> list[Atom]:
        times = 0
        while True:
            known = self._known()
            nodes = [self.node.name, *known]
            boss = boss_of(nodes)
            locked = [boss]
            if try_lock(self._process, self._locks, lock_id, locked):
                if try_lock(self._process, self._locks, lock_id, nodes):
                    locked = nodes
                    if set(self._known()) <= set(known):
                        return nodes
                # A node that has come meanwhile must not be left out.
                unlock(self._process, lock_id, locked)
            pause(times)
            times += 1

    def _known(self) -> list[Atom]:
        known: list[Atom] = gen.call(self._process, GLOBAL_NAME_SERVER, GET_KNOWN, None)
        return known
