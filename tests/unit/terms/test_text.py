from __future__ import annotations

from typing import Any

import pytest

from erlang_bridge.errors import TermSyntaxError
from erlang_bridge.terms import Atom, BitString, Export, Fun, ImproperList, Map, Pid, Port, Record, Reference, exact_key
from erlang_bridge.terms.text import format_term, parse_term

NODE = Atom("a@h")


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (1, "1"),
        (-5, "-5"),
        (2**70, "1180591620717411303424"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (0.05, "0.05"),
        (100000.0, "1.0e5"),
        (123456789.0, "123456789.0"),
        (2.0**53, "9.007199254740992e15"),
        (12345678901234567.0, "1.2345678901234568e16"),
        (1e22, "1.0e22"),
        (1e-5, "1.0e-5"),
        (0.00012, "1.2e-4"),
        (0.0001, "0.0001"),
        (1.5e300, "1.5e300"),
        (Atom("ok"), "ok"),
        (Atom("a@b_C1"), "a@b_C1"),
        (Atom("é"), "é"),
        (Atom("Elixir.Foo"), "'Elixir.Foo'"),
        (Atom(""), "''"),
        (Atom("it's"), "'it\\'s'"),
        (Atom("a\nb\x01"), "'a\\nb\\001'"),
        (Atom("case"), "'case'"),
        (Atom("λ"), "'λ'"),
        (None, "nil"),
        (True, "true"),
        (b"", "<<>>"),
        (b"abc", '<<"abc">>'),
        (b'a"\\\n', '<<"a\\"\\\\\\n">>'),
        ("é", '<<"é"/utf8>>'),
        (b"\xe9", '<<"é">>'),
        (b"\x01\xff", "<<1,255>>"),
        (BitString(b"\x01\xa0", 3), "<<1,5:3>>"),
        ([], "[]"),
        ([97, 98], '"ab"'),
        ([97, 10, 27], '"a\\n\\e"'),
        ([1, 97], "[1,97]"),
        ([97, 1087], "[97,1087]"),
        ([True], "[true]"),
        ((), "{}"),
        ((1, (2,)), "{1,{2}}"),
        ([Atom("a"), []], "[a,[]]"),
        (ImproperList([97], Atom("b")), "[97|b]"),
        ({Atom("a"): 1, b"b": [1]}, '#{a => 1,<<"b">> => [1]}'),
        (Map([(1, 2), (1.0, 3)]), "#{1 => 2,1.0 => 3}"),
        (Export(Atom("lists"), Atom("Map"), 2), "fun lists:'Map'/2"),
        (Pid(NODE, 1, 2, 3), "<a@h.1.2>"),
        (Port(NODE, 7, 3), "#Port<a@h.7>"),
        (Reference(NODE, 3, (1, 2, 3)), "#Ref<a@h.3.2.1>"),
        (Fun(Atom("m"), 1, b""), "#Fun<m/1>"),
        (Record(Atom("m"), Atom("r"), ((Atom("x"), 1), (Atom("y"), [])), 1), "#m:r{x = 1,y = []}"),
        (1j, "#Python<1j>"),
        ([float("nan")], "[#Python<nan>]"),
    ],
)
def test_format(term, text):
    assert format_term(term) == text


def test_without_strings():
    assert format_term([[97, 98], b"ab", "é"], strings=False) == "[[97,98],<<97,98>>,<<195,169>>]"


def test_cut():
    assert format_term(list(range(300, 400)), most=10) == "[300,301,3..."
    assert format_term(b"a" * 10**7, most=8) == '<<"aaaaa...'
    assert format_term([1], most=10) == "[1]"


def test_huge_integers_are_shown_in_hexadecimal():
    assert format_term(-(1 << 20_000)) == "-16#1" + "0" * 5000
    assert parse_term(format_term(1 << 20_000)) == 1 << 20_000


class Money:
    def __erlang_term__(self):
        return (Atom("money"), 5)


