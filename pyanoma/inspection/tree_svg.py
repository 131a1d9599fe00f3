"""Application trees as one SVG picture: no script, no other file, light or dark as the reader's system is.

Each application is a panel. Its tree grows from left to right; where a process has many children without children of
their own, these stand together in a frame, several in a row, so that hundreds still fit on a page. `arrange` decides
where everything is, from estimated widths of text; `svg` writes it down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final
from unicodedata import east_asian_width

from erlang_bridge import Pid
from erlang_bridge.terms.text import pid_text
from pyanoma.inspection.processes import ProcessLine
from pyanoma.inspection.tree_text import AT_REST, count_text
from pyanoma.inspection.trees import APPMON, Tree, Trees

PAGE_WIDTH: Final = 1560.0
"""Panels beside each other, and frames, keep to it where they can."""
FRAMED_FROM: Final = 9
"""So many childless children of one process get a frame."""
COMPACT_FROM: Final = 25
"""From so many on they have one line each."""

_NOT_IN_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_TITLE_SIZE: Final = 12.0
_DETAIL_SIZE: Final = 10.0
_ADVANCE: Final = 0.615
"""Width of a character of a fixed-width font, in its size; a little more than the usual fonts have."""
_MOST_TITLE: Final = 38
_MOST_COMPACT: Final = 24
_MOST_DETAIL: Final = 60
_MOST_CODE: Final = 24
_LINE: Final = 14.0
_PADDING: Final = 10.0
_DOT: Final = 12.0
"""Room for the dot that tells the status."""
_ROW_GAP: Final = 9.0
_COLUMN_GAP: Final = 40.0
_LEAST_FRAME: Final = 1100.0
"""So wide a frame may be, deep down in the tree, too."""
_CELL_GAP: Final = 7.0
_FRAME_HEADING: Final = 22.0
_PANEL_PADDING: Final = 20.0
_PANEL_HEADING: Final = 48.0
_MARGIN: Final = 24.0
_HEADER: Final = 56.0
_LEAST_WIDTH: Final = 960.0
"""So much takes the legend."""
_LEGEND: Final = 62.0


@dataclass(slots=True)
class Box:
    """One process. `x` and `y` are its upper left corner."""

    pid: Pid
    title: str
    details: list[tuple[str, str]]
    """Class and text of each further line."""
    classes: str
    status: str
    badge: str
    tip: str
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


@dataclass(slots=True)
class Frame:
    """Children of one process that stand together."""

    parent: Pid
    heading: str
    boxes: list[Box]
    columns: int
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


@dataclass(slots=True)
class Panel:
    """One application, its corner at 0, 0 until it is put onto the page."""

    tree: Tree
    boxes: dict[Pid, Box]
    frames: list[Frame]
    width: float = 0.0
    height: float = 0.0
    x: float = 0.0
    y: float = 0.0


def text_width(text: str, size: float) -> float:
    """How wide `text` is at most, in a fixed-width font of that size."""
    cells = sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
    return cells * size * _ADVANCE


def shortened(text: str, most: int) -> str:
    """`text` with its middle left out where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    begin = most // 2
    return f"{text[:begin]}…{text[begin + 1 - most :]}"


def _end_of(text: str, most: int) -> str:
    """The last parts of a dotted name that fit."""
    end = text
    while len(end) >= most and "." in end:
        end = end.partition(".")[2]
    return text if end == text else f"…{end}"


# -- arrangement ------------------------------------------------------------------------------


def arrange(trees: Trees) -> tuple[list[Panel], float, float]:
    """The panels, where they stand, and the width and height of the page."""
    panels = [_panel(trees, tree) for tree in trees.trees]
    page = max([PAGE_WIDTH - 2 * _MARGIN, *(panel.width for panel in panels)])
    x, y, row_height, widest = 0.0, 0.0, 0.0, 0.0
    for panel in panels:
        if x and x + panel.width > page:
            x, y, row_height = 0.0, y + row_height + _MARGIN, 0.0
        _move(panel, _MARGIN + x, _HEADER + _MARGIN + y)
        x += panel.width + _MARGIN
        row_height = max(row_height, panel.height)
        widest = max(widest, x - _MARGIN)
    width = max(widest + 2 * _MARGIN, _LEAST_WIDTH)
    return panels, width, _HEADER + _MARGIN + y + row_height + _LEGEND + _MARGIN


