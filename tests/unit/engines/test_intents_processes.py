"""Intents as processes: from the pool through the solver to a block; and what kills, crashes and a slow optimiser cost."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from anoma.matching.problem import Match, Offer
from anoma.resource_machine.building import REFUSING_LOGIC, ephemeral, lasting, mint, transfer
from anoma.resource_machine.intent import DumbIntent
from anoma.resource_machine.transaction import Transaction
from engines import engine_of
from engines.engine import Refused
from engines.intent_pool import server as pool
from engines.intent_pool.behaviour import IntentPoolSettings
from engines.intent_pool.intents import Choice, Order
from engines.intent_pool.messages import Refusal
from engines.ledger.behaviour import Backend, LedgerSettings
from engines.mempool_worker import server as worker
from engines.mempool_worker.messages import Stage
from engines.solver import server as solver
from engines.solver.behaviour import SolverSettings, candidate_of
from engines.solver.worker_process import WorkerFailed, WorkerProcess
from erlang_bridge import Atom, Node
from erlang_bridge.otp.child_specs import ChildSpec, SupervisorFlags
from erlang_bridge.otp.supervisor import Supervisor
from tests.waiting import until

NAME = "intents@127.0.0.1"
NEEDED = ("ledger", "mempool_worker", "executor", "shard", "intent_pool", "solver")
ENGINES = {name: engine_of(f"engines.{name}") for name in NEEDED}
"""Found before any test begins: a library that one of them uses has a thread from its import on."""
KILL = Atom("kill")
FAST = {"gather_ms": 20, "time_limit_ms": 3000}


@contextmanager
def node_with(*engines: tuple[str, Any]) -> Iterator[Node]:
    """A node on which these run, in this order, under a supervisor."""
    children = [ChildSpec(name, (ENGINES[name.partition("-")[0]], args, {"name": name})) for name, args in engines]
    with Node(NAME, cookie="secret", listen=False, engines=ENGINES) as node:
        node.start(Supervisor, (SupervisorFlags("one_for_one", intensity=100, period_s=1), children), name="sup")
        yield node


@contextmanager
def whole(path: Path) -> Iterator[Node]:
    ledger = LedgerSettings(Backend.SQLITE, str(path))
    with node_with(
        ("ledger", ledger),
        ("mempool_worker", None),
        ("shard-0", None),
        ("intent_pool", IntentPoolSettings(ledger="ledger")),
        ("solver", SolverSettings(**FAST)),
    ) as node:
        assert until(lambda: worker.status(node).ready and not worker.status(node).missing_shards)
        yield node


def swap(give: bytes, want: bytes, nonce: int = 0) -> Transaction:
    return transfer([ephemeral(give, nonce=nonce)], [ephemeral(want, nonce=nonce)])


def test_intents_become_a_transaction_in_a_block_and_vanish(tmp_path: Path):
    ring = [swap(b"a", b"b", 1), swap(b"b", b"c", 2), swap(b"c", b"a", 3)]
    alone = swap(b"a", b"z")
    with whole(tmp_path / "ledger") as node:
        for intent in (alone, *ring):
            pool.add_intent(node, intent)
        assert until(lambda: pool.all_intents(node) == ((1, alone),), timeout_s=20)
        assert until(lambda: worker.transaction_status(node, 1).stage is Stage.COMMITTED)
        with pytest.raises(pool.IntentNotAccepted, match="nullifiers_present") as refused:
            pool.add_intent(node, ring[0])
        assert refused.value.reason is Refusal.NULLIFIERS_PRESENT
        assert until(lambda: solver.status(node).succeeded == 1)
        assert solver.unsolved(node) == (alone,)
    with whole(tmp_path / "ledger") as node:
        assert pool.all_intents(node, timeout_s=20) == ((1, alone),)
        with pytest.raises(pool.IntentNotAccepted, match="nullifiers_present"):
            pool.add_intent(node, ring[0])
        assert pool.add_intent(node, swap(b"z", b"a", 9)) > 1
        assert until(lambda: pool.all_intents(node) == (), timeout_s=20)


def test_a_match_that_fails_gives_its_intents_back(tmp_path: Path):
    coin = lasting(b"coin", 1, nonce=7)
    sells, buys = transfer([coin], [ephemeral(b"pear")]), transfer([ephemeral(b"pear")], [lasting(b"coin", 1, nonce=8)])
    with whole(tmp_path / "ledger") as node:
        pool.add_intent(node, sells)
        pool.add_intent(node, buys)
        # The coin is not there yet.
        assert until(lambda: solver.status(node).failed == 1, timeout_s=20)
        assert len(pool.all_intents(node)) == 2
        label = candidate_of(mint(coin), b"mint the coin")
        assert label is not None
        worker.submit(node, label)
        assert until(lambda: pool.all_intents(node) == (), timeout_s=20)
        assert worker.transaction_status(node, id=b"mint the coin").stage is Stage.COMMITTED


def test_who_is_to_blame_does_not_hold_up_the_others(tmp_path: Path):
    # It is the oldest, so that it is chosen first; and its coin is not there.
    bad = transfer([lasting(b"coin", 1, nonce=7)], [ephemeral(b"pear", nonce=1)])
    good = transfer([ephemeral(b"coin", nonce=2)], [ephemeral(b"pear", nonce=2)])
    buyer = transfer([ephemeral(b"pear", nonce=3)], [lasting(b"coin", 1, nonce=8)])
    with whole(tmp_path / "ledger") as node:
        for intent in (bad, good, buyer):
            pool.add_intent(node, intent)
        assert until(lambda: pool.all_intents(node) == ((1, bad),), timeout_s=20)


def test_without_a_solver_the_pool_goes_on_and_another_one_takes_all():
    with node_with(("intent_pool", None)) as node:
        pool.add_intent(node, DumbIntent(2))
        first = node.start(ENGINES["solver"], SolverSettings(**FAST), name="solver")
        assert until(lambda: solver.unsolved(node) == (DumbIntent(2),))
        node.exit(first, KILL)
        assert until(lambda: node.whereis("solver") is None)
        pool.add_intent(node, DumbIntent(5))
        pool.add_intent(node, Order((Choice((DumbIntent(-1),), maximum=10),)))
        node.start(ENGINES["solver"], SolverSettings(**FAST), name="solver")
        assert until(lambda: len(pool.all_intents(node)) == 1, timeout_s=20)
        assert [intent for _, intent in pool.all_intents(node)] == [Order((Choice((DumbIntent(-1),), maximum=3),))]


def test_a_pool_that_is_killed_is_found_again():
    with node_with(("intent_pool", None), ("solver", SolverSettings(**FAST))) as node:
        pool.add_intent(node, DumbIntent(2))
        assert until(lambda: solver.unsolved(node) == (DumbIntent(2),))
        before = node.whereis("intent_pool")
        assert before is not None
        node.exit(before, KILL)
        assert until(lambda: node.whereis("intent_pool") not in (None, before))
        pool.add_intent(node, DumbIntent(3))
        assert until(lambda: solver.unsolved(node) == (DumbIntent(3),))


def test_intents_that_are_wrong_leave_the_pool():
    wrong = transfer([ephemeral(b"a", logic=REFUSING_LOGIC)], [ephemeral(b"b")])
    right = transfer([ephemeral(b"b", nonce=1)], [ephemeral(b"a", nonce=1, logic=REFUSING_LOGIC)])
    with node_with(("intent_pool", None), ("solver", SolverSettings(**FAST))) as node:
        pool.add_intent(node, wrong)
        pool.add_intent(node, right)
        assert until(lambda: pool.all_intents(node) == (), timeout_s=20)
        assert solver.status(node).submitted == 0
        assert "logic" in (solver.status(node).problem or "")


def test_what_is_no_intent_is_refused():
    with node_with(("intent_pool", None)) as node:
        with pytest.raises(Refused, match="should be"):
            node_ask(node, (Atom("new_intent"), {Atom("intent"): 7}))
        assert pool.all_intents(node) == ()
        assert pool.remove_intent(node, DumbIntent(1)) is False


def node_ask(node: Node, request: Any) -> Any:
    match node.call("intent_pool", request):
        case (Atom("error"), reason):
            raise Refused(reason)
        case answer:
            return answer


# -- the process of the operating system ------------------------------------------------------

EASY = [Offer({"a": 1}), Offer({"a": -1})]
HARD = [Offer({"b": (-1) ** number * random.Random(number).getrandbits(60)}) for number in range(40)]


@pytest.fixture
def process() -> Iterator[WorkerProcess]:
    process = WorkerProcess()
    yield process
    process.close()


def test_a_run_and_a_verification(process: WorkerProcess):
    assert process.solve(EASY, 5.0).matches == (Match(((0, 1), (1, 1))),)
    first = process.pid
    assert process.verify([(DumbIntent(1),), (DumbIntent(-1),)]) == (None, ())
    problem, culprits = process.verify([(DumbIntent(1),)])
    assert problem is not None
    assert "balanced at 0" in problem
    assert culprits == ()
    assert process.pid == first


@pytest.mark.fault
def test_a_crash_costs_its_run_only(process: WorkerProcess):
    process.solve(EASY, 5.0)
    victim = process.pid
    assert victim is not None
    gevent.spawn_later(0.3, os.kill, victim, signal.SIGSEGV)
    outcome = process.solve(EASY + HARD, 20.0)
    # What was found before that is the answer.
    assert outcome.matches == (Match(((0, 1), (1, 1))),)
    assert not outcome.optimal
    gevent.spawn_later(0.5, lambda: os.kill(process.pid or 0, signal.SIGKILL))
    with pytest.raises(WorkerFailed, match="has ended"):
        process.solve(HARD, 20.0)
    assert process.solve(EASY, 5.0).optimal
    assert process.pid != victim


def test_a_run_can_be_cancelled(process: WorkerProcess):
    gevent.spawn_later(0.8, process.cancel)
    outcome = process.solve(EASY + HARD, 30.0)
    assert not outcome.optimal
    assert outcome.bound == 42


def test_the_solver_stops_on_request_and_takes_its_process_with_it():
    with node_with(("intent_pool", None), ("solver", SolverSettings(gather_ms=0, time_limit_ms=30_000))) as node:
        for offer in HARD:
            pool.add_intent(node, DumbIntent(offer.delta["b"]))
        assert until(lambda: solver.status(node).solving > 1)
        running = node.table.find(node.whereis("solver")).instance._worker  # type: ignore[union-attr, arg-type]
        assert until(lambda: running.pid is not None)
        # Others are served meanwhile.
        assert pool.add_intent(node, DumbIntent(1)) == 41
        solver.stop_solving(node)
        assert until(lambda: not solver.status(node).optimal or solver.status(node).problem is not None, timeout_s=20)
        pid = running.pid
        victim = node.whereis("solver")
        assert victim is not None
        node.exit(victim, KILL)
        assert until(lambda: node.whereis("solver") not in (None, victim))
        assert pid is None or until(lambda: not Path(f"/proc/{pid}").exists())
