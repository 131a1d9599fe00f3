"""What may be done with a ledger, whatever keeps it.

`LedgerStore` has the rules: fingerprints and rounds are dense, a block and all that it brings becomes visible in one
transaction, what is acknowledged lasts. Its subclasses have the rows: `SqliteStore`, `MnesiaStore`,
`MemoryStore`.

A store blocks. One that is `in_threads` may be used from any thread and must be, in a node, through `Node.offload`; the
others talk with a node, and are used in its processes.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import IO, Any, ClassVar, Final, Self

from anoma.programs.runnable import ABSENT, Absent
from engines.ledger import transfer, verification
from engines.ledger.blocks import block_hash, transaction_bytes, transaction_of
from engines.ledger.encoding import restored, stored
from engines.ledger.errors import BadRequest, LedgerError, NotEmpty, StoreDamaged, WrongHeights
from engines.ledger.messages import (
    AppendedReply,
    AppendedRequest,
    AppendItems,
    BlockReply,
    BlockRequest,
    Change,
    Changed,
    HeightsReply,
    HeightsRequest,
    ItemReply,
    ItemRequest,
    ItemsReply,
    ItemsRequest,
    LedgerFailed,
    PendingReply,
    PendingRequest,
    Persist,
    Persisted,
    PutItems,
    Query,
    ReadReply,
    ReadRequest,
    TransactionReply,
    TransactionRequest,
    VersionsReply,
    VersionsRequest,
)
from engines.ledger.operations import failed
from engines.ledger.records import Block, CommittedTransaction, Heights, JournalEntry
from engines.ledger.rows import (
    BLOCKS,
    ITEMS,
    JOURNAL,
    MAX_INTEGER,
    META,
    SEQUENCES,
    TRANSACTIONS,
    VERSIONS,
    Changes,
    Head,
    Key,
    Row,
    Rows,
    Table,
)
from engines.ledger.verification import Finding, Progress
from engines.messages import EngineID
from engines.wire import conversion_for
from erlang_bridge.errors import brief
from erlang_bridge.etf.conversions import Mismatch
from erlang_bridge.terms import Pid

MOST_ROWS: Final = 10_000
"""Rows that one query answers with, and that one change trims."""

MOST_NAME: Final = 200
"""Characters of a table's name."""

_ISSUER: Final = conversion_for(EngineID | Pid | None)

