"""The process around a behaviour: every kind of effect carried out, every kind of message heard."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gevent
import pytest

from engines.effects import CancelTimer, Effects, Exit, SetMailbox, SetTimer, Spawn, StopChild, Unwatch, Watch
from engines.engine import Dialect, Engine, Refused, ask, tell
from engines.environment import Mailbox
from engines.guards import (
    Elapsed,
    Ended,
    EngineBehaviour,
    First,
    GuardOutput,
    MessageArrived,
    Seq,
    Turn,
    on,
    on_ended,
    on_outcome,
    on_started,
)
from engines.messages import EngineID, Envelope, Message, decode_envelope, encode_envelope
from engines.ticker.server import Ticker
from erlang_bridge import Atom, CallTimeout, ErlangExit, Node, OwnProcess, Pid, Reply

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


# -- operations, children, watches, mailboxes, later replies --------------------------------------


@dataclass(frozen=True, slots=True)
class Later(Message):
    """Asks for a reply that comes in a later turn."""

    engine: ClassVar[str] = "worker"
    number: int


@dataclass(frozen=True, slots=True)
class Answer(Message):
    engine: ClassVar[str] = "worker"
    number: int


@dataclass(frozen=True, slots=True)
class Release(Message):
    """Sends the replies that are due."""

    engine: ClassVar[str] = "worker"


@dataclass(frozen=True, slots=True)
class Work(Message):
    """Has operations performed."""

    engine: ClassVar[str] = "worker"
    operations: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Worked(Message):
    engine: ClassVar[str] = "worker"
    what: Any


@dataclass(frozen=True, slots=True)
class Affect(Message):
    """Has the test's own effects carried out."""

    engine: ClassVar[str] = "worker"
    effects: Any


@dataclass(frozen=True, slots=True)
class Seen(Message):
    """Asks for the state."""

    engine: ClassVar[str] = "worker"


@dataclass(frozen=True, slots=True)
class SeenReply(Message):
    engine: ClassVar[str] = "worker"
    state: Any


@dataclass(frozen=True, slots=True)
class Inline:
    what: Any


@dataclass(frozen=True, slots=True)
class Apart:
    what: Any
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkerState:
    due: tuple[Envelope, ...] = ()
    seen: tuple[Any, ...] = ()


def saw(turn: Turn[WorkerState], what: Any, **effects: Any) -> Effects[WorkerState]:
    return Effects(replace(turn.state, seen=(*turn.state.seen, what)), **effects)


def put_off(turn: Turn[WorkerState], _args: None) -> Effects[WorkerState]:
    return Effects(replace(turn.state, due=(*turn.state.due, turn.envelope)))


def release(turn: Turn[WorkerState], _args: None) -> Effects[WorkerState]:
    replies = []
    for request in reversed(turn.state.due):
        assert isinstance(request.message, Later)
        reply = request.reply(turn.own, Answer(request.message.number))
        assert reply is not None
        replies.append(reply)
    return Effects(replace(turn.state, due=()), messages=tuple(replies))


def affect(turn: Turn[WorkerState], _args: None) -> Effects[WorkerState]:
    assert isinstance(turn.message, Affect)
    return replace(turn.message.effects, state=turn.state)


MESSAGES = (Later, Answer, Release, Work, Worked, Affect, Seen, SeenReply)

WORKER: EngineBehaviour[WorkerState] = EngineBehaviour(
    "worker",
    MESSAGES,
    lambda args: (args, WorkerState()),
    First(
        on_started(lambda turn, _: saw(turn, "started")),
        on_outcome(Worked, lambda turn, _: saw(turn, turn.message.what)),
        on(Later, put_off),
        on(Release, release),
        on(Work, lambda turn, _: saw(turn, "asked", operations=turn.message.operations)),
        on(Affect, affect),
        on(Seen, lambda turn, _: Effects(turn.state, replies=(SeenReply(turn.state.seen),))),
        on_ended(lambda turn, _: saw(turn, turn.trigger)),
    ),
    {1: Mailbox("first", open=False)},
    traps_exits=True,
)


class Worker(Engine):
    engine = WORKER
    apart = (Apart,)

    def perform(self, operation: Any, own: OwnProcess) -> Message | None:
        if operation.what is None:
            return None
        if operation.what == "fails":
            raise ZeroDivisionError("on request")
        if isinstance(operation, Apart):
            gevent.sleep(operation.seconds)
        return Worked((operation.what, own is self))


@pytest.fixture
def worker() -> Iterator[tuple[Node, Pid]]:
    engines = {"worker": Worker, "recorder": Recorder, "ticker": Ticker}
    with Node(NAME, cookie="secret", listen=False, engines=engines) as node:
        yield node, node.start(Worker, name="worker")


