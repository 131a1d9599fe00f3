"""The node that a command uses to talk with a cluster: hidden, not listening, gone with the command."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import gevent

from erlang_bridge import NetOptions, Node
from erlang_bridge.epmd.node_names import parse_node_name
from erlang_bridge.errors import HandshakeTimeout

DEFAULT_TIMEOUT_S: Final = 7.0


def client_name(target: str) -> str:
    """A name that no other node has, long or short as `target` is: a BEAM connects only with its own kind."""
    host = "127.0.0.1" if parse_node_name(target, key="NODE").long else socket.gethostname().partition(".")[0]
    return f"pyanoma-{secrets.token_hex(6)}@{host}"


@contextmanager
def connected(target: str, cookie: str | None, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[Node]:
    """A node that is connected with `target`.

    Raises:
        ConfigError: not a node name, or no cookie that can be used.
        HandshakeError, EpmdError, ConnectionLost: why there is no connection, within `timeout_s`.
    """
    with Node(client_name(target), cookie=cookie, listen=False, options=NetOptions(setup_time_s=timeout_s)) as node:
        with gevent.Timeout(timeout_s, HandshakeTimeout(target, "connection", timeout_s)):
            node.connect(target)
        yield node
