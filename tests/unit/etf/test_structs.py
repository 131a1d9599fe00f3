from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Literal

import pytest

from erlang_bridge.errors import EtfDecodeError, EtfEncodeError, EtfStructError
from erlang_bridge.etf import cut_signals, decode, default_structs, encode, encode_signal, struct
from erlang_bridge.terms import Atom, ImproperList, Map, Pid, exact_key

TABLE: dict[Any, Any] = {}


class Backend(Enum):
    DEBUG = Atom("debug")
    MAIN = 1


class Word(StrEnum):
    HI = "hi"


@struct("Elixir.Leaf", into=TABLE)
@dataclass(frozen=True)
class Leaf:
    name: str


@struct("Elixir.Everything", into=TABLE)
@dataclass
class Everything:
    text: str = "å"
    raw: bytes = b"\xff"
    count: int = 1
    ratio: float = 0.5
    ok: bool = True
    nothing: None = None
    atom: Atom = Atom("a")
    pid: Pid | None = None
    maybe: str | None = None
    either: int | str = "x"
    names: list[str] = field(default_factory=lambda: ["a", "b"])
    anything: Any = field(default_factory=lambda: [ImproperList([1], 2)])
    by_name: dict[str, int] = field(default_factory=lambda: {"a": 1})
    table: Map = field(default_factory=lambda: Map([(1, 2), (1.0, 3)]))
    pair: tuple[str, int] = ("a", 1)
    row: tuple[str, ...] = ("a", "b")
    tags: set[str] = field(default_factory=lambda: {"x", "y"})
    frozen: frozenset[tuple[str, int]] = frozenset({("a", 1)})
    some: set[int] | None = None
    leaf: Leaf = Leaf("l")
    leaves: list[Leaf] = field(default_factory=lambda: [Leaf("a"), Leaf("b")])
    leaf_set: set[Leaf] = field(default_factory=lambda: {Leaf("in a set")})
    parent: Everything | None = None
    backend: Backend = Backend.DEBUG
    word: Word = Word.HI
    mode: Literal["fast", 3] = "fast"
    day: dt.date = dt.date(2026, 11, 24)
    at: dt.time = dt.time(10, 11, 12, 500)
    naive: dt.datetime = dt.datetime(2026, 11, 24, 10, 11, 12)  # noqa: DTZ001
    instant: dt.datetime = dt.datetime(2026, 11, 24, 10, 11, 12, 13, tzinfo=dt.UTC)
    days: list[dt.date] = field(default_factory=lambda: [dt.date(1, 1, 1)])
    valid: bool = field(default=False, metadata={"name": "valid?"})


def plain(term):
    """What somebody sees who knows no structs."""
    return decode(encode(term), structs={})


def test_there_and_back():
    value = Everything(parent=Everything())
    assert decode(encode(value), structs=TABLE) == value


def test_what_is_sent():
    sent = plain(Everything())
    assert sent[Atom("__struct__")] is Atom("Elixir.Everything")
    assert set(sent) == {Atom("__struct__"), Atom("valid?")} | {
        Atom(name) for name in Everything.__dataclass_fields__ if name != "valid"
    }
    assert sent[Atom("text")] == "å".encode()
    assert sent[Atom("maybe")] is None
    assert sent[Atom("tags")] == {
        Atom("__struct__"): Atom("Elixir.MapSet"), Atom("map"): {b"x": [], b"y": []}
    }  # fmt: skip
    assert sent[Atom("backend")] is Atom("debug")
    assert sent[Atom("word")] == b"hi"
    assert sent[Atom("day")] == {
        Atom("__struct__"): Atom("Elixir.Date"), Atom("calendar"): Atom("Elixir.Calendar.ISO"),
        Atom("year"): 2026, Atom("month"): 11, Atom("day"): 24,
    }  # fmt: skip
    assert sent[Atom("at")][Atom("microsecond")] == (500, 6)
    assert sent[Atom("naive")][Atom("microsecond")] == (0, 0)
    assert sent[Atom("instant")][Atom("time_zone")] == b"Etc/UTC"


def test_an_unknown_struct_stays_a_map():
    term = {Atom("__struct__"): Atom("Elixir.Unknown"), Atom("x"): 1}
    assert decode(encode(term), structs=TABLE) == term
    # Nor is a map one whose `__struct__` is no name.
    for name in (1, [], "Elixir.Leaf", None):
        odd = {Atom("__struct__"): name, Atom("name"): b"x"}
        assert exact_key(decode(encode(odd), structs=TABLE)) == exact_key(odd)


def test_the_default_table_is_not_touched():
    assert Atom("Elixir.Everything") not in default_structs
    assert type(decode(encode(Leaf("x")))) is dict


