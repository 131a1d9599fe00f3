"""A peer in memory: another node of the cluster as far as the one under test can tell, played by the test.

It speaks the real protocol, handshake included, over a pair of sockets; no epmd, no port, no second program::

    with ScriptedPeer(node) as peer:
        peer.send_message("counter", (Atom("add"), 3))
        peer.call("counter", Atom("read"))                       # -> 3
        peer.link(counter)
        ...
        assert peer.expect_exit(counter) is Atom("boom")

What a test sends is whatever it likes, lawful or not (`send_signal`, `send_packet`); what came is told signal by
signal. For the real thing there are the BEAMs of `erlang_bridge.testing.beams`.
"""

from __future__ import annotations

import _socket
import secrets
import socket as stdlib_socket
from collections import deque
from types import TracebackType
from typing import Any, Final, Self

import gevent
from gevent import socket

from erlang_bridge.dist.connection import DistConnection, ReceiveLimits
from erlang_bridge.dist.flags import OFFERED_HIDDEN
from erlang_bridge.dist.handshake import NodeIdentity, State, WeStarted
from erlang_bridge.errors import BridgeError
from erlang_bridge.etf import NO_PAYLOAD
from erlang_bridge.etf import opcodes as op
from erlang_bridge.node import Node
from erlang_bridge.terms import Atom, ImproperList, Pid, Reference

EMPTY_ATOM: Final = Atom("")


class PeerFailure(BridgeError, AssertionError):
    """The node under test did not do what the script expects."""


