"""Nouns: an atom, which is a natural number, or a cell, which is an ordered pair of nouns.

An atom is an `int`, or `bytes` with the number in little-endian order: Elixir has both forms, and its engines compare
terms, so a noun goes back in the form that it came in. `NIL` is a third form of zero: Elixir's ``[]``.
As nouns ``0``, ``b""`` and `NIL` are equal, and so are ``9`` and ``b"\\x09"``. Bytes that end with zeros are not equal
to the number without them: for the Elixir node these are two atoms with two mugs, as when a hash happens to end with a
zero.

Everything here works on nouns of any depth, and takes time by the number of different cells: a noun may hold one cell
in many places.

Source: Anoma's Elixir node, ``noun.ex``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from anoma.nock.errors import NounError
from erlang_bridge.terms import ImproperList
from erlang_bridge.terms.immutable import Immutable


class _Nil(int):
    """Zero, come as ``[]``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NIL"

    def __copy__(self) -> _Nil:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> _Nil:
        return self

    def __reduce__(self) -> str:
        return "NIL"


NIL: Final[int] = _Nil(0)
"""The atom zero in the form ``[]``. It is an `int`, equal to 0; only `term_of_noun` and what compares terms tell it."""

_SHOWN: Final = 200
"""Characters of a noun in its `repr`."""

_COMPARED_PLAINLY: Final = 1000
"""Pairs until a comparison notes which it has seen: a noun may hold a cell in more places than can be visited."""

_DECIMAL_BITS: Final = 128
"""Larger atoms are written in hexadecimal."""


class Cell(Immutable):
    """An ordered pair of nouns.

    ``==`` is equality of nouns, and `hash` agrees with it. The parts are not checked: `noun` and `noun_of_term` build
    nouns of what may be none.

    Args:
        head: the first noun.
        tail: the second noun.

    Example:
        >>> Cell(1, Cell(b"\\x02", 3))
        <noun [1 2 3]>
        >>> Cell(0, 5) == Cell(b"", b"\\x05")
        True
    """

    # `_program` is what the evaluator made of the cell as a formula, `_mug` and `_hash` are set when first asked for.
    __slots__ = ("_hash", "_mug", "_program", "head", "tail")
    __match_args__ = ("head", "tail")

    head: Noun
    tail: Noun
    _mug: int
    _hash: int
    _program: Any

    def __init__(self, head: Noun, tail: Noun) -> None:
        _set_head(self, head)
        _set_tail(self, tail)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is not Cell:
            return NotImplemented
        return _same_cells(self, other)

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            return _hash_of(self)

    def __repr__(self) -> str:
        return f"<noun {format_noun(self, _SHOWN)}>"

    def __reduce__(self) -> tuple[Callable[..., Noun], tuple[tuple[Any, ...]]]:
        return _of_table, (_table(self),)


# Descriptors: half the price of object.__setattr__, and making cells is most of what an evaluation does.
_set_head: Final = vars(Cell)["head"].__set__
_set_tail: Final = vars(Cell)["tail"].__set__
_set_hash: Final = vars(Cell)["_hash"].__set__

Noun: TypeAlias = int | bytes | Cell
"""An atom or a cell."""


def is_atom(noun: Noun) -> bool:
    """Whether a noun is an atom."""
    return type(noun) is not Cell


def atom_int(atom: Noun) -> int:
    """The number that an atom is, in whichever form it came.

    Raises:
        NounError: a cell.
    """
    if isinstance(atom, bytes):
        return int.from_bytes(atom, "little")
    if isinstance(atom, int):
        return int(atom)
    raise NounError(f"expected an atom, got the cell {atom!r}")


def atom_bytes(atom: Noun) -> bytes:
    """An atom as little-endian bytes: bytes as they are, a number without zeros at its end (so 0 is ``b""``).

    Raises:
        NounError: a cell.
    """
    if isinstance(atom, bytes):
        return atom
    if isinstance(atom, int):
        return atom.to_bytes((atom.bit_length() + 7) >> 3, "little")
    raise NounError(f"expected an atom, got the cell {atom!r}")