def seen(node: Node) -> tuple[Any, ...]:
    state: tuple[Any, ...] = ask(node, "worker", Seen()).state
    return state


def after(node: Node, count: int) -> tuple[Any, ...]:
    """What the worker has seen once that is so much."""
    deadline = time.monotonic() + 5
    while len(found := seen(node)) < count:
        assert time.monotonic() < deadline, found
        gevent.sleep(0.001)
    return found


def make(node: Node, **effects: Any) -> None:
    """Have the worker carry effects out."""
    node.send("worker", Envelope(None, EngineID(None, "worker"), Affect(Effects(None, **effects))))


def test_calls_are_answered_in_a_later_turn_each_with_its_own(worker: tuple[Node, Pid]):
    node, pid = worker
    answers: dict[int, Any] = {}

    def body(own: OwnProcess, number: int) -> None:
        if number % 2:
            answers[number] = ask(own, pid, Later(number)).number
        else:
            answers[number] = own.call(pid, (Atom("later"), {Atom("number"): number}))

    callers = [node.spawn(body, number) for number in range(4)]
    gevent.sleep(0.01)
    assert answers == {}
    node.cast(pid, Atom("release"))
    while any(map(node.is_alive, callers)):
        gevent.sleep(0.001)
    plain = {number: (Atom("answer"), {Atom("number"): number}) for number in (0, 2)}
    assert answers == {1: 1, 3: 3, **plain}


def test_a_later_reply_to_a_caller_that_has_given_up_reaches_nobody_else(worker: tuple[Node, Pid]):
    node, pid = worker
    heard_after: list[Any] = []

    def body(own: OwnProcess) -> None:
        with pytest.raises(CallTimeout):
            own.call(pid, (Atom("later"), {Atom("number"): 1}), timeout_s=0.01)
        own.cast(pid, Atom("release"))
        heard_after.append(own.call(pid, Atom("seen")))
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
            own.receive()

    ended = node.spawn(body)
    while node.is_alive(ended):
        gevent.sleep(0.001)
    assert heard_after == [(Atom("seen_reply"), {Atom("state"): ("started",)})]


def test_a_call_is_answered_by_what_goes_to_its_caller_only(worker: tuple[Node, Pid]):
    node, pid = worker
    answers: list[Any] = []
    caller = node.spawn(lambda own: answers.append(own.call(pid, (Atom("later"), {Atom("number"): 1}))))
    gevent.sleep(0.005)
    process = node.table.find(pid)
    assert process is not None
    (request,) = process.instance.environment.state.due  # type: ignore[attr-defined]
    other = Envelope(None, EngineID(None, "elsewhere"), Answer(9), reference=request.reference)
    make(node, messages=(other,))
    seen(node)
    assert answers == []
    node.cast(pid, Atom("release"))
    while node.is_alive(caller):
        gevent.sleep(0.001)
    assert answers == [(Atom("answer"), {Atom("number"): 1})]


def test_operations_inline_come_back_in_order_and_are_performed_by_the_engine(worker: tuple[Node, Pid]):
    node, _ = worker
    tell(node, "worker", Work((Inline(1), Inline(None), Inline(2))))
    assert after(node, 4) == ("started", "asked", (1, True), (2, True))


def test_operations_apart_do_not_hold_up_the_engine(worker: tuple[Node, Pid]):
    node, _ = worker
    tell(node, "worker", Work((Apart("slow", 0.05), Apart(None), Apart("fast"))))
    assert after(node, 3) == ("started", "asked", ("fast", False))
    assert after(node, 4)[-1] == ("slow", False)


@pytest.mark.parametrize("operation", [Inline("fails"), Apart("fails")])
def test_an_operation_that_raises_ends_the_engine(worker: tuple[Node, Pid], operation: Any):
    node, pid = worker
    tell(node, "worker", Work((operation,)))
    while node.is_alive(pid):
        gevent.sleep(0.001)


def test_an_operation_ends_with_its_engine(worker: tuple[Node, Pid]):
    node, pid = worker
    tell(node, "worker", Work((Apart("never", 60.0),)))
    after(node, 2)
    before = len(node.table.processes)
    make(node, exit=Exit(Atom("shutdown")))
    while node.is_alive(pid):
        gevent.sleep(0.001)
    gevent.sleep(0.01)
    assert len(node.table.processes) == before - 2


@pytest.mark.parametrize("reason", ["boom", "normal"])
def test_a_child_that_ends_is_a_turn(worker: tuple[Node, Pid], reason: str):
    node, pid = worker
    make(node, spawns=(Spawn("recorder", [], "child"),))
    seen(node)
    with contextlib.suppress(ErlangExit):
        node.call("child", (Atom("stop"), Atom(reason)))
    assert after(node, 2)[1:] == (Ended(EngineID(NAME, "child"), Atom(reason)),)
    assert node.is_alive(pid)


