"""The bytes are those that OTP 25 to 29 write (``term_to_binary``), taken from dist-protocol measurements and vectors."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from enum import Enum, IntEnum, StrEnum

import pytest

from erlang_bridge.errors import EtfEncodeError
from erlang_bridge.etf import encode, encode_term
from erlang_bridge.terms import Atom, BitString, Export, Fun, ImproperList, Map, Pid, Port, Record, Reference

NODE = Atom("a@h")
Point = namedtuple("Point", "x y")


class Colour(IntEnum):
    RED = 3


class Word(StrEnum):
    HI = "hi"


class Plain(Enum):
    ONE = 1


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (0, "6100"),
        (255, "61ff"),
        (256, "6200000100"),
        (-1, "62ffffffff"),
        (2147483647, "627fffffff"),
        (-2147483648, "6280000000"),
        (2147483648, "6e040000000080"),
        (-2147483649, "6e040101000080"),
        (256**255 - 1, "6eff00" + "ff" * 255),
        (256**255, "6f0000010000" + "00" * 255 + "01"),
        (-(256**255), "6f0000010001" + "00" * 255 + "01"),
        (1.5, "463ff8000000000000"),
        (-0.0, "468000000000000000"),
        (Atom("ok"), "77026f6b"),
        (Atom(""), "7700"),
        (Atom("å" * 127), "77fe" + "c3a5" * 127),
        (Atom("å" * 255), "7601fe" + "c3a5" * 255),
        (True, "770474727565"),
        (False, "770566616c7365"),
        (None, "77036e696c"),
        (b"", "6d00000000"),
        (b"ab", "6d000000026162"),
        ("å", "6d00000002c3a5"),
        (bytearray(b"ab"), "6d000000026162"),
        (memoryview(b"abcd")[::2], "6d000000026163"),
        (BitString(b"\xa0", 3), "4d0000000103a0"),
        ((), "6800"),
        ((1, 2), "680261016102"),
        ([], "6a"),
        ([1, 2], "6b00020102"),
        ([1, 2, 256], "6c000000036101610262000001006a"),
        ([-1], "6c0000000162ffffffff6a"),
        ([True, 1], "6c000000027704747275656101" + "6a"),
        ([Colour.RED, 1], "6c00000002610361016a"),
        (ImproperList([1], 2), "6c0000000161016102"),
        ({}, "7400000000"),
        ({1: 2}, "740000000161016102"),
        (Map([(1, 2), (1.0, 3)]), "740000000261016102463ff00000000000006103"),
        (Pid(NODE, 1, 2, 3), "58770361406800000001" + "0000000200000003"),
        (Port(NODE, 2**40, 3), "7877036140680000010000000000" + "00000003"),
        (Reference(NODE, 3, (7, 8)), "5a00027703614068" + "00000003" + "0000000700000008"),
        (Export(Atom("m"), Atom("f"), 1), "7177016d7701666101"),
        (Fun(Atom("m"), 1, b"raw"), "7000000007" + b"raw".hex()),
        (Record(Atom("m"), Atom("r"), ((Atom("f"), 1),), 1), "43000000010177016d77017277016661" + "01"),
        # Subclasses and look-alikes stand for what they are derived from.
        (Colour.RED, "6103"),
        (Word.HI, "6d000000026869"),
        (Point(1, 2), "680261016102"),
        (OrderedDict(a=1), "74000000016d00000001616101"),
    ],
)
def test_canonical_bytes(term, expected):
    assert encode_term(term).hex() == expected
    assert encode(term) == b"\x83" + bytes.fromhex(expected)


@pytest.mark.parametrize(("arity", "head"), [(255, "68ff"), (256, "6900000100"), (70000, "6900011170")])
def test_arity_chooses_the_tag_of_a_tuple(arity, head):
    assert encode_term((1,) * arity).hex() == head + "6101" * arity


def test_lists_of_integers():
    assert encode_term([7] * 65535) == b"k\xff\xff" + b"\7" * 65535
    assert encode_term([7] * 65536) == b"l\0\1\0\0" + b"a\7" * 65536 + b"j"
    # In one piece or one by one, the bytes are the same.
    for values in (range(-20, 1000), range(300, 400), [*range(300, 400), 2**40], [2**31 - 1] * 50, [-(2**31)] * 50):
        one_by_one = b"".join(map(encode_term, values))
        assert encode_term(list(values)) == b"l" + len(values).to_bytes(4) + one_by_one + b"j"


class Odd:
    def __repr__(self):
        return "<an Odd>"


HIDDEN = Odd()


@pytest.mark.parametrize(
    ("term", "path", "what"),
    [
        (HIDDEN, "", "no Erlang term"),
        ((1, {"key": [HIDDEN]}), "[1]['key'][0]", "no Erlang term"),
        ({Atom("ok"): (0, HIDDEN)}, "['ok'][1]", "no Erlang term"),
        ({(1, HIDDEN): 2}, ".key((1, <an Odd>))[1]", "no Erlang term"),
        (ImproperList([1], HIDDEN), ".tail", "no Erlang term"),
        (Map([([], HIDDEN)]), "[[]]", "no Erlang term"),
        (Record(Atom("m"), Atom("r"), ((Atom("f"), HIDDEN),)), ".f", "no Erlang term"),
        ([{1, 2}], "[0]", "a set"),
        ([frozenset()], "[0]", "a set"),
        ([Plain.ONE], "[0]", "an Enum"),
        ([float("nan")], "[0]", "NaN"),
        ([float("-inf")], "[0]", "infinities"),
        (["a\ud800"], "[0]", "UTF-8"),
        ([1 << 4_194_240], "[0]", "4194241 bits"),
        ([Pid(NODE, -1, 0, 1)], "[0]", "out of range"),
        ([Pid("a@h", 1, 0, 1)], "[0]", "wrong type"),  # type: ignore[arg-type]
        ([Reference(NODE, 1, ())], "[0]", "1 to 5 words"),
        ([Reference(NODE, 1, (1,) * 6)], "[0]", "1 to 5 words"),
        ([Export(Atom("m"), Atom("f"), 256)], "[0]", "out of range"),
        ([{"a": 1, b"a": 2}], "[0]", "same term"),
        ([{True: 1, Atom("true"): 2}], "[0]", "same term"),
        ([{("a",): 1, (b"a",): 2}], "[0]", "same term"),
    ],
)
def test_what_has_no_term_is_refused_with_its_place(term, path, what):
    with pytest.raises(EtfEncodeError) as caught:
        encode(term)
    assert caught.value.path == path
    assert what in str(caught.value)
    if path:
        assert f"at term{path}: " in str(caught.value)


def test_largest_integer_is_taken():
    assert len(encode_term((1 << 4_194_240) - 1)) == 6 + 4_194_240 // 8


def test_what_contains_itself_is_refused():
    inner: list[object] = []
    inner.append((inner,))
    with pytest.raises(EtfEncodeError, match="contains itself"):
        encode({Atom("x"): inner})


def test_what_is_only_shared_is_not():
    term: object = ()
    for _ in range(16):
        term = [term, term]
    assert len(encode(term)) > 2**16


def test_an_object_may_say_its_term():
    class Money:
        def __erlang_term__(self):
            return (Atom("money"), 5)

    assert encode([Money()]) == encode([(Atom("money"), 5)])
