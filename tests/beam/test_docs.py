"""The pages of docs/: every block of the tutorial is written, run or typed as it stands; links lead somewhere.

How a block is taken: one with a file's name after its language is that file; ``sh`` is a program in a terminal of its
own; ``erlang`` and ``elixir`` are typed into the ``erl`` and ``iex`` started last; ``text`` has to appear on the
terminal of the block before, or on that of the program named after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from erlang_bridge.testing.elixir import ElixirRelease
from erlang_bridge.testing.epmd import Epmd
from erlang_bridge.testing.programs import free_port
from erlang_bridge.testing.releases import BeamRelease
from tests.pages import ROOT, Block, Page
from tests.sessions import NO_DAEMON, Session, interpreter, path_with

TUTORIAL = Page("docs/tutorial.md")
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
SHELLS = {"erlang": "erl", "elixir": "iex"}


class Reader:
    """Somebody who does what a page says."""

    def __init__(self, directory: Path, environment: dict[str, str], stack: ExitStack) -> None:
        self.directory = directory
        self.environment = environment
        self.stack = stack
        self.sessions: dict[str, Session] = {}
        self.last = ""

    def follow(self, block: Block) -> None:
        if block.language == "text":
            self.sessions[block.title or self.last].expect(block.text, 60)
        elif block.title:
            (self.directory / block.title).write_text(block.text)
        elif block.language == "sh":
            self._start(block.text.strip())
        else:
            self.last = SHELLS[block.language]
            self.sessions[self.last].type(block.text)

    def _start(self, command: str) -> None:
        program, *arguments = command.split()
        self.last = arguments[0] if program == "python" else program
        session = Session(command, self.directory, self.environment)
        self.sessions[self.last] = self.stack.enter_context(session)


@pytest.fixture
def epmd(beam_releases: list[BeamRelease], tmp_path: Path) -> Iterator[Epmd]:
    """Of this test alone: the names of a page's nodes are free there."""
    epmd = Epmd(beam_releases[0], free_port(), tmp_path)
    epmd.start()
    yield epmd
    epmd.stop()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_tutorial(elixir_release: ElixirRelease, epmd: Epmd, tmp_path: Path) -> None:
    programs = path_with(interpreter(), elixir_release.elixir.parent, elixir_release.beam.erl.parent)
    environment = {"PATH": programs, "ERL_EPMD_PORT": str(epmd.port), "PYTHONDONTWRITEBYTECODE": "1", **NO_DAEMON}
    with ExitStack() as stack:
        reader = Reader(tmp_path, environment, stack)
        for block in TUTORIAL.blocks:
            try:
                reader.follow(block)
            except Exception as error:
                error.add_note(block.place)
                raise
        assert reader.sessions["pytest"].run() == 0, reader.sessions["pytest"].terminal.text


def test_files_of_the_tutorial_are_named_in_its_text() -> None:
    prose = "\n".join(TUTORIAL.prose)
    files = [block.title for block in TUTORIAL.blocks if block.title and block.language != "text"]
    assert len(files) >= 5
    assert [name for name in files if f"`{name}`" not in prose] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = (ROOT / page).parent
    assert [link for link in Page(page).links() if not (folder / link).exists()] == []
