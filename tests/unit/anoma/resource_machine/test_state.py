"""The state as values: commitment tree, nullifier set, blobs; compliance units and proof kinds, which refer to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anoma.crypto.keys import KeyKind, PrivateKey
from anoma.crypto.primitives import sign
from anoma.nock.noun import Cell, noun
from anoma.resource_machine import Delta, Rules
from anoma.resource_machine.accumulator import DEPTH, CommitmentTree, Frontier, MerklePath, verify_path
from anoma.resource_machine.blobs import (
    AfterBlock,
    AfterSignature,
    AfterTime,
    Blob,
    BlobStore,
    DeletionCriterion,
    Either,
    Forever,
    Moment,
    Now,
    criterion_of,
)
from anoma.resource_machine.building import REFUSING_LOGIC, action, ephemeral, lasting, transfer
from anoma.resource_machine.compliance import ComplianceUnit, ComplianceWitness, Consumed
from anoma.resource_machine.errors import (
    DeltaMismatch,
    LogicRefused,
    NullifierExists,
    ProofRefused,
    ResourceMissing,
    WrongDeletionCriterion,
    WrongTag,
)
from anoma.resource_machine.nullifier_set import NullifierSet
from anoma.resource_machine.proving import attest, proof_from_noun

KEY = PrivateKey(KeyKind.ED25519, b"\x07" * 32)
OTHER_KEY = PrivateKey(KeyKind.ED25519, b"\x08" * 32)
COIN, NEW_COIN = lasting(b"coin", 5, 1), lasting(b"coin", 5, 2)


# -- tree -------------------------------------------------------------------------------------


def leaves(count: int) -> list[bytes]:
    return [b"CM_%d" % number for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 33])
def test_paths_lead_to_the_root(count: int) -> None:
    tree = CommitmentTree().add(leaves(count))
    frontier, made = Frontier().grow(leaves(count))
    assert tree.root == tree.frontier.root == frontier.root
    full = {(height, index): hashed for height, index, hashed in made}
    for position, leaf in enumerate(leaves(count)):
        path = tree.witness(leaf)
        assert path is not None
        assert frontier.path(position, lambda *place: full[place]) == path
        assert verify_path(leaf, path, tree.root)
        assert not verify_path(b"CM_other", path, tree.root)
        assert not verify_path(leaf, replace(path, position=path.position ^ 1), tree.root)
        assert not verify_path(leaf, path, CommitmentTree().add([leaf, *leaves(count)]).root)
    assert tree.witness(b"CM_other") is None
    with pytest.raises(ValueError, match=f"has none at position {count}"):
        frontier.path(count, lambda *place: full[place])


def test_versions_of_a_tree_stay() -> None:
    first = CommitmentTree().add(leaves(5))
    left, right = first.add([b"left"]), first.add([b"right", b"more"])
    assert (first.size, left.size, right.size) == (5, 6, 7)
    assert first.root == CommitmentTree().add(leaves(5)).root
    assert left.root == CommitmentTree().add([*leaves(5), b"left"]).root
    assert right.root == CommitmentTree().add([*leaves(5), b"right", b"more"]).root
    assert first.witness(b"left") is right.witness(b"left") is None
    path = first.witness(b"CM_2")
    assert path is not None
    assert verify_path(b"CM_2", path, first.root)
    assert not verify_path(b"CM_2", path, left.root)


def test_a_node_is_no_leaf() -> None:
    tree = CommitmentTree().add(leaves(2))
    path = tree.witness(b"CM_0")
    assert path is not None
    assert not verify_path(path.siblings[0], MerklePath(0, path.siblings[1:]), tree.root)


def test_frontiers_as_terms() -> None:
    frontier = Frontier().add(leaves(11))
    assert Frontier.from_term(frontier.to_term()) == frontier
    assert frontier.add([b"x"]) == Frontier().add([*leaves(11), b"x"])
    for bad in (None, (3, [b"x"]), (1, []), (-1, [])):
        with pytest.raises(ValueError, match="tree"):
            Frontier.from_term(bad)


def test_a_full_tree_says_so() -> None:
    full = Frontier((1 << DEPTH) - 1, (bytes(32),) * DEPTH)
    assert full.add([b"last"]).root
    with pytest.raises(ValueError, match="is full"):
        full.add([b"last", b"one more"])


def test_nullifier_set() -> None:
    spent = NullifierSet().insert([b"NF_1", b"NF_2"])
    assert spent.contains(b"NF_1")
    with pytest.raises(NullifierExists, match="NF_32") as caught:
        spent.insert([b"NF_3", b"NF_2"])
    assert caught.value.nullifier == b"NF_2"
    assert not spent.contains(b"NF_3")


# -- blobs ------------------------------------------------------------------------------------

SIGNED = AfterSignature(KEY.public.data, b"delete it")
CRITERIA: list[tuple[DeletionCriterion, Moment, Moment]] = [
    (AfterBlock(5), Moment(block=5), Moment(block=6)),
    (AfterTime(100), Moment(time_s=100), Moment(time_s=100.5)),
    (
        SIGNED,
        Moment(signatures=frozenset({(KEY.public.data, b"delete it", sign(OTHER_KEY, b"delete it").data)})),
        Moment(signatures=frozenset({(KEY.public.data, b"delete it", sign(KEY, b"delete it").data)})),
    ),
    (Either(AfterBlock(5), AfterTime(100)), Moment(5, 100), Moment(0, 101)),
    (Either(AfterBlock(5), SIGNED), Moment(5), Moment(6)),
]


@pytest.mark.parametrize(("criterion", "before", "after"), CRITERIA)
def test_deletion_criteria(criterion: DeletionCriterion, before: Moment, after: Moment) -> None:
    assert criterion_of(criterion.to_noun()) == criterion
    store = BlobStore().put(b"key", Blob(noun(1, 2), criterion))
    assert store.get(b"key", before) == noun(1, 2)
    assert store.get(b"key", after) is None
    assert store.collect(before) == store
    assert store.collect(after) == BlobStore()
    assert Blob.from_term(Blob(7, criterion).to_term()) == Blob(7, criterion)


def test_now_and_forever() -> None:
    assert criterion_of(0) == criterion_of(b"") == Forever()
    assert criterion_of(b"\1") == Now()
    store = BlobStore().put(1, Blob(b"x", Now())).put(2, Blob(b"y", Forever()))
    assert set(store.blobs) == {2}
    assert store.get(2, Moment(10**9, 10.0**12)) == b"y"


def test_wrong_criteria_are_told() -> None:
    deep = noun(b"block", 1)
    for _ in range(20):
        deep = noun(b"either", deep, 0)
    for bad in (2, noun(b"sometime", 1), noun(b"block", [1, 2]), noun(b"signature", 1), noun([1, 2], 3), deep):
        with pytest.raises(WrongDeletionCriterion, match="expected"):
            criterion_of(bad)


# -- compliance -------------------------------------------------------------------------------


def unit() -> tuple[ComplianceUnit, CommitmentTree]:
    tree = CommitmentTree().add([b"CM_first", COIN.commitment])
    witness = ComplianceWitness(
        (Consumed(COIN, tree.witness(COIN.commitment)), Consumed(ephemeral(b"hat", 2))), (NEW_COIN, lasting(b"hat", 1))
    )
    return ComplianceUnit.create(witness, tree.root), tree


def test_a_compliance_unit_complies() -> None:
    made, _ = unit()
    made.verify()
    assert made.created() == (NEW_COIN.commitment, lasting(b"hat", 1).commitment)
    assert made.consumed() == (COIN.nullifier, ephemeral(b"hat", 2).nullifier)
    assert made.delta == Delta({lasting(b"hat").kind: -1})


def test_each_constraint_of_compliance_is_checked() -> None:
    made, tree = unit()
    instance, witness = made.instance, made.proof
    assert isinstance(witness, ComplianceWitness)
    coin, hat = instance.consumed
    other = tree.add([b"CM_more"])
    for changed, error in (
        (replace(instance, consumed=(replace(coin, root=other.root), hat)), ResourceMissing),
        (replace(instance, consumed=(replace(coin, nullifier=b"NF_x"), hat)), WrongTag),
        (replace(instance, consumed=(replace(coin, logic=bytes(32)), hat)), ProofRefused),
        (replace(instance, consumed=(coin,)), ProofRefused),
        (replace(instance, created=instance.created[::-1]), WrongTag),
        (replace(instance, unit_delta=Delta()), DeltaMismatch),
        (replace(instance, unit_delta=-instance.unit_delta), DeltaMismatch),
    ):
        with pytest.raises(error):
            replace(made, instance=changed).verify()
    with pytest.raises(ProofRefused, match="predicate"):
        replace(made, verifying_key=bytes(32)).verify()


def test_an_action_is_one_unit() -> None:
    made = action([COIN], [NEW_COIN, lasting(b"hat")])
    whole = made.compliance_unit()
    whole.verify()
    assert set(whole.created()) == made.commitments
    assert set(whole.consumed()) == made.nullifiers
    assert whole.delta == made.delta


# -- trusted delegation -----------------------------------------------------------------------


def test_the_word_of_a_trusted_key_stands_for_a_logic() -> None:
    one, other = lasting(b"x", 1, 1, REFUSING_LOGIC), lasting(b"x", 1, 2, REFUSING_LOGIC)
    transaction = transfer([one], [other])
    words = {
        proof.self_tag.value: attest(proof.verifying_key(), proof.inputs(), KEY)
        for made in transaction.actions
        for proof in made.proofs
    }
    transaction.verify(Rules(trusted=frozenset({KEY.public}), attestations=words))
    with pytest.raises(ProofRefused, match="not trusted"):
        transaction.verify(Rules(trusted=frozenset({OTHER_KEY.public}), attestations=words))
    swapped = dict(zip(words, reversed(words.values()), strict=True))
    with pytest.raises(ProofRefused, match="wrong signature"):
        transaction.verify(Rules(trusted=frozenset({KEY.public}), attestations=swapped))
    with pytest.raises(LogicRefused):
        transaction.verify(Rules(trusted=frozenset({KEY.public})))


def test_the_word_of_a_trusted_key_stands_for_compliance() -> None:
    made, _ = unit()
    said = replace(made, proof=attest(made.verifying_key, made.instance.to_noun(), KEY))
    said.verify(Rules(trusted=frozenset({KEY.public})))
    with pytest.raises(ProofRefused, match="not trusted"):
        said.verify()


def test_proofs_as_nouns() -> None:
    word = attest(bytes(32), 5, KEY)
    assert proof_from_noun(word.to_noun()) == word
    assert proof_from_noun(0) is None
    with pytest.raises(ProofRefused, match="succinct proof cannot be verified"):
        proof_from_noun(b"succinct")
    with pytest.raises(ProofRefused, match=r"is \[signer signature\]"):
        proof_from_noun(Cell(b"trusted_delegation", 1))
    with pytest.raises(ProofRefused, match=r"is \[signer signature\]"):
        proof_from_noun(noun(b"trusted_delegation", b"x" * 33, b"y" * 64))
