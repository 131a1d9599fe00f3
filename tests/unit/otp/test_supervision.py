"""What a supervisor decides: who is started and stopped, in which order, and what it answers. No process runs."""

from typing import Any

import pytest

from erlang_bridge.otp.child_specs import ChildSpec, DynamicSupervisorFlags, SupervisorFlags
from erlang_bridge.otp.dynamic_supervision import DynamicSupervision, SimpleSupervision
from erlang_bridge.otp.supervision import (
    Failed,
    RestartWindow,
    Started,
    StaticSupervision,
    is_orderly_stop,
    is_reported,
    is_restarted,
)
from erlang_bridge.terms import Atom, Pid
from tests.supervision_runs import NODE, World

A = Atom
MFA = (A("m"), A("f"), [1])
OK, ERROR, UNDEFINED, BOOM = A("ok"), A("error"), A("undefined"), A("boom")
NORMAL, SHUTDOWN, KILLED = A("normal"), A("shutdown"), A("killed")
SHUTDOWN_WITH = (SHUTDOWN, A("done"))
STRANGER = Pid(NODE, 999, 0, 1)


def spec(id: Any, **options: Any) -> ChildSpec:
    return ChildSpec(id, MFA, **options)


class Static:
    """A supervision with its world: the tests' subject."""

    def __init__(self, strategy: str, *specs: ChildSpec, **flags: Any) -> None:
        self.world = World()
        self.supervision = StaticSupervision(SupervisorFlags(strategy, **flags), specs, self.world.is_alive)  # type: ignore[arg-type]

    def start(self) -> Any:
        return self.world.carry_out(self.supervision.start_all())

    def pid(self, id: Any) -> Any:
        return next(child.pid for child in self.supervision.children.values() if child.spec.id in (id, A(id)))

    def shown(self) -> dict[str, Any]:
        """Id to what ``which_children`` shows, in start order."""
        return {entry[0].name: entry[1] for entry in reversed(self.supervision.which_children())}

    def ended(self, id: Any, reason: Any = BOOM, now_s: float = 0.0) -> tuple[bool, list[Any]]:
        pid = self.world.end(self.pid(id))
        return self.world.since(lambda: self.world.carry_out(self.supervision.child_ended(pid, reason, now_s)))

    def try_again(self, now_s: float = 0.0) -> tuple[bool, list[Any]]:
        child = self.world.again.pop(0)
        return self.world.since(lambda: self.world.carry_out(self.supervision.try_again(child, now_s)))

    def ask(self, request: str, *arguments: Any) -> Any:
        return self.world.carry_out(getattr(self.supervision, request)(*arguments))


def started(strategy: str, *specs: ChildSpec, **flags: Any) -> Static:
    subject = Static(strategy, *specs, **{"intensity": 5, **flags})
    assert subject.start() is None
    return subject


# -- rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restart", "reason", "restarted", "reported"),
    [
        ("permanent", NORMAL, True, True),
        ("permanent", SHUTDOWN, True, True),
        ("permanent", BOOM, True, True),
        ("transient", NORMAL, False, False),
        ("transient", SHUTDOWN, False, False),
        ("transient", SHUTDOWN_WITH, False, False),
        ("transient", (SHUTDOWN, 1, 2), True, True),
        ("transient", BOOM, True, True),
        ("transient", KILLED, True, True),
        ("temporary", NORMAL, False, False),
        ("temporary", SHUTDOWN_WITH, False, False),
        ("temporary", BOOM, False, True),
    ],
)
def test_who_is_restarted(restart, reason, restarted, reported):
    child = spec("a", restart=restart)
    assert (is_restarted(child, reason), is_reported(child, reason)) == (restarted, reported)


