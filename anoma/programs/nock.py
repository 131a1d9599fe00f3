"""Nock as the Elixir node runs it: two stages, reads by scry, a list of writes as the result.

1. The program, a core, is called at its arm 2; its result is a cell, whose tail is the second stage.
2. The second stage, a core, gets the transaction's fingerprint as an atom at axis 6 and is called at its arm 2.

Operation 12 with the list ``[id key]`` (`id` is not looked at) gives the value of a key; one that was never written
has none: the evaluation crashes. The result of the second stage is the list of writes, of cells ``[key value]``; the
first for a key counts.

Pure.

Source: Anoma's Elixir node, ``backends.ex``, backend ``debug_term_storage``. There a transaction's own identifier
stands at axis 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from anoma.keys import Key
from anoma.nock.evaluator import Crash, Done, Evaluation, OutOfGas, Scry
from anoma.nock.noun import Cell, Noun, list_elements, noun, replace_axis
from anoma.nock.transaction import read_request
from anoma.programs.nouns import KeyTable, gas_of, noun_of_executable, noun_of_value, value_of_noun
from anoma.programs.python import Program
from anoma.programs.runnable import ABSENT, Failure, Read, Runnable, Step, Write
from anoma.versioned_map import VersionedMap
from erlang_bridge.errors import brief

USUAL_GAS: Final = 1_000_000
MOST_GAS: Final = 1_000_000_000

CALL: Final = noun(9, 2, 0, 1)
"""The formula that calls arm 2 of its subject."""

_ID_AXIS: Final = 6


@dataclass(frozen=True, slots=True)
class NockState:
    """Where a program is.

    Attributes:
        table: the label's keys.
        at: what goes on next: an evaluation to run, or one that waits for a value; None: it has halted.
        key: what it waits for.
        second: whether it is in the second stage.
        known: what it has been given.
    """

    table: KeyTable
    fingerprint: int
    at: Evaluation | Scry | None
    key: Any = None
    second: bool = False
    known: VersionedMap[Key, Any] | None = None


class NockProgram:
    """A core in two stages, as a `Runnable`."""

    __slots__ = ("core", "gas")

    def __init__(self, core: Noun, gas: int) -> None:
        self.core = core
        self.gas = gas

    def start(self, fingerprint: int, keys: frozenset[Key]) -> NockState | Failure:
        try:
            table = KeyTable.of(keys)
        except ValueError as error:
            return Failure(str(error))
        return NockState(table, fingerprint, Evaluation.start(self.core, CALL, self.gas), known=VersionedMap())

    def halted(self, state: NockState) -> bool:
        return state.at is None

    def step(self, state: NockState | Failure, read: tuple[Key, Any] | None) -> Step | Failure:
        if type(state) is Failure:
            return state
        assert type(state) is NockState
        known = state.known
        assert known is not None
        if read is not None:
            known = known.put(*read)
            state = replace(state, known=known)
        at = state.at
        if at is None or (type(at) is Scry and state.key not in known):
            return Step(state)
        try:
            while True:
                if type(at) is Scry:
                    value = known[state.key]
                    at = at.resume(None if value is ABSENT else noun_of_value(value))
                assert type(at) is Evaluation
                outcome = at.run()
                if type(outcome) is Scry:
                    key = state.table.key(_requested(outcome.request))
                    state = replace(state, at=outcome, key=key)
                    if key not in known:
                        return Step(state, (Read(key),))
                    at = outcome
                elif type(outcome) is Done and not state.second:
                    at = self._second(outcome, state.fingerprint)
                    state = replace(state, second=True)
                elif type(outcome) is Done:
                    return Step(replace(state, at=None), _writes(outcome.noun, state.table))
                else:
                    return Failure(why(outcome))
        except ValueError as error:
            return Failure(f"the program failed: {error}")

    def _second(self, first: Done, fingerprint: int) -> Evaluation:
        core = first.noun
        stage = replace_axis(_ID_AXIS, fingerprint, core.tail) if type(core) is Cell else None
        if stage is None:
            raise ValueError(f"expected a cell with a core in its tail from the first stage, got {core!r:.80}")
        return Evaluation(stage, CALL, first.gas, self.gas)


def why(outcome: Any) -> str:
    """An evaluation without a result, in words."""
    if type(outcome) is OutOfGas:
        return f"the program is out of gas: it may use {outcome.gas_limit}"
    return f"the program crashed: {outcome.why}" if type(outcome) is Crash else f"the program gave {outcome!r:.80}"


def _requested(request: Noun) -> Noun:
    asked = read_request(request)
    if asked is None:
        raise ValueError(f"expected the list [id key] in a scry, got {request!r:.80}")
    return asked[1]


def _writes(result: Noun, table: KeyTable) -> tuple[Write, ...]:
    parts = list_elements(result)
    if parts is None:
        raise ValueError(f"expected a list of [key value] as result, got {result!r:.80}")
    writes: dict[Key, Write] = {}
    for part in parts:
        if type(part) is not Cell:
            raise ValueError(f"expected [key value] in the list of results, got {part!r:.80}")
        key = table.key(part.head)
        writes.setdefault(key, Write(key, value_of_noun(part.tail)))
    return tuple(writes.values())


def nock_program(parts: tuple[Any, ...], programs: Mapping[str, Program]) -> Runnable:  # noqa: ARG001  # of a table of kinds
    """The program of ``{nock, Noun}`` or ``{nock, Noun, Gas}``.

    Raises:
        ValueError: it is none, in words.
    """
    gas = gas_of(parts, "nock", USUAL_GAS, MOST_GAS)
    core = noun_of_executable(parts[0])
    if type(core) is not Cell:
        raise ValueError(f"expected a cell as program, got {brief(parts[0], 80)}")
    return NockProgram(core, gas)
