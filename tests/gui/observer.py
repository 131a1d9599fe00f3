"""The real observer in a real BEAM, on a screen in memory: driven with mouse and keyboard, read from its own windows."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

import gevent

from erlang_bridge import Atom, ErlangError
from erlang_bridge.testing.beams import Beam
from tests.gui.screen import SIZE, Rect, Screen

T = TypeVar("T")

PROBE: Final = Path(__file__).with_name("observer_probe.erl")
FRAME: Final[Rect] = (0, 0, 1000, 560)
"""Where observer's window is put: wide enough for all of its tabs."""
BESIDE: Final = (120, 90)
"""Where windows are put that observer opens."""

_COMPLAINTS: Final = re.compile(
    r"=(?:ERROR|WARNING|CRASH|SUPERVISOR) REPORT|Observer: Child|Unexpected|Unhandled|crashed"
)

_PARTITION: Final = re.compile(r"=WARNING REPORT.*\n.*requested disconnect from node.*overlapping partitions")
"""What OTP says when another node tells of a lost connection before it is noticed here."""

_GTK_QUOTES: Final = re.compile(r".*\[formatter_crashed: Logger\.Formatter.*domain: \[:wx\].*")
"""Elixir's logger cannot print the quotation marks in what GTK tells wx."""


@dataclass(frozen=True, slots=True)
class Widget:
    """A window or a control, as it is shown.

    Attributes:
        ref: wx's reference to it.
        kind: wx's name for it: ``staticText``, ``listctrl``, ``notebook``, ``htmlWindow``, ...
        text: its label, title, or contents.
        rect: where it is on the screen.
    """

    ref: Any
    kind: str
    text: str
    rect: Rect
    children: tuple[Widget, ...]

    @classmethod
    def of(cls, term: Any) -> Widget:
        ref, kind, text, rect, children = term
        return cls(ref, kind.decode(), text.decode(), rect, tuple(map(cls.of, children)))

    def walk(self) -> Iterator[Widget]:
        yield self
        for child in self.children:
            yield from child.walk()

    def all(self, kind: str) -> list[Widget]:
        return [widget for widget in self.walk() if widget.kind.lower() == kind.lower()]

    def one(self, kind: str, text: str | None = None) -> Widget:
        found = [widget for widget in self.all(kind) if text is None or widget.text.replace("&", "") == text]
        assert found, f"no {kind} {text or ''} in {[(widget.kind, widget.text) for widget in self.walk()]}"
        return found[0]

    def labels(self) -> dict[str, str]:
        """Of a panel of facts: ``{"Initial Call": "...", ...}``, taken from texts that stand side by side."""
        texts = [widget for widget in self.walk() if widget.kind in ("staticText", "text")]
        found: dict[str, str] = {}
        for left, right in zip(texts, texts[1:], strict=False):
            if left.text.endswith(":") and left.rect[1] == right.rect[1]:
                found.setdefault(left.text[:-1], right.text)
        return found

    def whole_text(self) -> str:
        return "\n".join(widget.text for widget in self.walk() if widget.text)


