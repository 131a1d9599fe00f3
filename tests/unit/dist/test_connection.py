"""A connection that is up, as bytes in and signals out."""

import tracemalloc
from itertools import pairwise
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erlang_bridge.dist.connection import DistConnection, ReceiveLimits
from erlang_bridge.dist.flags import DFLAG_EXIT_PAYLOAD, DFLAG_FRAGMENTS, OFFERED_HIDDEN
from erlang_bridge.dist.handshake import Peer
from erlang_bridge.errors import EtfDecodeError, EtfEncodeError, RemoteProtocolError
from erlang_bridge.etf import NO_PAYLOAD, encode_signal, encode_term
from erlang_bridge.terms import Atom, Pid, Reference

THEIR_NODE = Atom("b@h")
US = Pid(Atom("a@h"), 1, 0, 5)
THEM = Pid(THEIR_NODE, 2, 0, 6)
NAME = Atom("name")
TICK = bytes(4)


def connection(flags=OFFERED_HIDDEN, limits=None, creation=6, name=THEIR_NODE):
    return DistConnection(Peer(name, creation, flags, hidden=True, we_started=True), limits or ReceiveLimits())


def flat(packets):
    return b"".join(packet if type(packet) is bytes else b"".join(packet) for packet in packets)


def wire(sender, *signals):
    return b"".join(flat(sender.packets(control, payload)) for control, payload in signals)


def received(receiver, data, step=1 << 30):
    return [
        signal for start in range(0, len(data), step) for signal in receiver.receive_data(data[start : start + step])
    ]


SIGNALS = [
    ((22, US, THEM), b"x" * 200_000),
    ((22, US, THEM), Atom("small")),
    ((1, US, THEM), NO_PAYLOAD),
    ((26, US, THEM), [b"y" * 70_000]),
    ((6, US, Atom(""), NAME), {1: 2}),
]
SEEN = [
    (22, THEM, b"x" * 200_000),
    (22, THEM, Atom("small")),
    (1, (1, US, THEM), NO_PAYLOAD),
    (26, (26, US, THEM), [b"y" * 70_000]),
    (6, NAME, {1: 2}),
]


@pytest.mark.parametrize("flags", [OFFERED_HIDDEN, OFFERED_HIDDEN & ~DFLAG_FRAGMENTS])
@pytest.mark.parametrize("step", [1 << 30, 65536, 1000, 7])
def test_any_cut_of_the_stream_gives_the_same_signals(flags, step):
    data = TICK + wire(connection(flags), *SIGNALS) + TICK
    receiver = connection(flags, name=US.node)
    assert received(receiver, data, step) == SEEN
    assert receiver.missing == 0
    assert receiver.open_sequences == 0


@given(cuts=st.lists(st.integers(0, 600), max_size=20))
def test_any_cut_of_small_packets(cuts):
    data = wire(connection(), *SIGNALS[1:3], SIGNALS[4]) * 3 + TICK
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    receiver = connection(name=US.node)
    signals = [signal for start, end in pairwise(edges) for signal in receiver.receive_data(data[start:end])]
    assert signals == [SEEN[1], SEEN[2], SEEN[4]] * 3
    assert receiver.packets_in == 10


def test_ticks_are_counted_and_not_delivered():
    receiver = connection()
    assert receiver.receive_data(TICK * 3 + TICK[:2]) == []
    assert receiver.packets_in == 3
    assert receiver.missing == 2


def test_fragments_are_contiguous_and_numbered():
    sender = connection()
    for number in (1, 2):
        ids = [head[6:14] for head, _ in sender.packets((22, US, THEM), b"x" * 200_000)]
        assert ids == [number.to_bytes(8, "big")] * 4


def test_sequence_numbers_wrap_past_0():
    sender = connection()
    sender._last_sequence_id = (1 << 64) - 2
    numbers = [sender.packets((22, US, THEM), bytes(70_000))[0][0][6:14] for _ in range(2)]
    assert numbers == [b"\xff" * 8, bytes(7) + b"\x01"]


def test_a_small_packet_is_not_cut():
    sender = connection()
    small = b"x" * (65536 - 60)
    assert sender.packets((22, US, THEM), small) == (encode_signal((22, US, THEM), small),)


