"""What the annotations of messages and values mean as terms.

=================================================  =====================================================
annotation                                         term
=================================================  =====================================================
`int` `float` `bool` `bytes` `Atom` `Pid` ..       that type, checked
`str`                                              a binary, UTF-8
``tuple[T, ...]``                                  a list
``tuple[A, B]``                                    a tuple
``frozenset[T]``                                   a list in term order (a MapSet is taken, too)
``dict[K, V]``                                     a map
``T | None``, ``A | B``                            ``nil``; the first alternative that fits
an `Enum` whose values are texts                   an atom
a `Value`                                          ``{Tag, #{field => value}}``; the atom if it has no fields
a class with ``wire_conversion()``                 what that says
`Any`, `object`                                    as it comes
=================================================  =====================================================

Pure: no processes, no clock.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable
from enum import Enum
from functools import cache, cmp_to_key
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from erlang_bridge.errors import brief
from erlang_bridge.etf.conversions import STRUCT_KEY, Conversion, Mismatch, conversion_of
from erlang_bridge.terms import Atom, Map
from erlang_bridge.terms.order import compare

_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_MAP: Final = Atom("map")


T = TypeVar("T")


def per_class(function: Callable[[type], T]) -> Callable[[type], T]:
    """`cache` for functions of a class: its own type takes a class for unhashable where its objects are."""
    return cache(function)


class Value:
    """Base of what stands in the fields of messages: frozen dataclasses whose fields have annotations as above."""

    __slots__ = ()

    @classmethod
    def tag(cls) -> str:
        """The class's name as an atom is written: ``tls_address`` of ``TLSAddress``."""
        return tag_of(cls)


@per_class
def tag_of(cls: type) -> str:
    """A class's name as an atom is written, ``count_request`` of ``CountRequest``."""
    return _WORD.sub("_", cls.__name__).lower()


@per_class
def _tag_atom(cls: type) -> Atom:
    return Atom(tag_of(cls))


