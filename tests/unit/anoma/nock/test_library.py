"""The standard library: jets beside the arms they stand for, what is no jet, and transactions in two stages."""

from __future__ import annotations

import hashlib

import pytest
from nacl.bindings import crypto_sign_seed_keypair

from anoma.nock.errors import NockCrash, NounError
from anoma.nock.evaluator import Crash, Done, metered_nock, nock
from anoma.nock.jam import cue, jam
from anoma.nock.jets import JETS, MOST_BITS
from anoma.nock.library import arm, call, layer, logics_core, resource_machine_core, standard_library_core
from anoma.nock.mug import mug
from anoma.nock.noun import NIL, Cell, axis, list_elements, noun, parse_noun, replace_axis, same
from anoma.nock.transaction import key_values, read_request, transaction_code, transaction_evaluation

# Arms of gates in their layers: layer 1 first.
GATES = {
    "dec": (1, 342),
    "add": (1, 20),
    "sub": (1, 47),
    "lth": (1, 343),
    "lte": (1, 84),
    "gth": (1, 43),
    "gte": (1, 22),
    "mul": (1, 4),
    "div": (1, 170),
    "mod": (1, 46),
    "bex": (4, 4),
    "mix": (5, 4),
    "abs": (8, 1515),
    "dif": (8, 759),
    "dul": (8, 22),
    "fra": (8, 190),
    "pro": (8, 46),
    "rem": (8, 1514),
    "sum": (8, 4),
    "sun": (8, 10),
    "cmp": (8, 191),
    "dor": (9, 765),
}


def gate(name):
    return arm(layer(GATES[name][0]), GATES[name][1])


def without_jets(core, sample):
    return nock(core, noun(9, 2, (10, (6, 1, sample), 0, 1)), gas=3_000_000, jets=False)


def test_the_library_is_the_node_s():
    assert mug(resource_machine_core()) == 890358089
    assert mug(standard_library_core()) == 1062492526
    assert mug(logics_core()) == 1709835593
    assert layer(12) is resource_machine_core()
    assert layer(11) is standard_library_core()
    with pytest.raises(NounError, match="layers 1 to 12"):
        layer(13)


def test_jets_give_what_their_arms_give():
    for name in GATES:
        core = gate(name)
        assert mug(core.head) in JETS
        single = name in ("dec", "bex", "abs", "sun")
        samples = range(6) if single else [noun(left, right) for left in (0, 1, 4, 7) for right in (0, 1, 3, 6)]
        for sample in samples:
            try:
                expected = without_jets(core, sample)
            except NockCrash:
                expected = None
            try:
                result = call(core, sample)
            except NockCrash:
                result = None
            assert (expected is None) == (result is None), sample
            assert result is None or same(result, expected), sample


def test_jets_have_their_price():
    sample = noun(9, 2, (10, (6, 1, 2, 3), 0, 1))
    assert metered_nock(gate("add"), sample) == Done(5, 13)
    assert metered_nock(gate("add"), sample, jets=False).gas > 50


def test_a_jet_needs_its_parent():
    changed = replace_axis(7, noun(1, 2), gate("dec"))
    with pytest.raises(NockCrash, match="dec has no result"):
        call(gate("dec"), 0)
    assert call(changed, 5) == 4  # the arm of dec needs nothing of its context: evaluated by Nock


def test_what_exists_as_a_jet_only():
    public, secret = crypto_sign_seed_keypair(bytes(32))
    signed = call(arm(layer(6), 10), Cell(b"message", secret))
    assert call(arm(layer(6), 4), Cell(signed, public)) == Cell(0, b"message")
    assert call(arm(layer(6), 4), Cell(signed, bytes(32))) == 0
    detached = call(arm(layer(6), 23), Cell(b"message", secret))
    assert detached == signed[:64]
    assert call(arm(layer(6), 22), noun(detached, b"message", public)) == 0
    assert call(arm(layer(6), 22), noun(detached, b"another", public)) == 1
    with pytest.raises(NockCrash):
        call(arm(layer(6), 10), Cell(b"message", public))
    with pytest.raises(NockCrash):
        nock(arm(layer(6), 10), noun(9, 2, (10, (6, 1, b"message", secret), 0, 1)), jets=False)


