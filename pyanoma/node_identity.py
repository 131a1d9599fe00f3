"""The node's own identity: a file with 64 random bytes that nobody else may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from anoma.crypto import InternalKeys, KeyRefused, Secret
from erlang_bridge import ConfigError

SIZE: Final = 64


def own_identity(path: Path | None) -> InternalKeys:
    """The keys in a file, which is made if it is missing; None: keys for this run only.

    Raises:
        ConfigError: the file cannot be read or made, others may read it, or it is no such file.
    """
    if path is None:
        return InternalKeys.of(Secret(secrets.token_bytes(SIZE)))
    try:
        try:
            _make(path)
        except FileExistsError:
            pass
        if path.stat().st_mode & 0o077:
            raise ConfigError("network.identity", str(path), "a file that only its owner may read: chmod 600")
        return InternalKeys.of(Secret(path.read_bytes()))
    except OSError as error:
        raise ConfigError(
            "network.identity", str(path), f"a file that can be read, or made ({error.strerror})"
        ) from error
    except KeyRefused as error:
        raise ConfigError("network.identity", str(path), f"a file of {SIZE} random bytes ({error})") from error


def _make(path: Path) -> None:
    # Nobody sees a part of it, and of two that make it at the same time one is used by both.
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SIZE))
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, path)
    finally:
        beside.unlink()
