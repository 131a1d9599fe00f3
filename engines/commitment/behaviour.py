"""What Commitment does: signs whatever it is sent, for the identity that it has been started with.

It is started by Identity Management only, under a name that nobody can guess: to have its address is to be allowed.

Differences from the specification:

* what cannot be signed is answered with the empty commitment and an error, as the prose has it; the code there has no
  errors;
* the commitment says who made it, so that it can be verified by those who know the identity's name, a hash, alone;
* its name cannot be guessed; there it follows from the name of whoever asked for the identity.

Source: nspec v0.2.0, "Commitment behaviour", "Commitment configuration".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from anoma.crypto.commitments import EMPTY_COMMITMENT, Signed
from anoma.crypto.identities import ExternalKeys
from anoma.crypto.keys import KeyKind, PrivateKey
from anoma.crypto.primitives import sign
from engines.commitment.messages import MESSAGES, Reply, Request
from engines.effects import Effects
from engines.guards import EngineBehaviour, First, Turn, on
from engines.identity_management.backends import LOCAL_MEMORY, Backend, not_offered


@dataclass(frozen=True, slots=True)
class CommitmentSettings:
    """What it is started with.

    Attributes:
        keys: the public half of the identity.
        signer: its key to sign with; None where the backend has it.
    """

    keys: ExternalKeys
    signer: PrivateKey | None
    backend: Backend = LOCAL_MEMORY


def start(args: Any) -> tuple[CommitmentSettings, None]:
    """The settings; there is no state.

    Raises:
        ValueError: anything but `CommitmentSettings` with keys that belong together.
    """
    if not isinstance(args, CommitmentSettings):
        raise ValueError("expected the settings that identity_management starts a commitment engine with")
    signer = args.signer
    if signer is not None and (signer.kind is not KeyKind.ED25519 or signer.public != args.keys.verifier):
        raise ValueError("expected the key to sign with of the same identity as the public keys")
    return args, None


def commit(turn: Turn[None], _args: None) -> Effects[None]:
    """Answer with the commitment to the data."""
    request = turn.message
    settings: CommitmentSettings = turn.settings
    assert isinstance(request, Request)
    if settings.signer is None:
        return Effects(None, replies=(Reply(EMPTY_COMMITMENT, not_offered(settings.backend)),))
    return Effects(None, replies=(Reply(Signed(settings.keys, sign(settings.signer, request.data))),))


BEHAVIOUR: Final[EngineBehaviour[None]] = EngineBehaviour("commitment", MESSAGES, start, First(on(Request, commit)))
