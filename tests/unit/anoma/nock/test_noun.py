"""Nouns: forms of atoms, equality, axes, terms and text; and that depth and sharing cost nothing special."""

from __future__ import annotations

import pickle

import pytest

from anoma.nock.errors import CueError, NounError
from anoma.nock.jam import cue, jam
from anoma.nock.mug import mug
from anoma.nock.noun import (
    NIL,
    Cell,
    TermKeys,
    atom_bytes,
    atom_int,
    axis,
    compare_terms,
    format_noun,
    is_atom,
    list_elements,
    nock_list,
    noun,
    noun_of_term,
    parse_noun,
    replace_axis,
    same,
    same_term,
    term_of_noun,
)
from erlang_bridge.terms import Atom, ImproperList

DEPTH = 10_000


def deep(depth=DEPTH):
    built = 0
    for number in range(depth):
        built = Cell(built, 1) if number % 2 else Cell(1, built)
    return built


def shared(atom, levels=200):
    """2**200 atoms in 200 cells."""
    built = atom
    for _ in range(levels):
        built = Cell(built, built)
    return built


def test_forms_of_an_atom_are_one_noun():
    assert same(0, b"")
    assert same(0, NIL)
    assert same(NIL, b"")
    assert same(513, b"\1\2")
    assert Cell(0, 513) == Cell(NIL, b"\1\2")
    assert hash(Cell(0, 513)) == hash(Cell(b"", b"\1\2"))
    assert not same(1, b"\1\0")  # two atoms, for the Elixir node
    assert not same(1, Cell(1, 1))
    assert not same(Cell(1, 1), b"")


def test_and_more_than_one_term():
    assert not same_term(0, NIL)
    assert not same_term(0, b"")
    assert not same_term(Cell(1, 2), Cell(1, b"\2"))
    assert same_term(noun(1, 2, (3, b"4")), noun(1, 2, (3, b"4")))
    keys = TermKeys()
    assert len({keys.key(item) for item in (0, NIL, b"", b"\0", 1, b"\1", Cell(0, 0), Cell(NIL, 0), Cell(0, 0))}) == 8


def test_order_of_terms():
    row = [0, 1, 1 << 70, NIL, Cell(0, 1), Cell(0, NIL), Cell(NIL, 0), Cell(Cell(1, 1), 0), b"", b"\0", b"\1", b"\1\0"]
    for place, left in enumerate(row):
        for other, right in enumerate(row):
            assert compare_terms(left, right) == (place > other) - (place < other)


def test_cells_do_not_change():
    cell = Cell(1, 2)
    with pytest.raises(AttributeError, match="immutable"):
        cell.head = 3
    with pytest.raises(AttributeError, match="immutable"):
        del cell.tail
    assert cell != (1, 2)


def test_atoms():
    assert atom_int(b"\1\2") == 513
    assert atom_int(NIL) == 0
    assert type(atom_int(NIL)) is int
    assert atom_bytes(513) == b"\1\2"
    assert atom_bytes(0) == b""
    assert is_atom(b"")
    assert not is_atom(Cell(0, 0))
    with pytest.raises(NounError, match="expected an atom"):
        atom_int(Cell(0, 0))
    with pytest.raises(NounError, match="expected an atom"):
        atom_bytes(Cell(0, 0))


def test_axes():
    tree = parse_noun("[[4 5] [12 13] 7]")
    assert [axis(at, tree) for at in (4, 5, 12, 13, 7)] == [4, 5, 12, 13, 7]
    assert axis(1, tree) is tree
    assert axis(0, tree) is None
    assert axis(8, tree) is None
    assert replace_axis(13, 0, tree) == parse_noun("[[4 5] [12 0] 7]")
    assert replace_axis(1, 9, tree) == 9
    assert replace_axis(0, 9, tree) is None
    assert replace_axis(15, 9, tree) is None
    assert axis(1 << 1000, tree) is None


def test_lists():
    assert list_elements(nock_list([1, 2])) == [1, 2]
    assert list_elements(nock_list([1, 2], NIL)) == [1, 2]
    assert list_elements(b"") == []
    assert list_elements(Cell(1, 2)) is None
    assert list_elements(b"\0") is None


def test_building():
    assert noun(1, (2, [3, 4]), b"5") == Cell(1, Cell(Cell(2, Cell(3, 4)), b"5"))
    for wrong in ((), (-1,), ("text",), (1.5,), (True,), (None,), ([],)):
        with pytest.raises(NounError):
            noun(*wrong)


TERMS = [
    (5, 5),
    (b"ab", b"ab"),
    ([], NIL),
    ([1, [], [2]], Cell(1, Cell(NIL, Cell(Cell(2, NIL), NIL)))),
    (ImproperList([1, ImproperList([2], 3)], b""), Cell(1, Cell(Cell(2, 3), b""))),
]


def test_terms():
    for term, expected in TERMS:
        built = noun_of_term(term)
        assert same_term(built, expected)
        assert term_of_noun(built) == term
        assert type(term_of_noun(built)) is type(term)


TERMS_THAT_ARE_NO_NOUNS = [-1, Atom("ok"), (1, 2), {}, [1, Atom("x")], ImproperList([1], -2), True, 1.0]


