"""Log events across nodes: crashes of our processes in a BEAM's log, as stock OTP prints them, and theirs in ours."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from erlang_bridge import Atom, ErlangExit, ErlangThrow, GenServer, Node, Reply, Stop
from erlang_bridge.kernel.logger_proxy import report_text
from erlang_bridge.testing import INIT_ANSWER
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.elixir import Elixir
from tests.fix_node import NodeFactory
from tests.waiting import until

OK = Atom("ok")
HERE = re.escape(__file__)

REMOTE = "erlang_bridge.remote"


class Faulty(GenServer):
    """Fails in every way there is."""

    def init(self, args: Any) -> Any:
        if args is Atom("bad"):
            raise KeyError("no such start")
        if args is Atom("labelled"):
            self.set_label(Atom("faulty_one"))
        return args

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        match request:
            case Atom("raise"):
                deeper(1)
            case Atom("exit"):
                raise ErlangExit(Atom("gone"))
            case Atom("throw"):
                raise ErlangThrow(Atom("ball"))
            case Atom("object"):
                return Reply(OK, object())
        return None

    def handle_cast(self, message: Any, state: Any) -> Any:
        match message:
            case Atom("raise"):
                deeper(1)
            case (Atom("stop"), reason):
                return Stop(reason, state)
            case Atom("wrong"):
                return "not a result"
        return None


class Secretive(Faulty):
    def format_status(self, status: dict[str, Any]) -> dict[str, Any]:
        return {**status, "state": Atom("hidden")}


class Deaf(GenServer):
    def handle_call(self, request: Any, caller: Any, state: Any) -> Reply:
        return Reply(request, state)


def deeper(levels: int) -> None:
    if levels:
        deeper(levels - 1)
    raise ValueError("a sorry café")


ENGINES = {"faulty": Faulty, "secretive": Secretive, "deaf": Deaf}


@pytest.fixture
def node(node_factory: NodeFactory) -> Node:
    return node_factory(engines=ENGINES)


def supervise(beam: Beam, node: Node, engine: str = "faulty", argument: Any = 0) -> Any:
    """A stock supervisor on the BEAM with one engine as its child; a shell of the BEAM owns it."""
    beam.load_module(INIT_ANSWER)
    shell = beam.shell()
    shell.eval(
        """
        process_flag(trap_exit, true),
        Child = #{id => engine, start => {erpc, call, [N, pyanoma, start_link, [E, A]]}, restart => temporary},
        {ok, S} = supervisor:start_link(init_answer, {ok, {#{}, []}}),
        supervisor:start_child(S, Child)
        """,
        N=node.name,
        E=Atom(engine),
        A=argument,
    )
    return shell


def normal(text: str) -> str:
    """A log with blanks and line breaks as one blank: how a report wraps depends on the length of names in it."""
    return re.sub(r"\s+", " ", text)


def wait_for_report(beam: Beam, pattern: str) -> str:
    """Wait until the log, its blanks made one, has a match of `pattern`; the log."""
    assert until(lambda: re.search(pattern, normal(beam.log_text()))), f"{pattern}\nis not in\n{beam.log_text()}"
    return beam.log_text()


# -- our crashes in a BEAM's log ----------------------------------------------------------------


def test_an_exception_in_a_call(beam: Beam, node: Node) -> None:
    shell = supervise(beam, node)
    shell.eval("catch gen_server:call({faulty, N}, raise)", N=node.name)
    trace = rf"\{{'[\w.]+',deeper,1, \[\{{file,\"{HERE}\"\}}, ?\{{line,\d+\}}\]\}}"
    terminating = (
        r"=ERROR REPORT==== \S+ === "
        r"\*\* Generic server faulty terminating "
        r"\*\* Last message in was raise "
        r"\*\* When Server state == 0 "
        r"\*\* Reason for termination == \*\* "
        rf"\{{\{{'ValueError',<<\"a sorry café\"/utf8>>\}}, \[{trace}, {trace}, "
        rf"\{{'[\w.]+','Faulty.handle_call',3, \[\{{file,\"{HERE}\"\}}, ?\{{line,\d+\}}\]\}}\]\}} "
        rf"\*\* Client <0\.\d+\.0> is remote on node '{beam.name}'"
    )
    crash = (
        r"=CRASH REPORT==== \S+ === "
        r"crasher: initial call: '[\w.]+\.Faulty':init/1 "
        r"pid: <\d+\.\d+\.0> registered_name: faulty "
        r"exception error: \{'ValueError',<<\"a sorry café\"/utf8>>\} "
        rf"in function '[\w.]+':deeper/1 \({HERE}(:|, line )\d+\) "
        rf"in call from '[\w.]+':deeper/1 \({HERE}(:|, line )\d+\) "
        rf"in call from '[\w.]+':'Faulty.handle_call'/3 \({HERE}(:|, line )\d+\) "
        r"ancestors: \[<0\.\d+\.0>\] message_queue_len: 0 messages: \[\] links: \[<0\.\d+\.0>\] dictionary: \[\] "
        r"trap_exit: false status: running heap_size: \d+ stack_size: \d+ reductions: \d+ neighbours:"
    )
    wait_for_report(beam, _latin1_on_old(beam, terminating))
    wait_for_report(beam, _latin1_on_old(beam, crash))
    text = wait_for_report(beam, r"=SUPERVISOR REPORT==== .* errorContext: child_terminated")
    assert text.count("CRASH REPORT") == text.count("Generic server") == text.count("SUPERVISOR REPORT") == 1


def _latin1_on_old(beam: Beam, pattern: str) -> str:
    """What a BEAM without a terminal prints of characters beyond ASCII depends on the release."""
    return pattern.replace("café", r"caf\S{1,8}")


@pytest.mark.parametrize(
    ("action", "terminating", "crash"),
    [
        ("gen_server:cast({faulty, N}, raise)",
         r"Last message in was \{'\$gen_cast',raise\} .* Reason for termination == \*\* \{\{'ValueError',",
         r"exception error: \{'ValueError',"),
        ("gen_server:call({faulty, N}, exit)",
         r"Last message in was exit .* Reason for termination == \*\* \{gone, ?\[\{'[\w.]+','Faulty.handle_call',3,",
         r"exception exit: gone in function '[\w.]+':'Faulty.handle_call'/3"),
        ("gen_server:call({faulty, N}, throw)",
         r"Reason for termination == \*\* \{bad_return_value,ball\}",
         r"exception exit: \{bad_return_value,ball\}|exception throw: ball"),
        ("gen_server:call({faulty, N}, nonsense)",
         r"Reason for termination == \*\* \{function_clause, \[\{'[\w.]+',handle_call, \[nonsense,",
         r"exception error: no function clause matching '[\w.]+':handle_call\(nonsense,"),
        ("gen_server:cast({faulty, N}, {stop, because})",
         r"Last message in was \{'\$gen_cast',\{stop,because\}\} .* Reason for termination == \*\* because",
         r"exception exit: because"),
        ("gen_server:cast({faulty, N}, wrong)",
         r"Reason for termination == \*\* \{bad_return_value,<<\"not a result\">>\}",
         r"exception exit: \{bad_return_value,<<\"not a result\">>\}"),
    ],
)  # fmt: skip
def test_each_way_to_fail(beam: Beam, node: Node, action: str, terminating: str, crash: str) -> None:
    supervise(beam, node).eval(f"catch {action}", N=node.name)
    wait_for_report(beam, rf"\*\* Generic server faulty terminating .*{terminating}")
    wait_for_report(beam, rf"CRASH REPORT====.* registered_name: faulty {crash}")


@pytest.mark.parametrize("reason", [Atom("normal"), Atom("shutdown"), (Atom("shutdown"), Atom("enough"))])
def test_an_orderly_end_is_no_report(beam: Beam, node: Node, reason: Any) -> None:
    shell = supervise(beam, node)
    shell.eval("gen_server:cast({faulty, N}, {stop, R})", N=node.name, R=reason)
    assert until(lambda: node.whereis("faulty") is None)
    shell.eval('logger:error("the next line")')
    beam.wait_for_log("the next line")
    assert "CRASH REPORT" not in beam.log_text()
    assert "Generic server" not in beam.log_text()


def test_a_failed_start(beam: Beam, node: Node) -> None:
    supervise(beam, node, argument=Atom("bad"))
    wait_for_report(
        beam,
        r"CRASH REPORT==== .* registered_name: (faulty|\[\]) exception error: \{'KeyError',<<\"'no such start'\">>\} "
        rf"in function '[\w.]+':'Faulty.init'/1 \({HERE}",
    )
    assert "Generic server" not in beam.log_text()


def test_a_state_without_a_term_is_shown_all_the_same(beam: Beam, node: Node) -> None:
    shell = supervise(beam, node)
    shell.eval("gen_server:call({faulty, N}, object), catch gen_server:call({faulty, N}, raise)", N=node.name)
    wait_for_report(beam, r"\*\* When Server state == <<\"<object object at \w+>\">>")
    wait_for_report(beam, "CRASH REPORT")


def test_format_status_hides(beam: Beam, node: Node) -> None:
    supervise(beam, node, "secretive", b"password").eval("catch gen_server:call({secretive, N}, raise)", N=node.name)
    wait_for_report(beam, r"\*\* When Server state == hidden")
    wait_for_report(beam, "CRASH REPORT")
    assert "password" not in beam.log_text()


def test_waiting_messages_and_the_label_are_in_the_report(beam: Beam, node: Node) -> None:
    shell = supervise(beam, node, argument=Atom("labelled"))
    # Suspended, so that both are there when the first is handled.
    source = "F = {faulty, N}, sys:suspend(F), gen_server:cast(F, raise), F ! {left, <<1>>}, sys:resume(F)"
    shell.eval(source, N=node.name)
    wait_for_report(beam, r"process_label: faulty_one .* message_queue_len: 1 messages: \[\{left,<<1>>\}\]")


def test_an_unexpected_message_is_a_warning(beam: Beam, node: Node) -> None:
    supervise(beam, node, "deaf").eval("{deaf, N} ! {who, knows}", N=node.name)
    wait_for_report(
        beam,
        r"=WARNING REPORT==== \S+ === \*\* Undefined handle_info in '[\w.]+' \*\* Unhandled message: \{who,knows\}",
    )
    assert node.call("deaf", Atom("alive")) == Atom("alive")


def test_a_spawned_function_that_raises(beam: Beam, node: Node) -> None:
    node.export("m", "deeper", deeper)
    beam.eval("spawn(N, m, deeper, [0])", N=node.name)
    wait_for_report(
        beam, rf"CRASH REPORT==== .* exception error: \{{'ValueError',<<.*>>\}} in function '[\w.]+':deeper/1 \({HERE}"
    )


def test_without_a_leader_there_it_is_logged_here_alone(
    beam: Beam, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.connect(beam.name)
    with caplog.at_level(logging.ERROR, "erlang_bridge.crash"):
        node.start(Faulty, name="faulty")
        node.cast("faulty", Atom("raise"))
        assert until(lambda: "ValueError: a sorry café" in caplog.text)
    assert __file__ in caplog.text
    beam.eval('logger:error("the next line")')
    beam.wait_for_log("the next line")
    assert "CRASH" not in beam.log_text()


def test_elixir_prints_it_readably(elixir: Elixir, node: Node) -> None:
    shell = elixir.shell()
    shell.eval(
        """
        child = %{id: :c, start: {:erpc, :call, [n, :pyanoma, :start_link, [:faulty, %{a: 1}]]}}
        {:ok, _} = Supervisor.start_link([child], strategy: :one_for_one)
        """,
        n=node.name,
    )
    shell.eval("try do GenServer.call({:faulty, n}, :raise) catch :exit, _ -> :ok end")
    elixir.wait_for_log(
        r"\[error\] GenServer :faulty terminating\n"
        r'\*\* \(stop\) \{:ValueError, "a sorry café"\}\n'
        rf"    {HERE}:\d+: :?\"?[\w.]+\"?\.deeper/1\n"
        rf"    {HERE}:\d+: :?\"?[\w.]+\"?\.deeper/1\n"
        rf"    {HERE}:\d+: :?\"?[\w.]+\"?\.\"Faulty.handle_call\"/3\n"
        r"Last message \(from #PID<0\.\d+\.0>\): :raise\n"
        r"State: %\{a: 1\}\n"
        r"Client #PID<0\.\d+\.0> is remote on node :\"elixir"
    )


# -- their log events in ours -------------------------------------------------------------------


@pytest.fixture
def remote_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, REMOTE)
    return caplog


def wait_for_record(remote_log: pytest.LogCaptureFixture, pattern: str) -> Any:
    def found() -> list[logging.LogRecord]:
        return [
            record
            for record in remote_log.records
            if record.name == REMOTE and re.search(pattern, normal(record.getMessage()))
        ]

    assert until(found), f"{pattern}\nis not in\n{remote_log.text}"
    return found()[0]


def test_an_error_of_a_process_that_we_started(
    shared_beam: Beam, node: Node, remote_log: pytest.LogCaptureFixture
) -> None:
    pid, _ = node.spawn_remote(shared_beam.name, "erlang", "error", [Atom("boom")])
    record = wait_for_record(
        remote_log, rf"Error in process <\S+> on node '{shared_beam.name}' with exit value: \{{boom,"
    )
    assert record.levelno == logging.ERROR
    assert record.erlang_pid == pid
    assert record.erlang_node == Atom(shared_beam.name)
    assert isinstance(record.erlang_metadata, dict)


@pytest.mark.parametrize(
    ("level", "number"),
    [
        ("emergency", logging.CRITICAL),
        ("alert", logging.CRITICAL),
        ("critical", logging.CRITICAL),
        ("error", logging.ERROR),
        ("warning", logging.WARNING),
        ("notice", logging.INFO),
    ],
)
def test_levels(shared_beam: Beam, node: Node, remote_log: pytest.LogCaptureFixture, level: str, number: int) -> None:
    node.rpc(shared_beam.name, "logger", "log", [Atom(level), b"~ts is ~p", ["λ", [1]]])
    assert wait_for_record(remote_log, r"λ is \[1\]").levelno == number


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (b"plain \xce\xbb", "plain λ"),
        ([ord(character) for character in "charlist λ"], "charlist λ"),
        ({Atom("what"): Atom("happened"), Atom("why"): [Atom("reasons")]}, r"what: happened why: \[reasons\]"),
        ([(Atom("key"), [97, 98])], "key: ab"),
    ],
)
def test_strings_and_reports(
    shared_beam: Beam, node: Node, remote_log: pytest.LogCaptureFixture, event: Any, text: str
) -> None:
    node.rpc(shared_beam.name, "logger", "log", [Atom("error"), event])
    wait_for_record(remote_log, text)


def test_crash_of_their_server(shared_beam: Beam, node: Node, remote_log: pytest.LogCaptureFixture) -> None:
    shared_beam.load_module(INIT_ANSWER)
    result = node.rpc(shared_beam.name, "gen_server", "start", [Atom("init_answer"), (OK, Atom("its_state")), []])
    node.cast(result[1], Atom("unknown"))
    wait_for_record(remote_log, r"Generic server <\S+> terminating .* Server state == its_state .* \{undef,")
    wait_for_record(remote_log, r"CRASH REPORT crasher: initial call: init_answer:init/1 .* exception error: undef")


def test_events_that_are_none_do_no_harm(shared_beam: Beam, node: Node, remote_log: pytest.LogCaptureFixture) -> None:
    proxy = node.whereis("logger_proxy")
    shared_beam.eval(
        """
        [{logger_proxy, N} ! M || M <- [junk, {log}, {log, error, "~p ~p", [1], #{}}, {log, error, #{label =>
            {proc_lib, crash}, report => junk}, junk}, {log, nonsense, <<255>>, []}, {log, error, [a | b], #{pid => x}},
            {log, error, {no, report}, #{}}, {log, 1, 2, 3, 4, 5}, {log, error, #{label => {gen_server, terminate}}, #{}},
            {log, error, #{label => {supervisor, error}}, #{}}, {log, error, [1 bsl 70], #{}}]],
        {logger_proxy, N} ! {log, error, "the ~p", [last], #{}}
        """,
        N=node.name,
    )
    wait_for_record(remote_log, "the last")
    assert node.whereis("logger_proxy") == proxy
    wait_for_record(remote_log, r"label => \{proc_lib,crash\}")


def test_supervisor_reports_are_readable() -> None:
    report = {
        Atom("label"): (Atom("supervisor"), Atom("child_terminated")),
        Atom("report"): [(Atom("supervisor"), (Atom("local"), Atom("sup"))), (Atom("reason"), Atom("boom"))],
    }
    assert report_text(report) == "SUPERVISOR REPORT\n    supervisor: {local,sup}\n    reason: boom"
