"""What a node says of itself: ``erlang:system_info/1``, ``erlang:statistics/1``, ``erlang:memory/0``."""

from __future__ import annotations

from typing import Any


def export(node: Any) -> None:
    """Export what is here to other nodes."""
