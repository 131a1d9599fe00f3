"""Signs of life: ours do not wait for user code, theirs are watched."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from itertools import pairwise

import gevent
import pytest

from erlang_bridge.dist.connection import DistConnection, ReceiveLimits
from erlang_bridge.dist.flags import OFFERED_HIDDEN, OFFERED_VISIBLE
from erlang_bridge.dist.handshake import Peer
from erlang_bridge.net.ticker import Ticker
from erlang_bridge.terms import Atom
from tests.unit.net.worlds import World, drip_until_closed, until

NAME = Atom("name")
TICK = bytes(4)
TICKTIME_S = 0.8


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


@pytest.fixture
def node(world):
    return world.node(net_ticktime_s=TICKTIME_S, flags=OFFERED_VISIBLE)


def connected(world, node, **more):
    """A peer made by hand, and the channel to it."""
    peer = world.raw(node, **more)
    until(lambda: node.of("up"))
    return peer, node.of("up")[-1][0]


@contextmanager
def living(peer):
    """`peer` served by a thread of its own: ticks, and notes what it reads, and when."""
    sock, seen, ended = socket.socket(fileno=os.dup(peer.sock.fileno())), [], threading.Event()
    sock.settimeout(0.1)

    def live():
        while not ended.is_set():
            sock.sendall(TICK)
            try:
                data = sock.recv(4 << 20)
            except TimeoutError:
                continue
            seen.append((time.monotonic(), data))
            time.sleep(0.02)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
        sock.close()


def decoded(data, sender):
    """What a peer understands of `data`; it ends at the end of a packet."""
    receiver = DistConnection(Peer(sender, 7, OFFERED_HIDDEN, hidden=True, we_started=True), ReceiveLimits())
    signals = receiver.receive_data(data)
    assert receiver.missing == 0
    return [payload for _, _, payload in signals], receiver.packets_in - len(signals)


def test_idle_nodes_keep_each_other_up(world, node):
    other = world.node("c@127.0.0.1", net_ticktime_s=TICKTIME_S)
    channel = node.connections.connect(other.node)
    gevent.sleep(3 * TICKTIME_S)
    assert channel.state == "up"
    assert other.of("up")[0][0].state == "up"
    assert 8 <= channel.statistics()["packets_in"] <= 12
    assert channel.statistics()["bytes_out"] == 0


def test_a_silent_peer_is_dropped(world, node, caplog):
    start = time.monotonic()
    peer, channel = connected(world, node)
    until(lambda: node.of("down"), 5)
    assert TICKTIME_S <= time.monotonic() - start < 1.5 * TICKTIME_S
    assert node.of("down") == [(channel, "net_tick_timeout")]
    assert peer.read_to_end() in (TICK * 2, TICK * 3, TICK * 4)
    assert "does not respond" in caplog.text


def test_a_peer_that_ticks_stays(world, node):
    peer, channel = connected(world, node)
    for _ in range(12):
        peer.sock.sendall(TICK)
        gevent.sleep(TICKTIME_S / 4)
    assert channel.state == "up"


def test_bytes_of_a_packet_that_never_ends_are_no_sign_of_life(world, node):
    peer, _ = connected(world, node)
    peer.sock.sendall(b"\x00\x10\x00\x00")
    assert drip_until_closed(peer.sock, 0.03) < 2 * TICKTIME_S
    assert node.of("down")[0][1] == "net_tick_timeout"


def test_a_peer_that_does_not_read_is_dropped_with_what_is_queued_for_it(world, node):
    peer, channel = connected(world, node)
    waiting = gevent.spawn(channel.send, (6, node.pid, Atom(""), NAME), bytes(32 << 20), sender_may_wait=True)
    until(lambda: node.of("down"), 5)
    assert node.of("down") == [(channel, "net_tick_timeout")]
    waiting.get(timeout=5)
    peer.sock.close()


def test_we_tick_while_the_hub_is_blocked(world, node):
    peer, channel = connected(world, node)
    with living(peer) as seen:
        start = time.monotonic()
        time.sleep(3 * TICKTIME_S)
        end = time.monotonic()
        gevent.sleep(TICKTIME_S / 2)
    times = [start, *(at for at, _ in seen if start < at < end), end]
    assert max(later - earlier for earlier, later in pairwise(times)) < TICKTIME_S * 0.6
    assert {data for _, data in seen} <= {TICK, TICK * 2}
    assert channel.state == "up"
    assert node.kinds() == ["up"]


def test_output_that_waits_for_the_hub_does_not_keep_ticks_back(world, node):
    peer, channel = connected(world, node)
    with living(peer) as seen:
        for number in range(10):
            channel.send((6, node.pid, Atom(""), NAME), number)
        time.sleep(2 * TICKTIME_S)
        assert len(seen) >= 5
        gevent.sleep(0.1)
    messages, ticks = decoded(b"".join(data for _, data in seen), node.node)
    assert messages == list(range(10))
    assert ticks >= 5


def test_a_peer_is_not_blamed_for_what_our_handler_did(world, node):
    peer, channel = connected(world, node)
    with living(peer):
        for _ in range(3):
            time.sleep(1.5 * TICKTIME_S)
            gevent.sleep(0)
        assert channel.state == "up"


def test_a_peer_that_died_meanwhile_is(world, node):
    _, channel = connected(world, node)
    time.sleep(1.5 * TICKTIME_S)
    until(lambda: node.of("down"), TICKTIME_S / 2)
    assert node.of("down") == [(channel, "net_tick_timeout")]


def test_a_tick_never_falls_into_a_packet(world, node):
    peer, channel = connected(world, node)
    for size in (8 << 20, 1000, 8 << 20):
        channel.send((6, node.pid, Atom(""), NAME), bytes(size))
    # The peer lives, and reads nothing: a packet is half written.
    for _ in range(10):
        peer.sock.sendall(TICK)
        gevent.sleep(TICKTIME_S / 8)
    assert channel.statistics()["queued_bytes"] > 0
    data = b""
    while channel.statistics()["queued_bytes"]:
        data += peer.sock.recv(65536)
        peer.sock.sendall(TICK)
    gevent.sleep(TICKTIME_S / 2)
    channel.close("enough")
    messages, ticks = decoded(data + peer.read_to_end(), node.node)
    assert messages == [bytes(8 << 20), bytes(1000), bytes(8 << 20)]
    assert ticks >= 1


def test_the_thread_completes_a_packet_before_it_ticks(world, node):
    peer, channel = connected(world, node)
    message = b"x" * (32 << 20)
    channel.send((6, node.pid, Atom(""), NAME), message)
    gevent.sleep(0.02)
    assert channel._writing
    with living(peer) as seen:
        time.sleep(2 * TICKTIME_S)
        assert not channel._writing
        assert seen[-1][1] == TICK
        assert channel.statistics()["queued_bytes"] > 0
        gevent.sleep(0)
        until(lambda: not channel.statistics()["queued_bytes"])
        until(lambda: seen[-1][1] == TICK)
    messages, ticks = decoded(b"".join(data for _, data in seen), node.node)
    assert messages == [message]
    assert ticks >= 4


def busy(node, channel, peer, seconds):
    """Write all the time and read nothing but what `peer` needs to stay up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        channel.send((6, node.pid, Atom(""), NAME), 1)
        gevent.sleep(0.01)


