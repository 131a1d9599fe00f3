"""Pids, ports and references: names of things that live on a node, unique within one start of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from erlang_bridge.terms.atom import Atom
from erlang_bridge.terms.immutable import Immutable, set_once


def _setter(owner: type, slot: str) -> Callable[[Any, Any], None]:
    setter: Callable[[Any, Any], None] = owner.__dict__[slot].__set__
    return setter


class Pid(Immutable):
    """A process identifier.

    Two pids that differ in `creation` alone belong to different starts of the same node: the older one is dead.

    Source: ERTS, "External Term Format", NEW_PID_EXT.
    """

    __slots__ = ("creation", "id", "node", "serial")
    __match_args__ = ("node", "id", "serial", "creation")

    node: Atom
    id: int
    """32 bits."""
    serial: int
    """32 bits; counts up when `id` wraps."""
    creation: int
    """32 bits; tells this start of the node from earlier ones."""

    def __init__(self, node: Atom, id: int, serial: int, creation: int) -> None:
        _pid_node(self, node)
        _pid_id(self, id)
        _pid_serial(self, serial)
        _pid_creation(self, creation)

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is Pid
            and self.id == other.id
            and self.node is other.node
            and self.creation == other.creation
            and self.serial == other.serial
        )

    def __hash__(self) -> int:
        return hash((self.id, self.serial, self.creation, self.node))

    def __repr__(self) -> str:
        return f"Pid({self.node!r}, {self.id}, {self.serial}, {self.creation})"

    def __str__(self) -> str:
        return f"<{self.node.name}.{self.id}.{self.serial}>"

    def __reduce__(self) -> tuple[type[Pid], tuple[Atom, int, int, int]]:
        return Pid, (self.node, self.id, self.serial, self.creation)


class Port(Immutable):
    """A port identifier. `id` has 64 bits.

    Source: ERTS, "External Term Format", V4_PORT_EXT.
    """

    __slots__ = ("creation", "id", "node")
    __match_args__ = ("node", "id", "creation")

    node: Atom
    id: int
    creation: int

    def __init__(self, node: Atom, id: int, creation: int) -> None:
        set_once(self, "node", node)
        set_once(self, "id", id)
        set_once(self, "creation", creation)

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is Port and self.id == other.id and self.node is other.node and self.creation == other.creation
        )

    def __hash__(self) -> int:
        return hash((Port, self.id, self.creation, self.node))

    def __repr__(self) -> str:
        return f"Port({self.node!r}, {self.id}, {self.creation})"

    def __str__(self) -> str:
        return f"#Port<{self.node.name}.{self.id}>"

    def __reduce__(self) -> tuple[type[Port], tuple[Atom, int, int]]:
        return Port, (self.node, self.id, self.creation)


class Reference(Immutable):
    """A reference: 1 to 5 words of 32 bits, in the order of the wire (least significant first).

    Source: ERTS, "External Term Format", NEWER_REFERENCE_EXT.
    """

    __slots__ = ("creation", "node", "words")
    __match_args__ = ("node", "creation", "words")

    node: Atom
    creation: int
    words: tuple[int, ...]

    def __init__(self, node: Atom, creation: int, words: tuple[int, ...]) -> None:
        _reference_node(self, node)
        _reference_creation(self, creation)
        _reference_words(self, words)

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is Reference
            and self.words == other.words
            and self.node is other.node
            and self.creation == other.creation
        )

    def __hash__(self) -> int:
        return hash((self.words, self.creation, self.node))

    def __repr__(self) -> str:
        return f"Reference({self.node!r}, {self.creation}, {self.words})"

    def __str__(self) -> str:
        return f"#Ref<{self.node.name}.{'.'.join(str(word) for word in reversed(self.words))}>"

    def __reduce__(self) -> tuple[type[Reference], tuple[Atom, int, tuple[int, ...]]]:
        return Reference, (self.node, self.creation, self.words)


# Pids and references are made for every message that names one: their slots' own setters cost two thirds of `set_once`.
_pid_node: Final = _setter(Pid, "node")
_pid_id: Final = _setter(Pid, "id")
_pid_serial: Final = _setter(Pid, "serial")
_pid_creation: Final = _setter(Pid, "creation")
_reference_node: Final = _setter(Reference, "node")
_reference_creation: Final = _setter(Reference, "creation")
_reference_words: Final = _setter(Reference, "words")
