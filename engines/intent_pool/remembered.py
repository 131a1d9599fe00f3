"""Which resources have been consumed and created, as far as an engine remembers.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from anoma.persistent_map import PersistentMap
from engines.intent_pool.intents import Intent, commitments_of, nullifiers_of

Tag = tuple[bool, bytes]
"""Whether it is a nullifier, and the nullifier or commitment."""


def tags_of(intent: Intent) -> list[Tag]:
    """All nullifiers and commitments of an intent."""
    return tags(nullifiers_of(intent), commitments_of(intent))


def tags(nullifiers: Iterable[bytes], commitments: Iterable[bytes]) -> list[Tag]:
    """In an order that does not depend on hashes."""
    return [(True, tag) for tag in sorted(nullifiers)] + [(False, tag) for tag in sorted(commitments)]


@dataclass(frozen=True, slots=True)
class Remembered:
    """A set of tags that forgets the oldest.

    Attributes:
        numbers: when each was heard of, counted.
        order: the same by that count.
        heard: how many have been heard of.
    """

    numbers: PersistentMap[Tag, int]
    order: PersistentMap[int, Tag]
    heard: int = 0

    def add(self, new: Iterable[Tag], most: int) -> Remembered:
        """With these, and no more than `most`."""
        numbers, order, heard = self.numbers, self.order, self.heard
        for tag in new:
            if tag in numbers:
                continue
            numbers, order, heard = numbers.put(tag, heard), order.put(heard, tag), heard + 1
            if len(numbers) > most:
                oldest = heard - len(numbers)
                numbers, order = numbers.without(order[oldest]), order.without(oldest)
        return Remembered(numbers, order, heard)

    def __contains__(self, tag: object) -> bool:
        return tag in self.numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def of(self, intent: Intent) -> tuple[frozenset[bytes], frozenset[bytes]]:
        """The nullifiers and the commitments of an intent that are in it."""
        if not self.numbers:
            return frozenset(), frozenset()
        return (
            frozenset(tag for tag in nullifiers_of(intent) if (True, tag) in self.numbers),
            frozenset(tag for tag in commitments_of(intent) if (False, tag) in self.numbers),
        )


NOTHING: Final = Remembered(PersistentMap(), PersistentMap())


Index = PersistentMap[Tag, tuple[Intent, ...]]
"""Nullifiers and commitments, and the intents that have them."""


def indexed(index: Index, intent: Intent) -> Index:
    """With an intent."""
    for tag in tags_of(intent):
        index = index.put(tag, (*index.get(tag, ()), intent))
    return index


def unindexed(index: Index, intent: Intent) -> Index:
    """Without an intent that is in it."""
    for tag in tags_of(intent):
        others = tuple(other for other in index[tag] if other != intent)
        index = index.put(tag, others) if others else index.without(tag)
    return index
