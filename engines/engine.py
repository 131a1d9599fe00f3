"""The process around a behaviour: takes messages, has `guards.step` decide, and carries the effects out.

An engine hears

* the envelope of `messages`, as an ordinary message (how engines talk to each other) or as a cast; replies are
  envelopes to the sender;
* calls and casts in the plain form of its `dialect`, as Erlang and Elixir code sends them; the reply to a call is in
  the same form;
* an envelope as a call, whose reply is an envelope too.

What cannot be read, or makes the behaviour do nothing, is logged and dropped; a call is answered with
``{error, Reason}``. (An engine with a dialect of its own ends with ``function_clause`` on calls and casts that are not
in it, as a gen_server does.)

Envelopes between engines of one node are handed over as they are; terms are made of them on the way to other nodes, and
for processes that are no engines.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

from engines.effects import CancelTimer, Effects, SetTimer, Spawn, StopChild, Unwatch, Watch
from engines.environment import Environment
from engines.guards import (
    Elapsed,
    Ended,
    EngineBehaviour,
    EngineConfig,
    MessageArrived,
    Started,
    Trigger,
    step,
)
from engines.messages import (
    MAX_NAME,
    ROUTER,
    Address,
    EngineID,
    Envelope,
    MalformedEnvelope,
    Message,
    decode_envelope,
    decode_message,
    encode_envelope,
    encode_message,
    is_envelope,
    read_fields,
)
from erlang_bridge import Atom, BridgeError, ErlangError, GenServer, Init, NoReply, OwnProcess, Pid, Reference, Stop
from erlang_bridge.otp import gen
from erlang_bridge.otp.gen_server import start_server
from erlang_bridge.otp.results import Reply
from erlang_bridge.process import Timer, is_down
from erlang_bridge.terms import ImproperList

log = logging.getLogger("engines")

BADARG: Final = Atom("badarg")
ERROR: Final = Atom("error")
NORMAL: Final = Atom("normal")
SHUTDOWN: Final = Atom("shutdown")
NOT_HANDLED: Final = Atom("not_handled")
MALFORMED: Final = Atom("malformed")
MAX_WAITING_CALLS: Final = 100_000
"""Calls of one engine that are not answered yet; beyond, the oldest is forgotten: its caller has long timed out."""

_EXIT: Final = Atom("EXIT")


@dataclass(frozen=True, slots=True)
class Dialect:
    """A plain form of an engine's messages.

    Attributes:
        from_call, from_cast: the message that a request stands for; None: it stands for none.
        to_reply: the term that answers a call.
    """

    from_call: Callable[[Any], Message | None]
    from_cast: Callable[[Any], Message | None]
    to_reply: Callable[[Message], Any]


class Refused(BridgeError):
    """An engine has answered a request with ``{error, Reason}``.

    Attributes:
        reason: a term.
    """

    def __init__(self, reason: Any) -> None:
        self.reason = reason
        text = reason[1] if type(reason) is tuple and len(reason) == 2 and type(reason[1]) is bytes else None
        super().__init__(text.decode(errors="replace") if text is not None else f"refused: {reason!r}")


class Client(Protocol):
    """Who may call an engine: a `Node`, or a process (an `OwnProcess`, such as another engine)."""

    def call(self, destination: Any, request: Any, timeout_s: float | None = 5.0) -> Any: ...
    def cast(self, destination: Any, request: Any) -> None: ...


def ask(client: Client, engine: Any, message: Message, timeout_s: float | None = 5.0) -> Any:
    """Send a request to an engine, and wait for the message that answers it.

    Args:
        engine: its name on the client's node, an `EngineID`, a pid, or ``(name, node)``.

    Raises:
        Refused: the engine cannot read the message, or does nothing on it.
        ErlangExit: no answer, and why: `NoProcess`, `NoConnection`, `CallTimeout`.
    """
    answer = client.call(_destination(engine), _enveloped(message), timeout_s)
    if is_envelope(answer):
        return decode_envelope(answer, known_with(message)).message
    if type(answer) is tuple and len(answer) == 2 and answer[0] is ERROR:
        raise Refused(answer[1])
    raise Refused((Atom("unexpected_answer"), answer))


def tell(client: Client, engine: Any, message: Message) -> None:
    """Send a message to an engine. Does not wait; arguments as for `ask`."""
    client.cast(_destination(engine), _enveloped(message))


def known_with(message: Message | type[Message]) -> tuple[type[Message], ...]:
    """All messages that stand beside one in its module's table ``MESSAGES``."""
    module = message.__module__
    known: tuple[type[Message], ...] = sys.modules[module].MESSAGES
    return known


