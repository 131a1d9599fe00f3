"""What a struct's field annotations mean: annotation -> `Conversion`.

A table for plain types and one function for each kind of composed annotation; `structs` says it in one table for users.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import Enum
from typing import Annotated, Any, Final, Literal, NewType, TypeVar, Union, get_args, get_origin

from erlang_bridge.errors import EtfStructError, brief
from erlang_bridge.terms import Atom, BitString, Export, Fun, ImproperList, Map, Pid, Port, Record, Reference

STRUCT_KEY: Final = Atom("__struct__")


class Mismatch(Exception):
    """A term is not what an annotation asks for; says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """Both ways between a term and a Python value; None where the two are the same."""

    from_term: Callable[[Any], Any] | None = None
    """Raises `Mismatch` for a term that does not fit."""
    to_term: Callable[[Any], Any] | None = None
    fits: Callable[[Any], bool] = lambda _: True
    """Whether a Python value is of this kind, by its outermost type; chooses among the alternatives of a union."""


def _expected(what: str, term: Any) -> Mismatch:
    return Mismatch(f"should be {what}, got {brief(term, 80)}")


def _elixir(name: str, **fields: Any) -> dict[Any, Any]:
    return {STRUCT_KEY: Atom(f"Elixir.{name}"), **{Atom(key): value for key, value in fields.items()}}


def _fields_of(name: str, term: Any, *fields: str) -> list[Any]:
    """The values of the `fields` of the Elixir struct `name`."""
    if type(term) is not dict or term.get(STRUCT_KEY) is not Atom(f"Elixir.{name}"):
        raise _expected(f"a {name}", term)
    try:
        return [term[Atom(field)] for field in fields]
    except KeyError:
        raise _expected(f"a {name}", term) from None


# -- plain types ------------------------------------------------------------------------------


def _str_from(term: Any) -> str:
    if type(term) is not bytes:
        raise _expected("a binary", term)
    try:
        return term.decode()
    except UnicodeDecodeError:
        raise _expected("a binary of UTF-8", term) from None


def _atom_from(term: Any) -> Atom:
    if type(term) is Atom:
        return term
    if term is None or term is True or term is False:
        return Atom("nil" if term is None else "true" if term else "false")
    raise _expected("an atom", term)


def _map_from(term: Any) -> Map:
    if isinstance(term, (dict, Map)):
        return term if isinstance(term, Map) else Map(term)
    raise _expected("a map", term)


def _checked(kinds: Sequence[type], what: str) -> Conversion:
    def check(term: Any) -> Any:
        if type(term) not in kinds:
            raise _expected(what, term)
        return term

    return Conversion(check, None, lambda value: isinstance(value, tuple(kinds)) and not _stray_bool(value, kinds))


def _stray_bool(value: Any, kinds: Sequence[type]) -> bool:
    return isinstance(value, bool) and bool not in kinds


# -- dates and times --------------------------------------------------------------------------

_ISO: Final = Atom("Elixir.Calendar.ISO")
_DATE: Final = ("year", "month", "day")
_TIME: Final = ("hour", "minute", "second")


_M = TypeVar("_M")


def _made(what: str, term: Any, make: Callable[[], _M]) -> _M:
    try:
        return make()
    except (TypeError, ValueError, OverflowError, LookupError):
        raise _expected(f"a {what} that Python can hold", term) from None


def _calendar_checked(name: str, term: Any, *fields: str) -> list[Any]:
    calendar, *values = _fields_of(name, term, "calendar", *fields)
    if calendar is not _ISO:
        raise _expected(f"a {name} of the ISO calendar", term)
    return values


def _date_from(term: Any) -> date:
    values = _calendar_checked("Date", term, *_DATE)
    return _made("Date", term, lambda: date(*values))


def _time_from(term: Any) -> time:
    hour, minute, second, microsecond = _calendar_checked("Time", term, *_TIME, "microsecond")
    return _made("Time", term, lambda: time(hour, minute, second, microsecond[0]))


def _datetime_from(term: Any) -> datetime:
    if type(term) is dict and term.get(STRUCT_KEY) is Atom("Elixir.NaiveDateTime"):
        name = "NaiveDateTime"
        utc = std = None
        *on, hour, minute, second, microsecond = _calendar_checked(name, term, *_DATE, *_TIME, "microsecond")
    else:
        name = "DateTime"
        fields = (*_DATE, *_TIME, "microsecond", "utc_offset", "std_offset")
        *on, hour, minute, second, microsecond, utc, std = _calendar_checked(name, term, *fields)

    def make() -> datetime:
        zone = None if utc is None else timezone(timedelta(seconds=utc + std)) if utc + std else UTC
        return datetime.combine(date(*on), time(hour, minute, second, microsecond[0], zone))

    return _made(name, term, make)


def _microsecond(value: time | datetime) -> tuple[int, int]:
    """Elixir's ``{microsecond, digits shown}``."""
    return (value.microsecond, 6 if value.microsecond else 0)


