"""Connections over real sockets: set up, carry, end, in one process."""

import os
import time
from dataclasses import replace

import gevent
import pytest
from gevent.event import Event

from erlang_bridge.dist.connection import ReceiveLimits
from erlang_bridge.dist.flags import (
    DFLAG_FRAGMENTS,
    DFLAG_MAP_TAG,
    DFLAG_NAME_ME,
    DFLAG_PUBLISHED,
    OFFERED_HIDDEN,
    OFFERED_VISIBLE,
)
from erlang_bridge.dist.handshake import NodeIdentity, Verdict
from erlang_bridge.errors import (
    BadCookie,
    ConfigError,
    ConnectionLost,
    EtfEncodeError,
    HandshakeError,
    HandshakeTimeout,
    LostToSimultaneous,
    MissingFlags,
    NodeNotRegistered,
    NotAllowed,
)
from erlang_bridge.net.options import NetOptions
from erlang_bridge.terms import Atom
from erlang_bridge.testing import free_port
from tests.unit.net.worlds import RawPeer, World, drip_until_closed, until

NAME = Atom("name")


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


@pytest.fixture
def pair(world):
    """Two nodes that do not know of each other yet."""
    return world.node("a@127.0.0.1", creation=5), world.node("b@127.0.0.1", creation=6)


# -- both ways --------------------------------------------------------------------------------


def test_connect(pair):
    a, b = pair
    channel = a.connections.connect(b.node)
    until(lambda: b.events)
    assert (channel.state, channel.node) == ("up", b.node)
    assert channel.peer.creation == 6
    assert channel.peer.we_started
    assert channel.peer.hidden
    [(theirs,)] = b.of("up")
    assert theirs.peer.name is a.node
    assert not theirs.peer.we_started
    assert a.connections.connect(b.node) is channel is a.connections.get(b.node) is a.connections.peek(b.node)
    assert a.connections.channels() == [channel]


def test_messages_both_ways(pair):
    a, b = pair
    a.send(b, 1)
    until(lambda: b.messages)
    b.send(a, 2)
    until(lambda: a.messages)
    assert (a.messages, b.messages) == ([2], [1])
    assert len(a.of("up")) == len(b.of("up")) == 1


def test_what_is_sent_while_pending_comes_first_and_in_order(pair):
    a, b = pair
    a.on_up = lambda channel: channel.send((6, a.pid, Atom(""), NAME), "up")
    for number in range(100):
        a.send(b, number)
    channel = a.connections.get(b.node)
    assert channel.state == "pending"
    assert channel.peer is None
    until(lambda: channel.state == "up")
    a.send(b, "after")
    until(lambda: len(b.messages) == 102)
    assert b.messages == [*range(100), b"up", b"after"]
    assert b.kinds()[0] == "up"


def test_terms_are_taken_as_they_are_when_sent(pair):
    a, b = pair
    for _ in range(2):
        term = [1]
        a.send(b, term)
        term.append(2)
        a.connections.connect(b.node)
    until(lambda: len(b.messages) == 2)
    assert b.messages == [[1], [1]]


def test_a_term_that_cannot_be_encoded_raises_and_is_not_queued(pair):
    a, b = pair
    for _ in range(2):
        with pytest.raises(EtfEncodeError):
            a.send(b, object())
        with pytest.raises(EtfEncodeError):
            a.connections.get(b.node).send((6, object(), Atom(""), NAME), 1)
        a.connections.connect(b.node)
    a.send(b, "last")
    until(lambda: b.messages)
    assert b.messages == [b"last"]


@pytest.mark.parametrize("flags", [OFFERED_HIDDEN, OFFERED_HIDDEN & ~DFLAG_FRAGMENTS])
def test_large_messages_both_ways(world, flags):
    a, b = world.node("a@127.0.0.1", flags=flags), world.node("b@127.0.0.1")
    big = os.urandom(20 << 20)
    a.send(b, big)
    a.send(b, "small")
    b.send(a, [big, big])
    until(lambda: len(b.messages) == 2 and a.messages, 20)
    assert b.messages == [big, b"small"]
    assert a.messages == [[big, big]]


