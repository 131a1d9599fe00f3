"""Matching: what is taken apart, split and checked; numbers of any size; limits of time; against exhaustive search."""

from __future__ import annotations

import random
from math import gcd
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anoma.matching import solving
from anoma.matching.components import components, possible_lots
from anoma.matching.exact_sums import digit_sums
from anoma.matching.exhaustive import exhaustive
from anoma.matching.optimiser import optimise
from anoma.matching.problem import MAX_OFFERS, Match, Offer, Outcome, WrongMatch, check, checked_problem
from anoma.matching.solving import solve
from anoma.matching.splitting import split

HUGE = 2**200 + 12345

pytestmark = pytest.mark.usefixtures("optimiser")


def offer(_kinds: str = "", **more: Any) -> Offer:
    """``"a-2 b+1"``: consumes two a, creates a b."""
    delta = {part[0]: int(part[1:]) for part in _kinds.split()}
    return Offer(delta, **more)


def test_a_ring_of_three():
    ring = [offer("a-1 b+1"), offer("b-1 c+1"), offer("c-1 a+1")]
    assert solve(ring) == Outcome((Match(((0, 1), (1, 1), (2, 1))),), 3, True, 3)


def test_independent_matches_are_separate():
    matches = solve([offer("a-1"), offer("b-7"), offer("a+1"), offer("b+7")]).matches
    assert matches == (Match(((0, 1), (2, 1))), Match(((1, 1), (3, 1))))


def test_nothing_to_match():
    assert solve([]) == Outcome() == solve([offer("a-1")])


def test_who_is_balanced_alone_is_a_match():
    assert solve([offer(""), offer("a-0")]).matches == (Match(((0, 1),)), Match(((1, 1),)))


def test_the_greater_preference_wins():
    offers = [offer("a+1"), offer("a-1", preference=3), offer("a-1", preference=5)]
    assert solve(offers).matches == (Match(((0, 1), (2, 1))),)


def test_a_loss_is_taken_for_a_greater_gain():
    offers = [offer("a+1", preference=-2), offer("a-1", preference=3), offer("b+1", preference=-4), offer("b-1")]
    assert solve(offers) == Outcome((Match(((0, 1), (1, 1))),), 1, True, 1)


def test_of_equals_the_older_ones():
    offers = [offer("a-1"), offer("a-1"), offer("a-1"), offer("a+2")]
    assert solve(offers).matches == (Match(((0, 1), (1, 1), (3, 1))),)


def test_of_alternatives_at_most_one():
    offers = [
        offer("a-1 b+1", group="either"),
        offer("a-1 c+1", group="either", preference=2),
        offer("b-1 a+1"),
        offer("c-1 a+1"),
    ]
    assert solve(offers).matches == (Match(((1, 1), (3, 1))),)


@pytest.mark.parametrize("field", ["nullifiers", "commitments"])
def test_no_two_with_a_resource_in_common(field: str):
    offers = [offer("a-1", **{field: frozenset({b"r"})}), offer("a-1", **{field: frozenset({b"r"})}), offer("a+2")]
    assert solve(offers).matches == ()
    assert len(solve([*offers, offer("a+1")]).matches) == 1


def test_a_nullifier_is_no_commitment():
    offers = [offer("a-1", nullifiers=frozenset({b"r"})), offer("a+1", commitments=frozenset({b"r"}))]
    assert len(solve(offers).matches) == 1


def test_partial_fills():
    offers = [offer("a-3 b+2", maximum=10), offer("a+6 b-4", maximum=2), offer("a+3 b-2")]
    assert solve(offers) == Outcome((Match(((0, 5), (1, 2), (2, 1))),), 8, True, 8)


def test_less_than_the_minimum_is_nothing():
    offers = [offer("a-1", minimum=3, maximum=5), offer("a+1", maximum=2)]
    assert solve(offers).matches == ()
    assert solve([*offers, offer("a+1")]).preference == 6


@pytest.mark.parametrize("unit", [1, 2**53 + 1, HUGE])
def test_quantities_of_any_size_balance_to_the_last_unit(unit: int):
    offers = [
        Offer({"a": 3 * unit, "b": -unit - 1}),
        Offer({"a": -unit, "b": unit + 1}),
        Offer({"a": -2 * unit}),
        Offer({"a": -2 * unit - 1}),
        Offer({"a": 2 * unit}),
    ]
    outcome = solve(offers)
    assert outcome.matches == (Match(((0, 1), (1, 1), (2, 1))),)
    assert outcome.optimal


