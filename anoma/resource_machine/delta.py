"""Deltas: how much more of each kind of resource there is afterwards.

**The sign is created minus consumed**, as in the Elixir node and in the specification's "Compliance unit"; its
"Compliance proof" has it the other way round. A transaction is balanced when nothing is left over.

Source: nspec v0.2.0, "Resource Delta", "Delta hash": here the hash is the quantity under its kind itself, which is
additively homomorphic and tells kinds apart; Anoma's Elixir node, ``delta.ex``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from anoma.nock.noun import Cell, Noun, nock_list
from anoma.resource_machine.nouns import atom_of, elements_of, pair_of, signed, zigzag
from erlang_bridge.etf.conversions import Conversion, Mismatch
from erlang_bridge.terms import Map
from erlang_bridge.terms.immutable import Immutable, set_once

KIND_BYTES: Final = 32


class Delta(Mapping[bytes, int], Immutable):
    """Kind -> created minus consumed. Immutable and hashable.

    Sums have no entry for a kind of which nothing is left over. What was received may have such entries: then it is no
    sum of anything, and does not equal one.

    Args:
        entries: kind -> quantity.

    Raises:
        TypeError: kinds that are not bytes, or quantities that are not integers.

    Example:
        >>> Delta({b"a": 2}) - Delta({b"a": 2, b"b": 1})
        Delta({b'b': -1})
    """

    __slots__ = ("_entries",)

    _entries: dict[bytes, int]

    def __init__(self, entries: Mapping[bytes, int] = {}) -> None:
        own = dict(entries)
        for kind, quantity in own.items():
            if type(kind) is not bytes or type(quantity) is not int:
                raise TypeError(f"a delta maps bytes to integers, got {kind!r} to {quantity!r}")
        set_once(self, "_entries", own)

    def __getitem__(self, kind: bytes) -> int:
        return self._entries[kind]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __hash__(self) -> int:
        return hash(frozenset(self._entries.items()))

    def __add__(self, other: Delta) -> Delta:
        total = dict(self._entries)
        for kind, quantity in other.items():
            total[kind] = total.get(kind, 0) + quantity
        return Delta({kind: quantity for kind, quantity in total.items() if quantity})

    def __neg__(self) -> Delta:
        return Delta({kind: -quantity for kind, quantity in self._entries.items()})

    def __sub__(self, other: Delta) -> Delta:
        return self + -other

    def __repr__(self) -> str:
        return f"Delta({self._entries!r})"

    def __reduce__(self) -> tuple[type[Delta], tuple[dict[bytes, int]]]:
        return Delta, (dict(self._entries),)

    def __erlang_term__(self) -> Any:
        return Map(self._entries)

    def text(self) -> str:
        """For people: kinds in hexadecimal and signed quantities.

        Example:
            >>> Delta({b"\\x01": 2, b"\\x02": -1}).text()
            '+2 of 01, -1 of 02'
        """
        entries = (f"{quantity:+d} of {kind.hex() or 'the empty kind'}" for kind, quantity in sorted(self.items()))
        return ", ".join(entries) or "nothing"

    def to_noun(self, end: Noun = 0) -> Noun:
        """``[[kind quantity] ... end]``, in the order of kinds; quantities as `zigzag` numbers."""
        return nock_list((Cell(kind, zigzag(quantity)) for kind, quantity in sorted(self.items())), end)

    @classmethod
    def from_noun(cls, noun: Noun) -> Delta:
        """The delta of such a noun.

        Kinds have 32 bytes: the zeros that `jam` takes from the end of one come back. (The Elixir node leaves them off,
        and then refuses the transaction.)

        Raises:
            NotATransaction: it is none.
        """
        entries = {}
        for entry in elements_of(noun, "a delta"):
            kind, quantity = pair_of(entry, "an entry of a delta")
            entries[atom_of(kind, "a kind", KIND_BYTES)] = signed(quantity)
        return cls(entries)


ZERO: Final = Delta()
"""What a balanced transaction has."""


def _delta_of_term(term: Any) -> Delta:
    if isinstance(term, Delta):
        return term
    if isinstance(term, (dict, Map)):
        try:
            return Delta(dict(term.items()))
        except TypeError:
            pass
    raise Mismatch(f"should be a map from binaries to integers, got {term!r:.80}")


DELTA_CONVERSION: Final = Conversion(_delta_of_term, Delta.__erlang_term__, lambda value: isinstance(value, Delta))
"""A delta and the map that it is in Elixir."""
