"""The Intent Pool as a process, and what others call to use it.

From Erlang and Elixir, with a transaction's struct, or a DumbIntent's, as it is on the Elixir node::

    {intent_accepted, #{serial := Serial}} =
        gen_server:call({intent_pool, 'py@127.0.0.1'}, {new_intent, #{intent => Intent}}).

    {:all_intents_reply, %{intents: [{serial, intent}]}} =
      GenServer.call({:intent_pool, :"py@127.0.0.1"}, :all_intents)
"""

from __future__ import annotations

from typing import Any

from engines.engine import Client, Engine, ask, tell
from engines.intent_pool import chain
from engines.intent_pool.behaviour import BEHAVIOUR
from engines.intent_pool.intents import Intent
from engines.intent_pool.messages import (
    AllIntents,
    IntentRefused,
    NewIntent,
    RemoveIntent,
    Subscribe,
    TransactionExecuted,
)
from engines.messages import Message
from erlang_bridge import BridgeError, OwnProcess

INTENT_POOL = "intent_pool"
"""The name that a node's own pool is registered under."""


class IntentNotAccepted(BridgeError):
    """The pool does not keep an intent.

    Attributes:
        reason: why.
    """

    def __init__(self, refused: IntentRefused) -> None:
        self.reason = refused.reason
        super().__init__(f"the intent was refused: {refused.reason.value}")


def add_intent(client: Client, intent: Intent, pool: Any = INTENT_POOL, timeout_s: float | None = 30.0) -> int:
    """Have an intent kept.

    Returns:
        Its number in the pool.

    Raises:
        IntentNotAccepted: it is not kept, and why. Refused: it is no intent. ErlangExit: no answer.
    """
    reply = ask(client, pool, NewIntent(intent), timeout_s)
    if isinstance(reply, IntentRefused):
        raise IntentNotAccepted(reply)
    serial: int = reply.serial
    return serial


def remove_intent(client: Client, intent: Intent, pool: Any = INTENT_POOL, timeout_s: float | None = 30.0) -> bool:
    """Have an intent forgotten. False: it was not kept.

    Raises:
        ErlangExit: no answer.
    """
    removed: bool = ask(client, pool, RemoveIntent(intent), timeout_s).removed
    return removed


def all_intents(
    client: Client, pool: Any = INTENT_POOL, timeout_s: float | None = 5.0
) -> tuple[tuple[int, Intent], ...]:
    """All intents that are kept, oldest first, with their numbers.

    Raises:
        ErlangExit: no answer.
    """
    intents: tuple[tuple[int, Intent], ...] = ask(client, pool, AllIntents(), timeout_s).intents
    return intents


def subscribe(own: OwnProcess, pool: Any = INTENT_POOL) -> tuple[tuple[int, Intent], ...]:
    """Have the calling process sent envelopes with news, until it ends.

    Returns:
        What is kept now.
    """
    intents: tuple[tuple[int, Intent], ...] = ask(own, pool, Subscribe()).intents
    return intents


def transaction_executed(
    client: Client, nullifiers: frozenset[bytes], commitments: frozenset[bytes], pool: Any = INTENT_POOL
) -> None:
    """Tell the pool what a transaction has consumed and created. Does not wait."""
    tell(client, pool, TransactionExecuted(nullifiers, commitments))


class IntentPool(Engine):
    """Keeps intents."""

    engine = BEHAVIOUR
    apart = chain.KINDS

    def perform(self, operation: Any, own: OwnProcess) -> Message | None:
        return chain.perform(operation, own)
