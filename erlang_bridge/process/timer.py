"""Messages that wait for their time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from erlang_bridge.errors import BridgeError
from erlang_bridge.terms import Pid

if TYPE_CHECKING:
    from erlang_bridge.process.table import ProcessTable

log = logging.getLogger("erlang_bridge.process")


class Timer:
    """A message that waits for its time. ``erlang:send_after/3``."""

    __slots__ = ("_destination", "_message", "_process", "_table", "_timer")

    def __init__(self, table: ProcessTable, delay_s: float, destination: Any, message: Any) -> None:
        self._table = table
        self._destination = destination
        self._message = message
        self._timer = table.scheduler.hub.loop.timer(max(0.0, delay_s))
        # update: the loop's idea of now is stale in a callback that has run for long.
        self._timer.start(self._fire, update=True)
        table.timers.add(self)
        self._process = table.find(destination) if type(destination) is Pid else None
        if self._process is not None:
            if self._process.timers is None:
                self._process.timers = set()
            self._process.timers.add(self)

    def _fire(self) -> None:
        if not self.cancel():
            return
        try:
            self._table.send(None, self._destination, self._message)
        except BridgeError as error:
            log.error("a message sent by timer to %s was dropped: %s", self._destination, error)

    def cancel(self) -> bool:
        """False: it was sent or cancelled already."""
        timer, self._timer = self._timer, None
        if timer is None:
            return False
        timer.stop()
        timer.close()
        self._table.timers.discard(self)
        if self._process is not None and self._process.timers is not None:
            self._process.timers.discard(self)
        return True
