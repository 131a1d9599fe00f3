"""The Local Key-Value Storage without a node: H1 of the specification's test properties, with and without a ledger."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.effects import Effects, Unwatch, Watch
from engines.guards import Ended
from engines.keeping.behaviour import CLOCK, MAX_WAITING, RETRY_S, KeepingSettings, Phase
from engines.keeping.messages import Load, Write
from engines.keeping.subscriptions import NO_SUBSCRIPTIONS
from engines.local_key_value_storage.behaviour import BEHAVIOUR, start
from engines.local_key_value_storage.messages import (
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
from engines.messages import EngineID
from engines.simulation import NODE
from erlang_bridge.terms import Atom
from tests.table_worlds import ME, WITH_LEDGER, TableWorld

KEYS = ["", "a", "ab", "b"]
REQUESTS = st.one_of(
    st.builds(GetValueRequest, st.sampled_from(KEYS)),
    st.builds(SetValueRequest, st.sampled_from(KEYS), st.sampled_from(["", "x", "y"])),
    st.builds(DeleteValueRequest, st.sampled_from(KEYS)),
)
SUBSCRIBERS = {
    "exact": [("a", False)],
    "prefix": [("a", True)],
    "both": [("a", False), ("a", True), ("ab", False), ("", True)],
    "none": [("c", True)],
}


def world(options: Any = None, seed: int = 0) -> TableWorld:
    return TableWorld(BEHAVIOUR, options, seed=seed)


def subscribe_all(made: TableWorld) -> None:
    for name, wishes in SUBSCRIBERS.items():
        for key, prefix in wishes:
            made.ask(SubscribeRequest(key, prefix), EngineID("elsewhere@127.0.0.1", name))
    made.settle()


def concerns(name: str, key: str) -> bool:
    return any(key.startswith(wish) if prefix else key == wish for wish, prefix in SUBSCRIBERS[name])


def check_against_a_dict(made: TableWorld, requests: list[Any], numbers: list[int]) -> dict[str, str]:
    """H1. Requests that were refused have changed nothing."""
    model: dict[str, str] = {}
    changes: dict[str, list[tuple[str, str | None]]] = {key: [] for key in KEYS}
    for message, number in zip(requests, numbers, strict=True):
        reply = made.reply(number)
        key = message.key
        assert reply is not None
        if reply.error is not None and reply.error != NO_SUCH_KEY:
            assert "no disk" in reply.error
        elif isinstance(message, GetValueRequest):
            assert reply == GetValueReply(key, model.get(key))
        elif isinstance(message, SetValueRequest):
            assert reply == SetValueReply(key, success=True)
            model[key] = message.value
            changes[key].append((key, message.value))
        elif key in model:
            assert reply == DeleteValueReply(key, success=True)
            del model[key]
            changes[key].append((key, None))
        else:
            assert reply == DeleteValueReply(key, success=False, error=NO_SUCH_KEY)
    for name in SUBSCRIBERS:
        news = made.news(name, ValueChanged)
        stamps = [change.timestamp for change in news]
        assert stamps == sorted(set(stamps))
        for key in KEYS:
            got = [(change.key, change.value) for change in news if change.key == key]
            assert got == (changes[key] if concerns(name, key) else [])
    return model


@settings(deadline=None, max_examples=60)
@given(st.lists(REQUESTS, max_size=25), st.booleans())
def test_it_is_a_dict_and_tells_each_subscriber_of_each_change_once(requests: list[Any], ledger: bool):
    made = world(WITH_LEDGER if ledger else None)
    subscribe_all(made)
    numbers = []
    for message in requests:
        numbers.append(made.ask(message))
        made.settle()
    model = check_against_a_dict(made, requests, numbers)
    assert dict(made.state.data.storage) == model


@settings(deadline=None, max_examples=60)
@given(
    st.lists(REQUESTS, max_size=25),
    st.lists(st.sampled_from(["ok", "fails"]), min_size=3, max_size=8),
    st.integers(0, 2**32),
)
def test_requests_that_overlap_with_a_ledger_that_fails_at_times(requests: list[Any], fate: list[str], seed: int):
    made = world(WITH_LEDGER, seed)
    subscribe_all(made)
    made.fate = fate
    numbers = [made.ask(message) for message in requests]
    made.settle()
    model = check_against_a_dict(made, requests, numbers)
    assert dict(made.state.data.storage) == model
    kept = {key.decode(): value.decode() for key, value in made.rows.items() if key is not CLOCK}
    assert kept == model
    made.fate = []
    made.crash(BEHAVIOUR.name)
    made.start()
    for key in KEYS:
        assert made.now(GetValueRequest(key)) == GetValueReply(key, model.get(key))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(REQUESTS, min_size=1, max_size=25),
    st.lists(st.sampled_from(["ok", "fails", "unsure", "unsure but done"]), max_size=8),
    st.integers(0, 2**32),
)
def test_what_is_uncertain_is_read_again(requests: list[Any], fate: list[str], seed: int):
    made = world(WITH_LEDGER, seed)
    made.settle()
    made.fate = fate
    numbers = [made.ask(message) for message in requests]
    made.settle()
    assert all(made.reply(number) is not None for number in numbers)
    storage = {key.decode(): value.decode() for key, value in made.rows.items() if key is not CLOCK}
    assert dict(made.state.data.storage) == storage
    for key in KEYS:
        assert made.now(GetValueRequest(key)) == GetValueReply(key, storage.get(key))


@settings(deadline=None, max_examples=60)
@given(st.lists(REQUESTS, max_size=15), st.lists(st.integers(0, 20), max_size=3), st.integers(0, 2**32))
def test_a_crash_at_any_time_loses_nothing_that_was_acknowledged(requests: list[Any], crashes: list[int], seed: int):
    made = world(WITH_LEDGER, seed)
    numbers = [made.ask(message) for message in requests]
    steps = 0
    while choices := made.choices():
        if steps in crashes:
            made.crash(BEHAVIOUR.name, lose=True)
            made.start()
        steps += 1
        if choices := made.choices():
            made.happen(choices[made.random.randrange(len(choices))])
    possible: dict[str, set[str | None]] = {key: {None} for key in KEYS}
    for message, number in zip(requests, numbers, strict=True):
        if isinstance(message, GetValueRequest):
            continue
        after = message.value if isinstance(message, SetValueRequest) else None
        if made.reply(number) is None:
            possible[message.key].add(after)  # it may have been made, and its caller will know that it does not know
        elif made.reply(number).success:
            possible[message.key] = {after}
    for key in KEYS:
        assert made.now(GetValueRequest(key)).value in possible[key]
    assert {key.encode(): value.encode() for key, value in made.state.data.storage.items()} == {
        key: value for key, value in made.rows.items() if key is not CLOCK
    }


# -- single rules -----------------------------------------------------------------------------


def test_missing_is_not_empty():
    made = world()
    assert made.now(GetValueRequest("k")) == GetValueReply("k", None)
    assert made.now(SetValueRequest("k", "")).success
    assert made.now(GetValueRequest("k")) == GetValueReply("k", "")
    assert made.now(DeleteValueRequest("k")) == DeleteValueReply("k", success=True)
    assert made.now(DeleteValueRequest("k")) == DeleteValueReply("k", success=False, error=NO_SUCH_KEY)


def test_the_reply_precedes_the_news_and_carries_the_reference():
    made = world()
    made.now(SubscribeRequest("k"))
    number = made.ask(SetValueRequest("k", "v"))
    made.settle()
    reply, news = made.outside[-2:]
    assert (reply.message, reply.reference) == (SetValueReply("k", success=True), number)
    assert (news.message, news.reference) == (ValueChanged("k", "v", 1_000_000), None)


def test_the_clock_does_not_go_back_when_the_machines_does():
    made = world()
    made.now(SubscribeRequest("", True))
    for time_s in (5_000.0, 5_000.0, 20.0, 6_000.0):
        made.time_s = time_s
        made.now(SetValueRequest("k", "v"))
    assert [change.timestamp for change in made.news("me", ValueChanged)] == [
        5_000_000,
        5_000_001,
        5_000_002,
        6_000_000,
    ]


def test_the_clock_lasts():
    made = world(WITH_LEDGER)
    made.now(SetValueRequest("k", "v"))
    made.now(DeleteValueRequest("k"))
    made.crash(BEHAVIOUR.name)
    made.time_s = 1.0
    made.start()
    made.settle()
    assert made.now(SubscribeRequest("k")) == SubscribeReply("k", False, 1_000_001)
    made.now(SetValueRequest("k", "v"))
    assert made.news("me", ValueChanged)[-1].timestamp == 1_000_002


def test_subscriptions_can_be_taken_back():
    made = world()
    assert made.now(SubscribeRequest("k")) == SubscribeReply("k", False, 0)
    assert made.now(UnsubscribeRequest("k", True)) == UnsubscribeReply("k", True, False)
    assert made.now(UnsubscribeRequest("k")) == UnsubscribeReply("k", False, True)
    assert made.now(UnsubscribeRequest("k")) == UnsubscribeReply("k", False, False)
    made.now(SetValueRequest("k", "v"))
    assert made.news("me", ValueChanged) == []
    for name in ("one", "two"):
        made.now(SubscribeRequest("k", prefix=True), EngineID("far@h", name))
    for name in ("one", "two"):
        assert made.state.subscriptions.lengths == {1: 1}
        made.now(UnsubscribeRequest("k", prefix=True), EngineID("far@h", name))
    assert made.state.subscriptions == NO_SUBSCRIPTIONS


def effects_of(made: TableWorld, message: Any, sender: EngineID = ME) -> Effects[Any]:
    made.now(message, sender)
    effects = [happened.effects for happened in made.trace if happened.event.kind == "message"][-1]
    assert effects is not None
    return effects


def test_subscribers_are_watched_until_they_have_no_subscription_left():
    made = world()
    here = EngineID(NODE, "here")
    assert effects_of(made, SubscribeRequest("a"), here).watches == (Watch(here),)
    effects_of(made, SubscribeRequest("b", True), here)
    assert effects_of(made, UnsubscribeRequest("a"), here).watches == ()
    assert effects_of(made, UnsubscribeRequest("b", True), here).watches == (Unwatch(here),)
    far = EngineID("a node of no cluster", "far")
    assert effects_of(made, SubscribeRequest("a"), far).watches == ()


def test_dead_subscribers_are_forgotten():
    made = world()
    made.spawn(BEHAVIOUR.name, None, "subscriber")
    made.now(SubscribeRequest("", True), EngineID(NODE, "subscriber"))
    made.now(SubscribeRequest("a"), EngineID(NODE, "subscriber"))
    assert len(made.state.subscriptions.of_subscriber) == 1
    made.crash("subscriber")
    made.settle()
    assert made.state.subscriptions == start(None)[1].subscriptions
    assert any(isinstance(happened.trigger, Ended) for happened in made.trace)


def test_a_sender_who_is_not_known_cannot_subscribe():
    made = world()
    made.send(EngineID(None, BEHAVIOUR.name), SubscribeRequest("a"))
    made.send(EngineID(None, BEHAVIOUR.name), UnsubscribeRequest("a"))
    made.settle()
    assert made.outside == []
    assert [happened.effects for happened in made.trace][-2:] == [None, None]


# -- with a ledger ----------------------------------------------------------------------------


def test_requests_wait_for_the_table():
    made = world(WITH_LEDGER)
    made.rows = {b"k": b"v", CLOCK: 7}
    get, put, again = (
        made.ask(message) for message in (GetValueRequest("k"), SetValueRequest("k", "w"), GetValueRequest("k"))
    )
    made.deliver()
    assert made.outside == []
    made.settle()
    assert made.reply(get) == GetValueReply("k", "v")
    assert made.reply(put) == SetValueReply("k", success=True)
    assert made.reply(again) == GetValueReply("k", "w")
    assert made.operations[0] == Load(EngineID(None, "ledger"), BEHAVIOUR.name)


def test_one_write_at_a_time_and_what_gathers_goes_with_the_next():
    made = world(KeepingSettings(EngineID("other@127.0.0.1", "book"), "mine"))
    made.settle()
    numbers = [made.ask(SetValueRequest("k", str(number))) for number in range(4)]
    numbers.append(made.ask(DeleteValueRequest("k")))
    made.deliver()
    made.settle()
    writes = [operation for operation in made.operations if isinstance(operation, Write)]
    assert len(writes) == 2
    assert writes[0].items[0] == (b"k", b"0")
    assert writes[1].deleted == (b"k",)
    assert writes[1].items == ((CLOCK, 1_000_004),)
    assert (writes[1].ledger, writes[1].table) == (EngineID("other@127.0.0.1", "book"), "mine")
    assert all(made.reply(number).success for number in numbers)


def test_reads_of_other_keys_do_not_wait_for_the_disk():
    made = world(WITH_LEDGER)
    made.rows = {b"k": b"old", b"other": b"o"}
    made.settle()
    put, same, other = (
        made.ask(message) for message in (SetValueRequest("k", "new"), GetValueRequest("k"), GetValueRequest("other"))
    )
    missing = made.ask(DeleteValueRequest("nothing"))
    made.deliver()
    assert made.reply(put) is None
    assert made.reply(same) is None
    assert made.reply(other) == GetValueReply("other", "o")
    assert made.reply(missing).error == NO_SUCH_KEY
    made.settle()
    assert made.reply(same) == GetValueReply("k", "new")


def test_nothing_is_seen_of_a_write_before_it_lasts_and_nothing_of_one_that_fails():
    made = world(WITH_LEDGER)
    made.now(SubscribeRequest("k"))
    made.now(SetValueRequest("k", "old"))
    made.fate = ["fails"]
    put, get, delete = (
        made.ask(message) for message in (SetValueRequest("k", "new"), GetValueRequest("k"), DeleteValueRequest("k"))
    )
    made.deliver()
    assert made.state.data.storage == {"k": "old"}
    made.perform_next()
    assert made.reply(put) == SetValueReply("k", success=False, error="no disk")
    assert made.state.data.storage == {"k": "old"}
    made.settle()
    assert made.reply(get) == GetValueReply("k", "old")
    assert made.reply(delete) == DeleteValueReply("k", success=True)
    assert [change.value for change in made.news("me", ValueChanged)] == ["old", None]


@pytest.mark.parametrize(
    ("fate", "value"), [("fails", "old"), ("unsure", "old"), ("unsure but done", "new"), ("ok", "new")]
)
def test_a_read_that_waits_behind_a_write_sees_what_has_become_of_it(fate: str, value: str):
    made = world(WITH_LEDGER)
    made.settle()
    made.fate = ["ok", fate]
    made.ask(SetValueRequest("k", "old"))
    put, get = made.ask(SetValueRequest("k", "new")), made.ask(GetValueRequest("k"))
    delete = made.ask(DeleteValueRequest("missing"))
    made.deliver()
    made.settle()
    assert made.reply(put).success == (fate == "ok")
    assert made.reply(get) == GetValueReply("k", value)
    assert made.reply(delete).error == NO_SUCH_KEY


def test_a_second_delete_in_one_write_fails_with_it():
    made = world(WITH_LEDGER)
    made.rows = {b"k": b"v"}
    made.settle()
    made.fate = ["ok", "fails"]
    made.ask(SetValueRequest("other", "x"))
    numbers = [made.ask(DeleteValueRequest("k")), made.ask(DeleteValueRequest("k"))]
    made.deliver()
    made.settle()
    # Both are undone: the second would have deleted it, had the first not been there.
    assert [made.reply(number) for number in numbers] == [DeleteValueReply("k", success=False, error="no disk")] * 2
    assert made.now(GetValueRequest("k")) == GetValueReply("k", "v")


def test_a_table_that_cannot_be_read_refuses_and_is_tried_again():
    made = world(WITH_LEDGER)
    made.fate = ["fails", "fails"]
    early = made.ask(GetValueRequest("k"))
    made.deliver()
    made.perform_next()
    assert made.reply(early) == GetValueReply("k", None, "no disk")
    late = made.ask(SetValueRequest("k", "v"))
    made.deliver()
    assert made.reply(late) == SetValueReply("k", success=False, error="no disk")
    assert made.rows == {}
    made.settle()
    assert made.time_s == 1_000.0 + 2 * RETRY_S
    assert made.now(SetValueRequest("k", "v")).success


def test_while_a_table_is_read_again_other_keys_can_be_read():
    made = world(WITH_LEDGER)
    made.rows = {b"k": b"old", b"other": b"o"}
    made.settle()
    made.fate = ["unsure but done", "fails"]
    put = made.ask(SetValueRequest("k", "new"))
    made.deliver()
    made.perform_next()
    assert made.reply(put) == SetValueReply("k", success=False, error="no answer")
    held, other = made.ask(GetValueRequest("k")), made.ask(GetValueRequest("other"))
    write = made.ask(SetValueRequest("other", "p"))
    made.deliver()
    assert (made.reply(held), made.reply(write)) == (None, None)
    assert made.reply(other) == GetValueReply("other", "o")
    made.perform_next()
    assert made.reply(held).error == made.reply(write).error == "no disk"
    still, doubtful = made.ask(GetValueRequest("other")), made.ask(GetValueRequest("k"))
    made.deliver()
    assert made.reply(still) == GetValueReply("other", "o")
    assert made.reply(doubtful).error == "no disk"
    made.settle()
    assert made.now(GetValueRequest("k")) == GetValueReply("k", "new")
    assert made.state.keeping.phase is Phase.READY


def test_somebody_elses_table_is_left_alone():
    made = world(WITH_LEDGER)
    made.rows = {b"k": 7}
    get = made.ask(GetValueRequest("k"))
    made.deliver()
    made.perform_next()
    error = made.reply(get).error
    assert "local_key_value_storage of ledger is another engine's" in error
    assert "b'k' with 7" in error
    made.rows = {}
    assert made.now(GetValueRequest("k")) == GetValueReply("k", None, error)
    assert made.now(GetValueRequest("k")) == GetValueReply("k", None)


def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engines.keeping.behaviour.MAX_WAITING", 2)
    made = world(WITH_LEDGER)
    numbers = [made.ask(GetValueRequest("k")) for _ in range(3)]
    made.deliver()
    assert made.reply(numbers[2]).error == "2 requests wait for the ledger already"
    made.settle()
    assert [made.reply(number).error for number in numbers[:2]] == [None, None]
    assert MAX_WAITING > 1000


def test_settings():
    assert start(None) == start([]) == start({}) == start({Atom("node_id"): 1})
    assert start({Atom("ledger"): b"ledger"})[0].ledger == "ledger"
    assert start({Atom("ledger"): (Atom("n@h"), Atom("l"))})[0].ledger == EngineID("n@h", "l")
    for wrong in (7, {Atom("ledger"): 7}, {Atom("tabel"): b"x"}, [1]):
        with pytest.raises(ValueError, match="expected|should"):
            start(wrong)
