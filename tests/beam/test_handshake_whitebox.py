"""The handshake and the wire with real BEAMs, in both directions: each outcome is forced, nothing is left to chance.

As OTP's ``erl_distribution_wb_SUITE``. No `Node` here: `Connections` alone, or a peer made by hand.
"""

import os
import subprocess
import time
from dataclasses import replace
from functools import partial
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from erlang_bridge.dist.flags import (
    DFLAG_DIST_MONITOR,
    DFLAG_EXIT_PAYLOAD,
    DFLAG_FRAGMENTS,
    DFLAG_MANDATORY_25_DIGEST,
    DFLAG_NAME_ME,
    DFLAG_PUBLISHED,
    DFLAG_SEND_SENDER,
    MANDATORY_25,
    MANDATORY_26,
    OFFERED_HIDDEN,
    OFFERED_VISIBLE,
    flag_names,
)
from erlang_bridge.dist.handshake import NodeIdentity
from erlang_bridge.epmd.messages import NodeEntry
from erlang_bridge.errors import BadCookie, HandshakeError, LostToSimultaneous, NodeNotRegistered, NotAllowed
from erlang_bridge.net.epmd_client import EpmdClient
from erlang_bridge.terms import Atom, Pid, Reference
from erlang_bridge.testing import Program, find_releases
from erlang_bridge.testing.programs import clean_environment
from tests.unit.net.worlds import RawPeer, World, until

NONE = Atom("")
TICK = bytes(4)


class BeamWorld(World):
    """As `World`, with BEAMs in it: they find our nodes through epmd, and we them."""

    def __init__(self, epmd_port, cookie):
        super().__init__()
        self.epmd = EpmdClient("127.0.0.1", epmd_port)
        self.cookie = cookie.encode()

    def resolve(self, name):
        try:
            return super().resolve(name)
        except NodeNotRegistered:
            return self.epmd.port_of(name)

    def registered(self, name="py@127.0.0.1", *, port=None, **more):
        """A node of ours that epmd knows; at `port`, which then somebody else has to serve."""
        node = self.node(name, **{"creation": 0, "cookie": self.cookie, **more})
        own_port = node.connections.listen()
        registration = self.epmd.register(NodeEntry(name=name.partition("@")[0], port=port or own_port))
        self.closers.append(registration.close)
        node.connections.set_identity(replace(node.connections.identity, creation=registration.creation))
        return node

    def raw_to(self, beam, name="raw@127.0.0.1", **more):
        """A peer made by hand, not connected yet, with a socket to a BEAM."""
        sock = socket.create_connection(self.epmd.port_of(beam.name))
        sock.settimeout(10)
        self.closers.append(sock.close)
        return RawPeer(sock, name, **{"cookie": self.cookie, **more})


@pytest.fixture
def world(epmd_port, beam_cookie):
    made = BeamWorld(epmd_port, beam_cookie)
    yield made
    made.close()


def connects(beam, name):
    return beam.begin("net_kernel:connect_node(Node)", Node=Atom(name))


def nodes(beam, kind="connected"):
    return beam.eval("nodes(Kind)", Kind=Atom(kind))


def echo(beam, name="echo"):
    """A process of the BEAM that answers ``{Pid, Term}`` with ``{byte_size, Term}``."""
    source = """
        register(Name, spawn(fun() ->
            (fun Loop() -> receive {From, Term} -> From ! {erlang:external_size(Term), Term}, Loop() end end)()
        end)), ok
    """
    assert beam.eval(source, Name=Atom(name)) is Atom("ok")
    return Atom(name)


def ask(node, beam, term, name="echo"):
    channel = node.connections.get(beam.node)
    channel.send((6, node.pid, NONE, Atom(name)), (node.pid, term))
    return channel


# -- who dials, who is seen -------------------------------------------------------------------


@pytest.mark.parametrize(("flags", "kind"), [(OFFERED_HIDDEN, "hidden"), (OFFERED_VISIBLE, "visible")])
def test_the_beam_dials(world, beam, flags, kind):
    py = world.registered(flags=flags)
    assert connects(beam, py.name).result() is True
    until(lambda: py.of("up"))
    assert nodes(beam, kind) == [py.node]
    assert nodes(beam) == [py.node]
    [(channel,)] = py.of("up")
    assert channel.node is beam.node
    assert channel.peer.creation == beam.creation
    assert channel.peer.hidden is (kind == "hidden")
    assert not channel.peer.we_started
    assert channel.peer.flags & MANDATORY_26 == MANDATORY_26


