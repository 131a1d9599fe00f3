"""Process groups of Python nodes alone, and what peers in memory say that no BEAM of today does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from erlang_bridge import Atom, EtfEncodeError, Node, NoProcess, OwnProcess, Pid
from erlang_bridge.dist.flags import OFFERED_HIDDEN, OFFERED_VISIBLE
from erlang_bridge.etf import opcodes as op
from erlang_bridge.kernel.pg import Groups
from erlang_bridge.otp.gen import GEN_CAST
from erlang_bridge.testing import free_port
from erlang_bridge.testing.peers import PeerFailure, ScriptedPeer
from tests.waiting import until

Factory = Callable[..., Node]
PG, GROUP, OTHER = Atom("pg"), Atom("group"), Atom("other")


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


@pytest.fixture
def node(start: Factory) -> Node:
    return start("node")


class Scope(ScriptedPeer):
    """A visible peer; its own pid plays the process of the scope."""

    def __init__(self, node: Node, **options: Any) -> None:
        super().__init__(node, **{"flags": OFFERED_VISIBLE, **options})

    def next(self, timeout_s: float | None = None) -> Any:
        """The next message to the scope, by name or by pid."""

        def is_ours(signal: Any) -> bool:
            return (signal[0] == op.DOP_REG_SEND and signal[1] is PG) or signal[0] == op.DOP_SEND_SENDER

        return self._take(is_ours, timeout_s, "a message to the scope")[2]

    def tell(self, *message: Any) -> None:
        self.send_message(PG, message)

    def cast(self, *message: Any) -> None:
        self.send_message(PG, (GEN_CAST, message))

    def join_in(self, groups: list[Any] | None = None) -> Pid:
        """Be discovered; the pid of the node's scope."""
        what, pid = self.next()
        assert what is Atom("discover")
        self.cast(Atom("sync"), self.pid, groups or [])
        assert pid == self.node.whereis("pg")
        signal = self._take(lambda found: found[0] == op.DOP_MONITOR_P and found[1][2] == self.pid, None, "a monitor")
        self.monitor_of_node = signal[1]
        return pid  # type: ignore[no-any-return]


@pytest.fixture
def peer(node: Node) -> Iterator[Scope]:
    with Scope(node) as peer:
        yield peer


def sleeper(node: Node) -> Pid:
    return node.spawn(lambda own: own.receive())


# -- the table --------------------------------------------------------------------------------


def test_a_pid_is_a_member_as_often_as_it_has_joined() -> None:
    groups, pid, peer = Groups(), Pid(Atom("a@h"), 1, 0, 1), Pid(Atom("b@h"), 1, 0, 1)
    groups.join(None, GROUP, [pid, pid])
    groups.join(peer, GROUP, [peer])
    found = groups.find(GROUP)
    assert found is not None
    assert found.members == [pid, pid, peer]
    assert groups.leave(None, GROUP, [pid]) == [pid]
    assert groups.leave(None, GROUP, [pid, pid]) == [pid]
    assert groups.leave(peer, GROUP, [pid]) == []
    assert groups.of_peer(peer) == [(GROUP, [peer])]
    assert groups.leave(peer, GROUP, [peer]) == [peer]
    assert groups.find(GROUP) is None
    assert list(groups) == []


# -- one node ---------------------------------------------------------------------------------


def test_members_of_one_node(node: Node) -> None:
    one, two = sleeper(node), sleeper(node)
    node.pg.join("group", one)
    node.pg.join("group", [two, one])
    assert sorted(node.pg.get_members("group"), key=str) == sorted([one, two, one], key=str)
    assert node.pg.get_members(Atom("group")) == node.pg.get_local_members("group")
    node.pg.join((1, b"any term"), two)
    assert node.pg.which_groups() == node.pg.which_local_groups() == [GROUP, (1, b"any term")]
    assert node.pg.leave("group", one)
    assert node.pg.leave("group", [one, one])
    assert not node.pg.leave("group", one)
    assert not node.pg.leave("nobody", two)
    assert node.pg.get_members("group") == [two]
    node.exit(two, Atom("kill"))
    assert until(lambda: node.pg.which_groups() == [])


def test_what_cannot_join(node: Node, start: Factory) -> None:
    stranger = sleeper(start("stranger"))
    with pytest.raises(ValueError, match="stranger"):
        node.pg.join("group", stranger)
    with pytest.raises(ValueError, match="not a process"):
        node.pg.join("group", ["pid"])  # type: ignore[list-item]
    with pytest.raises(NoProcess):
        node.pg.join("group", sleeper(node), scope="never_started")
    with pytest.raises(EtfEncodeError):
        node.pg.join(object(), sleeper(node))
    assert node.pg.get_members("group", "never_started") == []
    dead = sleeper(node)
    node.exit(dead, Atom("kill"))
    node.pg.join("group", dead)
    assert until(lambda: node.pg.which_groups() == [])


