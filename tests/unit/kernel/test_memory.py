"""Where the memory of the process goes, measured."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from erlang_bridge.kernel.memory import LIBC, MAPPED, PYMALLOC, Allocators, CodeSizes, module_size, resident_bytes

SOURCE = """
import json

def top(x):
    return [lambda: y for y in range(x)]

class Outer:
    me = None
    class Inner:
        @staticmethod
        def method(): return 1
    @property
    def half(self): return 2

Outer.me = Outer
"""


def module_of(source: str, name: str = "measured") -> ModuleType:
    module = ModuleType(name)
    exec(source, vars(module))
    return module


def test_allocators():
    found = {allocator.name: allocator for allocator in Allocators().measure()}
    assert list(found) == [PYMALLOC, LIBC, MAPPED]
    assert all(0 < allocator.used <= allocator.held for allocator in found.values())


def test_what_they_hold_is_about_what_is_resident():
    resident, of_files = resident_bytes()
    assert 0 < of_files < resident
    held = sum(allocator.held for allocator in Allocators().measure())
    assert 0.8 * resident < held < 2 * resident


def test_pymalloc_sees_what_is_allocated():
    allocators = Allocators()
    before = allocators.measure()[0].used
    kept = [bytes(200) for _ in range(50_000)]
    assert allocators.measure()[0].used - before > 10_000_000
    del kept


def test_a_missing_book_is_left_out():
    allocators = Allocators()
    allocators._statistics = allocators._mallinfo = None
    assert [allocator.name for allocator in allocators.measure()] == [MAPPED]


def test_the_code_of_a_module_ends_and_is_its_own():
    size = module_size(module_of(SOURCE))
    assert 1_000 < size < 20_000
    assert module_size(module_of("import json, os\n")) == 0
    assert module_size(module_of(SOURCE + "def more(x): return x + 1\n")) > size


def test_each_module_is_measured_once(monkeypatch):
    sizes = CodeSizes()
    *_, total = sizes.measure()
    assert total > 1_000_000
    assert list(sizes.measure()) == [total]
    monkeypatch.setitem(sys.modules, "measured", module_of(SOURCE))
    *_, more = sizes.measure()
    assert more > total
    # Loaded anew: another object of the same name.
    monkeypatch.setitem(sys.modules, "measured", module_of(""))
    *_, again = sizes.measure()
    assert again == total


def test_a_class_that_cannot_be_asked_costs_the_rest_nothing(monkeypatch: pytest.MonkeyPatch):
    class Silent(type):
        def __getattribute__(cls, name: str) -> object:
            if name == "__module__":
                raise RuntimeError(name)
            return super().__getattribute__(name)

    odd = ModuleType("odd")
    vars(odd)["Odd"] = Silent("Odd", (), {})
    monkeypatch.setitem(sys.modules, "odd", odd)
    *_, size = CodeSizes().measure()
    assert size > module_size(sys.modules["json"]) > 0
