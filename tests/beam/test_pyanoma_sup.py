"""``pyanoma_sup``: children of a stock supervisor that wait for a Python node, and the child that is one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, GenServer, ModuleNotPushed, Node, NoReply, Pid, Reply
from erlang_bridge.errors import ErlangError, ErlangExit, NoConnection
from erlang_bridge.kernel.push import push, pyanoma_sup_source
from erlang_bridge.testing import INIT_ANSWER, Beam, BeamRelease
from tests.fix_node import ENGINES, NodeFactory
from tests.python_nodes import ROOT, PythonNode
from tests.servers import Counter
from tests.waiting import until

OK = Atom("ok")
ERROR = Atom("error")
UNDEFINED = Atom("undefined")
NODEDOWN = Atom("nodedown")
KILLED = Atom("killed")

PythonNodes = Callable[..., PythonNode]


class Witness(GenServer):
    """Says who called it, and what else it was sent; never answers the request ``never``."""

    def init(self, args: Any) -> list[Any]:
        return []

    def handle_call(self, request: Any, caller: Any, state: list[Any]) -> Any:
        match request:
            case Atom("who"):
                return Reply(caller[0], state)
            case Atom("heard"):
                return Reply(state, state)
            case Atom("never"):
                return NoReply(state)

    def handle_cast(self, message: Any, state: list[Any]) -> Any:
        return NoReply([*state, (Atom("cast"), message)])

    def handle_info(self, message: Any, state: list[Any]) -> Any:
        return NoReply([*state, (Atom("info"), message)])


@pytest.fixture
def node(node_factory: NodeFactory) -> Node:
    return node_factory(engines={**ENGINES, "witness": Witness})


@pytest.fixture
def sup_beam(beam: Beam, compile_erlang: Callable[[str], bytes]) -> Beam:
    """A BEAM with ``pyanoma_sup`` loaded, compiled by the lowest release that has a compiler."""
    beam.load_module(compile_erlang(pyanoma_sup_source()))
    beam.load_module(INIT_ANSWER)
    return beam


@pytest.fixture
def python_nodes(tmp_path: Path, beam_cookie: str, epmd_port: int) -> Iterator[PythonNodes]:
    """Makes Python nodes in processes of their own; they are killed with the test."""
    made: list[PythonNode] = []

    def make(**options: Any) -> PythonNode:
        made.append(PythonNode(tmp_path, cookie=beam_cookie, epmd_port=epmd_port, **options))
        return made[-1]

    yield make
    for one in made:
        one.kill()


class Tree:
    """A stock supervisor with children of ``pyanoma_sup``; of intensity 0 unless told otherwise."""

    def __init__(
        self, beam: Beam, node: Atom, flags: str = "#{intensity => 0}", *children: str, **bindings: Any
    ) -> None:
        self.beam = beam
        self.bindings = {"N": node, **bindings}
        specs = ", ".join(children)
        self.pid: Pid = beam.eval(
            f"{{ok, S}} = supervisor:start_link(init_answer, {{ok, {{{flags}, [{specs}]}}}}), unlink(S), S",
            timeout_s=30,
            **self.bindings,
        )

    def eval(self, source: str, timeout_s: float = 15.0, **bindings: Any) -> Any:
        return self.beam.eval(source, timeout_s=timeout_s, S=self.pid, **self.bindings, **bindings)

    def children(self) -> dict[str, Any]:
        return {entry[0].name: entry[1] for entry in reversed(self.eval("supervisor:which_children(S)"))}

    def engine(self, name: str) -> Any:
        return self.eval("pyanoma_sup:engine(K)", K=self.children()[name])

    def wait_engine(self, name: str, old: Any = None, timeout_s: float = 10.0) -> Pid:
        """Wait until the child's engine runs, as another process than `old`."""
        found: list[Any] = []

        def is_up() -> bool:
            found[:] = [self._engine(name)]
            return isinstance(found[0], Pid) and found[0] != old

        assert until(is_up, timeout_s), found
        pid: Pid = found[0]
        return pid

    def _engine(self, name: str) -> Any:
        child = self.children().get(name)
        return self.eval("pyanoma_sup:whereis_name(K)", K=child) if isinstance(child, Pid) else None

    def alive(self) -> bool:
        return bool(self.eval("is_process_alive(S)"))


def engine(name: str, args: str = "0", options: str = "#{}", engine: str = "counter") -> str:
    return f"pyanoma_sup:engine_spec({name}, N, {engine}, {args}, {options})"


# -- child specifications -----------------------------------------------------------------------


