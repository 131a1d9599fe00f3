"""``dbg``, ``trace``, ``ttb``: tracing of processes here, for the tracers of a BEAM."""

from __future__ import annotations

from typing import Any


def export(node: Any) -> None:
    """Export what is here to other nodes."""
