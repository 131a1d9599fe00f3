"""The exchange of names, step by step, with a peer in memory that plays a name server: both roles, and mishaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, CallTimeout, Export, Node, Pid
from erlang_bridge.dist.flags import OFFERED_VISIBLE
from erlang_bridge.etf import opcodes as op
from erlang_bridge.kernel import global_locker
from erlang_bridge.otp.gen import GEN_CALL, GEN_CAST, reply_destination
from erlang_bridge.testing import free_port
from erlang_bridge.testing.peers import PeerFailure, ScriptedPeer
from tests.waiting import until

GNS = Atom("global_name_server")
OK, YES = Atom("ok"), Atom("yes")
GLOBAL = Atom("global")
UNUSED = Atom("unused")
METHOD = Export(GLOBAL, Atom("random_exit_name"), 3)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def node(port: int) -> Iterator[Node]:
    with Node("node@127.0.0.1", cookie="memory", epmd_port_number=port) as node:
        yield node


@pytest.fixture
def second_node(node: Node, port: int) -> Iterator[Node]:
    with Node("second@127.0.0.1", cookie="memory", epmd_port_number=port) as second:
        yield second


class Member(ScriptedPeer):
    """A visible peer with a name server, whose messages the test writes."""

    def __init__(self, node: Node, name: str = "zed@memory") -> None:
        super().__init__(node, name=name, flags=OFFERED_VISIBLE)
        self.tag = 100
        self.node_tag = 0
        self.locker = self.make_pid()
        self.node_locker: Any = None

    def next(self, timeout_s: float | None = None) -> Any:
        """The next message to our name server; other signals stay."""
        is_ours = lambda signal: signal[0] == op.DOP_REG_SEND and signal[1] is GNS  # noqa: E731
        return self._take(is_ours, timeout_s, "a message to the name server")[2]

    def cast(self, message: Any) -> None:
        self.send_message(GNS, (GEN_CAST, message))

    def tell(self, message: Any) -> None:
        self.send_message(GNS, message)

    def next_call(self, value: Any) -> Any:
        """The next request to our name server, which answers `value`."""
        return self.answer(self.next(), value)

    def answer(self, message: Any, value: Any) -> Any:
        label, caller, request = message
        assert label is GEN_CALL
        self.send_message(reply_destination(caller), (caller[1], value))
        return request

    # -- the steps --

    def greeted(self, members: dict[Atom, int] | None = None) -> None:
        """Take the node's ``init_connect``, which names its `members`."""
        label, (what, (version, tag), name, (locker, unused, known, pid)) = self.next()
        assert (label, what, version, name) == (GEN_CAST, Atom("init_connect"), 8, self.node.name)
        assert (locker, unused, known) == (Atom("locker"), Atom("no_longer_a_pid"), members or {})
        self.node_tag, self.node_locker = tag, pid

    @property
    def locker_offered(self) -> Any:
        return (Atom("locker"), Atom("no_longer_a_pid"), {}, self.locker)

    def greet(self) -> None:
        """Send ``init_connect`` under a new tag, and take the answer."""
        self.tag += 1
        self.cast((Atom("init_connect"), (8, self.tag), self.name, self.locker_offered))
        assert self.next() == (Atom("init_connect_ack"), self.node.name, self.tag, self.node_tag)
        self.tell((Atom("init_connect_ack"), self.name, self.node_tag, self.tag))

    @property
    def lock_id(self) -> Any:
        return (GLOBAL, sorted([self.locker, self.node_locker], key=lambda pid: pid.id))

    def lead(self) -> None:
        """Lock the node, and have it lock us."""
        assert self.call("global_name_server", (Atom("set_lock"), self.lock_id)) is True
        self.cast((Atom("lock_set"), self.locker, True, [], self.node_tag))
        message = self.next()
        while message[0] is GEN_CALL:
            # It leads, too: both set the same lock.
            self.answer(message, True)
            message = self.next()
        assert (message[0], message[1][0], message[1][2]) == (GEN_CAST, Atom("lock_set"), True)

    def exchanged(self) -> Any:
        """Take the node's ``exchange``: its names."""
        label, (what, name, names, external, tag) = self.next()
        assert (label, what, name, external, tag) == (GEN_CAST, Atom("exchange"), self.node.name, [], self.tag)
        return names

    def exchange(self, names: list[Any]) -> None:
        self.cast((Atom("exchange"), self.name, names, [], self.node_tag))

    def resolved(self) -> Any:
        """Take the node's ``resolved``: operations for us, and its partition."""
        label, (what, name, operations, known, unused, external, tag) = self.next()
        assert (label, what, name, tag) == (GEN_CAST, Atom("resolved"), self.node.name, self.tag)
        assert (unused, external) == (UNUSED, [])
        return operations, known

    def resolve(self, operations: list[Any], known: list[Any] | None = None) -> None:
        self.cast((Atom("resolved"), self.name, operations, known or [], UNUSED, [], self.node_tag))

    def unlock(self) -> None:
        assert self.call("global_name_server", (Atom("del_lock"), self.lock_id)) is True

    def join(self, names: list[Any] | None = None) -> None:
        """The whole of it, with us in the lead."""
        self.greeted()
        self.greet()
        self.lead()
        self.exchanged()
        self.exchange(names or [])
        self.resolved()
        self.resolve([])
        self.unlock()
        assert until(lambda: self.name in known(self.node))


