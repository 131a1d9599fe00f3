"""What the Ledger has done with its store, and what it hears of that. None of these goes over the wire.

Pure, but for `carry_out`, which uses a store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engines.ledger.errors import LedgerError
from engines.ledger.messages import Change, LedgerFailed, LedgerMessage, Query
from engines.ledger.records import Heights
from engines.messages import Envelope, Message

if TYPE_CHECKING:
    from engines.ledger.store import LedgerStore


@dataclass(frozen=True, slots=True)
class Open:
    """See how far the ledger is. `Opened` or `OpenFailed` comes of it."""


@dataclass(frozen=True, slots=True)
class Write:
    """Make changes, in one transaction. `Written` or `WriteFailed` comes of it."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Answer a query. `Looked` comes of it.

    Attributes:
        envelope: the query, to be replied to.
    """

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Opened(LedgerMessage):
    """The ledger can be read and written.

    Attributes:
        heights: how far it is.
    """

    heights: Heights


@dataclass(frozen=True, slots=True)
class OpenFailed(LedgerMessage):
    """It cannot.

    Attributes:
        failure: why.
    """

    failure: LedgerFailed


@dataclass(frozen=True, slots=True)
class Written(LedgerMessage):
    """The changes last, but for those whose answer is `LedgerFailed`.

    Attributes:
        answers: one for each change.
        heights: how far the ledger is.
        hash: of its last block.
    """

    answers: tuple[Message, ...]
    heights: Heights
    hash: bytes


@dataclass(frozen=True, slots=True)
class WriteFailed(LedgerMessage):
    """The changes were not made, or, where that is not certain, may not have been.

    Attributes:
        failure: why.
    """

    failure: LedgerFailed


@dataclass(frozen=True, slots=True)
class Looked(LedgerMessage):
    """The answer to a query.

    Attributes:
        envelope: the query.
        answer: its reply.
    """

    envelope: Envelope
    answer: Message


def failed(error: LedgerError) -> LedgerFailed:
    """An error as a reply."""
    return LedgerFailed(type(error).__name__, error.text, error.temporary, error.certain)


def carry_out(store: LedgerStore | LedgerError, operation: Any) -> Message:
    """Do an operation with a store; failures are among what comes of it.

    Args:
        store: or why there is none.
    """
    try:
        if isinstance(store, LedgerError):
            raise store
        match operation:
            case Open():
                return Opened(store.heights())
            case Write(changes):
                answers = store.apply(changes)
                head = store.head
                return Written(tuple(answers), head.heights, head.last_hash)
            case Look(envelope):
                query: Query = envelope.message  # type: ignore[assignment]  # the behaviour asks for nothing else
                return Looked(envelope, store.answer(query))
    except LedgerError as error:
        match operation:
            case Open():
                return OpenFailed(failed(error))
            case Write():
                return WriteFailed(failed(error))
            case Look(envelope):
                return Looked(envelope, failed(error))
    raise TypeError(f"expected an operation of the ledger, got {operation!r}")
