"""``io_lib:format`` in Python: text from a format string and a list of terms.

::

    ~F.P.PadModC     F field width (left aligned where negative), P precision, Pad character; each may be *, which takes
                     it from the arguments. Mod: t Unicode, l no strings, k maps in the order of their keys

    ~w ~W   a term (to a depth)                  ~s      text: binary, character list, atom
    ~p ~P   a term laid out over lines           ~c      a character
    ~b ~B   an integer in base P                 ~e ~f ~g   a float
    ~x ~X   with a prefix from the arguments     ~n ~~   a new line, a tilde
    ~+ ~#   with its base before it              ~i      nothing; skips an argument

Source: stdlib ``io_lib_format.erl``; the manual of ``io``, ``format/3``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, NoReturn

from erlang_bridge.errors import BridgeError, brief
from erlang_bridge.kernel.io_pretty import TermText, atom_name, is_atom
from erlang_bridge.terms import ImproperList

DEFAULT_LINE_LENGTH: Final = 80
TAB: Final = 8
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class FormatError(BridgeError, ValueError):
    """A format string and its arguments do not go together (``badarg`` in OTP).

    Attributes:
        sequence: the control sequence at fault, such as ``~s``; empty where it is the whole.
    """

    def __init__(self, sequence: str, what: str) -> None:
        self.sequence = sequence
        super().__init__(f"{sequence}: {what}" if sequence else what)


def format_text(format_string: Any, arguments: Iterable[Any] = (), *, unicode_range: bool = False) -> str:
    """``io_lib:format(Format, Arguments)``.

    Args:
        format_string: `str`, or what Erlang allows: a list of characters, a binary (Latin-1), an atom.
        arguments: terms. A `str` among them is text for ``~s``, and the binary of its UTF-8 for the others.
        unicode_range: take all of Unicode's characters for printable, as a BEAM started with ``+pc unicode``.

    Raises:
        FormatError: too few arguments or too many, one of a wrong type, an unknown control sequence.

    Example:
        >>> format_text("~p ~5.2.0f ~ts~n", [[97, 98], 3.14159, b"x"])
        '"ab" 03.14 x\\n'
    """
    if not isinstance(arguments, (list, tuple)):
        raise FormatError("", f"expected a list of arguments, got {brief(arguments)}")
    text = ""
    for part in _scan(_format_characters(format_string), list(arguments)):
        text += part if isinstance(part, str) else part.text(text, unicode_range)
    return text


def characters(data: Any, *, latin1: bool = False) -> str:
    """Chardata as text: a binary, a deep list of binaries and code points, with a `str` anywhere.

    Args:
        latin1: binaries are Latin-1 and code points at most 255 (``iolist``); else binaries are UTF-8, or Latin-1 where
            they are not valid.

    Raises:
        FormatError: something else is in it.
    """
    if type(data) is int:
        raise FormatError("", f"expected text, got {data}")
    pieces: list[str] = []
    stack: list[Any] = [data]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif isinstance(item, bytes):
            pieces.append(item.decode("latin-1") if latin1 else _utf8(item))
        elif type(item) is int and 0 <= item <= (255 if latin1 else 0x10FFFF):
            pieces.append(chr(item))
        elif isinstance(item, list):
            stack.extend(reversed(item))
        elif type(item) is ImproperList:
            stack.append(item.tail)
            stack.extend(reversed(item.elements))
        else:
            raise FormatError("", f"expected text, got {brief(item)}")
    return "".join(pieces)


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _format_characters(format_string: Any) -> str:
    if isinstance(format_string, str):
        return format_string
    if is_atom(format_string):
        return atom_name(format_string)
    if isinstance(format_string, bytes):
        return format_string.decode("latin-1")
    if isinstance(format_string, list) and all(type(code) is int for code in format_string):
        return "".join(map(chr, format_string))
    raise FormatError("", f"expected a format string, got {brief(format_string)}")


def _column_after(text: str) -> int:
    """How many columns of the last line of `text` are taken."""
    column = 0
    for character in text[text.rfind("\n") + 1 :]:
        column = (column // TAB + 1) * TAB if character == "\t" else column + 1
    return column


# -- control sequences --------------------------------------------------------------------------


def _scan(text: str, arguments: list[Any]) -> Iterator[str | _Sequence]:
    waiting = iter(arguments)
    place = 0
    while True:
        tilde = text.find("~", place)
        if tilde < 0:
            break
        if tilde > place:
            yield text[place:tilde]
        sequence = _Reader(text, tilde, waiting)
        yield sequence.read()
        place = sequence.place
    if place < len(text):
        yield text[place:]
    if next(waiting, _NONE) is not _NONE:
        raise FormatError("", "more arguments than control sequences")


_NONE: Final = object()


class _Reader:
    """Reads one control sequence, which begins at `place`."""

    def __init__(self, text: str, place: int, arguments: Iterator[Any]) -> None:
        self._text = text
        self._start = place
        self._arguments = arguments
        self.place = place + 1

    def read(self) -> _Sequence:
        left = self._skip("-")
        width = self._number()
        if width is not None:
            left, width = left != (width < 0), abs(width)
        elif left:
            self._fail("a minus stands before a field width")
        precision = self._number() if self._skip(".") else None
        if precision is not None and precision < 0:
            self._fail("a precision is not negative")
        pad = " "
        if self._skip("."):
            pad = self._argument_character() if self._skip("*") else self._next()
        modifiers = ""
        while self._text[self.place : self.place + 1] in ("t", "l", "k", "K"):
            modifiers += self._next()
            if modifiers[-1] == "K":
                order = self._argument()
                modifiers += {"reversed": "r", "ordered": "k"}.get(getattr(order, "name", ""), "")
        control = self._next()
        count = _ARGUMENTS.get(control)
        if count is None:
            self._fail("no such control sequence")
        arguments = [self._argument() for _ in range(count)]
        return _Sequence(
            self._text[self._start : self.place], control, width, left, precision, pad, modifiers, arguments
        )

    def _fail(self, what: str) -> NoReturn:
        raise FormatError(self._text[self._start : self.place], what)

    def _next(self) -> str:
        character = self._text[self.place : self.place + 1]
        if not character:
            self._fail("the format string ends within a control sequence")
        self.place += 1
        return character

    def _skip(self, character: str) -> bool:
        found = self._text.startswith(character, self.place)
        self.place += found
        return found

    def _number(self) -> int | None:
        if self._skip("*"):
            argument = self._argument()
            if type(argument) is not int:
                self._fail(f"expected an integer for *, got {brief(argument)}")
            return argument
        start = self.place
        while self._text[self.place : self.place + 1] in _DECIMALS:
            self.place += 1
        return int(self._text[start : self.place]) if self.place > start else None

    def _argument(self) -> Any:
        argument = next(self._arguments, _NONE)
        if argument is _NONE:
            self._fail("no argument left for it")
        return argument

    def _argument_character(self) -> str:
        argument = next(self._arguments, ord("*"))
        if type(argument) is not int or not 0 <= argument <= 0x10FFFF:
            self._fail(f"expected a character to pad with, got {brief(argument)}")
        return chr(argument)


_DECIMALS: Final = tuple("0123456789")
_ARGUMENTS: Final = {
    **dict.fromkeys("wpsefgbBc+#i", 1),
    **dict.fromkeys("WPxX", 2),
    **dict.fromkeys("~n", 0),
}
"""How many arguments each control character takes."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    source: str
    control: str
    width: int | None
    left: bool
    precision: int | None
    pad: str
    modifiers: str
    arguments: list[Any]

    def text(self, before: str, unicode_range: bool) -> str:
        """What it writes behind the text `before`."""
        unicode = "t" in self.modifiers
        match self.control:
            case "~":
                return self._repeated("~")
            case "n":
                if self.left:
                    self._fail("a new line cannot be aligned to the left")
                return "\n" * (1 if self.width is None else self.width)
            case "i":
                return ""
            case "c":
                return self._character(unicode)
            case "s":
                return self._string(unicode)
            case "b" | "B" | "x" | "X" | "+" | "#":
                return self._integer()
            case "e" | "f" | "g":
                return self._float()
        depth = self._depth() if self.control in "WP" else -1
        words = TermText(
            unicode=unicode,
            strings="l" not in self.modifiers,
            unicode_range=unicode_range,
            maps_order="reversed" if "r" in self.modifiers else "ordered" if "k" in self.modifiers else None,
        )
        if self.control in "wW":
            return self._in_field(words.write(self.arguments[0], depth))
        if self.left:
            self._fail("a layout over lines cannot be aligned to the left")
        return words.print(
            self.arguments[0],
            column=self.precision if self.precision is not None else _column_after(before) + 1,
            line_length=self.width if self.width is not None else DEFAULT_LINE_LENGTH,
            depth=depth,
        )

    def _fail(self, what: str) -> NoReturn:
        raise FormatError(self.source, what)

    def _depth(self) -> int:
        depth = self.arguments[1]
        if type(depth) is not int:
            self._fail(f"expected an integer for the depth, got {brief(depth)}")
        return depth

    # -- fields ---------------------------------------------------------------------------------

    def _adjusted(self, text: str, blanks: int) -> str:
        return text + self.pad * blanks if self.left else self.pad * blanks + text

    def _in_field(self, text: str, precision: int | None = None) -> str:
        """A term or number in its field; stars where it is too long."""
        precision = self.precision if precision is None else precision
        width = self.width if self.width is not None else precision
        if width is None:
            return text
        most = min(len(text), width if precision is None else min(precision, width))
        if len(text) > most:
            return self._adjusted("*" * most, width - most)
        return self._adjusted(text, width - len(text))

    def _repeated(self, character: str) -> str:
        if self.precision is None:
            return character * (1 if self.width is None else self.width)
        if self.width is None:
            return character * self.precision
        if self.width < self.precision:
            self._fail("the field is narrower than the precision")
        return self._adjusted(character * self.precision, self.width - self.precision)

    def _character(self, unicode: bool) -> str:
        code = self.arguments[0]
        if type(code) is not int:
            self._fail(f"expected a character, got {brief(code)}")
        if not unicode:
            code &= 255
        if not 0 <= code <= 0x10FFFF:
            self._fail(f"{code} is no character")
        return self._repeated(chr(code))

    def _string(self, unicode: bool) -> str:
        argument = self.arguments[0]
        if is_atom(argument):
            text = atom_name(argument)
            if not unicode and any(character > "\xff" for character in text):
                self._fail(f"{text!r} has characters beyond Latin-1, which want ~ts")
        else:
            try:
                text = characters(argument, latin1=not unicode and not isinstance(argument, str))
            except FormatError as error:
                self._fail(str(error))
        width, precision = self.width, self.precision
        if width is None and precision is None:
            return text
        length = _columns(text)
        if width is None or precision is None or width == precision:
            most = precision if width is None else width
            assert most is not None
            if length > most:
                return _cut(text, most)
            if width is None:
                return text + self.pad * (most - length)
            return self._adjusted(text, most - length)
        if width < precision:
            self._fail("the field is narrower than the precision")
        if length > precision:
            text = _cut(text, precision)
        return self._adjusted(text + self.pad * max(precision - length, 0), width - precision)

    # -- numbers --------------------------------------------------------------------------------

    def _integer(self) -> str:
        value = self.arguments[0]
        if type(value) is not int:
            self._fail(f"expected an integer, got {brief(value)}")
        base = 10 if self.precision is None else self.precision
        if not 2 <= base <= 36:
            self._fail(f"a base is 2 to 36, got {base}")
        digits = _in_base(abs(value), base)
        if self.control in "bx+":
            digits = digits.lower()
        prefix = ""
        if self.control in "xX":
            prefix = self._prefix(self.arguments[1])
        elif self.control in "+#":
            prefix = f"{base}#"
        text = ("-" if value < 0 else "") + prefix + digits
        return self._adjusted_number(text)

    def _adjusted_number(self, text: str) -> str:
        if self.width is None:
            return text
        if len(text) > self.width:
            return "*" * self.width
        return self._adjusted(text, self.width - len(text))

    def _prefix(self, prefix: Any) -> str:
        if is_atom(prefix):
            return atom_name(prefix)
        if not isinstance(prefix, (list, str)):
            self._fail(f"expected a prefix, got {brief(prefix)}")
        return characters(prefix)

    def _float(self) -> str:
        value = self.arguments[0]
        if type(value) is not float or not isfinite(value):
            self._fail(f"expected a float, got {brief(value)}")
        precision = 6 if self.precision is None else self.precision
        if precision < (2 if self.control == "e" else 1):
            self._fail("the precision is too small")
        text = _FLOAT_FORMS[self.control](value, precision)
        return text if self.width is None else self._adjusted_number(text)


