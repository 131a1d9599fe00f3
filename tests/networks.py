"""Nodes that are connected with each other outside of a cluster, in this process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anoma.crypto import KeyKind, PrivateKey
from engines import engine_of
from engines.messages import EngineID
from engines.network_registry.adverts import NodeID, TransportAddress, TransportProtocol, transport_name
from engines.network_registry.behaviour import RegistrySettings
from engines.network_registry.server import NetworkRegistry, add_peer
from engines.router.state import RouterLimits
from engines.transport_protocol.behaviour import TransportSettings
from engines.transport_protocol.server import TransportProtocolEngine, address
from erlang_bridge import Node
from tests.waiting import until

QUICK = {"exposed": ("*",), "retry_s": 0.05, "max_retry_s": 0.2, "acknowledge_s": 0.01}
TCP = TransportProtocol.TCP


NETWORK = (
    "network_registry",
    "router",
    "transport_protocol",
    "transport_connection",
    "pub_sub_topic",
    "storage",
    "ledger",
)
ENGINES = {name: engine_of(f"engines.{name}") for name in NETWORK}


def new_key() -> PrivateKey:
    return PrivateKey(KeyKind.ED25519, os.urandom(32))


@dataclass
class AnomaNode:
    """A node with a network of its own."""

    node: Node
    key: PrivateKey

    @property
    def id(self) -> NodeID:
        return self.key.public.data

    def engine(self, name: str) -> EngineID:
        """The address of one of its engines, for other nodes."""
        return EngineID(self.id.hex(), name)

    def address(self, protocol: TransportProtocol = TCP, issuer: str = "") -> TransportAddress:
        assert until(lambda: address(self.node, protocol, issuer=issuer))
        found = address(self.node, protocol, issuer=issuer)
        assert found is not None
        return found

    def knows(self, other: AnomaNode, protocol: TransportProtocol = TCP, **options: Any) -> None:
        """Tell this one where the other one is."""
        add_peer(self.node, other.id, (other.address(protocol),), **options)

    def state(self, name: str) -> Any:
        """The state of one of its engines."""
        pid = self.node.whereis(name)
        assert pid is not None
        process: Any = self.node.table.find(pid)
        assert until(lambda: hasattr(process.instance, "_rest"))
        return process.instance.environment.state


def anoma_node(
    node_factory: Callable[..., Node],
    *,
    key: PrivateKey | None = None,
    transports: tuple[TransportSettings, ...] = (TransportSettings(TCP),),
    limits: dict[str, Any] | None = None,
    registry: dict[str, Any] | None = None,
    **options: Any,
) -> AnomaNode:
    """Start a node with a Network Registry and these Transport Protocols."""
    options.setdefault("listen", False)
    node = node_factory(engines=ENGINES, **options)
    key = key or new_key()
    for transport in transports:
        node.start(TransportProtocolEngine, transport, name=transport_name(transport.protocol))
    settings = RegistrySettings(key, router=RouterLimits(**{**QUICK, **(limits or {})}), **(registry or {}))
    node.start(NetworkRegistry, settings, name="network_registry")
    return AnomaNode(node, key)


@dataclass
class Authority:
    """Somebody who issues certificates."""

    folder: Path
    name: str

    @property
    def certificate(self) -> Path:
        return self.folder / f"{self.name}.pem"

    def issue(self, name: str, host: str = "127.0.0.1") -> tuple[str, str]:
        """Paths of a certificate for a host, and of its key."""
        certificate, key, request, more = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
        more.write_text(f"subjectAltName=IP:{host}\n")
        _openssl("req", "-new", *_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        signer = ("-CA", self.certificate, "-CAkey", self.folder / f"{self.name}.key", "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *signer, "-out", certificate, "-days", "2", "-extfile", more)
        return str(certificate), str(key)


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def authority(folder: Path, name: str) -> Authority:
    made = Authority(folder, name)
    _openssl(
        *("req", "-x509", *_KEY, "-keyout", folder / f"{name}.key", "-out", made.certificate),
        *("-subj", f"/CN={name}", "-days", "2", "-addext", "basicConstraints=critical,CA:TRUE"),
    )
    return made


def _openssl(*arguments: Any) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
