"""What goes wrong in one process stays there: the others, and the scheduler, go on."""

from __future__ import annotations

import gc
import time
import weakref
from contextvars import ContextVar

import gevent
import pytest

from erlang_bridge.errors import ErlangExit, ProcessExit
from erlang_bridge.otp import gen
from erlang_bridge.otp.gen_server import GenServer, wait_started
from erlang_bridge.otp.own import OwnProcess
from erlang_bridge.otp.results import NoReply, Reply
from erlang_bridge.process import Process, ProcessTable
from erlang_bridge.terms import Atom, Pid
from tests.waiting import until

OK = Atom("ok")
KILL = Atom("kill")
NORMAL = Atom("normal")
SHUTDOWN = Atom("shutdown")
VARIABLE: ContextVar = ContextVar("VARIABLE", default=None)


class Shy:
    """Nobody can print it."""

    def __repr__(self) -> str:
        raise RuntimeError("no text for you")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class Server(GenServer):
    def init(self, args):
        return args

    def handle_call(self, request, caller, state):
        match request:
            case Atom("read"):
                return Reply(state, state)
            case Atom("crash"):
                raise ValueError("asked to")
            case Atom("unprintable"):
                raise UnprintableError
            case Atom("exit_by_hand"):
                raise ProcessExit(Atom("by_hand"))
            case (Atom("work"), seconds):
                time.sleep(seconds)
                return Reply(OK, state)

    def handle_info(self, message, state):
        match message:
            case (Atom("work"), seconds):
                time.sleep(seconds)
        return NoReply(state)


def start(table: ProcessTable, state=0, server=Server, **options) -> Pid:
    answer, pid = wait_started(table, server, state, **options)
    assert answer is OK
    return pid


def body(table: ProcessTable, function) -> Process:
    own = OwnProcess()
    own._process = table.add_body(lambda: function(own))
    return own._process


@pytest.mark.parametrize("how", ["crash", "unprintable"])
def test_a_crash_that_cannot_be_told_ends_the_process_all_the_same(table, me, how):
    pid, other = start(table, Shy()), start(table, 5)
    with pytest.raises(ErlangExit):
        gen.call(me, pid, Atom(how), 1)
    assert table.find(pid) is None
    assert gen.call(me, other, Atom("read"), 1) == 5


def test_a_body_whose_crash_cannot_be_told(table, me):
    def fail(process, error):
        raise RuntimeError("the report went wrong")

    table.on_body_crash = fail

    def run(own):
        raise ValueError("asked to")

    process = body(table, run)
    assert until(lambda: not process.alive, 1)
    assert gen.call(me, start(table, 5), Atom("read"), 1) == 5


def test_a_reason_whose_encoding_goes_wrong_reaches_everybody(me):
    sent = []

    def emit(node, control, payload, connect):
        if payload == "bad":
            raise RuntimeError("its __erlang_term__ failed")
        sent.append((control[0], payload))
        return True

    table = ProcessTable(Atom("alone@memory"), 7, emit)
    watcher = table.add_guest()
    process = table.add_body(lambda: None)
    table.on_link(Pid(Atom("other@memory"), 1, 0, 1), process.pid)
    monitor = table.monitor(watcher, process.pid)
    table.exit(process, "bad")
    assert watcher.receive(timeout_s=0)[1] == monitor
    table.close(SHUTDOWN)


def test_process_exit_raised_by_hand_ends_a_server(table, me):
    pid = start(table)
    with pytest.raises(ErlangExit, match="by_hand"):
        gen.call(me, pid, Atom("exit_by_hand"), 1)
    assert table.find(pid) is None


def test_a_timeout_of_gevent_around_receive(table, me):
    slept = []

    def run(own):
        with gevent.Timeout(0.02, False):
            own.receive()
        started = time.monotonic()
        gevent.sleep(0.2)
        slept.append(time.monotonic() - started)

    process = body(table, run)
    gevent.sleep(0.08)
    process.deliver("does not wake the sleeper")
    assert until(lambda: not process.alive, 2)
    assert slept
    assert slept[0] >= 0.19


