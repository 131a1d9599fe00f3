"""Evidence that one identity signs, or reads, for another, and what follows from it.

*From* is the delegate, *to* the principal that it acts for. Evidence is a statement that the principal has signed, so
it cannot be made up, and is never taken back. The bytes it signs are `signable` of ``{<<"signs_for">>, From, To}`` or
``{<<"reads_for">>, From, To}``, where both are names of identities, as binaries.

As a term: ``{signs_for_evidence, #{from_identity => Name, to_identity => Name, proof => Proof}}`` (or
``reads_for_evidence``), with ``Proof = {proof, #{principal => Identity, delegate => Identity | nil, commitment =>
Commitment}}``. The proof has the identities in full, because names are hashes.

Both relations are reflexive and transitive; what is proven step by step holds as a whole.

Source: nspec v0.2.0, "Identity Architecture": ``signsFor``, ``readsFor`` and their evidence. The specification has
`proof` as bytes without a layout.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from anoma.crypto.commitments import Commitment, commitment_of, known_identities, signers, verify
from anoma.crypto.identities import (
    ExternalIdentity,
    ExternalKeys,
    Identity,
    Special,
    Threshold,
    identity_of,
    is_external_identity,
    to_term,
)
from anoma.crypto.shares import Named, covers, is_satisfiable
from anoma.crypto.signable import signable
from anoma.crypto.terms import fields_of, text
from anoma.persistent_map import PersistentMap
from erlang_bridge.etf.conversions import Conversion
from erlang_bridge.terms import Atom

PROOF: Final = Atom("proof")
PRINCIPAL: Final = Atom("principal")
DELEGATE: Final = Atom("delegate")
COMMITMENT: Final = Atom("commitment")
FROM_IDENTITY: Final = Atom("from_identity")
TO_IDENTITY: Final = Atom("to_identity")
_PROOF_TERM: Final = "{proof, #{principal => Identity, delegate => Identity | nil, commitment => Commitment}}"


class Relation(StrEnum):
    """What a delegate does for its principal."""

    SIGNS_FOR = "signs_for"
    READS_FOR = "reads_for"


def statement(relation: Relation, delegate: Named, principal: Named) -> bytes:
    """The bytes that the principal signs."""
    return signable((relation.value.encode(), name_of(delegate).encode(), name_of(principal).encode()))


def name_of(identity: Named) -> ExternalIdentity:
    """The name of an identity."""
    return identity if isinstance(identity, str) else identity.external_identity


@dataclass(frozen=True, slots=True)
class Proof:
    """A principal's commitment to a statement, with the identities that it needs.

    Attributes:
        principal: who has signed.
        delegate: the other one in full, so that others can encrypt for it or find its members; None where only its name
            is known.
    """

    principal: Identity
    commitment: Commitment
    delegate: Identity | None = None

    def __erlang_term__(self) -> Any:
        delegate = None if self.delegate is None else to_term(self.delegate)
        commitment = self.commitment.__erlang_term__()
        return PROOF, {PRINCIPAL: to_term(self.principal), DELEGATE: delegate, COMMITMENT: commitment}

    @classmethod
    def wire_conversion(cls) -> Conversion:
        return Conversion(proof_of, cls.__erlang_term__, lambda value: isinstance(value, cls))

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Those it has in full."""
        return (self.principal,) if self.delegate is None else (self.principal, self.delegate)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Base of the two kinds of evidence.

    Attributes:
        from_identity: the delegate.
        to_identity: the principal.
    """

    from_identity: ExternalIdentity
    to_identity: ExternalIdentity
    proof: Proof

    relation: ClassVar[Relation]

    @classmethod
    def of(cls, delegate: Named, principal: Identity, commitment: Commitment) -> Self:
        """Evidence, of the principal's commitment to the `statement`."""
        full = None if isinstance(delegate, str) else delegate
        return cls(name_of(delegate), principal.external_identity, Proof(principal, commitment, full))

    @property
    def is_valid(self) -> bool:
        """Whether the principal has indeed signed it."""
        proof = self.proof
        if proof.principal.external_identity != self.to_identity or not is_external_identity(self.from_identity):
            return False
        if proof.delegate is not None and proof.delegate.external_identity != self.from_identity:
            return False
        return verify(proof.principal, statement(self.relation, self.from_identity, self.to_identity), proof.commitment)

    def __erlang_term__(self) -> Any:
        fields = {
            FROM_IDENTITY: self.from_identity.encode(),
            TO_IDENTITY: self.to_identity.encode(),
            PROOF: self.proof.__erlang_term__(),
        }
        return Atom(f"{self.relation}_evidence"), fields

    @classmethod
    def wire_conversion(cls) -> Conversion:
        return Conversion(cls._from_term, cls.__erlang_term__, lambda value: isinstance(value, cls))

    @classmethod
    def _from_term(cls, term: Any) -> Self:
        if isinstance(term, cls):
            return term
        tag = Atom(f"{cls.relation}_evidence")
        what = f"{{{tag.name}, #{{from_identity => Name, to_identity => Name, proof => Proof}}}}"
        delegate, principal, proof = fields_of(term, tag, FROM_IDENTITY, TO_IDENTITY, PROOF, what=what)
        return cls(text(delegate, "an identity's name"), text(principal, "an identity's name"), proof_of(proof))


