"""Operating system processes that a test starts: a log, signals, a wait that lets other greenlets run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

import gevent

from erlang_bridge.testing.releases import clean_of_erlang


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens at now; nothing keeps it so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Program:
    """One operating system process, its output going to a file.

    Attributes:
        log_path: what it printed, standard output and error together; a later program may append to it.
    """

    def __init__(
        self,
        command: Sequence[str],
        log_path: Path,
        environment: Mapping[str, str],
        directory: Path,
        inherited: Sequence[int] = (),
    ) -> None:
        self.log_path = log_path
        with log_path.open("ab") as log:
            # A session of its own: Ctrl-C must reach the test, which stops its programs in order.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=directory,
                pass_fds=tuple(inherited),
                start_new_session=True,
            )
        self.pid = self._process.pid

    def exit_status(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status, or None if it still runs after `timeout_s`."""
        deadline = monotonic() + timeout_s
        while (status := self._process.poll()) is None and monotonic() < deadline:
            gevent.sleep(0.002)
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """``kill -9``, and wait until it is gone; also when it is stopped (`SIGSTOP`)."""
        self.signal(signal.SIGKILL)
        self._process.wait(10)


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """This environment without what would change a BEAM from outside, and with a `home` of its own."""
    fixed = {"HOME": str(home), "LC_ALL": "C.UTF-8", "ERL_EPMD_ADDRESS": "127.0.0.1"}
    return clean_of_erlang(os.environ) | fixed | more
