"""The node's tables, as a BEAM reads them: ``observer_backend`` and ``ets``."""

from __future__ import annotations

from typing import Any

import pytest

from erlang_bridge import Atom, ErlangError, Node
from erlang_bridge.kernel.tables import Table
from erlang_bridge.testing.beams import Beam
from tests.servers import Counter
from tests.waiting import until

OK = Atom("ok")
ETS = Atom("ets")
IGNORE = Atom("ignore")
ALL = [(Atom("sys_hidden"), False), (Atom("unread_hidden"), False)]
SOME = [(Atom("sys_hidden"), True), (Atom("unread_hidden"), True)]


READ = """
    (fun() ->
        P = erpc:call(N, observer_backend, get_table, [self(), T, ets]),
        R = fun R(Rows) ->
            receive
                {P, '$end_of_table'} -> Rows;
                {P, Piece} -> R(Rows ++ [Row || [Row] <- Piece])
            after 3000 -> timeout
            end
        end,
        R([])
    end)()
"""


@pytest.fixture
def read(shared_beam: Beam, node: Node) -> Any:
    """Reads a table as observer does."""

    def rows(name: str) -> list[Any]:
        found: list[Any] = shared_beam.eval(READ, N=node.name, T=Atom(name))
        return found

    return rows


def test_the_list_of_tables(ask: Any, node: Node) -> None:
    listed = {
        dict(table)[Atom("name")].name: dict(table) for table in ask("observer_backend", "get_table_list", ETS, SOME)
    }
    assert {"registered_names", "connected_nodes", "engines", "global_names", "pg"} == listed.keys()
    names = listed["registered_names"]
    assert [key.name for key in names] == [
        "name", "id", "protection", "owner", "size", "reg_name", "type", "keypos", "heir", "memory", "compressed",
        "fixed",
    ]  # fmt: skip
    assert names[Atom("id")] is IGNORE
    assert names[Atom("owner")] == node.whereis("kernel_sup")
    assert names[Atom("reg_name")] is Atom("kernel_sup")
    assert names[Atom("size")] == len(node.table.names)
    everything = ask("observer_backend", "get_table_list", ETS, ALL)
    assert Atom("exported_functions") in [dict(table)[Atom("name")] for table in everything]


def test_mnesia_does_not_run(ask: Any, node: Node) -> None:
    answer, text = ask("observer_backend", "get_table_list", Atom("mnesia"), SOME)
    assert answer is Atom("error")
    assert "".join(map(chr, text)) == f"Mnesia is not running on: {node.name}"
    assert ask("mnesia", "system_info", Atom("is_running")) is Atom("no")


def test_the_registry(read: Any, node: Node) -> None:
    pid = node.start(Counter, name="counted")
    rows = read("registered_names")
    assert (Atom("counted"), pid, Atom("tests.servers.Counter")) in rows
    assert len(rows) == len(node.table.names)


def test_the_connected_nodes(read: Any, shared_beam: Beam) -> None:
    ((name, state, kind, about),) = read("connected_nodes")
    assert (name, state, kind) == (Atom(shared_beam.name), Atom("up"), Atom("visible"))
    assert about[Atom("bytes_in")] > 0
    assert Atom("v4_nc") in about[Atom("flags")]
    assert about[Atom("dialled_by")] is Atom(shared_beam.name)


def test_engines_names_and_groups(read: Any, node: Node) -> None:
    assert (Atom("counter"), Atom("tests.servers.Counter")) in read("engines")
    pid = node.start(Counter)
    node.global_names.register_name("everywhere", pid)
    assert [row[:2] for row in read("global_names")] == [(Atom("everywhere"), pid)]
    node.pg.join("workers", [pid])
    assert read("pg") == [((Atom("pg"), Atom("workers")), [pid], [pid])]
    assert ((Atom("pyanoma"), Atom("start_link"), 2),) in read("exported_functions")


def test_a_large_table_of_a_program_comes_in_pieces(read: Any, ask: Any, node: Node) -> None:
    count = 5000
    rows = {number: (number, "x" * 10, {"number": number}) for number in range(count)}
    node.tables.add(Table("numbers", rows.values, rows.__len__, lambda: 8000))
    assert read("numbers") == [(number, b"x" * 10, {b"number": number}) for number in range(count)]
    assert ask("ets", "info", Atom("numbers"), Atom("size")) == count
    assert ask("ets", "info", Atom("numbers"), Atom("memory")) == 1000
    node.tables.remove("numbers")
    assert read("numbers") == []


