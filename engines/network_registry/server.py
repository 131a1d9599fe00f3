"""The Network Registry as a process, and what others call to use it.

A node has one, and beside it a Transport Protocol for each protocol that it speaks::

    node.start(NetworkRegistry, RegistrySettings(key), name="network_registry")
    add_peer(node, other_id, (IPAddr("127.0.0.1", 4300),), permanent=True)
"""

from __future__ import annotations

import logging
import os
from typing import Any

from anoma.crypto import PrivateKey, Secret
from engines.engine import Client, Engine, Refused, ask, tell
from engines.messages import Message
from engines.network_registry.adverts import NodeID, PublisherID, TopicID, TransportAddress, signed
from engines.network_registry.behaviour import BEHAVIOUR, Draw, Note
from engines.network_registry.messages import (
    AddPeer,
    Advertise,
    Drawn,
    GetNodeAdvertReply,
    GetNodeAdvertRequest,
    GetTopicAdvertReply,
    GetTopicAdvertRequest,
    NodeAdvert,
    PeerAdded,
    TopicAdvert,
)
from erlang_bridge import Atom, OwnProcess

log = logging.getLogger("engines.network")

NETWORK_REGISTRY = "network_registry"
"""The name that a node's own is registered under."""


def node_advert(
    client: Client, node: NodeID, registry: Any = NETWORK_REGISTRY, timeout_s: float | None = 5.0
) -> NodeAdvert | None:
    """The latest advert of a node; None: there is none.

    Raises:
        ErlangExit: no answer.
    """
    reply: GetNodeAdvertReply = ask(client, registry, GetNodeAdvertRequest(node), timeout_s)
    return reply.result if isinstance(reply.result, NodeAdvert) else None


def topic_advert(
    client: Client, topic: TopicID, registry: Any = NETWORK_REGISTRY, timeout_s: float | None = 5.0
) -> TopicAdvert | None:
    """The latest advert of a topic; None: there is none.

    Raises:
        ErlangExit: no answer.
    """
    reply: GetTopicAdvertReply = ask(client, registry, GetTopicAdvertRequest(topic), timeout_s)
    return reply.result if isinstance(reply.result, TopicAdvert) else None


def submit(client: Client, advert: NodeAdvert | TopicAdvert, registry: Any = NETWORK_REGISTRY) -> bool:
    """Make an advert known; False: it is ignored, as it is not signed, not newer, or there is no room.

    Raises:
        ErlangExit: no answer.
    """
    tell(client, registry, advert)
    latest = (node_advert if isinstance(advert, NodeAdvert) else topic_advert)(client, advert.id, registry)
    return latest == advert


def add_peer(
    client: Client,
    node: NodeID,
    addrs: tuple[TransportAddress, ...],
    *,
    permanent: bool = False,
    registry: Any = NETWORK_REGISTRY,
    timeout_s: float | None = 5.0,
) -> None:
    """Make a node known by its addresses.

    Raises:
        Refused: there is no room for it. ErlangExit: no answer.
    """
    reply: PeerAdded = ask(client, registry, AddPeer(node, addrs, permanent), timeout_s)
    if not reply.has_router:
        raise Refused((Atom("no_room"), b"there are Routers enough: see max_peers"))


def advertise(client: Client, addrs: tuple[TransportAddress, ...], registry: Any = NETWORK_REGISTRY) -> None:
    """Say where this node can be called from now on. Does not wait."""
    tell(client, registry, Advertise(addrs))


def make_topic(
    key: PrivateKey,
    *,
    relays: tuple[NodeID, ...] = (),
    publishers: frozenset[PublisherID] = frozenset(),
    tags: tuple[str, ...] = (),
    version: int = 1,
    created: int = 0,
) -> TopicAdvert:
    """The advert of a topic, signed by its creator.

    Args:
        key: the creator's, for Ed25519; its public half is the topic's id.
    """
    return signed(TopicAdvert(key.public.data, relays, tags, version, created, publishers), key)


class NetworkRegistry(Engine):
    """Knows nodes and topics, and has an engine for each."""

    engine = BEHAVIOUR

    def perform(self, operation: Any, own: OwnProcess) -> Message | None:
        match operation:
            case Draw():
                return Drawn(Secret(os.urandom(32)))
            case Note(text):
                log.warning("%s", text)
        return None
