"""The watcher of files: what is loaded when, and what is tried again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

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
