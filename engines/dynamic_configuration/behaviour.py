"""What the Dynamic Configuration does: keeps settings that change while the node runs, and tells subscribers.

Where its settings name a ledger, what it has answered with success lasts, and comes before the values that it is
started with: see `engines.keeping.behaviour`.

Pure: functions of environment and message to effects.

Differences from the specification:

* The engine was removed from the specification; this is the one that it had, and it left the values' type open: any
  term.
* A missing key is told apart from every value, by `found`.
* Deleting a key that is not there says so, and is no change.
* Subscriptions can be taken back, end with the subscriber, and may be for all keys that begin alike.
* A key that the engine is started with, and that has been deleted, stays deleted when it starts again.

Source: nspec before v0.2.0, "Dynamic Configuration Engine".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from anoma.persistent_map import PersistentMap
from engines.dynamic_configuration.messages import (
    MESSAGES,
    NO_SUCH_KEY,
    DeleteDynamicConfigRequest,
    DeleteDynamicConfigResponse,
    DynamicConfigChanged,
    GetDynamicConfigRequest,
    GetDynamicConfigResponse,
    SetDynamicConfigRequest,
    SetDynamicConfigResponse,
    SubscribeDynamicConfigRequest,
    SubscribeDynamicConfigResponse,
    UnsubscribeDynamicConfigRequest,
    UnsubscribeDynamicConfigResponse,
)
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
    milliseconds,
    request,
)
from engines.keeping.behaviour import subscribe as subscribe_sender
from engines.keeping.behaviour import unsubscribe as unsubscribe_sender
from engines.keeping.subscriptions import NO_SUBSCRIPTIONS, Subscriptions
from engines.messages import EngineID, Message
from engines.wire import settings_from
from erlang_bridge.terms import Atom

DELETED: Final = Atom("deleted")
"""Row of a key that the engine is started with, and that has been deleted."""

VALUE: Final = Atom("value")


@dataclass(frozen=True, slots=True)
class DynamicConfigurationSettings(KeepingSettings):
    """What it begins with, and where its table is.

    Attributes:
        ledger: the Ledger that keeps it: a name on the same node, or a name and a node. None: nothing lasts longer than
            the engine.
        table: name of the table there. None: the engine's own name. Two engines must not share one.
        values: key to value, for those keys that the table has nothing of.
    """

    ledger: str | EngineID | None = None
    table: str | None = None
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Configured:
    """The values, and the clock of their changes.

    Attributes:
        values: key to value.
        local_clock: time of the last change, in milliseconds since 1970-01-01 UTC; 0: there was none.
    """

    values: PersistentMap[str, Any]
    local_clock: int = 0


@dataclass(frozen=True, slots=True)
class DynamicConfigurationState(KeptState[Configured]):
    """What is configured, and who is told of changes.

    Attributes:
        data: the values, and the clock of their changes.
        keeping: how far it is with its ledger.
        subscriptions: who is told of changes.
    """

    data: Configured
    keeping: Keeping[Configured]
    subscriptions: Subscriptions = NO_SUBSCRIPTIONS


# -- requests ---------------------------------------------------------------------------------


def value_of(
    _settings: DynamicConfigurationSettings, data: Configured, message: GetDynamicConfigRequest, _now_ms: int
) -> Handled[Configured]:
    """The value of the key, if it has one."""
    key = message.key
    return Handled(data, GetDynamicConfigResponse(key, key in data.values, data.values.get(key)))


def with_value(
    _settings: DynamicConfigurationSettings, data: Configured, message: SetDynamicConfigRequest, now_ms: int
) -> Handled[Configured]:
    """The key with that value, and the clock put forward."""
    key, value = message.key, message.value
    clock = max(data.local_clock + 1, now_ms)
    return Handled(
        Configured(data.values.put(key, value), clock),
        SetDynamicConfigResponse(key, success=True),
        items=((key.encode(), (VALUE, value)), (CLOCK, clock)),
        news=DynamicConfigChanged(key, True, value, clock),
        about=key,
    )


def without_value(
    settings: DynamicConfigurationSettings, data: Configured, message: DeleteDynamicConfigRequest, now_ms: int
) -> Handled[Configured]:
    """The key without its value, and the clock put forward."""
    key = message.key
    if key not in data.values:
        return Handled(data, DeleteDynamicConfigResponse(key, success=False, error=NO_SUCH_KEY))
    clock = max(data.local_clock + 1, now_ms)
    row = key.encode()
    started_with = key in settings.values
    return Handled(
        Configured(data.values.without(key), clock),
        DeleteDynamicConfigResponse(key, success=True),
        items=((row, DELETED), (CLOCK, clock)) if started_with else ((CLOCK, clock),),
        deleted=() if started_with else (row,),
        news=DynamicConfigChanged(key, False, None, clock),
        about=key,
    )


def refused(message: Message, text: str) -> Message:
    """The reply to a request that fails."""
    if isinstance(message, GetDynamicConfigRequest):
        return GetDynamicConfigResponse(message.key, found=False, error=text)
    if isinstance(message, SetDynamicConfigRequest):
        return SetDynamicConfigResponse(message.key, success=False, error=text)
    assert isinstance(message, DeleteDynamicConfigRequest)
    return DeleteDynamicConfigResponse(message.key, success=False, error=text)


def configured(settings: DynamicConfigurationSettings, rows: tuple[tuple[Any, Any], ...]) -> Configured:
    """What the rows of its table stand for, over what the engine is started with.

    Raises:
        ValueError: they are not its rows.
    """
    clock = 0
    values = PersistentMap(settings.values)
    for key, row in rows:
        match row:
            case int() if key is CLOCK:
                clock = row
            case (Atom("value"), value) if type(key) is bytes:
                values = values.put(key.decode(), value)
            case Atom("deleted") if type(key) is bytes:
                values = values.without(key.decode())
            case _:
                raise ValueError(f"expected values, deleted keys, and a clock, got {key!r} with {row!r}")
    return Configured(values, clock)


RULES: Final = Rules(lambda message: message.key, refused, configured)


# -- actions ----------------------------------------------------------------------------------


def get_config(turn: Turn[DynamicConfigurationState], _args: None) -> Effects[Any]:
    """Answer with the value of the key; the state stays."""
    return request(turn, RULES, value_of)


def set_config(turn: Turn[DynamicConfigurationState], _args: None) -> Effects[Any]:
    """Store the value, answer, and tell the subscribers; where a ledger keeps it, once it lasts."""
    return request(turn, RULES, with_value)


def delete_config(turn: Turn[DynamicConfigurationState], _args: None) -> Effects[Any]:
    """Take the value away, answer, and tell the subscribers; where a ledger keeps it, once that lasts."""
    return request(turn, RULES, without_value)


def subscribe(turn: Turn[DynamicConfigurationState], _args: None) -> Effects[Any] | None:
    """Tell the sender of changes from now on. A sender who is not known cannot be told."""
    message = turn.message
    assert isinstance(message, SubscribeDynamicConfigRequest)
    reply = SubscribeDynamicConfigResponse(message.key, message.prefix, True, milliseconds(turn))
    return subscribe_sender(turn, message.key, message.prefix, reply)


def unsubscribe(turn: Turn[DynamicConfigurationState], _args: None) -> Effects[Any] | None:
    """Do not tell the sender any more."""
    message = turn.message
    assert isinstance(message, UnsubscribeDynamicConfigRequest)
    key, prefix = message.key, message.prefix
    return unsubscribe_sender(turn, key, prefix, lambda there: UnsubscribeDynamicConfigResponse(key, prefix, there))


def start(args: Any) -> tuple[DynamicConfigurationSettings, DynamicConfigurationState]:
    """The settings, and the values that they have.

    Raises:
        ValueError: they are no settings.
    """
    settings = settings_from(DynamicConfigurationSettings, args)
    return settings, DynamicConfigurationState(configured(settings, ()), first_keeping(settings))


BEHAVIOUR: Final[EngineBehaviour[DynamicConfigurationState]] = EngineBehaviour(
    "dynamic_configuration",
    MESSAGES,
    start,
    First(
        on(GetDynamicConfigRequest, get_config),
        on(SetDynamicConfigRequest, set_config),
        on(DeleteDynamicConfigRequest, delete_config),
        on(SubscribeDynamicConfigRequest, subscribe),
        on(UnsubscribeDynamicConfigRequest, unsubscribe),
        *guards(RULES),
    ),
)