def test_pids_in_use_are_not_given_again(table, me):
    first = start(table, "first")
    table._last_id = (1 << 28) - 1
    pids = [start(table, number) for number in range(3)]
    assert len({pid.id for pid in (*pids, first, me.pid)}) == 5
    assert gen.call(me, first, Atom("read"), 1) == "first"


def test_a_timer_ends_with_the_process_that_it_is_for(table, me):
    pid = start(table)
    table.send_after(3600, pid, "late")
    table.send_after(3600, me.pid, "late")
    table.send_exit(me.pid, pid, KILL)
    assert len(table.timers) == 1


def test_many_busy_processes_do_not_keep_the_loop_from_turning(table, me):
    pids = [start(table) for _ in range(64)]
    for pid in pids:
        for _ in range(4):
            table.send(me, pid, (Atom("work"), 0.001))
    gaps = []
    last = time.monotonic()
    while table.scheduler.ready:
        gevent.sleep(0)
        now = time.monotonic()
        gaps.append(now - last)
        last = now
    assert max(gaps) < 0.05


def test_a_guest_that_is_ended_while_it_calls(table, me):
    pid = start(table)
    failures = []

    def call():
        guest = table.add_guest()
        gevent.spawn_later(0.05, table.exit, guest, Atom("gone"))
        try:
            gen.call(guest, pid, (Atom("later"),), None)
        except ErlangExit as error:
            failures.append(error.reason)

    class Mute(GenServer):
        def handle_call(self, request, caller, state):
            return NoReply(state)

    pid = start(table, server=Mute)
    greenlet = gevent.spawn(call)
    greenlet.join(1)
    assert failures == [Atom("gone")]
    greenlet.kill()


def test_a_guest_that_is_ended_while_it_receives(table, me):
    failures = []

    def receive():
        guest = table.add_guest()
        gevent.spawn_later(0.05, table.exit, guest, Atom("gone"))
        try:
            guest.receive()
        except ErlangExit as error:
            failures.append(error.reason)

    greenlet = gevent.spawn(receive)
    greenlet.join(1)
    assert failures == [Atom("gone")]
    greenlet.kill()


def test_who_waits_when_the_table_closes_is_woken(table, me):
    class Mute(GenServer):
        def handle_call(self, request, caller, state):
            return NoReply(state)

    pid = start(table, server=Mute)
    failures = []

    def call():
        guest = table.add_guest()
        try:
            gen.call(guest, pid, OK, 2)
        except ErlangExit as error:
            failures.append(error.reason)

    greenlet = gevent.spawn(call)
    gevent.sleep(0.02)
    table.close(SHUTDOWN)
    greenlet.join(1)
    assert failures == [SHUTDOWN]
    greenlet.kill()


def test_nothing_of_the_dead_is_kept(table, me):
    class Big:
        pass

    big = Big()
    kept = weakref.ref(big)

    class Holder(GenServer):
        def init(self, args):
            return args

        def handle_call(self, request, caller, state):
            self.send_after(3600, "late")
            self.alias()
            self.monitor(me.pid)
            return Reply(OK, state, timeout_s=3600)

    pid = start(table, big, server=Holder)
    del big
    assert gen.call(me, pid, OK) is OK
    table.send_exit(me.pid, pid, KILL)
    gevent.sleep(0.01)
    gc.collect()
    assert kept() is None
    assert not me.monitored_by


def test_context_variables_of_one_process_are_not_those_of_the_next(table, me):
    class Careless(GenServer):
        def handle_call(self, request, caller, state):
            seen = VARIABLE.get()
            VARIABLE.set(request)
            return Reply(seen, state)

    pids = [start(table, server=Careless) for _ in range(3)]
    assert [gen.call(me, pid, number) for number, pid in enumerate(pids)] == [None, None, None]
