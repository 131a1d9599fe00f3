"""What a Transport Connection does: carries frames between a link and a Router.

It begins with a call, to an address or of somebody. Who is called greets with random bytes; the caller's Router answers
with a request, which the called node's Network Registry looks at and gives to a Router. From then on frames go both
ways.

It reads on only while its Router keeps up, and writes only what its Router was told that there is room for. What a
stranger can cost is bounded: the size of the first frames, the time until it has shown who it is. Whatever is wrong on
the link ends this connection and nothing else.

Differences from the specification:

* The page of this engine has the purpose of another one (Transport Protocol); this is what its messages and the diagram
  of the subsystem say that it is for.
* There is no message for what comes in before the other node is known: it goes to the Network Registry.
* Between nodes of one cluster the link is the distribution; frames are messages between two of these engines.

Pure: a function of environment and message to effects.

Source: nspec v0.2.0, "Transport Connection"; the behaviour is ours, the specification has none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from engines.effects import CancelTimer, Effects, Exit, SetTimer, Unwatch, Watch
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed, on_ended, on_outcome, on_started
from engines.messages import EngineID
from engines.network_registry.adverts import ClusterAddr, TransportAddress, is_remote, protocol_of, transport_name
from engines.network_registry.messages import Inbound
from engines.network_registry.work import Work
from engines.router import frames
from engines.router.frames import MAX_FIRST_FRAME, MAX_FRAME, BadFrame
from engines.router.messages import (
    Connected,
    ConnectReply,
    ConnectRequest,
    Disconnected,
    Greeting,
    NodeMsg,
    Recv,
    Written,
)
from engines.transport_connection.messages import (
    MESSAGES,
    Assign,
    Challenged,
    Close,
    Confirm,
    Dialled,
    LinkAccepted,
    LinkEnded,
    LinkFrame,
    LinkRequest,
    LinkTaken,
    ReadBytes,
    Secured,
    Send,
    Taken,
    Wrote,
)
from engines.wire import Value, settings_from
from erlang_bridge.terms import Atom

NORMAL: Final = Atom("normal")
DEADLINE: Final = "deadline"
LINGER: Final = "linger"
LINGER_S: Final = 2.0
WINDOW: Final = 64
"""Frames that are read and not yet handled, or given to the other end of a link in the cluster and not taken."""
MAX_WRITE: Final = 256 << 10
MAX_QUEUE: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class TLSFiles(Value):
    """Certificates for TLS: files in PEM.

    Attributes:
        certificate: of this node, with those that lead to its authority. Who calls needs none, unless the other side
            asks for it.
        key: the certificate's private key.
        authorities: certificates that others have to be issued by.
        callers_need: whether callers need a certificate, too.
    """

    certificate: str | None = None
    key: str | None = None
    authorities: str | None = None
    callers_need: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionLimits(Value):
    """What a connection may cost.

    Attributes:
        dial_s: for reaching an address, TLS included.
        confirm_s: until a caller has shown who it is, TLS included.
        write_s: for a write to make progress: a node that does not read is not waited for.
        max_frame: of nodes that have shown who they are, in bytes.
    """

    dial_s: float = 7.0
    confirm_s: float = 7.0
    write_s: float = 30.0
    max_frame: int = MAX_FRAME


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """One connection.

    Attributes:
        registry: the node's Network Registry.
        address: to be called; None: somebody has called.
        attempt: the caller's number for it.
        owner: the Router that wants to call.
        link: of whom has called, an accepted socket.
        peer: of whom has called over the cluster, its Transport Connection.
        tls: None: without TLS.
    """

    registry: EngineID
    address: TransportAddress | None = None
    attempt: int | None = None
    owner: EngineID | None = None
    link: Any = None
    peer: EngineID | None = None
    tls: TLSFiles | None = None
    limits: ConnectionLimits = ConnectionLimits()


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """Where a connection is.

    Attributes:
        phase: ``opening``, ``greeting`` (the first frame of the other side is to come), ``asked`` (a caller's request
            is with the Network Registry), ``open``, ``closing``.
        owner: the Router.
        link: the socket.
        peer: the other end of a link in the cluster.
        challenge: what a caller was greeted with.
        confirmed: whether the other node has shown who it is.
        buffer: the beginning of a frame.
        unhandled: frames that the Router was given, and has not handled.
        reading: whether a read is under way.
        queue: frames to be written.
        queued: their bytes.
        writing: how many frames are being written; on a link in the cluster those that the other end has not taken.
        reason: why it is closing.
    """

    phase: str = "opening"
    owner: EngineID | None = None
    link: Any = None
    peer: EngineID | None = None
    challenge: bytes = b""
    confirmed: bool = False
    buffer: bytes = b""
    unhandled: int = 0
    reading: bool = False
    queue: tuple[bytes, ...] = ()
    queued: int = 0
    writing: int = 0
    reason: str = ""


# -- operations -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dial:
    """Reach an address; `Dialled` or `LinkEnded` comes of it."""

    address: TransportAddress
    tls: TLSFiles | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Secure:
    """Agree on TLS with a caller; `Secured` or `LinkEnded` comes of it."""

    link: Any
    tls: TLSFiles
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Challenge:
    """Draw random bytes; `Challenged` comes of it."""


@dataclass(frozen=True, slots=True)
class Read:
    """Take what comes next; `ReadBytes` or `LinkEnded` comes of it."""

    link: Any


@dataclass(frozen=True, slots=True)
class Write:
    """Send bytes; `Wrote` or `LinkEnded` comes of it."""

    link: Any
    data: bytes
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Hold:
    """See to it that a link ends with the engine, however that ends."""

    link: Any


@dataclass(frozen=True, slots=True)
class End:
    """End a link."""

    link: Any


# -- actions ----------------------------------------------------------------------------------

Step = Work[ConnectionState]


def start(args: Any) -> tuple[ConnectionSettings, ConnectionState]:
    """The settings, and the first state.

    Raises:
        ValueError: `args` is not `ConnectionSettings`, or a map of its fields.
    """
    settings = settings_from(ConnectionSettings, args)
    if (settings.address is None) == (settings.link is None and settings.peer is None):
        raise ValueError("expected an address to call, or the link or peer of a caller")
    return settings, ConnectionState(owner=settings.owner, link=settings.link, peer=settings.peer)


def begin(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Call, or greet whoever has called."""
    work = Work(turn)
    settings: ConnectionSettings = turn.settings
    limits = settings.limits
    address = settings.address
    if address is None:
        work.timers.append(SetTimer(DEADLINE, limits.confirm_s))
        if settings.peer is not None:
            work.watches.append(Watch(settings.peer))
            work.send(settings.peer, LinkAccepted(settings.attempt or 0))
            work.operations.append(Challenge())
        else:
            work.operations.append(Hold(settings.link))
            secure = settings.tls is not None
            work.operations.append(
                Secure(settings.link, settings.tls, limits.confirm_s) if secure else Challenge()  # type: ignore[arg-type]
            )
        return work.effects()
    if settings.owner is not None:
        work.watches.append(Watch(settings.owner))
    work.timers.append(SetTimer(DEADLINE, limits.dial_s))
    if isinstance(address, ClusterAddr):
        other = EngineID(address.node, transport_name(protocol_of(address)))
        work.watches.append(Watch(other))
        work.send(other, LinkRequest(settings.attempt or 0))
    else:
        work.operations.append(Dial(address, settings.tls, limits.dial_s))
    return work.effects()


