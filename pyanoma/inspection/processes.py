"""What a node, Python or BEAM, says of its processes: ``erlang:process_info/2`` over rpc."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

import gevent
from gevent.event import AsyncResult
from gevent.pool import Pool

from erlang_bridge import Atom, BridgeError, CallTimeout, ConfigError, ErlangError, Node, OwnProcess, Pid
from erlang_bridge.terms import Map
from erlang_bridge.terms.text import format_term, pid_text

Result = TypeVar("Result")

AT_ONCE: Final = 64
"""How many processes are asked about at the same time."""

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
COUNTERS: Final = Atom("$pyanoma")
"""Key in the dictionary of a Python node's process: what it counts, as a map or a list of pairs."""

_BADARG: Final = Atom("badarg")
_UNDEF: Final = Atom("undef")
_UNDEFINED: Final = Atom("undefined")
_LABEL: Final = Atom("$process_label")
_INITIAL_CALL: Final = Atom("$initial_call")
_BEHAVIOURS: Final = {
    "gen_server": "gen_server",
    "gen_statem": "gen_statem",
    "gen_event": "gen_event",
    "gen_fsm": "gen_fsm",
    "application_master": "application",
}
"""Module in which a process of that behaviour waits, to the kind it is."""
_MOST_LABEL: Final = 80
_OBEYED: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line ends, and what turns the direction of the text that follows."""
_SAYS_NOTHING: Final = ("erlang:apply/2", "proc_lib:init_p/3", "proc_lib:init_p/5")
_PID_TEXT: Final = re.compile(r"#?(?:PID)?<(?:(?P<node>[^<>]+?@[^<>]+?)|\d+)\.(?P<id>\d+)\.(?P<serial>\d+)>")


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """What is shown of one process in a line. Memory in bytes.

    Attributes:
        kind: ``supervisor``, ``gen_server`` and the other behaviours; ``process`` for any other.
        counters: what a Python node counts of it; empty for others.
    """

    pid: Pid
    name: str
    label: str
    initial_call: str
    kind: str
    status: str
    messages: int
    reductions: int
    memory: int
    current_function: str
    counters: dict[str, Any] = field(default_factory=dict)
    links: tuple[Pid, ...] = ()

    @property
    def title(self) -> str:
        """What it is called: its name, label, or code."""
        return self.name or self.label or self.code

    @property
    def code(self) -> str:
        """What it runs: the module of a behaviour, else the function; where that says nothing, the one it is in."""
        if self.kind == "process":
            return self.current_function if self.initial_call in _SAYS_NOTHING else self.initial_call
        module, _, function = self.initial_call.partition(":")
        return function.partition("/")[0] if module == "supervisor" else module


def on_screen(text: str) -> str:
    """Text that is no term, and comes from the node, as it may stand in a terminal: nothing in it is obeyed there."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def mfa_text(term: Any) -> str:
    """``module:function/arity``."""
    match term:
        case (module, function, int(arity)):
            return f"{_atom(module)}:{_atom(function)}/{arity}"
    return format_term(term, most=60)


def _atom(value: Any) -> str:
    """An atom as it is, without quotes; ``true`` and ``nil`` come as what they are in Python."""
    return value.name if isinstance(value, Atom) else format_term(value)


def label_text(label: Any) -> str:
    """A process label as text; empty for none."""
    if label is _UNDEFINED:
        return ""
    if isinstance(label, bytes):
        text = label[: 4 * _MOST_LABEL].decode(errors="replace")
        return text if len(text) <= _MOST_LABEL else f"{text[:_MOST_LABEL]}..."
    text = format_term(label, most=_MOST_LABEL)
    return text[1:-1] if isinstance(label, list) and text.startswith('"') else text


def pairs(term: Any) -> list[tuple[Any, Any]]:
    """The pairs of a map or of a list; what is no pair is left out."""
    if isinstance(term, dict):
        return list(term.items())
    if isinstance(term, Map):
        return list(term.pairs())
    if isinstance(term, list):
        return [(entry[0], entry[1]) for entry in term if type(entry) is tuple and len(entry) == 2]
    return []


def items_by_name(told: list[Any]) -> dict[str, Any]:
    """The answer to ``process_info(Pid, Items)``."""
    return {key.name: value for key, value in told}


def dictionary_value(dictionary: Any, key: Atom, default: Any = _UNDEFINED) -> Any:
    """The value of a key in a process dictionary."""
    return next((value for entry, value in pairs(dictionary) if entry is key), default)


def counters_of(dictionary: Any) -> dict[str, Any]:
    """What a Python node counts of a process: name to number or text."""
    counted = pairs(dictionary_value(dictionary, COUNTERS, []))
    return {
        _atom(key): value if isinstance(value, (int, float)) else format_term(value, most=200)
        for key, value in counted
    }  # fmt: skip


def kind_of(initial_call: Any, current_function: Any) -> str:
    """What sort of process it is, by where it began and where it waits."""
    match initial_call:
        case (Atom("supervisor"), _, 1):
            return "supervisor"
    match current_function:
        case (Atom() as module, _, _) if module.name in _BEHAVIOURS:
            return _BEHAVIOURS[module.name]
    return "process"


