"""Naming as a process, and what others call to use it."""

from __future__ import annotations

from typing import Any

from anoma.crypto.evidence import name_of
from anoma.crypto.identities import Identity
from anoma.crypto.names import DotName, IdentityName, IdentityNameEvidence, LocalName, name_statement
from anoma.crypto.shares import Named
from engines.commitment.server import commit
from engines.engine import Client, Engine, Refused, ask
from engines.naming.behaviour import BEHAVIOUR
from engines.naming.messages import QueryNameEvidenceRequest, ResolveNameRequest, SubmitNameEvidenceRequest
from erlang_bridge import Atom

NAMING = "naming"
"""The name that a node's own is registered under."""


def resolve_name(
    client: Client, name: IdentityName, engine: Any = NAMING, timeout_s: float | None = 5.0
) -> frozenset[str]:
    """The identities that are called so, as hashes.

    Raises:
        ErlangExit: no answer.
    """
    found: frozenset[str] = ask(client, engine, ResolveNameRequest(name), timeout_s).external_identities
    return found


def resolve_path(
    client: Client, start: Named, path: str, engine: Any = NAMING, timeout_s: float | None = 5.0
) -> frozenset[str]:
    """The identities that ``start.path`` stands for, where the path has names with dots between them.

    Each is what the ones before it call so: of ``alice.bob.carol`` whom alice's bob calls carol.

    Args:
        timeout_s: for each question.

    Raises:
        ErlangExit: no answer.
    """
    found = frozenset({name_of(start)})
    for child in path.split("."):
        found = frozenset().union(
            *(resolve_name(client, DotName(parent, child), engine, timeout_s) for parent in found)
        )
    return found


def submit_name_evidence(
    client: Client, evidence: IdentityNameEvidence, engine: Any = NAMING, timeout_s: float | None = 5.0
) -> None:
    """Hand evidence in.

    Raises:
        Refused: it is invalid, or there already. ErlangExit: no answer.
    """
    reply = ask(client, engine, SubmitNameEvidenceRequest(evidence), timeout_s)
    if reply.err is not None:
        raise Refused((Atom(NAMING), reply.err.encode()))


def query_name_evidence(
    client: Client, identity: Named, engine: Any = NAMING, timeout_s: float | None = 5.0
) -> frozenset[IdentityNameEvidence]:
    """The evidence of what the identity is called.

    Raises:
        ErlangExit: no answer.
    """
    reply = ask(client, engine, QueryNameEvidenceRequest(name_of(identity)), timeout_s)
    evidence: frozenset[IdentityNameEvidence] = reply.evidence
    return evidence


def name_identity(
    client: Client, parent: Identity, committer: Any, child: str, identity: Named, engine: Any = NAMING
) -> IdentityNameEvidence:
    """Have an identity call another `child`, and hand that in.

    Args:
        parent: the identity that calls it so, in full.
        committer: the Commitment engine that signs for the parent.

    Raises:
        Refused, ErlangExit: of the engines that are asked.
    """
    commitment = commit(client, committer, name_statement(child, identity))
    evidence = IdentityNameEvidence.of(parent, child, identity, commitment)
    submit_name_evidence(client, evidence, engine)
    return evidence


def name_locally(client: Client, name: str, identity: Named, engine: Any = NAMING) -> IdentityNameEvidence:
    """Give an identity a name on the own node.

    Raises:
        Refused: it has that name, or the client is on another node. ErlangExit: no answer.
    """
    evidence = IdentityNameEvidence(LocalName(name), name_of(identity))
    submit_name_evidence(client, evidence, engine)
    return evidence


class Naming(Engine):
    """Knows, by evidence, what identities are called."""

    engine = BEHAVIOUR
