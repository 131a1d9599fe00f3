"""What is told of traced processes, and that nothing of it stays."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from erlang_bridge.otp import gen
from erlang_bridge.otp.gen_server import GenServer, wait_started
from erlang_bridge.otp.own import OwnProcess
from erlang_bridge.otp.results import NoReply, Reply
from erlang_bridge.process import Process, ProcessTable
from erlang_bridge.process.process import BehaviourProcess, BodyProcess, GuestProcess
from erlang_bridge.process.scheduler import Worker
from erlang_bridge.process.tracing import EVERYTHING, Session, TraceEvent, Tracing, TracingProcessTable
from erlang_bridge.terms import Atom, Pid
from tests.waiting import until

ALL = frozenset({"send", "receive", "procs", "running"})


class Echo(GenServer):
    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        match request:
            case ("sleep", seconds):
                gevent.sleep(seconds)
            case ("ask", pid, question):
                return Reply(self.call(pid, question), state)
        return Reply(request, state)

    def handle_info(self, message: Any, state: Any) -> Any:
        return NoReply(state)


class Recorder:
    """A tracer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[TraceEvent] = []
        self.own: Process | None = None

    def put(self, event: TraceEvent, flags: frozenset[str]) -> None:
        self.events.append(event)

    def owns(self, process: Process) -> bool:
        return process is self.own

    def of(self, pid: Pid, *kinds: str) -> list[Any]:
        return [
            (event.kind, *event.details)
            for event in self.events
            if event.pid == pid and (not kinds or event.kind in kinds)
        ]


@pytest.fixture
def tracing(table: ProcessTable) -> Tracing:
    return Tracing(table)


@pytest.fixture
def session(tracing: Tracing) -> Session:
    session = Session("test")
    tracing.add_session(session)
    return session


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def start(table: ProcessTable, **options: Any) -> Process:
    process = table.find(wait_started(table, Echo, None, **options)[1])
    assert process is not None
    return process


def watch(tracing: Tracing, session: Session, process: Process, recorder: Recorder, *flags: str) -> bool:
    watched = tracing.watch(session, process, frozenset(flags), recorder)
    tracing.refresh()
    return watched


def test_classes_while_and_after(tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable):
    echo, other = start(table), start(table)
    body = table.add_body(lambda: gevent.sleep(0.05))
    assert watch(tracing, session, echo, recorder, "send")
    assert watch(tracing, session, body, recorder, "running")
    assert (type(table), type(other)) == (TracingProcessTable, BehaviourProcess)
    assert BehaviourProcess in type(echo).__bases__
    assert BodyProcess in type(body).__bases__
    gevent.sleep(0.01)
    tracing.end_session(session)
    assert [type(each) for each in (table, echo, other, body)] == [
        ProcessTable,
        BehaviourProcess,
        BehaviourProcess,
        BodyProcess,
    ]
    assert until(lambda: not body.alive)


def test_the_table_is_as_before_when_the_last_watched_has_ended(
    tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable
):
    echo = start(table)
    watch(tracing, session, echo, recorder, "procs")
    table.exit(echo, Atom("bang"))
    assert type(table) is ProcessTable
    assert recorder.of(echo.pid) == [("exit", Atom("bang"))]
    assert not session.watches


def test_a_call_between_two(
    tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable, me: GuestProcess
):
    asker, echo = start(table), start(table)
    for process in (asker, echo):
        watch(tracing, session, process, recorder, "send", "receive")
    assert gen.call(me, asker.pid, ("ask", echo.pid, "hi")) == "hi"
    _, question, to = recorder.of(asker.pid, "send")[0]
    assert to == echo.pid
    assert recorder.of(echo.pid) == [("receive", question), ("send", (question[1][1], "hi"), question[1][1].tail)]
    # The reply comes in, though it does not go through the mailbox.
    assert [kind for kind, *_ in recorder.of(asker.pid)] == ["receive", "send", "receive", "send"]
    assert recorder.of(asker.pid, "receive")[1] == ("receive", (question[1][1], "hi"))


