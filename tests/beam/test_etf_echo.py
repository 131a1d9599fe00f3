"""The codec against ``binary_to_term`` and ``term_to_binary`` of each release, and its text and order against ``io_lib`` and ``lists``.

What Python makes goes through the BEAM and has to come back equal; what the BEAM makes goes through Python and has to be ``=:=``
to what it was, which the BEAM itself says.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from erlang_bridge.etf import decode, encode
from erlang_bridge.terms import Atom, BitString, Export, ImproperList, Map, Pid, Port, Reference, exact_key
from erlang_bridge.terms.order import exactly_equal, sort_key
from erlang_bridge.terms.text import format_term, parse_term
from tests.property.strategies import MINUS_ZERO, PLUS_ZERO, no_identifiers, terms

moderate = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
"""Each example is a batch of terms, one request to the BEAM."""
batches = st.lists(terms, min_size=1, max_size=12)


@moderate
@given(rows=batches)
def test_what_python_makes_comes_back_equal(shared_beam, rows):
    echo = "[term_to_binary(binary_to_term(B)) || B <- Bs]"
    returned = shared_beam.eval(echo, Bs=[encode(term) for term in rows])
    for term, data in zip(rows, returned, strict=True):
        assert exactly_equal(decode(data), term)


@moderate
@given(rows=batches)
def test_the_beam_takes_what_python_writes_for_the_same(shared_beam, rows):
    """Our bytes and the BEAM's own bytes for the same term are the same term."""
    same = """
        [begin
            T = binary_to_term(B),
            {T =:= binary_to_term(term_to_binary(T)), T =:= binary_to_term(term_to_binary(T, [compressed]))}
        end || B <- Bs]
    """
    assert set(shared_beam.eval(same, Bs=[encode(term) for term in rows])) == {(True, True)}
    compressed = "[term_to_binary(binary_to_term(B), [{compressed, 9}]) || B <- Bs]"
    for term, data in zip(rows, shared_beam.eval(compressed, Bs=[encode(term) for term in rows]), strict=True):
        assert exactly_equal(decode(data), term)


