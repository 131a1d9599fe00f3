"""Calls of functions, told while a breakpoint is on them; and functions as they were afterwards."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest

from erlang_bridge.otp.own import OwnProcess
from erlang_bridge.process import ProcessTable
from erlang_bridge.process.breakpoints import Breakpoints, Target, caller_of_traced, code_of
from erlang_bridge.process.tracing import EVERYTHING, Mfa, Outcome, Session, TraceEvent, Tracing
from erlang_bridge.terms import Atom
from tests.waiting import until


class Base:
    def method(self, one: Any, two: Any = 2, *, three: Any = 3) -> Any:
        return (one, two, three)

    def inherited(self, one: Any) -> Any:
        return ("base", one)


class Derived(Base):
    def method(self, one: Any, two: Any = 2, *, three: Any = 3) -> Any:
        return super().method(one, two, three=three)

    @classmethod
    def of_class(cls, one: Any) -> Any:
        return (cls.__name__, one)

    @staticmethod
    def static(one: Any) -> Any:
        return one

    @property
    def shown(self) -> str:
        return "shown"


def outer(free: Any) -> Callable[[Any], Any]:
    def inner(one: Any) -> Any:
        return (free, one)

    return inner


def decorated(function: Any) -> Any:
    @wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


def plain(one: Any, two: Any = 2) -> Any:
    return (one, two)


@decorated
def wrapped(one: Any) -> Any:
    return one


def failing(one: Any) -> Any:
    raise ValueError(one)


def counting(number: int) -> int:
    return 0 if number == 0 else counting(number - 1)


def generating(number: int) -> Iterator[int]:
    yield from range(number)


INNER = outer("free")
TABLE = {"plain": plain}

TARGETS = {
    "Base.method": (Base.method, Base, True),
    "Base.inherited": (Base.inherited, Base, True),
    "Derived.inherited": (Base.inherited, Derived, True),
    "Derived.method": (Derived.method, Derived, True),
    "Derived.of_class": (vars(Derived)["of_class"].__func__, Derived, True),
    "Derived.static": (Derived.static, Derived, False),
    "Derived.shown": (vars(Derived)["shown"].fget, Derived, True),
    "inner": (INNER, None, False),
    "plain": (plain, None, False),
    "wrapped": (wrapped, None, False),
    "failing": (failing, None, False),
    "counting": (counting, None, False),
    "generating": (generating, None, False),
}


class World:
    """A table, and a process in which functions are called that are traced."""

    def __init__(self) -> None:
        self.table = ProcessTable(Atom("alone@memory"), 7, lambda node, control, payload, connect: False)
        self.tracing = Tracing(self.table)
        self.breakpoints = Breakpoints(self.tracing, self.find)
        self.session = Session("test")
        self.tracing.add_session(self.session)
        self.events: list[tuple[Any, ...]] = []
        self.missing: set[str] = set()

    def find(self, mfa: Mfa) -> Target | None:
        if mfa[1] in self.missing:
            return None
        return Target(mfa, *TARGETS[mfa[1]])

    def put(self, event: TraceEvent, flags: frozenset[str]) -> None:
        (module, name, what), *value = event.details
        assert module is Atom("m")
        self.events.append((event.kind, name.name, what, *value, *event.extra))

    def owns(self, process: Any) -> bool:
        return False

    def trace(self, *names: str, outcome: Outcome = EVERYTHING) -> None:
        for name in names:
            self.session.calls[("m", name, 1)] = lambda arguments, process: outcome

    def run(self, function: Callable[[], Any], *flags: str) -> Any:
        """Call `function` in a process that is watched with `flags`."""
        results: list[Any] = []
        own = OwnProcess()
        process = own._process = self.table.add_body(lambda: results.append(function()))
        if flags:
            self.tracing.watch(self.session, process, frozenset(flags), self)
            self.tracing.refresh()
        assert until(lambda: results)
        return results[0]


@pytest.fixture
def world() -> Iterator[World]:
    before = {name: function.__code__ for name, (function, *_) in TARGETS.items()}
    world = World()
    yield world
    for session in list(world.tracing.sessions):
        world.tracing.end_session(session)
    world.table.close(Atom("shutdown"))
    assert {name: function.__code__ for name, (function, *_) in TARGETS.items()} == before
    assert not [
        name for name, (function, *_) in TARGETS.items() if "__wrapped__" in vars(function) and name != "wrapped"
    ]


@pytest.mark.parametrize(
    ("name", "call", "arguments", "value"),
    [
        ("Base.method", lambda: Base().method(1), [1], (1, 2, 3)),
        ("Base.method", lambda: Base().method(1, three=4, two=5), [1, 5, 4], (1, 5, 4)),
        ("Derived.method", lambda: Derived().method("a", "b"), ["a", "b"], ("a", "b", 3)),
        ("Derived.inherited", lambda: Derived().inherited(1), [1], ("base", 1)),
        ("Derived.of_class", lambda: Derived.of_class(1), [1], ("Derived", 1)),
        ("Derived.of_class", lambda: Derived().of_class(1), [1], ("Derived", 1)),
        ("Derived.static", lambda: Derived.static(7), [7], 7),
        ("Derived.shown", lambda: Derived().shown, [], "shown"),
        ("inner", lambda: INNER(1), [1], ("free", 1)),
        ("plain", lambda: TABLE["plain"](1), [1], (1, 2)),
        ("wrapped", lambda: wrapped(1), [1], 1),
        ("counting", lambda: counting(0), [0], 0),
        ("generating", lambda: list(generating(3)), [3], [0, 1, 2]),
    ],
)
def test_a_call(world: World, name: str, call: Callable[[], Any], arguments: list[Any], value: Any):
    world.trace(name)
    assert world.run(call, "call") == value
    assert world.events == [("call", name, arguments)]


def test_nothing_changes_while_nobody_is_watched(world: World):
    world.trace("plain")
    world.tracing.refresh()
    assert not world.breakpoints.functions
    assert world.run(lambda: plain(1)) == (1, 2)
    assert not world.events


def test_only_watched_processes_tell(world: World):
    world.trace("plain")
    world.run(lambda: plain(0), "call")
    idle = world.table.add_guest()
    world.tracing.watch(world.session, idle, frozenset({"call"}), world)
    world.tracing.refresh()
    assert world.breakpoints.functions == [plain]
    assert world.run(lambda: plain(1)) == (1, 2)
    assert world.run(lambda: plain(2), "send") == (2, 2)
    assert plain(3) == (3, 2)  # in no process at all
    assert [event[2] for event in world.events] == [[0]]


def test_recursion(world: World):
    world.trace("counting", outcome=Outcome(returns=True))
    world.run(lambda: counting(2), "call")
    assert world.events == [
        ("call", "counting", [2]),
        ("call", "counting", [1]),
        ("call", "counting", [0]),
        ("return_from", "counting", 1, 0),
        ("return_from", "counting", 1, 0),
        ("return_from", "counting", 1, 0),
    ]


def test_exceptions(world: World):
    def run() -> str:
        with pytest.raises(ValueError, match="x"):
            failing("x")
        return "done"

    world.trace("failing", outcome=Outcome(returns=True))
    world.run(run, "call")
    assert world.events == [("call", "failing", ["x"])]
    world.trace("failing", outcome=Outcome(returns=True, exceptions=True))
    world.run(run, "call")
    kind, name, _, error = world.events[-1]
    assert (kind, name, type(error)) == ("exception_from", "failing", ValueError)


def test_the_class_that_was_meant(world: World):
    world.trace("Base.inherited", "Derived.inherited")
    world.run(lambda: (Base().inherited(1), Derived().inherited(2)), "call")
    assert world.events == [("call", "Base.inherited", [1]), ("call", "Derived.inherited", [2])]


def test_arity_and_silence(world: World):
    world.trace("plain")
    world.run(lambda: plain(1), "call", "arity")
    assert world.events == [("call", "plain", 1)]
    world.run(lambda: plain(1), "call", "silent")
    assert len(world.events) == 1
    world.trace("plain", outcome=Outcome(silent=False))
    world.run(lambda: plain(1), "call", "silent")
    assert len(world.events) == 2


def test_who_has_called(world: World):
    callers: list[Any] = []

    def matcher(arguments: list[Any], process: Any) -> Outcome:
        callers.append(caller_of_traced())
        return EVERYTHING

    world.session.calls[("m", "Base.method", 1)] = matcher
    world.run(lambda: Derived().method(1), "call")
    assert callers == [(__name__, "Derived.method", 2)]


def test_a_function_still_says_what_it_is(world: World):
    world.trace("Base.method", "plain")
    before = inspect.signature(Base.method)
    world.run(lambda: None, "call")
    idle = world.table.add_guest()
    world.tracing.watch(world.session, idle, frozenset({"call"}), world)
    world.tracing.refresh()
    code = Base.method.__code__
    assert inspect.signature(Base.method) == before
    assert code_of(Base.method) is not code
    assert code_of(Base.method).co_argcount == 3
    assert (code.co_name, code.co_qualname, code.co_filename) == ("method", "Base.method", __file__)
    assert code.co_firstlineno == code_of(Base.method).co_firstlineno


def test_lifted_for_new_code_and_set_again(world: World):
    world.trace("plain", "failing")
    idle = world.table.add_guest()
    world.tracing.watch(world.session, idle, frozenset({"call"}), world)
    world.tracing.refresh()
    before = code_of(plain)
    world.breakpoints.lift()
    assert plain.__code__ is before
    assert not world.breakpoints.functions
    world.missing.add("failing")
    world.breakpoints.set_again()
    assert world.breakpoints.functions == [plain]


def test_two_sessions_tell_each_their_own(world: World):
    second = Session("second")
    world.tracing.add_session(second)
    second.calls[("m", "plain", 1)] = lambda arguments, process: Outcome(extra=("second",))
    world.trace("plain")
    process = world.table.add_body(lambda: plain(1))
    for session in (world.session, second):
        world.tracing.watch(session, process, frozenset({"call"}), world)
    world.tracing.refresh()
    assert until(lambda: not process.alive)
    assert world.events == [("call", "plain", [1]), ("call", "plain", [1], "second")]