Answer = Persisted | Changed | LedgerFailed


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Changes whose writing has failed in a way that leaves open whether they were made."""

    changes: tuple[Change, ...]
    answers: tuple[Answer, ...]
    token: bytes


class LedgerStore(ABC):
    """One ledger. Open when the constructor returns, closed by `close`, or at the end of a ``with``.

    Any method can raise a `LedgerError`; see `errors` for the kinds.
    """

    in_threads: ClassVar[bool]
    """Whether it may be used from any thread."""

    _writing: AbstractContextManager[Any]
    """Held by whoever changes the ledger."""

    _head: Head | None = None
    _attempt: _Attempt | None = None

    # -- what a kind of store has ----------------------------------------------------------------

    @abstractmethod
    def close(self) -> None:
        """Let others have the ledger. Twice is once."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Rows]:
        """For a few reads: what is committed when each begins."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Rows]:
        """For many reads: all of them see the same."""

    @abstractmethod
    def _write(self, changes: Changes) -> None:
        """Make all the changes, or none, in one transaction that lasts when this returns.

        Raises:
            StoreFailed: they may have been made, or not.
        """

    @abstractmethod
    def _fill(self, pieces: Iterator[Changes]) -> None:
        """Make all the changes, or none; there may be more than fit into memory at once. The ledger is empty."""

    def check_medium(self) -> Iterator[Finding]:
        """What is wrong with that which keeps the rows."""
        return iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # -- changing --------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change]) -> list[Answer]:
        """Make changes, in one transaction; what has an answer other than `LedgerFailed` lasts.

        One that is refused (with `BadRequest`, `WrongHeights`) is answered with `LedgerFailed`, and does not matter
        to the others. After any other error the same changes may be applied again: those that were made are not made
        twice.

        Raises:
            LedgerError: nothing of it is acknowledged.
        """
        given = tuple(changes)
        with self._writing:
            attempt = self._attempt
            head = self._current_head()
            if attempt is not None and head.token == attempt.token and _identical(attempt.changes, given):
                return list(attempt.answers)
            with self.reading() as rows:
                plan = _Plan(head, rows)
                answers = tuple(plan.answer(change) for change in given)
            if not plan.changes:
                return list(answers)
            token = secrets.token_bytes(12)
            following = replace(plan.head, token=token)
            plan.put(META, following.row)
            self._head, self._attempt = None, _Attempt(given, answers, token)
            self._write(plan.changes)
            self._head, self._attempt = following, None
            return list(answers)

    @property
    def head(self) -> Head:
        """Where it is, as far as that is known without asking."""
        return self._head if self._head is not None else Head()

    def _current_head(self) -> Head:
        if self._head is None:
            with self.reading() as rows:
                self._head = rows.head
            self._attempt = None
        return self._head

    def persist(self, entries: Sequence[JournalEntry] = (), transactions: Sequence[CommittedTransaction] = ()) -> Any:
        """`Persist`, alone.

        Returns:
            The `Persisted`.
        """
        return self._apply_one(Persist(tuple(entries), tuple(transactions)))

    def append(self, entries: Sequence[JournalEntry]) -> Heights:
        """Accept transactions. They last when this returns."""
        heights: Heights = self.persist(entries).heights
        return heights

    def commit(self, transactions: Sequence[CommittedTransaction], also: Sequence[JournalEntry] = ()) -> Heights:
        """Make a block of finished transactions, and accept others, in one go."""
        heights: Heights = self.persist(also, transactions).heights
        return heights

    def put_many(self, table: str, items: Sequence[tuple[Any, Any]], deleted: Sequence[Any] = ()) -> None:
        """`PutItems`, alone."""
        self._apply_one(PutItems(table, tuple(items), tuple(deleted)))

    def append_many(self, table: str, values: Sequence[Any], trim: int = 0) -> int:
        """`AppendItems`, alone; the number of the last value of the sequence."""
        last: int = self._apply_one(AppendItems(table, tuple(values), trim)).last
        return last

    def _apply_one(self, change: Change) -> Any:
        answer = self.apply((change,))[0]
        if isinstance(answer, LedgerFailed):
            raise _REFUSALS[answer.kind](answer.text)
        return answer

    # -- reading ---------------------------------------------------------------------------------

    def answer(self, query: Query) -> Any:
        """The reply to a query."""
        match query:
            case HeightsRequest():
                return HeightsReply(self.heights())
            case PendingRequest(after, limit):
                return PendingReply(*_cut(self.pending(after, _bounded(limit) + 1), _bounded(limit)))
            case ReadRequest(key, fingerprint):
                written, value = self.version(key, fingerprint)
                return ReadReply(key, fingerprint, value, written)
            case VersionsRequest(key, after, limit):
                return VersionsReply(key, tuple(self.versions(key, after, _bounded(limit))))
            case BlockRequest(number):
                return BlockReply(self.block(number))
            case TransactionRequest(fingerprint):
                return self.transaction(fingerprint)
            case ItemRequest(table, key):
                return ItemReply(self.item(table, key))
            case ItemsRequest(table, after, limit):
                return ItemsReply(*_cut(self.items(table, after, _bounded(limit) + 1), _bounded(limit)))
            case AppendedRequest(table, after, limit):
                return AppendedReply(*_cut(self.appended(table, after, _bounded(limit) + 1), _bounded(limit)))
        raise BadRequest(f"expected a query of the ledger, got {brief(query, 200)}")

    def heights(self) -> Heights:
        """How far it is."""
        with self.reading() as rows:
            return rows.head.heights

    def pending(self, after: int = 0, limit: int | None = None) -> list[JournalEntry]:
        """What is accepted and in no block, in order, from the fingerprint behind `after`; all of it without limit."""
        with self.reading() as rows:
            if limit is None:
                found: Iterable[Row] = rows.each(JOURNAL, after=(_integer(after),))
            else:
                found = rows.scan(JOURNAL, after=(_integer(after),), limit=limit)
            return [_entry_of(row) for row in found]

    def read(self, key: Any, fingerprint: int) -> Any:
        """The value that a key had after the transaction of that fingerprint, or `ABSENT`."""
        return self.version(key, fingerprint)[1]

    def version(self, key: Any, fingerprint: int) -> tuple[int, Any]:
        """As `read`, with the fingerprint of the transaction that has written it; 0 where there is none."""
        encoded = stored(key)
        with self.reading() as rows:
            row = rows.latest(encoded, _integer(fingerprint))
        return (0, ABSENT) if row is None else (row[1], restored(row[2]))

    def versions(self, key: Any, after: int = 0, limit: int = MOST_ROWS) -> list[tuple[int, Any]]:
        """Fingerprints and values of a key, oldest first."""
        encoded = stored(key)
        with self.reading() as rows:
            found = rows.scan(VERSIONS, after=(encoded, _integer(after)), until=(encoded, MAX_INTEGER), limit=limit)
        return [(fingerprint, restored(value)) for _, fingerprint, value in found]

    def block(self, number: int = 0) -> Block | None:
        """The block of that round, the last one for 0; None where there is none."""
        with self.reading() as rows:
            if number == 0:
                last = rows.scan(BLOCKS, limit=1, backwards=True)
                row = last[0] if last else None
            else:
                row = rows.get(BLOCKS, _integer(number))
            return None if row is None else _block_of(rows, row)

    def blocks(self, after: int = 0, until: int = MAX_INTEGER) -> Iterator[Block]:
        """The blocks of the rounds behind `after`, in order."""
        while after < until:
            block = self.block(after + 1)
            if block is None:
                return
            yield block
            after = block.round

    def transaction(self, fingerprint: int) -> TransactionReply:
        """What has become of a transaction."""
        with self.reading() as rows:
            row = rows.get(TRANSACTIONS, _integer(fingerprint))
            if row is not None:
                return TransactionReply(fingerprint, row[1], transaction_of(row[2]))
            waiting = rows.get(JOURNAL, fingerprint)
            if waiting is not None:
                return TransactionReply(fingerprint, pending=_entry_of(waiting))
            # It may have become part of a block between the two looks.
            row = rows.get(TRANSACTIONS, fingerprint)
            return TransactionReply(fingerprint, *(row[1], transaction_of(row[2])) if row is not None else ())

    def item(self, table: str, key: Any) -> Any:
        """The value of a key in a table, or `ABSENT`."""
        encoded = stored(key)
        with self.reading() as rows:
            row = rows.get(ITEMS, _name(table), encoded)
        return ABSENT if row is None else restored(row[2])

    def items(self, table: str, after: Any = ABSENT, limit: int = MOST_ROWS) -> list[tuple[Any, Any]]:
        """Keys and values of a table, in the order of the keys' bytes, from the one behind `after`."""
        beginning = b"" if isinstance(after, Absent) else stored(after)
        name = _name(table)
        with self.reading() as rows:
            found = rows.scan(ITEMS, after=(name, beginning), until=(name, _BEHIND_ALL), limit=limit)
        return [(restored(key), restored(value)) for _, key, value in found]

    def appended(self, table: str, after: int = 0, limit: int = MOST_ROWS) -> list[tuple[int, Any]]:
        """Numbers and values of a sequence, in order, from the number behind `after`."""
        name = _name(table)
        with self.reading() as rows:
            found = rows.scan(SEQUENCES, after=(name, _integer(after)), until=(name, MAX_INTEGER), limit=limit)
        return [(number, restored(value)) for _, number, value in found]

    # -- the whole of it -------------------------------------------------------------------------

    def verify(self, progress: Progress | None = None) -> Iterator[Finding]:
        """Check everything against everything; what is wrong, as it is found. Nothing: all is well."""
        yield from self.check_medium()
        with self.snapshot() as rows:
            yield from verification.check(rows, progress)

    def export(self, stream: IO[bytes], progress: Progress | None = None) -> int:
        """Write all of it as lines of JSON, see `transfer`; how many lines."""
        with self.snapshot() as rows:
            return transfer.write(rows, stream, progress)

    def import_(self, stream: IO[bytes], progress: Progress | None = None) -> Heights:
        """Take in what `export` has written. The ledger must be empty.

        Raises:
            NotEmpty, BadExport: and nothing has changed.
        """
        with self._writing:
            with self.reading() as rows:
                for table in (BLOCKS, JOURNAL, ITEMS, SEQUENCES):
                    if rows.count(table):
                        raise NotEmpty(
                            f"an import is for an empty ledger, and this one has rows in its table {table.name}; "
                            "import into a new file"
                        )
            self._head, self._attempt = None, None
            self._fill(transfer.read(stream, progress))
        return self.heights()


