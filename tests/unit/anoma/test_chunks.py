"""Objects in chunks. N3: the digest is the id, the object comes together again, any changed byte is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoma.chunks import ACL, Chunk, ChunkRefused, StoredObject, assemble, chunk_from, cut, open_chunk
from anoma.crypto import KeyKind, PrivateKey, SecretKey
from anoma.crypto.primitives import derive, digest, encrypt
from anoma.crypto.signable import signable
from erlang_bridge.etf import decode, encode
from erlang_bridge.etf.conversions import Mismatch
from erlang_bridge.terms import Atom

EXPIRY = 2_000_000_000
OWNER = PrivateKey(KeyKind.ED25519, bytes(range(32)))


def table(chunks: tuple[Chunk, ...]) -> dict[bytes, Chunk]:
    return {chunk.id: chunk for chunk in chunks}


@given(st.binary(max_size=400), st.binary(max_size=8), st.integers(1, 64), st.integers(2, 5))
def test_an_object_comes_together_again(data: bytes, secret: bytes, part_size: int, fan_out: int):
    stored, chunks = cut(data, secret, EXPIRY, part_size=part_size, fan_out=fan_out)
    assert assemble(stored, table(chunks).get) == data
    assert cut(data, secret, EXPIRY, part_size=part_size, fan_out=fan_out) == (stored, chunks)
    assert all(chunk_from(decode(encode(chunk.__erlang_term__()))).id == chunk.id for chunk in chunks)


@given(st.data())
def test_any_changed_byte_of_any_chunk_is_found(data: st.DataObject):
    stored, chunks = cut(bytes(range(100)), b"secret", EXPIRY, part_size=20, fan_out=3)
    index = data.draw(st.integers(0, len(chunks) - 1))
    broken = chunks[index]
    at = data.draw(st.integers(0, len(broken.content) - 1))
    content = bytearray(broken.content)
    content[at] ^= data.draw(st.integers(1, 255))
    wrong = replace(broken, content=bytes(content))
    assert wrong.id != broken.id
    with pytest.raises(ChunkRefused, match="digest"):
        assemble(stored, {**table(chunks), broken.id: wrong}.get)
    moved = replace(broken, expiry=broken.expiry + 1)
    with pytest.raises(ChunkRefused, match="digest"):
        assemble(stored, {**table(chunks), broken.id: moved}.get)


def test_who_does_not_know_the_secret_finds_nothing_out():
    stored, chunks = cut(b"a text that many know", b"secret", EXPIRY)
    _, others = cut(b"a text that many know", b"", EXPIRY)
    assert not table(chunks).keys() & table(others).keys()
    assert b"many know" not in b"".join(chunk.content for chunk in chunks)
    with pytest.raises(ChunkRefused, match="another key"):
        assemble(replace(stored, key=SecretKey(bytes(32))), table(chunks).get)


def test_equal_parts_are_one_chunk():
    stored, chunks = cut(bytes(1000), b"", EXPIRY, part_size=10)
    assert len(chunks) < 10
    assert assemble(stored, table(chunks).get) == bytes(1000)


def test_what_is_missing_or_too_much_is_said():
    stored, chunks = cut(bytes(range(100)), b"", EXPIRY, part_size=10, fan_out=4)
    with pytest.raises(ChunkRefused, match=f"the chunk {chunks[0].id.hex()} is missing"):
        assemble(stored, table(chunks[1:]).get)
    with pytest.raises(ChunkRefused, match="more than 50 bytes"):
        assemble(stored, table(chunks).get, max_size=50)


A_CHUNK_OF_SOMEBODY_WHO_CHEATS = [
    1,
    (Atom("leaf_node"), 1),
    (Atom("internal_node"), [bytes(32)]),
    (Atom("internal_node"), []),
]


def test_a_chunk_of_somebody_who_cheats():
    """Its digest is right, what is in it is not."""
    for term in A_CHUNK_OF_SOMEBODY_WHO_CHEATS:
        plaintext = signable(term)
        key = SecretKey(derive(digest(plaintext).data, "whatever"))
        chunk = Chunk((), EXPIRY, encrypt(key, plaintext, bytes(24)))
        with pytest.raises(ChunkRefused, match="neither a leaf nor an inner node"):
            open_chunk(chunk, StoredObject(chunk.id, key))


def test_a_tree_without_an_end_is_given_up():
    key = SecretKey(bytes(32))
    chunk = Chunk((), EXPIRY, encrypt(key, signable((Atom("leaf_node"), b"")), bytes(24)))
    chunks = [chunk]
    for _ in range(14):
        content = encrypt(key, signable((Atom("internal_node"), [key.reveal()])), bytes(24))
        chunks.append(Chunk((chunks[-1].id,), EXPIRY, content))
    with pytest.raises(ChunkRefused, match="levels"):
        assemble(StoredObject(chunks[-1].id, key), table(tuple(chunks)).get)


def test_access_lists_are_signed():
    acl = ACL.signed(OWNER, [bytes(32)], 3)
    assert acl.holds()
    assert not replace(acl, version=4).holds()
    assert not replace(acl, members=frozenset((bytes(31) + b"\1",))).holds()
    assert not replace(acl, owner=bytes(32)).holds()


WHAT_IS_NO_CHUNK = [
    7,
    (Atom("chunk"), {}),
    Chunk((), 1, b"").__erlang_term__()[0:1],
    (Atom("chunk"), {**Chunk((), 1, b"").__erlang_term__()[1], Atom("expiry"): 1.5}),
    (Atom("chunk"), {**Chunk((), 1, b"").__erlang_term__()[1], Atom("expiry"): -1}),
    (Atom("chunk"), {**Chunk((), 1, b"").__erlang_term__()[1], Atom("children"): [b"short"]}),
    (Atom("chunk"), {**Chunk((), 1, b"").__erlang_term__()[1], Atom("acl"): (Atom("acl"), {})}),
]


def test_what_is_no_chunk():
    for term in WHAT_IS_NO_CHUNK:
        with pytest.raises(Mismatch):
            chunk_from(term)


def test_impossible_sizes():
    with pytest.raises(ValueError, match="parts"):
        cut(b"", b"", EXPIRY, part_size=0)
    with pytest.raises(ValueError, match="at most"):
        Chunk((), EXPIRY, bytes(2 << 20))
