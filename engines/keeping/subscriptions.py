"""Who is told of the changes of which keys, as a value.

Pure: no processes, no clock.

Source: ours; the specification leaves open whom its storage engines notify.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from anoma.persistent_map import EMPTY, PersistentMap
from engines.messages import Address, EngineID

Wish = tuple[str, bool]
"""A key, and whether all keys that begin with it are meant."""


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """Who has subscribed to what.

    Attributes:
        of_wish: those who want to hear of a key or prefix, in the order in which they subscribed.
        of_subscriber: what each of them wants to hear of.
        lengths: how many prefixes there are of each length.
    """

    of_wish: PersistentMap[Wish, tuple[Address, ...]]
    of_subscriber: PersistentMap[Address, frozenset[Wish]]
    lengths: PersistentMap[int, int]

    def add(self, subscriber: Address, key: str, prefix: bool) -> Subscriptions:
        """With one more; twice is once."""
        wish = (key, prefix)
        wishes = self.of_subscriber.get(subscriber, frozenset())
        if wish in wishes:
            return self
        others = self.of_wish.get(wish, ())
        lengths = self.lengths
        if prefix and not others:
            lengths = lengths.put(len(key), lengths.get(len(key), 0) + 1)
        return Subscriptions(
            self.of_wish.put(wish, (*others, subscriber)), self.of_subscriber.put(subscriber, wishes | {wish}), lengths
        )

    def remove(self, subscriber: Address, key: str, prefix: bool) -> Subscriptions:
        """Without one; itself, where it is not there."""
        wish = (key, prefix)
        wishes = self.of_subscriber.get(subscriber, frozenset())
        if wish not in wishes:
            return self
        left = wishes - {wish}
        of_subscriber = self.of_subscriber.put(subscriber, left) if left else self.of_subscriber.without(subscriber)
        others = tuple(other for other in self.of_wish[wish] if other != subscriber)
        if others:
            return replace(self, of_wish=self.of_wish.put(wish, others), of_subscriber=of_subscriber)
        lengths = self.lengths
        if prefix:
            count = lengths[len(key)] - 1
            lengths = lengths.put(len(key), count) if count else lengths.without(len(key))
        return Subscriptions(self.of_wish.without(wish), of_subscriber, lengths)

    def forget(self, subscriber: Address) -> Subscriptions:
        """Without everything of one subscriber."""
        rest = self
        for key, prefix in self.of_subscriber.get(subscriber, frozenset()):
            rest = rest.remove(subscriber, key, prefix)
        return rest

    def targets(self, key: str) -> tuple[Address, ...]:
        """Whom a change of `key` concerns. Each is there once, whatever it has subscribed to."""
        found = dict.fromkeys(self.of_wish.get((key, False), ()))
        for length in sorted(self.lengths):
            if length <= len(key):
                found.update(dict.fromkeys(self.of_wish.get((key[:length], True), ())))
        return tuple(found)


NO_SUBSCRIPTIONS: Final = Subscriptions(EMPTY, EMPTY, EMPTY)


def can_be_watched(address: Address) -> bool:
    """Whether its end can be noticed: it is on this node, or on one of the cluster."""
    return not isinstance(address, EngineID) or address.node is None or "@" in address.node
