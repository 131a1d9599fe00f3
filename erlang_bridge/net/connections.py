"""All connections of one node: who is connected, who is dialled, who is let in.

Per peer there is at most one channel: none (idle), pending (dialled) or up. An incoming connection that has proved that
it knows the cookie takes the place of whatever there was: an older channel that is up ends first, a pending one is
brought up over it. Until it has, it changes nothing, so a stranger who borrows a name can disturb nobody.

When two nodes dial each other at once, the connection dialled by the one with the greater name stays (ERTS,
"Distribution Protocol"). Ours goes on until the peer's has authenticated or the peer has refused it.
"""

from __future__ import annotations

import _socket
import logging
import secrets
from collections.abc import Callable
from typing import Any, Final

import gevent

from erlang_bridge.dist.connection import Signal
from erlang_bridge.dist.dynamic_names import NamePool
from erlang_bridge.dist.flags import missing_flags
from erlang_bridge.dist.handshake import NodeIdentity, OtherStarted, State, Verdict, WeStarted
from erlang_bridge.dist.handshake_messages import is_node_name
from erlang_bridge.errors import (
    BridgeError,
    ConnectionLost,
    HandshakeError,
    LostToSimultaneous,
    MissingFlags,
    shown_name,
)
from erlang_bridge.net.channel import Channel
from erlang_bridge.net.dialler import open_socket
from erlang_bridge.net.handshaking import Handshaking
from erlang_bridge.net.listener import Listener
from erlang_bridge.net.options import NetOptions
from erlang_bridge.net.ticker import Ticker
from erlang_bridge.terms import Atom

logger = logging.getLogger("erlang_bridge.net")

_CHECKS_PER_TICK: Final = 4
_CLAIM_WAIT_S: Final = 1.0


