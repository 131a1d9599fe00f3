"""Long work in pieces: others have their turn between two of them."""

from __future__ import annotations

from gevent import get_hub


def give_way() -> None:
    """Let sockets, timers and other processes have their turn. For processes and other greenlets, not for the hub.

    ``gevent.sleep(0)`` is not enough: up to a hundred of them are served before the loop looks at a socket again.
    """
    hub = get_hub()
    timer = hub.loop.timer(0)
    try:
        hub.wait(timer)
    finally:
        timer.close()
