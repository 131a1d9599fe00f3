"""What the Wall Clock takes and sends.

Source: nspec v0.2.0, "Wall Clock Messages".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from engines.messages import Message


class WallClockMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "wall_clock"


@dataclass(frozen=True, slots=True)
class GetTime(WallClockMessage):
    """Ask for the time; `GetTimeResult` comes back."""


@dataclass(frozen=True, slots=True)
class GetTimeResult(WallClockMessage):
    """The time.

    Attributes:
        epoch_time: milliseconds since 1970-01-01 UTC; never less than in a reply before.
    """

    epoch_time: int


MESSAGES: Final = (GetTime, GetTimeResult)