@pytest.mark.parametrize("flags", [OFFERED_HIDDEN, OFFERED_VISIBLE])
def test_a_hidden_peer_is_ticked_also_when_nothing_comes_from_it(world, node, flags):
    peer, channel = connected(world, node, flags=flags)
    busy(node, channel, peer, TICKTIME_S * 0.9)
    channel.close("enough")
    _, ticks = decoded(peer.read_to_end(), node.node)
    assert (ticks > 1) is (flags == OFFERED_HIDDEN)


def test_nobody_is_ticked_who_gets_something_anyway(world, node):
    peer, channel = connected(world, node, flags=OFFERED_VISIBLE)
    busy(node, channel, peer, TICKTIME_S * 0.9)
    channel.close("enough")
    _, ticks = decoded(peer.read_to_end(), node.node)
    assert ticks <= 1


def test_the_thread_ends_when_it_is_told(world):
    told = []

    class Counting:
        def tick(self):
            told.append(threading.get_ident())

    ticker = Ticker(0.01, lambda: [Counting()])
    ticker.stop()
    ticker.start()
    ticker.start()
    time.sleep(0.1)
    ticker.stop()
    count = len(told)
    assert count > 3
    assert len(set(told)) == 1
    assert threading.get_ident() not in told
    time.sleep(0.05)
    assert len(told) == count
    ticker.start()
    ticker.stop()


PATCHED = """
from gevent import monkey
monkey.patch_all()
import time
from gevent.monkey import get_original
from tests.unit.net.worlds import World, drip_until_closed, until
world = World()
a, b = (world.node(f"{letter}@127.0.0.1", net_ticktime_s=0.8) for letter in "ab")
channel = a.connections.connect(b.node)
a.send(b, b"x" * 1_000_000)
until(lambda: b.messages)
before = channel.statistics()["packets_in"]
get_original("time", "sleep")(1.0)
time.sleep(0.05)
assert channel.statistics()["packets_in"] - before >= 3, channel.statistics()
world.close()
print("fine")
"""


def test_where_gevent_has_patched_everything():
    done = subprocess.run([sys.executable, "-c", PATCHED], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")
