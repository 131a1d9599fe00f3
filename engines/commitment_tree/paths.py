"""Finding the path from a commitment to the root, in what the ledger has.

The state has where each commitment is, and the Commitment Tree's own table the hash of each full subtree, by height and
index. A path takes one read of the one and at most 32 of the other, however large the tree is.

Pure, but for what is given to `find_path`. None of this goes over the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anoma.programs.runnable import ABSENT
from anoma.resource_machine.accumulator import HASH_BYTES, Frontier
from anoma.resource_machine.execution import position_key
from engines.commitment_tree.messages import CommitmentTreeFailed, CommitmentTreeMessage, Path, WitnessReply
from engines.ledger.messages import ItemReply, ItemRequest, LedgerFailed, ReadReply, ReadRequest
from engines.messages import EngineID, Envelope, Message


@dataclass(frozen=True, slots=True)
class FindPath:
    """Find the path from a commitment to the root. `PathFound` comes of it.

    Attributes:
        envelope: the `WitnessRequest`, to be replied to.
        tree: what the table has the full subtrees of.
        committed: fingerprint of the last transaction that is in a block.
    """

    envelope: Envelope
    commitment: bytes
    tree: Frontier
    committed: int
    ledger: EngineID
    table: str


@dataclass(frozen=True, slots=True)
class PathFound(CommitmentTreeMessage):
    """The answer to a request for a path.

    Attributes:
        envelope: the request.
        reply: its answer.
    """

    envelope: Envelope
    reply: Message


class _NoAnswer(Exception):
    """The ledger has not said what it was asked for."""


def find_path(operation: FindPath, ask: Callable[[Message], Any]) -> PathFound:
    """Carry it out.

    Args:
        ask: asks the ledger.
    """
    tree = operation.tree

    def asked(message: Message, kind: type) -> Any:
        reply = ask(message)
        if isinstance(reply, kind):
            return reply.value  # type: ignore[attr-defined]
        raise _NoAnswer(reply.text if isinstance(reply, LedgerFailed) else f"it answers {reply!r:.200}")

    def hash_of(height: int, index: int) -> bytes:
        value = asked(ItemRequest(operation.table, (height, index)), ItemReply)
        if type(value) is bytes and len(value) == HASH_BYTES:
            return value
        raise _NoAnswer(f"its table {operation.table} has no hash for height {height} and index {index}")

    try:
        position = asked(ReadRequest(position_key(operation.commitment), operation.committed), ReadReply)
        path = None
        if position is not ABSENT and type(position) is int and 0 <= position < tree.size:
            found = tree.path(position, hash_of)
            path = Path(found.position, found.siblings)
    except _NoAnswer as error:
        return failed(operation, str(error))
    return PathFound(operation.envelope, WitnessReply(operation.commitment, tree.root, tree.size, path))


def failed(operation: FindPath, reason: str) -> PathFound:
    """It could not be carried out."""
    text = f"the path could not be read from {operation.ledger}: {reason}; ask again later"
    return PathFound(operation.envelope, CommitmentTreeFailed(text))