MADE_BY_THE_BEAM = {
    "look-alike keys": "[#{1 => a, 1.0 => b, true => c}, #{{1} => a, {1.0} => b, {true} => c}, #{0 => a, false => b, 0.0 => c}]",
    "lists as keys": "[#{[] => a}, #{[1,2] => a, [1,2.0] => b}, #{\"ab\" => 1, <<\"ab\">> => 2}, #{[a|b] => 1}]",
    "maps as keys": "[#{#{} => 1}, #{#{1 => 2} => 1, #{1.0 => 2} => 2, #{#{a => []} => []} => 3}, #{{#{}} => 1}]",
    "large maps": "[maps:from_list([{I, I * 1.0} || I <- lists:seq(1, 100)]), maps:from_list([{{I}, [I]} || I <- lists:seq(1, 100)])]",
    "improper lists": "[[a|b], [a, b|c], [[a|b]|c], [1|2], [1, 2|3.0], [[]|[[]|a]], [<<1>>|<<2>>], [alias|make_ref()]]",
    "bit strings": "[<<>>, <<1:1>>, <<5:3>>, <<1, 2, 3:7>>, <<0:9>>, <<-1:1023>>, <<255>>]",
    "floats": "[0.0, -0.0, 1.0, -1.5, 1.0e308, 2.2250738585072014e-308, 5.0e-324, 0.1, math:pi(), 9007199254740993.0]",
    "integers": (
        "lists:append([[I, -I, I + 1, -I - 1, I - 1] || "
        "I <- [0, 255, 1 bsl 27, 1 bsl 28, 1 bsl 31, 1 bsl 32, 1 bsl 59, 1 bsl 60, 1 bsl 63, 1 bsl 64, "
        "1 bsl 2040, 1 bsl 3000, 1 bsl 100000]])"
    ),
    "funs": "begin X = [1, {2.0}, #{a => b}], F = fun(Y) -> {X, Y} end, [F, fun() -> F end, fun(A, B) -> {F, A, B} end, {F, #{F => F}}] end",
    "compiled funs": "begin {_, S} = rand:seed_s(exsss, 1), [rand:seed_s(exsss, 1), S] end",
    "exports": "[fun lists:map/2, fun erlang:'+'/2, fun nil:true/0, fun 'Elixir.Foo':'bar!'/255, #{fun a:b/1 => fun a:b/2}]",
    "pids and ports": "[self(), erlang:ports(), processes(), hd(erlang:ports())]",
    "references": "[make_ref(), alias(), erlang:monitor(process, self()), spawn_request(node(), erlang, self, [])]",
    "references of 1 to 5 words": (
        "[binary_to_term(<<131, 90, N:16, 119, 3, \"x@y\", 7:32, 1:32, (binary:copy(<<1, 2, 3, 4>>, N - 1))/binary>>)"
        " || N <- lists:seq(1, 5)]"
    ),
    "identifiers of elsewhere": (
        "[binary_to_term(<<131, 88, 119, 3, \"x@y\", 1:32, 2:32, 7:32>>), "
        "binary_to_term(<<131, 120, 119, 3, \"x@y\", 1234567890123:64, 7:32>>), "
        "binary_to_term(<<131, 89, 119, 3, \"x@y\", 5:32, 7:32>>), "
        "binary_to_term(<<131, 103, 100, 0, 3, \"x@y\", 1:32, 2:32, 3>>), "
        "binary_to_term(<<131, 114, 0, 3, 100, 0, 3, \"x@y\", 3, 1:32, 2:32, 3:32>>), "
        "binary_to_term(<<131, 101, 100, 0, 3, \"x@y\", 1:32, 3>>), "
        "binary_to_term(<<131, 102, 100, 0, 3, \"x@y\", 1:32, 3>>)]"
    ),
    "atoms": (
        "['', a, 'A b', true, false, nil, undefined, null, none, '\\n', list_to_atom(lists:duplicate(255, $x)), "
        "list_to_atom(lists:duplicate(255, 229)), list_to_atom(lists:duplicate(255, 16#1F600)), "
        "list_to_atom(lists:seq(0, 254)), 'Elixir.Foo.Bar']"
    ),
    "strings": (
        "[\"\", \"abc\", [233], [256], lists:seq(0, 255), lists:seq(0, 256), lists:duplicate(65535, 7), "
        "lists:duplicate(65536, 7), <<\"abc\">>, <<\"\u00e9\"/utf8>>, [\"a\", [\"b\"]], [$a|<<\"b\">>]]"
    ),
    "lists of integers": (
        "[lists:seq(-300, 300), lists:seq(1000, 3000), lists:seq(1000, 3000) ++ [1 bsl 40], [-1|lists:seq(1, 100)], "
        "lists:seq(1000, 1100) ++ x, lists:seq(1000, 1100) ++ [a]]"
    ),
    "structs": (
        "[#{'__struct__' => 'Elixir.Date', calendar => 'Elixir.Calendar.ISO', year => 2026, month => 11, day => 24}, "
        "#{'__struct__' => 'Elixir.MapSet', map => #{1 => [], 1.0 => []}}, #{'__struct__' => [], x => 1}, "
        "#{'__exception__' => true, '__struct__' => 'Elixir.RuntimeError', message => <<\"oops\">>}]"
    ),
    "tuples": "[{}, {{}}, list_to_tuple(lists:seq(1, 255)), list_to_tuple(lists:seq(1, 256)), {a, {b, [c, {d}]}}]",
    "deep terms": (
        "[lists:foldl(fun(_, T) -> [T] end, [], lists:seq(1, 100000)), "
        "lists:foldl(fun(_, T) -> {T} end, {}, lists:seq(1, 100000)), "
        "lists:foldl(fun(_, T) -> #{k => T} end, #{}, lists:seq(1, 20000)), "
        "lists:foldl(fun(_, T) -> #{T => v} end, #{}, lists:seq(1, 2000)), "
        "lists:foldl(fun(_, T) -> [T|a] end, b, lists:seq(1, 20000))]"
    ),
    "stacktraces": "try error(oops) catch C:R:S -> [{C, R, S}] end",
    "a state": "[sys:get_status(kernel_sup), application:get_all_env(kernel), erlang:system_info(system_version)]",
}  # fmt: skip


@pytest.mark.parametrize("kind", MADE_BY_THE_BEAM)
def test_what_the_beam_makes_goes_through_python_unchanged(shared_beam, kind):
    shell = shared_beam.shell()
    try:
        # The terms stay in the shell's process; bytes alone cross over: plain, compressed, and as a node writes them.
        made = shell.eval(
            f"""
            Terms = {MADE_BY_THE_BEAM[kind]},
            [[term_to_binary(T, Options) || Options <- [[], [compressed], [{{minor_version, 2}}]]] || T <- Terms]
            """,
            timeout_s=30,
        )
        echoed = [[encode(decode(data)) for data in forms] for forms in made]
        judge = "[[T =:= binary_to_term(B) || B <- Bs] || {T, Bs} <- lists:zip(Terms, Echoed)]"
        assert shell.eval(judge, Echoed=echoed, timeout_s=30) == [[True] * 3] * len(made)
    finally:
        shell.end()


def test_what_differs_arrives_different(shared_beam):
    row = shared_beam.eval(
        '[term_to_binary(T) || T <- [1, 1.0, true, <<1>>, [1], {1}, "a", <<"a">>, a, [], {}, #{}, <<>>, \'\', nil, '
        "undefined, [a|0], [a|0.0], [a], <<5:3>>, <<5:4>>, {[]}, [[]]]]"
    )
    assert len({exact_key(decode(data)) for data in row}) == len(row)


