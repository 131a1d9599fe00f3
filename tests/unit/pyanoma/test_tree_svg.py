"""The picture of a node's processes: nothing lies on anything else, all is well-formed, and there to be read."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from erlang_bridge import Atom, Pid
from pyanoma.inspection.processes import ProcessLine
from pyanoma.inspection.tree_svg import Box, Frame, Panel, arrange, svg, text_width
from pyanoma.inspection.trees import APPMON, Tree, Trees
from tests.browser import look_at

NODE = Atom("py@127.0.0.1")
SVG = "{http://www.w3.org/2000/svg}"


def line(pid: Pid, name: str = "", **more: Any) -> ProcessLine:
    known = {
        "label": "",
        "initial_call": "engines.ticker.server.Ticker:init/1",
        "kind": "gen_server",
        "status": "waiting",
        "messages": 0,
        "reductions": 12,
        "memory": 644,
        "current_function": "gen_server:loop/7",
    }
    return ProcessLine(pid, name, **(known | more))


def grown(count: int, rng: random.Random, wide: bool) -> Tree:
    """A tree of so many processes: bushy, or nearly all under one supervisor; with names and links of all sorts."""
    tree = Tree("pyanoma", "Python engines", "0.1.0")
    for number in range(count):
        pid = Pid(NODE, number, 0, 1)
        above = list(tree.parents)
        parent = None if not above else above[min(1, len(above) - 1)] if wide else rng.choice(above)
        tree.parents[pid] = parent
        name = rng.choice(("", f"engine_{number}", "名前" * rng.randint(1, 30), "<&'\"\x01\n>" * 3))
        tree.lines[pid] = line(
            pid,
            name,
            kind=rng.choice(("supervisor", "gen_server", "process")),
            status=rng.choice(("waiting", "running", "suspended")),
            messages=rng.choice((0, 0, 7, 1_234_567)),
        )
    pids = list(tree.parents)
    if count > 2:
        tree.parents[Pid(Atom("beam@127.0.0.1"), 7, 0, 3)] = pids[1]
        tree.links = [
            (pids[0], pids[-1]),
            *zip(rng.sample(pids, count // 3), rng.sample(pids, count // 3), strict=True),
        ]
        tree.outside = [(pids[-1], Pid(NODE, 9999, 0, 1))]
        tree.names = {Pid(NODE, 9999, 0, 1): "net_kernel"}
    return tree


def some_trees(*trees: Tree) -> Trees:
    return Trees(NODE.name, APPMON, list(trees))


def overlap(one: Box | Frame | Panel, other: Box | Frame | Panel) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


@pytest.mark.parametrize("wide", [False, True], ids=["bushy", "wide"])
@pytest.mark.parametrize("count", [1, 3, 12, 40, 300])
def test_nothing_overlaps(count: int, wide: bool, rng: random.Random):
    panels, width, height = arrange(some_trees(grown(count, rng, wide), grown(5, rng, False), grown(2, rng, True)))
    assert not any(overlap(one, other) for one, other in combinations(panels, 2))
    for panel in panels:
        assert panel.x >= 0
        assert panel.x + panel.width <= width
        assert panel.y + panel.height <= height
        boxes = list(panel.boxes.values())
        assert boxes
        assert not any(overlap(one, other) for one, other in combinations(boxes, 2))
        for part in (*boxes, *panel.frames):
            assert panel.x < part.x
            assert part.x + part.width < panel.x + panel.width
            assert panel.y < part.y
            assert part.y + part.height < panel.y + panel.height
        for frame in panel.frames:
            others = [box for box in boxes if box not in frame.boxes]
            assert not any(overlap(frame, box) for box in others)


def test_three_hundred_processes_are_a_page_that_can_be_read():
    root, *workers = (Pid(NODE, number, 0, 1) for number in range(300))
    tree = Tree("pyanoma", "", "", {root: None, **dict.fromkeys(workers, root)})
    tree.lines = {pid: line(pid, f"engine_{pid.id}") for pid in tree.parents}
    _, width, height = arrange(some_trees(tree))
    assert width < 1600
    assert height < 2000


def test_a_chain_as_long_as_can_be():
    tree = Tree("chain", "", "")
    for number in range(1000):
        tree.parents[Pid(NODE, number, 0, 1)] = Pid(NODE, number - 1, 0, 1) if number else None
    assert len(ET.fromstring(svg(some_trees(tree))).findall(f".//{SVG}g[@data-pid]")) == 1000


def test_the_picture_says_what_the_processes_are():
    root, ticker, foreign = Pid(NODE, 1, 0, 1), Pid(NODE, 2, 0, 1), Pid(Atom("beam@host"), 7, 0, 3)
    tree = Tree("pyanoma", "Python engines", "0.1.0", {root: None, ticker: root, foreign: root})
    tree.lines[root] = line(root, "pyanoma_sup", kind="supervisor", initial_call="supervisor:pyanoma.tree/1")
    tree.lines[ticker] = line(ticker, "ticker <1>", messages=12_000, status="running")
    picture = ET.fromstring(svg(some_trees(tree), datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)))
    texts = ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]
    assert texts[:4] == [
        "py@127.0.0.1", "1 application with 3 processes, 2024-05-06 07:08:09 UTC",
        "pyanoma", "0.1.0 · Python engines · 3 processes",
    ]  # fmt: skip
    assert "ticker <1>" in texts
    assert "12,000" in texts
    assert "<0.2.0> · …ticker.server.Ticker · gen_server · running" in texts
    assert {"<beam@host.7.0>", "on beam@host"} <= set(texts)
    groups = [group.get("class") for group in picture.findall(f".//{SVG}g[@data-pid]")]
    assert groups == ["process supervisor", "process gen_server", "process foreign"]
    tip = picture.find(f".//{SVG}g[@data-pid='{ticker}']/{SVG}title")
    assert tip is not None
    assert "12,000 messages queued" in str(tip.text)


def test_an_empty_node_has_a_picture_too():
    assert ET.fromstring(svg(some_trees())).tag == f"{SVG}svg"


def test_wide_characters_take_two_cells():
    assert text_width("名", 10) == 2 * text_width("n", 10)


MEASURE = """
    const boxes = [], loose = [];
    for (const group of document.querySelectorAll("g[data-pid]")) {
        const body = group.querySelector("rect.body").getBoundingClientRect();
        boxes.push([body.left, body.top, body.right, body.bottom]);
        for (const text of group.querySelectorAll("text")) {
            const there = text.getBoundingClientRect();
            if (there.left < body.left || there.right > body.right || there.top < body.top || there.bottom > body.bottom)
                loose.push(text.textContent);
        }
    }
    const page = document.querySelector("rect.page").getBoundingClientRect();
    const cut = [...document.querySelectorAll("text")].filter(text => {
        const there = text.getBoundingClientRect();
        return there.left < 0 || there.right > page.right || there.bottom > page.bottom;
    }).map(text => text.textContent);
    let overlaps = 0;
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach(b => {
        if (a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]) overlaps += 1;
    }));
    const colours = ["rect.page", ".title", ".detail"].map(s => getComputedStyle(document.querySelector(s)).fill);
    return {boxes: boxes.length, overlaps, loose, cut, colours};
"""


def brightness(colour: str) -> float:
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return 0.299 * red + 0.587 * green + 0.114 * blue


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser(tmp_path: Path, rng: random.Random, dark: bool):
    # One larger than the legend, and one smaller.
    trees = (
        some_trees(grown(120, rng, wide=False), grown(60, rng, wide=True)) if dark else some_trees(grown(2, rng, False))
    )
    flags = ["--blink-settings=preferredColorScheme=0"] if dark else []
    found = look_at(tmp_path, svg(trees), MEASURE, *flags)
    assert found["boxes"] == sum(len(tree.parents) for tree in trees.trees)
    assert found["overlaps"] == 0
    assert found["loose"] == []
    assert found["cut"] == []
    page, title, detail = map(brightness, found["colours"])
    assert (page < 60) is dark
    assert abs(page - title) > 150
    assert abs(page - detail) > 90
