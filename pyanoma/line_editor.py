"""Lines typed at a terminal, with editing, history and completion by the standard library's `readline`.

A thread waits for the keys, so that the node goes on meanwhile: what others print appears above the line that is being
typed. Ctrl-C is an ordinary key while a line is read, and the terminal's interrupt key at any other time.
"""

from __future__ import annotations

import os
import readline
import sys
import termios
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import gevent
from gevent.monkey import get_original

COMPLETION_S: Final = 5.0
HISTORY_LINES: Final = 2000
INTERRUPTED: Final = "\x03"
"""What the key Ctrl-C makes of the line."""


def history_file() -> Path:
    """Where lines are kept from one session to the next."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "pyanoma" / "shell_history"


class LineEditor:
    """The terminal that this program was started at.

    Args:
        complete: gives, for a line up to the cursor, what to insert and the possibilities. Called in the node's thread.
    """

    def __init__(self, complete: Callable[[str], tuple[str, list[str]]]) -> None:
        self._complete = complete
        self._hub: Any = gevent.get_hub()
        self._descriptor = sys.stdin.fileno()
        self._attributes = termios.tcgetattr(self._descriptor)
        self._no_key = bytes([os.fpathconf(self._descriptor, "PC_VDISABLE") & 0xFF])
        self._prompt = ""
        self._is_reading = False
        self._candidates: list[str] = []
        self._possibilities: list[str] = []
        readline.set_auto_history(False)
        readline.set_completer_delims("")
        readline.set_completer(self._candidate)
        readline.set_completion_display_matches_hook(self._show_possibilities)
        readline.parse_and_bind("tab: complete")
        # To the end, delete all of it, insert this very key, and return.
        readline.parse_and_bind(r'"\C-c": "\C-e\C-u\C-v\C-c\C-m"')
        self._file = history_file()
        try:
            readline.read_history_file(self._file)
        except OSError:
            readline.clear_history()

    def close(self) -> None:
        """Keep the history, and leave the terminal as it was found."""
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._attributes)
        readline.set_history_length(HISTORY_LINES)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch(mode=0o600)
            readline.write_history_file(self._file)
        except OSError:
            pass  # a home that cannot be written to: there is no history then

    def read(self, prompt: str) -> str:
        """A line with its end, ``""`` at the end of the input. Waits; other greenlets go on.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        self._prompt = prompt
        line: str = self._hub.threadpool.apply(self._read)
        if line.endswith(INTERRUPTED + "\n"):
            raise KeyboardInterrupt
        if line.strip():
            readline.add_history(line.rstrip("\n"))
        return line

    def write(self, text: str) -> None:
        """Print; above the line that is being typed, if one is."""
        out = sys.stdout
        if self._is_reading:
            out.write(f"\r\x1b[K{text}")
            if not text.endswith("\n"):
                out.write("\n")
            out.write(self._prompt + readline.get_line_buffer())
        else:
            out.write(text)
        out.flush()

    # -- in the thread --------------------------------------------------------------------------

    def _read(self) -> str:
        self._set_interrupt_key(self._no_key)
        self._is_reading = True
        try:
            return input(self._prompt) + "\n"
        except EOFError:
            return ""
        finally:
            self._is_reading = False
            self._set_interrupt_key(self._attributes[6][termios.VINTR])

    def _set_interrupt_key(self, key: bytes) -> None:
        attributes = termios.tcgetattr(self._descriptor)
        attributes[6][termios.VINTR] = key
        termios.tcsetattr(self._descriptor, termios.TCSANOW, attributes)

    def _candidate(self, text: str, state: int) -> str | None:
        if state == 0:
            insert, self._possibilities = self._in_the_nodes_thread(text)
            if not self._possibilities:
                self._candidates = [text + insert] if insert else []
            else:
                kept = _without_common_end(text, self._possibilities[0])
                self._candidates = [kept + possibility for possibility in self._possibilities]
        return self._candidates[state] if state < len(self._candidates) else None

    def _in_the_nodes_thread(self, text: str) -> tuple[str, list[str]]:
        found: list[tuple[str, list[str]]] = []
        done = get_original("_thread", "allocate_lock")()
        done.acquire()

        def ask() -> None:
            try:
                found.append(self._complete(text))
            finally:
                done.release()

        self._hub.loop.run_callback_threadsafe(gevent.spawn, ask)
        done.acquire(timeout=COMPLETION_S)
        return found[0] if found else ("", [])

    def _show_possibilities(self, _text: str, _matches: Sequence[str], _longest: int) -> None:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
        width = max(map(len, self._possibilities)) + 2
        a_line = max(1, columns // width)
        rows = [self._possibilities[start : start + a_line] for start in range(0, len(self._possibilities), a_line)]
        text = "\n".join("".join(f"{possibility:<{width}}" for possibility in row).rstrip() for row in rows)
        sys.stdout.write(f"\n{text}\n{self._prompt}{readline.get_line_buffer()}")
        sys.stdout.flush()


def _without_common_end(text: str, possibility: str) -> str:
    """`text` without the end of it that `possibility` begins with."""
    length = next(length for length in range(len(possibility), -1, -1) if text.endswith(possibility[:length]))
    return text[: len(text) - length]