def test_terms_that_are_no_nouns():
    for term in TERMS_THAT_ARE_NO_NOUNS:
        with pytest.raises(NounError, match="expected|natural"):
            noun_of_term(term)


def test_text():
    assert format_noun(parse_noun(" [ [1 2]  3 [4 5 6] ] ")) == "[[1 2] 3 4 5 6]"
    assert parse_noun("1.000.000") == 1_000_000
    assert parse_noun("[0xff ~]") == Cell(255, 0)
    assert format_noun(Cell(1 << 200, b"\2")) == f"[{1 << 200:#x} 2]"
    assert repr(Cell(1, 2)) == "<noun [1 2]>"
    assert len(repr(Cell(b"x" * 10_000, nock_list(range(10_000))))) < 250


TEXT_THAT_IS_NO_NOUN = [
    "",
    "[",
    "]",
    "[1]",
    "[]",
    "[1 2",
    "1 2",
    "[1 2]]",
    "[[[[1]]]]",
    "abc",
    "[1 -2]",
    "-1",
    "[1 2] 3",
    "9" * 5000,
]


def test_text_that_is_no_noun():
    for text in TEXT_THAT_IS_NO_NOUN:
        with pytest.raises(NounError):
            parse_noun(text)


def test_depth():
    one, other = deep(), deep()
    assert one == other
    assert hash(one) == hash(other)
    assert mug(one) == mug(other)
    assert same_term(one, other)
    assert compare_terms(one, other) == 0
    assert cue(jam(one)) == one
    assert same_term(noun_of_term(term_of_noun(one)), one)
    assert parse_noun(format_noun(one)) == one
    assert same_term(pickle.loads(pickle.dumps(one)), one)
    assert len(repr(one)) < 250


def test_more_depth_than_the_stack_of_c_has():
    assert cue(jam(deep(100_000))) is not None


def test_cells_in_many_places():
    one, other = shared(1), shared(1)
    assert one == other
    assert one != shared(2)
    assert one == shared(b"\1")
    assert hash(one) == hash(other)
    assert mug(one) == mug(other)
    assert len(jam(one)) < 700
    assert cue(jam(one)) == one
    assert compare_terms(one, other) == 0
    assert compare_terms(one, shared(2)) == -1
    assert same_term(pickle.loads(pickle.dumps(one)), one)
    term_of_noun(one)


JAM_AND_MUG = [
    ("0", "02", 2046756072),
    ("1", "0c", 1901865568),
    ("2", "48", 1904972904),
    ("40", "5014", 1703137236),
    ("255", "20fe01", 937744505),
    ("256", "600002", 1197277890),
    ("0x1.0000000000000000".replace(".", ""), "00030000000000000080", 648482943),
    ("[0 0]", "29", 422532488),
    ("[1 2]", "3112", 1781973465),
    ("[1 2 3]", "714834", 981539564),
    ("[[1 2] 1 2]", "c5c849", 963142383),
    ("[0x10000000000 0x10000000000 0]", "012600000000804d0a", 695150259),
]


def test_jam_and_mug():
    for text, jammed, hashed in JAM_AND_MUG:
        built = parse_noun(text)
        assert jam(built).hex() == jammed
        assert mug(built) == hashed
        assert same(cue(bytes.fromhex(jammed)), built)


def test_jam_takes_nouns_only():
    for wrong in (-1, "text", None, Cell(1, -1), Cell(Cell(1, None), 2)):
        with pytest.raises(NounError, match="expected|natural"):
            jam(wrong)


def test_large_atoms():
    large = bytes(range(1, 256)) * 4000
    data = jam(Cell(large, Cell(7, large)))
    assert len(data) < len(large) + 100  # the second is a reference
    assert cue(data) == Cell(large, Cell(7, large))


CUE_REFUSES = [
    (b"", "got no bits"),
    (b"\0\0\0", "got no bits"),
    (b"\1", "end inside a cell"),
    (b"\x80", "end inside an atom"),
    (jam(Cell(1 << 100, 5))[:-3], "end inside an atom"),
    (jam(5) + b"\1", "bits behind the noun"),
    (b"\7", "end inside an atom or a reference"),
    (b"\x0b\x01", "no finished noun begins|reference"),
    (b"\0" * 1000 + b"\1", "end inside an atom"),
    (b"\0\0\0\0\0\2" + b"\xff" * 40, "end inside an atom"),
    (b"\x55" * 1000, "end inside a cell"),
]


def test_cue_refuses():
    for data, reason in CUE_REFUSES:
        with pytest.raises(CueError, match=reason) as caught:
            cue(data)
        assert f"at bit {caught.value.offset}" in str(caught.value)


def test_cue_ignores_zeros_behind():
    assert cue(jam(Cell(1, 2)) + bytes(5)) == Cell(1, 2)


def test_cue_of_a_number_written_with_no_bits_set():
    # 0, mat of length 2 with bits 00, and then 1 in a cell: as an atom that is not `b""` in Elixir.
    bits = "10" + "0" + "001" + "0" + "00" + "0" + "01" + "1"
    data = int(bits[::-1], 2).to_bytes(2, "little")
    assert same_term(cue(data), Cell(b"\0", b"\1"))
