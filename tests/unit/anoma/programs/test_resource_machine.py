"""Transactions of the resource machine as programs."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from anoma.keys import Key
from anoma.nock.jam import jam
from anoma.nock.noun import Noun, noun, term_of_noun
from anoma.programs.execution import Rights, begin, receive
from anoma.programs.kinds import load
from anoma.programs.runnable import ABSENT, Read
from anoma.resource_machine import Transaction
from anoma.resource_machine.building import action, ephemeral, lasting, mint, transfer
from anoma.resource_machine.execution import Label, commitment_key, label_of, nullifier_key
from anoma.resource_machine.function import constant
from erlang_bridge.etf import decode, encode
from erlang_bridge.terms import Atom
from tests.machine_world import MACHINE, World, step_executable

COIN, NEW_COIN, THIRD = (lasting(b"coin", 5, number) for number in (1, 2, 3))
PAY = transfer([COIN], [NEW_COIN])
PYTHON = Atom("python")


@pytest.fixture
def world() -> World:
    world = World()
    assert world.submit(mint(COIN)).success
    return world


FORMS: dict[str, Any] = {
    "object": PAY,
    "struct": decode(encode(PAY), structs={}),
    "noun": term_of_noun(constant(PAY)),
    "jammed": jam(constant(PAY)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_transaction_does_the_same(world: World, form: str) -> None:
    outcome = world.run((MACHINE, FORMS[form]), label_of(PAY))
    assert outcome.success, outcome.error
    assert dict(outcome.writes) == {nullifier_key(COIN.nullifier): 2, commitment_key(NEW_COIN.commitment): 2}


def test_a_double_spend_names_the_nullifier(world: World) -> None:
    assert world.submit(PAY).success
    second = world.submit(transfer([COIN], [THIRD]))
    assert not second.success
    assert second.error is not None
    assert f"the nullifier NF_{COIN.nullifier[3:11].hex()}" in second.error
    assert not second.writes
    replay = world.submit(PAY)
    assert "was consumed before" in (replay.error or "")


def test_what_the_program_says_no_to(world: World) -> None:
    for transaction, text in (
        (transfer([COIN], [lasting(b"coin", 6, 9)]), "not balanced, it leaves over +1"),
        (transfer([THIRD], [NEW_COIN]), "was not created before"),
        (transfer([COIN], [NEW_COIN], [b"root"]), "is no root"),
        (mint(COIN), "was consumed before"),
        (mint(COIN, 7), "was created before"),
    ):
        outcome = world.submit(transaction)
        assert not outcome.success
        assert text in (outcome.error or "")


def test_a_label_that_is_too_small_fails(world: World) -> None:
    label = label_of(PAY)
    outcome = world.run((MACHINE, PAY), Label(frozenset(), label.will_writes))
    assert "which its label does not allow" in (outcome.error or "")
    outcome = world.run((MACHINE, PAY), Label(label.eager_reads, frozenset()))
    assert "which its label does not allow" in (outcome.error or "")
    assert world.submit(PAY).success


def test_lazy_reads_will_do(world: World) -> None:
    label = label_of(PAY)
    rights = Rights(lazy_reads=label.eager_reads, will_writes=label.will_writes)
    execution, wanted = begin(load((MACHINE, PAY), {}), rights, 5)
    assert set(wanted) == label.eager_reads
    for key in wanted:
        execution, more = receive(execution, key, world.store.get(key, ABSENT))
        assert not more
    assert execution.outcome is not None
    assert execution.outcome.success


def test_resources_under_a_root(world: World) -> None:
    root = world.end_block()
    assert root is not None
    assert world.submit(transfer([COIN], [NEW_COIN], [root])).success
    early = world.submit(transfer([NEW_COIN], [THIRD], [root]))
    assert "under none of the roots" in (early.error or "")
    later = world.end_block()
    assert later is not None
    assert world.submit(transfer([NEW_COIN], [THIRD], [root, later])).success


def test_a_step_twice_is_refused(world: World) -> None:
    _, step = world.keeper.committed(world.block)
    assert step is not None
    assert world.end_block() == step.root
    again = world.run(step_executable(step), Label(frozenset(), frozenset()))
    assert "which its label does not allow" in (again.error or "")


# -- transaction functions --------------------------------------------------------------------


def function_in_nock(key: Noun, reads: Noun, transaction: Transaction) -> Noun:
    """Reads a key and gives the transaction if there is what it expects; else it crashes."""
    read = noun(12, [1, 0], [0, 6], [1, key], 1, 0)
    arm = noun(6, [5, [1, reads], read], [1, transaction.to_noun()], 0, 0)
    return noun([1, 0, arm, 0, 909], 0, 707)


def test_a_function_in_nock_reads(world: World) -> None:
    world.store[(b"price", b"coin")] = 5
    label = label_of(PAY)
    wider = Label(label.eager_reads | {(b"price", b"coin")}, label.will_writes)
    code = function_in_nock(noun(b"price", b"coin", 0), 5, PAY)
    for form, expected in ((label, "not in the label"), (wider, None)):
        outcome = world.run((MACHINE, term_of_noun(code)), form)
        assert outcome.success == (expected is None), outcome.error
        assert expected is None or expected in (outcome.error or "")
    world.store[(b"price", b"coin")] = 6
    assert "crashes" in (world.run((MACHINE, jam(code)), wider).error or "")


def test_a_function_in_nock_has_gas(world: World) -> None:
    endless = noun([9, 2, 0, 1], 0, 0)
    outcome = world.run((MACHINE, term_of_noun(endless), 500), label_of(PAY))
    assert "does not end within 500 gas" in (outcome.error or "")
    outcome = world.run((MACHINE, term_of_noun(noun([1, 0, [1, 5], 0, 0], 0, 0))), label_of(PAY))
    assert "expected a transaction" in (outcome.error or "")


def pay_what_it_costs(name: str) -> Generator[Read, Any, Transaction]:
    price = yield Read((b"price", name.encode()))
    if price is ABSENT:
        raise ValueError("no price")
    rest = lasting(b"coin", 5 - price, 77)
    return transfer([COIN], [lasting(b"coin", price, 2), rest] if price < 5 else [NEW_COIN])


PROGRAMS: dict[str, Any] = {"pay": lambda name: pay_what_it_costs(name.decode()), "nothing": lambda: 7}
PRICE: Key = (b"price", b"coin")


def test_a_function_in_python_reads(world: World) -> None:
    label = label_of(PAY)
    wider = Label(label.eager_reads | {PRICE}, label.will_writes)
    executable = (MACHINE, (PYTHON, b"pay", [b"coin"]))
    assert "ValueError: no price" in (world.run(executable, wider, PROGRAMS).error or "")
    world.store[PRICE] = 3
    assert "which its label does not allow" in (world.run(executable, wider, PROGRAMS).error or "")
    world.store[PRICE] = 5
    assert world.run(executable, wider, PROGRAMS).success
    outcome = world.run((MACHINE, (PYTHON, b"nothing", [])), label, PROGRAMS)
    assert "returns a Transaction, got 7" in (outcome.error or "")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((), "resource_machine, Noun"),
        ((Atom("what"),), "a noun as program"),
        (
            ({Atom("__struct__"): Atom("Elixir.Other")},),
            "expected a struct Elixir.Anoma.TransparentResource.Transaction",
        ),
        (({**decode(encode(PAY), structs={}), Atom("delta"): 5},), "delta"),
        (((PYTHON, b"unknown", []),), "expected the name of a registered program"),
        (((Atom("advance"), 5),), "a step of the commitment tree"),
        ((b"\xff\xff",), "cannot be cued"),
    ],
)
def test_what_is_no_program(parts: tuple[Any, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        load((MACHINE, *parts), PROGRAMS)


def test_a_state_can_be_stepped_twice(world: World) -> None:
    program = load((MACHINE, PAY), {})
    keys = label_of(PAY).eager_reads
    states = [program.start(1, keys)]
    for key in sorted(keys):
        stepped = program.step(states[-1], (key, world.store.get(key, ABSENT)))
        assert stepped == program.step(states[-1], (key, world.store.get(key, ABSENT)))
        states.append(stepped.state)  # type: ignore[union-attr]
    assert program.halted(states[-1])
    assert not program.halted(states[-2])


def test_nothing_but_the_own_label_is_needed_for_disjoint_transactions(world: World) -> None:
    """A hundred transfers, each with its label's values alone."""
    seeds = [ephemeral(b"hat", 1, number) for number in range(100)]
    for seed in seeds:
        made = Transaction.of(action([seed], [replace(seed, ephemeral=False)]))
        assert world.submit(made).success
