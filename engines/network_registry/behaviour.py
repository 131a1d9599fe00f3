"""What the Network Registry does: knows nodes and topics by what they say of themselves, and has an engine for each.

An advert counts if it is signed by whom it is about, and newer than what is known. For each node there is a Router, for
each topic a Pub/Sub Topic; they are started anew when they end. A node that calls is looked at here first: who it is,
and whether it is wanted.

Nodes that this node was not told of by anyone of its own are strangers. There is a limit to their number, and they are
forgotten when nothing is to do with them.

Differences from the specification:

* The registry is missing in the specification's unions of messages, and its adverts are defined twice: they are defined
  here, once.
* A topic's advert names its publishers.
* A node can be made known by its addresses alone (`AddPeer`), until it advertises itself.
* Topics that other nodes advertise are ignored, unless the settings say otherwise: each costs an engine.
* What comes in from a node for which there is no Router yet comes here (`Inbound`).

Pure: a function of environment and message to effects.

Source: nspec v0.2.0, "Network Registry"; the behaviour is ours, the specification has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from anoma.crypto import KeyKind, PrivateKey
from anoma.persistent_map import PersistentMap
from anoma.sessions import Ratchet
from engines.effects import Effects, SetTimer, Spawn, StopChild
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed, on_ended, on_outcome, on_started
from engines.messages import EngineID, Envelope
from engines.network_registry.adverts import (
    NodeID,
    TopicID,
    TransportAddress,
    expect_id,
    is_remote,
    is_signed_by,
    node_text,
    router_name,
    signed,
    topic_name,
)
from engines.network_registry.messages import (
    MESSAGES,
    AddPeer,
    Advertise,
    Drawn,
    GetNodeAdvertReply,
    GetNodeAdvertRequest,
    GetTopicAdvertReply,
    GetTopicAdvertRequest,
    Inbound,
    NodeAdvert,
    NotFound,
    PeerAdded,
    TopicAdvert,
    Unused,
)
from engines.network_registry.work import Work, ignore_remote
from engines.pub_sub_topic.behaviour import TopicLimits, TopicSettings
from engines.router.frames import request_digest
from engines.router.messages import (
    Arrived,
    ConnectionPermanence,
    ConnectReply,
    ConnectRequest,
    ConnectResult,
    Denied,
    Hint,
    OverCapacity,
    OwnAdvert,
    SetPermanence,
)
from engines.router.state import RouterLimits, RouterSettings
from engines.transport_connection.messages import Assign, Close, Send, TransportConnectionOutMsg
from engines.wire import settings_from

ROUTER: Final = "router"
PUB_SUB_TOPIC: Final = "pub_sub_topic"
RESTART: Final = "restart"
RESTART_S: Final = 0.5
NOTE_S: Final = 1.0
"""No more than one line in the log within this time is about what others send."""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """This node, and whom it wants to be connected with.

    Attributes:
        key: the node's own, for Ed25519; its public half is the node's id.
        addrs: where the node can be called.
        accept_strangers: whether nodes may connect that this node was not told of.
        denied: nodes that may not.
        topics_from_nodes: whether topics that other nodes advertise get an engine.
        max_peers: Routers that there may be.
        max_strangers: those among them that are for strangers.
        max_topics: topics that there may be.
        router: for all Routers.
        topic: for all topics.

    Raises:
        ValueError: a key that cannot sign.
    """

    key: PrivateKey
    addrs: tuple[TransportAddress, ...] = ()
    accept_strangers: bool = True
    denied: frozenset[bytes] = frozenset()
    topics_from_nodes: bool = False
    max_peers: int = 4096
    max_strangers: int = 256
    max_topics: int = 1024
    router: RouterLimits = field(default_factory=RouterLimits)
    topic: TopicLimits = field(default_factory=TopicLimits)

    def __post_init__(self) -> None:
        if self.key.kind is not KeyKind.ED25519:
            raise ValueError(f"expected a key for ed25519 as the node's own, got one for {self.key.kind}")
        for node in self.denied:
            expect_id(node, "the id of a node that is denied")

    @property
    def node(self) -> NodeID:
        """This node."""
        return self.key.public.data


@dataclass(frozen=True, slots=True)
class Peer:
    """A node that there is a Router for.

    Attributes:
        advert: the latest; None: it has not advertised itself.
        hints: addresses that it has not advertised.
        permanent: whether to keep connected with it.
        is_stranger: whether nobody of this node has told of it.
    """

    advert: NodeAdvert | None = None
    hints: tuple[TransportAddress, ...] = ()
    permanent: bool = False
    is_stranger: bool = False


@dataclass(frozen=True, slots=True)
class RegistryState:
    """What is known of nodes and topics.

    Attributes:
        own: this node's advert; None before the first turn.
        ratchet: for the Routers' random bytes; None until they are drawn.
        peers: by id.
        strangers: how many of them are strangers.
        topics: by id.
        running: names of the engines that there are.
        early: requests that are answered once the Routers can be started.
        noted_at: when the last line went to the log.
    """

    own: NodeAdvert | None = None
    ratchet: Ratchet | None = None
    peers: PersistentMap[NodeID, Peer] = field(default_factory=PersistentMap)
    strangers: int = 0
    topics: PersistentMap[TopicID, TopicAdvert] = field(default_factory=PersistentMap)
    running: PersistentMap[str, NodeID | TopicID] = field(default_factory=PersistentMap)
    early: tuple[Envelope, ...] = ()
    noted_at: float = -NOTE_S


# -- operations -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Draw:
    """Draw random bytes; `Drawn` comes of it."""


@dataclass(frozen=True, slots=True)
class Note:
    """Write to the log what whoever runs the node should know."""

    text: str


# -- actions ----------------------------------------------------------------------------------

Step = Work[RegistryState]


def start(args: Any) -> tuple[RegistrySettings, RegistryState]:
    """The settings, and the first state.

    Raises:
        ValueError: `args` is not `RegistrySettings`: the node's key is never a term.
    """
    return settings_from(RegistrySettings, args), RegistryState()


def begin(turn: Turn[RegistryState], _args: None) -> Effects[RegistryState]:
    """Advertise this node, and draw what the Routers' keys are made of."""
    settings: RegistrySettings = turn.settings
    return Effects(replace(turn.state, own=made(turn, settings.addrs, 0)), operations=(Draw(),))


