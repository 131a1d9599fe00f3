"""The four algorithms: Ed25519, sealed boxes of X25519, XChaCha20-Poly1305, BLAKE3.

libsodium and BLAKE3's own library do the work. Nothing here draws random bytes: they are arguments.

Source: RFC 8032 (Ed25519), RFC 7748 (X25519), libsodium's "Sealed boxes" and "XChaCha20-Poly1305-IETF", the BLAKE3
paper. The Elixir node's ``Anoma.Crypto`` has the same four, by ``enacl``.
"""

from __future__ import annotations

import hashlib
from typing import Final

from blake3 import blake3
from nacl import bindings
from nacl.exceptions import CryptoError

from anoma.crypto.keys import (
    KEY_SIZE,
    NONCE_SIZE,
    SIGNATURE_SIZE,
    Digest,
    KeyKind,
    KeyRefused,
    PrivateKey,
    PublicKey,
    SecretKey,
    Signature,
    expect_size,
)

TAG_SIZE: Final = 16
SEAL_OVERHEAD: Final = KEY_SIZE + TAG_SIZE


def sign(key: PrivateKey, data: bytes) -> Signature:
    """Sign with Ed25519. The same key and data give the same signature.

    Raises:
        KeyRefused: a key of another kind.
    """
    _expect(key, KeyKind.ED25519, "sign")
    return Signature(bindings.crypto_sign(data, key.reveal())[:SIGNATURE_SIZE])


def verify(key: PublicKey, data: bytes, signature: Signature) -> bool:
    """Whether the owner of the key has signed `data`.

    Raises:
        KeyRefused: a key of another kind.
    """
    _expect(key, KeyKind.ED25519, "verify")
    if not signature.data:
        return False
    try:
        bindings.crypto_sign_open(signature.data + data, key.data)
    except CryptoError:
        return False
    return True


def seal(key: PublicKey, plaintext: bytes, ephemeral: PrivateKey) -> bytes:
    """A sealed box, which only the owner of the key can open; 48 bytes longer than the plaintext.

    The same as libsodium's ``crypto_box_seal``, but for where the random key comes from.

    Args:
        ephemeral: made of fresh random bytes, and used for this box only.

    Raises:
        KeyRefused: a key of another kind, or a public key that makes boxes everybody could open.
    """
    _expect(key, KeyKind.CURVE25519, "seal")
    _expect(ephemeral, KeyKind.CURVE25519, "seal")
    sender = ephemeral.public.data
    nonce = hashlib.blake2b(sender + key.data, digest_size=NONCE_SIZE).digest()
    try:
        box = bindings.crypto_box(plaintext, nonce, key.data, ephemeral.reveal())
    except CryptoError:
        raise KeyRefused("the public key for curve25519 is one of a few that protect nothing") from None
    return sender + bytes(box)


def unseal(key: PrivateKey, sealed: bytes) -> bytes | None:
    """What is in a sealed box; None: it is not for this key, or has been changed.

    Raises:
        KeyRefused: a key of another kind.
    """
    _expect(key, KeyKind.CURVE25519, "open")
    if len(sealed) < SEAL_OVERHEAD:
        return None
    try:
        return bytes(bindings.crypto_box_seal_open(sealed, key.public.data, key.reveal()))
    except CryptoError:
        return None


def encrypt(key: SecretKey, plaintext: bytes, nonce: bytes, associated: bytes = b"") -> bytes:
    """Encrypt with XChaCha20-Poly1305; 16 bytes longer than the plaintext. The nonce is not part of it.

    Args:
        nonce: 24 bytes, never used twice with one key.
        associated: not encrypted, and needed unchanged to decrypt.

    Raises:
        KeyRefused: a nonce of another length.
    """
    expect_size(nonce, "a nonce", NONCE_SIZE)
    return bytes(
        bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated or None, nonce, key.reveal())
    )


def decrypt(key: SecretKey, ciphertext: bytes, nonce: bytes, associated: bytes = b"") -> bytes | None:
    """The plaintext; None: another key, nonce or associated data, or it has been changed.

    Raises:
        KeyRefused: a nonce of another length.
    """
    expect_size(nonce, "a nonce", NONCE_SIZE)
    if len(ciphertext) < TAG_SIZE:
        return None
    try:
        return bytes(
            bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, associated or None, nonce, key.reveal())
        )
    except CryptoError:
        return None


def digest(data: bytes) -> Digest:
    """The BLAKE3 digest."""
    return Digest(blake3(data).digest())


def derive(secret: bytes, context: str, size: int = KEY_SIZE) -> bytes:
    """Bytes that only who knows `secret` can find, by BLAKE3's key derivation; others for each `context`."""
    return blake3(secret, derive_key_context=context).digest(length=size)


def _expect(key: PublicKey | PrivateKey, kind: KeyKind, purpose: str) -> None:
    if key.kind is not kind:
        raise KeyRefused(f"expected a key for {kind} to {purpose} with, got one for {key.kind}")
