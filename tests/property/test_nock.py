"""Any noun, any bytes, any formula: laws of nouns, cue, and the evaluator beside the textbook's rules."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from anoma.nock.errors import CueError
from anoma.nock.evaluator import Crash, Done, Evaluation, OutOfGas, Running, Scry
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
    noun_of_term,
    parse_noun,
    replace_axis,
    same,
    same_term,
    term_of_noun,
)
from erlang_bridge import etf

numbers = st.one_of(st.integers(0, 20), st.integers(0, 1 << 70))
canonical_atoms = st.one_of(numbers, numbers.map(atom_bytes), st.just(NIL))
atoms = st.one_of(canonical_atoms, st.binary(max_size=6))


def nouns_of(leaves):
    return st.recursive(leaves, lambda inner: st.builds(Cell, inner, inner), max_leaves=20)


nouns = nouns_of(atoms)


def other_forms(noun, number):
    """The same noun, with some of its atoms in another form."""
    if type(noun) is Cell:
        return Cell(other_forms(noun.head, number >> 1), other_forms(noun.tail, number >> 2))
    return (
        atom_bytes(noun) if number & 1 else atom_int(noun) if atom_bytes(atom_int(noun)) == atom_bytes(noun) else noun
    )


@given(nouns)
def test_jam_and_cue(noun):
    data = jam(noun)
    back = cue(data)
    assert jam(back)[-1]
    assert cue(jam(back)) == back
    assert same(cue(data + b"\0"), back)


@given(nouns_of(canonical_atoms), st.integers(0, 1 << 30))
def test_equal_nouns(noun, number):
    other = other_forms(noun, number)
    assert same(noun, other)
    assert same(other, noun)
    assert same(cue(jam(noun)), noun)
    assert hash(Cell(noun, 0)) == hash(Cell(other, b""))
    assert mug(noun) == mug(other)


@given(nouns, nouns)
def test_equality_and_order_agree(one, other):
    if same(one, other):
        assert mug(one) == mug(other)
    assert same(one, other) is same(other, one)
    assert same_term(one, other) is (compare_terms(one, other) == 0)
    assert compare_terms(one, other) == -compare_terms(other, one)
    keys = TermKeys()
    assert (keys.key(one) == keys.key(other)) is same_term(one, other)


@given(nouns)
def test_terms_and_text(noun):
    term = etf.decode(etf.encode(term_of_noun(noun)))
    assert same_term(noun_of_term(term), noun)
    assert jam(parse_noun(format_noun(noun))) == jam(parse_noun(format_noun(cue(jam(noun)))))


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_any_bytes(data):
    try:
        noun = cue(data)
    except CueError as error:
        assert 0 <= error.offset <= 8 * len(data)
    else:
        assert same(cue(jam(noun)), cue(jam(cue(jam(noun)))))


@given(nouns, st.integers(0, 1 << 8), st.integers(0, 200))
def test_a_jammed_noun_with_one_bit_wrong(noun, change, at):
    data = bytearray(jam(noun))
    data[at % len(data)] ^= change & 0xFF
    test_any_bytes.hypothesis.inner_test(bytes(data))


@given(nouns, st.integers(0, 40), nouns)
def test_axes(noun, address, other):
    found = axis(address, noun)
    changed = replace_axis(address, other, noun)
    assert (found is None) == (changed is None)
    if found is not None:
        assert axis(address, changed) is other
        assert same_term(replace_axis(address, found, changed), noun)


# -- the evaluator -----------------------------------------------------------------------------------------

axes = st.one_of(st.integers(1, 7), st.integers(0, 15))
small = nouns_of(st.integers(0, 5))


def operations(inner):
    def one(operation, *parts):
        return st.tuples(*parts).map(lambda given: formula_of(operation, *given))

    return st.one_of(
        st.builds(Cell, inner, inner),
        one(2, inner, st.one_of(inner, inner.map(lambda formula: Cell(1, formula)))),
        one(3, inner),
        one(4, inner),
        one(5, inner, inner),
        one(6, st.one_of(inner, st.tuples(inner, inner).map(lambda two: formula_of(5, *two))), inner, inner),
        one(7, inner, inner),
        one(8, inner, inner),
        one(9, axes, inner),
        one(10, st.builds(Cell, axes, inner), inner),
        one(11, st.one_of(st.just(5), st.builds(Cell, st.just(5), inner)), inner),
        one(12, inner, inner),
    )


def formula_of(operation, *parts):
    built = parts[-1]
    for part in reversed(parts[:-1]):
        built = Cell(part, built)
    return Cell(operation, built)


formulas = st.recursive(
    st.one_of(axes.map(lambda at: Cell(0, at)), small.map(lambda constant: Cell(1, constant)), small),
    operations,
    max_leaves=15,
)


class Stopped(Exception):
    """The textbook's evaluator has gone on for too long."""


