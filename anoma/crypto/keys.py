"""Keys, signatures and digests as values.

Secrets show themselves nowhere: their `repr` names the kind only, there is no term for them, they are not pickled, and
they are no dataclasses, so that nothing which looks into values (``sys:get_state``, observer, traces) finds the bytes.

Source: nspec v0.2.0, "Cryptographic primitives", "Types for network identities".
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NoReturn

from nacl import bindings

from erlang_bridge.etf.conversions import Conversion, Mismatch
from erlang_bridge.terms.immutable import Immutable, set_once


class KeyRefused(ValueError):
    """Bytes that are no key of their kind, or a key that is of no use for what was asked. Never says what they are."""


class KeyKind(StrEnum):
    """What a key is for: to sign, to seal, or to encrypt with what both sides know."""

    ED25519 = "ed25519"
    CURVE25519 = "curve25519"
    XCHACHA20_POLY1305 = "xchacha20_poly1305"


KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
DIGEST_SIZE: Final = 32
NONCE_SIZE: Final = 24


def expect_size(data: Any, what: str, *sizes: int) -> None:
    """Refuse what is not bytes of one of the sizes.

    Raises:
        KeyRefused: says what was expected, and how much came.
    """
    if type(data) is not bytes or len(data) not in sizes:
        got = f"{len(data)} bytes" if type(data) is bytes else f"a value of the type {type(data).__name__}"
        raise KeyRefused(f"expected {' or '.join(map(str, sizes))} bytes as {what}, got {got}")


@dataclass(frozen=True, slots=True, order=True)
class PublicKey:
    """A public key: nspec's ``PublicKey``, and with it ``ExternalID``, ``NodeID``, ``TopicID`` and their like.

    Ordered by kind, then bytes.

    Attributes:
        data: 32 bytes.

    Raises:
        KeyRefused: another length, or a kind that has no public keys.
    """

    kind: KeyKind
    data: bytes

    def __post_init__(self) -> None:
        if self.kind not in (KeyKind.ED25519, KeyKind.CURVE25519):
            raise KeyRefused(f"a key for {self.kind} is secret: there is no public one")
        expect_size(self.data, f"a public key for {self.kind}", KEY_SIZE)

    def __repr__(self) -> str:
        return f"<PublicKey {self.kind} {self.data.hex()[:12]}...>"


@dataclass(frozen=True, slots=True, order=True)
class Signature:
    """A signature by one key; as a term, its bytes.

    Attributes:
        data: 64 bytes; none at all in the empty signature, which stands for one that could not be made.
    """

    data: bytes
    kind: KeyKind = KeyKind.ED25519

    def __post_init__(self) -> None:
        if self.kind is not KeyKind.ED25519:
            raise KeyRefused(f"signatures are made with ed25519, not with {self.kind}")
        expect_size(self.data, "a signature", SIGNATURE_SIZE, 0)

    def __erlang_term__(self) -> bytes:
        return self.data

    @classmethod
    def wire_conversion(cls) -> Conversion:
        def from_term(term: Any) -> Signature:
            try:
                return cls(term)
            except KeyRefused:
                raise Mismatch("should be a binary of 64 bytes, a signature") from None

        return Conversion(from_term, cls.__erlang_term__, lambda value: isinstance(value, cls))


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A BLAKE3 digest; as a term, its bytes.

    Attributes:
        data: 32 bytes.
    """

    data: bytes

    def __post_init__(self) -> None:
        expect_size(self.data, "a digest", DIGEST_SIZE)

    @property
    def hex(self) -> str:
        return self.data.hex()

    def __erlang_term__(self) -> bytes:
        return self.data

    @classmethod
    def wire_conversion(cls) -> Conversion:
        def from_term(term: Any) -> Digest:
            try:
                return cls(term)
            except KeyRefused:
                raise Mismatch("should be a binary of 32 bytes, a digest") from None

        return Conversion(from_term, cls.__erlang_term__, lambda value: isinstance(value, cls))


# -- secrets ----------------------------------------------------------------------------------


class Secret(Immutable):
    """Bytes that nobody is shown: keys, and what keys are made of.

    In a message it goes from an engine to itself or to its children, never to another node, and none is taken from
    outside.
    """

    __slots__ = ("_data",)

    _data: bytes

    def __init__(self, data: bytes) -> None:
        if type(data) is not bytes:
            raise KeyRefused(f"expected bytes, got a value of the type {type(data).__name__}")
        set_once(self, "_data", data)

    def reveal(self) -> bytes:
        """The bytes, for algorithms and for whoever stores keys."""
        return self._data

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and hmac.compare_digest(self._data, other._data)

    def __hash__(self) -> int:
        return hash((type(self), self._data))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, hidden>"

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not pickled: that would show it")

    @classmethod
    def wire_conversion(cls) -> Conversion:
        def from_term(term: Any) -> Any:
            if isinstance(term, cls):
                return term
            raise Mismatch(f"should be a {cls.__name__}, which is not taken from outside")

        return Conversion(from_term, None, lambda value: isinstance(value, cls))


class PrivateKey(Secret):
    """A private key: nspec's ``PrivateKey``, and with it ``InternalID``.

    Args:
        data: for ed25519 the seed, 32 bytes, or 64 with the public key behind it, as libsodium and ``enacl`` have it;
            for curve25519 32 bytes.

    Raises:
        KeyRefused: another length or kind, or the 64 bytes do not belong together.
    """

    __slots__ = ("kind", "public")

    kind: KeyKind
    public: PublicKey

    def __init__(self, kind: KeyKind, data: bytes) -> None:
        if kind is KeyKind.ED25519:
            expect_size(data, "a private key for ed25519", KEY_SIZE, 2 * KEY_SIZE)
            public, whole = bindings.crypto_sign_seed_keypair(data[:KEY_SIZE])
            if len(data) > KEY_SIZE and not hmac.compare_digest(whole, data):
                raise KeyRefused("the two halves of the private key for ed25519 do not belong together")
            data = whole
        elif kind is KeyKind.CURVE25519:
            expect_size(data, "a private key for curve25519", KEY_SIZE)
            public = bindings.crypto_scalarmult_base(data)
        else:
            raise KeyRefused(f"there are no private keys for {kind}, only secret ones")
        super().__init__(data)
        set_once(self, "kind", kind)
        set_once(self, "public", PublicKey(kind, public))

    def __repr__(self) -> str:
        return f"<PrivateKey {self.kind}, hidden>"


class SecretKey(Secret):
    """A key that all sides know, for XChaCha20-Poly1305, 32 bytes: nspec's ``SecretKey``."""

    __slots__ = ()

    kind: Final = KeyKind.XCHACHA20_POLY1305

    def __init__(self, data: bytes) -> None:
        expect_size(data, "a secret key", KEY_SIZE)
        super().__init__(data)

    def __repr__(self) -> str:
        return f"<SecretKey {self.kind}, hidden>"