def test_many_small_messages(pair):
    a, b = pair
    a.connections.connect(b.node)
    for number in range(20_000):
        a.send(b, number)
    until(lambda: len(b.messages) == 20_000)
    assert b.messages == list(range(20_000))
    channel = a.connections.get(b.node)
    until(lambda: channel.statistics()["queued_bytes"] == 0)
    statistics = channel.statistics()
    assert statistics["packets_out"] == 20_000
    [(theirs,)] = b.of("up")
    until(lambda: theirs.statistics()["bytes_in"] == statistics["bytes_out"])
    assert theirs.statistics()["packets_in"] == 20_000


def test_visible_peers(world):
    a, b = world.node("a@127.0.0.1", flags=OFFERED_VISIBLE), world.node("b@127.0.0.1", flags=OFFERED_VISIBLE)
    assert not a.connections.connect(b.node).peer.hidden
    assert a.connections.get(b.node).peer.flags & DFLAG_PUBLISHED


# -- the end ----------------------------------------------------------------------------------


def test_disconnect(pair):
    a, b = pair
    channel = a.connections.connect(b.node)
    until(lambda: b.events)
    assert a.connections.disconnect(b.node)
    assert a.of("down") == [(channel, "disconnect")]
    assert (channel.state, channel.reason) == ("closed", "disconnect")
    assert a.connections.peek(b.node) is None
    assert not a.connections.disconnect(b.node)
    until(lambda: len(b.events) == 2)
    assert b.of("down")[0][1] == "connection_closed"
    channel.send((6, a.pid, Atom(""), NAME), 1)
    channel.close("again")
    assert a.kinds() == ["up", "down"]
    assert channel.statistics()["queued_bytes"] == 0


def test_what_was_sent_in_the_turn_of_the_end_still_goes_out(pair):
    a, b = pair
    a.connections.connect(b.node)
    a.send(b, "farewell")
    a.connections.disconnect(b.node)
    until(lambda: "down" in b.kinds())
    assert b.kinds() == ["up", "signal", "down"]
    assert b.messages == [b"farewell"]


def test_the_farewell_arrives_also_when_the_peer_has_sent_much_that_is_unread(world):
    b = world.node()
    peer = world.raw(b)
    until(lambda: b.of("up"))
    channel = b.connections.get(Atom(peer.name))
    peer.sock.sendall(peer.packet(bytes(300_000)))
    channel.send((6, b.pid, Atom(""), NAME), bytes(200_000))
    channel.send((6, b.pid, Atom(""), NAME), "farewell")
    channel.close("disconnect")
    data = peer.read_to_end()
    assert data.endswith(b"farewell")
    assert len(data) > 200_000


def test_reconnect_is_a_new_channel(pair):
    a, b = pair
    first = a.connections.connect(b.node)
    a.connections.disconnect(b.node)
    second = a.connections.connect(b.node)
    assert second is not first
    assert second.number != first.number
    until(lambda: b.kinds() == ["up", "down", "up"])


def test_a_peer_that_restarts_is_another_channel_with_another_creation(world):
    a, b = world.node("a@127.0.0.1"), world.node("b@127.0.0.1", creation=10)
    first = a.connections.connect(b.node)
    b.connections.close()
    until(lambda: a.of("down"))
    assert a.of("down") == [(first, "connection_closed")]
    again = world.node("b@127.0.0.1", creation=11)
    a.send(again, 1)
    until(lambda: again.messages)
    assert a.connections.get(b.node).peer.creation == 11
    assert first.peer.creation == 10


def test_close_ends_everything(world):
    a, b, c = (world.node(f"{letter}@127.0.0.1") for letter in "abc")
    world.held[c.name] = Event()
    up, pending = a.connections.connect(b.node), a.send(c, 1)
    gevent.sleep(0)
    incoming = world.dial(a)
    until(lambda: a.connections._incoming)
    a.connections.close()
    assert sorted(a.of("down"), key=lambda down: down[0].number) == [
        (up, "net_kernel_terminated"),
        (pending, "net_kernel_terminated"),
    ]
    assert incoming.recv(1) == b""
    with pytest.raises(OSError, match="refused"):
        world.dial(a)
    a.connections.close()
    with pytest.raises(HandshakeError, match="stopping"):
        a.connections.connect(b.node)
    assert len(a.of("down")) == 3


