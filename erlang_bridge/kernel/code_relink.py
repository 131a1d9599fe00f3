"""References to old code become references to new code, wherever they are, and back again if need be.

A module that is loaded again is a new module, with classes and functions of its own; the old ones stay as they
were for whoever is in the middle of them. Everybody else has to find the new ones: ``from module import name`` in
other modules, attributes and bases of classes, tuples and tables that hold classes (child specifications,
dialects, unions), bound methods in timers, objects of old classes. The interpreter's collector knows all of these:
`gc.get_referrers`.

Frames that are on the stack are left alone, and so is what the caller says belongs to the old code.
"""

from __future__ import annotations

import functools
import gc
import logging
import operator
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeGuard

log = logging.getLogger("erlang_bridge.kernel")

MEMBER: Final = types.MemberDescriptorType
_HEAP_TYPE: Final = 1 << 9

_LEFT_ALONE: Final = (
    types.FrameType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
    types.TracebackType,
    types.ModuleType,
    types.CodeType,
)


class Journal:
    """What has been changed, so that it can be undone.

    Args:
        own: a set that several journals share for their `own`.
    """

    def __init__(self, own: set[int] | None = None) -> None:
        self._entries: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.own: set[int] = set() if own is None else own
        self.own.add(id(self._entries))
        """Ids of its own containers: they hold old objects and must go on doing so."""

    def __len__(self) -> int:
        return len(self._entries)

    def did_first(self, undo: Callable[..., None], *arguments: Any) -> None:
        """As `did`, for what has to be taken back after all else."""
        entry = (undo, arguments)
        self.own.add(id(entry))
        self.own.add(id(arguments))
        self._entries.insert(0, entry)

    def did(self, undo: Callable[..., None], *arguments: Any) -> None:
        """Note that ``undo(*arguments)`` takes a change back."""
        entry = (undo, arguments)
        self.own.update((id(entry), id(arguments)))
        self._entries.append(entry)

    def keep(self, value: Any) -> Any:
        """A container that only the journal uses: it is not to be touched by what follows."""
        self.own.add(id(value))
        return value

    def undo(self) -> None:
        """Take everything back, the last change first."""
        while self._entries:
            function, arguments = self._entries.pop()
            try:
                function(*arguments)
            except Exception:
                # Of code that is asked, such as a key's __hash__. All else is to be taken back nevertheless.
                log.exception("part of a change of code could not be taken back")


class Moves:
    """Old objects and what stands for each now. By identity."""

    def __init__(self) -> None:
        self.table: dict[int, tuple[Any, Any]] = {}
        """By id of the old: both."""
        self.own: set[int] = {id(self.table)}

    def __len__(self) -> int:
        return len(self.table)

    def add(self, old: Any, new: Any) -> None:
        entry = (old, new)
        self.own.add(id(entry))
        self.table[id(old)] = entry

    def has(self, old: Any) -> bool:
        return id(old) in self.table

    def get(self, old: Any) -> Any:
        """What stands for `old` now; itself where nothing does."""
        entry = self.table.get(id(old))
        return old if entry is None else entry[1]

    def olds(self) -> list[Any]:
        return [old for old, _ in self.table.values()]

    def pairs(self) -> list[tuple[Any, Any]]:
        return list(self.table.values())

    def copy(self) -> Moves:
        made = Moves()
        for old, new in self.table.values():
            made.add(old, new)
        return made