def test_what_has_no_term_is_shown(read: Any, node: Node) -> None:
    node.tables.add(Table("odd", lambda: [("key", {3, 1}, object())], lambda: 1))
    ((key, numbers, text),) = read("odd")
    assert (key, numbers) == (b"key", [1, 3])
    assert text.startswith(b"<object object")


def test_a_table_that_cannot_be_measured_hides_nothing(ask: Any, node: Node) -> None:
    def broken() -> int:
        raise RuntimeError("closed")

    node.tables.add(Table("broken", list, broken, broken))
    listed = {dict(table)[Atom("name")]: dict(table) for table in ask("observer_backend", "get_table_list", ETS, SOME)}
    assert (listed[Atom("broken")][Atom("size")], listed[Atom("broken")][Atom("memory")]) == (0, 0)
    assert listed[Atom("registered_names")][Atom("size")] == len(node.table.names)
    assert dict(ask("observer_backend", "sys_info"))[Atom("ets")] > 0


def test_reading_ends_with_the_reader(shared_beam: Beam, node: Node) -> None:
    def endless() -> Any:
        number = 0
        while True:
            number += 1
            yield (number,)

    node.tables.add(Table("endless", endless, lambda: 1))
    shell = shared_beam.shell()
    pid = shell.eval("erpc:call(N, observer_backend, get_table, [self(), endless, ets])", N=node.name)
    shell.eval("receive {_, [[_] | _]} -> ok end")
    shell.end()
    assert until(lambda: not node.is_alive(pid))


def test_ets(ask: Any, shared_beam: Beam, node: Node) -> None:
    rows = [(1, "one"), (2, "two"), (2.0, "two as a float")]
    node.tables.add(Table("numbers", lambda: rows, lambda: 3, lambda: 80))
    node.tables.add(Table("words", lambda: [("one", 1)], lambda: 1))
    name = Atom("numbers")
    end = Atom("$end_of_table")
    assert name in ask("ets", "all")
    assert ask("ets", "info", name, Atom("keypos")) == 1
    theirs = shared_beam.eval("[Item || {Item, _} <- ets:info(ets:new(t, []))]")
    told = dict(ask("ets", "info", name))
    assert set(theirs) <= told.keys()
    assert (told[Atom("size")], told[Atom("name")], told[Atom("named_table")]) == (3, name, True)
    assert ask("ets", "tab2list", name) == [(1, b"one"), (2, b"two"), (2.0, b"two as a float")]
    assert ask("ets", "lookup", name, 2) == [(2, b"two")]
    assert ask("ets", "lookup", Atom("words"), b"one") == [(b"one", 1)]
    assert (ask("ets", "member", name, 1), ask("ets", "member", name, 5)) == (True, False)
    assert (ask("ets", "first", name), ask("ets", "next", name, 1), ask("ets", "last", name)) == (1, 2, 2.0)
    assert (ask("ets", "prev", name, 2), ask("ets", "prev", name, 1)) == (1, end)
    assert ask("ets", "info", Atom("nonsense")) is Atom("undefined")
    assert ask("ets", "info", Atom("nonsense"), Atom("size")) is Atom("undefined")


@pytest.mark.parametrize(
    "call",
    [
        "ets:insert(registered_names, {a, b})",
        "ets:delete(registered_names)",
        "ets:delete(registered_names, rex)",
        "ets:delete_object(registered_names, {a, b})",
        "ets:tab2list(nonsense)",
        "ets:next(registered_names, nonsense)",
        "ets:info(registered_names, nonsense)",
        "observer_backend:get_table_list(dets, [])",
        "ets:info(17)",
        "ets:whereis(<<1>>)",
        "observer_backend:get_table(x, registered_names, ets)",
    ],
)
def test_badarg(shared_beam: Beam, node: Node, call: str) -> None:
    module, _, rest = call.partition(":")
    function, _, arguments = rest.partition("(")
    with pytest.raises(ErlangError) as caught:
        shared_beam.eval(f"erpc:call(N, {module}, {function}, [{arguments[:-1]}])", N=node.name)
    assert caught.value.reason[:2] == (Atom("exception"), Atom("badarg"))
    assert node.whereis("rex") is not None
