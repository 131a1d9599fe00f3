"""Terms that no Python container can hold without loss: improper lists, bit strings, maps with look-alike keys."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from struct import pack
from typing import Any, Final

from erlang_bridge.terms.atom import Atom
from erlang_bridge.terms.funs import Record
from erlang_bridge.terms.immutable import Immutable, set_once


class ImproperList(Immutable):
    """A list whose last tail is not ``[]``: ``[alias|Ref]`` is ``ImproperList((Atom("alias"),), ref)``.

    Args:
        elements: at least one.
        tail: any term but a list.

    Raises:
        ValueError: no elements, or a tail that would make it a proper list.
    """

    __slots__ = ("elements", "tail")
    __match_args__ = ("elements", "tail")

    elements: tuple[Any, ...]
    tail: Any

    def __init__(self, elements: Iterable[Any], tail: Any) -> None:
        elements = tuple(elements)
        if not elements:
            raise ValueError("an improper list has at least one element before its tail")
        if isinstance(tail, (list, ImproperList)):
            raise ValueError(f"the tail of an improper list is not a list itself, got {tail!r}")
        set_once(self, "elements", elements)
        set_once(self, "tail", tail)

    def __eq__(self, other: object) -> bool:
        return type(other) is ImproperList and self.elements == other.elements and bool(self.tail == other.tail)

    def __hash__(self) -> int:
        return hash((ImproperList, self.elements, self.tail))

    def __repr__(self) -> str:
        return f"ImproperList({self.elements!r}, {self.tail!r})"

    def __reduce__(self) -> tuple[type[ImproperList], tuple[tuple[Any, ...], Any]]:
        return ImproperList, (self.elements, self.tail)


class BitString(Immutable):
    """A bit string whose length is not a multiple of 8: ``<<5:3>>`` is ``BitString(b"\\xa0", 3)``.

    Args:
        data: its bytes; in the last one the high `bits` bits count, the others are taken as 0.
        bits: how many bits of the last byte count, 1..7. (A whole number of bytes is `bytes`.)

    Raises:
        ValueError: no data, or another number of bits.

    Source: ERTS, "External Term Format", BIT_BINARY_EXT.
    """

    __slots__ = ("bits", "data")
    __match_args__ = ("data", "bits")

    data: bytes
    bits: int

    def __init__(self, data: bytes, bits: int) -> None:
        if not data or not 1 <= bits <= 7:
            raise ValueError(f"a bit string has at least one byte and 1..7 bits in its last, got {data!r}, {bits}")
        unused = (1 << (8 - bits)) - 1
        set_once(self, "data", data if not data[-1] & unused else data[:-1] + bytes((data[-1] & ~unused & 0xFF,)))
        set_once(self, "bits", bits)

    def __len__(self) -> int:
        """Length in bits."""
        return (len(self.data) - 1) * 8 + self.bits

    def __eq__(self, other: object) -> bool:
        return type(other) is BitString and self.bits == other.bits and self.data == other.data

    def __hash__(self) -> int:
        return hash((BitString, self.data, self.bits))

    def __repr__(self) -> str:
        return f"BitString({self.data!r}, {self.bits})"

    def __reduce__(self) -> tuple[type[BitString], tuple[bytes, int]]:
        return BitString, (self.data, self.bits)


_OPEN: Final = object()
_SEAL: Final = object()
_SEAL_PAIRS: Final = object()
_ATOM_VALUES: Final = {"true": True, "false": False, "nil": None}


def exact_key(term: Any) -> Any:
    """A hashable value, equal for two terms exactly when they are ``=:=`` (of OTP 27 on: ``-0.0`` is not ``0.0``).

    Flat where the term is deep, so that hashing it does not overflow the C stack. A `str` counts as the binary of its
    UTF-8, ``Atom("true")`` as ``True``, an object with ``__erlang_term__`` as the term it gives.

    Maps deep inside maps can still be too deep for Python to compare two equal keys (RecursionError).

    Raises:
        TypeError: a part of it is no term, and not hashable.
    """
    kind = type(term)
    if kind is int or kind is bytes or (kind is Atom and term.name not in _ATOM_VALUES):
        return (kind, term)
    opened: list[list[Any]] = [[]]
    flat = opened[0]
    stack = [term]
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is tuple:
            flat.append(("tuple", len(item)))
            stack.extend(reversed(item))
        elif kind is list:
            flat.append(("list", len(item)))
            stack.extend(reversed(item))
        elif item is _OPEN:
            flat = []
            opened.append(flat)
        elif item is _SEAL:
            sealed = opened.pop()
            flat = opened[-1]
            flat.append(sealed[0] if len(sealed) == 1 else tuple(sealed))
        elif item is _SEAL_PAIRS:
            pairs = iter(opened.pop())
            flat = opened[-1]
            flat.append(frozenset(zip(pairs, pairs, strict=True)))
        elif kind is dict:
            stack.append(_SEAL_PAIRS)
            for key, value in item.items():
                stack += (_SEAL, value, _OPEN, _SEAL, key, _OPEN)
            stack.append(_OPEN)
        elif kind is Map:
            stack.append(_SEAL_PAIRS)
            for exact, (_, value) in item._pairs.items():
                stack += (_SEAL, value, _OPEN, _Exact(exact))
            stack.append(_OPEN)
        elif kind is _Exact:
            flat.append(item.key)
        elif kind is ImproperList:
            flat.append(("improper", len(item.elements)))
            stack.append(item.tail)
            stack.extend(reversed(item.elements))
        elif kind is Record:
            flat.append(("record", item.module, item.name, item.flags, tuple(name for name, _ in item.fields)))
            stack.extend(value for _, value in reversed(item.fields))
        elif kind is float:
            flat.append((float, pack(">d", item)))
        elif kind is str:
            flat.append((bytes, item.encode()))
        elif kind is Atom and item.name in _ATOM_VALUES:
            value = _ATOM_VALUES[item.name]
            flat.append((type(value), value))
        elif kind in _PLAIN_KINDS:
            flat.append((kind, item))
        else:
            plain = plain_value(item)
            if plain is item:
                flat.append((kind, item))
            else:
                stack.append(plain)
    return flat[0] if len(flat) == 1 else tuple(flat)


class _Exact:
    """An exact key made earlier, among terms whose keys are still to be made."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key


