"""Any bytes at all give a term or `EtfDecodeError`; any packets give signals or `RemoteProtocolError`. Nothing else."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from erlang_bridge.errors import EtfDecodeError, RemoteProtocolError, TermSyntaxError
from erlang_bridge.etf import cut_signals, decode, decode_assembled, decode_prefix, encode, encode_signal
from erlang_bridge.terms import Atom, Fun, Record
from erlang_bridge.terms.order import exactly_equal
from erlang_bridge.terms.text import format_term, parse_term
from tests.property.strategies import broken, pids, terms

MAX = 100_000
FUN = Fun(
    Atom("erl_eval"),
    2,
    b"\2" + b"u" * 16 + bytes(4) + b"\0\0\0\1" + Atom("erl_eval").etf + b"a\5b\1\2\3\4"
    + b"X" + Atom("a@h").etf + bytes(12) + b"l\0\0\0\1a\1j",
)  # fmt: skip

any_terms = terms | st.builds(
    lambda term, name: (Record(Atom("m"), name, ((name, term), (Atom("f"), FUN))), {name: FUN}),
    terms,
    st.sampled_from([Atom("ok"), Atom("nil")]),
)


def check_decoding(data):
    try:
        term = decode(data)
    except EtfDecodeError as error:
        assert 0 <= error.offset <= len(data)
        assert str(error)
    else:
        assert exactly_equal(decode(encode(term)), term)
        format_term(term)


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x83")
def test_noise(data):
    check_decoding(data)
    check_decoding(b"\x83" + data)
    with suppress(EtfDecodeError):
        _, end = decode_prefix(data, 3)
        assert 3 < end <= len(data)


@given(broken(any_terms.map(encode)))
def test_broken_terms(data):
    check_decoding(data)
    check_decoding(b"\x83" + data[1:])


packets = st.lists(
    st.builds(
        lambda op, one, other, message, way: encode_signal((op, one, other), message, way),
        st.sampled_from([22, 24, 26]),
        pids,
        pids,
        any_terms,
        st.booleans(),
    )
    | st.just(bytes(4)),
    min_size=1,
    max_size=4,
).map(b"".join)


def check_cutting(data):
    try:
        signals, end = cut_signals(data, 0, MAX)
    except RemoteProtocolError as error:
        assert str(error)
    else:
        assert 0 <= end <= len(data)
        assert len(signals) <= len(data) // 4
        repr(signals)


@given(st.binary(max_size=100))
def test_noise_as_packets(data):
    check_cutting(data)
    for head in (b"", b"\x83D\0", b"p\x83", b"\x83E", b"\x83F", b"\x83D\0h\3a\x16X"):
        check_cutting((len(head) + len(data)).to_bytes(4) + head + data)
    with suppress(RemoteProtocolError):
        decode_assembled(data)


@given(broken(packets))
def test_broken_packets(data):
    check_cutting(data)


@given(broken(packets.map(lambda data: data[4:])))
def test_broken_packets_of_the_right_length(data):
    check_cutting(len(data).to_bytes(4) + data)


@given(st.text(max_size=40) | st.text("{}[]<>#\"'|,=.:/$\\-19aAé_ \n%e", max_size=20))
def test_any_text(text):
    try:
        term = parse_term(text)
    except TermSyntaxError as error:
        assert 0 <= error.position <= len(text)
        assert str(error)
    else:
        assert exactly_equal(parse_term(format_term(term)), term)
