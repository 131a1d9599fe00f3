"""What a Transport Protocol does: has a Transport Connection for each call, in either direction.

How many there may be is bounded: in all, of callers who have not shown yet who they are, and of one host. Beyond, a
caller is hung up on.

Differences from the specification:

* There are engines for TCP, TLS and the distribution of a cluster (``cluster``, ours); QUIC, WebTransport, WebSocket
  and UDP are known by name, and refused with an error that says so.
* Two Routers do not share a connection: one address is one node, and each connection has keys of its own.
* Calling (`Connect`) is a message of its own: a Router has to hear the greeting before there is anything to send.
* The page "Transport" has a second message ``Send`` of bytes, in no diagram and no union: there is none here.

Pure: a function of environment and message to effects.

Source: nspec v0.2.0, "Transport Protocol"; the behaviour is ours, the specification has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from anoma.persistent_map import PersistentMap
from engines.effects import Effects, SetTimer, Spawn, StopChild
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed, on_ended, on_outcome, on_started
from engines.messages import EngineID
from engines.network_registry.adverts import (
    OFFERED,
    ClusterAddr,
    TransportAddress,
    TransportProtocol,
    is_remote,
    protocol_of,
)
from engines.network_registry.work import Work
from engines.router.messages import Disconnected
from engines.transport_connection import messages as connection
from engines.transport_connection.behaviour import ConnectionLimits, ConnectionSettings, TLSFiles
from engines.transport_connection.messages import LinkRequest
from engines.transport_protocol.messages import (
    MESSAGES,
    Accepted,
    AddressReply,
    AddressRequest,
    Connect,
    ListenFailed,
    Listening,
    Send,
)
from engines.wire import Value, settings_from

LISTEN: Final = "listen"
ACCEPT: Final = "accept"
CONNECTION: Final = "transport_connection"


@dataclass(frozen=True, slots=True)
class TransportSettings(Value):
    """One protocol of a node.

    Attributes:
        protocol: which one.
        listen: whether calls are taken.
        host: IP address to take them at.
        port: 0: any.
        tls: certificates; for `TransportProtocol.TLS`.
        registry: name of the node's Network Registry.
        max_connections: in all.
        max_strangers: of callers who have not shown yet who they are.
        max_of_host: from one IP address, or one node of the cluster.
        retry_s: until the next attempt where the port is taken, or the system is out of descriptors.
        limits: for each connection.
    """

    protocol: TransportProtocol = TransportProtocol.TCP
    listen: bool = True
    host: str = "127.0.0.1"
    port: int = 0
    tls: TLSFiles | None = None
    registry: str = "network_registry"
    max_connections: int = 1024
    max_strangers: int = 64
    max_of_host: int = 64
    retry_s: float = 1.0
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)


@dataclass(frozen=True, slots=True)
class Known:
    """A connection.

    Attributes:
        owner, address: of one that was called for.
        host: of one that has called.
    """

    owner: EngineID | None = None
    address: TransportAddress | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class TransportState:
    """The connections of a protocol.

    Attributes:
        listener: None: calls are not taken.
        port: where they are.
        failure: why they are not, in words.
        connections: by name.
        called: name of the connection of a Router with an address.
        strangers: those that have called, and have not shown yet who they are.
        hosts: how many have called, by host.
        incarnation: part of the names, so that they differ after a restart.
        next_number: for the next name.
    """

    listener: Any = None
    port: int | None = None
    failure: str | None = None
    connections: PersistentMap[str, Known] = field(default_factory=PersistentMap)
    called: PersistentMap[tuple[EngineID, TransportAddress], str] = field(default_factory=PersistentMap)
    strangers: frozenset[str] = frozenset()
    hosts: PersistentMap[str, int] = field(default_factory=PersistentMap)
    incarnation: str = ""
    next_number: int = 1


# -- operations -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listen:
    """Take calls; `Listening` or `ListenFailed` comes of it."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Accept:
    """Wait for the next call; `Accepted` or `ListenFailed` comes of it."""

    listener: Any


@dataclass(frozen=True, slots=True)
class HangUp:
    """End a call that is one too many."""

    link: Any
    reason: str


# -- actions ----------------------------------------------------------------------------------

Step = Work[TransportState]


