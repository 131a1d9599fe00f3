"""Resources and transactions as the Elixir node 0.30 makes them and judges them.

The vectors come from its own modules, with structs as its release writes them (a MapSet has no version).
"""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from anoma.nock.jam import cue, jam
from anoma.nock.noun import noun_of_term, same_term, term_of_noun
from anoma.resource_machine import Action, InvalidTransaction, Resource, Transaction
from anoma.resource_machine.errors import MissingProof, ProofRefused
from anoma.resource_machine.nouns import parts_of
from erlang_bridge.etf import decode, encode
from erlang_bridge.terms.order import exactly_equal

VECTORS: dict[str, list[dict[str, str]]] = json.loads(Path(__file__).with_name("elixir_vectors.json").read_text())


def etf(vector: dict[str, str], field: str) -> bytes:
    return b64decode(vector[field])


def term(vector: dict[str, str], field: str) -> Any:
    """With structs as the maps that they are."""
    return decode(etf(vector, field), structs={})


def verdict(transaction: Transaction) -> str:
    try:
        transaction.verify()
    except InvalidTransaction as error:
        return type(error).__name__
    return "ok"


def same_struct(value: object, vector: dict[str, str], field: str) -> bool:
    return exactly_equal(decode(encode(value), structs={}), term(vector, field))


def test_resources() -> None:
    for number, vector in enumerate(VECTORS["resources"]):
        resource = decode(etf(vector, "struct"))
        assert isinstance(resource, Resource), number
        assert same_struct(resource, vector, "struct"), number
        assert exactly_equal(term_of_noun(resource.to_noun()), term(vector, "noun")), number
        found = (resource.kind.hex(), resource.commitment.hex(), resource.nullifier.hex())
        assert found == (vector["kind"], vector["commitment"], vector["nullifier"]), number
        back = Resource.from_noun(cue(jam(resource.to_noun())))
        assert same_struct(back, vector, "back"), number


def test_transactions_and_what_is_said_of_them() -> None:
    for vector in VECTORS["transactions"]:
        name = vector["name"]
        transaction = decode(etf(vector, "struct"))
        assert isinstance(transaction, Transaction), name
        assert same_struct(transaction, vector, "struct"), name
        noun = transaction.to_noun()
        assert sha256(jam(noun)).hexdigest() == vector["jam"], name
        assert verdict(transaction) == vector["verify"], name
        back = Transaction.from_noun(cue(jam(noun)))
        assert verdict(back) == vector["verify_back"], name
        if "noun" in vector:
            assert same_term(noun, noun_of_term(term(vector, "noun"))), name
            assert same_struct(back, vector, "back"), name


def test_application_data() -> None:
    for number, vector in enumerate(VECTORS["app_data"]):
        noun = noun_of_term(term(vector, "noun"))
        action = Action.from_noun(noun)
        assert same_struct(action, vector, "back"), number
        (*_, made), (*_, given) = parts_of(action.to_noun(), 4, "an action"), parts_of(noun, 4, "an action")
        assert made == given, number


FAULTS = {"uncovered": MissingProof, "delta proof": ProofRefused}


@pytest.mark.parametrize("name", FAULTS)
def test_what_elixir_accepts_and_should_not(name: str) -> None:
    (vector,) = (one for one in VECTORS["faults"] if one["name"] == name)
    assert vector["verify"] == "ok"
    with pytest.raises(FAULTS[name]):
        decode(etf(vector, "struct")).verify()


def test_one_resource_in_two_forms_counts_once() -> None:
    """In Elixir 5 consumed, with a second proof for the same nullifier, pay for 10."""
    (vector,) = (one for one in VECTORS["faults"] if one["name"] == "inflation")
    assert vector["verify"] == "ok"
    transaction = decode(etf(vector, "struct"))
    assert verdict(transaction) == "DeltaMismatch"
    assert len(transaction.nullifiers()) == 1
    assert sum(transaction.actions_delta().values()) == 5
