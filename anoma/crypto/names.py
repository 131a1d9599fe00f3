"""What identities are called.

``Alice.foo`` is the dot name of Alice's own name, a hash, and ``"foo"``: whom Alice calls foo. Evidence for it is a
commitment of Alice's to `signable` of ``{<<"I identify this verifier with this name : ">>, {<<"foo">>, Child}}``, where
``Child`` is the name of the identity that is called so. ``Alice.foo.bar`` is what the one whom Alice calls foo calls
bar: Alice has no say in that.

A local name is the word of one's own node. Nobody can prove it to others; its evidence has no proof.

As terms: ``{dot_name, #{parent => Name, child => Text}}``, ``{local_name, #{name => Text}}``,
``{identity_name_evidence, #{identity_name => _, external_identity => Name, proof => Proof | nil}}``.

Source: nspec v0.2.0, "Identity Architecture": identity names, sub-identities, "." notation. It has no rule for local
names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from anoma.crypto.commitments import Commitment, verify
from anoma.crypto.evidence import PROOF, Proof, name_of, proof_of
from anoma.crypto.identities import ExternalIdentity, Identity, is_external_identity
from anoma.crypto.shares import Named
from anoma.crypto.signable import signable
from anoma.crypto.terms import expected, fields_of, text
from erlang_bridge.etf.conversions import Conversion
from erlang_bridge.terms import Atom

STATEMENT: Final = b"I identify this verifier with this name : "

LOCAL_NAME: Final = Atom("local_name")
DOT_NAME: Final = Atom("dot_name")
NAME: Final = Atom("name")
PARENT: Final = Atom("parent")
CHILD: Final = Atom("child")
IDENTITY_NAME_EVIDENCE: Final = Atom("identity_name_evidence")
IDENTITY_NAME: Final = Atom("identity_name")
EXTERNAL_IDENTITY: Final = Atom("external_identity")


@dataclass(frozen=True, slots=True, order=True)
class LocalName:
    """A name that one's own node has given."""

    name: str

    def __erlang_term__(self) -> Any:
        return LOCAL_NAME, {NAME: self.name.encode()}

    @classmethod
    def wire_conversion(cls) -> Conversion:
        return Conversion(_local_name, cls.__erlang_term__, lambda value: isinstance(value, cls))


@dataclass(frozen=True, slots=True, order=True)
class DotName:
    """Whom an identity calls so.

    Attributes:
        parent: name of that identity, its hash.
        child: what it says.
    """

    parent: ExternalIdentity
    child: str

    def __erlang_term__(self) -> Any:
        return DOT_NAME, {PARENT: self.parent.encode(), CHILD: self.child.encode()}

    @classmethod
    def wire_conversion(cls) -> Conversion:
        return Conversion(_dot_name, cls.__erlang_term__, lambda value: isinstance(value, cls))


IdentityName = LocalName | DotName


def name_statement(child: str, identity: Named) -> bytes:
    """The bytes that a parent signs to call an identity `child`."""
    return signable((STATEMENT, (child.encode(), name_of(identity).encode())))


@dataclass(frozen=True, slots=True)
class IdentityNameEvidence:
    """That an identity is called so.

    Attributes:
        proof: of a dot name, the parent's; its principal is the parent. None for a local name.
    """

    identity_name: IdentityName
    external_identity: ExternalIdentity
    proof: Proof | None = None

    @classmethod
    def of(cls, parent: Identity, child: str, identity: Named, commitment: Commitment) -> IdentityNameEvidence:
        """Evidence for a dot name, of the parent's commitment to the `name_statement`."""
        full = None if isinstance(identity, str) else identity
        name = DotName(parent.external_identity, child)
        return cls(name, name_of(identity), Proof(parent, commitment, full))

    @property
    def is_valid(self) -> bool:
        """Whether the parent has indeed signed it, or it is a local name, for which there is nothing to sign."""
        if not is_external_identity(self.external_identity):
            return False
        name, proof = self.identity_name, self.proof
        if isinstance(name, LocalName) or proof is None:
            return isinstance(name, LocalName) and proof is None
        if proof.principal.external_identity != name.parent:
            return False
        if proof.delegate is not None and proof.delegate.external_identity != self.external_identity:
            return False
        return verify(proof.principal, name_statement(name.child, self.external_identity), proof.commitment)

    def __erlang_term__(self) -> Any:
        fields = {
            IDENTITY_NAME: self.identity_name.__erlang_term__(),
            EXTERNAL_IDENTITY: self.external_identity.encode(),
            PROOF: None if self.proof is None else self.proof.__erlang_term__(),
        }
        return IDENTITY_NAME_EVIDENCE, fields

    @classmethod
    def wire_conversion(cls) -> Conversion:
        return Conversion(_evidence, cls.__erlang_term__, lambda value: isinstance(value, cls))


def _local_name(term: Any) -> LocalName:
    if isinstance(term, LocalName):
        return term
    (name,) = fields_of(term, LOCAL_NAME, NAME, what="{local_name, #{name => Text}}")
    return LocalName(text(name, "a name, as a binary"))


def _dot_name(term: Any) -> DotName:
    if isinstance(term, DotName):
        return term
    parent, child = fields_of(term, DOT_NAME, PARENT, CHILD, what="{dot_name, #{parent => Name, child => Text}}")
    return DotName(text(parent, "an identity's name"), text(child, "a name, as a binary"))


def _evidence(term: Any) -> IdentityNameEvidence:
    if isinstance(term, IdentityNameEvidence):
        return term
    what = "{identity_name_evidence, #{identity_name => _, external_identity => Name, proof => Proof | nil}}"
    name, identity, proof = fields_of(term, IDENTITY_NAME_EVIDENCE, IDENTITY_NAME, EXTERNAL_IDENTITY, PROOF, what=what)
    tag = name[0] if isinstance(name, tuple) and name else None
    if not isinstance(name, (LocalName, DotName)) and tag not in (LOCAL_NAME, DOT_NAME):
        raise expected("{dot_name, Map} or {local_name, Map}", name)
    read = _dot_name(name) if isinstance(name, DotName) or tag is DOT_NAME else _local_name(name)
    return IdentityNameEvidence(read, text(identity, "an identity's name"), None if proof is None else proof_of(proof))