@pytest.mark.parametrize(
    ("restart", "shutdown_ms", "reason", "orderly"),
    [
        ("permanent", 100, SHUTDOWN, True),
        ("permanent", 100, NORMAL, False),
        ("permanent", 100, SHUTDOWN_WITH, False),
        ("permanent", 100, KILLED, False),
        ("permanent", "infinity", BOOM, False),
        ("permanent", "brutal_kill", KILLED, True),
        ("permanent", "brutal_kill", SHUTDOWN, False),
        ("transient", 100, NORMAL, True),
        ("transient", 100, SHUTDOWN_WITH, True),
        ("transient", 100, KILLED, False),
        ("temporary", "brutal_kill", NORMAL, True),
        ("temporary", "brutal_kill", BOOM, False),
    ],
)
def test_who_stopped_as_told(restart, shutdown_ms, reason, orderly):
    assert is_orderly_stop(spec("a", restart=restart, shutdown_ms=shutdown_ms), reason) is orderly


@pytest.mark.parametrize(
    ("intensity", "times", "allowed"),
    [
        (0, [0], [False]),
        (1, [0, 0], [True, False]),
        (1, [0, 6], [True, True]),
        (2, [0, 1, 2], [True, True, False]),
        (2, [0, 1, 5.9], [True, True, False]),
        (2, [0, 1, 6.0], [True, True, True]),
        (2, [0.9, 1, 6.1], [True, True, True]),
        (2, [0, 4, 8, 10, 11], [True, True, True, True, False]),
    ],
)
def test_more_restarts_than_the_intensity_are_too_many(intensity, times, allowed):
    window = RestartWindow(intensity, 5)
    assert [window.add(time) for time in times] == allowed


# -- the first start and the end --------------------------------------------------------------


def test_children_start_in_order_and_stop_in_reverse():
    subject = started("one_for_one", spec("a"), spec("b"), spec("c"))
    assert subject.world.asked == [("start", "a"), ("start", "b"), ("start", "c")]
    _, asked = subject.world.since(lambda: subject.ask("terminate_all"))
    assert asked == [("stop", "c"), ("stop", "b"), ("stop", "a")]
    assert not subject.world.living


def test_a_child_that_cannot_start_fails_the_supervisor():
    subject = Static("one_for_one", spec("a"), spec("b"), spec("c"))
    subject.world.answers["b"] = [Failed(BOOM)]
    assert subject.start() == (A("failed_to_start_child"), A("b"), BOOM)
    assert subject.world.asked == [("start", "a"), ("start", "b"), ("report", "start_error", "b"), ("stop", "a")]
    assert not subject.world.living


def test_a_child_that_ignores_its_start_is_kept_without_a_process_unless_it_is_temporary():
    subject = Static("one_for_one", spec("a"), spec("b", restart="temporary"))
    subject.world.answers.update(a=[Started(None)], b=[Started(None)])
    assert subject.start() is None
    assert subject.shown() == {"a": UNDEFINED}
    assert subject.supervision.count_children() == [
        (A("specs"), 1),
        (A("active"), 0),
        (A("supervisors"), 0),
        (A("workers"), 1),
    ]


def test_a_child_that_does_not_stop_as_told_is_reported():
    subject = started("one_for_one", spec("a"), spec("b", shutdown_ms="brutal_kill"))
    subject.world.stop_reasons.update(a=KILLED, b=KILLED)
    _, asked = subject.world.since(lambda: subject.ask("terminate_all"))
    assert asked == [("stop", "b"), ("stop", "a"), ("report", "shutdown_error", "a")]


# -- strategies -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "stopped", "restarted", "same"),
    [
        ("one_for_one", "", "b", "acd"),
        ("rest_for_one", "dc", "bcd", "a"),
        ("one_for_all", "dca", "abcd", ""),
    ],
)
def test_who_is_restarted_with_a_child(strategy, stopped, restarted, same):
    expected = [*(("stop", id) for id in stopped), *(("start", id) for id in restarted)]
    subject = started(strategy, spec("a"), spec("b"), spec("c"), spec("d"))
    before = subject.shown()
    assert subject.ended("b") == (False, [("report", "child_terminated", "b"), *expected])
    after = subject.shown()
    assert list(after) == ["a", "b", "c", "d"]
    assert sorted(after.values(), key=str) == sorted(subject.world.living, key=str)
    assert [id for id in before if before[id] == after[id]] == list(same)


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
def test_temporary_children_do_not_come_back_with_the_others(strategy):
    subject = started(strategy, spec("a"), spec("b", restart="temporary"), spec("c"))
    subject.ended("a")
    assert list(subject.shown()) == ["a", "c"]