def made(turn: Turn[RegistryState], addrs: tuple[TransportAddress, ...], version: int) -> NodeAdvert:
    """An advert of this node. Its version is newer than that of any before, also of an earlier run."""
    settings: RegistrySettings = turn.settings
    now = int(turn.time_s)
    return signed(NodeAdvert(settings.node, addrs, max(now, version + 1), now), settings.key)


def drawn(turn: Turn[RegistryState], _args: None) -> Effects[RegistryState]:
    """Start the engines of all that is known; one for this node itself is among them."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Drawn)
    state = work.state
    peers = state.peers.put(turn.settings.node, Peer(state.own))
    work.state = replace(state, ratchet=Ratchet(message.secret), peers=peers, early=())
    start_missing(work)
    for envelope in state.early:
        assert isinstance(envelope.message, AddPeer)
        reply = envelope.reply(turn.own, PeerAdded(envelope.message.id, True))
        if reply is not None:
            work.messages.append(reply)
    return work.effects()


def start_missing(work: Step) -> None:
    """Start the engines that there should be and are not."""
    for node in work.state.peers:
        start_router(work, node)
    for topic in work.state.topics:
        start_topic(work, topic)


def start_router(work: Step, node: NodeID) -> None:
    """Start the Router of a node, if there is none."""
    state = work.state
    settings: RegistrySettings = work.settings
    name = router_name(node)
    if state.ratchet is None or name in state.running or state.own is None:
        return
    seed, ratchet = state.ratchet.draw("router")
    peer = state.peers[node]
    args = RouterSettings(settings.key, node, seed, state.own, peer.advert, peer.hints, peer.permanent, settings.router)
    work.spawns.append(Spawn(ROUTER, args, name))
    work.state = replace(state, ratchet=ratchet, running=state.running.put(name, node))


def start_topic(work: Step, topic: TopicID) -> None:
    """Start the engine of a topic, if there is none."""
    state = work.state
    settings: RegistrySettings = work.settings
    name = topic_name(topic)
    if state.ratchet is None or name in state.running:
        return
    work.spawns.append(Spawn(PUB_SUB_TOPIC, TopicSettings(settings.node, state.topics[topic], settings.topic), name))
    work.state = replace(state, running=state.running.put(name, topic))


def node_advert(turn: Turn[RegistryState], _args: None) -> Effects[RegistryState]:
    """Keep a node's advert if it is signed and newer; start a Router, or tell it."""
    work = Work(turn)
    advert = turn.message
    assert isinstance(advert, NodeAdvert)
    known = work.state.peers.get(advert.id)
    latest = None if known is None else known.advert
    if advert.id == turn.settings.node or (latest is not None and advert.version <= latest.version):
        return Effects(turn.state)
    if not is_signed_by(advert, advert.id):
        note(work, f"an advert of node {node_text(advert.id)[:16]} is not signed by it")
        return work.effects()
    peer = Peer(is_stranger=is_remote(turn.sender)) if known is None else known
    if known is None and not has_room(work, is_stranger=peer.is_stranger):
        note(work, f"no room for node {node_text(advert.id)[:16]}: its advert is ignored")
        return work.effects()
    keep(work, advert.id, replace(peer, advert=advert))
    tell_router(work, advert.id, advert)
    return work.effects()


