"""Our client with a real epmd, real nodes with our epmd, and what happens when one is replaced by the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack, unpack_from
from time import monotonic

import gevent
import pytest
from gevent import socket

from erlang_bridge.epmd.messages import (
    Alive2Request,
    DumpRequest,
    KillRequest,
    NamesRequest,
    NodeEntry,
    Port2Request,
    decode_dump_reply,
    decode_kill_reply,
    encode_request,
)
from erlang_bridge.errors import EpmdUnreachable, NameTaken, NodeNotRegistered
from erlang_bridge.net.epmd_client import EpmdClient, resolve_node
from erlang_bridge.net.epmd_registration import EpmdRegistration
from erlang_bridge.net.epmd_server import EmbeddedEpmd
from erlang_bridge.terms import Atom
from erlang_bridge.testing import BeamDied, BeamRelease, Epmd, Program
from erlang_bridge.testing.plugin import BeamFactory
from erlang_bridge.testing.programs import clean_environment

BEAM_RETRIES_WITHIN_S = 8.0
"""A BEAM that has lost its epmd tries again every 2 s; time for a slow machine added."""

Register = Callable[..., EpmdRegistration]


@pytest.fixture
def real_epmd(beam_release: BeamRelease, unused_epmd_port: int, tmp_path: Path) -> Iterator[Epmd]:
    """The epmd of the release at a port of its own."""
    epmd = Epmd(beam_release, unused_epmd_port, tmp_path)
    epmd.start()
    yield epmd
    epmd.stop()


@pytest.fixture
def embedded_epmd(unused_epmd_port: int) -> Iterator[EmbeddedEpmd]:
    epmd = EmbeddedEpmd(unused_epmd_port)
    epmd.start()
    yield epmd
    epmd.stop()


@pytest.fixture
def register(unused_epmd_port: int) -> Iterator[Register]:
    """Makes registrations that are stopped at the end."""
    made: list[EpmdRegistration] = []

    def make(name: str = "py", port: int = 40000, *, embedded: bool = True) -> EpmdRegistration:
        made.append(EpmdRegistration(name, port, epmd_port=unused_epmd_port, embedded=embedded))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.stop()


def wait_until(condition: Callable[[], object], timeout_s: float) -> float:
    """How long it took, in seconds."""
    begin = monotonic()
    while not condition():
        assert monotonic() - begin < timeout_s, "it did not happen in time"
        gevent.sleep(0.02)
    return monotonic() - begin


def names_at(port: int) -> dict[str, int]:
    try:
        return EpmdClient(port=port).names()
    except EpmdUnreachable:
        return {}


# -- our client, a real epmd ------------------------------------------------------------------


def test_a_node_registers_and_is_found(real_epmd: Epmd) -> None:
    client = EpmdClient(port=real_epmd.port)
    entry = NodeEntry("py", 40000, node_type=72, highest_version=6, lowest_version=6, extra=b"more")
    first = client.register(entry)
    assert first.creation > 3
    assert client.lookup("py") == entry
    assert client.port_of("py@127.0.0.1") == ("127.0.0.1", 40000)
    assert resolve_node("py@127.0.0.1", port=real_epmd.port) == ("127.0.0.1", 40000)
    assert client.names() == {"py": 40000}
    with pytest.raises(NameTaken):
        client.register(entry)
    with pytest.raises(NodeNotRegistered):
        client.port_of("nobody@127.0.0.1")
    assert decode_kill_reply(client.ask(KillRequest())).killed is False
    first.close()
    wait_until(lambda: not client.names(), 5)
    second = client.register(entry)
    assert second.creation == first.creation + 1
    dump = decode_dump_reply(client.ask(DumpRequest()))
    assert [line.name for line in dump.active] == ["py"]
    second.close()
    wait_until(lambda: not client.names(), 5)
    assert decode_kill_reply(client.ask(KillRequest())).killed is True


def test_a_running_beam_is_found(beam_factory: BeamFactory, epmd_port: int) -> None:
    beam = beam_factory()
    host, port = resolve_node(beam.name, port=epmd_port)
    with socket.create_connection((host, port), timeout=5):
        pass
    assert EpmdClient(port=epmd_port).names()[beam.name.partition("@")[0]] == port


def exchange(port: int, data: bytes) -> tuple[bytes, bool]:
    """What comes back, and whether the connection is closed then."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.3) as connection:
        received = b""
        try:
            connection.sendall(data)
            while chunk := connection.recv(4096):
                received += chunk
        except TimeoutError:
            return received, False
        except OSError:
            pass  # closed with bytes of ours unread
        return received, True


