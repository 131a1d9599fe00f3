"""The run queue: which process runs next, on which greenlet.

A process that has something to do stands in one queue, which is drained in gevent's hub. A *behaviour* process owns
no greenlet: the drain lends it a pooled one (`Worker`), which handles a bounded number of messages and goes on to
the next process. If a callback blocks (any gevent call that waits), its greenlet stays behind with it, control is
back in the hub, and the drain goes on with another worker. A *body* process owns a greenlet and is resumed when it
has mail.

Greenlets are started and resumed from the hub only: one started from inside another has its C stack below that
one's, and each switch would copy it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, Protocol

import greenlet
from gevent import get_hub

MESSAGES_PER_TURN: Final = 16
SECONDS_PER_TURN: Final = 0.002
"""How many messages, and how long, one process handles before the next one's turn."""
MESSAGES_PER_DRAIN: Final = 2000
SECONDS_PER_DRAIN: Final = 0.005
"""A drain that has used up either goes back to the loop, so that sockets and timers are served."""
TURNS_PER_SWITCH: Final = 64
"""How many turns a worker gives before it goes back to the hub."""
IDLE_WORKERS: Final = 256
"""Parked greenlets that are kept for later turns; more than that end when they have nothing to do."""

log = logging.getLogger("erlang_bridge.process")


class Runnable(Protocol):
    """What may stand in the run queue."""

    needs_greenlet: bool
    """True: `resume` it from the hub. False: give it a turn on a worker."""

    def resume(self) -> None: ...
    def run_turn(self, worker: Worker) -> int: ...


class Worker(greenlet.greenlet):
    """A pooled greenlet. `process` is whose turn it runs.

    Whoever switches to one, gevent included, does so through `switch` or `throw` and comes back when it parks or
    blocks: that is how the time that a process was blocked is told from the time that its code ran.
    """

    __slots__ = ("process", "since")

    process: Any
    since: float
    """On the monotonic clock: when the turn that it runs began."""

    def __init__(self, run: Callable[[], None], parent: Any) -> None:
        super().__init__(run, parent)
        self.process = None
        self.since = 0.0

    def switch(self, *arguments: Any, **keywords: Any) -> Any:
        self.since = monotonic()
        try:
            return greenlet.greenlet.switch(self, *arguments, **keywords)
        finally:
            process = self.process
            if process is not None:
                process.count_turn(monotonic() - self.since)

    def throw(self, *arguments: Any, **keywords: Any) -> Any:
        self.since = monotonic()
        try:
            return greenlet.greenlet.throw(self, *arguments, **keywords)
        finally:
            process = self.process
            if process is not None:
                process.count_turn(monotonic() - self.since)


class Scheduler:
    """One run queue, drained in the hub of the thread that made it. Not for use from other threads."""

    def __init__(self) -> None:
        self.hub: Any = get_hub()
        self.ready: deque[Any] = deque()
        self.budget = 0
        self.deadline = 0.0
        self.turns = 0
        self._idle: list[Worker] = []
        self._scheduled = False
        self._again: Any = None
        self.closed = False
        """True once nothing gets a turn any more."""

    def enqueue(self, runnable: Any) -> None:
        """Have `runnable` run soon. It must not stand in the queue already."""
        self.ready.append(runnable)
        if not self._scheduled:
            self._scheduled = True
            self.hub.loop.run_callback(self._drain)

    def in_hub(self) -> bool:
        """True where nothing may block: in the hub itself."""
        return greenlet.getcurrent() is self.hub

    def _drain(self) -> None:
        ready = self.ready
        self.budget = MESSAGES_PER_DRAIN
        self.deadline = deadline = monotonic() + SECONDS_PER_DRAIN
        idle = self._idle
        try:
            while ready and self.budget > 0:
                runnable = ready[0]
                if runnable.needs_greenlet:
                    ready.popleft()
                    self.budget -= 1
                    runnable.resume()
                elif self.closed:
                    ready.popleft()
                else:
                    worker = idle.pop() if idle else Worker(self._work, self.hub)
                    worker.switch()
                if monotonic() > deadline:
                    break
        finally:
            # Also after an exception (an interrupt from the keyboard comes anywhere): the others must not stand still.
            self._go_on()

    def _go_on(self) -> None:
        if not self.ready:
            self._scheduled = False
        elif self.closed:
            self.hub.loop.run_callback(self._drain)
        else:
            # A timer of 0 s, not run_callback: the loop polls sockets and other timers before it fires.
            if self._again is None:
                self._again = self.hub.loop.timer(0)
            self._again.start(self._drain)

    def _work(self) -> None:
        me: Any = greenlet.getcurrent()
        ready = self.ready
        idle = self._idle
        switch_to_hub = self.hub.switch
        while not self.closed:
            turns = 0
            while ready and self.budget > 0 and not ready[0].needs_greenlet and turns < TURNS_PER_SWITCH:
                turns += 1
                process = ready.popleft()
                self.budget -= process.run_turn(me)
                now = monotonic()
                took = now - me.since
                me.since = now
                process.turns += 1
                process.run_time_s += took
                if took > process.longest_turn_s:
                    process.longest_turn_s = took
                if me.gr_context is not None:
                    # Context variables that one process has set are not for the next one.
                    me.gr_context = None
                if now > self.deadline:
                    break
            self.turns += turns
            # A parked worker keeps nothing of the last process alive.
            process = None
            if len(idle) >= IDLE_WORKERS or self.closed:
                return
            idle.append(me)
            try:
                switch_to_hub()
            except greenlet.GreenletExit:
                return

    def close(self) -> None:
        """Give no more turns; parked workers end. Who waits for something is still resumed when it comes."""
        self.closed = True
        waiting = [runnable for runnable in self.ready if runnable.needs_greenlet]
        self.ready.clear()
        self.ready.extend(waiting)
        if self._again is not None:
            self._again.stop()
            self._again.close()
            self._again = None
        idle, self._idle = self._idle, []
        for worker in idle:
            # Resumed, it sees that the scheduler is closed and ends.
            self.hub.loop.run_callback(worker.switch)
        # What was to drain the queue may have gone with the timer.
        self._scheduled = True
        self.hub.loop.run_callback(self._drain)
