"""The sockets of a node, for those who look at it: its connections, where it listens, its place in epmd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from erlang_bridge.net.connections import Connections
    from erlang_bridge.net.epmd_registration import EpmdRegistration

Kind = Literal["connection", "listener", "epmd", "epmd_listener", "epmd_client"]


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """One open socket.

    Attributes:
        kind: a connection with a node; where nodes connect; our registration with epmd; where an epmd of ours listens;
            a node registered with that.
        name: the node at the other end, or what it is for.
        sock: not for reading, writing or closing.
        counters: what is counted of it: ``bytes_in``, ``bytes_out``, ``packets_in``, ``packets_out``, ``queued_bytes``.
    """

    kind: Kind
    name: str
    sock: Any
    counters: dict[str, int] = field(default_factory=dict)


def open_sockets(connections: Connections, registration: EpmdRegistration | None) -> Iterator[OpenSocket]:
    """All of a node's, the listener first, the connections in the order in which they came up."""
    listening = connections.listening_socket
    if listening is not None:
        yield OpenSocket("listener", "listener", listening)
    if registration is not None:
        connection = registration.connection
        if connection is not None:
            yield OpenSocket("epmd", "epmd", connection)
        embedded = registration.embedded_epmd
        if embedded is not None:
            for listener in embedded.listening_sockets:
                yield OpenSocket("epmd_listener", "embedded_epmd", listener)
            for name, client in embedded.registered_sockets():
                yield OpenSocket("epmd_client", f"epmd_{name}", client)
    for channel in connections.channels():
        sock = channel.socket
        if sock is not None:
            yield OpenSocket("connection", channel.node.name, sock, channel.statistics())