# -- fields -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One field of a message or value.

    Attributes:
        optional: it has a default, and may be left out of what comes in.
    """

    name: str
    atom: Atom
    conversion: Conversion
    annotation: Any
    optional: bool


@per_class
def fields_of(cls: type) -> tuple[Field, ...]:
    """The fields of a dataclass, with what becomes of each.

    Raises:
        TypeError: an annotation says nothing about terms.
    """
    hints = get_type_hints(cls, include_extras=True)
    found = []
    for field in dataclasses.fields(cls):
        annotation = hints[field.name]
        try:
            conversion = conversion_for(annotation)
        except TypeError as error:
            raise TypeError(f"{cls.__qualname__}.{field.name}: {error}") from None
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        found.append(Field(field.name, Atom(field.name), conversion, annotation, optional))
    return tuple(found)


def fields_to_term(value: Any) -> dict[Atom, Any]:
    """The map of a message's or value's fields."""
    term = {}
    for field in fields_of(type(value)):
        item = getattr(value, field.name)
        to_term = field.conversion.to_term
        term[field.atom] = item if to_term is None else to_term(item)
    return term


def fields_from_term(cls: type, term: Any) -> Any:
    """The object of a class whose fields are in the map `term`.

    Raises:
        Mismatch: which field, what was expected, and what came.
    """
    if type(term) is not dict and type(term) is not Map:
        raise Mismatch(f"should be a map of the fields of {tag_of(cls)}, got {brief(term, 80)}")
    values = {}
    missing = []
    fields = fields_of(cls)
    for field in fields:
        if field.atom not in term:
            if not field.optional:
                missing.append(field.name)
            continue
        item = term[field.atom]
        if field.conversion.from_term is not None:
            try:
                item = field.conversion.from_term(item)
            except Mismatch as mismatch:
                raise Mismatch(f"field {field.name} of {tag_of(cls)} {mismatch}") from None
        values[field.name] = item
    if missing or len(term) != len(values):
        given = sorted(key.name if isinstance(key, Atom) else brief(key, 60) for key in term)
        expected = sorted(field.name for field in fields)
        raise Mismatch(f"should have the fields {expected} of {tag_of(cls)}, got {given}")
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:  # its __post_init__ has objections
        raise Mismatch(f"is no {tag_of(cls)}: {error}") from None


# -- one annotation ---------------------------------------------------------------------------


def conversion_for(annotation: Any) -> Conversion:
    """What an annotation means.

    Raises:
        TypeError: it says nothing about terms.
    """
    own = getattr(annotation, "wire_conversion", None)
    if own is not None:
        conversion: Conversion = own()
        return conversion
    if annotation is str:
        return _TEXT
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is Annotated:
        return conversion_for(arguments[0])
    if origin in (Union, types.UnionType):
        return _union(tuple(conversion_for(argument) for argument in arguments))
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return _sequence(conversion_for(arguments[0]))
        return _tuple(tuple(conversion_for(argument) for argument in arguments))
    if origin is frozenset:
        return _set(conversion_for(arguments[0]))
    if origin is dict:
        return _dict(conversion_for(arguments[0]), conversion_for(arguments[1]))
    if isinstance(annotation, type):
        if issubclass(annotation, Enum):
            return _enumeration(annotation)
        if issubclass(annotation, Value):
            return _value(annotation)
    return conversion_of(annotation)


def _expected(what: str, term: Any) -> Mismatch:
    return Mismatch(f"should be {what}, got {brief(term, 80)}")


def _text_from(term: Any) -> str:
    if isinstance(term, str):
        return term
    if type(term) is not bytes:
        raise _expected("a binary", term)
    try:
        return term.decode()
    except UnicodeDecodeError:
        raise _expected("a binary of UTF-8", term) from None


_TEXT: Final = Conversion(_text_from, None, lambda value: isinstance(value, str))
"""A text is a binary on other nodes only: between processes of one node it comes as it is."""


def _union(alternatives: tuple[Conversion, ...]) -> Conversion:
    def from_term(term: Any) -> Any:
        problems = []
        for alternative in alternatives:
            if alternative.from_term is None:
                return term
            try:
                return alternative.from_term(term)
            except Mismatch as problem:
                problems.append(str(problem))
        what = " or ".join(dict.fromkeys(text.removeprefix("should be ").split(", got ")[0] for text in problems))
        raise _expected(what, term)

    def to_term(value: Any) -> Any:
        for alternative in alternatives:
            if alternative.fits(value):
                return value if alternative.to_term is None else alternative.to_term(value)
        return value

    changes = any(alternative.to_term is not None for alternative in alternatives)
    return Conversion(from_term, to_term if changes else None, lambda value: any(a.fits(value) for a in alternatives))


def _apply(conversion: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if conversion is None else conversion(value)


def _sequence(element: Conversion) -> Conversion:
    def from_term(term: Any) -> Any:
        if type(term) is not list:
            raise _expected("a list", term)
        return tuple(term) if element.from_term is None else tuple(map(element.from_term, term))

    def to_term(value: Any) -> Any:
        return list(value) if element.to_term is None else list(map(element.to_term, value))

    return Conversion(from_term, to_term, lambda value: isinstance(value, (tuple, list)))


def _tuple(elements: tuple[Conversion, ...]) -> Conversion:
    def from_term(term: Any) -> Any:
        if type(term) is not tuple or len(term) != len(elements):
            raise _expected(f"a tuple of {len(elements)}", term)
        return tuple(_apply(element.from_term, item) for element, item in zip(elements, term, strict=True))

    def to_term(value: Any) -> Any:
        return tuple(_apply(element.to_term, item) for element, item in zip(elements, value, strict=True))

    return Conversion(
        from_term,
        to_term if any(element.to_term for element in elements) else None,
        lambda value: isinstance(value, tuple) and len(value) == len(elements),
    )


def _set(element: Conversion) -> Conversion:
    def from_term(term: Any) -> Any:
        if type(term) is dict and STRUCT_KEY in term and isinstance(term.get(_MAP), (dict, Map)):
            term = list(term[_MAP])
        if type(term) is not list:
            raise _expected("a list or a MapSet", term)
        try:
            return frozenset(term if element.from_term is None else map(element.from_term, term))
        except TypeError:
            raise _expected("a list of elements that Python can hash", term) from None

    def to_term(value: Any) -> Any:
        return sorted((_apply(element.to_term, item) for item in value), key=cmp_to_key(compare))

    return Conversion(from_term, to_term, lambda value: isinstance(value, (set, frozenset)))


def _dict(key: Conversion, value: Conversion) -> Conversion:
    def from_term(term: Any) -> Any:
        if type(term) is not dict and type(term) is not Map:
            raise _expected("a map", term)
        try:
            return {_apply(key.from_term, k): _apply(value.from_term, v) for k, v in term.items()}
        except TypeError:
            raise _expected("a map whose keys Python can hash", term) from None

    def to_term(python: Any) -> Any:
        return Map((_apply(key.to_term, k), _apply(value.to_term, v)) for k, v in python.items())

    return Conversion(from_term, to_term, lambda python: isinstance(python, (dict, Map)))


def _enumeration(cls: type[Enum]) -> Conversion:
    members = {Atom(str(member.value)): member for member in cls}
    names = "one of " + ", ".join(atom.name for atom in members)

    def from_term(term: Any) -> Any:
        try:
            return members[term if type(term) is not bytes else Atom(term.decode())]
        except (KeyError, TypeError, ValueError):
            raise _expected(names, term) from None

    return Conversion(from_term, lambda member: Atom(str(member.value)), lambda value: isinstance(value, cls))


def _value(cls: type[Value]) -> Conversion:
    tag = _tag_atom(cls)

    def from_term(term: Any) -> Any:
        if isinstance(term, cls):
            return term
        if term is tag:
            return fields_from_term(cls, {})
        if type(term) is not tuple or len(term) != 2 or term[0] is not tag:
            raise _expected(f"{{{tag.name}, Fields}}", term)
        return fields_from_term(cls, term[1])

    def to_term(value: Any) -> Any:
        fields = fields_to_term(value)
        return (tag, fields) if fields else tag

    return Conversion(from_term, to_term, lambda value: isinstance(value, cls))


# -- start arguments --------------------------------------------------------------------------

_NODE_ID: Final = Atom("node_id")
S = TypeVar("S")


def settings_from(cls: type[S], args: Any) -> S:
    """The settings of an engine, of the argument given at its start.

    ``nil`` and an empty list mean the defaults; a map has some of the fields. ``node_id`` in it is left out: an Elixir
    supervisor passes that to all of its engines.

    Args:
        cls: a dataclass, whose fields may have defaults.

    Raises:
        ValueError: which field, what was expected, and what came.
    """
    if isinstance(args, cls):
        return args
    if args is None or args == []:
        args = {}
    if not isinstance(args, (dict, Map)):
        raise ValueError(f"expected nil or a map of the fields of {tag_of(cls)}, got {brief(args, 80)}")
    try:
        read: S = fields_from_term(cls, {key: value for key, value in args.items() if key is not _NODE_ID})
    except Mismatch as mismatch:
        raise ValueError(str(mismatch)) from None
    return read
