"""Observer on a screen in memory, for the tests in this folder. They run with each Erlang/OTP here that has observer.

Where none has, or a program is missing that a screen needs, they are left out, and ``scripts/test.sh`` says so; with
``--require-beam``, which is on where the environment has ``CI``, they fail.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.plugin import _toolbox_key
from erlang_bridge.testing.releases import BeamRelease
from tests.gui.observer import PROBE, Observer
from tests.gui.screen import Screen, missing_programs
from tests.python_nodes import ROOT, PythonNode

_PICTURES = "PYANOMA_PICTURES"
"""In the environment: the folder where pictures are kept. The nodes then have the names of the documentation."""


@cache
def _has_observer(erl: Path) -> bool:
    asked = [erl, "-noinput", "-boot", "start_clean", "-eval"]
    question = "[code:ensure_loaded(M) =:= {module, M} orelse halt(1) || M <- [observer_wx, wx]], halt(0)."
    return subprocess.run([*asked, question], timeout=60, check=False, capture_output=True).returncode == 0


def _lacking(config: pytest.Config) -> list[str]:
    releases = config.stash[_toolbox_key].releases()
    observer = [] if any(_has_observer(release.erl) for release in releases) else ["erlang-observer"]
    return missing_programs() + observer


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the releases without observer."""
    toolbox = config.stash[_toolbox_key]
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    if not here or (toolbox.required and _lacking(config)):
        return
    left_out = [item for item in here if _lacking(config) or not _item_has_observer(toolbox, item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _item_has_observer(toolbox: object, item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    otp = callspec.params.get("beam_release") if callspec else None
    return otp is None or any(r.otp == otp and _has_observer(r.erl) for r in toolbox.releases())  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def equipment(pytestconfig: pytest.Config) -> None:
    """Fail in words where something is missing."""
    lacking = _lacking(pytestconfig)
    if lacking:
        pytest.fail(
            f"the tests of observer need {', '.join(lacking)}; --require-beam (or CI) forbids to leave them out",
            pytrace=False,
        )


@pytest.fixture(scope="module")
def screen(equipment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """An empty screen."""
    screen = Screen(tmp_path_factory.mktemp("screen"))
    yield screen.start()
    screen.stop()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where pictures are kept, those of failures too."""
    return Path(os.environ.get(_PICTURES) or ROOT / "build" / "observer")


@pytest.fixture(scope="module")
def observer(
    beam_release: BeamRelease,
    epmd_port: int,
    beam_cookie: str,
    compile_erlang: Callable[[str], bytes],
    screen: Screen,
    python: PythonNode,
    pictures: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Observer]:
    """Observer, started in a BEAM of its own."""
    beam = Beam(
        beam_release,
        epmd_port=epmd_port,
        cookie=beam_cookie,
        directory=tmp_path_factory.mktemp("observer"),
        name="beam@127.0.0.1" if _PICTURES in os.environ else None,
        environment=screen.environment,
    )
    with beam:
        observer = Observer(beam, screen, compile_erlang(PROBE.read_text()), pictures)
        observer.start(f"observer:start('{python.name}')" if beam_release.otp >= 26 else "observer:start()")
        yield observer
        beam.check_not_crashed()


@pytest.fixture(scope="module")
def python(epmd_port: int, beam_cookie: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PythonNode]:
    """The node to look at: ``pyanoma start``."""
    name = "py@127.0.0.1" if _PICTURES in os.environ else None
    node = PythonNode(tmp_path_factory.mktemp("python"), cookie=beam_cookie, epmd_port=epmd_port, name=name)
    yield node.start()
    node.kill()
