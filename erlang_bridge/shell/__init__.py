"""A Python prompt inside the node, for ``erl -remsh``, ``iex --remsh`` and ``pyanoma shell``."""

from __future__ import annotations

from typing import Any


def start(node: Any) -> None:
    """Let other nodes open a shell here if ``node.shell_enabled``; else refuse them in words."""
