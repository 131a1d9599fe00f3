"""Guarded actions: how an engine decides what a message or a timer makes it do.

A guard looks at the turn and gives None, or the actions to run and arguments for them. Guards are tried in order
(`First`), and the actions of the first that holds run one after the other (`Seq`), each seeing the environment that the
one before has made. An action may give None: it is left out. A turn in which no guard holds, or every action gave None,
changes nothing.

Guards and actions are functions of their arguments alone: that makes an engine testable, and its runs repeatable,
without a node.

Differences from the specification, which concern every engine:

* Guards are evaluated by `First`. ``Any`` has no meaning there that its simulator keeps to, and no engine uses it.
* Timers have a handle, which a later one of the same handle replaces; they can be cancelled, and they fire: all that
  are due in one turn, in due order. There nothing fires them.
* An engine can end (`Exit`), stop its children, and watch others; what it wants of the world is an operation. There is
  none of that there.
* An address without a node means the own node, for who sends and for guards that ask whether a sender is local. There
  such a message is dropped, and no sender ever looks local.
* Engines that a turn starts are there before its messages go out; a name that is taken ends the turn with a crash.
  There the old engine is silently replaced.
* A request may carry a reference, and its replies carry it too. Patterns and kinds of messages, which only the tutorial
  there has, are left out; the parent of an engine, which only the prose has, is in its configuration.
* Mailboxes can be closed and opened. A message for one that is not there is not handled.
* Times of turns and timers are in seconds. There absolute times are minutes, and relative ones seconds.
* An identity's name is a hash, its keys are keys, and the address of an engine is an address; there three types are
  used for one thing. Keys, evidence and names can be compared and hashed; there keys are all equal in order.
* What a request can come to is told apart by name; there the order of ``Result`` arguments differs between engines.

Source: nspec v0.2.0, "Engine behaviour".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from engines.effects import Effects
from engines.environment import DEFAULT_MAILBOXES, Environment, Mailbox
from engines.messages import Address, EngineID, Envelope, Message

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What stays the same for the life of an engine.

    Attributes:
        node: full name of its node.
        name: its own there.
        settings: what its type of engine is configured with, the specification's ``cfg``.
        parent: the engine that has started it; None: a supervisor, or a person.
    """

    node: str
    name: str
    settings: Any = None
    parent: EngineID | None = None

    @property
    def engine_id(self) -> EngineID:
        """Its address for others. Always with the node."""
        return EngineID(self.node, self.name)


@dataclass(frozen=True, slots=True)
class Started:
    """Trigger of an engine's first turn, before any message."""


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """Trigger of a turn: a message."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Trigger of a turn: timers are due; their handles, in due order."""

    handles: tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """Trigger of a turn: an engine that this one has spawned, or watches, has ended.

    Attributes:
        address: a child's is its `EngineID`; of one that is watched it is the address given to `Watch`.
        reason: a term.
    """

    address: Address
    reason: Any


Trigger = Started | MessageArrived | Elapsed | Ended


@dataclass(frozen=True, slots=True)
class Turn(Generic[State]):
    """All that guards and actions may look at.

    Attributes:
        time_s: when the turn began, in seconds since 1970-01-01 UTC.
    """

    config: EngineConfig
    environment: Environment[State]
    trigger: Trigger
    time_s: float

    @property
    def state(self) -> State:
        return self.environment.state

    @property
    def settings(self) -> Any:
        """What its type of engine is configured with."""
        return self.config.settings

    @property
    def own(self) -> EngineID:
        """The engine's own address, with its node."""
        return self.config.engine_id

    @property
    def envelope(self) -> Envelope:
        """The envelope that the turn is about.

        Raises:
            TypeError: no message began the turn.
        """
        if not isinstance(self.trigger, MessageArrived):
            raise TypeError(f"the turn is about {self.trigger}, and no message")
        return self.trigger.envelope

    @property
    def message(self) -> Message | None:
        """The message that the turn is about; None where something else began it."""
        return self.trigger.envelope.message if isinstance(self.trigger, MessageArrived) else None

    @property
    def ended(self) -> Ended:
        """The end that the turn is about.

        Raises:
            TypeError: none is.
        """
        if not isinstance(self.trigger, Ended):
            raise TypeError(f"the turn is about {self.trigger}, and nobody's end")
        return self.trigger

    @property
    def handles(self) -> tuple[Hashable, ...]:
        """Handles of the timers that the turn is about, in due order.

        Raises:
            TypeError: none are.
        """
        if not isinstance(self.trigger, Elapsed):
            raise TypeError(f"the turn is about {self.trigger}, and no timers")
        return self.trigger.handles

    @property
    def sender(self) -> Address | None:
        """Who sent the message that the turn is about; None where that is not known, or there is no message."""
        return self.trigger.envelope.sender if isinstance(self.trigger, MessageArrived) else None

    @property
    def from_itself(self) -> bool:
        """Whether the message is the outcome of one of the engine's operations, or one it has sent itself."""
        return self.sender == self.own

    def is_local(self, address: Address | None) -> bool:
        """Whether an address is on the engine's own node."""
        if address is None:
            return False
        node = address.node if isinstance(address, EngineID) else address.node.name
        return node is None or node == self.config.node

    def send(self, target: Address, message: Message, *, mailbox: int | None = 0, reference: Any = None) -> Envelope:
        """An envelope from this engine, for `Effects.messages`."""
        return Envelope(self.own, target, message, mailbox, reference)

    def with_environment(self, environment: Environment[State]) -> Turn[State]:
        return Turn(self.config, environment, self.trigger, self.time_s)


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
class On(Generic[State]):
    """A guard as data: holds for one kind of trigger. Made by `on`, `on_started`, `on_elapsed`, `on_ended`.

    Attributes:
        trigger: the kind of trigger.
        message: the type of message; None where the trigger is another.
        when: a further condition, of the turn.
    """

    trigger: type
    message: type[Message] | None
    actions: Seq[State]
    when: Callable[[Turn[State]], bool] | None = None

    def __call__(self, turn: Turn[State]) -> GuardOutput[State] | None:
        trigger = turn.trigger
        if type(trigger) is not self.trigger:
            return None
        if self.message is not None and type(trigger.envelope.message) is not self.message:  # type: ignore[union-attr]
            return None
        if self.when is not None and not self.when(turn):
            return None
        return GuardOutput(self.actions)


