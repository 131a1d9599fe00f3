"""Engines in a world without a node: every delivery, timer, operation and crash is the caller's choice.

The engines are run by `guards.step`, as the processes are. What a test, or the documentation, wants to know of an order
in which things may happen, it asks here; and with a seed, `run` tries one at random::

    world = Simulation({"ticker": BEHAVIOUR})
    world.spawn("ticker", None, "ticker")
    world.send(EngineID(None, "ticker"), CountRequest(), sender=EngineID(None, "me"))
    world.run(random.Random(1))
    world.received("me")    # [CountReply(counter=0)]

Pure but for the caller's random numbers: no processes, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from engines.effects import Effects, Spawn, Unwatch, Watch
from engines.environment import Environment
from engines.guards import Elapsed, Ended, EngineBehaviour, EngineConfig, MessageArrived, Started, Trigger, step
from engines.messages import Address, EngineID, Envelope, Message
from erlang_bridge.errors import ErlangError
from erlang_bridge.terms import Atom

NODE: Final = "world@127.0.0.1"
SHUTDOWN: Final = Atom("shutdown")
NORMAL: Final = Atom("normal")
NOPROC: Final = Atom("noproc")
CRASHED: Final = Atom("crashed")


class Chooser(Protocol):
    """Who chooses among what may happen next: a `random.Random` is one."""

    def randrange(self, stop: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Event:
    """Something that may happen next.

    Attributes:
        number: in the order in which the events came up.
        kind: ``started``, ``message``, ``ended``, ``timer`` or ``operation``.
        engine: name of the one that it happens to.
        what: the envelope, the `Ended`, the timer's handle, or the operation.
        source: who it is from, for what is delivered in order.
    """

    number: int
    kind: str
    engine: str
    what: Any
    source: Any = None


@dataclass(slots=True)
class Actor:
    """One engine of the world."""

    type: str
    behaviour: EngineBehaviour[Any]
    config: EngineConfig
    environment: Environment[Any]
    parent: str | None
    incarnation: int
    started: bool = False
    children: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Happened:
    """One entry of the trace.

    Attributes:
        index: position in the trace.
        effects: None where the engine did nothing, or there was none.
    """

    index: int
    event: Event
    trigger: Trigger | None
    effects: Effects[Any] | None


Perform = Callable[[str, Any], Message | None]
"""Plays the world: name of the engine, and its operation, to the message that comes of it."""


def _nothing(_engine: str, operation: Any) -> Message | None:
    raise ValueError(f"this world performs no operations, and {operation!r} is asked for")


class Simulation:
    """A world of engines.

    Args:
        behaviours: type to behaviour; a `Spawn` names the type.
        perform: carries operations out.
        ordered: messages between two engines arrive in the order in which they were sent; otherwise in any.
        node: name of the node that they are on.

    Attributes:
        time_s: what the engines take for the time; `fire` moves it on.
        pending: what may happen next, oldest first.
        trace: everything that has happened.
        outside: envelopes to those that are no engines here, in the order in which they were sent.
        ends: the engines that have ended, and why, in order.
    """

    def __init__(
        self,
        behaviours: Mapping[str, EngineBehaviour[Any]],
        perform: Perform = _nothing,
        *,
        ordered: bool = False,
        node: str = NODE,
        time_s: float = 0.0,
    ) -> None:
        self.behaviours = dict(behaviours)
        self.perform = perform
        self.ordered = ordered
        self.node = node
        self.time_s = time_s
        self.engines: dict[str, Actor] = {}
        self.pending: dict[int, Event] = {}
        self.trace: list[Happened] = []
        self.outside: list[Envelope] = []
        self.ends: list[tuple[str, Any]] = []
        self.keep_trace = True
        self.on_end: Callable[[str, Actor, Any], None] | None = None
        """Called when an engine has ended: a supervisor, perhaps."""
        self._watchers: dict[str, dict[str, Address]] = {}
        self._names: set[str] = set()
        self._numbers = 0
        self._incarnations = 0

    # -- what others do to it -------------------------------------------------------------------

    def spawn(self, engine: str, args: Any, name: str, parent: str | None = None) -> Actor:
        """Start an engine. Its first turn is an event.

        Raises:
            ErlangError: ``already_started``, ``unknown_engine``. ValueError: no such arguments.
        """
        if name in self.engines:
            raise ErlangError((Atom("already_started"), Atom(name)))
        behaviour = self.behaviours.get(engine)
        if behaviour is None:
            raise ErlangError((Atom("unknown_engine"), Atom(engine)))
        settings, state = behaviour.start(args)
        above = None if parent is None else EngineID(self.node, parent)
        config = EngineConfig(self.node, name, settings, above)
        self._incarnations += 1
        actor = Actor(engine, behaviour, config, behaviour.first_environment(state), parent, self._incarnations)
        self.engines[name] = actor
        self._names.add(name)
        self._add("started", name, Started())
        return actor

    def send(self, target: Address, message: Message, *, sender: Address | None = None, reference: Any = None) -> None:
        """Put a message on its way."""
        self._post(Envelope(sender, target, message, reference=reference))

    def crash(self, name: str, reason: Any = CRASHED, *, lose: bool = False) -> None:
        """End an engine at once.

        Args:
            lose: messages that are on their way to it are lost, too: they were in its mailbox.
        """
        self._end(name, reason, lose=lose)

    def fire(self) -> bool:
        """Move the time on to the next timer that is due, and add what it begins. False: there is none."""
        due = [at for actor in self.engines.values() for at in actor.environment.timers.values()]
        if not due:
            return False
        self.time_s = max(self.time_s, min(due))
        for name, actor in self.engines.items():
            handles = actor.environment.due(self.time_s)
            if handles and not any(e.kind == "timer" and e.engine == name for e in self.pending.values()):
                self._add("timer", name, handles)
        return True

    # -- what happens next ----------------------------------------------------------------------

    def choices(self) -> list[Event]:
        """The events that may happen next.

        An engine's first turn comes before any other of its; in an `ordered` world a message waits for those that the
        same sender has sent to the same receiver before.
        """
        found = []
        blocked: set[Hashable] = set()
        for event in self.pending.values():
            actor = self.engines.get(event.engine)
            if actor is not None and not actor.started and event.kind != "started":
                continue
            if self.ordered and event.kind in ("message", "ended"):
                pair = (event.source, event.engine)
                if pair in blocked:
                    continue
                blocked.add(pair)
            found.append(event)
        return found

    def happen(self, event: Event) -> Happened:
        """Let one of the `choices` happen."""
        del self.pending[event.number]
        actor = self.engines.get(event.engine)
        if event.kind == "operation":
            return self._operate(event, actor)
        if actor is None:
            return self._record(event, None, None)
        trigger: Trigger
        if event.kind == "message":
            trigger = MessageArrived(event.what)
        elif event.kind == "timer":
            due = actor.environment.due(self.time_s)
            if not due:
                return self._record(event, None, None)
            trigger = Elapsed(due)
        else:
            trigger = event.what
            actor.started = True
        return self._record(event, trigger, self._turn(event.engine, actor, trigger))

    def run(self, chooser: Chooser, most: int = 100_000, *, timers: bool = True) -> int:
        """Let events happen, as `chooser` has it, until nothing can any more.

        Args:
            timers: when nothing else is left, the next timer is.

        Returns:
            How many there were.

        Raises:
            RuntimeError: more than `most`.
        """
        for count in range(most):
            choices = self.choices()
            if not choices:
                if not (timers and self.fire()):
                    return count
                continue
            self.happen(choices[chooser.randrange(len(choices))])
        raise RuntimeError(f"the world is not quiet after {most} events")

    def received(self, name: str) -> list[Message]:
        """The messages to one outside of the world, in the order in which they were sent."""
        return [
            envelope.message
            for envelope in self.outside
            if isinstance(envelope.target, EngineID) and envelope.target.name == name
        ]

    # -- pieces ---------------------------------------------------------------------------------

    def _add(self, kind: str, engine: str, what: Any, source: Any = None) -> None:
        self._numbers += 1
        self.pending[self._numbers] = Event(self._numbers, kind, engine, what, source)

    def _post(self, envelope: Envelope) -> None:
        target = envelope.target
        # What is sent to one that has ended is lost, or finds the next of its name.
        if isinstance(target, EngineID) and target.node in (None, self.node) and target.name in self._names:
            self._add("message", target.name, envelope, envelope.sender)
        else:
            self.outside.append(envelope)

    def _record(self, event: Event, trigger: Trigger | None, effects: Effects[Any] | None) -> Happened:
        happened = Happened(len(self.trace), event, trigger, effects)
        if self.keep_trace:
            self.trace.append(happened)
        return happened

    def _operate(self, event: Event, actor: Actor | None) -> Happened:
        """An operation is done whether or not the engine is still there; only the same one hears of it."""
        message = self.perform(event.engine, event.what)
        if message is not None and actor is not None and actor.incarnation == event.source:
            own = actor.config.engine_id
            self._add("message", event.engine, Envelope(own, own, message), own)
        return self._record(event, None, None)

    def _turn(self, name: str, actor: Actor, trigger: Trigger) -> Effects[Any] | None:
        actor.environment, effects = step(actor.behaviour, actor.config, actor.environment, trigger, self.time_s)
        if effects is None:
            return None
        self._carry_out(name, actor, trigger, effects)
        if effects.mailboxes and effects.exit is None:
            for envelope in self._let_out(actor):
                self._turn(name, actor, MessageArrived(envelope))
        if effects.exit is not None and name in self.engines:
            self._end(name, effects.exit.reason)
        return effects

    @staticmethod
    def _let_out(actor: Actor) -> Iterator[Envelope]:
        while (taken := actor.environment.take()) is not None:
            envelope, actor.environment = taken
            yield envelope

    def _carry_out(self, name: str, actor: Actor, trigger: Trigger, effects: Effects[Any]) -> None:
        own = actor.config.engine_id
        for spawn in effects.spawns:
            if isinstance(spawn, Spawn):
                self.spawn(spawn.engine, spawn.args, spawn.name, parent=name)
                actor.children.add(spawn.name)
            elif spawn.name in actor.children:
                self._end(spawn.name, SHUTDOWN)
        for watch in effects.watches:
            self._watch(name, watch)
        for envelope in effects.messages:
            self._post(envelope)
        if type(trigger) is MessageArrived:
            for message in effects.replies:
                reply = trigger.envelope.reply(own, message)
                if reply is not None:
                    self._post(reply)
        for operation in effects.operations:
            self._add("operation", name, operation, actor.incarnation)

    def _watch(self, name: str, watch: Watch | Unwatch) -> None:
        address = watch.address
        target = address.name if isinstance(address, EngineID) else str(address)
        if isinstance(watch, Unwatch):
            self._watchers.get(target, {}).pop(name, None)
        elif target in self.engines:
            self._watchers.setdefault(target, {})[name] = address
        else:
            self._add("ended", name, Ended(address, NOPROC), target)

    def _end(self, name: str, reason: Any, *, lose: bool = False) -> None:
        actor = self.engines.pop(name, None)
        if actor is None:
            return
        self.ends.append((name, reason))
        for number, event in list(self.pending.items()):
            # What it has told itself is of this one alone: the outcome of an operation, for one.
            own = event.source == actor.config.engine_id
            gone = event.kind in ("started", "timer", "ended") or (event.kind == "message" and (lose or own))
            if event.engine == name and gone:
                del self.pending[number]
        for watcher, address in self._watchers.pop(name, {}).items():
            if watcher in self.engines:
                self._add("ended", watcher, Ended(address, reason), actor.config.engine_id)
        parent = self.engines.get(actor.parent) if actor.parent is not None else None
        if parent is not None and name in parent.children:
            parent.children.discard(name)
            if parent.behaviour.traps_exits:
                own = actor.config.engine_id
                self._add("ended", parent.config.name, Ended(own, reason), own)
            elif reason not in (NORMAL, SHUTDOWN):
                self._end(parent.config.name, reason, lose=lose)
        if reason is not NORMAL:
            for child in sorted(actor.children):
                self._end(child, reason)
        if self.on_end is not None:
            self.on_end(name, actor, reason)
