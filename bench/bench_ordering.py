"""Transactions per second through worker, shards, executors and ledger, beside the same programs on a dict.

    python bench/bench_ordering.py [--json] [--quick]

Every run is a node of its own, in this process, with its ledger in an SQLite file; a client sends all requests at once
and waits until the last is in a block. "dict" is the same programs one after the other on a dict: no order to agree on,
no shards, nothing that lasts. Stages are processor time in the engines' turns; latencies those of one transaction at a
time. Growth is told by the same work at the beginning and at the end of many transactions, and by the turns of a shard
that has so many versions of one key that cannot be collected yet.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
from rich.console import Console
from rich.table import Table

from anoma.nock.noun import Cell, Noun, noun, term_of_noun
from anoma.programs import ABSENT
from anoma.programs.execution import Rights, begin, receive
from anoma.programs.kinds import load
from anoma.programs.standard import STANDARD
from engines import engine_of
from engines.engine import Engine, tell
from engines.environment import Environment
from engines.guards import EngineConfig, MessageArrived, step
from engines.ledger.behaviour import Backend, LedgerSettings, Synchronous
from engines.ledger.messages import HeightsReply
from engines.ledger.records import Heights
from engines.mempool_worker import server as worker
from engines.mempool_worker.behaviour import MempoolWorkerSettings
from engines.mempool_worker.messages import TransactionCandidate, TransactionLabel, TransactionRequest
from engines.messages import EngineID, Envelope, Message
from engines.shard import behaviour as shard
from engines.shard.messages import Committed, KVSAcquireLock, KVSWrite, UpdateSeenAll
from erlang_bridge import Atom, Node
from pyanoma import memory

NAME = "bench@127.0.0.1"
ENGINES = {name: engine_of(f"engines.{name}") for name in ("ledger", "mempool_worker", "shard", "executor")}
PYTHON, NOCK = Atom("python"), Atom("nock")
Make = Callable[[list[bytes]], TransactionCandidate]


# -- programs -----------------------------------------------------------------------------------


def in_python(keys: list[bytes]) -> TransactionCandidate:
    """Add one to each key."""
    label = TransactionLabel(read=tuple(keys), write=tuple(keys))
    return TransactionCandidate(label, (PYTHON, b"add", [(key, 1) for key in keys]))


def in_nock(keys: list[bytes]) -> TransactionCandidate:
    """The same; the first two transactions of a key set it, since Nock cannot add to what is not there."""
    formula: Noun = noun(1, 0)
    for key in keys:
        scry = noun(12, noun(1, 0), noun(0, 6), noun(1, key), 1, 0)
        formula = Cell(Cell(noun(1, key), noun(4, scry)), formula)
    label = TransactionLabel(read=tuple(keys), write=tuple(keys))
    return TransactionCandidate(label, (NOCK, term_of_noun(noun(noun(1, 0, formula, 0, 909), 0, 707))))


def put(keys: list[bytes]) -> TransactionCandidate:
    """Have all keys be there."""
    return TransactionCandidate(TransactionLabel(write=tuple(keys)), (PYTHON, b"put", [(key, 1) for key in keys]))


def on_a_dict(candidates: list[TransactionCandidate]) -> float:
    """Transactions per second, one after the other."""
    store: dict[Any, Any] = {}
    began = time.perf_counter()
    for fingerprint, candidate in enumerate(candidates, 1):
        label = candidate.label
        rights = Rights(frozenset(label.read), frozenset(), frozenset(label.write))
        run, _ = begin(load(candidate.executable, STANDARD), rights, fingerprint)
        for key in label.read:
            run, _ = receive(run, key, store.get(key, ABSENT))
        assert run.outcome is not None
        assert run.outcome.success
        store.update(run.outcome.writes)
    return len(candidates) / (time.perf_counter() - began)


# -- a node -------------------------------------------------------------------------------------

STAGES = {
    "TransactionRequest": "accept",
    "Persisted": "start, commit",
    "KVSLockAcquired": "barriers",
    "AdvanceBarriers": "barriers",
    "ExecutorFinished": "finish",
}


class Stages:
    """Time in the engines' turns."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def timed(self, engine: type[Engine]) -> type[Engine]:
        seconds, name = self.seconds, engine.engine.name

        class Timed(engine):  # type: ignore[misc, valid-type]  # a class of the run
            def _decide(self, trigger: Any, state: Any) -> Any:
                began = time.perf_counter()
                effects = super()._decide(trigger, state)
                took = time.perf_counter() - began
                stage = name
                if name == "mempool_worker":
                    message = type(trigger.envelope.message).__name__ if type(trigger) is MessageArrived else ""
                    stage = STAGES.get(message, "other")
                seconds[stage] += took
                return effects

            def perform(self, operation: Any, own: Any) -> Any:
                began = time.perf_counter()
                try:
                    return super().perform(operation, own)
                finally:
                    seconds["disk (waits)"] += time.perf_counter() - began

        return Timed


