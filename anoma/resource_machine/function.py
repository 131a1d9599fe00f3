"""Transaction functions: programs that make a transaction, at their turn, from what they read.

In Nock, in the form of the Elixir node: a core whose arm at axis 2 gives ``[_ core]``; the
transaction's fingerprint is put at axis 6 of that core, and its arm at axis 2 gives the transaction as a noun. It reads
with operation 12, by the list ``[id key]``: `id` is not looked at, `key` is an atom or a list of atoms. In Python: a
generator function that yields `Read`s and returns a `Transaction`::

    def pay(amount):
        price = yield Read(b"price")
        return transfer(...)

A function sees nothing but what it reads, and has to be a function of that: it may be run again.

Reading by an index (all resources of a kind, say) is not possible: a label has keys, and none for that.

Source: nspec v0.2.0, "Transaction function", "Transaction function format", "Transaction function VM"; Anoma's Elixir
node, ``backends.ex``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from anoma.keys import Key
from anoma.nock.evaluator import Crash, Done, Evaluation, Outcome, OutOfGas, Scry
from anoma.nock.noun import Cell, Noun, atom_bytes, format_noun, is_atom, list_elements, replace_axis
from anoma.programs.nock import CALL
from anoma.programs.nouns import noun_of_value
from anoma.programs.runnable import ABSENT, Read
from anoma.resource_machine.errors import FunctionFailed, NotATransaction
from anoma.resource_machine.proving import DEFAULT_GAS
from anoma.resource_machine.transaction import Transaction

_ID_AXIS: Final = 6

KeyOf = Callable[[Noun], Key]
"""The key that a noun stands for. Raises ValueError: none."""


def plain_key(noun: Noun) -> Key:
    """The key of a noun where no label says more: an atom is bytes, a list a tuple.

    Raises:
        ValueError: it is neither.
    """
    if is_atom(noun):
        return atom_bytes(noun)
    parts = list_elements(noun)
    if parts is None:
        raise ValueError(f"expected an atom or a list as key, got {format_noun(noun, 80)}")
    return tuple(map(plain_key, parts))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A function that needs a value to go on.

    Attributes:
        key: which.
        resume: goes on with the value, or `ABSENT`.
    """

    key: Key
    resume: Callable[[Any], Waiting | Transaction]


class TransactionFunction(Protocol):
    """A program that makes a transaction."""

    def evaluate(self, fingerprint: int, key_of: KeyOf = plain_key) -> Waiting | Transaction:
        """Run it up to its end, or to the first value that it needs.

        Args:
            fingerprint: of the transaction.
            key_of: gives the keys that nouns stand for.

        Raises:
            FunctionFailed: it crashes, or needs more gas than there is.
            NotATransaction: what it gives is none.
        """


# -- Nock -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NockFunction:
    """A transaction function in Nock.

    Attributes:
        code: the core.
        gas: that it may use in all.
    """

    code: Noun
    gas: int = DEFAULT_GAS

    def evaluate(self, fingerprint: int, key_of: KeyOf = plain_key) -> Waiting | Transaction:
        """See `TransactionFunction.evaluate`."""

        def second(core: Noun, gas: int) -> Waiting | Transaction:
            stage = replace_axis(_ID_AXIS, fingerprint, core.tail) if isinstance(core, Cell) else None
            if stage is None:
                raise FunctionFailed(
                    f"expected a cell with a core in its tail from a transaction function, got {format_noun(core, 60)}"
                )
            return self._after(Evaluation(stage, CALL, gas, self.gas).run(), key_of, last)

        def last(result: Noun, _gas: int) -> Transaction:
            return Transaction.from_noun(result)

        return self._after(Evaluation.start(self.code, CALL, self.gas).run(), key_of, second)

    def _after(
        self, outcome: Outcome, key_of: KeyOf, then: Callable[[Noun, int], Waiting | Transaction]
    ) -> Waiting | Transaction:
        match outcome:
            case Done():
                return then(outcome.noun, outcome.gas)
            case Scry():
                return Waiting(
                    _requested(outcome.request, key_of),
                    lambda value: self._after(outcome.resume(_answer(value)).run(), key_of, then),
                )
            case OutOfGas():
                raise FunctionFailed(f"the transaction function does not end within {self.gas} gas")
            case Crash():
                raise FunctionFailed(f"the transaction function crashes: {outcome.why}")
        raise AssertionError(outcome)


def _requested(request: Noun, key_of: KeyOf) -> Key:
    """The key of ``[id key]``."""
    parts = list_elements(request)
    if parts is None or len(parts) != 2:
        raise FunctionFailed(f"a transaction function reads by the list [id key], got {format_noun(request, 80)}")
    try:
        return key_of(parts[1])
    except ValueError as error:
        raise FunctionFailed(f"a transaction function reads what it may not: {error}") from None


def _answer(value: Any) -> Noun | None:
    """A value as a noun; None, which is a crash: there is none."""
    if value is ABSENT:
        return None
    try:
        return noun_of_value(value)
    except ValueError as error:
        raise FunctionFailed(f"a transaction function in Nock cannot read this value: {error}") from None


def constant(transaction: Transaction) -> Noun:
    """The transaction function in Nock that gives this transaction, as the Elixir node's solver writes it."""
    inner = Cell(Cell(1, transaction.to_noun()), Cell(0, 909))
    return Cell(Cell(1, Cell(0, inner)), Cell(0, 707))


# -- Python -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PythonFunction:
    """A transaction function in Python.

    Attributes:
        function: a generator function that yields `Read`s and returns a `Transaction`.
        args: of it.
        answers: what it has read so far.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    answers: tuple[Any, ...] = ()

    def evaluate(self, fingerprint: int, key_of: KeyOf = plain_key) -> Waiting | Transaction:
        """See `TransactionFunction.evaluate`."""
        try:
            found = self._run()
        except (FunctionFailed, NotATransaction):
            raise
        except Exception as error:
            raise FunctionFailed(f"the transaction function fails: {type(error).__name__}: {error}") from error
        if isinstance(found, Transaction):
            return found
        key = found.key.encode() if isinstance(found.key, str) else found.key

        def resume(value: Any) -> Waiting | Transaction:
            return PythonFunction(self.function, self.args, (*self.answers, value)).evaluate(fingerprint, key_of)

        return Waiting(key, resume)

    def _run(self) -> Read | Transaction:
        made = self.function(*self.args)
        if not inspect.isgenerator(made):
            return _checked(made)
        generator: Generator[Any, Any, Any] = made
        value = None
        yielded: Any = None
        for answer in (*self.answers, None):
            try:
                yielded = generator.send(value)
            except StopIteration as end:
                return _checked(end.value)
            if not isinstance(yielded, Read):
                raise FunctionFailed(f"a transaction function yields Read(Key), got {yielded!r:.80}")
            value = answer
        generator.close()
        assert isinstance(yielded, Read)
        return yielded


def _checked(result: Any) -> Transaction:
    if isinstance(result, Transaction):
        return result
    raise NotATransaction(f"a transaction function returns a Transaction, got {result!r:.80}")
