"""How a Router comes to a connection, agrees on its keys, and goes on without it.

Pure: see `engines.router.behaviour`.
"""

from __future__ import annotations

from dataclasses import replace

from anoma.crypto import KeyKind, KeyRefused, PublicKey
from anoma.sessions import agree
from engines.effects import CancelTimer, Effects, SetTimer, Unwatch, Watch
from engines.guards import Turn
from engines.messages import Address, EngineID
from engines.network_registry.adverts import (
    OFFERED,
    ClusterAddr,
    TransportAddress,
    is_signed_by,
    node_text,
    protocol_of,
    signed,
    transport_name,
)
from engines.network_registry.work import Work
from engines.router import frames
from engines.router.books import Window
from engines.router.messages import (
    Advertised,
    Arrived,
    Collision,
    Connected,
    ConnectionPermanence,
    ConnectReply,
    ConnectReplyOk,
    ConnectRequest,
    ConnectResult,
    Content,
    Denied,
    Disconnected,
    Hello,
    Incompatible,
    OverCapacity,
)
from engines.router.outgoing import acknowledge, pump, say
from engines.router.state import (
    DIAL,
    MAX_CANDIDATES,
    RETRY,
    TICK,
    Dial,
    Line,
    Note,
    RouterLimits,
    RouterSettings,
    RouterState,
    Step,
)
from engines.transport_connection import messages as connection
from engines.transport_protocol.messages import Connect


def addresses(work: Step) -> tuple[TransportAddress, ...]:
    """Those that may be called, in order.

    Nodes of the cluster are called only where somebody of this node has said so: whoever is called there is asked for
    the cluster's cookie, and may try to guess it from the answer.
    """
    state = work.state
    advertised = () if state.advert is None else state.advert.addrs
    known = [one for one in advertised if not isinstance(one, ClusterAddr) or one in state.hints]
    return tuple(dict.fromkeys(one for one in (*known, *state.hints) if protocol_of(one) in OFFERED))


def is_wanted(work: Step) -> bool:
    """Whether there should be a connection."""
    return work.state.permanence is ConnectionPermanence.PERMANENT or len(work.state.outbox) > 0


def connect(work: Step) -> None:
    """Call the other node, if that is wanted and not under way."""
    state = work.state
    if work.settings.peer == work.settings.node or not is_wanted(work):
        return
    if state.line is not None or state.dial is not None or state.retrying or state.candidates:
        return
    known = addresses(work)
    if not known:
        work.state = replace(state, failure="no address of the other node is known that can be called")
        return
    address = known[state.failures % len(known)]
    dial = Dial(state.attempt + 1, address)
    work.state = replace(state, attempt=dial.attempt, dial=dial)
    work.send(EngineID(work.turn.config.node, transport_name(protocol_of(address))), Connect(address, dial.attempt))
    work.timers.append(SetTimer(DIAL, work.settings.limits.dial_s))


def retry(work: Step, *, at_once: bool = False) -> None:
    """Connect again, when its time has come."""
    state = work.state
    limits: RouterLimits = work.settings.limits
    if state.line is not None or state.dial is not None:
        return
    delay = 0.0 if at_once else min(limits.max_retry_s, limits.retry_s * 2.0 ** min(max(state.failures - 1, 0), 30))
    if delay == 0.0:
        work.state = replace(state, retrying=False)
        connect(work)
    elif is_wanted(work):
        work.state = replace(state, retrying=True)
        work.timers.append(SetTimer(RETRY, delay))


