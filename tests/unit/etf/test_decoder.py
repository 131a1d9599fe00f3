from __future__ import annotations

import zlib

import pytest

from erlang_bridge.errors import EtfDecodeError, EtfError
from erlang_bridge.etf import decode, decode_prefix, encode, encode_term
from erlang_bridge.terms import Atom, BitString, Export, Fun, ImproperList, Map, Pid, Port, Record, Reference, exact_key

NODE = Atom("a@h")
FUN = (
    b"\x02" + b"u" * 16 + bytes(4) + b"\0\0\0\1" + Atom("erl_eval").etf + b"a\5" + b"b\1\2\3\4"
    + encode_term(Pid(NODE, 1, 2, 3)) + encode_term({1: [2.0]})
)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("6107", 7),
        ("62ffffffff", -1),
        ("6e0100ff", 255),  # not canonical, and lawful
        ("6e0000", 0),
        ("6e040101000080", -2147483649),
        ("6f000000020001ff", 0xFF01),
        ("463ff8000000000000", 1.5),
        ("63" + b"1.50000000000000000000e+00".ljust(31, b"\0").hex(), 1.5),
        ("63" + b"-1.00000000000000005551e-01".ljust(31, b"\0").hex(), -0.1),
        ("77026f6b", Atom("ok")),
        ("7600026f6b", Atom("ok")),
        ("73026f6b", Atom("ok")),
        ("6400026f6b", Atom("ok")),
        ("640001e5", Atom("å")),
        ("7702c3a5", Atom("å")),
        ("770474727565", True),
        ("64000566616c7365", False),
        ("77036e696c", None),
        ("7709756e646566696e6564", Atom("undefined")),
        ("6d000000026162", b"ab"),
        ("4d0000000103a0", BitString(b"\xa0", 3)),
        ("4d0000000103bf", BitString(b"\xa0", 3)),
        ("4d0000000108a0", b"\xa0"),
        ("4d0000000000", b""),
        ("6a", []),
        ("6b00026162", [97, 98]),
        ("6b0000", []),
        ("6c0000000161016a", [1]),
        ("6c000000006a", []),
        ("6c000000006101", 1),
        ("6c0000000161016102", ImproperList([1], 2)),
        # A tail that is a list makes one list.
        ("6c0000000161016c0000000161026a", [1, 2]),
        ("6c0000000161016b00020203", [1, 2, 3]),
        ("6c0000000161016c0000000161026103", ImproperList([1, 2], 3)),
        ("6800", ()),
        ("680261016102", (1, 2)),
        ("69000000016101", (1,)),
        ("7400000000", {}),
        ("740000000161016102", {1: 2}),
        ("58770361406800000001" + "0000000200000003", Pid(NODE, 1, 2, 3)),
        ("67770361406800000001" + "0000000203", Pid(NODE, 1, 2, 3)),
        ("6764000361406800000001" + "0000000203", Pid(NODE, 1, 2, 3)),
        ("78770361406800000100000000000000" + "0003", Port(NODE, 2**40, 3)),
        ("5977036140680000000100000003", Port(NODE, 1, 3)),
        ("66770361406800000001" + "03", Port(NODE, 1, 3)),
        ("5a00027703614068" + "00000003" + "0000000700000008", Reference(NODE, 3, (7, 8))),
        ("7200027703614068" + "03" + "0000000700000008", Reference(NODE, 3, (7, 8))),
        ("657703614068" + "0000000703", Reference(NODE, 3, (7,))),
        ("7177016d77036e696c6101", Export(Atom("m"), Atom("nil"), 1)),
        ("43000000010177016d77017277016661" + "01", Record(Atom("m"), Atom("r"), ((Atom("f"), 1),), 1)),
        ("70" + (len(FUN) + 4).to_bytes(4).hex() + FUN.hex(), Fun(Atom("erl_eval"), 2, FUN)),
    ],
)
def test_every_tag(data, expected):
    term = decode(b"\x83" + bytes.fromhex(data))
    assert type(term) is type(expected)
    assert exact_key(term) == exact_key(expected)
    # One byte fewer is never a term; one more is not this one.
    for shorter in range(1, len(data) // 2):
        with pytest.raises(EtfDecodeError):
            decode(b"\x83" + bytes.fromhex(data)[:shorter])
    with pytest.raises(EtfDecodeError, match="1 bytes follow"):
        decode(b"\x83" + bytes.fromhex(data) + b"j")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("", "begins with 131"),
        ("6a", "begins with 131"),
        ("83", "truncated"),
        ("83ff", "unknown tag"),
        ("8379" + "00" * 8, "LOCAL_EXT"),
        ("837500", "before OTP 24"),
        ("835200", "atom cache"),
        ("836801836101", "unknown tag"),
        ("836801" + "50" + "00000001", "compressed"),
        ("83467ff0000000000000", "finite"),
        ("83467ff8000000000000", "finite"),
        ("8363" + b"nan".ljust(31, b"\0").hex(), "text of a float"),
        ("8363" + b"1.0e999".ljust(31, b"\0").hex(), "text of a float"),
        ("836cffffffff6101", "4294967295 elements"),
        ("8369ffffffff6101", "4294967295 elements"),
        ("8374ffffffff6101", "4294967295 pairs"),
        ("8343ffffffff006101", "4294967295 fields"),
        ("836dffffffff61", "4294967295 bytes"),
        ("836fffffffff0061", "4294967295 bytes"),
        ("834dffffffff0161", "4294967295 bytes"),
        ("8370ffffffff" + "00" * 40, "a fun of 4294967295 bytes"),
        ("834d0000000109a0", "9 bits"),
        ("834d0000000100a0", "0 bits"),
        ("834d0000000001", "1 bits"),
        ("8377ff61", "truncated"),
        ("837702c328", "not the name of an atom"),
        ("83640100" + "61" * 256, "at most 255"),
        ("837401" + "000000" * 3, "pairs|truncated"),
        ("837400000002610161026101" + "6103", "same key twice"),
        ("8374000000026a61026a6103", "same key twice"),
        ("83740000000268016101610268016101" + "6103", "same key twice"),
        ("835a00067703614068" + "00" * 28, "6 words"),
        ("835a00007703614068" + "00" * 28, "0 words"),
        ("8358610100000001" + "00" * 8, "an atom is expected"),
        ("837177016d7701666201000000", "small integer"),
        ("834300000001007701616101" + "61016102", "an atom is expected"),
    ],
)
def test_what_is_no_term(data, what):
    with pytest.raises(EtfDecodeError, match=what) as caught:
        decode(bytes.fromhex(data))
    assert isinstance(caught.value, EtfError)
    assert 0 <= caught.value.offset <= len(data) // 2


