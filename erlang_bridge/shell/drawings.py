"""The processes of this node as text: a table of them, the trees of the applications, all there is to say of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from erlang_bridge.kernel.process_info import current_function, memory, process_info, started_with
from erlang_bridge.kernel.process_trees import application_tree, finish_in_turns
from erlang_bridge.otp.supervisor import Supervisor
from erlang_bridge.process import BehaviourProcess, Process
from erlang_bridge.process.process import LINKED
from erlang_bridge.terms import Atom, Pid
from erlang_bridge.terms.text import format_term, pid_text

MOST_LINES: Final = 500
_LONGEST: Final = 60
_SHOWN_LINKS: Final = 12
_COLUMNS: Final = ("pid", "name", "initial call", "status", "msgs", "reductions", "memory", "current function")
_RIGHT: Final = frozenset({"msgs", "reductions", "memory"})


def process_table(node: Any, pattern: str = "") -> str:
    """All processes, a line each; with `pattern` those that have it in their pid, name, label or function."""
    lines = [line for line in _lines(node) if not pattern or any(pattern in part for part in line)]
    shown = _aligned([_COLUMNS, *lines[:MOST_LINES]])
    left_out = f", {len(lines) - MOST_LINES:,} more left out" if len(lines) > MOST_LINES else ""
    return f"{shown}{len(lines):,} processes on {node.name}{left_out}"


def _lines(node: Any) -> Iterator[tuple[str, ...]]:
    for process in list(node.table.processes.values()):
        if process.alive:
            yield (
                pid_text(process.pid, node.name),
                title(process),
                _mfa(started_with(process)),
                _status(node, process),
                f"{len(process.mailbox or ()):,}",
                f"{process.reductions:,}",
                f"{memory(process):,}",
                _mfa(current_function(process)),
            )


def title(process: Process) -> str:
    """Its registered name, else its label; empty where it has neither."""
    if process.name is not None:
        return process.name.name
    if process.label is None:
        return ""
    return process.label if isinstance(process.label, str) else format_term(process.label, most=_LONGEST)


def _status(node: Any, process: Process) -> str:
    return str(process_info(node.table, process.pid, Atom("status"))[1])


def _mfa(mfa: tuple[Atom, Atom, int]) -> str:
    return f"{mfa[0].name}:{mfa[1].name}/{mfa[2]}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [min(_LONGEST, max(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    text = []
    for row in rows:
        cells = [
            f"{cell:>{width}}" if rows[0][column] in _RIGHT else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(_fitted(row), widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip() + "\n")
    return "".join(text)


def _fitted(row: Sequence[str]) -> list[str]:
    """The cells of a row, cut to `_LONGEST`; the last one may be as long as it is."""
    cut = [cell if len(cell) <= _LONGEST else f"{cell[: _LONGEST - 1]}…" for cell in row[:-1]]
    return [*cut, row[-1]]


def application_trees(node: Any, name: str | None = None) -> str:
    """The trees of all applications that have processes, or of one.

    Raises:
        LookupError: there is no such application.
    """
    applications = [found for found in node.applications.all() if name in (None, found.name)]
    if not applications and name is not None:
        known = ", ".join(found.name for found in node.applications.all())
        raise LookupError(f"no application {name} on {node.name}; there are {known}")
    drawn = []
    for application in applications:
        tree = finish_in_turns(application_tree(node, application.name))
        if tree is not None:
            lines = [f"{application.name} {application.version}  {application.description}"]
            lines += _branches(node, tree.root, tree.children)
            drawn.append("\n".join(lines))
    return "\n\n".join(drawn)


def _branches(node: Any, root: Pid, children: dict[Pid, list[Pid]]) -> Iterator[str]:
    # A stack of its own: a chain of processes may be longer than Python lets calls nest.
    waiting = [(root, "", True)]
    count = 0
    while waiting:
        pid, indent, is_last = waiting.pop()
        count += 1
        if count > MOST_LINES:
            yield f"... more processes left out: there are more than {MOST_LINES}"
            return
        yield f"{indent}{'└── ' if is_last else '├── '}{_branch(node, pid)}"
        below = children.get(pid, [])
        indent += "    " if is_last else "│   "
        waiting.extend((child, indent, child is below[-1]) for child in reversed(below))


def _branch(node: Any, pid: Pid) -> str:
    where = pid_text(pid, node.name)
    process = node.table.find(pid)
    if process is None:
        return where if pid.node is not node.name else f"{where} ended"
    named = title(process)
    waiting = len(process.mailbox or ())
    parts = [f"{named} {where}" if named else where, _kind(process)]
    if waiting:
        parts.append(f"{waiting:,} message{'' if waiting == 1 else 's'}")
    return "  ".join(parts)


def _kind(process: Process) -> str:
    if isinstance(process, BehaviourProcess):
        if isinstance(process.instance, Supervisor):
            return "supervisor"
        return _mfa(started_with(process)).removesuffix(":init/1")
    return _mfa(started_with(process))


def process_text(node: Any, process: Process) -> str:
    """All there is to say of one process."""
    told = {key.name: value for key, value in process_info(node.table, process.pid, _ASKED)}
    links = [pid for pid, state in (process.links or {}).items() if state == LINKED]
    rows = [
        ("pid", pid_text(process.pid, node.name)),
        ("name", process.name.name if process.name is not None else ""),
        ("label", "" if process.label is None else title_of_label(process.label)),
        ("initial call", _mfa(started_with(process))),
        ("status", str(told["status"])),
        ("current function", _mfa(told["current_function"])),
        ("messages waiting", f"{len(process.mailbox or ()):,}"),
        ("reductions", f"{process.reductions:,}"),
        ("turns", f"{process.turns:,}, {process.run_time_s:.6f} s, longest {process.longest_turn_s:.6f} s"),
        ("memory", f"{told['memory']:,} bytes"),
        ("trap exit", str(process.trap_exit)),
        ("parent", _named(node, process.parent)),
        ("group leader", _named(node, process.group_leader)),
        ("links", ", ".join(_named(node, pid) for pid in links[:_SHOWN_LINKS])),
        ("monitors", ", ".join(format_term(target, most=200) for _, target in told["monitors"][:_SHOWN_LINKS])),
        ("monitored by", ", ".join(_named(node, pid) for pid in told["monitored_by"][:_SHOWN_LINKS])),
    ]
    text = _aligned([(name, value) for name, value in rows if value]) if rows else ""
    dictionary = [
        f"  {format_term(key, most=100)} = {format_term(value, most=400)}" for key, value in told["dictionary"]
    ]
    if dictionary:
        text += "dictionary\n" + "\n".join(dictionary) + "\n"
    frames = told["current_stacktrace"]
    if frames:
        text += "stack, innermost first\n" + "\n".join(f"  {_frame(frame)}" for frame in frames) + "\n"
    return text.rstrip("\n")


_ASKED: Final = [
    Atom(name)
    for name in (
        "status",
        "current_function",
        "memory",
        "monitors",
        "monitored_by",
        "dictionary",
        "current_stacktrace",
    )
]


def title_of_label(label: Any) -> str:
    """A label as text."""
    return label if isinstance(label, str) else format_term(label, most=400)


def _named(node: Any, pid: Pid | None) -> str:
    if pid is None:
        return ""
    process = node.table.find(pid)
    named = title(process) if process is not None else ""
    return f"{pid_text(pid, node.name)} {named}".rstrip()


def _frame(frame: Any) -> str:
    module, function, arity, location = frame
    where = {key.name: value for key, value in location}
    text = f"{module.name}:{function.name}/{arity}"
    return f"{text}  {''.join(map(chr, where['file']))}:{where['line']}" if "file" in where else text
