"""The watcher of files: what is loaded when, and what is tried again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from erlang_bridge import Node
from pyanoma import reloader
from tests.code_projects import Project
from tests.waiting import until


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(reloader, "LOOK_EVERY_S", 0.02)
    # Only the modules of the test: the folder of this project may be edited meanwhile.
    own = reloader.code_modules.is_project
    monkeypatch.setattr(reloader.code_modules, "is_project", lambda m: m.__name__.startswith("project_") and own(m))
    with Node("watch@127.0.0.1", cookie="c", listen=False) as node:
        yield node


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    yield project
    project.close()


def test_what_one_change_lacks_the_next_may_bring(
    node: Node, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pyanoma")
    project.module("lib", "one = 1\n")
    project.module("user", "from {package}.lib import one\nvalue = one\n")
    node.start(reloader.Reloader)
    project.write("user", "from {package}.lib import two\nvalue = two\n")
    assert until(lambda: "cannot import name 'two'" in caplog.text)
    project.write("lib", "two = 2\n")
    assert until(lambda: project.get("user", "value") == 2)
    assert caplog.text.count("cannot import name") == 1


def test_a_broken_file_does_not_hold_up_others(node: Node, project: Project, caplog: pytest.LogCaptureFixture) -> None:
    project.module("broken", "value = 1\n")
    project.module("fine", "value = 1\n")
    node.start(reloader.Reloader)
    project.write("broken", "value = = 2\n")
    assert until(lambda: "broken.py:1: SyntaxError" in caplog.text)
    project.write("fine", "value = 2\n")
    assert until(lambda: project.get("fine", "value") == 2)
    assert project.get("broken", "value") == 1
    project.write("broken", "value = 3\n")
    assert until(lambda: project.get("broken", "value") == 3)


def test_what_was_imported_later_is_watched(node: Node, project: Project) -> None:
    watcher = node.start(reloader.Reloader)
    project.module("later", "value = 1\n")
    state = node.table.find(watcher).instance._state  # type: ignore[union-attr]
    assert until(lambda: project.name("later") in state.loaded)
    project.write("later", "value = 2\n")
    assert until(lambda: project.get("later", "value") == 2)


def test_old_code_is_waited_for(node: Node, project: Project, caplog: pytest.LogCaptureFixture) -> None:
    loop = project.module("loops", "value = 1\ndef loop(own):\n    own.receive()\n").loop
    node.start(reloader.Reloader)
    pid = node.spawn(loop)
    for value in (2, 3):
        if value == 3:
            assert until(lambda: project.get("loops", "value") == 2)
        project.edit("loops", f"value = {value - 1}", f"value = {value}")
    assert until(lambda: "not_purged" in caplog.text)
    node.send(pid, "end")
    assert until(lambda: project.get("loops", "value") == 3)
    assert caplog.text.count("not_purged") == 1


@pytest.mark.parametrize("source", ["raise SystemExit(1)\n", "x = " + "-" * 200_000 + "1\n"])
def test_the_watcher_outlives_what_a_file_does(
    node: Node, project: Project, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    project.module("odd", "value = 1\n")
    watcher = node.start(reloader.Reloader)
    project.write("odd", source)
    assert until(lambda: "odd.py:1: " in caplog.text)
    project.write("odd", "value = 2\n")
    assert until(lambda: project.get("odd", "value") == 2)
    assert node.table.find(watcher) is not None


def test_files_as_editors_write_them(node: Node, project: Project) -> None:
    project.module("edited", "value = 0\n")
    node.start(reloader.Reloader)
    path = Path(project.path("edited"))
    for value in range(1, 13):
        text = f"value = {value}\nlast = value\n"
        match value % 3:
            case 0:  # renamed over it
                beside = path.with_suffix(".swp")
                beside.write_text(text)
                beside.replace(path)
            case 1:  # half of it first
                path.write_text(text[:14])
                gevent.sleep(0.01)
                path.write_text(text)
            case 2:  # away first
                path.unlink()
                gevent.sleep(0.01)
                path.write_text(text)
        gevent.sleep(0.03)
    assert until(lambda: project.get("edited", "last") == 12)
