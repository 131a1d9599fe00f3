"""What a Router does: everything to and from one other node.

It numbers what engines send, keeps it until it expires or the other node has said that it came, connects by the
addresses of the other node's advert, and signs and encrypts (`anoma.sessions`). What comes is opened, checked, and
given to the engine that it is for. Messages reach that engine in order and once, also when connections are lost: what
was not acknowledged is sent again over the next one. Only when one of the two Routers is started anew can messages be
lost, those that had been given to a connection; none comes twice.

Connecting: the caller answers the greeting with a `ConnectRequest`, signed; the answer is a `ConnectReply`, signed over
it. Both have fresh keys in them, of which the session's are made. A caller takes the place of an earlier connection
only with its first message: by that it shows that it can make the session's keys. When both call at once, the request
of the node with the lower id counts.

Other nodes reach only the engines that the settings name, and those that have written to them.

Differences from the specification:

* Messages are encrypted and signed; the specification has the null cipher and no field for a signature. A message that
  does not verify ends the connection.
* A message that is lost with a connection is sent again, and recognised when it comes twice: the specification numbers
  messages, and does not say what for.
* The sender's node has to be the other node; local addresses get this node's id on the way out.
* Which engines another node may write to is a matter of the settings.
* A reply to a sender without a name (a process of a BEAM, a call) comes back: it is given a name for as long as it
  takes.
* Of two requests at the same time one gives way: `Collision`.
* Addresses are tried in the order of the advert, for want of weights; one that fails is followed by the next.
* An ephemeral connection is opened again while messages wait for it.
* A Router for this node itself gives everything back to the node.

Pure: a function of environment and message to effects.

Source: nspec v0.2.0, "Router", and earlier revisions of it; the behaviour is ours, the specification has none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from anoma.crypto import Secret
from anoma.sessions import Ratchet
from engines.effects import Effects, SetTimer
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed, on_ended, on_started
from engines.messages import Address, EngineID
from engines.network_registry.adverts import (
    is_remote,
    node_text,
)
from engines.network_registry.messages import NodeAdvert, Unused
from engines.network_registry.work import Work
from engines.router import frames
from engines.router.books import Waiting
from engines.router.connecting import (
    arrived,
    connect,
    connected,
    connection_ended,
    disconnected,
    give_up,
    hang_up,
    is_wanted,
    replied,
)
from engines.router.envelopes import NotCarried, Parts, parts_of
from engines.router.frames import FRAME_OVERHEAD, MAX_FRAME
from engines.router.incoming import arrive, recv
from engines.router.messages import (
    EPOCH_SIZE,
    MESSAGES,
    Advertised,
    Arrived,
    Carried,
    Connected,
    ConnectionPermanence,
    ConnectReply,
    Disconnected,
    Hello,
    Hint,
    OwnAdvert,
    Recv,
    Reliability,
    Send,
    SendFailed,
    SetPermanence,
    StatusReply,
    StatusRequest,
    Written,
)
from engines.router.outgoing import acknowledge, pump, say
from engines.router.state import (
    ACKNOWLEDGE,
    DIAL,
    MAX_CALLERS,
    MAX_CONTACTS,
    NOBODY,
    REPLY,
    RETRY,
    SWEEP,
    SWEEP_S,
    TICK,
    UNUSED,
    Caller,
    Line,
    Note,
    RouterLimits,
    RouterSettings,
    RouterState,
    Step,
)
from engines.wire import settings_from
from erlang_bridge.terms import Atom, Reference


def start(args: Any) -> tuple[RouterSettings, RouterState]:
    """The settings, and the first state.

    Raises:
        ValueError: `args` is not `RouterSettings`.
    """
    settings = settings_from(RouterSettings, args)
    limits = settings.limits
    if not 0 <= limits.proto_ver_min <= limits.proto_ver_max:
        raise ValueError("expected proto_ver_min to be at most proto_ver_max, and both to be natural numbers")
    if limits.max_message > MAX_FRAME - FRAME_OVERHEAD:
        raise ValueError(f"expected at most {MAX_FRAME - FRAME_OVERHEAD} bytes as max_message")
    epoch, ratchet = Ratchet(settings.seed).draw("epoch", EPOCH_SIZE)
    permanence = ConnectionPermanence.PERMANENT if settings.permanent else ConnectionPermanence.EPHEMERAL
    state = RouterState(settings.own_advert, settings.advert, settings.hints, permanence, ratchet, epoch.reveal())
    # The seed would give away the keys that were made of it.
    return replace(settings, seed=Secret(b"")), state


def begin(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Connect, if the connection is permanent."""
    work = Work(turn)
    work.timers.append(SetTimer(UNUSED, turn.settings.limits.idle_s))
    connect(work)
    return work.effects()


