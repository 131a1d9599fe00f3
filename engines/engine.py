"""The process around a behaviour: takes messages, has `guards.evaluate` decide, and carries the effects out.

An engine hears

* the envelope of `messages`, as an ordinary message (how engines talk to each other) or as a cast; replies are
  envelopes to the sender;
* calls and casts in the plain form of its `Dialect`, as Erlang and Elixir code sends them; the reply to a call is in
  the same form;
* an envelope as a call, whose reply is an envelope too.

A call or cast that is none of these ends the engine with ``function_clause``, as it does in OTP. Any other message that
is not known is logged and dropped; so is an envelope that cannot be read, or whose message makes the behaviour do
nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

from engines.effects import CancelTimer, Effects, SetTimer, Spawn
from engines.guards import Elapsed, EngineBehaviour, EngineConfig, MessageArrived, Trigger, Turn, evaluate
from engines.messages import (
    Address,
    EngineID,
    Envelope,
    MalformedEnvelope,
    Message,
    decode_envelope,
    encode_envelope,
    is_envelope,
)
from erlang_bridge import Atom, ErlangError, GenServer, NoReply, Pid, Reply, Stop
from erlang_bridge.otp.gen import Caller
from erlang_bridge.otp.gen_server import start_server
from erlang_bridge.process import Timer

log = logging.getLogger("engines")

BADARG: Final = Atom("badarg")


@dataclass(frozen=True, slots=True)
class Dialect:
    """The plain form of an engine's messages.

    Attributes:
        from_call, from_cast: the message that a request stands for; None: it stands for none.
        to_reply: the term that answers a call.
    """

    from_call: Callable[[Any], Message | None]
    from_cast: Callable[[Any], Message | None]
    to_reply: Callable[[Message], Any]


class Client(Protocol):
    """Who may call an engine: a `Node`, or a process (an `OwnProcess`, such as another engine)."""

    def call(self, destination: Any, request: Any, timeout_s: float | None = 5.0) -> Any: ...
    def cast(self, destination: Any, request: Any) -> None: ...


class _Timed:
    """A timer that is set; also the message that comes when it is due."""

    __slots__ = ("due", "handle", "timer")

    timer: Timer

    def __init__(self, handle: Hashable, due: float) -> None:
        self.handle = handle
        self.due = due
        """On the monotonic clock, in seconds."""


class Engine(GenServer):
    """Base of engines; a subclass says which behaviour and which dialect. Its state is the behaviour's alone."""

    engine: ClassVar[EngineBehaviour[Any]]
    dialect: ClassVar[Dialect]

    _timers: dict[Hashable, _Timed]

    # -- callbacks ------------------------------------------------------------------------------

    def init(self, args: Any) -> Any:
        self._timers = {}
        try:
            return self.engine.initial_state(args)
        except ValueError:
            return Stop((BADARG, args))

    def handle_call(self, request: Any, caller: Caller, state: Any) -> Any:
        enveloped = is_envelope(request)
        if enveloped:
            envelope = self._read(request)
        else:
            message = self.dialect.from_call(request)
            envelope = None if message is None else self._wrap(caller[0], message)
        effects = None if envelope is None else self._decide(MessageArrived(envelope), state)
        if envelope is None or effects is None:
            return None
        self._carry_out(effects)
        if not effects.replies:
            return self._next(effects)
        answer: Any = effects.replies[0]
        if enveloped:
            answer = encode_envelope(Envelope(self._config().engine_id, caller[0], answer, 0, envelope.reference))
        else:
            answer = self.dialect.to_reply(answer)
        if effects.exit is not None:
            return Stop(effects.exit.reason, effects.state, reply=answer)
        return Reply(answer, effects.state)

    def handle_cast(self, message: Any, state: Any) -> Any:
        if is_envelope(message):
            return self._receive(message, state)
        known = self.dialect.from_cast(message)
        effects = None if known is None else self._decide(MessageArrived(self._wrap(None, known)), state)
        if effects is None:
            return None
        self._carry_out(effects)
        return self._next(effects)

    def handle_info(self, message: Any, state: Any) -> Any:
        if is_envelope(message):
            return self._receive(message, state)
        if type(message) is _Timed:
            return self._elapse(message, state)
        return super().handle_info(message, state)

    # -- a turn ---------------------------------------------------------------------------------

    def _receive(self, term: Any, state: Any) -> Any:
        """A turn for an envelope that nobody waits for."""
        envelope = self._read(term)
        if envelope is None:
            return NoReply(state)
        effects = self._decide(MessageArrived(envelope), state)
        if effects is None:
            log.warning("%s %s does nothing on %s", self.engine.name, self.pid, envelope.message)
            return NoReply(state)
        self._carry_out(effects)
        for message in effects.replies:
            reply = envelope.reply(self._config().engine_id, message)
            if reply is not None:
                self._send(reply)
        return self._next(effects)

    def _elapse(self, timed: _Timed, state: Any) -> Any:
        if self._timers.get(timed.handle) is not timed:
            # Taken back, replaced, or part of an earlier turn, while this was in the mailbox.
            return NoReply(state)
        now = max(timed.due, time.monotonic())
        due = sorted((other for other in self._timers.values() if other.due <= now), key=lambda other: other.due)
        for other in due:
            del self._timers[other.handle]
            other.timer.cancel()
        effects = self._decide(Elapsed(tuple(other.handle for other in due)), state)
        if effects is None:
            return NoReply(state)
        self._carry_out(effects)
        return self._next(effects)

    def _decide(self, trigger: Trigger, state: Any) -> Effects[Any] | None:
        return evaluate(self.engine, Turn(self._config(), state, trigger, time.time()))

    def _carry_out(self, effects: Effects[Any]) -> None:
        """Do what the turn asks for, but for the replies, the new state and the end."""
        for spawn in effects.spawns:
            self._spawn(spawn)
        for envelope in effects.messages:
            self._send(envelope)
        for timer in effects.timers:
            self._set_timer(timer)

    def _next(self, effects: Effects[Any]) -> NoReply | Stop:
        return NoReply(effects.state) if effects.exit is None else Stop(effects.exit.reason, effects.state)

    # -- pieces of it ---------------------------------------------------------------------------

    def _config(self) -> EngineConfig:
        name = self.process.name
        return EngineConfig(self.process.table.node_name.name, name.name if name is not None else self.engine.name)

    def _wrap(self, sender: Address | None, message: Message) -> Envelope:
        return Envelope(sender, self._config().engine_id, message)

    def _read(self, term: Any) -> Envelope | None:
        try:
            return decode_envelope(term, self.engine.messages)
        except MalformedEnvelope as error:
            log.warning("%s %s cannot read a message: %s", self.engine.name, self.pid, error)
            return None

    def _send(self, envelope: Envelope) -> None:
        target: Any = envelope.target
        if isinstance(target, EngineID):
            target = (target.name, self.process.table.node_name if target.node is None else target.node)
        self.send(target, encode_envelope(envelope))

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

    def _set_timer(self, timer: SetTimer | CancelTimer) -> None:
        earlier = self._timers.pop(timer.handle, None)
        if earlier is not None:
            earlier.timer.cancel()
        if isinstance(timer, SetTimer):
            timed = _Timed(timer.handle, time.monotonic() + timer.delay_s)
            timed.timer = self.send_after(timer.delay_s, timed)
            self._timers[timer.handle] = timed