def dialled(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Wait for the greeting of whom was called."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Dialled)
    work.state = replace(work.state, link=message.link, phase="greeting")
    read_on(work)
    return work.effects()


def accepted(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Wait for the greeting of the other end of a link in the cluster."""
    work = Work(turn)
    address = turn.settings.address
    assert isinstance(turn.sender, EngineID)
    assert isinstance(address, ClusterAddr)
    work.watches.append(Watch(turn.sender))
    work.watches.append(Unwatch(EngineID(address.node, transport_name(protocol_of(address)))))
    work.state = replace(work.state, peer=turn.sender, phase="greeting")
    return work.effects()


def secured(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Have something to greet the caller with."""
    return Effects(turn.state, operations=(Challenge(),))


def greet(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Greet the caller."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Challenged)
    challenge = message.secret.reveal()
    work.state = replace(work.state, challenge=challenge, phase="greeting")
    put(work, frames.frame_bytes(Greeting(challenge)))
    read_on(work)
    return work.effects()


def read(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Cut what came into frames, and pass them on."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, ReadBytes)
    work.state = replace(work.state, reading=False)
    take(work, message.data)
    read_on(work)
    return work.effects()


def take_frame(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Pass on what the other end of a link in the cluster sends."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, LinkFrame)
    before = work.state.unhandled
    take(work, message.data)
    if work.state.unhandled == before and work.state.peer is not None:
        work.send(work.state.peer, LinkTaken(1))
    return work.effects()


def take(work: Step, data: bytes) -> None:
    """Handle bytes of the other side."""
    state = work.state
    if state.phase in ("opening", "closing"):
        return
    limit = work.settings.limits.max_frame if state.confirmed else MAX_FIRST_FRAME
    try:
        bodies, rest = frames.cut(state.buffer + data, limit)
        work.state = replace(state, buffer=rest)
        for body in bodies:
            handle(work, frames.read_frame(body))
            if work.state.phase == "closing":
                return
    except BadFrame as error:
        end(work, f"the other side has sent {error}")


def handle(work: Step, frame: frames.Frame) -> None:
    """Pass on one frame.

    Raises:
        BadFrame: it is not its turn.
    """
    state = work.state
    settings: ConnectionSettings = work.settings
    match frame:
        case Greeting(challenge) if state.phase == "greeting" and settings.address is not None:
            work.state = replace(state, phase="open")
            assert state.owner is not None
            work.send(state.owner, Connected(settings.attempt or 0, challenge))
            # The reply to the request has a time of its own.
            work.timers.append(SetTimer(DEADLINE, settings.limits.confirm_s))
        case ConnectRequest() if state.phase == "greeting" and settings.address is None:
            work.state = replace(state, phase="asked")
            work.send(settings.registry, Inbound(work.turn.own, state.challenge, frame))
        case ConnectReply() if state.phase == "open" and settings.address is not None and not state.confirmed:
            assert state.owner is not None
            work.send(state.owner, frame)
        case NodeMsg() if state.phase == "open" and state.owner is not None:
            work.state = replace(state, unhandled=state.unhandled + 1)
            work.send(state.owner, Recv(frame))
        case _:
            raise BadFrame(f"a {type(frame).__name__}, out of turn")


def read_on(work: Step) -> None:
    """Take the next bytes, while the Router keeps up."""
    state = work.state
    if state.link is None or state.reading or state.phase in ("opening", "closing") or state.unhandled >= WINDOW:
        return
    work.state = replace(state, reading=True)
    work.operations.append(Read(state.link))


def taken(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Read on, now that the Router has handled messages."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Taken)
    work.state = replace(work.state, unhandled=max(0, work.state.unhandled - message.count))
    if work.state.peer is not None:
        work.send(work.state.peer, LinkTaken(message.count))
    read_on(work)
    return work.effects()


def assign(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Give what comes to a Router from now on."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Assign)
    work.state = replace(work.state, owner=message.owner, phase="open")
    work.watches.append(Watch(message.owner))
    return work.effects()


def confirm(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Trust the other side with large frames, and all the time there is."""
    work = Work(turn)
    work.state = replace(work.state, confirmed=True)
    work.timers.append(CancelTimer(DEADLINE))
    if turn.settings.address is None and turn.config.parent is not None:
        work.send(turn.config.parent, Confirm())
    return work.effects()


def send(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Write a message, unless it has expired."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Send)
    expiry = message.message.expiry
    if expiry is not None and expiry <= turn.time_s:
        if isinstance(message.message.msg, NodeMsg) and isinstance(turn.sender, EngineID):
            work.send(turn.sender, Written(1))
        return work.effects()
    put(work, frames.frame_bytes(message.message.msg))
    return work.effects()


def put(work: Step, frame: bytes) -> None:
    """Add a frame to those to be written."""
    state = work.state
    if state.queued + len(frame) > MAX_QUEUE:
        end(work, f"more than {MAX_QUEUE} bytes wait for the other side to read")
        return
    work.state = replace(state, queue=(*state.queue, frame), queued=state.queued + len(frame))
    write_on(work)


def write_on(work: Step) -> None:
    """Write what waits, as far as there is room; when all is written and it is closing, end."""
    state = work.state
    if state.peer is not None:
        room = WINDOW - state.writing
        now, later = state.queue[:room], state.queue[room:]
        for frame in now:
            work.send(state.peer, LinkFrame(frame))
        size = sum(map(len, now))
        work.state = replace(state, queue=later, queued=state.queued - size, writing=state.writing + len(now))
    elif state.link is not None and state.queue and not state.writing:
        count = size = 0
        for frame in state.queue:
            if count and size + len(frame) > MAX_WRITE:
                break
            count += 1
            size += len(frame)
        data = b"".join(state.queue[:count])
        work.state = replace(state, queue=state.queue[count:], queued=state.queued - size, writing=count)
        work.operations.append(Write(state.link, data, work.settings.limits.write_s))
    state = work.state
    if state.phase == "closing" and not state.queue and (state.peer is not None or not state.writing):
        end(work, state.reason)


def wrote(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Tell the Router that there is room, and write on."""
    work = Work(turn)
    count = work.state.writing
    if work.state.owner is not None:
        work.send(work.state.owner, Written(count))
    work.state = replace(work.state, writing=0)
    write_on(work)
    return work.effects()


def link_taken(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """Tell the Router that there is room, and send on."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, LinkTaken)
    count = min(message.count, work.state.writing)
    if work.state.owner is not None and count > 0:
        work.send(work.state.owner, Written(count))
    work.state = replace(work.state, writing=work.state.writing - count)
    write_on(work)
    return work.effects()


def close(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """End, once what waits is written."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Close)
    work.state = replace(work.state, phase="closing", reason=message.reason)
    work.timers.append(SetTimer(LINGER, LINGER_S))
    write_on(work)
    return work.effects()


def elapsed(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """End: the other side took too long."""
    work = Work(turn)
    state = turn.state
    if state.phase == "closing":
        end(work, state.reason)
    elif state.phase == "opening" and turn.settings.address is not None:
        end(work, "nobody has answered in time")
    else:
        end(work, "the other side has not shown in time who it is")
    return work.effects()


def link_ended(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """End with the link."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, LinkEnded)
    end(work, message.reason)
    return work.effects()


def other_ended(turn: Turn[ConnectionState], _args: None) -> Effects[ConnectionState]:
    """End with the Router, with the other end of a link in the cluster, or where there is nobody to ask for one."""
    work = Work(turn)
    at = turn.ended.address
    if at == turn.state.peer:
        end(work, "the other side has closed the connection")
    elif at == turn.state.owner:
        end(work, "its Router has ended")
    elif turn.state.phase == "opening":
        why = turn.ended.reason
        end(work, f"{at} cannot be reached: {why.name if isinstance(why, Atom) else why}")
    return work.effects()


def end(work: Step, reason: str) -> None:
    """End the connection, and tell its Router."""
    state = work.state
    if work.exit is not None:
        return
    if state.link is not None:
        work.operations.append(End(state.link))
    if state.owner is not None:
        work.send(state.owner, Disconnected(work.settings.attempt, reason))
    work.state = replace(state, phase="closing", reason=reason, queue=(), queued=0)
    work.exit = Exit(NORMAL)


# -- guards -----------------------------------------------------------------------------------


def _from_here(turn: Turn[ConnectionState]) -> bool:
    return not is_remote(turn.sender)


def _from_peer(turn: Turn[ConnectionState]) -> bool:
    return turn.sender is not None and turn.sender == turn.state.peer


def _is_answer(turn: Turn[ConnectionState]) -> bool:
    """Whether the other end of the link that was asked for answers."""
    address = turn.settings.address
    message = turn.message
    return (
        turn.state.phase == "opening"
        and isinstance(address, ClusterAddr)
        and isinstance(turn.sender, EngineID)
        and turn.sender.node == address.node
        and isinstance(message, LinkAccepted)
        and message.attempt == (turn.settings.attempt or 0)
    )


def _unless_closing(turn: Turn[ConnectionState]) -> bool:
    return turn.state.phase != "closing" and _from_here(turn)


BEHAVIOUR: Final[EngineBehaviour[ConnectionState]] = EngineBehaviour(
    "transport_connection",
    MESSAGES,
    start,
    First(
        on_started(begin),
        on(Send, send, when=_unless_closing),
        on(Taken, taken, when=_from_here),
        on_outcome(ReadBytes, read),
        on_outcome(Wrote, wrote),
        on(LinkFrame, take_frame, when=_from_peer),
        on(LinkTaken, link_taken, when=_from_peer),
        on(LinkAccepted, accepted, when=_is_answer),
        on_outcome(Dialled, dialled),
        on_outcome(Secured, secured),
        on_outcome(Challenged, greet),
        on_outcome(LinkEnded, link_ended),
        on(Assign, assign, when=lambda turn: turn.state.phase == "asked" and _from_here(turn)),
        on(Confirm, confirm, when=_from_here),
        on(Close, close, when=_unless_closing),
        on_elapsed(elapsed),
        on_ended(other_ended),
    ),
)
