"""What the Local Key-Value Storage takes and sends.

Source: nspec v0.2.0, "Local Key-Value Storage Messages". The subscriptions are ours, and so is `error`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from engines.messages import Message


class LocalKVStorageMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "local_key_value_storage"


@dataclass(frozen=True, slots=True)
class GetValueRequest(LocalKVStorageMessage):
    """Ask for the value of a key; `GetValueReply` comes back.

    Attributes:
        key: any text.
    """

    key: str


@dataclass(frozen=True, slots=True)
class GetValueReply(LocalKVStorageMessage):
    """The value of a key.

    Attributes:
        key: as in the request.
        value: None where the key has none. The empty text is a value.
        error: why it cannot be told; None: `value` is the answer.
    """

    key: str
    value: str | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SetValueRequest(LocalKVStorageMessage):
    """Give a key a value, in place of what it had; `SetValueReply` comes back.

    Attributes:
        key: any text.
        value: any text.
    """

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class SetValueReply(LocalKVStorageMessage):
    """What has become of a `SetValueRequest`.

    Attributes:
        key: as in the request.
        success: whether the key has the value. If not, nothing has changed, unless `error` says that this is not known.
        error: why not.
    """

    key: str
    success: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteValueRequest(LocalKVStorageMessage):
    """Take a key's value away; `DeleteValueReply` comes back.

    Attributes:
        key: any text.
    """

    key: str


@dataclass(frozen=True, slots=True)
class DeleteValueReply(LocalKVStorageMessage):
    """What has become of a `DeleteValueRequest`.

    Attributes:
        key: as in the request.
        success: whether a value was there and is gone.
        error: why not; `NO_SUCH_KEY` where there was none.
    """

    key: str
    success: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ValueChanged(LocalKVStorageMessage):
    """News for those who have subscribed: a key has another value, or has none any more.

    Attributes:
        key: which one.
        value: None where it was deleted.
        timestamp: milliseconds since 1970-01-01 UTC, later than that of every change before.
    """

    key: str
    value: str | None
    timestamp: int


@dataclass(frozen=True, slots=True)
class SubscribeRequest(LocalKVStorageMessage):
    """Have the sender told of changes, until it ends, or unsubscribes; `SubscribeReply` comes back.

    Twice is once; and a change is told once to each, whatever it has subscribed to.

    Attributes:
        key: which changes.
        prefix: those of all keys that begin with `key`.
    """

    key: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class SubscribeReply(LocalKVStorageMessage):
    """The sender is told of what changes from now on.

    Attributes:
        key: as in the request.
        prefix: as in the request.
        timestamp: of the last change before.
    """

    key: str
    prefix: bool
    timestamp: int


@dataclass(frozen=True, slots=True)
class UnsubscribeRequest(LocalKVStorageMessage):
    """Take a subscription back; `UnsubscribeReply` comes back.

    Attributes:
        key: as it was subscribed to.
        prefix: as it was subscribed to.
    """

    key: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class UnsubscribeReply(LocalKVStorageMessage):
    """The sender is not told any more.

    Attributes:
        key: as in the request.
        prefix: as in the request.
        success: whether there was such a subscription.
    """

    key: str
    prefix: bool
    success: bool


NO_SUCH_KEY: Final = "there is no such key"

MESSAGES: Final = (
    GetValueRequest,
    GetValueReply,
    SetValueRequest,
    SetValueReply,
    DeleteValueRequest,
    DeleteValueReply,
    ValueChanged,
    SubscribeRequest,
    SubscribeReply,
    UnsubscribeRequest,
    UnsubscribeReply,
)
