"""The ordering engines in a world without a node: clients, shards, a disk, crashes, and a supervisor that starts again."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from anoma.programs import ABSENT
from engines.effects import Effects
from engines.executor import behaviour as executor
from engines.executor.messages import ExecutorFinished
from engines.guards import EngineBehaviour, First, Turn, on, on_outcome
from engines.ledger import messages as ledger
from engines.ledger.records import Heights
from engines.mempool_worker import behaviour as worker
from engines.mempool_worker.messages import (
    TransactionAck,
    TransactionCandidate,
    TransactionRejected,
    TransactionRequest,
)
from engines.messages import EngineID, Envelope, Message
from engines.shard import behaviour as shard
from engines.simulation import NODE, Actor, Event, Simulation
from erlang_bridge import etf

WORKER = "mempool_worker"
LEDGER = "ledger"


# -- a ledger whose disk is an object -------------------------------------------------------------


@dataclass
class Disk:
    """What lasts."""

    entries: list[Any] = field(default_factory=list)
    blocks: list[tuple[Any, ...]] = field(default_factory=list)
    committed: int = 0
    versions: dict[Any, list[tuple[int, Any]]] = field(default_factory=dict)
    transactions: dict[int, tuple[int, Any]] = field(default_factory=dict)
    items: dict[tuple[str, bytes], Any] = field(default_factory=dict)

    def heights(self) -> Heights:
        return Heights(len(self.blocks) + 1, self.committed, len(self.entries) + 1)

    def do(self, message: Message) -> Message:
        match message:
            case ledger.HeightsRequest():
                return ledger.HeightsReply(self.heights())
            case ledger.PendingRequest(after, limit):
                found = self.entries[max(after, self.committed) :]
                return ledger.PendingReply(tuple(found[:limit]), len(found) > limit)
            case ledger.ReadRequest(key, fingerprint):
                versions = [pair for pair in self.versions.get(key, ()) if pair[0] <= fingerprint]
                written, value = versions[-1] if versions else (0, ABSENT)
                return ledger.ReadReply(key, fingerprint, value, written)
            case ledger.ItemRequest(table, key):
                return ledger.ItemReply(self.items.get((table, etf.encode(key)), ABSENT))
            case ledger.PutItems(table, items):
                self.items.update({(table, etf.encode(key)): value for key, value in items})
                return ledger.Changed()
            case ledger.TransactionRequest(fingerprint):
                round_, transaction = self.transactions.get(fingerprint, (None, None))
                return ledger.TransactionReply(fingerprint, round_, transaction)
            case ledger.Persist():
                return self.persist(message)
        raise AssertionError(f"the disk cannot {message}")

    def persist(self, message: ledger.Persist) -> Message:
        for entry in message.entries:
            if entry.fingerprint <= len(self.entries):
                if self.entries[entry.fingerprint - 1] != entry:
                    return ledger.LedgerFailed("WrongHeights", "another entry has that fingerprint")
            elif entry.fingerprint > len(self.entries) + 1:
                return ledger.LedgerFailed("WrongHeights", "a fingerprint is missing")
            else:
                self.entries.append(entry)
        fresh = [done for done in message.transactions if done.fingerprint > self.committed]
        if message.transactions and fresh and fresh[0].fingerprint != self.committed + 1:
            return ledger.LedgerFailed("WrongHeights", "a transaction is missing in the block")
        if fresh:
            self.blocks.append(tuple(fresh))
            for done in fresh:
                self.committed += 1
                assert done.fingerprint == self.committed <= len(self.entries)
                self.transactions[done.fingerprint] = (len(self.blocks), done)
                assert done.success or not done.writes
                for key, value in done.writes:
                    self.versions.setdefault(key, []).append((done.fingerprint, value))
        return ledger.Persisted(self.heights(), len(self.blocks) if message.transactions else None)


@dataclass(frozen=True, slots=True)
class Asked:
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Answered(Message):
    engine = LEDGER
    envelope: Envelope
    reply: Message


def _ask(turn: Turn[None], _args: None) -> Effects[None]:
    return Effects(None, operations=(Asked(turn.envelope),))


def _answer(turn: Turn[None], _args: None) -> Effects[None]:
    message = turn.message
    assert isinstance(message, Answered)
    reply = message.envelope.reply(turn.own, message.reply)
    return Effects(None, messages=() if reply is None else (reply,))


LEDGER_MODEL: EngineBehaviour[None] = EngineBehaviour(
    LEDGER,
    ledger.MESSAGES,
    lambda args: (None, None),
    First(
        on_outcome(Answered, _answer),
        *(on(kind, _ask) for kind in (*ledger.QUERIES, ledger.Persist, ledger.PutItems)),
    ),
)

BEHAVIOURS: Mapping[str, EngineBehaviour[Any]] = {
    "mempool_worker": worker.BEHAVIOUR,
    "shard": shard.BEHAVIOUR,
    "executor": executor.BEHAVIOUR,
    "ledger": LEDGER_MODEL,
}


@dataclass(frozen=True)
class Faults:
    """What goes wrong in a world.

    Attributes:
        crashes: how many engines end, each at some event.
        duplicates: the chance that a message arrives again later.
        keep_worker_apart: when the worker ends, shards go on; otherwise they begin anew with it.
    """

    crashes: int = 0
    duplicates: float = 0.0
    keep_worker_apart: bool = False


NO_FAULTS = Faults()


@dataclass
class Sent:
    """One request of a client."""

    number: int
    candidate: TransactionCandidate
    client: EngineID


class World(Simulation):
    """The engines, and the clients that send requests.

    Args:
        chooser: chooses what happens next.
        ordered: messages of one sender to one receiver keep their order.
    """

    def __init__(
        self,
        chooser: random.Random,
        shards: int,
        *,
        ordered: bool = False,
        faults: Faults = NO_FAULTS,
        programs: Any = None,
        behaviours: Mapping[str, EngineBehaviour[Any]] = BEHAVIOURS,
        disk: Disk | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(behaviours, self._perform, ordered=ordered, time_s=1.0)
        self.chooser = chooser
        self.faults = faults
        self.disk = Disk() if disk is None else disk
        self.names = [f"shard-{number}" for number in range(shards)]
        self.worker_settings = worker.MempoolWorkerSettings(
            tuple(EngineID(None, name) for name in self.names), programs=programs, **(settings or {})
        )
        self.on_end = self._start_again
        self.sent: dict[int, Sent] = {}
        self.frozen: set[str] = set()
        self.crashes_left = faults.crashes
        self.on_event: Callable[[Event], None] | None = None
        self.arrived: list[int] = []
        self.events = 0
        self._numbers_sent = 0
        self.spawn("ledger", None, LEDGER)
        self._spawn_worker()
        for name in self.names:
            self.spawn("shard", None, name)

    # -- clients --------------------------------------------------------------------------------

    def submit(self, candidate: TransactionCandidate) -> int:
        """Send a request, each from a client of its own. Gives its number."""
        self._numbers_sent += 1
        number = self._numbers_sent
        client = EngineID("clients@127.0.0.1", f"client-{number}")
        self.sent[number] = Sent(number, candidate, client)
        self.post_again(number)
        return number

    def post_again(self, number: int) -> None:
        sent = self.sent[number]
        self.send(EngineID(NODE, WORKER), TransactionRequest(sent.candidate), sender=sent.client)

    def acks(self, number: int) -> list[TransactionAck]:
        return [message for message in self.heard(number) if isinstance(message, TransactionAck)]

    def finishes(self, number: int) -> list[ExecutorFinished]:
        return [message for message in self.heard(number) if isinstance(message, ExecutorFinished)]

    def rejections(self, number: int) -> list[TransactionRejected]:
        return [message for message in self.heard(number) if isinstance(message, TransactionRejected)]

    def heard(self, number: int) -> list[Message]:
        client = self.sent[number].client
        return [envelope.message for envelope in self.outside if envelope.target == client]

    # -- what happens ---------------------------------------------------------------------------

    def settle(self, most: int = 200_000) -> None:
        """Let everything happen, with the crashes and duplicates that are to be, until nothing can any more."""
        chooser = self.chooser
        for _ in range(most):
            if self.crashes_left and chooser.random() < 0.03:
                self.crash_something()
            event = self.choose()
            if event is None:
                if not self.fire():
                    return
                continue
            self.let(event)
        raise AssertionError(f"the world is not quiet after {most} events")

    def let(self, event: Event) -> None:
        self.events += 1
        if event.kind == "message":
            message = event.what.message
            once = isinstance(message, TransactionRequest) and message.tx.id is None
            if self.faults.duplicates and not once and self.chooser.random() < self.faults.duplicates:
                self._add("message", event.engine, event.what, event.source)
            if isinstance(message, TransactionRequest):
                self.arrived.append(int(event.what.sender.name.rpartition("-")[2]))
        if self.on_event is not None:
            self.on_event(event)
        self.happen(event)

    def choose(self) -> Event | None:
        """One of what may happen next, at random."""
        if not self.ordered and not self.frozen:
            # Mostly the first try is one that can be.
            pending = self.pending
            for _ in range(4):
                if not pending:
                    return None
                keys = list(pending)
                event = pending[keys[self.chooser.randrange(len(keys))]]
                actor = self.engines.get(event.engine)
                if actor is None or actor.started or event.kind == "started":
                    return event
        choices = [event for event in self.choices() if event.engine not in self.frozen]
        return choices[self.chooser.randrange(len(choices))] if choices else None

    def crash_something(self) -> None:
        chooser = self.chooser
        executors = [name for name in self.engines if name.startswith("executor")]
        kinds = [[WORKER], [LEDGER], self.names, executors]
        names = kinds[chooser.randrange(4)]
        names = [name for name in names if name in self.engines]
        if names:
            self.crashes_left -= 1
            self.crash(names[chooser.randrange(len(names))], lose=chooser.random() < 0.5)

    def fire(self) -> bool:
        if self.frozen:
            return False
        return super().fire()

    # -- its pieces -----------------------------------------------------------------------------

    def _perform(self, engine: str, operation: Any) -> Message | None:
        assert isinstance(operation, Asked)
        return Answered(operation.envelope, self.disk.do(operation.envelope.message))

    def _spawn_worker(self) -> None:
        self.spawn("mempool_worker", self.worker_settings, WORKER)

    def _start_again(self, name: str, actor: Actor, reason: Any) -> None:
        """The supervisor: ledger, worker and shards are kept running."""
        self.time_s += 0.000_01
        if name == LEDGER:
            self.spawn("ledger", None, LEDGER)
        elif name == WORKER:
            self._spawn_worker()
            if not self.faults.keep_worker_apart:
                for other in self.names:
                    if other in self.engines:
                        self._end(other, reason, lose=True)
        elif name in self.names:
            self.spawn("shard", None, name)

    # -- what is to be seen ---------------------------------------------------------------------

    def state_of(self, name: str) -> Any:
        return self.engines[name].environment.state

    def stored(self) -> dict[Any, Any]:
        """The values that the shards have, where they know."""
        found: dict[Any, Any] = {}
        for name in self.names:
            state = self.state_of(name)
            for key in state.settled:
                found[key] = state.settled[key][1]
            for key in state.accesses:
                versions = state.accesses[key].versions
                last = versions.last()
                if last is not None:
                    found[key] = versions[last]
        return {key: value for key, value in found.items() if value is not ABSENT}
