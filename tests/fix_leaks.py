"""Nothing may be left behind by a test: no greenlet, no thread, no open socket or pipe."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import gevent
import greenlet
import pytest
from gevent.hub import Hub
from gevent.threadpool import _WorkerGreenlet  # type: ignore[attr-defined]  # gevent names it nowhere else

_known: weakref.WeakSet[greenlet.greenlet] = weakref.WeakSet()
"""Greenlets that were there before the test."""

_PATIENCE_S = 2.0
"""What has been told to end may take a moment."""


def _greenlets() -> set[greenlet.greenlet]:
    """Those started and not finished; hubs, main greenlets and gevent's pool of threads left out."""
    return {
        found
        for found in gc.get_objects()
        if isinstance(found, greenlet.greenlet)
        and not isinstance(found, (Hub, _WorkerGreenlet))
        and found
        and found.parent is not None
        and found is not greenlet.getcurrent()
    }


def _open_files() -> dict[str, str]:
    """Sockets and pipes of this process: descriptor -> what it is."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115  # "socket:[123]" is no path
        except OSError:
            continue  # closed meanwhile, as the one that reads the folder
        if target.startswith(("socket:", "pipe:")):
            found[entry.name] = target
    return found


def _threads() -> int:
    """Threads of the operating system, those of gevent's idle pool left out."""
    pool = gevent.get_hub().threadpool
    return len(os.listdir("/proc/self/task")) - (pool.size if pool is not None else 0)  # noqa: PTH208


@pytest.fixture(scope="session")
def optimiser() -> None:
    """OR-tools in memory before the test: it has a thread from its import on, which is not the test's."""
    import ortools.sat.python.cp_model  # noqa: F401


@pytest.fixture(autouse=True, scope="module")
def thawed() -> Iterator[None]:
    """What `no_leaks` has put aside can be garbage again between the modules."""
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_leaks(thawed: None) -> Iterator[None]:
    """Fail a test that leaves something behind."""
    # What is there already is put aside: looking at all objects takes longer than most tests. Code under test may take
    # it out again.
    _known.update(_greenlets())
    gc.freeze()
    gevent.get_hub().threadpool  # noqa: B018  # made now, so that its own descriptors are not held against the test
    files, threads = _open_files(), _threads()
    yield
    deadline = monotonic() + _PATIENCE_S
    while True:
        left: list[str] = [f"greenlet {found!r}" for found in _greenlets().difference(_known)]
        left += [f"descriptor {number}: {what}" for number, what in (_open_files().items() - files.items())]
        if _threads() > threads:
            left.append(f"threads: {threads} before, {_threads()} now: {threading.enumerate()}")
        if not left:
            return
        if monotonic() > deadline:
            pytest.fail("left behind:\n" + "\n".join(sorted(left)), pytrace=False)
        gevent.sleep(0.005)