def line_of(pid: Pid, told: dict[str, Any]) -> ProcessLine:
    """One process from what `ITEMS`, and perhaps ``links`` and ``label``, say."""
    dictionary = told["dictionary"]
    initial_call = dictionary_value(dictionary, _INITIAL_CALL, told["initial_call"])
    label = told.get("label", _UNDEFINED)
    if label is _UNDEFINED:
        label = dictionary_value(dictionary, _LABEL)
    name = told["registered_name"]
    return ProcessLine(
        pid=pid,
        name=name.name if isinstance(name, Atom) else "",
        label=label_text(label),
        initial_call=mfa_text(initial_call),
        kind=kind_of(initial_call, told["current_function"]),
        status=_atom(told["status"]),
        messages=told["message_queue_len"],
        reductions=told["reductions"],
        memory=told["memory"],
        current_function=mfa_text(told["current_function"]),
        counters=counters_of(dictionary),
        links=tuple(link for link in told.get("links", ()) if isinstance(link, Pid)),
    )


class Reader:
    """Asks one node about its processes.

    Args:
        client: a node that is connected with it.
        node: its name.
        timeout_s: for each of the answers.
    """

    def __init__(self, client: Node, node: str, timeout_s: float) -> None:
        self.client = client
        self.node = node
        self.name = Atom(node)
        self.timeout_s = timeout_s
        self._knows_labels: bool | None = None

    def rpc(self, module: str, function: str, arguments: Iterable[Any] = ()) -> Any:
        """As `Node.rpc`."""
        return self.client.rpc(self.node, module, function, arguments, timeout_s=self.timeout_s)

    def as_process(self, function: Callable[[OwnProcess], Result]) -> Result:
        """What `function` returns, run as a process of the client, which others can link with and send to.

        Raises:
            BridgeError: what it raised.
        """
        result: AsyncResult[Result] = AsyncResult()

        def run(own: OwnProcess) -> None:
            try:
                result.set(function(own))
            except BridgeError as error:
                result.set_exception(error)

        self.client.spawn(run)
        return cast(Result, result.get())

    def can(self, module: str, function: str, arity: int) -> bool:
        """Whether the node has that function, its module being loaded if need be."""
        try:
            self.rpc("code", "ensure_loaded", [Atom(module)])
            return self.rpc("erlang", "function_exported", [Atom(module), Atom(function), arity]) is True
        except ErlangError:
            return False

    def info(self, pid: Pid, items: Iterable[str]) -> dict[str, Any] | None:
        """``process_info(Pid, Items)``; None for a process that has ended."""
        told = self.rpc("erlang", "process_info", [pid, [Atom(item) for item in items]])
        return items_by_name(told) if isinstance(told, list) else None

    def lines(self, pids: Iterable[Pid], *more: str) -> list[ProcessLine]:
        """A line for each of `pids`, in this order, without those that have ended; `more` items are asked for as well.

        All of them have to be processes of the node.
        """
        asked = list(pids)
        if not asked:
            return []
        items = (*ITEMS, *more, *(("label",) if self._has_labels(asked[0]) else ()))

        def one(pid: Pid) -> ProcessLine | None:
            told = self.info(pid, items)
            return None if told is None else line_of(pid, told)

        return [line for line in Pool(AT_ONCE).map(one, asked) if line is not None]

    def _has_labels(self, pid: Pid) -> bool:
        """Whether the node knows the item ``label`` (OTP 27 and later, and a Python node)."""
        if self._knows_labels is None:
            try:
                self.rpc("erlang", "process_info", [pid, [Atom("label")]])
                self._knows_labels = True
            except ErlangError:
                self._knows_labels = False
        return self._knows_labels

    def find(self, text: str) -> Pid:
        """The pid that `text` names: ``<0.12.0>``, or a registered name.

        Raises:
            ConfigError: neither; or a pid of another node.
            NotFound: no process of this name; a pid that none of this node can have.
        """
        if (shown := _PID_TEXT.fullmatch(text)) is not None:
            if shown["node"] not in (None, self.node):
                raise ConfigError("PROCESS", text, f"a process of {self.node}")
            return self._own_pid(int(shown["id"]), int(shown["serial"]))
        try:
            name = Atom(text.removeprefix(":"))
        except ValueError:
            name = None
        if name is None or not text or text.startswith(("<", "#")):
            raise ConfigError("PROCESS", text, "a pid such as '<0.12.0>', or a registered name")
        found = self.rpc("erlang", "whereis", [name])
        if isinstance(found, Pid):
            return found
        raise NotFound(f"no process is registered as {text!r} on {self.node}")

    def _own_pid(self, id: int, serial: int) -> Pid:
        text = f"<0.{id}.{serial}>"
        try:
            # Not made here: a BEAM ends the connection over a pid of its own with numbers that it never gives.
            found: Pid = self.rpc("erlang", "list_to_pid", [list(text.encode())])
            return found
        except ErlangError as error:
            if error.reason is _BADARG:
                raise NotFound(f"no process {text} is alive on {self.node}") from None
            if error.reason is not _UNDEF:
                raise
        # Any process of the node tells in which of its starts it is.
        own = self.rpc("erlang", "whereis", [Atom("net_kernel")])
        return Pid(own.node, id, serial, own.creation)


@contextmanager
def answered_within(timeout_s: float, what: str) -> Iterator[None]:
    """A time limit for all of the questions of a command together.

    Raises:
        CallTimeout: it was over.
    """
    limit = gevent.Timeout(timeout_s)
    try:
        with limit:
            yield
    except gevent.Timeout as over:
        if over is not limit:
            raise
        raise CallTimeout(Atom("timeout"), what) from None


class NotFound(BridgeError):
    """No such process on the node."""


def identifiers(items: Iterable[Any], node: str) -> list[str]:
    """Pids, ports and references as text."""
    return [pid_text(item, node) if isinstance(item, Pid) else format_term(item) for item in items]
