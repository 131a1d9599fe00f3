"""What others do wrong, and what goes wrong in between, costs nobody else anything."""

from __future__ import annotations

import _socket
import functools
import logging
import socket
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, Node
from erlang_bridge.dist.flags import OFFERED_HIDDEN
from erlang_bridge.dist.handshake_messages import SendName, encode_send_name
from erlang_bridge.errors import CallTimeout
from erlang_bridge.etf import opcodes as op
from erlang_bridge.testing.peers import ScriptedPeer
from tests.servers import Counter
from tests.waiting import until

KILL = Atom("kill")


@pytest.fixture
def node() -> Iterator[Node]:
    with Node("under_test@127.0.0.1", cookie="memory", listen=False) as node:
        yield node


@pytest.fixture
def peer(node: Node) -> Iterator[ScriptedPeer]:
    with ScriptedPeer(node) as peer:
        yield peer


def test_a_call_that_rex_does_not_know(node: Node, peer: ScriptedPeer) -> None:
    rex = node.whereis("rex")
    peer.send_message("rex", (Atom("$gen_call"), (peer.pid, peer.make_reference()), Atom("nonsense")))
    assert peer.call("net_kernel", (Atom("is_auth"), peer.name)) is Atom("yes")
    gevent.sleep(0.05)
    assert node.whereis("rex") == rex


@pytest.mark.parametrize("name", ["rex", "net_kernel"])
def test_kernel_processes_are_kept_running(node: Node, peer: ScriptedPeer, name: str) -> None:
    first = node.whereis(name)
    assert first is not None
    peer.exit(first, KILL)
    assert until(lambda: node.whereis(name) not in (None, first), 2)


def test_a_huge_log_asked_of_a_server(node: Node, peer: ScriptedPeer) -> None:
    counter = node.start(Counter, 3)
    request = (Atom("debug"), (Atom("log"), (True, 1 << 70)))
    peer.send_message(counter, (Atom("system"), (peer.pid, peer.make_reference()), request))
    assert peer.call(counter, Atom("read")) == 3


def test_those_who_watch_nodes_do_not_disturb_each_other(node: Node) -> None:
    heard = []

    def fail(*_: Any) -> None:
        raise RuntimeError("not interested")

    node.monitor_nodes(fail, fail)
    node.monitor_nodes(lambda *_: heard.append("up"), lambda *_: heard.append("down"))
    with ScriptedPeer(node) as peer:
        gevent.sleep(0.05)
        assert node.nodes("connected") == [peer.name.name]
    assert until(lambda: heard == ["up", "down"], 2)


def test_spawn_of_a_function_without_a_name(node: Node) -> None:
    heard: list[int] = []
    node.spawn(functools.partial(lambda number, own: heard.append(number), 1))
    assert until(lambda: heard == [1], 2)


def test_a_process_that_ends_itself_goes_no_further(node: Node) -> None:
    steps = []

    def run(own: Any) -> None:
        steps.append(1)
        node.exit(own.pid, Atom("enough"))
        steps.append(2)

    node.spawn(run)
    gevent.sleep(0.05)
    assert steps == [1]


def test_a_spawn_given_up_leaves_nothing_behind(node: Node, peer: ScriptedPeer) -> None:
    steps = []

    def run(own: Any) -> None:
        with pytest.raises(CallTimeout):
            node.spawn_remote(peer.name, "m", "f", [], link=True, monitor=True, timeout_s=0.05)
        steps.append("given up")
        own.receive(lambda message: message == "end")
        steps.append("alive")

    pid = node.spawn(run)
    request, _ = peer.expect(op.DOP_SPAWN_REQUEST)
    assert until(lambda: steps == ["given up"], 2)
    started = peer.make_pid()
    peer.send_signal((op.DOP_SPAWN_REPLY, request[1], pid, 3, started))
    assert peer.expect(op.DOP_PAYLOAD_EXIT) == ((op.DOP_PAYLOAD_EXIT, pid, started), Atom("abandoned"))
    assert peer.expect(op.DOP_DEMONITOR_P)[0][3] == request[1]
    peer.send_signal((op.DOP_PAYLOAD_EXIT, started, pid), Atom("boom"))
    peer.send_message(pid, b"end")
    node.send(pid, "end")
    assert until(lambda: steps == ["given up", "alive"], 2)


def test_what_was_not_learnt_of_a_release_is_asked_again(node: Node) -> None:
    answers: list[int | None] = []
    for _ in range(2):
        with ScriptedPeer(node, name="same@memory") as peer:
            node.table.release_of(peer.name, answers.append)
            peer.expect(op.DOP_SPAWN_REQUEST)
    assert until(lambda: answers == [None, None], 2)


def test_a_stranger_cannot_write_lines_into_the_log(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("evil\nERROR@host", "evil@host\nERROR"):
        ours, theirs = socket.socketpair()
        given = _socket.socket(fileno=theirs.detach())
        given.setblocking(False)
        node.connections.accept_socket(given)
        packet = encode_send_name(SendName(name, OFFERED_HIDDEN, 5))
        ours.sendall(len(packet).to_bytes(2, "big") + packet)
        gevent.sleep(0.05)
        ours.close()
        gevent.sleep(0.05)
    assert len(caplog.records) >= 2
    assert not [record for record in caplog.records if "\n" in record.getMessage()]


def test_the_group_leader_is_kept_running(node: Node) -> None:
    # Killed before its first turn, and once more when it runs.
    for _ in range(2):
        old = node.whereis("user")
        node.exit(old, Atom("kill"))
        assert until(lambda old=old: node.whereis("user") not in (None, old))
        assert until(lambda: node.table.default_group_leader == node.whereis("user"))


def test_listening_for_nodes_is_taken_back(node: Node, peer: ScriptedPeer) -> None:
    heard = []
    take_back = node.monitor_nodes(None, lambda *news: heard.append(news))
    take_back()
    take_back()
    peer.close()
    assert until(lambda: node.nodes("connected") == [])
    assert heard == []
