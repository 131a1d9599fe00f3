"""Verification as a process, and what others call to have a commitment verified.

From Erlang::

    {reply, #{result := true, err := nil}} = gen_server:call({verification, 'py@127.0.0.1'},
        {request, #{data => <<"hello">>, commitment => C, external_identity => Id, use_signs_for => false}}).
"""

from __future__ import annotations

from typing import Any

from anoma.crypto.commitments import Commitment
from anoma.crypto.shares import Named
from engines.engine import Client, Engine, Refused, ask
from engines.verification.behaviour import BEHAVIOUR
from engines.verification.messages import Request
from erlang_bridge import Atom

VERIFICATION = "verification"
"""The name that a node's own is registered under."""


def verify(
    client: Client,
    data: bytes,
    commitment: Commitment,
    identity: Named,
    engine: Any = VERIFICATION,
    *,
    use_signs_for: bool = False,
    timeout_s: float | None = 5.0,
) -> bool:
    """Whether the identity has signed `data`, or with `use_signs_for` one that signs for it.

    Raises:
        Refused: it cannot be told, and why. ErlangExit: no answer.
    """
    reply = ask(client, engine, Request(data, commitment, identity, use_signs_for), timeout_s)
    if reply.err is not None:
        raise Refused((Atom(VERIFICATION), reply.err.encode()))
    result: bool = reply.result
    return result


class Verification(Engine):
    """Tells whether an identity, or one that signs for it, has signed."""

    engine = BEHAVIOUR
