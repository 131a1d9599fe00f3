"""The evaluator: what each operation does and where it crashes, gas, scry, hints, depth, and evaluations at rest."""

from __future__ import annotations

import pickle

import pytest

from anoma.nock import formula as formulas
from anoma.nock.errors import NockCrash, NockOutOfGas
from anoma.nock.evaluator import Crash, Done, Evaluation, OutOfGas, Running, Scry, metered_nock, nock
from anoma.nock.noun import NIL, Cell, noun, parse_noun, same_term

DECREMENT = parse_noun("[8 [1 0] 8 [1 6 [5 [0 30] 4 0 6] [0 6] 9 2 10 [6 4 0 6] 0 1] 9 2 0 1]")
CALL = parse_noun("[9 2 0 1]")
FOREVER = noun(Cell(9, Cell(2, Cell(0, 1))), 0)
"""A core whose arm calls itself."""


def run(subject, formula, **options):
    return nock(subject, parse_noun(formula), **options)


OPERATIONS = [
    ("[1 2]", "[0 3]", "2"),
    ("[1 2]", "[[0 2] 1 7]", "[1 7]"),
    ("[1 2]", "[2 [0 3] 1 4 0 1]", "3"),
    ("[1 2]", "[3 0 1]", "0"),
    ("[1 2]", "[3 0 2]", "1"),
    ("41", "[4 0 1]", "42"),
    ("[5 5]", "[5 [0 2] 0 3]", "0"),
    ("[5 [5 5]]", "[5 [0 2] 0 3]", "1"),
    ("0", "[6 [1 0] [1 8] 0 0]", "8"),
    ("0", "[6 [1 1] [0 0] 1 9]", "9"),
    ("[1 2]", "[7 [0 3] 4 0 1]", "3"),
    ("1", "[8 [4 0 1] 0 1]", "[2 1]"),
    ("[[4 0 3] 6]", "[9 2 0 1]", "7"),
    ("[1 2]", "[10 [2 1 9] 0 1]", "[9 2]"),
    ("[1 2]", "[10 [1 1 9] 0 1]", "9"),
    ("1", "[11 5 4 0 1]", "2"),
    ("1", "[11 [5 1 0] 4 0 1]", "2"),
]


def test_operations():
    for subject, formula, result in OPERATIONS:
        assert same_term(run(parse_noun(subject), formula), parse_noun(result))


CRASHES = [
    ("5", "an atom is no formula"),
    ("[0 0]", "axis 0"),
    ("[0 2]", "leads through an atom"),
    ("[0 1 1]", "an axis is an atom"),
    ("[2 [0 1] 1 5]", "an atom is no formula"),
    ("[2 0]", "not a formula"),
    ("[4 1 1 1]", "operation 4"),
    ("[4 0 2]", "leads through an atom"),
    ("[6 [1 2] [1 1] 1 1]", "neither 0 nor 1"),
    ("[6 [1 1 1] [1 1] 1 1]", "is a cell"),
    ("[6 [1 0] 5]", "needs a condition and two formulas"),
    ("[9 2 1 5]", "no arm"),
    ("[9 0 1 5 5]", "no arm"),
    ("[9 [1 1] 1 5 5]", "no arm"),
    ("[10 [2 1 1] 0 1]", "nothing to replace"),
    ("[10 [0 1 1] 0 1]", "nothing to replace"),
    ("[10 [[1 1] 1 1] 0 1]", "nothing to replace"),
    ("[10 5 0 1]", "needs .axis formula."),
    ("[11 [5 0 0] 1 1]", "axis 0"),
    ("[12 [1 0] 1 0]", "nothing to read"),
    ("[12 [0 0] 1 0]", "axis 0"),
    ("[13 1 1]", "not a formula"),
    ("[[0 1] 5]", "an atom is no formula"),
]


def test_crashes():
    for formula, why in CRASHES:
        with pytest.raises(NockCrash, match=why):
            run(7, formula)


def test_atoms_of_either_form_are_operations_and_axes():
    assert nock(Cell(1, b"\2"), Cell(b"", b"\3")) == b"\2"
    assert nock(Cell(1, 2), Cell(NIL, 3)) == 2
    assert nock(b"\x09", Cell(b"\4", Cell(0, 1))) == 10
    assert nock(0, noun(b"\6", (1, b"\0"), (1, b"yes"), 0, 0)) == b"yes"
    with pytest.raises(NockCrash, match="axis 0"):
        nock(0, Cell(0, NIL))
    with pytest.raises(NockCrash, match="not a formula"):
        nock(0, Cell(b"\1\0", 5))
    with pytest.raises(NockCrash, match="not a formula"):
        nock(0, Cell(1 << 80, 5))


def test_results_keep_the_form_of_their_atoms():
    assert same_term(nock(Cell(NIL, b"\5"), parse_noun("[[0 2] 0 3]")), Cell(NIL, b"\5"))
    assert same_term(nock(NIL, parse_noun("[4 0 1]")), 1)


def test_decrement():
    outcome = metered_nock(noun(DECREMENT, 123, 0), CALL)
    assert outcome == Done(122, 1974)
    with pytest.raises(NockOutOfGas, match="the 1973 gas"):
        nock(noun(DECREMENT, 123, 0), CALL, gas=1973)
    assert nock(noun(DECREMENT, 123, 0), CALL, gas=1974) == 122


