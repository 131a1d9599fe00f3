"""Flag words against what real nodes announce."""

from erlang_bridge.dist import flags
from erlang_bridge.dist.flags import (
    DFLAG_BIT_BINARIES,
    DFLAG_DIST_HDR_ATOM_CACHE,
    DFLAG_MANDATORY_25_DIGEST,
    MANDATORY_25,
    MANDATORY_26,
    OFFERED_HIDDEN,
    OFFERED_VISIBLE,
    expand_digest,
    flag_names,
    missing_flags,
)

OTP_25_ANNOUNCES = 0xD07DF7FBD


def test_what_we_offer():
    assert OFFERED_HIDDEN == 0x2D07DF5FBC
    assert OFFERED_VISIBLE == 0x2D07DF5FBD
    assert not OFFERED_HIDDEN & DFLAG_DIST_HDR_ATOM_CACHE


def test_the_mandatory_sets():
    assert MANDATORY_26 == 0x403070F94
    assert MANDATORY_25.bit_count() == 11
    assert MANDATORY_26 & OTP_25_ANNOUNCES == MANDATORY_26


def test_the_digest_stands_for_the_set():
    assert missing_flags(DFLAG_MANDATORY_25_DIGEST) == ()
    assert expand_digest(DFLAG_MANDATORY_25_DIGEST) == DFLAG_MANDATORY_25_DIGEST | MANDATORY_25
    assert expand_digest(1) == 1


def test_what_is_missing_has_a_name():
    assert missing_flags(MANDATORY_25 & ~DFLAG_BIT_BINARIES) == ("DFLAG_BIT_BINARIES",)
    assert len(missing_flags(0)) == 11


def test_every_flag_is_one_bit_with_one_name():
    values = [value for name, value in vars(flags).items() if name.startswith("DFLAG_")]
    assert len(set(values)) == len(values)
    assert all(value.bit_count() == 1 for value in values)
    assert len(flag_names(sum(values))) == len(values)
