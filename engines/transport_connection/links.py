"""Sockets of connections, as gevent has them: a call blocks its own process, and no other.

Source: `ssl` and `socket` of Python, by gevent. TLS is 1.2 or later, in practice 1.3; both certificates that a side
shows are verified.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from pathlib import Path
from typing import Any, Final

from gevent import Timeout, socket, ssl

from engines.network_registry.adverts import IPAddr, TLSAddr, TransportAddress
from engines.transport_connection.behaviour import TLSFiles

READ_SIZE: Final = 64 << 10
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


class LinkError(Exception):
    """A link has ended, or there is none; says why in words."""


class Link:
    """One socket. Its end may come at any time, from any process; whoever waits in it then gets `LinkError`.

    Args:
        sock: connected.
        host: of the other side.
    """

    __slots__ = ("_ended", "_sock", "host")

    def __init__(self, sock: Any, host: str) -> None:
        self._sock = sock
        self._ended = False
        self.host = host

    def __del__(self) -> None:
        # One that was on its way to an engine that has ended is nobody's.
        self.end()

    def __repr__(self) -> str:
        return f"<Link with {self.host}{', ended' if self._ended else ''}>"

    def read(self) -> bytes:
        """What comes next, at least a byte.

        Raises:
            LinkError: nothing more comes.
        """
        try:
            data: bytes = self._sock.recv(READ_SIZE)
        except OSError as error:
            raise self._over(error) from None
        if not data:
            raise LinkError("the other side has closed the connection")
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        """Send all of it.

        Raises:
            LinkError: the link has ended, or the other side does not read.
        """
        self._timed(self._sock.sendall, data, timeout_s=timeout_s, what="the other side does not read")

    def secure(self, tls: TLSFiles, timeout_s: float) -> None:
        """Agree on TLS with one who has called.

        Raises:
            LinkError: they cannot agree, or it takes too long.
        """
        context = server_context(tls)
        self._timed(self._wrap, context, None, timeout_s=timeout_s, what="TLS was not agreed on in time")

    def secure_call(self, tls: TLSFiles, host: str, issuer: str, timeout_s: float) -> None:
        """Agree on TLS with one who was called.

        Args:
            host: what its certificate has to be for.
            issuer: see `client_context`.

        Raises:
            LinkError: they cannot agree, its certificate is not good, or it takes too long.
        """
        context = client_context(tls, issuer)
        self._timed(self._wrap, context, host, timeout_s=timeout_s, what="TLS was not agreed on in time")

    def end(self) -> None:
        """End it. A second time nothing happens."""
        if not self._ended:
            self._ended = True
            self._sock.close()

    def _wrap(self, context: Any, host: str | None) -> None:
        self._sock = context.wrap_socket(
            self._sock, server_side=host is None, server_hostname=host, do_handshake_on_connect=False
        )
        self._sock.do_handshake()

    def _timed(self, function: Any, *arguments: Any, timeout_s: float, what: str) -> None:
        try:
            with Timeout(timeout_s):
                function(*arguments)
        except Timeout:
            raise LinkError(f"{what} ({timeout_s:g} s)") from None
        except OSError as error:
            raise self._over(error) from None

    def _over(self, error: OSError) -> LinkError:
        if self._ended:
            return LinkError("the connection was closed here")
        if isinstance(error, ssl.SSLCertVerificationError):
            return LinkError(f"the certificate of {self.host} is not good: {error.verify_message}")
        return LinkError(f"the connection with {self.host} is broken: {error.strerror or error}")


def dial(address: TransportAddress, tls: TLSFiles | None, timeout_s: float) -> Link:
    """Reach an address.

    Raises:
        LinkError: nobody is there, it takes too long, or TLS cannot be agreed on.
    """
    place: Any = address.address if isinstance(address, TLSAddr) else address
    if not isinstance(address, (TLSAddr, IPAddr)):
        raise LinkError(f"no socket reaches {address}")
    sock = socket.socket(socket.AF_INET6 if ":" in place.ip else socket.AF_INET)
    link = Link(sock, place.ip)
    try:
        sock.settimeout(timeout_s)
        sock.connect((place.ip, place.port))
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if isinstance(address, TLSAddr):
            link.secure_call(tls or TLSFiles(), place.ip, place.cert_issuer, timeout_s)
    except TimeoutError:
        link.end()
        raise LinkError(f"{place.ip}:{place.port} does not answer ({timeout_s:g} s)") from None
    except OSError as error:
        link.end()
        raise LinkError(f"{place.ip}:{place.port} cannot be reached: {error.strerror or error}") from None
    except BaseException:  # also where the process that dials is ended
        link.end()
        raise
    return link


def adopt(sock: Any, host: str) -> Link:
    """A connected socket as a link."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Link(sock, host)


# -- TLS --------------------------------------------------------------------------------------


def server_context(tls: TLSFiles) -> Any:
    """What a node agrees on TLS with, as the one who is called.

    Raises:
        LinkError: no certificate, or a file that cannot be used.
    """
    if tls.certificate is None or tls.key is None:
        raise LinkError("who is called over TLS needs a certificate and its key")
    context = _context(ssl.PROTOCOL_TLS_SERVER, tls)
    if tls.callers_need:
        _trust(context, tls, "")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: TLSFiles, issuer: str) -> Any:
    """What a node agrees on TLS with, as the one who calls.

    Args:
        issuer: SHA-256 of the only authority that will do, one of the trusted ones; empty: any of them.

    Raises:
        LinkError: no authority to trust, or a file that cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, tls)
    _trust(context, tls, issuer)
    return context


def _context(kind: Any, tls: TLSFiles) -> Any:
    context = ssl.SSLContext(kind)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate is not None:
        try:
            context.load_cert_chain(tls.certificate, tls.key)
        except OSError as error:
            raise LinkError(f"the certificate {tls.certificate} and its key cannot be used: {error}") from None
    return context


def _trust(context: Any, tls: TLSFiles, issuer: str) -> None:
    if tls.authorities is None:
        raise LinkError("no authorities are configured, and so no certificate can be verified")
    try:
        found = [b64decode(body) for body in _CERTIFICATE.findall(Path(tls.authorities).read_bytes())]
    except (OSError, ValueError) as error:
        raise LinkError(f"the authorities {tls.authorities} cannot be read: {error}") from None
    wanted = [one for one in found if issuer in ("", hashlib.sha256(one).hexdigest())]
    if not wanted:
        which = f"the one with the digest {issuer}" if issuer else "any certificate"
        raise LinkError(f"{which} is not among the authorities in {tls.authorities}")
    try:
        context.load_verify_locations(cadata=b"".join(wanted))
    except OSError as error:
        raise LinkError(f"the authorities {tls.authorities} cannot be used: {error}") from None
