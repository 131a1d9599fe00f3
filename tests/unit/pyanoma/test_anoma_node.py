"""The whole node: what a crash of each engine costs, and what goes on while a part of it is down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from anoma.resource_machine.intent import DumbIntent
from engines.engine import ask
from engines.intent_pool.server import add_intent, all_intents
from engines.ledger.messages import BlockRequest
from engines.ledger.server import committed as committed_value
from engines.ledger.sqlite_store import SqliteStore
from engines.mempool_worker.messages import Stage, TransactionCandidate, TransactionLabel, TransactionStatus
from engines.mempool_worker.server import status, submit, transaction_status
from engines.ticker.server import count
from erlang_bridge import Atom, Node
from erlang_bridge.otp.supervisor import restart_child, terminate_child, which_children
from erlang_bridge.testing.programs import free_port
from pyanoma import application, node_tree
from pyanoma.application import Running
from pyanoma.config import ConfigError, NetworkConfig, NodeConfig, OrderingConfig, StorageConfig
from pyanoma.failures import StartFailed
from pyanoma.node_identity import own_identity
from tests.waiting import until

KEY = Atom("n")
ORDERING = {"ledger", "mempool_worker", "pyanoma_shards", "shard-0", "shard-1"}


def config(folder: Path | None = None, **options: Any) -> NodeConfig:
    storage = StorageConfig() if folder is None else StorageConfig("sqlite", folder / "ledger.sqlite")
    return NodeConfig("whole@127.0.0.1", cookie="secret", epmd_port=free_port(), storage=storage, **options)


@pytest.fixture
def running() -> Iterator[Running]:
    made = application.start(config())
    yield made
    made.stop()


def add(node: Node) -> TransactionStatus:
    """One more, in a block."""
    candidate = TransactionCandidate(TransactionLabel((KEY,), (KEY,)), (Atom("python"), Atom("add"), [(KEY, 1)]))
    fingerprint = submit(node, candidate, timeout_s=10).fingerprint
    assert until(lambda: transaction_status(node, fingerprint).stage is Stage.COMMITTED, 10)
    return transaction_status(node, fingerprint)


def members(node: Node, supervisor: str = "pyanoma_sup") -> dict[str, Any]:
    """Name to pid of everybody below a supervisor."""
    found = {}
    for name, pid, kind, _ in which_children(node, supervisor):
        found[name.name] = pid
        if kind is Atom("supervisor"):
            found.update(members(node, name.name))
    return found


def test_every_engine_comes_back_and_its_crash_costs_nobody_else(running: Running):
    node = running.node
    add(node)
    names = [name for name in members(node) if not name.startswith("pyanoma_")]
    assert len(names) > 20
    for name in names:
        before = members(node)
        node.exit(before[name], Atom("kill"))
        # The ledger's and the worker's end are that of ordering from there on.
        lost = {"ledger": ORDERING, "mempool_worker": ORDERING - {"ledger"}}.get(name, {name})
        assert until(
            lambda lost=lost, before=before: all(node.whereis(each) not in (None, before[each]) for each in lost)
        )
        after = members(node)
        assert {each for each in before if after[each] != before[each]} == lost, name
        gevent.sleep(0.01)
    if not until(lambda: status(node).ready):
        pytest.fail(f"the worker is not ready: {status(node)}")
    assert add(node).success
    assert count(node) == 0


def test_the_pool_accepts_while_the_solver_is_down(running: Running):
    node = running.node
    terminate_child(node, "pyanoma_intents", "solver")
    for value in (3, -3, 1):
        add_intent(node, DumbIntent(value))
    gevent.sleep(0.1)
    assert len(all_intents(node)) == 3
    restart_child(node, "pyanoma_intents", "solver")
    assert node.whereis("solver") is not None


def test_reads_go_on_while_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = application.start(config(tmp_path))
    node = made.node
    try:
        add(node)
        write = SqliteStore._write

        def slowly(self: SqliteStore, changes: Any) -> None:
            time.sleep(0.6)
            write(self, changes)

        monkeypatch.setattr(SqliteStore, "_write", slowly)
        writing = gevent.spawn(add, node)
        gevent.sleep(0.05)
        began = time.monotonic()
        for _ in range(20):
            assert transaction_status(node, 1).success
            assert ask(node, "ledger", BlockRequest(1)).block.round == 1
            assert committed_value(node, KEY, 1) == (1, 1)
        assert not writing.ready(), f"the reads took {time.monotonic() - began:.2f} s"
        assert writing.get(timeout=10).success
    finally:
        made.stop()


def test_what_is_stored_is_there_again(tmp_path: Path):
    for expected in (1, 2):
        made = application.start(config(tmp_path, ordering=OrderingConfig(shards=3)))
        try:
            assert until(lambda made=made: status(made.node).ready)
            done = add(made.node)
            assert (done.fingerprint, dict(done.values_written)) == (expected, {KEY: expected})
        finally:
            made.stop()


def test_another_number_of_shards_is_no_problem(tmp_path: Path):
    for shards, expected in ((1, 1), (4, 2), (2, 3)):
        made = application.start(config(tmp_path, ordering=OrderingConfig(shards=shards)))
        try:
            assert dict(add(made.node).values_written) == {KEY: expected}
        finally:
            made.stop()


def test_a_ledger_that_cannot_be_opened_stops_the_start(tmp_path: Path):
    with pytest.raises(StartFailed, match="ledger does not start: the folder .* does not exist"):
        application.start(config(tmp_path / "nowhere"))
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database, whatever it may say about itself")
    with pytest.raises(StartFailed, match="ledger does not start"):
        application.start(config(tmp_path))


def test_the_identity_is_made_once_and_kept_from_others(tmp_path: Path):
    path = tmp_path / "me"
    made = own_identity(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert own_identity(path).external == made.external
    assert own_identity(None).external != made.external
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="network.identity: expected a file that only its owner may read"):
        own_identity(path)
    short = tmp_path / "short"
    short.write_bytes(b"x")
    short.chmod(0o600)
    with pytest.raises(ConfigError, match="expected a file of 64 random bytes"):
        own_identity(short)
    with pytest.raises(ConfigError, match="a file that can be read, or made"):
        own_identity(tmp_path / "no" / "where")


def test_the_tree_is_of_the_configuration():
    network = NetworkConfig(tcp=("127.0.0.1", 4300), authorities=Path("/a.pem"))
    made = {spec.name: spec for spec in node_tree.network(config(network=network))}
    assert made["transport-protocol-tcp"].args.port == 4300
    assert made["transport-protocol-tcp"].args.listen
    assert not made["transport-protocol-tls"].args.listen
    assert [spec.name for spec in node_tree.shards(config(ordering=OrderingConfig(3)))] == [
        f"shard-{n}" for n in range(3)
    ]
