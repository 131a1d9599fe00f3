"""The command line as a person or a script meets it: real processes, exit codes, one-line errors, bounded waits."""

from __future__ import annotations

import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from erlang_bridge import Atom
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.plugin import BeamFactory
from erlang_bridge.testing.releases import BeamRelease
from pyanoma.cli import COMMANDS
from tests.command_line import Command, Done
from tests.python_nodes import PythonNode
from tests.waiting import until

NAMELESS = "nobody@127.0.0.1"


# -- start ------------------------------------------------------------------------------------


def test_start_says_ready_can_be_reached_and_ends_on_sigterm(shared_beam: Beam, start: Any):
    program = start("--name", "cli_a@127.0.0.1")
    ready = program.stdout.readline()
    assert re.fullmatch(
        r"READY cli_a@127\.0\.0\.1 pid=\d+ port=\d+ ledger=/\S+/pyanoma/cli_a@127\.0\.0\.1\.sqlite\n", ready
    )
    assert f"pid={program.pid} " in ready
    source = "{net_adm:ping(N), gen_server:cast({ticker, N}, increment), gen_server:call({ticker, N}, count)}"
    assert shared_beam.eval(source, N=Atom("cli_a@127.0.0.1")) == (Atom("pong"), Atom("ok"), 1)
    program.send_signal(signal.SIGTERM)
    out, err = program.communicate(timeout=10)
    assert program.returncode == 0
    assert out == ""
    assert "Traceback" not in err


def test_start_ends_on_sigint(start: Any):
    program = start("--name", "cli_b@127.0.0.1")
    assert program.stdout.readline().startswith("READY ")
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=10)
    assert program.returncode == 0


def test_the_tree_stops_in_order(beam: Beam, start: Any):
    program = start("--name", "cli_c@127.0.0.1")
    program.stdout.readline()
    watch = """
        Names = [ticker, pyanoma_engines, pyanoma_sup],
        [monitor(process, {Name, N}) || Name <- Names],
        [gen_server:call({Name, N}, which_children) || Name <- tl(Names)],
        [receive {'DOWN', _, process, {Name, N}, Reason} -> {Name, Reason} after 10000 -> late end || _ <- Names]
    """
    downs = beam.begin(watch, N=Atom("cli_c@127.0.0.1"))
    until(downs.ready, 0.5)  # the monitors are set by then
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=10)
    shutdown = Atom("shutdown")
    names = ("ticker", "pyanoma_engines", "pyanoma_sup")
    assert downs.result() == [(Atom(name), shutdown) for name in names]


def test_a_crashed_ticker_is_restarted_by_its_supervisor(shared_beam: Beam, python: PythonNode):
    before = shared_beam.eval("erpc:call(N, erlang, whereis, [ticker])", N=python.node)
    shared_beam.eval("exit(P, kill)", P=before)
    after = shared_beam.wait_until(
        "case erpc:call(N, erlang, whereis, [ticker]) of P when is_pid(P), P =/= Old -> P; _ -> false end",
        N=python.node,
        Old=before,
    )
    assert after != before


def test_a_node_whose_tree_ends_by_itself_ends(shared_beam: Beam, start: Any):
    program = start("--name", "cli_i@127.0.0.1")
    program.stdout.readline()
    shared_beam.eval("exit(erpc:call(N, erlang, whereis, [pyanoma_sup]), kill)", N=Atom("cli_i@127.0.0.1"))
    _, err = program.communicate(timeout=10)
    assert program.returncode == 1
    assert err.endswith("pyanoma start: the supervision tree has ended: killed\n")


def test_connect_makes_a_visible_node_known(shared_beam: Beam, start: Any):
    program = start("--name", "cli_d@127.0.0.1", "--connect", shared_beam.name)
    assert program.stdout.readline().startswith("READY ")
    assert Atom("cli_d@127.0.0.1") in shared_beam.eval("nodes()")


