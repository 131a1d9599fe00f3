"""A turn that is put together step by step, for behaviours whose actions have many parts.

Nothing of it lasts: a `Work` begins with a turn, and ends as its effects.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from engines.effects import CancelTimer, Effects, Exit, SetTimer, Spawn, StopChild, Unwatch, Watch
from engines.guards import GuardOutput, Seq, Turn
from engines.messages import Address, Envelope, Message
from engines.network_registry.adverts import is_remote

State = TypeVar("State")


class Work(Generic[State]):
    """The effects of a turn so far.

    Attributes:
        state: as it is by now.
    """

    __slots__ = (
        "exit",
        "messages",
        "operations",
        "replies",
        "spawns",
        "state",
        "timers",
        "turn",
        "watches",
    )

    def __init__(self, turn: Turn[State]) -> None:
        self.turn = turn
        self.state = turn.state
        self.replies: list[Message] = []
        self.messages: list[Envelope] = []
        self.timers: list[SetTimer | CancelTimer] = []
        self.spawns: list[Spawn | StopChild] = []
        self.operations: list[Any] = []
        self.watches: list[Watch | Unwatch] = []
        self.exit: Exit | None = None

    @property
    def settings(self) -> Any:
        return self.turn.settings

    @property
    def now(self) -> float:
        return self.turn.time_s

    def send(self, target: Address, message: Message, *, reference: Any = None) -> None:
        """Add a message from the engine."""
        self.messages.append(self.turn.send(target, message, reference=reference))

    def effects(self) -> Effects[State]:
        """All of it."""
        return Effects(
            self.state,
            tuple(self.replies),
            tuple(self.messages),
            tuple(self.timers),
            tuple(self.spawns),
            tuple(self.operations),
            (),
            tuple(self.watches),
            None,
            self.exit,
        )


def ignore(turn: Turn[Any], _args: None) -> Effects[Any]:
    """Do nothing, and say nothing of it."""
    return Effects(turn.state)


def ignore_remote(turn: Turn[Any]) -> GuardOutput[Any] | None:
    """Holds for what else comes from other nodes, and does nothing.

    The last guard of engines that other nodes may write to: what is dropped otherwise makes a line in the log, and they
    could fill it.
    """
    return GuardOutput(Seq(ignore)) if is_remote(turn.sender) else None
