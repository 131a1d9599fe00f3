"""A handshake at a socket: carries bytes between the two, and ends it when a step takes too long."""

from __future__ import annotations

import _socket
import logging
from collections.abc import Callable
from typing import Any, Final

from gevent.event import Event

from erlang_bridge.dist.handshake import Handshake, State
from erlang_bridge.errors import BridgeError, HandshakeError, HandshakeTimeout, RemoteProtocolError, shown_name

logger = logging.getLogger("erlang_bridge.net")

_OWNER_ACTS: Final = frozenset({State.DECIDING, State.AUTHENTICATED, State.CONNECTED})


class Handshaking:
    """Runs `handshake` on `sock`, in the hub, without a greenlet.

    Args:
        sock: connected, not blocking; owned from here on, until `release`.
        on_turn: called when the owner has to act: in `State.DECIDING`, `State.AUTHENTICATED`, `State.CONNECTED`.
        on_failed: called once, after the socket has been closed, with the reason; not after `release` or `close`.
    """

    def __init__(
        self,
        loop: Any,
        sock: _socket.socket,
        handshake: Handshake,
        step_s: float,
        on_turn: Callable[[Handshaking], None],
        on_failed: Callable[[Handshaking, BridgeError], None],
    ) -> None:
        self.handshake = handshake
        self.over = Event()
        """Set when the socket is given away or closed."""
        self._sock = sock
        self._step_s = step_s
        self._on_turn = on_turn
        self._on_failed = on_failed
        self._open = True
        self._readable = loop.io(sock.fileno(), 1)
        self._timer = loop.timer(step_s, step_s)

    def start(self, first: bytes = b"") -> None:
        """Send `first`, and begin to wait for the peer."""
        self._readable.start(self._on_readable)
        self._timer.start(self._on_timeout)
        if first:
            self._guarded(lambda: self.send(first))

    def send(self, data: bytes) -> None:
        """Write to the peer.

        Raises:
            HandshakeError: the socket does not take it all, which it does unless the connection is broken.
        """
        try:
            sent = self._sock.send(data)
        except OSError as error:
            raise self.handshake.lost() from error
        if sent < len(data):
            raise HandshakeError(self.handshake.peer_name, "the socket takes no data")

    def release(self) -> _socket.socket:
        """Give the socket away; the handshake is over here."""
        self._stop()
        return self._sock

    def close(self) -> None:
        """Give up: close the socket, tell nobody."""
        if self._open:
            self._stop()
            self._sock.close()

    def fail(self, error: BridgeError) -> None:
        """Close the socket and report `error`."""
        if self._open:
            self.close()
            self._on_failed(self, error)

    def _on_readable(self) -> None:
        self._guarded(self._read)

    def _on_timeout(self) -> None:
        self.fail(HandshakeTimeout(self.handshake.peer_name, self.handshake.state.value, self._step_s))

    def _read(self) -> None:
        try:
            data = self._sock.recv(4096)
        except BlockingIOError:
            return
        except OSError as error:
            raise self.handshake.lost() from error
        if not data:
            raise self.handshake.lost()
        before = self.handshake.state
        answer = self.handshake.receive_data(data)
        while True:
            if answer:
                self.send(answer)
            if self.handshake.state not in _OWNER_ACTS:
                break
            self._on_turn(self)
            if not self._open:
                return
            answer = self.handshake.receive_data(b"")
        if self.handshake.state is not before:
            # A step is a message, not a byte: a peer that drips bytes gains no time.
            self._timer.again(self._on_timeout)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except RemoteProtocolError as error:
            self.fail(HandshakeError(self.handshake.peer_name, str(error)))
        except BridgeError as error:
            self.fail(error)
        except Exception as error:
            logger.exception("a handshake with %s went wrong", shown_name(self.handshake.peer_name))
            self.fail(HandshakeError(self.handshake.peer_name, f"an error of this node: {error!r}"))

    def _stop(self) -> None:
        self._open = False
        self.over.set()
        for watcher in (self._readable, self._timer):
            watcher.stop()
            watcher.close()
