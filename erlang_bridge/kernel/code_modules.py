"""The Python modules of this interpreter as a BEAM sees modules: which are loaded, from where, in which version.

A module goes by its dotted name, ``'engines.ticker.server'``; a class of it by that and its own,
``'engines.ticker.server.Ticker'``, which is what process tools show as the module of a server.

Nothing here imports anything: only what is loaded already has a name.

Source: OTP ``lib/kernel/src/code.erl``; Erlang Reference Manual, "Modules", ``module_info``.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.process.breakpoints import code_of

GENERATION: Final = "__pyanoma_generation__"
"""Where a module keeps its `Generation`. Code is one for the whole interpreter, however many nodes are in it."""

_OURS: Final = ("erlang_bridge", "gevent", "greenlet", "zope", "__main__", "__mp_main__")
"""What runs the processes cannot be changed under them, as OTP's own modules cannot."""


@dataclass(eq=False)
class Generation:
    """One version of a module's code.

    Attributes:
        source: what it was made of; None where it was loaded before anybody looked.
        old: the generation before, while something may be running it; None once it is purged.
        old_classes: those of that one.
    """

    module: ModuleType
    path: str | None
    source: bytes | None
    old: Generation | None = None
    old_classes: frozenset[type] = field(default=frozenset(), repr=False)

    @property
    def name(self) -> str:
        return self.module.__name__

    @property
    def namespace(self) -> dict[str, Any]:
        return vars(self.module)

    @cached_property
    def md5(self) -> bytes | None:
        """Of its source."""
        return None if self.source is None else hashlib.md5(self.source, usedforsecurity=False).digest()

    @property
    def version(self) -> Any:
        """``__vsn__`` or ``VSN`` of the module, else the MD5 of its source as an integer, as ``-vsn`` has it.

        None where neither is known.
        """
        for name in ("__vsn__", "VSN"):
            if name in self.namespace:
                return self.namespace[name]
        return None if self.md5 is None else int.from_bytes(self.md5, "big")

    @cached_property
    def imports(self) -> list[tuple[str, str | None, str]]:
        """``(module, name, bound as)`` of each import anywhere in the source; name is None for ``import module``."""
        if self.source is None:
            return []
        try:
            tree = ast.parse(self.source)
        except (SyntaxError, ValueError):
            return []
        return list(_imports(tree, self.module.__package__ or ""))

    @cached_property
    def imported_names(self) -> frozenset[str]:
        return frozenset(bound.partition(".")[0] for _, _, bound in self.imports)


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, str | None, str]]:
    for found in ast.walk(tree):
        if isinstance(found, ast.Import):
            for alias in found.names:
                yield alias.name, None, alias.asname or alias.name
        elif isinstance(found, ast.ImportFrom):
            try:
                module = importlib.util.resolve_name("." * found.level + (found.module or ""), package)
            except ImportError:
                continue
            for alias in found.names:
                yield module, alias.name, alias.asname or alias.name


def uses(cls: type, module: str) -> bool:
    """Whether a class, or one that it inherits from, is of `module` or of one that imports it, be it through others."""
    seen: set[str] = set()
    waiting = [base.__module__ for base in cls.__mro__]
    while waiting:
        name = waiting.pop()
        if name == module:
            return True
        found = sys.modules.get(name)
        if name in seen or not isinstance(found, ModuleType) or is_sticky(found):
            continue
        seen.add(name)
        for imported, part, _ in imports_of(found):
            waiting += [imported] if part is None else [imported, f"{imported}.{part}"]
    return False


# -- which modules there are ------------------------------------------------------------------


def find(name: str) -> tuple[ModuleType, type | None] | None:
    """The loaded module of that name, or the module and class where the name goes on with a class; None: neither.

    Python's own modules have no name here: ``sys`` and ``code`` are Erlang's.
    """
    if name.partition(".")[0] in sys.stdlib_module_names:
        return None
    module = sys.modules.get(name)
    if isinstance(module, ModuleType):
        return module, None
    owner, _, rest = name.rpartition(".")
    inner: list[str] = []
    while owner:
        inner.insert(0, rest)
        module = sys.modules.get(owner)
        if isinstance(module, ModuleType):
            found = at(module, ".".join(inner))
            return (module, found) if isinstance(found, type) else None
        owner, _, rest = owner.rpartition(".")
    return None


def at(module: ModuleType, name: str) -> Any:
    """What a module has under a qualified name, such as that of a class inside a class; None: nothing."""
    found: Any = module
    for part in name.split("."):
        found = vars(found).get(part) if isinstance(found, (ModuleType, type)) else None
    return found


def find_library(name: str) -> tuple[ModuleType, None] | None:
    """One of Python's own modules, for those who have to say why it is refused."""
    module = sys.modules.get(name)
    return (module, None) if isinstance(module, ModuleType) else None


def source_path(module: ModuleType) -> str | None:
    """The file of Python source that a module came from; None: it is built in, compiled, or a namespace."""
    path = getattr(module, "__file__", None)
    return path if isinstance(path, str) and path.endswith(".py") else None


