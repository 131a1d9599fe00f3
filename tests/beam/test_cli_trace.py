"""``pyanoma trace`` of real nodes: text, JSON and page, and nothing left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gevent
import pytest

from engines.ticker.server import Ticker
from erlang_bridge import Atom, Node
from erlang_bridge.process import ProcessTable
from erlang_bridge.testing.beams import Beam
from tests.browser import look_at
from tests.command_line import Command
from tests.python_nodes import PythonNode
from tests.waiting import until

TALK = """
    Talk = fun Talk() ->
        gen_server:cast({ticker, N}, increment), gen_server:call({ticker, N}, count), timer:sleep(20), Talk()
    end,
    spawn(Talk)
"""
"""Uses the ticker of a node for as long as it lives."""


@pytest.fixture
def talking(shared_beam: Beam, python: PythonNode) -> Any:
    pid = shared_beam.eval(TALK, N=python.node)
    yield python
    shared_beam.eval("exit(P, kill)", P=pid)


@pytest.mark.otp(maximum=27)
def test_the_messages_of_an_engine(pyanoma: Command, talking: PythonNode, tmp_path: Path):
    done = pyanoma("trace", talking.name, "ticker", "--for", "10s", "--max", "9")
    assert done.code == 0
    *lines, said = done.out.splitlines()
    assert said.startswith("9 messages in 0.")
    assert said.endswith(f" s on {talking.name}")
    calls = [line for line in lines if "──▶ ticker" in line]
    replies = [line for line in lines if "◀── ticker" in line]
    casts = [line.split() for line in lines if "──▷ ticker" in line]
    assert len(calls) + len(replies) + len(casts) == 9
    assert all(line.split()[-2:] == ["call", "count"] for line in calls)
    assert all(line.split()[-1].isdecimal() for line in replies)
    assert {tuple(line[-4:]) for line in casts} == {("──▷", "ticker", "cast", "increment")}

    # Without names it is everything but the system's own.
    document = pyanoma("trace", talking.name, "--for", "300ms", "--json").json()
    names = [process["name"] for process in document["processes"]]
    assert "ticker" in names
    assert not set(names) & {"rex", "net_kernel", "logger_proxy", "user"}
    kinds = [entry["kind"] for entry in document["entries"]]
    assert kinds.count("call") >= 5
    assert document["left_out"] == 0

    done = pyanoma("trace", talking.name, "--for", "400ms", "--html", "trace.html")
    assert done.code == 0
    assert done.out.startswith("trace.html: ")
    script = """
        return {
            errors: document.documentElement.dataset.errors, node: document.getElementById("node").textContent,
            heads: [...document.querySelectorAll(".head b")].map(head => head.textContent),
            rows: document.querySelectorAll("g.row").length, said: document.getElementById("count").textContent,
        };
    """
    found = look_at(tmp_path, (tmp_path / "trace.html").read_text(), script)
    assert found["errors"] == "0"
    assert found["node"] == talking.name
    assert "ticker" in found["heads"]
    assert found["said"].split()[0] == done.out.split()[1]
    assert found["rows"] >= int(found["said"].split()[0]) > 10


def test_a_beam_and_nothing_stays(pyanoma: Command, beam: Beam):
    source = """
        register(srv, spawn(fun F() -> receive {From, X} -> From ! {ok, X}, F() end end)),
        register(cli, spawn(fun F() -> timer:sleep(20), srv ! {self(), hello}, receive _ -> F() end end)), ok
    """
    beam.eval(source)
    done = pyanoma("trace", beam.name, "cli", "srv", "--for", "300ms", "--json")
    if beam.eval("code:which(dbg)") is Atom("non_existing"):
        assert (done.code, done.error_line) == (
            1,
            f"pyanoma trace: {beam.name} cannot be traced: it has no runtime_tools",
        )
        return
    document = done.json()
    hello = [entry for entry in document["entries"] if entry["message"].endswith(",hello}")]
    assert len(hello) > 3
    assert {document["processes"][hello[0][end]]["name"] for end in ("from", "to")} == {"cli", "srv"}
    assert beam.eval("erlang:trace_info(whereis(cli), flags)") == (Atom("flags"), [])


def test_nothing_stays_on_the_node(pyanoma: Command, node: Node, environment: dict[str, str], tmp_path: Path):
    node.start(Ticker, 0, name="ticker")
    command = [sys.executable, "-m", "pyanoma", "trace", node.name.name, "--for", "60s"]
    program = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert until(lambda: type(node.table) is not ProcessTable, 15)
        node.cast("ticker", Atom("increment"))
        gevent.sleep(0.3)
        # Control-C ends it early, and shows what there is.
        program.send_signal(signal.SIGINT)
        assert until(lambda: program.poll() is not None, 10)
        out, err = program.communicate()
    finally:
        program.kill()
        program.wait()
        for stream in (program.stdout, program.stderr):
            assert stream is not None
            stream.close()
    assert (program.returncode, err) == (0, "")
    assert "increment" in out
    assert until(lambda: type(node.table) is ProcessTable)
    assert not node.trace.tracing.sessions


def test_what_cannot_be(pyanoma: Command, python: PythonNode):
    done = pyanoma("trace", python.name, "nobody")
    assert (done.code, done.error_line) == (
        1,
        f"pyanoma trace: no process is registered as 'nobody' on {python.name}",
    )
