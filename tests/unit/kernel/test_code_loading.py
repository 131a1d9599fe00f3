"""New code for running processes: what goes over, what is kept, and that a failure leaves no trace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gevent
import pytest

from erlang_bridge import Atom, ChildSpec, ModuleNotLoaded, Node, Pid, Supervisor, SupervisorFlags
from erlang_bridge.otp.supervisor import which_children
from tests.code_projects import COUNTER, Project
from tests.waiting import until


@pytest.fixture
def node(lone_node: Node) -> Node:
    return lone_node


@pytest.fixture
def counters(node: Node, project: Project) -> list[Pid]:
    project.module("counter", COUNTER)
    return [node.start(project.get("counter", "Counter"), start) for start in (10, 20, 30)]


def test_state_and_mailbox_stay(node: Node, project: Project, counters: list[Pid]) -> None:
    for pid in counters:
        node.cast(pid, 1)
    project.edit("counter", '"one"', '"two"')
    result = node.code.load(project.name("counter"))
    assert (result.moved, result.in_old_code) == (3, ())
    assert [node.call(pid, "said") for pid in counters] == [("two", 11), ("two", 21), ("two", 31)]
    assert node.start(project.get("counter", "Counter"), 1) not in counters


def test_versions_are_those_of_otp(node: Node, project: Project, counters: list[Pid]) -> None:
    import hashlib

    before = int.from_bytes(hashlib.md5(Path(project.path("counter")).read_bytes()).digest(), "big")
    project.edit("counter", "STEP = 1", '__vsn__ = "2.0"\n    STEP = 1')
    result = node.code.load(project.name("counter") + ".Counter")
    assert (result.module, result.old_version, result.new_version) == (project.name("counter"), before, "2.0")
    assert repr(result) == f"{project.name('counter')}: {before:032x}"[: len(result.module) + 10] + (
        " -> 2.0, 3 processes moved"
    )


# -- states -----------------------------------------------------------------------------------


def test_a_new_field_has_its_default(node: Node, project: Project, counters: list[Pid]) -> None:
    project.edit("counter", "count: int", "count: int\n        log: tuple = ()")
    node.code.load(project.name("counter"))
    state = node.call(counters[0], "state")
    assert type(state) is project.get("counter", "State")
    assert (state.count, state.log) == (10, ())
    node.cast(counters[0], 5)
    assert node.call(counters[0], "state").count == 15


def test_a_new_field_without_default_is_refused(node: Node, project: Project, counters: list[Pid]) -> None:
    old = project.get("counter", "State")
    project.edit("counter", "count: int", "count: int\n        log: tuple")
    with pytest.raises(ModuleNotLoaded) as refused:
        node.code.load(project.name("counter"))
    assert refused.value.reason == "code_change"
    assert (refused.value.path, refused.value.line) == (project.path("counter"), 9)
    assert "the field log of State is new and has no default" in str(refused.value)
    assert type(node.call(counters[0], "state")) is old is project.get("counter", "State")


@pytest.mark.parametrize("slots", ["slots=True", "slots=False"])
def test_code_change_reads_old_fields_and_sets_new_ones(node: Node, project: Project, slots: str) -> None:
    project.module("counter", COUNTER.replace("slots=True", slots))
    pid = node.start(project.get("counter", "Counter"), 7)
    project.write(
        "counter",
        COUNTER.replace("slots=True", slots)
        .replace("count: int", "total: int\n        by: str")
        .replace("state.count", "state.total")
        .replace(
            "def handle_call",
            "def code_change(self, old_version, state, extra):\n"
            "            assert isinstance(state, State) and extra == [] and type(old_version) is int\n"
            "            return replace(state, total=state.count * 10, by='me')\n\n"
            "        def handle_call",
        ),
    )
    node.code.load(project.name("counter"))
    state = node.call(pid, "state")
    assert type(state) is project.get("counter", "State")
    assert (state.total, state.by, hasattr(state, "count")) == (70, "me", False)


def test_code_change_has_to_set_a_field_without_default(node: Node, project: Project, counters: list[Pid]) -> None:
    change = "def code_change(self, old_version, state, extra):\n            return state\n\n        def handle_call"
    project.edit("counter", "count: int", "count: int\n        log: tuple")
    project.edit("counter", "def handle_call", change)
    with pytest.raises(ModuleNotLoaded, match="code_change of Counter has to set it"):
        node.code.load(project.name("counter"))
    assert node.call(counters[2], "said") == ("one", 30)


NESTED = """
    import enum
    from collections import deque
    from typing import NamedTuple

    from erlang_bridge import GenServer, Reply

    class Colour(enum.Enum):
        RED = 1

    class Point(NamedTuple):
        x: int

    class Plain:
        def __init__(self, x):
            self.x = x

    class Slotted:
        __slots__ = ("x",)

        def __init__(self, x):
            self.x = x

    class Empty:
        __slots__ = ()

    class Holder(GenServer):
        def init(self, args):
            self.plain = Plain(1)
            return {"deep": [(Colour.RED, Point(2)), deque([Slotted(3)])], Colour.RED: {Empty()}, "plain": self.plain}

        def handle_call(self, request, caller, state):
            (colour, point), (slotted,) = state["deep"]
            (empty,) = state[Colour.RED]
            same = state["plain"] is self.plain
            fine = isinstance(empty, Empty) and isinstance(self.plain, Plain) and colour is Colour.RED
            return Reply((fine, same, isinstance(point, Point), isinstance(slotted, Slotted), point, vars(self.plain)), state)
