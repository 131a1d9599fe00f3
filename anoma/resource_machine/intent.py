"""Intents: what can be put together until it is balanced.

`Intent` is what the intent pool and the solver need to know. `Transaction` is one: an unbalanced transaction says what
its author offers and wants. `DumbIntent` is a number, for tests.

Source: nspec v0.2.0, "Intents"; Anoma's Elixir node, ``rm/intent.ex``, ``rm/dumb_intent.ex``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, Self, runtime_checkable

from anoma.resource_machine.delta import ZERO, Delta
from anoma.resource_machine.errors import Unbalanced
from erlang_bridge.etf.structs import struct


@runtime_checkable
class Intent(Protocol):
    """What can be composed with others of its class. Immutable and hashable."""

    @property
    def delta(self) -> Delta:
        """Kind -> created minus consumed: what is left over. Composition adds it."""

    def compose(self, other: Self) -> Self:
        """Both in one.

        Raises:
            TypeError: the other one is of another class.
        """

    def is_balanced(self) -> bool:
        """Whether nothing is left over: necessary for `verify`, and cheap."""

    def verify(self) -> None:
        """Check that it is balanced and right in itself, so that it may be submitted.

        Raises:
            InvalidTransaction: it is not, and why.
        """

    def nullifiers(self) -> frozenset[bytes]:
        """Of the resources that it consumes."""

    def commitments(self) -> frozenset[bytes]:
        """Of the resources that it creates."""


@struct("Elixir.Anoma.RM.DumbIntent")
@dataclass(frozen=True, slots=True)
class DumbIntent:
    """A number: composing adds, 0 is balanced. It consumes and creates nothing.

    Attributes:
        value: any integer.

    Example:
        >>> DumbIntent(-3).compose(DumbIntent(3)).is_balanced()
        True
    """

    value: int = 0

    @property
    def delta(self) -> Delta:
        """The number, under `DUMB_KIND`."""
        return Delta({DUMB_KIND: self.value}) if self.value else ZERO

    def compose(self, other: DumbIntent) -> DumbIntent:
        """The sum.

        Raises:
            TypeError: the other one is no DumbIntent.
        """
        if not isinstance(other, DumbIntent):
            raise TypeError(f"a DumbIntent can be composed with another, not with a {type(other).__name__}")
        return DumbIntent(self.value + other.value)

    def is_balanced(self) -> bool:
        return self.value == 0

    def verify(self) -> None:
        """Check that the number is 0.

        Raises:
            Unbalanced: it is not.
        """
        if self.value:
            raise Unbalanced(f"a DumbIntent is balanced at 0, this one is {self.value}")

    def nullifiers(self) -> frozenset[bytes]:
        return frozenset()

    def commitments(self) -> frozenset[bytes]:
        return frozenset()


DUMB_KIND: Final = b"dumb"
"""The kind of which DumbIntents have more or less."""