def test_a_signed_zero_keeps_its_sign(shared_beam):
    # Up to OTP 26 the BEAM takes the two for equal; their bytes never are.
    assert shared_beam.eval("term_to_binary(binary_to_term(B))", B=encode(-0.0)) == encode(-0.0)
    assert decode(shared_beam.eval("term_to_binary([0.0, -0.0])")) == [0.0, -0.0]
    assert str(decode(shared_beam.eval("term_to_binary([0.0, -0.0])"))) == "[0.0, -0.0]"


def test_the_same_bytes_as_the_beam(shared_beam):
    """Canonical, where the format leaves no choice (the order of a map's pairs is one)."""
    row: list[Any] = [
        *(sign * (1 << bits) + more for bits in (0, 7, 8, 27, 31, 32, 63, 64, 2039, 2040, 3000) for sign in (1, -1) for more in (-1, 0, 1)),
        0.0, -1.5, b"", b"abc", BitString(b"\xa0", 3), (), (1,), (1,) * 256, [], [1, 2], [1, 256], [1] * 65535, [1] * 65536,
        list(range(300, 400)), ImproperList([1], 2), {}, {1: 2}, Map([([], 1)]), [Atom("x" * 255), Atom("å" * 127)],
    ]  # fmt: skip
    if shared_beam.release.otp >= 26:  # term_to_binary of OTP 25 writes atoms as ATOM_EXT
        row += [Atom("a"), Atom("å" * 128), True, None]
    else:
        row = [term for term in row if not isinstance(term, list) or not any(type(item) is Atom for item in term)]
    for term, data in zip(row, shared_beam.eval("[term_to_binary(T) || T <- Ts]", Ts=row), strict=True):
        assert encode(term) == data, term


near = st.sampled_from([Atom("a@h"), Atom("b@h")])
small = st.integers(0, 2)
few_identifiers = st.one_of(
    st.builds(Pid, near, small, small, small),
    st.builds(Port, near, small, small),
    st.builds(Reference, near, small, st.lists(small, min_size=1, max_size=5).map(tuple)),
    st.builds(Export, st.sampled_from([Atom("a"), Atom("b")]), st.sampled_from([Atom("a"), Atom("b")]), small),
)
"""Such that two often differ in one place."""


@moderate
@given(row=st.lists(terms, max_size=12) | st.lists(few_identifiers, max_size=40))
def test_order_is_that_of_the_beam(shared_beam, row):
    data = [encode(term) for term in row]
    if shared_beam.release.otp < 27:  # where 0.0 and -0.0 are the same key of a map
        data = [item.replace(MINUS_ZERO, PLUS_ZERO) for item in data]
        row = [decode(item) for item in data]
    sorted_there = shared_beam.eval("[term_to_binary(T) || T <- lists:sort([binary_to_term(B) || B <- Bs])]", Bs=data)
    for here, there in zip(sorted(row, key=sort_key), sorted_there, strict=True):
        assert sort_key(here) == sort_key(decode(there))


@moderate
@given(row=st.lists(no_identifiers, min_size=1, max_size=12))
def test_text_says_the_same_to_the_beam(shared_beam, row):
    evaluate = """
        [begin
            {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(<<Text/binary, ".">>)),
            {ok, Parsed} = erl_parse:parse_exprs(Tokens),
            {value, Value, _} = erl_eval:exprs(Parsed, []),
            Value =:= binary_to_term(B)
        end || {Text, B} <- Pairs]
    """
    pairs = [(format_term(term), encode(term)) for term in row]
    assert shared_beam.eval(evaluate, Pairs=pairs) == [True] * len(row)


def test_text_is_that_of_the_beam(shared_beam):
    row: list[Any] = [
        0.1, 1.0, -0.0, 100.0, 1000.0, 1e5, 123456.0, 1e15, 1e16, 1e22, 1e-3, 1e-4, 1e-5, 0.00012, 1.5e300, 2.0**53, 2.0**53 - 1,
        5e-324, 123456789012345680.0, 12345678.9, [97, 98], [97, 10, 9, 27], [1], [233], [97, 127], b"ab", b'a"\\\n', b"\1",
        b"", "é", b"\xe9", b"\xff\xfe\0", [], (), (1, [2]), ImproperList([97], 98), {1: 2}, BitString(b"\1\xa0", 3),
        Atom("a b"), Atom("A"), Atom(""), Atom("it's"), Atom("a@B_1"), Atom("é"), Atom("É"), Atom("case"), Atom("a\nb\1"), Atom("λ"),
        None, True, -5, 1 << 100, "a\x7f", [True], [[97]],
    ]  # fmt: skip
    wide = '[unicode:characters_to_binary(io_lib:format("~0tp", [T])) || T <- Ts]'
    for term, text in zip(row, shared_beam.eval(wide, Ts=row), strict=True):
        assert format_term(term) == text.decode()
    plain = '[unicode:characters_to_binary(io_lib:format("~tw", [T])) || T <- Ts]'
    for term, text in zip(row, shared_beam.eval(plain, Ts=row), strict=True):
        assert format_term(term, strings=False) == text.decode()
        if type(term) is not tuple:
            assert exactly_equal(parse_term(text.decode()), term)
