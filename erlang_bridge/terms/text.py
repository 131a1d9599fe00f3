"""Terms as text in Erlang's syntax, both ways.

`format_term` writes what ``io:format("~tp")`` writes, on one line; `parse_term` reads what a person types for a term:
literals only, no expressions and no variables. Pids, ports, references and funs can be written and not read: their
text does not say all that they are.

Source: Erlang Reference Manual, "Data Types"; stdlib ``io_lib.erl`` and ``erl_scan.erl``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from erlang_bridge.errors import TermSyntaxError, brief
from erlang_bridge.terms.atom import Atom
from erlang_bridge.terms.containers import BitString, ImproperList, Map, map_of
from erlang_bridge.terms.funs import Export, Fun, Record
from erlang_bridge.terms.identifiers import Pid, Port, Reference

_RESERVED: Final = frozenset({
    "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case", "catch", "cond", "div",
    "else", "end", "fun", "if", "let", "maybe", "not", "of", "or", "orelse", "receive", "rem", "try", "when", "xor",
})  # fmt: skip
_BARE_ATOM: Final = re.compile(r"[a-zß-öø-ÿ][A-Za-z0-9_@À-ÖØ-öø-ÿ]*")
_ESCAPES: Final = {
    "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r", "\x1b": "\\e", "\x7f": "\\d",
    "\\": "\\\\",
}  # fmt: skip
_LONGEST_STRING: Final = 1_000_000
_PRINTABLE: Final = frozenset((*range(8, 14), 27, *range(32, 127), *range(160, 256)))
"""Characters of a list that is shown as a string."""


# -- writing ----------------------------------------------------------------------------------


def format_term(term: Any, *, strings: bool = True, most: int | None = None) -> str:
    """`term` in Erlang's syntax, on one line.

    A Python value that has no term is shown as Python shows it, between ``#Python<`` and ``>``: this is also for logs.

    Args:
        strings: show printable lists and binaries as text (``~tp``), or as numbers (``~w``).
        most: cut to about this many characters, and end in ``...``.

    Example:
        >>> format_term({Atom("ok"): [b"abc", (None, 1.0)], b"k": [97, 98]})
        '#{ok => [<<"abc">>,{nil,1.0}],<<"k">> => "ab"}'
    """
    pieces: list[str] = []
    written = 0
    for piece in _pieces(term, strings, most):
        pieces.append(piece)
        written += len(piece)
        if most is not None and written > most:
            return "".join(pieces)[:most] + "..."
    return "".join(pieces)


def pid_text(pid: Pid, node: Atom | str | None) -> str:
    """A pid as the shell of `node` writes it: ``<0.12.0>`` for one of its own; others with the name of theirs."""
    own = node is not None and pid.node.name == str(node)
    return f"<0.{pid.id}.{pid.serial}>" if own else str(pid)


def _pieces(term: Any, strings: bool, most: int | None) -> Iterator[str]:
    stack: list[Iterator[Any]] = [iter((term,))]
    while stack:
        for item in stack[-1]:
            if type(item) is _Verbatim:
                yield item.text
                continue
            inside = _opened(item, strings, most)
            if isinstance(inside, str):
                yield inside
            else:
                stack.append(inside)
                break
        else:
            stack.pop()


class _Verbatim:
    """Text between terms."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


_COMMA: Final = _Verbatim(",")
_ARROW: Final = _Verbatim(" => ")


def _opened(item: Any, strings: bool, most: int | None) -> str | Iterator[Any]:
    """The text of a leaf; for a container what to write one after the other."""
    kind = type(item)
    if kind is Atom:
        return _atom_text(item.name)
    if item is None:
        return "nil"
    if kind is bool:
        return "true" if item else "false"
    if isinstance(item, int):
        return _integer_text(int(item))
    if isinstance(item, float):
        return _float_text(float(item))
    if isinstance(item, str):
        return _binary_text(item[:most].encode("utf-8", "surrogatepass"), strings)
    if isinstance(item, (bytes, bytearray, memoryview)):
        return _binary_text(bytes(item[:most]), strings)
    if isinstance(item, list):
        text = _string_text(item) if strings and item and len(item) <= _LONGEST_STRING else None
        return _separated("[", item, "]") if text is None else text
    if isinstance(item, tuple):
        return _separated("{", item, "}")
    if isinstance(item, dict):
        return _pairs_text("#{", item.items(), " => ")
    if kind is Map:
        return _pairs_text("#{", item.pairs(), " => ")
    if kind is ImproperList:
        return _chained(_separated("[", item.elements, "|"), iter((item.tail, _Verbatim("]"))))
    if kind is BitString:
        *whole, last = item.data
        return "<<" + "".join(f"{octet}," for octet in whole) + f"{last >> (8 - item.bits)}:{item.bits}>>"
    if kind is Record:
        return _pairs_text(f"#{_atom_text(item.module.name)}:{_atom_text(item.name.name)}{{", item.fields, " = ")
    if kind is Export:
        return f"fun {_atom_text(item.module.name)}:{_atom_text(item.function.name)}/{item.arity}"
    if kind in (Pid, Port, Reference, Fun):
        return str(item)
    to_term = getattr(kind, "__erlang_term__", None)
    if to_term is not None:
        return iter((to_term(item),))
    return f"#Python<{brief(item)}>"


