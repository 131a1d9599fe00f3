"""System messages from a BEAM's ``sys`` to our servers, on each release with the shape it expects."""

from __future__ import annotations

from typing import Any

import pytest

from erlang_bridge import Atom, GenServer, Node, NoReply, Pid, Reply, Stop
from erlang_bridge.testing.beams import Beam
from tests.servers import Counter, Crasher
from tests.waiting import until

OK = Atom("ok")


@pytest.fixture
def counter(node: Node) -> Pid:
    return node.start(Counter, 5, name="counter")


def test_get_state(beam: Beam, counter: Pid) -> None:
    assert beam.eval("sys:get_state(P)", P=counter) == 5


def test_get_state_of_what_has_no_term(beam: Beam, node: Node) -> None:
    class Holder(GenServer):
        def init(self, args: Any) -> Any:
            return {"seen": {3, 1, 2}, "self": object()}

    state = beam.eval("sys:get_state(P)", P=node.start(Holder))
    assert state[b"seen"] == [1, 2, 3]
    assert state[b"self"].startswith(b"<object object")


def test_replace_state_fails_and_changes_nothing(beam: Beam, counter: Pid) -> None:
    result = beam.eval("catch sys:replace_state(P, fun(S) -> S + 1 end)", P=counter)
    assert result[0] is Atom("EXIT")
    assert "callback_failed" in repr(result)
    assert beam.eval("gen_server:call(P, read)", P=counter) == 5


def test_get_status(beam: Beam, counter: Pid) -> None:
    status = beam.eval("sys:get_status(P)", P=counter)
    assert status[:3] == (Atom("status"), counter, (Atom("module"), Atom("gen_server")))
    dictionary, running, _parent, debug, misc = status[3]
    assert dict(dictionary)[Atom("$initial_call")] == (Atom("tests.servers.Counter"), Atom("init"), 1)
    assert running is Atom("running")
    assert debug == []
    header = misc[0]
    assert header == (Atom("header"), list(b"Status for generic server counter"))
    assert misc[2] == (Atom("data"), [(list(b"State"), 5)])


def test_format_status_hides_secrets(beam: Beam, node: Node) -> None:
    class Vault(Counter):
        def format_status(self, status: dict[str, Any]) -> dict[str, Any]:
            return {**status, "state": Atom("hidden")}

    status = beam.eval("sys:get_status(P)", P=node.start(Vault, 42))
    assert status[3][4][2] == (Atom("data"), [(list(b"State"), Atom("hidden"))])


def test_suspend_and_resume_keep_the_order(beam: Beam, counter: Pid) -> None:
    assert beam.eval("sys:suspend(P)", P=counter) is OK
    beam.eval("[gen_server:cast(P, {add, N}) || N <- [1, 2, 3]], ok", P=counter)
    pending = beam.begin("gen_server:call(P, read)", P=counter)
    status = beam.eval("sys:get_status(P)", P=counter)
    assert status[3][1] is Atom("suspended")
    assert beam.eval("sys:get_state(P)", P=counter) == 5
    assert not pending.ready()
    assert beam.eval("sys:resume(P)", P=counter) is OK
    assert pending.result() == 11


def test_suspended_server_ends_with_its_parent(beam: Beam, node: Node) -> None:
    shell = beam.shell()
    source = "{ok, P} = erpc:call(N, pyanoma, start_link, [crasher, 0]), sys:suspend(P), P"
    pid = shell.eval(source, N=node.name)
    shell.end()
    assert until(lambda: not node.is_alive(pid))


def test_change_code(beam: Beam, node: Node) -> None:
    class Versioned(Counter):
        def code_change(self, old_version: Any, state: Any, extra: Any) -> Any:
            if extra is Atom("refuse"):
                raise RuntimeError("not from that version")
            return state + extra

    pid = node.start(Versioned, 1)
    running = beam.eval("catch sys:change_code(P, 'mod', vsn, 10)", P=pid)
    assert running == (Atom("error"), (Atom("unknown_system_msg"), (Atom("change_code"), Atom("mod"), Atom("vsn"), 10)))
    assert beam.eval("sys:suspend(P), sys:change_code(P, 'mod', vsn, 10)", P=pid) is OK
    failed = beam.eval("sys:change_code(P, 'mod', vsn, refuse)", P=pid)
    assert failed[0] is Atom("error")
    assert failed[1][0] == (Atom("RuntimeError"), b"not from that version")
    assert beam.eval("sys:resume(P), gen_server:call(P, read)", P=pid) == 11


