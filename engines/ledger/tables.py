"""The ledger's tables as others see them, in observer's Table Viewer for instance: read when somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from engines.ledger.encoding import restored
from engines.ledger.errors import LedgerError
from engines.ledger.rows import BLOCKS, ITEMS, JOURNAL, SEQUENCES, TRANSACTIONS, VERSIONS, Row, Table
from engines.ledger.store import LedgerStore
from erlang_bridge import Atom, Node
from erlang_bridge.kernel import tables as shown

MOST_COUNTED: Final = 100_000
"""Rows; more are shown as so many."""


def _block(row: Row) -> Row:
    number, first, last, previous_hash, hash_ = row
    return number, first, last, hash_.hex(), previous_hash.hex()


def _transaction(row: Row) -> Row:
    fingerprint, number, body = row
    return fingerprint, number, restored(body)


def _entry(row: Row) -> Row:
    fingerprint, candidate, issuer = row
    return fingerprint, restored(candidate), restored(issuer)


def _version(row: Row) -> Row:
    key, fingerprint, value = row
    return (restored(key), fingerprint), restored(value)


def _item(row: Row) -> Row:
    name, key, value = row
    return (name, restored(key)), restored(value)


def _appended(row: Row) -> Row:
    name, number, value = row
    return (name, number), restored(value)


_SHOWN: Final[dict[Table, Callable[[Row], Row]]] = {
    BLOCKS: _block,
    TRANSACTIONS: _transaction,
    JOURNAL: _entry,
    VERSIONS: _version,
    ITEMS: _item,
    SEQUENCES: _appended,
}


def show_tables(node: Node, name: str, store: LedgerStore) -> None:
    """Show the tables of a ledger, as ``NAME_blocks`` and so on; `name` is that of its process."""

    def owner() -> Any:
        return node.table.whereis(Atom(name))

    for table, row in _SHOWN.items():
        node.tables.add(
            shown.Table(
                f"{name}_{table.name}",
                rows=_rows(store, table, row),
                size=_size(store, table),
                owner=owner,
                type="ordered_set",
            )
        )


def hide_tables(node: Node, name: str) -> None:
    """Show them no more."""
    for table in _SHOWN:
        node.tables.remove(f"{name}_{table.name}")


def _rows(store: LedgerStore, table: Table, row: Callable[[Row], Row]) -> Callable[[], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        after = None
        while True:
            try:
                with store.reading() as read:
                    found = read.scan(table, after=after)
            except LedgerError:
                # Closed, or its BEAM is away: there is nothing to show.
                return
            if not found:
                return
            yield from map(row, found)
            after = table.key_of(found[-1])

    return rows


def _size(store: LedgerStore, table: Table) -> Callable[[], int]:
    def size() -> int:
        with store.reading() as read:
            return read.count(table, MOST_COUNTED)

    return size
