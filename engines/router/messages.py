"""What a Router takes and sends: from and to engines of its node, and from and to the other node.

=====================  ==========================================  ==============================================
message                from                                        what it says
=====================  ==========================================  ==============================================
`Send`                 any engine of this node                     send this to the other node
`SetPermanence`        any engine of this node                     keep connected, or not
`NodeAdvert`           the Network Registry                        where the other node is
`OwnAdvert`            the Network Registry                        where this node is
`Hint`                 the Network Registry                        where the other node may be
`Connected`            a Transport Connection                      the way to the other node is there
`Disconnected`         a Transport Protocol or Connection          it is not, or no longer
`ConnectRequest`       the other node, by the Network Registry     let us be connected (in `Arrived`)
`ConnectReply`         the other node, by a Transport Connection   yes, or no
`Recv`                 a Transport Connection                      a message of the other node
`Written`              a Transport Connection                      so many messages have left
`StatusRequest`        anybody of this node                        how is the connection?
=====================  ==========================================  ==============================================

`ConnectRequest`, `ConnectReply`, `NodeMsg` and `Greeting` are values, too: they are what goes over the wire, see
`frames`. In a `NodeMsg` is one of `Carried`, `Acknowledged`, `Advertised`, `Hello`, encrypted.

Source: nspec v0.2.0, "Router messages". The specification has neither signatures nor encryption, and nothing of how a
request and its reply come to the other node: `Greeting`, the fields ``challenge``, ``ephemeral``, ``epoch``,
``request`` and ``sig``, `Collision`, and what is in a `NodeMsg` are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final

from anoma.crypto import EMPTY_COMMITMENT, Signature
from engines.messages import EngineID, Message
from engines.network_registry.adverts import NodeID, TransportAddress, expect_id
from engines.network_registry.messages import NodeAdvert
from engines.wire import Value

KEY_SIZE: Final = 32
CHALLENGE_SIZE: Final = 32
EPOCH_SIZE: Final = 16
MAX_VERSION: Final = 2**31 - 1


class RouterMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "router"


# -- from engines ------------------------------------------------------------------------------


class Ordering(StrEnum):
    """Whether messages may overtake each other. All protocols that are offered keep the order."""

    ORDERED = "ordered"
    UNORDERED = "unordered"


class Reliability(StrEnum):
    """Whether a message is sent again when the connection is lost before the other node has said that it came."""

    RELIABLE = "reliable"
    UNRELIABLE = "unreliable"


class Security(StrEnum):
    """By which way a message goes."""

    DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class TransportPrefs(Value):
    """How a message is to be transported.

    Attributes:
        ordering: whether messages may overtake each other.
        reliability: whether the loss of a connection may lose it.
        security: by which way.
    """

    ordering: Ordering = Ordering.ORDERED
    reliability: Reliability = Reliability.RELIABLE
    security: Security = Security.DIRECT


DEFAULT_PREFS: Final = TransportPrefs()


@dataclass(frozen=True, slots=True)
class NodeOutMsg(Value):
    """A message to an engine of another node.

    Attributes:
        prefs: how to transport it.
        expiry: until when to try, in seconds since 1970-01-01 UTC; None: as long as the Router's settings say.
        msg: the envelope as a term, see `engines.messages`. Its target's name counts; its sender may be nil: the reply
            goes to the sender of `Send` then.
    """

    prefs: TransportPrefs
    expiry: float | int | None
    msg: Any


@dataclass(frozen=True, slots=True)
class Send(RouterMessage):
    """Send a message to the other node. As a call it waits for the reply to that message, which comes as `Replied`.

    An envelope of an engine to an engine of another node (its `EngineID` has that node's id) becomes one of these.

    Attributes:
        message: what, how and until when.
    """

    message: NodeOutMsg


@dataclass(frozen=True, slots=True)
class Replied(RouterMessage):
    """The other node's engine has answered the message of a call of `Send`.

    Attributes:
        message: its answer, ``{Engine, Message, Fields}``.
    """

    message: Any


@dataclass(frozen=True, slots=True)
class SendFailed(RouterMessage):
    """The message of a call of `Send` is not sent.

    Attributes:
        reason: why not, and what to do.
    """

    reason: str


class ConnectionPermanence(StrEnum):
    """How long to be connected.

    Permanent: from now on, and again whenever the connection is lost. Ephemeral: while there is something to send, or
    the other node calls.
    """

    EPHEMERAL = "ephemeral"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class SetPermanence(RouterMessage):
    """Say how long to keep connected with the other node.

    Attributes:
        permanence: from now on.
    """

    permanence: ConnectionPermanence


@dataclass(frozen=True, slots=True)
class StatusRequest(RouterMessage):
    """Ask how the connection is."""


@dataclass(frozen=True, slots=True)
class StatusReply(RouterMessage):
    """How the connection is.

    Attributes:
        status: ``connected``, ``connecting``, ``waiting`` (for the next attempt), or ``idle``.
        proto_ver: the version that is spoken; None: not connected.
        permanence: whether it is to be kept.
        waiting: messages that the other node has not taken yet.
        failure: why the last attempt came to nothing; None: it did not.
    """

    status: str
    proto_ver: int | None
    permanence: ConnectionPermanence
    waiting: int
    failure: str | None


@dataclass(frozen=True, slots=True)
class OwnAdvert(RouterMessage):
    """This node's own latest advert, for the other node.

    Attributes:
        advert: signed.
    """

    advert: NodeAdvert


@dataclass(frozen=True, slots=True)
class Hint(RouterMessage):
    """Addresses of the other node that it has not advertised.

    Attributes:
        addrs: all of them; those of its advert come first.
    """

    addrs: tuple[TransportAddress, ...]


# -- over the wire -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Greeting(Value):
    """The first that a node sends to one that calls.

    Attributes:
        challenge: 32 random bytes, which the caller has to sign: so an old request is of no use to anybody.
    """

    challenge: bytes

    def __post_init__(self) -> None:
        if len(self.challenge) != CHALLENGE_SIZE:
            raise ValueError(f"expected a challenge of {CHALLENGE_SIZE} bytes, got {len(self.challenge)}")


@dataclass(frozen=True, slots=True)
class ConnectRequest(RouterMessage, Value):
    """A node asks another one to be connected.

    Attributes:
        proto_ver_min, proto_ver_max: the versions of the protocol that it speaks.
        src_node_id: who asks.
        dst_node_id: who is asked.
        src_node_advert_ver: version of its own latest advert.
        dst_node_advert_ver: version of the other's advert that it knows; 0: none.
        challenge: what the other has greeted with.
        ephemeral: a fresh key for X25519, 32 bytes.
        epoch: 16 random bytes, others after each restart of the Router.
        sig: of `src_node_id` over the other fields.
    """

    proto_ver_min: int
    proto_ver_max: int
    src_node_id: NodeID
    dst_node_id: NodeID
    src_node_advert_ver: int
    dst_node_advert_ver: int
    challenge: bytes
    ephemeral: bytes
    epoch: bytes
    sig: Signature = EMPTY_COMMITMENT

    def __post_init__(self) -> None:
        expect_id(self.src_node_id, "the id of the node that asks")
        expect_id(self.dst_node_id, "the id of the node that is asked")
        if not 0 <= self.proto_ver_min <= self.proto_ver_max <= MAX_VERSION:
            raise ValueError("expected proto_ver_min to be at most proto_ver_max, and both to be natural numbers")
        sizes = (len(self.challenge), len(self.ephemeral), len(self.epoch))
        if sizes != (CHALLENGE_SIZE, KEY_SIZE, EPOCH_SIZE):
            raise ValueError(
                f"expected {CHALLENGE_SIZE}, {KEY_SIZE} and {EPOCH_SIZE} bytes as challenge, key and epoch"
            )


@dataclass(frozen=True, slots=True)
class ConnectReplyOk(Value):
    """Connected.

    Attributes:
        proto_ver: the version to speak, the highest that both know.
        node_advert_ver: version of the answering node's own advert, and of the one that it knows of the other.
        ephemeral: a fresh key for X25519, 32 bytes.
        epoch: 16 random bytes, others after each restart of the Router.
    """

    proto_ver: int
    node_advert_ver: tuple[int, int]
    ephemeral: bytes
    epoch: bytes

    def __post_init__(self) -> None:
        if len(self.ephemeral) != KEY_SIZE or len(self.epoch) != EPOCH_SIZE:
            raise ValueError(f"expected {KEY_SIZE} and {EPOCH_SIZE} bytes as key and epoch")


@dataclass(frozen=True, slots=True)
class OverCapacity(Value):
    """Not now: the node has enough connections."""


@dataclass(frozen=True, slots=True)
class Incompatible(Value):
    """There is no version of the protocol that both speak."""


@dataclass(frozen=True, slots=True)
class Denied(Value):
    """The node does not want to be connected with this one."""


@dataclass(frozen=True, slots=True)
class Collision(Value):
    """The other way round: the node has asked itself at the same time, and its request counts."""


ConnectResult = ConnectReplyOk | OverCapacity | Incompatible | Denied | Collision


@dataclass(frozen=True, slots=True)
class ConnectReply(RouterMessage, Value):
    """The answer to a `ConnectRequest`.

    Attributes:
        result: connected, or why not.
        src_node_id: who answers.
        request: the digest of the request, signature and all.
        sig: of `src_node_id` over the other fields.
    """

    result: ConnectResult
    src_node_id: NodeID
    request: bytes
    sig: Signature = EMPTY_COMMITMENT

    def __post_init__(self) -> None:
        expect_id(self.src_node_id, "the id of the node that answers")


@dataclass(frozen=True, slots=True)
class NodeMsg(Value):
    """A message between two nodes.

    Attributes:
        seq: rises with each message of the sending Router.
        msg: encrypted with the keys of the session.
        sig: of the sending node over the session, `seq` and `msg`.
    """

    seq: int
    msg: bytes
    sig: Signature


@dataclass(frozen=True, slots=True)
class Carried(Value):
    """In a `NodeMsg`: an envelope.

    Attributes:
        envelope: a term; its sender's node is the sending one, its target's the receiving one or nil.
    """

    envelope: Any


@dataclass(frozen=True, slots=True)
class Acknowledged(Value):
    """In a `NodeMsg`: these have come.

    Attributes:
        seqs: of `Carried` messages of the other.
    """

    seqs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Advertised(Value):
    """In a `NodeMsg`: the sending node's latest advert."""

    advert: NodeAdvert


@dataclass(frozen=True, slots=True)
class Hello(Value):
    """In a `NodeMsg`: still here. Sent first by whoever has called, and then while there is nothing else."""


Content = Carried | Acknowledged | Advertised | Hello


# -- from and to the transport -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected(RouterMessage):
    """A Transport Connection has reached somebody at the address that it was asked for.

    Attributes:
        attempt: as in the request to connect.
        challenge: of the greeting.
    """

    attempt: int
    challenge: bytes


@dataclass(frozen=True, slots=True)
class Disconnected(RouterMessage):
    """There is no connection, or no longer.

    Attributes:
        attempt: as in the request to connect; None: the other node had called.
        reason: in words.
    """

    attempt: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Arrived(RouterMessage):
    """A node asks to be connected, and the Network Registry has looked at its signature.

    Attributes:
        connection: the Transport Connection that it has called at.
        request: as it came.
    """

    connection: EngineID
    request: ConnectRequest


@dataclass(frozen=True, slots=True)
class Recv(RouterMessage):
    """A message of the other node.

    Attributes:
        message: as it came.
    """

    message: NodeMsg


@dataclass(frozen=True, slots=True)
class Written(RouterMessage):
    """A Transport Connection has room again.

    Attributes:
        count: so many of the messages that it was given have left.
    """

    count: int


MESSAGES: Final = (
    Send,
    Replied,
    SendFailed,
    SetPermanence,
    NodeAdvert,
    OwnAdvert,
    Hint,
    StatusRequest,
    StatusReply,
    ConnectRequest,
    ConnectReply,
    Connected,
    Disconnected,
    Arrived,
    Recv,
    Written,
)
