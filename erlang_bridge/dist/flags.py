"""Capabilities that nodes announce to each other in the handshake.

Source: ERTS, "Distribution Protocol", Distribution Flags; erts ``dist.h``.
"""

from __future__ import annotations

from typing import Final

DFLAG_PUBLISHED: Final = 1 << 0
DFLAG_ATOM_CACHE: Final = 1 << 1
DFLAG_EXTENDED_REFERENCES: Final = 1 << 2
DFLAG_DIST_MONITOR: Final = 1 << 3
DFLAG_FUN_TAGS: Final = 1 << 4
DFLAG_DIST_MONITOR_NAME: Final = 1 << 5
DFLAG_HIDDEN_ATOM_CACHE: Final = 1 << 6
DFLAG_NEW_FUN_TAGS: Final = 1 << 7
DFLAG_EXTENDED_PIDS_PORTS: Final = 1 << 8
DFLAG_EXPORT_PTR_TAG: Final = 1 << 9
DFLAG_BIT_BINARIES: Final = 1 << 10
DFLAG_NEW_FLOATS: Final = 1 << 11
DFLAG_UNICODE_IO: Final = 1 << 12
DFLAG_DIST_HDR_ATOM_CACHE: Final = 1 << 13
DFLAG_SMALL_ATOM_TAGS: Final = 1 << 14
DFLAG_UTF8_ATOMS: Final = 1 << 16
DFLAG_MAP_TAG: Final = 1 << 17
DFLAG_BIG_CREATION: Final = 1 << 18
DFLAG_SEND_SENDER: Final = 1 << 19
DFLAG_BIG_SEQTRACE_LABELS: Final = 1 << 20
DFLAG_EXIT_PAYLOAD: Final = 1 << 22
DFLAG_FRAGMENTS: Final = 1 << 23
DFLAG_HANDSHAKE_23: Final = 1 << 24
DFLAG_UNLINK_ID: Final = 1 << 25
DFLAG_MANDATORY_25_DIGEST: Final = 1 << 26
DFLAG_SPAWN: Final = 1 << 32
DFLAG_NAME_ME: Final = 1 << 33
DFLAG_V4_NC: Final = 1 << 34
DFLAG_ALIAS: Final = 1 << 35
DFLAG_ALTACT_SIG: Final = 1 << 37
DFLAG_NATIVE_RECORDS: Final = 1 << 38

MANDATORY_25: Final = (
    DFLAG_EXTENDED_REFERENCES
    | DFLAG_FUN_TAGS
    | DFLAG_NEW_FUN_TAGS
    | DFLAG_EXTENDED_PIDS_PORTS
    | DFLAG_EXPORT_PTR_TAG
    | DFLAG_BIT_BINARIES
    | DFLAG_NEW_FLOATS
    | DFLAG_UTF8_ATOMS
    | DFLAG_MAP_TAG
    | DFLAG_BIG_CREATION
    | DFLAG_HANDSHAKE_23
)
"""What OTP 25 insists on; `DFLAG_MANDATORY_25_DIGEST` stands for all of it."""

MANDATORY_26: Final = MANDATORY_25 | DFLAG_V4_NC | DFLAG_UNLINK_ID
"""What OTP 26 to 29 insist on."""

OFFERED_HIDDEN: Final = (
    MANDATORY_26
    | DFLAG_MANDATORY_25_DIGEST
    | DFLAG_DIST_MONITOR
    | DFLAG_DIST_MONITOR_NAME
    | DFLAG_UNICODE_IO
    | DFLAG_SMALL_ATOM_TAGS
    | DFLAG_SEND_SENDER
    | DFLAG_BIG_SEQTRACE_LABELS
    | DFLAG_EXIT_PAYLOAD
    | DFLAG_FRAGMENTS
    | DFLAG_SPAWN
    | DFLAG_ALIAS
    | DFLAG_ALTACT_SIG
)
"""What we announce as a hidden node: everything but the atom cache."""

OFFERED_VISIBLE: Final = OFFERED_HIDDEN | DFLAG_PUBLISHED
"""What we announce as a visible node, which has to speak ``global``."""

_NAMES: Final = {
    value: name for name, value in list(globals().items()) if name.startswith("DFLAG_") and isinstance(value, int)
}


def flag_names(flags: int) -> tuple[str, ...]:
    """Names of the flags that are set, lowest bit first; a bit without a name shows as ``bit N``.

    >>> flag_names(DFLAG_SPAWN | 1 | 1 << 60)
    ('DFLAG_PUBLISHED', 'DFLAG_SPAWN', 'bit 60')
    """
    bits = (bit for bit in range(flags.bit_length()) if flags >> bit & 1)
    return tuple(_NAMES.get(1 << bit, f"bit {bit}") for bit in bits)


def expand_digest(flags: int) -> int:
    """`flags` with those that `DFLAG_MANDATORY_25_DIGEST` stands for."""
    return flags | MANDATORY_25 if flags & DFLAG_MANDATORY_25_DIGEST else flags


def missing_flags(flags: int) -> tuple[str, ...]:
    """Names of the flags that we cannot do without and a peer with `flags` lacks."""
    return flag_names(MANDATORY_25 & ~expand_digest(flags))
