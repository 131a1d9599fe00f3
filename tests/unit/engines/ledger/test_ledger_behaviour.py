"""What the Ledger does, in a world without a node: the test decides when the disk answers, and what."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from engines.effects import Effects
from engines.guards import EngineBehaviour, First, Turn, on
from engines.ledger.behaviour import BEHAVIOUR, Backend, LedgerSettings, start
from engines.ledger.errors import BeamUnavailable, DiskFull, LedgerError, StoreDamaged
from engines.ledger.memory_store import MemoryStore
from engines.ledger.messages import (
    MESSAGES,
    AppendItems,
    BlockCommitted,
    BlockReply,
    BlockRequest,
    Changed,
    Degraded,
    HeightsReply,
    HeightsRequest,
    ItemReply,
    ItemRequest,
    LedgerFailed,
    Persist,
    Persisted,
    PutItems,
    Recovered,
    StatusReply,
    StatusRequest,
    Subscribe,
    Unsubscribe,
)
from engines.ledger.operations import Look, Open, Write, carry_out
from engines.ledger.records import ABSENT, CommittedTransaction, Heights, JournalEntry
from engines.messages import EngineID, Message, decode_message, encode_message
from engines.simulation import Simulation
from erlang_bridge import Atom
from erlang_bridge.etf import decode, encode
from tests.ledgers import done, entry, findings


def hear(turn: Turn[tuple[Message, ...]], _args: None) -> Effects[tuple[Message, ...]]:
    assert turn.message is not None
    return Effects((*turn.state, turn.message))


LISTENER: EngineBehaviour[tuple[Message, ...]] = EngineBehaviour(
    "listener", MESSAGES, lambda args: (None, ()), First(*(on(message, hear) for message in MESSAGES))
)
LEDGER = EngineID(None, "ledger")
FULL = DiskFull("the ledger has no room")


class World(Simulation):
    """A Ledger and its store. `broken` is what the disk does at the moment; `operations` what was asked of it."""

    def __init__(self, **settings: Any) -> None:
        self.store = MemoryStore()
        self.broken: LedgerError | None = None
        self.operations: list[Any] = []
        super().__init__({"ledger": BEHAVIOUR, "listener": LISTENER}, self.disk, ordered=True)
        self.spawn("ledger", LedgerSettings(**settings), "ledger")
        for name in ("client", "watcher", "other", "late", "hasty", "logger", "reader"):
            self.spawn("listener", None, name)

    def disk(self, _engine: str, operation: Any) -> Message:
        self.operations.append(operation)
        down = self.broken is not None and not isinstance(operation, Look)
        return carry_out(self.broken if down else self.store, operation)  # type: ignore[arg-type]

    def tell(self, message: Message, name: str = "client") -> None:
        self.send(LEDGER, message, sender=EngineID(self.node, name))

    def settle(self, *, timers: bool = False) -> None:
        """Let everything happen; the disk is slower than messages."""
        while True:
            choices = sorted(self.choices(), key=lambda event: event.kind == "operation")
            if choices:
                self.happen(choices[0])
            elif not (timers and self.fire()):
                return

    def settle_but(self, kind: type) -> None:
        """Let everything happen but operations of that kind."""
        while True:
            choices = [event for event in self.choices() if type(event.what) is not kind]
            if not choices:
                return
            self.happen(choices[0])

    def received(self, name: str) -> list[Message]:
        return list(self.engines[name].environment.state)

    @property
    def writes(self) -> list[int]:
        """How many changes each write had."""
        return [len(operation.changes) for operation in self.operations if isinstance(operation, Write)]

    @property
    def state(self) -> Any:
        return self.engines["ledger"].environment.state


def test_changes_and_queries() -> None:
    world = World()
    world.tell(Persist((entry(1),)))
    world.tell(Persist((entry(2),), (done(1, (b"k", 1)),)))
    world.tell(PutItems("t", ((b"a", 1),)))
    world.settle()
    world.tell(HeightsRequest())
    world.tell(BlockRequest(1))
    world.tell(ItemRequest("t", b"a"))
    world.settle()
    received = world.received("client")
    assert received[:3] == [Persisted(Heights(1, 0, 2)), Persisted(Heights(2, 1, 3), 1), Changed()]
    answers = {type(message): message for message in received[3:]}
    assert answers[HeightsReply] == HeightsReply(Heights(2, 1, 3))
    assert answers[ItemReply] == ItemReply(1)
    assert isinstance(answers[BlockReply], BlockReply)
    assert world.state.looking == 0


def test_what_comes_during_a_write_goes_with_the_next() -> None:
    world = World(batch=4)
    world.settle_but(Open)
    for fingerprint in range(1, 4):
        world.tell(Persist((entry(fingerprint),)))
    world.settle_but(Open)
    assert world.writes == []
    assert len(world.state.waiting) == 3
    world.settle_but(Write)
    for fingerprint in range(4, 14):
        world.tell(Persist((entry(fingerprint),)))
    world.settle()
    assert world.writes == [3, 4, 4, 2]
    assert world.received("client")[-1] == Persisted(Heights(1, 0, 14))
    assert world.state.waiting == world.state.in_flight == ()


def test_queries_do_not_wait_for_a_write() -> None:
    world = World()
    world.settle()
    world.tell(Persist((entry(1),)))
    world.settle_but(Write)
    world.tell(HeightsRequest())
    world.settle_but(Write)
    assert world.received("client") == [HeightsReply(Heights())]
    world.settle()
    assert world.received("client")[1:] == [Persisted(Heights(1, 0, 2))]


def test_a_refused_change_does_not_matter_to_others() -> None:
    world = World()
    world.settle_but(Open)
    world.tell(Persist((entry(1),)))
    world.tell(Persist((entry(3),)))
    world.tell(Persist((entry(2),)))
    world.settle()
    first, second, third = world.received("client")
    assert first == Persisted(Heights(1, 0, 2))
    assert isinstance(second, LedgerFailed)
    assert (second.kind, second.temporary) == ("WrongHeights", False)
    assert third == Persisted(Heights(1, 0, 3))


def test_news() -> None:
    world = World()
    world.tell(Subscribe(), "watcher")
    world.tell(Subscribe(), "watcher")
    world.tell(Subscribe(), "other")
    world.tell(Unsubscribe(), "other")
    world.tell(Persist((entry(1), entry(2)), (done(1),)))
    world.settle()
    hash_ = world.store.head.last_hash
    assert world.received("watcher") == [BlockCommitted(1, 1, 1, hash_)]
    assert world.received("other") == []
    world.tell(Persist((entry(3),), (done(2),)))
    world.tell(Persist((), (done(3),)))
    world.settle()
    told = world.received("watcher")[1:]
    assert [(news.first, news.last) for news in told] in ([(2, 3)], [(2, 2), (3, 3)])
    assert told[-1].round == 3


def test_a_watcher_that_has_ended_is_forgotten() -> None:
    world = World()
    world.tell(Subscribe(), "watcher")
    world.settle()
    assert world.state.subscribers == (EngineID(world.node, "watcher"),)
    world.crash("watcher")
    world.settle()
    assert world.state.subscribers == ()


def test_the_disk_fails_and_recovers() -> None:
    world = World(retry_first_s=1.0, retry_most_s=4.0)
    world.tell(Subscribe(), "watcher")
    world.settle()
    world.broken = FULL
    world.tell(Persist((entry(1),)))
    world.settle()
    assert world.received("watcher") == [Degraded("DiskFull", "the ledger has no room")]
    assert world.received("client") == []
    world.tell(Persist((entry(2),)))
    world.tell(HeightsRequest(), "reader")
    world.tell(StatusRequest(), "reader")
    world.tell(Subscribe(), "late")
    world.settle()
    assert world.received("late") == [Degraded("DiskFull", "the ledger has no room")]
    assert StatusReply(Heights(), 2, "the ledger has no room", 1) in world.received("reader")
    assert HeightsReply(Heights()) in world.received("reader")
    at = []
    for _ in range(5):
        assert world.fire()
        at.append(world.time_s)
        world.settle()
    assert at == [1.0, 3.0, 7.0, 11.0, 15.0]
    assert world.writes == [1] * 6
    world.broken = None
    world.fire()
    world.settle()
    assert world.received("client") == [Persisted(Heights(1, 0, 2)), Persisted(Heights(1, 0, 3))]
    assert world.received("watcher") == [Degraded("DiskFull", "the ledger has no room"), Recovered()]
    assert world.state.attempts == 0
    assert not world.fire()


def test_a_change_that_does_not_want_to_wait() -> None:
    world = World()
    world.settle()
    world.broken = FULL
    world.tell(PutItems("t", ((b"a", 1),), retry=False), "hasty")
    world.tell(Persist((entry(1),)))
    world.settle()
    failure = LedgerFailed("DiskFull", "the ledger has no room", temporary=True, certain=True)
    assert world.received("hasty") == [failure]
    world.tell(PutItems("t", ((b"a", 2),), retry=False), "hasty")
    world.settle()
    assert world.received("hasty") == [failure] * 2
    world.broken = None
    world.settle(timers=True)
    assert world.received("client") == [Persisted(Heights(1, 0, 2))]
    assert world.store.item("t", b"a") is ABSENT


@pytest.mark.parametrize("was_written", [True, False])
def test_a_beam_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, was_written: bool) -> None:
    world = World()
    world.settle()
    write = world.store._write

    def write_and_fail(changes: Any) -> None:
        if was_written:
            write(changes)
        raise BeamUnavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "_write", write_and_fail)
        world.tell(AppendItems("s", (b"hasty",), retry=False), "hasty")
        world.tell(AppendItems("s", (b"patient",)))
        world.settle()
    assert world.received("hasty") == [LedgerFailed("BeamUnavailable", "no answer", temporary=True, certain=False)]
    world.settle(timers=True)
    # Nothing twice, and nothing of what is still to be answered lost.
    assert world.received("client") == [Changed(2)]
    assert len(world.received("hasty")) == 1
    assert world.store.appended("s") == [(1, b"hasty"), (2, b"patient")]
    assert findings(world.store) == []


def test_damage_is_told_at_once() -> None:
    world = World()
    world.settle()
    world.broken = StoreDamaged("the ledger is damaged")
    world.tell(Persist((entry(1),)))
    world.settle()
    assert world.received("client") == [LedgerFailed("StoreDamaged", "the ledger is damaged")]


def test_it_cannot_be_opened_at_first() -> None:
    world = World()
    world.tell(Subscribe(), "watcher")
    world.broken = BeamUnavailable("no BEAM")
    world.tell(Persist((entry(1),)))
    world.settle()
    world.fire()
    world.settle()
    assert [type(operation) for operation in world.operations] == [Open, Open]
    world.broken = None
    world.settle(timers=True)
    assert world.received("client") == [Persisted(Heights(1, 0, 2))]
    assert Recovered() in world.received("watcher")


def test_it_recovers_with_nothing_to_write() -> None:
    world = World()
    world.tell(Subscribe(), "watcher")
    world.broken = FULL
    world.settle()
    world.broken = None
    world.settle(timers=True)
    assert world.received("watcher")[-1:] == [Recovered()]
    assert world.state.failure is None


def test_it_is_overloaded() -> None:
    world = World(max_waiting=2)
    world.settle()
    world.broken = FULL
    for fingerprint in range(1, 5):
        world.tell(Persist((entry(fingerprint),)))
    world.settle()
    (answer,) = world.received("client")
    assert isinstance(answer, LedgerFailed)
    assert (answer.kind, answer.temporary) == ("Overloaded", True)
    assert "2 changes wait already" in answer.text
    for _ in range(3):
        world.tell(HeightsRequest(), "reader")
    world.settle_but(Look)
    (answer,) = world.received("reader")
    assert isinstance(answer, LedgerFailed)
    world.settle()
    assert world.received("reader")[1:] == [HeightsReply(Heights())] * 2


def test_any_order_of_events(rng: random.Random) -> None:
    """A client that sends the next change when the one before is answered; the disk fails now and then."""
    for _ in range(20):
        world = World(batch=3)
        world.ordered = False
        for expected in range(1, 16):
            world.tell(Persist((entry(expected),), (done(expected, (b"k", expected)),)))
            world.tell(AppendItems("s", (expected,)), "logger")
            world.broken = FULL if rng.random() < 0.4 else None
            for _ in range(rng.randrange(12)):
                choices = world.choices()
                if choices:
                    world.happen(choices[rng.randrange(len(choices))])
            world.broken = None
            world.run(rng)
        assert world.store.heights() == Heights(16, 15, 16)
        assert [value for _, value in world.store.appended("s")] == list(range(1, 16))
        assert world.received("client") == [Persisted(Heights(n + 1, n, n + 1), n) for n in range(1, 16)]
        assert findings(world.store) == []


# -- start and messages -----------------------------------------------------------------------


def test_start() -> None:
    assert start(None)[0] == LedgerSettings()
    settings, _ = start({Atom("backend"): Atom("sqlite"), Atom("path"): b"/a/ledger", Atom("batch"): 7})
    assert settings == LedgerSettings(Backend.SQLITE, "/a/ledger", batch=7)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ({Atom("backend"): Atom("sqlite")}, "expected path"),
        ({Atom("backend"): Atom("mnesia")}, "expected beam"),
        ({Atom("backend"): Atom("floppy")}, "backend"),
        ({Atom("batch"): 0}, "batch: expected a number greater than 0, got 0"),
        ({Atom("colour"): 1}, "colour"),
        (5, "expected nil or a map"),
    ],
)
def test_a_wrong_start(args: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        start(args)


@pytest.mark.parametrize(
    "message",
    [
        Persist((JournalEntry(1, b"c", EngineID("n@h", "e")), entry(2)), (done(1, (b"k", Atom("absent"))),)),
        Persist((), (CommittedTransaction(1, b"c", False, Atom("gas"), ((b"r", ABSENT), (b"s", Atom("absent")))),)),
        ItemReply(ABSENT),
        ItemReply(Atom("absent")),
        ItemReply((Atom("value"), 1)),
        Persisted(Heights(1, 2, 3), None),
        LedgerFailed("DiskFull", "text", True, False),
    ],
)
def test_messages_as_terms(message: Message) -> None:
    assert decode_message(decode(encode(encode_message(message))), MESSAGES) == message


def test_heights() -> None:
    assert Heights(1, 2, 8).pending == 5
    assert replace(Heights(), committed=3, next_fingerprint=4).pending == 0
