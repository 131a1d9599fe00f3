"""The hardware engines as processes: their clients' functions, and what a Ledger on a disk keeps of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engines.dynamic_configuration import server as dynamic_configuration
from engines.dynamic_configuration.behaviour import DynamicConfigurationSettings
from engines.dynamic_configuration.messages import DynamicConfigChanged
from engines.engine import Refused
from engines.keeping.behaviour import KeepingSettings
from engines.ledger.behaviour import Backend, LedgerSettings
from engines.ledger.server import Ledger
from engines.local_key_value_storage import server as storage
from engines.local_key_value_storage.messages import MESSAGES, ValueChanged
from engines.local_time_series_storage import server as time_series
from engines.local_time_series_storage.messages import DataChanged
from engines.logging import server as logbook
from engines.logging.behaviour import LoggingSettings
from engines.logging.messages import Level
from engines.messages import decode_envelope
from engines.static_configuration import server as static_configuration
from engines.static_configuration.behaviour import StaticConfigurationSettings
from engines.template import server as template
from engines.template.messages import ExampleReplyOk
from engines.template_minimum import server as template_minimum
from engines.template_minimum.messages import ReplyPayload
from engines.wall_clock import server as wall_clock
from erlang_bridge import Atom, Node, OwnProcess, Pid
from tests.waiting import until

NAME = "hardware@127.0.0.1"
KEPT = KeepingSettings("ledger")


@contextmanager
def started(path: Path | None = None, **ledger: Any) -> Iterator[Node]:
    """A node with all of them, and where there is a path with a Ledger."""
    with Node(NAME, cookie="secret", listen=False) as node:
        settings = None
        if path is not None:
            node.start(Ledger, LedgerSettings(Backend.SQLITE, str(path), **ledger), name="ledger")
            settings = KEPT
        kept = None if settings is None else "ledger"
        node.start(storage.LocalKeyValueStorage, settings, name="local_key_value_storage")
        node.start(time_series.LocalTimeSeriesStorage, settings, name="local_time_series_storage")
        values = DynamicConfigurationSettings(kept, None, {"given": 1})
        node.start(dynamic_configuration.DynamicConfiguration, values, name="dynamic_configuration")
        node.start(logbook.Logging, LoggingSettings(kept), name="logging")
        fixed = StaticConfigurationSettings({"fixed": b"value"})
        node.start(static_configuration.StaticConfiguration, fixed, name="static_configuration")
        node.start(wall_clock.WallClock, name="wall_clock")
        node.start(template.Template, name="template")
        node.start(template_minimum.TemplateMinimum, name="template_minimum")
        yield node
        ledger = node.whereis("ledger")
        if ledger is not None:
            node.exit(ledger, Atom("shutdown"))
            assert until(lambda: node.whereis("ledger") is None)


@pytest.fixture
def node() -> Iterator[Node]:
    with started() as node:
        yield node


def run(node: Node, body: Any) -> Any:
    """What a function gives in a process of its own."""
    results: list[Any] = []
    pid = node.spawn(lambda own: results.append(body(own)))
    assert until(lambda: not node.is_alive(pid))
    return results[0]


def news(own: OwnProcess, known: Any) -> Any:
    return decode_envelope(own.receive(timeout_s=2), known).message


def test_key_value_storage(node: Node):
    assert storage.get(node, "k") is None
    storage.put(node, "k", "")
    assert storage.get(node, "k") == ""
    assert storage.delete(node, "k")
    assert not storage.delete(node, "k")


def test_those_who_have_subscribed_are_told_and_forgotten_when_they_end(node: Node):
    def body(own: OwnProcess) -> Any:
        storage.subscribe(own, "k", prefix=True)
        storage.put(own, "k1", "v")
        first = news(own, MESSAGES)
        assert not storage.unsubscribe(own, "k")
        assert storage.unsubscribe(own, "k", prefix=True)
        storage.put(own, "k2", "v")
        storage.subscribe(own, "k3")
        storage.delete(own, "k1")
        storage.put(own, "k3", "")
        return first, news(own, MESSAGES)

    first, second = run(node, body)
    assert (first, second) == (
        ValueChanged("k1", "v", first.timestamp),
        ValueChanged("k3", "", second.timestamp),
    )
    assert second.timestamp > first.timestamp
    pid = node.whereis("local_key_value_storage")
    assert pid is not None
    assert until(lambda: not _state(node, pid).subscriptions.of_subscriber)


def _state(node: Node, pid: Pid) -> Any:
    process = node.table.find(pid)
    return process.instance.environment.state  # type: ignore[union-attr]


def test_time_series_storage(node: Node):
    def body(own: OwnProcess) -> Any:
        time_series.subscribe(own, "load")
        for at in range(5):
            time_series.record(own, "load", at, at / 2)
        return news(own, _known(time_series)), time_series.unsubscribe(own, "load")

    first, there = run(node, body)
    assert first == DataChanged("load", 0, 0, ((0, 0.0),), first.timestamp)
    assert there
    assert time_series.get(node, "load", 1, 3) == [(1, 0.5), (2, 1.0), (3, 1.5)]
    assert time_series.delete(node, "load", 2, 9) == 3
    assert time_series.delete(node, "load", 2, 9) == 0
    assert time_series.get(node, "load", -9, 9) == [(0, 0.0), (1, 0.5)]


def _known(server: Any) -> Any:
    return server.BEHAVIOUR.messages


def test_long_series_come_in_pieces(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engines.local_time_series_storage.behaviour.MAX_POINTS", 4)
    for at in range(10):
        time_series.record(node, "s", at, None)
    assert time_series.get(node, "s", 0, 100) == [(at, None) for at in range(10)]


def test_configurations(node: Node):
    assert static_configuration.get(node, "fixed") == b"value"
    assert static_configuration.get(node, "missing", 7) == 7
    assert dynamic_configuration.get(node, "given") == 1

    def body(own: OwnProcess) -> Any:
        dynamic_configuration.subscribe(own, "level")
        dynamic_configuration.put(own, "level", Atom("debug"))
        changed = news(own, _known(dynamic_configuration))
        return changed, dynamic_configuration.unsubscribe(own, "level")

    changed, there = run(node, body)
    assert changed == DynamicConfigChanged("level", True, Atom("debug"), changed.timestamp)
    assert there
    assert dynamic_configuration.delete(node, "level")
    assert not dynamic_configuration.delete(node, "level")
    assert dynamic_configuration.get(node, "level", b"default") == b"default"


def test_logging(node: Node, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG, logger="anoma"):
        logbook.append(node, "quiet", Level.DEBUG)
        logbook.append(node, "hello")
        logbook.append(node, "trouble", Level.ALERT)
        entries = logbook.read(node)
        assert [entry.value for entry in entries] == ["trouble", "hello", "quiet"]
        assert until(lambda: len(caplog.records) == 2)
    assert [(record.name, record.levelno, record.message) for record in caplog.records] == [
        ("anoma", logging.INFO, "somebody: hello"),
        ("anoma", logging.CRITICAL, "somebody: trouble"),
    ]
    assert [entry.value for entry in logbook.read(node, 1, Level.WARNING)] == ["trouble"]
    assert [entry.value for entry in logbook.read(node, before=2)] == ["quiet"]


def test_wall_clock(node: Node):
    told = [wall_clock.get_time(node) for _ in range(20)]
    assert told == sorted(told)
    assert told[0] > 1_700_000_000_000


def test_templates(node: Node):
    assert template.example(node, 1, 2) == ExampleReplyOk(1)
    assert template_minimum.example(node, 1, 2) == ReplyPayload("1")
    template.just_hi(node)
    pid = node.whereis("template")
    assert pid is not None
    assert until(lambda: _state(node, pid).task_queue.word == "Hello World!")
    with pytest.raises(Refused, match="two natural numbers"):
        node_answer = node.call(pid, (Atom("example_request"), {Atom("arg_one"): -1, Atom("arg_two"): 1}))
        raise Refused(node_answer[1])


# -- with a ledger ----------------------------------------------------------------------------


def test_what_they_have_lasts(tmp_path: Path):
    path = tmp_path / "ledger.db"
    with started(path) as node:
        storage.put(node, "k", "v")
        storage.put(node, "empty", "")
        storage.put(node, "gone", "x")
        storage.delete(node, "gone")
        for at in range(3):
            time_series.record(node, "s", at, {Atom("at"): at})
        time_series.delete(node, "s", 1, 1)
        dynamic_configuration.put(node, "set", (1, b"two"))
        dynamic_configuration.delete(node, "given")
        for number in range(20):
            logbook.append(node, str(number))
        pid = node.whereis("logging")
        assert pid is not None
        assert until(lambda: _state(node, pid).lasting == 20)
    with started(path) as node:
        assert storage.get(node, "k") == "v"
        assert storage.get(node, "empty") == ""
        assert storage.get(node, "gone") is None
        assert time_series.get(node, "s", 0, 9) == [(0, {Atom("at"): 0}), (2, {Atom("at"): 2})]
        assert dynamic_configuration.get(node, "set") == (1, b"two")
        assert dynamic_configuration.get(node, "given") is None
        logbook.append(node, "after")
        assert [entry.value for entry in logbook.read(node, 3)] == ["after", "19", "18"]


def test_a_ledger_that_ends_and_comes_back(tmp_path: Path):
    path = tmp_path / "ledger.db"
    with started(path) as node:
        storage.put(node, "k", "v")
        ledger = node.whereis("ledger")
        assert ledger is not None
        node.exit(ledger, Atom("shutdown"))
        assert until(lambda: node.whereis("ledger") is None)
        with pytest.raises(storage.StorageError, match="ledger is not there"):
            storage.put(node, "k", "w")
        with pytest.raises(time_series.SeriesError, match="ledger is not there"):
            time_series.record(node, "s", 1, 1)
        with pytest.raises(dynamic_configuration.ConfigurationError, match="ledger is not there"):
            dynamic_configuration.put(node, "k", 1)
        logbook.append(node, "meanwhile")
        assert storage.get(node, "k") == "v"
        node.start(Ledger, LedgerSettings(Backend.SQLITE, str(path)), name="ledger")
        storage.put(node, "k", "w")
        assert storage.get(node, "k") == "w"
        pid = node.whereis("logging")
        assert pid is not None
        assert until(lambda: _state(node, pid).trouble is None)
        assert "meanwhile" in [entry.value for entry in logbook.read(node)]


def test_an_engine_that_comes_before_its_ledger(tmp_path: Path):
    with Node(NAME, cookie="secret", listen=False) as node:
        node.start(storage.LocalKeyValueStorage, KEPT, name="local_key_value_storage")
        assert until(lambda: _refuses(node))
        node.start(Ledger, LedgerSettings(Backend.SQLITE, str(tmp_path / "ledger.db")), name="ledger")
        assert until(lambda: not _refuses(node))
        storage.put(node, "k", "v")


def _refuses(node: Node) -> bool:
    try:
        storage.get(node, "k")
    except storage.StorageError as error:
        assert "ledger cannot be read" in str(error)
        return True
    return False


def test_a_full_disk_refuses_changes_and_goes_on_answering(tmp_path: Path):
    with started(tmp_path / "ledger.db", most_bytes=200_000) as node:
        storage.put(node, "k", "v")
        with pytest.raises(storage.StorageError) as caught:
            for number in range(100):
                storage.put(node, str(number), "x" * 10_000)
        assert "has not stored it" in str(caught.value)
        assert storage.get(node, "k") == "v"
        assert storage.get(node, str(number)) is None
