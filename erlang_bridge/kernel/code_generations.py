"""New code for a module, made beside the old: compiled, run as a module of its own, and compared with what is there.

Until it is put in its place nobody sees it.
"""

from __future__ import annotations

import functools
import gc
import importlib.util
import linecache
import sys
import traceback
import types
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

from erlang_bridge.errors import ModuleNotLoaded
from erlang_bridge.etf.structs import StructCodec, default_structs
from erlang_bridge.kernel import code_modules
from erlang_bridge.kernel.code_modules import GENERATION, Generation
from erlang_bridge.kernel.code_registrations import Registration, Registrations
from erlang_bridge.kernel.code_relink import Moves
from erlang_bridge.kernel.code_states import Conversion

_MISSING: Final = object()

_DATA: Final = (dict, list, set, tuple, frozenset, deque)
"""What a module may have made for itself at import, and others may have got from it."""


@dataclass(eq=False)
class Change:
    """What changes with new generations of some modules.

    Attributes:
        new: the generations, in the order in which they were run.
        code: old classes, functions and modules, and what takes their place.
        data: other values that the modules made at import, likewise; these are replaced in code only, not in states.
        conversions: by old class, for its objects.
        old_classes: all classes of the old generations, also those that are no more.
        owned: ids of what belongs to the old generations and has to stay as it is.
        structs: what the new modules have put into the table of Elixir structs.
        registrations: what they have put into other modules' tables.
    """

    new: list[Generation]
    code: Moves = field(default_factory=Moves)
    data: Moves = field(default_factory=Moves)
    conversions: dict[type, Conversion] = field(default_factory=dict)
    old_classes: dict[type, Generation] = field(default_factory=dict)
    owned: set[int] = field(default_factory=set)
    structs: dict[Any, StructCodec] = field(default_factory=dict)
    registrations: list[Registration] = field(default_factory=list)

    @property
    def old(self) -> list[Generation]:
        return [generation.old for generation in self.new if generation.old is not None]

    def own(self) -> set[int]:
        """Ids of its own parts that hold old objects, and must go on doing so."""
        parts: list[Any] = [self, vars(self), self.new, self.conversions, self.old_classes, self.structs]
        for conversion in self.conversions.values():
            parts += [conversion, vars(conversion)]
        return {id(part) for part in parts} | self.code.own | self.data.own

    def old_namespaces(self) -> dict[int, Generation]:
        """The globals of the old functions, by id."""
        return {id(generation.namespace): generation for generation in self.old}


def prepare(modules: list[ModuleType]) -> Change:
    """Read, compile and run the files of `modules` anew, those that others import first.

    Raises:
        ModuleNotLoaded: one cannot be read, does not compile, or raised. Nothing has changed.
    """
    made = [_compile(module) for module in modules]
    ordered = _in_order(made)
    change = Change([generation for generation, _ in ordered])
    before = dict(sys.modules)
    structs = dict(default_structs)
    registrations = Registrations(modules)
    attributes: list[tuple[ModuleType, str, Any]] = []
    try:
        for generation, code in ordered:
            _run(generation, code, attributes)
    except BaseException:
        for name in set(sys.modules) - set(before):
            _forget_if_it_uses(name, change)
        raise
    finally:
        for generation, _ in ordered:
            sys.modules[generation.name] = before[generation.name]
        for package, name, value in attributes:
            setattr(package, name, value)
        change.registrations = registrations.withdraw([generation.module for generation in change.new])
        change.structs = {key: codec for key, codec in default_structs.items() if structs.get(key) is not codec}
        default_structs.clear()
        default_structs.update(structs)
    for generation in change.new:
        _compare(change, generation)
    for generation in change.new:
        _compare_data(change, generation)
    for generation in change.new:
        _find_owned(change, generation)
    return change


def _compile(module: ModuleType) -> tuple[Generation, Any]:
    name = module.__name__
    path = code_modules.source_path(module)
    if path is None:
        raise ModuleNotLoaded(name, "nofile", "it does not come from a file of Python source")
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise ModuleNotLoaded(name, "nofile", f"its file cannot be read: {error.strerror}", path) from error
    try:
        code = compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise ModuleNotLoaded(
            name, "badfile", f"{type(error).__name__}: {error.msg}", error.filename or path, error.lineno or 1
        ) from error
    except (ValueError, MemoryError, RecursionError, OverflowError) as error:
        # Null bytes, an encoding that is none; an expression that is nested too deep.
        raise ModuleNotLoaded(name, "badfile", f"{type(error).__name__}: {error}", path, 1) from error
    spec = module.__spec__
    new = importlib.util.module_from_spec(spec) if spec is not None else ModuleType(name)
    for key in ("__file__", "__package__", "__loader__", "__path__", "__cached__"):
        if key in vars(module):
            vars(new)[key] = vars(module)[key]
    generation = Generation(new, path, source, old=code_modules.generation(module, read=False))
    setattr(new, GENERATION, generation)
    return generation, code


