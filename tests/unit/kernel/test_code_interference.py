"""What else goes on while code is loaded: requests of `sys`, messages, other loads, the ends of processes."""

from __future__ import annotations

import time
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, CallTimeout, ModuleNotLoaded, Node, Pid
from erlang_bridge.kernel import code_upgrade
from erlang_bridge.otp import gen
from tests.code_projects import COUNTER, Project
from tests.waiting import until

OK = Atom("ok")
KILL = Atom("kill")

WITH_CODE_CHANGE = (
    COUNTER
    + """
        def code_change(self, old_version, state, extra):
            import gevent
            BODY
            return state
"""
)
SLOW_TEN = "gevent.sleep(0.3 if state.count == 10 else 0)"
TEN_FAILS = SLOW_TEN + "\n            if state.count == 10: raise ValueError('not ten')"


@pytest.fixture
def node(lone_node: Node) -> Node:
    return lone_node


@pytest.fixture
def counters(node: Node, project: Project) -> list[Pid]:
    project.module("counter", COUNTER)
    return [node.start(project.get("counter", "Counter"), start) for start in (10, 20, 30)]


def write(project: Project, body: str) -> str:
    """Give the counters a ``code_change``. The module's name."""
    project.write("counter", WITH_CODE_CHANGE.replace("BODY", body))
    return project.name("counter")


def loading(node: Node, name: str) -> Any:
    """A load that is under way. It ends with what came of it, or with the error."""

    def load() -> Any:
        try:
            return node.code.load(name, grace_s=0.05)
        except ModuleNotLoaded as error:
            return error

    running = gevent.spawn(load)
    gevent.sleep(0.1)
    return running


def system(node: Node, pid: Pid, request: Any) -> Any:
    """A message of `sys`."""
    with node._caller() as process:
        return gen.call(process, pid, request, 5.0, label=gen.SYSTEM)


# -- requests of sys --------------------------------------------------------------------------


def test_who_is_suspended_meanwhile_stays_so(node: Node, project: Project, counters: list[Pid]) -> None:
    load = loading(node, write(project, SLOW_TEN))
    assert system(node, counters[1], Atom("suspend")) is OK
    assert load.get().moved == 3
    with pytest.raises(CallTimeout):
        node.call(counters[1], "said", timeout_s=0.1)
    assert system(node, counters[1], Atom("resume")) is OK
    assert node.call(counters[1], "said") == ("one", 20)


def test_resume_does_not_let_go_who_waits_for_others(node: Node, project: Project, counters: list[Pid]) -> None:
    load = loading(node, write(project, TEN_FAILS))
    node.cast(counters[1], 5)
    assert system(node, counters[1], Atom("resume")) is OK
    assert load.get().reason == "code_change"
    assert node.call(counters[1], "said") == ("one", 25)


# -- messages ---------------------------------------------------------------------------------


def test_a_load_that_is_refused_loses_no_message(node: Node, project: Project, counters: list[Pid]) -> None:
    load = loading(node, write(project, TEN_FAILS))
    for pid in counters:
        node.cast(pid, 5)
    assert load.get().reason == "code_change"
    assert [node.call(pid, "said") for pid in counters] == [("one", 15), ("one", 25), ("one", 35)]


def test_a_late_code_change_that_fails_loses_no_message(node: Node, project: Project, counters: list[Pid]) -> None:
    sleeping = gevent.spawn(node.call, counters[0], ("sleep", 1.0))
    gevent.sleep(0.05)
    node.cast(counters[0], 1)
    node.code.load(write(project, TEN_FAILS), grace_s=0.02)
    sleeping.get()
    gevent.sleep(0.1)
    node.cast(counters[0], 5)
    assert node.call(counters[0], "said") == ("one", 16)
    assert [place.pid for place in node.code.in_old_code(project.name("counter"))] == [counters[0]]


