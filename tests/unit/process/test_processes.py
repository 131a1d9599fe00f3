"""Processes of one node among themselves, without a network."""

from __future__ import annotations

import gevent
import pytest

from erlang_bridge.errors import CallingSelf, CallTimeout, ErlangExit, NoProcess
from erlang_bridge.otp import gen
from erlang_bridge.otp.gen_server import GenServer, wait_started
from erlang_bridge.otp.own import OwnProcess
from erlang_bridge.otp.results import NoReply, Reply
from erlang_bridge.process import Process, ProcessTable
from erlang_bridge.process.process import DEAD, IDLE
from erlang_bridge.terms import Atom, Pid
from tests.waiting import until

OK = Atom("ok")
BOOM = Atom("boom")
NORMAL = Atom("normal")
KILL = Atom("kill")
DOWN = Atom("DOWN")
EXIT = Atom("EXIT")
PROCESS = Atom("process")


class Server(GenServer):
    def init(self, args):
        return args

    def handle_call(self, request, caller, state):
        match request:
            case (Atom("sleep"), seconds):
                gevent.sleep(seconds)
                return Reply(OK, state)
            case (Atom("call"), target):
                return Reply(self.call(target, Atom("read"), 0.2), state)
            case Atom("read"):
                return Reply(state, state)
            case Atom("trap"):
                self.set_trap_exit(True)
                return Reply(OK, state)

    def handle_cast(self, message, state):
        return NoReply([*state, message])

    def handle_info(self, message, state):
        return NoReply([*state, message])


def start(table: ProcessTable, state=(), **options) -> Pid:
    answer, pid = wait_started(table, Server, list(state), **options)
    assert answer is OK
    return pid


def body(table: ProcessTable, function) -> Process:
    own = OwnProcess()
    own._process = table.add_body(lambda: function(own))
    return own._process


# -- messages ---------------------------------------------------------------------------------


def test_order_is_kept(table, me):
    pid = start(table)
    for number in range(500):
        gen.cast(me, table, pid, number)
    assert gen.call(me, pid, Atom("read")) == list(range(500))


def test_selective_receive_keeps_the_others_in_order(table, me):
    for number in range(6):
        me.deliver(number)
    assert me.receive(lambda message: message == 4) == 4
    assert [me.receive() for _ in range(5)] == [0, 1, 2, 3, 5]


def test_receive_after_a_timeout_finds_what_did_not_match(table, me):
    me.deliver("other")
    with pytest.raises(TimeoutError):
        me.receive(lambda message: message == "wanted", timeout_s=0.02)
    with pytest.raises(TimeoutError):
        me.receive(lambda message: message == "wanted", timeout_s=0)
    assert me.receive(timeout_s=0) == "other"


def test_receive_waits_for_a_match(table, me):
    gevent.spawn_later(0.02, me.deliver, "first")
    gevent.spawn_later(0.04, me.deliver, "wanted")
    assert me.receive(lambda message: message == "wanted", timeout_s=2) == "wanted"
    assert me.receive() == "first"


def test_messages_to_the_dead_and_the_unknown_are_dropped(table, me):
    pid = start(table)
    table.send_exit(me.pid, pid, KILL)
    table.send(me, pid, "lost")
    table.send(me, Atom("nobody"), "lost")
    with pytest.raises(TypeError, match="destination"):
        table.send(me, "not a destination", "lost")


def test_an_idle_process_has_no_mailbox_and_no_greenlet(table, me):
    pid = start(table)
    gen.call(me, pid, Atom("read"))
    process = table.find(pid)
    assert until(lambda: process.state == IDLE)
    assert process.mailbox is None
    assert process.greenlet is None


def test_a_flood_does_not_starve_the_others(table, me):
    class Busy(GenServer):
        def handle_info(self, message, state):
            self.send(self.pid, message)
            return NoReply(state)

    _, busy = wait_started(table, Busy, None)
    for _ in range(50):
        table.send(me, busy, "again")
    pid = start(table, [1])
    assert gen.call(me, pid, Atom("read"), 2) == [1]
    ticks = []
    gevent.spawn_later(0.02, ticks.append, 1)
    gevent.sleep(0.2)
    assert ticks == [1]
    table.send_exit(me.pid, busy, KILL)


def test_blocked_servers_do_not_hold_up_each_other(table, me):
    servers = [start(table) for _ in range(50)]
    done = []
    for pid in servers:
        body(table, lambda own, pid=pid: done.append(own.call(pid, (Atom("sleep"), 0.1))))
    with gevent.Timeout(3):
        assert until(lambda: len(done) == 50)


# -- calls ------------------------------------------------------------------------------------


