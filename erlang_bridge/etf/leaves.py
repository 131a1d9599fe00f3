"""The terms that have no terms inside: atoms, pids, ports, references, numbers, bit strings.

The commonest are read by the loop of `decoder` itself; here is the rest of them, and what they share: two caches, since
the same few atoms, pids and references come again and again. Every function takes the position of a tag and gives the
value and where it ends; one that runs off the end raises IndexError or `struct.error`, or reads bytes of a later
packet, which its caller notices by that end.

Source: ERTS, "External Term Format".
"""

from __future__ import annotations

import re
import struct
from math import isfinite
from typing import Any, Final

from erlang_bridge.errors import EtfDecodeError
from erlang_bridge.etf.tags import (
    ATOM_CACHE_REF,
    ATOM_EXT,
    ATOM_UTF8_EXT,
    BIT_BINARY_EXT,
    COMPRESSED,
    EXPORT_EXT,
    FLOAT_EXT,
    FUN_EXT,
    LARGE_BIG_EXT,
    LOCAL_EXT,
    MAX_REFERENCE_WORDS,
    NEW_PORT_EXT,
    NEW_REFERENCE_EXT,
    NEWER_REFERENCE_EXT,
    PID_EXT,
    PORT_EXT,
    REFERENCE_EXT,
    SMALL_ATOM_EXT,
    SMALL_ATOM_UTF8_EXT,
    SMALL_BIG_EXT,
    SMALL_INTEGER_EXT,
    V4_PORT_EXT,
)
from erlang_bridge.terms import Atom, BitString, Export, Pid, Port, Reference

_u16: Final = struct.Struct(">H").unpack_from
_u32: Final = struct.Struct(">I").unpack_from
_u32_u8: Final = struct.Struct(">IB").unpack_from
_u32x2: Final = struct.Struct(">II").unpack_from
_u32x2_u8: Final = struct.Struct(">IIB").unpack_from
_u32x3: Final = struct.Struct(">III").unpack_from
_u64_u32: Final = struct.Struct(">QI").unpack_from
_words: Final = [struct.Struct(f">{count}I").unpack_from for count in range(MAX_REFERENCE_WORDS + 2)]

_MAX_CACHED: Final = 4096
atoms: Final[dict[bytes, Any]] = {}
"""Encoded atom, tag included -> value. Only saves time: emptied when full."""
identifiers: Final[dict[bytes, Any]] = {}
"""Encoded NEW_PID_EXT or NEWER_REFERENCE_EXT -> value, likewise: the same few come again and again."""


def _remember(cache: dict[bytes, Any], encoded: bytes, value: Any) -> None:
    if len(cache) >= _MAX_CACHED:
        cache.clear()
    cache[encoded] = value


_SPECIAL_ATOMS: Final = {"true": True, "false": False, "nil": None}


def read_atom(data: bytes, pos: int) -> tuple[Any, int]:
    """The atom at `pos`, as the value it is decoded to, and where it ends."""
    tag = data[pos]
    if tag == SMALL_ATOM_UTF8_EXT or tag == SMALL_ATOM_EXT:
        start = pos + 2
        after = start + data[pos + 1]
    elif tag == ATOM_UTF8_EXT or tag == ATOM_EXT:
        start = pos + 3
        after = start + _u16(data, pos + 1)[0]
    else:
        raise EtfDecodeError(pos, tag, "an atom is expected here")
    if after > len(data):
        raise EtfDecodeError(pos, tag, "truncated term")
    encoded = data[pos:after]
    try:
        return atoms[encoded], after
    except KeyError:
        pass
    try:
        name = str(data[start:after], "latin-1" if tag in (SMALL_ATOM_EXT, ATOM_EXT) else "utf-8")
        value = _SPECIAL_ATOMS[name] if name in _SPECIAL_ATOMS else Atom(name)
    except ValueError as error:
        raise EtfDecodeError(pos, tag, f"not the name of an atom: {error}") from None
    _remember(atoms, encoded, value)
    return value, after


def atom_itself(value: Any, pos: int) -> Atom:
    """`value` as an `Atom`, if it is one of the values that atoms are decoded to."""
    if type(value) is Atom:
        return value
    if value is None or value is True or value is False:
        return Atom("nil" if value is None else "true" if value else "false")
    raise EtfDecodeError(pos, None, f"an atom is expected, got a {type(value).__name__}")


def read_node(data: bytes, pos: int) -> tuple[Atom, int]:
    """As `read_atom`, always as an `Atom`."""
    value, after = read_atom(data, pos)
    return atom_itself(value, pos), after


def read_pid(data: bytes, pos: int) -> tuple[Pid, int]:
    """NEW_PID_EXT."""
    after = pos + 3 + data[pos + 2]
    node = atoms.get(data[pos + 1 : after])
    if type(node) is not Atom:
        node, after = read_node(data, pos + 1)
    id, serial, creation = _u32x3(data, after)
    pid = Pid(node, id, serial, creation)
    after += 12
    if data[pos + 1] == SMALL_ATOM_UTF8_EXT:
        _remember(identifiers, data[pos:after], pid)
    return pid, after


