"""What modules put into others' tables when they are imported: registries that a decorator or a base class fills.

New code is run before anybody is to see it, and may be refused. So what it has registered is taken out again at once,
and put in when the new code takes the place of the old.
"""

from __future__ import annotations

import functools
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

from erlang_bridge.kernel import code_modules
from erlang_bridge.kernel.code_relink import Journal, attributes_of, is_plain

_TABLES: Final = (dict, list, set, deque)
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Registration:
    """One entry of a table; `key` is None where the table is no dict."""

    table: Any
    key: Any
    value: Any

    def put_back(self, journal: Journal) -> None:
        """Put it in, unless it is there: what was in the place of the old one."""
        kind = base_of(self.table)
        if issubclass(kind, dict):
            before = kind.get(self.table, self.key, _MISSING)
            if before is self.value:
                return
            if before is _MISSING:
                journal.did(kind.__delitem__, self.table, self.key)
            else:
                journal.did(kind.__setitem__, self.table, self.key, before)
            kind.__setitem__(self.table, self.key, self.value)
        elif any(item is self.value for item in self.table):
            return
        elif kind is set:
            journal.did(set.discard, self.table, self.value)
            set.add(self.table, self.value)
        else:
            journal.did(_remove, self.table, self.value)
            kind.append(self.table, self.value)


class Registrations:
    """Watches the tables of all modules but `modules`, from now on."""

    def __init__(self, modules: list[ModuleType]) -> None:
        self._old = {module.__name__: module for module in modules}
        self._new: list[dict[str, Any]] = []
        self._before = [(table, base_of(table)(table)) for table in _tables(self._old.keys())]

    def withdraw(self, new: list[ModuleType]) -> list[Registration]:
        """Take out what belongs to the `new` modules; to be put back, or not."""
        self._new = [vars(module) for module in new]
        found: list[Registration] = []
        for table, before in self._before:
            kind = base_of(table)
            if issubclass(kind, dict):
                for key, value in list(kind.items(table)):
                    earlier = before.get(key, _MISSING)
                    if earlier is value or not (self._is_new(value) or self._is_new(key)):
                        continue
                    found.append(Registration(table, key, value))
                    if earlier is _MISSING:
                        kind.__delitem__(table, key)
                    else:
                        kind.__setitem__(table, key, earlier)
                continue
            known = set(map(id, before))
            added = [item for item in table if id(item) not in known and self._is_new(item)]
            for item in added:
                found.append(Registration(table, None, item))
                if kind is set:
                    set.discard(table, item)
                else:
                    _remove(table, item)
        self._before.clear()
        return found

    def _is_new(self, value: Any, depth: int = 2) -> bool:
        """Whether something is of the new modules' making."""
        if isinstance(value, functools.partial):
            value = value.func
        if isinstance(value, MethodType):
            return self._is_new(value.__self__) or self._is_new(value.__func__)
        if isinstance(value, FunctionType):
            inner = getattr(value, "__wrapped__", None)
            return any(value.__globals__ is names for names in self._new) or (
                depth > 0 and self._is_new(inner, depth - 1)
            )
        if isinstance(value, (tuple, list)) and depth > 0 and len(value) <= 16:
            return any(self._is_new(item, depth - 1) for item in value)
        return self._is_new_class(value if isinstance(value, type) else type(value))

    def _is_new_class(self, cls: type) -> bool:
        old = self._old.get(cls.__module__)
        return old is not None and code_modules.at(old, cls.__qualname__) is not cls


def _tables(without: Iterable[str]) -> Iterator[Any]:
    """Tables that modules have: as globals, in their classes, and as attributes of objects that are globals."""
    modules = [module for module in code_modules.loaded() if not code_modules.is_sticky(module)]
    names = {module.__name__ for module in modules}
    seen: set[int] = set()
    left_out = set(without)
    for module in modules:
        if module.__name__ in left_out:
            continue
        for value in list(vars(module).values()):
            held = [value]
            if isinstance(value, type):
                held = list(vars(value).values()) if value.__module__ == module.__name__ else []
            elif not isinstance(value, _TABLES) and type(value).__module__ in names and is_plain(value):
                held = list(attributes_of(value).values())
            for table in held:
                if isinstance(table, _TABLES) and id(table) not in seen:
                    seen.add(id(table))
                    yield table


def base_of(table: Any) -> Any:
    """The built-in class that a table is of: its own methods, not those that somebody has put over them."""
    return next(kind for kind in (OrderedDict, dict, list, set, deque) if isinstance(table, kind))


def _remove(table: Any, item: Any) -> None:
    """Remove the last occurrence, by identity."""
    for index in range(len(table) - 1, -1, -1):
        if table[index] is item:
            del table[index]
            return
