"""An epmd inside this process, for machines where none runs."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

import gevent
from gevent import socket

from erlang_bridge.epmd.messages import EPMD_DEFAULT_PORT, MAX_REQUEST_SIZE, request_size
from erlang_bridge.epmd.registrations import CLOSE, Registrations
from erlang_bridge.errors import ConfigError, EpmdError

log: Final = logging.getLogger("erlang_bridge.net")

LOOPBACK: Final = ("127.0.0.1", "::1")
_ACCEPT_PAUSE_S: Final = 0.5


def epmd_addresses(environ: Mapping[str, str]) -> tuple[str, ...]:
    """``ERL_EPMD_ADDRESS``: the addresses where epmd is to listen besides loopback, separated by commas or spaces.

    Raises:
        ConfigError: one is no IP address.
    """
    text = environ.get("ERL_EPMD_ADDRESS", "")
    addresses = tuple(text.replace(",", " ").split())
    for address in addresses:
        try:
            ip_address(address)
        except ValueError:
            raise ConfigError("ERL_EPMD_ADDRESS", text, "IP addresses separated by commas") from None
    return addresses


@dataclass(frozen=True, slots=True)
class EpmdStatistics:
    """Counts of one embedded epmd since its start, and of this moment."""

    registered: int
    """Nodes registered now."""
    pending: int
    """Connections whose request is not complete."""
    requests: int
    """Requests answered."""
    refused: int
    """Connections closed without an answer: malformed, too slow, or pushed out by newer ones."""


class EmbeddedEpmd:
    """An epmd that lives as long as this process: BEAMs and other nodes register with it and look nodes up.

    It listens on loopback only, unless told otherwise: nodes of other hosts cannot ask it. It answers as the real one
    does, except that ``epmd -kill`` and ``epmd -stop`` are refused, and names that are not one printable word.

    When it stops, or this process ends, every registration with it is gone. BEAMs do not notice in their connections,
    which stay up; each tries every 2 s to register again, with whatever epmd then answers at the port, and keeps its
    creation (kernel, ``erl_epmd``). `EpmdRegistration` does the same for nodes of ours, and makes an epmd of its own
    where none answers. Until that has happened nobody new can find those nodes. So where nodes outlive this one, start
    a real epmd before it.

    It runs in this thread's hub: code that blocks the thread delays its answers.

    Args:
        port: where to listen; 0 takes a free one (see `port`).
        addresses: IP addresses besides loopback, such as ``epmd_addresses(os.environ)``; ``0.0.0.0`` for all.
        request_timeout_s: how long a connection may take for its whole request.
        max_pending: connections without a complete request; one more pushes out the oldest.
        max_nodes: registered nodes.
    """

    def __init__(
        self,
        port: int = EPMD_DEFAULT_PORT,
        *,
        addresses: Sequence[str] = (),
        request_timeout_s: float = 60.0,
        max_pending: int = 128,
        max_nodes: int = 1000,
    ) -> None:
        self.port = port
        self.addresses = tuple(dict.fromkeys((*LOOPBACK, *addresses)))
        self.request_timeout_s = request_timeout_s
        self.max_pending = max_pending
        self._registrations = Registrations(port, max_nodes=max_nodes)
        self._listeners: list[socket.socket] = []
        self._greenlets: set[gevent.Greenlet[..., None]] = set()
        self._pending: dict[int, socket.socket] = {}
        self._registered: dict[int, tuple[str, socket.socket]] = {}
        self._last_connection = 0
        self._requests = 0
        self._refused = 0

    @property
    def running(self) -> bool:
        return bool(self._listeners)

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: an address cannot be had, most often because another epmd is there (``EADDRINUSE``).
        """
        try:
            for address in self._effective_addresses():
                listener = self._listen(address)
                if listener is not None:
                    self._listeners.append(listener)
                    self.port = listener.getsockname()[1]
        except BaseException:
            self.stop()
            raise
        self._registrations.epmd_port = self.port
        for listener in self._listeners:
            self._spawn(self._accept, listener)

    def stop(self) -> None:
        """Stop listening and end every connection; the nodes registered here are told by that. Idempotent."""
        for open_socket in (
            *self._listeners,
            *self._pending.values(),
            *(each for _, each in self._registered.values()),
        ):
            open_socket.close()
        self._listeners.clear()
        gevent.killall([each for each in self._greenlets if each is not gevent.getcurrent()], block=False)
        self._greenlets.clear()
        self._pending.clear()
        for name in self._registrations.names():
            self._registrations.unregister(name)
        self._registered.clear()

    @property
    def listening_sockets(self) -> tuple[socket.socket, ...]:
        """To look at."""
        return tuple(self._listeners)

    def registered_sockets(self) -> list[tuple[str, socket.socket]]:
        """The connections of registered nodes, by name; to look at."""
        return [(name, each) for name, each in self._registered.values()]

    def names(self) -> dict[str, int]:
        """The registered nodes: part of the name before ``@`` -> port, latest first."""
        return self._registrations.names()

    def statistics(self) -> EpmdStatistics:
        return EpmdStatistics(len(self._registered), len(self._pending), self._requests, self._refused)

    # -- listening ----------------------------------------------------------------------------

    def _effective_addresses(self) -> tuple[str, ...]:
        # A wildcard has the port on every address: 127.0.0.1 beside 0.0.0.0 would be EADDRINUSE.
        parsed = {address: ip_address(address) for address in self.addresses}
        wild = {each.version for each in parsed.values() if each.is_unspecified}
        return tuple(address for address, each in parsed.items() if each.is_unspecified or each.version not in wild)

    def _listen(self, address: str) -> socket.socket | None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            listener = socket.socket(family, socket.SOCK_STREAM)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((address, self.port))
                listener.listen(128)
            except BaseException:
                listener.close()
                raise
        except OSError as error:
            # Machines without IPv6 are common, and nobody asked for ::1; but a port in use there is another epmd.
            if address == "::1" and error.errno != errno.EADDRINUSE:
                return None
            raise
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while listener in self._listeners:
            try:
                connection, peer = listener.accept()
            except OSError as error:
                if listener in self._listeners:
                    log.warning("embedded epmd at port %d cannot accept: %s", self.port, error)
                    gevent.sleep(_ACCEPT_PAUSE_S)
                continue
            if len(self._pending) >= self.max_pending:
                self._pending.pop(next(iter(self._pending))).close()
            self._last_connection += 1
            self._pending[self._last_connection] = connection
            self._spawn(self._serve, self._last_connection, connection, peer[0])
            gevent.sleep(0)  # under a flood the others must get their turn too

    def _spawn(self, function: Callable[..., None], *arguments: Any) -> None:
        greenlet = gevent.spawn(function, *arguments)
        self._greenlets.add(greenlet)
        greenlet.rawlink(self._greenlets.discard)

    # -- one connection -----------------------------------------------------------------------

    def _serve(self, number: int, connection: socket.socket, peer: str) -> None:
        answer = CLOSE
        answered = False
        try:
            with gevent.Timeout(self.request_timeout_s, EpmdError("no complete request in time")):
                body = _receive_request(connection)
                answer = self._registrations.answer(
                    body, local_peer=_is_local(connection, peer), connection=number, now_s=time.time()
                )
                connection.sendall(answer.reply)
                answered = bool(answer.reply)
                self._requests += answered
            self._pending.pop(number, None)
            if answered and answer.registered is not None:
                self._registered[number] = (answer.registered, connection)
                connection.recv(1)  # whatever comes, the end or a byte: the registration is over
        except (EpmdError, OSError) as error:
            log.debug("embedded epmd at port %d closes a connection from %s: %s", self.port, peer, error)
        except Exception:
            log.exception("embedded epmd at port %d: a connection from %s failed", self.port, peer)
        finally:
            connection.close()
            self._pending.pop(number, None)
            self._registered.pop(number, None)
            if answer.registered is not None:
                self._registrations.unregister(answer.registered)
            self._refused += not answered


def _receive_request(connection: socket.socket) -> bytes:
    data = b""
    while (size := request_size(data)) is None or len(data) < size:
        chunk = connection.recv(MAX_REQUEST_SIZE + 1 - len(data))
        if not chunk:
            raise EpmdError(f"it ended after {len(data)} bytes of a request")
        data += chunk
    return data[2:]


def _is_local(connection: socket.socket, peer: str) -> bool:
    return ip_address(peer).is_loopback or peer == connection.getsockname()[0]
