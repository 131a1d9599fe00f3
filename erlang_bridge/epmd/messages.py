"""Every message of epmd's protocol, as bytes and as dataclasses, for both ends.

A connection carries one request: its length in 2 bytes, then its body. A reply has no length: it ends where epmd
closes the connection, except that of ALIVE2, whose first byte tells its size and whose connection stays open for as
long as the node is registered.

Any bytes are either decoded or raise `EpmdError`.

Source: ERTS, "Distribution Protocol", EPMD Protocol; erts ``epmd/src/epmd_srv.c``. Where they differ, epmd wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Final

from erlang_bridge.errors import EpmdError

EPMD_DEFAULT_PORT: Final = 4369

EPMD_ALIVE2_REQ: Final = 120
EPMD_ALIVE2_RESP: Final = 121
EPMD_ALIVE2_X_RESP: Final = 118
EPMD_PORT2_REQ: Final = 122
EPMD_PORT2_RESP: Final = 119
EPMD_NAMES_REQ: Final = 110
EPMD_DUMP_REQ: Final = 100
EPMD_KILL_REQ: Final = 107
EPMD_STOP_REQ: Final = 115

NODE_TYPE_NORMAL: Final = 77
"""``'M'``. OTP registers every node so, hidden ones too."""
NODE_TYPE_HIDDEN: Final = 72
"""``'H'``: hidden, as C nodes register."""

DIST_VERSION_HIGH: Final = 6
DIST_VERSION_LOW: Final = 5

MAX_REQUEST_SIZE: Final = 3059
"""Bytes of a whole request, its 2-byte length included; epmd closes on more."""
MAX_NAME_CHARACTERS: Final = 255
MAX_EXTRA_SIZE: Final = 1020

RESULT_OK: Final = 0
RESULT_ERROR: Final = 1
CREATION_OF_REFUSAL: Final = 99
"""epmd fills the creation of a refusal with this; it means nothing."""

_U16: Final = Struct(">H")
_U32: Final = Struct(">I")
_ENTRY_HEAD: Final = Struct(">HBBHHH")
_ALIVE2_REPLY: Final = Struct(">BBH")
_ALIVE2_X_REPLY: Final = Struct(">BBI")


# -- what both ends talk about ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """What epmd keeps about one registered node; the common part of the ALIVE2 request and the PORT2 reply.

    On the wire::

        | 2    | 1    | 1     | 2       | 2      | 2    | Nlen | 2    | Elen  |
        | port | type | proto | highest | lowest | Nlen | name | Elen | extra |
    """

    name: str
    """The part of the node's name before ``@``, 1..255 characters."""
    port: int
    """TCP port where the node listens."""
    node_type: int = NODE_TYPE_NORMAL
    protocol: int = 0
    """0 is TCP, over IPv4 and IPv6 alike."""
    highest_version: int = DIST_VERSION_HIGH
    lowest_version: int = DIST_VERSION_LOW
    extra: bytes = b""
    """At most 1020 bytes, handed on unread."""


# -- requests ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Alive2Request:
    """Register a node, until this connection ends. Answered with `Alive2Reply`."""

    entry: NodeEntry


@dataclass(frozen=True, slots=True)
class Port2Request:
    """Where does the node of this name listen? Answered with `Port2Reply`."""

    name: str


@dataclass(frozen=True, slots=True)
class NamesRequest:
    """Which nodes are registered? Answered with `NamesReply`."""


@dataclass(frozen=True, slots=True)
class DumpRequest:
    """Which names are known, those of ended nodes included? Answered with `DumpReply`."""


