"""Commitment as a process, and what others call to have something signed.

From Erlang, with the address from Identity Management::

    {reply, #{commitment := C, err := nil}} = gen_server:call({Name, Node}, {request, #{data => <<"hello">>}}).
"""

from __future__ import annotations

from typing import Any

from anoma.crypto.commitments import Commitment as CommitmentValue
from engines.commitment.behaviour import BEHAVIOUR
from engines.commitment.messages import Request
from engines.engine import Client, Engine, Refused, ask
from erlang_bridge import Atom


def commit(client: Client, engine: Any, data: bytes, timeout_s: float | None = 5.0) -> CommitmentValue:
    """The commitment to `data` of the identity that the engine at this address signs for.

    Raises:
        Refused: it cannot sign, and why. ErlangExit: no answer.
    """
    reply = ask(client, engine, Request(data), timeout_s)
    if reply.err is not None:
        raise Refused((Atom("commitment"), reply.err.encode()))
    commitment: CommitmentValue = reply.commitment
    return commitment


class Commitment(Engine):
    """Signs for one identity."""

    engine = BEHAVIOUR
