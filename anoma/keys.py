"""Keys of the store: what can be one, their order, and which shard has them.

A key is bytes, an integer, an atom, or a tuple of keys. Pure.

Source: nspec v0.2.0, "Mempool worker configuration" (``keyToShard``); there a key is a natural number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias
from zlib import crc32

from erlang_bridge.errors import brief
from erlang_bridge.etf import encode
from erlang_bridge.terms import Atom
from erlang_bridge.terms.order import sort_key

Key: TypeAlias = Any
"""bytes, an int, an `Atom`, or a tuple of keys."""

DEEPEST: Final = 16
"""Tuples within tuples."""


def check_key(term: Any, depth: int = 0) -> None:
    """See that a term can be a key.

    Raises:
        ValueError: it cannot.

    Example:
        >>> check_key((b"balance", 7))
    """
    kind = type(term)
    if kind is bytes or kind is int or kind is Atom:
        return
    if kind is tuple and depth < DEEPEST:
        for part in term:
            check_key(part, depth + 1)
        return
    raise ValueError(f"expected a binary, an integer, an atom, or a tuple of those as key, got {brief(term, 80)}")


def in_order(keys: Iterable[Key]) -> list[Key]:
    """Keys in the order of terms: integers, atoms, tuples, binaries.

    Example:
        >>> in_order([b"b", (1,), b"a", 9])
        [9, (1,), b'a', b'b']
    """
    listed = list(keys)
    if len(listed) < 2:
        return listed
    kinds = set(map(type, listed))
    if len(kinds) == 1 and kinds <= {bytes, int}:
        # These Python compares as Erlang does.
        return sorted(listed)
    return sorted(listed, key=sort_key)


def shard_number(key: Key, shards: int) -> int:
    """Which of so many shards has a key, from 0. The same in every run, and on every machine.

    Example:
        >>> [shard_number(key, 4) for key in (b"a", b"b", b"c", 1, (b"a", 1))]
        [2, 0, 2, 3, 0]
    """
    if shards == 1:
        return 0
    if type(key) is bytes:
        # As `encode` has it.
        return crc32(b"\x83m" + len(key).to_bytes(4, "big") + key) % shards
    return crc32(encode(key)) % shards
