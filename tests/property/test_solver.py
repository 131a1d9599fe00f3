"""S1 of the specification's properties: the solver submits only compositions that verify, uses no intent twice, and
intents that are spent vanish: in any order of events, with failures, and crashes of solver and pool at any step.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from anoma.matching.problem import Outcome
from anoma.matching.solving import solve
from anoma.resource_machine.building import REFUSING_LOGIC, ephemeral, transfer
from anoma.resource_machine.intent import DumbIntent
from anoma.resource_machine.transaction import Transaction
from engines.effects import Effects
from engines.executor.messages import ExecutorFinished
from engines.guards import EngineBehaviour, First, Turn, on
from engines.intent_pool import behaviour as pool
from engines.intent_pool.intents import (
    Choice,
    Intent,
    Order,
    choices_of,
    commitments_of,
    intent_from_term,
    intent_to_term,
    nullifiers_of,
)
from engines.intent_pool.messages import (
    IntentsLoaded,
    IntentsStored,
    LoadIntents,
    NewIntent,
    ReadBlock,
    Refusal,
    RemoveIntent,
    StoreIntents,
    TransactionExecuted,
)
from engines.ledger.messages import BlockCommitted
from engines.ledger.records import NO_HASH
from engines.mempool_worker.messages import (
    Rejection,
    Stage,
    TransactionAck,
    TransactionRejected,
    TransactionRequest,
    TransactionStatus,
    TransactionStatusRequest,
)
from engines.messages import EngineID, Message
from engines.simulation import Simulation
from engines.solver import behaviour as solver
from engines.solver.batch import Offers, Verified, composed, units_taken, verify
from engines.solver.messages import Solve, Solved, SolveFailed

ME = EngineID(None, "me")
POOL = EngineID(None, "intent_pool")
WORKER = EngineID(None, "mempool_worker")


@dataclass(frozen=True, slots=True)
class Run(Message):
    """The worker tells itself to run a transaction."""

    engine: ClassVar[str] = "mempool_worker"
    fingerprint: int


def solve_here(intents: tuple[Intent, ...], time_limit_s: float) -> tuple[Outcome, tuple[Verified, ...]]:
    """What the other process does, in this one."""
    problem = Offers(intents)
    outcome = solve(problem.offers, time_limit_s)
    found = []
    for match in outcome.matches:
        taken = problem.taken(match)
        text, culprits = verify(units_taken(intents, taken))
        found.append(Verified(taken, text, tuple(taken[number].intent for number in culprits)))
    return outcome, tuple(found)


@dataclass(slots=True)
class World:
    """A pool, a solver, and a worker and a ledger that are played here, and never crash."""

    chances: random.Random
    simulation: Simulation = field(init=False)
    rows: dict[int, Any] = field(default_factory=dict)
    spent: set[bytes] = field(default_factory=set)
    requests: dict[bytes, tuple[int, Any]] = field(default_factory=dict)
    by_fingerprint: dict[int, tuple[bytes, Any, Any]] = field(default_factory=dict)
    results: dict[int, bool] = field(default_factory=dict)
    incarnation: int = 0
    used: dict[tuple[int, bytes], int] = field(default_factory=dict)
    """Of a solver between two crashes and a nullifier: the transaction that it was submitted in and has not failed."""

    def __post_init__(self) -> None:
        worker = EngineBehaviour(
            "mempool_worker",
            (),
            lambda _: (None, None),
            First(on(TransactionRequest, self.accept), on(Run, self.execute), on(TransactionStatusRequest, self.tell)),
        )
        silent = EngineBehaviour("silent", (), lambda _: (None, None), First())
        behaviours = {"intent_pool": pool.BEHAVIOUR, "solver": solver.BEHAVIOUR, "worker": worker, "silent": silent}
        self.simulation = Simulation(behaviours, self.perform, ordered=True)
        self.simulation.keep_trace = False
        self.simulation.spawn("silent", None, "ledger")
        self.simulation.spawn("worker", None, "mempool_worker")
        self.start_pool()
        self.start_solver()

    def start_pool(self) -> None:
        self.simulation.spawn("intent_pool", pool.IntentPoolSettings(ledger="ledger"), "intent_pool")

    def start_solver(self) -> None:
        self.incarnation += 1
        incarnation = self.incarnation

        def candidate(unit: Any, id_: bytes) -> Any:
            made = solver.candidate_of(unit, id_)
            return made and replace(made, executable=(*made.executable, incarnation))

        self.simulation.spawn("solver", solver.SolverSettings(candidate=candidate), "solver")

    # -- the world that the engines see -----------------------------------------------------------

    def perform(self, _engine: str, operation: Any) -> Message | None:
        match operation:
            case LoadIntents():
                # What an earlier pool has asked the ledger for comes first there.
                now = self.simulation.engines.get("intent_pool")
                for number, event in list(self.simulation.pending.items()):
                    earlier = now is None or event.source != now.incarnation
                    if event.kind == "operation" and isinstance(event.what, StoreIntents) and earlier:
                        del self.simulation.pending[number]
                        self.perform("intent_pool", event.what)
                intents = {serial: intent_from_term(term) for serial, term in self.rows.items()}
                tags = frozenset(tag for intent in intents.values() for tag in tags_of(intent)) & self.spent
                return IntentsLoaded(tuple(intents.items()), (), tags, tags)
            case StoreIntents(_, _, added, deleted):
                refused = {serial for serial, intent in added if tags_of(intent) & self.spent}
                for serial in deleted:
                    self.rows.pop(serial, None)
                self.rows.update((serial, intent_to_term(intent)) for serial, intent in added if serial not in refused)
                return IntentsStored(tuple((serial, Refusal.NULLIFIERS_PRESENT) for serial in refused))
            case ReadBlock(_, fingerprint):
                _, transaction, _ = self.by_fingerprint[fingerprint]
                executed = TransactionExecuted(transaction.nullifiers(), transaction.commitments())
                return executed if self.results[fingerprint] else None
            case Solve(batch, intents):
                if self.chances.random() < 0.1:
                    return SolveFailed(batch, "the optimiser has crashed")
                outcome, matches = solve_here(intents, 5.0)
                return Solved(batch, matches, outcome.optimal)
        return None

    def accept(self, turn: Turn[Any], _args: None) -> Effects[Any]:
        message: Any = turn.message
        candidate = message.tx
        _, transaction, incarnation = candidate.executable
        uses = {(incarnation, nullifier) for nullifier in transaction.nullifiers()}
        if candidate.id in self.requests:
            fingerprint = self.requests[candidate.id][0]
            return Effects(None, replies=(TransactionAck(b"", 0, 0, WORKER, None, fingerprint, True),))
        # S1: it verifies, and none of its intents is in another one that has not failed.
        transaction.verify()
        assert self.used.keys().isdisjoint(uses)
        if self.chances.random() < 0.1:
            return Effects(None, replies=(TransactionRejected(Rejection.OVERLOADED, "later"),))
        fingerprint = len(self.requests) + 1
        self.requests[candidate.id] = fingerprint, transaction
        self.by_fingerprint[fingerprint] = candidate.id, transaction, turn.sender
        self.used.update(dict.fromkeys(uses, fingerprint))
        # An acknowledgement may get lost with a worker that is started again.
        replies = () if self.chances.random() < 0.1 else (TransactionAck(b"", 1, 0, WORKER, None, fingerprint),)
        return Effects(None, replies=replies, messages=(turn.send(WORKER, Run(fingerprint)),))

    def execute(self, turn: Turn[Any], _args: None) -> Effects[Any]:
        message: Any = turn.message
        _, transaction, issuer = self.by_fingerprint[message.fingerprint]
        tags = transaction.nullifiers() | transaction.commitments()
        success = not tags & self.spent and self.chances.random() > 0.15
        self.results[message.fingerprint] = success
        if success:
            self.spent |= tags
        else:
            self.used = {tag: by for tag, by in self.used.items() if by != message.fingerprint}
        finished = ExecutorFinished(success, (), (), message.fingerprint, None if success else "refused")
        committed = BlockCommitted(message.fingerprint, message.fingerprint, message.fingerprint, NO_HASH)
        return Effects(None, messages=(turn.send(issuer, finished), turn.send(POOL, committed)))

    def tell(self, _turn: Turn[Any], _args: None) -> Effects[Any]:
        message: Any = _turn.message
        if message.id not in self.requests:
            return Effects(None, replies=(TransactionStatus(Stage.UNKNOWN, 0, message.id),))
        fingerprint = self.requests[message.id][0]
        success = self.results.get(fingerprint)
        stage = Stage.ACCEPTED if success is None else Stage.FINISHED
        return Effects(None, replies=(TransactionStatus(stage, fingerprint, message.id, success),))

    # -- what happens -----------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        self.simulation.send(POOL, message, sender=ME)

    def crash(self, name: str) -> None:
        self.simulation.crash(name, lose=self.chances.random() < 0.5)
        if name == "solver":
            self.start_solver()
        else:
            self.start_pool()

    def steps(self, count: int) -> None:
        for _ in range(count):
            choices = self.simulation.choices()
            if not choices and not self.simulation.fire():
                return
            choices = self.simulation.choices()
            if choices:
                self.simulation.happen(choices[self.chances.randrange(len(choices))])

    def settle(self) -> None:
        self.simulation.run(self.chances, 50_000)

    def state(self, name: str) -> Any:
        return self.simulation.engines[name].environment.state


def tags_of(intent: Intent) -> frozenset[bytes]:
    return nullifiers_of(intent) | commitments_of(intent)


KINDS = (b"a", b"b", b"c")


def swap(give: bytes, want: bytes, nonce: int, much: int = 1) -> Transaction:
    return transfer([ephemeral(give, much, nonce)], [ephemeral(want, much, nonce)])


PAIRS = ((b"a", b"b"), (b"b", b"a"), (b"b", b"c"), (b"c", b"a"))


def some_intent(chances: random.Random) -> Intent:
    what = chances.random()
    if what < 0.2:
        return DumbIntent(chances.randint(-3, 3))
    if what < 0.75:
        return swap(*chances.choice(PAIRS), chances.randrange(9), chances.choice([1, 1, 1, 2]))
    give, want, other = chances.sample(KINDS, 3)
    first = chances.randint(10, 14)
    lots = tuple(swap(give, want, nonce) for nonce in range(first, first + chances.randint(1, 3)))
    choices = [Choice(lots, chances.randint(1, 3), chances.randint(1, len(lots)))]
    if chances.random() < 0.5:
        choices.append(Choice((swap(give, other, first),), chances.randint(1, 3)))
    return Order(tuple(choices))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**64))
def test_only_what_verifies_nothing_twice_and_the_spent_vanish(seed: int):
    chances = random.Random(seed)
    world = World(chances)
    added: list[Intent] = []
    for _ in range(chances.randint(5, 30)):
        what = chances.random()
        if what < 0.65 or not added:
            added.append(some_intent(chances))
            world.send(NewIntent(added[-1]))
        elif what < 0.75:
            world.send(RemoveIntent(chances.choice(added)))
        elif what < 0.85:
            unit = choices_of(chances.choice(added))[0].lots[0]
            world.spent |= tags_of(unit)
            world.send(TransactionExecuted(nullifiers_of(unit), commitments_of(unit)))
        elif what < 0.92:
            world.crash("solver")
        elif what < 0.97:
            world.crash("intent_pool")
        world.steps(chances.choice([0, 2, 5, 20]))
    world.settle()

    kept = world.state("intent_pool").intents
    known = world.state("solver").known
    assert set(kept) == set(known)
    assert {serial: intent_to_term(intent) for intent, serial in kept.items()} == world.rows
    assert not any(tags_of(intent) & world.spent for intent in kept)
    assert not world.state("solver").submissions
    # All that could be matched has been: what is left has no match.
    left = tuple(sorted(kept, key=kept.__getitem__))
    outcome, _ = solve_here(left, 5.0)
    assert outcome.matches == ()


def test_matches_are_those_of_the_intents():
    intents = (swap(b"a", b"b", 1), DumbIntent(2), swap(b"b", b"a", 2), DumbIntent(-2), DumbIntent(5))
    outcome, matches = solve_here(intents, 5.0)
    assert outcome.optimal
    assert sorted(composed(intents, match.taken).is_balanced() for match in matches) == [True, True]
    assert all(match.problem is None for match in matches)


def test_a_wrong_intent_is_found_out():
    good = transfer([ephemeral(b"b", nonce=2)], [ephemeral(b"a", nonce=2, logic=REFUSING_LOGIC)])
    wrong = transfer([ephemeral(b"a", nonce=1, logic=REFUSING_LOGIC)], [ephemeral(b"b", nonce=1)])
    _, (match,) = solve_here((good, wrong), 5.0)
    assert match.problem is not None
    assert match.culprits == (0, 1)
