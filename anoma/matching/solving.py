"""From a problem to its matches: taken apart, optimised, cut into small matches, and checked.

Pure but for the time that the optimiser may take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final

from anoma.matching.components import Component, components
from anoma.matching.optimiser import Found, optimise
from anoma.matching.problem import Match, Offer, Outcome, Part, check, checked_problem, outcome_of
from anoma.matching.splitting import split

DEFAULT_TIME_LIMIT_S: Final = 10.0

_FEW: Final = 256
"""Combinations that are tried one by one."""


def solve(offers: Sequence[Offer], time_limit_s: float = DEFAULT_TIME_LIMIT_S, threads: int = 1) -> Outcome:
    """The best matches for offers, oldest first.

    An answer that is optimal is the best of all. Among equals the same is chosen each time; of offers that ask for the
    same the older ones are taken.

    Args:
        time_limit_s: for the optimiser. When it is over, the best answer so far is the outcome.
        threads: of the optimiser.

    Raises:
        ValueError: too many offers.

    Example:
        >>> swap = [Offer({"apple": -1, "pear": 1}), Offer({"pear": -1, "apple": 1}), Offer({"plum": 1})]
        >>> solve(swap)
        Outcome(matches=(Match(lots=((0, 1), (1, 1))),), preference=2, optimal=True, bound=2)
    """
    return outcome_of(solve_parts(offers, time_limit_s, threads))


def solve_parts(
    offers: Sequence[Offer], time_limit_s: float = DEFAULT_TIME_LIMIT_S, threads: int = 1
) -> Iterator[Part]:
    """The same, one independent part after the other, small ones first; arguments as for `solve`.

    What a part does not need of its share of the time, later ones have.
    """
    problem = checked_problem(offers)
    parts = components(problem)
    for number, component in enumerate(parts):
        found = _tried(component) or optimise(component, time_limit_s / (len(parts) - number), threads)
        time_limit_s -= found.took_s
        yield _part(problem, component, found)


def _tried(component: Component) -> Found | None:
    """The answer to a component so small that to try everything takes less time than to begin with the optimiser."""
    choices: list[tuple[int, ...]] = []
    size = 1
    for variable in component.variables:
        size *= variable.maximum - variable.minimum + 2
        if size > _FEW:
            return None
        choices.append((*range(variable.maximum, variable.minimum - 1, -1), 0))
    best = (0,) * len(choices)
    best_preference = -1
    for lots in product(*choices):
        preference = sum(variable.preference * count for variable, count in zip(component.variables, lots, strict=True))
        if preference > best_preference and _possible(component, lots):
            best, best_preference = lots, preference
    return Found(best, max(best_preference, 0), max(best_preference, 0), 0.0)


def _possible(component: Component, lots: tuple[int, ...]) -> bool:
    if any(sum(quantity * lots[number] for number, quantity in total.items()) for total in component.sums):
        return False
    return all(sum(1 for number in numbers if lots[number]) <= 1 for numbers in component.exclusive)


def _part(problem: tuple[Offer, ...], component: Component, found: Found) -> Part:
    chosen = sorted(
        share
        for variable, lots in zip(component.variables, found.lots, strict=True)
        if lots
        for share in variable.share(lots)
    )
    matches: tuple[Match, ...] = tuple(split(problem, chosen))
    size = sum(len(variable.offers) for variable in component.variables)
    return Part(matches, check(problem, matches), found.bound, size)
