"""Trace messages of a node, put together to a sequence: who sent what to whom, and when it arrived.

Pure: takes OTP's trace messages, as `erlang_bridge.runtime_tools.trace_terms` makes them and any BEAM does.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from erlang_bridge.etf import encode
from erlang_bridge.terms import Atom, ImproperList, Pid, Reference
from erlang_bridge.terms.text import format_term

Who = Pid | tuple[Atom, Atom] | None
"""A process, a name on another node, or somebody whose messages tell nothing of their sender."""

CALL: Final = "call"
REPLY: Final = "reply"
CAST: Final = "cast"
MESSAGE: Final = "message"
SIGNAL: Final = "signal"

MOST_TEXT: Final = 4000
"""Characters of one message that are kept."""

_TRACE: Final = Atom("trace_ts")
_DROP: Final = Atom("drop")


@dataclass(slots=True)
class Message:
    """One message.

    Attributes:
        kind: ``call``, ``reply``, ``cast``, ``signal`` (the end of a linked or monitored process), or ``message``.
        text: what it says, without what its kind says already. term: all of it.
        sent_s, received_s: on the clock of the node, since the epoch; None where that was not seen.
        is_lost: there was no such process.
    """

    sender: Who
    receiver: Who
    kind: str
    text: str
    term: str
    sent_s: float | None
    received_s: float | None
    is_lost: bool = False

    @property
    def at_s(self) -> float:
        """When it was first seen."""
        at = self.sent_s if self.sent_s is not None else self.received_s
        assert at is not None
        return at


@dataclass(slots=True)
class Event:
    """A process that has started or ended.

    Attributes:
        kind: ``start`` or ``end``. text: what it runs, or why it ended.
    """

    who: Who
    kind: str
    text: str
    at_s: float


@dataclass(slots=True)
class Sequence:
    """What has happened, in order.

    Attributes:
        left_out: how many trace messages the node had no room for.
    """

    entries: list[Message | Event] = field(default_factory=list)
    left_out: int = 0

    @property
    def messages(self) -> list[Message]:
        return [entry for entry in self.entries if isinstance(entry, Message)]

    @property
    def seconds(self) -> float:
        """From the first to the last of it."""
        return self.entries[-1].at_s - self.entries[0].at_s if self.entries else 0.0

    def everybody(self) -> list[Who]:
        """Who takes part, in the order of appearance."""
        found: dict[Who, None] = {}
        for entry in self.entries:
            if isinstance(entry, Message):
                found[entry.sender] = None
                found[entry.receiver] = None
            else:
                found[entry.who] = None
        return list(found)


class Sequencer:
    """Puts a `Sequence` together.

    Args:
        node: whose processes are traced.
        whereis: the process that has a name on that node.
        client: the node that traces; what it calls on the other is no part of the sequence.
    """

    def __init__(self, node: Atom, whereis: Callable[[Atom], Pid | None], client: Atom | None = None) -> None:
        self.sequence = Sequence()
        self._node = node
        self._whereis = whereis
        self._client = client
        self._under_way: defaultdict[tuple[Pid, bytes], deque[Message]] = defaultdict(deque)
        self._calls: dict[Reference, tuple[Pid, Who]] = {}

    def add(self, term: Any) -> None:
        """Take one trace message, with a time stamp. What says nothing of messages is left out."""
        match term:
            case (tag, int(number)) if tag is _DROP:
                self.sequence.left_out += number
            case (tag, Pid() as pid, Atom("send" | "send_to_non_existing_process") as kind, message, to, stamp) if (
                tag is _TRACE
            ):
                self._sent(pid, message, to, _seconds(stamp), is_lost=kind.name != "send")
            case (tag, Pid() as pid, Atom("receive"), message, stamp) if tag is _TRACE:
                self._received(pid, message, _seconds(stamp))
            case (tag, Pid() as pid, Atom("spawned"), _, mfa, stamp) if tag is _TRACE:
                self.sequence.entries.append(Event(pid, "start", _mfa(mfa), _seconds(stamp)))
            case (tag, Pid() as pid, Atom("exit"), reason, stamp) if tag is _TRACE and not self._is_ours(reason):
                self.sequence.entries.append(Event(pid, "end", _text(reason), _seconds(stamp)))

    def _is_ours(self, reason: Any) -> bool:
        """Whether a process has ended with the result of a remote call of the client's own."""
        match reason:
            case (Reference() as tag, *_):
                return tag.node is self._client
        return False

    def _sent(self, pid: Pid, message: Any, to: Any, at_s: float, *, is_lost: bool) -> None:
        kind, reference, content = _kind(message)
        receiver = self._receiver(to)
        if reference is not None:
            if kind == CALL:
                self._calls[reference] = (pid, receiver)
            elif reference in self._calls:
                kind, receiver = REPLY, self._calls[reference][0]
            elif kind == REPLY:
                kind, content = MESSAGE, message
        entry = Message(pid, receiver, kind, _text(content), _text(message), at_s, None, is_lost)
        self.sequence.entries.append(entry)
        if isinstance(receiver, Pid) and receiver.node is self._node:
            self._under_way[(receiver, encode(message))].append(entry)

    def _received(self, pid: Pid, message: Any, at_s: float) -> None:
        under_way = self._under_way.get((pid, encode(message)))
        if under_way:
            under_way.popleft().received_s = at_s
            return
        kind, reference, content = _kind(message)
        sender: Who = None
        if kind == CALL:
            sender = message[1][0]
            if reference is not None and isinstance(sender, Pid):
                self._calls[reference] = (sender, pid)
        elif kind == SIGNAL:
            sender = next((part for part in message[1:] if isinstance(part, Pid)), None)
        elif kind == REPLY:
            if reference in self._calls:
                sender = self._calls[reference][1]
            else:
                kind, content = MESSAGE, message
        self.sequence.entries.append(Message(sender, pid, kind, _text(content), _text(message), None, at_s))

    def _receiver(self, to: Any) -> Who:
        if type(to) is Pid:
            return to
        if type(to) is tuple and len(to) == 2:
            name, node = to
            if node is not self._node:
                return (name, node)
            to = name
        if type(to) is Reference:
            call = self._calls.get(to)
            return call[0] if call is not None else None
        if type(to) is Atom:
            return self._whereis(to) or (to, self._node)
        return None


