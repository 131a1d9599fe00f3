"""The Logging engine as a process, and what others call to use it.

From Erlang::

    gen_server:cast({logging, 'py@127.0.0.1'}, {append, #{value => <<"hello">>, level => notice}}),
    {read_reply, #{entries := Newest}} = gen_server:call({logging, 'py@127.0.0.1'}, {read_request, #{limit => 10}}).
"""

from __future__ import annotations

import logging
from typing import Any, Final

from engines.engine import Client, Engine, ask, tell
from engines.keeping import ledger
from engines.logging.behaviour import BEHAVIOUR, PassOn
from engines.logging.messages import Append, Entry, Level, ReadRequest
from engines.messages import Message
from erlang_bridge import OwnProcess

LOGGING = "logging"
"""The name that a node's own one is registered under."""

PYTHON_LEVELS: Final = {
    Level.DEBUG: logging.DEBUG,
    Level.INFO: logging.INFO,
    Level.NOTICE: logging.INFO,
    Level.WARNING: logging.WARNING,
    Level.ERROR: logging.ERROR,
    Level.CRITICAL: logging.CRITICAL,
    Level.ALERT: logging.CRITICAL,
    Level.EMERGENCY: logging.CRITICAL,
}


def append(client: Client, value: str, level: Level = Level.INFO, book: Any = LOGGING) -> None:
    """Add an entry to the logbook. Does not wait."""
    tell(client, book, Append(value, level))


def read(
    client: Client,
    limit: int = 100,
    level: Level = Level.DEBUG,
    before: int | None = None,
    book: Any = LOGGING,
    timeout_s: float | None = 5.0,
) -> tuple[Entry, ...]:
    """The newest entries of at least that level, and of numbers below `before`; newest first.

    Raises:
        ErlangExit: no answer, and why: `NoProcess`, `NoConnection`, `CallTimeout`.
    """
    entries: tuple[Entry, ...] = ask(client, book, ReadRequest(limit, level, before), timeout_s).entries
    return entries


class Logging(Engine):
    """Keeps the newest entries of a logbook."""

    engine = BEHAVIOUR
    apart = ledger.KINDS

    def perform(self, operation: Any, own: OwnProcess) -> Message | None:
        if not isinstance(operation, PassOn):
            return ledger.perform(operation, own)
        entry = operation.entry
        source = "somebody" if entry.source is None else entry.source
        logging.getLogger(operation.logger).log(PYTHON_LEVELS[entry.level], "%s: %s", source, entry.value)
        return None
