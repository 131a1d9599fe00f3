"""The processes of a node as trees, one for each application.

A process stands under the process that started it and is linked with it, as long as that lives: children under their
supervisor, helpers under their server. Other links between processes of a tree are its cross links. Under the node's
own application (see `Applications.own`) stands what is in no other tree; engines that a supervisor of another node has
here stand under that supervisor.

Looking at 100,000 processes takes a while: the functions here are generators of the work, which yield None every so
often and return their result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from erlang_bridge.kernel.give_way import give_way
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.supervision import Supervision
from erlang_bridge.otp.supervisor import Supervisor
from erlang_bridge.process import BehaviourProcess, BodyProcess, Process
from erlang_bridge.process.process import LINKED
from erlang_bridge.terms import Pid
from erlang_bridge.terms.text import format_term

STEP: Final = 500
"""So many processes are looked at between two yields."""

_TOOLS: Final = frozenset(
    {
        "appmon_info",
        "dbg",
        "erpc",
        "erts_debug",
        "etop",
        "iex",
        "observer_backend",
        "rb",
        "rpc",
        "seq_trace",
        "shell",
        "ttb",
    }
)
"""Modules of OTP whose functions other nodes run here to look at this one."""
_OWN_TOOLS: Final = ("erlang_bridge.runtime_tools.", "erlang_bridge.shell.")

T = TypeVar("T")
Work = Generator[None, None, T]


@dataclass(slots=True)
class ProcessTree:
    """One tree.

    Attributes:
        root: its topmost process.
        children: of each process that has some, in the order in which they were started.
        cross_links: pairs of processes that are linked, one of them at least in the tree, and stand elsewhere in it.
    """

    root: Pid
    children: dict[Pid, list[Pid]] = field(default_factory=dict)
    cross_links: list[tuple[Pid, Pid]] = field(default_factory=list)

    def pids(self) -> Iterator[Pid]:
        """All processes, each after its parent, a whole branch before the next."""
        waiting = [self.root]
        while waiting:
            pid = waiting.pop()
            yield pid
            waiting.extend(reversed(self.children.get(pid, ())))


def finish(work: Work[T], between: Callable[[], None] = lambda: None) -> T:
    """Do work, at once unless something is to be done `between` two steps of it."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # what the generator returns
        between()


def finish_in_turns(work: Work[T]) -> T:
    """Do work; others have their turn between two steps. For processes, not for the hub."""
    return finish(work, give_way)


def application_tree(node: Any, name: str) -> Work[ProcessTree | None]:
    """The tree of an application; None where it does not run or has no processes."""
    application = node.applications.find(name)
    if application is None or application.root is None:
        return None
    children = yield from _children(node.table)
    if name == node.applications.own:
        tree = yield from _own_tree(node, application.root, children)
    else:
        tree = yield from _tree_of(application.root, children)
    tree.cross_links = yield from _cross_links(node.table, tree)
    return tree


def name_of(node: Any, pid: Pid) -> str:
    """A process as a tree shows it: its registered name, its label, or its pid. No two have the same."""
    if pid.node is not node.name:
        return f"{pid.node.name} <0.{pid.id}.{pid.serial}>"
    number = f"<0.{pid.id}.{pid.serial}>"
    process = node.table.find(pid)
    if process is None:
        return number
    if process.name is not None:
        return str(process.name.name)
    return number if process.label is None else f"{_text(process.label)} {number}"


def _text(label: Any) -> str:
    return label if isinstance(label, str) else format_term(label, most=60)


def _children(table: Any) -> Work[dict[Pid, list[Pid]]]:
    """Of each process those that it has started and is linked with."""
    children: dict[Pid, list[Pid]] = {}
    processes = list(table.processes.values())
    for number, process in enumerate(processes):
        if not number % STEP:
            yield
        parent = process.parent
        if parent is not None and process.links is not None and process.links.get(parent) == LINKED:
            children.setdefault(parent, []).append(process.pid)
        if isinstance(process, BehaviourProcess) and isinstance(process.instance, Supervisor):
            elsewhere = _children_elsewhere(process)
            if elsewhere:
                children.setdefault(process.pid, []).extend(elsewhere)
    return children


def _children_elsewhere(process: BehaviourProcess) -> list[Pid]:
    """The children that a supervisor has on other nodes."""
    if process.links is None or all(pid.node is process.pid.node for pid in process.links):
        return []
    supervision = getattr(process.instance, "_state", None)
    if not isinstance(supervision, Supervision):
        return []
    pids = [child[1] for child in supervision.which_children()]
    return [pid for pid in pids if type(pid) is Pid and pid.node is not process.pid.node]


def _tree_of(root: Pid, children: dict[Pid, list[Pid]]) -> Work[ProcessTree]:
    tree = ProcessTree(root)
    seen = {root}
    waiting = [root]
    looked_at = 0
    while waiting:
        looked_at += 1
        if not looked_at % STEP:
            yield
        pid = waiting.pop()
        below = [child for child in children.get(pid, ()) if child not in seen]
        if below:
            seen.update(below)
            tree.children[pid] = below
            waiting.extend(below)
    return tree


def _own_tree(node: Any, root: Pid, children: dict[Pid, list[Pid]]) -> Work[ProcessTree]:
    """The tree of what is in no other application's."""
    elsewhere: set[Pid] = {root}
    for application in node.applications.all():
        if application.root is not None and application.root != root:
            tree = yield from _tree_of(application.root, children)
            elsewhere.update(tree.pids())
    table = node.table
    tops: list[Pid] = []
    abroad: dict[Pid, list[Pid]] = {}
    for number, process in enumerate(list(table.processes.values())):
        if not number % STEP:
            yield
        if process.pid in elsewhere or not _belongs_to_the_node(process):
            continue
        parent = process.parent
        is_linked = parent is not None and process.links is not None and process.links.get(parent) == LINKED
        if is_linked and parent.node is not node.name:
            abroad.setdefault(parent, []).append(process.pid)
        elif not is_linked or table.find(parent) is None:
            tops.append(process.pid)
    below = {parent: found for parent, found in children.items() if parent.node is node.name}
    return (yield from _tree_of(root, {**below, **abroad, root: [*tops, *abroad]}))


def _belongs_to_the_node(process: Process) -> bool:
    """Not a caller from outside for as long as its call takes, nor one who only looks at the node."""
    if isinstance(process, BodyProcess):
        return process.initial_call is not None and process.initial_call[0] not in _TOOLS
    if isinstance(process, BehaviourProcess) and isinstance(process.instance, GenServer):
        return not type(process.instance).__module__.startswith(_OWN_TOOLS)
    return False


def _cross_links(table: Any, tree: ProcessTree) -> Work[list[tuple[Pid, Pid]]]:
    parents: dict[Pid, Pid] = {}
    for parent, below in tree.children.items():
        yield
        parents.update(dict.fromkeys(below, parent))
    links: list[tuple[Pid, Pid]] = []
    seen: set[tuple[Pid, Pid]] = set()
    looked_at = 0
    for pid in tree.pids():
        looked_at += 1
        if not looked_at % STEP:
            yield
        process = table.find(pid)
        for other, state in list(process.links.items()) if process is not None and process.links else ():
            looked_at += 1
            if not looked_at % STEP:
                yield
            is_edge = parents.get(other) == pid or parents.get(pid) == other
            if state == LINKED and not is_edge and (other, pid) not in seen:
                seen.add((pid, other))
                links.append((pid, other))
    return links