def test_child_specifications(sup_beam: Beam) -> None:
    spec = sup_beam.eval("pyanoma_sup:engine_spec(a, 'py@h', counter, 0)")
    assert spec == {
        Atom("id"): Atom("a"),
        Atom("start"): (Atom("pyanoma_sup"), Atom("start_engine"), [Atom("py@h"), Atom("counter"), 0, {}]),
        Atom("restart"): Atom("permanent"),
        Atom("shutdown"): 6000,
        Atom("type"): Atom("worker"),
        Atom("modules"): [Atom("pyanoma_sup")],
    }
    check = "supervisor:check_childspecs([Spec])"
    for made in (
        "pyanoma_sup:engine_spec(a, 'py@h', counter, 0, [{restart, transient}, {shutdown, infinity}])",
        "pyanoma_sup:engine_spec(a, 'py@h', counter, 0, #{shutdown => brutal_kill})",
        "pyanoma_sup:node_spec(p, #{node => 'py@h'})",
        "pyanoma_sup:node_spec(p, [{node, 'py@h'}, {stop_timeout, infinity}])",
    ):
        assert sup_beam.eval(f"Spec = {made}, {check}") is OK


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (
            "pyanoma_sup:engine_spec(a, 'py@h', counter, 0, #{shutdwon => 1})",
            (Atom("unknown_option"), Atom("shutdwon")),
        ),
        ("pyanoma_sup:node_spec(a, #{nod => 1})", (Atom("unknown_option"), Atom("nod"))),
        ("pyanoma_sup:node_spec(a, #{})", (Atom("missing_option"), Atom("node"))),
    ],
)
def test_misspelt_options_are_errors(sup_beam: Beam, made: str, reason: Any) -> None:
    with pytest.raises(ErlangError) as caught:
        sup_beam.eval(made)
    assert caught.value.reason == reason


# -- an engine behind its keeper ----------------------------------------------------------------


def test_keeper_passes_on_what_it_is_sent(sup_beam: Beam, node: Node) -> None:
    tree = Tree(sup_beam, node.name, "#{}", engine("w", engine="witness", options="#{register => witness_here}"))
    keeper = tree.children()["w"]
    assert keeper.node is sup_beam.node
    assert tree.engine("w").node is node.name
    shell = sup_beam.shell()
    assert shell.eval("gen_server:call(witness_here, who)") == shell.pid
    assert shell.eval("gen_server:call({via, pyanoma_sup, witness_here}, who)") == shell.pid
    shell.eval(
        "gen_server:cast(witness_here, one), witness_here ! two, gen_server:cast({via, pyanoma_sup, K}, three)",
        K=keeper,
    )
    heard = shell.eval("gen_server:call(K, heard)", K=keeper)
    assert heard == [(Atom("cast"), Atom("one")), (Atom("info"), Atom("two")), (Atom("cast"), Atom("three"))]
    with pytest.raises(ErlangExit) as caught:
        shell.eval("gen_server:call(witness_here, never, 100)")
    assert caught.value.reason[0] is Atom("timeout")


def test_one_engine_under_its_own_name(sup_beam: Beam, node: Node) -> None:
    tree = Tree(sup_beam, node.name, "#{}", engine("a", "3", "#{name => till}"), engine("b", "4"))
    assert tree.eval("gen_server:call({till, N}, read)") == 3
    assert node.whereis("till") == tree.engine("a")
    assert tree.eval("gen_server:call({counter, N}, read)") == 4


def test_supervisor_counts_and_lists_keepers(sup_beam: Beam, node: Node) -> None:
    tree = Tree(sup_beam, node.name, "#{}", engine("a"), engine("b"))
    counts = dict(tree.eval("supervisor:count_children(S)"))
    assert counts[Atom("active")] == counts[Atom("workers")] == 2
    assert tree.alive()
    [(_, _, kind, modules), _] = tree.eval("supervisor:which_children(S)")
    assert (kind, modules) == (Atom("worker"), [Atom("pyanoma_sup")])


def test_sys_on_a_keeper(sup_beam: Beam, node: Node) -> None:
    tree = Tree(sup_beam, node.name, "#{}", engine("a", "5"))
    keeper = tree.children()["a"]
    state = tree.eval("sys:get_state(K)", K=keeper)
    assert (state[Atom("status")], state[Atom("pid")]) == (Atom("up"), tree.engine("a"))
    assert tree.eval("element(1, sys:get_status(K))", K=keeper) is Atom("status")
    assert tree.eval("sys:get_state(pyanoma_sup:engine(K))", K=keeper) == 5
    tree.eval("sys:suspend(K), gen_server:cast(K, {add, 1}), sys:resume(K)", K=keeper)
    assert tree.eval("gen_server:call(K, read)", K=keeper) == 6


@pytest.mark.parametrize(
    ("restart", "end", "comes_back"),
    [
        ("permanent", "gen_server:cast(K, {stop, normal})", True),
        ("permanent", "gen_server:cast(K, {stop, shutdown})", True),
        ("permanent", "gen_server:cast(K, crash)", True),
        ("permanent", "exit(E, kill)", True),
        ("permanent", "exit(K, kill)", True),
        ("permanent", "exit(K, boom)", True),
        ("transient", "gen_server:cast(K, {stop, normal})", False),
        ("transient", "gen_server:cast(K, {stop, shutdown})", False),
        ("transient", "gen_server:cast(K, {stop, {shutdown, done}})", False),
        ("transient", "gen_server:cast(K, crash)", True),
        ("temporary", "gen_server:cast(K, crash)", False),
    ],
)
def test_restart_types(sup_beam: Beam, node: Node, restart: str, end: str, comes_back: bool) -> None:
    tree = Tree(
        sup_beam, node.name, "#{intensity => 1}", engine("a", "7", f"#{{restart => {restart}}}"), engine("b", "1")
    )
    keepers = tree.children()
    tree.eval("gen_server:call(K, {add, 10})", K=keepers["b"])
    old = tree.engine("a")
    tree.eval(end, K=keepers["a"], E=old)
    if comes_back:
        tree.wait_engine("a", old)
        assert tree.eval("gen_server:call(K, read)", K=tree.children()["a"]) == 7
    else:
        assert until(lambda: tree.children().get("a", UNDEFINED) is UNDEFINED)
        assert ("a" in tree.children()) is (restart == "transient")
    assert until(lambda: not node.is_alive(old))
    assert tree.eval("gen_server:call(K, read)", K=keepers["b"]) == 11