def same(left: Noun, right: Noun) -> bool:
    """Whether two nouns are equal: the rule of Nock's operation 5.

    Example:
        >>> same(0, b""), same(9, b"\\x09"), same(1, Cell(0, 1))
        (True, True, False)
    """
    if left is right:
        return True
    if type(left) is Cell:
        return type(right) is Cell and _same_cells(left, right)
    if type(right) is Cell:
        return False
    if isinstance(left, int):
        return left == right if isinstance(right, int) else atom_bytes(left) == right
    return left == (right if isinstance(right, bytes) else atom_bytes(right))


def _same_cells(left: Cell, right: Cell) -> bool:
    pending: list[tuple[Noun, Noun]] = [(left, right)]
    compared: set[tuple[int, int]] = set()
    plain = _COMPARED_PLAINLY
    while pending:
        one, other = pending.pop()
        while one is not other:
            if type(one) is not Cell or type(other) is not Cell:
                if not same(one, other):
                    return False
                break
            if plain:
                plain -= 1
            else:
                pair = (id(one), id(other))
                if pair in compared:
                    break
                compared.add(pair)
            pending.append((one.tail, other.tail))
            one, other = one.head, other.head
    return True


def _hash_of(cell: Cell) -> int:
    pending = [cell]
    while pending:
        top = pending[-1]
        head, tail = top.head, top.tail
        ready = True
        if type(tail) is Cell and not hasattr(tail, "_hash"):
            pending.append(tail)
            ready = False
        if type(head) is Cell and not hasattr(head, "_hash"):
            pending.append(head)
            ready = False
        if ready:
            pending.pop()
            _set_hash(top, hash((_part_hash(head), _part_hash(tail))))
    return cell._hash


def _part_hash(noun: Noun) -> int:
    if type(noun) is Cell:
        return noun._hash
    return hash(int.from_bytes(noun, "little") if isinstance(noun, bytes) else noun)


# -- terms: forms count ---------------------------------------------------------------------------


class TermKeys:
    """Numbers for nouns: two nouns get the same number if, and only if, they are the same Elixir term.

    ``9`` and ``b"\\x09"`` are the same atom, but two terms: two elements of an Elixir set, two keys of a map.

    Attributes:
        cells: the numbers of the cells that have one, by `id`.
    """

    __slots__ = ("_atoms", "_kept", "_pairs", "cells")

    def __init__(self) -> None:
        self._atoms: dict[Any, int] = {}
        self._pairs: dict[tuple[int, int], int] = {}
        self.cells: dict[int, int] = {}
        self._kept: list[Cell] = []  # so that no other cell gets the identity of one that is known

    def key(self, noun: Noun) -> int:
        """The number of a noun."""
        if type(noun) is not Cell:
            return self._atom(noun)
        cells, pairs = self.cells, self._pairs
        known = cells.get(id(noun))
        if known is not None:
            return known
        self._kept.append(noun)
        pending = [noun]
        while pending:
            top = pending[-1]
            head, tail = top.head, top.tail
            if type(head) is Cell:
                head_key = cells.get(id(head))
                if head_key is None:
                    pending.append(head)
                    continue
            else:
                head_key = None
            if type(tail) is Cell:
                tail_key = cells.get(id(tail))
                if tail_key is None:
                    pending.append(tail)
                    continue
            else:
                tail_key = self._atom(tail)
            if head_key is None:
                head_key = self._atom(head)
            pending.pop()
            cells[id(top)] = pairs.setdefault((head_key, tail_key), len(pairs) + len(self._atoms))
        return cells[id(noun)]

    def _atom(self, atom: Noun) -> int:
        return self._atoms.setdefault(_Nil if atom is NIL else atom, len(self._atoms) + len(self._pairs))


