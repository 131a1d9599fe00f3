"""``pyanoma tx``, ``block`` and the rest of an Anoma node's life, against ``pyanoma start``."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from engines.mempool_worker.messages import Stage, TransactionCandidate, TransactionLabel, TransactionStatus
from engines.mempool_worker.server import WORKER, transaction_status
from engines.mempool_worker.server import status as worker_status
from engines.mempool_worker.server import submit as submit_to
from erlang_bridge import Atom, BridgeError, Node
from erlang_bridge.testing.programs import clean_environment, free_port
from pyanoma.transactions import following
from tests.python_nodes import ROOT

NAME = "ledger@127.0.0.1"
PUT = ("--program", "put", "--args", "[{apples, 5}]", "--write", "apples")


class Place:
    """A node's place: its home, its port of epmd, and the command line there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = clean_environment(
            folder, ERL_EPMD_PORT=str(free_port()), PYANOMA_COOKIE="secret", PYTHONPATH=str(ROOT)
        )
        self.node: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "pyanoma", "start", "--name", NAME, "--exit-with-stdin", *arguments]
        self.node = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment,
            cwd=self.folder,
        )
        assert self.node.stdout is not None
        return self.node.stdout.readline()

    def end(self, number: signal.Signals | None = signal.SIGTERM) -> int:
        assert self.node is not None
        if number is not None:
            self.node.send_signal(number)
        status = self.node.wait(15)
        assert self.node.stdin is not None
        assert self.node.stdout is not None
        self.node.stdin.close()
        self.node.stdout.close()
        self.node = None
        return status

    def pyanoma(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pyanoma", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            env=self.environment,
            cwd=self.folder,
            check=False,
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    if made.node is not None:
        made.end(signal.SIGKILL)


def submit(place: Place, *arguments: str) -> dict[str, Any]:
    done = place.pyanoma("tx", "submit", NAME, *arguments, "--json")
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_transactions_and_blocks(place: Place):
    assert place.start().startswith("READY")
    done = place.pyanoma("tx", "submit", NAME, *PUT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1 accepted\n")
    assert done.stdout.endswith("1 committed in block 1, done, wrote apples = 5\n")

    keys = ("--read", "apples", "--read", "pears", "--write", "apples", "--write", "pears")
    moved = submit(place, "--program", "transfer", "--args", "[apples, pears, 2]", *keys)
    assert moved["read"] == {"apples": "5", "pears": "absent"}
    assert moved["written"] == {"apples": "3", "pears": "2"}
    assert (moved["fingerprint"], moved["stage"], moved["round"]) == (2, "committed", 2)

    failed = place.pyanoma("tx", "submit", NAME, "--program", "transfer", "--args", "[apples, pears, 9]", *keys)
    assert failed.returncode == 1
    assert "expected an amount from 0 to 3, which is what there is, got 9" in failed.stdout

    status = place.pyanoma("tx", "status", NAME, "2")
    assert status.stdout == (
        "2 committed in block 2, done, read apples = 5, pears = absent, wrote apples = 3, pears = 2\n"
    )
    unknown = place.pyanoma("tx", "status", NAME, "9")
    assert (unknown.returncode, unknown.stdout) == (1, "unknown: accepted by nobody\n")

    shown = place.pyanoma("block", "show", NAME, "2", "--json")
    (transaction,) = json.loads(shown.stdout)["transactions"]
    assert transaction["written"] == {"apples": "3", "pears": "2"}
    assert "transfer failed" in place.pyanoma("block", "show", NAME).stdout
    none = place.pyanoma("block", "show", NAME, "7")
    assert (none.returncode, none.stderr) == (1, f"{NAME} has no block 7\n")
    assert place.end() == 0


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("--program", "nobody"), 1, "expected the name of a registered program"),
        (("--program", "put", "--nock", "1"), 2, "expected one of --program, --nock and --executable"),
        (("--program", "put", "--args", "[{"), 2, "expected a term, at character 3"),
        (("--executable", "{cobol, 1}"), 1, "with one of nock, nockma, python, resource_machine as kind"),
        ((*PUT, "--lazy-read", "x", "--read", "x"), 1, "x"),
        (
            ("--program", "put", "--may-write", '{<<"anoma">>, <<"roots">>, 1}'),
            1,
            "only the resource machine writes keys",
        ),
    ],
)
def test_what_cannot_be_submitted(shared_place: Place, arguments: tuple[str, ...], status: int, says: str):
    done = shared_place.pyanoma("tx", "submit", NAME, *arguments)
    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("shared"))
    assert made.start("--storage", "memory").startswith("READY")
    yield made
    made.end()