def test_calls_of_the_dead_are_forgotten(sup_beam: Beam, node: Node) -> None:
    tree = Tree(sup_beam, node.name, "#{}", engine("a"))
    keeper = tree.children()["a"]
    source = "[spawn(fun() -> catch gen_server:call(K, {sleep, 5.0}, 100) end) || _ <- lists:seq(1, 20)], ok"
    tree.eval(source, K=keeper)
    sup_beam.wait_until("map_size(maps:get(calls, sys:get_state(K))) =:= 20", K=keeper)
    sup_beam.wait_until("map_size(maps:get(calls, sys:get_state(K))) =:= 0", K=keeper)


def test_caller_hears_why_the_engine_ended(sup_beam: Beam, node: Node) -> None:
    tree = Tree(sup_beam, node.name, "#{intensity => 5}", engine("a"))
    with pytest.raises(ErlangExit) as caught:
        tree.eval("gen_server:call(K, {exit, {out_of, paper}})", K=tree.children()["a"])
    assert caught.value.reason[0] == (Atom("out_of"), Atom("paper"))


def test_failures_of_an_engine_count_against_the_intensity(sup_beam: Beam, node: Node) -> None:
    tree = Tree(sup_beam, node.name, "#{intensity => 2, period => 30}", engine("a"), engine("b"))
    other = tree.engine("b")
    for _ in range(2):
        old = tree.engine("a")
        tree.eval("gen_server:cast(K, crash)", K=tree.children()["a"])
        tree.wait_engine("a", old)
    tree.eval("gen_server:cast(K, crash)", K=tree.children()["a"])
    sup_beam.wait_until("not is_process_alive(S)", S=tree.pid)
    assert until(lambda: not node.is_alive(other))


def test_an_engine_failure_is_reported_once(sup_beam: Beam, node: Node) -> None:
    tree = Tree(sup_beam, node.name, "#{intensity => 1}", engine("a"))
    old = tree.engine("a")
    tree.eval("gen_server:cast(K, {stop, very_special})", K=tree.children()["a"])
    tree.wait_engine("a", old)
    sup_beam.wait_for_log("very_special")
    gevent.sleep(0.1)
    log = sup_beam.log_text()
    assert log.count("SUPERVISOR REPORT") == 1
    assert "pyanoma_sup:init/1" not in log  # no crash report of the keeper


# -- shutting down --------------------------------------------------------------------------------


def test_shutdown_runs_terminate_and_waits(sup_beam: Beam, node: Node) -> None:
    shell = sup_beam.shell()
    tree = Tree(sup_beam, node.name, "#{}", engine("a", "{tell, T}", engine="crasher"), T=shell.pid)
    old = tree.engine("a")
    assert tree.eval("supervisor:terminate_child(S, a)") is OK
    assert not node.is_alive(old)
    assert shell.eval("receive M -> M after 1000 -> nothing end") == (Atom("terminate"), Atom("shutdown"))
    answer, again = tree.eval("supervisor:restart_child(S, a)")
    assert answer is OK
    assert tree.engine("a") != old
    assert tree.eval("gen_server:stop(K)", K=again) is OK
    assert shell.eval("receive Last -> Last after 1000 -> nothing end") == (Atom("terminate"), Atom("normal"))


@pytest.mark.parametrize(("shutdown", "at_least_s"), [("300", 0.25), ("brutal_kill", 0.0)])
def test_an_engine_that_does_not_end_is_killed(sup_beam: Beam, node: Node, shutdown: str, at_least_s: float) -> None:
    spec = engine("a", "{linger, 30.0}", f"#{{shutdown => {shutdown}}}", engine="crasher")
    tree = Tree(sup_beam, node.name, "#{}", spec, engine("b", "3"))
    old = tree.engine("a")
    shell = sup_beam.shell()
    shell.eval("R = monitor(process, E)", E=old)
    begun = monotonic()
    assert tree.eval("supervisor:terminate_child(S, a)") is OK
    assert at_least_s <= monotonic() - begun < 2.0
    assert shell.eval("receive {'DOWN', R, process, _, Why} -> Why after 3000 -> nothing end") is KILLED
    assert not node.is_alive(old)
    assert tree.eval("gen_server:call(K, read)", K=tree.children()["b"]) == 3


