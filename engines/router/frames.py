"""What goes over the wire between two nodes, as bytes.

A frame is its length, 4 bytes, and a value in Erlang's external term format: a `Greeting`, a `ConnectRequest`, a
`ConnectReply` or a `NodeMsg`. What is in a `NodeMsg` is such a value, too: see `content`.

Compressed terms are not taken: what is small on the wire is small in memory.

Pure: no processes, no clock.
"""

from __future__ import annotations

from typing import Any, Final

from anoma.crypto import digest, signable
from engines.router.messages import (
    Acknowledged,
    Advertised,
    Carried,
    ConnectReply,
    ConnectRequest,
    Content,
    Greeting,
    Hello,
    NodeMsg,
)
from engines.wire import Value, fields_from_term, fields_to_term
from erlang_bridge.errors import EtfDecodeError, EtfEncodeError
from erlang_bridge.etf import decode, encode
from erlang_bridge.etf.conversions import Mismatch
from erlang_bridge.terms import Atom

Frame = Greeting | ConnectRequest | ConnectReply | NodeMsg

LENGTH_SIZE: Final = 4
MAX_FIRST_FRAME: Final = 4096
"""Of what is taken from a node that has not shown yet who it is, in bytes."""
MAX_FRAME: Final = 1 << 20
FRAME_OVERHEAD: Final = 512
"""At most so much longer is a frame than what is carried in it."""

_COMPRESSED: Final = 80
_FRAMES: Final[dict[Any, type[Value]]] = {
    Atom(one.tag()): one for one in (Greeting, ConnectRequest, ConnectReply, NodeMsg)
}
_CONTENTS: Final[dict[Any, type[Value]]] = {Atom(one.tag()): one for one in (Carried, Acknowledged, Advertised, Hello)}


class BadFrame(ValueError):
    """Bytes that are no frame; says what is wrong with them."""


def frame_bytes(frame: Frame) -> bytes:
    """A frame, with its length before it."""
    body = _encode(frame)
    return len(body).to_bytes(LENGTH_SIZE, "big") + body


def read_frame(body: bytes) -> Frame:
    """A frame, without its length.

    Raises:
        BadFrame: it is none.
    """
    frame: Frame = _decode(_FRAMES, body)
    return frame


def cut(buffer: bytes, max_size: int) -> tuple[list[bytes], bytes]:
    """The frames that are whole, without their lengths, and the bytes that are left.

    Raises:
        BadFrame: one would be longer than `max_size`.
    """
    frames = []
    at = 0
    while len(buffer) - at >= LENGTH_SIZE:
        size = int.from_bytes(buffer[at : at + LENGTH_SIZE], "big")
        if size > max_size:
            raise BadFrame(f"a frame of {size} bytes; at most {max_size} are taken")
        if len(buffer) - at - LENGTH_SIZE < size:
            break
        at += LENGTH_SIZE + size
        frames.append(buffer[at - size : at])
    return frames, buffer[at:]


def content_bytes(content: Content) -> bytes:
    """What is in a `NodeMsg`, before it is encrypted.

    Raises:
        ValueError: a part of it has no term.
    """
    return _encode(content)


def content(plaintext: bytes) -> Content:
    """What is in a `NodeMsg`.

    Raises:
        BadFrame: nothing that is known.
    """
    found: Content = _decode(_CONTENTS, plaintext)
    return found


def request_digest(request: ConnectRequest) -> bytes:
    """What a reply names the request by."""
    return digest(signable(_term(request))).data


def transcript(request: ConnectRequest, reply: ConnectReply) -> bytes:
    """What a session is made of: both sides' words."""
    return signable((_term(request), _term(reply)))


def _term(value: Value) -> tuple[Atom, dict[Atom, Any]]:
    return Atom(value.tag()), fields_to_term(value)


def _encode(value: Value) -> bytes:
    try:
        return encode(_term(value))
    except EtfEncodeError as error:
        raise ValueError(str(error)) from None


def _decode(known: dict[Any, type[Value]], data: bytes) -> Any:
    if data[1:2] == bytes((_COMPRESSED,)):
        raise BadFrame("a compressed term")
    try:
        term = decode(data, structs={})
        if type(term) is not tuple or len(term) != 2 or type(term[0]) is not Atom or term[0] not in known:
            raise BadFrame(f"something else than {', '.join(tag.name for tag in known)}")
        return fields_from_term(known[term[0]], term[1])
    except (EtfDecodeError, Mismatch) as error:
        raise BadFrame(str(error)) from None
