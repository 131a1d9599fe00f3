"""What other nodes ask a node about itself, beside what a BEAM answers to the same questions."""

from __future__ import annotations

import gc
import os
import socket
import time
from typing import Any

import pytest

from erlang_bridge import Atom, ErlangError, Node, OwnProcess
from erlang_bridge.kernel.statistics import MEMORY_TYPES, STATISTICS
from erlang_bridge.kernel.system_info import ITEMS
from tests.fix_node import NodeFactory
from tests.servers import Counter
from tests.waiting import until

Ask = Any
OK = Atom("ok")
UNDEFINED = Atom("undefined")

BOTH = """
    Ask = fun(M) -> [{I, try erpc:call(M, erlang, F, [I]) catch error:{exception, badarg, _} -> badarg end} || I <- Items] end,
    {Ask(node()), Ask(N)}
"""


@pytest.fixture
def ask(shared_beam: Any, node: Node) -> Ask:
    """Calls a function on the Python node, from a BEAM: ``ask("erlang", "nodes")``."""

    def call(module: str, function: str, *arguments: Any) -> Any:
        return shared_beam.eval(
            "erpc:call(N, M, F, A)", N=node.name, M=Atom(module), F=Atom(function), A=list(arguments)
        )

    return call


def reason_of(ask: Ask, *call: Any) -> Any:
    with pytest.raises(ErlangError) as caught:
        ask(*call)
    return caught.value.reason[1]


def kind(value: Any) -> Any:
    """A term's type as a tool cares for it: a string is not a list of other things, an atom no string."""
    if isinstance(value, tuple):
        return tuple(map(kind, value))
    if isinstance(value, (bool, Atom)):
        return Atom
    if isinstance(value, list):
        return [kind(value[0])] if value and not isinstance(value[0], (list, tuple)) else list
    return type(value)


# -- system_info -------------------------------------------------------------------------------


def test_system_info_has_the_types_of_a_beams(shared_beam: Any, node: Node):
    words = Atom("wordsize")
    items = [*map(Atom, ITEMS), (words, Atom("internal")), (words, Atom("external"))]
    theirs, ours = shared_beam.eval(BOTH, N=node.name, F=Atom("system_info"), Items=items)
    their_kinds = {item: value for item, value in theirs if value is not Atom("badarg")}
    assert len(their_kinds) > 60
    mixed = {
        "allocator",
        "check_io",
        "cpu_topology",
        "dist_ctrl",
        "heap_sizes",
        "c_compiler_used",
        "scheduler_bindings",
    }
    mixed |= {"system_logger", "delayed_node_table_gc"}
    for item, value in ours:
        assert value is not Atom("badarg"), item
        if item in their_kinds and not (isinstance(item, Atom) and item.name in mixed):
            assert kind(value) == kind(their_kinds[item]), item


def test_system_info_is_of_this_machine(ask: Ask, node: Node):
    assert ask("erlang", "system_info", Atom("logical_processors")) == os.cpu_count()
    assert ask("erlang", "system_info", Atom("creation")) == node.creation
    assert ask("erlang", "system_info", Atom("process_count")) == len(node.table.processes) + 1
    assert int("".join(map(chr, ask("erlang", "system_info", Atom("otp_release"))))) >= 26
    assert "pyanoma" in "".join(map(chr, ask("erlang", "system_info", Atom("system_version"))))
    assert b"=proc:" in ask("erlang", "system_info", Atom("procs"))
    assert b"Name: rex" in ask("erlang", "system_info", Atom("procs"))
    assert b"tests.servers" in ask("erlang", "system_info", Atom("loaded"))


def test_allocators_of_system_info(ask: Ask):
    names = ask("erlang", "system_info", Atom("alloc_util_allocators"))
    sizes = ask("erlang", "system_info", (Atom("allocator_sizes"), names))
    assert [name for name, _ in sizes] == names
    assert ask("erlang", "system_info", (Atom("allocator"), names[0]))[0][:2] == (Atom("instance"), 0)
    assert ask("erlang", "system_info", (Atom("allocator"), Atom("none"))) is False


@pytest.mark.parametrize("item", [Atom("nonsense"), 5, (Atom("wordsize"), Atom("inner")), [Atom("version")]])
def test_an_unknown_item_is_badarg(ask: Ask, item: Any):
    assert reason_of(ask, "erlang", "system_info", item) is Atom("badarg")
    assert reason_of(ask, "erlang", "statistics", item) is Atom("badarg")


# -- statistics, memory ------------------------------------------------------------------------


def test_statistics_has_the_types_of_a_beams(shared_beam: Any, node: Node):
    items = [Atom(name) for name in STATISTICS]
    theirs, ours = shared_beam.eval(BOTH, N=node.name, F=Atom("statistics"), Items=items)
    # Scheduler times are always on here; microstates are counted by nobody.
    mixed = {"scheduler_wall_time", "scheduler_wall_time_all", "microstate_accounting"}
    for (item, value), (_, their_value) in zip(ours, theirs, strict=True):
        if item.name not in mixed:
            assert kind(value) == kind(their_value), item


