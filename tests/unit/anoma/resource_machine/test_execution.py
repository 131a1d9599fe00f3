"""What transactions read and write, and which states refuse them; how the commitment tree follows."""

from __future__ import annotations

from typing import Any

import pytest

from anoma.keys import check_key
from anoma.nock.jam import cue, jam
from anoma.nock.noun import noun
from anoma.programs.runnable import ABSENT
from anoma.resource_machine import Transaction
from anoma.resource_machine.accumulator import CommitmentTree, Frontier
from anoma.resource_machine.blobs import AfterBlock, Blob, Now
from anoma.resource_machine.building import action, blob, ephemeral, lasting, mint, transfer
from anoma.resource_machine.errors import (
    CommitmentExists,
    NotATransaction,
    NullifierExists,
    ResourceMissing,
    StateRefusal,
    TreeMoved,
    UnknownRoot,
)
from anoma.resource_machine.execution import (
    TREE_KEY,
    apply,
    blob_key,
    commitment_key,
    label_of,
    nullifier_key,
    position_key,
    root_key,
)
from anoma.resource_machine.roots import TreeKeeper, TreeStep, apply_step, label_of_step
from erlang_bridge.etf import decode, encode
from tests.pages import Page

COIN, NEW_COIN = lasting(b"coin", 5, 1), lasting(b"coin", 5, 2)
PAY = transfer([COIN], [NEW_COIN])


def test_a_label_has_a_key_for_each_thing() -> None:
    data = [blob(b"kept", 1), blob(noun(1, 2), 2), blob(b"not", 3, Now())]
    seed = ephemeral(b"hat", 1)
    made = Transaction.of(action([COIN, seed], [NEW_COIN], data))
    label = label_of(made)
    tags = {nullifier_key(COIN.nullifier), nullifier_key(seed.nullifier), commitment_key(NEW_COIN.commitment)}
    assert label.eager_reads == tags | {commitment_key(COIN.commitment)}
    assert label.will_writes == tags | {blob_key(b"kept"), blob_key(noun(1, 2))}
    assert not label.may_writes
    rooted = label_of(transfer([COIN], [NEW_COIN], [b"root"]))
    assert rooted.eager_reads == {
        nullifier_key(COIN.nullifier),
        commitment_key(NEW_COIN.commitment),
        position_key(COIN.commitment),
        root_key(b"root"),
    }
    for key in label.eager_reads | label.will_writes | rooted.eager_reads:
        check_key(key)


def test_transactions_with_nothing_in_common_touch_no_common_key() -> None:
    one = label_of(transfer([COIN], [NEW_COIN], [b"root"]))
    other = label_of(transfer([lasting(b"coin", 5, 7)], [lasting(b"coin", 5, 8)], [b"root"]))
    assert not (one.eager_reads | one.will_writes) & other.will_writes
    assert not (other.eager_reads | other.will_writes) & one.will_writes


def test_what_is_written() -> None:
    made = Transaction.of(action([COIN], [NEW_COIN], [blob(b"kept", noun(1, 2), AfterBlock(9))]))
    writes = apply(made, {commitment_key(COIN.commitment): 3}, 7)
    assert writes == {
        nullifier_key(COIN.nullifier): 7,
        commitment_key(NEW_COIN.commitment): 7,
        blob_key(b"kept"): Blob(noun(1, 2), AfterBlock(9)).to_term(),
    }
    assert set(writes) == label_of(made).will_writes
    assert decode(encode(list(writes.items()))) == list(writes.items())


EXISTS = {commitment_key(COIN.commitment): 1}
UNDER_ROOT = {root_key(b"root"): 4, position_key(COIN.commitment): 3}
ROOTED = transfer([COIN], [NEW_COIN], [b"root"])


