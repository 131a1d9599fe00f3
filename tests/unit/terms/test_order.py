from __future__ import annotations

from enum import Enum
from functools import cmp_to_key
from itertools import combinations, pairwise

import pytest

from erlang_bridge.terms import Atom, BitString, Export, ImproperList, Map, Pid, Port, Record, Reference, exact_key
from erlang_bridge.terms.order import compare, exactly_equal, sort_key

NODE = Atom("a@h")

ASCENDING = [
    -(2**70), -1.5, -1, 0, 1, 1.5, 2**53, float(2**54), 2**60 + 1,
    Atom(""), Atom("B"), Atom("a"), False, None, True, Atom("é"),
    Reference(NODE, 1, (2,)), Reference(NODE, 1, (1, 1)), Reference(Atom("b@h"), 1, (0,)),
    Export(Atom("a"), Atom("b"), 1), Export(Atom("a"), Atom("b"), 2),
    Port(NODE, 1, 1),
    Pid(NODE, 1, 0, 1), Pid(Atom("b@h"), 1, 0, 1), Pid(NODE, 2, 0, 1), Pid(NODE, 1, 1, 1),
    (), (2,), (1, 1), (1, 2), (1, (0,)),
    {}, {1: 2}, {1: 3}, {1.0: 1}, {Atom("a"): 0}, {1: 1, 2: 2},
    [], ImproperList([1], 0), [1], [1, 0], ImproperList([1], b""), [1.5], [[]], ImproperList([[1]], 2),
    b"", b"b", BitString(b"\x80", 1), BitString(b"\xa0", 3), BitString(b"\xa0", 4), b"\xa0", b"\xa0\0", b"\xa1",
]  # fmt: skip


def test_a_whole_row_is_ascending():
    for (i, one), (j, other) in combinations(enumerate(ASCENDING), 2):
        assert i < j
        assert compare(one, other) == -1, (one, other)
        assert compare(other, one) == 1, (one, other)
        assert not exactly_equal(one, other)
    for term in ASCENDING:
        assert compare(term, term) == 0
    backwards = list(reversed(ASCENDING))
    assert sorted(backwards, key=sort_key) == ASCENDING
    assert sorted(ASCENDING, key=cmp_to_key(compare)) == ASCENDING


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (0.0, -0.0),
        ([1, 2.0], [1.0, 2]),
        ((1,), (1.0,)),
        ({b"a": 1}, {b"a": 1.0}),
        (ImproperList([1], 2), ImproperList([1.0], 2.0)),
    ],
)
def test_equal_and_not_exactly(one, other):
    assert compare(one, other) == 0
    assert not exactly_equal(one, other)
    assert exact_key(one) != exact_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("é", "é".encode()),
        (b"a", bytearray(b"a")),
        (True, Atom("true")),
        (None, Atom("nil")),
        (Map([(1, 2)]), {1: 2}),
        ({"a": 1}, {b"a": 1}),
        (Map([([], 1), (2, 3)]), Map([(2, 3), ([], 1)])),
        ([1, [2, (3, {4: 5})]], [1, [2, (3, {4: 5})]]),
        (Record(NODE, NODE, ((NODE, 1),)), Record(NODE, NODE, ((NODE, 1),))),
    ],
)
def test_exactly_equal(one, other):
    assert exactly_equal(one, other)
    assert compare(one, other) == 0
    assert exact_key(one) == exact_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        ([], ()),
        ([1], (1,)),
        ([97], b"a"),
        ({1: 2}, Map([(1.0, 2)])),
        (Map([(1, 2), (1.0, 3)]), Map([(1, 3), (1.0, 2)])),
        (ImproperList([1, 2], 3), ImproperList([1], 2)),
        ((1, 2), (1, 2, 3)),
        (Record(NODE, NODE, ((NODE, 1),)), Record(NODE, NODE, ((NODE, 1),), 1)),
        ({}, ()),
        (BitString(b"\xa0", 3), b"\xa0"),
    ],
)
def test_not_equal(one, other):
    assert not exactly_equal(one, other)
    assert not exactly_equal(other, one)
    assert exact_key(one) != exact_key(other)
    assert compare(one, other) == -compare(other, one) != 0


def test_subclasses_are_what_they_are_sent_as():
    class Colour(str, Enum):  # noqa: UP042  # its `str` is its name, unlike a StrEnum's
        RED = "red"

    class Hash(bytes):
        pass

    for given, plain in ((Colour.RED, b"red"), (Hash(b"h"), b"h")):
        assert exact_key(given) == exact_key(plain)
        assert exactly_equal(given, plain)
        assert compare(given, plain) == 0
        assert Map([(given, 1), (plain, 2)]) == {plain: 2}


def test_map_keys_are_compared_exactly():
    # Every integer is before every float as a key, whatever the values.
    assert compare({1: 9}, {1.0: 1}) == -1
    assert compare({5: 9}, {1.0: 1}) == -1
    assert compare(Map([(1, 1), (1.0, 2)]), Map([(1.0, 2), (1, 1)])) == 0
    assert compare(Map([(-0.0, 1), (1, 1)]), Map([(0.0, 1), (1, 1)])) == -1


def test_what_is_no_term():
    with pytest.raises(TypeError, match="a complex is no Erlang term"):
        compare(1j, 1)
    with pytest.raises(TypeError, match="a set is no Erlang term"):
        sorted([[{1}], [{2}]], key=sort_key)


def test_sorting_is_stable():
    row = [1, 1.0, 1, 1.0]
    assert [type(item) for item in sorted(row, key=sort_key)] == [int, float, int, float]
    assert all(compare(a, b) <= 0 for a, b in pairwise(sorted([2, 1.0, 1, 0.5], key=sort_key)))