# -- changes as rows --------------------------------------------------------------------------


class _Plan:
    """The rows that changes come to, one change after the other."""

    def __init__(self, head: Head, rows: Rows) -> None:
        self.head = head
        self.changes: dict[tuple[Table, Key], Row | None] = {}
        self._rows = rows

    def answer(self, change: Change) -> Answer:
        """Plan one more change; refused, it leaves the plan as it is."""
        before, made = self.head, dict[tuple[Table, Key], Row | None]()
        try:
            if isinstance(change, Persist):
                answer: Answer = self._persist(change, made)
            elif isinstance(change, PutItems):
                answer = self._put_items(change, made)
            else:
                answer = self._append_items(change, made)
        except (BadRequest, WrongHeights) as error:
            self.head = before
            return failed(error)
        self.changes.update(made)
        return answer

    def put(self, table: Table, row: Row) -> None:
        self.changes[table, table.key_of(row)] = row

    def _get(self, table: Table, *key: Any) -> Row | None:
        if (table, key) in self.changes:
            return self.changes[table, key]
        return self._rows.get(table, *key)

    def _persist(self, change: Persist, made: dict[tuple[Table, Key], Row | None]) -> Persisted:
        heights = self.head.heights
        next_fingerprint = heights.next_fingerprint
        for entry in change.entries:
            candidate = stored(entry.candidate)
            if entry.fingerprint == next_fingerprint:
                made[JOURNAL, (next_fingerprint,)] = (next_fingerprint, candidate, stored(_issuer_to(entry.issuer)))
                next_fingerprint += 1
            elif not 0 < _integer(entry.fingerprint) < next_fingerprint:
                raise WrongHeights(
                    f"expected the entry of fingerprint {next_fingerprint}, got that of {entry.fingerprint}: "
                    "fingerprints are dense; ask the ledger for its heights"
                )
            elif self._candidate(entry.fingerprint, made) != candidate:
                raise WrongHeights(
                    f"fingerprint {entry.fingerprint} belongs to another transaction already; "
                    "ask the ledger for its heights"
                )
        self.head = replace(self.head, heights=replace(heights, next_fingerprint=next_fingerprint))
        number = self._commit(change.transactions, made) if change.transactions else None
        return Persisted(self.head.heights, number)

    def _commit(self, transactions: tuple[CommittedTransaction, ...], made: dict[tuple[Table, Key], Row | None]) -> int:
        """Plan the block of what of the transactions is in none; the round of the last of them."""
        heights = self.head.heights
        expected = _integer(transactions[0].fingerprint)
        if not 0 < expected <= heights.committed + 1:
            raise WrongHeights(
                f"expected transactions from fingerprint {heights.committed + 1} on, got them from {expected}: "
                "a block goes on where the one before ends"
            )
        bodies: list[bytes] = []
        for transaction in transactions:
            fingerprint = transaction.fingerprint
            if fingerprint != expected:
                raise WrongHeights(f"expected the transaction of fingerprint {expected}, got that of {fingerprint}")
            expected += 1
            body = transaction_bytes(transaction)
            if fingerprint <= heights.committed:
                there = self._get(TRANSACTIONS, fingerprint)
                if there is None or there[2] != body:
                    raise WrongHeights(f"the transaction of fingerprint {fingerprint} is in a block, and differs")
                continue
            candidate = self._candidate(fingerprint, made)
            if candidate is None:
                raise WrongHeights(
                    f"the transaction of fingerprint {fingerprint} cannot be committed: it was never accepted "
                    f"(the next fingerprint is {heights.next_fingerprint})"
                )
            if candidate != stored(transaction.candidate):
                raise WrongHeights(f"the transaction of fingerprint {fingerprint} was accepted with another candidate")
            bodies.append(body)
            for key, row in _version_rows(transaction):
                made[VERSIONS, key] = row
            made[TRANSACTIONS, (fingerprint,)] = (fingerprint, heights.next_round, body)
            made[JOURNAL, (fingerprint,)] = None
        if not bodies:
            known = self._get(TRANSACTIONS, transactions[-1].fingerprint)
            assert known is not None
            return int(known[1])
        number, first, last = heights.next_round, heights.committed + 1, transactions[-1].fingerprint
        previous_hash = self.head.last_hash
        hash_ = block_hash(number, first, last, previous_hash, bodies)
        made[BLOCKS, (number,)] = (number, first, last, previous_hash, hash_)
        self.head = Head(replace(heights, next_round=number + 1, committed=last), hash_)
        return number

    def _candidate(self, fingerprint: int, made: dict[tuple[Table, Key], Row | None]) -> bytes | None:
        """The stored candidate that has been accepted under a fingerprint."""
        entry = made.get((JOURNAL, (fingerprint,))) or self._get(JOURNAL, fingerprint)
        if entry is not None:
            accepted: bytes = entry[1]
            return accepted
        committed = self._get(TRANSACTIONS, fingerprint)
        return None if committed is None else stored(transaction_of(committed[2]).candidate)

    def _put_items(self, change: PutItems, made: dict[tuple[Table, Key], Row | None]) -> Changed:
        name = _name(change.table)
        for key in change.deleted:
            made[ITEMS, (name, stored(key))] = None
        for key, value in change.items:
            encoded = stored(key)
            made[ITEMS, (name, encoded)] = (name, encoded, stored(value))
        return Changed()

    def _append_items(self, change: AppendItems, made: dict[tuple[Table, Key], Row | None]) -> Changed:
        name = _name(change.table)
        mark = f"last of {name}"
        row = self._get(META, mark)
        last = 0 if row is None else restored(row[1])
        if change.trim > 0:
            until = (name, min(_integer(change.trim), last))
            for old in self._rows.scan(SEQUENCES, after=(name, 0), until=until, limit=MOST_ROWS):
                made[SEQUENCES, old[:2]] = None
            for table, key in self.changes:
                if table is SEQUENCES and key[0] == name and key[1] <= change.trim:
                    made[table, key] = None
        for value in change.values:
            last += 1
            made[SEQUENCES, (name, last)] = (name, last, stored(value))
        if change.values:
            made[META, (mark,)] = (mark, stored(last))
        return Changed(last)