def same_term(left: Noun, right: Noun) -> bool:
    """Whether two nouns are the same Elixir term: equal, and of the same forms.

    Example:
        >>> same_term(Cell(9, 0), Cell(9, 0)), same_term(9, b"\\x09"), same_term(0, NIL)
        (True, False, False)
    """
    if type(left) is not Cell and type(right) is not Cell:
        return _same_atom_term(left, right)
    keys = TermKeys()
    return keys.key(left) == keys.key(right)


def _same_atom_term(left: Noun, right: Noun) -> bool:
    return type(left) is type(right) and left == right


def compare_terms(left: Noun, right: Noun) -> int:
    """-1, 0 or 1: the order of two nouns as Elixir terms, which is number < ``[]`` < cell < bytes."""
    pending = [(left, right)]
    compared: set[tuple[int, int]] = set()
    while pending:
        one, other = pending.pop()
        if one is other:
            continue
        if type(one) is Cell and type(other) is Cell:
            pair = (id(one), id(other))
            if pair not in compared:
                compared.add(pair)
                pending.append((one.tail, other.tail))
                pending.append((one.head, other.head))
            continue
        one_rank, other_rank = _term_rank(one), _term_rank(other)
        if one_rank != other_rank:
            return -1 if one_rank < other_rank else 1
        if one != other:
            return -1 if one < other else 1  # type: ignore[operator]  # of one rank: both numbers, or both bytes
    return 0


def _term_rank(noun: Noun) -> int:
    if type(noun) is Cell:
        return 2
    if noun is NIL:
        return 1
    return 3 if isinstance(noun, bytes) else 0


# -- axes --------------------------------------------------------------------------------------------


def axis(address: int, noun: Noun) -> Noun | None:
    """The noun at an address: 1 the noun, ``2n`` the head and ``2n + 1`` the tail of the noun at ``n``.

    Returns:
        None: there is none, as at 0, or below an atom.

    Example:
        >>> axis(6, noun(4, 5, 6))
        5
    """
    if address < 1:
        return None
    for turn in bin(address)[3:]:
        if type(noun) is not Cell:
            return None
        noun = noun.tail if turn == "1" else noun.head
    return noun


def replace_axis(address: int, replacement: Noun, noun: Noun) -> Noun | None:
    """A noun with another one at an address.

    Returns:
        None: there is no such place.

    Example:
        >>> replace_axis(6, 50, noun(4, 5, 6))
        <noun [4 50 6]>
    """
    if address < 1:
        return None
    turns = bin(address)[3:]
    path: list[Cell] = []
    for turn in turns:
        if type(noun) is not Cell:
            return None
        path.append(noun)
        noun = noun.tail if turn == "1" else noun.head
    for turn in reversed(turns):
        cell = path.pop()
        replacement = Cell(cell.head, replacement) if turn == "1" else Cell(replacement, cell.tail)
    return replacement


# -- building, and Erlang terms --------------------------------------------------------------------


def noun(*parts: Any) -> Noun:
    """A noun of numbers, bytes, nouns, and tuples or lists of them, which stand for ``[...]``.

    Raises:
        NounError: something else, a negative number, or nothing at all.

    Example:
        >>> noun(1, [2, 3], b"four")
        <noun [1 [2 3] 1920298854]>
    """
    waiting: list[tuple[Any, int]] = [(parts, 0)]
    done: list[Noun] = []
    while waiting:
        part, count = waiting.pop()
        if count:
            built = done.pop()
            for _ in range(count - 1):
                built = Cell(done.pop(), built)
            done.append(built)
        elif isinstance(part, (tuple, list)):
            if not part:
                raise NounError("an empty tuple or list is no noun: write 0, or NIL for Elixir's []")
            waiting.append((None, len(part)))
            waiting.extend((element, 0) for element in reversed(part))
        else:
            done.append(_checked(part))
    return done.pop()


