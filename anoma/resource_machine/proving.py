"""Proof kinds: how it is shown that a predicate holds for an instance.

==========================  =======================  =========================================================
kind                        proof                    what verifying it is
==========================  =======================  =========================================================
trivial                     nothing                  the predicate is evaluated again
trusted delegation          `Attestation`            a signature of somebody who is trusted to have evaluated it
succinct                    not in this machine      refused: there is no circuit for a Nock logic
==========================  =======================  =========================================================

For logics and compliance, trivial proofs and trusted delegation are accepted. A transparent machine always works out
the delta itself, from the resources that it sees: a delta proof is trivial, and composing two gives a trivial one.

Source: nspec v0.2.0, "Proving system definition", "Common proving scheme types", "Delta Proving System".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from anoma.crypto import primitives
from anoma.crypto.keys import KeyKind, KeyRefused, PrivateKey, PublicKey, Signature
from anoma.nock.jam import jam
from anoma.nock.noun import Cell, Noun, format_noun, is_atom
from anoma.resource_machine.errors import NotATransaction, ProofRefused
from anoma.resource_machine.nouns import atom_of, is_zero, parts_of

TRUSTED_DELEGATION: Final = b"trusted_delegation"
SUCCINCT: Final = b"succinct"
DEFAULT_GAS: Final = 1_000_000

_DOMAIN: Final = b"anoma resource machine, trusted delegation: "


@dataclass(frozen=True, slots=True)
class Attestation:
    """A proof of trusted delegation: `signer` says that the predicate holds.

    Attributes:
        signer: the public key, for Ed25519.
        signature: of `statement`.
    """

    signer: PublicKey
    signature: Signature

    def to_noun(self) -> Noun:
        """``["trusted_delegation" signer signature]``."""
        return Cell(TRUSTED_DELEGATION, Cell(self.signer.data, self.signature.data))


@dataclass(frozen=True, slots=True)
class Rules:
    """What a machine accepts.

    Attributes:
        gas: that one evaluation of a logic may use.
        trusted: keys of those whose word counts instead of an evaluation; as a rule nobody's.
        attestations: tag -> what somebody trusted says of the logic of that resource.
    """

    gas: int = DEFAULT_GAS
    trusted: frozenset[PublicKey] = frozenset()
    attestations: Mapping[bytes, Attestation] = field(default_factory=dict)


DEFAULT_RULES: Final = Rules()


def predicate_key(predicate: Noun) -> bytes:
    """The verifying key of a predicate: SHA-256 of it, jammed."""
    return sha256(jam(predicate)).digest()


def statement(key: bytes, instance: Noun) -> bytes:
    """The bytes that are signed to say that the predicate with this verifying key holds for an instance."""
    return _DOMAIN + sha256(jam(Cell(key, instance))).digest()


def attest(key: bytes, instance: Noun, signer: PrivateKey) -> Attestation:
    """Say that the predicate holds. Whoever trusts the key does not evaluate it again."""
    return Attestation(signer.public, primitives.sign(signer, statement(key, instance)))


def check(
    proof: Attestation | None, key: bytes, instance: Callable[[], Noun], holds: Callable[[], None], rules: Rules
) -> None:
    """Check a proof.

    Args:
        proof: None is the trivial one.
        key: the verifying key of the predicate.
        instance: gives what the predicate is about.
        holds: evaluates the predicate: raises `InvalidTransaction` if it does not hold.
        rules: whose word counts.

    Raises:
        InvalidTransaction: it does not hold; `ProofRefused`: the signature is nobody's who is trusted, or wrong.
    """
    if proof is None:
        holds()
        return
    if proof.signer not in rules.trusted:
        raise ProofRefused(
            f"a proof by trusted delegation is signed with {proof.signer!r}, a key that is not trusted here"
        )
    if not primitives.verify(proof.signer, statement(key, instance()), proof.signature):
        raise ProofRefused(f"a proof by trusted delegation has a wrong signature of {proof.signer!r}")


def proof_from_noun(noun: Noun) -> Attestation | None:
    """The proof that a noun is; None is the trivial one.

    Raises:
        ProofRefused: it is succinct, or of no kind that is known.
    """
    if is_zero(noun):
        return None
    name = noun.head if isinstance(noun, Cell) else noun
    kind = atom_of(name, "the kind of a proof") if is_atom(name) else b""
    if kind == TRUSTED_DELEGATION:
        try:
            _, signer, signature = parts_of(noun, 3, "a proof by trusted delegation")
            return Attestation(
                PublicKey(KeyKind.ED25519, atom_of(signer, "a public key", 32)),
                Signature(atom_of(signature, "a signature", 64)),
            )
        except (NotATransaction, KeyRefused) as error:
            raise ProofRefused(f"a proof by trusted delegation is [signer signature]: {error}") from None
    if kind == SUCCINCT:
        raise ProofRefused(
            "a succinct proof cannot be verified by a transparent resource machine: leave the proof empty, so that the "
            "predicate is evaluated"
        )
    raise ProofRefused(f"expected an empty proof or one by trusted delegation, got {format_noun(noun, 60)}")


def check_delta_proof(noun: Noun) -> None:
    """Check that a delta proof is the trivial one: the delta is worked out from the resources in any case.

    Raises:
        ProofRefused: it is another one.
    """
    if proof_from_noun(noun) is not None:
        raise ProofRefused(
            "a delta proof by trusted delegation has no meaning in a transparent resource machine, which works the "
            "delta out itself: leave it empty"
        )
