"""OTP's own ``erl_call`` against our node: a C node, without most of the distribution's flags."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from erlang_bridge import Atom, ErlangExit, ErlangThrow, Node, RemoteCall
from erlang_bridge.kernel.group_leader import StdoutToCaller, Streams
from erlang_bridge.testing import BeamRelease, Program
from erlang_bridge.testing.programs import clean_environment
from tests.fix_node import NodeFactory
from tests.waiting import until

ErlCall = Callable[..., tuple[int | None, str]]


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def node(node_factory: NodeFactory, output: io.StringIO) -> Node:
    node = node_factory(streams=Streams(output))
    node.export("m", "add", lambda one, other: one + other)
    node.export("m", "echo", lambda term: term)
    node.export("m", "raise_it", _raise)
    node.export("m", "exit_it", _exit)
    node.export("m", "throw_it", _throw)
    node.export("m", "object", object)
    node.export("m", "say", lambda: _say(node))
    node.export("m", "say_in_a_process", lambda call: _say_in_a_process(node, call), with_call=True)
    return node


def _raise() -> None:
    raise ValueError("no")


def _exit() -> None:
    raise ErlangExit(Atom("gone"))


def _throw() -> None:
    raise ErlangThrow(Atom("ball"))


def _say(node: Node) -> Atom:
    node.print("first é")
    node.format(None, "~p~n", [[Atom("second"), 2.0]])
    # Nobody waits for this one to be written; it comes before the result all the same.
    node.print_to(node.table.current().group_leader, "third")  # type: ignore[union-attr]
    return Atom("said")


def _say_in_a_process(node: Node, call: RemoteCall) -> Atom:
    done: list[Any] = []
    node.spawn(lambda own: done.append(own.print("spawned")))
    until(lambda: done)
    return Atom("ok")


@pytest.fixture
def erl_call(beam_release: BeamRelease, epmd_port: int, beam_cookie: str, node: Node, tmp_path: Path) -> ErlCall:
    """Runs ``erl_call``: its exit status and what it printed, on standard output and error."""

    def run(*arguments: str, name: str = str(node.name), cookie: str = beam_cookie) -> tuple[int | None, str]:
        log = tmp_path / "erl_call.log"
        log.write_bytes(b"")
        command = [str(beam_release.program("erl_call")), "-name", name, "-c", cookie, *arguments]
        program = Program(command, log, clean_environment(tmp_path, ERL_EPMD_PORT=str(epmd_port)), tmp_path)
        status = program.wait(10)
        if status is None:
            program.kill()
        return status, log.read_text()

    return run


@pytest.mark.parametrize(
    ("call", "printed"),
    [
        ("m add [1,2]", "3"),
        ("m add [1,-300]", "-299"),
        ("m echo [{ok,\"string\",'an atom',[],1.5}]", "{ok, \"string\", 'an atom', [], 1.500000}"),
        ("erlang node", "'NODE'"),
        ("m nope [a]", "{badrpc, {'EXIT', {undef, [{m, nope, [a], []}]}}}"),
        ("m add [a]", "{badrpc, {'EXIT', {undef, [{m, add, [a], []}]}}}"),
        ("m exit_it", "{badrpc, {'EXIT', gone}}"),
        ("m throw_it", "ball"),
    ],
)
def test_apply(erl_call: ErlCall, node: Node, call: str, printed: str) -> None:
    assert erl_call("-a", call) == (0, printed.replace("NODE", node.name.name))


def test_an_exception_shows_where(erl_call: ErlCall) -> None:
    status, printed = erl_call("-a", "m raise_it")
    assert status == 0
    assert printed.startswith("{badrpc, {'EXIT', {{'ValueError', #Bin<110,111>}, [{")
    assert "test_erl_call.py" in printed


def test_a_result_without_a_term_is_an_error_there(erl_call: ErlCall) -> None:
    status, printed = erl_call("-a", "m object")
    assert status == 0
    assert printed.startswith("{badrpc, {'EXIT', ")
    assert "EtfEncodeError" in printed


def test_big_arguments_and_results(erl_call: ErlCall) -> None:
    text = "x" * 100_000
    assert erl_call("-a", f'm echo ["{text}"]') == (0, f"[{', '.join(['120'] * len(text))}]")


def test_output_comes_before_the_result(erl_call: ErlCall, output: io.StringIO) -> None:
    assert erl_call("-fetch_stdout", "-a", "m say") == (0, "first é\n[second,2.0]\nthirdsaid")
    assert output.getvalue() == ""


def test_output_alone(erl_call: ErlCall) -> None:
    assert erl_call("-fetch_stdout", "-no_result_term", "-a", "m say") == (0, "first é\n[second,2.0]\nthird")


def test_output_of_processes_that_the_call_starts(erl_call: ErlCall) -> None:
    assert erl_call("-fetch_stdout", "-a", "m say_in_a_process") == (0, "spawned\nok")


def test_without_fetch_stdout_it_is_printed_here(erl_call: ErlCall, output: io.StringIO) -> None:
    assert erl_call("-a", "m say") == (0, "said")
    assert output.getvalue() == "first é\n[second,2.0]\nthird"


def test_no_leader_is_left(erl_call: ErlCall, node: Node) -> None:
    erl_call("-fetch_stdout", "-a", "m say")
    erl_call("-fetch_stdout", "-a", "m raise_it")
    assert until(lambda: not _stdout_leaders(node))


def test_a_killed_call_leaves_no_leader(node: Node) -> None:
    """The function's process is ended from outside: its group leader ends too, though nobody has told it to."""
    hanging: list[Any] = []

    def hang(call: RemoteCall) -> None:
        hanging.append(call.process)
        call.process.receive()

    node.export("m", "hang", hang, with_call=True)
    with node._caller() as client:
        request: Any = (Atom("call"), Atom("m"), Atom("hang"), [], Atom("send_stdout_to_caller"))
        node.send("rex", (client.pid, request))
        assert until(lambda: hanging)
        assert len(_stdout_leaders(node)) == 1
        node.exit(hanging[0].pid, Atom("kill"))
        assert until(lambda: not _stdout_leaders(node))


