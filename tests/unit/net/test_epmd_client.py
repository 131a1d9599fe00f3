"""The client against epmds that misbehave: every question ends, in a value or an error in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import gevent
import pytest
from gevent import socket

from erlang_bridge.epmd.messages import Alive2Reply, NodeEntry, Port2Reply, encode_alive2_reply, encode_port2_reply
from erlang_bridge.errors import ConfigError, EpmdError, EpmdUnreachable, NameTaken, NodeNotRegistered
from erlang_bridge.net.epmd_client import EpmdClient, epmd_port, resolve_node

ENTRY = NodeEntry("py", 40000)
QUESTIONS: list[Callable[[EpmdClient], object]] = [
    lambda client: client.port_of("py@localhost"),
    lambda client: client.names(),
    lambda client: client.register(ENTRY),
]


@pytest.fixture(autouse=True, scope="module")
def _resolver_threads() -> None:
    """gevent's resolver keeps its first thread: made before a test can be blamed for it."""
    socket.getaddrinfo("localhost", 1)


@contextmanager
def scripted_epmd(script: Callable[[socket.socket], None]) -> Iterator[int]:
    """Something at a port that does `script` with the first connection, then closes it."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            script(connection)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        greenlet = gevent.spawn(serve)
        try:
            yield listener.getsockname()[1]
        finally:
            greenlet.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_answers_are_understood_whatever_their_pieces() -> None:
    def in_pieces(reply: bytes) -> Callable[[socket.socket], None]:
        def script(connection: socket.socket) -> None:
            for at in range(len(reply)):
                connection.sendall(reply[at : at + 1])
                gevent.sleep(0)

        return script

    with scripted_epmd(in_pieces(encode_port2_reply(Port2Reply(ENTRY)))) as port:
        assert EpmdClient(port=port).port_of("py@somewhere") == ("127.0.0.1", 40000)
    with scripted_epmd(in_pieces(encode_alive2_reply(Alive2Reply(0, 77)))) as port:
        registration = EpmdClient(port=port).register(ENTRY)
        assert registration.creation == 77
        assert registration.wait_lost() == "it closed the connection"
        registration.close()


@pytest.mark.parametrize("reply", [Alive2Reply(1, 99), Alive2Reply(1, 99, wide=False), Alive2Reply(7, 0)])
def test_a_taken_name_is_an_error(reply: Alive2Reply) -> None:
    with scripted_epmd(lambda connection: connection.sendall(encode_alive2_reply(reply))) as port:
        with pytest.raises(NameTaken, match="'py' is already registered") as raised:
            EpmdClient(port=port).register(ENTRY)
        assert raised.value.name == "py"


def test_an_unknown_node_is_an_error() -> None:
    reply = encode_port2_reply(Port2Reply(None))
    with (
        scripted_epmd(lambda connection: connection.sendall(reply)) as port,
        pytest.raises(NodeNotRegistered, match="nobody@localhost"),
    ):
        EpmdClient(port=port).port_of("nobody@localhost")


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_epmd_is_an_error_with_the_remedy(question: Callable[[EpmdClient], object]) -> None:
    port = free_port()
    with pytest.raises(EpmdUnreachable, match="epmd -daemon") as raised:
        question(EpmdClient(port=port))
    assert (raised.value.host, raised.value.port) == ("127.0.0.1", port)
    assert isinstance(raised.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_epmd_that_says_nothing_is_an_error_in_time(question: Callable[[EpmdClient], object]) -> None:
    with scripted_epmd(lambda connection: gevent.sleep(30)) as port:
        begin = monotonic()
        with pytest.raises(EpmdUnreachable, match=r"within 0\.1 s"):
            question(EpmdClient(port=port, timeout_s=0.1))
        assert monotonic() - begin < 5


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_epmd_that_closes_at_once_is_an_error(question: Callable[[EpmdClient], object]) -> None:
    with scripted_epmd(lambda connection: None) as port, pytest.raises(EpmdError):
        question(EpmdClient(port=port))


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_is_no_epmd_is_an_error(question: Callable[[EpmdClient], object]) -> None:
    with scripted_epmd(lambda connection: connection.sendall(b"\xff" * 8)) as port, pytest.raises(EpmdError):
        question(EpmdClient(port=port))


def test_an_endless_answer_is_cut() -> None:
    def script(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"name a at port 1\n" * 10_000)

    with scripted_epmd(script) as port, pytest.raises(EpmdError, match="more than"):
        EpmdClient(port=port).names()


@pytest.mark.parametrize(
    "ask", [lambda port: EpmdClient(port=port).names(), lambda port: resolve_node("py@127.0.0.1", port=port)]
)
def test_somebody_elses_timeout_is_not_taken_for_ours(ask: Callable[[int], object]) -> None:
    with (
        scripted_epmd(lambda connection: gevent.sleep(30)) as port,
        pytest.raises(gevent.Timeout),
        gevent.Timeout(0.05),
    ):
        ask(port)


def test_a_node_is_resolved_at_its_own_host() -> None:
    for host in ("localhost", "127.0.0.1"):
        with scripted_epmd(lambda connection: connection.sendall(encode_port2_reply(Port2Reply(ENTRY)))) as port:
            assert resolve_node(f"py@{host}", port=port) == ("127.0.0.1", 40000)


def test_a_node_that_cannot_be_resolved_is_an_error_in_words() -> None:
    with pytest.raises(EpmdUnreachable, match="the host is unknown"):
        resolve_node("py@no-such-host.invalid")
    with pytest.raises(EpmdUnreachable, match="the host is unknown"):
        resolve_node("py@" + "h" * 70 + ".example")
    with pytest.raises(EpmdUnreachable, match="refused"):
        resolve_node("py@127.0.0.1", port=free_port())
    with pytest.raises(EpmdError, match="expected a full node name"):
        resolve_node("py")
    with (
        scripted_epmd(lambda connection: gevent.sleep(30)) as port,
        pytest.raises(EpmdUnreachable, match=r"within 0\.1 s"),
    ):
        resolve_node("py@127.0.0.1", port=port, timeout_s=0.1)


def test_the_port_is_that_of_the_environment() -> None:
    assert epmd_port({}) == 4369
    assert epmd_port({"ERL_EPMD_PORT": ""}) == 4369
    assert epmd_port({"ERL_EPMD_PORT": "47000"}) == 47000
    for wrong in ("0", "65536", "-1", "x", "1e3", "٣", "9" * 5000):
        with pytest.raises(ConfigError, match="ERL_EPMD_PORT"):
            epmd_port({"ERL_EPMD_PORT": wrong})
