"""Tries everything: the reference for small problems.

What Anoma's Elixir node does (``solver.ex``), which takes the first set of intents that balances; here it is the best.
The time doubles with every offer: near 20 it cannot be used any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anoma.matching.problem import Offer, Outcome, check, claims
from anoma.matching.splitting import split


def exhaustive(offers: Sequence[Offer]) -> Outcome:
    """The best answer to a problem: among equals, that which takes most of the oldest offers."""
    best: tuple[int, list[tuple[int, int]]] = (0, [])
    total: dict[Any, int] = {}
    chosen: list[tuple[int, int]] = []
    taken: dict[Any, int] = {}

    def take(position: int, lots: int) -> None:
        for kind, quantity in offers[position].delta.items():
            total[kind] = total.get(kind, 0) + quantity * lots
            if not total[kind]:
                del total[kind]

    def look(position: int, preference: int) -> None:
        nonlocal best
        if position == len(offers):
            if not total and (preference > best[0] or (preference == best[0] and not best[1])):
                best = (preference, list(chosen))
            return
        offer = offers[position]
        mine = claims(offer)
        if not any(claim in taken for claim in mine):
            for lots in range(offer.maximum, offer.minimum - 1, -1):
                take(position, lots)
                chosen.append((position, lots))
                taken.update(dict.fromkeys(mine, position))
                look(position + 1, preference + offer.preference * lots)
                for claim in mine:
                    del taken[claim]
                chosen.pop()
                take(position, -lots)
        look(position + 1, preference)

    look(0, 0)
    matches = tuple(sorted(split(offers, best[1]), key=lambda match: match.lots))
    return Outcome(matches, check(offers, matches), True, best[0])
