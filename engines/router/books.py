"""What is on its way to another node, and what has come from it.

Pure values; each change gives a new one, and costs the same, however much there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from anoma.persistent_map import PersistentMap

WINDOW: Final = 4096
"""Numbers below the highest that is known for which it is known whether they have come."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that the other node has not taken yet.

    Attributes:
        payload: its bytes, before they are encrypted.
        until: when it is of no use any more, in seconds since 1970-01-01 UTC.
        reliable: whether it is kept until the other node says that it came.
        internal: between the Routers, and for this session only.
    """

    payload: bytes
    until: float
    reliable: bool
    internal: bool = False


@dataclass(frozen=True, slots=True)
class Outbox:
    """Messages in the order of their numbers, which are never used twice.

    Attributes:
        items: by number.
        next_seq: number of the next one.
        first: none waits below.
        position: highest that the present connection has been given.
        handed: highest that any connection has been given.
        size: of all payloads, in bytes.
    """

    items: PersistentMap[int, Waiting] = field(default_factory=PersistentMap)
    next_seq: int = 1
    first: int = 1
    position: int = 0
    handed: int = 0
    size: int = 0

    def __len__(self) -> int:
        return len(self.items)

    def add(self, waiting: Waiting) -> Outbox:
        """With one more, at the end."""
        return replace(
            self,
            items=self.items.put(self.next_seq, waiting),
            next_seq=self.next_seq + 1,
            size=self.size + len(waiting.payload),
        )

    def take(self, now: float) -> tuple[tuple[int, Waiting] | None, Outbox]:
        """The next one for the present connection, if there is one. Those that are of no use any more are left out."""
        position, box = self.position, self
        while position + 1 < self.next_seq:
            position += 1
            waiting = self.items.get(position)
            if waiting is None:
                continue
            if waiting.until <= now:
                box = box.without((position,))
                continue
            if not waiting.reliable:
                box = box.without((position,))
            return (position, waiting), replace(box, position=position, handed=max(self.handed, position))
        return None, replace(box, position=position)

    def without(self, seqs: Iterable[int]) -> Outbox:
        """Without some: they have come, or are of no use any more."""
        items, size = self.items, self.size
        for seq in seqs:
            waiting = items.get(seq)
            if waiting is not None:
                items = items.without(seq)
                size -= len(waiting.payload)
        return self if items is self.items else replace(self, items=items, size=size)

    def rewound(self, *, same_peer: bool) -> Outbox:
        """For a new connection: everything again that the other node has not said to have.

        Args:
            same_peer: it still knows what has come. Otherwise only what was given to no connection goes out: the rest
                may have come, and must not come twice.
        """
        gone = [
            seq
            for seq in range(self.first, self.next_seq)
            if (waiting := self.items.get(seq)) is not None
            and (waiting.internal or (seq <= self.handed and not same_peer))
        ]
        box = self.without(gone)
        first = self.first
        while first < self.next_seq and first not in box.items:
            first += 1
        return replace(box, first=first, position=first - 1)

    def swept(self, now: float) -> Outbox:
        """Without those that are of no use any more."""
        return self.without([seq for seq, waiting in self.items.items() if waiting.until <= now])


@dataclass(frozen=True, slots=True)
class Window:
    """Which messages have come.

    Attributes:
        highest: the highest number.
        bits: for each of the `WINDOW` numbers up to there, whether it has come; the lowest bit is that of `highest`.
    """

    highest: int = 0
    bits: int = 0

    def add(self, seq: int) -> Window | None:
        """With one more; None: it has come before, or may have."""
        ahead = seq - self.highest
        if ahead > 0:
            bits = (self.bits << ahead) & ((1 << WINDOW) - 1) if ahead < WINDOW else 0
            return Window(seq, bits | 1)
        if -ahead >= WINDOW or seq < 1 or self.bits >> -ahead & 1:
            return None
        return Window(self.highest, self.bits | 1 << -ahead)
