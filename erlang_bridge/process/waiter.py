"""One greenlet that waits for one result, resumed through the run queue."""

from __future__ import annotations

from typing import Any, Final

import greenlet

from erlang_bridge.process.scheduler import Scheduler, Worker

PENDING: Final = object()


class Waiter:
    """A place for one result. `set` may be called from anywhere in the node's thread, once; later ones are ignored."""

    __slots__ = ("_greenlet", "_queued", "result", "scheduler")

    needs_greenlet = True

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.result: Any = PENDING
        self._greenlet: Any = None
        self._queued = False

    @property
    def done(self) -> bool:
        return self.result is not PENDING

    def set(self, result: Any) -> None:
        if self.result is not PENDING:
            return
        self.result = result
        self._wake()

    def _wake(self) -> None:
        if self._greenlet is not None and not self._queued:
            self._queued = True
            self.scheduler.enqueue(self)

    def wait(self, timeout_s: float | None = None) -> Any:
        """The result, or `PENDING` if there is none within `timeout_s` (None: waits for ever).

        Raises:
            RuntimeError: called in the hub, where nothing may block.
        """
        if self.result is not PENDING:
            return self.result
        hub = self.scheduler.hub
        current = greenlet.getcurrent()
        if current is hub:
            raise RuntimeError("cannot wait in the hub: start a process or a greenlet for what blocks")
        self._greenlet = current
        timer: Any = None
        if timeout_s is not None:
            timer = hub.loop.timer(max(0.0, timeout_s))
            timer.start(self._wake, update=True)
        try:
            hub.switch()
        finally:
            self._greenlet = None
            if timer is not None:
                timer.stop()
                timer.close()
        return self.result

    def resume(self) -> None:
        """Called in the hub, by the scheduler."""
        self._queued = False
        waiting = self._greenlet
        if waiting is not None:
            waiting.switch()

    def run_turn(self, worker: Worker) -> int:
        raise NotImplementedError("a waiter has no turns")
