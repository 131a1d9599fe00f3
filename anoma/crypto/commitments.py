"""Commitments: what identities make when they sign, and whether one holds.

A commitment is a signature, a signature with the keys that made it, or, for compositions, a map from the names of
members to their commitments. The keys are there because the name of an identity is a hash: without them one who knows
the name alone could not verify. They prove nothing but that name.

As terms: ``<<64 bytes>>``, ``{signed, #{signer => {external_keys, _}, signature => <<64 bytes>>}}``,
``{composed, #{Name => Commitment}}``.

Source: nspec v0.2.0, "Identity Architecture": verifiers, "Threshold Composition".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from anoma.crypto import primitives
from anoma.crypto.identities import (
    MAX_DEPTH,
    MAX_MEMBERS,
    ExternalIdentity,
    ExternalKeys,
    Identity,
    InternalKeys,
    Special,
    Threshold,
    identity_of,
    to_term,
)
from anoma.crypto.keys import KeyRefused, Signature
from anoma.crypto.terms import expected, fields_of, text
from erlang_bridge.etf.conversions import Conversion, Mismatch
from erlang_bridge.terms import Atom, Map

SIGNED: Final = Atom("signed")
SIGNER: Final = Atom("signer")
SIGNATURE: Final = Atom("signature")
COMPOSED: Final = Atom("composed")

EMPTY_COMMITMENT: Final = Signature(b"")
"""Stands for a commitment that could not be made; nothing accepts it."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature, and who made it.

    Attributes:
        signer: the keys; a false claim makes the signature invalid, and nothing more.
    """

    signer: ExternalKeys
    signature: Signature

    def __erlang_term__(self) -> Any:
        return SIGNED, {SIGNER: to_term(self.signer), SIGNATURE: self.signature.data}

    @classmethod
    def wire_conversion(cls) -> Conversion:
        return Conversion(_signed, cls.__erlang_term__, lambda value: isinstance(value, cls))


@dataclass(frozen=True, slots=True)
class Composed:
    """The commitments of members of a composition.

    Attributes:
        parts: name of the member and its commitment, in the order of the names.

    Raises:
        ValueError: a name twice, or more than `MAX_MEMBERS` signatures or `MAX_DEPTH`.
    """

    parts: tuple[tuple[ExternalIdentity, Commitment], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(sorted(self.parts, key=lambda part: part[0])))
        if len({name for name, _ in self.parts}) < len(self.parts):
            raise ValueError("expected one commitment of each member, got two of one")
        if _size(self) > MAX_MEMBERS or _depth(self) > MAX_DEPTH:
            raise ValueError(f"a commitment has at most {MAX_MEMBERS} signatures in it, and a depth of {MAX_DEPTH}")

    def __erlang_term__(self) -> Any:
        return COMPOSED, {name.encode(): commitment.__erlang_term__() for name, commitment in self.parts}

    @classmethod
    def wire_conversion(cls) -> Conversion:
        return Conversion(
            lambda term: _composed(term, MAX_DEPTH), cls.__erlang_term__, lambda value: isinstance(value, cls)
        )


Commitment = Signature | Signed | Composed


def commit(keys: InternalKeys, data: bytes) -> Signed:
    """The commitment of an identity with keys to `data`."""
    return Signed(keys.external, primitives.sign(keys.signer, data))


def compose(commitments: Iterable[Signed | tuple[ExternalIdentity, Commitment]]) -> Composed:
    """The commitment of a composition, of those of some of its members.

    Args:
        commitments: of members that are compositions themselves, with their names.
    """
    return Composed(
        tuple((part.signer.external_identity, part) if isinstance(part, Signed) else part for part in commitments)
    )


def commitment_of(term: Any) -> Commitment:
    """Read a commitment from a term.

    Raises:
        Mismatch: it is none.
    """
    return _commitment(term, MAX_DEPTH)


def verify(identity: Identity, data: bytes, commitment: Commitment) -> bool:
    """Whether the commitment to `data` is the identity's own.

    For delegates see `evidence.EvidenceGraph.verify`.
    """
    known = known_identities(identity)
    return holds(identity, signers(data, commitment, known))


def holds(identity: Identity, signed: frozenset[ExternalIdentity]) -> bool:
    """Whether an identity has signed when those have."""
    if identity.external_identity in signed or identity is Special.ALL:
        return True
    if not isinstance(identity, Threshold):
        return False
    return sum(weight for weight, member in identity.members if holds(member, signed)) >= identity.threshold


def known_identities(*identities: Identity) -> dict[ExternalIdentity, Identity]:
    """The identities and all that are in them, by name."""
    found: dict[ExternalIdentity, Identity] = {}
    left = list(identities)
    while left:
        identity = left.pop()
        if identity.external_identity not in found:
            found[identity.external_identity] = identity
            if isinstance(identity, Threshold):
                left.extend(member for _, member in identity.members)
    return found


def signers(
    data: bytes, commitment: Commitment, known: Mapping[ExternalIdentity, Identity]
) -> frozenset[ExternalIdentity]:
    """The identities with keys that have signed `data` in a commitment.

    Args:
        known: those whose keys are known, by name. A signature that does not say whose it is, is tried with all.
    """
    found = set()
    for name, keys, signature in _signatures(commitment, None):
        if keys is not None:
            candidates: Iterable[Any] = (keys,) if name is None or name == keys.external_identity else ()
        else:
            candidates = known.values() if name is None else (known.get(name),)
        for candidate in candidates:
            if isinstance(candidate, ExternalKeys) and primitives.verify(candidate.verifier, data, signature):
                found.add(candidate.external_identity)
    return frozenset(found)


def _signatures(
    commitment: Commitment, name: ExternalIdentity | None
) -> Iterator[tuple[ExternalIdentity | None, ExternalKeys | None, Signature]]:
    """Each signature in a commitment with the name it stands under, and with the keys that are said to have made it."""
    if isinstance(commitment, Composed):
        for part_name, part in commitment.parts:
            yield from _signatures(part, part_name)
    elif isinstance(commitment, Signed):
        yield name, commitment.signer, commitment.signature
    else:
        yield name, None, commitment


def _size(commitment: Commitment) -> int:
    return sum(_size(part) for _, part in commitment.parts) if isinstance(commitment, Composed) else 1


def _depth(commitment: Commitment) -> int:
    if not isinstance(commitment, Composed):
        return 0
    return 1 + max((_depth(part) for _, part in commitment.parts), default=0)


# -- terms ------------------------------------------------------------------------------------

_SIGNED_TERM: Final = "{signed, #{signer => {external_keys, Map}, signature => <<64 bytes>>}}"


def _commitment(term: Any, depth: int) -> Commitment:
    if isinstance(term, (Signature, Signed, Composed)):
        return term
    if type(term) is bytes:
        return _signature(term)
    tag = term[0] if type(term) is tuple and term else None
    if tag is SIGNED:
        return _signed(term)
    if tag is COMPOSED:
        return _composed(term, depth)
    raise expected("a commitment: 64 bytes, {signed, Map} or {composed, Map}", term)


def _signature(term: Any) -> Signature:
    try:
        return term if isinstance(term, Signature) else Signature(term)
    except KeyRefused as error:
        raise Mismatch(f"is no signature: {error}") from None


def _signed(term: Any) -> Signed:
    if isinstance(term, Signed):
        return term
    signer, signature = fields_of(term, SIGNED, SIGNER, SIGNATURE, what=_SIGNED_TERM)
    keys = identity_of(signer)
    if not isinstance(keys, ExternalKeys):
        raise expected("an identity with keys as signer", signer)
    return Signed(keys, _signature(signature))


def _composed(term: Any, depth: int) -> Composed:
    if isinstance(term, Composed):
        return term
    if type(term) is not tuple or len(term) != 2 or not isinstance(term[1], (dict, Map)):
        raise expected("{composed, #{Name => Commitment}}", term)
    if depth == 0 or len(term[1]) > MAX_MEMBERS:
        raise Mismatch(f"should have at most {MAX_MEMBERS} signatures in it, and a depth of {MAX_DEPTH}")
    parts = [(text(name, "an identity's name"), _commitment(part, depth - 1)) for name, part in term[1].items()]
    try:
        return Composed(tuple(parts))
    except ValueError as error:
        raise Mismatch(f"is no commitment: {error}") from None
