"""What a process tells of itself: its label and its dictionary, as a BEAM reads them."""

from __future__ import annotations

from typing import Any

from erlang_bridge import Atom, GenServer, Node, Reply


class Labelled(GenServer):
    def init(self, args: Any) -> Any:
        self.set_label((Atom("solver"), args))
        self.dictionary[Atom("started_for")] = args
        self.dictionary["a text"] = {1, 2}
        return args

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        return Reply(self.dictionary.get(Atom("started_for")), state)


def test_a_label_is_shown(node: Node, shared_beam: Any):
    pid = node.start(Labelled, 7)
    assert shared_beam.eval("erpc:call(N, erlang, process_info, [P, label])", N=node.name, P=pid) == (
        Atom("label"),
        (Atom("solver"), 7),
    )


def test_the_dictionary_is_shown_and_is_the_processs_own(node: Node, shared_beam: Any):
    pid, other = node.start(Labelled, 7), node.start(Labelled, 8)
    told = shared_beam.eval("erpc:call(N, erlang, process_info, [P, dictionary])", N=node.name, P=pid)
    assert (Atom("started_for"), 7) in told[1]
    assert (b"a text", [1, 2]) in told[1]
    assert node.call(pid, None) == 7
    assert node.call(other, None) == 8
    assert shared_beam.eval(
        "erpc:call(N, erlang, process_info, [P, {dictionary, started_for}])", N=node.name, P=other
    ) == (
        (Atom("dictionary"), Atom("started_for")),
        8,
    )
