"""What engines send each other: addresses, messages, and the envelope around a message, as values and as terms.

The envelope on the wire::

    {anoma_engine_msg, Sender, Target, Mailbox, {Engine, Message, Fields}}
    {anoma_engine_msg, Sender, Target, Mailbox, {Engine, Message, Fields}, Reference}

    Sender, Target   {Node, Name}, two atoms (binaries will do), or a pid; Node is nil for "on this node".
                     A sender who is not known is nil.
    Mailbox          an integer, or nil; 0 is the default one
    Engine, Message  atoms: the engine's type and the message's, such as ticker and count_request
    Fields           a map, field name (atom) to value, as `wire` has them
    Reference        any reference; a reply carries that of its request

Pure: no processes, no clock.

Source: nspec v0.2.0, "Engine" and "Engine messages". The specification has no term for the envelope and no correlation
of replies; the layout above and `Reference` are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engines.wire import Field, fields_from_term, fields_of, fields_to_term, tag_of
from erlang_bridge.errors import BridgeError, brief
from erlang_bridge.etf.conversions import Conversion, Mismatch
from erlang_bridge.terms import Atom, Pid, Reference
from erlang_bridge.terms.atom import MAX_ATOM_CHARACTERS

ANOMA_ENGINE_MSG: Final = Atom("anoma_engine_msg")
DEFAULT_MAILBOX: Final = 0
MAX_NAME: Final = MAX_ATOM_CHARACTERS
"""Characters of a name in an address: names are atoms where they are sent to."""
ROUTER: Final = "router-"
"""Begins the name of the Router for a node that is not one of the cluster; the node's id follows."""


class MalformedEnvelope(BridgeError):
    """A term that says it is an envelope, and is none, or has a message in it that the engine does not know."""


@dataclass(frozen=True, slots=True)
class EngineID:
    """Where an engine is: its node, and its name there.

    Attributes:
        node: full node name; None means the node of whoever uses the address.
        name: unique on its node.
    """

    node: str | None
    name: str

    @property
    def is_local(self) -> bool:
        return self.node is None

    def at(self, node: str) -> EngineID:
        """The same address as seen from anywhere: with `node` where it says none."""
        return self if self.node is not None else EngineID(node, self.name)

    def __str__(self) -> str:
        return self.name if self.node is None else f"{self.name} at {self.node}"

    @classmethod
    def wire_conversion(cls) -> Conversion:
        return Conversion(_engine_id_from, _encode_address, lambda value: isinstance(value, EngineID))


Address = EngineID | Pid
"""Who a message is from or for. Erlang processes without a name are addressed by their pid."""


