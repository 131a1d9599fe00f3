"""The nullifier set: which resources were consumed.

In a node every nullifier has a key of its own (`execution.nullifier_key`), so that transactions with different ones
need not know of each other; this is the same as a value.

Source: nspec v0.2.0, "Nullifier set".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from anoma.resource_machine.errors import NullifierExists


@dataclass(frozen=True, slots=True)
class NullifierSet:
    """Nullifiers, each at most once.

    Attributes:
        nullifiers: all of them.
    """

    nullifiers: frozenset[bytes] = frozenset()

    def insert(self, nullifiers: Iterable[bytes]) -> NullifierSet:
        """With more.

        Raises:
            NullifierExists: one is in it already.
        """
        grown = set(self.nullifiers)
        for nullifier in nullifiers:
            if nullifier in grown:
                raise NullifierExists(nullifier)
            grown.add(nullifier)
        return NullifierSet(frozenset(grown))

    def contains(self, nullifier: bytes) -> bool:
        """Whether the resource of this nullifier was consumed."""
        return nullifier in self.nullifiers
