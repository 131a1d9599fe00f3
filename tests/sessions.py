"""Sessions at a terminal, as a page of the documentation shows them: what is typed, and what has to appear."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Final, Self

import gevent

from erlang_bridge.testing.terminal import NotSeen, Terminal

PROMPTS: Final = {
    "erl": r"^(?:\(\S+@\S+\)\d+> |\s*\.\. )",
    "iex": r"^[\s\x08]*(?:iex|\.\.\.)\(\S+@\S+\)\d+> ",
}
NO_DAEMON: Final = {"ERL_AFLAGS": "-start_epmd false"}
"""Environment in which a BEAM with a name leaves no epmd behind; there has to be one."""

_OLD_PLACE: Final = re.compile(r", line (\d+)\)")
"""How older releases of OTP name a line; the later ones, and our pages, write ``file.py:9)``."""
_WRAP: Final = r"[\s\x08]*"
"""What may stand between any two characters of what has been typed: the shell breaks a long line where the column ends."""
_RESULT: Final = re.compile(r"[%#]=> (.*)$")


def pattern_of(text: str) -> str:
    """A regular expression for text of a page: ``...`` stands for anything; where lines break does not count."""
    pieces = [_WRAP.join(re.escape(character) for character in re.sub(r"\s", "", piece)) for piece in text.split("...")]
    # No blanks beside what stands for anything: to try all ways to share them takes for ever on a wide screen.
    return r"\s*" * bool(pieces[0]) + r"[\s\S]*?".join(pieces) + r"\s*" * bool(pieces[-1])


def path_with(*folders: Path) -> str:
    """A PATH on which the programs of these folders come first."""
    return os.pathsep.join([*map(str, folders), os.environ["PATH"]])


class Session:
    """A program started by a line of a shell, in a folder of its own.

    Args:
        command: as a page shows it, such as ``erl -name a@127.0.0.1``.
        directory: its home and working directory.
        environment: more environment variables.
    """

    def __init__(self, command: str, directory: Path, environment: Mapping[str, str]) -> None:
        self.command = command
        self.terminal = Terminal(["sh", "-c", f"exec {command}"], directory, environment)
        self._prompt = PROMPTS.get(command.split(maxsplit=1)[0])
        if self._prompt:
            self.terminal.expect(self._prompt, 30)

    def type(self, block: str, timeout_s: float = 10.0) -> None:
        """Type a block line by line; what follows ``%=>`` or ``#=>`` has to be what the line prints.

        Raises:
            NotSeen: it is not.
        """
        for line in block.splitlines():
            if not line.strip():
                continue
            self.terminal.type(line)
            result = _RESULT.search(line)
            if result:
                # What the logger prints meanwhile may follow on the same line.
                self.terminal.expect(rf"^{pattern_of(result[1])}(?:\s*$|=[A-Z ]+ REPORT====)", timeout_s)
            self.terminal.expect(self._prompt or "", timeout_s)

    def expect(self, text: str, timeout_s: float = 10.0) -> None:
        """Wait until all that has appeared has `text` in it, see `pattern_of`.

        Raises:
            NotSeen: it does not appear.
        """
        wanted = re.compile(pattern_of(text))
        deadline = monotonic() + timeout_s
        while not wanted.search(_OLD_PLACE.sub(r":\1)", self.terminal.text)):
            if monotonic() > deadline:
                raise NotSeen(f"{self.command}: no\n{text}in\n{self.terminal.text}")
            gevent.sleep(0.01)

    def run(self, timeout_s: float = 60.0) -> int | None:
        """Wait for its end; the exit status."""
        status = self.terminal.wait_exit(timeout_s)
        gevent.sleep(0.05)  # what it wrote last
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.terminal.close()


def interpreter() -> Path:
    """The folder of the Python that runs the tests, with ``pytest`` and ``pyanoma`` in it."""
    return Path(sys.executable).parent
