"""Tables that a node shows to others as ``ets`` tables: the registry, the connected nodes, what an application adds.

::

    node.tables.add(Table("transactions", rows=store.items, size=store.__len__))

They are for reading: rows are made when somebody looks, and nobody can change them from another node.

Source: OTP ``ets``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from erlang_bridge import etf
from erlang_bridge.dist import flags as dist_flags
from erlang_bridge.errors import ErlangError, ErlangExit
from erlang_bridge.kernel.give_way import give_way
from erlang_bridge.otp.readable import readable
from erlang_bridge.otp.reports import charlist
from erlang_bridge.terms import Atom, Pid, Reference

log = logging.getLogger("erlang_bridge.kernel")

BADARG: Final = Atom("badarg")
UNDEFINED: Final = Atom("undefined")
WORD_SIZE: Final = 8
LOOKED_AT: Final = 100_000
"""As many rows as one call may go through or answer with; whoever wants more reads the table in pieces."""

ROWS_A_TURN: Final = 200

Row = tuple[Any, ...]
_T = TypeVar("_T")


def _nobody() -> None:
    return None


def _shown(row: Row) -> Row:
    return tuple(readable(value) for value in row)


def _encoded(key: Any) -> bytes:
    """A key as others see it: text and binaries of the same bytes are the same key, 1 and 1.0 are two."""
    return etf.encode(readable(key))


def _slowly(items: Iterable[_T]) -> Iterator[_T]:
    """The same items; others have their turn now and then."""
    for number, item in enumerate(items, 1):
        yield item
        if not number % ROWS_A_TURN:
            give_way()


@dataclass(frozen=True, slots=True)
class Table:
    """A table that others may read.

    Attributes:
        rows: makes the rows, tuples, whenever somebody looks.
        size: how many there are, without making them.
        memory: bytes; default: not known, 0.
        owner: the process that it belongs to; default: ``net_kernel``.
        keypos: which element of a row is the key, from 1.
        system: shown only by those who ask for system tables, too.
    """

    name: str
    rows: Callable[[], Iterable[tuple[object, ...]]]
    size: Callable[[], int]
    memory: Callable[[], int] = lambda: 0
    owner: Callable[[], Pid | None] = _nobody
    keypos: int = 1
    type: str = "set"
    protection: str = "protected"
    system: bool = False

    def count(self) -> int:
        """What `size` says; 0 where it raises."""
        return self._told(self.size)

    def memory_bytes(self) -> int:
        """What `memory` says; 0 where it raises."""
        return self._told(self.memory)

    def _told(self, ask: Callable[[], int]) -> int:
        try:
            return ask()
        except Exception:
            # A program's own: the rest of what is asked for together with it is answered all the same.
            log.debug("the table %s cannot be measured", self.name, exc_info=True)
            return 0

    def each(self) -> Iterator[Row]:
        """The rows, for somebody who takes his time: a dictionary may change meanwhile."""
        rows = self.rows()
        return iter(rows if isinstance(rows, (list, Iterator)) else list(rows))

    def shown_rows(self) -> Iterator[Row]:
        """The rows as terms. What has no term is shown as `readable` does."""
        return map(_shown, self.each())


class Tables:
    """The tables of one node, by name."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._by_name: dict[str, Table] = {}
        for table in _standard_tables(node):
            self.add(table)

    def add(self, table: Table) -> None:
        """Show a table; one of the same name is replaced."""
        self._by_name[table.name] = table

    def remove(self, name: str) -> None:
        """Does nothing where there is no such table."""
        self._by_name.pop(name, None)

    def all(self) -> list[Table]:
        return list(self._by_name.values())

    def find(self, name: Any) -> Table | None:
        """The table of that name, a `str` or an atom."""
        if isinstance(name, Atom):
            name = name.name
        return self._by_name.get(name) if isinstance(name, str) else None

    @property
    def node_name(self) -> Atom:
        name: Atom = self._node.name
        return name

    def owner(self, table: Table) -> Pid:
        """The process that a table belongs to."""
        pid = table.owner() or self._node.table.whereis(Atom("net_kernel"))
        return pid if pid is not None else Pid(self._node.name, 0, 0, self._node.creation)

    def registered_name(self, pid: Pid) -> Atom | None:
        process = self._node.table.find(pid)
        return process.name if process is not None else None


