"""The Logging engine without a node: H2 of the specification's test properties, its bounds, and what lasts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.keeping.behaviour import RETRY_S
from engines.keeping.messages import LoadAppended, WriteAppended
from engines.logging.behaviour import (
    BEHAVIOUR,
    CUT,
    LoggingSettings,
    PassOn,
    entry_from_term,
    entry_to_term,
    start,
)
from engines.logging.messages import Append, Entry, Level, ReadReply, ReadRequest
from engines.messages import EngineID
from erlang_bridge.terms import Atom, Pid
from tests.table_worlds import ME, TableWorld

KEPT = LoggingSettings(ledger="ledger")
LEVELS = st.sampled_from(list(Level))


def world(options: Any = None, seed: int = 0) -> TableWorld:
    return TableWorld(BEHAVIOUR, options, seed=seed)


def texts(reply: ReadReply) -> list[str]:
    return [entry.value for entry in reply.entries]


def kept(made: TableWorld) -> list[str]:
    """What the ledger has, oldest first."""
    return [entry_from_term(term).value for _, term in made.appended]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.text(max_size=5), LEVELS), max_size=30),
    LEVELS,
    st.integers(-1, 35),
    st.none() | st.integers(-1, 35),
    st.integers(1, 12),
)
def test_the_log_is_what_was_appended_the_other_way_round(
    entries: list[tuple[str, Level]], level: Level, limit: int, before: int | None, capacity: int
):
    made = world(LoggingSettings(capacity=capacity))
    for value, at in entries:
        made.ask(Append(value, at))
    reply = made.now(ReadRequest(limit, level, before))
    numbered = [(number, value, at) for number, (value, at) in enumerate(entries, 1)]
    there = numbered[-capacity:]
    asked = [
        (number, value)
        for number, value, at in reversed(there)
        if at.rank >= level.rank and (before is None or number < before)
    ]
    assert [(entry.number, entry.value) for entry in reply.entries] == asked[: max(limit, 0)]
    assert reply.more == (len(asked) > max(limit, 0))
    assert reply.dropped == max(len(entries) - capacity, 0)
    assert len(made.state.logbook) == len(there)


def test_an_entry_says_when_it_came_and_from_whom():
    made = world()
    made.now(Append("hello", Level.NOTICE))
    assert made.now(ReadRequest()) == ReadReply((Entry(1, 1_000_000, Level.NOTICE, ME, "hello"),), False, 0, 0)


def test_pages():
    made = world()
    for number in range(5):
        made.now(Append(str(number)))
    first = made.now(ReadRequest(2))
    assert (texts(first), first.more) == (["4", "3"], True)
    second = made.now(ReadRequest(2, before=first.entries[-1].number))
    third = made.now(ReadRequest(2, before=second.entries[-1].number))
    assert (texts(second), texts(third), third.more) == (["2", "1"], ["0"], False)


def test_memory_is_bounded_by_characters_too():
    made = world(LoggingSettings(max_characters=100, max_entry=40))
    for number in range(50):
        made.now(Append(str(number) * 30))
        assert made.state.characters == sum(len(entry.value) for entry in made.state.logbook.values()) <= 100
    reply = made.now(ReadRequest())
    assert len(reply.entries[0].value) == 40
    assert reply.entries[0].value == "49" * 18 + "4" + CUT
    assert len(reply.entries) == 2


def test_entries_are_passed_on_from_a_level_on():
    made = world(LoggingSettings(level=Level.WARNING, logger="mine"))
    for level in Level:
        made.now(Append(level.value, level))
    passed = [(operation.logger, operation.entry.level) for operation in made.passed_on]
    assert passed == [("mine", level) for level in list(Level)[3:]]
    silent = world(LoggingSettings(logger=None))
    silent.now(Append("x", Level.EMERGENCY))
    assert silent.passed_on == []


def test_an_entry_is_what_the_ledger_makes_of_it():
    for source in (None, EngineID(None, "local"), EngineID("n@h", "far"), Pid(Atom("n@h"), 1, 2, 3)):
        for level in Level:
            entry = Entry(3, 17, level, source, "täxt")
            assert entry_from_term(entry_to_term(entry)) == entry
    for term in (7, (1, 2, 3), (1, 2, Atom("loud"), None, b""), (1, 2, Atom("info"), 7, b"")):
        with pytest.raises(ValueError, match=r"expected|not a valid"):
            entry_from_term(term)


def test_entries_are_written_many_at_a_time_and_nobody_waits():
    made = world(KEPT)
    made.settle()
    for number in range(4):
        made.ask(Append(str(number)))
    made.deliver()
    read = made.ask(ReadRequest())
    made.deliver()
    assert texts(made.reply(read)) == ["3", "2", "1", "0"]
    assert made.reply(read).lasting == 0
    made.settle()
    writes = [operation for operation in made.operations if isinstance(operation, WriteAppended)]
    assert [len(write.values) for write in writes] == [1, 3]
    assert kept(made) == ["0", "1", "2", "3"]
    assert made.now(ReadRequest()).lasting == 4


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.lists(st.sampled_from(["ok", "fails", "unsure", "unsure but done"]), max_size=10),
    st.integers(3, 12),
    st.integers(0, 2**32),
)
def test_the_log_lasts_over_restarts_and_a_ledger_that_fails(
    lives: list[int], fate: list[str], capacity: int, seed: int
):
    made = world(replace(KEPT, capacity=capacity, logger=None), seed)
    made.fate = fate
    all_texts: list[str] = []
    for life, count in enumerate(lives):
        for number in range(count):
            all_texts.append(f"{life}.{number}")
            made.ask(Append(all_texts[-1]))
        made.settle()
        there = [text for text in reversed(texts(made.now(ReadRequest(100)))) if "not written" not in text]
        # Complaints take room as well.
        assert there == all_texts[len(all_texts) - len(there) :]
        reply = made.now(ReadRequest(100))
        numbers = [entry.number for entry in reply.entries]
        assert numbers == sorted(set(numbers), reverse=True)
        assert reply.lasting == numbers[0]
        assert len(kept(made)) <= capacity
        assert kept(made)[-len(numbers) :] == texts(reply)[::-1]
        made.crash(BEHAVIOUR.name, lose=True)
        made.start()
    made.settle()
    assert texts(made.now(ReadRequest(100)))[::-1] == kept(made)[-capacity:]


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 20),
    st.lists(st.integers(0, 30), max_size=3),
    st.lists(st.sampled_from(["ok", "fails", "unsure", "unsure but done"]), max_size=6),
    st.integers(0, 2**32),
)
def test_a_crash_at_any_time_leaves_a_log_in_order_and_nothing_twice(
    count: int, crashes: list[int], fate: list[str], seed: int
):
    made = world(replace(KEPT, logger=None), seed)
    made.fate = fate
    for number in range(count):
        made.ask(Append(str(number)))
    steps = 0
    while made.choices() or made.fire():
        if steps in crashes:
            made.crash(BEHAVIOUR.name, lose=True)
            made.start()
        steps += 1
        choices = made.choices()
        made.happen(choices[made.random.randrange(len(choices))])
    numbers = [entry_from_term(term).number for _, term in made.appended]
    assert numbers == sorted(set(numbers))
    there = [int(text) for text in kept(made) if "not written" not in text]
    assert there == sorted(set(there))
    assert texts(made.now(ReadRequest(1000)))[::-1] == kept(made)


def test_who_asks_before_the_log_is_loaded_waits_and_what_comes_meanwhile_comes_after():
    made = world(replace(KEPT, logger=None))
    made.appended = [(7, entry_to_term(Entry(40, 1, Level.INFO, None, "old")))]
    made.last = 7
    made.ask(Append("new"))
    read = made.ask(ReadRequest())
    made.deliver()
    assert made.reply(read) is None
    assert isinstance(next(event.what for event in made.choices() if event.kind == "operation"), LoadAppended)
    made.settle()
    assert [(entry.number, entry.value) for entry in made.reply(read).entries] == [(41, "new"), (40, "old")]
    assert kept(made) == ["old", "new"]


def test_while_the_ledger_cannot_be_read_the_log_is_what_is_here():
    made = world(KEPT)
    made.fate = ["fails", "fails"]
    made.ask(Append("new"))
    read = made.ask(ReadRequest())
    made.deliver()
    made.perform_next()
    assert made.state.trouble == "no disk"
    assert texts(made.reply(read)) == ["new"]
    made.settle()
    assert made.time_s == 1_000.0 + 2 * RETRY_S
    complaint = "the logbook is not written: no disk"
    assert texts(made.now(ReadRequest())) == [complaint, "new"]
    assert made.state.trouble is None
    assert kept(made) == ["new", complaint]
    assert made.now(ReadRequest()).entries[0].source == EngineID("world@127.0.0.1", "logging")


def test_somebody_elses_sequence_is_left_alone():
    made = world(KEPT)
    made.appended = [(1, b"theirs")]
    made.now(Append("mine"))
    read = texts(made.now(ReadRequest()))
    assert "mine" in read
    assert any("has something else in it" in text for text in read)
    assert made.appended == [(1, b"theirs")]
    assert made.now(ReadRequest()).lasting == 0


def test_only_so_many_readers_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engines.logging.behaviour.MAX_WAITING", 2)
    made = world(KEPT)
    numbers = [made.ask(ReadRequest()) for _ in range(3)]
    made.deliver()
    assert [made.reply(number) is not None for number in numbers] == [True, False, False]
    made.settle()
    assert all(made.reply(number) is not None for number in numbers)


def test_settings():
    assert start({Atom("capacity"): 5, Atom("level"): Atom("error")})[0] == LoggingSettings(
        capacity=5, level=Level.ERROR
    )
    for wrong in ({Atom("capacity"): 0}, {Atom("level"): Atom("loud")}, {Atom("max_entry"): 2}, 7):
        with pytest.raises(ValueError, match="expected|should"):
            start(wrong)


def test_what_is_passed_on_is_the_entry_itself():
    made = world()
    made.now(Append("x", Level.ERROR))
    assert made.passed_on == [PassOn("anoma", Entry(1, 1_000_000, Level.ERROR, ME, "x"))]
