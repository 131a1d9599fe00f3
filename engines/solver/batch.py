"""What the solver has solved: intents, and the matches among them, as values.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from anoma.matching.problem import Match, Offer
from anoma.resource_machine.errors import InvalidTransaction, StateRefusal
from anoma.resource_machine.execution import apply
from anoma.resource_machine.transaction import Transaction
from engines.intent_pool.intents import Intent, Unit, choices_of, composition
from engines.wire import Value


@dataclass(frozen=True, slots=True)
class Taken(Value):
    """How an intent is part of a match.

    Attributes:
        intent: its position in the batch.
        choice: which of its choices is taken, from 0.
        lots: how many lots of that.
    """

    intent: int
    choice: int = 0
    lots: int = 1


@dataclass(frozen=True, slots=True)
class Verified(Value):
    """A match, and whether it may be submitted.

    Attributes:
        taken: what it is made of.
        problem: why the resource machine refuses it; None: it does not.
        culprits: the intents, by position, that are wrong in themselves and can be part of no match.
    """

    taken: tuple[Taken, ...]
    problem: str | None = None
    culprits: tuple[int, ...] = ()


class Offers:
    """The problem that a batch of intents is.

    Attributes:
        offers: one for each choice of each intent.
    """

    def __init__(self, intents: Iterable[Intent]) -> None:
        self.offers: list[Offer] = []
        self._origin: list[tuple[int, int]] = []
        for _ in self.extend(intents):
            pass

    def extend(self, intents: Iterable[Intent]) -> Iterator[None]:
        """Add intents, one at a time: what takes long can be interrupted."""
        first = self._origin[-1][0] + 1 if self._origin else 0
        for position, intent in enumerate(intents, first):
            choices = choices_of(intent)
            group = position if len(choices) > 1 else None
            for number, choice in enumerate(choices):
                self.offers.append(choice.offer(group))
                self._origin.append((position, number))
            yield

    def taken(self, match: Match) -> tuple[Taken, ...]:
        """A match of the problem, in terms of the batch."""
        return tuple(Taken(*self._origin[offer], lots) for offer, lots in match.lots)


def units_taken(intents: Sequence[Intent], taken: Iterable[Taken]) -> list[tuple[Unit, ...]]:
    """What is to be composed, for each intent that is taken."""
    return [choices_of(intents[part.intent])[part.choice].units(part.lots) for part in taken]


def composed(intents: Sequence[Intent], taken: Iterable[Taken]) -> Unit:
    """A match in one.

    Raises:
        TypeError: the intents cannot be composed with each other.
    """
    return composition(tuple(unit for units in units_taken(intents, taken) for unit in units))


def verify(units: Sequence[tuple[Unit, ...]]) -> tuple[str | None, tuple[int, ...]]:
    """Whether units can be submitted together.

    Args:
        units: of each intent.

    Returns:
        Why they cannot, and which of the intents, by position, are to blame.
    """
    try:
        composition(tuple(unit for of_one in units for unit in of_one)).verify()
    except (InvalidTransaction, TypeError) as error:
        return str(error), tuple(number for number, of_one in enumerate(units) if any(map(_is_wrong, of_one)))
    return None, ()


def to_blame(units: Sequence[tuple[Unit, ...]], values_read: Iterable[tuple[Any, Any]]) -> tuple[int, ...]:
    """Which intents of a match that has failed the state does not allow: they consume what is gone, or is not there.

    Args:
        units: of each intent.
        values_read: keys and values, or `ABSENT`, that the transaction has read.

    Returns:
        Their positions; none, where it is not due to any of them alone.
    """
    values = dict(values_read)
    return tuple(number for number, of_one in enumerate(units) if any(_is_refused(unit, values) for unit in of_one))


def _is_refused(unit: Unit, values: dict[Any, Any]) -> bool:
    if not isinstance(unit, Transaction):
        return False
    try:
        apply(unit, values, 0)
    except StateRefusal:
        return True
    return False


def _is_wrong(unit: Unit) -> bool:
    if not isinstance(unit, Transaction):
        return False
    try:
        unit.verify_intent()
    except InvalidTransaction:
        return True
    return False