def _kind(message: Any) -> tuple[str, Reference | None, Any]:
    """What sort of message it is, the reference of the call that it belongs to, and what it says."""
    match message:
        case (Atom("$gen_call"), (Pid(), tag), request):
            return CALL, _reference(tag), request
        case (Atom("system"), (Pid(), tag), request):
            return CALL, _reference(tag), (Atom("system"), request)
        case (Atom("$gen_cast"), content):
            return CAST, None, content
        case (Atom("EXIT"), Pid(), _) | (Atom("DOWN"), Reference(), _, _, _):
            return SIGNAL, None, message
        case (tag, content):
            reference = _reference(tag)
            if reference is not None:
                return REPLY, reference, content
    return MESSAGE, None, message


def _reference(tag: Any) -> Reference | None:
    """The reference in the tag of a call: itself, ``[alias|Ref]`` or ``[[alias|Ref]|Other]``."""
    while type(tag) is ImproperList:
        head = tag.elements[0]
        tag = head if type(head) is ImproperList else tag.tail
    return tag if type(tag) is Reference else None


def _seconds(stamp: Any) -> float:
    match stamp:
        case (int(megas), int(seconds), int(micros)):
            return float(megas * 1_000_000 + seconds) + micros / 1_000_000
    return 0.0


def _mfa(term: Any) -> str:
    match term:
        case (Atom() as module, Atom() as function, list(arguments)):
            return f"{module.name}:{function.name}/{len(arguments)}"
        case (Atom() as module, Atom() as function, int(arity)):
            return f"{module.name}:{function.name}/{arity}"
    return _text(term)


def _text(term: Any) -> str:
    return format_term(term, most=MOST_TEXT)
