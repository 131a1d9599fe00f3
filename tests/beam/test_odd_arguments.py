"""What other nodes may call, called with nonsense: an error of Erlang's is the answer, and nobody here is hurt."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from erlang_bridge import Atom, ErlangError, GenServer, Node, NoReply, Reply
from erlang_bridge.testing.beams import Beam
from tests.waiting import until

FUNCTION_CLAUSE = Atom("function_clause")

ENDING = {
    ("Elixir.Process", "exit"),
    ("erlang", "disconnect_node"),
    ("erlang", "exit"),
    ("erlang", "halt"),
    ("gen_server", "stop"),
    ("global", "disconnect"),
    ("init", "stop"),
    ("pyanoma", "shell"),
    ("proc_lib", "stop"),
    ("rb", "start"),
    ("sys", "suspend"),
    ("sys", "terminate"),
}
"""What they are for is to end something, or to leave something behind."""
WITH_TESTS_OF_THEIR_OWN = ("code", "dbg", "seq_trace", "trace", "ttb")

CALL_ALL = """
(fun() ->
    Deep = lists:foldl(fun(_, Inner) -> [Inner, a] end, [], lists:seq(1, 3000)),
    Odd = [-1, 1 bsl 1100, <<255, 1>>, "abc", [a | b], {a, 1}, [{a, 1}, b], #{a => 1}, fun() -> ok end, [16#110000, -5],
           nosuch, Dead, [{[a], 1}], {[a], [b]}, #{[a] => 1}, {dictionary, #{}}, Deep],
    Call = fun(M, F, Arguments) ->
        try erpc:call(N, M, F, Arguments, 5000) of
            _ -> []
        catch
            error:{exception, {Name, Text}, _} when is_binary(Text) -> [{M, F, Arguments, Name, Text}];
            error:{exception, _, _} -> [];
            exit:{exception, _} -> [];
            Class:Reason -> [{M, F, Arguments, Class, Reason}]
        end
    end,
    lists:append([Call(M, F, First ++ lists:duplicate(Arity - length(First), X))
        || {M, F, Arity} <- Functions, First <- [[], [patient]], length(First) < max(Arity, 1), X <- Odd])
end)()
"""


class Patient(GenServer):
    """Takes whatever comes."""

    def handle_call(self, request: Any, caller: Any, state: Any) -> Reply:
        return Reply(Atom("ok"), state)

    def handle_cast(self, message: Any, state: Any) -> NoReply:
        return NoReply(state)

    def handle_info(self, message: Any, state: Any) -> NoReply:
        return NoReply(state)


def test_every_function_survives_nonsense(beam: Beam, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.start(Patient, name="patient")
    dead = node.start(Patient)
    node.exit(dead, Atom("kill"))
    functions = [
        (Atom(module), Atom(name), arity)
        for module in node.callables.modules()
        for name, arity in node.callables.exported(module)
        if 0 < arity <= 4
        and (module, name) not in ENDING
        and module not in WITH_TESTS_OF_THEIR_OWN
        and not any(word in name for word in ("trace", "ttb", "code"))
    ]
    assert len(functions) > 150
    before = set(node.table.processes)
    caplog.set_level(logging.ERROR)
    wrong = beam.eval(CALL_ALL, N=node.name, Functions=functions, Dead=dead, timeout_s=50)
    assert wrong == []
    assert [record.getMessage() for record in caplog.records] == []
    assert until(lambda: set(node.table.processes) <= before), set(node.table.processes) - before
    assert node.whereis("patient") is not None
    assert beam.eval("erpc:call(N, erlang, node, [])", N=node.name) == node.name


@pytest.mark.parametrize(
    "call", ["erlang, halt, [nonsense]", "erlang, halt, [0, [nonsense]]", "erlang, halt, [-1]", "init, stop, [[a]]"]
)
def test_nonsense_stops_nobody(shared_beam: Beam, node: Node, call: str) -> None:
    with pytest.raises(ErlangError) as caught:
        shared_beam.eval(f"erpc:call(N, {call})", N=node.name)
    assert caught.value.reason[:2] == (Atom("exception"), Atom("badarg"))
    assert not node.stopped


@pytest.mark.parametrize("function", ["register_name", "re_register_name", "register_name_external"])
def test_what_is_no_process_gets_no_global_name(shared_beam: Beam, node: Node, function: str) -> None:
    """A BEAM that is told of such a name ends."""
    with pytest.raises(ErlangError) as caught:
        shared_beam.eval("erpc:call(N, global, F, [odd, 17])", N=node.name, F=Atom(function))
    assert caught.value.reason[:2] == (Atom("exception"), FUNCTION_CLAUSE)
    assert shared_beam.eval("global:sync(), global:whereis_name(odd)") is Atom("undefined")


SEND_ALL = """
(fun() ->
    Ref = make_ref(),
    Odd = [-1, [a | b], {a, 1}, #{[a] => 1}, fun() -> ok end, [16#110000], nosuch, {[a], [b]}],
    Froms = [x, {self(), Ref}, {self(), [[alias | x] | y]}, {x, y}, {self(), [a | b]}],
    Requests = Odd ++ [{Tag, X} || Tag <- [debug, change_code, register_client, show], X <- Odd]
        ++ [{X, X, X} || X <- Odd] ++ [{Tag, X, X, X, X} || Tag <- [call, block_call, cast, log], X <- Odd]
        ++ [{self(), app, X, true, X} || X <- Odd],
    Messages = Odd ++ [{'$gen_cast', X} || X <- Requests]
        ++ [{Tag, From, X} || Tag <- ['$gen_call', system], From <- Froms, X <- Requests]
        ++ [{io_request, From, Ref, X} || From <- [self(), x], X <- Requests]
        ++ [{Tag, X, X} || Tag <- ['EXIT', io_reply, log], X <- Odd]
        ++ [{'DOWN', X, X, X, X} || X <- Odd]
        ++ [{self(), X} || X <- Requests],
    [{Name, N} ! Message || Name <- Names, Message <- Messages],
    length(Messages)
end)()
"""


def test_every_named_process_survives_nonsense(beam: Beam, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    shell = beam.shell()
    shell.eval("erpc:call(N, appmon_info, start_link2, [self(), self(), []])", N=node.name)
    shell.eval("erpc:call(N, rb, start, [])", N=node.name)
    # A supervisor ends of such a cast on a BEAM, too; this one comes back.
    names = {name: process for name, process in node.table.names.items() if name.name != "kernel_sup"}
    assert {"appmon_info", "rb_server", "rex", "application_controller"} <= {name.name for name in names}
    caplog.set_level(logging.ERROR)
    assert beam.eval(SEND_ALL, N=node.name, Names=list(names), timeout_s=30) > 500
    # The answer does not come over the distribution: this does, behind the messages.
    assert beam.eval("erpc:call(N, erlang, node, [])", N=node.name, timeout_s=30) is node.name
    assert until(lambda: not any(process.mailbox for process in names.values()), 20)
    assert {name: node.table.names.get(name) for name in names} == names
    assert [record.getMessage() for record in caplog.records if record.name == "erlang_bridge.crash"] == []
    shell.end()