def test_an_exception_in_the_handler_of_signals_costs_the_connection(pair, caplog):
    a, b = pair
    b.on_signals = lambda channel, signals: 1 / 0
    a.send(b, 1)
    until(lambda: b.of("down"))
    assert b.of("down")[0][1] == "internal_error"
    assert "ZeroDivisionError" in caplog.text


def test_an_exception_on_coming_up_costs_the_connection(pair):
    a, b = pair
    b.on_up = lambda channel: 1 / 0
    a.send(b, 1)
    until(lambda: a.of("down"))
    assert b.kinds() == ["up", "down"]


def test_a_handler_may_close_the_channel(pair):
    a, b = pair
    b.on_signals = lambda channel, signals: channel.close("enough")
    a.send(b, 1)
    until(lambda: a.of("down"))
    assert b.kinds() == ["up", "signal", "down"]


def test_the_end_is_told_after_what_came_before_it(world):
    b = world.node()
    peer = world.raw(b)
    peer.sock.sendall(peer.packet(1) * 3)
    peer.sock.close()
    until(lambda: b.of("down"))
    assert b.kinds() == ["up", "signal", "signal", "signal", "down"]


# -- failures to connect ----------------------------------------------------------------------


def failure(node, name, error, match):
    """Connect, see it fail, and see it reported once."""
    with pytest.raises(error, match=match) as raised:
        node.connections.connect(Atom(name))
    [(channel, reason)] = node.of("down")
    assert reason == "connection_setup_failed"
    assert channel.failure is raised.value
    assert node.connections.peek(Atom(name)) is None
    assert node.kinds() == ["down"]


def test_a_wrong_cookie_is_told_to_the_one_who_dials(world, caplog):
    a, b = world.node("a@127.0.0.1", cookie=b"wrong"), world.node()
    failure(a, b.name, BadCookie, "cookies differ")
    assert b.events == []
    assert "connection attempt from a@127.0.0.1 rejected" in caplog.text
    assert "wrong" not in caplog.text
    assert "chocolate" not in caplog.text


def test_a_node_that_is_not_on_the_allow_list(world):
    a, b = world.node("a@127.0.0.1"), world.node(allowed_nodes=frozenset({"c@127.0.0.1", "otherhost"}))
    failure(a, b.name, NotAllowed, "allow list")


def test_the_allow_list_has_names_and_hosts():
    assert NetOptions(allowed_nodes=frozenset({"h"})).allows("a@h")
    assert NetOptions(allowed_nodes=frozenset({"a@h"})).allows("a@h")
    assert not NetOptions(allowed_nodes=frozenset({"a@h"})).allows("b@h")
    assert not NetOptions(allowed_nodes=frozenset()).allows("b@h")
    assert NetOptions().allows("b@h")


def test_flags_are_refused_by_the_one_who_is_dialled(world):
    a, b = world.node("a@127.0.0.1", flags=OFFERED_HIDDEN & ~DFLAG_MAP_TAG & ~(1 << 26)), world.node()
    failure(a, b.name, NotAllowed, "misses a flag")


def test_flags_are_refused_by_the_one_who_dials(world):
    a, b = world.node("a@127.0.0.1"), world.node(flags=OFFERED_HIDDEN & ~DFLAG_MAP_TAG & ~(1 << 26))
    failure(a, b.name, MissingFlags, "DFLAG_MAP_TAG")


def test_its_own_name(pair):
    failure(pair[0], "a@127.0.0.1", HandshakeError, "own name")


@pytest.mark.parametrize("name", ["nohost", "", "@", "a@b@c"])
def test_what_is_no_name(pair, name):
    failure(pair[0], name, HandshakeError, "not a node name")


def test_a_node_that_epmd_does_not_know(pair):
    failure(pair[0], "c@127.0.0.1", NodeNotRegistered, "c@127")


def test_a_host_that_does_not_exist(world, pair):
    world.resolve = None
    pair[0].connections._resolve = lambda name: (_ for _ in ()).throw(OSError("Name or service not known"))
    failure(pair[0], "c@nowhere", HandshakeError, "Name or service not known")


def test_an_error_of_the_resolver_is_not_swallowed(pair, caplog):
    pair[0].connections._resolve = lambda name: 1 // 0
    failure(pair[0], "c@nowhere", ZeroDivisionError, "by zero")
    assert "dialling c@nowhere went wrong" in caplog.text


