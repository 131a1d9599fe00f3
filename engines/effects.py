"""What a turn of an engine does to the world, as a value. `engine.Engine` carries it out.

Pure: no processes, no clock.

Source: nspec v0.2.0, "Engine behaviour", ``ActionEffect``; replies, the cancelling of timers and `Exit` are ours.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from engines.messages import Envelope, Message

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Have the engine get `Elapsed` with `handle` in `delay_s` seconds. A timer of the same handle is replaced."""

    handle: Hashable
    delay_s: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Take a timer back; one that is not set, or is due already, does not matter."""

    handle: Hashable


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start another engine on the same node, linked with this one.

    Attributes:
        engine: its type, as the node knows it.
        args: for its start.
        name: what it is registered as. Taken already: this engine's turn crashes.
    """

    engine: str
    args: Any
    name: str


@dataclass(frozen=True, slots=True)
class Exit:
    """End the engine with `reason`, a term, after everything else of the turn."""

    reason: Any


@dataclass(frozen=True, slots=True)
class Effects(Generic[State]):
    """The outcome of one action, or of one turn.

    Carried out in this order: the new state, spawns, messages, replies, timers, exit. So a message to an engine that
    is started in the same turn reaches it.

    Attributes:
        state: the whole new state of the engine.
        replies: to the sender of the message that the turn is about.
        messages: to anybody.
    """

    state: State
    replies: tuple[Message, ...] = ()
    messages: tuple[Envelope, ...] = ()
    timers: tuple[SetTimer | CancelTimer, ...] = ()
    spawns: tuple[Spawn, ...] = ()
    exit: Exit | None = None

    def then(self, later: Effects[State]) -> Effects[State]:
        """The two as one: the later's state, and what both of them do in order."""
        return Effects(
            later.state,
            self.replies + later.replies,
            self.messages + later.messages,
            self.timers + later.timers,
            self.spawns + later.spawns,
            self.exit or later.exit,
        )
