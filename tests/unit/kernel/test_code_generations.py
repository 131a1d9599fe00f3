"""Two generations of code: who is in the old one, is told of, and comes out of it; and engines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, ErlangExit, ModuleNotLoaded, Node, OwnProcess, Pid
from erlang_bridge.otp import gen
from tests.code_projects import COUNTER, Project
from tests.waiting import until

OK = Atom("ok")


@pytest.fixture
def node(lone_node: Node) -> Node:
    return lone_node


@pytest.fixture
def counters(node: Node, project: Project) -> list[Pid]:
    project.module("counter", COUNTER)
    return [node.start(project.get("counter", "Counter"), start) for start in (10, 20, 30)]


def system(node: Node, pid: Pid, request: Any) -> Any:
    """A message of `sys`."""
    with node._caller() as process:
        return gen.call(process, pid, request, 5.0, label=gen.SYSTEM)


# -- in the middle of a callback --------------------------------------------------------------


def test_a_callback_ends_in_the_code_that_it_began_in(node: Node, project: Project, counters: list[Pid]) -> None:
    name = project.name("counter")
    sleeping = gevent.spawn(node.call, counters[0], ("sleep", 0.3))
    gevent.sleep(0.01)
    node.cast(counters[0], 1)
    project.edit("counter", '"one"', '"two"')
    project.edit("counter", "count: int", "count: int\n        log: tuple = ()")
    result = node.code.load(name, grace_s=0.05)
    assert result.moved == 2
    (place,) = result.in_old_code
    assert (place.pid, place.path, place.line) == (counters[0], project.path("counter"), 26)
    assert "in old code" in repr(result)
    assert node.call(counters[1], "said") == ("two", 20)
    assert sleeping.get() == ("one", 10)
    assert until(lambda: not node.code.in_old_code(name))
    assert node.call(counters[0], "said") == ("two", 11)
    assert node.call(counters[0], "state").log == ()


def test_callbacks_are_waited_for(node: Node, project: Project, counters: list[Pid]) -> None:
    sleeping = gevent.spawn(node.call, counters[0], ("sleep", 0.05))
    gevent.sleep(0.01)
    result = node.code.load(project.name("counter"))
    assert (result.moved, result.in_old_code) == (3, ())
    sleeping.get()


CODE_CHANGE = """def code_change(self, old_version, state, extra):
            if state.count == 10 and extra != "by hand":
                raise ValueError("not ten")
            return replace(state, count=state.count + 100)

        def handle_call"""


def test_a_late_code_change(node: Node, project: Project, counters: list[Pid]) -> None:
    sleeping = [gevent.spawn(node.call, pid, ("sleep", 0.5)) for pid in counters[:2]]
    gevent.sleep(0.01)
    project.edit("counter", '"one"', '"two"')
    project.edit("counter", "def handle_call", CODE_CHANGE)
    assert node.code.load(project.name("counter"), grace_s=0).moved == 1
    gevent.joinall(sleeping)
    assert node.call(counters[1], "said") == ("two", 120)
    # The one whose code_change raises stays in the old code, and says so.
    assert node.call(counters[0], "said") == ("one", 10)
    (place,) = node.code.in_old_code(project.name("counter"))
    assert place.pid == counters[0]
    assert "ValueError: not ten" in place.why
    # It can be moved by hand, with something to go by.
    system(node, counters[0], Atom("suspend"))
    assert system(node, counters[0], (Atom("change_code"), Atom("m"), 1, "by hand")) is OK
    system(node, counters[0], Atom("resume"))
    assert node.call(counters[0], "said") == ("two", 110)
    assert node.code.in_old_code(project.name("counter")) == []


def test_a_server_that_loads_its_own_module(node: Node, project: Project) -> None:
    source = """
        from erlang_bridge import GenServer, Reply

        class Loader(GenServer):
            def handle_call(self, request, caller, state):
                if request == "load":
                    return Reply((self.node.code.load(__name__, grace_s=0).moved, self.version()), state)
                return Reply(self.version(), state)

            def version(self):
                return 1
    """
    project.module("loader", source)
    pid = node.start(project.get("loader", "Loader"))
    project.edit("loader", "return 1", "return 2")
    assert node.call(pid, "load") == (0, 1)
    assert node.call(pid, "version") == 2


def test_a_server_that_starts(node: Node, project: Project) -> None:
    project.module("counter", COUNTER)
    project.edit("counter", "return State(args)", "import gevent; gevent.sleep(0.1); return State(args)")
    node.code.load(project.name("counter"))
    starting = gevent.spawn(node.start, project.get("counter", "Counter"), 3)
    gevent.sleep(0.01)
    project.edit("counter", '"one"', '"two"')
    result = node.code.load(project.name("counter"), grace_s=0)
    assert len(result.in_old_code) == 1
    assert node.call(starting.get(), "said") == ("two", 3)


# -- suspended --------------------------------------------------------------------------------


def test_who_is_suspended_is_moved_with_change_code(node: Node, project: Project, counters: list[Pid]) -> None:
    name = project.name("counter")
    system(node, counters[0], Atom("suspend"))
    node.cast(counters[0], 1)
    project.edit("counter", "def handle_call", CODE_CHANGE)
    result = node.code.load(name)
    assert result.moved == 2
    assert "suspended" in result.in_old_code[0].why
    change = (Atom("change_code"), Atom(name), result.old_version)
    refused = system(node, counters[0], (*change, "by nobody"))
    assert refused[0] is Atom("error")
    assert refused[1][0] == (Atom("ValueError"), b"not ten")
    assert system(node, counters[0], (*change, "by hand")) is OK
    assert system(node, counters[0], Atom("resume")) is OK
    assert node.call(counters[0], "said") == ("one", 111)
    # There is nothing left to be done: it was called once.
    assert node.call(counters[1], "said") == ("one", 120)


def test_who_is_resumed_without_is_moved_then(node: Node, project: Project, counters: list[Pid]) -> None:
    system(node, counters[1], Atom("suspend"))
    project.edit("counter", "def handle_call", CODE_CHANGE.replace("== 10", "== 99"))
    project.edit("counter", '"one"', '"two"')
    node.code.load(project.name("counter"))
    node.cast(counters[1], 1)
    system(node, counters[1], Atom("resume"))
    assert node.call(counters[1], "said") == ("two", 121)


# -- old code ---------------------------------------------------------------------------------

LOOP = """
    def loop(own):
        while True:
            sender = own.receive()
            own.send(sender, version())

    def version():
        return 1
