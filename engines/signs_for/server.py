"""Signs For as a process, and what others call to use it."""

from __future__ import annotations

from typing import Any

from anoma.crypto.evidence import Relation, SignsForEvidence, statement
from anoma.crypto.identities import Identity
from anoma.crypto.shares import Named
from engines.commitment.server import commit
from engines.engine import Client, Engine, Refused, ask
from engines.signs_for.behaviour import BEHAVIOUR
from engines.signs_for.messages import QuerySignsForEvidenceRequest, SignsForRequest, SubmitSignsForEvidenceRequest
from erlang_bridge import Atom

SIGNS_FOR = "signs_for"
"""The name that a node's own is registered under."""


def signs_for(client: Client, a: Named, b: Named, engine: Any = SIGNS_FOR, timeout_s: float | None = 5.0) -> bool:
    """Whether *a* signs for *b*, by the evidence there is.

    Raises:
        ErlangExit: no answer.
    """
    answer: bool = ask(client, engine, SignsForRequest(a, b), timeout_s).signs_for
    return answer


def submit_evidence(
    client: Client, evidence: SignsForEvidence, engine: Any = SIGNS_FOR, timeout_s: float | None = 5.0
) -> None:
    """Hand evidence in.

    Raises:
        Refused: it is invalid, or there already. ErlangExit: no answer.
    """
    _check(ask(client, engine, SubmitSignsForEvidenceRequest(evidence), timeout_s).err)


def query_evidence(
    client: Client,
    identity: Named,
    engine: Any = SIGNS_FOR,
    *,
    transitive: bool = False,
    timeout_s: float | None = 5.0,
) -> frozenset[SignsForEvidence]:
    """The evidence that has the identity on either side, and, if `transitive`, what leads to it.

    Raises:
        Refused: it cannot be told. ErlangExit: no answer.
    """
    reply = ask(client, engine, QuerySignsForEvidenceRequest(identity, transitive), timeout_s)
    _check(reply.err)
    evidence: frozenset[SignsForEvidence] = reply.evidence
    return evidence


def delegate(
    client: Client, principal: Identity, committer: Any, delegate: Named, engine: Any = SIGNS_FOR
) -> SignsForEvidence:
    """Have an identity state that another signs for it, and hand that in.

    Args:
        principal: the identity that states it, in full.
        committer: the Commitment engine that signs for it.

    Raises:
        Refused, ErlangExit: of the engines that are asked.
    """
    commitment = commit(client, committer, statement(Relation.SIGNS_FOR, delegate, principal))
    evidence = SignsForEvidence.of(delegate, principal, commitment)
    submit_evidence(client, evidence, engine)
    return evidence


def _check(err: str | None) -> None:
    if err is not None:
        raise Refused((Atom(SIGNS_FOR), err.encode()))


class SignsFor(Engine):
    """Knows, by evidence, who signs for whom."""

    engine = BEHAVIOUR
