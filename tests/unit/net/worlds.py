"""Nodes for tests of `net`: several `Connections` in one process, and peers made by hand that do as the test says."""

from __future__ import annotations

import secrets
from time import monotonic
from typing import Any

import gevent
from gevent import socket

from erlang_bridge.dist.flags import OFFERED_HIDDEN
from erlang_bridge.dist.handshake import NodeIdentity, OtherStarted, State, Verdict, WeStarted
from erlang_bridge.errors import NodeNotRegistered
from erlang_bridge.etf import NO_PAYLOAD, encode_signal
from erlang_bridge.net.channel import Channel
from erlang_bridge.net.connections import Connections
from erlang_bridge.net.options import NetOptions
from erlang_bridge.terms import Atom, Pid

COOKIE = b"chocolate"
NO_NAME = Atom("")


class Node:
    """A `Connections` that writes down what it is told."""

    def __init__(self, world: World, name: str, *, creation: int, cookie: bytes, flags: int, **options: Any) -> None:
        self.world = world
        self.name = name
        self.cookie = cookie
        self.events: list[tuple[Any, ...]] = []
        self.on_signals: Any = None
        self.on_up: Any = None
        self.connections = Connections(
            NodeIdentity(name, creation, flags),
            options=NetOptions(**options),
            cookie_for=lambda _name: self.cookie,
            resolve=world.resolve,
            on_signals=self._signals,
            on_up=self._up,
            on_down=lambda channel, reason: self.events.append(("down", channel, reason)),
        )

    @property
    def node(self) -> Atom:
        return Atom(self.name)

    @property
    def pid(self) -> Pid:
        return Pid(self.node, 1, 0, self.connections.identity.creation)

    def _signals(self, channel: Channel, signals: list[Any]) -> None:
        self.events += [("signal", channel, signal) for signal in signals]
        if self.on_signals:
            self.on_signals(channel, signals)

    def _up(self, channel: Channel) -> None:
        self.events.append(("up", channel))
        if self.on_up:
            self.on_up(channel)

    def kinds(self) -> list[str]:
        """Kinds of the events so far, in order."""
        return [event[0] for event in self.events]

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        """The events of one kind, without it."""
        return [event[1:] for event in self.events if event[0] == kind]

    @property
    def messages(self) -> list[Any]:
        """Payloads of the signals so far."""
        return [signal[2] for _, signal in self.of("signal")]

    def send(self, to: Node | RawPeer, message: Any, **more: Any) -> Channel:
        """Send a message to the name ``name`` there."""
        channel = self.connections.get(Atom(to.name))
        channel.send((6, self.pid, NO_NAME, Atom("name")), message, **more)
        return channel


class World:
    """Nodes by name. `addresses` may be changed: what has no address is unknown to `resolve`."""

    def __init__(self) -> None:
        self.addresses: dict[str, tuple[str, int]] = {}
        self.closers: list[Any] = []
        self.resolving: list[str] = []
        self.held: dict[str, gevent.event.Event] = {}

    def resolve(self, name: str) -> tuple[str, int]:
        self.resolving.append(name)
        if name in self.held:
            self.held[name].wait()
        try:
            return self.addresses[name]
        except KeyError:
            raise NodeNotRegistered(name, "127.0.0.1", 4369) from None

    def node(
        self,
        name: str = "b@127.0.0.1",
        *,
        creation: int = 7,
        cookie: bytes = COOKIE,
        flags: int = OFFERED_HIDDEN,
        listen: bool = True,
        **options: Any,
    ) -> Node:
        made = Node(self, name, creation=creation, cookie=cookie, flags=flags, **options)
        self.closers.append(made.connections.close)
        if listen:
            self.addresses[name] = ("127.0.0.1", made.connections.listen())
        return made

    def listener(self, name: str) -> socket.socket:
        """A listening socket that the test serves by hand; known to `resolve` under `name`."""
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        self.closers.append(listening.close)
        self.addresses[name] = listening.getsockname()
        return listening

    def dial(self, node: Node | str) -> socket.socket:
        """A plain socket to a node's port."""
        sock = socket.create_connection(self.addresses[node if isinstance(node, str) else node.name])
        sock.settimeout(10)
        self.closers.append(sock.close)
        return sock

    def raw(self, node: Node, name: str = "raw@127.0.0.1", **more: Any) -> RawPeer:
        """A connected peer, made by hand, that has dialled `node`."""
        peer = RawPeer(self.dial(node), name, **more)
        peer.dial_handshake(node.name)
        return peer

    def close(self) -> None:
        for held in self.held.values():
            held.set()
        for close in reversed(self.closers):
            close()