def note(work: Step, text: str) -> None:
    """Write to the log, unless that was done just now: others must not fill it."""
    if work.now - work.state.noted_at >= NOTE_S:
        work.state = replace(work.state, noted_at=work.now)
        work.operations.append(Note(text))


def has_room(work: Step, *, is_stranger: bool) -> bool:
    """Whether there may be one more Router."""
    settings: RegistrySettings = work.settings
    if is_stranger and work.state.strangers >= settings.max_strangers:
        return False
    return len(work.state.peers) < settings.max_peers


def keep(work: Step, node: NodeID, peer: Peer) -> None:
    """Know a node so from now on."""
    state = work.state
    known = state.peers.get(node)
    before = 0 if known is None else known.is_stranger
    work.state = replace(
        state, peers=state.peers.put(node, peer), strangers=state.strangers + peer.is_stranger - before
    )


def tell_router(work: Step, node: NodeID, *news: NodeAdvert | Hint | SetPermanence | OwnAdvert) -> None:
    """Tell the Router of a node something; one that is only started now knows it already."""
    name = router_name(node)
    if name not in work.state.running:
        start_router(work, node)
        return
    for message in news:
        work.send(EngineID(work.turn.config.node, name), message)


def add_peer(turn: Turn[RegistryState], _args: None) -> Effects[RegistryState]:
    """Know a node by its addresses."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, AddPeer)
    known = work.state.peers.get(message.id)
    if known is None and not has_room(work, is_stranger=False):
        note(work, f"no room for node {node_text(message.id)[:16]}: it is not added")
        work.replies.append(PeerAdded(message.id, False))
        return work.effects()
    advert = None if known is None else known.advert
    keep(work, message.id, Peer(advert, message.addrs, message.permanent))
    permanence = ConnectionPermanence.PERMANENT if message.permanent else ConnectionPermanence.EPHEMERAL
    tell_router(work, message.id, Hint(message.addrs), SetPermanence(permanence))
    if work.state.ratchet is None:
        work.state = replace(work.state, early=(*work.state.early, turn.envelope))
    else:
        work.replies.append(PeerAdded(message.id, True))
    return work.effects()


def advertise(turn: Turn[RegistryState], _args: None) -> Effects[RegistryState]:
    """Advertise this node anew, to all that it is connected with."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Advertise)
    before = work.state.own
    own = made(turn, message.addrs, 0 if before is None else before.version)
    peers = work.state.peers
    if turn.settings.node in peers:
        peers = peers.put(turn.settings.node, Peer(own))
    work.state = replace(work.state, own=own, peers=peers)
    for name in work.state.running:
        if name.startswith("router-"):
            work.send(EngineID(turn.config.node, name), OwnAdvert(own))
    return work.effects()


def topic_advert(turn: Turn[RegistryState], _args: None) -> Effects[RegistryState]:
    """Keep a topic's advert if it is signed and newer; start its engine, or tell it."""
    work = Work(turn)
    advert = turn.message
    assert isinstance(advert, TopicAdvert)
    settings: RegistrySettings = turn.settings
    known = work.state.topics.get(advert.id)
    if known is None and is_remote(turn.sender) and not settings.topics_from_nodes:
        return Effects(turn.state)
    if known is not None and advert.version <= known.version:
        return Effects(turn.state)
    if not is_signed_by(advert, advert.id):
        note(work, f"an advert of topic {node_text(advert.id)[:16]} is not signed by its creator")
        return work.effects()
    if known is None and len(work.state.topics) >= settings.max_topics:
        note(work, f"no room for topic {node_text(advert.id)[:16]}: its advert is ignored")
        return work.effects()
    work.state = replace(work.state, topics=work.state.topics.put(advert.id, advert))
    if topic_name(advert.id) in work.state.running:
        work.send(EngineID(turn.config.node, topic_name(advert.id)), advert)
    else:
        start_topic(work, advert.id)
    return work.effects()


