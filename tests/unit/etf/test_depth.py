"""Deep and long terms: nothing recurses, nothing crashes the interpreter, time goes with size."""

from __future__ import annotations

from time import thread_time

import pytest

from erlang_bridge.errors import EtfDecodeError, EtfEncodeError
from erlang_bridge.etf import cut_signals, decode, encode, encode_signal
from erlang_bridge.terms import Atom, ImproperList, Map, Pid, Record
from erlang_bridge.terms.order import compare, exactly_equal
from erlang_bridge.terms.text import format_term

DEPTH = 100_000
WRAPPERS = {
    "lists": lambda inner: [inner],
    "tuples": lambda inner: (inner,),
    "map values": lambda inner: {Atom("k"): inner},
    "improper lists": lambda inner: ImproperList([inner], 1),
    "map values of list keys": lambda inner: Map([([], inner)]),
    "map keys": lambda inner: Map([(inner, 1)]),
    "records": lambda inner: Record(Atom("m"), Atom("r"), ((Atom("f"), inner),)),
}


COMMON = ("lists", "tuples", "map values", "improper lists")
ELSEWHERE = 10_000
"""Depth where nothing but recursion is the question."""


def nested(wrap, depth=ELSEWHERE):
    term = 1
    for _ in range(depth):
        term = wrap(term)
    return term


@pytest.mark.parametrize("shape", WRAPPERS)
def test_deep_terms(shape):
    data = encode(nested(WRAPPERS[shape], DEPTH if shape in COMMON else 2 * ELSEWHERE))
    assert encode(decode(data)) == data


def test_a_list_of_tails():
    data = b"\x83" + b"l\0\0\0\1a\1" * DEPTH + b"j"
    assert decode(data) == [1] * DEPTH


@pytest.mark.parametrize("shape", ["lists", "tuples", "improper lists", "records"])
def test_a_deep_key(shape):
    term = Map([(nested(WRAPPERS[shape]), Atom("deep")), (1, 2)])
    decoded = decode(encode(term))
    assert type(decoded) is Map
    assert decoded[nested(WRAPPERS[shape])] is Atom("deep")


@pytest.mark.parametrize("shape", ["map keys", "map values"])
def test_a_deep_key_of_maps(shape):
    decoded = decode(encode(Map([(nested(WRAPPERS[shape]), Atom("deep"))])))
    assert list(decoded.values()) == [Atom("deep")]


def test_the_same_deep_key_twice():
    key = encode(nested(WRAPPERS["map keys"]))[1:]
    with pytest.raises(EtfDecodeError):
        decode(b"\x83t\0\0\0\2" + key + b"a\1" + key + b"a\1")


def test_deep_rubbish():
    for start in (b"l\0\0\0\1", b"h\1", b"t\0\0\0\1a\1", b"t\0\0\0\1", b"l\0\0\0\1a\1"):
        with pytest.raises(EtfDecodeError):
            decode(b"\x83" + start * DEPTH)


def test_a_deep_message():
    pid = Pid(Atom("a@h"), 1, 0, 4)
    packet = encode_signal((22, pid, pid), nested(WRAPPERS["tuples"]))
    ((_, destination, message),), end = cut_signals(packet, 0, len(packet))
    assert (destination, end) == (pid, len(packet))
    assert exactly_equal(message, nested(WRAPPERS["tuples"]))


def test_the_place_of_a_deep_culprit():
    culprit = object()
    term = nested(WRAPPERS["lists"], 20_000)
    innermost = term
    while innermost[0] != 1:
        innermost = innermost[0]
    innermost[0] = culprit
    with pytest.raises(EtfEncodeError) as caught:
        encode(term)
    assert caught.value.path == "[0]" * 20_000
    assert len(str(caught.value)) > 60_000


@pytest.mark.parametrize("shape", WRAPPERS)
def test_deep_terms_compared_and_shown(shape):
    one, other = nested(WRAPPERS[shape]), nested(WRAPPERS[shape])
    if shape != "map keys":
        assert exactly_equal(one, other)
        assert compare(one, other) == 0
    assert "1" in format_term(one)


LONG = {
    "integers": lambda count: list(range(count)),
    "small integers": lambda count: [1] * count + [256],
    "tuples": lambda count: [(Atom("k"), index, b"value") for index in range(count)],
    "a map": lambda count: dict.fromkeys(range(count), b"value"),
    "a map of tuple keys": lambda count: {(index, Atom("k")): 1 for index in range(count)},
    "a map of list keys": lambda count: Map(([index], 1) for index in range(count)),
    "pids": lambda count: [Pid(Atom("a@h"), index, 0, 4) for index in range(count)],
    "nested lists": lambda count: nested(WRAPPERS["lists"], count // 5),
    "strings": lambda count: [b"text"] * count,
    "digits": lambda count: (1 << 8 * count) - 1,
}


@pytest.mark.parametrize("shape", LONG)
def test_time_goes_with_size(shape):
    """Sixteen times the size takes about sixteen times the time, not 256 times."""

    def seconds(count):
        term = LONG[shape](count)
        best = 1e9
        for _ in range(4):
            start = thread_time()
            data = encode(term)
            decode(data)
            best = min(best, thread_time() - start)
        return best

    assert seconds(64_000) < 80 * max(seconds(4_000), 1e-4)
