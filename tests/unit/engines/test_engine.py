"""The process around a behaviour: every kind of effect carried out, every kind of message heard."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import gevent
import pytest

from engines.effects import CancelTimer, Effects, Exit, SetTimer, Spawn
from engines.engine import Dialect, Engine
from engines.guards import Elapsed, EngineBehaviour, First, GuardOutput, MessageArrived, Seq, Turn
from engines.messages import EngineID, Envelope, Message, decode_envelope, encode_envelope
from engines.ticker.server import Ticker
from erlang_bridge import Atom, ErlangExit, Node, OwnProcess, Pid, Reply

NAME = "recorder@127.0.0.1"


@dataclass(frozen=True, slots=True)
class Do(Message):
    """Has the engine do what the test wants."""

    engine: ClassVar[str] = "recorder"
    what: Any


@dataclass(frozen=True, slots=True)
class Done(Message):
    engine: ClassVar[str] = "recorder"
    what: Any


def do_guard(turn: Turn[Any]) -> GuardOutput[Any] | None:
    return GuardOutput(Seq(do)) if isinstance(turn.message, Do) else None


def do(turn: Turn[Any], args: Any) -> Effects[Any] | None:
    assert isinstance(turn.trigger, MessageArrived)
    own, message = turn.config.engine_id, turn.trigger.envelope.message
    assert isinstance(message, Do)
    state = [*turn.state, message.what]
    match message.what:
        case Atom("void"):
            return None
        case Atom("raise"):
            raise ZeroDivisionError("on request")
        case (Atom("reply"), value):
            return Effects(state, replies=(Done(value),))
        case (Atom("stop"), reason):
            return Effects(state, replies=(Done(Atom("bye")),), exit=Exit(reason))
        case (Atom("spawn"), name):
            child = Envelope(own, EngineID(None, name.name), Do((Atom("note"), 1)))
            return Effects(state, spawns=(Spawn("recorder", [], name.name),), messages=(child,))
        case (Atom("tell"), Pid() as pid):
            return Effects(state, messages=(Envelope(own, pid, Done(1)), Envelope(own, pid, Done(2))))
        case (Atom("timer"), handle, float(delay_s)):
            return Effects(state, timers=(SetTimer(handle, delay_s),))
        case (Atom("cancel"), handle):
            return Effects(state, timers=(CancelTimer(handle),))
    return Effects(state)


def elapsed_guard(turn: Turn[Any]) -> GuardOutput[Any] | None:
    return GuardOutput(Seq(elapsed)) if isinstance(turn.trigger, Elapsed) else None


def elapsed(turn: Turn[Any], args: Any) -> Effects[Any]:
    assert isinstance(turn.trigger, Elapsed)
    return Effects([*turn.state, ("elapsed", turn.trigger.handles)])


class Recorder(Engine):
    engine = EngineBehaviour("recorder", (Do, Done), lambda args: (None, list(args)), First(do_guard, elapsed_guard))
    dialect = Dialect(
        lambda request: Do(request) if request is not Atom("unknown") else None,
        lambda request: Do(request) if request is not Atom("unknown") else None,
        lambda message: message.what,  # type: ignore[attr-defined]
    )

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        if request is Atom("state"):
            return Reply(state, state)
        return super().handle_call(request, caller, state)


@pytest.fixture
def node() -> Iterator[Node]:
    with Node(NAME, cookie="secret", listen=False, engines={"recorder": Recorder, "ticker": Ticker}) as node:
        yield node


@pytest.fixture
def recorder(node: Node) -> Pid:
    return node.start(Recorder, [], name="recorder")


def envelope(what: Any, sender: Any = None) -> Any:
    return encode_envelope(Envelope(sender, EngineID(None, "recorder"), Do(what)))


def heard(node: Node, *messages: Any, count: int) -> list[Any]:
    """Send `messages`, built with the pid of a new process, from it; what it then hears."""
    got: list[Any] = []

    def body(own: OwnProcess) -> None:
        for message in messages:
            own.send("recorder", message(own.pid))
        got.extend(decode_envelope(own.receive(timeout_s=2), Recorder.engine.messages) for _ in range(count))

    pid = node.spawn(body)
    while node.is_alive(pid):
        gevent.sleep(0.001)
    return got


# -- messages in ------------------------------------------------------------------------------


def test_a_call_gets_the_reply_in_the_plain_form(node: Node, recorder: Pid):
    assert node.call(recorder, (Atom("reply"), 7)) == 7


def test_a_reply_may_be_nil(node: Node, recorder: Pid):
    assert node.call(recorder, (Atom("reply"), None)) is None


def test_a_call_without_a_reply_is_not_answered(node: Node, recorder: Pid):
    with pytest.raises(ErlangExit, match="timeout"):
        node.call(recorder, (Atom("note"), 1), timeout_s=0.02)
    assert node.call(recorder, Atom("state")) == [(Atom("note"), 1)]


@pytest.mark.parametrize("request_term", [Atom("unknown"), Atom("void")])
def test_a_call_that_means_nothing_ends_the_engine_with_function_clause(node: Node, recorder: Pid, request_term: Any):
    with pytest.raises(ErlangExit) as caught:
        node.call(recorder, request_term)
    assert caught.value.reason[0] is Atom("function_clause")
    assert not node.is_alive(recorder)


def test_a_cast_that_means_nothing_ends_the_engine(node: Node, recorder: Pid):
    node.cast(recorder, Atom("unknown"))
    while node.is_alive(recorder):
        gevent.sleep(0.001)


def test_other_messages_are_logged_and_dropped(node: Node, recorder: Pid, caplog: pytest.LogCaptureFixture):
    node.send(recorder, Atom("hello"))
    assert node.call(recorder, Atom("state")) == []
    assert "hello" in caplog.text


def test_an_enveloped_call_gets_an_envelope(node: Node, recorder: Pid):
    answer = decode_envelope(node.call(recorder, envelope((Atom("reply"), 7))), Recorder.engine.messages)
    assert answer.sender == EngineID(NAME, "recorder")
    assert answer.message == Done(7)


def test_an_envelope_is_answered_to_its_sender(node: Node, recorder: Pid):
    (answer,) = heard(node, lambda pid: envelope((Atom("reply"), 7), pid), count=1)
    assert answer == Envelope(EngineID(NAME, "recorder"), answer.target, Done(7))
    assert isinstance(answer.target, Pid)


def test_an_envelope_may_come_as_a_cast(node: Node, recorder: Pid):
    node.cast(recorder, envelope((Atom("note"), 2)))
    assert node.call(recorder, Atom("state")) == [(Atom("note"), 2)]


def test_envelopes_that_cannot_be_read_or_do_nothing_are_logged_and_dropped(
    node: Node, recorder: Pid, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING, logger="engines"):
        node.send(recorder, (Atom("anoma_engine_msg"), 1))
        node.send(recorder, envelope(Atom("void")))
        node.cast(recorder, encode_envelope(Envelope(None, EngineID(None, "recorder"), Done(1))))
        assert node.call(recorder, Atom("state")) == []
    assert "cannot read a message: expected {anoma_engine_msg" in caplog.text
    assert caplog.text.count("does nothing on") == 2


# -- effects out ------------------------------------------------------------------------------


def test_messages_go_out_in_order(node: Node, recorder: Pid):
    got = heard(node, lambda pid: envelope((Atom("tell"), pid)), count=2)
    assert [envelope.message for envelope in got] == [Done(1), Done(2)]


def test_a_spawned_engine_gets_what_is_sent_to_it_in_the_same_turn(node: Node, recorder: Pid):
    node.send(recorder, envelope((Atom("spawn"), Atom("child"))))
    assert len(node.call(recorder, Atom("state"))) == 1
    assert node.call("child", Atom("state")) == [(Atom("note"), 1)]


def test_a_spawned_engine_is_linked(node: Node, recorder: Pid):
    node.send(recorder, envelope((Atom("spawn"), Atom("child"))))
    node.call(recorder, Atom("state"))
    node.cast("child", Atom("raise"))
    while node.is_alive(recorder):
        gevent.sleep(0.001)


def test_a_taken_name_crashes_the_turn(node: Node, recorder: Pid):
    node.start(Ticker, 0, name="child")
    with pytest.raises(ErlangExit) as caught:
        node.call(recorder, (Atom("spawn"), Atom("child")))
    assert caught.value.reason[0] == (Atom("already_started"), Atom("child"))


def test_timers_are_turns(node: Node, recorder: Pid):
    node.cast(recorder, (Atom("timer"), Atom("t"), 0.005))
    gevent.sleep(0.03)
    assert node.call(recorder, Atom("state"))[1:] == [("elapsed", (Atom("t"),))]


def test_a_timer_set_again_is_replaced_and_one_cancelled_does_not_come(node: Node, recorder: Pid):
    node.cast(recorder, (Atom("timer"), Atom("again"), 0.001))
    node.cast(recorder, (Atom("timer"), Atom("again"), 0.01))
    node.cast(recorder, (Atom("timer"), Atom("never"), 0.001))
    node.cast(recorder, (Atom("cancel"), Atom("never")))
    node.cast(recorder, (Atom("cancel"), Atom("unknown to it")))
    gevent.sleep(0.04)
    assert node.call(recorder, Atom("state"))[5:] == [("elapsed", (Atom("again"),))]


def test_timers_due_together_are_one_turn_in_due_order(node: Node, recorder: Pid):
    for handle, delay_s in (("second", 0.02), ("first", 0.01), ("later", 5.0)):
        node.cast(recorder, (Atom("timer"), Atom(handle), delay_s))
    node.call(recorder, Atom("state"))
    time.sleep(0.03)  # nothing runs meanwhile, so both are due by the time the engine hears of the first
    gevent.sleep(0.01)
    assert node.call(recorder, Atom("state"))[-1] == ("elapsed", (Atom("first"), Atom("second")))


def test_exit_answers_first_and_ends_with_the_reason(node: Node, recorder: Pid):
    downs: list[Any] = []

    def watch(own: OwnProcess) -> None:
        own.monitor(recorder)
        downs.append(own.receive(timeout_s=2)[4])

    watcher = node.spawn(watch)
    gevent.sleep(0)
    assert node.call(recorder, (Atom("stop"), (Atom("shutdown"), 3))) is Atom("bye")
    while node.is_alive(watcher):
        gevent.sleep(0.001)
    assert downs == [(Atom("shutdown"), 3)]


def test_a_start_argument_that_is_none(node: Node):
    with pytest.raises(ErlangExit) as caught:
        node.start(Ticker, b"seven")
    assert caught.value.reason == (Atom("badarg"), b"seven")
