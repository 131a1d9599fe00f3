"""What the Commitment Tree takes and sends, besides the messages of Ledger and Mempool Worker.

==========================  =====================================================  ============================
message                     what it asks for                                       reply
==========================  =====================================================  ============================
`RootRequest`               the root, and how far the tree is                      `RootReply`
`WitnessRequest`            the path from a commitment to the root                 `WitnessReply`
==========================  =====================================================  ============================

The reply to either can be `CommitmentTreeFailed` as well.

Source: nspec v0.2.0, "Commitment accumulator" (``value``, ``witness``). The specification has no engine for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from anoma.resource_machine.accumulator import MerklePath
from engines.executor.messages import ExecutorFinished
from engines.ledger import messages as ledger
from engines.mempool_worker import messages as worker
from engines.messages import Message
from engines.wire import Value


@dataclass(frozen=True, slots=True)
class Path(Value):
    """The way from a commitment to the root.

    Attributes:
        position: of the leaf, from 0.
        siblings: the hash beside the way at each height, from the leaf up.
    """

    position: int
    siblings: tuple[bytes, ...]

    def to_merkle_path(self) -> MerklePath:
        """As the resource machine has it."""
        return MerklePath(self.position, self.siblings)


class CommitmentTreeMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "commitment_tree"


@dataclass(frozen=True, slots=True)
class RootRequest(CommitmentTreeMessage):
    """Ask for the root, and how far the tree is."""


@dataclass(frozen=True, slots=True)
class RootReply(CommitmentTreeMessage):
    """The tree, as a block has left it.

    Attributes:
        root: 32 bytes. A transaction may name it, unless the tree is empty.
        size: leaves that the tree has.
        round: of the last block that was read.
        behind: blocks that are committed, and not read yet.
        waiting: commitments of the blocks that were read that are not in the tree yet.
        failure: why the tree does not follow at the moment; None: it does.
    """

    root: bytes
    size: int
    round: int
    behind: int = 0
    waiting: int = 0
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class WitnessRequest(CommitmentTreeMessage):
    """Ask for the path from a commitment to the root.

    Attributes:
        commitment: of a resource.
    """

    commitment: bytes


@dataclass(frozen=True, slots=True)
class WitnessReply(CommitmentTreeMessage):
    """The path.

    Attributes:
        commitment: as in the request.
        root: where the path leads to.
        size: leaves of the tree that has this root.
        path: None: the commitment is not in that tree, or not yet.
    """

    commitment: bytes
    root: bytes
    size: int
    path: Path | None


@dataclass(frozen=True, slots=True)
class CommitmentTreeFailed(CommitmentTreeMessage):
    """A request was not carried out.

    Attributes:
        text: why, and what to do.
    """

    text: str


MESSAGES: Final[tuple[type[Message], ...]] = (
    RootRequest,
    RootReply,
    WitnessRequest,
    WitnessReply,
    CommitmentTreeFailed,
    ledger.Subscribe,
    ledger.BlockCommitted,
    ledger.Degraded,
    ledger.Recovered,
    ledger.HeightsRequest,
    ledger.HeightsReply,
    ledger.ItemRequest,
    ledger.ItemReply,
    ledger.BlockRequest,
    ledger.BlockReply,
    ledger.ReadRequest,
    ledger.ReadReply,
    ledger.TransactionRequest,
    ledger.TransactionReply,
    ledger.PutItems,
    ledger.Changed,
    ledger.LedgerFailed,
    worker.TransactionRequest,
    worker.TransactionAck,
    worker.TransactionRejected,
    ExecutorFinished,
)
