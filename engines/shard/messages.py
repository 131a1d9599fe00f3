"""What a Shard takes and sends.

====================  =======================================================  ============================
message               what                                                     from and to
====================  =======================================================  ============================
`KVSAcquireLock`      a transaction will touch these keys                      worker to shard
`KVSLockAcquired`     the shard knows                                          shard to worker
`UpdateSeenAll`       all locks up to there are known                          worker to shard
`KVSReadRequest`      a lazy read is wanted, or any read is not                executor to shard
`KVSRead`             the value                                                shard to executor
`KVSWrite`            a version, or that there is none                         executor to shard
`Committed`           what came before lasts                                   worker to shard
`WorkerStarted`       a worker begins, and knows nothing of the shard          worker to shard
`ShardReady`          a shard begins, and knows what is committed              shard to worker
`ReloadRequest`       more is committed than the shard says                    worker to shard
`ShardStatusRequest`  how many versions, locks and reads it has                anybody to shard
`ShardStatusReply`    these                                                    shard
====================  =======================================================  ============================

Source: nspec v0.2.0, "Shard messages"; the first six. Attempts and incarnations in these, and the other messages, are
ours: they make crashes good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engines.ledger.messages import HeightsReply, HeightsRequest, LedgerFailed, ReadReply, ReadRequest
from engines.ledger.records import MaybeValue
from engines.messages import EngineID, Message


class ShardMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "shard"


@dataclass(frozen=True, slots=True)
class KVSAcquireLock(ShardMessage):
    """A transaction will touch these keys. `KVSLockAcquired` comes back to the worker; the same lock twice is one.

    Attributes:
        lazy_read_keys: read when the executor asks.
        eager_read_keys: read as soon as can be.
        will_write_keys: written in any case.
        may_write_keys: perhaps written.
        worker: in charge of the transaction.
        executor: runs it, and gets what is read.
        timestamp: the transaction's fingerprint.
        attempt: which executor of the transaction it is, from 1. A later one gets all reads anew.
    """

    lazy_read_keys: frozenset[Any]
    eager_read_keys: frozenset[Any]
    will_write_keys: frozenset[Any]
    may_write_keys: frozenset[Any]
    worker: EngineID
    executor: EngineID
    timestamp: int
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class KVSLockAcquired(ShardMessage):
    """The shard knows of the locks of a transaction.

    Attributes:
        timestamp: its fingerprint.
        incarnation: of the shard.
    """

    timestamp: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class UpdateSeenAll(ShardMessage):
    """All locks of transactions up to one are known. A lower one than before changes nothing.

    Attributes:
        timestamp: the fingerprint up to which.
        write: whether it is about write locks; else about read locks.
        incarnation: of the shard that this is true of; any other ignores it.
    """

    timestamp: int
    write: bool
    incarnation: int


@dataclass(frozen=True, slots=True)
class KVSReadRequest(ShardMessage):
    """An executor wants a lazy read, or does not need a read any more.

    Attributes:
        timestamp: fingerprint of its transaction.
        key: of which the read lock is.
        actual: True: the value is wanted. False: the lock is let go.
    """

    timestamp: int
    key: Any
    actual: bool


@dataclass(frozen=True, slots=True)
class KVSRead(ShardMessage):
    """The value that a key has for a transaction: of the last one before it that has written the key.

    Attributes:
        timestamp: fingerprint of the transaction that reads.
        key: which key.
        data: the value, or `ABSENT`: nobody has written it.
    """

    timestamp: int
    key: Any
    data: MaybeValue


@dataclass(frozen=True, slots=True)
class KVSWrite(ShardMessage):
    """What a transaction has written to a key; the first for a lock counts.

    Attributes:
        timestamp: fingerprint of the transaction.
        key: of which the write lock is.
        datum: the value; `ABSENT`: it does not write the key.
    """

    timestamp: int
    key: Any
    datum: MaybeValue


@dataclass(frozen=True, slots=True)
class Committed(ShardMessage):
    """All transactions up to one are in blocks: versions that only they could read can go.

    Attributes:
        timestamp: the fingerprint up to which.
        incarnation: of the shard, as in `UpdateSeenAll`.
    """

    timestamp: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class WorkerStarted(ShardMessage):
    """A worker begins: forget what is not committed, and announce yourself.

    Attributes:
        worker: its address.
        incarnation: the worker's; a shard that has served this one already only announces itself again.
    """

    worker: EngineID
    incarnation: int


@dataclass(frozen=True, slots=True)
class ShardReady(ShardMessage):
    """A shard begins. It knows all that is committed, and no locks.

    Attributes:
        incarnation: the shard's, different each time.
        committed: the fingerprint up to which it knows the versions.
        worker_incarnation: the worker that it has begun for; None: it waits for a `WorkerStarted`.
    """

    incarnation: int
    committed: int
    worker_incarnation: int | None


@dataclass(frozen=True, slots=True)
class ReloadRequest(ShardMessage):
    """More is committed than the shard has said, or its incarnation is not a new one: begin again.

    Attributes:
        incarnation: of the shard, as in `UpdateSeenAll`.
        above: its next incarnation has to be a greater one: the clock was set back since the last.
    """

    incarnation: int
    above: int = 0


@dataclass(frozen=True, slots=True)
class ShardStatusRequest(ShardMessage):
    """Ask how much a shard has. `ShardStatusReply` comes back."""


@dataclass(frozen=True, slots=True)
class ShardStatusReply(ShardMessage):
    """How much a shard has.

    Attributes:
        keys: of which it knows what is committed.
        versions: that are kept besides.
        locks: of transactions that are not committed.
        heard_all_reads: the barrier of read locks.
        heard_all_writes: the barrier of write locks.
        committed: the last fingerprint that it knows to be committed.
    """

    keys: int
    versions: int
    locks: int
    heard_all_reads: int
    heard_all_writes: int
    committed: int


MESSAGES: Final[tuple[type[Message], ...]] = (
    KVSAcquireLock,
    KVSLockAcquired,
    UpdateSeenAll,
    KVSReadRequest,
    KVSRead,
    KVSWrite,
    Committed,
    WorkerStarted,
    ShardReady,
    ReloadRequest,
    ShardStatusRequest,
    ShardStatusReply,
    HeightsRequest,
    HeightsReply,
    ReadRequest,
    ReadReply,
    LedgerFailed,
)
