"""What the Network Registry takes and sends.

==============================  ========================================================  ==========================
message                         what it says                                              reply
==============================  ========================================================  ==========================
`NodeAdvert` `TopicAdvert`      this node, this topic, is so                              none
`GetNodeAdvertRequest`          what do you know of a node?                               `GetNodeAdvertReply`
`GetTopicAdvertRequest`         what do you know of a topic?                              `GetTopicAdvertReply`
`AddPeer`                       a node is there, though it has not advertised itself yet  `PeerAdded`
`Advertise`                     this node's own addresses have changed                    none
`Inbound`                       a node has called                                         none
`Unused`                        a Router has nothing to do                                none
`Drawn`                         random bytes, which the registry has asked for            none
==============================  ========================================================  ==========================

An advert is a message, and a value in others.

Source: nspec v0.2.0, "Network Registry messages", "Router types". The others are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from anoma.crypto import EMPTY_COMMITMENT, Secret, Signature
from engines.messages import EngineID, Message
from engines.network_registry.adverts import (
    MAX_ADDRESSES,
    MAX_PUBLISHERS,
    MAX_RELAYS,
    MAX_TAG,
    MAX_TAGS,
    NodeID,
    PublisherID,
    TopicID,
    TransportAddress,
    expect_id,
)
from engines.wire import Value


class NetworkRegistryMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "network_registry"


@dataclass(frozen=True, slots=True)
class NodeAdvert(NetworkRegistryMessage, Value):
    """A node tells where it is.

    Attributes:
        id: the node.
        addrs: its addresses, the ones that it prefers first. The specification speaks of weights, and has no field.
        version: of two adverts the one with the higher counts.
        created: in seconds since 1970-01-01 UTC.
        sig: the node's own, over the other fields.
    """

    id: NodeID
    addrs: tuple[TransportAddress, ...]
    version: int
    created: int
    sig: Signature = EMPTY_COMMITMENT

    def __post_init__(self) -> None:
        expect_id(self.id, "the id of a node")
        if len(self.addrs) > MAX_ADDRESSES or not 0 <= self.version < 2**63:
            raise ValueError(f"a node has at most {MAX_ADDRESSES} addresses, and a version from 0 to 2**63 - 1")


@dataclass(frozen=True, slots=True)
class TopicAdvert(NetworkRegistryMessage, Value):
    """The creator of a topic tells where it can be subscribed to, and who publishes in it.

    Attributes:
        id: the topic.
        relays: nodes that pass its messages on.
        tags: what it is about.
        version: of two adverts the one with the higher counts.
        created: in seconds since 1970-01-01 UTC.
        publishers: who may publish; empty: the topic's creator alone. The specification says that publishers are
            authorised, and not how.
        sig: the creator's, over the other fields.
    """

    id: TopicID
    relays: tuple[NodeID, ...]
    tags: tuple[str, ...]
    version: int
    created: int
    publishers: frozenset[PublisherID] = frozenset()
    sig: Signature = EMPTY_COMMITMENT

    def __post_init__(self) -> None:
        expect_id(self.id, "the id of a topic")
        for relay in self.relays:
            expect_id(relay, "the id of a relay")
        for publisher in self.publishers:
            expect_id(publisher, "the id of a publisher")
        if len(self.relays) > MAX_RELAYS or len(self.publishers) > MAX_PUBLISHERS:
            raise ValueError(f"a topic has at most {MAX_RELAYS} relays and {MAX_PUBLISHERS} publishers")
        if len(self.tags) > MAX_TAGS or any(len(tag) > MAX_TAG for tag in self.tags):
            raise ValueError(f"a topic has at most {MAX_TAGS} tags of {MAX_TAG} characters")
        if not 0 <= self.version < 2**63:
            raise ValueError("a topic's version is from 0 to 2**63 - 1")


@dataclass(frozen=True, slots=True)
class NotFound(Value):
    """Nothing is known of it."""


@dataclass(frozen=True, slots=True)
class GetNodeAdvertRequest(NetworkRegistryMessage):
    """Ask for the latest advert of a node. For engines of this node and its cluster only.

    Attributes:
        id: the node.
    """

    id: NodeID


@dataclass(frozen=True, slots=True)
class GetNodeAdvertReply(NetworkRegistryMessage):
    """The advert.

    Attributes:
        id: as in the request.
        result: the advert, or that there is none.
    """

    id: NodeID
    result: NodeAdvert | NotFound


@dataclass(frozen=True, slots=True)
class GetTopicAdvertRequest(NetworkRegistryMessage):
    """Ask for the latest advert of a topic. For engines of this node and its cluster only.

    Attributes:
        id: the topic.
    """

    id: TopicID


@dataclass(frozen=True, slots=True)
class GetTopicAdvertReply(NetworkRegistryMessage):
    """The advert.

    Attributes:
        id: as in the request.
        result: the advert, or that there is none.
    """

    id: TopicID
    result: TopicAdvert | NotFound


@dataclass(frozen=True, slots=True)
class AddPeer(NetworkRegistryMessage):
    """A node is at these addresses, until it says otherwise itself.

    Attributes:
        id: the node.
        addrs: what is known of its addresses.
        permanent: keep connected with it.
    """

    id: NodeID
    addrs: tuple[TransportAddress, ...]
    permanent: bool = False

    def __post_init__(self) -> None:
        expect_id(self.id, "the id of a node")


@dataclass(frozen=True, slots=True)
class PeerAdded(NetworkRegistryMessage):
    """What has become of an `AddPeer`.

    Attributes:
        id: as in the request.
        has_router: whether there is a Router for the node; if not, there are too many already.
    """

    id: NodeID
    has_router: bool


@dataclass(frozen=True, slots=True)
class Advertise(NetworkRegistryMessage):
    """This node is at other addresses from now on; the nodes that it is connected with hear of it.

    Attributes:
        addrs: all of its addresses, the preferred ones first.
    """

    addrs: tuple[TransportAddress, ...]


@dataclass(frozen=True, slots=True)
class Inbound(NetworkRegistryMessage):
    """A node has called, and asks to be connected.

    Attributes:
        connection: the Transport Connection that it has called at.
        challenge: the random bytes that this connection has sent first.
        request: the node's request, as it came: a `router.messages.ConnectRequest`.
    """

    connection: EngineID
    challenge: bytes
    request: Any


@dataclass(frozen=True, slots=True)
class Unused(NetworkRegistryMessage):
    """A Router has nothing to do, and has had nothing to do for a while.

    Attributes:
        id: its node.
    """

    id: NodeID


@dataclass(frozen=True, slots=True)
class Drawn(NetworkRegistryMessage):
    """Random bytes.

    Attributes:
        secret: 32 of them.
    """

    secret: Secret


MESSAGES: Final = (
    NodeAdvert,
    TopicAdvert,
    GetNodeAdvertRequest,
    GetNodeAdvertReply,
    GetTopicAdvertRequest,
    GetTopicAdvertReply,
    AddPeer,
    PeerAdded,
    Advertise,
    Inbound,
    Unused,
    Drawn,
)
