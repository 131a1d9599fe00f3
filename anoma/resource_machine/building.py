"""Makes resources, actions and transactions: for tests, examples and demonstrations, and as a start for applications.

    >>> coin = lasting(b"coin", 5, nonce=1)
    >>> pay = transfer([coin], [lasting(b"coin", 5, nonce=2)])
    >>> pay.is_balanced()
    True

Nothing is random: who wants another resource with the same values gives another nonce.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from anoma.nock.noun import Cell, Noun
from anoma.resource_machine.action import Action
from anoma.resource_machine.blobs import AppDatum, DeletionCriterion, Forever, in_order
from anoma.resource_machine.logic import LogicProof
from anoma.resource_machine.resource import TRIVIAL_LOGIC, Resource
from anoma.resource_machine.transaction import Transaction

REFUSING_LOGIC: Final[Noun] = Cell(Cell(1, 1), Cell(0, 0))
"""A logic that says no to everything."""


def _nonce(number: int | bytes) -> bytes:
    return number if isinstance(number, bytes) else number.to_bytes(32, "big")


def lasting(label: bytes, quantity: int = 1, nonce: int | bytes = 0, logic: Noun = TRIVIAL_LOGIC) -> Resource:
    """A resource that must have been created before it is consumed.

    Args:
        label: tells kinds apart.
        quantity: of it.
        nonce: 32 bytes, or a number.
        logic: says when it may be created and consumed.
    """
    return Resource(label=label, logic=logic, quantity=quantity, nonce=_nonce(nonce))


def ephemeral(label: bytes, quantity: int = 1, nonce: int | bytes = 0, logic: Noun = TRIVIAL_LOGIC) -> Resource:
    """A resource that may be consumed without having been created: the other side of a first issue, or of a want."""
    return Resource(label=label, logic=logic, ephemeral=True, quantity=quantity, nonce=_nonce(nonce))


def blob(key: Noun, value: Noun, criterion: DeletionCriterion | None = None) -> AppDatum:
    """Application data to store, forever if nothing else is said."""
    return AppDatum(key, value, (criterion or Forever()).to_noun())


def action(
    consumed: Iterable[Resource] = (),
    created: Iterable[Resource] = (),
    app_data: Iterable[AppDatum] = (),
    *,
    other_public: Noun = b"",
    other_private: Noun = b"",
) -> Action:
    """An action with one logic proof for each resource.

    Args:
        consumed: resources.
        created: resources.
        app_data: blobs to store.
        other_public: for every logic.
        other_private: for every logic.
    """
    consumed, created = frozenset(consumed), frozenset(created)
    commitments = frozenset(resource.commitment for resource in created)
    nullifiers = frozenset(resource.nullifier for resource in consumed)
    sides = [(resource, True) for resource in consumed] + [(resource, False) for resource in created]
    proofs = frozenset(
        LogicProof(
            resource,
            resource.tag(is_consumed),
            commitments,
            nullifiers,
            other_public,
            created,
            consumed,
            other_private,
        )
        for resource, is_consumed in sides
    )
    return Action(commitments, nullifiers, proofs, in_order(app_data))


def transfer(
    consumed: Iterable[Resource],
    created: Iterable[Resource],
    roots: Iterable[bytes] = (),
    app_data: Iterable[AppDatum] = (),
) -> Transaction:
    """A transaction of one action. It states whatever delta that has: none, if as much is created as consumed.

    Args:
        consumed: resources.
        created: resources.
        roots: of the commitment tree, that show that the consumed ones exist. Without any the state itself is asked.
        app_data: blobs to store.
    """
    return Transaction.of(action(consumed, created, app_data), roots=frozenset(roots))


def mint(resource: Resource, nonce: int | bytes = 0) -> Transaction:
    """Create a resource out of nothing: an ephemeral one of its kind and quantity is consumed.

    Args:
        resource: to create.
        nonce: of the ephemeral one; another one for each time.
    """
    source = Resource(
        label=resource.label,
        logic=resource.logic,
        ephemeral=True,
        quantity=resource.quantity,
        data=resource.nonce,
        nonce=_nonce(nonce),
    )
    return transfer([source], [resource])


def intent(gives: Iterable[Resource], wants: Iterable[Resource], roots: Iterable[bytes] = ()) -> Transaction:
    """An unbalanced transaction: it consumes what its author gives and creates what the author wants."""
    return transfer(gives, wants, roots)


@dataclass(frozen=True, slots=True)
class Offer:
    """One side of a swap.

    Attributes:
        gives: what is consumed.
        wants: what is created.
    """

    gives: Resource
    wants: Resource

    def to_intent(self, roots: Iterable[bytes] = ()) -> Transaction:
        """As an intent."""
        return intent([self.gives], [self.wants], roots)


def swap(offers: Sequence[Offer], roots: Iterable[bytes] = ()) -> Transaction:
    """The composition of the intents of some offers: balanced, if what is given is what is wanted."""
    roots = frozenset(roots)
    composed = Transaction()
    for offer in offers:
        composed = composed.compose(offer.to_intent(roots))
    return composed
