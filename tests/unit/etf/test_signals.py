from __future__ import annotations

import pytest

from erlang_bridge.errors import EtfDecodeError, EtfEncodeError, RemoteProtocolError
from erlang_bridge.etf import NO_PAYLOAD, cut_signals, decode_assembled, encode_signal, encode_term
from erlang_bridge.etf.opcodes import BAD_TERM, FRAGMENT_FIRST, FRAGMENT_NEXT, OPERATIONS, TICK
from erlang_bridge.terms import Atom, Pid, Reference

OURS = Pid(Atom("py@127.0.0.1"), 5, 0, 4)
THEIRS = Pid(Atom("beam@127.0.0.1"), 87, 1, 1732400001)
FAR = Pid(Atom("å" * 200 + "@h"), 1, 0, 4)
"""Its node needs ATOM_UTF8_EXT."""
ALIAS = Reference(Atom("py@127.0.0.1"), 4, (1, 2, 3))
NAME = Atom("counter")
NOTHING = Atom("")
MAX = 1 << 20
MESSAGE = (Atom("tx"), 1, b"x" * 32)


def cut(data):
    signals, end = cut_signals(data, 0, MAX)
    assert end == len(data)
    return signals


def packet(body):
    return len(body).to_bytes(4) + body


@pytest.mark.parametrize("pass_through", [False, True])
@pytest.mark.parametrize(
    ("control", "destination"),
    [
        ((2, NOTHING, OURS), OURS),
        ((2, Atom("cookie"), OURS), OURS),
        ((22, THEIRS, OURS), OURS),
        ((6, THEIRS, NOTHING, NAME), NAME),
        ((6, THEIRS, NOTHING, Atom("é" * 200)), Atom("é" * 200)),
        ((6, THEIRS, NOTHING, None), Atom("nil")),
        ((6, THEIRS, NOTHING, True), Atom("true")),
        ((33, THEIRS, ALIAS), ALIAS),
        ((22, THEIRS, FAR), FAR),
        ((22, FAR, OURS), OURS),
    ],
)
def test_messages_are_ready_to_dispatch(control, destination, pass_through):
    data = encode_signal(control, MESSAGE, pass_through)
    # Cold and warm caches give the same.
    assert cut(data * 3) == [(control[0], destination, MESSAGE)] * 3