# -- the tables that every node has -----------------------------------------------------------


def _standard_tables(node: Any) -> Iterator[Table]:
    def owned_by(name: str) -> Callable[[], Pid | None]:
        return lambda: node.table.whereis(Atom(name))

    yield Table(
        "registered_names",
        lambda: [(name, process.pid, _class_of(process)) for name, process in list(node.table.names.items())],
        lambda: len(node.table.names),
        lambda: sys.getsizeof(node.table.names),
        owned_by("kernel_sup"),
    )
    yield Table(
        "connected_nodes",
        lambda: [_connection(node, channel) for channel in node.connections.channels()],
        lambda: len(node.connections.channels()),
        lambda: sum(channel.statistics()["queued_bytes"] for channel in node.connections.channels()),
        owned_by("net_kernel"),
    )
    yield Table(
        "engines",
        lambda: [(Atom(name), Atom(f"{cls.__module__}.{cls.__qualname__}")) for name, cls in node.engines.items()],
        lambda: len(node.engines),
        lambda: sys.getsizeof(node.engines),
        owned_by("net_kernel"),
    )
    yield Table(
        "global_names",
        lambda: [(entry.name, entry.pid, entry.method) for entry in list(node.global_names.tables.names)],
        lambda: len(node.global_names.tables.names),
        owner=owned_by("global_name_server"),
    )
    yield Table(
        "pg",
        lambda: [
            ((scope, group), node.pg.get_members(group, scope), node.pg.get_local_members(group, scope))
            for scope in node.pg.scopes()
            for group in node.pg.which_groups(scope)
        ],
        lambda: sum(len(node.pg.which_groups(scope)) for scope in node.pg.scopes()),
        owner=owned_by("pg"),
    )
    yield Table(
        "exported_functions",
        lambda: [
            ((Atom(module), Atom(name), arity),)
            for module in node.callables.modules()
            for name, arity in node.callables.exported(module)
        ],
        lambda: sum(1 for module in node.callables.modules() for _ in node.callables.exported(module)),
        owner=owned_by("rex"),
        system=True,
    )


def _class_of(process: Any) -> Any:
    instance = getattr(process, "instance", None)
    if instance is None:
        return UNDEFINED if process.initial_call is None else Atom(".".join(process.initial_call[:2])[-255:])
    return Atom(f"{type(instance).__module__}.{type(instance).__qualname__}"[-255:])


_FLAG_NAMES: Final = {
    value: name.removeprefix("DFLAG_").lower() for name, value in vars(dist_flags).items() if name.startswith("DFLAG_")
}


def _connection(node: Any, channel: Any) -> Row:
    peer = channel.peer
    release = node.peer_release(channel.node)
    about = {
        "release": UNDEFINED if release is None else release,
        "creation": peer.creation,
        "dialled_by": node.name if peer.we_started else channel.node,
        "flags": [Atom(name) for value, name in _FLAG_NAMES.items() if peer.flags & value],
        **channel.statistics(),
    }
    kind = Atom("hidden" if peer.hidden else "visible")
    return channel.node, Atom(channel.state), kind, {Atom(key): value for key, value in about.items()}


# -- ets --------------------------------------------------------------------------------------


def information(tables: Tables, table: Table) -> dict[str, Any]:
    """What ``ets:info`` knows of a table, with `memory` in words as there."""
    return {
        "id": Atom(table.name),
        "decentralized_counters": False,
        "read_concurrency": False,
        "write_concurrency": False,
        "compressed": False,
        "memory": table.memory_bytes() // WORD_SIZE,
        "owner": tables.owner(table),
        "heir": Atom("none"),
        "name": Atom(table.name),
        "size": table.count(),
        "node": tables.node_name,
        "named_table": True,
        "type": Atom(table.type),
        "keypos": table.keypos,
        "protection": Atom(table.protection),
    }