@dataclass(frozen=True, slots=True)
class KillRequest:
    """End, epmd. Answered with `KillReply`."""


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Forget the node of this name. Answered with `StopReply`, or not at all by an epmd that is strict."""

    name: str


Request = Alive2Request | Port2Request | NamesRequest | DumpRequest | KillRequest | StopRequest


def encode_request(request: Request) -> bytes:
    r"""One whole request, its length before it.

    Raises:
        EpmdError: a field does not fit.

    Example:
        >>> encode_request(Port2Request("py"))
        b'\x00\x03zpy'
    """
    match request:
        case Alive2Request(entry):
            body = bytes((EPMD_ALIVE2_REQ,)) + _encode_entry(entry)
        case Port2Request(name):
            body = bytes((EPMD_PORT2_REQ,)) + _encode_name(name)
        case NamesRequest():
            body = bytes((EPMD_NAMES_REQ,))
        case DumpRequest():
            body = bytes((EPMD_DUMP_REQ,))
        case KillRequest():
            body = bytes((EPMD_KILL_REQ,))
        case StopRequest(name):
            body = bytes((EPMD_STOP_REQ,)) + _encode_name(name)
    if len(body) + _U16.size > MAX_REQUEST_SIZE:
        raise EpmdError(f"a request to epmd has at most {MAX_REQUEST_SIZE} bytes, this one {len(body) + _U16.size}")
    return _U16.pack(len(body)) + body


def request_size(start: bytes) -> int | None:
    """How long the request that begins with `start` is in all, in bytes; None while not even its length has come.

    Raises:
        EpmdError: no request is that long, or `start` has more than that: epmd closes.
    """
    if len(start) < _U16.size:
        return None
    size = int(_U16.unpack_from(start)[0]) + _U16.size
    if not _U16.size < size <= MAX_REQUEST_SIZE:
        raise EpmdError(f"expected a request of 3 to {MAX_REQUEST_SIZE} bytes, got one of {size}")
    if len(start) > size:
        raise EpmdError(f"expected a request of {size} bytes, got {len(start)}")
    return size


def decode_request(body: bytes) -> Request:
    """Read a request; its 2-byte length is already taken off.

    Bytes behind the extra field of ALIVE2 and a single NUL behind the name of PORT2 are ignored, as epmd does.

    Raises:
        EpmdError: anything else.
    """
    decode = _REQUEST_DECODERS.get(body[0]) if body else None
    if decode is None:
        raise EpmdError(f"expected a request to epmd, got {_shown(body)}")
    return decode(body)


def _decode_port2_request(body: bytes) -> Port2Request:
    end = len(body) - 1 if body[-1] == 0 else len(body)
    return Port2Request(_decode_name(body[1:end]))


def _decode_stop_request(body: bytes) -> StopRequest:
    return StopRequest(_decode_name(body[1:].partition(b"\0")[0]))


_REQUEST_DECODERS: Final[dict[int, Callable[[bytes], Request]]] = {
    EPMD_ALIVE2_REQ: lambda body: Alive2Request(_decode_entry(body, 1)),
    EPMD_PORT2_REQ: _decode_port2_request,
    EPMD_NAMES_REQ: lambda body: NamesRequest(),
    EPMD_DUMP_REQ: lambda body: DumpRequest(),
    EPMD_KILL_REQ: lambda body: KillRequest(),
    EPMD_STOP_REQ: _decode_stop_request,
}


# -- ALIVE2 reply -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Alive2Reply:
    """Whether a node is registered now.

    Attributes:
        result: 0 is yes; anything else, that the name is taken.
        creation: tells this start of the node from earlier ones; no meaning in a refusal.
        wide: whether `creation` has 32 bits (ALIVE2_X, for nodes of version 6) or 16.
    """

    result: int
    creation: int
    wide: bool = True


def alive2_reply_size(first_byte: int) -> int:
    """How long the reply to ALIVE2 is that begins with this byte, in bytes.

    Raises:
        EpmdError: no such reply begins so.
    """
    if first_byte == EPMD_ALIVE2_X_RESP:
        return _ALIVE2_X_REPLY.size
    if first_byte == EPMD_ALIVE2_RESP:
        return _ALIVE2_REPLY.size
    raise EpmdError(f"expected a reply to ALIVE2, got one that begins with {first_byte}")


def encode_alive2_reply(reply: Alive2Reply) -> bytes:
    """The 6 bytes of ALIVE2_X_RESP, or the 4 of ALIVE2_RESP where the reply is not `wide`."""
    if reply.wide:
        return _ALIVE2_X_REPLY.pack(EPMD_ALIVE2_X_RESP, reply.result, reply.creation)
    return _ALIVE2_REPLY.pack(EPMD_ALIVE2_RESP, reply.result, reply.creation)


def decode_alive2_reply(data: bytes) -> Alive2Reply:
    """Read the reply to ALIVE2.

    Raises:
        EpmdError: another first byte, or another size than `alive2_reply_size` tells.
    """
    if not data or len(data) != alive2_reply_size(data[0]):
        raise EpmdError(f"expected a reply to ALIVE2, got {_shown(data)}")
    wide = data[0] == EPMD_ALIVE2_X_RESP
    _, result, creation = (_ALIVE2_X_REPLY if wide else _ALIVE2_REPLY).unpack(data)
    return Alive2Reply(result, creation, wide)


# -- PORT2 reply ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Port2Reply:
    """Where a node listens.

    Attributes:
        entry: what is known about it; None: no node of that name is registered.
    """

    entry: NodeEntry | None


def encode_port2_reply(reply: Port2Reply) -> bytes:
    """``119, 0, entry``, or ``119, 1``."""
    if reply.entry is None:
        return bytes((EPMD_PORT2_RESP, RESULT_ERROR))
    return bytes((EPMD_PORT2_RESP, RESULT_OK)) + _encode_entry(reply.entry)


def decode_port2_reply(data: bytes) -> Port2Reply:
    """Read all that epmd sent before it closed.

    Raises:
        EpmdError: anything but a reply to PORT2.
    """
    if len(data) < 2 or data[0] != EPMD_PORT2_RESP:
        raise EpmdError(f"expected a reply to PORT2, got {_shown(data)}")
    return Port2Reply(None if data[1] != RESULT_OK else _decode_entry(data, 2))


# -- NAMES and DUMP replies -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NamesReply:
    """The registered nodes.

    Attributes:
        epmd_port: where that epmd listens, by its own account; ``net_adm:names/0`` insists that it be right.
        nodes: ``(name, port)`` of each, latest registration first.
    """

    epmd_port: int
    nodes: tuple[tuple[str, int], ...]


_NAMES_LINE: Final = re.compile(r"name (\S+) at port (\d{1,5})")


def encode_names_reply(reply: NamesReply) -> bytes:
    """The epmd's port in 4 bytes, then a line for each node: ``name NAME at port PORT``."""
    lines = [f"name {name} at port {port}\n" for name, port in reply.nodes]
    return _U32.pack(reply.epmd_port) + "".join(lines).encode()


