"""The tables of a ledger as rows, and what a store lets one do with them.

A row is a tuple: its key's columns, then the others. Rows stand in the order of their keys: integers by size, texts and
bytes byte by byte.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engines.ledger.encoding import restored, stored
from engines.ledger.errors import StoreDamaged
from engines.ledger.records import NO_HASH, Heights

SCHEMA: Final = 1
"""Version of the tables below."""

CHUNK: Final = 500
"""Rows that are read in one go."""

MAX_INTEGER: Final = (1 << 63) - 1
"""Of what is kept as a column."""

Row = tuple[Any, ...]
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One table. There is one object of each.

    Attributes:
        key: the columns of its key, and their types.
        columns: the others.
    """

    name: str
    key: tuple[tuple[str, type], ...]
    columns: tuple[tuple[str, type], ...]

    @property
    def key_size(self) -> int:
        return len(self.key)

    def key_of(self, row: Row) -> Key:
        return row[: len(self.key)]


BLOCKS: Final = Table(
    "blocks", (("round", int),), (("first", int), ("last", int), ("previous_hash", bytes), ("hash", bytes))
)
TRANSACTIONS: Final = Table("transactions", (("fingerprint", int),), (("round", int), ("body", bytes)))
JOURNAL: Final = Table("journal", (("fingerprint", int),), (("candidate", bytes), ("issuer", bytes)))
VERSIONS: Final = Table("versions", (("key", bytes), ("fingerprint", int)), (("value", bytes),))
ITEMS: Final = Table("items", (("name", str), ("key", bytes)), (("value", bytes),))
SEQUENCES: Final = Table("sequences", (("name", str), ("number", int)), (("value", bytes),))
META: Final = Table("meta", (("name", str),), (("value", bytes),))

TABLES: Final = (BLOCKS, TRANSACTIONS, JOURNAL, VERSIONS, ITEMS, SEQUENCES, META)
BY_NAME: Final = {table.name: table for table in TABLES}

HEAD: Final = "head"
"""Key in `META` of the `Head`."""

Changes = Mapping[tuple[Table, Key], Row | None]
"""Rows to be from now on, by table and key; None: none of that key."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a ledger is; every change writes it, too.

    Attributes:
        last_hash: of the last block.
        token: what the last change was marked with, so that one can tell later whether it was made.
    """

    heights: Heights = field(default_factory=Heights)
    last_hash: bytes = NO_HASH
    token: bytes = b""

    @property
    def row(self) -> Row:
        heights = self.heights
        value = (heights.next_round, heights.committed, heights.next_fingerprint, self.last_hash, self.token)
        return HEAD, stored(value)


def head_of(row: Row | None) -> Head:
    """The head that is stored in a row of `META`; that of an empty ledger for None.

    Raises:
        StoreDamaged: it is none.
    """
    if row is None:
        return Head()
    match restored(row[1]):
        case (int(next_round), int(committed), int(next_fingerprint), bytes(last_hash), bytes(token)):
            return Head(Heights(next_round, committed, next_fingerprint), last_hash, token)
    raise StoreDamaged("the ledger is damaged: its heights cannot be read; check it with `pyanoma storage verify`")


class Rows(ABC):
    """Reading rows. What it raises is a `LedgerError`."""

    @abstractmethod
    def get(self, table: Table, *key: Any) -> Row | None:
        """The row of that key."""

    @abstractmethod
    def scan(
        self,
        table: Table,
        *,
        after: Key | None = None,
        until: Key | None = None,
        limit: int = CHUNK,
        backwards: bool = False,
    ) -> list[Row]:
        """Rows in order, at most `limit`.

        Args:
            after: only rows with greater keys.
            until: only rows with keys up to this one.
            backwards: from the greatest down.
        """

    @abstractmethod
    def count(self, table: Table, most: int | None = None) -> int:
        """How many rows there are; `most` where there are more."""

    def latest(self, key: bytes, fingerprint: int) -> Row | None:
        """The version of a key with the greatest fingerprint up to the one given."""
        found = self.scan(VERSIONS, after=(key, -1), until=(key, fingerprint), limit=1, backwards=True)
        return found[0] if found else None

    def each(self, table: Table, *, after: Key | None = None, until: Key | None = None) -> Iterator[Row]:
        """All rows in order, read in pieces."""
        while True:
            rows = self.scan(table, after=after, until=until)
            yield from rows
            if len(rows) < CHUNK:
                return
            after = table.key_of(rows[-1])

    @property
    def head(self) -> Head:
        return head_of(self.get(META, HEAD))
