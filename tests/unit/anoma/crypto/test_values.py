"""Identities, commitments and evidence as values and as terms; what is refused, in words."""

from __future__ import annotations

from typing import Any

import pytest

from anoma.crypto import (
    Composed,
    DotName,
    ExternalKeys,
    IdentityNameEvidence,
    InternalKeys,
    KeyKind,
    KeyRefused,
    LocalName,
    Proof,
    PublicKey,
    Secret,
    Signature,
    Signed,
    SignsForEvidence,
    Special,
    Threshold,
    both,
    commit,
    digest,
    identity_of,
    signable,
)
from anoma.crypto.commitments import commitment_of
from anoma.crypto.identities import MAX_DEPTH, MAX_MEMBERS
from erlang_bridge.errors import EtfEncodeError
from erlang_bridge.etf import decode, encode
from erlang_bridge.etf.conversions import Mismatch
from erlang_bridge.terms import Atom, ImproperList, Map
from tests.identity_worlds import INTERNAL, NAMES, PEOPLE

MADE = commit(INTERNAL[0], b"data")
THRESHOLD, MEMBERS = Atom("threshold"), Atom("members")


def test_the_name_of_an_identity_is_the_hash_of_its_keys():
    person = PEOPLE[0]
    assert person.external_identity == digest(person.verifier.data + person.encryptor.data).hex
    assert len(set(NAMES)) == len(NAMES)
    assert PEOPLE[0] == INTERNAL[0].external
    hashed = [(name.encode(), 1) for name in sorted(NAMES[:2])]
    assert both(*PEOPLE[:2]).external_identity == digest(signable((b"threshold", 2, hashed))).hex
    assert both(*PEOPLE[:2]) == both(*PEOPLE[1::-1])
    assert Special.ALL.external_identity == digest(signable(b"all")).hex


IDENTITIES_AS_TERMS: Any = [
    PEOPLE[0],
    Special.ALL,
    Special.NONE,
    both(PEOPLE[0], both(PEOPLE[1], Special.ALL)),
    Threshold(0, ()),
]


def test_identities_as_terms():
    for identity in IDENTITIES_AS_TERMS:
        assert identity_of(decode(encode(identity))) == identity
        assert identity_of(identity) is identity


COMMITMENTS_AS_TERMS: Any = [MADE, MADE.signature, Composed(((NAMES[0], MADE), (NAMES[1], Composed(()))))]


def test_commitments_as_terms():
    for value in COMMITMENTS_AS_TERMS:
        assert commitment_of(decode(encode(value))) == value
        assert commitment_of(value) is value


KEYS = {Atom("verifier"): bytes(32), Atom("encryptor"): bytes(32)}


TERMS_THAT_ARE_NO_IDENTITIES: Any = [
    (None, "should be an identity"),
    (b"name", "should be an identity"),
    ((Atom("external_keys"), {}), "should be {external_keys, #{verifier"),
    ((Atom("external_keys"), {**KEYS, Atom("more"): 1}), "should be {external_keys, #{verifier"),
    ((Atom("external_keys"), {**KEYS, Atom("verifier"): bytes(31)}), "a public key of 32 bytes"),
    ((THRESHOLD, {THRESHOLD: 1}), "should be {threshold, #{threshold"),
    ((THRESHOLD, {THRESHOLD: True, MEMBERS: []}), "an integer, a weight or threshold, got True"),
    ((THRESHOLD, {THRESHOLD: -1, MEMBERS: []}), "expected weights and thresholds from 0"),
    ((THRESHOLD, {THRESHOLD: 1, MEMBERS: [(2**64, Atom("all"))]}), "expected weights and thresholds from 0"),
    ((THRESHOLD, {THRESHOLD: 1, MEMBERS: (1, 2)}), "a list of members"),
    ((THRESHOLD, {THRESHOLD: 1, MEMBERS: [Atom("all")]}), "a member {Weight, Identity}, got Atom"),
    ((THRESHOLD, {THRESHOLD: 1, MEMBERS: [(1, Atom("all"))] * 300}), "at most 256 identities"),
]


def test_terms_that_are_no_identities():
    for term, complaint in TERMS_THAT_ARE_NO_IDENTITIES:
        with pytest.raises(Mismatch) as caught:
            identity_of(term)
        assert complaint in str(caught.value)


