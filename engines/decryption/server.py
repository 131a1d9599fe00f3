"""Decryption as a process, and what others call to have something decrypted.

From Erlang, with the address from Identity Management::

    {reply, #{data := Plaintext, err := nil}} = gen_server:call({Name, Node}, {request, #{data => Ciphertext}}).
"""

from __future__ import annotations

from typing import Any

from engines.decryption.behaviour import BEHAVIOUR
from engines.decryption.messages import Request
from engines.engine import Client, Engine, Refused, ask
from erlang_bridge import Atom


def decrypt(client: Client, engine: Any, ciphertext: bytes, timeout_s: float | None = 5.0) -> bytes:
    """The plaintext, by the engine that decrypts for an identity.

    Raises:
        Refused: it is not for that identity, or has been changed. ErlangExit: no answer.
    """
    reply = ask(client, engine, Request(ciphertext), timeout_s)
    if reply.err is not None:
        raise Refused((Atom("decryption"), reply.err.encode()))
    plaintext: bytes = reply.data
    return plaintext


class Decryption(Engine):
    """Decrypts for one identity."""

    engine = BEHAVIOUR
