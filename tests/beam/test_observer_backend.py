"""What OTP's observer and etop ask, asked by real BEAMs in their own words; etop itself, in text mode."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, ChildSpec, GenServer, Node, OwnProcess, Pid, Reply, Supervisor, SupervisorFlags
from erlang_bridge.runtime_tools.observer_backend import PROCESSES_A_CHUNK
from erlang_bridge.testing import BeamRelease
from erlang_bridge.testing.plugin import BeamFactory
from erlang_bridge.testing.programs import free_port
from tests.servers import Counter
from tests.waiting import until

NORMAL = Atom("normal")
UNDEFINED = Atom("undefined")
GEN_SERVER_LOOP = (Atom("gen_server"), Atom("loop"), 7)
FIRST_WITH_LABELS = 27

SYS_INFO_KEYS = {
    "uptime",
    "run_queue",
    "io_input",
    "io_output",
    "logical_processors",
    "logical_processors_online",
    "logical_processors_available",
    "schedulers",
    "schedulers_online",
    "schedulers_available",
    "otp_release",
    "version",
    "system_architecture",
    "kernel_poll",
    "smp_support",
    "threads",
    "thread_pool_size",
    "wordsize_internal",
    "wordsize_external",
    "alloc_info",
    "atom_limit",
    "atom_count",
    "process_limit",
    "process_count",
    "port_limit",
    "port_count",
    "ets_limit",
    "ets_count",
    "dist_buf_busy_limit",
    "total",
    "processes",
    "processes_used",
    "system",
    "atom",
    "atom_used",
    "binary",
    "code",
    "ets",
}

PROCESS_WINDOW = """
    Of = fun(M, F, A) -> rpc:call(N, M, F, A) end,
    Keys = [binary, catchlevel, current_function, error_handler, garbage_collection, group_leader, heap_size,
            initial_call, last_calls, links, memory, message_queue_len, monitored_by, monitors, priority, reductions,
            registered_name, sequential_trace_token, stack_size, status, suspending, total_heap_size, trace, trap_exit],
    Name = Of(erlang, process_info, [P, registered_name]),
    Label = Of(proc_lib, get_label, [P]),
    8 = Of(erlang, system_info, [wordsize]),
    Info = Of(erlang, process_info, [P, Keys]),
    Keys = [K || {K, _} <- Info],
    {messages, Messages} = Of(erlang, process_info, [P, messages]),
    {dictionary, Dictionary} = Of(erlang, process_info, [P, dictionary]),
    {current_stacktrace, Stack} = Of(erlang, process_info, [P, current_stacktrace]),
    {M, _, _} = Of(proc_lib, translate_initial_call, [P]),
    State = case M of
        proc_lib -> [];
        _ ->
            Attributes = Of(M, module_info, [attributes]),
            true = is_list(Attributes),
            case Of(sys, get_status, [P, 200]) of
                {status, P, {module, _}, [_, _, _, _, [Header, {data, First}, {data, Second} | _]]} ->
                    [{"Behaviour", lists:keyfind(behaviour, 1, Attributes)}, Header] ++ First ++ Second;
                {badrpc, {'EXIT', {timeout, _}}} -> timeout
            end
    end,
    {Name, Label, maps:from_list(Info), Messages, Dictionary, Stack, State}