@pytest.mark.parametrize("end", ["exit(S, kill)", "gen_server:stop(S, shutdown, 5000)"])
def test_engines_end_with_the_supervisor(sup_beam: Beam, node: Node, end: str) -> None:
    tree = Tree(sup_beam, node.name, "#{}", engine("a"), engine("b", engine="crasher"))
    engines = [tree.engine("a"), tree.engine("b")]
    tree.eval(end)
    assert until(lambda: not any(node.is_alive(pid) for pid in engines))


def test_engines_end_with_the_beam(sup_beam: Beam, node: Node) -> None:
    tree = Tree(sup_beam, node.name, "#{}", engine("a"), engine("b", engine="crasher"))
    engines = [tree.engine("a"), tree.engine("b")]
    sup_beam.kill()
    assert until(lambda: not any(node.is_alive(pid) for pid in engines))


# -- starting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ("raise", lambda reason: reason[0] == (Atom("ValueError"), b"no such start")),
        ("stop", lambda reason: reason is Atom("not_today")),
        ("exit", lambda reason: reason is Atom("went_away")),
    ],
)
def test_an_engine_that_refuses_to_start(sup_beam: Beam, node: Node, args: str, reason: Callable[[Any], bool]) -> None:
    tree = Tree(sup_beam, node.name)
    answer, (why, _) = tree.eval(f"supervisor:start_child(S, {engine('a', args)})")
    assert answer is ERROR
    assert reason(why)
    assert tree.children() == {}
    assert until(lambda: tree.eval("process_info(S, links)") == (Atom("links"), []))
    assert _counters(node) == 0


def test_an_engine_that_is_ignored_or_unknown(sup_beam: Beam, node: Node) -> None:
    tree = Tree(sup_beam, node.name)
    assert tree.eval(f"supervisor:start_child(S, {engine('a', 'ignore')})") == (OK, UNDEFINED)
    answer, (why, _) = tree.eval(f"supervisor:start_child(S, {engine('b', engine='no_such')})")
    assert (answer, why[:2]) == (ERROR, (Atom("unknown_engine"), Atom("no_such")))


def test_a_node_that_is_no_python_node(sup_beam: Beam) -> None:
    tree = Tree(sup_beam, sup_beam.node)
    answer, (why, _) = tree.eval(f"supervisor:start_child(S, {engine('a')})")
    assert answer is ERROR
    assert why[0] is Atom("undef")


def test_a_slow_start_is_waited_for_in_background(sup_beam: Beam, node: Node) -> None:
    begun = monotonic()
    tree = Tree(sup_beam, node.name, "#{}", engine("a", "{slow, 2.0}", "#{start_timeout => 100}"))
    assert monotonic() - begun < 1.8
    assert tree.engine("a") is UNDEFINED
    tree.wait_engine("a")
    assert _counters(node) == 1


def test_a_start_beyond_its_time_is_given_up(sup_beam: Beam, node: Node) -> None:
    tree = Tree(sup_beam, node.name)
    for options in ("#{init_timeout => 100}", "#{start => require, start_timeout => 100}"):
        answer, (why, _) = tree.eval(f"supervisor:start_child(S, {engine('a', '{slow, 0.5}', options)})")
        assert (answer, why[0]) == (ERROR, Atom("timeout"))
    gevent.sleep(0.7)
    assert _counters(node) == 0


def _counters(node: Node) -> int:
    return len([p for p in node.table.processes.values() if type(getattr(p, "instance", None)) is Counter])


@pytest.mark.parametrize("start", ["wait", "background"])
def test_supervisor_starts_before_the_python_node(sup_beam: Beam, python_nodes: PythonNodes, start: str) -> None:
    python = python_nodes()
    begun = monotonic()
    tree = Tree(
        sup_beam, python.node, "#{intensity => 0}", engine("a", "4", f"#{{start => {start}}}"), engine("b", "5")
    )
    assert monotonic() - begun < 4.0
    keepers = tree.children()
    assert tree.engine("a") is UNDEFINED
    assert tree.eval("gen_server:call(K, read)", K=keepers["a"]) == (ERROR, (NODEDOWN, python.node))
    tree.eval("gen_server:cast(K, {add, 1}), K ! dropped", K=keepers["a"])
    with pytest.raises(ErlangExit) as caught:
        tree.eval("gen_server:call({via, pyanoma_sup, K}, read)", K=keepers["a"])
    assert caught.value.reason[0] is Atom("noproc")
    python.start()
    tree.wait_engine("a")
    tree.wait_engine("b")
    assert tree.children() == keepers
    assert tree.eval("gen_server:call(K, read)", K=keepers["a"]) == 4


def test_a_required_node_that_is_down(sup_beam: Beam) -> None:
    nobody = Atom("nobody_at_all@127.0.0.1")
    tree = Tree(sup_beam, nobody)
    spec = engine("a", options="#{start => require, start_timeout => 400, retry_min => 50}")
    begun = monotonic()
    answer, (why, _) = tree.eval(f"supervisor:start_child(S, {spec})")
    assert (answer, why) == (ERROR, (NODEDOWN, nobody))
    assert 0.3 < monotonic() - begun < 5.0


