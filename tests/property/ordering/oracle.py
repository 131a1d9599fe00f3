"""The oracle: whatever the order of events, transactions come out as if they had run one after the other.

``python -m tests.property.ordering.oracle --runs 10000 --seed 7`` tries so many worlds, each with transactions, shards,
orders of delivery and faults of its own, and ends with status 1 if one of them is wrong or unfinished; it prints how to
see that one again.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from anoma.keys import shard_number
from anoma.programs import ABSENT
from engines.executor.messages import ExecutorFinished
from engines.guards import EngineBehaviour, MessageArrived
from engines.messages import EngineID
from engines.shard.messages import KVSAcquireLock, KVSLockAcquired, KVSRead, KVSReadRequest, KVSWrite, UpdateSeenAll
from tests.property.ordering.cases import PROGRAMS, Spec, interpret, random_spec
from tests.property.ordering.world import BEHAVIOURS, LEDGER, WORKER, Faults, World


class Wrong(AssertionError):
    """A property does not hold."""


class Unfinished(Wrong):
    """A transaction has no end."""


def check(holds: bool, name: str, *told: Any) -> None:
    if not holds:
        raise Wrong(f"{name}: " + " ".join(str(part) for part in told))


class Run:
    """A world, and the transactions that were sent to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.specs: dict[int, Spec] = {}
        self.again: dict[int, int] = {}

    def submit(self, spec: Spec) -> int:
        number = self.world.submit(spec.candidate())
        self.specs[number] = spec
        return number

    def submit_again(self, number: int) -> None:
        """Another client's request of the same id."""
        twin = self.world.submit(self.specs[number].candidate())
        self.specs[twin] = self.specs[number]
        self.again[twin] = number

    def settle(self) -> None:
        """Let everything happen; clients that were not answered ask again."""
        world = self.world
        for _ in range(8):
            world.settle()
            silent = [number for number in self.specs if not world.acks(number) and not world.rejections(number)]
            if not silent or not world.faults.crashes:
                break
            for number in silent:
                world.post_again(number)
        world.settle()

    # -- the properties -------------------------------------------------------------------------

    def check(self) -> None:
        faults = self.world.faults
        order = self.check_answers()
        history = self.check_serial(order)
        self.check_reads(history)
        self.check_stored(history)
        self.check_collected()
        if not faults.crashes:
            self.check_locks(order)
            self.check_barriers(order)
            if not faults.duplicates:
                self.check_resolutions(order)

    def check_answers(self) -> dict[int, Spec]:
        """O7, O8, O10: each is accepted once, in order, and ends once."""
        world, crashes = self.world, self.world.faults.crashes
        fingerprints: dict[int, int] = {}
        for number in self.specs:
            acks = world.acks(number)
            if not acks:
                raise Unfinished(f"request {number} was never answered; {world.rejections(number)}")
            check(bool(crashes) or len(acks) == 1 or world.faults.duplicates > 0, "O7", "acks", acks)
            check(len({ack.fingerprint for ack in acks}) == 1, "O7", "two fingerprints", acks)
            fingerprints[number] = acks[0].fingerprint
        order: dict[int, Spec] = {}
        for number, fingerprint in fingerprints.items():
            first = self.again.get(number)
            if first is None:
                check(fingerprint not in order, "O7", "two transactions at", fingerprint)
                order[fingerprint] = self.specs[number]
            else:
                check(fingerprint == fingerprints[first], "O7", "two fingerprints for one id", number)
        check(sorted(order) == list(range(1, len(order) + 1)), "O8", "not dense", sorted(order))
        if not crashes:
            arrived = list(dict.fromkeys(fingerprints[number] for number in world.arrived))
            check(arrived == sorted(arrived), "O8", "not in the order of arrival", arrived)
        for number, fingerprint in fingerprints.items():
            ends = [end for other in self.twins(number) for end in world.finishes(other)]
            if not ends:
                raise Unfinished(f"transaction {fingerprint} has no end")
            check(len(ends) == 1 or bool(crashes), "O7", "ends", ends)
            check(all(end == ends[0] and end.timestamp == fingerprint for end in ends), "O7", "ends differ", ends)
        if world.disk.committed != len(order):
            raise Unfinished(f"{world.disk.committed} of {len(order)} are in blocks")
        return order

    def twins(self, number: int) -> list[int]:
        first = self.again.get(number, number)
        return [first, *(twin for twin, of in self.again.items() if of == first)]

    def check_serial(self, order: Mapping[int, Spec]) -> dict[Any, list[tuple[int, Any]]]:
        """O1, O6: every outcome is that of a sequential replay. Gives the history of writes."""
        store: dict[Any, Any] = {}
        history: dict[Any, list[tuple[int, Any]]] = {}
        told = {
            message.timestamp: message
            for envelope in self.world.outside
            if isinstance(message := envelope.message, ExecutorFinished)
        }
        for fingerprint in sorted(order):
            spec = order[fingerprint]
            expected = interpret(spec, store)
            end = told[fingerprint]
            reads, writes = dict(end.values_read), dict(end.values_written)
            check(end.success == expected.success, "O1", fingerprint, spec, "success", end, expected)
            check(reads == expected.reads, "O1", fingerprint, spec, "reads", reads, expected.reads)
            check(writes == expected.writes, "O1", fingerprint, spec, "writes", writes, expected.writes)
            check(list(reads) == sorted(reads) and list(writes) == sorted(writes), "O1", "not in order", end)
            _, done = self.world.disk.transactions[fingerprint]
            check(
                (done.success, done.reads, done.writes) == (end.success, end.values_read, end.values_written),
                "O1",
                done,
            )
            for key, value in expected.writes.items():
                store[key] = value
                history.setdefault(key, []).append((fingerprint, value))
        return history

    def check_reads(self, history: Mapping[Any, list[tuple[int, Any]]]) -> None:
        """O2: every value that was ever served is that of the last write before."""
        for happened in self.world.trace:
            if happened.effects is None:
                continue
            for envelope in happened.effects.messages:
                message = envelope.message
                if type(message) is KVSRead:
                    before = [value for ts, value in history.get(message.key, ()) if ts < message.timestamp]
                    expected = before[-1] if before else ABSENT
                    check(message.data == expected, "O2", message, "expected", expected)

    def check_stored(self, history: Mapping[Any, list[tuple[int, Any]]]) -> None:
        """O1: what is stored in the end is what the replay stores."""
        expected = {key: versions[-1][1] for key, versions in history.items()}
        disk = {key: versions[-1][1] for key, versions in self.world.disk.versions.items()}
        check(disk == expected, "O1", "on the disk", disk, expected)
        known = self.world.stored()
        check(all(expected.get(key) == value for key, value in known.items()), "O1", "in shards", known, expected)

    def check_collected(self) -> None:
        """O13: once all is committed nothing but the last versions is kept, and nothing waits."""
        for name in self.world.names:
            state = self.world.state_of(name)
            check(len(state.accesses) == 0 and len(state.locks) == 0, "O13", name, state)
            check(len(state.parked) == 0 and len(state.gated) == 0 and len(state.fetching) == 0, "O13", name, state)
        state = self.world.state_of(WORKER)
        for kept in (
            state.transactions,
            state.executors,
            state.unacked_reads,
            state.unacked_writes,
            state.ids,
            state.asked,
        ):
            check(len(kept) == 0, "O13", kept)

    def check_locks(self, order: Mapping[int, Spec]) -> None:
        """O3: a read is served only when all writes from the one that it reads from are resolved."""
        writers: dict[Any, list[int]] = {}
        for fingerprint in sorted(order):
            for key in order[fingerprint].will | order[fingerprint].may:
                writers.setdefault(key, []).append(fingerprint)
        resolved: dict[tuple[int, Any], Any] = {}
        served: Counter[tuple[int, Any]] = Counter()
        for happened in self.world.trace:
            trigger = happened.trigger
            if happened.effects is None or not happened.event.engine.startswith("shard"):
                continue
            if type(trigger) is MessageArrived and type(trigger.envelope.message) is KVSWrite:
                write = trigger.envelope.message
                resolved.setdefault((write.timestamp, write.key), write.datum)
            for envelope in happened.effects.messages:
                message = envelope.message
                if type(message) is not KVSRead:
                    continue
                spec = order[message.timestamp]
                check(message.key in spec.eager | spec.lazy, "O5", "read without a lock", message)
                served[message.timestamp, message.key] += 1
                for ts in reversed(writers.get(message.key, ())):
                    if ts >= message.timestamp:
                        continue
                    check((ts, message.key) in resolved, "O3", message, "is served before the write at", ts)
                    if resolved[ts, message.key] is not ABSENT:
                        break
        check(all(count == 1 for count in served.values()), "O5", "served twice", served)

    def check_barriers(self, order: Mapping[int, Spec]) -> None:
        """O4: a barrier is told only when all shards concerned have acknowledged, and none falls."""
        world = self.world
        needed: dict[bool, dict[int, set[str]]] = {True: {}, False: {}}
        settings = world.worker_settings
        for fingerprint, spec in order.items():
            for write, keys in ((True, spec.will | spec.may), (False, spec.eager | spec.lazy)):
                needed[write][fingerprint] = {
                    settings.shards[shard_number(key, len(settings.shards))].name for key in keys
                }
        acknowledged: dict[int, set[str]] = {}
        highest: dict[tuple[str, int, bool], int] = {}
        for happened in world.trace:
            trigger, effects = happened.trigger, happened.effects
            if effects is None:
                continue
            if happened.event.engine == WORKER:
                if type(trigger) is MessageArrived and type(trigger.envelope.message) is KVSLockAcquired:
                    sender = trigger.envelope.sender
                    assert isinstance(sender, EngineID)
                    acknowledged.setdefault(trigger.envelope.message.timestamp, set()).add(sender.name)
                for envelope in effects.messages:
                    message = envelope.message
                    if type(message) is UpdateSeenAll:
                        for fingerprint in range(1, message.timestamp + 1):
                            missing = needed[message.write][fingerprint] - acknowledged.get(fingerprint, set())
                            check(not missing, "O4", message, "without", fingerprint, missing)
            elif happened.event.engine.startswith("shard"):
                state = effects.state
                for write, barrier in ((True, state.heard_all_writes), (False, state.heard_all_reads)):
                    where = (happened.event.engine, state.incarnation, write)
                    check(barrier >= highest.get(where, 0), "O4", "a barrier falls", where, barrier)
                    highest[where] = barrier

    def check_resolutions(self, order: Mapping[int, Spec]) -> None:
        """O5: every write lock is resolved once, every read lock served or let go, and none besides is touched."""
        locked: dict[str, Counter[tuple[int, Any]]] = {"reads": Counter(), "writes": Counter()}
        writes: Counter[tuple[int, Any]] = Counter()
        reads: Counter[tuple[int, Any]] = Counter()
        for happened in self.world.trace:
            if happened.effects is None:
                continue
            for envelope in happened.effects.messages:
                message = envelope.message
                match message:
                    case KVSAcquireLock():
                        for key in message.will_write_keys | message.may_write_keys:
                            locked["writes"][message.timestamp, key] += 1
                        for key in message.eager_read_keys | message.lazy_read_keys:
                            locked["reads"][message.timestamp, key] += 1
                    case KVSWrite() if happened.event.engine.startswith("executor"):
                        writes[message.timestamp, message.key] += 1
                    case KVSRead():
                        reads[message.timestamp, message.key] |= 1
                    case KVSReadRequest(actual=False):
                        reads[message.timestamp, message.key] |= 2
        for fingerprint, spec in order.items():
            for key in spec.will | spec.may:
                check(locked["writes"][fingerprint, key] > 0, "O5", fingerprint, key, locked["writes"])
                check(writes[fingerprint, key] == 1, "O5", fingerprint, key, writes)
            for key in spec.eager | spec.lazy:
                check(locked["reads"][fingerprint, key] > 0, "O5", fingerprint, key, locked["reads"])
                check(reads[fingerprint, key] > 0, "O5", fingerprint, key, "neither served nor let go")
        check(writes.keys() == locked["writes"].keys() and reads.keys() == locked["reads"].keys(), "O5", "no lock")