class Relinker:
    """Replaces the old objects of `moves` by the new ones in what holds them.

    Args:
        spared: ids of holders that belong to the old code.
        is_left_alone: for classes that keep their bases.
    """

    def __init__(
        self,
        moves: Moves,
        journal: Journal,
        spared: set[int],
        is_left_alone: Callable[[type], bool] = lambda cls: False,
    ) -> None:
        self._is_left_alone = is_left_alone
        self._moves = moves
        self._journal = journal
        self._spared = spared
        self._added: list[Any] = []
        self._touched: dict[int, Any] = {}
        """Objects of which attributes have changed, by which their hash may go."""
        self._objects: set[type] = set()
        """Classes whose objects have attributes and nothing else."""
        self._own: set[int] = {id(self._added), id(self._touched), id(self._objects)}
        self._class_of: dict[int, type] | None = None

    # -- where to look ------------------------------------------------------------------------

    def everywhere(self, olds: Iterable[Any] | None = None) -> None:
        """In all of the interpreter's memory.

        Raises:
            TypeError: a class has a base whose new version it cannot have: their layouts disagree.
        """
        pending = self._moves.olds() if olds is None else list(olds)
        while pending:
            self._own.add(id(pending))
            holders = referrers(pending)
            self._own.add(id(holders))
            self._added = []
            self._own.add(id(self._added))
            for holder in holders:
                self.patch(holder)
            pending = self._added
        self._rehash(None)

    def within(self, holders: list[Any]) -> None:
        """In `holders` only: what `reachable` found."""
        while True:
            self._added = []
            for holder in holders:
                self.patch(holder)
            if not self._added:
                self._rehash(holders)
                return
            holders = holders + [self._moves.get(old) for old in self._added]

    def _rehash(self, holders: list[Any] | None) -> None:
        """Have objects found again that are keys, and whose hash is another now.

        Args:
            holders: where to look; None: everywhere.
        """
        touched = self._touched
        pending = list(touched.values())
        while pending:
            self._own.add(id(pending))
            found = referrers(pending) if holders is None else holders
            self._own.add(id(found))
            wanted = {id(value) for value in pending}
            following: list[Any] = []
            self._own.add(id(following))
            for holder in found:
                kind = type(holder)
                if kind in _LEFT_ALONE or self._is_ours(holder):
                    continue
                if issubclass(kind, (dict, set)):
                    if any(id(key) in wanted for key in holder):
                        self._journal.did_first(_put_in_anew, holder)
                        _put_in_anew(holder)
                elif id(holder) not in touched and (kind is tuple or _hash_is_of_value(kind)):
                    parts = gc.get_referents(holder, own_dict(holder))
                    if not wanted.isdisjoint(map(id, parts)):
                        touched[id(holder)] = holder
                        following.append(holder)
            pending = following
        touched.clear()

    def patch_all(self, holders: list[Any]) -> list[Any]:
        """In `holders`; what now has a replacement of its own, so that its holders are the next."""
        self._own.add(id(holders))
        self._added = []
        for holder in holders:
            self.patch(holder)
        return self._added

    # -- one holder ---------------------------------------------------------------------------

    def _is_ours(self, holder: Any) -> bool:
        key = id(holder)
        return key in self._spared or key in self._own or key in self._moves.own or key in self._journal.own

    def _made(self, old: Any, new: Any) -> None:
        self._moves.add(old, new)
        self._added.append(old)

    def patch(self, holder: Any) -> None:
        """Replace what is old in one holder; one that cannot be changed gets a new one in its place."""
        kind = type(holder)
        if kind in _LEFT_ALONE or id(holder) in self._moves.table or self._is_ours(holder):
            return
        get = self._moves.get
        if kind in self._objects:
            self._patch_attributes(holder)
        elif kind is dict:
            self._patch_dict(holder)
        elif kind is list:
            self._patch_sequence(holder)
        elif issubclass(kind, tuple):
            self._patch_tuple(holder)
        elif kind is types.CellType:
            self._patch_cell(holder)
        elif kind is types.FunctionType:
            self._patch_function(holder)
        elif kind is types.MethodType:
            function, subject = get(holder.__func__), get(holder.__self__)
            if function is not holder.__func__ or subject is not holder.__self__:
                self._made(holder, types.MethodType(function, subject))
        elif issubclass(kind, type):
            self._patch_class(holder)
        elif kind in (staticmethod, classmethod):
            if get(holder.__func__) is not holder.__func__:
                self._made(holder, kind(get(holder.__func__)))
        elif kind is property:
            parts = (holder.fget, holder.fset, holder.fdel)
            if any(get(part) is not part for part in parts):
                self._made(holder, property(get(parts[0]), get(parts[1]), get(parts[2]), holder.__doc__))
        elif kind is types.UnionType:
            if any(get(arg) is not arg for arg in holder.__args__):
                self._made(holder, functools.reduce(operator.or_, map(get, holder.__args__)))
        elif kind is types.GenericAlias:
            self._patch_alias(holder)
        elif kind is frozenset:
            if any(get(item) is not item for item in holder):
                self._made(holder, frozenset(map(get, holder)))
        elif kind is set:
            self._patch_set(holder)
        else:
            self._patch_other(holder, kind)

    def _patch_other(self, holder: Any, kind: type) -> None:
        if issubclass(kind, dict):
            self._patch_dict(holder)
        elif issubclass(kind, (list, deque)):
            self._patch_sequence(holder)
        elif issubclass(kind, set):
            self._patch_set(holder)
        elif issubclass(kind, functools.partial):
            self._patch_partial(holder)
        elif kind is functools._lru_cache_wrapper:
            # What it remembers nobody can change; it can only forget.
            holder.cache_clear()
        elif kind.__flags__ & _HEAP_TYPE:
            self._objects.add(kind)
        if kind.__flags__ & _HEAP_TYPE:
            self._patch_attributes(holder)

    def _patch_dict(self, holder: dict[Any, Any]) -> None:
        get = self._moves.get
        cls = None if type(holder) is not dict else self._owner(holder)
        if any(get(key) is not key for key in holder):
            before = self._journal.keep(dict(holder))
            after = [(get(key), get(value)) for key, value in holder.items()]
            self._journal.did(_refill, holder, before)
            _refill(holder, after)
            return
        for key, value in list(holder.items()):
            new = get(value)
            if new is value:
                continue
            if cls is not None:
                # Not into its dict: the interpreter remembers where it has found an attribute.
                self._journal.did(type.__setattr__, cls, key, value)
                type.__setattr__(cls, key, new)
            else:
                self._journal.did(dict.__setitem__, holder, key, value)
                dict.__setitem__(holder, key, new)

    def _owner(self, namespace: dict[Any, Any]) -> type | None:
        """The class whose dict it is."""
        if self._class_of is None:
            self._class_of = {}
            for cls in gc.get_objects():
                if issubclass(type(cls), type) and cls.__flags__ & _HEAP_TYPE:
                    for part in gc.get_referents(cls):
                        if type(part) is dict and "__module__" in part:
                            self._class_of[id(part)] = cls
            self._own.add(id(self._class_of))
        return self._class_of.get(id(namespace))

    def is_class_dict(self, namespace: Any) -> bool:
        return type(namespace) is dict and self._owner(namespace) is not None

    def _patch_sequence(self, holder: Any) -> None:
        get = self._moves.get
        for index, value in enumerate(holder):
            new = get(value)
            if new is not value:
                kind: Any = list if isinstance(holder, list) else deque
                self._journal.did(kind.__setitem__, holder, index, value)
                kind.__setitem__(holder, index, new)

    def _patch_tuple(self, holder: Any) -> None:
        get = self._moves.get
        if any(get(item) is not item for item in holder):
            made = tuple.__new__(type(holder), map(get, holder))
            for name, value in (own_dict(holder) or {}).items():
                object.__setattr__(made, name, get(value))
            self._made(holder, made)
        elif type(holder).__flags__ & _HEAP_TYPE:
            self._patch_attributes(holder)

    def _patch_set(self, holder: set[Any]) -> None:
        get = self._moves.get
        for item in [item for item in holder if get(item) is not item]:
            new = get(item)
            self._journal.did(set.add, holder, item)
            set.discard(holder, item)
            if new not in holder:
                self._journal.did(set.discard, holder, new)
                set.add(holder, new)

    def _patch_cell(self, cell: types.CellType) -> None:
        try:
            value = cell.cell_contents
        except ValueError:
            return  # not filled yet
        if self._moves.get(value) is not value:
            self._set(cell, "cell_contents", value)

    def _patch_function(self, function: types.FunctionType) -> None:
        for name in ("__defaults__", "__kwdefaults__"):
            value = getattr(function, name)
            if value is not None and self._moves.get(value) is not value:
                self._set(function, name, value)

    def _patch_class(self, cls: Any) -> None:
        get = self._moves.get
        bases = cls.__bases__
        if any(get(base) is not base for base in bases) and not self._is_left_alone(cls):
            self._journal.did(setattr, cls, "__bases__", bases)
            cls.__bases__ = tuple(map(get, bases))

    def _patch_alias(self, alias: Any) -> None:
        get = self._moves.get
        origin = get(alias.__origin__)
        arguments = tuple(map(get, alias.__args__))
        if origin is not alias.__origin__ or any(a is not b for a, b in zip(arguments, alias.__args__, strict=True)):
            self._made(alias, types.GenericAlias(origin, arguments))

    def _patch_partial(self, holder: Any) -> None:
        get = self._moves.get
        before = (holder.func, holder.args, holder.keywords, vars(holder))
        after = (get(before[0]), tuple(map(get, before[1])), {k: get(v) for k, v in before[2].items()}, before[3])
        changed = after[0] is not before[0] or any(a is not b for a, b in zip(after[1], before[1], strict=True))
        if changed or any(after[2][key] is not value for key, value in before[2].items()):
            self._journal.did(type(holder).__setstate__, holder, self._journal.keep(before))
            holder.__setstate__(after)

    def _patch_attributes(self, holder: Any) -> None:
        moves = self._moves.table
        changes = len(self._journal)
        for member in members(type(holder)):
            try:
                value = member.__get__(holder)
            except AttributeError:
                continue
            if id(value) in moves:
                new = moves[id(value)][1]
                try:
                    member.__set__(holder, new)
                except (AttributeError, TypeError):
                    continue  # read-only, as those of classes written in C
                self._journal.did(member.__set__, holder, value)
        attributes = own_dict(holder)
        if attributes is not None:
            for name, value in list(attributes.items()):
                if id(value) in moves:
                    self._journal.did(dict.__setitem__, attributes, name, value)
                    attributes[name] = moves[id(value)][1]
        if len(self._journal) > changes and _hash_is_of_value(type(holder)):
            self._touched[id(holder)] = holder

    def _set(self, holder: Any, name: str, value: Any) -> None:
        self._journal.did(setattr, holder, name, value)
        setattr(holder, name, self._moves.get(value))


