"""rpc, erpc and spawn in both directions: every class of result."""

from __future__ import annotations

import time
from typing import Any

import gevent
import pytest

from erlang_bridge import (
    Atom,
    CallTimeout,
    ErlangError,
    ErlangExit,
    ErlangThrow,
    EtfEncodeError,
    NoConnection,
    Node,
    NodeNotRegistered,
    RemoteCall,
)
from erlang_bridge.testing.beams import Beam
from tests.waiting import until

OK = Atom("ok")


@pytest.fixture
def worker(node: Node) -> Node:
    def throw(value: Any) -> None:
        raise ErlangThrow(value)

    def leave(value: Any) -> None:
        raise ErlangExit(value)

    def fail(value: Any) -> None:
        raise ErlangError(value)

    def divide(number: int) -> float:
        return 1 / number

    def caller(call: RemoteCall) -> Any:
        return call.caller

    node.export("work", "echo", lambda value: value)
    node.export("work", "throw", throw)
    node.export("work", "exit", leave)
    node.export("work", "error", fail)
    node.export("work", "divide", divide)
    node.export("work", "sleep", gevent.sleep)
    node.export("work", "object", object)
    node.export("work", "caller", caller, with_call=True)
    return node


# -- into us ----------------------------------------------------------------------------------


def test_erpc_call_results(beam: Beam, worker: Node) -> None:
    name = worker.name
    assert beam.eval("erpc:call(N, work, echo, [{a, 1}])", N=name) == (Atom("a"), 1)
    assert beam.eval("try erpc:call(N, work, throw, [ball]) catch throw:T -> {thrown, T} end", N=name) == (
        Atom("thrown"),
        Atom("ball"),
    )
    assert beam.eval("try erpc:call(N, work, exit, [bye]) catch exit:{exception, R} -> {exited, R} end", N=name) == (
        Atom("exited"),
        Atom("bye"),
    )
    error = beam.eval("try erpc:call(N, work, error, [oops]) catch error:{exception, R, _} -> R end", N=name)
    assert error is Atom("oops")
    reason, stacktrace = beam.eval(
        "try erpc:call(N, work, divide, [0]) catch error:{exception, R, St} -> {R, St} end", N=name
    )
    assert reason == (Atom("ZeroDivisionError"), b"division by zero")
    assert stacktrace[0][1].name.endswith("divide")


def test_undefined_functions(beam: Beam, worker: Node) -> None:
    for module, function, arguments in (("work", "none", [1]), ("os", "system", [b"true"]), ("work", "echo", [1, 2])):
        undef = (Atom("undef"), [(Atom(module), Atom(function), arguments, [])])
        result = beam.eval("rpc:call(N, M, F, A)", N=worker.name, M=Atom(module), F=Atom(function), A=arguments)
        assert result == (Atom("badrpc"), (Atom("EXIT"), undef))


def test_rpc_variants(beam: Beam, worker: Node) -> None:
    name = worker.name
    assert beam.eval("rpc:call(N, work, echo, [1])", N=name) == 1
    assert beam.eval("rpc:block_call(N, work, echo, [2])", N=name) == 2
    assert beam.eval("K = rpc:async_call(N, work, echo, [3]), rpc:yield(K)", N=name) == 3
    assert beam.eval("rpc:multicall([N], work, echo, [4])", N=name) == ([4], [])
    assert beam.eval("erpc:multicall([N], work, echo, [5])", N=name) == [(OK, 5)]
    assert beam.eval("R = erpc:send_request(N, work, echo, [6]), erpc:receive_response(R)", N=name) == 6
    assert beam.eval("rpc:call(N, work, throw, [ball])", N=name) is Atom("ball")
    assert beam.eval("rpc:call(N, work, exit, [bye])", N=name) == (Atom("badrpc"), (Atom("EXIT"), Atom("bye")))
    # What calls of OTP 22 and earlier look like.
    assert beam.eval("gen_server:call({rex, N}, {call, work, echo, [7], group_leader()})", N=name) == 7
    assert beam.eval("gen_server:call({rex, N}, {call, work, none, [], group_leader()})", N=name) == (
        Atom("badrpc"),
        (Atom("EXIT"), (Atom("undef"), [(Atom("work"), Atom("none"), [], [])])),
    )


def test_cast(beam: Beam, worker: Node) -> None:
    seen: list[Any] = []
    worker.export("work", "note", lambda value: seen.append(value))
    beam.eval("erpc:cast(N, work, note, [a]), rpc:cast(N, work, note, [b])", N=worker.name)
    assert until(lambda: len(seen) == 2)
    assert set(seen) == {Atom("a"), Atom("b")}


def test_calls_run_beside_each_other(beam: Beam, worker: Node) -> None:
    started = time.monotonic()
    source = "Rs = [erpc:send_request(N, work, sleep, [0.5]) || _ <- lists:seq(1, 20)], [erpc:receive_response(R) || R <- Rs], ok"
    assert beam.eval(source, N=worker.name) is OK
    assert time.monotonic() - started < 4