@pytest.mark.parametrize(("flags", "kind"), [(OFFERED_HIDDEN, "hidden"), (OFFERED_VISIBLE, "visible")])
def test_we_dial(world, beam, flags, kind):
    py = world.registered(flags=flags)
    channel = py.connections.connect(beam.node)
    beam.wait_until("lists:member(Node, nodes(Kind))", Node=py.node, Kind=Atom(kind))
    assert channel.peer.creation == beam.creation
    assert channel.peer.hidden is (kind == "hidden")
    assert channel.peer.we_started
    assert beam.eval("[N || {N, _} <- erlang:system_info(dist_ctrl)]") == [py.node]


def test_a_hidden_beam_is_hidden_to_us(world, beam_factory):
    beam = beam_factory(hidden=True)
    py = world.registered(flags=OFFERED_VISIBLE)
    assert py.connections.connect(beam.node).peer.hidden


def test_the_end_is_seen_at_both_ends(world, beam):
    py = world.registered()
    py.connections.connect(beam.node)
    beam.wait_until("nodes(connected) =/= []")
    py.connections.disconnect(beam.node)
    beam.wait_until("nodes(connected) =:= []")
    channel = py.connections.connect(beam.node)
    beam.eval("erlang:disconnect_node(Node)", Node=py.node)
    until(lambda: channel.state == "closed")
    assert py.of("down")[1] == (channel, "connection_closed")


def test_a_beam_that_restarts_is_another_incarnation(world, beam):
    py = world.registered()
    first = py.connections.connect(beam.node)
    beam.restart()
    until(lambda: first.state == "closed")
    second = py.connections.connect(beam.node)
    assert second.peer.creation == beam.creation != first.peer.creation
    assert py.kinds() == ["up", "down", "up"]


# -- refusals ---------------------------------------------------------------------------------


def test_a_wrong_cookie_of_the_beam(world, beam, caplog):
    py = world.registered(cookie=b"another")
    assert connects(beam, py.name).result() is False
    assert py.events == []
    assert f"connection attempt from {beam.name} rejected" in caplog.text


def test_a_wrong_cookie_of_ours(world, beam):
    py = world.registered(cookie=b"another")
    start = time.monotonic()
    with pytest.raises(BadCookie, match=beam.name):
        py.connections.connect(beam.node)
    assert time.monotonic() - start < 5
    beam.wait_for_log("Invalid challenge reply")


def test_cookies_are_by_peer(world, beam):
    py = world.registered(cookie=b"another")
    beam.eval("erlang:set_cookie(Node, another)", Node=py.node)
    assert py.connections.connect(beam.node).state == "up"


def test_the_beams_allow_list(world, beam):
    beam.eval("net_kernel:allow(['somebody@else'])")
    py = world.registered()
    with pytest.raises(NotAllowed):
        py.connections.connect(beam.node)


def test_our_allow_list(world, beam):
    py = world.registered(allowed_nodes=frozenset({"somebody@else"}))
    assert connects(beam, py.name).result() is False
    assert py.events == []


def test_every_flag_that_the_beam_insists_on(world, shared_beam):
    mandatory = MANDATORY_25 if shared_beam.release.otp < 26 else MANDATORY_26
    py = world.node(cookie=world.cookie, listen=False)
    for bit in range(mandatory.bit_length()):
        if mandatory >> bit & 1:
            flags = OFFERED_HIDDEN & ~DFLAG_MANDATORY_25_DIGEST & ~(1 << bit)
            py.connections.set_identity(NodeIdentity("py@127.0.0.1", 77, flags))
            with pytest.raises(NotAllowed):
                py.connections.connect(shared_beam.node)
    py.connections.set_identity(NodeIdentity("py@127.0.0.1", 77, mandatory))
    assert flag_names(py.connections.connect(shared_beam.node).peer.flags)


