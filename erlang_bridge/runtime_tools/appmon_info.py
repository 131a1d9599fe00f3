"""``appmon_info``: the applications of a node and their trees, told when they change."""

from __future__ import annotations

from typing import Any


def export(node: Any) -> None:
    """Export what is here to other nodes."""
