"""Annotations of messages as terms, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from engines.messages import EngineID
from engines.wire import Value, conversion_for, fields_from_term, fields_to_term, settings_from, tag_of
from erlang_bridge.etf.conversions import Mismatch
from erlang_bridge.terms import Atom, Pid, Reference
from erlang_bridge.terms.containers import Map


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class TLSAddress(Value):
    host: str
    port: int = 443


@dataclass(frozen=True, slots=True)
class Nowhere(Value):
    pass


@dataclass(frozen=True, slots=True)
class Positive(Value):
    number: int

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError("expected a number above 0")


def converted(annotation: Any, value: Any) -> Any:
    to_term = conversion_for(annotation).to_term
    return value if to_term is None else to_term(value)


def read(annotation: Any, term: Any) -> Any:
    from_term = conversion_for(annotation).from_term
    return term if from_term is None else from_term(term)


@pytest.mark.parametrize(
    ("annotation", "value", "term"),
    [
        (int, 7, 7),
        (bool, True, True),
        (bytes, b"x", b"x"),
        (Any, (1, b"x"), (1, b"x")),
        (tuple[int, ...], (1, 2), [1, 2]),
        (tuple[int, ...], (), []),
        (tuple[Colour, int], (Colour.RED, 2), (Atom("red"), 2)),
        (frozenset[int], frozenset((3, 1, 2)), [1, 2, 3]),
        (dict[Colour, int], {Colour.BLUE: 1}, {Atom("blue"): 1}),
        (Colour, Colour.BLUE, Atom("blue")),
        (int | None, None, None),
        (int | None, 5, 5),
        (TLSAddress, TLSAddress("h", 1), (Atom("tls_address"), {Atom("host"): "h", Atom("port"): 1})),
        (Nowhere, Nowhere(), Atom("nowhere")),
        (TLSAddress | Nowhere, Nowhere(), Atom("nowhere")),
        (tuple[TLSAddress | Nowhere, ...], (Nowhere(), Nowhere()), [Atom("nowhere"), Atom("nowhere")]),
        (EngineID, EngineID("n@h", "e"), (Atom("n@h"), Atom("e"))),
        (EngineID | None, EngineID(None, "e"), (None, Atom("e"))),
    ],
)
def test_both_ways(annotation: Any, value: Any, term: Any):
    made = converted(annotation, value)
    assert made == term
    on_the_wire = (
        (Atom("tls_address"), {Atom("host"): b"h", Atom("port"): 1}) if isinstance(value, TLSAddress) else made
    )
    assert read(annotation, on_the_wire) == value


def test_a_text_is_a_binary_and_a_map_set_is_a_set():
    assert read(str, "é".encode()) == "é"
    mapset = {Atom("__struct__"): Atom("Elixir.MapSet"), Atom("map"): {1: [], 2: []}}
    assert read(frozenset[int], mapset) == frozenset((1, 2))


def test_a_field_with_a_default_may_be_left_out():
    assert read(TLSAddress, (Atom("tls_address"), {Atom("host"): b"h"})) == TLSAddress("h")


@pytest.mark.parametrize(
    ("annotation", "term", "says"),
    [
        (int, b"1", "should be an integer, got"),
        (int, True, "should be an integer, got"),
        (bool, 1, "should be a boolean"),
        (str, b"\xff", "should be a binary of UTF-8"),
        (tuple[int, ...], (1, 2), "should be a list"),
        (tuple[int, ...], [1, b""], "should be an integer"),
        (tuple[int, int], (1,), "should be a tuple of 2"),
        (frozenset[int], 3, "should be a list or a MapSet"),
        (frozenset[Any], [[1]], "a list of elements that Python can hash"),
        (dict[int, int], [1], "should be a map"),
        (Colour, Atom("green"), "should be one of red, blue"),
        (Colour, 3, "should be one of red, blue"),
        (int | None, b"", "should be an integer or nil"),
        (TLSAddress, Atom("nowhere"), "should be {tls_address, Fields}"),
        (TLSAddress, (Atom("tls_address"), {}), r"should have the fields \['host', 'port'\] of tls_address, got \[\]"),
        (
            TLSAddress,
            (Atom("tls_address"), {Atom("host"): b"h", Atom("prt"): 1}),
            r"got \['host', 'prt'\]",
        ),
        (TLSAddress, (Atom("tls_address"), {Atom("host"): 1}), "field host of tls_address should be a binary"),
        (Positive, (Atom("positive"), {Atom("number"): 0}), "is no positive: expected a number above 0"),
        (EngineID, 3, "{Node, Name}"),
        (EngineID, Pid(Atom("n@h"), 1, 2, 3), "got a pid"),
    ],
)
def test_what_does_not_fit_says_so(annotation: Any, term: Any, says: str):
    with pytest.raises(Mismatch, match=says):
        read(annotation, term)


def test_an_annotation_that_says_nothing():
    with pytest.raises(TypeError, match="says nothing about terms"):
        conversion_for(complex)


def test_fields_of_a_class():
    assert fields_to_term(TLSAddress("h", 1)) == {Atom("host"): "h", Atom("port"): 1}
    assert fields_from_term(TLSAddress, Map([(Atom("host"), b"h")])) == TLSAddress("h")
    with pytest.raises(Mismatch, match="should be a map of the fields of tls_address"):
        fields_from_term(TLSAddress, 3)


@pytest.mark.parametrize(
    ("name", "tag"), [("KVSRead", "kvs_read"), ("CountRequest", "count_request"), ("Ed25519Key", "ed25519_key")]
)
def test_tags(name: str, tag: str):
    assert tag_of(type(name, (), {})) == tag


def test_settings_of_a_start_argument():
    assert settings_from(TLSAddress, {Atom("host"): b"h", Atom("node_id"): b"me"}) == TLSAddress("h")
    assert settings_from(TLSAddress, TLSAddress("x")) == TLSAddress("x")
    assert settings_from(Nowhere, None) == Nowhere()
    with pytest.raises(ValueError, match="expected nil or a map"):
        settings_from(TLSAddress, Reference(Atom("n@h"), 1, (1, 2, 3)))
