"""The README's section on observer and docs/observer.md: their commands as written, up to the node picked in the menu."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from erlang_bridge.testing.epmd import Epmd
from erlang_bridge.testing.programs import free_port
from erlang_bridge.testing.releases import BeamRelease
from tests.gui.screen import Screen
from tests.pages import ROOT, Page
from tests.sessions import NO_DAEMON, Session, interpreter, path_with
from tests.waiting import until

README = Page("README.md")
PAGE = Page("docs/observer.md")
SECTION = "Look at it with observer"


@pytest.fixture
def environment(beam_releases: list[BeamRelease], screen: Screen, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Of a user with a screen, and an epmd at which the pages' names are free."""
    epmd = Epmd(beam_releases[0], free_port(), tmp_path)
    epmd.start()
    yield {
        "PATH": path_with(interpreter()),
        "ERL_EPMD_PORT": str(epmd.port),
        "PYTHONDONTWRITEBYTECODE": "1",
        **screen.environment,
        **NO_DAEMON,
    }
    epmd.stop()


def follow(start: str, erl: str, typed: str, environment: dict[str, str], screen: Screen, directory: Path) -> None:
    """Start a Python node, a BEAM, and observer, and pick ``py@127.0.0.1``, the second in the menu Nodes."""
    with Session(start, directory, environment) as node:
        node.expect("READY py@127.0.0.1", 20)
        with Session(erl, directory, environment) as beam:
            beam.type(typed)
            name = erl.split()[2]
            assert until(lambda: name in screen.titles()), screen.titles()

            def picked() -> bool:
                screen.click(700, 12)
                screen.press("F10", "Right", "Right", "Down", "Down", "Return")
                return until(lambda: "Observer - py@127.0.0.1" in screen.titles(), 1)

            assert until(picked, 8), screen.titles()
            beam.type("observer:stop().")


def test_the_page(environment: dict[str, str], screen: Screen, tmp_path: Path) -> None:
    start, erl = [block.text.strip() for block in PAGE.blocks if block.language == "sh" and not block.title]
    (typed,) = [block.text for block in PAGE.blocks if block.language == "erlang" and not block.title]
    follow(start, erl, typed, environment, screen, tmp_path)


def test_the_readme(environment: dict[str, str], screen: Screen, tmp_path: Path) -> None:
    (erl,) = [block.text.strip() for block in README.blocks_in("sh", SECTION)]
    (typed,) = [block.text for block in README.blocks_in("erlang", SECTION)]
    (counter,) = [block.text for block in README.blocks_in("python", "Quickstart")]
    (tmp_path / "counter.py").write_text(counter)
    follow("python counter.py", erl, typed, environment | {"PYTHONPATH": str(ROOT)}, screen, tmp_path)


def test_packages_that_the_page_names_are_those_that_setup_installs() -> None:
    (install,) = [block.text for block in PAGE.blocks if block.title == "install"]
    setup = (ROOT / "scripts" / "setup.sh").read_text()
    assert [word for word in install.split() if word.startswith("erlang-") and word not in setup] == []
