"""``pg`` among BEAMs and Python nodes: who is in which group, as everyone sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, Node, OwnProcess, Pid
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.plugin import BeamFactory, NodeFactory
from erlang_bridge.testing.releases import BeamRelease
from tests.waiting import until

GROUP = Atom("group")
OK, NOT_JOINED = Atom("ok"), Atom("not_joined")
SLEEPER = "spawn(fun() -> receive stop -> ok end end)"


def sleeper(node: Node) -> Pid:
    return node.spawn(lambda own: own.receive())


def start_pg(beam: Beam, scope: str = "pg") -> None:
    beam.eval("{ok, _} = pg:start(S)", S=Atom(scope))


def join(beam: Beam, group: Any = GROUP, times: int = 1) -> Pid:
    """Start a process on the BEAM that is a member."""
    source = f"P = {SLEEPER}, [ok = pg:join(G, P) || _ <- lists:seq(1, T)], P"
    pid: Pid = beam.eval(source, G=group, T=times)
    return pid


def members(node: Beam | Node, group: Any = GROUP, scope: str = "pg") -> Counter[Pid]:
    if isinstance(node, Node):
        return Counter(node.pg.get_members(group, scope))
    return Counter(node.eval("pg:get_members(S, G)", S=Atom(scope), G=group))


def are_members(nodes: Sequence[Beam | Node], group: Any, expected: Counter[Pid]) -> bool:
    return all(members(node, group) == expected for node in nodes)


def all_see(nodes: Sequence[Beam | Node], *pids: Pid, scope: str = "pg", timeout_s: float = 5.0) -> bool:
    """Whether all come to see exactly these members, each as often as it stands here."""
    expected = Counter(pids)
    return until(lambda: all(members(node, scope=scope) == expected for node in nodes), timeout_s)


@pytest.fixture
def other_release(beam_release: BeamRelease, beam_releases: list[BeamRelease]) -> BeamRelease:
    """Another release than the test's own, where the machine has one."""
    return next((release for release in beam_releases if release is not beam_release), beam_release)


def test_members_both_ways(beam: Beam, node: Node) -> None:
    start_pg(beam)
    ours, theirs = sleeper(node), join(beam)
    node.pg.join("group", ours)
    node.connect(beam.name)
    assert all_see([beam, node], ours, theirs)
    second = join(beam, times=2)
    node.pg.join("group", [ours, ours])
    assert all_see([beam, node], ours, ours, ours, theirs, second, second)
    assert beam.eval("pg:get_local_members(group)") == [second, second, theirs]
    assert node.pg.get_local_members("group") == [ours, ours, ours]
    assert node.pg.leave("group", ours)
    beam.eval("ok = pg:leave(group, [P, Q])", P=second, Q=theirs)
    assert all_see([beam, node], ours, ours, second)
    node.exit(ours, Atom("kill"))
    beam.eval("exit(P, kill)", P=second)
    assert all_see([beam, node])
    assert beam.eval("pg:which_groups()") == node.pg.which_groups() == []


def test_groups_are_any_term(beam: Beam, node: Node) -> None:
    start_pg(beam)
    node.connect(beam.name)
    pid = sleeper(node)
    groups = [(Atom("a"), 1), b"binary", 1, 1.0, [Atom("list")], {Atom("k"): 1}]
    for group in groups:
        node.pg.join(group, pid)
    for group in groups:
        beam.wait_until("pg:get_members(G) =:= [P]", G=group, P=pid)
    theirs = join(beam, 1.0)
    assert until(lambda: members(node, 1.0) == Counter([pid, theirs]))
    assert members(node, 1) == Counter([pid])


def test_a_whole_cluster(
    beam: Beam, beam_factory: BeamFactory, other_release: BeamRelease, node_factory: NodeFactory
) -> None:
    second, third = beam_factory(release=other_release), beam_factory()
    one, two = node_factory(), node_factory()
    everyone: list[Beam | Node] = [beam, second, third, one, two]
    for at in (beam, second, third):
        start_pg(at)
    pids = [join(beam), join(second), sleeper(one), sleeper(two)]
    one.pg.join("group", pids[2])
    two.pg.join("group", pids[3])
    # Each is connected with one other; global makes the mesh.
    beam.eval("net_kernel:connect_node(N)", N=second.node)
    one.connect(beam.name)
    two.connect(second.name)
    third.eval("net_kernel:connect_node(N)", N=one.name)
    assert all_see(everyone, *pids, timeout_s=20)
    late = join(third)
    assert all_see(everyone, *pids, late)
    second.kill()
    everyone.remove(second)
    assert all_see(everyone, pids[0], pids[2], pids[3], late)
    two.stop()
    everyone.remove(two)
    assert all_see(everyone, pids[0], pids[2], late)


def test_pg_is_started_later(beam: Beam, node: Node) -> None:
    node.connect(beam.name)
    ours = sleeper(node)
    node.pg.join("group", ours)
    start_pg(beam)
    assert all_see([beam, node], ours)
    node.pg.start_scope("mine")
    node.pg.join("group", ours, "mine")
    start_pg(beam, "mine")
    assert all_see([beam, node], ours, scope="mine")
    start_pg(beam, "yours")
    node.pg.start_scope("yours")
    pid = beam.eval(f"P = {SLEEPER}, pg:join(yours, group, P), P")
    assert all_see([beam, node], pid, scope="yours")