@dataclass(frozen=True, slots=True)
class SignsForEvidence(Evidence):
    """`from_identity` signs for `to_identity`."""

    relation: ClassVar[Relation] = Relation.SIGNS_FOR


@dataclass(frozen=True, slots=True)
class ReadsForEvidence(Evidence):
    """`from_identity` reads what is encrypted for `to_identity`."""

    relation: ClassVar[Relation] = Relation.READS_FOR


def proof_of(term: Any) -> Proof:
    """Read a proof from a term.

    Raises:
        Mismatch: it is none.
    """
    if isinstance(term, Proof):
        return term
    principal, delegate, commitment = fields_of(term, PROOF, PRINCIPAL, DELEGATE, COMMITMENT, what=_PROOF_TERM)
    return Proof(identity_of(principal), commitment_of(commitment), None if delegate is None else identity_of(delegate))


# -- what follows from evidence ---------------------------------------------------------------

E = TypeVar("E", bound=Evidence)
_Index = PersistentMap[ExternalIdentity, PersistentMap[E, None]]


class EvidenceGraph(Generic[E]):
    """Valid evidence of one relation, and what follows from it. Immutable; `add` gives a larger one.

    It believes what it is given: whoever adds evidence has looked whether it `is_valid`.
    """

    __slots__ = ("_by_delegate", "_by_principal", "_size")

    def __init__(self, evidence: Iterable[E] = ()) -> None:
        self._by_principal: _Index[E] = PersistentMap()
        self._by_delegate: _Index[E] = PersistentMap()
        self._size = 0
        for item in evidence:
            self._insert(item)

    def _insert(self, item: E) -> None:
        if item in self:
            return
        about = self._by_principal.get(item.to_identity, PersistentMap())
        self._by_principal = self._by_principal.put(item.to_identity, about.put(item, None))
        about = self._by_delegate.get(item.from_identity, PersistentMap())
        self._by_delegate = self._by_delegate.put(item.from_identity, about.put(item, None))
        self._size += 1

    def add(self, item: E) -> EvidenceGraph[E]:
        """With one piece more."""
        larger: EvidenceGraph[E] = EvidenceGraph()
        larger._by_principal = self._by_principal
        larger._by_delegate = self._by_delegate
        larger._size = self._size
        larger._insert(item)
        return larger

    def __contains__(self, item: object) -> bool:
        return isinstance(item, Evidence) and item in self._by_principal.get(item.to_identity, ())

    def __iter__(self) -> Iterator[E]:
        return (item for about in self._by_principal.values() for item in about)

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EvidenceGraph) and self._by_principal == other._by_principal

    def __hash__(self) -> int:
        return hash(frozenset(self))

    def __repr__(self) -> str:
        return f"<EvidenceGraph of {self._size}>"

    def about(self, identity: Named) -> frozenset[E]:
        """The evidence that has the identity on either side."""
        name = name_of(identity)
        return frozenset(self._by_principal.get(name, ())) | frozenset(self._by_delegate.get(name, ()))

    def leading_to(self, identity: Named) -> frozenset[E]:
        """The evidence from which it follows who acts for the identity, over any number of steps."""
        return frozenset(_Region(self._by_principal, self.in_full(identity)).evidence)

    def relates(self, x: Named, y: Named) -> bool:
        """Whether *x* acts for *y*: by evidence in any number of steps, and one comparison of compositions."""
        return _Question(self._by_principal, self._by_delegate).relates(self.in_full(x), self.in_full(y))

    def verify(self, identity: Named, data: bytes, commitment: Commitment) -> bool:
        """Whether the identity has signed, or others for it, over any number of steps."""
        region = _Region(self._by_principal, self.in_full(identity))
        return region.holds(signers(data, commitment, region.known))

    def in_full(self, identity: Named) -> Named:
        """The identity in full, where the evidence about it has it so; else as it is given."""
        if not isinstance(identity, str):
            return identity
        for item in self.about(identity):
            for one in item.proof.identities:
                if one.external_identity == identity:
                    return one
        return next((special for special in Special if special.external_identity == identity), identity)

    def encryptor(self, identity: Named) -> Identity | None:
        """For whom to encrypt what the identity, or one that reads for it, is to read.

        That is the identity itself, where its keys are known; else the nearest of those that read for it, of several
        the first by name. A composition, where nobody with keys reads for it, is given as it is. None: no keys are
        known.
        """
        own = self.in_full(identity)
        if isinstance(own, (ExternalKeys, Special)):
            return own
        region = _Region(self._by_principal, own)
        seen = {name_of(identity)}
        nearest = list(seen)
        while nearest:
            nearest = sorted(
                {item.from_identity for name in nearest for item in self._by_principal.get(name, ())} - seen
            )
            seen.update(nearest)
            for name in nearest:
                keys = region.known.get(name)
                if isinstance(keys, ExternalKeys):
                    return keys
        return own if isinstance(own, Threshold) else None


