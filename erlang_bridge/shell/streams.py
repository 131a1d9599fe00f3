"""What code of a shell writes to ``sys.stdout`` and reads from ``sys.stdin`` goes to and comes from its terminal.

While a shell is open, ``sys.stdin``, ``sys.stdout`` and ``sys.stderr`` are stand-ins: for the processes of that shell,
for those whose group leader is its terminal, and for greenlets that its code has started, they lead to the terminal, by
the Erlang io protocol; for everybody else to the streams that were there before. When the last shell has ended, those
are put back.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any, Final, TextIO

import greenlet

from erlang_bridge.errors import ErlangError
from erlang_bridge.kernel import io as device
from erlang_bridge.kernel.group_leader import print_to
from erlang_bridge.kernel.multi_call import calling_process
from erlang_bridge.process import Process, ProcessTable
from erlang_bridge.terms import Atom, Pid

MOST_BUFFERED: Final = 4096
"""Characters of a line that has not ended yet."""
WAIT_EVERY: Final = 32
"""So many writes go out before one is waited for: who prints without end is slowed down to what the terminal takes."""
INTERRUPTED: Final = Atom("interrupted")
NAMES: Final = ("stdin", "stdout", "stderr")
LOCAL: Final = "erlang_bridge.shell.terminal"
"""Under this name gevent hands the terminal on to greenlets that code of the shell starts."""


class Terminal:
    """The terminal of one shell: its group leader, somewhere in the cluster.

    Attributes:
        writer: the process of the shell whose output is gathered into lines, and slowed down.
    """

    def __init__(self, table: ProcessTable, leader: Pid) -> None:
        self.table = table
        self.leader = leader
        self.writer: Process | None = None
        self._buffer: list[str] = []
        self._size = 0
        self._sent = 0

    def write(self, text: str) -> None:
        """Put `text` out. May wait, where it is the shell's own code that writes; raises as `io.put_chars` does."""
        process = self.table.current()
        if process is None or process is not self.writer:
            print_to(self.table, self.leader, text)
            return
        self._buffer.append(text)
        self._size += len(text)
        if "\n" in text or self._size > MOST_BUFFERED:
            self.flush()

    def flush(self) -> None:
        process = self.writer
        if process is None or not self._buffer:
            return
        text, self._size = "".join(self._buffer), 0
        self._buffer.clear()
        self._sent += 1
        if self._sent % WAIT_EVERY or self.table.current() is not process:
            print_to(self.table, self.leader, text)
        else:
            device.put_chars(process, self.leader, text)

    def read_line(self, prompt: str = "") -> str:
        """A line with its end, ``""`` at the end of the file.

        Raises:
            KeyboardInterrupt: was interrupted there.
        """
        self.flush()
        try:
            with calling_process(self.table) as process:
                return device.get_line(process, self.leader, prompt) or ""
        except ErlangError as error:
            if error.reason is INTERRUPTED:
                raise KeyboardInterrupt from None
            raise


class _Bytes(io.RawIOBase):
    """``sys.stdout.buffer`` of code of a shell."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        text = bytes(data)
        self._terminal.write(text.decode(errors="replace"))
        return len(text)

    def flush(self) -> None:
        self._terminal.flush()


class _StandIn(io.TextIOBase):
    """One of the three streams while a shell is open."""

    def __init__(self, original: TextIO | None, pick: Callable[[], Terminal | None]) -> None:
        self.original = original
        self._pick = pick

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    @property
    def buffer(self) -> Any:
        """Where bytes are written to."""
        terminal = self._pick()
        return _Bytes(terminal) if terminal is not None else getattr(self.original, "buffer", None)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute there
        return "utf-8" if self._pick() is not None else getattr(self.original, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # a plain attribute there
        return "replace" if self._pick() is not None else getattr(self.original, "errors", None)

    def write(self, text: str, /) -> int:
        terminal = self._pick()
        if terminal is not None:
            if not isinstance(text, str):
                raise TypeError(f"write() argument must be str, not {type(text).__name__}")
            terminal.write(text)
            return len(text)
        return self.original.write(text) if self.original is not None else len(text)

    def flush(self) -> None:
        terminal = self._pick()
        if terminal is not None:
            terminal.flush()
        elif self.original is not None and not self.original.closed:
            self.original.flush()

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]  # typeshed has two bases disagree
        terminal = self._pick()
        if terminal is not None:
            return terminal.read_line()
        return self.original.readline(size) if self.original is not None else ""

    def read(self, size: int | None = -1, /) -> str:
        terminal = self._pick()
        if terminal is None:
            return self.original.read(-1 if size is None else size) if self.original is not None else ""
        if size is not None and size >= 0:
            return terminal.read_line()[:size]
        lines = []
        while line := terminal.read_line():
            lines.append(line)
        return "".join(lines)

    def isatty(self) -> bool:
        return self._pick() is None and self.original is not None and self.original.isatty()

    def fileno(self) -> int:
        if self._pick() is not None or self.original is None:
            raise io.UnsupportedOperation("fileno")
        return self.original.fileno()

    def readable(self) -> bool:
        return self._pick() is not None or (self.original is not None and self.original.readable())

    def writable(self) -> bool:
        return self._pick() is not None or (self.original is not None and self.original.writable())

    def close(self) -> None:
        """Does nothing: closed at one prompt it would be for all, and its own end, too, calls this."""


class _Redirection:
    """All open terminals of this Python program: the three streams belong to it, not to a node."""

    def __init__(self) -> None:
        self._open: list[Terminal] = []
        self._of_process: dict[Process, Terminal] = {}
        self._of_leader: dict[Pid, Terminal] = {}

    def open(self, terminal: Terminal) -> None:
        self._open.append(terminal)
        if terminal.leader.node is not terminal.table.node_name:
            # One of this node writes to these streams itself, and so do all the processes that have it.
            self._of_leader[terminal.leader] = terminal
        self.install()

    def install(self) -> None:
        """Put the stand-ins in place, also where somebody has put other streams there since."""
        for name in NAMES:
            stream = getattr(sys, name)
            if not isinstance(stream, _StandIn):
                setattr(sys, name, _StandIn(stream, self.pick))

    def close(self, terminal: Terminal) -> None:
        if terminal not in self._open:
            return
        self._open.remove(terminal)
        if self._of_leader.get(terminal.leader) is terminal:
            del self._of_leader[terminal.leader]
        for process in [process for process, used in self._of_process.items() if used is terminal]:
            del self._of_process[process]
        if not self._open:
            for name in NAMES:
                stream = getattr(sys, name)
                # More than one where somebody has put back what was there for a while.
                while isinstance(stream, _StandIn):
                    stream = stream.original
                setattr(sys, name, stream)

    def assign(self, process: Process, terminal: Terminal) -> None:
        self._of_process[process] = terminal

    def forget(self, process: Process) -> None:
        self._of_process.pop(process, None)

    def pick(self) -> Terminal | None:
        """The terminal of whoever runs now; None: it has nothing to do with a shell."""
        current: Any = greenlet.getcurrent()
        process = getattr(current, "process", None)
        if isinstance(process, Process):
            terminal = self._of_process.get(process)
            if terminal is not None:
                return terminal
            return self._of_leader.get(process.group_leader) if process.group_leader is not None else None
        inherited = getattr(current, "spawn_tree_locals", None)
        return inherited.get(LOCAL) if inherited else None


redirection: Final = _Redirection()
