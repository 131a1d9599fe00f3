"""The command line in a process of its own, as a person or a script runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from erlang_bridge.testing.programs import clean_environment
from tests.python_nodes import ROOT, PythonNode


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str
    took_s: float

    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error_line(self) -> str:
        """What it said, which has to be one line."""
        lines = [line for line in self.err.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", line)]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


Command = Callable[..., Done]


@pytest.fixture
def environment(tmp_path: Path, epmd_port: int, beam_cookie: str) -> dict[str, str]:
    return clean_environment(
        tmp_path, ERL_EPMD_PORT=str(epmd_port), PYANOMA_COOKIE=beam_cookie, PYTHONPATH=str(ROOT), COLUMNS="200"
    )


@pytest.fixture
def pyanoma(tmp_path: Path, environment: dict[str, str]) -> Command:
    """Run a command to its end, within 20 s."""

    def run(*arguments: str, **more: str) -> Done:
        started = monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pyanoma", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            env=environment | more,
            cwd=tmp_path,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr, monotonic() - started)

    return run


@pytest.fixture
def python(tmp_path: Path, beam_cookie: str, epmd_port: int) -> Iterator[PythonNode]:
    """A node that runs for the test."""
    node = PythonNode(tmp_path, cookie=beam_cookie, epmd_port=epmd_port)
    yield node.start()
    node.kill()


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``pyanoma start`` with these arguments, its standard output a pipe."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **more: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, "-m", "pyanoma", "start", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | more,
            cwd=tmp_path,
        )
        started.append(program)
        return program

    yield run
    for program in started:
        program.kill()
        program.communicate()
