"""Signals that no BEAM sends on request, played by a peer in memory: legacy forms, crossings, nonsense."""

from __future__ import annotations

import struct as packing
from collections.abc import Iterator

import gevent
import pytest

from erlang_bridge import Atom, BridgeError, Node, Pid, Reference
from erlang_bridge.dist.flags import (
    DFLAG_ALIAS,
    DFLAG_EXIT_PAYLOAD,
    DFLAG_FRAGMENTS,
    DFLAG_SEND_SENDER,
    OFFERED_HIDDEN,
)
from erlang_bridge.etf import NO_PAYLOAD, encode_signal, encode_term
from erlang_bridge.etf import opcodes as op
from erlang_bridge.testing.peers import PeerFailure, ScriptedPeer
from tests.servers import Counter, Crasher
from tests.waiting import until

BOOM = Atom("boom")
NOPROC = Atom("noproc")
TOKEN = (0, 1, 2, Atom("from"), 3)


@pytest.fixture
def node() -> Iterator[Node]:
    with Node("under_test@127.0.0.1", cookie="memory", listen=False) as node:
        yield node


@pytest.fixture
def peer(node: Node) -> Iterator[ScriptedPeer]:
    with ScriptedPeer(node) as peer:
        yield peer


@pytest.fixture
def counter(node: Node) -> Pid:
    return node.start(Counter, 0, name="counter")


def test_call(peer: ScriptedPeer, counter: Pid) -> None:
    peer.send_message("counter", (Atom("$gen_cast"), (Atom("add"), 3)))
    assert peer.call("counter", Atom("read")) == 3
    assert peer.call(counter, Atom("read")) == 3


def test_wrong_cookie(node: Node) -> None:
    with pytest.raises(BridgeError, match="cookies differ"):
        ScriptedPeer(node, cookie=b"other")
    assert node.nodes("connected") == []


@pytest.mark.parametrize("traced", [False, True])
def test_messages_in_legacy_and_traced_forms(peer: ScriptedPeer, counter: Pid, traced: bool) -> None:
    add = (Atom("$gen_cast"), (Atom("add"), 1))
    empty = Atom("")
    if traced:
        controls = [
            (op.DOP_SEND_TT, empty, counter, TOKEN),
            (op.DOP_SEND_SENDER_TT, peer.pid, counter, TOKEN),
            (op.DOP_REG_SEND_TT, peer.pid, empty, Atom("counter"), TOKEN),
        ]
    else:
        controls = [
            (op.DOP_SEND, empty, counter),
            (op.DOP_SEND_SENDER, peer.pid, counter),
            (op.DOP_REG_SEND, peer.pid, empty, Atom("counter")),
        ]
    for control in controls:
        peer.send_packet(encode_signal(control, add))
    assert peer.call(counter, Atom("read")) == 3


@pytest.mark.parametrize("flags", [0, 2, 8, 10])
def test_altact_messages(peer: ScriptedPeer, counter: Pid, flags: int) -> None:
    to = Atom("counter") if flags & 8 else counter
    control = (op.DOP_ALTACT_SIG_SEND, flags, peer.pid, to, *([TOKEN] if flags & 2 else []))
    peer.send_packet(encode_signal(control, (Atom("$gen_cast"), (Atom("add"), 1))))
    assert peer.call(counter, Atom("read")) == 1


def test_altact_exit(node: Node, peer: ScriptedPeer, counter: Pid) -> None:
    peer.send_packet(encode_signal((op.DOP_ALTACT_SIG_SEND, 16, peer.pid, counter), BOOM))
    assert until(lambda: not node.is_alive(counter))


@pytest.mark.parametrize(
    ("control", "payload"),
    [
        (lambda us, them: (op.DOP_EXIT, us, them, BOOM), NO_PAYLOAD),
        (lambda us, them: (op.DOP_EXIT_TT, us, them, TOKEN, BOOM), NO_PAYLOAD),
        (lambda us, them: (op.DOP_PAYLOAD_EXIT, us, them), BOOM),
        (lambda us, them: (op.DOP_PAYLOAD_EXIT_TT, us, them, TOKEN), BOOM),
        (lambda us, them: (op.DOP_EXIT2, us, them, BOOM), NO_PAYLOAD),
        (lambda us, them: (op.DOP_EXIT2_TT, us, them, TOKEN, BOOM), NO_PAYLOAD),
        (lambda us, them: (op.DOP_PAYLOAD_EXIT2, us, them), BOOM),
        (lambda us, them: (op.DOP_PAYLOAD_EXIT2_TT, us, them, TOKEN), BOOM),
    ],
)
def test_exits_in_every_form(node: Node, peer: ScriptedPeer, counter: Pid, control, payload) -> None:
    peer.link(counter)
    peer.send_packet(encode_signal(control(peer.pid, counter), payload))
    assert until(lambda: not node.is_alive(counter))