def test_a_hidden_node_stays_out_of_nodes(shared_beam: Beam, start: Any):
    program = start("--name", "cli_e@127.0.0.1", "--hidden", "--connect", shared_beam.name)
    assert program.stdout.readline().startswith("READY ")
    visible, hidden = shared_beam.eval("{nodes(), nodes(hidden)}")
    assert Atom("cli_e@127.0.0.1") in hidden
    assert Atom("cli_e@127.0.0.1") not in visible


def test_a_node_that_comes_back_is_connected_again(beam: Beam, start: Any):
    program = start("--name", "cli_f@127.0.0.1", "--connect", beam.name)
    assert program.stdout.readline().startswith("READY ")
    beam.restart()
    assert beam.wait_until("lists:member('cli_f@127.0.0.1', nodes())", timeout_s=15)


def test_engines_from_flags_and_from_a_file(shared_beam: Beam, start: Any, tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        "from erlang_bridge import GenServer, Reply\n"
        "class Echo(GenServer):\n"
        "    def handle_call(self, request, caller, state): return Reply((state, request), state)\n"
    )
    (tmp_path / "node.toml").write_text('name = "cli_g@127.0.0.1"\n[engines]\nfrom_file = "mine:Echo"\n')
    program = start("--config", "node.toml", "--engine", "from_flag=mine:Echo")
    assert " engines=from_file,from_flag\n" in program.stdout.readline()
    source = """
        [begin {ok, P} = erpc:call(N, pyanoma, start_link, [E, 1]), Reply = gen_server:call(P, hi), unlink(P), Reply end
         || E <- [from_file, from_flag]]
    """
    assert shared_beam.eval(source, N=Atom("cli_g@127.0.0.1")) == [(1, Atom("hi"))] * 2


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, r"--name: expected a full node name such as 'py@127\.0\.0\.1'"),
        (("--name", "py"), 2, "--name: expected a full node name .*, got 'py'"),
        (("--name", "bad_a@127.0.0.1", "--engine", "x"), 2, "--engine: expected NAME=MODULE:CLASS"),
        (("--name", "bad_a@127.0.0.1", "--engine", "x=nope:X"), 2, "engine x: expected a module that can be imported"),
        (("--name", "bad_a@127.0.0.1", "--config", "none.toml"), 2, "--config: expected a file that can be read"),
        (("--name", "bad_a@127.0.0.1", "--cookie", "é" * 300), 2, "cookie: expected a cookie of 1 to 255"),
        (("--name", "bad_a@127.0.0.1", "--connect", NAMELESS), 3, "knows no node 'nobody@127.0.0.1'"),
        (("--name", "bad_a@127.0.0.1", "--connect", "x@no-such-host.invalid"), 3, "the host is unknown"),
    ],
)
def test_start_that_cannot(pyanoma: Command, arguments: tuple[str, ...], code: int, says: str):
    done = pyanoma("start", *arguments)
    assert done.code == code
    assert re.search(says, done.error_line)
    assert "READY" not in done.out


def test_start_with_a_name_that_is_taken(pyanoma: Command, python: PythonNode):
    done = pyanoma("start", "--name", python.name)
    assert done.code == 5
    assert "is already registered" in done.error_line


def test_start_with_another_cookie_than_the_node_to_connect_with(pyanoma: Command, shared_beam: Beam):
    done = pyanoma("start", "--name", "bad_b@127.0.0.1", "--connect", shared_beam.name, "--cookie", "vanilla")
    assert done.code == 4
    assert "the cookies differ" in done.error_line


def test_start_without_an_epmd(pyanoma: Command, unused_epmd_port: int):
    done = pyanoma("start", "--name", "x@127.0.0.1", "--no-embedded-epmd", ERL_EPMD_PORT=str(unused_epmd_port))
    assert done.code == 3
    assert f"no epmd answers at 127.0.0.1:{unused_epmd_port}" in done.error_line


def test_the_cookie_is_in_no_log(start: Any, beam_cookie: str):
    program = start("--name", "cli_h@127.0.0.1", "--log-level", "debug")
    program.stdout.readline()
    program.terminate()
    out, err = program.communicate(timeout=10)
    assert beam_cookie not in out + err


