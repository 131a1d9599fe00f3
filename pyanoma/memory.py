"""Settings of the allocator and the garbage collector for a process that is a node and nothing else."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
KEPT_SIZES: Final = (256 << 20, 32 << 20)
"""Bytes; glibc refuses the first as M_MMAP_THRESHOLD in some versions, and takes the second."""
YOUNG_OBJECTS: Final = 50_000
"""New objects before the collector looks at them; a decoded list of a few thousand tuples must not wake it."""


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed, instead of giving it back and asking for it again with each large message.

    Returns:
        False where the C library is another one.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all(any(mallopt(option, size) for size in KEPT_SIZES) for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))


def settle() -> None:
    """After the start: what exists now is here to stay, so the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
