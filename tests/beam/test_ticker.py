"""The Ticker as a BEAM meets it."""

from __future__ import annotations

from typing import Any

import pytest

from engines import built_in
from erlang_bridge import Atom, ErlangExit, Node


@pytest.fixture
def ticking(node_factory: Any) -> Node:
    node: Node = node_factory(engines=built_in())
    node.start(built_in()["ticker"], name="ticker")
    return node


def test_cast_and_call(shared_beam: Any, ticking: Node):
    source = """
        [gen_server:cast({ticker, Node}, increment) || _ <- lists:seq(1, 5)],
        gen_server:call({ticker, Node}, count)
    """
    assert shared_beam.eval(source, Node=ticking.name) == 5


def test_envelopes(shared_beam: Any, ticking: Node):
    source = """
        Me = {node(), asking}, register(asking, self()), Ref = make_ref(), It = {nil, ticker},
        {ticker, Node} ! {anoma_engine_msg, Me, It, 0, {ticker, increment, #{}}},
        {ticker, Node} ! {anoma_engine_msg, Me, It, 0, {ticker, count_request, #{}}, Ref},
        receive {anoma_engine_msg, From, Me, 0, Reply, Ref} -> {From, Reply} after 5000 -> nothing end
    """
    sender, reply = shared_beam.eval(source, Node=ticking.name)
    assert sender == (ticking.name, Atom("ticker"))
    assert reply == (Atom("ticker"), Atom("count_reply"), {Atom("counter"): 1})


@pytest.mark.parametrize(
    ("start", "counter"), [("0", 0), ("nil", 0), ("#{}", 0), ("7", 7), ("#{counter => 9}", 9), ("#{node_id => x}", 0)]
)
def test_start_link_with_every_start_argument(shared_beam: Any, ticking: Node, start: str, counter: int):
    source = f"""
        {{ok, Pid}} = erpc:call(Node, pyanoma, start_link, [ticker, {start}]),
        Count = gen_server:call(Pid, count),
        gen_server:stop(Pid),
        Count
    """
    assert shared_beam.eval(source, Node=ticking.name) == counter


def test_a_start_argument_that_is_none(shared_beam: Any, ticking: Node):
    source = "erpc:call(Node, pyanoma, start_link, [ticker, <<1>>])"
    assert shared_beam.eval(source, Node=ticking.name) == (Atom("error"), (Atom("badarg"), b"\x01"))


def test_an_unknown_call_crashes_it_as_a_missing_clause_does(beam: Any, ticking: Node):
    with pytest.raises(ErlangExit) as caught:
        beam.eval("gen_server:call({ticker, Node}, decrement)", Node=ticking.name)
    (reason, _stack), _call = caught.value.reason
    assert reason is Atom("function_clause")


def test_an_unknown_message_changes_nothing(shared_beam: Any, ticking: Node):
    source = "{ticker, Node} ! hello, {ticker, Node} ! {1, 2}, gen_server:call({ticker, Node}, count)"
    assert shared_beam.eval(source, Node=ticking.name) == 0


def test_the_state_that_sys_shows(shared_beam: Any, ticking: Node):
    state = shared_beam.eval("sys:get_state({ticker, Node})", Node=ticking.name)
    assert state == {Atom("__class__"): Atom("TickerState"), Atom("counter"): 0}


def test_many_processes_of_the_beam_count_at_once(shared_beam: Any, ticking: Node):
    source = """
        Self = self(),
        Senders = [spawn_link(fun() ->
            Counts = [begin gen_server:cast({ticker, Node}, increment), gen_server:call({ticker, Node}, count) end
                      || _ <- lists:seq(1, 20)],
            Self ! {self(), Counts}
        end) || _ <- lists:seq(1, 10)],
        [receive {Sender, Counts} -> Counts after 10000 -> nothing end || Sender <- Senders]
    """
    seen = shared_beam.eval(source, Node=ticking.name, timeout_s=20)
    for counts in seen:
        assert counts == sorted(set(counts))
        assert all(count >= own for own, count in enumerate(counts, 1))
    assert max(max(counts) for counts in seen) == 200
