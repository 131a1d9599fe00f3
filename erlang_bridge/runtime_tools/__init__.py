"""What the tools of a BEAM (observer, etop, dbg, ttb) ask a node for; named as OTP's application of that name."""

from __future__ import annotations

from typing import Any

from erlang_bridge.runtime_tools import appmon_info, dbg, elixir, live_dashboard, observer_backend, ports, rb, tables


def start(node: Any) -> None:
    """Let the tools of other nodes look at `node`."""
    for part in (observer_backend, appmon_info, ports, tables, rb, dbg, live_dashboard, elixir):
        part.export(node)