def _move(panel: Panel, by_x: float, by_y: float) -> None:
    parts: list[Panel | Box | Frame] = [panel, *panel.boxes.values(), *panel.frames]
    for placed in parts:
        placed.x += by_x
        placed.y += by_y


def _panel(trees: Trees, tree: Tree) -> Panel:
    children = tree.children()
    linked = _linked(tree)
    framed: dict[Pid, list[Pid]] = {}
    for parent, below in children.items():
        leaves = [pid for pid in below if pid not in children]
        if parent is not None and len(leaves) >= FRAMED_FROM:
            framed[parent] = leaves
    compact = {pid for leaves in framed.values() if len(leaves) >= COMPACT_FROM for pid in leaves}
    boxes = {pid: _box(trees, tree, pid, linked.get(pid, ()), pid in compact) for pid in tree.parents}
    panel = Panel(tree, boxes, [])
    inside = {pid for leaves in framed.values() for pid in leaves}
    columns = _columns(tree, boxes, inside)
    depths = _depths(tree)
    frames: dict[Pid, Frame] = {}
    for parent, leaves in framed.items():
        room = PAGE_WIDTH - 2 * _MARGIN - 2 * _PANEL_PADDING - columns[depths[parent] + 1]
        frames[parent] = _frame(tree, parent, [boxes[pid] for pid in leaves], max(room, _LEAST_FRAME))
    _place(tree, panel, children, frames, columns, depths)
    panel.frames = list(frames.values())
    heading = 15 * _ADVANCE * (len(tree.name) + 4) + text_width(_about(tree), _DETAIL_SIZE + 1) + 2 * _PANEL_PADDING
    right = max([0.0, *(box.right for box in boxes.values()), *(frame.x + frame.width for frame in panel.frames)])
    bottom = max([0.0, *(box.y + box.height for box in boxes.values()), *(f.y + f.height for f in panel.frames)])
    panel.width = max(right + _PANEL_PADDING, heading)
    panel.height = bottom + _PANEL_PADDING
    return panel


def _depths(tree: Tree) -> dict[Pid, int]:
    depths: dict[Pid, int] = {}
    for pid, parent in tree.parents.items():
        depths[pid] = 0 if parent is None else depths[parent] + 1
    return depths


def _columns(tree: Tree, boxes: dict[Pid, Box], inside: set[Pid]) -> list[float]:
    """Where the boxes of each depth begin; one more than there are."""
    widths: list[float] = []
    depths = _depths(tree)
    for pid, depth in depths.items():
        while len(widths) <= depth:
            widths.append(0.0)
        if pid not in inside:
            widths[depth] = max(widths[depth], boxes[pid].width)
    columns = [_PANEL_PADDING]
    for width in widths:
        columns.append(columns[-1] + width + _COLUMN_GAP)
    return columns