def test_scopes_are_apart(node: Node) -> None:
    node.pg.start_scope("mine")
    node.pg.start_scope("mine")
    pid = sleeper(node)
    node.pg.join("group", pid, "mine")
    assert node.pg.get_members("group", "mine") == [pid]
    assert node.pg.get_members("group") == []
    node.register("taken", pid)
    with pytest.raises(ValueError, match="taken"):
        node.pg.start_scope("taken")


def test_monitors(node: Node) -> None:
    pid, other = sleeper(node), sleeper(node)
    node.pg.join("group", pid)
    got: list[Any] = []
    references: list[Any] = []

    def watch(own: OwnProcess) -> None:
        references.extend((node.pg.monitor("group"), node.pg.monitor_scope()))
        while True:
            message = own.receive()
            if message == "stop watching":
                assert node.pg.demonitor(references[0][0])
                assert not node.pg.demonitor(references[0][0])
                got.append("stopped")
            else:
                got.append(message)

    watcher = node.spawn(watch)
    assert until(lambda: len(references) == 2)
    (group_ref, members), (scope_ref, groups) = references
    assert members == [pid]
    assert groups == [(GROUP, [pid])]
    node.pg.join("group", [other])
    node.pg.join("other", other)
    assert until(lambda: len(got) == 3)
    assert sorted(got, key=str) == sorted(
        [
            (scope_ref, Atom("join"), GROUP, [other]),
            (group_ref, Atom("join"), GROUP, [other]),
            (scope_ref, Atom("join"), OTHER, [other]),
        ],
        key=str,
    )
    got.clear()
    node.send(watcher, "stop watching")
    assert until(lambda: got == ["stopped"])
    node.pg.leave("group", pid)
    assert until(lambda: got == ["stopped", (scope_ref, Atom("leave"), GROUP, [pid])])
    node.exit(watcher, Atom("kill"))
    node.pg.leave("group", other)
    with pytest.raises(RuntimeError, match="process"):
        node.pg.monitor("group")


# -- several ----------------------------------------------------------------------------------


def test_members_of_two_nodes(start: Factory) -> None:
    one, two = start("one"), start("two")
    ours, theirs = sleeper(one), sleeper(two)
    one.pg.join("group", [ours, ours])
    one.connect(two.name)
    assert until(lambda: two.pg.get_members("group") == [ours, ours])
    two.pg.join("group", theirs)
    assert until(lambda: one.pg.get_members("group") == [ours, ours, theirs])
    assert two.pg.get_local_members("group") == [theirs]
    assert (two.pg.which_groups(), two.pg.which_local_groups()) == ([GROUP], [GROUP])
    one.pg.leave("group", ours)
    assert until(lambda: two.pg.get_members("group") == [theirs, ours])
    one.disconnect(two.name)
    assert until(lambda: one.pg.get_members("group") == [ours] and two.pg.get_members("group") == [theirs])
    two.connect(one.name)
    assert until(lambda: len(one.pg.get_members("group")) == len(two.pg.get_members("group")) == 2)
    two.exit(theirs, Atom("kill"))
    assert until(lambda: one.pg.get_members("group") == [ours])
    one.stop()
    assert until(lambda: two.pg.which_groups() == [])


def test_a_hidden_node_takes_part(start: Factory) -> None:
    one, hidden = start("one"), start("hidden", hidden=True)
    ours, theirs = sleeper(one), sleeper(hidden)
    one.pg.join("group", ours)
    hidden.pg.join("group", theirs)
    hidden.connect(one.name)
    assert until(lambda: hidden.pg.get_members("group") == [theirs, ours])
    assert until(lambda: one.pg.get_members("group") == [ours, theirs])
    # The peer's scope is started again: nobody tells a hidden node.
    pg = one.whereis("pg")
    assert pg is not None
    one.exit(pg, Atom("kill"))
    assert until(lambda: hidden.pg.get_members("group") == [theirs])
    assert until(lambda: one.pg.get_members("group") == [theirs])


def test_a_scope_that_is_started_later(start: Factory) -> None:
    one, two = start("one"), start("two")
    one.connect(two.name)
    one.pg.start_scope("late")
    pid = sleeper(one)
    one.pg.join("group", pid, "late")
    two.pg.start_scope("late")
    assert until(lambda: two.pg.get_members("group", "late") == [pid])


def test_a_scope_that_dies_is_started_again_without_its_members(start: Factory) -> None:
    one, two = start("one"), start("two")
    ours, theirs = sleeper(one), sleeper(two)
    one.connect(two.name)
    one.pg.join("group", ours)
    two.pg.join("group", theirs)
    assert until(lambda: len(one.pg.get_members("group")) == len(two.pg.get_members("group")) == 2)
    pg = one.whereis("pg")
    assert pg is not None
    one.exit(pg, Atom("kill"))
    assert until(lambda: one.pg.get_members("group") == two.pg.get_members("group") == [theirs])
    one.pg.join("group", ours)
    assert until(lambda: two.pg.get_members("group") == [theirs, ours])


# -- messages ---------------------------------------------------------------------------------