def test_a_message_to_a_name_of_this_node_is_one_message(
    tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable
):
    sender, echo = start(table), start(table, name=Atom("echo"))
    for process in (sender, echo):
        watch(tracing, session, process, recorder, "send", "receive")
    table.send(sender, (Atom("echo"), table.node_name), 1)
    table.send(sender, Atom("nobody"), 2)
    table.send(sender, (Atom("far"), Atom("far@away")), 3)
    assert [(event.kind, *event.details) for event in recorder.events] == [
        ("send", 1, (Atom("echo"), table.node_name)),
        ("receive", 1),
        ("send_to_non_existing_process", 2, Atom("nobody")),
        ("send", 3, (Atom("far"), Atom("far@away"))),
    ]


def test_the_end_of_a_monitored_process_is_received(
    tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable, me: GuestProcess
):
    echo = start(table)
    watch(tracing, session, me, recorder, "receive")
    call = gevent.spawn(gen.call, me, echo.pid, ("sleep", 5), None)
    gevent.sleep(0.01)
    table.exit(echo, Atom("bang"))
    with pytest.raises(Exception, match="bang"):
        call.get(timeout=2)
    ((_, down),) = recorder.of(me.pid)
    assert (down[0], down[2:]) == (Atom("DOWN"), (Atom("process"), echo.pid, Atom("bang")))


def test_running_and_blocked(
    tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable, me: GuestProcess
):
    echo = start(table)
    watch(tracing, session, echo, recorder, "running")
    gen.call(me, echo.pid, "now")
    gen.call(me, echo.pid, ("sleep", 0.01))
    kinds = [kind for kind, *_ in recorder.of(echo.pid)]
    assert kinds == ["in", "out", "in", "out", "in", "out"] or kinds == ["in", "out", "in", "out", "in"]
    assert recorder.of(echo.pid)[0][1] == (Atom(f"{Echo.__module__}.Echo"), Atom("handle_message"), 1)
    gevent.sleep(0.01)
    assert all(type(worker) is Worker for worker in table.scheduler._idle)


def test_a_body_that_waits_for_mail(tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable):
    own = OwnProcess()
    seen: list[Any] = []

    def body() -> None:
        seen.append(own.receive())

    process = own._process = table.add_body(body)
    watch(tracing, session, process, recorder, "running", "receive")
    gevent.sleep(0.01)
    table.send(None, process.pid, "mail")
    assert until(lambda: seen == ["mail"])
    assert [kind for kind, *_ in recorder.of(process.pid)][:4] == ["in", "out", "receive", "in"]


def test_a_trace_that_ends_while_a_process_is_in_its_turn(
    tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable
):
    own = OwnProcess()
    process = own._process = table.add_body(own.receive)
    watch(tracing, session, process, recorder, "running")
    assert until(lambda: len(recorder.events) == 2)
    (worker,) = tracing.workers.values()
    tracing.end_session(session)
    assert type(worker) is Worker
    assert not tracing.workers
    table.send(None, process.pid, "mail")
    assert until(lambda: not process.alive)
    assert len(recorder.events) == 2


def test_who_comes_later(tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable):
    session.new = (frozenset({"procs"}), recorder)
    tracing.refresh()
    echo = start(table)
    session.new = None
    tracing.refresh()
    assert not tracing.watches_of(start(table))
    table.exit(echo, Atom("bang"))
    assert recorder.of(echo.pid) == [("exit", Atom("bang"))]
    assert type(table) is ProcessTable


