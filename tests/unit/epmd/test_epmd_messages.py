"""epmd's messages: bytes as the wire has them, both ways, and any other bytes refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erlang_bridge.epmd.messages import (
    Alive2Reply,
    Alive2Request,
    DumpLine,
    DumpReply,
    DumpRequest,
    KillReply,
    KillRequest,
    NamesReply,
    NamesRequest,
    NodeEntry,
    Port2Reply,
    Port2Request,
    Request,
    StopReply,
    StopRequest,
    alive2_reply_size,
    decode_alive2_reply,
    decode_dump_reply,
    decode_kill_reply,
    decode_names_reply,
    decode_port2_reply,
    decode_request,
    decode_stop_reply,
    encode_alive2_reply,
    encode_dump_reply,
    encode_kill_reply,
    encode_names_reply,
    encode_port2_reply,
    encode_request,
    encode_stop_reply,
    request_size,
)
from erlang_bridge.errors import EpmdError

ENTRY = NodeEntry("py", 40000)

REQUESTS: list[tuple[Request, bytes]] = [
    (Alive2Request(ENTRY), b"\x00\x0fx\x9c\x40M\x00\x00\x06\x00\x05\x00\x02py\x00\x00"),
    (Port2Request("py"), b"\x00\x03zpy"),
    (NamesRequest(), b"\x00\x01n"),
    (DumpRequest(), b"\x00\x01d"),
    (KillRequest(), b"\x00\x01k"),
    (StopRequest("py"), b"\x00\x03spy"),
]

REPLIES: list[tuple[Any, bytes, Callable[[Any], bytes], Callable[[bytes], Any]]] = [
    (Alive2Reply(0, 0x01020304), b"v\x00\x01\x02\x03\x04", encode_alive2_reply, decode_alive2_reply),
    (Alive2Reply(1, 99), b"v\x01\x00\x00\x00\x63", encode_alive2_reply, decode_alive2_reply),
    (Alive2Reply(0, 3, wide=False), b"y\x00\x00\x03", encode_alive2_reply, decode_alive2_reply),
    (
        Port2Reply(ENTRY),
        b"w\x00\x9c\x40M\x00\x00\x06\x00\x05\x00\x02py\x00\x00",
        encode_port2_reply,
        decode_port2_reply,
    ),
    (Port2Reply(None), b"w\x01", encode_port2_reply, decode_port2_reply),
    (NamesReply(4369, ()), b"\x00\x00\x11\x11", encode_names_reply, decode_names_reply),
    (
        NamesReply(4369, (("b", 2), ("a", 1))),
        b"\x00\x00\x11\x11name b at port 2\nname a at port 1\n",
        encode_names_reply,
        decode_names_reply,
    ),
    (
        DumpReply(4369, (DumpLine("a", 1, 5),), (DumpLine("b", 2, -1),)),
        b"\x00\x00\x11\x11active name     <a> at port 1, fd = 5\n\0old/unused name <b>, port = 2, fd = -1 \n\0",
        encode_dump_reply,
        decode_dump_reply,
    ),
    (KillReply(True), b"OK", encode_kill_reply, decode_kill_reply),
    (KillReply(False), b"NO", encode_kill_reply, decode_kill_reply),
    (StopReply(True), b"STOPPED", encode_stop_reply, decode_stop_reply),
    (StopReply(False), b"NOEXIST", encode_stop_reply, decode_stop_reply),
]


@pytest.mark.parametrize(("request_", "packet"), REQUESTS, ids=lambda value: type(value).__name__)
def test_a_request_and_its_bytes(request_: Request, packet: bytes) -> None:
    assert encode_request(request_) == packet
    assert decode_request(packet[2:]) == request_
    assert [request_size(packet[:size]) for size in (0, 1)] == [None, None]
    assert {request_size(packet[:size]) for size in range(2, len(packet) + 1)} == {len(packet)}


@pytest.mark.parametrize(("reply", "packet", "encode", "decode"), REPLIES)
def test_a_reply_and_its_bytes(
    reply: object, packet: bytes, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]
) -> None:
    assert encode(reply) == packet
    assert decode(packet) == reply


def test_what_epmd_forgives_is_forgiven() -> None:
    assert decode_request(b"zpy\0") == Port2Request("py")
    assert decode_request(encode_request(Alive2Request(ENTRY))[2:] + b"more") == Alive2Request(ENTRY)
    assert decode_request(b"spy\0junk") == StopRequest("py")
    assert decode_stop_reply(b"NOEXISTSTOPPED") == StopReply(False)
    assert decode_names_reply(b"\0\0\x11\x11name a at port 1\nsomething\nname b c at port 2\nname d at po").nodes == (
        ("a", 1),
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"?",
        b"z",
        b"z\0",
        b"za\0b",
        b"zab\0\0",
        b"z\xff",
        b"z\xed\xa0\x80",
        b"z" + b"a" * 256,
        b"s",
        b"x",
        b"x\x9c\x40M\0\0\6\0\5\0\2py\0",
        b"x\x9c\x40M\0\0\6\0\5\0\3py\0\0",
        b"x\x9c\x40M\0\0\6\0\5\0\2py\0\1",
        b"x\x9c\x40M\0\0\6\0\5\0\0\0\0",
        b"x\x9c\x40M\0\0\6\0\5\0\2p\0\0\0",
        b"x\x9c\x40M\0\0\6\0\5\0\2py\x03\xfd" + b"e" * 1021,
    ],
)
def test_a_malformed_request_is_refused(body: bytes) -> None:
    with pytest.raises(EpmdError, match="expected"):
        decode_request(body)


@pytest.mark.parametrize("start", [b"\0\0", b"\x0b\xf2", b"\xff\xff", b"\0\1nn"])
def test_an_impossible_length_is_refused(start: bytes) -> None:
    with pytest.raises(EpmdError, match="expected a request of"):
        request_size(start)


def test_the_longest_request() -> None:
    longest = encode_request(Alive2Request(NodeEntry("\U00010348" * 255, 1, extra=b"e" * 1020)))
    assert request_size(longest) == len(longest) == 2 + 1 + 10 + 1020 + 2 + 1020
    assert request_size(b"\x0b\xf1") == 3059


@pytest.mark.parametrize(
    "request_",
    [
        Port2Request(""),
        Port2Request("a\0"),
        Port2Request("a" * 256),
        Port2Request("\ud800"),
        Alive2Request(NodeEntry("a", 65536)),
        Alive2Request(NodeEntry("a", -1)),
        Alive2Request(NodeEntry("a", 1, node_type=256)),
        Alive2Request(NodeEntry("a", 1, extra=b"e" * 1021)),
    ],
)
def test_what_does_not_fit_is_not_sent(request_: Request) -> None:
    with pytest.raises(EpmdError):
        encode_request(request_)


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        (decode_alive2_reply, b""),
        (decode_alive2_reply, b"v\0"),
        (decode_alive2_reply, b"y\0\0\0\0\0"),
        (decode_alive2_reply, b"w\0\0\0\0\0"),
        (decode_port2_reply, b"w"),
        (decode_port2_reply, b"w\0\x9c"),
        (decode_port2_reply, b"HTTP/1.1 400 Bad Request\r\n"),
        (decode_names_reply, b"\0\0"),
        (decode_names_reply, b"\0\0\x11\x11\xff"),
        (decode_dump_reply, b""),
        (decode_kill_reply, b"MAYBE"),
        (decode_stop_reply, b""),
    ],
)
def test_a_malformed_reply_is_refused(decode: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(EpmdError, match="expected"):
        decode(data)


def test_no_other_byte_begins_a_reply_to_alive2() -> None:
    assert alive2_reply_size(ord("v")) == 6
    assert alive2_reply_size(ord("y")) == 4
    for first_byte in set(range(256)) - {ord("v"), ord("y")}:
        with pytest.raises(EpmdError):
            alive2_reply_size(first_byte)


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=255)
WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=255)
BYTE = st.integers(0, 255)
U16 = st.integers(0, 65535)
ENTRIES = st.builds(NodeEntry, NAMES, U16, BYTE, BYTE, U16, U16, st.binary(max_size=1020))


@given(st.one_of(st.builds(Alive2Request, ENTRIES), st.builds(Port2Request, NAMES), st.builds(StopRequest, NAMES)))
def test_any_request_comes_back(request_: Request) -> None:
    packet = encode_request(request_)
    assert request_size(packet) == len(packet)
    assert decode_request(packet[2:]) == request_


@given(ENTRIES)
def test_any_entry_comes_back(entry: NodeEntry) -> None:
    assert decode_port2_reply(encode_port2_reply(Port2Reply(entry))) == Port2Reply(entry)


@given(st.lists(st.tuples(WORDS, U16)))
def test_any_names_come_back(nodes: list[tuple[str, int]]) -> None:
    assert decode_names_reply(encode_names_reply(NamesReply(4369, tuple(nodes)))).nodes == tuple(nodes)


@pytest.mark.parametrize(
    "decode",
    [
        request_size,
        decode_request,
        decode_alive2_reply,
        decode_port2_reply,
        decode_names_reply,
        decode_dump_reply,
        decode_kill_reply,
        decode_stop_reply,
    ],
)
@given(
    data=st.one_of(
        st.binary(), st.builds(lambda tag, rest: bytes((tag,)) + rest, st.sampled_from(b"xzndksvyw"), st.binary())
    )
)
def test_any_bytes_are_read_or_refused(decode: Callable[[bytes], object], data: bytes) -> None:
    with suppress(EpmdError):
        decode(data)
