from __future__ import annotations

import pytest

from erlang_bridge.terms import Atom, ImproperList, Map, exact_key, map_of


def test_keys_are_told_apart():
    table = Map([(1, "int"), (1.0, "float"), (True, "true"), ([], "nil"), ({}, "map")])
    assert (table[1], table[1.0], table[True], table[[]], table[{}]) == ("int", "float", "true", "nil", "map")
    assert (len(table), 1.0 in table, False in table, [1] in table) == (5, True, False, False)
    assert list(table) == [1, 1.0, True, [], {}]
    assert list(table.items()) == list(table.pairs())
    assert list(table.values()) == ["int", "float", "true", "nil", "map"]
    with pytest.raises(KeyError):
        table[2]


def test_the_later_of_two_pairs_counts():
    assert Map([(1, "a"), (1, "b")])[1] == "b"
    assert map_of([(1, "a"), (1, "b")]) == {1: "b"}
    assert map_of([(1, "a"), (1.0, "x"), (1, "b")]) == Map([(1, "b"), (1.0, "x")])
    # A look-alike is atoms' business too.
    assert len(Map([(True, 1), (Atom("true"), 2)])) == 1


def test_equality():
    assert Map([(1, 2)]) == {1: 2}
    assert {1: 2} == Map([(1, 2)])  # noqa: SIM300  # the other way round on purpose
    assert Map([(1, 2)]) != {1.0: 2}
    assert Map([(1, 2)]) != {1: 2, 3: 4}
    assert Map([(1, 2)]) != 5
    assert hash(Map([(1, 2), ([], 3)])) == hash(Map([([], 3), (1, 2)]))


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ([1, 2.0, Atom("a"), None], dict),
        ([(1, (2, (3,)))], dict),
        ([1, 1.0], Map),
        ([1, True], Map),
        ([0.0, -0.0], Map),
        ([[]], Map),
        ([(1, [])], Map),
        ([Map()], Map),
        ([ImproperList([1], Map())], Map),
    ],
)
def test_a_dict_where_it_will_do(keys, kind):
    made = map_of([(key, index) for index, key in enumerate(keys)])
    assert type(made) is kind
    assert len(made) == len(keys)


def test_a_key_too_deep_for_python_to_hash():
    deep = ()
    for _ in range(100_000):
        deep = (deep,)
    made = map_of([(deep, 1)])
    assert type(made) is Map
    assert made[deep] == 1


def test_exact_keys_of_different_terms_differ():
    terms = [
        1, 1.0, True, b"1", Atom("1"), (), [], {}, (1,), [1], ImproperList([1], 1), [[1]], [[], 1], [[1], 1], (1, 1), [1, 1],
        {1: 1}, {1: 1.0}, {1.0: 1}, ((1,), 1), (1, (1,)), [()], ([],), {(): []}, {b"": ()}, ({1: 2}, 3), ({1: (2, 3)},),
        ({1: 2}, {3: 4}), ({1: 2, 3: 4},), 0.0, -0.0, None, Atom("none"), "", "1x",
    ]  # fmt: skip
    assert len({exact_key(term) for term in terms}) == len(terms)


def test_what_is_no_term_has_no_key():
    with pytest.raises(TypeError):
        hash(exact_key([{1, 2}]))
