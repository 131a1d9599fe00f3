"""The trace port of ``dbg:trace_port(ip, ..)``: a listener that sends trace messages to the one client it accepts.

Frames::

    0, Size:32, Term/binary     one trace message
    1, Dropped:32               so many messages were left out here

Accepts a client from the node that asked for it only, once, and within `CLIENT_S`. Never blocks who is traced: what
the client does not read in time is dropped and counted.

Source: OTP ``lib/runtime_tools/c_src/trace_ip_drv.c``; ``dbg:read_term/3``.
"""

from __future__ import annotations

import _socket
import logging
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from erlang_bridge.etf import encode
from erlang_bridge.net.listener import Listener
from erlang_bridge.net.options import NetOptions
from erlang_bridge.process import Process
from erlang_bridge.process.tracing import TraceEvent
from erlang_bridge.runtime_tools.trace_terms import trace_message
from erlang_bridge.terms import Pid, Port

log = logging.getLogger("erlang_bridge.trace")

CLIENT_S: Final = 60.0
"""How long a port waits for its client."""
LINGER_S: Final = 2.0
"""How long a port that was closed goes on writing what it holds."""
MAX_BYTES: Final = 16 << 20
"""What a port holds at most, beside the number of messages that its owner allows."""
MAX_QUEUE: Final = 100_000

_message_header: Final = struct.Struct(">BI").pack
_WRITE: Final = 2
_READ: Final = 1
_ROUND: Final = 64
"""So many frames are joined for one write."""


class TracePort:
    """One port, open until `close`, until its client goes, or until none has come in time.

    Args:
        options: says at which address to listen.
        allowed: addresses that the client may have; None is any.
        limit: how many messages wait for the client at most.
        on_closed: called once.

    Raises:
        OSError: the port number is taken.
    """

    def __init__(
        self,
        loop: Any,
        port: Port,
        options: NetOptions,
        *,
        allowed: str | None,
        limit: int,
        on_closed: Callable[[TracePort], None],
    ) -> None:
        self.port = port
        self.limit = min(max(limit, 1), MAX_QUEUE)
        self.dropped = 0
        self.is_closed = False
        self.on_new_pid: Callable[[Pid], None] | None = None
        """Called before the first event of each process."""
        self._loop = loop
        self._allowed = allowed
        self._on_closed = on_closed
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._missing = 0
        self._seen: set[Pid] = set()
        self._client: _socket.socket | None = None
        self._watchers: list[Any] = []
        self._writable: Any = None
        self._is_scheduled = False
        self._listener: Listener | None = Listener(loop, options, self._on_socket)
        self.number = self._listener.port
        self._listener.start()
        self._timer = loop.timer(CLIENT_S)
        self._timer.start(self._expire)

    # -- a tracer -------------------------------------------------------------------------------

    def owns(self, process: Process) -> bool:
        return False

    def put(self, event: TraceEvent, flags: frozenset[str]) -> None:
        if self.is_closed or not self._has_room():
            return
        if self.on_new_pid is not None and event.pid not in self._seen:
            if len(self._seen) >= MAX_QUEUE:
                self._seen.clear()
            self._seen.add(event.pid)
            self.on_new_pid(event.pid)
        self._append(encode(trace_message(event, flags)))

    def send(self, term: Any) -> bool:
        """Send any term. False: there is no room for it, or nobody to read it."""
        if self.is_closed or len(self._queue) >= self.limit:
            return False
        self._append(encode(term))
        return True

    def _has_room(self) -> bool:
        if len(self._queue) >= self.limit or self._size >= MAX_BYTES:
            self._write()
            if self.is_closed:
                return False
            if len(self._queue) >= self.limit or self._size >= MAX_BYTES:
                self.dropped += 1
                self._missing += 1
                return False
        return True

    def _append(self, term: bytes) -> None:
        if len(term) > MAX_BYTES:
            self.dropped += 1
            self._missing += 1
            return
        if self._missing:
            missing, self._missing = self._missing, 0
            self._push(_message_header(1, missing))
        self._push(_message_header(0, len(term)) + term)
        if self._client is not None and not self._is_scheduled:
            # Once for all that comes before the loop looks at sockets again.
            self._is_scheduled = True
            self._loop.run_callback(self._write_soon)

    def _push(self, frame: bytes) -> None:
        self._queue.append(frame)
        self._size += len(frame)

    # -- the client -----------------------------------------------------------------------------

    def _on_socket(self, sock: _socket.socket, address: Any) -> None:
        if self.is_closed or self._client is not None or self._allowed not in (None, address[0]):
            log.warning("trace port %d refuses a connection from %s", self.number, address[0])
            sock.close()
            return
        self._client = sock
        self._timer.stop()
        # Not here: the listener is in the middle of accepting.
        self._loop.run_callback(self._stop_listening)
        readable = self._loop.io(sock.fileno(), _READ)
        readable.start(self._on_readable)
        self._writable = self._loop.io(sock.fileno(), _WRITE)
        self._watchers = [readable, self._writable]
        self._write()

    def _on_readable(self) -> None:
        assert self._client is not None
        try:
            if self._client.recv(4096):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._finish()

    def _write_soon(self) -> None:
        self._is_scheduled = False
        self._write()

    def _write(self) -> None:
        client, queue = self._client, self._queue
        if client is None:
            return
        while queue:
            frames = [queue.popleft() for _ in range(min(_ROUND, len(queue)))]
            data = b"".join(frames) if len(frames) > 1 else frames[0]
            self._size -= len(data)
            try:
                sent = client.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._finish()
                return
            if sent < len(data):
                self._put_back(frames, sent)
                self._writable.start(self._write)
                return
        self._writable.stop()
        if self.is_closed:
            self._finish()

    def _put_back(self, frames: list[bytes], sent: int) -> None:
        """What was not written stands at the front again, frame by frame: their number is what is limited."""
        while frames and sent >= len(frames[0]):
            sent -= len(frames.pop(0))
        if frames and sent:
            frames[0] = frames[0][sent:]
        self._queue.extendleft(reversed(frames))
        self._size += sum(map(len, frames))

    # -- the end --------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what the client takes without waiting."""
        if not self.is_closed:
            self._write()

    def close(self) -> None:
        """Take nothing more; what is held is written for `LINGER_S` at most. Idempotent."""
        if self.is_closed:
            return
        self.is_closed = True
        self._on_closed(self)
        if self._client is None or not self._queue:
            self._finish()
            return
        self._timer.stop()
        self._timer.close()
        self._timer = self._loop.timer(LINGER_S)
        self._timer.start(self._finish)
        self._write()

    def abort(self) -> None:
        """Close at once."""
        self._finish()

    def _expire(self) -> None:
        log.warning("nobody has connected with trace port %d; its trace ends", self.number)
        self._finish()

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _finish(self) -> None:
        self._queue.clear()
        self._size = 0
        for watcher in self._watchers:
            watcher.stop()
            watcher.close()
        self._watchers = []
        client, self._client = self._client, None
        if client is not None:
            client.close()
        self._loop.run_callback(self._stop_listening)
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
        if not self.is_closed:
            self.is_closed = True
            self._on_closed(self)
