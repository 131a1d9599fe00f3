"""The Intent Pool as a behaviour: what it keeps, refuses, tells, and what happens around its ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from anoma.resource_machine.building import ephemeral, transfer
from anoma.resource_machine.intent import DumbIntent
from anoma.resource_machine.transaction import Transaction
from engines.effects import Effects
from engines.guards import EngineBehaviour, First, GuardOutput, Seq, Turn
from engines.intent_pool.behaviour import BEHAVIOUR
from engines.intent_pool.chain import executed_in
from engines.intent_pool.intents import (
    Choice,
    Intent,
    Order,
    after_execution,
    after_taking,
    choices_of,
    composition,
    intent_from_term,
    intent_to_term,
)
from engines.intent_pool.messages import (
    AllIntents,
    AllIntentsReply,
    IntentAccepted,
    IntentAdded,
    IntentRefused,
    IntentRemoved,
    IntentsLoaded,
    IntentsStored,
    LoadFailed,
    LoadIntents,
    NewIntent,
    ReadBlock,
    Refusal,
    Removal,
    RemoveIntent,
    RemoveIntentReply,
    StoreFailed,
    StoreIntents,
    Subscribe,
    TransactionExecuted,
    Unsubscribe,
)
from engines.ledger.messages import BlockCommitted
from engines.ledger.messages import Subscribe as SubscribeToBlocks
from engines.ledger.records import NO_HASH, Block, CommittedTransaction
from engines.messages import EngineID, Message
from engines.simulation import Simulation
from erlang_bridge import etf

ME = EngineID(None, "me")
POOL = EngineID(None, "pool")


def swap(give: bytes, want: bytes, nonce: int = 0) -> Transaction:
    """Gives one of a kind for one of another."""
    return transfer([ephemeral(give, nonce=nonce)], [ephemeral(want, nonce=nonce)])


def executed(*transactions: Transaction) -> TransactionExecuted:
    return TransactionExecuted(
        frozenset().union(*(transaction.nullifiers() for transaction in transactions)),
        frozenset().union(*(transaction.commitments() for transaction in transactions)),
    )


class World:
    """A pool, and a ledger that the test plays."""

    def __init__(self, args: Any = None) -> None:
        self.operations: list[Any] = []
        silent = EngineBehaviour("silent", (), lambda _: (None, ()), First(hear))
        self.simulation = Simulation({"pool": BEHAVIOUR, "silent": silent}, self.perform, ordered=True)
        for name in ("ledger", "solver", "me"):
            self.simulation.spawn("silent", None, name)
        self.rows: dict[int, Intent] = {}
        self.spent: set[bytes] = set()
        self.failing: str | None = None
        self.simulation.spawn("pool", args, "pool")
        self.run()

    def perform(self, _engine: str, operation: Any) -> Message | None:
        self.operations.append(operation)
        match operation:
            case LoadIntents():
                if self.failing:
                    return LoadFailed(self.failing)
                tags = [tag for intent in self.rows.values() for tag in _tags(intent) if tag in self.spent]
                return IntentsLoaded(tuple(self.rows.items()), (), frozenset(tags), frozenset(tags))
            case StoreIntents(_, _, added, deleted):
                if self.failing:
                    return StoreFailed(self.failing)
                spent = {serial for serial, intent in added if self.spent & _tags(intent)}
                for serial in deleted:
                    self.rows.pop(serial, None)
                self.rows.update((serial, intent) for serial, intent in added if serial not in spent)
                return IntentsStored(tuple((serial, Refusal.NULLIFIERS_PRESENT) for serial in spent))
        return None

    def run(self, *, timers: bool = False) -> None:
        class Oldest:
            def randrange(self, stop: int, /) -> int:
                return 0

        self.simulation.run(Oldest(), timers=timers)

    def send(self, *messages: Message, sender: EngineID = ME) -> list[Message]:
        """What comes to the sender of it."""
        for message in messages:
            self.simulation.send(POOL, message, sender=sender)
        self.run()
        return self.take(sender)

    def take(self, name: EngineID = ME) -> list[Message]:
        """What has come to it since it was asked last."""
        actor = self.simulation.engines[name.name]
        heard = actor.environment.state
        actor.environment = replace(actor.environment, state=())
        return list(heard)

    def kept(self) -> list[Intent]:
        (reply,) = self.send(AllIntents())
        assert isinstance(reply, AllIntentsReply)
        return [intent for _, intent in reply.intents]


def hear(turn: Turn[Any]) -> GuardOutput[Any] | None:
    """Remembers what it is told, and does nothing."""
    if turn.message is None:
        return None
    return GuardOutput(Seq(lambda turn, _: Effects((*turn.state, turn.message))))


def _tags(intent: Intent) -> set[bytes]:
    return {tag for choice in choices_of(intent) for lot in choice.lots for tag in lot.nullifiers() | lot.commitments()}


@pytest.fixture(params=[None, {b"ledger": "ledger"}], ids=["memory", "ledger"])
def world(request: pytest.FixtureRequest) -> World:
    return World(with_ledger() if request.param else None)


def with_ledger() -> Any:
    settings, _ = BEHAVIOUR.start(None)
    return type(settings)(ledger="ledger")


def test_intents_are_kept_in_their_order(world: World):
    assert world.send(NewIntent(DumbIntent(2)), NewIntent(DumbIntent(1))) == [IntentAccepted(1), IntentAccepted(2)]
    assert world.send(AllIntents()) == [AllIntentsReply(((1, DumbIntent(2)), (2, DumbIntent(1))))]


def test_the_same_twice(world: World):
    world.send(NewIntent(DumbIntent(1)))
    assert world.send(NewIntent(DumbIntent(1))) == [IntentRefused(DumbIntent(1), Refusal.ALREADY_PRESENT)]


def test_what_is_spent_is_refused(world: World):
    spent = swap(b"a", b"b", 1)
    world.send(executed(spent))
    shares_a_nullifier = transfer([ephemeral(b"a", nonce=1)], [ephemeral(b"c")])
    shares_a_commitment = transfer([ephemeral(b"c")], [ephemeral(b"b", nonce=1)])
    assert world.send(NewIntent(shares_a_nullifier)) == [IntentRefused(shares_a_nullifier, Refusal.NULLIFIERS_PRESENT)]
    refused = IntentRefused(shares_a_commitment, Refusal.COMMITMENTS_PRESENT)
    assert world.send(NewIntent(shares_a_commitment)) == [refused]
    assert world.kept() == []


def test_removal(world: World):
    world.send(NewIntent(DumbIntent(1)), NewIntent(DumbIntent(2)))
    assert world.send(RemoveIntent(DumbIntent(1))) == [RemoveIntentReply(removed=True)]
    assert world.send(RemoveIntent(DumbIntent(1))) == [RemoveIntentReply(removed=False)]
    assert world.kept() == [DumbIntent(2)]


def test_executed_intents_vanish(world: World):
    one, other = swap(b"a", b"b"), swap(b"b", b"c", 1)
    world.send(NewIntent(one), NewIntent(other), NewIntent(DumbIntent(1)))
    assert world.send(executed(one)) == []
    assert world.kept() == [other, DumbIntent(1)]


def test_subscribers_hear_of_everything(world: World):
    world.send(NewIntent(DumbIntent(1)))
    solver = EngineID(None, "solver")
    assert world.send(Subscribe(), sender=solver) == [AllIntentsReply(((1, DumbIntent(1)),))]
    one = swap(b"a", b"b")
    world.simulation.send(POOL, NewIntent(one), sender=ME)
    world.simulation.send(POOL, NewIntent(one), sender=ME)
    world.simulation.send(POOL, RemoveIntent(DumbIntent(1)), sender=ME)
    world.run()
    world.simulation.send(POOL, executed(one), sender=ME)
    world.run()
    news = world.take(solver)
    assert sorted(map(repr, news)) == sorted(
        map(
            repr,
            [
                IntentAdded(2, one),
                IntentRefused(one, Refusal.ALREADY_PRESENT),
                IntentRemoved(1, DumbIntent(1), Removal.REQUESTED),
                IntentRemoved(2, one, Removal.EXECUTED),
            ],
        )
    )
    world.send(Unsubscribe(), sender=solver)
    world.send(NewIntent(DumbIntent(7)))
    assert world.take(solver) == []


def test_a_full_pool_refuses():
    settings, _ = BEHAVIOUR.start(None)
    world = World(type(settings)(capacity=1))
    assert world.send(NewIntent(DumbIntent(1)), NewIntent(DumbIntent(2))) == [
        IntentAccepted(1),
        IntentRefused(DumbIntent(2), Refusal.FULL),
    ]


def test_it_remembers_a_bounded_number_of_what_is_spent():
    settings, _ = BEHAVIOUR.start(None)
    world = World(type(settings)(remembered=2))
    transactions = [swap(b"a", b"b", nonce) for nonce in range(3)]
    for transaction in transactions:
        world.send(executed(transaction))
    first, _, last = [world.send(NewIntent(transaction))[0] for transaction in transactions]
    assert isinstance(first, IntentAccepted)
    assert isinstance(last, IntentRefused)


# -- with a ledger ----------------------------------------------------------------------------


def test_what_is_kept_lasts():
    world = World(with_ledger())
    world.send(NewIntent(DumbIntent(1)), NewIntent(swap(b"a", b"b")), NewIntent(swap(b"a", b"c", 1)))
    world.send(executed(swap(b"a", b"b")), RemoveIntent(DumbIntent(1)))
    world.run()
    assert world.rows == {3: swap(b"a", b"c", 1)}
    world.simulation.crash("pool")
    world.simulation.spawn("pool", with_ledger(), "pool")
    world.run()
    assert world.kept() == [swap(b"a", b"c", 1)]
    assert world.send(NewIntent(DumbIntent(9))) == [IntentAccepted(4)]


def test_what_was_executed_while_it_was_down_is_gone():
    world = World(with_ledger())
    world.send(NewIntent(swap(b"a", b"b")), NewIntent(DumbIntent(1)))
    world.simulation.crash("pool")
    world.spent = _tags(swap(b"a", b"b"))
    world.simulation.spawn("pool", with_ledger(), "pool")
    world.run()
    assert world.kept() == [DumbIntent(1)]
    assert list(world.rows.values()) == [DumbIntent(1)]
    refused = IntentRefused(swap(b"a", b"b"), Refusal.NULLIFIERS_PRESENT)
    assert world.send(NewIntent(swap(b"a", b"b"))) == [refused]


def test_what_comes_before_the_ledger_was_read_waits_for_it():
    world = World(with_ledger())
    world.send(NewIntent(DumbIntent(1)))
    world.simulation.crash("pool")
    world.failing = "the disk is away"
    world.simulation.spawn("pool", with_ledger(), "pool")
    world.run()
    assert world.send(NewIntent(DumbIntent(1)), NewIntent(DumbIntent(2)), AllIntents()) == []
    world.failing = None
    world.run(timers=True)
    assert world.take() == [
        IntentRefused(DumbIntent(1), Refusal.ALREADY_PRESENT),
        AllIntentsReply(((1, DumbIntent(1)),)),
        IntentAccepted(2),
    ]


def test_a_disk_that_fails_refuses_and_deletes_later():
    world = World(with_ledger())
    world.send(NewIntent(DumbIntent(1)))
    world.failing = "the disk is full"
    assert world.send(NewIntent(DumbIntent(2))) == [IntentRefused(DumbIntent(2), Refusal.NOT_STORED)]
    assert world.send(RemoveIntent(DumbIntent(1))) == []
    assert world.kept() == []
    world.failing = None
    world.run(timers=True)
    assert world.take() == [RemoveIntentReply(removed=True)]
    assert world.rows == {}
    assert world.send(NewIntent(DumbIntent(2))) == [IntentAccepted(3)]


def test_one_write_at_a_time_and_spent_on_the_way():
    world = World(with_ledger())
    held = []
    perform = world.perform
    world.simulation.perform = lambda engine, operation: held.append(operation)  # type: ignore[func-returns-value]
    first, second = swap(b"a", b"b"), swap(b"a", b"b", 1)
    world.send(NewIntent(first), NewIntent(second), NewIntent(DumbIntent(1)), executed(first))
    (write,) = held
    assert [intent for _, intent in write.added] == [first]
    world.simulation.perform = perform
    actor = world.simulation.engines["pool"]
    world.simulation.send(POOL, perform("pool", write), sender=actor.config.engine_id)  # type: ignore[arg-type]
    world.run()
    assert world.take() == [
        IntentRefused(first, Refusal.NULLIFIERS_PRESENT),
        IntentAccepted(2),
        IntentAccepted(3),
    ]
    assert list(world.rows.values()) == [second, DumbIntent(1)]


def test_it_follows_the_blocks_of_its_ledger():
    world = World(with_ledger())
    assert world.take(EngineID(None, "ledger")) == [SubscribeToBlocks()]
    world.simulation.send(POOL, BlockCommitted(4, 1, 2, NO_HASH), sender=EngineID(None, "ledger"))
    world.run()
    assert world.operations[-1] == ReadBlock(EngineID(None, "ledger"), 4)


def test_what_a_block_has_spent():
    transaction = swap(b"a", b"b")
    ((nullifier,), (commitment,)) = transaction.nullifiers(), transaction.commitments()
    writes = (((b"anoma", b"nullifiers", nullifier), 1), ((b"anoma", b"commitments", commitment), 1), (b"x", 2))
    block = Block(1, 1, 1, (CommittedTransaction(1, None, writes=writes),), NO_HASH, NO_HASH)
    assert executed_in(block) == executed(transaction)
    assert executed_in(Block(1, 1, 1, (CommittedTransaction(1, None),), NO_HASH, NO_HASH)) is None


@pytest.mark.parametrize("args", [7, {b"x": 1}, "ledger"])
def test_settings_that_are_none(args: Any):
    with pytest.raises(ValueError, match="expected|should"):
        BEHAVIOUR.start(args)


# -- orders -----------------------------------------------------------------------------------


LOTS = tuple(swap(b"a", b"b", nonce) for nonce in range(4))


def test_a_partly_executed_order_stays_with_the_rest(world: World):
    order = Order((Choice(LOTS, minimum=2), Choice((swap(b"a", b"c", 9),))))
    world.send(NewIntent(order))
    world.send(executed(LOTS[0], LOTS[1]))
    rest = Order((Choice(LOTS[2:], maximum=2),))
    assert world.kept() == [rest]
    world.send(executed(*LOTS[2:]))
    assert world.kept() == []
    world.run()
    assert world.rows == {}


def test_a_lot_that_was_spent_elsewhere_is_not_executed():
    order = Order((Choice(LOTS, minimum=4), Choice((swap(b"a", b"c", 9),))))
    other = transfer([ephemeral(b"a", nonce=0)], [ephemeral(b"z")])
    assert after_execution(order, other.nullifiers(), other.commitments()) == Order(order.choices[1:])
    partly = Order((Choice(LOTS, minimum=2),))
    assert after_execution(partly, other.nullifiers(), other.commitments()) == Order(
        (Choice(LOTS[1:], minimum=2, maximum=3),)
    )


def test_an_order_of_which_a_choice_is_taken_has_no_other():
    order = Order((Choice(LOTS[:1]), Choice(LOTS[1:2])))
    assert after_execution(order, LOTS[0].nullifiers(), LOTS[0].commitments()) is None


def test_lots_of_dumb_intents():
    choice = Choice((DumbIntent(3),), maximum=1000)
    assert choice.units(7) == (DumbIntent(21),)
    order = Order((choice,))
    assert after_taking(order, 0, 7) == Order((Choice((DumbIntent(3),), maximum=993),))
    assert after_taking(order, 0, 1000) is None
    assert after_taking(DumbIntent(3), 0, 1) is None
    assert after_taking(Order((Choice(LOTS),)), 0, 3) == Order((Choice(LOTS[3:], maximum=1),))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Choice(()),
        lambda: Choice((DumbIntent(1), swap(b"a", b"b"))),
        lambda: Choice((swap(b"a", b"b"), swap(b"a", b"c"))),
        lambda: Choice(LOTS, maximum=5),
        lambda: Choice(LOTS, minimum=5),
        lambda: Choice((DumbIntent(1),), maximum=2**40),
        lambda: Choice((DumbIntent(2**5000),)),
        lambda: Order(()),
        lambda: Order((Choice(LOTS[:1]),) * 2000),
    ],
)
def test_orders_that_make_no_sense(make: Any):
    with pytest.raises(ValueError, match="expected"):
        make()


@pytest.mark.parametrize("intent", [DumbIntent(-5), swap(b"a", b"b"), Order((Choice(LOTS, 3, 2), Choice(LOTS[:1])))])
def test_intents_as_terms(intent: Intent):
    assert intent_from_term(etf.decode(etf.encode(intent_to_term(intent)))) == intent


def test_a_composition_adds_up():
    units = tuple(DumbIntent(value) for value in range(11))
    assert composition(units) == DumbIntent(55)
    assert composition(LOTS).nullifiers() == frozenset().union(*(lot.nullifiers() for lot in LOTS))


def test_what_was_executed_while_the_ledger_was_away_is_gone():
    world = World(with_ledger())
    order = Order((Choice(LOTS),))
    world.send(NewIntent(swap(b"a", b"d", 7)), NewIntent(order), NewIntent(DumbIntent(1)))
    world.simulation.crash("ledger")
    world.run()
    world.spent = _tags(swap(b"a", b"d", 7)) | _tags(LOTS[0])
    world.simulation.spawn("silent", None, "ledger")
    world.simulation.fire()
    world.run()
    assert world.kept() == [Order((Choice(LOTS[1:], maximum=3),)), DumbIntent(1)]
    assert world.rows == {2: Order((Choice(LOTS[1:], maximum=3),)), 3: DumbIntent(1)}
    assert world.take(EngineID(None, "ledger")) == [SubscribeToBlocks()]


def test_a_subscriber_that_ends_is_forgotten():
    world = World()
    world.send(Subscribe(), sender=EngineID(None, "solver"))
    world.simulation.crash("solver")
    world.run()
    assert world.simulation.engines["pool"].environment.state.subscribers == ()