"""
"""What the window of a process asks, in its order and with what it insists on (``observer_procinfo.erl``)."""


def text(characters: Any) -> str:
    return "".join(map(chr, characters))


def named(pairs: Any) -> dict[str, Any]:
    return {key.name: value for key, value in pairs}


class Secretive(GenServer):
    """Puts itself to sleep, or waits for something else than a message, on request."""

    def init(self, args: Any) -> dict[str, Any]:
        self.set_label("the secretive one")
        return {"kept": args}

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        gevent.sleep(request)
        return Reply(None, state)


# -- the System and Memory Allocators tabs -----------------------------------------------------


def test_system_information(shared_beam: Any, node: Node):
    told = shared_beam.eval("rpc:call(N, observer_backend, sys_info, [])", N=node.name)
    info = named(told)
    assert set(info) == SYS_INFO_KEYS
    assert len(info) == len(told)
    for name in ("atom", "process", "port", "ets"):
        assert 0 <= info[f"{name}_count"] < info[f"{name}_limit"]
    # One of them is that which asks.
    assert info["process_count"] == len(node.table.processes) + 1
    assert text(info["otp_release"]).startswith("pyanoma ")
    assert text(info["version"]).startswith("CPython 3.")
    assert info["total"] == info["processes"] + info["system"]
    assert info["total"] > info["code"] > 1_000_000
    assert info["io_input"] > 0 < info["io_output"]


def test_each_allocator_has_carriers(shared_beam: Any, node: Node):
    source = """
        Sizes = [{T, BS, CS} || {T, [{instance, 0, [{mbcs, [{blocks, [{T, [{size, BS, _, _}]}]}, {carriers_size, CS, _, _}]},
                                                   {sbcs, [{blocks, []}, {carriers_size, 0, 0, 0}]}]}]}
                    <- proplists:get_value(alloc_info, rpc:call(N, observer_backend, sys_info, []))],
        Sizes
    """
    sizes = {name.name: (used, held) for name, used, held in shared_beam.eval(source, N=node.name)}
    assert set(sizes) == {"pymalloc", "libc_malloc", "mapped"}
    assert all(0 < used <= held for used, held in sizes.values())
    kept = [bytes(100) for _ in range(100_000)]
    after = {name.name: used for name, used, _ in shared_beam.eval(source, N=node.name)}
    assert after["pymalloc"] - sizes["pymalloc"][0] > 10_000_000
    del kept


def test_the_same_items_as_a_beam_has(beam_factory: BeamFactory, beam_releases: list[BeamRelease], node: Node):
    full = next(release for release in beam_releases if release.compiler)
    beam = beam_factory(release=full)
    theirs, ours = beam.eval("[rpc:call(M, observer_backend, sys_info, []) || M <- [node(), N]]", N=node.name)
    assert named(ours).keys() == named(theirs).keys()
    for key, value in named(theirs).items():
        assert type(named(ours)[key]) is type(value), key


def test_version(shared_beam: Any, node: Node):
    ok, version = shared_beam.eval("rpc:call(N, observer_backend, vsn, [])", N=node.name)
    assert ok is Atom("ok")
    assert text(version)[0].isdigit()


# -- the Load Charts tab -----------------------------------------------------------------------


def test_samples_until_a_message_comes(shared_beam: Any, node: Node):
    source = """
        process_flag(trap_exit, true),
        P = spawn_link(N, observer_backend, fetch_stats, [self(), 30]),
        Samples = [receive {stats, 1, S, {{input, I}, {output, O}}, M} -> {S, I, O, M} end || _ <- [1, 2, 3]],
        P ! exit,
        Reason = receive {'EXIT', P, R} -> R end,
        {P, Reason, Samples}
    """
    pending = shared_beam.begin(source, N=node.name)
    burn_until = time.monotonic() + 0.1
    gevent.sleep(0.03)
    while time.monotonic() < burn_until:
        gevent.sleep(0)
    pid, reason, samples = pending.result(10)
    assert reason is NORMAL
    assert not node.is_alive(pid)
    assert len({tuple(number for number, _, _ in schedulers) for schedulers, *_ in samples}) == 1
    for (before, in_before, out_before, _), (after, in_after, out_after, memory) in pairwise(samples):
        for (_, active, total), (_, next_active, next_total) in zip(before, after, strict=True):
            assert total < next_total
            assert active <= next_active
        assert in_before <= in_after
        assert out_before < out_after
        assert list(named(memory))[:6] == ["total", "processes", "atom", "binary", "code", "ets"]
    assert samples[-1][0][0][1] > samples[0][0][0][1]
    dirty = shared_beam.eval("rpc:call(N, erlang, system_info, [dirty_cpu_schedulers])", N=node.name)
    assert len(samples[0][0]) == 1 + dirty


def test_samples_end_with_the_observer(shared_beam: Any, node: Node):
    source = """
        Me = self(),
        spawn(fun() -> Me ! spawn_link(N, observer_backend, fetch_stats, [self(), 20]), receive {stats, _, _, _, _} -> exit(gone) end end),
        receive P -> P end
    """
    pid = shared_beam.eval(source, N=node.name)
    assert until(lambda: not node.is_alive(pid))


def test_samples_end_with_an_observer_that_is_not_linked(shared_beam: Any, node: Node):
    source = """
        Me = self(),
        spawn(fun() -> Me ! spawn(N, observer_backend, fetch_stats, [self(), 20]), receive {stats, _, _, _, _} -> exit(gone) end end),
        receive P -> P end
    """
    pid = shared_beam.eval(source, N=node.name)
    assert until(lambda: not node.is_alive(pid))


# -- the Processes tab -------------------------------------------------------------------------

LIST = """
    process_flag(trap_exit, true),
    true = rpc:call(N, erlang, function_exported, [observer_backend, procs_info, 1]),
    P = spawn_link(N, observer_backend, procs_info, [self()]),
    Loop = fun Loop(Acc) -> receive {procs_info, P, Rows} -> Loop([Rows | Acc]); {'EXIT', P, Reason} -> {P, Reason, Acc} end end,
    Loop([])
