"""Whose a file is: a lock that ends with its holder, however that ends, and tells who that is."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from engines.ledger.errors import LedgerError, ReadOnlyDisk, StoreLocked

_MOST_READ: Final = 500


class FileLock:
    """The lock of a ledger's file, held from the constructor to `release`. It is ``flock`` of a file beside it.

    Args:
        path: of the ledger.
        owner: who wants it, for whoever else wants it.

    Attributes:
        held: False where the disk is read-only, so that there is no lock file, and nobody who could write either.

    Raises:
        StoreLocked: somebody else holds it; says who.
        ReadOnlyDisk: the folder does not take a lock file, though others might write there.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self._path = Path(f"{path}.lock")
        self._descriptor = -1
        self.held = False
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise LedgerError(f"cannot open {self._path}: {error.strerror}") from None
            self._open_unwritable(error)
        if self._descriptor < 0:
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, _MOST_READ, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            self._descriptor = -1
            raise StoreLocked(
                f"{path} is in use by {holder or 'another process'}; "
                "a ledger belongs to one node at a time: stop that one, or use another file"
            ) from None
        self.held = True
        now = datetime.now(UTC).isoformat(timespec="seconds")
        # Only for people to read: a full or read-only disk does not matter.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(
                self._descriptor,
                f"{owner} (process {os.getpid()} on {socket.gethostname()}), since {now}\n".encode(),
                0,
            )

    def _open_unwritable(self, error: OSError) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            if error.errno != errno.EROFS:
                raise ReadOnlyDisk(
                    f"cannot make the lock file {self._path}: {error.strerror}; "
                    "the ledger's user needs to write in that folder"
                ) from None

    def release(self) -> None:
        """Let others have it. Twice is once."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1
            self.held = False
