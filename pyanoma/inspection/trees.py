"""The trees of a node's applications: who supervises whom, and which other links there are.

Read as observer reads them, through ``appmon_info`` of OTP's runtime_tools; where a node does not have it, from
``supervisor:which_children/1``, which shows the children of supervisors only.

Source: OTP ``lib/runtime_tools/src/appmon_info.erl``; ``lib/kernel/src/application_master.erl``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from erlang_bridge import Atom, BridgeError, ErlangError, ErlangExit, OwnProcess, Pid
from erlang_bridge.terms.text import pid_text
from pyanoma.inspection.processes import ProcessLine, Reader

APPMON: Final = "appmon_info"
SUPERVISORS: Final = "supervisors"
MOST_PROCESSES: Final = 1000
"""Of one application; those nearest to its root."""

_GEN_CAST: Final = Atom("$gen_cast")
_APP: Final = Atom("app")
_APP_CTRL: Final = Atom("app_ctrl")
_DELIVERY: Final = Atom("delivery")
_ONCE: Final = [(Atom("timeout"), Atom("at_most_once"))]
_PATIENCE: Final = (0.6, 0.3)
"""Shares of the time limit: how long a delivery is waited for before it is asked for once more."""
_UNDEF: Final = Atom("undef")
_SUPERVISOR: Final = Atom("supervisor")


class NoApplication(BridgeError):
    """The node runs no such application, or one without processes."""

    def __init__(self, name: str, node: str, known: Iterable[str]) -> None:
        super().__init__(f"no application {name} with processes on {node}; it has {', '.join(known) or 'none'}")


@dataclass(slots=True)
class Tree:
    """One application.

    Attributes:
        parents: each process and its parent, the root's None, in the order of the tree from its root down, sisters in
            the order in which they were started.
        lines: what is known of each. Processes of other nodes, and those that have ended meanwhile, are not in it.
        links: between processes of the tree, beside those that make it.
        outside: links from a process of the tree to others.
        names: of processes outside that have one.
        left_out: processes that are not shown, as there are too many.
    """

    name: str
    description: str
    version: str
    parents: dict[Pid, Pid | None] = field(default_factory=dict)
    lines: dict[Pid, ProcessLine] = field(default_factory=dict)
    links: list[tuple[Pid, Pid]] = field(default_factory=list)
    outside: list[tuple[Pid, Pid]] = field(default_factory=list)
    names: dict[Pid, str] = field(default_factory=dict)
    left_out: int = 0

    def children(self) -> dict[Pid | None, list[Pid]]:
        """The children of each process; the root is the child of None."""
        found: dict[Pid | None, list[Pid]] = {}
        for pid, parent in self.parents.items():
            found.setdefault(parent, []).append(pid)
        return found


@dataclass(frozen=True, slots=True)
class Trees:
    """The applications of a node that have processes, in the order in which the node names them.

    Attributes:
        source: `APPMON` or `SUPERVISORS`.
    """

    node: str
    source: str
    trees: list[Tree]


Edges = list[tuple[Pid, Pid]]
"""Parent and child, or two processes that are linked."""


def read_trees(reader: Reader, app: str | None = None, most: int = MOST_PROCESSES) -> Trees:
    """The trees of all applications of the node, or of one.

    Args:
        most: processes of one application.

    Raises:
        NoApplication: `app` is none of them.
    """
    described = _applications(reader)
    try:
        source, found = APPMON, reader.as_process(lambda own: _from_appmon(reader, own, app))
    except ErlangError as error:
        if error.reason is not _UNDEF:
            raise
        source, found = SUPERVISORS, _from_supervisors(reader, list(described), app)
    trees = []
    for name, (roots, children, links) in found.items():
        if app in (None, name):
            description, version = described.get(name, ("", ""))
            tree = Tree(name, description, version)
            _grow(tree, roots, children, links, most)
            trees.append(tree)
    _look_closer(reader, trees)
    return Trees(reader.node, source, trees)


def _applications(reader: Reader) -> dict[str, tuple[str, str]]:
    """Name to description and version, the last started first."""
    applications = reader.rpc("application", "which_applications")
    return {str(name): (_text(description), _text(version)) for name, description, version in applications}


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(code, int) for code in value):
        return "".join(map(chr, value))
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


# -- appmon_info ------------------------------------------------------------------------------

Found = dict[str, tuple[list[Pid], Edges, Edges]]
"""Application to roots, edges of the tree, other links."""


def _from_appmon(reader: Reader, own: OwnProcess, app: str | None) -> Found:
    # The first is whom to end with: one that it does not hear of, as an observer may have joined when we go.
    starter = reader.client.whereis("net_kernel")
    _, server = reader.rpc(APPMON, "start_link2", [starter, own.pid, []])

    def ask(command: Atom, about: Atom) -> Any:
        # Where a process ends while it is being looked at, nothing is delivered.
        for share in _PATIENCE:
            own.send(server, (_GEN_CAST, (own.pid, command, about, True, _ONCE)))
            try:
                wait_s = share * reader.timeout_s
                return own.receive(lambda message: _is_delivery(message, command, about), wait_s)[4]
            except TimeoutError:
                continue
        raise ErlangExit(Atom("timeout"), f"appmon_info of {reader.node}")

    names = [name for _, name, _ in ask(_APP_CTRL, reader.name)]
    if app is not None:
        known = [name.name for name in names]
        names = [name for name in names if name.name == app]
        if not names:
            raise NoApplication(app, reader.node, known)
    return {name.name: _appmon_tree(ask(_APP, name)) for name in names}


def _is_delivery(message: Any, command: Atom, about: Atom) -> bool:
    return type(message) is tuple and len(message) == 5 and (message[0], *message[2:4]) == (_DELIVERY, command, about)


def _appmon_tree(delivered: Any) -> tuple[list[Pid], Edges, Edges]:
    root, processes, children, links = delivered
    pids = {_text(name): pid for pid, name in processes if isinstance(pid, Pid)}

    def edges(named: Any) -> Edges:
        both = [(pids.get(_text(one)), pids.get(_text(other))) for one, other in named]
        return [(one, other) for one, other in both if one is not None and other is not None]

    at_root = pids.get(_text(root))
    return [at_root] if at_root is not None else [], edges(children), edges(links)


# -- supervisors ------------------------------------------------------------------------------


def _from_supervisors(reader: Reader, names: list[str], app: str | None) -> Found:
    found: Found = {}
    for name in names:
        if app in (None, name):
            root = _root_supervisor(reader, Atom(name))
            if root is not None:
                found[name] = ([root], _supervised(reader, root), [])
    if app is not None and not found:
        raise NoApplication(app, reader.node, names)
    return found


def _root_supervisor(reader: Reader, app: Atom) -> Pid | None:
    master = reader.rpc("application_controller", "get_master", [app])
    if not isinstance(master, Pid):
        return None
    match reader.rpc("application_master", "get_child", [master]):
        case (Pid() as root, _) | (Pid() as root):
            return root
    return None


def _supervised(reader: Reader, root: Pid) -> Edges:
    edges: Edges = []
    waiting = deque([root])
    while waiting:
        parent = waiting.popleft()
        # To ask something else than a supervisor for its children might be the end of it.
        line = next(iter(reader.lines([parent])), None)
        if line is None or line.kind != "supervisor":
            continue
        try:
            children = reader.rpc("supervisor", "which_children", [parent])
        except (ErlangError, ErlangExit):
            continue
        for _, child, kind, _ in children:
            if isinstance(child, Pid):
                edges.append((parent, child))
                if kind is _SUPERVISOR and child.node is reader.name:
                    waiting.append(child)
    return edges


# -- both -------------------------------------------------------------------------------------


def _grow(tree: Tree, roots: list[Pid], children: Edges, links: Edges, most: int) -> None:
    below: dict[Pid, list[Pid]] = {}
    for supervisor, child in children:
        below.setdefault(supervisor, []).append(child)
    other: dict[Pid, list[Pid]] = {}
    for one, two in links:
        # A process of another node is a child of the one that is linked with it.
        if one.node is not two.node:
            other.setdefault(one, []).append(two)
    seen: set[Pid] = set()
    waiting: deque[tuple[Pid, Pid | None]] = deque((root, None) for root in roots)
    extra = list(links)
    while waiting:
        pid, parent = waiting.popleft()
        if pid in seen:
            if parent is not None:
                extra.append((parent, pid))
            continue
        seen.add(pid)
        if len(tree.parents) < most:
            tree.parents[pid] = parent
        else:
            tree.left_out += 1
        down = sorted(below.get(pid, ()), key=_age) + sorted(other.get(pid, ()), key=_age)
        waiting.extend((child, pid) for child in down)
    tree.links = _unique(tree, extra)


def _age(pid: Pid) -> tuple[str, int, int]:
    return (pid.node.name, pid.serial, pid.id)


def _unique(tree: Tree, edges: Edges) -> Edges:
    """Links between two processes of the tree that are not parent and child, each once."""
    kept: dict[frozenset[Pid], tuple[Pid, Pid]] = {}
    for one, other in edges:
        known = one in tree.parents and other in tree.parents
        if known and one != other and tree.parents[one] != other and tree.parents[other] != one:
            kept.setdefault(frozenset((one, other)), (one, other))
    return list(kept.values())


def _look_closer(reader: Reader, trees: list[Tree]) -> None:
    """Fill in what the processes are and do, and their links with others."""
    own = {pid: None for tree in trees for pid in tree.parents if pid.node is reader.name}
    lines = {line.pid: line for line in reader.lines(own, "links")}
    for tree in trees:
        tree.lines = {pid: lines[pid] for pid in tree.parents if pid in lines}
        pairs = [(pid, link) for pid, line in tree.lines.items() for link in line.links]
        inside = [pair for pair in pairs if pair[1] in tree.parents]
        tree.links = _unique(tree, [*tree.links, *inside])
        if not tree.left_out:
            tree.outside = [pair for pair in pairs if pair[1] not in tree.parents]
    _name_outside(reader, trees, lines)


def _name_outside(reader: Reader, trees: list[Tree], lines: dict[Pid, ProcessLine]) -> None:
    outside = {pid for tree in trees for _, pid in tree.outside}
    unknown = [pid for pid in outside if pid.node is reader.name and pid not in lines]
    named = {line.pid: line.name for line in [*reader.lines(unknown), *lines.values()] if line.name}
    for tree in trees:
        tree.names = {link: named.get(link) or pid_text(link, reader.name) for _, link in tree.outside}
