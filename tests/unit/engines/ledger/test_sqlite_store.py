"""The ledger in a file."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from engines.ledger import sqlite_store
from engines.ledger.errors import (
    DiskFull,
    LedgerError,
    NewerSchema,
    NoLedger,
    NotALedger,
    ReadOnlyDisk,
    StoreDamaged,
    StoreFailed,
    StoreLocked,
)
from engines.ledger.records import JournalEntry
from engines.ledger.rows import ITEMS, SCHEMA
from engines.ledger.sqlite_store import SqliteStore
from tests.ledgers import Reopen, StoreSuite, done, entry, fill, findings
from tests.small_disk import SmallDisk, needs_mounts, small_disk

__all__ = ["small_disk"]
ROOT = Path(__file__).parents[4]


class TestSqliteStore(StoreSuite):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Iterator[Reopen]:
        with ExitStack() as opened:
            yield lambda: opened.enter_context(SqliteStore(tmp_path / "ledger.sqlite", synchronous="normal"))


# -- whose it is ------------------------------------------------------------------------------


def test_one_node_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    who = rf"in use by one@127.0.0.1 \(process {os.getpid()} on .*\), since 20"
    with SqliteStore(path, owner="one@127.0.0.1"), pytest.raises(StoreLocked, match=who):
        SqliteStore(path, owner="two@127.0.0.1")
    SqliteStore(path).close()


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    program = (
        "import sys; from engines.ledger.sqlite_store import SqliteStore; "
        "store = SqliteStore(sys.argv[1], owner='other'); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(StoreLocked, match=rf"in use by other \(process {other.pid} on"):
            SqliteStore(path)
    finally:
        other.kill()
        other.wait()
        other.stdin.close()
        other.stdout.close()
    SqliteStore(path).close()


def test_somebody_writes_with_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "BUSY_S", 0.05)
    path = tmp_path / "ledger.sqlite"
    with SqliteStore(path) as store:
        fill(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreLocked, match="being written by somebody else"):
                store.append([entry(9)])
            assert store.read(b"k", 99) == 6
            shell.execute("ROLLBACK")
        assert store.append([entry(9)]).next_fingerprint == 10


# -- what is no ledger ------------------------------------------------------------------------


def test_no_folder_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(NoLedger, match=r"the folder .*nowhere of the ledger l.sqlite does not exist"):
        SqliteStore(tmp_path / "nowhere" / "l.sqlite")
    with pytest.raises(NoLedger, match=r"there is no file .*l.sqlite"):
        SqliteStore(tmp_path / "l.sqlite", create=False)
    with pytest.raises(NotALedger, match="is a folder"):
        SqliteStore(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    text, database = tmp_path / "text", tmp_path / "database"
    text.write_bytes(b"not a database, and longer than the header of one would be" * 20)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    for path in (text, database):
        before = path.read_bytes()
        with pytest.raises(NotALedger, match="use another file"):
            SqliteStore(path)
        assert path.read_bytes() == before
        assert not Path(f"{path}-wal").exists()


def test_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(NewerSchema, match=f"has schema {SCHEMA + 1}, this one knows {SCHEMA}"):
        SqliteStore(path)


def test_a_setting_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of full, normal, got 'off'"):
        SqliteStore(tmp_path / "ledger.sqlite", synchronous="off")


@pytest.mark.parametrize(("setting", "level"), [("full", 2), ("normal", 1)])
def test_it_is_on_the_disk_before_it_is_acknowledged(tmp_path: Path, setting: str, level: int) -> None:
    with SqliteStore(tmp_path / "ledger.sqlite", synchronous=setting) as store:
        assert store._writer is not None
        assert store._writer.execute("PRAGMA synchronous").fetchone() == (level,)
        assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# -- damage -----------------------------------------------------------------------------------


def test_a_file_with_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with SqliteStore(path, synchronous="normal") as store:
        fill(store, blocks=80)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(size // 4))
    with SqliteStore(path) as store:
        found = findings(store)
        assert any(one.startswith("file: ") for one in found), found
        with pytest.raises(StoreDamaged, match="import an earlier export"):
            for number in range(1, 81):
                store.block(number)


def test_a_file_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with SqliteStore(path, synchronous="normal") as store:
        fill(store, blocks=40)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreDamaged, match="is damaged; see what with `pyanoma storage verify`"):
        SqliteStore(path)


# -- the disk fails ---------------------------------------------------------------------------


def test_most_bytes(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "ledger.sqlite", most_bytes=200_000) as store:
        fill(store)
        with pytest.raises(DiskFull, match=r"has no room for what is to be written.*SQLITE_FULL"):
            store.put_many("t", [(number, bytes(1000)) for number in range(500)])
        assert store.read(b"k", 99) == 6
        assert findings(store) == []
        assert store.append([entry(9)]).next_fingerprint == 10


@needs_mounts
def test_a_full_disk(small_disk: SmallDisk) -> None:
    path = small_disk.folder / "ledger.sqlite"
    with SqliteStore(path) as store:
        fill(store)
        small_disk.fill()
        with pytest.raises(DiskFull, match="make room on its disk"):
            for fingerprint in range(9, 2000):
                store.append([JournalEntry(fingerprint, bytes(2000))])
        reached = store.heights()
        with pytest.raises(DiskFull):
            store.commit([done(7), done(8)], also=[JournalEntry(reached.next_fingerprint, bytes(100_000))])
        assert store.heights() == reached
        assert store.read(b"k", 99) == 6
        assert findings(store) == []
        small_disk.empty()
        assert store.commit([done(7), done(8)]).next_round == 5
        assert findings(store) == []
    with SqliteStore(path) as store:
        assert store.heights().committed == 8


@needs_mounts
def test_a_disk_that_is_full_at_the_start(small_disk: SmallDisk) -> None:
    path = small_disk.folder / "ledger.sqlite"
    with SqliteStore(path) as store:
        fill(store)
    small_disk.fill()
    with SqliteStore(path) as store:
        assert store.read(b"k", 99) == 6
        with pytest.raises((DiskFull, StoreFailed)):
            store.append([JournalEntry(9, bytes(100_000))])
        assert store.heights().next_fingerprint == 9
        small_disk.empty()
        assert store.append([entry(9)]).next_fingerprint == 10
        assert store.pending(8) == [entry(9)]


@needs_mounts
@pytest.mark.parametrize("killed", [False, True])
def test_a_read_only_disk(small_disk: SmallDisk, killed: bool) -> None:
    path = small_disk.folder / "ledger.sqlite"
    if killed:
        program = (
            "import os, sys; from engines.ledger.sqlite_store import SqliteStore; from tests.ledgers import fill; "
            "fill(SqliteStore(sys.argv[1])); os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", program, path], cwd=ROOT, check=True)
        assert Path(f"{path}-wal").stat().st_size
    else:
        with SqliteStore(path) as store:
            fill(store)
    small_disk.remount("ro")
    with SqliteStore(path) as store:
        for _ in range(2):
            with pytest.raises(ReadOnlyDisk, match="cannot be written; mount its disk for writing"):
                store.append([entry(9)])
            assert store.read(b"k", 99) == 6
            assert findings(store) == []
    with pytest.raises(LedgerError):
        SqliteStore(small_disk.folder / "new.sqlite")
    with SqliteStore(path) as store:
        assert store.heights().next_round == 4
        store._close_readers()
        small_disk.remount("rw")
        assert store.append([entry(9)]).next_fingerprint == 10
        assert store.pending(8) == [entry(9)]
    with SqliteStore(path) as store:
        assert findings(store) == []


def test_files_that_cannot_grow(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "ledger.sqlite") as store:
        fill(store)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{store.path}-wal").stat().st_size + 5000, before[1]))
        try:
            with pytest.raises(StoreFailed) as raised:
                store.put_many("t", [(number, bytes(1000)) for number in range(100)])
            assert raised.value.temporary
            assert store.read(b"k", 99) == 6
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        store.put_many("t", [(number, bytes(1000)) for number in range(100)])
        assert len(store.items("t")) == 100
        assert findings(store) == []


# -- many at once -----------------------------------------------------------------------------


def test_reading_does_not_wait_for_writing(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "ledger.sqlite") as store:
        fill(store)
        begun, go_on = threading.Event(), threading.Event()

        def pieces() -> Iterator[Any]:
            yield {(ITEMS, ("t", b"\x83j")): ("t", b"\x83j", b"\x83j")}
            begun.set()
            go_on.wait(20)

        writer = threading.Thread(target=lambda: store._fill(pieces()))
        writer.start()
        assert begun.wait(20)
        assert store.read(b"k", 99) == 6
        assert store.items("t") == []
        go_on.set()
        writer.join()
        assert store.items("t") == [([], [])]


def test_many_threads(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "ledger.sqlite", synchronous="normal") as store:
        wrong: list[Any] = []

        def look() -> None:
            for _ in range(50):
                heights = store.heights()
                block = store.block()
                if block is not None and (block.last < heights.committed or store.read(b"k", block.last) != block.last):
                    wrong.append((heights, block))

        threads = [threading.Thread(target=look) for _ in range(6)]
        for thread in threads:
            thread.start()
        fill(store, blocks=60)
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(store._readers) <= sqlite_store.MOST_READERS
