"""Actions: resources created and consumed in one context, with the proofs of their logics.

The specification's ``logicVerifierInputs`` are the `LogicProof`s here. Its compliance units can be had with
`Action.compliance_unit`; they are not part of the noun, in which the Elixir node has at most the word ``compliance``
for them.

Source: nspec v0.2.0, "Action"; Anoma's Elixir node, ``action.ex``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from anoma.nock.noun import NIL, Cell, Noun, atom_bytes, is_atom, nock_list
from anoma.resource_machine.blobs import APP_DATA_CONVERSION, AppDatum, in_order
from anoma.resource_machine.compliance import ComplianceUnit, ComplianceWitness, Consumed
from anoma.resource_machine.delta import ZERO, Delta
from anoma.resource_machine.errors import MissingProof, UnknownTag, WrongContext
from anoma.resource_machine.logic import LogicProof, set_key, tags_of
from anoma.resource_machine.nouns import (
    elements_of,
    no_noun,
    parts_of,
    term_key,
    tree_elements,
    tree_of,
)
from anoma.resource_machine.resource import Resource
from erlang_bridge.etf.structs import struct

_COMPLIANCE: Final = b"compliance"


@struct("Elixir.Anoma.TransparentResource.Action")
@dataclass(frozen=True, slots=True)
class Action:
    """What is created and consumed together.

    Attributes:
        commitments: of the resources that it creates.
        nullifiers: of the resources that it consumes.
        proofs: one for each of them, or more.
        app_data: blobs to store, in the order of their keys.
    """

    commitments: frozenset[bytes] = frozenset()
    nullifiers: frozenset[bytes] = frozenset()
    proofs: frozenset[LogicProof] = frozenset()
    app_data: Annotated[tuple[AppDatum, ...], APP_DATA_CONVERSION] = ()

    def created(self) -> dict[bytes, Resource]:
        """Commitment -> resource, as its proofs say. One resource counts once, however many proofs speak of it."""
        return {proof.self_tag.value: proof.resource for proof in self.proofs if not proof.self_tag.is_consumed}

    def consumed(self) -> dict[bytes, Resource]:
        """Nullifier -> resource, as its proofs say."""
        return {proof.self_tag.value: proof.resource for proof in self.proofs if proof.self_tag.is_consumed}

    @property
    def delta(self) -> Delta:
        """Created minus consumed."""
        total = ZERO
        for resource in self.created().values():
            total += resource.delta
        for resource in self.consumed().values():
            total -= resource.delta
        return total

    def sorted_proofs(self) -> list[LogicProof]:
        """Its proofs, in the order of the Elixir structs as terms."""
        return sorted(self.proofs, key=LogicProof.order_key)

    def verify_correspondence(self) -> None:
        """Check that its proofs are for its resources, for all of them, and made for this action.

        Raises:
            MissingProof, WrongTag, UnknownTag, WrongContext: they are not.
        """
        proven = {(proof.self_tag.is_consumed, proof.self_tag.value) for proof in self.proofs}
        tags = {(False, tag) for tag in self.commitments} | {(True, tag) for tag in self.nullifiers}
        missing = frozenset(tag for _, tag in tags - proven)
        if len(self.proofs) < len(tags):
            raise MissingProof(missing, len(self.proofs))
        for proof in self.sorted_proofs():
            proof.check_tag()
            tag = proof.self_tag
            list_name = "nullifiers" if tag.is_consumed else "commitments"
            if tag.value not in (self.nullifiers if tag.is_consumed else self.commitments):
                raise UnknownTag(tag.value, list_name)
            if proof.commitments != self.commitments:
                raise WrongContext(tag.value, "commitments")
            if proof.nullifiers != self.nullifiers:
                raise WrongContext(tag.value, "nullifiers")
        if missing:
            raise MissingProof(missing, len(self.proofs))

    def compliance_unit(self, root: bytes = b"") -> ComplianceUnit:
        """All of its resources as one compliance unit, with a trivial proof.

        Args:
            root: of the commitment tree, under which consumed resources are; no paths to them are stated.
        """
        consumed = tuple(Consumed(resource) for _, resource in sorted(self.consumed().items()))
        created = tuple(resource for _, resource in sorted(self.created().items()))
        return ComplianceUnit.create(ComplianceWitness(consumed, created), root)

    # -- as a noun ----------------------------------------------------------------------------

    def to_noun(self) -> Noun:
        """``[commitments nullifiers proofs app_data]``: three lists and a set.

        The Elixir node's ``to_noun`` makes no noun of an action with application data; its ``from_noun`` reads this.
        """
        return Cell(
            nock_list(sorted(self.commitments), NIL),
            Cell(
                nock_list(sorted(self.nullifiers), NIL),
                Cell(
                    nock_list((proof.to_noun() for proof in self.sorted_proofs()), NIL),
                    tree_of(datum.to_noun() for datum in self.app_data),
                ),
            ),
        )

    @classmethod
    def from_noun(cls, noun: Noun) -> Action:
        """The action of such a noun.

        Raises:
            NotATransaction: it is none.
        """
        commitments, nullifiers, proofs, app_data = parts_of(noun, 4, "an action")
        data = {
            datum.key: datum
            for datum in map(AppDatum.from_noun, tree_elements(app_data, "the application data of an action"))
        }
        return cls(
            commitments=tags_of(commitments, "commitments"),
            nullifiers=tags_of(nullifiers, "nullifiers"),
            proofs=_proofs_of(proofs),
            app_data=in_order(data.values()),
        )

    def order_key(self) -> tuple[object, ...]:
        """For `sorted`: the order of the Elixir structs as terms."""
        data = self.app_data
        return (
            (len(data), tuple(term_key(one.key) for one in data)),
            tuple((term_key(one.value), term_key(one.deletion)) for one in data),
            set_key(self.commitments),
            set_key(self.nullifiers),
            set_key(proof.order_key() for proof in self.proofs),
        )


def _proofs_of(noun: Noun) -> frozenset[LogicProof]:
    proofs = []
    for element in elements_of(noun, "the proofs of an action"):
        if not is_atom(element):
            proofs.append(LogicProof.from_noun(element))
        elif atom_bytes(element) != _COMPLIANCE:
            raise no_noun("a logic proof, or the word compliance", element)
    return frozenset(proofs)
