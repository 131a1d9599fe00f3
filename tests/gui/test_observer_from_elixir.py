"""Observer, started from Elixir: the same windows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from erlang_bridge.testing.elixir import Elixir
from tests.gui.observer import PROBE, Observer
from tests.gui.screen import Screen
from tests.gui.test_observer import names, process_list, show_application
from tests.python_nodes import PythonNode


def test_from_elixir(
    screen: Screen,
    elixir_factory: Callable[..., Elixir],
    compile_erlang: Callable[[str], bytes],
    python: PythonNode,
    pictures: Path,
) -> None:
    elixir = elixir_factory(environment=screen.environment)
    observer = Observer(elixir, screen, compile_erlang(PROBE.read_text()), pictures)
    observer.start(":observer.start()")
    observer.show_node(python.name)
    process_list(observer)
    show_application(observer, "pyanoma")
    observer.until(lambda: "ticker" in names(observer))
    observer.check()
    elixir.eval(":observer.stop()")
