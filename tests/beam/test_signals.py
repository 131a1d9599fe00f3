"""Links, monitors, exits and messages between a BEAM and our processes: what Erlang promises, seen from the BEAM."""

from __future__ import annotations

import gevent
import pytest

from erlang_bridge import Atom, CallTimeout, ErlangExit, NetOptions, NoConnection, Node, NoProcess, Pid, Reply
from erlang_bridge.testing.beams import Beam, Shell
from tests.fix_node import NodeFactory
from tests.servers import Counter, Crasher, Idle
from tests.waiting import until

OK = Atom("ok")
NORMAL = Atom("normal")


@pytest.fixture
def counter(node: Node) -> Pid:
    return node.start(Counter, 0, name="counter")


def start_watcher(beam: Beam) -> Shell:
    """A shell on the BEAM that traps exits."""
    shell = beam.shell()
    shell.eval("process_flag(trap_exit, true)")
    return shell


NEXT = "(fun() -> receive M -> M after 3000 -> nothing end end)()"
"""The next message of the shell; in a fun, since a variable once bound in a shell stays bound."""


# -- connection -------------------------------------------------------------------------------


def test_ping_both_ways(beam: Beam, node: Node) -> None:
    assert beam.eval("net_adm:ping(N)", N=node.name) is Atom("pong")
    assert node.ping(beam.name) == "pong"
    assert node.ping("nobody@127.0.0.1") == "pang"


def test_visible_node_is_in_nodes(beam: Beam, node: Node) -> None:
    node.connect(beam.name)
    assert beam.eval("nodes()") == [node.name]
    assert node.nodes() == [beam.name]


def test_hidden_node_is_only_in_hidden_nodes(beam: Beam, node_factory: NodeFactory) -> None:
    node = node_factory(hidden=True)
    node.connect(beam.name)
    assert beam.eval("{nodes(), nodes(hidden)}") == ([], [node.name])
    assert node.nodes() == []
    assert node.nodes("hidden") == [beam.name]


def test_first_send_connects(beam: Beam, node: Node) -> None:
    shell = beam.shell()
    shell.eval("register(listener, self())")
    node.send(("listener", beam.name), (Atom("hello"), [1, 2]))
    assert shell.eval(NEXT) == (Atom("hello"), [1, 2])


# -- calls from the BEAM ----------------------------------------------------------------------


def test_call_and_cast_by_name_and_pid(beam: Beam, node: Node, counter: Pid) -> None:
    assert beam.eval("gen_server:call({counter, N}, {add, 3})", N=node.name) is OK
    beam.eval("gen_server:cast(P, {add, 4})", P=counter)
    assert beam.eval("gen_server:call(P, read)", P=counter) == 7


def test_call_to_unknown_name_is_noproc_at_once(beam: Beam, node: Node) -> None:
    result = beam.eval("catch gen_server:call({nobody, N}, read, infinity)", N=node.name)
    assert result[1][0] is Atom("noproc")


def test_late_reply_is_dropped(beam: Beam, node: Node, counter: Pid) -> None:
    shell = beam.shell()
    result = shell.eval("catch gen_server:call(P, {later, 0.3}, 50)", P=counter)
    assert result[1][0] is Atom("timeout")
    assert shell.eval("receive M -> M after 800 -> nothing end") is Atom("nothing")


def test_exception_is_the_exit_reason_with_file_and_line(beam: Beam, counter: Pid) -> None:
    result = beam.eval("catch gen_server:call(P, crash)", P=counter)
    reason, stacktrace = result[1][0]
    assert reason == (Atom("RuntimeError"), b"asked to crash")
    module, function, arity, location = stacktrace[0]
    assert (module, function, arity) == (Atom("tests.servers"), Atom("Counter.handle_call"), 4 - 1)
    where = dict(location)
    assert "".join(map(chr, where[Atom("file")])).endswith("tests/servers.py")
    assert where[Atom("line")] > 0


def test_unmatched_request_is_a_crash_not_a_timeout(beam: Beam, counter: Pid) -> None:
    result = beam.eval("catch gen_server:call(P, no_such_request, 3000)", P=counter)
    assert result[1][0][0] is Atom("function_clause")


