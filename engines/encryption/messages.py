"""What Encryption takes and sends.

Source: nspec v0.2.0, "Encryption messages". `Drawn` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from anoma.crypto.identities import ExternalKeys, Special, Threshold
from anoma.crypto.keys import Secret
from engines.messages import Message
from engines.reads_for.messages import QueryReadsForEvidenceReply, QueryReadsForEvidenceRequest


class EncryptionMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "encryption"


@dataclass(frozen=True, slots=True)
class Request(EncryptionMessage):
    """Encrypt; `Reply` comes back.

    Attributes:
        data: what is encrypted, as it is.
        external_identity: for whom: an identity in full, or a name whose keys are known.
        use_reads_for: whether it may be for another that reads for it.
    """

    data: bytes
    external_identity: str | ExternalKeys | Threshold | Special
    use_reads_for: bool = False


@dataclass(frozen=True, slots=True)
class Reply(EncryptionMessage):
    """The ciphertext.

    Attributes:
        ciphertext: a sealed box; empty where it could not be made.
        err: why it could not.
    """

    ciphertext: bytes
    err: str | None = None


@dataclass(frozen=True, slots=True)
class Drawn(EncryptionMessage):
    """Random bytes, from the engine to itself.

    Attributes:
        number: of the request that they are for.
        randomness: never shown, and not taken from outside.
    """

    number: int
    randomness: Secret


MESSAGES: Final = (Request, Reply, QueryReadsForEvidenceRequest, QueryReadsForEvidenceReply, Drawn)
