"""What a BEAM is told about our processes."""

from __future__ import annotations

from typing import Any

import pytest

from erlang_bridge import Atom, ErlangError, Node, OwnProcess, Pid
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