# -- at random ----------------------------------------------------------------------------------


def random_run(
    rng: random.Random, behaviours: Mapping[str, EngineBehaviour[Any]] = BEHAVIOURS, faults: Faults | None = None
) -> Run:
    """A world that has been through everything."""
    if faults is None:
        faults = Faults(
            crashes=rng.choice([0, 0, 0, 1, 2, 4]),
            duplicates=rng.choice([0.0, 0.0, 0.1]),
            keep_worker_apart=rng.random() < 0.5,
        )
    shards = rng.randint(1, 4)
    world = World(
        rng,
        shards,
        ordered=rng.random() < 0.25,
        faults=faults,
        programs=PROGRAMS,
        behaviours=behaviours,
        settings={
            "most_in_block": rng.choice([1, 3, 1000]),
            "most_in_batch": rng.choice([1, 2, 1000]),
            "most_attempts": 100,
        },
    )
    run = Run(world)
    keys = [b"key-%d" % number for number in range(rng.randint(1, 6))]
    specs = [random_spec(rng, keys) for _ in range(rng.randint(1, 8))]
    at_once = rng.randint(0, len(specs))
    for number, plain in enumerate(specs):
        named = faults.crashes or rng.random() < 0.2
        spec = dataclasses.replace(plain, id=b"id-%d" % number) if named else plain
        if number >= at_once:
            for _ in range(rng.randint(0, 30)):
                event = world.choose()
                if event is not None:
                    world.let(event)
        sent = run.submit(spec)
        if spec.id is not None and rng.random() < 0.1:
            run.submit_again(sent)
    run.settle()
    return run


