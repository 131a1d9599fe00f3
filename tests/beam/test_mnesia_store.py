"""The ledger on a BEAM."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import gevent
import pytest

from engines.ledger.errors import (
    BeamUnavailable,
    LedgerError,
    NewerSchema,
    NoMnesia,
    NotALedger,
    StoreLocked,
)
from engines.ledger.mnesia_store import IMPORTING, MnesiaStore
from engines.ledger.records import Heights
from engines.ledger.rows import BLOCKS, META, SCHEMA, TRANSACTIONS
from erlang_bridge import Atom, Node
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.plugin import BeamFactory, NodeFactory
from erlang_bridge.testing.releases import BeamRelease
from tests.ledgers import Reopen, StoreSuite, done, entries, entry, fill, findings


@pytest.fixture(scope="module")
def mnesia(
    beam_release: BeamRelease, epmd_port: int, beam_cookie: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Beam]:
    """A BEAM with Mnesia, for all tests of the module: each has tables of its own."""
    directory = tmp_path_factory.mktemp("mnesia")
    with Beam(beam_release, epmd_port=epmd_port, cookie=beam_cookie, directory=directory) as beam:
        yield beam
        beam.check_not_crashed()


@pytest.mark.otp_application("mnesia")
class TestMnesiaStore(StoreSuite):
    @pytest.fixture
    def reopen(self, mnesia: Beam, node: Node) -> Iterator[Reopen]:
        name = f"t{secrets.token_hex(4)}"
        with ExitStack() as opened:
            yield lambda: opened.enter_context(MnesiaStore(node.rpc, mnesia.name, owner=node.name, name=name))


with_mnesia = pytest.mark.otp_application("mnesia")


def a_name() -> str:
    """Of tables that no other test has."""
    return f"t{secrets.token_hex(4)}"


# -- whose it is ------------------------------------------------------------------------------


@with_mnesia
def test_one_node_at_a_time(mnesia: Beam, node_factory: NodeFactory) -> None:
    one, two = node_factory(), node_factory()
    name = a_name()
    first = MnesiaStore(one.rpc, mnesia.name, owner=one.name, name=name)
    fill(first)
    with pytest.raises(StoreLocked, match=f"the ledger on {mnesia.name} belongs to {one.name}"):
        MnesiaStore(two.rpc, mnesia.name, owner=two.name, name=name)
    first.close()
    with MnesiaStore(two.rpc, mnesia.name, owner=two.name, name=name) as second:
        assert second.heights() == Heights(4, 6, 9)


@with_mnesia
@pytest.mark.fault
def test_one_that_was_away_cannot_write_any_more(mnesia: Beam, node_factory: NodeFactory) -> None:
    one, two = node_factory(), node_factory()
    name = a_name()
    first = MnesiaStore(one.rpc, mnesia.name, owner=one.name, name=name)
    fill(first)
    mnesia.eval("erlang:disconnect_node(N)", N=one.name)
    second = MnesiaStore(two.rpc, mnesia.name, owner=two.name, name=name)
    second.append([entry(9)])
    with pytest.raises(StoreLocked, match=f"belongs to {two.name}"):
        first.append([entry(9)])
    first.close()
    assert second.append([entry(10)]).next_fingerprint == 11
    assert findings(second) == []


@with_mnesia
def test_a_ledger_that_is_opened_again_by_its_node(mnesia: Beam, node: Node) -> None:
    name = a_name()
    first = MnesiaStore(node.rpc, mnesia.name, owner=node.name, name=name)
    second = MnesiaStore(node.rpc, mnesia.name, owner=node.name, name=name)
    with pytest.raises(StoreLocked):
        fill(first)
    fill(second)
    first.close()
    assert second.append([entry(9)]).next_fingerprint == 10


# -- what the BEAM has ------------------------------------------------------------------------


def test_a_beam_without_mnesia(beam: Beam, node: Node) -> None:
    beam.eval(
        '[code:del_path(Path) || Path <- code:get_path(), string:find(Path, "mnesia") =/= nomatch],'
        "code:purge(mnesia), code:delete(mnesia)"
    )
    with pytest.raises(NoMnesia, match=f"{beam.name} has no Mnesia: the application 'mnesia' is not part of"):
        MnesiaStore(node.rpc, beam.name, owner=node.name)


def test_no_beam(node: Node) -> None:
    with pytest.raises(BeamUnavailable, match=r"the ledger's BEAM nobody@127.0.0.1 does not answer: .*start it again"):
        MnesiaStore(node.rpc, "nobody@127.0.0.1", owner=node.name)


@with_mnesia
def test_tables_of_others(mnesia: Beam, node: Node) -> None:
    foreign, newer = a_name(), a_name()
    mnesia.eval("{atomic, ok} = mnesia:create_table(T, [])", T=Atom(f"{foreign}_blocks"))
    with pytest.raises(NotALedger, match="has tables of these names"):
        MnesiaStore(node.rpc, mnesia.name, owner=node.name, name=foreign)
    mnesia.eval(
        "{atomic, ok} = mnesia:create_table(T, [{user_properties, [{pyanoma_ledger, N}]}])",
        T=Atom(f"{newer}_blocks"),
        N=SCHEMA + 1,
    )
    with pytest.raises(NewerSchema, match=f"they have schema {SCHEMA + 1}, this one knows {SCHEMA}"):
        MnesiaStore(node.rpc, mnesia.name, owner=node.name, name=newer)


@with_mnesia
def test_a_schema_in_memory_is_moved_to_disc(beam: Beam, node: Node) -> None:
    assert beam.eval("mnesia:start(), mnesia:table_info(schema, storage_type)") is Atom("ram_copies")
    with MnesiaStore(node.rpc, beam.name, owner=node.name) as store:
        fill(store)
    assert beam.eval("mnesia:table_info(schema, storage_type)") is Atom("disc_copies")
    assert beam.eval("mnesia:table_info(pyanoma_blocks, attributes)") == [
        Atom(name) for name in ("round", "first", "last", "previous_hash", "hash")
    ]


@with_mnesia
def test_a_directory_that_cannot_be_written(beam: Beam, node: Node) -> None:
    with pytest.raises(NoMnesia, match=r"it needs a directory that it may write \(-mnesia dir"):
        MnesiaStore(node.rpc, beam.name, owner=node.name, directory="/proc/nothing/here")


# -- faults -----------------------------------------------------------------------------------


@with_mnesia
@pytest.mark.fault
def test_the_beam_goes_away_and_comes_back(beam_factory: BeamFactory, node: Node) -> None:
    beam = beam_factory()
    store = MnesiaStore(node.rpc, beam.name, owner=node.name, directory=str(beam.directory / "data"))
    fill(store)
    beam.kill()
    with pytest.raises(BeamUnavailable):
        store.read(b"k", 99)
    with pytest.raises(BeamUnavailable):
        store.append([entry(9)])
    beam.restart()
    assert store.read(b"k", 99) == 6
    assert store.heights() == Heights(4, 6, 9)
    assert store.append([entry(9)]).next_fingerprint == 10
    assert beam.eval("mnesia:stop()") is Atom("stopped")
    with pytest.raises(BeamUnavailable):
        store.read(b"k", 99)
    assert store.read(b"k", 99) == 6
    assert findings(store) == []
    store.close()


@with_mnesia
@pytest.mark.fault
def test_kill_9_of_the_beam_between_any_two_writes(beam_factory: BeamFactory, node: Node, rng: random.Random) -> None:
    beam = beam_factory()
    store = MnesiaStore(node.rpc, beam.name, owner=node.name, timeout_s=10)
    acknowledged = Heights()
    for _ in range(4):
        killer = gevent.spawn_later(rng.uniform(0.05, 0.4), beam.kill)
        try:
            while True:
                heights = store.heights()
                assert heights.next_round >= acknowledged.next_round
                assert heights.committed >= acknowledged.committed
                assert heights.next_fingerprint >= acknowledged.next_fingerprint
                first = heights.committed + 1
                new = entries(heights.next_fingerprint, first + 2)
                acknowledged = store.persist(
                    new, [done(i, (b"k", i), (i, b"x" * 500)) for i in range(first, first + 3)]
                ).heights
        except LedgerError as error:
            assert isinstance(error, BeamUnavailable), error
        killer.join()
        beam.restart()
    assert findings(store) == []
    assert store.heights().committed >= acknowledged.committed > 3
    store.close()


@with_mnesia
def test_what_an_interrupted_import_has_left_is_cleared(mnesia: Beam, node: Node) -> None:
    name = a_name()
    store = MnesiaStore(node.rpc, mnesia.name, owner=node.name, name=name)
    store._write({(META, (IMPORTING,)): (IMPORTING, b"")})
    store._write({(BLOCKS, (n,)): (n, n, n, b"", b"") for n in range(700)} | {(TRANSACTIONS, (1,)): (1, 1, b"")})
    with MnesiaStore(node.rpc, mnesia.name, owner=node.name, name=name) as again:
        assert findings(again) == []
        fill(again)
        assert findings(again) == []