def _in_base(value: int, base: int) -> str:
    if base == 10 and value.bit_length() < 10_000:
        return str(value)
    if value == 0:
        return "0"
    if base == 16:
        return f"{value:X}"
    digits = []
    while value:
        value, digit = divmod(value, base)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _columns(text: str) -> int:
    """Length of a text as OTP counts it: characters with the marks on them."""
    if text.isascii():
        return len(text)
    if all(character <= "\xff" for character in text):
        return len(text)
    return sum(1 for character in text if not _is_mark(character))


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me")


def _cut(text: str, most: int) -> str:
    if text.isascii():
        return text[:most]
    seen = 0
    for place, character in enumerate(text):
        if not _is_mark(character):
            seen += 1
            if seen > most:
                return text[:place]
    return text


# -- floats -------------------------------------------------------------------------------------


def _rounded(value: float, before: int | None, decimals: int) -> tuple[str, str, int]:
    """The digits before and after the point, and the exponent they stand for.

    Rounds the 21 digits that OTP starts from, half up, which may differ from what Python prints in the last one.

    Args:
        before: how many digits stand before the point; None: as many as there are, and the exponent is 0.
    """
    mantissa, _, exponent_text = f"{abs(value):.20e}".partition("e")
    digits = mantissa.replace(".", "")
    exponent = int(exponent_text)
    if before is None:
        if exponent < 0:
            digits, whole = "0" * -exponent + digits, 1
        else:
            whole = exponent + 1
        exponent = 0
    else:
        whole = before
    wanted = whole + decimals
    number = int(digits[:wanted].ljust(wanted, "0"))
    if len(digits) > wanted and digits[wanted] >= "5":
        number += 1
    text = str(number).rjust(wanted, "0")
    if len(text) > wanted and before is not None:
        exponent += 1
        text = text[:-1]
    whole = len(text) - decimals
    return text[:whole], text[whole:], exponent


def _sign(value: float) -> str:
    return "-" if str(value)[0] == "-" else ""


def _float_e(value: float, precision: int) -> str:
    whole, decimals, exponent = _rounded(value, 1, precision - 1)
    return f"{_sign(value)}{whole}.{decimals}e{'+' if exponent >= 0 else ''}{exponent}"


def _float_f(value: float, precision: int) -> str:
    whole, decimals, _ = _rounded(value, None, precision)
    return f"{_sign(value)}{whole}.{decimals}"


def _float_g(value: float, precision: int) -> str:
    size = abs(value)
    exponents = ((1.0e-1, -2), (1.0, -1), (1.0e1, 0), (1.0e2, 1), (1.0e3, 2), (1.0e4, 3))
    exponent = next((place for limit, place in exponents if size < limit), None)
    if exponent is not None and ((precision <= 1 and exponent == -1) or precision - 1 > exponent >= -1):
        return _float_f(value, precision - 1 - exponent)
    return _float_e(value, max(precision, 2))


_FLOAT_FORMS: Final = {"e": _float_e, "f": _float_f, "g": _float_g}