def alive2(name: bytes, extra: bytes = b"", *, high: int = 6, tail: bytes = b"") -> bytes:
    body = pack(">BHBBHHH", 120, 40000, 77, 0, high, 5, len(name)) + name + pack(">H", len(extra)) + extra + tail
    return pack(">H", len(body)) + body


REQUESTS = {
    "an unknown node": encode_request(Port2Request("nobody")),
    "a known node": encode_request(Port2Request("py")),
    "a known node and a NUL": b"\0\4zpy\0",
    "a known node and two NULs": b"\0\5zpy\0\0",
    "no name": b"\0\1z",
    "only a NUL": b"\0\2z\0",
    "a name in bad UTF-8": b"\0\2z\xff",
    "names": encode_request(NamesRequest()),
    "names and more": b"\0\2nn",
    "a dump": encode_request(DumpRequest()),
    "a kill": encode_request(KillRequest()),
    "a stop": b"\0\3spy",
    "an unknown request": b"\0\1?",
    "an old request": b"\0\3ppy",
    "a length of 0": b"\0\0",
    "a length of 0 and more": b"\0\0n",
    "a length too long": b"\x0b\xf2" + b"z" * 100,
    "more than the length": b"\0\1nn",
    "less than the length": b"\0\2n",
    "a registration": alive2(b"new"),
    "a registration with an extra field": alive2(b"new", b"extra"),
    "a registration and more": alive2(b"new", tail=b"more"),
    "a registration of version 5": alive2(b"new", high=5),
    "a registration in UTF-8": alive2("süß".encode()),
    "a registration of 255 characters": alive2("ß".encode() * 255),
    "a registration that is the longest": alive2("\U00010348".encode() * 255, b"e" * 1020),
    "a registration as long as can be": alive2(b"new", tail=b"t" * (3059 - 2 - 16)),
    "a registration longer than can be": alive2(b"new", tail=b"t" * (3059 - 1 - 16)),
    "a registration with a NUL": alive2(b"n\0w"),
    "a registration without a name": b"\0\x0dx" + bytes(12),
    "a registration cut in the name": b"\0\x0ex" + pack(">HBBHHH", 1, 77, 0, 6, 5, 9) + b"new",
    "a registration cut in the extra field": b"\0\x10x" + pack(">HBBHHH", 1, 77, 0, 6, 5, 3) + b"new\0\1",
}


def comparable(reply: bytes) -> bytes:
    """Without what two epmds cannot have in common: the time, and numbers of connections."""
    if reply[:2] in (b"v\0", b"y\0"):
        creation = int.from_bytes(reply[2:], "big")
        return reply[:2] + bytes((len(reply), 1 <= creation <= 3, creation > 3))
    if b"active name" in reply:
        (port,) = unpack_from(">I", reply)
        return b"".join((bytes((port > 0,)), *(line.partition(b"fd = ")[0] for line in reply[4:].split(b"\n"))))
    return reply


@pytest.mark.parametrize("case", REQUESTS)
def test_our_epmd_answers_as_the_real_one(case: str, real_epmd: Epmd) -> None:
    ours = EmbeddedEpmd(0)
    ours.start()
    held = []
    answers = []
    try:
        for port in (real_epmd.port, ours.port):
            held.append(EpmdClient(port=port).register(NodeEntry("py", 40000, extra=b"x")))
            reply, closed = exchange(port, REQUESTS[case])
            answers.append((comparable(reply).replace(pack(">I", port), b"port"), closed))
    finally:
        for registration in held:
            registration.close()
        ours.stop()
    assert answers[1] == answers[0]


