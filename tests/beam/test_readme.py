"""README.md as written: installed from a copy of the project, the files and commands of its blocks, a real iex."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from erlang_bridge import Atom
from erlang_bridge.testing.elixir import Elixir, ElixirRelease
from tests.fix_node import NodeFactory
from tests.pages import ROOT, Page
from tests.sessions import NO_DAEMON, Session, path_with

PAGE = Page("README.md")
QUICKSTART = "Quickstart"
COMMANDS = "On the command line"
INSTALL, RUN, IEX = [block.text.strip() for block in PAGE.blocks_in("sh", QUICKSTART)]
(COUNTER,) = [block.text for block in PAGE.blocks_in("python", QUICKSTART)]
(TYPED,) = [block.text for block in PAGE.blocks_in("elixir", QUICKSTART)]
COOKIE = "chocolate"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new virtual environment, in which the README's command has installed a copy of the project."""
    folder = tmp_path_factory.mktemp("installed")
    clone = folder / "clone"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "tests"))
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=60)
    programs = folder / "venv" / "bin"
    environment = {**os.environ, "PATH": path_with(programs), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment.pop("PYTHONPATH", None)
    result = subprocess.run(
        INSTALL, shell=True, cwd=clone, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return programs


@pytest.fixture
def terminal_environment(installed: Path, unused_epmd_port: int) -> dict[str, str]:
    """Of a user of this machine, where no epmd runs yet; another run has another."""
    return {"PATH": path_with(installed), "ERL_EPMD_PORT": str(unused_epmd_port), **NO_DAEMON}


@pytest.fixture
def counter(tmp_path: Path, terminal_environment: dict[str, str]) -> Iterator[Session]:
    """``counter.py``, written and started as the README says."""
    assert f"This is `{RUN.split()[-1]}`" in "\n".join(PAGE.prose)
    (tmp_path / "counter.py").write_text(COUNTER)
    with Session(RUN, tmp_path, terminal_environment) as session:
        session.expect("READY py@127.0.0.1", 20)
        yield session


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_quickstart(
    counter: Session,
    elixir_release: ElixirRelease,
    node_factory: NodeFactory,
    installed: Path,
    terminal_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    environment = {**terminal_environment, "PATH": path_with(elixir_release.elixir.parent, installed)}
    with Session(IEX, tmp_path, environment) as iex:
        promised = []
        for line in TYPED.splitlines():
            iex.type(line)
            result = re.search(r"# (\d+)\b", line)
            if result:
                promised.append(result[1])
                iex.expect(f"{line}\n{result[1]}\n")
        assert promised == ["5", "0"]

        # "The other way round": from Python to a server in that iex.
        iex.type("defmodule MyServer do\nuse GenServer\ndef init(state), do: {:ok, state}")
        iex.type("def handle_call(:read, _from, state), do: {:reply, state, state}\nend")
        iex.type("{:ok, _} = GenServer.start_link(MyServer, 42, name: MyServer)")
        iex.expect("{:ok, #PID<...>}")
        node = node_factory(cookie=COOKIE, epmd_port_number=int(environment["ERL_EPMD_PORT"]))
        shown = [code for code in PAGE.inline_code() if code.startswith("node.")]
        assert [eval(code, {"node": node, "Atom": Atom}) for code in shown] == [42, 6]
        node.stop()


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_command_line(
    elixir_release: ElixirRelease, installed: Path, terminal_environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "counter.py").write_text(COUNTER)
    (block,) = PAGE.blocks_in("sh", COMMANDS)
    start, *others = block.text.splitlines()
    printed = {
        "ping": "pong py@127.0.0.1: ...",
        "call": "0",
        "ps": "...ticker...",
        "tree": "...pyanoma_engines...ticker...",
        "info": "...counter => 0...",
        "trace": "...on py@127.0.0.1...",
        "shell": "TickerState(counter=0)",
        "reload": "counter...",
        "push": "...pyanoma_sup...beam@127.0.0.1...",
        "doctor": "...epmd...",
    }
    assert [command.split()[:2] for command in others] == [["pyanoma", name] for name in printed]
    environment = {**terminal_environment, "PATH": path_with(elixir_release.elixir.parent, installed)}
    with Session(start, tmp_path, environment) as started:
        started.expect("READY ...py@127.0.0.1...", 20)
        with Session(IEX, tmp_path, environment):
            for command in others:
                with Session(command, tmp_path, environment) as session:
                    assert session.run() == 0, f"{command}:\n{session.terminal.text}"
                    session.expect(printed[command.split()[1]])


@pytest.mark.timeout(120)
@pytest.mark.slow
def test_the_anoma_node(installed: Path, terminal_environment: dict[str, str], tmp_path: Path) -> None:
    (block,) = PAGE.blocks_in("sh", "An Anoma node")
    start, *others = block.text.splitlines()
    printed = [
        "...1 committed in block 1, done, wrote apples = 5...",
        "...2 committed in block 2, done, wrote 7 = 42...",
        "1 committed in block 1, done, wrote apples = 5...",
        "",
        "block 2: transactions 2 to 2...7 = 42...",
    ]
    environment = {**terminal_environment, "HOME": str(tmp_path)}
    with Session(start, tmp_path, environment) as started:
        started.expect("READY ...anoma@127.0.0.1...", 20)
        for command, text in zip(others, printed, strict=True):
            with Session(command, tmp_path, environment) as session:
                assert session.run() == 0, f"{command}:\n{session.terminal.text}"
                if text:
                    session.expect(text)


def test_the_child_spec_of_the_introduction_is_that_of_the_quickstart(elixir: Elixir) -> None:
    (block,) = PAGE.blocks_in("elixir", "pyanoma")
    spec = elixir.eval(block.text)
    assert spec == elixir.eval(TYPED.splitlines()[0])


def test_the_counter_is_among_the_examples() -> None:
    assert (ROOT / "examples" / "counter.py").read_text() == COUNTER