def test_as_floats_it_would_balance():
    assert float(2**53) + 1 == float(2**53)
    assert solve([Offer({"a": 2**53 + 1}), Offer({"a": -(2**53)}), Offer({"a": 1}), Offer({"b": 2})]).matches == ()


def test_when_the_time_is_up_the_best_so_far():
    hard = [Offer({"a": (-1) ** number * random.Random(number).getrandbits(60)}) for number in range(40)]
    easy = [offer("b+1"), offer("b-1")]
    outcome = solve(hard + easy, time_limit_s=0.3)
    assert Match(((40, 1), (41, 1))) in outcome.matches
    assert not outcome.optimal
    assert outcome.preference < outcome.bound <= 42


def test_the_same_problem_has_the_same_answer():
    offers = [
        Offer({number % 7: 1, (number * 3 + 1) % 7: -1}) for number in range(60) if number % 7 != (number * 3 + 1) % 7
    ]
    assert solve(offers) == solve(offers)


# -- what can be matched ----------------------------------------------------------------------


def test_who_has_no_counterpart_is_out_and_who_needs_them_too():
    offers = [offer("a-1 b+1"), offer("b-1 c+1"), offer("c-1 d+1"), offer("x-1"), offer("x+1")]
    assert set(possible_lots(offers)) == {3, 4}


def test_more_than_all_others_have():
    assert possible_lots([offer("a-5"), offer("a+2"), offer("a+2")]) == {}
    assert set(possible_lots([offer("a-5"), offer("a-2"), offer("a+2"), offer("a+2")])) == {1, 2, 3}


def test_lots_are_limited_by_what_others_have():
    limits = possible_lots([offer("a-2", maximum=100), offer("a+3", maximum=5)])
    assert limits == {0: 6, 1: 4}


def test_a_divisor_that_all_others_share():
    assert set(possible_lots([offer("a-4"), offer("a+3"), offer("a+4"), offer("a-6", maximum=2)])) == {0, 2}


def test_components_have_nothing_in_common():
    offers = [offer("a-1"), offer("a+1"), offer("b-1", group=1), offer("b+1"), offer("c-1", group=1), offer("c+1")]
    found = components(offers)
    assert [[variable.offers for variable in component.variables] for component in found] == [
        [(0,), (1,)],
        [(2,), (3,), (4,), (5,)],
    ]
    assert [component.exclusive for component in found] == [(), ((0, 2),)]


def test_those_that_are_alike_are_one_variable():
    (component,) = components([offer("a-1"), offer("a+2"), offer("a-1"), offer("a-1", preference=2)])
    assert [variable.offers for variable in component.variables] == [(0, 2), (1,), (3,)]


# -- sums that fit ----------------------------------------------------------------------------


@given(
    st.lists(st.integers(-(2**300), 2**300).filter(bool), min_size=1, max_size=6),
    st.lists(st.integers(1, 1000), min_size=6, max_size=6),
    st.data(),
)
def test_digit_sums_are_zero_exactly_when_the_sum_is(coefficients: list[int], maxima: list[int], data: st.DataObject):
    total = dict(enumerate(coefficients))
    values = [data.draw(st.integers(0, maxima[number])) for number in total]
    if data.draw(st.booleans()) and values[0]:
        rest = sum(coefficient * values[number] for number, coefficient in total.items() if number)
        total[0] = -rest // values[0] or 1
    exact = sum(coefficient * values[number] for number, coefficient in total.items())
    carry: int | None = 0
    for digit in digit_sums(total, maxima):
        terms = [coefficient * values[number] for number, coefficient in digit.coefficients.items()]
        assert sum(map(abs, terms)) + abs(carry) + (digit.base or 0) * digit.carry < 2**62
        rest = sum(terms) + carry
        if digit.base is None:
            carry = None if rest else 0
        elif rest % digit.base:
            carry = None
        else:
            carry = rest // digit.base
            assert abs(carry) <= digit.carry
        if carry is None:
            break
    assert (carry is not None) == (exact == 0)


def test_a_sum_is_divided_by_what_its_terms_share():
    (digit,) = digit_sums({0: HUGE * 6, 1: HUGE * -4}, [1, 1])
    assert gcd(*digit.coefficients.values()) == 1


# -- splitting --------------------------------------------------------------------------------