@pytest.mark.parametrize(
    ("transaction", "values", "error", "text"),
    [
        (PAY, {}, ResourceMissing, "was not created before"),
        (PAY, {**EXISTS, nullifier_key(COIN.nullifier): 2}, NullifierExists, "the nullifier NF_"),
        (PAY, {nullifier_key(COIN.nullifier): 2}, NullifierExists, "was consumed before"),
        (PAY, {**EXISTS, commitment_key(NEW_COIN.commitment): 2}, CommitmentExists, "was created before"),
        (ROOTED, EXISTS, UnknownRoot, "726f6f74 is no root"),
        (ROOTED, {**EXISTS, root_key(b"root"): 4}, ResourceMissing, "under none of the roots"),
        (ROOTED, {**UNDER_ROOT, position_key(COIN.commitment): 4}, ResourceMissing, "under none of the roots"),
    ],
)
def test_refusals(transaction: Transaction, values: dict[Any, Any], error: type[StateRefusal], text: str) -> None:
    with pytest.raises(error, match=text):
        apply(transaction, values, 9)


def test_a_known_root_will_do_and_ephemeral_ones_need_none() -> None:
    assert apply(ROOTED, UNDER_ROOT, 9)
    assert apply(mint(COIN), {}, 9)
    largest = transfer([COIN], [NEW_COIN], [b"root", b"old"])
    assert apply(largest, {**UNDER_ROOT, root_key(b"old"): 1}, 9)


def test_a_root_that_was_jammed_is_the_same_root() -> None:
    assert root_key(b"root\0") == root_key(b"root")
    cued = Transaction.from_noun(cue(jam(transfer([COIN], [NEW_COIN], [b"root\0"]).to_noun())))
    assert apply(cued, UNDER_ROOT, 9)


def test_every_root_must_be_known() -> None:
    with pytest.raises(UnknownRoot):
        apply(transfer([COIN], [NEW_COIN], [b"root", b"other"]), UNDER_ROOT, 9)


# -- the tree follows -------------------------------------------------------------------------


def committed(*commitments: bytes) -> dict[Any, Any]:
    return {commitment_key(commitment): 1 for commitment in commitments}


def test_a_step_for_each_block() -> None:
    keeper = TreeKeeper()
    keeper, nothing = keeper.committed([((b"other",), 1), (nullifier_key(b"NF_a"), 1)])
    assert nothing is None
    keeper, step = keeper.committed([(nullifier_key(b"NF_a"), 1), *committed(b"CM_b", b"CM_a").items()])
    assert step == TreeStep(0, CommitmentTree().add([b"CM_b", b"CM_a"]).root, (b"CM_b", b"CM_a"))
    writes = apply_step(step, committed(b"CM_a", b"CM_b"))
    assert writes == {
        TREE_KEY: Frontier().add([b"CM_b", b"CM_a"]).to_term(),
        root_key(step.root): 2,
        position_key(b"CM_b"): 0,
        position_key(b"CM_a"): 1,
    }
    assert set(writes) == label_of_step(step).will_writes
    assert TreeStep.from_term(decode(encode(step.to_term()))) == step
    assert TreeKeeper.from_stored(writes[TREE_KEY]) == keeper
    assert TreeKeeper.from_stored(ABSENT) == TreeKeeper()
    _, next_step = keeper.committed(committed(b"CM_c").items())
    assert next_step is not None
    assert apply_step(next_step, {**committed(b"CM_c"), **writes})[position_key(b"CM_c")] == 2


def test_steps_that_are_refused() -> None:
    root = CommitmentTree().add([b"CM_a"]).root
    good = TreeStep(0, root, (b"CM_a",))
    with pytest.raises(TreeMoved, match="prepared for a commitment tree of 0 leaves, but it has 1"):
        apply_step(good, {**committed(b"CM_a"), TREE_KEY: Frontier().add([b"CM_x"]).to_term()})
    with pytest.raises(ResourceMissing, match="was not created"):
        apply_step(good, {})
    with pytest.raises(CommitmentExists):
        apply_step(good, {**committed(b"CM_a"), position_key(b"CM_a"): 0})
    with pytest.raises(CommitmentExists):
        apply_step(TreeStep(0, root, (b"CM_a", b"CM_a")), committed(b"CM_a"))
    with pytest.raises(UnknownRoot):
        apply_step(TreeStep(0, bytes(32), (b"CM_a",)), committed(b"CM_a"))
    with pytest.raises(NotATransaction, match="a step of the commitment tree"):
        TreeStep.from_term((0, root, b"CM_a"))


def test_the_page_about_it_runs() -> None:
    blocks = [block for block in Page("docs/resource-machine.md").blocks if block.language == "python"]
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block.text, "docs/resource-machine.md", "exec"), {})