def test_failed_calls_say_why(table, me):
    with pytest.raises(NoProcess, match="nobody"):
        gen.call(me, "nobody", OK)
    pid = start(table)
    with pytest.raises(CallTimeout):
        gen.call(me, pid, (Atom("sleep"), 0.3), 0.02)
    with pytest.raises(ErlangExit) as caught:
        gen.call(me, pid, (Atom("call"), pid))
    reason = caught.value.reason
    assert reason[0] is Atom("calling_self")
    assert reason[1][:2] == (Atom("gen_server"), Atom("call"))
    with pytest.raises(CallingSelf):
        gen.call(me, me.pid, OK)
    with pytest.raises(NoProcess):
        gen.call(me, pid, Atom("read"))


def test_a_late_reply_is_dropped(table, me):
    pid = start(table)
    with pytest.raises(CallTimeout):
        gen.call(me, pid, (Atom("sleep"), 0.05), 0.01)
    gevent.sleep(0.1)
    assert not me.mailbox
    assert table.aliases == {}
    assert me.pending_calls == 0


def test_a_reply_to_the_pid_is_taken_too(table, me):
    def answer_to_the_pid(own):
        _, (pid, tag), _ = own.receive()
        own.send(pid, (tag, "answer"))

    assert gen.call(me, body(table, answer_to_the_pid).pid, OK) == "answer"
    assert not me.mailbox


def test_caller_killed_while_it_waits(table, me):
    pid = start(table)
    waiting = body(table, lambda own: own.call(pid, (Atom("sleep"), 0.2)))
    gevent.sleep(0.02)
    table.send_exit(me.pid, waiting.pid, BOOM)
    assert waiting.state == DEAD
    gevent.sleep(0.3)
    assert table.aliases == {}
    assert gen.call(me, pid, Atom("read")) == []


# -- links and monitors -----------------------------------------------------------------------


@pytest.mark.parametrize("reason", [BOOM, Atom("shutdown"), (Atom("shutdown"), 1)])
def test_link_spreads_the_end(table, me, reason):
    first, second = start(table), start(table)
    table.link(table.find(first), second)
    table.send_exit(me.pid, first, reason)
    assert table.find(first) is None
    assert table.find(second) is None


def test_normal_does_not_spread(table, me):
    pid = start(table)
    table.link(table.find(pid), body(table, lambda own: None).pid)
    gevent.sleep(0.02)
    assert table.find(pid) is not None
    assert table.find(pid).links == {}


def test_trapped(table, me):
    trapping, other = start(table), start(table)
    gen.call(me, trapping, Atom("trap"))
    table.link(table.find(trapping), other)
    table.send_exit(me.pid, other, BOOM)
    assert gen.call(me, trapping, Atom("read")) == [(EXIT, other, BOOM)]
    table.send_exit(me.pid, trapping, KILL)
    assert table.find(trapping) is None


def test_unlink(table, me):
    first, second = start(table), start(table)
    table.link(table.find(first), second)
    table.unlink(table.find(second), first)
    table.send_exit(me.pid, first, BOOM)
    assert table.find(second) is not None


def test_a_long_chain_of_links_ends_at_once(table, me):
    pids = [start(table) for _ in range(3000)]
    for left, right in zip(pids, pids[1:], strict=False):
        table.link(table.find(left), right)
    table.send_exit(me.pid, pids[0], BOOM)
    assert [process for process in table.processes.values() if process is not me] == []


def test_monitors(table, me):
    pid = start(table, name=Atom("named"))
    by_pid = table.monitor(me, pid)
    by_name = table.monitor(me, Atom("named"))
    gone = table.monitor(me, pid)
    table.demonitor(gone, me)
    nobody = table.monitor(me, Atom("nobody"))
    assert me.receive() == (DOWN, nobody, PROCESS, (Atom("nobody"), table.node_name), Atom("noproc"))
    table.send_exit(me.pid, pid, BOOM)
    assert {me.receive(), me.receive()} == {
        (DOWN, by_pid, PROCESS, pid, BOOM),
        (DOWN, by_name, PROCESS, (Atom("named"), table.node_name), BOOM),
    }
    assert not me.mailbox
    assert me.monitors == {}


def test_monitor_means_the_process_that_had_the_name(table, me):
    first = start(table, name=Atom("named"))
    reference = table.monitor(me, Atom("named"))
    table.unregister(Atom("named"))
    second = start(table, name=Atom("named"))
    table.demonitor(reference, me)
    assert table.find(first).monitored_by == {}
    assert table.find(second).monitored_by is None


def test_the_dead_monitor_nobody(table, me):
    watched = start(table)
    watcher = start(table)
    table.monitor(table.find(watcher), watched)
    table.send_exit(me.pid, watcher, BOOM)
    assert table.find(watched).monitored_by == {}


