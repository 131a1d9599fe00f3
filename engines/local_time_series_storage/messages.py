"""What the Local Time Series Storage takes and sends.

A series has at most one value at a time. Times are integers; what they count is the recorder's own affair, and
milliseconds since 1970-01-01 UTC by custom. Ranges include both of their ends.

Source: nspec v0.2.0, "Local Time Series Storage Messages", with series, times and values in place of its opaque
queries. The subscriptions are ours, and so is `error`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engines.messages import Message


class LocalTSStorageMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "local_time_series_storage"


@dataclass(frozen=True, slots=True)
class GetRequest(LocalTSStorageMessage):
    """Ask for the points of a series in a range of time; `GetReply` comes back.

    Attributes:
        series: its name.
        from_time: the earliest time that is meant.
        to_time: the latest time that is meant.
        limit: at most so many points, the earliest ones; more than 100,000 are as many as that.
    """

    series: str
    from_time: int
    to_time: int
    limit: int = 10_000


@dataclass(frozen=True, slots=True)
class GetReply(LocalTSStorageMessage):
    """Points of a series; none, where there are none.

    Attributes:
        series: as in the request.
        from_time: as in the request.
        to_time: as in the request.
        points: times and values, in order of time.
        more: whether there are further ones in the range: ask again, from the last time plus one.
        error: why they cannot be told; None: the rest is the answer.
    """

    series: str
    from_time: int
    to_time: int
    points: tuple[tuple[int, Any], ...]
    more: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RecordRequest(LocalTSStorageMessage):
    """Record a value, in place of the one that the series has at that time; `RecordReply` comes back.

    Attributes:
        series: its name; one that is not there begins to be.
        time: when the value was so.
        value: any term.
    """

    series: str
    time: int
    value: Any


@dataclass(frozen=True, slots=True)
class RecordReply(LocalTSStorageMessage):
    """What has become of a `RecordRequest`.

    Attributes:
        series: as in the request.
        time: as in the request.
        success: whether the series has the value. If not, nothing has changed, unless `error` says that this is not
            known.
        error: why not.
    """

    series: str
    time: int
    success: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteRequest(LocalTSStorageMessage):
    """Delete the points of a series in a range of time; `DeleteReply` comes back.

    Attributes:
        series: its name.
        from_time: the earliest time that is meant.
        to_time: the latest time that is meant.
    """

    series: str
    from_time: int
    to_time: int


@dataclass(frozen=True, slots=True)
class DeleteReply(LocalTSStorageMessage):
    """What has become of a `DeleteRequest`.

    Attributes:
        series: as in the request.
        from_time: as in the request.
        to_time: as in the request.
        success: whether points were there and are gone.
        deleted: how many.
        error: why not; `NO_SUCH_POINTS` where there were none.
    """

    series: str
    from_time: int
    to_time: int
    success: bool
    deleted: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DataChanged(LocalTSStorageMessage):
    """News for those who have subscribed: a series has changed.

    Attributes:
        series: which one.
        from_time: the earliest time at which it has changed.
        to_time: the latest time at which it has changed.
        points: what the series has from the one to the other now: the point recorded, or nothing.
        timestamp: when the change was made, in milliseconds since 1970-01-01 UTC; later than that of every change
            before.
    """

    series: str
    from_time: int
    to_time: int
    points: tuple[tuple[int, Any], ...]
    timestamp: int


@dataclass(frozen=True, slots=True)
class SubscribeRequest(LocalTSStorageMessage):
    """Have the sender told of changes, until it ends, or unsubscribes; `SubscribeReply` comes back.

    Twice is once; and a change is told once to each, whatever it has subscribed to.

    Attributes:
        series: whose changes.
        prefix: those of all series whose names begin with `series`.
    """

    series: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class SubscribeReply(LocalTSStorageMessage):
    """The sender is told of what changes from now on.

    Attributes:
        series: as in the request.
        prefix: as in the request.
        timestamp: of the last change before.
    """

    series: str
    prefix: bool
    timestamp: int


@dataclass(frozen=True, slots=True)
class UnsubscribeRequest(LocalTSStorageMessage):
    """Take a subscription back; `UnsubscribeReply` comes back.

    Attributes:
        series: as it was subscribed to.
        prefix: as it was subscribed to.
    """

    series: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class UnsubscribeReply(LocalTSStorageMessage):
    """The sender is not told any more.

    Attributes:
        series: as in the request.
        prefix: as in the request.
        success: whether there was such a subscription.
    """

    series: str
    prefix: bool
    success: bool


NO_SUCH_POINTS: Final = "the series has no points in that range"

MESSAGES: Final = (
    GetRequest,
    GetReply,
    RecordRequest,
    RecordReply,
    DeleteRequest,
    DeleteReply,
    DataChanged,
    SubscribeRequest,
    SubscribeReply,
    UnsubscribeRequest,
    UnsubscribeReply,
)
