"""What a Transport Protocol takes and sends.

==================================  ==========================================  ====================================
message                             from                                        what it says
==================================  ==========================================  ====================================
`Connect`                           a Router                                    call an address
`Send`                              a Router                                    write this to an address
`AddressRequest`                    anybody of this node                        where are you called?
`LinkRequest`                       a Transport Connection of the cluster       have a link with it
`Confirm`                           a Transport Connection                      its caller has shown who it is
`Listening` `Accepted` ..           itself                                      what came of its operations
==================================  ==========================================  ====================================

Source: nspec v0.2.0, "Transport Protocol messages"; all but `Send` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engines.messages import Message
from engines.network_registry.adverts import TransportAddress
from engines.router.messages import ConnectReply, ConnectRequest, NodeMsg, TransportPrefs
from engines.transport_connection.messages import Confirm, LinkRequest
from engines.wire import Value


class TransportProtocolMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "transport_protocol"


@dataclass(frozen=True, slots=True)
class TransportOutMsg(Value):
    """Something for a node, at an address.

    Attributes:
        addr: where it is.
        prefs: how to transport it.
        expiry: of no use from then on, in seconds since 1970-01-01 UTC; None: never.
        msg: what goes over the wire.
    """

    addr: TransportAddress
    prefs: TransportPrefs
    expiry: float | int | None
    msg: NodeMsg | ConnectRequest | ConnectReply


@dataclass(frozen=True, slots=True)
class Send(TransportProtocolMessage):
    """Write a message to the sender's connection with an address; without one, connect first.

    Attributes:
        message: what, and where to.
    """

    message: TransportOutMsg


@dataclass(frozen=True, slots=True)
class Connect(TransportProtocolMessage):
    """Call an address for the sender, which hears `router.messages.Connected` or `Disconnected` of it.

    Attributes:
        addr: where to.
        attempt: comes back with either.
    """

    addr: TransportAddress
    attempt: int


@dataclass(frozen=True, slots=True)
class AddressRequest(TransportProtocolMessage):
    """Ask for the address that others can call."""


@dataclass(frozen=True, slots=True)
class AddressReply(TransportProtocolMessage):
    """The address.

    Attributes:
        host: the IP address, or the name of the node in the cluster; None: it takes no calls at the moment.
        port: None where there is none.
        connections: how many there are.
        failure: why it takes no calls, where it should; None: all is well.
    """

    host: str | None
    port: int | None
    connections: int
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Listening(TransportProtocolMessage):
    """Calls are taken.

    Attributes:
        listener: for later operations; means something to the server alone.
        port: where.
    """

    listener: Any
    port: int


@dataclass(frozen=True, slots=True)
class ListenFailed(TransportProtocolMessage):
    """No calls can be taken.

    Attributes:
        reason: in words.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Accepted(TransportProtocolMessage):
    """Somebody has called.

    Attributes:
        link: for the connection.
        host: of the caller.
    """

    link: Any
    host: str


MESSAGES: Final = (
    Send,
    Connect,
    AddressRequest,
    AddressReply,
    LinkRequest,
    Confirm,
    Listening,
    ListenFailed,
    Accepted,
)