def _stdout_leaders(node: Node) -> list[Any]:
    processes = list(node.table.processes.values())
    return [process for process in processes if isinstance(getattr(process, "instance", None), StdoutToCaller)]


@pytest.mark.parametrize("option", ["-r", "-R"])
def test_random_and_dynamic_client_names(erl_call: ErlCall, beam_release: BeamRelease, option: str) -> None:
    assert erl_call(option, "-a", "m add [1,2]") == (0, "3")


def test_the_client_is_hidden_and_gone_afterwards(erl_call: ErlCall, node: Node) -> None:
    up: list[Any] = []
    down: list[Any] = []
    node.monitor_nodes(lambda name, hidden: up.append(hidden), lambda name, hidden, reason: down.append(hidden))
    erl_call("-a", "m add [1,2]")
    assert until(lambda: down)
    assert (up, down) == ([True], [True])
    assert node.nodes("connected") == []


def test_it_goes_on_after_many(erl_call: ErlCall, node: Node) -> None:
    erl_call("-a", "m add [0,1]")
    before = len(node.table.processes)
    for number in range(10):
        assert erl_call("-a", f"m add [{number},1]") == (0, str(number + 1))
    assert until(lambda: len(node.table.processes) == before)


def test_wrong_cookie_and_unknown_node_fail(erl_call: ErlCall, node: Node) -> None:
    assert erl_call("-a", "m add [1,2]", cookie="wrong")[0] == 1
    assert erl_call("-a", "m add [1,2]", name="nobody@127.0.0.1")[0] == 1
    assert erl_call("-a", "m add [1,2]") == (0, "3")


def test_hidden_node_answers_too(erl_call: ErlCall, node_factory: NodeFactory) -> None:
    hidden = node_factory(hidden=True)
    hidden.export("m", "add", lambda one, other: one + other)
    assert erl_call("-a", "m add [1,2]", name=hidden.name.name) == (0, "3")


def test_q_ends_the_node(erl_call: ErlCall, node: Node) -> None:
    assert erl_call("-q") == (0, "")
    assert until(lambda: node.stopped)
    assert node.wait(5)
