"""The hardware engines as a BEAM meets them, in the common dialect."""

from __future__ import annotations

from typing import Any

import pytest

from engines import built_in
from erlang_bridge import Atom, Node

NAMES = (
    "local_key_value_storage",
    "local_time_series_storage",
    "logging",
    "wall_clock",
    "static_configuration",
    "dynamic_configuration",
    "template",
    "template_minimum",
)


@pytest.fixture
def hardware(node_factory: Any) -> Node:
    node: Node = node_factory(engines=built_in())
    for name in NAMES:
        args = {Atom("values"): {b"fixed": Atom("value")}} if name == "static_configuration" else None
        node.start(built_in()[name], args, name=name)
    return node


def test_key_value_storage(shared_beam: Any, hardware: Node):
    source = """
        S = {local_key_value_storage, Node},
        Get = fun(Key) -> gen_server:call(S, {get_value_request, #{key => Key}}) end,
        {get_value_reply, #{value := nil, error := nil}} = Get(<<"k">>),
        {subscribe_reply, _} = gen_server:call(S, {subscribe_request, #{key => <<"k">>, prefix => true}}),
        {set_value_reply, #{success := true}} =
            gen_server:call(S, {set_value_request, #{key => <<"k1">>, value => <<"v">>}}),
        gen_server:cast(S, {set_value_request, #{key => <<"k2">>, value => <<>>}}),
        Next = fun() -> receive
            {anoma_engine_msg, {Node, local_key_value_storage}, _, 0, {local_key_value_storage, value_changed, Fields}} ->
                Fields
            after 5000 -> nothing end
        end,
        #{key := <<"k1">>, value := <<"v">>, timestamp := T1} = Next(),
        #{key := <<"k2">>, value := <<>>, timestamp := T2} = Next(),
        true = T2 > T1,
        {delete_value_reply, Deleted} = gen_server:call(S, {delete_value_request, #{key => <<"absent">>}}),
        {get_value_reply, #{value := Empty}} = Get(<<"k2">>),
        {unsubscribe_reply, #{success := true}} =
            gen_server:call(S, {unsubscribe_request, #{key => <<"k">>, prefix => true}}),
        {Empty, Deleted}
    """
    empty, deleted = shared_beam.eval(source, Node=hardware.name)
    assert empty == b""
    assert deleted == {Atom("key"): b"absent", Atom("success"): False, Atom("error"): b"there is no such key"}


def test_a_subscriber_that_ends_is_forgotten(shared_beam: Any, hardware: Node):
    source = """
        S = {local_key_value_storage, Node},
        {Pid, Monitor} = spawn_monitor(fun() ->
            gen_server:call(S, {subscribe_request, #{key => <<"k">>}})
        end),
        receive {'DOWN', Monitor, process, Pid, normal} -> ok after 5000 -> exit(alive) end,
        Wait = fun W(0) -> still_there; W(N) ->
            #{subscriptions := #{of_subscriber := Subscribers}} = sys:get_state(S),
            case map_size(Subscribers) of 0 -> forgotten; _ -> timer:sleep(10), W(N - 1) end
        end,
        Wait(300)
    """
    assert shared_beam.eval(source, Node=hardware.name) is Atom("forgotten")


def test_time_series_storage(shared_beam: Any, hardware: Node):
    source = """
        S = {local_time_series_storage, Node},
        [gen_server:call(S, {record_request, #{series => <<"s">>, time => T, value => {T, T / 2}}})
         || T <- lists:seq(9, 0, -1)],
        {delete_reply, #{deleted := 3}} =
            gen_server:call(S, {delete_request, #{series => <<"s">>, from_time => 4, to_time => 6}}),
        {get_reply, Reply} =
            gen_server:call(S, {get_request, #{series => <<"s">>, from_time => 3, to_time => 100, limit => 2}}),
        Reply
    """
    reply = shared_beam.eval(source, Node=hardware.name)
    assert reply[Atom("points")] == [(3, (3, 1.5)), (7, (7, 3.5))]
    assert reply[Atom("more")] is True
    assert reply[Atom("error")] is None