def _version_rows(transaction: CommittedTransaction) -> Iterator[tuple[Key, Row]]:
    fingerprint = transaction.fingerprint
    if transaction.writes and not transaction.success:
        raise BadRequest(f"the transaction of fingerprint {fingerprint} has failed, and has writes: it must have none")
    seen: set[bytes] = set()
    for key, value in transaction.writes:
        encoded = stored(key)
        if encoded in seen:
            raise BadRequest(f"the transaction of fingerprint {fingerprint} writes the key {brief(key, 100)} twice")
        seen.add(encoded)
        yield (encoded, fingerprint), (encoded, fingerprint, stored(value))


# -- pieces -----------------------------------------------------------------------------------

_BEHIND_ALL: Final = b"\xff"
"""Greater than any stored term: those begin with 131."""

_REFUSALS: Final[dict[str, Callable[[str], LedgerError]]] = {kind.__name__: kind for kind in (BadRequest, WrongHeights)}


def _identical(these: tuple[Change, ...], those: tuple[Change, ...]) -> bool:
    return len(these) == len(those) and all(one is other for one, other in zip(these, those, strict=True))


def _issuer_to(issuer: EngineID | Pid | None) -> Any:
    assert _ISSUER.to_term is not None
    return _ISSUER.to_term(issuer)