def _enveloped(message: Message) -> tuple[Any, ...]:
    return encode_envelope(Envelope(None, EngineID(None, message.engine), message))


def _destination(engine: Any) -> Any:
    if isinstance(engine, EngineID):
        return engine.name if engine.node is None else (engine.name, engine.node)
    return engine


class _Timed:
    """A timer that is set; also the message that comes when it is due."""

    __slots__ = ("due", "handle", "timer")

    timer: Timer

    def __init__(self, handle: Hashable, due: float) -> None:
        self.handle = handle
        self.due = due
        """On the monotonic clock, in seconds."""


class _Outcome:
    """What came of an operation: a message of the engine to itself, or what `perform` raised."""

    __slots__ = ("error", "message")

    def __init__(self, message: Message | None, error: BaseException | None = None) -> None:
        self.message = message
        self.error = error


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A call that is not answered yet."""

    caller: gen.Caller
    sender: Address | None
    enveloped: bool


class Engine(GenServer):
    """Base of engines; a subclass says which behaviour, and what its operations do.

    The server's state is the behaviour's state alone; `environment` is all of it.

    Attributes:
        dialect: the plain form of its messages. None: the common one. A call or cast is ``{Tag, #{field => value}}``,
            or the atom ``Tag`` for a message without fields, and a call is answered with ``{Tag, #{...}}``.
        apart: kinds of operations that are performed in processes of their own, while the engine goes on.
    """

    engine: ClassVar[EngineBehaviour[Any]]
    dialect: ClassVar[Dialect | None] = None
    apart: ClassVar[tuple[type, ...]] = ()

    _rest: Environment[Any]
    """The environment; its state is that of the last turn."""
    _timers: dict[Hashable, _Timed]
    _children: dict[Pid, str]
    _watched: dict[Address, Reference]
    _waiting: dict[Reference, _Waiting]
    _settings: Any
    _known_as: EngineConfig | None

    def perform(self, operation: Any, own: OwnProcess) -> Message | None:
        """Do in the world what the behaviour asks for.

        May block: the engine waits, or, for kinds that are in `apart`, does not. What would hold up the whole node goes
        through ``self.node.offload``. An exception ends the engine.

        Args:
            own: the process to call others from: the engine itself, or that of the operation.

        Returns:
            What the engine is to hear of it, or None.
        """
        raise NotImplementedError(f"{type(self).__qualname__} cannot perform {operation!r}")

    def readdress(self, envelope: Envelope) -> Envelope | None:
        """What an envelope means to this engine; None: nothing, it is dropped. Called before its turn."""
        return envelope

    @property
    def environment(self) -> Environment[Any]:
        """The engine's whole environment."""
        return Environment(self._state, self._rest.mailboxes, self._rest.acquaintances, self._rest.timers)

    # -- callbacks ------------------------------------------------------------------------------

    def init(self, args: Any) -> Any:
        self._timers = {}
        self._children = {}
        self._watched = {}
        self._waiting = {}
        self._known_as = None
        try:
            self._settings, state = self.engine.start(args)
        except ValueError as error:
            log.error("%s cannot start: %s", self.engine.name, error)
            return Stop((BADARG, args))
        self._rest = self.engine.first_environment(state)
        if self.engine.traps_exits:
            self.set_trap_exit(True)
        return Init(state, continue_with=Started())

    def handle_continue(self, continue_with: Any, state: Any) -> Any:
        return self._turn(continue_with, state) or NoReply(state)

    def handle_call(self, request: Any, caller: gen.Caller, state: Any) -> Any:
        enveloped = is_envelope(request)
        try:
            envelope = self._read_call(request, caller, enveloped)
        except MalformedEnvelope as error:
            log.warning("%s %s cannot read a call: %s", self.engine.name, self.pid, error)
            return Reply((ERROR, (MALFORMED, str(error).encode())), state)
        if envelope is None:
            return None
        reference = envelope.reference
        if reference is not None:
            if len(self._waiting) >= MAX_WAITING_CALLS:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[reference] = _Waiting(caller, envelope.sender, enveloped)
        effects = self._decide(MessageArrived(envelope), state)
        if effects is None:
            if reference is not None:
                del self._waiting[reference]
            if self.dialect is not None and not enveloped:
                return None
            return Reply((ERROR, (NOT_HANDLED, Atom(type(envelope.message).tag()))), state)
        if not effects.replies:
            self._carry_out(effects)
            return self._next(effects)
        if reference is not None:
            self._waiting.pop(reference, None)
        self._carry_out(effects)
        answer = self._answer(effects.replies[0], envelope, caller, enveloped)
        if effects.exit is not None:
            return Stop(effects.exit.reason, effects.state, reply=answer)
        following = self._next(effects)
        return Reply(answer, following.state) if type(following) is NoReply else following

    def handle_cast(self, message: Any, state: Any) -> Any:
        if type(message) is Envelope or is_envelope(message):
            return self._receive(message, state)
        try:
            known = self._read_plain(message, self.dialect.from_cast if self.dialect is not None else None)
        except MalformedEnvelope as error:
            log.warning("%s %s cannot read a cast: %s", self.engine.name, self.pid, error)
            return NoReply(state)
        following = None if known is None else self._turn(MessageArrived(self._wrap(None, known)), state)
        if following is None and self.dialect is None:
            log.warning("%s %s does nothing on %s", self.engine.name, self.pid, known)
            return NoReply(state)
        return following

    def handle_info(self, message: Any, state: Any) -> Any:
        kind = type(message)
        if kind is Envelope or is_envelope(message):
            return self._receive(message, state)
        if kind is _Timed:
            return self._elapse(message, state)
        if kind is _Outcome:
            if message.error is not None:
                raise message.error
            own = self._config().engine_id
            return self._turn(MessageArrived(Envelope(own, own, message.message)), state) or NoReply(state)
        if is_down(message):
            return self._down(message, state)
        trapped = self.engine.traps_exits and kind is tuple and len(message) == 3 and message[0] is _EXIT
        if trapped and type(message[1]) is Pid:
            return self._linked_ended(message[1], message[2], state)
        return super().handle_info(message, state)

    # -- a turn ---------------------------------------------------------------------------------

    def _receive(self, term: Any, state: Any) -> Any:
        """A turn for an envelope that nobody waits for."""
        envelope: Envelope | None = term if type(term) is Envelope else self._read(term)
        if envelope is not None:
            envelope = self.readdress(envelope)
        if envelope is None:
            return NoReply(state)
        following = self._turn(MessageArrived(envelope), state)
        if following is None:
            # Between engines late and doubled messages are the order of the day.
            level = logging.DEBUG if term is envelope else logging.WARNING
            log.log(level, "%s %s does nothing on %s", self.engine.name, self.pid, envelope.message)
            return NoReply(state)
        return following

    def _elapse(self, timed: _Timed, state: Any) -> Any:
        if self._timers.get(timed.handle) is not timed:
            # Taken back, replaced, or part of an earlier turn, while this was in the mailbox.
            return NoReply(state)
        now = max(timed.due, time.monotonic())
        due = sorted((other for other in self._timers.values() if other.due <= now), key=lambda other: other.due)
        for other in due:
            del self._timers[other.handle]
            other.timer.cancel()
        return self._turn(Elapsed(tuple(other.handle for other in due)), state) or NoReply(state)

    def _down(self, message: Any, state: Any) -> Any:
        address = next((at for at, reference in self._watched.items() if reference == message[1]), None)
        if address is None:
            return NoReply(state)
        del self._watched[address]
        return self._turn(Ended(address, message[4]), state) or NoReply(state)

    def _linked_ended(self, pid: Pid, reason: Any, state: Any) -> Any:
        name = self._children.pop(pid, None)
        if name is not None:
            ended = Ended(EngineID(self._config().node, name), reason)
            return self._turn(ended, state) or NoReply(state)
        # Nobody whose end it wants to outlive.
        return NoReply(state) if reason is NORMAL else Stop(reason, state)

    def _turn(self, trigger: Trigger, state: Any) -> NoReply | Stop | None:
        """A whole turn, with its replies sent as messages; None where the behaviour does nothing."""
        effects = self._decide(trigger, state)
        if effects is None:
            return None
        self._carry_out(effects)
        if effects.replies and type(trigger) is MessageArrived:
            self._reply(trigger.envelope, effects.replies)
        return self._next(effects)

    def _decide(self, trigger: Trigger, state: Any) -> Effects[Any] | None:
        rest = self._rest
        environment = Environment(state, rest.mailboxes, rest.acquaintances, rest.timers)
        self._rest, effects = step(self.engine, self._config(), environment, trigger, time.time())
        return effects

    def _carry_out(self, effects: Effects[Any]) -> None:
        """Do what the turn asks for, but for the replies, the new state and the end."""
        for spawn in effects.spawns:
            if type(spawn) is Spawn:
                self._spawn(spawn)
            else:
                self._stop_child(spawn)  # type: ignore[arg-type]
        for watch in effects.watches:
            self._watch(watch)
        for envelope in effects.messages:
            self._send(envelope)
        for timer in effects.timers:
            self._set_timer(timer)
        for operation in effects.operations:
            self._operate(operation)

    def _next(self, effects: Effects[Any]) -> NoReply | Stop:
        """How the server goes on after the turn, once the messages have had theirs that its mailboxes let out."""
        state = effects.state
        while effects.exit is None and effects.mailboxes:
            taken = Environment(state, self._rest.mailboxes, self._rest.acquaintances, self._rest.timers).take()
            if taken is None:
                break
            envelope, self._rest = taken
            outcome = self._decide(MessageArrived(envelope), state)
            if outcome is None:
                self._refuse_held(envelope)
                continue
            self._carry_out(outcome)
            self._reply(envelope, outcome.replies)
            state = outcome.state
            if outcome.exit is not None:
                return Stop(outcome.exit.reason, state)
        return NoReply(state) if effects.exit is None else Stop(effects.exit.reason, state)

    def _refuse_held(self, envelope: Envelope) -> None:
        """Answer a call that has waited in a mailbox, and then means nothing."""
        waiting = None if envelope.reference is None else self._waiting.pop(envelope.reference, None)
        if waiting is not None:
            self.reply(waiting.caller, (ERROR, (NOT_HANDLED, Atom(type(envelope.message).tag()))))

    # -- reading --------------------------------------------------------------------------------

    def _config(self) -> EngineConfig:
        process = self._process
        known = self._known_as
        name = self.engine.name if process.name is None else process.name.name
        if known is None or known.name != name:
            parent = process.table.find(process.parent) if process.parent is not None else None
            above = None
            if parent is not None and parent.name is not None and isinstance(getattr(parent, "instance", None), Engine):
                above = EngineID(process.table.node_name.name, parent.name.name)
            known = self._known_as = EngineConfig(process.table.node_name.name, name, self._settings, above)
        return known

    def _wrap(self, sender: Address | None, message: Message, reference: Reference | None = None) -> Envelope:
        return Envelope(sender, self._config().engine_id, message, reference=reference)

    def _read_call(self, request: Any, caller: gen.Caller, enveloped: bool) -> Envelope | None:
        reference = _reference_of(caller)
        if enveloped:
            envelope = self._checked(decode_envelope(request, self.engine.messages))
            if envelope.reference is not None:
                reference = envelope.reference
            sender = caller[0] if envelope.sender is None else envelope.sender
            return Envelope(sender, envelope.target, envelope.message, envelope.mailbox, reference)
        message = self._read_plain(request, self.dialect.from_call if self.dialect is not None else None)
        return None if message is None else self._wrap(caller[0], message, reference)

    def _read_plain(self, request: Any, read: Callable[[Any], Message | None] | None) -> Message | None:
        """The message that a request in the plain form stands for.

        Raises:
            MalformedEnvelope: none, in the common form.
        """
        if read is not None:
            return read(request)
        match request:
            case Atom(tag):
                fields: Any = {}
            case (Atom(tag), fields):
                pass
            case (Atom(), Atom(), _):
                return decode_message(request, self.engine.messages)
            case _:
                raise MalformedEnvelope("expected {Message, Fields}, an atom and a map, or the atom alone")
        for message in self.engine.messages:
            if message.tag() == tag:
                return read_fields(message, fields)
        known = ", ".join(message.tag() for message in self.engine.messages)
        raise MalformedEnvelope(f"no such message: {tag}; {self.engine.name} knows {known}")

    def _read(self, term: Any) -> Envelope | None:
        try:
            return self._checked(decode_envelope(term, self.engine.messages))
        except MalformedEnvelope as error:
            log.warning("%s %s cannot read a message: %s", self.engine.name, self.pid, error)
            return None

    def _checked(self, envelope: Envelope) -> Envelope:
        # What an engine believes to come from itself is what its operations brought.
        if envelope.sender == self._config().engine_id or envelope.sender == self.pid:
            raise MalformedEnvelope("it says that this engine itself has sent it, and it comes from elsewhere")
        return envelope

    # -- sending --------------------------------------------------------------------------------

    def _answer(self, message: Message, request: Envelope, caller: gen.Caller, enveloped: bool) -> Any:
        """A reply to a call as a term."""
        if enveloped:
            return encode_envelope(Envelope(self._config().engine_id, caller[0], message, 0, request.reference))
        if self.dialect is not None:
            return self.dialect.to_reply(message)
        _, tag, fields = encode_message(message)
        return tag, fields

    def _reply(self, envelope: Envelope, replies: tuple[Message, ...]) -> None:
        for message in replies:
            reply = envelope.reply(self._config().engine_id, message)
            if reply is not None:
                self._send(reply)

    def _send(self, envelope: Envelope) -> None:
        reference = envelope.reference
        if reference is not None:
            waiting = self._waiting.get(reference)
            if waiting is not None and waiting.sender == envelope.target:
                del self._waiting[reference]
                self.reply(waiting.caller, self._answer(envelope.message, envelope, waiting.caller, waiting.enveloped))
                return
        process = self._process
        table = process.table
        target: Any = envelope.target
        if type(target) is EngineID:
            node, name = target.node, target.name
            if node is not None and node != table.node_name.name and "@" not in node:
                # Not a node of the cluster: its router knows the way.
                node, name = None, f"{ROUTER}{node}"
            if len(name) > MAX_NAME or (node is not None and len(node) > MAX_NAME):
                log.warning(
                    "%s %s cannot send to %.80s: no process has a name as long", self.engine.name, self.pid, target
                )
                return
            if node is not None and node != table.node_name.name:
                table.send(process, (Atom(name), Atom(node)), encode_envelope(envelope))
                return
            target = Atom(name)
            receiver = table.names.get(target)
        elif target.node is table.node_name:
            receiver = table.find(target)
        else:
            receiver = None
        if receiver is not None and isinstance(getattr(receiver, "instance", None), Engine):
            table.send(process, target, envelope)
        else:
            table.send(process, target, encode_envelope(envelope))

    # -- children, watches, timers, operations ---------------------------------------------------

    def _spawn(self, spawn: Spawn) -> None:
        server_class: type[GenServer] | None = self.node.engines.get(spawn.engine)
        if server_class is None:
            raise ErlangError((Atom("unknown_engine"), Atom(spawn.engine)))
        # Named and linked at once: what is sent to it from now on arrives. Its init runs after this turn.
        pid: Pid | None = start_server(
            self.process.table,
            server_class,
            spawn.args,
            lambda answer: None,
            name=Atom(spawn.name),
            parent=self.process,
            link=True,
        )
        if pid is None:
            raise ErlangError((Atom("already_started"), Atom(spawn.name)))
        self._children[pid] = spawn.name

    def _stop_child(self, stop: StopChild) -> None:
        pid = next((pid for pid, name in self._children.items() if name == stop.name), None)
        if pid is None:
            return
        if not self.engine.traps_exits:
            del self._children[pid]
            self.unlink(pid)
        self.exit(pid, SHUTDOWN)

    def _watch(self, watch: Watch | Unwatch) -> None:
        address = watch.address
        if isinstance(watch, Watch):
            if address not in self._watched:
                self._watched[address] = self.monitor(_destination(address))
        elif address in self._watched:
            self.demonitor(self._watched.pop(address))

    def _set_timer(self, timer: SetTimer | CancelTimer) -> None:
        earlier = self._timers.pop(timer.handle, None)
        if earlier is not None:
            earlier.timer.cancel()
        if isinstance(timer, SetTimer):
            timed = _Timed(timer.handle, time.monotonic() + timer.delay_s)
            timed.timer = self.send_after(timer.delay_s, timed)
            self._timers[timer.handle] = timed

    def _operate(self, operation: Any) -> None:
        if isinstance(operation, self.apart):
            self.node.spawn(self._perform_apart, operation, link=True)
            return
        message = self.perform(operation, self)
        if message is not None:
            self.send(self.pid, _Outcome(message))

    def _perform_apart(self, own: OwnProcess, operation: Any) -> None:
        try:
            message = self.perform(operation, own)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the engine's
            own.send(self.pid, _Outcome(None, error))
            return
        if message is not None:
            own.send(self.pid, _Outcome(message))


def _reference_of(caller: gen.Caller) -> Reference | None:
    """The reference in the tag of a call: ``Ref``, or ``[alias | Ref]``."""
    tag = caller[1]
    if type(tag) is Reference:
        return tag
    if type(tag) is ImproperList and type(tag.tail) is Reference:
        return tag.tail
    return None
