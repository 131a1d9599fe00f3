"""The Ledger as a process, and what others call to use it.

From Erlang::

    {heights_reply, #{heights := Heights}} = gen_server:call({ledger, 'py@127.0.0.1'}, heights_request).
    {block_reply, #{block := Block}} = gen_server:call({ledger, 'py@127.0.0.1'}, {block_request, #{round => 7}}).

A process of the same node that only wants to read what is committed need not send anything: see `committed`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from gevent import sleep

from engines.engine import Client, Engine, Refused, ask
from engines.ledger.behaviour import BEHAVIOUR, Backend, LedgerSettings
from engines.ledger.errors import BeamUnavailable, LedgerError, StoreClosed, StoreLocked
from engines.ledger.memory_store import MemoryStore
from engines.ledger.messages import (
    BlockReply,
    BlockRequest,
    HeightsReply,
    HeightsRequest,
    LedgerFailed,
    Persist,
    Persisted,
    ReadReply,
    ReadRequest,
    TransactionReply,
    TransactionRequest,
)
from engines.ledger.mnesia_store import MnesiaStore
from engines.ledger.operations import Look, Open, OpenFailed, Write, carry_out, failed
from engines.ledger.records import Block, CommittedTransaction, Heights, JournalEntry
from engines.ledger.sqlite_store import SqliteStore
from engines.ledger.store import LedgerStore
from engines.ledger.tables import hide_tables, show_tables
from engines.messages import Message
from erlang_bridge import Atom, Node, OwnProcess, Stop
from erlang_bridge.terms import Pid

log = logging.getLogger("engines.ledger")

LEDGER = "ledger"
"""The name that a node's own Ledger is registered under."""

TIMEOUT_S: Final = 30.0
PATIENCE_S: Final = 2.0
"""How long a Ledger waits at its start for the one before to let go of the file."""

_PAUSE_S: Final = 0.02


# -- for others -------------------------------------------------------------------------------


def persist(
    client: Client,
    entries: Iterable[JournalEntry] = (),
    transactions: Iterable[CommittedTransaction] = (),
    ledger: Any = LEDGER,
    timeout_s: float | None = TIMEOUT_S,
) -> Persisted:
    """Accept transactions, and commit finished ones as a block. All of it lasts when this returns.

    Raises:
        Refused: nothing of it was done, and why. ErlangExit: no answer; the same again does no harm.
    """
    reply: Persisted = _asked(client, ledger, Persist(tuple(entries), tuple(transactions)), timeout_s)
    return reply


def heights(client: Client, ledger: Any = LEDGER, timeout_s: float | None = TIMEOUT_S) -> Heights:
    """How far the ledger is."""
    reply: HeightsReply = _asked(client, ledger, HeightsRequest(), timeout_s)
    return reply.heights


def read(client: Client, key: Any, fingerprint: int, ledger: Any = LEDGER, timeout_s: float | None = TIMEOUT_S) -> Any:
    """The value that a key had after a transaction, or `ABSENT`."""
    reply: ReadReply = _asked(client, ledger, ReadRequest(key, fingerprint), timeout_s)
    return reply.value


def block(client: Client, round: int = 0, ledger: Any = LEDGER, timeout_s: float | None = TIMEOUT_S) -> Block | None:  # noqa: A002  # the field's name
    """A block; the last one for 0. None: there is none."""
    reply: BlockReply = _asked(client, ledger, BlockRequest(round), timeout_s)
    return reply.block


def transaction(
    client: Client, fingerprint: int, ledger: Any = LEDGER, timeout_s: float | None = TIMEOUT_S
) -> TransactionReply:
    """What has become of a transaction."""
    reply: TransactionReply = _asked(client, ledger, TransactionRequest(fingerprint), timeout_s)
    return reply


def _asked(client: Client, ledger: Any, message: Message, timeout_s: float | None) -> Any:
    reply = ask(client, ledger, message, timeout_s)
    if isinstance(reply, LedgerFailed):
        raise Refused((Atom(reply.kind), reply.text.encode()))
    return reply


def committed(node: Node, key: Any, fingerprint: int, ledger: str = LEDGER) -> tuple[int, Any]:
    """What is committed of a key, read in the caller's process: no message is sent.

    May be called in any process of the node; it waits for the disk, and others do not.

    Returns:
        The fingerprint, up to the one given, of the transaction that has written it, and the value; 0 and `ABSENT`
        where there is none.

    Raises:
        LedgerError: it cannot be read; `StoreClosed` where no Ledger of that name runs.
    """
    store = store_of(node, ledger)
    found: tuple[int, Any] = _run(node, store, store.version, key, fingerprint)
    return found