def test_delays_grow(sup_beam: Beam) -> None:
    options = "#{retry_min => 40, retry_max => 400, jitter => 0.0}"
    tree = Tree(sup_beam, Atom("nobody_at_all@127.0.0.1"), "#{intensity => 0}", engine("a", options=options))
    keeper = tree.children()["a"]
    begun = monotonic()
    seen = []
    for _ in range(4):
        gevent.sleep(0.5)
        tries = tree.eval("maps:get(tries, sys:get_state(K))", K=keeper)
        # One at the start; then, in ms from there, 40, 120, 280, 600, 1000, 1400 ... and the time that each takes.
        seen.append((tries, 6 + (monotonic() - begun) / 0.4))
    assert all(3 <= tries <= most for tries, most in seen), seen
    assert seen[-1][0] > seen[0][0]
    assert tree.children() == {"a": keeper}


# -- the Python node goes and comes back ----------------------------------------------------------


@pytest.mark.fault
def test_python_killed_and_started_again(sup_beam: Beam, node: Node, python_nodes: PythonNodes) -> None:
    python = python_nodes().start()
    witness = "pyanoma_sup:engine_spec(w, M, witness, 0)"
    tree = Tree(sup_beam, python.node, "#{intensity => 0}", engine("a", "4"), engine("b", "5"), witness, M=node.name)
    keepers = tree.children()
    old = {name: tree.engine(name) for name in ("a", "b")}
    tree.eval("gen_server:call(K, {add, 10})", K=keepers["a"])
    tree.eval("gen_server:cast(K, kept)", K=keepers["w"])
    under_way = sup_beam.begin("gen_server:call(K, {sleep, 30.0}, 20000)", K=keepers["b"])
    to_the_engine = sup_beam.begin("gen_server:call({via, pyanoma_sup, K}, {sleep, 30.0}, 20000)", K=keepers["b"])
    gevent.sleep(0.2)
    python.kill()
    assert under_way.result() == (ERROR, (NODEDOWN, python.node))
    with pytest.raises(ErlangExit) as caught:
        to_the_engine.result()
    assert caught.value.reason[0] is Atom("noproc")
    gevent.sleep(1.0)
    assert tree.children() == keepers
    assert tree.engine("a") is UNDEFINED
    assert tree.eval("gen_server:call(K, read)", K=keepers["a"]) == (ERROR, (NODEDOWN, python.node))
    python.start()
    for name in ("a", "b"):
        tree.wait_engine(name, old[name])
    assert tree.children() == keepers
    assert tree.eval("gen_server:call(K, read)", K=keepers["a"]) == 4
    assert tree.eval("gen_server:call(K, heard)", K=keepers["w"]) == [(Atom("cast"), Atom("kept"))]
    assert tree.eval("sys:get_state(K)", K=keepers["a"])[Atom("tries")] == 0


@pytest.mark.fault
def test_python_that_connects_by_itself_is_noticed_at_once(sup_beam: Beam, python_nodes: PythonNodes) -> None:
    python = python_nodes(arguments=["--connect", sup_beam.name])
    options = "#{retry_min => 60000, retry_max => 60000}"
    tree = Tree(sup_beam, python.node, "#{intensity => 0}", engine("a", "4", options))
    for _ in range(2):
        python.start()
        tree.wait_engine("a", timeout_s=3.0)
        python.kill()
        assert until(lambda: tree.engine("a") is UNDEFINED)
    assert tree.alive()


@pytest.mark.fault
def test_python_stopped_in_order_is_no_failure(sup_beam: Beam, python_nodes: PythonNodes) -> None:
    python = python_nodes().start()
    names = [f"c{number}" for number in range(5)]
    tree = Tree(sup_beam, python.node, "#{intensity => 0}", *[engine(name) for name in names])
    keepers = tree.children()
    assert python.stop() == 0
    assert until(lambda: all(tree.engine(name) is UNDEFINED for name in names))
    python.start()
    for name in names:
        tree.wait_engine(name)
    assert tree.children() == keepers


@pytest.mark.fault
def test_a_frozen_python_does_not_hold_up_the_supervisor(sup_beam: Beam, python_nodes: PythonNodes) -> None:
    python = python_nodes().start()
    tree = Tree(sup_beam, python.node, "#{}", engine("a", options="#{shutdown => 300}"))
    python.freeze()
    begun = monotonic()
    assert tree.eval("supervisor:terminate_child(S, a)") is OK
    assert monotonic() - begun < 3.0
    begun = monotonic()
    answer, _ = tree.eval(
        f"supervisor:delete_child(S, a),supervisor:start_child(S, {engine('a', options='#{start_timeout => 300}')})"
    )
    assert answer is OK
    assert monotonic() - begun < 2.0
    assert tree.eval("supervisor:terminate_child(S, a)") is OK