def _refill(holder: dict[Any, Any], items: Any) -> None:
    # Not with methods that its class has put over those of dict: a Counter's update adds up.
    kind = OrderedDict if isinstance(holder, OrderedDict) else dict
    kind.clear(holder)
    for key, value in items.items() if isinstance(items, dict) else items:
        kind.__setitem__(holder, key, value)


def _put_in_anew(holder: Any) -> None:
    if isinstance(holder, dict):
        _refill(holder, list(holder.items()))
    else:
        _reset_set(holder, list(holder))


def _hash_is_of_value(kind: Any) -> bool:
    """Whether the hash of a class's objects may go by their attributes."""
    return kind.__hash__ not in (None, object.__hash__) and bool(kind.__flags__ & _HEAP_TYPE) and kind is not type


def members(cls: Any) -> tuple[Any, ...]:
    """The slots of a class and its bases, as descriptors."""
    return _members(cls)


def forget_classes() -> None:
    """To be called when done: what was found out about classes keeps them in memory."""
    _members.cache_clear()


@functools.lru_cache(maxsize=512)
def _members(cls: Any) -> tuple[Any, ...]:
    return tuple(value for base in cls.__mro__[:-1] for value in vars(base).values() if type(value) is MEMBER)


def own_dict(value: Any) -> dict[str, Any] | None:
    """The attributes of an object that has a dict for them; None where it has none."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found if type(found) is dict else None


def referrers(objects: list[Any]) -> list[Any]:
    """Whatever the collector knows to hold one of `objects`."""
    if len(objects) <= _FEW:
        return gc.get_referrers(*objects)
    # The collector's own function compares every reference with every object.
    wanted = {id(value) for value in objects}
    referents = gc.get_referents
    return [holder for holder in gc.get_objects() if not wanted.isdisjoint(map(id, referents(holder)))]


_FEW: Final = 32


# -- what somebody holds ------------------------------------------------------------------------


def is_plain(value: Any) -> TypeGuard[Any]:
    """Whether an object is data or of a class written in Python, so that one may look into it and change it."""
    kind = type(value)
    if kind in _CONTAINERS:
        return True
    if not kind.__flags__ & _HEAP_TYPE or kind.__flags__ & (1 << 8):
        return issubclass(kind, (dict, list, set, tuple, deque))
    return True


_CONTAINERS: Final = frozenset({dict, list, tuple, set, frozenset, deque, types.MethodType, types.CellType})


def reachable(roots: Iterable[Any], is_boundary: Callable[[Any], bool]) -> list[Any]:
    """What can be got at from `roots` through containers, attributes, bound methods and closures, each once.

    Args:
        is_boundary: true for what is somebody else's: it and what is behind it are left out.
    """
    found: list[Any] = []
    seen: set[int] = set()
    stack = list(roots)
    while stack:
        value = stack.pop()
        if id(value) in seen or is_boundary(value):
            continue
        kind = type(value)
        if kind in _ATOMS or issubclass(kind, type):
            continue
        if kind is types.FunctionType:
            seen.add(id(value))
            found.append(value)
            stack.extend(value.__closure__ or ())
            stack.extend(value.__defaults__ or ())
            continue
        if not is_plain(value):
            continue
        seen.add(id(value))
        found.append(value)
        if issubclass(kind, dict):
            stack.extend(value.keys())
            stack.extend(value.values())
        elif issubclass(kind, (list, tuple, set, frozenset, deque)):
            stack.extend(value)
        elif kind is types.MethodType:
            stack.append(value.__func__)
            stack.append(value.__self__)
        elif kind is types.CellType:
            try:
                stack.append(value.cell_contents)
            except ValueError:
                continue  # not filled yet
        if kind not in _CONTAINERS:
            stack.extend(attributes_of(value).values())
    return found


_ATOMS: Final = frozenset(
    {int, str, bytes, float, bool, type(None), complex, types.ModuleType, types.BuiltinFunctionType}
)


def attributes_of(value: Any) -> dict[str, Any]:
    """All attributes of an object that it has itself: slots and dict. Asks no code of its class."""
    found = {}
    for member in members(type(value)):
        try:
            found[member.__name__] = member.__get__(value)
        except AttributeError:
            continue
    return found | (own_dict(value) or {})


def set_class(value: Any, cls: type) -> None:
    """Make an object one of another class.

    Raises:
        TypeError: their layouts disagree.
    """
    setter: Any = type.__setattr__ if isinstance(value, type) else object.__setattr__
    setter(value, "__class__", cls)


def snapshot(holders: Iterable[Any], journal: Journal) -> None:
    """Note the whole content of each holder that can change, so that what others do to it is undone as well."""
    for value in holders:
        kind = type(value)
        if issubclass(kind, dict):
            journal.did(_refill, value, journal.keep(dict(value)))
        elif issubclass(kind, (list, deque)):
            journal.did(_reset_sequence, value, journal.keep(list(value)))
        elif issubclass(kind, set):
            journal.did(_reset_set, value, journal.keep(list(value)))
        if kind not in _CONTAINERS and kind is not types.FunctionType:
            journal.did(_reset_attributes, value, kind, journal.keep(attributes_of(value)))


def _reset_sequence(holder: Any, items: list[Any]) -> None:
    kind: Any = list if isinstance(holder, list) else deque
    kind.clear(holder)
    kind.extend(holder, items)


def _reset_set(holder: set[Any], items: list[Any]) -> None:
    set.clear(holder)
    set.update(holder, items)


def _reset_attributes(value: Any, kind: type, attributes: dict[str, Any]) -> None:
    if type(value) is not kind:
        set_class(value, kind)
    names = dict(attributes)
    for member in members(kind):
        name = member.__name__
        try:
            if name in names:
                member.__set__(value, names.pop(name))
            else:
                member.__delete__(value)
        except AttributeError:
            names.pop(name, None)
    own = own_dict(value)
    if own is not None:
        own.clear()
        own.update(names)