def test_those_that_had_ended_in_order_start_again_with_the_others():
    subject = started("one_for_all", spec("a"), spec("b", restart="transient"))
    subject.ended("b", NORMAL)
    assert subject.shown()["b"] is UNDEFINED
    _, asked = subject.ended("a")
    assert asked == [("report", "child_terminated", "a"), ("start", "a"), ("start", "b")]


@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "one_for_all"])
def test_no_restart_touches_nobody(strategy):
    subject = started(strategy, spec("a"), spec("b", restart="temporary"), spec("c", restart="transient"), spec("d"))
    assert subject.ended("b") == (False, [("report", "child_terminated", "b")])
    assert subject.ended("c", SHUTDOWN_WITH) == (False, [])
    assert [id for id, shown in subject.shown().items() if shown is UNDEFINED] == ["c"]
    assert len(subject.world.living) == 2


def test_a_linked_stranger_s_end_is_nothing_to_it():
    subject = started("one_for_one", spec("a"))
    assert subject.world.carry_out(subject.supervision.child_ended(STRANGER, BOOM, 0)) is False
    assert len(subject.world.asked) == 1


def test_too_many_restarts_are_the_end():
    subject = started("one_for_one", spec("a"), spec("b"), intensity=1)
    assert subject.ended("a", now_s=10)[0] is False
    pid = subject.pid("b")
    ends, asked = subject.ended("b", now_s=12)
    assert ends
    assert asked == [("report", "child_terminated", "b"), ("report", "shutdown", "b")]
    assert subject.world.offenders[-1] == (A("pid"), pid)
    _, asked = subject.world.since(lambda: subject.ask("terminate_all"))
    assert asked == [("stop", "a")]


# -- a restart that fails ---------------------------------------------------------------------


def test_a_failed_restart_is_tried_again_after_other_messages():
    subject = started("one_for_one", spec("a"), spec("b"))
    ended = subject.pid("a")
    subject.world.answers["a"] = [Failed(BOOM), Failed(BOOM)]
    ends, asked = subject.ended("a")
    assert not ends
    assert asked == [("report", "child_terminated", "a"), ("start", "a"), ("report", "start_error", "a")]
    assert subject.world.offenders[-1] == (A("pid"), ended)
    assert subject.shown()["a"] is A("restarting")
    assert subject.supervision.which_child(A("a")) == (OK, (A("a"), A("restarting"), A("worker"), [A("m")]))
    assert dict(subject.supervision.count_children())[A("active")] == 1
    assert subject.ask("restart_child", A("a")) == (ERROR, A("restarting"))
    assert subject.supervision.delete_child(A("a")) == (ERROR, A("restarting"))
    assert subject.ask("start_child", spec("a")) == (ERROR, A("already_present"))
    assert subject.try_again() == (False, [("start", "a"), ("report", "start_error", "a")])
    assert subject.world.offenders[-1] == (A("pid"), (A("restarting"), ended))
    assert subject.try_again() == (False, [("start", "a")])
    assert subject.shown()["a"] in subject.world.living
    assert not subject.world.again


def test_each_try_counts_as_a_restart():
    subject = started("one_for_one", spec("a"), intensity=2)
    subject.world.answers["a"] = [Failed(BOOM)] * 9
    subject.ended("a")
    assert subject.try_again()[0] is False
    ends, asked = subject.try_again()
    assert ends
    assert asked == [("report", "shutdown", "a")]


