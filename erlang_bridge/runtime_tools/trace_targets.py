"""The Python functions that calls can be traced of, by module, name and number of arguments.

A function of a class is ``Class.method`` of its module, and just ``method`` of the class taken for a module, as
``'$initial_call'`` has it: ``'engines.ticker.server':'Ticker.init'/1`` is ``'engines.ticker.server.Ticker':init/1``.
Methods that a class has from its bases are its own, too. Only modules that are loaded already are looked at.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any, Final

from erlang_bridge.kernel import code_modules
from erlang_bridge.process.breakpoints import Target, code_of
from erlang_bridge.process.tracing import Mfa

_MACHINERY: Final = (
    "erlang_bridge.etf",
    "erlang_bridge.process",
    "erlang_bridge.runtime_tools",
    "erlang_bridge.terms",
    "gevent",
    "greenlet",
)
"""Where an event is told itself."""


def find_target(mfa: Mfa) -> Target | None:
    """The function of that name; None where there is none, or it takes another number of arguments."""
    module_name, name, arity = mfa
    found = code_modules.find(module_name)
    if found is None:
        return None
    module, owner = found
    *classes, attribute = name.split(".")
    for class_name in classes:
        owner = vars(owner if owner is not None else module).get(class_name)
        if not isinstance(owner, type):
            return None
    function, is_bound = _function_in(owner, attribute) if owner is not None else (vars(module).get(attribute), False)
    if not isinstance(function, FunctionType) or _is_machinery(function.__module__):
        return None
    if arity not in arities(code_of(function), function, is_bound):
        return None
    return Target(mfa, function, owner, is_bound)


def targets_of(module_name: str) -> Iterator[Target]:
    """Every function of a module that can be traced: its own, those of its classes, and what these inherit.

    What all servers have from this library is left out; it can be named one by one.
    """
    found = code_modules.find(module_name)
    if found is None or _is_machinery(found[0].__name__):
        return
    module, owner = found
    if owner is not None:
        yield from _methods_of(module_name, "", owner)
        return
    for name, value in list(vars(module).items()):
        if getattr(value, "__module__", None) != module_name:
            continue
        if isinstance(value, FunctionType):
            yield _target(module_name, name, value, None, False)
        elif isinstance(value, type):
            yield from _methods_of(module_name, f"{name}.", value)


def loaded_modules() -> list[str]:
    """The modules that '_' stands for: those of the application, without Python's own, libraries' and this one's."""
    return [module.__name__ for module in code_modules.loaded() if not code_modules.is_sticky(module)]


def arities(code: CodeType, function: FunctionType, is_bound: bool) -> range:
    """How many arguments it may be called with."""
    most = code.co_argcount - (1 if is_bound else 0)
    least = max(0, most - len(function.__defaults__ or ()))
    return range(least, 256 if code.co_flags & inspect.CO_VARARGS else most + 1)


def _function_in(owner: type, attribute: str) -> tuple[Any, bool]:
    value = inspect.getattr_static(owner, attribute, None)
    if isinstance(value, staticmethod):
        return value.__func__, False
    if isinstance(value, classmethod):
        return value.__func__, True
    if isinstance(value, property):
        return value.fget, True
    return value, True


def _methods_of(module_name: str, prefix: str, owner: type) -> Iterator[Target]:
    names: dict[str, None] = {}
    for base in owner.__mro__:
        if base is owner or not _is_library(base.__module__):
            names.update(dict.fromkeys(vars(base)))
    for name in names:
        function, is_bound = _function_in(owner, name)
        if isinstance(function, FunctionType) and not _is_library(function.__module__):
            yield _target(module_name, prefix + name, function, owner, is_bound)


def _target(module_name: str, name: str, function: FunctionType, owner: type | None, is_bound: bool) -> Target:
    arity = code_of(function).co_argcount - (1 if is_bound else 0)
    return Target((module_name, name, arity), function, owner, is_bound)


def _is_machinery(module_name: str) -> bool:
    return any(module_name == name or module_name.startswith(f"{name}.") for name in _MACHINERY)


def _is_library(module_name: str) -> bool:
    return module_name.partition(".")[0] in ("builtins", "erlang_bridge")
