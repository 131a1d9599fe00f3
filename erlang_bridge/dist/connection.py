"""A connection that is up: bytes in, signals out; signals in, packets out. No socket, no clock.

`DistConnection` puts the parts together: packets are cut and decoded in batches by `etf.cut_signals`, fragments are
assembled, nonsense is set aside, and what goes out has the form that this peer takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from erlang_bridge.dist.control import Control, OutgoingForms, is_lawful
from erlang_bridge.dist.fragments import FRAGMENT_SIZE, FragmentAssembler, split_packet
from erlang_bridge.dist.handshake import Peer
from erlang_bridge.errors import RemoteProtocolError
from erlang_bridge.etf import NO_PAYLOAD, cut_signals, decode_assembled, encode_term
from erlang_bridge.etf.opcodes import (
    BAD_TERM,
    DOP_ALIAS_SEND,
    DOP_REG_SEND,
    DOP_SEND,
    DOP_SEND_SENDER,
    FRAGMENT_FIRST,
    FRAGMENT_NEXT,
    TICK,
)

Signal = tuple[int, Any, Any]
"""Operation; destination (of the four plain sends) or control tuple; payload. See `etf.cut_signals`."""

Packet = bytes | tuple[bytes, memoryview]
"""What is written for one packet; a large one is its header and a view of its body."""

PLAIN_SENDS: Final = frozenset({DOP_SEND, DOP_SEND_SENDER, DOP_REG_SEND, DOP_ALIAS_SEND})
"""Operations whose signals carry the destination only, ready for dispatch."""

_LENGTH_SIZE: Final = 4
_MAX_REJECTED: Final = 16
_MAX_SEQUENCE_ID: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class ReceiveLimits:
    """What one peer may make us hold. Sizes in bytes."""

    max_packet_size: int = 512 << 20
    max_sequences: int = 65_536
    max_sequence_size: int = 512 << 20
    max_total_sequence_size: int = 1 << 30


class DistConnection:
    """The protocol state of one connection, both directions."""

    def __init__(self, peer: Peer, limits: ReceiveLimits) -> None:
        self.peer = peer
        self.packets_in = 0
        """Complete packets received, ticks and fragments counted."""
        self._limits = limits
        self._forms = OutgoingForms(peer.flags, peer.creation)
        self._assembler = FragmentAssembler(
            limits.max_sequences, limits.max_sequence_size, limits.max_total_sequence_size
        )
        self._last_sequence_id = 0
        self._chunks: list[bytes] = []
        self._held = 0
        self._wanted = 0
        self._rejected: list[str] = []

    @property
    def missing(self) -> int:
        """Bytes until the packet under way is complete; 0 between packets."""
        return self._wanted - self._held

    @property
    def open_sequences(self) -> int:
        """Number of incoming fragment sequences that are not complete."""
        return len(self._assembler)

    def receive_data(self, data: bytes) -> list[Signal]:
        """Take bytes from the peer and give the signals that are complete with them, in order, ticks left out.

        A packet under way is kept in pieces and joined once, whatever its length says it will be.

        Raises:
            RemoteProtocolError: the connection has to be closed, after the `signals` of the error have been delivered:
                they came before what broke it.
        """
        if self._wanted:
            self._chunks.append(data)
            self._held += len(data)
            if self._held < self._wanted:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
        signals: Sequence[Signal] = ()
        try:
            signals, end = cut_signals(data, 0, self._limits.max_packet_size)
            self._keep(data, end)
        except RemoteProtocolError as error:
            raise RemoteProtocolError(str(error), self._checked(signals or error.signals)) from None
        self.packets_in += len(signals)
        for signal in signals:
            if signal[0] not in PLAIN_SENDS:
                return self._checked(signals)
        return signals

    def take_rejected(self) -> Sequence[str]:
        """Descriptions of the first signals that were dropped since the last call because they made no sense."""
        if not self._rejected:
            return ()
        rejected, self._rejected = self._rejected, []
        return rejected

    def packets(self, control: Control, payload: Any = NO_PAYLOAD) -> Sequence[Packet]:
        """What to write for a signal in the modern form; empty if this peer cannot take it or must not get it.

        Raises:
            EtfEncodeError: a term that has no counterpart.
        """
        packet = self._forms.packet(control, payload)
        if packet is None:
            return ()
        if len(packet) > FRAGMENT_SIZE and payload is not NO_PAYLOAD and self._forms.splits(control):
            return self._fragments(packet, control)
        return (packet,)

    def packets_of(self, control: Control, payload: bytes | None) -> Sequence[Packet]:
        """As `packets`, for a payload that was encoded (without 131) before the peer's flags were known."""
        packet = self._forms.packet_of(control, payload)
        if packet is None:
            return ()
        if len(packet) > FRAGMENT_SIZE and payload is not None and self._forms.splits(control):
            return self._fragments(packet, control)
        return (packet,)

    def _fragments(self, packet: bytes, control: Control) -> Sequence[Packet]:
        self._last_sequence_id = self._last_sequence_id % _MAX_SEQUENCE_ID + 1
        return tuple(split_packet(packet, len(encode_term(control)), self._last_sequence_id))

    def _keep(self, data: bytes, end: int) -> None:
        held = len(data) - end
        self._held = held
        if not held:
            self._wanted = 0
            return
        self._chunks.append(data[end:] if end else data)
        self._wanted = _LENGTH_SIZE
        if held >= _LENGTH_SIZE:
            length = int.from_bytes(data[end : end + _LENGTH_SIZE], "big")
            if length > self._limits.max_packet_size:
                raise RemoteProtocolError(
                    f"a packet of {length} bytes was announced, {self._limits.max_packet_size} are allowed"
                )
            self._wanted += length

    def _checked(self, signals: Sequence[Signal]) -> list[Signal]:
        checked: list[Signal] = []
        try:
            self._check(signals, checked)
        except RemoteProtocolError as error:
            raise RemoteProtocolError(str(error), checked) from None
        return checked

    def _check(self, signals: Sequence[Signal], checked: list[Signal]) -> None:
        for operation, control, payload in signals:
            if operation == TICK:
                continue
            if operation == FRAGMENT_FIRST or operation == FRAGMENT_NEXT:
                take = self._assembler.first if operation == FRAGMENT_FIRST else self._assembler.following
                body = take(control[0], control[1], payload)
                if body is None:
                    continue
                complete = decode_assembled(body)
            else:
                complete = (operation, control, payload)
            if complete[0] in PLAIN_SENDS or complete[0] == BAD_TERM or is_lawful(complete[1], self.peer.name):
                checked.append(complete)
            elif len(self._rejected) < _MAX_REJECTED:
                self._rejected.append(_shown(complete[1]))


def _shown(control: Control) -> str:
    # The peer chose its size and depth.
    try:
        return repr(control)[:200]
    except (RecursionError, ValueError):
        return f"({control[0]}, ...)"
