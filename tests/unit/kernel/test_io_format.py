"""`format_text` with what no BEAM can give it, and what must not break it. `tests/beam/test_io_format.py` has the rest."""

from __future__ import annotations

import doctest
import inspect
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from erlang_bridge import Atom, ImproperList, Map
from erlang_bridge.kernel import io_format
from erlang_bridge.kernel.io_format import FormatError, characters, format_text
from erlang_bridge.kernel.io_pretty import TermText


def test_examples_are_true() -> None:
    assert doctest.testmod(io_format).failed == 0


@pytest.mark.parametrize(
    ("format_string", "arguments", "text"),
    [
        ("no sequences", [], "no sequences"),
        (b"caf\xe9 ~p", [1], "café 1"),
        ([126, 112], [[97, 98]], '"ab"'),
        (Atom("~w"), [Atom("x")], "x"),
        ("~s|~ts|~p", ["é", "λ", "é"], 'é|λ|<<"Ã©">>'),
        ("~tp", ["é"], '<<"é"/utf8>>'),
        ("~p ~p ~p", [True, None, Atom("nil")], "true nil nil"),
        ("~p", (1,), "1"),
        ("~s", [ImproperList((104,), b"i")], "hi"),
        ("~10s|~-10s|~5s", ["right", "left", "too long"], "     right|left      |too l"),
        ("~5.10.0b", [7], "00007"),
        ("~.16b ~.16B ~.16# ~.2+", [255, 255, 255, 5], "ff FF 16#FF 2#101"),
        ("~x ~X", [255, "0x", -255, "0X"], "0x255 -0X255"),
        ("~i~w", [object(), 1], "1"),
        ("~*.*.*s", [5, 3, 42, "abcdef"], "**abc"),
        ("~3c|~-5.2c|~tc", [97, 98, 955], "aaa|bb   |λ"),
        ("~3n", [], "\n\n\n"),
        ("~~", [], "~"),
        ("~e ~f ~g", [3.0, 3.0, 3.0], "3.00000e+0 3.000000 3.00000"),
    ],
)
def test_what_is_written(format_string: Any, arguments: Any, text: str) -> None:
    assert format_text(format_string, arguments) == text


@pytest.mark.parametrize(
    ("format_string", "arguments", "words"),
    [
        ("~p", [], "~p: no argument left"),
        ("~p", [1, 2], "more arguments"),
        ("~", [], "ends within"),
        ("~5", [], "ends within"),
        ("~y", [1], "~y: no such control sequence"),
        ("~s", [1], "~s: expected text"),
        ("~s", [[955]], "~s: expected text"),
        ("~s", [Atom("λ")], "~s: 'λ' has characters beyond"),
        ("~s", [(1,)], "~s: expected text"),
        ("~b", [1.0], "~b: expected an integer"),
        ("~b", [True], "~b: expected an integer"),
        ("~.1b", [1], "a base is 2 to 36"),
        ("~f", [1], "~f: expected a float"),
        ("~f", [float("nan")], "~f: expected a float"),
        ("~.1e", [1.0], "precision is too small"),
        ("~P", [1, Atom("x")], "~P: expected an integer for the depth"),
        ("~-5p", [1], "aligned to the left"),
        ("~*p", [Atom("x"), 1], "expected an integer for *"),
        ("~.-5w", [1], "no such control sequence"),
        ("~2.5s", ["x"], "narrower than the precision"),
        ("~x", [1, 2], "~x: expected a prefix"),
        ("~tc", [0x110000], "is no character"),
        (object(), [], "expected a format string"),
        (["a"], [], "expected a format string"),
        ("~p", 5, "expected a list of arguments"),
    ],
)
def test_what_does_not_go_together_says_so(format_string: Any, arguments: Any, words: str) -> None:
    with pytest.raises(FormatError) as caught:
        format_text(format_string, arguments)
    assert words in str(caught.value)


def test_printable_range() -> None:
    greek = [955, 945]
    assert format_text("~tp", [greek]) == "[955,945]"
    assert format_text("~tp ~p", [greek, greek], unicode_range=True) == '"λα" [955,945]'
    assert format_text("~tp", ["λα".encode()], unicode_range=True) == '<<"λα"/utf8>>'


def test_marks_take_no_room() -> None:
    assert format_text("~5ts|", ["e\u0301λ"]) == "   e\u0301λ|"
    assert format_text("~2ts|", ["e\u0301λx"]) == "e\u0301λ|"


@pytest.mark.parametrize("sequence", ["~p", "~w"])
@pytest.mark.parametrize("depth", [140, 160, 20_000])
def test_deep_terms_are_written(sequence: str, depth: int) -> None:
    deep_list: Any = []
    deep_tuple: Any = ()
    for _ in range(depth):
        deep_list = [deep_list]
        deep_tuple = (deep_tuple,)
    written = "".join(format_text(sequence, [deep_list]).split())
    assert written == "[" * (depth + 1) + "]" * (depth + 1)
    written = "".join(format_text(sequence, [deep_tuple]).split())
    assert written == "{" * (depth + 1) + "}" * (depth + 1)


def test_a_deep_stack_is_no_obstacle() -> None:
    nested: Any = 1
    for _ in range(100):
        nested = [nested, nested] if len(str(nested)) < 100 else [nested]

    def from_deep_down(levels: int) -> str:
        return from_deep_down(levels - 1) if levels else format_text("~p ~w", [nested, nested])

    assert from_deep_down(sys.getrecursionlimit() - len(inspect.stack()) - 60).count("]") > 200


def test_time_grows_with_the_size() -> None:
    term = {number: [number, (Atom("key"), b"value")] for number in range(20_000)}
    text = format_text("~p", [term])
    assert text.count("=>") == 20_000


def test_python_values() -> None:
    assert format_text("~p", [bytearray(b"ab")]) == '<<"ab">>'
    assert format_text("~p", [SimpleNamespace(a=1)]).startswith("#Python<")
    assert format_text("~w", [Map([(1, 2), (1.0, 3)])]) == "#{1 => 2,1.0 => 3}"


def test_words_for_other_writers() -> None:
    assert TermText(unicode=False).write(Atom("λ")) == "'\\x{3BB}'"
    assert TermText().print([1] * 50, line_length=20).count("\n") == 6


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xc3\xa9", "é"),
        (b"\xff", "ÿ"),
        ([104, [105, [b"!"]], "?"], "hi!?"),
        ([], ""),
        (ImproperList((104,), b"i!"), "hi!"),
    ],
)
def test_characters(data: Any, text: str) -> None:
    assert characters(data) == text


@pytest.mark.parametrize("data", [5, [-1], [0x110000], Atom("x"), [(1,)], [1.0], ImproperList((104,), 105.0)])
def test_what_is_no_text(data: Any) -> None:
    with pytest.raises(FormatError):
        characters(data)
