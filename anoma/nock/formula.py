"""Formulas made ready to run: each cell keeps, as its program, what the evaluator does with it as a formula.

What needs no call (operations 0, 1, 3, 4, 5, 7, 8, 10 and pairs, of each other) becomes one Python function from the
subject to the result. It does not say where it failed: the evaluator then does the formula again, operation by
operation. The other operations become tuples for the evaluator's loop.

A program is ``(kind, gas, ...)``, with the gas of everything that is done before the next formula is looked at. Where
it has a function for a part of the formula, that part is not evaluated on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, TypeAlias

from anoma.nock.noun import Cell, Noun, atom_int, same

Function: TypeAlias = Callable[[Any], Any]
Program: TypeAlias = tuple[Any, ...]

# Kinds of programs, and what follows the gas.
FUNCTION: Final = 0  # function, depth
CHOOSE: Final = 1  # function of the condition or None, its formula, formula if yes, if no
CALL: Final = 2  # function of the core or None, its formula, getter of the arm, the formula that calls on the core
CHAIN: Final = 3  # function of the first or None, its formula, the second
PUSH: Final = 4  # the same
PAIR: Final = 5  # function of the first or None, its formula, the second
EVALUATE: Final = 6  # the same
EQUAL: Final = 7
EDIT: Final = 8  # the same, and the axis or None
SCRY: Final = 9  # as PAIR
IS_CELL: Final = 10  # formula
INCREMENT: Final = 11  # formula
HINT: Final = 12  # hint, its formula, the formula
SKIP: Final = 13  # formula
REFUSED: Final = 14
INVALID: Final = 15  # why

DEPTH: Final = 48
"""Functions inside each other, at most: they use Python's stack."""

MOST_GAS: Final = 200
"""Gas of a function in another one, at most: a function is one step, and a formula may hold one part many times."""

_OPERATIONS: Final = {bytes((number,)): number for number in range(1, 13)} | {b"": 0}

# The head of what is no noun of a program.
_PRESET: Final = Cell(0, 0)

_set_program: Final = vars(Cell)["_program"].__set__


class Stuck(Exception):
    """A function has no result; only the evaluator's loop can tell why."""


def program_of(formula: Cell) -> Program:
    """The program of a formula, made the first time."""
    try:
        program: Program = formula._program
    except AttributeError:
        program = _make(formula, DEPTH)
    return program


def preset(program: Program) -> Cell:
    """A formula that no noun can be, with a program of its own."""
    formula = Cell(_PRESET, 0)
    _set_program(formula, program)
    return formula


def operation(noun: Noun) -> int | None:
    """The operation that an atom names, or None."""
    if isinstance(noun, int):
        return int(noun) if noun <= 12 else None
    return _OPERATIONS.get(noun) if isinstance(noun, bytes) else None


def plain_program(formula: Cell) -> Program:
    """The program of a formula without functions: one operation, with the gas of this operation alone."""
    return formula._program if formula.head is _PRESET else _program(formula, 0)


def _make(formula: Cell, depth: int) -> Program:
    program = _program(formula, depth)
    _set_program(formula, program)
    return program


def _function(formula: Noun, depth: int) -> tuple[Function, int, int] | None:
    """The function of a formula, its gas and its depth; None if it has to go through the loop."""
    if depth <= 1 or type(formula) is not Cell:
        return None
    try:
        program: Program = formula._program
    except AttributeError:
        program = _make(formula, depth - 1)
    if program[0] == FUNCTION and program[3] < depth and program[1] <= MOST_GAS:
        return program[2], program[1], program[3]
    return None


def _program(formula: Cell, depth: int) -> Program:
    head, rest = formula.head, formula.tail
    if type(head) is Cell:
        return _of_two(PAIR, 1, head, rest, depth)
    code = operation(head)
    if code == 0:
        return _slot(rest)
    if code == 1:
        return FUNCTION, 1, lambda _subject: rest, 1
    if code == 3:
        made = _function(rest, depth)
        return (FUNCTION, 1 + made[1], _is_cell(made[0]), 1 + made[2]) if made else (IS_CELL, 1, rest)
    if code == 4:
        made = _function(rest, depth)
        return (FUNCTION, 1 + made[1], _increment(made[0]), 1 + made[2]) if made else (INCREMENT, 1, rest)
    if type(rest) is not Cell or code is None:
        return INVALID, 1, "not a formula"
    first, second = rest.head, rest.tail
    if code == 2:
        return _of_two(EVALUATE, 1, first, second, depth)
    if code == 5:
        return _of_two(EQUAL, 1, first, second, depth)
    if code == 6:
        if type(second) is not Cell:
            return INVALID, 1, "operation 6 needs a condition and two formulas"
        # Two increments of the condition, and two looks into the choices; the latter only when it is known.
        made = _function(first, depth)
        if made:
            return CHOOSE, 5 + made[1], made[0], first, second.head, second.tail
        return CHOOSE, 3, None, first, second.head, second.tail
    if code == 7 or code == 8:
        return _of_chain(CHAIN if code == 7 else PUSH, first, second, depth)
    if code == 9:
        made = _function(second, depth)
        getter = _getter(first) or _nothing
        if made:
            return CALL, made[1], made[0], second, getter
        return CALL, 0, None, second, getter, preset((CALL, 0, _itself, 0, getter))
    if code == 10:
        if type(first) is not Cell:
            return INVALID, 1, "operation 10 needs [axis formula] first"
        return _edit(first.head, first.tail, second, depth)
    if code == 11:
        if type(first) is Cell:
            # The last gas is for taking the result from [hint result].
            return HINT, 2, first.head, first.tail, second
        made = _function(second, depth)
        return (FUNCTION, 1 + made[1], made[0], made[2]) if made else (SKIP, 1, second)
    return _of_two(SCRY, 0, first, second, depth)


