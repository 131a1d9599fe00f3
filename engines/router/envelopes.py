"""Envelopes that cross from node to node: as they leave, and as they come.

They are kept as terms: a Router need not know the messages of the engines that it works for.

Pure: no processes, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from engines.messages import ANOMA_ENGINE_MSG, Address, EngineID
from erlang_bridge.terms import Atom, Map, Pid, Reference

MAX_NAME: Final = 255


class NotCarried(ValueError):
    """An envelope that does not cross; says why not."""


@dataclass(frozen=True, slots=True)
class Parts:
    """An envelope, taken apart.

    Attributes:
        body: ``{Engine, Message, Fields}``.
    """

    sender: Address | None
    target: EngineID
    mailbox: int | None
    body: Any
    reference: Reference | None

    def term(self, sender: Any, target: Any) -> Any:
        """The envelope as a term, with another sender and target."""
        term = (ANOMA_ENGINE_MSG, sender, target, self.mailbox, self.body)
        return term if self.reference is None else (*term, self.reference)


def parts_of(term: Any) -> Parts:
    """Take an envelope apart.

    Raises:
        NotCarried: it is none.
    """
    match term:
        case (Atom("anoma_engine_msg"), sender, target, mailbox, (Atom(), Atom(), fields) as body):
            reference = None
        case (Atom("anoma_engine_msg"), sender, target, mailbox, (Atom(), Atom(), fields) as body, Reference() as ref):
            reference = ref
        case _:
            raise NotCarried("expected {anoma_engine_msg, Sender, Target, Mailbox, {Engine, Message, Fields}}")
    if not isinstance(fields, (dict, Map)):
        raise NotCarried("expected a map as the fields of the message")
    if mailbox is not None and (type(mailbox) is not int or mailbox < 0):
        raise NotCarried("expected a natural number or nil as mailbox")
    to = _address(target)
    if not isinstance(to, EngineID):
        raise NotCarried("expected {Node, Name} as target: a pid of another node cannot be written to")
    return Parts(None if sender is None else _address(sender), to, mailbox, body, reference)


def _address(term: Any) -> Address:
    if isinstance(term, Pid):
        return term
    match term:
        case (None, name):
            return EngineID(None, _text(name))
        case (node, name):
            return EngineID(_text(node), _text(name))
    raise NotCarried("expected {Node, Name} or a pid as address")


def _text(term: Any) -> str:
    text = term.name if isinstance(term, Atom) else term
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError:
            text = None
    if not isinstance(text, str) or not 0 < len(text) <= MAX_NAME:
        raise NotCarried(f"expected atoms or UTF-8 binaries of 1 to {MAX_NAME} characters in an address")
    return text


def is_open(name: str, exposed: tuple[str, ...]) -> bool:
    """Whether an engine may be written to from other nodes.

    Args:
        exposed: names, and beginnings of names with a ``*`` behind them.
    """
    return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in exposed)
