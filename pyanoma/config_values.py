"""Reading one value of a configuration, as TOML has it or as text. Each raises ValueError where it is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Never

from erlang_bridge import ConfigError
from erlang_bridge.epmd.node_names import parse_node_name
from pyanoma.log_setup import LEVELS

_TRUE: Final = frozenset(("1", "true", "yes", "on"))
_FALSE: Final = frozenset(("0", "false", "no", "off"))
_ENTRY: Final = re.compile(r"(?P<name>[^=:\s]+)=(?P<place>[\w.]+:[\w.]+)")
_PLACE: Final = re.compile(r"[\w.]+:[\w.]+")
_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:]+\]|[^:\s]+):(?P<port>\d+)")


def text(value: Any) -> str:
    """A text that is not empty."""
    if isinstance(value, str) and value:
        return value
    raise ValueError


def boolean(value: Any) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ValueError


def seconds(value: Any) -> float:
    """A time, more than 0 and less than a million seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    seconds = float(value)
    if not 0 < seconds < 1e6:
        raise ValueError
    return seconds


def ports(value: Any) -> tuple[int, int]:
    """One port, or the first and the last."""
    parts = value.split("-") if isinstance(value, str) else value if isinstance(value, list) else [value]
    ports = [port(part) for part in parts]
    if len(ports) > 2 or ports[0] > ports[-1]:
        raise ValueError
    return ports[0], ports[-1]


def words(value: Any) -> tuple[str, ...]:
    """Texts, or one with commas between them."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    return tuple(text(word) for word in value) if isinstance(value, (list, tuple)) else fail()


def node_names(value: Any) -> tuple[str, ...]:
    """Full node names."""
    names = words(value)
    for name in names:
        try:
            parse_node_name(name)
        except ConfigError:
            raise ValueError from None
    return names


def node_name(value: Any) -> str:
    """A full node name."""
    return node_names([value])[0]


def places(value: Any) -> dict[str, str]:
    """Names with the place of something in Python: ``MODULE:NAME``."""
    if isinstance(value, Mapping):
        if not all(isinstance(place, str) and _PLACE.fullmatch(place) for place in value.values()):
            raise ValueError
        return dict(value)
    found = {}
    for word in words(value):
        match = _ENTRY.fullmatch(word)
        if match is None:
            raise ValueError
        found[match["name"]] = match["place"]
    return found


def fail() -> Never:
    """There is no such value."""
    raise ValueError


def count(least: int, most: int) -> Callable[[Any], int]:
    """A reader of integers within bounds."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError
        number = int(value)
        if not least <= number <= most:
            raise ValueError
        return number

    return read


def one_of(*choices: str) -> Callable[[Any], str]:
    """A reader of one of several words."""

    def read(value: Any) -> str:
        if isinstance(value, str) and value.lower() in choices:
            return value.lower()
        raise ValueError

    return read


def path(value: Any) -> Path:
    """A path; ``~`` is the home."""
    return Path(text(value)).expanduser()


def address(value: Any) -> tuple[str, int]:
    """``HOST:PORT``."""
    match = _ADDRESS.fullmatch(text(value))
    if match is None or not 0 <= int(match["port"]) < 65536:
        raise ValueError
    return match["host"].strip("[]"), int(match["port"])


port = count(1, 65535)
"""A reader of a TCP port."""

level = one_of(*LEVELS)
"""A reader of a level of logging."""