def _in_order(made: list[tuple[Generation, Any]]) -> list[tuple[Generation, Any]]:
    """Those that others of them import come first; in a circle, as they were named."""
    by_name = {generation.name: (generation, code) for generation, code in made}
    ordered: list[tuple[Generation, Any]] = []
    visited: set[str] = set()

    def visit(name: str) -> None:
        if name in visited or name not in by_name:
            return
        visited.add(name)
        for module, imported, _ in by_name[name][0].imports:
            visit(module)
            if imported is not None:
                visit(f"{module}.{imported}")
        ordered.append(by_name[name])

    for name in by_name:
        visit(name)
    return ordered


def _run(generation: Generation, code: Any, attributes: list[tuple[ModuleType, str, Any]]) -> None:
    """Run the module's code. It stands in ``sys.modules`` from then on: dataclasses and others look there.

    Those that are run after it find it as an attribute of its package, too; `attributes` gets what was there.
    """
    name, path = generation.name, generation.path or ""
    sys.modules[name] = generation.module
    package, _, part = name.rpartition(".")
    if (
        generation.old is not None
        and vars(sys.modules.get(package, generation.module)).get(part) is generation.old.module
    ):
        attributes.append((sys.modules[package], part, generation.old.module))
        setattr(sys.modules[package], part, generation.module)
    linecache.checkcache(path)
    try:
        exec(code, generation.namespace)  # noqa: S102  # what importing it does
    except (Exception, SystemExit) as error:
        where, line = place_of(error, path)
        raise ModuleNotLoaded(name, "on_load_failure", in_words(error), where, line) from error
    if generation.old is not None:
        for key, value in generation.old.namespace.items():
            # Modules inside a package are its attributes.
            if isinstance(value, ModuleType) and sys.modules.get(f"{name}.{key}") is value:
                generation.namespace.setdefault(key, value)


def _forget_if_it_uses(name: str, change: Change) -> None:
    """A module that was imported for the first time by one that failed must not keep what that had."""
    module = sys.modules.get(name)
    new = {generation.name: generation.namespace for generation in change.new}
    for value in list(vars(module).values()) if isinstance(module, ModuleType) else ():
        owner = new.get(getattr(value, "__module__", None) or "")
        if owner is not None and any(value is mine for mine in owner.values()):
            del sys.modules[name]
            return


def place_of(error: BaseException, path: str) -> tuple[str, int | None]:
    """File and line of an error: the innermost in the file `path` if there is one, else the innermost."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno
    mine = [place for place in frames if place[0] == path]
    if mine or frames:
        return (mine or frames)[-1]
    return path, None


def in_words(error: BaseException) -> str:
    """Its class and its text."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


# -- old and new ------------------------------------------------------------------------------


def _compare(change: Change, generation: Generation) -> None:
    """Pair the old classes and functions of a module with those of the same name in the new one."""
    old = generation.old
    assert old is not None
    change.code.add(old.module, generation.module)
    functions: list[tuple[Any, Any]] = []
    for name, value in list(old.namespace.items()):
        if not (name.startswith("__") and name.endswith("__")):
            _pair(change, old, value, generation.namespace.get(name, _MISSING), functions)
    del value
    _add_used(change.code, functions)


def _add_used(moves: Moves, functions: list[tuple[Any, Any]]) -> None:
    """Leave out methods and functions that only their class or module holds: looking for holders is dear."""

    def probe() -> None:
        pass

    namespace = {"probe": probe}
    functions.append((probe, None))
    del probe
    counts = [sys.getrefcount(functions[index][0]) for index in range(len(functions))]
    functions.pop()
    for (old, new), count in zip(functions, counts, strict=False):
        if count > counts[-1] or type(old) is not FunctionType:
            moves.add(old, new)
    namespace.clear()


def _pair(change: Change, old: Generation, value: Any, new: Any, functions: list[tuple[Any, Any]]) -> None:
    if value is new:
        return
    if isinstance(value, type):
        if value.__module__ == old.name and value not in change.old_classes:
            change.old_classes[value] = old
            _pair_class(change, old, value, new, functions)
    elif _function_of(value, old) is not None and _function_of(new, None) is not None:
        functions.append((value, new))


def _pair_class(change: Change, old: Generation, value: type, new: Any, functions: list[tuple[Any, Any]]) -> None:
    is_renewed = isinstance(new, type) and new.__module__ == old.name
    if is_renewed:
        change.code.add(value, new)
        change.conversions[value] = Conversion(value, new)
    after: Any = vars(new) if is_renewed else {}
    for name, attribute in list(vars(value).items()):
        other = after.get(name, _MISSING)
        if isinstance(attribute, StructCodec) and isinstance(other, StructCodec):
            change.code.add(attribute, other)
        elif not isinstance(attribute, type) or attribute.__qualname__.startswith(value.__qualname__ + "."):
            _pair(change, old, attribute, other, functions)


def _function_of(value: Any, generation: Generation | None) -> FunctionType | None:
    """The function that a value is, or is a wrapper of; where a generation is given, only if it is of that."""
    inner = value
    for _ in range(8):
        if isinstance(inner, FunctionType) and (generation is None or inner.__globals__ is generation.namespace):
            return inner
        if isinstance(inner, (staticmethod, classmethod)):
            inner = inner.__func__
        elif isinstance(inner, property):
            inner = inner.fget
        else:
            inner = getattr(inner, "__wrapped__", None)
    return None


