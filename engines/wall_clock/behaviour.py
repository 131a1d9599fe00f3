"""What the Wall Clock does: tells the time, which never goes back.

Pure: a function of environment, message and time to effects.

Differences from the specification:

* The unit is milliseconds since 1970-01-01 UTC; the specification leaves open whether it is seconds or milliseconds.
* ``advanceTime`` is the later of the time told last and that of the machine, so that replies stay in order when the
  machine's clock is set back; the specification has it as an axiom.

Source: nspec v0.2.0, "Wall Clock Behaviour".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from engines.effects import Effects
from engines.guards import NO_SETTINGS, EngineBehaviour, First, Turn, on
from engines.wall_clock.messages import MESSAGES, GetTime, GetTimeResult


@dataclass(frozen=True, slots=True)
class WallClockState:
    """The time that was told last.

    Attributes:
        current_time: milliseconds since 1970-01-01 UTC.
    """

    current_time: int = 0


def advance_time(current_time: int, time_s: float) -> int:
    """The time to tell, in milliseconds.

    Args:
        current_time: what was told last, in milliseconds.
        time_s: the machine's time in seconds.

    Example:
        >>> advance_time(0, 1.5), advance_time(2000, 1.5)
        (1500, 2000)
    """
    return max(current_time, int(time_s * 1000))


def get_time(turn: Turn[WallClockState], _args: None) -> Effects[WallClockState]:
    """Advance the time, and answer with it."""
    now = advance_time(turn.state.current_time, turn.time_s)
    return Effects(WallClockState(now), replies=(GetTimeResult(now),))


def start(_args: Any) -> tuple[None, WallClockState]:
    """No settings, whatever the argument, and the first state."""
    return NO_SETTINGS, WallClockState()


BEHAVIOUR: Final[EngineBehaviour[WallClockState]] = EngineBehaviour(
    "wall_clock", MESSAGES, start, First(on(GetTime, get_time))
)
