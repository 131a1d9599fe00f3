"""What the Mempool Worker does: orders transactions, has them locked and run, and commits them as blocks.

A request gets the next fingerprint and is journalled in the ledger, with all others that have come meanwhile; then it
is acknowledged, its executor is started, and the shards that have its keys are told of its locks. When it has run, and
all before it have, it goes into the next block, again with all others that can.

There is one write to the ledger at a time. What the ledger has is where a worker begins: transactions that are accepted
and in no block are run again, under the fingerprints that they have.

Differences from the specification:

* An executor's name has the fingerprint and its address the node; there the worker cannot find a summary's transaction.
* Labels have four sets of keys; there two, although shards have four kinds of locks. They are checked, and what could
  never be run is rejected.
* `KVSLockAcquired` is counted once for each shard and fingerprint, and forgotten behind the barriers; there each one is
  kept, and the barriers are computed from the first.
* Barriers are told when they have grown, to all shards; there always, and only to shards that a label names.
* A transaction is acknowledged when it lasts, with its hash and its batch; there these are not used. Two requests with
  one id are one transaction; `resubmission` names an earlier one.
* Transactions end in blocks. What is not in a block is bounded, and more is rejected.
* An executor that ends without a word is started again, a few times; then its transaction fails. A shard that begins
  anew is told all locks and versions that are not committed.

Pure: a function of environment and message to effects.

Source: nspec v0.2.0, "Mempool worker behaviour": guards First[transactionRequest, lockAcquired, executorFinished].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from blake3 import blake3

from anoma.keys import Key, check_key, in_order, shard_number
from anoma.programs import ABSENT, Runnable
from anoma.programs.execution import Rights
from anoma.programs.kinds import load
from anoma.programs.nock import MOST_GAS
from anoma.programs.standard import STANDARD
from anoma.resource_machine.execution import is_reserved
from anoma.versioned_map import SortedMap, VersionedMap
from engines.effects import Effects, Exit, SetTimer, Spawn, StopChild, Unwatch, Watch
from engines.executor.behaviour import ExecutorSettings
from engines.executor.messages import ExecutorFinished, ShardRestored
from engines.guards import (
    Ended,
    EngineBehaviour,
    First,
    Turn,
    on,
    on_elapsed,
    on_ended,
    on_outcome,
    on_started,
)
from engines.ledger import messages as ledger
from engines.ledger.records import CommittedTransaction, JournalEntry
from engines.mempool_worker.messages import (
    MESSAGES,
    AdvanceBarriers,
    Rejection,
    Stage,
    TransactionAck,
    TransactionCandidate,
    TransactionLabel,
    TransactionRejected,
    TransactionRequest,
    TransactionStatus,
    TransactionStatusRequest,
    UnwatchTransactions,
    WatchTransactions,
    WorkerStatus,
    WorkerStatusRequest,
)
from engines.messages import Address, EngineID, Envelope, Message
from engines.shard.messages import (
    Committed,
    KVSAcquireLock,
    KVSLockAcquired,
    KVSReadRequest,
    KVSWrite,
    ReloadRequest,
    ShardReady,
    UpdateSeenAll,
    WorkerStarted,
)
from engines.wire import settings_from
from erlang_bridge import etf
from erlang_bridge.errors import BridgeError, brief
from erlang_bridge.terms import Atom, Reference
from erlang_bridge.terms.text import format_term

NORMAL: Final = Atom("normal")
RESOURCE_MACHINE: Final = Atom("resource_machine")
LEDGER_HAS_CHANGED: Final = Atom("ledger_has_changed")
"""Why a worker ends that began while a write of the one before was under way; the next will do."""

LEDGER: Final = "ledger"
"""The timer until the ledger is asked again."""

EXECUTOR: Final = "executor-"
"""Begins the names of executors."""

RETRY_S: Final = 0.2
OWN_LEDGER: Final = EngineID(None, "ledger")
ONLY_SHARD: Final = EngineID(None, "shard-0")
IDS: Final = "transaction_ids"
"""The ledger's table of ids of committed transactions: id to fingerprint and hash."""

TRANSACTION: Final = Atom("transaction")
"""A candidate in the ledger: ``{transaction, Id, Read, Write, LazyRead, MayWrite, Executable}``, with lists of keys."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of a candidate as a term. With `anoma.programs.execution.MOST_BYTES` it fits into what the ledger stores in one."""

_PAGE: Final = 1000
"""Transactions that are read from the ledger at a time."""


