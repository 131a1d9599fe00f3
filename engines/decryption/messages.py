"""What Decryption takes and sends.

Source: nspec v0.2.0, "Decryption messages".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from engines.messages import Message


class DecryptionMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "decryption"


@dataclass(frozen=True, slots=True)
class Request(DecryptionMessage):
    """Decrypt; `Reply` comes back.

    Attributes:
        data: a sealed box.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class Reply(DecryptionMessage):
    """The plaintext.

    Attributes:
        data: empty where it could not be decrypted.
        err: ``Decryption Failed``, or that the backend is not offered.
    """

    data: bytes
    err: str | None = None


MESSAGES: Final = (Request, Reply)