def test_a_child_that_is_stopped(worker: tuple[Node, Pid]):
    node, _ = worker
    make(node, spawns=(Spawn("ticker", 0, "child"),))
    make(node, spawns=(StopChild("child"), StopChild("nobody")))
    assert after(node, 2)[1:] == (Ended(EngineID(NAME, "child"), Atom("shutdown")),)
    assert node.whereis("child") is None


def test_an_engine_that_ends_takes_its_children_with_it(worker: tuple[Node, Pid]):
    node, _ = worker
    make(node, spawns=(Spawn("ticker", 0, "child"),))
    seen(node)
    make(node, exit=Exit(Atom("shutdown")))
    while node.whereis("child") is not None:
        gevent.sleep(0.001)


def test_a_parent_that_ends_is_the_end_of_one_that_traps_exits(worker: tuple[Node, Pid]):
    node, _ = worker
    make(node, spawns=(Spawn("worker", 0, "inner"),))
    seen(node)
    make(node, exit=Exit(Atom("shutdown")))
    while node.whereis("inner") is not None:
        gevent.sleep(0.001)


@pytest.mark.parametrize("reason", ["boom", "normal"])
def test_others_that_are_linked_with_one_that_traps_exits(worker: tuple[Node, Pid], reason: str):
    node, pid = worker

    def body(own: OwnProcess) -> None:
        own.link(pid)
        if reason == "boom":
            own.exit(own.pid, Atom("boom"))
            own.receive()

    other = node.spawn(body)
    while node.is_alive(other):
        gevent.sleep(0.001)
    gevent.sleep(0.01)
    assert node.is_alive(pid) == (reason == "normal")


@pytest.mark.parametrize("by_name", [True, False])
def test_one_that_is_watched(worker: tuple[Node, Pid], by_name: bool):
    node, _ = worker
    pid = node.start(Ticker, 0, name="watched")
    address = EngineID(None, "watched") if by_name else pid
    make(node, watches=(Watch(address), Watch(address)))
    seen(node)
    node.exit(pid, Atom("kill"))
    assert after(node, 2)[1:] == (Ended(address, Atom("killed")),)
    gevent.sleep(0.01)
    assert len(seen(node)) == 2


def test_one_that_is_watched_and_is_not_there(worker: tuple[Node, Pid]):
    node, _ = worker
    make(node, watches=(Watch(EngineID(NAME, "nobody")),))
    assert after(node, 2)[1:] == (Ended(EngineID(NAME, "nobody"), Atom("noproc")),)


def test_one_that_is_not_watched_any_more(worker: tuple[Node, Pid]):
    node, _ = worker
    pid = node.start(Ticker, 0, name="watched")
    make(node, watches=(Watch(pid), Unwatch(pid), Unwatch(pid)))
    seen(node)
    node.exit(pid, Atom("kill"))
    gevent.sleep(0.01)
    assert seen(node) == ("started",)


def test_calls_to_a_closed_mailbox_wait_until_it_is_opened(worker: tuple[Node, Pid]):
    node, pid = worker
    answers: list[Any] = []

    def body(own: OwnProcess, number: int) -> None:
        request = Envelope(None, EngineID(None, "worker"), Seen(), 1)
        answer = decode_envelope(own.call(pid, encode_envelope(request)), WORKER.messages)
        answers.append((number, answer.message))

    callers = []
    for number in range(3):
        callers.append(node.spawn(body, number))
        gevent.sleep(0)
    assert seen(node) == ("started",)
    assert answers == []
    make(node, mailboxes=(SetMailbox(1, "second", open=True),))
    while any(map(node.is_alive, callers)):
        gevent.sleep(0.001)
    assert answers == [(number, SeenReply(("started",))) for number in range(3)]


def test_an_envelope_for_a_mailbox_that_is_not_there_is_refused(worker: tuple[Node, Pid]):
    node, pid = worker
    request = encode_envelope(Envelope(None, EngineID(None, "worker"), Seen(), 7))
    assert node.call(pid, request) == (Atom("error"), (Atom("not_handled"), Atom("seen")))


def test_a_call_that_waits_in_a_mailbox_and_then_means_nothing_is_refused(worker: tuple[Node, Pid]):
    node, pid = worker
    answers: list[Any] = []

    def body(own: OwnProcess) -> None:
        answers.append(own.call(pid, encode_envelope(Envelope(None, EngineID(None, "worker"), SeenReply(()), 1))))

    caller = node.spawn(body)
    gevent.sleep(0)
    make(node, mailboxes=(SetMailbox(1, "second", open=True),))
    while node.is_alive(caller):
        gevent.sleep(0.001)
    assert answers == [(Atom("error"), (Atom("not_handled"), Atom("seen_reply")))]


