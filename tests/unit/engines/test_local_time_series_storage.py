"""The Local Time Series Storage without a node, and one series."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engines.keeping.behaviour import CLOCK
from engines.local_time_series_storage.behaviour import BEHAVIOUR, MAX_POINTS
from engines.local_time_series_storage.messages import (
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
from engines.local_time_series_storage.series import Series
from engines.messages import EngineID
from tests.table_worlds import WITH_LEDGER, TableWorld

TIMES = st.integers(-20, 20)
VALUES = st.sampled_from([None, 0, b"x", 1.5])
NAMES = st.sampled_from(["a", "ab", ""])
REQUESTS = st.one_of(
    st.builds(GetRequest, NAMES, TIMES, TIMES, st.integers(-1, 5)),
    st.builds(RecordRequest, NAMES, TIMES, VALUES),
    st.builds(DeleteRequest, NAMES, TIMES, TIMES),
)


# -- one series -------------------------------------------------------------------------------


def balanced(tree: Any) -> int:
    """The size of a tree whose parts are all balanced, in order, and counted right."""
    if tree is None:
        return 0
    size, at, _, before, after = tree
    left, right = balanced(before), balanced(after)
    assert size == left + right + 1
    assert left + 1 <= 3 * (right + 1)
    assert right + 1 <= 3 * (left + 1)
    assert before is None or before[1] < at
    assert after is None or after[1] > at
    return left + right + 1


STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 60), st.integers()),
    st.tuples(st.just("without"), st.integers(0, 60), st.integers(0, 60)),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers()), max_size=60), st.lists(STEPS, max_size=40))
def test_a_series_is_a_dict_in_order(points: list[tuple[int, int]], steps: list[tuple[str, int, int]]):
    series, model = Series(points), dict(points)
    for what, one, two in steps:
        before, was = list(series), series
        if what == "put":
            series = series.put(one, two)
            model[one] = two
        else:
            series = series.without(one, two)
            model = {at: value for at, value in model.items() if not one <= at <= two}
        assert list(was) == before
        assert list(series) == sorted(model.items())
        assert balanced(series._tree) == len(series) == len(model)
        assert list(series.between(one, two)) == [(at, model[at]) for at in sorted(model) if one <= at <= two]
        assert (one in series) == (one in model)
    assert series == Series(model.items())
    assert hash(series) == hash(Series(model.items()))


def test_a_series_put_in_order_is_balanced():
    series = Series()
    for at in range(500):
        series = series.put(at, at)
    assert balanced(series._tree) == 500
    assert repr(series).startswith("Series([(0, 0), (1, 1), ")
    assert repr(Series([(1, b"x")])) == "Series([(1, b'x')])"


def test_no_turn_costs_the_whole_history():
    """Counted, not timed: what a change makes anew of a long series is a path, and the rest is shared."""
    long = Series((at, at) for at in range(30_000))

    def parts(tree: Any, found: set[int]) -> set[int]:
        if tree is not None:
            found.add(id(tree))
            parts(tree[3], found)
            parts(tree[4], found)
        return found

    had = parts(long._tree, set())
    for changed in (long.put(15_000, None), long.put(30_000, None), long.without(5_000, 20_000)):
        assert len(parts(changed._tree, set()) - had) < 150
    assert [at for at, _ in long.between(29_000, 29_004)] == [29_000, 29_001, 29_002, 29_003, 29_004]


# -- the engine -------------------------------------------------------------------------------


def check(requests: list[Any], made: TableWorld, numbers: list[int]) -> dict[tuple[str, int], Any]:
    """Replies, and news for one who has subscribed to everything, against a dict."""
    model: dict[tuple[str, int], Any] = {}
    changed: dict[str, list[Any]] = {"a": [], "ab": [], "": []}
    for message, number in zip(requests, numbers, strict=True):
        reply = made.reply(number)
        name = message.series
        if reply.error == "no disk":
            continue
        if isinstance(message, RecordRequest):
            model[name, message.time] = message.value
            assert reply == RecordReply(name, message.time, success=True)
            changed[name].append((message.time, message.time, ((message.time, message.value),)))
            continue
        first, last = message.from_time, message.to_time
        within = sorted(at for series, at in model if series == name and first <= at <= last)
        if isinstance(message, GetRequest):
            limit = max(message.limit, 0)
            points = tuple((at, model[name, at]) for at in within[:limit])
            assert reply == GetReply(name, first, last, points, more=len(within) > limit)
        elif within:
            for at in within:
                del model[name, at]
            assert reply == DeleteReply(name, first, last, success=True, deleted=len(within))
            changed[name].append((first, last, ()))
        else:
            assert reply == DeleteReply(name, first, last, success=False, error=NO_SUCH_POINTS)
    news = made.news("me", DataChanged)
    stamps = [change.timestamp for change in news]
    assert stamps == sorted(set(stamps))
    for name, expected in changed.items():
        assert [(n.from_time, n.to_time, n.points) for n in news if n.series == name] == expected
    return model


@settings(deadline=None, max_examples=50)
@given(st.lists(REQUESTS, max_size=25), st.lists(st.sampled_from(["ok", "fails"]), max_size=5), st.integers(0, 2**32))
def test_it_is_a_dict_of_series(requests: list[Any], fate: list[str], seed: int):
    for options in (None, WITH_LEDGER):
        made = TableWorld(BEHAVIOUR, options, seed=seed)
        made.now(SubscribeRequest("", prefix=True))
        made.fate = [] if options is None else fate
        numbers = [made.ask(message) for message in requests]
        made.settle()
        model = check(requests, made, numbers)
        db = made.state.data.db
        assert {(name, at): value for name, series in db.items() for at, value in series} == model
        assert all(len(series) for series in db.values())
        if options is not None:
            rows = {(name.encode(), at): value for (name, at), value in model.items()}
            assert {key: value for key, value in made.rows.items() if key is not CLOCK} == rows
            made.fate = []
            made.crash(BEHAVIOUR.name)
            made.start()
            made.settle()
            assert made.state.data.db == db


def test_a_point_recorded_again_is_replaced():
    made = TableWorld(BEHAVIOUR)
    made.now(RecordRequest("s", 5, b"a"))
    made.now(RecordRequest("s", 5, b"b"))
    assert made.now(GetRequest("s", 5, 5)).points == ((5, b"b"),)


def test_a_series_that_is_not_there_has_no_points():
    made = TableWorld(BEHAVIOUR)
    assert made.now(GetRequest("s", 0, 9)) == GetReply("s", 0, 9, ())
    assert made.now(GetRequest("s", 9, 0, limit=10 * MAX_POINTS)) == GetReply("s", 9, 0, ())


def test_subscriptions():
    made = TableWorld(BEHAVIOUR)
    assert made.now(SubscribeRequest("s")) == SubscribeReply("s", False, 0)
    made.now(RecordRequest("s", 1, b"x"))
    made.now(RecordRequest("other", 1, b"x"))
    assert made.now(UnsubscribeRequest("s")) == UnsubscribeReply("s", False, True)
    assert made.now(UnsubscribeRequest("s")) == UnsubscribeReply("s", False, False)
    made.now(DeleteRequest("s", 0, 9))
    assert made.news("me", DataChanged) == [DataChanged("s", 1, 1, ((1, b"x"),), 1_000_000)]
    made.send(EngineID(None, BEHAVIOUR.name), SubscribeRequest("s"))
    made.settle()
    assert not made.state.subscriptions.of_wish


def test_failures_are_told():
    made = TableWorld(BEHAVIOUR, WITH_LEDGER)
    made.now(RecordRequest("s", 1, b"x"))
    made.fate = ["fails", "unsure", "fails"]
    assert made.now(RecordRequest("s", 2, b"y")) == RecordReply("s", 2, success=False, error="no disk")
    delete = made.ask(DeleteRequest("s", 0, 9))
    made.deliver()
    made.perform_next()
    get = made.ask(GetRequest("s", 0, 9))
    made.deliver()
    made.perform_next()
    assert made.reply(delete) == DeleteReply("s", 0, 9, success=False, error="no answer")
    assert made.reply(get) == GetReply("s", 0, 9, (), error="no disk")
    made.settle()
    assert made.now(GetRequest("s", 0, 9)).points == ((1, b"x"),)


def test_somebody_elses_table_is_left_alone():
    made = TableWorld(BEHAVIOUR, WITH_LEDGER)
    made.rows = {b"k": b"v"}
    assert "another engine's: expected series, times and a clock, got b'k'" in _error(made)


def _error(made: TableWorld) -> str:
    number = made.ask(GetRequest("s", 0, 9))
    made.deliver()
    made.perform_next()
    error: str = made.reply(number).error
    return error