def test_bytes():
    assert call(arm(layer(5), 22), noun(1, 2, 3)) == jam(noun(1, 2, 3))
    assert call(arm(layer(5), 94), jam(noun(1, 2, 3))) == noun(1, 2, 3)
    with pytest.raises(NockCrash):
        call(arm(layer(5), 94), int.from_bytes(jam(noun(1, 2, 3)), "little"))  # as the node: bytes only
    assert call(arm(layer(7), 22), b"abc") == hashlib.sha256(b"abc").digest()


def test_sets_and_maps():
    elements = noun(3, 1, 2, 3, 0)
    made = call(arm(layer(10), 22), elements)
    found = set()
    pending = [made]
    while pending:
        node = pending.pop()
        if type(node) is Cell:
            found.add(node.head)
            pending += (node.tail.head, node.tail.tail)
    assert found == {1, 2, 3}


def test_a_large_set_is_balanced_by_mug():
    made = call(arm(layer(10), 22), noun(*range(2000), 0))
    depth, pending = 0, [(made, 1)]
    while pending:
        node, level = pending.pop()
        if type(node) is Cell:
            depth = max(depth, level)
            for side in (node.tail.head, node.tail.tail):
                assert type(side) is not Cell or mug(mug(node.head)) <= mug(mug(side.head))
                pending.append((side, level + 1))
    assert depth < 60


def test_numbers_that_erlang_does_not_have():
    with pytest.raises(NockCrash):
        call(gate("bex"), MOST_BITS)
    with pytest.raises(NockCrash):
        call(gate("bex"), 1 << 200)
    with pytest.raises(NockCrash):
        call(gate("mul"), Cell(1 << (MOST_BITS // 2), 1 << (MOST_BITS // 2 + 10)))


# -- transactions ---------------------------------------------------------------------------------------

INCREMENT = parse_noun("[[8 [1 0] [1 0] [1 10 [2 [1 0x79656b] 4 12 [1 0] [0 6] 1 0x79656b 0] 1 0 0] 0 1] 999]")
"""What the node's examples submit: reads ``key``, and writes it one larger."""


@pytest.mark.parametrize("code", [INCREMENT, jam(INCREMENT)])
def test_a_transaction_reads_and_writes(code):
    waiting = transaction_evaluation(code, b"id").run()
    assert read_request(waiting.request) == (b"id", b"key") or same(waiting.request, noun(b"id", b"key", 0))
    result = waiting.resume(41).run()
    [(key, value)] = key_values(result.noun)
    assert same(key, b"key")
    assert value == 42
    assert isinstance(waiting.resume(None).run(), Crash)


def test_transactions_that_are_none():
    for code in (b"", b"\1", 5):
        with pytest.raises(NockCrash, match="the code of a transaction"):
            transaction_code(code)
    assert isinstance(transaction_evaluation(noun((1, 5), 0), b"id").run(), Crash)
    assert isinstance(transaction_evaluation(noun((1, 5, 5), 0), b"id").run(), Crash)
    assert read_request(noun(1, 2, 3, 0)) is None
    assert read_request(noun(1, 2)) is None
    assert key_values(noun((1, 2), 3, 0)) is None
    assert key_values(noun((1, 2), 3)) is None
    assert key_values(NIL) == []


def test_a_program_with_the_library_inside():
    # The arm of a transaction of the node's, on a library of its own, cued with it: bytes for all atoms.
    core = cue(jam(noun(parse_noun("[8 [9 342 0 32.767] 9 2 10 [6 0 14] 0 2]"), 999, logics_core())))
    outcome = metered_nock(core, parse_noun("[9 2 0 1]"))
    assert outcome.noun == 998
    assert outcome.gas < 60
    assert axis(6, core) == b"\xe7\x03"
    assert list_elements(core) is None
