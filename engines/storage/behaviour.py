"""What a Storage does: keeps chunks until they expire, and gives them to those who may have them.

With a ledger in its settings, chunks last: they are written there before the reply says that they are kept, and read
back at the start.

Differences from the specification:

* How a chunk's children come is open there: with it, in one reply, as far as they fit.
* An access list names its owner: otherwise nobody could check its signature. A newer one of the same owner takes the
  place of the one in the chunk, which cannot change, as it is part of the chunk's digest.
* For nodes that may not read a chunk it does not exist.
* A chunk that is refused is refused in words.
* There are messages for commitments and for newer access lists.

Pure: a function of environment and message to effects.

Source: nspec v0.2.0, "Storage"; the behaviour is ours, the specification has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from anoma.chunks import ACL, Chunk, ChunkID, chunk_from
from anoma.crypto import PrivateKey
from anoma.persistent_map import PersistentMap
from engines.effects import Effects, SetTimer
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed, on_outcome, on_started
from engines.messages import Address, EngineID, Envelope
from engines.network_registry.adverts import NodeID, is_remote, is_signed_by, node_of, signed
from engines.network_registry.work import Work, ignore_remote
from engines.storage.messages import (
    MESSAGES,
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
    NotFound,
    Saved,
    Stored,
    UpdateACL,
)
from engines.wire import conversion_for, settings_from
from erlang_bridge.etf.conversions import Mismatch
from erlang_bridge.terms import Atom

SWEEP: Final = "sweep"
RELOAD: Final = "reload"
RELOAD_S: Final = 1.0
_ACL: Final = Atom("acl")
_ACL_CONVERSION: Final = conversion_for(ACL)

Expiring = ChunkID | tuple[ChunkID, NodeID]
"""What is to be forgotten: a chunk, or a node's commitment."""


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """One storage.

    Attributes:
        key: the node's own, to sign commitments; None: it makes none.
        ledger: name of the engine that keeps the chunks; None: they end with the storage.
        table: of the ledger.
        put_from_nodes: whether other nodes may store chunks here.
        max_chunks, max_bytes: of what is kept.
        max_commitments: of other nodes.
        max_reply: bytes of chunks in one reply.
        max_early: requests that wait until all is read back from the ledger.
        sweep_s: within which time what has expired is forgotten; nobody gets it from the moment on that it has.
    """

    key: PrivateKey | None = None
    ledger: str | None = None
    table: str = "chunks"
    put_from_nodes: bool = False
    max_chunks: int = 1_000_000
    max_bytes: int = 1 << 30
    max_commitments: int = 100_000
    max_reply: int = 512 << 10
    max_early: int = 1_000
    sweep_s: int = 10


@dataclass(frozen=True, slots=True)
class StorageState:
    """What is kept.

    Attributes:
        chunks: by id.
        size: of all chunks, in bytes.
        commitments: of other nodes, by chunk and node.
        committed: how many they are.
        owners: of access lists in chunks, and in how many.
        acls: by owner, those that are newer than the ones in the chunks.
        buckets: what expires, by the time, in units of `sweep_s`.
        swept: the last bucket that is empty.
        is_loading: whether chunks are still to be read back.
        early: requests that wait for that.
        saving: chunks that are being written, and who waits for it.
        unsaved: those that are to be written after that, and what is to be deleted: None.
        is_saving: whether a write is under way.
        written: the keys of that write.
    """

    chunks: PersistentMap[ChunkID, Chunk] = field(default_factory=PersistentMap)
    size: int = 0
    commitments: PersistentMap[ChunkID, PersistentMap[NodeID, ChunkCommitment]] = field(default_factory=PersistentMap)
    committed: int = 0
    owners: PersistentMap[bytes, int] = field(default_factory=PersistentMap)
    acls: PersistentMap[bytes, ACL] = field(default_factory=PersistentMap)
    buckets: PersistentMap[int, PersistentMap[Expiring, bool]] = field(default_factory=PersistentMap)
    swept: int = 0
    is_loading: bool = False
    early: tuple[Envelope, ...] = ()
    saving: PersistentMap[ChunkID, tuple[Envelope, ...]] = field(default_factory=PersistentMap)
    unsaved: PersistentMap[Any, Any] = field(default_factory=PersistentMap)
    is_saving: bool = False
    written: tuple[Any, ...] = ()


