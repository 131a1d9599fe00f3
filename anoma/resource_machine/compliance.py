"""Compliance units: that resources are what their tags say, that consumed ones exist, and what the delta is.

A unit's instance is public; in a transparent machine so is the witness, and it is the trivial proof.

Source: nspec v0.2.0, "Compliance unit", "Compliance proof". Its fourth constraint has the delta as consumed minus
created; it is created minus consumed here, as everywhere (`delta`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from anoma.nock.noun import Cell, Noun, nock_list
from anoma.resource_machine import proving
from anoma.resource_machine.accumulator import MerklePath, verify_path
from anoma.resource_machine.delta import ZERO, Delta
from anoma.resource_machine.errors import DeltaMismatch, ProofRefused, ResourceMissing, WrongTag
from anoma.resource_machine.proving import DEFAULT_RULES, Attestation, Rules
from anoma.resource_machine.resource import Resource

COMPLIANCE_KEY: Final = proving.predicate_key(b"anoma transparent compliance")
"""The verifying key of the one compliance predicate of this machine."""


@dataclass(frozen=True, slots=True)
class Consumed:
    """A consumed resource as the prover knows it.

    Attributes:
        resource: the resource.
        path: from its commitment to a root; None where it is ephemeral, or the state itself is asked whether it exists.
    """

    resource: Resource
    path: MerklePath | None = None


@dataclass(frozen=True, slots=True)
class ComplianceWitness:
    """What the prover knows.

    Attributes:
        consumed: with paths.
        created: the resources.
    """

    consumed: tuple[Consumed, ...] = ()
    created: tuple[Resource, ...] = ()

    @property
    def delta(self) -> Delta:
        """Created minus consumed."""
        total = ZERO
        for resource in self.created:
            total += resource.delta
        for one in self.consumed:
            total -= one.resource.delta
        return total


@dataclass(frozen=True, slots=True)
class ConsumedInstance:
    """What is public of a consumed resource.

    Attributes:
        nullifier: of it.
        root: of the commitment tree that it is under.
        logic: the verifying key of its logic; the specification's ``logicVKOuter``.
    """

    nullifier: bytes
    root: bytes
    logic: bytes


@dataclass(frozen=True, slots=True)
class CreatedInstance:
    """What is public of a created resource.

    Attributes:
        commitment: of it.
        logic: the verifying key of its logic.
    """

    commitment: bytes
    logic: bytes


@dataclass(frozen=True, slots=True)
class ComplianceInstance:
    """What a compliance proof is about.

    Attributes:
        consumed: in the order of the witness.
        created: in the order of the witness.
        unit_delta: created minus consumed.
    """

    consumed: tuple[ConsumedInstance, ...]
    created: tuple[CreatedInstance, ...]
    unit_delta: Delta

    def to_noun(self) -> Noun:
        """``[[[nullifier root logic] ...] [[commitment logic] ...] delta]``: what an attestation signs."""
        consumed = (Cell(one.nullifier, Cell(one.root, one.logic)) for one in self.consumed)
        created = (Cell(one.commitment, one.logic) for one in self.created)
        return Cell(nock_list(consumed), Cell(nock_list(created), self.unit_delta.to_noun()))


@dataclass(frozen=True, slots=True)
class ComplianceUnit:
    """Some of an action's resources, and the proof that they comply.

    Attributes:
        verifying_key: of the compliance predicate.
        instance: what is claimed.
        proof: the witness itself (trivial), or the word of somebody trusted.
    """

    verifying_key: bytes
    instance: ComplianceInstance
    proof: ComplianceWitness | Attestation

    @classmethod
    def create(cls, witness: ComplianceWitness, root: bytes) -> ComplianceUnit:
        """The unit of a witness, with a trivial proof.

        Args:
            witness: the resources.
            root: of the commitment tree under which the consumed ones are.
        """
        instance = ComplianceInstance(
            tuple(
                ConsumedInstance(one.resource.nullifier, root, proving.predicate_key(one.resource.logic))
                for one in witness.consumed
            ),
            tuple(CreatedInstance(one.commitment, proving.predicate_key(one.logic)) for one in witness.created),
            witness.delta,
        )
        return cls(COMPLIANCE_KEY, instance, witness)

    def created(self) -> tuple[bytes, ...]:
        """Commitments of the created resources."""
        return tuple(one.commitment for one in self.instance.created)

    def consumed(self) -> tuple[bytes, ...]:
        """Nullifiers of the consumed resources."""
        return tuple(one.nullifier for one in self.instance.consumed)

    @property
    def delta(self) -> Delta:
        """Created minus consumed, as the instance says."""
        return self.instance.unit_delta

    def verify(self, rules: Rules = DEFAULT_RULES) -> None:
        """Check the proof.

        Whether its roots are roots is a question to the state (`execution`).

        Raises:
            WrongTag: a resource has another tag than the instance says.
            ResourceMissing: a path does not lead from a consumed resource to its root.
            DeltaMismatch: the delta is another one.
            ProofRefused: other resources than the instance says, another predicate, or nobody's word who is trusted.
        """
        if self.verifying_key != COMPLIANCE_KEY:
            raise ProofRefused(
                f"a compliance unit is for the predicate {self.verifying_key.hex()}, expected {COMPLIANCE_KEY.hex()}"
            )
        proof = self.proof
        if isinstance(proof, Attestation):
            proving.check(proof, self.verifying_key, self.instance.to_noun, _nothing_to_evaluate, rules)
        else:
            _check_compliance(self.instance, proof)


def _nothing_to_evaluate() -> None:
    raise ProofRefused("a compliance proof by trusted delegation has no witness to evaluate")


def _check_compliance(instance: ComplianceInstance, witness: ComplianceWitness) -> None:
    counts = (len(instance.consumed), len(instance.created))
    if counts != (len(witness.consumed), len(witness.created)):
        raise ProofRefused(
            f"a compliance unit is about {counts[0]} consumed and {counts[1]} created resources, its witness has "
            f"{len(witness.consumed)} and {len(witness.created)}"
        )
    for public, known in zip(instance.consumed, witness.consumed, strict=True):
        resource = known.resource
        if resource.nullifier != public.nullifier:
            raise WrongTag(public.nullifier, resource.nullifier)
        _check_logic(resource, public.logic)
        commitment, path = resource.commitment, known.path
        if not (resource.ephemeral or path is None or verify_path(commitment, path, public.root)):
            raise ResourceMissing(commitment, f"is not under the root {public.root.hex()} by its path")
    for public_created, created in zip(instance.created, witness.created, strict=True):
        if created.commitment != public_created.commitment:
            raise WrongTag(public_created.commitment, created.commitment)
        _check_logic(created, public_created.logic)
    if witness.delta != instance.unit_delta:
        raise DeltaMismatch(
            f"a compliance unit states the delta {instance.unit_delta.text()}, its resources have "
            f"{witness.delta.text()}"
        )


def _check_logic(resource: Resource, key: bytes) -> None:
    expected = proving.predicate_key(resource.logic)
    if key != expected:
        raise ProofRefused(f"a compliance unit names the logic {key.hex()}, its resource has {expected.hex()}")