"""


def ask(node: Node, pid: Pid) -> Any:
    answers: list[Any] = []

    def body(own: OwnProcess) -> None:
        own.send(pid, own.pid)
        answers.append(own.receive(timeout_s=2))

    node.spawn(body)
    assert until(lambda: answers)
    return answers[0]


def test_a_body_stays_in_its_code_until_it_is_purged(node: Node, project: Project) -> None:
    name = project.name("loops")
    loop = project.module("loops", LOOP).loop
    pid = node.spawn(loop)
    process = node.table.find(pid)
    assert process is not None
    assert ask(node, pid) == 1
    project.edit("loops", "return 1", "return 2")
    (place,) = node.code.load(name).in_old_code
    assert (place.pid, place.why, place.line) == (pid, "runs loop", 4)
    assert ask(node, pid) == 1
    assert node.code.is_in_old_code(process, name)
    assert node.code.has_old_code(name)
    assert not node.code.soft_purge(name)
    project.edit("loops", "return 2", "return 3")
    with pytest.raises(ModuleNotLoaded) as refused:
        node.code.load(name)
    assert refused.value.reason == "not_purged"
    assert str(pid) in str(refused.value)
    assert sys.modules[name].version() == 2
    new = node.spawn(sys.modules[name].loop)
    assert [place.pid for place in node.code.purge(name)] == [pid]
    assert not node.is_alive(pid)
    assert process.exit_reason is Atom("killed")
    assert not node.code.has_old_code(name)
    assert node.code.purge(name) == []
    assert ask(node, new) == 2
    assert [place.pid for place in node.code.load(name).in_old_code] == [new]


def test_old_code_that_nobody_is_in_makes_room(node: Node, project: Project) -> None:
    project.module("loops", LOOP)
    for number in (2, 3, 4):
        project.edit("loops", f"return {number - 1}", f"return {number}")
        node.code.load(project.name("loops"))
    assert sys.modules[project.name("loops")].version() == 4


def test_a_class_that_is_no_more(node: Node, project: Project, counters: list[Pid]) -> None:
    name = project.name("counter")
    project.edit("counter", "class Counter", "class Other")
    result = node.code.load(name)
    assert [place.pid for place in result.in_old_code] == counters
    assert "is a Counter, which the new code does not have" in str(result.in_old_code[0])
    node.cast(counters[0], 1)
    assert node.call(counters[0], "said") == ("one", 11)
    with pytest.raises(ModuleNotLoaded, match="not_purged"):
        node.code.load(name)
    for pid in counters:
        node.exit(pid, Atom("kill"))
    assert node.code.load(name).in_old_code == ()


def test_status(node: Node, project: Project, counters: list[Pid]) -> None:
    name = project.name("counter")
    assert node.code.status(name) == "loaded"
    project.edit("counter", '"one"', '"two"')
    assert node.code.status(name) == "modified"
    assert name in node.code.modified()
    node.code.load(name)
    assert node.code.status(name) == "loaded"


# -- engines ----------------------------------------------------------------------------------


@pytest.fixture
def ticker(project: Project) -> Any:
    """The Ticker, as a copy that may be edited."""
    import engines.ticker

    folder = Path(engines.ticker.__file__).parent
    for part in ("messages", "behaviour", "server"):
        source = (folder / f"{part}.py").read_text().replace("engines.ticker.", "{package}.")
        project.write(part, source)
    return project.module("server").Ticker


def test_a_guard_is_edited(node: Node, project: Project, ticker: Any) -> None:
    node.engines["ticker"] = ticker
    pids = [node.start(ticker, start, name=f"ticker{start}") for start in (1, 2)]
    for pid in pids:
        node.cast(pid, Atom("increment"))
    assert [node.call(pid, Atom("count")) for pid in pids] == [2, 3]
    project.edit("behaviour", "counter=turn.state.counter + 1", "counter=turn.state.counter + 10")
    node.cast(pids[0], Atom("increment"))
    result = node.code.load(project.name("behaviour"))
    assert result.moved == 2
    node.cast(pids[0], Atom("increment"))
    assert [node.call(pid, Atom("count")) for pid in pids] == [22, 3]
    started = node.start(ticker, 0)
    node.cast(started, Atom("increment"))
    assert node.call(started, Atom("count")) == 10


def test_messages_of_an_engine_change(node: Node, project: Project, ticker: Any) -> None:
    pid = node.start(ticker, 5)
    project.edit("messages", "return message.counter", "return (message.counter, message.unit)")
    project.edit("messages", "    counter: int\n", '    counter: int\n    unit: str = "ticks"\n')
    node.code.load(project.name("messages"))
    node.cast(pid, Atom("increment"))
    assert node.call(pid, Atom("count")) == (6, "ticks")


def test_the_state_of_an_engine_grows(node: Node, project: Project, ticker: Any) -> None:
    pid = node.start(ticker, 5)
    project.edit("behaviour", "    counter: int = 0\n", "    counter: int = 0\n    step: int = 3\n")
    project.edit("behaviour", "counter=turn.state.counter + 1", "counter=turn.state.counter + turn.state.step")
    node.code.load(project.name("behaviour"))
    node.cast(pid, Atom("increment"))
    assert node.call(pid, Atom("count")) == 8


def test_all_of_an_engine_at_once(node: Node, project: Project, ticker: Any) -> None:
    pid = node.start(ticker, 5)
    project.edit("behaviour", "    counter: int = 0\n", "    total: int = 0\n")
    project.edit("behaviour", "counter=turn.state.counter + 1", "total=turn.state.total + 1")
    project.edit("behaviour", "turn.state.counter", "turn.state.total")
    project.edit(
        "server",
        "    engine = BEHAVIOUR\n",
        "    engine = BEHAVIOUR\n\n    def code_change(self, old_version, state, extra):\n"
        "        return type(state)(state.counter)\n",
    )
    node.code.load_all([project.name(part) for part in ("server", "behaviour")])
    node.cast(pid, Atom("increment"))
    assert node.call(pid, Atom("count")) == 6


def test_a_failure_in_an_engine_is_told(node: Node, project: Project, ticker: Any) -> None:
    pid = node.start(ticker, 5)
    project.edit("behaviour", "BEHAVIOUR: Final", "1 / 0\nBEHAVIOUR: Final")
    with pytest.raises(ModuleNotLoaded, match=r"behaviour.py:\d+: ZeroDivisionError"):
        node.code.load(project.name("behaviour"))
    node.cast(pid, Atom("increment"))
    assert node.call(pid, Atom("count")) == 6


def test_a_crash_in_new_code_is_a_crash(node: Node, project: Project, counters: list[Pid]) -> None:
    project.edit("counter", 'return ("one", state.count)', "return 1 / 0")
    node.code.load(project.name("counter"))
    with pytest.raises(ErlangExit, match="ZeroDivisionError"):
        node.call(counters[0], "said")
    assert node.is_alive(counters[1])
