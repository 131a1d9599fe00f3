"""The commitment tree: what was created, as one root, and paths that show it.

A Merkle tree of depth 32 that only grows; a subtree without leaves has a hash of its own for each height.
`CommitmentTree` is the whole tree. `Frontier` is as much of it as is needed to go on: at most 32 hashes, what a node
keeps as state; with the hashes of full subtrees at hand, wherever they are, it gives paths too.

Source: nspec v0.2.0, "Commitment accumulator". Hashes are SHA-256 with a first byte that tells leaves from nodes (as in
RFC 6962, 2.1), so that a node cannot pass for a commitment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Final

DEPTH: Final = 32
HASH_BYTES: Final = 32


def _leaf(commitment: bytes) -> bytes:
    return sha256(b"\0" + commitment).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


@cache
def _empty(height: int) -> bytes:
    """The hash of a subtree of this height that has no leaves."""
    return sha256(b"\2").digest() if height == 0 else _node(_empty(height - 1), _empty(height - 1))


@dataclass(frozen=True, slots=True)
class MerklePath:
    """The way from a commitment to the root.

    Attributes:
        position: of the leaf, from 0.
        siblings: the hash beside the way at each height, from the leaf up.
    """

    position: int
    siblings: tuple[bytes, ...]


def verify_path(commitment: bytes, path: MerklePath, root: bytes) -> bool:
    """Whether a path leads from a commitment to a root."""
    if len(path.siblings) != DEPTH or not 0 <= path.position < 1 << DEPTH:
        return False
    hashed = _leaf(commitment)
    for height, sibling in enumerate(path.siblings):
        hashed = _node(sibling, hashed) if path.position >> height & 1 else _node(hashed, sibling)
    return hashed == root


@dataclass(frozen=True, slots=True)
class Frontier:
    """A commitment tree without what lies behind: enough to add leaves and to know the root.

    Attributes:
        size: leaves.
        peaks: hashes of its full subtrees, the largest first: one for each bit of `size`.

    Raises:
        ValueError: not one hash for each bit.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= 1 << DEPTH or len(self.peaks) != self.size.bit_count():
            raise ValueError(f"a tree of {self.size} leaves has no {len(self.peaks)} full subtrees")

    def add(self, commitments: Iterable[bytes]) -> Frontier:
        """With more leaves.

        Raises:
            ValueError: the tree is full.
        """
        return self.grow(commitments)[0]

    def grow(self, commitments: Iterable[bytes]) -> tuple[Frontier, list[tuple[int, int, bytes]]]:
        """With more leaves, and what they complete.

        Returns:
            The frontier after it; and height, index at that height, and hash of each full subtree that is new, the
            leaves among them: what `path` asks for.

        Raises:
            ValueError: the tree is full.
        """
        peaks = list(self.peaks)
        size = self.size
        full = []
        for commitment in commitments:
            if size >= 1 << DEPTH:
                raise ValueError(f"the commitment tree is full: it has room for {1 << DEPTH} commitments")
            hashed = _leaf(commitment)
            height = 0
            full.append((0, size, hashed))
            while size >> height & 1:
                hashed = _node(peaks.pop(), hashed)
                height += 1
                full.append((height, size >> height, hashed))
            peaks.append(hashed)
            size += 1
        return Frontier(size, tuple(peaks)), full

    def path(self, position: int, full: Callable[[int, int], bytes]) -> MerklePath:
        """The path from a leaf to the root.

        Args:
            position: of the leaf.
            full: gives the hash of a full subtree, by its height and index, as `grow` has had it. Called once for each
                height at most.

        Raises:
            ValueError: there is no leaf.

        Example:
            >>> frontier, made = Frontier().grow([b"CM_one", b"CM_two", b"CM_three"])
            >>> known = {(height, index): hashed for height, index, hashed in made}
            >>> verify_path(b"CM_two", frontier.path(1, lambda *place: known[place]), frontier.root)
            True
        """
        if not 0 <= position < self.size:
            raise ValueError(f"a tree of {self.size} leaves has none at position {position}")
        peaks = {}
        done = 0
        waiting = iter(self.peaks)
        for height in range(DEPTH, -1, -1):
            if self.size >> height & 1:
                peaks[height, done >> height] = next(waiting)
                done += 1 << height

        def hash_at(height: int, index: int) -> bytes:
            if index << height >= self.size:
                return _empty(height)
            if (height, index) in peaks:
                return peaks[height, index]
            if (index + 1) << height <= self.size:
                return full(height, index)
            return _node(hash_at(height - 1, 2 * index), hash_at(height - 1, 2 * index + 1))

        return MerklePath(position, tuple(hash_at(height, (position >> height) ^ 1) for height in range(DEPTH)))

    @property
    def root(self) -> bytes:
        """The accumulated value."""
        waiting = list(self.peaks)
        hashed = _empty(0)
        if self.size >> DEPTH:
            return waiting[0]
        for height in range(DEPTH):
            hashed = _node(waiting.pop(), hashed) if self.size >> height & 1 else _node(hashed, _empty(height))
        return hashed

    def to_term(self) -> Any:
        """``{Size, [Hash]}``: what is stored."""
        return (self.size, list(self.peaks))

    @classmethod
    def from_term(cls, term: Any) -> Frontier:
        """The frontier of such a term.

        Raises:
            ValueError: it is none.
        """
        match term:
            case (int(size), list(peaks)) if all(isinstance(peak, bytes) and len(peak) == HASH_BYTES for peak in peaks):
                return cls(size, tuple(peaks))
        raise ValueError(f"expected the frontier of a commitment tree, {{Size, [Hash]}}, got {term!r:.80}")


