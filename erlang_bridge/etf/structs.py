"""Elixir structs as Python dataclasses.

::

    @struct("Elixir.Anoma.Transaction")
    @dataclass(frozen=True)
    class Transaction:
        id: str                       # a binary on the wire
        inputs: set[bytes]            # a MapSet
        parent: Transaction | None    # the struct, or nil

An object is sent as the map that Elixir would send: ``__struct__`` and every field. A map that names a registered
struct is received as an object; one that does not fit the class is an `EtfStructError`. **Every other struct stays the
map it is**, so that nothing is lost of what nobody has described.

Which names are received as objects is a table, name to `StructCodec`, that the decoding functions take as ``structs``.
The decorator fills `default_structs`, which they use where they are given none; a node or a codec that shall
differ is given a table of its own (``struct("Elixir.Foo", into=table)``), or ``{}`` for none. Sending needs no
table: the class itself knows its name.

What annotations mean, for the fields and inside them:

=================================================  =================================================================
`str`                                              a binary, UTF-8
`int`, `float`, `bool`, `bytes`, `Atom`, `Pid` ..  that type, checked (`float` takes an integer, as Elixir does)
``list[T]`` ``dict[K, V]`` ``tuple[A, B]``         converted inside; without parameters only checked
``set[T]`` ``frozenset[T]``                        a MapSet
``T | None``, ``A | B``                            ``nil``; the first alternative that fits
another struct                                     that struct
`datetime.date`, `time`, `datetime`                Date; Time; DateTime with a time zone, NaiveDateTime without
an `Enum`, a ``Literal``                           its values, checked
``Annotated[T, Conversion(...)]``                  what that `Conversion` makes of it
`Any`, `object`                                    as it comes
=================================================  =================================================================

``nil`` passes for a field as a whole whatever its annotation: it is what Elixir puts into a field that has no default.

A field whose name on the wire is no Python name says so: ``field(metadata={"name": "valid?"})``.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar, get_type_hints

from erlang_bridge.errors import EtfStructError, brief
from erlang_bridge.etf.conversions import STRUCT_KEY, Conversion, Mismatch, conversion_of
from erlang_bridge.terms import Atom

T = TypeVar("T", bound=type)

_EXCEPTION_KEY: Final = Atom("__exception__")
_MISSING: Final = object()


class StructCodec:
    """How one dataclass and one Elixir struct become each other.

    Attributes:
        name: of the struct, as an atom.
        cls: the dataclass.
        strict: whether unknown and missing fields are errors. Otherwise the former are dropped and the latter take
            their default; one without a default is still an error.
        exception: whether it is an Elixir exception, which also carries ``__exception__: true``.
    """

    def __init__(self, name: Atom, cls: type, *, strict: bool, exception: bool, names: dict[str, Any]) -> None:
        self.name = name
        self.cls = cls
        self.strict = strict
        self.exception = exception
        self._fields = {Atom(field.metadata.get("name", field.name)): field for field in dataclasses.fields(cls)}
        self._names = names
        self._conversions: dict[Atom, Conversion] | None = None

    @property
    def conversions(self) -> dict[Atom, Conversion]:
        """Field -> how it is converted. Made when first needed, since classes may refer to later ones.

        Raises:
            TypeError: a field has an annotation that has no conversion.
        """
        if self._conversions is None:
            hints = get_type_hints(self.cls, localns={**self._names, self.cls.__name__: self.cls}, include_extras=True)
            made = {}
            for atom, field in self._fields.items():
                try:
                    made[atom] = conversion_of(hints[field.name])
                except TypeError as error:
                    raise TypeError(f"{self.cls.__qualname__}.{field.name}: {error}") from None
            self._conversions = made
            self._names = {}
        return self._conversions

    def encode(self, value: Any) -> dict[Any, Any]:
        """The map for an object of the class; what is in its fields may still be encodable Python."""
        term: dict[Any, Any] = {STRUCT_KEY: self.name}
        if self.exception:
            term[_EXCEPTION_KEY] = True
        conversions = self.conversions
        for atom, field in self._fields.items():
            item = getattr(value, field.name)
            to_term = conversions[atom].to_term
            term[atom] = item if to_term is None or item is None else to_term(item)
        return term

    def decode(self, term: dict[Any, Any], offset: int = 0) -> Any:
        """The object for a map that names this struct.

        Args:
            offset: where that map ends, for the error.

        Raises:
            EtfStructError: it does not fit the class.
        """
        values = {}
        known = 1  # __struct__
        for atom, conversion in self.conversions.items():
            item = term.get(atom, _MISSING)
            field = self._fields[atom]
            known += item is not _MISSING
            if not field.init:
                continue  # the class works it out
            if item is _MISSING:
                if self.strict or (
                    field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
                ):
                    raise EtfStructError(self.name.name, atom.name, "is missing", offset)
                continue
            if conversion.from_term is not None:
                try:
                    item = conversion.from_term(item)
                except Mismatch as mismatch:
                    if item is not None:
                        raise EtfStructError(self.name.name, atom.name, str(mismatch), offset) from None
            values[field.name] = item
        if self.exception and _EXCEPTION_KEY in term:
            known += 1
        if self.strict and len(term) != known:
            for key in term:
                if key not in self._fields and key is not STRUCT_KEY and not (self.exception and key is _EXCEPTION_KEY):
                    name = key.name if type(key) is Atom else brief(key, 60)
                    raise EtfStructError(self.name.name, name, f"is not one of {self.cls.__qualname__}", offset)
        try:
            return self.cls(**values)
        except (TypeError, ValueError) as error:  # its __post_init__ has objections
            raise EtfStructError(
                self.name.name, "", f"was refused by {self.cls.__qualname__}: {error}", offset
            ) from error


def _term_of(value: Any) -> dict[Any, Any]:
    codec: StructCodec = type(value).__erlang_struct__
    return codec.encode(value)


default_structs: Final[dict[Atom, StructCodec]] = {}
"""The structs that decoding knows where it is not given others."""


def struct(
    name: str,
    *,
    into: dict[Atom, StructCodec] = default_structs,
    strict: bool = True,
    exception: bool = False,
) -> Callable[[T], T]:
    """Class decorator: the dataclass stands for the Elixir struct `name`.

    Args:
        name: as the atom is spelt, such as ``"Elixir.Anoma.Transaction"``.
        into: the table that gets it, for decoding.
        strict: whether unknown and missing fields are errors; see `StructCodec`.
        exception: whether it is an Elixir exception.

    Raises:
        TypeError: the class is not a dataclass.
        ValueError: another class is registered under that name.

    Example:
        >>> table = {}
        >>> @struct("Elixir.Point", into=table)
        ... @dataclasses.dataclass
        ... class Point:
        ...     x: int
        ...     y: int = 0
        >>> table[Atom("Elixir.Point")].encode(Point(1))
        {Atom('__struct__'): Atom('Elixir.Point'), Atom('x'): 1, Atom('y'): 0}
    """
    # The names that annotations in a function's body may refer to.
    names = dict(sys._getframe(1).f_locals)

    def register(cls: T) -> T:
        if "__dataclass_fields__" not in vars(cls):
            raise TypeError(f"{cls.__qualname__} is not a dataclass; write @struct(...) above its @dataclass")
        atom = Atom(name)
        known = into.get(atom)
        if known is not None and (known.cls.__module__, known.cls.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"{name} already stands for {known.cls.__module__}.{known.cls.__qualname__}")
        codec = StructCodec(atom, cls, strict=strict, exception=exception, names=names)
        into[atom] = codec
        cls.__erlang_struct__ = codec  # type: ignore[attr-defined]  # the mark of a struct
        cls.__erlang_term__ = _term_of  # type: ignore[attr-defined]  # what the encoder asks for
        return cls

    return register
