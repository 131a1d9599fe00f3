"""Tracing of our processes from a BEAM: with dbg, with ttb, and through the protocol that these speak."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent.socket
import pytest

from engines.ticker.server import Ticker
from erlang_bridge import Atom, ErlangError, Node, OwnProcess, Pid
from erlang_bridge.etf import decode
from erlang_bridge.process import ProcessTable
from erlang_bridge.process.tracing import TracingProcessTable
from erlang_bridge.testing.beams import Beam, Shell
from tests.servers import Counter, Idle
from tests.waiting import until

TRACE = Atom("trace")
OK = Atom("ok")
RETURN_TRACE = [(Atom("_"), [], [(Atom("return_trace"),)])]
HANDLE_CALL = (Atom("engines.ticker.server"), Atom("Ticker.handle_call"), 3)

RECEIVE_ALL = """
    R ! barrier__,
    (fun Rest() -> receive barrier__ -> []; Event__ -> [Event__ | Rest()] after 5000 -> [late] end end)()
"""
"""What a relay `R` has passed on: it does that with whatever it gets, in order."""


def is_untraced(node: Node) -> bool:
    processes = node.table.processes.values()
    return (
        type(node.table) is ProcessTable
        and not node.trace.breakpoints.functions
        and not node.trace.tracing.sessions
        and not any("Traced" in type(process).__name__ for process in processes)
    )


class Tracer:
    """A tracer on a BEAM, as dbg of OTP 27 and later is one: a relay with a session."""

    def __init__(self, shell: Shell, node: Node) -> None:
        self.shell, self.node = shell, node
        source = "R = spawn_link(N, dbg, do_relay, [dbg, self(), self()]), receive {started, R, S} -> {R, S} end"
        self.relay, self.session = shell.eval(source, N=node.name)

    def call(self, module: str, function: str, *arguments: Any) -> Any:
        about = {"Module__": Atom(module), "Function__": Atom(function), "Arguments__": list(arguments)}
        return self.shell.eval("erpc:call(N, Module__, Function__, Arguments__)", **about)

    def trace(self, who: Any, *flags: str) -> Any:
        return self.call("dbg", "erlang_trace", self.session, who, True, [Atom(flag) for flag in flags])

    def events(self) -> list[Any]:
        return self.shell.eval(RECEIVE_ALL)

    def stop(self) -> None:
        self.shell.eval("unlink(R), exit(R, done), catch erpc:call(N, erlang, node, [])")


@pytest.fixture
def ticker(node: Node) -> Pid:
    return node.start(Ticker, 0, name="ticker")


@pytest.fixture
def shell(shared_beam: Beam) -> Iterator[Shell]:
    """A process of a BEAM that others go on to use."""
    shell = shared_beam.shell()
    yield shell
    shell.end()


@pytest.fixture
def tracer(shell: Shell, node: Node) -> Tracer:
    return Tracer(shell, node)


# -- the protocol, on every release ---------------------------------------------------------------


def test_messages_calls_and_results_of_an_engine(tracer: Tracer, node: Node, ticker: Pid):
    assert tracer.call("trace", "function", tracer.session, HANDLE_CALL, RETURN_TRACE, [Atom("local")]) == 1
    assert tracer.trace(Atom("ticker"), "send", "receive", "call") == 1
    assert type(node.table) is TracingProcessTable
    assert tracer.shell.eval("gen_server:cast({ticker, N}, increment), gen_server:call({ticker, N}, count)") == 1
    cast, called, function, returned, reply = tracer.events()
    assert cast == (TRACE, ticker, Atom("receive"), (Atom("$gen_cast"), Atom("increment")))
    _, (caller, tag), request = called[3]
    assert (called[:3], caller, request) == ((TRACE, ticker, Atom("receive")), tracer.shell.pid, Atom("count"))
    state = {Atom("__class__"): Atom("TickerState"), Atom("counter"): 1}
    assert function == (TRACE, ticker, Atom("call"), (*HANDLE_CALL[:2], [Atom("count"), (caller, tag), state]))
    assert returned == (TRACE, ticker, Atom("return_from"), HANDLE_CALL, (Atom("reply"), 1, state))
    assert reply == (TRACE, ticker, Atom("send"), (tag, 1), tag.tail)
    tracer.stop()
    assert until(lambda: is_untraced(node))
    assert node.call("ticker", Atom("count")) == 1


def test_a_session_says_what_it_traces_and_takes_it_back(tracer: Tracer, node: Node, ticker: Pid):
    tracer.trace(ticker, "send", "receive", "call", "timestamp")
    info = tracer.call("trace", "info", tracer.session, ticker, Atom("flags"))
    assert info == (Atom("flags"), [Atom("call"), Atom("receive"), Atom("send"), Atom("timestamp")])
    assert tracer.call("trace", "info", tracer.session, ticker, Atom("tracer")) == (Atom("tracer"), tracer.relay)
    assert tracer.call("dbg", "get_info") == [(ticker, (Atom("proc_lib"), Atom("init_p"), 5), info[1])]
    assert tracer.call("trace", "process", tracer.session, ticker, False, [Atom("receive")]) == 1
    node.call("ticker", Atom("count"))
    (event,) = tracer.events()
    megas, seconds, micros = event[-1]
    assert (event[0], event[2]) == (Atom("trace_ts"), Atom("send"))
    assert abs(megas * 10**6 + seconds - __import__("time").time()) < 60
    assert 0 <= micros < 10**6
    assert tracer.call("trace", "process", tracer.session, Atom("all"), False, [Atom("all")]) > 1
    assert type(node.table) is ProcessTable
    assert tracer.call("trace", "session_destroy", tracer.session) is True
    assert tracer.call("trace", "session_destroy", tracer.session) is False
    assert is_untraced(node)


def test_the_life_of_processes(tracer: Tracer, node: Node, ticker: Pid):
    tracer.trace(Atom("new"), "procs")
    child: list[Pid] = []

    def parent(own: OwnProcess) -> None:
        child.append(own.node.start(Counter, 7, name="child"))
        own.unlink(child[0])
        own.link(child[0])
        own.receive(lambda message: message is Atom("go"))

    pid = node.spawn(parent)
    assert until(lambda: node.whereis("child") is not None)
    node.exit(pid, Atom("bang"))
    init = (Atom("tests.servers.Counter"), Atom("init"), [7])
    events = [event[1:] for event in tracer.events()]
    assert [event[1:] for event in events if event[0] == pid] == [
        (Atom("spawn"), child[0], init),
        (Atom("link"), child[0]),
        (Atom("unlink"), child[0]),
        (Atom("link"), child[0]),
        (Atom("exit"), Atom("bang")),
    ]
    assert [event[1:] for event in events if event[0] == child[0]] == [
        (Atom("spawned"), pid, init),
        (Atom("register"), Atom("child")),
        (Atom("getting_linked"), pid),
        (Atom("getting_unlinked"), pid),
        (Atom("getting_linked"), pid),
        (Atom("getting_unlinked"), pid),
        (Atom("exit"), Atom("bang")),
        (Atom("unregister"), Atom("child")),
    ]


def test_one_tracing_for_all_as_up_to_otp_26(shell: Shell, node: Node, ticker: Pid):
    source = "R = spawn_link(N, dbg, do_relay, [self(), self()]), receive {started, R} -> R end"
    relay = shell.eval(source, N=node.name)
    pattern = "erpc:call(N, erlang, trace_pattern, [X, [{'_', [], [{exception_trace}]}], [local]])"
    assert shell.eval(pattern, X=(*HANDLE_CALL[:2], Atom("_"))) == 1
    assert not node.trace.breakpoints.functions
    trace = "erpc:call(N, dbg, erlang_trace, [ticker, true, [{tracer, R}, call, arity]])"
    assert shell.eval(trace) == 1
    node.call("ticker", Atom("count"))
    called, returned = shell.eval(RECEIVE_ALL)
    assert called == (TRACE, ticker, Atom("call"), HANDLE_CALL)
    assert returned[:4] == (TRACE, ticker, Atom("return_from"), HANDLE_CALL)
    shell.eval("unlink(R), exit(R, done)")
    assert until(lambda: not node.is_alive(relay) and is_untraced(node))


def test_what_raises(tracer: Tracer, node: Node, ticker: Pid):
    what = (Atom("tests.servers"), Atom("Counter.handle_call"), 3)
    spec = [(Atom("_"), [], [(Atom("exception_trace"),), (Atom("message"), (Atom("caller"),))])]
    counter = node.start(Counter, 0)
    tracer.call("trace", "function", tracer.session, what, spec, [Atom("local")])
    tracer.trace(counter, "call")
    with pytest.raises(Exception, match="asked to crash"):
        node.call(counter, Atom("crash"))
    called, raised = tracer.events()
    assert called[4] == (Atom("erlang_bridge.otp.gen_server"), Atom("GenServer.handle_message"), 1)
    assert raised[2:4] == (Atom("exception_from"), what)
    assert raised[4] == (Atom("error"), (Atom("RuntimeError"), b"asked to crash"))


def test_a_match_specification_looks_at_the_arguments(tracer: Tracer, node: Node):
    what = (Atom("tests.servers"), Atom("Counter.handle_call"), 3)
    counter = node.start(Counter, 0)
    big = (Atom(">"), Atom("$1"), 10)
    spec = [([(Atom("add"), Atom("$1")), Atom("_"), Atom("_")], [big], [(Atom("message"), Atom("$1"))])]
    tracer.call("trace", "function", tracer.session, what, spec, [])
    tracer.trace(counter, "call")
    for amount in (1, 11, 5, 12):
        node.call(counter, (Atom("add"), amount))
    assert [event[-1] for event in tracer.events()] == [11, 12]


def test_only_messages_that_a_pattern_lets_through(tracer: Tracer, node: Node, ticker: Pid):
    spec = [([Atom("_"), Atom("_"), (Atom("$gen_cast"), Atom("_"))], [], [])]
    assert tracer.call("trace", "recv", tracer.session, spec, []) == 1
    assert tracer.call("trace", "send", tracer.session, False, []) == 1
    tracer.trace(ticker, "send", "receive")
    node.call("ticker", Atom("count"))
    node.cast("ticker", Atom("increment"))
    assert [event[3] for event in tracer.events()] == [(Atom("$gen_cast"), Atom("increment"))]


@pytest.mark.parametrize(
    ("module", "function", "arguments"),
    [
        ("dbg", "erlang_trace", [Atom("ticker"), True, [Atom("nonsense")]]),
        ("dbg", "erlang_trace", [Atom("ticker"), True, [Atom("cpu_timestamp")]]),
        ("trace", "function", [HANDLE_CALL, [(Atom("_"), [], [(Atom("set_seq_token"), Atom("send"), True)])], []]),
        ("trace", "function", [HANDLE_CALL, [(Atom("_"), [], [(Atom("trace"), [], [])])], []]),
        ("trace", "function", [HANDLE_CALL, [(Atom("_"), [(Atom("os_cmd"), 1)], [])], []]),
        ("trace", "function", [HANDLE_CALL, Atom("call_time"), []]),
        ("trace", "function", [HANDLE_CALL, [], [Atom("meta")]]),
        ("trace", "function", [Atom("nonsense"), [], []]),
        ("trace", "process", [Pid(Atom("nobody@nowhere"), 1, 0, 1), True, [Atom("send")]]),
    ],
)
def test_refused_in_words(tracer: Tracer, node: Node, ticker: Pid, module: str, function: str, arguments: Any):
    with pytest.raises(ErlangError) as caught:
        tracer.call(module, function, tracer.session, *arguments)
    (badarg, words), _ = caught.value.reason[1:3]
    assert badarg is Atom("badarg")
    assert len(words.split()) > 3
    assert type(node.table) is ProcessTable


def test_unknown_functions_modules_and_processes_match_nothing(tracer: Tracer, node: Node, ticker: Pid):
    for what in (
        ("no.such.module", "f", 1),
        ("engines.ticker.server", "nope", 1),
        ("engines.ticker.server", "Ticker.handle_call", 9),
    ):
        mfa = (Atom(what[0]), Atom(what[1]), what[2])
        assert tracer.call("trace", "function", tracer.session, mfa, [], []) == 0
    # Where events are told themselves: nobody could trace that and come to an end.
    mfa = (Atom("erlang_bridge.etf.encoder"), Atom("encode_into"), 2)
    assert tracer.call("trace", "function", tracer.session, mfa, [], []) == 0
    assert tracer.trace(Atom("nobody")) == (Atom("no_proc"), Atom("nobody"))


def test_a_tracer_that_is_killed_leaves_nothing(beam_factory: Callable[..., Beam], node: Node, ticker: Pid):
    beam = beam_factory()
    tracer = Tracer(beam.shell(), node)
    tracer.call("trace", "function", tracer.session, HANDLE_CALL, [], [])
    tracer.trace(Atom("all"), "send", "receive", "call", "procs", "running")
    assert node.trace.breakpoints.functions
    beam.kill()
    assert until(lambda: is_untraced(node))
    assert node.call("ticker", Atom("count")) == 0


def test_tracers_of_everything_do_not_tell_of_each_other(shared_beam: Beam, node: Node, ticker: Pid):
    tracers = [Tracer(shared_beam.shell(), node) for _ in range(2)]
    for tracer in tracers:
        tracer.trace(Atom("all"), "send", "receive", "procs")
    node.cast("ticker", Atom("increment"))
    relays = {tracer.relay for tracer in tracers}
    for tracer in tracers:
        events = tracer.events()
        assert (TRACE, ticker, Atom("receive"), (Atom("$gen_cast"), Atom("increment"))) in events
        assert not relays & {event[1] for event in events}
        tracer.stop()
        tracer.shell.end()
    assert until(lambda: is_untraced(node))


def test_a_relay_that_is_called_ends_with_who_it_is_for(shared_beam: Beam, node: Node):
    source = """
        Parent = spawn(fun() -> receive {started, R} -> Shell ! {relay, R} end, receive stop -> ok end end),
        erpc:send_request(N, dbg, do_relay, [Parent, Parent]),
        receive {relay, R} -> R end
    """
    shell = shared_beam.shell()
    relay = shell.eval(source, N=node.name, Shell=shell.pid)
    assert node.is_alive(relay)
    shell.eval("exit(Parent, kill)")
    assert until(lambda: not node.is_alive(relay))
    shell.end()


def test_a_relay_tells_what_it_dropped(tracer: Tracer, node: Node):
    idle = node.start(Idle)
    tracer.trace(idle, "receive")
    # All of them before the relay has a turn.
    for number in range(3000):
        node.table.send(None, idle, number)
    events = tracer.events()
    told = [event[3] for event in events if event[0] is TRACE]
    assert told == list(range(len(told)))
    assert len(told) >= 1000
    node.table.send(None, idle, Atom("last"))
    dropped, last = tracer.events()
    assert dropped == (Atom("drop"), 3000 - len(told))
    assert last[3] is Atom("last")


# -- trace ports ------------------------------------------------------------------------------------


PORT_FUN = """
-module(port_fun).
-export([make/2]).
make(Qsiz, Portno) -> fun() -> {Portno, Qsiz} end.
"""
"""As ``dbg:trace_port/2`` makes them: what the fun carries, in this order, is all that we can see of it."""


class Port:
    """A trace port, as ttb and etop open one."""

    def __init__(self, shell: Shell, node: Node, limit: int, number: int = 0) -> None:
        self.shell, self.node = shell, node
        source = """
            R = spawn_link(N, dbg, do_relay, [self(), {port, port_fun:make(Limit, Number)}]),
            receive {started, P} -> {R, P} end
        """
        self.relay, self.term = shell.eval(source, N=node.name, Limit=limit, Number=number)
        control = shell.eval("erpc:call(N, erlang, port_control, [P, $p, []])")
        zero, self.number = struct.unpack(">BH", control)
        assert zero == 0
        self.client: Any = None
        self.data = b""
        self.frames: list[Any] = []

    def trace(self, who: Any, *flags: str) -> int:
        source = "erpc:call(N, dbg, erlang_trace, [Who, true, [{tracer, P} | Flags]])"
        return self.shell.eval(source, Who=who, Flags=[Atom(flag) for flag in flags])

    def connect(self) -> None:
        self.client = gevent.socket.create_connection(("127.0.0.1", self.number), timeout=5)

    def read_until(self, condition: Callable[[list[Any]], bool]) -> list[Any]:
        """All frames so far: ``("trace", Term)`` or ``("dropped", Number)``."""
        while not condition(self.frames):
            data = self.client.recv(1 << 20)
            if not data:
                break
            self.data += data
            position = 0
            while len(self.data) >= position + 5:
                kind, size = struct.unpack_from(">BI", self.data, position)
                end = position + 5 + (size if kind == 0 else 0)
                if end > len(self.data):
                    break
                self.frames.append(("trace", decode(self.data[position + 5 : end])) if kind == 0 else ("dropped", size))
                position = end
            self.data = self.data[position:]
        return list(self.frames)

    def stop(self) -> None:
        self.shell.eval("unlink(R), exit(R, done)")


def is_listening(number: int) -> bool:
    try:
        gevent.socket.create_connection(("127.0.0.1", number), timeout=5).close()
    except OSError:
        return False
    return True


OpenPort = Callable[..., Port]


@pytest.fixture
def open_port(shared_beam: Beam, node: Node, compile_erlang: Callable[[str], bytes]) -> Iterator[OpenPort]:
    """Opens a trace port on the node, for so many messages."""
    shared_beam.load_module(compile_erlang(PORT_FUN))
    opened: list[Port] = []

    def make(limit: int, number: int = 0) -> Port:
        opened.append(Port(shared_beam.shell(), node, limit, number))
        return opened[-1]

    yield make
    for port in opened:
        if port.client is not None:
            port.client.close()
        port.shell.end()


def test_a_trace_port(open_port: OpenPort, node: Node, ticker: Pid):
    port = open_port(200)
    assert port.trace(ticker, "receive", "send", "timestamp") == 1
    # What comes before the client waits for it.
    node.cast("ticker", Atom("increment"))
    port.connect()
    node.call("ticker", Atom("count"))
    frames = port.read_until(lambda frames: len(frames) >= 3)
    assert [(kind, *event[:3]) for kind, event in frames] == [
        ("trace", Atom("trace_ts"), ticker, Atom("receive")),
        ("trace", Atom("trace_ts"), ticker, Atom("receive")),
        ("trace", Atom("trace_ts"), ticker, Atom("send")),
    ]
    assert frames[0][1][3] == (Atom("$gen_cast"), Atom("increment"))
    stamps = [event[-1] for _, event in frames]
    assert stamps == sorted(stamps)
    port.stop()
    assert port.read_until(lambda frames: False) == frames
    assert until(lambda: is_untraced(node))


def test_a_trace_port_ends_with_its_client(open_port: OpenPort, node: Node, ticker: Pid):
    port = open_port(200)
    port.trace(ticker, "receive")
    port.connect()
    # There is one client.
    assert until(lambda: not is_listening(port.number))
    port.client.close()
    assert until(lambda: is_untraced(node))
    assert node.is_alive(port.relay)
    port.stop()


def test_a_flood_is_bounded_and_counted(open_port: OpenPort, node: Node):
    limit, count = 100, 15_000
    port = open_port(limit)
    idle = node.start(Idle)
    port.trace(idle, "receive")
    port.connect()
    for number in range(count):
        node.table.send(None, idle, (number, b"x" * 1000))
    # Nobody has read anything so far, and nobody had to wait.
    assert until(lambda: not node.table.find(idle).mailbox)
    server = next(iter(node.trace.tracing.sessions[0].watches.values())).tracer
    assert len(server._queue) <= limit
    assert server.dropped > 0

    def seen(frames: list[Any]) -> int:
        return sum(1 if kind == "trace" else about for kind, about in frames)

    node.table.send(None, idle, Atom("last"))
    frames = port.read_until(lambda frames: seen(frames) + server.dropped >= count)
    node.table.send(None, idle, Atom("last"))
    frames = port.read_until(lambda frames: seen(frames) >= count + 2)
    numbers = [about[3][0] for kind, about in frames if kind == "trace" and type(about[3]) is tuple]
    assert numbers == sorted(set(numbers))
    assert any(kind == "dropped" for kind, _ in frames)


def test_running_and_waiting(open_port: OpenPort, node: Node):
    """What etop counts: a process that waits for an answer does not run meanwhile."""
    port = open_port(5000)
    slow = node.start(Counter, 0)
    asker = node.start(Counter, 0)
    port.connect()
    port.trace(Atom("all"), "running", "timestamp")
    node.call(asker, (Atom("call"), slow, (Atom("sleep"), 0.05)))
    frames = port.read_until(lambda frames: len([e for _, e in frames if e[1] == asker]) >= 4)
    turns = [event for kind, event in frames if event[1] == asker]
    assert [event[2].name for event in turns] == ["in", "out", "in", "out"]
    assert turns[0][3] == (Atom("tests.servers.Counter"), Atom("handle_message"), 1)

    def micros(event: Any) -> int:
        megas, seconds, micro = event[-1]
        return (megas * 10**6 + seconds) * 10**6 + micro

    assert micros(turns[2]) - micros(turns[1]) >= 50_000
    # Nobody who came in, and nobody else, goes out.
    inside: dict[Pid, int] = {}
    for _, (_, pid, kind, *_rest) in frames:
        inside[pid] = inside.get(pid, 0) + (1 if kind.name == "in" else -1)
        assert inside[pid] in (0, 1)


def test_trace_ports_are_bounded_and_end_with_their_node(
    beam_factory: Callable[..., Beam], node: Node, compile_erlang: Callable[[str], bytes]
):
    beam = beam_factory()
    beam.load_module(compile_erlang(PORT_FUN))
    # They are linked with whoever starts them.
    shell = beam.shell()
    source = """
        process_flag(trap_exit, true),
        Rs = [spawn_link(N, dbg, do_relay, [self(), {port, port_fun:make(10, 0)}]) || _ <- lists:seq(1, 120)],
        [receive {started, P} -> P end || _ <- Rs],
        {Rs, [receive {'EXIT', _, Reason} -> Reason end || _ <- lists:seq(1, 20)]}
    """
    relays, refused = shell.eval(source, N=node.name, timeout_s=20)
    assert refused == [Atom("normal")] * 20
    assert sum(map(node.is_alive, relays)) == 100
    assert until(lambda: "has 100 trace ports open, and opens no more" in beam.log_text())
    beam.kill()
    assert until(lambda: not any(map(node.is_alive, relays)))


def test_a_port_number_that_is_taken(beam: Beam, node: Node, compile_erlang: Callable[[str], bytes]):
    beam.load_module(compile_erlang(PORT_FUN))
    source = """
        process_flag(trap_exit, true), R = spawn_link(N, dbg, do_relay, [self(), {port, port_fun:make(10, Number)}]),
        receive {started, _} -> receive {'EXIT', R, Reason} -> Reason end end
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert beam.eval(source, N=node.name, Number=taken.getsockname()[1]) is Atom("normal")
    assert until(lambda: "has no trace port: cannot listen" in beam.log_text())
    assert is_untraced(node)


