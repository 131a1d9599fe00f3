"""What tracing costs: nobody traces, somebody has traced, one process is traced, all are.

    python bench/bench_tracing.py [--json]

One run, in turns, so that all of them meet the same machine; processor time, the best of several rounds. Nobody
tracing has to cost what a table costs that has never heard of tracing, at most 2 % more, also after it was traced.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from bench_processes import Bench, Server
from rich.console import Console
from rich.table import Table

from erlang_bridge.otp.gen_server import wait_started
from erlang_bridge.process.breakpoints import Breakpoints, Target
from erlang_bridge.process.tracing import EVERYTHING, Session, TraceEvent, Tracing

ROUNDS = 15
MESSAGES = 20_000
CALLS = 10_000
HANDLE_CALL = (Server.__module__, "Server.handle_call", 3)


class Nothing:
    """A tracer that does nothing with what it is told."""

    def put(self, event: TraceEvent, flags: frozenset[str]) -> None:
        pass

    def owns(self, process: Any) -> bool:
        return False


def find(mfa: Any) -> Target | None:
    return Target(mfa, Server.__dict__["handle_call"], Server, True)


def plain() -> Bench:
    return Bench()


def never_traced() -> Bench:
    """A table as every node has it."""
    bench = Bench()
    Breakpoints(Tracing(bench.table), find)
    return bench


def traced_before() -> Bench:
    """All of it was traced, and is not any more."""
    bench = all_traced()
    tracing = bench.table.tracing
    for session in list(tracing.sessions):
        tracing.end_session(session)
    return bench


def with_session() -> tuple[Bench, Tracing, Session]:
    """A session in which nothing is traced so far."""
    bench = Bench()
    tracing = Tracing(bench.table)
    Breakpoints(tracing, find)
    session = Session("bench")
    tracing.add_session(session)
    return bench, tracing, session


def all_traced() -> Bench:
    """Messages and calls of everybody are told."""
    bench, tracing, session = with_session()
    session.calls[HANDLE_CALL] = lambda arguments, process: EVERYTHING
    flags = frozenset({"send", "receive", "call"})
    session.new = (flags, Nothing())
    tracing.watch(session, bench.me, *session.new)
    tracing.refresh()
    return bench


def other_traced() -> Bench:
    """One process is traced that has nothing to do with those that are measured."""
    bench, tracing, session = with_session()
    other = bench.table.find(wait_started(bench.table, Server, 0)[1])
    assert other is not None
    tracing.watch(session, other, frozenset({"send", "receive"}), Nothing())
    tracing.refresh()
    return bench


def call(bench: Bench) -> float:
    return processor_us(CALLS, lambda: bench.call(CALLS))


def round_trip(bench: Bench) -> float:
    return processor_us(MESSAGES, lambda: bench.round_trip(MESSAGES))


def processor_us(count: int, job: Callable[[], Any]) -> float:
    """Microseconds for each of `count`, in which this program ran."""
    gc.collect()
    started = time.process_time()
    job()
    return (time.process_time() - started) / count * 1e6


STATES: dict[str, Callable[[], Bench]] = {
    "no tracing at all": plain,
    "nobody traces": never_traced,
    "somebody has traced": traced_before,
    "another process is traced": other_traced,
    "everything is traced": all_traced,
}
JOBS = {"round trip between two processes": round_trip, "gen_server:call": call}


def end(bench: Bench) -> None:
    tracing = getattr(bench.table, "tracing", None)
    for session in list(tracing.sessions) if tracing is not None else []:
        tracing.end_session(session)


def measure(job: Callable[[Bench], float]) -> dict[str, float]:
    took: dict[str, list[float]] = {name: [] for name in STATES}
    for turn in range(ROUNDS):
        # Another order each time: who comes first after a pause has it easier.
        names = list(STATES)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            bench = STATES[name]()
            took[name].append(job(bench))
            end(bench)
    return {name: min(times) for name, times in took.items()}


def main() -> None:
    figures = {name: measure(job) for name, job in JOBS.items()}
    if "--json" in sys.argv[1:]:
        print(json.dumps(figures))
        return
    table = Table("", *JOBS, title="Tracing: us of processor time, and how much of that without any")
    for state in STATES:
        cells = [f"{took[state]:.2f}  {took[state] / took['no tracing at all']:.3f}" for took in figures.values()]
        table.add_row(state, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
