"""Terms over several lines, as ``io:format``'s ``~p`` lays them out, and ``~w`` on one.

A term becomes a tree of pieces that know how long they are on one line (`_Piece`); the layout then walks the tree and
breaks the line where a piece does not fit. The rules, and where they are odd, are OTP's, so that a report printed here
looks as it does in a BEAM's log:

* what fits into the rest of the line stands on it;
* leaves fill a line one after the other, a container that does not fit starts a new one;
* the elements of a tuple that begins with an atom stand behind that atom while there is room, else they are indented
  by 4, or by 1.

Source: stdlib ``io_lib_pretty.erl`` and ``io_lib.erl``, ``write/2``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from erlang_bridge.terms import Atom, BitString, ImproperList, Map, Pid, Port, Reference
from erlang_bridge.terms.order import key_order
from erlang_bridge.terms.text import format_term

MAX_NESTING: Final = 150
"""Terms nested deeper are written on one line."""

CHARACTERS_PER_DEPTH: Final = 4
"""How many characters of a binary count as one level of ``~P``'s depth."""

_LATIN1_PRINTABLE: Final = frozenset((*range(8, 14), 27, *range(32, 127), *range(160, 256)))
_ESCAPES: Final = {
    8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 27: "\\e", 127: "\\d", 92: "\\\\",
}  # fmt: skip

_LEAF: Final = 0
_BYTES: Final = 1
_LIST: Final = 2
_TUPLE: Final = 3
_TAGGED_TUPLE: Final = 4
_MAP: Final = 5
_PAIR: Final = 6
_BRACKETS: Final = {
    _LIST: ("[", "]", "|"),
    _TUPLE: ("{", "}", ","),
    _TAGGED_TUPLE: ("{", "}", ","),
    _MAP: ("#{", "}", ","),
}


class _Piece:
    """A part of a term.

    Attributes:
        kind: one of the constants above.
        length: in characters, on one line.
        content: the text of a leaf; else the pieces inside, of `_BYTES` the texts of its numbers.
        tail: what follows the last element after a bar: an improper list's tail, or dots; None for neither.
    """

    __slots__ = ("content", "kind", "length", "tail")

    def __init__(self, kind: int, length: int, content: Any, tail: _Piece | None = None) -> None:
        self.kind = kind
        self.length = length
        self.content = content
        self.tail = tail


_DOTS: Final = _Piece(_LEAF, 3, "...")


