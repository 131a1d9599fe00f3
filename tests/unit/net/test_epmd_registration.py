"""A node's registration: made, kept, made again; with an epmd of our own where there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from time import monotonic

import gevent
import pytest
from gevent import socket

from erlang_bridge.epmd.messages import Alive2Reply, NodeEntry, encode_alive2_reply
from erlang_bridge.errors import EpmdError, EpmdUnreachable, NameTaken
from erlang_bridge.net.epmd_client import EpmdClient
from erlang_bridge.net.epmd_registration import EpmdRegistration
from erlang_bridge.net.epmd_server import EmbeddedEpmd

Register = Callable[..., EpmdRegistration]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def registration(port: int) -> Iterator[Register]:
    """Makes registrations at `port` that are stopped at the end."""
    made: list[EpmdRegistration] = []

    def make(name: str = "py", **options: object) -> EpmdRegistration:
        chosen: dict[str, object] = {"epmd_port": port, "retry_s": 0.05, "timeout_s": 1.0, **options}
        made.append(EpmdRegistration(name, 40000, **chosen))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def other_epmd(port: int) -> Iterator[EmbeddedEpmd]:
    """An epmd that is not the node's own."""
    epmd = EmbeddedEpmd(port)
    epmd.start()
    yield epmd
    epmd.stop()


def wait_until(condition: Callable[[], object]) -> None:
    deadline = monotonic() + 5
    while not condition():
        assert monotonic() < deadline
        gevent.sleep(0.005)


def test_an_epmd_that_is_there_is_used(registration: Register, other_epmd: EmbeddedEpmd) -> None:
    node = registration(hidden=True)
    creation = node.start()
    assert node.start() == creation == node.creation > 3
    assert node.embedded_epmd is None
    assert node.registered
    found = EpmdClient(port=other_epmd.port).lookup("py")
    assert found == NodeEntry("py", 40000, node_type=72)
    node.stop()
    node.stop()
    wait_until(lambda: not other_epmd.names())
    assert not node.registered
    assert node.start() > creation


def test_without_one_the_node_runs_its_own(registration: Register, port: int) -> None:
    node = registration()
    node.start()
    assert node.embedded_epmd is not None
    assert EpmdClient(port=port).names() == {"py": 40000}
    node.stop()
    with pytest.raises(EpmdUnreachable):
        EpmdClient(port=port).names()


def test_without_one_and_without_leave_to_run_one_is_an_error(registration: Register, port: int) -> None:
    for node in (registration(embedded=False), registration(epmd_host="127.0.0.1", embedded=False)):
        with pytest.raises(EpmdUnreachable, match=f"127.0.0.1:{port}"):
            node.start()
        assert not node.registered


def test_no_epmd_is_run_for_another_machine() -> None:
    assert EpmdRegistration("py", 1, epmd_host="localhost").embedded
    assert EpmdRegistration("py", 1, epmd_host="::1").embedded
    assert not EpmdRegistration("py", 1, epmd_host="10.0.0.1").embedded
    assert not EpmdRegistration("py", 1, epmd_host="db.example.org").embedded


def test_a_taken_name_is_an_error(registration: Register, port: int) -> None:
    registration("py").start()
    second = registration("py")
    with pytest.raises(NameTaken):
        second.start()
    assert (second.registered, second.embedded_epmd) == (False, None)


def test_two_nodes_in_one_process_and_the_second_outlives_the_epmd_of_the_first(
    registration: Register, port: int
) -> None:
    first, second = registration("first"), registration("second")
    first.start()
    creation = second.start()
    assert second.embedded_epmd is None
    assert set(EpmdClient(port=port).names()) == {"first", "second"}
    first.stop()
    wait_until(lambda: second.embedded_epmd is not None and second.registered)
    assert EpmdClient(port=port).names() == {"second": 40000}
    assert second.creation == creation