# -- ping -------------------------------------------------------------------------------------


def test_ping_a_beam(pyanoma: Command, shared_beam: Beam):
    done = pyanoma("ping", shared_beam.name)
    assert done.code == 0
    assert re.fullmatch(rf"pong {shared_beam.name}: connected in [\d.]+ ms, answered in [\d.]+ ms\n", done.out)


def test_ping_a_python_node(pyanoma: Command, python: PythonNode):
    done = pyanoma("ping", python.name, "--json")
    assert done.code == 0
    assert done.json()["answer"] == "pong"


def test_ping_a_beam_with_a_short_name(pyanoma: Command, beam_factory: BeamFactory):
    beam = beam_factory(name="cli_short@localhost")
    assert pyanoma("ping", beam.name).code == 0


@pytest.mark.parametrize(
    ("node", "code", "says"),
    [
        (NAMELESS, 3, "knows no node"),
        ("x@no-such-host.invalid", 3, "the host is unknown"),
        ("nonsense", 2, "NODE: expected a node name"),
    ],
)
def test_ping_nobody(pyanoma: Command, node: str, code: int, says: str):
    done = pyanoma("ping", node)
    assert done.code == code
    assert done.out.startswith(f"pang {node}: ")
    assert says in done.out
    assert done.took_s < 10


def test_ping_with_the_wrong_cookie(pyanoma: Command, shared_beam: Beam):
    done = pyanoma("ping", shared_beam.name, "--cookie", "vanilla", "--json")
    assert done.code == 4
    assert done.json()["answer"] == "pang"
    assert "the cookies differ" in done.json()["reason"]


def test_ping_a_frozen_node(pyanoma: Command, beam: Beam):
    beam.freeze()
    done = pyanoma("ping", beam.name, "--timeout", "1")
    beam.thaw()
    assert done.code == 6
    assert "within 1 s" in done.out
    assert done.took_s < 5


def test_ping_with_no_epmd(pyanoma: Command, unused_epmd_port: int):
    done = pyanoma("ping", NAMELESS, ERL_EPMD_PORT=str(unused_epmd_port))
    assert done.code == 3
    assert "no epmd answers" in done.out


# -- call -------------------------------------------------------------------------------------


def test_call_and_cast_a_python_engine(pyanoma: Command, python: PythonNode):
    assert pyanoma("call", python.name, "ticker", "increment", "--cast").out == "ok\n"
    done = pyanoma("call", python.name, "ticker", "count")
    assert (done.code, done.out) == (0, "1\n")


def test_call_a_beam(pyanoma: Command, shared_beam: Beam):
    done = pyanoma("call", shared_beam.name, "kernel_safe_sup", "{get_childspec, none}", "--json")
    assert done.code == 0
    assert done.json() == {"node": shared_beam.name, "name": "kernel_safe_sup", "reply": "{error,not_found}"}


def test_call_with_a_term_and_its_reply_as_erlang_writes_them(pyanoma: Command, shared_beam: Beam):
    shared_beam.eval("""
        register(echo, spawn(fun Loop() ->
            receive {'$gen_call', From, Request} -> gen_server:reply(From, {ok, Request}), Loop() end
        end))
    """)
    term = """{'A b', "text", <<"bin">>, #{1 => [x | y]}, -1.5, nil}"""
    done = pyanoma("call", shared_beam.name, "echo", term)
    shared_beam.eval("exit(whereis(echo), kill)")
    assert done.out == """{ok,{'A b',"text",<<"bin">>,#{1 => [x|y]},-1.5,nil}}\n"""