def test_the_error_says_where_and_what():
    with pytest.raises(EtfDecodeError) as caught:
        decode(bytes.fromhex("8368026101ff"))
    assert (caught.value.offset, caught.value.tag) == (5, 0xFF)
    assert str(caught.value) == "an unknown tag (at byte 5, tag 255)"


def test_maps_whose_keys_python_takes_for_equal():
    data = encode(Map([(1, b"int"), (1.0, b"float"), (True, b"true"), (0.0, b"plus"), (-0.0, b"minus")]))
    term = decode(data)
    assert type(term) is Map
    assert (term[1], term[1.0], term[True], term[0.0], term[-0.0]) == (b"int", b"float", b"true", b"plus", b"minus")
    assert encode(term) == data


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ([1, 2.0, Atom("a"), b"a", False], dict),
        ([(1, 2), (1, 3)], dict),
        ([(1,), (1.0,)], Map),
        ([((1, True),), ((1, 1),)], Map),
        ([[]], Map),
        ([[1]], Map),
        ([(1, [2])], Map),
        ([{}], Map),
        ([ImproperList([1], 2)], dict),
        ([ImproperList([[]], 2)], Map),
        ([ImproperList([1], 2), ImproperList([1.0], 2)], Map),
        ([Record(Atom("m"), Atom("r"), ((Atom("f"), []),))], Map),
    ],
)
def test_a_map_is_a_dict_while_that_is_safe(keys, kind):
    term = decode(encode(Map((key, index) for index, key in enumerate(keys))))
    assert type(term) is kind
    assert [term[key] for key in keys] == list(range(len(keys)))


