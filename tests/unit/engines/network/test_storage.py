"""The Storage: N3, who may read, how long, and what lasts."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anoma.chunks import ACL, Chunk, ChunkRefused, cut
from anoma.crypto import KeyKind, PrivateKey
from engines.engine import Refused, tell
from engines.ledger.behaviour import Backend, LedgerSettings, Synchronous
from engines.ledger.server import Ledger
from engines.messages import EngineID, Message
from engines.network_registry.adverts import signed
from engines.simulation import Simulation
from engines.storage import server as storage
from engines.storage.behaviour import BEHAVIOUR, Load, Save, StorageSettings
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
    NotFound,
    Saved,
    Stored,
    UpdateACL,
)
from erlang_bridge import Atom
from tests.networks import anoma_node
from tests.waiting import until

NOW = 1000.0
KEY = PrivateKey(KeyKind.ED25519, bytes(range(32)))
OTHER = PrivateKey(KeyKind.ED25519, bytes(range(1, 33)))
AT = EngineID(None, "storage")
ME = EngineID("x@127.0.0.1", "me")
REMOTE = EngineID(OTHER.public.data.hex(), "me")


class World:
    """A Storage, and the table of a ledger that can be broken."""

    def __init__(self, **options: Any) -> None:
        self.table: dict[Any, Any] = {}
        self.failure: str | None = None
        self.world = Simulation({"storage": BEHAVIOUR}, self._perform, ordered=True, time_s=NOW)
        self.settings = StorageSettings(**options)
        self.world.spawn("storage", self.settings, "storage")
        self.run()

    def _perform(self, _engine: str, operation: Any) -> Message:
        match operation:
            case Load(_, _, after):
                if self.failure is not None:
                    return Loaded((), None, self.failure)
                keys = sorted(self.table, key=str)
                start = 0 if after is None else keys.index(after) + 1
                page = keys[start : start + 2]
                more = page[-1] if start + 2 < len(keys) else None
                return Loaded(tuple((key, self.table[key]) for key in page), more)
            case Save(_, _, items, deleted):
                if self.failure is None:
                    self.table.update(items)
                    for key in deleted:
                        self.table.pop(key, None)
                return Saved(self.failure)
        raise AssertionError(operation)

    def run(self) -> None:
        while self.world.choices():
            self.world.happen(self.world.choices()[0])

    def ask(self, message: Message, sender: EngineID = ME) -> Any:
        before = len(self.world.outside)
        self.world.send(AT, message, sender=sender)
        self.run()
        replies = self.world.outside[before:]
        return replies[-1].message if replies else None

    def put(self, chunk: Chunk, sender: EngineID = ME) -> Any:
        reply = self.ask(ChunkPutRequest(chunk), sender)
        assert isinstance(reply, ChunkPutReply)
        return reply.result

    def get(self, chunk: bytes, children: bool | int = False, sender: EngineID = ME) -> Any:
        reply = self.ask(ChunkGetRequest(chunk, children), sender)
        assert isinstance(reply, ChunkGetReply)
        return reply.result

    def pass_time(self, seconds: float) -> None:
        end = self.world.time_s + seconds
        while self.state.timers and min(self.state.timers.values()) <= end:
            self.world.fire()
            self.run()
        self.world.time_s = end

    @property
    def state(self) -> Any:
        return self.world.engines["storage"].environment

    def restart(self) -> None:
        self.world.crash("storage")
        self.world.spawn("storage", self.settings, "storage")
        self.run()


def chunk(content: bytes = b"content", **fields: Any) -> Chunk:
    return Chunk(**{"children": (), "expiry": int(NOW) + 100, "content": content, **fields})


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-10, 60), st.booleans()), max_size=20))
def test_n3_what_is_put_is_there_until_it_expires_and_what_has_expired_is_gone(script: list[tuple[int, int, bool]]):
    """Against a dictionary. Time passes between the steps."""
    world = World()
    model: dict[bytes, Chunk] = {}
    for number, expires_in, waits in script:
        made = chunk(bytes([number]), expiry=int(world.world.time_s) + expires_in)
        result = world.put(made)
        if expires_in <= 0:
            assert isinstance(result, Failed)
        elif made.id in model and model[made.id].expiry > world.world.time_s:
            assert result == Exists()
        else:
            model[made.id] = made
        if waits:
            world.pass_time(17.0)
        for chunk_id, known in model.items():
            found = world.get(chunk_id)
            assert found == (ChunkGetReplyOkContent(known) if known.expiry > world.world.time_s else NotFound())
    world.pass_time(100.0)
    state = world.state.state
    assert (len(state.chunks), state.size, len(state.buckets), len(state.owners)) == (0, 0, 0, 0)


def test_children_come_with_it_level_by_level_as_far_as_they_fit():
    world = World(max_reply=2_000)
    stored, chunks = cut(bytes(range(256)), b"", int(NOW) + 50, part_size=16, fan_out=4)
    for one in chunks:
        assert world.put(one) == Stored()
    assert world.get(stored.id) == ChunkGetReplyOkContent(chunks[-1])
    some = world.get(stored.id, 1)
    assert [one.id for one in some.descendants] == list(chunks[-1].children)
    assert some.is_complete
    part = world.get(stored.id, True)
    assert not part.is_complete
    assert sum(one.size for one in part.descendants) <= 2_000
    whole = World()
    for one in chunks:
        whole.put(one)
    assert {one.id for one in whole.get(stored.id, True).descendants} == {one.id for one in chunks[:-1]}
    assert whole.get(stored.id, True).is_complete
    assert world.get(stored.id, -1) == ChunkGetReplyOkContent(chunks[-1])


def test_there_is_only_so_much_room():
    world = World(max_chunks=1)
    assert world.put(chunk()) == Stored()
    assert "no room" in world.put(chunk(b"other")).reason
    assert "no room" in World(max_bytes=100).put(chunk(bytes(100))).reason


def test_other_nodes_store_nothing_unless_they_may():
    assert "other nodes" in World().put(chunk(), REMOTE).reason
    assert World(put_from_nodes=True).put(chunk(), REMOTE) == Stored()


# -- who may read -----------------------------------------------------------------------------


def test_an_access_list_is_for_other_nodes_and_can_be_replaced_by_its_owner():
    world = World()
    acl = ACL.signed(KEY, [])
    guarded = chunk(acl=acl)
    assert "not signed" in world.put(chunk(acl=replace(acl, version=7))).reason
    assert world.put(guarded) == Stored()
    assert world.get(guarded.id) == ChunkGetReplyOkContent(guarded)
    assert world.get(guarded.id, sender=REMOTE) == NotFound()
    newer = ACL.signed(KEY, [OTHER.public.data], 2)
    world.ask(UpdateACL(ACL.signed(OTHER, [OTHER.public.data], 9)), REMOTE)
    world.ask(UpdateACL(replace(newer, version=3)), REMOTE)
    assert world.get(guarded.id, sender=REMOTE) == NotFound()
    world.ask(UpdateACL(newer), REMOTE)
    assert world.get(guarded.id, sender=REMOTE) == ChunkGetReplyOkContent(guarded)
    world.ask(UpdateACL(acl), REMOTE)
    assert world.get(guarded.id, sender=REMOTE) == ChunkGetReplyOkContent(guarded)
    world.pass_time(200.0)
    assert not len(world.state.state.acls)


def test_what_is_below_is_guarded_by_its_own_access_list():
    world = World()
    below = chunk(acl=ACL.signed(KEY, []))
    above = chunk(b"above", children=(below.id,))
    for one in (below, above):
        world.put(one)
    assert world.get(above.id, True).is_complete
    assert world.get(above.id, True, REMOTE) == ChunkGetReplyOkContent(above, (), False)


# -- promises ---------------------------------------------------------------------------------


def test_promises_are_signed_and_end():
    world = World(key=KEY)
    assert world.ask(ChunkCommitRequest(bytes(32), 2000)) == ChunkCommitReply(bytes(32), NotFound())
    world.put(chunk())
    promised = world.ask(ChunkCommitRequest(chunk().id, 5000)).result
    assert (promised.node, promised.expiry) == (KEY.public.data, chunk().expiry)
    assert World().ask(ChunkCommitRequest(chunk().id, 5000)).result == NotFound()

    elsewhere = World()
    elsewhere.ask(ChunkCommitted(replace(promised, expiry=promised.expiry + 1)))
    assert elsewhere.get(promised.chunk) == NotFound()
    elsewhere.ask(ChunkCommitted(promised))
    later = signed(ChunkCommitment(promised.chunk, OTHER.public.data, promised.expiry + 50), OTHER)
    elsewhere.ask(ChunkCommitted(later), REMOTE)
    assert elsewhere.get(promised.chunk) == ChunkGetReplyOkCommitment((later, promised))
    elsewhere.pass_time(110.0)
    assert elsewhere.get(promised.chunk) == ChunkGetReplyOkCommitment((later,))
    elsewhere.pass_time(100.0)
    assert elsewhere.get(promised.chunk) == NotFound()
    assert elsewhere.state.state.committed == 0


# -- what lasts -------------------------------------------------------------------------------


def test_with_a_ledger_it_is_written_before_the_reply_and_read_back():
    world = World(ledger="ledger")
    made = [chunk(bytes([number]), expiry=int(NOW) + 20 + number) for number in range(5)]
    for one in made:
        assert world.put(one) == Stored()
    acl = ACL.signed(KEY, [OTHER.public.data], 2)
    guarded = chunk(acl=ACL.signed(KEY, []))
    world.put(guarded)
    world.ask(UpdateACL(acl))
    world.table[bytes(32)] = made[0].__erlang_term__()
    world.table[b"x"] = 7
    world.restart()
    assert all(world.get(one.id) == ChunkGetReplyOkContent(one) for one in made)
    assert world.get(guarded.id, sender=REMOTE) == ChunkGetReplyOkContent(guarded)
    assert len(world.table) == 7
    world.pass_time(300.0)
    assert world.table == {}


def test_requests_wait_until_all_is_read_back():
    world = World(ledger="ledger")
    world.put(chunk())
    world.failure = "the disk is away"
    world.restart()
    assert world.ask(ChunkGetRequest(chunk().id)) is None
    world.failure = None
    world.pass_time(1.5)
    assert world.world.outside[-1].message == ChunkGetReply(chunk().id, ChunkGetReplyOkContent(chunk()))


def test_what_cannot_be_written_is_not_kept():
    world = World(ledger="ledger")
    world.failure = "the disk is full"
    assert world.put(chunk()) == Failed("the disk is full")
    assert world.get(chunk().id) == NotFound()
    world.failure = None
    assert world.put(chunk()) == Stored()


# -- as a process -----------------------------------------------------------------------------


def test_objects_last_in_a_ledger_on_disk(node_factory, tmp_path):
    ledger = LedgerSettings(Backend.SQLITE, str(tmp_path / "ledger.sqlite"), Synchronous.NORMAL)
    expiry = int(time.time()) + 1000
    data = bytes(range(256)) * 40
    for _ in range(2):
        node = node_factory(engines={}, listen=False)
        node.start(Ledger, ledger, name="ledger")
        node.start(storage.Storage, StorageSettings(ledger="ledger"), name="storage")
        if _ == 0:
            stored = storage.put_object(node, data, b"secret", expiry, part_size=1000)
            assert not storage.put_chunk(node, cut(data, b"secret", expiry, part_size=1000)[1][0])
        assert storage.get_object(node, stored) == data
        node.exit(node.whereis("ledger"), Atom("shutdown"))
        assert until(lambda node=node: node.whereis("ledger") is None)


def test_the_ledger_is_away(node_factory):
    node = node_factory(engines={}, listen=False)
    node.start(storage.Storage, StorageSettings(ledger="ledger"), name="storage")
    with pytest.raises(Refused, match="the ledger does not answer"):
        storage.put_chunk(node, Chunk((), int(time.time()) + 100, b""))
    node.start(Ledger, None, name="ledger")
    assert storage.put_chunk(node, Chunk((), int(time.time()) + 100, b""))


def test_an_object_is_read_from_the_node_that_has_promised_it(node_factory):
    one, other = anoma_node(node_factory), anoma_node(node_factory)
    one.knows(other)
    one.node.start(storage.Storage, StorageSettings(key=one.key), name="storage")
    other.node.start(storage.Storage, StorageSettings(key=other.key), name="storage")
    expiry = int(time.time()) + 1000
    data = bytes(range(256)) * 1000
    acl = ACL.signed(KEY, [one.id])
    stored = storage.put_object(other.node, data, b"secret", expiry, acl=acl, part_size=10_000, fan_out=4)
    with pytest.raises(ChunkRefused, match="missing"):
        storage.get_object(one.node, stored)
    promise = storage.commit(other.node, stored.id, expiry)
    assert promise is not None
    storage.committed(one.node, promise)
    there = EngineID(other.id.hex(), "storage")
    assert storage.get_object(one.node, stored, there) == data
    found = storage.get_chunk(one.node, stored.id, children=True, storage=there).result
    assert isinstance(found, ChunkGetReplyOkContent)
    for one_chunk in (found.chunk, *found.descendants):
        storage.put_chunk(one.node, one_chunk)
    assert storage.get_object(one.node, stored) == data
    tell(other.node, "storage", UpdateACL(ACL.signed(KEY, [], 2)))
    assert until(lambda: storage.get_chunk(one.node, stored.id, storage=there).result == NotFound())
    assert Atom("storage") in other.node.table.names
