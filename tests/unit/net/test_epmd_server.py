"""The embedded epmd: it serves who is polite, and survives who is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic

import gevent
import pytest
from gevent import socket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from erlang_bridge.epmd.messages import (
    Alive2Request,
    DumpRequest,
    KillRequest,
    NodeEntry,
    StopRequest,
    decode_dump_reply,
    encode_request,
)
from erlang_bridge.errors import ConfigError, NameTaken, NodeNotRegistered
from erlang_bridge.net.epmd_client import EpmdClient
from erlang_bridge.net.epmd_server import EmbeddedEpmd, epmd_addresses


@pytest.fixture
def epmd() -> Iterator[EmbeddedEpmd]:
    server = EmbeddedEpmd(0)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(epmd: EmbeddedEpmd) -> EpmdClient:
    return EpmdClient(port=epmd.port, timeout_s=5)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = monotonic() + 5
    while not condition():
        assert monotonic() < deadline
        gevent.sleep(0.001)


def connect(epmd: EmbeddedEpmd) -> socket.socket:
    return socket.create_connection(("127.0.0.1", epmd.port), timeout=5)


def read_all(connection: socket.socket) -> bytes:
    data = b""
    try:
        while chunk := connection.recv(4096):
            data += chunk
    except ConnectionResetError:
        pass  # closed with bytes of ours unread
    return data


def test_a_node_is_registered_found_and_gone(epmd: EmbeddedEpmd, client: EpmdClient) -> None:
    registration = client.register(NodeEntry("py", 40000))
    assert client.port_of("py@localhost") == ("127.0.0.1", 40000)
    assert client.names() == epmd.names() == {"py": 40000}
    with pytest.raises(NameTaken):
        client.register(NodeEntry("py", 40001))
    registration.close()
    wait_until(lambda: not epmd.names())
    with pytest.raises(NodeNotRegistered):
        client.port_of("py")
    again = client.register(NodeEntry("py", 40001))
    assert again.creation > registration.creation
    again.close()


def test_any_byte_after_registering_ends_the_registration(epmd: EmbeddedEpmd) -> None:
    with connect(epmd) as connection:
        connection.sendall(encode_request(Alive2Request(NodeEntry("py", 1))))
        assert connection.recv(6)[:2] == b"v\0"
        connection.sendall(b"?")
        assert connection.recv(1) == b""
    assert epmd.names() == {}


def test_it_is_there_over_ipv6_too(epmd: EmbeddedEpmd) -> None:
    registration = EpmdClient("::1", epmd.port).register(NodeEntry("six", 1))
    assert EpmdClient("127.0.0.1", epmd.port).names() == {"six": 1}
    registration.close()


def test_it_tells_what_it_knows_and_cannot_be_killed(epmd: EmbeddedEpmd, client: EpmdClient) -> None:
    registration = client.register(NodeEntry("py", 40000))
    dump = decode_dump_reply(client.ask(DumpRequest()))
    assert (dump.epmd_port, dump.active[0].name) == (epmd.port, "py")
    assert client.ask(KillRequest()) == b"NO"
    assert client.ask(StopRequest("py")) == b""
    assert client.names() == {"py": 40000}
    registration.close()


def test_a_request_may_come_byte_by_byte(epmd: EmbeddedEpmd) -> None:
    with connect(epmd) as connection:
        for byte in encode_request(Alive2Request(NodeEntry("slow", 1))):
            connection.sendall(bytes((byte,)))
            gevent.sleep(0)
        assert connection.recv(6)[:2] == b"v\0"
        assert epmd.names() == {"slow": 1}


@pytest.mark.parametrize(
    "data", [b"\0\0", b"\xff\xff" + b"x" * 70000, b"\x0b\xf2", b"\0\1nn", b"\0\1?", b"\0\2z\xff", b"GET / HTTP/1.1\r\n"]
)
def test_nonsense_is_closed_without_an_answer(epmd: EmbeddedEpmd, data: bytes) -> None:
    with connect(epmd) as connection:
        try:
            connection.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            pass  # it did not wait for the rest
        assert read_all(connection) == b""
    wait_until(lambda: epmd.statistics().refused == 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(lambda body: len(body).to_bytes(2, "big") + body, st.binary(max_size=200)),
        st.builds(
            lambda tag, rest: (len(rest) + 1).to_bytes(2, "big") + bytes((tag,)) + rest,
            st.sampled_from(b"xzndks"),
            st.binary(max_size=60),
        ),
    )
)
def test_any_bytes_get_an_answer_or_the_end(epmd: EmbeddedEpmd, client: EpmdClient, data: bytes) -> None:
    with connect(epmd) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)
    wait_until(lambda: epmd.statistics().pending == 0)
    assert client.names() == {}


def test_a_slow_request_is_closed() -> None:
    server = EmbeddedEpmd(0, request_timeout_s=0.1)
    server.start()
    try:
        with connect(server) as silent, connect(server) as dripping:
            begin = monotonic()
            while monotonic() - begin < 0.3:
                try:
                    dripping.sendall(b"\0")
                except OSError:
                    break
                gevent.sleep(0.02)
            assert read_all(silent) == b""
            assert read_all(dripping) == b""
        assert server.statistics().pending == 0
    finally:
        server.stop()


def test_a_registered_node_is_not_slow() -> None:
    server = EmbeddedEpmd(0, request_timeout_s=0.05)
    server.start()
    try:
        registration = EpmdClient(port=server.port).register(NodeEntry("py", 1))
        gevent.sleep(0.15)
        assert server.names() == {"py": 1}
        registration.close()
    finally:
        server.stop()


def test_idle_connections_do_not_keep_others_out() -> None:
    server = EmbeddedEpmd(0, max_pending=4)
    server.start()
    idle: list[socket.socket] = []
    try:
        registration = EpmdClient(port=server.port, timeout_s=5).register(NodeEntry("py", 1))
        idle += [connect(server) for _ in range(12)]
        assert EpmdClient(port=server.port, timeout_s=5).names() == {"py": 1}
        assert server.statistics().pending <= 4
        assert read_all(idle[0]) == b""
        registration.close()
    finally:
        for connection in idle:
            connection.close()
        server.stop()


def test_a_taken_port_is_an_os_error(epmd: EmbeddedEpmd) -> None:
    second = EmbeddedEpmd(epmd.port)
    with pytest.raises(OSError, match="in use"):
        second.start()
    assert not second.running
    assert EpmdClient(port=epmd.port).names() == {}


def test_stopping_ends_registrations_and_frees_the_port(epmd: EmbeddedEpmd, client: EpmdClient) -> None:
    registration = client.register(NodeEntry("py", 1))
    with connect(epmd) as idle:
        wait_until(lambda: epmd.statistics().pending == 1)
        epmd.stop()
        epmd.stop()
        assert read_all(idle) == b""
    assert registration.wait_lost() == "it closed the connection"
    registration.close()
    assert (epmd.running, epmd.names()) == (False, {})
    successor = EmbeddedEpmd(epmd.port)
    successor.start()
    assert client.names() == {}
    successor.stop()


def test_statistics(epmd: EmbeddedEpmd, client: EpmdClient) -> None:
    registration = client.register(NodeEntry("py", 1))
    client.names()
    with connect(epmd):
        wait_until(lambda: epmd.statistics().pending == 1)
    wait_until(lambda: epmd.statistics().pending == 0)
    statistics = epmd.statistics()
    assert (statistics.registered, statistics.requests, statistics.refused) == (1, 2, 1)
    registration.close()


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    def bound(server: EmbeddedEpmd) -> set[str]:
        server.start()
        addresses = {listener.getsockname()[0] for listener in server._listeners}
        server.stop()
        return addresses

    assert bound(EmbeddedEpmd(0)) == {"127.0.0.1", "::1"}
    assert bound(EmbeddedEpmd(0, addresses=["127.0.0.2", "::1"])) == {"127.0.0.1", "127.0.0.2", "::1"}


def test_a_wildcard_stands_for_its_loopback() -> None:
    assert EmbeddedEpmd(0, addresses=["0.0.0.0"])._effective_addresses() == ("::1", "0.0.0.0")
    assert EmbeddedEpmd(0, addresses=["0.0.0.0", "::"])._effective_addresses() == ("0.0.0.0", "::")


def test_the_addresses_are_those_of_the_environment() -> None:
    assert epmd_addresses({}) == ()
    assert epmd_addresses({"ERL_EPMD_ADDRESS": "127.0.0.2, ::1,10.0.0.1"}) == ("127.0.0.2", "::1", "10.0.0.1")
    with pytest.raises(ConfigError, match="ERL_EPMD_ADDRESS"):
        epmd_addresses({"ERL_EPMD_ADDRESS": "myhost"})