def send(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Number a message and keep it for the other node; connect, if need be."""
    work = Work(turn)
    limits: RouterLimits = turn.settings.limits
    message = turn.message
    assert isinstance(message, Send)
    out = message.message
    until = turn.time_s + limits.send_s if out.expiry is None else float(out.expiry)
    try:
        if until <= turn.time_s:
            raise NotCarried("it has expired")
        payload = leave(work, parts_of(out.msg), until)
        state = work.state
        if len(payload) > limits.max_message:
            raise NotCarried(f"it has {len(payload)} bytes, and at most {limits.max_message} are sent; use storage")
        if len(state.outbox) >= limits.max_waiting or state.outbox.size + len(payload) > limits.max_waiting_bytes:
            raise NotCarried(f"{len(state.outbox)} messages wait for the other node, no more are kept")
    except ValueError as error:
        reason = f"a message to node {node_text(turn.settings.peer)[:16]} is not sent: {error}"
        if turn.envelope.reference is not None:
            return Effects(turn.state, replies=(SendFailed(reason),))
        return Effects(turn.state, operations=(Note(reason, until > turn.time_s),))
    if turn.settings.peer == turn.settings.node:
        content = frames.content(payload)
        assert isinstance(content, Carried)
        arrive(work, content.envelope)
        return work.effects()
    waiting = Waiting(payload, until, out.prefs.reliability is Reliability.RELIABLE)
    work.state = replace(work.state, outbox=work.state.outbox.add(waiting), used_at=turn.time_s)
    keep_sweeping(work)
    pump(work)
    connect(work)
    return work.effects()


def leave(work: Step, parts: Parts, until: float) -> bytes:
    """The bytes of an envelope for the other node.

    Raises:
        ValueError: it cannot go there, or a part of it has no term.
    """
    turn = work.turn
    settings: RouterSettings = turn.settings
    own, peer = node_text(settings.node), node_text(settings.peer)
    if parts.target.node not in (None, peer):
        raise NotCarried(f"this is the Router of another node than {parts.target.node}")
    outer = turn.envelope
    sender = parts.sender
    reference = parts.reference
    is_call = sender is None and outer.reference is not None
    if sender is None:
        sender = outer.sender
        reference = reference or outer.reference
    name = NOBODY
    if isinstance(sender, EngineID) and sender.node in (None, own, turn.config.node) and not is_call:
        name = sender.name
        if len(work.state.contacts) < MAX_CONTACTS or name in work.state.contacts:
            known = max(until, turn.time_s + settings.limits.contact_s)
            work.state = replace(work.state, contacts=work.state.contacts.put(name, known))
    elif sender is not None:
        name = add_caller(work, sender, reference, is_call, until)
    term = replace(parts, reference=reference).term((Atom(own), Atom(name)), (Atom(peer), Atom(parts.target.name)))
    return frames.content_bytes(Carried(term))


def add_caller(work: Step, sender: Address, reference: Reference | None, is_call: bool, until: float) -> str:
    """A name for a sender that has none.

    Raises:
        NotCarried: there are too many already.
    """
    state = work.state
    if len(state.callers) >= MAX_CALLERS:
        raise NotCarried(f"{MAX_CALLERS} senders wait for replies, no more are kept")
    name = f"{REPLY}{state.next_caller}"
    caller = Caller(sender, reference, is_call, max(until, work.now + work.settings.limits.reply_s))
    work.state = replace(state, callers=state.callers.put(name, caller), next_caller=state.next_caller + 1)
    return name


def set_permanence(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Keep connected from now on, or not."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, SetPermanence)
    work.state = replace(work.state, permanence=message.permanence)
    connect(work)
    return work.effects()


def status(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Tell how the connection is."""
    state = turn.state
    if state.line is not None:
        word = "connected"
    elif state.dial is not None:
        word = "connecting"
    else:
        word = "waiting" if state.retrying else "idle"
    version = None if state.line is None else state.line.proto_ver
    reply = StatusReply(word, version, state.permanence, len(state.outbox), state.failure)
    return Effects(state, replies=(reply,))


def advert(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Use the other node's new addresses from the next attempt on; connect, if there was no way before."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, NodeAdvert)
    known = turn.state.advert
    if message.id != turn.settings.peer or (known is not None and message.version <= known.version):
        return Effects(turn.state)
    work.state = replace(work.state, advert=message)
    connect(work)
    return work.effects()


def hint(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Try these addresses, too, from the next attempt on."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Hint)
    work.state = replace(work.state, hints=message.addrs)
    connect(work)
    return work.effects()


def own_advert(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Tell the other node of this node's new advert."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, OwnAdvert)
    if message.advert.version <= turn.state.own_advert.version:
        return Effects(turn.state)
    work.state = replace(work.state, own_advert=message.advert)
    if work.state.line is not None:
        say(work, Advertised(message.advert))
    return work.effects()


def written(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Give the connection more, now that it has room."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Written)
    state = work.state
    if state.line is None or state.line.connection != turn.sender:
        return Effects(turn.state)
    work.state = replace(state, outstanding=max(0, state.outstanding - message.count))
    pump(work)
    return work.effects()


def elapsed(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Do what is due: try again, give up, acknowledge, look after the connection, forget what has expired."""
    work = Work(turn)
    for handle in turn.handles:
        if handle == DIAL and work.state.dial is not None:
            dial = work.state.dial
            there = "there is no answer" if dial.connection is None else "the other node does not answer the request"
            give_up(work, f"{there}, at {dial.address}")
        elif handle == RETRY:
            work.state = replace(work.state, retrying=False)
            connect(work)
        elif handle == ACKNOWLEDGE:
            acknowledge(work)
        elif handle == TICK and work.state.line is not None:
            look_after(work, work.state.line)
        elif handle == SWEEP:
            sweep(work)
        elif handle == UNUSED:
            tell_unused(work)
    return work.effects()


def look_after(work: Step, line: Line) -> None:
    """Close a connection that is dead, or that nobody needs; let the other node hear of this one."""
    state = work.state
    limits: RouterLimits = work.settings.limits
    idle = state.permanence is ConnectionPermanence.EPHEMERAL and not len(state.outbox)
    if work.now - state.heard_at >= 3 * limits.keepalive_s:
        hang_up(work, line, "the other node says nothing any more")
        return
    if idle and work.now - state.used_at >= limits.idle_s:
        hang_up(work, line, "nobody uses the connection")
        return
    work.timers.append(SetTimer(TICK, limits.keepalive_s))
    if work.now - state.said_at >= limits.keepalive_s:
        say(work, Hello())


def tell_unused(work: Step) -> None:
    """Tell the Network Registry when there is no use for this Router: it knows whether to keep it."""
    state = work.state
    is_used = state.line is not None or state.dial is not None or is_wanted(work)
    if not is_used and work.turn.config.parent is not None:
        work.send(work.turn.config.parent, Unused(work.settings.peer))
    work.timers.append(SetTimer(UNUSED, work.settings.limits.idle_s))


def keep_sweeping(work: Step) -> None:
    """See to it that what expires is forgotten."""
    if SWEEP not in work.turn.environment.timers:
        work.timers.append(SetTimer(SWEEP, SWEEP_S))


def sweep(work: Step) -> None:
    """Forget what has expired."""
    state = work.state
    callers, contacts = state.callers, state.contacts
    for name, caller in state.callers.items():
        if caller.until <= work.now:
            callers = callers.without(name)
    for name, until in state.contacts.items():
        if until <= work.now:
            contacts = contacts.without(name)
    work.state = replace(state, outbox=state.outbox.swept(work.now), callers=callers, contacts=contacts)
    if len(work.state.outbox) or len(callers) or len(contacts):
        work.timers.append(SetTimer(SWEEP, SWEEP_S))


# -- guards -----------------------------------------------------------------------------------


def _from_here(turn: Turn[RouterState]) -> bool:
    return not is_remote(turn.sender)


def _from_connection(turn: Turn[RouterState]) -> bool:
    return isinstance(turn.sender, EngineID) and _from_here(turn)


def _from_dialled(turn: Turn[RouterState]) -> bool:
    dial = turn.state.dial
    return dial is not None and dial.request is not None and dial.connection == turn.sender


BEHAVIOUR: Final[EngineBehaviour[RouterState]] = EngineBehaviour(
    "router",
    MESSAGES,
    start,
    First(
        on_started(begin),
        on(Send, send, when=_from_here),
        on(Recv, recv, when=_from_connection),
        on(Written, written, when=_from_connection),
        on(Connected, connected, when=_from_connection),
        on(ConnectReply, replied, when=_from_dialled),
        on(Arrived, arrived, when=_from_here),
        on(Disconnected, disconnected, when=_from_here),
        on(NodeAdvert, advert, when=_from_here),
        on(OwnAdvert, own_advert, when=_from_here),
        on(Hint, hint, when=_from_here),
        on(SetPermanence, set_permanence, when=_from_here),
        on(StatusRequest, status, when=_from_here),
        on_elapsed(elapsed),
        on_ended(connection_ended),
    ),
)