def _frame(tree: Tree, parent: Pid, boxes: list[Box], room: float) -> Frame:
    width = max(box.width for box in boxes)
    height = max(box.height for box in boxes)
    for box in boxes:
        box.width, box.height = width, height
    wanted = round((len(boxes) * (height + _CELL_GAP) / (width + _CELL_GAP) * 1.6) ** 0.5)
    fitting = int((room - 2 * _PADDING + _CELL_GAP) // (width + _CELL_GAP))
    codes = {(line.kind, line.code) for box in boxes if (line := tree.lines.get(box.pid)) is not None}
    heading = f"{len(boxes)} processes"
    if len(codes) == 1:
        kind, code = codes.pop()
        heading += f" · {kind} {_end_of(code, 40)}"
    heading_columns = -int(-(text_width(heading, _DETAIL_SIZE) + _CELL_GAP) // (width + _CELL_GAP))
    columns = max(1, min(max(wanted, 2, heading_columns), max(fitting, heading_columns)))
    rows = -(-len(boxes) // columns)
    return Frame(
        parent,
        heading,
        boxes,
        columns,
        columns * (width + _CELL_GAP) - _CELL_GAP + 2 * _PADDING,
        rows * (height + _CELL_GAP) - _CELL_GAP + _FRAME_HEADING + _PADDING,
    )


def _place(
    tree: Tree,
    panel: Panel,
    children: dict[Pid | None, list[Pid]],
    frames: dict[Pid, Frame],
    columns: list[float],
    depths: dict[Pid, int],
) -> None:
    """Boxes and frames into the panel: each subtree has a strip of its own, its root in the middle of it."""
    boxes = panel.boxes
    in_frame = {box.pid for frame in frames.values() for box in frame.boxes}
    heights: dict[Pid, float] = {}  # of the strips
    below: dict[Pid, list[Pid]] = {}  # children that have strips
    for pid in reversed(tree.parents):
        if pid in in_frame:
            continue
        below[pid] = [child for child in children.get(pid, ()) if child not in in_frame]
        parts = [heights[child] for child in below[pid]]
        if pid in frames:
            parts.append(frames[pid].height)
        heights[pid] = max(boxes[pid].height, sum(parts) + _ROW_GAP * (len(parts) - 1))
    tops: dict[Pid, float] = {}
    top = _PANEL_HEADING
    for root in children.get(None, ()):
        tops[root] = top
        top += heights[root] + _ROW_GAP
    for pid in tree.parents:
        if pid in in_frame:
            continue
        box = boxes[pid]
        box.x = columns[depths[pid]]
        box.y = tops[pid] + (heights[pid] - box.height) / 2
        parts_height = sum(heights[child] for child in below[pid]) + _ROW_GAP * (len(below[pid]) - 1)
        frame = frames.get(pid)
        if frame is not None:
            parts_height += frame.height + _ROW_GAP
        top = tops[pid] + (heights[pid] - parts_height) / 2
        for child in below[pid]:
            tops[child] = top
            top += heights[child] + _ROW_GAP
        if frame is not None:
            frame.x, frame.y = columns[depths[pid] + 1], top
            _fill(frame)


def _fill(frame: Frame) -> None:
    for number, box in enumerate(frame.boxes):
        row, column = divmod(number, frame.columns)
        box.x = frame.x + _PADDING + column * (box.width + _CELL_GAP)
        box.y = frame.y + _FRAME_HEADING + row * (box.height + _CELL_GAP)


def _box(trees: Trees, tree: Tree, pid: Pid, linked: Iterable[str], compact: bool) -> Box:
    line = tree.lines.get(pid)
    where = pid_text(pid, trees.node)
    outside = list(linked)
    details: list[tuple[str, str]] = []
    if line is None:
        foreign = pid.node.name != trees.node
        title, kind, status, badge = where, "foreign" if foreign else "ended", "", ""
        details = [("detail", f"on {pid.node.name}" if foreign else "ended")]
    else:
        title, kind, status = line.title, line.kind, line.status
        badge = f"{line.messages:,}" if line.messages else ""
        details = [("detail", _about_process(line, where))]
    if outside:
        more = f" +{len(outside) - 1}" if len(outside) > 1 else ""
        details.append(("outside", f"~ {shortened(outside[0], 30)}{more}"))
    if compact and line is not None:
        title = line.name or line.label or where
    title = shortened(title, _MOST_COMPACT if compact else _MOST_TITLE)
    shown = [] if compact else [(kind_of_line, shortened(text, _MOST_DETAIL)) for kind_of_line, text in details]
    room = _DOT + text_width(title, _TITLE_SIZE) + (text_width(badge, _DETAIL_SIZE) + 18 if badge else 0)
    width = max([room, *(text_width(text, _DETAIL_SIZE) for _, text in shown)]) + 2 * _PADDING
    return Box(
        pid=pid,
        title=title,
        details=shown,
        classes=f"process {kind}",
        status=status,
        badge=badge,
        tip=_tip(where, line, outside),
        width=round(width, 1),
        height=24.0 if compact else 25.0 + _LINE * len(shown),
    )


def _about_process(line: ProcessLine, where: str) -> str:
    words = [where]
    if line.code not in line.title:
        words.append(_end_of(line.code, _MOST_CODE))
    if line.kind not in ("process", "supervisor", line.code):
        words.append(line.kind)
    if line.status != AT_REST:
        words.append(line.status)
    return " · ".join(words)


def _tip(where: str, line: ProcessLine | None, outside: list[str]) -> str:
    if line is None:
        return where
    rows = [
        f"{line.title}  {where}",
        f"{line.kind}, {line.initial_call}, {line.status}",
        f"in {line.current_function}",
        f"{count_text(line.messages, 'message')} queued, {line.memory:,} bytes, {line.reductions:,} reductions",
        *(f"{name}: {value}" for name, value in line.counters.items()),
        *(f"linked with {other}" for other in outside),
    ]
    return "\n".join(rows)


def _linked(tree: Tree) -> dict[Pid, list[str]]:
    found: dict[Pid, list[str]] = {}
    for pid, other in tree.outside:
        found.setdefault(pid, []).append(tree.names[other])
    return found


def _about(tree: Tree) -> str:
    words = [tree.version, tree.description if tree.description != tree.name else ""]
    count = len(tree.parents)
    words.append(f"{count} process{'' if count == 1 else 'es'}")
    if tree.left_out:
        words.append(f"{tree.left_out:,} more left out")
    return " · ".join(word for word in words if word)


# -- writing ----------------------------------------------------------------------------------

_STYLE: Final = """
:root { color-scheme: light dark }
svg { --page: #f6f7f9; --panel: #ffffff; --line: #c9d0da; --text: #1c2430; --dim: #5d6979; --box: #ffffff;
  --supervisor: #6d3fc0; --supervisor-box: #f1eafc; --server: #0b66c3; --server-box: #eaf3fd; --other: #6b7686;
  --foreign: #a04a00; --foreign-box: #fff3e6; --link: #c2185b; --busy: #1a8f4a; --rest: #a3adba; --stopped: #d01f1f;
  --badge: #b45309; --badge-text: #ffffff; --frame: #f3f5f8 }
@media (prefers-color-scheme: dark) {
  svg { --page: #12161c; --panel: #1a2028; --line: #3d4856; --text: #e8edf4; --dim: #9eabbb; --box: #222a34;
    --supervisor: #b794f6; --supervisor-box: #2b2440; --server: #6cb2f7; --server-box: #1b2d42; --other: #97a3b3;
    --foreign: #f0a35c; --foreign-box: #38291a; --link: #f48fb1; --busy: #4ade80; --rest: #667386; --stopped: #ff6b6b;
    --badge: #fbbf24; --badge-text: #1a1205; --frame: #1e252e }
}
text { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", monospace; fill: var(--text) }
.page { fill: var(--page) }
.panel { fill: var(--panel); stroke: var(--line) }
.frame { fill: var(--frame); stroke: var(--line); stroke-dasharray: 2 3 }
.node { font-size: 18px; font-weight: 700 }
.app { font-size: 15px; font-weight: 700 }
.about { font-size: 11px; fill: var(--dim) }
.title { font-size: 12px; font-weight: 600 }
.detail, .heading, .legend { font-size: 10px; fill: var(--dim) }
.outside { font-size: 10px; fill: var(--link) }
.edge { fill: none; stroke: var(--line); stroke-width: 1.5 }
.link { fill: none; stroke: var(--link); stroke-width: 1.3; stroke-dasharray: 5 4; opacity: .75 }
.process rect.body { fill: var(--box); stroke: var(--other) }
.process rect.bar { fill: var(--other) }
.supervisor rect.body { fill: var(--supervisor-box); stroke: var(--supervisor) }
.supervisor rect.bar { fill: var(--supervisor) }
.gen_server rect.body, .gen_statem rect.body, .gen_event rect.body, .gen_fsm rect.body {
  fill: var(--server-box); stroke: var(--server) }
.gen_server rect.bar, .gen_statem rect.bar, .gen_event rect.bar, .gen_fsm rect.bar { fill: var(--server) }
.foreign rect.body { fill: var(--foreign-box); stroke: var(--foreign); stroke-dasharray: 4 3 }
.foreign rect.bar { fill: var(--foreign) }
.ended { opacity: .5 }
.dot { fill: var(--busy) }
.dot.waiting { fill: var(--rest) }
.dot.suspended, .dot.exiting { fill: var(--stopped) }
.badge { fill: var(--badge) }
.count { font-size: 10px; font-weight: 700; fill: var(--badge-text); text-anchor: middle }
"""


def svg(trees: Trees, at: datetime | None = None) -> str:
    """The picture, as the text of an SVG file.

    Args:
        at: when the node was asked; default: now.
    """
    panels, width, height = arrange(trees)
    when = (at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    processes = sum(len(panel.boxes) for panel in panels)
    title = f"Processes of {trees.node}"
    size = f'width="{width:.0f}" height="{height:.0f}"'
    about = f"{count_text(len(panels), 'application')} with {processes:,} processes, {when}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" {size} role="img">',
        f"<title>{_xml(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" {size}/>',
        f'<text class="node" x="{_MARGIN}" y="38">{_xml(trees.node)}</text>',
        f'<text class="about" x="{_MARGIN}" y="60">{about}</text>',
    ]
    for panel in panels:
        lines += _panel_lines(panel)
    lines += _legend_lines(height - _MARGIN - 18, trees.source == APPMON)
    return "\n".join([*lines, "</svg>", ""])


def _panel_lines(panel: Panel) -> Iterator[str]:
    tree = panel.tree
    x, y = panel.x, panel.y
    after_name = x + _PANEL_PADDING + 15 * _ADVANCE * (len(tree.name) + 2)
    yield f'<g class="application" data-name="{_xml(tree.name)}">'
    yield f'<rect class="panel" x="{x:.1f}" y="{y:.1f}" width="{panel.width:.1f}" height="{panel.height:.1f}" rx="10"/>'
    yield f'<text class="app" x="{x + _PANEL_PADDING:.1f}" y="{y + 28:.1f}">{_xml(tree.name)}</text>'
    yield f'<text class="about" x="{after_name:.1f}" y="{y + 28:.1f}">{_xml(_about(tree))}</text>'
    in_frame = {box.pid for frame in panel.frames for box in frame.boxes}
    for pid, parent in tree.parents.items():
        if parent is not None and pid not in in_frame:
            yield _edge(panel.boxes[parent], panel.boxes[pid])
    for frame in panel.frames:
        yield _edge(panel.boxes[frame.parent], frame)
        yield (
            f'<rect class="frame" x="{frame.x:.1f}" y="{frame.y:.1f}" width="{frame.width:.1f}" '
            f'height="{frame.height:.1f}" rx="8"/>'
        )
        yield f'<text class="heading" x="{frame.x + _PADDING:.1f}" y="{frame.y + 15:.1f}">{_xml(frame.heading)}</text>'
    for one, other in tree.links:
        yield _link(panel.boxes[one], panel.boxes[other])
    for box in panel.boxes.values():
        yield from _box_lines(box)
    yield "</g>"


def _edge(parent: Box, child: Box | Frame) -> str:
    """From a process to what is below it: with rounded corners, through the gap between the columns."""
    x1, y1, x2, y2 = parent.right, parent.middle, child.x, child.middle
    turn = x2 - _COLUMN_GAP / 2
    down = y2 - y1
    if abs(down) < 1:
        return f'<path class="edge" d="M{x1:.1f} {y1:.1f}H{x2:.1f}"/>'
    radius = min(8.0, abs(down) / 2)
    bend = radius if down > 0 else -radius
    return (
        f'<path class="edge" d="M{x1:.1f} {y1:.1f}H{turn - radius:.1f}Q{turn:.1f} {y1:.1f} {turn:.1f} {y1 + bend:.1f}'
        f'V{y2 - bend:.1f}Q{turn:.1f} {y2:.1f} {turn + radius:.1f} {y2:.1f}H{x2:.1f}"/>'
    )


def _link(one: Box, other: Box) -> str:
    left, right = (one, other) if one.x <= other.x else (other, one)
    if right.x < left.right + 1:  # in one column: round the side
        out = 26 + min(abs(left.middle - right.middle) / 8, 60)
        x1, x2 = left.right, right.right
        controls = (x1 + out, x2 + out)
    else:
        x1, x2 = left.right, right.x
        out = max((x2 - x1) / 2, 20)
        controls = (x1 + out, x2 - out)
    return (
        f'<path class="link" d="M{x1:.1f} {left.middle:.1f}C{controls[0]:.1f} {left.middle:.1f} '
        f'{controls[1]:.1f} {right.middle:.1f} {x2:.1f} {right.middle:.1f}"/>'
    )


def _box_lines(box: Box) -> Iterator[str]:
    x, y = box.x, box.y
    yield f'<g class="{box.classes}" data-pid="{_xml(str(box.pid))}"><title>{_xml(box.tip)}</title>'
    yield f'<rect class="body" x="{x:.1f}" y="{y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="5"/>'
    yield f'<rect class="bar" x="{x:.1f}" y="{y + 4:.1f}" width="3" height="{box.height - 8:.1f}" rx="1.5"/>'
    if box.status:
        yield f'<circle class="dot {_xml(box.status)}" cx="{x + _PADDING + 3:.1f}" cy="{y + 12.5:.1f}" r="3.5"/>'
    yield f'<text class="title" x="{x + _PADDING + _DOT:.1f}" y="{y + 16.5:.1f}">{_xml(box.title)}</text>'
    for number, (kind, text) in enumerate(box.details):
        at = y + 31 + number * _LINE
        yield f'<text class="{kind}" x="{x + _PADDING:.1f}" y="{at:.1f}">{_xml(text)}</text>'
    if box.badge:
        width = text_width(box.badge, _DETAIL_SIZE) + 10
        left = box.right - width - 5
        yield f'<rect class="badge" x="{left:.1f}" y="{y + 5:.1f}" width="{width:.1f}" height="15" rx="7.5"/>'
        yield f'<text class="count" x="{left + width / 2:.1f}" y="{y + 16:.1f}">{box.badge}</text>'
    yield "</g>"


def _legend_lines(y: float, with_links: bool) -> Iterator[str]:
    x = _MARGIN

    def words(text: str) -> str:
        nonlocal x
        line = f'<text class="legend" x="{x:.1f}" y="{y:.1f}">{text}</text>'
        x += text_width(text, _DETAIL_SIZE) + 22
        return line

    for kind, text in (
        ("supervisor", "supervisor"),
        ("gen_server", "server"),
        ("plain", "other process"),
        ("foreign", "on another node"),
    ):
        yield f'<g class="process {kind}">{_swatch("body", x, y)}</g>'
        x += 22
        yield words(text)
    for status, text in (("running", "running"), ("waiting", "waiting"), ("suspended", "suspended")):
        yield f'<circle class="dot {status}" cx="{x + 3:.1f}" cy="{y - 3.5:.1f}" r="3.5"/>'
        x += 12
        yield words(text)
    yield _swatch("badge", x, y)
    x += 22
    yield words("messages queued")
    if with_links:
        x, y = _MARGIN, y + 18
        yield f'<path class="link" d="M{x:.1f} {y - 3.5:.1f}h24"/>'
        x += 30
        yield words("link beside the tree; ~ name: link with a process outside of it")


def _swatch(kind: str, x: float, y: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y - 9:.1f}" width="16" height="11" rx="3"/>'


def _xml(text: str) -> str:
    """For text and attributes; characters that XML does not have are shown as a replacement."""
    return escape(_NOT_IN_XML.sub("\ufffd", text))
