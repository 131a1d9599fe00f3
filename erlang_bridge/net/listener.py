"""The listening socket."""

from __future__ import annotations

import _socket
import logging
from collections.abc import Callable
from errno import EADDRINUSE
from typing import Any, Final

from erlang_bridge.net.options import NetOptions

logger = logging.getLogger("erlang_bridge.net")

_ACCEPTS_A_TURN: Final = 16
_PAUSE_S: Final = 0.1


class Listener:
    """Accepts connections, in the hub, and hands each to `on_socket`, not blocking, with the peer's address.

    Raises:
        OSError: the address, or every port of the range, is taken.
    """

    def __init__(self, loop: Any, options: NetOptions, on_socket: Callable[[_socket.socket, Any], None]) -> None:
        self._on_socket = on_socket
        self._sock = _bound_socket(options)
        self.port: int = self._sock.getsockname()[1]
        self._acceptable = loop.io(self._sock.fileno(), 1)
        self._pause = loop.timer(_PAUSE_S)

    @property
    def socket(self) -> _socket.socket:
        """To look at: its address and options."""
        return self._sock

    def start(self) -> None:
        """Begin to accept; until then connections wait in the backlog. Idempotent."""
        if not self._acceptable.active:
            self._acceptable.start(self._accept)

    def close(self) -> None:
        """Accept no more."""
        for watcher in (self._acceptable, self._pause):
            watcher.stop()
            watcher.close()
        self._sock.close()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                # Not accept(): the class with that method is replaced where gevent has patched `socket`.
                descriptor, address = self._sock._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                # Out of descriptors: the connection stays in the backlog, and accepting at once would spin.
                logger.error("cannot accept connections at port %d: %s", self.port, error)
                self._acceptable.stop()
                self._pause.start(self.start)
                return
            sock = _socket.socket(fileno=descriptor)
            sock.setblocking(False)
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            self._on_socket(sock, address)


def _bound_socket(options: NetOptions) -> _socket.socket:
    first, last = options.port_range or (0, 0)
    family = _socket.AF_INET6 if ":" in options.host else _socket.AF_INET
    for port in range(first, last + 1):
        sock = _socket.socket(family, _socket.SOCK_STREAM)
        try:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            sock.bind((options.host, port))
            sock.listen(options.backlog)
            sock.setblocking(False)
            return sock
        except OSError as error:
            sock.close()
            if error.errno != EADDRINUSE or port == last:
                where = f"{options.host}:{f'{first} to {last}' if last > first else port}"
                raise OSError(error.errno, f"cannot listen at {where}: {error.strerror or error}") from None
    raise AssertionError("a port range has at least one port")
