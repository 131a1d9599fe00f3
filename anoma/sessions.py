"""What two nodes agree on when they connect: keys that are theirs alone, and messages that only the other can open.

Each side sends a fresh X25519 key that its node has signed. What both sent, in order, is the transcript: its digest
names the session, and goes into the keys, so that a session with another transcript is another session. A message is
encrypted with XChaCha20-Poly1305, its number the nonce, and then signed by its node over the session, the number and
the ciphertext.

Pure: the fresh keys are made of bytes that a `Ratchet` gives, whose first ones have to be random.

Source: ours; nspec v0.2.0 has ``EncryptedMsg`` with no other cipher than none. RFC 7748 (X25519).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from anoma.crypto.keys import (
    KEY_SIZE,
    NONCE_SIZE,
    KeyKind,
    KeyRefused,
    PrivateKey,
    PublicKey,
    Secret,
    SecretKey,
    Signature,
)
from anoma.crypto.primitives import decrypt, derive, digest, encrypt, sign, verify
from anoma.crypto.signable import signable

MAX_SEQ: Final = 2**64 - 1
_CONTEXT: Final = "pyanoma, session between nodes, version 1: "
_RATCHET: Final = "pyanoma, ratchet, version 1: "
_TAG: Final = b"node_msg"


@dataclass(frozen=True, slots=True)
class Ratchet:
    """Secret bytes one after the other. Who learns its state cannot find those that it gave before.

    Attributes:
        state: 32 bytes, random at first.
    """

    state: Secret

    def draw(self, purpose: str, size: int = KEY_SIZE) -> tuple[Secret, Ratchet]:
        """The next bytes, and the ratchet after them."""
        state = self.state.reveal()
        given = Secret(derive(state, f"{_RATCHET}{purpose}", size))
        return given, Ratchet(Secret(derive(state, f"{_RATCHET}next")))

    def key(self) -> tuple[PrivateKey, Ratchet]:
        """The next key for X25519."""
        secret, after = self.draw("key for x25519")
        return PrivateKey(KeyKind.CURVE25519, secret.reveal()), after


@dataclass(frozen=True, slots=True)
class Session:
    """What one side has of a session.

    Attributes:
        id: the digest of the transcript.
        sending: for the messages of this side.
        receiving: for those of the other.
    """

    id: bytes
    sending: SecretKey
    receiving: SecretKey


def agree(own: PrivateKey, other: PublicKey, transcript: bytes, *, initiator: bool) -> Session:
    """The session of the two keys.

    Args:
        own: this side's fresh key.
        other: the other side's.
        initiator: whether this side's part of the transcript is the first one.

    Raises:
        KeyRefused: the other's key is one of a few that protect nothing.
    """
    try:
        shared = bindings.crypto_scalarmult(own.reveal(), other.data)
    except (CryptoError, RuntimeError):
        raise KeyRefused("the public key for curve25519 is one of a few that protect nothing") from None
    name = digest(transcript).data
    there, back = (
        SecretKey(derive(shared + name, f"{_CONTEXT}{direction}")) for direction in ("to the other", "to the initiator")
    )
    return Session(name, there, back) if initiator else Session(name, back, there)


def close_up(session: Session, signer: PrivateKey, seq: int, plaintext: bytes) -> tuple[bytes, Signature]:
    """Encrypt and sign a message.

    Args:
        signer: the node's own key.
        seq: used once in a session.

    Returns:
        The ciphertext and the signature.
    """
    ciphertext = encrypt(session.sending, plaintext, _nonce(seq))
    return ciphertext, sign(signer, _statement(session, seq, ciphertext))


def open_up(session: Session, signer: PublicKey, seq: int, ciphertext: bytes, signature: Signature) -> bytes | None:
    """The plaintext; None: that node has not sent it in this session, or not as it is."""
    if not 0 <= seq <= MAX_SEQ or not verify(signer, _statement(session, seq, ciphertext), signature):
        return None
    return decrypt(session.receiving, ciphertext, _nonce(seq))


def _statement(session: Session, seq: int, ciphertext: bytes) -> bytes:
    return signable((_TAG, session.id, seq, ciphertext))


def _nonce(seq: int) -> bytes:
    return seq.to_bytes(NONCE_SIZE, "big")