def test_a_refused_registration_reads_the_same(real_epmd: Epmd) -> None:
    ours = EmbeddedEpmd(0)
    ours.start()
    for port in (real_epmd.port, ours.port):
        registration = EpmdClient(port=port).register(NodeEntry("py", 40000))
        assert exchange(port, encode_request(Alive2Request(NodeEntry("py", 1))))[0] == b"v\1\0\0\0\x63"
        assert exchange(port, alive2(b"py", high=5))[0] == b"y\1\0\x63"
        registration.close()
    ours.stop()


# -- real nodes, our epmd ---------------------------------------------------------------------


def test_beams_register_with_ours_and_find_each_other(
    beam_factory: BeamFactory, embedded_epmd: EmbeddedEpmd, register: Register
) -> None:
    python = register()
    assert python.embedded_epmd is None
    one, other = (beam_factory(epmd_port=embedded_epmd.port) for _ in range(2))
    assert one.creation > 3
    assert set(embedded_epmd.names()) == {"py", one.name.partition("@")[0], other.name.partition("@")[0]}
    assert one.call("net_adm", "ping", other.node) is Atom("pong")
    status, told = one.eval("net_adm:names('127.0.0.1')")
    assert status is Atom("ok")
    assert {"".join(map(chr, name)): port for name, port in told} == embedded_epmd.names()
    assert one.eval('erl_epmd:port_please("py", {127,0,0,1})') == (Atom("port"), 40000, 6)
    assert one.eval('erl_epmd:port_please("nobody", {127,0,0,1})') is Atom("noport")
    other.stop()
    wait_until(lambda: other.name.partition("@")[0] not in embedded_epmd.names(), 5)


def test_a_short_name_registers_with_ours(beam_factory: BeamFactory, embedded_epmd: EmbeddedEpmd) -> None:
    beam = beam_factory(name="short@localhost", epmd_port=embedded_epmd.port)
    assert list(embedded_epmd.names()) == ["short"]
    assert beam.eval("{ok, Names} = net_adm:names(localhost), length(Names)") == 1
    assert resolve_node("short@localhost", port=embedded_epmd.port)[0] == "127.0.0.1"


def test_a_beam_that_wants_to_start_one_is_content_with_ours(
    beam_factory: BeamFactory, embedded_epmd: EmbeddedEpmd
) -> None:
    beam = beam_factory(epmd_port=embedded_epmd.port, arguments=["-start_epmd", "true"])
    assert beam.name.partition("@")[0] in embedded_epmd.names()


def test_a_beam_whose_name_is_taken_does_not_start(
    beam_factory: BeamFactory, embedded_epmd: EmbeddedEpmd, register: Register
) -> None:
    register("taken")
    beam = beam_factory(start=False, name="taken@127.0.0.1", epmd_port=embedded_epmd.port)
    with pytest.raises(BeamDied):
        beam.start()
    beam.wait_for_log("seems to be in use|duplicate_name")
    assert embedded_epmd.names() == {"taken": 40000}


def test_a_beam_that_restarts_is_a_new_incarnation(beam_factory: BeamFactory, embedded_epmd: EmbeddedEpmd) -> None:
    beam = beam_factory(epmd_port=embedded_epmd.port)
    creation = beam.creation
    beam.restart()
    assert beam.creation > creation


def test_a_real_epmd_leaves_ours_alone(beam_release: BeamRelease, embedded_epmd: EmbeddedEpmd, tmp_path: Path) -> None:
    command = [str(beam_release.program("epmd")), "-address", "127.0.0.1", "-port", str(embedded_epmd.port)]
    real = Program(command, tmp_path / "epmd.log", clean_environment(tmp_path), tmp_path)
    try:
        assert real.wait(10) is not None
    finally:
        real.kill()
    assert EpmdClient(port=embedded_epmd.port).names() == {}


def test_the_epmd_command_reads_ours(
    beam_release: BeamRelease, embedded_epmd: EmbeddedEpmd, register: Register, tmp_path: Path
) -> None:
    register()

    def run(option: str) -> str:
        log_path = tmp_path / f"epmd{option}.log"
        command = [str(beam_release.program("epmd")), "-port", str(embedded_epmd.port), option]
        program = Program(command, log_path, clean_environment(tmp_path), tmp_path)
        assert program.wait(10) is not None
        return log_path.read_text()

    assert run("-names") == f"epmd: up and running on port {embedded_epmd.port} with data:\nname py at port 40000\n"
    assert "Killing not allowed" in run("-kill")
    assert embedded_epmd.names() == {"py": 40000}