def _compare_data(change: Change, generation: Generation) -> None:
    """Pair what a module made at import for others to use: tables, behaviours, dialects."""
    old = generation.old
    assert old is not None
    for name, value in list(old.namespace.items()):
        new = generation.namespace.get(name, _MISSING)
        if new is _MISSING or new is value or name.startswith("__") or name in old.imported_names:
            continue
        if name in generation.imported_names or not _is_made_here(value):
            continue
        if not change.code.has(value):
            change.data.add(value, new)


def _is_made_here(value: Any) -> bool:
    """Whether a value is one of its own, and not one that the interpreter may share among all that look like it."""
    kind = type(value)
    if issubclass(kind, _DATA):
        return len(value) > 0 or not issubclass(kind, (tuple, frozenset))
    if issubclass(kind, (type, FunctionType, ModuleType)):
        return False
    root = kind.__module__.partition(".")[0]
    return bool(kind.__flags__ & (1 << 9)) and root not in ("logging", "re") and not _is_term(kind)


def _is_term(kind: type) -> bool:
    return kind.__module__.startswith("erlang_bridge.terms")


def _find_owned(change: Change, generation: Generation) -> None:
    """Mark what only the old code is made of, and has to stay the old code's."""
    old = generation.old
    assert old is not None
    owned = change.owned
    owned.add(id(old))
    owned.add(id(generation))
    owned.add(id(vars(old)))
    owned.add(id(vars(generation)))
    namespace = old.namespace
    owned.add(id(namespace))
    stack: list[Any] = []
    for name, value in list(namespace.items()):
        if name.startswith("__") or name in old.imported_names or value is generation.namespace.get(name, _MISSING):
            continue
        stack.append(value)
    while stack:
        value = stack.pop()
        if id(value) in owned or not _is_part(value, old, change):
            continue
        owned.add(id(value))
        stack.extend(gc.get_referents(value))


def _is_part(value: Any, old: Generation, change: Change) -> bool:
    kind = type(value)
    if kind is FunctionType:
        return value.__globals__ is old.namespace
    if issubclass(kind, type):
        return value in change.old_classes
    if kind in (dict, list, set, tuple, frozenset, types.CellType, staticmethod, classmethod, property):
        return True
    if kind in (types.UnionType, types.GenericAlias, functools.partial):
        return True
    # Fields of dataclasses; objects of the module's own making.
    return kind.__module__ == "dataclasses" or change.data.has(value)


def bind_imported_names(change: Change, modules: Iterable[ModuleType], bind: Any) -> None:
    """Have ``bind(module, name, value)`` called for each ``from changed import name`` in other modules.

    For what cannot be told by identity, such as numbers. Also ``import *``, and names that another module has from
    a changed one and hands on.
    """
    old_modules = {id(generation.module) for generation in change.old}
    importers = [
        (module, code_modules.imports_of(module))
        for module in modules
        if isinstance(module, ModuleType) and id(module) not in old_modules
    ]
    changed: dict[str, dict[str, tuple[Any, Any]]] = {}
    for generation in change.new:
        old = generation.old.namespace if generation.old is not None else {}
        new = generation.namespace
        changed[generation.name] = {
            name: (value, new[name])
            for name, value in list(old.items())
            if name in new and new[name] is not value and not (name.startswith("__") and name.endswith("__"))
        }
    public = {generation.name: generation.namespace.get("__all__") for generation in change.new}
    is_done = False
    while not is_done:
        is_done = True
        for module, imports in importers:
            for owner, name, bound in imports:
                known = changed.get(owner)
                if not known or name is None:
                    continue
                names = [(name, bound)]
                if name == "*":
                    exported = public.get(owner)
                    names = [(key, key) for key in known if _is_exported(key, exported)]
                for key, own in names:
                    before, after = known.get(key, (_MISSING, _MISSING))
                    if before is _MISSING or vars(module).get(own, _MISSING) is not before:
                        continue
                    bind(module, own, after)
                    changed.setdefault(module.__name__, {})[own] = (before, after)
                    is_done = False


def _is_exported(name: str, exported: Any) -> bool:
    """Whether ``import *`` takes a name; `exported` is the module's ``__all__``, if it has one."""
    return not name.startswith("_") if exported is None else name in exported


def line_of(value: Any) -> tuple[str, int]:
    """File and line where a class or function is defined; line 1 where only the file is known."""
    if isinstance(value, FunctionType):
        return value.__code__.co_filename, value.__code__.co_firstlineno
    module = sys.modules.get(value.__module__)
    path = code_modules.source_path(module) if module is not None else None
    return _class_line(path, value) if path is not None else ("?", 1)


def _class_line(path: str, cls: type) -> tuple[str, int]:
    wanted = f"class {cls.__name__}"
    for number, line in enumerate(linecache.getlines(path), 1):
        text = line.strip()
        if text.startswith(wanted) and not text[len(wanted) : len(wanted) + 1].isidentifier():
            return path, number
    return path, 1
