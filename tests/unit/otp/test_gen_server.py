"""A server's own rules: time-outs, continue, stop with a reply, what is not its parent's exit."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest

from erlang_bridge.errors import ErlangExit
from erlang_bridge.otp import gen
from erlang_bridge.otp.gen_server import GenServer, wait_started
from erlang_bridge.otp.results import Init, NoReply, Reply, Stop
from erlang_bridge.process import GuestProcess, ProcessTable
from erlang_bridge.terms import Atom, Pid
from tests.waiting import until

OK = Atom("ok")
TIMEOUT = Atom("timeout")
SHUTDOWN = Atom("shutdown")
SYSTEM = Atom("system")


@pytest.fixture
def table() -> Iterator[ProcessTable]:
    table = ProcessTable(Atom("alone@memory"), 7, lambda node, control, payload, connect: False)
    yield table
    table.close(SHUTDOWN)


@pytest.fixture
def me(table: ProcessTable) -> GuestProcess:
    return table.add_guest()


class Server(GenServer):
    def init(self, args):
        self.heard = []
        return args

    def handle_call(self, request, caller, state):
        match request:
            case Atom("read"):
                return Reply(list(self.heard), state)
            case (Atom("timeout"), seconds):
                return Reply(OK, state, timeout_s=seconds)
            case (Atom("continue"), times):
                return Reply(OK, state, continue_with=times)
            case Atom("stop"):
                return Stop(Atom("normal"), state, reply=Atom("stopped"))
            case Atom("stop_badly"):
                self.fail = True
                return Stop(Atom("normal"), state, reply=Atom("stopped"))

    def handle_info(self, message, state):
        self.heard.append(message)
        return NoReply(state)

    def handle_continue(self, continue_with, state):
        if continue_with:
            return NoReply(state, continue_with=continue_with - 1)
        self.heard.append("continued")
        return NoReply(state)

    def terminate(self, reason, state):
        if getattr(self, "fail", False):
            raise RuntimeError("terminate failed")

    def format_status(self, status):
        if status["state"] == "secret":
            raise RuntimeError("format_status failed")
        return status


def start(table: ProcessTable, state=0, **options) -> Pid:
    answer, pid = wait_started(table, Server, state, **options)
    assert answer is OK
    return pid


def system(me: GuestProcess, pid: Pid, request):
    return gen.call(me, pid, request, 2, label=SYSTEM)


def heard(me: GuestProcess, pid: Pid):
    return gen.call(me, pid, Atom("read"), 2)


def test_a_time_out_begins_again_after_a_system_message(table, me):
    pid = start(table)
    gen.call(me, pid, (TIMEOUT, 0.1))
    system(me, pid, Atom("get_state"))
    gevent.sleep(0.25)
    assert heard(me, pid) == [TIMEOUT]


def test_a_time_out_begins_again_after_resume(table, me):
    pid = start(table)
    gen.call(me, pid, (TIMEOUT, 0.1))
    system(me, pid, Atom("suspend"))
    gevent.sleep(0.2)
    system(me, pid, Atom("resume"))
    assert table.find(pid).instance.heard == []
    gevent.sleep(0.25)
    assert heard(me, pid) == [TIMEOUT]


def test_a_message_that_waited_while_suspended_takes_the_time_out_back(table, me):
    pid = start(table)
    gen.call(me, pid, (TIMEOUT, 0.05))
    system(me, pid, Atom("suspend"))
    table.send(me, pid, "first")
    system(me, pid, Atom("resume"))
    gevent.sleep(0.2)
    assert heard(me, pid) == ["first"]


def test_continue_may_follow_continue_for_ever(table, me):
    pid = start(table)
    gen.call(me, pid, (Atom("continue"), 5000))
    assert heard(me, pid) == ["continued"]


def test_the_reply_of_stop_is_sent_although_terminate_fails(table, me):
    pid = start(table)
    assert gen.call(me, pid, Atom("stop_badly"), 2) is Atom("stopped")
    assert until(lambda: table.find(pid) is None, 1)


def test_an_exit_of_nobody_is_no_exit_of_the_parent(table, me):
    pid = start(table)
    table.send(me, pid, (Atom("EXIT"), None, Atom("boom")))
    assert heard(me, pid) == [(Atom("EXIT"), None, Atom("boom"))]


def test_get_status_survives_a_format_status_that_fails(table, me):
    pid = start(table, "secret")
    assert system(me, pid, Atom("get_status"))[0] is Atom("status")
    assert table.find(pid) is not None


class SelfDestroying(GenServer):
    def init(self, args):
        self.process.table.exit(self.process, Atom("from_init"))
        return Init(0)


def test_a_server_that_ends_itself_in_init(table, me):
    answers = []
    from erlang_bridge.otp.gen_server import start_server

    start_server(table, SelfDestroying, None, answers.append)
    gevent.sleep(0.02)
    assert answers == [(Atom("error"), Atom("from_init"))]


def test_unencodable_stop_reply_runs_terminate_once(me):
    from erlang_bridge.errors import EtfEncodeError

    def emit(node, control, payload, connect):
        raise EtfEncodeError("", object(), "it has none")

    table = ProcessTable(Atom("alone@memory"), 7, emit)
    ends = []

    class Stopping(GenServer):
        def handle_call(self, request, caller, state):
            return Stop(Atom("normal"), state, reply=object())

        def terminate(self, reason, state):
            ends.append(reason)

    _, pid = wait_started(table, Stopping, None)
    stranger = Pid(Atom("other@memory"), 1, 0, 1)
    table.send(None, pid, (gen.GEN_CALL, (stranger, Atom("tag")), OK))
    assert until(lambda: table.find(pid) is None, 1)
    assert len(ends) == 1
    table.close(SHUTDOWN)


def test_exits_wait_for_nothing(table, me):
    with pytest.raises(ErlangExit):
        gen.call(me, start(table), Atom("unknown"), 2)
