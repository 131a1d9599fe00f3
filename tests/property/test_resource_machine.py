"""The resource machine: O14 of the specification's test properties, and what composition keeps."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from anoma.nock.jam import cue, jam
from anoma.nock.noun import Cell, Noun, noun_of_term, same_term, term_of_noun
from anoma.resource_machine import InvalidTransaction, Resource, Transaction
from anoma.resource_machine.accumulator import CommitmentTree, Frontier, verify_path
from anoma.resource_machine.building import action, blob, ephemeral, intent, lasting, mint, transfer
from anoma.resource_machine.delta import ZERO
from anoma.resource_machine.errors import tag_text
from anoma.resource_machine.execution import label_of
from anoma.resource_machine.resource import commitment_of
from engines.mempool_worker.behaviour import candidate_of
from engines.mempool_worker.messages import TransactionCandidate, TransactionLabel
from erlang_bridge.etf import decode, encode
from tests.machine_world import MACHINE, World
from tests.property.ordering.world import Faults
from tests.property.ordering.world import World as OrderingWorld

NULLIFIERS = (b"anoma", b"nullifiers")
COMMITMENTS = (b"anoma", b"commitments")


def nouns() -> st.SearchStrategy[Noun]:
    atoms = st.integers(0, 1 << 70) | st.binary(max_size=12)
    return st.recursive(atoms, lambda parts: st.builds(Cell, parts, parts), max_leaves=12)


def resources() -> st.SearchStrategy[Resource]:
    key = st.binary(min_size=32, max_size=32)
    return st.builds(
        Resource,
        label=st.binary(max_size=8),
        logic=nouns(),
        ephemeral=st.booleans(),
        quantity=st.integers(0, 1 << 80),
        data=st.binary(max_size=8),
        nullifier_key=key,
        nonce=key,
        rseed=st.binary(max_size=4),
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.lists(resources(), max_size=3), st.lists(resources(), max_size=3)), max_size=3),
    st.frozensets(st.binary(max_size=8).filter(lambda root: not root.endswith(b"\0")), max_size=3),
    st.dictionaries(nouns(), nouns(), max_size=5),
    nouns(),
)
def test_terms_and_nouns_lose_nothing(
    sides: list[tuple[list[Resource], list[Resource]]], roots: frozenset[bytes], data: dict[Noun, Noun], other: Noun
) -> None:
    blobs = [blob(key, value) for key, value in data.items()]
    actions = [action(consumed, created, blobs, other_public=other) for consumed, created in sides]
    transaction = Transaction.of(*actions, roots=roots)
    assert decode(encode(transaction)) == transaction
    made = transaction.to_noun()
    assert same_term(noun_of_term(term_of_noun(made)), made)
    again = Transaction.from_noun(made)
    assert again == transaction
    assert jam(again.to_noun()) == jam(made)
    # What jam takes from the ends of labels is no part of a resource.
    back = Transaction.from_noun(cue(jam(made)))
    assert back.nullifiers() == transaction.nullifiers()
    assert back.commitments() == transaction.commitments()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.booleans()), max_size=7), st.randoms())
def test_a_composition_is_right_exactly_if_it_is_balanced(parts: list[tuple[int, int, bool]], shuffled: Any) -> None:
    balance: Counter[int] = Counter()
    intents = []
    for nonce, (kind, quantity, gives) in enumerate(parts):
        one = lasting(b"%d" % kind, quantity, nonce)
        balance[kind] += -quantity if gives else quantity
        intents.append(intent([one], []) if gives else intent([], [one]))
    composed = [Transaction(), Transaction()]
    for index, order in enumerate((intents, shuffled.sample(intents, len(intents)))):
        for one in order:
            composed[index] = composed[index].compose(one)
    assert composed[0] == composed[1]
    composed[0].verify_intent()
    try:
        composed[0].verify()
        verified = True
    except InvalidTransaction:
        verified = False
    assert verified == composed[0].is_balanced() == (not any(balance.values()))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_state_has_a_double_spend(data: st.DataObject) -> None:
    """Random transactions, right and wrong ones, against a model that knows only which resources there are."""
    world = World()
    existing: set[Resource] = set()
    spent: set[Resource] = set()
    in_tree: dict[bytes, set[Resource]] = {}
    applied: list[Transaction] = []
    pool = [lasting(label, quantity, nonce) for label in (b"a", b"b") for quantity in (1, 2) for nonce in (1, 2, 3)]
    pool += [replace(one, ephemeral=True) for one in pool[::2]]
    choice = st.frozensets(st.sampled_from(pool), max_size=3)
    for _ in range(data.draw(st.integers(1, 12))):
        if applied and data.draw(st.integers(0, 5)) == 0:
            outcome = world.submit(data.draw(st.sampled_from(applied)))
            assert "was consumed before" in (outcome.error or "")
            continue
        if data.draw(st.integers(0, 3)) == 0:
            root = world.end_block()
            if root is not None:
                in_tree[root] = set(existing)
            continue
        consumed, created = data.draw(choice), data.draw(choice)
        roots = data.draw(st.frozensets(st.sampled_from(sorted(in_tree)), max_size=2)) if in_tree else frozenset()
        gap = transfer(consumed, created).delta
        # As a rule balanced, by ephemeral resources that take what is too much and bring what is missing.
        if data.draw(st.integers(0, 5)):
            nonce = st.integers(1, 40)
            for label in (b"a", b"b"):
                more = gap.get(lasting(label).kind, 0)
                extra = {ephemeral(label, abs(more), 100 + data.draw(nonce))} if more else set()
                consumed, created = (consumed | extra, created) if more > 0 else (consumed, created | extra)
        transaction = transfer(consumed, created, roots)
        held_to = set().union(*(in_tree[root] for root in roots)) if roots else existing
        right = (
            not (consumed & spent)
            and not (created & existing)
            and all(one.ephemeral or one in held_to for one in consumed)
            and transaction.actions_delta() == ZERO
        )
        outcome = world.submit(transaction)
        assert outcome.success == right, outcome.error
        if right:
            spent |= consumed
            existing |= created
            if consumed:
                applied.append(transaction)
    store = world.store
    assert {key[2] for key in store if key[:2] == NULLIFIERS} == {one.nullifier for one in spent}
    assert {key[2] for key in store if key[:2] == COMMITMENTS} == {one.commitment for one in existing}
    for one in spent:
        assert one.ephemeral or (*COMMITMENTS, commitment_of(one.nullifier)) in store
    assert sum((one.delta for one in existing), ZERO) == sum((one.delta for one in spent), ZERO)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=4), max_size=6), max_size=6))
def test_trees_and_frontiers_agree(blocks: list[list[bytes]]) -> None:
    tree, frontier = CommitmentTree(), Frontier()
    for block in blocks:
        tree, frontier = tree.add(block), frontier.add(block)
        assert tree.frontier == frontier
        assert tree.root == frontier.root
        for leaf in block:
            path = tree.witness(leaf)
            assert path is not None
            assert verify_path(leaf, path, frontier.root)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 4), st.integers(0, 2))
def test_no_interleaving_has_a_double_spend(seed: int, shards: int, crashes: int) -> None:
    """Through worker, shards and executors, messages in any order and engines that end: as one after the other."""
    chooser = random.Random(seed)
    coins = [lasting(b"coin", 1, number) for number in range(3)]
    submitted = [mint(coin) for coin in coins]
    for number in range(8):
        spent = chooser.choice(coins)
        made = lasting(b"coin", 1, 100 + number)
        submitted.append(transfer([spent], [made]))
        coins.append(made)
    submitted.append(chooser.choice(submitted[3:]))
    ordering = OrderingWorld(chooser, shards, faults=Faults(crashes=crashes))
    for one in submitted:
        label = label_of(one)
        keys = TransactionLabel(read=tuple(label.eager_reads), write=tuple(label.will_writes))
        ordering.submit(TransactionCandidate(keys, (MACHINE, one), chooser.randbytes(16)))
    ordering.settle()
    disk, alone, spenders = ordering.disk, World(), Counter[bytes]()
    assert disk.committed == len(disk.entries)
    assert crashes or disk.committed == len(submitted)
    for fingerprint in range(1, disk.committed + 1):
        _, done = disk.transactions[fingerprint]
        _, transaction = candidate_of(done.candidate).executable
        outcome = alone.submit(transaction)
        assert (done.success, dict(done.writes)) == (outcome.success, dict(outcome.writes))
        assert done.error == outcome.error
        if done.success:
            spenders.update(transaction.nullifiers())
        elif "was consumed before" in done.error:
            assert any(tag_text(nullifier) in done.error for nullifier in transaction.nullifiers())
    assert set(spenders.values()) <= {1}
    assert {key: versions[-1][1] for key, versions in disk.versions.items()} == alone.store
