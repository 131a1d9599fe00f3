"""What Signs For takes and sends.

An identity is its name, a hash, or the identity in full.

Source: nspec v0.2.0, "Signs For messages". `transitive` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from anoma.crypto.evidence import SignsForEvidence
from anoma.crypto.identities import ExternalKeys, Special, Threshold
from engines.messages import Message


class SignsForMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "signs_for"


@dataclass(frozen=True, slots=True)
class SignsForRequest(SignsForMessage):
    """Ask whether *a* signs for *b*; `SignsForReply` comes back.

    Attributes:
        external_identity_a: the delegate.
        external_identity_b: the principal.
    """

    external_identity_a: str | ExternalKeys | Threshold | Special
    external_identity_b: str | ExternalKeys | Threshold | Special


@dataclass(frozen=True, slots=True)
class SignsForReply(SignsForMessage):
    """Whether it does.

    Attributes:
        signs_for: whether that follows from the evidence.
        err: always None.
    """

    signs_for: bool
    err: str | None = None


@dataclass(frozen=True, slots=True)
class SubmitSignsForEvidenceRequest(SignsForMessage):
    """Hand evidence in; `SubmitSignsForEvidenceReply` comes back.

    Attributes:
        evidence: what the principal has signed.
    """

    evidence: SignsForEvidence


@dataclass(frozen=True, slots=True)
class SubmitSignsForEvidenceReply(SignsForMessage):
    """Whether it is kept.

    Attributes:
        err: why not.
    """

    err: str | None = None


@dataclass(frozen=True, slots=True)
class QuerySignsForEvidenceRequest(SignsForMessage):
    """Ask for the evidence that has an identity on either side; `QuerySignsForEvidenceReply` comes back.

    Attributes:
        external_identity: the identity.
        transitive: also what leads to it over several steps.
    """

    external_identity: str | ExternalKeys | Threshold | Special
    transitive: bool = False


@dataclass(frozen=True, slots=True)
class QuerySignsForEvidenceReply(SignsForMessage):
    """The evidence.

    Attributes:
        external_identity: the identity, as it was asked for.
        evidence: what there is.
        err: why it cannot be told; the evidence means nothing then.
    """

    external_identity: str | ExternalKeys | Threshold | Special
    evidence: frozenset[SignsForEvidence]
    err: str | None = None


MESSAGES: Final = (
    SignsForRequest,
    SignsForReply,
    SubmitSignsForEvidenceRequest,
    SubmitSignsForEvidenceReply,
    QuerySignsForEvidenceRequest,
    QuerySignsForEvidenceReply,
)
