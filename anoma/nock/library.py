"""Anoma's standard library: the cores that programs are compiled against, with the arms that jets stand for.

``standard_library.jam`` is one noun, jammed: the core of the resource machine, with the layers of the standard library
below it. It is the compiled Hoon library of Anoma's Elixir node (``nock/lib.ex`` of version 0.30; copyright 2024
Heliax AG, MIT License), kept as data, as programs of that node refer to it.

A layer is a core, and the next lower layer is its context: layer 1 has numbers (dec, add ...), 4 and 5 bits, jam and
cue, 6 signatures, 7 hashes, 8 signed numbers, 9 the order of nouns, 10 sets, 11 maps, 12 the resource machine.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from anoma.nock.errors import NounError
from anoma.nock.evaluator import nock
from anoma.nock.jam import cue
from anoma.nock.noun import Cell, Noun, atom_int, axis, noun

LAYERS: Final = 12


@cache
def resource_machine_core() -> Cell:
    """The whole library: layer 12, on top of the standard library. Its atoms are numbers. Read when first used."""
    core = _with_numbers(cue(files("anoma.nock").joinpath("standard_library.jam").read_bytes()))
    assert type(core) is Cell
    return core


def standard_library_core() -> Noun:
    """The standard library alone, layer 11 and below: the context of the resource machine's core."""
    return resource_machine_core().tail


@cache
def logics_core() -> Cell:
    """The core that logics and transactions have as their context: the Elixir node has only a place holder on top."""
    return Cell(Cell(123, 456), resource_machine_core())


def layer(number: int) -> Noun:
    """A layer of the library, 1 to 12, as a core.

    Raises:
        NounError: there is none of that number.
    """
    if not 1 <= number <= LAYERS:
        raise NounError(f"the library has layers 1 to {LAYERS}, got {number}")
    found = axis((2 << (LAYERS - number)) - 1, resource_machine_core())
    assert found is not None
    return found


def arm(core: Noun, address: int) -> Noun:
    """What the arm of a core makes: for an arm of the library a gate, or a door.

    Raises:
        NockCrash: there is no such arm.

    Example:
        >>> call(arm(layer(1), 20), noun(2, 3))  # add
        5
    """
    return nock(core, noun(9, address, 0, 1))


def call(gate: Noun, sample: Noun) -> Noun:
    """What a gate makes of a sample.

    Raises:
        NockCrash: nothing.
    """
    return nock(gate, noun(9, 2, (10, (6, 1, sample), 0, 1)))


def _with_numbers(jammed: Noun) -> Noun:
    """A noun with every atom as a number, the form that the Elixir node's parser gives."""
    made: dict[int, Noun] = {}
    pending = [jammed]
    while pending:
        top = pending.pop()
        if type(top) is not Cell or id(top) in made:
            continue
        missing = [part for part in (top.tail, top.head) if type(part) is Cell and id(part) not in made]
        if missing:
            pending += (top, *missing)
            continue
        head, tail = (made[id(part)] if type(part) is Cell else atom_int(part) for part in (top.head, top.tail))
        made[id(top)] = Cell(head, tail)
    return made[id(jammed)]
