"""Objects of a class that was defined anew become objects of the new class.

Where both classes lay their objects out alike, an object changes its class and stays the object it is. Otherwise a
new object takes its place: fields go over by name, new fields get their default, and those that are no more are
dropped. A new field without a default has to be set by ``code_change``.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import gc
import sys
from collections.abc import Iterable
from typing import Any, Final

from erlang_bridge.kernel.code_relink import Journal, Moves, attributes_of, members, own_dict, referrers, set_class

_HAS_GC: Final = 1 << 14


_VALUES: Final = (tuple, str, int, bytes, float, complex, frozenset)
"""Built-in classes whose objects are what they were made of."""

PASSING: Final = "__pyanoma_passing__"
"""In the namespace of a class that is only made for the time of a ``code_change``."""


class Unconvertible(Exception):
    """An object cannot become one of the new class.

    Attributes:
        cls: the new class.
    """

    def __init__(self, cls: type, why: str) -> None:
        self.cls = cls
        super().__init__(why)


@dataclasses.dataclass(eq=False)
class Conversion:
    """How objects of one class become objects of another that has taken its place.

    Attributes:
        missing: new fields without a default.
        dropped: attributes of the old class that the new one has no place for.
    """

    old: type
    new: type

    def __post_init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.missing: tuple[str, ...] = ()
        self.dropped: tuple[str, ...] = ()
        self.same_layout: bool | None = None
        if dataclasses.is_dataclass(self.old) and dataclasses.is_dataclass(self.new):
            before = {field.name for field in dataclasses.fields(self.old)}
            added = [field for field in dataclasses.fields(self.new) if field.name not in before]
            after = {field.name for field in dataclasses.fields(self.new)}
            self.fields = {field.name: field for field in added}
            self.missing = tuple(field.name for field in added if not _has_default(field))
            self.dropped = tuple(name for name in before if name not in after)
        else:
            before = {member.__name__ for member in members(self.old)}
            after = {member.__name__ for member in members(self.new)}
            self.dropped = tuple(before - after)
        if not _hash_alike(self.old.__hash__, self.new.__hash__):
            # It may be a key somewhere, where it has to be found again.
            self.same_layout = False

    def with_old_fields(self) -> Conversion:
        """To a class as the new one, which also has what the old one had: what ``code_change`` is given."""
        if not self.dropped:
            return self
        if own_dict_of(self.new):
            same = Conversion(self.old, self.new)
            same.dropped = ()
            return same
        about = {"__module__": self.new.__module__, "__doc__": self.new.__doc__, PASSING: True}
        made = type(self.new.__name__, (self.new,), about)
        made.__qualname__ = self.new.__qualname__
        wide = Conversion(self.old, made)
        wide.dropped = ()
        return wide

    def apply(self, value: Any, journal: Journal) -> Any:
        """`value` as an object of the new class: itself, or another.

        Raises:
            Unconvertible
        """
        new = self.new
        if issubclass(new, enum.Enum):
            return _member(new, value)
        if isinstance(value, tuple) and getattr(self.old, "_fields", ()) != getattr(new, "_fields", ()):
            self.same_layout = False
        if self.same_layout is not False:
            try:
                set_class(value, new)
            except TypeError:
                self.same_layout = False
            else:
                self.same_layout = True
                journal.did(set_class, value, self.old)
                self._fill(value, journal)
                return value
        return self._rebuilt(value)

    def _fill(self, value: Any, journal: Journal) -> None:
        """New fields, and no old ones, in an object that has changed its class."""
        attributes = own_dict(value)
        if attributes is None or not (self.fields or self.dropped):
            return
        journal.did(_refill, attributes, journal.keep(dict(attributes)))
        for name in self.dropped:
            attributes.pop(name, None)
        for name, field in self.fields.items():
            if _has_default(field):
                object.__setattr__(value, name, _default(field))

    def _rebuilt(self, value: Any) -> Any:
        new: Any = self.new
        if isinstance(value, tuple) and hasattr(new, "_fields"):
            known = value._asdict() if hasattr(value, "_asdict") else {}
            given = {**new._field_defaults, **{name: known[name] for name in new._fields if name in known}}
            missing = [name for name in new._fields if name not in given]
            if missing:
                raise Unconvertible(new, f"the field {missing[0]} of {new.__qualname__} is new and has no default")
            return new(**given)
        built_in: Any = next((kind for kind in _VALUES if isinstance(value, kind) and issubclass(new, kind)), None)
        try:
            made = object.__new__(new) if built_in is None else built_in.__new__(new, value)
        except TypeError:
            made = copy.copy(value)  # of a built-in class's making
            if type(made) is not new:
                raise Unconvertible(new, f"an object of {new.__qualname__} cannot be made of an old one") from None
        set_attribute = object.__setattr__
        for name, item in attributes_of(value).items():
            if name in self.dropped:
                continue
            try:
                set_attribute(made, name, item)
            except AttributeError:
                continue  # a slot that is no more
        for name, field in self.fields.items():
            if _has_default(field):
                set_attribute(made, name, _default(field))
        return made


def _hash_alike(old: Any, new: Any) -> bool:
    """Whether two ``__hash__`` do the same with the same attributes."""
    if old is new or new is None:
        return True
    before, after = getattr(old, "__code__", None), getattr(new, "__code__", None)
    if before is None or after is None:
        return False
    return all(getattr(before, part) == getattr(after, part) for part in ("co_code", "co_names", "co_consts"))


def is_passing(cls: type) -> bool:
    """Whether a class was made for a ``code_change`` only."""
    return PASSING in vars(cls)


def _member(new: Any, value: Any) -> Any:
    """The member of a new enumeration that has the name of an old one; that itself where there is none."""
    found = new.__members__.get(value.name)
    if found is None and issubclass(new, enum.Flag):
        try:
            found = new(value.value)
        except ValueError:
            return value
    return value if found is None else found


def own_dict_of(cls: type) -> bool:
    """Whether objects of a class have a dict."""
    return cls.__dictoffset__ != 0


def _has_default(field: Any) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _default(field: Any) -> Any:
    return field.default if field.default is not dataclasses.MISSING else field.default_factory()


def _refill(holder: dict[Any, Any], items: dict[Any, Any]) -> None:
    holder.clear()
    holder.update(items)


def unset_fields(value: Any) -> list[str]:
    """Fields of a dataclass object that have no value: ``code_change`` was to give them one."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return []
    found = attributes_of(value)
    return [
        field.name for field in dataclasses.fields(value) if field.name not in found and not _in_class(value, field)
    ]


