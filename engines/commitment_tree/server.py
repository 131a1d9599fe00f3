"""The Commitment Tree as a process, and what others call to use it.

From Erlang::

    {root_reply, #{root := Root}} = gen_server:call({commitment_tree, 'py@127.0.0.1'}, root_request).
"""

from __future__ import annotations

from typing import Any, Final

from engines.commitment_tree.behaviour import BEHAVIOUR
from engines.commitment_tree.messages import CommitmentTreeFailed, RootReply, RootRequest, WitnessReply, WitnessRequest
from engines.commitment_tree.paths import FindPath, failed, find_path
from engines.engine import Client, Engine, Refused, ask
from engines.messages import Message
from erlang_bridge import Atom, BridgeError, OwnProcess

COMMITMENT_TREE: Final = "commitment_tree"
"""The name that a node's own Commitment Tree is registered under."""

TIMEOUT_S: Final = 30.0


def root(client: Client, tree: Any = COMMITMENT_TREE, timeout_s: float | None = TIMEOUT_S) -> RootReply:
    """The root, and how far the tree is.

    Raises:
        Refused: it is not known yet. ErlangExit: no answer, and why.
    """
    reply: RootReply = _asked(client, tree, RootRequest(), timeout_s)
    return reply


def witness(
    client: Client, commitment: bytes, tree: Any = COMMITMENT_TREE, timeout_s: float | None = TIMEOUT_S
) -> WitnessReply:
    """The path from a commitment to the root that stands beside it in the reply.

    Raises:
        Refused: it cannot be read now. ErlangExit: no answer, and why.
    """
    reply: WitnessReply = _asked(client, tree, WitnessRequest(commitment), timeout_s)
    return reply


def _asked(client: Client, tree: Any, message: Message, timeout_s: float | None) -> Any:
    reply = ask(client, tree, message, timeout_s)
    if isinstance(reply, CommitmentTreeFailed):
        raise Refused((Atom(reply.tag()), reply.text.encode()))
    return reply


class CommitmentTree(Engine):
    """Has the resource machine's commitment tree follow the blocks."""

    engine = BEHAVIOUR
    apart = (FindPath,)

    def perform(self, operation: Any, own: OwnProcess) -> Message:
        """Find a path, by asking the ledger."""
        assert isinstance(operation, FindPath)
        try:
            return find_path(operation, lambda message: ask(own, operation.ledger, message, TIMEOUT_S))
        except BridgeError as error:
            return failed(operation, str(error))