def test_unencodable_reply_raises_in_the_engine(beam: Beam, node: Node, counter: Pid) -> None:
    other = node.start(Counter, 5)
    result = beam.eval("catch gen_server:call(P, unencodable, 3000)", P=counter)
    assert result[1][0][0][0] is Atom("EtfEncodeError")
    assert beam.eval("gen_server:call(P, read)", P=other) == 5


def test_calls_are_served_while_a_handler_waits(beam: Beam, node: Node, counter: Pid) -> None:
    other = node.start(Counter, 1)
    pending = beam.begin("gen_server:call(P, {sleep, 1.0})", P=counter)
    assert beam.eval("gen_server:call(P, read, 500)", P=other) == 1
    assert pending.result() is OK


def test_multi_call(beam: Beam, node: Node, counter: Pid) -> None:
    replies, bad = beam.eval("gen_server:multi_call([N], counter, read, 3000)", N=node.name)
    assert (replies, bad) == ([(node.name, 0)], [])


def test_send_request(beam: Beam, counter: Pid) -> None:
    source = "R = gen_server:send_request(P, read), gen_server:receive_response(R, 3000)"
    assert beam.eval(source, P=counter) == (Atom("reply"), 0)


def test_messages_keep_their_order(beam: Beam, node: Node) -> None:
    received: list[int] = []

    class Collector(Idle):
        def handle_info(self, message, state):
            received.append(message)
            return super().handle_info(message, state)

        def handle_call(self, request, caller, state):
            return Reply(len(received), state)

    pid = node.start(Collector)
    node.register("collector", pid)
    source = "[if I rem 2 == 0 -> P ! I; true -> {collector, node(P)} ! I end || I <- lists:seq(1, 3000)], gen_server:call(P, n)"
    assert beam.eval(source, P=pid) == 3000
    assert received == list(range(1, 3001))


# -- calls into the BEAM ----------------------------------------------------------------------


def test_call_into_the_beam(beam: Beam, node: Node) -> None:
    assert node.call(("net_kernel", beam.name), (Atom("is_auth"), node.name)) is Atom("yes")


def test_call_to_unknown_name_on_the_beam(beam: Beam, node: Node) -> None:
    with pytest.raises(NoProcess):
        node.call(("nobody", beam.name), Atom("read"), timeout_s=5)


def test_call_to_unreachable_node(node: Node) -> None:
    with pytest.raises(NoConnection):
        node.call(("any", "nobody@127.0.0.1"), Atom("read"), timeout_s=5)


def test_call_that_the_beam_does_not_answer_times_out(beam: Beam, node: Node) -> None:
    shell = beam.shell()
    shell.eval("register(mute, self())")
    with pytest.raises(CallTimeout):
        node.call(("mute", beam.name), Atom("read"), timeout_s=0.2)


def test_server_that_dies_during_the_call(beam: Beam, node: Node) -> None:
    pid = beam.eval("spawn(fun() -> receive {'$gen_call', _, _} -> exit(overworked) end end)")
    with pytest.raises(ErlangExit) as caught:
        node.call(pid, Atom("work"))
    assert caught.value.reason is Atom("overworked")


def test_node_lost_during_the_call(beam: Beam, node: Node) -> None:
    pid = beam.eval("spawn(fun() -> timer:sleep(20000) end)")
    gevent.spawn_later(0.2, beam.kill)
    with pytest.raises(NoConnection):
        node.call(pid, Atom("work"), timeout_s=10)


# -- links ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("gen_server:cast(P, {stop, normal})", NORMAL),
        ("gen_server:cast(P, {stop, shutdown})", Atom("shutdown")),
        ("gen_server:cast(P, {stop, {shutdown, why}})", (Atom("shutdown"), Atom("why"))),
        ("gen_server:cast(P, {stop, boom})", Atom("boom")),
        ("exit(P, kill)", Atom("killed")),
        ("exit(P, boom)", Atom("boom")),
        ("gen_server:stop(P, gone, 3000)", Atom("gone")),
    ],
)
def test_link_and_monitor_hear_every_end(beam: Beam, counter: Pid, stop: str, reason: object) -> None:
    shell = start_watcher(beam)
    shell.eval("link(P), R = monitor(process, P)", P=counter)
    shell.eval(f"spawn(fun() -> {stop} end)")
    heard = {message[0]: message for message in (shell.eval(NEXT), shell.eval(NEXT))}
    assert heard[Atom("EXIT")] == (Atom("EXIT"), counter, reason)
    assert heard[Atom("DOWN")][2:] == (Atom("process"), counter, reason)
    assert shell.eval("process_info(self(), [links, monitors])") == [
        (Atom("links"), []),
        (Atom("monitors"), []),
    ]


