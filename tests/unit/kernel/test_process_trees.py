"""Trees of many processes: right, and done in small steps."""

from __future__ import annotations

from typing import Any

import pytest

from erlang_bridge import Atom, ChildSpec, DynamicSupervisor, Node, OwnProcess
from erlang_bridge.kernel.applications import Application
from erlang_bridge.kernel.process_trees import STEP, _cross_links, application_tree, finish, name_of
from erlang_bridge.otp.gen_server import start_server
from erlang_bridge.otp.reports import MOST_ANCESTORS, ancestors
from erlang_bridge.otp.supervisor import start_child
from tests.servers import Idle


@pytest.fixture
def node() -> Any:
    with Node("trees@127.0.0.1", cookie="x", listen=False) as node:
        yield node


def test_a_large_tree_is_made_in_steps(node: Node) -> None:
    count = 4 * STEP
    root = node.start(DynamicSupervisor, name="large_sup")
    children = [start_child(node, root, ChildSpec("idle", (Idle,)))[1] for _ in range(count)]
    node.applications.add(Application("large", "", "1.0", root))
    work = application_tree(node, "large")
    steps = 0
    while True:
        try:
            next(work)
        except StopIteration as done:
            tree = done.value
            break
        steps += 1
    assert steps > 8
    assert tree.root == root
    assert tree.children == {root: children}
    assert list(tree.pids()) == [root, *children]
    assert tree.cross_links == []
    # They are in no other tree.
    own = finish(application_tree(node, node.applications.own))
    assert own is not None
    assert set(own.pids()) == {node.whereis("application_controller")}


def test_steps_are_small_whatever_the_number_of_links(node: Node) -> None:
    """A root that is linked with one more shifts how often a link is looked at."""
    root = node.start(DynamicSupervisor, name="large_sup")
    for _ in range(2 * STEP):
        start_child(node, root, ChildSpec("idle", (Idle,)))
    node.applications.add(Application("large", "", "1.0", root))
    steps = []
    for _ in range(2):
        tree = finish(application_tree(node, "large"))
        assert tree is not None
        steps.append(sum(1 for _ in _cross_links(node.table, tree)))
        start_child(node, root, ChildSpec("idle", (Idle,)))
    assert min(steps) >= 4


def test_ancestors_of_a_long_chain(node: Node) -> None:
    pids = [node.start(Idle)]
    for _ in range(1500):
        pids.append(start_server(node.table, Idle, None, lambda answer: None, parent=pids[-1]))
    process = node.table.find(pids[-1])
    assert process is not None
    assert ancestors(process) == pids[-2 : -MOST_ANCESTORS - 2 : -1]


def test_what_ends_meanwhile_does_no_harm(node: Node) -> None:
    root = node.start(DynamicSupervisor, name="large_sup")
    for _ in range(2 * STEP):
        start_child(node, root, ChildSpec("idle", (Idle,), restart="temporary"))
    node.applications.add(Application("large", "", "1.0", root))
    work = application_tree(node, "large")
    next(work)
    next(work)
    node.exit(root, Atom("kill"))
    finish(work)
    assert finish(application_tree(node, "large")) is None


def test_names_are_different(node: Node) -> None:
    def labelled(own: OwnProcess) -> None:
        own.set_label("worker")
        own.receive()

    pids = [node.spawn(labelled) for _ in range(3)]
    pids += [node.start(Idle), node.start(Idle, name="named")]
    node.call("application_controller", Atom("which_applications"))
    names = [name_of(node, pid) for pid in pids]
    assert len(set(names)) == len(names)
    assert names[0] == f"worker <0.{pids[0].id}.0>"
    assert names[-1] == "named"


def test_no_application(node: Node) -> None:
    assert finish(application_tree(node, "nonsense")) is None
    assert finish(application_tree(node, "stdlib")) is None


def test_an_application_of_the_nodes_own_name(node: Node) -> None:
    assert node.applications.own == "trees"
    root = node.start(DynamicSupervisor)
    node.applications.add(Application("trees", "", "1.0", root))
    assert node.applications.own == "trees_node"
    assert [found.name for found in node.applications.all()][-2:] == ["trees", "trees_node"]