def changed(value, **fields):
    term = plain(value)
    for name, item in fields.items():
        if item is ...:
            del term[Atom(name)]
        else:
            term[Atom(name)] = item
    return encode(term)


@pytest.mark.parametrize(
    ("fields", "named", "what"),
    [
        ({"extra": 1}, "extra", "is not one of Everything"),
        ({"text": ...}, "text", "is missing"),
        ({"text": Atom("x")}, "text", "should be a binary, got Atom('x')"),
        ({"text": b"\xff"}, "text", "UTF-8"),
        ({"raw": [1]}, "raw", "should be a binary"),
        ({"count": 1.0}, "count", "should be an integer, got 1.0"),
        ({"count": True}, "count", "should be an integer, got True"),
        ({"ok": 1}, "ok", "a boolean"),
        ({"nothing": False}, "nothing", "nil"),
        ({"atom": b"a"}, "atom", "an atom"),
        ({"pid": 1}, "pid", "should be a pid or nil, got 1"),
        ({"either": 1.5}, "either", "an integer or a binary"),
        ({"names": b"x"}, "names", "a list"),
        ({"names": [b"a", 1]}, "names", "should be a binary, got 1"),
        ({"by_name": [1]}, "by_name", "a map"),
        ({"by_name": {b"a": b"b"}}, "by_name", "an integer"),
        ({"pair": (b"a", 1, 2)}, "pair", "a tuple of 2"),
        ({"tags": [b"a"]}, "tags", "a MapSet"),
        ({"tags": {Atom("__struct__"): Atom("Elixir.MapSet")}}, "tags", "a MapSet"),
        ({"leaf": {Atom("name"): b"x"}}, "leaf", "a Elixir.Leaf"),
        ({"leaves": [{}]}, "leaves", "a Elixir.Leaf"),
        ({"backend": Atom("other")}, "backend", "a value of Backend"),
        ({"backend": [Atom("debug")]}, "backend", "a value of Backend"),
        ({"word": b"ho"}, "word", "a value of Word"),
        ({"mode": b"slow"}, "mode", "one of 'fast', 3"),
        ({"day": b"2026-11-24"}, "day", "a Date"),
        ({"at": (1, 2, 3)}, "at", "a Time"),
        ({"instant": 5}, "instant", "a DateTime"),
    ],
)
def test_what_does_not_fit(fields, named, what):
    data = changed(Everything(), **fields)
    with pytest.raises(EtfStructError) as caught:
        decode(data, structs=TABLE)
    assert isinstance(caught.value, EtfDecodeError)
    assert (caught.value.struct, caught.value.field) == ("Elixir.Everything", named)
    assert what in str(caught.value)
    assert repr(named) in str(caught.value)


def test_dates_that_python_cannot_hold():
    term = plain(Everything())
    for name, part, value in (("day", "month", 13), ("day", "year", -5), ("at", "microsecond", 5)):
        bad = dict(term)
        bad[Atom(name)] = {**term[Atom(name)], Atom(part): value}
        with pytest.raises(EtfStructError, match="that Python can hold"):
            decode(encode(bad), structs=TABLE)
    elsewhere = {**term[Atom("day")], Atom("calendar"): Atom("Elixir.Calendar.Coptic")}
    with pytest.raises(EtfStructError, match="of the ISO calendar"):
        decode(encode({**term, Atom("day"): elsewhere}), structs=TABLE)


def test_a_zone_becomes_an_offset():
    term = plain(Everything())
    berlin = {**term[Atom("instant")], Atom("utc_offset"): 3600, Atom("std_offset"): 0, Atom("zone_abbr"): b"CET"}
    value = decode(encode({**term, Atom("instant"): berlin}), structs=TABLE)
    assert value.instant.utcoffset() == dt.timedelta(hours=1)


def test_a_map_set_of_elixir_1_14():
    old = {Atom("__struct__"): Atom("Elixir.MapSet"), Atom("map"): {b"z": []}, Atom("version"): 2}
    assert decode(changed(Everything(), tags=old), structs=TABLE).tags == {"z"}


def test_a_set_whose_elements_python_takes_for_equal():
    odd = {Atom("__struct__"): Atom("Elixir.MapSet"), Atom("map"): Map([(1, []), (1.0, [])])}

    table: dict[Any, Any] = {}

    @struct("Elixir.Odd", into=table)
    @dataclass
    class Odd:
        all: set[Any]

    with pytest.raises(EtfStructError, match="differ in Python too"):
        decode(encode({Atom("__struct__"): Atom("Elixir.Odd"), Atom("all"): odd}), structs=table)


def test_lenient():
    table: dict[Any, Any] = {}

    @struct("Elixir.Lenient", into=table, strict=False)
    @dataclass
    class Lenient:
        needed: int
        other: int = 7

    head = {Atom("__struct__"): Atom("Elixir.Lenient")}
    assert decode(encode({**head, Atom("needed"): 1, Atom("new"): 2}), structs=table) == Lenient(1, 7)
    with pytest.raises(EtfStructError, match="'needed' is missing"):
        decode(encode({**head, Atom("other"): 1}), structs=table)


