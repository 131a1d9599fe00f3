"""The node's connections and listeners, as ``observer_backend`` lists ports and sockets."""

from __future__ import annotations

from typing import Any


def export(node: Any) -> None:
    """Export what is here to other nodes."""