"""


def test_objects_anywhere_in_a_state(node: Node, project: Project) -> None:
    project.module("nested", NESTED)
    pid = node.start(project.get("nested", "Holder"))
    assert node.call(pid, "look")[:4] == (True, True, True, True)
    project.edit("nested", "        x: int\n", "        x: int\n        y: int = 5\n")
    project.edit("nested", "RED = 1", "RED = 1\n        BLUE = 2")
    node.code.load(project.name("nested"))
    answer = node.call(pid, "look")
    assert answer[:4] == (True, True, True, True)
    assert (answer[4].y, answer[5]) == (5, {"x": 1})


# -- all or nothing ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "reason", "line"),
    [
        ("STEP = 1", "STEP = = 1", "badfile", 6),
        ("STEP = 1", "STEP = 1 / 0", "on_load_failure", 6),
        ("STEP = 1", "import nothing_of_that_name", "on_load_failure", 6),
        ("STEP = 1", "from {package}.counter import nothing", "on_load_failure", 6),
    ],
)
def test_what_does_not_import_changes_nothing(
    node: Node, project: Project, counters: list[Pid], old: str, new: str, reason: str, line: int
) -> None:
    module, before = sys.modules[project.name("counter")], dict(vars(sys.modules[project.name("counter")]))
    project.edit("counter", old, new)
    with pytest.raises(ModuleNotLoaded) as refused:
        node.code.load(project.name("counter"))
    assert (refused.value.reason, refused.value.path, refused.value.line) == (reason, project.path("counter"), line)
    assert sys.modules[project.name("counter")] is module
    assert {key: value for key, value in vars(module).items() if key in before} == before
    assert [node.call(pid, "said") for pid in counters] == [("one", 10), ("one", 20), ("one", 30)]
    project.write("counter", COUNTER.replace('"one"', '"two"'))
    assert node.code.load(project.name("counter")).moved == 3
    assert node.call(counters[0], "said") == ("two", 10)


LISTS = """
    from erlang_bridge import GenServer, NoReply, Reply

    class Item:
        def __init__(self, value):
            self.value = value

    class Lists(GenServer):
        def init(self, args):
            self.seen = [args]
            return {"items": [Item(args)], "set": {args}}

        def handle_call(self, request, caller, state):
            return Reply((self.version(), [item.value for item in state["items"]], state["set"], self.seen), state)

        def version(self):
            return 1