def test_a_name_that_is_nobodys(world, shared_beam):
    py = world.registered()
    with pytest.raises(NodeNotRegistered):
        py.connections.connect(Atom("nobody@127.0.0.1"))
    world.addresses["nobody@127.0.0.1"] = world.epmd.port_of(shared_beam.name)
    with pytest.raises(HandshakeError, match="calls itself"):
        py.connections.connect(Atom("nobody@127.0.0.1"))


def test_a_frozen_beam_does_not_keep_us_waiting(world, beam):
    py = world.registered(setup_time_s=0.5)
    beam.freeze()
    with pytest.raises(HandshakeError, match="no status within"):
        py.connections.connect(beam.node)
    beam.thaw()

    def connected():
        # It closes a second attempt while it is still busy with the first, which we have given up.
        try:
            return py.connections.connect(beam.node).state == "up"
        except HandshakeError:
            return False

    until(connected)


# -- both at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("alive", ["aaa", "zzz"])
def test_the_beam_dials_while_we_are_dialling(world, beam, alive):
    py = world.registered(f"{alive}@127.0.0.1")
    answering = echo(beam)
    world.held[beam.name] = Event()
    channel = ask(py, beam, 1, answering.name)
    until(lambda: world.resolving)
    dialling = connects(beam, py.name)
    ours_wins = py.name > beam.name
    if ours_wins:
        gevent.sleep(0.2)
        assert not dialling.ready()
        assert channel.state == "pending"
    else:
        until(lambda: channel.state == "up")
    world.held[beam.name].set()
    assert dialling.result() is True
    until(lambda: py.messages)
    assert channel.peer.we_started is ours_wins
    assert py.kinds() == ["up", "signal"]
    assert nodes(beam) == [py.node]


