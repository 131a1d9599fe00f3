"""E1 and E2 of the specification's test properties, for behaviours and runs that nobody has chosen."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from engines.effects import Effects, Exit
from engines.environment import Environment
from engines.guards import (
    EngineBehaviour,
    EngineConfig,
    First,
    GuardOutput,
    MessageArrived,
    Seq,
    Turn,
    replay,
    step,
)
from engines.messages import EngineID, Envelope, Message
from engines.simulation import NODE, Simulation
from engines.ticker.behaviour import BEHAVIOUR as TICKER
from engines.ticker.messages import CountReply, CountRequest, Increment

CONFIG = EngineConfig(NODE, "toy", settings=("as", "given"))


@dataclass(frozen=True, slots=True)
class Letter(Message):
    engine: ClassVar[str] = "toy"
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A guard: the letter it holds for, and what its actions append to the state; None: nothing, ".": the end."""

    letter: str
    actions: tuple[str | None, ...]


PLANS = st.lists(
    st.builds(
        Plan,
        st.sampled_from("abc"),
        st.lists(st.sampled_from([None, "x", "y", "."]), min_size=1, max_size=4).map(tuple),
    ),
    max_size=5,
)


def behaviour_of(plans: list[Plan], asked: list[int]) -> EngineBehaviour[str]:
    def guard_of(number: int, plan: Plan) -> Any:
        def action_of(piece: str | None) -> Any:
            def action(turn: Turn[str], args: Any) -> Effects[str] | None:
                assert args == plan.letter
                if piece is None:
                    return None
                # The state that it sees goes out with it: so that the test knows.
                letter = Letter(turn.state + piece)
                return Effects(turn.state + piece, replies=(letter,), exit=Exit(piece) if piece == "." else None)

            return action

        def guard(turn: Turn[str]) -> GuardOutput[str] | None:
            asked.append(number)
            assert turn.config is CONFIG
            if turn.message != Letter(plan.letter):
                return None
            return GuardOutput(Seq(*map(action_of, plan.actions)), plan.letter)

        return guard

    guards = (guard_of(number, plan) for number, plan in enumerate(plans))
    return EngineBehaviour("toy", (Letter,), lambda args: (None, args), First(*guards))


@settings(deadline=None, max_examples=60)
@given(PLANS, st.lists(st.sampled_from("abcd"), max_size=8))
def test_turns_are_as_the_specification_has_them(plans: list[Plan], letters: list[str]):
    asked: list[int] = []
    behaviour = behaviour_of(plans, asked)
    environment: Environment[str] = Environment("", acquaintances=frozenset({"friend"}))
    for letter in letters:
        asked.clear()
        before = environment
        held_by = next((number for number, plan in enumerate(plans) if plan.letter == letter), None)
        trigger = MessageArrived(Envelope(None, CONFIG.engine_id, Letter(letter)))
        environment, effects = step(behaviour, CONFIG, environment, trigger, 0.0)
        # First: in order, up to the one that holds.
        assert asked == list(range(len(plans) if held_by is None else held_by + 1))
        pieces: list[str] = [] if held_by is None else [p for p in plans[held_by].actions if p is not None]
        if "." in pieces:
            pieces = pieces[: pieces.index(".") + 1]
        if not pieces:
            # Unmatched, or void: nothing changes, nothing is sent.
            assert effects is None
            assert environment is before
            continue
        # Seq: each action sees the environment of the one before.
        seen = [before.state + "".join(pieces[: count + 1]) for count in range(len(pieces))]
        assert effects == Effects(seen[-1], replies=tuple(map(Letter, seen)), exit=Exit(".") if "." in pieces else None)
        assert environment == replace(before, state=seen[-1])


@settings(deadline=None, max_examples=60)
@given(PLANS, st.lists(st.sampled_from("abcd"), max_size=8))
def test_a_run_can_be_had_again(plans: list[Plan], letters: list[str]):
    behaviour = behaviour_of(plans, [])
    triggers: Any = [(0.0, MessageArrived(Envelope(None, CONFIG.engine_id, Letter(letter)))) for letter in letters]
    runs = [replay(behaviour, CONFIG, behaviour.first_environment(""), triggers) for _ in range(2)]
    assert runs[0] == runs[1]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), st.booleans()), max_size=30), st.integers(0, 2**32))
def test_counts_are_those_of_one_order_and_turns_of_an_engine_change_no_other(script: list[Any], seed: int):
    """E2: each count is the number of increments that have been handled before, in one order that all see."""
    world = Simulation({"ticker": TICKER})
    for name in ("one", "two"):
        world.spawn("ticker", 0, name)
    for name, increments in script:
        world.send(
            EngineID(None, name), Increment() if increments else CountRequest(), sender=EngineID("far@h", f"of {name}")
        )
    chooser = random.Random(seed)
    while choices := world.choices():
        others = {name: actor.environment for name, actor in world.engines.items()}
        event = choices[chooser.randrange(len(choices))]
        del others[event.engine]
        world.happen(event)
        assert all(world.engines[name].environment is environment for name, environment in others.items())
    for name in ("one", "two"):
        counts, increments = [], 0
        for happened in world.trace:
            if happened.event.engine == name and isinstance(happened.trigger, MessageArrived):
                if happened.trigger.envelope.message == Increment():
                    increments += 1
                else:
                    counts.append(CountReply(increments))
        assert world.received(f"of {name}") == counts
