"""``observer_backend:get_table_list/2`` and ``get_table/3``: the node's tables, shown and sent to other nodes.

Source: OTP ``lib/runtime_tools/src/observer_backend.erl``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from erlang_bridge.errors import ErlangError
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.kernel.give_way import give_way
from erlang_bridge.kernel.tables import END_OF_TABLE, Table, Tables, no_mnesia
from erlang_bridge.terms import Atom, Pid

BADARG: Final = Atom("badarg")
IGNORE: Final = Atom("ignore")
ETS: Final = Atom("ets")
MNESIA: Final = Atom("mnesia")
ROWS_A_MESSAGE: Final = 200


def get_table_list(node: Any, kind: Any, options: Any) -> Any:
    """``observer_backend:get_table_list/2``: a property list for each table, or ``{error, Text}``."""
    if kind is MNESIA:
        return no_mnesia(node)
    if kind is not ETS or not isinstance(options, list):
        raise ErlangError(BADARG)
    system_hidden = (Atom("sys_hidden"), False) not in options
    tables: Tables = node.tables
    return [_listed(tables, table) for table in tables.all() if not (table.system and system_hidden)]


def _listed(tables: Tables, table: Table) -> list[tuple[Atom, Any]]:
    owner = tables.owner(table)
    entries = {
        "name": Atom(table.name),
        "id": IGNORE,
        "protection": Atom(table.protection),
        "owner": owner,
        "size": table.count(),
        "reg_name": tables.registered_name(owner) or IGNORE,
        "type": Atom(table.type),
        "keypos": table.keypos,
        "heir": Atom("none"),
        "memory": table.memory_bytes(),
        "compressed": False,
        "fixed": False,
    }
    return [(Atom(name), value) for name, value in entries.items()]


def get_table(call: RemoteCall, parent: Any, name: Any, kind: Any) -> Pid:
    """``observer_backend:get_table/3``: a process, linked with `parent`, that sends it the rows of a table.

    Pieces ``{Pid, [[Row]]}``, then ``{Pid, '$end_of_table'}``. It sends no faster than they are taken.
    """
    if not isinstance(parent, Pid):
        raise ErlangError(BADARG)
    table = call.node.table
    found: Table | None = call.node.tables.find(name) if kind is ETS else None

    def body() -> None:
        table.link(process, parent)
        rows: Iterator[Any] = found.shown_rows() if found is not None else iter(())
        while piece := [[row] for row in islice(rows, ROWS_A_MESSAGE)]:
            table.send(process, parent, (process.pid, piece))
            give_way()
        table.send(process, parent, (process.pid, END_OF_TABLE))

    process = table.add_body(body)
    process.initial_call = ("observer_backend", "get_table2", 3)
    pid: Pid = process.pid
    return pid


def export(node: Any) -> None:
    """Export what is here to other nodes."""
    node.export("observer_backend", "get_table_list", lambda kind, options: get_table_list(node, kind, options))
    node.export("observer_backend", "get_table", get_table, with_call=True)
