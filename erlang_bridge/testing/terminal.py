"""A program at a terminal, typed at as a person would: ``erl``, ``iex``, ``erl -remsh``.

::

    with Terminal(["iex", "--name", "me@127.0.0.1"], tmp_path, environment) as iex:
        iex.type("1 + 1")
        iex.expect(r"^2$")
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from fcntl import ioctl
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ
from time import monotonic
from typing import Final, Self

import gevent
import gevent.os

from erlang_bridge.errors import BridgeError
from erlang_bridge.testing.programs import clean_environment

_CONTROL: Final = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[=>()][A-B0-2]?|\][^\x07]*\x07)|\r")
"""What moves the cursor or sets colours: not part of the text."""


_OPEN_IT: Final = 'exec "$@" <>"$0" >&0 2>&0'
"""Opened by the leader of a session, it becomes its controlling terminal: Ctrl-C is a signal where no key is read."""


class NotSeen(BridgeError, AssertionError):
    """What was expected did not appear on the screen. The text has what did."""


class Terminal:
    """One program with a terminal of its own, 200 characters wide.

    Args:
        command: the program and its arguments.
        directory: its home and working directory.
        environment: more environment variables.
    """

    def __init__(self, command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self.command = list(command)
        ours, theirs = pty.openpty()
        ioctl(theirs, TIOCSWINSZ, pack("HHHH", 50, 200, 0, 0))
        try:
            self._process = subprocess.Popen(
                ["sh", "-c", _OPEN_IT, os.ttyname(theirs), *self.command],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                cwd=directory,
                env=clean_environment(directory, TERM="xterm", **(environment or {})),
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        gevent.os.make_nonblocking(ours)
        self._screen = ours
        self._raw = bytearray()
        self._seen = 0
        self._reader = gevent.spawn(self._read)

    @property
    def text(self) -> str:
        """Everything that has appeared, without colours and cursor movements."""
        return _CONTROL.sub("", self._raw.decode(errors="replace"))

    def type(self, line: str) -> None:
        """Type a line, and press return. What has appeared before is no longer looked at by `expect`."""
        self._seen = len(self.text)
        self.keys(line + "\r")

    def keys(self, characters: str) -> None:
        """Press keys, such as ``\\x07`` for Ctrl-G."""
        gevent.os.nb_write(self._screen, characters.encode())

    def expect(self, pattern: str, timeout_s: float = 10.0) -> re.Match[str]:
        """Wait until the regular expression `pattern` matches what appeared after the last match or line typed.

        Raises:
            NotSeen: it does not within `timeout_s`, or the program has ended.
        """
        deadline = monotonic() + timeout_s
        while True:
            text = self.text
            found = re.compile(pattern, re.MULTILINE).search(text, self._seen)
            if found:
                self._seen = found.end()
                return found
            if monotonic() > deadline or self._reader.ready():
                ended = self._process.poll()
                state = f"exit status {ended}" if ended is not None else f"waited {timeout_s:g} s"
                raise NotSeen(f"{self.command[0]}: no {pattern!r} ({state}) in:\n{text[self._seen :]}")
            gevent.sleep(0.01)

    def wait_exit(self, timeout_s: float = 10.0) -> int | None:
        """Its exit status, or None if it still runs after `timeout_s`."""
        deadline = monotonic() + timeout_s
        while (status := self._process.poll()) is None and monotonic() < deadline:
            gevent.sleep(0.01)
        return status

    def close(self) -> None:
        """Hang up: the program is killed if it runs. Idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
        if self._screen >= 0:
            self._reader.kill()
            os.close(self._screen)
            self._screen = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _read(self) -> None:
        try:
            while data := gevent.os.nb_read(self._screen, 65536):
                self._raw += data
        except OSError:
            pass  # EIO: the program has closed its side
