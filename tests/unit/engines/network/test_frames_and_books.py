"""What goes over the wire, and the books of what is on its way."""

from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoma.crypto import Signature
from engines.router import frames
from engines.router.books import WINDOW, Outbox, Waiting, Window
from engines.router.envelopes import NotCarried, is_open, parts_of
from engines.router.frames import BadFrame
from engines.router.messages import Acknowledged, Carried, Greeting, Hello, NodeMsg
from erlang_bridge.etf import encode
from erlang_bridge.terms import Atom, Pid, Reference

MESSAGE = NodeMsg(7, b"sealed", Signature(bytes(64)))
ENGINE_MSG = Atom("anoma_engine_msg")
BODY = (Atom("ticker"), Atom("increment"), {})


# -- frames -----------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 200), max_size=8))
def test_frames_come_out_however_the_stream_is_cut(sizes: list[int]):
    sent = [Greeting(bytes(32)), MESSAGE, NodeMsg(8, os.urandom(300), Signature(bytes(64)))]
    stream = b"".join(map(frames.frame_bytes, sent))
    got, rest = [], b""
    for size in (*sizes, len(stream)):
        bodies, rest = frames.cut(rest + stream[:size], 10_000)
        got += map(frames.read_frame, bodies)
        stream = stream[size:]
    assert (got, rest) == (sent, b"")


def test_a_giant_length_is_refused_before_anything_of_it_comes():
    with pytest.raises(BadFrame, match="a frame of 4294967295 bytes; at most 4096 are taken"):
        frames.cut(b"\xff\xff\xff\xff", 4096)


WHAT_IS_NO_FRAME = [
    b"",
    b"GET / HTTP/1.1",
    encode(1),
    encode((Atom("node_msg"), {})),
    encode((Atom("hello"), {})),
    encode((Atom("greeting"), {Atom("challenge"): b"short"})),
    encode((Atom("node_msg"), {Atom("seq"): 1.5, Atom("msg"): b"", Atom("sig"): bytes(64)})),
    bytes((131, 80)) + (100).to_bytes(4, "big") + zlib.compress(encode((Atom("hello"), {}))[1:]),
]


def test_what_is_no_frame():
    for body in WHAT_IS_NO_FRAME:
        with pytest.raises(BadFrame):
            frames.read_frame(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_refused(body: bytes):
    for read in (frames.read_frame, frames.content):
        try:
            read(body)
        except BadFrame:
            pass


CONTENTS = [Hello(), Acknowledged((1, 2**40)), Carried((Atom("a"), b"b"))]


def test_contents():
    for content in CONTENTS:
        assert frames.content(frames.content_bytes(content)) == content


def test_what_has_no_term_is_refused():
    with pytest.raises(ValueError, match="object"):
        frames.content_bytes(Carried(object()))


# -- envelopes --------------------------------------------------------------------------------


def test_an_envelope_is_taken_apart_and_put_together():
    reference = Reference(Atom("a@b"), 1, (1, 2, 3))
    term = (ENGINE_MSG, (None, Atom("me")), (Atom("x"), b"you"), 0, BODY, reference)
    parts = parts_of(term)
    assert (str(parts.target), parts.reference) == ("you at x", reference)
    assert parts.term((None, Atom("me")), (Atom("x"), b"you")) == term


WHAT_IS_NO_ENVELOPE = [
    1,
    (ENGINE_MSG, None, None, 0, BODY),
    (ENGINE_MSG, None, (None, Atom("you")), -1, BODY),
    (ENGINE_MSG, None, (None, Atom("you")), True, BODY),
    (ENGINE_MSG, None, (None, Atom("you")), 0, (Atom("a"), Atom("b"), [])),
    (ENGINE_MSG, None, (None, b"\xff"), 0, BODY),
    (ENGINE_MSG, None, (None, b"n" * 300), 0, BODY),
    (ENGINE_MSG, None, Pid(Atom("a@b"), 1, 2, 3), 0, BODY),
    (ENGINE_MSG, 7, (None, Atom("you")), 0, BODY),
    (ENGINE_MSG, None, (None, Atom("you")), 0, BODY, 7),
]


def test_what_is_no_envelope():
    for term in WHAT_IS_NO_ENVELOPE:
        with pytest.raises(NotCarried):
            parts_of(term)


def test_which_engines_are_open():
    assert is_open("storage", ("storage",))
    assert is_open("topic-12", ("x", "topic-*"))
    assert not is_open("storage2", ("storage", "topic-*"))


# -- books ------------------------------------------------------------------------------------


@given(st.lists(st.integers(-3, 3 * WINDOW)))
def test_a_window_lets_nothing_through_twice(seqs: list[int]):
    """N1: against a set; what is too old to know is refused, too."""
    window, through, highest = Window(), set(), 0
    for seq in seqs:
        after = window.add(seq)
        fresh = seq > 0 and seq not in through and seq > highest - WINDOW
        assert (after is not None) == fresh
        if after is not None:
            window = after
            through.add(seq)
            highest = max(highest, seq)


def waiting(until: float, *, reliable: bool = True, internal: bool = False) -> Waiting:
    return Waiting(b"12345", until, reliable, internal)


def taken(box: Outbox, now: float) -> tuple[list[int], Outbox]:
    seqs = []
    while True:
        one, box = box.take(now)
        if one is None:
            return seqs, box
        seqs.append(one[0])


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=40), st.data())
def test_an_outbox_gives_rising_numbers_and_nothing_expired(items: list[tuple[bool, bool, bool]], data: st.DataObject):
    """N1. Over a second connection goes what the other side may not have: all of it, or what was never given away."""
    box = Outbox()
    lasting = set()
    for index, (expires, reliable, internal) in enumerate(items, 1):
        box = box.add(waiting(1.0 if expires else 100.0, reliable=reliable and not internal, internal=internal))
        if not expires and reliable and not internal:
            lasting.add(index)
    count = data.draw(st.integers(0, len(items)))
    seqs = []
    for _ in range(count):
        one, box = box.take(2.0)
        if one is not None:
            seqs.append(one[0])
    assert seqs == sorted(set(seqs))
    assert not any(items[seq - 1][0] for seq in seqs)
    came = set(data.draw(st.lists(st.sampled_from(seqs), max_size=5))) if seqs else set()
    box = box.without(came)
    again, left = taken(box.rewound(same_peer=True), 2.0)
    assert again == sorted(set(again))
    assert lasting - came <= set(again)
    never, _ = taken(box.rewound(same_peer=False), 2.0)
    assert not set(never) & set(seqs)
    assert lasting - set(seqs) <= set(never)
    assert left.without(lasting).size == 0


def test_what_expires_is_swept_out():
    box = Outbox().add(waiting(1.0)).add(waiting(5.0)).swept(2.0)
    assert (len(box), box.size) == (1, 5)
