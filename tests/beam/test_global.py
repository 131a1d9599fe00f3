"""``global`` in clusters of BEAMs and Python nodes: names and locks both ways, meetings, clashes, partings, and deaths."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, Export, NetOptions, Node, Pid
from erlang_bridge.kernel.global_names import ABORTED, NOTIFY_ALL_NAME, RANDOM_EXIT_NAME, RANDOM_NOTIFY_NAME
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.plugin import BeamFactory, NodeFactory
from erlang_bridge.testing.programs import Program, clean_environment
from erlang_bridge.testing.releases import BeamRelease
from tests.servers import Counter
from tests.waiting import until

OK, YES, NO, UNDEFINED = Atom("ok"), Atom("yes"), Atom("no"), Atom("undefined")
CONFLICT = Atom("global_name_conflict")
SLEEPER = "spawn(fun() -> receive stop -> ok end end)"
TICKTIME_S = 4
TICKS = ["-kernel", "net_ticktime", str(TICKTIME_S), "net_setuptime", "1"]
"""A frozen node is noticed soon; that it cannot be connected with again, too."""


def sleeper(node: Node) -> Pid:
    return node.spawn(lambda own: own.receive())


def names_of(nodes: list[Beam | Node]) -> set[str]:
    return {str(node.name) for node in nodes}


def members(node: Beam | Node) -> set[str]:
    """Whom the node's ``global`` knows."""
    if isinstance(node, Beam):
        known = node.eval("gen_server:call(global_name_server, get_known)")
    else:
        known = node.call("global_name_server", Atom("get_known"))
    return {name.name for name in known}


def is_whole(nodes: list[Beam | Node]) -> bool:
    """Whether each of `nodes` is connected with, and knows, exactly the others."""
    everyone = names_of(nodes)
    for node in nodes:
        others = everyone - {str(node.name)}
        connected = [name.name for name in node.eval("nodes()")] if isinstance(node, Beam) else node.nodes()
        if members(node) != others or set(connected) != others:
            return False
    return True


def are_apart(one: Beam | Node, other: Beam | Node, nodes: list[Beam | Node]) -> bool:
    """Whether `one` and `other` are in two partitions, and no node in more than one."""
    partitions = {str(node.name): members(node) | {str(node.name)} for node in nodes}
    for node in nodes:
        name = str(node.name)
        connected = [peer.name for peer in node.eval("nodes()")] if isinstance(node, Beam) else node.nodes()
        if {name, *connected} != partitions[name]:
            return False
        if any(partitions[peer] != partitions[name] for peer in partitions[name]):
            return False
    return str(other.name) not in partitions[str(one.name)]


def meet(*nodes: Beam | Node) -> None:
    """Connect each with the next, and wait until all are one partition and in sync."""
    for one, other in zip(nodes, nodes[1:], strict=False):
        if isinstance(one, Beam):
            one.eval("net_kernel:connect_node(N)", N=Atom(str(other.name)))
        else:
            one.connect(str(other.name))
    assert until(lambda: is_whole(list(nodes)), 20), {str(node.name): members(node) for node in nodes}
    for node in nodes:
        sync(node)


def sync(node: Beam | Node) -> None:
    if isinstance(node, Beam):
        assert node.eval("global:sync()") is OK
    else:
        node.global_names.sync(timeout_s=10)


def whereis(node: Beam | Node, name: str) -> Pid | None:
    if isinstance(node, Node):
        return node.global_names.whereis_name(name)
    found = node.eval("global:whereis_name(N)", N=Atom(name))
    return None if found is UNDEFINED else found


def is_known_as(node: Beam | Node, name: str, pid: Pid) -> bool:
    return whereis(node, name) == pid


@pytest.fixture
def other_release(beam_release: BeamRelease, beam_releases: list[BeamRelease]) -> BeamRelease:
    """Another release than the test's own, where the machine has one."""
    return next((release for release in beam_releases if release is not beam_release), beam_release)


@pytest.fixture
def pair(beam: Beam, node: Node) -> tuple[Beam, Node]:
    """A BEAM and a Python node that have met."""
    meet(beam, node)
    return beam, node


# -- names ------------------------------------------------------------------------------------