def test_a_restarted_epmd_gets_the_node_back_with_its_first_creation(
    registration: Register, other_epmd: EmbeddedEpmd
) -> None:
    node = registration(embedded=False)
    creation = node.start()
    other_epmd.stop()
    wait_until(lambda: not node.registered)
    assert not node.wait_registered(0.12)
    successor = EmbeddedEpmd(other_epmd.port)
    successor.start()
    try:
        assert node.wait_registered(5)
        assert successor.names() == {"py": 40000}
        assert node.creation == creation
        assert node.embedded_epmd is None
    finally:
        successor.stop()


def test_another_epmd_that_takes_the_port_first_is_used(
    registration: Register, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival = EmbeddedEpmd(port)
    start = EmbeddedEpmd.start

    def start_too_late(epmd: EmbeddedEpmd) -> None:
        if not rival.running:
            start(rival)
        start(epmd)

    monkeypatch.setattr(EmbeddedEpmd, "start", start_too_late)
    node = registration()
    try:
        node.start()
        assert node.embedded_epmd is None
        assert rival.names() == {"py": 40000}
    finally:
        node.stop()
        rival.stop()


def test_a_port_that_is_taken_and_silent_is_an_error_in_time(registration: Register, port: int) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", port))
        begin = monotonic()
        with pytest.raises(EpmdUnreachable):
            registration(timeout_s=0.2).start()
        squatter.listen()
        with pytest.raises(EpmdUnreachable, match=r"within 0\.2 s"):
            registration(timeout_s=0.2).start()
        assert monotonic() - begin < 5


def test_a_port_that_must_not_be_had_is_an_error_in_words(
    registration: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(epmd: EmbeddedEpmd) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(EmbeddedEpmd, "start", forbidden)
    with pytest.raises(EpmdUnreachable, match="Permission denied"):
        registration().start()


def test_what_is_no_epmd_is_an_error_and_not_replaced(registration: Register, port: int) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        server = gevent.spawn(serve)
        with pytest.raises(EpmdError, match="expected a reply to ALIVE2"):
            registration().start()
        server.get(timeout=5)


def test_a_name_taken_in_the_meantime_is_waited_for(
    registration: Register, other_epmd: EmbeddedEpmd, caplog: pytest.LogCaptureFixture
) -> None:
    node = registration(embedded=False)
    node.start()
    other_epmd.stop()
    wait_until(lambda: not node.registered)
    successor = EmbeddedEpmd(other_epmd.port)
    successor.start()
    try:
        thief = EpmdClient(port=successor.port).register(NodeEntry("py", 50000))
        wait_until(lambda: "already registered" in caplog.text)
        gevent.sleep(0.2)
        assert caplog.text.count("already registered") == 1
        assert not node.registered
        thief.close()
        assert node.wait_registered(5)
        assert successor.names() == {"py": 40000}
    finally:
        successor.stop()


def test_a_fault_of_ours_is_logged_and_tried_again(
    registration: Register, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = registration()
    node.start()
    register = EpmdClient.register
    faults = [RuntimeError("boom"), RuntimeError("boom")]

    def faulty(client: EpmdClient, entry: NodeEntry) -> object:
        if faults:
            raise faults.pop()
        return register(client, entry)

    monkeypatch.setattr(EpmdClient, "register", faulty)
    assert node.embedded_epmd is not None
    node.embedded_epmd.stop()
    wait_until(lambda: not node.registered)
    assert node.wait_registered(5)
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in records] == [
        "node 'py' is not registered with epmd: it closed the connection; registering again",
        "node 'py' is not registered with epmd: boom",
    ]
    assert records[1].exc_info
    assert EpmdClient(port=port).names() == {"py": 40000}


def test_a_small_creation_of_an_old_epmd_is_taken_as_it_is(registration: Register, port: int) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(encode_alive2_reply(Alive2Reply(0, 2, wide=False)))
                connection.recv(1)

        server = gevent.spawn(serve)
        node = registration()
        assert node.start() == 2
        node.stop()
        server.get(timeout=5)
