"""``pyanoma ps``: the processes of a node."""

from __future__ import annotations

from typing import Any, Final

import click

from erlang_bridge.terms.text import pid_text
from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, json_option, node_argument, timeout_option
from pyanoma.inspection.listing import AGE, ORDERS, list_processes
from pyanoma.inspection.processes import ProcessLine, Reader, answered_within, on_screen
from pyanoma.output import console, print_json, table

COLUMNS: Final = (
    "pid", "name", "initial call", "status", "messages", "reductions", "memory", "current function",
)  # fmt: skip
COUNTER_COLUMNS: Final = {"turns": "turns", "run_time_us": "run time ms", "longest_turn_us": "longest turn ms"}
"""What a Python node counts, and its heading."""

ROOM_FOR_COUNTERS: Final = 180
"""Columns of a screen."""


@click.command()
@node_argument
@click.option(
    "--sort",
    "order",
    type=click.Choice(ORDERS),
    default=AGE,
    show_default=True,
    help="What comes first: the oldest, largest, fullest, busiest; or by name.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="Show at most so many processes."
)
@cookie_option
@timeout_option()
@json_option
def ps(node: str, order: str, limit: int, cookie: str | None, timeout_s: float, as_json: bool) -> None:
    """List the processes of NODE, a Python node or a BEAM.

    A Python node also tells how often each process has had the CPU (turns), for how long in all, and at the longest.
    """
    with connected(node, cookie, timeout_s) as client, answered_within(timeout_s, f"the processes of {node}"):
        lines, total = list_processes(Reader(client, node, timeout_s), order, limit)
    if as_json:
        print_json([_as_json(line, node) for line in lines])
        return
    screen = console()
    counted = screen.width >= ROOM_FOR_COUNTERS and any(line.counters for line in lines)
    counters = tuple(COUNTER_COLUMNS.values()) if counted else ()
    numbers = ("messages", "reductions", "memory", *counters)
    shown = table(*COLUMNS, *counters, right=numbers, whole=("pid", "name", "status", *numbers))
    for line in lines:
        cells = [
            pid_text(line.pid, node),
            line.name or line.label,
            line.initial_call,
            line.status,
            f"{line.messages:,}",
            f"{line.reductions:,}",
            f"{line.memory:,}",
            line.current_function,
        ]
        shown.add_row(*map(_plain, cells), *(_counter(line, key) for key in (COUNTER_COLUMNS if counted else ())))
    screen.print(shown)
    left_out = f", {total - limit} more left out (--limit)" if total > limit else ""
    click.echo(f"{len(lines)} processes on {node}{left_out}")


def _as_json(line: ProcessLine, node: str) -> dict[str, Any]:
    return {
        "pid": pid_text(line.pid, node),
        "name": line.name,
        "label": line.label,
        "kind": line.kind,
        "initial_call": line.initial_call,
        "status": line.status,
        "messages": line.messages,
        "reductions": line.reductions,
        "memory": line.memory,
        "current_function": line.current_function,
        "counters": line.counters,
    }


def _counter(line: ProcessLine, key: str) -> str:
    value = line.counters.get(key)
    if not isinstance(value, int):
        return ""
    return f"{value:,}" if key == "turns" else f"{value / 1000:,.1f}"


def _plain(text: str) -> str:
    """Text as it is: what is in brackets is no markup."""
    return on_screen(text).replace("[", r"\[")