def test_a_file_is_never_written(beam: Beam, node: Node, tmp_path: Path):
    wanted = tmp_path / "trace.log"
    source = """
        process_flag(trap_exit, true), Fun = fun() -> File end, R = spawn_link(N, dbg, do_relay, [self(), {port, Fun}]),
        receive {started, _} -> receive {'EXIT', R, Reason} -> Reason end end
    """
    assert beam.eval(source, N=node.name, File=str(wanted)) is Atom("normal")
    assert not wanted.exists()
    assert is_untraced(node)


# -- dbg and ttb themselves -------------------------------------------------------------------------

COLLECT = "{ok, _} = dbg:tracer(process, {fun(M, P) -> P ! M, P end, self()}), {ok, N} = dbg:n(N), ok"


@pytest.mark.otp(maximum=27)
def test_dbg(beam: Beam, node: Node, ticker: Pid):
    shell = beam.shell()
    shell.eval(COLLECT, N=node.name)
    told = shell.eval("dbg:tpl('engines.ticker.server', 'Ticker.handle_call', 3, x)")
    assert (Atom("matched"), node.name, 1) in told[1]
    assert (Atom("matched"), node.name, 1) in shell.eval("dbg:p(ticker, [m, c])")[1]
    assert shell.eval("gen_server:call({ticker, N}, count)") == 0
    events = shell.eval("[receive Event__ -> Event__ after 5000 -> late end || _ <- lists:seq(1, 4)]")
    kinds = [event[2].name for event in events if event[1] == ticker]
    assert kinds == ["receive", "call", "return_from", "send"]
    shell.eval("dbg:i()")
    assert until(lambda: "c | p" in beam.log_text() or "c | r | s" in beam.log_text())
    assert shell.eval("dbg:stop()") is OK
    assert until(lambda: is_untraced(node))