def test_what_is_chosen_is_cut_where_it_is_balanced():
    offers = [offer("a-1"), offer("a-2"), offer("a+2"), offer("a+1"), offer("a-3 b+1"), offer("b-1 a+3")]
    found = split(offers, [(number, 1) for number in range(6)])
    assert sorted(match.lots for match in found) == [((0, 1), (3, 1)), ((1, 1), (2, 1)), ((4, 1), (5, 1))]


def test_a_large_match_is_one_where_it_cannot_be_cut():
    offers = [Offer({0: -1000}), *(Offer({0: 1}) for _ in range(1000))]
    (match,) = split(offers, [(number, 1) for number in range(1001)])
    assert len(match.lots) == 1001


# -- checks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lots", "text"),
    [
        ([((0, 1),)], "leaves over {'a': -1}"),
        ([((0, 2), (1, 2))], "has 1 to 1 lots, taken are 2"),
        ([((0, 1), (1, 1)), ((0, 1), (1, 1))], "taken twice"),
        ([((0, 1), (1, 1)), ((2, 1), (3, 1))], r"\('group', 'g'\) is taken twice"),
        ([((1, 1), (4, 1))], r"\('nullifier', b'n'\) is taken twice"),
    ],
)
def test_wrong_matches_are_told_apart(lots: list[Any], text: str):
    tag = {"nullifiers": frozenset({b"n"})}
    offers = [offer("a-1", group="g"), offer("a+1", **tag), offer("a-1", group="g"), offer("a+1"), offer("a-1", **tag)]
    with pytest.raises(WrongMatch, match=text):
        check(offers, [Match(one) for one in lots])


@pytest.mark.parametrize(
    "fields",
    [
        {"minimum": 0},
        {"minimum": 3, "maximum": 2},
        {"maximum": 2**40},
        {"preference": 2**50},
        {"preference": 2**40, "maximum": 2**10},
        {"delta": {"a": 2**5000}},
    ],
)
def test_offers_beyond_the_limits(fields: dict[str, Any]):
    with pytest.raises(ValueError, match="expected"):
        Offer(**{"delta": {}, **fields})


def test_too_many_offers():
    with pytest.raises(ValueError, match="at most"):
        checked_problem([offer("")] * (MAX_OFFERS + 1))


def test_the_greatest_offers_of_all_are_solved():
    most = 2**31
    offers = [Offer({"a": 2**4095}, preference=2**13, maximum=most), Offer({"a": -(2**4095)}, maximum=most)]
    assert solve(offers * 20).preference == 20 * (2**44 + most)


# -- against exhaustive search ----------------------------------------------------------------


KINDS = st.sampled_from("abcd")


@st.composite
def problems(draw: st.DrawFn) -> list[Offer]:
    unit = draw(st.sampled_from([1, 2**61 - 1, HUGE]))
    tags = st.frozensets(st.integers(0, 5), max_size=1)
    offers = []
    for _ in range(draw(st.integers(0, 7))):
        delta = draw(st.dictionaries(KINDS, st.integers(-3, 3), max_size=2))
        minimum = draw(st.sampled_from([1, 1, 1, 2]))
        offers.append(
            Offer(
                {kind: quantity * unit for kind, quantity in delta.items()},
                draw(tags) if draw(st.booleans()) else frozenset(),
                draw(tags) if draw(st.booleans()) else frozenset(),
                draw(st.integers(-1, 4)),
                minimum,
                minimum + draw(st.sampled_from([0, 0, 1, 2])),
                draw(st.sampled_from([None, None, None, 1, 2])),
            )
        )
    if draw(st.booleans()) and len(offers) > 1:
        # Who makes up for the rest of all others: something balances then.
        rest: dict[Any, int] = {}
        for one in offers[1:]:
            for kind, quantity in one.delta.items():
                rest[kind] = rest.get(kind, 0) - quantity
        offers[0] = Offer(rest)
    return offers


@settings(max_examples=300, deadline=None)
@given(problems(), st.booleans())
def test_as_good_as_exhaustive_search(offers: list[Offer], with_optimiser: bool):
    expected = exhaustive(offers)
    few = solving._FEW
    solving._FEW = 0 if with_optimiser else few
    try:
        outcome = solve(offers)
    finally:
        solving._FEW = few
    assert outcome.optimal
    assert outcome.preference == expected.preference == outcome.bound
    assert check(offers, outcome.matches) == outcome.preference


def test_the_optimiser_alone():
    (component,) = components([Offer({"a": 1}, maximum=9), Offer({"a": -1}, maximum=9)])
    found = optimise(component, 5.0)
    assert (found.lots, found.preference, found.bound) == ((9, 9), 18, 18)