"""


def test_all_processes_in_pieces(shared_beam: Any, node: Node):
    pids = {node.start(Counter, number) for number in range(2 * PROCESSES_A_CHUNK)}
    asking, reason, chunks = shared_beam.eval(LIST, N=node.name)
    rows = [row for chunk in chunks for row in chunk]
    assert reason is NORMAL
    assert len(chunks) >= 3
    assert max(map(len, chunks)) <= PROCESSES_A_CHUNK
    shown = [row[1] for row in rows]
    assert len(shown) == len(set(shown))
    assert pids < set(shown)
    assert asking not in shown
    assert {len(row) for row in rows} == {8}


def test_a_row(shared_beam: Any, node: Node):
    def sleeper(own: OwnProcess) -> None:
        own.receive(lambda message: message is NORMAL)

    server, body = node.start(Counter, name="counted"), node.spawn(sleeper)
    anonymous = node.start(Counter, 5)
    for message in range(3):
        node.send(body, message)
    node.call(server, Atom("read"))
    _, _, chunks = shared_beam.eval(LIST, N=node.name)
    rows = {row[1]: row for chunk in chunks for row in chunk}
    tag, _, memory, reductions, name, runtime, current, queue = rows[server]
    assert (tag, name, runtime, current, queue) == (
        Atom("etop_proc_info"),
        Atom("counted"),
        0,
        GEN_SERVER_LOOP,
        0,
    )
    assert memory > 100
    assert reductions == 2
    assert rows[anonymous][4] == (Atom("tests.servers.Counter"), Atom("init"), 1)
    assert rows[body][4][1].name.endswith("sleeper")
    assert rows[body][6][1].name.endswith("sleeper")
    node.send(body, NORMAL)


def test_labels_for_tools_that_can_show_them(shared_beam: Any, node: Node):
    pid = node.start(Secretive, 1)
    _, _, chunks = shared_beam.eval(LIST, N=node.name)
    (name,) = [row[4] for chunk in chunks for row in chunk if row[1] == pid]
    if shared_beam.release.otp >= FIRST_WITH_LABELS:
        assert name == b"the secretive one"
    else:
        # They crash when they sort by such a name.
        assert name == (Atom(f"{__name__}.Secretive"), Atom("init"), 1)


def test_the_old_list(shared_beam: Any, node: Node):
    source = """
        process_flag(trap_exit, true),
        P = spawn_link(N, observer_backend, etop_collect, [self()]),
        Told = receive {P, Info} -> Info end,
        {Told, receive {'EXIT', P, R} -> R end}
    """
    pids = {node.start(Counter, number) for number in range(PROCESSES_A_CHUNK)}
    info, reason = shared_beam.eval(source, N=node.name)
    tag, now, count, wall_clock, runtime, run_queue, areas, memory, rows = info
    assert (tag, wall_clock, areas, reason) == (Atom("etop_info"), UNDEFINED, [], NORMAL)
    assert abs(now[0] * 1_000_000 + now[1] - time.time()) < 10
    assert count == len(rows) > PROCESSES_A_CHUNK
    assert pids < {row[1] for row in rows}
    assert [number for number, _, _ in runtime] == [1, 2]
    assert run_queue >= 0
    assert set(named(memory)) == {"total", "processes", "ets", "atom", "code", "binary"}


@pytest.mark.parametrize(
    "call",
    ["fetch_stats, [x, 500]", "fetch_stats, [self(), soon]", "fetch_stats, [self(), 1 bsl 32]", "procs_info, [x]"],
)
def test_nonsense_is_badarg(shared_beam: Any, node: Node, call: str):
    source = f"element(1, element(2, element(2, rpc:call(N, observer_backend, {call}))))"
    assert shared_beam.eval(source, N=node.name) is Atom("badarg")


# -- the window of a process -------------------------------------------------------------------


def window(shared_beam: Any, node: Node, pid: Pid) -> Any:
    return shared_beam.eval(PROCESS_WINDOW, N=node.name, P=pid)


def test_the_window_of_a_server(shared_beam: Any, node: Node):
    pid = node.start(Counter, 42, name="counted")
    node.call(pid, (Atom("add"), 1))
    name, label, info, messages, dictionary, stack, state = window(shared_beam, node, pid)
    assert name == (Atom("registered_name"), Atom("counted"))
    assert label is UNDEFINED
    assert info[Atom("monitors")] == info[Atom("links")] == messages == []
    entries = dict(dictionary)
    assert entries[Atom("$initial_call")] == (Atom("tests.servers.Counter"), Atom("init"), 1)
    counters = {key.name: value for key, value in entries[Atom("$pyanoma")].items()}
    assert (counters["messages"], counters["turns"]) == (2, 2)
    assert counters["run_time_us"] >= counters["longest_turn_us"] > 0
    assert stack[0][:3] == GEN_SERVER_LOOP
    assert (Atom("tests.servers"), Atom("Counter.handle_call"), 3) in [entry[:3] for entry in stack]
    assert all(text(dict(entry[3])[Atom("file")]).endswith(".py") for entry in stack)
    assert state[0][1] == (Atom("behaviour"), [Atom("gen_server")])
    assert ([ord(c) for c in "State"], 43) in state


def test_the_window_of_a_supervisor(shared_beam: Any, node: Node):
    children = [ChildSpec("one", (Counter, 1)), ChildSpec("two", (Counter, 2))]
    pid = node.start(Supervisor, (SupervisorFlags(), children), name="boss")
    _, _, info, _, dictionary, _, state = window(shared_beam, node, pid)
    assert len(info[Atom("links")]) == 2
    assert dict(dictionary)[Atom("$initial_call")][0] is Atom("supervisor")
    assert state


def test_the_window_of_a_function(shared_beam: Any, node: Node):
    def sleeper(own: OwnProcess) -> None:
        own.receive()

    pid = node.spawn(sleeper)
    *_, stack, state = window(shared_beam, node, pid)
    assert stack[0][1].name.endswith("sleeper")
    assert state == []
    node.send(pid, None)


def test_the_windows_of_all_that_every_node_has(shared_beam: Any, node: Node):
    shell = shared_beam.shell()
    sampler = shell.eval("spawn(N, observer_backend, fetch_stats, [self(), 10000])", N=node.name)
    assert until(lambda: node.table.find(sampler).greenlet is not None)  # type: ignore[union-attr]
    for process in list(node.table.processes.values()):
        *_, stack, state = window(shared_beam, node, process.pid)
        assert stack
        assert state != Atom("timeout")
    *_, stack, _ = window(shared_beam, node, sampler)
    assert stack[0][:2] == (Atom("erlang_bridge.runtime_tools.observer_backend"), Atom("fetch_stats"))
    shell.end()


def test_the_window_of_a_server_that_is_busy(shared_beam: Any, node: Node):
    pid = node.start(Secretive, 7)
    client = gevent.spawn(node.call, pid, 2.0)
    assert until(lambda: node.table.find(pid).greenlet is not None)  # type: ignore[union-attr]
    node.send(pid, (Atom("waits"), 1))
    name, label, info, messages, _, stack, state = window(shared_beam, node, pid)
    assert (name, label) == ([], b"the secretive one")
    assert info[Atom("current_function")] == (Atom(__name__), Atom("Secretive.handle_call"), 3)
    assert dict(stack[0][3])[Atom("line")] == Secretive.handle_call.__code__.co_firstlineno + 1
    assert messages == [(Atom("waits"), 1)]
    assert ([ord(c) for c in "State"], {b"kept": 7}) in state
    client.kill()


def test_the_window_of_one_of_a_class_that_no_module_has(shared_beam: Any, node: Node):
    class Local(GenServer):
        pass

    *_, state = window(shared_beam, node, node.start(Local, 5))
    assert state[0][1] == (Atom("behaviour"), [Atom("gen_server")])
    assert ([ord(c) for c in "State"], 5) in state


def test_the_window_of_one_with_much_mail(shared_beam: Any, node: Node):
    pid = node.start(Secretive, 7)
    client = gevent.spawn(node.call, pid, 2.0)
    assert until(lambda: node.table.find(pid).greenlet is not None)  # type: ignore[union-attr]
    for number in range(5000):
        node.send(pid, number)
    _, _, info, messages, *_ = window(shared_beam, node, pid)
    assert info[Atom("message_queue_len")] == 5000
    assert messages == [*range(1000), b"... and 4000 more"]
    client.kill()
    node.exit(pid, Atom("kill"))


def test_a_dead_process(shared_beam: Any, node: Node):
    pid = node.start(Counter)
    node.exit(pid, Atom("kill"))
    source = """
        {rpc:call(N, erlang, process_info, [P, registered_name]), rpc:call(N, proc_lib, translate_initial_call, [P]),
         rpc:call(N, proc_lib, initial_call, [P]), rpc:call(N, proc_lib, get_label, [P])}
    """
    told = shared_beam.eval(source, N=node.name, P=pid)
    assert told == (UNDEFINED, (Atom("proc_lib"), Atom("init_p"), 5), False, UNDEFINED)


# -- etop --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tracing", ["off", "on"])
def test_etop(beam_factory: BeamFactory, beam_releases: list[BeamRelease], node: Node, tracing: str):
    """The real one, of the lowest release that has it, in the BEAM of this test."""
    beam = beam_factory()
    if beam.eval("code:which(etop)") is Atom("non_existing"):
        _lend_etop(beam, beam_factory, beam_releases)
    pid = node.start(Counter, 1, name="counted")
    source = """
        spawn(fun() ->
            group_leader(whereis(user), self()),
            etop:start([{node, N}, {output, text}, {tracing, T}, {interval, 1}, {lines, 100}, {port, P}])
        end)
    """
    beam.eval(source, N=node.name, T=Atom(tracing), P=free_port())
    client = gevent.spawn(_keep_calling, node, pid)
    try:
        line = beam.wait_for_log(r"^\S+ +counted +(\S+) +(\d+) +(\d+) +0 gen_server:loop/7", 15)
        assert int(line[3]) > 100
        # The second time it has something to compare with.
        busy = beam.wait_for_log(r"(?s)counted.*^\S+ +counted +(\S+) +([1-9]\d*) +\d+ +0 gen_server:loop/7", 15)
        if tracing == "on":
            assert int(busy[1]) > 0
        else:
            # OTP 27 traces other nodes whatever it is told.
            assert busy[1] == "'-'" or beam.release.otp == 27
        assert "Load:  cpu" in beam.log_text()
    finally:
        client.kill()
    beam.eval("etop:stop()")
    beam.wait_until("whereis(etop_server) =:= undefined")
    assert "garbage" not in beam.log_text()


def _keep_calling(node: Node, pid: Pid) -> None:
    while True:
        node.call(pid, Atom("read"))
        gevent.sleep(0.02)


def _lend_etop(beam: Any, beam_factory: BeamFactory, beam_releases: list[BeamRelease]) -> None:
    owner = beam_factory(release=next(release for release in beam_releases if release.compiler))
    modules = "[{M, element(2, code:get_object_code(M))} || M <- [etop, etop_tr, etop_txt, dbg]]"
    for module, code in owner.eval(modules):
        if beam.eval("code:which(M)", M=module) is Atom("non_existing"):
            beam.load_module(code)
    owner.stop()
