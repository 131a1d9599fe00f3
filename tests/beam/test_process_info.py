"""What a BEAM is told about our processes."""

from __future__ import annotations

from typing import Any

import pytest

from erlang_bridge import Atom, ErlangError, GenServer, Node, OwnProcess, Pid
from erlang_bridge.kernel.process_info import ITEMS
from tests.servers import Counter

UNDEFINED = Atom("undefined")


@pytest.fixture
def info(shared_beam: Any, node: Node) -> Any:
    def ask(pid: Pid, items: Any = None) -> Any:
        arguments = [pid] if items is None else [pid, items]
        return shared_beam.eval("erpc:call(N, erlang, process_info, A)", N=node.name, A=arguments)

    return ask


@pytest.fixture
def counter(node: Node) -> Pid:
    return node.start(Counter, 3, name="counted")


def test_processes_lists_every_process(shared_beam: Any, node: Node, counter: Pid):
    pids = shared_beam.eval("erpc:call(N, erlang, processes, [])", N=node.name)
    assert {counter, node.whereis("rex"), node.whereis("net_kernel")} <= set(pids)
    assert len(pids) == len(set(pids))


def test_the_standard_items(info: Any, counter: Pid):
    told = {key.name: value for key, value in info(counter)}
    assert next(iter(told)) == "registered_name"
    assert told["registered_name"] is Atom("counted")
    assert told["initial_call"] == (Atom("proc_lib"), Atom("init_p"), 5)
    assert told["current_function"] == (Atom("gen_server"), Atom("loop"), 7)
    assert told["status"] is Atom("waiting")
    assert told["message_queue_len"] == 0
    assert told["trap_exit"] is False
    assert (Atom("$initial_call"), (Atom("tests.servers.Counter"), Atom("init"), 1)) in told["dictionary"]


def test_the_same_items_as_a_beam_has(info: Any, shared_beam: Any, counter: Pid):
    theirs = shared_beam.eval("[I || {I, _} <- process_info(whereis(rex))]")
    assert [item for item, _ in info(counter)] == theirs


def test_every_item_is_answered(info: Any, counter: Pid):
    items = [Atom(name) for name in ITEMS]
    assert [item for item, _ in info(counter, items)] == items


def test_one_item(info: Any, node: Node, counter: Pid):
    assert info(counter, Atom("registered_name")) == (Atom("registered_name"), Atom("counted"))
    unnamed = node.start(Counter)
    assert info(unnamed, Atom("registered_name")) == []
    assert info(unnamed, [Atom("registered_name")]) == [(Atom("registered_name"), [])]
    assert "registered_name" not in [item.name for item, _ in info(unnamed)]


def test_an_entry_of_the_dictionary(info: Any, counter: Pid):
    entry = (Atom("dictionary"), Atom("$initial_call"))
    assert info(counter, entry) == (entry, (Atom("tests.servers.Counter"), Atom("init"), 1))
    assert info(counter, (Atom("dictionary"), Atom("none"))) == ((Atom("dictionary"), Atom("none")), UNDEFINED)


def test_links_and_monitors_across_nodes(info: Any, shared_beam: Any, node: Node):
    source = """
        {ok, P} = erpc:call(N, pyanoma, start_link, [counter, 0]), R = monitor(process, P),
        Told = erpc:call(N, erlang, process_info, [P, [links, monitored_by]]),
        demonitor(R), unlink(P), exit(P, kill), {self(), Told}
    """
    me, told = shared_beam.eval(source, N=node.name)
    assert told == [(Atom("links"), [me]), (Atom("monitored_by"), [me])]


def test_where_a_body_waits(info: Any, node: Node):
    def waiting(own: OwnProcess) -> None:
        own.receive(timeout_s=5)

    pid = node.spawn(waiting)
    (_, frames) = info(pid, Atom("current_stacktrace"))
    module, function, arity, location = frames[0]
    assert module.name.endswith("test_process_info")
    assert function.name.endswith("waiting")
    assert arity == 1
    assert dict(location)[Atom("line")] == waiting.__code__.co_firstlineno + 1
    assert info(pid, Atom("status")) == (Atom("status"), Atom("waiting"))
    assert b"waiting/1 (" in info(pid, Atom("backtrace"))[1]
    node.send(pid, Atom("go"))


def test_the_dead_are_undefined(info: Any, node: Node):
    pid = node.start(Counter)
    node.exit(pid, Atom("kill"))
    assert info(pid) is UNDEFINED
    assert info(pid, Atom("memory")) is UNDEFINED


@pytest.mark.parametrize(
    "arguments", ["[P, nonsense]", "[P, [memory, nonsense]]", "[P, {dictionary}]", "[self()]", "[x]"]
)
def test_badarg(shared_beam: Any, node: Node, counter: Pid, arguments: str):
    with pytest.raises(ErlangError) as caught:
        shared_beam.eval(f"erpc:call(N, erlang, process_info, {arguments})", N=node.name, P=counter)
    assert caught.value.reason[:2] == (Atom("exception"), Atom("badarg"))


