"""The processes of a node in some order, the first of them looked at closely.

Which ones come first is found out with one question where the node has ``observer_backend`` (OTP's runtime_tools), so
that also a node with a hundred thousand processes can be listed by what they use.

Source: OTP ``lib/runtime_tools/src/observer_backend.erl``, ``procs_info/1``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from erlang_bridge import Atom, OwnProcess, Pid
from pyanoma.inspection.processes import ProcessLine, Reader, label_text, mfa_text

AGE: Final = "age"
ORDERS: Final = (AGE, "memory", "messages", "reductions", "name")
"""Oldest, largest, fullest, busiest first; by name: those with one first."""

_EXIT: Final = Atom("EXIT")
_PROCS_INFO: Final = Atom("procs_info")


@dataclass(frozen=True, slots=True)
class Rough:
    """What ``procs_info`` says of a process."""

    pid: Pid
    memory: int
    reductions: int
    title: str
    named: bool
    messages: int


def list_processes(reader: Reader, order: str, most: int) -> tuple[list[ProcessLine], int]:
    """The first processes of the node in an order of `ORDERS`, and how many there are."""
    first: list[Pid]
    if order != AGE and reader.can("observer_backend", "procs_info", 1):
        rough = sorted(reader.as_process(lambda own: _procs_info(reader, own)), key=_rough_key(order))
        total, first = len(rough), [process.pid for process in rough[:most]]
    else:
        pids = sorted(reader.rpc("erlang", "processes"), key=_age)
        total, first = len(pids), pids[:most] if order == AGE else pids
    # They have gone on since they were told apart.
    return sorted(reader.lines(first), key=_line_key(order))[:most], total


def _procs_info(reader: Reader, own: OwnProcess) -> list[Rough]:
    own.set_trap_exit(True)
    worker, _ = reader.client.spawn_remote(reader.node, "observer_backend", "procs_info", [own.pid], link=True)
    told: list[Rough] = []
    while True:
        match own.receive():
            case (tag, sender, list(records)) if tag is _PROCS_INFO and sender == worker:
                told += [_rough(record) for record in records]
            case (tag, sender, _) if tag is _EXIT and sender == worker:
                return told


def _rough(record: tuple[Any, ...]) -> Rough:
    _, pid, memory, reductions, name, _, _, messages = record
    is_atom = isinstance(name, Atom)
    title = name.name if is_atom else mfa_text(name) if isinstance(name, tuple) else label_text(name)
    return Rough(pid, memory, reductions, title, is_atom, messages)


def _age(pid: Pid) -> tuple[int, int]:
    return pid.serial, pid.id


def _rough_key(order: str) -> Callable[[Rough], Any]:
    if order == "name":
        return lambda process: (not process.named, process.title, *_age(process.pid))
    return lambda process: (-getattr(process, order), *_age(process.pid))


def _line_key(order: str) -> Callable[[ProcessLine], Any]:
    if order == AGE:
        return lambda line: _age(line.pid)
    if order == "name":
        return lambda line: (not line.name, line.name or line.label or line.initial_call, *_age(line.pid))
    return lambda line: (-getattr(line, order), *_age(line.pid))