def test_the_beams_scope_dies(beam: Beam, node: Node) -> None:
    start_pg(beam)
    node.connect(beam.name)
    ours, theirs = sleeper(node), join(beam)
    node.pg.join("group", ours)
    assert all_see([beam, node], ours, theirs)
    beam.eval("exit(whereis(pg), kill)")
    assert all_see([node], ours)
    start_pg(beam)
    assert all_see([beam, node], ours)


def test_our_scope_dies(beam: Beam, node: Node) -> None:
    start_pg(beam)
    node.connect(beam.name)
    ours, theirs = sleeper(node), join(beam)
    node.pg.join("group", ours)
    assert all_see([beam, node], ours, theirs)
    beam.eval("exit(P, kill)", P=node.whereis("pg"))
    # It comes back, without the members that it had.
    assert all_see([beam, node], theirs)
    node.pg.join("group", ours)
    assert all_see([beam, node], ours, theirs)


def test_a_beam_goes_and_comes_back(beam: Beam, node: Node) -> None:
    start_pg(beam)
    node.connect(beam.name)
    ours = sleeper(node)
    node.pg.join("group", ours)
    theirs = join(beam)
    assert all_see([beam, node], ours, theirs)
    beam.kill()
    assert all_see([node], ours)
    beam.restart()
    start_pg(beam)
    again = join(beam)
    node.connect(beam.name)
    assert all_see([beam, node], ours, again)


def test_a_hidden_python_node_takes_part(beam: Beam, node_factory: NodeFactory) -> None:
    hidden = node_factory(hidden=True)
    ours = sleeper(hidden)
    hidden.pg.join("group", ours)
    hidden.connect(beam.name)
    gevent.sleep(0.2)
    # Nobody tells a hidden node that a scope has been started: it looks again.
    start_pg(beam)
    theirs = join(beam)
    assert all_see([beam, hidden], ours, theirs)
    assert beam.eval("nodes()") == []
    beam.eval("exit(whereis(pg), kill)")
    assert all_see([hidden], ours)
    start_pg(beam)
    theirs = join(beam)
    assert all_see([beam, hidden], ours, theirs)


def test_monitors_of_the_beam(beam: Beam, node: Node) -> None:
    start_pg(beam)
    node.connect(beam.name)
    ours = sleeper(node)
    node.pg.join("group", ours)
    assert all_see([beam], ours)
    shell = beam.shell()
    shell.eval("{Ref, Members} = pg:monitor(group)")
    assert shell.eval("Members") == [ours]
    node.pg.join("group", [ours])
    assert shell.eval("receive {Ref, join, group, J} -> J after 3000 -> none end") == [ours]
    node.exit(ours, Atom("kill"))
    gone = shell.eval("receive {Ref, leave, group, L1} -> L1 after 3000 -> none end")
    gone += shell.eval("receive {Ref, leave, group, L2} -> L2 after 3000 -> none end")
    assert gone == [ours, ours]


def test_our_monitors(beam: Beam, node: Node) -> None:
    start_pg(beam)
    node.connect(beam.name)
    got: list[Any] = []
    first: list[Any] = []

    def watch(own: OwnProcess) -> None:
        first.append(node.pg.monitor("group"))
        while True:
            got.append(own.receive())

    node.spawn(watch)
    assert until(lambda: len(first) == 1)
    reference, present = first[0]
    assert present == []
    theirs = join(beam)
    assert until(lambda: got == [(reference, Atom("join"), Atom("group"), [theirs])])
    beam.kill()
    assert until(lambda: got[1:] == [(reference, Atom("leave"), Atom("group"), [theirs])])


def test_functions_by_rpc(beam: Beam, node: Node) -> None:
    node.connect(beam.name)
    ours = sleeper(node)

    def call(function: str, *arguments: Any) -> Any:
        return beam.eval("rpc:call(N, pg, F, A)", N=node.name, F=Atom(function), A=list(arguments))

    assert call("join", Atom("group"), ours) is OK
    assert call("get_members", Atom("group")) == [ours]
    assert call("get_members", Atom("pg"), Atom("group")) == [ours]
    assert call("get_local_members", Atom("group")) == [ours]
    assert call("which_groups") == call("which_local_groups", Atom("pg")) == [Atom("group")]
    assert call("leave", Atom("pg"), Atom("group"), [ours]) is OK
    assert call("leave", Atom("group"), ours) is NOT_JOINED


def test_many_members_come_and_go(beam: Beam, node: Node) -> None:
    start_pg(beam)
    node.connect(beam.name)
    ours = [sleeper(node) for _ in range(200)]
    for index, pid in enumerate(ours):
        node.pg.join(index % 7, pid)
    theirs = beam.eval(f"[begin P = {SLEEPER}, pg:join(I rem 7, P), P end || I <- lists:seq(0, 199)]")
    for group in range(7):
        expected = Counter(ours[group::7]) + Counter(theirs[group::7])
        assert until(partial(are_members, [node, beam], group, expected))
    for pid in ours[::2]:
        node.exit(pid, Atom("kill"))
    beam.eval("[exit(P, kill) || P <- L]", L=theirs[1::2])
    left = Counter(ours[1::2]) + Counter(theirs[::2])
    assert until(lambda: sum((members(beam, group) for group in range(7)), Counter()) == left)
    assert until(lambda: sum((members(node, group) for group in range(7)), Counter()) == left)