def test_funs_within_a_fun():
    def closure(free):
        raw = FUN[: -len(encode_term({1: [2.0]}))] + free
        return b"p" + (len(raw) + 4).to_bytes(4) + raw

    inner = [closure(encode_term(number)) for number in range(2)]
    data = b"\x83" + closure(b"t\0\0\0\2" + b"".join(key + b"a\1" for key in inner))
    term = decode(data)
    assert type(term) is Fun
    assert encode(term) == data
    # What is in a fun is checked all the same.
    with pytest.raises(EtfDecodeError):
        decode(data[:-2] + b"\xff\1")
    deep = encode_term(1)
    for _ in range(500):
        deep = closure(deep)
    assert decode(b"\x83" + deep).raw == deep[5:]


def test_prefix_says_where_the_term_ends():
    data = b"??" + encode_term((1, b"ab")) + encode_term([1])
    term, end = decode_prefix(data, 2)
    assert term == (1, b"ab")
    assert decode_prefix(data, end) == ([1], len(data))
    with pytest.raises(EtfDecodeError):
        decode_prefix(data, len(data))


def test_any_buffer_is_taken():
    data = encode((1, [2, 300], Atom("ok"), Pid(NODE, 1, 2, 3)))
    assert decode(bytearray(data)) == decode(memoryview(data)) == decode(data)  # type: ignore[arg-type]
    assert decode_prefix(memoryview(data), 1)[0] == decode(data)  # type: ignore[arg-type]


# -- compressed -------------------------------------------------------------------------------


def compressed(raw: bytes, size: int | None = None) -> bytes:
    return b"\x83P" + (len(raw) if size is None else size).to_bytes(4) + zlib.compress(raw)


def test_compressed():
    assert decode(compressed(encode_term([b"a" * 5000]))) == [b"a" * 5000]


@pytest.mark.parametrize(
    "data",
    [
        compressed(encode_term(b"a" * 5000))[:-3],
        compressed(encode_term(b"a" * 5000)) + b"?",
        compressed(encode_term(1), 3),
        compressed(encode_term(1), 1),
        compressed(encode_term(1)[:1]),
        compressed(encode_term(1) + b"j"),
        compressed(b"P" + compressed(encode_term(1))[2:]),
        b"\x83P\0\0",
        b"\x83P\0\0\0\x02xx",
    ],
)
def test_badly_compressed(data):
    with pytest.raises(EtfDecodeError):
        decode(data)


def test_a_bomb_is_not_inflated():
    bomb = encode_term(bytes(10_000_000))
    with pytest.raises(EtfDecodeError, match="at most 1000"):
        decode(compressed(bomb), max_inflated=1000)
    # One that lies about its size is let go no further than it says.
    with pytest.raises(EtfDecodeError, match="exactly 1000 bytes"):
        decode(compressed(bomb, 1000), max_inflated=1000)
    assert decode(compressed(bomb), max_inflated=len(bomb)) == bytes(10_000_000)


# -- caches -----------------------------------------------------------------------------------


def test_caches_are_bounded():
    from erlang_bridge.etf import leaves

    for number in range(leaves._MAX_CACHED + 100):
        name = Atom(f"n{number}@host")
        term = decode(encode((Atom(f"atom_{number}"), Pid(name, 1, 0, 4), Reference(name, 4, (number,)))))
        assert term[1].node is name
    assert len(leaves.atoms) <= leaves._MAX_CACHED
    assert len(leaves.identifiers) <= leaves._MAX_CACHED
