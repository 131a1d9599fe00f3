"""``pyanoma info``: all about one process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import click
from rich.console import Console
from rich.text import Text

from erlang_bridge.kernel.io_pretty import TermText
from erlang_bridge.terms.text import format_term, pid_text
from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, json_option, node_argument, timeout_option
from pyanoma.inspection.details import Details, read_details
from pyanoma.inspection.processes import Reader, answered_within, identifiers, on_screen
from pyanoma.output import print_json, wide_console

SHOWN_MESSAGES: Final = 20
SHOWN_FRAMES: Final = 5
SHOWN_LINKS: Final = 20
MOST_CHARACTERS: Final = 20_000
"""Of one term."""
MOST_LAID_OUT: Final = 200_000
"""Characters of a term up to which it is worth the time to lay it out."""
_COUNTED: Final = {"messages": "messages handled"}
_LINE_LENGTH: Final = 110
_LABEL_WIDTH: Final = 18
_WORDS: Final = 8  # bytes of one


@click.command()
@node_argument
@click.argument("process")
@click.option("--state/--no-state", default=True, help="Ask a server for its state (sys:get_status); or not.")
@click.option("--stack", is_flag=True, help=f"All of the stack trace, not only {SHOWN_FRAMES} functions.")
@cookie_option
@timeout_option()
@json_option
def info(
    node: str, process: str, state: bool, stack: bool, cookie: str | None, timeout_s: float, as_json: bool
) -> None:
    """Show all about PROCESS on NODE, a Python node or a BEAM: state, links, messages, dictionary, stack trace.

    PROCESS is a pid as `pyanoma ps` prints it, '<0.12.0>', or a registered name.

    Exits with 1 where there is no such process.
    """
    with connected(node, cookie, timeout_s) as client, answered_within(timeout_s, f"the process {process} of {node}"):
        details = read_details(Reader(client, node, timeout_s), process, with_state=state)
    if as_json:
        print_json(_as_json(details, node))
    else:
        _print(wide_console(), details, node, None if stack else SHOWN_FRAMES)


# -- for people -------------------------------------------------------------------------------


def _print(screen: Console, details: Details, node: str, frames: int | None) -> None:
    line = details.line
    screen.print(Text.assemble((on_screen(line.title), "bold"), f" {pid_text(line.pid, node)} on {node}"))
    for label, value in _facts(details, node):
        screen.print(Text.assemble((f"  {label:<{_LABEL_WIDTH}}", "dim"), on_screen(value)))
    _print_state(screen, details, node)
    _print_messages(screen, details, node)
    if details.dictionary:
        _heading(screen, "Dictionary", str(len(details.dictionary)))
        for key, value in details.dictionary:
            entry = f"{format_term(key, most=200)} = {format_term(value, most=500)}"
            screen.print(Text(_indented(_own_pids(entry, node))))
    shown = details.stack[:frames]
    _heading(screen, "Stack", "innermost first")
    for function, file, number in shown:
        screen.print(
            Text.assemble(f"  {on_screen(function)}", (f"  {on_screen(file)}:{number}" if file else "", "blue"))
        )
    if len(details.stack) > len(shown):
        screen.print(Text(f"  {len(details.stack) - len(shown)} more (--stack)", "dim"))


def _facts(details: Details, node: str) -> Iterable[tuple[str, str]]:
    line, items = details.line, details.items
    yield "kind", f"{line.kind} {line.code}" if line.code != line.title else line.kind
    if line.label:
        yield "label", line.label
    yield "initial call", line.initial_call
    yield "current function", line.current_function
    yield "status", line.status
    yield "messages", f"{line.messages:,}"
    for label in ("links", "monitors", "monitored_by"):
        found = _identified(items[label], node)
        if found:
            more = f" and {len(found) - SHOWN_LINKS:,} more" if len(found) > SHOWN_LINKS else ""
            yield label.replace("_", " "), " ".join(found[:SHOWN_LINKS]) + more
    for label in ("parent", "group_leader"):
        yield label.replace("_", " "), _identifier(items[label], node)
    yield "trap exit", format_term(items["trap_exit"])
    yield "priority", format_term(items["priority"])
    yield "memory", f"{line.memory:,} bytes, of these {items['total_heap_size'] * _WORDS:,} heap and stack"
    yield "reductions", f"{line.reductions:,}"
    for name, value in line.counters.items():
        shown = f"{value:,}" if isinstance(value, int) else str(value)
        plain = name.removesuffix("_us")
        yield _COUNTED.get(plain, plain.replace("_", " ")), f"{shown} µs" if plain != name else shown


def _print_state(screen: Console, details: Details, node: str) -> None:
    state = details.state
    if state is None:
        _heading(screen, "State", details.no_state)
        return
    _heading(screen, "State", " ".join(word for word in (state.module, state.system) if word))
    if state.header:
        screen.print(Text(f"  {on_screen(state.header)}", "dim"))
    for told, value in state.data:
        label = on_screen(told)
        text = _own_pids(_laid_out(value), node)
        if "\n" in text or len(text) + len(label) > _LINE_LENGTH:
            screen.print(Text(f"  {label}"))
            screen.print(Text(_indented(text, 4)))
        else:
            screen.print(Text(f"  {label:<{_LABEL_WIDTH}}{text}"))


def _laid_out(value: Any) -> str:
    """A term with line ends where it is long; the beginning of one that is too long to be read."""
    flat = format_term(value, most=MOST_LAID_OUT)
    if len(flat) > MOST_LAID_OUT:
        return f"{flat[:MOST_CHARACTERS]}... (more than {MOST_LAID_OUT:,} characters)"
    text = TermText().print(value, line_length=_LINE_LENGTH)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}... ({len(text):,} characters)"


def _print_messages(screen: Console, details: Details, node: str) -> None:
    count = details.line.messages
    if details.messages is None:
        _heading(screen, "Messages", f"{count:,}: too many to be shown")
    elif details.messages:
        _heading(screen, "Messages", f"{len(details.messages):,}, the oldest first")
        for message in details.messages[:SHOWN_MESSAGES]:
            screen.print(Text(_indented(_own_pids(format_term(message, most=500), node))))
        if len(details.messages) > SHOWN_MESSAGES:
            screen.print(Text(f"  {len(details.messages) - SHOWN_MESSAGES:,} more", "dim"))


def _own_pids(text: str, node: str) -> str:
    """Pids of `node` inside of terms as it writes them itself."""
    return text.replace(f"<{node}.", "<0.")


def _heading(screen: Console, text: str, about: str) -> None:
    screen.print(Text.assemble((text, "bold magenta"), (f"  {on_screen(about)}", "dim")))


def _indented(text: str, by: int = 2) -> str:
    return "\n".join(" " * by + line for line in text.split("\n"))


def _identified(found: Any, node: str) -> list[str]:
    """Links, or ``{process, Pid}`` of monitors, as text."""
    return identifiers((item[1] if type(item) is tuple and len(item) == 2 else item for item in found), node)


def _identifier(item: Any, node: str) -> str:
    return identifiers([item], node)[0]


# -- for scripts ------------------------------------------------------------------------------


def _as_json(details: Details, node: str) -> dict[str, Any]:
    line, items, state = details.line, details.items, details.state
    messages = details.messages

    def text(term: Any) -> str:
        return _own_pids(format_term(term), node)

    return {
        "pid": pid_text(line.pid, node),
        "node": node,
        "name": line.name,
        "label": line.label,
        "kind": line.kind,
        "initial_call": line.initial_call,
        "current_function": line.current_function,
        "status": line.status,
        "parent": _identifier(items["parent"], node),
        "group_leader": _identifier(items["group_leader"], node),
        "links": _identified(items["links"], node),
        "monitors": _identified(items["monitors"], node),
        "monitored_by": _identified(items["monitored_by"], node),
        "trap_exit": items["trap_exit"],
        "priority": text(items["priority"]),
        "memory": line.memory,
        "heap_size": items["heap_size"] * _WORDS,
        "total_heap_size": items["total_heap_size"] * _WORDS,
        "stack_size": items["stack_size"] * _WORDS,
        "reductions": line.reductions,
        "counters": line.counters,
        "messages": line.messages,
        "first_messages": None if messages is None else [text(message) for message in messages[:SHOWN_MESSAGES]],
        "dictionary": [{"key": text(key), "value": text(value)} for key, value in details.dictionary],
        "stack": [{"function": function, "file": file, "line": number} for function, file, number in details.stack],
        "state": None
        if state is None
        else {
            "system": state.system,
            "module": state.module,
            "header": state.header,
            "data": [{"label": label, "value": text(value)} for label, value in state.data],
        },
        "no_state": details.no_state,
    }
