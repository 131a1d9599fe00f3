"""jam and cue: nouns as bytes, and back.

A jammed noun is a number in little-endian bytes, read from its lowest bit: an atom is the bit 0 and ``mat`` of the
number, a cell the bits 1 0 and its two parts, a noun that was written before the bits 1 1 and ``mat`` of its position.
``mat(0)`` is the bit 1; for a number of `b` bits, `b` being itself of `c` bits, it is `c` zeros, a one, the lower
``c - 1`` bits of `b`, and the `b` bits.

Source: Anoma's Elixir node, ``noun/jam.ex``. It refers back to a noun if that is no longer than writing it again, where
Urbit's jam refers in fewer cases. It knows a noun again as an Elixir term: ``9`` and ``<<9>>`` are two.
"""

from __future__ import annotations

import gc
from typing import Any, Final

from anoma.nock.errors import CueError, NounError
from anoma.nock.noun import Cell, Noun, TermKeys, atom_int

_FLUSH_BITS: Final = 1024

_LARGE: Final = 1 << 15
"""Bytes from which on `cue` does without the collector of cycles."""


def jam(noun: Noun) -> bytes:
    """A noun as bytes.

    Raises:
        NounError: a part of it is no noun.

    Example:
        >>> jam(Cell(1, Cell(2, 3))).hex()
        '714834'
    """
    keys = TermKeys()
    keys.key(noun)
    names = keys.cells
    starts: dict[Any, int] = {}
    output = bytearray()
    window = 0  # bits that are not in `output` yet
    width = 0
    position = 0
    pending: list[Any] = [noun]
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind is tuple:
            # A cell is complete: it may be referred to if that is no longer than its `position - start` bits.
            name, start = item
            if _mat_size(start) + 2 <= position - start:
                starts[name] = start
            continue
        if kind is Cell:
            # Negative, so that it is no atom.
            name = ~names[id(item)]
            reference = starts.get(name)
            if reference is None:
                if position:
                    pending.append((name, position))
                pending.append(item.tail)
                pending.append(item.head)
                bits, size = 1, 2
            else:
                bits, size = _mat(reference)
                bits = bits << 2 | 3
                size += 2
        else:
            reference = starts.get(item) if item else None
            if reference is None:
                number: int = item if kind is int else _number(item)
                bits, size = _mat(number)
                bits <<= 1
                size += 1
                if number and position and _mat_size(position) + 2 <= size:
                    starts[item] = position
            else:
                bits, size = _mat(reference)
                bits = bits << 2 | 3
                size += 2
        window |= bits << width
        width += size
        position += size
        if width >= _FLUSH_BITS:
            whole = width >> 3
            kept = width & 7
            output += (window & ((1 << (whole << 3)) - 1)).to_bytes(whole, "little")
            window >>= whole << 3
            width = kept
    output += window.to_bytes((width + 7) >> 3, "little")
    return bytes(output)


def _number(atom: Any) -> int:
    if isinstance(atom, (int, bytes)) and not isinstance(atom, bool):
        return atom_int(atom)
    raise NounError(f"expected a number, bytes or a cell, got {type(atom).__name__} {atom!r:.80}")


def _mat(number: int) -> tuple[int, int]:
    """``mat``: the bits as a number, and how many."""
    if number <= 0:
        if number < 0:
            raise NounError(f"an atom is a natural number, got {number:#x}")
        return 1, 1
    length = number.bit_length()
    log = length.bit_length()
    return ((number << (log - 1) | length ^ (1 << (log - 1))) << 1 | 1) << log, length + 2 * log


def _mat_size(number: int) -> int:
    length = number.bit_length()
    return length + 2 * length.bit_length() if number else 1


def cue(data: bytes) -> Noun:
    """The noun that was jammed; its atoms are `bytes`, as in Elixir.

    Zeros behind the noun are ignored, as they do not change the number.

    Raises:
        CueError: the bytes end inside the noun or go on behind it, or refer to where no noun begins.

    Example:
        >>> cue(bytes.fromhex("714834"))
        <noun [1 2 3]>
    """
    data = data.rstrip(b"\0")
    if not data:
        raise CueError("expected a noun, got no bits", 0)
    if len(data) < _LARGE or not gc.isenabled():
        return _cue(data)
    # Cells make no cycles, and to look for some among a million new ones takes as long as making them.
    gc.disable()
    try:
        return _cue(data)
    finally:
        gc.enable()


def _cue(data: bytes) -> Noun:
    end = len(data) * 8 - 8 + data[-1].bit_length()
    longest = end.bit_length()
    begun: dict[int, Noun] = {}
    starts: list[int] = []  # the cells around the current position
    heads: list[Noun | None] = []
    window = 0  # the bits from `position` on, at least `width` of them; `loaded` is the next byte to add
    width = 0
    loaded = 0
    position = 0
    noun: Noun
    while True:
        if width < 96:
            chunk = data[loaded : loaded + 64]
            window |= int.from_bytes(chunk, "little") << width
            loaded += 64
            width += 512
        start = position
        if window & 3 == 1:
            starts.append(start)
            heads.append(None)
            window >>= 2
            width -= 2
            position += 2
            if position >= end:
                raise CueError("the bytes end inside a cell", start)
            continue
        is_reference = window & 1
        if window & 3 == 2:
            noun = b""
            window >>= 2
            width -= 2
            position += 2
            begun[start] = noun
        else:
            tag = 2 if is_reference else 1
            rest = window >> tag
            log = (rest & -rest).bit_length() - 1
            if log < 1 or log > longest or log > 45:
                # Nothing but zeros in sight, a longer length than the input, or a reference to 0.
                raise CueError("the bytes end inside an atom or a reference", start)
            rest >>= log + 1
            length = rest & ((1 << (log - 1)) - 1) | 1 << (log - 1)
            taken = tag + 2 * log + length
            if position + taken > end:
                raise CueError("the bytes end inside an atom or a reference", start)
            if taken <= width:
                number = rest >> (log - 1) & ((1 << length) - 1)
                window >>= taken
                width -= taken
                position += taken
            else:
                first = position + taken - length
                position += taken
                loaded = (position + 7) >> 3
                number = int.from_bytes(data[first >> 3 : loaded], "little") >> (first & 7) & ((1 << length) - 1)
                width = (loaded << 3) - position
                window = data[loaded - 1] >> (8 - width) if width else 0
            if is_reference:
                try:
                    noun = begun[number]
                except KeyError:
                    raise CueError(f"a reference to bit {number}, where no finished noun begins", start) from None
            else:
                # A number written with no bits set is not `b""` in Elixir.
                noun = number.to_bytes((number.bit_length() + 7) >> 3 or 1, "little")
                begun[start] = noun
        while starts:
            head = heads[-1]
            if head is None:
                heads[-1] = noun
                break
            heads.pop()
            noun = Cell(head, noun)
            begun[starts.pop()] = noun
        else:
            if position != end:
                raise CueError(f"{end - position} bits behind the noun", position)
            return noun
