"""One connection with one peer, from the first signal for it to its end: the socket, the queue of output, the ticks.

A channel is pending while the peer is dialled, up, then closed, and never anything else again: a peer that comes back
gets a new channel. Everything but `Channel.tick` runs in the hub's thread. Output of one turn of the hub is written
at once, after it; the lock is there because the ticker's thread may write between two packets.
"""

from __future__ import annotations

import _socket
import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, Literal

from gevent import getcurrent
from gevent.event import Event
from gevent.monkey import get_original

from erlang_bridge.dist.connection import DistConnection, Packet, Signal
from erlang_bridge.dist.control import Control
from erlang_bridge.dist.handshake import Peer
from erlang_bridge.errors import EtfEncodeError, RemoteProtocolError
from erlang_bridge.etf import NO_PAYLOAD, encode_term
from erlang_bridge.net.options import NetOptions
from erlang_bridge.terms import Atom

logger = logging.getLogger("erlang_bridge.net")

_TICK: Final = bytes(4)
_WRITE_SIZE: Final = 256 << 10
_COPY_LIMIT: Final = 32 << 10
_WRITES_A_TURN: Final = 16
_LARGE_READ_SIZE: Final = 1 << 20
_SIGNALS_A_TURN: Final = 250
"""For each so many signals of one read, the next one is put off by a turn of the hub while we are behind."""
_MAX_SIGNAL_SIZE: Final = (1 << 32) - 100


