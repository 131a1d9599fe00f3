"""The Ticker without a node: E2 of the specification's test properties, by replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.effects import Effects
from engines.environment import Environment
from engines.guards import Elapsed, EngineConfig, MessageArrived, Turn, evaluate
from engines.messages import EngineID, Envelope, Message
from engines.ticker.behaviour import BEHAVIOUR, TickerState, initial_state
from engines.ticker.messages import (
    CountReply,
    CountRequest,
    Increment,
    from_call,
    from_cast,
    to_reply,
)
from erlang_bridge.terms import Atom, Map

CONFIG = EngineConfig("py@127.0.0.1", "ticker")


def step(state: TickerState, message: Message, sender: str = "somebody") -> Effects[TickerState] | None:
    envelope = Envelope(EngineID("beam@127.0.0.1", sender), CONFIG.engine_id, message)
    return evaluate(BEHAVIOUR, Turn(CONFIG, Environment(state), MessageArrived(envelope), 0.0))


@dataclass(frozen=True)
class Event:
    sender: str
    message: Message


events = st.lists(st.builds(Event, st.sampled_from("abc"), st.sampled_from([Increment(), CountRequest()])), max_size=60)


@given(events, st.integers())
def test_a_count_is_the_number_of_increments_before_it(trace: list[Event], start: int):
    state = initial_state(start)
    increments = 0
    by_sender = dict.fromkeys("abc", 0)
    for event in trace:
        effects = step(state, event.message, event.sender)
        assert effects is not None
        if isinstance(event.message, Increment):
            increments += 1
            by_sender[event.sender] += 1
            assert effects == Effects(TickerState(start + increments))
        else:
            # The order in which they were handled is the linearisation; each sender finds all of its own in it.
            assert effects == Effects(state, replies=(CountReply(start + increments),))
            assert increments >= by_sender[event.sender]
        state = effects.state
    assert state == TickerState(start + increments)


@given(st.lists(st.sampled_from([Increment(), CountRequest()]), max_size=40))
def test_of_one_sender_a_count_is_the_number_of_its_own_increments(trace: list[Message]):
    state = initial_state(None)
    own = 0
    for message in trace:
        effects = step(state, message)
        assert effects is not None
        own += isinstance(message, Increment)
        if effects.replies:
            assert effects.replies == (CountReply(own),)
        state = effects.state


@given(st.lists(st.sampled_from([Increment(), CountRequest()]), max_size=20))
def test_the_same_messages_give_the_same_effects(trace: list[Message]):
    def replay() -> list[Any]:
        state, seen = initial_state(None), []
        for message in trace:
            effects = step(state, message)
            assert effects is not None
            seen.append(effects)
            state = effects.state
        return seen

    assert replay() == replay()


def test_other_messages_and_timers_do_nothing():
    assert step(TickerState(), CountReply(7)) is None
    assert evaluate(BEHAVIOUR, Turn(CONFIG, Environment(TickerState()), Elapsed(("t",)), 0.0)) is None


@pytest.mark.parametrize(
    ("args", "counter"),
    [
        (None, 0),
        ({}, 0),
        ([], 0),
        (0, 0),
        (41, 41),
        (-3, -3),
        (10**40, 10**40),
        ({Atom("counter"): 5}, 5),
        ({Atom("counter"): None}, 0),
        ({Atom("node_id"): b"anoma1"}, 0),
        (Map([(1, Atom("a")), (1.0, Atom("b"))]), 0),
    ],
)
def test_start_arguments(args: Any, counter: int):
    assert initial_state(args) == TickerState(counter)


@pytest.mark.parametrize("args", [True, 1.0, b"1", Atom("one"), [1], (1,), {Atom("counter"): b"5"}])
def test_start_arguments_that_are_none(args: Any):
    with pytest.raises(ValueError, match="expected an integer"):
        initial_state(args)


def test_the_plain_form():
    assert from_cast(Atom("increment")) == Increment()
    assert from_call(Atom("count")) == CountRequest()
    assert to_reply(CountReply(3)) == 3
    assert from_cast(Atom("count")) is None
    assert from_call(Atom("increment")) is None
    assert from_call((Atom("count"),)) is None
