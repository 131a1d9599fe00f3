"""The Wall Clock as a process, and what others call to use it.

From Erlang::

    {get_time_result, #{epoch_time := Ms}} = gen_server:call({wall_clock, 'py@127.0.0.1'}, get_time).
"""

from __future__ import annotations

from typing import Any

from engines.engine import Client, Engine, ask
from engines.wall_clock.behaviour import BEHAVIOUR
from engines.wall_clock.messages import GetTime

WALL_CLOCK = "wall_clock"
"""The name that a node's own Wall Clock is registered under."""


def get_time(client: Client, clock: Any = WALL_CLOCK, timeout_s: float | None = 5.0) -> int:
    """The time in milliseconds since 1970-01-01 UTC, never less than before.

    Raises:
        ErlangExit: no answer, and why: `NoProcess`, `NoConnection`, `CallTimeout`.
    """
    epoch_time: int = ask(client, clock, GetTime(), timeout_s).epoch_time
    return epoch_time


class WallClock(Engine):
    """Tells the time, which never goes back."""

    engine = BEHAVIOUR