def test_statistics_and_log(beam: Beam, counter: Pid) -> None:
    assert beam.eval("sys:statistics(P, get)", P=counter) == (OK, Atom("no_statistics"))
    assert beam.eval("sys:statistics(P, true)", P=counter) is OK
    assert beam.eval("sys:log(P, {true, 4})", P=counter) is OK
    beam.eval("gen_server:call(P, {add, 1}), gen_server:cast(P, {add, 1}), gen_server:call(P, read)", P=counter)
    _, statistics = beam.eval("sys:statistics(P, get)", P=counter)
    values = {key.name: value for key, value in statistics}
    assert (values["messages_in"], values["messages_out"]) == (3, 2)
    assert len(values["start_time"]) == 2
    _, events = beam.eval("sys:log(P, get)", P=counter)
    assert [event[0].name for event in events] == ["in", "noreply", "in", "out"]
    assert events[-1][:2] == (Atom("out"), 7)
    assert beam.eval("sys:no_debug(P), sys:statistics(P, get)", P=counter) == (OK, Atom("no_statistics"))


GEN_SERVER = """
-module(compared_server).
-behaviour(gen_server).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
init(State) -> {ok, State}.
handle_call(read, _, State) -> {reply, State, State};
handle_call({add, N}, _, State) -> {reply, ok, State + N};
handle_call({later, _}, From, State) -> self() ! {answer, From}, {noreply, State}.
handle_cast({add, N}, State) -> {noreply, State + N}.
handle_info({answer, From}, State) -> gen_server:reply(From, {late, State}), {noreply, State}.
"""


def test_log_and_statistics_are_those_of_a_gen_server(beam: Beam, node: Node, compile_erlang: Any) -> None:
    beam.load_module(compile_erlang(GEN_SERVER))
    source = """
    {ok, _} = {sys:log(P, {true, 30}), ok}, sys:statistics(P, true),
    gen_server:call(P, read), gen_server:call(P, {add, 1}), gen_server:cast(P, {add, 2}), gen_server:call(P, {later, 0.0}),
    sys:suspend(P), gen_server:cast(P, {add, 3}), sys:resume(P), gen_server:call(P, read),
    {ok, Log} = sys:log(P, get),
    {ok, Statistics} = sys:statistics(P, get),
    Plain = fun({in, {'$gen_call', {_, [alias|_]}, Request}}) -> {in, call, Request};
               ({in, {answer, {_, [alias|_]}}}) -> {in, answer};
               ({out, Reply, {_, [alias|_]}, State}) -> {out, Reply, State};
               (Event) -> Event
            end,
    {lists:map(Plain, Log), lists:keysort(1, Statistics)}
    """.replace("{ok, _} = {sys:log(P, {true, 30}), ok}", "sys:log(P, {true, 30})")
    theirs, their_numbers = beam.eval(source, P=beam.eval("{ok, P} = gen_server:start(compared_server, 5, []), P"))
    ours, our_numbers = beam.eval(source, P=node.start(Counter, 5))
    assert ours == theirs
    assert len(ours) > 10
    wanted = {"messages_in", "messages_out"}
    assert [pair for pair in our_numbers if pair[0].name in wanted] == [
        pair for pair in their_numbers if pair[0].name in wanted
    ]
    assert [key for key, _ in our_numbers] == [key for key, _ in their_numbers]


SECRET = b"the secret"


class Vault(Counter):
    """Hides what it has and is told, wherever people see it."""

    def init(self, args: Any) -> Any:
        return {b"key": SECRET}

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        match request:
            case (Atom("keep"), _):
                return Reply(OK, state)
            case Atom("crash"):
                raise RuntimeError("asked to crash")
        return None

    def format_status(self, status: dict[str, Any]) -> dict[str, Any]:
        hidden = {key: Atom("hidden") for key in ("state", "message") if key in status}
        return {**status, **hidden, **({"log": [Atom("hidden")]} if "log" in status else {})}