def test_exit_normal_does_not_end_a_process(beam: Beam, node: Node, counter: Pid) -> None:
    beam.eval("exit(P, normal)", P=counter)
    assert beam.eval("gen_server:call(P, read)", P=counter) == 0


def test_normal_end_of_a_linked_beam_process_does_not_end_ours(beam: Beam, node: Node, counter: Pid) -> None:
    beam.eval("spawn(fun() -> link(P) end), timer:sleep(100)", P=counter)
    assert node.is_alive(counter)


def test_crash_of_a_linked_beam_process_ends_ours(beam: Beam, node: Node, counter: Pid) -> None:
    beam.eval("spawn(fun() -> link(P), exit(boom) end), timer:sleep(200)", P=counter)
    assert not node.is_alive(counter)
    assert node.whereis("counter") is None


def test_trapped_exit_is_a_message(beam: Beam, node: Node) -> None:
    shell = beam.shell()
    pid = node.start(Crasher, (Atom("tell"), shell.pid))
    shell.eval("spawn(fun() -> link(P), exit(boom) end)", P=pid)
    gevent.sleep(0.2)
    assert node.is_alive(pid)


def test_link_to_a_dead_process_is_noproc(beam: Beam, node: Node, counter: Pid) -> None:
    node.exit(counter, Atom("kill"))
    shell = start_watcher(beam)
    shell.eval("link(P)", P=counter)
    assert shell.eval(NEXT) == (Atom("EXIT"), counter, Atom("noproc"))


def test_unlink_then_crash_is_not_heard(beam: Beam, node: Node, counter: Pid) -> None:
    shell = start_watcher(beam)
    source = "link(P), unlink(P), link(P), unlink(P), exit(P, boom), receive M -> M after 400 -> nothing end"
    assert shell.eval(source, P=counter) is Atom("nothing")
    assert not node.is_alive(counter)


def test_our_link_to_a_beam_process(beam: Beam, node: Node) -> None:
    class Linker(Crasher):
        def init(self, args):
            self.link(args)
            return []

        def handle_info(self, message, state):
            from erlang_bridge import NoReply

            return NoReply([*state, message])

    theirs = beam.eval("spawn(fun() -> receive {stop, R} -> exit(R) end end)")
    pid = node.start(Linker, theirs)
    node.send(theirs, (Atom("stop"), Atom("boom")))
    assert until(lambda: node.call(pid, Atom("state")) != [])
    assert node.call(pid, Atom("state")) == [(Atom("EXIT"), theirs, Atom("boom"))]


def test_our_link_to_a_dead_beam_process(beam: Beam, node: Node) -> None:
    theirs = beam.eval("P = spawn(fun() -> ok end), timer:sleep(50), P")

    def body(own):
        own.set_trap_exit(True)
        own.link(theirs)
        heard.append(own.receive(timeout_s=3))

    heard: list[object] = []
    node.spawn(body)
    assert until(lambda: heard != [])
    assert heard == [(Atom("EXIT"), theirs, Atom("noproc"))]


# -- monitors ---------------------------------------------------------------------------------


def test_monitor_of_a_dead_pid_and_an_unknown_name(beam: Beam, node: Node, counter: Pid) -> None:
    node.exit(counter, Atom("kill"))
    shell = beam.shell()
    down = shell.eval(f"monitor(process, P), {NEXT}", P=counter)
    assert down[2:] == (Atom("process"), counter, Atom("noproc"))
    down = shell.eval("monitor(process, {nobody, N}), receive M2 -> M2 after 3000 -> nothing end", N=node.name)
    assert down[2:] == (Atom("process"), (Atom("nobody"), node.name), Atom("noproc"))


