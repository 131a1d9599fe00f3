"""The bytes of a value that is signed or hashed: the same for equal terms, on every node.

They are Erlang's external term format, with the keys of maps in order and without compression. A BEAM makes the same
with ``term_to_binary(Term, [deterministic, {minor_version, 2}])``, as long as no pids, references or funs are in it.

Source: ERTS, "External Term Format"; ``erlang:term_to_binary/2``.
"""

from __future__ import annotations

from typing import Any, Final

from erlang_bridge.etf import encode
from erlang_bridge.terms import ImproperList, Map
from erlang_bridge.terms.order import key_order

MAX_DEPTH: Final = 200


def signable(term: Any) -> bytes:
    """The bytes to sign for a term.

    Raises:
        EtfEncodeError: a part of it is no term.
        ValueError: it is more than `MAX_DEPTH` deep.

    Example:
        >>> signable({b"b": 1, b"a": 2}) == signable({b"a": 2, b"b": 1})
        True
    """
    return encode(_ordered(term, MAX_DEPTH))


def _ordered(term: Any, depth: int) -> Any:
    if not isinstance(term, (tuple, list, dict, Map, ImproperList)):
        return term
    if depth == 0:
        raise ValueError(f"expected a term that is at most {MAX_DEPTH} deep")
    if isinstance(term, tuple):
        return tuple(_ordered(item, depth - 1) for item in term)
    if isinstance(term, list):
        return [_ordered(item, depth - 1) for item in term]
    if isinstance(term, ImproperList):
        return ImproperList([_ordered(item, depth - 1) for item in term.elements], _ordered(term.tail, depth - 1))
    pairs = term.pairs() if isinstance(term, Map) else term.items()
    ordered = sorted(pairs, key=lambda pair: key_order(pair[0]))
    return Map((_ordered(key, depth - 1), _ordered(value, depth - 1)) for key, value in ordered)
