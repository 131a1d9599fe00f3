"""The external term format to Python values.

One loop with its own stack: a container being filled waits there while one inside it is filled, so depth costs memory
and not recursion. It moves a cursor through immutable bytes and copies nothing but what ends up in a value; element
counts are held against the bytes left before anything is allocated for them.

Source: ERTS, "External Term Format"; erts ``external.c``, ``dec_term``.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from erlang_bridge.errors import EtfDecodeError
from erlang_bridge.etf.conversions import STRUCT_KEY
from erlang_bridge.etf.leaves import atom_itself, atoms, identifiers, read_atom, read_pid, read_rare, read_reference
from erlang_bridge.etf.structs import StructCodec, default_structs
from erlang_bridge.etf.tags import (
    BINARY_EXT,
    COMPRESSED,
    INTEGER_EXT,
    LARGE_TUPLE_EXT,
    LIST_EXT,
    MAP_EXT,
    NEW_FLOAT_EXT,
    NEW_FUN_EXT,
    NEW_PID_EXT,
    NEWER_REFERENCE_EXT,
    NIL_EXT,
    RECORD_EXT,
    SMALL_ATOM_UTF8_EXT,
    SMALL_INTEGER_EXT,
    SMALL_TUPLE_EXT,
    STRING_EXT,
    VERSION,
)
from erlang_bridge.terms import Atom, Fun, ImproperList, Map, Pid, Record, map_of

MAX_INFLATED: Final = 64 * 1024 * 1024
"""Bytes that a compressed term may have after inflating, unless the caller says otherwise."""

_u16: Final = struct.Struct(">H").unpack_from
_u32: Final = struct.Struct(">I").unpack_from
_i32: Final = struct.Struct(">i").unpack_from
_f64: Final = struct.Struct(">d").unpack_from
_u32_u8: Final = struct.Struct(">IB").unpack_from

# What the container on top is.
_ROOT: Final = 0
_TUPLE: Final = 1
_LIST: Final = 2
_IMPROPER: Final = 3
_MAP: Final = 4
_MAP_COMPOUND: Final = 5  # some key is a container
_FUN: Final = 6
_RECORD: Final = 7

_new: Final = object.__new__
# What is known to be lawful need not go through ``__init__``.
_set_elements: Final = vars(ImproperList)["elements"].__set__
_set_tail: Final = vars(ImproperList)["tail"].__set__


def decode(
    data: bytes, *, max_inflated: int = MAX_INFLATED, structs: Mapping[Atom, StructCodec] = default_structs
) -> Any:
    """The one term that `data` holds.

    Args:
        data: 131 and the term, as ``term_to_binary/1,2`` makes it, compressed or not.
        max_inflated: how many bytes a compressed term may have once inflated.
        structs: which Elixir structs become which classes.

    Raises:
        EtfDecodeError: it is anything else, or goes on after the term.

    Example:
        >>> decode(b"\\x83h\\x02w\\x02oka\\x01")
        (Atom('ok'), 1)
    """
    if type(data) is not bytes:
        data = bytes(data)
    if not data or data[0] != VERSION:
        raise EtfDecodeError(0, data[0] if data else None, "a term that stands alone begins with 131")
    offset = 1
    if len(data) > 1 and data[1] == COMPRESSED:
        data = _inflate(data, max_inflated)
        offset = 0
    term, after = decode_within(data, offset, len(data), structs)
    if after != len(data):
        raise EtfDecodeError(after, None, f"{len(data) - after} bytes follow the term")
    return term


def decode_prefix(
    data: bytes, offset: int = 0, *, structs: Mapping[Atom, StructCodec] = default_structs
) -> tuple[Any, int]:
    """The term that begins at `offset`, without 131 before it, and where it ends.

    Raises:
        EtfDecodeError: there is none.
    """
    if type(data) is not bytes:
        data = bytes(data)
    return decode_within(data, offset, len(data), structs)


def decode_within(data: bytes, offset: int, end: int, structs: Mapping[Atom, StructCodec]) -> tuple[Any, int]:
    """As `decode_prefix`, for a term that has to end by `end`.

    Raises:
        EtfDecodeError: there is none.
    """
    pos = offset
    tag = -1
    stack: list[tuple[list[Any], int, int]] = []
    items: list[Any] = []  # of the container being filled
    left = 1  # how many more it takes
    kind = _ROOT
    funs = 0  # how many funs we are inside of: what is in there is checked, and not kept
    try:
        while True:
            while left:
                left -= 1
                tag = data[pos]
                if tag == SMALL_ATOM_UTF8_EXT:
                    after = pos + 2 + data[pos + 1]
                    try:
                        items.append(atoms[data[pos:after]])
                    except KeyError:
                        items.append(read_atom(data, pos)[0])
                    pos = after
                elif tag == SMALL_INTEGER_EXT:
                    if left > 60 and kind == _LIST and data[pos + 2] == tag and data[pos + 4] == tag:
                        run = _run_length(data, pos, 2, min(left + 1, (end - pos) // 2))
                        items += data[pos + 1 : pos + 2 * run : 2]
                        left -= run - 1
                        pos += 2 * run
                    else:
                        items.append(data[pos + 1])
                        pos += 2
                elif tag == SMALL_TUPLE_EXT:
                    if kind == _MAP and left & 1:
                        kind = _MAP_COMPOUND
                    stack.append((items, left, kind))
                    items = []
                    left = data[pos + 1]
                    kind = _TUPLE
                    pos += 2
                    if left > end - pos:
                        raise EtfDecodeError(pos, tag, f"a tuple of {left} elements in {end - pos} bytes")
                elif tag == BINARY_EXT:
                    pos += 5
                    after = pos + _u32(data, pos - 4)[0]
                    if after > end:
                        raise EtfDecodeError(pos, tag, f"a binary of {after - pos} bytes in {end - pos} bytes")
                    items.append(data[pos:after])
                    pos = after
                elif tag == INTEGER_EXT:
                    if left > 30 and kind == _LIST and data[pos + 5] == tag and data[pos + 10] == tag:
                        run = _run_length(data, pos, 5, min(left + 1, (end - pos) // 5))
                        items += _int32s(data, pos, run)
                        left -= run - 1
                        pos += 5 * run
                    else:
                        items.append(_i32(data, pos + 1)[0])
                        pos += 5
                elif tag == LIST_EXT:
                    if kind == _MAP and left & 1:
                        kind = _MAP_COMPOUND
                    stack.append((items, left, kind))
                    items = []
                    left = _u32(data, pos + 1)[0]
                    kind = _LIST
                    pos += 5
                    if left > end - pos:
                        raise EtfDecodeError(pos, tag, f"a list of {left} elements in {end - pos} bytes")
                elif tag == NIL_EXT:
                    items.append([])
                    pos += 1
                elif tag == NEW_PID_EXT:
                    after = pos + 15 + data[pos + 2]  # if its node is a SMALL_ATOM_UTF8_EXT
                    value = identifiers.get(data[pos:after])
                    if value is None:
                        value, after = read_pid(data, pos)
                    items.append(value)
                    pos = after
                elif tag == NEWER_REFERENCE_EXT:
                    after = pos + 9 + data[pos + 4] + 4 * data[pos + 2]  # likewise
                    value = identifiers.get(data[pos:after])
                    if value is None:
                        value, after = read_reference(data, pos)
                    items.append(value)
                    pos = after
                elif tag == MAP_EXT:
                    if kind == _MAP and left & 1:
                        kind = _MAP_COMPOUND
                    stack.append((items, left, kind))
                    items = []
                    left = 2 * _u32(data, pos + 1)[0]
                    kind = _MAP
                    pos += 5
                    if left > end - pos:
                        raise EtfDecodeError(pos, tag, f"a map of {left // 2} pairs in {end - pos} bytes")
                elif tag == STRING_EXT:
                    pos += 3
                    after = pos + _u16(data, pos - 2)[0]
                    if after > end:
                        raise EtfDecodeError(pos, tag, f"a string of {after - pos} bytes in {end - pos} bytes")
                    items.append(list(data[pos:after]))
                    pos = after
                elif tag == NEW_FLOAT_EXT:
                    number = _f64(data, pos + 1)[0]
                    if not isfinite(number):
                        raise EtfDecodeError(pos, tag, "a float that is not finite")
                    items.append(number)
                    pos += 9
                elif tag == LARGE_TUPLE_EXT:
                    if kind == _MAP and left & 1:
                        kind = _MAP_COMPOUND
                    stack.append((items, left, kind))
                    items = []
                    left = _u32(data, pos + 1)[0]
                    kind = _TUPLE
                    pos += 5
                    if left > end - pos:
                        raise EtfDecodeError(pos, tag, f"a tuple of {left} elements in {end - pos} bytes")
                elif tag == NEW_FUN_EXT:
                    size, arity = _u32_u8(data, pos + 1)
                    free = _u32(data, pos + 26)[0]
                    if pos + 1 + size > end or free > size:
                        raise EtfDecodeError(pos, tag, f"a fun of {size} bytes in {end - pos - 1} bytes")
                    stack.append((items, left, kind))
                    items = [(pos, arity, size)]
                    left = 4 + free
                    kind = _FUN
                    funs += 1
                    pos += 30
                elif tag == RECORD_EXT:
                    if kind == _MAP and left & 1:
                        kind = _MAP_COMPOUND
                    stack.append((items, left, kind))
                    count, flags = _u32_u8(data, pos + 1)
                    items = [flags]
                    left = 2 + 2 * count
                    kind = _RECORD
                    pos += 6
                    if left > end - pos:
                        raise EtfDecodeError(pos, tag, f"a record of {count} fields in {end - pos} bytes")
                else:
                    value, pos = read_rare(data, pos, end)
                    items.append(value)

            if kind == _TUPLE:
                value = tuple(items)
            elif kind == _LIST:
                tag = data[pos]
                if tag == NIL_EXT:
                    value = items
                    pos += 1
                elif tag == LIST_EXT:  # a list whose tail is written as a further list
                    left = _u32(data, pos + 1)[0]
                    pos += 5
                    if left > end - pos:
                        raise EtfDecodeError(pos, tag, f"a list of {left} elements in {end - pos} bytes")
                    continue
                elif tag == STRING_EXT:
                    pos += 3
                    after = pos + _u16(data, pos - 2)[0]
                    if after > end:
                        raise EtfDecodeError(pos, tag, f"a string of {after - pos} bytes in {end - pos} bytes")
                    items += data[pos:after]
                    value = items
                    pos = after
                else:
                    kind = _IMPROPER
                    left = 1
                    continue
            elif kind == _MAP:
                pairs = iter(items)
                try:
                    value = dict(zip(pairs, pairs))  # noqa: B905  # a keyword costs more than the pair
                except TypeError:
                    value = _ambiguous_map(items, pos)
                else:
                    if 2 * len(value) != len(items):
                        value = _ambiguous_map(items, pos)
                if structs and not funs:
                    value = _struct(value, structs, pos)
            elif kind == _ROOT:
                if pos > end:
                    raise EtfDecodeError(end, tag, "truncated term")
                return items[0], pos
            elif kind == _IMPROPER:
                tail = items.pop()
                if items:
                    value = _new(ImproperList)
                    _set_elements(value, tuple(items))
                    _set_tail(value, tail)
                else:
                    value = tail
            elif kind == _MAP_COMPOUND:
                value = _compound_map(items, pos)
                if structs and not funs:
                    value = _struct(value, structs, pos)
            elif kind == _FUN:
                value = _fun(data, items, pos, funs)
                funs -= 1
            else:
                value = _record(items, pos)
            items, left, kind = stack.pop()
            items.append(value)
    except (IndexError, struct.error):
        raise EtfDecodeError(min(pos, end), tag if tag >= 0 and pos < end else None, "truncated term") from None
    except RecursionError:
        raise EtfDecodeError(pos, tag, "map keys are nested too deep") from None


# -- lists of integers ------------------------------------------------------------------------

_NATIVE_PLACES: Final = (3, 2, 1, 0) if sys.byteorder == "little" else (0, 1, 2, 3)


def _run_length(data: bytes, pos: int, size: int, most: int) -> int:
    """How many terms of `size` bytes with the tag that is at `pos` follow each other from there, at most `most`."""
    tag = data[pos : pos + 1]
    count = 0
    step = 32
    while count < most:
        step = min(step, most - count)
        tags = data[pos + size * count : pos + size * (count + step) : size]
        found = len(tags) - len(tags.lstrip(tag))
        count += found
        if found < step:
            break
        step *= 4
    return count


def _int32s(data: bytes, pos: int, count: int) -> list[int]:
    """`count` terms of INTEGER_EXT that follow each other from `pos` on."""
    native = bytearray(4 * count)
    after = pos + 5 * count
    for offset, place in enumerate(_NATIVE_PLACES, 1):
        native[place::4] = data[pos + offset : after : 5]
    return memoryview(native).cast("i").tolist()


# -- maps -------------------------------------------------------------------------------------


def _ambiguous_map(items: list[Any], pos: int) -> Map:
    """A map whose keys a dict cannot keep apart or cannot hash."""
    pairs = iter(items)
    value = Map(zip(pairs, pairs, strict=True))
    if 2 * len(value) != len(items):
        raise EtfDecodeError(pos, MAP_EXT, "a map has the same key twice")
    return value


def _compound_map(items: list[Any], pos: int) -> Any:
    """A map some of whose keys are containers."""
    pairs = iter(items)
    value = map_of(list(zip(pairs, pairs, strict=True)))
    if 2 * len(value) != len(items):
        raise EtfDecodeError(pos, MAP_EXT, "a map has the same key twice")
    return value


def _struct(value: Any, structs: Mapping[Atom, StructCodec], pos: int) -> Any:
    """The object for a map that is a registered struct; any other map as it is."""
    if type(value) is not dict:
        return value
    name = value.get(STRUCT_KEY)
    if type(name) is not Atom:
        return value
    codec = structs.get(name)
    if codec is None:
        return value
    return codec.decode(value, pos)


# -- funs and records -------------------------------------------------------------------------


def _fun(data: bytes, items: list[Any], pos: int, funs: int) -> object:
    start, arity, size = items[0]
    if pos != start + 1 + size:
        raise EtfDecodeError(pos, NEW_FUN_EXT, f"a fun of {pos - start - 1} bytes that says {size}")
    _, module, old_index, old_uniq, pid = items[:5]
    module = atom_itself(module, pos)
    if type(old_index) is not int or type(old_uniq) is not int or type(pid) is not Pid:
        raise EtfDecodeError(pos, NEW_FUN_EXT, "a fun whose fields are of wrong types")
    if funs > 1:  # it is inside another one, which keeps the bytes of both
        return object()
    return Fun(module, arity, data[start + 5 : pos])


def _record(items: list[Any], pos: int) -> Record:
    module, name, *rest = items[1:]
    count = len(rest) // 2
    names = [atom_itself(field, pos) for field in rest[:count]]
    fields = tuple(zip(names, rest[count:], strict=True))
    return Record(atom_itself(module, pos), atom_itself(name, pos), fields, items[0])


# -- compressed terms -------------------------------------------------------------------------


def _inflate(data: bytes, most: int) -> bytes:
    """What ``131, 80, USize:u32, zlib data`` holds."""
    if len(data) < 6:
        raise EtfDecodeError(len(data), COMPRESSED, "truncated term")
    size = _u32(data, 2)[0]
    if size > most:
        raise EtfDecodeError(2, COMPRESSED, f"a compressed term of {size} bytes; at most {most} are taken")
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data[6:], size + 1)
    except zlib.error as error:
        raise EtfDecodeError(6, COMPRESSED, f"not zlib data: {error}") from None
    if len(inflated) != size or not inflater.eof or inflater.unused_data:
        raise EtfDecodeError(6, COMPRESSED, f"the data does not inflate to exactly {size} bytes")
    return inflated
