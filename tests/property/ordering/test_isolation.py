"""Who waits for whom: nobody for a transaction whose writes it does not read; and what shards there are does not matter."""

from __future__ import annotations

import random

import pytest

from anoma.programs.standard import STANDARD
from engines.mempool_worker.messages import TransactionCandidate, TransactionLabel
from engines.shard.messages import KVSRead
from erlang_bridge.terms import Atom
from tests.property.ordering.cases import PROGRAMS, Spec, random_spec
from tests.property.ordering.oracle import Run
from tests.property.ordering.world import WORKER, World

PYTHON = Atom("python")
SEEDS = range(12)


def put(key: bytes, value: int) -> TransactionCandidate:
    return TransactionCandidate(TransactionLabel(write=(key,)), (PYTHON, b"put", [(key, value)]))


def copy(source: bytes, target: bytes) -> TransactionCandidate:
    return TransactionCandidate(TransactionLabel(read=(source,), write=(target,)), (PYTHON, b"copy", [source, target]))


def in_turn(world: World, candidates: list[TransactionCandidate]) -> list[int]:
    """Send requests, each when the one before is accepted; whoever starts meanwhile is held up."""
    numbers = []
    for candidate in candidates:
        number = world.submit(candidate)
        numbers.append(number)
        while not world.acks(number):
            event = world.choose()
            assert event is not None
            world.let(event)
            hold(world)
    return numbers


def hold(world: World) -> None:
    world.frozen.update(name for name in world.engines if name.startswith("executor"))


def let_run(world: World, *fingerprints: int) -> None:
    """Have these executors go on, and see how far that leads."""
    for fingerprint in fingerprints:
        world.frozen = {name for name in world.frozen if not name.startswith(f"executor-{fingerprint}.")}
    while (event := world.choose()) is not None:
        world.let(event)


def finished(world: World, numbers: list[int]) -> list[bool]:
    return [bool(world.finishes(number)) for number in numbers]


@pytest.mark.parametrize("seed", SEEDS)
def test_o11_one_that_is_stuck_holds_up_only_who_reads_what_it_writes(seed: int):
    world = World(random.Random(seed), 1 + seed % 4, programs=STANDARD)
    numbers = in_turn(
        world,
        [put(b"a", 1), put(b"b", 2), copy(b"b", b"c"), put(b"a", 4), copy(b"a", b"d"), copy(b"c", b"e")],
    )
    hold(world)
    # The first is stuck. The fourth writes the same key, and does not wait; who reads that reads the fourth's.
    let_run(world, 2, 3, 4, 5, 6)
    assert finished(world, numbers) == [False, True, True, True, True, True]
    assert dict(world.finishes(numbers[4])[0].values_read) == {b"a": 4}
    world.frozen.clear()
    world.settle()
    assert all(finished(world, numbers))
    assert world.disk.committed == 6


@pytest.mark.parametrize("seed", SEEDS)
def test_o11_two_readers_of_one_version_do_not_wait_for_each_other(seed: int):
    for stuck, goes_on in ((2, 3), (3, 2)):
        world = World(random.Random(seed), 2, programs=STANDARD)
        numbers = in_turn(world, [put(b"a", 7), copy(b"a", b"b"), copy(b"a", b"c")])
        hold(world)
        let_run(world, 1, goes_on)
        assert finished(world, numbers) == [True, goes_on == 2, goes_on == 3]
        assert not world.finishes(numbers[stuck - 1])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reader_waits_for_the_write_before_it(seed: int):
    world = World(random.Random(seed), 2, programs=STANDARD)
    numbers = in_turn(world, [put(b"a", 1), put(b"a", 2), copy(b"a", b"b")])
    hold(world)
    let_run(world, 1, 3)
    assert finished(world, numbers) == [True, False, False]
    let_run(world, 2)
    assert dict(world.finishes(numbers[2])[0].values_read) == {b"a": 2}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_block_waits_for_the_first_that_has_not_run(seed: int):
    world = World(random.Random(seed), 2, programs=STANDARD)
    in_turn(world, [put(b"a", 1), put(b"b", 2), put(b"c", 3)])
    hold(world)
    let_run(world, 1, 3)
    assert world.disk.committed == 1
    let_run(world, 2)
    assert world.disk.committed == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_o12_the_number_of_shards_does_not_matter(seed: int):
    rng = random.Random(seed)
    keys = [b"key-%d" % number for number in range(6)]
    specs = [random_spec(rng, keys) for _ in range(8)]
    outcomes = {shards: _outcomes(specs, shards, seed) for shards in (1, 2, 3, 4, 7)}
    assert all(outcome == outcomes[1] for outcome in outcomes.values())