def test_objects_show_their_term():
    assert format_term([Money()]) == "[{money,5}]"


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("1", 1),
        (" 1 . ", 1),
        ("-1", -1),
        ("- 1", -1),
        ("+1", 1),
        ("1_000", 1000),
        ("16#fF", 255),
        ("-2#101", -5),
        ("36#Zz", 35 * 36 + 35),
        ("1.5", 1.5),
        ("-1.5e-3", -0.0015),
        ("1_0.0", 10.0),
        ("$a", 97),
        ("$\\n", 10),
        ("$ ", 32),
        ("$\\x{1F600}", 0x1F600),
        ("$\\^A", 1),
        ("$\\101", 65),
        ("ok", Atom("ok")),
        ("a@b_C1", Atom("a@b_C1")),
        ("'hello world'", Atom("hello world")),
        ("'it\\'s'", Atom("it's")),
        ("'true'", True),
        ("nil", None),
        ("false", False),
        ("'Elixir.Foo'", Atom("Elixir.Foo")),
        ('""', []),
        ('"abc"', [97, 98, 99]),
        ('"ab" "c" % and\n"d"', [97, 98, 99, 100]),
        ('"\\x41\\s"', [65, 32]),
        ("<<>>", b""),
        ('<<"abc">>', b"abc"),
        ('<<"é">>', b"\xe9"),
        ('<<"é"/utf8>>', "é".encode()),
        ("<<1,2,3>>", b"\1\2\3"),
        ("<< 1 , 300 >>", b"\1\x2c"),
        ('<<1,"ab",-1>>', b"\1ab\xff"),
        ("<<5:3>>", BitString(b"\xa0", 3)),
        ("<<1:16,2:4,3:4>>", b"\0\1\x23"),
        ("<<1:9>>", BitString(b"\0\x80", 1)),
        ("{}", ()),
        ("{a,1}", (Atom("a"), 1)),
        ("[]", []),
        ("[a,1|[b]]", [Atom("a"), 1, Atom("b")]),
        ("[a|b]", ImproperList([Atom("a")], Atom("b"))),
        ("[a|[b|c]]", ImproperList([Atom("a"), Atom("b")], Atom("c"))),
        ("#{}", {}),
        ('#{a => 1, <<"b">> => #{}}', {Atom("a"): 1, b"b": {}}),
        ("#{1=>a,1.0=>b}", Map([(1, Atom("a")), (1.0, Atom("b"))])),
        ("#{a=>1,a=>2}", {Atom("a"): 2}),
        ("fun lists:map/2", Export(Atom("lists"), Atom("map"), 2)),
        ("function", Atom("function")),
    ],
)
def test_parse(text, term):
    parsed = parse_term(text)
    assert type(parsed) is type(term)
    assert exact_key(parsed) == exact_key(term)


@pytest.mark.parametrize(
    ("text", "position", "what"),
    [
        ("", 0, "expected a term"),
        ("  % only a comment", 18, "expected a term"),
        ("1 2", 2, "expected the end"),
        ("<0.1.2>", 0, "pids, ports, references and funs cannot be given as text"),
        ("{#Ref<0.1>}", 1, "pids, ports, references"),
        ("#Fun<a>", 0, "pids, ports, references"),
        ("Name", 0, "variables are no terms"),
        ("_", 0, "variables are no terms"),
        ("case", 0, "reserved word 'case'"),
        ("{a", 2, "expected ',' or '}'"),
        ("[a|b", 4, "expected ']'"),
        ("[|b]", 1, "expected a term"),
        ("[a,]", 3, "expected a term"),
        ("#{a}", 3, "expected '=>'"),
        ('"abc', 0, "never closed"),
        ("'abc", 0, "never closed"),
        ("$", 1, "expected a character"),
        ("3#9", 0, "not a number"),
        ("99#1", 0, "not a number"),
        ("1.0e999", 0, "out of range"),
        ("<<a>>", 2, "a segment is"),
        ('<<"ж">>', 2, "need /utf8"),
        ("<<1", 3, "expected ',' or '>>'"),
        ("'" + "a" * 256 + "'", 0, "at most 255"),
        ("fun a/1", 5, "expected ':'"),
        ("1 + 2", 2, "expected the end"),
        ("a:b()", 1, "expected the end"),
        ("$\\x{110000}", 1, "not the code of a character"),
    ],
)
def test_what_does_not_parse(text, position, what):
    with pytest.raises(TermSyntaxError) as caught:
        parse_term(text)
    assert what in str(caught.value)
    assert caught.value.position == position


def test_too_deep_to_parse():
    with pytest.raises(TermSyntaxError, match="too deep"):
        parse_term("[" * 100_000)


def test_there_and_back():
    term: Any = [
        Atom("a b"), -1, 1.0, 1e100, b"\xff\0", "é", [97], [1], {Atom("k"): (1,)}, ImproperList([1], 2), None, True,
        BitString(b"\1\xa0", 3), Map([(1, 2), (1.0, 3)]), Export(Atom("a"), Atom("b"), 1), (), [], {}, b'"\\\n\x7f\xa0',
        Atom("'\\\x00\x9f\u2028"),
    ]  # fmt: skip
    for strings in (True, False):
        assert exact_key(parse_term(format_term(term, strings=strings))) == exact_key(term)
