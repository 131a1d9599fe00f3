"""Intents on the command line: what is read, what is refused in which words, and how they are shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anoma.resource_machine.building import ephemeral, lasting, transfer
from anoma.resource_machine.intent import DumbIntent
from anoma.resource_machine.transaction import Transaction
from engines.intent_pool.intents import Choice, Intent, Order, intent_to_term
from erlang_bridge import etf
from erlang_bridge.errors import ConfigError, TermSyntaxError
from erlang_bridge.terms.text import format_term
from pyanoma.intents import from_json, lines, read_intents, to_json

APPLES: dict[str, Any] = {"label": "apples", "quantity": 3, "nonce": 1}
PEARS: dict[str, Any] = {"label": "pears", "ephemeral": True, "nonce": "00" * 31 + "02"}
SWAP = transfer([lasting(b"apples", 3, 1)], [ephemeral(b"pears", 1, 2)])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"value": -3}, DumbIntent(-3)),
        ({"gives": [APPLES], "wants": [PEARS]}, SWAP),
        (
            {"choices": [{"lots": [{"value": 1}], "maximum": 9}, {"lots": [{"value": 2}], "preference": 3}]},
            Order((Choice((DumbIntent(1),), maximum=9), Choice((DumbIntent(2),), 3))),
        ),
    ],
)
def test_json(value: Any, expected: Intent):
    assert from_json(value) == expected
    assert read_intents(json.dumps(value)) == [expected]
    assert read_intents(json.dumps([value, {"value": 1}])) == [expected, DumbIntent(1)]


@pytest.mark.parametrize("intent", [DumbIntent(-3), SWAP, Order((Choice((SWAP,), 2), Choice((DumbIntent(1),))))])
def test_terms(intent: Intent):
    term = etf.decode(etf.encode(intent_to_term(intent)), structs={})
    assert read_intents(format_term(term)) == [intent]


def test_resources_without_a_nonce_differ():
    first, second = (from_json({"wants": [{"label": "pears"}]}) for _ in range(2))
    assert isinstance(first, Transaction)
    assert first.delta == second.delta  # type: ignore[union-attr]
    assert first != second


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[7]", "intent 1: expected an object with value, gives and wants, or choices, got '7'"),
        ('{"value": "7"}', "intent 1, value: expected a whole number, got '\"7\"'"),
        ('{"value": 1, "wants": []}', "intent 1: expected only value, got 'wants'"),
        ("{}", "intent 1: expected value, or gives and wants, got 'nothing'"),
        ('{"wants": [{"label": 7}]}', "intent 1, wants 1, label: expected a text, got '7'"),
        ('{"wants": [{"label": "a", "quantity": -1}]}', "intent 1, wants 1: expected what makes sense"),
        ('{"wants": [{"label": "a", "nonce": "xy"}]}', "wants 1, nonce: expected a number, or 64 hexadecimal digits"),
        ('{"wants": [{"label": "a", "ephemeral": 1}]}', "wants 1, ephemeral: expected true or false, got '1'"),
        ('{"choices": [{"lots": []}]}', "intent 1, choice 1: expected what makes sense, got 'expected one lot or more"),
        ('{"choices": 7}', "intent 1, choices: expected a list, got '7'"),
        ('{"value": 1', "expected JSON, or a term that begins with"),
        ("#{value => 1}", "expected a Transaction, a DumbIntent or an order"),
        ("#{'__struct__' => 'Elixir.Anoma.RM.DumbIntent', value => a}", "expected a Transaction, a DumbIntent"),
        ("{order, 7}", "expected a Transaction, a DumbIntent or an order"),
    ],
)
def test_what_is_no_intent(text: str, told: str):
    with pytest.raises(ConfigError) as error:
        read_intents(text)
    assert told in str(error.value)


def test_what_is_no_term():
    with pytest.raises(TermSyntaxError):
        read_intents("#{")


def test_as_text_and_as_json():
    order = Order((Choice((DumbIntent(1),), maximum=9), Choice((SWAP,), 3)))
    odd = transfer([ephemeral(b"\xff")], [])
    kind = next(iter(odd.delta))
    kept = ((4, SWAP), (7, order), (9, odd), (10, transfer([ephemeral(b"a")], [ephemeral(b"a", nonce=1)])))
    assert list(lines(kept)) == [
        ("4", "transaction", "gives 3 apples, wants 1 pears"),
        ("7", "order", "1 to 9 times: +1; or gives 3 apples, wants 1 pears (preference 3)"),
        ("9", "transaction", f"gives 1 {kind.hex()[:16]}…"),
        ("10", "transaction", "balanced"),
    ]
    told = json.loads(json.dumps(to_json(4, SWAP)))
    assert (told["serial"], told["type"], sorted(told["choices"][0]["delta"].values())) == (4, "transaction", [-3, 1])
    assert told["nullifiers"] == [next(iter(SWAP.nullifiers())).hex()]
