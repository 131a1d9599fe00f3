"""What Reads For does: keeps evidence of who reads what is encrypted for whom, and tells what follows from it.

Evidence is a statement that the principal has signed. It is never taken back, nor forgotten while the engine runs.

Differences from the specification:

* the relation is reflexive and transitive, as its prose has it; the engine there knows exact matches only;
* evidence is verified: an Ed25519 signature by the principal, or by enough members of it; there ``verifyEvidence`` is
  an axiom;
* compositions are compared by what members of one reads for members of the other, each of those counted once.

Source: nspec v0.2.0, "Reads For behaviour", "Reads For environment".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from anoma.crypto.evidence import EvidenceGraph, ReadsForEvidence
from engines.effects import Effects
from engines.guards import NO_SETTINGS, EngineBehaviour, First, Turn, on
from engines.reads_for.messages import (
    MESSAGES,
    QueryReadsForEvidenceReply,
    QueryReadsForEvidenceRequest,
    Reply,
    Request,
    SubmitReadsForEvidenceReply,
    SubmitReadsForEvidenceRequest,
)

INVALID: Final = "Invalid evidence provided."
EXISTS: Final = "Evidence already exists."


@dataclass(frozen=True, slots=True)
class ReadsForState:
    """The evidence that it has been handed, all of it valid."""

    evidence_store: EvidenceGraph[ReadsForEvidence]


def start(_args: Any) -> tuple[None, ReadsForState]:
    """No settings, and no evidence, whatever the argument."""
    return NO_SETTINGS, ReadsForState(EvidenceGraph())


def reads_for_query(turn: Turn[ReadsForState], _args: None) -> Effects[ReadsForState]:
    """Answer whether the one reads what is encrypted for the other."""
    request = turn.message
    assert isinstance(request, Request)
    relates = turn.state.evidence_store.relates(request.external_identity_a, request.external_identity_b)
    return Effects(turn.state, replies=(Reply(relates),))


def submit_evidence(turn: Turn[ReadsForState], _args: None) -> Effects[ReadsForState]:
    """Keep evidence that is valid and new."""
    request = turn.message
    assert isinstance(request, SubmitReadsForEvidenceRequest)
    if not request.evidence.is_valid:
        return Effects(turn.state, replies=(SubmitReadsForEvidenceReply(INVALID),))
    if request.evidence in turn.state.evidence_store:
        return Effects(turn.state, replies=(SubmitReadsForEvidenceReply(EXISTS),))
    state = ReadsForState(turn.state.evidence_store.add(request.evidence))
    return Effects(state, replies=(SubmitReadsForEvidenceReply(),))


def query_evidence(turn: Turn[ReadsForState], _args: None) -> Effects[ReadsForState]:
    """Answer with the evidence about an identity."""
    request = turn.message
    assert isinstance(request, QueryReadsForEvidenceRequest)
    store, identity = turn.state.evidence_store, request.external_identity
    found = store.about(identity)
    if request.transitive:
        found |= store.leading_to(identity)
    return Effects(turn.state, replies=(QueryReadsForEvidenceReply(identity, found),))


BEHAVIOUR: Final[EngineBehaviour[ReadsForState]] = EngineBehaviour(
    "reads_for",
    MESSAGES,
    start,
    First(
        on(Request, reads_for_query),
        on(SubmitReadsForEvidenceRequest, submit_evidence),
        on(QueryReadsForEvidenceRequest, query_evidence),
    ),
)
