"""Maps that are values, at the price of a dict: the newest version has the table, older ones how they differ.

A change costs the same however large the map is, and so does looking into the newest version. An older version can be
used at any time as well: it takes the table over, which costs as much as there are changes between the two. That suits
the state of an engine, which goes from one turn to the next, and is looked back at by tests and debuggers.

A version that is kept keeps all changes since then.

Source: H. Baker, "Shallow binding makes functional arrays fast" (1991).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Final, Generic, Self, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MISSING: Final = object()
_COPIED: Final = 8
"""Tables of up to so many entries are copied: that costs less, and leaves the version before its own table."""


class _Sorted(dict[int, Any]):
    """A table with its keys in order beside it."""

    __slots__ = ("order",)

    def __init__(self, items: Iterable[tuple[int, Any]] = ()) -> None:
        super().__init__(items)
        self.order = sorted(self)


class VersionedMap(Mapping[K, V], Generic[K, V]):
    """An immutable mapping with `put` and `without`.

    Example:
        >>> one = VersionedMap({"a": 1})
        >>> two = one.put("b", 2)
        >>> one.put("a", 3)["a"], dict(one), dict(two), dict(two.without("a"))
        (3, {'a': 1}, {'a': 1, 'b': 2}, {'b': 2})
    """

    __slots__ = ("_changes", "_newer", "_table")

    _table: Any
    """The dict, in the version that has it at the moment; None in the others, which have the two below."""
    _newer: Any
    _changes: Any

    def __init__(self, items: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        self._table = self._make(items.items() if isinstance(items, Mapping) else items)
        self._newer = self._changes = None

    def put(self, key: K, value: V) -> Self:
        """The map with `key` for `value`, in place of what it had."""
        table = self._table
        if table is None:
            table = self._take()
        if len(table) <= _COPIED:
            copy = self._copy(table)
            self._set(copy, key, value)
            return self._of(copy)
        before = table.get(key, _MISSING)
        self._set(table, key, value)
        return self._next(table, [(key, before)])

    def without(self, *keys: K) -> Self:
        """The map without these keys; those that are not there do not matter."""
        table = self._table
        if table is None:
            table = self._take()
        there = [key for key in keys if key in table]
        if not there:
            return self
        if len(table) <= _COPIED:
            copy = self._copy(table)
            for key in there:
                self._delete(copy, key)
            return self._of(copy)
        changes = []
        for key in there:
            changes.append((key, table[key]))
            self._delete(table, key)
        return self._next(table, changes)

    def get(self, key: Any, default: Any = None) -> Any:
        table = self._table
        return (self._take() if table is None else table).get(key, default)

    def __getitem__(self, key: K) -> V:
        table = self._table
        return (self._take() if table is None else table)[key]  # type: ignore[no-any-return]

    def __contains__(self, key: object) -> bool:
        table = self._table
        return key in (self._take() if table is None else table)

    def __len__(self) -> int:
        table = self._table
        return len(self._take() if table is None else table)

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._take()))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, VersionedMap):
            # One table may belong to both: what is in it is noted before it moves on.
            return dict(self._take()) == dict(other._take())
        return dict(self._take()) == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self._take())!r})"

    # -- pieces ---------------------------------------------------------------------------------

    @staticmethod
    def _make(items: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
        return dict(items)

    @staticmethod
    def _set(table: Any, key: Any, value: Any) -> None:
        table[key] = value

    @staticmethod
    def _delete(table: Any, key: Any) -> None:
        del table[key]

    @staticmethod
    def _copy(table: Any) -> Any:
        return table.copy()

    def _of(self, table: Any) -> Self:
        made = object.__new__(type(self))
        made._table = table
        made._newer = made._changes = None
        return made

    def _next(self, table: Any, changes: list[tuple[Any, Any]]) -> Self:
        newer = self._of(table)
        self._table = None
        self._newer = newer
        self._changes = changes
        return newer

    def _take(self) -> Any:
        """The table, as it is in this version."""
        table = self._table
        if table is not None:
            return table
        path = []
        node = self
        while node._table is None:
            path.append(node)
            node = node._newer
        table = node._table
        for older in reversed(path):
            inverse = []
            for key, before in older._changes:
                inverse.append((key, table.get(key, _MISSING)))
                if before is _MISSING:
                    self._delete(table, key)
                else:
                    self._set(table, key, before)
            node._table = None
            node._newer = older
            node._changes = inverse
            older._table = table
            older._newer = older._changes = None
            node = older
        return table


class SortedMap(VersionedMap[int, V]):
    """A `VersionedMap` of integers that knows their order.

    Example:
        >>> versions = SortedMap({5: "five", 9: "nine"}).put(7, "seven")
        >>> versions.below(7), versions.above(7), versions.first(), versions.between(5, 9)
        (5, 9, 5, [7, 9])
    """

    __slots__ = ()

    def below(self, key: int) -> int | None:
        """The largest key that is smaller."""
        order = self._take().order
        at = bisect_left(order, key)
        return order[at - 1] if at else None

    def above(self, key: int) -> int | None:
        """The smallest key that is larger."""
        order = self._take().order
        at = bisect_right(order, key)
        return order[at] if at < len(order) else None

    def first(self) -> int | None:
        """The smallest key."""
        order = self._take().order
        return order[0] if order else None

    def last(self) -> int | None:
        """The largest key."""
        order = self._take().order
        return order[-1] if order else None

    def head(self, count: int) -> list[int]:
        """The smallest keys, at most so many, in order."""
        return self._take().order[:count]  # type: ignore[no-any-return]

    def between(self, low: int, high: int | None) -> list[int]:
        """The keys above `low` up to `high` (None: all), in order."""
        order = self._take().order
        end = len(order) if high is None else bisect_right(order, high)
        return order[bisect_right(order, low) : end]  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[int]:
        return iter(list(self._take().order))

    @staticmethod
    def _make(items: Iterable[tuple[Any, Any]]) -> _Sorted:
        return _Sorted(items)

    @staticmethod
    def _copy(table: Any) -> _Sorted:
        copy = _Sorted()
        copy.update(table)
        copy.order = table.order.copy()
        return copy

    @staticmethod
    def _set(table: Any, key: Any, value: Any) -> None:
        if key not in table:
            order = table.order
            if order and key < order[-1]:
                insort(order, key)
            else:
                order.append(key)
        table[key] = value

    @staticmethod
    def _delete(table: Any, key: Any) -> None:
        del table[key]
        order = table.order
        del order[bisect_left(order, key)]