# -- one epmd after the other -----------------------------------------------------------------


@pytest.mark.fault
def test_a_killed_and_restarted_epmd_gets_us_back(
    real_epmd: Epmd, register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "erlang_bridge.net")
    node = register()
    creation = node.creation
    assert node.embedded_epmd is None
    real_epmd.stop()
    wait_until(lambda: not node.registered, 2)
    real_epmd.start()
    took_s = wait_until(lambda: node.registered, 8)
    assert took_s < 4
    assert names_at(real_epmd.port) == {"py": 40000}
    assert node.creation == creation
    assert node.embedded_epmd is None
    assert "registered with epmd again" in caplog.text


@pytest.mark.fault
def test_when_no_epmd_comes_back_ours_takes_its_place_and_beams_come_to_it(
    real_epmd: Epmd, register: Register, beam_factory: BeamFactory
) -> None:
    node = register()
    beam = beam_factory(epmd_port=real_epmd.port)
    creation = node.creation
    real_epmd.stop()
    wait_until(lambda: node.embedded_epmd is not None and node.registered, 8)
    assert node.creation == creation
    alive = beam.name.partition("@")[0]
    wait_until(lambda: alive in names_at(real_epmd.port), BEAM_RETRIES_WITHIN_S)
    assert beam.eval("erlang:system_info(creation)") == beam.creation
    assert set(names_at(real_epmd.port)) == {"py", alive}


@pytest.mark.fault
def test_when_ours_ends_beams_go_to_the_next(
    beam_release: BeamRelease, register: Register, beam_factory: BeamFactory, unused_epmd_port: int, tmp_path: Path
) -> None:
    ours = register()
    assert ours.embedded_epmd is not None
    beam = beam_factory(epmd_port=unused_epmd_port)
    alive = beam.name.partition("@")[0]
    ours.stop()
    gevent.sleep(0.1)
    assert names_at(unused_epmd_port) == {}
    successor = Epmd(beam_release, unused_epmd_port, tmp_path)
    successor.start()
    try:
        took_s = wait_until(lambda: alive in names_at(unused_epmd_port), BEAM_RETRIES_WITHIN_S)
        assert took_s > 1
        assert beam.eval("erlang:system_info(creation)") == beam.creation
    finally:
        successor.stop()


@pytest.mark.fault
def test_two_nodes_in_one_process_outlive_the_epmd_of_the_first(
    register: Register, beam_factory: BeamFactory, unused_epmd_port: int
) -> None:
    first, second = register("first", 40001), register("second", 40002)
    assert first.embedded_epmd is not None
    assert second.embedded_epmd is None
    beam = beam_factory(epmd_port=unused_epmd_port)
    alive = beam.name.partition("@")[0]
    assert set(names_at(unused_epmd_port)) == {"first", "second", alive}
    first.stop()
    wait_until(lambda: second.embedded_epmd is not None, 8)
    wait_until(lambda: set(names_at(unused_epmd_port)) == {"second", alive}, BEAM_RETRIES_WITHIN_S)


def test_a_real_epmd_that_takes_the_port_first_is_used(
    beam_release: BeamRelease,
    unused_epmd_port: int,
    register: Register,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rival = Epmd(beam_release, unused_epmd_port, tmp_path)
    start = EmbeddedEpmd.start

    def start_too_late(epmd: EmbeddedEpmd) -> None:
        rival.start()
        start(epmd)

    monkeypatch.setattr(EmbeddedEpmd, "start", start_too_late)
    try:
        node = register()
        assert node.embedded_epmd is None
        assert names_at(rival.port) == {"py": 40000}
    finally:
        rival.stop()


def test_a_taken_name_and_a_missing_epmd_are_errors_in_words(
    real_epmd: Epmd, register: Register, beam_factory: BeamFactory
) -> None:
    beam_factory(name="taken@127.0.0.1", epmd_port=real_epmd.port)
    with pytest.raises(NameTaken, match="'taken' is already registered"):
        register("taken")
    real_epmd.stop()
    with pytest.raises(EpmdUnreachable, match="epmd -daemon"):
        register("other", embedded=False)
