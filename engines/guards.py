"""Guarded actions: how an engine decides what a message or a timer makes it do.

A guard looks at the turn and gives None, or the actions to run and arguments for them. Guards are tried in order
(`First`), and the actions of the first that holds run one after the other (`Seq`), each seeing the state that the one
before has made. An action may give None: it is left out. A turn in which no guard holds, or every action gave None,
changes nothing.

Guards and actions are functions of their arguments alone: that makes an engine testable, and its runs repeatable,
without a node.

Source: nspec v0.2.0, "Engine behaviour".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from engines.effects import Effects
from engines.messages import EngineID, Envelope, Message

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What stays the same for the life of an engine.

    Attributes:
        node: full name of its node.
        name: its own there.
    """

    node: str
    name: str

    @property
    def engine_id(self) -> EngineID:
        """Its address for others. Always with the node."""
        return EngineID(self.node, self.name)


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """Trigger of a turn: a message."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Trigger of a turn: timers are due; their handles, in due order."""

    handles: tuple[Hashable, ...]


Trigger = MessageArrived | Elapsed


@dataclass(frozen=True, slots=True)
class Turn(Generic[State]):
    """All that guards and actions may look at.

    Attributes:
        time_s: when the turn began, in seconds since 1970-01-01 UTC.
    """

    config: EngineConfig
    state: State
    trigger: Trigger
    time_s: float

    @property
    def message(self) -> Message | None:
        """The message that the turn is about; None where a timer began it."""
        return self.trigger.envelope.message if isinstance(self.trigger, MessageArrived) else None


Action = Callable[[Turn[State], Any], Effects[State] | None]


@dataclass(frozen=True, slots=True)
class Seq(Generic[State]):
    """Actions to run left to right."""

    actions: tuple[Action[State], ...]

    def __init__(self, *actions: Action[State]) -> None:
        object.__setattr__(self, "actions", actions)


@dataclass(frozen=True, slots=True)
class GuardOutput(Generic[State]):
    """A guard that holds: what to run, and `args` for each action."""

    actions: Seq[State]
    args: Any = None


Guard = Callable[[Turn[State]], GuardOutput[State] | None]


@dataclass(frozen=True, slots=True)
class First(Generic[State]):
    """Guards to try left to right, up to the first that holds."""

    guards: tuple[Guard[State], ...]

    def __init__(self, *guards: Guard[State]) -> None:
        object.__setattr__(self, "guards", guards)


@dataclass(frozen=True, slots=True)
class EngineBehaviour(Generic[State]):
    """One type of engine.

    Attributes:
        name: of the type, such as ``ticker``.
        messages: those it takes and sends.
        initial_state: of the argument given at start. Raises ValueError: no such argument.
        guards: what it does.
    """

    name: str
    messages: tuple[type[Message], ...]
    initial_state: Callable[[Any], State]
    guards: First[State]


def evaluate(behaviour: EngineBehaviour[State], turn: Turn[State]) -> Effects[State] | None:
    """What the behaviour does in `turn`; None where it does nothing at all."""
    for guard in behaviour.guards.guards:
        output = guard(turn)
        if output is not None:
            return run(output, turn)
    return None


def run(output: GuardOutput[State], turn: Turn[State]) -> Effects[State] | None:
    """Run the actions of a guard that holds. After one that ends the engine no other runs."""
    total: Effects[State] | None = None
    for action in output.actions.actions:
        effects = action(turn, output.args)
        if effects is None:
            continue
        total = effects if total is None else total.then(effects)
        if total.exit is not None:
            break
        turn = replace(turn, state=total.state)
    return total
