"""A supervisor in Python, as a BEAM sees it: OTP's and Elixir's functions work on it, and it behaves as theirs do."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from erlang_bridge import (
    Atom,
    ChildSpec,
    DynamicSupervisor,
    DynamicSupervisorFlags,
    ErlangExit,
    GenServer,
    Ignore,
    Node,
    NoReply,
    Pid,
    Stop,
    Supervisor,
    SupervisorFlags,
)
from erlang_bridge.otp.supervisor import start_child, which_children
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.elixir import Elixir
from erlang_bridge.testing.modules import INIT_ANSWER
from tests.fix_node import NodeFactory
from tests.servers import Counter, Crasher
from tests.waiting import until

OK, ERROR, UNDEFINED = Atom("ok"), Atom("error"), Atom("undefined")
SHUTDOWN = Atom("shutdown")


def supervise(node: Node, *specs: Any, name: str | None = None, **flags: Any) -> Pid:
    return node.start(Supervisor, (SupervisorFlags(**flags), specs), name=name)


# -- OTP's functions --------------------------------------------------------------------------


def test_what_it_tells(beam: Beam, node: Node) -> None:
    children = [
        ChildSpec("a", (Counter, 1)),
        ChildSpec("b", (Supervisor, [])),
        ChildSpec("c", (Counter, Atom("ignore"))),
    ]
    pid = supervise(node, *children, name="sup")
    listed = beam.eval("supervisor:which_children({sup, N})", N=node.name)
    (c, b, a) = listed
    assert c == (Atom("c"), UNDEFINED, Atom("worker"), [Atom("tests.servers.Counter")])
    assert b[2:] == (Atom("supervisor"), [Atom("erlang_bridge.otp.supervisor.Supervisor")])
    assert beam.eval("gen_server:call(P, read)", P=a[1]) == 1
    counts = beam.eval("supervisor:count_children(S)", S=pid)
    assert counts == [(Atom("specs"), 3), (Atom("active"), 2), (Atom("supervisors"), 1), (Atom("workers"), 2)]
    assert beam.eval("supervisor:get_childspec(S, a)", S=pid) == (
        OK,
        {
            Atom("id"): Atom("a"),
            Atom("start"): (Atom("tests.servers.Counter"), Atom("start_link"), [1]),
            Atom("restart"): Atom("permanent"),
            Atom("significant"): False,
            Atom("shutdown"): 5000,
            Atom("type"): Atom("worker"),
            Atom("modules"): [Atom("tests.servers.Counter")],
        },
    )
    assert beam.eval("supervisor:get_childspec(S, z)", S=pid) == (ERROR, Atom("not_found"))


def test_which_child(beam: Beam, node: Node) -> None:
    """The request of ``supervisor:which_child/2``, which is there from OTP 28 on."""
    pid = supervise(node, ChildSpec("a", (Counter, 1)))
    ok, entry = beam.eval("gen_server:call(S, {which_child, a})", S=pid)
    assert (ok, [entry]) == (OK, beam.eval("supervisor:which_children(S)", S=pid))
    assert beam.eval("gen_server:call(S, {which_child, z})", S=pid) == (ERROR, Atom("not_found"))


def test_engines_are_started_and_stopped_from_afar(beam: Beam, node: Node) -> None:
    pid = supervise(node)
    spec = "#{id => x, start => {pyanoma, start_link, [counter, 7]}, restart => transient, modules => []}"
    ok, engine = beam.eval(f"supervisor:start_child(S, {spec})", S=pid)
    assert ok is OK
    assert beam.eval("gen_server:call({counter, N}, read)", N=node.name) == 7
    assert beam.eval(f"supervisor:start_child(S, {spec})", S=pid) == (ERROR, (Atom("already_started"), engine))
    assert beam.eval("supervisor:restart_child(S, x)", S=pid) == (ERROR, Atom("running"))
    assert beam.eval("supervisor:delete_child(S, x)", S=pid) == (ERROR, Atom("running"))
    assert beam.eval("supervisor:terminate_child(S, x)", S=pid) is OK
    assert not node.is_alive(engine)
    assert beam.eval(f"supervisor:start_child(S, {spec})", S=pid) == (ERROR, Atom("already_present"))
    ok, again = beam.eval("supervisor:restart_child(S, x)", S=pid)
    assert node.is_alive(again)
    beam.eval("exit(P, kill)", P=again)
    third = beam.wait_until(
        "case supervisor:which_children(S) of [{x, P, worker, []}] when is_pid(P), P =/= Old -> P; _ -> false end",
        S=pid,
        Old=again,
    )
    assert beam.eval("gen_server:call(P, read)", P=third) == 7
    assert beam.eval("supervisor:terminate_child(S, x), supervisor:delete_child(S, x)", S=pid) is OK
    assert beam.eval("supervisor:which_children(S)", S=pid) == []
    tuple_form = "{y, {pyanoma, start_link, [counter, 8]}, temporary, brutal_kill, worker, dynamic}"
    ok, other = beam.eval(f"supervisor:start_child(S, {tuple_form})", S=pid)
    assert beam.eval("supervisor:which_children(S)", S=pid) == [(Atom("y"), other, Atom("worker"), Atom("dynamic"))]


def test_a_start_that_fails_says_why(beam: Beam, node: Node) -> None:
    pid = supervise(node)
    start = "supervisor:start_child(S, #{id => x, start => {%s, [%s]}, modules => []})"
    error, (reason, record) = beam.eval(start % ("pyanoma, start_link", "counter, stop"), S=pid)
    assert (error, reason) == (ERROR, Atom("not_today"))
    assert record[:4] == (Atom("child"), UNDEFINED, Atom("x"), record[3])
    _, (reason, _) = beam.eval(start % ("os, cmd", '"ls"'), S=pid)
    assert reason == (Atom("EXIT"), (Atom("undef"), [(Atom("os"), Atom("cmd"), [[ord("l"), ord("s")]], [])]))
    _, (((exception, text), _), _) = beam.eval(start % ("pyanoma, start_link", "counter, raise"), S=pid)
    assert (exception, text) == (Atom("ValueError"), b"no such start")
    assert beam.eval("supervisor:start_child(S, foo)", S=pid) == (ERROR, (Atom("invalid_child_spec"), Atom("foo")))
    assert beam.eval("supervisor:which_children(S)", S=pid) == []


def test_a_specification_for_another_python_node(beam: Beam, node: Node, node_factory: NodeFactory) -> None:
    other = node_factory()
    pid = supervise(node)
    start = "{erpc, call, [N, pyanoma, start_link, [counter, 5]]}"
    ok, engine = beam.eval(f"supervisor:start_child(S, #{{id => x, start => {start}}})", S=pid, N=other.name)
    assert (ok, engine.node) == (OK, other.name)
    other.exit(engine, Atom("kill"))
    assert until(lambda: which_children(node, pid)[0][1] not in (engine, UNDEFINED, Atom("restarting")))
    assert beam.eval("gen_server:call(P, read)", P=which_children(node, pid)[0][1]) == 5
    assert beam.eval("supervisor:terminate_child(S, x)", S=pid) is OK
    assert not other.table.find(engine)
    assert (
        beam.eval(f"supervisor:start_child(S, #{{id => y, start => {start}}})", S=pid, N=node.name)[1].node is node.name
    )


def test_sys_works_on_it(beam: Beam, node: Node) -> None:
    pid = supervise(node, ChildSpec("a", (Counter, 1)))
    assert beam.eval("maps:get(strategy, sys:get_state(S))", S=pid) is Atom("one_for_one")
    status = beam.eval("sys:get_status(S)", S=pid)
    assert status[:3] == (Atom("status"), pid, (Atom("module"), Atom("gen_server")))
    assert status[3][0][0][1][0] is Atom("supervisor")
    assert beam.eval("ok = sys:suspend(S), ok = sys:resume(S), length(supervisor:which_children(S))", S=pid) == 1


def test_it_ends_in_order(beam: Beam, node: Node) -> None:
    shell = beam.shell()
    tell = (Atom("tell"), shell.pid)
    pid = supervise(node, ChildSpec("a", (Crasher, tell)), ChildSpec("b", (Crasher, tell)))
    shell.eval("Ref = monitor(process, S), gen_server:stop(S, shutdown, 5000)", S=pid)
    ended = shell.eval(
        "F = fun F(L) -> receive M -> F([M | L]) after 200 -> lists:reverse(L) end end, F([])",
    )
    assert [message for message in ended if message[0] is not Atom("DOWN")] == [(Atom("terminate"), SHUTDOWN)] * 2
    assert [message[4] for message in ended if message[0] is Atom("DOWN")] == [SHUTDOWN]


# -- between the nodes ------------------------------------------------------------------------


class Tree(Supervisor):
    """Two counters, as an engine that a BEAM starts."""

    def init(self, args: Any) -> Any:
        return SupervisorFlags(intensity=1), [ChildSpec("a", (Counter, args)), ChildSpec("b", (Crasher, None))]


def test_a_python_tree_in_a_beam_s_tree(beam: Beam, node: Node) -> None:
    node.engines["tree"] = Tree
    beam.load_module(INIT_ANSWER)
    root = beam.eval(
        "{ok, S} = supervisor:start_link(init_answer, {ok, {#{}, [#{id => tree, type => supervisor,"
        " start => {erpc, call, [N, pyanoma, start_link, [tree, 3]]}}]}}), unlink(S), S",
        N=node.name,
    )
    tree = beam.eval("[{tree, P, supervisor, _}] = supervisor:which_children(S), P", S=root)
    first = {entry[0].name: entry[1] for entry in which_children(node, tree)}
    node.exit(first["a"], Atom("kill"))
    beam.wait_for_log(r"SUPERVISOR REPORT(?s:.)*child_terminated(?s:.)*killed")
    assert until(lambda: which_children(node, tree)[1][1] not in (first["a"], UNDEFINED))
    # One more than its intensity: the tree gives up, and the BEAM's supervisor starts it anew.
    node.exit(first["b"], Atom("kill"))
    again = beam.wait_until(
        "case supervisor:which_children(S) of [{tree, P, _, _}] when is_pid(P), P =/= Old -> P; _ -> false end",
        S=root,
        Old=tree,
    )
    beam.wait_for_log(r"reached_max_restart_intensity")
    children = [entry[1] for entry in which_children(node, again)]
    assert beam.eval("gen_server:stop(S, shutdown, 5000)", S=root) is OK
    assert not [pid for pid in [again, *children] if node.is_alive(pid)]


def test_a_process_of_a_beam_as_a_child(beam: Beam, node: Node) -> None:
    def start_far(supervisor: Supervisor) -> Pid:
        sleep = ("timer", "sleep", [Atom("infinity")])
        return supervisor.node.spawn_remote(beam.node, *sleep, link=True)[0]  # type: ignore[no-any-return]

    pid = supervise(node, ChildSpec("far", start_far), intensity=3)
    first = which_children(node, pid)[0][1]
    assert first.node is beam.node
    beam.eval("exit(P, kill)", P=first)
    assert until(lambda: which_children(node, pid)[0][1] not in (first, UNDEFINED))
    second = which_children(node, pid)[0][1]
    assert beam.eval("supervisor:terminate_child(S, far)", S=pid) is OK
    assert beam.eval("is_process_alive(P)", P=second) is False
    assert beam.eval("supervisor:count_children(S)", S=pid)[1] == (Atom("active"), 0)


def test_a_child_on_a_node_that_is_lost(beam: Beam, node: Node) -> None:
    def start_far(supervisor: Supervisor) -> Pid:
        return supervisor.node.spawn_remote(beam.node, "timer", "sleep", [Atom("infinity")], link=True)[0]  # type: ignore[no-any-return]

    pid = supervise(node, ChildSpec("far", start_far, restart="temporary"), ChildSpec("near", (Counter, 0)))
    assert len(which_children(node, pid)) == 2
    node.disconnect(beam.node)
    assert until(lambda: [entry[0] for entry in which_children(node, pid)] == [Atom("near")])


def test_a_python_child_is_added_to_a_supervisor_of_a_beam(beam: Beam, node: Node) -> None:
    beam.load_module(INIT_ANSWER)
    far = beam.eval("{ok, S} = supervisor:start_link(init_answer, {ok, {#{}, []}}), unlink(S), S")
    start = (Atom("erpc"), Atom("call"), [node.name, Atom("pyanoma"), Atom("start_link"), [Atom("counter"), 4]])
    ok, engine = start_child(node, far, ChildSpec("c", start, restart="temporary", modules=[]))
    assert (ok, engine.node) == (OK, node.name)
    assert which_children(node, far) == [(Atom("c"), engine, Atom("worker"), [])]
    beam.eval("gen_server:stop(S)", S=far)
    assert until(lambda: not node.is_alive(engine))


# -- Elixir -----------------------------------------------------------------------------------


def test_elixir_s_supervisor(elixir: Elixir, node: Node) -> None:
    pid = supervise(node, ChildSpec("a", (Counter, 1)))
    spec = "%{id: :x, start: {:pyanoma, :start_link, [:counter, 7]}, restart: :transient}"
    ok, engine = elixir.eval(f"Supervisor.start_child(s, {spec})", s=pid)
    assert ok is OK
    assert elixir.eval("GenServer.call(p, :read)", p=engine) == 7
    assert elixir.eval("Supervisor.count_children(s)", s=pid) == {
        Atom("specs"): 2,
        Atom("active"): 2,
        Atom("supervisors"): 0,
        Atom("workers"): 2,
    }
    assert elixir.eval("for {id, _, type, _} <- Supervisor.which_children(s), do: {id, type}", s=pid) == [
        (Atom("x"), Atom("worker")),
        (Atom("a"), Atom("worker")),
    ]
    assert elixir.eval("Supervisor.terminate_child(s, :x)", s=pid) is OK
    assert elixir.eval("Supervisor.restart_child(s, :x)", s=pid)[0] is OK
    assert elixir.eval("Supervisor.delete_child(s, :x)", s=pid) == (ERROR, Atom("running"))
    assert elixir.eval("Supervisor.start_child(s, %{id: nil, start: nil})", s=pid) == (
        ERROR,
        (Atom("invalid_mfa"), None),
    )
    assert elixir.eval("Supervisor.stop(s)", s=pid) is OK
    assert not node.is_alive(pid)


def test_elixir_s_dynamic_supervisor(elixir: Elixir, node: Node) -> None:
    pid = node.start(DynamicSupervisor, DynamicSupervisorFlags(max_children=2), name="dyn")
    spec = "%{id: :ignored, start: {:pyanoma, :start_link, [:counter, n]}, restart: :temporary}"
    add = f"DynamicSupervisor.start_child({{:dyn, node}}, {spec})"
    ok, first = elixir.eval(add, node=node.name, n=1)
    assert ok is OK
    assert elixir.eval(add, node=node.name, n=Atom("ignore")) is Atom("ignore")
    assert elixir.eval(add, node=node.name, n=Atom("stop")) == (ERROR, Atom("not_today"))
    ok, second = elixir.eval(add.replace("temporary", "permanent"), node=node.name, n=2)
    assert elixir.eval(add, node=node.name, n=3) == (ERROR, Atom("max_children"))
    assert elixir.eval("DynamicSupervisor.count_children(s)", s=pid)[Atom("active")] == 2
    children = elixir.eval("DynamicSupervisor.which_children(s)", s=pid)
    assert [entry[:3] for entry in children] == [(UNDEFINED, child, Atom("worker")) for child in (first, second)]
    assert elixir.eval("DynamicSupervisor.terminate_child(s, p)", s=pid, p=first) is OK
    assert elixir.eval("DynamicSupervisor.terminate_child(s, p)", s=pid, p=first) == (ERROR, Atom("not_found"))
    elixir.eval("Process.exit(p, :kill)", p=second)
    assert until(lambda: which_children(node, pid)[0][1] not in (second, Atom("restarting")))
    third = which_children(node, pid)[0][1]
    assert elixir.eval("GenServer.call(p, :read)", p=third) == 2
    assert elixir.eval("DynamicSupervisor.stop(s)", s=pid) is OK
    assert not node.is_alive(third)


# -- the same script for OTP's supervisor and ours --------------------------------------------

DIFF_CHILD = """
-module(diff_child).
-export([start/1, start/2]).
start(Id) ->
    case persistent_term:get({diff_child, Id}, up) of
        up -> {ok, spawn_link(fun() -> receive {stop, Reason} -> exit(Reason) end end)};
        ignore -> persistent_term:put({diff_child, Id}, up), ignore;
        0 -> persistent_term:put({diff_child, Id}, up), start(Id);
        N -> persistent_term:put({diff_child, Id}, N - 1), {error, no_start}
    end.
