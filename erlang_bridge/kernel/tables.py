"""Tables that a node shows to others as ``ets`` tables: the registry, the connected nodes, what an application adds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from erlang_bridge.terms import Pid


@dataclass(frozen=True, slots=True)
class Table:
    """A table that others may read.

    Attributes:
        rows: makes the rows, tuples, whenever somebody looks.
        size: how many there are, without making them.
        memory: bytes.
        owner: the process that it belongs to.
        keypos: which element of a row is the key, from 1.
    """

    name: str
    rows: Callable[[], Iterable[tuple[object, ...]]]
    size: Callable[[], int]
    memory: Callable[[], int]
    owner: Callable[[], Pid | None]
    keypos: int = 1
    type: str = "set"
    protection: str = "protected"


class Tables:
    """The tables of one node, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Table] = {}

    def add(self, table: Table) -> None:
        """Show a table; one of the same name is replaced."""
        self._by_name[table.name] = table

    def remove(self, name: str) -> None:
        self._by_name.pop(name, None)

    def all(self) -> list[Table]:
        return list(self._by_name.values())

    def find(self, name: str) -> Table | None:
        return self._by_name.get(name)