def is_library(module: ModuleType) -> bool:
    """Whether it is Python's own, or installed beside it (``site-packages``)."""
    path = source_path(module)
    return path is None or _is_installed(path)


@lru_cache(maxsize=8192)
def _is_installed(path: str) -> bool:
    if "/site-packages/" in path or "/dist-packages/" in path or path.startswith("<"):
        return True
    paths = sysconfig.get_paths()
    real = Path(path).resolve()
    return any(real.is_relative_to(Path(paths[key]).resolve()) for key in ("stdlib", "platstdlib"))


def is_sticky(module: ModuleType) -> bool:
    """Whether new code for it is refused: it is Python's own, or part of what runs the processes."""
    root = module.__name__.partition(".")[0]
    if root in _OURS or root in sys.stdlib_module_names:
        return True
    return source_path(module) is None


def is_project(module: ModuleType) -> bool:
    """Whether it is what somebody edits: neither sticky nor installed."""
    return not is_sticky(module) and not is_library(module)


def generation(module: ModuleType, *, read: bool = True) -> Generation:
    """The generation that a module is.

    Args:
        read: take what is on disk for its source, where nobody has looked yet; False: its source is unknown then.
    """
    known = vars(module).get(GENERATION)
    if isinstance(known, Generation) and known.module is module:
        return known
    path = source_path(module)
    made = Generation(module, path, _read(path) if read and path is not None else None)
    setattr(module, GENERATION, made)
    return made


def imports_of(module: ModuleType) -> list[tuple[str, str | None, str]]:
    """`Generation.imports` of one of the project's modules, by what is on disk where nobody has looked before."""
    known = vars(module).get(GENERATION)
    if isinstance(known, Generation) and known.module is module and known.source is not None:
        return known.imports
    path = source_path(module)
    if path is None or not is_project(module):
        return []
    return Generation(module, path, _read(path)).imports


def _read(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def loaded() -> list[ModuleType]:
    """Loaded modules for people to choose from: the project's first, then the application's, then the bridge's.

    Python's own are left out, and what is installed beside it.
    """
    ranked = []
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or module.__name__ != name or source_path(module) is None:
            continue
        root = name.partition(".")[0]
        if root == "erlang_bridge":
            rank = 3
        elif root == "pyanoma":
            rank = 2
        elif root == "engines":
            rank = 0
        elif is_project(module):
            rank = 1
        else:
            continue
        ranked.append((rank, name, module))
    ranked.sort(key=lambda entry: entry[:2])
    return [module for _, _, module in ranked]


def server_classes(module: ModuleType) -> list[type[GenServer]]:
    """The servers that a module defines."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, GenServer) and value.__module__ == module.__name__
    ]


# -- what is in one ---------------------------------------------------------------------------


def functions(module: ModuleType) -> list[tuple[str, int]]:
    """Name and arity of the functions of a module and, by qualified name, of its classes' methods.

    ``self`` and ``cls`` are not counted, as in a stack trace. A server's callbacks are its own also where it inherits
    them from the base of an application's servers.
    """
    found = []
    for value in list(vars(module).values()):
        if isinstance(value, FunctionType) and value.__module__ == module.__name__:
            found.append((value.__qualname__, arity(value)))
        elif isinstance(value, type) and value.__module__ == module.__name__:
            theirs = methods(value) if issubclass(value, GenServer) else own_methods(value)
            found += [(f"{value.__qualname__}.{name}", count) for name, count in theirs]
    return list(dict.fromkeys(found))


def own_methods(cls: type) -> list[tuple[str, int]]:
    """Name and arity of the methods that a class itself defines."""
    found = []
    for name, value in list(vars(cls).items()):
        function = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
        if isinstance(function, FunctionType) and not (name.startswith("__") and name.endswith("__")):
            found.append((name, arity(function)))
    return found


def methods(cls: type) -> list[tuple[str, int]]:
    """Name and arity of the methods of a class and those that it inherits, but for what every server has.

    A server has the callbacks that it implements, and ``init``.
    """
    found: dict[str, int] = {}
    for base in cls.__mro__:
        if base is object or base is GenServer or base in GenServer.__mro__:
            continue
        for name, count in own_methods(base):
            found.setdefault(name, count)
    if issubclass(cls, GenServer):
        found.setdefault("init", 1)
    return list(found.items())


def arity(function: FunctionType) -> int:
    """How many arguments a function takes; ``self`` and ``cls`` are not counted."""
    code = code_of(function)
    return code.co_argcount - (1 if code.co_varnames[:1] in (("self",), ("cls",)) else 0)


def behaviours(subject: ModuleType | type) -> list[str]:
    """The OTP behaviours of a class, or of the servers of a module."""
    classes = [subject] if isinstance(subject, type) else server_classes(subject)
    return list(dict.fromkeys(cls.behaviour for cls in classes if issubclass(cls, GenServer)))
