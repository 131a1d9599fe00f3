"""How the commitment tree grows without making transactions wait.

Were the tree's root part of what a transaction writes, each would wait for the one before. So transactions write
commitments under keys of their own, and the tree follows, a step for each block, or for several: when they are
committed, whoever watches blocks hands the writes in them, in order, to `TreeKeeper.committed`, and submits the
`TreeStep` that comes of it as a transaction of its own, ``{resource_machine, {advance, {Size, Root, [Commitment]}}}``,
with `label_of_step` as its label.

A step is ordered, journalled, executed and replayed like any other transaction, so roots need no special care in shards
or ledger. It reads and writes the tree's keys only: it waits for the step before, and no other transaction waits for it
but those that name its root. Anybody may submit one, as it adds only what was really committed, and nothing twice.

The root of a block is known when its step is in a block: nobody can name it earlier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from anoma.keys import Key
from anoma.programs.runnable import ABSENT
from anoma.resource_machine.accumulator import Frontier
from anoma.resource_machine.errors import CommitmentExists, NotATransaction, ResourceMissing, TreeMoved, UnknownRoot
from anoma.resource_machine.execution import (
    TREE_KEY,
    Label,
    commitment_key,
    created_by,
    position_key,
    root_key,
)


@dataclass(frozen=True, slots=True)
class TreeStep:
    """Some leaves more for the commitment tree.

    Attributes:
        size: leaves that the tree has before.
        root: that it has afterwards.
        commitments: the new leaves, in order.
    """

    size: int
    root: bytes
    commitments: tuple[bytes, ...]

    def to_term(self) -> Any:
        """``{Size, Root, [Commitment]}``."""
        return (self.size, self.root, list(self.commitments))

    @classmethod
    def from_term(cls, term: Any) -> TreeStep:
        """The step of such a term.

        Raises:
            NotATransaction: it is none.
        """
        match term:
            case (int(size), bytes(root), list(leaves)) if all(type(leaf) is bytes for leaf in leaves):
                return cls(size, root, tuple(leaves))
        raise NotATransaction(f"expected a step of the commitment tree, {{Size, Root, [Commitment]}}, got {term!r:.80}")


def label_of_step(step: TreeStep) -> Label:
    """What a step reads and writes."""
    positions = {position_key(commitment) for commitment in step.commitments}
    commitments = {commitment_key(commitment) for commitment in step.commitments}
    return Label(
        frozenset({TREE_KEY} | positions | commitments), frozenset({TREE_KEY, root_key(step.root)} | positions)
    )


def apply_step(step: TreeStep, values: Mapping[Key, Any]) -> dict[Key, Any]:
    """What a step writes.

    Args:
        step: the step.
        values: what the keys of its label have.

    Raises:
        TreeMoved: another step came before it.
        ResourceMissing: a leaf was never committed.
        CommitmentExists: a leaf is in the tree already, or comes twice.
        UnknownRoot: the tree gets another root than the step says.
    """
    stored = values.get(TREE_KEY, ABSENT)
    frontier = Frontier() if stored is ABSENT else Frontier.from_term(stored)
    if frontier.size != step.size:
        raise TreeMoved(step.size, frontier.size)
    positions: dict[Key, Any] = {}
    for offset, commitment in enumerate(step.commitments):
        if values.get(commitment_key(commitment), ABSENT) is ABSENT:
            raise ResourceMissing(commitment, "was not created, so that it is no leaf of the commitment tree")
        key = position_key(commitment)
        if key in positions or values.get(key, ABSENT) is not ABSENT:
            raise CommitmentExists(commitment)
        positions[key] = step.size + offset
    grown = frontier.add(step.commitments)
    if grown.root != step.root:
        raise UnknownRoot(step.root)
    return {TREE_KEY: grown.to_term(), root_key(grown.root): grown.size, **positions}


@dataclass(frozen=True, slots=True)
class TreeKeeper:
    """Prepares the steps: one for each block in which something was created.

    Attributes:
        frontier: of the tree after the last step that was prepared.
    """

    frontier: Frontier = Frontier()  # noqa: RUF009  # it is a value

    @classmethod
    def from_stored(cls, value: Any) -> TreeKeeper:
        """After a restart: from the committed value of `TREE_KEY`, or `ABSENT`.

        What was committed since, of which no step is in the journal, is handed to `committed` again.

        Raises:
            ValueError: it is no frontier.
        """
        return cls() if value is ABSENT else cls(Frontier.from_term(value))

    def committed(self, writes: Iterable[tuple[Key, Any]]) -> tuple[TreeKeeper, TreeStep | None]:
        """A block was committed.

        Args:
            writes: of its transactions, in the order of their fingerprints.

        Returns:
            The keeper after it, and the step to submit; None where nothing was created.
        """
        leaves = tuple(leaf for leaf in (created_by(key) for key, _ in writes) if leaf is not None)
        if not leaves:
            return self, None
        grown = self.frontier.add(leaves)
        return TreeKeeper(grown), TreeStep(self.frontier.size, grown.root, leaves)
