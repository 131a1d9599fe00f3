"""How what a node says of its processes is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from erlang_bridge import Atom, Map, Pid
from erlang_bridge.terms.text import pid_text
from pyanoma.commands.info import _print
from pyanoma.commands.trace import _check, trace
from pyanoma.inspection.details import Details, State
from pyanoma.inspection.processes import counters_of, kind_of, label_text, line_of, mfa_text, on_screen
from pyanoma.inspection.tree_text import drawn
from pyanoma.inspection.trees import APPMON, Tree, Trees, _appmon_tree, _grow
from pyanoma.output import wide_console

NODE = Atom("py@127.0.0.1")


def pid(id: int, node: Atom = NODE) -> Pid:
    return Pid(node, id, 0, 1)


def mfa(module: str, function: str, arity: int) -> Any:
    return Atom(module), Atom(function), arity


TOLD = {
    "registered_name": [],
    "initial_call": mfa("proc_lib", "init_p", 5),
    "dictionary": [],
    "status": Atom("waiting"),
    "message_queue_len": 2,
    "reductions": 10,
    "memory": 100,
    "current_function": mfa("gen_server", "loop", 7),
}
INFO = {
    "links": [],
    "monitors": [],
    "monitored_by": [],
    "parent": Atom("undefined"),
    "group_leader": pid(2),
    "trap_exit": False,
    "priority": Atom("normal"),
    "total_heap_size": 0,
}


def test_a_pid_is_written_as_its_node_writes_it():
    assert pid_text(pid(12), "py@127.0.0.1") == "<0.12.0>"
    assert pid_text(pid(12), Atom("other@host")) == "<py@127.0.0.1.12.0>"


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (Atom("undefined"), ""),
        (b"worker 1", "worker 1"),
        (list(b"worker 1"), "worker 1"),
        ((Atom("worker"), 1), "{worker,1}"),
        ("é".encode() * 1_000_000, "é" * 80 + "..."),
    ],
)
def test_labels(label: Any, text: str):
    assert label_text(label) == text


@pytest.mark.parametrize(
    ("initial_call", "current_function", "kind"),
    [
        (mfa("supervisor", "kernel", 1), mfa("gen_server", "loop", 7), "supervisor"),
        (mfa("m", "init", 1), mfa("gen_server", "loop", 5), "gen_server"),
        (mfa("m", "init", 1), mfa("m", "handle_cast", 2), "process"),
        (mfa("gen_event", "init_it", 6), mfa("gen_event", "fetch_msg", 6), "gen_event"),
        (mfa("erlang", "apply", 2), Atom("undefined"), "process"),
    ],
)
def test_kinds(initial_call: Any, current_function: Any, kind: str):
    assert kind_of(initial_call, current_function) == kind


def test_nothing_from_a_node_is_obeyed_by_the_terminal():
    assert on_screen("\x1b[2J\r\n\x9b5m \u202eleft Zürich [bold]") == r"\x1b[2J\r\n\x9b5m \u202eleft Zürich [bold]"
    told = TOLD | {"registered_name": Atom("\x1b]0;title\x07"), "initial_call": mfa("\x1bm", "f", 1)}
    line = line_of(pid(1), told)
    tree = Tree("app\x1b[5m", "d\x1b", "1\n", parents={line.pid: None}, lines={line.pid: line})
    screen = wide_console()
    with screen.capture() as captured:
        screen.print(drawn(Trees(NODE.name, APPMON, [tree]), tree))
        _print(screen, Details(line, INFO, [], [], [("\x1bf", "\x1b.py", 1)], no_state="\x1b"), NODE.name, None)
    assert "\x1b" not in captured.get()
    assert "\x07" not in captured.get()


@pytest.mark.parametrize(("size", "words"), [(300, "300}]"), (5000, " characters)"), (300_000, "more than 200,000")])
def test_a_state_is_shown_as_far_as_anybody_reads(size: int, words: str):
    state = State("running", "gen_server", "", [("State", [(Atom("number"), one) for one in range(1, size + 1)])])
    screen = wide_console()
    with screen.capture() as captured:
        _print(screen, Details(line_of(pid(1), TOLD), INFO, [], [], [], state), NODE.name, None)
    shown = captured.get()
    assert "{number,1}" in shown
    assert words in shown
    assert len(shown) < 40_000


def test_functions():
    assert mfa_text(mfa("Elixir.Shop", "init", 1)) == "Elixir.Shop:init/1"
    assert mfa_text((None, True, 0)) == "nil:true/0"
    assert mfa_text(Atom("undefined")) == "undefined"


@pytest.mark.parametrize("counted", [{Atom("turns"): 3}, Map([(Atom("turns"), 3)]), [(Atom("turns"), 3)]])
def test_counters(counted: Any):
    assert counters_of([(Atom("other"), 1), Atom("no_pair"), (Atom("$pyanoma"), counted)]) == {"turns": 3}
    assert counters_of([]) == {}


def test_a_process_whose_dictionary_says_more():
    dictionary = [(Atom("$initial_call"), mfa("m", "init", 1)), (Atom("$process_label"), b"till 4")]
    line = line_of(pid(1), TOLD | {"dictionary": dictionary})
    assert (line.title, line.code, line.kind, line.messages) == ("till 4", "m", "gen_server", 2)


def test_a_delivery_of_appmon_info():
    """Names are strings; ports have none of their own, and unknown names are left out."""

    def names(*texts: str) -> Any:
        return tuple(list(text.encode()) for text in texts)

    root, sup, worker = pid(1), pid(2), pid(3)
    processes = [(root, names("<0.1.0>")[0]), (sup, names("sup")[0]), (worker, b"worker")]
    children = [names("<0.1.0>", "sup"), names("sup", "worker"), names("sup", "port 12")]
    delivered = (names("<0.1.0>")[0], processes, children, [names("worker", "<0.1.0>"), names("worker", "gone")])
    assert _appmon_tree(delivered) == ([root], [(root, sup), (sup, worker)], [(worker, root)])
    assert _appmon_tree(([], [], [], [])) == ([], [], [])


def test_growing_a_tree():
    root, sup, first, second, foreign = pid(1), pid(2), pid(30), pid(4), pid(7, Atom("beam@host"))
    tree = Tree("app", "", "")
    children = [(root, sup), (sup, second), (sup, first), (second, first)]
    _grow(tree, [root], children, [(first, root), (root, first), (second, foreign)], 10)
    assert tree.parents == {root: None, sup: root, second: sup, first: sup, foreign: second}
    assert list(tree.parents)[2:4] == [second, first]
    assert {frozenset(link) for link in tree.links} == {frozenset((first, root)), frozenset((second, first))}
    cut = Tree("app", "", "")
    _grow(cut, [root], children, [], 2)
    assert (list(cut.parents), cut.left_out) == ([root, sup], 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--for", "x"), "such as 5s, 500ms or 2m"),
        (("--for", "2h"), "such as 5s, 500ms or 2m"),
        (("--for", "0s"), "such as 5s, 500ms or 2m"),
        (("--max", "0"), "--max"),
    ],
)
def test_wrong_options_of_a_trace(arguments: tuple[str, ...], words: str):
    done = CliRunner().invoke(trace, ["nobody@127.0.0.1", *arguments])
    assert done.exit_code == 2
    assert words in done.output


def test_a_page_that_cannot_be_written_is_known_before_the_trace(tmp_path: Path):
    done = CliRunner().invoke(trace, ["nobody@127.0.0.1", "--html", str(tmp_path / "no" / "page.html")])
    assert done.exit_code == 1
    assert "cannot write" in done.output
    # Of one that can be, nothing is changed before there is a page to write.
    old, new = tmp_path / "old.html", tmp_path / "new.html"
    old.write_text("old")
    for file in (old, new):
        _check(file)
    assert old.read_text() == "old"
    assert not new.exists()