def _issuer_from(term: Any) -> Any:
    assert _ISSUER.from_term is not None
    try:
        return _ISSUER.from_term(term)
    except Mismatch as mismatch:
        raise StoreDamaged(f"the ledger is damaged: the issuer of an entry {mismatch}") from None


def _entry_of(row: Row) -> JournalEntry:
    fingerprint, candidate, issuer = row
    return JournalEntry(fingerprint, restored(candidate), _issuer_from(restored(issuer)))


def _block_of(rows: Rows, row: Row) -> Block:
    number, first, last, previous_hash, hash_ = row
    bodies = [body for _, _, body in rows.each(TRANSACTIONS, after=(first - 1,), until=(last,))]
    if len(bodies) != last - first + 1:
        raise StoreDamaged(
            f"the ledger is damaged: block {number} should have {last - first + 1} transactions, and has {len(bodies)}"
        )
    return Block(number, first, last, tuple(map(transaction_of, bodies)), previous_hash, hash_)


def _bounded(limit: int) -> int:
    return max(1, min(limit, MOST_ROWS))


def _cut(found: list[Any], limit: int) -> tuple[tuple[Any, ...], bool]:
    return tuple(found[:limit]), len(found) > limit


def _integer(number: int) -> int:
    if not -1 <= number <= MAX_INTEGER:
        raise BadRequest(f"expected a natural number below 2**63, got {brief(number, 80)}")
    return number


def _name(table: str) -> str:
    if not 1 <= len(table) <= MOST_NAME or not table.isprintable():
        raise BadRequest(
            f"expected the name of a table, 1 to {MOST_NAME} characters that can be shown, got {table!r:.300}"
        )
    return table
