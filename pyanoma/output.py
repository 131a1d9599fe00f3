"""Printing: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

import click
from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table

_WIDTH_WITHOUT_TERMINAL: Final = 10_000
"""Columns of what goes into a file or a pipe: nothing should be cut, or go on in the next line, there."""


def console() -> Console:
    """Where tables are printed: standard output."""
    width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(width=width, highlight=False, emoji=False)


def wide_console() -> Console:
    """Where lines are printed as they are, however long: standard output."""
    return Console(
        width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL, highlight=False, emoji=False, soft_wrap=True
    )


def table(*columns: str, right: tuple[str, ...] = (), whole: tuple[str, ...] = ()) -> Table:
    """An empty table; columns in `right` are aligned to the right, those in `whole` never broken to make room."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify: JustifyMethod = "right" if column in right else "left"
        made.add_column(column, justify=justify, overflow="fold", no_wrap=column in whole)
    return made


def print_json(value: Any) -> None:
    """One JSON document, on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
