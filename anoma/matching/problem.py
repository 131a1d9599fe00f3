"""The problem of matching as a value: offers, and which of them together leave nothing over.

An offer changes how much there is of some kinds, as a resource machine's transaction does: its delta is created minus
consumed. A match is a set of offers whose deltas add up to nothing. Of all ways to choose, one with the greatest total
preference is wanted.

Source: ours; nspec v0.2.0, "Intents", says what a solver is for, and not how one finds matches.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

MAX_QUANTITY_BITS: Final = 4096
"""A quantity of an offer's delta has at most so many bits."""
MAX_LOTS: Final = 1 << 31
MAX_PREFERENCE: Final = 1 << 44
"""Of an offer, all of its lots together."""
MAX_OFFERS: Final = 1 << 16
"""Of a problem. With the two limits above the optimiser's sums stay within 64 bits."""

NOTHING: Final[Mapping[Any, int]] = {}


@dataclass(frozen=True, slots=True)
class Offer:
    """One intent, as far as matching is concerned.

    Attributes:
        delta: kind -> created minus consumed, for each lot. Entries that are 0 do not matter.
        nullifiers: of the resources that it consumes. No two offers that are chosen have one in common.
        commitments: of the resources that it creates; likewise.
        preference: how much it is worth to take a lot of it. What is worth less than nothing is taken where others
            gain more by it.
        minimum, maximum: how many lots may be taken, if any are: a partial fill takes fewer than the maximum.
        group: of the offers with the same group at most one is taken: "this, or else that". None: no group.

    Raises:
        ValueError: what is beyond the limits above, or makes no sense.
    """

    delta: Mapping[Any, int]
    nullifiers: frozenset[Hashable] = frozenset()
    commitments: frozenset[Hashable] = frozenset()
    preference: int = 1
    minimum: int = 1
    maximum: int = 1
    group: Hashable = None

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum <= MAX_LOTS:
            raise ValueError(
                f"expected 1 <= minimum <= maximum <= {MAX_LOTS} lots, got {self.minimum} and {self.maximum}"
            )
        if abs(self.preference) * self.maximum > MAX_PREFERENCE:
            raise ValueError(
                f"expected a preference, times the maximum of lots, between -{MAX_PREFERENCE} and {MAX_PREFERENCE}, "
                f"got {self.preference} times {self.maximum}"
            )
        for quantity in self.delta.values():
            if quantity.bit_length() > MAX_QUANTITY_BITS:
                raise ValueError(
                    f"expected quantities of at most {MAX_QUANTITY_BITS} bits, got one of {quantity.bit_length()}"
                )


@dataclass(frozen=True, slots=True)
class Match:
    """Offers that leave nothing over together.

    Attributes:
        lots: positions in the problem, rising, and how many lots of each.
    """

    lots: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a problem.

    Attributes:
        matches: no offer is in two of them. Each was checked with Python's integers.
        preference: of all of them together.
        optimal: nothing better is possible. Otherwise the time was up: the best that was found.
        bound: no answer has a greater preference than this.
    """

    matches: tuple[Match, ...] = ()
    preference: int = 0
    optimal: bool = True
    bound: int = 0


class WrongMatch(ValueError):
    """What was given as an answer is none."""


def checked_problem(offers: Iterable[Offer]) -> tuple[Offer, ...]:
    """The offers as a problem, oldest first.

    Raises:
        ValueError: too many.
    """
    problem = tuple(offers)
    if len(problem) > MAX_OFFERS:
        raise ValueError(f"expected at most {MAX_OFFERS} offers, got {len(problem)}")
    return problem


def left_over(offers: Sequence[Offer], lots: Iterable[tuple[int, int]]) -> dict[Any, int]:
    """What so many lots of these offers leave over: kind -> quantity, without those that are 0.

    Example:
        >>> left_over([Offer({"apple": -2, "pear": 1}), Offer({"apple": 1})], [(0, 1), (1, 2)])
        {'pear': 1}
    """
    total: dict[Any, int] = {}
    for position, count in lots:
        for kind, quantity in offers[position].delta.items():
            total[kind] = total.get(kind, 0) + quantity * count
    return {kind: quantity for kind, quantity in total.items() if quantity}


def check(offers: Sequence[Offer], matches: Iterable[Match]) -> int:
    """Check that matches can all be carried out: exactly, with Python's integers.

    Returns:
        Their total preference.

    Raises:
        WrongMatch: they cannot, and why.
    """
    seen: set[Hashable] = set()
    preference = 0
    for match in matches:
        rest = left_over(offers, match.lots)
        if rest:
            raise WrongMatch(f"a match leaves over {rest}")
        for position, count in match.lots:
            offer = offers[position]
            if not offer.minimum <= count <= offer.maximum:
                raise WrongMatch(f"offer {position} has {offer.minimum} to {offer.maximum} lots, taken are {count}")
            for claim in (("offer", position), *claims(offer)):
                if claim in seen:
                    raise WrongMatch(f"{claim} is taken twice")
                seen.add(claim)
            preference += offer.preference * count
    return preference


def claims(offer: Offer) -> list[Hashable]:
    """What no two offers that are taken may have in common."""
    found: list[Hashable] = [("nullifier", tag) for tag in offer.nullifiers]
    found += [("commitment", tag) for tag in offer.commitments]
    if offer.group is not None:
        found.append(("group", offer.group))
    return found


@dataclass(frozen=True, slots=True)
class Part:
    """The answer to an independent part of a problem.

    Attributes:
        matches: as of an `Outcome`.
        preference: of the matches.
        bound: no answer to this part has a greater one.
        offers: how many offers the part has.
    """

    matches: tuple[Match, ...]
    preference: int
    bound: int
    offers: int = 0


def outcome_of(parts: Iterable[Part]) -> Outcome:
    """The parts' answers as one."""
    matches: list[Match] = []
    preference = bound = 0
    for part in parts:
        matches += part.matches
        preference += part.preference
        bound += part.bound
    matches.sort(key=lambda match: match.lots)
    return Outcome(tuple(matches), preference, preference == bound, bound)
