"""What the memory of this operating system process is used for.

Measured, each time somebody asks: the pages that are resident, what CPython's allocator and the C library's have
taken from the system and given out, and the code of the Python modules that are loaded.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

log = logging.getLogger("erlang_bridge.kernel")

PYMALLOC: Final = "pymalloc"
LIBC: Final = "libc_malloc"
MAPPED: Final = "mapped"

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_ARENAS: Final = re.compile(rb"^\d+ arenas \* \d+ bytes/arena\s+=\s+([\d,]+)$", re.MULTILINE)
_BLOCKS: Final = re.compile(rb"^# bytes in allocated blocks\s+=\s+([\d,]+)$", re.MULTILINE)
_MODULES_A_SLICE: Final = 8


@dataclass(frozen=True, slots=True)
class Allocator:
    """One source of memory.

    Attributes:
        used: bytes in the blocks that it has given out.
        held: bytes that it has from the system; not less than `used`, and never 0.
    """

    name: str
    used: int
    held: int


def resident_bytes() -> tuple[int, int]:
    """The pages of the process that are in memory, and those of them that are files' (code, libraries)."""
    try:
        fields = Path("/proc/self/statm").read_bytes().split()
    except OSError:
        # Not Linux: the most there has been, in bytes on macOS.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return (peak if sys.platform == "darwin" else peak << 10), 0
    return int(fields[1]) * _PAGE, int(fields[2]) * _PAGE


class Allocators:
    """Reads the allocators' own books. What this platform or build of Python has none of is part of ``mapped``."""

    def __init__(self) -> None:
        self._libc: Any = ctypes.CDLL(None)
        self._statistics = self._find_pymalloc()
        self._mallinfo = self._find_mallinfo()

    def measure(self) -> list[Allocator]:
        """``pymalloc`` and ``libc_malloc`` where they can be read, and ``mapped``: all the rest that is resident."""
        resident, of_files = resident_bytes()
        found = [allocator for allocator in (self._pymalloc(), self._malloc()) if allocator is not None]
        # Pages that an allocator has and has not touched yet are not resident.
        rest = max(resident - sum(allocator.held for allocator in found), of_files, _PAGE)
        return [*found, Allocator(MAPPED, rest, rest)]

    def _find_pymalloc(self) -> Any:
        write: Any = getattr(ctypes.pythonapi, "_PyObject_DebugMallocStats", None)
        libc = self._libc
        if write is None or not hasattr(libc, "open_memstream"):
            return None
        libc.open_memstream.restype = ctypes.c_void_p
        libc.open_memstream.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_size_t)]
        libc.fclose.argtypes = libc.free.argtypes = [ctypes.c_void_p]
        write.argtypes = [ctypes.c_void_p]
        return write

    def _pymalloc(self) -> Allocator | None:
        """From the text that ``sys._debugmallocstats`` prints, written into memory."""
        if self._statistics is None:
            return None
        libc = self._libc
        text, size = ctypes.c_void_p(), ctypes.c_size_t()
        stream = libc.open_memstream(ctypes.byref(text), ctypes.byref(size))
        if not stream:
            return None
        self._statistics(stream)
        libc.fclose(stream)
        written = ctypes.string_at(text.value, size.value) if text.value else b""
        libc.free(text)
        arenas, blocks = _ARENAS.search(written), _BLOCKS.search(written)
        if arenas is None or blocks is None:
            return None  # PYTHONMALLOC=malloc, or a Python with another allocator
        return _allocator(PYMALLOC, _number(blocks), _number(arenas))

    def _find_mallinfo(self) -> Any:
        # glibc from 2.33; its predecessor counts in 32 bits.
        mallinfo = getattr(self._libc, "mallinfo2", None)
        if mallinfo is not None:
            mallinfo.restype = _Mallinfo
        return mallinfo

    def _malloc(self) -> Allocator | None:
        if self._mallinfo is None:
            return None
        told = self._mallinfo()
        return _allocator(LIBC, told.uordblks + told.hblkhd, told.arena + told.hblkhd)


class _Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def _allocator(name: str, used: int, held: int) -> Allocator | None:
    return Allocator(name, min(used, held), held) if held > 0 else None


def _number(match: re.Match[bytes]) -> int:
    return int(match[1].replace(b",", b""))


class CodeSizes:
    """The code of the Python modules that are loaded; each is measured once."""

    def __init__(self) -> None:
        self._sizes: dict[str, tuple[int, int]] = {}
        self._total = 0

    def measure(self) -> Iterator[int]:
        """The bytes in all code objects, functions and classes.

        Gives the sum so far after every few modules that are new, so that others can go on meanwhile; the last one is
        the result.
        """
        measured = 0
        for name, module in list(sys.modules.items()):
            if type(module) is not ModuleType:
                continue
            identity, size = self._sizes.get(name, (0, 0))
            if identity == id(module):
                continue
            new = _size_of(module)
            self._sizes[name] = (id(module), new)
            self._total += new - size
            measured += 1
            if measured % _MODULES_A_SLICE == 0:
                yield self._total
        yield self._total


def _size_of(module: ModuleType) -> int:
    try:
        return module_size(module)
    except Exception:
        # A class of anybody's may raise anything when it is asked.
        log.debug("the code of %s cannot be measured", module, exc_info=True)
        return 0


def module_size(module: ModuleType) -> int:
    """Bytes of the code that a module has defined; neither its data nor what it has imported."""
    name = module.__name__
    size = 0
    seen: set[int] = set()
    scopes = [list(vars(module).values())]
    while scopes:
        for value in scopes.pop():
            function = value.__func__ if type(value) in (staticmethod, classmethod) else value
            if type(function) is FunctionType and function.__module__ == name:
                size += sys.getsizeof(function) + _code_size(function.__code__)
            elif type(value) is property:
                accessors = (value.fget, value.fset)
                size += sum(_code_size(part.__code__) for part in accessors if type(part) is FunctionType)
            elif issubclass(type(value), type) and value.__module__ == name and id(value) not in seen:
                seen.add(id(value))
                size += sys.getsizeof(value)
                scopes.append(list(vars(value).values()))
    return size


def _code_size(code: CodeType) -> int:
    size = 0
    left = [code]
    while left:
        code = left.pop()
        for part in (code, code.co_linetable, code.co_exceptiontable, code.co_consts):
            size += sys.getsizeof(part)
        left.extend(constant for constant in code.co_consts if type(constant) is CodeType)
    return size
