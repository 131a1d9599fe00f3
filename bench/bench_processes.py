"""Processes of ours beside OTP's, in one run: start, idle memory, round trip, call, ring, and how cost grows.

    python bench/bench_processes.py [--json]

Each figure is the best of several rounds; read the ratios, not the microseconds. OTP runs one scheduler.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from erlang_bridge.otp import gen
from erlang_bridge.otp.gen_server import GenServer, start_server, wait_started
from erlang_bridge.otp.results import NoReply, Reply
from erlang_bridge.process import ProcessTable, Waiter
from erlang_bridge.terms import Atom

READ = Atom("read")


class Server(GenServer):
    def init(self, args: Any) -> Any:
        return args

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        return Reply(state, state)

    def handle_info(self, message: Any, state: Any) -> Any:
        return NoReply(state)


class Link(GenServer):
    """One process of the ring; the state is the pid of the next."""

    def handle_call(self, request: Any, caller: Any, state: Any) -> Any:
        return Reply(None, request)

    def handle_info(self, message: Any, state: Any) -> Any:
        if message:
            self.send(state, message - 1)
        else:
            self.process.table.finished.set(None)
        return NoReply(state)


class Bench:
    """One table of processes without a network."""

    def __init__(self) -> None:
        self.table = ProcessTable(Atom("bench@127.0.0.1"), 1, lambda node, control, payload, connect: False)
        self.me = self.table.add_guest()

    def start_all(self, count: int) -> None:
        left = Waiter(self.table.scheduler)
        started = [0]

        def one_more(_: Any) -> None:
            started[0] += 1
            if started[0] == count:
                left.set(None)

        for _ in range(count):
            start_server(self.table, Server, 0, one_more)
        left.wait()

    def spawn(self, count: int) -> float:
        """Bodies, each with a greenlet of its own, that run and end."""
        left = Waiter(self.table.scheduler)
        ended = [0]

        def body() -> None:
            ended[0] += 1
            if ended[0] == count:
                left.set(None)

        def job() -> None:
            for _ in range(count):
                self.table.add_body(body)
            left.wait()

        return timed(count, job)

    def start(self, count: int) -> float:
        took = timed(count, lambda: self.start_all(count))
        for process in list(self.table.processes.values()):
            if process is not self.me:
                self.table.exit(process, Atom("kill"))
        return took

    def round_trip(self, count: int) -> float:
        table = self.table
        finished = Waiter(table.scheduler)

        class Echo(GenServer):
            def handle_info(self, message: Any, state: Any) -> Any:
                self.send(message[0], message[1])
                return NoReply(state)

        class Asker(GenServer):
            def handle_info(self, message: Any, state: Any) -> Any:
                if message < count:
                    self.send(echo, (self.pid, message + 1))
                else:
                    finished.set(None)
                return NoReply(state)

        echo = wait_started(table, Echo, None)[1]
        asker = wait_started(table, Asker, None)[1]

        def job() -> None:
            table.send(None, asker, 0)
            finished.wait()

        return timed(count, job)

    def call(self, count: int, *, queued: int = 0) -> float:
        """Calls of one process to another; `queued` messages stand in the caller's mailbox."""
        server = wait_started(self.table, Server, 0)[1]
        for number in range(queued):
            self.me.deliver(number)

        def job() -> None:
            for _ in range(count):
                gen.call(self.me, server, READ)

        took = timed(count, job)
        self.me.mailbox = None
        return took

    def ring(self, size: int, laps: int) -> float:
        table = self.table
        first = previous = wait_started(table, Link, None)[1]
        for _ in range(size - 1):
            previous = wait_started(table, Link, previous)[1]
        gen.call(self.me, first, previous)
        finished: Any = Waiter(table.scheduler)
        table.finished = finished

        def job() -> None:
            table.send(None, previous, size * laps)
            finished.wait()

        return timed(size * laps, job)


def timed(count: int, job: Callable[[], Any]) -> float:
    """Microseconds for each of `count`."""
    gc.collect()
    gc.freeze()
    started = time.perf_counter()
    job()
    return (time.perf_counter() - started) / count * 1e6


def best(times: int, job: Callable[[], float]) -> float:
    return min(job() for _ in range(times))


def ours() -> dict[str, float]:
    gc.set_threshold(50_000, 20, 100)
    figures = {
        "spawn": best(5, lambda: Bench().spawn(10_000)),
        "start": best(5, lambda: Bench().start(20_000)),
        "round_trip": best(5, lambda: Bench().round_trip(50_000)),
        "call": best(5, lambda: Bench().call(20_000)),
        "hop": best(5, lambda: Bench().ring(1000, 50)),
    }
    figures["call_with_100000_queued"] = best(3, lambda: Bench().call(20_000, queued=100_000))
    crowded = Bench()
    crowded.start_all(100_000)
    figures["call_with_100000_processes"] = best(3, lambda: crowded.call(20_000))
    return figures


def idle_bytes() -> float:
    """Resident bytes of each of 100,000 idle servers; in a process of its own, so that nothing freed earlier helps."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    bench = Bench()
    bench.start_all(1000)
    gc.collect()
    before = resident()
    bench.start_all(100_000)
    gc.collect()
    return (resident() - before) / 100_000


def otp() -> dict[str, float]:
    source = Path(__file__).with_name("processes.erl")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(source, folder)
        subprocess.run(["erlc", "-o", folder, source], check=True)
        command = ["erl", "+S", "1:1", "+P", "2000000", "-noinput", "-pa", folder, "-s", "processes", "main"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    return {name: float(value) for name, value in (line.split() for line in printed.splitlines())}


JOBS = {
    "spawn": "spawn a process that runs and ends, us",
    "start": "start a gen_server, us",
    "round_trip": "round trip between two processes, us",
    "call": "gen_server:call, us",
    "hop": "hop in a ring of 1,000 servers, us",
    "idle_bytes": "idle gen_server of 100,000, bytes",
}


def main() -> None:
    if sys.argv[1:] == ["--idle"]:
        print(idle_bytes())
        return
    theirs = otp()
    mine = ours()
    printed = subprocess.run([sys.executable, __file__, "--idle"], check=True, capture_output=True, text=True).stdout
    mine["idle_bytes"] = float(printed)
    if "--json" in sys.argv[1:]:
        print(json.dumps({"ours": mine, "otp": theirs}))
        return
    table = Table("", "pyanoma", "OTP", "pyanoma / OTP", title="Processes, best of several rounds, one core each")
    for name, what in JOBS.items():
        table.add_row(what, f"{mine[name]:.2f}", f"{theirs[name]:.2f}", f"{mine[name] / theirs[name]:.2f}")
    for name in ("call_with_100000_queued", "call_with_100000_processes"):
        grown = mine[name] / mine["call"]
        table.add_row(name.replace("_", " ") + ", us", f"{mine[name]:.2f}", "", f"{grown:.2f} x the plain call")
    Console().print(table)


if __name__ == "__main__":
    main()
