"""Transactions of the resource machine: verified, checked against the state, and written.

=====================================================  =========================================================
executable                                             what it is
=====================================================  =========================================================
``{resource_machine, Struct}``                         the transaction, an Elixir struct or a `Transaction`
``{resource_machine, Noun}``                           a transaction function in Nock, as a term or jammed
``{resource_machine, Noun, Gas}``                      the same, with at most so much gas
``{resource_machine, {python, Name, Args}}``           a transaction function in Python, registered as `Name`
``{resource_machine, {advance, Step}}``                a step of the commitment tree (`resource_machine.roots`)
=====================================================  =========================================================

The label of a transaction is `resource_machine.execution.label_of`; that of a function has what it reads besides. A
transaction that is not right, or that the state does not allow, fails with an error that says which resource is to
blame.

Pure.

Source: nspec v0.2.0, "Execution flow"; Anoma's Elixir node, ``backends.ex``, backend ``transparent_resource``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from anoma.keys import Key, in_order
from anoma.programs.nock import MOST_GAS, USUAL_GAS
from anoma.programs.nouns import KeyTable, gas_of, noun_of_executable
from anoma.programs.python import Program
from anoma.programs.runnable import Failure, Read, Runnable, Step, Write
from anoma.resource_machine.errors import ResourceMachineError
from anoma.resource_machine.execution import apply, label_of
from anoma.resource_machine.function import NockFunction, PythonFunction, TransactionFunction, Waiting
from anoma.resource_machine.proving import DEFAULT_RULES, Rules
from anoma.resource_machine.roots import TreeStep, apply_step, label_of_step
from anoma.resource_machine.transaction import Transaction
from anoma.versioned_map import VersionedMap
from erlang_bridge.errors import EtfStructError, brief
from erlang_bridge.etf import default_structs
from erlang_bridge.etf.conversions import STRUCT_KEY
from erlang_bridge.terms import Atom, Map

_PYTHON: Final = Atom("python")
_ADVANCE: Final = Atom("advance")
_TRANSACTION: Final = Atom("Elixir.Anoma.TransparentResource.Transaction")


@dataclass(frozen=True, slots=True)
class MachineState:
    """Where a transaction is.

    Attributes:
        keys: of the label.
        at: a function that waits for a value, or what is to be applied; None: it has not begun.
        missing: how many of the reads of `at` are not known.
        needed: the reads of `at`.
        known: what has been read.
        done: it has written.
    """

    fingerprint: int
    keys: frozenset[Key]
    at: Waiting | Transaction | TreeStep | None = None
    missing: int = 0
    needed: frozenset[Key] = frozenset()
    known: VersionedMap[Key, Any] = field(default_factory=VersionedMap)
    done: bool = False


class MachineProgram:
    """A transaction, a function that makes one, or a step of the commitment tree, as a `Runnable`."""

    __slots__ = ("rules", "source")

    def __init__(self, source: TransactionFunction | Transaction | TreeStep, rules: Rules = DEFAULT_RULES) -> None:
        self.source = source
        self.rules = rules

    @property
    def gas(self) -> int:
        """What its function may use; 0 where that is not counted."""
        return self.source.gas if isinstance(self.source, NockFunction) else 0

    def start(self, fingerprint: int, keys: frozenset[Key]) -> MachineState:
        return MachineState(fingerprint, keys)

    def halted(self, state: MachineState) -> bool:
        return state.done

    def step(self, state: MachineState, read: tuple[Key, Any] | None) -> Step | Failure:
        if read is not None and read[0] not in state.known:
            missing = state.missing - (read[0] in state.needed)
            state = replace(state, known=state.known.put(*read), missing=missing)
        if state.done:
            return Step(state)
        try:
            if not state.needed:
                return self._make(state)
            return self._apply(state) if state.missing == 0 else Step(state)
        except ResourceMachineError as error:
            return Failure(str(error))
        except ValueError as error:
            return Failure(f"the transaction function failed: {error}")

    def _make(self, state: MachineState) -> Step:
        """Go on until there is a transaction, then ask for what it reads."""
        at = state.at
        if at is None:
            at = self._begin(state)
        while isinstance(at, Waiting) and at.key in state.known:
            at = at.resume(state.known[at.key])
        if isinstance(at, Waiting):
            return Step(replace(state, at=at), (Read(at.key),))
        if isinstance(at, Transaction):
            at.verify(self.rules)
            needed = label_of(at).eager_reads
        else:
            needed = label_of_step(at).eager_reads
        missing = [key for key in needed if key not in state.known]
        state = replace(state, at=at, needed=needed, missing=len(missing))
        if missing:
            return Step(state, tuple(Read(key) for key in in_order(missing)))
        return self._apply(state)

    def _begin(self, state: MachineState) -> Waiting | Transaction | TreeStep:
        source = self.source
        if isinstance(source, (Transaction, TreeStep)):
            return source
        return source.evaluate(state.fingerprint, KeyTable.of(state.keys).key)

    @staticmethod
    def _apply(state: MachineState) -> Step:
        at = state.at
        if isinstance(at, TreeStep):
            writes = apply_step(at, state.known)
        else:
            assert isinstance(at, Transaction)
            writes = apply(at, state.known, state.fingerprint)
        return Step(replace(state, done=True), tuple(Write(key, value) for key, value in writes.items()))


def resource_machine_program(parts: tuple[Any, ...], programs: Mapping[str, Program]) -> Runnable:
    """The program of ``{resource_machine, ...}``.

    Raises:
        ValueError: it is none, in words.
    """
    if len(parts) == 1:
        match parts[0]:
            case Transaction() as transaction:
                return MachineProgram(transaction)
            case dict() | Map() as struct:
                return MachineProgram(_transaction_of(struct))
            case (kind, step) if kind is _ADVANCE:
                return MachineProgram(TreeStep.from_term(step))
            case (kind, name, args) if kind is _PYTHON:
                return MachineProgram(_python_function(name, args, programs))
    gas = gas_of(parts, "resource_machine", USUAL_GAS, MOST_GAS)
    return MachineProgram(NockFunction(noun_of_executable(parts[0]), gas))


def _transaction_of(struct: Any) -> Transaction:
    if struct.get(STRUCT_KEY) is not _TRANSACTION:
        raise ValueError(f"expected a struct {_TRANSACTION.name}, got {brief(struct, 80)}")
    try:
        found = default_structs[_TRANSACTION].decode(dict(struct.items()))
    except EtfStructError as error:
        raise ValueError(str(error)) from None
    assert isinstance(found, Transaction)
    return found


def _python_function(name: Any, args: Any, programs: Mapping[str, Program]) -> PythonFunction:
    text = name.decode(errors="replace") if type(name) is bytes else getattr(name, "name", None)
    program = programs.get(text) if text is not None else None
    if program is None:
        known = ", ".join(sorted(programs)) or "none"
        raise ValueError(f"expected the name of a registered program, got {brief(name, 80)}; registered are: {known}")
    return PythonFunction(program, tuple(args) if type(args) is list else (args,))
