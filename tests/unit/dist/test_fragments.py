"""Signals in pieces: how they are cut, put together, and refused."""

import itertools

import pytest

from erlang_bridge.dist.fragments import FRAGMENT_SIZE, FragmentAssembler, split_packet
from erlang_bridge.errors import RemoteProtocolError
from erlang_bridge.etf import cut_signals, decode_assembled, encode_signal, encode_term
from erlang_bridge.terms import Atom

CONTROL = (6, Atom("x"), Atom(""), Atom("name"))


def assembler(max_sequences=10, max_sequence_size=1 << 20, max_total_size=1 << 20):
    return FragmentAssembler(max_sequences, max_sequence_size, max_total_size)


def fragments(packet, sequence_id=7, control_size=10):
    """As the peer cuts them: (operation, (sequence, fragment), body)."""
    data = b"".join(itertools.chain.from_iterable(split_packet(packet, control_size, sequence_id)))
    signals, end = cut_signals(data, 0, 1 << 20)
    assert end == len(data)
    return signals


@pytest.mark.parametrize("size", [65536, 65537, 131072, 131073, 200_000, 1_000_000])
def test_cut_as_otp_cuts(size):
    packet = bytes(7) + bytes(range(256)) * (size // 256) + bytes(size % 256)
    cut = fragments(packet)
    assert [op for op, _, _ in cut] == [69] + [70] * (len(cut) - 1)
    assert [frag for _, (_, frag), _ in cut] == list(range(len(cut), 0, -1))
    assert len(cut) == -(-size // FRAGMENT_SIZE)
    assert {len(body) for _, _, body in cut[:-1]} <= {FRAGMENT_SIZE}
    assert b"".join(body for _, _, body in cut) == packet[7:]


def test_frames_have_the_sizes_of_otps():
    # A 200 KB binary from OTP: 65555, 65554, 65554, 3521.
    sizes = [len(head) + len(body) - 4 for head, body in split_packet(bytes(7 + 200_111), 50, 1)]
    assert sizes == [65555, 65554, 65554, 200_111 - 3 * 65536 + 18]


def test_the_control_tuple_is_never_cut():
    control = (29, *("r" * 40_000, "g" * 40_000))
    packet = encode_signal(control, b"p" * 100_000)
    first, *_ = fragments(packet, control_size=len(encode_term(control)))
    assert len(first[2]) == len(encode_term(control)) > FRAGMENT_SIZE


def test_ids_are_never_0():
    for sequence_id in (0, 1 << 64, -1):
        with pytest.raises(ValueError, match="sequence id"):
            list(split_packet(bytes(200_000), 10, sequence_id))
    assert fragments(bytes(200_000), sequence_id=(1 << 64) - 1)[-1][1] == ((1 << 64) - 1, 1)


def test_put_together_again():
    packet = encode_signal(CONTROL, b"x" * 200_000)
    several = assembler()
    (_, ids, body), *rest = fragments(packet)
    assert several.first(*ids, body) is None
    assert len(several) == 1
    results = [several.following(*ids, body) for _, ids, body in rest]
    assert results[:-1] == [None] * (len(rest) - 1)
    assert decode_assembled(results[-1]) == (6, Atom("name"), b"x" * 200_000)
    assert len(several) == 0


def test_sequences_interleave():
    several = assembler()
    bodies = {}
    for step in range(3):
        for sequence_id in (1, 2, 3):
            take = several.following if step else several.first
            bodies[sequence_id] = take(sequence_id, 3 - step, bytes((sequence_id, step)))
    assert bodies == {number: bytes((number, 0, number, 1, number, 2)) for number in (1, 2, 3)}


def test_a_sequence_of_one():
    assert assembler().first(1, 1, b"all") == b"all"


def test_a_fragment_may_be_empty():
    several = assembler()
    several.first(1, 3, b"")
    several.following(1, 2, b"")
    assert several.following(1, 1, b"x") == b"x"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda several: several.first(0, 2, b""), "0"),
        (lambda several: several.first(1, 0, b""), "0"),
        (lambda several: several.following(5, 0, b""), "0"),
        (lambda several: several.first(5, 9, b""), "open"),
        (lambda several: several.following(6, 2, b""), "not open"),
        (lambda several: several.following(5, 3, b""), "expected"),
        (lambda several: several.following(5, 1, b""), "expected"),
    ],
)
def test_what_breaks_the_order(broken, why):
    several = assembler()
    several.first(5, 3, b"x")
    with pytest.raises(RemoteProtocolError, match=why):
        broken(several)


def test_limits():
    several = assembler(max_sequences=2)
    several.first(1, 2, b"")
    several.first(2, 2, b"")
    with pytest.raises(RemoteProtocolError, match="more than 2"):
        several.first(3, 2, b"")
    with pytest.raises(RemoteProtocolError, match="a fragment sequence exceeds"):
        assembler(max_sequence_size=1000).first(1, 2, bytes(1000))
    several = assembler(max_total_size=1000)
    several.first(1, 2, bytes(500))
    with pytest.raises(RemoteProtocolError, match="open fragment sequences exceed"):
        several.first(2, 2, bytes(500))


def test_a_huge_fragment_count_costs_nothing_and_tiny_pieces_are_counted():
    several = assembler(max_sequence_size=10_000)
    several.first(1, (1 << 64) - 1, b"")
    for count in range(153):
        several.following(1, (1 << 64) - 2 - count, b"x")
    with pytest.raises(RemoteProtocolError, match="exceeds"):
        several.following(1, (1 << 64) - 2 - 153, b"x")


def test_what_is_complete_counts_no_longer():
    several = assembler(max_total_size=1000)
    for sequence_id in range(1, 20):
        several.first(sequence_id, 2, bytes(400))
        assert several.following(sequence_id, 1, b"") == bytes(400)
