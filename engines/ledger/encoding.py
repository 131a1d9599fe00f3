"""Terms as a ledger keeps them: the external term format, the same bytes for the same term.

Maps are what could come in two orders: here the pairs of each stand in the order of the bytes of their keys. (OTP's
own ``deterministic`` has another order, and one that differs between releases.)

Source: ERTS, "External Term Format".
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

from engines.ledger.errors import BadRequest, StoreDamaged
from erlang_bridge import etf
from erlang_bridge.errors import EtfDecodeError, EtfEncodeError, EtfStructError
from erlang_bridge.etf.tags import MAP_EXT
from erlang_bridge.terms import Atom, BitString, ImproperList, Map, Pid, Port, Record, Reference

MAX_BYTES: Final = 256 * 1024 * 1024
"""Of one term that is stored."""

_map_header: Final = Struct(">BI").pack
_LEAVES: Final = frozenset((int, bytes, str, bool, type(None), float, Atom, Pid, Port, Reference, BitString))
_CONTAINERS: Final = frozenset((tuple, list, dict, Map, ImproperList, Record))


def stored(term: Any) -> bytes:
    """The bytes of a term: 131, and the term.

    Raises:
        BadRequest: it is no term, or too large.

    Example:
        >>> stored({b"b": 1, b"a": 2}) == stored({b"a": 2, b"b": 1})
        True
    """
    try:
        data = etf.encode(term)
        if not _has_one_order(term):
            # Objects that stand for terms become plain ones on the way.
            data = etf.encode(_in_order(etf.decode(data, structs={})))
    except EtfEncodeError as error:
        raise BadRequest(f"what is stored has to be a term: {error}") from None
    if len(data) > MAX_BYTES:
        raise BadRequest(f"a stored term may have {MAX_BYTES} bytes, this one has {len(data)}")
    return data


def restored(data: bytes) -> Any:
    """The term that `stored` made these bytes of.

    Raises:
        StoreDamaged: it has not made them.
    """
    try:
        return etf.decode(data)
    except EtfStructError:
        # It says that it is a struct, and has other fields than the class that stands for that: as good a map as any.
        return etf.decode(data, structs={})
    except EtfDecodeError as error:
        raise StoreDamaged(f"the ledger is damaged: a stored term cannot be read, {error}") from None


def _has_one_order(term: Any) -> bool:
    """Whether there is no map in it, as far as can be seen: then its bytes are the same every time."""
    stack = [term]
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind in _LEAVES:
            continue
        if kind is tuple or kind is list:
            stack.extend(item)
        elif kind is ImproperList:
            stack.extend(item.elements)
            stack.append(item.tail)
        else:
            return False
    return True


def _in_order(term: Any) -> Any:
    """The term, with each map in it as bytes in the order of its keys. Depth costs memory, and no recursion."""
    todo = [(term, False)]
    done: list[Any] = []
    while todo:
        item, parts_are_done = todo.pop()
        if type(item) not in _CONTAINERS:
            done.append(item)
            continue
        parts = _parts(item)
        if not parts_are_done:
            todo.append((item, True))
            todo.extend((part, False) for part in reversed(parts))
        else:
            start = len(done) - len(parts)
            made = _rebuilt(item, done[start:])
            del done[start:]
            done.append(made)
    return done[0]


def _parts(item: Any) -> list[Any]:
    kind = type(item)
    if kind is tuple or kind is list:
        return list(item)
    if kind is dict:
        return [part for pair in item.items() for part in pair]
    if kind is Map:
        return [part for pair in item.pairs() for part in pair]
    if kind is ImproperList:
        return [*item.elements, item.tail]
    return [value for _, value in item.fields]


def _rebuilt(item: Any, parts: list[Any]) -> Any:
    kind = type(item)
    if kind is list:
        return parts
    if kind is tuple:
        return tuple(parts)
    if kind is ImproperList:
        return ImproperList(parts[:-1], parts[-1])
    if kind is Record:
        names = [name for name, _ in item.fields]
        return Record(item.module, item.name, tuple(zip(names, parts, strict=True)), item.flags)
    encoded = [etf.encode(part)[1:] for part in parts]
    pairs = sorted(zip(encoded[::2], encoded[1::2], strict=True))
    return etf.Encoded(_map_header(MAP_EXT, len(pairs)) + b"".join(key + value for key, value in pairs))