def _outcomes(specs: list[Spec], shards: int, seed: int) -> object:
    world = World(random.Random(seed + shards), shards, programs=PROGRAMS)
    run = Run(world)
    numbers = []
    for spec in specs:
        number = run.submit(spec)
        numbers.append(number)
        while not world.acks(number):
            event = world.choose()
            assert event is not None
            world.let(event)
    run.settle()
    run.check()
    ends = [world.finishes(number)[0] for number in numbers]
    return [(end.timestamp, end.success, end.values_read, end.values_written) for end in ends], world.disk.versions


def test_o13_versions_do_not_pile_up():
    world = World(random.Random(3), 2, programs=STANDARD, settings={"most_in_block": 5})
    most = 0

    def look(_event: object) -> None:
        nonlocal most
        states = [world.state_of(name) for name in world.names if name in world.engines]
        kept = sum(len(state.accesses[key].versions) for state in states for key in state.accesses)
        most = max(most, kept)

    world.on_event = look
    for round_ in range(40):
        for key in (b"a", b"b", b"c"):
            world.submit(put(key, round_))
        world.settle()
    assert world.disk.committed == 120
    assert most <= 9
    assert [len(world.state_of(name).accesses) for name in world.names] == [0, 0]
    assert len(world.stored()) == 3


def test_o13_a_version_that_is_still_read_is_kept():
    world = World(random.Random(5), 1, programs=STANDARD)
    numbers = in_turn(world, [put(b"a", 1), copy(b"a", b"b"), put(b"a", 3)])
    hold(world)
    let_run(world, 1, 3)
    # The second has not read yet, as far as can be told from here: its version is there to be served again.
    assert world.disk.committed == 1
    assert [name for name, _ in world.ends if name.startswith("executor-2")] == []
    executor = next(name for name in world.engines if name.startswith("executor-2"))
    world.frozen.clear()
    world.crash(executor, lose=True)
    world.settle()
    assert dict(world.finishes(numbers[1])[0].values_read) == {b"a": 1}
    served = [
        envelope.message.data
        for happened in world.trace
        if happened.effects is not None
        for envelope in happened.effects.messages
        if isinstance(envelope.message, KVSRead) and envelope.message.timestamp == 2
    ]
    assert served
    assert set(served) == {1}


def test_an_executor_that_always_ends_fails_its_transaction_and_no_other():
    world = World(random.Random(1), 2, programs=STANDARD, settings={"most_attempts": 3})
    numbers = in_turn(world, [put(b"a", 1), put(b"a", 2), copy(b"a", b"b")])
    for _ in range(3):
        hold(world)
        executor = next(name for name in world.engines if name.startswith("executor-2."))
        world.crash(executor)
        while not any(name.startswith("executor-2.") for name in world.engines) and (event := world.choose()):
            world.let(event)
    world.frozen.clear()
    world.settle()
    (end,) = world.finishes(numbers[1])
    assert not end.success
    assert "ended 3 times" in (end.error or "")
    assert dict(world.finishes(numbers[2])[0].values_read) == {b"a": 1}
    assert world.disk.committed == 3
    assert len(world.state_of(WORKER).executors) == 0
