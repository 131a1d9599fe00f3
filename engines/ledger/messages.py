"""What the Ledger takes and sends.

==========================  =====================================================  ============================
message                     what it asks for                                       reply
==========================  =====================================================  ============================
`Persist`                   accept transactions, and make a block of finished ones  `Persisted`
`PutItems` `AppendItems`    change a table of another engine's                     `Changed`
`HeightsRequest`            how far the ledger is                                  `HeightsReply`
`PendingRequest`            what is accepted, and in no block                      `PendingReply`
`ReadRequest`               a key's value at a height                              `ReadReply`
`VersionsRequest`           all values of a key                                    `VersionsReply`
`BlockRequest`              a block                                                `BlockReply`
`TransactionRequest`        a transaction                                          `TransactionReply`
`ItemRequest`               a row of a table                                       `ItemReply`
`ItemsRequest`              rows of a table                                        `ItemsReply`
`AppendedRequest`           what was appended                                      `AppendedReply`
`StatusRequest`             is all well?                                           `StatusReply`
`Subscribe` `Unsubscribe`   news: `BlockCommitted`, `Degraded`, `Recovered`        none
==========================  =====================================================  ============================

The reply to any of the requests can be `LedgerFailed` as well.

Source: ours; the specification has no engine for what lasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engines.ledger.records import Block, CommittedTransaction, Heights, JournalEntry, MaybeValue
from engines.messages import Message


class LedgerMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "ledger"


# -- changes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Persist(LedgerMessage):
    """Accept transactions, and commit the next ones that are finished as one block: both, or nothing.

    What has been done already is not done again: the same message twice is the same as once.

    Attributes:
        entries: to be accepted, with the fingerprints that come next. They last before the reply is sent.
        transactions: to become one block: consecutive, from the first that is in no block.
        retry: whether to go on trying while the disk or the BEAM fails. Without it the failure is the reply.
    """

    entries: tuple[JournalEntry, ...] = ()
    transactions: tuple[CommittedTransaction, ...] = ()
    retry: bool = True


@dataclass(frozen=True, slots=True)
class Persisted(LedgerMessage):
    """All of a `Persist` lasts.

    Attributes:
        heights: of the ledger, after it.
        round: of the block that has the last of the transactions given; None where none were given.
    """

    heights: Heights
    round: int | None = None


@dataclass(frozen=True, slots=True)
class PutItems(LedgerMessage):
    """Set and delete rows of a table, all or none.

    Attributes:
        table: its name; one that is not there begins to be.
        items: keys and the values they have from now on.
        deleted: keys to delete, before the items are set. One that is not there does not matter.
        retry: as of `Persist`.
    """

    table: str
    items: tuple[tuple[Any, Any], ...] = ()
    deleted: tuple[Any, ...] = ()
    retry: bool = True


@dataclass(frozen=True, slots=True)
class AppendItems(LedgerMessage):
    """Add to the end of a sequence, and drop from its beginning, in one go.

    Attributes:
        table: name of the sequence.
        values: to be added in this order.
        trim: drop what has a number up to this one.
        retry: as of `Persist`.
    """

    table: str
    values: tuple[Any, ...] = ()
    trim: int = 0
    retry: bool = True


@dataclass(frozen=True, slots=True)
class Changed(LedgerMessage):
    """A change of a table lasts.

    Attributes:
        last: the number of the last value appended; 0 for a change of another kind.
    """

    last: int = 0


@dataclass(frozen=True, slots=True)
class LedgerFailed(LedgerMessage):
    """A request was not carried out.

    Attributes:
        kind: the class of `errors`, such as ``DiskFull``.
        text: what was expected, what came, what to do.
        temporary: whether the same request may succeed later.
        certain: whether it is known that nothing of it lasts. It is not where a BEAM has not answered.
    """

    kind: str
    text: str
    temporary: bool = False
    certain: bool = True


# -- reading ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HeightsRequest(LedgerMessage):
    """Ask how far the ledger is."""


@dataclass(frozen=True, slots=True)
class HeightsReply(LedgerMessage):
    """The heights at the time of the request.

    Attributes:
        heights: as they are on the disk.
    """

    heights: Heights


@dataclass(frozen=True, slots=True)
class PendingRequest(LedgerMessage):
    """Ask for transactions that are accepted, and in no block.

    Attributes:
        after: only those of higher fingerprints.
        limit: at most so many.
    """

    after: int = 0
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class PendingReply(LedgerMessage):
    """The lowest of them.

    Attributes:
        entries: in the order of their fingerprints.
        more: whether there are further ones.
    """

    entries: tuple[JournalEntry, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class ReadRequest(LedgerMessage):
    """Ask for the value that a key had after a transaction.

    Attributes:
        key: a term.
        fingerprint: of that transaction: writes of later ones do not count.
    """

    key: Any
    fingerprint: int


@dataclass(frozen=True, slots=True)
class ReadReply(LedgerMessage):
    """What is committed of it.

    Attributes:
        key: as in the request.
        fingerprint: as in the request.
        value: the value, or `ABSENT`.
        written: the fingerprint of the transaction that has written it; 0 where there is none.
    """

    key: Any
    fingerprint: int
    value: MaybeValue
    written: int = 0


@dataclass(frozen=True, slots=True)
class VersionsRequest(LedgerMessage):
    """Ask for all values that a key has had.

    Attributes:
        key: a term.
        after: only those of higher fingerprints.
        limit: at most so many.
    """

    key: Any
    after: int = 0
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class VersionsReply(LedgerMessage):
    """The oldest of them.

    Attributes:
        key: as in the request.
        versions: fingerprints and values, in order.
    """

    key: Any
    versions: tuple[tuple[int, Any], ...]


@dataclass(frozen=True, slots=True)
class BlockRequest(LedgerMessage):
    """Ask for a block.

    Attributes:
        round: its number; 0 is the last one.
    """

    round: int = 0


@dataclass(frozen=True, slots=True)
class BlockReply(LedgerMessage):
    """The block.

    Attributes:
        block: None where there is none of that number.
    """

    block: Block | None


@dataclass(frozen=True, slots=True)
class TransactionRequest(LedgerMessage):
    """Ask what has become of a transaction.

    Attributes:
        fingerprint: its height.
    """

    fingerprint: int


@dataclass(frozen=True, slots=True)
class TransactionReply(LedgerMessage):
    """What has become of it.

    Attributes:
        fingerprint: as in the request.
        round: the block that it is in; None where it is in none.
        transaction: as it is in there.
        pending: its entry, where it is accepted, and in no block.
    """

    fingerprint: int
    round: int | None = None
    transaction: CommittedTransaction | None = None
    pending: JournalEntry | None = None


@dataclass(frozen=True, slots=True)
class ItemRequest(LedgerMessage):
    """Ask for a row of a table.

    Attributes:
        table: its name.
        key: a term.
    """

    table: str
    key: Any


@dataclass(frozen=True, slots=True)
class ItemReply(LedgerMessage):
    """The row.

    Attributes:
        value: or `ABSENT`.
    """

    value: MaybeValue


@dataclass(frozen=True, slots=True)
class ItemsRequest(LedgerMessage):
    """Ask for rows of a table, in the ledger's own order of keys.

    Attributes:
        table: its name.
        after: go on behind this key; `ABSENT`: from the beginning.
        limit: at most so many.
    """

    table: str
    after: MaybeValue
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ItemsReply(LedgerMessage):
    """The rows.

    Attributes:
        items: keys and values.
        more: whether there are further ones.
    """

    items: tuple[tuple[Any, Any], ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class AppendedRequest(LedgerMessage):
    """Ask for what was appended to a sequence.

    Attributes:
        table: its name.
        after: only what has higher numbers.
        limit: at most so many.
    """

    table: str
    after: int = 0
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class AppendedReply(LedgerMessage):
    """The oldest of it.

    Attributes:
        values: numbers and values, in order.
        more: whether there are further ones.
    """

    values: tuple[tuple[int, Any], ...]
    more: bool = False


# -- how it is, and news ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusRequest(LedgerMessage):
    """Ask whether all is well."""


@dataclass(frozen=True, slots=True)
class StatusReply(LedgerMessage):
    """How the ledger is.

    Attributes:
        heights: the last known.
        waiting: how many changes wait to be written.
        failure: why they cannot be, at the moment; None: all is well.
        attempts: how often that has been tried.
    """

    heights: Heights
    waiting: int = 0
    failure: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Subscribe(LedgerMessage):
    """Have the sender told of each block, and of the disk's failures. Ends with the sender, or with `Unsubscribe`."""