@pytest.mark.parametrize(
    ("name", "term", "code", "says"),
    [
        ("nobody", "count", 1, "nobody on .*: noproc"),
        ("ticker", "bogus", 1, "ticker on .*: {function_clause,"),
        ("ticker", "{a,", 2, "expected a term, at character 4"),
        ("ticker", "", 2, "expected a term"),
    ],
)
def test_call_that_fails(pyanoma: Command, python: PythonNode, name: str, term: str, code: int, says: str):
    done = pyanoma("call", python.name, name, term)
    assert done.code == code
    assert re.search(says, done.error_line)


def test_call_without_an_answer(pyanoma: Command, shared_beam: Beam):
    shared_beam.eval("register(silent, spawn(fun() -> timer:sleep(infinity) end))")
    done = pyanoma("call", shared_beam.name, "silent", "hello", "--timeout", "0.5")
    shared_beam.eval("exit(whereis(silent), kill)")
    assert done.code == 6
    assert "silent on " in done.error_line
    assert done.took_s < 5


def test_call_an_unknown_node(pyanoma: Command, epmd_port: int):
    done = pyanoma("call", NAMELESS, "x", "y")
    assert done.code == 3
    assert "knows no node" in done.error_line


# -- ps ---------------------------------------------------------------------------------------


def test_ps_of_a_python_node(pyanoma: Command, python: PythonNode):
    lines = {line["name"]: line for line in pyanoma("ps", python.name, "--json").json()}
    assert {"ticker", "pyanoma_sup", "pyanoma_engines", "net_kernel", "rex"} <= lines.keys()
    ticker = lines["ticker"]
    assert ticker["initial_call"] == "engines.ticker.server.Ticker:init/1"
    assert (ticker["status"], ticker["messages"]) == ("waiting", 0)
    assert ticker["memory"] > 0


def test_ps_of_a_beam(pyanoma: Command, shared_beam: Beam):
    done = pyanoma("ps", shared_beam.name)
    assert done.code == 0
    assert re.search(r"kernel_sup +supervisor:kernel/1 +waiting", done.out)
    assert re.search(rf"\d+ processes on {shared_beam.name}\n$", done.out)


def test_ps_with_a_limit(pyanoma: Command, shared_beam: Beam):
    done = pyanoma("ps", shared_beam.name, "--limit", "3")
    assert re.search(r"3 processes on .*, \d+ more left out", done.out)
    assert len(pyanoma("ps", shared_beam.name, "--limit", "3", "--json").json()) == 3


def test_ps_of_nobody(pyanoma: Command, epmd_port: int):
    assert pyanoma("ps", NAMELESS).code == 3


# -- doctor -----------------------------------------------------------------------------------


def by_subject(done: Done) -> dict[str, Any]:
    return {check["subject"]: check for check in done.json()}


def test_doctor_finds_no_problem(pyanoma: Command, shared_beam: Beam):
    done = pyanoma("doctor", shared_beam.name, "--name", "free@127.0.0.1", "--json")
    assert done.code == 0
    checks = by_subject(done)
    assert {check["state"] for check in checks.values()} == {"ok"}
    assert checks.keys() >= {"versions", "codec", "flags", "cookie", "epmd", "name", "registered", "connection"}
    assert f"Erlang/OTP {shared_beam.release.otp}" in checks["connection"]["found"]
    assert shared_beam.name.partition("@")[0] in checks["epmd"]["found"]
    assert checks["cookie"]["found"] == "the environment variable PYANOMA_COOKIE"


def test_doctor_for_people(pyanoma: Command, epmd_port: int):
    done = pyanoma("doctor", NAMELESS)
    assert done.code == 1
    assert re.search(r"registered +PROBLEM +epmd at .* knows no node 'nobody@127\.0\.0\.1'", done.out)
    assert "→ start it; or see what `epmd -names` says on 127.0.0.1" in done.out
    assert done.out.endswith("1 problem\n")


def test_doctor_and_a_wrong_cookie(pyanoma: Command, shared_beam: Beam):
    done = pyanoma("doctor", shared_beam.name, "--cookie", "vanilla", "--json")
    assert done.code == 1
    connection = by_subject(done)["connection"]
    assert connection["state"] == "problem"
    assert "the cookies differ" in connection["found"]
    assert "erlang:get_cookie()" in connection["remedy"]


