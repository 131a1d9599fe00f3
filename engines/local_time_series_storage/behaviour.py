"""What the Local Time Series Storage does: records values with times, and tells subscribers of changes.

A turn costs no more than the points that it is about, however long the series is. Where its settings name a ledger,
what it has answered with success lasts: see `engines.keeping.behaviour`.

Pure: functions of environment and message to effects.

Differences from the specification:

* Requests name a series and times, in place of queries without a meaning.
* A record carries a value, and does not need one that is there already.
* A record that succeeds is answered with a `RecordReply`; the specification has a reply to a deletion there.
* A request for points that are not there is answered, with none.
* Deleting deletes; the specification writes empty data.
* The notification of a deletion says what is there now: nothing; the specification has the old value.
* Deleting points that are not there says so, and is no change. Replies say why a request has failed.
* Whom to notify is what others have subscribed to; the specification leaves that abstract.
* The local clock is the wall clock in milliseconds, put forward where two changes would have the same time.

Source: nspec v0.2.0, "Local Time Series Storage Behaviour".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
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
from engines.local_time_series_storage.messages import (
    MESSAGES,
    NO_SUCH_POINTS,
    DataChanged,
    DeleteReply,
    DeleteRequest,
    GetReply,
    GetRequest,
    RecordReply,
    RecordRequest,
    SubscribeReply,
    SubscribeRequest,
    UnsubscribeReply,
    UnsubscribeRequest,
)
from engines.local_time_series_storage.series import Point, Series
from engines.messages import Message
from engines.wire import settings_from

NO_SERIES: Final = Series()
MAX_POINTS: Final = 100_000
"""Points in one reply, whatever its request asks for."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The series, and the clock of their changes.

    Attributes:
        db: name to series; none of them is empty.
        local_clock: time of the last change, in milliseconds since 1970-01-01 UTC; 0: there was none.
    """

    db: PersistentMap[str, Series]
    local_clock: int = 0


@dataclass(frozen=True, slots=True)
class LocalTSStorageState(KeptState[Recorded]):
    """What is recorded, and who is told of changes.

    Attributes:
        data: the series, and the clock of their changes.
        keeping: how far it is with its ledger.
        subscriptions: who is told of changes.
    """

    data: Recorded
    keeping: Keeping[Recorded]
    subscriptions: Subscriptions = NO_SUBSCRIPTIONS


# -- requests ---------------------------------------------------------------------------------


def points_of(_settings: KeepingSettings, data: Recorded, message: GetRequest, _now_ms: int) -> Handled[Recorded]:
    """The points in the range, up to the limit."""
    name, first, last = message.series, message.from_time, message.to_time
    limit = min(max(message.limit, 0), MAX_POINTS)
    found = tuple(islice(data.db.get(name, NO_SERIES).between(first, last), limit + 1))
    return Handled(data, GetReply(name, first, last, found[:limit], more=len(found) > limit))


def with_point(_settings: KeepingSettings, data: Recorded, message: RecordRequest, now_ms: int) -> Handled[Recorded]:
    """The series with the point, and the clock put forward."""
    name, time, value = message.series, message.time, message.value
    clock = max(data.local_clock + 1, now_ms)
    series = data.db.get(name, NO_SERIES).put(time, value)
    return Handled(
        Recorded(data.db.put(name, series), clock),
        RecordReply(name, time, success=True),
        items=(((name.encode(), time), value), (CLOCK, clock)),
        news=DataChanged(name, time, time, ((time, value),), clock),
        about=name,
    )


def without_points(
    _settings: KeepingSettings, data: Recorded, message: DeleteRequest, now_ms: int
) -> Handled[Recorded]:
    """The series without the points in the range, and the clock put forward."""
    name, first, last = message.series, message.from_time, message.to_time
    series = data.db.get(name, NO_SERIES)
    row = name.encode()
    gone = tuple((row, time) for time, _ in series.between(first, last))
    if not gone:
        return Handled(data, DeleteReply(name, first, last, success=False, error=NO_SUCH_POINTS))
    clock = max(data.local_clock + 1, now_ms)
    rest = series.without(first, last)
    return Handled(
        Recorded(data.db.put(name, rest) if len(rest) else data.db.without(name), clock),
        DeleteReply(name, first, last, success=True, deleted=len(gone)),
        items=((CLOCK, clock),),
        deleted=gone,
        news=DataChanged(name, first, last, (), clock),
        about=name,
    )


def refused(message: Message, text: str) -> Message:
    """The reply to a request that fails."""
    if isinstance(message, GetRequest):
        return GetReply(message.series, message.from_time, message.to_time, (), error=text)
    if isinstance(message, RecordRequest):
        return RecordReply(message.series, message.time, success=False, error=text)
    assert isinstance(message, DeleteRequest)
    return DeleteReply(message.series, message.from_time, message.to_time, success=False, error=text)


def recorded(_settings: KeepingSettings, rows: tuple[tuple[Any, Any], ...]) -> Recorded:
    """What the rows of its table stand for.

    Raises:
        ValueError: they are not its rows.
    """
    clock = 0
    found: dict[str, list[Point]] = {}
    for key, value in rows:
        match key:
            case (bytes() as name, int() as time):
                found.setdefault(name.decode(), []).append((time, value))
            case _ if key is CLOCK and type(value) is int:
                clock = value
            case _:
                raise ValueError(f"expected series, times and a clock, got {key!r}")
    return Recorded(PersistentMap({name: Series(points) for name, points in found.items()}), clock)


RULES: Final = Rules(lambda message: message.series, refused, recorded)


# -- actions ----------------------------------------------------------------------------------


def get_data(turn: Turn[LocalTSStorageState], _args: None) -> Effects[Any]:
    """Answer with the points; the state stays."""
    return request(turn, RULES, points_of)


def record_data(turn: Turn[LocalTSStorageState], _args: None) -> Effects[Any]:
    """Record the value, answer, and tell the subscribers; where a ledger keeps it, once it lasts."""
    return request(turn, RULES, with_point)


def delete_data(turn: Turn[LocalTSStorageState], _args: None) -> Effects[Any]:
    """Delete the points, answer, and tell the subscribers; where a ledger keeps them, once that lasts."""
    return request(turn, RULES, without_points)


def subscribe(turn: Turn[LocalTSStorageState], _args: None) -> Effects[Any] | None:
    """Tell the sender of changes from now on. A sender who is not known cannot be told."""
    message = turn.message
    assert isinstance(message, SubscribeRequest)
    reply = SubscribeReply(message.series, message.prefix, turn.state.data.local_clock)
    return subscribe_sender(turn, message.series, message.prefix, reply)


def unsubscribe(turn: Turn[LocalTSStorageState], _args: None) -> Effects[Any] | None:
    """Do not tell the sender any more."""
    message = turn.message
    assert isinstance(message, UnsubscribeRequest)
    series, prefix = message.series, message.prefix
    return unsubscribe_sender(turn, series, prefix, lambda there: UnsubscribeReply(series, prefix, there))


def start(args: Any) -> tuple[KeepingSettings, LocalTSStorageState]:
    """The settings, and nothing recorded.

    Raises:
        ValueError: they are no settings.
    """
    settings = settings_from(KeepingSettings, args)
    return settings, LocalTSStorageState(Recorded(EMPTY), first_keeping(settings))


BEHAVIOUR: Final[EngineBehaviour[LocalTSStorageState]] = EngineBehaviour(
    "local_time_series_storage",
    MESSAGES,
    start,
    First(
        on(GetRequest, get_data),
        on(RecordRequest, record_data),
        on(DeleteRequest, delete_data),
        on(SubscribeRequest, subscribe),
        on(UnsubscribeRequest, unsubscribe),
        *guards(RULES),
    ),
)