@dataclass(frozen=True, slots=True)
class Unsubscribe(LedgerMessage):
    """Take a `Subscribe` back."""


@dataclass(frozen=True, slots=True)
class BlockCommitted(LedgerMessage):
    """News: a block lasts.

    Attributes:
        round: its number.
        first: fingerprint of its first transaction.
        last: fingerprint of its last transaction.
        hash: its hash.
    """

    round: int
    first: int
    last: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Degraded(LedgerMessage):
    """News: what is to be written waits, since the disk or the BEAM fails. Reads go on where they can.

    Attributes:
        kind: the class of `errors`.
        text: what is wrong, and what to do.
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Recovered(LedgerMessage):
    """News: all that waited has been written."""


CHANGES: Final = (Persist, PutItems, AppendItems)
Change = Persist | PutItems | AppendItems

QUERIES: Final = (
    HeightsRequest,
    PendingRequest,
    ReadRequest,
    VersionsRequest,
    BlockRequest,
    TransactionRequest,
    ItemRequest,
    ItemsRequest,
    AppendedRequest,
)
Query = (
    HeightsRequest
    | PendingRequest
    | ReadRequest
    | VersionsRequest
    | BlockRequest
    | TransactionRequest
    | ItemRequest
    | ItemsRequest
    | AppendedRequest
)

MESSAGES: Final[tuple[type[Message], ...]] = (
    *CHANGES,
    Persisted,
    Changed,
    LedgerFailed,
    *QUERIES,
    HeightsReply,
    PendingReply,
    ReadReply,
    VersionsReply,
    BlockReply,
    TransactionReply,
    ItemReply,
    ItemsReply,
    AppendedReply,
    StatusRequest,
    StatusReply,
    Subscribe,
    Unsubscribe,
    BlockCommitted,
    Degraded,
    Recovered,
)
