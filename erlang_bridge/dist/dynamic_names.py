"""Names for nodes that come without one (``erl -sname undefined``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MAX_FREE: Final = 1024


class NamePool:
    """Gives out node names, and gives a name that became free again with a new creation.

    Without reuse every short-lived node would leave an atom behind on each node of the cluster.

    Args:
        random_bits: ``random_bits(n)`` gives n random bits.

    Source: kernel ``net_kernel.erl``, dynamic node names.
    """

    def __init__(self, random_bits: Callable[[int], int]) -> None:
        self._random_bits = random_bits
        self._free: dict[str, list[tuple[str, int]]] = {}
        self._in_use: dict[str, int] = {}

    def grant(self, host: str) -> tuple[str, int]:
        """A full name on `host` that nobody uses, and a creation that it has not had before."""
        free = self._free.get(host)
        if free:
            name, last_creation = free.pop()
            creation = last_creation + 1 if last_creation < 0xFFFFFFFF else 4
        else:
            name, creation = f"{_base36(self._random_bits(64))}@{host}", max(4, self._random_bits(32))
        self._in_use[name] = creation
        return name, creation

    def release(self, name: str) -> None:
        """`name` is free again; one that was not granted here is ignored."""
        creation = self._in_use.pop(name, None)
        if creation is None:
            return
        free = self._free.setdefault(name.partition("@")[2], [])
        if sum(map(len, self._free.values())) < _MAX_FREE:
            free.append((name, creation))


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
