"""A store and transactions of the resource machine run on it one by one, for tests."""

from __future__ import annotations

from typing import Any

from anoma.keys import Key
from anoma.programs.execution import Outcome, Rights, begin, receive
from anoma.programs.kinds import load
from anoma.programs.runnable import ABSENT
from anoma.resource_machine import Transaction
from anoma.resource_machine.execution import Label, label_of
from anoma.resource_machine.roots import TreeKeeper, TreeStep, label_of_step
from erlang_bridge.terms import Atom

MACHINE = Atom("resource_machine")


def step_executable(step: TreeStep) -> Any:
    return (MACHINE, (Atom("advance"), step.to_term()))


class World:
    """Sequential execution: what any order of arrivals must come to."""

    def __init__(self) -> None:
        self.store: dict[Key, Any] = {}
        self.fingerprint = 0
        self.keeper = TreeKeeper()
        self.block: list[tuple[Key, Any]] = []

    def run(self, executable: Any, label: Label, programs: Any = None) -> Outcome:
        self.fingerprint += 1
        rights = Rights(label.eager_reads, frozenset(), label.will_writes, label.may_writes)
        execution, wanted = begin(load(executable, programs or {}), rights, self.fingerprint)
        assert not wanted
        for key in label.eager_reads:
            execution, wanted = receive(execution, key, self.store.get(key, ABSENT))
            assert not wanted
        outcome = execution.outcome
        assert outcome is not None
        self.store.update(outcome.writes)
        self.block.extend(outcome.writes)
        return outcome

    def submit(self, transaction: Transaction) -> Outcome:
        return self.run((MACHINE, transaction), label_of(transaction))

    def end_block(self) -> bytes | None:
        """The block is committed: its root, once the tree has followed; None: nothing was created in it."""
        self.keeper, step = self.keeper.committed(self.block)
        self.block = []
        if step is None:
            return None
        outcome = self.run(step_executable(step), label_of_step(step))
        assert outcome.success, outcome.error
        return step.root
