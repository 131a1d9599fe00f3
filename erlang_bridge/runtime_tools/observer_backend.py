"""``observer_backend``: system information, load charts, process lists, etop."""

from __future__ import annotations

from typing import Any


def export(node: Any) -> None:
    """Export what is here to other nodes."""
