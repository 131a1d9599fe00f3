"""The end of standard input: how a node learns that the program which started it has gone, however that ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final

import gevent
from gevent.monkey import get_original

LAST_RESORT_S: Final = 60.0
"""After so long the process ends without stopping its tree."""


def call_at_end(tell: Callable[[], object], last_resort_s: float = LAST_RESORT_S) -> None:
    """Call `tell`, in the hub, when standard input ends; what comes before that is thrown away.

    A thread of its own waits for it, so that a node whose code blocks ends too, after the time of the last resort.
    """
    # Without one its number may by now be that of another file.
    descriptor = sys.stdin.fileno() if sys.stdin is not None else None
    watcher = gevent.get_hub().loop.async_(ref=False)
    watcher.start(tell)

    def wait() -> None:
        try:
            while descriptor is not None and os.read(descriptor, 65536):
                pass
        except OSError:
            pass  # a terminal that has hung up
        watcher.send()
        get_original("time", "sleep")(last_resort_s)
        os._exit(1)

    get_original("_thread", "start_new_thread")(wait, ())