class Failed(Exception):
    """There is no result."""


class Textbook:
    """Nock by its rules, one after the other, with scry giving back what was asked for."""

    def __init__(self, budget):
        self.budget = budget

    def nock(self, s, f):
        self.budget -= 1
        if self.budget < 0:
            raise Stopped
        if type(f) is not Cell:
            raise Failed
        if type(f.head) is Cell:
            return Cell(self.nock(s, f.head), self.nock(s, f.tail))
        rest = f.tail
        if f.head not in (0, 1, 3, 4) and type(rest) is not Cell:
            raise Failed
        match f.head:
            case 0:
                return self.at(rest, s)
            case 1:
                return rest
            case 2:
                return self.nock(self.nock(s, rest.head), self.nock(s, rest.tail))
            case 3:
                return 0 if type(self.nock(s, rest)) is Cell else 1
            case 4:
                value = self.nock(s, rest)
                if type(value) is Cell:
                    raise Failed
                return value + 1
            case 5:
                return 0 if format_noun(self.nock(s, rest.head)) == format_noun(self.nock(s, rest.tail)) else 1
            case 6:
                if type(rest.tail) is not Cell:
                    raise Failed
                chosen = self.nock(s, rest.head)
                if type(chosen) is Cell or chosen not in (0, 1):
                    raise Failed
                return self.nock(s, rest.tail.tail if chosen else rest.tail.head)
            case 7:
                return self.nock(self.nock(s, rest.head), rest.tail)
            case 8:
                return self.nock(Cell(self.nock(s, rest.head), s), rest.tail)
            case 9:
                core = self.nock(s, rest.tail)
                return self.nock(core, self.at(rest.head, core))
            case 10:
                if type(rest.head) is not Cell:
                    raise Failed
                value = self.nock(s, rest.head.tail)
                base = self.nock(s, rest.tail)
                self.at(rest.head.head, base)
                return self.put(rest.head.head, value, base)
            case 11:
                if type(rest.head) is Cell:
                    self.nock(s, rest.head.tail)
                return self.nock(s, rest.tail)
            case 12:
                self.nock(s, rest.head)
                return self.nock(s, rest.tail)
            case _:
                raise Failed

    def at(self, address, noun):
        if type(address) is Cell or address == 0:
            raise Failed
        if address == 1:
            return noun
        above = self.at(address // 2, noun)
        if type(above) is not Cell:
            raise Failed
        return above.tail if address % 2 else above.head

    def put(self, address, value, noun):
        if address == 1:
            return value
        above = self.at(address // 2, noun)
        other = Cell(above.head, value) if address % 2 else Cell(value, above.tail)
        return self.put(address // 2, other, noun)


def finish(outcome, steps=None):
    while True:
        match outcome:
            case Scry():
                outcome = outcome.resume(outcome.request).run(steps)
            case Running():
                outcome = outcome.evaluation.run(steps)
            case _:
                return outcome


@given(small, formulas)
@settings(max_examples=300)
def test_beside_the_textbook(subject, formula):
    outcome = finish(Evaluation.start(subject, formula, 5_000).run())
    try:
        expected = Textbook(400).nock(subject, formula)
    except Failed:
        assert isinstance(outcome, Crash)
    except Stopped:
        assert not isinstance(outcome, Done) or outcome.gas > 100
    else:
        assert isinstance(outcome, (Done, OutOfGas))
        if isinstance(outcome, Done):
            assert same_term(outcome.noun, expected)


@given(small, formulas, st.integers(1, 5))
def test_stopping_anywhere_changes_nothing(subject, formula, steps):
    start = Evaluation.start(subject, formula, 2_000)
    at_once = finish(start.run())
    assert repr(finish(start.run(steps), steps)) == repr(at_once)
    stopped = start.run(steps)
    if isinstance(stopped, Running):
        assert repr(finish(stopped.evaluation.run())) == repr(at_once)
        assert repr(finish(stopped.evaluation.run(1), 1)) == repr(at_once)


@given(small, formulas)
def test_gas_is_a_sharp_limit(subject, formula):
    outcome = finish(Evaluation.start(subject, formula, 2_000).run())
    if not isinstance(outcome, OutOfGas):
        assert repr(finish(Evaluation.start(subject, formula, outcome.gas).run())) == repr(outcome)
        if outcome.gas:
            assert finish(Evaluation.start(subject, formula, outcome.gas - 1).run()) == OutOfGas(outcome.gas - 1)
