"""One time series as a value: a changed copy costs the logarithm of its length, and shares the rest.

A balanced search tree (by the sizes of the subtrees, so that no randomness is needed), in which whole ranges can be cut
out.

Pure.

Source: S. Adams, "Efficient sets - a balancing act", Journal of Functional Programming 3(4), 1993; the constants are
those that Y. Hirai and K. Yamamoto proved right in "Balancing weight-balanced trees", ibid. 21(3), 2011.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

Tree = tuple[int, int, Any, "Tree", "Tree"] | None
"""How many points, then one of them (time, value), the tree of what is before it, and the tree of what is after."""

Point = tuple[int, Any]

_DELTA: Final = 3
_GAMMA: Final = 2
_SHOWN: Final = 20


class Series:
    """Times, each once, with a value: immutable.

    Example:
        >>> series = Series().put(20, "b").put(10, "a").put(30, "c")
        >>> list(series.between(10, 20)), len(series), len(series.without(15, 30))
        ([(10, 'a'), (20, 'b')], 3, 1)
    """

    __slots__ = ("_tree",)

    def __init__(self, points: Iterable[Point] = ()) -> None:
        """Of points in any order; of two with the same time the later counts."""
        self._tree = _built(sorted(dict(points).items()))

    def put(self, time: int, value: Any) -> Series:
        """The series with that value at `time`, in place of what it had there."""
        return _series(_put(self._tree, time, value))

    def without(self, first: int, last: int) -> Series:
        """The series without the points from `first` to `last`, both included."""
        if first > last:
            return self
        before, _ = _split(self._tree, first - 1)
        _, after = _split(self._tree, last)
        return _series(_merge(before, after))

    def between(self, first: int, last: int) -> Iterator[Point]:
        """The points from `first` to `last`, both included, in order of time.

        The first costs the logarithm of the series' length, and each further one nothing that depends on it.
        """
        path: list[Any] = []
        tree = self._tree
        while True:
            while tree is not None:
                if tree[1] < first:
                    tree = tree[4]
                else:
                    path.append(tree)
                    tree = tree[3]
            if not path:
                return
            _, time, value, _, tree = path.pop()
            if time > last:
                return
            yield time, value

    def __contains__(self, time: object) -> bool:
        tree: Any = self._tree
        while tree is not None and tree[1] != time:
            tree = tree[3] if time < tree[1] else tree[4]
        return tree is not None

    def __len__(self) -> int:
        return _size(self._tree)

    def __iter__(self) -> Iterator[Point]:
        left: list[Any] = []
        tree = self._tree
        while left or tree is not None:
            while tree is not None:
                left.append(tree)
                tree = tree[3]
            _, time, value, _, tree = left.pop()
            yield time, value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and len(self) == len(other) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(time for time, _ in self))

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, islice(self, _SHOWN)))
        return f"Series([{shown}{', ...' if len(self) > _SHOWN else ''}])"


def _series(tree: Tree) -> Series:
    made = Series()
    made._tree = tree
    return made


def _size(tree: Tree) -> int:
    return 0 if tree is None else tree[0]


def _tree(time: int, value: Any, before: Tree, after: Tree) -> Tree:
    return (_size(before) + _size(after) + 1, time, value, before, after)


def _built(points: list[Point]) -> Tree:
    if not points:
        return None
    middle = len(points) // 2
    time, value = points[middle]
    return _tree(time, value, _built(points[:middle]), _built(points[middle + 1 :]))


def _heavier(one: int, other: int) -> bool:
    """Whether a tree of so many points is too large beside one of the other size."""
    return one + 1 > _DELTA * (other + 1)


def _balanced(time: int, value: Any, before: Tree, after: Tree) -> Tree:
    """The tree of the parts, of which one may have a point too many or too few."""
    if before is None and after is None:
        return (1, time, value, None, None)
    if after is not None and _heavier(after[0], _size(before)):
        _, after_time, after_value, inner, outer = after
        if inner is not None and _size(inner) + 1 >= _GAMMA * (_size(outer) + 1):
            _, inner_time, inner_value, left, right = inner
            return _tree(
                inner_time, inner_value, _tree(time, value, before, left), _tree(after_time, after_value, right, outer)
            )
        return _tree(after_time, after_value, _tree(time, value, before, inner), outer)
    if before is not None and _heavier(before[0], _size(after)):
        _, before_time, before_value, outer, inner = before
        if inner is not None and _size(inner) + 1 >= _GAMMA * (_size(outer) + 1):
            _, inner_time, inner_value, left, right = inner
            return _tree(
                inner_time,
                inner_value,
                _tree(before_time, before_value, outer, left),
                _tree(time, value, right, after),
            )
        return _tree(before_time, before_value, outer, _tree(time, value, inner, after))
    return _tree(time, value, before, after)


def _put(tree: Tree, time: int, value: Any) -> Tree:
    if tree is None:
        return (1, time, value, None, None)
    size, here, known, before, after = tree
    if time < here:
        return _balanced(here, known, _put(before, time, value), after)
    if time > here:
        return _balanced(here, known, before, _put(after, time, value))
    return (size, time, value, before, after)


def _linked(time: int, value: Any, before: Tree, after: Tree) -> Tree:
    """The tree of the parts, whatever their sizes."""
    if before is None:
        return _put(after, time, value)
    if after is None:
        return _put(before, time, value)
    if _heavier(after[0], before[0]):
        return _balanced(after[1], after[2], _linked(time, value, before, after[3]), after[4])
    if _heavier(before[0], after[0]):
        return _balanced(before[1], before[2], before[3], _linked(time, value, before[4], after))
    return _tree(time, value, before, after)


def _merge(before: Tree, after: Tree) -> Tree:
    """All points of both, of which the second's are later."""
    if before is None or after is None:
        return after if before is None else before
    (time, value), rest = _without_first(after)
    return _linked(time, value, before, rest)


def _without_first(tree: Any) -> tuple[Point, Tree]:
    _, time, value, before, after = tree
    if before is None:
        return (time, value), after
    first, rest = _without_first(before)
    return first, _balanced(time, value, rest, after)


def _split(tree: Tree, last: int) -> tuple[Tree, Tree]:
    """The points up to `last`, and those after it."""
    if tree is None:
        return None, None
    _, time, value, before, after = tree
    if time <= last:
        within, beyond = _split(after, last)
        return _linked(time, value, before, within), beyond
    within, beyond = _split(before, last)
    return within, _linked(time, value, beyond, after)
