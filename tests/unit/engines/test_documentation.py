"""The pages of the engines say what the engines say."""

from __future__ import annotations

import importlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import engines
from engines.documentation import attributes_of, pages
from engines.engine import Engine

FOLDER = Path(__file__).parents[3] / "docs/engines"


def test_the_pages_are_those_of_the_code():
    made = pages()
    kept = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    assert made.keys() == kept.keys(), "run: python -m engines.documentation docs/engines"
    different = [name for name, text in made.items() if kept[name] != text]
    assert not different, "run: python -m engines.documentation docs/engines"


@pytest.mark.parametrize("engine", engines.built_in().values(), ids=lambda engine: engine.engine.name)
def test_every_message_and_field_is_described(engine: type[Engine]):
    for message in engine.engine.messages:
        if message.engine != engine.engine.name:
            continue
        assert message.__doc__, message
        assert not message.__doc__.startswith(f"{message.__name__}("), f"{message} has no docstring of its own"
        described: dict[str, Any] = attributes_of(message)
        missing = [field.name for field in fields(message) if field.name not in described]  # type: ignore[arg-type]
        assert not missing or len(fields(message)) == 1, f"{message.__name__} does not say what {missing} are"  # type: ignore[arg-type]


def test_a_package_without_an_engine_is_an_error(monkeypatch: pytest.MonkeyPatch):
    server = importlib.import_module("engines.ticker.server")
    monkeypatch.setattr(server, "Another", type("Another", (Engine,), {"__module__": server.__name__}), raising=False)
    with pytest.raises(
        TypeError, match="expected one subclass of Engine in engines.ticker.server, got Ticker, Another"
    ):
        engines.engine_of("engines.ticker")
