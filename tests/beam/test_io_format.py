"""Our ``io_lib:format`` beside the real one, on many formats and terms."""

from __future__ import annotations

import random
from typing import Any

import pytest

from erlang_bridge import Atom, BitString, Export, ImproperList, Map
from erlang_bridge.kernel.io_format import FormatError, format_text
from erlang_bridge.testing.beams import Beam

BAD = Atom("bad")

FORMAT_THERE = """
    [{F, A, try unicode:characters_to_binary(io_lib:format(F, A)) of
                Text when is_binary(Text) -> Text;
                _ -> bad
            catch
                error:_ -> bad
            end} || {F, A} <- Cases]
"""
"""The arguments come back too: a map is printed in the order that it has there."""

WORDS: list[Any] = [Atom(name) for name in ("a", "ok", "hello world", "Été", "été", "λ", "", "a@b_C9", "it's", "after")]
WORDS += [True, False, None, Atom("a_rather_long_atom_name_that_fills_its_line")]
TEXTS = ["abc xyz", "ab\n\t\"\\'", "aé\xa0ÿ", "aλ→", "ab\x01\x7f", "abcdefgh" * 3]
# No 0.0: with -0.0 it makes two keys of a map here, and one key twice, which is no map, before OTP 27.
FLOATS = [-0.0, 1.0, 0.1, 2.5, 3.14159265, 1.005, 0.05, 9.9999999, 99999.99, 123456.789, 1e10, 1e22, 1e-7, 1e-300]
FLOATS += [1.5e300, 1.0e5, 12345678901234567.0]


