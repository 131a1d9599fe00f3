"""Intents as the pool keeps them and the solver matches them.

An intent is what is not balanced yet: a transaction of the resource machine, or a `DumbIntent`. An `Order` is several
of them with something said about them: which are alternatives, which are lots of one another, and what each is worth.

Pure.

Source: nspec v0.2.0, "Intents"; Anoma's Elixir node, ``rm/intent.ex``. Orders are ours: a partial fill needs intents
that can be taken in part, and a resource machine's transaction cannot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from anoma.matching.problem import MAX_LOTS, Offer
from anoma.resource_machine.intent import DumbIntent
from anoma.resource_machine.transaction import Transaction
from engines.wire import Value, conversion_for

Unit: TypeAlias = Transaction | DumbIntent
"""What can be composed."""

MAX_CHOICES: Final = 1000
MAX_UNITS: Final = 10_000
"""Of all choices of an order."""


@dataclass(frozen=True, slots=True)
class Choice(Value):
    """One way to serve an order: some lots of it.

    Attributes:
        lots: intents with the same delta each. Lots are taken from the first one on. A single one that consumes and
            creates nothing stands for as many as `maximum` says.
        preference: what each lot is worth.
        minimum: of lots, if any are taken.
        maximum: of lots; None: all that are there.
    """

    lots: tuple[Unit, ...]
    preference: int = 1
    minimum: int = 1
    maximum: int | None = None

    def __post_init__(self) -> None:
        if not self.lots or len({type(lot) for lot in self.lots}) != 1:
            raise ValueError("expected one lot or more, all of the same kind of intent")
        if any(lot.delta != self.lots[0].delta for lot in self.lots):
            raise ValueError("expected lots with the same delta")
        if self.maximum is not None and self.maximum > len(self.lots) and not self.endless:
            raise ValueError(f"expected a maximum of at most {len(self.lots)}, the lots there are, got {self.maximum}")
        self.offer()

    @property
    def endless(self) -> bool:
        """Whether its one lot can be taken again and again."""
        return len(self.lots) == 1 and not nullifiers_of(self.lots[0]) and not commitments_of(self.lots[0])

    @property
    def most(self) -> int:
        return len(self.lots) if self.maximum is None else self.maximum

    def offer(self, group: int | None = None) -> Offer:
        """The problem that it is to the solver.

        Raises:
            ValueError: it is beyond what can be matched.
        """
        return Offer(
            self.lots[0].delta,
            frozenset().union(*map(nullifiers_of, self.lots)),
            frozenset().union(*map(commitments_of, self.lots)),
            self.preference,
            self.minimum,
            self.most,
            group,
        )

    def units(self, lots: int) -> tuple[Unit, ...]:
        """What so many lots of it are."""
        first = self.lots[0]
        if lots <= len(self.lots):
            return self.lots[:lots]
        if not isinstance(first, DumbIntent):
            return (first,)
        return (DumbIntent(first.value * lots),)


@dataclass(frozen=True, slots=True)
class Order(Value):
    """An intent that can be served in several ways, or in part.

    Attributes:
        choices: at most one of them is taken; the order in which they stand does not matter.
    """

    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.choices) <= MAX_CHOICES:
            raise ValueError(f"expected 1 to {MAX_CHOICES} choices, got {len(self.choices)}")
        units = sum(len(choice.lots) for choice in self.choices)
        if units > MAX_UNITS:
            raise ValueError(f"expected at most {MAX_UNITS} lots in all choices together, got {units}")


Intent: TypeAlias = Transaction | DumbIntent | Order


def choices_of(intent: Intent) -> tuple[Choice, ...]:
    """The ways to serve an intent; one that is no order is one of one lot."""
    return intent.choices if isinstance(intent, Order) else (Choice((intent,)),)


def units_of(intent: Intent) -> Iterator[Unit]:
    """All that can be composed of an intent."""
    if not isinstance(intent, Order):
        yield intent
        return
    for choice in intent.choices:
        yield from choice.lots


def nullifiers_of(intent: Intent) -> frozenset[bytes]:
    """Of all resources that it may consume."""
    if not isinstance(intent, Order):
        return intent.nullifiers()
    return frozenset().union(*(unit.nullifiers() for unit in units_of(intent)))


def commitments_of(intent: Intent) -> frozenset[bytes]:
    """Of all resources that it may create."""
    if not isinstance(intent, Order):
        return intent.commitments()
    return frozenset().union(*(unit.commitments() for unit in units_of(intent)))


def composition(units: tuple[Unit, ...]) -> Unit:
    """All of them in one.

    Raises:
        TypeError: they are not of the same kind.
    """
    row: list[Any] = list(units)
    # In pairs: each is copied a few times, and not once for every other.
    while len(row) > 1:
        pairs = [row[index].compose(row[index + 1]) for index in range(0, len(row) - 1, 2)]
        row = [*pairs, row[-1]] if len(row) % 2 else pairs
    composed: Unit = row[0]
    return composed


def after_execution(intent: Intent, nullifiers: frozenset[bytes], commitments: frozenset[bytes]) -> Intent | None:
    """What is left of an intent once these resources are consumed and created; None: nothing.

    A lot was executed if all of its resources are among them. Then its choice was taken, and the other lots of it are
    what is left. A lot of which only some are there cannot be executed any more.
    """
    if not isinstance(intent, Order):
        touched = _touched(intent, nullifiers, commitments)
        return None if touched else intent
    left = []
    for choice in intent.choices:
        untouched = tuple(lot for lot in choice.lots if not _touched(lot, nullifiers, commitments))
        gone = len(choice.lots) - len(untouched)
        if not gone:
            left.append(choice)
            continue
        executed = sum(1 for lot in choice.lots if _executed(lot, nullifiers, commitments))
        most = min(len(untouched), choice.most - executed)
        if executed:
            rest = replace(choice, lots=untouched, minimum=1, maximum=most) if most > 0 else None
            return None if rest is None else Order((rest,))
        if most >= choice.minimum:
            left.append(replace(choice, lots=untouched, maximum=most))
    return Order(tuple(left)) if left else None


def after_taking(intent: Intent, number: int, lots: int) -> Intent | None:
    """What is left of an intent when so many lots of one of its choices are taken; None: nothing."""
    choice = choices_of(intent)[number]
    most = choice.most - lots
    if most <= 0:
        return None
    rest = choice.lots if choice.endless else choice.lots[lots:]
    return Order((replace(choice, lots=rest, minimum=1, maximum=most),)) if rest else None


def _touched(unit: Unit, nullifiers: frozenset[bytes], commitments: frozenset[bytes]) -> bool:
    return not (unit.nullifiers().isdisjoint(nullifiers) and unit.commitments().isdisjoint(commitments))


def _executed(unit: Unit, nullifiers: frozenset[bytes], commitments: frozenset[bytes]) -> bool:
    return unit.nullifiers() <= nullifiers and unit.commitments() <= commitments


_CONVERSION: Final = conversion_for(Intent)


def intent_to_term(intent: Intent) -> Any:
    """An intent as a term, as it is kept."""
    assert _CONVERSION.to_term is not None
    return _CONVERSION.to_term(intent)


def intent_from_term(term: Any) -> Intent:
    """The intent that a term stands for.

    Raises:
        Mismatch: none.
    """
    assert _CONVERSION.from_term is not None
    intent: Intent = _CONVERSION.from_term(term)
    return intent


__all__ = [
    "MAX_LOTS",
    "Choice",
    "Intent",
    "Order",
    "Unit",
    "after_execution",
    "after_taking",
    "choices_of",
    "commitments_of",
    "composition",
    "intent_from_term",
    "intent_to_term",
    "nullifiers_of",
    "units_of",
]