@pytest.mark.parametrize(("flag", "generations"), [("set_on_spawn", 2), ("set_on_first_spawn", 1)])
def test_who_is_spawned_by_a_watched_process(
    tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable, flag: str, generations: int
):
    own, children = OwnProcess(), []

    def child() -> None:
        children.append(table.add_body(lambda: None))

    def parent() -> None:
        children.append(table.add_body(child))
        children.append(table.add_body(lambda: None))

    process = own._process = table.add_body(parent)
    watch(tracing, session, process, recorder, "procs", flag)
    assert until(lambda: len(children) == 3 and not any(child.alive for child in children))
    first, second, grandchild = children
    assert [event[0] for event in recorder.of(first.pid)] == ["spawned", "spawn", "exit"]
    assert bool(recorder.of(grandchild.pid)) is (generations == 2)
    assert bool(recorder.of(second.pid)) is (generations == 2)


def test_who_is_linked(tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable):
    one, other = start(table), start(table)
    watch(tracing, session, one, recorder, "procs", "set_on_link")
    table.link(one, other.pid)
    table.link(one, other.pid)  # which is no news
    table.unlink(other, one.pid)
    assert recorder.of(one.pid) == [("link", other.pid), ("getting_unlinked", other.pid)]
    assert recorder.of(other.pid) == [("unlink", one.pid)]


def test_a_tracer_is_not_traced(tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable):
    recorder.own = start(table)
    assert not watch(tracing, session, recorder.own, recorder, "send")
    assert type(recorder.own) is BehaviourProcess


def test_what_serves_a_tracer_is_watched_by_no_session(
    tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable
):
    serving = start(table)
    watch(tracing, session, serving, recorder, "receive")
    tracing.serve(serving)
    assert type(serving) is BehaviourProcess
    assert not watch(tracing, session, serving, recorder, "receive")
    tracing.serve_no_more(serving)
    assert watch(tracing, session, serving, recorder, "receive")


def test_two_sessions_do_not_meet(tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable):
    second, their = Session("second"), Recorder()
    tracing.add_session(second)
    echo = start(table)
    watch(tracing, session, echo, recorder, "receive")
    watch(tracing, second, echo, their, "receive")
    second.receive = lambda arguments, process: EVERYTHING if arguments[2] == "wanted" else None
    table.send(None, echo.pid, "wanted")
    table.send(None, echo.pid, "other")
    tracing.end_session(session)
    table.send(None, echo.pid, "wanted")
    assert recorder.of(echo.pid) == [("receive", "wanted"), ("receive", "other")]
    assert their.of(echo.pid) == [("receive", "wanted"), ("receive", "wanted")]


def test_one_tracer_for_a_process_in_a_session(
    tracing: Tracing, session: Session, recorder: Recorder, table: ProcessTable
):
    echo = start(table)
    assert watch(tracing, session, echo, recorder, "receive")
    assert not watch(tracing, session, echo, Recorder(), "send")
    assert watch(tracing, session, echo, recorder, "send")
    assert tracing.unwatch(session, echo, frozenset({"receive"}))
    assert session.watches[echo.pid.id].flags == {"send"}


def test_a_tracer_that_raises_harms_nobody(
    tracing: Tracing, session: Session, table: ProcessTable, me: GuestProcess, caplog: pytest.LogCaptureFixture
):
    class Broken(Recorder):
        def put(self, event: TraceEvent, flags: frozenset[str]) -> None:
            raise RuntimeError("no")

    echo = start(table)
    watch(tracing, session, echo, Broken(), *ALL)
    assert gen.call(me, echo.pid, "hi") == "hi"
    assert "could not be told" in caplog.text


def test_a_tracer_that_ends_everything_in_the_middle(
    tracing: Tracing, session: Session, table: ProcessTable, me: GuestProcess
):
    class Ending(Recorder):
        def put(self, event: TraceEvent, flags: frozenset[str]) -> None:
            super().put(event, flags)
            tracing.end_session(session)

    for flag in sorted(ALL):
        tracing.add_session(session)
        ending = Ending()
        echo = start(table)
        watch(tracing, session, echo, ending, flag)
        assert gen.call(me, echo.pid, "hi") == "hi"
        table.register(Atom("named"), echo)
        table.exit(echo, Atom("bang"))
        assert len(ending.events) == 1
        assert type(table) is ProcessTable
