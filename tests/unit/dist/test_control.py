"""What goes to a peer that lacks a flag, and what is accepted from any."""

from typing import Any

import pytest

from erlang_bridge.dist.control import LAWFUL, WITHOUT_FLAG, OutgoingForms, is_lawful
from erlang_bridge.dist.flags import (
    DFLAG_ALIAS,
    DFLAG_ALTACT_SIG,
    DFLAG_DIST_MONITOR,
    DFLAG_DIST_MONITOR_NAME,
    DFLAG_EXIT_PAYLOAD,
    DFLAG_FRAGMENTS,
    DFLAG_SEND_SENDER,
    DFLAG_SPAWN,
    DFLAG_UNLINK_ID,
    OFFERED_HIDDEN,
)
from erlang_bridge.errors import EtfEncodeError
from erlang_bridge.etf import NO_PAYLOAD, cut_signals, encode_signal, encode_term
from erlang_bridge.etf.opcodes import OPERATIONS
from erlang_bridge.terms import Atom, Pid, Reference

PEER = Atom("b@h")
US = Pid(Atom("a@h"), 1, 0, 5)
THEM = Pid(PEER, 2, 0, 6)
OLD = Pid(PEER, 2, 0, 4)
OUR_REF = Reference(Atom("a@h"), 5, (1, 2, 3))
THEIR_REF = Reference(PEER, 6, (1, 2, 3))
NONE = Atom("")
NAME = Atom("name")
MFA = (Atom("m"), Atom("f"), 0)
REASON = (Atom("boom"), [1, 2])

MODERN: list[tuple[tuple[Any, ...], Any]] = [
    ((1, US, THEM), NO_PAYLOAD),
    ((6, US, NONE, NAME), REASON),
    ((7, US, THEM), NO_PAYLOAD),
    ((19, US, NAME, OUR_REF), NO_PAYLOAD),
    ((20, US, NAME, OUR_REF), NO_PAYLOAD),
    ((22, US, THEM), REASON),
    ((24, US, THEM), REASON),
    ((26, US, THEM), REASON),
    ((28, US, THEM, THEIR_REF), REASON),
    ((29, OUR_REF, US, US, MFA, []), [1]),
    ((31, THEIR_REF, THEM, 2, US), NO_PAYLOAD),
    ((33, US, THEIR_REF), None),
    ((35, 1, US, THEM), NO_PAYLOAD),
    ((36, 1, US, THEM), NO_PAYLOAD),
    ((37, 4, US, THEIR_REF), REASON),
]


def forms(without=0, creation=6):
    return OutgoingForms(OFFERED_HIDDEN & ~without, creation)


def sent(control, payload, without=0):
    """What the peer reads of a signal: control tuple and payload, or None."""
    outgoing = forms(without)
    packet = outgoing.packet(control, payload)
    assert packet == outgoing.packet_of(control, None if payload is NO_PAYLOAD else encode_term(payload))
    if packet is None:
        return None
    [(_, seen, seen_payload)], end = cut_signals(packet, 0, 1 << 20)
    assert end == len(packet)
    return seen, seen_payload


@pytest.mark.parametrize(("control", "payload"), MODERN)
def test_a_modern_peer_gets_the_modern_form(control, payload):
    outgoing = forms()
    assert outgoing.packet(control, payload) == encode_signal(control, payload)
    assert outgoing.packet_of(control, None if payload is NO_PAYLOAD else encode_term(payload)) == encode_signal(
        control, payload
    )


@pytest.mark.parametrize(("control", "payload"), MODERN)
def test_without_fragments_the_frame_is_pass_through(control, payload):
    outgoing = forms(DFLAG_FRAGMENTS)
    expected = encode_signal(control, payload, pass_through=True)
    assert outgoing.pass_through
    assert outgoing.packet(control, payload) == expected
    assert outgoing.packet_of(control, None if payload is NO_PAYLOAD else encode_term(payload)) == expected


