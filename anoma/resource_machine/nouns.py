"""How the resource machine's data are nouns: flags, signed numbers, byte strings, lists, and Hoon's sets.

Lists end with Elixir's ``[]`` where the Elixir node's do, sets are in the order of terms, and atoms keep the form that
they came in: so a commitment made here is the commitment made there, byte for byte.

Source: Anoma's Elixir node, ``noun.ex``, ``noun/nounable.ex``, ``noun/order.ex``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cmp_to_key
from typing import Annotated, Any, Final

from anoma.nock.errors import NounError
from anoma.nock.mug import mug
from anoma.nock.noun import (
    Cell,
    Noun,
    atom_bytes,
    atom_int,
    compare_terms,
    format_noun,
    is_atom,
    list_elements,
    noun_of_term,
    term_of_noun,
)
from anoma.resource_machine.errors import NotATransaction
from erlang_bridge.etf.conversions import Conversion, Mismatch

_SHOWN: Final = 80

term_key: Final[Callable[[Any], Any]] = cmp_to_key(compare_terms)
"""For `sorted`: nouns in the order of Elixir's terms."""


def _noun_from(term: Any) -> Noun:
    try:
        return noun_of_term(term)
    except NounError as error:
        raise Mismatch(f"should be a noun: {error}") from None


NOUN_CONVERSION: Final = Conversion(_noun_from, term_of_noun)
"""A noun, and the integer, binary or list that it is in Elixir."""

NounField = Annotated[Noun, NOUN_CONVERSION]
"""A noun as a field of a struct."""


def no_noun(what: str, noun: Noun) -> NotATransaction:
    """The error for a noun that is not `what`."""
    return NotATransaction(f"expected {what}, got the noun {format_noun(noun, _SHOWN)}")


# -- atoms ------------------------------------------------------------------------------------


def is_zero(noun: Noun) -> bool:
    """Whether a noun is zero, be it ``0``, ``<<>>``, ``<<0>>`` or ``[]``: Nock's yes."""
    return is_atom(noun) and (noun == 0 or noun in (b"", b"\0"))


def atom_of(noun: Noun, what: str, width: int = 0) -> bytes:
    """An atom as bytes.

    Args:
        noun: the atom.
        what: for the error.
        width: bytes that it has at least; zeros are added at its end.

    Raises:
        NotATransaction: a cell.
    """
    if not is_atom(noun):
        raise no_noun(f"{what}, which is an atom", noun)
    data = atom_bytes(noun)
    if width and len(data) != width:
        data = atom_bytes(atom_int(noun)).ljust(width, b"\0")
    return data


def number_of(noun: Noun, what: str) -> int:
    """An atom as a number.

    Raises:
        NotATransaction: a cell.
    """
    if not is_atom(noun):
        raise no_noun(f"{what}, which is a number", noun)
    return atom_int(noun)


def flag(value: bool) -> int:
    """A flag as Nock has it: 0 is yes, 1 is no."""
    return 0 if value else 1


def flag_of(noun: Noun, what: str) -> bool:
    """Nock's 0 or 1 as a flag.

    Raises:
        NotATransaction: another noun.
    """
    if is_zero(noun):
        return True
    if is_atom(noun) and atom_int(noun) == 1:
        return False
    raise no_noun(f"{what}, which is 0 for yes or 1 for no", noun)


def zigzag(number: int) -> int:
    """A signed number as a natural one: 0, -1, 1, -2, 2 are 0, 1, 2, 3, 4."""
    return 2 * number if number >= 0 else -2 * number - 1


def signed(noun: Noun) -> int:
    """The number of which a noun is the `zigzag`.

    Raises:
        NotATransaction: a cell.
    """
    number = number_of(noun, "a signed quantity")
    return -((number + 1) >> 1) if number & 1 else number >> 1


# -- cells ------------------------------------------------------------------------------------


def pair_of(noun: Noun, what: str) -> tuple[Noun, Noun]:
    """The two parts of a cell.

    Raises:
        NotATransaction: an atom.
    """
    if isinstance(noun, Cell):
        return noun.head, noun.tail
    raise no_noun(f"{what}, which is a cell", noun)


def parts_of(noun: Noun, count: int, what: str) -> list[Noun]:
    """The parts of ``[a b c ...]``, the last of which is whatever is left.

    Raises:
        NotATransaction: there are fewer.
    """
    parts = []
    rest = noun
    for _ in range(count - 1):
        if not isinstance(rest, Cell):
            raise no_noun(f"{what}, which has {count} parts", noun)
        parts.append(rest.head)
        rest = rest.tail
    return [*parts, rest]


def elements_of(noun: Noun, what: str) -> list[Noun]:
    """The elements of a list.

    Raises:
        NotATransaction: it does not end with zero.
    """
    if is_zero(noun):
        return []
    elements = list_elements(noun)
    if elements is None:
        raise no_noun(f"{what}, which is a list that ends with 0", noun)
    return elements


# -- Hoon's sets ------------------------------------------------------------------------------


def tree_of(elements: Iterable[Noun]) -> Noun:
    """A set as Hoon has it: a tree in the order of mugs, balanced by the mugs of mugs.

    Its shape does not depend on the order of `elements`, which differ from each other.
    """
    tree: Noun = 0
    for element in elements:
        tree = _put(tree, element)
    return tree


def tree_elements(noun: Noun, what: str) -> list[Noun]:
    """The elements of such a tree, from its root.

    Any atom counts as an empty tree, as in the Elixir node.

    Raises:
        NotATransaction: a node that has no two branches.
    """
    elements = []
    pending = [noun]
    while pending:
        node = pending.pop()
        if isinstance(node, Cell):
            element, left, right = parts_of(node, 3, f"{what}, a node [element left right] of it")
            elements.append(element)
            pending += (right, left)
    return elements


def _put(tree: Noun, element: Noun) -> Cell:
    if not isinstance(tree, Cell):
        return Cell(element, Cell(0, 0))
    node, left, right = parts_of(tree, 3, "a set")
    if mug(element) <= mug(node):
        below = _put(left, element)
        top, inner, outer = parts_of(below, 3, "a set")
        if _above(node, top):
            return Cell(node, Cell(below, right))
        return Cell(top, Cell(inner, Cell(node, Cell(outer, right))))
    below = _put(right, element)
    top, inner, outer = parts_of(below, 3, "a set")
    if _above(node, top):
        return Cell(node, Cell(left, below))
    return Cell(top, Cell(Cell(node, Cell(left, inner)), outer))


def _above(node: Noun, other: Noun) -> bool:
    return mug(mug(node)) <= mug(mug(other))
