"""Engines without a node: what is delivered, when, and what a crash does."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from engines.effects import CancelTimer, Effects, Exit, SetMailbox, SetTimer, Spawn, StopChild, Unwatch, Watch
from engines.environment import Environment, Mailbox
from engines.guards import (
    Elapsed,
    Ended,
    EngineBehaviour,
    EngineConfig,
    First,
    MessageArrived,
    Started,
    Turn,
    on,
    on_elapsed,
    on_ended,
    on_outcome,
    on_started,
    replay,
    step,
)
from engines.messages import EngineID, Envelope, Message
from engines.simulation import NODE, NOPROC, Simulation
from engines.ticker.behaviour import BEHAVIOUR as TICKER
from engines.ticker.behaviour import TickerState
from engines.ticker.messages import CountReply, CountRequest, Increment
from erlang_bridge.errors import ErlangError
from erlang_bridge.terms import Atom

ME = EngineID("elsewhere@127.0.0.1", "me")


@dataclass(frozen=True, slots=True)
class Do(Message):
    engine: ClassVar[str] = "doer"
    what: Any


@dataclass(frozen=True, slots=True)
class Done(Message):
    engine: ClassVar[str] = "doer"
    what: Any


def noted(turn: Turn[Any], what: Any, **effects: Any) -> Effects[Any]:
    return Effects((*turn.state, what), **effects)


def do(turn: Turn[Any], _args: None) -> Effects[Any]:
    match turn.message.what:  # type: ignore[union-attr]
        case ("effects", effects):
            return replace(effects, state=(*turn.state, "did"))
        case what:
            return noted(turn, what, replies=(Done(what),))


DOER = EngineBehaviour(
    "doer",
    (Do, Done),
    lambda args: (args, ()),
    First(
        on_started(lambda turn, _: noted(turn, "started")),
        on(Do, do),
        on_outcome(Done, lambda turn, _: noted(turn, ("outcome", turn.message.what))),
        on_elapsed(lambda turn, _: noted(turn, turn.trigger)),
        on_ended(lambda turn, _: noted(turn, turn.trigger)),
    ),
    {1: Mailbox("closed", open=False)},
    traps_exits=True,
)


def world(**options: Any) -> Simulation:
    made = Simulation({"doer": DOER, "ticker": TICKER}, lambda engine, operation: Done((engine, operation)), **options)
    made.spawn("doer", None, "doer")
    return made


def do_in(made: Simulation, **effects: Any) -> None:
    made.send(EngineID(None, "doer"), Do(("effects", Effects(None, **effects))), sender=ME)
    made.run(random.Random(1))


def state(made: Simulation, name: str = "doer") -> Any:
    return made.engines[name].environment.state


def test_a_first_turn_comes_before_messages_and_replies_go_out():
    made = world()
    made.send(EngineID(None, "doer"), Do(1), sender=ME)
    made.run(random.Random(1))
    assert state(made) == ("started", 1)
    assert made.received("me") == [Done(1)]


def test_an_ordered_world_keeps_the_order_of_each_pair_and_another_does_not():
    def counts(ordered: bool, seed: int) -> list[int]:
        made = Simulation({"ticker": TICKER}, ordered=ordered)
        made.spawn("ticker", 0, "ticker")
        for _ in range(3):
            made.send(EngineID(None, "ticker"), Increment(), sender=ME)
            made.send(EngineID(None, "ticker"), CountRequest(), sender=ME)
        made.run(random.Random(seed))
        return [message.counter for message in made.received("me") if isinstance(message, CountReply)]

    assert all(counts(True, seed) == [1, 2, 3] for seed in range(20))
    assert len({tuple(counts(False, seed)) for seed in range(20)}) > 1


def test_children_stop_crash_and_are_reported():
    made = world()
    do_in(made, spawns=(Spawn("ticker", 3, "child"),))
    assert state(made, "child") == TickerState(3)
    do_in(made, spawns=(StopChild("child"),))
    assert "child" not in made.engines
    assert state(made)[-1] == Ended(EngineID(NODE, "child"), Atom("shutdown"))
    do_in(made, spawns=(Spawn("ticker", 3, "child"),))
    made.crash("doer")
    assert not made.engines
    with pytest.raises(ErlangError, match="unknown_engine"):
        made.spawn("nobody", None, "nobody")


def test_operations_come_back_from_the_engine_itself_and_not_to_the_next_of_its_name():
    made = world()
    do_in(made, operations=("write",))
    assert state(made)[-1] == ("outcome", ("doer", "write"))
    made.send(EngineID(None, "doer"), Do(("effects", Effects(None, operations=("late",)))), sender=ME)
    while not any(event.kind == "operation" for event in made.choices()):
        made.happen(made.choices()[0])
    made.crash("doer")
    made.spawn("doer", None, "doer")
    made.run(random.Random(1))
    assert state(made) == ("started",)


def test_an_outcome_from_somebody_else_is_none():
    made = world()
    made.send(EngineID(None, "doer"), Done("forged"), sender=ME)
    made.run(random.Random(1))
    assert state(made) == ("started",)


def test_timers_fire_in_due_order_and_can_be_taken_back():
    made = world()
    timers = (SetTimer("b", 2.0), SetTimer("a", 1.0), SetTimer("c", 3.0), CancelTimer("c"))
    do_in(made, timers=timers)
    assert state(made)[-2:] == (Elapsed(("a",)), Elapsed(("b",)))
    assert made.time_s == 2.0
    assert not made.engines["doer"].environment.timers


def test_watches():
    made = world()
    made.spawn("ticker", 0, "ticker")
    at = EngineID(None, "ticker")
    do_in(made, watches=(Watch(at), Watch(EngineID(None, "nobody"))))
    made.crash("ticker", Atom("boom"))
    made.run(random.Random(1))
    assert state(made)[-2:] == (Ended(EngineID(None, "nobody"), NOPROC), Ended(at, Atom("boom")))
    made.spawn("ticker", 0, "ticker")
    do_in(made, watches=(Watch(at), Unwatch(at)))
    made.crash("ticker")
    made.run(random.Random(1))
    assert state(made)[-1] == "did"


def test_a_closed_mailbox_keeps_its_messages_until_it_is_opened():
    made = world()
    for what in (1, 2):
        made._post(Envelope(ME, EngineID(None, "doer"), Do(what), mailbox=1))
    made.run(random.Random(1))
    assert state(made) == ("started",)
    do_in(made, mailboxes=(SetMailbox(1, "mine", open=True),))
    assert state(made)[:2] == ("started", "did")
    assert set(state(made)[2:]) == {1, 2}
    assert made.engines["doer"].environment.mailboxes[1] == Mailbox("mine")


def test_an_unknown_mailbox_does_nothing():
    environment: Environment[Any] = Environment(())
    envelope = Envelope(ME, EngineID(None, "doer"), Do(1), mailbox=7)
    assert step(DOER, EngineConfig(NODE, "doer"), environment, MessageArrived(envelope), 0.0) == (environment, None)


def test_exit_ends_it_and_what_was_on_its_way_is_lost_when_it_is_not_there():
    made = world()
    do_in(made, exit=Exit(Atom("normal")))
    assert made.ends == [("doer", Atom("normal"))]
    made.send(EngineID(None, "doer"), Do(1), sender=ME)
    made.run(random.Random(1))
    assert made.received("me") == []


def test_a_run_can_be_replayed():
    triggers: list[Any] = [(0.0, Started())]
    triggers += [(float(n), MessageArrived(Envelope(ME, EngineID(NODE, "doer"), Do(n)))) for n in range(3)]
    config = EngineConfig(NODE, "doer")
    first = replay(DOER, config, DOER.first_environment(()), triggers)
    assert first == replay(DOER, config, DOER.first_environment(()), triggers)
    assert first[0].state == ("started", 0, 1, 2)
