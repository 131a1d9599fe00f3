"""The two sides of the handshake against each other, over a wire that is a variable."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erlang_bridge.dist.flags import (
    DFLAG_DIST_HDR_ATOM_CACHE,
    DFLAG_FRAGMENTS,
    DFLAG_MANDATORY_25_DIGEST,
    DFLAG_MAP_TAG,
    DFLAG_NAME_ME,
    DFLAG_PUBLISHED,
    MANDATORY_25,
    OFFERED_HIDDEN,
    OFFERED_VISIBLE,
)
from erlang_bridge.dist.handshake import (
    OTHER_STARTED,
    WE_STARTED,
    NodeIdentity,
    OtherStarted,
    Peer,
    State,
    Verdict,
    WeStarted,
)
from erlang_bridge.dist.handshake_messages import SendName, Status, encode_status
from erlang_bridge.errors import (
    BadCookie,
    HandshakeError,
    LocalProtocolError,
    LostToSimultaneous,
    MissingFlags,
    NotAllowed,
    RemoteProtocolError,
)
from erlang_bridge.terms import Atom

A = NodeIdentity("a@127.0.0.1", 1001, OFFERED_VISIBLE)
B = NodeIdentity("b@127.0.0.1", 2002, OFFERED_VISIBLE)


class HandshakePair:
    """A dials B. Every byte goes over in pieces of `step` bytes."""

    def __init__(self, a=A, b=B, cookies=(b"c", b"c"), dialled=None, step=1 << 20, length_size=2):
        self.a = WeStarted(a, dialled or b.name, cookies[0], 11, length_size=length_size)
        self.b = OtherStarted(b, 22, length_size=length_size)
        self.b_cookie = cookies[1]
        self.step = step

    def carry(self, data, to):
        answer = b""
        for start in range(0, len(data), self.step):
            answer += to.receive_data(data[start : start + self.step])
        return answer

    def introduce(self):
        assert self.carry(self.a.start(), self.b) == b""
        assert self.b.state is State.DECIDING

    def run(self, verdict=Verdict.OK, **granted):
        """To the end; raises what the first of the two to fail raises."""
        self.introduce()
        to_a = self.b.decide(verdict, self.b_cookie, **granted)
        while to_a and self.a.state is not State.CONNECTED:
            to_b = self.carry(to_a, self.a)
            to_a = self.carry(to_b, self.b)
            if self.b.state is State.AUTHENTICATED:
                to_a += self.b.accept()
        return self.a.peer, self.b.peer


@pytest.mark.parametrize("step", [1, 3, 1 << 20])
@pytest.mark.parametrize("length_size", [2, 4])
@pytest.mark.parametrize("verdict", [Verdict.OK, Verdict.OK_SIMULTANEOUS, Verdict.ALIVE])
def test_both_are_connected(verdict, length_size, step):
    b_seen, a_seen = HandshakePair(step=step, length_size=length_size).run(verdict)
    flags = OFFERED_VISIBLE
    assert b_seen == Peer(Atom("b@127.0.0.1"), 2002, flags, hidden=False, we_started=True, published=True)
    assert a_seen == Peer(Atom("a@127.0.0.1"), 1001, flags, hidden=False, we_started=False, published=True)


def test_flags_are_those_of_both_with_the_digest_expanded():
    few = NodeIdentity("few@h", 5, DFLAG_MANDATORY_25_DIGEST | DFLAG_DIST_HDR_ATOM_CACHE | DFLAG_FRAGMENTS)
    few_seen, a_seen = HandshakePair(b=few).run()
    expected = (MANDATORY_25 | DFLAG_MANDATORY_25_DIGEST | DFLAG_FRAGMENTS) & OFFERED_VISIBLE
    assert few_seen.flags == a_seen.flags == expected


@pytest.mark.parametrize(("ours", "theirs"), list(itertools.product([OFFERED_HIDDEN, OFFERED_VISIBLE], repeat=2)))
def test_visible_only_if_both_are(ours, theirs):
    pair = HandshakePair(a=NodeIdentity("a@h", 5, ours), b=NodeIdentity("b@h", 6, theirs))
    hidden = not ours & theirs & DFLAG_PUBLISHED
    assert [peer.hidden for peer in pair.run()] == [hidden, hidden]


def test_a_wrong_cookie_is_seen_by_the_one_who_is_dialled():
    pair = HandshakePair(cookies=(b"right", b"wrong"))
    with pytest.raises(BadCookie, match="a@127"):
        pair.run()
    assert pair.b.state is State.FAILED
    assert isinstance(pair.a.lost(), BadCookie)


def test_a_wrong_proof_of_the_other_is_seen_by_the_one_who_dials():
    pair = HandshakePair()
    pair.introduce()
    to_b = pair.a.receive_data(pair.b.decide(Verdict.OK, b"c"))
    assert pair.b.receive_data(to_b) == b""
    ack = bytearray(pair.b.accept())
    ack[-1] ^= 1
    with pytest.raises(BadCookie):
        pair.a.receive_data(bytes(ack))
    assert pair.a.peer is None


@pytest.mark.parametrize(("verdict", "error"), [(Verdict.NOK, LostToSimultaneous), (Verdict.NOT_ALLOWED, NotAllowed)])
def test_refusals(verdict, error):
    pair = HandshakePair()
    pair.introduce()
    refusal = pair.b.decide(verdict)
    assert pair.b.state is State.FAILED
    with pytest.raises(error, match="b@127"):
        pair.a.receive_data(refusal)
    assert pair.a.state is State.FAILED


def test_an_answer_of_false_to_alive_ends_it():
    pair = HandshakePair()
    pair.introduce()
    assert pair.b.decide(Verdict.ALIVE, b"c") == b"\x00\x06salive"
    with pytest.raises(HandshakeError, match="alive"):
        pair.b.receive_data(b"\x00\x06sfalse")


def test_the_node_that_answers_has_to_be_the_one_that_was_dialled():
    with pytest.raises(HandshakeError, match=r"calls itself 'b@127\.0\.0\.1'"):
        HandshakePair(dialled="c@127.0.0.1").run()


def test_flags_that_we_cannot_do_without():
    old = NodeIdentity("old@h", 5, MANDATORY_25 & ~DFLAG_MAP_TAG)
    with pytest.raises(MissingFlags) as raised:
        HandshakePair(b=old).run()
    assert raised.value.flags == ("DFLAG_MAP_TAG",)


def test_a_node_without_a_name_is_given_one():
    pair = HandshakePair(a=NodeIdentity("localhost", 0, OFFERED_VISIBLE))
    pair.introduce()
    assert pair.b.wants_name
    assert pair.b.send_name == SendName("localhost", OFFERED_HIDDEN | DFLAG_NAME_ME, 0)
    pair = HandshakePair(a=NodeIdentity("localhost", 0, OFFERED_VISIBLE))
    b_seen, a_seen = pair.run(Verdict.NAMED, name="1X@localhost", creation=77)
    assert pair.a.granted == NodeIdentity("1X@localhost", 77, OFFERED_HIDDEN)
    assert a_seen == Peer(Atom("1X@localhost"), 77, OFFERED_HIDDEN, hidden=True, we_started=False)
    assert b_seen == Peer(Atom("b@127.0.0.1"), 2002, OFFERED_HIDDEN, hidden=True, we_started=True)


@pytest.mark.parametrize(
    ("identity", "verdict"), [(A, Verdict.NAMED), (NodeIdentity("localhost", 0, OFFERED_HIDDEN), Verdict.OK)]
)
def test_names_are_given_to_those_who_ask(identity, verdict):
    with pytest.raises(RemoteProtocolError, match="name"):
        HandshakePair(a=identity).run(verdict, name="1X@localhost", creation=77)


def test_a_granted_name_has_to_be_one():
    with pytest.raises(RemoteProtocolError, match="which is none"):
        HandshakePair(a=NodeIdentity("localhost", 0, OFFERED_HIDDEN)).run(Verdict.NAMED, name="1X", creation=77)


def test_what_comes_after_the_handshake_is_kept():
    pair = HandshakePair()
    pair.introduce()
    to_b = pair.a.receive_data(pair.b.decide(Verdict.OK, b"c"))
    pair.b.receive_data(to_b + b"early")
    assert pair.a.receive_data(pair.b.accept() + bytes(4) + b"first") == b""
    assert pair.a.take_rest() == bytes(4) + b"first"
    assert pair.a.take_rest() == b""
    assert pair.b.take_rest() == b"early"


def test_messages_that_wait_for_a_decision_are_not_lost():
    pair = HandshakePair()
    assert pair.b.receive_data(pair.a.start() + b"\x00\x06sfalse") == b""
    pair.b.decide(Verdict.ALIVE, b"c")
    with pytest.raises(HandshakeError, match="alive"):
        pair.b.receive_data(b"")


def test_deciding_is_for_once():
    pair = HandshakePair()
    with pytest.raises(LocalProtocolError):
        pair.b.decide(Verdict.OK, b"c")
    pair.introduce()
    pair.b.decide(Verdict.OK, b"c")
    with pytest.raises(LocalProtocolError):
        pair.b.decide(Verdict.OK, b"c")


def test_a_long_packet_is_refused_by_its_length_alone():
    with pytest.raises(RemoteProtocolError, match="65535 bytes"):
        OtherStarted(B, 1).receive_data(b"\xff\xff")
    with pytest.raises(RemoteProtocolError, match="announced"):
        OtherStarted(B, 1, length_size=4).receive_data(b"\xff\xff\xff\xff")


def test_a_status_out_of_turn():
    for text in ("true", "false"):
        packet = encode_status(Status(text))
        with pytest.raises(RemoteProtocolError, match="status was waited for"):
            WeStarted(A, B.name, b"c", 1).receive_data(len(packet).to_bytes(2, "big") + packet)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_any_bytes_are_a_handshake_or_an_error(pieces):
    for handshake in (OtherStarted(B, 1), WeStarted(A, B.name, b"c", 1)):
        try:
            for piece in pieces:
                handshake.receive_data(piece)
        except (RemoteProtocolError, HandshakeError):
            pass
        assert handshake.state is not State.CONNECTED


@pytest.mark.parametrize(("table", "start"), [(WE_STARTED, State.WAIT_STATUS), (OTHER_STARTED, State.WAIT_NAME)])
def test_the_tables_reach_every_state_and_end(table, start):
    reached = {start}
    for (state, _), following in table.items():
        assert state in reached
        assert following is not state
        reached.add(following)
    assert {State.CONNECTED, State.FAILED} <= reached
    assert not any(state in (State.CONNECTED, State.FAILED) for state, _ in table)
