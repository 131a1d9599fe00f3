"""Supervisors over processes of one node that has no network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from erlang_bridge.errors import ErlangExit, ErlangThrow
from erlang_bridge.etf import decode, encode
from erlang_bridge.otp import gen
from erlang_bridge.otp.child_specs import ChildSpec, DynamicSupervisorFlags, SupervisorFlags
from erlang_bridge.otp.gen_server import GenServer, wait_started
from erlang_bridge.otp.results import Ignore, NoReply, Reply, Stop
from erlang_bridge.otp.supervisor import (
    DynamicSupervisor,
    Supervisor,
    count_children,
    delete_child,
    get_childspec,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)
from erlang_bridge.process import ProcessTable
from erlang_bridge.terms import Atom, Export, Pid
from tests.waiting import until

A = Atom
OK, ERROR, UNDEFINED, BOOM = A("ok"), A("error"), A("undefined"), A("boom")
NORMAL, SHUTDOWN, KILL, KILLED = A("normal"), A("shutdown"), A("kill"), A("killed")
NODE = A("py@127.0.0.1")
FAR = A("beam@127.0.0.1")


class World:
    """A node without a network, its log of what workers did, and a caller."""

    def __init__(self) -> None:
        self.emitted: list[Any] = []
        self.table = ProcessTable(NODE, 1, self._emit)
        self.guest = self.table.add_guest()
        self.done: list[Any] = []
        """What the workers have done, in order."""
        self.failures: dict[Any, int] = {}
        """How many of the next starts of a worker fail."""

    def _emit(self, node: Atom, control: Any, payload: Any, connect: bool) -> bool:
        self.emitted.append((node, control, payload))
        return False

    def call(self, destination: Any, request: Any, timeout_s: float | None = 5.0) -> Any:
        with gevent.Timeout(10):
            return gen.call(self.guest, destination, request, timeout_s)

    def sys(self, pid: Pid, request: Any) -> Any:
        return gen.call(self.guest, pid, request, label=gen.SYSTEM)

    def start(self, supervisor_class: type[GenServer], args: Any, **options: Any) -> Any:
        with gevent.Timeout(10):
            return wait_started(self.table, supervisor_class, args, **options)

    def supervise(self, *specs: Any, name: str | None = None, **flags: Any) -> Pid:
        started = self.start(Supervisor, (SupervisorFlags(**flags), specs), name=A(name) if name else None)
        assert started[0] is OK, started
        return started[1]  # type: ignore[no-any-return]

    def worker(self, id: Any, behaviour: Any = None, **options: Any) -> ChildSpec:
        return ChildSpec(id, (Worker, (self, id, behaviour)), **options)

    def children(self, supervisor: Any) -> dict[Any, Any]:
        return {entry[0].name: entry[1] for entry in reversed(which_children(self, supervisor))}

    def alive(self, pid: Pid) -> bool:
        return self.table.find(pid) is not None

    def end(self, pid: Pid, reason: Any = KILL) -> None:
        """Send an exit signal, and wait until the process has ended of it."""
        self.table.send_exit(self.guest.pid, pid, reason)
        assert until(lambda: not self.alive(pid))

    def stop(self, pid: Pid) -> None:
        """Tell a server to end in order, and wait until it has."""
        self.sys(pid, (A("terminate"), SHUTDOWN))
        assert until(lambda: not self.alive(pid))

    def end_of(self, pid: Pid) -> Any:
        """The reason that a process ends with, waited for."""
        monitor = self.table.monitor(self.guest, pid)
        with gevent.Timeout(10):
            return self.guest.receive(lambda message: message[1] == monitor)[4]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.table.close(KILLED)


class Worker(GenServer):
    """Its argument: the world, a name, and how it behaves: ``slow`` to start, ``linger`` or ``stubborn`` at the end."""

    trap_exit = True

    def init(self, args: Any) -> Any:
        world, id, behaviour = args
        if behaviour == "slow":
            world.done.append(("starting", id))
            gevent.sleep(5)
        if behaviour == "ignore":
            return Ignore()
        if world.failures.get(id, 0) > 0:
            world.failures[id] -= 1
            world.done.append(("failed", id))
            return Stop(BOOM)
        world.done.append(("started", id))
        return args

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        match request:
            case A("crash"):
                raise ValueError("asked to crash")
            case A("unlink"):
                self.unlink(self.process.parent)  # type: ignore[arg-type]
                return Reply(OK, state)
        return Reply(state[1], state)

    def handle_cast(self, message: Any, state: Any) -> Any:
        match message:
            case (A("stop"), reason):
                return Stop(reason, state)
        return None

    def terminate(self, reason: Any, state: Any) -> None:
        world, id, behaviour = state
        if behaviour == "linger":
            gevent.sleep(0.2)
        elif behaviour == "stubborn":
            gevent.sleep(60)
        world.done.append(("ended", id))


class Echo(GenServer):
    """Answers with the argument of its start."""

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        return Reply(state, state)

    def handle_info(self, message: Any, state: Any) -> Any:
        return NoReply(state)


# -- start ------------------------------------------------------------------------------------


def test_children_start_in_order_linked_and_in_its_group(world: World) -> None:
    supervisor = world.supervise(world.worker("a"), world.worker("b"), name="sup")
    assert world.done == [("started", "a"), ("started", "b")]
    children = world.children("sup")
    assert list(children) == ["a", "b"]
    for pid in children.values():
        process = world.table.find(pid)
        assert process is not None
        assert process.parent == supervisor
        assert set(process.links or ()) == {supervisor}
    assert count_children(world, supervisor) == {"specs": 2, "active": 2, "supervisors": 0, "workers": 2}


class Engines(Supervisor):
    def init(self, args: Any) -> Any:
        if args is None:
            return Ignore()
        if args == "raise":
            raise ValueError("bad day")
        return SupervisorFlags("rest_for_one", intensity=3), [
            ChildSpec("first", (Echo, args, {"name": "first"})),
            ChildSpec("second", (Supervisor, [ChildSpec("inner", (Echo, args))])),
        ]


def test_a_class_of_supervisors(world: World) -> None:
    _, pid = world.start(Engines, 7)
    assert world.call("first", 0) == 7
    (second, first) = which_children(world, pid)
    assert first == (A("first"), world.table.whereis(A("first")), A("worker"), [A(f"{__name__}.Echo")])
    assert second[2:] == (A("supervisor"), [A("erlang_bridge.otp.supervisor.Supervisor")])
    assert count_children(world, second[1]) == {"specs": 1, "active": 1, "supervisors": 0, "workers": 1}
    process = world.table.find(pid)
    assert process is not None
    assert process.initial_call == ("supervisor", f"{__name__}.Engines", 1)


def test_init_may_decline_or_raise(world: World) -> None:
    assert world.start(Engines, None) is A("ignore")
    error, ((exception, text), _) = world.start(Engines, "raise")
    assert (error, exception, text) == (ERROR, A("ValueError"), b"bad day")


MFA: Any = (A("m"), A("f"), [])


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (5, (A("bad_return"), (A("erlang_bridge.otp.supervisor.Supervisor"), A("init"), 5))),
        ([1], (A("start_spec"), (A("invalid_child_spec"), 1))),
        ([ChildSpec(1, MFA), ChildSpec(1, MFA)], (A("start_spec"), (A("duplicate_child_name"), 1))),
        ((SupervisorFlags("simple_one_for_one"), []), (A("bad_start_spec"), [])),
        (
            [ChildSpec(1, MFA, restart="temporary", significant=True)],
            (
                A("start_spec"),
                (A("bad_combination"), [(A("auto_shutdown"), A("never")), (A("significant"), True)]),
            ),
        ),
    ],
)
def test_what_init_returns_is_checked(world: World, made: Any, reason: Any) -> None:
    assert world.start(Supervisor, made) == (ERROR, reason)


def test_a_child_that_cannot_start_fails_the_supervisor(world: World) -> None:
    world.failures["b"] = 1
    flags = SupervisorFlags()
    answer = world.start(Supervisor, (flags, [world.worker("a"), world.worker("b"), world.worker("c")]), name=A("sup"))
    assert answer == (ERROR, (SHUTDOWN, (A("failed_to_start_child"), A("b"), BOOM)))
    assert world.done == [("started", "a"), ("failed", "b"), ("ended", "a")]
    assert world.table.whereis(A("sup")) is None
    assert until(lambda: len(world.table.processes) == 1)


def test_a_child_may_decline(world: World) -> None:
    supervisor = world.supervise(world.worker("a", "ignore"), world.worker("b", "ignore", restart="temporary"))
    assert world.children(supervisor) == {"a": UNDEFINED}


def test_a_blocking_start_blocks_nobody_else(world: World) -> None:
    _, echo = world.start(Echo, 1)
    supervisor = world.supervise()
    asking = gevent.spawn(world.call, supervisor, (A("start_child"), world.worker("a", "slow")))
    assert until(lambda: world.done)
    assert world.call(echo, 0) == 1
    world.end(supervisor)
    assert until(lambda: len(world.table.processes) == 2), "the child that was starting ends with its supervisor"
    with pytest.raises(ErlangExit, match="killed"):
        asking.get(timeout=5)


def test_a_start_that_takes_too_long(world: World) -> None:
    spec = ChildSpec("a", (Worker, (world, "a", "slow"), {"timeout_s": 0.01}))
    answer = start_child(world, world.supervise(), spec)
    assert answer[0] is ERROR
    assert answer[1][0] is A("timeout")
    assert until(lambda: len(world.table.processes) == 2)


# -- functions and names that start children --------------------------------------------------


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        (lambda pid: pid, lambda pid: (OK, pid)),
        (lambda pid: (OK, pid), lambda pid: (OK, pid)),
        (lambda pid: (OK, pid, [1]), lambda pid: (OK, pid, [1])),
        (lambda pid: Ignore(), lambda pid: (OK, UNDEFINED)),
        (lambda pid: A("ignore"), lambda pid: (OK, UNDEFINED)),
    ],
)
def test_a_function_starts_a_child(world: World, result: Callable[[Pid], Any], answer: Callable[[Pid], Any]) -> None:
    _, pid = world.start(Echo, 1)

    def start(supervisor: Supervisor) -> Any:
        assert supervisor.pid == sup
        return result(pid)

    sup = world.supervise()
    assert start_child(world, sup, ChildSpec("a", start)) == answer(pid)
    world.stop(sup)
    assert world.alive(pid) is (answer(pid)[1] is UNDEFINED), "what it did not link itself is linked"


def test_a_child_that_is_dead_on_arrival_is_restarted(world: World) -> None:
    pids = [world.start(Echo, n)[1] for n in range(2)]
    world.end(pids[0])
    dead, second = pids
    remaining = [dead, second]
    sup = world.supervise(ChildSpec("a", lambda supervisor: remaining.pop(0)))
    assert until(lambda: world.children(sup) == {"a": second})


def raising(error: BaseException) -> Callable[..., Any]:
    def start(supervisor: Any) -> Any:
        raise error

    return start


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (lambda supervisor: (ERROR, BOOM), BOOM),
        (lambda supervisor: 5, 5),
        (lambda supervisor: (OK, 5), (OK, 5)),
        (lambda supervisor: None, None),
        (raising(ErlangExit(BOOM)), (A("EXIT"), BOOM)),
        (raising(ErlangThrow((ERROR, BOOM))), BOOM),
        (raising(ErlangThrow(BOOM)), BOOM),
    ],
)
def test_a_function_that_starts_no_child(world: World, start: Any, told: Any) -> None:
    error, (reason, record) = start_child(world, world.supervise(), ChildSpec("a", start))
    assert (error, reason) == (ERROR, told)
    assert record[:3] == (A("child"), UNDEFINED, A("a"))


def test_a_function_that_raises_shows_where(world: World) -> None:
    _, (reason, _) = start_child(world, world.supervise(), ChildSpec("a", raising(ValueError("no"))))
    exit_, ((exception, text), trace) = reason
    assert (exit_, exception, text) == (A("EXIT"), A("ValueError"), b"no")
    assert trace[0][:2] == (A(__name__), A("raising.<locals>.start"))


def test_a_function_that_runs_out_of_time(world: World) -> None:
    _, (reason, _) = start_child(world, world.supervise(), ChildSpec("a", raising(gevent.Timeout(1))))
    assert reason[1][0] == (A("Timeout"), b"1 second")


def test_a_name_of_the_node_starts_a_child(world: World) -> None:
    asked = []

    def start_child_mfa(mfa: Any, process: Any) -> Any:
        asked.append((mfa, process.pid))
        return (ERROR, BOOM) if mfa[2] == [0] else world.start(Echo, mfa[2])

    world.table.node = SimpleNamespace(start_child_mfa=start_child_mfa)
    sup = world.supervise()
    mfa = (A("pyanoma"), A("start_link"), [1])
    ok, pid = world.call(sup, (A("start_child"), {A("id"): b"a", A("start"): mfa}))
    assert (ok, asked) == (OK, [(mfa, sup)])
    assert world.call(pid, 0) == [1]
    spec: Any = (b"b", (*mfa[:2], [0]), A("permanent"), 5, A("worker"), [])
    error, (reason, _) = world.call(sup, (A("start_child"), spec))
    assert (error, reason) == (ERROR, BOOM)
    world.end(sup)
    assert until(lambda: not world.alive(pid))


def test_a_name_that_nobody_knows(world: World) -> None:
    _, (reason, _) = start_child(world, world.supervise(), ChildSpec("a", MFA))
    assert reason == (A("EXIT"), (A("undef"), [(*MFA, [])]))


def test_a_registered_name(world: World) -> None:
    sup = world.supervise(ChildSpec("a", (Echo, 1, {"name": "echo"})))
    first = world.table.whereis(A("echo"))
    assert start_child(world, sup, ChildSpec("b", (Echo, 1, {"name": "echo"}))) == (
        ERROR,
        (A("already_started"), first),
    )
    assert first is not None
    world.end(first)
    assert until(lambda: world.table.whereis(A("echo")) not in (None, first))
    assert world.children(sup) == {"a": world.table.whereis(A("echo"))}


# -- restart ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [BOOM, KILL, NORMAL])
def test_a_permanent_child_comes_back(world: World, reason: Any) -> None:
    sup = world.supervise(world.worker("a"), world.worker("b"))
    before = world.children(sup)
    if reason is KILL:
        world.end(before["a"])
    else:
        gen.cast(world.guest, world.table, before["a"], (A("stop"), reason))
    assert until(lambda: world.children(sup)["a"] not in (before["a"], UNDEFINED))
    assert world.children(sup)["b"] == before["b"]


def test_an_exception_in_a_child_is_reported_and_the_child_restarted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    sup = world.supervise(world.worker("a"), name="sup")
    before = world.children(sup)["a"]
    with pytest.raises(ErlangExit):
        world.call(before, A("crash"))
    assert until(lambda: world.children(sup)["a"] != before)
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("supervisor")]
    assert line.startswith(f"supervisor sup: child a ({before}) terminated, reason {{{{'ValueError',<<")
    assert {record.name for record in caplog.records} == {"erlang_bridge.crash"}


def test_all_for_one(world: World) -> None:
    children = [world.worker("a"), world.worker("b", restart="temporary"), world.worker("c")]
    sup = world.supervise(*children, strategy="one_for_all")
    before = world.children(sup)
    world.done.clear()
    world.end(before["a"])
    assert until(lambda: len(world.done) == 4)
    assert world.done == [("ended", "c"), ("ended", "b"), ("started", "a"), ("started", "c")]
    after = world.children(sup)
    assert list(after) == ["a", "c"]
    assert not set(before.values()) & set(after.values())


def test_too_many_restarts_end_the_supervisor(world: World, caplog: pytest.LogCaptureFixture) -> None:
    sup = world.supervise(world.worker("a"), world.worker("b"), intensity=1)
    first = world.children(sup)
    world.end(first["a"])
    assert until(lambda: world.children(sup)["a"] != first["a"])
    world.table.send_exit(world.guest.pid, world.children(sup)["a"], KILL)
    assert world.end_of(sup) in (SHUTDOWN, A("noproc"))
    assert world.done[-1] == ("ended", "b")
    assert until(lambda: len(world.table.processes) == 1)
    assert "gives up because of child a" in caplog.text
    assert "reached_max_restart_intensity" in caplog.text


def test_a_failed_restart_is_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    sup = world.supervise(world.worker("a"), intensity=5)
    first = world.children(sup)["a"]
    world.failures["a"] = 3
    world.end(first)
    assert until(lambda: isinstance(world.children(sup)["a"], Pid) and world.children(sup)["a"] != first)
    assert world.done == [("started", "a"), *[("failed", "a")] * 3, ("started", "a")]
    assert caplog.text.count("could not start child a") == 3


def test_a_child_whose_start_keeps_failing_can_be_stopped(world: World) -> None:
    sup = world.supervise(world.worker("a"), intensity=1_000_000)
    world.failures["a"] = 1_000_000
    world.end(world.children(sup)["a"])
    assert world.children(sup) == {"a": A("restarting")}
    assert restart_child(world, sup, "a") == (ERROR, A("restarting"))
    assert terminate_child(world, sup, "a") is OK
    assert world.children(sup) == {"a": UNDEFINED}
    tried = len(world.done)
    gevent.sleep(0.05)
    assert len(world.done) == tried
    world.failures.clear()
    assert restart_child(world, sup, "a")[0] is OK


def test_a_significant_child_ends_its_supervisor(world: World) -> None:
    child = world.worker("a", restart="transient", significant=True)
    sup = world.supervise(child, world.worker("b"), auto_shutdown="any_significant")
    gen.cast(world.guest, world.table, world.children(sup)["a"], (A("stop"), NORMAL))
    assert world.end_of(sup) is SHUTDOWN
    assert world.done[-1] == ("ended", "b")


# -- stop -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["parent", "sys"])
def test_children_stop_in_reverse_order_and_before_their_supervisor(world: World, how: str) -> None:
    children = [world.worker("a"), world.worker("b", "linger"), world.worker("c")]
    _, parent = world.start(Supervisor, (SupervisorFlags(), [ChildSpec("sup", (Supervisor, children))]))
    sup = world.children(parent)["sup"]
    if how == "sys":
        world.sys(sup, (A("terminate"), NORMAL))
        assert world.end_of(sup) in (NORMAL, A("noproc"))
    else:
        world.stop(parent)
    assert until(lambda: [event for event in world.done if event[0] == "ended"] == [("ended", id) for id in "cba"])


def test_a_child_that_takes_too_long_is_killed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    sup = world.supervise(world.worker("a"), world.worker("b", "stubborn", shutdown_ms=50))
    stubborn = world.children(sup)["b"]
    assert terminate_child(world, sup, "b") is OK
    assert not world.alive(stubborn)
    assert f"child b ({stubborn}) did not shut down as told, reason killed" in caplog.text
    assert world.children(sup)["b"] is UNDEFINED


def test_a_brutal_kill_does_not_ask(world: World, caplog: pytest.LogCaptureFixture) -> None:
    sup = world.supervise(world.worker("a", "stubborn", shutdown_ms="brutal_kill"))
    assert terminate_child(world, sup, "a") is OK
    assert ("ended", "a") not in world.done
    assert not caplog.records


def test_no_time_at_all_is_a_kill(world: World) -> None:
    sup = world.supervise(world.worker("a", "stubborn", shutdown_ms=0))
    assert terminate_child(world, sup, "a") is OK
    assert ("ended", "a") not in world.done


def test_a_child_that_has_unlinked_itself_is_stopped_all_the_same(world: World) -> None:
    sup = world.supervise(world.worker("a", shutdown_ms=50))
    pid = world.children(sup)["a"]
    world.call(pid, A("unlink"))
    assert terminate_child(world, sup, "a") is OK
    assert not world.alive(pid)


def test_the_reason_of_a_child_that_ended_just_before_is_known(world: World, caplog: pytest.LogCaptureFixture) -> None:
    sup = world.supervise(ChildSpec("a", (Echo, 1)))
    pid = world.children(sup)["a"]
    asking = gevent.spawn(terminate_child, world, sup, "a")
    gevent.sleep(0)
    # The request and this exit signal meet in the supervisor's mailbox, in this order.
    process = world.table.find(sup)
    assert process is not None
    assert process.mailbox
    world.table.send_exit(world.guest.pid, pid, BOOM)
    assert asking.get(timeout=5) is OK
    assert "did not shut down as told, reason boom" in caplog.text
    assert world.children(sup) == {"a": UNDEFINED}


def test_messages_that_come_while_children_stop_are_handled_after(world: World) -> None:
    sup = world.supervise(world.worker("a", "linger"), world.worker("b"))
    stopping = gevent.spawn(terminate_child, world, sup, "a")
    gevent.sleep(0.05)
    asking = gevent.spawn(which_children, world, sup)
    first = world.table.processes
    other = next(pid for id, pid in world.children(sup).items() if id == "b")
    world.end(other)
    assert stopping.get(timeout=5) is OK
    assert {entry[0].name: entry[1] for entry in asking.get(timeout=5)} == {"a": UNDEFINED, "b": other}
    assert until(lambda: world.children(sup)["b"] != other)
    assert first is world.table.processes


def test_a_killed_supervisor_takes_its_children_along(world: World) -> None:
    inner = ChildSpec("inner", (Supervisor, (SupervisorFlags(), [world.worker("deep")])))
    sup = world.supervise(ChildSpec("plain", (Echo, 1)), world.worker("a"), inner)
    world.end(sup)
    assert until(lambda: len(world.table.processes) == 1)
    assert sorted(event for event in world.done if event[0] == "ended") == [("ended", "a"), ("ended", "deep")]


def test_a_supervisor_killed_while_it_waits_for_its_children(world: World) -> None:
    sup = world.supervise(world.worker("a", "linger", shutdown_ms="infinity"))
    stopping = gevent.spawn(terminate_child, world, sup, "a")
    gevent.sleep(0.05)
    world.end(sup)
    with pytest.raises(ErlangExit, match="killed"):
        stopping.get(timeout=5)
    assert until(lambda: len(world.table.processes) == 1)


# -- requests ---------------------------------------------------------------------------------


def test_children_by_hand(world: World) -> None:
    sup = world.supervise(world.worker("a"), name="sup")
    spec = world.worker("b", restart="transient")
    ok, pid = start_child(world, "sup", spec)
    assert ok is OK
    assert world.children(sup)["b"] == pid
    assert start_child(world, "sup", spec) == (ERROR, (A("already_started"), pid))
    assert get_childspec(world, "sup", "b") == (OK, spec)
    assert get_childspec(world, "sup", b"b") == (ERROR, A("not_found"))
    assert world.call("sup", (A("which_child"), A("b")))[1][:2] == (A("b"), pid)
    assert delete_child(world, "sup", "b") == (ERROR, A("running"))
    assert terminate_child(world, "sup", "b") is OK
    assert not world.alive(pid)
    assert delete_child(world, "sup", "b") is OK
    assert list(world.children(sup)) == ["a"]
    assert start_child(world, "sup", 5) == (ERROR, (A("invalid_child_spec"), 5))
    assert start_child(world, "sup", {A("id"): 1}) == (ERROR, A("missing_start"))


def test_an_unknown_request_is_a_crash_as_in_otp(world: World) -> None:
    sup = world.supervise(world.worker("a"))
    with pytest.raises(ErlangExit, match="function_clause"):
        world.call(sup, A("nonsense"))
    assert until(lambda: len(world.table.processes) == 1)
    assert world.done[-1] == ("ended", "a")


def test_a_message_that_means_nothing_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    sup = world.supervise(world.worker("a"), name="sup")
    world.table.send(None, sup, (A("EXIT"), 1, 2))
    world.table.send(None, sup, (A("EXIT"), world.guest.pid, BOOM))
    assert list(world.children(sup)) == ["a"]
    assert [record.getMessage() for record in caplog.records] == [
        "Supervisor sup received unexpected message: {'EXIT',1,2}"
    ]


def test_its_state_and_status_can_be_shown(world: World) -> None:
    sup = world.supervise(world.worker("a"), intensity=2, name="sup")
    state = decode(encode(world.sys(sup, A("get_state"))[1]))
    assert (state[A("strategy")], state[A("intensity")], state[A("period")]) == (A("one_for_one"), 2, 5)
    assert [child[0] for child in state[A("children")]] == [A("a")]
    status = decode(encode(world.sys(sup, A("get_status"))))
    assert status[2] == (A("module"), A("gen_server"))
    assert status[3][0][0] == (A("$initial_call"), (A("supervisor"), A("erlang_bridge.otp.supervisor.Supervisor"), 1))


def test_a_code_change_asks_init_again(world: World) -> None:
    versions: list[Any] = [[ChildSpec("a", (Echo, 1))]]

    class Versioned(Supervisor):
        def init(self, args: Any) -> Any:
            assert args == "args"
            return versions[0]

    _, sup = world.start(Versioned, "args")
    before = world.children(sup)

    def change() -> Any:
        world.sys(sup, A("suspend"))
        try:
            return world.sys(sup, (A("change_code"), A("m"), UNDEFINED, []))
        finally:
            world.sys(sup, A("resume"))

    versions[0] = (SupervisorFlags("one_for_all"), [ChildSpec("b", (Echo, 2)), ChildSpec("a", (Echo, 3))])
    assert change() is OK
    assert world.children(sup) == {"b": UNDEFINED, "a": before["a"]}
    assert get_childspec(world, sup, "a")[1].start == (Echo, 3)
    versions[0] = [1]
    assert change() == (ERROR, (ERROR, (A("start_spec"), (A("invalid_child_spec"), 1))))
    versions[0] = (SupervisorFlags("simple_one_for_one"), [ChildSpec("a", (Echo, 3))])
    assert change() == (ERROR, (ERROR, (A("bad_flags"), A("simple_one_for_one"))))
    versions[0] = Ignore()
    assert change() is OK
    assert world.children(sup) == {"b": UNDEFINED, "a": before["a"]}


# -- dynamic children -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "extra", "args"),
    [
        ((Echo,), [], None),
        ((Echo,), [1], 1),
        ((Echo,), [1, 2], (1, 2)),
        ((Echo, 0), [], 0),
        ((Echo, 0), [1, 2], (0, 1, 2)),
    ],
)
def test_arguments_of_simple_children(world: World, start: Any, extra: Any, args: Any) -> None:
    sup = world.supervise(ChildSpec("t", start), strategy="simple_one_for_one")
    ok, pid = start_child(world, sup, extra)
    assert ok is OK
    assert world.call(pid, 0) == args
    world.end(pid)
    assert until(lambda: which_children(world, sup)[0][1] != pid)
    assert world.call(which_children(world, sup)[0][1], 0) == args, "as the first time"


def test_simple_children(world: World) -> None:
    sup = world.supervise(ChildSpec("t", (Worker,)), strategy="simple_one_for_one")
    pids = [start_child(world, sup, [world, n, None])[1] for n in range(3)]
    assert [entry[:2] for entry in which_children(world, sup)] == [(UNDEFINED, pid) for pid in pids]
    assert terminate_child(world, sup, "t") == (ERROR, A("simple_one_for_one"))
    assert terminate_child(world, sup, pids[0]) is OK
    assert terminate_child(world, sup, pids[0]) is OK
    assert terminate_child(world, sup, world.guest.pid) == (ERROR, A("not_found"))
    assert start_child(world, sup, BOOM) == (ERROR, (A("EXIT"), (A("badarg"), [])))
    assert count_children(world, sup) == {"specs": 1, "active": 2, "supervisors": 0, "workers": 2}
    world.stop(sup)
    assert until(lambda: len(world.table.processes) == 1)


def test_simple_children_stop_all_at_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    template = ChildSpec("t", (Worker,), shutdown_ms=2000)
    sup = world.supervise(template, strategy="simple_one_for_one")
    for n in range(20):
        start_child(world, sup, [world, n, "linger"])
    with gevent.Timeout(2):
        world.stop(sup)
    assert len(world.table.processes) == 1
    assert not caplog.records


def test_simple_children_that_are_late_are_killed_together(world: World, caplog: pytest.LogCaptureFixture) -> None:
    sup = world.supervise(ChildSpec("t", (Worker,), shutdown_ms=50), strategy="simple_one_for_one")
    for n in range(5):
        start_child(world, sup, [world, n, "stubborn" if n else None])
    world.stop(sup)
    assert len(world.table.processes) == 1
    (record,) = caplog.records
    assert "child t (4 of them) did not shut down as told, reason killed" in record.getMessage()


def test_a_dynamic_supervisor(world: World) -> None:
    _, sup = world.start(DynamicSupervisor, DynamicSupervisorFlags(max_children=2))
    ok, first = start_child(world, sup, world.worker("any", shutdown_ms=50))
    assert ok is OK
    assert start_child(world, sup, world.worker("any", "ignore")) is A("ignore")
    _, second = start_child(world, sup, world.worker("any", "stubborn", restart="temporary", shutdown_ms=20))
    assert start_child(world, sup, world.worker("any")) == (ERROR, A("max_children"))
    assert [entry[:2] for entry in which_children(world, sup)] == [(UNDEFINED, first), (UNDEFINED, second)]
    assert count_children(world, sup) == {"specs": 2, "active": 2, "supervisors": 0, "workers": 2}
    world.end(first)
    assert until(lambda: which_children(world, sup)[-1][1] != first)
    assert start_child(world, sup, 5) == (ERROR, (A("invalid_child_spec"), 5))
    assert terminate_child(world, sup, first) == (ERROR, A("not_found"))
    world.stop(sup)
    assert until(lambda: len(world.table.processes) == 1)


def test_a_dynamic_supervisor_needs_no_arguments(world: World) -> None:
    assert world.start(DynamicSupervisor, None)[0] is OK
    error, (reason, _) = world.start(DynamicSupervisor, [])
    assert (error, reason) == (ERROR, A("bad_return"))


# -- reports ----------------------------------------------------------------------------------


def test_reports_go_to_the_node_of_the_group_leader_in_otp_s_shape(world: World) -> None:
    leader = Pid(FAR, 1, 0, 1)
    flags = SupervisorFlags(intensity=0)
    _, sup = world.start(Supervisor, (flags, [world.worker("a"), ChildSpec("b", (Echo, {1}))]), group_leader=leader)
    children = world.children(sup)
    world.emitted.clear()
    world.table.send_exit(world.guest.pid, children["b"], BOOM)
    assert world.end_of(sup) is SHUTDOWN
    reports = [payload for node, control, payload in world.emitted if node is FAR and control[-1] is A("logger_proxy")]
    assert [report[:2] for report in reports] == [(A("log"), ERROR)] * len(reports)
    terminated, gave_up = (report[2:] for report in reports)
    body, metadata = terminated
    assert body == {
        A("label"): (A("supervisor"), A("child_terminated")),
        A("report"): [
            (A("supervisor"), (sup, A("erlang_bridge.otp.supervisor.Supervisor"))),
            (A("errorContext"), A("child_terminated")),
            (A("reason"), BOOM),
            (
                A("offender"),
                [
                    (A("pid"), children["b"]),
                    (A("id"), A("b")),
                    (A("mfargs"), (A(f"{__name__}.Echo"), A("start_link"), [[1]])),
                    (A("restart_type"), A("permanent")),
                    (A("significant"), False),
                    (A("shutdown"), 5000),
                    (A("child_type"), A("worker")),
                ],
            ),
        ],
    }
    assert metadata[A("report_cb")] == Export(A("supervisor"), A("format_log"), 2)
    assert metadata[A("gl")] == leader
    assert metadata[A("pid")] == sup
    assert gave_up[0][A("label")] == (A("supervisor"), A("shutdown"))
    assert gave_up[0][A("report")][2] == (A("reason"), A("reached_max_restart_intensity"))
    for report in reports:
        encode(report)


def test_progress_is_told_to_those_who_listen(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "erlang_bridge.otp")
    sup = world.supervise(world.worker("a"), name="sup")
    pid = world.children(sup)["a"]
    assert f"supervisor sup: started child a ({pid})" in caplog.text
