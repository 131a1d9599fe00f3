"""A ledger that forgets: in the memory of its process. For trying things out, and for tests."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, ClassVar

from engines.ledger.errors import StoreClosed
from engines.ledger.rows import CHUNK, TABLES, Changes, Key, Row, Rows, Table
from engines.ledger.store import LedgerStore


class MemoryStore(LedgerStore):
    """A ledger in memory. It is gone when it is closed."""

    in_threads: ClassVar[bool] = False

    def __init__(self) -> None:
        self._writing = threading.RLock()
        self._rows = _MemoryRows()
        self._closed = False

    def close(self) -> None:
        """Forget everything."""
        self._closed = True
        self._rows = _MemoryRows()

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        """See `LedgerStore.reading`."""
        if self._closed:
            raise StoreClosed("the ledger in memory is closed")
        yield self._rows

    @contextmanager
    def snapshot(self) -> Iterator[Rows]:
        """See `LedgerStore.snapshot`. Writing waits meanwhile."""
        with self._writing, self.reading() as rows:
            yield rows

    def _write(self, changes: Changes) -> None:
        if self._closed:
            raise StoreClosed("the ledger in memory is closed")
        self._rows.change(changes)

    def _fill(self, pieces: Iterator[Changes]) -> None:
        made = _MemoryRows()
        for changes in pieces:
            made.change(changes)
        self._rows = made


class _MemoryRows(Rows):
    """Rows in dictionaries, and their keys in order."""

    def __init__(self) -> None:
        self._by_key: dict[Table, dict[Key, Row]] = {table: {} for table in TABLES}
        self._keys: dict[Table, list[Key]] = {table: [] for table in TABLES}

    def change(self, changes: Changes) -> None:
        for (table, key), row in changes.items():
            rows, keys = self._by_key[table], self._keys[table]
            if row is None:
                if rows.pop(key, None) is not None:
                    del keys[bisect_left(keys, key)]
                continue
            if key not in rows:
                insort(keys, key)
            rows[key] = row

    def get(self, table: Table, *key: Any) -> Row | None:
        return self._by_key[table].get(key)

    def scan(
        self,
        table: Table,
        *,
        after: Key | None = None,
        until: Key | None = None,
        limit: int = CHUNK,
        backwards: bool = False,
    ) -> list[Row]:
        keys, rows = self._keys[table], self._by_key[table]
        start = 0 if after is None else bisect_right(keys, after)
        end = len(keys) if until is None else bisect_right(keys, until)
        places = range(end - 1, start - 1, -1) if backwards else range(start, end)
        return [rows[keys[place]] for place in islice(places, limit)]

    def count(self, table: Table, most: int | None = None) -> int:
        count = len(self._by_key[table])
        return count if most is None else min(count, most)