_PLAIN_KINDS: Final = frozenset((Atom, int, bytes, bool, type(None), BitString))


def plain_value(item: Any) -> Any:
    """The plain value that a subclass or a look-alike stands for, or `item` itself."""
    to_term = getattr(type(item), "__erlang_term__", None)
    if to_term is not None:
        return to_term(item)
    if isinstance(item, str):
        return str.__str__(item)  # of a member of an enumeration `str` gives the name
    bases: tuple[type[Any], ...] = (int, float, bytes, tuple, list, dict)
    for base in bases:
        if isinstance(item, base):
            return base(item)
    if isinstance(item, (bytearray, memoryview)):
        return bytes(item)
    return item


_ABSENT: Final = object()


class Map(Mapping[Any, Any]):
    """An Erlang map whose keys a `dict` would confuse (``1``, ``1.0``, ``True``) or cannot hash (lists, maps).

    Keys are told apart as ``=:=`` does. A map without such keys is decoded as a `dict`; a ``Map`` equals a `dict`
    that has exactly the same pairs.

    Args:
        pairs: ``(key, value)`` pairs; of two with the same key the later counts.
    """

    __slots__ = ("_pairs",)

    _pairs: dict[Any, tuple[Any, Any]]

    def __init__(self, pairs: Iterable[tuple[Any, Any]] | Mapping[Any, Any] = ()) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        self._pairs = {exact_key(key): (key, value) for key, value in items}

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._pairs[exact_key(key)][1]
        except KeyError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self._pairs.values())

    def __len__(self) -> int:
        return len(self._pairs)

    def pairs(self) -> Iterable[tuple[Any, Any]]:
        """The ``(key, value)`` pairs."""
        return self._pairs.values()

    def items(self) -> ItemsView[Any, Any]:
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        return _Values(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, dict):
            other = Map(other)
        if not isinstance(other, Map) or len(other) != len(self):
            return False
        for key, (_, value) in self._pairs.items():
            theirs = other._pairs.get(key, _ABSENT)
            if theirs is _ABSENT or value != theirs[1]:  # type: ignore[index]  # not _ABSENT: a pair
                return False
        return True

    def __hash__(self) -> int:
        return hash(exact_key(self))

    def __repr__(self) -> str:
        return f"Map({list(self._pairs.values())!r})"

    def __reduce__(self) -> tuple[type[Map], tuple[list[tuple[Any, Any]]]]:
        return Map, (list(self._pairs.values()),)


class _Items(ItemsView[Any, Any]):
    """Does not look each key up again."""

    _mapping: Map

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return iter(self._mapping.pairs())


class _Values(ValuesView[Any]):
    """Likewise."""

    _mapping: Map

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in self._mapping.pairs())


_MAX_KEY_DEPTH: Final = 16
"""How deep a tuple may be to be hashed by Python, which uses the C stack for it; a deeper one goes into a `Map`."""


def map_of(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any] | Map:
    """A dict where it can hold and keep apart the keys of `pairs`, else a `Map`; of equal keys the last counts."""
    if all(_is_plain_key(key) for key, _ in pairs):
        plain = dict(pairs)
        if len(plain) == len(pairs):
            return plain
    exact = Map(pairs)
    if len(exact) == len(pairs):
        return exact
    # Fewer keys than pairs: perhaps what is left is unambiguous.
    return map_of(list(exact.pairs()))


def _is_plain_key(key: Any) -> bool:
    """Whether a dict can hold `key`: hashable, and not deep."""
    level = [key]
    for _ in range(_MAX_KEY_DEPTH):
        inner: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is tuple:
                inner += item
            elif kind is ImproperList:
                inner += item.elements
                inner.append(item.tail)
            elif kind.__hash__ is None or kind is Map or kind is Record:
                return False
        if not inner:
            return True
        level = inner
    return False
