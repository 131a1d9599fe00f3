"""Python nodes in operating system processes of their own, for tests that kill them."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Self

import gevent

from erlang_bridge import Atom
from erlang_bridge.testing.programs import Program, clean_environment

ROOT = Path(__file__).parents[1]

ENGINES = {"counter": "tests.servers:Counter", "crasher": "tests.servers:Crasher", "idle": "tests.servers:Idle"}


class PythonNode:
    """``pyanoma start``, with the engines of `tests.servers`.

    Attributes:
        pid: of the operating system process; changes with each start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        cookie: str,
        epmd_port: int,
        name: str | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.name = name or f"py_{secrets.token_hex(4)}@127.0.0.1"
        self.log_path = directory / f"{self.name}.log"
        self._directory = directory
        self._environment = clean_environment(
            directory, PYANOMA_COOKIE=cookie, ERL_EPMD_PORT=str(epmd_port), PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1"
        )
        engines = [flag for name, place in ENGINES.items() for flag in ("--engine", f"{name}={place}")]
        self.command = [sys.executable, "-m", "pyanoma", "start", "--name", self.name, *engines, *arguments]
        self._program: Program | None = None
        self.pid = 0

    @property
    def node(self) -> Atom:
        return Atom(self.name)

    @property
    def running(self) -> bool:
        return self._program is not None and self._program.exit_status() is None

    def start(self, timeout_s: float = 20.0) -> Self:
        """Start it, and wait for its line that begins with ``READY``."""
        seen = self.text().count("\nREADY ")
        self._program = Program(self.command, self.log_path, self._environment, self._directory)
        self.pid = self._program.pid
        deadline = monotonic() + timeout_s
        while self.text().count("\nREADY ") == seen:
            if self._program.exit_status() is not None or monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self.name} is not ready: {self.text()}")
            gevent.sleep(0.01)
        return self

    def text(self) -> str:
        """What it has printed."""
        return "\n" + self.log_path.read_text() if self.log_path.exists() else ""

    def kill(self) -> None:
        """``kill -9``; idempotent."""
        if self._program is not None:
            self._program.kill()

    def stop(self) -> int | None:
        """``SIGTERM``; its exit status."""
        assert self._program is not None
        self._program.signal(signal.SIGTERM)
        return self._program.wait(15)

    def freeze(self) -> None:
        """``SIGSTOP``."""
        os.kill(self.pid, signal.SIGSTOP)
