# ruff: noqa: S608  # the names of tables and columns in the SQL are our own
"""A ledger in one file, an SQLite database in WAL mode.

A commit is in the write-ahead log, and that on the disk, before it is acknowledged (``synchronous = full``); so neither
the end of the process nor that of the machine loses it. Reading has connections of its own and never waits for the
writer.

The file is plain SQLite: ``sqlite3 ledger.db 'select * from blocks'`` shows it. What is in it is described in `rows`.

Source: sqlite.org, "Write-Ahead Logging", "Result and Error Codes".
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn
from urllib.parse import quote

from engines.ledger.errors import (
    BadRequest,
    DiskFull,
    LedgerError,
    NewerSchema,
    NoLedger,
    NotALedger,
    ReadOnlyDisk,
    StoreClosed,
    StoreDamaged,
    StoreFailed,
    StoreLocked,
)
from engines.ledger.file_lock import FileLock
from engines.ledger.rows import BY_NAME, CHUNK, SCHEMA, TABLES, VERSIONS, Changes, Key, Row, Rows, Table
from engines.ledger.store import LedgerStore
from engines.ledger.verification import Finding

APPLICATION_ID: Final = 0x7079616E
"""Marks the file as ours: ``pyan``."""

SYNCHRONOUS: Final = ("full", "normal")
BUSY_S: Final = 5.0
"""How long to wait for others who write to the file, such as ``sqlite3``."""

MOST_READERS: Final = 4
"""Connections that are kept for later reads."""

PAGE_BYTES: Final = 4096
_MOST_LOG_BYTES: Final = 64 * 1024 * 1024
_SQL_TYPES: Final = {int: "INTEGER", bytes: "BLOB", str: "TEXT"}


class SqliteStore(LedgerStore):
    """A ledger in a file.

    Args:
        path: of the file; beside it are ``-wal`` and ``-shm`` (SQLite's) and ``.lock``. Its folder has to be there.
        owner: who has it open, for the error that others get: a node's name.
        synchronous: ``full``: what is acknowledged survives the end of the machine. ``normal``: the end of the
            process only, the last commits can be lost with the machine; faster where the disk is slow.
        create: whether to make a new ledger where there is no file.
        most_bytes: the file takes no more, as if the disk were full; None: no limit.

    Where the disk is full or read-only, an existing ledger is opened all the same, for reading; each write tries again.

    Raises:
        NoLedger: no folder, or no file where `create` is False.
        StoreLocked: another process has it open. NotALedger, NewerSchema, StoreDamaged: it is not for us.
        DiskFull, ReadOnlyDisk, StoreFailed: it cannot even be read.
    """

    in_threads: ClassVar[bool] = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        owner: str = "a program",
        synchronous: str = "full",
        create: bool = True,
        most_bytes: int | None = None,
    ) -> None:
        if synchronous not in SYNCHRONOUS:
            raise ValueError(f"synchronous: expected one of {', '.join(SYNCHRONOUS)}, got {synchronous!r}")
        self.path = Path(path)
        self._owner = owner
        self._synchronous = synchronous
        self._most_bytes = most_bytes
        self._writing = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._readers: deque[sqlite3.Connection] = deque()
        self._generation = 0  # of the readers
        self._immutable = False
        self._closed = False
        if not self.path.parent.is_dir():
            raise NoLedger(f"the folder {self.path.parent} of the ledger {self.path.name} does not exist: create it")
        if self.path.is_dir():
            raise NotALedger(f"{self.path} is a folder; expected the file of a ledger")
        if not create and not self.path.exists():
            raise NoLedger(f"there is no file {self.path}")
        self._lock = FileLock(self.path, owner)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    # -- opening and closing ---------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._open_writer()
        except StoreFailed as error:
            if not self.path.exists() or self.path.stat().st_size == 0:
                raise
            try:
                self._open_for_reading()
            except StoreFailed:
                raise error from None

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is not None:
            return self._writer
        if not self._lock.held:
            self._lock = FileLock(self.path, self._owner)
        connection = self._connect("rwc")
        try:
            with _translated(self.path):
                is_new = self._check(connection)
                ((mode,),) = connection.execute("PRAGMA journal_mode = wal")
                if mode != "wal":
                    raise StoreFailed(
                        f"{self.path} cannot be opened in WAL mode, SQLite says {mode!r}: is its disk local?"
                    )
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")
                connection.execute(f"PRAGMA journal_size_limit = {_MOST_LOG_BYTES}")
                if self._most_bytes is not None:
                    connection.execute(f"PRAGMA max_page_count = {max(1, self._most_bytes // PAGE_BYTES)}")
                if is_new:
                    _create(connection)
                else:
                    # Says now, and not at the first commit, whether the file can be written.
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("ROLLBACK")
        except BaseException:
            connection.close()
            raise
        self._writer = connection
        if self._immutable:
            self._immutable = False
            self._close_readers()
        return connection

    def _open_for_reading(self) -> None:
        connection = self._connect("ro")
        try:
            with _translated(self.path):
                self._check(connection)
                connection.execute("SELECT 1 FROM meta").fetchone()
        except StoreFailed:
            # Without its index, which cannot be made here, a log can only be left alone; and only an empty one may be.
            connection.close()
            if self._log_bytes() or not (self._lock.held or _is_read_only(self.path)):
                raise
            self._immutable = True
            connection = self._connect("ro")
            try:
                with _translated(self.path):
                    self._check(connection)
                    connection.execute("SELECT 1 FROM meta").fetchone()
            except BaseException:
                connection.close()
                raise
        except BaseException:
            connection.close()
            raise
        self._readers.append(connection)

    def _log_bytes(self) -> int:
        try:
            return Path(f"{self.path}-wal").stat().st_size
        except OSError:
            return 0

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"file:{quote(str(self.path.absolute()))}?mode={mode}"
        if mode == "ro" and self._immutable:
            uri += "&immutable=1"
        with _translated(self.path):
            return sqlite3.connect(
                uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=256
            )

    def _check(self, connection: sqlite3.Connection) -> bool:
        """Whether the file is new.

        Raises:
            NotALedger, NewerSchema
        """
        ((application,),) = connection.execute("PRAGMA application_id")
        ((schema,),) = connection.execute("PRAGMA user_version")
        ((objects,),) = connection.execute("SELECT count(*) FROM sqlite_master")
        if not objects and not application:
            return True
        if application != APPLICATION_ID:
            raise NotALedger(f"{self.path} is an SQLite database, and not of a ledger; use another file")
        if schema > SCHEMA:
            raise NewerSchema(
                f"{self.path} was written by a later version of pyanoma: it has schema {schema}, this one knows "
                f"{SCHEMA}; use that version, or export it there and import it here"
            )
        return False

    def close(self) -> None:
        """Let others have the file. Twice is once. Waits for a write that is under way."""
        with self._writing:
            self._closed = True
            self._close_readers()
            # The last to close: it is the one that can empty the log into the file.
            self._close_writer()
            self._lock.release()

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(sqlite3.Error):
                writer.close()

    def _close_readers(self) -> None:
        self._generation += 1
        while self._readers:
            with suppress(sqlite3.Error, IndexError):
                self._readers.pop().close()

    # -- reading ---------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        """See `LedgerStore.reading`."""
        if self._closed:
            raise StoreClosed(f"the ledger {self.path} is closed")
        generation = self._generation
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = self._connect("ro")
        try:
            yield _SqliteRows(connection, self.path)
        except BaseException:
            connection.close()
            raise
        if self._closed or generation != self._generation or len(self._readers) >= MOST_READERS:
            connection.close()
        else:
            self._readers.append(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Rows]:
        """See `LedgerStore.snapshot`. Does not keep anybody from writing."""
        if self._closed:
            raise StoreClosed(f"the ledger {self.path} is closed")
        connection = self._connect("ro")
        try:
            with _translated(self.path):
                connection.execute("BEGIN")
            yield _SqliteRows(connection, self.path)
        finally:
            connection.close()

    def check_medium(self) -> Iterator[Finding]:
        """What SQLite's own check finds."""
        with self.snapshot() as rows:
            assert isinstance(rows, _SqliteRows)
            try:
                found = rows.all("PRAGMA integrity_check(100)", ())
            except StoreDamaged as error:
                yield Finding("file", str(self.path), error.text)
                return
        for (text,) in found:
            if text != "ok":
                yield Finding("file", str(self.path), text)

    def file_bytes(self) -> int:
        """Size of the file and of its log."""
        return self.path.stat().st_size + self._log_bytes()

    # -- writing ---------------------------------------------------------------------------------

    def _write(self, changes: Changes) -> None:
        try:
            self._transaction(iter((changes,)))
        except ReadOnlyDisk:
            # Connections that were made while the disk could not be written stay as they were; this is with new ones.
            self._close_readers()
            self._transaction(iter((changes,)))

    def _fill(self, pieces: Iterator[Changes]) -> None:
        self._transaction(pieces)

    def _transaction(self, pieces: Iterator[Changes]) -> None:
        if self._closed:
            raise StoreClosed(f"the ledger {self.path} is closed")
        connection = self._open_writer()
        try:
            with _translated(self.path):
                connection.execute("BEGIN IMMEDIATE")
                for changes in pieces:
                    for sql, rows in _statements(changes).items():
                        connection.executemany(sql, rows)
                connection.execute("COMMIT")
        except BaseException as error:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._close_writer()
            if isinstance(error, StoreFailed) and not isinstance(error, DiskFull):
                # A disk that was replaced or mounted again is another file to the system.
                self._close_writer()
            raise


class _SqliteRows(Rows):
    """Rows, read through one connection."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def all(self, sql: str, arguments: tuple[Any, ...]) -> list[Row]:
        with _translated(self._path):
            return self._connection.execute(sql, arguments).fetchall()

    def get(self, table: Table, *key: Any) -> Row | None:
        found = self.all(_GET[table], key)
        return found[0] if found else None

    def scan(
        self,
        table: Table,
        *,
        after: Key | None = None,
        until: Key | None = None,
        limit: int = CHUNK,
        backwards: bool = False,
    ) -> list[Row]:
        names = ", ".join(name for name, _ in table.key)
        marks = ", ".join("?" for _ in table.key)
        conditions = []
        if after is not None:
            conditions.append(f"({names}) > ({marks})")
        if until is not None:
            conditions.append(f"({names}) <= ({marks})")
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        order = ", ".join(f"{name} DESC" if backwards else name for name, _ in table.key)
        sql = f"SELECT * FROM {table.name} {where} ORDER BY {order} LIMIT ?"
        return self.all(sql, (*(after or ()), *(until or ()), limit))

    def count(self, table: Table, most: int | None = None) -> int:
        limit = -1 if most is None else most
        ((count,),) = self.all(f"SELECT count(*) FROM (SELECT 1 FROM {table.name} LIMIT ?)", (limit,))
        return int(count)

    def latest(self, key: bytes, fingerprint: int) -> Row | None:
        found = self.all(_LATEST, (key, fingerprint))
        return found[0] if found else None


# -- SQL --------------------------------------------------------------------------------------


def _is_key(table: Table) -> str:
    return " AND ".join(f"{name} = ?" for name, _ in table.key)


def _put(table: Table) -> str:
    return f"INSERT OR REPLACE INTO {table.name} VALUES ({', '.join('?' for _ in (*table.key, *table.columns))})"


_GET: Final = {table: f"SELECT * FROM {table.name} WHERE {_is_key(table)}" for table in TABLES}
_DELETE: Final = {table: f"DELETE FROM {table.name} WHERE {_is_key(table)}" for table in TABLES}
_PUT: Final = {table: _put(table) for table in TABLES}
_LATEST: Final = f"SELECT * FROM {VERSIONS.name} WHERE key = ? AND fingerprint <= ? ORDER BY fingerprint DESC LIMIT 1"


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for table in BY_NAME.values():
        columns = [f"{name} {_SQL_TYPES[kind]} NOT NULL" for name, kind in (*table.key, *table.columns)]
        key = ", ".join(name for name, _ in table.key)
        connection.execute(f"CREATE TABLE {table.name} ({', '.join(columns)}, PRIMARY KEY ({key})) WITHOUT ROWID")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")


def _statements(changes: Changes) -> dict[str, list[tuple[Any, ...]]]:
    statements: dict[str, list[tuple[Any, ...]]] = {}
    for (table, key), row in changes.items():
        if row is None:
            statements.setdefault(_DELETE[table], []).append(key)
        else:
            statements.setdefault(_PUT[table], []).append(row)
    return statements


# -- errors -----------------------------------------------------------------------------------


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """What SQLite raises, as a `LedgerError`."""
    try:
        yield
    except (sqlite3.Error, OverflowError) as error:
        _raise(path, error)


def _raise(path: Path, error: Exception) -> NoReturn:
    code = getattr(error, "sqlite_errorcode", 0)
    name = getattr(error, "sqlite_errorname", "")
    says = f"{error} ({name})" if name else str(error)
    code &= 0xFF
    if code == sqlite3.SQLITE_CANTOPEN and _is_read_only(path):
        code = sqlite3.SQLITE_READONLY
    kind, text = _KINDS.get(code, (StoreFailed, "cannot be used"))
    if isinstance(error, sqlite3.ProgrammingError):
        kind, text = StoreClosed, "is closed"
    elif isinstance(error, (sqlite3.DataError, OverflowError)):
        kind, text = BadRequest, "does not take a value that large"
    raise kind(f"the ledger {path} {text}: SQLite says: {says}") from None


def _is_read_only(path: Path) -> bool:
    """Whether the disk is."""
    try:
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False


_KINDS: Final[dict[int, tuple[type[LedgerError], str]]] = {
    sqlite3.SQLITE_FULL: (DiskFull, "has no room for what is to be written; make room on its disk"),
    sqlite3.SQLITE_READONLY: (
        ReadOnlyDisk,
        "cannot be written; mount its disk for writing, or give the file's user the right to",
    ),
    sqlite3.SQLITE_CANTOPEN: (StoreFailed, "cannot be opened; look at the rights of the file, its folder and its disk"),
    sqlite3.SQLITE_IOERR: (StoreFailed, "cannot be read or written; look at its disk, and at the system's log"),
    sqlite3.SQLITE_CORRUPT: (
        StoreDamaged,
        "is damaged; see what with `pyanoma storage verify`, and import an earlier export into a new file",
    ),
    sqlite3.SQLITE_NOTADB: (NotALedger, "is no database; use another file"),
    sqlite3.SQLITE_BUSY: (
        StoreLocked,
        "is being written by somebody else, such as a sqlite3 shell; end that transaction",
    ),
    sqlite3.SQLITE_TOOBIG: (BadRequest, "does not take a value that large"),
}
