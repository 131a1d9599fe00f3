"""What Identity Management takes and sends.

Source: nspec v0.2.0, "Identity management messages". The fields `keys` and `authority`, and `Drawn`, are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from anoma.crypto.identities import ExternalKeys
from anoma.crypto.keys import Secret
from engines.identity_management.backends import (
    LOCAL_MEMORY,
    Capabilities,
    IDParams,
    LocalConnection,
    LocalMemory,
    RemoteConnection,
)
from engines.messages import EngineID, Message


class IdentityManagementMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "identity_management"


@dataclass(frozen=True, slots=True)
class GenerateIdentityRequest(IdentityManagementMessage):
    """Make an identity; `GenerateIdentityReply` comes back.

    Attributes:
        backend: where its private keys are to be.
        params: the kind of keys; ed25519 is what there is.
        capabilities: what it is for.
    """

    backend: LocalMemory | LocalConnection | RemoteConnection = LOCAL_MEMORY
    params: IDParams = IDParams.ED25519
    capabilities: Capabilities = Capabilities.COMMIT_AND_DECRYPT


@dataclass(frozen=True, slots=True)
class GenerateIdentityReply(IdentityManagementMessage):
    """The new identity, of which the one that has asked is the owner.

    Attributes:
        commitment_engine: who signs for it; None where that was not asked for.
        decryption_engine: who decrypts for it; None where that was not asked for.
        external_identity: its name, the hash of its keys.
        keys: its public keys.
        authority: shows that one may delete it, from whichever address.
        err: why there is none.
    """

    commitment_engine: EngineID | None = None
    decryption_engine: EngineID | None = None
    external_identity: str | None = None
    keys: ExternalKeys | None = None
    authority: bytes | None = None
    err: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectIdentityRequest(IdentityManagementMessage):
    """Share an identity that is there; `ConnectIdentityReply` comes back.

    Attributes:
        external_identity: its name.
        backend: where it is.
        capabilities: what it is wanted for; no more than it is for.
    """

    external_identity: str
    backend: LocalMemory | LocalConnection | RemoteConnection = LOCAL_MEMORY
    capabilities: Capabilities = Capabilities.COMMIT_AND_DECRYPT


@dataclass(frozen=True, slots=True)
class ConnectIdentityReply(IdentityManagementMessage):
    """The engines of the identity, those that were asked for.

    Attributes:
        commitment_engine: who signs for it.
        decryption_engine: who decrypts for it.
        keys: its public keys.
        authority: shows that one may give this share of it up, from whichever address.
        err: why it is not shared.
    """

    commitment_engine: EngineID | None = None
    decryption_engine: EngineID | None = None
    keys: ExternalKeys | None = None
    authority: bytes | None = None
    err: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteIdentityRequest(IdentityManagementMessage):
    """Give an identity up; `DeleteIdentityReply` comes back.

    Attributes:
        external_identity: its name.
        backend: where it is.
        authority: from the reply that the identity came with; not needed from the address that had asked for it.
    """

    external_identity: str
    backend: LocalMemory | LocalConnection | RemoteConnection = LOCAL_MEMORY
    authority: bytes | None = None


@dataclass(frozen=True, slots=True)
class DeleteIdentityReply(IdentityManagementMessage):
    """Whether it is given up.

    Attributes:
        err: why not.
    """

    err: str | None = None


@dataclass(frozen=True, slots=True)
class Drawn(IdentityManagementMessage):
    """Random bytes, from the engine to itself.

    Attributes:
        number: of the request that they are for.
        randomness: never shown, and not taken from outside.
    """

    number: int
    randomness: Secret


MESSAGES: Final = (
    GenerateIdentityRequest,
    GenerateIdentityReply,
    ConnectIdentityRequest,
    ConnectIdentityReply,
    DeleteIdentityRequest,
    DeleteIdentityReply,
    Drawn,
)