def _date_to(value: Any) -> Any:
    if not isinstance(value, date):
        return value
    return _elixir("Date", calendar=_ISO, year=value.year, month=value.month, day=value.day)


def _time_to(value: Any) -> Any:
    if not isinstance(value, time):
        return value
    at = {"hour": value.hour, "minute": value.minute, "second": value.second, "microsecond": _microsecond(value)}
    return _elixir("Time", calendar=_ISO, **at)


def _datetime_to(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    zone: dict[str, Any] = {}
    if value.tzinfo is not None:
        value = value.astimezone(UTC)
        zone = {"time_zone": b"Etc/UTC", "zone_abbr": b"UTC", "utc_offset": 0, "std_offset": 0}
    on = {"year": value.year, "month": value.month, "day": value.day}
    at = {"hour": value.hour, "minute": value.minute, "second": value.second, "microsecond": _microsecond(value)}
    return _elixir("DateTime" if zone else "NaiveDateTime", calendar=_ISO, **on, **at, **zone)


_PLAIN: Final[dict[Any, Conversion]] = {
    Any: Conversion(),
    object: Conversion(),
    str: Conversion(_str_from, None, lambda value: isinstance(value, str)),
    int: _checked((int,), "an integer"),
    float: _checked((float, int), "a float"),
    bool: _checked((bool,), "a boolean"),
    bytes: _checked((bytes,), "a binary"),
    None: _checked((type(None),), "nil"),
    type(None): _checked((type(None),), "nil"),
    Atom: Conversion(_atom_from, None, lambda value: isinstance(value, Atom)),
    Pid: _checked((Pid,), "a pid"),
    Port: _checked((Port,), "a port"),
    Reference: _checked((Reference,), "a reference"),
    Export: _checked((Export,), "a function M:F/A"),
    Fun: _checked((Fun,), "a fun"),
    Record: _checked((Record,), "a record"),
    BitString: _checked((BitString,), "a bit string"),
    ImproperList: _checked((ImproperList,), "an improper list"),
    Map: Conversion(_map_from, None, lambda value: isinstance(value, Map)),
    list: _checked((list,), "a list"),
    tuple: _checked((tuple,), "a tuple"),
    dict: _checked((dict, Map), "a map"),
    date: Conversion(
        _date_from,
        _date_to,
        lambda value: isinstance(value, date) and not isinstance(value, datetime),
    ),
    time: Conversion(_time_from, _time_to, lambda value: isinstance(value, time)),
    datetime: Conversion(_datetime_from, _datetime_to, lambda value: isinstance(value, datetime)),
}


# -- composed annotations ---------------------------------------------------------------------


def conversion_of(annotation: Any) -> Conversion:
    """What `annotation` means.

    Raises:
        TypeError: it says nothing about terms.
    """
    try:
        plain = _PLAIN.get(annotation)
    except TypeError:
        plain = None
    if plain is not None:
        return plain
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is Annotated:
        given = [extra for extra in arguments[1:] if isinstance(extra, Conversion)]
        return given[0] if given else conversion_of(arguments[0])
    if isinstance(annotation, NewType):
        return conversion_of(annotation.__supertype__)
    if origin in (Union, types.UnionType):
        return _union([conversion_of(argument) for argument in arguments])
    if origin is Literal:
        return _choice({argument: argument for argument in arguments}, "one of " + ", ".join(map(repr, arguments)))
    if origin is list or origin is Sequence:
        return _list(conversion_of(arguments[0]))
    if origin is tuple:
        return _tuple(arguments)
    if origin is dict:
        return _dict(conversion_of(arguments[0]), conversion_of(arguments[1]))
    if annotation in (set, frozenset):
        return _set(annotation, Conversion())
    if origin in (set, frozenset):
        return _set(origin, conversion_of(arguments[0]))
    if isinstance(annotation, TypeVar):
        return conversion_of(annotation.__bound__ or Any)
    if isinstance(annotation, type):
        if issubclass(annotation, Enum):
            return _choice({member.value: member for member in annotation}, f"a value of {annotation.__qualname__}")
        if hasattr(annotation, "__erlang_struct__"):
            return _struct(annotation)
    raise TypeError(f"the annotation {annotation!r} says nothing about terms; use one that does, or Any")


def _union(alternatives: list[Conversion]) -> Conversion:
    def from_term(term: Any) -> Any:
        problems = []
        for alternative in alternatives:
            if alternative.from_term is None:
                return term
            try:
                return alternative.from_term(term)
            except Mismatch as problem:
                problems.append(str(problem).removeprefix("should be ").split(", got ")[0])
        raise _expected(" or ".join(problems), term)

    def to_term(value: Any) -> Any:
        for alternative in alternatives:
            if alternative.fits(value):
                return value if alternative.to_term is None else alternative.to_term(value)
        return value

    changes = any(alternative.to_term is not None for alternative in alternatives)
    return Conversion(
        from_term, to_term if changes else None, lambda value: any(kind.fits(value) for kind in alternatives)
    )


def _choice(values: dict[Any, Any], what: str) -> Conversion:
    """Values of an enumeration; those that are `str` are binaries on the wire."""
    by_term = {(type(term), term): member for term, member in values.items()}

    def from_term(term: Any) -> Any:
        for shape in (term, term.decode(errors="replace") if type(term) is bytes else term):
            try:
                return by_term[type(shape), shape]
            except (KeyError, TypeError):
                continue
        raise _expected(what, term)

    def to_term(value: Any) -> Any:
        return value.value if isinstance(value, Enum) else value

    return Conversion(from_term, to_term, lambda value: any(value == member for member in values.values()))


def _list(element: Conversion) -> Conversion:
    def from_term(term: Any) -> Any:
        if type(term) is not list:
            raise _expected("a list", term)
        return term if element.from_term is None else [element.from_term(item) for item in term]

    def to_term(value: Any) -> Any:
        assert element.to_term is not None
        return [element.to_term(item) for item in value] if isinstance(value, (list, tuple)) else value

    return Conversion(from_term, to_term if element.to_term else None, lambda value: isinstance(value, list))


def _tuple(arguments: tuple[Any, ...]) -> Conversion:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        every = conversion_of(arguments[0])
        size = None
        elements: list[Conversion] = []
    else:
        elements = [conversion_of(argument) for argument in arguments]
        every = Conversion()
        size = len(elements)

    def from_term(term: Any) -> Any:
        if type(term) is not tuple or (size is not None and len(term) != size):
            raise _expected("a tuple" if size is None else f"a tuple of {size}", term)
        wanted = [every] * len(term) if size is None else elements
        pairs = zip(wanted, term, strict=True)
        return tuple(item if one.from_term is None else one.from_term(item) for one, item in pairs)

    def to_term(value: Any) -> Any:
        if not isinstance(value, tuple) or (size is not None and len(value) != size):
            return value
        wanted = [every] * len(value) if size is None else elements
        pairs = zip(wanted, value, strict=True)
        return tuple(item if one.to_term is None else one.to_term(item) for one, item in pairs)

    changes = any(one.to_term is not None for one in (every, *elements))
    return Conversion(from_term, to_term if changes else None, lambda value: isinstance(value, tuple))


def _dict(key: Conversion, value: Conversion) -> Conversion:
    def from_term(term: Any) -> Any:
        if type(term) is not dict and type(term) is not Map:
            raise _expected("a map", term)
        if key.from_term is None and value.from_term is None:
            return term
        of_key = key.from_term or _same
        of_value = value.from_term or _same
        pairs = [(of_key(k), of_value(v)) for k, v in (term.pairs() if type(term) is Map else term.items())]
        try:
            converted = dict(pairs)
        except TypeError:
            return Map(pairs)
        return converted if len(converted) == len(pairs) else Map(pairs)

    def to_term(python: Any) -> Any:
        if not isinstance(python, (dict, Map)):
            return python
        of_key = key.to_term or _same
        of_value = value.to_term or _same
        return Map((of_key(k), of_value(v)) for k, v in (python.pairs() if isinstance(python, Map) else python.items()))

    changes = key.to_term is not None or value.to_term is not None
    return Conversion(from_term, to_term if changes else None, lambda python: isinstance(python, (dict, Map)))


def _set(kind: type, element: Conversion) -> Conversion:
    def from_term(term: Any) -> Any:
        (inner,) = _fields_of("MapSet", term, "map")
        if not isinstance(inner, (dict, Map)):
            raise _expected("a MapSet", term)
        keys = list(inner)
        try:
            made = kind(keys if element.from_term is None else map(element.from_term, keys))
        except TypeError:
            raise _expected("a MapSet whose elements Python can hash", term) from None
        if len(made) != len(keys):
            raise _expected("a MapSet whose elements differ in Python too", term)
        return made

    def to_term(value: Any) -> Any:
        if not isinstance(value, (set, frozenset)):
            return value
        of_element = element.to_term or _same
        return _elixir("MapSet", map=Map((of_element(item), []) for item in value))

    return Conversion(from_term, to_term, lambda value: isinstance(value, (set, frozenset)))


def _struct(cls: type) -> Conversion:
    def from_term(term: Any) -> Any:
        if isinstance(term, cls):
            return term
        codec = cls.__erlang_struct__  # type: ignore[attr-defined]  # set by `struct`
        if type(term) is dict and term.get(STRUCT_KEY) is codec.name:  # it is not in the table of this decoder
            try:
                return codec.decode(term)
            except EtfStructError as error:
                raise Mismatch(f"holds a {codec.name} whose field {error.field!r} {error.problem}") from None
        raise _expected(f"a {codec.name}", term)

    return Conversion(from_term, None, lambda value: isinstance(value, cls))


def _same(value: Any) -> Any:
    return value