def test_statistics_grow(ask: Ask, node: Node):
    def told(item: str) -> Any:
        return ask("erlang", "statistics", Atom(item))

    (_, received), (_, sent) = told("io")
    turns, _ = told("reductions")
    wall_ms, _ = told("wall_clock")
    assert ask("erlang", "memory", Atom("total")) > 0
    (_, received_later), (_, sent_later) = told("io")
    assert received < received_later
    assert sent < sent_later
    assert told("reductions")[0] > turns
    later_ms, since_ms = told("wall_clock")
    assert later_ms - wall_ms == since_ms
    assert ask("erlang", "system_flag", Atom("scheduler_wall_time"), True) is True
    ((_, active, total), _) = told("scheduler_wall_time")
    assert 0 < active <= total
    assert reason_of(ask, "erlang", "system_flag", Atom("schedulers_online"), 2) is Atom("badarg")


def test_bytes_of_closed_connections_count(beam: Any, node: Node):
    beam.eval("erpc:call(N, erlang, send, [{nobody, N}, B])", N=node.name, B=bytes(100_000))
    beam.eval("erlang:disconnect_node(N)", N=node.name)
    assert until(lambda: not node.nodes("connected"))
    received, sent = node.statistics.bytes_in_out()
    assert received > 100_000
    # It sends its message back.
    assert sent > 100_000


def test_memory(ask: Ask, shared_beam: Any):
    told = ask("erlang", "memory")
    assert [key.name for key, _ in told] == [key.name for key, _ in shared_beam.eval("erlang:memory()")]
    sizes = {key.name: value for key, value in told}
    assert tuple(sizes) == MEMORY_TYPES
    assert sizes["total"] == sizes["processes"] + sizes["system"]
    assert sizes["total"] > sizes["code"] > 0
    assert min(sizes.values()) >= 0
    assert type(ask("erlang", "memory", Atom("atom"))) is int
    assert [key.name for key, _ in ask("erlang", "memory", [Atom("ets"), Atom("total")])] == ["ets", "total"]
    assert reason_of(ask, "erlang", "memory", Atom("nonsense")) is Atom("badarg")
    assert reason_of(ask, "erlang", "memory", [Atom("total"), 1]) is Atom("badarg")


def test_memory_of_many_processes_is_an_estimate_of_all(ask: Ask, node: Node):
    (_, few) = ask("erlang", "memory", [Atom("processes")])[0]
    for number in range(1500):
        node.start(Counter, number)
    (_, many) = ask("erlang", "memory", [Atom("processes")])[0]
    assert 200 < (many - few) / 1500 < 1000


# -- processes ---------------------------------------------------------------------------------


def test_registered_and_group_leaders(ask: Ask, node: Node, shared_beam: Any):
    pid = node.start(Counter, name="counted")
    assert {Atom("counted"), Atom("rex"), Atom("net_kernel")} <= set(ask("erlang", "registered"))
    leader = shared_beam.eval("{group_leader(), erpc:call(N, erlang, group_leader, [])}", N=node.name)
    assert leader[0] == leader[1]
    assert ask("erlang", "group_leader", leader[0], pid) is True
    assert ask("erlang", "process_info", pid, Atom("group_leader"))[1] == leader[0]
    assert reason_of(ask, "erlang", "group_leader", leader[0], Atom("counted")) is Atom("badarg")


def test_exit_and_send(ask: Ask, node: Node):
    heard: list[Any] = []

    def listener(own: OwnProcess) -> None:
        own.set_trap_exit(True)
        while True:
            heard.append(own.receive())

    pid = node.spawn(listener)
    assert ask("erlang", "send", pid, 1) == 1
    assert ask("erlang", "exit", pid, Atom("please")) is True
    assert until(lambda: len(heard) == 2)
    assert heard[0] == 1
    assert heard[1][::2] == (Atom("EXIT"), Atom("please"))
    assert ask("erlang", "exit", pid, Atom("kill")) is True
    assert until(lambda: not node.is_alive(pid))
    assert reason_of(ask, "erlang", "exit", Atom("x"), Atom("kill")) is Atom("badarg")
    assert reason_of(ask, "erlang", "send", 5, 1) is Atom("badarg")
    assert reason_of(ask, "erlang", "send", Atom("nobody"), 1) is Atom("badarg")


def test_collecting_garbage_costs_little_however_often(shared_beam: Any, node: Node):
    pids = [node.start(Counter, number) for number in range(100)]
    collected: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2:
            collected.append(1)

    node.statistics.garbage_collect()
    gc.callbacks.append(note)
    try:
        began = time.monotonic()
        source = "lists:usort([erpc:call(N, erlang, garbage_collect, [P]) || P <- Ps])"
        assert shared_beam.eval(source, N=node.name, Ps=pids) == [True]
        assert len(collected) <= time.monotonic() - began + 1
    finally:
        gc.callbacks.remove(note)


