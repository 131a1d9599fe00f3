"""Functions of ``sys``, ``supervisor``, ``gen_server`` that a BEAM calls on the node, by rpc."""

from __future__ import annotations

from typing import Any

import pytest

from erlang_bridge import Atom, ChildSpec, ErlangError, GenServer, Node, Pid, Reply, Supervisor, SupervisorFlags
from erlang_bridge.testing.beams import Beam
from tests.servers import Counter, Crasher
from tests.waiting import until

OK = Atom("ok")
ERROR = Atom("error")
UNDEFINED = Atom("undefined")


@pytest.fixture
def counter(node: Node) -> Pid:
    return node.start(Counter, 5, name="counter")


def failure(shared_beam: Beam, node: Node, call: str, **bindings: Any) -> Any:
    """Class and reason that a call raises there."""
    source = f"try erpc:call(N, {call}) catch Class:Reason -> {{Class, Reason}} end"
    return shared_beam.eval(source, N=node.name, **bindings)


def test_state_and_status(ask: Any, counter: Pid) -> None:
    name = Atom("counter")
    assert ask("sys", "get_state", name) == ask("sys", "get_state", counter, 1000) == 5
    status = ask("sys", "get_status", counter, 200)
    assert status[:3] == (Atom("status"), counter, (Atom("module"), Atom("gen_server")))
    assert status[3][4][2] == (Atom("data"), [(list(b"State"), 5)])
    assert ask("sys", "get_status", name)[:2] == status[:2]


def test_a_busy_server_shows_its_state(ask: Any, shared_beam: Beam, counter: Pid) -> None:
    pending = shared_beam.begin("gen_server:call(P, {sleep, 2.0})", P=counter)
    assert until(lambda: ask("erlang", "process_info", counter, Atom("current_function"))[1][1] is not Atom("loop"))
    status = ask("sys", "get_status", counter, 200)
    assert status[3][4][2] == (Atom("data"), [(list(b"State"), 5)])
    about = {"".join(map(chr, key)): value for key, value in status[3][4][1][1]}
    assert about["Status"] is Atom("running")
    assert "blocked" in "".join(map(chr, about["Busy"]))
    assert pending.result() is OK
    assert ask("sys", "get_state", counter) == 5


def test_suspend_resume_and_debugging(ask: Any, counter: Pid) -> None:
    assert ask("sys", "statistics", counter, True) is OK
    assert ask("sys", "log", counter, (True, 5)) is OK
    assert ask("gen_server", "call", counter, (Atom("add"), 2)) is OK
    _, statistics = ask("sys", "statistics", counter, Atom("get"))
    assert dict(statistics)[Atom("messages_in")] == 1
    _, events = ask("sys", "log", counter, Atom("get"), 1000)
    assert events[0][0] is Atom("in")
    assert ask("sys", "no_debug", counter) is OK
    assert ask("sys", "trace", counter, False) is OK
    assert ask("sys", "suspend", counter) is OK
    assert ask("sys", "get_status", counter)[3][1] is Atom("suspended")
    assert ask("sys", "change_code", counter, Atom("tests.servers"), UNDEFINED, []) is OK
    assert ask("sys", "resume", counter) is OK
    assert ask("gen_server", "call", Atom("counter"), Atom("read"), Atom("infinity")) == 7


def test_replace_state_is_refused(shared_beam: Beam, node: Node, counter: Pid) -> None:
    kind, reason = failure(shared_beam, node, "sys, replace_state, [P, fun(S) -> S end]", P=counter)
    assert (kind, reason[0]) == (ERROR, Atom("exception"))
    assert reason[1][0] is Atom("callback_failed")


def test_call_and_cast(ask: Any, counter: Pid) -> None:
    assert ask("gen_server", "cast", counter, (Atom("add"), 1)) is OK
    assert ask("gen_server", "cast", Atom("nobody"), Atom("x")) is OK
    assert ask("gen_server", "call", counter, Atom("read"), 1000) == 6


