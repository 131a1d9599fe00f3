"""``pyanoma storage``, in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engines.ledger.rows import BLOCKS, TRANSACTIONS
from engines.ledger.sqlite_store import SqliteStore
from pyanoma.commands.storage import storage
from tests.ledgers import fill, findings

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    def run(*arguments: object, data: bytes | None = None) -> Result:
        done = CliRunner().invoke(storage, [str(argument) for argument in arguments], input=data)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a ledger."""
    path = tmp_path / "ledger.sqlite"
    with SqliteStore(path, synchronous="normal") as store:
        fill(store)
        store.put_many("t", [(b"a", 1)])
    return path


def test_verify(run: Run, path: Path) -> None:
    done = run("verify", path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"{path}: 3 blocks, 6 transactions, 2 pending: all is well\n"
    told = run("verify", path, "--json")
    heights = {"next_round": 4, "committed": 6, "next_fingerprint": 9}
    assert json.loads(told.stdout) == {"path": str(path), "ok": True, "heights": heights, "findings": []}


def test_verify_finds(run: Run, path: Path) -> None:
    with SqliteStore(path) as store:
        store._write({(TRANSACTIONS, (3,)): None, (BLOCKS, (1,)): None})
    done = run("verify", path)
    assert done.exit_code == 1
    assert "heights: block 2: expected block 1 next, found 2\n" in done.stdout
    assert "block: block 2: it is not whole: 2 transactions expected, 1 found\n" in done.stdout
    assert "findings; import an earlier export" in done.stderr
    told = run("verify", path, "--json")
    assert told.exit_code == 1
    assert {finding["kind"] for finding in json.loads(told.stdout)["findings"]} >= {"heights", "block", "chain"}


def test_export_and_import(run: Run, path: Path, tmp_path: Path) -> None:
    file, new, again = tmp_path / "export.jsonl", tmp_path / "new.sqlite", tmp_path / "again.sqlite"
    done = run("export", path, file)
    assert (done.exit_code, done.stdout) == (0, f"{file}: 3 blocks, 6 transactions, 2 pending, 8 lines\n")
    assert json.loads(file.read_bytes().splitlines()[0]) == {"ledger": {"format": "pyanoma-ledger", "version": 1}}
    done = run("import", new, file)
    assert (done.exit_code, done.stdout) == (0, f"{new}: 3 blocks, 6 transactions, 2 pending\n")
    with SqliteStore(new) as store:
        assert findings(store) == []
        assert store.items("t") == [(b"a", 1)]
    piped = run("export", new, "-")
    assert piped.stdout_bytes == file.read_bytes()
    assert "8 lines" in piped.stderr
    done = run("import", again, "-", "--json", data=piped.stdout_bytes)
    assert json.loads(done.stdout)["heights"]["committed"] == 6
    assert run("verify", again).exit_code == 0


def test_an_export_is_not_written_over(run: Run, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    file.write_text("mine")
    done = run("export", path, file)
    assert done.exit_code == 2
    assert "is there already" in done.stderr
    assert file.read_text() == "mine"
    assert run("export", path, file, "--force").exit_code == 0
    assert file.read_text().startswith('{"ledger"')
    assert not list(tmp_path.glob("*.part"))


def test_a_broken_export_leaves_no_file(run: Run, path: Path, tmp_path: Path) -> None:
    file, new = tmp_path / "export.jsonl", tmp_path / "new.sqlite"
    run("export", path, file)
    file.write_bytes(file.read_bytes()[:-5])
    before = sorted(tmp_path.iterdir())
    done = run("import", new, file)
    assert done.exit_code == 1
    assert done.stderr.startswith("pyanoma storage import: line 8: the line has no end")
    assert sorted(tmp_path.iterdir()) == before
    done = run("import", path, file)
    assert done.exit_code == 2
    assert "an import is for an empty ledger" in done.stderr
    assert run("verify", path).exit_code == 0


def test_while_a_node_has_it(run: Run, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    with SqliteStore(path, owner="py@127.0.0.1"):
        for command in (("verify", path), ("export", path, file), ("import", path, os.devnull)):
            done = run(*command)
            assert done.exit_code == 4
            assert "is in use by py@127.0.0.1" in done.stderr
        told = run("verify", path, "--json")
        assert json.loads(told.stdout)["error"] == "StoreLocked"


def test_no_ledger(run: Run, path: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.sqlite"
    done = run("verify", missing)
    assert (done.exit_code, done.stderr) == (2, f"pyanoma storage verify: there is no file {missing}\n")
    assert not missing.exists()
    text = tmp_path / "text"
    text.write_text("no database, " * 100)
    assert run("verify", text).exit_code == 2
    assert run("export", path, tmp_path / "nowhere" / "file").exit_code == 1
    assert run("import", tmp_path / "new", tmp_path / "nothing").exit_code == 1
    assert not (tmp_path / "new").exists()
