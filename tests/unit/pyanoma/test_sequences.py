"""Trace messages put together to a sequence of messages, and that as text, JSON and a page for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from erlang_bridge import Atom, ImproperList, Pid, Reference
from erlang_bridge.terms.text import format_term
from pyanoma.inspection.sequence_page import page
from pyanoma.inspection.sequence_text import as_json, lines_of
from pyanoma.inspection.sequences import Event, Message, Sequence, Sequencer, Who
from tests.browser import look_at

NODE = Atom("n@h")
FAR = Atom("far@h")
ANN, BOB, CAT = (Pid(NODE, number, 0, 1) for number in (1, 2, 3))
FAR_PID = Pid(FAR, 9, 0, 1)
REF = Reference(NODE, 1, (1, 2, 3))
TAG = ImproperList((Atom("alias"),), REF)
NAMES = {ANN: "ann", BOB: "bob", CAT: "cat", FAR_PID: "<far@h.9.0>", None: "elsewhere"}


class Names:
    def title(self, who: Who) -> str:
        return NAMES[who] if not isinstance(who, tuple) else "@".join(part.name for part in who)

    def subtitle(self, who: Who) -> str:
        return f"<0.{who.id}.{who.serial}>" if isinstance(who, Pid) else ""


class Node:
    """Makes the trace messages of a node, a millisecond apart."""

    def __init__(self) -> None:
        self.sequencer = Sequencer(NODE, {Atom("bob"): BOB}.get, Atom("client@h"))
        self.millis = 0

    def tell(self, pid: Pid, kind: str, *details: Any) -> None:
        self.millis += 1
        stamp = (1795, 527000 + self.millis // 1000, self.millis % 1000 * 1000)
        self.sequencer.add((Atom("trace_ts"), pid, Atom(kind), *details, stamp))

    def sends(self, pid: Pid, to: Any, message: Any) -> None:
        self.tell(pid, "send", message, to)

    def receives(self, pid: Pid, message: Any) -> None:
        self.tell(pid, "receive", message)

    @property
    def messages(self) -> list[tuple[Any, ...]]:
        return [(m.sender, m.receiver, m.kind, m.text) for m in self.sequencer.sequence.messages]


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_message_is_sent_and_arrives_once(node: Node):
    node.sends(ANN, BOB, (Atom("hi"), 1))
    node.receives(BOB, (Atom("hi"), 1))
    (message,) = node.sequencer.sequence.messages
    assert (message.sender, message.receiver, message.kind, message.text) == (ANN, BOB, "message", "{hi,1}")
    assert message.sent_s is not None
    assert message.received_s is not None
    assert round(message.received_s - message.sent_s, 6) == 0.001


def test_equal_messages_arrive_in_order(node: Node):
    for _ in range(2):
        node.sends(ANN, BOB, Atom("hi"))
    node.receives(BOB, Atom("hi"))
    first, second = node.sequencer.sequence.messages
    assert (first.received_s is None, second.received_s is None) == (False, True)


def test_calls_and_casts(node: Node):
    call = (Atom("$gen_call"), (ANN, TAG), Atom("count"))
    node.sends(ANN, Atom("bob"), call)
    node.receives(BOB, call)
    node.sends(BOB, REF, (TAG, 5))
    node.receives(ANN, (TAG, 5))
    node.sends(ANN, (Atom("bob"), NODE), (Atom("$gen_cast"), Atom("increment")))
    node.sends(ANN, (Atom("bob"), FAR), (Atom("$gen_cast"), Atom("increment")))
    assert node.messages == [
        (ANN, BOB, "call", "count"),
        (BOB, ANN, "reply", "5"),
        (ANN, BOB, "cast", "increment"),
        (ANN, (Atom("bob"), FAR), "cast", "increment"),
    ]


def test_a_call_from_another_node(node: Node):
    node.receives(BOB, (Atom("$gen_call"), (FAR_PID, TAG), Atom("count")))
    node.sends(BOB, REF, (TAG, 5))
    node.receives(BOB, (Atom("system"), (FAR_PID, TAG), Atom("get_state")))
    assert node.messages == [
        (FAR_PID, BOB, "call", "count"),
        (BOB, FAR_PID, "reply", "5"),
        (FAR_PID, BOB, "call", "{system,get_state}"),
    ]


def test_who_sends_what_tells_nothing_of_its_sender(node: Node):
    node.receives(BOB, Atom("timeout"))
    node.receives(BOB, (Atom("EXIT"), ANN, Atom("bang")))
    node.receives(BOB, (Atom("DOWN"), REF, Atom("process"), CAT, Atom("bang")))
    node.receives(BOB, (REF, 1))
    assert [entry[:3] for entry in node.messages] == [
        (None, BOB, "message"),
        (ANN, BOB, "signal"),
        (CAT, BOB, "signal"),
        (None, BOB, "message"),
    ]


def test_lives_and_what_was_left_out(node: Node):
    node.tell(CAT, "spawned", ANN, (Atom("cat.Cat"), Atom("init"), [1]))
    node.tell(CAT, "exit", Atom("bang"))
    node.tell(CAT, "exit", (Reference(Atom("client@h"), 1, (1, 2, 3)), Atom("return"), 1))  # our own remote call
    node.tell(CAT, "link", ANN)
    node.sequencer.add((Atom("drop"), 7))
    node.sequencer.add("nonsense")
    node.tell(ANN, "send_to_non_existing_process", Atom("lost"), Atom("nobody"))
    sequence = node.sequencer.sequence
    start, end, message = sequence.entries
    assert isinstance(start, Event)
    assert isinstance(end, Event)
    assert (start.who, start.kind, start.text) == (CAT, "start", "cat.Cat:init/1")
    assert (end.who, end.kind, end.text) == (CAT, "end", "bang")
    assert isinstance(message, Message)
    assert (message.receiver, message.is_lost) == ((Atom("nobody"), NODE), True)
    assert sequence.left_out == 7


def many(count: int = 240) -> Sequence:
    """A conversation, with text that would end a script or an element."""
    node = Node()
    for number in range(count // 4):
        tag = ImproperList((Atom("alias"),), Reference(NODE, 1, (number, 0, 0)))
        call = (Atom("$gen_call"), (ANN, tag), (Atom("add"), number, b"</script><b>&amp;" + b"x" * (number % 40)))
        node.sends(ANN, BOB, call)
        node.receives(BOB, call)
        node.sends(BOB, CAT, (Atom("$gen_cast"), number))
        node.sends(BOB, tag.tail, (tag, number))
        node.sends(CAT, CAT, Atom("again"))
    node.tell(CAT, "exit", Atom("normal"))
    return node.sequencer.sequence


def test_as_text(node: Node):
    call = (Atom("$gen_call"), (ANN, TAG), Atom("count"))
    node.sends(ANN, BOB, call)
    node.sends(BOB, REF, (TAG, 5))
    node.tell(BOB, "exit", Atom("bang"))
    assert [line.split() for line in lines_of(node.sequencer.sequence, Names())] == [
        ["0.0000", "ann", "──▶", "bob", "call", "count"],
        ["0.0010", "ann", "◀──", "bob", "reply", "5"],
        ["0.0020", "bob", "ends:", "bang"],
    ]
    assert list(lines_of(Sequence(), Names())) == []


def test_names_are_not_obeyed_by_the_terminal(node: Node):
    class Hostile(Names):
        def title(self, who: Who) -> str:
            return "\x1b[2J\n"

    node.sends(ANN, BOB, Atom("hi"))
    (line,) = lines_of(node.sequencer.sequence, Hostile())
    assert line.split()[1:] == [r"\x1b[2J\n", "──▷", r"\x1b[2J\n", "message", "hi"]


def test_as_json():
    document = as_json(many(8), Names(), "n@h")
    assert [process["name"] for process in document["processes"]] == ["ann", "bob", "cat"]
    first = document["entries"][0]
    assert (first["kind"], first["from"], first["to"], first["sent_s"], first["received_s"]) == (
        "call",
        0,
        1,
        0.0,
        0.001,
    )
    assert format_term(Atom("$gen_call")) in first["message"]
    assert document["entries"][-1] == {"kind": "end", "at_s": document["seconds"], "who": 2, "text": "normal"}


LOOK = """
    const rows = [...document.querySelectorAll("g.row")];
    const heads = () => [...document.querySelectorAll(".head b")].map(head => head.textContent);
    const count = () => document.getElementById("count").textContent;
    const found = {
        errors: document.documentElement.dataset.errors,
        heads: heads(),
        all: rows.length,
        calls: document.querySelectorAll("g.call line.arrow").length,
        replies: document.querySelectorAll("g.reply line.arrow").length,
        loops: document.querySelectorAll("g.message path.arrow").length,
        words: rows.slice(0, 3).map(row => row.querySelector(".words").textContent),
        strangers: document.querySelectorAll("b:not(.head b)").length,
        said: count(),
        lives: document.querySelectorAll("line.life").length,
    };
    const first = rows[0].querySelector("line.arrow"), lines = [...document.querySelectorAll("line.life")];
    found.from = first.getAttribute("x1") === lines[0].getAttribute("x1");
    const words = rows.map(row => row.querySelector(".words").getBBox().width);
    const arrows = rows.map(row => { const a = row.querySelector("line.arrow"); return a ? a.getBBox().width : Infinity; });
    found.overlong = words.filter((width, place) => width > arrows[place]).length;
    rows[0].dispatchEvent(new MouseEvent("click", { bubbles: true }));
    found.details = document.querySelector("#details pre").textContent;
    found.title = document.querySelector("#details h2").textContent;
    const filter = document.getElementById("filter");
    filter.value = "reply BOB";
    filter.dispatchEvent(new Event("input"));
    found.filtered = document.querySelectorAll("g.row").length;
    found.filtered_heads = heads();
    found.filtered_said = count();
    filter.value = "nothing like this";
    filter.dispatchEvent(new Event("input"));
    found.empty = document.getElementById("empty").textContent;
    filter.value = "";
    filter.dispatchEvent(new Event("input"));
    document.querySelector(".chip.call").click();
    found.without_calls = document.querySelectorAll("g.row").length;
    document.querySelector(".chip.call").click();
    document.querySelectorAll(".head")[2].click();
    found.of_cat = document.querySelectorAll("g.row").length;
    found.still = document.documentElement.dataset.errors;
    return found;