class Connections:
    """The connections of one node.

    Args:
        identity: who we are; with creation 0 nothing is accepted until `set_identity`.
        cookie_for: the cookie for a peer, by its full name.
        resolve: address and port of a node, by its full name; called in the greenlet that dials, may block it.
        on_signals: called in the hub with what a channel received, in order; must not block.
        on_up: called when a channel is up, before a signal of it is delivered or a queued one is sent.
        on_down: called exactly once for each channel that `get` gave out or that was up, with the reason; no more
            signals of it come after. In the hub, in the greenlet that dialled, or in the one that closed the channel.
        is_behind: whether signals given to `on_signals` are still to be worked off; the next ones can wait then.
    """

    def __init__(
        self,
        identity: NodeIdentity,
        *,
        options: NetOptions,
        cookie_for: Callable[[str], bytes],
        resolve: Callable[[str], tuple[str, int]],
        on_signals: Callable[[Channel, list[Signal]], None],
        on_up: Callable[[Channel], None],
        on_down: Callable[[Channel, str], None],
        is_behind: Callable[[], bool] = lambda: False,
    ) -> None:
        self.identity = identity
        self._own = identity
        self._options = options
        self._cookie_for = cookie_for
        self._resolve = resolve
        self._on_signals = on_signals
        self._on_up = on_up
        self._on_down = on_down
        self._is_behind = is_behind
        self._hub = gevent.get_hub()
        self._buffer = memoryview(bytearray(options.read_size))
        self._channels: dict[Atom, Channel] = {}
        self._up: tuple[Channel, ...] = ()
        self._last_number = 0
        self._attempts: dict[Channel, Callable[[], None]] = {}
        self._waiting: dict[Channel, Any] = {}
        self._incoming: dict[Handshaking, None] = {}
        self._names = NamePool(secrets.randbits)
        self._named: set[Channel] = set()
        self._named_by: Channel | None = None
        self._listener: Listener | None = None
        self._ticker = Ticker(options.tick_interval_s, lambda: self._up)
        self._silence_timer: Any = None
        self._closed = False
        self._ended_bytes = {"bytes_in": 0, "bytes_out": 0}

    # -- for the node -------------------------------------------------------------------------

    def listen(self) -> int:
        """Listen at `NetOptions.host`. Gives the port.

        Raises:
            OSError: the address, or every port of the range, is taken.
        """
        if self._listener is None:
            self._listener = Listener(self._hub.loop, self._options, self.accept_socket)
            if self.identity.creation:
                self._listener.start()
        return self._listener.port

    def set_identity(self, identity: NodeIdentity) -> None:
        """Who we are, once epmd has given a creation; incoming connections are accepted from now on."""
        self.identity = self._own = identity
        if self._listener is not None and identity.creation:
            self._listener.start()

    def get(self, node: Atom) -> Channel:
        """The channel to `node`; if there is none, a pending one, for which dialling begins. Never blocks."""
        channel = self._channels.get(node)
        if channel is None:
            channel = self._new_channel(node)
            greenlet = gevent.spawn(self._dial, channel)
            self._attempts[channel] = lambda: greenlet.kill(block=False)
        return channel

    def peek(self, node: Atom) -> Channel | None:
        """The channel to `node`, pending or up, if there is one."""
        return self._channels.get(node)

    def connect(self, node: Atom) -> Channel:
        """The channel to `node`, up. Blocks the calling greenlet.

        Raises:
            HandshakeError: the peer could not be reached or one of the two refuses; the class says how.
            EpmdError: epmd does not answer, or does not know the node.
            ConnectionLost: it was up, and is not any more.
        """
        channel = self.get(node)
        channel.settled.wait()
        if channel.state == "up":
            return channel
        if channel.failure is not None:
            raise channel.failure
        raise ConnectionLost(node.name, channel.reason)

    def disconnect(self, node: Atom, reason: str = "disconnect") -> bool:
        """Close the channel to `node`. Whether there was one."""
        channel = self._channels.get(node)
        if channel is None:
            return False
        channel.close(reason)
        return True

    @property
    def listening_socket(self) -> _socket.socket | None:
        """The socket that nodes connect to, to look at."""
        return self._listener.socket if self._listener is not None else None

    def channels(self) -> list[Channel]:
        """The channels that are up."""
        return list(self._up)

    def statistics(self) -> dict[str, int]:
        """Bytes in and out of all channels there have been, and bytes that are queued, in ``queued_bytes``."""
        totals = {**self._ended_bytes, "queued_bytes": 0}
        for channel in self._channels.values():
            counters = channel.statistics()
            for name in totals:
                totals[name] += counters[name]
        return totals

    def close(self) -> None:
        """Close everything: the listener, handshakes under way, all channels (`on_down` is called for each)."""
        self._closed = True
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for handshaking in list(self._incoming):
            self._forget(handshaking)
            handshaking.close()
        for channel in list(self._channels.values()):
            channel.close("net_kernel_terminated")
        self._ticker.stop()
        if self._silence_timer is not None:
            self._silence_timer.stop()
            self._silence_timer.close()
            self._silence_timer = None

    # -- channels -----------------------------------------------------------------------------

    def _new_channel(self, node: Atom) -> Channel:
        self._last_number += 1
        channel = self._channels[node] = Channel(
            node,
            self._last_number,
            hub=self._hub,
            options=self._options,
            buffer=self._buffer,
            on_signals=self._on_signals,
            on_closed=self._channel_closed,
            is_behind=self._is_behind,
        )
        return channel

    def _bring_up(self, channel: Channel, handshaking: Handshaking, first: bytes) -> None:
        peer = handshaking.handshake.peer
        assert peer is not None
        channel.bring_up(handshaking.release(), peer, first)
        self._up = (*self._up, channel)
        self._start_ticking()
        try:
            self._on_up(channel)
        except Exception:
            logger.exception("closing the connection with %s: it could not be taken into use", channel.node.name)
            channel.close("internal_error")
        channel.start(handshaking.handshake.take_rest())

    def _channel_closed(self, channel: Channel, reason: str) -> None:
        if self._channels.get(channel.node) is channel:
            del self._channels[channel.node]
        self._up = tuple(other for other in self._up if other is not channel)
        counters = channel.statistics()
        for counted in self._ended_bytes:
            self._ended_bytes[counted] += counters[counted]
        self._end_attempt(channel)
        if channel in self._named:
            self._named.discard(channel)
            self._names.release(channel.node.name)
        try:
            self._on_down(channel, reason)
        except Exception:
            logger.exception("the end of the connection with %s could not be handled", channel.node.name)
        if channel is self._named_by:
            self._lose_name()

    def _end_attempt(self, channel: Channel) -> None:
        abort = self._attempts.pop(channel, None)
        if abort is not None:
            abort()
        timer = self._waiting.pop(channel, None)
        if timer is not None:
            timer.close()

    def _lose_name(self) -> None:
        # The name was this connection's; whoever granted it may give it to another node now.
        self._named_by = None
        self.identity = self._own
        for channel in list(self._channels.values()):
            channel.close("connection_closed")

    # -- we dial ------------------------------------------------------------------------------

    def _dial(self, channel: Channel) -> None:
        name = channel.node.name
        step_s = self._options.setup_time_s
        try:
            self._check_dialled(name)
            # While it is connecting to us anyway: two connections at once would have to be sorted out.
            claim = self._claim_of(name)
            if claim is not None:
                claim.over.wait(min(_CLAIM_WAIT_S, step_s / 4))
            cookie = self._cookie_for(name)
            sock = open_socket(name, self._resolve, step_s)
        except Exception as error:
            if not isinstance(error, BridgeError):
                logger.exception("dialling %s went wrong", name)
            self._attempts.pop(channel, None)
            self._fail(channel, error)
            return
        if channel.state != "pending":
            sock.close()
            return
        handshake = WeStarted(
            self.identity,
            name,
            cookie,
            secrets.randbits(32),
            max_packet_size=self._options.max_handshake_packet_size,
        )
        handshaking = Handshaking(
            self._hub.loop,
            sock,
            handshake,
            step_s,
            lambda handshaking: self._dialled(channel, handshake, handshaking),
            lambda handshaking, error: self._dial_failed(channel, error),
        )
        self._attempts[channel] = handshaking.close
        handshaking.start(handshake.start())

    def _check_dialled(self, name: str) -> None:
        if self._closed:
            raise HandshakeError(name, "this node is stopping")
        if not is_node_name(name):
            raise HandshakeError(name, "that is not a node name: one looks like name@host")
        if name == self.identity.name:
            raise HandshakeError(name, "that is this node's own name")

    def _dialled(self, channel: Channel, handshake: WeStarted, handshaking: Handshaking) -> None:
        granted = handshake.granted
        if granted is not None:
            if not self.identity.is_dynamic:
                raise HandshakeError(channel.node.name, f"this node has become {self.identity.name} meanwhile")
            self.identity = granted
            self._named_by = channel
        self._attempts.pop(channel, None)
        self._bring_up(channel, handshaking, b"")

    def _dial_failed(self, channel: Channel, error: BridgeError) -> None:
        self._attempts.pop(channel, None)
        if isinstance(error, LostToSimultaneous):
            timer = self._waiting[channel] = self._hub.loop.timer(self._options.setup_time_s)
            timer.start(self._fail, channel, error)
        else:
            self._fail(channel, error)

    def _fail(self, channel: Channel, error: BaseException) -> None:
        logger.info("%s", error)
        channel.fail(error)

    # -- they dial ----------------------------------------------------------------------------

    def accept_socket(self, sock: _socket.socket, address: Any = None) -> None:
        """Let a peer in that has connected.

        Args:
            sock: not blocking; owned from here on.
            address: where it comes from.
        """
        while len(self._incoming) >= self._options.max_pending_handshakes:
            oldest = next(iter(self._incoming))
            logger.warning("too many connection attempts at once: dropped the oldest one")
            self._forget(oldest)
            oldest.close()
        handshaking = Handshaking(
            self._hub.loop,
            sock,
            OtherStarted(self.identity, secrets.randbits(32), max_packet_size=self._options.max_handshake_packet_size),
            self._options.setup_time_s,
            self._incoming_turn,
            self._incoming_failed,
        )
        self._incoming[handshaking] = None
        handshaking.start()

    def _incoming_turn(self, handshaking: Handshaking) -> None:
        handshake = handshaking.handshake
        assert isinstance(handshake, OtherStarted)
        if handshake.state is State.DECIDING:
            self._decide(handshaking, handshake)
        else:
            self._accept(handshaking, handshake)

    def _decide(self, handshaking: Handshaking, handshake: OtherStarted) -> None:
        name = handshake.peer_name
        granted, creation = "", 0
        refusal: BridgeError | None = None
        try:
            verdict = self._verdict(name, handshake)
        except _Refused as refused:
            verdict, refusal = refused.verdict, refused.error
        if verdict is Verdict.NAMED:
            granted, creation = self._unused_name(name)
        cookie = self._cookie_for(granted or name) if refusal is None else b""
        handshaking.send(handshake.decide(verdict, cookie, name=granted, creation=creation))
        if refusal is not None:
            handshaking.fail(refusal)

    def _verdict(self, name: str, handshake: OtherStarted) -> Verdict:
        # In the order of dist_util:handshake_other_started/1.
        if not is_node_name(f"x@{name}" if handshake.wants_name else name):
            raise HandshakeError(name, "that is not a node name")
        if not self._options.allows(name):
            raise _Refused(Verdict.NOT_ALLOWED, HandshakeError(name, "it is not on the allow list"))
        assert handshake.send_name is not None
        missing = missing_flags(handshake.send_name.flags)
        if missing:
            raise _Refused(Verdict.NOT_ALLOWED, MissingFlags(name, missing))
        if handshake.wants_name:
            return Verdict.NAMED
        if name == self.identity.name:
            raise _Refused(Verdict.NOK, HandshakeError(name, "that is this node's own name"))
        channel = self._channels.get(Atom(name))
        if channel is None:
            return Verdict.OK
        if channel.state == "up":
            return Verdict.ALIVE
        if channel in self._attempts and self.identity.name > name:
            raise _Refused(Verdict.NOK, OwnAttemptWins(name))
        return Verdict.OK_SIMULTANEOUS

    def _unused_name(self, host: str) -> tuple[str, int]:
        while True:
            name, creation = self._names.grant(host)
            if Atom(name) not in self._channels:
                return name, creation

    def _accept(self, handshaking: Handshaking, handshake: OtherStarted) -> None:
        peer = handshake.peer
        assert peer is not None
        self._forget(handshaking)
        older = self._channels.get(peer.name)
        if older is not None and older.state == "up":
            older.close("connection_closed")
        # Where the node has sent something to it on hearing of that, there is one again, pending.
        channel = self._channels.get(peer.name) or self._new_channel(peer.name)
        self._end_attempt(channel)
        if handshake.wants_name:
            self._named.add(channel)
        self._bring_up(channel, handshaking, handshake.accept())

    def _incoming_failed(self, handshaking: Handshaking, error: BridgeError) -> None:
        self._forget(handshaking)
        handshake = handshaking.handshake
        name = handshake.peer_name
        level = logging.DEBUG if isinstance(error, OwnAttemptWins) else logging.WARNING
        logger.log(level, "connection attempt from %s rejected: %s", shown_name(name), error)
        if isinstance(handshake, OtherStarted) and handshake.wants_name:
            self._names.release(name)
        elif is_node_name(name):
            channel = self._channels.get(Atom(name))
            if channel in self._waiting and self._claim_of(name) is None:
                self._fail(channel, error)

    def _forget(self, handshaking: Handshaking) -> None:
        self._incoming.pop(handshaking, None)

    def _claim_of(self, name: str) -> Handshaking | None:
        for handshaking in self._incoming:
            if handshaking.handshake.peer_name == name:
                return handshaking
        return None

    # -- liveness -----------------------------------------------------------------------------

    def _start_ticking(self) -> None:
        if self._closed or self._silence_timer is not None:
            return
        self._ticker.start()
        interval_s = self._options.tick_interval_s / _CHECKS_PER_TICK
        self._silence_timer = self._hub.loop.timer(interval_s, interval_s, ref=False)
        self._silence_timer.start(self._close_silent)

    def _close_silent(self) -> None:
        for channel in self._up:
            if channel.is_silent(self._options.net_ticktime_s):
                logger.error("node %s does not respond, removing it (timed out connection)", channel.node.name)
                channel.close("net_tick_timeout")


class OwnAttemptWins(HandshakeError):
    """A peer dialled us while we dial it, and ours is the connection that stays."""

    def __init__(self, node_name: str) -> None:
        super().__init__(node_name, "it dialled while we are dialling it, and our attempt wins")


class _Refused(Exception):
    def __init__(self, verdict: Verdict, error: BridgeError) -> None:
        self.verdict = verdict
        self.error = error
