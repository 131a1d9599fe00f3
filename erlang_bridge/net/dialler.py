"""Finding a node and opening a socket to it, in the greenlet that dials."""

from __future__ import annotations

import _socket
import os
from collections.abc import Callable
from errno import EINPROGRESS

from gevent import Timeout, get_hub

from erlang_bridge.errors import HandshakeError, HandshakeTimeout


def open_socket(node_name: str, resolve: Callable[[str], tuple[str, int]], step_s: float) -> _socket.socket:
    """A connected socket, not blocking, to where `resolve` says that the node listens.

    Args:
        resolve: gives address and port; may block the greenlet.
        step_s: time for each of the two steps.

    Raises:
        EpmdError: epmd does not answer, or does not know the node.
        HandshakeError: the host is unknown, nothing listens there, or it takes too long.
    """
    try:
        with Timeout(step_s, HandshakeTimeout(node_name, "address", step_s)):
            host, port = resolve(node_name)
    except OSError as error:
        raise HandshakeError(node_name, f"its address cannot be found: {error}") from error
    sock = _socket.socket(_socket.AF_INET6 if ":" in host else _socket.AF_INET, _socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        with Timeout(step_s, HandshakeTimeout(node_name, f"TCP connection at {host}:{port}", step_s)):
            error_number = _connect(sock, host, port)
        if error_number:
            raise HandshakeError(node_name, f"nothing answers at {host}:{port} ({os.strerror(error_number)})")
    except OSError as error:
        sock.close()
        raise HandshakeError(node_name, f"cannot dial {host}:{port}: {error}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _connect(sock: _socket.socket, host: str, port: int) -> int:
    error_number = sock.connect_ex((host, port))
    if error_number != EINPROGRESS:
        return error_number
    hub = get_hub()
    writable = hub.loop.io(sock.fileno(), 2)
    try:
        hub.wait(writable)
    finally:
        writable.close()
    return sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
