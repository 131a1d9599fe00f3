"""What Verification takes and sends.

Source: nspec v0.2.0, "Verification messages".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from anoma.crypto.commitments import Composed, Signed
from anoma.crypto.identities import ExternalKeys, Special, Threshold
from anoma.crypto.keys import Signature
from engines.messages import Message
from engines.signs_for.messages import QuerySignsForEvidenceReply, QuerySignsForEvidenceRequest


class VerificationMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "verification"


@dataclass(frozen=True, slots=True)
class Request(VerificationMessage):
    """Verify; `Reply` comes back.

    Attributes:
        data: what was signed.
        commitment: what is said to have been made of it.
        external_identity: who is said to have signed: a name, or an identity in full.
        use_signs_for: whether others may have signed for it.
    """

    data: bytes
    commitment: Signature | Signed | Composed
    external_identity: str | ExternalKeys | Threshold | Special
    use_signs_for: bool = False


@dataclass(frozen=True, slots=True)
class Reply(VerificationMessage):
    """Whether it was.

    Attributes:
        result: false also where that cannot be told.
        err: why it cannot be told.
    """

    result: bool
    err: str | None = None


MESSAGES: Final = (Request, Reply, QuerySignsForEvidenceRequest, QuerySignsForEvidenceReply)
