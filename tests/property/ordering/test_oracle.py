"""Transactions come out as if they had run one after the other, in random worlds and in ones that hypothesis makes."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.property.ordering.cases import PROGRAMS, random_spec
from tests.property.ordering.oracle import Run, one
from tests.property.ordering.world import WORKER, Faults, World

RUNS = 600
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_random_worlds(part: int):
    seed = random.SystemRandom().randrange(1 << 32)
    for number in range(part, RUNS, PARTS):
        try:
            one(seed, number)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\nagain: python -m tests.property.ordering.oracle --seed {seed} --only {number}"
            ) from None


class Ordering(RuleBasedStateMachine):
    """Every order of events, and a crash at any of them."""

    run: Run

    @initialize(
        shards=st.integers(1, 4),
        ordered=st.booleans(),
        duplicates=st.sampled_from([0.0, 0.1]),
        apart=st.booleans(),
        blocks=st.sampled_from([1, 3, 1000]),
        seed=st.integers(0, 1 << 16),
    )
    def begin(self, shards: int, ordered: bool, duplicates: float, apart: bool, blocks: int, seed: int) -> None:
        # Crashes are this machine's; that there are some tells the clients to ask again.
        faults = Faults(crashes=1, duplicates=duplicates, keep_worker_apart=apart)
        settings_ = {"most_in_block": blocks, "most_attempts": 100}
        world = World(
            random.Random(seed), shards, ordered=ordered, faults=faults, programs=PROGRAMS, settings=settings_
        )
        world.crashes_left = 0
        self.run = Run(world)

    @rule(rng=st.randoms(use_true_random=False), keys=st.integers(1, 6))
    def submit(self, rng: random.Random, keys: int) -> None:
        if len(self.run.specs) < 12:
            spec = random_spec(rng, [b"key-%d" % number for number in range(keys)])
            self.run.submit(dataclasses.replace(spec, id=b"id-%d" % len(self.run.specs)))

    @precondition(lambda self: bool(self.run.specs))
    @rule(which=st.integers(0, 11))
    def submit_again(self, which: int) -> None:
        numbers = [number for number in self.run.specs if number not in self.run.again]
        self.run.submit_again(numbers[which % len(numbers)])

    @rule(indices=st.lists(st.integers(0, 1 << 16), min_size=1, max_size=12))
    def events(self, indices: list[int]) -> None:
        world = self.run.world
        for index in indices:
            choices = world.choices()
            if choices:
                world.let(choices[index % len(choices)])

    @rule(kind=st.integers(0, 3), index=st.integers(0, 20), lose=st.booleans())
    def crash(self, kind: int, index: int, lose: bool) -> None:
        world = self.run.world
        executors = sorted(name for name in world.engines if name.startswith("executor"))
        names = [[WORKER], ["ledger"], world.names, executors][kind]
        if names:
            world.crash(names[index % len(names)], lose=lose)

    def teardown(self) -> None:
        if hasattr(self, "run"):
            self.run.settle()
            self.run.check()


TestOrdering = Ordering.TestCase
TestOrdering.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