def test_names_of_the_beam(pair: tuple[Beam, Node]) -> None:
    beam, node = pair
    pid = beam.eval(f"P = {SLEEPER}, yes = global:register_name(name, P), P")
    assert node.global_names.whereis_name("name") == pid
    assert not node.global_names.register_name("name", sleeper(node))
    other = beam.eval(f"P = {SLEEPER}, yes = global:re_register_name(name, P), P")
    assert node.global_names.whereis_name("name") == other
    beam.eval("global:unregister_name(name)")
    assert node.global_names.whereis_name("name") is None
    beam.eval("yes = global:register_name({any, <<1>>, 2.0}, P)", P=pid)
    assert node.global_names.whereis_name((Atom("any"), b"\x01", 2.0)) == pid
    beam.eval("exit(P, kill)", P=pid)
    assert until(lambda: node.global_names.registered_names() == [])


def test_our_names(pair: tuple[Beam, Node]) -> None:
    beam, node = pair
    got: list[Any] = []
    pid = node.spawn(lambda own: got.append(own.receive()))
    assert node.global_names.register_name("name", pid)
    assert beam.eval("global:whereis_name(name)") == pid
    assert beam.eval("global:register_name(name, self())") is NO
    assert beam.eval("global:registered_names()") == [Atom("name")]
    assert beam.eval("global:send(name, hello)") == pid
    assert until(lambda: got == [Atom("hello")])
    beam.wait_until("global:registered_names() =:= []")
    other = sleeper(node)
    assert node.global_names.register_name("name", other)
    third = sleeper(node)
    node.global_names.re_register_name("name", third)
    assert beam.eval("global:whereis_name(name)") == third
    node.global_names.unregister_name("name")
    assert beam.eval("global:whereis_name(name)") is UNDEFINED


def test_each_registers_a_process_of_the_other(pair: tuple[Beam, Node]) -> None:
    beam, node = pair
    ours, theirs = sleeper(node), beam.eval(SLEEPER)
    assert beam.eval("global:register_name(ours, P)", P=ours) is YES
    assert node.global_names.register_name("theirs", theirs)
    assert (whereis(beam, "ours"), whereis(node, "theirs")) == (ours, theirs)
    node.exit(ours, Atom("kill"))
    beam.eval("exit(P, kill)", P=theirs)
    beam.wait_until("global:registered_names() =:= []")
    assert until(lambda: node.global_names.registered_names() == [])


def test_gen_server_call_through_a_global_name(pair: tuple[Beam, Node]) -> None:
    beam, node = pair
    assert node.global_names.register_name("counter", node.start(Counter, 5))
    assert beam.eval("gen_server:call({global, counter}, read)") == 5
    assert beam.eval("gen_server:call({via, global, counter}, {add, 2})") is OK


def test_functions_by_rpc(pair: tuple[Beam, Node]) -> None:
    beam, node = pair
    call = "rpc:call(N, global, F, A)"
    pid = beam.eval(SLEEPER)
    assert beam.eval(call, N=node.name, F=Atom("register_name"), A=[Atom("x"), pid]) is YES
    assert beam.eval(call, N=node.name, F=Atom("register_name"), A=[Atom("x"), pid]) is NO
    assert beam.eval(call, N=node.name, F=Atom("whereis_name"), A=[Atom("x")]) == pid
    assert beam.eval(call, N=node.name, F=Atom("registered_names"), A=[]) == [Atom("x")]
    assert beam.eval(call, N=node.name, F=Atom("sync"), A=[]) is OK
    assert beam.eval(call, N=node.name, F=Atom("unregister_name"), A=[Atom("x")]) is OK
    assert beam.eval("global:whereis_name(x)") is UNDEFINED


def test_names_meet_when_the_nodes_do(beam: Beam, node: Node) -> None:
    theirs = beam.eval(f"P = {SLEEPER}, yes = global:register_name(theirs, P), P")
    ours = sleeper(node)
    assert node.global_names.register_name("ours", ours)
    meet(node, beam)
    for at in (beam, node):
        assert (whereis(at, "ours"), whereis(at, "theirs")) == (ours, theirs)