"""


def test_code_change_that_raises_in_one_process_leaves_all_as_they_were(node: Node, project: Project) -> None:
    project.module("lists", LISTS)
    pids = [node.start(project.get("lists", "Lists"), number) for number in range(5)]
    before = [node.call(pid, "all") for pid in pids]
    change = """
        def code_change(self, old_version, state, extra):
            state["items"].append(Item(99))
            state["items"][0].value += 100
            state["set"].clear()
            self.seen.append("changed")
            self.extra = True
            if self.seen[0] == 3:
                raise ValueError("not three")
            return {"items": [], "set": set()}

        def version(self):
    """
    project.edit("lists", "        def version(self):\n", change.lstrip("\n"))
    project.edit("lists", "return 1", "return 2")
    with pytest.raises(ModuleNotLoaded) as refused:
        node.code.load(project.name("lists"))
    assert (refused.value.reason, refused.value.path, refused.value.line) == ("code_change", project.path("lists"), 23)
    assert "ValueError: not three" in str(refused.value)
    assert [node.call(pid, "all") for pid in pids] == before
    assert not hasattr(node.table.find(pids[0]).instance, "extra")  # type: ignore[union-attr]
    project.edit("lists", "== 3", "== 33")
    assert node.code.load(project.name("lists")).moved == 5
    assert [node.call(pid, "all")[:2] for pid in pids] == [(2, [])] * 5


def test_code_change_that_does_not_return_is_given_up(
    node: Node, project: Project, counters: list[Pid], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("erlang_bridge.kernel.code_upgrade.CODE_CHANGE_S", 0.1)
    change = """def code_change(self, old_version, state, extra):
            import gevent

            gevent.sleep(0.3 if state.count == 20 else 0)
            return replace(state, count=0)

        def handle_call"""
    project.edit("counter", "def handle_call", change)
    with pytest.raises(ModuleNotLoaded, match="did not return within 0.1 s"):
        node.code.load(project.name("counter"))
    assert [node.call(pid, "said") for pid in counters] == [("one", 10), ("one", 20), ("one", 30)]


def test_code_change_acts_as_its_process(node: Node, project: Project, counters: list[Pid]) -> None:
    change = """def code_change(self, old_version, state, extra):
            self.node.register("changed", self.pid) if state.count == 10 else None
            assert self.node.table.current() is self.process
            assert super().code_change(old_version, state, extra) is state
            return replace(state, count=state.count + self.bonus())

        def bonus(self):
            return 1

        def handle_call"""
    project.edit("counter", "def handle_call", change)
    node.code.load(project.name("counter"))
    assert node.whereis("changed") == counters[0]
    assert [node.call(pid, "said") for pid in counters] == [("one", 11), ("one", 21), ("one", 31)]


def test_messages_that_come_during_code_change_keep_their_order(node: Node, project: Project) -> None:
    source = """
        import gevent
        from erlang_bridge import GenServer, NoReply, Reply

        class Log(GenServer):
            def init(self, args):
                return []

            def handle_cast(self, message, state):
                return NoReply([*state, message])

            def handle_call(self, request, caller, state):
                return Reply(state, state)

            def code_change(self, old_version, state, extra):
                self.node.call(extra_server, "go") if extra_server else gevent.sleep(0.05)
                return state

        extra_server = None
    """
    project.module("logs", source)
    pid = node.start(project.get("logs", "Log"))
    for number in range(100):
        node.cast(pid, number)
    loading = gevent.spawn(node.code.load, project.name("logs"))
    for number in range(100, 300):
        node.cast(pid, number)
        gevent.sleep(0)
    loading.get()
    assert node.call(pid, "all") == list(range(300))


# -- who refers to it -------------------------------------------------------------------------

IMPORTER = """
    import functools
    from dataclasses import dataclass
    from collections.abc import Callable

    from erlang_bridge import GenServer, Reply
    from {package} import lib
    from {package}.lib import LIMIT, Table, TABLE, A, B, Base, helper
    from {package}.lib import helper as renamed
    import {package}.lib as aliased

    Message = A | B
    PARTIAL = functools.partial(helper, 1)
    BY_CLASS = {A: "a", B: "b"}
    TUPLE = (("x", helper), A)
    DEFAULT_LIST = list[A]

    @dataclass(frozen=True, slots=True)
    class Dialect:
        read: Callable

    def with_default(function=helper, *, other=helper):
        return function(1), other(1)

    def closure():
        made = helper
        return lambda: made(1)

    CLOSED = closure()

    @functools.singledispatch
    def dispatched(value):
        return "other"

    @dispatched.register
    def _(value: A):
        return "a"

    class User(Base, GenServer):
        dialect = Dialect(helper)
        table = TABLE
        method = staticmethod(helper)

        def init(self, args):
            return [A(1), B()]

        def handle_call(self, request, caller, state):
            first, second = state
            match first:
                case A(value=value):
                    matched = value
                case _:
                    matched = None
            return Reply(
                {
                    "matched": matched,
                    "union": isinstance(first, Message) and isinstance(second, Message) and isinstance(A(1), Message),
                    "helper": (helper(1), renamed(1), lib.helper(1), aliased.helper(1), PARTIAL(), CLOSED()),
                    "default": with_default(),
                    "limit": LIMIT,
                    "by class": (BY_CLASS[type(first)], BY_CLASS[B]),
                    "tuple": (TUPLE[0][1](1), TUPLE[1] is A),
                    "dialect": self.dialect.read(1),
                    "table": (self.table.guard(1), TABLE.guard(1), Table is type(self.table)),
                    "static": self.method(1),
                    "dispatched": dispatched(first),
                    "hello": self.hello(),
                    "alias": DEFAULT_LIST.__args__[0] is A,
                },
                state,
            )

        def hello(self):
            return "user and " + super().hello()