# -- operations -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """Read rows back from the ledger; `Loaded` comes of it."""

    ledger: str
    table: str
    after: Any


@dataclass(frozen=True, slots=True)
class Save:
    """Write rows to the ledger, and delete some; `Saved` comes of it."""

    ledger: str
    table: str
    items: tuple[tuple[Any, Any], ...]
    deleted: tuple[Any, ...]


# -- actions ----------------------------------------------------------------------------------

Step = Work[StorageState]


def start(args: Any) -> tuple[StorageSettings, StorageState]:
    """The settings, and the first state.

    Raises:
        ValueError: `args` is not `StorageSettings`, or a map of its fields.
    """
    settings = settings_from(StorageSettings, args)
    if settings.sweep_s < 1:
        raise ValueError(f"expected at least 1 s as sweep_s, got {settings.sweep_s}")
    return settings, StorageState(is_loading=settings.ledger is not None)


def begin(turn: Turn[StorageState], _args: None) -> Effects[StorageState]:
    """Begin to read back what is in the ledger, and to forget what expires."""
    work = Work(turn)
    settings: StorageSettings = turn.settings
    work.state = replace(work.state, swept=int(turn.time_s) // settings.sweep_s - 1)
    work.timers.append(SetTimer(SWEEP, float(settings.sweep_s)))
    if settings.ledger is not None:
        work.operations.append(Load(settings.ledger, settings.table, None))
    return work.effects()


# -- what others ask for ----------------------------------------------------------------------


def get(turn: Turn[StorageState], _args: None) -> Effects[StorageState]:
    """Give a chunk to one who may have it, or tell who has promised to keep it."""
    message = turn.message
    assert isinstance(message, ChunkGetRequest)
    state = turn.state
    settings: StorageSettings = turn.settings
    if state.is_loading and message.chunk not in state.chunks and len(state.early) < settings.max_early:
        return Effects(replace(state, early=(*state.early, turn.envelope)))
    return Effects(state, replies=(found(turn, message, turn.sender),))


def found(turn: Turn[StorageState], request: ChunkGetRequest, sender: Address | None) -> ChunkGetReply:
    """The reply to a request."""
    state = turn.state
    chunk = readable(turn, request.chunk, sender)
    if chunk is not None:
        descendants, is_complete = below(turn, chunk, request.children, sender)
        return ChunkGetReply(request.chunk, ChunkGetReplyOkContent(chunk, descendants, is_complete))
    if request.chunk in state.chunks and readable(turn, request.chunk, None) is not None:
        return ChunkGetReply(request.chunk, NotFound())
    known: PersistentMap[NodeID, ChunkCommitment] = state.commitments.get(request.chunk, PersistentMap())
    valid = [commitment for commitment in known.values() if commitment.expiry > turn.time_s]
    if not valid:
        return ChunkGetReply(request.chunk, NotFound())
    latest = sorted(valid, key=lambda commitment: (-commitment.expiry, commitment.node))
    return ChunkGetReply(request.chunk, ChunkGetReplyOkCommitment(tuple(latest)))


def readable(turn: Turn[StorageState], chunk: ChunkID, sender: Address | None) -> Chunk | None:
    """A chunk that is here and has not expired, if its access list lets the sender have it."""
    state = turn.state
    held: Chunk | None = state.chunks.get(chunk)
    if held is None or held.expiry <= turn.time_s:
        return None
    if held.acl is None or not is_remote(sender):
        return held
    assert isinstance(sender, EngineID)
    acl = state.acls.get(held.acl.owner)
    newest = acl if acl is not None and acl.version > held.acl.version else held.acl
    return held if node_of(sender.node) in newest.members else None


def below(
    turn: Turn[StorageState], chunk: Chunk, children: bool | int, sender: Address | None
) -> tuple[tuple[Chunk, ...], bool]:
    """What is below a chunk, level by level, as much as fits in one reply; and whether that is all."""
    settings: StorageSettings = turn.settings
    levels = (10_000 if children else 0) if isinstance(children, bool) else children
    size = chunk.size
    given: list[Chunk] = []
    seen: set[ChunkID] = set()
    level = [chunk]
    while levels > 0 and level:
        levels -= 1
        lower = []
        for child in (child for parent in level for child in parent.children):
            if child in seen:
                continue
            seen.add(child)
            held = readable(turn, child, sender)
            if held is None or size + held.size > settings.max_reply:
                return tuple(given), False
            size += held.size
            given.append(held)
            lower.append(held)
        level = lower
    return tuple(given), True


def put(turn: Turn[StorageState], _args: None) -> Effects[StorageState]:
    """Keep a chunk, if it is in order and there is room."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, ChunkPutRequest)
    chunk = message.chunk
    state = turn.state
    settings: StorageSettings = turn.settings
    chunk_id = chunk.id
    reason = objection(work, chunk)
    if reason is not None:
        return Effects(state, replies=(ChunkPutReply(chunk_id, Failed(reason)),))
    if chunk_id in state.chunks:
        waiting = state.saving.get(chunk_id)
        if waiting is None:
            return Effects(state, replies=(ChunkPutReply(chunk_id, Exists()),))
        return Effects(replace(state, saving=state.saving.put(chunk_id, (*waiting, turn.envelope))))
    add(work, chunk_id, chunk)
    if settings.ledger is None:
        work.replies.append(ChunkPutReply(chunk_id, Stored()))
        return work.effects()
    work.state = replace(work.state, saving=work.state.saving.put(chunk_id, (turn.envelope,)))
    save(work, chunk_id, chunk.__erlang_term__())
    return work.effects()


def objection(work: Step, chunk: Chunk) -> str | None:
    """Why a chunk is not kept; None: it is."""
    state = work.state
    settings: StorageSettings = work.settings
    if is_remote(work.turn.sender) and not settings.put_from_nodes:
        return "other nodes may not store chunks here"
    if chunk.expiry <= work.now:
        return "the chunk has expired"
    if chunk.acl is not None and not chunk.acl.holds():
        return "the access list is not signed by its owner"
    if len(state.chunks) >= settings.max_chunks or state.size + chunk.size > settings.max_bytes:
        return f"there is no room: {len(state.chunks)} chunks with {state.size} bytes are kept"
    return None


def add(work: Step, chunk_id: ChunkID, chunk: Chunk) -> None:
    """Keep a chunk."""
    state = work.state
    owners = state.owners
    if chunk.acl is not None:
        owners = owners.put(chunk.acl.owner, owners.get(chunk.acl.owner, 0) + 1)
    work.state = replace(state, chunks=state.chunks.put(chunk_id, chunk), size=state.size + chunk.size, owners=owners)
    expire(work, chunk_id, chunk.expiry)


def remove(work: Step, chunk_id: ChunkID) -> None:
    """Forget a chunk, and access lists that were for it alone."""
    state = work.state
    chunk: Chunk | None = state.chunks.get(chunk_id)
    if chunk is None:
        return
    owners, acls = state.owners, state.acls
    if chunk.acl is not None:
        owner = chunk.acl.owner
        count = owners.get(owner, 1) - 1
        owners = owners.put(owner, count) if count else owners.without(owner)
        if not count and owner in acls:
            acls = acls.without(owner)
            save(work, (_ACL, owner), None)
            state = work.state
    work.state = replace(
        state, chunks=state.chunks.without(chunk_id), size=state.size - chunk.size, owners=owners, acls=acls
    )


def expire(work: Step, what: Expiring, expiry: int) -> None:
    """See to it that something is forgotten when its time has come."""
    state = work.state
    number = max(expiry // work.settings.sweep_s, state.swept + 1)
    bucket: PersistentMap[Expiring, bool] = state.buckets.get(number, PersistentMap())
    work.state = replace(state, buckets=state.buckets.put(number, bucket.put(what, True)))


def commit(turn: Turn[StorageState], _args: None) -> Effects[StorageState]:
    """Promise to keep a chunk."""
    message = turn.message
    assert isinstance(message, ChunkCommitRequest)
    settings: StorageSettings = turn.settings
    chunk = readable(turn, message.chunk, turn.sender)
    if chunk is None or settings.key is None or message.expiry <= turn.time_s:
        return Effects(turn.state, replies=(ChunkCommitReply(message.chunk, NotFound()),))
    expiry = min(message.expiry, chunk.expiry)
    commitment = signed(ChunkCommitment(message.chunk, settings.key.public.data, expiry), settings.key)
    return Effects(turn.state, replies=(ChunkCommitReply(message.chunk, commitment),))


def committed(turn: Turn[StorageState], _args: None) -> Effects[StorageState]:
    """Remember another node's promise, if it has signed it."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, ChunkCommitted)
    commitment = message.commitment
    state = turn.state
    known: PersistentMap[NodeID, ChunkCommitment] = state.commitments.get(commitment.chunk, PersistentMap())
    earlier = known.get(commitment.node)
    if commitment.expiry <= turn.time_s or (earlier is not None and earlier.expiry >= commitment.expiry):
        return Effects(turn.state)
    if earlier is None and state.committed >= turn.settings.max_commitments:
        return Effects(turn.state)
    if not is_signed_by(commitment, commitment.node):
        return Effects(turn.state)
    known = known.put(commitment.node, commitment)
    work.state = replace(
        state,
        commitments=state.commitments.put(commitment.chunk, known),
        committed=state.committed + (earlier is None),
    )
    expire(work, (commitment.chunk, commitment.node), commitment.expiry)
    return work.effects()


def update_acl(turn: Turn[StorageState], _args: None) -> Effects[StorageState]:
    """Go by a newer access list, if its owner has signed it and there is a chunk that it is about."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, UpdateACL)
    acl = message.acl
    earlier = turn.state.acls.get(acl.owner)
    if acl.owner not in turn.state.owners or (earlier is not None and earlier.version >= acl.version):
        return Effects(turn.state)
    if not acl.holds():
        return Effects(turn.state)
    work.state = replace(work.state, acls=work.state.acls.put(acl.owner, acl))
    save(work, (_ACL, acl.owner), acl.__erlang_term__())
    return work.effects()


# -- what lasts -------------------------------------------------------------------------------


def save(work: Step, key: Any, value: Any) -> None:
    """Write a row to the ledger, with what gathers while another write is under way; None deletes it."""
    settings: StorageSettings = work.settings
    if settings.ledger is None:
        return
    work.state = replace(work.state, unsaved=work.state.unsaved.put(key, value))
    save_next(work)


def save_next(work: Step) -> None:
    """Write what has gathered."""
    state = work.state
    settings: StorageSettings = work.settings
    if state.is_saving or not len(state.unsaved) or settings.ledger is None:
        return
    items = tuple((key, value) for key, value in state.unsaved.items() if value is not None)
    deleted = tuple(key for key, value in state.unsaved.items() if value is None)
    written = tuple(key for key, _ in items)
    work.state = replace(state, unsaved=PersistentMap(), is_saving=True, written=written)
    work.operations.append(Save(settings.ledger, settings.table, items, deleted))


def saved(turn: Turn[StorageState], _args: None) -> Effects[StorageState]:
    """Tell those who wait that their chunks are kept, or why not."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Saved)
    written = work.state.written
    work.state = replace(work.state, is_saving=False, written=())
    for key in written:
        waiting = work.state.saving.get(key, ())
        work.state = replace(work.state, saving=work.state.saving.without(key))
        if message.failure is not None and isinstance(key, bytes):
            remove(work, key)
        result = Stored() if message.failure is None else Failed(message.failure)
        for envelope in waiting:
            reply = envelope.reply(turn.own, ChunkPutReply(key, result))
            if reply is not None:
                work.messages.append(reply)
    save_next(work)
    return work.effects()


def loaded(turn: Turn[StorageState], _args: None) -> Effects[StorageState]:
    """Keep what was read back; go on with the next rows, or answer those who have waited."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Loaded)
    settings: StorageSettings = turn.settings
    assert settings.ledger is not None
    if message.failure is not None:
        work.timers.append(SetTimer(RELOAD, RELOAD_S))
        return work.effects()
    for key, value in message.items:
        load(work, key, value)
    if message.after is not None:
        work.operations.append(Load(settings.ledger, settings.table, message.after))
        return work.effects()
    early = work.state.early
    work.state = replace(work.state, is_loading=False, early=())
    now = turn.with_environment(replace(turn.environment, state=work.state))
    for envelope in early:
        assert isinstance(envelope.message, ChunkGetRequest)
        reply = envelope.reply(turn.own, found(now, envelope.message, envelope.sender))
        if reply is not None:
            work.messages.append(reply)
    return work.effects()


def load(work: Step, key: Any, value: Any) -> None:
    """Keep one row. What is not what it was when it was written is deleted: the digest says so."""
    try:
        if isinstance(key, bytes):
            chunk = chunk_from(value)
            if chunk.id == key and chunk.expiry > work.now:
                if key not in work.state.chunks:
                    add(work, key, chunk)
                return
        elif isinstance(key, tuple) and _ACL_CONVERSION.from_term is not None:
            acl = _ACL_CONVERSION.from_term(value)
            if acl.holds():
                work.state = replace(work.state, acls=work.state.acls.put(acl.owner, acl))
                return
    except Mismatch:
        pass
    save(work, key, None)


def elapsed(turn: Turn[StorageState], _args: None) -> Effects[StorageState]:
    """Forget what has expired; try again to read back what is in the ledger."""
    work = Work(turn)
    settings: StorageSettings = turn.settings
    handles = turn.handles
    if RELOAD in handles and settings.ledger is not None:
        work.operations.append(Load(settings.ledger, settings.table, None))
    if SWEEP in handles:
        work.timers.append(SetTimer(SWEEP, float(settings.sweep_s)))
        sweep(work)
    return work.effects()


def sweep(work: Step) -> None:
    """Forget what has expired."""
    last = int(work.now) // work.settings.sweep_s - 1
    state = work.state
    if last - state.swept > len(state.buckets):
        due = sorted(number for number in state.buckets if number <= last)
    else:
        due = [number for number in range(state.swept + 1, last + 1) if number in state.buckets]
    for number in due:
        for what in work.state.buckets[number]:
            forget(work, what)
        work.state = replace(work.state, buckets=work.state.buckets.without(number))
    work.state = replace(work.state, swept=max(work.state.swept, last))


def forget(work: Step, what: Expiring) -> None:
    """Forget a chunk, or a node's promise, unless there is a later one by now."""
    state = work.state
    if isinstance(what, bytes):
        remove(work, what)
        save(work, what, None)
        return
    chunk, node = what
    known: PersistentMap[NodeID, ChunkCommitment] = state.commitments.get(chunk, PersistentMap())
    commitment = known.get(node)
    if commitment is None or commitment.expiry > work.now:
        return
    known = known.without(node)
    kept = state.commitments.put(chunk, known) if len(known) else state.commitments.without(chunk)
    work.state = replace(state, commitments=kept, committed=state.committed - 1)


def _from_here(turn: Turn[StorageState]) -> bool:
    return not is_remote(turn.sender)


BEHAVIOUR: Final[EngineBehaviour[StorageState]] = EngineBehaviour(
    "storage",
    MESSAGES,
    start,
    First(
        on_started(begin),
        on(ChunkGetRequest, get),
        on(ChunkPutRequest, put),
        on(ChunkCommitRequest, commit, when=_from_here),
        on(ChunkCommitted, committed),
        on(UpdateACL, update_acl),
        on_outcome(Saved, saved),
        on_outcome(Loaded, loaded),
        on_elapsed(elapsed),
        ignore_remote,
    ),
)
