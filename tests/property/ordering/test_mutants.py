"""The oracle sees what is wrong: each of the specification's faults, and some of our own kind, is found within a few runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from anoma.programs import ABSENT, execution
from engines.executor import behaviour as executor
from engines.mempool_worker import behaviour as worker
from engines.shard import behaviour as shard
from engines.shard.messages import KVSWrite
from tests.property.ordering.oracle import Faults, one

MOST_RUNS = 400


def never_open_for_the_newest(draft: Any, ts: int) -> bool:
    return bool(ts < draft.heard_all_writes)


def closed_by_the_read_barrier(draft: Any, ts: int) -> bool:
    return bool(draft.heard_all_reads < ts <= draft.heard_all_writes + 1)


def always_open(draft: Any, ts: int) -> bool:
    return True


def never_written_is_no_answer(draft: Any, key: Any, ts: int, real: Any = shard._Draft.version_before) -> Any:
    found, value = real(draft, key, ts)
    return found and value is not ABSENT, value


def pending_is_passed_over(draft: Any, key: Any, ts: int) -> Any:
    access = draft.accesses.get(key)
    while access is not None and (before := access.versions.below(ts)) is not None:
        if access.versions[before] is not shard.PENDING:
            return True, access.versions[before]
        ts = before
    settled = draft.settled.get(key)
    return True, ABSENT if settled is None else settled[1]


def nothing_is_skipped(draft: Any, key: Any, ts: int) -> None:
    return None


def early_requests_are_forgotten(draft: Any, sender: Any, message: Any, real: Any = shard._Draft.request) -> None:
    ts, key = message.timestamp, message.key
    if not message.actual or (draft.is_open(ts) and draft.version_before(key, ts)[0]):
        real(draft, sender, message)


def barriers_may_fall(draft: Any, ts: int, write: bool) -> None:
    if write:
        draft.heard_all_writes = ts
        draft.open_gate()
    else:
        draft.heard_all_reads = ts


def nothing_is_parked(draft: Any, sender: Any, message: Any) -> Any:
    lock = draft.locks.get(message.timestamp)
    return lock if lock is not None and sender in (lock.executor, lock.worker) else None


def failed_ones_keep_their_locks(
    turn: Any, state: Any, outcome: Any, arrived: Any, real: Any = executor._finished
) -> Any:
    effects = real(turn, state, outcome, arrived)
    if outcome.success:
        return effects
    return replace(effects, messages=tuple(e for e in effects.messages if type(e.message) is not KVSWrite))


def failed_ones_write(run: Any, error: str) -> None:
    writes = tuple((key, run.writes[key]) for key in sorted(run.writes))
    run.outcome = execution.Outcome(False, run.reads(), writes, error)
    run.over()


def collected_too_early(draft: Any, real: Any = shard._Draft.raise_barrier) -> Any:
    def raise_barrier(draft: Any, ts: int, write: bool) -> None:
        real(draft, ts, write)
        before, draft.committed = draft.committed, ts
        for key in list(draft.accesses):
            draft.collect(key)
        draft.committed = before

    return raise_barrier


def arrival_order(run: Any, real: Any = execution._Run.go_on) -> None:
    # What has come is given at once, whatever was asked for first.
    run.asked.sort(key=lambda key: key not in run.arrived)
    real(run)


def any_incarnation(turn: Any, incarnation: int) -> bool:
    return turn.state.loaded is not None


def every_attempt_is_the_first(draft: Any, transaction: Any, real: Any = worker._Draft.lock) -> Any:
    def lock(draft: Any, transaction: Any, shard_: Any, rights: Any) -> None:
        real(draft, replace(transaction, attempt=1), shard_, rights)

    return lock


def not_repeated(draft: Any, transaction: Any, shard_: Any) -> None:
    return None


def run_before_it_lasts(draft: Any, real: Any = worker._Draft.accept) -> Any:
    def accept(draft: Any) -> Any:
        entries, last = real(draft)
        for entry in entries:
            transaction = draft.transactions[entry.fingerprint]
            for request in transaction.requests:
                draft.acknowledge(request, transaction, None)
        return entries, last

    return accept


QUIET = Faults()
MUTANTS: dict[str, tuple[Any, str, Any, Faults | None]] = {
    "the newest transaction waits for the next": (shard._Draft, "is_open", never_open_for_the_newest, QUIET),
    "the read barrier holds up reads": (shard._Draft, "is_open", closed_by_the_read_barrier, QUIET),
    "no write barrier": (shard._Draft, "is_open", always_open, QUIET),
    "a key never written is not answered": (shard._Draft, "version_before", never_written_is_no_answer, QUIET),
    "a pending write counts as none": (shard._Draft, "version_before", pending_is_passed_over, QUIET),
    "a write of nothing does nothing": (shard._Draft, "skip", nothing_is_skipped, QUIET),
    "a lazy read that is too early is forgotten": (shard._Draft, "request", early_requests_are_forgotten, QUIET),
    "barriers may fall": (shard._Draft, "raise_barrier", barriers_may_fall, QUIET),
    "what comes before its lock is dropped": (shard._Draft, "lock_of", nothing_is_parked, QUIET),
    "collection up to the barrier": (shard._Draft, "raise_barrier", collected_too_early(None), None),
    "a failed transaction keeps its locks": (executor, "_finished", failed_ones_keep_their_locks, QUIET),
    "a failed transaction writes": (execution._Run, "fail", failed_ones_write, QUIET),
    "reads in the order of arrival": (execution._Run, "go_on", arrival_order, QUIET),
    "barriers for other lives of a shard": (shard, "_is_meant", any_incarnation, Faults(crashes=4)),
    "another executor's lock is the same lock": (
        worker._Draft,
        "lock",
        every_attempt_is_the_first(None, None),
        Faults(4),
    ),
    "a shard that is back is told nothing": (worker._Draft, "repeat", not_repeated, Faults(crashes=4)),
    "acknowledged before it lasts": (worker._Draft, "accept", run_before_it_lasts(None), Faults(crashes=4)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_found(name: str, monkeypatch: pytest.MonkeyPatch):
    owner, attribute, mutant, faults = MUTANTS[name]
    monkeypatch.setattr(owner, attribute, mutant)
    assert _first_wrong(lambda number: one(3, number, faults=faults)) < MOST_RUNS


def _first_wrong(try_one: Callable[[int], Any]) -> int:
    for number in range(MOST_RUNS):
        try:
            try_one(number)
        except (AssertionError, LookupError):
            # What is no state of an engine may end it as well.
            return number
    return MOST_RUNS
