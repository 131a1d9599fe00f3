"""Where the private keys of an identity are, of what kind they are, and what they may be used for.

Source: nspec v0.2.0, "Types for network identities": ``Backend``, ``IDParams``, ``Capabilities``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from engines.messages import EngineID
from engines.wire import Value


class IDParams(Enum):
    """The kind of keys."""

    ED25519 = "ed25519"
    SECP256K1 = "secp256k1"
    BLS = "bls"


class Capabilities(Enum):
    """What an identity may be used for."""

    COMMIT = "commit"
    DECRYPT = "decrypt"
    COMMIT_AND_DECRYPT = "commit_and_decrypt"

    @property
    def commits(self) -> bool:
        return self is not Capabilities.DECRYPT

    @property
    def decrypts(self) -> bool:
        return self is not Capabilities.COMMIT

    def within(self, available: Capabilities) -> bool:
        """Whether it asks for no more than `available`."""
        return available in (self, Capabilities.COMMIT_AND_DECRYPT)


@dataclass(frozen=True, slots=True)
class LocalMemory(Value):
    """In this node's memory, for as long as Identity Management runs."""


@dataclass(frozen=True, slots=True)
class LocalConnection(Value):
    """In a device, or another program, of this machine.

    Attributes:
        subtype: which.
    """

    subtype: str


@dataclass(frozen=True, slots=True)
class RemoteConnection(Value):
    """With the Identity Management of another node.

    Attributes:
        external_identity: its address.
    """

    external_identity: EngineID


Backend = LocalMemory | LocalConnection | RemoteConnection

LOCAL_MEMORY: Final = LocalMemory()


def not_offered(backend: Backend) -> str:
    """That a backend is not offered, and what is."""
    what = f"local_connection to {backend.subtype!r}" if isinstance(backend, LocalConnection) else backend.tag()
    return (
        f"The backend {what} is not offered here; there are local_memory, and remote_connection to the "
        "identity_management of another node"
    )