def nock_list(elements: Iterable[Noun], end: Noun = 0) -> Noun:
    """``[a b c 0]``: a list as Nock has it, ended by zero."""
    built = end
    for element in reversed(tuple(elements)):
        built = Cell(element, built)
    return built


def list_elements(noun: Noun) -> list[Noun] | None:
    """The elements of ``[a b c 0]``.

    Returns:
        None: it does not end with zero, so it is no list.

    Example:
        >>> list_elements(Cell(7, Cell(8, b"")))
        [7, 8]
    """
    elements = []
    while type(noun) is Cell:
        elements.append(noun.head)
        noun = noun.tail
    return elements if noun == 0 or noun == b"" else None


def _checked(value: Any) -> Noun:
    if isinstance(value, bool) or not isinstance(value, (int, bytes, Cell)):
        raise NounError(f"expected a number, bytes or a cell, got {type(value).__name__} {value!r:.80}")
    if isinstance(value, int) and value < 0:
        raise NounError(f"an atom is a natural number, got {value:#x}")
    return value


def noun_of_term(term: Any) -> Noun:
    """The noun that an Erlang term is: integer, binary, ``[]``, or an improper or proper list, ``[Head|Tail]``.

    Raises:
        NounError: the term, or a part of it, is no noun.

    Example:
        >>> noun_of_term(ImproperList([1, b"\\x02"], 3)), noun_of_term([1, 2])
        (<noun [1 2 3]>, <noun [1 2 0]>)
    """
    waiting: list[tuple[Any, int]] = [(term, 0)]
    done: list[Noun] = []
    while waiting:
        part, count = waiting.pop()
        if count:
            built = done.pop()
            for _ in range(count):
                built = Cell(done.pop(), built)
            done.append(built)
        elif isinstance(part, list):
            if part:
                waiting.append((None, len(part)))
                waiting.append((NIL, 0))
                waiting.extend((element, 0) for element in reversed(part))
            else:
                done.append(NIL)
        elif isinstance(part, ImproperList):
            waiting.append((None, len(part.elements)))
            waiting.append((part.tail, 0))
            waiting.extend((element, 0) for element in reversed(part.elements))
        else:
            done.append(_checked(part))
    return done.pop()


def term_of_noun(noun: Noun) -> Any:
    """The Erlang term that a noun is for the Elixir node, atoms in the forms that they have.

    Example:
        >>> term_of_noun(Cell(1, Cell(b"\\x02", NIL))), term_of_noun(Cell(1, 0))
        ([1, b'\\x02'], ImproperList((1,), 0))
    """
    terms: dict[int, Any] = {}
    pending: list[Noun] = [noun]
    while pending:
        top = pending[-1]
        if type(top) is not Cell or id(top) in terms:
            pending.pop()
            continue
        elements: list[Any] = []
        missing = []
        rest: Noun = top
        while type(rest) is Cell:
            head = rest.head
            if type(head) is not Cell:
                elements.append([] if head is NIL else head)
            elif id(head) in terms:
                elements.append(terms[id(head)])
            else:
                missing.append(head)
            rest = rest.tail
        if missing:
            pending.extend(missing)
            continue
        pending.pop()
        terms[id(top)] = elements if rest is NIL else ImproperList(elements, rest)
    if type(noun) is Cell:
        return terms[id(noun)]
    return [] if noun is NIL else noun


def _table(cell: Cell) -> tuple[Any, ...]:
    """A noun as a flat sequence for `pickle`: atoms, and for a cell the places of its parts; the noun is last."""
    table: list[Any] = []
    places: dict[int, int] = {}
    pending = [cell]
    while pending:
        top = pending[-1]
        if id(top) in places:
            pending.pop()
            continue
        missing = [part for part in (top.tail, top.head) if type(part) is Cell and id(part) not in places]
        if missing:
            pending.extend(missing)
            continue
        pending.pop()
        pair = []
        for part in (top.head, top.tail):
            if type(part) is Cell:
                pair.append(places[id(part)])
            else:
                pair.append(len(table))
                table.append(part)
        places[id(top)] = len(table)
        table.append(tuple(pair))
    return tuple(table)


