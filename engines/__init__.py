"""Anoma's engines.

Each is a package of three: ``messages`` (what it takes and sends), ``behaviour`` (what it does: a pure function of
environment and message to effects) and ``server`` (the process, and the functions that others call). What they share is
in `messages` (addresses and the envelope), `wire` (their terms), `effects`, `environment`, `guards` (how a behaviour
decides), `engine` (how a process carries that out) and `simulation` (how a test does, without processes).

A new engine is one such package and no edit elsewhere. `keeping` is none: it is what those share that keep a table.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.engine import Engine


@cache
def built_in() -> dict[str, type[Engine]]:
    """The engines that are packages in here: name, as in ``pyanoma:start_link(Name, Args)``, to class.

    Raises:
        TypeError: a package whose ``server`` does not have exactly one engine.
    """
    return {name: engine_of(f"{__name__}.{name}") for name in names()}


@cache
def names() -> tuple[str, ...]:
    """Names of the engines that are packages in here, in alphabetical order."""
    packages = [module.name for module in pkgutil.iter_modules(__path__) if module.ispkg]
    return tuple(sorted(name for name in packages if find_spec(f"{__name__}.{name}.server") is not None))


def engine_of(package: str) -> type[Engine]:
    """The engine of a package that has ``messages``, ``behaviour`` and ``server``.

    Raises:
        ImportError, TypeError: it is no such package.
    """
    from engines.engine import Engine  # noqa: PLC0415  # engines import this package

    server = importlib.import_module(f"{package}.server")
    found = [
        value
        for value in vars(server).values()
        if inspect.isclass(value) and issubclass(value, Engine) and value.__module__ == server.__name__
    ]
    if len(found) != 1:
        shown = ", ".join(value.__name__ for value in found) or "none"
        raise TypeError(f"expected one subclass of Engine in {server.__name__}, got {shown}")
    return found[0]
