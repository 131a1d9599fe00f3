"""Application trees as text for a terminal, or for a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rich.text import Text
from rich.tree import Tree as Branch

from erlang_bridge import Pid
from erlang_bridge.terms.text import pid_text
from pyanoma.inspection.processes import ProcessLine, on_screen
from pyanoma.inspection.trees import Tree, Trees

AT_REST: Final = "waiting"
"""The status of a process that has nothing to do: not worth a word."""
MOST_LINKS: Final = 4
_KIND_STYLES: Final = {"supervisor": "magenta", "process": "dim", "application": "dim"}


def drawn(trees: Trees, tree: Tree) -> Branch:
    """One application as a tree of `rich`."""
    heading = Text(on_screen(tree.name), "bold")
    if tree.version:
        heading.append(f" {on_screen(tree.version)}", "dim")
    if tree.description and tree.description != tree.name:
        heading.append(f"  {on_screen(tree.description)}", "dim")
    top = Branch(heading, guide_style="dim")
    branches: dict[Pid | None, Branch] = {None: top}
    links = _by_process(tree)
    for pid, parent in tree.parents.items():
        label = _label(trees, tree, pid, links.get(pid, ()))
        branches[pid] = branches[parent].add(label)
    if tree.left_out:
        top.add(Text(f"{tree.left_out:,} more processes left out (--limit)", "yellow"))
    return top


def _label(trees: Trees, tree: Tree, pid: Pid, links: Iterable[str]) -> Text:
    line = tree.lines.get(pid)
    text = Text(no_wrap=True)
    where = pid_text(pid, trees.node)
    if line is None:
        text.append(where)
        text.append(" ended" if pid.node.name == trees.node else f" on {pid.node.name}", "dim")
        return text
    text.append(on_screen(line.title), "bold" if line.name else "")
    text.append(f" {where}")
    text.append(f" {on_screen(kind_text(line))}", _KIND_STYLES.get(line.kind, "cyan"))
    if line.status != AT_REST:
        text.append(f" {line.status}", "red" if line.status == "suspended" else "green")
    if line.messages:
        text.append(f" {count_text(line.messages, 'message')}", "bold yellow")
    linked = list(links)
    for shown in linked[:MOST_LINKS]:
        text.append(f" ~ {on_screen(shown)}", "blue")
    if len(linked) > MOST_LINKS:
        text.append(f" ~ {len(linked) - MOST_LINKS} more", "blue")
    return text


def kind_text(line: ProcessLine) -> str:
    """Its kind, and what code it runs where its title does not say that."""
    return line.kind if line.code in line.title else f"{line.kind} {line.code}"


def count_text(count: int, what: str) -> str:
    """``1 message``, ``2,000 messages``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _by_process(tree: Tree) -> dict[Pid, list[str]]:
    """What each process is linked with beside parent and children; a link within the tree is told at one end."""
    found: dict[Pid, list[str]] = {}
    for one, other in tree.links:
        line = tree.lines.get(other)
        found.setdefault(one, []).append(line.title if line is not None else str(other))
    for pid, other in tree.outside:
        found.setdefault(pid, []).append(tree.names[other])
    return found


def as_json(trees: Trees) -> dict[str, Any]:
    """All of it for scripts: flat, a process names its parent."""
    node = trees.node

    def process(tree: Tree, pid: Pid, parent: Pid | None) -> dict[str, Any]:
        line = tree.lines.get(pid)
        foreign = pid.node.name != node
        return {
            "pid": pid_text(pid, node),
            "node": pid.node.name,
            "parent": pid_text(parent, node) if parent is not None else None,
            "name": line.name if line else "",
            "label": line.label if line else "",
            "kind": line.kind if line else "other node" if foreign else "ended",
            "initial_call": line.initial_call if line else "",
            "status": line.status if line else "",
            "messages": line.messages if line else 0,
            "reductions": line.reductions if line else 0,
            "memory": line.memory if line else 0,
        }

    def application(tree: Tree) -> dict[str, Any]:
        return {
            "name": tree.name,
            "description": tree.description,
            "version": tree.version,
            "processes": [process(tree, pid, parent) for pid, parent in tree.parents.items()],
            "links": [[pid_text(pid, node) for pid in link] for link in tree.links],
            "outside": [
                {"process": pid_text(pid, node), "pid": pid_text(other, node), "name": tree.names[other]}
                for pid, other in tree.outside
            ],
            "left_out": tree.left_out,
        }

    return {"node": node, "source": trees.source, "applications": [application(tree) for tree in trees.trees]}
