"""Resources, actions and transactions: what the vectors of the Elixir node do not show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from anoma.nock.noun import NIL, Cell, noun
from anoma.resource_machine import (
    Action,
    Delta,
    DumbIntent,
    Intent,
    InvalidTransaction,
    NotATransaction,
    Resource,
    Rules,
    Tag,
    Transaction,
)
from anoma.resource_machine.building import (
    REFUSING_LOGIC,
    Offer,
    action,
    blob,
    intent,
    lasting,
    mint,
    swap,
    transfer,
)
from anoma.resource_machine.errors import (
    DeltaMismatch,
    LogicRefused,
    MissingProof,
    ProofRefused,
    RepeatedCommitment,
    RepeatedNullifier,
    Unbalanced,
    UnknownTag,
    WrongContext,
    WrongDeletionCriterion,
    WrongTag,
    tag_text,
)
from anoma.resource_machine.nouns import flag_of, is_zero, signed, tree_elements, tree_of, zigzag
from erlang_bridge.errors import EtfStructError
from erlang_bridge.etf import decode, encode
from erlang_bridge.terms import Atom, Map

COIN = lasting(b"coin", 5, 1)
NEW_COIN = lasting(b"coin", 5, 2)
HAT = lasting(b"hat", 1, 3)
NEW_HAT = lasting(b"hat", 1, 4)


def refusal(transaction: Transaction) -> InvalidTransaction:
    with pytest.raises(InvalidTransaction) as caught:
        transaction.verify()
    return caught.value


# -- resources --------------------------------------------------------------------------------


def test_the_kind_is_of_label_and_logic_alone() -> None:
    assert COIN.kind == replace(COIN, quantity=9, data=b"x", nonce=bytes(32), ephemeral=True).kind
    assert COIN.kind != HAT.kind != replace(HAT, logic=REFUSING_LOGIC).kind


def test_every_field_counts_for_the_commitment() -> None:
    changed: list[dict[str, Any]] = [
        {"label": b"x"},
        {"logic": REFUSING_LOGIC},
        {"ephemeral": True},
        {"quantity": 6},
        {"data": b"x"},
        {"nullifier_key": b"\1" * 32},
        {"nonce": b"\1" * 32},
        {"rseed": b"x"},
    ]
    assert len({replace(COIN, **change).commitment for change in changed} | {COIN.commitment}) == 9
    assert COIN.nullifier[3:] == COIN.commitment[3:]


def test_a_resource_says_which_field_is_wrong() -> None:
    wrong: list[tuple[str, Any]] = [
        ("quantity", -1),
        ("quantity", True),
        ("label", "text"),
        ("nonce", 7),
        ("ephemeral", 1),
    ]
    for field, value in wrong:
        with pytest.raises(ValueError, match=f"{field} of a resource"):
            Resource(**{field: value})


def test_a_negative_quantity_does_not_come_in_from_elixir() -> None:
    term = decode(encode(COIN), structs={})
    term[Atom("quantity")] = -5
    with pytest.raises(EtfStructError, match="quantity of a resource should be 0 or more"):
        decode(encode(Map(term)))


def test_what_is_no_resource() -> None:
    wrong = (
        5,
        noun(1, 2, 3),
        noun(b"", 0, 2, 1, 0, 0, 0, 0),
        noun([1, 2], 0, 0, 1, 0, 0, 0, 0),
        noun(b"", 0, 0, [1, 1], 0, 0, 0, 0),
    )
    for bad in wrong:
        with pytest.raises(NotATransaction, match=r"expected .*, got the noun"):
            Resource.from_noun(bad)


def test_tags() -> None:
    assert Tag.from_noun(COIN.nullifier) == COIN.tag(True)
    assert Tag.from_noun(int.from_bytes(COIN.commitment, "little")) == COIN.tag(False)
    with pytest.raises(NotATransaction, match="begins with CM_"):
        Tag.from_noun(b"XX_1")
    assert tag_text(COIN.nullifier).startswith("NF_")
    assert tag_text(b"NF_" + b"x" * 1000) != tag_text(b"NF_" + b"x" * 1001)
    assert len(tag_text(b"NF_" + b"x" * 1000)) < 130


# -- nouns ------------------------------------------------------------------------------------


def test_signed_numbers() -> None:
    assert [zigzag(number) for number in (0, -1, 1, -2, 2)] == [0, 1, 2, 3, 4]
    assert [signed(number) for number in (0, b"\1", 2, 3, b"\4\0")] == [0, -1, 1, -2, 2]


def test_flags() -> None:
    assert all(is_zero(zero) for zero in (0, b"", b"\0", NIL))
    assert not is_zero(Cell(0, 0))
    assert (flag_of(NIL, "x"), flag_of(b"\1", "x")) == (True, False)


def test_sets_have_one_shape() -> None:
    elements = [noun(number, number * number) for number in range(50)]
    tree = tree_of(elements)
    assert tree == tree_of(reversed(elements))
    assert set(tree_elements(tree, "a set")) == set(elements)
    with pytest.raises(NotATransaction, match="a node"):
        tree_elements(noun(1, 2), "a set")


def test_deltas() -> None:
    delta = Delta({b"\1" * 32: 5, b"\2" * 31 + b"\0": -3})
    assert Delta.from_noun(delta.to_noun()) == delta
    assert delta - delta == Delta()
    assert not delta - delta
    assert hash(delta + Delta()) == hash(delta)
    assert (-delta)[b"\1" * 32] == -5
    with pytest.raises(TypeError, match="bytes to integers"):
        Delta({b"a": 1.5})  # type: ignore[dict-item]
    with pytest.raises(NotATransaction, match="an entry of a delta"):
        Delta.from_noun(noun(1, 0))


def test_a_kind_that_ends_with_zero_survives_jam() -> None:
    """The Elixir node forgets the zero, and refuses the transaction."""
    label = next(label for label in (b"%d" % number for number in range(5000)) if lasting(label).kind.endswith(b"\0"))
    unbalanced = transfer([], [lasting(label, 3)])
    shortened = unbalanced.delta.to_noun()
    assert isinstance(shortened, Cell)
    assert isinstance(shortened.head, Cell)
    kind = shortened.head.head
    assert isinstance(kind, bytes)
    cut = Cell(Cell(kind.rstrip(b"\0"), shortened.head.tail), 0)
    assert Delta.from_noun(cut) == unbalanced.delta


# -- transactions -----------------------------------------------------------------------------


def test_the_sign_is_created_minus_consumed() -> None:
    assert transfer([], [COIN]).delta == Delta({COIN.kind: 5})
    assert transfer([COIN], []).delta == Delta({COIN.kind: -5})
    assert transfer([COIN], []).expected_balance == Delta({COIN.kind: -5})


def test_minting_and_swapping() -> None:
    mint(COIN).verify()
    offers = [Offer(COIN, NEW_HAT), Offer(HAT, NEW_COIN)]
    swap(offers).verify()
    assert isinstance(refusal(swap(offers[:1])), Unbalanced)
    offers[0].to_intent().verify_intent()
    assert swap(offers) == swap(offers[::-1])


def test_composition_is_refused_for_something_else() -> None:
    with pytest.raises(TypeError, match="not with a DumbIntent"):
        mint(COIN).compose(DumbIntent(1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not with a Transaction"):
        DumbIntent(1).compose(mint(COIN))  # type: ignore[arg-type]


def test_both_are_intents() -> None:
    for one in (DumbIntent(3), intent([COIN], [NEW_HAT])):
        assert isinstance(one, Intent)
        assert not one.is_balanced()
        with pytest.raises(Unbalanced):
            one.verify()
    assert DumbIntent(3).delta + DumbIntent(-3).delta == Delta()
    assert decode(encode(DumbIntent(-4))) == DumbIntent(-4)


def with_proof(made: Action, proven: Resource, **changes: Any) -> Transaction:
    (proof,) = (one for one in made.proofs if one.resource == proven)
    return Transaction.of(replace(made, proofs=made.proofs - {proof} | {replace(proof, **changes)}))


def test_each_fault_has_its_own_error() -> None:
    pay = action([COIN], [NEW_COIN])
    two = Transaction.of(pay, action([HAT], [NEW_COIN, NEW_HAT]))
    assert refusal(two).commitment == NEW_COIN.commitment  # type: ignore[attr-defined]
    assert isinstance(refusal(two), RepeatedCommitment)
    assert isinstance(refusal(Transaction.of(pay, action([COIN], [NEW_HAT]))), RepeatedNullifier)
    missing = refusal(Transaction(actions=frozenset({replace(pay, proofs=frozenset())})))
    assert isinstance(missing, MissingProof)
    assert missing.tags == {COIN.nullifier, NEW_COIN.commitment}
    assert isinstance(refusal(with_proof(pay, COIN, resource=HAT)), WrongTag)
    assert isinstance(refusal(with_proof(pay, COIN, resource=HAT, self_tag=HAT.tag(True))), UnknownTag)
    assert isinstance(refusal(with_proof(pay, COIN, nullifiers=frozenset())), WrongContext)
    assert isinstance(refusal(with_proof(pay, COIN, commitments=frozenset())), WrongContext)
    assert isinstance(refusal(Transaction(actions=frozenset({pay}), delta=Delta({b"x": 1}))), DeltaMismatch)
    assert isinstance(refusal(transfer([COIN], [lasting(b"coin", 6)])), Unbalanced)
    bad = Transaction.of(action([COIN], [NEW_COIN], [replace(blob(1, 2), deletion=7)]))
    assert isinstance(refusal(bad), WrongDeletionCriterion)
    for kind, text in ((b"succinct", "cannot be verified"), (b"what", "expected an empty proof")):
        refused = refusal(replace(Transaction.of(pay), delta_proof=Cell(kind, 1)))
        assert isinstance(refused, ProofRefused)
        assert text in str(refused)


def test_logics() -> None:
    for logic, text in (
        (REFUSING_LOGIC, "says no: expected 0, got 1"),
        (noun([0, 0], 0, 0), "crashes"),
        (noun(0, 0), "crashes"),
        (noun([9, 2, 0, 1], 0, 0), "does not end within 1000 gas"),
    ):
        one, other = lasting(b"x", 1, 1, logic), lasting(b"x", 1, 2, logic)
        with pytest.raises(LogicRefused, match=text):
            transfer([one], [other]).verify(Rules(gas=1000))


def test_a_logic_sees_what_it_is_told() -> None:
    """Axes as in the Elixir node: 103 the other public input, 55 the other private one."""
    logic = noun([5, [0, 103], 0, 55], 0, 0)
    one, other = lasting(b"x", 1, 1, logic), lasting(b"x", 1, 2, logic)
    Transaction.of(action([one], [other], other_public=noun(1, 2), other_private=noun(1, b"\2"))).verify()
    with pytest.raises(LogicRefused, match="says no"):
        Transaction.of(action([one], [other], other_public=1, other_private=2)).verify()


def test_nouns_and_terms_round_trip() -> None:
    data = [blob(b"key", noun(1, 2)), blob(9, b"x")]
    transaction = transfer([COIN, HAT], [NEW_HAT, NEW_COIN], [b"root"], data)
    assert Transaction.from_noun(transaction.to_noun()) == transaction
    assert decode(encode(transaction)) == transaction
    assert type(decode(encode([transaction]))[0]) is Transaction


def test_what_is_no_transaction() -> None:
    wrong = (
        0,
        noun(0, 0, 0),
        noun(0, 5, 0, 0),
        noun(0, [[1, 2], 0], 0, 0),
        noun(5, 0, 0, 0),
        noun(0, 0, [1, 0], 0),
    )
    for bad in wrong:
        with pytest.raises(NotATransaction, match="got the noun"):
            Transaction.from_noun(bad)


def test_a_struct_that_does_not_fit_names_its_field() -> None:
    wrong: list[tuple[Any, str, Any]] = [
        (COIN, "logic", Atom("nil_logic")),
        (transfer([COIN], []), "delta", {b"x": b"1"}),
        (transfer([COIN], []), "actions", []),
        (action([COIN], []), "app_data", {b"k": 1}),
        (next(iter(action([COIN], []).proofs)), "self_tag", (Atom("eaten"), b"NF_")),
    ]
    for struct, field, value in wrong:
        term = decode(encode(struct), structs={})
        term[Atom(field)] = value
        with pytest.raises(EtfStructError, match=field):
            decode(encode(Map(term)))