def get_node_advert(turn: Turn[RegistryState], _args: None) -> Effects[RegistryState]:
    """Tell what is known of a node."""
    message = turn.message
    assert isinstance(message, GetNodeAdvertRequest)
    state = turn.state
    found = state.own if message.id == turn.settings.node else state.peers.get(message.id, Peer()).advert
    return Effects(state, replies=(GetNodeAdvertReply(message.id, found or NotFound()),))


def get_topic_advert(turn: Turn[RegistryState], _args: None) -> Effects[RegistryState]:
    """Tell what is known of a topic."""
    message = turn.message
    assert isinstance(message, GetTopicAdvertRequest)
    found = turn.state.topics.get(message.id)
    return Effects(turn.state, replies=(GetTopicAdvertReply(message.id, found or NotFound()),))


def inbound(turn: Turn[RegistryState], _args: None) -> Effects[RegistryState]:
    """Look at who calls, and give the call to the Router of that node."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Inbound)
    request = message.request
    settings: RegistrySettings = turn.settings
    if not isinstance(request, ConnectRequest) or request.challenge != message.challenge:
        work.send(message.connection, Close("the request does not answer the greeting"))
        return work.effects()
    if request.dst_node_id != settings.node or request.src_node_id == settings.node:
        work.send(message.connection, Close("the request is for another node"))
        return work.effects()
    node = request.src_node_id
    if not is_signed_by(request, node):
        work.send(message.connection, Close("the request is not signed by the node that it names"))
        return work.effects()
    known = work.state.peers.get(node)
    if node in settings.denied or (known is None and not settings.accept_strangers):
        refuse(work, message.connection, request, Denied())
        return work.effects()
    if work.state.ratchet is None or (known is None and not has_room(work, is_stranger=True)):
        refuse(work, message.connection, request, OverCapacity())
        return work.effects()
    if known is None:
        keep(work, node, Peer(is_stranger=True))
    start_router(work, node)
    router = EngineID(turn.config.node, router_name(node))
    work.send(message.connection, Assign(router))
    work.send(router, Arrived(message.connection, request))
    return work.effects()


def refuse(work: Step, to: EngineID, request: ConnectRequest, result: ConnectResult) -> None:
    """Refuse a request."""
    settings: RegistrySettings = work.settings
    reply = signed(ConnectReply(result, settings.node, request_digest(request)), settings.key)
    work.send(to, Send(TransportConnectionOutMsg(None, reply)))
    work.send(to, Close(f"refused: {type(result).__name__}"))


def unused(turn: Turn[RegistryState], _args: None) -> Effects[RegistryState]:
    """Forget a stranger that there is nothing to do with."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Unused)
    state = work.state
    peer = state.peers.get(message.id)
    if peer is None or not peer.is_stranger:
        return Effects(turn.state)
    name = router_name(message.id)
    work.spawns.append(StopChild(name))
    # It is still registered until its end is heard of.
    work.state = replace(state, peers=state.peers.without(message.id), strangers=state.strangers - 1)
    return work.effects()


def child_ended(turn: Turn[RegistryState], _args: None) -> Effects[RegistryState]:
    """Start an engine anew in a moment."""
    state = turn.state
    child = turn.ended.address
    assert isinstance(child, EngineID)
    name = child.name
    return Effects(replace(state, running=state.running.without(name)), timers=(SetTimer(RESTART, RESTART_S),))


def restart(turn: Turn[RegistryState], _args: None) -> Effects[RegistryState]:
    """Start the engines that have ended."""
    work = Work(turn)
    start_missing(work)
    return work.effects()


# -- guards -----------------------------------------------------------------------------------


def _from_here(turn: Turn[RegistryState]) -> bool:
    return not is_remote(turn.sender)


BEHAVIOUR: Final[EngineBehaviour[RegistryState]] = EngineBehaviour(
    "network_registry",
    MESSAGES,
    start,
    First(
        on_started(begin),
        on_outcome(Drawn, drawn),
        on(NodeAdvert, node_advert),
        on(TopicAdvert, topic_advert),
        on(GetNodeAdvertRequest, get_node_advert, when=_from_here),
        on(GetTopicAdvertRequest, get_topic_advert, when=_from_here),
        on(AddPeer, add_peer, when=_from_here),
        on(Advertise, advertise, when=_from_here),
        on(Inbound, inbound, when=_from_here),
        on(Unused, unused, when=_from_here),
        on_elapsed(restart),
        on_ended(child_ended),
        ignore_remote,
    ),
    traps_exits=True,
)
