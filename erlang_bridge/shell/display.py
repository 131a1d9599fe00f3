"""Values and errors as a person at a terminal reads them: pids as Erlang writes them, large values cut."""

from __future__ import annotations

import pprint
import traceback
from pathlib import Path
from typing import Any, Final

import gevent
import greenlet

from erlang_bridge.terms import Atom, Pid, Reference
from erlang_bridge.terms.text import format_term, pid_text

MOST_ITEMS: Final = 200
"""Of a container with more, so many are shown."""
MOST_CHARACTERS: Final = 10_000
"""Of the text of a value, or of an error."""
MAX_DEPTH: Final = 20

_BRIDGE: Final = str(Path(__file__).parents[1])
_MACHINERY: Final = (_BRIDGE, str(Path(gevent.__file__).parent), str(Path(greenlet.__file__).parent), "src/gevent/")
"""Where files lie whose frames are not shown; compiled parts of gevent name theirs as their authors had them."""


class _More:
    """Stands at the end of a container for what is left out."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __repr__(self) -> str:
        return f"... {self._count:,} more"


class _Printer(pprint.PrettyPrinter):
    def __init__(self, node: Atom | None, width: int) -> None:
        super().__init__(width=width, sort_dicts=False, compact=True)
        self._node = node

    def format(
        self,
        value: Any,
        context: dict[int, int],
        maxlevels: int,
        level: int,
    ) -> tuple[str, bool, bool]:
        if isinstance(value, Pid):
            return pid_text(value, self._node), False, False
        if isinstance(value, Reference):
            return format_term(value), False, False
        return super().format(value, context, maxlevels, level)


def value_text(value: Any, node: Atom | None = None, width: int = 80) -> str:
    """A value as the prompt shows it: its `repr`, laid out over lines of at most `width` where it is long.

    Args:
        node: whose processes are written as its own.

    Raises:
        What the ``__repr__`` of a class in it raises.
    """
    shown = _Printer(node, max(20, width)).pformat(_cut(value, MAX_DEPTH))
    return _shortened(shown, "print(_) shows all of it")


def error_text(error: BaseException) -> str:
    """An error as Python prints it, with the frames of user code only. Ends with a newline."""
    told = traceback.TracebackException.from_exception(error)
    _prune(told, set())
    text = "".join(told.format())
    return _shortened(text.rstrip("\n"), "cut") + "\n"


def compile_error_text(error: BaseException) -> str:
    """An error of what has been typed: without a stack. Ends with a newline."""
    return "".join(traceback.format_exception_only(error))


def _shortened(text: str, hint: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}\n... {len(text) - MOST_CHARACTERS:,} more characters ({hint})"


def _cut(value: Any, depth: int) -> Any:
    """`value` with its large containers cut: those of exactly the built-in types, others are shown by their `repr`."""
    if depth == 0:
        return value
    kind = type(value)
    if kind in (list, tuple):
        items = [_cut(item, depth - 1) for item in value[:MOST_ITEMS]]
        if len(value) > MOST_ITEMS:
            items.append(_More(len(value) - MOST_ITEMS))
        return items if kind is list else tuple(items)
    if kind is dict:
        return _cut_pairs(value, depth)
    if kind in (set, frozenset) and len(value) > MOST_ITEMS:
        some = [item for item, _ in zip(value, range(MOST_ITEMS), strict=False)]
        return kind([*some, _More(len(value) - MOST_ITEMS)])
    if kind in (str, bytes) and len(value) > MOST_CHARACTERS:
        return value[: MOST_CHARACTERS + 1]
    return value


def _cut_pairs(value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    cut = {key: _cut(item, depth - 1) for (key, item), _ in zip(value.items(), range(MOST_ITEMS), strict=False)}
    if len(value) > MOST_ITEMS:
        cut[_More(len(value) - MOST_ITEMS)] = ...
    return cut


def _prune(told: traceback.TracebackException | None, seen: set[int]) -> None:
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    if told.stack is not None:
        frames = [frame for frame in told.stack if not frame.filename.startswith(_MACHINERY)]
        told.stack = traceback.StackSummary.from_list(frames) if frames else None  # type: ignore[assignment]  # as of an error without
    _prune(told.__cause__, seen)
    _prune(told.__context__, seen)
    for inner in told.exceptions or ():
        _prune(inner, seen)
