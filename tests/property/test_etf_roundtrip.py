"""What is encoded is decoded, whatever it is."""

from __future__ import annotations

from functools import cmp_to_key

from hypothesis import given
from hypothesis import strategies as st

from erlang_bridge.etf import NO_PAYLOAD, cut_signals, decode, decode_prefix, encode, encode_signal, encode_term
from erlang_bridge.etf.opcodes import BAD_TERM, OPERATIONS
from erlang_bridge.terms import exact_key
from erlang_bridge.terms.order import compare, exactly_equal
from erlang_bridge.terms.text import format_term, parse_term
from tests.property.strategies import atoms, identifiers, no_identifiers, pids, references, terms


@given(terms)
def test_there_and_back(term):
    data = encode(term)
    decoded = decode(data)
    assert exactly_equal(decoded, term)
    assert exact_key(decoded) == exact_key(term)
    assert encode(decoded) == data
    assert encode_term(term) == data[1:]


@given(st.lists(terms, max_size=4))
def test_terms_one_after_the_other(row):
    data = b"?" + b"".join(map(encode_term, row))
    at = 1
    for term in row:
        decoded, at = decode_prefix(data, at)
        assert exactly_equal(decoded, term)
    assert at == len(data)


@given(no_identifiers, st.booleans())
def test_text_there_and_back(term, strings):
    assert exactly_equal(parse_term(format_term(term, strings=strings)), term)


@given(terms, terms, terms)
def test_order_is_one(a, b, c):
    assert compare(a, b) == -compare(b, a)
    if exactly_equal(a, b):
        assert compare(a, b) == 0
    one, two, three = sorted((a, b, c), key=cmp_to_key(compare))
    assert compare(one, two) <= 0
    assert compare(two, three) <= 0
    assert compare(one, three) <= 0


@st.composite
def signals(draw):
    """``(control, payload, what it is cut into)``."""
    operation = draw(st.sampled_from(sorted(OPERATIONS)))
    known = OPERATIONS[operation]
    arity = draw(st.sampled_from(known.arities))
    control = [operation, *(draw(identifiers) for _ in range(arity - 1))]
    if operation in (2, 22):
        control[2] = draw(pids)
    elif operation == 33:
        control[2] = draw(references)
    elif operation == 6:
        control[3] = draw(atoms)
    payload = draw(terms) if known.has_payload else NO_PAYLOAD
    shown = control[-1] if operation in (2, 6, 22, 33) else tuple(control)
    return tuple(control), payload, (operation, shown, payload)


def same(one, other):
    return one[:2] == other[:2] and (one[2] is other[2] or exactly_equal(one[2], other[2]))


@given(st.lists(st.tuples(signals(), st.booleans()) | st.none(), max_size=6), st.lists(st.integers(0, 400), max_size=8))
def test_any_split_of_a_stream_gives_the_same_signals(row, cuts):
    stream = b""
    expected = []
    for item in row:
        if item is None:
            stream += bytes(4)
            expected.append((0, None, None))
        else:
            (control, payload, signal), pass_through = item
            stream += encode_signal(control, payload, pass_through)
            expected.append(signal)
    whole, end = cut_signals(stream, 0, len(stream))
    assert end == len(stream)
    assert len(whole) == len(expected)
    assert all(map(same, whole, expected))

    pieces = []
    unread = b""
    at = 0
    for size in (*cuts, len(stream)):
        unread += stream[at : at + size]
        at += size
        found, end = cut_signals(unread, 0, len(stream))
        pieces += found
        unread = unread[end:]
    assert not unread
    assert len(pieces) == len(expected)
    assert all(map(same, pieces, expected))
    assert all(signal[0] != BAD_TERM for signal in pieces)