def _of_two(kind: int, gas: int, first: Noun, second: Noun, depth: int) -> Program:
    one = _function(first, depth)
    if one is None:
        return kind, gas, None, first, second
    if kind == PAIR or kind == EQUAL:
        other = _function(second, depth)
        if other is not None:
            function = (_pair if kind == PAIR else _equal)(one[0], other[0])
            return FUNCTION, gas + one[1] + other[1], function, 1 + max(one[2], other[2])
    return kind, gas + one[1], one[0], first, second


def _of_chain(kind: int, first: Noun, second: Noun, depth: int) -> Program:
    one = _function(first, depth)
    if one is None:
        return kind, 1, None, first, second
    other = _function(second, depth)
    if other is None:
        return kind, 1 + one[1], one[0], first, second
    function = (_chain if kind == CHAIN else _push)(one[0], other[0])
    return FUNCTION, 1 + one[1] + other[1], function, 1 + max(one[2], other[2])


def _edit(axis: Noun, replacement: Noun, base: Noun, depth: int) -> Program:
    address = atom_int(axis) if type(axis) is not Cell else None
    one = _function(replacement, depth)
    if one is None or not address:
        return EDIT, 1, None, replacement, base, address
    other = _function(base, depth)
    if other is None:
        return EDIT, 1 + one[1], one[0], replacement, base, address
    return FUNCTION, 1 + one[1] + other[1], _replace(address, one[0], other[0]), 1 + max(one[2], other[2])


# -- functions ------------------------------------------------------------------------------------------


def _getter(axis: Noun) -> Function | None:
    if type(axis) is Cell:
        return None
    address = atom_int(axis)
    if address == 0:
        return None
    if address == 1:
        return _itself
    # An atom has neither attribute.
    return attrgetter(".".join("tail" if turn == "1" else "head" for turn in bin(address)[3:]))


def _slot(axis: Noun) -> Program:
    getter = _getter(axis)
    if getter is None:
        return INVALID, 1, "no part of a noun has axis 0" if type(axis) is not Cell else "an axis is an atom"
    return FUNCTION, 1, getter, 1


def _itself(subject: Noun) -> Noun:
    return subject


def _nothing(_subject: Noun) -> Noun:
    raise AttributeError


def _is_cell(function: Function) -> Function:
    return lambda subject: 0 if type(function(subject)) is Cell else 1


def _increment(function: Function) -> Function:
    def increment(subject: Noun) -> Noun:
        value = function(subject)
        return value + 1 if type(value) is int else successor(value)

    return increment


def successor(value: Noun) -> int:
    """An atom and one.

    Raises:
        Stuck: a cell.
    """
    if type(value) is Cell:
        raise Stuck
    return atom_int(value) + 1


def _equal(one: Function, other: Function) -> Function:
    def equal(subject: Noun) -> int:
        left, right = one(subject), other(subject)
        if type(left) is int and type(right) is int:
            return 0 if left == right else 1
        return 0 if same(left, right) else 1

    return equal


def _pair(one: Function, other: Function) -> Function:
    return lambda subject: Cell(one(subject), other(subject))


def _chain(one: Function, other: Function) -> Function:
    return lambda subject: other(one(subject))


def _push(one: Function, other: Function) -> Function:
    return lambda subject: other(Cell(one(subject), subject))


def _replace(address: int, one: Function, other: Function) -> Function:
    turns = bin(address)[3:]

    if turns == "10":  # the sample of a gate: what a call sets

        def replace_sample(subject: Noun) -> Any:
            value, base = one(subject), other(subject)
            tail = base.tail
            return Cell(base.head, Cell(value, tail.tail))

        return replace_sample

    backwards = turns[::-1]

    def replace(subject: Noun) -> Any:
        value, base = one(subject), other(subject)
        path = []
        for turn in turns:
            path.append(base)
            base = base.tail if turn == "1" else base.head
        for turn in backwards:
            cell = path.pop()
            value = Cell(cell.head, value) if turn == "1" else Cell(value, cell.tail)
        return value

    return replace
