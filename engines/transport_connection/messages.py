"""What a Transport Connection takes and sends.

==================================  =========================================  =====================================
message                             from                                       what it says
==================================  =========================================  =====================================
`Send`                              its Router, or its Transport Protocol      write this
`Assign`                            the Network Registry                       what comes is for this Router
`Confirm`                           its Router                                 the other node has shown who it is
`Taken`                             its Router                                 so many messages have been handled
`Close`                             its Router, Protocol or Registry           end, once all is written
`LinkRequest` `LinkAccepted`        a Transport Connection of another node     begin a link within the cluster
`LinkFrame` `LinkTaken`             the one at the other end of such a link    a frame; so many have been handled
`Dialled` `ReadBytes` `Wrote` ..    itself                                     what came of its operations
==================================  =========================================  =====================================

Source: nspec v0.2.0, "Transport Connection messages"; all but `Send` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from anoma.crypto import Secret
from engines.messages import EngineID, Message
from engines.router.messages import ConnectReply, ConnectRequest, NodeMsg
from engines.wire import Value


class TransportConnectionMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "transport_connection"


@dataclass(frozen=True, slots=True)
class TransportConnectionOutMsg(Value):
    """Something for the other node.

    Attributes:
        expiry: of no use from then on, in seconds since 1970-01-01 UTC; None: never.
        msg: what goes over the wire. The specification has messages only, and no way for requests and replies.
    """

    expiry: float | int | None
    msg: NodeMsg | ConnectRequest | ConnectReply


@dataclass(frozen=True, slots=True)
class Send(TransportConnectionMessage):
    """Write a message to the link, unless it has expired.

    Attributes:
        message: the message, and its expiry.
    """

    message: TransportConnectionOutMsg


@dataclass(frozen=True, slots=True)
class Assign(TransportConnectionMessage):
    """Whom to give what comes, from now on.

    Attributes:
        owner: a Router.
    """

    owner: EngineID


@dataclass(frozen=True, slots=True)
class Confirm(TransportConnectionMessage):
    """The other node has shown who it is: large frames are taken from now on, and the time for it does not count."""


@dataclass(frozen=True, slots=True)
class Taken(TransportConnectionMessage):
    """The Router has handled messages; so there is room for others.

    Attributes:
        count: how many.
    """

    count: int


@dataclass(frozen=True, slots=True)
class Close(TransportConnectionMessage):
    """End the connection, once what waits is written.

    Attributes:
        reason: in words.
    """

    reason: str


# -- over the distribution of a cluster --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkRequest(TransportConnectionMessage):
    """To the Transport Protocol of another node of the cluster: the sender wants a link.

    Attributes:
        attempt: the sender's own number for it.
    """

    attempt: int


@dataclass(frozen=True, slots=True)
class LinkAccepted(TransportConnectionMessage):
    """The sender is the other end of the link.

    Attributes:
        attempt: as in the request.
    """

    attempt: int


@dataclass(frozen=True, slots=True)
class LinkFrame(TransportConnectionMessage):
    """What a socket would carry.

    Attributes:
        data: one frame with its length, see `engines.router.frames`.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class LinkTaken(TransportConnectionMessage):
    """The other end has handled frames.

    Attributes:
        count: how many.
    """

    count: int


# -- what came of operations -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dialled(TransportConnectionMessage):
    """The other side has answered.

    Attributes:
        link: for later operations; means something to the server alone.
    """

    link: Any


@dataclass(frozen=True, slots=True)
class Secured(TransportConnectionMessage):
    """A caller's TLS is agreed on."""


@dataclass(frozen=True, slots=True)
class Challenged(TransportConnectionMessage):
    """Random bytes, to greet a caller with.

    Attributes:
        secret: 32 of them. Secret until they are sent.
    """

    secret: Secret


@dataclass(frozen=True, slots=True)
class ReadBytes(TransportConnectionMessage):
    """Something came.

    Attributes:
        data: any number of bytes, cut anywhere.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class Wrote(TransportConnectionMessage):
    """All of the last operation's bytes have left."""


@dataclass(frozen=True, slots=True)
class LinkEnded(TransportConnectionMessage):
    """The link has ended, or there was none.

    Attributes:
        reason: in words.
    """

    reason: str


MESSAGES: Final = (
    Send,
    Assign,
    Confirm,
    Taken,
    Close,
    LinkRequest,
    LinkAccepted,
    LinkFrame,
    LinkTaken,
    Dialled,
    Secured,
    Challenged,
    ReadBytes,
    Wrote,
    LinkEnded,
)