@contextmanager
def ordering(shards: int, stages: Stages | None = None) -> Iterator[Node]:
    types = dict(ENGINES)
    if stages is not None:
        types = {name: stages.timed(engine) for name, engine in types.items()}
    with tempfile.TemporaryDirectory() as folder, Node(NAME, cookie="x", listen=False, engines=types) as node:
        path = str(Path(folder) / "ledger.sqlite")
        node.start(types["ledger"], LedgerSettings(Backend.SQLITE, path, Synchronous.NORMAL), name="ledger")
        addresses = tuple(EngineID(None, f"shard-{number}") for number in range(shards))
        settings = MempoolWorkerSettings(addresses, most_in_flight=1_000_000)
        node.start(types["mempool_worker"], settings, name="mempool_worker")
        for address in addresses:
            node.start(types["shard"], None, name=address.name)
        while not (status := worker.status(node)).ready or status.missing_shards:
            gevent.sleep(0.01)
        yield node


def push(node: Node, candidates: list[TransactionCandidate]) -> float:
    """Seconds until all are in blocks."""
    done = worker.status(node).committed + len(candidates)
    began = time.perf_counter()
    for candidate in candidates:
        tell(node, "mempool_worker", TransactionRequest(candidate))
    while worker.status(node, timeout_s=None).committed < done:
        gevent.sleep(0.005)
    return time.perf_counter() - began


def throughput(make: Make, shards: int, keys: int, count: int, contended: bool) -> dict[str, Any]:
    groups = [[b"key-%d-%d" % (0 if contended else n % 97, part) for part in range(keys)] for n in range(count)]
    candidates = [make(group) for group in groups]
    first = [put(group) for group in groups[:97]]
    with ordering(shards) as node:
        push(node, first)
        rate = count / push(node, candidates)
    return {"rate": rate, "dict": on_a_dict([*first, *candidates])}


def stages_of(make: Make, shards: int, keys: int, count: int) -> dict[str, float]:
    """Microseconds of each stage for one transaction."""
    groups = [[b"key-%d-%d" % (n % 97, part) for part in range(keys)] for n in range(count)]
    stages = Stages()
    with ordering(shards, stages) as node:
        push(node, [put(group) for group in groups[:97]])
        stages.seconds.clear()
        took = push(node, [make(group) for group in groups])
    found = {stage: seconds / count * 1e6 for stage, seconds in sorted(stages.seconds.items())}
    # Messages, processes and their scheduling; the ledger's disk is waited for in threads of its own.
    rest = took - sum(seconds for stage, seconds in stages.seconds.items() if stage != "disk (waits)")
    return {**found, "messages, processes, rest": rest / count * 1e6}