def test_a_child_stopped_meanwhile_is_not_tried_again():
    subject = started("one_for_one", spec("a"), spec("b"), spec("c"))
    for id in ("a", "b", "c"):
        subject.world.answers[id] = [Failed(BOOM)]
        subject.ended(id)
    assert subject.ask("terminate_child", A("a")) is OK
    assert subject.ask("terminate_child", A("b")) is OK
    assert subject.supervision.delete_child(A("b")) is OK
    assert subject.ask("start_child", spec("b"))[0] is OK
    assert [subject.try_again() for _ in range(3)] == [(False, []), (False, []), (False, [("start", "c")])]


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
def test_of_several_the_one_that_failed_is_tried_again(strategy):
    subject = started(strategy, spec("a"), spec("b"), spec("c"), spec("d"))
    ended = subject.pid("b")
    subject.world.answers.update(b=[Failed(BOOM)], c=[Failed(BOOM)])
    subject.ended("b")
    before = {"a": subject.pid("a")}
    stopped = {"c": UNDEFINED, "d": UNDEFINED}
    assert subject.shown() == {**before, "b": A("restarting"), **stopped}
    assert subject.pid("b") == ended
    _, asked = subject.try_again()
    first = [("stop", "a"), ("start", "a")] if strategy == "one_for_all" else []
    assert asked == [*first, ("start", "b"), ("start", "c"), ("report", "start_error", "c")]
    assert subject.shown()["c"] is A("restarting")
    assert subject.world.offenders[-1] == (A("pid"), UNDEFINED)
    _, asked = subject.try_again()
    first = [("stop", "b"), ("stop", "a"), ("start", "a"), ("start", "b")] if strategy == "one_for_all" else []
    assert asked == [*first, ("start", "c"), ("start", "d")]
    assert set(subject.shown().values()) == set(subject.world.living)


def test_a_restart_may_be_ignored():
    subject = started("one_for_one", spec("a"))
    subject.world.answers["a"] = [Started(None)]
    subject.ended("a")
    assert subject.shown() == {"a": UNDEFINED}


# -- requests ---------------------------------------------------------------------------------


def test_a_child_can_be_added():
    subject = started("one_for_one", spec("a"))
    reply = subject.ask("start_child", spec("b"))
    assert reply == (OK, subject.pid("b"))
    assert subject.ask("start_child", spec("b")) == (ERROR, (A("already_started"), reply[1]))
    assert list(subject.shown()) == ["a", "b"]


def test_more_than_a_pid_may_come_of_a_start():
    subject = started("one_for_one")
    subject.world.answers["a"] = [Started(STRANGER, [1])]
    assert subject.ask("start_child", spec("a")) == (OK, STRANGER, [1])


def test_a_child_that_cannot_be_added():
    subject = started("one_for_one")
    running = (A("already_started"), STRANGER)
    subject.world.answers["a"] = [Failed(BOOM), Failed(running), Started(None)]
    record = (A("child"), UNDEFINED, A("a"), MFA, A("transient"), False, 9, A("worker"), [A("m")])
    child = spec("a", restart="transient", shutdown_ms=9)
    assert subject.ask("start_child", child) == (ERROR, (BOOM, record))
    assert subject.ask("start_child", child) == (ERROR, running)
    assert subject.shown() == {}
    assert subject.ask("start_child", child) == (OK, UNDEFINED)
    assert subject.ask("start_child", child) == (ERROR, A("already_present"))
    assert not any("report" in asked for asked in subject.world.asked)


def test_an_added_temporary_child_leaves_no_trace():
    subject = started("one_for_one")
    child = spec("a", restart="temporary")
    subject.world.answers["a"] = [Started(None)]
    assert subject.ask("start_child", child) == (OK, UNDEFINED)
    assert subject.shown() == {}
    subject.ask("start_child", child)
    assert subject.supervision.child_spec(A("a"))[1].mfargs() == (A("m"), A("f"), UNDEFINED)
    assert subject.ask("terminate_child", A("a")) is OK
    assert subject.shown() == {}


def test_a_child_is_stopped_restarted_and_deleted_by_hand():
    subject = started("rest_for_one", spec("a"), spec("b"))
    a, b = A("a"), A("b")
    assert subject.ask("restart_child", a) == (ERROR, A("running"))
    assert subject.supervision.delete_child(a) == (ERROR, A("running"))
    reply, asked = subject.world.since(lambda: subject.ask("terminate_child", a))
    assert (reply, asked) == (OK, [("stop", "a")])
    assert subject.ask("terminate_child", a) is OK
    assert subject.shown() == {"a": UNDEFINED, "b": subject.pid("b")}
    subject.world.answers["a"] = [Failed(BOOM), Started(None)]
    assert subject.ask("restart_child", a) == (ERROR, BOOM)
    assert subject.ask("restart_child", a) == (OK, UNDEFINED)
    assert subject.ask("restart_child", a) == (OK, subject.pid("a"))
    assert list(subject.shown()) == ["a", "b"]
    subject.ask("terminate_child", b)
    assert subject.supervision.delete_child(b) is OK
    assert list(subject.shown()) == ["a"]


