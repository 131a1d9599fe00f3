"""Guarded actions, as the specification has them (E1 of its test properties)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from engines.effects import CancelTimer, Effects, Exit, SetTimer, Spawn
from engines.environment import Environment
from engines.guards import (
    Elapsed,
    EngineBehaviour,
    EngineConfig,
    First,
    GuardOutput,
    MessageArrived,
    Seq,
    Turn,
    evaluate,
)
from engines.messages import EngineID, Envelope, Message

CONFIG = EngineConfig("py@127.0.0.1", "sample")


@dataclass(frozen=True, slots=True)
class Word(Message):
    engine: ClassVar[str] = "sample"
    text: str


def turn(text: str, state: Any = "state") -> Turn[Any]:
    return Turn(
        CONFIG, Environment(state), MessageArrived(Envelope(EngineID(None, "me"), CONFIG.engine_id, Word(text))), 0.0
    )


def behaviour(*guards: Any) -> EngineBehaviour[Any]:
    return EngineBehaviour("sample", (Word,), lambda args: (None, args), First(*guards))


def on(text: str, *actions: Any, args: Any = None) -> Any:
    def guard(turn: Turn[Any]) -> GuardOutput[Any] | None:
        return GuardOutput(Seq(*actions), args) if turn.message == Word(text) else None

    return guard


def append(piece: str) -> Any:
    return lambda turn, args: Effects(turn.state + piece, replies=(Word(piece),))


def nothing(turn: Turn[Any], args: Any) -> None:
    return None


def test_no_guard_holds():
    assert evaluate(behaviour(on("a", append("1"))), turn("b")) is None


def test_the_first_guard_that_holds_counts():
    chosen = evaluate(behaviour(on("b", append("0")), on("a", append("1")), on("a", append("2"))), turn("a", ""))
    assert chosen == Effects("1", replies=(Word("1"),))


def test_guards_after_the_first_that_holds_are_not_asked():
    def never(turn: Turn[Any]) -> None:
        raise AssertionError("asked")

    assert evaluate(behaviour(on("a", append("1")), never), turn("a", "")) is not None


def test_actions_see_the_state_of_the_one_before_and_effects_add_up():
    done = evaluate(behaviour(on("a", append("1"), append("2"), append("3"))), turn("a", "0"))
    assert done == Effects("0123", replies=(Word("1"), Word("2"), Word("3")))


def test_actions_get_what_the_guard_found():
    done = evaluate(behaviour(on("a", lambda turn, args: Effects(args), args=7)), turn("a"))
    assert done == Effects(7)


def test_an_action_that_gives_none_is_left_out():
    done = evaluate(behaviour(on("a", nothing, append("1"), nothing)), turn("a", ""))
    assert done == Effects("1", replies=(Word("1"),))


def test_a_turn_whose_actions_all_give_none_is_void():
    assert evaluate(behaviour(on("a", nothing, nothing)), turn("a")) is None


def test_nothing_runs_after_the_end():
    def end(turn: Turn[Any], args: Any) -> Effects[Any]:
        return Effects(turn.state, exit=Exit("done"))

    assert evaluate(behaviour(on("a", append("1"), end, append("2"))), turn("a", "")) == Effects(
        "1", replies=(Word("1"),), exit=Exit("done")
    )


def test_every_kind_of_effect_adds_up():
    one = Effects(1, timers=(SetTimer("t", 1.0),), spawns=(Spawn("ticker", 0, "a"),))
    two = Effects(2, timers=(CancelTimer("t"),), messages=(Envelope(None, EngineID(None, "b"), Word("x")),))
    assert one.then(two) == Effects(2, (), two.messages, (*one.timers, *two.timers), one.spawns)


def test_timers_begin_turns_without_a_message():
    elapsed = Turn(CONFIG, Environment(0), Elapsed(("a", "b")), 0.0)
    seen = behaviour(lambda turn: GuardOutput(Seq(lambda turn, args: Effects(elapsed.trigger))))
    assert elapsed.message is None
    assert evaluate(seen, elapsed) == Effects(Elapsed(("a", "b")))