def _of_table(table: tuple[Any, ...]) -> Noun:
    nouns: list[Noun] = []
    for item in table:
        nouns.append(Cell(nouns[item[0]], nouns[item[1]]) if isinstance(item, tuple) else item)
    return nouns[-1]


# -- text ---------------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(r"\s*(?:(\[)|(\])|0[xX]([0-9a-fA-F]+)|([0-9][0-9.]*)|(~))")


def parse_noun(text: str) -> Noun:
    """The noun that a text is: ``[1 [2 3] 0x1f 1.000]``, with dots as in Hoon's numbers, and ``~`` for zero.

    Raises:
        NounError: it is none, or has something behind it.

    Example:
        >>> parse_noun("[[1 2] 1.000 0xff]")
        <noun [[1 2] 1000 255]>
    """
    stack: list[list[Noun]] = [[]]
    position = 0
    end = len(text.rstrip())
    while position < end:
        token = _TOKEN.match(text, position)
        if token is None:
            raise NounError(f"expected a number, [ or ] at character {position}, got {text[position:][:20]!r}")
        opening, closing, hexadecimal, decimal, _zero = token.groups()
        if len(stack) == 1 and stack[0]:
            raise NounError(f"the noun ends at character {position}, but the text goes on: {text[position:][:20]!r}")
        position = token.end()
        if opening:
            stack.append([])
        elif closing:
            if len(stack) == 1:
                raise NounError(f"a ] at character {position - 1} without its [")
            parts = stack.pop()
            if len(parts) < 2:
                raise NounError(
                    f"the cell that ends at character {position} has {len(parts)} parts, expected 2 or more"
                )
            stack[-1].append(nock_list(parts[:-1], parts[-1]))
        elif hexadecimal:
            stack[-1].append(int(hexadecimal, 16))
        elif decimal:
            try:
                stack[-1].append(int(decimal.replace(".", "")))
            except ValueError:
                raise NounError(f"a number of {len(decimal)} digits: write it in hexadecimal, as 0x...") from None
        else:
            stack[-1].append(0)
    if len(stack) > 1:
        raise NounError(f"the text ends with {len(stack) - 1} [ still open")
    if not stack[0]:
        raise NounError("expected a noun, got an empty text")
    return stack[0][0]


def format_noun(noun: Noun, limit: int | None = None) -> str:
    """A noun as text, in the notation that `parse_noun` reads; large atoms in hexadecimal.

    Args:
        noun: any noun.
        limit: so many characters, and then ``...``.

    Example:
        >>> format_noun(Cell(Cell(1, 2), Cell(b"\\x03", 4)))
        '[[1 2] 3 4]'
    """
    pieces: list[str] = []
    length = 0
    pending: list[Noun | str] = [noun]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            piece = item
        elif type(item) is Cell:
            # The tail of a cell has no brackets of its own.
            piece = "["
            pending.append("]")
            rest: list[Noun | str] = []
            part: Noun = item
            while type(part) is Cell and (limit is None or len(rest) <= limit):
                rest += (part.head, " ")
                part = part.tail
            rest.append(part if type(part) is not Cell else "...")
            pending.extend(reversed(rest))
        else:
            piece = _format_atom(item, limit)
        pieces.append(piece)
        length += len(piece)
        if limit is not None and length > limit:
            return "".join(pieces)[:limit] + "..."
    return "".join(pieces)


def _format_atom(atom: Noun, limit: int | None) -> str:
    if isinstance(atom, bytes) and limit is not None and len(atom) > limit:
        return f"0x...{int.from_bytes(atom[:limit], 'little'):x}"
    number = atom_int(atom)
    return str(number) if number.bit_length() <= _DECIMAL_BITS else f"{number:#x}"
