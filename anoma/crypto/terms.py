"""Terms as ``{Tag, #{field => value}}``, and complaints about those that are not."""

from __future__ import annotations

from typing import Any

from erlang_bridge.errors import brief
from erlang_bridge.etf.conversions import Mismatch
from erlang_bridge.terms import Atom, Map


def expected(what: str, term: Any) -> Mismatch:
    """The error for a term that is something else."""
    return Mismatch(f"should be {what}, got {brief(term, 80)}")


def fields_of(term: Any, tag: Atom, *names: Atom, what: str) -> list[Any]:
    """The values of the fields of a term with that tag.

    Raises:
        Mismatch: another tag, or other fields.
    """
    if type(term) is not tuple or len(term) != 2 or term[0] is not tag or not isinstance(term[1], (dict, Map)):
        raise expected(what, term)
    fields = term[1]
    if len(fields) != len(names) or any(name not in fields for name in names):
        raise expected(what, term)
    return [fields[name] for name in names]


def binary(term: Any, what: str, *sizes: int) -> bytes:
    """A binary of one of the sizes.

    Raises:
        Mismatch: it is none.
    """
    if type(term) is not bytes or (sizes and len(term) not in sizes):
        raise expected(what, term)
    return term


def text(term: Any, what: str) -> str:
    """The text of a binary of UTF-8.

    Raises:
        Mismatch: it is none.
    """
    if isinstance(term, str):
        return term
    try:
        return binary(term, what).decode()
    except UnicodeDecodeError:
        raise expected(what, term) from None


def elements(term: Any, what: str) -> list[Any]:
    """A list.

    Raises:
        Mismatch: it is none.
    """
    if type(term) is not list:
        raise expected(what, term)
    return term