@pytest.mark.parametrize(
    ("control", "without", "expected"),
    [
        ((24, US, THEM), DFLAG_EXIT_PAYLOAD, (3, US, THEM, REASON)),
        ((26, US, THEM), DFLAG_EXIT_PAYLOAD, (8, US, THEM, REASON)),
        ((28, NAME, THEM, THEIR_REF), DFLAG_EXIT_PAYLOAD, (21, NAME, THEM, THEIR_REF, REASON)),
    ],
)
def test_reasons_move_into_the_control_tuple(control, without, expected):
    assert sent(control, REASON, without) == (expected, NO_PAYLOAD)


def test_a_plain_send_to_a_peer_that_does_not_want_to_know_the_sender():
    packet = forms(DFLAG_SEND_SENDER).packet((22, US, THEM), REASON)
    assert packet == encode_signal((2, NONE, THEM), REASON)


def test_unlink_to_a_peer_without_unlink_ids():
    assert sent((35, 9, US, THEM), NO_PAYLOAD, DFLAG_UNLINK_ID) == ((4, US, THEM), NO_PAYLOAD)
    assert sent((36, 9, US, THEM), NO_PAYLOAD, DFLAG_UNLINK_ID) is None


@pytest.mark.parametrize("flag", [DFLAG_DIST_MONITOR, DFLAG_DIST_MONITOR_NAME])
@pytest.mark.parametrize("more", [0, DFLAG_EXIT_PAYLOAD])
def test_no_monitors_unless_both_flags_are_there(flag, more):
    for control in ((19, US, THEM, OUR_REF), (20, US, THEM, OUR_REF)):
        assert sent(control, NO_PAYLOAD, flag | more) is None
    assert sent((28, US, THEM, THEIR_REF), REASON, flag | more) is None


def test_what_has_no_older_form_is_not_sent():
    assert sent((29, OUR_REF, US, US, MFA, []), [], DFLAG_SPAWN) is None
    assert sent((31, THEIR_REF, THEM, 0, US), NO_PAYLOAD, DFLAG_SPAWN) is None
    assert sent((33, US, THEIR_REF), REASON, DFLAG_ALIAS) is None


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ((37, 4, US, THEIR_REF), (33, THEIR_REF)),
        ((37, 5, US, THEIR_REF), (33, THEIR_REF)),
        ((37, 8, US, NAME), (6, NAME)),
        ((37, 0, US, THEM), (22, THEM)),
        ((37, 3, US, THEM, []), (22, THEM)),
        ((37, 16, US, THEM), (26, (26, US, THEM))),
    ],
)
def test_priority_signals_to_a_peer_older_than_28(control, expected):
    [signal], _ = cut_signals(forms(DFLAG_ALTACT_SIG).packet(control, REASON), 0, 1 << 20)
    assert signal == (*expected, REASON)


def test_priority_signals_to_a_peer_with_nothing_to_put_in_their_place():
    assert forms(DFLAG_ALTACT_SIG).packet((37, 20, US, THEIR_REF), REASON) is None
    assert forms(DFLAG_ALTACT_SIG | DFLAG_ALIAS).packet((37, 4, US, THEIR_REF), REASON) is None
    packet = forms(DFLAG_ALTACT_SIG | DFLAG_EXIT_PAYLOAD).packet((37, 16, US, THEM), REASON)
    assert cut_signals(packet, 0, 1 << 20)[0] == [(8, (8, US, THEM, REASON), NO_PAYLOAD)]


