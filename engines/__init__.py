"""Anoma's engines, and the table of those that every node has.

Each is a package of three: ``messages`` (what it takes and sends), ``behaviour`` (what it does: a pure function of
state and message to effects) and ``server`` (the process, and the functions that others call). What they share is in
`messages` (addresses and the envelope), `effects`, `guards` (how a behaviour decides) and `engine` (how a process
carries that out).
"""

from __future__ import annotations

from typing import Final

from engines.ticker.server import Ticker
from erlang_bridge import GenServer

BUILT_IN: Final[dict[str, type[GenServer]]] = {
    "ticker": Ticker,
}
"""Name, as in ``pyanoma:start_link(Name, Args)``, to class."""