def test_what_is_not_there_is_not_found():
    subject = started("one_for_one", spec(1))
    not_found = (ERROR, A("not_found"))
    for id in (1.0, A("a"), [1], STRANGER):
        assert subject.ask("terminate_child", id) == not_found
        assert subject.ask("restart_child", id) == not_found
        assert subject.supervision.delete_child(id) == not_found
        assert subject.supervision.child_spec(id) == not_found
        assert subject.supervision.which_child(id) == not_found
    assert subject.supervision.child_spec(1) == (OK, spec(1))


def test_the_last_started_is_listed_first():
    subject = started("one_for_one", spec("a"), spec("b", type="supervisor", modules="dynamic"))
    assert subject.supervision.which_children() == [
        (A("b"), subject.pid("b"), A("supervisor"), A("dynamic")),
        (A("a"), subject.pid("a"), A("worker"), [A("m")]),
    ]
    subject.world.end(subject.pid("a"))
    assert subject.supervision.count_children() == [
        (A("specs"), 2),
        (A("active"), 1),
        (A("supervisors"), 1),
        (A("workers"), 1),
    ]


# -- significant children ---------------------------------------------------------------------


def significant(id: str, restart: Any = "transient") -> ChildSpec:
    return spec(id, restart=restart, significant=True)


@pytest.mark.parametrize(
    ("auto_shutdown", "ends", "expected"),
    [
        ("any_significant", [("a", NORMAL)], [True]),
        ("any_significant", [("a", BOOM)], [False]),
        ("any_significant", [("t", BOOM)], [True]),
        ("any_significant", [("x", NORMAL), ("y", BOOM)], [False, False]),
        ("all_significant", [("a", NORMAL), ("b", SHUTDOWN), ("t", BOOM)], [False, False, True]),
        ("all_significant", [("t", NORMAL), ("a", BOOM), ("b", NORMAL), ("a", NORMAL)], [False, False, False, True]),
    ],
)
def test_the_end_of_significant_children(auto_shutdown, ends, expected):
    children = (significant("a"), significant("b"), significant("t", "temporary"))
    others = (spec("x", restart="transient"), spec("y", restart="temporary"), spec("z"))
    subject = started("one_for_one", *children, *others, auto_shutdown=auto_shutdown)
    assert [subject.ended(id, reason)[0] for id, reason in ends] == expected


def test_a_significant_child_that_is_restarting_is_not_at_its_end():
    subject = started("one_for_one", significant("a"), significant("b"), auto_shutdown="all_significant")
    subject.world.answers["a"] = [Failed(BOOM)]
    subject.ended("a")
    assert subject.ended("b", NORMAL)[0] is False


def test_a_significant_child_stopped_by_hand_ends_nobody():
    subject = started("one_for_one", significant("a"), auto_shutdown="any_significant")
    assert subject.ask("terminate_child", A("a")) is OK


# -- another version of the code --------------------------------------------------------------


def test_a_code_change_keeps_what_runs():
    subject = started("one_for_one", spec("a"), spec("b"), spec("old"))
    before = subject.shown()
    specs = [spec("new"), spec("b", shutdown_ms=1), spec("a")]
    subject.supervision.change(SupervisorFlags("one_for_all", intensity=0), specs)
    assert subject.shown() == {"new": UNDEFINED, "b": before["b"], "a": before["a"], "old": before["old"]}
    assert list(subject.shown()) == ["new", "b", "a", "old"]
    assert subject.supervision.child_spec(A("b"))[1].shutdown_ms == 1
    assert subject.ended("a")[0] is True


# -- dynamic children -------------------------------------------------------------------------


