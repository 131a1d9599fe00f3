"""The examples in docstrings, run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import anoma
import engines
import erlang_bridge
import pyanoma

pytestmark = pytest.mark.usefixtures("optimiser")

PACKAGES: tuple[ModuleType, ...] = (erlang_bridge, anoma, engines, pyanoma)


def modules() -> list[str]:
    """Names of all modules; `__main__` runs when it is imported."""
    return [
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not module.name.endswith("__main__")
    ]


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_some() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in modules() for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) > 10
