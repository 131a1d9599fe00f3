"""Packets between connected nodes, many at a time: bytes to signals, and one signal to bytes.

What is received is cut and decoded as far as dispatching needs it: of the commonest operations (a message to a pid, a
name or an alias) the control tuple is never built, only its destination.

Source: ERTS, "Distribution Protocol", Protocol between Connected Nodes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from erlang_bridge.errors import EtfDecodeError, EtfEncodeError, RemoteProtocolError, brief
from erlang_bridge.etf.decoder import decode_within
from erlang_bridge.etf.encoder import encode_into
from erlang_bridge.etf.leaves import atoms, identifiers, read_pid, read_reference
from erlang_bridge.etf.opcodes import (
    BAD_TERM,
    DOP_ALIAS_SEND,
    DOP_REG_SEND,
    DOP_SEND,
    DOP_SEND_SENDER,
    FRAGMENT_FIRST,
    FRAGMENT_NEXT,
    OPERATIONS,
    TICK,
)
from erlang_bridge.etf.structs import StructCodec, default_structs
from erlang_bridge.etf.tags import (
    NEW_PID_EXT,
    NEWER_REFERENCE_EXT,
    SMALL_ATOM_UTF8_EXT,
    SMALL_INTEGER_EXT,
    SMALL_TUPLE_EXT,
    VERSION,
)
from erlang_bridge.terms import Atom, Pid, Reference

Signal = tuple[int, Any, Any]
"""``(operation, control, payload)``; see `cut_signals`."""


class _NoPayload(Enum):
    NO_PAYLOAD = "NO_PAYLOAD"

    def __repr__(self) -> str:
        return "NO_PAYLOAD"


NO_PAYLOAD: Final = _NoPayload.NO_PAYLOAD
"""Stands where a signal has no payload. (None is a payload: the atom ``nil``.)"""

PASS_THROUGH: Final = 112
DISTRIBUTION_HEADER: Final = 68
_HEADER: Final = bytes((VERSION, DISTRIBUTION_HEADER, 0))
_PASS_THROUGH_HEADER: Final = bytes((PASS_THROUGH, VERSION))
_VERSION: Final = bytes((VERSION,))
_MAX_PACKET: Final = (1 << 32) - 1
_FEW_PIECES: Final = 64

_u32: Final = struct.Struct(">I").unpack_from
_pack_u32: Final = struct.Struct(">I").pack
_u64x2: Final = struct.Struct(">QQ").unpack_from

_TICK_SIGNAL: Final[Signal] = (TICK, None, None)
_DESTINATIONS: Final[dict[int, tuple[int, type]]] = {
    DOP_SEND: (2, Pid),
    DOP_SEND_SENDER: (2, Pid),
    DOP_REG_SEND: (3, Atom),
    DOP_ALIAS_SEND: (2, Reference),
}
"""Operation -> where in its control tuple the destination stands, and what it is."""
_HEADS: Final = {
    bytes((SMALL_TUPLE_EXT, OPERATIONS[operation].arities[0], SMALL_INTEGER_EXT, operation)): operation
    for operation in _DESTINATIONS
}
"""The usual beginnings of their control tuples."""


def encode_signal(control: tuple[Any, ...], payload: Any = NO_PAYLOAD, pass_through: bool = False) -> bytes:
    """One whole packet, its length included.

    Args:
        control: the control tuple, opcode first.
        payload: the term that follows it, if the operation has one.
        pass_through: the shape for peers with which neither FRAGMENTS nor the atom cache has been negotiated.

    Raises:
        EtfEncodeError: a part of either term has no counterpart in Erlang, or the packet would have 4 GiB or more.
    """
    pieces = [b"", _PASS_THROUGH_HEADER if pass_through else _HEADER]
    encode_into(pieces, control)
    if payload is not NO_PAYLOAD:
        if pass_through:
            pieces.append(_VERSION)
        encode_into(pieces, payload)
    if len(pieces) < _FEW_PIECES:
        size = sum(map(len, pieces))
    else:  # cheaper to copy than to count
        pieces[1:] = (b"".join(pieces),)
        size = len(pieces[1])
    if size > _MAX_PACKET:
        raise EtfEncodeError("", payload, f"its packet of {size} bytes is over the 4 GiB that a packet may have")
    pieces[0] = _pack_u32(size)
    return b"".join(pieces)


def cut_signals(
    data: bytes,
    offset: int,
    max_packet_size: int,
    *,
    structs: Mapping[Atom, StructCodec] = default_structs,
) -> tuple[list[Signal], int]:
    """Every signal whose packet is whole in `data` from `offset` on, in order, and where the rest begins.

    Each signal is ``(operation, control, payload)``:

    ==============================================  ======================  ==================================
    operation                                       control                 payload
    ==============================================  ======================  ==================================
    `TICK`                                          None                    None
    SEND, SEND_SENDER, REG_SEND, ALIAS_SEND         the destination alone:  the message
                                                    pid, atom, reference
    any other ``DOP_*``                             the control tuple       a term, or `NO_PAYLOAD`
    `FRAGMENT_FIRST`, `FRAGMENT_NEXT`               ``(sequence_id,         its bytes
                                                    fragment_id)``
    `BAD_TERM`: its payload is not a term           ``(operation,           the `EtfDecodeError`
                                                    control)``, as above
    ==============================================  ======================  ==================================

    Args:
        data: what has been received, ``length:u32, packet`` again and again; packets of either shape.
        max_packet_size: largest lawful length of a packet, in bytes.
        structs: which Elixir structs become which classes, in payloads.

    Raises:
        RemoteProtocolError: a packet that is longer, has no lawful shape, or whose control message is unknown. The
            signals cut before it are in the error's `signals`, and still good.
    """
    if type(data) is not bytes:
        data = bytes(data)
    signals: list[Signal] = []
    size = len(data)
    while size - offset >= 4:
        length = _u32(data, offset)[0]
        start = offset + 4
        end = start + length
        if length > max_packet_size:
            raise RemoteProtocolError(f"a packet of {length} bytes; at most {max_packet_size} are taken", signals)
        if end > size:
            break
        try:
            signals.append(_cut_packet(data, start, end, structs) if length else _TICK_SIGNAL)
        except RemoteProtocolError as error:
            error.signals = signals
            raise
        offset = end
    return signals, offset


def decode_assembled(body: bytes, *, structs: Mapping[Atom, StructCodec] = default_structs) -> Signal:
    """The signal whose fragments have all come.

    Args:
        body: the bytes of the fragments, joined in the order of their arrival.

    Raises:
        RemoteProtocolError: as `cut_signals`.
    """
    if type(body) is not bytes:
        body = bytes(body)
    return _signal(body, 0, len(body), False, structs)


def _cut_packet(data: bytes, start: int, end: int, structs: Mapping[Atom, StructCodec]) -> Signal:
    shape = data[start : start + 3]
    if shape == _HEADER and start + 3 <= end:
        return _signal(data, start + 3, end, False, structs)
    if shape[:2] == _PASS_THROUGH_HEADER:
        return _signal(data, start + 2, end, True, structs)
    if end - start >= 2 and shape[0] == VERSION and shape[1] in (FRAGMENT_FIRST, FRAGMENT_NEXT):
        return _fragment(data, start, end)
    if shape[:2] == _HEADER[:2]:
        raise RemoteProtocolError("a distribution header with an atom cache, which has not been negotiated")
    raise RemoteProtocolError(f"a packet of no known shape, beginning with {data[start : min(end, start + 8)]!r}")


def _fragment(data: bytes, start: int, end: int) -> Signal:
    shape = data[start + 1]
    body = start + 18
    if shape == FRAGMENT_FIRST:
        body += 1
    if body > end:
        raise RemoteProtocolError("a fragment shorter than its header")
    sequence_id, fragment_id = _u64x2(data, start + 2)
    if not sequence_id or not fragment_id:
        raise RemoteProtocolError("a fragment whose sequence id or fragment id is 0")
    if shape == FRAGMENT_FIRST and data[body - 1]:
        raise RemoteProtocolError("a distribution header with an atom cache, which has not been negotiated")
    return shape, (sequence_id, fragment_id), data[body:end]


def _signal(data: bytes, start: int, end: int, pass_through: bool, structs: Mapping[Atom, StructCodec]) -> Signal:
    """The control message at `start` and the payload after it."""
    operation = _HEADS.get(data[start : start + 4])
    found = None if operation is None else _destination(data, start + 4, end, operation)
    if found is None or operation is None:
        try:
            operation, control, after = _control(data, start, end)
        except EtfDecodeError as error:
            raise RemoteProtocolError(f"a control message that is not a term: {error}") from error
        if not OPERATIONS[operation].has_payload:
            return operation, control, NO_PAYLOAD
    else:
        control, after = found
    if pass_through:
        if data[after : after + 1] != _VERSION:
            raise RemoteProtocolError(f"{OPERATIONS[operation].name} whose payload does not begin with 131")
        after += 1
    if after >= end:
        raise RemoteProtocolError(f"{OPERATIONS[operation].name} without its payload")
    try:
        return operation, control, decode_within(data, after, end, structs)[0]
    except EtfDecodeError as error:
        return BAD_TERM, (operation, control), error


def _destination(data: bytes, pos: int, end: int, operation: int) -> tuple[Any, int] | None:
    """Destination and end of a message's control tuple, from behind the opcode; None if it is not in the usual form."""
    try:
        if operation == DOP_SEND:
            if data[pos] != SMALL_ATOM_UTF8_EXT or data[pos + 1]:
                return None
            pos += 2
        else:
            # The sender is stepped over: only its node has to be known as an atom.
            after = pos + 3 + data[pos + 2]
            if data[pos] != NEW_PID_EXT or data[pos + 1 : after] not in atoms:
                return None
            pos = after + 12
        destination: Any
        if operation == DOP_ALIAS_SEND:
            if data[pos] != NEWER_REFERENCE_EXT:
                return None
            after = pos + 9 + data[pos + 4] + 4 * data[pos + 2]
            destination = identifiers.get(data[pos:after])
            if destination is None:
                destination, after = read_reference(data, pos)
        elif operation == DOP_REG_SEND:
            if data[pos] != SMALL_ATOM_UTF8_EXT or data[pos + 1]:
                return None
            pos += 2
            after = pos + 2 + data[pos + 1]
            destination = atoms.get(data[pos:after])
            if type(destination) is not Atom:
                return None
        else:
            after = pos + 15 + data[pos + 2]
            destination = identifiers.get(data[pos:after])
            if destination is None:
                if data[pos] != NEW_PID_EXT:
                    return None
                destination, after = read_pid(data, pos)
    except (IndexError, struct.error, EtfDecodeError):
        return None
    return None if after > end else (destination, after)


def _control(data: bytes, start: int, end: int) -> tuple[int, Any, int]:
    """Operation, control (the destination alone for a message) and end of any control message."""
    control, after = decode_within(data, start, end, {})
    if type(control) is not tuple or not control or type(control[0]) is not int:
        raise RemoteProtocolError(f"a control message that is not a tuple led by an opcode: {brief(control)}")
    operation: int = control[0]
    known = OPERATIONS.get(operation)
    if known is None:
        raise RemoteProtocolError(f"a control message with the unknown opcode {operation}")
    if len(control) not in known.arities:
        raise RemoteProtocolError(f"{known.name} with {len(control)} elements: {brief(control)}")
    where = _DESTINATIONS.get(operation)
    if where is None:
        return operation, control, after
    index, kind = where
    destination = control[index]
    if destination is None or destination is True or destination is False:
        destination = Atom("nil" if destination is None else "true" if destination else "false")
    if type(destination) is not kind:
        raise RemoteProtocolError(f"{known.name} to what is not a {kind.__name__}: {brief(control)}")
    return operation, destination, after
