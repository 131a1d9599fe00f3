"""``pyanoma intent`` against a node with a pool."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from anoma.resource_machine.intent import DumbIntent
from engines import engine_of
from engines.intent_pool import server as pool
from erlang_bridge import Node
from erlang_bridge.testing.plugin import NodeFactory
from pyanoma.commands.intent import intent

Run = Callable[..., Result]
SWAP = '{"gives": [{"label": "apples", "quantity": 3, "nonce": 1}], "wants": [{"label": "pears", "nonce": 2}]}'


@pytest.fixture
def node(node_factory: NodeFactory) -> Node:
    node = node_factory()
    node.start(engine_of("engines.intent_pool"), name="intent_pool")
    return node


@pytest.fixture
def run(node: Node, monkeypatch: pytest.MonkeyPatch, epmd_port: int, beam_cookie: str) -> Run:
    monkeypatch.setenv("ERL_EPMD_PORT", str(epmd_port))

    def run(command: str, *arguments: str) -> Result:
        return CliRunner().invoke(intent, [command, node.name.name, "--cookie", beam_cookie, *arguments])

    return run


def test_add_list_and_remove(run: Run, node: Node, tmp_path: Path):
    done = run("add", SWAP, '{"value": -1}')
    assert (done.exit_code, done.stdout) == (0, "1 accepted\n2 accepted\n")
    file = tmp_path / "intents.json"
    file.write_text(json.dumps([{"value": -1}, {"choices": [{"lots": [{"value": 5}], "maximum": 3}]}]))
    told = run("add", "--file", str(file), "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout) == [
        {"serial": None, "refused": "already_present"},
        {"serial": 3, "refused": None},
    ]
    shown = run("list").stdout
    for text in ("gives 3 apples, wants 1 pears", "-1", "1 to 3 times: +5"):
        assert text in shown
    assert [one["type"] for one in json.loads(run("list", "--json").stdout)] == ["transaction", "dumb", "order"]
    assert run("remove", "1").stdout == "1 removed\n"
    again = run("remove", "1")
    assert (again.exit_code, again.stdout) == (1, "there is no intent 1\n")
    assert [serial for serial, _ in pool.all_intents(node)] == [2, 3]


def test_a_term(run: Run, node: Node):
    done = run("add", "#{'__struct__' => 'Elixir.Anoma.RM.DumbIntent', value => -7}")
    assert done.stdout == "1 accepted\n"
    assert pool.all_intents(node) == ((1, DumbIntent(-7)),)


def test_nothing_to_add(run: Run):
    done = run("add")
    assert done.exit_code == 2
    assert "expected intents, or --file" in done.stderr