def test_the_same_id_twice_is_one_transaction(shared_place: Place):
    first = submit(shared_place, *PUT, "--id", "mine", "--no-wait")
    again = submit(shared_place, *PUT, "--id", "mine", "--no-wait")
    assert again == {**first, "resubmitted": True}
    other = shared_place.pyanoma("tx", "submit", NAME, "--program", "put", "--id", "mine")
    assert other.returncode == 1
    assert "another transaction has this id" in other.stderr
    found = shared_place.pyanoma("tx", "status", NAME, "--id", "mine", "--json")
    assert json.loads(found.stdout)["fingerprint"] == first["fingerprint"]


def test_watch(shared_place: Place):
    watching = subprocess.Popen(
        [sys.executable, "-m", "pyanoma", "tx", "watch", NAME, "--json", "--for", "15"],
        stdout=subprocess.PIPE,
        text=True,
        env=shared_place.environment,
        cwd=shared_place.folder,
    )
    heard: list[dict[str, Any]] = []
    assert watching.stdout is not None
    reader = threading.Thread(target=lambda: heard.extend(map(json.loads, watching.stdout or ())), daemon=True)
    reader.start()
    try:
        for _ in range(5):
            fingerprint = submit(shared_place, *PUT)["fingerprint"]
            if any(told["fingerprint"] == fingerprint for told in heard):
                break
        stages = [told["stage"] for told in heard if told["fingerprint"] == fingerprint]
        assert stages[-1] == "committed"
    finally:
        watching.kill()
        watching.wait(10)
        reader.join(10)
        watching.stdout.close()


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_nothing_committed_is_lost_when_the_node_is_killed(place: Place, record_property: Any):
    """Kills the node with -9 at random instants until there are 200 blocks."""
    seed = random.randrange(2**32)
    record_property("seed", seed)
    chance = random.Random(seed)
    port = int(place.environment["ERL_EPMD_PORT"])
    acknowledged: dict[int, int] = {}
    committed: dict[int, TransactionStatus] = {}
    lives = 0
    while max((status.round or 0 for status in committed.values()), default=0) < 200:
        lives += 1
        place.start()
        with Node("watcher@127.0.0.1", cookie="secret", listen=False, epmd_port_number=port) as client:
            client.connect(NAME)
            with following(client, NAME) as follower:
                callers = [gevent.spawn(keep_submitting, client, key, acknowledged) for key in range(4)]
                until = len(committed) + chance.randrange(10, 80)
                try:
                    while len(committed) < until:
                        told = follower.next(10)
                        assert told is not None
                        if told.stage is Stage.COMMITTED:
                            assert committed.setdefault(told.fingerprint, told) == told
                    gevent.sleep(chance.random() * 0.02)
                    assert place.end(signal.SIGKILL) == -signal.SIGKILL
                finally:
                    gevent.killall(callers)
    place.start()
    with Node("watcher@127.0.0.1", cookie="secret", listen=False, epmd_port_number=port) as client:
        client.connect(NAME)
        worker = (WORKER, NAME)
        while (state := worker_status(client, worker)).in_flight or not state.ready:
            gevent.sleep(0.05)
        assert max(acknowledged) <= state.committed
        added: dict[int, int] = {}
        for fingerprint in range(1, state.committed + 1):
            found = transaction_status(client, fingerprint, worker=worker)
            assert found.stage is Stage.COMMITTED
            assert fingerprint not in committed or committed[fingerprint] == found
            ((key, value),) = found.values_written
            added[key] = added.get(key, 0) + 1
            assert value == added[key]
            assert acknowledged.get(fingerprint, key) == key
    assert lives > 3, f"seed {seed}"
    assert place.end() == 0
    checked = place.pyanoma("storage", "verify", str(ledger_of(place)))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def keep_submitting(client: Node, key: int, acknowledged: dict[int, int]) -> None:
    executable = (Atom("python"), Atom("add"), [(key, 1)])
    candidate = TransactionCandidate(TransactionLabel((key,), (key,)), executable)
    while True:
        try:
            acknowledged[submit_to(client, candidate, (WORKER, NAME)).fingerprint] = key
        except BridgeError:
            return


def ledger_of(place: Place) -> Path:
    return place.folder / f".local/share/pyanoma/{NAME}.sqlite"


def test_a_second_node_cannot_have_the_ledger(place: Place):
    place.start()
    other = place.pyanoma("start", "--name", "other@127.0.0.1", "--storage-path", str(ledger_of(place)))
    assert other.returncode == 1
    assert "ledger does not start" in other.stderr
    assert NAME in other.stderr