def test_exceptions_carry_their_mark():
    table: dict[Any, Any] = {}

    @struct("Elixir.RuntimeError", into=table, exception=True)
    @dataclass
    class Trouble:
        message: str

    sent = plain(Trouble("oops"))
    assert sent[Atom("__exception__")] is True
    assert decode(encode(sent), structs=table) == Trouble("oops")


def test_a_field_that_the_class_works_out():
    table: dict[Any, Any] = {}

    @struct("Elixir.Sum", into=table)
    @dataclass(slots=True)
    class Sum:
        a: int
        b: int
        total: int = field(init=False)

        def __post_init__(self):
            self.total = self.a + self.b

    sent = plain(Sum(1, 2))
    assert sent[Atom("total")] == 3
    assert decode(encode(sent), structs=table) == Sum(1, 2)
    with pytest.raises(EtfStructError, match="'more' is not one of"):
        decode(encode({**sent, Atom("more"): 1}), structs=table)


def test_objects_as_keys():
    table: dict[Any, Any] = {}

    @struct("Elixir.Key", into=table)
    @dataclass
    class Key:
        x: int

    decoded = decode(encode(Map([(Key(1), "one"), (Key(2), "two")])), structs=table)
    assert list(decoded) == [Key(1), Key(2)]
    assert decoded[Key(2)] == b"two"


def test_a_class_may_object():
    table: dict[Any, Any] = {}

    @struct("Elixir.Even", into=table)
    @dataclass
    class Even:
        number: int

        def __post_init__(self):
            if self.number % 2:
                raise ValueError("odd")

    with pytest.raises(EtfStructError, match="refused by .*Even: odd"):
        decode(encode({Atom("__struct__"): Atom("Elixir.Even"), Atom("number"): 1}), structs=table)


def test_names_inside_a_function_are_found():
    table: dict[Any, Any] = {}

    @struct("Elixir.Inner", into=table)
    @dataclass
    class Inner:
        x: int

    @struct("Elixir.Outer", into=table)
    @dataclass
    class Outer:
        inner: Inner | None
        outer: Outer | None = None

    value = Outer(Inner(1), Outer(None))
    assert decode(encode(value), structs=table) == value


def test_a_deep_chain_of_structs():
    table: dict[Any, Any] = {}

    @struct("Elixir.Link", into=table)
    @dataclass(eq=False)
    class Link:
        next: Link | None

    chain = None
    for _ in range(100_000):
        chain = Link(chain)
    data = encode(chain)
    decoded = decode(data, structs=table)
    assert encode(decoded) == data


def test_an_unencodable_field_is_found():
    with pytest.raises(EtfEncodeError) as caught:
        encode((1, Everything(anything=[object()])))
    assert caught.value.path == "[1].anything[0]"
    with pytest.raises(EtfEncodeError):
        encode(Everything(days=5))  # type: ignore[arg-type]  # wrong, and encodable: said by nobody
        encode(Everything(leaf=object()))  # type: ignore[arg-type]


def test_registration_errors():
    with pytest.raises(TypeError, match="not a dataclass"):
        struct("Elixir.No", into=TABLE)(int)
    with pytest.raises(ValueError, match=r"Elixir\.Leaf already stands for .*Leaf"):
        struct("Elixir.Leaf", into=TABLE)(Everything)


def test_an_annotation_that_says_nothing():
    table: dict[Any, Any] = {}

    @struct("Elixir.Vague", into=table)
    @dataclass
    class Vague:
        what: complex

    with pytest.raises(TypeError, match=r"Vague\.what: .*complex.* says nothing about terms"):
        table[Atom("Elixir.Vague")].conversions  # noqa: B018


def test_a_bad_struct_costs_its_message_only():
    pid = Pid(Atom("a@h"), 1, 0, 4)
    bad = {Atom("__struct__"): Atom("Elixir.Leaf"), Atom("nam"): b"x"}
    data = encode_signal((22, pid, pid), bad) + encode_signal((22, pid, pid), Leaf("good"))
    signals, _ = cut_signals(data, 0, 1000, structs=TABLE)
    assert [signal[0] for signal in signals] == [-1, 22]
    assert isinstance(signals[0][2], EtfStructError)
    assert signals[1][2] == Leaf("good")


def test_nil_passes_for_any_field():
    @struct("Elixir.Tests.Unset", into=(table := {}))
    @dataclass
    class Unset:
        name: str
        count: int
        tags: set[bytes]

    value = Unset(None, None, None)
    assert decode(encode(value), structs=table) == value