@pytest.mark.parametrize(
    "sender", [(None, b"n" * 300), (b"a@b", b"n" * 300), (b"n" * 300, b"me"), (b"a@" + b"b" * 300, b"me")]
)
def test_a_sender_that_no_process_can_be_is_refused_and_ends_nothing(
    worker: tuple[Node, Pid], caplog: pytest.LogCaptureFixture, sender: Any
):
    node, pid = worker
    term = encode_envelope(Envelope(None, EngineID(None, "worker"), Seen()))
    node.send(pid, (term[0], sender, *term[2:]))
    assert seen(node) == ("started",)
    assert node.is_alive(pid)
    assert "cannot read a message: expected at most" in caplog.text


def test_what_would_go_to_a_name_that_is_too_long_is_dropped(
    worker: tuple[Node, Pid], caplog: pytest.LogCaptureFixture
):
    node, pid = worker
    targets = (EngineID(None, "n" * 256), EngineID("a@" + "b" * 254, "me"), EngineID("n" * 249, "me"))
    make(node, messages=tuple(Envelope(None, target, Seen()) for target in targets))
    assert seen(node) == ("started",)
    assert node.is_alive(pid)
    assert caplog.text.count("no process has a name as long") == 3


def test_a_message_that_looks_like_the_end_of_another_ends_nothing(node: Node, recorder: Pid):
    node.send(recorder, (Atom("EXIT"), recorder, Atom("bad")))
    assert node.call(recorder, Atom("state")) == []


# -- the common dialect ----------------------------------------------------------------------


def test_calls_that_cannot_be_read_are_refused_in_words(worker: tuple[Node, Pid]):
    node, pid = worker
    for request_term, said in (
        ((Atom("later"), {Atom("number"): b"1"}), b"number"),
        ((Atom("later"), {}), b"fields"),
        ((Atom("later"), {Atom("number"): 1, Atom("other"): 2}), b"fields"),
        ((Atom("later"), 1), b"map"),
        (Atom("later"), b"number"),
        (Atom("decrement"), b"no such message: decrement; worker knows later, answer"),
        (b"later", b"expected {Message, Fields}"),
        ((Atom("worker"), Atom("later"), {Atom("numbr"): 1}), b"fields"),
        ((Atom("ticker"), Atom("increment"), {}), b"no such message"),
    ):
        match node.call(pid, request_term):
            case (Atom("error"), (Atom("malformed"), text)):
                assert said in text
            case answer:
                raise AssertionError(answer)
        node.cast(pid, request_term)
    assert seen(node) == ("started",)


def test_a_call_that_means_nothing_in_the_common_dialect_is_refused(worker: tuple[Node, Pid]):
    node, pid = worker
    assert node.call(pid, (Atom("answer"), {Atom("number"): 1})) == (
        Atom("error"),
        (Atom("not_handled"), Atom("answer")),
    )
    with pytest.raises(Refused, match="not_handled"):
        ask(node, pid, Answer(1))
    node.cast(pid, (Atom("answer"), {Atom("number"): 1}))
    assert seen(node) == ("started",)


def test_the_three_forms_of_a_call(worker: tuple[Node, Pid]):
    node, pid = worker
    fields = (Atom("seen_reply"), {Atom("state"): ("started",)})
    assert node.call(pid, Atom("seen")) == fields
    assert node.call(pid, (Atom("seen"), {})) == fields
    assert node.call(pid, (Atom("worker"), Atom("seen"), {})) == fields


@pytest.mark.parametrize("by_pid", [True, False])
def test_nobody_else_can_tell_an_engine_what_its_operations_brought(
    worker: tuple[Node, Pid], by_pid: bool, caplog: pytest.LogCaptureFixture
):
    node, pid = worker
    own = pid if by_pid else EngineID(NAME, "worker")
    forged = encode_envelope(Envelope(own, EngineID(None, "worker"), Worked("forged")))
    with caplog.at_level(logging.WARNING, logger="engines"):
        node.send(pid, forged)
        node.cast(pid, forged)
        match node.call(pid, forged):
            case (Atom("error"), (Atom("malformed"), text)):
                assert b"this engine itself" in text
            case answer:
                raise AssertionError(answer)
    assert seen(node) == ("started",)
    assert caplog.text.count("this engine itself") == 3


def test_an_outcome_in_a_plain_call_is_none(worker: tuple[Node, Pid]):
    node, pid = worker
    answer = node.call(pid, (Atom("worked"), {Atom("what"): 1}))
    assert answer == (Atom("error"), (Atom("not_handled"), Atom("worked")))
    assert seen(node) == ("started",)
