"""What Naming does: keeps evidence of what identities are called, and resolves names.

Several identities may have one name, and one identity several names.

Differences from the specification:

* evidence is verified: the parent of a dot name has signed it, alone or as a composition; there ``verifyEvidence`` is
  an axiom;
* a local name, for which the specification has no rule, is the word of the own node: its evidence has no proof, and is
  taken from there only.

Source: nspec v0.2.0, "Naming behaviour", "Naming environment".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from anoma.crypto.names import IdentityName, IdentityNameEvidence, LocalName
from anoma.persistent_map import EMPTY, PersistentMap
from engines.effects import Effects
from engines.guards import NO_SETTINGS, EngineBehaviour, First, Turn, on
from engines.naming.messages import (
    MESSAGES,
    QueryNameEvidenceReply,
    QueryNameEvidenceRequest,
    ResolveNameReply,
    ResolveNameRequest,
    SubmitNameEvidenceReply,
    SubmitNameEvidenceRequest,
)

INVALID: Final = "Invalid evidence"
EXISTS: Final = "Evidence already exists"

_Set = PersistentMap[IdentityNameEvidence, None]


@dataclass(frozen=True, slots=True)
class NamingState:
    """The evidence that it has been handed, all of it valid.

    Attributes:
        by_name: name to evidence.
        by_identity: the same, by the identities that are called so.
    """

    by_name: PersistentMap[IdentityName, _Set] = EMPTY
    by_identity: PersistentMap[str, _Set] = EMPTY

    def __contains__(self, evidence: IdentityNameEvidence) -> bool:
        return evidence in self.by_identity.get(evidence.external_identity, EMPTY)

    def with_evidence(self, evidence: IdentityNameEvidence) -> NamingState:
        """With one piece more."""
        name, identity = evidence.identity_name, evidence.external_identity
        return NamingState(
            self.by_name.put(name, self.by_name.get(name, EMPTY).put(evidence, None)),
            self.by_identity.put(identity, self.by_identity.get(identity, EMPTY).put(evidence, None)),
        )


def start(_args: Any) -> tuple[None, NamingState]:
    """No settings, and no evidence, whatever the argument."""
    return NO_SETTINGS, NamingState()


def resolve_name(turn: Turn[NamingState], _args: None) -> Effects[NamingState]:
    """Answer who is called so."""
    request = turn.message
    assert isinstance(request, ResolveNameRequest)
    evidence = turn.state.by_name.get(request.identity_name, EMPTY)
    return Effects(turn.state, replies=(ResolveNameReply(frozenset(item.external_identity for item in evidence)),))


def submit_name_evidence(turn: Turn[NamingState], _args: None) -> Effects[NamingState]:
    """Keep evidence that is valid and new."""
    request = turn.message
    assert isinstance(request, SubmitNameEvidenceRequest)
    evidence = request.evidence
    believed = turn.is_local(turn.sender) or not isinstance(evidence.identity_name, LocalName)
    if not believed or not evidence.is_valid:
        return Effects(turn.state, replies=(SubmitNameEvidenceReply(INVALID),))
    if evidence in turn.state:
        return Effects(turn.state, replies=(SubmitNameEvidenceReply(EXISTS),))
    return Effects(turn.state.with_evidence(evidence), replies=(SubmitNameEvidenceReply(),))


def query_name_evidence(turn: Turn[NamingState], _args: None) -> Effects[NamingState]:
    """Answer with the evidence of what an identity is called."""
    request = turn.message
    assert isinstance(request, QueryNameEvidenceRequest)
    evidence = frozenset(turn.state.by_identity.get(request.external_identity, EMPTY))
    return Effects(turn.state, replies=(QueryNameEvidenceReply(request.external_identity, evidence),))


BEHAVIOUR: Final[EngineBehaviour[NamingState]] = EngineBehaviour(
    "naming",
    MESSAGES,
    start,
    First(
        on(ResolveNameRequest, resolve_name),
        on(SubmitNameEvidenceRequest, submit_name_evidence),
        on(QueryNameEvidenceRequest, query_name_evidence),
    ),
)