@pytest.fixture
def member(node: Node) -> Iterator[Member]:
    with Member(node) as member:
        yield member


def known(node: Node) -> list[Atom]:
    return list(node.call("global_name_server", Atom("get_known")))


def synced(node: Node) -> list[Atom]:
    return list(node.call("global_name_server", Atom("get_synced")))


def sleeper(node: Node) -> Pid:
    return node.spawn(lambda own: own.receive())


def can_register(node: Node) -> bool:
    """Whether nobody holds the lock."""
    with gevent.Timeout(5):
        return node.global_names.register_name(object_name(), sleeper(node))


def object_name() -> Atom:
    object_name.count += 1  # type: ignore[attr-defined]
    return Atom(f"name_{object_name.count}")  # type: ignore[attr-defined]


object_name.count = 0  # type: ignore[attr-defined]


# -- both roles -------------------------------------------------------------------------------


def test_the_peer_leads(node: Node, member: Member) -> None:
    ours = sleeper(node)
    assert node.global_names.register_name("ours", ours)
    member.greeted()
    member.greet()
    member.lead()
    assert member.exchanged() == [(Atom("ours"), ours, METHOD)]
    member.exchange([(Atom("theirs"), member.pid, METHOD)])
    assert member.resolved() == ([], [])
    assert known(node) == []
    member.resolve([], [(Atom("zed@memory"), 8)])
    assert until(lambda: known(node) == [member.name])
    assert synced(node) == [member.name]
    assert node.global_names.whereis_name("theirs") == member.pid
    member.unlock()


def test_we_lead(node: Node, member: Member) -> None:
    member.greeted()
    member.greet()
    assert member.next_call(True) == (Atom("set_lock"), member.lock_id)
    label, invitation = member.next()
    assert label is GEN_CAST
    assert invitation == (Atom("lock_set"), member.node_locker, True, [], member.tag)
    member.cast((Atom("lock_set"), member.locker, True, [], member.node_tag))
    assert member.exchanged() == []
    member.exchange([])
    assert member.resolved() == ([], [])
    member.resolve([])
    assert member.next_call(True) == (Atom("del_lock"), member.lock_id)
    assert until(lambda: known(node) == [member.name])
    assert not node.global_names.tables.locks.is_set(GLOBAL)


def test_names_may_come_before_our_lock_is_set(node: Node, member: Member) -> None:
    member.greeted()
    member.greet()
    member.exchange([(Atom("theirs"), member.pid, METHOD)])
    member.resolve([])
    member.lead()
    assert member.exchanged() == []
    member.resolved()
    assert until(lambda: node.global_names.whereis_name("theirs") == member.pid)
    member.unlock()


def test_refused_we_unlock_and_try_again(node: Node, member: Member) -> None:
    member.greeted()
    member.greet()
    for _ in range(2):
        assert member.next_call(True)[0] is Atom("set_lock")
        assert member.next()[1][0] is Atom("lock_set")
        member.cast((Atom("lock_set"), member.locker, False, [], member.node_tag))
        assert member.next_call(True) == (Atom("del_lock"), member.lock_id)
        assert not node.global_names.tables.locks.is_set(GLOBAL)