start(Id, _Extra) -> start(Id).
"""


class DiffChild(GenServer):
    """Ends when it is told to."""

    def handle_info(self, message: Any, state: Any) -> Any:
        match message:
            case (Atom("stop"), reason):
                return Stop(reason, state)
        return NoReply(state)


class Twins:
    """A supervisor of OTP and one of ours, with the same children, asked the same."""

    def __init__(self, beam: Beam, node: Node, flags: dict[str, Any], specs: list[Any]) -> None:
        self.beam = beam
        self.node = node
        self.next: dict[str, Any] = {}
        node.export("diff_child", "start", self._start)
        beam.load_module(INIT_ANSWER)
        wire_flags = {Atom(key): Atom(value) if isinstance(value, str) else value for key, value in flags.items()}
        self.theirs = beam.eval(
            "[persistent_term:erase(K) || {{diff_child, _} = K, _} <- persistent_term:get()],"
            "{ok, S} = supervisor:start_link(init_answer, {ok, {F, L}}), unlink(S), S",
            F=wire_flags,
            L=specs,
        )
        renamed = {"period_s" if key == "period" else key: value for key, value in flags.items()}
        self.ours = supervise(node, *specs, **renamed)

    def _start(self, id: Any, extra: Any = None) -> Any:
        outcome = self.next.get(repr(id), 0)
        if outcome is Atom("ignore"):
            del self.next[repr(id)]
            return Ignore()
        if outcome:
            self.next[repr(id)] = outcome - 1
            return (ERROR, Atom("no_start"))
        return (OK, self.node.start(DiffChild, id))

    def prepare(self, id: Any, outcome: Any) -> None:
        self.next[repr(id)] = outcome
        self.beam.eval("persistent_term:put({diff_child, I}, O)", I=id, O=outcome)

    def both(self, source: str, **bindings: Any) -> tuple[Any, Any]:
        return tuple(self._ask(pid, source, bindings) for pid in (self.theirs, self.ours))

    def _ask(self, supervisor: Pid, source: str, bindings: dict[str, Any]) -> Any:
        try:
            return shape(self.beam.eval(source, S=supervisor, **bindings))
        except ErlangExit as error:
            return ("down", error.reason if isinstance(error.reason, Atom) else error.reason[0])

    def stop_child(self, id: Any, reason: Any) -> None:
        """Have the child end by itself, where it runs, in both."""
        self.both(
            "case [P || {I, P, _, _} <- supervisor:which_children(S), is_pid(P), I =:= Id] of"
            " [] -> none;"
            " [P | _] -> M = monitor(process, P), P ! {stop, R}, receive {'DOWN', M, _, _, _} -> done end end",
            Id=id,
            R=reason,
        )
        gevent.sleep(0.02)

    def agree(self) -> tuple[Any, Any]:
        observe = "{supervisor:which_children(S), supervisor:count_children(S)}"
        until(lambda: len(set(map(repr, self.both(observe)))) == 1, 2)
        return self.both(observe)


def shape(term: Any) -> Any:
    """A term without what must differ: pids, and the stacks of failures."""
    if isinstance(term, Pid):
        return "a pid"
    if isinstance(term, tuple):
        return tuple(map(shape, term))
    if isinstance(term, list):
        return list(map(shape, term))
    if isinstance(term, dict):
        return {key: shape(value) for key, value in term.items()}
    return term


IDS = [Atom("a"), Atom("b"), b"c", 1, 1.0, [Atom("d"), 2]]
REASONS = [Atom("normal"), SHUTDOWN, (SHUTDOWN, 1), Atom("boom"), (Atom("boom"), [1])]


def random_spec(rng: random.Random, id: Any, auto_shutdown: str) -> Any:
    restart = Atom(rng.choice(["permanent", "permanent", "transient", "temporary"]))
    mfa = (Atom("diff_child"), Atom("start"), [id])
    shutdown = rng.choice([Atom("brutal_kill"), Atom("infinity"), 1000])
    if rng.random() < 0.3:
        return (id, mfa, restart, shutdown, Atom("worker"), Atom("dynamic"))
    return {
        Atom("id"): id,
        Atom("start"): mfa,
        Atom("restart"): restart,
        Atom("shutdown"): shutdown,
        Atom("type"): Atom(rng.choice(["worker", "supervisor"])),
        Atom("significant"): auto_shutdown != "never" and restart is not Atom("permanent") and rng.random() < 0.6,
    }


REQUESTS = [
    "supervisor:terminate_child(S, Id)",
    "supervisor:restart_child(S, Id)",
    "supervisor:delete_child(S, Id)",
    "supervisor:get_childspec(S, Id)",
]


@pytest.fixture
def load_diff_child(beam: Beam, compile_erlang: Callable[[str], bytes]) -> None:
    beam.load_module(compile_erlang(DIFF_CHILD))


@pytest.mark.slow
@pytest.mark.usefixtures("load_diff_child")
@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "one_for_all"])
def test_the_same_script_gives_the_same(beam: Beam, node: Node, rng: random.Random, strategy: str) -> None:
    for _ in range(4):
        auto_shutdown = rng.choice(["never", "any_significant", "all_significant"])
        flags = {
            "strategy": strategy,
            "intensity": rng.randint(0, 6),
            "period": rng.choice([1, 60]),
            "auto_shutdown": auto_shutdown,
        }
        specs = [random_spec(rng, id, auto_shutdown) for id in rng.sample(IDS, rng.randint(0, 5))]
        twins = Twins(beam, node, flags, specs)
        script: list[Any] = [flags, specs]
        for _ in range(12):
            id = rng.choice(IDS)
            if rng.random() < 0.3:
                outcome = rng.choice([Atom("ignore"), 1, 1, 2])
                script.append(("prepare", id, outcome))
                twins.prepare(id, outcome)
            if rng.random() < 0.5:
                reason = rng.choice(REASONS)
                script.append(("stop", id, reason))
                twins.stop_child(id, reason)
            elif rng.random() < 0.3:
                spec = random_spec(rng, id, rng.choice([auto_shutdown, "any_significant"]))
                script.append(("start", spec))
                theirs, ours = twins.both("supervisor:start_child(S, C)", C=spec)
                assert theirs == ours, script
            else:
                request = rng.choice(REQUESTS)
                script.append((request, id))
                theirs, ours = twins.both(request, Id=id)
                assert theirs == ours, script
            theirs, ours = twins.agree()
            assert theirs == ours, script
            if theirs[0] == "down":
                break
        twins.both("gen_server:stop(S, shutdown, 5000)")


@pytest.mark.slow
@pytest.mark.usefixtures("load_diff_child")
def test_the_same_script_for_children_of_one_template(beam: Beam, node: Node, rng: random.Random) -> None:
    for restart in ("permanent", "transient", "temporary"):
        template = {
            Atom("id"): Atom("t"),
            Atom("start"): (Atom("diff_child"), Atom("start"), [Atom("t")]),
            Atom("restart"): Atom(restart),
        }
        flags = {"strategy": "simple_one_for_one", "intensity": rng.randint(1, 6), "period": 60}
        twins = Twins(beam, node, flags, [template])
        script: list[Any] = [flags, restart]
        for _ in range(12):
            what = rng.choice(["add", "add", "stop", "stop", "end", "fail", "ask"])
            reason = rng.choice(REASONS)
            script.append((what, reason))
            if what == "add":
                theirs, ours = twins.both("supervisor:start_child(S, E)", E=rng.choice([[], [1]]))
            elif what == "stop":
                twins.stop_child(UNDEFINED, reason)
                theirs = ours = None
            elif what == "end":
                theirs, ours = twins.both(
                    "case supervisor:which_children(S) of"
                    " [] -> none; L -> supervisor:terminate_child(S, element(2, lists:last(L))) end"
                )
            elif what == "fail":
                theirs = ours = None
                twins.prepare(Atom("t"), 1)
            else:
                theirs, ours = twins.both(
                    "[supervisor:restart_child(S, t), supervisor:delete_child(S, t),"
                    " supervisor:terminate_child(S, t), supervisor:get_childspec(S, t)]"
                )
            assert theirs == ours, script
            theirs, ours = twins.agree()
            assert theirs == ours, script
            if theirs[0] == "down":
                break
        twins.both("gen_server:stop(S, shutdown, 5000)")