class Observer:
    """Observer, started in a BEAM that has it.

    Args:
        beam: runs with ``DISPLAY`` set to the screen's.
        screen: nothing else is on it.
        probe: object code of ``observer_probe.erl``.
        pictures: folder for `picture`.
    """

    def __init__(self, beam: Beam, screen: Screen, probe: bytes, pictures: Path) -> None:
        self.beam = beam
        self.screen = screen
        self.pictures = pictures
        beam.load_module(probe)
        self._log_read = 0
        self._pid: Any = None

    def start(self, typed: str = "observer:start()") -> None:
        """Start it as a user does, in the language of its node; its window is then put where it has room."""
        # A BEAM ignores the end of its children; newer versions of GTK load icons in a child, and abort if they miss it.
        assert self.beam.eval_erlang("os:set_signal(sigchld, default)") is Atom("ok")
        assert self.beam.eval(typed) is Atom("ok")
        self._pid = self.beam.eval_erlang("whereis(observer)")
        assert self._call("attach") is Atom("ok")
        # While a window is being shown for the first time a change of its size may get lost.
        self.until(self._placed, 10, lambda: f"frame at {self.frame().rect}")

    def _placed(self) -> bool:
        self._call("place", FRAME)
        gevent.sleep(0.1)
        return self.frame().rect == FRAME

    # -- looking ------------------------------------------------------------------------------

    def windows(self) -> list[tuple[Any, str, str]]:
        """Shown windows, observer's own first: (reference, kind, title)."""
        return [(ref, kind.decode(), title.decode()) for ref, kind, title, _ in self._call("windows")]

    def frame(self) -> Widget:
        """Observer's own window."""
        return self.tree(self.windows()[0][0])

    def window(self, title: str, timeout_s: float = 10.0) -> Widget:
        """The window whose title matches this regular expression; waits for it, and puts it in front."""

        def find() -> Any:
            return next((found for found in self.windows()[1:] if re.search(title, found[2])), None)

        ref, _, found = self.until(find, timeout_s, lambda: f"window {title!r} among {self.windows()}")
        self._call("move", ref, BESIDE)
        self.screen.put_in_front(found, BESIDE)
        return self.tree(ref)

    def tree(self, ref: Any) -> Widget:
        return Widget.of(self._call("tree", ref))

    def page(self) -> Widget:
        """The tab that is shown."""
        notebook = self.frame().one("notebook")
        return notebook.children[-1]

    def rows(self, table: Widget, first: int = 0, most: int = 1000) -> list[list[str]]:
        """The rows of a list."""
        return [[cell.decode() for cell in row] for row in self._call("list", table.ref, first, most)]

    def count(self, table: Widget) -> int:
        """How many rows a list has."""
        count: int = self._call("columns", table.ref)[0]
        return count

    def column_titles(self, table: Widget) -> list[str]:
        return [title.decode() for title, _ in self._call("columns", table.ref)[1]]

    def app_tree(self) -> list[tuple[str, Any, int, Rect]]:
        """What the tab Applications draws: (name, pid, depth, box in its drawing area)."""
        return [(name.decode(), pid, depth, rect) for name, pid, depth, rect in self._call("app_tree")]

    def status(self) -> str:
        return self.frame().one("statusBar").text

    def picture(self, name: str, rect: Rect | None = None) -> Path:
        """Keep what is to be seen, by default observer's own window."""
        return self.screen.picture(self.pictures / f"{name}.png", rect or self.frame().rect)

    def until(self, condition: Callable[[], T], timeout_s: float = 10.0, describe: Callable[[], str] = lambda: "") -> T:
        """The first true value of `condition`."""
        deadline = monotonic() + timeout_s
        while not (value := condition()):
            if monotonic() > deadline:
                self.picture(f"failure_{_test_name()}", (0, 0, *SIZE))
                raise AssertionError(
                    f"not within {timeout_s:g} s: {describe()}; windows {self.screen.titles()}\n{self.new_log()}"
                )
            gevent.sleep(0.05)
        return value

    # -- acting -------------------------------------------------------------------------------

    def open_tab(self, title: str, notebook: Widget | None = None) -> Widget:
        """Click on a tab; what it shows."""
        inside = notebook or self.frame().one("notebook")
        self.screen.click(*self._call("tab_point", inside.ref, title.encode()))
        self.until(lambda: self._call("selected", inside.ref) == title.encode())
        return self.page() if notebook is None else self.tree(inside.ref).children[-1]

    def click(self, widget: Widget, *, button: int = 1, times: int = 1) -> None:
        x, y, width, height = widget.rect
        self.screen.click(x + min(width // 2, 40), y + height // 2, button=button, times=times)

    def click_row(self, table: Widget, row: int, *, button: int = 1, times: int = 1) -> None:
        x, y, _, height = self._call("list_item_rect", table.ref, row)
        self.screen.click(x + 40, y + height // 2, button=button, times=times)

    def click_column(self, table: Widget, title: str) -> None:
        """Click on the head of a column."""
        x = table.rect[0]
        for name, width in self._call("columns", table.ref)[1]:
            if name.decode() == title:
                self.screen.click(x + width // 2, table.rect[1] + 10)
                return
            x += width
        raise AssertionError(f"no column {title!r}")

    def choose_in_menu_bar(self, menu: str, item: str) -> None:
        """Open a menu with the keyboard, and choose one of its items."""
        right, down, items = self._call("menu", menu.encode(), item.encode())
        assert down < len(items), f"no {item!r} in {menu}: {items}"
        self.screen.click(FRAME[2] - 40, 12)
        self.screen.press("F10", *["Right"] * right, *["Down"] * (down + 1), "Return")

    def choose_in_popup(self, number: int, count: int, click: Callable[[], None]) -> None:
        """Open a context menu of so many items with `click`, and choose the one of this number, from 1."""
        before = self.screen.shown()

        def opened() -> Rect | None:
            # A menu is shown before it has its size.
            places = [self.screen.place_of(window) for window in self.screen.shown() - before]
            return next((place for place in places if place[3] > 15 * count), None)

        def opened_by_a_click() -> Rect | None:
            # A list that is being filled anew may miss a click.
            click()
            deadline = monotonic() + 1
            while not (place := opened()) and monotonic() < deadline:
                gevent.sleep(0.05)
            return place

        x, y, width, height = self.until(opened_by_a_click, 6, lambda: "a context menu")
        gevent.sleep(0.1)
        self.screen.click(x + width // 3, y + 4 + round((height - 8) * (number - 0.5) / count))

    def show_node(self, name: str) -> None:
        """Pick a node in the menu Nodes."""
        self.until(lambda: name in self.node_menu(), 10, lambda: f"{name} in {self.node_menu()}")
        self.choose_in_menu_bar("Nodes", name)
        self.until(lambda: self.frame().text == f"Observer - {name}", 10, lambda: f"title is {self.frame().text!r}")

    def node_menu(self) -> list[str]:
        return [item.decode() for item in self._call("menu", b"Nodes", b"")[2]]

    def close(self, window: Widget) -> None:
        """Close a window that observer has opened."""
        self._call("close", window.ref)
        self.until(lambda: all(ref != window.ref for ref, _, _ in self.windows()))

    def give_up_dialogs(self) -> None:
        """Escape from what is open, so that one failure does not become many."""
        for title in self.screen.titles():
            if title != self.windows()[0][2]:
                self.screen.put_in_front(title, BESIDE)
                self.screen.press("Escape")

    # -- complaints -----------------------------------------------------------------------------

    def new_log(self) -> str:
        """What its BEAM has printed since this was asked last."""
        text = self.beam.log_text()
        new, self._log_read = text[self._log_read :], len(text)
        return new

    def check(self, expected: tuple[str, ...] = ()) -> None:
        """Fail if observer has complained: a dialog, a line in the log, a process of its that has ended."""
        log = _GTK_QUOTES.sub("", _PARTITION.sub("", self.new_log()))
        assert not _COMPLAINTS.search(log), log
        assert self.beam.eval_erlang("whereis(observer)") == self._pid, "observer has ended"
        dialogs = [
            title
            for title in self.screen.titles()
            if re.search(r"Error|Node down|Observer: |Tracer|Warning|status", title)
        ]
        assert dialogs == list(expected)

    def _call(self, function: str, *arguments: Any) -> Any:
        for _ in range(4):
            try:
                return self.beam.call("observer_probe", function, *arguments)
            except ErlangError as error:
                # A window that has just been closed was among those looked at.
                if "getChildren" not in str(error) and "isShown" not in str(error):
                    raise
                gevent.sleep(0.05)
        return self.beam.call("observer_probe", function, *arguments)


def _test_name() -> str:
    return re.sub(r"\W+", "_", os.environ.get("PYTEST_CURRENT_TEST", "").rpartition("::")[2].partition(" ")[0])