class Channel:
    """A connection with `node`; made by `Connections`.

    Args:
        number: unique among the channels of one `Connections`.
        buffer: to read into; shared by all channels of the hub, as nothing stays in it.
        on_signals: called in the hub with what came, in order.
        on_closed: called once, when the channel has ended.
        is_behind: whether what came before is still to be worked off.
    """

    def __init__(
        self,
        node: Atom,
        number: int,
        *,
        hub: Any,
        options: NetOptions,
        buffer: memoryview,
        on_signals: Callable[[Channel, list[Signal]], None],
        on_closed: Callable[[Channel, str], None],
        is_behind: Callable[[], bool] = lambda: False,
    ) -> None:
        self.node = node
        self.number = number
        self.state: Literal["pending", "up", "closed"] = "pending"
        self.peer: Peer | None = None
        self.failure: BaseException | None = None
        """Why the peer could not be connected with."""
        self.reason = ""
        """Why the channel is closed."""
        self.settled = Event()
        """Set once the channel is no longer pending."""
        self._hub = hub
        self._options = options
        self._buffer = buffer
        self._on_signals = on_signals
        self._on_closed = on_closed
        self._is_behind = is_behind
        self._put_off = 0
        self._connection: DistConnection | None = None
        self._pending: list[tuple[Control, bytes | None]] = []
        self._sock: _socket.socket | None = None
        self._readable: Any = None
        self._writable: Any = None
        self._lock: Any = get_original("_thread", "allocate_lock")()
        self._out: deque[Packet] = deque()
        self._writing: list[bytes | memoryview] = []
        self._write_failed = False
        self._flush_due = False
        self._room = Event()
        self._queued_total = 0
        self._sent_total = 0
        self._bytes_in = 0
        self._packets_out = 0
        self._last_heard = 0.0
        self._sent_at_tick = 0
        self._heard_at_tick = 0

    def __repr__(self) -> str:
        return f"<Channel {self.number} {self.node.name} {self.state}>"

    # -- sending ------------------------------------------------------------------------------

    def send(self, control: Control, payload: Any = NO_PAYLOAD, *, sender_may_wait: bool = False) -> None:
        """Queue a signal, in the modern form; the peer gets the form that it understands.

        What the peer cannot take, and what is sent on a closed channel, is dropped: signals may get lost with a
        connection, and the end of the channel is told by other means.

        Args:
            control: the control tuple.
            payload: the term behind it, if its operation has one.
            sender_may_wait: block the calling greenlet while too much is queued (`NetOptions.high_water`).

        Raises:
            EtfEncodeError: a term that has no counterpart; nothing is queued.
        """
        connection = self._connection
        if connection is not None:
            for packet in connection.packets(control, payload):
                self._put(packet)
        elif self.state == "pending":
            self._keep(control, payload)
        else:
            return
        if sender_may_wait and self._queued_total - self._sent_total > self._options.high_water:
            self._wait_for_room()

    def _keep(self, control: Control, payload: Any) -> None:
        # The flags are not known yet, so neither is the form; the terms may change until they are.
        payload_etf = None if payload is NO_PAYLOAD else encode_term(payload)
        control_etf = encode_term(control)
        if len(control_etf) + len(payload_etf or b"") > _MAX_SIGNAL_SIZE:
            raise EtfEncodeError("", payload, "its packet would be over the 4 GiB that a packet may have")
        self._pending.append((control, payload_etf))
        self._queued_total += len(control_etf) + len(payload_etf or b"")

    def _put(self, packet: Packet) -> None:
        if self._write_failed:
            return
        self._out.append(packet)
        self._packets_out += 1
        self._queued_total += len(packet[0]) + len(packet[1]) if isinstance(packet, tuple) else len(packet)
        if not self._flush_due:
            self._flush_due = True
            self._hub.loop.run_callback(self._flush)

    def _wait_for_room(self) -> None:
        if getcurrent() is self._hub:
            return
        while self.state != "closed" and self._queued_total - self._sent_total > self._options.high_water:
            self._room.clear()
            self._room.wait()

    def _flush(self) -> None:
        if self.state != "up":
            return
        done = False
        try:
            with self._lock:
                for _ in range(_WRITES_A_TURN):
                    if not self._writing and not self._take():
                        done = True
                        break
                    if not self._write():
                        break
        except BlockingIOError:
            pass
        except OSError as error:
            # What the peer sent before it went is still to be read, and reading finds the end.
            logger.debug("cannot write to %s: %s", self.node.name, error)
            self._write_failed = done = True
            self._discard_output()
        if done:
            self._flush_due = False
            self._writable.stop()
        elif not self._writable.active:
            self._writable.start(self._flush)
        self._wake_senders()

    def _wake_senders(self) -> None:
        if self._queued_total - self._sent_total <= self._options.high_water // 2:
            self._room.set()

    def _take(self) -> bool:
        # Small packets are joined: cheaper than a vector of them. Large ones are not copied. Ends at a packet's end.
        out, pieces, size = self._out, self._writing, 0
        small: list[bytes] = []
        while out and size < _WRITE_SIZE:
            packet = out.popleft()
            head, body = packet if isinstance(packet, tuple) else (packet, b"")
            size += len(head) + len(body)
            if len(head) > _COPY_LIMIT:
                head, body = b"", head
            if head:
                small.append(head)
            if body:
                if small:
                    pieces.append(b"".join(small))
                    small = []
                pieces.append(body)
        if small:
            pieces.append(b"".join(small))
        return bool(pieces)

    def _write(self) -> bool:
        # Under the lock. One system call; whether it took everything.
        sock, pieces = self._sock, self._writing
        assert sock is not None
        sent = sock.send(pieces[0]) if len(pieces) == 1 else sock.sendmsg(pieces)
        self._sent_total += sent
        for index, piece in enumerate(pieces):
            if sent < len(piece):
                self._writing = [memoryview(piece)[sent:], *pieces[index + 1 :]]
                return False
            sent -= len(piece)
        self._writing = []
        return True

    def _discard_output(self) -> None:
        with self._lock:
            self._out.clear()
            self._writing = []
            self._sent_total = self._queued_total

    # -- ticks --------------------------------------------------------------------------------

    def tick(self) -> None:
        """Send a tick if nothing was written since the last call; to a hidden peer also if nothing was read.

        Called by the ticker's thread. A packet that is half written is completed first, or no tick is sent.
        """
        with self._lock:
            if self.state != "up" or self._write_failed:
                return
            connection, sock = self._connection, self._sock
            assert connection is not None
            assert sock is not None
            assert self.peer is not None
            heard = connection.packets_in
            is_quiet = self._sent_total == self._sent_at_tick
            is_deaf = self.peer.hidden and heard == self._heard_at_tick
            try:
                if (is_quiet or is_deaf) and (not self._writing or self._write()):
                    self._finish_tick(sock.send(_TICK))
            except OSError:
                pass  # full, then the peer does not read, or broken, then the hub finds out
            self._sent_at_tick = self._sent_total
            self._heard_at_tick = heard

    def _finish_tick(self, sent: int) -> None:
        if sent == len(_TICK):
            return
        # Ticks are not counted as output; the rest of this one is about to be.
        self._writing = [_TICK[sent:]]
        self._sent_total -= len(_TICK) - sent
        self._hub.loop.run_callback_threadsafe(self._flush)

    def is_silent(self, ticktime_s: float) -> bool:
        """Whether no complete packet has come for so long, and nothing waits in the socket.

        A handler may have kept the hub from reading; that must not be held against the peer.
        """
        if self.state != "up" or monotonic() - self._last_heard < ticktime_s:
            return False
        before = self._bytes_in
        self._read_now()
        return self.state == "up" and self._bytes_in == before

    # -- receiving ----------------------------------------------------------------------------

    def _on_readable(self) -> None:
        # A peer that sends faster than its messages are handled waits at its end, where it is held back, not in
        # mailboxes. Where little came there is nothing to wait for; and what does not get done must not keep us deaf.
        if self._put_off and self._is_behind():
            self._put_off -= 1
            return
        self._read_now()

    def _read_now(self) -> None:
        try:
            data = self._read()
        except BlockingIOError:
            return
        except OSError as error:
            logger.debug("cannot read from %s: %s", self.node.name, error)
            self.close("connection_closed")
            return
        if data:
            self._receive(data)
        else:
            self.close("connection_closed")

    def _read(self) -> bytes:
        sock, connection = self._sock, self._connection
        assert sock is not None
        assert connection is not None
        missing = connection.missing
        if missing > len(self._buffer):
            return sock.recv(min(missing, _LARGE_READ_SIZE))
        return bytes(self._buffer[: sock.recv_into(self._buffer)])

    def _receive(self, data: bytes) -> None:
        connection = self._connection
        assert connection is not None
        self._bytes_in += len(data)
        packets_before = connection.packets_in
        try:
            signals = connection.receive_data(data)
        except RemoteProtocolError as error:
            logger.error("closing the connection with %s, which broke the protocol: %s", self.node.name, error)
            self._deliver(list(error.signals))
            self.close("protocol_error")
            return
        if connection.packets_in != packets_before:
            self._last_heard = monotonic()
        for description in connection.take_rejected():
            logger.warning("dropped a signal from %s that makes no sense: %s", self.node.name, description)
        self._put_off = len(signals) // _SIGNALS_A_TURN
        self._deliver(signals)

    def _deliver(self, signals: list[Signal]) -> None:
        if not signals:
            return
        try:
            self._on_signals(self, signals)
        except Exception:
            logger.exception("closing the connection with %s: its signals could not be handled", self.node.name)
            self.close("internal_error")

    # -- life ---------------------------------------------------------------------------------

    def bring_up(self, sock: _socket.socket, peer: Peer, first: bytes) -> None:
        """The peer is connected: take over its socket. Queues `first`, then what was sent so far; reads nothing yet."""
        connection = DistConnection(peer, self._options.limits)
        loop = self._hub.loop
        self._sock, self.peer, self._connection = sock, peer, connection
        self._readable, self._writable = loop.io(sock.fileno(), 1), loop.io(sock.fileno(), 2)
        self._last_heard = monotonic()
        self._queued_total = self._sent_total = 0
        self.state = "up"
        if first:
            self._put(first)
        pending, self._pending = self._pending, []
        for control, payload_etf in pending:
            for packet in connection.packets_of(control, payload_etf):
                self._put(packet)
        self._wake_senders()

    def start(self, received: bytes) -> None:
        """Begin to read; `received` came with the handshake."""
        if self.state == "up":
            self._readable.start(self._on_readable)
        self.settled.set()
        if received and self.state == "up":
            self._receive(received)

    def fail(self, error: BaseException) -> None:
        """End a pending channel: its peer could not be connected with."""
        if self.state == "pending":
            self.failure = error
            self.close("connection_setup_failed")

    def close(self, reason: str) -> None:
        """End the channel. What is queued is written as far as the socket takes it at once.

        Args:
            reason: in OTP's words (``disconnect``, ``connection_closed``, ``net_tick_timeout``, ...).
        """
        if self.state == "closed":
            return
        if self.state == "up" and not self._write_failed:
            self._flush()
            self._discard_input()
        self._shut(reason)
        self._on_closed(self, reason)

    def _discard_input(self) -> None:
        # Closing a socket with unread input resets the connection, and with it what the peer has yet to receive.
        sock = self._sock
        assert sock is not None
        try:
            for _ in range(_WRITES_A_TURN):
                if not sock.recv_into(self._buffer):
                    return
        except OSError:
            return

    def _shut(self, reason: str) -> None:
        with self._lock:
            self.state, self.reason = "closed", reason
            self._connection = None
            for watcher in (self._readable, self._writable):
                if watcher is not None:
                    watcher.stop()
                    watcher.close()
            if self._sock is not None:
                self._sock.close()
        self._pending.clear()
        self._out.clear()
        self._writing = []
        self.settled.set()
        self._room.set()

    @property
    def socket(self) -> _socket.socket | None:
        """The socket while the channel is up, to look at: its addresses and options."""
        return self._sock if self.state == "up" else None

    def statistics(self) -> dict[str, int]:
        """Counters since the channel is up: bytes and packets in and out, bytes queued, open fragment sequences."""
        connection = self._connection
        return {
            "bytes_in": self._bytes_in,
            "bytes_out": self._sent_total,
            "packets_in": 0 if connection is None else connection.packets_in,
            "packets_out": self._packets_out,
            "queued_bytes": self._queued_total - self._sent_total,
            "open_sequences": 0 if connection is None else connection.open_sequences,
        }