def test_answers_of_garbage_collect(shared_beam: Any, node: Node, ask: Ask):
    pid, dead = node.start(Counter), node.start(Counter)
    node.exit(dead, Atom("kill"))
    assert ask("erlang", "garbage_collect") is True
    assert ask("erlang", "garbage_collect", dead) is False
    assert ask("erlang", "garbage_collect", pid, [(Atom("type"), Atom("minor"))]) is True
    assert reason_of(ask, "erlang", "garbage_collect", Atom("rex")) is Atom("badarg")
    assert reason_of(ask, "erlang", "garbage_collect", pid, [Atom("now")]) is Atom("badarg")
    source = "async = erpc:call(N, erlang, garbage_collect, [P, [{async, 7}]])"
    assert shared_beam.eval(source, N=node.name, P=pid) is Atom("async")


def test_initial_calls(ask: Ask, node: Node):
    pid, body = node.start(Counter), node.spawn(lambda own: own.receive())
    module = Atom("tests.servers.Counter")
    assert ask("proc_lib", "translate_initial_call", pid) == (module, Atom("init"), 1)
    assert ask("proc_lib", "initial_call", pid) == (module, Atom("init"), [Atom("Argument__1")])
    assert ask("proc_lib", "translate_initial_call", body) == (Atom("proc_lib"), Atom("init_p"), 5)
    assert ask("proc_lib", "initial_call", body) is False
    node.send(body, None)


# -- nodes -------------------------------------------------------------------------------------


def test_nodes(ask: Ask, node: Node, shared_beam: Any, beam_factory: Any):
    hidden = beam_factory(hidden=True)
    hidden.eval("net_adm:ping(N)", N=node.name)
    visible = shared_beam.node
    assert ask("erlang", "nodes") == [visible]
    assert ask("erlang", "nodes", Atom("hidden")) == [hidden.node]
    assert set(ask("erlang", "nodes", Atom("connected"))) == {visible, hidden.node}
    assert ask("erlang", "nodes", [Atom("this"), Atom("visible")]) == [node.name, visible]
    assert set(ask("erlang", "nodes", Atom("known"))) == {node.name, visible, hidden.node}
    assert reason_of(ask, "erlang", "nodes", Atom("all")) is Atom("badarg")
    assert ask("erlang", "is_alive") is True
    assert ask("erlang", "node", node.whereis("rex")) is node.name
    assert ask("net_adm", "ping", hidden.node) is Atom("pong")
    assert ask("net_adm", "ping", Atom("nobody@127.0.0.1")) is Atom("pang")


def test_names_and_hosts(ask: Ask, node: Node, shared_beam: Any):
    ok, names = ask("net_adm", "names")
    assert ok is OK
    known = {"".join(map(chr, name)): port for name, port in names}
    assert node.name.name.partition("@")[0] in known
    assert known == {
        "".join(map(chr, name)): port for name, port in shared_beam.eval("element(2, net_adm:names({127,0,0,1}))")
    }
    assert "".join(map(chr, ask("net_adm", "localhost"))) == "127.0.0.1"
    ok, host = ask("inet", "gethostname")
    assert "".join(map(chr, host)) == socket.gethostname().partition(".")[0]
    assert ask("net_kernel", "get_net_ticktime") == 60


# -- time --------------------------------------------------------------------------------------


def test_time(ask: Ask):
    assert abs(ask("erlang", "system_time", Atom("second")) - time.time()) < 5
    assert abs(ask("os", "system_time", Atom("millisecond")) / 1000 - time.time()) < 5
    before = ask("erlang", "monotonic_time")
    assert before < ask("erlang", "monotonic_time")
    assert ask("erlang", "monotonic_time", 1000) >= before // 1_000_000
    assert reason_of(ask, "erlang", "monotonic_time", Atom("fortnight")) is Atom("badarg")
    (year, month, day), (hour, _, _) = ask("erlang", "localtime")
    assert (year, month, day) == ask("erlang", "date")
    assert 0 <= hour < 24
    assert len(ask("erlang", "universaltime")) == 2
    megaseconds, seconds, _ = ask("os", "timestamp")
    assert abs(megaseconds * 1_000_000 + seconds - time.time()) < 5


# -- what is nobody's business, and the end ----------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        ("erlang", "get_cookie"),
        ("auth", "get_cookie"),
        ("os", "getenv"),
        ("os", "getenv", [ord("a")]),
        ("os", "cmd", [ord("a")]),
        ("erlang", "open_port", (Atom("spawn"), [ord("a")]), []),
        ("file", "read_file", [ord("a")]),
    ],
)
def test_secrets_stay_here(ask: Ask, call: tuple[Any, ...]):
    assert reason_of(ask, *call) is Atom("undef")


def test_arguments_stay_here(ask: Ask):
    assert ask("init", "get_arguments") == ask("init", "get_plain_arguments") == []
    assert ask("init", "get_argument", Atom("setcookie")) is Atom("error")


@pytest.mark.parametrize("call", ["init, stop, []", "init, stop, [0]", "erlang, halt, []", "erlang, halt, [0]"])
def test_a_node_can_be_stopped(shared_beam: Any, node_factory: NodeFactory, call: str):
    node = node_factory()
    shared_beam.eval(f"monitor_node(N, true), rpc:cast(N, {call}), receive {{nodedown, N}} -> ok end", N=node.name)
    assert node.stopped
    assert node.wait(5)