class BrokenVault(Vault):
    def format_status(self, status: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("cannot hide it")


@pytest.mark.parametrize("vault", [Vault, BrokenVault])
@pytest.mark.parametrize("last", ["crash", '{unknown, <<"the secret">>}'])
def test_secrets_stay_hidden(
    beam: Beam, node: Node, vault: type[Vault], last: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In get_status, the log, its printing, the trace, and the reports of a crash, here and there."""
    node.engines["vault"] = vault
    shell = beam.shell()
    pid = shell.eval("{ok, P} = erpc:call(N, pyanoma, start_link, [vault, 0]), unlink(P), P", N=node.name)
    assert beam.eval("sys:get_state(P)", P=pid) == {b"key": SECRET}
    beam.eval("sys:log(P, true), sys:trace(P, true), gen_server:call(P, {keep, S})", P=pid, S=SECRET)
    shown = repr(beam.eval("{sys:get_status(P), sys:log(P, get)}", P=pid))
    assert str(SECRET) not in shown
    beam.eval("sys:log(P, print)", P=pid)
    reason = beam.eval(f"catch gen_server:call(P, {last})", P=pid)
    if last == "crash":
        assert str(SECRET) not in repr(reason)
    else:
        # What the caller has given is in its own exit reason; the stack trace in it has nothing of the server.
        assert b"key" not in repr(reason).encode()
    if vault is Vault:
        assert beam.wait_for_log("CRASH REPORT|crash_report|terminating")
    assert until(lambda: not node.is_alive(pid))
    beam.eval("ok")
    assert SECRET.decode() not in beam.log_text().replace(f"gen_server:call(P, {last})", "")
    assert SECRET.decode() not in caplog.text


def test_install_is_refused(beam: Beam, counter: Pid) -> None:
    assert beam.eval("catch sys:install(P, {fun(S, _, _) -> S end, 0})", P=counter) is Atom("unknown_debug")


def test_a_peer_cannot_have_files_written(beam: Beam, counter: Pid, tmp_path: Any) -> None:
    path = str(tmp_path / "debug.log")
    assert beam.eval("sys:log_to_file(P, F)", P=counter, F=[ord(c) for c in path]) == (
        Atom("error"),
        Atom("open_file"),
    )
    # Nor by saying that one of ours asks.
    beam.eval("P ! {system, {P, make_ref()}, {debug, {log_to_file, F}}}", P=counter, F=path.encode())
    assert beam.eval("sys:log_to_file(P, false)", P=counter) is OK
    assert not (tmp_path / "debug.log").exists()


def test_terminate(beam: Beam, node: Node, counter: Pid) -> None:
    shell = beam.shell()
    pid = node.start(Crasher, (Atom("tell"), shell.pid))
    assert shell.eval("sys:terminate(P, shutdown)", P=pid) is OK
    assert shell.eval("receive M -> M after 3000 -> nothing end") == (Atom("terminate"), Atom("shutdown"))
    assert until(lambda: not node.is_alive(pid))
    assert beam.eval("gen_server:stop(P)", P=counter) is OK


def test_unknown_system_message(beam: Beam, counter: Pid) -> None:
    source = "R = make_ref(), P ! {system, {self(), R}, dance}, receive {R, A} -> A after 3000 -> nothing end"
    assert beam.eval(source, P=counter) == (Atom("error"), (Atom("unknown_system_msg"), Atom("dance")))


# -- what callbacks return --------------------------------------------------------------------


class Talkative(GenServer):
    """One request for each thing that a callback may return."""

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        match request:
            case Atom("timeout"):
                return Reply(OK, state, timeout_s=0.05)
            case Atom("continue"):
                return Reply(OK, state, continue_with=(Atom("more"), caller[0]))
            case Atom("bad"):
                return Atom("nonsense")
            case Atom("stop_without_reply"):
                return Stop(Atom("stopped"), state)
            case Atom("state"):
                return Reply(state, state)
        return None

    def handle_info(self, message: Any, state: Any) -> Any:
        return NoReply((Atom("info"), message))

    def handle_continue(self, continue_with: Any, state: Any) -> Any:
        return NoReply((Atom("continued"), continue_with[0]))


def test_timeout_and_continue(beam: Beam, node: Node) -> None:
    pid = node.start(Talkative)
    source = "gen_server:call(P, timeout), timer:sleep(200), gen_server:call(P, state)"
    assert beam.eval(source, P=pid) == (Atom("info"), Atom("timeout"))
    # A message that comes first takes the time-out back.
    source = "gen_server:call(P, timeout), P ! other, timer:sleep(200), gen_server:call(P, state)"
    assert beam.eval(source, P=pid) == (Atom("info"), Atom("other"))
    assert beam.eval("gen_server:call(P, continue), gen_server:call(P, state)", P=pid) == (
        Atom("continued"),
        Atom("more"),
    )


@pytest.mark.parametrize(
    ("request_", "reason"),
    [("bad", (Atom("bad_return_value"), Atom("nonsense"))), ("stop_without_reply", Atom("stopped"))],
)
def test_ends_by_return_value(beam: Beam, node: Node, request_: str, reason: Any) -> None:
    result = beam.eval(f"catch gen_server:call(P, {request_})", P=node.start(Talkative))
    assert result[1][0] == reason