def latencies(count: int) -> dict[str, float]:
    """Milliseconds until one transaction is accepted, and until it is in a block; medians."""
    accepted, committed = [], []
    with ordering(2) as node:
        for number in range(1, count + 1):
            began = time.perf_counter()
            worker.submit(node, in_python([b"key"]))
            accepted.append(time.perf_counter() - began)
            while worker.status(node).committed < number:
                gevent.sleep(0.0005)
            committed.append(time.perf_counter() - began)
    return {"accepted": sorted(accepted)[count // 2] * 1e3, "in a block": sorted(committed)[count // 2] * 1e3}


# -- growth -------------------------------------------------------------------------------------


def growth_of_a_node(rounds: int, count: int) -> list[tuple[int, float]]:
    """Versions that are stored, and transactions per second then."""
    found = []
    with ordering(2) as node:
        for round_ in range(rounds):
            candidates = [in_python([b"key-%d" % (round_ * count + number)]) for number in range(count)]
            found.append(((round_ + 1) * count, count / push(node, candidates)))
    return found


def growth_of_a_key(sizes: list[int], turns: int) -> list[tuple[int, float]]:
    """Versions of one key, none of which can be collected, and microseconds for a lock, a write and a read on top."""
    ledger, worker_id = EngineID(NAME, "ledger"), EngineID(NAME, "mempool_worker")
    settings, state = shard.start(None)
    config = EngineConfig(NAME, "shard-0", settings)
    environment: Environment[Any] = Environment(state)
    executor = EngineID(NAME, "executor")

    def turn(sender: EngineID, message: Message) -> None:
        nonlocal environment
        envelope = Envelope(sender, config.engine_id, message)
        environment, effects = step(shard.BEHAVIOUR, config, environment, MessageArrived(envelope), 1.0)
        assert effects is not None

    def transaction(ts: int) -> None:
        none: frozenset[Any] = frozenset()
        one = frozenset((b"key",))
        turn(worker_id, KVSAcquireLock(none, one, one, none, worker_id, executor, ts))
        turn(worker_id, UpdateSeenAll(ts, True, 0))
        turn(executor, KVSWrite(ts, b"key", ts))

    turn(ledger, HeightsReply(Heights()))
    found, at = [], 0
    for size in sizes:
        while at < size:
            at += 1
            transaction(at)
        began = time.perf_counter()
        for _ in range(turns):
            at += 1
            transaction(at)
        found.append((size, (time.perf_counter() - began) / turns * 1e6))
    turn(worker_id, Committed(at, 0))
    assert len(environment.state.accesses) == 0
    return found


def main() -> None:
    quick = "--quick" in sys.argv
    memory.keep_freed_memory()
    memory.settle()
    console = Console(width=max(Console().width, 120))
    count = 300 if quick else 1500
    results: dict[str, Any] = {"throughput": [], "stages": {}, "growth": {}}

    table = Table(title="transactions per second", caption="in brackets: of what the same programs do on a dict")
    for column in ("program", "keys", "", "1 shard", "2 shards", "4 shards", "8 shards", "on a dict"):
        table.add_column(column, justify="right")
    for make, kind in ((in_python, "python"), (in_nock, "nock")):
        for keys in (1, 8, 64):
            for contended in (False, True):
                cells, alone = [], 0.0
                for shards in (1, 2, 4, 8):
                    found = throughput(make, shards, keys, max(count // keys, 60), contended)
                    results["throughput"].append(
                        {"kind": kind, "keys": keys, "contended": contended, "shards": shards, **found}
                    )
                    alone = found["dict"]
                    cells.append(f"{found['rate']:,.0f} ({found['rate'] / alone:.2f})")
                table.add_row(kind, str(keys), "contended" if contended else "disjoint", *cells, f"{alone:,.0f}")
    console.print(table)

    table = Table(title="where the time goes, in microseconds for one transaction")
    columns = [("python, 1 key", in_python, 1), ("nock, 1 key", in_nock, 1), ("python, 16 keys", in_python, 16)]
    found_stages = {name: stages_of(make, 2, keys, count // keys) for name, make, keys in columns}
    results["stages"] = found_stages
    table.add_column("stage")
    for name, _, _ in columns:
        table.add_column(name, justify="right")
    for stage in sorted({stage for found in found_stages.values() for stage in found}):
        table.add_row(stage, *(f"{found_stages[name].get(stage, 0):,.0f}" for name, _, _ in columns))
    console.print(table)

    results["latency_ms"] = latencies(30 if quick else 200)
    console.print(
        "one at a time: " + ", ".join(f"{what} after {ms:.1f} ms" for what, ms in results["latency_ms"].items())
    )

    table = Table(title="growth")
    for column in ("versions stored", "transactions per second", "versions of one key", "microseconds in its shard"):
        table.add_column(column, justify="right")
    node_growth = growth_of_a_node(5, count)
    key_growth = growth_of_a_key([100, 1000, 5000] if quick else [100, 1000, 10_000, 50_000, 100_000], 300)
    results["growth"] = {"node": node_growth, "key": key_growth}
    for (stored, rate), (versions, took) in zip(node_growth, key_growth, strict=False):
        table.add_row(f"{stored:,}", f"{rate:,.0f}", f"{versions:,}", f"{took:.0f}")
    console.print(table)
    if "--json" in sys.argv:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
