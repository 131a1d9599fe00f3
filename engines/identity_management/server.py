"""Identity Management as a process, and what others call to use it.

From Erlang::

    {generate_identity_reply, #{external_identity := Id, commitment_engine := {Node, Committer}, err := nil}} =
        gen_server:call({identity_management, 'py@127.0.0.1'}, {generate_identity_request, #{}}).
"""

from __future__ import annotations

import os
from typing import Any

from anoma.crypto.keys import Secret
from engines.engine import Client, Engine, Refused, ask
from engines.identity_management.backends import LOCAL_MEMORY, Backend, Capabilities, IDParams
from engines.identity_management.behaviour import BEHAVIOUR, Draw
from engines.identity_management.messages import (
    ConnectIdentityReply,
    ConnectIdentityRequest,
    DeleteIdentityRequest,
    Drawn,
    GenerateIdentityReply,
    GenerateIdentityRequest,
)
from erlang_bridge import Atom, OwnProcess

IDENTITY_MANAGEMENT = "identity_management"
"""The name that a node's own is registered under."""


def generate_identity(
    client: Client,
    engine: Any = IDENTITY_MANAGEMENT,
    *,
    backend: Backend = LOCAL_MEMORY,
    params: IDParams = IDParams.ED25519,
    capabilities: Capabilities = Capabilities.COMMIT_AND_DECRYPT,
    timeout_s: float | None = 5.0,
) -> GenerateIdentityReply:
    """A new identity: its name, its public keys, and the engines that sign and decrypt for it.

    Raises:
        Refused: there is none, and why. ErlangExit: no answer.
    """
    reply: GenerateIdentityReply = ask(
        client, engine, GenerateIdentityRequest(backend, params, capabilities), timeout_s
    )
    _check(reply.err)
    return reply


def connect_identity(
    client: Client,
    external_identity: str,
    engine: Any = IDENTITY_MANAGEMENT,
    *,
    backend: Backend = LOCAL_MEMORY,
    capabilities: Capabilities = Capabilities.COMMIT_AND_DECRYPT,
    timeout_s: float | None = 5.0,
) -> ConnectIdentityReply:
    """A share of an identity that is there.

    Raises:
        Refused: it is not shared, and why. ErlangExit: no answer.
    """
    request = ConnectIdentityRequest(external_identity, backend, capabilities)
    reply: ConnectIdentityReply = ask(client, engine, request, timeout_s)
    _check(reply.err)
    return reply


def delete_identity(
    client: Client,
    external_identity: str,
    authority: bytes | None = None,
    engine: Any = IDENTITY_MANAGEMENT,
    *,
    backend: Backend = LOCAL_MEMORY,
    timeout_s: float | None = 5.0,
) -> None:
    """Give an identity, or a share of one, up.

    Args:
        authority: that the identity, or the share, came with. Calls through a node come from another address each.

    Raises:
        Refused: not done, and why. ErlangExit: no answer.
    """
    reply = ask(client, engine, DeleteIdentityRequest(external_identity, backend, authority), timeout_s)
    _check(reply.err)


def _check(err: str | None) -> None:
    if err is not None:
        raise Refused((Atom(IDENTITY_MANAGEMENT), err.encode()))


class IdentityManagement(Engine):
    """Makes identities, and hands out the engines that sign and decrypt for them."""

    engine = BEHAVIOUR

    def perform(self, operation: Any, own: OwnProcess) -> Drawn:  # asks nobody
        assert isinstance(operation, Draw)
        return Drawn(operation.number, Secret(os.urandom(operation.size)))
