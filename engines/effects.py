"""What a turn of an engine does to the world, as a value. `engine.Engine` carries it out.

Pure: no processes, no clock.

Source: nspec v0.2.0, "Engine behaviour", ``ActionEffect``; replies, operations, watches, the cancelling of timers and
`Exit` are ours.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from engines.messages import Address, Envelope, Message

State = TypeVar("State")


class _Unchanged:
    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = _Unchanged()
"""Stands for what an effect leaves as it is, where None would be a value."""


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
class SetMailbox:
    """Change one of the engine's mailboxes.

    Attributes:
        state: the mailbox's own state from now on.
        open: whether its messages are taken. Those of a closed one wait, in order, until it is opened.
    """

    mailbox: int
    state: Any = UNCHANGED
    open: bool | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Have the engine get `Ended` when the one at `address` ends, or is not there. Twice is once."""

    address: Address


@dataclass(frozen=True, slots=True)
class Unwatch:
    """End a `Watch`; none there: nothing happens."""

    address: Address


@dataclass(frozen=True, slots=True)
class StopChild:
    """End an engine that this one has spawned, with ``shutdown``. None of that name: nothing happens."""

    name: str


@dataclass(frozen=True, slots=True)
class Exit:
    """End the engine with `reason`, a term, after everything else of the turn."""

    reason: Any


@dataclass(frozen=True, slots=True)
class Effects(Generic[State]):
    """The outcome of one action, or of one turn.

    Carried out in this order: the new state and mailboxes, spawns, watches, messages, replies, timers, operations,
    exit. So a message to an engine that is started in the same turn reaches it.

    Attributes:
        state: the whole new state of the engine.
        replies: to the sender of the message that the turn is about.
        messages: to anybody.
        operations: what the world outside of the engines has to do: values of the engine's own, which its ``perform``
            carries out. What comes of one is a message from the engine to itself.
        acquaintances: the whole new set; None leaves it.
    """

    state: State
    replies: tuple[Message, ...] = ()
    messages: tuple[Envelope, ...] = ()
    timers: tuple[SetTimer | CancelTimer, ...] = ()
    spawns: tuple[Spawn | StopChild, ...] = ()
    operations: tuple[Any, ...] = ()
    mailboxes: tuple[SetMailbox, ...] = ()
    watches: tuple[Watch | Unwatch, ...] = ()
    acquaintances: frozenset[str] | None = None
    exit: Exit | None = None

    def then(self, later: Effects[State]) -> Effects[State]:
        """The two as one: the later's state, and what both of them do in order."""
        return Effects(
            later.state,
            self.replies + later.replies,
            self.messages + later.messages,
            self.timers + later.timers,
            self.spawns + later.spawns,
            self.operations + later.operations,
            self.mailboxes + later.mailboxes,
            self.watches + later.watches,
            self.acquaintances if later.acquaintances is None else later.acquaintances,
            self.exit or later.exit,
        )
