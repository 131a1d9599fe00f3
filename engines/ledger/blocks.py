"""Blocks: their bytes, their hashes, and the chain.

Pure: no processes, no clock.

The hash of a block is BLAKE3 over the stored form (see `encoding`) of::

    {pyanoma_block, 1, Round, First, Last, PreviousHash, [BLAKE3 of each transaction's stored form]}

and the stored form of a transaction is that of::

    {Fingerprint, Candidate, Success, Error, [{Key, Value} | {Key}], [{Key, Value}]}

with its reads, ``{Key}`` for one that found nothing, and its writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from blake3 import blake3

from anoma.programs.runnable import ABSENT, Absent
from engines.ledger.encoding import restored, stored
from engines.ledger.errors import StoreDamaged
from engines.ledger.records import Block, CommittedTransaction
from erlang_bridge import etf
from erlang_bridge.terms import Atom

_BLOCK: Final = Atom("pyanoma_block")
_FORM: Final = 1


def transaction_bytes(transaction: CommittedTransaction) -> bytes:
    """The stored form of a transaction.

    Raises:
        BadRequest: a part of it is no term.
    """
    reads = [(key,) if isinstance(value, Absent) else (key, value) for key, value in transaction.reads]
    writes = [(key, value) for key, value in transaction.writes]
    return stored(
        (transaction.fingerprint, transaction.candidate, transaction.success, transaction.error, reads, writes)
    )


def transaction_of(data: bytes) -> CommittedTransaction:
    """The transaction that has this stored form.

    Raises:
        StoreDamaged: none has.
    """
    match restored(data):
        case (int(fingerprint), candidate, bool(success), error, list(reads), list(writes)):
            return CommittedTransaction(
                fingerprint, candidate, success, error, tuple(map(_read_of, reads)), tuple(map(_write_of, writes))
            )
    raise StoreDamaged("the ledger is damaged: a stored transaction does not have the parts of one")


def _read_of(term: Any) -> tuple[Any, Any]:
    match term:
        case (key,):
            return key, ABSENT
        case (key, value):
            return key, value
    raise StoreDamaged("the ledger is damaged: a read of a stored transaction is neither {Key} nor {Key, Value}")


def _write_of(term: Any) -> tuple[Any, Any]:
    match term:
        case (key, value):
            return key, value
    raise StoreDamaged("the ledger is damaged: a write of a stored transaction is not {Key, Value}")


def block_hash(round: int, first: int, last: int, previous_hash: bytes, bodies: Sequence[bytes]) -> bytes:  # noqa: A002  # the field's name
    """The hash of a block.

    Args:
        bodies: the stored forms of its transactions.
    """
    hashes = [blake3(body).digest() for body in bodies]
    return blake3(etf.encode((_BLOCK, _FORM, round, first, last, previous_hash, hashes))).digest()


def seal(
    round: int,  # noqa: A002  # the field's name
    transactions: Sequence[CommittedTransaction],
    previous_hash: bytes,
) -> Block:
    """The block of these transactions, at least one.

    Raises:
        BadRequest: a part of one is no term.
    """
    first, last = transactions[0].fingerprint, transactions[-1].fingerprint
    bodies = [transaction_bytes(transaction) for transaction in transactions]
    hash_ = block_hash(round, first, last, previous_hash, bodies)
    return Block(round, first, last, tuple(transactions), previous_hash, hash_)
