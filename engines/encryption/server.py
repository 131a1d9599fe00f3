"""Encryption as a process, and what others call to have something encrypted.

From Erlang, with the `keys` that an identity came with::

    {reply, #{ciphertext := Box, err := nil}} = gen_server:call({encryption, 'py@127.0.0.1'},
        {request, #{data => <<"hello">>, external_identity => Keys, use_reads_for => false}}).
"""

from __future__ import annotations

import os
from typing import Any

from anoma.crypto.keys import Secret
from anoma.crypto.shares import Named
from engines.encryption.behaviour import BEHAVIOUR, Draw
from engines.encryption.messages import Drawn, Request
from engines.engine import Client, Engine, Refused, ask
from erlang_bridge import Atom, OwnProcess

ENCRYPTION = "encryption"
"""The name that a node's own is registered under."""


def encrypt(
    client: Client,
    data: bytes,
    identity: Named,
    engine: Any = ENCRYPTION,
    *,
    use_reads_for: bool = False,
    timeout_s: float | None = 5.0,
) -> bytes:
    """What only the identity can decrypt, or with `use_reads_for` perhaps one that reads for it.

    Raises:
        Refused: it cannot be made, and why. ErlangExit: no answer.
    """
    reply = ask(client, engine, Request(data, identity, use_reads_for), timeout_s)
    if reply.err is not None:
        raise Refused((Atom(ENCRYPTION), reply.err.encode()))
    ciphertext: bytes = reply.ciphertext
    return ciphertext


class Encryption(Engine):
    """Encrypts for an identity, or for one that reads for it."""

    engine = BEHAVIOUR

    def perform(self, operation: Any, own: OwnProcess) -> Drawn:  # asks nobody
        assert isinstance(operation, Draw)
        return Drawn(operation.number, Secret(os.urandom(operation.size)))