"""

LIB = """
    from dataclasses import dataclass

    LIMIT = 5

    @dataclass(frozen=True, slots=True)
    class A:
        value: int

    @dataclass(frozen=True, slots=True)
    class B:
        pass

    class Base:
        def hello(self):
            return "base one"

    def helper(value):
        return ("one", value)

    @dataclass(frozen=True, slots=True)
    class Table:
        guard: object

    TABLE = Table(helper)
"""


def test_other_modules_find_the_new_code(node: Node, project: Project) -> None:
    project.module("lib", LIB)
    project.module("user", IMPORTER)
    pid = node.start(project.get("user", "User"))
    node.code.note_loaded()
    one = ("one", 1)
    before = node.call(pid, "all")
    assert before["matched"] == 1
    assert before["helper"] == (one,) * 6
    project.write(
        "lib", LIB.replace('"one"', '"two"').replace("base one", "base two").replace("LIMIT = 5", "LIMIT = 6")
    )
    result = node.code.load(project.name("lib"))
    assert result.moved == 1
    two = ("two", 1)
    assert node.call(pid, "all") == {
        "matched": 1,
        "union": True,
        "helper": (two,) * 6,
        "default": (two, two),
        "limit": 6,
        "by class": ("a", "b"),
        "tuple": (two, True),
        "dialect": two,
        "table": (two, two, True),
        "static": two,
        "dispatched": "a",
        "hello": "user and base two",
        "alias": True,
    }
    assert not node.code.has_old_code(project.name("lib"))


def test_a_load_that_fails_late_leaves_other_modules_as_they_were(node: Node, project: Project) -> None:
    project.module("lib", LIB)
    project.module("user", IMPORTER)
    pid = node.start(project.get("user", "User"))
    node.code.note_loaded()
    before = node.call(pid, "all")
    project.write("lib", LIB.replace('"one"', '"two"').replace("value: int", "value: int\n        more: int"))
    with pytest.raises(ModuleNotLoaded, match="the field more of A"):
        node.code.load(project.name("lib"))
    assert node.call(pid, "all") == before


def test_a_name_that_is_gone(node: Node, project: Project) -> None:
    module = project.module("lib", LIB)
    project.edit("lib", "def helper", "def other")
    project.edit("lib", "Table(helper)", "Table(other)")
    node.code.load(project.name("lib"))
    assert not hasattr(sys.modules[project.name("lib")], "helper")
    assert sys.modules[project.name("lib")] is not module
    assert sys.modules[project.package].lib is sys.modules[project.name("lib")]


def test_methods_that_others_hold(node: Node, project: Project, counters: list[Pid]) -> None:
    server = node.table.find(counters[0]).instance  # type: ignore[union-attr]
    held = [server.said_by] if hasattr(server, "said_by") else [server.handle_call]
    node.export("counters", "said", project.get("counter", "said"))
    project.edit("counter", '"one"', '"two"')
    node.code.load(project.name("counter"))
    assert held[0]("said", None, node.call(counters[0], "state")).value == ("two", 10)
    exported = node.callables.find(Atom("counters"), Atom("said"), 1)
    assert exported is not None
    assert exported.function is project.get("counter", "said")


def test_supervisors_restart_with_the_new_code(node: Node, project: Project) -> None:
    counter = project.module("counter", COUNTER).Counter
    node.engines["counter"] = counter
    supervisor = node.start(Supervisor, (SupervisorFlags(), [ChildSpec("c", (counter, 1, {"name": "c"}))]))
    project.edit("counter", '"one"', '"two"')
    node.code.load(project.name("counter"))
    assert node.call("c", "said") == ("two", 1)
    before = node.whereis("c")
    assert before is not None
    node.exit(before, Atom("kill"))
    assert until(lambda: node.whereis("c") not in (None, before))
    assert node.call("c", "said") == ("two", 1)
    ((_, _, _, modules),) = which_children(node, supervisor)
    assert modules == [Atom(project.name("counter") + ".Counter")]
    assert node.engines["counter"] is project.get("counter", "Counter") is not counter


def test_messages_of_an_old_class_in_a_mailbox(node: Node, project: Project) -> None:
    source = """
        from dataclasses import dataclass
        from erlang_bridge import GenServer, NoReply, Reply

        @dataclass(frozen=True, slots=True)
        class Add:
            amount: int

        @dataclass(frozen=True, slots=True)
        class Reset:
            pass

        class Sum(GenServer):
            def init(self, args):
                return 0

            def handle_info(self, message, state):
                match message:
                    case Add(amount=amount):
                        return NoReply(state + amount)
                    case Reset():
                        return NoReply(0)
                return NoReply("unknown")

            def handle_call(self, request, caller, state):
                return Reply(state, state)
    """
    project.module("sums", source)
    pid = node.start(project.get("sums", "Sum"))
    add, reset = project.get("sums", "Add"), project.get("sums", "Reset")
    for message in (add(1), reset(), add(2), add(3)):
        node.send(pid, message)
    node.table.send_after(0.05, pid, add(4))
    project.edit("sums", "amount: int", "amount: int\n            by: str = 'nobody'")
    result = node.code.load(project.name("sums"))
    assert result.moved == 1
    assert add is not project.get("sums", "Add")
    gevent.sleep(0.1)
    assert node.call(pid, "sum") == 9


def test_several_modules_at_once(node: Node, project: Project) -> None:
    project.module("lib", LIB)
    project.module("user", IMPORTER)
    pid = node.start(project.get("user", "User"))
    project.write("lib", LIB.replace("class A:", "class A2:").replace("helper", "helped"))
    user = IMPORTER.replace("A, B", "A2 as A, B").replace("helper", "helped").replace("BY_CLASS[type(first)]", "0")
    project.write("user", user)
    results = node.code.load_all([project.name("user"), project.name("lib")])
    assert [result.module for result in results] == [project.name("user"), project.name("lib")]
    assert not hasattr(sys.modules[project.name("lib")], "helper")
    assert project.get("user", "A") is project.get("lib", "A2")
    answer = node.call(pid, "all")
    assert answer["default"] == (("one", 1), ("one", 1))
    # Objects of a class that is no more stay what they are.
    assert (answer["matched"], answer["union"]) == (None, False)


def test_structs(node: Node, project: Project) -> None:
    from erlang_bridge.etf import decode as decode_term
    from erlang_bridge.etf import encode as encode_term

    source = """
        from dataclasses import dataclass
        from erlang_bridge import struct

        @struct("Elixir.{package}.Point")
        @dataclass(frozen=True, slots=True)
        class Point:
            x: int
    """
    project.module("points", source)
    old = project.get("points", "Point")
    term = encode_term(old(1))
    project.edit("points", "x: int", "x: int = 1 / 0")
    with pytest.raises(ModuleNotLoaded):
        node.code.load(project.name("points"))
    assert type(decode_term(term)) is old
    project.edit(
        "points", "x: int = 1 / 0", "x: int\n\n            def double(self):\n                return 2 * self.x"
    )
    node.code.load(project.name("points"))
    point = decode_term(term)
    assert (type(point), point.double()) == (project.get("points", "Point"), 2)
    assert encode_term(point) == term


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["json", "gevent", "erlang_bridge.otp.gen_server", "erlang_bridge.GenServer"])
def test_what_runs_the_processes_is_not_changed(node: Node, name: str) -> None:
    with pytest.raises(ModuleNotLoaded) as refused:
        node.code.load(name)
    assert refused.value.reason == "sticky_directory"


def test_nothing_is_imported(node: Node, project: Project) -> None:
    project.write("other", "raise SystemExit")
    with pytest.raises(ModuleNotLoaded) as refused:
        node.code.load(project.name("other"))
    assert refused.value.reason == "nofile"
    assert project.name("other") not in sys.modules


def test_a_file_that_is_gone(node: Node, project: Project, counters: list[Pid]) -> None:
    Path(project.path("counter")).unlink()
    with pytest.raises(ModuleNotLoaded) as refused:
        node.code.load(project.name("counter"))
    assert (refused.value.reason, refused.value.path) == ("nofile", project.path("counter"))
    assert node.code.status(project.name("counter")) == "removed"


def test_hooks(node: Node, project: Project, counters: list[Pid]) -> None:
    seen: list[Any] = []
    take_back = node.code.on_load(lambda names: seen.append(("before", names)), lambda names: seen.append(names))
    node.code.load(project.name("counter"))
    project.edit("counter", "STEP = 1", "STEP = = 1")
    with pytest.raises(ModuleNotLoaded):
        node.code.load(project.name("counter"))
    take_back()
    names = [project.name("counter")]
    assert seen == [("before", names), names, ("before", names), names]


# -- corners ----------------------------------------------------------------------------------


def test_objects_that_are_keys_stay_findable(node: Node, project: Project) -> None:
    source = """
        import enum
        from dataclasses import dataclass
        from erlang_bridge import GenServer, Reply

        @dataclass(frozen=True)
        class Key:
            name: str

        class Mode(enum.Flag):
            A = 1
            B = 2

        class Table(GenServer):
            def init(self, args):
                return {Key("a"): Mode.A | Mode.B, "set": {Key("b")}}

            def handle_call(self, request, caller, state):
                return Reply((state[Key("a")] == Mode.A | Mode.B, Key("b") in state["set"], len(state)), state)
    """
    project.module("keys", source)
    pid = node.start(project.get("keys", "Table"))
    assert node.call(pid, "look") == (True, True, 2)
    project.edit("keys", "name: str", "name: str\n            space: int = 0")
    node.code.load(project.name("keys"))
    assert node.call(pid, "look") == (True, True, 2)


SUPERVISOR = """
    from erlang_bridge import ChildSpec, GenServer, Supervisor, SupervisorFlags

    class Worker(GenServer):
        pass

    class Tree(Supervisor):
        def init(self, args):
            return SupervisorFlags(intensity=3), [ChildSpec("one", (Worker, 1)), ChildSpec("two", (Worker, 2))]