def test_monitor_by_name_tells_the_name(beam: Beam, node: Node, counter: Pid) -> None:
    shell = beam.shell()
    down = shell.eval(f"monitor(process, {{counter, N}}), exit(P, boom), {NEXT}", N=node.name, P=counter)
    assert down[2:] == (Atom("process"), (Atom("counter"), node.name), Atom("boom"))


def test_demonitor_is_effective(beam: Beam, node: Node, counter: Pid) -> None:
    shell = beam.shell()
    source = "R = monitor(process, P), demonitor(R), exit(P, boom), receive M -> M after 400 -> nothing end"
    assert shell.eval(source, P=counter) is Atom("nothing")
    assert not node.is_alive(counter)


def test_our_monitors(beam: Beam, node: Node) -> None:
    theirs = beam.eval("spawn(fun() -> register(watched, self()), receive {stop, R} -> exit(R) end end)")
    heard: list[object] = []

    def body(own):
        by_pid = own.monitor(theirs)
        by_name = own.monitor(("watched", beam.name))
        unknown = own.monitor(("nobody", beam.name))
        taken_back = own.monitor(theirs)
        own.demonitor(taken_back)
        first = own.receive(timeout_s=3)
        own.send(theirs, (Atom("stop"), Atom("boom")))
        heard.extend([by_pid, by_name, unknown, first, own.receive(timeout_s=3), own.receive(timeout_s=3)])
        with pytest.raises(TimeoutError):
            own.receive(timeout_s=0.3)
        heard.append("done")

    node.spawn(body)
    assert until(lambda: heard[-1:] == ["done"])
    by_pid, by_name, unknown, first, *downs, _ = heard
    nobody = (Atom("nobody"), beam.node)
    assert first == (Atom("DOWN"), unknown, Atom("process"), nobody, Atom("noproc"))
    watched = (Atom("watched"), beam.node)
    assert sorted(downs, key=repr) == sorted(
        [
            (Atom("DOWN"), by_pid, Atom("process"), theirs, Atom("boom")),
            (Atom("DOWN"), by_name, Atom("process"), watched, Atom("boom")),
        ],
        key=repr,
    )


# -- aliases, group leaders, spawn ------------------------------------------------------------


def test_message_to_an_alias_of_ours(beam: Beam, node: Node) -> None:
    heard: list[object] = []

    def body(own):
        alias = own.alias()
        beam_side = own.receive(timeout_s=3)
        own.send(beam_side, alias)
        heard.append(own.receive(timeout_s=3))
        own.unalias(alias)
        own.send(beam_side, Atom("again"))
        with pytest.raises(TimeoutError):
            own.receive(timeout_s=0.3)
        heard.append("done")

    pid = node.spawn(body)
    source = "P ! self(), receive A -> A ! through_alias end, receive again -> A ! too_late end, ok"
    assert beam.shell().eval(source, P=pid) is OK
    assert until(lambda: heard[-1:] == ["done"])
    assert heard[0] is Atom("through_alias")


def test_spawn_variants(beam: Beam, node: Node) -> None:
    ran: list[object] = []
    node.export("work", "run", lambda value: ran.append(value))
    node.export("work", "fail", lambda: 1 / 0)
    shell = start_watcher(beam)
    shell.eval("spawn(N, work, run, [one])", N=node.name)
    pid = shell.eval("spawn_link(N, work, run, [two])", N=node.name)
    assert shell.eval(NEXT) == (Atom("EXIT"), pid, NORMAL)
    pid, reference = shell.eval("spawn_monitor(N, work, fail, [])", N=node.name)
    down = shell.eval("receive M3 -> M3 after 3000 -> nothing end")
    assert down[:4] == (Atom("DOWN"), reference, Atom("process"), pid)
    assert down[4][0] == (Atom("ZeroDivisionError"), b"division by zero")
    source = "R4 = spawn_request(N, work, none, [a], [monitor]), receive {spawn_reply, R4, ok, P4} -> receive {'DOWN', R4, _, P4, Why} -> Why end end"
    undef = shell.eval(source, N=node.name)
    assert undef == (Atom("undef"), [(Atom("work"), Atom("none"), [Atom("a")], [])])
    source = "R5 = spawn_request(N, work, run, [x], [{no_such_option, 1}]), receive {spawn_reply, R5, Kind, Reason} -> {Kind, Reason} after 3000 -> nothing end"
    refused = shell.eval(f"catch begin {source} end", N=node.name)
    assert refused == (Atom("error"), Atom("badopt"))
    assert ran == [Atom("one"), Atom("two")]