class _Leaves:
    """What the versions of one tree share: they only ever add to it."""

    __slots__ = ("levels", "positions")

    def __init__(self) -> None:
        self.levels: list[list[bytes]] = [[]]  # hashes of full subtrees, by height
        self.positions: dict[bytes, int] = {}

    def add(self, commitment: bytes) -> None:
        self.positions.setdefault(commitment, len(self.levels[0]))
        self.levels[0].append(_leaf(commitment))
        height = 0
        while len(self.levels[height]) % 2 == 0:
            if height + 1 == len(self.levels):
                self.levels.append([])
            self.levels[height + 1].append(_node(*self.levels[height][-2:]))
            height += 1


class CommitmentTree:
    """The whole commitment tree, as a value: `add` gives another one, and this one stays.

    Versions share what they have in common. To add is one hash or two, on average; a path or a root takes 32.

    Example:
        >>> tree = CommitmentTree().add([b"CM_one", b"CM_two"])
        >>> verify_path(b"CM_two", tree.witness(b"CM_two"), tree.root)
        True
    """

    __slots__ = ("_leaves", "size")

    size: int
    _leaves: _Leaves

    def __init__(self) -> None:
        self.size = 0
        self._leaves = _Leaves()

    def add(self, commitments: Iterable[bytes]) -> CommitmentTree:
        """With more leaves.

        Raises:
            ValueError: the tree is full.
        """
        leaves = self._leaves
        if len(leaves.levels[0]) != self.size:
            leaves = self._split()
        for commitment in commitments:
            if len(leaves.levels[0]) >= 1 << DEPTH:
                raise ValueError(f"the commitment tree is full: it has room for {1 << DEPTH} commitments")
            leaves.add(commitment)
        grown = CommitmentTree.__new__(CommitmentTree)
        grown.size = len(leaves.levels[0])
        grown._leaves = leaves
        return grown

    def _split(self) -> _Leaves:
        """What this version has, for a successor beside the one that it has already."""
        leaves = _Leaves()
        leaves.levels = [hashes[: self.size >> height] for height, hashes in enumerate(self._leaves.levels)]
        leaves.positions = {leaf: place for leaf, place in self._leaves.positions.items() if place < self.size}
        return leaves

    def witness(self, commitment: bytes) -> MerklePath | None:
        """The path from a commitment to the root; None: it is not in the tree."""
        position = self._leaves.positions.get(commitment)
        if position is None or position >= self.size:
            return None
        return MerklePath(position, tuple(self._hash(height, (position >> height) ^ 1) for height in range(DEPTH)))

    @property
    def root(self) -> bytes:
        """The accumulated value."""
        return self._hash(DEPTH, 0)

    @property
    def frontier(self) -> Frontier:
        """As much of it as is needed to go on."""
        peaks = []
        done = 0
        for height in range(DEPTH, -1, -1):
            if self.size >> height & 1:
                peaks.append(self._leaves.levels[height][done >> height])
                done += 1 << height
        return Frontier(self.size, tuple(peaks))

    def _hash(self, height: int, index: int) -> bytes:
        first = index << height
        if first >= self.size:
            return _empty(height)
        if first + (1 << height) <= self.size:
            return self._leaves.levels[height][index]
        return _node(self._hash(height - 1, 2 * index), self._hash(height - 1, 2 * index + 1))