class ScriptedPeer:
    """A peer of `node`, connected when the constructor returns.

    Args:
        node: the node under test.
        name: the peer's own full name; by default one that no other peer has.
        cookie: by default the node's.
        flags: ``DFLAG_*`` to announce; by default those of a hidden node of ours.
        creation: of this incarnation of the peer.
        timeout_s: for the handshake, and by default for everything that is waited for.

    Attributes:
        pid: a process of the peer, in whose name things are sent unless another is given.
    """

    def __init__(
        self,
        node: Node,
        *,
        name: str | None = None,
        cookie: bytes | None = None,
        flags: int = OFFERED_HIDDEN,
        creation: int | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self.node = node
        self.name = Atom(name or f"peer_{secrets.token_hex(4)}@memory")
        self.creation = creation if creation is not None else secrets.randbelow(1 << 31) + 4
        self.timeout_s = timeout_s
        self._last_id = 0
        self._signals: deque[tuple[int, Any, Any]] = deque()
        self._ended = False
        self.pid = self.make_pid()
        ours, theirs = stdlib_socket.socketpair()
        self._socket = socket.socket(fileno=ours.detach())
        given = _socket.socket(fileno=theirs.detach())
        given.setblocking(False)
        node.connections.accept_socket(given)
        identity = NodeIdentity(self.name.name, self.creation, flags)
        try:
            with gevent.Timeout(timeout_s, PeerFailure(f"the handshake took more than {timeout_s:g} s")):
                self._connection = self._shake_hands(identity, cookie)
        except BaseException:
            self._socket.close()
            raise

    def _shake_hands(self, identity: NodeIdentity, cookie: bytes | None) -> DistConnection:
        node = self.node
        secret = cookie if cookie is not None else node.connections._cookie_for(self.name.name)
        handshake = WeStarted(identity, node.name.name, secret, secrets.randbits(32))
        self._socket.sendall(handshake.start())
        while handshake.state is not State.CONNECTED:
            data = self._socket.recv(65536)
            if not data:
                raise handshake.lost()
            self._socket.sendall(handshake.receive_data(data))
        peer = handshake.peer
        assert peer is not None
        connection = DistConnection(peer, ReceiveLimits())
        self._signals.extend(connection.receive_data(handshake.take_rest()))
        return connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Go, as a node that dies does: the connection closes, with no goodbye."""
        self._socket.close()

    # -- identity -------------------------------------------------------------------------------

    def make_pid(self) -> Pid:
        """Another process of the peer."""
        self._last_id += 1
        return Pid(self.name, self._last_id, 0, self.creation)

    def make_reference(self) -> Reference:
        self._last_id += 1
        return Reference(self.name, self.creation, (self._last_id, 0, 0))

    # -- sending --------------------------------------------------------------------------------

    def send_packet(self, packet: bytes) -> None:
        """Send bytes as they are: for what no proper node would send."""
        self._socket.sendall(packet)

    def send_signal(self, control: tuple[Any, ...], payload: Any = NO_PAYLOAD) -> None:
        """Send a signal, in the form that the flags of both sides ask for."""
        for packet in self._connection.packets(control, payload):
            parts = (packet,) if isinstance(packet, bytes) else packet
            for part in parts:
                self._socket.sendall(part)

    def send_message(
        self, destination: Pid | str | Atom | Reference, message: Any, *, sender: Pid | None = None
    ) -> None:
        """Send a message to a pid, a registered name or an alias of the node."""
        sender = sender or self.pid
        if isinstance(destination, Pid):
            self.send_signal((op.DOP_SEND_SENDER, sender, destination), message)
        elif isinstance(destination, Reference):
            self.send_signal((op.DOP_ALIAS_SEND, sender, destination), message)
        else:
            name = destination if isinstance(destination, Atom) else Atom(destination)
            self.send_signal((op.DOP_REG_SEND, sender, EMPTY_ATOM, name), message)

    def link(self, pid: Pid) -> None:
        self.send_signal((op.DOP_LINK, self.pid, pid))

    def monitor(self, target: Pid | str) -> Reference:
        """Monitor a pid or a name; its end comes as `DOP_PAYLOAD_MONITOR_P_EXIT`."""
        reference = self.make_reference()
        to = target if isinstance(target, Pid) else Atom(target)
        self.send_signal((op.DOP_MONITOR_P, self.pid, to, reference))
        return reference

    def exit(self, pid: Pid, reason: Any) -> None:
        self.send_signal((op.DOP_PAYLOAD_EXIT2, self.pid, pid), reason)

    def call(self, destination: Pid | str, request: Any, timeout_s: float | None = None) -> Any:
        """``gen_server:call``: send the request with an alias and take the reply; other signals stay."""
        reference = self.make_reference()
        tag = ImproperList((Atom("alias"),), reference)
        self.send_message(destination, (Atom("$gen_call"), (self.pid, tag), request))
        signal = self._take(lambda found: found[0] == op.DOP_ALIAS_SEND and found[1] == reference, timeout_s, "a reply")
        return signal[2][1]

    # -- receiving ------------------------------------------------------------------------------

    def receive(self, timeout_s: float | None = None) -> tuple[int, Any, Any]:
        """The next signal, ticks left out: ``(operation, control, payload)`` as `etf.cut_signals` gives them.

        Raises:
            PeerFailure: none came in time, or the node has closed the connection.
        """
        return self._take(lambda signal: True, timeout_s, "a signal")

    def expect(self, operation: int, timeout_s: float | None = None) -> tuple[Any, Any]:
        """The next signal of that kind, control and payload; others before it stay."""
        name = op.OPERATIONS[operation].name if operation in op.OPERATIONS else str(operation)
        signal = self._take(lambda found: found[0] == operation, timeout_s, name)
        return signal[1], signal[2]

    def expect_message(self, timeout_s: float | None = None) -> Any:
        """The next message to a process of the peer, whichever; replies to `call` are taken there."""
        kinds = (op.DOP_SEND, op.DOP_SEND_SENDER, op.DOP_REG_SEND, op.DOP_ALIAS_SEND)
        return self._take(lambda found: found[0] in kinds, timeout_s, "a message")[2]

    def expect_exit(self, pid: Pid, timeout_s: float | None = None) -> Any:
        """The reason that a link with `pid` (or ``exit/2`` from it) brings."""
        kinds = (op.DOP_EXIT, op.DOP_EXIT2, op.DOP_PAYLOAD_EXIT, op.DOP_PAYLOAD_EXIT2)
        signal = self._take(lambda found: found[0] in kinds and found[1][1] == pid, timeout_s, f"an exit of {pid}")
        return _reason(signal)

    def expect_down(self, reference: Reference, timeout_s: float | None = None) -> Any:
        """The reason that a monitor brings; `reference` is what `monitor` returned."""
        kinds = (op.DOP_MONITOR_P_EXIT, op.DOP_PAYLOAD_MONITOR_P_EXIT)
        signal = self._take(lambda found: found[0] in kinds and found[1][3] == reference, timeout_s, "a DOWN")
        return _reason(signal)

    def expect_nothing(self, for_s: float = 0.2) -> None:
        """Check that no signal comes for that long."""
        try:
            signal = self.receive(for_s)
        except PeerFailure:
            if not self._ended:
                return
            raise
        raise PeerFailure(f"expected no signal, got {signal!r}")

    def expect_closed(self, timeout_s: float | None = None) -> None:
        """Check that the node closes the connection."""
        try:
            while True:
                self.receive(timeout_s)
        except PeerFailure:
            if not self._ended:
                raise PeerFailure("expected the node to close the connection; it is open") from None

    def _take(self, wanted: Any, timeout_s: float | None, what: str) -> tuple[int, Any, Any]:
        limit = self.timeout_s if timeout_s is None else timeout_s
        with gevent.Timeout(
            limit, PeerFailure(f"expected {what} within {limit:g} s; waiting: {list(self._signals)!r}")
        ):
            while True:
                for index, signal in enumerate(self._signals):
                    if signal[0] != op.TICK and wanted(signal):
                        del self._signals[index]
                        return signal
                try:
                    data = b"" if self._ended else self._socket.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    self._ended = True
                    raise PeerFailure(f"expected {what}; the node has closed the connection")
                self._signals.extend(self._connection.receive_data(data))


def _reason(signal: tuple[int, Any, Any]) -> Any:
    """The exit reason of a signal: its payload, or in the forms without one the last of the control."""
    return signal[1][-1] if signal[2] is NO_PAYLOAD else signal[2]
