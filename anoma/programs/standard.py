"""Programs in Python that every node has.

A key that was never written counts as 0 where a number is expected.

Pure.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import Any, Final

from anoma.keys import Key
from anoma.programs.python import Program
from anoma.programs.runnable import ABSENT, Output, Read, Write

Run = Generator[Output, Any, None]


def put(*pairs: tuple[Key, Any]) -> Run:
    """``[{Key, Value}, ...]``: write these."""
    for key, value in pairs:
        yield Write(key, value)


def add(*pairs: tuple[Key, int]) -> Run:
    """``[{Key, Amount}, ...]``: add to numbers."""
    for key, amount in pairs:
        yield Write(key, _number((yield Read(key))) + amount)


def transfer(source: Key, target: Key, amount: int) -> Run:
    """``[Source, Target, Amount]``: take from one number and give to another; fails where there is not enough."""
    balance = _number((yield Read(source)))
    if amount < 0 or balance < amount:
        raise ValueError(f"expected an amount from 0 to {balance}, which is what there is, got {amount}")
    if source != target:
        yield Write(source, balance - amount)
        yield Write(target, _number((yield Read(target))) + amount)
    else:
        yield Write(source, balance)


def copy(source: Key, *targets: Key) -> Run:
    """``[Source, Target, ...]``: write the value of one key to others; fails where it has none."""
    value = yield Read(source)
    if value is ABSENT:
        raise ValueError("expected a key that has a value to copy from")
    for target in targets:
        yield Write(target, value)


def swap(first: Key, second: Key) -> Run:
    """``[First, Second]``: exchange two values; fails where one has none."""
    values = (yield Read(first)), (yield Read(second))
    if ABSENT in values:
        raise ValueError("expected two keys that have values")
    yield Write(first, values[1])
    yield Write(second, values[0])


def read(*keys: Key) -> Run:
    """``[Key, ...]``: read these, and write nothing."""
    for key in keys:
        yield Read(key)


def _number(value: Any) -> int:
    if value is ABSENT:
        return 0
    if type(value) is not int:
        raise ValueError(f"expected a number, got {value!r:.80}")
    return value


STANDARD: Final[Mapping[str, Program]] = MappingProxyType(
    {"put": put, "add": add, "transfer": transfer, "copy": copy, "swap": swap, "read": read}
)
"""Name, as in ``{python, Name, Args}``, to program."""