def test_gas_is_the_same_in_any_number_of_steps():
    for steps in (1, 2, 7):
        outcome = Evaluation.start(noun(DECREMENT, 20, 0), CALL).run(steps)
        while isinstance(outcome, Running):
            outcome = outcome.evaluation.run(steps)
        assert outcome == metered_nock(noun(DECREMENT, 20, 0), CALL)


def test_what_never_ends_runs_out_of_gas_and_takes_no_room():
    outcome = Evaluation.start(FOREVER, CALL, 300_000).run()
    assert outcome == OutOfGas(300_000)
    outcome = Evaluation.start(FOREVER, CALL).run(10_000)
    assert isinstance(outcome, Running)
    assert outcome.evaluation._stack is None


TAIL_CALLS_TAKE_NO_ROOM = [
    "[2 [0 1] 0 2]",
    "[6 [1 0] [9 2 0 1] 0 0]",
    "[7 [0 1] 9 2 0 1]",
    "[8 [1 0] 9 2 0 3]",
    "[11 [5 1 0] 9 2 0 1]",
    "[11 5 9 2 0 1]",
]


def test_tail_calls_take_no_room():
    for arm in TAIL_CALLS_TAKE_NO_ROOM:
        outcome = Evaluation.start(Cell(parse_noun(arm), 0), CALL).run(5_000)
        assert isinstance(outcome, Running)
        depth = 0
        rest = outcome.evaluation._stack
        while rest is not None:
            depth += 1
            rest = rest[-1]
        assert depth <= 2


def test_deep_recursion():
    # Each level waits for the one below: a formula of pairs, far deeper than Python's own stack.
    arm = parse_noun("[6 [5 [1 50.000] 0 6] [0 6] [0 6] 9 2 10 [6 4 0 6] 0 1]")
    result = nock(noun(arm, 0, 0), CALL)
    count = 0
    while type(result) is Cell:
        assert result.head == count
        count += 1
        result = result.tail
    assert count == result == 50_000


def test_deep_formulas():
    formula = parse_noun("[0 1]")
    for _ in range(5_000):
        formula = Cell(4, formula)
    assert nock(5, formula) == 5_005
    formula = parse_noun("[0 1]")
    for _ in range(5_000):
        formula = Cell(7, Cell(formula, parse_noun("[4 0 1]")))
    assert nock(5, formula) == 5_005


def test_a_formula_that_holds_itself_many_times_stops_where_it_is_told():
    formula = parse_noun("[0 1]")
    for _ in range(100):
        formula = Cell(formula, formula)
    outcome = Evaluation.start(0, formula, 100_000).run()
    assert outcome == OutOfGas(100_000)
    assert isinstance(Evaluation.start(0, formula).run(1000), Running)


def test_functions_are_not_too_deep():
    formula = parse_noun("[0 1]")
    for _ in range(200):
        formula = Cell(4, formula)
        program = formulas.program_of(formula)
        assert program[0] != formulas.FUNCTION or program[3] <= formulas.DEPTH
        assert nock(0, formula) > 0


def test_scry():
    formula = parse_noun("[4 12 [1 0] [0 2] 0 3]")
    waiting = Evaluation.start(Cell(b"id", Cell(b"key", 0)), formula).run()
    assert isinstance(waiting, Scry)
    assert waiting.request == noun(b"id", b"key", 0)
    assert waiting.resume(41).run() == Done(42, 5)
    assert waiting.resume(b"\x09").run() == Done(10, 5)  # the same moment, another answer
    crash = waiting.resume(None).run()
    assert isinstance(crash, Crash)
    assert "nothing to read" in crash.why
    assert nock(Cell(b"id", Cell(b"key", 0)), formula, scry=lambda request: 6) == 7
    assert waiting.resume(Cell(1, 1)).run().why == "operation 4 has no result on a cell"


def test_a_state_can_be_run_again():
    first = Evaluation.start(noun(DECREMENT, 30, 0), CALL).run(25)
    assert isinstance(first, Running)
    again = [first.evaluation.run() for _ in range(3)]
    assert again == [Done(29, metered_nock(noun(DECREMENT, 30, 0), CALL).gas)] * 3


def test_large_numbers_in_messages():
    large = 1 << 100_000
    outcome = Evaluation.start(large, parse_noun("[12 [1 0] 0 1]")).run().resume(None).run()
    assert outcome.why.startswith("there is nothing to read at 0x1000")
    assert len(outcome.why) < 150
    assert len(repr(Evaluation.start(large, large))) < 200


def test_puts():
    formula = parse_noun("[11 [0x73747570 0 2] 11 [0x73747570 1 7] 11 [5 1 8] 0 3]")
    outcome = metered_nock(Cell(b"hello", 1), formula)
    assert outcome.noun == 1
    assert outcome.outputs == (b"hello", 7)
    formula = Cell(11, Cell(Cell(b"puts", parse_noun("[1 1]")), parse_noun("[0 0]")))
    assert Evaluation.start(0, formula).run().outputs == (1,)


def test_equality_is_of_nouns():
    assert run(Cell(noun(1, b"\2"), noun(b"\1", 2)), "[5 [0 2] 0 3]") == 0


def test_nouns_that_were_formulas_are_still_values():
    formula = parse_noun("[4 0 1]")
    assert nock(1, formula) == 2
    assert same_term(pickle.loads(pickle.dumps(formula)), formula)
    assert repr(Evaluation.start(1, formula)) == "<evaluation of [4 0 1] on 1, 0 gas used>"