def decode_names_reply(data: bytes) -> NamesReply:
    """Read all that epmd sent before it closed. Lines that are not understood are left out, as ``erl_epmd`` does.

    Raises:
        EpmdError: not even a port, or not UTF-8.
    """
    epmd_port, text = _decode_listing(data, "NAMES")
    found = (_NAMES_LINE.fullmatch(line) for line in text.split("\n"))
    return NamesReply(epmd_port, tuple((match[1], int(match[2])) for match in found if match))


@dataclass(frozen=True, slots=True)
class DumpLine:
    """One name that epmd knows, with the number of the connection that registered it."""

    name: str
    port: int
    fd: int


@dataclass(frozen=True, slots=True)
class DumpReply:
    """All that epmd knows: the registered nodes, and the names whose creation it remembers."""

    epmd_port: int
    active: tuple[DumpLine, ...]
    unused: tuple[DumpLine, ...]


_ACTIVE_LINE: Final = re.compile(r"active name     <(.*)> at port (\d{1,5}), fd = (-?\d{1,10})")
_UNUSED_LINE: Final = re.compile(r"old/unused name <(.*)>, port = (\d{1,5}), fd = (-?\d{1,10}) ?")


def encode_dump_reply(reply: DumpReply) -> bytes:
    """The epmd's port in 4 bytes, then a line and a NUL for each name."""
    lines = [f"active name     <{line.name}> at port {line.port}, fd = {line.fd}\n\0" for line in reply.active]
    lines += [f"old/unused name <{line.name}>, port = {line.port}, fd = {line.fd} \n\0" for line in reply.unused]
    return _U32.pack(reply.epmd_port) + "".join(lines).encode()


def decode_dump_reply(data: bytes) -> DumpReply:
    """Read all that epmd sent before it closed. Lines that are not understood are left out.

    Raises:
        EpmdError: not even a port, or not UTF-8.
    """
    epmd_port, text = _decode_listing(data, "DUMP")
    lines = text.replace("\0", "").split("\n")
    return DumpReply(epmd_port, _dump_lines(_ACTIVE_LINE, lines), _dump_lines(_UNUSED_LINE, lines))


def _dump_lines(pattern: re.Pattern[str], lines: list[str]) -> tuple[DumpLine, ...]:
    found = (pattern.fullmatch(line) for line in lines)
    return tuple(DumpLine(match[1], int(match[2]), int(match[3])) for match in found if match)


def _decode_listing(data: bytes, request: str) -> tuple[int, str]:
    if len(data) < _U32.size:
        raise EpmdError(f"expected a reply to {request}, got {_shown(data)}")
    try:
        return _U32.unpack_from(data)[0], data[_U32.size :].decode()
    except UnicodeDecodeError as error:
        raise EpmdError(f"expected a reply to {request} in UTF-8: {error}") from None


