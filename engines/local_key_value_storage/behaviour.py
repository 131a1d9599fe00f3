"""What the Local Key-Value Storage does: keeps texts under keys, and tells subscribers of changes.

Where its settings name a ledger, what it has answered with success lasts: see `engines.keeping.behaviour`.

Pure: functions of environment and message to effects.

Differences from the specification:

* A missing key and one whose value is empty are told apart: the value of the former is None.
* Deleting a key that is not there says so, and is no change.
* Replies say why a request has failed; the specification has no failures.
* Whom to notify is what others have subscribed to, by key or by prefix; the specification leaves that abstract.
* The local clock is the wall clock in milliseconds, put forward where two changes would have the same time.

Source: nspec v0.2.0, "Local Key-Value Storage Behaviour".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from anoma.persistent_map import EMPTY, PersistentMap
from engines.effects import Effects
from engines.guards import EngineBehaviour, First, Turn, on
from engines.keeping.behaviour import (
    CLOCK,
    Handled,
    Keeping,
    KeepingSettings,
    KeptState,
    Rules,
    first_keeping,
    guards,
    request,
)
from engines.keeping.behaviour import subscribe as subscribe_sender
from engines.keeping.behaviour import unsubscribe as unsubscribe_sender
from engines.keeping.subscriptions import NO_SUBSCRIPTIONS, Subscriptions
from engines.local_key_value_storage.messages import (
    MESSAGES,
    NO_SUCH_KEY,
    DeleteValueReply,
    DeleteValueRequest,
    GetValueReply,
    GetValueRequest,
    SetValueReply,
    SetValueRequest,
    SubscribeReply,
    SubscribeRequest,
    UnsubscribeReply,
    UnsubscribeRequest,
    ValueChanged,
)
from engines.messages import Message
from engines.wire import settings_from


@dataclass(frozen=True, slots=True)
class Stored:
    """The values, and the clock of their changes.

    Attributes:
        storage: key to value.
        local_clock: time of the last change, in milliseconds since 1970-01-01 UTC; 0: there was none.
    """

    storage: PersistentMap[str, str]
    local_clock: int = 0


@dataclass(frozen=True, slots=True)
class LocalKVStorageState(KeptState[Stored]):
    """What is stored, and who is told of changes.

    Attributes:
        data: the values, and the clock of their changes.
        keeping: how far it is with its ledger.
        subscriptions: who is told of changes.
    """

    data: Stored
    keeping: Keeping[Stored]
    subscriptions: Subscriptions = NO_SUBSCRIPTIONS


# -- requests ---------------------------------------------------------------------------------


def advance_time(clock: int, now_ms: int) -> int:
    """The time of the next change: now, and later than that of the change before."""
    return max(clock + 1, now_ms)


def value_of(_settings: KeepingSettings, data: Stored, message: GetValueRequest, _now_ms: int) -> Handled[Stored]:
    """The value of the key, if it has one."""
    return Handled(data, GetValueReply(message.key, data.storage.get(message.key)))


def with_value(_settings: KeepingSettings, data: Stored, message: SetValueRequest, now_ms: int) -> Handled[Stored]:
    """The key with that value, and the clock put forward."""
    key, value = message.key, message.value
    clock = advance_time(data.local_clock, now_ms)
    return Handled(
        Stored(data.storage.put(key, value), clock),
        SetValueReply(key, success=True),
        items=((key.encode(), value.encode()), (CLOCK, clock)),
        news=ValueChanged(key, value, clock),
        about=key,
    )


def without_value(
    _settings: KeepingSettings, data: Stored, message: DeleteValueRequest, now_ms: int
) -> Handled[Stored]:
    """The key without its value, and the clock put forward."""
    key = message.key
    if key not in data.storage:
        return Handled(data, DeleteValueReply(key, success=False, error=NO_SUCH_KEY))
    clock = advance_time(data.local_clock, now_ms)
    return Handled(
        Stored(data.storage.without(key), clock),
        DeleteValueReply(key, success=True),
        items=((CLOCK, clock),),
        deleted=(key.encode(),),
        news=ValueChanged(key, None, clock),
        about=key,
    )


def refused(message: Message, text: str) -> Message:
    """The reply to a request that fails."""
    if isinstance(message, GetValueRequest):
        return GetValueReply(message.key, None, text)
    if isinstance(message, SetValueRequest):
        return SetValueReply(message.key, success=False, error=text)
    assert isinstance(message, DeleteValueRequest)
    return DeleteValueReply(message.key, success=False, error=text)


def stored(_settings: KeepingSettings, rows: tuple[tuple[Any, Any], ...]) -> Stored:
    """What the rows of its table stand for.

    Raises:
        ValueError: they are not its rows.
    """
    clock = 0
    storage: PersistentMap[str, str] = EMPTY
    for key, value in rows:
        if key is CLOCK and type(value) is int:
            clock = value
        elif type(key) is bytes and type(value) is bytes:
            storage = storage.put(key.decode(), value.decode())
        else:
            raise ValueError(f"expected texts and a clock, got {key!r} with {value!r}")
    return Stored(storage, clock)


RULES: Final = Rules(lambda message: message.key, refused, stored)


# -- actions ----------------------------------------------------------------------------------


def get_value(turn: Turn[LocalKVStorageState], _args: None) -> Effects[Any]:
    """Answer with the value of the key; the state stays."""
    return request(turn, RULES, value_of)


def set_value(turn: Turn[LocalKVStorageState], _args: None) -> Effects[Any]:
    """Store the value, answer, and tell the subscribers; where a ledger keeps it, once it lasts."""
    return request(turn, RULES, with_value)


def delete_value(turn: Turn[LocalKVStorageState], _args: None) -> Effects[Any]:
    """Take the value away, answer, and tell the subscribers; where a ledger keeps it, once that lasts."""
    return request(turn, RULES, without_value)


def subscribe(turn: Turn[LocalKVStorageState], _args: None) -> Effects[Any] | None:
    """Tell the sender of changes from now on. A sender who is not known cannot be told."""
    message = turn.message
    assert isinstance(message, SubscribeRequest)
    reply = SubscribeReply(message.key, message.prefix, turn.state.data.local_clock)
    return subscribe_sender(turn, message.key, message.prefix, reply)


def unsubscribe(turn: Turn[LocalKVStorageState], _args: None) -> Effects[Any] | None:
    """Do not tell the sender any more."""
    message = turn.message
    assert isinstance(message, UnsubscribeRequest)
    key, prefix = message.key, message.prefix
    return unsubscribe_sender(turn, key, prefix, lambda there: UnsubscribeReply(key, prefix, there))


def start(args: Any) -> tuple[KeepingSettings, LocalKVStorageState]:
    """The settings, and nothing stored.

    Raises:
        ValueError: they are no settings.
    """
    settings = settings_from(KeepingSettings, args)
    return settings, LocalKVStorageState(Stored(EMPTY), first_keeping(settings))


BEHAVIOUR: Final[EngineBehaviour[LocalKVStorageState]] = EngineBehaviour(
    "local_key_value_storage",
    MESSAGES,
    start,
    First(
        on(GetValueRequest, get_value),
        on(SetValueRequest, set_value),
        on(DeleteValueRequest, delete_value),
        on(SubscribeRequest, subscribe),
        on(UnsubscribeRequest, unsubscribe),
        *guards(RULES),
    ),
)
