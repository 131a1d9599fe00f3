"""What a Router does with what comes from the other node.

Pure: see `engines.router.behaviour`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from anoma.sessions import open_up
from engines.effects import Effects, SetTimer
from engines.guards import Turn
from engines.messages import EngineID, Envelope
from engines.network_registry.adverts import (
    node_text,
)
from engines.network_registry.work import Work
from engines.router import frames
from engines.router.connecting import hang_up, line_of, use
from engines.router.envelopes import NotCarried, Parts, is_open, parts_of
from engines.router.frames import BadFrame
from engines.router.messages import (
    Acknowledged,
    Advertised,
    Carried,
    Content,
    Recv,
    Replied,
)
from engines.router.outgoing import acknowledge
from engines.router.state import (
    ACKNOWLEDGE,
    MAX_UNACKNOWLEDGED,
    NOTE_S,
    Caller,
    Deliver,
    Line,
    Note,
    RouterSettings,
    RouterState,
    Step,
)
from engines.transport_connection import messages as connection
from erlang_bridge.terms import Atom


def recv(turn: Turn[RouterState], _args: None) -> Effects[RouterState]:
    """Open a message, and do what it says."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, Recv)
    assert isinstance(turn.sender, EngineID)
    line = line_of(work.state, turn.sender)
    if line is None:
        work.send(turn.sender, connection.Close("the connection is not in use any more"))
        return work.effects()
    work.send(turn.sender, connection.Taken(1))
    node_msg = message.message
    plaintext = open_up(line.session, turn.settings.peer_key, node_msg.seq, node_msg.msg, node_msg.sig)
    if plaintext is None:
        refuse(work, line, "a message that the node has not signed for this connection")
        return work.effects()
    try:
        content = frames.content(plaintext)
    except BadFrame as error:
        refuse(work, line, f"a message that cannot be read: {error}")
        return work.effects()
    if line is not work.state.line:
        use(work, line)
    work.state = replace(work.state, heard_at=work.now)
    window = work.state.window.add(node_msg.seq)
    if window is not None:
        work.state = replace(work.state, window=window)
        heed(work, content)
    if isinstance(content, Carried):
        state = work.state
        work.state = replace(state, to_acknowledge=(*state.to_acknowledge, node_msg.seq))
        if not state.to_acknowledge:
            work.timers.append(SetTimer(ACKNOWLEDGE, work.settings.limits.acknowledge_s))
        elif len(work.state.to_acknowledge) >= MAX_UNACKNOWLEDGED:
            acknowledge(work)
    return work.effects()


def refuse(work: Step, line: Line, what: str) -> None:
    """End a connection over which something came that is not in order."""
    node = node_text(work.settings.peer)[:16]
    work.operations.append(Note(f"node {node} is disconnected: over its connection came {what}"))
    hang_up(work, line, f"there came {what}")


def heed(work: Step, content: Content) -> None:
    """Do what a message says that has come for the first time."""
    state = work.state
    match content:
        case Carried(envelope):
            work.state = replace(state, used_at=work.now)
            arrive(work, envelope)
        case Acknowledged(seqs):
            work.state = replace(state, outbox=state.outbox.without(seqs))
        case Advertised(advert):
            parent = work.turn.config.parent
            if parent is not None:
                work.send(parent, advert)


def arrive(work: Step, envelope: Any) -> None:
    """Give an envelope to whom it is for, if that is in order."""
    turn = work.turn
    settings: RouterSettings = turn.settings
    own, peer = node_text(settings.node), node_text(settings.peer)
    try:
        parts = parts_of(envelope)
        sender, target = parts.sender, parts.target
        if not isinstance(sender, EngineID) or sender.node != peer:
            raise NotCarried(f"it says that it is from {sender or 'nobody'}")
        if target.node not in (None, own):
            raise NotCarried(f"it is for {target}")
        back = (Atom(peer), Atom(sender.name))
        caller = work.state.callers.get(target.name)
        if caller is not None and caller.until > work.now:
            give_back(work, target.name, caller, parts, back)
            return
        is_known = work.state.contacts.get(target.name, 0.0) > work.now
        if not is_known and own != peer and not is_open(target.name, settings.limits.exposed):
            raise NotCarried(f"no other node may write to {target.name}")
    except NotCarried as error:
        if work.now - work.state.noted_at >= NOTE_S:
            work.state = replace(work.state, noted_at=work.now)
            work.operations.append(Note(f"a message of node {peer[:16]} is dropped: {error}"))
        return
    work.operations.append(Deliver(EngineID(None, target.name), parts.term(back, (None, Atom(target.name)))))


def give_back(work: Step, name: str, caller: Caller, parts: Parts, back: Any) -> None:
    """Give a reply to a sender without a name."""
    if caller.is_call:
        work.state = replace(work.state, callers=work.state.callers.without(name))
        reply = Replied(parts.body)
        work.messages.append(Envelope(work.turn.own, caller.address, reply, reference=caller.reference))
        return
    address = caller.address
    target = address if not isinstance(address, EngineID) else (Atom(address.node or ""), Atom(address.name))
    term = replace(parts, reference=caller.reference).term(back, target)
    work.operations.append(Deliver(address, term))