class TermText:
    """How to write terms.

    Args:
        unicode: ``~tp`` and ``~tw``; without it atoms and lists show no character above 255.
        strings: show printable lists and binaries as text.
        unicode_range: ``~tp`` takes all of Unicode's characters for printable, as ``erl +pc unicode`` does; else
            Latin-1's.
        maps_order: ``"ordered"`` or ``"reversed"`` sorts the keys of maps; None leaves them as they are.
    """

    def __init__(
        self,
        *,
        unicode: bool = True,
        strings: bool = True,
        unicode_range: bool = False,
        maps_order: str | None = None,
    ) -> None:
        self._unicode = unicode
        self._strings = strings
        self._unicode_range = unicode and unicode_range
        self._maps_order = maps_order

    def write(self, term: Any, depth: int = -1) -> str:
        """`term` on one line, as ``~w``; parts deeper than `depth`, if that is not negative, as ``...``."""
        if depth == 0:
            return "..."
        if _nesting(term) > MAX_NESTING:
            return format_term(term, strings=False)
        try:
            return self._written(term, depth)
        except RecursionError:  # called from deep down
            return format_term(term, strings=False)

    def print(self, term: Any, *, column: int = 1, line_length: int = 80, depth: int = -1) -> str:
        """`term` as ``~p``.

        Args:
            column: where on its line it begins, from 1.
            line_length: 0 allows no line breaks.
            depth: as for `write`.
        """
        if depth == 0:
            return "..."
        if _nesting(term) > MAX_NESTING:
            return format_term(term, strings=self._strings)
        column = max(column, 1)
        try:
            piece = self._piece(term, depth)
            if piece.kind == _LEAF or line_length == 0 or piece.length < line_length - column:
                return _one_line(piece)
            return _Layout(line_length, piece, column).text(piece, column, column - 1, 0, 0)
        except RecursionError:  # called from deep down
            return format_term(term, strings=self._strings)

    # -- one line -------------------------------------------------------------------------------

    def _written(self, term: Any, depth: int) -> str:
        term = _plain(term)
        if isinstance(term, tuple):
            elements, cut = self._all_written(term, depth)
            return f"{{{','.join(elements)}{_behind(elements, ',') if cut else ''}}}"
        if isinstance(term, list):
            elements, cut = self._all_written(term, depth)
            return f"[{','.join(elements)}{_behind(elements, '|') if cut else ''}]"
        if type(term) is ImproperList:
            elements, cut = self._all_written(term.elements, depth)
            left = depth - len(elements)
            tail = _behind(elements, "|") if cut or left == 1 else "|" + self._written(term.tail, left - 1)
            return f"[{','.join(elements)}{tail}]"
        if isinstance(term, (dict, Map)):
            return f"#{{{','.join(self._pairs_written(term, depth))}}}"
        if isinstance(term, (bytes, BitString)):
            return f"<<{''.join(_numbers(term, depth))}>>"
        return self._leaf(term)

    def _all_written(self, elements: Iterable[Any], depth: int) -> tuple[list[str], bool]:
        """The elements written, and whether `depth` has left out some."""
        shown: list[str] = []
        for element in elements:
            if depth == 1:
                return shown, True
            depth -= 1
            shown.append(self._written(element, depth))
        return shown, False

    def _pairs_written(self, term: dict[Any, Any] | Map, depth: int) -> Iterator[str]:
        if depth == 1:
            return
        left = depth
        for key, value in self._pairs(term):
            if left == 1:
                break
            left -= 1
            yield f"{self._written(key, depth - 1)} => {self._written(value, depth - 1)}"
        if left == 1:
            # As OTP does, also where none is left out.
            yield "..."

    # -- pieces ---------------------------------------------------------------------------------

    def _piece(self, term: Any, depth: int) -> _Piece:
        term = _plain(term)
        if isinstance(term, list):
            return self._list(term, _DOTS, depth)
        if type(term) is ImproperList:
            return self._list(term.elements, term.tail, depth)
        if isinstance(term, tuple):
            if not term:
                return _leaf("{}")
            if depth == 1:
                return _leaf("{...}")
            tagged = len(term) > 1 and is_atom(term[0])
            elements, tail = self._elements(term, depth)
            return _container(_TAGGED_TUPLE if tagged else _TUPLE, 2, elements, tail)
        if isinstance(term, (dict, Map)):
            if not term:
                return _leaf("#{}")
            if depth == 1:
                return _leaf("#{...}")
            return self._map(term, depth)
        if isinstance(term, (bytes, BitString)):
            return self._binary(term, depth)
        return _leaf(self._leaf(term))

    def _list(self, elements: list[Any] | tuple[Any, ...], last_tail: Any, depth: int) -> _Piece:
        if not elements:
            return _leaf("[]")
        if last_tail is _DOTS and depth != 1 and self._strings and self._is_printable(elements):
            return _leaf(self._quoted(elements))
        if depth == 1:
            return _container(_LIST, 2, [], _DOTS)
        pieces, tail = self._elements(elements, depth)
        if tail is None and last_tail is not _DOTS:
            left = depth - len(elements)
            tail = _DOTS if left == 1 else self._piece(last_tail, left - 1)
        return _container(_LIST, 2, pieces, tail)

    def _elements(self, elements: Iterable[Any], depth: int) -> tuple[list[_Piece], _Piece | None]:
        pieces: list[_Piece] = []
        for element in elements:
            if depth == 1:
                return pieces, _DOTS
            depth -= 1
            pieces.append(self._piece(element, depth))
        return pieces, None

    def _map(self, term: dict[Any, Any] | Map, depth: int) -> _Piece:
        pairs: list[_Piece] = []
        left = depth
        for key, value in self._pairs(term):
            if left == 1:
                return _container(_MAP, 3, pairs, _DOTS)
            left -= 1
            key_piece, value_piece = self._piece(key, depth - 1), self._piece(value, depth - 1)
            pairs.append(_Piece(_PAIR, key_piece.length + 4 + value_piece.length, (key_piece, value_piece)))
        return _container(_MAP, 3, pairs, None)

    def _pairs(self, term: dict[Any, Any] | Map) -> Iterable[tuple[Any, Any]]:
        pairs = term.pairs() if isinstance(term, Map) else term.items()
        if self._maps_order is None:
            return pairs
        return sorted(pairs, key=lambda pair: key_order(pair[0]), reverse=self._maps_order == "reversed")

    def _binary(self, term: bytes | BitString, depth: int) -> _Piece:
        if isinstance(term, bytes) and not term:
            return _leaf("<<>>")
        if depth == 1:
            return _leaf("<<...>>")
        if self._strings and isinstance(term, bytes):
            text = self._printable_binary(term, depth - 1)
            if text is not None:
                return _leaf(f"<<{text}>>")
        numbers = _numbers(term, depth)
        return _Piece(_BYTES, 4 + sum(map(len, numbers)), numbers)

    def _printable_binary(self, data: bytes, depth: int) -> str | None:
        """A binary as text, with dots where `depth` cuts it; None where too little of it is printable."""
        most = min(CHARACTERS_PER_DEPTH * depth, len(data)) if depth >= 0 else len(data)
        if self._unicode:
            text = _valid_start(data, most)
            if text is not None:
                shown = 0
                while shown < len(text) and self._is_printable_character(ord(text[shown])):
                    shown += 1
                prefix = text[:shown]
                size = len(prefix.encode())
                suffix = "" if size == len(prefix) else "/utf8"
                quoted = _quote(map(ord, prefix), 34)
                if size == len(data):
                    return quoted + suffix
                return f"{quoted}{suffix}..." if 0 < depth <= shown else None
        shown = 0
        while shown < most and data[shown] in _LATIN1_PRINTABLE:
            shown += 1
        quoted = _quote(data[:shown], 34)
        if shown == len(data):
            return quoted
        return f"{quoted}..." if 0 < depth <= shown else None

    # -- leaves ---------------------------------------------------------------------------------

    def _leaf(self, term: Any) -> str:
        text = format_term(term, strings=False)
        if self._unicode or text.isascii() or not is_atom(term):
            return text
        return "".join(character if character <= "\xff" else f"\\x{{{ord(character):X}}}" for character in text)

    def _is_printable(self, elements: Iterable[Any]) -> bool:
        return all(type(item) is int and self._is_printable_character(item) for item in elements)

    def _is_printable_character(self, code: int) -> bool:
        if code < 256 or not self._unicode_range:
            return code in _LATIN1_PRINTABLE
        return code < 0xD800 or 0xDFFF < code < 0xFFFE or 0xFFFF < code <= 0x10FFFF

    def _quoted(self, codes: Iterable[int]) -> str:
        return _quote(codes, 34)