def test_names_go_with_their_node(pair: tuple[Beam, Node]) -> None:
    beam, node = pair
    beam.eval(f"yes = global:register_name(theirs, {SLEEPER})")
    assert node.global_names.register_name("ours", sleeper(node))
    beam.kill()
    assert until(lambda: node.global_names.registered_names() == [Atom("ours")])
    assert members(node) == set()
    beam.restart()
    meet(beam, node)
    assert beam.eval("global:registered_names()") == [Atom("ours")]
    node.stop()
    beam.wait_until("global:registered_names() =:= []")
    assert members(beam) == set()


def test_name_of_a_hidden_python_process(pair: tuple[Beam, Node], node_factory: NodeFactory) -> None:
    beam, node = pair
    hidden = node_factory(hidden=True)
    pid = sleeper(hidden)
    register = [Atom("hidden_one"), pid]
    assert hidden.rpc(beam.name, "global", "register_name_external", register) is YES
    assert node.global_names.whereis_name("hidden_one") == pid
    assert node.call("global_name_server", Atom("get_names_ext")) == [(Atom("hidden_one"), pid, beam.node)]
    assert hidden.rpc(node.name, "global", "register_name_external", [Atom("second"), pid]) is YES
    expected = sorted([(Atom("hidden_one"), pid, beam.node), (Atom("second"), pid, node.name)], key=str)
    assert sorted(beam.eval("gen_server:call(global_name_server, get_names_ext)"), key=str) == expected
    hidden.stop()
    beam.wait_until("global:registered_names() =:= []")
    assert until(lambda: node.global_names.registered_names() == [])


def test_external_names_meet_when_the_nodes_do(beam: Beam, node: Node, node_factory: NodeFactory) -> None:
    hidden = node_factory(hidden=True)
    pid = sleeper(hidden)
    assert hidden.rpc(beam.name, "global", "register_name_external", [Atom("external"), pid]) is YES
    meet(node, beam)
    assert node.global_names.whereis_name("external") == pid
    assert node.call("global_name_server", Atom("get_names_ext")) == [(Atom("external"), pid, beam.node)]


# -- locks ------------------------------------------------------------------------------------


def test_lock_of_the_beam(pair: tuple[Beam, Node]) -> None:
    beam, node = pair
    shell = beam.shell()
    assert shell.eval("global:set_lock({resource, self()})") is True
    assert shell.eval("global:set_lock({resource, self()}, [node() | nodes()], 0)") is True
    assert node.global_names.trans("resource", lambda: 1, retries=0) is ABORTED
    assert node.global_names.trans("resource", lambda: 1, nodes=[node.name], retries=0) is ABORTED
    assert node.global_names.trans("resource", lambda: 1, requester=shell.pid, retries=0) == 1
    assert node.global_names.trans("resource", lambda: 1, retries=0) is ABORTED
    waiting = gevent.spawn(node.global_names.trans, "resource", lambda: 2)
    assert shell.eval("global:del_lock({resource, self()})") is True
    assert waiting.get(timeout=5) == 2
    assert shell.eval("global:set_lock({resource, self()})") is True
    shell.end()
    assert node.global_names.trans("resource", lambda: 3) == 3


def test_our_lock(pair: tuple[Beam, Node]) -> None:
    beam, node = pair
    attempt = "global:set_lock({resource, self()}, [node() | nodes()], 0)"
    pid = node.spawn(lambda own: (node.global_names.set_lock("resource"), own.receive()))
    beam.wait_until("ets:member(global_locks, resource)")
    assert beam.eval(attempt) is False
    assert beam.eval("global:trans({resource, P}, fun() -> 7 end, [node() | nodes()], 0)", P=pid) == 7
    node.exit(pid, Atom("kill"))
    beam.wait_until("not ets:member(global_locks, resource)")
    assert beam.eval(attempt) is True
    assert node.global_names.trans("resource", lambda: beam.eval("ets:member(global_locks, resource)")) is True
    beam.wait_until("not ets:member(global_locks, resource)")


def test_trans_of_the_beam_returns(pair: tuple[Beam, Node]) -> None:
    beam, _ = pair
    assert beam.eval("global:trans({resource, self()}, fun() -> 7 end)") == 7
    assert beam.eval("global:trans({global, self()}, fun() -> 8 end)") == 8