def hold(world, listening, held, target):
    """Serve `listening`: take a connection at once, carry its bytes to `target` from when `held` is set."""

    def carry(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve():
        source, _ = listening.accept()
        world.closers.append(source.close)
        taken.set()
        held.wait()
        sink = socket.create_connection(("127.0.0.1", target))
        world.closers.append(sink.close)
        carriers.extend((gevent.spawn(carry, source, sink), gevent.spawn(carry, sink, source)))

    taken = Event()
    carriers: list[Any] = []
    serving = gevent.spawn(serve)
    world.closers.insert(0, lambda: gevent.killall([serving, *carriers]))
    return taken


@pytest.mark.parametrize("alive", ["aaa", "zzz"])
def test_we_dial_while_the_beam_is_dialling(world, beam, alive):
    held = Event()
    listening = world.listener("held")
    py = world.registered(f"{alive}@127.0.0.1", port=listening.getsockname()[1])
    taken = hold(world, listening, held, py.connections.listen())
    answering = echo(beam)
    dialling = connects(beam, py.name)
    taken.wait()
    channel = ask(py, beam, 1, answering.name)
    ours_wins = py.name > beam.name
    if ours_wins:
        until(lambda: channel.state == "up")
    else:
        until(lambda: channel in py.connections._waiting)
        assert channel.state == "pending"
        held.set()
    assert dialling.result() is True
    until(lambda: py.messages)
    assert channel.peer.we_started is ours_wins
    assert py.kinds() == ["up", "signal"]
    held.set()


def test_the_beam_says_nok_and_never_comes(world, beam):
    held = Event()
    listening = world.listener("held")
    py = world.registered("aaa@127.0.0.1", port=listening.getsockname()[1], setup_time_s=0.5)
    taken = hold(world, listening, held, py.connections.listen())
    connects(beam, py.name)
    taken.wait()
    with pytest.raises(LostToSimultaneous):
        py.connections.connect(beam.node)


@pytest.mark.parametrize("alive", ["aaa", "zzz"])
def test_both_dial_again_and_again(world, beam, alive):
    py = world.registered(f"{alive}@127.0.0.1")
    answering = echo(beam)
    for number in range(40):
        dialling = connects(beam, py.name)
        gevent.sleep(0.0005 * (number % 8))
        ask(py, beam, number, answering.name)
        assert dialling.result() is True
        until(lambda number=number: py.messages[-1:] and py.messages[-1][1] == number)
        if number % 2:
            py.connections.disconnect(beam.node)
            beam.wait_until("nodes(connected) =:= []")
        else:
            beam.eval("erlang:disconnect_node(Node)", Node=py.node)
        until(lambda: not py.connections.channels())
    assert [message[1] for message in py.messages] == list(range(40))
    assert {reason for _, reason in py.of("down")} == {"disconnect", "connection_closed"}


def test_our_own_name_at_the_beam(world, beam):
    peer = world.raw_to(beam, beam.name)
    with pytest.raises(LostToSimultaneous):
        peer.dial_handshake(beam.name)


# -- alive ------------------------------------------------------------------------------------


def test_the_beam_believes_that_we_are_connected(world, beam):
    py = world.registered()
    forgotten = world.raw_to(beam, py.name)
    forgotten.dial_handshake(beam.name)
    beam.wait_until("nodes(connected) =/= []")
    answering = echo(beam)
    ask(py, beam, 1, answering.name)
    until(lambda: py.messages)
    assert py.kinds() == ["up", "signal"]
    forgotten.read_to_end()
    assert nodes(beam) == [py.node]


def test_the_beam_is_told_that_an_attempt_is_not_real(world, beam):
    first = world.raw_to(beam, "py@127.0.0.1")
    first.dial_handshake(beam.name)
    second = world.raw_to(beam, "py@127.0.0.1")
    second.begin_handshake(beam.name)
    assert second.sock.recv(100) == b"\x00\x06salive"
    second.sock.sendall(b"\x00\x06sfalse")
    assert second.sock.recv(100) == b""
    assert nodes(beam) == [Atom("py@127.0.0.1")]


def test_we_believe_that_the_beam_is_connected(world, beam):
    py = world.registered()
    old = world.raw(py, beam.name, cookie=world.cookie, creation=beam.creation)
    until(lambda: py.of("up"))
    assert connects(beam, py.name).result() is True
    until(lambda: len(py.of("up")) == 2)
    assert py.kinds() == ["up", "down", "up"]
    (first,), (second,) = py.of("up")
    assert py.of("down") == [(first, "connection_closed")]
    assert py.connections.channels() == [second]
    assert old.read_to_end() == b""


# -- nodes without a name ---------------------------------------------------------------------


def nameless(world, tmp_path, release, cookie, epmd_port, source):
    """``erl -sname undefined@localhost`` that evaluates `source`, prints the value and ends."""
    evaluated = f'io:format("value: ~0p~n", [begin {source} end]), halt().'
    command = [str(release.erl), "-noinput", "-sname", "undefined@localhost", "-setcookie", cookie]
    command += ["-start_epmd", "false", "-eval", evaluated]
    log_path = tmp_path / f"nameless_{len(world.closers)}.log"
    program = Program(command, log_path, clean_environment(tmp_path, ERL_EPMD_PORT=str(epmd_port)), tmp_path)
    world.closers.append(program.kill)
    return program


def test_a_beam_without_a_name_is_given_one(world, tmp_path, beam_release, beam_cookie, epmd_port):
    py = world.registered("py@localhost", flags=OFFERED_VISIBLE)
    source = """
        true = net_kernel:connect_node('py@localhost'), {name, 'py@localhost'} ! {node(), self()},
        [node(), nodes(connected)]
    """
    program = nameless(world, tmp_path, beam_release, beam_cookie, epmd_port, source)
    assert program.wait(20) == 0, program.log_path.read_text()
    until(lambda: py.of("down"))
    [(channel,)] = py.of("up")
    name = channel.node.name
    assert name.endswith("@localhost")
    assert channel.peer.hidden
    assert not channel.peer.flags & (DFLAG_NAME_ME | DFLAG_PUBLISHED)
    [(name_there, pid)] = py.messages
    assert name_there is channel.node
    assert pid.creation == channel.peer.creation
    assert f"value: ['{name}',[py@localhost]]" in program.log_path.read_text()
    # The next one gets the name again, as another incarnation.
    again = nameless(world, tmp_path, beam_release, beam_cookie, epmd_port, source)
    assert again.wait(20) == 0, again.log_path.read_text()
    until(lambda: len(py.of("down")) == 2)
    second = py.of("up")[1][0]
    assert (second.node, second.peer.creation) == (channel.node, channel.peer.creation + 1)


def test_a_beam_without_a_name_and_with_a_wrong_cookie(world, tmp_path, beam_release, epmd_port, caplog):
    py = world.registered("py@localhost")
    source = "net_kernel:connect_node('py@localhost')"
    program = nameless(world, tmp_path, beam_release, "another", epmd_port, source)
    assert program.wait(20) == 0, program.log_path.read_text()
    assert "value: false" in program.log_path.read_text()
    assert py.events == []
    assert "cookies differ" in caplog.text


def test_we_have_no_name(world, beam_factory):
    beam = beam_factory(name="naming@localhost")
    world.addresses[beam.name] = world.epmd.port_of(beam.name)
    py = world.node("localhost", creation=0, cookie=world.cookie, listen=False)
    channel = py.connections.connect(beam.node)
    name = py.connections.identity.name
    assert name.endswith("@localhost")
    assert py.connections.identity.creation >= 4
    beam.wait_until("nodes(hidden) =:= [Node]", Node=Atom(name))
    answering = echo(beam)
    py.name = name
    ask(py, beam, 1, answering.name)
    until(lambda: py.messages)
    assert channel.peer.hidden
    beam.eval("erlang:disconnect_node(Node)", Node=Atom(name))
    until(lambda: channel.state == "closed")
    assert py.connections.identity.is_dynamic


# -- frames -----------------------------------------------------------------------------------

SIZES = [0, 1, 65_400, *range(65_480, 65_540), 131_000, 200_000]


@pytest.mark.parametrize("flags", [OFFERED_HIDDEN, OFFERED_HIDDEN & ~DFLAG_FRAGMENTS])
def test_both_shapes_of_frames_both_ways(world, shared_beam, flags):
    py = world.node(cookie=world.cookie, listen=False, flags=flags, creation=77)
    answering = f"echo_{flags}"
    echo(shared_beam, answering)
    channel = py.connections.connect(shared_beam.node)
    assert bool(channel.peer.flags & DFLAG_FRAGMENTS) is bool(flags & DFLAG_FRAGMENTS)
    for size in SIZES:
        ask(py, shared_beam, os.urandom(size), answering)
    sent = [Atom("done"), os.urandom(30_000_000)]
    for term in sent:
        ask(py, shared_beam, term, answering)
    until(lambda: len(py.messages) == len(SIZES) + 2, 20)
    assert [len(term) for _, term in py.messages[: len(SIZES)]] == SIZES
    assert [term for _, term in py.messages[-2:]] == sent
    assert channel.state == "up"


def test_signals_from_before_the_connection_in_both_shapes(world, beam):
    answering = echo(beam)
    for number, flags in enumerate((OFFERED_HIDDEN, OFFERED_HIDDEN & ~DFLAG_FRAGMENTS)):
        py = world.node(f"py{number}@127.0.0.1", cookie=world.cookie, listen=False, flags=flags)
        for term in ("small", bytes(200_000), 3):
            ask(py, beam, term, answering.name)
        until(lambda py=py: len(py.messages) == 3)
        assert [term for _, term in py.messages] == [b"small", bytes(200_000), 3]


def test_large_messages_of_many_processes_interleave(world, shared_beam):
    py = world.registered()
    py.connections.connect(shared_beam.node)
    source = """
        Send = fun(Number) ->
            Big = binary:copy(<<Number>>, 400_000 + Number),
            [begin {name, Node} ! {Number, Step, Big}, {name, Node} ! {Number, Step, small} end
                || Step <- lists:seq(1, 5)]
        end,
        [spawn(fun() -> Send(Number) end) || Number <- lists:seq(1, 40)], ok
    """
    shared_beam.eval(source, Node=py.node)
    until(lambda: len(py.messages) == 400, 30)
    for number in range(1, 41):
        mine = [(step, what) for sender, step, what in py.messages if sender == number]
        big = bytes((number,)) * (400_000 + number)
        assert mine == [(step, what) for step in range(1, 6) for what in (big, Atom("small"))]
    assert py.connections.channels()[0].statistics()["open_sequences"] == 0
    py.connections.disconnect(shared_beam.node)


def test_a_beam_that_is_not_read_from_blocks_and_then_delivers(world, beam):
    py = world.registered()
    py.connections.connect(beam.node)
    beam.eval(
        "spawn(fun() -> [{name, Node} ! binary:copy(<<N>>, 100_000) || N <- lists:seq(1, 200)] end), ok", Node=py.node
    )
    time.sleep(0.5)
    until(lambda: len(py.messages) == 200, 20)
    assert [message[0] for message in py.messages] == list(range(1, 201))


# -- what a BEAM sends and takes, by flag -----------------------------------------------------

SIGNALS = """
    [Pid] = [P || {pid, P} <- [Target]],
    spawn(fun() ->
        Pid ! hello,
        link(Pid),
        erlang:monitor(process, Pid),
        erlang:monitor(process, {name, node(Pid)}),
        erlang:monitor_node(node(Pid), false),
        exit(Pid, {because, 1}),
        unlink(Pid),
        {name, node(Pid)} ! last,
        receive never -> ok end
    end), ok
"""


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize(
    ("without", "expected"),
    [
        (0, [22, 1, 19, 19, 26, 35, 6]),
        (DFLAG_SEND_SENDER, [2, 1, 19, 19, 26, 35, 6]),
        (DFLAG_EXIT_PAYLOAD, [22, 1, 19, 19, 8, 35, 6]),
        (DFLAG_DIST_MONITOR, [22, 1, 26, 35, 6]),
        (DFLAG_FRAGMENTS, [22, 1, 19, 19, 26, 35, 6]),
        (DFLAG_SEND_SENDER | DFLAG_EXIT_PAYLOAD | DFLAG_FRAGMENTS, [2, 1, 19, 19, 8, 35, 6]),
    ],
)
def test_the_forms_that_a_beam_sends(world, beam, without, expected, connected):
    py = world.registered(flags=OFFERED_HIDDEN & ~without)
    if connected:
        py.connections.connect(beam.node)
        # The BEAM may be a moment behind: until it counts us as connected, signals take the oldest forms.
        beam.wait_until("lists:member(node(P), nodes(connected))", P=py.pid)
    beam.eval(SIGNALS, Target=(Atom("pid"), py.pid))
    until(lambda: py.messages[-1:] == [Atom("last")])
    seen = [signal[0] for _, signal in py.of("signal")]
    if not connected:
        # The first ones were queued before the flags were known; each comes in the form that any peer takes.
        modern = {2: 22, 8: 26}
        seen = [modern.get(op, op) for op in seen]
        expected = [modern.get(op, op) for op in expected]
    assert seen == expected
    assert len(py.of("up")) == 1
    assert py.kinds()[0] == "up"


OUR_SIGNALS = """
    register(victim, spawn(fun() ->
        process_flag(trap_exit, true),
        Loop = fun Loop(Seen) -> receive
            {report, To} -> To ! lists:reverse(Seen);
            Message -> Loop([Message | Seen])
        end end,
        Loop([])
    end)), whereis(victim)
"""


@pytest.mark.parametrize(
    "flags",
    [
        OFFERED_HIDDEN,
        OFFERED_HIDDEN & ~DFLAG_FRAGMENTS,
        OFFERED_HIDDEN & ~DFLAG_EXIT_PAYLOAD,
        OFFERED_HIDDEN & ~DFLAG_SEND_SENDER,
        MANDATORY_26 | DFLAG_DIST_MONITOR,
        MANDATORY_26,
    ],
)
@pytest.mark.parametrize("early", [True, False])
def test_the_beam_understands_every_form(world, beam, flags, early):
    py = world.registered(flags=flags)
    victim = beam.eval(OUR_SIGNALS)
    channel = py.connections.get(beam.node) if early else py.connections.connect(beam.node)
    stale = Pid(victim.node, victim.id, victim.serial, victim.creation - 1)
    ours = Pid(py.node, 2, 0, py.pid.creation)
    reference = Reference(py.node, py.pid.creation, (1, 2, 3))
    theirs = Reference(victim.node, victim.creation, (1, 2, 3))
    sent = [
        ((22, ours, victim), Atom("one")),
        ((26, ours, victim), Atom("two")),
        ((24, ours, stale), Atom("never")),
        ((35, 1, ours, stale),),
        ((1, ours, victim),),
        ((24, ours, victim), Atom("three")),
        ((1, ours, victim),),
        ((35, 5, ours, victim),),
        ((36, 5, ours, victim),),
        ((19, ours, Atom("victim"), reference),),
        ((20, ours, Atom("victim"), reference),),
        ((33, ours, theirs), Atom("nobody")),
        ((28, ours, victim, theirs), Atom("nobody")),
        ((31, theirs, victim, 0, Atom("notsup")),),
        ((7, ours, victim),),
        ((6, ours, NONE, Atom("victim")), Atom("four")),
        ((6, ours, NONE, Atom("victim")), (Atom("report"), py.pid)),
    ]
    for control, *payload in sent:
        channel.send(control, *payload)
    until(lambda: py.messages and type(py.messages[-1]) is list)
    exits = [(Atom("EXIT"), ours, Atom(reason)) for reason in ("two", "three")]
    assert py.messages[-1] == [Atom("one"), *exits, Atom("four")]
    assert channel.state == "up"


# -- hostile peers ----------------------------------------------------------------------------


def test_a_beam_gets_in_through_a_crowd(world, beam):
    py = world.registered(max_pending_handshakes=16)
    crowd = []
    for number in range(60):
        crowd.append(world.dial(py))
        if number % 3 == 0:
            crowd[-1].sendall((b"\xff\xff", b"\x00\x00", os.urandom(50))[number // 3 % 3])
    assert connects(beam, py.name).result() is True
    until(lambda: py.of("up"))
    assert len(py.connections._incoming) <= 16


def test_a_stranger_cannot_take_the_place_of_a_beam(world, beam):
    py = world.registered()
    channel = py.connections.connect(beam.node)
    with pytest.raises(BadCookie):
        world.raw(py, beam.name, cookie=b"guessed")
    answering = echo(beam)
    ask(py, beam, 1, answering.name)
    until(lambda: py.messages)
    assert channel.state == "up"


# -- time -------------------------------------------------------------------------------------

TICKTIME_S = 4


def ticking(beam_factory):
    return beam_factory(arguments=["-kernel", "net_ticktime", str(TICKTIME_S)])


@pytest.mark.slow
@pytest.mark.parametrize("flags", [OFFERED_HIDDEN, OFFERED_VISIBLE])
def test_an_idle_connection_stays_also_when_our_code_blocks(world, beam_factory, flags):
    beam = ticking(beam_factory)
    py = world.registered(flags=flags, net_ticktime_s=TICKTIME_S)
    channel = py.connections.connect(beam.node)
    gevent.sleep(TICKTIME_S)
    time.sleep(1.5 * TICKTIME_S)
    gevent.sleep(0.1)
    assert channel.state == "up"
    assert py.of("down") == []
    assert nodes(beam) == [py.node]
    assert "not responding" not in beam.log_text()


@pytest.mark.slow
def test_a_frozen_beam_is_dropped_and_connects_again_when_it_thaws(world, beam_factory):
    beam = ticking(beam_factory)
    py = world.registered(net_ticktime_s=TICKTIME_S)
    channel = py.connections.connect(beam.node)
    beam.freeze()
    start = time.monotonic()
    until(lambda: py.of("down"), 2 * TICKTIME_S)
    assert py.of("down") == [(channel, "net_tick_timeout")]
    assert time.monotonic() - start < 1.5 * TICKTIME_S
    beam.thaw()
    beam.wait_until("nodes(connected) =:= []")
    answering = echo(beam)
    ask(py, beam, 1, answering.name)
    until(lambda: py.messages)


# -- C nodes ----------------------------------------------------------------------------------


def test_erl_call(world, epmd_port, beam_cookie, tmp_path):
    program = find_releases()[0].program("erl_call")
    py = world.registered("py@localhost")

    def answer(channel, signals):
        for op, destination, payload in signals:
            if op == 6 and destination is Atom("rex"):
                caller = payload[0]
                channel.send((22, py.pid, caller), (Atom("rex"), (Atom("from"), Atom("python"))))

    py.on_signals = answer
    calling = gevent.get_hub().threadpool.spawn(
        partial(
            subprocess.run,
            [program, "-sname", "py@localhost", "-c", beam_cookie, "-a", "erlang node []"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env=clean_environment(tmp_path, ERL_EPMD_PORT=str(epmd_port)),
        )
    )
    done = calling.get()
    assert done is not None
    assert done.stdout == "{from, python}", (done, py.events)
    [(channel,)] = py.of("up")
    assert channel.peer.hidden
    assert not channel.peer.flags & DFLAG_FRAGMENTS