def _quote(codes: Iterable[int], quote: int) -> str:
    pieces = [chr(quote)]
    for code in codes:
        if code == quote:
            pieces.append("\\" + chr(quote))
        elif code in _ESCAPES:
            pieces.append(_ESCAPES[code])
        elif code < 32 or 127 <= code < 160:
            pieces.append(f"\\{code:03o}")
        else:
            pieces.append(chr(code))
    pieces.append(chr(quote))
    return "".join(pieces)


def _valid_start(data: bytes, most: int) -> str | None:
    """The first `most` characters of UTF-8 text; None if these are not valid."""
    try:
        return data.decode()[:most]
    except UnicodeDecodeError as error:
        text = data[: error.start].decode()
    return text[:most] if len(text) >= most else None


def _plain(term: Any) -> Any:
    """The term that a Python value stands for, as far as its kind matters here."""
    kind = type(term)
    if kind in _TERMS:
        return term
    to_term = getattr(kind, "__erlang_term__", None)
    if to_term is not None:
        return _plain(to_term(term))
    if isinstance(term, str):
        return term.encode("utf-8", "surrogateescape")
    if isinstance(term, (bytearray, memoryview)):
        return bytes(term)
    return term


_TERMS: Final = frozenset(
    (Atom, bool, type(None), int, float, bytes, list, tuple, dict, BitString, ImproperList, Map, Pid, Port, Reference)
)


def is_atom(term: Any) -> bool:
    """Whether a term is an atom, ``true``, ``false`` and ``nil`` included."""
    return term is None or type(term) in (Atom, bool)