# -- KILL and STOP replies --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KillReply:
    """Whether that epmd ends now; it refuses while nodes are registered."""

    killed: bool


def encode_kill_reply(reply: KillReply) -> bytes:
    """``OK`` or ``NO``."""
    return b"OK" if reply.killed else b"NO"


def decode_kill_reply(data: bytes) -> KillReply:
    """Read the reply to KILL.

    Raises:
        EpmdError: neither ``OK`` nor ``NO``.
    """
    if data not in (b"OK", b"NO"):
        raise EpmdError(f"expected OK or NO, got {_shown(data)}")
    return KillReply(data == b"OK")


@dataclass(frozen=True, slots=True)
class StopReply:
    """Whether that epmd has forgotten the node; False: it did not know it."""

    stopped: bool


def encode_stop_reply(reply: StopReply) -> bytes:
    """``STOPPED`` or ``NOEXIST``."""
    return b"STOPPED" if reply.stopped else b"NOEXIST"


def decode_stop_reply(data: bytes) -> StopReply:
    """Read the reply to STOP.

    Raises:
        EpmdError: neither ``STOPPED`` nor ``NOEXIST``. (epmd, having said NOEXIST, says STOPPED as well.)
    """
    if data not in (b"STOPPED", b"NOEXIST", b"NOEXISTSTOPPED"):
        raise EpmdError(f"expected STOPPED or NOEXIST, got {_shown(data)}")
    return StopReply(data == b"STOPPED")


# -- fields -----------------------------------------------------------------------------------


def _encode_entry(entry: NodeEntry) -> bytes:
    name = _encode_name(entry.name)
    if len(entry.extra) > MAX_EXTRA_SIZE:
        raise EpmdError(f"the extra field has at most {MAX_EXTRA_SIZE} bytes, got {len(entry.extra)}")
    numbers = (entry.port, entry.node_type, entry.protocol, entry.highest_version, entry.lowest_version)
    limits = (0xFFFF, 0xFF, 0xFF, 0xFFFF, 0xFFFF)
    if not all(0 <= number <= limit for number, limit in zip(numbers, limits, strict=True)):
        raise EpmdError(f"a field is out of range: {entry}")
    return _ENTRY_HEAD.pack(*numbers, len(name)) + name + _U16.pack(len(entry.extra)) + entry.extra


def _decode_entry(data: bytes, offset: int) -> NodeEntry:
    if len(data) < offset + _ENTRY_HEAD.size:
        raise EpmdError(f"expected a node's entry, got {_shown(data)}")
    port, node_type, protocol, highest, lowest, name_size = _ENTRY_HEAD.unpack_from(data, offset)
    name_start = offset + _ENTRY_HEAD.size
    extra_size_at = name_start + name_size
    extra_start = extra_size_at + _U16.size
    if len(data) < extra_start:
        raise EpmdError(f"expected a name of {name_size} bytes in a node's entry, got {_shown(data)}")
    extra_size = _U16.unpack_from(data, extra_size_at)[0]
    if extra_size > MAX_EXTRA_SIZE or len(data) < extra_start + extra_size:
        raise EpmdError(f"expected {extra_size} extra bytes in a node's entry, got {_shown(data)}")
    return NodeEntry(
        name=_decode_name(data[name_start:extra_size_at]),
        port=port,
        node_type=node_type,
        protocol=protocol,
        highest_version=highest,
        lowest_version=lowest,
        extra=data[extra_start : extra_start + extra_size],
    )


def _encode_name(name: str) -> bytes:
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS or "\0" in name:
        raise EpmdError(f"expected a name of 1 to {MAX_NAME_CHARACTERS} characters and no NUL, got {name!r}")
    try:
        return name.encode()
    except UnicodeEncodeError as error:
        raise EpmdError(f"a node's name must be encodable as UTF-8: {error}") from None


def _decode_name(data: bytes) -> str:
    try:
        name = data.decode()
    except UnicodeDecodeError as error:
        raise EpmdError(f"expected a name in UTF-8: {error}") from None
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS or "\0" in name:
        raise EpmdError(f"expected a name of 1 to {MAX_NAME_CHARACTERS} characters and no NUL, got {_shown(data)}")
    return name


def _shown(data: bytes) -> str:
    return f"{data!r}" if len(data) <= 40 else f"{data[:40]!r}... ({len(data)} bytes)"