def test_trans_is_exclusive_among_all(pair: tuple[Beam, Node], node_factory: NodeFactory) -> None:
    beam, node = pair
    second = node_factory()
    meet(node, second, beam)
    beam.eval("ets:new(shared, [named_table, public, {heir, whereis(init), x}]), ets:insert(shared, {n, 0})")
    increment = """
        global:trans({counter, self()}, fun() ->
            [{n, N}] = ets:lookup(shared, n), timer:sleep(2), ets:insert(shared, {n, N + 1})
        end)
    """

    def increment_from_python(at: Node) -> None:
        def add() -> None:
            count = at.rpc(beam.name, "ets", "lookup_element", [Atom("shared"), Atom("n"), 2])
            at.rpc(beam.name, "ets", "insert", [Atom("shared"), (Atom("n"), count + 1)])

        at.global_names.trans("counter", add)

    theirs = [beam.begin(increment) for _ in range(4)]
    ours = [gevent.spawn(increment_from_python, at) for at in (node, second) for _ in range(3)]
    gevent.joinall(ours, timeout=40, raise_error=True)
    for pending in theirs:
        pending.result(40)
    assert beam.eval("ets:lookup(shared, n)") == [(Atom("n"), 10)]


def test_everybody_wants_the_same_name(pair: tuple[Beam, Node]) -> None:
    beam, node = pair
    source = f"global:register_name(wanted, {SLEEPER})"
    theirs = [beam.begin(source) for _ in range(5)]
    ours = [gevent.spawn(node.global_names.register_name, "wanted", sleeper(node)) for _ in range(5)]
    answers = [pending.result(30) is YES for pending in theirs]
    answers += [bool(attempt.get(timeout=30)) for attempt in ours]
    assert sorted(answers) == [False] * 9 + [True]
    assert whereis(beam, "wanted") == whereis(node, "wanted") is not None


# -- clashes ----------------------------------------------------------------------------------

METHODS = [RANDOM_EXIT_NAME, RANDOM_NOTIFY_NAME, NOTIFY_ALL_NAME]


@pytest.mark.parametrize("name", ["a_first@127.0.0.1", "z_last@127.0.0.1"])
@pytest.mark.parametrize("method", METHODS, ids=[method.function.name for method in METHODS])
def test_clash(beam: Beam, node_factory: NodeFactory, name: str, method: Any) -> None:
    # The smaller node settles it: ours where its name begins with a.
    node = node_factory(name)
    got: list[Any] = []
    ours = node.spawn(lambda own: got.append(own.receive()))
    assert node.global_names.register_name("name", ours, method)
    shell = beam.shell()
    shell.eval("yes = global:register_name(name, self(), M)", M=method)
    theirs = shell.pid
    meet(node, beam)
    if method is NOTIFY_ALL_NAME:
        assert until(lambda: got == [(CONFLICT, Atom("name"), theirs)])
        assert shell.eval("receive M1 -> M1 after 3000 -> none end") == (CONFLICT, Atom("name"), ours)
        winner = None
    else:
        we_win = name.startswith("a")
        winner = ours if we_win else theirs
        if method is RANDOM_EXIT_NAME:
            assert until(lambda: node.is_alive(ours) is we_win)
            assert beam.wait_until("is_process_alive(P) =:= A", P=theirs, A=not we_win)
        elif we_win:
            assert shell.eval("receive M1 -> M1 after 3000 -> none end") == (CONFLICT, Atom("name"))
        else:
            assert until(lambda: got == [(CONFLICT, Atom("name"))])
    assert until(lambda: whereis(node, "name") == whereis(beam, "name") == winner)


@pytest.mark.parametrize("name", ["a_first@127.0.0.1", "z_last@127.0.0.1"])
def test_clash_settled_by_a_closure_of_the_beam(beam: Beam, node_factory: NodeFactory, name: str) -> None:
    """A BEAM has registered a process of ours with a fun that only BEAMs can run."""
    node = node_factory(name)
    meet(node, beam)
    ours = sleeper(node)
    assert beam.eval("global:register_name(name, P, fun(_, _, Mine) -> Mine end)", P=ours) is YES
    node.disconnect(beam.name)
    assert until(lambda: whereis(beam, "name") is None)
    theirs = beam.eval(f"P = {SLEEPER}, yes = global:register_name(name, P, fun(_, _, Mine) -> Mine end), P")
    meet(node, beam)
    # Of the two methods that of the smaller node is called, and says: mine.
    winner = ours if name.startswith("a") else theirs
    assert until(lambda: whereis(node, "name") == whereis(beam, "name") == winner)


