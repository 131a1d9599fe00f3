"""The Local Time Series Storage as a process, and what others call to use it.

From Erlang::

    Storage = {local_time_series_storage, 'py@127.0.0.1'},
    {record_reply, #{success := true}} =
        gen_server:call(Storage, {record_request, #{series => <<"load">>, time => 17, value => 0.5}}),
    {get_reply, #{points := [{17, 0.5}]}} =
        gen_server:call(Storage, {get_request, #{series => <<"load">>, from_time => 0, to_time => 20}}).
"""

from __future__ import annotations

from typing import Any

from engines.engine import Client, Engine, ask
from engines.keeping import ledger
from engines.local_time_series_storage.behaviour import BEHAVIOUR
from engines.local_time_series_storage.messages import (
    NO_SUCH_POINTS,
    DeleteRequest,
    GetRequest,
    RecordRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)
from engines.local_time_series_storage.series import Point
from engines.messages import Message
from erlang_bridge import BridgeError, OwnProcess

LOCAL_TIME_SERIES_STORAGE = "local_time_series_storage"
"""The name that a node's own one is registered under."""


class SeriesError(BridgeError):
    """The storage has not done what it was asked for; the text says why."""


def get(
    client: Client,
    series: str,
    from_time: int,
    to_time: int,
    storage: Any = LOCAL_TIME_SERIES_STORAGE,
    timeout_s: float | None = 5.0,
) -> list[Point]:
    """All points of `series` from the one time to the other, both included. Asks as often as it takes.

    Raises:
        SeriesError: they cannot be told. ErlangExit: no answer, and why.
    """
    found: list[Point] = []
    while True:
        reply = ask(client, storage, GetRequest(series, from_time, to_time), timeout_s)
        if reply.error is not None:
            raise SeriesError(reply.error)
        found += reply.points
        if not reply.more:
            return found
        from_time = found[-1][0] + 1


def record(
    client: Client,
    series: str,
    time: int,
    value: Any,
    storage: Any = LOCAL_TIME_SERIES_STORAGE,
    timeout_s: float | None = 5.0,
) -> None:
    """Record `value`, a term, at `time`.

    Raises:
        SeriesError: it is not recorded. ErlangExit: no answer, and why.
    """
    reply = ask(client, storage, RecordRequest(series, time, value), timeout_s)
    if not reply.success:
        raise SeriesError(reply.error)


def delete(
    client: Client,
    series: str,
    from_time: int,
    to_time: int,
    storage: Any = LOCAL_TIME_SERIES_STORAGE,
    timeout_s: float | None = 5.0,
) -> int:
    """Delete the points from the one time to the other, both included. Returns how many there were.

    Raises:
        SeriesError: they are not deleted. ErlangExit: no answer, and why.
    """
    reply = ask(client, storage, DeleteRequest(series, from_time, to_time), timeout_s)
    if not reply.success and reply.error != NO_SUCH_POINTS:
        raise SeriesError(reply.error)
    deleted: int = reply.deleted
    return deleted


def subscribe(own: OwnProcess, series: str, storage: Any = LOCAL_TIME_SERIES_STORAGE, *, prefix: bool = False) -> None:
    """Have the calling process sent an envelope with `DataChanged` for every change, until it ends.

    Args:
        prefix: changes of all series whose names begin with `series`.
    """
    ask(own, storage, SubscribeRequest(series, prefix))


def unsubscribe(
    own: OwnProcess, series: str, storage: Any = LOCAL_TIME_SERIES_STORAGE, *, prefix: bool = False
) -> bool:
    """Take a subscription of the calling process back. False: there was none."""
    success: bool = ask(own, storage, UnsubscribeRequest(series, prefix)).success
    return success


class LocalTimeSeriesStorage(Engine):
    """Records values with times."""

    engine = BEHAVIOUR
    apart = ledger.KINDS

    def perform(self, operation: Any, own: OwnProcess) -> Message:
        return ledger.perform(operation, own)