TERMS_THAT_ARE_NO_COMMITMENTS: Any = [
    (None, "should be a commitment"),
    (bytes(63), "expected 64 or 0 bytes as a signature, got 63 bytes"),
    ((Atom("signed"), {Atom("signer"): Atom("all"), Atom("signature"): bytes(64)}), "an identity with keys"),
    ((Atom("composed"), []), "should be {composed, #{Name => Commitment}}"),
    ((Atom("composed"), {1: bytes(64)}), "an identity's name, got 1"),
    ((Atom("composed"), {b"\xff": bytes(64)}), "an identity's name"),
    ((Atom("composed"), {b"a": 1}), "should be a commitment"),
    ((Atom("composed"), Map((b"%d" % number, bytes(64)) for number in range(300))), "at most 256 signatures"),
]


def test_terms_that_are_no_commitments():
    for term, complaint in TERMS_THAT_ARE_NO_COMMITMENTS:
        with pytest.raises(Mismatch) as caught:
            commitment_of(term)
        assert complaint in str(caught.value)


def test_compositions_have_an_end():
    deep: Any = Special.ALL
    for _ in range(MAX_DEPTH):
        deep = Threshold(1, ((1, deep),))
    for too_much in (lambda: Threshold(1, ((1, deep),)), lambda: Threshold(1, tuple((1, wide(n)) for n in range(20)))):
        with pytest.raises(ValueError, match="at most 256 identities"):
            too_much()
    parts = tuple((f"{number}", MADE) for number in range(MAX_MEMBERS + 1))
    with pytest.raises(ValueError, match="at most 256 signatures"):
        Composed(parts)
    with pytest.raises(ValueError, match="two of one"):
        Composed((("a", MADE), ("a", MADE)))


def wide(number: int) -> Threshold:
    keys = [PublicKey(KeyKind.ED25519, bytes([number, member]) * 16) for member in range(20)]
    return Threshold(1, tuple((1, ExternalKeys(key, PEOPLE[0].encryptor)) for key in keys))


def test_keys_of_other_kinds():
    with pytest.raises(KeyRefused, match="expected a key for ed25519 and one for curve25519"):
        ExternalKeys(PEOPLE[0].encryptor, PEOPLE[0].verifier)
    with pytest.raises(KeyRefused, match="expected 64 random bytes to make an identity of, got 3"):
        InternalKeys.of(Secret(b"abc"))
    with pytest.raises(KeyRefused, match="signatures are made with ed25519"):
        Signature(bytes(64), KeyKind.CURVE25519)


TERMS_THAT_ARE_SOMETHING_ELSE: Any = [
    (SignsForEvidence, Atom("x"), "should be {signs_for_evidence, #{from_identity"),
    (Proof, (Atom("proof"), {}), "should be {proof, #{principal"),
    (LocalName, (Atom("local_name"), {Atom("name"): 1}), "a name, as a binary, got 1"),
    (DotName, (Atom("local_name"), {Atom("name"): b"x"}), "should be {dot_name, "),
    (IdentityNameEvidence, (Atom("identity_name_evidence"), {}), "should be {identity_name_evidence, "),
    (Signed, (Atom("signed"), {}), "should be {signed, "),
    (Signature, bytes(3), "a binary of 64 bytes"),
    (type(digest(b"")), bytes(3), "a binary of 32 bytes"),
]


def test_terms_that_are_something_else():
    for cls, term, complaint in TERMS_THAT_ARE_SOMETHING_ELSE:
        with pytest.raises(Mismatch) as caught:
            cls.wire_conversion().from_term(term)
        assert complaint in str(caught.value)


def test_the_bytes_to_sign():
    assert signable({2: b"b", 1: b"a"}) == signable(Map([(1, b"a"), (2, b"b")]))
    assert signable([{2: 1, 1: 2}]) == signable([{1: 2, 2: 1}])
    assert signable(ImproperList([{2: 1, 1: 2}], 3)) == signable(ImproperList([{1: 2, 2: 1}], 3))
    assert signable((1,)) != signable([1])
    assert decode(signable({b"k": (1, [2.5], Atom("x"))})) == {b"k": (1, [2.5], Atom("x"))}
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(ValueError, match="at most 200 deep"):
        signable(deep)
    with pytest.raises(EtfEncodeError):
        signable(object())