def test_what_has_no_payload_is_not_cut():
    [packet] = connection(OFFERED_HIDDEN & ~DFLAG_EXIT_PAYLOAD).packets((26, US, THEM), b"x" * 100_000)
    assert packet == encode_signal((8, US, THEM, b"x" * 100_000))
    [packet] = connection().packets((31, Reference(THEIR_NODE, 6, (1,)), THEM, 0, [b"x" * 100_000]))
    assert type(packet) is bytes


def test_signals_from_before_the_flags_were_known():
    sender = connection()
    for control, payload in SIGNALS:
        encoded = None if payload is NO_PAYLOAD else encode_term(payload)
        late, early = connection(), connection()
        assert flat(late.packets_of(control, encoded)) == flat(early.packets(control, payload))
    assert sender.packets_of((24, US, Pid(THEIR_NODE, 2, 0, 5)), b"a\x01") == ()


def test_encoding_fails_in_the_sender():
    with pytest.raises(EtfEncodeError):
        connection().packets((22, US, THEM), object())


def test_interleaved_sequences_and_whole_packets():
    sender, other = connection(), connection()
    other._last_sequence_id = 100
    big = [b"".join(packet) for packet in sender.packets((22, US, THEM), b"1" * 150_000)]
    bigger = [b"".join(packet) for packet in other.packets((22, US, THEM), b"2" * 150_000)]
    small = flat(sender.packets((22, US, THEM), 3))
    data = b"".join(a + small + b for a, b in zip(big, bigger, strict=True))
    payloads = [payload for _, _, payload in connection().receive_data(data)]
    assert payloads == [3, 3, b"1" * 150_000, 3, b"2" * 150_000]


def test_nonsense_is_set_aside_and_the_rest_goes_on():
    data = encode_signal((1, US, US)) + encode_signal((22, THEM, US), 1) + encode_signal((35, 0, THEM, US))
    receiver = connection()
    assert receiver.receive_data(data) == [(22, US, 1)]
    first, second = receiver.take_rejected()
    assert first.startswith("(1, Pid('a@h'")
    assert second.startswith("(35, 0, ")
    assert receiver.take_rejected() == ()


def test_a_payload_that_is_no_term_costs_that_signal():
    packet = bytearray(encode_signal((22, THEM, US), b"x"))
    packet[-6] = 200
    [(op, control, error)] = connection().receive_data(bytes(packet))
    assert (op, control) == (-1, (22, US))
    assert isinstance(error, EtfDecodeError)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x05hello",
        b"\x00\x00\x00\x03\x83\x44\x05",
        encode_signal((99, THEM, US)),
        encode_signal((1, THEM)),
        b"\x20\x00\x00\x01",
        b"\xff\xff\xff\xff" + bytes(100),
        b"\x00\x00\x00\x13\x83\x45" + bytes(8) + b"\x00" * 7 + b"\x02\x00",
        b"\x00\x00\x00\x13\x83\x45" + b"\x01" * 8 + b"\x00" * 8 + b"\x00",
        b"\x00\x00\x00\x12\x83\x46" + b"\x01" * 8 + b"\x00" * 7 + b"\x01",
    ],
)
def test_what_ends_a_connection(data):
    with pytest.raises(RemoteProtocolError):
        connection().receive_data(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_signals_or_a_protocol_error(data):
    receiver = connection()
    try:
        receiver.receive_data(data)
        receiver.receive_data(data)
    except RemoteProtocolError:
        pass


@given(st.binary(max_size=60))
def test_any_bytes_in_a_lawful_frame(body):
    frame = (len(body) + 3).to_bytes(4, "big") + b"\x83D\x00" + body
    try:
        connection().receive_data(frame)
    except RemoteProtocolError:
        pass


def test_nothing_is_allocated_for_an_announced_length():
    receiver = connection()
    tracemalloc.start()
    try:
        receiver.receive_data((400 << 20).to_bytes(4, "big") + bytes(1000))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert receiver.missing == (400 << 20) - 1000


def time_per_byte(size):
    data = encode_signal((22, US, THEM), bytes(size))
    receiver = connection()
    pieces = [data[start : start + 16384] for start in range(0, len(data), 16384)]
    start_s = perf_counter()
    for piece in pieces:
        signals = receiver.receive_data(piece)
    assert len(signals) == 1
    return (perf_counter() - start_s) / size


def test_a_large_packet_is_received_in_linear_time():
    large, larger = (min(time_per_byte(size) for _ in range(3)) for size in (8 << 20, 64 << 20))
    # Fresh memory costs about a nanosecond a byte; joining at each piece would cost hundreds.
    assert larger < 4 * large + 5e-9
