"""Asking an epmd: where a node listens, which nodes there are, and registering one of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

import gevent
from gevent import socket

from erlang_bridge.epmd.messages import (
    EPMD_DEFAULT_PORT,
    RESULT_OK,
    Alive2Request,
    NamesRequest,
    NodeEntry,
    Port2Request,
    Request,
    alive2_reply_size,
    decode_alive2_reply,
    decode_names_reply,
    decode_port2_reply,
    encode_request,
)
from erlang_bridge.epmd.node_names import split_node_name
from erlang_bridge.errors import ConfigError, EpmdError, EpmdUnreachable, NameTaken, NodeNotRegistered

MAX_REPLY_SIZE: Final = 4 * 1024 * 1024
"""Bytes; a reply to NAMES has about 40 for each node."""


def epmd_port(environ: Mapping[str, str]) -> int:
    """The port where epmd listens: ``ERL_EPMD_PORT``, else 4369.

    Raises:
        ConfigError: it is set to something else than a port.
    """
    text = environ.get("ERL_EPMD_PORT", "")
    if not text:
        return EPMD_DEFAULT_PORT
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= 0xFFFF):
        raise ConfigError("ERL_EPMD_PORT", text, "a TCP port, 1 to 65535")
    return int(text)


class Registration:
    """A node's registration with an epmd. It lasts as long as its connection; sending on that would end it.

    Attributes:
        entry: what was registered.
        creation: what epmd gave to this start of the node.
    """

    def __init__(self, entry: NodeEntry, creation: int, connection: socket.socket) -> None:
        self.entry = entry
        self.creation = creation
        self._connection = connection

    @property
    def connection(self) -> socket.socket:
        """Its socket, to look at."""
        return self._connection

    def wait_lost(self) -> str:
        """Wait until epmd has ended the registration, or `close` has; why, in words."""
        try:
            return "it sent something" if self._connection.recv(1) else "it closed the connection"
        except OSError as error:
            return str(error)

    def close(self) -> None:
        """End the registration. Idempotent."""
        self._connection.close()


class EpmdClient:
    """Asks the epmd at one address; a connection for each question.

    Args:
        host: name or IP address.
        port: where it listens.
        timeout_s: for one question in all, from connecting to the end of the answer.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = EPMD_DEFAULT_PORT, *, timeout_s: float = 10.0) -> None:
        self.host = host
        self.port = port
        self.timeout_s = timeout_s

    def lookup(self, alive: str) -> NodeEntry | None:
        """What this epmd knows about the node whose name begins with `alive`; None: nothing.

        Raises:
            EpmdUnreachable: no epmd answers.
            EpmdError: what answers is no epmd.
        """
        return decode_port2_reply(self.ask(Port2Request(alive))).entry

    def port_of(self, node_name: str) -> tuple[str, int]:
        """Where a node of this epmd's host listens: `host`, and its port.

        Args:
            node_name: the full name, or the part before ``@``; the host is not looked at (see `resolve_node`).

        Raises:
            NodeNotRegistered: epmd does not know it.
            EpmdUnreachable: no epmd answers.
            EpmdError: what answers is no epmd, or the name can be no node's.
        """
        entry = self.lookup(node_name.partition("@")[0])
        if entry is None:
            raise NodeNotRegistered(node_name, self.host, self.port)
        return self.host, entry.port

    def names(self) -> dict[str, int]:
        """The registered nodes: part of the name before ``@`` -> port.

        Raises:
            EpmdUnreachable: no epmd answers.
            EpmdError: what answers is no epmd.
        """
        return dict(decode_names_reply(self.ask(NamesRequest())).nodes)

    def register(self, entry: NodeEntry) -> Registration:
        """Register a node of this machine.

        Raises:
            NameTaken: a live node has that name.
            EpmdUnreachable: no epmd answers.
            EpmdError: what answers is no epmd, or refuses to talk (it registers only from its own machine).
        """
        with self._within_time():
            connection = self._connect()
            try:
                connection.sendall(encode_request(Alive2Request(entry)))
                start = self._receive_exactly(connection, 1)
                reply = decode_alive2_reply(start + self._receive_exactly(connection, alive2_reply_size(start[0]) - 1))
                if reply.result != RESULT_OK:
                    raise NameTaken(entry.name, self.host, self.port)
            except BaseException:
                connection.close()
                raise
        return Registration(entry, reply.creation, connection)

    def ask(self, request: Request) -> bytes:
        """Send one request and take all that comes until epmd closes, as OTP does. Not for ALIVE2.

        Raises:
            EpmdUnreachable: no epmd answers.
            EpmdError: it sends without end.
        """
        with self._within_time(), self._connect() as connection:
            connection.sendall(encode_request(request))
            reply = bytearray()
            while chunk := connection.recv(65536):
                reply += chunk
                if len(reply) > MAX_REPLY_SIZE:
                    raise EpmdError(f"epmd at {self.host}:{self.port} sent more than {MAX_REPLY_SIZE} bytes")
            return bytes(reply)

    @contextmanager
    def _within_time(self) -> Iterator[None]:
        limit = gevent.Timeout.start_new(self.timeout_s)
        try:
            yield
        except gevent.Timeout as timeout:
            if timeout is not limit:
                raise
            raise EpmdUnreachable(self.host, self.port, f"no answer within {self.timeout_s:g} s") from None
        except (OSError, UnicodeError) as error:
            raise EpmdUnreachable(self.host, self.port, _in_words(error)) from error
        finally:
            limit.close()

    def _connect(self) -> socket.socket:
        address = _ip_address(self.host)
        if address is None:
            return socket.create_connection((self.host, self.port))
        # Without the resolver, that is, without a thread of its own.
        connection = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            connection.connect((self.host, self.port))
        except BaseException:
            connection.close()
            raise
        return connection

    def _receive_exactly(self, connection: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = connection.recv(size - len(data))
            if not chunk:
                raise EpmdError(
                    f"epmd at {self.host}:{self.port} closed the connection instead of registering the node"
                )
            data += chunk
        return data


def resolve_node(node_name: str, *, port: int = EPMD_DEFAULT_PORT, timeout_s: float = 7.0) -> tuple[str, int]:
    """Where a node listens: the IP address of its host, and its port as the epmd there tells.

    Of several addresses of the host the first is taken whose epmd answers, IPv4 before IPv6.

    Args:
        node_name: full name.
        port: where epmd listens, on every host.
        timeout_s: for all of it.

    Raises:
        NodeNotRegistered: the epmd of that host does not know it.
        EpmdUnreachable: the host's name is not known, or no epmd answers there.
        EpmdError: no node's name, or what answers is no epmd.
    """
    name = split_node_name(node_name)
    if name is None:
        raise EpmdError(f"expected a full node name such as 'py@127.0.0.1', got {node_name!r}")
    limit = gevent.Timeout.start_new(timeout_s)
    try:
        unreachable = None
        for address in _addresses_of(name.host, port):
            try:
                return EpmdClient(address, port, timeout_s=timeout_s).port_of(node_name)
            except EpmdUnreachable as error:
                unreachable = unreachable or error
        raise unreachable or EpmdUnreachable(name.host, port, "the host has no address")
    except gevent.Timeout as timeout:
        if timeout is not limit:
            raise
        raise EpmdUnreachable(name.host, port, f"no answer within {timeout_s:g} s") from None
    finally:
        limit.close()


def _addresses_of(host: str, port: int) -> list[str]:
    if _ip_address(host):
        return [host]
    try:
        found: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise EpmdUnreachable(host, port, f"the host is unknown: {_in_words(error)}") from error
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    return list(dict.fromkeys(info[4][0] for info in found))


def _ip_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _in_words(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
