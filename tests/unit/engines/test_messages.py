"""Envelopes and messages as terms, and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.messages import (
    Address,
    EngineID,
    Envelope,
    MalformedEnvelope,
    decode_envelope,
    decode_message,
    encode_envelope,
    encode_message,
    is_envelope,
)
from engines.ticker.messages import MESSAGES, CountReply, CountRequest, Increment
from erlang_bridge.terms import Atom, Pid, Reference

NODE = Atom("beam@127.0.0.1")
PID = Pid(NODE, 90, 0, 7)
REFERENCE = Reference(NODE, 7, (1, 2, 3))
BODY: Any = (Atom("ticker"), Atom("increment"), {})
ENVELOPE = Atom("anoma_engine_msg")
ME, IT = (NODE, Atom("me")), (None, Atom("ticker"))

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
addresses: st.SearchStrategy[Address] = st.builds(EngineID, st.none() | names, names) | st.just(PID)
messages = st.just(Increment()) | st.just(CountRequest()) | st.builds(CountReply, st.integers())
envelopes = st.builds(
    Envelope, addresses | st.none(), addresses, messages, st.none() | st.integers(0, 9), st.none() | st.just(REFERENCE)
)


@given(envelopes)
def test_an_envelope_comes_back(envelope: Envelope):
    term = encode_envelope(envelope)
    assert is_envelope(term)
    assert decode_envelope(term, MESSAGES) == envelope


def test_messages_as_terms():
    assert encode_message(Increment()) == BODY
    assert encode_message(CountReply(3)) == (Atom("ticker"), Atom("count_reply"), {Atom("counter"): 3})
    assert [message.tag() for message in MESSAGES] == ["increment", "count_request", "count_reply"]


def test_the_envelope_as_a_term():
    sender = EngineID("beam@127.0.0.1", "me")
    assert encode_envelope(Envelope(sender, EngineID(None, "ticker"), Increment())) == (ENVELOPE, ME, IT, 0, BODY)
    assert encode_envelope(Envelope(PID, EngineID(None, "ticker"), Increment(), None, REFERENCE)) == (
        ENVELOPE, PID, IT, None, BODY, REFERENCE,
    )  # fmt: skip


def test_addresses_may_be_binaries():
    decoded = decode_envelope((ENVELOPE, (b"n@h", "é".encode()), IT, 0, BODY), MESSAGES)
    assert decoded.sender == EngineID("n@h", "é")


def test_a_reply_goes_to_the_sender_under_the_same_reference():
    request = Envelope(PID, EngineID(None, "ticker"), CountRequest(), 4, REFERENCE)
    own = EngineID("py@h", "ticker")
    assert request.reply(own, CountReply(1)) == Envelope(own, PID, CountReply(1), 0, REFERENCE)


def test_nobody_to_reply_to():
    assert Envelope(None, PID, CountRequest()).reply(PID, CountReply(1)) is None


@pytest.mark.parametrize(
    "term",
    [
        (ENVELOPE, ME),
        (ENVELOPE, ME, IT, 0, BODY, 1),
        (ENVELOPE, ME, IT, -1, BODY),
        (ENVELOPE, ME, IT, True, BODY),
        (ENVELOPE, ME, IT, b"0", BODY),
        (ENVELOPE, Atom("me"), IT, 0, BODY),
        (ENVELOPE, (NODE, 7), IT, 0, BODY),
        (ENVELOPE, (NODE, b"\xff"), IT, 0, BODY),
        (ENVELOPE, ME, None, 0, BODY),
        (ENVELOPE, ME, IT, -(1 << 60_000), BODY),
        (ENVELOPE, (NODE, b"n" * 256), IT, 0, BODY),
        (ENVELOPE, (None, b"n" * 256), IT, 0, BODY),
        (ENVELOPE, (b"n@" + b"h" * 254, b"me"), IT, 0, BODY),
        (ENVELOPE, (b"n" * 249, b"me"), IT, 0, BODY),
        (ENVELOPE, ME, (None, b"n" * 256), 0, BODY),
    ],
)
def test_what_is_no_envelope_says_so(term: Any):
    assert is_envelope(term)
    with pytest.raises(MalformedEnvelope, match="expected"):
        decode_envelope(term, MESSAGES)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (Atom("increment"), "two atoms and a map"),
        ((Atom("ticker"), Atom("increment")), "two atoms and a map"),
        ((Atom("shard"), Atom("increment"), {}), "no such message: shard increment"),
        ((Atom("ticker"), Atom("decrement"), {}), "no such message: ticker decrement"),
        (
            (Atom("ticker"), Atom("increment"), {Atom("by"): 2}),
            r"should have the fields \[\] of increment, got \['by'\]",
        ),
        ((Atom("ticker"), Atom("count_reply"), {}), r"should have the fields \['counter'\]"),
        ((Atom("ticker"), Atom("count_reply"), {b"counter": 1}), r"got \[\"b'counter'\"\]"),
    ],
)
def test_what_is_no_message_says_so(body: Any, says: str):
    with pytest.raises(MalformedEnvelope, match=says):
        decode_message(body, MESSAGES)


@pytest.mark.parametrize("term", [Atom("anoma_engine_msg"), (ENVELOPE,), (), [ENVELOPE, 1], (Atom("x"), 1), 7])
def test_other_terms_are_no_envelopes(term: Any):
    assert not is_envelope(term)
