"""The Ticker as a process, and what others call to use it.

From Erlang and Elixir::

    gen_server:cast({ticker, 'py@127.0.0.1'}, increment).
    N = gen_server:call({ticker, 'py@127.0.0.1'}, count).

    GenServer.cast({:ticker, :"py@127.0.0.1"}, :increment)
    n = GenServer.call({:ticker, :"py@127.0.0.1"}, :count)

A supervisor of a BEAM starts one with ``pyanoma:start_link(ticker, Start)``; for `Start` see `behaviour.initial_state`.
"""

from __future__ import annotations

from typing import Any

from engines.engine import Client, Dialect, Engine
from engines.ticker.behaviour import BEHAVIOUR
from engines.ticker.messages import COUNT, INCREMENT, from_call, from_cast, to_reply

TICKER = "ticker"
"""The name that a node's own Ticker is registered under."""


def increment(client: Client, ticker: Any = TICKER) -> None:
    """Raise the counter of `ticker` by one. Does not wait."""
    client.cast(ticker, INCREMENT)


def count(client: Client, ticker: Any = TICKER, timeout_s: float | None = 5.0) -> int:
    """The counter of `ticker`: all increments before it from the same caller are in it.

    Raises:
        ErlangExit: no answer, and why: `NoProcess`, `NoConnection`, `CallTimeout`.
    """
    counter: int = client.call(ticker, COUNT, timeout_s)
    return counter


class Ticker(Engine):
    """Counts the increments it is sent."""

    engine = BEHAVIOUR
    dialect = Dialect(from_call, from_cast, to_reply)
