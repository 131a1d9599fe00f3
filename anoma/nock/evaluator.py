"""The evaluator: Nock 4K with operation 12 as scry, gas, hints and jets.

An `Evaluation` is a value: a subject, a formula, and what is to be done with the result. It can be run for a number of
steps, kept, and run again from the same place, with the same outcome each time. Loops in Nock are calls in tail
position and take no room; everything else that waits is on a stack of the evaluation's own, as deep as memory allows.

Source: Anoma's Elixir node, ``nock.ex``, for what each operation does with each form of an atom, for the gas and for
when a jet is taken.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from anoma.nock.errors import NockCrash, NockOutOfGas
from anoma.nock.formula import (
    CALL,
    CHAIN,
    CHOOSE,
    EDIT,
    EQUAL,
    EVALUATE,
    FUNCTION,
    HINT,
    INCREMENT,
    IS_CELL,
    PAIR,
    PUSH,
    REFUSED,
    SCRY,
    SKIP,
    Stuck,
    plain_program,
    preset,
    program_of,
    successor,
)
from anoma.nock.jets import JETS, Jet, NoResult
from anoma.nock.mug import mug
from anoma.nock.noun import Cell, Noun, format_noun, replace_axis, same

PUTS: Final = 0x73747570
"""The hint ``puts``: its value is an output of the evaluation."""

# What waits on the stack for a value: the kind of the program that put it there, or one of these.
_SECOND: Final = 100  # added to the kind: the value is the second of two

# What is evaluated after a scry.
_ANSWER: Final = preset((FUNCTION, 0, lambda answer: answer, 1))
_REFUSE: Final = preset((REFUSED, 0))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Evaluation:
    """An evaluation at rest.

    Attributes:
        subject: the noun that the formula is evaluated on next.
        formula: the formula evaluated next.
        gas: gas used until now.
        gas_limit: gas that may be used in all; None is no limit.
        jets: whether known arms are replaced by native code.
    """

    subject: Noun
    formula: Noun
    gas: int = 0
    gas_limit: int | None = None
    jets: bool = True
    _stack: Any = None
    _outputs: Any = None

    @classmethod
    def start(cls, subject: Noun, formula: Noun, gas: int | None = None, *, jets: bool = True) -> Evaluation:
        """An evaluation of a formula that has not begun.

        Args:
            subject: what the formula is evaluated on.
            formula: the formula.
            gas: the most it may use.
            jets: False evaluates everything by Nock alone. Signatures and deltas have no other form than jets.
        """
        return cls(subject, formula, 0, gas, jets)

    @property
    def outputs(self) -> tuple[Noun, ...]:
        """Values of the ``puts`` hints met until now."""
        return _in_order(self._outputs)

    def run(self, max_steps: int | None = None) -> Outcome:
        """Evaluates for so many steps at most.

        A step is one formula that is not part of a larger one that is done at once; the same evaluation always takes
        the same steps.

        Returns:
            Done | Scry | Crash | OutOfGas: how it ended, or what it waits for.
            Running: the steps are used up.
        """
        return _run(self, sys.maxsize if max_steps is None else max_steps)

    def __repr__(self) -> str:
        formula, subject = format_noun(self.formula, 60), format_noun(self.subject, 60)
        return f"<evaluation of {formula} on {subject}, {self.gas} gas used>"


@dataclass(frozen=True, slots=True)
class Done:
    """The evaluation has a result."""

    noun: Noun
    gas: int
    outputs: tuple[Noun, ...] = ()


@dataclass(frozen=True, slots=True)
class Crash:
    """The evaluation has no result; `why` says what was met, and is for people."""

    why: str
    gas: int
    outputs: tuple[Noun, ...] = ()


@dataclass(frozen=True, slots=True)
class OutOfGas:
    """The evaluation would use more gas than it may."""

    gas_limit: int
    outputs: tuple[Noun, ...] = ()


@dataclass(frozen=True, slots=True)
class Running:
    """The steps are used up: `evaluation` is where to go on."""

    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Scry:
    """The evaluation waits for the value that `request` names.

    Example:
        >>> from anoma.nock.noun import parse_noun
        >>> waiting = Evaluation.start(0, parse_noun("[12 [1 0] 1 1 2 0]")).run()
        >>> waiting.request
        <noun [1 2 0]>
        >>> waiting.resume(7).run().noun
        7
    """

    request: Noun
    _evaluation: Evaluation = field(repr=False)

    def resume(self, answer: Noun | None) -> Evaluation:
        """The evaluation after the scry; with None there is no such value, and it crashes."""
        waiting = self._evaluation
        formula = _REFUSE if answer is None else _ANSWER
        subject = self.request if answer is None else answer
        return Evaluation(
            subject, formula, waiting.gas, waiting.gas_limit, waiting.jets, waiting._stack, waiting._outputs
        )


Outcome: TypeAlias = Done | Scry | Crash | OutOfGas | Running


def nock(
    subject: Noun,
    formula: Noun,
    scry: Callable[[Noun], Noun | None] | None = None,
    gas: int | None = None,
    *,
    jets: bool = True,
) -> Noun:
    """``*[subject formula]``, to its end.

    Args:
        subject: what the formula is evaluated on.
        formula: the formula.
        scry: gives the value that a request of operation 12 names, or None; without it every request crashes.
        gas: the most it may use.
        jets: False evaluates everything by Nock alone.

    Raises:
        NockCrash: there is no result.
        NockOutOfGas: it costs more.

    Example:
        >>> from anoma.nock.noun import parse_noun
        >>> nock(41, parse_noun("[4 0 1]"))
        42
    """
    return metered_nock(subject, formula, scry, gas, jets=jets).noun


def metered_nock(
    subject: Noun,
    formula: Noun,
    scry: Callable[[Noun], Noun | None] | None = None,
    gas: int | None = None,
    *,
    jets: bool = True,
) -> Done:
    """As `nock`, with the gas used and the outputs of hints.

    Raises:
        NockCrash: there is no result; its `gas` is what was used.
        NockOutOfGas: it costs more.
    """
    outcome = Evaluation.start(subject, formula, gas, jets=jets).run()
    while isinstance(outcome, Scry):
        outcome = outcome.resume(scry(outcome.request) if scry else None).run()
    if isinstance(outcome, Crash):
        raise NockCrash(outcome.why, outcome.gas)
    if isinstance(outcome, OutOfGas):
        raise NockOutOfGas(outcome.gas_limit)
    assert isinstance(outcome, Done)
    return outcome


def _in_order(outputs: Any) -> tuple[Noun, ...]:
    def backwards() -> Iterator[Noun]:
        rest = outputs
        while rest is not None:
            output, rest = rest
            yield output

    return tuple(backwards())[::-1]


def _is_puts(hint: Noun) -> bool:
    return hint == b"puts" if isinstance(hint, bytes) else type(hint) is not Cell and hint == PUTS


def _run(start: Evaluation, max_steps: int) -> Outcome:
    subject: Any = start.subject
    formula: Any = start.formula
    stack: Any = start._stack
    outputs = start._outputs
    gas = start.gas
    limit = sys.maxsize if start.gas_limit is None else start.gas_limit
    table: dict[int, Jet] = JETS if start.jets else {}
    # Set when a function failed or gas runs out inside one: from there on operation by operation, for where and why.
    plain = False
    steps = max_steps
    why = ""
    value: Any
    while True:
        if steps <= 0:
            rest = Evaluation(subject, formula, gas, start.gas_limit, start.jets, stack, outputs)
            return Running(rest)
        steps -= 1
        try:
            program = formula._program
        except AttributeError:
            if type(formula) is not Cell:
                gas += 1
                if gas > limit:
                    return OutOfGas(limit, _in_order(outputs))
                why = "an atom is no formula"
                break
            program = program_of(formula)
        if plain:
            program = plain_program(formula)
        kind = program[0]
        gas += program[1]
        if gas > limit:
            if plain:
                return OutOfGas(limit, _in_order(outputs))
            gas -= program[1]
            steps += 1
            plain = True
            continue
        try:
            if kind == FUNCTION:
                value = program[2](subject)
            elif kind == CHOOSE:
                condition = program[2]
                if condition is None:
                    stack = (CHOOSE, program, subject, stack)
                    formula = program[3]
                    continue
                value = condition(subject)
                if type(value) is not int:
                    value = -1 if type(value) is Cell else int.from_bytes(value, "little") if value else 0
                if value == 0:
                    formula = program[4]
                elif value == 1:
                    formula = program[5]
                else:
                    raise Stuck
                continue
            elif kind == CALL:
                function = program[2]
                if function is None:
                    stack = (CHAIN, program[5], None, stack)
                    formula = program[3]
                    continue
                core = function(subject)
                jet = None
                if type(core) is Cell:
                    battery: Any = core.head
                    try:
                        jet = table.get(battery._mug)
                    except AttributeError:
                        jet = table.get(mug(battery))
                    if jet is not None and not jet.fits(core):
                        jet = None
                if jet is None:
                    gas += 3  # it stands for [2 [0 1] 0 axis]
                    if gas > limit:
                        return OutOfGas(limit, _in_order(outputs))
                    try:
                        formula = program[4](core)
                    except AttributeError:
                        why = "the core has no arm at the axis of operation 9"
                        break
                    subject = core
                    continue
                gas += jet.gas
                if gas > limit:
                    return OutOfGas(limit, _in_order(outputs))
                try:
                    value = jet.function(core)
                except NoResult:
                    why = f"{jet.name} has no result on its sample"
                    break
            elif kind == CHAIN:
                function = program[2]
                if function is None:
                    stack = (CHAIN, program[4], None, stack)
                    formula = program[3]
                else:
                    subject = function(subject)
                    formula = program[4]
                continue
            elif kind == PUSH:
                function = program[2]
                if function is None:
                    stack = (PUSH, program[4], subject, stack)
                    formula = program[3]
                else:
                    subject = Cell(function(subject), subject)
                    formula = program[4]
                continue
            elif kind <= SCRY:  # PAIR, EVALUATE, EQUAL, EDIT, SCRY
                function = program[2]
                if function is None:
                    stack = (kind, program, subject, stack)
                    formula = program[3]
                else:
                    stack = (kind + _SECOND, program, function(subject), stack)
                    formula = program[4]
                continue
            elif kind == IS_CELL or kind == INCREMENT:
                stack = (kind, None, None, stack)
                formula = program[2]
                continue
            elif kind == HINT:
                stack = (HINT, program, subject, stack)
                formula = program[3]
                continue
            elif kind == SKIP:
                formula = program[2]
                continue
            elif kind == REFUSED:
                why = f"there is nothing to read at {format_noun(subject, 80)}"
                break
            else:
                why = program[2]
                break
        except (AttributeError, Stuck):
            if plain:
                why = "an axis leads through an atom"
                break
            gas -= program[1]
            steps += 1
            plain = True
            continue

        # A value, for what waits on the stack.
        while stack is not None:
            kind, program, before, under = stack
            if kind == PAIR + _SECOND:
                value = Cell(before, value)
                stack = under
            elif kind == PAIR or kind == EQUAL or kind == EVALUATE or kind == EDIT or kind == SCRY:
                stack = (kind + _SECOND, program, value, under)
                subject = before
                formula = program[4]
                break
            elif kind == EQUAL + _SECOND:
                value = 0 if same(before, value) else 1
                stack = under
            elif kind == CHAIN:
                subject = value
                formula = program
                stack = under
                break
            elif kind == PUSH:
                subject = Cell(value, before)
                formula = program
                stack = under
                break
            elif kind == CHOOSE:
                if type(value) is Cell:
                    why = "the condition of operation 6 is a cell"
                    break
                gas += 1
                if gas > limit:
                    return OutOfGas(limit, _in_order(outputs))
                number = value if type(value) is int else int.from_bytes(value, "little") if value else 0
                if number > 1:
                    why = "the condition of operation 6 is neither 0 nor 1"
                    break
                gas += 1
                if gas > limit:
                    return OutOfGas(limit, _in_order(outputs))
                subject = before
                formula = program[5] if number else program[4]
                stack = under
                break
            elif kind == EVALUATE + _SECOND:
                subject = before
                formula = value
                stack = under
                break
            elif kind == INCREMENT:
                if type(value) is Cell:
                    why = "operation 4 has no result on a cell"
                    break
                value = successor(value)
                stack = under
            elif kind == IS_CELL:
                value = 0 if type(value) is Cell else 1
                stack = under
            elif kind == EDIT + _SECOND:
                address = program[5]
                value = replace_axis(address, before, value) if address else None
                if value is None:
                    why = "operation 10 has nothing to replace at its axis"
                    break
                stack = under
            elif kind == HINT:
                if _is_puts(program[2]):
                    outputs = (value, outputs)
                subject = before
                formula = program[4]
                stack = under
                break
            else:  # SCRY + _SECOND
                rest = Evaluation(0, 0, gas, start.gas_limit, start.jets, under, outputs)
                return Scry(value, rest)
        else:
            return Done(value, gas, _in_order(outputs))
        if why:
            break
    return Crash(why, gas, _in_order(outputs))