def test_a_server_of_the_asker_can_be_asked(ask: Any, shared_beam: Beam) -> None:
    pid = shared_beam.eval("whereis(kernel_sup)")
    theirs = shared_beam.eval("supervisor:count_children(kernel_sup)")
    assert ask("supervisor", "count_children", (Atom("kernel_sup"), Atom(shared_beam.name))) == theirs
    assert ask("gen_event", "which_handlers", shared_beam.eval("whereis(erl_signal_server)")) == [
        Atom("erl_signal_handler")
    ]
    assert ask("sys", "get_status", pid)[1] == pid


@pytest.mark.parametrize(
    "call",
    [
        "sys, get_state, [nobody]",
        "sys, get_status, [nobody, 200]",
        "sys, suspend, [nobody]",
        "gen_server, call, [nobody, x]",
        "gen_server, call, [nobody, x, infinity]",
        "gen_server, stop, [nobody]",
        "supervisor, which_children, [nobody]",
        "gen_server, call, [{global, nobody}, x]",
        "gen_server, stop, [{via, global, nobody}]",
        "gen_event, which_handlers, [nobody]",
        "supervisor, count_children, [{global, nobody}]",
        "sys, get_state, [{global, nobody}]",
    ],
)
def test_nobody_there_is_told_as_on_a_beam(shared_beam: Beam, node: Node, call: str) -> None:
    source = f"try erpc:call(N, {call}) catch exit:{{exception, Reason}} -> Reason end"
    ours = shared_beam.eval(source, N=node.name)
    assert ours == shared_beam.eval(source, N=Atom(shared_beam.name))
    assert ours is Atom("noproc") or ours[0] is Atom("noproc")


@pytest.mark.parametrize("server", ["1.5", "[]", "#{}", "{a, b, c}", "{1, 2}", "{a, 1}"])
@pytest.mark.parametrize(
    "call", ["gen_server, call, [S, x]", "gen_server, cast, [S, x]", "supervisor, which_children, [S]"]
)
def test_what_is_no_server_is_told_as_on_a_beam(shared_beam: Beam, node: Node, call: str, server: str) -> None:
    source = f"""
        S = {server},
        try erpc:call(N, {call})
        catch exit:{{exception, {{{{Reason, _}}, Mfa}}}} -> {{exit, Reason, Mfa}};
              error:{{exception, Reason, _}} -> {{error, Reason}}
        end
    """
    ours = shared_beam.eval(source, N=node.name)
    assert ours == shared_beam.eval(source, N=Atom(shared_beam.name))


@pytest.mark.parametrize("timeout", ["-1", "1.5", "soon", "1 bsl 1100"])
def test_what_is_no_time_out_is_told_as_on_a_beam(shared_beam: Beam, node: Node, timeout: str) -> None:
    source = f"""
        try erpc:call(N, gen_server, call, [rex, x, {timeout}])
        catch exit:{{exception, {{{{Reason, _}}, {{gen_server, call, _}}}}}} -> Reason
        end
    """
    assert shared_beam.eval(source, N=node.name) is shared_beam.eval(source, N=Atom(shared_beam.name))


def test_no_time_out_for_sys(shared_beam: Beam, node: Node, counter: Pid) -> None:
    kind, reason = failure(shared_beam, node, "sys, get_state, [counter, x]")
    assert (kind, reason[:2]) == (ERROR, (Atom("exception"), Atom("function_clause")))


def test_servers_with_global_names(ask: Any, node: Node, counter: Pid) -> None:
    everywhere = (Atom("global"), Atom("everywhere"))
    assert ask("gen_server", "cast", everywhere, Atom("x")) is OK
    assert node.global_names.register_name("everywhere", counter)
    assert ask("sys", "get_state", everywhere) == 5
    assert ask("gen_server", "cast", everywhere, (Atom("add"), 1)) is OK
    assert ask("gen_server", "call", (Atom("via"), *everywhere), Atom("read")) == 6


def test_a_time_out(shared_beam: Beam, node: Node, counter: Pid) -> None:
    shared_beam.eval("gen_server:cast(P, x), ok", P=node.start(Counter, name="other"))
    shared_beam.begin("gen_server:call(P, {sleep, 1.0})", P=counter)
    kind, reason = failure(shared_beam, node, "sys, get_state, [P, 100]", P=counter)
    assert (kind, reason[1][0]) == (Atom("exit"), Atom("timeout"))
    kind, reason = failure(shared_beam, node, "gen_server, call, [P, read, 100]", P=counter)
    assert (kind, reason[1][0]) == (Atom("exit"), Atom("timeout"))


