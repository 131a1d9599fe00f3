"""The code of a node: which modules are loaded, and new code for running processes."""

from __future__ import annotations

from typing import Any


class CodeServer:
    """What ``code`` does on a BEAM, for the Python modules of one node."""

    def __init__(self, node: Any) -> None:
        self._node = node


def export(node: Any) -> None:
    """Export what is here to other nodes."""