def _nesting(term: Any) -> int:
    """How deep `term` is nested, counted up to a little more than `MAX_NESTING`."""
    level: list[Any] = [term]
    depth = 0
    while level and depth <= MAX_NESTING:
        depth += 1
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is list or kind is tuple:
                below += item
            elif kind is dict:
                below += item.keys()
                below += item.values()
            elif kind is Map:
                for pair in item.pairs():
                    below += pair
            elif kind is ImproperList:
                below += item.elements
                below.append(item.tail)
            elif isinstance(item, (list, tuple)):
                below += item
            elif isinstance(item, dict):
                below += item.values()
        level = below
    return depth


def _behind(elements: list[str], separator: str) -> str:
    return f"{separator}..." if elements else "..."


def _leaf(text: str) -> _Piece:
    return _Piece(_LEAF, len(text), text)


def _container(kind: int, brackets: int, pieces: list[_Piece], tail: _Piece | None) -> _Piece:
    length = brackets + sum(piece.length for piece in pieces) + max(len(pieces) - 1, 0)
    if tail is not None:
        length += tail.length + (1 if pieces else 0)
    return _Piece(kind, length, pieces, tail)


def _numbers(term: bytes | BitString, depth: int) -> list[str]:
    """A bit string as the texts between ``<<`` and ``>>``, each but the last with its comma."""
    if isinstance(term, bytes):
        texts = [str(octet) for octet in term]
    else:
        *whole, last = term.data
        texts = [*map(str, whole), f"{last >> (8 - term.bits)}:{term.bits}"]
    if 0 < depth <= len(texts):
        texts[depth - 1 :] = ["..."]
    texts[:-1] = [f"{text}," for text in texts[:-1]]
    return texts


def _one_line(piece: _Piece) -> str:
    kind = piece.kind
    if kind == _LEAF:
        return str(piece.content)
    if kind == _PAIR:
        key, value = piece.content
        return f"{_one_line(key)} => {_one_line(value)}"
    if kind == _BYTES:
        return f"<<{''.join(piece.content)}>>"
    opening, closing, bar = _BRACKETS[kind]
    text = ",".join([_one_line(inner) for inner in piece.content])
    if piece.tail is not None:
        text += (bar if text else "") + _one_line(piece.tail)
    return opening + text + closing


class _NoRoom(Exception):
    """The indentation tried leaves too little of the line."""


