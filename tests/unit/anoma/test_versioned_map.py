"""Maps that are values: against dicts, in every version, whichever is looked at."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoma.versioned_map import SortedMap, VersionedMap

changes = st.lists(st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 9))), max_size=60)


@given(changes, st.lists(st.integers(0, 60), max_size=20), st.sampled_from([VersionedMap, SortedMap]))
def test_every_version_stays_as_it_was(edits: list[tuple[int, int | None]], looked_at: list[int], kind: type):
    versions, models = [kind()], [{}]
    for key, value in edits:
        model = dict(models[-1])
        if value is None:
            versions.append(versions[-1].without(key))
            model.pop(key, None)
        else:
            versions.append(versions[-1].put(key, value))
            model[key] = value
        models.append(model)
    for at in [*looked_at, *range(len(versions))]:
        version, model = versions[at % len(versions)], models[at % len(versions)]
        assert version == model
        assert dict(version) == model
        assert len(version) == len(model)
        assert all(version.get(key) == model.get(key) and (key in version) == (key in model) for key in range(31))
        if kind is SortedMap:
            assert list(version) == sorted(model)


@given(changes, st.integers(0, 40), st.integers(0, 40))
def test_the_order_of_a_sorted_map(edits: list[tuple[int, int | None]], low: int, high: int):
    sorted_map: SortedMap[int] = SortedMap()
    for key, value in edits:
        sorted_map = sorted_map.without(key) if value is None else sorted_map.put(key, value)
    keys = sorted(sorted_map)
    assert sorted_map.first() == (keys[0] if keys else None)
    assert sorted_map.last() == (keys[-1] if keys else None)
    assert sorted_map.below(low) == max((key for key in keys if key < low), default=None)
    assert sorted_map.above(low) == min((key for key in keys if key > low), default=None)
    assert sorted_map.between(low, high) == [key for key in keys if low < key <= high]
    assert sorted_map.between(low, None) == [key for key in keys if key > low]
    assert sorted_map.head(3) == keys[:3]


def test_two_versions_go_on_from_one():
    base = VersionedMap((number, number) for number in range(100))
    left, right = base.put(1, "left"), base.put(1, "right").without(2, 3)
    for _ in range(3):
        assert (left[1], right[1], base[1]) == ("left", "right", 1)
        assert (len(left), len(right), len(base)) == (100, 98, 100)
    assert left != right
    assert base.without(1000) is base


def test_a_map_of_itself_is_no_key():
    with pytest.raises(TypeError):
        hash(VersionedMap())


def test_a_change_costs_the_same_in_a_large_map():
    def cost(size: int) -> float:
        one: SortedMap[int] = SortedMap((number, number) for number in range(size))
        keys = random.Random(1).sample(range(size), 200)
        best = 1.0
        for _ in range(5):
            began = time.perf_counter()
            for key in keys:
                one = one.put(key, 0)
            best = min(best, time.perf_counter() - began)
        return best

    assert cost(200_000) < 20 * cost(200)