def _separated(opening: str, items: Any, closing: str) -> Iterator[Any]:
    yield _Verbatim(opening)
    first = True
    for item in items:
        if not first:
            yield _COMMA
        first = False
        yield item
    yield _Verbatim(closing)


def _pairs_text(opening: str, pairs: Any, arrow: str) -> Iterator[Any]:
    yield _Verbatim(opening)
    between = _Verbatim(arrow)
    first = True
    for key, value in pairs:
        if not first:
            yield _COMMA
        first = False
        yield key
        yield between
        yield value
    yield _Verbatim("}")


def _chained(*parts: Iterator[Any]) -> Iterator[Any]:
    for part in parts:
        yield from part


def _quoted(text: str, quote: str) -> str:
    pieces = []
    for character in text:
        if character == quote:
            pieces.append("\\" + quote)
        elif character in _ESCAPES:
            pieces.append(_ESCAPES[character])
        elif character < " " or "\x7f" <= character < "\xa0":
            pieces.append(f"\\{ord(character):03o}")
        elif "\ud800" <= character <= "\udfff":
            pieces.append(f"\\x{{{ord(character):X}}}")
        else:
            pieces.append(character)
    return quote + "".join(pieces) + quote


def _atom_text(name: str) -> str:
    if _BARE_ATOM.fullmatch(name) and name not in _RESERVED:
        return name
    return _quoted(name, "'")


def _integer_text(value: int) -> str:
    # Python refuses to write integers of many digits at once, and takes quadratic time for it.
    if value.bit_length() <= 10_000:
        return str(value)
    return f"{'-' if value < 0 else ''}16#{abs(value):X}"


def _float_text(value: float) -> str:
    """The shortest text that reads back as `value`, with an exponent where that is shorter, as OTP chooses."""
    text = repr(value)
    if "n" in text:
        return f"#Python<{text}>"
    sign = "-" if text[0] == "-" else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # value = 0.digits * 10 ** place
    place = len(whole.lstrip("0")) + int(exponent or 0)
    if not whole.strip("0"):
        place -= len(fraction) - len(fraction.lstrip("0"))
    digits = digits.rstrip("0")
    if not digits:
        return sign + "0.0"
    with_exponent = f"{digits[0]}.{digits[1:] or '0'}e{place - 1}"
    if abs(value) >= 2.0**53:
        return sign + with_exponent
    if place <= 0:
        plain = f"0.{'0' * -place}{digits}"
    elif place >= len(digits):
        plain = f"{digits}{'0' * (place - len(digits))}.0"
    else:
        plain = f"{digits[:place]}.{digits[place:]}"
    return sign + (plain if len(plain) <= len(with_exponent) else with_exponent)


def _string_text(items: list[Any]) -> str | None:
    """A list of printable Latin-1 characters as a string, None for any other."""
    if not all(type(item) is int and item in _PRINTABLE for item in items):
        return None
    return _quoted("".join(map(chr, items)), '"')


def _binary_text(data: bytes, strings: bool) -> str:
    if strings and data:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            if _PRINTABLE.issuperset(data):
                return f"<<{_quoted(data.decode('latin-1'), chr(34))}>>"
        else:
            if all(ord(character) in _PRINTABLE or character.isprintable() for character in text):
                return f"<<{_quoted(text, chr(34))}{'' if text.isascii() else '/utf8'}>>"
    return f"<<{','.join(map(str, data))}>>"


# -- reading ----------------------------------------------------------------------------------

