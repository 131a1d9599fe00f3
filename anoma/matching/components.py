"""Takes a problem apart before anything is optimised: what can never be matched goes, what is independent is separate.

A kind that is only offered, or only wanted, balances with nobody; nor does a quantity that is greater than all of the
other side's together, or has a divisor missing that all others share. Whoever cannot be matched is out, which may leave
others without a counterpart. What is left falls into components that have no kind, resource or group in common.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any, Final

from anoma.matching.problem import Offer, claims

_DIVISOR_ROUNDS: Final = 8
"""How often the divisors are looked at again after offers went out. It only saves the optimiser work."""


@dataclass(frozen=True, slots=True)
class Variable:
    """How many lots are taken of one offer, or of several that are alike.

    Attributes:
        offers: positions in the problem, oldest first. Lots are given to them in this order.
        minimum: of lots, if any are taken.
        limits: how many lots each of the offers can have.
        preference: of each lot.
    """

    offers: tuple[int, ...]
    minimum: int
    limits: tuple[int, ...]
    preference: int

    @property
    def maximum(self) -> int:
        return sum(self.limits)

    def share(self, lots: int) -> list[tuple[int, int]]:
        """Which offers have so many lots between them: older ones first."""
        given = []
        for position, limit in zip(self.offers, self.limits, strict=True):
            if not lots:
                break
            given.append((position, min(lots, limit)))
            lots -= given[-1][1]
        return given


@dataclass(frozen=True, slots=True)
class Component:
    """An independent part of a problem: find whole numbers for the variables.

    Attributes:
        sums: for each kind, variable -> quantity in each lot. Each sum has to be 0.
        exclusive: of each of these sets of variables at most one is not 0.
    """

    variables: tuple[Variable, ...]
    sums: tuple[dict[int, int], ...]
    exclusive: tuple[tuple[int, ...], ...]


def components(offers: Sequence[Offer]) -> list[Component]:
    """The independent parts of a problem that can have matches, those with the fewest variables first."""
    limits = possible_lots(offers)
    contested = _contested(offers, limits)
    pieces = _pieces(offers, limits, contested)
    found = [_component(offers, limits, contested, piece) for piece in pieces]
    return sorted(found, key=lambda component: (len(component.variables), component.variables[0].offers))


# -- who can be matched -----------------------------------------------------------------------


def possible_lots(offers: Sequence[Offer]) -> dict[int, int]:
    """The offers that may have a match, and the greatest number of lots of each that may be in one.

    No offer is left out, and no number too small, with which there is a match.
    """
    limits = {position: offer.maximum for position, offer in enumerate(offers)}
    users: dict[Any, dict[int, int]] = {}
    for position, offer in enumerate(offers):
        for kind, quantity in offer.delta.items():
            if quantity:
                users.setdefault(kind, {})[position] = quantity
    _balance(offers, limits, users, set(users))
    for _ in range(_DIVISOR_ROUNDS):
        indivisible = {position for of_kind in users.values() for position in _indivisible(limits, of_kind)}
        if not indivisible:
            break
        changed: set[Any] = set()
        for position in indivisible:
            _leave_out(offers, limits, users, changed, position)
        _balance(offers, limits, users, changed)
    return limits


def _leave_out(
    offers: Sequence[Offer], limits: dict[int, int], users: dict[Any, dict[int, int]], changed: set[Any], position: int
) -> None:
    del limits[position]
    for kind, quantity in offers[position].delta.items():
        if quantity:
            del users[kind][position]
            changed.add(kind)


def _balance(
    offers: Sequence[Offer], limits: dict[int, int], users: dict[Any, dict[int, int]], changed: set[Any]
) -> None:
    """Nobody takes more of a kind than all others can give; goes on until nothing changes any more."""
    # Each round may lower numbers by little, and there can be many rounds: this is enough for what can never match.
    for _ in range(100):
        if not changed:
            return
        kinds, changed = changed, set()
        for kind in kinds:
            of_kind = users[kind]
            given = sum(quantity * limits[position] for position, quantity in of_kind.items() if quantity > 0)
            wanted = sum(-quantity * limits[position] for position, quantity in of_kind.items() if quantity < 0)
            for position, quantity in list(of_kind.items()):
                most = wanted // quantity if quantity > 0 else given // -quantity
                if most >= limits[position]:
                    continue
                if most < offers[position].minimum:
                    _leave_out(offers, limits, users, changed, position)
                else:
                    limits[position] = most
                    changed.update(other for other, amount in offers[position].delta.items() if amount)


def _indivisible(limits: dict[int, int], of_kind: dict[int, int]) -> list[int]:
    """The offers of a kind of which no possible number of lots is divisible by what all others have in common."""
    positions = list(of_kind)
    after = [0] * (len(positions) + 1)
    for index in range(len(positions) - 1, -1, -1):
        after[index] = gcd(after[index + 1], of_kind[positions[index]])
    found = []
    before = 0
    for index, position in enumerate(positions):
        quantity = of_kind[position]
        common = gcd(before, after[index + 1])
        if common and common // gcd(common, quantity) > limits[position]:
            found.append(position)
        before = gcd(before, quantity)
    return found


# -- what belongs together --------------------------------------------------------------------


def _contested(offers: Sequence[Offer], limits: dict[int, int]) -> dict[Hashable, list[int]]:
    """Groups and resources that more than one offer has, and which."""
    holders: dict[Hashable, list[int]] = {}
    for position in limits:
        for claim in claims(offers[position]):
            holders.setdefault(claim, []).append(position)
    return {claim: positions for claim, positions in holders.items() if len(positions) > 1}


def _pieces(
    offers: Sequence[Offer], limits: dict[int, int], contested: dict[Hashable, list[int]]
) -> list[tuple[list[int], list[Hashable]]]:
    """Offers that have kinds or claims in common, directly or through others; with the claims that concern them."""
    leader = {position: position for position in limits}

    def find(position: int) -> int:
        while leader[position] != position:
            leader[position] = leader[leader[position]]
            position = leader[position]
        return position

    first: dict[Any, int] = {}
    for position in limits:
        for kind, quantity in offers[position].delta.items():
            if quantity:
                leader[find(position)] = find(first.setdefault(kind, position))
    for positions in contested.values():
        for position in positions:
            leader[find(position)] = find(positions[0])
    pieces: dict[int, tuple[list[int], list[Hashable]]] = {}
    for position in limits:
        pieces.setdefault(find(position), ([], []))[0].append(position)
    for claim, positions in contested.items():
        pieces[find(positions[0])][1].append(claim)
    return list(pieces.values())


def _component(
    offers: Sequence[Offer],
    limits: dict[int, int],
    contested: dict[Hashable, list[int]],
    piece: tuple[list[int], list[Hashable]],
) -> Component:
    positions, own_claims = piece
    bound = {position for claim in own_claims for position in contested[claim]}
    alike: dict[Hashable, list[int]] = {}
    for position in positions:
        offer = offers[position]
        # What is alike but for its age is one variable: to the optimiser it makes no difference which are taken.
        key: Hashable = ("own", position)
        if position not in bound and offer.minimum == 1:
            delta = frozenset((kind, quantity) for kind, quantity in offer.delta.items() if quantity)
            key = (delta, offer.preference)
        alike.setdefault(key, []).append(position)
    variables = []
    sums: dict[Any, dict[int, int]] = {}
    number_of = {}
    for number, members in enumerate(alike.values()):
        offer = offers[members[0]]
        variables.append(
            Variable(tuple(members), offer.minimum, tuple(limits[member] for member in members), offer.preference)
        )
        number_of[members[0]] = number
        for kind, quantity in offer.delta.items():
            if quantity:
                sums.setdefault(kind, {})[number] = quantity
    exclusive = {tuple(number_of[position] for position in contested[claim]) for claim in own_claims}
    return Component(tuple(variables), tuple(sums.values()), tuple(sorted(exclusive)))
