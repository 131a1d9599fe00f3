"""Transactions: actions, and what is left over of them.

The Elixir node's ``delta`` is what the specification calls ``expectedBalance``: what the author says that the actions
leave over, nothing where it is to be executed. Its proof is worked out again (`proving`).

Source: nspec v0.2.0, "Transaction", "Delta proof"; Anoma's Elixir node, ``transaction.ex``. Where that is less strict:

* It accepts an action that has enough proofs, but none for one of its commitments or nullifiers (two for another one
  instead): that resource's logic is not asked and its quantity not counted. Here every tag has a proof.
* It counts a resource twice that comes with two proofs in two forms that jam alike (``9`` and ``<<9>>``, a label with
  and without a zero at its end): more can be created than is consumed. Here a resource counts once for its tag.
* It does not look at delta proofs and deletion criteria that it does not know. Here they are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from anoma.nock.noun import NIL, Cell, Noun, nock_list
from anoma.resource_machine.action import Action
from anoma.resource_machine.delta import DELTA_CONVERSION, ZERO, Delta
from anoma.resource_machine.errors import DeltaMismatch, RepeatedCommitment, RepeatedNullifier, Unbalanced
from anoma.resource_machine.logic import tags_of
from anoma.resource_machine.nouns import NounField, elements_of, parts_of
from anoma.resource_machine.proving import DEFAULT_RULES, Rules, check_delta_proof
from anoma.resource_machine.resource import Resource
from erlang_bridge.etf.structs import struct


@struct("Elixir.Anoma.TransparentResource.Transaction")
@dataclass(frozen=True, slots=True)
class Transaction:
    """A change of the state; an intent, as long as it is not balanced.

    Attributes:
        roots: of the commitment tree, under which the consumed resources are that are not ephemeral.
        actions: what it does.
        delta: what they leave over: kind -> created minus consumed.
        delta_proof: empty.
    """

    roots: frozenset[bytes] = frozenset()
    actions: frozenset[Action] = frozenset()
    delta: Annotated[Delta, DELTA_CONVERSION] = ZERO
    delta_proof: NounField = b""

    # -- what is in it ------------------------------------------------------------------------

    def sorted_actions(self) -> list[Action]:
        """Its actions, in the order of the Elixir structs as terms."""
        return sorted(self.actions, key=Action.order_key)

    def commitments(self) -> frozenset[bytes]:
        """Of the resources that it creates."""
        return frozenset(tag for action in self.actions for tag in action.commitments)

    def nullifiers(self) -> frozenset[bytes]:
        """Of the resources that it consumes."""
        return frozenset(tag for action in self.actions for tag in action.nullifiers)

    def created(self) -> dict[bytes, Resource]:
        """Commitment -> resource, as the logic proofs say."""
        return {tag: resource for action in self.sorted_actions() for tag, resource in action.created().items()}

    def consumed(self) -> dict[bytes, Resource]:
        """Nullifier -> resource, as the logic proofs say."""
        return {tag: resource for action in self.sorted_actions() for tag, resource in action.consumed().items()}

    def actions_delta(self) -> Delta:
        """What the actions leave over, worked out from their resources."""
        total = ZERO
        for action in self.actions:
            total += action.delta
        return total

    @property
    def expected_balance(self) -> Delta:
        """The specification's name for `delta`."""
        return self.delta

    # -- composition --------------------------------------------------------------------------

    @classmethod
    def of(cls, *actions: Action, roots: frozenset[bytes] = frozenset()) -> Transaction:
        """The transaction of some actions, which states their delta."""
        made = cls(roots, frozenset(actions))
        return cls(roots, made.actions, made.actions_delta())

    def compose(self, other: Transaction) -> Transaction:
        """Both in one: their roots and actions, and the sum of their deltas, with a trivial proof.

        Raises:
            TypeError: the other one is no transaction.
        """
        if not isinstance(other, Transaction):
            raise TypeError(f"a Transaction can be composed with another, not with a {type(other).__name__}")
        return Transaction(self.roots | other.roots, self.actions | other.actions, self.delta + other.delta)

    def is_balanced(self) -> bool:
        """Whether it says that nothing is left over."""
        return not self.delta

    # -- verification -------------------------------------------------------------------------

    def verify(self, rules: Rules = DEFAULT_RULES) -> None:
        """Check all that does not depend on the state, and that it is balanced: it may be executed then.

        Raises:
            InvalidTransaction: it is not right, and why; the first fault in the order of the Elixir node's checks.
        """
        self._verify(rules, balanced=True)

    def verify_intent(self, rules: Rules = DEFAULT_RULES) -> None:
        """Check the same but for the balance: it may be composed with others.

        Raises:
            InvalidTransaction: it is not right, and why.
        """
        self._verify(rules, balanced=False)

    def _verify(self, rules: Rules, balanced: bool) -> None:
        actions = self.sorted_actions()
        self._check_distinct(actions)
        for action in actions:
            action.verify_correspondence()
        for action in actions:
            for datum in action.app_data:
                _ = datum.criterion
        self._check_delta()
        if balanced and self.delta:
            raise Unbalanced(f"the transaction is not balanced, it leaves over {self.delta.text()}")
        for action in actions:
            for proof in action.sorted_proofs():
                proof.verify(rules)

    def _check_distinct(self, actions: list[Action]) -> None:
        commitment = _repeated(tag for action in actions for tag in sorted(action.commitments))
        if commitment is not None:
            raise RepeatedCommitment(commitment)
        nullifier = _repeated(tag for action in actions for tag in sorted(action.nullifiers))
        if nullifier is not None:
            raise RepeatedNullifier(nullifier)

    def _check_delta(self) -> None:
        found = self.actions_delta()
        if found != self.delta:
            raise DeltaMismatch(
                f"the transaction states the delta {self.delta.text()}, its actions have {found.text()}"
            )
        check_delta_proof(self.delta_proof)

    # -- as a noun ----------------------------------------------------------------------------

    def to_noun(self) -> Noun:
        """``[roots actions delta delta_proof]``."""
        return Cell(
            nock_list(sorted(self.roots), NIL),
            Cell(
                nock_list((action.to_noun() for action in self.sorted_actions()), NIL),
                Cell(self.delta.to_noun(NIL), self.delta_proof),
            ),
        )

    @classmethod
    def from_noun(cls, noun: Noun) -> Transaction:
        """The transaction of such a noun.

        Raises:
            NotATransaction: it is none.
        """
        roots, actions, delta, delta_proof = parts_of(noun, 4, "a transaction")
        return cls(
            roots=tags_of(roots, "roots"),
            actions=frozenset(
                Action.from_noun(element) for element in elements_of(actions, "the actions of a transaction")
            ),
            delta=Delta.from_noun(delta),
            delta_proof=delta_proof,
        )


def _repeated(tags: Iterator[bytes]) -> bytes | None:
    seen = set()
    for tag in tags:
        if tag in seen:
            return tag
        seen.add(tag)
    return None
