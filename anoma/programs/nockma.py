"""Nock as the specification runs it: a formula that is evaluated once for each read.

The subject is ``[state [key value]]``, where the state is 0 at first, and ``[state 0]`` where there is nothing to read
to begin with. A key that was never written has the value 0: Nock's null. The result is ``[state requests]``, the new
state and a list: an atom asks for the value of that key, a cell ``[key value]`` writes. The program halts when its
state is ``0x65786974``, "exit".

Differences from the specification:

* The request parser there takes atoms only, and loses every write; here cells are writes.
* Gas is that of the evaluator, one for each reduction, and is for the whole program; when it is used up the transaction
  fails, where the specification calls the program halted.
* Operation 12 has nothing to read here, and crashes.

Pure.

Source: nspec v0.2.0, "Nockma", ``nockmaRunnable``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from anoma.keys import Key
from anoma.nock.evaluator import Done, Evaluation, Scry
from anoma.nock.noun import Cell, Noun, is_atom, list_elements, noun, same
from anoma.programs.nock import MOST_GAS, why
from anoma.programs.nouns import KeyTable, gas_of, noun_of_executable, noun_of_key, noun_of_value, value_of_noun
from anoma.programs.python import Program
from anoma.programs.runnable import ABSENT, Failure, Output, Read, Runnable, Step, Write
from erlang_bridge.errors import brief

EXIT: Final = 0x65786974
USUAL_GAS: Final = 1000


@dataclass(frozen=True, slots=True)
class NockmaState:
    """Where a program is.

    Attributes:
        table: the label's keys.
        noun: its own state.
        gas: used so far.
    """

    table: KeyTable
    noun: Noun = 0
    gas: int = 0


class NockmaProgram:
    """A formula that is evaluated for each read, as a `Runnable`."""

    __slots__ = ("formula", "gas")

    def __init__(self, formula: Noun, gas: int) -> None:
        self.formula = formula
        self.gas = gas

    def start(self, fingerprint: int, keys: frozenset[Key]) -> NockmaState | Failure:  # other kinds use it
        try:
            return NockmaState(KeyTable.of(keys))
        except ValueError as error:
            return Failure(str(error))

    def halted(self, state: NockmaState) -> bool:
        return is_atom(state.noun) and same(state.noun, EXIT)

    def step(self, state: NockmaState | Failure, read: tuple[Key, Any] | None) -> Step | Failure:
        if type(state) is Failure:
            return state
        assert type(state) is NockmaState
        try:
            subject = Cell(state.noun, 0 if read is None else _pair(*read))
            outcome = Evaluation(subject, self.formula, state.gas, self.gas).run()
            if type(outcome) is Scry:
                return Failure(
                    "the program crashed: operation 12 is not for this kind of program, which asks for reads"
                )
            if type(outcome) is not Done:
                return Failure(why(outcome))
            result = outcome.noun
            requests = list_elements(result.tail) if type(result) is Cell else None
            if type(result) is not Cell or requests is None:
                return Failure(f"the program failed: expected [state requests] as result, got {result!r:.80}")
            outputs = tuple(_output(request, state.table) for request in requests)
            return Step(NockmaState(state.table, result.head, outcome.gas), outputs)
        except ValueError as error:
            return Failure(f"the program failed: {error}")


def _pair(key: Key, value: Any) -> Noun:
    name = noun_of_key(key)
    if name is None:
        raise ValueError(f"expected a key that is a noun, got {brief(key, 80)}")
    return noun(name, 0 if value is ABSENT else noun_of_value(value))


def _output(request: Noun, table: KeyTable) -> Output:
    if type(request) is Cell:
        return Write(table.key(request.head), value_of_noun(request.tail))
    return Read(table.key(request))


def nockma_program(parts: tuple[Any, ...], programs: Mapping[str, Program]) -> Runnable:  # noqa: ARG001  # of a table of kinds
    """The program of ``{nockma, Noun}`` or ``{nockma, Noun, Gas}``.

    Raises:
        ValueError: it is none, in words.
    """
    gas = gas_of(parts, "nockma", USUAL_GAS, MOST_GAS)
    formula = noun_of_executable(parts[0])
    if type(formula) is not Cell:
        raise ValueError(f"expected a formula, a cell, as program, got {brief(parts[0], 80)}")
    return NockmaProgram(formula, gas)
