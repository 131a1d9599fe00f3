"""What strangers can do to a port: nothing that costs more than their own connection."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import gevent
import pytest
from gevent import socket

from anoma.crypto import KeyKind, PrivateKey, PublicKey
from anoma.sessions import Session, agree, close_up
from engines.messages import EngineID
from engines.network_registry.adverts import (
    ClusterAddr,
    IPAddr,
    QUICAddr,
    TLSAddress,
    TransportProtocol,
    router_name,
    signed,
)
from engines.network_registry.server import add_peer
from engines.router import frames
from engines.router import server as router
from engines.router.messages import ConnectReply, ConnectReplyOk, ConnectRequest, Greeting, Hello, NodeMsg
from engines.ticker.messages import CountRequest
from engines.ticker.server import Ticker
from engines.transport_connection.behaviour import BEHAVIOUR as CONNECTION
from engines.transport_connection.behaviour import ConnectionLimits
from engines.transport_protocol.behaviour import BEHAVIOUR, TransportSettings
from engines.transport_protocol.server import TransportProtocolEngine, address
from erlang_bridge import Atom
from tests.networks import TCP, AnomaNode, anoma_node, new_key
from tests.waiting import until

SHORT = ConnectionLimits(dial_s=0.3, confirm_s=0.3, write_s=0.3)


@pytest.fixture
def node(node_factory) -> AnomaNode:
    made = anoma_node(node_factory, transports=(TransportSettings(TCP, limits=SHORT, max_strangers=3, max_of_host=4),))
    made.node.start(Ticker, 0, name="ticker")
    return made


@pytest.fixture
def friend(node_factory, node) -> AnomaNode:
    """A node that is connected, and has to stay so."""
    made = anoma_node(node_factory)
    made.knows(node)
    assert works(made, node)
    return made


def works(friend: AnomaNode, node: AnomaNode) -> bool:
    return router.request(friend.node, node.engine("ticker"), CountRequest()).counter == 0


def call(node: AnomaNode) -> Any:
    place = node.address()
    assert isinstance(place, IPAddr)
    sock = socket.create_connection((place.ip, place.port), 3)
    sock.settimeout(3)
    return sock


class Stranger:
    """Speaks the protocol by hand."""

    def __init__(self, node: AnomaNode, key: PrivateKey | None = None) -> None:
        self.node = node
        self.key = key or new_key()
        self.sock = call(node)
        self.fresh = PrivateKey(KeyKind.CURVE25519, os.urandom(32))
        self.session: Session | None = None

    def receive(self) -> Any:
        size = int.from_bytes(self._exactly(4), "big")
        return frames.read_frame(self._exactly(size))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def request(self, **changes: Any) -> ConnectRequest:
        greeting = self.receive()
        assert isinstance(greeting, Greeting)
        request = ConnectRequest(
            1, 1, self.key.public.data, self.node.id, 1, 0, greeting.challenge, self.fresh.public.data, bytes(16)
        )
        return signed(replace(request, **changes), self.key)

    def connect(self) -> None:
        request = self.request()
        self.send(request)
        reply = self.receive()
        assert isinstance(reply, ConnectReply)
        assert isinstance(reply.result, ConnectReplyOk)
        other = PublicKey(KeyKind.CURVE25519, reply.result.ephemeral)
        self.session = agree(self.fresh, other, frames.transcript(request, reply), initiator=True)

    def message(self, seq: int, content: Any) -> NodeMsg:
        assert self.session is not None
        return NodeMsg(seq, *close_up(self.session, self.key, seq, frames.content_bytes(content)))

    def send(self, frame: Any) -> None:
        self.sock.sendall(frame if isinstance(frame, bytes) else frames.frame_bytes(frame))

    def is_hung_up_on(self) -> bool:
        try:
            while True:
                self.receive()
        except (EOFError, ConnectionError):
            return True
        except TimeoutError:
            return False
        finally:
            self.sock.close()


# -- before it is known who calls --------------------------------------------------------------


GARBAGE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xff\xff\xff\xff",
    (5000).to_bytes(4, "big"),
    b"\0\0\0\0",
    b"\0\0\0\3\x83a\1",
    os.urandom(64 << 10),
    frames.frame_bytes(Greeting(bytes(32))),
    b"\0\0\0\x64half",
    b"",
]


def test_garbage_costs_one_connection(node, friend):
    """A request to a web server, giant and empty frames, half of one, nothing at all."""
    for data in GARBAGE:
        stranger = Stranger(node)
        stranger.send(data)
        assert stranger.is_hung_up_on()
        assert works(friend, node)
    assert until(lambda: len(node.state("transport-protocol-tcp").connections) == 1)


def test_a_request_that_is_not_in_order(node, friend):
    """It answers another greeting, is for another node, has been changed, or has a key that protects nothing."""
    for changes in ({"challenge": bytes(32)}, {"dst_node_id": bytes(32)}, {"ephemeral": bytes(32)}):
        stranger = Stranger(node)
        stranger.send(stranger.request(**changes))
        assert stranger.is_hung_up_on()
    stranger = Stranger(node)
    stranger.send(replace(stranger.request(), src_node_advert_ver=7))
    assert stranger.is_hung_up_on()
    assert works(friend, node)


def test_a_request_in_another_nodes_name_does_not_touch_its_connection(node, friend):
    stranger = Stranger(node)
    stranger.send(stranger.request(src_node_id=friend.id))
    assert stranger.is_hung_up_on()
    line = node.state(router_name(friend.id)).line.connection
    # Whoever has the key, and not the keys of the session, gets no further than a candidate.
    stranger = Stranger(node, friend.key)
    stranger.connect()
    stranger.send(replace(stranger.message(1, Hello()), msg=b"x" * 40))
    assert stranger.is_hung_up_on()
    assert node.state(router_name(friend.id)).line.connection == line
    assert works(friend, node)


def test_callers_are_few_until_they_have_shown_who_they_are(node, friend):
    idle = [call(node) for _ in range(3)]
    assert until(lambda: len(node.state("transport-protocol-tcp").strangers) == 3)
    one_too_many = Stranger(node)
    assert one_too_many.is_hung_up_on()
    assert works(friend, node)
    assert until(lambda: not node.state("transport-protocol-tcp").strangers)
    for sock in idle:
        sock.close()


def test_one_host_does_not_take_all_connections(node):
    strangers = []
    for _ in range(4):
        stranger = Stranger(node)
        stranger.connect()
        stranger.send(stranger.message(1, Hello()))
        strangers.append(stranger)
        assert until(lambda: not node.state("transport-protocol-tcp").strangers)
    assert Stranger(node).is_hung_up_on()
    for stranger in strangers:
        stranger.sock.close()
    assert until(lambda: not len(node.state("transport-protocol-tcp").hosts))


# -- once it is known -------------------------------------------------------------------------


def test_messages_twice_replayed_changed_and_large(node, friend):
    stranger = Stranger(node)
    stranger.connect()
    hello = stranger.message(1, Hello())
    for _ in range(3):
        stranger.send(hello)
    assert until(lambda: node.node.whereis(router_name(stranger.key.public.data)))
    assert until(lambda: node.state(router_name(stranger.key.public.data)).line)
    assert node.state(router_name(stranger.key.public.data)).window.highest == 1
    large = frames.frame_bytes(stranger.message(2, Hello()))
    stranger.send(large[:10])
    gevent.sleep(0.02)
    stranger.send(large[10:])
    assert until(lambda: node.state(router_name(stranger.key.public.data)).window.highest == 2)
    stranger.send(replace(hello, seq=3))
    assert stranger.is_hung_up_on()
    again = Stranger(node, stranger.key)
    again.connect()
    again.send(hello)
    assert again.is_hung_up_on()
    assert works(friend, node)


def test_a_frame_out_of_turn(node, friend):
    stranger = Stranger(node)
    stranger.send(stranger.request())
    stranger.send(Greeting(bytes(32)))
    assert stranger.is_hung_up_on()
    assert works(friend, node)


def test_who_agrees_and_then_says_nothing_is_hung_up_on(node, friend):
    stranger = Stranger(node)
    stranger.connect()
    assert stranger.is_hung_up_on()
    assert until(lambda: not node.state(router_name(stranger.key.public.data)).candidates)
    assert works(friend, node)


# -- where this node calls --------------------------------------------------------------------


def test_who_is_called_does_not_answer_as_a_node(node):
    """It says nothing, garbage, or greets and then nothing."""
    for answer in (b"", b"\xff\xff\xff\xff", frames.frame_bytes(Greeting(bytes(32)))):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken: list[Any] = []
        server = gevent.spawn(_serve, listener, answer, taken)
        other = new_key().public.data
        add_peer(node.node, other, (IPAddr("127.0.0.1", listener.getsockname()[1]),), permanent=True)
        assert until(lambda other=other: router.status(node.node, other).failure)
        server.kill()
        listener.close()
        for sock in taken:
            sock.close()


def _serve(listener: Any, answer: bytes, taken: list[Any]) -> None:
    sock, _ = listener.accept()
    taken.append(sock)
    sock.sendall(answer)


def test_protocols_that_are_not_offered_say_so():
    for protocol in (
        TransportProtocol.QUIC,
        TransportProtocol.WEB_SOCKET,
        TransportProtocol.WEB_TRANSPORT,
        TransportProtocol.UDP,
    ):
        with pytest.raises(ValueError, match=f"the protocol {protocol} is not offered; there are cluster, tls, tcp"):
            BEHAVIOUR.start(TransportSettings(protocol))
    with pytest.raises(ValueError, match="needs a certificate"):
        BEHAVIOUR.start(TransportSettings(TransportProtocol.TLS))
    with pytest.raises(ValueError, match="expected an address to call"):
        from engines.transport_connection.behaviour import ConnectionSettings

        CONNECTION.start(ConnectionSettings(EngineID(None, "network_registry")))


def test_addresses_that_cannot_be_called(node):
    other = new_key().public.data
    quic = QUICAddr(TLSAddress("127.0.0.1", 1))
    add_peer(node.node, other, (quic,), permanent=True)
    assert "no address" in (router.status(node.node, other).failure or "")
    add_peer(node.node, other, (ClusterAddr("nobody@127.0.0.1"), quic), permanent=True)
    assert router.status(node.node, other).status == "connecting"
    for wrong in ({"ip": "localhost"}, {"ip": "::1", "port": 0}, {"ip": "127.0.0.1", "port": 70_000}):
        with pytest.raises(ValueError, match="expected"):
            IPAddr(**{"port": 1, **wrong})


def test_a_port_that_is_taken_is_tried_again(node_factory, node):
    place = node.address()
    other = node_factory(engines={}, listen=False)
    other.start(
        TransportProtocolEngine, TransportSettings(TCP, port=place.port, retry_s=0.05), name="transport-protocol-tcp"
    )
    assert until(
        lambda: (
            "in use"
            in (other.table.find(other.whereis("transport-protocol-tcp")).instance.environment.state.failure or "")
        )
    )
    assert address(other, TCP) is None
    node.node.exit(node.node.whereis("transport-protocol-tcp"), Atom("kill"))
    assert until(lambda: address(other, TCP) == place)


def test_over_ip_version_6(node_factory, node):
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6")
    transport = TransportSettings(TCP, host="::1")
    other = anoma_node(node_factory, transports=(transport,))
    if other.state("transport-protocol-tcp").failure:
        pytest.skip("there is no IPv6")
    other.node.start(Ticker, 0, name="ticker")
    node.knows(other)
    assert works(node, other)