def test_aliases(table, me):
    alias = table.alias(me)
    once = table.alias(me, once=True)
    table.send(None, alias, 1)
    table.send(None, once, 2)
    table.send(None, once, 3)
    table.send(None, alias, 4)
    table.unalias(alias)
    table.send(None, alias, 5)
    assert list(me.mailbox) == [1, 2, 4]


def test_alias_of_a_monitor_ends_with_it(table, me):
    pid = start(table)
    reference = table.monitor(me, pid, alias=True)
    table.send(None, reference, "through")
    table.send_exit(me.pid, pid, BOOM)
    table.send(None, reference, "too late")
    assert [me.receive(), me.receive()[0]] == ["through", DOWN]
    assert not me.mailbox


# -- the end ----------------------------------------------------------------------------------


def test_blocked_code_unwinds(table, me):
    unwound = []

    def blocked(own):
        try:
            own.receive()
        finally:
            unwound.append(own.pid)

    waiting = body(table, blocked)
    sleeping = start(table)
    body(table, lambda own: own.call(sleeping, (Atom("sleep"), 10), None))
    gevent.sleep(0.02)
    for pid in (waiting.pid, sleeping):
        table.send_exit(me.pid, pid, BOOM)
    assert until(lambda: unwound == [waiting.pid])
    assert table.find(sleeping) is None
    assert gen.call(me, start(table, [1]), Atom("read")) == [1]


def test_code_that_swallows_exceptions_dies_all_the_same(table, me):
    survived = []

    def stubborn(own):
        while True:
            try:
                survived.append(own.receive(timeout_s=10))
            except Exception:
                survived.append("swallowed")

    process = body(table, stubborn)
    gevent.sleep(0.02)
    table.send_exit(me.pid, process.pid, BOOM)
    gevent.sleep(0.02)
    assert survived == []
    assert process.state == DEAD


def test_killed_before_it_ran(table, me):
    ran = []
    process = body(table, lambda own: ran.append(1))
    table.send_exit(me.pid, process.pid, BOOM)
    gevent.sleep(0.02)
    assert ran == []


def test_start_that_is_killed_is_told(table, me):
    class Slow(GenServer):
        def init(self, args):
            gevent.sleep(5)

    gevent.spawn_later(0.02, lambda: table.send_exit(me.pid, table.whereis(Atom("slow")), BOOM))
    assert wait_started(table, Slow, None, name=Atom("slow")) == (Atom("error"), BOOM)
    assert wait_started(table, Slow, None, 0.02) == (Atom("error"), Atom("timeout"))
    assert len(table.processes) == 1


def test_names(table, me):
    pid = start(table, name=Atom("named"))
    assert wait_started(table, Server, [], name=Atom("named")) == (
        Atom("error"),
        (Atom("already_started"), pid),
    )
    with pytest.raises(ValueError, match="registered already"):
        table.register(Atom("other"), table.find(pid))
    with pytest.raises(ValueError, match="registered already"):
        table.register(Atom("named"), me)
    table.send_exit(me.pid, pid, KILL)
    assert table.whereis(Atom("named")) is None
    start(table, name=Atom("named"))


def test_exit_of_oneself(table, me):
    after = []

    def leaves(own):
        own.exit(own.pid, BOOM)
        after.append("not reached")

    def stays(own):
        own.set_trap_exit(True)
        own.exit(own.pid, NORMAL)
        after.append(own.receive(timeout_s=1)[2])

    body(table, leaves)
    body(table, stays)
    assert until(lambda: after)
    assert after == [NORMAL]


def test_timers(table, me):
    timer = table.send_after(0.02, me.pid, "in time")
    taken_back = table.send_after(0.02, me.pid, "never")
    assert taken_back.cancel()
    assert not taken_back.cancel()
    assert me.receive(timeout_s=1) == "in time"
    assert not timer.cancel()
    gevent.sleep(0.05)
    assert not me.mailbox
    assert table.timers == set()


def test_pids_are_not_used_again(table):
    pids = {table.make_pid() for _ in range(1000)}
    table._last_id = (1 << 28) - 2
    later = [table.make_pid() for _ in range(4)]
    assert len(pids | set(later)) == 1004
    assert later[-1].serial == 1


def test_pid_of_another_serial_is_somebody_else(table, me):
    pid = start(table)
    assert table.find(Pid(pid.node, pid.id, pid.serial + 1, pid.creation)) is None
    assert table.find(Pid(pid.node, pid.id, pid.serial, pid.creation + 1)) is None
    assert table.find(Pid(Atom("other@memory"), pid.id, pid.serial, pid.creation)) is None
