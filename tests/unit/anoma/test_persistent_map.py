"""Persistent maps beside dicts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anoma.persistent_map import EMPTY, PersistentMap


class Key:
    """A key whose hash says little."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number % 3 << 62 | self.number % 2

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and other.number == self.number

    def __repr__(self) -> str:
        return f"Key({self.number})"


keys = st.one_of(st.integers(0, 40), st.text(max_size=2), st.integers(0, 12).map(Key))
changes = st.lists(st.tuples(keys, st.one_of(st.none(), st.integers())), max_size=60)


@given(changes)
def test_it_is_a_dict_and_earlier_ones_stay(trace: list[tuple[object, int | None]]):
    made: PersistentMap[object, int] = EMPTY
    expected: dict[object, int] = {}
    history = [(made, dict(expected))]
    for key, value in trace:
        if value is None:
            made = made.without(key)
            expected.pop(key, None)
        else:
            made = made.put(key, value)
            expected[key] = value
        history.append((made, dict(expected)))
    for earlier, then in history:
        assert earlier == then
        assert len(earlier) == len(then)
        assert set(earlier) == set(then)
        assert all(earlier[key] == then[key] for key in then)
        assert all((key in earlier) == (key in then) for key, _ in trace)
        assert all(earlier.get(key, "none") == then.get(key, "none") for key, _ in trace)
    assert PersistentMap(expected) == made
    assert hash(PersistentMap(expected)) == hash(made)
    for key in expected:
        made = made.without(key)
    assert made == {}
    assert made == EMPTY


def test_what_is_not_there():
    one = PersistentMap({"a": 1})
    assert one.without("b") is one
    assert repr(one) == "PersistentMap({'a': 1})"
    assert one.get("b") is None