def test_a_connection_lost_and_made_again(sup_beam: Beam, node: Node) -> None:
    tree = Tree(
        sup_beam,
        node.name,
        "#{intensity => 0}",
        engine("a", "3", "#{name => till}"),
        # The old one is still about its end when the connection is back, and has the name.
        engine("b", "{linger, 1.0}", "#{name => slow_end}", engine="crasher"),
    )
    keepers = tree.children()
    old = {name: tree.engine(name) for name in keepers}
    assert tree.eval("erlang:disconnect_node(N)") is True
    for name in keepers:
        tree.wait_engine(name, old[name])
    assert tree.children() == keepers
    assert until(lambda: not any(node.is_alive(pid) for pid in old.values()))


def test_engines_that_come_and_go_leave_nothing_behind(sup_beam: Beam, node: Node) -> None:
    tree = Tree(sup_beam, node.name, "#{intensity => 0}", engine("a", options="#{retry_min => 10}"))
    keeper = tree.children()["a"]
    for _ in range(20):
        old = tree.engine("a")
        tree.eval("erlang:disconnect_node(N)")
        tree.wait_engine("a", old)
        tree.eval("gen_server:call(K, read)", K=keeper)
    info = dict(tree.eval("process_info(K, [links, monitors, monitored_by, message_queue_len])", K=keeper))
    assert sorted(map(repr, info[Atom("links")])) == sorted(map(repr, [tree.pid, tree.engine("a")]))
    assert info[Atom("monitors")] == []
    assert info[Atom("message_queue_len")] == 0
    assert tree.eval("sys:get_state(K)", K=keeper)[Atom("calls")] == {}
    assert _counters(node) == 1


def test_keepers_under_simple_one_for_one(sup_beam: Beam, node: Node) -> None:
    template = "(pyanoma_sup:engine_spec(any, N, counter, 0))#{start => {pyanoma_sup, start_engine, [N, counter]}}"
    tree = Tree(sup_beam, node.name, "#{strategy => simple_one_for_one, intensity => 1}", template)
    keepers = [tree.eval(f"{{ok, K}} = supervisor:start_child(S, [{n}, #{{}}]), K") for n in (1, 2, 3)]
    assert [tree.eval("gen_server:call(K, read)", K=keeper) for keeper in keepers] == [1, 2, 3]
    tree.eval("gen_server:cast(K, crash)", K=keepers[1])
    listed = "length([P || {_, P, _, _} <- supervisor:which_children(S), P =/= K])"
    assert until(lambda: tree.eval(listed, K=keepers[1]) == 3)
    assert tree.eval("supervisor:terminate_child(S, K)", K=keepers[0]) is OK


# -- a child that is the Python node --------------------------------------------------------------


def python_spec(options: str = "") -> str:
    """A child specification of a node with the command line's own program; variables N and X (the interpreter), R (the project)."""
    return (
        'pyanoma_sup:node_spec(python, maps:merge(#{node => N, python => X, env => #{"PYTHONPATH" => R},'
        ' engines => #{counter => "tests.servers:Counter", crasher => <<"tests.servers:Crasher">>}}, #{'
        + options
        + "}))"
    )


def python_tree(beam: Beam, name: str, flags: str, *more: str, options: str = "") -> Tree:
    return Tree(beam, Atom(name), flags, python_spec(options), *more, X=sys.executable.encode(), R=str(ROOT).encode())


