"""How the pool's operations are carried out: by asking the engine Ledger what lasts, and what is spent."""

from __future__ import annotations

import logging
from typing import Any, Final

from anoma.programs.runnable import ABSENT
from anoma.resource_machine.execution import commitment_key, nullifier_key
from engines.engine import Client, ask
from engines.intent_pool.intents import (
    Intent,
    commitments_of,
    intent_from_term,
    intent_to_term,
    nullifiers_of,
)
from engines.intent_pool.messages import (
    IntentsLoaded,
    IntentsStored,
    LoadFailed,
    LoadIntents,
    ReadBlock,
    Refusal,
    StoreFailed,
    StoreIntents,
    TransactionExecuted,
)
from engines.keeping.ledger import TIMEOUT_S
from engines.keeping.ledger import perform as keep
from engines.keeping.messages import Load, Loaded, Write, WriteFailed, Written
from engines.ledger.messages import BlockReply, BlockRequest, LedgerFailed, ReadReply, ReadRequest
from engines.ledger.records import Block
from engines.messages import EngineID, Message
from erlang_bridge import BridgeError
from erlang_bridge.etf.conversions import Mismatch

log = logging.getLogger("engines.intent_pool")

LATEST: Final = (1 << 62) - 1
"""A fingerprint that no transaction has: what is read at it is the latest value."""

_NULLIFIERS: Final = nullifier_key(b"")[:2]
_COMMITMENTS: Final = commitment_key(b"")[:2]

NO_SERIAL: Final = 0
"""No intent has this one."""

KINDS: Final = (LoadIntents, StoreIntents, ReadBlock)
"""The operations that `perform` carries out. They belong apart: the pool answers others meanwhile."""


class Unreadable(BridgeError):
    """The ledger has answered, and not with what was asked for."""


def perform(operation: Any, client: Client) -> Message | None:
    """Carry an operation out.

    Args:
        client: who asks.

    Returns:
        What came of it; failures are among it.
    """
    match operation:
        case LoadIntents(ledger, table):
            return _load(client, ledger, table)
        case StoreIntents():
            return _store(client, operation)
        case ReadBlock(ledger, number):
            return _executed(client, ledger, number)
    raise TypeError(f"expected one of {[kind.__name__ for kind in KINDS]}, got {operation!r}")


def _load(client: Client, ledger: EngineID, table: str) -> Message:
    # Changes are made in their order: after this one, that changes nothing, none of an earlier pool is on its way.
    written = keep(Write(ledger, table, (), (NO_SERIAL,)), client)
    if isinstance(written, WriteFailed) and not written.certain:
        return LoadFailed(written.text)
    loaded = keep(Load(ledger, table), client)
    if not isinstance(loaded, Loaded):
        return LoadFailed(getattr(loaded, "text", repr(loaded)))
    intents = []
    unreadable = []
    for serial, term in loaded.items:
        try:
            intents.append((serial, intent_from_term(term)))
        except Mismatch as mismatch:
            log.error("row %r of the table %s is no intent and is dropped: it %s", serial, table, mismatch)
            unreadable.append(serial)
    nullifiers: set[bytes] = set()
    commitments: set[bytes] = set()
    try:
        for _, intent in intents:
            consumed, created = find_spent(client, ledger, intent)
            nullifiers |= consumed
            commitments |= created
    except BridgeError as error:
        return LoadFailed(f"{ledger} cannot be read: {error}")
    return IntentsLoaded(tuple(intents), tuple(unreadable), frozenset(nullifiers), frozenset(commitments))


def _store(client: Client, store: StoreIntents) -> Message:
    refused: dict[int, Refusal] = {}
    try:
        for serial, intent in store.added:
            consumed, created = find_spent(client, store.ledger, intent)
            if consumed or created:
                refused[serial] = Refusal.NULLIFIERS_PRESENT if consumed else Refusal.COMMITMENTS_PRESENT
    except BridgeError as error:
        return StoreFailed(f"{store.ledger} cannot be read: {error}")
    items = tuple((serial, intent_to_term(intent)) for serial, intent in store.added if serial not in refused)
    if items or store.deleted:
        written = keep(Write(store.ledger, store.table, items, store.deleted), client)
        if not isinstance(written, Written):
            text = getattr(written, "text", repr(written))
            log.error("intents cannot be stored: %s", text)
            return StoreFailed(text)
    return IntentsStored(tuple(refused.items()))


def find_spent(client: Client, ledger: EngineID, intent: Intent) -> tuple[set[bytes], set[bytes]]:
    """The nullifiers and commitments of an intent that are in the state already.

    Raises:
        BridgeError: the ledger cannot be read.
    """
    consumed = {tag for tag in nullifiers_of(intent) if _is_there(client, ledger, nullifier_key(tag))}
    created = {tag for tag in commitments_of(intent) if _is_there(client, ledger, commitment_key(tag))}
    return consumed, created


def _is_there(client: Client, ledger: EngineID, key: Any) -> bool:
    reply = ask(client, ledger, ReadRequest(key, LATEST), TIMEOUT_S)
    if not isinstance(reply, ReadReply):
        raise Unreadable(reply.text if isinstance(reply, LedgerFailed) else f"it answers {reply!r}")
    return reply.value is not ABSENT


def _executed(client: Client, ledger: EngineID, number: int) -> TransactionExecuted | None:
    try:
        reply = ask(client, ledger, BlockRequest(number), TIMEOUT_S)
    except BridgeError as error:
        log.error("block %d cannot be read, so that intents it has spent stay in the pool: %s", number, error)
        return None
    if not isinstance(reply, BlockReply) or reply.block is None:
        log.error("block %d cannot be read, so that intents it has spent stay in the pool: %r", number, reply)
        return None
    return executed_in(reply.block)


def executed_in(block: Block) -> TransactionExecuted | None:
    """What the transactions of a block have consumed and created; None: nothing."""
    nullifiers = set()
    commitments = set()
    for transaction in block.transactions:
        for key, _ in transaction.writes:
            if type(key) is tuple and len(key) == 3:
                if key[:2] == _NULLIFIERS:
                    nullifiers.add(key[2])
                elif key[:2] == _COMMITMENTS:
                    commitments.add(key[2])
    if not nullifiers and not commitments:
        return None
    return TransactionExecuted(frozenset(nullifiers), frozenset(commitments))