class _Question(Generic[E]):
    """One question whether an identity acts for another, with what has been found out on the way."""

    def __init__(self, by_principal: _Index[E], by_delegate: _Index[E]) -> None:
        self._by_principal = by_principal
        self._by_delegate = by_delegate
        self._asked: dict[tuple[ExternalIdentity, ExternalIdentity], bool] = {}
        self._regions: dict[ExternalIdentity, _Region[E]] = {}

    def relates(self, x: Named, y: Named) -> bool:
        """Whether *x* acts for *y*."""
        own, other = key = (name_of(x), name_of(y))
        if key not in self._asked:
            # What is asked again while it is being found out is not proven.
            self._asked[key] = False
            self._asked[key] = (
                own == other or not is_satisfiable(x) or self._region(y).follows_from(own) or self._compares(x, y)
            )
        return self._asked[key]

    def _region(self, identity: Named) -> _Region[E]:
        name = name_of(identity)
        region = self._regions.get(name)
        if region is None:
            region = self._regions[name] = _Region(self._by_principal, identity)
        return region

    def _compares(self, x: Named, y: Named) -> bool:
        """Whether a composition that is *x*, or that *x* acts for, covers *y* or one that acts for *y*."""
        principals = [one for one in self._chain(x, self._by_delegate, principals=True) if isinstance(one, Threshold)]
        if not principals:
            return False
        delegates = list(self._chain(y, self._by_principal, principals=False))
        return any(covers(principal, delegate, self.relates) for principal in principals for delegate in delegates)

    @staticmethod
    def _chain(start: Named, index: _Index[E], *, principals: bool) -> Iterable[Named]:
        """The identity and those that evidence leads to from it, in full where that is known."""
        found: dict[ExternalIdentity, Named] = {name_of(start): start}
        left = deque(found)
        while left:
            for item in index.get(left.popleft(), ()):
                for identity in item.proof.identities:
                    if isinstance(found.get(identity.external_identity), str):
                        found[identity.external_identity] = identity
                name = item.to_identity if principals else item.from_identity
                if name not in found:
                    full = item.proof.principal if principals else item.proof.delegate
                    found[name] = name if full is None else full
                    left.append(name)
        return found.values()


class _Region(Generic[E]):
    """The part of the evidence that an identity's commitments can depend on: its delegates and members, and theirs.

    Attributes:
        known: the identities in it that are known in full, by name.
        evidence: what leads to the identity.
    """

    def __init__(self, by_principal: _Index[E], identity: Named) -> None:
        self.known: dict[ExternalIdentity, Identity] = {special.external_identity: special for special in Special}
        self.evidence: list[E] = []
        self._own = name_of(identity)
        self._names: set[ExternalIdentity] = set()
        self._left = [self._own]
        if not isinstance(identity, str):
            self._learn(identity)
        while self._left:
            self._visit(self._left.pop(), by_principal)
        self._by_itself = self.holds(frozenset())

    def _visit(self, name: ExternalIdentity, by_principal: _Index[E]) -> None:
        if name in self._names:
            return
        self._names.add(name)
        self._left.extend(_members(self.known.get(name)))
        for item in by_principal.get(name, ()):
            self.evidence.append(item)
            for identity in item.proof.identities:
                self._learn(identity)
            self._left.append(item.from_identity)

    def _learn(self, identity: Identity) -> None:
        if identity.external_identity in self.known:
            return
        for name, found in known_identities(identity).items():
            if name not in self.known:
                self.known[name] = found
                if name in self._names:
                    self._left.extend(_members(found))

    def follows_from(self, name: ExternalIdentity) -> bool:
        """Whether the identity has signed when that one has."""
        return self._by_itself or (name in self._names and self.holds(frozenset((name,))))

    def holds(self, signed: frozenset[ExternalIdentity]) -> bool:
        """Whether the identity has signed when those have: it is in the least set of what follows from them."""
        opens: dict[ExternalIdentity, list[ExternalIdentity]] = {}
        for item in self.evidence:
            opens.setdefault(item.from_identity, []).append(item.to_identity)
        missing: dict[ExternalIdentity, int] = {}
        counts: dict[ExternalIdentity, list[tuple[ExternalIdentity, int]]] = {}
        left = [*signed, Special.ALL.external_identity]
        for own in self._names:
            composition = self.known.get(own)
            if isinstance(composition, Threshold):
                missing[own] = composition.threshold
                if composition.threshold == 0:
                    left.append(own)
                for weight, member in composition.members:
                    counts.setdefault(member.external_identity, []).append((own, weight))
        done: set[ExternalIdentity] = set()
        while left:
            signer = left.pop()
            if signer in done:
                continue
            done.add(signer)
            left.extend(opens.get(signer, ()))
            for composition_name, weight in counts.get(signer, ()):
                missing[composition_name] -= weight
                if missing[composition_name] <= 0:
                    left.append(composition_name)
        return self._own in done


def _members(identity: Identity | None) -> list[ExternalIdentity]:
    return [member.external_identity for _, member in identity.members] if isinstance(identity, Threshold) else []
