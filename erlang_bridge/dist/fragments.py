"""Large signals in pieces, so that others get a turn between them and a slow line shows signs of life.

A sequence is one signal: its first fragment has the whole control tuple, fragment ids count down to 1. `split_packet`
cuts what we send, `FragmentAssembler` puts together what comes.

Source: ERTS, "Distribution Protocol", Distribution Header for fragmented messages; erts ``dist.c``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from erlang_bridge.errors import RemoteProtocolError

FRAGMENT_SIZE: Final = 65536
"""Bytes of control and payload in one fragment, as OTP cuts."""

_FIRST: Final = Struct(">IBBQQB")  # length 131 69 sequence fragment, no atoms
_NEXT: Final = Struct(">IBBQQ")  # length 131 70 sequence fragment
_PACKET_HEAD: Final = 4 + 3  # length 131 68, no atoms
_PIECE_OVERHEAD: Final = 64


def split_packet(packet: bytes, control_size: int, sequence_id: int) -> Iterator[tuple[bytes, memoryview]]:
    """Cut a packet with distribution header into fragments.

    Args:
        packet: whole, length field first, as `etf.encode_signal` makes it.
        control_size: bytes of its control tuple.
        sequence_id: 1 .. 2^64-1, not used by another open sequence of this connection.

    Yields:
        Header and body of one packet each, the body a view into `packet`.
    """
    # OTP crashes, the whole VM, on a sequence or fragment id of 0.
    if not 0 < sequence_id < 1 << 64:
        raise ValueError(f"a sequence id is 1 .. 2^64-1, got {sequence_id}")
    body = memoryview(packet)[_PACKET_HEAD:]
    first_size = max(FRAGMENT_SIZE, control_size)
    left = max(0, len(body) - first_size)
    fragment_id = 1 + -(-left // FRAGMENT_SIZE)
    piece = body[:first_size]
    yield _FIRST.pack(_FIRST.size - 4 + len(piece), 131, 69, sequence_id, fragment_id, 0), piece
    for start in range(first_size, len(body), FRAGMENT_SIZE):
        fragment_id -= 1
        piece = body[start : start + FRAGMENT_SIZE]
        yield _NEXT.pack(_NEXT.size - 4 + len(piece), 131, 70, sequence_id, fragment_id), piece


@dataclass(slots=True)
class _Sequence:
    next_fragment_id: int
    pieces: list[bytes]
    size: int


class FragmentAssembler:
    """The open sequences of one connection.

    Args:
        max_sequences: how many may be open at a time.
        max_sequence_size: bytes of one.
        max_total_size: bytes of all that are open.
    """

    def __init__(self, max_sequences: int, max_sequence_size: int, max_total_size: int) -> None:
        self._max_sequences = max_sequences
        self._max_sequence_size = max_sequence_size
        self._max_total_size = max_total_size
        self._open: dict[int, _Sequence] = {}
        self._total_size = 0

    def __len__(self) -> int:
        """Number of open sequences."""
        return len(self._open)

    def first(self, sequence_id: int, fragment_id: int, body: bytes) -> bytes | None:
        """Begin a sequence. Gives control and payload if this fragment is all of it.

        Raises:
            RemoteProtocolError: an id of 0, a sequence that is open already, a limit exceeded.
        """
        self._check_ids(sequence_id, fragment_id)
        if sequence_id in self._open:
            raise RemoteProtocolError(f"fragment sequence {sequence_id} begins while it is open")
        if fragment_id == 1:
            return body
        if len(self._open) >= self._max_sequences:
            raise RemoteProtocolError(f"more than {self._max_sequences} fragment sequences are open")
        sequence = self._open[sequence_id] = _Sequence(fragment_id - 1, [], 0)
        self._add(sequence, body)
        return None

    def following(self, sequence_id: int, fragment_id: int, body: bytes) -> bytes | None:
        """Go on with a sequence. Gives control and payload if this was its last fragment.

        Raises:
            RemoteProtocolError: an id of 0, a sequence that is not open, a fragment out of order, a limit exceeded.
        """
        self._check_ids(sequence_id, fragment_id)
        sequence = self._open.get(sequence_id)
        if sequence is None:
            raise RemoteProtocolError(f"fragment {fragment_id} of sequence {sequence_id}, which is not open")
        if fragment_id != sequence.next_fragment_id:
            raise RemoteProtocolError(
                f"fragment {fragment_id} of sequence {sequence_id} came, {sequence.next_fragment_id} was expected"
            )
        sequence.next_fragment_id -= 1
        self._add(sequence, body)
        if fragment_id > 1:
            return None
        del self._open[sequence_id]
        self._total_size -= sequence.size
        return b"".join(sequence.pieces)

    def _check_ids(self, sequence_id: int, fragment_id: int) -> None:
        if sequence_id == 0 or fragment_id == 0:
            raise RemoteProtocolError(f"fragment {fragment_id} of sequence {sequence_id}: neither may be 0")

    def _add(self, sequence: _Sequence, body: bytes) -> None:
        if not body:
            return
        # What it costs us, not what it says: a stream of tiny pieces is mostly overhead.
        cost = len(body) + _PIECE_OVERHEAD
        sequence.pieces.append(body)
        sequence.size += cost
        self._total_size += cost
        if sequence.size > self._max_sequence_size:
            raise RemoteProtocolError(f"a fragment sequence exceeds {self._max_sequence_size} bytes")
        if self._total_size > self._max_total_size:
            raise RemoteProtocolError(f"the open fragment sequences exceed {self._max_total_size} bytes")