def test_exit_without_a_link_is_dropped(peer: ScriptedPeer, counter: Pid) -> None:
    peer.send_signal((op.DOP_PAYLOAD_EXIT, peer.pid, counter), BOOM)
    assert peer.call(counter, Atom("read")) == 0


def test_death_tells_links_then_monitors(node: Node, peer: ScriptedPeer, counter: Pid) -> None:
    peer.link(counter)
    reference = peer.monitor("counter")
    peer.call(counter, Atom("read"))
    node.exit(counter, BOOM)
    assert peer.receive() == (op.DOP_PAYLOAD_EXIT, (op.DOP_PAYLOAD_EXIT, counter, peer.pid), BOOM)
    down = (op.DOP_PAYLOAD_MONITOR_P_EXIT, Atom("counter"), peer.pid, reference)
    assert peer.receive() == (op.DOP_PAYLOAD_MONITOR_P_EXIT, down, BOOM)
    peer.expect_nothing()


def test_unlink_is_acknowledged_before_any_other_signal(node: Node, peer: ScriptedPeer, counter: Pid) -> None:
    peer.link(counter)
    peer.send_signal((op.DOP_UNLINK_ID, 7, peer.pid, counter))
    peer.call(counter, Atom("read"))
    node.exit(counter, Atom("kill"))
    assert peer.receive()[1] == (op.DOP_UNLINK_ID_ACK, 7, counter, peer.pid)
    peer.expect_nothing()
    peer.send_signal((op.DOP_UNLINK_ID, 8, peer.pid, counter))
    assert peer.receive()[1] == (op.DOP_UNLINK_ID_ACK, 8, counter, peer.pid)


def test_link_that_crosses_our_unlink_loses(node: Node, peer: ScriptedPeer) -> None:
    process = node.table.find(node.start(Crasher, 0))
    assert process is not None
    node.table.link(process, peer.pid)
    assert peer.receive()[0] == op.DOP_LINK
    node.table.unlink(process, peer.pid)
    (_, unlink_id, ours, theirs), _ = peer.expect(op.DOP_UNLINK_ID)
    assert (ours, theirs) == (process.pid, peer.pid)
    peer.send_signal((op.DOP_LINK, peer.pid, process.pid))
    peer.send_signal((op.DOP_UNLINK_ID_ACK, unlink_id, peer.pid, process.pid))
    peer.call(process.pid, Atom("state"))
    assert process.links == {}
    assert not node.table.remote[peer.name].links
    # From here on a new link counts again.
    peer.send_signal((op.DOP_LINK, peer.pid, process.pid))
    peer.call(process.pid, Atom("state"))
    assert list(process.links) == [peer.pid]


def test_link_and_monitor_of_the_dead(node: Node, peer: ScriptedPeer, counter: Pid) -> None:
    node.exit(counter, Atom("kill"))
    peer.link(counter)
    assert peer.receive() == (op.DOP_PAYLOAD_EXIT, (op.DOP_PAYLOAD_EXIT, counter, peer.pid), NOPROC)
    reference = peer.monitor(counter)
    down = (op.DOP_PAYLOAD_MONITOR_P_EXIT, counter, peer.pid, reference)
    assert peer.receive() == (op.DOP_PAYLOAD_MONITOR_P_EXIT, down, NOPROC)


def test_pid_of_an_earlier_start_is_dead(peer: ScriptedPeer, counter: Pid) -> None:
    earlier = Pid(counter.node, counter.id, counter.serial, counter.creation ^ 1)
    peer.send_message(earlier, (Atom("$gen_cast"), (Atom("add"), 5)))
    reference = peer.monitor(earlier)
    assert peer.receive()[1][3] == reference
    peer.exit(earlier, BOOM)
    assert peer.call(counter, Atom("read")) == 0


