"""How what a node says of its processes is read."""

from __future__ import annotations

from typing import Any

import pytest

from erlang_bridge import Atom, Map, Pid
from pyanoma.inspection.processes import counters_of, kind_of, label_text, line_of, mfa_text, pid_text
from pyanoma.inspection.trees import Tree, _appmon_tree, _grow

NODE = Atom("py@127.0.0.1")


def pid(id: int, node: Atom = NODE) -> Pid:
    return Pid(node, id, 0, 1)


def mfa(module: str, function: str, arity: int) -> Any:
    return Atom(module), Atom(function), arity


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


def test_functions():
    assert mfa_text(mfa("Elixir.Shop", "init", 1)) == "Elixir.Shop:init/1"
    assert mfa_text((None, True, 0)) == "nil:true/0"
    assert mfa_text(Atom("undefined")) == "undefined"


@pytest.mark.parametrize("counted", [{Atom("turns"): 3}, Map([(Atom("turns"), 3)]), [(Atom("turns"), 3)]])
def test_counters(counted: Any):
    assert counters_of([(Atom("other"), 1), Atom("no_pair"), (Atom("$pyanoma"), counted)]) == {"turns": 3}
    assert counters_of([]) == {}


def test_a_process_whose_dictionary_says_more():
    told = {
        "registered_name": [],
        "initial_call": mfa("proc_lib", "init_p", 5),
        "dictionary": [(Atom("$initial_call"), mfa("m", "init", 1)), (Atom("$process_label"), b"till 4")],
        "status": Atom("waiting"),
        "message_queue_len": 2,
        "reductions": 10,
        "memory": 100,
        "current_function": mfa("gen_server", "loop", 7),
    }
    line = line_of(pid(1), told)
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