def test_a_port_at_which_nobody_listens(world, pair):
    world.addresses["c@127.0.0.1"] = ("127.0.0.1", free_port())
    failure(pair[0], "c@127.0.0.1", HandshakeError, "refused")


def test_another_node_answers(world, pair):
    world.addresses["c@127.0.0.1"] = world.addresses["b@127.0.0.1"]
    failure(pair[0], "c@127.0.0.1", HandshakeError, "calls itself 'b@127.0.0.1'")


def test_what_answers_is_no_node(world, pair):
    listening = world.listener("c@127.0.0.1")

    def serve():
        sock, _ = listening.accept()
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        sock.recv(1000)
        sock.close()

    serving = gevent.spawn(serve)
    failure(pair[0], "c@127.0.0.1", HandshakeError, "announced")
    serving.join()


def test_a_peer_that_closes_at_once(world, pair):
    listening = world.listener("c@127.0.0.1")

    def serve():
        sock, _ = listening.accept()
        sock.close()

    serving = gevent.spawn(serve)
    failure(pair[0], "c@127.0.0.1", HandshakeError, "closed the connection when its status was expected")
    serving.join()


@pytest.mark.parametrize("drip", [b"", b"\0"])
def test_a_peer_that_does_not_answer(world, drip):
    a = world.node("a@127.0.0.1", setup_time_s=0.2)
    world.listener("c@127.0.0.1")
    start = time.monotonic()
    failure(a, "c@127.0.0.1", HandshakeTimeout, "no status within 0.2 s")
    assert 0.15 < time.monotonic() - start < 2


def test_a_resolver_that_does_not_answer(world):
    a = world.node("a@127.0.0.1", setup_time_s=0.2)
    world.held["c@127.0.0.1"] = Event()
    failure(a, "c@127.0.0.1", HandshakeTimeout, "no address")


def test_signals_for_a_peer_that_cannot_be_reached_are_dropped(pair):
    a, _ = pair
    channel = a.connections.get(Atom("c@127.0.0.1"))
    for _ in range(10):
        channel.send((6, a.pid, Atom(""), NAME), bytes(1 << 20), sender_may_wait=True)
    assert channel.state == "closed"
    assert a.of("down") == [(channel, "connection_setup_failed")]


def test_disconnecting_what_is_dialled(world, pair):
    a, _ = pair
    world.held["c@127.0.0.1"] = Event()
    waiting = gevent.spawn(a.connections.connect, Atom("c@127.0.0.1"))
    until(lambda: world.resolving)
    assert a.connections.disconnect(Atom("c@127.0.0.1"))
    with pytest.raises(ConnectionLost, match="disconnect"):
        waiting.get()
    assert a.kinds() == ["down"]


def test_many_wait_for_one_connection(pair):
    a, b = pair
    waiting = [gevent.spawn(a.connections.connect, b.node) for _ in range(20)]
    assert len({greenlet.get() for greenlet in waiting}) == 1
    assert a.connections._resolve.__self__.resolving == [b.name]


# -- both at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("greater", ["a", "b"])
def test_the_attempt_of_the_greater_name_stays(world, greater):
    names = {"greater": "z@127.0.0.1", "smaller": "m@127.0.0.1"}
    a = world.node(names["greater" if greater == "a" else "smaller"], creation=5)
    b = world.node(names["smaller" if greater == "a" else "greater"], creation=6)
    # Both attempts are under way before either has sent a byte.
    world.held = {a.name: Event(), b.name: Event()}
    channels = [a.send(b, "from a"), b.send(a, "from b")]
    until(lambda: len(world.resolving) == 2)
    for held in world.held.values():
        held.set()
    until(lambda: a.messages and b.messages)
    assert (a.messages, b.messages) == ([b"from b"], [b"from a"])
    assert a.kinds() == b.kinds() == ["up", "signal"]
    assert [a.of("up")[0][0], b.of("up")[0][0]] == channels
    assert channels[0].peer.we_started is (a.name > b.name)
    assert channels[1].peer.we_started is (b.name > a.name)
    gevent.sleep(0.05)
    assert [channel.state for channel in channels] == ["up", "up"]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("names", [("m", "z"), ("z", "m")])