def test_demonitor(node: Node, peer: ScriptedPeer, counter: Pid) -> None:
    reference = peer.monitor(counter)
    peer.send_signal((op.DOP_DEMONITOR_P, peer.pid, counter, reference))
    peer.call(counter, Atom("read"))
    node.exit(counter, BOOM)
    peer.expect_nothing()
    assert not node.table.remote[peer.name].watchers


def test_down_that_crosses_a_demonitor_is_dropped(node: Node, peer: ScriptedPeer) -> None:
    heard: list[object] = []

    def body(own) -> None:
        reference = own.monitor(peer.pid)
        own.receive()
        own.demonitor(reference)
        own.send(peer.pid, reference)
        heard.append(own.receive(timeout_s=2))

    pid = node.spawn(body)
    peer.expect(op.DOP_MONITOR_P)
    peer.send_message(pid, Atom("go"))
    (_, _, _, reference), _ = peer.expect(op.DOP_DEMONITOR_P)
    peer.send_signal((op.DOP_PAYLOAD_MONITOR_P_EXIT, peer.pid, pid, reference), BOOM)
    peer.send_message(pid, Atom("last"))
    assert until(lambda: heard)
    assert heard == [Atom("last")]


def test_lost_connection_is_noconnection_once(node: Node, peer: ScriptedPeer) -> None:
    heard: list[object] = []

    def body(own) -> None:
        own.set_trap_exit(True)
        own.link(peer.pid)
        own.monitor(peer.pid)
        while True:
            heard.append(own.receive())

    node.spawn(body)
    peer.expect(op.DOP_LINK)
    peer.expect(op.DOP_MONITOR_P)
    peer.close()
    assert until(lambda: len(heard) == 2)
    gevent.sleep(0.05)
    assert [(message[0], message[-1]) for message in heard] == [
        (Atom("EXIT"), Atom("noconnection")),
        (Atom("DOWN"), Atom("noconnection")),
    ]


def test_call_to_a_peer_that_answers_late(node: Node, peer: ScriptedPeer) -> None:
    with pytest.raises(BridgeError, match="timeout"):
        node.call((peer.name.name.replace("peer", "x"), peer.name), Atom("slow"), timeout_s=0.05)
    _, (_, caller, _) = peer.expect(op.DOP_REG_SEND)
    peer.send_message(caller[1].tail, (caller[1], Atom("late")))
    peer.expect(op.DOP_DEMONITOR_P)
    assert len(node.table.aliases) == 0


@pytest.mark.parametrize("without", [DFLAG_SEND_SENDER, DFLAG_EXIT_PAYLOAD, DFLAG_FRAGMENTS])
def test_peers_without_a_flag_get_the_old_forms(node: Node, counter: Pid, without: int) -> None:
    with ScriptedPeer(node, flags=OFFERED_HIDDEN & ~without) as peer:
        peer.link(counter)
        peer.monitor(counter)
        node.send(peer.pid, BOOM)
        sent = peer.receive()
        assert sent[1:] == (peer.pid, BOOM)
        assert sent[0] == (op.DOP_SEND if without == DFLAG_SEND_SENDER else op.DOP_SEND_SENDER)
        node.exit(counter, BOOM)
        kinds = [peer.receive()[0], peer.receive()[0]]
        if without == DFLAG_EXIT_PAYLOAD:
            assert kinds == [op.DOP_EXIT, op.DOP_MONITOR_P_EXIT]
        else:
            assert kinds == [op.DOP_PAYLOAD_EXIT, op.DOP_PAYLOAD_MONITOR_P_EXIT]


def test_alias_replies_to_peers_without_aliases_go_to_the_pid(node: Node, counter: Pid) -> None:
    with ScriptedPeer(node, flags=OFFERED_HIDDEN & ~DFLAG_ALIAS) as peer:
        tag = peer.make_reference()
        peer.send_message("counter", (Atom("$gen_call"), (peer.pid, tag), Atom("read")))
        assert peer.receive()[1:] == (peer.pid, (tag, 0))


# -- nonsense ---------------------------------------------------------------------------------