def store_of(node: Node, ledger: str = LEDGER) -> LedgerStore:
    """The store of a Ledger on the node.

    Raises:
        StoreClosed: there is none, or it cannot be opened at the moment.
    """
    pid = node.whereis(ledger)
    process = None if pid is None else node.table.find(pid)
    server = getattr(process, "instance", None)
    store = server.store if isinstance(server, Ledger) else None
    if store is None:
        raise StoreClosed(f"no ledger is open on {node.name} under the name {ledger}")
    return store


def _run(node: Node, store: LedgerStore, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call something that blocks, where it holds up nobody."""
    return node.offload(function, *arguments) if store.in_threads else function(*arguments)


# -- the process ------------------------------------------------------------------------------


class Ledger(Engine):
    """Keeps what lasts of a node: blocks, accepted transactions, and other engines' tables.

    Attributes:
        store: where it keeps them; None while a BEAM that has it is away.
    """

    engine = BEHAVIOUR
    apart = (Open, Write, Look)

    store: LedgerStore | None = None

    def init(self, args: Any) -> Any:
        first = super().init(args)
        if isinstance(first, Stop):
            return first
        try:
            self._open()
        except BeamUnavailable as error:
            # Nodes of a cluster come up in any order.
            log.warning("%s %s waits for its BEAM: %s", self.engine.name, self.pid, error)
        except LedgerError as error:
            log.error("%s cannot start: %s", self.engine.name, error)
            return Stop((Atom(type(error).__name__), error.text.encode()))
        return first

    def terminate(self, reason: Any, state: Any) -> None:
        hide_tables(self.node, self._name)
        store, self.store = self.store, None
        if store is not None:
            _run(self.node, store, store.close)

    def perform(self, operation: Any, own: OwnProcess) -> Message:
        """Do it with the store, in a process of its own."""
        store = self.store
        if store is None and isinstance(operation, Open):
            try:
                store = self._open()
            except LedgerError as error:
                return OpenFailed(failed(error))
        if store is None:
            away = BeamUnavailable("the ledger is not open: its BEAM has not answered yet; start it, or wait for it")
            return carry_out(away, operation)
        done: Message = _run(self.node, store, carry_out, store, operation)
        return done

    @property
    def _name(self) -> str:
        name = self.process.name
        return self.engine.name if name is None else name.name

    def _open(self) -> LedgerStore:
        settings: LedgerSettings = self._settings
        waited_s = 0.0
        while True:
            try:
                store = self._opened(settings)
                break
            except StoreLocked:
                # The one before may have been killed, and is about to let go.
                if waited_s >= PATIENCE_S:
                    raise
            sleep(_PAUSE_S)
            waited_s += _PAUSE_S
        self.store = store
        self.node.spawn(_close_after, self.pid, store)
        show_tables(self.node, self._name, store)
        return store

    def _opened(self, settings: LedgerSettings) -> LedgerStore:
        owner = self.node.name.name
        if settings.backend is Backend.SQLITE:
            opening = _Opening()

            def open_file() -> SqliteStore:
                assert settings.path is not None
                store = SqliteStore(
                    settings.path,
                    owner=owner,
                    synchronous=settings.synchronous.value,
                    most_bytes=settings.most_bytes,
                )
                opening.done(store)
                return store

            try:
                opened: SqliteStore = self.node.offload(open_file)
            except BaseException:
                # Killed meanwhile: nobody else knows of what the thread opens.
                opening.abandon()
                raise
            return opened
        if settings.backend is Backend.MNESIA:
            assert settings.beam is not None
            return MnesiaStore(
                self.node.rpc, settings.beam, owner=owner, name=settings.name, directory=settings.directory
            )
        return MemoryStore()


class _Opening:
    """A store that is being opened in a thread, for somebody who may be killed meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._store: LedgerStore | None = None
        self._abandoned = False

    def done(self, store: LedgerStore) -> None:
        """It is open. Called in the thread."""
        with self._lock:
            self._store = store
            abandoned = self._abandoned
        if abandoned:
            store.close()

    def abandon(self) -> None:
        """Nobody wants it any more."""
        with self._lock:
            self._abandoned = True
            store = self._store
        if store is not None:
            store.close()


def _close_after(own: OwnProcess, ledger: Pid, store: LedgerStore) -> None:
    """Close the store of a Ledger that was killed, and could not do it itself."""
    own.set_label("closes the ledger")
    own.monitor(ledger)
    own.receive()
    _run(own.node, store, store.close)