def test_what_a_state_has_of_the_node_is_not_set_back(node: Node, project: Project) -> None:
    source = """
        from erlang_bridge import GenServer, NoReply, Reply

        class Clock(GenServer):
            def init(self, args):
                return {"number": args, "timer": self.send_after(0.1, "tick"), "ticks": []}

            def handle_info(self, message, state):
                return NoReply(state | {"ticks": state["ticks"] + [message]})

            def handle_call(self, request, caller, state):
                return Reply(state["ticks"], state)
    """
    project.module("clock", source)
    clocks = [node.start(project.get("clock", "Clock"), number) for number in (1, 2)]
    change = """
            def code_change(self, old_version, state, extra):
                import gevent
                self.process.dictionary = {"changed": True}
                if state["number"] == 2:
                    gevent.sleep(0.3)
                    raise ValueError("no")
                return state
    """
    project.write("clock", source + change)
    assert loading(node, project.name("clock")).get().reason == "code_change"
    assert until(lambda: [node.call(pid, "ticks") for pid in clocks] == [["tick"], ["tick"]])
    found = [node.table.find(pid) for pid in clocks]
    assert [process is None or process.dictionary for process in found] == [None, None]


def test_others_are_served_while_many_change(node: Node, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_upgrade, "AT_ONCE", 10)
    project.module("counter", COUNTER)
    many = [node.start(project.get("counter", "Counter"), number) for number in range(300)]
    project.module("other", COUNTER)
    other = node.start(project.get("other", "Counter"), 1)
    served: list[int] = []

    def ask() -> None:
        while True:
            node.call(other, "said")
            served.append(len(changed))

    asking = gevent.spawn(ask)
    project.module("seen", "changed = []\n")
    changed = project.get("seen", "changed")
    name = write(project, "from {package}.seen import changed; changed.append(state)")
    assert node.code.load(name).moved == len(many)
    asking.kill()
    assert len(set(served)) > 10


# -- other loads ------------------------------------------------------------------------------


def test_a_callback_that_outlasts_several_loads(node: Node, project: Project) -> None:
    project.module(
        "behaviour",
        """
        from dataclasses import dataclass

        @dataclass(frozen=True, slots=True)
        class State:
            count: int

        def version():
            return 1
        """,
    )
    project.module(
        "server",
        """
        import gevent
        from erlang_bridge import GenServer, Reply
        from . import behaviour

        class Server(GenServer):
            def init(self, args):
                return behaviour.State(args)

            def handle_call(self, request, caller, state):
                gevent.sleep(request)
                return Reply((1, behaviour.version(), state), state)
        """,
    )
    pid = node.start(project.get("server", "Server"), 7)
    sleeping = gevent.spawn(node.call, pid, 0.4)
    gevent.sleep(0.05)
    project.edit("behaviour", "return 1", "return 2")
    project.edit("behaviour", "count: int", "count: int\n            step: int = 5")
    node.code.load(project.name("behaviour"), grace_s=0.02)
    project.edit("server", "(1, behaviour", "(2, behaviour")
    (place,) = node.code.load(project.name("server"), grace_s=0.02).in_old_code
    assert place.pid == pid
    assert sleeping.get()[0] == 1
    server, behaviour, state = node.call(pid, 0)
    assert (server, behaviour) == (2, 2)
    assert (type(state), state.step) == (project.get("behaviour", "State"), 5)


def test_objects_of_old_code_in_the_variables_of_a_callback(node: Node, project: Project) -> None:
    project.module(
        "values",
        """
        from dataclasses import dataclass

        @dataclass(frozen=True, slots=True)
        class Value:
            number: int
        """,
    )
    project.module(
        "holder",
        """
        import gevent
        from dataclasses import replace
        from erlang_bridge import GenServer, Reply
        from {package}.values import Value

        class Holder(GenServer):
            def init(self, args):
                return {"value": Value(args)}

            def handle_call(self, request, caller, state):
                value = state["value"]
                gevent.sleep(request)
                value = replace(value, number=value.number + 1)
                return Reply(value, {"value": value})
        """,
    )
    pid = node.start(project.get("holder", "Holder"), 7)
    sleeping = gevent.spawn(node.call, pid, 0.3)
    gevent.sleep(0.05)
    project.edit("values", "number: int", "number: int\n            unit: str = 'm'")
    (place,) = node.code.load(project.name("values"), grace_s=0.02).in_old_code
    assert (place.pid, place.why) == (pid, "is a Holder with an old state, in a callback")
    sleeping.get()
    value = node.call(pid, 0)
    assert (type(value), value.number, value.unit) == (project.get("values", "Value"), 9, "m")


