"""What the Intent Pool takes and sends.

=====================  ===================================================  =================================
message                what it asks for                                     reply
=====================  ===================================================  =================================
`NewIntent`            keep an intent                                       `IntentAccepted`, `IntentRefused`
`RemoveIntent`         forget an intent                                     `RemoveIntentReply`
`AllIntents`           what is kept                                         `AllIntentsReply`
`Subscribe`            news, and what is kept now                           `AllIntentsReply`
`Unsubscribe`          no more news                                         none
`TransactionExecuted`  forget what has been spent                           none
=====================  ===================================================  =================================

News: `IntentAdded`, `IntentRemoved`, `IntentRefused`.

Source: Anoma's Elixir node, ``intents/intent_pool.ex``; nspec v0.2.0 has no engine for intents.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Final

from engines.intent_pool.intents import Intent
from engines.ledger.messages import BlockCommitted
from engines.messages import EngineID, Message


class Refusal(Enum):
    """Why an intent is not kept."""

    ALREADY_PRESENT = "already_present"
    NULLIFIERS_PRESENT = "nullifiers_present"
    """A resource that it consumes has been consumed."""
    COMMITMENTS_PRESENT = "commitments_present"
    """A resource that it creates has been created."""
    FULL = "full"
    """The pool keeps as many as it may."""
    NOT_STORED = "not_stored"
    """The ledger cannot keep it."""


class Removal(Enum):
    """Why an intent is not kept any more."""

    REQUESTED = "requested"
    EXECUTED = "executed"
    """Resources of it have been consumed or created. What is left of an order comes as a new intent."""


class IntentPoolMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "intent_pool"


@dataclass(frozen=True, slots=True)
class NewIntent(IntentPoolMessage):
    """Keep an intent, and let solvers know of it.

    Attributes:
        intent: a transaction that is not balanced, an order, or a DumbIntent.
    """

    intent: Intent


@dataclass(frozen=True, slots=True)
class IntentAccepted(IntentPoolMessage):
    """The intent of a `NewIntent` is kept; where there is a ledger, it lasts.

    Attributes:
        serial: its number in the pool: an older intent has a lower one.
    """

    serial: int


@dataclass(frozen=True, slots=True)
class IntentRefused(IntentPoolMessage):
    """An intent is not kept. The reply to its `NewIntent`, and news.

    Attributes:
        intent: which.
        reason: why.
    """

    intent: Intent
    reason: Refusal


@dataclass(frozen=True, slots=True)
class RemoveIntent(IntentPoolMessage):
    """Forget an intent.

    Attributes:
        intent: as it was given.
    """

    intent: Intent


@dataclass(frozen=True, slots=True)
class RemoveIntentReply(IntentPoolMessage):
    """The intent of a `RemoveIntent` is not kept any more.

    Attributes:
        removed: False: it was not kept.
    """

    removed: bool


@dataclass(frozen=True, slots=True)
class AllIntents(IntentPoolMessage):
    """Ask for all intents."""


@dataclass(frozen=True, slots=True)
class AllIntentsReply(IntentPoolMessage):
    """The intents that are kept.

    Attributes:
        intents: serial and intent, oldest first.
    """

    intents: tuple[tuple[int, Intent], ...]


@dataclass(frozen=True, slots=True)
class Subscribe(IntentPoolMessage):
    """Have the sender told of everything from now on. Ends with the sender, or with `Unsubscribe`."""


@dataclass(frozen=True, slots=True)
class Unsubscribe(IntentPoolMessage):
    """Take a `Subscribe` back."""


@dataclass(frozen=True, slots=True)
class TransactionExecuted(IntentPoolMessage):
    """A transaction has been executed: intents that have resources in common with it cannot be, as they are.

    Attributes:
        nullifiers: of what it has consumed.
        commitments: of what it has created.
    """

    nullifiers: frozenset[bytes]
    commitments: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class IntentAdded(IntentPoolMessage):
    """News: an intent is kept.

    Attributes:
        serial: its number.
        intent: which.
    """

    serial: int
    intent: Intent


@dataclass(frozen=True, slots=True)
class IntentRemoved(IntentPoolMessage):
    """News: an intent is not kept any more.

    Attributes:
        serial: its number.
        intent: which.
        reason: why.
    """

    serial: int
    intent: Intent
    reason: Removal


OWN_MESSAGES: Final[tuple[type[Message], ...]] = (
    NewIntent,
    IntentAccepted,
    IntentRefused,
    RemoveIntent,
    RemoveIntentReply,
    AllIntents,
    AllIntentsReply,
    Subscribe,
    Unsubscribe,
    TransactionExecuted,
    IntentAdded,
    IntentRemoved,
)


# -- what the pool has done outside of it, and hears of that: never over the wire --------------


@dataclass(frozen=True, slots=True)
class LoadIntents:
    """Read the intents that the ledger keeps, and look up which of them are spent. `IntentsLoaded` or `LoadFailed`."""

    ledger: EngineID
    table: str


@dataclass(frozen=True, slots=True)
class StoreIntents:
    """Look up which of some intents are spent; keep the others, and delete some. `IntentsStored` or `StoreFailed`.

    Attributes:
        added: serial and intent.
        deleted: serials.
    """

    ledger: EngineID
    table: str
    added: tuple[tuple[int, Intent], ...]
    deleted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReadBlock:
    """Read what the transactions of a block have consumed and created. `TransactionExecuted` or nothing comes of it."""

    ledger: EngineID
    round: int


@dataclass(frozen=True, slots=True)
class IntentsLoaded(IntentPoolMessage):
    """What a `LoadIntents` has found.

    Attributes:
        intents: serial and intent.
        unreadable: serials of rows that are no intents.
        nullifiers, commitments: of the intents, those that have been spent.
    """

    intents: tuple[tuple[int, Intent], ...]
    unreadable: tuple[int, ...] = ()
    nullifiers: frozenset[bytes] = frozenset()
    commitments: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class LoadFailed(IntentPoolMessage):
    """The ledger cannot be read.

    Attributes:
        text: why.
    """

    text: str


@dataclass(frozen=True, slots=True)
class IntentsStored(IntentPoolMessage):
    """What a `StoreIntents` has done.

    Attributes:
        spent: serial of each intent that is spent and was not kept, and why.
    """

    spent: tuple[tuple[int, Refusal], ...] = ()


@dataclass(frozen=True, slots=True)
class StoreFailed(IntentPoolMessage):
    """The change does not last, or it is not known whether it does.

    Attributes:
        text: why.
    """

    text: str


OUTCOMES: Final[tuple[type[Message], ...]] = (IntentsLoaded, LoadFailed, IntentsStored, StoreFailed)
"""Only ever from the engine to itself."""

MESSAGES: Final[tuple[type[Message], ...]] = (*OWN_MESSAGES, BlockCommitted)