def test_doctor_and_a_name_that_is_taken(pyanoma: Command, python: PythonNode):
    done = pyanoma("doctor", "--name", python.name, "--json")
    assert done.code == 1
    assert "has registered" in by_subject(done)["name"]["found"]


def test_doctor_without_an_epmd(pyanoma: Command, unused_epmd_port: int):
    done = pyanoma("doctor", "--json", ERL_EPMD_PORT=str(unused_epmd_port))
    assert done.code == 0
    assert by_subject(done)["epmd"]["state"] == "note"


def test_doctor_and_something_else_at_the_port_of_epmd(pyanoma: Command):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            server.settimeout(15)
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH\r\n" * 3)

        thread = threading.Thread(target=answer)
        thread.start()
        done = pyanoma("doctor", "--json", ERL_EPMD_PORT=str(port))
        thread.join(10)
    assert done.code == 1
    assert "ERL_EPMD_PORT to another port" in by_subject(done)["epmd"]["remedy"]


@pytest.mark.parametrize(
    ("arguments", "environ", "subject"),
    [
        (("nonsense",), {}, "node"),
        (("x@no-such-host.invalid",), {}, "host"),
        (("--name", "nonsense"), {}, "name"),
        (("--name", "x@no-such-host.invalid"), {}, "name"),
        ((NAMELESS, "--name", "short@host"), {}, "kinds of names"),
        ((), {"ERL_EPMD_PORT": "x"}, "epmd"),
    ],
)
def test_doctor_names_the_problem(
    pyanoma: Command, epmd_port: int, arguments: tuple[str, ...], environ: dict[str, str], subject: str
):
    done = pyanoma("doctor", *arguments, "--json", **environ)
    assert done.code == 1
    check = by_subject(done)[subject]
    assert check["state"] == "problem"
    assert check["remedy"]


def test_doctor_and_a_cookie_file_that_everyone_can_read(pyanoma: Command, tmp_path: Path):
    (tmp_path / ".erlang.cookie").write_text("chocolate")
    (tmp_path / ".erlang.cookie").chmod(0o644)
    done = pyanoma("doctor", "--json", PYANOMA_COOKIE="")
    assert done.code == 1
    assert "chmod 400" in by_subject(done)["cookie"]["found"]
    assert "chocolate" not in done.out


def test_doctor_and_no_cookie(pyanoma: Command, tmp_path: Path):
    done = pyanoma("doctor", "--json", PYANOMA_COOKIE="")
    assert done.code == 0
    assert by_subject(done)["cookie"]["state"] == "note"
    assert not (tmp_path / ".erlang.cookie").exists()


# -- all --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help(pyanoma: Command, command: tuple[str, ...]):
    done = pyanoma(*command, "--help")
    assert done.code == 0
    assert done.out.startswith("Usage: pyanoma")


def test_the_exit_codes_are_in_the_help(pyanoma: Command):
    out = pyanoma("--help").out
    for code in range(7):
        assert re.search(rf"^  +{code}  \w", out, re.MULTILINE)


def test_an_unknown_command(pyanoma: Command):
    assert pyanoma("launch").code == 2


# -- push -------------------------------------------------------------------------------------


def test_push_pyanoma_sup(pyanoma: Command, beam: Beam, beam_factory: BeamFactory, beam_releases: list[BeamRelease]):
    done = pyanoma("push", beam.name)
    if not beam.release.compiler:
        assert done.code == 1
        assert "compiler" in done.error_line
        able = next(release for release in beam_releases if release.compiler)
        done = pyanoma("push", beam.name, "--compile-on", beam_factory(release=able).name)
    assert (done.code, done.out) == (0, f"pyanoma_sup loaded into {beam.name}\n")
    assert beam.eval("is_list(pyanoma_sup:module_info(exports))") is True
    assert pyanoma("push", beam.name).out == f"pyanoma_sup is already in {beam.name}\n"
