"""Python values as terms for people to read: states in ``sys:get_state``, the observer, crash reports.

What has a term is that term. What has none is shown as well as it can be: a dataclass or plain object as a map of
its fields with its class under ``'__class__'``, a set as a sorted list where it can be, anything else as the text of
its `repr`.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from erlang_bridge.etf import encode_term
from erlang_bridge.terms import Atom, Map

MAX_DEPTH: Final = 60
CLASS: Final = Atom("__class__")


def readable(value: Any) -> Any:
    """`value` itself where it has a term, else the nearest thing to it that has."""
    if _has_term(value):
        return value
    try:
        return _projected(value, MAX_DEPTH)
    except Exception:  # properties and iterators of anybody's classes
        return _text(value)


def text_of(value: Any, convert: Callable[[Any], str] = str) -> str:
    """``str(value)`` (or ``repr``), also where the value's own method raises."""
    try:
        return convert(value)
    except Exception:  # whatever it is
        return object.__repr__(value)


def _has_term(value: Any) -> bool:
    try:
        encode_term(value)
    except Exception:  # a conversion of the user's own may raise anything
        return False
    return True


def _projected(value: Any, depth: int) -> Any:
    if depth == 0:
        return _text(value)
    if value is None or isinstance(value, (bool, Atom, bytes)):
        return value
    if isinstance(value, tuple):
        return tuple(_projected(item, depth - 1) for item in value)
    if isinstance(value, (list, deque)):
        return [_projected(item, depth - 1) for item in value]
    if isinstance(value, (set, frozenset)):
        return [_projected(item, depth - 1) for item in sorted(value, key=repr)]
    if isinstance(value, Map):
        return Map((_projected(key, depth - 1), _projected(item, depth - 1)) for key, item in value.pairs())
    if isinstance(value, Mapping):
        return Map((_projected(key, depth - 1), _projected(item, depth - 1)) for key, item in value.items())
    if _has_term(value):
        return value
    fields = _fields_of(value)
    if fields is None:
        return _text(value)
    shown = {Atom(name[:255]): _projected(item, depth - 1) for name, item in fields.items()}
    return {CLASS: Atom(type(value).__qualname__[:255]), **shown}


def _fields_of(value: Any) -> dict[str, Any] | None:
    if isinstance(value, type) or callable(value):
        return None
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    fields = getattr(value, "__dict__", None)
    return dict(fields) if fields else None


def _text(value: Any) -> bytes:
    text = text_of(value, repr)
    return (text if len(text) <= 2000 else text[:1997] + "...").encode(errors="replace")