class Message:
    """Base of messages: frozen dataclasses, one for each type; `wire` says what their annotations mean as terms."""

    __slots__ = ()

    engine: ClassVar[str]
    """Type of the engine that the message belongs to, the first part of its term."""

    @classmethod
    def tag(cls) -> str:
        """The second part of its term: the class's name as an atom is written, ``count_request`` of `CountRequest`."""
        return tag_of(cls)

    @classmethod
    def fields(cls) -> tuple[Field, ...]:
        """Its fields, with what each becomes as a term."""
        return fields_of(cls)


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message on its way: nspec's ``EngineMsg``.

    Attributes:
        sender: None where it is not known: a cast in the plain form has none.
        mailbox: of the target; None is the default one.
        reference: set by a sender who wants to know replies again.
    """

    sender: Address | None
    target: Address
    message: Message
    mailbox: int | None = DEFAULT_MAILBOX
    reference: Reference | None = None

    def reply(self, sender: Address, message: Message) -> Envelope | None:
        """The answer to this message: to its sender's mailbox 0, under its reference.

        None where the sender is not known.
        """
        if self.sender is None:
            return None
        return Envelope(sender, self.sender, message, DEFAULT_MAILBOX, self.reference)


def is_envelope(term: Any) -> bool:
    """Whether `term` says that it is an envelope."""
    return type(term) is tuple and len(term) > 1 and term[0] is ANOMA_ENGINE_MSG


def encode_envelope(envelope: Envelope) -> tuple[Any, ...]:
    """The envelope as a term, see above."""
    term = (
        ANOMA_ENGINE_MSG,
        _encode_address(envelope.sender),
        _encode_address(envelope.target),
        envelope.mailbox,
        encode_message(envelope.message),
    )
    return term if envelope.reference is None else (*term, envelope.reference)


def decode_envelope(term: Any, known: tuple[type[Message], ...]) -> Envelope:
    """Read an envelope.

    Args:
        known: the messages that may be in it.

    Raises:
        MalformedEnvelope: what is wrong with it.
    """
    match term:
        case (Atom("anoma_engine_msg"), sender, target, None | int() as mailbox, body):
            reference = None
        case (Atom("anoma_engine_msg"), sender, target, None | int() as mailbox, body, Reference() as reference):
            pass
        case _:
            raise MalformedEnvelope(
                "expected {anoma_engine_msg, Sender, Target, Mailbox, Message} and perhaps a reference"
            )
    if mailbox is not None and (isinstance(mailbox, bool) or mailbox < 0):
        raise MalformedEnvelope(f"expected a natural number or nil as mailbox, got {brief(mailbox, 80)}")
    from_address = None if sender is None else _decode_address(sender)
    return Envelope(from_address, _decode_address(target), decode_message(body, known), mailbox, reference)


def encode_message(message: Message) -> tuple[Atom, Atom, dict[Atom, Any]]:
    """``{Engine, Message, Fields}``.

    Example:
        >>> from engines.ticker.messages import CountReply
        >>> encode_message(CountReply(2))
        (Atom('ticker'), Atom('count_reply'), {Atom('counter'): 2})
    """
    return Atom(message.engine), Atom(message.tag()), fields_to_term(message)


def decode_message(body: Any, known: tuple[type[Message], ...]) -> Message:
    """Read ``{Engine, Message, Fields}``.

    Raises:
        MalformedEnvelope: not of that shape, not one of `known`, or not the fields that it has.
    """
    match body:
        case (Atom(engine), Atom(tag), dict() as values):
            pass
        case _:
            raise MalformedEnvelope("expected {Engine, Message, Fields} with two atoms and a map as message")
    for message in known:
        if message.engine == engine and message.tag() == tag:
            return read_fields(message, values)
    raise MalformedEnvelope(f"no such message: {engine} {tag}")


def read_fields(message: type[Message], values: Any) -> Message:
    """A message of the class `message`, of the map of its fields.

    Raises:
        MalformedEnvelope: they are not its fields, or one of them is not what it should be.
    """
    try:
        read: Message = fields_from_term(message, values)
    except Mismatch as mismatch:
        raise MalformedEnvelope(str(mismatch)) from None
    return read


def _encode_address(address: Address | None) -> Any:
    if address is None or isinstance(address, Pid):
        return address
    return None if address.node is None else Atom(address.node), Atom(address.name)


def _decode_address(term: Any) -> Address:
    if isinstance(term, Pid):
        return term
    match term:
        case (None, name):
            return EngineID(None, _text(name))
        case (node, name):
            return EngineID(_node(node), _text(name))
    raise MalformedEnvelope("expected {Node, Name} or a pid as address")


def _engine_id_from(term: Any) -> EngineID:
    try:
        address = _decode_address(term)
    except MalformedEnvelope as error:
        raise Mismatch(f"should be {{Node, Name}}: {error}") from None
    if isinstance(address, Pid):
        raise Mismatch("should be {Node, Name}, got a pid")
    return address


def _text(term: Any) -> str:
    text = term.name if isinstance(term, Atom) else None
    if isinstance(term, bytes):
        try:
            text = term.decode()
        except UnicodeDecodeError:
            pass
    if text is None:
        raise MalformedEnvelope("expected atoms or UTF-8 binaries in an address")
    if len(text) > MAX_NAME:
        raise MalformedEnvelope(f"expected at most {MAX_NAME} characters for a name in an address, got {len(text)}")
    return text


def _node(term: Any) -> str:
    text = _text(term)
    most = MAX_NAME - len(ROUTER)
    if "@" not in text and len(text) > most:
        raise MalformedEnvelope(
            f"expected at most {most} characters for a node outside of the cluster, got {len(text)}"
        )
    return text
