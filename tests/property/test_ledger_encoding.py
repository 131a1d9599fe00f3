"""Terms as a ledger keeps them: any term, the same bytes for the same term."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from engines.ledger.encoding import restored, stored
from erlang_bridge.terms import ImproperList, Map
from erlang_bridge.terms.order import exactly_equal
from tests.property.strategies import terms


def shuffled(term: Any) -> Any:
    """The same term, its maps the other way round."""
    match term:
        case dict():
            return {key: shuffled(value) for key, value in reversed(term.items())}
        case Map():
            return Map((key, shuffled(value)) for key, value in reversed(list(term.pairs())))
        case list():
            return [shuffled(item) for item in term]
        case tuple():
            return tuple(shuffled(item) for item in term)
        case ImproperList(elements, tail):
            return ImproperList([shuffled(item) for item in elements], shuffled(tail))
    return term


@given(terms)
def test_the_same_bytes_for_the_same_term(term: Any) -> None:
    data = stored(term)
    assert exactly_equal(restored(data), term)
    assert stored(restored(data)) == data
    assert stored(shuffled(term)) == data
