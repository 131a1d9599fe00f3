"""What TAB adds: names, attributes, keywords, modules, keys of dictionaries, and registered names inside quotes."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from collections.abc import Iterable
from typing import Any, Final

MOST: Final = 300
"""So many possibilities are shown."""

_NAME: Final = re.compile(r"(?<![\w.])[^\W\d]\w*\Z")
_DOTTED: Final = re.compile(r"(?P<owner>[^\W\d]\w*(?:\.[^\W\d]\w*)*)\.(?P<start>\w*)\Z")
_KEY: Final = re.compile(r"(?P<owner>[^\W\d]\w*(?:\.[^\W\d]\w*)*)\[(?P<quote>['\"])(?P<start>[^'\"\\]*)\Z")
_TEXT: Final = re.compile(r"(?P<quote>['\"])(?P<start>[^'\"\\]*)\Z")
_IMPORT: Final = re.compile(r"\s*(?:import|from)\s+(?P<start>[^\W\d][\w.]*|)\Z")
_INDENT: Final = "    "


def complete(
    before: str, namespace: dict[str, Any], built_in: dict[str, Any], registered: Iterable[str]
) -> tuple[str, list[str]]:
    """What to insert, and the possibilities where there is more than one.

    As Python's `rlcompleter` it evaluates the dotted name before the last dot, and no property of what that is.

    Args:
        before: the line up to the cursor.
        registered: names of processes.
    """
    if not before.strip():
        return _INDENT, []
    if match := _KEY.search(before):
        owner = _value(match["owner"], namespace, built_in)
        keys = [key for key in owner if isinstance(key, str)] if type(owner) is dict else []
        return _choose(match["start"], [f"{key}{match['quote']}]" for key in keys], cut=2)
    if (match := _TEXT.search(before)) and before.count(match["quote"]) % 2:
        return _choose(match["start"], [f"{name}{match['quote']}" for name in registered], cut=1)
    if match := _IMPORT.match(before):
        return _choose(match["start"], _modules(match["start"].count(".")))
    if match := _DOTTED.search(before):
        owner = _value(match["owner"], namespace, built_in)
        return _choose(match["start"], _attributes(owner, match["start"]))
    if match := _NAME.search(before):
        return _choose(match[0], _names(namespace, built_in))
    return "", []


def _choose(start: str, candidates: Iterable[str], cut: int = 0) -> tuple[str, list[str]]:
    """Args: cut: so many characters at the end of each are for one that is the only one."""
    fitting = sorted({candidate for candidate in candidates if candidate.startswith(start)})
    if not fitting:
        return "", []
    if len(fitting) == 1:
        return fitting[0][len(start) :], []
    shown = [candidate[: len(candidate) - cut] for candidate in fitting]
    common = _common([name.rstrip("(") for name in shown])
    return common[len(start) :], shown[:MOST]


def _common(names: list[str]) -> str:
    """What all of them begin with; the first and the last of a sorted list tell."""
    first, last = min(names), max(names)
    return next((first[:length] for length in range(len(first), 0, -1) if last.startswith(first[:length])), "")


def _value(dotted: str, namespace: dict[str, Any], built_in: dict[str, Any]) -> Any:
    """What a dotted name stands for; None where it is nothing, or would have to be computed by a property."""
    first, *others = dotted.split(".")
    try:
        value = namespace[first] if first in namespace else built_in[first]
        for name in others:
            if isinstance(getattr(type(value), name, None), property):
                return None
            value = getattr(value, name)
    except Exception:  # noqa: BLE001  # whatever an object of the user does when it is asked
        return None
    return value


def _attributes(owner: Any, start: str) -> Iterable[str]:
    if owner is None:
        return
    try:
        names = dir(owner)
    except Exception:  # noqa: BLE001  # of an object of the user
        return
    for name in names:
        # Those that begin with an underscore when asked for.
        if name.startswith("_") and not start.startswith("_"):
            continue
        if isinstance(getattr(type(owner), name, None), property):
            yield name
        else:
            yield name + _bracket(_attribute(owner, name))


def _attribute(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name, None)
    except Exception:  # noqa: BLE001  # of an object of the user
        return None


def _names(namespace: dict[str, Any], built_in: dict[str, Any]) -> Iterable[str]:
    hidden = {"__builtins__", "__show__"}
    for names in (namespace, built_in):
        for name, value in names.items():
            if name not in hidden:
                yield name + _bracket(value)
    yield from keyword.kwlist
    yield from keyword.softkwlist


def _bracket(value: Any) -> str:
    return "(" if callable(value) and not isinstance(value, type(sys)) else ""


def _modules(depth: int) -> Iterable[str]:
    """Those that are loaded, and of the standard library; names with so many dots."""
    for name in (*list(sys.modules), *sys.stdlib_module_names):
        if not name.startswith("_"):
            yield ".".join(name.split(".")[: depth + 1])


def default_names() -> dict[str, Any]:
    """Python's own names, for somebody whose shell is not known."""
    return dict(vars(builtins))