def test_clash_settled_by_our_function_for_the_beam(
    beam: Beam, beam_factory: BeamFactory, node_factory: NodeFactory
) -> None:
    """The node that settles it is a BEAM, the process whose method counts is ours."""
    chooser = node_factory("m_chooser@127.0.0.1")
    asked: list[Any] = []

    def choose(name: Any, pid1: Pid, pid2: Pid) -> Pid:
        asked.append(name)
        return pid2

    chooser.export("chooser", "choose", choose)
    smallest = beam_factory(name="a_smallest@127.0.0.1")
    meet(chooser, smallest)
    ours = sleeper(chooser)
    assert chooser.global_names.register_name("name", ours, Export(Atom("chooser"), Atom("choose"), 3))
    beam.eval(f"yes = global:register_name(name, {SLEEPER})")
    smallest.eval("net_kernel:connect_node(N)", N=beam.node)
    assert until(lambda: is_whole([chooser, smallest, beam]), 20)
    assert asked == [Atom("name")]
    for at in (chooser, smallest, beam):
        assert until(partial(is_known_as, at, "name", ours))


# -- clusters ---------------------------------------------------------------------------------


def test_two_beams_and_two_pythons(
    beam: Beam, beam_factory: BeamFactory, other_release: BeamRelease, node_factory: NodeFactory
) -> None:
    second = beam_factory(release=other_release)
    meet(beam, second)
    one, two = node_factory(), node_factory()
    one.connect(beam.name)
    two.connect(second.name)
    everyone: list[Beam | Node] = [beam, second, one, two]
    assert until(lambda: is_whole(everyone), 20)
    for at in everyone:
        sync(at)
    beam.eval(f"yes = global:register_name(a, {SLEEPER})")
    second.eval(f"yes = global:register_name(b, {SLEEPER})")
    assert one.global_names.register_name("c", sleeper(one))
    assert two.global_names.register_name("d", sleeper(two))
    for name in "abcd":
        assert len({whereis(at, name) for at in everyone} - {None}) == 1


def test_two_partitions_become_one(
    beam: Beam, beam_factory: BeamFactory, other_release: BeamRelease, node_factory: NodeFactory
) -> None:
    second, one, two = beam_factory(release=other_release), node_factory(), node_factory()
    meet(beam, one)
    meet(second, two)
    assert one.global_names.register_name("one", sleeper(one))
    second.eval(f"yes = global:register_name(second, {SLEEPER})")
    # The two that connect are Python nodes: theirs is the whole work.
    one.connect(two.name)
    everyone: list[Beam | Node] = [beam, second, one, two]
    assert until(lambda: is_whole(everyone), 20)
    for name in ("one", "second"):
        pid = whereis(one, name)
        assert pid is not None
        for at in everyone:
            assert until(partial(is_known_as, at, name, pid))


def test_everybody_connects_at_once(
    beam: Beam, beam_factory: BeamFactory, other_release: BeamRelease, node_factory: NodeFactory
) -> None:
    beams = [beam, beam_factory(release=other_release)]
    pythons = [node_factory(), node_factory()]
    everyone: list[Beam | Node] = [*beams, *pythons]
    for at in everyone:
        for name in names_of(everyone) - {str(at.name)}:
            if isinstance(at, Beam):
                at.begin("net_kernel:connect_node(N)", N=Atom(name))
            else:
                at.connections.get(Atom(name))
    assert until(lambda: is_whole(everyone), 30), {str(at.name): members(at) for at in everyone}
    assert pythons[0].global_names.register_name("name", sleeper(pythons[1]))
    assert beams[1].eval("global:register_name(other, self())") is YES
    assert all(whereis(at, "name") for at in everyone)