def start(args: Any) -> tuple[TransportSettings, TransportState]:
    """The settings, and the first state.

    Raises:
        ValueError: `args` is not `TransportSettings`, or a map of its fields; or the protocol is not offered.
    """
    settings = settings_from(TransportSettings, args)
    if settings.protocol not in OFFERED:
        offered = ", ".join(OFFERED)
        raise ValueError(f"the protocol {settings.protocol} is not offered; there are {offered}")
    tls = settings.tls
    if settings.protocol is TransportProtocol.TLS and settings.listen and (tls is None or tls.certificate is None):
        raise ValueError("who takes calls over TLS needs a certificate and its key: set tls, or listen to false")
    return settings, TransportState()


def begin(turn: Turn[TransportState], _args: None) -> Effects[TransportState]:
    """Take calls, where the settings say so."""
    settings: TransportSettings = turn.settings
    state = replace(turn.state, incarnation=f"{int(turn.time_s * 1000):x}")
    if not settings.listen or settings.protocol is TransportProtocol.CLUSTER:
        return Effects(state)
    return Effects(state, operations=(Listen(settings.host, settings.port),))


def listening(turn: Turn[TransportState], _args: None) -> Effects[TransportState]:
    """Wait for the first call."""
    message = turn.message
    assert isinstance(message, Listening)
    state = replace(turn.state, listener=message.listener, port=message.port, failure=None)
    return Effects(state, operations=(Accept(message.listener),))


def listen_failed(turn: Turn[TransportState], _args: None) -> Effects[TransportState]:
    """Try again later."""
    message = turn.message
    assert isinstance(message, ListenFailed)
    again = LISTEN if turn.state.listener is None else ACCEPT
    return Effects(replace(turn.state, failure=message.reason), timers=(SetTimer(again, turn.settings.retry_s),))


def listen_again(turn: Turn[TransportState], _args: None) -> Effects[TransportState]:
    """Try what has failed once more."""
    settings: TransportSettings = turn.settings
    listener = turn.state.listener
    again = Listen(settings.host, settings.port) if listener is None else Accept(listener)
    return Effects(turn.state, operations=(again,))


def accepted(turn: Turn[TransportState], _args: None) -> Effects[TransportState]:
    """Have a connection for a caller, and wait for the next one."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Accepted)
    settings: TransportSettings = turn.settings
    refused = too_many(work, message.host)
    if refused is None:
        tls = settings.tls if settings.protocol is TransportProtocol.TLS else None
        registry = EngineID(turn.config.node, settings.registry)
        called = ConnectionSettings(registry, link=message.link, tls=tls, limits=settings.limits)
        add(work, called, Known(host=message.host))
    else:
        work.operations.append(HangUp(message.link, refused))
    work.state = replace(work.state, failure=None)
    work.operations.append(Accept(work.state.listener))
    return work.effects()


def link_requested(turn: Turn[TransportState], _args: None) -> Effects[TransportState] | None:
    """Have a connection for a caller within the cluster."""
    work = Work(turn)
    message = turn.message
    sender = turn.sender
    assert isinstance(message, LinkRequest)
    if not isinstance(sender, EngineID) or sender.node is None:
        return None
    if too_many(work, sender.node) is not None:
        return None
    settings: TransportSettings = turn.settings
    registry = EngineID(turn.config.node, settings.registry)
    called = ConnectionSettings(registry, attempt=message.attempt, peer=sender, limits=settings.limits)
    add(work, called, Known(host=sender.node))
    return work.effects()


def connect(turn: Turn[TransportState], _args: None) -> Effects[TransportState] | None:
    """Call an address."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Connect)
    call(work, message.addr, message.attempt)
    return work.effects()


