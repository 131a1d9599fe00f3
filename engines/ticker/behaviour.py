"""What the Ticker does: counts increments, and tells how many.

Pure: a function of environment and message to effects.

Source: nspec v0.2.0, "Ticker behaviour": guards First[increment, countReply].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from engines.effects import Effects
from engines.guards import NO_SETTINGS, EngineBehaviour, First, Turn, on
from engines.ticker.messages import MESSAGES, CountReply, CountRequest, Increment
from erlang_bridge.terms import Atom, Map

COUNTER: Final = Atom("counter")


@dataclass(frozen=True, slots=True)
class TickerState:
    """The Ticker's state."""

    counter: int = 0


def initial_state(args: Any) -> TickerState:
    """The first state, of the argument given at start.

    An integer is the value to begin with, and so is the ``counter`` of a map. ``nil``, an empty list, and a map without
    ``counter`` mean 0: what an Elixir supervisor passes to all of its engines, such as ``%{node_id: ...}``, will do.

    Raises:
        ValueError: anything else.

    Example:
        >>> initial_state({}), initial_state(41)
        (TickerState(counter=0), TickerState(counter=41))
    """
    if isinstance(args, (dict, Map)):
        args = args.get(COUNTER)
    if args is None or args == []:
        return TickerState()
    if isinstance(args, int) and not isinstance(args, bool):
        return TickerState(args)
    raise ValueError(f"expected an integer, nil, or a map, perhaps with an integer counter, got {args!r}")


def increment(turn: Turn[TickerState], _args: None) -> Effects[TickerState]:
    """Raise the counter by one."""
    return Effects(replace(turn.state, counter=turn.state.counter + 1))


def count_reply(turn: Turn[TickerState], _args: None) -> Effects[TickerState]:
    """Answer with the counter; the state stays."""
    return Effects(turn.state, replies=(CountReply(turn.state.counter),))


def start(args: Any) -> tuple[None, TickerState]:
    """No settings, and the first state; see `initial_state`."""
    return NO_SETTINGS, initial_state(args)


BEHAVIOUR: Final[EngineBehaviour[TickerState]] = EngineBehaviour(
    "ticker", MESSAGES, start, First(on(Increment, increment), on(CountRequest, count_reply))
)
