"""Logic proofs: that a resource's logic accepts what an action does.

The logic sees public inputs, ``[commitments nullifiers self_tag other_public]``, and private ones, ``[created
consumed other_private]``: all resources of the action, itself included. (In the specification the resource itself is
left out of the lists.) Nothing but the logic checks that the private resources belong to the public tags.

Source: nspec v0.2.0, "Resource logic proof"; Anoma's Elixir node, ``logic_proof.ex``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

from anoma.nock.errors import NockCrash, NockOutOfGas
from anoma.nock.evaluator import nock
from anoma.nock.noun import NIL, Cell, Noun, format_noun, nock_list
from anoma.resource_machine import proving
from anoma.resource_machine.errors import LogicRefused, WrongTag
from anoma.resource_machine.nouns import (
    NounField,
    atom_of,
    elements_of,
    is_zero,
    parts_of,
    term_key,
)
from anoma.resource_machine.proving import DEFAULT_RULES, Rules
from anoma.resource_machine.resource import TAG_CONVERSION, Resource, Tag
from erlang_bridge.etf.structs import struct

_SHOWN: Final = 60


@struct("Elixir.Anoma.TransparentResource.LogicProof")
@dataclass(frozen=True, slots=True)
class LogicProof:
    """The inputs of one resource's logic: in a transparent machine they are the proof.

    Attributes:
        resource: whose logic it is.
        self_tag: what the resource is known by in the action, which also says whether it is consumed.
        commitments: of all resources that the action creates.
        nullifiers: of all resources that it consumes.
        other_public: whatever the logic wants to know; the specification's ``applicationData``.
        committed_plaintexts: the resources that it creates.
        nullified_plaintexts: the resources that it consumes.
        other_private: whatever the logic wants to know; a signature, say.
    """

    resource: Resource
    self_tag: Annotated[Tag, TAG_CONVERSION]
    commitments: frozenset[bytes] = frozenset()
    nullifiers: frozenset[bytes] = frozenset()
    other_public: NounField = b""
    committed_plaintexts: frozenset[Resource] = frozenset()
    nullified_plaintexts: frozenset[Resource] = frozenset()
    other_private: NounField = b""

    def inputs(self) -> Cell:
        """``[public private]``: what the logic is given. Its lists are in the order of terms."""
        public = Cell(
            nock_list(sorted(self.commitments), NIL),
            Cell(nock_list(sorted(self.nullifiers), NIL), Cell(self.self_tag.value, self.other_public)),
        )
        private = Cell(
            _plaintexts_noun(self.committed_plaintexts),
            Cell(_plaintexts_noun(self.nullified_plaintexts), self.other_private),
        )
        return Cell(public, private)

    def check_tag(self) -> None:
        """Check that the resource has this commitment or nullifier.

        Raises:
            WrongTag: it has another one.
        """
        expected = self.resource.tag(self.self_tag.is_consumed)
        if expected != self.self_tag:
            raise WrongTag(self.self_tag.value, expected.value)

    def verify(self, rules: Rules = DEFAULT_RULES) -> None:
        """Ask the logic, or somebody who is trusted to have asked it.

        Raises:
            LogicRefused: it says no, crashes, or needs more gas than there is.
            ProofRefused: the word for it does not count.
        """
        proving.check(
            rules.attestations.get(self.self_tag.value),
            self.verifying_key(),
            self.inputs,
            lambda: self._evaluate(rules.gas),
            rules,
        )

    def verifying_key(self) -> bytes:
        """Of the logic: SHA-256 of it, jammed."""
        return proving.predicate_key(self.resource.logic)

    def _evaluate(self, gas: int) -> None:
        formula = Cell(9, Cell(2, Cell(10, Cell(Cell(6, Cell(1, self.inputs())), Cell(0, 1)))))
        tag = self.self_tag.value
        try:
            answer = nock(self.resource.logic, formula, gas=gas)
        except NockCrash as crash:
            raise LogicRefused(tag, f"crashes: {crash}") from None
        except NockOutOfGas:
            raise LogicRefused(tag, f"does not end within {gas} gas") from None
        if not is_zero(answer):
            raise LogicRefused(tag, f"says no: expected 0, got {format_noun(answer, _SHOWN)}")

    # -- as a noun ----------------------------------------------------------------------------

    def to_noun(self) -> Noun:
        """``[resource public private]``."""
        return Cell(self.resource.to_noun(), self.inputs())

    @classmethod
    def from_noun(cls, noun: Noun) -> LogicProof:
        """The logic proof of such a noun.

        Raises:
            NotATransaction: it is none.
        """
        resource, public, private = parts_of(noun, 3, "a logic proof")
        commitments, nullifiers, self_tag, other_public = parts_of(public, 4, "the public inputs of a logic")
        created, consumed, other_private = parts_of(private, 3, "the private inputs of a logic")
        return cls(
            resource=Resource.from_noun(resource),
            self_tag=Tag.from_noun(self_tag),
            commitments=tags_of(commitments, "commitments"),
            nullifiers=tags_of(nullifiers, "nullifiers"),
            other_public=other_public,
            committed_plaintexts=_plaintexts_of(created, "the created resources"),
            nullified_plaintexts=_plaintexts_of(consumed, "the consumed resources"),
            other_private=other_private,
        )

    def order_key(self) -> tuple[object, ...]:
        """For `sorted`: the order of the Elixir structs as terms."""
        return (
            set_key(resource.order_key() for resource in self.committed_plaintexts),
            set_key(self.commitments),
            set_key(resource.order_key() for resource in self.nullified_plaintexts),
            set_key(self.nullifiers),
            term_key(self.other_private),
            term_key(self.other_public),
            self.resource.order_key(),
            (self.self_tag.is_consumed, self.self_tag.value),
        )


def set_key(keys: Iterable[object]) -> tuple[int, tuple[object, ...]]:
    """The order of MapSets as terms: the smaller first, then their elements in order."""
    ordered = tuple(sorted(keys))  # type: ignore[type-var]  # keys of one class
    return (len(ordered), ordered)


def tags_of(noun: Noun, what: str) -> frozenset[bytes]:
    """A list of atoms as a set of bytes.

    Raises:
        NotATransaction: it is none.
    """
    return frozenset(atom_of(element, f"one of the {what}") for element in elements_of(noun, f"the {what}"))


def _plaintexts_noun(resources: frozenset[Resource]) -> Noun:
    return nock_list((one.to_noun() for one in sorted(resources, key=Resource.order_key)), NIL)


def _plaintexts_of(noun: Noun, what: str) -> frozenset[Resource]:
    return frozenset(Resource.from_noun(element) for element in elements_of(noun, what))