"""


@pytest.mark.parametrize("scheme", [0, 1])
def test_the_page_in_a_browser(tmp_path: Path, scheme: int):
    sequence = many()
    found = look_at(tmp_path, page(sequence, Names(), "n@h"), LOOK, f"--blink-settings=preferredColorScheme={scheme}")
    count = len(sequence.messages)
    assert count == 240
    assert (found["errors"], found["still"]) == ("0", "0")
    assert found["heads"] == ["ann", "bob", "cat"]
    assert (found["all"], found["calls"], found["replies"], found["loops"]) == (count + 1, 60, 60, 60)
    assert found["strangers"] == 0
    assert found["words"][0].startswith('{add,0,<<"</sc')
    assert found["words"][1:] == ["0", "0"]
    assert found["said"] == "240 messages"
    assert (found["lives"], found["from"], found["overlong"]) == (3, True, 0)
    assert found["title"] == "ann → bob  call"
    assert found["details"].startswith("{'$gen_call',{<")
    assert '<<"</script><b>&amp;">>' in found["details"]
    assert (found["filtered"], found["filtered_heads"], found["filtered_said"]) == (60, ["ann", "bob"], "60 of 240")
    assert found["empty"] == "Nothing matches the filter."
    assert found["without_calls"] == count + 1 - 60
    assert found["of_cat"] == 121


def test_the_page_needs_nothing_from_elsewhere():
    text = page(many(4), Names(), "n@h")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "src=" not in text
    assert "<link" not in text
