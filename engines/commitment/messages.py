"""What Commitment takes and sends.

Source: nspec v0.2.0, "Commitment messages".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from anoma.crypto.commitments import Composed, Signed
from anoma.crypto.keys import Signature
from engines.messages import Message


class CommitmentMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "commitment"


@dataclass(frozen=True, slots=True)
class Request(CommitmentMessage):
    """Sign; `Reply` comes back.

    Attributes:
        data: what is signed, as it is.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class Reply(CommitmentMessage):
    """The commitment.

    Attributes:
        commitment: the signature with the public keys of the identity; the empty one where it could not be made.
        err: why it could not.
    """

    commitment: Signature | Signed | Composed
    err: str | None = None


MESSAGES: Final = (Request, Reply)