def running(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def os_pid(tree: Tree) -> int:
    pid = tree.eval("pyanoma_sup:os_pid(K)", K=tree.children()["python"])
    assert isinstance(pid, int)
    return pid


def test_node_child_starts_and_stops_python(sup_beam: Beam) -> None:
    tree = python_tree(sup_beam, "py_child@127.0.0.1", "#{}", engine("a", "4", "#{register => till}"))
    pid = os_pid(tree)
    assert running(pid)
    assert tree.eval("lists:member(N, nodes())") is True
    assert tree.eval("gen_server:call(till, read)") == 4
    assert dict(tree.eval("supervisor:count_children(S)"))[Atom("active")] == 2
    sup_beam.wait_for_log(r"py_child@127\.0\.0\.1: READY py_child@127\.0\.0\.1")
    assert b"PYANOMA_COOKIE" not in tree.eval(
        'iolist_to_binary(io_lib:format("~p", [sys:get_state(K)]))', K=tree.children()["python"]
    )
    assert tree.eval("gen_server:stop(S, shutdown, 20000)", timeout_s=20) is OK
    assert not running(pid)


@pytest.mark.fault
def test_node_child_killed_comes_back_with_its_engines(sup_beam: Beam) -> None:
    tree = python_tree(
        sup_beam,
        "py_back@127.0.0.1",
        "#{strategy => rest_for_one, intensity => 1, period => 60}",
        engine("a", "4"),
        engine("b", "5"),
    )
    pid, old = os_pid(tree), tree.engine("a")
    os.kill(pid, signal.SIGKILL)
    tree.wait_engine("a", old, timeout_s=20.0)
    tree.wait_engine("b", timeout_s=20.0)
    assert os_pid(tree) != pid
    assert tree.eval("gen_server:call(K, read)", K=tree.children()["b"]) == 5
    sup_beam.wait_for_log(r"exit_status,\s*137")


def test_node_child_ends_as_its_process_ends(sup_beam: Beam) -> None:
    tree = python_tree(sup_beam, "py_ends@127.0.0.1", "#{intensity => 0}", options="restart => transient")
    shell = sup_beam.shell()
    shell.eval("R = monitor(process, K)", K=tree.children()["python"])
    os.kill(os_pid(tree), signal.SIGTERM)
    assert shell.eval("receive {'DOWN', R, process, _, Why} -> Why after 9000 -> nothing end") is Atom("normal")
    assert until(lambda: tree.children() == {"python": UNDEFINED})
    answer, _ = tree.eval("supervisor:restart_child(S, python)")
    assert answer is OK
    assert running(os_pid(tree))
    assert tree.eval("supervisor:terminate_child(S, python)") is OK


@pytest.mark.fault
def test_python_ends_when_the_beam_is_killed(sup_beam: Beam) -> None:
    tree = python_tree(sup_beam, "py_orphan@127.0.0.1", "#{}", engine("a"))
    pid = os_pid(tree)
    sup_beam.kill()
    assert until(lambda: not running(pid), 10.0)


@pytest.mark.fault
def test_python_out_of_reach_is_replaced(sup_beam: Beam) -> None:
    options = "reconnect_timeout => 700, stop_timeout => 300"
    tree = python_tree(sup_beam, "py_frozen@127.0.0.1", "#{intensity => 1}", engine("a", "4"), options=options)
    pid, old = os_pid(tree), tree.engine("a")
    # A lost connection alone is made again.
    tree.eval("erlang:disconnect_node(N)")
    old = tree.wait_engine("a", old)
    gevent.sleep(1.0)
    assert os_pid(tree) == pid
    os.kill(pid, signal.SIGSTOP)
    tree.eval("erlang:disconnect_node(N)")
    tree.wait_engine("a", old, timeout_s=20.0)
    assert os_pid(tree) != pid
    assert not running(pid)
    sup_beam.wait_for_log("unreachable")


STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('READY', flush=True); time.sleep(60)"
)


@pytest.mark.fault
def test_a_process_that_ignores_sigterm_is_killed(sup_beam: Beam) -> None:
    spec = 'pyanoma_sup:node_spec(python, #{command => [X, "-c", P], connect => false, stop_timeout => 300})'
    tree = Tree(sup_beam, Atom("x@y"), "#{}", spec, X=sys.executable.encode(), P=STUBBORN.encode())
    pid = os_pid(tree)
    begun = monotonic()
    assert tree.eval("supervisor:terminate_child(S, python)") is OK
    assert 0.25 < monotonic() - begun < 3.0
    assert not running(pid)
    sup_beam.wait_for_log("did not end 300 ms after SIGTERM")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            "command => [X, \"-c\", \"print('one'); print('two'); raise SystemExit(3)\"], connect => false",
            (Atom("not_ready"), (Atom("exit_status"), 3), [b"one", b"two"]),
        ),
        (
            'command => [X, "-c", "import time; print(\'one\', flush=True); time.sleep(60)"], connect => false, ready_timeout => 500',
            (Atom("not_ready"), Atom("timeout"), [b"one"]),
        ),
        (
            'command => ["no_such_program"], connect => false',
            (Atom("no_such_program"), [ord(c) for c in "no_such_program"]),
        ),
        (
            'command => ["/no/such/program"], connect => false',
            (Atom("cannot_start"), [ord(c) for c in "/no/such/program"], Atom("enoent")),
        ),
        (
            "command => [X, \"-c\", \"print('READY', flush=True); input()\"], node => 'nobody_at_all@127.0.0.1'",
            (Atom("cannot_connect"), Atom("nobody_at_all@127.0.0.1")),
        ),
    ],
)
def test_a_python_node_that_does_not_get_ready(sup_beam: Beam, options: str, reason: Any) -> None:
    tree = Tree(sup_beam, Atom("x@y"), X=sys.executable.encode())
    begun = monotonic()
    answer, (why, _) = tree.eval(f"supervisor:start_child(S, pyanoma_sup:node_spec(python, #{{{options}}}))")
    assert (answer, why) == (ERROR, reason)
    assert monotonic() - begun < 5.0
    assert (
        tree.eval(
            "[P || P <- erlang:ports(), erlang:port_info(P, os_pid) =/= {os_pid, undefined}, "
            "element(2, erlang:port_info(P, name)) =:= binary_to_list(X)]"
        )
        == []
    )


def test_environment_and_directory(sup_beam: Beam, tmp_path: Path) -> None:
    program = "import os; print('READY', os.environ['COLOUR'], 'HOME' in os.environ, os.environ['PYANOMA_COOKIE'], os.getcwd(), flush=True); input()"
    spec = (
        'pyanoma_sup:node_spec(python, [{command, [X, "-c", P]}, {connect, false}, {cd, D}, {log, warning},'
        ' {env, [{"COLOUR", <<"gr\\x{fc}n"/utf8>>}, {"HOME", false}]}])'
    )
    Tree(sup_beam, Atom("x@y"), "#{}", spec, X=sys.executable.encode(), P=program.encode(), D=str(tmp_path).encode())
    seen = sup_beam.wait_for_log(r"READY (\S+) (\S+) (\S+) (\S+)")
    assert seen[2] == "False"
    assert seen[3] == sup_beam.cookie
    assert seen[4] == str(tmp_path)


