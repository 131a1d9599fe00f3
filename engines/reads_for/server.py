"""Reads For as a process, and what others call to use it."""

from __future__ import annotations

from typing import Any

from anoma.crypto.evidence import ReadsForEvidence, Relation, statement
from anoma.crypto.identities import Identity
from anoma.crypto.shares import Named
from engines.commitment.server import commit
from engines.engine import Client, Engine, Refused, ask
from engines.reads_for.behaviour import BEHAVIOUR
from engines.reads_for.messages import QueryReadsForEvidenceRequest, Request, SubmitReadsForEvidenceRequest
from erlang_bridge import Atom

READS_FOR = "reads_for"
"""The name that a node's own is registered under."""


def reads_for(client: Client, a: Named, b: Named, engine: Any = READS_FOR, timeout_s: float | None = 5.0) -> bool:
    """Whether *a* reads what is encrypted for *b*, by the evidence there is.

    Raises:
        ErlangExit: no answer.
    """
    answer: bool = ask(client, engine, Request(a, b), timeout_s).reads_for
    return answer


def submit_evidence(
    client: Client, evidence: ReadsForEvidence, engine: Any = READS_FOR, timeout_s: float | None = 5.0
) -> None:
    """Hand evidence in.

    Raises:
        Refused: it is invalid, or there already. ErlangExit: no answer.
    """
    _check(ask(client, engine, SubmitReadsForEvidenceRequest(evidence), timeout_s).err)


def query_evidence(
    client: Client,
    identity: Named,
    engine: Any = READS_FOR,
    *,
    transitive: bool = False,
    timeout_s: float | None = 5.0,
) -> frozenset[ReadsForEvidence]:
    """The evidence that has the identity on either side, and, if `transitive`, what leads to it.

    Raises:
        Refused: it cannot be told. ErlangExit: no answer.
    """
    reply = ask(client, engine, QueryReadsForEvidenceRequest(identity, transitive), timeout_s)
    _check(reply.err)
    evidence: frozenset[ReadsForEvidence] = reply.evidence
    return evidence


def delegate(
    client: Client, principal: Identity, committer: Any, delegate: Named, engine: Any = READS_FOR
) -> ReadsForEvidence:
    """Have an identity state that another reads what is encrypted for it, and hand that in.

    Args:
        principal: the identity that states it, in full.
        committer: the Commitment engine that signs for it.

    Raises:
        Refused, ErlangExit: of the engines that are asked.
    """
    commitment = commit(client, committer, statement(Relation.READS_FOR, delegate, principal))
    evidence = ReadsForEvidence.of(delegate, principal, commitment)
    submit_evidence(client, evidence, engine)
    return evidence


def _check(err: str | None) -> None:
    if err is not None:
        raise Refused((Atom(READS_FOR), err.encode()))


class ReadsFor(Engine):
    """Knows, by evidence, who reads what is encrypted for whom."""

    engine = BEHAVIOUR
