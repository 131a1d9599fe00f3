"""How the demo looks."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from erlang_bridge import BridgeError

_WIDTH_WITHOUT_TERMINAL: Final = 110
_PROMPTS: Final = {"erl": "cyan", "py": "yellow"}
_LONGEST_VALUE: Final = 200


class DemoFailed(BridgeError):
    """Something did not come out as it should."""


class Screen:
    """Standard output, with the few kinds of lines that the demo has."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
        self.console = Console(width=width, highlight=False, emoji=False)
        self._chapters = 0

    def title(self, text: str) -> None:
        self.console.print(Text(text, style="bold"))

    def chapter(self, text: str) -> None:
        """A numbered heading."""
        self._chapters += 1
        self.console.print()
        self.console.print(Text.assemble((f" {self._chapters} ", "bold reverse"), " ", (text, "bold")))

    def said(self, side: str, source: str, value: str) -> None:
        """An expression, on the side where it was evaluated (``erl`` or ``py``), and its value."""
        exchange = Table.grid(padding=(0, 1, 0, 0))
        exchange.add_row(Text(f"{side}>", style=f"bold {_PROMPTS[side]}"), Text(source))
        exchange.add_row("", Text(_cut(value), style="green"))
        self.show(exchange)

    def note(self, text: str) -> None:
        self.show(Text(text, style="dim"))

    def fact(self, text: str) -> None:
        """Something that was checked."""
        self._marked("✔", "green", text)

    def expect(self, holds: bool, what: str, *, quiet: bool = False) -> None:
        """Check, and say so unless `quiet`.

        Raises:
            DemoFailed: it does not hold.
        """
        if not holds:
            raise DemoFailed(f"this does not hold: {what}")
        if not quiet:
            self.fact(what)

    def quote(self, source: str, lines: list[str]) -> None:
        """Lines that somebody else has printed."""
        self.note(f"{source}:")
        quoted = Table.grid(padding=(0, 1, 0, 0))
        for line in lines:
            quoted.add_row(Text("│", style="dim"), Text(_cut(line), style="red"))
        self.show(quoted)

    def command(self, text: str) -> None:
        """Something to type. Not wrapped: it has to be copied in one piece."""
        self.console.print(Text(f"      {text}", style="cyan"), soft_wrap=True)

    def failed(self, text: str) -> None:
        self.console.print()
        self._marked("✘", "red", text)

    def _marked(self, mark: str, style: str, text: str) -> None:
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(Text(mark, style=f"bold {style}"), Text(text))
        self.show(line)

    def table(self, rows: list[tuple[str, ...]], header: tuple[str, ...] = ()) -> None:
        """Columns without lines."""
        made = Table(box=None, padding=(0, 2, 0, 0), show_header=bool(header), header_style="dim")
        for column in header or ("",) * len(rows[0]):
            made.add_column(column, overflow="fold")
        for row in rows:
            made.add_row(*(Text(cell) for cell in row))
        self.show(made)

    def show(self, what: RenderableType, indent: int = 4) -> None:
        padded = Padding(what, (0, 0, 0, indent), expand=False)
        if self.console.is_terminal:
            self.console.print(padded)
            return
        with self.console.capture() as capture:
            self.console.print(padded)
        for line in capture.get().splitlines():
            self.console.out(line.rstrip())


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
