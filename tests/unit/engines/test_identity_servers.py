"""The identity engines as processes, through the functions that others call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from anoma.crypto import Special, both, commit, either, verify
from engines.commitment import server as commitment
from engines.decryption import server as decryption
from engines.encryption import server as encryption
from engines.engine import Refused
from engines.identity_management import server as identity_management
from engines.identity_management.backends import Capabilities, IDParams
from engines.naming import server as naming
from engines.reads_for import server as reads_for
from engines.signs_for import server as signs_for
from engines.verification import server as verification
from erlang_bridge import Atom, ErlangExit, Node
from tests.identity_worlds import CLASSES, INTERNAL, ON_A_NODE, PEOPLE


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node("identities@127.0.0.1", cookie="secret", listen=False, engines=CLASSES) as node:
        for name in ON_A_NODE:
            node.start(CLASSES[name], name=name)
        yield node


def test_an_identity_from_first_to_last(node: Node):
    alice = identity_management.generate_identity(node)
    assert alice.keys is not None
    made = commitment.commit(node, alice.commitment_engine, b"data")
    assert verify(alice.keys, b"data", made)
    assert verification.verify(node, b"data", made, alice.keys.external_identity)
    assert not verification.verify(node, b"datum", made, alice.keys)
    box = encryption.encrypt(node, b"secret", alice.keys)
    assert decryption.decrypt(node, alice.decryption_engine, box) == b"secret"
    with pytest.raises(Refused, match="Decryption Failed"):
        decryption.decrypt(node, alice.decryption_engine, box[1:])

    name = alice.keys.external_identity
    with pytest.raises(Refused, match="Not authorized"):
        identity_management.delete_identity(node, name)
    shared = identity_management.connect_identity(node, name, capabilities=Capabilities.COMMIT)
    identity_management.delete_identity(node, name, alice.authority)
    assert commitment.commit(node, shared.commitment_engine, b"data") == made
    with pytest.raises(ErlangExit):
        decryption.decrypt(node, alice.decryption_engine, box)
    identity_management.delete_identity(node, name, shared.authority)
    with pytest.raises(ErlangExit):
        commitment.commit(node, shared.commitment_engine, b"data")
    with pytest.raises(Refused, match="Identity does not exist"):
        identity_management.delete_identity(node, name, alice.authority)
    with pytest.raises(Refused, match="External identity not found"):
        identity_management.connect_identity(node, name)
    with pytest.raises(Refused, match="secp256k1 are not offered; there is ed25519"):
        identity_management.generate_identity(node, params=IDParams.SECP256K1)


def test_delegation(node: Node):
    alice, bob, carol = (identity_management.generate_identity(node) for _ in range(3))
    assert alice.keys is not None
    assert bob.keys is not None
    assert carol.keys is not None
    made = commitment.commit(node, alice.commitment_engine, b"data")
    assert not verification.verify(node, b"data", made, bob.keys, use_signs_for=True)
    first = signs_for.delegate(node, bob.keys, bob.commitment_engine, alice.keys)
    signs_for.delegate(node, carol.keys, carol.commitment_engine, bob.keys)
    assert verification.verify(node, b"data", made, carol.keys, use_signs_for=True)
    assert not verification.verify(node, b"data", made, carol.keys)
    assert signs_for.signs_for(node, alice.keys, carol.keys)
    assert signs_for.signs_for(node, alice.keys, either(bob.keys, carol.keys))
    assert not signs_for.signs_for(node, carol.keys, alice.keys)
    assert signs_for.query_evidence(node, alice.keys) == {first}
    assert len(signs_for.query_evidence(node, carol.keys, transitive=True)) == 2
    with pytest.raises(Refused, match="Evidence already exists"):
        signs_for.submit_evidence(node, first)
    # Signed by the delegate, and so worth nothing.
    with pytest.raises(Refused, match="Invalid evidence provided"):
        signs_for.delegate(node, bob.keys, carol.commitment_engine, carol.keys)

    reads_for.delegate(node, bob.keys, bob.commitment_engine, alice.keys)
    assert reads_for.reads_for(node, alice.keys, bob.keys)
    box = encryption.encrypt(node, b"secret", bob.keys.external_identity, use_reads_for=True)
    assert decryption.decrypt(node, bob.decryption_engine, box) == b"secret"
    with pytest.raises(Refused, match="not offered"):
        encryption.encrypt(node, b"secret", both(alice.keys, bob.keys), use_reads_for=True)
    assert len(reads_for.query_evidence(node, bob.keys)) == 1


def test_names(node: Node):
    alice, bob, carol = (identity_management.generate_identity(node) for _ in range(3))
    assert alice.keys is not None
    assert bob.keys is not None
    assert carol.keys is not None
    evidence = naming.name_identity(node, alice.keys, alice.commitment_engine, "bob", bob.keys)
    naming.name_identity(node, bob.keys, bob.commitment_engine, "carol", carol.keys)
    assert naming.resolve_path(node, alice.keys, "bob.carol") == {carol.keys.external_identity}
    assert naming.resolve_path(node, alice.keys, "carol") == frozenset()
    assert naming.query_name_evidence(node, bob.keys) == {evidence}
    naming.name_locally(node, "me", alice.keys)
    with pytest.raises(Refused, match="Evidence already exists"):
        naming.name_locally(node, "me", alice.keys)


def test_an_evidence_engine_that_is_not_there(node: Node):
    settings = {Atom("signs_for"): (None, Atom("nobody")), Atom("evidence_timeout_ms"): 30}
    node.start(CLASSES["verification"], settings, name="lonely")
    made = commit(INTERNAL[0], b"data")
    with pytest.raises(Refused, match="nobody has not answered in 30 ms"):
        verification.verify(node, b"data", made, PEOPLE[0], "lonely", use_signs_for=True)
    assert verification.verify(node, b"data", made, PEOPLE[0], "lonely")


def test_what_cannot_be_read_harms_nobody(node: Node):
    bad: list[Any] = [
        (Atom("request"), {Atom("data"): 1}),
        (Atom("request"), {}),
        (Atom("drawn"), {Atom("number"): 1, Atom("randomness"): b"x" * 96}),
        (Atom("generate_identity_request"), {Atom("params"): Atom("rsa")}),
        (Atom("submit_signs_for_evidence_request"), {Atom("evidence"): Atom("all")}),
        17,
    ]
    deep: Any = Atom("all")
    for _ in range(5000):
        deep = (Atom("threshold"), {Atom("threshold"): 1, Atom("members"): [(1, deep)]})
    bad.append((Atom("signs_for_request"), {Atom("external_identity_a"): deep, Atom("external_identity_b"): b""}))
    for engine in ON_A_NODE:
        for request in bad:
            assert node.call(engine, request)[0] is Atom("error")
    assert identity_management.generate_identity(node).err is None
    assert signs_for.signs_for(node, Special.NONE, PEOPLE[0])


def test_private_keys_are_not_shown(node: Node):
    made = identity_management.generate_identity(node)
    committer = made.commitment_engine
    assert committer is not None
    process = node.table.find(node.whereis("identity_management"))
    assert process is not None
    info = process.instance.environment.state.identities[made.external_identity]  # type: ignore[attr-defined]
    shown = ""
    for engine in ("identity_management", committer.name):
        shown += repr(node.call("rex", (Atom("call"), Atom("sys"), Atom("get_state"), [Atom(engine)], Atom("user"))))
    assert shown.count("hidden") >= 3
    for secret in (info.internal.signer.reveal(), info.internal.decryptor.reveal(), info.seed.reveal()):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
