"""What the Mempool Worker takes and sends, besides the messages of Shards, Executors and the Ledger.

==========================  =====================================================  ============================
message                     what it asks for, or tells                             reply
==========================  =====================================================  ============================
`TransactionRequest`        order and run a transaction                            `TransactionAck` or
                                                                                   `TransactionRejected`
`TransactionStatusRequest`  what has become of one                                 `TransactionStatus`
`WatchTransactions`         tell of one, or of all, as they go on                  `TransactionStatus`, many
`UnwatchTransactions`       take that back                                         none
`WorkerStatusRequest`       how much there is to do                                `WorkerStatus`
==========================  =====================================================  ============================

The end of a transaction is told with the Executor's `ExecutorFinished`, in the worker's name.

Source: nspec v0.2.0, "Mempool worker messages"; the first two. A transaction's own identifier, rejections, and the
other messages are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Final

from engines.executor.messages import ExecutorFinished, ShardRestored
from engines.ledger import messages as ledger
from engines.ledger.records import MaybeValue
from engines.messages import EngineID, Message
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
from engines.wire import Value


@dataclass(frozen=True, slots=True)
class TransactionLabel(Value):
    """Which keys a transaction may touch.

    Attributes:
        read: those that it reads in any case.
        write: those that it writes in any case.
        lazy_read: those that it may read.
        may_write: those that it may write.
    """

    read: tuple[Any, ...] = ()
    write: tuple[Any, ...] = ()
    lazy_read: tuple[Any, ...] = ()
    may_write: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class TransactionCandidate(Value):
    """A transaction that is to be ordered.

    Attributes:
        label: which keys it may touch.
        executable: what it runs, see `anoma.programs.kinds`.
        id: chosen by the client; two requests with one id are one transaction.
    """

    label: TransactionLabel
    executable: Any
    id: bytes | None = None


class Stage(Enum):
    """How far a transaction is."""

    UNKNOWN = "unknown"
    """There is none of that fingerprint, or id."""
    ACCEPTED = "accepted"
    """It has its place in the order, and lasts."""
    FINISHED = "finished"
    """It has run, and is in no block yet."""
    COMMITTED = "committed"
    """It is in a block."""


class MempoolWorkerMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "mempool_worker"


@dataclass(frozen=True, slots=True)
class TransactionRequest(MempoolWorkerMessage):
    """Order and run a transaction.

    Attributes:
        tx: the transaction.
        resubmission: the fingerprint under which it was accepted before, if it was.
    """

    tx: TransactionCandidate
    resubmission: int | None = None


@dataclass(frozen=True, slots=True)
class TransactionAck(MempoolWorkerMessage):
    """A transaction is accepted: it lasts, and will be run in its place.

    Attributes:
        tx_hash: BLAKE3 of the candidate as a term, in the external format.
        batch_number: which of the worker's writes to the ledger it came with, from 1 since the worker began.
        batch_start: when that began, in microseconds since 1970-01-01 UTC.
        worker_id: the worker.
        signature: None: the worker does not sign.
        fingerprint: its place in the order, dense from 1.
        resubmitted: it had been accepted before; the batch is 0.
    """

    tx_hash: bytes
    batch_number: int
    batch_start: int
    worker_id: EngineID
    signature: bytes | None
    fingerprint: int
    resubmitted: bool = False


class Rejection(Enum):
    """Why a transaction is not accepted."""

    BAD_REQUEST = "bad_request"
    """It could never be run; the text says why."""
    OVERLOADED = "overloaded"
    """There is too much to do; try again later."""
    ID_TAKEN = "id_taken"
    """Another transaction has its id."""


@dataclass(frozen=True, slots=True)
class TransactionRejected(MempoolWorkerMessage):
    """A transaction is not accepted, and nothing of it stays.

    Attributes:
        reason: which kind of reason.
        text: in words: what was expected, what came, what to do.
    """

    reason: Rejection
    text: str


@dataclass(frozen=True, slots=True)
class TransactionStatusRequest(MempoolWorkerMessage):
    """Ask what has become of a transaction; by its fingerprint, or by its id.

    Attributes:
        fingerprint: of the transaction.
        id: the client's, where the fingerprint is None.
    """

    fingerprint: int | None = None
    id: bytes | None = None


@dataclass(frozen=True, slots=True)
class TransactionStatus(MempoolWorkerMessage):
    """How far a transaction is, and how it went.

    Attributes:
        stage: how far.
        fingerprint: of the transaction; 0 where it is unknown.
        id: the client's.
        success: None before it has run.
        values_read: as in `ExecutorFinished`.
        values_written: as in `ExecutorFinished`.
        error: why it has failed.
        round: of the block that it is in.
    """

    stage: Stage
    fingerprint: int
    id: bytes | None = None
    success: bool | None = None
    values_read: tuple[tuple[Any, MaybeValue], ...] = ()
    values_written: tuple[tuple[Any, Any], ...] = ()
    error: str | None = None
    round: int | None = None


@dataclass(frozen=True, slots=True)
class WatchTransactions(MempoolWorkerMessage):
    """Have the sender told when transactions are accepted, have run, and are in a block.

    With a fingerprint the first of these tells how far it is now. Ends with the sender, with `UnwatchTransactions`, and
    for one transaction when it is in a block.

    Attributes:
        fingerprint: of the one to watch; None: all.
    """

    fingerprint: int | None = None


@dataclass(frozen=True, slots=True)
class UnwatchTransactions(MempoolWorkerMessage):
    """Tell the sender of nothing any more."""


@dataclass(frozen=True, slots=True)
class WorkerStatusRequest(MempoolWorkerMessage):
    """Ask how much there is to do."""


@dataclass(frozen=True, slots=True)
class WorkerStatus(MempoolWorkerMessage):
    """How much there is to do.

    Attributes:
        ready: False: it is still reading what the ledger has.
        waiting: requests that are not accepted yet.
        in_flight: transactions that are accepted, and in no block.
        last_fingerprint: of the last one accepted.
        committed: the last fingerprint that is in a block.
        round: of the last block.
        seen_all_reads: up to which fingerprint all shards know of the read locks.
        seen_all_writes: up to which fingerprint all shards know of the write locks.
        missing_shards: those that have not announced themselves.
    """

    ready: bool
    waiting: int
    in_flight: int
    last_fingerprint: int
    committed: int
    round: int
    seen_all_reads: int
    seen_all_writes: int
    missing_shards: tuple[EngineID, ...]


@dataclass(frozen=True, slots=True)
class AdvanceBarriers(MempoolWorkerMessage):
    """From the worker to itself: tell the shards how far the barriers are. What came meanwhile goes with it."""


MESSAGES: Final[tuple[type[Message], ...]] = (
    TransactionRequest,
    TransactionAck,
    TransactionRejected,
    TransactionStatusRequest,
    TransactionStatus,
    WatchTransactions,
    UnwatchTransactions,
    WorkerStatusRequest,
    WorkerStatus,
    AdvanceBarriers,
    ExecutorFinished,
    ShardRestored,
    KVSAcquireLock,
    KVSLockAcquired,
    KVSReadRequest,
    KVSWrite,
    UpdateSeenAll,
    Committed,
    WorkerStarted,
    ShardReady,
    ReloadRequest,
    ledger.HeightsRequest,
    ledger.HeightsReply,
    ledger.PendingRequest,
    ledger.PendingReply,
    ledger.Persist,
    ledger.Persisted,
    ledger.PutItems,
    ledger.Changed,
    ledger.ItemRequest,
    ledger.ItemReply,
    ledger.TransactionRequest,
    ledger.TransactionReply,
    ledger.LedgerFailed,
)