def test_one_attempt_is_late(world, names, first):
    a, b = (world.node(f"{letter}@127.0.0.1") for letter in names)
    world.held = {a.name: Event(), b.name: Event()}
    a.send(b, "from a")
    b.send(a, "from b")
    until(lambda: len(world.resolving) == 2)
    world.held[(a.name, b.name)[first]].set()
    gevent.sleep(0.05)
    world.held[(a.name, b.name)[1 - first]].set()
    until(lambda: a.messages and b.messages)
    assert a.kinds() == b.kinds() == ["up", "signal"]


def test_simultaneous_connects_again_and_again(world):
    a, b = world.node("m@127.0.0.1"), world.node("z@127.0.0.1")
    for number in range(100):
        a.send(b, number)
        if number % 3:
            gevent.sleep(0.0001 * (number % 7))
        b.send(a, number)
        until(lambda number=number: a.messages[-1:] == b.messages[-1:] == [number])
        (a, b)[number % 2].connections.disconnect((b, a)[number % 2].node)
        until(lambda: not a.connections.channels() and not b.connections.channels())
    assert a.messages == b.messages == list(range(100))
    assert not [channel for channel, reason in a.of("down") + b.of("down") if reason == "connection_setup_failed"]


def test_the_peer_says_nok_and_does_not_come(world):
    a = world.node("a@127.0.0.1", setup_time_s=0.3)
    listening = world.listener("z@127.0.0.1")

    def serve():
        sock, _ = listening.accept()
        RawPeer(sock, "z@127.0.0.1").accept_handshake(Verdict.NOK)
        sock.close()

    serving = gevent.spawn(serve)
    failure(a, "z@127.0.0.1", LostToSimultaneous, "wins")
    serving.join()


def test_the_peer_says_nok_and_comes_with_a_wrong_cookie(world):
    a = world.node("a@127.0.0.1")
    listening = world.listener("z@127.0.0.1")

    def serve():
        sock, _ = listening.accept()
        RawPeer(sock, "z@127.0.0.1").accept_handshake(Verdict.NOK)
        sock.close()
        with pytest.raises(BadCookie):
            world.raw(a, "z@127.0.0.1", cookie=b"wrong")

    serving = gevent.spawn(serve)
    failure(a, "z@127.0.0.1", BadCookie, "cookies differ")
    serving.get()


def test_a_stranger_with_a_greater_name_does_not_stop_our_attempt(world):
    a, z = world.node("a@127.0.0.1"), world.node("z@127.0.0.1")
    world.held[z.name] = Event()
    channel = a.send(z, 1)
    until(lambda: world.resolving)
    with pytest.raises(BadCookie):
        world.raw(a, z.name, cookie=b"wrong")
    assert channel.state == "pending"
    world.held[z.name].set()
    until(lambda: z.messages)
    assert channel.state == "up"


def test_dialling_waits_a_moment_for_a_peer_that_is_about_to_connect(world):
    a = world.node("a@127.0.0.1")
    coming = RawPeer(world.dial(a), "z@127.0.0.1")
    handshake = coming.begin_handshake(a.name)
    until(lambda: a.connections._claim_of("z@127.0.0.1"))
    connecting = gevent.spawn(a.connections.connect, Atom("z@127.0.0.1"))
    gevent.sleep(0.02)
    assert world.resolving == []
    coming.end_handshake(handshake)
    assert not connecting.get().peer.we_started
    assert world.resolving == []


def test_dialling_does_not_wait_long_for_a_stranger(world):
    a, z = world.node("a@127.0.0.1", setup_time_s=0.4), world.node("z@127.0.0.1")
    stranger = RawPeer(world.dial(a), z.name)
    stranger.begin_handshake(a.name)
    until(lambda: a.connections._claim_of(z.name))
    start = time.monotonic()
    assert a.connections.connect(z.node).peer.we_started
    assert time.monotonic() - start < 0.3


# -- alive ------------------------------------------------------------------------------------


