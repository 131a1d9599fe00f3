"""What a Shard does: keeps versions of its keys, and serves each read from the last one before it, once that is known.

The shards' sets of keys are disjoint. A version is what one transaction has written to one key; it is pending from the
lock on, until the executor has written or said that it does not. A read waits for one thing only, the version before
it; writes never wait.

Differences from the specification:

* A read at `ts` may be served once all write locks below `ts` are known (``ts <= heard_all_writes + 1``); there the
  newest transaction waits for the one after it. This holds for lazy reads, too. Barriers never fall.
* ``heard_all_reads`` refuses new read locks up to it, and does not disable those that are known.
* A pending version, of a lock that may or that will write, makes readers wait; there one that may write is passed over.
* A key that was never written reads as ``ABSENT``; there the reader gets no answer.
* A write of nothing takes the version away, and readers go on to the one before; there it does nothing.
* The first write for a lock counts; there a version that was read already can be changed.
* A lazy read that is asked for before its version is known is answered when it is; there it is forgotten. A read is
  served once, to the executor that the lock names.
* Writes and requests that come before their lock are kept until it comes; there they are lost.
* What is committed is collected: of each key the last version up to the committed fingerprint stays. The
  specification describes a collection and has none.
* Shards lose their locks when they end, and come back: `WorkerStarted`, `ShardReady` and `ReloadRequest` are for that,
  and locks have attempts. What is committed a shard reads from the ledger, a key at a time, when it is first needed.

Pure: a function of environment and message to effects.

Source: nspec v0.2.0, "Shard behaviour": guards First[acquireLock, processWrite, processReadRequest, updateSeenAll].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from anoma.keys import in_order
from anoma.programs import ABSENT
from anoma.versioned_map import SortedMap, VersionedMap
from engines.effects import Effects, SetTimer, Watch
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed, on_ended, on_started
from engines.ledger.messages import HeightsReply, HeightsRequest, LedgerFailed, ReadReply, ReadRequest
from engines.messages import Address, EngineID, Envelope, Message
from engines.shard.messages import (
    MESSAGES,
    Committed,
    KVSAcquireLock,
    KVSLockAcquired,
    KVSRead,
    KVSReadRequest,
    KVSWrite,
    ReloadRequest,
    ShardReady,
    ShardStatusReply,
    ShardStatusRequest,
    UpdateSeenAll,
    WorkerStarted,
)
from engines.wire import settings_from

LEDGER: Final = "ledger"
"""The timer until the ledger is asked again."""

RETRY_S: Final = 0.2
OWN_WORKER: Final = EngineID(None, "mempool_worker")
OWN_LEDGER: Final = EngineID(None, "ledger")


class _Pending:
    def __repr__(self) -> str:
        return "PENDING"


PENDING: Final = _Pending()
"""Stands for a version that is not known yet."""


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """What a Shard is started with.

    Attributes:
        worker: the Mempool Worker that it serves.
        ledger: where it reads what is committed.
    """

    worker: EngineID = OWN_WORKER
    ledger: EngineID = OWN_LEDGER


@dataclass(frozen=True, slots=True)
class Lock:
    """What is known of one transaction.

    Attributes:
        executor: the one of its `attempt`.
        reads: keys of reads that are neither served nor let go.
        wanted: those of them that are wanted.
        writes: keys of its write locks.
        pending: those of them that are not resolved.
    """

    worker: EngineID
    executor: EngineID
    attempt: int
    reads: frozenset[Any]
    wanted: frozenset[Any]
    writes: frozenset[Any]
    pending: frozenset[Any]


@dataclass(frozen=True, slots=True)
class KeyAccesses:
    """One key, as far as it is not settled.

    Attributes:
        versions: fingerprint to value or `PENDING`.
        waiting: fingerprints of wanted reads that may be served but for the version before them.
    """

    versions: SortedMap[Any]
    waiting: SortedMap[None]


@dataclass(frozen=True, slots=True)
class ShardState:
    """The Shard's state.

    Attributes:
        incarnation: number of this life of the shard; 0 before its first turn.
        worker_incarnation: the worker that it serves, where it knows.
        loaded: fingerprint up to which the ledger knew the versions when this life began; None: it has not said.
        heard_all_reads, heard_all_writes: the barriers.
        committed: fingerprint up to which everything is committed, as far as it has heard.
        settled: of each key the last committed version, as fingerprint and value; where it has been looked at.
        accesses: of each key whatever is not settled.
        locks: those of transactions that are not committed, or not resolved.
        gated: fingerprints of transactions with wanted reads that wait for the barrier.
        parked: messages that came before their lock, with their senders, by fingerprint.
        fetching: keys that the ledger is asked for.
    """

    incarnation: int = 0
    worker_incarnation: int | None = None
    loaded: int | None = None
    heard_all_reads: int = 0
    heard_all_writes: int = 0
    committed: int = 0
    settled: VersionedMap[Any, tuple[int, Any]] = field(default_factory=VersionedMap)
    accesses: VersionedMap[Any, KeyAccesses] = field(default_factory=VersionedMap)
    locks: SortedMap[Lock] = field(default_factory=SortedMap)
    gated: SortedMap[None] = field(default_factory=SortedMap)
    parked: SortedMap[tuple[tuple[Address | None, Message], ...]] = field(default_factory=SortedMap)
    fetching: VersionedMap[Any, None] = field(default_factory=VersionedMap)


class _Draft:
    """The state that a turn makes, while it does."""

    def __init__(self, turn: Turn[ShardState]) -> None:
        state = turn.state
        self.turn = turn
        self.incarnation = state.incarnation
        self.worker_incarnation = state.worker_incarnation
        self.loaded = state.loaded
        self.heard_all_reads = state.heard_all_reads
        self.heard_all_writes = state.heard_all_writes
        self.committed = state.committed
        self.settled = state.settled
        self.accesses = state.accesses
        self.locks = state.locks
        self.gated = state.gated
        self.parked = state.parked
        self.fetching = state.fetching
        self.messages: list[Envelope] = []

    def effects(self) -> Effects[ShardState]:
        state = ShardState(
            self.incarnation,
            self.worker_incarnation,
            self.loaded,
            self.heard_all_reads,
            self.heard_all_writes,
            self.committed,
            self.settled,
            self.accesses,
            self.locks,
            self.gated,
            self.parked,
            self.fetching,
        )
        return Effects(state, messages=tuple(self.messages))

    def send(self, target: Address, message: Message) -> None:
        self.messages.append(self.turn.send(target, message))

    # -- locks ----------------------------------------------------------------------------------

    def register(self, ts: int, message: KVSAcquireLock) -> None:
        """A lock that is new, or one of a later attempt."""
        known = self.locks.get(ts)
        reads = message.eager_read_keys | message.lazy_read_keys
        if known is None:
            writes = message.will_write_keys | message.may_write_keys
            pending = writes
            for key in writes:
                self.put_version(key, ts, PENDING)
        else:
            writes, pending = known.writes, known.pending
            for key in known.wanted:
                self.stop_waiting(key, ts)
        self.locks = self.locks.put(
            ts,
            Lock(
                message.worker,
                message.executor,
                message.attempt,
                reads,
                message.eager_read_keys,
                writes,
                pending,
            ),
        )
        if self.is_open(ts):
            self.serve_what_can_be(ts)
        elif message.eager_read_keys:
            self.gated = self.gated.put(ts, None)
        self.unpark(ts)

    def unpark(self, ts: int) -> None:
        """Take up what came before its lock."""
        parked = self.parked.get(ts)
        if parked is None:
            return
        self.parked = self.parked.without(ts)
        for sender, message in parked:
            if isinstance(message, KVSWrite):
                self.write(sender, message)
            elif isinstance(message, KVSReadRequest):
                self.request(sender, message)

    def lock_of(self, sender: Address | None, message: KVSWrite | KVSReadRequest) -> Lock | None:
        """The lock that a message is about; one that came too early is kept."""
        ts = message.timestamp
        lock: Lock | None = self.locks.get(ts)
        if lock is not None and sender in (lock.executor, lock.worker):
            return lock
        barrier = self.heard_all_writes if type(message) is KVSWrite else self.heard_all_reads
        worker = self.turn.settings.worker.at(self.turn.config.node)
        if not isinstance(sender, EngineID) or sender.node != worker.node:
            # Executors are where the worker is; nobody else's word is kept.
            return None
        if ts > self.committed and (lock is not None or ts > barrier):
            entry = (sender, message)
            parked = self.parked.get(ts, ())
            if entry not in parked:
                self.parked = self.parked.put(ts, (*parked, entry))
        return None

    # -- reads ----------------------------------------------------------------------------------

    def request(self, sender: Address | None, message: KVSReadRequest) -> None:
        ts, key = message.timestamp, message.key
        lock = self.lock_of(sender, message)
        if lock is None or key not in lock.reads:
            return
        if not message.actual:
            self.finish_read(ts, key, lock)
        elif key not in lock.wanted:
            self.locks = self.locks.put(
                ts,
                Lock(
                    lock.worker,
                    lock.executor,
                    lock.attempt,
                    lock.reads,
                    lock.wanted | {key},
                    lock.writes,
                    lock.pending,
                ),
            )
            if self.is_open(ts):
                self.serve_if_known(ts, key)
            else:
                self.gated = self.gated.put(ts, None)

    def serve_what_can_be(self, ts: int) -> None:
        lock = self.locks.get(ts)
        if lock is not None:
            for key in in_order(lock.wanted):
                self.serve_if_known(ts, key)

    def serve_if_known(self, ts: int, key: Any) -> None:
        """Serve a wanted read that the barrier lets through, or have it wait for the version before it."""
        found, value = self.version_before(key, ts)
        if found:
            self.serve(ts, key, value)
            return
        access = self.access(key)
        self.accesses = self.accesses.put(key, KeyAccesses(access.versions, access.waiting.put(ts, None)))

    def version_before(self, key: Any, ts: int) -> tuple[bool, Any]:
        """Whether the version that is read at `ts` is known, and its value."""
        access = self.accesses.get(key)
        before = None if access is None else access.versions.below(ts)
        if access is not None and before is not None:
            value = access.versions[before]
            return value is not PENDING, value
        settled = self.settled.get(key)
        if settled is not None:
            return True, settled[1]
        if self.loaded == 0:
            # Nothing was committed before this life of the shard, and nothing since.
            return True, ABSENT
        self.fetch(key)
        return False, None

    def serve(self, ts: int, key: Any, value: Any) -> None:
        lock = self.locks[ts]
        self.send(lock.executor, KVSRead(ts, key, value))
        self.finish_read(ts, key, lock)

    def finish_read(self, ts: int, key: Any, lock: Lock) -> None:
        if key in lock.wanted:
            self.stop_waiting(key, ts)
        one = frozenset((key,))
        self.locks = self.locks.put(
            ts,
            Lock(
                lock.worker,
                lock.executor,
                lock.attempt,
                lock.reads - one,
                lock.wanted - one,
                lock.writes,
                lock.pending,
            ),
        )

    def stop_waiting(self, key: Any, ts: int) -> None:
        access = self.accesses.get(key)
        if access is not None and ts in access.waiting:
            self.keep(key, access.versions, access.waiting.without(ts))

    def serve_between(self, key: Any, after: int, value: Any) -> None:
        """Serve the reads that wait for the version at `after`, or the settled one, where that is 0."""
        access = self.accesses.get(key)
        if access is None or not access.waiting:
            return
        for ts in access.waiting.between(after, access.versions.above(after)):
            self.serve(ts, key, value)

    # -- versions -------------------------------------------------------------------------------

    def write(self, sender: Address | None, message: KVSWrite) -> None:
        ts, key, value = message.timestamp, message.key, message.datum
        lock = self.lock_of(sender, message)
        if lock is None or key not in lock.pending:
            return
        self.locks = self.locks.put(
            ts,
            Lock(
                lock.worker,
                lock.executor,
                lock.attempt,
                lock.reads,
                lock.wanted,
                lock.writes,
                lock.pending - {key},
            ),
        )
        if value is not ABSENT:
            self.put_version(key, ts, value)
            self.serve_between(key, ts, value)
        else:
            self.skip(key, ts)
        if ts <= self.committed:
            self.collect(key)
            self.forget(ts)

    def skip(self, key: Any, ts: int) -> None:
        """There is no version at `ts`: who waits for it goes on to the one before."""
        access = self.accesses[key]
        self.keep(key, access.versions.without(ts), access.waiting)
        if not access.waiting:
            return
        found, value = self.version_before(key, ts)
        if found:
            before = access.versions.below(ts)
            self.serve_between(key, 0 if before is None else before, value)

    def access(self, key: Any) -> KeyAccesses:
        access = self.accesses.get(key)
        return KeyAccesses(SortedMap(), SortedMap()) if access is None else access

    def put_version(self, key: Any, ts: int, value: Any) -> None:
        access = self.access(key)
        self.accesses = self.accesses.put(key, KeyAccesses(access.versions.put(ts, value), access.waiting))

    def keep(self, key: Any, versions: SortedMap[Any], waiting: SortedMap[None]) -> None:
        if versions or waiting:
            self.accesses = self.accesses.put(key, KeyAccesses(versions, waiting))
        else:
            self.accesses = self.accesses.without(key)

    def fetch(self, key: Any) -> None:
        """Have the ledger say what is committed of a key."""
        if key not in self.fetching:
            assert self.loaded is not None
            self.fetching = self.fetching.put(key, None)
            self.send(self.turn.settings.ledger, ReadRequest(key, self.loaded))

    # -- barriers, and what is behind them --------------------------------------------------------

    def is_open(self, ts: int) -> bool:
        """Whether all write locks below `ts` are known."""
        return ts <= self.heard_all_writes + 1

    def raise_barrier(self, ts: int, write: bool) -> None:
        if write:
            self.heard_all_writes = max(self.heard_all_writes, ts)
            self.open_gate()
        else:
            self.heard_all_reads = max(self.heard_all_reads, ts)

    def open_gate(self) -> None:
        """Serve what the barrier of writes lets through."""
        while (ts := self.gated.first()) is not None and self.is_open(ts):
            self.gated = self.gated.without(ts)
            self.serve_what_can_be(ts)

    def commit(self, fingerprint: int) -> None:
        """Everything up to a fingerprint lasts: only the newest versions of that are of use."""
        self.committed = fingerprint
        keys: set[Any] = set()
        for ts in self.locks.between(0, fingerprint):
            lock = self.locks[ts]
            keys |= lock.writes
            for key in lock.wanted:
                self.stop_waiting(key, ts)
            if lock.pending:
                none: frozenset[Any] = frozenset()
                self.locks = self.locks.put(
                    ts, Lock(lock.worker, lock.executor, lock.attempt, none, none, lock.writes, lock.pending)
                )
            else:
                self.locks = self.locks.without(ts)
        self.gated = self.gated.without(*self.gated.between(0, fingerprint))
        self.parked = self.parked.without(*self.parked.between(0, fingerprint))
        for key in keys:
            self.collect(key)

    def forget(self, ts: int) -> None:
        """Drop the lock of a committed transaction once it is resolved."""
        if not self.locks[ts].pending:
            self.locks = self.locks.without(ts)

    def collect(self, key: Any) -> None:
        """Drop versions that no read can be served from: all below the last one that is committed."""
        access = self.accesses.get(key)
        if access is None:
            return
        versions = access.versions
        last = versions.below(self.committed + 1)
        while last is not None and versions[last] is PENDING:
            last = versions.below(last)
        if last is None:
            return
        older = versions.between(0, last)
        pending = [ts for ts in older if versions[ts] is PENDING]
        value = versions[last]
        if pending:
            # It stays, so that no read takes a version below it for its own.
            versions = versions.without(*(ts for ts in older if ts != last and versions[ts] is not PENDING))
        else:
            versions = versions.without(*older)
            self.settled = self.settled.put(key, (last, value))
            self.fetching = self.fetching.without(key)
        self.keep(key, versions, access.waiting)


# -- actions ----------------------------------------------------------------------------------


def acquire_lock(turn: Turn[ShardState], _args: None) -> Effects[ShardState] | None:
    """Note the locks of a transaction, tell the worker, serve its eager reads where that can be."""
    message = turn.message
    assert isinstance(message, KVSAcquireLock)
    ts = message.timestamp
    state = turn.state
    if state.loaded is None:
        return None
    known = state.locks.get(ts)
    draft = _Draft(turn)
    if ts > state.committed and (known is None or message.attempt > known.attempt):
        if known is None and _is_too_late(message, state):
            return None
        draft.register(ts, message)
    draft.send(message.worker, KVSLockAcquired(ts, state.incarnation))
    return draft.effects()


def _is_too_late(message: KVSAcquireLock, state: ShardState) -> bool:
    """Whether the worker has said that there are no further locks of the kind so far back."""
    ts = message.timestamp
    if ts <= state.heard_all_reads and (message.eager_read_keys or message.lazy_read_keys):
        return True
    return ts <= state.heard_all_writes and bool(message.will_write_keys or message.may_write_keys)


def process_write(turn: Turn[ShardState], _args: None) -> Effects[ShardState] | None:
    """Resolve a write lock, and serve the reads that have waited for it."""
    message = turn.message
    assert isinstance(message, KVSWrite)
    if turn.state.loaded is None:
        return None
    draft = _Draft(turn)
    draft.write(turn.sender, message)
    return draft.effects()


def process_read_request(turn: Turn[ShardState], _args: None) -> Effects[ShardState] | None:
    """Serve a lazy read, as soon as that can be; or let a read go."""
    message = turn.message
    assert isinstance(message, KVSReadRequest)
    if turn.state.loaded is None:
        return None
    draft = _Draft(turn)
    draft.request(turn.sender, message)
    return draft.effects()


def update_seen_all(turn: Turn[ShardState], _args: None) -> Effects[ShardState] | None:
    """Raise a barrier, and serve the reads that it has held up."""
    message = turn.message
    assert isinstance(message, UpdateSeenAll)
    if not _is_meant(turn, message.incarnation):
        return None
    draft = _Draft(turn)
    draft.raise_barrier(message.timestamp, message.write)
    return draft.effects()


def committed(turn: Turn[ShardState], _args: None) -> Effects[ShardState] | None:
    """Collect versions."""
    message = turn.message
    assert isinstance(message, Committed)
    if not _is_meant(turn, message.incarnation) or message.timestamp <= turn.state.committed:
        return None
    draft = _Draft(turn)
    draft.commit(message.timestamp)
    return draft.effects()


def _is_meant(turn: Turn[ShardState], incarnation: int) -> bool:
    return turn.state.loaded is not None and turn.state.incarnation == incarnation


def begin(turn: Turn[ShardState], _args: None) -> Effects[ShardState]:
    """Ask the ledger what is committed."""
    return _begin(turn, turn.state.worker_incarnation)


def worker_started(turn: Turn[ShardState], _args: None) -> Effects[ShardState] | None:
    """Begin anew for another worker; announce itself again to the same one."""
    message = turn.message
    assert isinstance(message, WorkerStarted)
    state = turn.state
    if state.worker_incarnation is None and not (state.locks or state.parked):
        # It has served nobody yet.
        state = replace(state, worker_incarnation=message.incarnation)
    elif state.worker_incarnation != message.incarnation:
        return _begin(turn, message.incarnation)
    if state.loaded is None:
        return Effects(state)
    return Effects(state, messages=(_announcement(turn, state),))


def reload(turn: Turn[ShardState], _args: None) -> Effects[ShardState] | None:
    """Begin anew, with what has been committed since."""
    message = turn.message
    assert isinstance(message, ReloadRequest)
    if not _is_meant(turn, message.incarnation):
        return None
    return _begin(turn, turn.state.worker_incarnation, message.above)


def _begin(turn: Turn[ShardState], worker_incarnation: int | None, above: int = 0) -> Effects[ShardState]:
    incarnation = max(int(turn.time_s * 1e6), turn.state.incarnation + 1, above + 1)
    ledger = turn.settings.ledger
    return Effects(
        ShardState(incarnation, worker_incarnation),
        messages=(turn.send(ledger, HeightsRequest()),),
        watches=(Watch(ledger),),
    )


def heights(turn: Turn[ShardState], _args: None) -> Effects[ShardState] | None:
    """Take what is committed for the versions to begin with, and announce itself to the worker."""
    message = turn.message
    assert isinstance(message, HeightsReply)
    state = turn.state
    if state.loaded is not None:
        return None
    height = message.heights.committed
    state = ShardState(state.incarnation, state.worker_incarnation, height, height, height, height)
    return Effects(state, messages=(_announcement(turn, state),))


def _announcement(turn: Turn[ShardState], state: ShardState) -> Envelope:
    assert state.loaded is not None
    return turn.send(turn.settings.worker, ShardReady(state.incarnation, state.loaded, state.worker_incarnation))


def fetched(turn: Turn[ShardState], _args: None) -> Effects[ShardState] | None:
    """Take what is committed of a key, and serve the reads that have waited for it."""
    message = turn.message
    assert isinstance(message, ReadReply)
    key = message.key
    if message.fingerprint != turn.state.loaded or key not in turn.state.fetching:
        return None
    draft = _Draft(turn)
    value = message.value
    draft.fetching = draft.fetching.without(key)
    draft.settled = draft.settled.put(key, (message.written, value))
    draft.serve_between(key, 0, value)
    return draft.effects()


def ask_later(turn: Turn[ShardState], _args: None) -> Effects[ShardState]:
    """Ask the ledger again in a while."""
    return Effects(turn.state, timers=(SetTimer(LEDGER, RETRY_S),))


def ask_again(turn: Turn[ShardState], _args: None) -> Effects[ShardState]:
    """Ask the ledger again for what it has not answered."""
    state, ledger = turn.state, turn.settings.ledger
    questions: Iterable[Message]
    if state.loaded is None:
        questions = (HeightsRequest(),)
    else:
        questions = [ReadRequest(key, state.loaded) for key in state.fetching]
    messages = tuple(turn.send(ledger, question) for question in questions)
    return Effects(state, messages=messages, watches=(Watch(ledger),))


def status(turn: Turn[ShardState], _args: None) -> Effects[ShardState]:
    """Tell how much there is. Takes time by the number of keys that are in use."""
    state = turn.state
    reply = ShardStatusReply(
        len(state.settled),
        sum(len(state.accesses[key].versions) for key in state.accesses),
        len(state.locks),
        state.heard_all_reads,
        state.heard_all_writes,
        state.committed,
    )
    return Effects(state, replies=(reply,))


def _by_ledger(turn: Turn[ShardState]) -> bool:
    return bool(turn.sender == turn.settings.ledger.at(turn.config.node))


def _by_worker(turn: Turn[ShardState]) -> bool:
    return bool(turn.sender == turn.settings.worker.at(turn.config.node))


def _of_ledger(turn: Turn[ShardState]) -> bool:
    return bool(turn.ended.address == turn.settings.ledger)


def _is_due(turn: Turn[ShardState]) -> bool:
    return LEDGER in turn.handles


def start(args: Any) -> tuple[ShardSettings, ShardState]:
    """Its settings, of `ShardSettings` or a map of some of their fields, and an empty shard.

    Raises:
        ValueError: no such settings.
    """
    return settings_from(ShardSettings, args), ShardState()


BEHAVIOUR: Final[EngineBehaviour[ShardState]] = EngineBehaviour(
    "shard",
    MESSAGES,
    start,
    First(
        on_started(begin),
        on(KVSAcquireLock, acquire_lock, when=_by_worker),
        on(KVSWrite, process_write),
        on(KVSReadRequest, process_read_request),
        on(UpdateSeenAll, update_seen_all, when=_by_worker),
        on(Committed, committed, when=_by_worker),
        on(WorkerStarted, worker_started, when=_by_worker),
        on(ReloadRequest, reload, when=_by_worker),
        on(HeightsReply, heights, when=_by_ledger),
        on(ReadReply, fetched, when=_by_ledger),
        on(LedgerFailed, ask_later, when=_by_ledger),
        on(ShardStatusRequest, status),
        on_elapsed(ask_again, when=_is_due),
        on_ended(ask_later, when=_of_ledger),
    ),
)
