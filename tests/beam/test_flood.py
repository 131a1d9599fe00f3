"""A BEAM that sends faster than we handle."""

from __future__ import annotations

from typing import Any

from erlang_bridge import GenServer, Node, NoReply
from erlang_bridge.testing.beams import Beam
from tests.waiting import until


def test_a_flood_waits_at_its_sender_not_in_the_mailbox(beam: Beam, node: Node) -> None:
    longest, handled, sent = 0, 0, 50_000

    class Sink(GenServer):
        def handle_info(self, message: Any, state: Any) -> Any:
            nonlocal longest, handled
            longest = max(longest, len(self.process.mailbox or ()))
            handled += 1
            sum(range(500))  # work: more than it takes to read a message
            return NoReply(state)

    flood = "spawn(fun() -> lists:foreach(fun(I) -> P ! {message, I, <<0:256>>} end, lists:seq(1, N)) end)"
    beam.eval(flood, P=node.start(Sink), N=sent)
    assert until(lambda: handled == sent, 20)
    assert longest < 10_000
