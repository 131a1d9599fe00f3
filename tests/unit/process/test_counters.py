"""What each process is known to have cost: messages, turns, running time, and its longest turn."""

from __future__ import annotations

import time

import gevent

from erlang_bridge.otp import gen
from erlang_bridge.otp.gen_server import GenServer, wait_started
from erlang_bridge.otp.own import OwnProcess
from erlang_bridge.otp.results import Reply
from erlang_bridge.process import Process, ProcessTable
from erlang_bridge.terms import Atom
from tests.waiting import until


def work(seconds):
    until_then = time.monotonic() + seconds
    while time.monotonic() < until_then:
        pass


class Worker(GenServer):
    def handle_call(self, request, caller, state):
        match request:
            case (Atom("work"), before, blocked, after):
                work(before)
                gevent.sleep(blocked)
                work(after)
            case (Atom("receive"), seconds):
                self.receive(lambda message: message == "go on")
                work(seconds)
        return Reply(None, state)


def server(table: ProcessTable) -> Process:
    process = table.find(wait_started(table, Worker, None)[1])
    assert process is not None
    return process


def test_each_message_and_each_turn_is_counted(table, me):
    process = server(table)
    turns, messages = process.turns, process.reductions
    for _ in range(5):
        gen.call(me, process.pid, "anything")
    gevent.sleep(0)
    assert process.reductions == messages + 5
    assert process.turns == turns + 5


def test_the_time_that_the_code_was_blocked_does_not_count(table, me):
    process = server(table)
    gen.call(me, process.pid, (Atom("work"), 0.02, 0.3, 0.03))
    gevent.sleep(0)
    assert 0.05 <= process.run_time_s < 0.3
    # Blocking ends a turn: others had theirs meanwhile.
    assert 0.03 <= process.longest_turn_s < 0.3


def test_nor_does_the_time_that_it_waits_for_a_message(table, me):
    process = server(table)
    caller = gevent.spawn(gen.call, me, process.pid, (Atom("receive"), 0.02))
    gevent.sleep(0.2)
    process.deliver("go on")
    caller.get(timeout=5)
    gevent.sleep(0)
    assert 0.02 <= process.run_time_s < 0.2


def test_the_time_that_others_ran_while_it_was_blocked_does_not_count(table, me):
    blocked, busy = server(table), server(table)
    first = gevent.spawn(gen.call, me, blocked.pid, (Atom("work"), 0, 0.1, 0))
    gevent.sleep(0.01)
    gen.call(table.add_guest(), busy.pid, (Atom("work"), 0.2, 0, 0))
    first.get(timeout=5)
    gevent.sleep(0)
    assert blocked.run_time_s < 0.1
    assert busy.longest_turn_s >= 0.2


def test_a_body_is_counted_while_it_lives(table):
    own = OwnProcess()

    def body():
        for _ in range(3):
            own.receive()
            work(0.01)
        own.receive()

    process = own._process = table.add_body(body)
    for number in range(3):
        process.deliver(number)
        gevent.sleep(0.02)
    until(lambda: process.run_time_s >= 0.03)
    assert process.turns >= 3
    assert 0.01 <= process.longest_turn_s <= process.run_time_s