class RawPeer:
    """A peer that does only what the test says."""

    def __init__(
        self, sock: socket.socket, name: str, *, creation: int = 9, cookie: bytes = COOKIE, flags: int = OFFERED_HIDDEN
    ) -> None:
        self.sock = sock
        self.name = name
        self.cookie = cookie
        self.identity = NodeIdentity(name, creation, flags)
        self.rest = b""
        self.statuses: list[bytes] = []

    def dial_handshake(self, to: str) -> None:
        self.end_handshake(self.begin_handshake(to))

    def begin_handshake(self, to: str) -> WeStarted:
        """Send who it is, and no more."""
        handshake = WeStarted(self.identity, to, self.cookie, secrets.randbits(32))
        self.sock.sendall(handshake.start())
        return handshake

    def end_handshake(self, handshake: WeStarted) -> None:
        while handshake.state is not State.CONNECTED:
            data = self.sock.recv(4096)
            if not data:
                raise handshake.lost()
            self.statuses.append(data[2:])
            self.sock.sendall(handshake.receive_data(data))
        self.rest = handshake.take_rest()
        if handshake.granted is not None:
            self.identity, self.name = handshake.granted, handshake.granted.name

    def accept_handshake(self, verdict: Verdict = Verdict.OK) -> OtherStarted:
        handshake = OtherStarted(self.identity, secrets.randbits(32))
        while handshake.state is not State.CONNECTED:
            data = self.sock.recv(4096)
            if not data:
                raise handshake.lost()
            answer = handshake.receive_data(data)
            if handshake.state is State.DECIDING:
                answer += handshake.decide(verdict, self.cookie)
            if handshake.state is State.AUTHENTICATED:
                answer += handshake.accept()
            self.sock.sendall(answer)
            if handshake.state is State.FAILED:
                break
        return handshake

    @property
    def pid(self) -> Pid:
        return Pid(Atom(self.name), 1, 0, self.identity.creation)

    def packet(self, message: Any) -> bytes:
        return encode_signal((6, self.pid, NO_NAME, Atom("name")), message)

    def signal(self, control: tuple[Any, ...], payload: Any = NO_PAYLOAD) -> None:
        self.sock.sendall(encode_signal(control, payload))

    def read(self, size: int) -> bytes:
        while len(self.rest) < size:
            data = self.sock.recv(65536)
            if not data:
                break
            self.rest += data
        data, self.rest = self.rest[:size], self.rest[size:]
        return data

    def read_packet(self) -> bytes:
        """The next packet, without its length."""
        return self.read(int.from_bytes(self.read(4), "big"))

    def read_to_end(self) -> bytes:
        """All that comes until the node closes the connection."""
        data, self.rest = self.rest, b""
        try:
            while more := self.sock.recv(1 << 20):
                data += more
        except ConnectionResetError:
            pass
        return data


def drip_until_closed(sock: socket.socket, pause_s: float) -> float:
    """Send a byte now and then until the node has closed the connection; after how many seconds."""
    start = monotonic()
    try:
        while monotonic() - start < 10:
            sock.sendall(b"\1")
            gevent.sleep(pause_s)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return monotonic() - start


def until(condition: Any, timeout_s: float = 10.0) -> None:
    """Let the hub run until `condition()` holds."""
    with gevent.Timeout(timeout_s, AssertionError(f"not within {timeout_s:g} s")):
        while not condition():
            gevent.sleep(0.002)
