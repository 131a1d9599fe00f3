"""The end of a node: trees in order, everybody who waits is woken, nothing hangs afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, ErlangExit, GenServer, Node, NoReply, Supervisor
from erlang_bridge.errors import NoConnection
from erlang_bridge.otp.child_specs import ChildSpec, SupervisorFlags
from erlang_bridge.testing.peers import ScriptedPeer
from tests.servers import Counter

SHUTDOWN = Atom("shutdown")


@pytest.fixture
def node() -> Iterator[Node]:
    with Node("under_test@127.0.0.1", cookie="memory", listen=False) as node:
        yield node


class Teller(GenServer):
    """Tells when it ends, and takes its time."""

    trap_exit = True

    def terminate(self, reason: Any, state: Any) -> None:
        name, told, seconds = state
        gevent.sleep(seconds)
        told.append((name, reason))


class Owner(GenServer):
    """Starts a supervisor, and is none."""

    def init(self, args: Any) -> Any:
        self.node.start(Supervisor, args)
        return args


class Stopper(GenServer):
    def handle_cast(self, message: Any, state: Any) -> Any:
        self.node.stop()
        return NoReply(state)


def tree(told: list[Any], *names: str, seconds: float = 0.02, **options: Any) -> Any:
    return SupervisorFlags(), [ChildSpec(name, (Teller, (name, told, seconds)), **options) for name in names]


def test_trees_end_in_reverse_start_order(node: Node) -> None:
    told: list[Any] = []
    node.start(Supervisor, tree(told, "a", "b"))
    inner = ChildSpec("inner", (Supervisor, tree(told, "d", "e")))
    node.start(Supervisor, (SupervisorFlags(), [*tree(told, "c")[1], inner, *tree(told, "f")[1]]))
    node.start(Owner, tree(told, "g"))
    node.stop()
    assert told == [(name, SHUTDOWN) for name in "gfedcba"]


def test_a_child_that_lingers_is_killed_in_its_time(node: Node) -> None:
    told: list[Any] = []
    node.start(Supervisor, tree(told, "slow", seconds=10, shutdown_ms=50))
    with gevent.Timeout(3):
        node.stop()
    assert told == []


def test_the_whole_is_bounded(node: Node) -> None:
    told: list[Any] = []
    node.start(Supervisor, tree(told, "slow", seconds=10, shutdown_ms=10_000))
    with gevent.Timeout(3):
        node.stop(0.1)
    assert told == []


def test_stop_in_a_process(node: Node) -> None:
    node.spawn(lambda own: node.stop())
    assert node.wait(2)


def test_stop_in_a_supervised_process(node: Node) -> None:
    told: list[Any] = []
    flags, children = tree(told, "a")
    node.start(Supervisor, (flags, [*children, ChildSpec("stopper", (Stopper, None, {"name": "stopper"}))]))
    node.cast("stopper", None)
    assert node.wait(2)
    assert told == [("a", SHUTDOWN)]


def test_stop_in_the_hub(node: Node) -> None:
    gevent.get_hub().loop.run_callback(node.stop)
    assert node.wait(2)


def test_stop_twice_at_once(node: Node) -> None:
    told: list[Any] = []
    node.start(Supervisor, tree(told, "a"))
    first = gevent.spawn(node.stop)
    gevent.sleep(0.01)
    node.stop()
    assert told == [("a", SHUTDOWN)]
    first.join()


def test_who_calls_another_node_hears_of_it(node: Node) -> None:
    failures: list[ErlangExit] = []

    def failing(function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        except ErlangExit as error:
            failures.append(error)

    with ScriptedPeer(node) as peer:
        calls = [
            gevent.spawn(failing, node.call, peer.pid, Atom("ask"), None),
            gevent.spawn(failing, node.rpc, peer.name, "m", "f", [], None),
            gevent.spawn(failing, node.put_chars, peer.pid, "text"),
        ]
        gevent.sleep(0.05)
        node.stop()
        gevent.joinall(calls, timeout=2)
        assert len(failures) == 3


def test_a_stopped_node_refuses() -> None:
    node = Node("under_test@127.0.0.1", cookie="memory", listen=False)
    node.stop()
    with gevent.Timeout(2):
        with pytest.raises(NoConnection):
            node.call(("name", "other@127.0.0.1"), Atom("ask"), None)
        with pytest.raises(NoConnection):
            node.rpc("other@127.0.0.1", "m", "f", [], None)
        with pytest.raises(ErlangExit):
            node.start(Counter, 0)
