"""The first element of a control message, and what follows it.

Source: ERTS, "Distribution Protocol", Protocol between Connected Nodes; erts ``dist.h``, ``enum dop``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

DOP_LINK: Final = 1
DOP_SEND: Final = 2
DOP_EXIT: Final = 3
DOP_UNLINK: Final = 4
DOP_REG_SEND: Final = 6
DOP_GROUP_LEADER: Final = 7
DOP_EXIT2: Final = 8
DOP_SEND_TT: Final = 12
DOP_EXIT_TT: Final = 13
DOP_REG_SEND_TT: Final = 16
DOP_EXIT2_TT: Final = 18
DOP_MONITOR_P: Final = 19
DOP_DEMONITOR_P: Final = 20
DOP_MONITOR_P_EXIT: Final = 21
DOP_SEND_SENDER: Final = 22
DOP_SEND_SENDER_TT: Final = 23
DOP_PAYLOAD_EXIT: Final = 24
DOP_PAYLOAD_EXIT_TT: Final = 25
DOP_PAYLOAD_EXIT2: Final = 26
DOP_PAYLOAD_EXIT2_TT: Final = 27
DOP_PAYLOAD_MONITOR_P_EXIT: Final = 28
DOP_SPAWN_REQUEST: Final = 29
DOP_SPAWN_REQUEST_TT: Final = 30
DOP_SPAWN_REPLY: Final = 31
DOP_SPAWN_REPLY_TT: Final = 32
DOP_ALIAS_SEND: Final = 33
DOP_ALIAS_SEND_TT: Final = 34
DOP_UNLINK_ID: Final = 35
DOP_UNLINK_ID_ACK: Final = 36
DOP_ALTACT_SIG_SEND: Final = 37


class Operation(NamedTuple):
    """What a control message with some opcode looks like.

    Attributes:
        name: as in OTP, without ``DOP_``.
        arities: lawful sizes of the control tuple, the opcode counted.
        has_payload: whether a second term follows the control tuple.
    """

    name: str
    arities: tuple[int, ...]
    has_payload: bool


OPERATIONS: Final[dict[int, Operation]] = {
    DOP_LINK: Operation("LINK", (3,), False),
    DOP_SEND: Operation("SEND", (3,), True),
    DOP_EXIT: Operation("EXIT", (4,), False),
    DOP_UNLINK: Operation("UNLINK", (3,), False),
    DOP_REG_SEND: Operation("REG_SEND", (4,), True),
    DOP_GROUP_LEADER: Operation("GROUP_LEADER", (3,), False),
    DOP_EXIT2: Operation("EXIT2", (4,), False),
    DOP_SEND_TT: Operation("SEND_TT", (4,), True),
    DOP_EXIT_TT: Operation("EXIT_TT", (5,), False),
    DOP_REG_SEND_TT: Operation("REG_SEND_TT", (5,), True),
    DOP_EXIT2_TT: Operation("EXIT2_TT", (5,), False),
    DOP_MONITOR_P: Operation("MONITOR_P", (4,), False),
    DOP_DEMONITOR_P: Operation("DEMONITOR_P", (4,), False),
    DOP_MONITOR_P_EXIT: Operation("MONITOR_P_EXIT", (5,), False),
    DOP_SEND_SENDER: Operation("SEND_SENDER", (3,), True),
    DOP_SEND_SENDER_TT: Operation("SEND_SENDER_TT", (4,), True),
    DOP_PAYLOAD_EXIT: Operation("PAYLOAD_EXIT", (3,), True),
    DOP_PAYLOAD_EXIT_TT: Operation("PAYLOAD_EXIT_TT", (4,), True),
    DOP_PAYLOAD_EXIT2: Operation("PAYLOAD_EXIT2", (3,), True),
    DOP_PAYLOAD_EXIT2_TT: Operation("PAYLOAD_EXIT2_TT", (4,), True),
    DOP_PAYLOAD_MONITOR_P_EXIT: Operation("PAYLOAD_MONITOR_P_EXIT", (4,), True),
    DOP_SPAWN_REQUEST: Operation("SPAWN_REQUEST", (6,), True),
    DOP_SPAWN_REQUEST_TT: Operation("SPAWN_REQUEST_TT", (7,), True),
    DOP_SPAWN_REPLY: Operation("SPAWN_REPLY", (5,), False),
    DOP_SPAWN_REPLY_TT: Operation("SPAWN_REPLY_TT", (6,), False),
    DOP_ALIAS_SEND: Operation("ALIAS_SEND", (3,), True),
    DOP_ALIAS_SEND_TT: Operation("ALIAS_SEND_TT", (4,), True),
    DOP_UNLINK_ID: Operation("UNLINK_ID", (4,), False),
    DOP_UNLINK_ID_ACK: Operation("UNLINK_ID_ACK", (4,), False),
    DOP_ALTACT_SIG_SEND: Operation("ALTACT_SIG_SEND", (4, 5), True),
}
"""Every opcode that a node of OTP 25 or later may send."""

TICK: Final = 0
"""Signal of an empty packet."""
FRAGMENT_FIRST: Final = 69
"""Signal of the first fragment of a sequence; also the byte after 131 in its packet."""
FRAGMENT_NEXT: Final = 70
"""Signal of a further fragment; also the byte after 131 in its packet."""
BAD_TERM: Final = -1
"""Signal whose payload is not a term; it is lost, the connection goes on."""
