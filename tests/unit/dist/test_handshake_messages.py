"""Handshake packets: both directions, and any bytes at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erlang_bridge.dist.handshake_messages import (
    Challenge,
    ChallengeAck,
    ChallengeReply,
    SendName,
    Status,
    challenge_digest,
    decode_challenge,
    decode_challenge_ack,
    decode_challenge_reply,
    decode_send_name,
    decode_status,
    encode_challenge,
    encode_challenge_ack,
    encode_challenge_reply,
    encode_send_name,
    encode_status,
    is_node_name,
)
from erlang_bridge.errors import LocalProtocolError, RemoteProtocolError

PAIRS = [
    (SendName("py@127.0.0.1", 0x2D07DF5FBC, 0x67890ABC), encode_send_name, decode_send_name),
    (SendName("é@h", (1 << 64) - 1, (1 << 32) - 1), encode_send_name, decode_send_name),
    (Challenge("beam@127.0.0.1", 1, 2, 0xFFFFFFFF), encode_challenge, decode_challenge),
    (ChallengeReply(7, bytes(range(16))), encode_challenge_reply, decode_challenge_reply),
    (ChallengeAck(bytes(range(16))), encode_challenge_ack, decode_challenge_ack),
    (Status("named", "1VEX2PZEELAKX@localhost", 0xD04AE145), encode_status, decode_status),
    *((Status(text), encode_status, decode_status) for text in ("ok", "ok_simultaneous", "nok", "not_allowed")),
    *((Status(text), encode_status, decode_status) for text in ("alive", "true", "false")),
]
DECODERS = [decode_send_name, decode_status, decode_challenge, decode_challenge_reply, decode_challenge_ack]


@pytest.mark.parametrize(("message", "encode", "decode"), PAIRS)
def test_round_trip(message, encode, decode):
    assert decode(encode(message)) == message


@pytest.mark.parametrize(("message", "encode", "decode"), PAIRS)
def test_every_truncation_is_an_error(message, encode, decode):
    packet = encode(message)
    for size in range(len(packet)):
        try:
            assert decode(packet[:size]) != message
        except RemoteProtocolError:
            pass


@pytest.mark.parametrize(("message", "encode", "decode"), PAIRS[:3])
def test_bytes_after_the_name_are_ignored(message, encode, decode):
    assert decode(encode(message) + b"later versions") == message


def test_a_real_named_status():
    packet = b"snamed:\x00\x171VEX2PZEELAKX@localhost\xd0\x4a\xe1\x45"
    assert decode_status(packet) == Status("named", "1VEX2PZEELAKX@localhost", 0xD04AE145)
    assert encode_status(decode_status(packet)) == packet


def test_the_digest_has_the_cookie_first_and_the_challenge_unsigned():
    # erl: erlang:md5(["chocolate" | integer_to_list(4294967295)])
    assert challenge_digest(0xFFFFFFFF, b"chocolate").hex() == "c1f8e4e1064a5c6aade2f4e99b0665b5"


def test_version_5_is_refused():
    with pytest.raises(RemoteProtocolError, match="version 6"):
        decode_send_name(b"n\x00\x05" + bytes(4) + b"old@127.0.0.1")


def test_names_that_are_too_long():
    long = "a" * 250 + "@" + "h" * 10
    packet = b"N" + bytes(12) + len(long).to_bytes(2, "big") + long.encode()
    with pytest.raises(RemoteProtocolError, match="255"):
        decode_send_name(packet)
    with pytest.raises(LocalProtocolError):
        encode_send_name(SendName(long, 0, 0))


@pytest.mark.parametrize("decode", DECODERS)
@given(
    packet=st.binary(max_size=60)
    | st.sampled_from([b"N", b"s", b"r", b"a", b"snamed:"]).flatmap(
        lambda start: st.binary(max_size=40).map(lambda rest: start + rest)
    )
)
def test_any_bytes_give_a_message_or_a_protocol_error(decode, packet):
    try:
        decode(packet)
    except RemoteProtocolError:
        pass


@pytest.mark.parametrize("name", ["", "a", "@", "a@", "@h", "a@b@c", "a\0@h", "x" * 250 + "@hosts"])
def test_what_is_no_node_name(name):
    assert not is_node_name(name)
