"""The Commitment Tree over the real ordering engines and a real ledger: in any order of arrivals, over crashes, and on a node."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import gevent
import pytest

from anoma.keys import in_order
from anoma.programs import ABSENT
from anoma.resource_machine import Resource, Transaction
from anoma.resource_machine.accumulator import CommitmentTree, Frontier, verify_path
from anoma.resource_machine.building import lasting, mint, transfer
from anoma.resource_machine.execution import TREE_KEY, Label, commitment_key, label_of, position_key
from anoma.resource_machine.roots import TreeKeeper, label_of_step
from engines import built_in
from engines.commitment_tree import server as tree_server
from engines.commitment_tree.behaviour import (
    BEHAVIOUR,
    LEDGER,
    PROGRESS,
    WORKER,
    CommitmentTreeSettings,
    CommitmentTreeState,
)
from engines.commitment_tree.messages import (
    CommitmentTreeFailed,
    RootReply,
    RootRequest,
    WitnessReply,
    WitnessRequest,
)
from engines.commitment_tree.paths import FindPath, find_path
from engines.engine import Refused
from engines.ledger import messages as ledger
from engines.ledger import server as ledger_server
from engines.ledger.behaviour import BEHAVIOUR as LEDGER_BEHAVIOUR
from engines.ledger.behaviour import Backend, LedgerSettings
from engines.ledger.memory_store import MemoryStore
from engines.ledger.operations import carry_out
from engines.ledger.records import NO_HASH, Block, CommittedTransaction, Heights
from engines.mempool_worker import server as worker_server
from engines.mempool_worker.behaviour import MempoolWorkerSettings
from engines.mempool_worker.messages import (
    Rejection,
    TransactionAck,
    TransactionCandidate,
    TransactionLabel,
    TransactionRejected,
    TransactionRequest,
)
from engines.messages import EngineID, Message
from engines.simulation import NODE, Actor, Event
from erlang_bridge import ErlangExit, Node
from erlang_bridge.otp.child_specs import ChildSpec, SupervisorFlags
from erlang_bridge.otp.supervisor import Supervisor
from erlang_bridge.terms import Atom
from tests.machine_world import MACHINE, step_executable
from tests.property.ordering.world import BEHAVIOURS, Faults, World
from tests.waiting import until

TREE = "commitment_tree"
ASKER = EngineID("clients@127.0.0.1", "asker")
ENGINES = built_in()
"""Found before any test begins: a library that one of them uses has a thread from its import on."""


def labelled(label: Label) -> TransactionLabel:
    return TransactionLabel(tuple(in_order(label.eager_reads)), tuple(in_order(label.will_writes)))


def candidate(transaction: Transaction, id_: bytes | None = None) -> TransactionCandidate:
    return TransactionCandidate(labelled(label_of(transaction)), (MACHINE, transaction), id_)


def put(key: Any, value: Any) -> TransactionCandidate:
    return TransactionCandidate(TransactionLabel((), (key,)), (Atom("python"), b"put", [(key, value)]))


class MachineWorld(World):
    """The ordering engines, a ledger whose store outlasts it, and a commitment tree that a supervisor starts again."""

    def __init__(self, seed: int = 0, *, shards: int = 2, faults: Faults = Faults(), **settings: Any) -> None:  # noqa: B008
        self.store = MemoryStore()
        self.tree_settings = CommitmentTreeSettings(**settings)
        self.begins_with_tree = True
        behaviours = {**BEHAVIOURS, "ledger": LEDGER_BEHAVIOUR, TREE: BEHAVIOUR}
        super().__init__(
            random.Random(seed), shards, faults=faults, behaviours=behaviours, settings={"most_in_block": 7}
        )
        self.spawn(TREE, self.tree_settings, TREE)

    def _perform(self, engine: str, operation: Any) -> Message | None:
        if isinstance(operation, FindPath):
            return find_path(operation, self.store.answer)
        return carry_out(self.store, operation)

    def _start_again(self, name: str, actor: Actor, reason: Any) -> None:
        if name != TREE:
            super()._start_again(name, actor, reason)
            return
        self.time_s += 0.000_01
        if self.begins_with_tree:
            self.spawn(TREE, self.tree_settings, TREE)

    def let(self, event: Event) -> None:
        between = event.kind == "message" and event.source not in (ASKER, EngineID(NODE, event.engine))
        if between and self.faults.duplicates and self.chooser.random() < self.faults.duplicates:
            self._add("message", event.engine, event.what, event.source)
        self.happen(event)

    def _end(self, name: str, reason: Any, *, lose: bool = False) -> None:
        """What an engine has told itself ends with it."""
        own = EngineID(NODE, name)
        for number, event in list(self.pending.items()):
            if event.kind == "message" and event.engine == name and event.source == own:
                del self.pending[number]
        super()._end(name, reason, lose=lose)

    def crash_something(self) -> None:
        if self.chooser.random() < 0.4 and TREE in self.engines:
            self.crashes_left -= 1
            self.crash(TREE, lose=self.chooser.random() < 0.5)
        else:
            super().crash_something()

    def fire(self) -> bool:
        """The next timer; none, when only those are left that look after news that were lost, and there are none."""
        timers = {(name, handle) for name, actor in self.engines.items() for handle in actor.environment.timers}
        if TREE in self.engines and timers <= {(TREE, LEDGER), (TREE, WORKER)} and self.is_done:
            return False
        return super().fire()

    @property
    def is_done(self) -> bool:
        state = self.tree
        last_round = self.store.heights().next_round - 1
        return state.connected and state.round == last_round and not state.gathered and state.flight is None

    @property
    def tree(self) -> CommitmentTreeState:
        state: CommitmentTreeState = self.state_of(TREE)
        return state

    def do(self, *candidates: TransactionCandidate) -> list[CommittedTransaction]:
        """Submit some, let everything happen, and tell how they went."""
        numbers = [self.submit(one) for one in candidates]
        self.settle()
        found = []
        for number in numbers:
            (ack, *_) = self.acks(number)
            transaction = self.store.transaction(ack.fingerprint).transaction
            assert transaction is not None
            found.append(transaction)
        return found

    def ask(self, message: Message) -> Any:
        self.send(EngineID(NODE, TREE), message, sender=ASKER)
        self.settle()
        return self.received(ASKER.name)[-1]

    def committed(self) -> list[CommittedTransaction]:
        return [transaction for block in self.store.blocks() for transaction in block.transactions]

    def created(self) -> list[bytes]:
        """All commitments, in the order of the blocks."""
        keys = (key for transaction in self.committed() for key, _ in transaction.writes)
        return [
            key[2]
            for key in keys
            if type(key) is tuple and len(key) == 3 and key == commitment_key(key[2]) and type(key[2]) is bytes
        ]

    def steps(self) -> list[CommittedTransaction]:
        return [done for done in self.committed() if type(done.candidate[6]) is tuple and _is_step(done.candidate[6])]

    def stored_tree(self) -> Frontier:
        value = self.store.read(TREE_KEY, self.store.heights().committed)
        return Frontier() if value is ABSENT else Frontier.from_term(value)

    def check(self) -> None:
        """The tree is that of all that was created, and the engine, and its table, know it."""
        created = self.created()
        whole = CommitmentTree().add(created)
        state = self.tree
        assert self.stored_tree() == state.followed == state.tree == whole.frontier
        assert (state.gathered, state.flight) == ((), None)
        committed = self.store.heights().committed
        for place, leaf in enumerate(created):
            assert self.store.read(position_key(leaf), committed) == place
        reply = self.ask(RootRequest())
        assert (reply.root, reply.size, reply.behind, reply.waiting) == (whole.root, len(created), 0, 0)
        for leaf in created[:: max(1, len(created) // 4)]:
            found = self.ask(WitnessRequest(leaf))
            assert isinstance(found, WitnessReply)
            assert found.path is not None
            assert found.path.to_merkle_path() == whole.witness(leaf)
            assert verify_path(leaf, found.path.to_merkle_path(), reply.root)


def _is_step(executable: tuple[Any, ...]) -> bool:
    return executable[0] is MACHINE and type(executable[1]) is tuple and executable[1][0] is Atom("advance")


def coins(first: int, count: int) -> list[Resource]:
    return [lasting(b"coin", 1, number) for number in range(first, first + count)]


def random_transactions(rng: random.Random, count: int, world: MachineWorld) -> list[TransactionCandidate]:
    """Mints, transfers with and without roots, double spends, and what is no business of the machine."""
    made: list[Resource] = [*coins(0, 1)]
    found = [candidate(mint(made[0]), b"id-0")]
    for number in range(1, count):
        kind = rng.random()
        fresh = lasting(b"coin", 1, number)
        id_ = b"id-%d" % number
        if kind < 0.5:
            found.append(candidate(mint(fresh), id_))
            made.append(fresh)
        elif kind < 0.85:
            old = rng.choice(made)
            known = [done.root for done in [world.tree.followed] if done.size]
            roots = known if kind > 0.75 else []
            found.append(candidate(transfer([old], [fresh], roots), id_))
            made.append(fresh)
        else:
            found.append(
                TransactionCandidate(
                    put((b"other", number), number).label, put((b"other", number), number).executable, id_
                )
            )
    return found


# -- the tree is that of all that was created ------------------------------------------------------


def test_a_block_has_its_step_and_a_step_has_none() -> None:
    world = MachineWorld()
    (one, two) = coins(0, 2)
    assert all(done.success for done in world.do(candidate(mint(one)), candidate(mint(two))))
    world.check()
    assert [step.success for step in world.steps()] in ([True], [True, True])
    before = world.store.heights()
    world.time_s += 1000
    world.settle()
    world.do(put(b"other", 1))
    assert world.store.heights().committed == before.committed + 1


def test_roots_that_are_known_and_others() -> None:
    world = MachineWorld()
    (one, two, three, four) = coins(0, 4)
    world.settle()
    assert world.ask(RootRequest()) == RootReply(Frontier().root, 0, 0)
    world.do(candidate(mint(one)))
    first = world.ask(RootRequest()).root
    world.do(candidate(mint(two)))
    second = world.ask(RootRequest()).root
    assert first != second
    good, unknown, empty, late = world.do(
        candidate(transfer([one], [three], [first])),
        candidate(transfer([two], [four], [b"\7" * 32])),
        candidate(transfer([two], [four], [Frontier().root])),
        candidate(transfer([two], [four], [first])),
    )
    assert good.success
    assert b"root" in unknown.error
    assert b"root" in empty.error
    assert b"is under none of the roots" in late.error
    (spent,) = world.do(candidate(transfer([two], [four], [second])))
    assert spent.success
    world.check()


@pytest.mark.parametrize("seed", range(14))
def test_any_order_and_crashes_of_anything(seed: int) -> None:
    rng = random.Random(seed)
    world = MachineWorld(
        seed,
        shards=1 + seed % 3,
        faults=Faults(crashes=seed % 7, duplicates=0.05 * (seed % 2)),
        most_in_step=rng.choice([1, 3, 1000]),
    )
    for transactions in (6, 8):
        for one in random_transactions(rng, transactions, world):
            number = world.submit(one)
            for _ in range(rng.randrange(30)):
                event = world.choose()
                if event is not None:
                    world.let(event)
            world.post_again(number)
        world.settle()
        for number in world.sent:
            world.post_again(number)
        world.settle()
    world.crashes_left = 0
    world.settle()
    world.check()
    assert world.created()
    failed = [step.error for step in world.steps() if not step.success]
    assert len(failed) <= seed % 7, failed


def test_what_was_committed_while_it_was_away_becomes_leaves() -> None:
    world = MachineWorld(1, most_in_step=4)
    world.do(*(candidate(mint(coin)) for coin in coins(0, 3)))
    world.begins_with_tree = False
    world.crash(TREE)
    world.tree_settings = CommitmentTreeSettings(most_in_step=4)
    for part in range(5):
        for coin in coins(10 + 5 * part, 5):
            world.submit(candidate(mint(coin)))
        World.settle(world)
    assert world.stored_tree().size == 3
    world.begins_with_tree = True
    world.spawn(TREE, world.tree_settings, TREE)
    world.settle()
    world.check()
    assert all(len(step.candidate[6][1][1][2]) <= 4 for step in world.steps())
    assert not [step.error for step in world.steps() if not step.success]


def test_after_a_restart_it_goes_on_where_it_was() -> None:
    world = MachineWorld(2)
    for coin in coins(0, 6):
        world.do(candidate(mint(coin)))
    assert world.tree.saved_round >= 6
    world.trace.clear()
    world.crash(TREE)
    world.settle()
    read = [
        happened.event.what.message.round
        for happened in world.trace
        if happened.event.kind == "message" and isinstance(happened.event.what.message, ledger.BlockRequest)
    ]
    assert read == [world.tree.round]
    world.check()


@pytest.mark.parametrize("seed", range(3))
def test_ended_after_each_save_it_forgets_none(seed: int) -> None:
    world = MachineWorld(seed, most_in_step=2)
    made, ends = iter(coins(0, 20)), 0
    while not (world.is_done and world.stored_tree().size == 20):
        event = world.choose()
        if event is None or world.chooser.random() < 0.02:
            coin = next(made, None)
            if coin is not None:
                world.submit(candidate(mint(coin)))
            elif event is None:
                world.fire()
            continue
        saves = event.kind == "operation" and event.engine == "ledger" and PROGRESS.name in str(event.what)
        world.let(event)
        if saves and world.tree.gathered and ends < 8:
            world.crash(TREE, lose=True)
            ends += 1
    assert ends >= 3
    world.settle()
    world.check()


# -- others, and what is wrong -----------------------------------------------------------------------


def foreign(tree: Frontier, leaves: Iterable[bytes]) -> TransactionCandidate:
    _, step = TreeKeeper(tree).committed([(commitment_key(leaf), 0) for leaf in leaves])
    assert step is not None
    return TransactionCandidate(labelled(label_of_step(step)), step_executable(step))


@pytest.mark.parametrize("seed", range(4))
def test_steps_of_others_cost_nothing_but_time(seed: int) -> None:
    world = MachineWorld(seed, most_in_step=3)
    world.frozen.add(TREE)
    made = coins(0, 7)
    for coin in made:
        world.submit(candidate(mint(coin)))
    World.settle(world)
    # Neither in order, nor all: and one of the tree's own is under way already.
    leaves = [coin.commitment for coin in made]
    world.frozen.clear()
    for _ in range(10 * seed):
        event = world.choose()
        if event is not None:
            world.let(event)
    theirs = [leaves[6], leaves[1 + 4 * (seed % 2)]]
    world.submit(foreign(world.stored_tree(), theirs))
    world.submit(foreign(world.stored_tree().add(theirs), [leaves[4]]))
    world.settle()
    created, tree = world.created(), world.stored_tree()
    assert sorted(created) == sorted(leaves)
    committed = world.store.heights().committed
    places = {world.store.read(position_key(leaf), committed): leaf for leaf in leaves}
    assert sorted(places) == list(range(7))
    assert tree == world.tree.followed == Frontier().add(places[place] for place in range(7))
    for leaf in leaves:
        found = world.ask(WitnessRequest(leaf))
        assert verify_path(leaf, found.path.to_merkle_path(), tree.root)


def test_what_is_no_machine_writes_under_its_keys_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a ledger that has been written by somebody else: the worker does not let such transactions in.
    monkeypatch.setattr("engines.mempool_worker.behaviour.is_reserved", lambda key: False)
    world = MachineWorld(3)
    world.do(candidate(mint(coins(0, 1)[0])))
    world.do(
        put((b"anoma", b"commitments", 7), 1),
        put((b"anoma", b"commitments", (b"x", 1)), 1),
        put((b"anoma", b"positions", b"x"), [1]),
        put((b"anoma", b"positions", b"y"), 1),
        put((b"anoma", b"commitments"), b"z"),
        put((b"anoma", b"positions"), b"z"),
    )
    world.check()
    # Who says that something was created, without the machine, has made a leaf; twice is once.
    world.do(put(commitment_key(b"CM_x"), 1), put(commitment_key(b"CM_x"), 2))
    assert world.stored_tree().size == 2
    world.do(put(commitment_key(b"CM_x"), 3))
    assert world.stored_tree().size == 2
    assert world.tree.flight is None


def test_a_tree_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a ledger that has been written by somebody else: the worker does not let such transactions in.
    monkeypatch.setattr("engines.mempool_worker.behaviour.is_reserved", lambda key: False)
    world = MachineWorld(4, retry_most_s=1000.0, retry_first_s=1000.0)
    world.do(candidate(mint(coins(0, 1)[0])))
    size = world.stored_tree().size
    world.do(put(TREE_KEY, b"no tree"))
    world.submit(candidate(mint(coins(1, 1)[0])))
    for _ in range(100_000):
        event = world.choose()
        if event is None:
            break
        world.let(event)
    assert world.tree.failures == 1
    world.send(EngineID(NODE, TREE), RootRequest(), sender=ASKER)
    while (event := world.choose()) is not None:
        world.let(event)
    (reply,) = world.received(ASKER.name)
    assert isinstance(reply, RootReply)
    assert (reply.size, reply.waiting) == (size, 1)
    assert reply.failure is not None
    assert reply.failure.startswith("a step of the tree has failed: ")
    assert "expected the frontier of a commitment tree" in reply.failure


def test_an_id_that_somebody_has_taken_is_not_the_only_one() -> None:
    world = MachineWorld(5)
    coin = coins(0, 1)[0]
    _, step = TreeKeeper().committed([(commitment_key(coin.commitment), 0)])
    assert step is not None
    taken = b"commitment_tree:0:%s:0" % step.root.hex().encode()
    stranger = put(b"mine", 1)
    world.do(TransactionCandidate(stranger.label, stranger.executable, taken))
    world.do(candidate(mint(coin)))
    world.check()
    assert world.steps()[-1].candidate[1] == taken[:-1] + b"1"


@pytest.mark.parametrize("more", [1, 6])
def test_another_ledger_is_begun_with(more: int) -> None:
    world = MachineWorld(6)
    for coin in coins(0, 2):
        world.do(candidate(mint(coin)))
    before = world.tree.round
    world.store = MemoryStore()
    world.frozen.add(TREE)
    for name in ("ledger", "mempool_worker"):
        world.crash(name, lose=True)
    for coin in coins(1, more):
        world.do(candidate(mint(coin)))
    assert (world.store.heights().next_round > before + 1) == (more > 1)
    world.frozen.clear()
    world.settle()
    world.check()


# -- alone, with a test that plays the others -----------------------------------------------------------


class Alone(MachineWorld):
    """Only the tree: what it sends goes outside."""

    def __init__(self, *, away: bool = False, **settings: Any) -> None:
        self.away = away
        super().__init__(**settings)
        for name in list(self.engines):
            if name != TREE:
                del self.engines[name]
        self.pending = {number: event for number, event in self.pending.items() if event.engine == TREE}
        self._names = {TREE}

    def play(self) -> list[Any]:
        """Let the tree do what it can; what it has sent."""
        before = len(self.outside)
        while choices := [event for event in self.choices() if self.away or event.kind != "ended"]:
            self.happen(choices[0])
        return [envelope.message for envelope in self.outside[before:]]

    def answer_to(self, asked: Message, message: Message) -> list[Any]:
        return self.answer(message, asked=asked)

    def answer(self, message: Message, name: str = "ledger", asked: Message | None = None) -> list[Any]:
        envelope = next(
            one
            for one in reversed(self.outside)
            if one.reference is not None and one.target.name == name and asked in (None, one.message)  # type: ignore[union-attr]
        )
        self.send(EngineID(NODE, TREE), message, sender=EngineID(NODE, name), reference=envelope.reference)
        return self.play()


def test_a_ledger_that_is_away_is_asked_less_and_less() -> None:
    world = Alone(away=True, retry_first_s=1.0, retry_most_s=5.0)
    due = []
    assert world.play() == [ledger.Subscribe(), ledger.HeightsRequest()]
    for _ in range(5):
        due.append(round(world.engines[TREE].environment.timers[LEDGER] - world.time_s, 3))
        world.fire()
        world.play()
    assert due == [1.0, 2.0, 4.0, 5.0, 5.0]
    world.send(EngineID(NODE, TREE), RootRequest(), sender=ASKER)
    world.send(EngineID(NODE, TREE), WitnessRequest(b"CM_1"), sender=ASKER)
    replies = [message for message in world.play() if isinstance(message, CommitmentTreeFailed)]
    assert len(replies) == 2
    assert all("the ledger ledger is not there: noproc; ask again later" in reply.text for reply in replies), replies


def test_failures_of_the_ledger_are_told_and_tried_again() -> None:
    world = Alone()
    world.play()
    world.answer(ledger.LedgerFailed("StoreClosed", "it is closed", temporary=True))
    assert world.tree.ledger_failure == "the ledger has not done what it should: it is closed"
    world.fire()
    assert ledger.HeightsRequest() in world.play()


def test_a_step_is_submitted_until_it_is_accepted_and_has_run() -> None:
    world = Alone(retry_first_s=1.0, retry_most_s=4.0, patience_s=50.0, most_in_step=1)
    world.play()
    leaf = coins(0, 1)[0].commitment
    done = CommittedTransaction(1, None, writes=((commitment_key(leaf), 1),))
    world.answer(ledger.HeightsReply(Heights(2, 1, 2)))
    assert world.answer(ledger.ItemReply(ABSENT)) == [ledger.BlockRequest(1)]
    (request,) = world.answer(ledger.BlockReply(Block(1, 1, 1, (done,), NO_HASH, bytes(32))))
    assert request.tx.label.read == tuple(in_order(request.tx.label.read))
    assert request.tx.label.write == tuple(in_order(request.tx.label.write))
    ids, waited = [request.tx.id], []

    def again() -> None:
        waited.append(round(world.engines[TREE].environment.timers[WORKER] - world.time_s, 3))
        while not (sent := [one for one in world.play() if isinstance(one, TransactionRequest)]):
            world.fire()
        ids.append(sent[0].tx.id)

    again()
    ack = TransactionAck(bytes(32), 1, 1, EngineID(NODE, "mempool_worker"), None, 2)
    for rejection in (Rejection.OVERLOADED, Rejection.BAD_REQUEST, Rejection.ID_TAKEN):
        world.answer(TransactionRejected(rejection, "no room"), "mempool_worker")
        assert world.tree.step_failure == "the worker rejects a step of the tree: no room"
        again()
    (gone, *_) = [
        event for event in world.pending.values() if event.kind == "ended" and event.what.address.name != "ledger"
    ]
    world.happen(gone)
    assert world.tree.step_failure == "the worker mempool_worker is not there: noproc"
    again()
    for fingerprint in (2, 3):
        assert world.answer(replace(ack, fingerprint=fingerprint), "mempool_worker") == []
        news = ledger.BlockCommitted(fingerprint, fingerprint, fingerprint, bytes(32))
        world.send(EngineID(NODE, TREE), news, sender=EngineID(NODE, "ledger"))
        assert ledger.TransactionRequest(fingerprint) in world.play()
        reply = ledger.TransactionReply(
            fingerprint, fingerprint, CommittedTransaction(fingerprint, None, False, b"killed")
        )
        world.answer_to(ledger.TransactionRequest(fingerprint), reply)
        assert world.tree.step_failure == "a step of the tree has failed: killed"
        again()
    assert waited == [50.0, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0]
    assert [id_.rpartition(b":")[2] for id_ in ids] == [b"0", b"0", b"0", b"0", b"1", b"1", b"2", b"3"]
    assert len({id_.rpartition(b":")[0] for id_ in ids}) == 1
    # Another's step was first: the next is made of the tree that this one has found.
    world.answer(replace(ack, fingerprint=4), "mempool_worker")
    world.send(EngineID(NODE, TREE), ledger.BlockCommitted(4, 4, 4, bytes(32)), sender=EngineID(NODE, "ledger"))
    world.play()
    moved = Frontier().add([b"CM_a"])
    late = CommittedTransaction(4, None, False, b"late", reads=((TREE_KEY, moved.to_term()),))
    (request,) = world.answer_to(ledger.TransactionRequest(4), ledger.TransactionReply(4, 4, late))
    assert request.tx.executable[1][1] == (1, moved.add([leaf]).root, [leaf])


def test_what_nobody_has_asked_for_changes_nothing() -> None:
    world = Alone()
    world.play()
    before = world.tree
    for message in (
        ledger.HeightsReply(Heights(9, 9, 9)),
        ledger.BlockReply(None),
        ledger.BlockCommitted(3, 1, 3, bytes(32)),
        ledger.LedgerFailed("X", "x"),
    ):
        for sender in (ASKER, EngineID(NODE, "ledger"), EngineID(NODE, "mempool_worker"), None):
            world.send(EngineID(NODE, TREE), message, sender=sender)
            world.play()
    assert world.tree == before


def test_too_many_requests_for_paths_are_refused() -> None:
    world = MachineWorld(7, most_looking=2)
    world.do(candidate(mint(coins(0, 1)[0])))
    for _ in range(5):
        world.send(EngineID(NODE, TREE), WitnessRequest(b"CM_none"), sender=ASKER)
    while any(event.kind == "message" and event.what.sender == ASKER for event in world.pending.values()):
        world.happen(next(event for event in world.choices() if event.kind == "message" and event.what.sender == ASKER))
    world.settle()
    replies = world.received(ASKER.name)
    assert sorted(type(reply).__name__ for reply in replies) == ["CommitmentTreeFailed"] * 3 + ["WitnessReply"] * 2
    (found, _) = [reply for reply in replies if isinstance(reply, WitnessReply)]
    assert (found.path, found.size) == (None, 1)
    assert world.tree.looking == 0


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (7, "expected nil or a map"),
        ({Atom("most_in_step"): 0}, "most_in_step: expected at least 1, got 0"),
        ({Atom("patience_s"): -1.0}, "patience_s: expected a number greater than 0"),
        ({Atom("ledger"): 7}, "ledger"),
    ],
)
def test_settings_that_are_none(args: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        BEHAVIOUR.start(args)


# -- on a node -----------------------------------------------------------------------------------------


@contextmanager
def machine_node(path: FilePath) -> Iterator[Node]:
    often = {"intensity": 1000, "period_s": 1}
    settings = CommitmentTreeSettings(retry_first_s=0.01, retry_most_s=0.05)
    ordering = (
        SupervisorFlags("rest_for_one", **often),
        [
            ChildSpec("ledger", (ENGINES["ledger"], LedgerSettings(Backend.SQLITE, str(path)), {"name": "ledger"})),
            ChildSpec(
                "mempool_worker", (ENGINES["mempool_worker"], MempoolWorkerSettings(), {"name": "mempool_worker"})
            ),
            ChildSpec("shard-0", (ENGINES["shard"], None, {"name": "shard-0"})),
        ],
    )
    with Node("machine@127.0.0.1", cookie="secret", listen=False, engines=ENGINES) as node:
        # First, and alone: what it needs is not there.
        tree = [ChildSpec(TREE, (ENGINES[TREE], settings, {"name": TREE}))]
        node.start(Supervisor, (SupervisorFlags("one_for_one", **often), tree), name="tree_sup")
        with pytest.raises(Refused, match="it is not known yet how far the tree is"):
            tree_server.root(node)
        node.start(Supervisor, ordering, name="ordering_sup")
        yield node


def quietly(condition: Callable[[], bool]) -> Callable[[], bool]:
    def try_it() -> bool:
        try:
            return condition()
        except (ErlangExit, Refused, worker_server.Rejected):
            return False

    return try_it


def submit(node: Node, transaction: Transaction, id_: bytes) -> int:
    while True:
        try:
            return worker_server.submit(node, candidate(transaction, id_), timeout_s=0.5).fingerprint
        except (ErlangExit, worker_server.Rejected):
            gevent.sleep(0.01)


@pytest.mark.fault
def test_on_a_node_with_kills(tmp_path: FilePath) -> None:
    with machine_node(tmp_path / "ledger.sqlite") as node:
        assert until(quietly(lambda: not worker_server.status(node).missing_shards))
        made = coins(0, 20)
        for number, coin in enumerate(made):
            submit(node, mint(coin), b"mint-%d" % number)
            if number % 5 == 3:
                victim = node.whereis((TREE, "ledger", "mempool_worker", TREE)[number // 5])
                if victim is not None:
                    node.exit(victim, Atom("kill"))
        assert until(quietly(lambda: tree_server.root(node).size == 20), 20)
        assert until(quietly(lambda: tree_server.witness(node, made[0].commitment).size == 20), 20)
        now = tree_server.root(node)
        assert (now.behind, now.waiting, now.failure) == (0, 0, None)
        for coin in made[::7]:
            found = tree_server.witness(node, coin.commitment)
            assert found.path is not None
            assert verify_path(coin.commitment, found.path.to_merkle_path(), now.root)
        assert tree_server.witness(node, b"CM_none").path is None
        paid = submit(node, transfer([made[1]], [lasting(b"coin", 1, 99)], [now.root]), b"pay")
        refused = submit(node, transfer([made[2]], [lasting(b"coin", 1, 98)], [b"\7" * 32]), b"no")
        assert until(quietly(lambda: worker_server.status(node).committed >= refused))
        assert worker_server.transaction_status(node, paid).success
        assert "root" in (worker_server.transaction_status(node, refused).error or "")
        assert until(quietly(lambda: tree_server.root(node).size == 21), 20)
        assert ledger_server.read(node, TREE_KEY, 10**9)[0] == 21
        tag, answer = node.call(TREE, Atom("root_request"))
        assert (tag, answer[Atom("size")]) == (Atom("root_reply"), 21)
        tag, answer = node.call(TREE, (Atom("witness_request"), {Atom("commitment"): 7}))
        assert tag is Atom("error")
    with machine_node(tmp_path / "ledger.sqlite") as node:
        assert until(quietly(lambda: tree_server.witness(node, made[3].commitment).size == 21))
        assert (
            type(node.call("ledger", (Atom("item_request"), {Atom("table"): TREE.encode(), Atom("key"): PROGRESS})))
            is tuple
        )
