"""Code typed at a prompt shares the node with everybody: it is made to give way, and can be interrupted.

While a shell runs code, a thread of the operating system has Python call a signal handler in the main thread every
few milliseconds; no signal is sent, so no system call is cut short. Where the handler finds itself in code of a shell,
and nothing on that code's stack is in the middle of something that must not be left (`_HANDS_OFF`), it goes through the
hub once: sockets, timers and other processes are served, and an interrupt can be thrown in at that place. Code of any
other greenlet is never touched. With no shell running code there is no thread and no handler.

Signal handlers run in the main thread only: in a node that runs in another one, code at a prompt gives way only where
it waits. Code in C (a large sum, a regular expression) gives way when it returns.
"""

from __future__ import annotations

import _thread
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

import greenlet
from gevent import get_hub
from gevent.monkey import get_original

from erlang_bridge.errors import ProcessExit
from erlang_bridge.kernel.give_way import give_way
from erlang_bridge.process import Process

TICK_S: Final = 0.005
"""How long code of a shell runs before it gives way; as much again may pass until the thread gets its turn."""
HURRY_S: Final = 0.001
"""Until the next try, where a tick has found it in the middle of something."""
PRESS_S: Final = 0.0002
"""The same, where it does not end when it has to."""
QUIET_S: Final = 0.05
QUIET_TICKS: Final = 20
"""After so many ticks that met no code of a shell (it waits for something) they come more slowly."""

_HANDS_OFF: Final = frozenset(
    {
        "_weakrefset",
        "concurrent",
        "erlang_bridge",
        "gevent",
        "greenlet",
        "importlib",
        "logging",
        "queue",
        "subprocess",
        "tempfile",
        "threading",
        "weakref",
    }
)
"""Top-level modules that hold locks, or are between two steps that belong together. `_SAFE` are exceptions."""
_SAFE: Final = "erlang_bridge.shell."
_UNSAFE: Final = frozenset({"erlang_bridge.shell.preemption", "erlang_bridge.shell.streams"})


class _Turn:
    """Code of a shell that runs now, or waits: whose it is, on which greenlet, and the frame that it is called from."""

    __slots__ = ("bottom", "greenlet", "process")

    def __init__(self, process: Process, running: Any, bottom: FrameType | None) -> None:
        self.process = process
        self.greenlet = running
        self.bottom = bottom


class _Clock:
    """Ticks for all shells of this Python program: signal handlers belong to it, not to a node."""

    def __init__(self) -> None:
        self.turns: dict[Any, _Turn] = {}
        self._lock = get_original("_thread", "allocate_lock")()
        self._thread_runs = False
        self._signal: int | None = None
        self._earlier: Any = None
        self._hurry = False
        self._quiet = 0
        self._switch_interval_s: float | None = None
        """What it was before `_press`."""

    def add(self, turn: _Turn) -> None:
        with self._lock:
            self.turns[turn.greenlet] = turn
            self._quiet = 0
        if self._signal is None and not self._install():
            return
        with self._lock:
            starts, self._thread_runs = not self._thread_runs, True
        if starts:
            get_original("_thread", "start_new_thread")(self._run, ())

    def remove(self, turn: _Turn) -> None:
        with self._lock:
            del self.turns[turn.greenlet]
            ends = not self.turns and self._signal is not None
        if self._switch_interval_s is not None:
            sys.setswitchinterval(self._switch_interval_s)
            self._switch_interval_s = None
        if ends:
            # It first calls the handler for a tick that has come already: none is left over.
            signal.signal(self._signal, self._earlier)  # type: ignore[arg-type]  # `ends` says that it is one
            self._signal = None

    def _install(self) -> bool:
        """False: not the main thread, or no signal that nobody uses."""
        for number in _candidates():
            if signal.getsignal(number) is signal.SIG_DFL:
                try:
                    self._earlier = signal.signal(number, self._on_tick)
                except ValueError:
                    return False
                self._signal = number
                return True
        return False

    def _run(self) -> None:
        sleep = get_original("time", "sleep")
        while True:
            sleep(self._pause_s())
            with self._lock:
                if not self.turns or self._signal is None:
                    self._thread_runs = False
                    return
                self._quiet += 1
                _thread.interrupt_main(self._signal)  # type: ignore[arg-type]  # any number will do

    def _pause_s(self) -> float:
        if self._switch_interval_s is not None:
            return PRESS_S
        if self._quiet >= QUIET_TICKS:
            return QUIET_S
        return HURRY_S if self._hurry else TICK_S

    def _press(self) -> None:
        """Tick as often as possible: Python lets the thread have its turn after 5 ms only, unless told otherwise."""
        if self._switch_interval_s is None:
            self._switch_interval_s = sys.getswitchinterval()
            sys.setswitchinterval(PRESS_S)

    def _on_tick(self, _number: int, frame: FrameType | None) -> None:
        turn = self.turns.get(greenlet.getcurrent())
        self._hurry = False
        if turn is None:
            return
        self._quiet = 0
        if not _may_leave(frame, turn.bottom):
            self._hurry = True
            return
        give_way()
        if not turn.process.alive:
            # Again and again where the code catches it, until it is met where it does not.
            self._press()
            raise ProcessExit(turn.process.exit_reason)


def _candidates() -> Iterator[int]:
    last = getattr(signal, "SIGRTMAX", None)
    if last is not None:
        yield from range(last, signal.SIGRTMIN, -1)
    yield from (signal.SIGVTALRM, signal.SIGPROF, signal.SIGUSR2)


def _may_leave(frame: FrameType | None, bottom: FrameType | None) -> bool:
    while frame is not None and frame is not bottom:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in _HANDS_OFF and (not module.startswith(_SAFE) or module in _UNSAFE):
            return False
        frame = frame.f_back
    return True


_clock: Final = _Clock()


class user_code:  # noqa: N801  # used as a function is
    """Run code of a shell, as `process`, so that it gives way to others and `interrupt` reaches it.

    Args:
        bottom: the frame that calls it; what is below is not looked at.

    Raises:
        KeyboardInterrupt: was interrupted. Raised inside only.
    """

    # No generator: the frames of contextlib do not keep a tick away, and the end must not be cut short.

    __slots__ = ("_turn",)

    def __init__(self, process: Process, bottom: FrameType | None) -> None:
        running = greenlet.getcurrent()
        self._turn = None if running in _clock.turns else _Turn(process, running, bottom)

    def __enter__(self) -> None:
        if self._turn is not None:
            _clock.add(self._turn)

    def __exit__(self, *_: object) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            _clock.remove(turn)


def interrupt(process: Process) -> None:
    """Have KeyboardInterrupt raised in the code that a shell runs as `process`, wherever it waits or loops.

    Nothing happens where it runs none by then.
    """
    get_hub().loop.run_callback(_throw, process)


def _throw(process: Process) -> None:
    for turn in list(_clock.turns.values()):
        if turn.process is process and process.alive and not turn.greenlet.dead:
            turn.greenlet.throw(KeyboardInterrupt())
            return


def is_active() -> bool:
    """Whether a shell of this program runs code, so that there are ticks."""
    return bool(_clock.turns)