_BLANK: Final = re.compile(r"(?:\s+|%[^\n]*)*")
_INTEGER: Final = re.compile(r"[+-]?\s*(?:([0-9]{1,2})#([0-9A-Za-z]+(?:_[0-9A-Za-z]+)*)|([0-9]+(?:_[0-9]+)*))")
_FLOAT: Final = re.compile(r"[+-]?\s*[0-9]+(?:_[0-9]+)*\.[0-9]+(?:_[0-9]+)*(?:[eE][+-]?[0-9]+)?")
_WORD: Final = re.compile(r"[^\W\d_][\w@]*")
_EXPORT: Final = re.compile(r"fun\s+")
_ESCAPED: Final = {
    "b": "\b", "d": "\x7f", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "s": " ", "t": "\t", "v": "\v", "0": "\0",
}  # fmt: skip
_OCTAL: Final = re.compile(r"[0-7]{1,3}")
_HEX: Final = re.compile(r"x(?:\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{2}))")
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "nil": None}


def parse_term(text: str) -> Any:
    """The term that `text` says in Erlang's syntax, a full stop at its end allowed.

    ``"abc"`` is a list of integers, ``<<"abc">>`` and ``<<"abc"/utf8>>`` are binaries, ``nil`` is None.

    Raises:
        TermSyntaxError: it says no term, or one that cannot be written down (a pid, a fun).

    Example:
        >>> parse_term("{tx, [1|x], #{<<\\"k\\">> => 16#ff}}.")
        (Atom('tx'), ImproperList((1,), Atom('x')), {b'k': 255})
    """
    reader = _Reader(text)
    try:
        term = reader.term()
    except RecursionError:
        raise TermSyntaxError(text, reader.at, "nested too deep") from None
    reader.blanks()
    if text[reader.at : reader.at + 1] == ".":
        reader.at += 1
        reader.blanks()
    if reader.at != len(text):
        raise reader.error("expected the end of the term")
    return term


