"""How a keeping engine's operations are carried out: by asking the engine Ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from anoma.programs.runnable import ABSENT
from engines.engine import Client, ask
from engines.keeping.messages import (
    Load,
    LoadAppended,
    Loaded,
    LoadedAppended,
    LoadFailed,
    Write,
    WriteAppended,
    WriteFailed,
    Written,
    WrittenAppended,
)
from engines.ledger.messages import (
    AppendedReply,
    AppendedRequest,
    AppendItems,
    Changed,
    ItemsReply,
    ItemsRequest,
    LedgerFailed,
    PutItems,
)
from engines.messages import EngineID, Message
from erlang_bridge import BridgeError, NoProcess

TIMEOUT_S: Final = 30.0
"""How long the ledger may take for an answer. It says itself, and long before, that a disk fails."""

PAGE: Final = 1000
"""Rows to be read in one go."""

KINDS: Final = (Load, Write, LoadAppended, WriteAppended)
"""The operations that `perform` carries out. They belong apart: the engine answers others meanwhile."""


def perform(operation: Any, client: Client) -> Message:
    """Carry an operation out.

    Args:
        operation: of one of `KINDS`.
        client: who asks.

    Returns:
        What came of it; failures are among it.
    """
    match operation:
        case Load(ledger, table):
            return _read(client, ledger, PutItems(table, retry=False), lambda: Loaded(_items(client, ledger, table)))
        case LoadAppended(ledger, table):
            nothing = AppendItems(table, retry=False)
            return _read(client, ledger, nothing, lambda: LoadedAppended(_appended(client, ledger, table)))
        case Write(ledger, table, items, deleted):
            return _write(client, ledger, PutItems(table, items, deleted, retry=False), lambda _: Written())
        case WriteAppended(ledger, table, values, trim):
            append = AppendItems(table, values, trim, retry=False)
            return _write(client, ledger, append, lambda changed: WrittenAppended(changed.last))
    raise TypeError(f"expected one of {[kind.__name__ for kind in KINDS]}, got {operation!r}")


class _Unreadable(Exception):
    """The ledger has answered, and not with what was asked for."""


def _items(client: Client, ledger: EngineID, table: str) -> tuple[tuple[Any, Any], ...]:
    found: list[tuple[Any, Any]] = []
    after: Any = ABSENT
    while True:
        reply = ask(client, ledger, ItemsRequest(table, after, PAGE), TIMEOUT_S)
        if not isinstance(reply, ItemsReply):
            raise _Unreadable(_said(reply))
        found += reply.items
        if not reply.more:
            return tuple(found)
        after = reply.items[-1][0]


def _appended(client: Client, ledger: EngineID, table: str) -> tuple[tuple[int, Any], ...]:
    found: list[tuple[int, Any]] = []
    after = 0
    while True:
        reply = ask(client, ledger, AppendedRequest(table, after, PAGE), TIMEOUT_S)
        if not isinstance(reply, AppendedReply):
            raise _Unreadable(_said(reply))
        found += reply.values
        if not reply.more:
            return tuple(found)
        after = reply.values[-1][0]


def _read(client: Client, ledger: EngineID, nothing: Message, read: Callable[[], Message]) -> Message:
    """Read, once what is on its way to the ledger is there: a change of nothing comes after all of it."""
    try:
        reply = ask(client, ledger, nothing, TIMEOUT_S)
        if isinstance(reply, LedgerFailed) and not reply.certain:
            return LoadFailed(f"{ledger} does not know yet what it has: {reply.text}")
        return read()
    except (BridgeError, _Unreadable) as error:
        return LoadFailed(f"{ledger} cannot be read: {error}")


def _write(client: Client, ledger: EngineID, change: Message, done: Callable[[Changed], Message]) -> Message:
    try:
        reply = ask(client, ledger, change, TIMEOUT_S)
    except NoProcess as error:
        return WriteFailed(f"{ledger} is not there: {error}", certain=True)
    except BridgeError as error:
        return WriteFailed(f"{ledger} does not answer, so it may or may not have been stored: {error}", certain=False)
    if isinstance(reply, Changed):
        return done(reply)
    certain = not isinstance(reply, LedgerFailed) or reply.certain
    said = "has not stored it" if certain else "may or may not have stored it"
    return WriteFailed(f"{ledger} {said}: {_said(reply)}", certain)


def _said(reply: Any) -> str:
    return reply.text if isinstance(reply, LedgerFailed) else f"it answers {reply!r}"
