"""Equality and order of terms as Erlang has them, where Python's own differ.

Python's ``==`` takes ``1``, ``1.0`` and ``True`` for equal and cannot compare terms of different types at all; it and
``hash`` fail on deep terms. Everything here is iterative.

Source: Erlang Reference Manual, "Term Comparisons"; erts ``utils.c``, ``erts_cmp``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cmp_to_key
from itertools import chain
from math import copysign
from typing import Any, Final

from erlang_bridge.terms.atom import Atom
from erlang_bridge.terms.containers import BitString, ImproperList, Map, exact_key, plain_value
from erlang_bridge.terms.funs import Export, Fun, Record
from erlang_bridge.terms.identifiers import Pid, Port, Reference

_ABSENT: Final = object()


def exactly_equal(left: Any, right: Any) -> bool:
    """``left =:= right``: integers differ from floats, ``-0.0`` from ``0.0`` (OTP 27), ``true`` from both.

    Raises:
        TypeError: a part is no term, and not hashable.
    """
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if one is other:
            continue
        one, other = _plain(one), _plain(other)
        kind = type(one)
        if kind is dict or kind is Map:
            if not isinstance(other, (dict, Map)) or len(one) != len(other):
                return False
            values = {exact_key(key): value for key, value in _map_items(other)}
            for key, value in _map_items(one):
                theirs = values.get(exact_key(key), _ABSENT)
                if theirs is _ABSENT:
                    return False
                pairs.append((value, theirs))
        elif kind is list or kind is tuple:
            if type(other) is not kind or len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif kind is ImproperList:
            if type(other) is not ImproperList or len(one.elements) != len(other.elements):
                return False
            pairs.extend(zip(one.elements, other.elements, strict=True))
            pairs.append((one.tail, other.tail))
        elif kind is Record:
            if type(other) is not Record or _record_head(one) != _record_head(other):
                return False
            pairs.extend((mine[1], theirs[1]) for mine, theirs in zip(one.fields, other.fields, strict=True))
        elif isinstance(other, (dict, Map, list, tuple, ImproperList, Record)) or exact_key(one) != exact_key(other):
            return False
    return True


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1 as `left` is smaller than, equal to (``==``: 1 and 1.0 are) or greater than `right`.

    ::

        number < atom < reference < fun < port < pid < tuple < record < map < [] < list < bit string

    Two closures have a stable order, not OTP's: that depends on the insides of the fun.

    Raises:
        TypeError: a part is no term.
    """
    return _compare(left, right, exact=False)


sort_key: Final[Callable[[Any], Any]] = cmp_to_key(compare)
"""For `sorted`: orders terms as ``lists:sort/1`` does."""

key_order: Final[Callable[[Any], Any]] = cmp_to_key(lambda left, right: _compare(left, right, exact=True))
"""For `sorted`: orders terms as the keys of an ordered map, every integer before every float."""


def _compare(left: Any, right: Any, exact: bool) -> int:
    stack: list[Iterator[tuple[Any, Any, bool]]] = [iter(((left, right, exact),))]
    while stack:
        for one, other, exactly in stack[-1]:
            if one is other:
                continue
            one, other = _plain(one), _plain(other)  # noqa: PLW2901
            rank = _rank(one)
            other_rank = _rank(other)
            if rank != other_rank:
                return -1 if rank < other_rank else 1
            if rank in _INSIDE:
                decided, inside = _INSIDE[rank](one, other, exactly)
            elif exactly and rank == _NUMBER:
                decided, inside = _order(_exact_number(one), _exact_number(other)), None
            else:
                decided, inside = _order(*_LEAF_KEYS[rank](one, other)), None
            if decided:
                return decided
            if inside is not None:
                stack.append(inside)
                break
        else:
            stack.pop()
    return 0


# -- kinds of terms ---------------------------------------------------------------------------

_NUMBER, _ATOM, _REFERENCE, _FUN, _PORT, _PID, _TUPLE, _RECORD, _MAP, _NIL, _LIST, _BIT_STRING = range(12)
_RANKS: Final[dict[type, int]] = {
    int: _NUMBER, float: _NUMBER, Atom: _ATOM, bool: _ATOM, type(None): _ATOM, Reference: _REFERENCE, Fun: _FUN,
    Export: _FUN, Port: _PORT, Pid: _PID, tuple: _TUPLE, Record: _RECORD, dict: _MAP, Map: _MAP, list: _LIST,
    ImproperList: _LIST, bytes: _BIT_STRING, BitString: _BIT_STRING,
}  # fmt: skip


def _plain(item: Any) -> Any:
    """`item` as a value of one of the types of `_RANKS`."""
    if type(item) in _RANKS:
        return item
    plain = plain_value(item)
    return plain.encode() if type(plain) is str else plain