def test_three_beams_stay_whole_when_python_goes(
    beam: Beam, beam_factory: BeamFactory, other_release: BeamRelease, node_factory: NodeFactory
) -> None:
    beams = [beam, beam_factory(release=other_release), beam_factory()]
    node, stays = node_factory(), node_factory()
    meet(*beams, stays, node)
    node.stop()
    left: list[Beam | Node] = [*beams, stays]
    assert until(lambda: is_whole(left), 10)
    beams[1].kill()
    left.remove(beams[1])
    assert until(lambda: is_whole(left), 10)
    gevent.sleep(0.3)
    assert is_whole(left)
    assert beam.eval("global:register_name(name, self())") is YES


@pytest.mark.parametrize("loser", ["beam", "python"])
def test_one_lost_connection_makes_partitions_that_do_not_overlap(
    beam: Beam, beam_factory: BeamFactory, other_release: BeamRelease, node: Node, loser: str
) -> None:
    second = beam_factory(release=other_release)
    meet(beam, second, node)
    if loser == "beam":
        beam.eval("erlang:disconnect_node(N)", N=node.name)
    else:
        node.disconnect(beam.name)
    assert until(lambda: are_apart(beam, node, [beam, second, node]), 8)
    gevent.sleep(0.2)
    assert are_apart(beam, node, [beam, second, node])
    meet(beam, second, node)
    second.eval(f"yes = global:register_name(name, {SLEEPER})")
    assert whereis(node, "name") == whereis(beam, "name") is not None


def test_python_leaves_in_order(beam: Beam, beam_factory: BeamFactory, other_release: BeamRelease, node: Node) -> None:
    second = beam_factory(release=other_release)
    meet(beam, second, node)
    node.global_names.disconnect()
    assert until(lambda: is_whole([beam, second]), 10)
    gevent.sleep(0.3)
    assert is_whole([beam, second])
    meet(node, beam, second)


def test_a_beam_leaves_in_order(beam: Beam, beam_factory: BeamFactory, node: Node) -> None:
    second = beam_factory()
    meet(beam, second, node)
    second.eval("global:disconnect()")
    assert until(lambda: is_whole([beam, node]), 10)
    gevent.sleep(0.3)
    assert is_whole([beam, node])


def test_hidden_nodes_are_no_members(beam: Beam, beam_factory: BeamFactory, node_factory: NodeFactory) -> None:
    node, hidden, hidden_beam = node_factory(), node_factory(hidden=True), beam_factory(hidden=True)
    meet(beam, node)
    hidden.connect(beam.name)
    hidden.connect(node.name)
    node.connect(hidden_beam.name)
    beam.eval(f"yes = global:register_name(name, {SLEEPER})")
    gevent.sleep(0.5)
    assert is_whole([beam, node])
    assert members(hidden) == members(hidden_beam) == set()
    assert hidden.global_names.registered_names() == []
    hidden.stop()
    hidden_beam.kill()
    gevent.sleep(0.3)
    assert is_whole([beam, node])


@pytest.mark.slow
def test_coming_and_going(
    beam: Beam, beam_factory: BeamFactory, other_release: BeamRelease, node_factory: NodeFactory, rng: Random
) -> None:
    """Connections come and go at random while names are changed: in the end there is one partition with one table."""
    beams, pythons = [beam, beam_factory(release=other_release)], [node_factory() for _ in range(3)]
    everyone: list[Beam | Node] = [*beams, *pythons]
    attempts: list[Any] = []
    for _ in range(100):
        at, other = rng.sample(everyone, 2)
        peer, name = Atom(str(other.name)), Atom(f"name_{rng.randrange(4)}")
        match rng.choice(["connect", "connect", "disconnect", "register", "register"]):
            case "connect":
                at.begin("net_kernel:connect_node(N)", N=peer) if isinstance(at, Beam) else at.connections.get(peer)
            case "disconnect":
                at.begin("erlang:disconnect_node(N)", N=peer) if isinstance(at, Beam) else at.disconnect(peer)
            case "register" if isinstance(at, Beam):
                attempts.append(at.begin(f"global:re_register_name(N, {SLEEPER})", N=name))
            case _ if isinstance(at, Node):
                attempts.append(gevent.spawn(at.global_names.re_register_name, name, sleeper(at)))
        gevent.sleep(rng.choice([0, 0.001, 0.01, 0.05]))
    for _ in range(10):
        for python in pythons:
            python.connections.get(beam.node)
        beams[1].begin("net_kernel:connect_node(N)", N=beam.node)
        gevent.sleep(1)
        if is_whole(everyone):
            break
    assert is_whole(everyone), {str(at.name): members(at) for at in everyone}
    assert until(lambda: all(attempt.ready() for attempt in attempts), 20)
    for python in pythons:
        assert python.global_names.register_name(python.name, sleeper(python))
    assert beam.eval(f"global:register_name(last, {SLEEPER})") is YES
    tables = [
        {str(name): whereis(at, str(name)) for name in pythons[0].global_names.registered_names()} for at in everyone
    ]
    assert all(table == tables[0] for table in tables)


