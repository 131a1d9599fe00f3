"""The Ticker as a process: its clients' functions, and E2 of the specification with senders that run at once."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import built_in
from engines.messages import EngineID, Envelope, decode_envelope, encode_envelope
from engines.ticker import server as ticker
from engines.ticker.messages import MESSAGES, CountReply, CountRequest, Increment
from erlang_bridge import Node, NoProcess, OwnProcess, Pid

NAME = "ticking@127.0.0.1"


@pytest.fixture
def node() -> Iterator[Node]:
    with Node(NAME, cookie="secret", listen=False, engines=built_in()) as node:
        yield node


def test_increments_of_a_caller_are_in_its_count(node: Node):
    node.start(ticker.Ticker, 40, name="ticker")
    ticker.increment(node)
    ticker.increment(node)
    assert ticker.count(node) == 42


def test_a_ticker_by_pid(node: Node):
    pid = node.start(built_in()["ticker"])
    ticker.increment(node, pid)
    assert ticker.count(node, pid) == 1


def test_no_ticker(node: Node):
    ticker.increment(node)
    with pytest.raises(NoProcess, match="no such process"):
        ticker.count(node)


def test_the_envelope_form(node: Node):
    own_id = EngineID(NAME, "ticker")
    pid = node.start(ticker.Ticker, 1, name="ticker")
    node.send(pid, encode_envelope(Envelope(None, own_id, Increment())))
    answer = decode_envelope(node.call(pid, encode_envelope(Envelope(None, own_id, CountRequest()))), MESSAGES)
    assert answer.message == CountReply(2)
    assert ticker.count(node) == 2


def test_a_count_request_of_an_engine_is_answered_to_its_name(node: Node):
    node.start(ticker.Ticker, 5, name="ticker")
    got = []

    def body(own: OwnProcess) -> None:
        node.register("asking", own.pid)
        request = Envelope(EngineID(NAME, "asking"), EngineID(None, "ticker"), CountRequest())
        own.send("ticker", encode_envelope(request))
        got.append(decode_envelope(own.receive(timeout_s=2), MESSAGES))

    wait_ended(node, node.spawn(body))
    assert got == [Envelope(EngineID(NAME, "ticker"), EngineID(NAME, "asking"), CountReply(5))]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.booleans(), max_size=12), min_size=1, max_size=5))
def test_many_senders_see_one_order(scripts: list[list[bool]]):
    """Each script is a sender: True increments, False counts. E2."""
    with Node(NAME, cookie="secret", listen=False) as node:
        pid = node.start(ticker.Ticker)
        counts: list[list[tuple[int, int]]] = [[] for _ in scripts]

        def body(own: OwnProcess, script: list[bool], seen: list[tuple[int, int]]) -> None:
            increments = 0
            for increments_now in script:
                if increments_now:
                    increments += 1
                    ticker.increment(own, pid)
                else:
                    seen.append((increments, ticker.count(own, pid)))

        for sender in [node.spawn(body, script, seen) for script, seen in zip(scripts, counts, strict=True)]:
            wait_ended(node, sender)
        total = sum(sum(script) for script in scripts)
        assert ticker.count(node, pid) == total
        for seen in counts:
            values = [count for _, count in seen]
            assert values == sorted(values)
            # Its own increments are in; what it had not sent yet is not.
            assert all(own <= count <= total for own, count in seen)


def wait_ended(node: Node, pid: Pid) -> None:
    while node.is_alive(pid):
        gevent.sleep(0.001)