class Maker:
    """Makes formats with fitting, and now and then unfitting, arguments."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def text(self, longest: int) -> list[int]:
        letters = self._rng.choice(TEXTS)
        return [ord(self._rng.choice(letters)) for _ in range(self._rng.randrange(longest + 1))]

    def term(self, depth: int) -> Any:
        rng = self._rng
        kind = rng.randrange(20)
        if depth == 0 or kind < 7:
            return self.leaf()
        if kind < 11:
            return [self.term(depth - 1) for _ in range(rng.choice([0, 1, 2, 3, 5, 8, 20]))]
        if kind < 17:
            elements = tuple(self.term(depth - 1) for _ in range(rng.choice([0, 1, 2, 3, 4, 9])))
            return (rng.choice(WORDS), *elements) if kind < 14 else elements
        if kind < 19:
            return Map((self.term(min(depth - 1, 1)), self.term(depth - 1)) for _ in range(rng.choice([0, 1, 2, 3, 5])))
        tail = rng.choice([Atom("x"), 1, b"tail", (1, 2), None])
        return ImproperList([self.term(depth - 1) for _ in range(rng.choice([1, 2, 4]))], tail)

    def leaf(self) -> Any:
        rng = self._rng
        match rng.randrange(9):
            case 0:
                return rng.choice(WORDS)
            case 1:
                return rng.randrange(-5, 300)
            case 2:
                return rng.choice([0, 2**64, -(2**70), 10**30])
            case 3:
                return rng.choice(FLOATS)
            case 4:
                return "".join(map(chr, self.text(30)))
            case 5:
                # Never valid text: releases differ in how they tell.
                return bytes([0, *rng.randbytes(rng.randrange(40))])
            case 6:
                return self.text(60)
            case 7:
                return BitString(rng.randbytes(rng.randrange(1, 30)), rng.randrange(1, 8))
        return Export(Atom("lists"), Atom("map"), 2)

    def sequence(self) -> tuple[str, list[Any]]:
        rng = self._rng
        arguments: list[Any] = []
        width = rng.choice(["", "", "", "20", "-20", "5", "0", "*", "-3", "60", "120"])
        precision = rng.choice(["", "", ".", ".5", ".2", ".0", ".10", ".*", ".36", ".16"])
        pad = rng.choice(["", "", ".*", ".x"]) if precision else ""
        control = rng.choice("wWpPpppsssccbBxX+#efg~nieeffgg")
        if control in "pP" and rng.random() < 0.7:
            width, precision, pad = rng.choice(["", "", "40", "20", "0", "100"]), "", ""
        if width == "*":
            arguments.append(rng.randrange(-5, 50))
        if precision == ".*":
            arguments.append(rng.randrange(20))
        if pad == ".*":
            arguments.append(ord(rng.choice("x-0")))
        modifiers = rng.choice(["", "", "t", "l", "tl"])
        return f"~{width}{precision}{pad}{modifiers}{control}", arguments + self.arguments(control)

    def arguments(self, control: str) -> list[Any]:
        rng = self._rng
        match control:
            case "w" | "p" | "i":
                return [self.term(rng.randrange(5))]
            case "W" | "P":
                return [self.term(rng.randrange(5)), rng.choice([-1, 0, 1, 2, 3, 4, 5, 8, 15, 30])]
            case "s":
                texts = [
                    self.text(25),
                    rng.choice(WORDS),
                    "été λ",
                    b"\xff\xfe",
                    [b"ab", [99, [100]], b"e"],
                    self.leaf(),
                ]
                return [rng.choice(texts)]
            case "c":
                return [rng.choice([97, 955, 300, 233])]
            case "b" | "B" | "+" | "#":
                return [rng.choice([0, 1, -1, 255, 2**70, -12345, Atom("x")])]
            case "x" | "X":
                return [rng.choice([0, 1, -1, 255, 2**70]), rng.choice([[48, 120], Atom("0x"), b"0x"])]
            case "e" | "f" | "g":
                return [rng.choice([*FLOATS, 0.0, 1])]
        return []

    def case(self) -> tuple[list[int], list[Any]]:
        format_string, arguments = "", []
        for _ in range(self._rng.choice([1, 1, 2, 3])):
            format_string += self._rng.choice(["", "abc ", "x\ty ", "\n", "é"])
            sequence, its_arguments = self.sequence()
            format_string += sequence
            arguments += its_arguments
        if self._rng.random() < 0.02:
            arguments = arguments[:-1]
        return [ord(character) for character in format_string], arguments


def check(beam: Beam, cases: list[tuple[Any, list[Any]]]) -> int:
    """Compare; the number of cases that are no error."""
    good = 0
    for format_string, arguments, there in beam.eval(FORMAT_THERE, Cases=cases, timeout_s=30):
        try:
            here: Any = format_text(format_string, arguments).encode()
        except FormatError:
            here = BAD
        shown = f"io_lib:format({''.join(map(chr, format_string))!r}, {arguments!r})"
        if here != there:
            pytest.fail(f"{shown}\nthere: {there!r}\nhere:  {here!r}")
        good += there is not BAD
    return good


def test_many_formats(shared_beam: Beam, rng: random.Random) -> None:
    maker = Maker(rng)
    assert check(shared_beam, [maker.case() for _ in range(1000)]) > 500


def test_deep_layouts(shared_beam: Beam, rng: random.Random) -> None:
    maker = Maker(rng)
    formats = ["~p", "~tp", "~lp", "~40p", "~20tp", "~0p", "~.10p", "abc ~p ~p"]
    cases = []
    for number in range(200):
        chosen = formats[number % len(formats)]
        terms = [maker.term(5) for _ in range(chosen.count("p"))]
        cases.append(([ord(character) for character in chosen], terms))
    assert check(shared_beam, cases) == 200


def test_depths(shared_beam: Beam, rng: random.Random) -> None:
    maker = Maker(rng)
    cases = []
    for number in range(150):
        term, depth = maker.term(5), number % 15
        cases += [([ord(character) for character in text], [term, depth]) for text in ("~P", "~tP", "~W")]
    assert check(shared_beam, cases) == 450


@pytest.mark.otp(minimum=26)
def test_maps_in_order(shared_beam: Beam) -> None:
    keys = [3, 1, 2.5, Atom("b"), Atom("a"), (1, 2), (9,), [2], [1, 3], [], b"z", b"a", "é", {1: 2}, None, True]
    there = shared_beam.eval(
        '[list_to_binary(io_lib:format("~ktp", [M])), list_to_binary(io_lib:format("~Kw", [reversed, M]))]',
        M=Map((key, number) for number, key in enumerate(keys)),
    )
    pairs = Map((key, number) for number, key in enumerate(keys))
    assert format_text("~ktp", [pairs]).encode("latin-1") == there[0]
    assert format_text("~Kw", [Atom("reversed"), pairs]).encode("latin-1") == there[1]