def send(turn: Turn[TransportState], _args: None) -> Effects[TransportState] | None:
    """Pass a message on to the sender's connection with an address; call it, if there is none."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Send)
    out = message.message
    owner = turn.sender
    if not isinstance(owner, EngineID):
        return None
    name = work.state.called.get((owner, out.addr)) or call(work, out.addr, 0)
    if name is not None:
        written = connection.Send(connection.TransportConnectionOutMsg(out.expiry, out.msg))
        work.send(EngineID(turn.config.node, name), written)
    return work.effects()


def call(work: Step, address: TransportAddress, attempt: int) -> str | None:
    """Have a connection for the sender; None: there can be none, and the sender is told why."""
    settings: TransportSettings = work.settings
    owner = work.turn.sender
    if not isinstance(owner, EngineID):
        return None
    protocol = protocol_of(address)
    if protocol is not settings.protocol:
        offered = protocol in OFFERED
        reason = f"speaks {settings.protocol}, not {protocol}" if offered else f"the protocol {protocol} is not offered"
        work.send(owner, Disconnected(attempt, reason))
        return None
    if isinstance(address, ClusterAddr) and address.node == work.turn.config.node:
        work.send(owner, Disconnected(attempt, f"{address.node} is this node itself"))
        return None
    if len(work.state.connections) >= settings.max_connections:
        work.send(
            owner, Disconnected(attempt, f"there are {settings.max_connections} connections, no more are allowed")
        )
        return None
    earlier = work.state.called.get((owner, address))
    if earlier is not None:
        work.spawns.append(StopChild(earlier))
    registry = EngineID(work.turn.config.node, settings.registry)
    made = ConnectionSettings(registry, address, attempt, owner, tls=settings.tls, limits=settings.limits)
    name = add(work, made, Known(owner, address))
    work.state = replace(work.state, called=work.state.called.put((owner, address), name))
    return name


def too_many(work: Step, host: str) -> str | None:
    """Why a caller is one too many; None: it is not."""
    state = work.state
    settings: TransportSettings = work.settings
    if len(state.connections) >= settings.max_connections:
        return f"there are {settings.max_connections} connections"
    if len(state.strangers) >= settings.max_strangers:
        return f"{settings.max_strangers} callers have not shown yet who they are"
    if state.hosts.get(host, 0) >= settings.max_of_host:
        return f"{host} has {settings.max_of_host} connections"
    return None


def add(work: Step, settings: ConnectionSettings, known: Known) -> str:
    """Start a connection."""
    state = work.state
    name = f"transport-connection-{work.settings.protocol}-{state.incarnation}-{state.next_number}"
    work.spawns.append(Spawn(CONNECTION, settings, name))
    state = replace(state, connections=state.connections.put(name, known), next_number=state.next_number + 1)
    if known.host is not None:
        hosts = state.hosts.put(known.host, state.hosts.get(known.host, 0) + 1)
        state = replace(state, strangers=state.strangers | {name}, hosts=hosts)
    work.state = state
    return name


def confirmed(turn: Turn[TransportState], _args: None) -> Effects[TransportState] | None:
    """Note that a caller has shown who it is."""
    sender = turn.sender
    if not isinstance(sender, EngineID) or sender.name not in turn.state.strangers:
        return None
    return Effects(replace(turn.state, strangers=turn.state.strangers - {sender.name}))


def child_ended(turn: Turn[TransportState], _args: None) -> Effects[TransportState]:
    """Forget a connection."""
    state = turn.state
    child = turn.ended.address
    assert isinstance(child, EngineID)
    name = child.name
    known = state.connections.get(name)
    if known is None:
        return Effects(state)
    state = replace(state, connections=state.connections.without(name), strangers=state.strangers - {name})
    if known.host is not None:
        count = state.hosts.get(known.host, 1) - 1
        hosts = state.hosts.put(known.host, count) if count else state.hosts.without(known.host)
        state = replace(state, hosts=hosts)
    if known.owner is not None and known.address is not None:
        key = (known.owner, known.address)
        if state.called.get(key) == name:
            state = replace(state, called=state.called.without(key))
    return Effects(state)


def address(turn: Turn[TransportState], _args: None) -> Effects[TransportState]:
    """Tell where calls are taken."""
    state = turn.state
    settings: TransportSettings = turn.settings
    count = len(state.connections)
    if settings.protocol is TransportProtocol.CLUSTER and settings.listen:
        return Effects(state, replies=(AddressReply(turn.config.node, None, count),))
    host = None if state.listener is None else settings.host
    return Effects(state, replies=(AddressReply(host, state.port, count, state.failure),))


# -- guards -----------------------------------------------------------------------------------


def _from_here(turn: Turn[TransportState]) -> bool:
    return not is_remote(turn.sender)


def _takes_links(turn: Turn[TransportState]) -> bool:
    settings: TransportSettings = turn.settings
    return settings.protocol is TransportProtocol.CLUSTER and settings.listen and _from_here(turn)


BEHAVIOUR: Final[EngineBehaviour[TransportState]] = EngineBehaviour(
    "transport_protocol",
    MESSAGES,
    start,
    First(
        on_started(begin),
        on(Connect, connect, when=_from_here),
        on(Send, send, when=_from_here),
        on(connection.Confirm, confirmed, when=_from_here),
        on(LinkRequest, link_requested, when=_takes_links),
        on(AddressRequest, address, when=_from_here),
        on_outcome(Accepted, accepted),
        on_outcome(Listening, listening),
        on_outcome(ListenFailed, listen_failed),
        on_elapsed(listen_again),
        on_ended(child_ended),
    ),
    traps_exits=True,
)