def test_logging(shared_beam: Any, hardware: Node):
    source = """
        L = {logging, Node},
        gen_server:cast(L, {append, #{value => <<"one">>}}),
        gen_server:cast(L, {append, #{value => unicode:characters_to_binary("zwö"), level => error}}),
        gen_server:cast(L, {append, #{value => <<"three">>, level => loud}}),
        {read_reply, #{entries := Entries}} = gen_server:call(L, read_request),
        {read_reply, #{entries := [{entry, #{number := 1}}]}} = gen_server:call(L, {read_request, #{before => 2}}),
        [{Number, Level, Value} || {entry, #{number := Number, level := Level, value := Value}} <- Entries]
    """
    entries = shared_beam.eval(source, Node=hardware.name)
    assert entries == [(2, Atom("error"), "zwö".encode()), (1, Atom("info"), b"one")]


def test_the_time_and_the_configurations(shared_beam: Any, hardware: Node):
    source = """
        {get_time_result, #{epoch_time := Ms}} = gen_server:call({wall_clock, Node}, get_time),
        {get_static_config_response, #{found := true, value := Fixed}} =
            gen_server:call({static_configuration, Node}, {get_static_config_request, #{key => <<"fixed">>}}),
        D = {dynamic_configuration, Node},
        {get_dynamic_config_response, #{found := false}} =
            gen_server:call(D, {get_dynamic_config_request, #{key => <<"k">>}}),
        {subscribe_dynamic_config_response, #{success := true}} =
            gen_server:call(D, {subscribe_dynamic_config_request, #{key => <<"k">>}}),
        {set_dynamic_config_response, #{success := true}} =
            gen_server:call(D, {set_dynamic_config_request, #{key => <<"k">>, value => {any, "term"}}}),
        Changed = receive
            {anoma_engine_msg, _, _, _, {dynamic_configuration, dynamic_config_changed, #{value := Value}}} -> Value
            after 5000 -> nothing
        end,
        {abs(erlang:system_time(millisecond) - Ms) < 5000, Fixed, Changed}
    """
    expected = (True, Atom("value"), (Atom("any"), b"term"))
    close, fixed, changed = shared_beam.eval(source, Node=hardware.name)
    assert (close, fixed, (changed[0], bytes(changed[1]))) == expected


def test_the_templates_answer_their_own_node_only(shared_beam: Any, hardware: Node):
    source = """
        Request = {example_request, #{arg_one => 1, arg_two => 2}},
        {[gen_server:call({Name, Node}, Request) || Name <- [template, template_minimum]],
         [rpc:call(Node, gen_server, call, [Name, Request]) || Name <- [template, template_minimum]]}
    """
    foreign, own = shared_beam.eval(source, Node=hardware.name)
    assert foreign == [(Atom("error"), (Atom("not_handled"), Atom("example_request")))] * 2
    ok = (Atom("example_reply_ok"), {Atom("arg_one"): 1})
    digits = (Atom("reply_payload"), {Atom("payload"): b"1"})
    assert own == [(Atom("example_reply"), {Atom("result"): result}) for result in (ok, digits)]


def test_they_start_under_a_supervisor_of_the_beam(shared_beam: Any, hardware: Node):
    source = """
        [begin
            {ok, Pid} = erpc:call(Node, pyanoma, start_link, [Name, #{node_id => <<1>>}]),
            sys:get_state(Pid),
            gen_server:stop(Pid),
            {Answer, Reason} = erpc:call(Node, pyanoma, start_link, [Name, #{capacity => many}]),
            [gen_server:stop(Reason) || is_pid(Reason)],
            {Name, Answer}
         end || Name <- Names]
    """
    answers = shared_beam.eval(source, Node=hardware.name, Names=[Atom(name) for name in NAMES])
    # Those two have no settings at all, and take whatever a supervisor passes.
    expected = {name: "ok" if name in ("wall_clock", "template_minimum") else "error" for name in NAMES}
    assert {name.name: answer.name for name, answer in answers} == expected
