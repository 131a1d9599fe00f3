"""What two nodes agree on when they connect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoma.crypto import KeyKind, KeyRefused, PrivateKey, PublicKey, Secret, Signature
from anoma.sessions import Ratchet, Session, agree, close_up, open_up

SIGNER = PrivateKey(KeyKind.ED25519, bytes(range(32)))
STRANGER = PrivateKey(KeyKind.ED25519, bytes(range(1, 33)))


def keys(seed: int = 0) -> tuple[PrivateKey, PrivateKey]:
    one, ratchet = Ratchet(Secret(bytes([seed]) * 32)).key()
    return one, ratchet.key()[0]


def sessions(transcript: bytes = b"words", seed: int = 0) -> tuple[Session, Session]:
    one, other = keys(seed)
    return (
        agree(one, other.public, transcript, initiator=True),
        agree(other, one.public, transcript, initiator=False),
    )


def test_both_sides_have_the_same_keys_and_each_its_own_for_sending():
    one, other = sessions()
    assert (one.id, one.sending, one.receiving) == (other.id, other.receiving, other.sending)
    assert one.sending != one.receiving


def test_a_session_is_of_its_transcript_and_of_its_keys():
    ids = [sessions()[0], sessions(b"other words")[0], sessions(seed=1)[0]]
    assert len({session.sending for session in ids}) == 3


@given(st.binary(max_size=100), st.integers(1, 2**64 - 1), st.data())
def test_what_is_changed_in_any_byte_does_not_open(plaintext: bytes, seq: int, data: st.DataObject):
    one, other = sessions()
    ciphertext, signature = close_up(one, SIGNER, seq, plaintext)
    assert open_up(other, SIGNER.public, seq, ciphertext, signature) == plaintext
    changed = bytearray(ciphertext + signature.data)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    cut = len(ciphertext)
    assert open_up(other, SIGNER.public, seq, bytes(changed[:cut]), Signature(bytes(changed[cut:]))) is None
    assert open_up(other, SIGNER.public, seq ^ 1, ciphertext, signature) is None
    assert open_up(other, STRANGER.public, seq, ciphertext, signature) is None
    assert open_up(sessions(b"other words")[1], SIGNER.public, seq, ciphertext, signature) is None
    assert open_up(one, SIGNER.public, seq, ciphertext, signature) is None
    assert open_up(other, SIGNER.public, -1, ciphertext, signature) is None


def test_a_key_that_protects_nothing_is_refused():
    with pytest.raises(KeyRefused, match="protect nothing"):
        agree(keys()[0], PublicKey(KeyKind.CURVE25519, bytes(32)), b"", initiator=True)


def test_a_ratchet_gives_others_each_time():
    ratchet = Ratchet(Secret(bytes(32)))
    drawn = []
    for _ in range(10):
        secret, ratchet = ratchet.draw("test")
        drawn.append(secret.reveal())
    assert len(set(drawn)) == 10
    assert ratchet.state.reveal() not in drawn
