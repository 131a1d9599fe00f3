"""``observer_backend:get_table_list/2`` and ``ets``: the node's tables, read from other nodes."""

from __future__ import annotations

from typing import Any


def export(node: Any) -> None:
    """Export what is here to other nodes."""