def _in_class(value: Any, field: Any) -> bool:
    return field.default is not dataclasses.MISSING and not any(m.__name__ == field.name for m in members(type(value)))


# -- finding them -----------------------------------------------------------------------------


def instances(classes: Iterable[type]) -> list[Any]:
    """All objects of exactly these classes in the interpreter."""
    wanted = list(classes)
    if not wanted:
        return []
    exact = set(wanted)
    found = [value for value in referrers(wanted) if type(value) in exact]
    hidden = {cls for cls in wanted if not cls.__flags__ & _HAS_GC and _is_held_unseen(cls)}
    if hidden:
        found += _untracked(hidden)
    return found


def _is_held_unseen(cls: type) -> bool:
    """Whether something holds a class that the collector does not see: objects without any attribute do."""
    holders = gc.get_referrers(cls)
    seen = sum(sum(part is cls for part in gc.get_referents(holder)) for holder in holders)
    # `cls` here, the argument of getrefcount, and the caller's sets, lists and loop are seen or counted by now.
    return sys.getrefcount(cls) - seen > 3


def _untracked(classes: set[type]) -> list[Any]:
    """Objects that the collector does not track, found in what holds them."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    is_tracked = gc.is_tracked
    for holder in gc.get_objects():
        stack = [part for part in gc.get_referents(holder) if not is_tracked(part)]
        while stack:
            part = stack.pop()
            if type(part) in classes:
                found[id(part)] = part
            elif type(part) in (tuple, dict, frozenset) and id(part) not in seen:
                seen.add(id(part))
                stack.extend(gc.get_referents(part))
    return list(found.values())


def convert_all(
    values: Iterable[Any], conversions: dict[type, Conversion], moves: Moves, journal: Journal
) -> list[tuple[Any, Conversion]]:
    """Convert objects; those that are others now are in `moves` afterwards.

    Returns:
        Those that have a new field without a value.

    Raises:
        Unconvertible
    """
    unset = []
    for value in values:
        conversion = conversions.get(type(value))
        if conversion is None:
            continue
        made = conversion.apply(value, journal)
        if made is not value:
            moves.add(value, made)
        if conversion.missing:
            unset.append((made, conversion))
    return unset
