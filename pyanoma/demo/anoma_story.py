"""The second part of the demo: transactions and intents on an Anoma node, engines that crash, a node that is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any, Final

import gevent

from anoma.resource_machine.building import Offer, ephemeral
from anoma.resource_machine.transaction import Transaction
from engines.intent_pool.server import INTENT_POOL, add_intent, all_intents
from engines.ledger.records import Block
from engines.ledger.server import LEDGER, block
from engines.mempool_worker.messages import Stage, TransactionCandidate, TransactionLabel, TransactionStatus
from engines.mempool_worker.server import WORKER, submit
from erlang_bridge import Atom, Pid
from erlang_bridge.terms.text import parse_term
from pyanoma.demo.nodes import ANOMA_NAME, Cluster, PythonNode
from pyanoma.demo.screen import DemoFailed, Screen
from pyanoma.transactions import Follower, following, status_text

TIME_S: Final = 10.0
ALICE: Final = Atom("alice")
BOB: Final = Atom("bob")


class AnomaStory:
    """The Anoma node's part of the demo.

    Raises:
        DemoFailed: something did not come out as it should.
    """

    def __init__(self, screen: Screen, nodes: Cluster) -> None:
        self.screen = screen
        self.nodes = nodes
        self.client = nodes.client

    def tell(self) -> PythonNode:
        """All of it. Returns the node as it is at the end."""
        node = self.nodes.start_anoma()
        self.transactions(node)
        self.crash()
        self.intents()
        return self.killed(node)

    # -- chapters -------------------------------------------------------------------------------

    def transactions(self, node: PythonNode) -> None:
        self.screen.chapter("An Anoma node: transactions, ordered, run, and put into blocks")
        self.screen.table([(ANOMA_NAME, f"process {node.pid}", "pyanoma start: all engines, and a ledger in SQLite")])
        with self.follow() as follower:
            self.transaction(follower, "put", "[{alice, 10}]", write=("alice",))
            first = self.transaction(
                follower, "transfer", "[alice, bob, 4]", read=("alice", "bob"), write=("alice", "bob")
            )
            self.expect_accounts(first.values_written, 6, 4)
            failed = self.transaction(
                follower, "transfer", "[bob, alice, 100]", read=("alice", "bob"), write=("alice", "bob"), succeeds=False
            )
            self.screen.expect(not failed.values_written, "the one that failed has written nothing")
            nock = self.submit("{nock, [[1, 0, [1, [42 | 7] | 0], 0 | 909], 0 | 707]}", (), (42,))
            done = self.committed(follower, nock)
            self.screen.expect(bool(done.success), "a program in Nock has written 7 under the key 42")

    def crash(self) -> None:
        self.screen.chapter("Engines crash, and nothing is lost")
        for name in ("shard-0", "shard-1", WORKER):
            before = self.pid_of(name)
            assert before is not None
            self.client.exit(before, Atom("kill"))
            self.wait(partial(self.is_back, name, before), f"{name} is back")
            self.screen.fact(f"{name} was killed, and its supervisor has started another one")
        with self.follow() as follower:
            last = self.transaction(
                follower, "transfer", "[bob, alice, 1]", read=("alice", "bob"), write=("alice", "bob")
            )
            self.expect_accounts(last.values_written, 7, 3)

    def intents(self) -> None:
        self.screen.chapter("Intents: three people, each wants what another one gives")
        kinds = ("apples", "pears", "plums")
        with self.follow() as follower:
            for number, (gives, wants) in enumerate(zip(kinds, (*kinds[1:], kinds[0]), strict=True)):
                offer = Offer(ephemeral(gives.encode(), 3, 10 + number), ephemeral(wants.encode(), 3, 20 + number))
                intent: Transaction = offer.to_intent()
                serial = add_intent(self.client, intent, (INTENT_POOL, ANOMA_NAME))
                self.screen.said("py", f"add_intent: gives 3 {gives}, wants 3 {wants}", f"intent {serial}")
            found = self.next_committed(follower)
            self.screen.note("the solver has composed them, and submitted the composition as a transaction:")
            self.screen.fact(f"transaction {found.fingerprint} is in block {found.round}, done")
            self.screen.expect(bool(found.success), "it is balanced, and consumes no resource twice", quiet=True)
        self.wait(lambda: not all_intents(self.client, (INTENT_POOL, ANOMA_NAME)), "the pool is empty again")
        self.screen.fact("what is done has left the pool")

    def killed(self, node: PythonNode) -> PythonNode:
        self.screen.chapter("kill -9, and what was committed is there")
        before = self.block()
        node.kill()
        self.screen.note(f"process {node.pid} was killed with SIGKILL")
        again = self.nodes.start_anoma()
        self.screen.note(f"pyanoma start: process {again.pid}")
        self.screen.expect(
            self.block(before.round) == before,
            f"block {before.round} is there, with the same hash {before.hash.hex()[:16]}…",
        )
        with self.follow() as follower:
            status = self.transaction(follower, "read", "[alice, bob]", read=("alice", "bob"))
            self.screen.expect(status.fingerprint > before.last, f"heights continue: {status.fingerprint}")
            self.expect_accounts(status.values_read, 7, 3)
        return again

    # -- pieces ---------------------------------------------------------------------------------

    @contextmanager
    def follow(self) -> Iterator[Follower]:
        with following(self.client, ANOMA_NAME) as follower:
            yield follower

    def transaction(
        self,
        follower: Follower,
        program: str,
        arguments: str,
        *,
        read: tuple[str, ...] = (),
        write: tuple[str, ...] = (),
        succeeds: bool = True,
    ) -> TransactionStatus:
        """Submit one, wait until it is in a block, and show both."""
        keys = [tuple(map(Atom, names)) for names in (read, write)]
        fingerprint = self.submit(f"{{python, {program}, {arguments}}}", *keys)
        status = self.committed(follower, fingerprint)
        if status.success is not succeeds:
            raise DemoFailed(f"transaction {status_text(status)}")
        return status

    def submit(self, executable: str, read: tuple[Any, ...], write: tuple[Any, ...]) -> int:
        candidate = TransactionCandidate(TransactionLabel(read, write), parse_term(executable))
        ack = submit(self.client, candidate, (WORKER, ANOMA_NAME))
        self.screen.said("py", f"submit {executable}", f"accepted as {ack.fingerprint}")
        return ack.fingerprint

    def committed(self, follower: Follower, fingerprint: int) -> TransactionStatus:
        while (status := self.next_committed(follower)).fingerprint != fingerprint:
            pass
        self.screen.note(status_text(status))
        return status

    def next_committed(self, follower: Follower) -> TransactionStatus:
        deadline = monotonic() + TIME_S
        while (left_s := deadline - monotonic()) > 0:
            told = follower.next(left_s)
            if told is not None and told.stage is Stage.COMMITTED:
                return told
        raise DemoFailed(f"no transaction was put into a block within {TIME_S:g} s")

    def block(self, number: int = 0) -> Block:
        found = block(self.client, number, (LEDGER, ANOMA_NAME))
        if found is None:
            raise DemoFailed(f"{ANOMA_NAME} has no block {number or ''}")
        return found

    def is_back(self, name: str, before: Pid) -> bool:
        return self.pid_of(name) not in (None, before)

    def pid_of(self, name: str) -> Pid | None:
        pid = self.client.rpc(ANOMA_NAME, "erlang", "whereis", [Atom(name)])
        return pid if isinstance(pid, Pid) else None

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        deadline = monotonic() + TIME_S
        while not holds():
            if monotonic() > deadline:
                raise DemoFailed(f"this does not come true within {TIME_S:g} s: {what}")
            gevent.sleep(0.02)

    def expect_accounts(self, pairs: tuple[tuple[Any, Any], ...], alice: int, bob: int) -> None:
        """Check what Alice and Bob have."""
        self.screen.expect(dict(pairs) == {ALICE: alice, BOB: bob}, f"Alice has {alice}, Bob has {bob}")