class _Layout:
    """Lays out one term.

    The methods share their arguments: `column` is where a piece begins, from 1; `indentation` the blanks before a new
    line inside it; `closing` how many brackets come right behind it; `written` how much of the term stands on this line
    already.
    """

    def __init__(self, line_length: int, whole: _Piece, column: int) -> None:
        self._line_length = line_length
        self._most = whole.length
        self._tag_indentation = 1
        for tried in (-1, 4):
            try:
                self._try(whole, tried, column, 0, 0)
            except _NoRoom:
                continue
            self._tag_indentation = tried
            break

    def _fits(self, length: int, column: int, closing: int, written: int) -> bool:
        return length < self._line_length - column - closing and length + written + closing <= self._most

    def text(self, piece: _Piece, column: int, indentation: int, closing: int, written: int) -> str:
        """`piece` over as many lines as it needs."""
        kind = piece.kind
        if kind == _LEAF or self._fits(piece.length, column, closing, written):
            return _one_line(piece)
        if kind in (_LIST, _TUPLE):
            opening, end, bar = _BRACKETS[kind]
            return f"{opening}{self._elements(piece, column + 1, indentation + 1, closing, bar, written + 1)}{end}"
        if kind == _TAGGED_TUPLE:
            return f"{{{self._tagged(piece, column, indentation, closing, written + 1)}}}"
        if kind == _MAP:
            return f"#{{{self._map(piece, column + 2, indentation + 2, closing, written + 1)}}}"
        return self._bytes(piece.content, column + 2, indentation + 2, closing, written)

    def _tagged(self, piece: _Piece, column: int, indentation: int, closing: int, written: int) -> str:
        if not piece.content:
            return "..."
        tag, *others = piece.content
        behind_tag = tag.length + 2
        if 0 < self._tag_indentation < behind_tag:
            by = self._tag_indentation
            tag_text: str = tag.content
            return tag_text + self._tail(
                others,
                piece.tail,
                column + by,
                column + behind_tag,
                indentation + by,
                closing,
                ",",
                written + tag.length,
            )
        rest = _Piece(_TUPLE, 0, others, piece.tail)
        return f"{tag.content}," + self._elements(
            rest, column + behind_tag, indentation + behind_tag, closing, ",", written + tag.length + 1
        )

    def _elements(self, piece: _Piece, column: int, indentation: int, closing: int, bar: str, written: int) -> str:
        if not piece.content:
            return "..."
        first, *others = piece.content
        text, width = self._element(first, column, indentation, 0 if others else closing + 1, written)
        return text + self._tail(others, piece.tail, column, column + width, indentation, closing, bar, written + width)

    def _tail(
        self,
        pieces: list[_Piece],
        tail: _Piece | None,
        first_column: int,
        column: int,
        indentation: int,
        closing: int,
        bar: str,
        written: int,
    ) -> str:
        out = []
        new_line = ",\n" + " " * indentation
        for number, piece in enumerate(pieces, 1):
            behind = closing + 1 if number == len(pieces) else 0
            if piece.kind == _LEAF and self._goes_on(piece, column, behind, written):
                out.append("," + piece.content)
                column += piece.length + 1
                written += piece.length + 1
            else:
                text, width = self._element(piece, first_column, indentation, behind, 0)
                out += (new_line, text)
                column = first_column + width
                written = width
        if tail is not None:
            out.append(bar)
            if tail is _DOTS:
                out.append("...")
            elif tail.kind == _LEAF and self._fits(tail.length + 1, column, closing + 1, written):
                out.append(tail.content)
            else:
                out += ("\n", " " * indentation, self.text(tail, first_column, indentation, closing + 1, 0))
        return "".join(out)

    def _goes_on(self, piece: _Piece, column: int, behind: int, written: int) -> bool:
        """Whether `piece` and a comma before it fit on the line."""
        length = piece.length + 1
        return self._fits(length, column, behind or 1, written)

    def _element(self, piece: _Piece, column: int, indentation: int, closing: int, written: int) -> tuple[str, int]:
        """Text and width; a width of a whole line makes the next element start a new one."""
        if piece.kind == _LEAF and self._fits(piece.length, column, closing, written):
            return piece.content, piece.length
        return self.text(piece, column, indentation, closing, written), self._line_length

    def _map(self, piece: _Piece, column: int, indentation: int, closing: int, written: int) -> str:
        out: list[str] = []
        place = column
        pairs = piece.content
        for number, pair in enumerate(pairs, 1):
            behind = closing + 1 if number == len(pairs) else 0
            if out and _is_flat(pair) and self._goes_on(pair, place, behind, written):
                out.append("," + _one_line(pair))
                place += pair.length + 1
                written += pair.length + 1
            else:
                if out:
                    out.append(",\n" + " " * indentation)
                text, width = self._pair(pair, column, indentation, behind, 0 if out else written)
                out.append(text)
                place = column + width
                written = width
        if piece.tail is not None:
            out.append(",..." if out else "...")
        return "".join(out)

    def _pair(self, pair: _Piece, column: int, indentation: int, closing: int, written: int) -> tuple[str, int]:
        if self._fits(pair.length, column, closing, written):
            return _one_line(pair), pair.length if _is_flat(pair) else self._line_length
        key, value = pair.content
        by = self._value_indentation(self._tag_indentation)
        key_text = self.text(key, column, indentation, closing, written)
        value_text = self.text(value, column + by, indentation + by, closing, 0)
        return f"{key_text} =>\n{' ' * (indentation + by)}{value_text}", self._line_length

    @staticmethod
    def _value_indentation(tag_indentation: int) -> int:
        return tag_indentation if tag_indentation > 0 else 4

    def _bytes(self, numbers: list[str], column: int, indentation: int, closing: int, written: int) -> str:
        room = max(8, min(self._line_length - column, self._most - 4 - written) - closing)
        new_line = "\n" + " " * indentation
        left = room
        out = ["<<"]
        for number in numbers[:-1]:
            if left < len(number):
                out.append(new_line)
                left = room
            out.append(number)
            left -= len(number)
        last = numbers[-1]
        out += (new_line, last) if len(last) > left else (last,)
        out.append(">>")
        return "".join(out)

    # -- is there room for this indentation? ------------------------------------------------------

    def _try(self, piece: _Piece, by: int, column: int, closing: int, written: int) -> None:
        """Raise `_NoRoom` if elements indented `by` (-1: behind their tag) would begin beyond mid-line."""
        kind = piece.kind
        if kind in (_LEAF, _BYTES) or self._fits(piece.length, column, closing, written):
            return
        if kind in (_LIST, _TUPLE):
            self._try_elements(piece.content, piece.tail, by, column + 1, closing, written + 1)
        elif kind == _TAGGED_TUPLE:
            self._try_tagged(piece, by, column, closing, written + 1)
        elif kind == _MAP:
            self._try_map(piece, by, column + 2, closing, written + 2)

    def _try_tagged(self, piece: _Piece, by: int, column: int, closing: int, written: int) -> None:
        if not piece.content:
            return
        tag, *others = piece.content
        behind_tag = column + tag.length + 2
        if 0 < by < tag.length + 2:
            indented = column + by
            if not (self._most + indented <= self._line_length or indented <= self._line_length // 2):
                raise _NoRoom
            self._try_tail(others, piece.tail, by, indented, behind_tag, closing, written + tag.length)
        elif self._most + behind_tag < self._line_length or behind_tag < self._line_length // 2:
            self._try_elements(others, piece.tail, by, behind_tag, closing, written + tag.length + 1)
        else:
            raise _NoRoom

    def _try_elements(
        self, pieces: list[_Piece], tail: _Piece | None, by: int, column: int, closing: int, written: int
    ) -> None:
        if not pieces:
            return
        width = self._try_element(pieces[0], by, column, closing + 1 if len(pieces) == 1 else 0, written)
        self._try_tail(pieces[1:], tail, by, column, column + width, closing, written + width)

    def _try_tail(
        self,
        pieces: list[_Piece],
        tail: _Piece | None,
        by: int,
        first_column: int,
        column: int,
        closing: int,
        written: int,
    ) -> None:
        for number, piece in enumerate(pieces, 1):
            behind = closing + 1 if number == len(pieces) else 0
            if piece.kind == _LEAF and self._goes_on(piece, column, behind, written):
                column += piece.length + 1
                written += piece.length + 1
            else:
                written = self._try_element(piece, by, first_column, behind, 0)
                column = first_column + written
        if tail is None or (tail.kind == _LEAF and self._fits(tail.length + 1, column, closing + 1, written)):
            return
        self._try(tail, by, column, closing + 1, 0)

    def _try_element(self, piece: _Piece, by: int, column: int, closing: int, written: int) -> int:
        if piece.kind == _LEAF and self._fits(piece.length, column, closing, written):
            return piece.length
        self._try(piece, by, column, closing, written)
        return self._line_length

    def _try_map(self, piece: _Piece, by: int, column: int, closing: int, written: int) -> None:
        place = column
        for number, pair in enumerate(piece.content, 1):
            behind = closing + 1 if number == len(piece.content) else 0
            if number == 1:
                width = self._try_pair(pair, by, column, behind, written)
                place, written = column + width, written + width
            elif _is_flat(pair) and self._goes_on(pair, place, behind, written):
                place += pair.length + 1
                written += pair.length + 1
            else:
                written = self._try_pair(pair, by, column, behind, 0)
                place = column + written

    def _try_pair(self, pair: _Piece, by: int, column: int, closing: int, written: int) -> int:
        if self._fits(pair.length, column, closing, written):
            return pair.length if _is_flat(pair) else self._line_length
        key, value = pair.content
        self._try(key, by, column, closing, written)
        self._try(value, by, column + self._value_indentation(by), closing, 0)
        return self._line_length


def _is_flat(pair: _Piece) -> bool:
    key, value = pair.content
    return bool(key.kind == _LEAF and value.kind == _LEAF)


def atom_name(term: Any) -> str:
    """The characters of an atom, bare."""
    if term is None:
        return "nil"
    if isinstance(term, bool):
        return "true" if term else "false"
    name: str = term.name
    return name