# -- the Python node dies, or freezes, at every step ------------------------------------------

PROGRAM = """
import os, signal, sys
import gevent
from erlang_bridge import NetOptions, Node
from erlang_bridge.kernel.global_sessions import Sessions
name, cookie, epmd_port, peer, step, deadly = sys.argv[1:]
if step != "none":
    original = getattr(Sessions, step)
    def deadly_step(self, *arguments, **options):
        if step != "_join":
            os.kill(os.getpid(), int(deadly))
        value = original(self, *arguments, **options)
        if step == "_join" and arguments[0].resolution:
            # When what it has come to is on its way.
            gevent.spawn_later(0.0003, os.kill, os.getpid(), int(deadly))
        return value
    setattr(Sessions, step, deadly_step)
node = Node(name, cookie=cookie, epmd_port_number=int(epmd_port), options=NetOptions(net_ticktime_s=4))
node.connect(peer)
if step == "none":
    node.global_names.sync(timeout_s=10)
print("READY", flush=True)
gevent.sleep(60)
"""


class PythonProgram:
    """A Python node that is a program of its own, which a test may kill and freeze."""

    def __init__(self, directory: Path, environment: dict[str, str], cookie: str, epmd_port: int) -> None:
        self._directory = directory
        self._environment = environment
        self._cookie = cookie
        self._epmd_port = epmd_port
        self._started: list[Program] = []

    def start(self, name: str, peer: Beam, step: str = "none", deadly: signal.Signals = signal.SIGKILL) -> Program:
        log_path = self._directory / f"{name}.{len(self._started)}.log"
        command = [sys.executable, "-c", PROGRAM, name, self._cookie, str(self._epmd_port), peer.name, step]
        program = Program([*command, str(int(deadly))], log_path, self._environment, self._directory)
        self._started.append(program)
        if step == "none":
            assert until(lambda: "READY" in log_path.read_text() or program.exit_status() is not None, 15)
            assert program.exit_status() is None, log_path.read_text()
        return program

    def end(self) -> None:
        for program in self._started:
            if program.exit_status() is None:
                program.kill()


@pytest.fixture
def python_program(tmp_path: Path, beam_cookie: str, epmd_port: int) -> Iterator[PythonProgram]:
    root = Path(__file__).parents[2]
    programs = PythonProgram(tmp_path, clean_environment(tmp_path, PYTHONPATH=str(root)), beam_cookie, epmd_port)
    yield programs
    programs.end()


def is_stopped(program: Program) -> bool:
    return Path(f"/proc/{program.pid}/stat").read_text().rpartition(") ")[2].startswith("T")


STEPS = ["init_connect", "init_connect_ack", "lock_is_set", "exchange", "exchanged", "resolved", "_join"]


