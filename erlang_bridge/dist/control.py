"""Control messages: what a peer can take, the older form of what it cannot, and what it must not send.

The node speaks the modern form (reasons as payload, links with unlink ids). `OutgoingForms` turns a signal into what
this peer understands; `is_lawful` tells whether a control message that came makes sense.

Source: ERTS, "Distribution Protocol", Protocol between Connected Nodes; erts ``dist.c``, ``erts_net_message``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

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
)
from erlang_bridge.etf import NO_PAYLOAD, encode_signal, encode_term
from erlang_bridge.etf.opcodes import (
    DOP_ALIAS_SEND,
    DOP_ALIAS_SEND_TT,
    DOP_ALTACT_SIG_SEND,
    DOP_DEMONITOR_P,
    DOP_EXIT,
    DOP_EXIT2,
    DOP_EXIT2_TT,
    DOP_EXIT_TT,
    DOP_GROUP_LEADER,
    DOP_LINK,
    DOP_MONITOR_P,
    DOP_MONITOR_P_EXIT,
    DOP_PAYLOAD_EXIT,
    DOP_PAYLOAD_EXIT2,
    DOP_PAYLOAD_EXIT2_TT,
    DOP_PAYLOAD_EXIT_TT,
    DOP_PAYLOAD_MONITOR_P_EXIT,
    DOP_REG_SEND,
    DOP_REG_SEND_TT,
    DOP_SEND,
    DOP_SEND_SENDER,
    DOP_SEND_SENDER_TT,
    DOP_SEND_TT,
    DOP_SPAWN_REPLY,
    DOP_SPAWN_REPLY_TT,
    DOP_SPAWN_REQUEST,
    DOP_SPAWN_REQUEST_TT,
    DOP_UNLINK,
    DOP_UNLINK_ID,
    DOP_UNLINK_ID_ACK,
)
from erlang_bridge.terms import Atom, Pid, Reference

NO_NAME: Final = Atom("")
"""Fills the place of a cookie that control messages once had."""

ALTACT_PRIORITY: Final = 1
ALTACT_TOKEN: Final = 2
ALTACT_ALIAS: Final = 4
ALTACT_NAME: Final = 8
ALTACT_EXIT: Final = 16

# -- to a peer ----------------------------------------------------------------------------------

Control = tuple[Any, ...]
Form = tuple[bytes, bytes | None]
"""Control tuple and payload, encoded; no payload is None."""


def _elements(*elements: Any, last: bytes | None = None) -> bytes:
    # A control tuple whose last element may be encoded already.
    encoded = [encode_term(element) for element in elements]
    if last is not None:
        encoded.append(last)
    return b"h%c" % len(encoded) + b"".join(encoded)


def _as_send(control: Control, payload: bytes | None) -> Form | None:
    return _elements(DOP_SEND, NO_NAME, control[2]), payload


def _with_reason_inside(op: int) -> Callable[[Control, bytes | None], Form | None]:
    def form(control: Control, payload: bytes | None) -> Form | None:
        return _elements(op, *control[1:], last=payload), None

    return form


def _as_unlink(control: Control, _payload: bytes | None) -> Form | None:
    return _elements(DOP_UNLINK, control[2], control[3]), None


def _without_altact(control: Control) -> Control | None:
    _, bits, sender, to = control[:4]
    if bits & ALTACT_EXIT:
        return (DOP_PAYLOAD_EXIT2, sender, to) if type(to) is Pid else None
    if bits & ALTACT_ALIAS:
        return (DOP_ALIAS_SEND, sender, to)
    if bits & ALTACT_NAME:
        return (DOP_REG_SEND, sender, NO_NAME, to)
    return (DOP_SEND_SENDER, sender, to)


def _nothing(_control: Control, _payload: bytes | None) -> Form | None:
    return None


_MONITORS: Final = DFLAG_DIST_MONITOR | DFLAG_DIST_MONITOR_NAME

WITHOUT_FLAG: Final[dict[int, tuple[int, Callable[[Control, bytes | None], Form | None]]]] = {
    DOP_SEND_SENDER: (DFLAG_SEND_SENDER, _as_send),
    DOP_PAYLOAD_EXIT: (DFLAG_EXIT_PAYLOAD, _with_reason_inside(DOP_EXIT)),
    DOP_PAYLOAD_EXIT2: (DFLAG_EXIT_PAYLOAD, _with_reason_inside(DOP_EXIT2)),
    DOP_UNLINK_ID: (DFLAG_UNLINK_ID, _as_unlink),
    DOP_UNLINK_ID_ACK: (DFLAG_UNLINK_ID, _nothing),
    DOP_MONITOR_P: (_MONITORS, _nothing),
    DOP_DEMONITOR_P: (_MONITORS, _nothing),
    DOP_MONITOR_P_EXIT: (_MONITORS, _nothing),
    DOP_SPAWN_REQUEST: (DFLAG_SPAWN, _nothing),
    DOP_SPAWN_REPLY: (DFLAG_SPAWN, _nothing),
    DOP_ALIAS_SEND: (DFLAG_ALIAS, _nothing),
}
"""Operation -> (flags it needs, what to send to a peer that lacks one; None from it is: nothing)."""

_OF_THIS_INCARNATION: Final = {DOP_EXIT: 2, DOP_PAYLOAD_EXIT: 2, DOP_UNLINK_ID: 3, DOP_UNLINK_ID_ACK: 3}
"""Operation -> place of the target. To a pid of an earlier start of the peer they are dropped: OTP would close."""


_WITH_REASON: Final = frozenset({DOP_PAYLOAD_EXIT, DOP_PAYLOAD_EXIT2, DOP_PAYLOAD_MONITOR_P_EXIT})


class OutgoingForms:
    """Turns signals in the modern form into packets for one peer.

    Args:
        flags: those of the connection, digest expanded.
        creation: the peer's.
    """

    def __init__(self, flags: int, creation: int) -> None:
        self.pass_through = not flags & DFLAG_FRAGMENTS
        """Framing without a distribution header, for peers that do not take one."""
        self._creation = creation
        self._special: dict[int, Callable[[Control, bytes | None], Form | None]] = {
            op: form for op, (needed, form) in WITHOUT_FLAG.items() if flags & needed != needed
        }
        # The down signal has both conditions: a form of its own, and monitors at all.
        if flags & _MONITORS != _MONITORS:
            self._special[DOP_PAYLOAD_MONITOR_P_EXIT] = _nothing
        elif not flags & DFLAG_EXIT_PAYLOAD:
            self._special[DOP_PAYLOAD_MONITOR_P_EXIT] = _with_reason_inside(DOP_MONITOR_P_EXIT)
        self._altact = bool(flags & DFLAG_ALTACT_SIG)
        self._reason_inside = not flags & DFLAG_EXIT_PAYLOAD
        self._looked_at = frozenset((*self._special, *_OF_THIS_INCARNATION, DOP_ALTACT_SIG_SEND))

    def packet(self, control: Control, payload: Any = NO_PAYLOAD) -> bytes | None:
        """The packet of a signal, length field first; None if this peer cannot take it or must not get it.

        Raises:
            EtfEncodeError: a term that has no counterpart.
        """
        if control[0] in self._looked_at:
            return self.packet_of(control, None if payload is NO_PAYLOAD else encode_term(payload))
        return encode_signal(control, payload, self.pass_through)

    def packet_of(self, control: Control, payload: bytes | None) -> bytes | None:
        """As `packet`, for a payload that is encoded already (without 131); None is none."""
        if control[0] == DOP_ALTACT_SIG_SEND and not self._altact:
            older = _without_altact(control)
            if older is None:
                return None
            control = older
        op = control[0]
        if op in _OF_THIS_INCARNATION and self._is_outdated(control):
            return None
        special = self._special.get(op)
        form = (encode_term(control), payload) if special is None else special(control, payload)
        if form is None:
            return None
        control_etf, payload_etf = form
        if self.pass_through:
            parts = [b"p\x83", control_etf] if payload_etf is None else [b"p\x83", control_etf, b"\x83", payload_etf]
        else:
            parts = [b"\x83D\x00", control_etf] if payload_etf is None else [b"\x83D\x00", control_etf, payload_etf]
        return b"".join((sum(map(len, parts)).to_bytes(4, "big"), *parts))

    def splits(self, control: Control) -> bool:
        """Whether a large packet of this signal goes out in fragments: the peer takes them, and the payload is one."""
        return not self.pass_through and not (self._reason_inside and control[0] in _WITH_REASON)

    def _is_outdated(self, control: Control) -> bool:
        target = control[_OF_THIS_INCARNATION[control[0]]]
        return type(target) is Pid and target.creation != self._creation


# -- from a peer --------------------------------------------------------------------------------

Check = Callable[[Any, Atom], bool]


def _any(_term: Any, _peer: Atom) -> bool:
    return True


def _pid(term: Any, _peer: Atom) -> bool:
    return type(term) is Pid


def _peers_pid(term: Any, peer: Atom) -> bool:
    return type(term) is Pid and term.node is peer


def _name(term: Any, _peer: Atom) -> bool:
    # true, false and nil are atoms that have a Python value of their own.
    return type(term) is Atom or term is None or type(term) is bool


def _pid_or_name(term: Any, peer: Atom) -> bool:
    return type(term) is Pid or _name(term, peer)


def _reference(term: Any, _peer: Atom) -> bool:
    return type(term) is Reference


def _peers_reference(term: Any, peer: Atom) -> bool:
    return type(term) is Reference and term.node is peer


def _integer(term: Any, _peer: Atom) -> bool:
    return type(term) is int


def _unlink_id(term: Any, _peer: Atom) -> bool:
    return type(term) is int and 0 < term < 1 << 64


def _function(term: Any, peer: Atom) -> bool:
    if type(term) is not tuple or len(term) != 3:
        return False
    module, function, arity = term
    return _name(module, peer) and _name(function, peer) and type(arity) is int


def _list(term: Any, _peer: Atom) -> bool:
    return type(term) is list


def _destination(term: Any, peer: Atom) -> bool:
    return type(term) is Reference or _pid_or_name(term, peer)


LAWFUL: Final[dict[int, tuple[Check, ...]]] = {
    DOP_LINK: (_peers_pid, _pid),
    DOP_SEND: (_any, _pid),
    DOP_EXIT: (_peers_pid, _pid, _any),
    DOP_UNLINK: (_peers_pid, _pid),
    DOP_REG_SEND: (_pid, _any, _name),
    DOP_GROUP_LEADER: (_pid, _pid),
    DOP_EXIT2: (_peers_pid, _pid, _any),
    DOP_SEND_TT: (_any, _pid, _any),
    DOP_EXIT_TT: (_peers_pid, _pid, _any, _any),
    DOP_REG_SEND_TT: (_pid, _any, _name, _any),
    DOP_EXIT2_TT: (_peers_pid, _pid, _any, _any),
    DOP_MONITOR_P: (_peers_pid, _pid_or_name, _reference),
    DOP_DEMONITOR_P: (_peers_pid, _pid_or_name, _reference),
    DOP_MONITOR_P_EXIT: (_pid_or_name, _pid, _reference, _any),
    DOP_SEND_SENDER: (_pid, _pid),
    DOP_SEND_SENDER_TT: (_pid, _pid, _any),
    DOP_PAYLOAD_EXIT: (_peers_pid, _pid),
    DOP_PAYLOAD_EXIT_TT: (_peers_pid, _pid, _any),
    DOP_PAYLOAD_EXIT2: (_peers_pid, _pid),
    DOP_PAYLOAD_EXIT2_TT: (_peers_pid, _pid, _any),
    DOP_PAYLOAD_MONITOR_P_EXIT: (_pid_or_name, _pid, _reference),
    DOP_SPAWN_REQUEST: (_peers_reference, _peers_pid, _pid, _function, _list),
    DOP_SPAWN_REQUEST_TT: (_peers_reference, _peers_pid, _pid, _function, _list, _any),
    DOP_SPAWN_REPLY: (_reference, _pid, _integer, _pid_or_name),
    DOP_SPAWN_REPLY_TT: (_reference, _pid, _integer, _pid_or_name, _any),
    DOP_ALIAS_SEND: (_pid, _reference),
    DOP_ALIAS_SEND_TT: (_pid, _reference, _any),
    DOP_UNLINK_ID: (_unlink_id, _peers_pid, _pid),
    DOP_UNLINK_ID_ACK: (_unlink_id, _peers_pid, _pid),
    DOP_ALTACT_SIG_SEND: (_integer, _pid, _destination),
}
"""Operation -> what its elements have to be, in order; elements beyond are free."""


def is_lawful(control: Control, peer: Atom) -> bool:
    """Whether a control tuple of a known operation and arity makes sense as coming from `peer`.

    OTP closes a connection for most of what is refused here; we drop the signal and keep the connection.
    """
    checks = LAWFUL.get(control[0])
    return checks is not None and all(check(term, peer) for check, term in zip(checks, control[1:], strict=False))