def test_a_peer_that_connects_again_replaces_its_connection_in_order(world):
    b = world.node()
    old = world.raw(b, "a@127.0.0.1", creation=9)
    until(lambda: b.of("up"))
    new = world.raw(b, "a@127.0.0.1", creation=10)
    assert new.statuses[0] == b"salive"
    assert old.read_to_end() == b""
    new.sock.sendall(new.packet("new"))
    until(lambda: b.messages)
    assert b.kinds() == ["up", "down", "up", "signal"]
    (first,), (second,) = b.of("up")
    assert b.of("down") == [(first, "connection_closed")]
    assert (first.peer.creation, second.peer.creation) == (9, 10)
    assert b.connections.channels() == [second]


def test_an_impostor_does_not_end_a_living_connection(world):
    b = world.node()
    living = world.raw(b, "a@127.0.0.1")
    with pytest.raises(BadCookie):
        world.raw(b, "a@127.0.0.1", cookie=b"wrong")
    RawPeer(world.dial(b), "a@127.0.0.1").begin_handshake(b.name)
    until(lambda: b.connections._claim_of("a@127.0.0.1"))
    living.sock.sendall(living.packet(1))
    until(lambda: b.messages)
    assert b.kinds() == ["up", "signal"]


def test_what_the_node_sends_on_the_end_of_the_old_goes_to_the_new(world):
    b = world.node()
    world.raw(b, "a@127.0.0.1")
    until(lambda: b.of("up"))
    told = b.connections._on_down

    def on_down(channel, reason):
        told(channel, reason)
        b.connections.get(channel.node).send((6, b.pid, Atom(""), NAME), "again")

    b.connections._on_down = on_down
    new = world.raw(b, "a@127.0.0.1")
    b.connections._on_down = told
    assert new.read_packet().endswith(b"again")
    assert b.kinds() == ["up", "down", "up"]
    assert world.resolving == []


def test_we_answer_alive_with_true(world):
    a = world.node("a@127.0.0.1")
    listening = world.listener("c@127.0.0.1")

    def serve():
        sock, _ = listening.accept()
        world.closers.append(sock.close)
        return RawPeer(sock, "c@127.0.0.1").accept_handshake(Verdict.ALIVE)

    serving = gevent.spawn(serve)
    assert a.connections.connect(Atom("c@127.0.0.1")).state == "up"
    serving.get()


# -- nodes without a name ---------------------------------------------------------------------


def test_a_nameless_node_is_given_a_name_and_keeps_it_while_connected(world):
    b = world.node(flags=OFFERED_VISIBLE)
    a = world.node("localhost", creation=0, flags=OFFERED_VISIBLE, listen=False)
    a.send(b, "hello")
    until(lambda: b.messages)
    name = a.connections.identity.name
    assert name.endswith("@localhost")
    assert a.connections.identity.creation >= 4
    [(channel,)] = b.of("up")
    assert channel.node is Atom(name)
    assert channel.peer.creation == a.connections.identity.creation
    assert channel.peer.hidden
    assert not channel.peer.flags & DFLAG_NAME_ME
    other = world.node("c@127.0.0.1")
    a.connections.connect(other.node)
    until(lambda: other.events)
    assert other.of("up")[0][0].node is Atom(name)


def test_a_granted_name_goes_with_its_connection_and_comes_back_with_a_new_creation(world):
    b, other = world.node(), world.node("c@127.0.0.1")
    a = world.node("localhost", creation=0, listen=False)
    a.connections.connect(b.node)
    a.connections.connect(other.node)
    first = a.connections.identity
    a.connections.disconnect(b.node)
    assert a.connections.identity == NodeIdentity("localhost", 0, OFFERED_HIDDEN)
    assert a.connections.channels() == []
    until(lambda: b.of("down"))
    a.connections.connect(b.node)
    assert a.connections.identity == replace(first, creation=first.creation + 1)


def test_two_nameless_nodes_have_two_names(world):
    b = world.node()
    names = {world.raw(b, "localhost", creation=0).name for _ in range(5)}
    assert len(names) == 5


def test_a_stranger_does_not_free_a_granted_name(world):
    b = world.node()
    peer = world.raw(b, "localhost", creation=0)
    with pytest.raises(BadCookie):
        world.raw(b, peer.name, cookie=b"wrong")
    assert world.raw(b, "localhost", creation=0).name != peer.name