def connected(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Ask the other node to be connected, now that there is a way to it."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Connected)
    assert isinstance(turn.sender, EngineID)
    state = work.state
    settings: RouterSettings = turn.settings
    dial = state.dial
    if dial is None or dial.attempt != message.attempt or dial.connection is not None:
        work.send(turn.sender, connection.Close("the connection is not wanted any more"))
        return work.effects()
    key, ratchet = state.ratchet.key()
    request = signed(
        ConnectRequest(
            settings.limits.proto_ver_min,
            settings.limits.proto_ver_max,
            settings.node,
            settings.peer,
            state.own_advert.version,
            0 if state.advert is None else state.advert.version,
            message.challenge,
            key.public.data,
            state.epoch,
        ),
        settings.key,
    )
    work.state = replace(state, ratchet=ratchet, dial=replace(dial, connection=turn.sender, key=key, request=request))
    work.watches.append(Watch(turn.sender))
    work.send(turn.sender, connection.Send(connection.TransportConnectionOutMsg(None, request)))
    return work.effects()


def replied(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Use the connection, if the other node agrees."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, ConnectReply)
    settings: RouterSettings = turn.settings
    dial = turn.state.dial
    assert dial is not None
    assert dial.request is not None
    assert dial.connection is not None
    assert dial.key is not None
    if (
        message.src_node_id != settings.peer
        or message.request != frames.request_digest(dial.request)
        or not is_signed_by(message, settings.peer)
    ):
        give_up(work, f"whoever is at {dial.address} is not that node: it cannot sign as it")
        return work.effects()
    match message.result:
        case ConnectReplyOk(version, (_, knows), ephemeral, epoch):
            if not settings.limits.proto_ver_min <= version <= settings.limits.proto_ver_max:
                give_up(work, f"the other node speaks version {version} of the protocol, which was not offered")
                return work.effects()
            try:
                session = agree(
                    dial.key,
                    PublicKey(KeyKind.CURVE25519, ephemeral),
                    frames.transcript(dial.request, message),
                    initiator=True,
                )
            except KeyRefused as error:
                give_up(work, str(error))
                return work.effects()
            work.state = replace(work.state, dial=None)
            work.timers.append(CancelTimer(DIAL))
            use(work, Line(dial.connection, session, version, epoch, knows, work.now), first=Hello())
        case Collision():
            drop_dial(work, "the other node's own request counts")
            retry(work)
        case OverCapacity():
            give_up(work, "the other node has enough connections at the moment")
        case Incompatible():
            give_up(work, "the other node speaks no version of the protocol that is spoken here", patience=6)
        case Denied():
            give_up(work, "the other node does not want to be connected with this one", patience=6)
    return work.effects()


def drop_dial(work: Step, reason: str) -> None:
    """End the attempt that is under way."""
    dial = work.state.dial
    work.timers.append(CancelTimer(DIAL))
    if dial is not None and dial.connection is not None:
        work.watches.append(Unwatch(dial.connection))
        work.send(dial.connection, connection.Close(reason))
    work.state = replace(work.state, dial=None)


def give_up(work: Step, reason: str, *, patience: int = 0) -> None:
    """The attempt has come to nothing: the next one is later, at the next address.

    Args:
        patience: as many times longer, in powers of two, since the reason will last.
    """
    drop_dial(work, reason)
    state = work.state
    if state.failure != reason:
        node = node_text(work.settings.peer)[:16]
        work.operations.append(Note(f"node {node} cannot be connected with: {reason}", state.failures == 0))
    work.state = replace(state, failure=reason, failures=max(state.failures + 1, patience))
    retry(work)


def arrived(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Agree to be connected, or say why not."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Arrived)
    request = message.request
    settings: RouterSettings = turn.settings
    state = work.state
    if line_of(state, message.connection) is not None:
        return Effects(turn.state)
    low = max(settings.limits.proto_ver_min, request.proto_ver_min)
    version = min(settings.limits.proto_ver_max, request.proto_ver_max)
    if low > version:
        answer(work, message.connection, request, Incompatible())
        return work.effects()
    if state.dial is not None and state.dial.request is not None and settings.node < settings.peer:
        answer(work, message.connection, request, Collision())
        return work.effects()
    key, ratchet = state.ratchet.key()
    versions = (state.own_advert.version, 0 if state.advert is None else state.advert.version)
    reply = signed(
        ConnectReply(
            ConnectReplyOk(version, versions, key.public.data, state.epoch),
            settings.node,
            frames.request_digest(request),
        ),
        settings.key,
    )
    other = PublicKey(KeyKind.CURVE25519, request.ephemeral)
    try:
        session = agree(key, other, frames.transcript(request, reply), initiator=False)
    except KeyRefused as error:
        work.send(message.connection, connection.Close(str(error)))
        return work.effects()
    line = Line(message.connection, session, version, request.epoch, request.dst_node_advert_ver, work.now)
    work.state = replace(state, ratchet=ratchet, candidates=(*state.candidates, line))
    drop_dial(work, "the other node's own request counts")
    while len(work.state.candidates) > MAX_CANDIDATES:
        hang_up(work, work.state.candidates[0], "there are newer ones")
    work.watches.append(Watch(message.connection))
    work.send(message.connection, connection.Send(connection.TransportConnectionOutMsg(None, reply)))
    return work.effects()


def answer(work: Step, to: EngineID, request: ConnectRequest, result: ConnectResult) -> None:
    """Refuse a request."""
    settings: RouterSettings = work.settings
    reply = signed(ConnectReply(result, settings.node, frames.request_digest(request)), settings.key)
    work.send(to, connection.Send(connection.TransportConnectionOutMsg(None, reply)))
    work.send(to, connection.Close(f"refused: {type(result).__name__}"))


def use(work: Step, line: Line, first: Content | None = None) -> None:
    """Use a connection from now on, in place of another one."""
    state = work.state
    same_peer = state.peer_epoch in (None, line.epoch)
    old = state.line
    if old is not None:
        work.watches.append(Unwatch(old.connection))
        work.send(old.connection, connection.Close("there is a newer connection"))
    work.state = replace(
        state,
        line=line,
        outstanding=0,
        candidates=tuple(one for one in state.candidates if one.connection != line.connection),
        outbox=state.outbox.rewound(same_peer=same_peer),
        window=state.window if same_peer else Window(),
        to_acknowledge=state.to_acknowledge if same_peer else (),
        peer_epoch=line.epoch,
        retrying=False,
        failure=None,
        said_at=work.now,
        heard_at=work.now,
        used_at=max(state.used_at, work.now),
    )
    work.timers.append(CancelTimer(RETRY))
    work.timers.append(SetTimer(TICK, work.settings.limits.keepalive_s))
    work.send(line.connection, connection.Confirm())
    if first is not None:
        say(work, first)
    if line.knows < work.state.own_advert.version:
        say(work, Advertised(work.state.own_advert))
    pump(work)
    acknowledge(work)


def hang_up(work: Step, line: Line, reason: str) -> None:
    """Close a connection, and forget it."""
    work.watches.append(Unwatch(line.connection))
    work.send(line.connection, connection.Close(reason))
    forget(work, line)


def forget(work: Step, line: Line) -> None:
    """Go on without a connection."""
    state = work.state
    if state.line is not None and state.line.connection == line.connection:
        lasted = work.now - line.since >= work.settings.limits.retry_s
        failures = 0 if lasted else state.failures + 1
        work.state = replace(state, line=None, outstanding=0, failures=failures)
        work.timers.append(CancelTimer(TICK))
        retry(work, at_once=lasted)
    else:
        left = tuple(one for one in state.candidates if one.connection != line.connection)
        work.state = replace(state, candidates=left)
        connect(work)


def line_of(state: RouterState, sender: Address | None) -> Line | None:
    """The connection that a Transport Connection stands for."""
    lines = state.candidates if state.line is None else (state.line, *state.candidates)
    return next((line for line in lines if line.connection == sender), None)


def disconnected(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Connect again, if that is wanted."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Disconnected)
    if not lost(work, turn.sender, message.attempt, message.reason):
        return Effects(turn.state)
    return work.effects()


def connection_ended(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Connect again, if that is wanted."""
    work = Work(turn)
    address = turn.ended.address
    if not lost(work, address, None, "its Transport Connection has ended"):
        return Effects(turn.state)
    return work.effects()


def lost(work: Step, sender: Address | None, attempt: int | None, reason: str) -> bool:
    """Go on without a connection, or an attempt; False: it was none of them."""
    state = work.state
    line = line_of(state, sender)
    if line is not None:
        work.watches.append(Unwatch(line.connection))
        if line is state.line:
            work.state = replace(state, failure=reason)
        forget(work, line)
        return True
    dial = state.dial
    if dial is not None and (dial.attempt == attempt or (dial.connection is not None and dial.connection == sender)):
        give_up(work, reason)
        return True
    return False
