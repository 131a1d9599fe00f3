"""The thread that ticks: a handler that never yields to the hub must not make peers take this node for dead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from gevent.monkey import get_original


class Ticking(Protocol):
    """What can be told to tick, from another thread."""

    def tick(self) -> None: ...


class Ticker:
    """Tells each of `channels()` to tick, every `interval_s` seconds, from an operating system thread.

    The thread and its locks are the real ones also where gevent has patched `threading`: a patched thread would be
    a greenlet of the hub, and wait for it.
    """

    def __init__(self, interval_s: float, channels: Callable[[], Iterable[Ticking]]) -> None:
        self._interval_s = interval_s
        self._channels = channels
        self._stopped: Any = None
        self._ended: Any = None

    def start(self) -> None:
        """Start the thread; nothing happens if it runs already."""
        if self._stopped is not None:
            return
        allocate_lock = get_original("_thread", "allocate_lock")
        start_new_thread = get_original("_thread", "start_new_thread")
        self._stopped, self._ended = allocate_lock(), allocate_lock()
        self._stopped.acquire()
        self._ended.acquire()
        start_new_thread(self._run, (self._stopped, self._ended))

    def stop(self) -> None:
        """End the thread and wait until it has ended."""
        if self._stopped is None:
            return
        self._stopped.release()
        self._ended.acquire()
        self._stopped = self._ended = None

    def _run(self, stopped: Any, ended: Any) -> None:
        try:
            while not stopped.acquire(True, self._interval_s):
                for channel in self._channels():
                    channel.tick()
        finally:
            ended.release()
