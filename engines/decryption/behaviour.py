"""What Decryption does: opens sealed boxes for the identity that it has been started with.

It is started by Identity Management only, under a name that nobody can guess: to have its address is to be allowed.

Differences from the specification:

* its name cannot be guessed; there it follows from the name of whoever asked for the identity.

Source: nspec v0.2.0, "Decryption behaviour", "Decryption configuration".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from anoma.crypto.keys import KeyKind, PrivateKey
from anoma.crypto.primitives import unseal
from engines.decryption.messages import MESSAGES, Reply, Request
from engines.effects import Effects
from engines.guards import EngineBehaviour, First, Turn, on
from engines.identity_management.backends import LOCAL_MEMORY, Backend, not_offered

FAILED: Final = "Decryption Failed"


@dataclass(frozen=True, slots=True)
class DecryptionSettings:
    """What it is started with.

    Attributes:
        decryptor: the identity's key to decrypt with; None where the backend has it.
    """

    decryptor: PrivateKey | None
    backend: Backend = LOCAL_MEMORY


def start(args: Any) -> tuple[DecryptionSettings, None]:
    """The settings; there is no state.

    Raises:
        ValueError: anything but `DecryptionSettings` with a key for X25519.
    """
    if not isinstance(args, DecryptionSettings):
        raise ValueError("expected the settings that identity_management starts a decryption engine with")
    if args.decryptor is not None and args.decryptor.kind is not KeyKind.CURVE25519:
        raise ValueError(f"expected a key for curve25519 to decrypt with, got one for {args.decryptor.kind}")
    return args, None


def decrypt(turn: Turn[None], _args: None) -> Effects[None]:
    """Answer with what is in the sealed box."""
    request = turn.message
    settings: DecryptionSettings = turn.settings
    assert isinstance(request, Request)
    if settings.decryptor is None:
        return Effects(None, replies=(Reply(b"", not_offered(settings.backend)),))
    plaintext = unseal(settings.decryptor, request.data)
    return Effects(None, replies=(Reply(b"", FAILED) if plaintext is None else Reply(plaintext),))


BEHAVIOUR: Final[EngineBehaviour[None]] = EngineBehaviour("decryption", MESSAGES, start, First(on(Request, decrypt)))
