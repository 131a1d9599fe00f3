"""A Transport Protocol as a process, and what others call to use it.

A node has one for each protocol that it speaks, under the name that `adverts.transport_name` gives::

    node.start(TransportProtocolEngine, TransportSettings(TransportProtocol.TCP), name="transport-protocol-tcp")
    address(node, TransportProtocol.TCP)    # IPAddr(ip='127.0.0.1', port=40123)
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gevent import socket

from engines.engine import Client, Engine, ask
from engines.messages import Message
from engines.network_registry.adverts import (
    ClusterAddr,
    IPAddr,
    TLSAddr,
    TLSAddress,
    TransportAddress,
    TransportProtocol,
    transport_name,
)
from engines.transport_connection.links import adopt
from engines.transport_protocol.behaviour import BEHAVIOUR, Accept, HangUp, Listen
from engines.transport_protocol.messages import Accepted, AddressReply, AddressRequest, ListenFailed, Listening
from erlang_bridge import OwnProcess

log = logging.getLogger("engines.network")

_BACKLOG: Final = 128
_QUIET_S: Final = 1.0
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


def address(
    client: Client,
    protocol: TransportProtocol,
    *,
    issuer: str = "",
    engine: Any = None,
    timeout_s: float | None = 5.0,
) -> TransportAddress | None:
    """Where the node is called with a protocol; None: it is not.

    Args:
        issuer: for `TLSAddress.cert_issuer`, see `fingerprint`.
        engine: None: the node's own of that name.

    Raises:
        ErlangExit: no answer.
    """
    reply: AddressReply = ask(client, engine or transport_name(protocol), AddressRequest(), timeout_s)
    if reply.host is None:
        return None
    if reply.port is None:
        return ClusterAddr(reply.host)
    if protocol is TransportProtocol.TLS:
        return TLSAddr(TLSAddress(reply.host, reply.port, issuer))
    return IPAddr(reply.host, reply.port)


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the first certificate in a file in PEM, in hexadecimal digits: for `TLSAddress.cert_issuer`.

    Raises:
        OSError, ValueError: there is none.
    """
    found = _CERTIFICATE.search(certificate.read_text())
    if found is None:
        raise ValueError(f"expected a certificate in PEM in {certificate}")
    return hashlib.sha256(b64decode(found[1])).hexdigest()


class _Listener:
    """A socket that takes calls."""

    __slots__ = ("_sock",)

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def accept(self) -> tuple[Any, str]:
        sock, peer = self._sock.accept()
        return sock, str(peer[0])

    def end(self) -> None:
        self._sock.close()


class TransportProtocolEngine(Engine):
    """Has a Transport Connection for each call, in either direction."""

    engine = BEHAVIOUR
    apart = (Accept,)

    _hung_up_at: float = -math.inf

    def perform(self, operation: Any, own: OwnProcess) -> Message | None:
        match operation:
            case Listen(host, port):
                return self._listen(host, port)
            case Accept(listener):
                return self._accept(listener)
            case HangUp(link, reason):
                link.end()
                now = time.monotonic()
                if now - self._hung_up_at >= _QUIET_S:  # callers must not fill the log
                    self._hung_up_at = now
                    log.warning("%s hangs up on %s: %s", self.process.name, link.host, reason)
        return None

    def _listen(self, host: str, port: int) -> Message:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            reason = f"{host}:{port} cannot be listened on: {error.strerror or error}"
            log.error("%s: %s; it is tried again", self.process.name, reason)
            return ListenFailed(reason)
        listener = _Listener(sock)
        process = self.process
        earlier: Callable[[Any], None] | None = process.on_exit

        def ended(reason: Any) -> None:
            listener.end()
            if earlier is not None:
                earlier(reason)

        process.on_exit = ended
        return Listening(listener, sock.getsockname()[1])

    def _accept(self, listener: _Listener) -> Message | None:
        try:
            sock, host = listener.accept()
        except OSError as error:
            if not self.node.is_alive(self.pid):
                return None
            log.error("%s cannot take a call: %s; it is tried again", self.process.name, error.strerror or error)
            return ListenFailed(f"no call can be taken: {error.strerror or error}")
        if not self.node.is_alive(self.pid):
            sock.close()
            return None
        return Accepted(adopt(sock, host), host)