class Simple(Static):
    def __init__(self, template: ChildSpec, **flags: Any) -> None:
        self.world = World()
        flags = {"intensity": 5, **flags}
        self.supervision: Any = SimpleSupervision(
            SupervisorFlags("simple_one_for_one", **flags), template, self.world.is_alive
        )

    def add(self, *extra: Any) -> Any:
        return self.ask("start_with", list(extra))

    def ended(self, pid: Any, reason: Any = BOOM, now_s: float = 0.0) -> tuple[bool, list[Any]]:
        self.world.end(pid)
        return self.world.since(lambda: self.world.carry_out(self.supervision.child_ended(pid, reason, now_s)))


def counted(supervision: Any) -> dict[str, int]:
    return {key.name: count for key, count in supervision.count_children()}


def test_simple_children_come_and_go():
    subject = Simple(spec("t", restart="transient"))
    assert subject.start() is None
    assert counted(subject.supervision) == {"specs": 1, "active": 0, "supervisors": 0, "workers": 0}
    pids = [subject.add(n)[1] for n in range(3)]
    assert subject.supervision.which_children() == [(UNDEFINED, pid, A("worker"), [A("m")]) for pid in pids]
    assert counted(subject.supervision) == {"specs": 1, "active": 3, "supervisors": 0, "workers": 3}
    assert subject.ended(pids[0], NORMAL) == (False, [])
    assert subject.ended(pids[1]) == (False, [("report", "child_terminated", "t"), ("start", "t")])
    assert set(subject.supervision.children) == set(subject.world.living)
    assert [child.extra for child in subject.supervision.children.values()] == [(2,), (1,)]
    subject.world.asked = []
    subject.ask("terminate_all")
    assert subject.world.asked == [("stop", "t")] * 2
    assert subject.supervision.which_children() == []


def test_simple_children_that_are_never_restarted_keep_no_arguments():
    subject = Simple(spec("t", restart="temporary"))
    pid = subject.add(b"much")[1]
    assert subject.supervision.children[pid].extra == ()
    assert subject.ended(pid) == (False, [("report", "child_terminated", "t")])


def test_a_simple_child_that_does_not_start():
    subject = Simple(spec("t"))
    subject.world.answers["t"] = [Failed(BOOM), Started(None), Started(STRANGER, 1)]
    assert [subject.add(), subject.add(), subject.add()] == [(ERROR, BOOM), (OK, UNDEFINED), (OK, STRANGER, 1)]
    assert list(subject.supervision.children) == [STRANGER]


def test_a_simple_child_whose_restart_fails():
    subject = Simple(spec("t"))
    first, second = subject.add(1)[1], subject.add(2)[1]
    subject.world.answers["t"] = [Failed(BOOM), Failed(BOOM)]
    subject.ended(first)
    assert subject.supervision.which_child(first) == (OK, (UNDEFINED, A("restarting"), A("worker"), [A("m")]))
    assert counted(subject.supervision) == {"specs": 1, "active": 1, "supervisors": 0, "workers": 2}
    assert subject.world.carry_out(subject.supervision.child_ended(first, BOOM, 0)) is False
    subject.try_again()
    assert subject.world.offenders[-1] == (A("pid"), (A("restarting"), first))
    subject.try_again()
    assert set(subject.supervision.children) == set(subject.world.living)
    subject.world.answers["t"] = [Failed(BOOM)]
    subject.ended(second)
    assert subject.ask("terminate_child", second) is OK
    assert subject.try_again() == (False, [])


def test_a_simple_child_that_ignores_its_restart_is_gone():
    subject = Simple(spec("t"))
    pid = subject.add()[1]
    subject.world.answers["t"] = [Started(None)]
    subject.ended(pid)
    assert subject.supervision.which_children() == []


def test_what_simple_supervisors_do_not_do():
    subject = Simple(spec("t"))
    pid = subject.add()[1]
    refused = (ERROR, A("simple_one_for_one"))
    for id in (A("t"), pid):
        assert subject.ask("restart_child", id) == refused
        assert subject.supervision.delete_child(id) == refused
    assert subject.ask("terminate_child", A("t")) == refused
    assert subject.supervision.which_child(A("t")) == refused
    assert subject.supervision.child_spec(A("t")) == (OK, spec("t"))
    assert subject.supervision.child_spec(pid) == (OK, spec("t"))
    assert subject.supervision.child_spec(1) == (ERROR, A("not_found"))
    assert subject.ask("terminate_child", STRANGER) is OK  # dead, so it may have been one
    subject.world.living[STRANGER] = "other"
    assert subject.ask("terminate_child", STRANGER) == (ERROR, A("not_found"))
    assert subject.supervision.child_spec(STRANGER) == (ERROR, A("not_found"))
    assert subject.supervision.which_child(STRANGER) == (ERROR, A("not_found"))


