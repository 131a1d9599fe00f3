"""``pyanoma shell``, from a machine without Erlang: at a terminal, over a pipe, with ``-c``; and where it is off."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from erlang_bridge import Node
from erlang_bridge.shell import preemption
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.programs import clean_environment
from erlang_bridge.testing.terminal import Terminal
from tests.fix_node import NodeFactory
from tests.python_nodes import ROOT, PythonNode
from tests.waiting import until

Run = Callable[..., tuple[int, str, str]]
PROMPT = r"\(\S+\) >>> $"
CTRL_C, CTRL_D, TAB, UP = "\x03", "\x04", "\t", "\x1b[A"


@pytest.fixture
def environment(tmp_path: Path, epmd_port: int, beam_cookie: str) -> dict[str, str]:
    return clean_environment(tmp_path, ERL_EPMD_PORT=str(epmd_port), PYANOMA_COOKIE=beam_cookie, PYTHONPATH=str(ROOT))


@pytest.fixture
def node(node_factory: NodeFactory) -> Node:
    return node_factory(shell=True)


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    """``pyanoma shell`` to its end: exit code, standard output and error."""

    def run(*arguments: str, typed: str = "") -> tuple[int, str, str]:
        done = gevent.get_hub().threadpool.apply(
            lambda: subprocess.run(
                [sys.executable, "-m", "pyanoma", "shell", *arguments],
                input=typed,
                capture_output=True,
                text=True,
                timeout=20,
                env=environment,
                cwd=tmp_path,
                check=False,
            )
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize(
    ("arguments", "typed", "code", "out"),
    [
        ((), "x = 1\nx + 1\nfor i in range(2):\n    print(i)\n", 0, r"2\n0\n1\n"),
        (("-c", "print('é'); input('q? ')"), "an answer\n", 0, r"é\nq\? 'an answer'\n"),
        (
            ("-c", "1 / 0\nprint('not reached')"),
            "",
            1,
            r"Traceback.*\n.*\n(.*\n)*ZeroDivisionError: division by zero\n",
        ),
        (("-c", "1 +"), "", 1, r"(.*\n)*SyntaxError: invalid syntax\n"),
        (("-c", "exit(7)"), "", 7, ""),
        (("-c", "exit('farewell')"), "", 1, r"farewell\n"),
    ],
)
def test_a_program(node: Node, run: Run, arguments: tuple[str, ...], typed: str, code: int, out: str) -> None:
    done = run(node.name.name, *arguments, typed=typed)
    assert (done[0], done[2]) == (code, "")
    assert re.fullmatch(out, done[1]), done[1]
    assert until(lambda: not [p for p in node.table.processes.values() if p.label and "hell for" in str(p.label)])


def test_where_there_is_none(node_factory: NodeFactory, shared_beam: Beam, run: Run) -> None:
    off = node_factory()
    code, out, err = run(off.name.name, "-c", "print(1)")
    assert (code, out) == (4, "")
    assert re.fullmatch(rf"pyanoma shell: the Python shell of {off.name} is off.*--shell.*\n", err)
    code, out, err = run(shared_beam.name, "-c", "1")
    assert (code, out) == (1, "")
    assert "has no Python shell" in err
    assert run("nobody@127.0.0.1", "-c", "1")[0] == 3


@pytest.mark.timeout(120)
def test_at_a_terminal(node: Node, tmp_path: Path, environment: dict[str, str]) -> None:
    node.register("napper", node.spawn(lambda own: own.receive()))
    command = [sys.executable, "-m", "pyanoma", "shell", node.name.name]
    at_home = {key: environment[key] for key in ("ERL_EPMD_PORT", "PYANOMA_COOKIE", "PYTHONPATH")}
    with Terminal(command, tmp_path, at_home) as shell:
        shell.expect("help_pyanoma", 20)
        shell.expect(PROMPT)
        shell.type("1 + 1")
        shell.expect("^2$")
        shell.expect(PROMPT)
        shell.type(f"whereis('nap{TAB})")
        shell.expect(r"napper'\)\n<0\.\d+\.0>$")
        shell.expect(PROMPT)
        shell.type("import math, gevent")
        shell.expect(PROMPT)
        shell.keys(f"math.a{TAB}{TAB}")
        shell.expect(r"acos\( .*atanh\($")
        shell.expect(r"math\.a$")
        shell.type("tan(0)")
        shell.expect(r"^0\.0$")
        shell.expect(PROMPT)
        shell.type("input('name? ')")
        shell.expect(r"name\? $")
        shell.type("bob")
        shell.expect("^'bob'$")
        shell.expect(PROMPT)
        # While a line is being typed, others can print.
        shell.type("later = gevent.spawn_later(0.2, print, 'in the background')")
        shell.expect(PROMPT)
        shell.keys("20 +")
        shell.expect("in the background")
        shell.type(" 22")
        shell.expect("^42$")
        shell.expect(PROMPT)
        shell.keys("half a li" + CTRL_C)
        shell.expect("KeyboardInterrupt")
        shell.expect(PROMPT)
        shell.type("while True: pass")
        shell.expect(r"\.\.\. $")
        shell.type("")
        assert until(preemption.is_active)
        gevent.sleep(0.1)
        shell.keys(CTRL_C)
        shell.expect("KeyboardInterrupt")
        shell.expect(PROMPT)
        shell.keys(UP + UP + "\r")
        shell.expect("^42$")
        shell.expect(PROMPT)
        shell.keys(CTRL_D)
        assert shell.wait_exit() == 0
    with Terminal(command, tmp_path, at_home) as shell:
        shell.expect(PROMPT, 20)
        shell.keys(UP)
        shell.expect(r"20 \+ 22")
        # The node ends while somebody is typing.
        node.stop()
        shell.expect(r"pyanoma shell: .*")
        assert shell.wait_exit() in (1, 3)


@pytest.fixture
def started(tmp_path: Path, beam_cookie: str, epmd_port: int) -> Iterator[PythonNode]:
    node = PythonNode(tmp_path, cookie=beam_cookie, epmd_port=epmd_port, arguments=["--shell"])
    yield node.start()
    node.kill()


def test_pyanoma_start_shell(started: PythonNode, run: Run) -> None:
    assert run(started.name, "-c", "import os; os.getpid()")[1] == f"{started.pid}\n"
    assert "── ticker <0." in run(started.name, "-c", "tree('pyanoma')")[1]
    assert run(started.name, "-c", "node.stop()")[0] in (0, 1, 3)
    assert until(lambda: not started.running, 10)


def test_ctrl_c_ends_a_program(node: Node, tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pyanoma", "shell", node.name.name, "-c", "while True: pass"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as program:
        assert until(preemption.is_active, 20)
        os.kill(program.pid, signal.SIGINT)
        assert until(lambda: program.poll() is not None, 10)
        assert program.stdout is not None
        assert "KeyboardInterrupt" in program.stdout.read()
        assert program.returncode == 1
