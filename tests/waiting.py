"""Waiting for something to become true, bounded."""

from __future__ import annotations

from collections.abc import Callable

import gevent


def until(condition: Callable[[], object], timeout_s: float = 5.0) -> bool:
    """Whether `condition` becomes true within the time."""
    with gevent.Timeout(timeout_s, False):
        while not condition():
            gevent.sleep(0.01)
        return True
    return False
