"""A disk that gets full, and becomes read-only: a small file system in memory. Only root can have one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


class SmallDisk:
    """A file system of one megabyte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))

    def fill(self) -> None:
        """Leave no room at all."""
        with (self.folder / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def empty(self) -> None:
        """Undo `fill`."""
        (self.folder / "filler").unlink()

    def remount(self, mode: str) -> None:
        """Mount it again, ``ro`` or ``rw``."""
        _run("mount", "-o", f"remount,{mode}", str(self.folder))

    def unmount(self) -> None:
        _run("umount", "-l", str(self.folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@cache
def can_mount() -> bool:
    """Whether this machine lets us."""
    if os.geteuid() != 0:
        return False
    with TemporaryDirectory() as folder:
        try:
            SmallDisk(Path(folder)).unmount()
        except (OSError, subprocess.CalledProcessError):
            return False
    return True


needs_mounts = pytest.mark.skipif(
    "not __import__('tests.small_disk', fromlist=['x']).can_mount()", reason="mount(8) needs root"
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A `SmallDisk`; goes with the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = SmallDisk(folder)
    yield disk
    disk.unmount()