# -- pushing --------------------------------------------------------------------------------------


def test_pushed_once(beam: Beam, beam_release: BeamRelease, node: Node) -> None:
    if not beam_release.compiler:
        with pytest.raises(ModuleNotPushed, match="has no compiler .* compile_on"):
            node.push_pyanoma_sup(beam.node)
        assert beam.eval("code:is_loaded(pyanoma_sup)") is False
        return
    assert node.push_pyanoma_sup(beam.node) is True
    assert node.push_pyanoma_sup(beam.node) is False
    beam.load_module(INIT_ANSWER)
    tree = Tree(beam, node.name, "#{}", engine("a", "8"))
    assert tree.eval("gen_server:call(K, read)", K=tree.children()["a"]) == 8
    beam.restart()
    assert node.push_pyanoma_sup(beam.node) is True


def test_compiled_elsewhere(
    beam: Beam, beam_factory: Callable[..., Beam], beam_releases: list[BeamRelease], node: Node
) -> None:
    able = next(release for release in beam_releases if release.compiler)
    other = beam_factory(release=able)
    assert node.push_pyanoma_sup(beam.node, compile_on=other.node) is True
    assert node.push_pyanoma_sup(beam.node) is False
    assert other.eval("code:is_loaded(pyanoma_sup)") is False


@pytest.fixture
def compiling_beam(
    beam_factory: Callable[..., Beam], beam_release: BeamRelease, beam_releases: list[BeamRelease]
) -> Beam:
    """A BEAM that can compile: of this release, or else of the first that can."""
    return beam_factory(
        release=beam_release if beam_release.compiler else next(one for one in beam_releases if one.compiler)
    )


def test_any_module_and_a_new_version_of_it(compiling_beam: Beam, node: Node) -> None:
    source = "-module(colours).\n-export([all/0]).\n%% ü\nall() -> [red, 'grün'].\n"
    assert push(node.rpc, compiling_beam.node, source).module is Atom("colours")
    assert compiling_beam.eval("colours:all()") == [Atom("red"), Atom("grün")]
    changed = push(node.rpc, compiling_beam.node, source.replace("red", "blue"))
    assert changed.loaded
    assert compiling_beam.eval("colours:all()") == [Atom("blue"), Atom("grün")]
    assert compiling_beam.eval("proplists:get_value(source, colours:module_info(compile))") is not None


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("-export([f/0]).\nf() -> ok.\n", r"no -module\(name\)"),
        ("-module(bad).\n-export([f/0]).\nf( -> ok.\n", r"line 3: syntax error before: '->'"),
        ("-module(bad).\n-export([f/0]).\nf() -> X.\n", r"line 3: variable 'X' is unbound"),
        ("-module(bad).\n-export([f/0]).\nf() -> ?MODULE.\n", r"line 3: syntax error before: '\?'"),
        ('-module(bad).\n-export([f/0]).\nf() -> "open.\n', r"line 3: unterminated string"),
        ("-module(bad).\n-export([f/0]).\nf() -> ok", r"no dot"),
        ("-module(lists).\n-export([f/0]).\nf() -> ok.\n", r"sticky_directory"),
    ],
)
def test_a_module_that_is_not_taken(compiling_beam: Beam, node: Node, source: str, problem: str) -> None:
    with pytest.raises(ModuleNotPushed, match=problem):
        push(node.rpc, compiling_beam.node, source)
    assert compiling_beam.eval("lists:reverse([1, 2])") == [2, 1]


def test_old_code_in_use_is_not_purged(compiling_beam: Beam, node: Node) -> None:
    source = "-module(loop).\n-export([run/0]).\nrun() -> receive next -> ?; stop -> ok end.\n"
    first, second, third = (source.replace("?", f"{number}, run()") for number in (1, 2, 3))
    push(node.rpc, compiling_beam.node, first)
    pid = compiling_beam.eval("spawn(loop, run, [])")
    push(node.rpc, compiling_beam.node, second)
    with pytest.raises(ModuleNotPushed, match="old_code_in_use"):
        push(node.rpc, compiling_beam.node, third)
    assert compiling_beam.eval("is_process_alive(P)", P=pid) is True


def test_push_to_a_node_that_is_down(node: Node) -> None:
    with pytest.raises(NoConnection):
        node.push_pyanoma_sup("nobody_at_all@127.0.0.1")


def test_compiles_without_a_warning(compiling_beam: Beam, tmp_path: Path) -> None:
    path = tmp_path / "pyanoma_sup.erl"
    path.write_text(pyanoma_sup_source())
    options = "[strong_validation, return, report, warn_unused_vars, warn_export_vars, warn_obsolete_guard]"
    assert compiling_beam.eval(f"compile:file(F, {options})", F=[ord(c) for c in str(path)]) == (
        OK,
        Atom("pyanoma_sup"),
        [],
    )
