"""What Naming takes and sends.

Source: nspec v0.2.0, "Naming messages".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from anoma.crypto.names import DotName, IdentityNameEvidence, LocalName
from engines.messages import Message


class NamingMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "naming"


@dataclass(frozen=True, slots=True)
class ResolveNameRequest(NamingMessage):
    """Ask who is called so; `ResolveNameReply` comes back.

    Attributes:
        identity_name: the name.
    """

    identity_name: DotName | LocalName


@dataclass(frozen=True, slots=True)
class ResolveNameReply(NamingMessage):
    """Those who are called so.

    Attributes:
        external_identities: hashes; several, one or none.
        err: always None.
    """

    external_identities: frozenset[str]
    err: str | None = None


@dataclass(frozen=True, slots=True)
class SubmitNameEvidenceRequest(NamingMessage):
    """Hand evidence in; `SubmitNameEvidenceReply` comes back.

    Attributes:
        evidence: what the parent has signed.
    """

    evidence: IdentityNameEvidence


@dataclass(frozen=True, slots=True)
class SubmitNameEvidenceReply(NamingMessage):
    """Whether it is kept.

    Attributes:
        err: why not.
    """

    err: str | None = None


@dataclass(frozen=True, slots=True)
class QueryNameEvidenceRequest(NamingMessage):
    """Ask for the evidence of what an identity is called; `QueryNameEvidenceReply` comes back.

    Attributes:
        external_identity: its hash.
    """

    external_identity: str


@dataclass(frozen=True, slots=True)
class QueryNameEvidenceReply(NamingMessage):
    """The evidence.

    Attributes:
        external_identity: the identity that was asked for.
        evidence: what there is.
        err: always None.
    """

    external_identity: str
    evidence: frozenset[IdentityNameEvidence]
    err: str | None = None


MESSAGES: Final = (
    ResolveNameRequest,
    ResolveNameReply,
    SubmitNameEvidenceRequest,
    SubmitNameEvidenceReply,
    QueryNameEvidenceRequest,
    QueryNameEvidenceReply,
)