def test_nameless_nodes_and_the_allow_list(world):
    b = world.node(allowed_nodes=frozenset({"otherhost"}))
    with pytest.raises(NotAllowed):
        world.raw(b, "localhost", creation=0)
    assert world.raw(b, "otherhost", creation=0).name.endswith("@otherhost")


# -- before authentication --------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff",
        b"\x00\x00",
        b"\x00\x05hello",
        b"\x00\x07snot_ok",
        b"\x00\x0cn\x00\x05\x00\x00\x00\x00old@h",
        b"\x00\x14N" + bytes(12) + b"\x00\x05noath",
        b"\x00\x14N" + bytes(12) + b"\x00\x05\xff\xfe@\xfd\xfc",
        b"\x00\x14N" + bytes(12) + b"\x00\xff.....",
    ],
)
def test_hostile_bytes_close_that_connection_only(world, data):
    b = world.node()
    hostile = world.dial(b)
    hostile.sendall(data)
    assert hostile.recv(100) == b""
    assert b.events == []
    assert not b.connections._incoming
    world.raw(b)
    until(lambda: b.of("up"))


def test_a_connection_that_says_nothing_is_closed(world):
    b = world.node(setup_time_s=0.2)
    silent = world.dial(b)
    start = time.monotonic()
    assert silent.recv(1) == b""
    assert 0.15 < time.monotonic() - start < 2


def test_dripping_gains_no_time(world):
    b = world.node(setup_time_s=0.3)
    dripping = world.dial(b)
    assert 0.2 < drip_until_closed(dripping, 0.05) < 2


def test_each_step_has_its_own_time(world):
    b = world.node(setup_time_s=0.3)
    slow = RawPeer(world.dial(b), "slow@127.0.0.1")
    gevent.sleep(0.2)
    handshake = slow.begin_handshake(b.name)
    gevent.sleep(0.2)
    slow.end_handshake(handshake)
    until(lambda: b.of("up"))


def test_idle_attempts_do_not_keep_others_out(world):
    b = world.node(max_pending_handshakes=8)
    idle = [world.dial(b) for _ in range(30)]
    until(lambda: len(b.connections._incoming) == 8)
    world.raw(b)
    until(lambda: b.of("up"))
    assert len(b.connections._incoming) == 7
    assert [sock.recv(1) for sock in idle[:22]] == [b""] * 22


def test_nothing_is_accepted_before_the_node_has_a_creation(world):
    b = world.node(creation=0)
    early = RawPeer(world.dial(b), "early@127.0.0.1")
    starting = gevent.spawn(early.dial_handshake, b.name)
    gevent.sleep(0.05)
    assert not starting.dead
    b.connections.set_identity(replace(b.connections.identity, creation=99))
    starting.get()
    until(lambda: b.of("up"))


def test_out_of_descriptors(world, monkeypatch, caplog):
    b = world.node()
    listener = b.connections._listener
    real = listener._sock
    refusals = [OSError(24, "Too many open files"), ConnectionAbortedError(), BlockingIOError()]

    class Failing:
        def _accept(self):
            if refusals:
                raise refusals.pop(0)
            return real._accept()

        def close(self):
            real.close()

    monkeypatch.setattr(listener, "_sock", Failing())
    world.raw(b)
    until(lambda: b.of("up"))
    assert refusals == []
    assert "Too many open files" in caplog.text


# -- after it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x05hello", b"\x00\x00\x00\x13\x83\x45" + bytes(17)]
)
def test_a_broken_frame_costs_that_connection(world, data, caplog):
    b = world.node()
    peer, other = world.raw(b, "x@127.0.0.1"), world.raw(b, "y@127.0.0.1")
    peer.sock.sendall(data)
    assert peer.read_to_end() == b""
    assert b.of("down")[0][1] == "protocol_error"
    assert "x@127.0.0.1, which broke the protocol" in caplog.text
    other.sock.sendall(other.packet(1))
    until(lambda: b.messages)


def test_a_signal_that_makes_no_sense_is_dropped_and_logged(world, caplog):
    b = world.node()
    peer = world.raw(b)
    peer.signal((1, b.pid, b.pid))
    peer.sock.sendall(peer.packet(1))
    until(lambda: b.messages)
    assert b.kinds() == ["up", "signal"]
    assert "makes no sense" in caplog.text


