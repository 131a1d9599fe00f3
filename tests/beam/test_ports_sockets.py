"""The node's connections and listeners as a BEAM is told of them: ports and sockets."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from erlang_bridge import Atom, ErlangError, Node, Pid, Port
from erlang_bridge.testing.beams import Beam

UNDEFINED = Atom("undefined")


def words(text: str) -> list[int]:
    return [ord(character) for character in text]


def named(entries: Any) -> dict[str, Any]:
    return {key.name: value for key, value in (entries.items() if isinstance(entries, dict) else entries)}


def port_named(ports: list[Any], name: Any) -> dict[str, Any]:
    return next(port for port in map(named, ports) if port["registered_name"] is Atom(str(name)))


def test_observer_finds_the_functions(ask: Any) -> None:
    for name in ("get_port_list", "get_socket_list"):
        assert ask("erlang", "function_exported", Atom("observer_backend"), Atom(name), 0) is True


def test_ports_are_those_of_our_sockets(ask: Any, shared_beam: Beam, node: Node) -> None:
    ports = ask("observer_backend", "get_port_list")
    assert [named(port)["port_id"] for port in ports] == ask("erlang", "ports")
    assert {str(named(port)["registered_name"]) for port in ports} >= {"listener", "epmd", str(shared_beam.name)}
    assert all(isinstance(named(port)["port_id"], Port) for port in ports)
    connection = port_named(ports, shared_beam.name)
    assert connection["name"] == words("tcp_inet")
    assert connection["connected"] == node.whereis("net_kernel")
    assert connection["input"] > 0
    assert connection["output"] > 0
    # The same as the BEAM's own port for the connection says.
    inet = named(connection["inet"])
    theirs = shared_beam.eval(
        """[{L, R} || P <- erlang:ports(), erlang:port_info(P, name) =:= {name, "tcp_inet"},
            {ok, L} <- [inet:sockname(P)], {ok, R} <- [inet:peername(P)]]"""
    )
    ours = (inet["remote_address"], inet["remote_port"]), (inet["local_address"], inet["local_port"])
    assert ours in theirs
    assert named(inet["statistics"])["recv_oct"] == connection["input"]
    assert named(inet["options"])["nodelay"] is True


def test_where_we_listen(ask: Any, node: Node) -> None:
    assert node.registration is not None
    listener = port_named(ask("observer_backend", "get_port_list"), Atom("listener"))
    inet = named(listener["inet"])
    assert (inet["local_address"], inet["local_port"]) == ((127, 0, 0, 1), node.registration.entry.port)
    assert "remote_port" not in inet
    assert named(inet["options"])["reuseaddr"] is True


def test_bytes_are_counted(ask: Any, shared_beam: Beam) -> None:
    before = port_named(ask("observer_backend", "get_port_list"), shared_beam.name)["input"]
    ask("erlang", "node", Pid(Atom("x" * 200), 1, 0, 1))
    assert port_named(ask("observer_backend", "get_port_list"), shared_beam.name)["input"] > before + 200


def test_port_info(ask: Any, shared_beam: Beam) -> None:
    port = port_named(ask("observer_backend", "get_port_list"), shared_beam.name)["port_id"]
    theirs = shared_beam.eval("[Item || {Item, _} <- erlang:port_info(hd(erlang:ports()))]")
    told = ask("erlang", "port_info", port)
    assert [item for item, _ in told if item is not Atom("registered_name")] == theirs
    assert ask("erlang", "port_info", port, Atom("id")) == (Atom("id"), port.id * 8)
    gone = Port(port.node, 9999, port.creation)
    assert ask("erlang", "port_info", gone) is UNDEFINED
    for arguments in ((port, Atom("nonsense")), (Atom("rex"), 1), (3,)):
        with pytest.raises(ErlangError) as caught:
            ask("erlang", "port_info", *arguments)
        assert caught.value.reason[1] is Atom("badarg")


def test_a_port_is_not_closed_from_outside(ask: Any, shared_beam: Beam) -> None:
    port = port_named(ask("observer_backend", "get_port_list"), shared_beam.name)["port_id"]
    with pytest.raises(ErlangError) as caught:
        ask("erlang", "port_close", port)
    assert caught.value.reason[1] is Atom("badarg")
    assert ask("erlang", "ports")


def test_sockets_have_what_observer_reads(ask: Any, shared_beam: Beam, node: Node) -> None:
    sockets = [named(entry) for entry in ask("observer_backend", "get_socket_list")]
    keys = {
        "id", "id_str", "kind", "fd", "owner", "domain", "type", "protocol", "rstates", "wstates", "monitored_by",
        "statistics", "options",
    }  # fmt: skip
    assert all(keys <= entry.keys() for entry in sockets)
    assert len({entry["fd"] for entry in sockets}) == len(sockets)
    by_name = {"".join(map(chr, entry["id_str"])).partition("> ")[2]: entry for entry in sockets}
    connection = by_name[str(shared_beam.name)]
    assert named(connection["statistics"])["read_byte"] > 0
    assert connection["wstates"] == [Atom("connected")]
    options = {(level.name, name.name): value for (level, name), value in connection["options"]}
    assert options[("tcp", "nodelay")] is True
    assert options[("ip", "ttl")] > 0
    assert by_name["listener"]["rstates"] == [Atom("bound"), Atom("listening")]
    assert node.registration is not None
    assert by_name["listener"]["laddress"] == words(f"127.0.0.1 : {node.registration.entry.port}")
    counts = named(ask("observer_backend", "socket_info"))
    assert counts["num_sockets"] == counts["num_dinet"] == len(sockets)


def test_a_port_keeps_its_number(ask: Any, shared_beam: Beam, node: Node) -> None:
    before = ask("erlang", "ports")
    node.disconnect(shared_beam.name)
    after = ask("erlang", "ports")
    assert len(before) == len(after)
    assert before[:2] == after[:2]


def test_an_embedded_epmd_is_shown(shared_beam: Beam, node_factory: Any, free_port: int) -> None:
    with Node("alone@127.0.0.1", cookie="x", epmd_port_number=free_port) as node:
        ports = [
            named(port) for port in node.callables.find(Atom("observer_backend"), Atom("get_port_list"), 0).function()
        ]
        names = [port["registered_name"].name for port in ports]
        assert names[:2] == ["listener", "epmd"]
        assert "embedded_epmd" in names
        assert "epmd_alone" in names


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
