"""Settings of the process; undone again, as other tests run in it too."""

from __future__ import annotations

import gc
import platform

from pyanoma import memory


def test_glibc_takes_the_sizes():
    assert memory.keep_freed_memory() is (platform.libc_ver()[0] == "glibc")


def test_what_exists_at_the_start_is_not_looked_at_again():
    threshold = gc.get_threshold()
    try:
        memory.settle()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] == memory.YOUNG_OBJECTS
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)