def test_bad_payload_costs_that_message(node: Node, peer: ScriptedPeer, counter: Pid) -> None:
    good = encode_signal((op.DOP_SEND_SENDER, peer.pid, counter), 1)
    body = good[4:-2] + bytes([250, 1])
    peer.send_packet(packing.pack(">I", len(body)) + body)
    assert peer.call(counter, Atom("read")) == 0


def test_undecodable_reason_is_still_a_death(node: Node, peer: ScriptedPeer, counter: Pid) -> None:
    peer.link(counter)
    good = encode_signal((op.DOP_PAYLOAD_EXIT, peer.pid, counter), 1)
    body = good[4:-2] + bytes([250, 1])
    peer.send_packet(packing.pack(">I", len(body)) + body)
    assert until(lambda: not node.is_alive(counter))


@pytest.mark.parametrize(
    "packet",
    [
        b"\x00\x00\x00\x03abc",
        b"\x00\x00\x00\x04\x83\x44\x00\x61",
        b"\xff\xff\xff\xff" + bytes(100),
        encode_signal((op.DOP_LINK, Atom("a"), Atom("b")))[:-3] + bytes(3),
        packing.pack(">I", 3 + len(encode_term((99, 1)))) + b"\x83\x44\x00" + encode_term((99, 1)),
    ],
)
def test_broken_frames_cost_that_connection_only(node: Node, peer: ScriptedPeer, counter: Pid, packet: bytes) -> None:
    with ScriptedPeer(node) as other:
        peer.send_packet(packet)
        peer.expect_closed()
        assert other.call(counter, Atom("read")) == 0


def test_what_came_before_a_broken_frame_is_delivered(node: Node, peer: ScriptedPeer, counter: Pid) -> None:
    add = (Atom("$gen_cast"), (Atom("add"), 3))
    peer.send_packet(encode_signal((op.DOP_SEND_SENDER, peer.pid, counter), add) + b"\x00\x00\x00\x03abc")
    peer.expect_closed()
    assert node.call(counter, Atom("read")) == 3


def test_signals_in_the_name_of_a_third_node_are_dropped(node: Node, peer: ScriptedPeer, counter: Pid) -> None:
    stranger = Pid(Atom("third@memory"), 1, 0, 5)
    peer.send_packet(encode_signal((op.DOP_LINK, stranger, counter)))
    peer.send_packet(encode_signal((op.DOP_MONITOR_P, stranger, counter, Reference(stranger.node, 5, (1, 0, 0)))))
    assert peer.call(counter, Atom("read")) == 0
    process = node.table.find(counter)
    assert process is not None
    assert not process.links
    assert not process.monitored_by


def test_peer_that_comes_back_with_a_new_creation(node: Node, counter: Pid) -> None:
    first = ScriptedPeer(node, name="again@memory", creation=10)
    first.link(counter)
    first.call(counter, Atom("read"))
    first.close()
    assert until(lambda: not node.is_alive(counter))
    with ScriptedPeer(node, name="again@memory", creation=11) as second:
        other = node.start(Counter, 4)
        assert second.call(other, Atom("read")) == 4


@pytest.mark.parametrize("flags", [OFFERED_HIDDEN, OFFERED_HIDDEN & ~DFLAG_EXIT_PAYLOAD])
def test_what_a_script_waits_for(node: Node, flags: int) -> None:
    with ScriptedPeer(node, flags=flags) as peer:
        first, second = node.start(Counter, 0), node.start(Counter, 0)
        peer.link(first)
        monitors = [peer.monitor(first), peer.monitor(second)]
        peer.call(second, Atom("read"))
        node.exit(second, Atom("kill"))
        node.exit(first, BOOM)
        node.send(peer.pid, (Atom("hello"), 1))
        assert peer.expect_message() == (Atom("hello"), 1)
        assert peer.expect_exit(first) is BOOM
        assert [peer.expect_down(monitor) for monitor in monitors] == [BOOM, Atom("killed")]
        peer.expect_nothing(0.05)


def test_failures_of_the_script_are_told(peer: ScriptedPeer) -> None:
    with pytest.raises(PeerFailure, match="SPAWN_REPLY"):
        peer.expect(op.DOP_SPAWN_REPLY, timeout_s=0.05)
