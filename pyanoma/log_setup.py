"""Where log records go: to standard error, one line each, with the node's name."""

from __future__ import annotations

import logging
import time
from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error", "critical")


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


def set_up_logging(node_name: str, level: str) -> None:
    """Log to standard error.

    Args:
        level: one of `LEVELS`; what is less severe is left out.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(
        _Formatter(f"%(asctime)s %(levelname)-7s {node_name.replace('%', '%%')} %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
