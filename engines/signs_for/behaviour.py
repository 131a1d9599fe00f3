"""What Signs For does: keeps evidence of who signs for whom, and tells what follows from it.

Evidence is a statement that the principal has signed. It is never taken back, nor forgotten while the engine runs.

Differences from the specification:

* the relation is reflexive and transitive, as its prose has it; the engine there knows exact matches only;
* evidence is verified: an Ed25519 signature by the principal, or by enough members of it; there ``verifyEvidence`` is
  an axiom;
* compositions are compared by what members of one signs for members of the other, each of those counted once.

Source: nspec v0.2.0, "Signs For behaviour", "Signs For environment".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from anoma.crypto.evidence import EvidenceGraph, SignsForEvidence
from engines.effects import Effects
from engines.guards import NO_SETTINGS, EngineBehaviour, First, Turn, on
from engines.signs_for.messages import (
    MESSAGES,
    QuerySignsForEvidenceReply,
    QuerySignsForEvidenceRequest,
    SignsForReply,
    SignsForRequest,
    SubmitSignsForEvidenceReply,
    SubmitSignsForEvidenceRequest,
)

INVALID: Final = "Invalid evidence provided."
EXISTS: Final = "Evidence already exists."


@dataclass(frozen=True, slots=True)
class SignsForState:
    """The evidence that it has been handed, all of it valid."""

    evidence_store: EvidenceGraph[SignsForEvidence]


def start(_args: Any) -> tuple[None, SignsForState]:
    """No settings, and no evidence, whatever the argument."""
    return NO_SETTINGS, SignsForState(EvidenceGraph())


def signs_for_query(turn: Turn[SignsForState], _args: None) -> Effects[SignsForState]:
    """Answer whether the one signs for the other."""
    request = turn.message
    assert isinstance(request, SignsForRequest)
    relates = turn.state.evidence_store.relates(request.external_identity_a, request.external_identity_b)
    return Effects(turn.state, replies=(SignsForReply(relates),))


def submit_evidence(turn: Turn[SignsForState], _args: None) -> Effects[SignsForState]:
    """Keep evidence that is valid and new."""
    request = turn.message
    assert isinstance(request, SubmitSignsForEvidenceRequest)
    if not request.evidence.is_valid:
        return Effects(turn.state, replies=(SubmitSignsForEvidenceReply(INVALID),))
    if request.evidence in turn.state.evidence_store:
        return Effects(turn.state, replies=(SubmitSignsForEvidenceReply(EXISTS),))
    state = SignsForState(turn.state.evidence_store.add(request.evidence))
    return Effects(state, replies=(SubmitSignsForEvidenceReply(),))


def query_evidence(turn: Turn[SignsForState], _args: None) -> Effects[SignsForState]:
    """Answer with the evidence about an identity."""
    request = turn.message
    assert isinstance(request, QuerySignsForEvidenceRequest)
    store, identity = turn.state.evidence_store, request.external_identity
    found = store.about(identity)
    if request.transitive:
        found |= store.leading_to(identity)
    return Effects(turn.state, replies=(QuerySignsForEvidenceReply(identity, found),))


BEHAVIOUR: Final[EngineBehaviour[SignsForState]] = EngineBehaviour(
    "signs_for",
    MESSAGES,
    start,
    First(
        on(SignsForRequest, signs_for_query),
        on(SubmitSignsForEvidenceRequest, submit_evidence),
        on(QuerySignsForEvidenceRequest, query_evidence),
    ),
)