def test_we_discover_in_the_old_form_and_answer_both(node: Node, peer: Scope) -> None:
    pid = sleeper(node)
    node.pg.join("group", pid)
    scope = node.whereis("pg")
    assert peer.next() == (Atom("discover"), scope)
    peer.tell(Atom("discover"), peer.pid)
    assert peer.next() == (GEN_CAST, (Atom("sync"), scope, [(GROUP, [pid])]))
    assert peer.next() == (Atom("discover"), scope)
    peer.tell(Atom("discover"), peer.pid, 1)
    assert peer.next() == (GEN_CAST, (Atom("sync"), scope, [(GROUP, [pid])]))
    with pytest.raises(PeerFailure):
        peer.next(0.1)


def test_changes_are_told(node: Node, peer: Scope) -> None:
    scope = peer.join_in()
    pid, other = sleeper(node), sleeper(node)
    node.pg.join("group", pid)
    assert peer.next() == (Atom("join"), scope, GROUP, [pid])
    node.pg.join("group", [pid, other])
    assert peer.next() == (Atom("join"), scope, GROUP, [pid, other])
    node.pg.leave("group", other)
    assert peer.next() == (Atom("leave"), scope, [other], [GROUP])
    node.exit(pid, Atom("kill"))
    assert peer.next() == (Atom("leave"), scope, pid, [GROUP, GROUP])


def test_members_of_a_peer(node: Node, peer: Scope) -> None:
    one, two = peer.make_pid(), peer.make_pid()
    peer.join_in([(GROUP, [one])])
    assert until(lambda: node.pg.get_members("group") == [one])
    peer.tell(Atom("join"), peer.pid, GROUP, two)
    peer.tell(Atom("join"), peer.pid, OTHER, [two, two])
    assert until(lambda: node.pg.get_members("other") == [two, two])
    assert node.pg.get_members("group") == [two, one]
    peer.tell(Atom("leave"), peer.pid, two, [GROUP, OTHER])
    assert until(lambda: node.pg.get_members("other") == [two])
    assert node.pg.get_members("group") == [one]
    peer.cast(Atom("sync"), peer.pid, [(OTHER, [one, two])])
    assert until(lambda: node.pg.which_groups() == [OTHER])
    assert sorted(node.pg.get_members("other"), key=str) == sorted([one, two], key=str)
    peer.close()
    assert until(lambda: node.pg.which_groups() == [])


def test_the_second_dialect(node: Node, peer: Scope) -> None:
    one, two = peer.make_pid(), peer.make_pid()
    peer.next()
    peer.tell(Atom("discover"), peer.pid, 1)
    peer.cast(Atom("local_data"), peer.pid, 1, {GROUP: [one], OTHER: [two]})
    assert until(lambda: node.pg.which_groups() == [GROUP, OTHER])
    peer.tell(Atom("update"), peer.pid, [(GROUP, [two], [one]), (OTHER, [], [two])])
    assert until(lambda: node.pg.which_groups() == [GROUP])
    assert node.pg.get_members("group") == [two]


def test_what_a_stranger_says_does_not_count(node: Node, peer: Scope) -> None:
    stranger = peer.make_pid()
    peer.join_in()
    peer.tell(Atom("join"), stranger, GROUP, [peer.pid])
    peer.tell(Atom("leave"), stranger, [peer.pid], [GROUP])
    peer.tell(Atom("join"), peer.pid, OTHER, [peer.pid])
    assert until(lambda: node.pg.which_groups() == [OTHER])


def test_a_peer_whose_scope_dies(node: Node, peer: Scope) -> None:
    peer.join_in([(GROUP, [peer.make_pid()])])
    assert until(lambda: node.pg.which_groups() == [GROUP])
    _, watcher, _, reference = peer.monitor_of_node
    peer.send_signal((op.DOP_PAYLOAD_MONITOR_P_EXIT, peer.pid, watcher, reference), Atom("killed"))
    assert until(lambda: node.pg.which_groups() == [])


NONSENSE: list[Any] = [
    (Atom("join"), 1, 2, 3),
    (Atom("discover"), Atom("nobody")),
    (GEN_CAST, (Atom("sync"), 1, [])),
    (GEN_CAST, (Atom("local_data"), Pid(Atom("x@y"), 1, 0, 1), 1, [])),
    (Atom("hello"),),
]


@pytest.mark.parametrize("message", NONSENSE)
def test_nonsense_is_dropped(node: Node, peer: Scope, message: Any) -> None:
    pg = node.whereis("pg")
    peer.join_in()
    peer.send_message(PG, message)
    for strange in (7, [1, 2], (Atom("group"), [3])):
        peer.tell(Atom("update"), peer.pid, [strange])
        peer.cast(Atom("sync"), peer.pid, [strange])
    peer.tell(Atom("join"), peer.pid, GROUP, [peer.pid, 5])
    assert until(lambda: node.pg.get_members("group") == [peer.pid])
    assert node.whereis("pg") == pg


def test_a_hidden_peer_is_not_sought(node: Node) -> None:
    with Scope(node, flags=OFFERED_HIDDEN) as peer:
        with pytest.raises(PeerFailure):
            peer.next(0.1)
        peer.tell(Atom("discover"), peer.pid)
        assert peer.next()[1][0] is Atom("sync")