@pytest.mark.parametrize("pass_through", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation(operation, pass_through):
    known = OPERATIONS[operation]
    for arity in known.arities:
        control = (operation, THEIRS, OURS, ALIAS, 1, [], Atom("x"))[:arity]
        if operation == 6:
            control = (6, THEIRS, NOTHING, NAME)
        elif operation == 33:
            control = (33, THEIRS, ALIAS)
        payload = (MESSAGE,) if known.has_payload else NO_PAYLOAD
        ((op, given, got),) = cut(encode_signal(control, payload, pass_through))
        assert (op, got) == (operation, payload)
        assert given == (control[-1] if operation in (2, 6, 22, 33) else control)


def test_nil_is_a_payload():
    assert cut(encode_signal((26, THEIRS, OURS), None)) == [(26, (26, THEIRS, OURS), None)]
    assert repr(NO_PAYLOAD) == "NO_PAYLOAD"


def test_order_ticks_and_what_is_left():
    first, second = encode_signal((22, THEIRS, OURS), 1), encode_signal((1, THEIRS, OURS))
    data = b"???" + first + bytes(4) + second + first[:-1]
    signals, end = cut_signals(data, 3, MAX)
    assert signals == [(22, OURS, 1), (TICK, None, None), (1, (1, THEIRS, OURS), NO_PAYLOAD)]
    assert data[end:] == first[:-1]
    for size in range(4):
        assert cut_signals(bytes(size), 0, MAX) == ([], 0)
    assert cut_signals(bytearray(first), 0, MAX)[0] == [(22, OURS, 1)]  # type: ignore[arg-type]


def test_fragments():
    body = encode_term((22, THEIRS, OURS)) + encode_term(b"x" * 1000)
    first = packet(b"\x83E" + (7).to_bytes(8) + (2).to_bytes(8) + b"\0" + body[:60])
    second = packet(b"\x83F" + (7).to_bytes(8) + (1).to_bytes(8) + body[60:])
    signals = cut(first + second)
    assert signals == [(FRAGMENT_FIRST, (7, 2), body[:60]), (FRAGMENT_NEXT, (7, 1), body[60:])]
    assert decode_assembled(b"".join(signal[2] for signal in signals)) == (22, OURS, b"x" * 1000)


def test_a_message_that_is_no_term_is_lost_alone():
    good = encode_signal((22, THEIRS, OURS), 1)
    for control, shown in (((22, THEIRS, OURS), OURS), ((24, THEIRS, OURS), (24, THEIRS, OURS))):
        for payload in (b"\xff", b"h\2a\1", b"m\0\0\0\x09abc", b"\x83a\1", b"P\0\0\0\1", b"l\xff\xff\xff\xff"):
            bad = packet(b"\x83D\0" + encode_term(control) + payload)
            lost, kept = cut(bad + good)
            assert lost[:2] == (BAD_TERM, (control[0], shown))
            assert isinstance(lost[2], EtfDecodeError)
            assert kept == (22, OURS, 1)


def test_bytes_behind_a_payload_are_nobodys():
    data = packet(b"\x83D\0" + encode_term((22, THEIRS, OURS)) + encode_term(1) + b"rest")
    assert cut(data) == [(22, OURS, 1)]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (packet(b"?"), "no known shape"),
        (packet(b"\x83"), "no known shape"),
        (packet(b"\x83D"), "atom cache"),
        (packet(b"\x83D\0"), "not a term"),
        (packet(b"\x83D\1" + bytes(20)), "atom cache"),
        (packet(b"p\x83"), "not a term"),
        (packet(b"pa\1"), "no known shape"),
        (packet(b"\x83D\0a\1"), "not a tuple"),
        (packet(b"\x83D\0h\0"), "not a tuple"),
        (packet(b"\x83D\0h\1j"), "not a tuple"),
        (packet(b"\x83D\0" + encode_term((99, 1, 2))), "opcode 99"),
        (packet(b"\x83D\0" + encode_term((1 << 70,))), "opcode"),
        (packet(b"\x83D\0" + encode_term((1, THEIRS))), "LINK with 2 elements"),
        (packet(b"\x83D\0" + encode_term((22, THEIRS, OURS))), "SEND_SENDER without its payload"),
        (packet(b"\x83D\0" + encode_term((22, THEIRS, OURS))[:-1]), "not a term"),
        (packet(b"\x83D\0" + encode_term((22, THEIRS, NAME)) + b"j"), "SEND_SENDER to what is not a Pid"),
        (packet(b"\x83D\0" + encode_term((6, THEIRS, NOTHING, OURS)) + b"j"), "REG_SEND to what is not a Atom"),
        (packet(b"\x83D\0" + encode_term((33, THEIRS, OURS)) + b"j"), "ALIAS_SEND to what is not a Reference"),
        (packet(b"\x83D\0" + b"\x83" + encode_term((1, THEIRS, OURS))), "not a term"),
        (packet(b"p\x83" + encode_term((22, THEIRS, OURS)) + b"j"), "does not begin with 131"),
        (packet(b"\x83E" + bytes(16)), "shorter"),
        (packet(b"\x83E" + bytes(8) + (1).to_bytes(8) + b"\0"), "is 0"),
        (packet(b"\x83F" + (1).to_bytes(8) + bytes(8)), "is 0"),
        (packet(b"\x83E" + (1).to_bytes(8) * 2 + b"\1\0\0"), "atom cache"),
        ((MAX + 1).to_bytes(4), "at most"),
    ],
)
def test_a_broken_packet(data, what):
    with pytest.raises(RemoteProtocolError, match=what):
        cut_signals(data, 0, MAX)
    # Whatever is behind it; and what is before it has still been received.
    good = encode_signal((22, THEIRS, OURS), 1)
    with pytest.raises(RemoteProtocolError) as caught:
        cut_signals(bytes(4) + good + data + bytes(100), 0, MAX)
    assert caught.value.signals == [(TICK, None, None), (22, OURS, 1)]


def test_a_control_message_does_not_reach_into_the_next_packet():
    whole = encode_signal((22, THEIRS, OURS), 1)
    for size in range(1, len(whole) - 4 - 2):
        data = packet(whole[4 : 4 + size]) + whole[4 + size :]
        with pytest.raises(RemoteProtocolError):
            cut_signals(data + bytes(300), 0, MAX)


def test_a_payload_does_not_reach_into_the_next_packet():
    whole = encode_signal((22, THEIRS, OURS), b"x" * 10)
    for size in range(1, 15):
        short = packet(whole[4:-size])
        signals, _ = cut_signals(short + whole, 0, MAX)
        assert [signal[0] for signal in signals] == [BAD_TERM, 22]


def test_nothing_half_encoded():
    with pytest.raises(EtfEncodeError) as caught:
        encode_signal((22, THEIRS, OURS), (1, {"key": [object()]}))
    assert caught.value.path == "[1]['key'][0]"


def test_lengths():
    for payload in (b"", [300] * 5, [(1,)] * 1000):
        data = encode_signal((22, THEIRS, OURS), payload)
        assert int.from_bytes(data[:4]) == len(data) - 4
        assert cut(data) == [(22, OURS, payload)]
