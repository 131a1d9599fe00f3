"""What can be a key, the order of keys, and their shards."""

from __future__ import annotations

from collections import Counter
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoma.keys import check_key, in_order, shard_number
from erlang_bridge import etf
from erlang_bridge.terms import Atom
from erlang_bridge.terms.order import sort_key

leaves = st.one_of(st.binary(max_size=6), st.integers(), st.sampled_from([Atom("a"), Atom("b"), Atom("anoma")]))
keys = st.recursive(leaves, lambda parts: st.lists(parts, max_size=3).map(tuple), max_leaves=6)


@given(keys)
def test_a_key(key: Any):
    check_key(key)
    assert etf.decode(etf.encode(key)) == key


@pytest.mark.parametrize("term", ["a", 1.0, None, True, [1], {}, (b"a", "b"), frozenset()])
def test_no_key(term: Any):
    with pytest.raises(ValueError, match="expected a binary, an integer, an atom, or a tuple of those as key"):
        check_key(term)


def test_tuples_in_tuples_have_an_end():
    key: Any = b"a"
    for _ in range(16):
        key = (key,)
    check_key(key)
    with pytest.raises(ValueError, match="as key"):
        check_key((key,))


@given(st.lists(keys, max_size=8, unique=True))
def test_the_order_is_that_of_terms(some: list[Any]):
    assert in_order(some) == sorted(some, key=sort_key)


@given(keys, st.integers(1, 9))
def test_the_shard_is_that_of_the_external_format(key: Any, shards: int):
    assert shard_number(key, shards) == crc32(etf.encode(key)) % shards


def test_keys_are_spread():
    spread = Counter(shard_number(b"account-%d" % number, 8) for number in range(8000))
    assert set(spread) == set(range(8))
    assert max(spread.values()) < 1.2 * min(spread.values())