def test_stop(ask: Any, shared_beam: Beam, node: Node, counter: Pid) -> None:
    shell = shared_beam.shell()
    pid = node.start(Crasher, (Atom("tell"), shell.pid))
    assert ask("gen_server", "stop", pid, Atom("shutdown"), 5000) is OK
    assert shell.eval("receive M -> M after 3000 -> nothing end") == (Atom("terminate"), Atom("shutdown"))
    shell.end()
    assert ask("proc_lib", "stop", Atom("counter")) is OK
    assert not node.is_alive(counter)
    slow = node.start(Crasher, (Atom("linger"), 0.5))
    assert failure(shared_beam, node, "gen_server, stop, [P, shutdown, 50]", P=slow) == (
        Atom("exit"),
        (Atom("exception"), Atom("timeout")),
    )


def test_terminate(ask: Any, node: Node, counter: Pid) -> None:
    assert ask("sys", "terminate", counter, Atom("shutdown")) is OK
    assert until(lambda: not node.is_alive(counter))


def test_supervisors(ask: Any, node: Node) -> None:
    name = Atom("watcher")
    children = [ChildSpec("first", (Counter, 1, {"name": "first"}))]
    node.start(Supervisor, (SupervisorFlags(), children), name="watcher")
    ((identity, pid, kind, modules),) = ask("supervisor", "which_children", name)
    assert (identity, pid, kind) == (Atom("first"), node.whereis("first"), Atom("worker"))
    assert modules == [Atom("tests.servers.Counter")]
    assert dict(ask("supervisor", "count_children", name))[Atom("active")] == 1
    assert ask("supervisor", "get_childspec", name, Atom("first"))[1][Atom("restart")] is Atom("permanent")
    assert ask("supervisor", "which_child", name, Atom("first"))[0] is OK
    assert ask("supervisor", "terminate_child", name, Atom("first")) is OK
    assert ask("supervisor", "restart_child", name, Atom("first")) == (OK, node.whereis("first"))
    start = (Atom("pyanoma"), Atom("start_link"), [Atom("counter"), 7])
    spec = {Atom("id"): Atom("second"), Atom("start"): start, Atom("restart"): Atom("temporary")}
    answer, second = ask("supervisor", "start_child", name, spec)
    assert answer is OK
    assert ask("sys", "get_state", second) == 7
    assert ask("supervisor", "terminate_child", name, Atom("second")) is OK
    assert ask("supervisor", "terminate_child", name, Atom("first")) is OK
    assert ask("supervisor", "delete_child", name, Atom("first")) is OK
    assert ask("supervisor", "which_children", name) == []


def test_the_kernel_is_a_supervisor(ask: Any, node: Node) -> None:
    children = {child[0].name: child[1] for child in ask("supervisor", "which_children", Atom("kernel_sup"))}
    assert children["rex"] == node.whereis("rex")
    assert ask("supervisor", "get_childspec", Atom("kernel_sup"), Atom("rex"))[0] is OK


def test_a_server_that_waits_inside_a_callback(ask: Any, shared_beam: Beam, node: Node) -> None:
    class Waiting(GenServer):
        def handle_call(self, request: Any, caller: Any, state: Any) -> Reply:
            self.receive(lambda message: message is Atom("go"), 5.0)
            return Reply(OK, state)

    pid = node.start(Waiting, b"waiting state")
    pending = shared_beam.begin("gen_server:call(P, wait)", P=pid)
    assert until(lambda: node.table.find(pid).greenlet is not None)
    status = ask("sys", "get_status", pid, 200)
    assert status[3][4][2] == (Atom("data"), [(list(b"State"), b"waiting state")])
    node.send(pid, Atom("go"))
    assert pending.result() is OK


def test_what_is_not_exported_is_undef(ask: Any) -> None:
    with pytest.raises(ErlangError) as caught:
        ask("sys", "nonsense", 1)
    assert caught.value.reason[1] is Atom("undef")
