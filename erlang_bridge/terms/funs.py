"""Functions and native records of a BEAM: carried and echoed unchanged, never run here."""

from __future__ import annotations

from typing import Any

from erlang_bridge.terms.atom import Atom
from erlang_bridge.terms.immutable import Immutable, set_once


class Export(Immutable):
    """``fun Module:Function/Arity``.

    Source: ERTS, "External Term Format", EXPORT_EXT.
    """

    __slots__ = ("arity", "function", "module")
    __match_args__ = ("module", "function", "arity")

    module: Atom
    function: Atom
    arity: int

    def __init__(self, module: Atom, function: Atom, arity: int) -> None:
        set_once(self, "module", module)
        set_once(self, "function", function)
        set_once(self, "arity", arity)

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is Export
            and self.module is other.module
            and self.function is other.function
            and self.arity == other.arity
        )

    def __hash__(self) -> int:
        return hash((Export, self.module, self.function, self.arity))

    def __repr__(self) -> str:
        return f"Export({self.module!r}, {self.function!r}, {self.arity})"

    def __str__(self) -> str:
        return f"fun {self.module}:{self.function}/{self.arity}"

    def __reduce__(self) -> tuple[type[Export], tuple[Atom, Atom, int]]:
        return Export, (self.module, self.function, self.arity)


class Fun(Immutable):
    """A closure of a BEAM module, opaque.

    Attributes:
        module: where it was written.
        arity: number of arguments, free variables not counted.
        raw: the body of NEW_FUN_EXT after its size field; sent back as it came.

    Source: ERTS, "External Term Format", NEW_FUN_EXT.
    """

    __slots__ = ("arity", "module", "raw")

    module: Atom
    arity: int
    raw: bytes

    def __init__(self, module: Atom, arity: int, raw: bytes) -> None:
        set_once(self, "module", module)
        set_once(self, "arity", arity)
        set_once(self, "raw", raw)

    def __eq__(self, other: object) -> bool:
        return type(other) is Fun and self.raw == other.raw

    def __hash__(self) -> int:
        return hash((Fun, self.raw))

    def __repr__(self) -> str:
        return f"<Fun of {self.module}/{self.arity}, {len(self.raw)} bytes>"

    def __str__(self) -> str:
        return f"#Fun<{self.module}/{self.arity}>"

    def __reduce__(self) -> tuple[type[Fun], tuple[Atom, int, bytes]]:
        return Fun, (self.module, self.arity, self.raw)


class Record(Immutable):
    """A native record of OTP 29.

    Attributes:
        module, name: where it is defined, and its name.
        fields: ``(name, value)`` pairs, in the order of the wire.
        flags: bit 0 is set for an exported record.
    """

    __slots__ = ("fields", "flags", "module", "name")

    module: Atom
    name: Atom
    fields: tuple[tuple[Atom, Any], ...]
    flags: int

    def __init__(self, module: Atom, name: Atom, fields: tuple[tuple[Atom, Any], ...], flags: int = 0) -> None:
        set_once(self, "module", module)
        set_once(self, "name", name)
        set_once(self, "fields", fields)
        set_once(self, "flags", flags)

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is Record
            and self.module is other.module
            and self.name is other.name
            and self.flags == other.flags
            and self.fields == other.fields
        )

    def __hash__(self) -> int:
        return hash((Record, self.module, self.name, self.fields))

    def __repr__(self) -> str:
        return f"Record({self.module!r}, {self.name!r}, {self.fields!r}, {self.flags})"

    def __reduce__(self) -> tuple[type[Record], tuple[Atom, Atom, tuple[tuple[Atom, Any], ...], int]]:
        return Record, (self.module, self.name, self.fields, self.flags)