@pytest.mark.parametrize("without", [0, DFLAG_EXIT_PAYLOAD, DFLAG_UNLINK_ID])
def test_what_otp_closes_on_is_not_sent_to_an_earlier_start_of_the_peer(without):
    assert sent((24, US, OLD), REASON, without) is None
    assert sent((3, US, OLD, REASON), NO_PAYLOAD, without) is None
    assert sent((35, 1, US, OLD), NO_PAYLOAD, without) is None
    assert sent((36, 1, US, OLD), NO_PAYLOAD, without) is None
    assert sent((1, US, OLD), NO_PAYLOAD, without) == ((1, US, OLD), NO_PAYLOAD)
    assert sent((19, US, OLD, OUR_REF), NO_PAYLOAD, without) == ((19, US, OLD, OUR_REF), NO_PAYLOAD)
    assert sent((26, US, OLD), REASON) == ((26, US, OLD), REASON)


@pytest.mark.parametrize("without", [0, *{flag for flag, _ in WITHOUT_FLAG.values()}])
def test_what_cannot_be_encoded_raises_in_every_form(without):
    with pytest.raises(EtfEncodeError):
        forms(without).packet((26, US, THEM), object())
    with pytest.raises(EtfEncodeError):
        forms(without).packet((22, US, object()), 1)


# -- from a peer ------------------------------------------------------------------------------

GOOD = [
    (1, THEM, US),
    (3, THEM, US, REASON),
    (4, THEM, US),
    (7, US, US),
    (8, THEM, US, REASON),
    (12, NONE, US, []),
    (13, THEM, US, [], REASON),
    (16, THEM, NONE, NAME, []),
    (18, THEM, US, [], REASON),
    (19, THEM, NAME, THEIR_REF),
    (19, THEM, None, THEIR_REF),
    (20, THEM, US, THEIR_REF),
    (21, NAME, US, OUR_REF, REASON),
    (23, THEM, US, []),
    (24, THEM, US),
    (25, THEM, US, []),
    (26, THEM, US),
    (27, THEM, US, []),
    (28, THEM, US, OUR_REF),
    (29, THEIR_REF, THEM, US, MFA, [Atom("link")]),
    (30, THEIR_REF, THEM, US, MFA, [], []),
    (31, OUR_REF, US, 0, THEM),
    (32, OUR_REF, US, 0, Atom("notsup"), []),
    (34, THEM, OUR_REF, []),
    (35, (1 << 64) - 1, THEM, US),
    (36, 1, THEM, US),
    (37, 4, THEM, OUR_REF),
    (37, 8, THEM, True),
    (37, 2, THEM, US, []),
]


@pytest.mark.parametrize("control", GOOD)
def test_lawful(control):
    assert is_lawful(control, PEER)


@pytest.mark.parametrize(
    "control",
    [
        (1, US, THEM),
        (1, THEM, NAME),
        (4, THEM, 1),
        (7, NAME, US),
        (8, US, US, REASON),
        (16, THEM, NONE, b"name", []),
        (19, THEM, NAME, 1),
        (19, US, NAME, THEIR_REF),
        (21, 1, US, OUR_REF, REASON),
        (24, Pid(Atom("c@h"), 1, 0, 5), US),
        (26, THEM, [US]),
        (28, THEM, {}, OUR_REF),
        (29, OUR_REF, THEM, US, MFA, []),
        (29, THEIR_REF, US, US, MFA, []),
        (29, THEIR_REF, THEM, US, (Atom("m"), Atom("f")), []),
        (29, THEIR_REF, THEM, US, (Atom("m"), Atom("f"), b"0"), []),
        (29, THEIR_REF, THEM, US, MFA, Atom("link")),
        (31, OUR_REF, US, None, THEM),
        (31, OUR_REF, US, 0, 17),
        (35, 0, THEM, US),
        (35, 1 << 64, THEM, US),
        (36, True, THEM, US),
        (37, 4, THEM, {}),
        (5, THEM, US),
    ],
)
def test_not_lawful(control):
    assert not is_lawful(control, PEER)


def test_there_is_a_rule_for_every_operation():
    assert set(LAWFUL) == set(OPERATIONS)
    for op, checks in LAWFUL.items():
        assert len(checks) == min(OPERATIONS[op].arities) - 1
