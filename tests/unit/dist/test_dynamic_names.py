"""Names for nodes that have none."""

import random

from erlang_bridge.dist.dynamic_names import NamePool
from erlang_bridge.dist.handshake_messages import is_node_name


def test_names_are_unique_and_lawful():
    pool = NamePool(random.Random(1).getrandbits)
    granted = [pool.grant("localhost") for _ in range(100)]
    assert len({name for name, _ in granted}) == 100
    assert all(is_node_name(name) and name.endswith("@localhost") for name, _ in granted)
    assert all(4 <= creation < 1 << 32 for _, creation in granted)


def test_a_released_name_comes_back_with_another_creation():
    pool = NamePool(random.Random(1).getrandbits)
    name, creation = pool.grant("h1")
    pool.release(name)
    assert pool.grant("h2")[0] != name
    assert pool.grant("h1") == (name, creation + 1)
    assert pool.grant("h1")[0] != name


def test_creations_wrap_above_the_reserved_ones():
    pool = NamePool(lambda bits: (1 << bits) - 1)
    name, creation = pool.grant("h")
    assert creation == 0xFFFFFFFF
    pool.release(name)
    assert pool.grant("h") == (name, 4)


def test_names_of_others_are_not_taken_in():
    pool = NamePool(lambda _bits: 0)
    pool.release("py@h")
    assert pool.grant("h") == ("0@h", 4)


def test_the_pool_does_not_grow_without_end():
    pool = NamePool(random.Random(1).getrandbits)
    names = [pool.grant("h")[0] for _ in range(2000)]
    for name in names:
        pool.release(name)
    again = {pool.grant("h")[0] for _ in range(2000)}
    assert len(again & set(names)) == 1024