# -- what the tools of a BEAM make of it -------------------------------------------------------

RECON = {
    "meta": ["registered_name", "dictionary", "group_leader", "status"],
    "signals": ["links", "monitors", "monitored_by", "trap_exit"],
    "location": ["initial_call", "current_stacktrace"],
    "memory_used": ["memory", "message_queue_len", "heap_size", "total_heap_size", "garbage_collection"],
    "work": ["reductions"],
    "counted": ["binary", "current_function", "binary"],
}
"""Items of ``recon:info/1`` and ``recon:proc_count/2``."""


@pytest.mark.parametrize("group", RECON)
def test_the_items_of_recon(info: Any, counter: Pid, group: str):
    items = [Atom(name) for name in RECON[group]]
    assert [item for item, _ in info(counter, items)] == items


def test_each_item_has_the_type_of_a_beams(shared_beam: Any, node: Node, counter: Pid):
    source = """
        Ask = fun(P) -> [try erpc:call(node(P), erlang, process_info, [P, I]) catch error:{exception, badarg, _} -> {I, badarg} end || I <- Is] end,
        {Ask(whereis(rex)), Ask(P)}
    """
    theirs, ours = shared_beam.eval(source, P=counter, Is=[Atom(name) for name in ITEMS])
    compared = 0
    for (item, their_value), (_, our_value) in zip(theirs, ours, strict=True):
        # Nobody has started ours in a process.
        if their_value is not Atom("badarg") and item.name != "parent":
            assert type(our_value) is type(their_value), item
            compared += 1
    # Of the rest some came with later releases, and some are our own.
    assert compared > 30


def test_where_a_server_waits(info: Any, counter: Pid):
    (_, stack) = info(counter, Atom("current_stacktrace"))
    assert stack[0][:3] == (Atom("gen_server"), Atom("loop"), 7)
    callbacks = {(function.name, arity): dict(location)[Atom("line")] for _, function, arity, location in stack[1:]}
    assert callbacks == {
        ("Counter.handle_call", 3): Counter.handle_call.__code__.co_firstlineno,
        ("Counter.handle_cast", 2): Counter.handle_cast.__code__.co_firstlineno,
        ("Counter.handle_info", 2): Counter.handle_info.__code__.co_firstlineno,
    }
    assert info(counter, Atom("current_location"))[1] == stack[0]


def test_the_counters_of_a_process(info: Any, node: Node, counter: Pid):
    for _ in range(5):
        node.call(counter, Atom("read"))
    node.call(counter, (Atom("block"), 0.02))
    names = ["messages_handled", "turns", "run_time", "longest_turn"]
    told = {key.name: value for key, value in info(counter, [Atom(name) for name in names])}
    assert told["messages_handled"] == 7
    assert 7 >= told["turns"] >= 2
    assert 20_000 <= told["longest_turn"] <= told["run_time"] < 2_000_000
    shown = dict(info(counter, Atom("dictionary"))[1])[Atom("$pyanoma")]
    assert {key.name: value for key, value in shown.items()} == {
        "messages": 7,
        "turns": told["turns"],
        "run_time_us": told["run_time"],
        "longest_turn_us": told["longest_turn"],
    }


def test_memory_grows_with_mail_and_state(info: Any, node: Node):
    def memory(pid: Pid) -> int:
        return int(info(pid, Atom("memory"))[1])

    assert memory(node.start(Stateful, [0] * 10_000)) - memory(node.start(Stateful, [])) >= 80_000
    assert memory(node.start(Stateful, {"one": bytes(5_000)})) - memory(node.start(Stateful, {})) >= 5_000
    assert memory(node.start(Stateful, Cache([0] * 10_000))) > 80_000
    assert memory(node.start(Stateful, Unmeasurable())) > 100


def test_monitors_of_processes_here_and_there_and_by_name(info: Any, shared_beam: Any, node: Node, counter: Pid):
    rex_there = (Atom("rex"), shared_beam.node)

    def watcher(own: OwnProcess) -> None:
        own.monitor(counter)
        own.monitor(rex_there)
        own.monitor(shared_pid)
        own.receive()

    shared_pid = shared_beam.eval("whereis(kernel_sup)")
    pid = node.spawn(watcher)
    _, monitors = info(pid, Atom("monitors"))
    assert monitors == [(Atom("process"), target) for target in (counter, rex_there, shared_pid)]
    assert info(counter, Atom("monitored_by"))[1] == [pid]
    node.send(pid, None)


class Unmeasurable:
    def __sizeof__(self) -> int:
        raise RuntimeError("no idea")


class Cache:
    def __init__(self, kept: Any) -> None:
        self.kept = kept


class Stateful(GenServer):
    def init(self, args: Any) -> Any:
        return args
