"""What the Dynamic Configuration takes and sends.

Source: nspec before v0.2.0, "Dynamic Configuration Engine", since removed. `UnsubscribeDynamicConfigRequest`, prefixes,
`found` and `error` are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engines.messages import Message


class DynamicConfigurationMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "dynamic_configuration"


@dataclass(frozen=True, slots=True)
class GetDynamicConfigRequest(DynamicConfigurationMessage):
    """Ask for the value of a key; `GetDynamicConfigResponse` comes back.

    Attributes:
        key: any text.
    """

    key: str


@dataclass(frozen=True, slots=True)
class GetDynamicConfigResponse(DynamicConfigurationMessage):
    """The value of a key.

    Attributes:
        key: as in the request.
        found: whether it has a value.
        value: any term; None where it has none, or where that is its value.
        error: why it cannot be told; None: the rest is the answer.
    """

    key: str
    found: bool
    value: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SetDynamicConfigRequest(DynamicConfigurationMessage):
    """Give a key a value, in place of what it had; `SetDynamicConfigResponse` comes back.

    Attributes:
        key: any text.
        value: any term.
    """

    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class SetDynamicConfigResponse(DynamicConfigurationMessage):
    """What has become of a `SetDynamicConfigRequest`.

    Attributes:
        key: as in the request.
        success: whether the key has the value. If not, nothing has changed, unless `error` says that this is not known.
        error: why not.
    """

    key: str
    success: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteDynamicConfigRequest(DynamicConfigurationMessage):
    """Take a key's value away; `DeleteDynamicConfigResponse` comes back.

    Attributes:
        key: any text.
    """

    key: str


@dataclass(frozen=True, slots=True)
class DeleteDynamicConfigResponse(DynamicConfigurationMessage):
    """What has become of a `DeleteDynamicConfigRequest`.

    Attributes:
        key: as in the request.
        success: whether a value was there and is gone.
        error: why not; `NO_SUCH_KEY` where there was none.
    """

    key: str
    success: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SubscribeDynamicConfigRequest(DynamicConfigurationMessage):
    """Have the sender told of changes, until it ends, or unsubscribes; `SubscribeDynamicConfigResponse` comes back.

    Twice is once; and a change is told once to each, whatever it has subscribed to.

    Attributes:
        key: which changes. It need not have a value.
        prefix: those of all keys that begin with `key`.
    """

    key: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class SubscribeDynamicConfigResponse(DynamicConfigurationMessage):
    """The sender is told of what changes from now on.

    Attributes:
        key: as in the request.
        prefix: as in the request.
        success: it is.
        timestamp: when it was subscribed, in milliseconds since 1970-01-01 UTC.
    """

    key: str
    prefix: bool
    success: bool
    timestamp: int


@dataclass(frozen=True, slots=True)
class UnsubscribeDynamicConfigRequest(DynamicConfigurationMessage):
    """Take a subscription back; `UnsubscribeDynamicConfigResponse` comes back.

    Attributes:
        key: as it was subscribed to.
        prefix: as it was subscribed to.
    """

    key: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class UnsubscribeDynamicConfigResponse(DynamicConfigurationMessage):
    """The sender is not told any more.

    Attributes:
        key: as in the request.
        prefix: as in the request.
        success: whether there was such a subscription.
    """

    key: str
    prefix: bool
    success: bool


@dataclass(frozen=True, slots=True)
class DynamicConfigChanged(DynamicConfigurationMessage):
    """News for those who have subscribed: a key has another value, or has none any more.

    Attributes:
        key: which one.
        found: whether it has a value now.
        value: any term; None where it has none, or where that is its value.
        timestamp: milliseconds since 1970-01-01 UTC, later than that of every change before.
    """

    key: str
    found: bool
    value: Any
    timestamp: int


NO_SUCH_KEY: Final = "there is no such key"

MESSAGES: Final = (
    GetDynamicConfigRequest,
    GetDynamicConfigResponse,
    SetDynamicConfigRequest,
    SetDynamicConfigResponse,
    DeleteDynamicConfigRequest,
    DeleteDynamicConfigResponse,
    SubscribeDynamicConfigRequest,
    SubscribeDynamicConfigResponse,
    UnsubscribeDynamicConfigRequest,
    UnsubscribeDynamicConfigResponse,
    DynamicConfigChanged,
)