def test_refused_by_a_locker_that_knows_of_no_session(node: Node, member: Member) -> None:
    member.greeted()
    member.greet()
    assert member.next_call(True)[0] is Atom("set_lock")
    assert member.next()[1][0] is Atom("lock_set")
    member.send_message(member.node_locker, (Atom("lock_set"), member.locker, False, []))
    assert member.next_call(True) == (Atom("del_lock"), member.lock_id)


def test_a_peer_that_does_not_answer_our_invitation(
    node: Node, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(global_locker, "LONGEST_WAIT_S", 0.1)
    member.greeted()
    member.greet()
    assert member.next_call(True)[0] is Atom("set_lock")
    assert member.next()[1][0] is Atom("lock_set")
    assert member.next_call(True) == (Atom("del_lock"), member.lock_id)
    assert not node.global_names.tables.locks.is_set(GLOBAL)
    # Its answer comes too late, and is an invitation by now.
    member.cast((Atom("lock_set"), member.locker, True, [], member.node_tag))
    assert member.next()[1] == (Atom("lock_set"), member.node_locker, True, [], member.tag)
    assert member.exchanged() == []


def test_locked_by_another_the_peer_is_not_invited(node: Node, member: Member) -> None:
    member.greeted()
    member.greet()
    assert member.next_call(False) == (Atom("set_lock"), member.lock_id)
    assert until(lambda: not node.global_names.tables.locks.is_set(GLOBAL))
    assert member.next_call(True) == (Atom("set_lock"), member.lock_id)


def test_while_we_hold_the_lock_an_invitation_is_refused(node: Node, member: Member) -> None:
    lock = (GLOBAL, Atom("somebody"))
    assert member.call("global_name_server", (Atom("set_lock"), lock)) is True
    member.greeted()
    member.greet()
    member.cast((Atom("lock_set"), member.locker, True, [], member.node_tag))
    assert member.next()[1] == (Atom("lock_set"), member.node_locker, False, [], member.tag)
    assert member.call("global_name_server", (Atom("del_lock"), lock)) is True


def test_an_invitation_of_no_session_is_refused_without_a_tag(node: Node, member: Member) -> None:
    member.greeted()
    refusal: Any = (Atom("lock_set"), member.node_locker, False, [])
    member.cast((Atom("lock_set"), member.locker, True, []))
    assert member.expect(op.DOP_SEND_SENDER) == (member.locker, refusal)
    member.cast((Atom("lock_set"), member.locker, True, [], member.node_tag))
    assert member.expect(op.DOP_SEND_SENDER) == (member.locker, refusal)
    member.greet()
    member.cast((Atom("lock_set"), member.locker, True, [], member.node_tag - 1))
    assert member.expect(op.DOP_SEND_SENDER) == (member.locker, refusal)


def test_our_locks_have_to_be_asked_of_a_member(node: Node, member: Member) -> None:
    member.join()
    registering = gevent.spawn(node.global_names.register_name, "ours", sleeper(node))
    boss_first = member.next_call(True)
    assert boss_first[0] is Atom("set_lock")
    assert boss_first[1][0] is GLOBAL
    assert member.next_call(True) == boss_first
    what, name, pid, method = member.next_call(YES)
    assert (what, name, pid.node, method) == (Atom("register"), Atom("ours"), node.name, METHOD)
    assert member.next_call(True) == (Atom("del_lock"), boss_first[1])
    assert registering.get(timeout=5) is True


def test_a_name_of_a_member(node: Node, member: Member) -> None:
    member.join()
    lock = (GLOBAL, member.pid)
    assert member.call("global_name_server", (Atom("set_lock"), lock)) is True
    assert member.call("global_name_server", (Atom("register"), (1, b"x"), member.pid, METHOD)) is YES
    assert node.global_names.whereis_name((1, b"x")) == member.pid
    assert member.call("global_name_server", (Atom("unregister"), (1, b"x"))) is OK
    assert node.global_names.whereis_name((1, b"x")) is None
    assert member.call("global_name_server", (Atom("del_lock"), lock)) is True


def test_a_name_registered_under_anothers_lock_is_not_taken(node: Node, member: Member) -> None:
    member.join()
    stranger = member.make_pid()
    assert member.call("global_name_server", (Atom("set_lock"), (GLOBAL, stranger))) is True
    tag = member.make_reference()
    member.send_message(GNS, (GEN_CALL, (stranger, tag), (Atom("register"), Atom("late"), member.pid, METHOD)))
    until(lambda: False, 0.1)
    assert node.global_names.whereis_name("late") is None


def test_a_name_of_a_c_node(node: Node, member: Member) -> None:
    member.join()
    assert member.call("global_name_server", (Atom("set_lock"), (GLOBAL, member.pid))) is True
    request = (Atom("register_ext"), Atom("c"), member.pid, METHOD, member.name)
    assert member.call("global_name_server", request) is YES
    assert member.call("global_name_server", Atom("get_names_ext")) == [(Atom("c"), member.pid, member.name)]
    assert node.global_names.whereis_name("c") == member.pid


def test_questions(member: Member) -> None:
    assert member.call("global_name_server", Atom("get_protocol_version")) == 8
    assert member.call("global_name_server", Atom("get_known")) == []
    tag = member.make_reference()
    member.tell((Atom("whereis"), Atom("nobody"), (member.pid, tag)))
    assert member.expect(op.DOP_SEND_SENDER) == (member.pid, (tag, Atom("undefined")))


# -- clashes ----------------------------------------------------------------------------------


def clash_with(member: Member, name: Atom) -> Any:
    member.greeted()
    member.greet()
    member.lead()
    member.exchanged()
    member.exchange([(name, member.pid, METHOD)])
    return member.resolved()


def test_the_greater_node_leaves_a_clash_to_the_peer(node: Node) -> None:
    ours = sleeper(node)
    assert node.global_names.register_name("name", ours)
    with Member(node, "alpha@memory") as member:
        assert clash_with(member, Atom("name")) == ([], [])
        member.resolve([(Atom("insert"), (Atom("name"), member.pid, METHOD))])
        assert until(lambda: node.global_names.whereis_name("name") == member.pid)
        member.unlock()


@pytest.mark.parametrize("method", ["random_exit_name", "random_notify_name", "notify_all_name"])
def test_the_smaller_node_settles_a_clash(node: Node, member: Member, method: str) -> None:
    got: list[Any] = []
    ours = node.spawn(lambda own: got.append(own.receive()))
    name = Atom("name")
    assert node.global_names.register_name(name, ours, Export(GLOBAL, Atom(method), 3))
    operations, _ = clash_with(member, name)
    member.resolve([])
    member.unlock()
    assert until(lambda: member.name in known(node))
    conflict = Atom("global_name_conflict")
    match method:
        case "random_exit_name":
            # Ours is on the smaller node: the other one dies.
            assert operations == [(Atom("insert"), (name, ours, METHOD))]
            assert member.expect(op.DOP_PAYLOAD_EXIT2)[1] is Atom("kill")
            assert node.global_names.whereis_name(name) == ours
        case "random_notify_name":
            assert member.expect(op.DOP_SEND_SENDER) == (member.pid, (conflict, name))
            assert node.global_names.whereis_name(name) == ours
        case "notify_all_name":
            assert operations == [(Atom("delete"), name)]
            assert member.expect(op.DOP_SEND_SENDER) == (member.pid, (conflict, name, ours))
            assert until(lambda: got == [(conflict, name, member.pid)])
            assert node.global_names.whereis_name(name) is None


def test_an_exported_function_settles_a_clash(node: Node, member: Member) -> None:
    asked: list[Any] = []

    def choose(name: Any, pid1: Pid, pid2: Pid) -> Pid:
        asked.append((name, pid1, pid2))
        return pid1

    node.export("chooser", "choose", choose)
    ours = sleeper(node)
    assert node.global_names.register_name("name", ours, Export(Atom("chooser"), Atom("choose"), 3))
    assert clash_with(member, Atom("name")) == ([], [])
    assert asked == [(Atom("name"), member.pid, ours)]
    member.resolve([])
    assert until(lambda: node.global_names.whereis_name("name") == member.pid)


def test_a_method_that_nobody_has_deletes_the_name(second_node: Node, node: Node) -> None:
    method = Export(Atom("nowhere"), Atom("to_be_found"), 3)
    for at in (node, second_node):
        assert at.global_names.register_name("name", sleeper(at), method)
    node.connect(second_node.name)
    for at in (node, second_node):
        at.global_names.sync(timeout_s=5)
    assert until(
        lambda: node.global_names.whereis_name("name") is second_node.global_names.whereis_name("name") is None
    )


def test_a_method_that_fails_deletes_the_name(node: Node, member: Member) -> None:
    def fail(name: Any, pid1: Pid, pid2: Pid) -> Pid:
        raise ValueError("undecided")

    node.export("chooser", "choose", fail)
    assert node.global_names.register_name("name", sleeper(node), Export(Atom("chooser"), Atom("choose"), 3))
    assert clash_with(member, Atom("name"))[0] == [(Atom("delete"), Atom("name"))]
    member.resolve([])
    assert until(lambda: node.global_names.whereis_name("name") is None)


# -- what goes wrong --------------------------------------------------------------------------


def test_cancelled_a_session_begins_again_under_a_new_tag(node: Node, member: Member) -> None:
    member.greeted()
    old = member.node_tag
    member.greet()
    member.lead()
    member.exchanged()
    member.tell((Atom("cancel_connect"), member.name, old))
    assert member.next() == (Atom("cancel_connect"), node.name, member.tag)
    member.greeted()
    assert member.node_tag != old
    # Both lockers hold it until both have been told.
    member.unlock()
    assert until(lambda: not node.global_names.tables.locks.is_set(GLOBAL))
    member.tell((Atom("cancel_connect"), member.name, old))
    member.greet()
    member.lead()
    member.exchanged()
    member.exchange([])
    member.resolved()
    member.resolve([])
    assert until(lambda: known(node) == [member.name])


def test_tags_that_do_not_match_begin_a_session_anew(node: Node, member: Member) -> None:
    member.greeted()
    old = member.node_tag
    member.tell((Atom("init_connect_ack"), member.name, old, 4711))
    assert member.next() == (Atom("cancel_connect"), node.name, 4711)
    member.greeted()
    assert member.node_tag != old


def test_two_sessions_at_once_begin_anew(node: Node, member: Member) -> None:
    member.greeted()
    old = member.node_tag
    member.greet()
    member.cast((Atom("init_connect"), (8, 4711), member.name, member.locker_offered))
    assert member.next() == (Atom("cancel_connect"), node.name, 4711)
    assert member.next() == (Atom("cancel_connect"), node.name, member.tag)
    member.greeted()
    assert member.node_tag != old
    member.greet()


def test_messages_of_an_older_session_change_nothing(node: Node, member: Member) -> None:
    member.greeted()
    member.greet()
    member.lead()
    assert member.exchanged() == []
    stale = member.node_tag - 1
    member.cast((Atom("exchange"), member.name, [(Atom("stale"), member.pid, METHOD)], [], stale))
    member.cast(
        (Atom("resolved"), member.name, [(Atom("insert"), (Atom("stale"), member.pid, METHOD))], [], UNUSED, [], stale)
    )
    member.cast((Atom("lock_set"), member.locker, False, [], stale))
    member.exchange([])
    member.resolved()
    member.resolve([])
    assert until(lambda: known(node) == [member.name])
    assert node.global_names.registered_names() == []


def test_a_peer_of_a_newer_version_is_met_with_ours(member: Member) -> None:
    member.greeted()
    member.cast((Atom("init_connect"), (9, 1, Atom("more")), member.name, member.locker_offered))
    assert member.next() == (Atom("init_connect_ack"), member.node.name, 1, member.node_tag)


NONSENSE = [
    Atom("hello"),
    (GEN_CAST, (Atom("init_connect"), Atom("x"), 1, 2)),
    (GEN_CAST, (Atom("init_connect"), (8, 1), Atom("x@y"), (Atom("locker"), 1, 2, 3))),
    (GEN_CAST, (Atom("exchange"), Atom("x@y"), Atom("names"), [], 1)),
    (GEN_CAST, (Atom("resolved"), Atom("x@y"), [1, (Atom("insert"), 2)], [3], UNUSED, [4], 1)),
    (GEN_CAST, (Atom("new_nodes"), Atom("x@y"), [1, (Atom("insert"), (1, 2, 3))], [(1, 2, 3)], [4], 5)),
    (GEN_CAST, (Atom("in_sync"), 1, 2)),
    (GEN_CAST, (Atom("lock_set"), 1, 2, 3, 4)),
    (Atom("lost_connection"), Atom("x@y"), 1, Atom("z"), Atom("u@v")),
    (Atom("remove_connection"), Atom("nobody@nowhere")),
    (Atom("cancel_connect"), Atom("nobody@nowhere"), 1),
    (Atom("DOWN"), 1, 2, 3, 4),
]


@pytest.mark.parametrize("message", NONSENSE)
def test_nonsense_is_dropped(node: Node, member: Member, message: Any) -> None:
    server = node.whereis("global_name_server")
    member.greeted()
    member.tell(message)
    assert member.call("global_name_server", Atom("get_protocol_version")) == 8
    assert node.whereis("global_name_server") == server


STEPS = ["greeted", "greet", "lead", "exchanged", "exchange", "resolved"]


@pytest.mark.parametrize("last", STEPS)
def test_a_peer_that_goes_in_the_middle_leaves_no_lock_behind(node: Node, last: str) -> None:
    member = Member(node)
    for step in STEPS:
        take = getattr(member, step)
        take([]) if step == "exchange" else take()
        if step == last:
            break
    member.close()
    assert can_register(node)
    assert node.global_names.tables.locks.is_set(GLOBAL) is False
    assert known(node) == []
    with Member(node) as again:
        again.join()


def test_a_peer_that_goes_while_we_lead(node: Node) -> None:
    member = Member(node)
    member.greeted()
    member.greet()
    member.next_call(True)
    member.next()
    assert node.global_names.tables.locks.is_set(GLOBAL)
    member.close()
    assert can_register(node)


def test_a_peer_that_goes_before_it_answers_our_lock(node: Node) -> None:
    member = Member(node)
    member.greeted()
    member.greet()
    assert member.next()[2][0] is Atom("set_lock")
    member.close()
    assert can_register(node)


def test_what_was_asked_over_a_connection_that_has_ended_is_void(node: Node) -> None:
    """As after a freeze: the question, the end of its connection and the next connection come all at once."""
    with ScriptedPeer(node) as other, Member(node) as member:
        tag = other.make_reference()
        for request in (Atom("suspend"), Atom("resume")):
            other.send_message(GNS, (Atom("system"), (other.pid, tag), request))
            other.expect(op.DOP_SEND_SENDER)
            if request is Atom("suspend"):
                caller = (member.pid, member.make_reference())
                member.tell((GEN_CALL, caller, (Atom("set_lock"), (GLOBAL, member.pid))))
                member.close()
                assert until(lambda: node.nodes() == [])
                again = Member(node)
        with again:
            again.greeted()
            assert again.call("global_name_server", Atom("get_protocol_version")) == 8
            assert not node.global_names.tables.locks.is_set(GLOBAL)
            assert can_register(node)


def test_a_mute_peer_holds_nobody_up(node: Node, member: Member) -> None:
    member.greeted()
    assert can_register(node)
    with pytest.raises(CallTimeout):
        node.global_names.sync(timeout_s=0.2)


def test_a_hidden_peer_hears_nothing(node: Node) -> None:
    with ScriptedPeer(node) as peer:
        peer.expect_nothing(0.3)
        assert peer.call("global_name_server", (Atom("set_lock"), (Atom("r"), Atom("me")))) is True


def test_a_hidden_node_says_nothing() -> None:
    with Node("hidden@127.0.0.1", cookie="memory", listen=False) as node, Member(node) as member:
        with pytest.raises(PeerFailure, match="expected a message"):
            member.next(0.3)
        assert node.global_names.register_name("mine", sleeper(node))
        assert node.global_names.whereis_name("mine") is not None


# -- members and partitions -------------------------------------------------------------------


def test_a_member_tells_of_others(node: Node, member: Member) -> None:
    member.join()
    with Member(node, "second@memory") as second:
        # Connected, but not yet met: the member has met it, and tells.
        second.greeted({member.name: 8})
        owner = second.make_pid()
        assert member.call("global_name_server", (Atom("set_lock"), (GLOBAL, Atom("us")))) is True
        extra = [(Atom("vsn"), 8), (Atom("lock"), (GLOBAL, Atom("us")))]
        operations = [(Atom("insert"), (Atom("theirs"), owner, METHOD))]
        member.cast((Atom("new_nodes"), member.name, operations, [], [(second.name, 8)], extra))
        assert second.next() == (GEN_CAST, (Atom("in_sync"), node.name, True))
        assert node.global_names.whereis_name("theirs") == owner
        second.cast((Atom("in_sync"), second.name, True))
        assert until(lambda: set(synced(node)) == {member.name, second.name})
        assert set(known(node)) == {member.name, second.name}


def test_we_tell_our_members_of_others_before_we_unlock_them(node: Node, member: Member) -> None:
    member.join()
    with Member(node, "second@memory") as second:
        second.greeted({member.name: 8})
        second.greet()
        # The boss first; then the candidate, without whom the others are of no use.
        assert member.next_call(True) == (Atom("set_lock"), second.lock_id)
        assert second.next_call(True) == (Atom("set_lock"), second.lock_id)
        assert second.next()[1] == (Atom("lock_set"), second.node_locker, True, [member.name], second.tag)
        second.cast((Atom("lock_set"), second.locker, True, [], second.node_tag))
        second.exchanged()
        second.exchange([(Atom("theirs"), second.pid, METHOD)])
        assert second.resolved() == ([], [(member.name, 8)])
        second.resolve([])
        label, (what, name, operations, external, nodes, extra) = member.next()
        assert (label, what, name, external, nodes) == (GEN_CAST, Atom("new_nodes"), node.name, [], [(second.name, 8)])
        assert operations == [(Atom("insert"), (Atom("theirs"), second.pid, METHOD))]
        assert extra == [(Atom("vsn"), 8), (Atom("lock"), second.lock_id)]
        assert second.next_call(True) == (Atom("del_lock"), second.lock_id)
        assert member.next_call(True) == (Atom("del_lock"), second.lock_id)


def test_a_lost_member_is_reported(node: Node, member: Member) -> None:
    member.join()
    second = Member(node, "second@memory")
    second.next()
    second.close()
    what, name, incarnation, number, lost = member.next()
    assert (what, name, lost) == (Atom("lost_connection"), node.name, second.name)
    assert (type(incarnation), type(number)) == (int, int)


def test_whom_a_member_has_lost_we_drop(node: Node, member: Member) -> None:
    member.join()
    with Member(node, "second@memory") as second:
        second.next()
        assert member.call("global_name_server", (Atom("set_lock"), (GLOBAL, Atom("us")))) is True
        extra = [(Atom("lock"), (GLOBAL, Atom("us")))]
        member.cast((Atom("new_nodes"), member.name, [], [], [(second.name, 8)], extra))
        second.next()
        report = (Atom("lost_connection"), member.name, 1, 1, second.name)
        member.tell(report)
        assert second.next() == report
        assert second.next() == (Atom("remove_connection"), node.name)
        assert until(lambda: known(node) == [member.name])
        # It is for the other one to disconnect; that is no loss to be reported.
        second.close()
        assert until(lambda: node.nodes() == [member.name.name])
        member.tell(report)
        with pytest.raises(PeerFailure, match="expected a message"):
            member.next(0.2)


def test_told_to_we_disconnect(node: Node, member: Member) -> None:
    member.join()
    member.tell((Atom("remove_connection"), member.name))
    member.expect_closed()
    assert until(lambda: node.nodes() == [])
    assert known(node) == []


def test_disconnect_leaves_in_order(node: Node, member: Member) -> None:
    member.join()
    second = Member(node, "second@memory")
    second.next()
    assert sorted(node.global_names.disconnect()) == ["second@memory", "zed@memory"]
    with pytest.raises(PeerFailure, match="closed"):
        member.next()
    second.close()


def test_name_server_that_dies_starts_afresh_without_connections(node: Node, member: Member) -> None:
    member.join()
    old = node.whereis("global_name_server")
    assert old is not None
    node.exit(old, Atom("kill"))
    member.expect_closed()
    assert until(lambda: node.whereis("global_name_server") not in (None, old))
    assert known(node) == []
    with Member(node) as again:
        again.join()


@pytest.mark.parametrize("helper", ["locker", "registrar"])
def test_name_server_does_not_outlive_its_helpers(node: Node, helper: str) -> None:
    old = node.whereis("global_name_server")
    assert until(lambda: can_register(node))
    server: Any = node.table.names[GNS]
    server = server.instance
    node.exit(server.locker if helper == "locker" else server._registrar, Atom("kill"))
    assert until(lambda: node.whereis("global_name_server") not in (None, old))
    assert can_register(node)
