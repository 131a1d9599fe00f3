"""Clusters of Python nodes alone: names, locks, meetings, partings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult, Event

from erlang_bridge import Atom, CallTimeout, ErlangExit, EtfEncodeError, Export, Node, OwnProcess, Pid
from erlang_bridge.kernel.global_names import ABORTED, NOTIFY_ALL_NAME, RANDOM_EXIT_NAME, RANDOM_NOTIFY_NAME
from erlang_bridge.testing import free_port
from tests.waiting import until

Factory = Callable[..., Node]


@pytest.fixture
def start() -> Iterator[Factory]:
    port = free_port()
    started: list[Node] = []

    def start(alive: str, **options: Any) -> Node:
        node = Node(f"{alive}@127.0.0.1", cookie="memory", epmd_port_number=port, **options)
        started.append(node)
        return node

    yield start
    for node in reversed(started):
        node.stop()


def meet(*nodes: Node) -> None:
    """Connect each with the next, and wait until each knows all."""
    for one, other in zip(nodes, nodes[1:], strict=False):
        one.connect(other.name)
    everyone = {node.name for node in nodes}
    assert until(lambda: all({node.name, *members(node)} == everyone for node in nodes))
    assert until(lambda: all({node.name.name, *node.nodes()} == {name.name for name in everyone} for node in nodes))
    for node in nodes:
        node.global_names.sync(timeout_s=5)


def members(node: Node) -> list[Atom]:
    return list(node.call("global_name_server", Atom("get_known")))


def sleeper(node: Node) -> Pid:
    return node.spawn(lambda own: own.receive())


def run_in_process(node: Node, function: Callable[[OwnProcess], Any]) -> AsyncResult[Any]:
    """Run `function` as a process; its value, or what it raised."""
    result: AsyncResult[Any] = AsyncResult()

    def body(own: OwnProcess) -> None:
        try:
            result.set(function(own))
        except Exception as error:
            result.set_exception(error)

    node.spawn(body)
    return result


# -- one node ---------------------------------------------------------------------------------


def test_names_on_one_node(start: Factory) -> None:
    node = start("one")
    names = node.global_names
    pid = sleeper(node)
    assert names.register_name("name", pid)
    assert not names.register_name("name", sleeper(node)), "taken"
    assert not names.register_name("second_name", pid), "named already"
    assert names.whereis_name("name") == names.whereis_name(Atom("name")) == pid
    assert names.whereis_name(b"name") is None
    assert names.registered_names() == [Atom("name")]
    names.unregister_name("name")
    names.unregister_name("name")
    assert names.whereis_name("name") is None
    assert names.register_name((1, [Atom("a"), 2.0]), pid)
    assert names.whereis_name((1, [Atom("a"), 2.0])) == pid
    other = sleeper(node)
    names.re_register_name((1, [Atom("a"), 2.0]), other)
    assert names.whereis_name((1, [Atom("a"), 2.0])) == other


def test_name_ends_with_its_process(start: Factory) -> None:
    node = start("one")
    pid = sleeper(node)
    node.global_names.register_name("name", pid)
    node.exit(pid, Atom("kill"))
    assert node.global_names.whereis_name("name") is None
    assert until(lambda: node.global_names.registered_names() == [])
    node.global_names.register_name("dead", pid)
    assert until(lambda: node.global_names.registered_names() == [])


def test_send_by_name(start: Factory) -> None:
    node = start("one")
    got: list[Any] = []
    pid = node.spawn(lambda own: got.append(own.receive()))
    node.global_names.register_name("name", pid)
    assert node.global_names.send("name", "hello") == pid
    assert until(lambda: got == ["hello"])
    with pytest.raises(ErlangExit) as caught:
        node.global_names.send("nobody", 1)
    assert caught.value.reason == (Atom("badarg"), (Atom("nobody"), 1))


def test_what_has_no_term_is_no_name(start: Factory) -> None:
    node = start("one")
    with pytest.raises(EtfEncodeError):
        node.global_names.register_name(object(), sleeper(node))
    with pytest.raises(EtfEncodeError):
        node.global_names.trans(object(), lambda: None)
    assert node.global_names.register_name("name", sleeper(node))


def test_lock_needs_a_process(start: Factory) -> None:
    node = start("one")
    with pytest.raises(RuntimeError, match="trans"):
        node.global_names.set_lock("resource")


def test_lock_is_shared_by_a_requester_and_ends_with_its_holders(start: Factory) -> None:
    node = start("one")
    names = node.global_names
    go_on = Event()

    def hold(own: OwnProcess) -> bool:
        taken = names.set_lock("resource", "team", retries=0)
        # Twice by one process is once.
        names.set_lock("resource", "team", retries=0)
        go_on.wait(5)
        if taken:
            names.del_lock("resource", "team")
        return taken

    first, second = run_in_process(node, hold), run_in_process(node, hold)
    gevent.sleep(0.05)
    assert names.trans("resource", lambda: 1, retries=0) is ABORTED
    assert names.trans("resource", lambda: 1, retries=0, requester="team") == 1
    go_on.set()
    assert (first.get(timeout=5), second.get(timeout=5)) == (True, True)
    assert names.trans("resource", lambda: 1, retries=0) == 1
    holder = node.spawn(lambda own: (names.set_lock("resource"), own.receive()))
    gevent.sleep(0.05)
    assert names.trans("resource", lambda: 1, retries=0) is ABORTED
    node.exit(holder, Atom("kill"))
    assert names.trans("resource", lambda: 1, retries=3) == 1


def test_trans_unlocks_when_its_function_raises(start: Factory) -> None:
    node = start("one")
    with pytest.raises(ZeroDivisionError):
        node.global_names.trans("resource", lambda: 1 // 0)
    assert node.global_names.trans("resource", lambda: 1, retries=0) == 1


def test_nested_trans_of_a_process(start: Factory) -> None:
    node = start("one")
    names = node.global_names
    nested = run_in_process(node, lambda own: names.trans("r", lambda: names.trans("r", lambda: 7, retries=0)))
    assert nested.get(timeout=5) == 7


def test_lock_of_a_killed_process_in_trans(start: Factory) -> None:
    node = start("one")
    pid = node.spawn(lambda own: node.global_names.trans("resource", own.receive))
    gevent.sleep(0.05)
    assert node.global_names.trans("resource", lambda: 1, retries=0) is ABORTED
    node.exit(pid, Atom("kill"))
    assert node.global_names.trans("resource", lambda: 1) == 1


# -- several ----------------------------------------------------------------------------------


def test_two_nodes(start: Factory) -> None:
    one, two = start("one"), start("two")
    before = sleeper(one)
    assert one.global_names.register_name("before", before)
    meet(one, two)
    assert two.global_names.whereis_name("before") == before
    after = sleeper(two)
    assert two.global_names.register_name("after", after)
    assert one.global_names.whereis_name("after") == after
    assert not one.global_names.register_name("after", before)
    two.global_names.unregister_name("before")
    assert one.global_names.whereis_name("before") is None
    assert two.global_names.register_name("of_another", before), "any process of the cluster"
    assert one.global_names.whereis_name("of_another") == before
    one.exit(before, Atom("kill"))
    assert until(lambda: two.global_names.whereis_name("of_another") is None)


def test_names_go_with_their_node_and_both_meet_again(start: Factory) -> None:
    one, two = start("one"), start("two")
    meet(one, two)
    assert two.global_names.register_name("theirs", sleeper(two))
    assert one.global_names.register_name("ours", sleeper(one))
    one.disconnect(two.name)
    assert until(lambda: one.global_names.registered_names() == [Atom("ours")])
    assert until(lambda: two.global_names.registered_names() == [Atom("theirs")])
    assert members(one) == []
    meet(one, two)
    for node in (one, two):
        assert sorted(map(str, node.global_names.registered_names())) == ["ours", "theirs"]


def test_stop_takes_the_names_along(start: Factory) -> None:
    one, two = start("one"), start("two")
    meet(one, two)
    assert two.global_names.register_name("theirs", sleeper(two))
    two.stop()
    assert until(lambda: one.global_names.registered_names() == [])
    assert one.global_names.register_name("theirs", sleeper(one))


def test_a_third_is_connected_with_everyone(start: Factory) -> None:
    one, two, three = start("one"), start("two"), start("three")
    assert one.global_names.register_name("name", sleeper(one))
    meet(one, two, three)
    assert sorted(one.nodes()) == ["three@127.0.0.1", "two@127.0.0.1"]
    pid = one.global_names.whereis_name("name")
    assert pid == two.global_names.whereis_name("name") == three.global_names.whereis_name("name")


def test_two_partitions_become_one(start: Factory) -> None:
    nodes = [start(name) for name in ("a", "b", "c", "d")]
    meet(*nodes[:2])
    meet(*nodes[2:])
    for node in nodes:
        assert node.global_names.register_name(str(node.name), sleeper(node))
    meet(*nodes)
    for node in nodes:
        assert sorted(map(str, node.global_names.registered_names())) == sorted(str(other.name) for other in nodes)


def test_all_meet_all_at_once(start: Factory) -> None:
    nodes = [start(name) for name in ("a", "b", "c", "d")]
    for node in nodes:
        for other in nodes:
            if other is not node:
                node.connections.get(other.name)
    meet(*nodes)
    assert nodes[3].global_names.register_name("name", sleeper(nodes[0]))
    assert all(node.global_names.whereis_name("name") for node in nodes)


@pytest.mark.parametrize("method", [RANDOM_EXIT_NAME, RANDOM_NOTIFY_NAME, NOTIFY_ALL_NAME])
def test_clash(start: Factory, method: Export) -> None:
    one, two = start("one"), start("two")
    got: list[Any] = []

    def listen(own: OwnProcess) -> None:
        got.append((own.pid, own.receive()))

    ours, theirs = one.spawn(listen), two.spawn(listen)
    assert one.global_names.register_name("name", ours, method)
    assert two.global_names.register_name("name", theirs, method)
    meet(one, two)
    conflict = Atom("global_name_conflict")
    if method is NOTIFY_ALL_NAME:
        assert until(lambda: len(got) == 2)
        assert sorted(got, key=str) == sorted(
            [(ours, (conflict, Atom("name"), theirs)), (theirs, (conflict, Atom("name"), ours))], key=str
        )
        winner = None
    else:
        winner = ours
        assert until(lambda: two.is_alive(theirs) is (method is not RANDOM_EXIT_NAME) or got)
        if method is RANDOM_NOTIFY_NAME:
            assert until(lambda: got == [(theirs, (conflict, Atom("name")))])
    assert until(lambda: all(node.global_names.whereis_name("name") == winner for node in (one, two)))


def test_everybody_wants_the_same_name(start: Factory) -> None:
    nodes = [start(name) for name in ("a", "b", "c")]
    meet(*nodes)
    attempts = [
        gevent.spawn(node.global_names.register_name, "name", sleeper(node)) for node in nodes for _ in range(3)
    ]
    assert sorted(bool(attempt.get(timeout=20)) for attempt in attempts) == [False] * 8 + [True]
    assert len({node.global_names.whereis_name("name") for node in nodes}) == 1


def test_trans_is_exclusive(start: Factory) -> None:
    nodes = [start(name) for name in ("a", "b")]
    meet(*nodes)
    counter = [0]

    def increment() -> None:
        value = counter[0]
        gevent.sleep(0.005)
        counter[0] = value + 1

    workers = [gevent.spawn(node.global_names.trans, "counter", increment) for node in nodes for _ in range(4)]
    gevent.joinall(workers, timeout=30, raise_error=True)
    assert counter == [8]


def test_lock_of_a_node_that_goes(start: Factory) -> None:
    one, two = start("one"), start("two")
    meet(one, two)
    two.spawn(lambda own: (two.global_names.set_lock("resource"), own.receive()))
    gevent.sleep(0.1)
    assert one.global_names.trans("resource", lambda: 1, retries=0) is ABORTED
    two.stop()
    assert one.global_names.trans("resource", lambda: 1) == 1


def test_lock_on_a_hidden_node(start: Factory) -> None:
    one, hidden = start("one"), start("hidden", hidden=True)
    hidden.connect(one.name)
    both = [one.name, hidden.name]
    one.spawn(lambda own: (one.global_names.set_lock("resource", nodes=both), own.receive()))
    gevent.sleep(0.1)
    assert hidden.global_names.trans("resource", lambda: 1, retries=0) is ABORTED
    assert hidden.global_names.trans("resource", lambda: 1, nodes=both, retries=0) is ABORTED


def test_lock_connects(start: Factory) -> None:
    one, two = start("one"), start("two")
    assert one.global_names.trans("resource", lambda: 1, nodes=[one.name, two.name], retries=0) == 1
    assert one.nodes() == [two.name.name]


def test_nodes_that_are_not_there_are_left_out_of_a_lock(start: Factory) -> None:
    one = start("one")
    assert one.global_names.trans("resource", lambda: 1, nodes=[one.name, "nobody@127.0.0.1"], retries=0) == 1


def test_sync_with_a_node_that_is_not_there(start: Factory) -> None:
    one = start("one")
    one.global_names.sync(["nobody@127.0.0.1"], timeout_s=5)


def test_sync_with_a_node_to_be_connected(start: Factory) -> None:
    one, two = start("one"), start("two")
    two.global_names.register_name("name", sleeper(two))
    one.global_names.sync([two.name], timeout_s=5)
    assert one.global_names.whereis_name("name") is not None


def test_losing_one_of_three_makes_partitions_that_do_not_overlap(start: Factory) -> None:
    one, two, three = start("one"), start("two"), start("three")
    meet(one, two, three)
    one.disconnect(two.name)
    # Which of the two stays with the third, if any, is a matter of who is heard first.
    assert until(lambda: sorted(len(members(node)) for node in (one, two, three)) in ([0, 0, 0], [0, 1, 1]))
    gevent.sleep(0.1)
    partitions = [{node.name, *members(node)} for node in (one, two, three)]
    assert all(part == other or not part & other for part in partitions for other in partitions)
    assert all(
        {node.name.name, *node.nodes()} == {name.name for name in part}
        for node, part in zip((one, two, three), partitions, strict=True)
    )
    meet(one, two, three)


def test_one_of_three_that_stops_does_not_part_the_others(start: Factory) -> None:
    one, two, three = start("one"), start("two"), start("three")
    meet(one, two, three)
    two.stop()
    assert until(lambda: one.nodes() == [three.name.name])
    gevent.sleep(0.2)
    assert one.nodes() == [three.name.name]
    assert members(one) == [three.name]


def test_leaving_in_order_parts_nobody(start: Factory) -> None:
    one, two, three = start("one"), start("two"), start("three")
    meet(one, two, three)
    assert sorted(two.global_names.disconnect()) == ["one@127.0.0.1", "three@127.0.0.1"]
    assert until(lambda: members(one) == [three.name] and members(three) == [one.name])
    gevent.sleep(0.2)
    assert one.nodes() == [three.name.name]


def test_functions_by_rpc(start: Factory) -> None:
    one, two = start("one"), start("two")
    meet(one, two)
    assert one.rpc(two.name, "global", "whereis_name", [Atom("nobody")]) is Atom("undefined")
    assert one.rpc(two.name, "global", "sync") is Atom("ok")
    assert one.rpc(two.name, "global", "registered_names") == []


def test_call_with_a_limit(start: Factory) -> None:
    one, hidden = start("one"), start("hidden", hidden=True)
    one.connect(hidden.name)
    with pytest.raises(CallTimeout):
        one.global_names.sync([hidden.name], timeout_s=0.1)