def _rank(item: Any) -> int:
    if type(item) is list and not item:
        return _NIL
    try:
        return _RANKS[type(item)]
    except KeyError:
        raise TypeError(f"a {type(item).__name__} is no Erlang term") from None


def _order(one: Any, other: Any) -> int:
    return 1 if one > other else -1 if one < other else 0


# -- leaves: what to compare ------------------------------------------------------------------


def _exact_number(number: int | float) -> tuple[bool, float, float]:
    """Orders numbers as keys of maps: every integer before every float, ``-0.0`` before ``0.0``."""
    return (True, number, copysign(1, number)) if type(number) is float else (False, number, 0)


def _name(atom: Any) -> str:
    return atom.name if type(atom) is Atom else "nil" if atom is None else "true" if atom else "false"


def _reference_key(reference: Reference) -> tuple[Any, ...]:
    words = reference.words + (0,) * (5 - len(reference.words))
    return (reference.node.name, reference.creation, words[::-1])


def _fun_key(fun: Fun | Export) -> tuple[Any, ...]:
    if type(fun) is Export:
        return (1, fun.module.name, fun.function.name, fun.arity)
    return (0, fun.module.name, fun.arity, getattr(fun, "raw", b""))


def _bits_key(bits: bytes | BitString) -> tuple[bytes, int]:
    return (bits.data, len(bits)) if type(bits) is BitString else (bytes(bits), 8 * len(bits))  # type: ignore[arg-type]


def _both(key: Callable[[Any], Any]) -> Callable[[Any, Any], tuple[Any, Any]]:
    return lambda one, other: (key(one), key(other))


_LEAF_KEYS: Final[dict[int, Callable[[Any, Any], tuple[Any, Any]]]] = {
    _NUMBER: lambda one, other: (one, other),
    _ATOM: _both(_name),
    _REFERENCE: _both(_reference_key),
    _FUN: _both(_fun_key),
    _PORT: _both(lambda port: (port.node.name, port.creation, port.id)),
    _PID: _both(lambda pid: (pid.serial, pid.id, pid.node.name, pid.creation)),
    _NIL: lambda _one, _other: (0, 0),
    _BIT_STRING: _both(_bits_key),
}


# -- containers: an order already decided, or what to compare inside ---------------------------

_Inside = tuple[int, Iterator[tuple[Any, Any, bool]] | None]


def _tuples(one: Any, other: Any, exactly: bool) -> _Inside:
    if len(one) != len(other):
        return _order(len(one), len(other)), None
    return 0, ((mine, theirs, exactly) for mine, theirs in zip(one, other, strict=True))


def _lists(one: Any, other: Any, exactly: bool) -> _Inside:
    mine, my_tail = _spread(one)
    theirs, their_tail = _spread(other)
    # Where one ends first, its tail meets a list that is not empty: only their kinds count.
    my_tail = my_tail if len(mine) <= len(theirs) else [None]
    their_tail = their_tail if len(theirs) <= len(mine) else [None]
    elements = ((a, b, exactly) for a, b in zip(mine, theirs, strict=False))
    return 0, chain(elements, ((my_tail, their_tail, exactly),))


def _spread(value: Any) -> tuple[Any, Any]:
    return (value.elements, value.tail) if type(value) is ImproperList else (value, [])


def _map_items(value: Any) -> Any:
    return value.pairs() if type(value) is Map else value.items()


def _maps(one: Any, other: Any, exactly: bool) -> _Inside:
    if len(one) != len(other):
        return _order(len(one), len(other)), None
    mine = sorted(_map_items(one), key=lambda pair: key_order(pair[0]))
    theirs = sorted(_map_items(other), key=lambda pair: key_order(pair[0]))
    keys = ((a[0], b[0], True) for a, b in zip(mine, theirs, strict=True))
    values = ((a[1], b[1], exactly) for a, b in zip(mine, theirs, strict=True))
    return 0, chain(keys, values)


def _record_head(record: Record) -> tuple[Any, ...]:
    return (record.module.name, record.name.name, tuple(name.name for name, _ in record.fields), record.flags)


def _records(one: Any, other: Any, exactly: bool) -> _Inside:
    decided = _order(_record_head(one), _record_head(other))
    if decided:
        return decided, None
    return 0, ((mine[1], theirs[1], exactly) for mine, theirs in zip(one.fields, other.fields, strict=True))


_INSIDE: Final[dict[int, Callable[[Any, Any, bool], _Inside]]] = {
    _TUPLE: _tuples,
    _LIST: _lists,
    _MAP: _maps,
    _RECORD: _records,
}
