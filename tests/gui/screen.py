"""A screen in memory (Xvfb), with a mouse and a keyboard (xdotool), a camera (ImageMagick) and a reader (tesseract)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final, Self

from erlang_bridge.testing.programs import Program

PROGRAMS: Final = ("Xvfb", "xdotool", "import", "convert", "tesseract")
SIZE: Final = (1280, 1024)

Rect = tuple[int, int, int, int]
"""X, Y, width, height, in pixels of the screen."""


def missing_programs() -> list[str]:
    """Those of `PROGRAMS` that this machine does not have."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


class Screen:
    """An X server on a display that was free.

    Attributes:
        display: such as ``:5``, for the environment of what is to appear on it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server: Program | None = None
        self.display = ""

    def start(self) -> Self:
        reading, writing = os.pipe()
        size = "x".join(map(str, SIZE))
        command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{size}x24", "-nolisten", "tcp"]
        try:
            self._server = Program(command, self._directory / "xvfb.log", os.environ, self._directory, [writing])
        finally:
            os.close(writing)
        with os.fdopen(reading) as lines:
            number = lines.readline().strip()
        assert number, (self._directory / "xvfb.log").read_text()
        self.display = f":{number}"
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.kill()

    @property
    def environment(self) -> dict[str, str]:
        """For a BEAM that shows windows here; without the desktop services that the toolkit would look for."""
        return {"DISPLAY": self.display, "GSETTINGS_BACKEND": "memory", "NO_AT_BRIDGE": "1"}

    # -- mouse and keyboard ---------------------------------------------------------------------

    def click(self, x: int, y: int, *, button: int = 1, times: int = 1) -> None:
        # From beside it: a click is not heeded by all versions of the toolkit where the pointer has not moved.
        coming = ["mousemove", x + 9, y + 1, "sleep", 0.03, "mousemove", x, y, "sleep", 0.03]
        self._run("xdotool", *coming, "click", "--repeat", times, "--delay", 40, button)

    def point_at(self, x: int, y: int) -> None:
        self._run("xdotool", "mousemove", x, y)

    def press(self, *keys: str) -> None:
        """Keys as X names them: ``Down``, ``Return``, ``ctrl+r``."""
        self._run("xdotool", "key", "--delay", 30, *keys)

    def type(self, text: str) -> None:
        self._run("xdotool", "type", "--delay", 8, text)

    def put_in_front(self, title: str, at: tuple[int, int]) -> None:
        """Move the window with this title, raise it, and give it the keyboard: no window manager does it here."""
        found = self._run("xdotool", "search", "--onlyvisible", "--name", f"^{re.escape(title)}$").split()[-1]
        self._run("xdotool", "windowmove", found, *at, "windowraise", found, "windowfocus", found)
        self.point_at(at[0] + 150, at[1] + 10)

    def shown(self) -> set[str]:
        """The numbers of all windows that are shown, menus among them."""
        return set(self._run("xdotool", "search", "--onlyvisible", "--class", ".", check=False).split())

    def place_of(self, window: str) -> Rect:
        """Where a window of this number is."""
        found = self._run("xdotool", "getwindowgeometry", "--shell", window)
        at = dict(line.split("=") for line in found.split())
        return int(at["X"]), int(at["Y"]), int(at["WIDTH"]), int(at["HEIGHT"])

    # -- what is to be seen ---------------------------------------------------------------------

    def titles(self) -> list[str]:
        """Of every window that is shown and has a title; menus have none."""
        found = self._run("xdotool", "search", "--onlyvisible", "--name", ".", check=False).split()
        titles = [self._run("xdotool", "getwindowname", window, check=False).strip() for window in found]
        return [title for title in titles if title]

    def picture(self, path: Path, rect: Rect | None = None) -> Path:
        """Save the screen, or a part of it, as a PNG with a palette."""
        path.parent.mkdir(parents=True, exist_ok=True)
        crop = ["-crop", _geometry(rect), "+repage"] if rect else []
        self._run("import", "-window", "root", *crop, "-depth", "8", "-colors", "64", f"PNG8:{path}")
        return path

    def read(self, rect: Rect, *, one_line: bool = False) -> str:
        """The text that a reader of the screen sees there: letters are right, underscores and dots are not to be relied on."""
        png = subprocess.run(
            ["import", "-window", "root", "-crop", _geometry(rect), "+repage", "-resize", "400%", "-colorspace", "Gray", "png:-"],
            env=self._environment(), capture_output=True, timeout=20, check=True,
        ).stdout  # fmt: skip
        reader = subprocess.run(
            ["tesseract", "-", "-", "--psm", "7" if one_line else "11"], input=png, capture_output=True, timeout=40, check=True,
            env=self._environment() | {"OMP_THREAD_LIMIT": "1"},
        )  # fmt: skip
        return reader.stdout.decode()

    def colours(self, rect: Rect) -> dict[tuple[int, int, int], int]:
        """Colour (red, green, blue) -> number of pixels."""
        pixels = subprocess.run(
            ["import", "-window", "root", "-crop", _geometry(rect), "+repage", "-depth", "8", "rgb:-"],
            env=self._environment(), capture_output=True, timeout=20, check=True,
        ).stdout  # fmt: skip
        counted: dict[tuple[int, int, int], int] = {}
        for at in range(0, len(pixels), 3):
            colour = (pixels[at], pixels[at + 1], pixels[at + 2])
            counted[colour] = counted.get(colour, 0) + 1
        return counted

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "DISPLAY": self.display}

    def _run(self, *command: object, check: bool = True) -> str:
        done = subprocess.run(
            [str(word) for word in command],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


def _geometry(rect: Rect) -> str:
    x, y, width, height = rect
    return f"{width}x{height}+{x}+{y}"