@pytest.mark.otp(maximum=27)
def test_dbg_prints_what_it_is_told(beam: Beam, node: Node, ticker: Pid):
    shell = beam.shell()
    shell.eval("{ok, _} = dbg:tracer(), {ok, N} = dbg:n(N), {ok, _} = dbg:p(all, [m, p])", N=node.name)
    shell.eval("gen_server:cast({ticker, N}, increment)")
    assert until(lambda: "<< {'$gen_cast',increment}" in beam.log_text())
    shell.eval("dbg:stop()")
    assert until(lambda: is_untraced(node))


@pytest.mark.otp(maximum=25)
def test_ttb(beam: Beam, node: Node, ticker: Pid, tmp_path: Path):
    shell = beam.shell()
    file, folder, text = str(tmp_path / "t"), str(tmp_path / "fetched"), tmp_path / "t.txt"
    bindings = {"N": node.name, "File": file.encode(), "Dir": folder.encode(), "Out": str(text).encode()}
    shell.eval("{ok, [N]} = ttb:tracer(N, {file, {local, binary_to_list(File)}})", **bindings)
    shell.eval("ttb:tpl('engines.ticker.server', 'Ticker.handle_call', 3, return)")
    # Not what it sends: the formatter of ttb falls over a message to an alias, a BEAM's as well.
    shell.eval("ttb:p(ticker, [r, c])")
    for _ in range(3):
        shell.eval("gen_server:cast({ticker, N}, increment)")
    assert shell.eval("gen_server:call({ticker, N}, count)") == 3
    # Its reader is stopped before it has read everything, where that is under way.
    shell.eval("ttb:write_trace_info(all_of_it, read)")
    written = tmp_path / f"{node.name}-t.ti"
    assert until(lambda: written.exists() and b"all_of_it" in written.read_bytes())
    shell.eval("ttb:stop([{fetch_dir, binary_to_list(Dir)}])", timeout_s=20)
    assert until(lambda: is_untraced(node))
    shell.eval("ttb:format(binary_to_list(Dir), [{out, binary_to_list(Out)}])", timeout_s=20)
    shown = "".join(text.read_text().split())
    name = f"ticker,'{node.name}'"
    assert shown.count("<<{'$gen_cast',increment}") == 3
    assert "call'engines.ticker.server':'Ticker.handle_call'(count," in shown
    assert "returnedfrom'engines.ticker.server':'Ticker.handle_call'/3->{reply,3," in shown
    assert name in shown  # from the trace information
