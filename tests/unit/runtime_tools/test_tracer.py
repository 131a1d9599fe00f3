"""``node.trace``: sessions from Python, their handlers and their end; tracing while new code is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from engines.ticker.server import Ticker
from erlang_bridge import Atom, ErlangExit, GenServer, Node, NoReply, OwnProcess, Reply, Stop
from erlang_bridge.process import ProcessTable
from erlang_bridge.process.breakpoints import code_of
from erlang_bridge.process.tracing import TraceEvent
from erlang_bridge.runtime_tools.trace_targets import find_target, loaded_modules, targets_of
from erlang_bridge.runtime_tools.trace_terms import trace_message
from erlang_bridge.runtime_tools.tracer import parse_function
from tests.code_projects import COUNTER, Project
from tests.servers import Counter
from tests.waiting import until

HANDLE_CALL = "engines.ticker.server:Ticker.handle_call/3"
COUNT = Atom("count")
INCREMENT = Atom("increment")


@pytest.fixture
def node() -> Iterator[Node]:
    """A node that nobody can reach."""
    with Node("trace@127.0.0.1", cookie="c", listen=False) as node:
        node.start(Ticker, 0, name="ticker")
        yield node
        assert type(node.table) is ProcessTable
        assert not node.trace.breakpoints.functions
        assert not node.trace.tracing.sessions


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    yield project
    project.close()


def test_a_session_tells_its_handler(node: Node):
    lines: list[str] = []
    with node.trace.session("ticker", handler=lambda event: lines.append(node.trace.text(event))) as trace:
        node.cast("ticker", INCREMENT)
        assert node.call("ticker", COUNT) == 1
        assert trace.is_running
    assert until(lambda: len(lines) == 3)
    assert lines[0] == "ticker << {'$gen_cast',increment}"
    assert lines[1].startswith("ticker << {'$gen_call',{<")
    assert lines[2].startswith("ticker -> #Ref<")
    assert lines[2].endswith(",1}")
    node.call("ticker", COUNT)
    gevent.sleep(0.01)
    assert len(lines) == 3


def test_calls_with_what_they_return(node: Node):
    with node.trace.session("ticker", ["call"]) as trace:
        assert trace.calls(HANDLE_CALL, returns=True) == 1
        node.call("ticker", COUNT)
    assert until(lambda: len(trace.events) == 2)
    called, returned = map(node.trace.text, trace.events)
    assert called.startswith("ticker calls engines.ticker.server:Ticker.handle_call(count, {<")
    assert returned.startswith("ticker returns from engines.ticker.server:Ticker.handle_call/3 -> {reply,0,#{")


def test_functions_of_a_server_by_its_class_and_by_its_module(node: Node):
    with node.trace.session("all", ["call"], calls=["engines.ticker.server.Ticker:handle_call/3"]) as trace:
        node.call("ticker", COUNT)
        assert trace.calls("engines.ticker.server") > 5
        assert trace.calls("engines.ticker.behaviour:count_reply") == 1
        assert len(node.trace.breakpoints.functions) > 5
        node.call("ticker", COUNT)
        assert trace.watch("new", "call") == 0
    assert until(lambda: len(trace.events) > 3)
    names = {event.details[0][1].name for event in trace.events}
    assert {"handle_call", "Ticker._decide", "count_reply"} <= names


@pytest.mark.parametrize(
    ("arguments", "options", "what"),
    [
        (("nobody",), {}, "no process nobody"),
        (("ticker", ["sent"]), {}, "unknown flag sent"),
        (("ticker",), {"calls": ["engines.ticker.server:nope"]}, "no function engines.ticker.server:nope"),
        (("ticker",), {"calls": ["no.such.module:f/1"]}, "no function"),
        (("ticker",), {"calls": ["a:b/c"]}, "expected module:function/arity"),
    ],
)
def test_a_trace_that_cannot_be(node: Node, arguments: Any, options: Any, what: str):
    with pytest.raises(ValueError, match=what):
        node.trace.start(*arguments, **options)
    assert not node.trace.tracing.sessions


def test_a_slow_handler_holds_nobody_up(node: Node):
    handled: list[TraceEvent] = []

    def slow(event: TraceEvent) -> None:
        gevent.sleep(0.005)
        handled.append(event)

    with node.trace.session("ticker", ["receive"], slow, limit=10) as trace:
        for _ in range(500):
            node.cast("ticker", INCREMENT)
        assert node.call("ticker", COUNT) == 500
        assert trace.dropped > 400
    assert until(lambda: len(handled) + trace.dropped == 501)


def test_without_a_handler_the_oldest_are_kept(node: Node):
    with node.trace.session("ticker", ["receive"], limit=3) as trace:
        for _ in range(5):
            node.call("ticker", COUNT)
    assert until(lambda: len(trace.events) + trace.dropped == 5)
    assert len(trace.events) == 3


def test_a_handler_that_raises_ends_its_trace(node: Node, caplog: pytest.LogCaptureFixture):
    trace = node.trace.start("ticker", ["receive"], lambda event: 1 // 0)
    assert node.call("ticker", COUNT) == 0
    assert until(lambda: not trace.is_running)
    assert "ZeroDivisionError" in caplog.text
    assert type(node.table) is ProcessTable


def test_a_trace_ends_with_the_process_that_started_it(node: Node):
    traces: list[Any] = []

    def starter(own: OwnProcess) -> None:
        traces.append(own.node.trace.start("ticker", ["receive"]))

    node.spawn(starter)
    assert until(lambda: traces and not traces[0].is_running)
    assert type(node.table) is ProcessTable


def test_a_trace_ends_with_its_own_process(node: Node):
    def leave(event: TraceEvent) -> None:
        raise gevent.GreenletExit

    killed = node.trace.start("ticker", ["receive", "call"], calls=[HANDLE_CALL])
    left = node.trace.start("ticker", ["receive"], leave)
    node.exit(killed._process.pid, Atom("kill"))
    node.cast("ticker", INCREMENT)
    assert until(lambda: not killed.is_running and not left.is_running)
    assert not node.trace.breakpoints.functions
    killed.stop()


def test_traces_of_everything_do_not_tell_of_each_other(node: Node, caplog: pytest.LogCaptureFixture):
    told: list[list[Any]] = [[], []]
    earlier = node.trace.start("all", ["send", "receive", "procs"])

    def handler(number: int) -> Any:
        def handle(event: TraceEvent) -> None:
            told[number].append(event)
            node.table.send(node.table.current(), Atom("nobody"), number)

        return handle

    flags = ["send", "receive", "procs", "running", "set_on_link"]
    traces = [node.trace.start("all", flags, handler(number)) for number in (0, 1)]
    gevent.sleep(0.05)
    for events in told:
        events.clear()
    node.cast("ticker", INCREMENT)
    gevent.sleep(0.05)
    own = {trace._process.pid for trace in (earlier, *traces)}
    for events in told:
        assert ("receive", (Atom("$gen_cast"), INCREMENT)) in [(event.kind, event.details[0]) for event in events]
        assert not own & {event.pid for event in events}
        assert len(events) < 20
    for trace in (earlier, *traces):
        trace.stop()
    assert not caplog.records


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_nodes_of_one_interpreter_trace_the_same_function(node: Node, order: tuple[int, int]):
    function = Ticker.handle_call
    before = function.__code__
    with Node("other@127.0.0.1", cookie="c", listen=False) as other:
        other.start(Ticker, 0, name="ticker")
        nodes = (node, other)
        traces = [one.trace.start("ticker", ["call"], calls=[HANDLE_CALL]) for one in nodes]
        for count in (1, 2):
            for one in nodes:
                one.call("ticker", COUNT)
            assert code_of(function) is before
            if count == 1:
                traces[order[0]].stop()
        traces[order[1]].stop()
        assert until(lambda: [len(traces[number].events) for number in order] == [1, 2])
    assert function.__code__ is before
    assert "__wrapped__" not in vars(function)


def test_what_fails_with_each_event_is_logged_once(node: Node, caplog: pytest.LogCaptureFixture):
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not to be compared")

        __hash__ = None  # type: ignore[assignment]

    def look(arguments: list[Any], process: Any) -> Any:
        return Odd() == arguments[2]

    with node.trace.session("ticker", ["receive"]) as trace:
        trace._session.receive = look
        for _ in range(5):
            node.cast("ticker", INCREMENT)
        node.call("ticker", COUNT)
    assert caplog.text.count("could not look at an event") == 1


def test_a_node_that_stops_traces_no_more():
    with Node("trace@127.0.0.1", cookie="c", listen=False) as node:
        node.trace.start("all", ["send", "receive", "procs"], calls=["engines.ticker.server"])
        node.start(Ticker, 0)
    assert not node.trace.breakpoints.functions


def test_results_and_messages_are_told_as_terms(node: Node):
    class Server(GenServer):
        def init(self, args: Any) -> Any:
            return 0

        def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
            match request:
                case "wait":
                    return Reply(1, 2, timeout_s=0.01)
                case "stop":
                    return Stop(Atom("normal"), 1, reply=2)
            return NoReply(object())

        def handle_info(self, message: Any, state: Any) -> Any:
            return NoReply(state)

    pid = node.start(Server)
    module = f"{Server.__module__}:{Server.__qualname__}"
    target = find_target((Server.__module__, Server.__qualname__ + ".handle_call", 3))
    assert target is None, module  # it is no attribute of its module
    with node.trace.session(pid, ["receive", "send"]) as trace:
        assert node.call(pid, "wait") == 1
        gevent.sleep(0.03)
        node.cast("ticker", object())
        assert node.call(pid, "stop") == 2
    assert until(lambda: len(trace.events) == 5)
    messages = [trace_message(event, frozenset())[3] for event in trace.events]
    assert messages[2] is Atom("timeout")


def test_tracing_goes_on_in_new_code(node: Node, project: Project):
    project.module("counter", COUNTER)
    pid = node.start(project.get("counter", "Counter"), 5)
    name = project.name("counter")
    with node.trace.session(pid, ["call"], calls=[f"{name}:Counter.handle_call/3", f"{name}:said/1"]) as trace:
        old = project.get("counter", "said")
        assert node.call(pid, "said") == ("one", 5)
        project.edit("counter", '"one"', '"two"')
        node.code.load(name)
        assert node.call(pid, "said") == ("two", 5)
        assert old is project.get("counter", "said") or old not in node.trace.breakpoints.functions
    assert until(lambda: len(trace.events) == 4)
    assert [event.details[0][1].name for event in trace.events] == ["Counter.handle_call", "said"] * 2


def test_a_crash_is_reported_as_without_a_trace(node: Node):
    traces = []
    for flags in ([], ["call"]):
        pid = node.start(Counter, 0)
        calls = ["tests.servers:Counter.handle_call/3"] if flags else []
        with node.trace.session(pid, flags, calls=calls), pytest.raises(ErlangExit) as caught:
            node.call(pid, Atom("crash"))
        traces.append(caught.value.reason)
    assert traces[0] == traces[1]


def test_targets():
    assert "engines.ticker.server" in loaded_modules()
    assert not [name for name in loaded_modules() if name.startswith(("erlang_bridge", "gevent", "os"))]
    names = {target.mfa[1:] for target in targets_of("engines.ticker.server")}
    assert {("increment", 2), ("count", 3), ("Ticker.handle_call", 3), ("Ticker.init", 1)} <= names
    assert {target.mfa[1:] for target in targets_of("engines.ticker.server.Ticker")} >= {("handle_call", 3)}
    assert not list(targets_of("erlang_bridge.process.process"))
    assert not list(targets_of("no.such.module"))
    count = find_target(("engines.ticker.server", "count", 1))
    assert count is not None
    assert not count.is_bound
    assert find_target(("engines.ticker.server", "count", 0)) is None
    assert find_target(("engines.ticker.server", "TICKER", 0)) is None
    assert find_target(("os.path", "join", 2)) is None
    assert find_target(("erlang_bridge.process.process", "Process.deliver", 1)) is None


def test_names_of_functions():
    assert parse_function("m.n:C.f/2") == ("m.n", "C.f", 2)
    assert parse_function("m.n:f") == ("m.n", "f", None)
    assert parse_function("m.n") == ("m.n", "_", None)
    with pytest.raises(ValueError, match="expected"):
        parse_function(":f")