# -- connection loss --------------------------------------------------------------------------


def test_killed_beam_is_noconnection_once_for_links_and_monitors(beam: Beam, node: Node) -> None:
    theirs = beam.eval("spawn(fun() -> receive stop -> ok end end)")
    heard: list[object] = []

    def body(own):
        own.set_trap_exit(True)
        own.link(theirs)
        own.monitor(theirs)
        own.monitor(("watched", beam.name))
        own.receive(timeout_s=3)
        while True:
            heard.append(own.receive(timeout_s=20))

    node.spawn(body)
    node.connect(beam.name)
    gevent.sleep(0.2)
    beam.kill()
    assert until(lambda: len(heard) >= 2)
    gevent.sleep(0.3)
    kinds = [(message[0], message[-1]) for message in heard]
    noconnection = Atom("noconnection")
    assert sorted(kinds, key=repr) == [(Atom("DOWN"), noconnection), (Atom("EXIT"), noconnection)]
    assert node.nodes() == []


def test_restarted_beam_is_reconnected_and_old_pids_are_dead(beam: Beam, node: Node) -> None:
    old = beam.eval("spawn(fun() -> receive stop -> ok end end)")
    assert node.ping(beam.name) == "pong"
    beam.kill()
    assert until(lambda: node.nodes() == [])
    beam.restart()
    assert node.ping(beam.name) == "pong"
    with pytest.raises(NoProcess):
        node.call(old, Atom("work"), timeout_s=3)
    assert beam.eval("nodes()") == [node.name]


@pytest.mark.slow
def test_frozen_beam_is_dropped_within_ticktime(beam_factory, node_factory: NodeFactory) -> None:
    beam = beam_factory(arguments=["-kernel", "net_ticktime", "4"])
    node = node_factory(options=NetOptions(net_ticktime_s=4))
    theirs = beam.eval("spawn(fun() -> receive stop -> ok end end)")
    heard: list[object] = []

    def body(own):
        own.monitor(theirs)
        heard.append(own.receive(timeout_s=20))

    node.spawn(body)
    node.connect(beam.name)
    gevent.sleep(0.2)
    beam.freeze()
    try:
        assert until(lambda: heard != [], 8)
    finally:
        beam.thaw()
    assert heard[0][-1] is Atom("noconnection")


@pytest.mark.slow
def test_blocked_handler_does_not_stop_ticks(beam_factory, node_factory: NodeFactory) -> None:
    beam = beam_factory(arguments=["-kernel", "net_ticktime", "4"])
    node = node_factory(options=NetOptions(net_ticktime_s=4))
    counter = node.start(Counter, 0)
    shell = beam.shell()
    shell.eval("net_kernel:monitor_nodes(true, [{node_type, all}])")
    assert shell.eval("gen_server:call(P, read)", P=counter) == 0
    pending = beam.begin("gen_server:call(P, {block, 7.0}, infinity)", P=counter)
    assert pending.result(15) is OK
    assert shell.eval("receive {nodedown, _, _} -> lost after 0 -> connected end") is Atom("connected")
    assert beam.eval("gen_server:call(P, read)", P=counter) == 0


def test_undecodable_message_costs_only_itself(beam: Beam, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    from dataclasses import dataclass

    from erlang_bridge import struct

    @struct("Elixir.Tests.Strict")
    @dataclass(frozen=True)
    class Strict:
        known: int

    counter = node.start(Counter, 0, name="counter")
    beam.eval("{counter, N} ! #{'__struct__' => 'Elixir.Tests.Strict', unknown => 1}, ok", N=node.name)
    assert beam.eval("gen_server:call(P, read)", P=counter) == 0
    assert beam.eval("nodes()") == [node.name]
    lines = [record for record in caplog.records if "was dropped" in record.getMessage()]
    assert len(lines) == 1
