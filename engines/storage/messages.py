"""What a Storage takes and sends.

========================  ==============================================  ==========================
message                   what it says                                    reply
========================  ==============================================  ==========================
`ChunkGetRequest`         give me a chunk                                 `ChunkGetReply`
`ChunkPutRequest`         keep a chunk                                    `ChunkPutReply`
`ChunkCommitRequest`      promise to keep a chunk                         `ChunkCommitReply`
`ChunkCommitted`          another node has promised                       none
`UpdateACL`               who may read has changed                        none
`Loaded` `Saved`          what came of its operations                     none
========================  ==============================================  ==========================

Source: nspec v0.2.0, "Storage messages", "Storage types". The specification has commitments and access lists, and no
messages that bring them: the last five are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from anoma.chunks import ACL, Chunk, ChunkID
from anoma.crypto import EMPTY_COMMITMENT, Signature
from engines.messages import Message
from engines.network_registry.adverts import NodeID, expect_id
from engines.wire import Value


class StorageMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "storage"


@dataclass(frozen=True, slots=True)
class ChunkCommitment(Value):
    """A node promises to keep a chunk.

    Attributes:
        chunk: its id.
        node: who promises.
        expiry: until when, in seconds since 1970-01-01 UTC.
        sig: of the node over the other fields.
    """

    chunk: ChunkID
    node: NodeID
    expiry: int
    sig: Signature = EMPTY_COMMITMENT

    def __post_init__(self) -> None:
        expect_id(self.chunk, "the id of a chunk")
        expect_id(self.node, "the id of a node")


@dataclass(frozen=True, slots=True)
class ChunkGetRequest(StorageMessage):
    """Ask for a chunk.

    Attributes:
        chunk: its id.
        children: also for what is below it: ``false`` nothing, ``true`` all, a number so many levels.
    """

    chunk: ChunkID
    children: bool | int = False


@dataclass(frozen=True, slots=True)
class ChunkGetReplyOkContent(Value):
    """The chunk is here.

    Attributes:
        chunk: the one that was asked for.
        descendants: what was asked for besides, as far as it is here, level by level.
        is_complete: whether that is all of it; the rest may not be here, or be too much for one reply.
    """

    chunk: Chunk
    descendants: tuple[Chunk, ...] = ()
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class ChunkGetReplyOkCommitment(Value):
    """The chunk is not here; these nodes have promised to keep it.

    Attributes:
        commitments: signed; to be asked in turn.
    """

    commitments: tuple[ChunkCommitment, ...]


@dataclass(frozen=True, slots=True)
class NotFound(Value):
    """There is no such chunk here, or not for the one who asks."""


@dataclass(frozen=True, slots=True)
class ChunkGetReply(StorageMessage):
    """The chunk, or where it is.

    Attributes:
        chunk: as in the request.
        result: what is known of it.
    """

    chunk: ChunkID
    result: ChunkGetReplyOkContent | ChunkGetReplyOkCommitment | NotFound


@dataclass(frozen=True, slots=True)
class ChunkPutRequest(StorageMessage):
    """Keep a chunk until it expires.

    Attributes:
        chunk: with its children's ids; the children need not be here.
    """

    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Stored(Value):
    """It is kept from now on."""


@dataclass(frozen=True, slots=True)
class Exists(Value):
    """It is kept already."""


@dataclass(frozen=True, slots=True)
class Failed(Value):
    """It is not kept.

    Attributes:
        reason: in words.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class ChunkPutReply(StorageMessage):
    """Whether a chunk is kept.

    Attributes:
        chunk: its id.
        result: whether it is.
    """

    chunk: ChunkID
    result: Stored | Exists | Failed


@dataclass(frozen=True, slots=True)
class ChunkCommitRequest(StorageMessage):
    """Promise to keep a chunk that is here. For engines of this node and its cluster only.

    Attributes:
        chunk: its id.
        expiry: until when, in seconds since 1970-01-01 UTC; the chunk's own expiry, if that is earlier.
    """

    chunk: ChunkID
    expiry: int


@dataclass(frozen=True, slots=True)
class ChunkCommitReply(StorageMessage):
    """The promise.

    Attributes:
        chunk: as in the request.
        result: signed by this node, or that the chunk is not here, or the node has no key.
    """

    chunk: ChunkID
    result: ChunkCommitment | NotFound


@dataclass(frozen=True, slots=True)
class ChunkCommitted(StorageMessage):
    """Another node has promised to keep a chunk.

    Attributes:
        commitment: signed by that node.
    """

    commitment: ChunkCommitment


@dataclass(frozen=True, slots=True)
class UpdateACL(StorageMessage):
    """Who may read the chunks of an access list's owner has changed.

    Attributes:
        acl: with a higher version, signed by its owner.
    """

    acl: ACL


@dataclass(frozen=True, slots=True)
class Loaded(StorageMessage):
    """Rows of the ledger's table.

    Attributes:
        items: keys and values.
        after: the last key, where there are further rows; None: these were the last.
        failure: why there are none, in words; None: all is well.
    """

    items: tuple[tuple[Any, Any], ...]
    after: Any = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Saved(StorageMessage):
    """Changes of the ledger's table are made.

    Attributes:
        failure: why they are not, in words; None: all is well.
    """

    failure: str | None = None


MESSAGES: Final = (
    ChunkGetRequest,
    ChunkGetReply,
    ChunkPutRequest,
    ChunkPutReply,
    ChunkCommitRequest,
    ChunkCommitReply,
    ChunkCommitted,
    UpdateACL,
    Loaded,
    Saved,
)