class _Reader:
    """A place in a text, moved on by what is read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def error(self, what: str, at: int | None = None) -> TermSyntaxError:
        return TermSyntaxError(self.text, self.at if at is None else at, what)

    def blanks(self) -> None:
        match = _BLANK.match(self.text, self.at)
        assert match is not None
        self.at = match.end()

    def next_is(self, token: str) -> bool:
        """Step over `token` if it comes next."""
        self.blanks()
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def expect(self, token: str, what: str) -> None:
        if not self.next_is(token):
            raise self.error(f"expected {what}")

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def term(self) -> Any:
        self.blanks()
        character = self.text[self.at : self.at + 1]
        if not character:
            raise self.error("expected a term")
        if character.isdecimal() or character in "+-":
            return self.number()
        if self.text.startswith("<<", self.at):
            return self.binary()
        if character in "#<" and re.match(r"#(Ref|Port|Fun)\b|<", self.text[self.at : self.at + 8]):
            raise self.error("pids, ports, references and funs cannot be given as text")
        if self.next_is("["):
            return self.list_or_improper()
        if self.next_is("{"):
            return tuple(self.sequence("}"))
        if self.next_is("#{"):
            return self.map()
        if character == '"':
            return self.strings()
        if character == "$":
            self.at += 1
            return ord(self.character())
        if (export := self.match(_EXPORT)) is not None:
            return self.export(export.start())
        return self.atom()

    def sequence(self, closing: str) -> list[Any]:
        """Terms up to `closing`, the opening one having been read."""
        items: list[Any] = []
        if self.next_is(closing):
            return items
        while True:
            items.append(self.term())
            if self.next_is(closing):
                return items
            self.expect(",", f"',' or {closing!r}")

    def list_or_improper(self) -> Any:
        items: list[Any] = []
        if self.next_is("]"):
            return items
        while True:
            items.append(self.term())
            if self.next_is("]"):
                return items
            if self.next_is("|"):
                tail = self.term()
                self.expect("]", "']'")
                if isinstance(tail, list):
                    return items + tail
                if isinstance(tail, ImproperList):
                    return ImproperList((*items, *tail.elements), tail.tail)
                return ImproperList(items, tail)
            self.expect(",", "',', '|' or ']'")

    def map(self) -> Any:
        pairs: list[tuple[Any, Any]] = []
        if self.next_is("}"):
            return {}
        while True:
            key = self.term()
            self.expect("=>", "'=>'")
            pairs.append((key, self.term()))
            if self.next_is("}"):
                return map_of(pairs)
            self.expect(",", "',' or '}'")

    def number(self) -> int | float:
        start = self.at
        if (real := self.match(_FLOAT)) is not None:
            value = float(re.sub(r"[\s_]", "", real[0]))
            if value in (float("inf"), float("-inf")):
                raise self.error("a float out of range", start)
            return value
        if (whole := self.match(_INTEGER)) is None:
            raise self.error("expected a number")
        base, digits, decimal = whole.groups()
        try:
            value = int((digits or decimal).replace("_", ""), int(base or 10))
        except ValueError as error:
            raise self.error(f"not a number: {error}", start) from None
        return -value if whole[0][0] == "-" else value

    def character(self) -> str:
        """One character, perhaps escaped."""
        if self.at >= len(self.text):
            raise self.error("expected a character")
        character = self.text[self.at]
        self.at += 1
        if character != "\\":
            return character
        start = self.at - 1
        if (octal := self.match(_OCTAL)) is not None:
            return chr(int(octal[0], 8))
        if (digits := self.match(_HEX)) is not None:
            code = int(digits[1] or digits[2], 16)
            if code > 0x10FFFF:
                raise self.error("not the code of a character", start)
            return chr(code)
        if self.at >= len(self.text):
            raise self.error("expected a character after '\\'")
        character = self.text[self.at]
        self.at += 1
        if character == "^" and self.at < len(self.text):
            self.at += 1
            return chr(ord(self.text[self.at - 1]) & 31)
        return _ESCAPED.get(character, character)

    def quoted(self, quote: str) -> str:
        start = self.at
        self.at += 1
        characters = []
        while not self.text.startswith(quote, self.at):
            if self.at >= len(self.text):
                raise self.error(f"a {quote} that is never closed", start)
            characters.append(self.character())
        self.at += 1
        return "".join(characters)

    def strings(self) -> list[int]:
        """String literals that follow each other are one."""
        codes: list[int] = []
        while self.text.startswith('"', self.at):
            codes += map(ord, self.quoted('"'))
            end = self.at
            self.blanks()
        self.at = end
        return codes

    def atom(self) -> Any:
        start = self.at
        if self.text.startswith("'", self.at):
            name = self.quoted("'")
        else:
            word = self.match(_WORD)
            name = word[0] if word else ""
            if not word or not (name[0].islower() and name[0] <= "\xff"):
                self.at = start
                variable = name or self.text.startswith("_", start)
                raise self.error("variables are no terms; quote an atom: 'Name'" if variable else "expected a term")
            if name in _RESERVED:
                self.at = start
                raise self.error(f"the reserved word {name!r}; quote it to say the atom")
        if name in _WORDS:
            return _WORDS[name]
        try:
            return Atom(name)
        except ValueError as error:
            raise self.error(str(error), start) from None

    def export(self, start: int) -> Export:
        """``fun m:f/a``, ``fun`` having been read."""
        names = []
        for separator in (":", "/"):
            value = self.atom()
            names.append(value if isinstance(value, Atom) else Atom("nil" if value is None else str(value).lower()))
            self.expect(separator, f"{separator!r}, as in 'fun m:f/1'")
        self.blanks()
        arity = self.number()
        if type(arity) is not int or not 0 <= arity <= 255:
            raise self.error("the arity of a function is 0 to 255", start)
        return Export(names[0], names[1], arity)

    # -- binaries --

    def binary(self) -> bytes | BitString:
        self.at += 2
        whole = bytearray()
        rest = bits = 0  # what does not fill a byte yet
        if not self.next_is(">>"):
            while True:
                segment, size = self.segment()
                rest = rest << size | segment
                bits = bits + size
                if bits >= 8:
                    odd = bits % 8
                    whole += (rest >> odd).to_bytes(bits // 8, "big")
                    rest &= (1 << odd) - 1
                    bits = odd
                if self.next_is(">>"):
                    break
                self.expect(",", "',' or '>>'")
        if bits:
            return BitString(bytes(whole) + bytes((rest << (8 - bits),)), bits)
        return bytes(whole)

    def segment(self) -> tuple[int, int]:
        """One segment as a number and its size in bits."""
        self.blanks()
        start = self.at
        if self.text.startswith('"', self.at):
            text = self.quoted('"')
            data = b""
            try:
                data = text.encode("utf-8" if self.next_is("/utf8") else "latin-1")
            except UnicodeEncodeError:
                raise self.error("characters over 255 need /utf8", start) from None
            return int.from_bytes(data, "big"), 8 * len(data)
        value = self.term()
        if type(value) is not int:
            raise self.error("a segment is an integer or a string", start)
        size = 8
        if self.next_is(":"):
            self.blanks()
            given = self.number()
            if type(given) is not int or not 0 <= given <= 0xFFFF:
                raise self.error("the size of a segment is 0 to 65535 bits", start)
            size = given
        return value & ((1 << size) - 1), size
