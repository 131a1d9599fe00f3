"""Our engines seen from Elixir: its supervisors run them, its processes call, link and monitor them, with nothing installed.

The child specification is ``%{id: id, start: {:erpc, :call, [node, :pyanoma, :start_link, [engine, args]]}}``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, ErlangError, ErlangExit, GenServer, Map, Node, NoReply, Pid, Reply, Stop
from erlang_bridge.testing import Elixir, ElixirRelease
from tests.fix_node import ENGINES, NodeFactory
from tests.python_nodes import PythonNode
from tests.servers import Counter
from tests.waiting import until

OK = Atom("ok")
ERROR = Atom("error")
KILLED = Atom("killed")
NORMAL = Atom("normal")
SHUTDOWN = Atom("shutdown")
UNDEFINED = Atom("undefined")


class Echo(GenServer):
    """Gives back what it is sent; keeps what was cast."""

    def init(self, args: Any) -> list[Any]:
        return [] if args is None else [args]

    def handle_call(self, request: Any, caller: Any, state: list[Any]) -> Any:
        match request:
            case Atom("heard"):
                return Reply(state, state)
            case (Atom("stop"), reason):
                return Stop(reason, state, reply=OK)
            case (Atom("python"), value):
                return Reply(repr(value), state)
        return Reply(request, state)

    def handle_cast(self, message: Any, state: list[Any]) -> Any:
        return NoReply([*state, message])

    def handle_info(self, message: Any, state: list[Any]) -> Any:
        return NoReply([*state, message])


class Listener(Echo):
    """An `Echo` that traps exits, and tells a process how it ends: ``init`` gets its pid."""

    trap_exit = True

    def terminate(self, reason: Any, state: list[Any]) -> None:
        self.send(state[0], (Atom("ended"), reason))


@pytest.fixture(scope="module")
def shared_elixir(
    elixir_release: ElixirRelease, epmd_port: int, beam_cookie: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Elixir]:
    """One Elixir node for all tests of this module."""
    directory = tmp_path_factory.mktemp("shared_elixir")
    with Elixir(elixir_release, epmd_port=epmd_port, cookie=beam_cookie, directory=directory) as elixir:
        yield elixir
        elixir.check_not_crashed()


@pytest.fixture
def node(node_factory: NodeFactory) -> Node:
    return node_factory(engines={**ENGINES, "echo": Echo, "listener": Listener})


class Tree:
    """An Elixir supervisor whose children run on `node`."""

    def __init__(
        self, elixir: Elixir, node: Node, options: str = "strategy: :one_for_one", *children: str, **more: Any
    ):
        self.elixir = elixir
        self.bindings = {"n": node.name, **more}
        self.pid: Pid = self.eval(
            f"{{:ok, s}} = Supervisor.start_link([{', '.join(children)}], {options}); Process.unlink(s); s", s=None
        )

    def eval(self, source: str, **bindings: Any) -> Any:
        return self.elixir.eval(source, **{"s": getattr(self, "pid", None), **self.bindings, **bindings})

    def children(self) -> dict[str, Any]:
        return {entry[0].name: entry[1] for entry in reversed(self.eval("Supervisor.which_children(s)"))}

    def restarted(self, name: str, old: Pid) -> Pid:
        """Wait until the child runs as another process."""
        found: list[Any] = []

        def is_new() -> bool:
            found[:] = [self.children().get(name)]
            return isinstance(found[0], Pid) and found[0] != old

        assert until(is_new), found
        pid: Pid = found[0]
        return pid


def child(name: str, engine: str = "counter", args: str = "0", more: str = "") -> str:
    extra = f", {more}" if more else ""
    return f"%{{id: :{name}, start: {{:erpc, :call, [n, :pyanoma, :start_link, [:{engine}, {args}]]}}{extra}}}"


def engines_of(node: Node, server_class: type[GenServer] = Counter) -> int:
    return len([p for p in node.table.processes.values() if type(getattr(p, "instance", None)) is server_class])


# -- Supervisor -----------------------------------------------------------------------------------


def test_children_start_in_order_and_answer(shared_elixir: Elixir, node: Node) -> None:
    tree = Tree(
        shared_elixir, node, "strategy: :one_for_one", child("a", args="1"), child("b", args="2"), child("c", args="3")
    )
    children = tree.children()
    assert list(children) == ["a", "b", "c"]
    assert [tree.eval("GenServer.call(p, :read)", p=pid) for pid in children.values()] == [1, 2, 3]
    assert tree.eval("n in Node.list()") is True
    assert tree.eval("Supervisor.which_children(s) |> hd() |> Tuple.delete_at(1)") == (
        Atom("c"),
        Atom("worker"),
        [Atom("erpc")],
    )
    tree.eval("Supervisor.stop(s)")
    assert not any(node.is_alive(pid) for pid in children.values())


@pytest.mark.parametrize(
    ("restart", "end", "comes_back"),
    [
        ("permanent", "GenServer.stop(p)", True),
        ("permanent", "GenServer.cast(p, {:stop, :boom})", True),
        ("permanent", "GenServer.cast(p, :crash)", True),
        ("permanent", "Process.exit(p, :kill)", True),
        ("permanent", "Process.exit(p, :shutdown)", True),
        ("transient", "GenServer.stop(p)", False),
        ("transient", "GenServer.stop(p, :shutdown)", False),
        ("transient", "GenServer.stop(p, {:shutdown, :done})", False),
        ("transient", "GenServer.cast(p, {:stop, {:boom, 1}})", True),
        ("transient", "GenServer.cast(p, :crash)", True),
        ("transient", "catch_exit.(fn -> GenServer.call(p, :unencodable) end)", True),
        ("transient", "Process.exit(p, :kill)", True),
        ("temporary", "GenServer.cast(p, :crash)", False),
        ("temporary", "GenServer.stop(p)", False),
    ],
)
def test_restart_types(shared_elixir: Elixir, node: Node, restart: str, end: str, comes_back: bool) -> None:
    tree = Tree(
        shared_elixir,
        node,
        "strategy: :one_for_one",
        child("a", args="7", more=f"restart: :{restart}"),
        child("b", args="1"),
    )
    first = tree.children()
    tree.eval("GenServer.call(p, {:add, 10})", p=first["b"])
    tree.eval(
        f"catch_exit = fn f -> try do f.() catch :exit, _ -> :exited end end; _ = catch_exit; {end}", p=first["a"]
    )
    if comes_back:
        again = tree.restarted("a", first["a"])
        assert tree.eval("GenServer.call(p, :read)", p=again) == 7
    else:
        assert until(lambda: tree.children().get("a", UNDEFINED) is UNDEFINED)
        assert ("a" in tree.children()) is (restart == "transient")
        assert engines_of(node) == 1
    assert tree.children()["b"] == first["b"]
    assert tree.eval("GenServer.call(p, :read)", p=first["b"]) == 11


@pytest.mark.parametrize(
    ("strategy", "replaced"), [("one_for_one", "b"), ("one_for_all", "abc"), ("rest_for_one", "bc")]
)
def test_strategies(shared_elixir: Elixir, node: Node, strategy: str, replaced: str) -> None:
    tree = Tree(shared_elixir, node, f"strategy: :{strategy}", child("a"), child("b", "listener", "self()"), child("c"))
    first = tree.children()
    tree.eval("Process.exit(p, :kill)", p=first["b"])
    tree.restarted("b", first["b"])
    now = tree.children()
    assert "".join(name for name in now if now[name] != first[name]) == replaced
    assert all(node.is_alive(pid) for pid in now.values())
    assert len(node.table.remote[shared_elixir.node].links) == 3


def test_max_restarts(shared_elixir: Elixir, node: Node) -> None:
    tree = Tree(shared_elixir, node, "strategy: :one_for_one, max_restarts: 1, max_seconds: 60", child("a"), child("b"))
    first = tree.children()
    tree.eval("GenServer.cast(p, :crash)", p=first["a"])
    again = tree.restarted("a", first["a"])
    tree.eval("GenServer.cast(p, :crash)", p=again)
    shared_elixir.wait_until("not Process.alive?(s)", s=tree.pid)
    assert until(lambda: engines_of(node) == 0)


def test_terminate_restart_delete_and_start_child(shared_elixir: Elixir, node: Node) -> None:
    tree = Tree(shared_elixir, node, "strategy: :one_for_one", child("a", args="5"), child("b"))
    old = tree.children()["a"]
    assert tree.eval("Supervisor.terminate_child(s, :a)") is OK
    assert not node.is_alive(old)
    assert tree.eval("Supervisor.restart_child(s, :b)") == (ERROR, Atom("running"))
    assert tree.eval("Supervisor.delete_child(s, :b)") == (ERROR, Atom("running"))
    answer, again = tree.eval("Supervisor.restart_child(s, :a)")
    assert (answer, tree.eval("GenServer.call(p, :read)", p=again)) == (OK, 5)
    assert tree.eval("Supervisor.terminate_child(s, :a)") is OK
    assert tree.eval("Supervisor.delete_child(s, :a)") is OK
    assert list(tree.children()) == ["b"]
    answer, added = tree.eval(f"Supervisor.start_child(s, {child('d', args='9')})")
    assert (answer, tree.eval("GenServer.call(p, :read)", p=added)) == (OK, 9)
    assert tree.eval(f"Supervisor.start_child(s, {child('d')})") == (ERROR, (Atom("already_started"), added))


@pytest.mark.parametrize(
    ("engine", "args", "shutdown", "most_s", "reason"),
    [
        ("counter", "0", "5000", 3.0, SHUTDOWN),
        ("crasher", "{:linger, 0.3}", "5000", 3.0, SHUTDOWN),
        ("crasher", "{:linger, 30.0}", "200", 3.0, KILLED),
        ("crasher", "{:linger, 30.0}", ":brutal_kill", 3.0, KILLED),
        ("crasher", "{:linger, 0.3}", ":infinity", 3.0, SHUTDOWN),
    ],
)
def test_shutdown(
    shared_elixir: Elixir, node: Node, engine: str, args: str, shutdown: str, most_s: float, reason: Atom
) -> None:
    tree = Tree(shared_elixir, node, "strategy: :one_for_one", child("a", engine, args, f"shutdown: {shutdown}"))
    pid = tree.children()["a"]
    shell = shared_elixir.shell()
    shell.eval("ref = Process.monitor(p)", p=pid)
    begun = monotonic()
    assert tree.eval("Supervisor.terminate_child(s, :a)") is OK
    assert monotonic() - begun < most_s
    assert not node.is_alive(pid)
    heard = "receive do {:DOWN, ^ref, :process, ^p, why} -> why after 2000 -> :nothing end"
    assert shell.eval(heard) is reason
    shell.end()


def test_terminate_is_told_the_reason(shared_elixir: Elixir, node: Node) -> None:
    shell = shared_elixir.shell()
    tree = Tree(shared_elixir, node, "strategy: :one_for_one", child("a", "listener", "t"), t=shell.pid)
    pid = tree.children()["a"]
    tree.eval("Supervisor.terminate_child(s, :a)")
    assert shell.eval("receive do {:ended, why} -> why after 2000 -> :nothing end") is SHUTDOWN
    tree.eval("{:ok, p} = Supervisor.restart_child(s, :a); GenServer.stop(p, {:shutdown, :enough})")
    assert shell.eval("receive do {:ended, why} -> why after 2000 -> :nothing end") == (SHUTDOWN, Atom("enough"))
    assert not node.is_alive(pid)
    shell.end()


@pytest.mark.parametrize("end", ["Process.exit(s, :kill)", "Supervisor.stop(s, :shutdown)"])
def test_engines_end_with_the_supervisor(shared_elixir: Elixir, node: Node, end: str) -> None:
    tree = Tree(shared_elixir, node, "strategy: :one_for_one", child("a"), child("b", "crasher"))
    children = tree.children()
    tree.eval(end)
    assert until(lambda: not any(node.is_alive(pid) for pid in children.values()))


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        (":raise", r"{:error, {{{:ValueError, \"no such start\"}, stack}, _child}} when is_list(stack)"),
        (":stop", r"{:error, {:not_today, _child}}"),
        (":exit", r"{:error, {:went_away, _child}}"),
        (":ignore", r"{:ok, :undefined}"),
    ],
)
def test_starts_that_fail(shared_elixir: Elixir, node: Node, args: str, answer: str) -> None:
    tree = Tree(shared_elixir, node)
    pattern = answer.replace('\\"', '"')
    source = f"case Supervisor.start_child(s, {child('a', args=args)}) do {pattern} -> true; other -> other end"
    assert tree.eval(source) is True
    assert engines_of(node) == 0
    assert node.table.remote[shared_elixir.node].links == {} or not node.table.remote[shared_elixir.node].links


def test_a_tree_that_cannot_start_says_why(shared_elixir: Elixir, node: Node) -> None:
    source = (
        f"Process.flag(:trap_exit, true);"
        f"{{:error, reason}} = Supervisor.start_link([{child('a')}, {child('b', args=':raise')}], strategy: :one_for_one);"
        "Exception.format_exit(reason)"
    )
    text = shared_elixir.eval(source, n=node.name).decode()
    assert "failed to start child: :b" in text
    assert 'Erlang error: {:ValueError, "no such start"}' in text
    assert "tests/servers.py:" in text
    assert until(lambda: engines_of(node) == 0)


def test_undefined_functions_and_engines(shared_elixir: Elixir, node: Node) -> None:
    tree = Tree(shared_elixir, node)
    wrong = "%{id: :a, start: {:erpc, :call, [n, :pyanoma, :no_such, []]}}"
    answer, ((tag, (reason, _)), _) = tree.eval(f"Supervisor.start_child(s, {wrong})")
    assert (answer, tag, reason[:2]) == (ERROR, Atom("EXIT"), (Atom("exception"), Atom("undef")))
    unknown = child("a", "no_such")
    match = f"match?({{:error, {{{{:unknown_engine, :no_such, _}}, _}}}}, Supervisor.start_child(s, {unknown}))"
    assert tree.eval(match) is True


def test_count_children_of_otp_does_not_survive_remote_pids(elixir: Elixir, node: Node) -> None:
    tree = Tree(elixir, node, "strategy: :one_for_one", child("a"))
    with pytest.raises(ErlangExit):
        tree.eval("Supervisor.count_children(s)")
    # The way around: what which_children says.
    again = Tree(elixir, node, "strategy: :one_for_one", child("a"), child("b"))
    again.eval("Supervisor.terminate_child(s, :b)")
    assert again.eval("Enum.count(Supervisor.which_children(s), &is_pid(elem(&1, 1)))") == 1


# -- DynamicSupervisor ----------------------------------------------------------------------------


def test_dynamic_supervisor(shared_elixir: Elixir, node: Node) -> None:
    shell = shared_elixir.shell()
    shell.eval("{:ok, d} = DynamicSupervisor.start_link(strategy: :one_for_one, max_restarts: 1)", n=node.name)
    for number in range(1, 4):
        spec = child("any", args=str(number), more="restart: :transient")
        shell.eval(f"{{:ok, p{number}}} = DynamicSupervisor.start_child(d, {spec})")
    assert shell.eval("for p <- [p1, p2, p3], do: GenServer.call(p, :read)") == [1, 2, 3]
    assert shell.eval("DynamicSupervisor.count_children(d)") == {
        Atom("active"): 3,
        Atom("specs"): 3,
        Atom("supervisors"): 0,
        Atom("workers"): 3,
    }
    assert shell.eval("length(DynamicSupervisor.which_children(d))") == 3
    assert shell.eval("DynamicSupervisor.terminate_child(d, p1)") is OK
    shell.eval("GenServer.stop(p2)")
    shell.eval("GenServer.cast(p3, :crash)")
    pids = "for {_, p, _, _} <- DynamicSupervisor.which_children(d), is_pid(p), do: p"
    assert until(lambda: len(left := shell.eval(pids)) == 1 and left != [shell.eval("p3")])
    assert shell.eval(f"[p4] = {pids}; GenServer.call(p4, :read)") == 3
    failed = f"DynamicSupervisor.start_child(d, {child('any', args=':raise')})"
    assert shell.eval(f'match?({{:error, {{{{:ValueError, "no such start"}}, _}}}}, {failed})') is True
    assert shell.eval("DynamicSupervisor.stop(d)") is OK
    assert engines_of(node) == 0
    shell.end()


def test_dynamic_supervisor_killed(shared_elixir: Elixir, node: Node) -> None:
    source = (
        "{:ok, d} = DynamicSupervisor.start_link(strategy: :one_for_one); Process.unlink(d);"
        f"for _ <- 1..20, do: {{:ok, _}} = DynamicSupervisor.start_child(d, {child('any')}); d"
    )
    pid = shared_elixir.eval(source, n=node.name)
    assert engines_of(node) == 20
    shared_elixir.eval("Process.exit(d, :kill)", d=pid)
    assert until(lambda: engines_of(node) == 0)


def test_partition_supervisor(shared_elixir: Elixir, node: Node) -> None:
    source = (
        "{:ok, ps} = PartitionSupervisor.start_link(name: :parts, partitions: 3,"
        f" child_spec: {child('any')}, with_arguments: fn [n, m, f, [e, _]], part -> [n, m, f, [e, part]] end);"
        "r = for {i, p, _, _} <- PartitionSupervisor.which_children(:parts), do: {i, GenServer.call(p, :read)};"
        "Supervisor.stop(ps); Enum.sort(r)"
    )
    assert shared_elixir.eval(source, n=node.name) == [(0, 0), (1, 1), (2, 2)]


# -- GenServer and friends ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "term",
    [
        "nil",
        "true",
        "false",
        ":atom",
        ':"Elixir.Some.Module"',
        "Some.Module",
        '"text with ümläut"',
        "'charlist'",
        "[a: 1, b: nil, a: [nested: true]]",
        '%{nil => 1, true => 2, 1 => :one, 1.0 => :float, "k" => nil}',
        "{:ok, {1, [2 | 3]}, %{}}",
        "~D[2024-02-29]",
        "~U[2024-02-29 12:00:00.000001Z]",
        'MapSet.new([1, :two, "three"])',
        "1..10//3",
        '%URI{host: "example.org", port: 443}',
        '%RuntimeError{message: "boom"}',
        "<<1::3>>",
        "<<0, 255>>",
        "-0.0",
        "123456789012345678901234567890",
        "make_ref()",
        "self()",
        "&String.length/1",
        "fn x -> x + 1 end",
        "Regex.source(~r/a.*b/u)",
    ],
)
def test_terms_come_back_equal(shared_elixir: Elixir, node: Node, term: str) -> None:
    pid = node.start(Echo)
    assert shared_elixir.eval(f"t = {term}; GenServer.call(p, t) === t", p=pid) is True
    assert shared_elixir.eval(f"t = {term}; GenServer.cast(p, t); GenServer.call(p, :heard) === [t]", p=pid) is True


def test_elixir_values_in_python(shared_elixir: Elixir, node: Node) -> None:
    pid = node.start(Echo)
    call = 'GenServer.call(p, {:python, [nil, true, :a, "b", [k: 1], %{x: nil}]})'
    assert shared_elixir.eval(call, p=pid) == b"[None, True, Atom('a'), b'b', [(Atom('k'), 1)], {Atom('x'): None}]"


def test_failed_calls_read_well(shared_elixir: Elixir, node: Node) -> None:
    format_exit = "try do {} catch :exit, why -> Exception.format_exit(why) end"
    pid = node.start(Counter, 0)
    text = shared_elixir.eval(format_exit.replace("{}", "GenServer.call(p, :crash)"), p=pid).decode()
    assert text.startswith("exited in: GenServer.call(#PID<")
    assert "** (EXIT) an exception was raised:" in text
    assert '** (ErlangError) Erlang error: {:RuntimeError, "asked to crash"}' in text
    assert "tests/servers.py:" in text
    assert "handle_call" in text
    calls = {
        "GenServer.call(p, :read)": "(EXIT) no process: the process is not alive",
        "GenServer.call({:nobody_here, n}, :read)": "(EXIT) no process",
        'GenServer.call({:counter, :"nobody@127.0.0.1"}, :read)': "(EXIT) no connection to nobody@127.0.0.1",
        "GenServer.call(q, {:sleep, 1.0}, 50)": "(EXIT) time out",
        "GenServer.call(q, {:exit, {:out_of, :paper}})": "(EXIT) {:out_of, :paper}",
    }
    other = node.start(Counter, 0)
    for call, expected in calls.items():
        text = shared_elixir.eval(format_exit.replace("{}", call), p=pid, q=other, n=node.name).decode()
        assert expected in text


def test_gen_server_stop_and_sys(shared_elixir: Elixir, node: Node) -> None:
    pid = node.start(Counter, 3, name="till")
    assert shared_elixir.eval(":sys.get_state(p)", p=pid) == 3
    with pytest.raises(ErlangError) as caught:
        shared_elixir.eval(":sys.replace_state(p, &(&1 + 1))", p=pid)  # a fun of the BEAM cannot run here
    assert caught.value.reason[0] is Atom("callback_failed")
    assert shared_elixir.eval("GenServer.call(p, :read)", p=pid) == 3
    assert shared_elixir.eval("{:status, ^p, {:module, _}, _} = :sys.get_status(p); true", p=pid) is True
    assert shared_elixir.eval("GenServer.whereis({:till, n})", n=node.name) == (Atom("till"), node.name)
    assert shared_elixir.eval("GenServer.stop({:till, n})", n=node.name) is OK
    assert not node.is_alive(pid)
    stopped = "try do GenServer.stop(p) catch :exit, why -> why end"
    assert shared_elixir.eval(stopped, p=pid)[0] is Atom("noproc")


def test_monitors_and_links(shared_elixir: Elixir, node: Node) -> None:
    shell = shared_elixir.shell()
    shell.eval("Process.flag(:trap_exit, true)", n=node.name)
    pid = node.start(Counter, 0, name="watched")
    shell.eval("ref = Process.monitor(p); named = Process.monitor({:watched, n}); Process.link(p)", p=pid)
    gevent.sleep(0.05)
    shell.eval("GenServer.cast(p, {:stop, :enough})")
    assert shell.eval("receive do {:DOWN, ^ref, :process, ^p, why} -> why after 2000 -> 0 end") is Atom("enough")
    down = "receive do {:DOWN, ^named, :process, {:watched, ^n}, why} -> why after 2000 -> 0 end"
    assert shell.eval(down) is Atom("enough")
    assert shell.eval("receive do {:EXIT, ^p, why} -> why after 2000 -> 0 end") is Atom("enough")
    assert shell.eval("Process.monitor(p); receive do {:DOWN, _, _, _, w} -> w after 2000 -> 0 end") is Atom("noproc")
    assert shell.eval("Process.link(p); receive do {:EXIT, ^p, w} -> w after 2000 -> 0 end") is Atom("noproc")
    shell.end()


def test_an_engine_linked_with_elixir_ends_with_it(shared_elixir: Elixir, node: Node) -> None:
    plain, trapping = node.start(Counter), node.start(Listener, None)
    source = "t = spawn(fn -> Process.link(a); Process.link(b); receive do :end -> exit(:gone) end end); send(t, :end)"
    shared_elixir.eval(source, a=plain, b=trapping)
    assert until(lambda: not node.is_alive(plain))
    heard = shared_elixir.eval("GenServer.call(b, :heard)", b=trapping)
    assert heard[-1][0] is Atom("EXIT")
    assert heard[-1][2] is Atom("gone")
    node.exit(trapping, Atom("kill"))


def test_tasks(shared_elixir: Elixir, node: Node) -> None:
    pid = node.start(Counter, 5)
    tasks = "for _ <- 1..20, do: Task.async(fn -> GenServer.call(p, :read) end)"
    assert shared_elixir.eval(f"Task.await_many({tasks})", p=pid) == [5] * 20
    stream = "1..50 |> Task.async_stream(fn i -> GenServer.call(p, {:add, i}) end, max_concurrency: 10) |> Enum.uniq()"
    assert shared_elixir.eval(stream, p=pid) == [(OK, OK)]
    assert node.call(pid, Atom("read")) == 5 + sum(range(51))


def test_casts_and_sends_keep_their_order(shared_elixir: Elixir, node: Node) -> None:
    pid = node.start(Echo)
    source = (
        "for i <- 1..2000, do: if(rem(i, 2) == 0, do: GenServer.cast(p, i), else: send(p, i));"
        "GenServer.call(p, :heard) == Enum.to_list(1..2000)"
    )
    assert shared_elixir.eval(source, p=pid) is True


def test_registry_in_front_of_engines(shared_elixir: Elixir, node: Node) -> None:
    """A Registry takes local pids only: a local process stands there, and knows the engine."""
    shell = shared_elixir.shell()
    shell.eval("{:ok, _} = Registry.start_link(keys: :unique, name: Reg)", p=node.start(Counter, 5))
    refused = "try do Registry.register(Reg, :x, p) ; GenServer.call({:via, Registry, {Reg, :x}}, :read, 50) catch :exit, _ -> :no end"
    assert shell.eval(refused) is Atom("no")
    assert (
        shell.eval(
            "Registry.register(Reg, :counter, p); [{_, q}] = Registry.lookup(Reg, :counter); GenServer.call(q, :read)"
        )
        == 5
    )
    shell.end()


def test_nodes_and_remote_calls(shared_elixir: Elixir, node: Node) -> None:
    node.export("math", "double", lambda number: 2 * number)
    bindings: dict[str, Any] = {"n": node.name}
    assert shared_elixir.eval("Node.connect(n)", **bindings) is True
    assert shared_elixir.eval("Node.ping(n)", **bindings) is Atom("pong")
    assert shared_elixir.eval("n in Node.list()", **bindings) is True
    assert shared_elixir.eval(":erpc.call(n, :math, :double, [21])", **bindings) == 42
    assert shared_elixir.eval(":rpc.call(n, :math, :double, [21])", **bindings) == 42
    assert shared_elixir.eval(":erpc.multicall([n, n], :math, :double, [2])", **bindings) == [(OK, 4), (OK, 4)]
    text = "try do :erpc.call(n, :math, :double, [nil]) rescue e -> Exception.message(e) end"
    assert b"TypeError" in shared_elixir.eval(text, **bindings)
    raised = "try do :erpc.call(n, :math, :triple, [1]) rescue e in ErlangError -> e.original end"
    assert shared_elixir.eval(raised, **bindings)[:2] == (Atom("exception"), Atom("undef"))
    linked = (
        "Process.flag(:trap_exit, true); p = Node.spawn_link(n, :math, :double, [1]);"
        "receive do {:EXIT, ^p, why} -> why after 2000 -> :nothing end"
    )
    assert shared_elixir.eval(linked, **bindings) is NORMAL
    monitored = (
        "{p, ref} = Node.spawn_monitor(n, :math, :double, [nil]);"
        "receive do {:DOWN, ^ref, :process, ^p, {{type, _}, _}} -> type after 2000 -> :nothing end"
    )
    assert shared_elixir.eval(monitored, **bindings) is Atom("TypeError")
    assert shared_elixir.eval("Node.disconnect(n)", **bindings) is True
    assert until(lambda: shared_elixir.name not in node.nodes())


def test_python_calls_elixir_servers(shared_elixir: Elixir, node: Node) -> None:
    shared_elixir.eval("{:ok, a} = Agent.start(fn -> %{count: nil} end, name: :an_agent); a")
    where = (Atom("an_agent"), shared_elixir.node)
    assert node.call(where, (Atom("get"), shared_elixir.eval("& &1"))) == {Atom("count"): None}
    assert node.rpc(shared_elixir.node, "Elixir.String", "upcase", [b"gr\xc3\xbcn"]) == "GRÜN".encode()
    assert node.rpc(shared_elixir.node, "Elixir.Enum", "to_list", [Map([(1, 2)])]) == [(1, 2)]
    shared_elixir.eval("Agent.stop(:an_agent)")


# -- pyanoma_sup under Elixir ---------------------------------------------------------------------


def test_an_engine_in_a_registry(elixir: Elixir, node: Node) -> None:
    node.push_pyanoma_sup(elixir.node)
    shell = elixir.shell()
    shell.eval("{:ok, _} = Registry.start_link(keys: :unique, name: Engines)", n=node.name)
    shell.eval("via = {:via, Registry, {Engines, {:node_1, :counter}}}")
    spec = ":pyanoma_sup.engine_spec(:a, n, :counter, 4, register: via)"
    shell.eval(f"{{:ok, s}} = Supervisor.start_link([{spec}], strategy: :one_for_one)")
    assert shell.eval("GenServer.call(via, :read)") == 4
    assert shell.eval("GenServer.call({:via, :pyanoma_sup, via}, :read)") == 4
    engine = shell.eval(":pyanoma_sup.engine(via)")
    shell.eval("GenServer.cast(via, :crash)")
    assert until(lambda: shell.eval(":pyanoma_sup.whereis_name(via)") not in (engine, UNDEFINED))
    assert shell.eval("GenServer.call(via, :read)") == 4
    shell.end()


def test_keepers_under_elixir_supervisors(elixir: Elixir, node: Node) -> None:
    assert node.push_pyanoma_sup(elixir.node) is True
    spec = ":pyanoma_sup.engine_spec(:a, n, :counter, 4, register: :till, restart: :transient)"
    tree = Tree(elixir, node, "strategy: :one_for_one, max_restarts: 0", spec)
    assert tree.eval("GenServer.call(:till, :read)") == 4
    assert tree.eval("GenServer.call({:via, :pyanoma_sup, :till}, :read)") == 4
    assert tree.eval("Supervisor.count_children(s).active") == 1
    old = tree.eval(":pyanoma_sup.engine(:till)")
    tree.eval("Node.disconnect(n)")
    assert until(lambda: tree.eval(":pyanoma_sup.whereis_name(:till)") not in (old, UNDEFINED))
    assert tree.eval("GenServer.stop(:till)") is OK
    assert engines_of(node) == 0
    dynamic = (
        "{:ok, d} = DynamicSupervisor.start_link(strategy: :one_for_one);"
        "{:ok, k} = DynamicSupervisor.start_child(d, :pyanoma_sup.engine_spec(:any, n, :counter, 9));"
        "GenServer.call(k, :read)"
    )
    assert tree.eval(dynamic) == 9


@pytest.mark.fault
def test_python_killed_under_elixir(
    elixir: Elixir, node: Node, tmp_path: Path, beam_cookie: str, epmd_port: int
) -> None:
    node.push_pyanoma_sup(elixir.node)
    python = PythonNode(tmp_path, cookie=beam_cookie, epmd_port=epmd_port).start()
    try:
        shell = elixir.shell()
        shell.eval("Process.flag(:trap_exit, true)", n=python.node)
        options = "strategy: :one_for_one, max_restarts: 3, max_seconds: 5"
        shell.eval(f"{{:ok, plain}} = Supervisor.start_link([{child('a')}, {child('b')}], {options})")
        keeper = ":pyanoma_sup.engine_spec(:a, n, :counter, 7, register: :till)"
        shell.eval(f"{{:ok, patient}} = Supervisor.start_link([{keeper}], {options})")
        python.kill()
        ended = "receive do {:EXIT, ^plain, why} -> why after 5000 -> :still_there end"
        begun = monotonic()
        assert shell.eval(ended) is SHUTDOWN
        assert monotonic() - begun < 2.0  # a permanent child uses the restarts up at once
        assert shell.eval("Process.alive?(patient)") is True
        python.start()
        assert until(lambda: isinstance(elixir.eval(":pyanoma_sup.whereis_name(:till)"), Pid))
        assert elixir.eval("GenServer.call(:till, :read)") == 7
    finally:
        python.kill()
