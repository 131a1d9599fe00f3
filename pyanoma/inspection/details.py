"""All that a node tells of one process: what observer's process window shows.

Source: OTP ``lib/observer/src/observer_procinfo.erl``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from erlang_bridge import Atom, ErlangError, ErlangException, ErlangExit, Pid
from pyanoma.inspection.processes import (
    COUNTERS,
    ITEMS,
    NotFound,
    ProcessLine,
    Reader,
    dictionary_value,
    line_of,
    mfa_text,
    pairs,
)

MORE_ITEMS: Final = (
    "links",
    "monitors",
    "monitored_by",
    "current_stacktrace",
    "group_leader",
    "parent",
    "trap_exit",
    "priority",
    "heap_size",
    "total_heap_size",
    "stack_size",
    "garbage_collection",
    "error_handler",
    "sequential_trace_token",
    "suspending",
    "trace",
)
MOST_MESSAGES: Final = 1000
"""Of a process with more messages than these, the messages are not asked for: they would all be copied."""
STATE_TIME_MS: Final = 1000
"""For a server to tell its state: it does so between two messages."""

_BEHAVIOUR_CALLS: Final = (("init", 1), ("init_it", 6))
_MODULE: Final = Atom("module")
_HEADER: Final = Atom("header")
_STATUS: Final = Atom("status")
_OWN_KEYS: Final = (Atom("$initial_call"), Atom("$ancestors"), COUNTERS)


@dataclass(slots=True)
class State:
    """What ``sys:get_status`` tells.

    Attributes:
        system: ``running`` or ``suspended``.
        module: of the behaviour: ``gen_server``.
        header: a line about it.
        data: labels and terms, the state among them.
    """

    system: str
    module: str
    header: str
    data: list[tuple[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Details:
    """One process.

    Attributes:
        items: what ``process_info`` said beside `line`.
        messages: those that wait, the oldest first; None where there are too many to ask for.
        dictionary: without the entries of OTP and of the bridge itself.
        stack: function, file and line, innermost first; no file where there is none, and line 0.
        state: None where there is none, see `no_state`.
        no_state: why, in words.
    """

    line: ProcessLine
    items: dict[str, Any]
    messages: list[Any] | None
    dictionary: list[tuple[Any, Any]]
    stack: list[tuple[str, str, int]]
    state: State | None = None
    no_state: str = ""


def read_details(reader: Reader, text: str, *, with_state: bool = True) -> Details:
    """Everything about the process that `text` names, see `Reader.find`.

    Args:
        with_state: ask a server for its state, which sends it a message.

    Raises:
        NotFound: it has ended. NotFound, ConfigError: as `Reader.find`.
    """
    pid = reader.find(text)
    items = _all_items(reader, pid)
    if items is None:
        raise NotFound(f"no process {text} is alive on {reader.node}")
    line = line_of(pid, items)
    details = Details(
        line=line,
        items=items,
        messages=_messages(reader, pid, line.messages),
        dictionary=[(key, value) for key, value in pairs(items["dictionary"]) if key not in _OWN_KEYS],
        stack=[_stack_entry(entry) for entry in items["current_stacktrace"]],
    )
    if not with_state:
        details.no_state = "not asked for"
    elif not _is_behaviour(line, dictionary_value(items["dictionary"], Atom("$initial_call"), None)):
        details.no_state = "no behaviour of OTP, so it has no state to tell"
    else:
        _ask_state(reader, pid, details)
    return details


def _all_items(reader: Reader, pid: Pid) -> dict[str, Any] | None:
    """`ITEMS` and `MORE_ITEMS`, and the label where the node knows of labels."""
    items = (*ITEMS, *MORE_ITEMS)
    try:
        return reader.info(pid, (*items, "label"))
    except ErlangError:
        return reader.info(pid, items)


def _messages(reader: Reader, pid: Pid, count: int) -> list[Any] | None:
    if count > MOST_MESSAGES:
        return None
    told = reader.info(pid, ("messages",))
    return list(told["messages"]) if told is not None else []


def _stack_entry(entry: Any) -> tuple[str, str, int]:
    match entry:
        case (module, function, arity, list(location)):
            where = dict(pairs(location))
            file = where.get(Atom("file"), [])
            name = "".join(map(chr, file)) if isinstance(file, list) else str(file)
            return mfa_text((module, function, arity)), name, where.get(Atom("line"), 0)
    return mfa_text(entry), "", 0


def _is_behaviour(line: ProcessLine, initial_call: Any) -> bool:
    """Whether it answers system messages. Others might keep such a message for ever."""
    if line.kind not in ("process", "application"):
        return True
    match initial_call:
        case (_, Atom() as function, int(arity)):
            return (function.name, arity) in _BEHAVIOUR_CALLS
    return False


def _ask_state(reader: Reader, pid: Pid, details: Details) -> None:
    try:
        status = reader.rpc("sys", "get_status", [pid, STATE_TIME_MS])
    except ErlangExit as error:
        busy = _is_timeout(error.reason)
        details.no_state = f"it is busy: no answer within {STATE_TIME_MS / 1000:g} s" if busy else f"it says {error}"
    except ErlangException as error:
        details.no_state = f"it says {error}"
    else:
        details.state = _state(status)


def _is_timeout(reason: Any) -> bool:
    return reason is Atom("timeout") or (isinstance(reason, tuple) and reason[:1] == (Atom("timeout"),))


def _state(status: Any) -> State:
    match status:
        case (tag, Pid(), (key, module), [_, system, _, _, misc]) if tag is _STATUS and key is _MODULE:
            state = State(str(system), str(module), "")
            _fill(state, misc)
            return state
    return State("", "", "", [("Status", status)])


def _fill(state: State, misc: Any) -> None:
    """Header, ``{data, [{Label, Term}]}`` and what else a behaviour puts there."""
    for entry in misc if isinstance(misc, list) else [misc]:
        match entry:
            case (tag, text) if tag is _HEADER:
                state.header = _text(text)
            case (Atom(), list(data)) if len(pairs(data)) == len(data):  # data, or what a behaviour calls its own
                state.data += [(_text(label), value) for label, value in pairs(data)]
            case _:
                state.data.append(("State", entry))


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(code, int) for code in value):
        return "".join(map(chr, value))
    if isinstance(value, list):  # an iolist
        return "".join(_text(part) if not isinstance(part, int) else chr(part) for part in value)
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
