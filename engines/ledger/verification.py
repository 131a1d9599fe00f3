"""Checking a ledger: everything in it against everything else in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from engines.ledger.blocks import block_hash, transaction_bytes, transaction_of
from engines.ledger.encoding import restored, stored
from engines.ledger.errors import LedgerError, StoreDamaged
from engines.ledger.records import NO_HASH, CommittedTransaction
from engines.ledger.rows import BLOCKS, ITEMS, JOURNAL, META, SEQUENCES, TRANSACTIONS, VERSIONS, Row, Rows
from erlang_bridge.errors import brief

Progress = Callable[[int, int], None]
"""Called now and then with how many blocks are done, and how many there are."""

MOST_FINDINGS: Final = 100
"""After so many of one kind it is clear enough."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a ledger.

    Attributes:
        kind: ``file``, ``heights``, ``chain``, ``block``, ``transaction``, ``version``, ``journal`` or ``table``.
        where: such as ``block 7``.
        text: what was expected, and what is there.
    """

    kind: str
    where: str
    text: str


def check(rows: Rows, progress: Progress | None = None) -> Iterator[Finding]:
    """What is wrong in the rows, which all have to be of one moment."""
    try:
        yield from _check(rows, progress)
    except StoreDamaged as error:
        yield Finding("file", "the ledger", error.text)


def _check(rows: Rows, progress: Progress | None) -> Iterator[Finding]:
    head = rows.head
    counted = {table: rows.count(table) for table in (BLOCKS, TRANSACTIONS, VERSIONS)}
    done = last = written = 0
    previous_hash = NO_HASH
    for number, first, block_last, block_previous, hash_ in rows.each(BLOCKS):
        where = f"block {number}"
        if number != done + 1:
            yield Finding("heights", where, f"expected block {done + 1} next, found {number}")
        if first != last + 1 or block_last < first:
            yield Finding(
                "heights", where, f"expected transactions from {last + 1} on, it says it has {first} to {block_last}"
            )
        if block_previous != previous_hash:
            yield Finding(
                "chain", where, f"its previous hash is {block_previous.hex()}, that block's is {previous_hash.hex()}"
            )
        bodies = []
        for row in rows.each(TRANSACTIONS, after=(first - 1,), until=(block_last,)):
            bodies.append(row[2])
            transaction, problems = _transaction(row, number)
            yield from problems
            if transaction is not None:
                written += len(transaction.writes)
                yield from _versions(rows, transaction)
        if len(bodies) != block_last - first + 1:
            yield Finding(
                "block", where, f"it is not whole: {block_last - first + 1} transactions expected, {len(bodies)} found"
            )
        made = block_hash(number, first, block_last, block_previous, bodies)
        if made != hash_:
            yield Finding("chain", where, f"its hash is {hash_.hex()}, that of what is in it is {made.hex()}")
        done, last, previous_hash = number, block_last, hash_
        if progress is not None:
            progress(done, counted[BLOCKS])
    if counted[TRANSACTIONS] != last:
        yield Finding(
            "block", "the transactions", f"expected {last}, as many as the blocks have, found {counted[TRANSACTIONS]}"
        )
    if counted[VERSIONS] != written:
        yield Finding(
            "version", "the versions", f"expected {written}, as many as were written, found {counted[VERSIONS]}"
        )
        yield from islice(_strays(rows), MOST_FINDINGS)
    heights = head.heights
    if (heights.next_round, heights.committed, head.last_hash) != (done + 1, last, previous_hash):
        yield Finding(
            "heights",
            "the ledger",
            f"it says that it ends with block {heights.next_round - 1} at fingerprint {heights.committed} "
            f"with the hash {head.last_hash.hex()}; its blocks end with {done} at {last} with {previous_hash.hex()}",
        )
    yield from _journal(rows, heights.committed, heights.next_fingerprint)
    yield from _tables(rows)


def _transaction(row: Row, number: int) -> tuple[CommittedTransaction | None, list[Finding]]:
    fingerprint, in_block, body = row
    where = f"transaction {fingerprint}"
    try:
        transaction = transaction_of(body)
        again = transaction_bytes(transaction)
    except LedgerError as error:
        return None, [Finding("transaction", where, error.text)]
    found = []
    if again != body:
        found.append(Finding("transaction", where, "its bytes are not those that it would be stored as"))
    if transaction.fingerprint != fingerprint:
        found.append(Finding("transaction", where, f"what is stored there is transaction {transaction.fingerprint}"))
    if in_block != number:
        found.append(Finding("transaction", where, f"it says it is in block {in_block}, and is in {number}"))
    if transaction.writes and not transaction.success:
        found.append(Finding("transaction", where, "it has failed, and has writes"))
    return transaction, found


def _versions(rows: Rows, transaction: CommittedTransaction) -> Iterator[Finding]:
    for key, value in transaction.writes:
        row = rows.get(VERSIONS, stored(key), transaction.fingerprint)
        where = f"key {brief(key, 100)} at {transaction.fingerprint}"
        if row is None:
            yield Finding("version", where, "the transaction has written it, and there is no version")
        elif row[2] != stored(value):
            yield Finding("version", where, "the version is not what the transaction has written")


def _strays(rows: Rows) -> Iterator[Finding]:
    for encoded, fingerprint, _ in rows.each(VERSIONS):
        row = rows.get(TRANSACTIONS, fingerprint)
        where = f"key {_shown(encoded)} at {fingerprint}"
        try:
            written = () if row is None else transaction_of(row[2]).writes
        except StoreDamaged:
            continue  # reported with the transaction
        if not any(stored(key) == encoded for key, _ in written):
            yield Finding("version", where, "no committed transaction has written it")


def _journal(rows: Rows, committed: int, next_fingerprint: int) -> Iterator[Finding]:
    expected = committed + 1
    for fingerprint, candidate, issuer in rows.each(JOURNAL):
        if fingerprint != expected:
            yield Finding("journal", f"entry {fingerprint}", f"expected the entry of {expected} next")
        expected = fingerprint + 1
        for encoded in (candidate, issuer):
            yield from _unreadable(encoded, "journal", f"entry {fingerprint}")
    if expected != next_fingerprint:
        yield Finding(
            "journal", "the journal", f"expected entries up to {next_fingerprint - 1}, they end at {expected - 1}"
        )


def _tables(rows: Rows) -> Iterator[Finding]:
    for name, key, value in rows.each(ITEMS):
        for encoded in (key, value):
            yield from _unreadable(encoded, "table", f"table {name}")
    lasts = {
        name.removeprefix("last of "): restored(value) for name, value in rows.each(META) if name.startswith("last of ")
    }
    expected: dict[str, int] = {}
    for name, number, value in rows.each(SEQUENCES):
        if expected.get(name, number) != number:
            yield Finding("table", f"sequence {name}", f"expected number {expected[name]} next, found {number}")
        expected[name] = number + 1
        yield from _unreadable(value, "table", f"sequence {name}, number {number}")
    for name, following in expected.items():
        if lasts.get(name) != following - 1:
            yield Finding(
                "table", f"sequence {name}", f"it should end at {lasts.get(name)}, and ends at {following - 1}"
            )


def _unreadable(encoded: bytes, kind: str, where: str) -> Iterator[Finding]:
    try:
        restored(encoded)
    except StoreDamaged as error:
        yield Finding(kind, where, error.text)


def _shown(encoded: bytes) -> str:
    try:
        return brief(restored(encoded), 100)
    except StoreDamaged:
        return encoded.hex()[:100]
