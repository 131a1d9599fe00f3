"""The process around a behaviour: takes messages, has `guards.evaluate` decide, and carries the effects out.

An engine hears

* the envelope of `messages`, as an ordinary message (how engines talk to each other) or as a cast; a reply is an envelope to the sender;
* calls and casts in the plain form of its `Dialect`, as Erlang and Elixir code sends them; the reply to a call is in the same form;
* an envelope as a call, whose reply is an envelope too.

A call or cast that is neither ends the engine with ``function_clause``, as it does in OTP; any other unknown message is logged and
dropped; so is an envelope that cannot be read, or whose message no guard of the behaviour takes.
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


class Engine(GenServer):
    """Base of engines; a subclass says which behaviour and which dialect. Its state is the behaviour's, nothing else."""

    engine: ClassVar[EngineBehaviour[Any]]
    dialect: ClassVar[Dialect]

    def init(self, args: Any) -> Any:
        self._timers: dict[Hashable, _Pending] = {}
        try:
            return self.engine.initial_state(args)
        except ValueError:
            return Stop((BADARG, args))

    def handle_call(self, request: Any, caller: Caller, state: Any) -> Any:
        if is_envelope(request):
            return self._handle_enveloped_call(request, caller, state)
        message = self.dialect.from_call(request)
        if message is None:
            return None
        effects = self._decide(MessageArrived(self._wrap(caller[0], message)), state)
        if effects is None:
            return None
        if not effects.replies:
            return self._carry_out(effects)
        return self._carry_out(effects, answer=self.dialect.to_reply(effects.replies[0]))

    def _handle_enveloped_call(self, request: Any, caller: Caller, state: Any) -> Any:
        try:
            envelope = decode_envelope(request, self.engine.messages)
        except MalformedEnvelope as error:
            raise ErlangError((BADARG, str(error))) from error
        effects = self._decide(MessageArrived(envelope), state)
        if effects is None:
            return None
        if not effects.replies:
            return self._carry_out(effects)
        return self._carry_out(effects, answer=encode_envelope(envelope.reply(self._own_id(), effects.replies[0])))

    def handle_cast(self, message: Any, state: Any) -> Any:
        if is_envelope(message):
            return self._receive(message, state)
        known = self.dialect.from_cast(message)
        if known is None:
            return None
        effects = self._decide(MessageArrived(self._wrap(EngineID(None, ""), known)), state)
        return None if effects is None else self._carry_out(effects)

    def handle_info(self, message: Any, state: Any) -> Any:
        if is_envelope(message):
            return self._receive(message, state)
        if type(message) is _Due:
            return self._elapse(state)
        return super().handle_info(message, state)

    def _receive(self, term: Any, state: Any) -> Any:
        """A turn for an envelope that nobody waits for."""
        try:
            envelope = decode_envelope(term, self.engine.messages)
        except MalformedEnvelope as error:
            log.warning("%s %s dropped a message: %s", self.engine.name, self.pid, error)
            return NoReply(state)
        effects = self._decide(MessageArrived(envelope), state)
        if effects is None:
            log.warning("%s %s does nothing on %s", self.engine.name, self.pid, type(envelope.message).__name__)
            return NoReply(state)
        return self._carry_out(effects, envelope)

    def _elapse(self, state: Any) -> Any:
        now = time.monotonic()
        due = sorted((pending.due, handle) for handle, pending in self._timers.items() if pending.due <= now)
        handles = tuple(handle for _, handle in due)
        for handle in handles:
            self._timers.pop(handle).timer.cancel()
        effects = self._decide(Elapsed(handles), state) if handles else None
        return NoReply(state) if effects is None else self._carry_out(effects)

    # -- a turn ---------------------------------------------------------------------------------

    def _own_id(self) -> EngineID:
        return self._config().engine_id

    def _config(self) -> EngineConfig:
        name = self.process.name
        return EngineConfig(self.process.table.node_name.name, name.name if name is not None else self.engine.name)

    def _wrap(self, sender: Address, message: Message) -> Envelope:
        return Envelope(sender, self._own_id(), message)

    def _decide(self, trigger: Trigger, state: Any) -> Effects[Any] | None:
        return evaluate(self.engine, Turn(self._config(), state, trigger, time.time()))

    def _carry_out(self, effects: Effects[Any], envelope: Envelope | None = None, *, answer: Any = None) -> Any:
        """Do what the turn asks for.

        Args:
            envelope: what the replies are for; None where there is nobody to send them to, or a call waits for `answer`.
            answer: to the call under way.
        """
        for spawn in effects.spawns:
            self._spawn(spawn)
        for message in effects.messages:
            self._send(message)
        if envelope is not None:
            for reply in effects.replies:
                self._send(envelope.reply(self._own_id(), reply))
        for timer in effects.timers:
            self._set_timer(timer)
        if effects.exit is not None:
            if answer is None:
                return Stop(effects.exit.reason, effects.state)
            return Stop(effects.exit.reason, effects.state, reply=answer)
        return NoReply(effects.state) if answer is None else Reply(answer, effects.state)

    def _send(self, envelope: Envelope) -> None:
        target = envelope.target
        if isinstance(target, Pid):
            self.send(target, encode_envelope(envelope))
        else:
            node = target.node if target.node is not None else self.process.table.node_name.name
            self.send((target.name, node), encode_envelope(envelope))

    def _spawn(self, spawn: Spawn) -> None:
        server_class = self.node.engines.get(spawn.engine)
        if server_class is None:
            raise ErlangError((Atom("unknown_engine"), Atom(spawn.engine)))
        # Named and linked at once, so that messages to it can be sent from now on; its init runs after this turn.
        pid = start_server(
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
        pending = self._timers.pop(timer.handle, None)
        if pending is not None:
            pending.timer.cancel()
        if isinstance(timer, SetTimer):
            due = time.monotonic() + timer.delay_s
            self._timers[timer.handle] = _Pending(due, self.send_after(timer.delay_s, _Due()))


@dataclass(frozen=True, slots=True)
class _Pending:
    """A timer that is set."""

    due: float
    """On the monotonic clock."""
    timer: Timer


class _Due:
    """What a timer sends to its engine."""

    __slots__ = ()
