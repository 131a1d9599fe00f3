"""The ordering engines as processes of a node, under a supervisor, with a ledger on a disk; and what kills do to them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from anoma.programs import ABSENT, Write
from engines import engine_of
from engines.engine import Refused, ask, tell
from engines.executor.messages import ExecutorFinished
from engines.ledger import server as ledger
from engines.ledger.behaviour import Backend, LedgerSettings
from engines.mempool_worker import server as worker
from engines.mempool_worker.behaviour import MempoolWorkerSettings, _work
from engines.mempool_worker.messages import (
    MESSAGES,
    Rejection,
    Stage,
    TransactionAck,
    TransactionCandidate,
    TransactionLabel,
    TransactionRejected,
    TransactionRequest,
    TransactionStatus,
    UnwatchTransactions,
    WatchTransactions,
)
from engines.messages import EngineID, Envelope, decode_envelope, encode_envelope
from engines.shard import server as shard
from engines.shard.messages import KVSWrite
from erlang_bridge import ErlangExit, Node, OwnProcess
from erlang_bridge.otp.child_specs import ChildSpec, SupervisorFlags
from erlang_bridge.otp.supervisor import Supervisor
from erlang_bridge.terms import Atom
from tests.property.ordering.cases import PROGRAMS, Spec, interpret, random_spec
from tests.waiting import until

NAME = "ordering@127.0.0.1"
PYTHON, KILL = Atom("python"), Atom("kill")
ENGINES = {name: engine_of(f"engines.{name}") for name in ("ledger", "mempool_worker", "shard", "executor")}


def tree(shards: int, path: Path | None, **settings: Any) -> tuple[SupervisorFlags, list[ChildSpec]]:
    names = [f"shard-{number}" for number in range(shards)]
    often = {"intensity": 1000, "period_s": 1}
    kept = None if path is None else LedgerSettings(Backend.SQLITE, str(path))
    addresses = tuple(EngineID(None, name) for name in names)
    below = [ChildSpec(name, (ENGINES["shard"], None, {"name": name})) for name in names]
    return SupervisorFlags("rest_for_one", **often), [
        ChildSpec("ledger", (ENGINES["ledger"], kept, {"name": "ledger"})),
        ChildSpec(
            "mempool_worker",
            (
                ENGINES["mempool_worker"],
                MempoolWorkerSettings(addresses, **{"programs": PROGRAMS, **settings}),
                {"name": "mempool_worker"},
            ),
        ),
        ChildSpec("shards", (Supervisor, (SupervisorFlags("one_for_one", **often), below)), type="supervisor"),
    ]


@contextmanager
def ordering(shards: int = 2, path: Path | None = None, **settings: Any) -> Iterator[Node]:
    with Node(NAME, cookie="secret", listen=False, engines=ENGINES) as node:
        node.start(Supervisor, tree(shards, path, **settings), name="ordering_sup")
        assert until(lambda: worker.status(node).ready and not worker.status(node).missing_shards)
        yield node


def add(key: bytes, amount: int, id_: bytes | None = None) -> TransactionCandidate:
    return TransactionCandidate(TransactionLabel((key,), (key,)), (PYTHON, b"add", [(key, amount)]), id_)


STANDARD: dict[str, Any] = {"programs": None}


def test_a_transaction_from_the_request_to_the_block():
    with ordering(**STANDARD) as node:
        ack = worker.submit(node, add(b"a", 5))
        assert (ack.fingerprint, ack.batch_number, ack.resubmitted) == (1, 1, False)
        assert until(lambda: worker.transaction_status(node, 1).stage is Stage.COMMITTED)
        status = worker.transaction_status(node, 1)
        assert (status.success, status.values_read, status.values_written) == (True, ((b"a", ABSENT),), ((b"a", 5),))
        assert status.round == 1
        assert ledger.read(node, b"a", 1) == 5
        assert worker.transaction_status(node, 2) == TransactionStatus(Stage.UNKNOWN, 0)
        assert until(lambda: sum(shard.status(node, f"shard-{n}").committed for n in range(2)) == 2)
        assert sum(shard.status(node, f"shard-{n}").versions for n in range(2)) == 0


def test_two_requests_with_one_id_are_one_transaction():
    with ordering(**STANDARD) as node:
        assert worker.submit(node, add(b"a", 5, b"one")).fingerprint == 1
        again = worker.submit(node, add(b"a", 5, b"one"))
        assert (again.fingerprint, again.resubmitted) == (1, True)
        assert until(lambda: worker.status(node).committed == 1)
        assert worker.submit(node, add(b"a", 5, b"one")).fingerprint == 1
        assert worker.transaction_status(node, id=b"one").stage is Stage.COMMITTED
        with pytest.raises(worker.Rejected, match="another transaction has this id") as refused:
            worker.submit(node, add(b"a", 6, b"one"))
        assert refused.value.rejection.reason is Rejection.ID_TAKEN
        answer = ask(node, "mempool_worker", TransactionRequest(add(b"a", 5, b"one"), resubmission=1))
        assert isinstance(answer, TransactionAck)
        assert answer.fingerprint == 1
        answer = ask(node, "mempool_worker", TransactionRequest(add(b"a", 9), resubmission=1))
        assert isinstance(answer, TransactionRejected)
        answer = ask(node, "mempool_worker", TransactionRequest(add(b"a", 9), resubmission=7))
        assert isinstance(answer, TransactionRejected)
        assert "expected a fingerprint that has been given" in answer.text
        assert worker.status(node).last_fingerprint == 1


@pytest.mark.parametrize(
    ("candidate", "told"),
    [
        (TransactionCandidate(TransactionLabel((b"a",), (), (b"a",)), (PYTHON, b"add", [])), "both eager and lazy"),
        (
            TransactionCandidate(TransactionLabel((), (1.5,)), (PYTHON, b"add", [])),
            "an atom, or a tuple of those as key",
        ),
        (TransactionCandidate(TransactionLabel((), ([1],)), (PYTHON, b"add", [])), "of those as key"),
        (TransactionCandidate(TransactionLabel(), (PYTHON, b"no", [])), "registered are: add, copy, put"),
        (TransactionCandidate(TransactionLabel(), (Atom("perl"), b"no")), "with one of nock, nockma, python"),
        (TransactionCandidate(TransactionLabel(), 7), "expected {Kind, ...} as executable"),
        (TransactionCandidate(TransactionLabel(), (PYTHON, b"add", [object()])), "object"),
        (TransactionCandidate(TransactionLabel(), (Atom("nock"), [1, 0], 10**9)), "at most 1000 as gas"),
    ],
)
def test_what_could_never_be_run_is_rejected_in_words(candidate: TransactionCandidate, told: str):
    with Node(NAME, cookie="secret", listen=False, engines=ENGINES) as node:
        settings = MempoolWorkerSettings(most_gas=1000)
        node.start(ENGINES["mempool_worker"], settings, name="mempool_worker")
        answers: list[Any] = []

        def client(own: OwnProcess) -> None:
            # As an engine sends it: what is no term is not encoded on the way.
            request = Envelope(own.pid, EngineID(None, "mempool_worker"), TransactionRequest(candidate))
            own.send("mempool_worker", request)
            answers.append(decode_envelope(own.receive(timeout_s=5), MESSAGES).message)

        node.spawn(client)
        assert until(lambda: answers)
        assert isinstance(answers[0], TransactionRejected)
        assert answers[0].reason is Rejection.BAD_REQUEST
        assert told in answers[0].text


def test_a_key_of_any_depth_is_rejected():
    deep: Any = ()
    for _ in range(1_000_000):
        deep = (deep,)
    with pytest.raises(ValueError, match="of those as key"):
        _work(TransactionCandidate(TransactionLabel((deep,)), (PYTHON, b"read", [])), MempoolWorkerSettings(), NAME)


def test_what_the_ledger_could_never_store_is_rejected(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engines.mempool_worker.behaviour.MOST_BYTES", 1000)
    candidate = TransactionCandidate(TransactionLabel((), (b"a",)), (PYTHON, b"put", [(b"a", bytes(1000))]))
    with pytest.raises(ValueError, match="at most 1000 bytes"):
        _work(candidate, MempoolWorkerSettings(), NAME)


def test_a_function_of_the_resource_machine_has_the_gas_that_the_node_gives():
    candidate = TransactionCandidate(TransactionLabel(), (Atom("resource_machine"), [[1, 0], 0], 1001))
    with pytest.raises(ValueError, match="at most 1000 as gas"):
        _work(candidate, MempoolWorkerSettings(most_gas=1000), NAME)


def test_numbers_of_any_size_end_nobody():
    with ordering(**STANDARD) as node:
        before = [node.whereis(name) for name in ("ledger", "mempool_worker")]
        with pytest.raises(Refused, match="expected a natural number below"):
            ledger.block(node, 10**5000)
        answer = ask(node, "mempool_worker", TransactionRequest(add(b"a", 1), resubmission=10**5000))
        assert isinstance(answer, TransactionRejected)
        assert [node.whereis(name) for name in ("ledger", "mempool_worker")] == before


def test_what_no_ledger_can_store_fails_its_own_transaction():
    def infinite() -> Any:
        yield Write(b"a", float("inf"))

    def unspeakable() -> Any:
        yield Write(b"a", 1)
        raise ValueError("\ud800")

    with ordering(programs={"infinite": infinite, "unspeakable": unspeakable}) as node:
        for name in (b"infinite", b"unspeakable"):
            worker.submit(node, TransactionCandidate(TransactionLabel((), (b"a",)), (PYTHON, name, [])))
        assert until(lambda: worker.status(node).committed == 2)
        assert [worker.transaction_status(node, number).success for number in (1, 2)] == [False, False]


def test_what_strangers_send_to_a_shard_is_not_kept():
    with ordering(1, **STANDARD) as node:
        for sender in (None, EngineID("x@y", "executor-9"), EngineID(None, "executor-9")):
            write = KVSWrite(9, b"a", 1)
            node.cast("shard-0", encode_envelope(Envelope(sender, EngineID(None, "shard-0"), write)))
        shard.status(node, "shard-0")
        pid = node.whereis("shard-0")
        assert pid is not None
        process: Any = node.table.find(pid)
        assert not process.instance.environment.state.parked


def test_a_shard_is_heard_though_the_clock_was_set_back(monkeypatch: pytest.MonkeyPatch):
    with ordering(**STANDARD) as node:
        before = node.whereis("shard-0")
        now = time.time()
        monkeypatch.setattr("engines.engine.time.time", lambda: now - 3600)
        node.exit(before, KILL)
        assert until(lambda: node.whereis("shard-0") not in (None, before))
        for number in range(3):
            worker.submit(node, add(b"%d" % number, 1))
        assert until(lambda: worker.status(node).committed == 3)


def test_more_than_is_taken_is_rejected():
    # Without a ledger nothing is ever accepted.
    with Node(NAME, cookie="secret", listen=False, engines=ENGINES) as node:
        node.start(ENGINES["mempool_worker"], MempoolWorkerSettings(most_in_flight=3), name="mempool_worker")
        for number in range(3):
            tell(node, "mempool_worker", TransactionRequest(add(b"a", number)))
        with pytest.raises(worker.Rejected, match="3 transactions are under way") as refused:
            worker.submit(node, add(b"a", 3))
        assert refused.value.rejection.reason is Rejection.OVERLOADED
        assert worker.status(node).waiting == 3


def test_those_who_watch_hear_of_each_stage():
    with ordering(**STANDARD) as node:
        heard: list[Any] = []

        def watcher(own: OwnProcess) -> None:
            def say(message: Any) -> None:
                own.send(
                    "mempool_worker", encode_envelope(Envelope(own.pid, EngineID(None, "mempool_worker"), message))
                )

            say(WatchTransactions())
            say(TransactionRequest(add(b"a", 1)))
            while not (heard and isinstance(heard[-1], TransactionStatus) and heard[-1].stage is Stage.COMMITTED):
                heard.append(decode_envelope(own.receive(timeout_s=5), MESSAGES).message)
            say(WatchTransactions(1))
            heard.append(decode_envelope(own.receive(timeout_s=5), MESSAGES).message)
            say(UnwatchTransactions())

        node.spawn(watcher)
        assert until(lambda: len(heard) >= 6)
        stages = [message.stage for message in heard if isinstance(message, TransactionStatus)]
        assert stages == [Stage.ACCEPTED, Stage.FINISHED, Stage.COMMITTED, Stage.COMMITTED]
        assert sum(isinstance(message, TransactionAck) for message in heard) == 1
        (end,) = [message for message in heard if isinstance(message, ExecutorFinished)]
        assert end.values_written == ((b"a", 1),)


def test_from_erlang_in_the_plain_form():
    with ordering(**STANDARD) as node:
        label = (Atom("transaction_label"), {Atom("read"): [b"a"], Atom("write"): [b"a"]})
        fields = {Atom("label"): label, Atom("executable"): (PYTHON, b"add", [(b"a", 2)])}
        request = (Atom("transaction_request"), {Atom("tx"): (Atom("transaction_candidate"), fields)})
        tag, answer = node.call("mempool_worker", request)
        assert tag is Atom("transaction_ack")
        assert answer[Atom("fingerprint")] == 1
        assert until(lambda: worker.status(node).committed == 1)
        tag, answer = node.call("mempool_worker", (Atom("transaction_status_request"), {Atom("fingerprint"): 1}))
        assert answer[Atom("stage")] is Atom("committed")
        assert answer[Atom("values_read")] == [(b"a", Atom("absent"))]


def test_it_goes_on_where_it_was(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    for round_ in range(3):
        with ordering(1 + round_, path, **STANDARD) as node:
            assert worker.status(node).last_fingerprint == 2 * round_
            for _ in range(2):
                worker.submit(node, add(b"a", 1))
            assert until(lambda: worker.status(node).committed == worker.status(node).last_fingerprint)
            assert worker.transaction_status(node, 2 * round_ + 2).values_written == ((b"a", 2 * round_ + 2),)


# -- kills ------------------------------------------------------------------------------------


def kill_something(node: Node, rng: random.Random) -> int:
    """End one of the engines, at whatever it is. How many that were."""
    executors = [name.name for name in list(node.table.names) if name.name.startswith("executor-")]
    shards = [name.name for name in list(node.table.names) if name.name.startswith("shard-")]
    name = rng.choice(rng.choice([["ledger"], ["mempool_worker"], shards or [""], executors or [""]]))
    pid = node.whereis(name) if name else None
    if pid is None:
        return 0
    node.exit(pid, KILL)
    return 1


def submitted(node: Node, candidate: TransactionCandidate) -> int:
    """Send it until it is accepted, as a client does whose answer got lost."""
    deadline = gevent.Timeout(20)
    with deadline:
        while True:
            try:
                return worker.submit(node, candidate, timeout_s=0.3).fingerprint
            except (ErlangExit, worker.Rejected):
                gevent.sleep(0.01)


@pytest.mark.fault
@pytest.mark.parametrize("seed", range(4))
def test_kills_change_nothing(seed: int, tmp_path: Path):
    rng = random.Random(seed)
    keys = [b"key-%d" % number for number in range(6)]
    specs = [replace(random_spec(rng, keys), id=b"id-%d" % number) for number in range(60)]
    order: dict[int, Spec] = {}
    with ordering(1 + seed, tmp_path / "ledger.sqlite", most_attempts=1000) as node:
        going, kills = True, 0

        def killer() -> None:
            nonlocal kills
            while going and kills < 30:
                gevent.sleep(rng.random() * 0.05)
                kills += kill_something(node, rng)

        def client(own_specs: list[Spec]) -> None:
            for spec in own_specs:
                fingerprint = submitted(node, spec.candidate())
                assert fingerprint not in order
                order[fingerprint] = spec

        clients = [gevent.spawn(client, specs[part::4]) for part in range(4)]
        killing = gevent.spawn(killer)
        gevent.joinall(clients, timeout=40, raise_error=True)
        going = False
        killing.join()
        assert kills > 3
        assert sorted(order) == list(range(1, 61))
        assert until(_quietly(lambda: worker.status(node).committed == 60), 20)
        store: dict[Any, Any] = {}
        for fingerprint in range(1, 61):
            expected = interpret(order[fingerprint], store)
            done = ledger.transaction(node, fingerprint).transaction
            assert done is not None
            assert (done.success, dict(done.reads), dict(done.writes)) == (
                expected.success,
                expected.reads,
                expected.writes,
            ), (fingerprint, order[fingerprint], done)
            store.update(expected.writes)
        for key, value in store.items():
            assert ledger.read(node, key, 60) == value


def _quietly(condition: Callable[[], bool]) -> Callable[[], bool]:
    def try_it() -> bool:
        try:
            return condition()
        except ErlangExit:
            return False

    return try_it
