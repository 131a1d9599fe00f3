"""Where in a term a value sits that cannot be encoded. Slow and careful: it runs only after encoding has failed.

Iterative, as terms may be deep.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from erlang_bridge.errors import brief
from erlang_bridge.terms import Atom, ImproperList, Map, Record

_Step = tuple[str, Any]
"""How to get from a container to something in it: ``("[]", index or key)``, ``("key", key)`` or ``(".", name)``."""


def _children(item: Any) -> Iterator[tuple[_Step, Any]] | None:
    """What is encoded of a container, None for a leaf."""
    kind = type(item)
    if kind is ImproperList:
        return chain(((("[]", i), v) for i, v in enumerate(item.elements)), (((".", "tail"), item.tail),))
    if kind is Map or isinstance(item, dict):
        pairs = item.pairs() if kind is Map else item.items()
        return chain.from_iterable(((("key", k), k), (("[]", k), v)) for k, v in pairs)
    if kind is Record:
        return (((".", name.name), value) for name, value in item.fields)
    if isinstance(item, (tuple, list)):
        return ((("[]", i), v) for i, v in enumerate(item))
    if getattr(kind, "__erlang_term__", None) is not None:
        term = item.__erlang_term__()
        if isinstance(term, dict):
            return (((".", k.name) if type(k) is Atom else ("[]", k), v) for k, v in term.items())
        return iter(((("", None), term),))
    return None


def _text(step: _Step) -> str:
    kind, at = step
    if kind == "[]":
        return f"[{at.name!r}]" if type(at) is Atom else f"[{brief(at, 40)}]"
    if kind == "key":
        return f".key({brief(at, 40)})"
    return f".{at}" if kind else ""


def path_to(term: Any, culprit: object) -> str:
    """The path to the first place in `term` where `culprit` itself is encoded, such as ``[1]['key'][0]``.

    Empty for the term itself, and for a value that only came up while encoding.
    """
    steps: list[_Step] = []
    seen: dict[int, Any] = {}  # with the object itself, so that its id is not used again
    first = None if term is culprit else _children(term)
    stack = [] if first is None else [first]
    while stack:
        for step, item in stack[-1]:
            if item is culprit:
                return "".join(map(_text, (*steps, step)))
            if id(item) in seen:
                continue
            inside = _children(item)
            if inside is not None:
                seen[id(item)] = item
                steps.append(step)
                stack.append(inside)
                break
        else:
            stack.pop()
            if steps:
                steps.pop()
    return ""
