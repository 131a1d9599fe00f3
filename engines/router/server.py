"""A Router as a process, and what others call to write to engines of other nodes.

An engine writes to one of another node as to any: its address is ``EngineID(Id, Name)``, with the node's id in
hexadecimal digits. `request` and `send` are for those who are no engines::

    count = request(node, EngineID(id.hex(), "ticker"), CountRequest())

From Erlang, with the envelope of `engines.messages`::

    gen_server:call('router-<id>', {send, #{message => {node_out_msg,
        #{prefs => transport_prefs, expiry => nil, msg => Envelope}}}}, 10_000).
"""

from __future__ import annotations

import logging
from typing import Any

from engines.engine import Client, Engine, Refused, ask, known_with, tell
from engines.messages import EngineID, Envelope, Message, decode_message, encode_envelope
from engines.network_registry.adverts import node_of, router_name
from engines.router.behaviour import BEHAVIOUR
from engines.router.messages import (
    DEFAULT_PREFS,
    ConnectionPermanence,
    NodeOutMsg,
    Replied,
    Send,
    SendFailed,
    SetPermanence,
    StatusReply,
    StatusRequest,
    TransportPrefs,
)
from engines.router.state import Deliver, Note
from erlang_bridge import Atom, OwnProcess

log = logging.getLogger("engines.network")


def request(
    client: Client,
    target: EngineID,
    message: Message,
    *,
    prefs: TransportPrefs = DEFAULT_PREFS,
    expiry: float | None = None,
    timeout_s: float | None = 10.0,
) -> Any:
    """Ask an engine of another node, and wait for its answer.

    Args:
        target: with the node's id in hexadecimal digits.
        expiry: until when to try to send it, in seconds since 1970-01-01 UTC.

    Raises:
        Refused: it cannot be sent, and why. ErlangExit: no answer; ``noproc``: nothing is known of that node.
    """
    answer = ask(client, _router(target), _out(target, message, prefs, expiry), timeout_s)
    if isinstance(answer, SendFailed):
        raise Refused((Atom("not_sent"), answer.reason.encode()))
    assert isinstance(answer, Replied)
    return decode_message(answer.message, known_with(message))


def send(
    client: Client,
    target: EngineID,
    message: Message,
    *,
    prefs: TransportPrefs = DEFAULT_PREFS,
    expiry: float | None = None,
) -> None:
    """Write to an engine of another node. Does not wait; arguments as for `request`."""
    tell(client, _router(target), _out(target, message, prefs, expiry))


def set_permanence(client: Client, node: bytes, permanence: ConnectionPermanence) -> None:
    """Say how long to keep connected with a node. Does not wait."""
    tell(client, router_name(node), SetPermanence(permanence))


def status(client: Client, node: bytes, timeout_s: float | None = 5.0) -> StatusReply:
    """How the connection with a node is.

    Raises:
        ErlangExit: no answer; ``noproc``: nothing is known of that node.
    """
    reply: StatusReply = ask(client, router_name(node), StatusRequest(), timeout_s)
    return reply


def _router(target: EngineID) -> str:
    node = node_of(target.node)
    if node is None:
        raise ValueError(f"expected a node's id in 64 hexadecimal digits as the node of the target, got {target.node}")
    return router_name(node)


def _out(target: EngineID, message: Message, prefs: TransportPrefs, expiry: float | None) -> Send:
    return Send(NodeOutMsg(prefs, expiry, encode_envelope(Envelope(None, target, message))))


class Router(Engine):
    """Everything to and from one other node."""

    engine = BEHAVIOUR

    def readdress(self, envelope: Envelope) -> Envelope | None:
        target = envelope.target
        config = self._config()
        if not isinstance(target, EngineID) or target.node in (None, config.node):
            return envelope
        out = NodeOutMsg(DEFAULT_PREFS, None, encode_envelope(envelope))
        return Envelope(envelope.sender, config.engine_id, Send(out))

    def perform(self, operation: Any, own: OwnProcess) -> Message | None:
        match operation:
            case Deliver(EngineID(node, name), term):
                self.send(name if node is None else (name, node), term)
            case Deliver(pid, term):
                self.send(pid, term)
            case Note(text, is_warning):
                log.log(logging.WARNING if is_warning else logging.INFO, "%s", text)
        return None
