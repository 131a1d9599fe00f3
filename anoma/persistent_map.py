"""Maps that share what they have in common: a changed copy costs the same, however large the map is.

For the states of engines, which are values: a turn makes the next state, and the one before stays as it was.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_BITS: Final = 4
_WIDTH: Final = 1 << _BITS
_MASK: Final = _WIDTH - 1
_EMPTY: Final = (None,) * _WIDTH
_DEEPEST: Final = 60
"""From here on the bits of a hash are used up, and keys that have them all in common share one leaf."""

_ABSENT: Final = object()


class _Leaf:
    """Keys whose hashes agree in the bits up to here, mostly one."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: tuple[tuple[Any, Any], ...]) -> None:
        self.pairs = pairs


class PersistentMap(Mapping[K, V], Generic[K, V]):
    """An immutable mapping with `put` and `without`. Its order is that of the hashes, which differs between runs.

    Example:
        >>> one = PersistentMap({"a": 1})
        >>> two = one.put("b", 2)
        >>> sorted(two), sorted(one), two.without("a") == {"b": 2}
        (['a', 'b'], ['a'], True)
    """

    __slots__ = ("_root", "_size")

    def __init__(self, items: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        self._root: Any = None
        self._size = 0
        for key, value in items.items() if isinstance(items, Mapping) else items:
            self._root, added = _put(self._root, 0, hash(key), key, value)
            self._size += added

    def put(self, key: K, value: V) -> PersistentMap[K, V]:
        """The map with `key` for `value`, in place of what it had."""
        root, added = _put(self._root, 0, hash(key), key, value)
        return _made(root, self._size + added)

    def without(self, key: K) -> PersistentMap[K, V]:
        """The map without `key`; itself, where it is not there."""
        root = _without(self._root, 0, hash(key), key)
        return self if root is self._root else _made(root, self._size - 1)

    def get(self, key: Any, default: Any = None) -> Any:
        code = hash(key)
        node = self._root
        while type(node) is tuple:
            node = node[code & _MASK]
            code >>= _BITS
        if node is not None:
            for known, value in node.pairs:
                if known == key:
                    return value
        return default

    def __getitem__(self, key: K) -> V:
        value = self.get(key, _ABSENT)
        if value is _ABSENT:
            raise KeyError(key)
        return value  # type: ignore[no-any-return]

    def __contains__(self, key: object) -> bool:
        return self.get(key, _ABSENT) is not _ABSENT

    def __iter__(self) -> Iterator[K]:
        left = [self._root]
        while left:
            node = left.pop()
            if type(node) is tuple:
                left.extend(part for part in node if part is not None)
            elif node is not None:
                for key, _ in node.pairs:
                    yield key

    def __len__(self) -> int:
        return self._size

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    def __repr__(self) -> str:
        return f"PersistentMap({dict(self)!r})"


EMPTY: Final[PersistentMap[Any, Any]] = PersistentMap()
"""The map without keys."""


def _made(root: Any, size: int) -> PersistentMap[Any, Any]:
    made: PersistentMap[Any, Any] = PersistentMap()
    made._root = root
    made._size = size
    return made


def _put(node: Any, depth: int, code: int, key: Any, value: Any) -> tuple[Any, int]:
    """The node with the pair in it, and how many keys more it has.

    Args:
        depth: bits of the hash that led here.
        code: the rest of them.
    """
    if node is None:
        return _Leaf(((key, value),)), 1
    if type(node) is tuple:
        slot = code & _MASK
        part, added = _put(node[slot], depth + _BITS, code >> _BITS, key, value)
        return (*node[:slot], part, *node[slot + 1 :]), added
    pairs = tuple(pair for pair in node.pairs if pair[0] != key)
    if len(pairs) < len(node.pairs) or depth >= _DEEPEST:
        return _Leaf((*pairs, (key, value))), len(pairs) + 1 - len(node.pairs)
    branch: Any = _EMPTY
    for known, item in pairs:
        branch, _ = _put(branch, depth, hash(known) >> depth, known, item)
    return _put(branch, depth, code, key, value)


def _without(node: Any, depth: int, code: int, key: Any) -> Any:
    if node is None:
        return None
    if type(node) is tuple:
        slot = code & _MASK
        part = _without(node[slot], depth + _BITS, code >> _BITS, key)
        if part is node[slot]:
            return node
        node = (*node[:slot], part, *node[slot + 1 :])
        rest = [other for other in node if other is not None]
        if not rest:
            return None
        # A lone leaf moves up, so that equal maps have equal shapes.
        return rest[0] if len(rest) == 1 and type(rest[0]) is _Leaf else node
    pairs = tuple(pair for pair in node.pairs if pair[0] != key)
    if len(pairs) == len(node.pairs):
        return node
    return _Leaf(pairs) if pairs else None
