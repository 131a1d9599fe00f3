"""Nodes and topics as they make themselves known: ids, addresses, and signed advertisements.

A node is its Ed25519 key, 32 bytes: whoever can sign with it is the node. A topic likewise. In the names of engines,
and as the node of an `EngineID`, an id stands in 64 hexadecimal digits; no node of a cluster has such a name, because
those have an ``@``.

What is signed is `signable` of ``{Tag, Fields}``: the value's tag as a binary, and the map of its fields without
``sig``.

Pure: no processes, no clock.

Source: nspec v0.2.0, "Router types", "Transport types".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Final, TypeVar

from anoma.crypto import EMPTY_COMMITMENT, KeyKind, PrivateKey, PublicKey, Signature, sign, signable
from anoma.crypto.primitives import verify
from engines.messages import Address, EngineID
from engines.wire import Value, fields_to_term, tag_of
from erlang_bridge.terms import Atom

NodeID = bytes
TopicID = bytes
PublisherID = bytes
ID_SIZE: Final = 32

MAX_ADDRESSES: Final = 16
MAX_RELAYS: Final = 64
MAX_TAGS: Final = 32
MAX_TAG: Final = 128
MAX_PUBLISHERS: Final = 256

_SIG: Final = Atom("sig")
S = TypeVar("S", bound=Any)


def expect_id(data: bytes, what: str) -> None:
    """Refuse what is not 32 bytes.

    Raises:
        ValueError: says what it should be.
    """
    if len(data) != ID_SIZE:
        raise ValueError(f"expected {what}, a key of {ID_SIZE} bytes, got {len(data)} bytes")


def node_text(node: NodeID) -> str:
    """An id as it stands in names."""
    return node.hex()


def node_of(text: str | None) -> NodeID | None:
    """The id that such a text is; None: it is none."""
    if text is None or len(text) != 2 * ID_SIZE or set(text) - set("0123456789abcdef"):
        return None
    return bytes.fromhex(text)


def router_name(node: NodeID) -> str:
    """What the Router of a node is registered as; `Engine` sends there what is for that node."""
    return f"router-{node_text(node)}"


def topic_name(topic: TopicID) -> str:
    """What the engine of a topic is registered as, on every node."""
    return f"topic-{node_text(topic)}"


def is_remote(address: Address | None) -> bool:
    """Whether an address is on a node that a Router stands for: not on this one, nor in its cluster."""
    return isinstance(address, EngineID) and address.node is not None and "@" not in address.node


# -- signatures -------------------------------------------------------------------------------


def statement(value: Any, *context: bytes) -> bytes:
    """What the signature of a value with a field ``sig`` is over."""
    fields = fields_to_term(value)
    del fields[_SIG]
    return signable((tag_of(type(value)).encode(), *context, fields))


def signed(value: S, key: PrivateKey, *context: bytes) -> S:
    """The value with the signature of the owner of `key`."""
    return replace(value, sig=sign(key, statement(value, *context)))


def is_signed_by(value: Any, signer: bytes, *context: bytes) -> bool:
    """Whether the owner of the key `signer` has signed the value."""
    return verify(PublicKey(KeyKind.ED25519, signer), statement(value, *context), value.sig)


# -- addresses --------------------------------------------------------------------------------


class TransportProtocol(StrEnum):
    """How nodes talk. `CLUSTER` is the distribution of the cluster that both are in, and is ours."""

    CLUSTER = "cluster"
    TCP = "tcp"
    TLS = "tls"
    QUIC = "quic"
    WEB_TRANSPORT = "web_transport"
    WEB_SOCKET = "web_socket"
    UDP = "udp"


OFFERED: Final = (TransportProtocol.CLUSTER, TransportProtocol.TLS, TransportProtocol.TCP)
"""The protocols that there are engines for; an address of an earlier one is preferred."""


def _expect_host(ip: str, port: int) -> None:
    try:
        ip_address(ip)
    except ValueError:
        raise ValueError(f"expected an IPv4 or IPv6 address, got {ip!r}") from None
    if not 0 < port < 65536:
        raise ValueError(f"expected a port from 1 to 65535, got {port}")


@dataclass(frozen=True, slots=True)
class TLSAddress(Value):
    """Where a node takes TLS or QUIC.

    Attributes:
        ip: IPv4 or IPv6, as text. The node's certificate has it, too.
        port: 1 to 65535.
        cert_issuer: SHA-256 of the certificate that the node's own is issued by, in hexadecimal digits: no other will
            do. Empty: any that the caller trusts.
    """

    ip: str
    port: int
    cert_issuer: str = ""

    def __post_init__(self) -> None:
        _expect_host(self.ip, self.port)
        if len(self.cert_issuer) not in (0, 64) or set(self.cert_issuer) - set("0123456789abcdef"):
            raise ValueError("expected 64 hexadecimal digits, or nothing, as cert_issuer")


@dataclass(frozen=True, slots=True)
class TLSAddr(Value):
    """TLS over TCP."""

    address: TLSAddress


@dataclass(frozen=True, slots=True)
class QUICAddr(Value):
    """QUIC. Known, and not offered."""

    address: TLSAddress


@dataclass(frozen=True, slots=True)
class IPAddr(Value):
    """TCP without TLS: messages are encrypted and signed all the same; who talks to whom, and how much, can be seen.

    Attributes:
        ip: IPv4 or IPv6, as text.
        port: 1 to 65535.
    """

    ip: str
    port: int

    def __post_init__(self) -> None:
        _expect_host(self.ip, self.port)


@dataclass(frozen=True, slots=True)
class ClusterAddr(Value):
    """A node of the same cluster.

    Attributes:
        node: its full name, such as ``py@127.0.0.1``.
    """

    node: str

    def __post_init__(self) -> None:
        name, _, host = self.node.partition("@")
        if not name or not host or len(self.node) > 255:
            raise ValueError(f"expected a full node name such as py@127.0.0.1, got {self.node[:80]!r}")


TransportAddress = TLSAddr | IPAddr | ClusterAddr | QUICAddr

_PROTOCOLS: Final[dict[type, TransportProtocol]] = {
    ClusterAddr: TransportProtocol.CLUSTER,
    IPAddr: TransportProtocol.TCP,
    TLSAddr: TransportProtocol.TLS,
    QUICAddr: TransportProtocol.QUIC,
}


def protocol_of(address: TransportAddress) -> TransportProtocol:
    """The protocol that is spoken at an address."""
    return _PROTOCOLS[type(address)]


def transport_name(protocol: TransportProtocol) -> str:
    """What the engine of a protocol is registered as."""
    return f"transport-protocol-{protocol.value}"


__all__ = [
    "EMPTY_COMMITMENT",
    "OFFERED",
    "ClusterAddr",
    "IPAddr",
    "NodeID",
    "PublisherID",
    "QUICAddr",
    "Signature",
    "TLSAddr",
    "TLSAddress",
    "TopicID",
    "TransportAddress",
    "TransportProtocol",
    "expect_id",
    "is_remote",
    "is_signed_by",
    "node_of",
    "node_text",
    "protocol_of",
    "router_name",
    "signed",
    "statement",
    "topic_name",
    "transport_name",
]
