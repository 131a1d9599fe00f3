"""Where a Router is, what it is configured with, and what it asks of the world.

Pure values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from anoma.crypto import KeyKind, PrivateKey, PublicKey, Secret
from anoma.persistent_map import PersistentMap
from anoma.sessions import Ratchet, Session
from engines.messages import Address, EngineID
from engines.network_registry.adverts import (
    NodeID,
    TransportAddress,
)
from engines.network_registry.messages import NodeAdvert
from engines.network_registry.work import Work
from engines.router.books import Outbox, Window
from engines.router.frames import FRAME_OVERHEAD, MAX_FRAME
from engines.router.messages import (
    ConnectionPermanence,
    ConnectRequest,
)
from engines.wire import Value
from erlang_bridge.terms import Reference

DIAL: Final = "dial"
RETRY: Final = "retry"
TICK: Final = "tick"
SWEEP: Final = "sweep"
ACKNOWLEDGE: Final = "acknowledge"
UNUSED: Final = "unused"

SWEEP_S: Final = 5.0
WINDOW: Final = 64
"""Messages that a connection is given and has not written."""
MAX_CANDIDATES: Final = 4
MAX_UNACKNOWLEDGED: Final = 64
"""Messages that have come and are acknowledged together; fewer after a moment."""
MAX_CALLERS: Final = 10_000
MAX_CONTACTS: Final = 10_000
NOTE_S: Final = 1.0
"""No more than one line in the log within this time is about what the other node sends."""
REPLY: Final = "reply-"
"""What the names of senders without a name begin with."""
NOBODY: Final = "nobody"
"""The name of a sender who is not known: without one the receiver would take the message for one of its own node."""


@dataclass(frozen=True, slots=True)
class RouterLimits(Value):
    """What Routers may do, and what they may cost.

    Attributes:
        proto_ver_min, proto_ver_max: the versions of the protocol that are spoken.
        exposed: engines that other nodes may write to: names, and beginnings of names with a ``*`` behind them.
        dial_s: until a connection has to be agreed on.
        retry_s: until the second attempt; each further one takes twice as long.
        max_retry_s: at most.
        keepalive_s: a connection on which nothing goes is tried each so often, and given up after three times of it.
        idle_s: an ephemeral connection is closed when so long no engine has used it.
        send_s: how long a message is kept whose sender does not say.
        reply_s: how long a sender without a name can be replied to.
        contact_s: how long the other node may write to an engine that has written to it.
        acknowledge_s: within which time the other node hears that messages have come.
        max_waiting, max_waiting_bytes: of messages that the other node has not taken; beyond, further ones are refused.
        max_message: of one, in bytes.
    """

    proto_ver_min: int = 1
    proto_ver_max: int = 1
    exposed: tuple[str, ...] = ("network_registry", "storage", "topic-*")
    dial_s: float = 10.0
    retry_s: float = 1.0
    max_retry_s: float = 60.0
    keepalive_s: float = 15.0
    idle_s: float = 300.0
    send_s: float = 60.0
    reply_s: float = 60.0
    contact_s: float = 900.0
    acknowledge_s: float = 0.1
    max_waiting: int = 10_000
    max_waiting_bytes: int = 64 << 20
    max_message: int = MAX_FRAME - FRAME_OVERHEAD


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """One Router.

    Attributes:
        key: this node's own.
        peer: the other node.
        seed: 32 random bytes.
        own_advert: this node's.
        advert: the other node's; None: none is known.
        hints: addresses of the other node that it has not advertised.
        permanent: whether to keep connected.
        limits: for all Routers of the node.
    """

    key: PrivateKey
    peer: NodeID
    seed: Secret
    own_advert: NodeAdvert
    advert: NodeAdvert | None = None
    hints: tuple[TransportAddress, ...] = ()
    permanent: bool = False
    limits: RouterLimits = field(default_factory=RouterLimits)

    @property
    def node(self) -> NodeID:
        """This node."""
        return self.key.public.data

    @property
    def peer_key(self) -> PublicKey:
        """The other node's key."""
        return PublicKey(KeyKind.ED25519, self.peer)


@dataclass(frozen=True, slots=True)
class Dial:
    """An attempt to connect.

    Attributes:
        attempt: its number.
        address: that is called.
        connection: once it is there.
        key: the fresh key of the request.
        request: once it is sent.
    """

    attempt: int
    address: TransportAddress
    connection: EngineID | None = None
    key: PrivateKey | None = None
    request: ConnectRequest | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A connection that is agreed on.

    Attributes:
        connection: the Transport Connection.
        session: its keys.
        proto_ver: the version that is spoken.
        epoch: of the other node's Router.
        knows: the version of this node's advert that the other one knows.
        since: when it was agreed on.
    """

    connection: EngineID
    session: Session
    proto_ver: int
    epoch: bytes
    knows: int
    since: float


@dataclass(frozen=True, slots=True)
class Caller:
    """A sender without a name that may be replied to.

    Attributes:
        address: who.
        reference: what it knows the reply by.
        is_call: whether it waits for the reply to `Send` itself.
        until: for how long.
    """

    address: Address
    reference: Reference | None
    is_call: bool
    until: float


@dataclass(frozen=True, slots=True)
class RouterState:
    """Where a Router is.

    Attributes:
        own_advert, advert, hints: as in the settings, and what came later.
        permanence: whether the connection is to be kept.
        ratchet: for fresh keys.
        epoch: this Router's own.
        outbox: what the other node has not taken.
        window: what has come from the other node.
        peer_epoch: whose window that is.
        to_acknowledge: numbers of messages that have come, and are not acknowledged.
        attempt: number of the last attempt to connect.
        failures: attempts in a row that came to nothing.
        failure: why the last one did.
        retrying: whether the next attempt waits for its time.
        dial: the attempt that is under way.
        line: the connection in use.
        outstanding: messages that it was given and has not written.
        candidates: connections that the other node has asked for, and not used yet.
        said_at, heard_at, used_at: when the last message went out, came, was an engine's.
        callers: by the name that they were given.
        next_caller: for the next such name.
        contacts: engines that have written to the other node, and so may be written to; until when.
        noted_at: when the last line about its messages went to the log.
    """

    own_advert: NodeAdvert
    advert: NodeAdvert | None
    hints: tuple[TransportAddress, ...]
    permanence: ConnectionPermanence
    ratchet: Ratchet
    epoch: bytes
    outbox: Outbox = field(default_factory=Outbox)
    window: Window = field(default_factory=Window)
    peer_epoch: bytes | None = None
    to_acknowledge: tuple[int, ...] = ()
    attempt: int = 0
    failures: int = 0
    failure: str | None = None
    retrying: bool = False
    dial: Dial | None = None
    line: Line | None = None
    outstanding: int = 0
    candidates: tuple[Line, ...] = ()
    said_at: float = 0.0
    heard_at: float = 0.0
    used_at: float = 0.0
    callers: PersistentMap[str, Caller] = field(default_factory=PersistentMap)
    next_caller: int = 1
    contacts: PersistentMap[str, float] = field(default_factory=PersistentMap)
    noted_at: float = -NOTE_S


# -- operations -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deliver:
    """Give an envelope, a term, to a process of this node or its cluster."""

    target: Address
    term: Any


@dataclass(frozen=True, slots=True)
class Note:
    """Write to the log what whoever runs the node should know."""

    text: str
    is_warning: bool = True


Step = Work[RouterState]
