"""docs/terms.md, row by row: each expression is evaluated in its own language, and sent both ways between real nodes."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import struct as packing
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import erlang_bridge
from erlang_bridge import Atom, EtfEncodeError, GenServer, Node, Pid, Reply, struct
from erlang_bridge.etf import encode
from erlang_bridge.etf.structs import default_structs
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.elixir import Elixir
from tests.pages import Page, Row

PAGE = Page("docs/terms.md")
BOTH_WAYS = PAGE.rows_with("Erlang", "Elixir", "Python")
LITERALS = [
    row for row in BOTH_WAYS if not row.code("Python").isalpha() or row.code("Python") in ("True", "False", "None")
]
OPAQUE = [row for row in BOTH_WAYS if row not in LITERALS]
SENT = PAGE.rows_with("Python", "Erlang", "Elixir")
REFUSED = PAGE.rows_with("Python", "because")
ANNOTATED = PAGE.rows_with("annotation", "Elixir", "Python")
NAMES = {
    **{name: getattr(erlang_bridge, name) for name in erlang_bridge.__all__},
    **{name: getattr(dt, name) for name in ("date", "time", "datetime", "UTC")},
    **{name: getattr(typing, name) for name in ("Any", "Literal")},
    "IntEnum": enum.IntEnum,
    "namedtuple": collections.namedtuple,
    "OrderedDict": collections.OrderedDict,
}

RECEIVE = {
    "erlang": "(fun() -> receive {{term, Came}} -> Same(Came, {}) after 5000 -> nothing_came end end)()",
    "elixir": "receive do {{:term, came}} -> same.(came, {}) after 5000 -> :nothing_came end",
}
ECHO = {
    "erlang": "(fun(Sent) -> Same(Sent, gen_server:call(Echo, Sent)) end)({})",
    "elixir": "(fn sent -> same.(sent, GenServer.call(echo, sent)) end).({})",
}
SAME = {
    "erlang": "Same = fun(A, B) -> A =:= B end",
    # A set of Elixir 1.14 has a field that later ones, and ours, have not.
    "elixir": """
        same = fn
          %{field: %MapSet{} = a} = c, %{field: %MapSet{} = b} = d -> MapSet.equal?(a, b) and %{c | field: b} === d
          a, b -> a === b
        end
    """,
}


class Echo(GenServer):
    """Answers what it is asked, and keeps the last."""

    last: Any = None

    def handle_call(self, request: Any, caller: Any, state: Any) -> Reply:
        Echo.last = request
        return Reply(request, state)


class Languages:
    """A node, and a shell on a BEAM that speaks one of the languages."""

    def __init__(self, node: Node, beam: Beam) -> None:
        self.node = node
        self.beam = beam
        self.language = beam.language
        self.column = beam.language.capitalize()
        self.shell = beam.shell()
        self.shell.eval(SAME[self.language])
        self.echo = node.start(Echo)

    def arrives_as(self, value: Any, expression: str) -> bool:
        """Whether the BEAM receives `value` as what it calls `expression`."""
        self.node.send(self.shell.pid, (Atom("term"), value))
        return self.shell.eval(RECEIVE[self.language].format(expression)) is True

    def comes_back(self, expression: str) -> bool:
        """Whether the BEAM gets `expression` back from Python just as it has sent it; `Echo.last` has what came here."""
        Echo.last = None
        echo: dict[str, Any] = {"Echo" if self.language == "erlang" else "echo": self.echo}
        return self.shell.eval(ECHO[self.language].format(expression), **echo) is True


def python(row: Row, column: str = "Python") -> Any:
    return eval(row.code(column), dict(NAMES))


def looks(term: Any) -> Any:
    """A term such that two are equal only if they are the same in type, sign and order of everything in them."""
    if isinstance(term, float):
        return packing.pack(">d", term)
    if isinstance(term, Mapping):
        pairs = term.pairs() if isinstance(term, erlang_bridge.Map) else term.items()
        return type(term), sorted(((looks(key), looks(value)) for key, value in pairs), key=repr)
    if isinstance(term, (tuple, list)):
        return type(term), [looks(item) for item in term]
    return type(term), term


def failures(languages: Languages) -> Iterator[str]:
    column = languages.column
    for row in LITERALS:
        expression, value = row.code(column), python(row)
        if not languages.comes_back(expression):
            yield f"{row.place}: {expression} does not come back"
        if looks(Echo.last) != looks(value):
            yield f"{row.place}: {expression} arrives as {Echo.last!r}"
        if not languages.arrives_as(value, expression):
            yield f"{row.place}: {value!r} does not arrive as {expression}"
    for row in OPAQUE:
        expression = row.code(column)
        if not languages.comes_back(expression):
            yield f"{row.place}: {expression} does not come back"
        if type(Echo.last).__name__ != row.code("Python"):
            yield f"{row.place}: {expression} arrives as {Echo.last!r}"
    for row in SENT:
        expression, value = row.code(column), python(row)
        if not languages.arrives_as(value, expression):
            yield f"{row.place}: {value!r} does not arrive as {expression}"


def test_the_tables_are_there() -> None:
    assert [len(table) > 3 for table in (LITERALS, OPAQUE, SENT, REFUSED, ANNOTATED)] == [True] * 5


def test_every_row_in_erlang(shared_beam: Beam, node: Node) -> None:
    assert list(failures(Languages(node, shared_beam))) == []


def test_every_row_in_elixir(elixir: Elixir, node: Node) -> None:
    assert list(failures(Languages(node, elixir))) == []


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.code("Python"))
def test_what_has_no_term(row: Row) -> None:
    with pytest.raises(EtfEncodeError) as refused:
        encode(python(row))
    assert row.cells["because"] in str(refused.value)


def test_annotations_of_fields(elixir: Elixir, node: Node) -> None:
    languages = Languages(node, elixir)
    problems = []
    for number, row in enumerate(ANNOTATED):
        name = f"Elixir.TermsPage.Row{number}"
        cls: Any = dataclasses.make_dataclass(f"Row{number}", [("field", python(row, "annotation"))], frozen=True)
        expression = f"%{{__struct__: {name.removeprefix('Elixir.')}, field: {row.code('Elixir')}}}"
        value = struct(name)(cls)(python(row))
        try:
            if not languages.comes_back(expression):
                problems.append(f"{row.place}: {expression} does not come back")
            if type(Echo.last) is not cls or looks(Echo.last.field) != looks(value.field):
                problems.append(f"{row.place}: {expression} arrives as {Echo.last!r}")
            if not languages.arrives_as(value, expression):
                problems.append(f"{row.place}: {value!r} does not arrive as {expression}")
        finally:
            del default_structs[Atom(name)]
    assert problems == []


def test_the_code_of_the_page(elixir: Elixir, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    names: dict[str, Any] = {"__name__": __name__}
    for block in PAGE.blocks_in("python"):
        exec(compile(block.text, block.place, "exec", dont_inherit=True), names)
    try:
        languages = Languages(node, elixir)
        order = '%{__struct__: Shop.Order, id: 1, customer: "ann", tags: MapSet.new(["new"]), due: ~D[2024-01-31]}'
        elixir.eval(f"GenServer.call(echo, {order})", echo=languages.echo)
        assert Echo.last == names["Order"](1, "ann", {"new"}, dt.date(2024, 1, 31))
        pid: Pid = languages.echo
        elixir.eval("send(pid, %{__struct__: Shop.Order, id: 1}); :ok", pid=pid)
        assert elixir.eval("GenServer.call(pid, :still_there)", pid=pid) is Atom("still_there")
        assert "Elixir.Shop.Order: field 'customer' is missing" in caplog.text
    finally:
        del default_structs[Atom("Elixir.Shop.Order")]