def test_simple_children_that_stopped_wrongly_are_reported_together():
    subject = Simple(spec("t"))
    for _ in range(3):
        subject.add()
    subject.world.stop_reasons["t"] = KILLED
    subject.ask("terminate_all")
    assert subject.world.asked[-1] == ("report", "shutdown_error", "t")
    assert subject.world.offenders == [(A("nb_children"), 3)]


@pytest.mark.parametrize(("auto_shutdown", "first", "second"), [("any_", True, True), ("all_", False, True)])
def test_significant_simple_children(auto_shutdown, first, second):
    subject = Simple(significant("t"), auto_shutdown=auto_shutdown + "significant")
    pids = [subject.add()[1] for _ in range(2)]
    assert [subject.ended(pid, NORMAL)[0] for pid in pids] == [first, second]


def test_too_many_restarts_of_simple_children():
    subject = Simple(spec("t"), intensity=1)
    pids = [subject.add()[1] for _ in range(2)]
    assert [subject.ended(pid)[0] for pid in pids] == [False, True]
    assert subject.world.asked[-1] == ("report", "shutdown", "t")


def test_a_code_change_of_simple_children_gives_them_the_new_template():
    subject = Simple(spec("t"))
    pid = subject.add(1)[1]
    subject.supervision.change(SupervisorFlags("simple_one_for_one", intensity=0), spec("u", shutdown_ms=1))
    assert subject.supervision.children[pid].spec.shutdown_ms == 1
    assert subject.ended(pid)[0] is True


class Dynamic(Simple):
    def __init__(self, **flags: Any) -> None:
        self.world = World()
        self.supervision = DynamicSupervision(DynamicSupervisorFlags(**flags), self.world.is_alive)

    def add(self, *specs: Any) -> Any:
        return self.ask("start_child", specs[0])


def test_dynamic_children_each_have_their_specification():
    subject = Dynamic()
    worker, supervisor = subject.add(spec("w"))[1], subject.add(spec("s", type="supervisor", restart="temporary"))[1]
    assert subject.supervision.which_children() == [
        (UNDEFINED, worker, A("worker"), [A("m")]),
        (UNDEFINED, supervisor, A("supervisor"), [A("m")]),
    ]
    assert counted(subject.supervision) == {"specs": 2, "active": 2, "supervisors": 1, "workers": 1}
    assert subject.supervision.child_spec(worker) == (OK, spec("w"))
    assert subject.supervision.child_spec(supervisor)[1].mfargs()[2] is UNDEFINED
    assert subject.ended(supervisor, NORMAL) == (False, [])
    assert subject.ask("terminate_child", worker) is OK
    assert subject.ask("terminate_child", worker) == (ERROR, A("not_found"))
    assert subject.ask("terminate_child", A("w")) == (ERROR, A("not_found"))


def test_dynamic_children_answers_are_elixir_s():
    subject = Dynamic(max_children=1)
    subject.world.answers["a"] = [Started(None), Failed(BOOM)]
    assert [subject.add(spec("a")) for _ in range(2)] == [A("ignore"), (ERROR, BOOM)]
    assert subject.add(spec("a"))[0] is OK
    assert subject.add(spec("a")) == (ERROR, A("max_children"))
    assert subject.supervision.delete_child(A("a")) == (ERROR, A("simple_one_for_one"))


def test_dynamic_children_that_stopped_wrongly_are_reported_one_by_one():
    subject = Dynamic()
    subject.add(spec("a"))
    subject.add(spec("b"))
    subject.world.stop_reasons.update(a=BOOM, b=BOOM)
    subject.ask("terminate_all")
    assert [asked for asked in subject.world.asked if asked[0] == "report"] == [
        ("report", "shutdown_error", "a"),
        ("report", "shutdown_error", "b"),
    ]