def test_caller_that_gives_up(beam: Beam, worker: Node) -> None:
    source = "try erpc:call(N, work, sleep, [0.5], 50) catch error:{erpc, R} -> R end"
    assert beam.eval(source, N=worker.name) is Atom("timeout")
    gevent.sleep(0.7)
    assert beam.eval("rpc:call(N, work, echo, [still_here])", N=worker.name) is Atom("still_here")
    assert not worker.table.remote[beam.node].watchers


def test_result_without_a_term_is_an_error_at_the_caller(beam: Beam, worker: Node) -> None:
    reason = beam.eval("try erpc:call(N, work, object, []) catch error:{exception, R, _} -> R end", N=worker.name)
    assert reason[0] is Atom("EtfEncodeError")


def test_large_arguments_and_results(beam: Beam, worker: Node) -> None:
    source = "B = binary:copy(<<1, 2, 3, 4>>, 1000000), B =:= erpc:call(N, work, echo, [B])"
    assert beam.eval(source, N=worker.name, timeout_s=30) is True
    source = "L = [{I, <<I:32>>, [a, I]} || I <- lists:seq(1, 20000)], L =:= erpc:call(N, work, echo, [L])"
    assert beam.eval(source, N=worker.name, timeout_s=30) is True


def test_the_caller_is_known(beam: Beam, worker: Node) -> None:
    assert beam.eval("node(erpc:call(N, work, caller, []))", N=worker.name) is beam.node


def test_export_funs_run(beam: Beam, worker: Node) -> None:
    assert beam.eval("erpc:call(N, fun erlang:node/0)", N=worker.name) is worker.name
    assert beam.eval("erpc:call(N, erlang, apply, [fun work:echo/1, [7]])", N=worker.name) == 7
    assert beam.eval("erpc:call(N, erlang, apply, [work, echo, [8]])", N=worker.name) == 8
    reason = beam.eval(
        "try erpc:call(N, erlang, apply, [fun work:echo/1, []]) catch error:{exception, {R, _}, _} -> R end",
        N=worker.name,
    )
    assert reason is Atom("badarity")


def test_spawn_of_a_fun_is_undef(beam: Beam, worker: Node) -> None:
    reason = beam.eval("try erpc:call(N, fun() -> 1 end) catch error:{exception, R, _} -> R end", N=worker.name)
    assert reason is Atom("undef")


# -- out of us --------------------------------------------------------------------------------


def test_calls_into_the_beam(beam: Beam, node: Node) -> None:
    assert node.rpc(beam.name, "lists", "reverse", [[1, 2, 300]]) == [300, 2, 1]
    with pytest.raises(ErlangThrow) as thrown:
        node.rpc(beam.name, "erlang", "throw", [Atom("ball")])
    assert thrown.value.reason is Atom("ball")
    with pytest.raises(ErlangExit) as exited:
        node.rpc(beam.name, "erlang", "exit", [Atom("bye")])
    assert exited.value.reason is Atom("bye")
    with pytest.raises(ErlangError) as failed:
        node.rpc(beam.name, "erlang", "error", [Atom("oops")])
    assert failed.value.reason is Atom("oops")
    with pytest.raises(ErlangError) as undefined:
        node.rpc(beam.name, "no_module", "none", [])
    assert undefined.value.reason is Atom("undef")
    assert undefined.value.stacktrace[0][:2] == (Atom("no_module"), Atom("none"))


def test_call_into_the_beam_in_time_or_not(beam: Beam, node: Node) -> None:
    with pytest.raises(CallTimeout):
        node.rpc(beam.name, "timer", "sleep", [3000], timeout_s=0.2)
    assert node.rpc(beam.name, "erlang", "node", []) is beam.node
    assert until(lambda: not node.table.remote[beam.node].monitors)


def test_call_to_a_node_that_is_not_there(node: Node) -> None:
    with pytest.raises(NoConnection, match="knows no node 'nobody@127.0.0.1'") as failed:
        node.rpc("nobody@127.0.0.1", "erlang", "node", [])
    assert isinstance(failed.value.__cause__, NodeNotRegistered)


def test_arguments_without_a_term(beam: Beam, node: Node) -> None:
    with pytest.raises(EtfEncodeError) as refused:
        node.rpc(beam.name, "erlang", "abs", [[1, {"key": object()}]])
    assert refused.value.path == "[0][1]['key']"
    assert node.rpc(beam.name, "erlang", "abs", [-1]) == 1


def test_spawn_there(beam: Beam, node: Node) -> None:
    heard: list[Any] = []

    def body(own: Any) -> None:
        own.set_trap_exit(True)
        pid, reference = node.spawn_remote(beam.name, "timer", "sleep", [100], link=True, monitor=True)
        messages = [own.receive(timeout_s=3), own.receive(timeout_s=3)]
        heard.extend([pid, reference, messages])

    node.spawn(body)
    assert until(lambda: len(heard) == 3)
    pid, reference, messages = heard
    normal = Atom("normal")
    assert sorted(messages, key=len) == [
        (Atom("EXIT"), pid, normal),
        (Atom("DOWN"), reference, Atom("process"), pid, normal),
    ]


def test_rpc_cast(beam: Beam, node: Node) -> None:
    shell = beam.shell()
    shell.eval("register(listener, self())")
    node.rpc_cast(beam.name, "erlang", "send", [Atom("listener"), Atom("hello")])
    assert shell.eval("receive M -> M after 3000 -> nothing end") is Atom("hello")