def test_a_code_change_that_was_given_up_is_waited_for(
    node: Node, project: Project, counters: list[Pid], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_upgrade, "CODE_CHANGE_S", 0.1)
    given_up = loading(node, write(project, "gevent.sleep(0.6 if state.count == 20 else 0)")).get()
    assert "did not return within" in given_up.text
    assert (given_up.path, given_up.line) == (project.path("counter"), 35)
    project.write("counter", COUNTER.replace('"one"', '"two"'))
    refused = loading(node, project.name("counter")).get()
    assert (refused.reason, str(counters[1]) in refused.text) == ("not_purged", True)
    assert "counter.py:" in refused.text
    node.cast(counters[1], 1)
    assert node.code.load(project.name("counter")).in_old_code == ()
    assert [node.call(pid, "said") for pid in counters] == [("two", 10), ("two", 21), ("two", 30)]


def test_two_nodes_load_at_once(node: Node, project: Project, counters: list[Pid]) -> None:
    with Node("other@127.0.0.1", cookie="c", listen=False) as other:
        load = loading(node, write(project, SLOW_TEN))
        project.edit("counter", '"one"', '"two"')
        assert loading(other, project.name("counter")).get().reason == "not_purged"
        assert load.get().moved == 3
        assert other.code.load(project.name("counter")).moved == 3
    assert [node.call(pid, "said") for pid in counters] == [("two", 10), ("two", 20), ("two", 30)]


def test_a_module_that_loads_another_when_it_is_run(node: Node, project: Project) -> None:
    project.module("inner", "value = 1\n")
    hook = project.module("hook", "run = None\n")
    project.module("outer", "value = 1\n")
    hook.run = lambda: node.code.load(project.name("inner"))  # type: ignore[attr-defined]
    project.write("outer", "from {package}.hook import run\nrun()\n")
    with pytest.raises(ModuleNotLoaded, match="on_load_failure.*outer.py:2: RuntimeError"):
        node.code.load(project.name("outer"))


# -- the ends of processes --------------------------------------------------------------------


@pytest.mark.parametrize("what", ["raise SystemExit(3)", "raise gevent.GreenletExit", "raise gevent.Timeout(1)"])
def test_whatever_code_change_raises_is_a_refusal(node: Node, project: Project, counters: list[Pid], what: str) -> None:
    with pytest.raises(ModuleNotLoaded, match="counter.py:"):
        node.code.load(write(project, f"if state.count == 20: {what}"))
    assert [node.call(pid, "said") for pid in counters] == [("one", 10), ("one", 20), ("one", 30)]


def test_processes_that_end_meanwhile(node: Node, project: Project, counters: list[Pid]) -> None:
    load = loading(node, write(project, SLOW_TEN))
    node.exit(counters[0], KILL)
    node.exit(counters[1], KILL)
    assert load.get().moved == 1
    assert node.call(counters[2], "said") == ("one", 30)


def test_servers_that_wait_for_each_other_are_no_deadlock(node: Node, project: Project, counters: list[Pid]) -> None:
    project.module("peers", "peer = None\n").peer = counters[0]  # type: ignore[attr-defined]
    name = write(project, "from {package}.peers import peer\n            self.call(peer, 'said', timeout_s=0.3)")
    began = time.monotonic()
    with pytest.raises(ModuleNotLoaded, match="counter.py:"):
        node.code.load(name)
    assert time.monotonic() - began < 3
    assert until(lambda: not code_upgrade.held())
    assert [node.call(pid, "said") for pid in counters] == [("one", 10), ("one", 20), ("one", 30)]