"""


def test_a_supervisor_takes_its_new_specifications(node: Node, project: Project) -> None:
    project.module("trees", SUPERVISOR)
    pid = node.start(project.get("trees", "Tree"))
    before = which_children(node, pid)
    project.edit("trees", "(Worker, 2))]", '(Worker, 2)), ChildSpec("three", (Worker, 3))] + [1 / 0]')
    with pytest.raises(ModuleNotLoaded, match=r"trees.py:9: ZeroDivisionError"):
        node.code.load(project.name("trees"))
    assert which_children(node, pid) == before
    project.edit("trees", " + [1 / 0]", "")
    project.edit("trees", "(Worker, 1)", "(Worker, 1), shutdown_ms=77")
    assert node.code.load(project.name("trees")).moved == 3
    children = {id.name: child for id, child, _, _ in which_children(node, pid)}
    assert children["one"] == next(child for id, child, _, _ in before if id is Atom("one"))
    assert children["three"] is Atom("undefined")  # OTP does not start it either
    node.exit(children["one"], Atom("kill"))
    assert until(lambda: {i.name: p for i, p, _, _ in which_children(node, pid)}["one"] != children["one"])
    restarted = next(p for i, p, _, _ in which_children(node, pid) if i is Atom("one"))
    assert type(node.table.find(restarted).instance) is project.get("trees", "Worker")  # type: ignore[union-attr]


def test_a_class_of_another_module_between(node: Node, project: Project) -> None:
    """The middle of three classes changes: the others go on, ``super()`` finds its way, code_change is theirs."""
    project.module(
        "bottom",
        "from erlang_bridge import GenServer\nclass Bottom(GenServer):\n    def who(self):\n        return ['bottom']\n",
    )
    project.module(
        "middle",
        "from {package}.bottom import Bottom\nclass Middle(Bottom):\n    def who(self):\n        return ['middle', *super().who()]\n",
    )
    source = """
        from erlang_bridge import Reply
        from {package}.middle import Middle

        class Top(Middle):
            def handle_call(self, request, caller, state):
                return Reply((self.who(), state), state)

            def who(self):
                return ["top", *super().who()]
    """
    project.module("top", source)
    pid = node.start(project.get("top", "Top"), 0)
    assert node.call(pid, "who") == (["top", "middle", "bottom"], 0)
    project.write(
        "middle",
        "from {package}.bottom import Bottom\nclass Middle(Bottom):\n    def who(self):\n        return ['MIDDLE', *super().who()]\n"
        "    def code_change(self, old, state, extra):\n        return (state, self.who())\n",
    )
    assert node.code.load(project.name("middle")).moved == 1
    answer = ["top", "MIDDLE", "bottom"]
    assert node.call(pid, "who") == (answer, (0, answer))
    assert project.get("top", "Top").__mro__[1] is project.get("middle", "Middle")


def test_old_code_is_freed(node: Node, project: Project, counters: list[Pid]) -> None:
    import gc
    import weakref

    old = weakref.ref(project.get("counter", "Counter"))
    project.edit("counter", '"one"', '"two"')
    node.code.load(project.name("counter"))
    gc.collect()
    assert old() is None


def test_other_nodes_of_the_interpreter_go_along(node: Node, project: Project, counters: list[Pid]) -> None:
    with Node("other@127.0.0.1", cookie="c", listen=False) as other:
        pid = other.start(project.get("counter", "Counter"), 1)
        project.edit("counter", '"one"', '"two"')
        assert node.code.load(project.name("counter")).moved == 4
        assert other.call(pid, "said") == ("two", 1)
        assert not other.code.has_old_code(project.name("counter"))


def test_a_closure_keeps_its_code(node: Node, project: Project) -> None:
    """What was made at run time is not looked into: as a fun of old code does, it goes on as it is."""
    module = project.module("makes", "def make():\n    return lambda: version()\ndef version():\n    return 1\n")
    made = module.make()
    project.edit("makes", "return 1", "return 2")
    node.code.load(project.name("makes"))
    assert (made(), project.get("makes", "make")()()) == (1, 2)


def test_frozen_memory(node: Node, project: Project, counters: list[Pid]) -> None:
    """A node freezes what it has after its start: the collector does not show that."""
    import gc

    gc.freeze()
    try:
        project.edit("counter", '"one"', '"two"')
        assert node.code.load(project.name("counter")).moved == 3
        assert node.call(counters[0], "said") == ("two", 10)
    finally:
        gc.unfreeze()
