"""``pyanoma ps``: the processes of a node."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import click
import gevent
from gevent.pool import Pool

from erlang_bridge import Atom, CallTimeout, Node, Pid
from erlang_bridge.terms.text import format_term
from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, json_option, node_argument, timeout_option
from pyanoma.output import console, print_json, table

ITEMS: Final = (
    "registered_name",
    "initial_call",
    "dictionary",
    "status",
    "message_queue_len",
    "reductions",
    "memory",
    "current_function",
)
AT_ONCE: Final = 64
"""How many processes are asked about at the same time."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is shown of one process. Memory in bytes."""

    pid: str
    name: str
    initial_call: str
    status: str
    messages: int
    reductions: int
    memory: int
    current_function: str


@click.command()
@node_argument
@cookie_option
@timeout_option()
@click.option(
    "--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="Show at most so many processes."
)
@json_option
def ps(node: str, cookie: str | None, timeout_s: float, limit: int, as_json: bool) -> None:
    """List the processes of NODE, a Python node or a BEAM."""
    with connected(node, cookie, timeout_s) as client:
        try:
            with gevent.Timeout(timeout_s):
                lines, total = read(client, node, limit, timeout_s)
        except gevent.Timeout:
            raise CallTimeout(Atom("timeout"), f"process_info of the processes of {node}") from None
    if as_json:
        print_json([asdict(line) for line in lines])
        return
    shown = table(
        "pid", "name", "initial call", "status", "messages", "reductions", "memory", "current function",
        right=("messages", "reductions", "memory"),
    )  # fmt: skip
    for line in lines:
        shown.add_row(*(f"{value:,}" if isinstance(value, int) else value for value in asdict(line).values()))
    console().print(shown)
    left_out = f", {total - limit} more left out (--limit)" if total > limit else ""
    click.echo(f"{len(lines)} processes on {node}{left_out}")


def read(client: Node, node: str, limit: int, timeout_s: float) -> tuple[list[Line], int]:
    """The processes of `node`, the oldest first, and how many there are."""
    pids: list[Pid] = client.rpc(node, "erlang", "processes", timeout_s=timeout_s)
    items = [Atom(item) for item in ITEMS]

    def one(pid: Pid) -> Line | None:
        told = client.rpc(node, "erlang", "process_info", [pid, items], timeout_s=timeout_s)
        # undefined: it has ended meanwhile.
        return _line(pid, {key.name: value for key, value in told}) if isinstance(told, list) else None

    pids.sort(key=lambda pid: (pid.serial, pid.id))
    lines = Pool(AT_ONCE).map(one, pids[:limit])
    return [line for line in lines if line is not None], len(pids)


def _line(pid: Pid, told: dict[str, Any]) -> Line:
    dictionary = [entry for entry in told["dictionary"] if type(entry) is tuple and len(entry) == 2]
    initial_call = next((value for key, value in dictionary if key is Atom("$initial_call")), told["initial_call"])
    name = told["registered_name"]
    return Line(
        format_term(pid),
        name.name if isinstance(name, Atom) else "",
        _mfa(initial_call),
        str(told["status"]),
        told["message_queue_len"],
        told["reductions"],
        told["memory"],
        _mfa(told["current_function"]),
    )


def _mfa(term: Any) -> str:
    match term:
        case (module, function, int(arity)):
            return f"{module}:{function}/{arity}"
    return format_term(term, most=60)
