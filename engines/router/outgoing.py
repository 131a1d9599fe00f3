"""What a Router sends: from its outbox to the connection, as far as there is room, encrypted and signed.

Pure: see `engines.router.behaviour`.
"""

from __future__ import annotations

from dataclasses import replace

from anoma.sessions import close_up
from engines.effects import CancelTimer
from engines.router import frames
from engines.router.books import Waiting
from engines.router.messages import (
    Acknowledged,
    Content,
    NodeMsg,
)
from engines.router.state import (
    ACKNOWLEDGE,
    WINDOW,
    RouterSettings,
    Step,
)
from engines.transport_connection import messages as connection


def say(work: Step, content: Content) -> None:
    """Send something of the Routers' own."""
    until = work.now + work.settings.limits.send_s
    waiting = Waiting(frames.content_bytes(content), until, reliable=False, internal=True)
    work.state = replace(work.state, outbox=work.state.outbox.add(waiting))
    pump(work)


def pump(work: Step) -> None:
    """Give the connection what it has room for."""
    line = work.state.line
    settings: RouterSettings = work.settings
    while line is not None and work.state.outstanding < WINDOW:
        taken, outbox = work.state.outbox.take(work.now)
        work.state = replace(work.state, outbox=outbox)
        if taken is None:
            return
        seq, waiting = taken
        ciphertext, sig = close_up(line.session, settings.key, seq, waiting.payload)
        out = connection.TransportConnectionOutMsg(waiting.until, NodeMsg(seq, ciphertext, sig))
        work.send(line.connection, connection.Send(out))
        work.state = replace(work.state, outstanding=work.state.outstanding + 1, said_at=work.now)


def acknowledge(work: Step) -> None:
    """Tell the other node which messages have come."""
    seqs = work.state.to_acknowledge
    if seqs and work.state.line is not None:
        work.state = replace(work.state, to_acknowledge=())
        work.timers.append(CancelTimer(ACKNOWLEDGE))
        say(work, Acknowledged(seqs))
