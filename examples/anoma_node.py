"""An Anoma node, step by step. Each function builds on the ones above it, checks what it shows, and returns it, alive.

    python examples/anoma_node.py

or, at a prompt: ``python -i examples/anoma_node.py``, and then ``a_block()``, ``a_node().node.nodes()`` and so on.
"""

from __future__ import annotations

from functools import cache

import gevent

from anoma.nock.noun import Noun, noun_of_term
from anoma.resource_machine.building import Offer, ephemeral
from engines.intent_pool.server import add_intent, all_intents
from engines.ledger.records import Block
from engines.ledger.server import block
from engines.mempool_worker.messages import Stage, TransactionCandidate, TransactionLabel, TransactionStatus
from engines.mempool_worker.server import status, submit, transaction_status
from erlang_bridge import Atom
from erlang_bridge.terms.text import parse_term
from pyanoma import application
from pyanoma.application import Running
from pyanoma.config import NodeConfig

ALICE, BOB = Atom("alice"), Atom("bob")


@cache
def a_node() -> Running:
    """A node with all engines, whose ledger is in memory. It ends with the program."""
    running = application.start(NodeConfig("example@127.0.0.1", cookie="chocolate"))
    while not status(running.node).ready:
        gevent.sleep(0.01)
    return running


def committed(fingerprint: int) -> TransactionStatus:
    """The transaction, when it is in a block."""
    while (found := transaction_status(a_node().node, fingerprint)).stage is not Stage.COMMITTED:
        gevent.sleep(0.01)
    return found


def transaction(program: str, *arguments: object) -> TransactionStatus:
    """A transaction of a program in Python, on the accounts of Alice and Bob."""
    label = TransactionLabel(read=(ALICE, BOB), may_write=(ALICE, BOB))
    candidate = TransactionCandidate(label, (Atom("python"), Atom(program), list(arguments)))
    return committed(submit(a_node().node, candidate).fingerprint)


@cache
def an_account() -> TransactionStatus:
    """Alice has 10."""
    done = transaction("add", (ALICE, 10))
    assert done.success, done.error
    assert dict(done.values_written) == {ALICE: 10}
    return done


@cache
def a_transfer() -> TransactionStatus:
    """Alice gives 4 to Bob."""
    an_account()
    done = transaction("transfer", ALICE, BOB, 4)
    assert dict(done.values_written) == {ALICE: 6, BOB: 4}
    return done


@cache
def a_failed_transfer() -> TransactionStatus:
    """Bob cannot give what he does not have. Nothing is written."""
    a_transfer()
    failed = transaction("transfer", BOB, ALICE, 100)
    assert not failed.success
    assert not failed.values_written
    return failed


@cache
def a_program_in_nock() -> Noun:
    """A constant: the list of one cell, key 7 and value 42, as the Elixir node wants it."""
    return noun_of_term(parse_term("[[1, 0, [1, [7 | 42] | 0], 0 | 909], 0 | 707]"))


@cache
def a_transaction_in_nock() -> TransactionStatus:
    """It writes 42 under the key 7."""
    executable = parse_term("{nock, [[1, 0, [1, [7 | 42] | 0], 0 | 909], 0 | 707]}")
    ack = submit(a_node().node, TransactionCandidate(TransactionLabel(write=(7,)), executable))
    done = committed(ack.fingerprint)
    assert done.values_written == ((7, 42),)
    return done


@cache
def a_block() -> Block:
    """The block with the transfer in it."""
    found = block(a_node().node, a_transfer().round or 0)
    assert found is not None
    assert found.first <= a_transfer().fingerprint <= found.last
    return found


@cache
def matched_intents() -> tuple[Offer, ...]:
    """Three offers that go round in a circle. The solver finds it, and they leave the pool."""
    kinds = (b"apples", b"pears", b"plums")
    circle = zip(kinds, (*kinds[1:], kinds[0]), strict=True)
    offers = tuple(
        Offer(ephemeral(gives, 3, n), ephemeral(wants, 3, n + 10)) for n, (gives, wants) in enumerate(circle)
    )
    for offer in offers:
        add_intent(a_node().node, offer.to_intent())
    while all_intents(a_node().node):
        gevent.sleep(0.05)
    return offers


EXAMPLES = (
    a_node,
    an_account,
    a_transfer,
    a_failed_transfer,
    a_program_in_nock,
    a_transaction_in_nock,
    a_block,
    matched_intents,
)


def main() -> None:
    """Show all of them."""
    try:
        for example in EXAMPLES:
            print(f"{example.__name__}: {str(example())[:200]}")
    finally:
        a_node().stop()


if __name__ == "__main__":
    main()
