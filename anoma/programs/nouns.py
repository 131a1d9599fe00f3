"""Keys and values of the store as nouns, for programs in Nock.

=========================  =============================================
key                        noun
=========================  =============================================
bytes, a natural number    the atom
an `Atom`                  the atom of its name's bytes
a tuple                    the list of its parts, ``[a b c 0]``
a negative number          none: such a program cannot name it
=========================  =============================================

A value is the noun that it is as a term; a value that is none fails the transaction that reads it.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from anoma.keys import Key
from anoma.nock.errors import CueError, NounError
from anoma.nock.jam import cue
from anoma.nock.noun import Cell, Noun, atom_bytes, is_atom, nock_list, noun_of_term, term_of_noun
from anoma.programs.execution import MOST_BYTES
from erlang_bridge.errors import brief
from erlang_bridge.terms import Atom

Canonical: TypeAlias = bytes | Cell
"""A noun as it is equal to all others that are the same noun."""


def canonical(noun: Noun) -> Canonical:
    """A noun for comparing: ``9`` and ``b"\\x09"`` give the same."""
    return noun if type(noun) is Cell else atom_bytes(noun)


def noun_of_key(key: Key) -> Noun | None:
    """A key as a noun, or None."""
    if type(key) is tuple:
        parts = [noun_of_key(part) for part in key]
        return None if None in parts else nock_list(part for part in parts if part is not None)
    if type(key) is Atom:
        return key.name.encode()
    if type(key) is int and key < 0:
        return None
    return key  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class KeyTable:
    """The keys of a label by what they are as nouns."""

    keys: Mapping[Canonical, Key]

    @classmethod
    def of(cls, keys: frozenset[Key]) -> KeyTable:
        """The table of a label.

        Raises:
            ValueError: two of its keys are one noun.
        """
        table: dict[Canonical, Key] = {}
        for key in keys:
            noun = noun_of_key(key)
            if noun is None:
                continue
            if canonical(noun) in table:
                both = f"{brief(table[canonical(noun)], 40)} and {brief(key, 40)}"
                raise ValueError(f"the keys {both} are the same noun: a program in Nock cannot tell them apart")
            table[canonical(noun)] = key
        return cls(table)

    def key(self, noun: Noun) -> Key:
        """The key that a noun stands for.

        Raises:
            ValueError: none of the label's.
        """
        try:
            return self.keys[canonical(noun)]
        except KeyError:
            raise ValueError(f"the key {noun!r:.80} is not in the label") from None


def noun_of_value(value: Any) -> Noun:
    """A value as a noun.

    Raises:
        ValueError: it is none.
    """
    try:
        return noun_of_term(value)
    except NounError as error:
        raise ValueError(f"expected a value that is a noun: {error}") from None


def value_of_noun(noun: Noun) -> Any:
    """The term that a noun is, as a value of the store.

    Raises:
        ValueError: it is too large. A noun is as large as the computation that makes it lets it be: what it has twice
            it has once, and as a term it has it twice.
    """
    if type(noun) is Cell and _size(noun) > MOST_BYTES:
        raise ValueError(f"expected a value of at most {MOST_BYTES} bytes as a term, got a larger one")
    return term_of_noun(noun)


def _size(noun: Cell) -> int:
    """About how many bytes a noun has as a term. Costs as much as it has different cells."""
    sizes: dict[int, int] = {}
    pending: list[Cell] = [noun]
    while pending:
        cell = pending[-1]
        missing = [part for part in (cell.head, cell.tail) if type(part) is Cell and id(part) not in sizes]
        if missing:
            pending.extend(missing)
            continue
        pending.pop()
        sizes[id(cell)] = 2 + sum(
            sizes[id(part)] if type(part) is Cell else _atom_size(part) for part in (cell.head, cell.tail)
        )
    return sizes[id(noun)]


def _atom_size(atom: Noun) -> int:
    if type(atom) is int:
        return atom.bit_length() >> 3
    return len(atom) if type(atom) is bytes else 0


def noun_of_executable(term: Any) -> Noun:
    """The noun of ``{nock, Noun}``: as a term, or jammed.

    Raises:
        ValueError: it is none.
    """
    try:
        noun = noun_of_term(term)
        return cue(atom_bytes(noun)) if is_atom(noun) else noun
    except CueError as error:
        raise ValueError(f"expected a cell, or one jammed, as program, and it cannot be cued: {error}") from None
    except NounError as error:
        raise ValueError(f"expected a noun as program: {error}") from None


def gas_of(parts: tuple[Any, ...], kind: str, usual: int, most: int) -> int:
    """The gas of ``{Kind, Noun, Gas}``.

    Raises:
        ValueError: no number, or too large a one.
    """
    if len(parts) not in (1, 2):
        raise ValueError(f"expected {{{kind}, Noun}} or {{{kind}, Noun, Gas}}")
    gas = parts[1] if len(parts) == 2 else usual
    if type(gas) is not int or not 0 < gas <= most:
        raise ValueError(f"expected from 1 to {most} as gas, got {brief(gas, 80)}")
    return gas
