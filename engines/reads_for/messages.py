"""What Reads For takes and sends.

An identity is its name, a hash, or the identity in full.

Source: nspec v0.2.0, "Reads For messages". `transitive` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from anoma.crypto.evidence import ReadsForEvidence
from anoma.crypto.identities import ExternalKeys, Special, Threshold
from engines.messages import Message


class ReadsForMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "reads_for"


@dataclass(frozen=True, slots=True)
class Request(ReadsForMessage):
    """Ask whether *a* reads what is encrypted for *b*; `Reply` comes back.

    Attributes:
        external_identity_a: the delegate.
        external_identity_b: the principal.
    """

    external_identity_a: str | ExternalKeys | Threshold | Special
    external_identity_b: str | ExternalKeys | Threshold | Special


@dataclass(frozen=True, slots=True)
class Reply(ReadsForMessage):
    """Whether it does.

    Attributes:
        reads_for: whether that follows from the evidence.
        err: always None.
    """

    reads_for: bool
    err: str | None = None


@dataclass(frozen=True, slots=True)
class SubmitReadsForEvidenceRequest(ReadsForMessage):
    """Hand evidence in; `SubmitReadsForEvidenceReply` comes back.

    Attributes:
        evidence: what the principal has signed.
    """

    evidence: ReadsForEvidence


@dataclass(frozen=True, slots=True)
class SubmitReadsForEvidenceReply(ReadsForMessage):
    """Whether it is kept.

    Attributes:
        err: why not.
    """

    err: str | None = None


@dataclass(frozen=True, slots=True)
class QueryReadsForEvidenceRequest(ReadsForMessage):
    """Ask for the evidence that has an identity on either side; `QueryReadsForEvidenceReply` comes back.

    Attributes:
        external_identity: the identity.
        transitive: also what leads to it over several steps.
    """

    external_identity: str | ExternalKeys | Threshold | Special
    transitive: bool = False


@dataclass(frozen=True, slots=True)
class QueryReadsForEvidenceReply(ReadsForMessage):
    """The evidence.

    Attributes:
        external_identity: the identity, as it was asked for.
        evidence: what there is.
        err: why it cannot be told; the evidence means nothing then.
    """

    external_identity: str | ExternalKeys | Threshold | Special
    evidence: frozenset[ReadsForEvidence]
    err: str | None = None


MESSAGES: Final = (
    Request,
    Reply,
    SubmitReadsForEvidenceRequest,
    SubmitReadsForEvidenceReply,
    QueryReadsForEvidenceRequest,
    QueryReadsForEvidenceReply,
)