def one(
    seed: int, number: int, behaviours: Mapping[str, EngineBehaviour[Any]] = BEHAVIOURS, faults: Faults | None = None
) -> Run:
    """The run of a number, checked.

    Raises:
        Wrong: what does not hold.
    """
    run = random_run(random.Random(f"{seed}/{number}"), behaviours, faults)
    run.check()
    return run


def say(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", type=int, default=None, help="this one of the runs")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    say(f"seed {seed}")
    numbers = range(options.runs) if options.only is None else [options.only]
    began = time.monotonic()
    wrong = unfinished = events = transactions = crashes = 0
    for number in numbers:
        try:
            run = one(seed, number)
        except Unfinished as error:
            unfinished += 1
            say(f"unfinished: {error}\n  again: --seed {seed} --only {number}")
        except AssertionError as error:
            wrong += 1
            say(f"wrong: {error}\n  again: --seed {seed} --only {number}")
        else:
            events += run.world.events
            transactions += len(run.world.disk.entries)
            crashes += run.world.faults.crashes - run.world.crashes_left
        if sys.stdout.isatty() and number % 100 == 99:
            say(f"\r{number + 1} runs", end="")
    took = time.monotonic() - began
    say(
        f"{len(numbers)} runs, {transactions} transactions, {events} events, {crashes} crashes in {took:.0f} s: "
        f"{unfinished} unfinished, {wrong} wrong (seed {seed})"
    )
    return 1 if wrong or unfinished else 0


if __name__ == "__main__":
    sys.exit(main())

__all__ = ["LEDGER", "Run", "Unfinished", "Wrong", "one", "random_run"]
