"""Messages of the handshake, version 6: bytes <-> dataclasses. `handshake` decides their order.

Packets here are what stands behind the length field (2 bytes on plain TCP, 4 inside TLS).

Source: ERTS, "Distribution Protocol", The Handshake in Detail; kernel ``dist_util.erl``.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import md5
from struct import Struct
from struct import error as struct_error
from typing import Any, Final

from erlang_bridge.errors import LocalProtocolError, RemoteProtocolError

MAX_NODE_NAME_CHARACTERS: Final = 255
DIGEST_SIZE: Final = 16

_NAME_HEAD: Final = Struct(">cQIH")  # 'N' flags creation length
_CHALLENGE_HEAD: Final = Struct(">cQIIH")  # 'N' flags challenge creation length
_REPLY: Final = Struct(">cI16s")
_ACK: Final = Struct(">c16s")
_U16: Final = Struct(">H")
_U32: Final = Struct(">I")


@dataclass(frozen=True, slots=True)
class SendName:
    """First message: the node that dials says who it is."""

    node_name: str
    """Full name, ``name@host``; only ``host`` with `DFLAG_NAME_ME`."""
    flags: int
    """64 bits of ``DFLAG_*``."""
    creation: int
    """32 bits; tells this start of the node from earlier ones."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the accepting node thinks of it; also the dialling node's answer to ``alive``."""

    text: str
    """``ok``, ``ok_simultaneous``, ``nok``, ``not_allowed``, ``alive``, ``named``; in an answer ``true``, ``false``."""
    node_name: str = ""
    """The name granted; with ``named`` only."""
    creation: int = 0


@dataclass(frozen=True, slots=True)
class Challenge:
    """The accepting node says who it is, and asks for a proof that the other knows the cookie."""

    node_name: str
    flags: int
    creation: int
    challenge: int
    """32 bits, random."""


@dataclass(frozen=True, slots=True)
class ChallengeReply:
    """The dialling node's proof, and its own challenge."""

    challenge: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class ChallengeAck:
    """The accepting node's proof."""

    digest: bytes


def challenge_digest(challenge: int, cookie: bytes) -> bytes:
    """Proof of knowing `cookie`, 16 bytes: MD5 of the cookie, then the challenge in decimal.

    Source: kernel ``dist_util:gen_digest/2``. (Older guides have the challenge first; nodes do not.)
    """
    return md5(cookie + b"%d" % challenge, usedforsecurity=False).digest()


def is_node_name(name: str) -> bool:
    """Whether `name` is a full node name: at most 255 printable characters, one ``@``, something before and after it.

    >>> [is_node_name(name) for name in ("a@h", "a", "@h", "a@", "a@b@c")]
    [True, False, False, False, False]
    """
    alive, _, host = name.partition("@")
    return bool(alive and host) and "@" not in host and len(name) <= MAX_NODE_NAME_CHARACTERS and name.isprintable()


def encode_send_name(message: SendName) -> bytes:
    """The packet of `SendName`. See `decode_send_name`."""
    name = _name_bytes(message.node_name)
    return _NAME_HEAD.pack(b"N", message.flags, message.creation, len(name)) + name


def decode_send_name(packet: bytes) -> SendName:
    """Read ``send_name`` of handshake version 6.

    Args:
        packet: one packet, its length already taken off::

            | 1   | 8     | 4        | 2    | Nlen |     (bytes, big-endian)
            | 'N' | flags | creation | Nlen | name |

            Bytes after the name are ignored: the specification keeps them for later versions.

    Raises:
        RemoteProtocolError: another tag (version 5 has ``n``), or the packet ends inside a field.

    >>> decode_send_name(b"N" + bytes(7) + b"\\x04" + bytes(3) + b"\\x09" + b"\\x00\\x03a@h")
    SendName(node_name='a@h', flags=4, creation=9)
    """
    tag, flags, creation, size = _unpack(_NAME_HEAD, packet, "send_name")
    if tag != b"N":
        raise RemoteProtocolError(f"expected send_name of handshake version 6 (tag 'N'), got tag {tag!r}")
    return SendName(_name(packet, _NAME_HEAD.size, size, "send_name"), flags, creation)


def encode_status(message: Status) -> bytes:
    """The packet of `Status`: ``s`` and the text, for ``named`` followed by ``:``, name and creation."""
    if message.text != "named":
        return b"s" + message.text.encode("ascii")
    name = _name_bytes(message.node_name)
    return b"snamed:" + _U16.pack(len(name)) + name + _U32.pack(message.creation)


