"""The real epmd on a port of the test's own."""

from __future__ import annotations

import socket
from pathlib import Path
from time import monotonic

import gevent

from erlang_bridge.testing.programs import Program, clean_environment
from erlang_bridge.testing.releases import BeamRelease, NoBeam


def answers(port: int) -> bool:
    """Whether something accepts connections at 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Epmd:
    """``epmd`` of a release, in the foreground, as a child of this process.

    Args:
        release: whose epmd.
        port: where it listens, on 127.0.0.1 only.
        directory: for its log.
    """

    def __init__(self, release: BeamRelease, port: int, directory: Path) -> None:
        self.release = release
        self.port = port
        self._directory = directory
        self._program: Program | None = None

    @property
    def running(self) -> bool:
        return self._program is not None and self._program.exit_status() is None

    @property
    def pid(self) -> int:
        """Of the operating system; 0 if it was never started."""
        return self._program.pid if self._program else 0

    def start(self) -> None:
        """Start it, and wait until it accepts connections.

        Raises:
            NoBeam: the port is taken, or it does not answer within 10 s.
        """
        if answers(self.port):
            raise NoBeam(f"something listens at port {self.port} already")
        log_path = self._directory / f"epmd_{self.port}.log"
        command = [str(self.release.program("epmd")), "-address", "127.0.0.1", "-port", str(self.port)]
        self._program = Program(command, log_path, clean_environment(self._directory), self._directory)
        deadline = monotonic() + 10
        while monotonic() < deadline:
            if not self.running:
                break
            if answers(self.port):
                return
            gevent.sleep(0.005)
        self.stop()
        raise NoBeam(f"epmd did not start at port {self.port}: {log_path.read_text(errors='replace')}")

    def stop(self) -> None:
        """End it (``kill -9``); nodes registered with it are not told."""
        if self._program is not None:
            self._program.kill()
