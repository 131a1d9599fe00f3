"""The Ledger as a process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest

from engines.engine import Refused, ask
from engines.ledger import server
from engines.ledger.behaviour import Backend, LedgerSettings
from engines.ledger.errors import DiskFull, StoreClosed
from engines.ledger.messages import (
    AppendItems,
    Changed,
    PendingReply,
    PendingRequest,
    PutItems,
    StatusReply,
    StatusRequest,
    VersionsReply,
    VersionsRequest,
)
from engines.ledger.records import ABSENT, Heights
from engines.ledger.server import Ledger
from engines.ledger.sqlite_store import SqliteStore
from erlang_bridge import Atom, ErlangExit, Node, Pid
from erlang_bridge.testing.plugin import NodeFactory
from tests.ledgers import done, entry
from tests.small_disk import SmallDisk, needs_mounts, small_disk
from tests.waiting import until

__all__ = ["small_disk"]


@pytest.fixture
def node(node_factory: NodeFactory) -> Node:
    """A node that nobody dials."""
    return node_factory(listen=False, cookie="x")


@pytest.fixture
def settings(tmp_path: Path) -> LedgerSettings:
    return LedgerSettings(Backend.SQLITE, str(tmp_path / "ledger.sqlite"), retry_first_s=0.02, retry_most_s=0.1)


@pytest.fixture
def ledger(node: Node, settings: LedgerSettings) -> Iterator[Pid]:
    pid = node.start(Ledger, settings, name="ledger")
    yield pid
    stop(node)


def stop(node: Node, reason: str = "shutdown") -> None:
    pid = node.whereis("ledger")
    if pid is not None:
        node.exit(pid, Atom(reason))
        assert until(lambda: not node.is_alive(pid))


def test_what_others_call(node: Node, ledger: Pid) -> None:
    assert server.heights(node) == Heights()
    server.persist(node, [entry(1), entry(2)])
    assert server.persist(node, [entry(3)], [done(1, (b"k", {b"a": 1})), done(2)]).round == 1
    assert server.read(node, b"k", 9) == {b"a": 1}
    assert server.read(node, b"unknown", 9) is ABSENT
    block = server.block(node)
    assert block is not None
    assert block.transactions == (done(1, (b"k", {b"a": 1})), done(2))
    assert server.block(node, 7) is None
    assert server.transaction(node, 3).pending == entry(3)
    assert ask(node, "ledger", PendingRequest()) == PendingReply((entry(3),))
    assert ask(node, "ledger", VersionsRequest(b"k")) == VersionsReply(b"k", ((1, {b"a": 1}),))
    assert ask(node, "ledger", AppendItems("log", (b"line",))) == Changed(1)
    assert ask(node, "ledger", PutItems("t", ((1, 2),))) == Changed()
    with pytest.raises(Refused, match="expected the entry of fingerprint 4, got that of 9"):
        server.persist(node, [entry(9)])


def test_in_the_plain_form(node: Node, ledger: Pid) -> None:
    entries = [(Atom("journal_entry"), {Atom("fingerprint"): 1, Atom("candidate"): b"c"})]
    answer = node.call("ledger", (Atom("persist"), {Atom("entries"): entries}))
    heights = {Atom("next_round"): 1, Atom("committed"): 0, Atom("next_fingerprint"): 2}
    assert answer == (Atom("persisted"), {Atom("heights"): (Atom("heights"), heights), Atom("round"): None})
    assert node.call("ledger", Atom("heights_request")) == (
        Atom("heights_reply"),
        {Atom("heights"): (Atom("heights"), heights)},
    )
    wrong, _ = node.call("ledger", (Atom("persist"), {Atom("entries"): 5}))
    assert wrong is Atom("error")
    assert node.is_alive(ledger)


def test_the_direct_way(node: Node, ledger: Pid) -> None:
    server.persist(node, [entry(1), entry(2)], [done(1, (b"k", 1)), done(2, (b"k", 2))])
    assert server.committed(node, b"k", 1) == (1, 1)
    assert server.committed(node, b"k", 99) == (2, 2)
    assert server.committed(node, b"k", 0) == (0, ABSENT)
    stop(node)
    with pytest.raises(StoreClosed, match="no ledger is open"):
        server.committed(node, b"k", 1)


@pytest.mark.parametrize("reason", ["shutdown", "kill", "anything"])
def test_a_new_one_has_what_the_one_before_had(node: Node, settings: LedgerSettings, reason: str) -> None:
    for number in range(3):
        node.start(Ledger, settings, name="ledger")
        assert server.heights(node) == Heights(number + 1, number, number + 1)
        server.persist(node, [entry(number + 1)], [done(number + 1, (b"k", number))])
        stop(node, reason)


def test_it_lets_go_of_the_file(node: Node, settings: LedgerSettings) -> None:
    for reason in ("shutdown", "kill"):
        node.start(Ledger, settings, name="ledger")
        stop(node, reason)
        deadline = monotonic() + 5
        while True:
            try:
                SqliteStore(str(settings.path)).close()
                break
            except Exception:
                assert monotonic() < deadline
                gevent.sleep(0.01)


def test_what_cannot_be_opened_is_told_at_the_start(node: Node, tmp_path: Path) -> None:
    with pytest.raises(ErlangExit, match="does not exist: create it"):
        node.start(Ledger, LedgerSettings(Backend.SQLITE, str(tmp_path / "nowhere" / "l")), name="ledger")
    with closing(sqlite3.connect(tmp_path / "other")) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(ErlangExit, match="not of a ledger"):
        node.start(Ledger, LedgerSettings(Backend.SQLITE, str(tmp_path / "other")), name="ledger")
    with pytest.raises(ErlangExit):
        node.start(Ledger, {Atom("backend"): Atom("sqlite")}, name="ledger")


def test_in_use_elsewhere(node: Node, settings: LedgerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE_S", 0.1)
    with (
        SqliteStore(str(settings.path), owner="other@127.0.0.1"),
        pytest.raises(ErlangExit, match="in use by other@127.0.0.1"),
    ):
        node.start(Ledger, settings, name="ledger")


def test_a_ledger_in_memory(node: Node) -> None:
    node.start(Ledger, name="ledger")
    server.persist(node, [entry(1)], [done(1, (b"k", 1))])
    assert server.committed(node, b"k", 1) == (1, 1)
    stop(node)


# -- the disk fails ---------------------------------------------------------------------------


def test_a_slow_disk_holds_up_no_reader(node: Node, ledger: Pid, monkeypatch: pytest.MonkeyPatch) -> None:
    server.persist(node, [entry(1)], [done(1, (b"k", 1))])
    store = server.store_of(node)
    write = store._write
    slow = threading.Event()

    def slowly(changes: Any) -> None:
        # In a thread of the pool: it blocks that thread alone.
        assert slow.wait(20)
        write(changes)

    monkeypatch.setattr(store, "_write", slowly)
    writing = gevent.spawn(server.persist, node, [entry(2)])
    for _ in range(20):
        assert server.read(node, b"k", 9) == 1
        assert server.committed(node, b"k", 9) == (1, 1)
    assert not writing.ready()
    status = ask(node, "ledger", StatusRequest())
    assert status == StatusReply(Heights(2, 1, 2), waiting=1)
    slow.set()
    assert writing.get(timeout=10).heights == Heights(2, 1, 3)


def test_failed_writes_are_tried_again(node: Node, ledger: Pid, monkeypatch: pytest.MonkeyPatch) -> None:
    store = server.store_of(node)
    with monkeypatch.context() as patch:

        def fail(changes: Any) -> None:
            raise DiskFull("no room")

        patch.setattr(store, "_write", fail)
        writing = gevent.spawn(server.persist, node, [entry(1)])
        assert until(lambda: ask(node, "ledger", StatusRequest()).attempts >= 3)
        assert server.heights(node) == Heights()
        assert not writing.ready()
    assert writing.get(timeout=10).heights == Heights(1, 0, 2)
    assert ask(node, "ledger", StatusRequest()) == StatusReply(Heights(1, 0, 2))


@needs_mounts
def test_a_full_disk(node: Node, small_disk: SmallDisk) -> None:
    settings = LedgerSettings(Backend.SQLITE, str(small_disk.folder / "ledger.sqlite"), retry_first_s=0.02)
    node.start(Ledger, settings, name="ledger")
    server.persist(node, [entry(1)], [done(1, (b"k", 1))])
    small_disk.fill()
    writing = gevent.spawn(ask, node, "ledger", PutItems("t", ((b"big", bytes(300_000)),)), 30.0)
    assert until(lambda: ask(node, "ledger", StatusRequest()).failure is not None)
    assert "make room on its disk" in ask(node, "ledger", StatusRequest()).failure
    assert server.read(node, b"k", 9) == 1
    small_disk.empty()
    assert writing.get(timeout=10) == Changed()
    assert ask(node, "ledger", StatusRequest()).failure is None
    stop(node)


# -- tables -----------------------------------------------------------------------------------


def test_tables_for_observer(node: Node, ledger: Pid) -> None:
    server.persist(node, [entry(1), entry(2)], [done(1, (b"k", 1))])
    ask(node, "ledger", AppendItems("log", (b"a line",)))
    ask(node, "ledger", PutItems("intents", ((b"id", b"intent"),)))
    shown = {}
    for table in node.tables.all():
        if table.name.startswith("ledger_"):
            assert table.owner() == ledger
            shown[table.name.removeprefix("ledger_")] = (table.count(), list(table.shown_rows()))
    assert {name: count for name, (count, _) in shown.items()} == {
        "blocks": 1, "transactions": 1, "journal": 1, "versions": 1, "items": 1, "sequences": 1,
    }  # fmt: skip
    assert shown["blocks"][1][0][:3] == (1, 1, 1)
    assert shown["journal"][1] == [(2, entry(2).candidate, None)]
    assert shown["versions"][1] == [((b"k", 1), 1)]
    assert shown["sequences"][1] == [(("log", 1), b"a line")]
    assert shown["items"][1] == [(("intents", b"id"), b"intent")]
    stop(node)
    assert not [table for table in node.tables.all() if table.name.startswith("ledger_")]
