"""The Storage as a process, and what others call to use it.

::

    stored = put_object(node, b"some text", b"secret", int(time.time()) + 3600)
    get_object(node, stored)    # b'some text'
"""

from __future__ import annotations

import logging
from typing import Any

from anoma.chunks import Chunk, ChunkID, ChunkRefused, StoredObject, assemble, cut
from engines.engine import Client, Engine, Refused, ask, tell
from engines.ledger.messages import Changed, ItemsReply, ItemsRequest, LedgerFailed, PutItems
from engines.ledger.records import ABSENT
from engines.messages import EngineID, Message
from engines.network_registry.adverts import node_of
from engines.router.server import request
from engines.storage.behaviour import BEHAVIOUR, Load, Save
from engines.storage.messages import (
    ChunkCommitment,
    ChunkCommitReply,
    ChunkCommitRequest,
    ChunkCommitted,
    ChunkGetReply,
    ChunkGetReplyOkCommitment,
    ChunkGetReplyOkContent,
    ChunkGetRequest,
    ChunkPutReply,
    ChunkPutRequest,
    Exists,
    Failed,
    Loaded,
    Saved,
    Stored,
)
from erlang_bridge import Atom, BridgeError, OwnProcess

log = logging.getLogger("engines.network")

STORAGE = "storage"
"""The name that a node's own is registered under."""

PAGE = 100
"""Rows of the ledger that are read at once."""


def get_chunk(
    client: Client,
    chunk: ChunkID,
    *,
    children: bool | int = False,
    storage: Any = STORAGE,
    timeout_s: float | None = 10.0,
) -> ChunkGetReply:
    """A chunk, or who has it.

    Args:
        storage: its name here, or the `EngineID` of one of another node, with that node's id.

    Raises:
        ErlangExit: no answer.
    """
    message = ChunkGetRequest(chunk, children)
    if isinstance(storage, EngineID) and node_of(storage.node) is not None:
        reply: ChunkGetReply = request(client, storage, message, timeout_s=timeout_s)
    else:
        reply = ask(client, storage, message, timeout_s)
    return reply


def put_chunk(client: Client, chunk: Chunk, storage: Any = STORAGE, timeout_s: float | None = 10.0) -> bool:
    """Keep a chunk; False: it is kept already.

    Raises:
        Refused: it is not, and why. ErlangExit: no answer.
    """
    reply: ChunkPutReply = ask(client, storage, ChunkPutRequest(chunk), timeout_s)
    match reply.result:
        case Stored() | Exists() as result:
            return isinstance(result, Stored)
        case Failed(reason):
            raise Refused((Atom("not_stored"), reason.encode()))


def put_object(
    client: Client, data: bytes, secret: bytes, expiry: int, storage: Any = STORAGE, **options: Any
) -> StoredObject:
    """Keep an object; `options` are those of `anoma.chunks.cut`.

    Returns:
        What reads it again.

    Raises:
        Refused: a chunk of it is not kept, and why. ErlangExit: no answer.
    """
    stored, chunks = cut(data, secret, expiry, **options)
    for chunk in chunks:
        put_chunk(client, chunk, storage)
    return stored


def get_object(client: Client, stored: StoredObject, storage: Any = STORAGE, *, max_size: int = 1 << 30) -> bytes:
    """The content of an object, read level by level; chunks that are not there, from nodes that have promised them.

    Raises:
        ChunkRefused: a chunk is missing or changed. ErlangExit: no answer.
    """
    chunks: dict[ChunkID, Chunk] = {}

    def fetch(chunk: ChunkID) -> Chunk | None:
        if chunk not in chunks:
            for found in _find(client, chunk, storage):
                chunks[found.id] = found
        return chunks.pop(chunk, None)

    return assemble(stored, fetch, max_size=max_size)


def _find(client: Client, chunk: ChunkID, storage: Any) -> tuple[Chunk, ...]:
    result = get_chunk(client, chunk, children=True, storage=storage).result
    if isinstance(result, ChunkGetReplyOkCommitment):
        for commitment in result.commitments:
            other = EngineID(commitment.node.hex(), STORAGE)
            try:
                result = get_chunk(client, chunk, children=True, storage=other).result
            except BridgeError as error:
                log.info("node %s does not give the chunk that it has promised: %s", commitment.node.hex()[:16], error)
                continue
            if isinstance(result, ChunkGetReplyOkContent):
                break
    return (result.chunk, *result.descendants) if isinstance(result, ChunkGetReplyOkContent) else ()


def commit(
    client: Client, chunk: ChunkID, expiry: int, storage: Any = STORAGE, timeout_s: float | None = 5.0
) -> ChunkCommitment | None:
    """This node's promise to keep a chunk; None: it has no such chunk, or no key to sign with."""
    reply: ChunkCommitReply = ask(client, storage, ChunkCommitRequest(chunk, expiry), timeout_s)
    return reply.result if isinstance(reply.result, ChunkCommitment) else None


def committed(client: Client, commitment: ChunkCommitment, storage: Any = STORAGE) -> None:
    """Tell of another node's promise. Does not wait."""
    tell(client, storage, ChunkCommitted(commitment))


class Storage(Engine):
    """Keeps chunks until they expire, and gives them to those who may have them."""

    engine = BEHAVIOUR
    apart = (Load, Save)

    def perform(self, operation: Any, own: OwnProcess) -> Message | None:
        try:
            match operation:
                case Load(ledger, table, after):
                    return _load(own, ledger, table, after)
                case Save(ledger, table, items, deleted):
                    reply = ask(own, ledger, PutItems(table, items, deleted, retry=False), None)
                    return Saved(None if isinstance(reply, Changed) else _failure(reply))
        except BridgeError as error:
            reason = f"the ledger does not answer: {error}"
            log.warning("%s: %s", self.process.name, reason)
            return Saved(reason) if isinstance(operation, Save) else Loaded((), None, reason)
        return None


def _load(own: OwnProcess, ledger: str, table: str, after: Any) -> Loaded:
    reply = ask(own, ledger, ItemsRequest(table, ABSENT if after is None else after, PAGE), None)
    if not isinstance(reply, ItemsReply):
        return Loaded((), None, _failure(reply))
    last = reply.items[-1][0] if reply.more and reply.items else None
    return Loaded(reply.items, last)


def _failure(reply: Any) -> str:
    return reply.text if isinstance(reply, LedgerFailed) else f"the ledger has answered {reply!r:.200}"


__all__ = [
    "STORAGE",
    "ChunkRefused",
    "Storage",
    "commit",
    "committed",
    "get_chunk",
    "get_object",
    "put_chunk",
    "put_object",
]
