"""Our engines under a stock OTP supervisor, with nothing installed on the BEAM: D12 of the design, line by line.

The start function of each child is ``{erpc, call, [Node, pyanoma, start_link, [Engine, Args]]}``.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, Node, Pid
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.modules import INIT_ANSWER
from tests.servers import Counter
from tests.waiting import until

OK = Atom("ok")
ERROR = Atom("error")
KILLED = Atom("killed")


class OtpSupervisor:
    """A stock supervisor on a BEAM, started with children that run on `node`."""

    def __init__(self, beam: Beam, node: Node, flags: str = "#{}", *children: str) -> None:
        self.beam = beam
        self.node = node
        beam.load_module(INIT_ANSWER)
        specs = ", ".join(children)
        self.pid: Pid = beam.eval(
            f"{{ok, S}} = supervisor:start_link(init_answer, {{ok, {{{flags}, [{specs}]}}}}), unlink(S), S", N=node.name
        )

    def children(self) -> dict[str, Any]:
        """Child id to pid (or ``undefined``, ``restarting``), as the supervisor says."""
        listed = self.beam.eval("supervisor:which_children(S)", S=self.pid)
        return {entry[0].name: entry[1] for entry in reversed(listed)}

    def eval(self, source: str, **bindings: Any) -> Any:
        return self.beam.eval(source, S=self.pid, N=self.node.name, **bindings)

    def alive(self) -> bool:
        return bool(self.beam.eval("is_process_alive(S)", S=self.pid))

    def restarted(self, name: str, old: Pid) -> Pid:
        """Wait until the child runs as another process."""
        pid: Any = None
        with gevent.Timeout(5, AssertionError(f"{name} was not restarted")):
            while not isinstance(pid, Pid) or pid == old:
                gevent.sleep(0.02)
                pid = self.children().get(name)
        return pid


def child(name: str, engine: str = "counter", args: str = "0", more: str = "") -> str:
    extra = f", {more}" if more else ""
    return f"#{{id => {name}, start => {{erpc, call, [N, pyanoma, start_link, [{engine}, {args}]]}}{extra}}}"


def test_children_start_and_answer(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(beam, node, "#{}", child("a", args="1"), child("b", args="2"), child("c", args="3"))
    children = supervisor.children()
    assert list(children) == ["a", "b", "c"]
    assert [beam.eval("gen_server:call(P, read)", P=pid) for pid in children.values()] == [1, 2, 3]
    assert all(node.is_alive(pid) for pid in children.values())
    assert beam.eval("{links, L} = process_info(S, links), lists:sort(L)", S=supervisor.pid) == beam.eval(
        "lists:sort(L)", L=list(children.values())
    )


@pytest.mark.parametrize(
    ("restart", "end", "comes_back"),
    [
        ("permanent", "gen_server:cast(P, {stop, normal})", True),
        ("permanent", "gen_server:cast(P, {stop, boom})", True),
        ("permanent", "gen_server:cast(P, crash)", True),
        ("permanent", "exit(P, kill)", True),
        ("transient", "gen_server:cast(P, {stop, normal})", False),
        ("transient", "gen_server:cast(P, {stop, shutdown})", False),
        ("transient", "gen_server:cast(P, {stop, {shutdown, done}})", False),
        ("transient", "gen_server:cast(P, crash)", True),
        ("transient", "exit(P, kill)", True),
        ("temporary", "gen_server:cast(P, crash)", False),
        ("temporary", "gen_server:cast(P, {stop, normal})", False),
    ],
)
def test_restart_types(beam: Beam, node: Node, restart: str, end: str, comes_back: bool) -> None:
    supervisor = OtpSupervisor(
        beam, node, "#{}", child("a", args="7", more=f"restart => {restart}"), child("b", args="1")
    )
    first = supervisor.children()
    beam.eval("gen_server:call(P, {add, 10})", P=first["b"])
    beam.eval(end, P=first["a"])
    if comes_back:
        again = supervisor.restarted("a", first["a"])
        assert beam.eval("gen_server:call(P, read)", P=again) == 7
    else:
        beam.wait_until(
            "not is_pid(element(2, hd(supervisor:which_children(S) ++ [{x, undefined}])))"
            " orelse length(supervisor:which_children(S)) =:= 1"
            " orelse lists:keyfind(a, 1, supervisor:which_children(S)) =:= {a, undefined, worker, [erpc]}",
            S=supervisor.pid,
        )
        gevent.sleep(0.1)
        children = supervisor.children()
        assert children.get("a", Atom("undefined")) is Atom("undefined")
        assert ("a" in children) is (restart == "transient")
    assert supervisor.children()["b"] == first["b"]
    assert beam.eval("gen_server:call(P, read)", P=first["b"]) == 11


def test_one_for_all(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(beam, node, "#{strategy => one_for_all}", child("a"), child("b"), child("c"))
    first = supervisor.children()
    beam.eval("exit(P, kill)", P=first["b"])
    supervisor.restarted("b", first["b"])
    assert all(pid != first[name] for name, pid in supervisor.children().items())
    assert not any(node.is_alive(pid) for pid in first.values())


def test_rest_for_one(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(beam, node, "#{strategy => rest_for_one}", child("a"), child("b"), child("c"))
    first = supervisor.children()
    beam.eval("gen_server:cast(P, crash)", P=first["b"])
    supervisor.restarted("c", first["c"])
    now = supervisor.children()
    assert now["a"] == first["a"]
    assert now["b"] != first["b"]
    assert now["c"] != first["c"]


def test_intensity_is_used_up(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(beam, node, "#{intensity => 2, period => 30}", child("a"), child("b"))
    other = supervisor.children()["b"]
    for _ in range(2):
        pid = supervisor.children()["a"]
        beam.eval("exit(P, kill)", P=pid)
        supervisor.restarted("a", pid)
    beam.eval("exit(P, kill)", P=supervisor.children()["a"])
    beam.wait_until("not is_process_alive(S)", S=supervisor.pid)
    assert until(lambda: not node.is_alive(other))


def test_terminate_restart_delete_child(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(beam, node, "#{}", child("a", args="5"), child("b"))
    pid = supervisor.children()["a"]
    assert supervisor.eval("supervisor:terminate_child(S, a)") is OK
    assert not node.is_alive(pid)
    assert supervisor.eval("supervisor:restart_child(S, b)") == (ERROR, Atom("running"))
    assert supervisor.eval("supervisor:delete_child(S, b)") == (ERROR, Atom("running"))
    answer, again = supervisor.eval("supervisor:restart_child(S, a)")
    assert answer is OK
    assert beam.eval("gen_server:call(P, read)", P=again) == 5
    assert supervisor.eval("supervisor:terminate_child(S, a)") is OK
    assert supervisor.eval("supervisor:delete_child(S, a)") is OK
    assert list(supervisor.children()) == ["b"]
    answer, added = supervisor.eval(f"supervisor:start_child(S, {child('d', args='9')})")
    assert answer is OK
    assert beam.eval("gen_server:call(P, read)", P=added) == 9


def test_shutdown_runs_terminate_and_waits(beam: Beam, node: Node) -> None:
    shell = beam.shell()
    supervisor = OtpSupervisor(beam, node)
    spec = child("a", "crasher", "{tell, T}", "shutdown => 3000")
    supervisor.eval(f"supervisor:start_child(S, {spec})", T=shell.pid)
    assert supervisor.eval("supervisor:terminate_child(S, a)") is OK
    assert shell.eval("receive M -> M after 1000 -> nothing end") == (Atom("terminate"), Atom("shutdown"))


def test_shutdown_timeout_ends_in_kill(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(
        beam, node, "#{}", child("a", "crasher", "{linger, 30.0}", "shutdown => 200"), child("b", args="3")
    )
    children = supervisor.children()
    shell = beam.shell()
    shell.eval("R = monitor(process, P)", P=children["a"])
    assert supervisor.eval("supervisor:terminate_child(S, a)") is OK
    assert shell.eval("receive {'DOWN', R, process, _, Why} -> Why after 3000 -> nothing end") is KILLED
    assert beam.eval("gen_server:call(P, read)", P=children["b"]) == 3


def test_brutal_kill(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(beam, node, "#{}", child("a", "crasher", "{linger, 30.0}", "shutdown => brutal_kill"))
    pid = supervisor.children()["a"]
    shell = beam.shell()
    shell.eval("R = monitor(process, P)", P=pid)
    assert supervisor.eval("supervisor:terminate_child(S, a)") is OK
    assert shell.eval("receive {'DOWN', R, process, _, Why} -> Why after 3000 -> nothing end") is KILLED
    assert not node.is_alive(pid)


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ("raise", lambda reason: reason[0] == (Atom("ValueError"), b"no such start")),
        ("stop", lambda reason: reason is Atom("not_today")),
        ("exit", lambda reason: reason is Atom("went_away")),
    ],
)
def test_failed_start_is_an_error_and_leaves_no_link(
    beam: Beam, node: Node, args: str, reason: Callable[[Any], bool]
) -> None:
    supervisor = OtpSupervisor(beam, node)
    answer, (why, _) = supervisor.eval(f"supervisor:start_child(S, {child('a', args=args)})")
    assert answer is ERROR
    assert reason(why)
    assert beam.eval("process_info(S, links)", S=supervisor.pid) == (Atom("links"), [])
    assert supervisor.children() == {}
    assert len([p for p in node.table.processes.values() if type(getattr(p, "instance", None)) is Counter]) == 0


def test_ignored_start(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(beam, node)
    assert supervisor.eval(f"supervisor:start_child(S, {child('a', args='ignore')})") == (OK, Atom("undefined"))


def test_unknown_engine_and_unknown_function(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(beam, node)
    answer, (why, _) = supervisor.eval(f"supervisor:start_child(S, {child('a', 'no_such_engine')})")
    assert answer is ERROR
    assert why[:2] == (Atom("unknown_engine"), Atom("no_such_engine"))
    wrong = "#{id => b, start => {erpc, call, [N, pyanoma, no_such, []]}}"
    answer, why = supervisor.eval(f"supervisor:start_child(S, {wrong})")
    assert answer is ERROR
    assert "undef" in repr(why)
    assert supervisor.alive()


def test_start_that_is_given_up_leaves_no_engine(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(beam, node)
    spec = "#{id => a, start => {erpc, call, [N, pyanoma, start_link, [counter, {slow, 1.0}], 200]}}"
    answer, _ = supervisor.eval(f"supervisor:start_child(S, {spec})")
    assert answer is ERROR
    gevent.sleep(1.2)
    assert [p for p in node.table.processes.values() if type(getattr(p, "instance", None)) is Counter] == []


def test_a_node_that_stops_lets_engines_terminate(beam: Beam, node: Node) -> None:
    shell = beam.shell()
    supervisor = OtpSupervisor(beam, node)
    spec = child("a", "crasher", "{tell, T}", "restart => temporary")
    supervisor.eval(f"supervisor:start_child(S, {spec})", T=shell.pid)
    node.stop()
    assert shell.eval("receive M -> M after 3000 -> nothing end") == (Atom("terminate"), Atom("shutdown"))


def test_killed_supervisor_takes_its_engines_with_it(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(beam, node, "#{}", child("a"), child("b"))
    first = supervisor.children()
    beam.eval("exit(S, kill)", S=supervisor.pid)
    assert until(lambda: not any(node.is_alive(pid) for pid in first.values()))


def test_killed_beam_takes_its_engines_with_it(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(beam, node, "#{}", child("a"), child("b", "crasher"))
    first = supervisor.children()
    beam.kill()
    assert until(lambda: not any(node.is_alive(pid) for pid in first.values()))


def test_supervisor_stops_in_order(beam: Beam, node: Node) -> None:
    shell = beam.shell()
    supervisor = OtpSupervisor(beam, node)
    for name in ("a", "b"):
        supervisor.eval(f"supervisor:start_child(S, {child(name, 'crasher', '{tell, T}')})", T=shell.pid)
    first = supervisor.children()
    assert beam.eval("gen_server:stop(S, shutdown, 5000)", S=supervisor.pid) is OK
    assert not any(node.is_alive(pid) for pid in first.values())


def test_simple_one_for_one(beam: Beam, node: Node) -> None:
    template = "#{id => any, start => {erpc, call, [N, pyanoma, start_link]}}"
    supervisor = OtpSupervisor(beam, node, "#{strategy => simple_one_for_one}", template)
    pids = [supervisor.eval(f"{{ok, P}} = supervisor:start_child(S, [[counter, {n}]]), P") for n in (1, 2, 3)]
    assert [beam.eval("gen_server:call(P, read)", P=pid) for pid in pids] == [1, 2, 3]
    assert supervisor.eval("proplists:get_value(active, supervisor:count_children(S))") == 3
    beam.eval("exit(P, kill)", P=pids[1])
    assert until(lambda: pids[1] not in _pids(supervisor) and len(_pids(supervisor)) == 3)
    assert supervisor.eval("supervisor:terminate_child(S, P)", P=pids[0]) is OK
    assert not node.is_alive(pids[0])


def _pids(supervisor: OtpSupervisor) -> list[Pid]:
    return [entry[1] for entry in supervisor.eval("supervisor:which_children(S)")]


def test_many_restarts_leave_nothing_behind(beam: Beam, node: Node) -> None:
    supervisor = OtpSupervisor(beam, node, "#{intensity => 1000, period => 1}", child("a"))
    pid = supervisor.children()["a"]
    for turn in range(60):
        beam.eval("exit(P, kill)" if turn % 2 else "gen_server:cast(P, crash)", P=pid)
        pid = supervisor.restarted("a", pid)
    remote = node.table.remote[beam.node]
    assert len(remote.links) == 1
    assert len(remote.watchers) <= 1
    assert beam.eval(
        "{length(element(2, process_info(S, links))), element(2, process_info(S, monitors))}", S=supervisor.pid
    ) == (1, [])


# -- the Python node itself dies --------------------------------------------------------------

PROGRAM = """
import sys
from erlang_bridge import Node
from tests.servers import Counter
from tests.waiting import until
import gevent
node = Node(sys.argv[1], cookie=sys.argv[2], epmd_port_number=int(sys.argv[3]), engines={"counter": Counter})
print("READY", flush=True)
gevent.sleep(60)
"""


def start_python(name: str, cookie: str, epmd_port: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, name, cookie, str(epmd_port)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "READY\n"
    return process


def test_python_killed_and_started_again(beam: Beam, beam_cookie: str, epmd_port: int) -> None:
    name = "py_killed@127.0.0.1"
    beam.load_module(INIT_ANSWER)
    process = start_python(name, beam_cookie, epmd_port)
    try:
        spec = child("a", args="4", more="restart => temporary")
        supervisor = beam.eval("{ok, S} = supervisor:start_link(init_answer, {ok, {#{}, []}}), unlink(S), S")
        _, old = beam.eval(f"supervisor:start_child(S, {spec})", S=supervisor, N=Atom(name))
        shell = beam.shell()
        shell.eval("R = monitor(process, P)", P=old)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        why = shell.eval("receive {'DOWN', R, process, _, Why} -> Why after 5000 -> nothing end")
        assert why is Atom("noconnection")
        beam.wait_until("supervisor:which_children(S) =:= []", S=supervisor)
        answer, why = beam.eval(f"supervisor:start_child(S, {spec})", S=supervisor, N=Atom(name))
        assert answer is ERROR
        assert "noconnection" in repr(why)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
    process = start_python(name, beam_cookie, epmd_port)
    try:
        answer, new = beam.eval(f"supervisor:start_child(S, {spec})", S=supervisor, N=Atom(name))
        assert answer is OK
        assert beam.eval("gen_server:call(P, read)", P=new) == 4
        # The pid of the earlier start is dead, whatever number it has.
        assert beam.eval("catch gen_server:call(P, read, 3000)", P=old)[1][0] is Atom("noproc")
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