def test_a_packet_over_the_limit(world):
    b = world.node(limits=ReceiveLimits(max_packet_size=100_000))
    peer = world.raw(b)
    peer.sock.sendall(peer.packet(bytes(99_000)))
    until(lambda: b.messages)
    peer.sock.sendall(peer.packet(bytes(100_000))[:1000])
    assert peer.read_to_end() == b""
    assert b.messages == [bytes(99_000)]


# -- output -----------------------------------------------------------------------------------


def test_a_sender_that_may_wait_waits_for_a_peer_that_does_not_read(world):
    b = world.node(high_water=100_000)
    peer = world.raw(b)
    until(lambda: b.of("up"))
    channel = b.connections.get(Atom(peer.name))
    sent = []

    def produce():
        for number in range(400):
            channel.send((6, b.pid, Atom(""), NAME), bytes(50_000), sender_may_wait=True)
            sent.append(number)

    producing = gevent.spawn(produce)
    gevent.sleep(0.1)
    assert not producing.dead
    assert channel.statistics()["queued_bytes"] < 200_000
    received = gevent.spawn(peer.read, 400 * 50_000)
    producing.get(timeout=10)
    assert len(received.get(timeout=10)) == 400 * 50_000
    assert sent == list(range(400))


def test_a_waiting_sender_goes_on_when_the_channel_ends(world):
    b = world.node(high_water=1000)
    peer = world.raw(b)
    until(lambda: b.of("up"))
    channel = b.connections.get(Atom(peer.name))

    def produce():
        while channel.state == "up":
            channel.send((6, b.pid, Atom(""), NAME), bytes(100_000), sender_may_wait=True)

    producing = gevent.spawn(produce)
    gevent.sleep(0.05)
    assert not producing.dead
    peer.sock.close()
    producing.get(timeout=10)
    assert b.of("down") == [(channel, "connection_closed")]


def test_a_sender_in_the_hub_never_waits(world):
    b = world.node(high_water=1000)
    peer = world.raw(b)
    until(lambda: b.of("up"))
    channel = b.connections.get(Atom(peer.name))
    done = Event()

    def in_the_hub():
        for _ in range(20):
            channel.send((6, b.pid, Atom(""), NAME), bytes(1 << 20), sender_may_wait=True)
        done.set()

    gevent.get_hub().loop.run_callback(in_the_hub)
    assert done.wait(5)


def test_a_pending_channel_lets_senders_wait_too(world):
    a, b = world.node("a@127.0.0.1", high_water=1000), world.node()
    world.held[b.name] = Event()
    sending = gevent.spawn(a.send, b, bytes(10_000), sender_may_wait=True)
    until(lambda: world.resolving)
    gevent.sleep(0)
    assert not sending.dead
    world.held[b.name].set()
    sending.get(timeout=5)
    until(lambda: b.messages)


def test_the_output_of_a_turn_is_one_write(world, monkeypatch):
    b = world.node()
    peer = world.raw(b)
    until(lambda: b.of("up"))
    channel = b.connections.get(Atom(peer.name))
    writes = []
    write = channel._write

    def counted():
        writes.append(1)
        return write()

    monkeypatch.setattr(channel, "_write", counted)
    for number in range(1000):
        channel.send((6, b.pid, Atom(""), NAME), number)
    assert writes == []
    until(lambda: not channel.statistics()["queued_bytes"])
    assert len(writes) == 1


# -- options ----------------------------------------------------------------------------------


def test_a_port_range(world):
    first = free_port()
    a = world.node("a@127.0.0.1", port_range=(first, first))
    assert a.connections.listen() == first
    with pytest.raises(OSError, match="in use"):
        world.node("b@127.0.0.1", port_range=(first, first))
    assert world.node("c@127.0.0.1", port_range=(first, first + 20)).connections.listen() > first


@pytest.mark.parametrize(
    ("key", "value"),
    [("setup_time_s", 0), ("net_ticktime_s", -1), ("read_size", 0), ("port_range", (5, 4)), ("port_range", (0, 4))],
)
def test_options_that_cannot_work(key, value):
    with pytest.raises(ConfigError) as raised:
        NetOptions(**{key: value})
    assert raised.value.key == key
