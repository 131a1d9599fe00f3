"""The mug of a noun: its 31-bit hash.

MurmurHash3 (x86, 32 bits) of an atom's bytes, or of four bytes with the mug of the head followed by the bytes of the
mug of the tail; folded to 31 bits, and tried with the next seed as long as that gives zero.

Source: Anoma's Elixir node, ``noun.ex``; the algorithm: Austin Appleby, MurmurHash3.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Final

from anoma.nock.noun import Cell, Noun, atom_bytes

_ATOM: Final = (0xCAFEBABE, 0x7FFF)
_CELL: Final = (0xDEADBEEF, 0xFFFE)
_TRIES: Final = 8

_set_mug: Final = vars(Cell)["_mug"].__set__


def mug(noun: Noun) -> int:
    """The mug of a noun. A cell keeps its own.

    Example:
        >>> mug(0), mug(Cell(1, Cell(2, 3)))
        (2046756072, 981539564)
    """
    if type(noun) is not Cell:
        return _mug_of(atom_bytes(noun), *_ATOM)
    try:
        return noun._mug
    except AttributeError:
        pass
    atoms: dict[Noun, int] = {}
    pending = [noun]
    while pending:
        top = pending[-1]
        head, tail = top.head, top.tail
        ready = True
        if type(tail) is Cell and not hasattr(tail, "_mug"):
            pending.append(tail)
            ready = False
        if type(head) is Cell and not hasattr(head, "_mug"):
            pending.append(head)
            ready = False
        if ready:
            pending.pop()
            front = head._mug if type(head) is Cell else _mug_of_atom(head, atoms)
            back = tail._mug if type(tail) is Cell else _mug_of_atom(tail, atoms)
            _set_mug(top, _mug_of_cell(front, back))
    return noun._mug


def _mug_of_atom(atom: Noun, known: dict[Noun, int]) -> int:
    found = known.get(atom)
    if found is None:
        found = known[atom] = _mug_of(atom_bytes(atom), *_ATOM)
    return found


def _mug_of(key: bytes, seed: int, fallback: int) -> int:
    for number in range(seed, seed + _TRIES):
        value = murmur3(key, number)
        folded = value >> 31 ^ value & 0x7FFFFFFF
        if folded:
            return folded
    return fallback


def _mug_of_cell(front: int, back: int) -> int:
    if back < 1 << 24:
        key = front.to_bytes(4, "little") + back.to_bytes((back.bit_length() + 7) >> 3, "little")
        return _mug_of(key, *_CELL)
    # `murmur3` of eight bytes, written out: nearly every cell is such a one.
    value = front * 0xCC9E2D51 & 0xFFFFFFFF
    value = 0xDEADBEEF ^ (value << 15 & 0xFFFFFFFF | value >> 17) * 0x1B873593 & 0xFFFFFFFF
    value = (value << 13 & 0xFFFFFFFF | value >> 19) * 5 + 0xE6546B64 & 0xFFFFFFFF
    block = back * 0xCC9E2D51 & 0xFFFFFFFF
    value ^= (block << 15 & 0xFFFFFFFF | block >> 17) * 0x1B873593 & 0xFFFFFFFF
    value = ((value << 13 & 0xFFFFFFFF | value >> 19) * 5 + 0xE6546B64 & 0xFFFFFFFF) ^ 8
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    value ^= value >> 16
    folded = value >> 31 ^ value & 0x7FFFFFFF
    if folded:
        return folded
    return _mug_of((front | back << 32).to_bytes(8, "little"), *_CELL)


def murmur3(data: bytes, seed: int) -> int:
    """MurmurHash3, x86, 32 bits.

    Example:
        >>> hex(murmur3(b"The quick brown fox jumps over the lazy dog", 0))
        '0x2e4ff723'
    """
    value = seed & 0xFFFFFFFF
    size = len(data)
    blocks = size >> 2
    for block in unpack_from(f"<{blocks}I", data):
        block = block * 0xCC9E2D51 & 0xFFFFFFFF  # noqa: PLW2901  # one name for one word while it is mixed
        block = (block << 15 & 0xFFFFFFFF | block >> 17) * 0x1B873593 & 0xFFFFFFFF  # noqa: PLW2901
        value ^= block
        value = (value << 13 & 0xFFFFFFFF | value >> 19) * 5 + 0xE6546B64 & 0xFFFFFFFF
    if size & 3:
        block = int.from_bytes(data[blocks << 2 :], "little") * 0xCC9E2D51 & 0xFFFFFFFF
        value ^= (block << 15 & 0xFFFFFFFF | block >> 17) * 0x1B873593 & 0xFFFFFFFF
    value ^= size
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ value >> 16
