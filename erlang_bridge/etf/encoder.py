"""Python values to the external term format, as OTP itself would write them.

One loop with its own stack, so depth costs memory and not recursion. It tells the exact type first and falls to
`_substitute` for subclasses and look-alikes; where in a term an unencodable value sits is found out only after it
failed (`culprits`).

Source: ERTS, "External Term Format".
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from itertools import chain
from math import isfinite
from typing import Any, Final

from erlang_bridge.errors import EtfEncodeError, brief
from erlang_bridge.etf.culprits import path_to
from erlang_bridge.etf.tags import (
    BINARY_EXT,
    BIT_BINARY_EXT,
    EXPORT_EXT,
    INTEGER_EXT,
    LARGE_BIG_EXT,
    LARGE_TUPLE_EXT,
    LIST_EXT,
    MAP_EXT,
    MAX_INTEGER_BITS,
    MAX_REFERENCE_WORDS,
    MAX_TUPLE_ARITY,
    NEW_FLOAT_EXT,
    NEW_FUN_EXT,
    NEW_PID_EXT,
    NEWER_REFERENCE_EXT,
    NIL_EXT,
    RECORD_EXT,
    SMALL_BIG_EXT,
    SMALL_INTEGER_EXT,
    SMALL_TUPLE_EXT,
    STRING_EXT,
    V4_PORT_EXT,
)
from erlang_bridge.terms import (
    Atom,
    BitString,
    Export,
    Fun,
    ImproperList,
    Map,
    Pid,
    Port,
    Record,
    Reference,
    exact_key,
)

_tag_u8: Final = struct.Struct(">BB").pack
_tag_u16: Final = struct.Struct(">BH").pack
_tag_u32: Final = struct.Struct(">BI").pack
_tag_i32: Final = struct.Struct(">Bi").pack
_tag_f64: Final = struct.Struct(">Bd").pack
_u32x3: Final = struct.Struct(">III").pack
_u64_u32: Final = struct.Struct(">QI").pack

_SMALL_INTEGERS: Final = [_tag_u8(SMALL_INTEGER_EXT, value) for value in range(256)]
_SMALL_TUPLES: Final = [_tag_u8(SMALL_TUPLE_EXT, arity) for arity in range(256)]
_NIL: Final = bytes((NIL_EXT,))
_NEW_PID: Final = bytes((NEW_PID_EXT,))
_V4_PORT: Final = bytes((V4_PORT_EXT,))
_EXPORT: Final = bytes((EXPORT_EXT,))
_CONSTANTS: Final = {None: Atom("nil").etf, True: Atom("true").etf, False: Atom("false").etf}
_MAX_SIZE: Final = (1 << 32) - 1

_APART: Final = frozenset((bytes, int, float, Atom, Pid, Reference, Port))
"""Types among whose values no two different keys of a dict are the same term."""

_CYCLE_DEPTH: Final = 1_000
"""At this depth, and at each doubling of it, it is worth finding out whether a container contains itself."""


class Encoded:
    """A term that has been encoded already, to stand inside another: what takes long can be made in several turns.

    Args:
        etf: the bytes of one term, without 131.
    """

    __slots__ = ("etf",)

    def __init__(self, etf: bytes) -> None:
        self.etf = etf


class _Refused(Exception):
    """`value`, itself or near the top of what is being encoded, has no term."""

    def __init__(self, value: object, what: str) -> None:
        self.value = value
        self.what = what

    def located(self, term: Any) -> EtfEncodeError:
        return EtfEncodeError(path_to(term, self.value), self.value, self.what)


def encode(term: Any) -> bytes:
    """The term as it stands alone: 131, then the term.

    Raises:
        EtfEncodeError: it has no counterpart among Erlang's terms; says where the culprit sits.

    Example:
        >>> encode((Atom("ok"), 1))
        b'\\x83h\\x02w\\x02oka\\x01'
    """
    out = [b"\x83"]
    try:
        _walk(out, term)
    except _Refused as refused:
        raise refused.located(term) from None
    return b"".join(out)


def encode_term(term: Any) -> bytes:
    """The term without the leading 131, as it stands inside a packet.

    Raises:
        EtfEncodeError: as `encode`.
    """
    out: list[bytes] = []
    encode_into(out, term)
    return b"".join(out)


def encode_list(chunks: Iterable[list[Any]]) -> Encoded:
    """One list of the elements of all `chunks`. A generator may give way to others before each of them.

    Raises:
        EtfEncodeError: as `encode`.
    """
    count = 0
    encoded: list[bytes] = []
    for chunk in chunks:
        count += len(chunk)
        pieces: list[bytes] = []
        for item in chunk:
            encode_into(pieces, item)
        encoded.append(b"".join(pieces))
    return Encoded(b"".join((_tag_u32(LIST_EXT, count), *encoded, _NIL)) if count else _NIL)


def encode_into(out: list[bytes], term: Any) -> None:
    """Append the pieces of one term, without 131, to `out`.

    Raises:
        EtfEncodeError: as `encode`; `out` is then of no use.
    """
    try:
        _walk(out, term)
    except _Refused as refused:
        raise refused.located(term) from None


def _walk(out: list[bytes], term: Any) -> None:
    stack: list[tuple[Iterator[Any], bytes, Any]] = []  # with the container that was entered from there
    items: Iterator[Any] = iter((term,))
    tail = b""
    depth_to_check = _CYCLE_DEPTH
    item = term
    try:
        while True:
            for item in items:
                kind = type(item)
                if kind is Atom:
                    out.append(item.etf)
                elif kind is int:
                    if 0 <= item <= 255:
                        out.append(_SMALL_INTEGERS[item])
                    elif -0x8000_0000 <= item <= 0x7FFF_FFFF:
                        out.append(_tag_i32(INTEGER_EXT, item))
                    else:
                        out.append(_big(item))
                elif kind is bytes:
                    out.append(_binary_head(item))
                    out.append(item)
                elif kind is tuple:
                    size = len(item)
                    out.append(_SMALL_TUPLES[size] if size <= 255 else _large_tuple_head(item))
                    stack.append((items, tail, item))
                    items = iter(item)
                    tail = b""
                    break
                elif kind is list:
                    if not item:
                        out.append(_NIL)
                        continue
                    if type(item[0]) is int:
                        integers = _integers(item)
                        if integers is not None:
                            out.append(integers)
                            continue
                    out.append(_tag_u32(LIST_EXT, len(item)))
                    stack.append((items, tail, item))
                    items = iter(item)
                    tail = _NIL
                    break
                elif kind is str:
                    utf8 = _utf8(item)
                    out.append(_binary_head(utf8))
                    out.append(utf8)
                elif kind is dict:
                    if not _APART.issuperset(map(type, item)) and set(map(type, item)) != {str}:
                        _check_keys(item)
                    out.append(_tag_u32(MAP_EXT, len(item)))
                    stack.append((items, tail, item))
                    items = chain.from_iterable(item.items())
                    tail = b""
                    break
                elif kind is float and isfinite(item):
                    out.append(_tag_f64(NEW_FLOAT_EXT, item))
                elif kind in _LEAVES:
                    out.append(_LEAVES[kind](item))
                else:
                    stack.append((items, tail, item))
                    head, items = _others(item)
                    out.append(head)
                    tail = b""
                    break
            else:
                if tail:
                    out.append(tail)
                if not stack:
                    return
                items, tail, _ = stack.pop()
                continue
            if len(stack) == depth_to_check:
                _check_cycle([container for _, _, container in stack])
                depth_to_check *= 2
    except (struct.error, AttributeError, TypeError, ValueError) as error:
        raise _Refused(item, f"a part of it has a wrong type or is out of range ({error})") from error


# -- leaves -----------------------------------------------------------------------------------


def _binary_head(data: bytes) -> bytes:
    size = len(data)
    if size > _MAX_SIZE:
        raise _Refused(data, "a binary has less than 4 GiB")
    return _tag_u32(BINARY_EXT, size)


def _large_tuple_head(value: tuple[Any, ...]) -> bytes:
    if len(value) > MAX_TUPLE_ARITY:
        raise _Refused(value, f"a tuple has at most {MAX_TUPLE_ARITY} elements")
    return _tag_u32(LARGE_TUPLE_EXT, len(value))


def _utf8(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise _Refused(value, f"not encodable as UTF-8 ({error.reason}, at character {error.start})") from None


def _big(value: int) -> bytes:
    bits = value.bit_length()
    if bits > MAX_INTEGER_BITS:
        raise _Refused(value, f"an integer of {bits} bits; OTP takes at most {MAX_INTEGER_BITS}")
    size = (bits + 7) // 8
    digits = abs(value).to_bytes(size, "little")
    head = _tag_u8(SMALL_BIG_EXT, size) if size <= 255 else _tag_u32(LARGE_BIG_EXT, size)
    return head + (b"\1" if value < 0 else b"\0") + digits


def _no_float(value: float) -> bytes:
    raise _Refused(value, "Erlang has neither infinities nor NaN")


def _constant(value: bool | None) -> bytes:
    return _CONSTANTS[value]


def _bit_string(value: BitString) -> bytes:
    return _tag_u32(BIT_BINARY_EXT, len(value.data)) + bytes((value.bits,)) + value.data


def _pid(value: Pid) -> bytes:
    return _NEW_PID + value.node.etf + _u32x3(value.id, value.serial, value.creation)


def _port(value: Port) -> bytes:
    return _V4_PORT + value.node.etf + _u64_u32(value.id, value.creation)


def _reference(value: Reference) -> bytes:
    words = value.words
    count = len(words)
    if not 1 <= count <= MAX_REFERENCE_WORDS:
        raise _Refused(value, f"a reference has 1 to {MAX_REFERENCE_WORDS} words, got {count}")
    return _tag_u16(NEWER_REFERENCE_EXT, count) + value.node.etf + _U32S[count](value.creation, *words)


def _encoded(value: Encoded) -> bytes:
    return value.etf


def _export(value: Export) -> bytes:
    return _EXPORT + value.module.etf + value.function.etf + _tag_u8(SMALL_INTEGER_EXT, value.arity)


def _fun(value: Fun) -> bytes:
    return _tag_u32(NEW_FUN_EXT, len(value.raw) + 4) + value.raw


_U32S: Final = [struct.Struct(f">{count + 1}I").pack for count in range(MAX_REFERENCE_WORDS + 1)]
_LEAVES: Final[dict[type, Callable[[Any], bytes]]] = {
    bool: _constant,
    type(None): _constant,
    float: _no_float,  # the finite ones have been dealt with
    Pid: _pid,
    Reference: _reference,
    Port: _port,
    BitString: _bit_string,
    Export: _export,
    Fun: _fun,
    Encoded: _encoded,
}


# -- lists of integers ------------------------------------------------------------------------

_INT32_PLACES: Final = (3, 2, 1, 0) if sys.byteorder == "little" else (0, 1, 2, 3)
_INT32_CODE: Final = "i" if array("i").itemsize == 4 else "l"
_LONG_LIST: Final = 32


def _integers(items: list[Any]) -> bytes | None:
    """A whole non-empty list of integers in one piece, or None where the general loop has to do it."""
    count = len(items)
    if count > 1 and set(map(type, items)) != {int}:
        return None
    try:
        octets = bytes(items)
    except ValueError:
        pass
    else:
        if count <= 0xFFFF:
            return _tag_u16(STRING_EXT, count) + octets
        spread = bytearray(bytes((SMALL_INTEGER_EXT, 0)) * count)
        spread[1::2] = octets
        return _tag_u32(LIST_EXT, count) + spread + _NIL
    if count < _LONG_LIST:
        return None
    try:
        native = array(_INT32_CODE, items).tobytes()
    except OverflowError:
        return None
    places = [native[place::4] for place in _INT32_PLACES]
    wide = bytearray(bytes((INTEGER_EXT, 0, 0, 0, 0)) * count)
    for index, octets in enumerate(places, 1):
        wide[index::5] = octets
    # Those of 0..255 have a shorter form; their three higher bytes are 0.
    high = int.from_bytes(places[0]) | int.from_bytes(places[1]) | int.from_bytes(places[2])
    marks = high.to_bytes(count)
    small = marks.count(0)
    if not small:
        return _tag_u32(LIST_EXT, count) + wide + _NIL
    if small > count // 8:
        return None
    pieces: list[bytes | bytearray] = [_tag_u32(LIST_EXT, count)]
    start = 0
    for _ in range(small):
        index = marks.index(0, start)
        pieces.append(wide[start * 5 : index * 5])
        pieces.append(_SMALL_INTEGERS[items[index]])
        start = index + 1
    pieces.append(wide[start * 5 :])
    pieces.append(_NIL)
    return b"".join(pieces)


# -- the less common containers, subclasses, look-alikes ---------------------------------------


def _others(item: Any) -> tuple[bytes, Iterator[Any]]:
    """What to write for `item`, and the values to encode after that."""
    kind = type(item)
    if kind is ImproperList:
        return _tag_u32(LIST_EXT, len(item.elements)), chain(item.elements, (item.tail,))
    if kind is Map:
        return _tag_u32(MAP_EXT, len(item)), chain.from_iterable(item.pairs())
    if kind is Record:
        fields = item.fields
        head = _tag_u32(RECORD_EXT, len(fields)) + bytes((item.flags & 0xFF,))
        return head, chain((item.module, item.name), (name for name, _ in fields), (value for _, value in fields))
    plain = _substitute(item)
    if not isinstance(plain, (int, float, str)):
        return b"", iter((plain,))
    out: list[bytes] = []
    try:
        _walk(out, plain)
    except _Refused as refused:
        raise _Refused(item, refused.what) from None
    return b"".join(out), iter(())


def _substitute(item: Any) -> Any:
    """The plain value that stands for `item`."""
    to_term = getattr(type(item), "__erlang_term__", None)
    if to_term is not None:
        return to_term(item)
    if isinstance(item, int):
        return int(item)
    if isinstance(item, float):
        return float(item)
    if isinstance(item, str):
        return str.__str__(item)
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    if isinstance(item, tuple):
        return tuple(item)
    if isinstance(item, list):
        return list(item)
    if isinstance(item, dict):
        return dict(item)
    if isinstance(item, (set, frozenset)):
        raise _Refused(item, "a set has no term of its own; send a list, or a field annotated `set` of a struct")
    if isinstance(item, Enum):
        raise _Refused(item, "an Enum has no term; send its value, or an Atom")
    if isinstance(item, Mapping):
        raise _Refused(item, "send a dict or a Map")
    raise _Refused(item, "no Erlang term corresponds to it")


def _check_cycle(containers: list[Any]) -> None:
    """Refuse a term in which one of `containers`, each inside the one before it, is there twice.

    It contains itself, and would be encoded for ever.
    """
    seen: set[int] = set()
    for container in containers:
        if id(container) in seen:
            raise _Refused(container, "it contains itself")
        seen.add(id(container))


def _check_keys(mapping: Mapping[Any, Any]) -> None:
    """Refuse a map two of whose keys are the same term, such as ``"a"`` and ``b"a"``."""
    seen = set()
    for key in mapping:
        try:
            exact = exact_key(key)
            known = exact in seen
        except (TypeError, RecursionError, UnicodeEncodeError):
            continue
        if known:
            raise _Refused(mapping, f"two of its keys are the same term: {brief(key, 60)}")
        seen.add(exact)