def read_reference(data: bytes, pos: int) -> tuple[Reference, int]:
    """NEWER_REFERENCE_EXT."""
    count = _u16(data, pos + 1)[0]
    if not 1 <= count <= MAX_REFERENCE_WORDS:
        raise EtfDecodeError(pos, NEWER_REFERENCE_EXT, f"a reference of {count} words")
    after = pos + 5 + data[pos + 4]
    node = atoms.get(data[pos + 3 : after])
    if type(node) is not Atom:
        node, after = read_node(data, pos + 3)
    creation, *words = _words[count + 1](data, after)
    reference = Reference(node, creation, tuple(words))
    after += 4 + 4 * count
    if data[pos + 3] == SMALL_ATOM_UTF8_EXT:
        _remember(identifiers, data[pos:after], reference)
    return reference, after


# -- the less common leaves -------------------------------------------------------------------

_FLOAT_TEXT: Final = re.compile(rb"[ ]*([+-]?[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?)\x00*")


def read_rare(data: bytes, pos: int, end: int) -> tuple[Any, int]:
    """The term at `pos`, of a tag that is a leaf and not common, and where it ends."""
    tag = data[pos]
    value: Any
    if tag == SMALL_BIG_EXT or tag == LARGE_BIG_EXT:
        size = data[pos + 1] if tag == SMALL_BIG_EXT else _u32(data, pos + 1)[0]
        start = pos + (3 if tag == SMALL_BIG_EXT else 6)
        after = start + size
        if after > end:
            raise EtfDecodeError(pos, tag, f"an integer of {size} bytes in {end - start} bytes")
        magnitude = int.from_bytes(data[start:after], "little")
        return -magnitude if data[start - 1] else magnitude, after
    if tag in (ATOM_UTF8_EXT, ATOM_EXT, SMALL_ATOM_EXT):
        return read_atom(data, pos)
    if tag == EXPORT_EXT:
        module, after = read_node(data, pos + 1)
        function, after = read_node(data, after)
        if data[after] != SMALL_INTEGER_EXT:
            raise EtfDecodeError(after, data[after], "the arity of an export is a small integer")
        return Export(module, function, data[after + 1]), after + 2
    if tag == BIT_BINARY_EXT:
        size, bits = _u32_u8(data, pos + 1)
        after = pos + 6 + size
        if after > end:
            raise EtfDecodeError(pos, tag, f"a bit string of {size} bytes in {end - pos - 6} bytes")
        if bits > 8 or (bits == 0) != (size == 0):
            raise EtfDecodeError(pos, tag, f"a bit string of {size} bytes with {bits} bits in its last")
        value = data[pos + 6 : after]
        return value if bits in (0, 8) else BitString(value, bits), after
    if tag == FLOAT_EXT:
        text = _FLOAT_TEXT.fullmatch(data, pos + 1, pos + 32)
        number = float(text[1]) if text else float("nan")
        if not isfinite(number):
            raise EtfDecodeError(pos, tag, "not the text of a float")
        return number, pos + 32
    if tag in (V4_PORT_EXT, NEW_PORT_EXT, PORT_EXT):
        node, after = read_node(data, pos + 1)
        if tag == V4_PORT_EXT:
            return Port(node, *_u64_u32(data, after)), after + 12
        if tag == NEW_PORT_EXT:
            return Port(node, *_u32x2(data, after)), after + 8
        return Port(node, *_u32_u8(data, after)), after + 5
    if tag == PID_EXT:
        node, after = read_node(data, pos + 1)
        return Pid(node, *_u32x2_u8(data, after)), after + 9
    if tag == NEW_REFERENCE_EXT:
        count = _u16(data, pos + 1)[0]
        if not 1 <= count <= MAX_REFERENCE_WORDS:
            raise EtfDecodeError(pos, tag, f"a reference of {count} words")
        node, after = read_node(data, pos + 3)
        return Reference(node, data[after], _words[count](data, after + 1)), after + 1 + 4 * count
    if tag == REFERENCE_EXT:
        node, after = read_node(data, pos + 1)
        id, creation = _u32_u8(data, after)
        return Reference(node, creation, (id,)), after + 5
    raise EtfDecodeError(pos, tag, _REFUSED_TAGS.get(tag, "an unknown tag"))


_REFUSED_TAGS: Final = {
    ATOM_CACHE_REF: "an atom cache reference outside a header that fills the cache",
    COMPRESSED: "a compressed term inside another, or inside a packet",
    FUN_EXT: "a fun of a release before OTP 24",
    LOCAL_EXT: "a term encoded for the node that made it alone (LOCAL_EXT)",
}