@pytest.mark.fault
@pytest.mark.parametrize("step", STEPS)
def test_python_killed_in_the_middle_of_a_meeting(
    beam: Beam, beam_factory: BeamFactory, other_release: BeamRelease, python_program: PythonProgram, step: str
) -> None:
    second = beam_factory(release=other_release)
    meet(beam, second)
    program = python_program.start("py_deadly@127.0.0.1", beam, step)
    assert program.wait(15) == -signal.SIGKILL
    for at in (beam, second):
        assert at.eval(f"global:register_name(node(), {SLEEPER})", timeout_s=5) is YES
        assert at.eval("global:trans({x, self()}, fun() -> 1 end)", timeout_s=5) == 1
    assert is_whole([beam, second])
    python_program.start("py_deadly@127.0.0.1", beam)
    assert until(lambda: members(second) == {beam.name, "py_deadly@127.0.0.1"}, 10)


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("step", ["lock_is_set", "exchanged", "_join"])
def test_python_frozen_in_the_middle_of_a_meeting(
    beam_factory: BeamFactory, other_release: BeamRelease, python_program: PythonProgram, step: str
) -> None:
    beam, second = beam_factory(arguments=TICKS), beam_factory(release=other_release, arguments=TICKS)
    meet(beam, second)
    program = python_program.start("py_frozen@127.0.0.1", beam, step, signal.SIGSTOP)
    assert until(lambda: is_stopped(program), 15)
    for at in (beam, second):
        assert at.eval(f"global:register_name(node(), {SLEEPER})", timeout_s=3 * TICKTIME_S) is YES
    assert until(lambda: is_whole([beam, second]), 10)
    program.signal(signal.SIGCONT)
    # Thawed, it finds its connection closed, and a cluster that has dropped it.
    gevent.sleep(0.5)
    for at in (beam, second):
        assert at.eval("global:register_name({again, node()}, self())", timeout_s=5) is YES


@pytest.mark.fault
@pytest.mark.slow
def test_python_member_frozen_and_thawed(
    beam_factory: BeamFactory, other_release: BeamRelease, python_program: PythonProgram
) -> None:
    beam, second = beam_factory(arguments=TICKS), beam_factory(release=other_release, arguments=TICKS)
    meet(beam, second)
    program = python_program.start("py_frozen@127.0.0.1", beam)
    assert until(lambda: second.eval("'py_frozen@127.0.0.1'") in second.eval("nodes()"), 10)
    program.signal(signal.SIGSTOP)
    assert beam.eval(f"global:register_name(name, {SLEEPER})", timeout_s=3 * TICKTIME_S) is YES
    assert until(lambda: is_whole([beam, second]), 10)
    program.signal(signal.SIGCONT)
    # It may come back by itself, for what it was asked before it froze; or when somebody pings it.
    assert second.eval("global:register_name(again, self())", timeout_s=10) is YES
    beam.eval("pong = net_adm:ping('py_frozen@127.0.0.1')")
    assert until(lambda: members(second) == {beam.name, "py_frozen@127.0.0.1"}, 10)


@pytest.mark.fault
@pytest.mark.slow
def test_python_is_not_held_up_by_a_frozen_beam(
    beam_factory: BeamFactory, other_release: BeamRelease, node_factory: NodeFactory
) -> None:
    beam, second = beam_factory(arguments=TICKS), beam_factory(release=other_release, arguments=TICKS)
    node = node_factory(options=NetOptions(net_ticktime_s=TICKTIME_S))
    meet(beam, second, node)
    second.freeze()
    with gevent.Timeout(3 * TICKTIME_S):
        assert node.global_names.register_name("name", sleeper(node))
    assert until(lambda: is_whole([beam, node]), 10)
    assert whereis(beam, "name") is not None
    second.kill()


@pytest.mark.fault
def test_python_holding_the_lock_is_killed(beam: Beam, python_program: PythonProgram) -> None:
    program = python_program.start("py_locker@127.0.0.1", beam)
    pid = beam.eval("rpc:call('py_locker@127.0.0.1', erlang, whereis, [global_name_server])")
    assert beam.eval("gen_server:call(global_name_server, {set_lock, {x, P}})", P=pid) is True
    program.kill()
    assert beam.eval("global:register_name(name, self())", timeout_s=5) is YES


@pytest.mark.fault
def test_name_server_that_crashes_comes_back(pair: tuple[Beam, Node]) -> None:
    beam, node = pair
    old = node.whereis("global_name_server")
    beam.eval("exit(P, kill)", P=old)
    assert until(lambda: node.whereis("global_name_server") not in (None, old))
    assert until(lambda: members(beam) == set())
    meet(beam, node)
    assert node.global_names.register_name("name", sleeper(node))
    assert whereis(beam, "name") is not None