def decode_status(packet: bytes) -> Status:
    """Read ``send_status``, or the answer to ``alive``.

    Raises:
        RemoteProtocolError: another tag, or a text that is none of the known ones.
    """
    if packet[:1] != b"s":
        raise RemoteProtocolError(f"expected a status (tag 's'), got tag {packet[:1]!r}")
    if packet.startswith(b"snamed:"):
        start = len(b"snamed:") + _U16.size
        (size,) = _unpack(_U16, packet[len(b"snamed:") :], "status")
        (creation,) = _unpack(_U32, packet[start + size :], "status")
        return Status("named", _name(packet, start, size, "status"), creation)
    text = packet[1:].decode("latin-1")
    if text not in _STATUS_TEXTS:
        raise RemoteProtocolError(f"unknown status {text[:40]!r}")
    return Status(text)


_STATUS_TEXTS: Final = frozenset({"ok", "ok_simultaneous", "nok", "not_allowed", "alive", "true", "false"})


def encode_challenge(message: Challenge) -> bytes:
    """The packet of `Challenge`. See `decode_challenge`."""
    name = _name_bytes(message.node_name)
    return _CHALLENGE_HEAD.pack(b"N", message.flags, message.challenge, message.creation, len(name)) + name


def decode_challenge(packet: bytes) -> Challenge:
    """Read ``send_challenge``.

    Args:
        packet: one packet, its length already taken off::

            | 1   | 8     | 4         | 4        | 2    | Nlen |
            | 'N' | flags | challenge | creation | Nlen | name |

    Raises:
        RemoteProtocolError: another tag, or the packet ends inside a field.
    """
    tag, flags, challenge, creation, size = _unpack(_CHALLENGE_HEAD, packet, "challenge")
    if tag != b"N":
        raise RemoteProtocolError(f"expected a challenge of handshake version 6 (tag 'N'), got tag {tag!r}")
    return Challenge(_name(packet, _CHALLENGE_HEAD.size, size, "challenge"), flags, creation, challenge)


def encode_challenge_reply(message: ChallengeReply) -> bytes:
    """The packet of `ChallengeReply`."""
    return _REPLY.pack(b"r", message.challenge, message.digest)


def decode_challenge_reply(packet: bytes) -> ChallengeReply:
    """Read ``send_challenge_reply``: ``r``, challenge (4 bytes), digest (16 bytes).

    Raises:
        RemoteProtocolError: another tag or size.
    """
    if len(packet) != _REPLY.size or packet[:1] != b"r":
        raise RemoteProtocolError(f"expected a challenge reply, 21 bytes, got tag {packet[:1]!r}, {len(packet)} bytes")
    _, challenge, digest = _REPLY.unpack(packet)
    return ChallengeReply(challenge, digest)


def encode_challenge_ack(message: ChallengeAck) -> bytes:
    """The packet of `ChallengeAck`."""
    return _ACK.pack(b"a", message.digest)


def decode_challenge_ack(packet: bytes) -> ChallengeAck:
    """Read ``send_challenge_ack``: ``a``, digest (16 bytes).

    Raises:
        RemoteProtocolError: another tag or size.
    """
    if len(packet) != _ACK.size or packet[:1] != b"a":
        raise RemoteProtocolError(f"expected a challenge ack, 17 bytes, got tag {packet[:1]!r}, {len(packet)} bytes")
    return ChallengeAck(packet[1:])


def _unpack(layout: Struct, packet: bytes, what: str) -> tuple[Any, ...]:
    try:
        return layout.unpack_from(packet)
    except struct_error:
        raise RemoteProtocolError(f"the {what} packet ends inside a field ({len(packet)} bytes)") from None


def _name(packet: bytes, start: int, size: int, what: str) -> str:
    if len(packet) - start < size:
        raise RemoteProtocolError(f"the {what} packet ends inside its name ({len(packet)} bytes)")
    try:
        name = packet[start : start + size].decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError(f"the name in the {what} packet is not UTF-8") from None
    if len(name) > MAX_NODE_NAME_CHARACTERS:
        raise RemoteProtocolError(f"the name in the {what} packet has {len(name)} characters, 255 are allowed")
    return name


def _name_bytes(name: str) -> bytes:
    if len(name) > MAX_NODE_NAME_CHARACTERS:
        raise LocalProtocolError(f"a node name has at most {MAX_NODE_NAME_CHARACTERS} characters, got {len(name)}")
    return name.encode()