_MORE_INFORMATION: Final = {"fixed": False, "safe_fixed": False, "safe_fixed_monotonic_time": False, "stats": {}}


def export(node: Any) -> None:
    """Export what is here to other nodes."""
    tables: Tables = node.tables

    def find(name: Any) -> Table:
        table = tables.find(name)
        if table is None:
            raise ErlangError(BADARG)
        return table

    def known_or_none(name: Any) -> Table | None:
        """A name of no table is ``undefined``, what is no name is ``badarg``."""
        if type(name) not in (Atom, Reference):
            raise ErlangError(BADARG)
        return tables.find(name)

    def info(name: Any) -> Any:
        table = known_or_none(name)
        if table is None:
            return UNDEFINED
        return [(Atom(key), value) for key, value in information(tables, table).items()]

    def info_item(name: Any, item: Any) -> Any:
        table = known_or_none(name)
        if table is None:
            return UNDEFINED
        known = {**information(tables, table), **_MORE_INFORMATION}
        if type(item) is not Atom or item.name not in known:
            raise ErlangError(BADARG)
        return known[item.name]

    def rows(name: Any) -> list[Row]:
        return list(_slowly(map(_shown, islice(find(name).each(), LOOKED_AT))))

    def keys(name: Any) -> list[Any]:
        position = find(name).keypos - 1
        return [readable(row[position]) for row in _slowly(islice(find(name).each(), LOOKED_AT))]

    def lookup(name: Any, key: Any) -> list[Row]:
        position, wanted = find(name).keypos - 1, _encoded(key)
        looked_at = _slowly(islice(find(name).each(), LOOKED_AT))
        return [_shown(row) for row in looked_at if _encoded(row[position]) == wanted]

    def neighbour(name: Any, key: Any, step: int) -> Any:
        known, wanted = keys(name), _encoded(key)
        for index, each in enumerate(_slowly(known)):
            if _encoded(each) == wanted:
                return known[index + step] if 0 <= index + step < len(known) else END_OF_TABLE
        raise ErlangError(BADARG)

    def refused(*_arguments: Any) -> Any:
        raise ErlangError(BADARG)

    def ets(name: str, function: Callable[..., Any], arity: int) -> None:
        node.export("ets", name, function, arity=arity)

    ets("all", lambda: [Atom(table.name) for table in tables.all()], 0)
    ets("info", info, 1)
    ets("info", info_item, 2)
    ets("whereis", lambda name: UNDEFINED if known_or_none(name) is None else name, 1)
    ets("tab2list", rows, 1)
    ets("lookup", lookup, 2)
    ets("member", lambda name, key: bool(lookup(name, key)), 2)
    ets("first", lambda name: next(iter(keys(name)), END_OF_TABLE), 1)
    ets("last", lambda name: next(reversed(keys(name)), END_OF_TABLE), 1)
    ets("next", lambda name, key: neighbour(name, key, 1), 2)
    ets("prev", lambda name, key: neighbour(name, key, -1), 2)
    for name, arity in _WRITING:
        ets(name, refused, arity)
    node.export("mnesia", "system_info", lambda item: _mnesia(node, item))


END_OF_TABLE: Final = Atom("$end_of_table")
_WRITING: Final = (
    ("insert", 2),
    ("insert_new", 2),
    ("delete", 1),
    ("delete", 2),
    ("delete_object", 2),
    ("delete_all_objects", 1),
    ("update_counter", 3),
    ("update_element", 3),
)


def _mnesia(node: Any, item: Any) -> Any:
    """``mnesia:system_info/1``: there is none here."""
    if item is Atom("is_running"):
        return Atom("no")
    raise ErlangExit((Atom("aborted"), (Atom("node_not_running"), node.name)))


def no_mnesia(node: Any) -> tuple[Atom, list[int]]:
    """What ``observer_backend:get_table_list(mnesia, _)`` answers where Mnesia does not run."""
    return Atom("error"), charlist(f"Mnesia is not running on: {node.name}")
