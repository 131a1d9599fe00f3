"""The algorithms against published vectors and against libsodium's own sealed boxes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from nacl.public import PrivateKey as SodiumKey
from nacl.public import SealedBox

from anoma.crypto import (
    Digest,
    KeyKind,
    KeyRefused,
    PrivateKey,
    PublicKey,
    Secret,
    SecretKey,
    Signature,
    decrypt,
    digest,
    encrypt,
    seal,
    sign,
    unseal,
)
from anoma.crypto.primitives import derive, verify
from erlang_bridge.errors import EtfEncodeError
from erlang_bridge.etf import encode
from erlang_bridge.etf.conversions import Mismatch
from erlang_bridge.otp.readable import readable

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2465"
            "5141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb0"
            "0d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc0"
            "27beceea1ec40a"
        ),
    ),
]


ED25519: Any = RFC_8032


def test_ed25519():
    for seed, public, message, signature in ED25519:
        key = PrivateKey(KeyKind.ED25519, bytes.fromhex(seed))
        assert key.public == PublicKey(KeyKind.ED25519, bytes.fromhex(public))
        made = sign(key, bytes.fromhex(message))
        assert made.data.hex() == signature
        assert verify(key.public, bytes.fromhex(message), made)
        assert PrivateKey(KeyKind.ED25519, bytes.fromhex(seed + public)) == key
        assert not verify(key.public, bytes.fromhex(message) + b"\0", made)


X25519_KEYS_OF_RFC_7748: Any = [
    (
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
    ),
    (
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
    ),
]


def test_x25519_keys_of_rfc_7748():
    for private, public in X25519_KEYS_OF_RFC_7748:
        assert PrivateKey(KeyKind.CURVE25519, bytes.fromhex(private)).public.data.hex() == public


BLAKE3: Any = [
    (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
    (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
    (1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11"),
    (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
    (1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"),
]


def test_blake3():
    for length, hexdigest in BLAKE3:
        assert digest(bytes(index % 251 for index in range(length))).hex == hexdigest


def test_xchacha20_poly1305_of_the_draft():
    key = SecretKey(bytes(range(0x80, 0xA0)))
    nonce = bytes(range(0x40, 0x58))
    associated = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    plaintext = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    ciphertext = encrypt(key, plaintext, nonce, associated)
    assert ciphertext.hex() == (
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216"
        "cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13"
        "b52ec0875924c1c7987947deafd8780acf49"
    )
    assert decrypt(key, ciphertext, nonce, associated) == plaintext
    assert decrypt(key, ciphertext, nonce) is None
    assert decrypt(SecretKey(bytes(32)), ciphertext, nonce, associated) is None
    assert decrypt(key, b"short", nonce) is None
    assert decrypt(key, encrypt(key, b"", nonce), nonce) == b""
    with pytest.raises(KeyRefused, match="expected 24 bytes as a nonce, got 12 bytes"):
        encrypt(key, plaintext, bytes(12))


SEALED_BOXES_ARE_THOSE_OF_LIBSODIUM: Any = [b"", b"x", bytes(range(256)) * 20]


def test_sealed_boxes_are_those_of_libsodium():
    for plaintext in SEALED_BOXES_ARE_THOSE_OF_LIBSODIUM:
        key = PrivateKey(KeyKind.CURVE25519, b"\x11" * 32)
        sealed = seal(key.public, plaintext, PrivateKey(KeyKind.CURVE25519, b"\x22" * 32))
        assert len(sealed) == len(plaintext) + 48
        assert SealedBox(SodiumKey(b"\x11" * 32)).decrypt(sealed) == plaintext
        assert unseal(key, SealedBox(SodiumKey(b"\x11" * 32).public_key).encrypt(plaintext)) == plaintext
        assert unseal(PrivateKey(KeyKind.CURVE25519, b"\x12" * 32), sealed) is None
        for place in (0, 31, 32, len(sealed) - 1):
            changed = bytearray(sealed)
            changed[place] ^= 1
            assert unseal(key, bytes(changed)) is None
        assert unseal(key, sealed[:47]) is None


def test_a_key_that_protects_nothing_is_refused():
    with pytest.raises(KeyRefused, match="protect nothing"):
        seal(PublicKey(KeyKind.CURVE25519, bytes(32)), b"x", PrivateKey(KeyKind.CURVE25519, b"\x22" * 32))


def test_keys_are_for_one_purpose():
    signer, decryptor = PrivateKey(KeyKind.ED25519, b"\1" * 32), PrivateKey(KeyKind.CURVE25519, b"\1" * 32)
    with pytest.raises(KeyRefused, match="expected a key for ed25519 to sign with, got one for curve25519"):
        sign(decryptor, b"")
    with pytest.raises(KeyRefused, match="to open with"):
        unseal(signer, b"")
    with pytest.raises(KeyRefused, match="to seal with"):
        seal(signer.public, b"", decryptor)
    with pytest.raises(KeyRefused, match="to verify with"):
        verify(decryptor.public, b"", Signature(b""))
    with pytest.raises(KeyRefused, match="there is no public one"):
        PublicKey(KeyKind.XCHACHA20_POLY1305, bytes(32))
    with pytest.raises(KeyRefused, match="only secret ones"):
        PrivateKey(KeyKind.XCHACHA20_POLY1305, bytes(32))


BYTES_THAT_ARE_NO_KEY: Any = [b"", bytes(31), bytes(33), "text", None]


def test_bytes_that_are_no_key():
    makers: list[Callable[[Any], object]] = [
        lambda data: PublicKey(KeyKind.ED25519, data),
        lambda data: PrivateKey(KeyKind.ED25519, data),
        lambda data: PrivateKey(KeyKind.CURVE25519, data),
        SecretKey,
        Digest,
    ]
    for data in BYTES_THAT_ARE_NO_KEY:
        for make in makers:
            with pytest.raises(KeyRefused, match="expected 32"):
                make(data)


def test_two_halves_that_do_not_belong_together():
    with pytest.raises(KeyRefused, match="do not belong together"):
        PrivateKey(KeyKind.ED25519, bytes(64))


def test_public_keys_have_an_order():
    keys = [
        PublicKey(kind, bytes([number]) * 32) for number in (2, 1) for kind in (KeyKind.ED25519, KeyKind.CURVE25519)
    ]
    ordered = sorted(keys)
    assert [(key.kind, key.data[0]) for key in ordered] == [
        ("curve25519", 1),
        ("curve25519", 2),
        ("ed25519", 1),
        ("ed25519", 2),
    ]


SECRETS = [
    Secret(b"\xabhidden hidden hidden hidden hid"),
    SecretKey(b"\xabhidden hidden hidden hidden hid"),
    PrivateKey(KeyKind.ED25519, b"\xabhidden hidden hidden hidden hid"),
    PrivateKey(KeyKind.CURVE25519, b"\xabhidden hidden hidden hidden hid"),
]


@pytest.mark.parametrize("secret", SECRETS, ids=repr)
def test_a_secret_shows_itself_nowhere(secret: Secret):
    shown = [repr(secret), str(secret), f"{secret!r:>80}", repr([secret]), repr(readable(secret))]
    shown.append(repr(readable({"state": (secret,)})))
    wire = secret.wire_conversion().from_term
    assert wire is not None
    attempts: list[Callable[[], object]] = [
        lambda: encode(secret),
        lambda: pickle.dumps(secret),
        lambda: vars(secret),
        lambda: wire(b"\xabhidden hidden hidden hidden hid"),
    ]
    for attempt in attempts:
        with pytest.raises((EtfEncodeError, TypeError, Mismatch)) as caught:
            attempt()
        shown.append(str(caught.value))
    assert all("hidden hidden" not in text and "6869" not in text for text in shown), shown
    assert copy.deepcopy(secret) is secret
    with pytest.raises(AttributeError):
        secret._data = b""


def test_derived_bytes_differ_by_context():
    assert derive(b"secret", "one") == derive(b"secret", "one")
    assert len({derive(b"secret", "one"), derive(b"secret", "two"), derive(b"secret2", "one")}) == 3
    assert len(derive(b"secret", "one", 16)) == 16