def on(message: type[Message], *actions: Action[Any], when: Callable[[Turn[Any]], bool] | None = None) -> On[Any]:
    """Holds for messages of that type, where `when` does: run the actions."""
    return On(MessageArrived, message, Seq(*actions), when)


def on_outcome(message: type[Message], *actions: Action[Any]) -> On[Any]:
    """Holds for messages of that type from the engine itself: what came of an operation."""
    return On(MessageArrived, message, Seq(*actions), _from_itself)


def on_started(*actions: Action[Any]) -> On[Any]:
    """Holds in the first turn."""
    return On(Started, None, Seq(*actions))


def on_elapsed(*actions: Action[Any], when: Callable[[Turn[Any]], bool] | None = None) -> On[Any]:
    """Holds when timers are due."""
    return On(Elapsed, None, Seq(*actions), when)


def on_ended(*actions: Action[Any], when: Callable[[Turn[Any]], bool] | None = None) -> On[Any]:
    """Holds when a child, or one that is watched, has ended."""
    return On(Ended, None, Seq(*actions), when)


def _from_itself(turn: Turn[Any]) -> bool:
    return turn.from_itself


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
        start: of the argument given at start: the settings, and the first state. Raises ValueError: no such argument.
        guards: what it does.
        mailboxes: those it begins with; the default one is always there.
        traps_exits: whether a child's end is a trigger (`Ended`). Without it the end of a child ends the engine, unless
            the reason is ``normal``.
    """

    name: str
    messages: tuple[type[Message], ...]
    start: Callable[[Any], tuple[Any, State]]
    guards: First[State]
    mailboxes: Mapping[int, Mailbox] = field(default_factory=lambda: DEFAULT_MAILBOXES)
    traps_exits: bool = False

    def first_environment(self, state: State) -> Environment[State]:
        """What an engine of the type begins with."""
        mailboxes = self.mailboxes
        if mailboxes is not DEFAULT_MAILBOXES:
            mailboxes = {**DEFAULT_MAILBOXES, **mailboxes}
        return Environment(state, mailboxes)


NO_SETTINGS: Final = None
"""What `EngineBehaviour.start` gives as settings where a type of engine has none."""


def evaluate(behaviour: EngineBehaviour[State], turn: Turn[State]) -> Effects[State] | None:
    """What the behaviour does in `turn`; None where it does nothing at all."""
    for guard in behaviour.guards.guards:
        output = guard(turn)
        if output is not None:
            return run(output, turn)
    return None


def run(output: GuardOutput[State], turn: Turn[State]) -> Effects[State] | None:
    """Run the actions of a guard that holds. After one that ends the engine no other runs."""
    actions = output.actions.actions
    if len(actions) == 1:
        return actions[0](turn, output.args)
    total: Effects[State] | None = None
    before = turn.environment
    for action in actions:
        effects = action(turn, output.args)
        if effects is None:
            continue
        total = effects if total is None else total.then(effects)
        if total.exit is not None:
            break
        turn = turn.with_environment(before.after(total, turn.time_s))
    return total


def step(
    behaviour: EngineBehaviour[State],
    config: EngineConfig,
    environment: Environment[State],
    trigger: Trigger,
    time_s: float,
) -> tuple[Environment[State], Effects[State] | None]:
    """One turn: the environment after it, and what it does; None where it does nothing.

    A message for a mailbox that is closed is put there, and waits. One for a mailbox that is not there does nothing.
    """
    if type(trigger) is MessageArrived:
        mailbox = environment.mailboxes.get(trigger.envelope.mailbox or 0)
        if mailbox is None:
            return environment, None
        if not mailbox.open:
            return environment.hold(trigger.envelope), Effects(environment.state)
    elif type(trigger) is Elapsed:
        environment = environment.without_timers(trigger.handles)
    effects = evaluate(behaviour, Turn(config, environment, trigger, time_s))
    return (environment, None) if effects is None else (environment.after(effects, time_s), effects)


def replay(
    behaviour: EngineBehaviour[State],
    config: EngineConfig,
    environment: Environment[State],
    triggers: list[tuple[float, Trigger]],
) -> tuple[Environment[State], list[Effects[State] | None]]:
    """Run an engine through what has begun its turns before.

    Args:
        triggers: times in seconds since 1970-01-01 UTC, and what began the turns.

    Returns:
        Where it ends, and what each turn does. Two replays give equal results.
    """
    done = []
    for time_s, trigger in triggers:
        environment, effects = step(behaviour, config, environment, trigger, time_s)
        done.append(effects)
    return environment, done