@dataclass(frozen=True, slots=True)
class MempoolWorkerSettings:
    """What a Mempool Worker is started with.

    Attributes:
        shards: all of them, in order: their number and order say which has a key.
        ledger: where transactions are kept.
        most_in_flight: transactions that are waiting, or accepted and in no block; beyond, they are rejected.
        most_in_batch: transactions that are accepted with one write to the ledger.
        most_in_block: transactions in one block.
        most_attempts: how often a transaction's executor is started, before the transaction fails.
        most_gas: what a program in Nock may ask for; one that asks for more is rejected.
        programs: name to program in Python, see `anoma.programs.python`; None: the standard ones.
    """

    shards: tuple[EngineID, ...] = (ONLY_SHARD,)
    ledger: EngineID = OWN_LEDGER
    most_in_flight: int = 10_000
    most_in_batch: int = 1_000
    most_in_block: int = 1_000
    most_attempts: int = 3
    most_gas: int = MOST_GAS
    programs: Any = None

    def __post_init__(self) -> None:
        if not self.shards:
            raise ValueError("expected at least one shard")
        for name in ("most_in_flight", "most_in_batch", "most_in_block", "most_attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected at least 1 as {name}, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Work:
    """A transaction, ready to be run.

    Attributes:
        program: or why it cannot be run, in words.
        parts: shards that have keys of it, and the rights that concern each.
        hash: BLAKE3 of the candidate.
        term: the candidate.
    """

    candidate: TransactionCandidate
    rights: Rights
    program: Runnable | str
    parts: tuple[tuple[EngineID, Rights], ...]
    hash: bytes
    term: Any


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that has no fingerprint yet.

    Attributes:
        requests: those that wait for an answer; the first is where the transaction comes from.
        looking: whether the ledger is asked if it has the id.
    """

    work: Work
    requests: tuple[Envelope, ...]
    looking: bool = False


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction that has a fingerprint, and is in no block.

    Attributes:
        issuer: who hears how it went.
        requests: those that wait to be acknowledged.
        attempt: which executor of it runs, from 1; 0: it is being accepted.
        executor: its address; None: it has none any more.
        result: how it went.
        repeated: shards that began anew while it was there: they may have lost what its executor told them.
    """

    fingerprint: int
    work: Work
    issuer: Address | None
    requests: tuple[Envelope, ...] = ()
    attempt: int = 0
    executor: EngineID | None = None
    result: ExecutorFinished | None = None
    repeated: frozenset[EngineID] = frozenset()


@dataclass(frozen=True, slots=True)
class ShardView:
    """What the worker knows of a shard.

    Attributes:
        incarnation: None: it has not announced itself, or has to begin anew.
        told_reads, told_writes: the barriers that it has been told.
        behind: an incarnation that lacks what is being committed.
    """

    incarnation: int | None = None
    told_reads: int = 0
    told_writes: int = 0
    behind: int | None = None


@dataclass(frozen=True, slots=True)
class Writing:
    """The write to the ledger that is on its way.

    Attributes:
        persist: what is to last.
        last_accepted: the last fingerprint of its entries; 0: there are none.
        last_committed: the last fingerprint of its block; 0: there is none.
        batch: its number, from 1.
        start: when it began, in microseconds.
    """

    persist: ledger.Persist
    last_accepted: int
    last_committed: int
    batch: int
    start: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A message to the ledger that is not answered.

    Attributes:
        answered: what to do with the answer.
        about: what it is about.
    """

    message: Message
    answered: Callable[[_Draft, Any, Any], None]
    about: Any = None


@dataclass(frozen=True)
class MempoolWorkerState:
    """The Mempool Worker's state.

    Attributes:
        incarnation: number of this life of the worker; 0 before its first turn.
        ready: whether it knows what the ledger has.
        started: the last fingerprint whose executor was started and whose locks were sent.
        next_fingerprint: the one to be given next.
        committed: the last fingerprint in a block.
        round: of the last block.
        waiting: requests without fingerprints, in the order of their arrival, by a number of their own.
        arrivals: how many of those there have been.
        transactions: by fingerprint.
        ids: of both; the fingerprint, or the negative number of one that waits.
        forgotten_ids: whether there may be ids of committed transactions.
        executors: name to fingerprint of those that run.
        unacked_reads, unacked_writes: fingerprint to shards that have not said that they know of its locks.
        shards: what is known of each.
        advancing: whether `AdvanceBarriers` is on its way.
        writing: the write to the ledger that is on its way.
        batches: how many of those there have been.
        asked: what the ledger has been asked, by number.
        questions: how many of those there have been.
        watchers: fingerprint to those who want to hear of it.
        watch_all: those who want to hear of all.
    """

    incarnation: int = 0
    ready: bool = False
    started: int = 0
    next_fingerprint: int = 1
    committed: int = 0
    round: int = 0
    waiting: SortedMap[Waiting] = field(default_factory=SortedMap)
    arrivals: int = 0
    transactions: SortedMap[Transaction] = field(default_factory=SortedMap)
    ids: VersionedMap[bytes, int] = field(default_factory=VersionedMap)
    forgotten_ids: bool = True
    executors: VersionedMap[str, int] = field(default_factory=VersionedMap)
    unacked_reads: SortedMap[frozenset[EngineID]] = field(default_factory=SortedMap)
    unacked_writes: SortedMap[frozenset[EngineID]] = field(default_factory=SortedMap)
    shards: Mapping[EngineID, ShardView] = field(default_factory=dict)
    advancing: bool = False
    writing: Writing | None = None
    batches: int = 0
    asked: SortedMap[Asked] = field(default_factory=SortedMap)
    questions: int = 0
    watchers: VersionedMap[int, frozenset[Address]] = field(default_factory=VersionedMap)
    watch_all: frozenset[Address] = frozenset()

    @property
    def seen_all_reads(self) -> int:
        """The fingerprint up to which all shards know of the read locks."""
        first = self.unacked_reads.first()
        return self.started if first is None else first - 1

    @property
    def seen_all_writes(self) -> int:
        """The fingerprint up to which all shards know of the write locks."""
        first = self.unacked_writes.first()
        return self.started if first is None else first - 1


_FIELDS: Final = tuple(MempoolWorkerState.__dataclass_fields__)


class _Draft:
    """The state that a turn makes, while it does, and what the turn does besides."""

    incarnation: int
    ready: bool
    started: int
    next_fingerprint: int
    committed: int
    round: int
    waiting: SortedMap[Waiting]
    arrivals: int
    transactions: SortedMap[Transaction]
    ids: VersionedMap[bytes, int]
    forgotten_ids: bool
    executors: VersionedMap[str, int]
    unacked_reads: SortedMap[frozenset[EngineID]]
    unacked_writes: SortedMap[frozenset[EngineID]]
    shards: Mapping[EngineID, ShardView]
    advancing: bool
    writing: Writing | None
    batches: int
    asked: SortedMap[Asked]
    questions: int
    watchers: VersionedMap[int, frozenset[Address]]
    watch_all: frozenset[Address]

    def __init__(self, turn: Turn[MempoolWorkerState]) -> None:
        self.__dict__.update(turn.state.__dict__)
        self.turn = turn
        self.settings: MempoolWorkerSettings = turn.settings
        self.own = turn.own
        self.messages: list[Envelope] = []
        self.spawns: list[Spawn | StopChild] = []
        self.watches: list[Watch | Unwatch] = []
        self.exit: Exit | None = None

    def effects(self) -> Effects[MempoolWorkerState]:
        mine = self.__dict__
        state = object.__new__(MempoolWorkerState)
        state.__dict__.update({name: mine[name] for name in _FIELDS})
        return Effects(
            state,
            messages=tuple(self.messages),
            spawns=tuple(self.spawns),
            watches=tuple(self.watches),
            exit=self.exit,
        )

    def send(self, target: Address, message: Message) -> None:
        self.messages.append(Envelope(self.own, target, message))

    def answer(self, request: Envelope, message: Message) -> None:
        reply = request.reply(self.own, message)
        if reply is not None:
            self.messages.append(reply)

    # -- the ledger -----------------------------------------------------------------------------

    def ask(self, message: Message, answered: Callable[[_Draft, Any, Any], None], about: Any = None) -> None:
        self.questions += 1
        self.asked = self.asked.put(self.questions, Asked(message, answered, about))
        self.put_question(self.questions, message)

    def put_question(self, number: int, message: Message) -> None:
        reference = Reference(Atom(self.own.node or ""), 0, (number & 0xFFFFFFFF, number >> 32, *self.words()))
        self.messages.append(Envelope(self.own, self.settings.ledger, message, reference=reference))

    def words(self) -> tuple[int, int]:
        return self.incarnation & 0xFFFFFFFF, self.incarnation >> 32

    def flush(self) -> None:
        """Hand to the ledger what can be accepted and what can be committed, unless a write is on its way."""
        if self.writing is not None or not self.ready:
            return
        entries, last_accepted = self.accept()
        block, last_committed = self.next_block()
        if not entries and not block:
            return
        self.batches += 1
        persist = ledger.Persist(entries, block)
        start = int(self.turn.time_s * 1e6)
        self.writing = Writing(persist, last_accepted, last_committed, self.batches, start)
        ids = tuple(
            (work.candidate.id, (transaction.fingerprint, work.hash))
            for transaction in map(self.transactions.__getitem__, self.transactions.between(0, last_committed))
            if (work := transaction.work).candidate.id is not None
        )
        if ids:
            # First these: an id that is in the ledger without need does no harm, one that is missing does.
            self.forgotten_ids = True
            self.ask(ledger.PutItems(IDS, ids), _ids_written)
        else:
            self.ask(persist, _written)

    def accept(self) -> tuple[tuple[JournalEntry, ...], int]:
        """Give fingerprints to the requests that are next."""
        entries = []
        numbers = []
        for number in self.waiting.head(self.settings.most_in_batch):
            waiting = self.waiting[number]
            if waiting.looking:
                break
            numbers.append(number)
            fingerprint = self.next_fingerprint
            self.next_fingerprint += 1
            work = waiting.work
            issuer = waiting.requests[0].sender
            self.transactions = self.transactions.put(
                fingerprint, Transaction(fingerprint, work, issuer, waiting.requests)
            )
            if work.candidate.id is not None:
                self.ids = self.ids.put(work.candidate.id, fingerprint)
            entries.append(JournalEntry(fingerprint, work.term, issuer))
        self.waiting = self.waiting.without(*numbers)
        return tuple(entries), self.next_fingerprint - 1 if entries else 0

    def next_block(self) -> tuple[tuple[CommittedTransaction, ...], int]:
        """The transactions that have run, and all before them, and whose locks are known."""
        if any(view.incarnation is None for view in self.shards.values()):
            return (), 0
        last = min(*_barriers(self), self.committed + self.settings.most_in_block)
        block = []
        for fingerprint in range(self.committed + 1, last + 1):
            transaction = self.transactions[fingerprint]
            result = transaction.result
            if result is None:
                break
            block.append(
                CommittedTransaction(
                    fingerprint,
                    transaction.work.term,
                    result.success,
                    result.error,
                    result.values_read,
                    result.values_written,
                )
            )
        return tuple(block), self.committed + len(block) if block else 0

    def written(self, reply: ledger.Persisted) -> None:
        """The write that was on its way lasts."""
        writing = self.writing
        assert writing is not None
        self.writing = None
        if writing.last_accepted:
            for fingerprint in range(self.started + 1, writing.last_accepted + 1):
                transaction = self.transactions[fingerprint]
                for request in transaction.requests:
                    self.acknowledge(request, transaction, writing)
                self.run(transaction)
                self.notify(fingerprint, Stage.ACCEPTED)
        if writing.last_committed:
            self.round = reply.round or self.round
            for fingerprint in range(self.committed + 1, writing.last_committed + 1):
                self.notify(fingerprint, Stage.COMMITTED)
                transaction = self.transactions[fingerprint]
                if transaction.work.candidate.id is not None:
                    self.ids = self.ids.without(transaction.work.candidate.id)
                self.transactions = self.transactions.without(fingerprint)
                self.watchers = self.watchers.without(fingerprint)
            self.committed = writing.last_committed
            for shard, view in self.shards.items():
                if view.incarnation is not None:
                    self.send(shard, Committed(self.committed, view.incarnation))
        self.reload_those_behind()
        self.flush()

    # -- requests -------------------------------------------------------------------------------

    def request(self, envelope: Envelope, message: TransactionRequest) -> None:
        try:
            work = _work(message.tx, self.settings, self.own.node or "")
        except (ValueError, BridgeError) as error:
            self.reject(envelope, Rejection.BAD_REQUEST, str(error))
            return
        if message.resubmission is not None:
            self.resubmit(envelope, work, message.resubmission)
            return
        id_ = work.candidate.id
        known = None if id_ is None else self.ids.get(id_)
        if known is not None:
            self.attach(envelope, work, known)
            return
        if len(self.waiting) + len(self.transactions) >= self.settings.most_in_flight:
            self.reject(
                envelope,
                Rejection.OVERLOADED,
                f"{self.settings.most_in_flight} transactions are under way, and no more are taken: try again later",
            )
            return
        self.arrivals += 1
        looking = id_ is not None and (self.forgotten_ids or not self.ready)
        self.waiting = self.waiting.put(self.arrivals, Waiting(work, (envelope,), looking))
        if id_ is not None:
            self.ids = self.ids.put(id_, -self.arrivals)
            if looking and self.ready:
                self.ask(ledger.ItemRequest(IDS, id_), _looked_up, self.arrivals)
        self.flush()

    def resubmit(self, envelope: Envelope, work: Work, fingerprint: int) -> None:
        if not 1 <= fingerprint < self.next_fingerprint:
            given = brief(fingerprint, 80)
            text = f"expected a fingerprint that has been given as resubmission, got {given}: leave it out"
            self.reject(envelope, Rejection.BAD_REQUEST, text)
        elif fingerprint in self.transactions:
            self.attach(envelope, work, fingerprint)
        else:
            self.ask(ledger.TransactionRequest(fingerprint), _resubmitted, (envelope, work))

    def attach(self, envelope: Envelope, work: Work, known: int) -> None:
        """A request for a transaction that there is."""
        if known < 0:
            waiting = self.waiting[-known]
            if waiting.work.hash != work.hash:
                self.reject_other(envelope)
                return
            self.waiting = self.waiting.put(-known, replace(waiting, requests=(*waiting.requests, envelope)))
            return
        transaction = self.transactions[known]
        if transaction.work.hash != work.hash:
            self.reject_other(envelope)
        elif known <= self.started:
            self.acknowledge(envelope, transaction, None)
        else:
            self.transactions = self.transactions.put(
                known, replace(transaction, requests=(*transaction.requests, envelope))
            )

    def acknowledge(self, request: Envelope, transaction: Transaction, writing: Writing | None) -> None:
        first = writing is not None and request is transaction.requests[0]
        self.answer(
            request,
            TransactionAck(
                transaction.work.hash,
                writing.batch if writing is not None and first else 0,
                writing.start if writing is not None and first else 0,
                self.own,
                None,
                transaction.fingerprint,
                not first,
            ),
        )

    def acknowledge_again(self, request: Envelope, hash_: bytes, fingerprint: int) -> None:
        self.answer(request, TransactionAck(hash_, 0, 0, self.own, None, fingerprint, True))

    def reject(self, request: Envelope, reason: Rejection, text: str) -> None:
        self.answer(request, TransactionRejected(reason, text))

    def reject_other(self, request: Envelope) -> None:
        text = "another transaction has this id, or this fingerprint: send it with one of its own"
        self.reject(request, Rejection.ID_TAKEN, text)

    # -- executors and locks ----------------------------------------------------------------------

    def run(self, transaction: Transaction) -> None:
        """Start a transaction that lasts."""
        fingerprint = transaction.fingerprint
        self.started = fingerprint
        for shard, rights in transaction.work.parts:
            self.await_lock(fingerprint, shard, rights)
        self.attempt(transaction)
        self.advance()

    def attempt(self, transaction: Transaction) -> None:
        """Start the next executor of a transaction, and tell the shards."""
        fingerprint, work = transaction.fingerprint, transaction.work
        attempt = transaction.attempt + 1
        name = f"{EXECUTOR}{fingerprint}.{attempt}-{_short(self.incarnation)}"
        executor = EngineID(self.own.node, name)
        settings = ExecutorSettings(
            fingerprint, work.program, work.rights, self.own, transaction.issuer, tuple(self.shards)
        )
        self.spawns.append(Spawn("executor", settings, name))
        self.executors = self.executors.put(name, fingerprint)
        transaction = Transaction(
            fingerprint, work, transaction.issuer, (), attempt, executor, None, transaction.repeated
        )
        self.transactions = self.transactions.put(fingerprint, transaction)
        for shard, rights in work.parts:
            if self.shards[shard].incarnation is not None:
                self.lock(transaction, shard, rights)

    def lock(self, transaction: Transaction, shard: EngineID, rights: Rights) -> None:
        self.send(
            shard,
            KVSAcquireLock(
                rights.lazy_reads,
                rights.eager_reads,
                rights.will_writes,
                rights.may_writes,
                self.own,
                transaction.executor or self.own,
                transaction.fingerprint,
                transaction.attempt,
            ),
        )

    def await_lock(self, fingerprint: int, shard: EngineID, rights: Rights) -> None:
        none: frozenset[EngineID] = frozenset()
        if rights.reads:
            before = self.unacked_reads.get(fingerprint, none)
            self.unacked_reads = self.unacked_reads.put(fingerprint, before | {shard})
        if rights.writes:
            before = self.unacked_writes.get(fingerprint, none)
            self.unacked_writes = self.unacked_writes.put(fingerprint, before | {shard})

    def lock_acquired(self, shard: EngineID, fingerprint: int) -> None:
        self.unacked_reads = _less(self.unacked_reads, fingerprint, shard)
        self.unacked_writes = _less(self.unacked_writes, fingerprint, shard)
        self.advance()
        self.flush()

    def advance(self) -> None:
        """See that the shards hear of barriers that have grown."""
        if not self.advancing and self.grown():
            self.advancing = True
            self.send(self.own, AdvanceBarriers())

    def grown(self) -> bool:
        reads, writes = _barriers(self)
        return any(
            view.incarnation is not None and (view.told_reads < reads or view.told_writes < writes)
            for view in self.shards.values()
        )

    def tell_barriers(self) -> None:
        self.advancing = False
        reads, writes = _barriers(self)
        shards = dict(self.shards)
        for shard, view in self.shards.items():
            incarnation = view.incarnation
            if incarnation is None:
                continue
            if view.told_writes < writes:
                self.send(shard, UpdateSeenAll(writes, True, incarnation))
            if view.told_reads < reads:
                self.send(shard, UpdateSeenAll(reads, False, incarnation))
            shards[shard] = ShardView(incarnation, max(reads, view.told_reads), max(writes, view.told_writes))
        self.shards = shards

    def finished(self, transaction: Transaction, result: ExecutorFinished) -> None:
        fingerprint = transaction.fingerprint
        transaction = replace(transaction, result=result)
        self.transactions = self.transactions.put(fingerprint, transaction)
        if transaction.executor is not None:
            self.executors = self.executors.without(transaction.executor.name)
        for shard, rights in transaction.work.parts:
            if shard in transaction.repeated:
                self.resolve(shard, rights, result)
        self.notify(fingerprint, Stage.FINISHED)
        self.flush()

    def resolve(self, shard: EngineID, rights: Rights, result: ExecutorFinished) -> None:
        """Tell a shard what a transaction has written, and that it reads no more."""
        written = dict(result.values_written)
        for key in in_order(rights.writes):
            self.send(shard, KVSWrite(result.timestamp, key, written.get(key, ABSENT)))
        for key in in_order(rights.reads):
            self.send(shard, KVSReadRequest(result.timestamp, key, False))

    def executor_ended(self, name: str, reason: Any) -> None:
        fingerprint = self.executors.get(name)
        if fingerprint is None or reason is NORMAL:
            # Of one that has ended as it should its summary has come, or is on its way.
            return
        self.executors = self.executors.without(name)
        transaction = self.transactions[fingerprint]
        if transaction.attempt < self.settings.most_attempts:
            self.attempt(transaction)
            return
        told = format_term(reason, most=300)
        error = f"the executor ended {transaction.attempt} times before the program did, the last time with {told}"
        result = ExecutorFinished(False, (), (), fingerprint, error)
        for shard, rights in transaction.work.parts:
            self.resolve(shard, rights, result)
        if transaction.issuer is not None:
            self.send(transaction.issuer, result)
        self.finished(replace(transaction, executor=None), result)

    # -- shards ---------------------------------------------------------------------------------

    def shard_ready(self, shard: EngineID, message: ShardReady) -> None:
        view = self.shards[shard]
        known = view.incarnation
        if message.worker_incarnation != self.incarnation:
            # It does not know yet whom it begins for.
            self.send(shard, WorkerStarted(self.own, self.incarnation))
            return
        if known is not None and message.incarnation <= known:
            if message.incarnation < known:
                # An earlier one, whose word comes late, and who does not hear this; or the clock was set back.
                self.send(shard, ReloadRequest(message.incarnation, known))
            return
        lasting = self.committed if self.writing is None else max(self.committed, self.writing.last_committed)
        if message.committed > lasting:
            # A write of the worker before this one has come since this one began.
            self.exit = Exit(LEDGER_HAS_CHANGED)
            return
        if message.committed < lasting:
            self.shards = {**self.shards, shard: ShardView(None, behind=message.incarnation)}
            if self.writing is None:
                self.reload_those_behind()
            return
        self.shards = {**self.shards, shard: ShardView(message.incarnation)}
        for fingerprint in self.transactions.between(message.committed, self.started):
            self.repeat(self.transactions[fingerprint], shard)
        self.advance()
        self.flush()

    def reload_those_behind(self) -> None:
        for shard, view in self.shards.items():
            if view.behind is not None:
                self.send(shard, ReloadRequest(view.behind))
                self.shards = {**self.shards, shard: ShardView()}

    def repeat(self, transaction: Transaction, shard: EngineID) -> None:
        """Tell a shard that has begun anew what it knew of a transaction."""
        rights = dict(transaction.work.parts).get(shard)
        if rights is None:
            return
        fingerprint = transaction.fingerprint
        self.unacked_reads = _less(self.unacked_reads, fingerprint, shard)
        self.unacked_writes = _less(self.unacked_writes, fingerprint, shard)
        self.await_lock(fingerprint, shard, rights)
        self.lock(transaction, shard, rights)
        result = transaction.result
        if result is not None:
            self.resolve(shard, rights, result)
            return
        transaction = replace(transaction, repeated=transaction.repeated | {shard})
        self.transactions = self.transactions.put(fingerprint, transaction)
        assert transaction.executor is not None
        self.send(transaction.executor, ShardRestored(shard))

    # -- those who look on ------------------------------------------------------------------------

    def notify(self, fingerprint: int, stage: Stage) -> None:
        watchers = self.watch_all | self.watchers.get(fingerprint, frozenset())
        if not watchers:
            return
        status = self.status_of(fingerprint, stage)
        for watcher in watchers:
            self.send(watcher, status)

    def status_of(self, fingerprint: int, stage: Stage | None = None) -> TransactionStatus:
        """How far a transaction is that is in no block, or just came into one."""
        transaction = self.transactions[fingerprint]
        id_, result = transaction.work.candidate.id, transaction.result
        if result is None:
            return TransactionStatus(stage or Stage.ACCEPTED, fingerprint, id_)
        return TransactionStatus(
            stage or Stage.FINISHED,
            fingerprint,
            id_,
            result.success,
            result.values_read,
            result.values_written,
            result.error,
            self.round if stage is Stage.COMMITTED else None,
        )

    def status(self, envelope: Envelope, message: TransactionStatusRequest) -> None:
        fingerprint = message.fingerprint
        if fingerprint is None and message.id is not None:
            fingerprint = self.ids.get(message.id)
            if fingerprint is None and self.forgotten_ids:
                self.ask(ledger.ItemRequest(IDS, message.id), _found_id, envelope)
                return
        if fingerprint is None:
            self.answer(envelope, TransactionStatus(Stage.UNKNOWN, 0, message.id))
        elif fingerprint in self.transactions and fingerprint <= self.started:
            self.answer(envelope, self.status_of(fingerprint))
        elif 1 <= fingerprint <= self.committed:
            self.ask(ledger.TransactionRequest(fingerprint), _found, envelope)
        else:
            self.answer(envelope, TransactionStatus(Stage.UNKNOWN, 0, message.id))


def _barriers(state: _Draft) -> tuple[int, int]:
    first = state.unacked_reads.first()
    reads = state.started if first is None else first - 1
    first = state.unacked_writes.first()
    return reads, state.started if first is None else first - 1


def _less(unacked: SortedMap[frozenset[EngineID]], fingerprint: int, shard: EngineID) -> SortedMap[frozenset[EngineID]]:
    shards = unacked.get(fingerprint)
    if shards is None or shard not in shards:
        return unacked
    rest = shards - {shard}
    return unacked.put(fingerprint, rest) if rest else unacked.without(fingerprint)


def _short(incarnation: int) -> str:
    """A few letters that differ from one life of the worker to the next."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    rest = incarnation % 36**5
    text = ""
    for _ in range(5):
        rest, digit = divmod(rest, 36)
        text = digits[digit] + text
    return text


# -- what a candidate means ---------------------------------------------------------------------


def _work(candidate: TransactionCandidate, settings: MempoolWorkerSettings, node: str) -> Work:
    """A transaction from outside, ready to be run.

    Raises:
        ValueError, BridgeError: what is wrong with it, in words.
    """
    rights = _rights(candidate)
    label = candidate.label
    if not _is_resource_machine(candidate.executable):
        reserved = next((key for key in (*label.write, *label.may_write) if is_reserved(key)), None)
        if reserved is not None:
            raise ValueError(
                f'only the resource machine writes keys that begin with <<"anoma">>, got {brief(reserved, 80)}'
            )
    keys = (list(label.read), list(label.write), list(label.lazy_read), list(label.may_write))
    data = etf.encode((TRANSACTION, candidate.id, *keys, candidate.executable))
    if len(data) > MOST_BYTES:
        raise ValueError(f"expected a transaction of at most {MOST_BYTES} bytes as a term, got one of {len(data)}")
    # As it comes back from the ledger, and shared with nobody.
    term = etf.decode(data)
    candidate = candidate_of(term)
    program = load(candidate.executable, _programs(settings))
    gas = getattr(program, "gas", 0)
    if gas > settings.most_gas:
        raise ValueError(f"expected at most {settings.most_gas} as gas, which is what this node gives, got {gas}")
    return Work(candidate, rights, program, _parts(rights, settings, node), blake3(data).digest(), term)


def _is_resource_machine(executable: Any) -> bool:
    return type(executable) is tuple and len(executable) > 0 and executable[0] is RESOURCE_MACHINE


def _work_again(term: Any, settings: MempoolWorkerSettings, node: str) -> Work:
    """A transaction from the ledger. What cannot be run any more fails when it is."""
    program: Runnable | str
    try:
        candidate = candidate_of(term)
        rights = _rights(candidate)
    except ValueError as error:
        candidate, rights = TransactionCandidate(TransactionLabel(), None), Rights()
        program = str(error)
    else:
        try:
            program = load(candidate.executable, _programs(settings))
        except (ValueError, BridgeError) as error:
            program = f"the transaction can be run no more: {error}"
    return Work(candidate, rights, program, _parts(rights, settings, node), blake3(etf.encode(term)).digest(), term)


def _programs(settings: MempoolWorkerSettings) -> Mapping[str, Any]:
    programs: Mapping[str, Any] = STANDARD if settings.programs is None else settings.programs
    return programs


def candidate_of(term: Any) -> TransactionCandidate:
    """The candidate that a term in the ledger stands for, see `TRANSACTION`.

    Raises:
        ValueError: it stands for none.
    """
    match term:
        case (Atom("transaction"), None | bytes() as id_, list(read), list(write), list(lazy), list(may), executable):
            label = TransactionLabel(tuple(read), tuple(write), tuple(lazy), tuple(may))
            return TransactionCandidate(label, executable, id_)
    raise ValueError(f"expected a transaction in the ledger, got {brief(term, 80)}")


def _rights(candidate: TransactionCandidate) -> Rights:
    label = candidate.label
    kinds = (label.read, label.lazy_read, label.write, label.may_write)
    for keys in kinds:
        for key in keys:
            # Before they are hashed: that would take as much of the stack as a tuple is deep.
            check_key(key)
    rights = Rights(*map(frozenset, kinds))
    rights.check()
    return rights


def _parts(rights: Rights, settings: MempoolWorkerSettings, node: str) -> tuple[tuple[EngineID, Rights], ...]:
    """The rights that concern each shard."""
    shards = [shard.at(node) for shard in settings.shards]
    if len(shards) == 1:
        return ((shards[0], rights),) if rights.reads or rights.writes else ()
    found: dict[int, tuple[set[Key], set[Key], set[Key], set[Key]]] = {}
    kinds = (rights.eager_reads, rights.lazy_reads, rights.will_writes, rights.may_writes)
    for kind, keys in enumerate(kinds):
        for key in keys:
            number = shard_number(key, len(shards))
            if number not in found:
                found[number] = (set(), set(), set(), set())
            found[number][kind].add(key)
    return tuple((shards[number], Rights(*map(frozenset, found[number]))) for number in sorted(found))


# -- answers of the ledger -------------------------------------------------------------------------


def _heights_known(draft: _Draft, _about: None, reply: Any) -> None:
    heights = reply.heights
    draft.committed = draft.started = heights.committed
    draft.next_fingerprint = heights.next_fingerprint
    draft.round = heights.next_round - 1
    draft.forgotten_ids = heights.committed > 0
    draft.ask(ledger.PendingRequest(heights.committed, _PAGE), _pending_known)


def _pending_known(draft: _Draft, _about: None, reply: Any) -> None:
    first = draft.started + 1
    fingerprints = [entry.fingerprint for entry in reply.entries]
    end = first + len(fingerprints)
    if fingerprints != list(range(first, end)) or (not reply.more and end != draft.next_fingerprint):
        # A write of the worker before this one has come in between.
        draft.exit = Exit(LEDGER_HAS_CHANGED)
        return
    for entry in reply.entries:
        work = _work_again(entry.candidate, draft.settings, draft.own.node or "")
        transaction = Transaction(entry.fingerprint, work, entry.issuer)
        waiting = 0
        if work.candidate.id is not None:
            waiting = -draft.ids.get(work.candidate.id, 0)
            draft.ids = draft.ids.put(work.candidate.id, entry.fingerprint)
        draft.run(transaction)
        if waiting:
            # The same request came again before it was known to be accepted.
            again = draft.waiting[waiting]
            draft.waiting = draft.waiting.without(waiting)
            for request in again.requests:
                draft.attach(request, again.work, entry.fingerprint)
    if reply.more:
        draft.ask(ledger.PendingRequest(draft.started, _PAGE), _pending_known)
        return
    draft.ready = True
    for number in draft.waiting:
        id_ = draft.waiting[number].work.candidate.id
        if id_ is not None:
            draft.ask(ledger.ItemRequest(IDS, id_), _looked_up, number)
    for shard in draft.shards:
        draft.send(shard, WorkerStarted(draft.own, draft.incarnation))
    draft.flush()


def _ids_written(draft: _Draft, _about: None, _reply: Any) -> None:
    assert draft.writing is not None
    draft.ask(draft.writing.persist, _written)


def _written(draft: _Draft, _about: None, reply: Any) -> None:
    draft.written(reply)


def _looked_up(draft: _Draft, number: int, reply: Any) -> None:
    waiting = draft.waiting[number]
    if reply.value is ABSENT:
        draft.waiting = draft.waiting.put(number, Waiting(waiting.work, waiting.requests))
    else:
        fingerprint, hash_ = reply.value
        draft.waiting = draft.waiting.without(number)
        assert waiting.work.candidate.id is not None
        draft.ids = draft.ids.without(waiting.work.candidate.id)
        for request in waiting.requests:
            if hash_ == waiting.work.hash:
                draft.acknowledge_again(request, hash_, fingerprint)
            else:
                draft.reject_other(request)
    draft.flush()


def _resubmitted(draft: _Draft, about: tuple[Envelope, Work], reply: Any) -> None:
    envelope, work = about
    entry = reply.transaction
    if entry is not None and blake3(etf.encode(entry.candidate)).digest() == work.hash:
        draft.acknowledge_again(envelope, work.hash, entry.fingerprint)
    else:
        draft.reject_other(envelope)


def _found_id(draft: _Draft, envelope: Envelope, reply: Any) -> None:
    message = envelope.message
    assert isinstance(message, TransactionStatusRequest)
    if reply.value is ABSENT:
        draft.answer(envelope, TransactionStatus(Stage.UNKNOWN, 0, message.id))
    else:
        draft.status(envelope, TransactionStatusRequest(reply.value[0]))


def _found(draft: _Draft, envelope: Envelope, reply: Any) -> None:
    done = reply.transaction
    if done is None:
        draft.answer(envelope, TransactionStatus(Stage.UNKNOWN, 0))
        return
    try:
        id_ = candidate_of(done.candidate).id
    except ValueError:
        id_ = None
    draft.answer(
        envelope,
        TransactionStatus(
            Stage.COMMITTED,
            done.fingerprint,
            id_,
            done.success,
            done.reads,
            done.writes,
            done.error,
            reply.round,
        ),
    )


# -- actions ----------------------------------------------------------------------------------


def begin(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState]:
    """Ask the ledger where to go on."""
    draft = _Draft(turn)
    node = turn.config.node
    draft.incarnation = int(turn.time_s * 1e6)
    draft.shards = {shard.at(node): ShardView() for shard in turn.settings.shards}
    draft.watches.append(Watch(turn.settings.ledger))
    draft.ask(ledger.HeightsRequest(), _heights_known)
    return draft.effects()


def transaction_request(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState]:
    """Take a transaction, for the next write to the ledger; or reject it."""
    draft = _Draft(turn)
    message = turn.message
    assert isinstance(message, TransactionRequest)
    draft.request(turn.envelope, message)
    return draft.effects()


def lock_acquired(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState] | None:
    """Note that a shard knows of a transaction's locks."""
    message, sender = turn.message, turn.sender
    assert isinstance(message, KVSLockAcquired)
    view = turn.state.shards.get(sender) if isinstance(sender, EngineID) else None
    if view is None or view.incarnation != message.incarnation:
        return None
    assert isinstance(sender, EngineID)
    draft = _Draft(turn)
    draft.lock_acquired(sender, message.timestamp)
    return draft.effects()


def advance_barriers(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState]:
    """Tell the shards of barriers that have grown."""
    draft = _Draft(turn)
    draft.tell_barriers()
    return draft.effects()


def executor_finished(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState] | None:
    """Note how a transaction went; the first from its executor counts."""
    message = turn.message
    assert isinstance(message, ExecutorFinished)
    transaction = turn.state.transactions.get(message.timestamp)
    if transaction is None or transaction.result is not None or turn.sender != transaction.executor:
        return None
    draft = _Draft(turn)
    draft.finished(transaction, message)
    return draft.effects()


def shard_ready(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState] | None:
    """Tell a shard that has begun anew all that is not committed; or have it begin again, if it lacks what is."""
    message, sender = turn.message, turn.sender
    assert isinstance(message, ShardReady)
    if not turn.state.ready or sender not in turn.state.shards:
        return None
    assert isinstance(sender, EngineID)
    draft = _Draft(turn)
    draft.shard_ready(sender, message)
    return draft.effects()


def ledger_answered(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState] | None:
    """Go on with what the ledger was asked for. If it cannot write, or not read at the beginning, end."""
    draft = _Draft(turn)
    reference = turn.envelope.reference
    if reference is None or reference.words[2:] != draft.words():
        return None
    number = reference.words[0] + (reference.words[1] << 32)
    asked = draft.asked.get(number)
    if asked is None:
        return None
    reply = turn.message
    if isinstance(reply, ledger.LedgerFailed):
        if asked.answered in (_found, _found_id, _resubmitted):
            draft.asked = draft.asked.without(number)
            draft.answer(asked.about[0] if asked.answered is _resubmitted else asked.about, _no_answer(reply))
            return draft.effects()
        if reply.temporary:
            return Effects(turn.state, timers=(SetTimer(LEDGER, RETRY_S),))
        draft.exit = Exit((Atom("ledger_failed"), reply.text.encode()))
        return draft.effects()
    draft.asked = draft.asked.without(number)
    asked.answered(draft, asked.about, reply)
    return draft.effects()


def _no_answer(reply: ledger.LedgerFailed) -> Message:
    return TransactionRejected(Rejection.OVERLOADED, f"the ledger cannot be read: {reply.text}")


def ask_later(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState]:
    """Ask the ledger again in a while."""
    return Effects(turn.state, timers=(SetTimer(LEDGER, RETRY_S),))


def ask_again(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState]:
    """Ask the ledger again for what it has not answered."""
    draft = _Draft(turn)
    draft.watches.append(Watch(turn.settings.ledger))
    for number in draft.asked:
        draft.put_question(number, draft.asked[number].message)
    return draft.effects()


def executor_ended(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState] | None:
    """Start another executor for a transaction whose has ended without a word; a few times, then it fails."""
    address = turn.ended.address
    if not isinstance(address, EngineID) or address.name not in turn.state.executors:
        return None
    draft = _Draft(turn)
    draft.executor_ended(address.name, turn.ended.reason)
    return draft.effects()


def status_request(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState]:
    """Tell how far a transaction is; the ledger knows of those in blocks."""
    message = turn.message
    assert isinstance(message, TransactionStatusRequest)
    draft = _Draft(turn)
    draft.status(turn.envelope, message)
    return draft.effects()


def watch(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState] | None:
    """Note who wants to hear of a transaction, or of all."""
    message, sender = turn.message, turn.sender
    assert isinstance(message, WatchTransactions)
    if sender is None:
        return None
    draft = _Draft(turn)
    draft.watches.append(Watch(sender))
    fingerprint = message.fingerprint
    if fingerprint is None:
        draft.watch_all |= {sender}
        return draft.effects()
    if fingerprint > draft.committed:
        draft.watchers = draft.watchers.put(fingerprint, draft.watchers.get(fingerprint, frozenset()) | {sender})
    draft.status(turn.envelope, TransactionStatusRequest(fingerprint))
    return draft.effects()


def unwatch(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState] | None:
    """Forget one who wanted to hear of transactions."""
    sender = turn.trigger.address if isinstance(turn.trigger, Ended) else turn.sender
    if sender is None:
        return None
    draft = _Draft(turn)
    draft.watches.append(Unwatch(sender))
    draft.watch_all -= {sender}
    for fingerprint in draft.watchers:
        if sender in draft.watchers[fingerprint]:
            draft.watchers = draft.watchers.put(fingerprint, draft.watchers[fingerprint] - {sender})
    return draft.effects()


def worker_status(turn: Turn[MempoolWorkerState], _args: None) -> Effects[MempoolWorkerState]:
    """Tell how much there is to do."""
    state = turn.state
    reply = WorkerStatus(
        state.ready,
        len(state.waiting),
        len(state.transactions),
        state.started,
        state.committed,
        state.round,
        state.seen_all_reads,
        state.seen_all_writes,
        tuple(shard for shard, view in state.shards.items() if view.incarnation is None),
    )
    return Effects(state, replies=(reply,))


def _is_from_ledger(turn: Turn[MempoolWorkerState]) -> bool:
    return bool(turn.sender == turn.settings.ledger.at(turn.config.node))


def _is_ledger(turn: Turn[MempoolWorkerState]) -> bool:
    return bool(turn.ended.address == turn.settings.ledger)


def _is_executor(turn: Turn[MempoolWorkerState]) -> bool:
    address = turn.ended.address
    return isinstance(address, EngineID) and address.name in turn.state.executors


def _is_watcher(turn: Turn[MempoolWorkerState]) -> bool:
    """Whether it can be one: an executor that has ended as it should is not to be looked for among them."""
    address = turn.ended.address
    return not (isinstance(address, EngineID) and address.name.startswith(EXECUTOR))


def _is_due(turn: Turn[MempoolWorkerState]) -> bool:
    return LEDGER in turn.handles


def start(args: Any) -> tuple[MempoolWorkerSettings, MempoolWorkerState]:
    """Its settings, of `MempoolWorkerSettings` or a map of some of their fields, and a worker that knows nothing.

    Raises:
        ValueError: no such settings.
    """
    return settings_from(MempoolWorkerSettings, args), MempoolWorkerState()


_ANSWERS: Final[Iterable[type[Message]]] = (
    ledger.HeightsReply,
    ledger.PendingReply,
    ledger.Persisted,
    ledger.Changed,
    ledger.ItemReply,
    ledger.TransactionReply,
    ledger.LedgerFailed,
)

BEHAVIOUR: Final[EngineBehaviour[MempoolWorkerState]] = EngineBehaviour(
    "mempool_worker",
    MESSAGES,
    start,
    First(
        on_started(begin),
        on(TransactionRequest, transaction_request),
        on(KVSLockAcquired, lock_acquired),
        on(ExecutorFinished, executor_finished),
        on_outcome(AdvanceBarriers, advance_barriers),
        on(ShardReady, shard_ready),
        *(on(answer, ledger_answered, when=_is_from_ledger) for answer in _ANSWERS),
        on(TransactionStatusRequest, status_request),
        on(WatchTransactions, watch),
        on(UnwatchTransactions, unwatch),
        on(WorkerStatusRequest, worker_status),
        on_ended(executor_ended, when=_is_executor),
        on_ended(ask_later, when=_is_ledger),
        on_ended(unwatch, when=_is_watcher),
        on_elapsed(ask_again, when=_is_due),
    ),
    traps_exits=True,
)
