"""What it costs to be looked at: the requests of OTP's observer, all tabs together, from a real BEAM.

    python bench/bench_observer.py [--json]

The CPU time is that of the whole Python process, less what the same node needs when nobody looks.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gevent
from rich.console import Console
from rich.table import Table

from erlang_bridge import ChildSpec, GenServer, Node, Supervisor, SupervisorFlags
from erlang_bridge.kernel.applications import Application
from erlang_bridge.otp.gen_server import start_server
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.epmd import Epmd
from erlang_bridge.testing.modules import compile_erlang
from erlang_bridge.testing.programs import free_port
from erlang_bridge.testing.releases import find_releases

WATCHED_S = 20
FEW, MANY = 1_000, 100_000
GOAL = 0.03
PROBE_S = 0.001


class Idle(GenServer):
    def init(self, args: Any) -> Any:
        return args


class Lateness:
    """How late a timer of the node's loop fires, at worst: for so long somebody has held everybody up."""

    def __init__(self) -> None:
        self.worst_ms = 0.0
        self._probe = gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            before = time.perf_counter()
            gevent.sleep(PROBE_S)
            self.worst_ms = max(self.worst_ms, (time.perf_counter() - before - PROBE_S) * 1000)

    def stop(self) -> float:
        self._probe.kill()
        return self.worst_ms


def cpu_share(job: Any) -> float:
    """CPU time of this process during `job`, as a share of one core."""
    started, before = time.perf_counter(), time.process_time()
    job()
    return (time.process_time() - before) / (time.perf_counter() - started)


def fill(node: Node, count: int) -> None:
    for number in range(count - len(node.table.processes)):
        start_server(node.table, Idle, number, lambda answer: None)
        if number % 1000 == 0:
            gevent.sleep(0)


def measure() -> dict[str, float]:
    release = next(found for found in find_releases() if found.compiler)
    module = compile_erlang(release, Path(__file__).with_name("observer.erl").read_text())
    with tempfile.TemporaryDirectory() as folder:
        epmd = Epmd(release, free_port(), Path(folder))
        epmd.start()
        try:
            with (
                Beam(release, epmd_port=epmd.port, directory=Path(folder)) as beam,
                Node("bench@127.0.0.1", cookie="chocolate", epmd_port_number=epmd.port) as node,
            ):
                beam.load_module(module)
                return observed(beam, node)
        finally:
            epmd.stop()


def observed(beam: Beam, node: Node) -> dict[str, float]:
    children = [ChildSpec(f"child{number}", (Idle, number)) for number in range(FEW // 2)]
    root = node.start(Supervisor, (SupervisorFlags(), children))
    node.applications.add(Application("bench", "What is looked at", "1", root=root))
    fill(node, FEW)
    figures: dict[str, float] = {}
    answers = 0

    def watch() -> None:
        nonlocal answers
        answers = beam.eval("observer:watch(N, S)", N=node.name, S=WATCHED_S, timeout_s=WATCHED_S + 30)

    beam.eval("observer:watch(N, 1)", N=node.name)
    alone = cpu_share(lambda: gevent.sleep(WATCHED_S / 2))
    figures["watched"] = cpu_share(watch) - alone
    figures["answers_per_s"] = answers / WATCHED_S
    for count in (FEW, MANY):
        fill(node, count)
        late = Lateness()
        gevent.sleep(1)
        calm_ms, late.worst_ms = late.worst_ms, 0.0
        rows, took_ms = beam.eval("observer:processes(N)", N=node.name, timeout_s=120)
        figures[f"list_{count}_ms"] = took_ms
        figures[f"list_{count}_rows"] = rows
        figures[f"list_{count}_late_ms"] = late.stop()
        figures[f"calm_{count}_late_ms"] = calm_ms
    return figures


def main() -> None:
    figures = measure()
    if "--json" in sys.argv[1:]:
        print(json.dumps(figures))
        return
    table = Table("", "", title=f"Looked at by observer from a BEAM; goal: less than {GOAL:.0%} of one core")
    table.add_row(f"all tabs, {FEW:,} processes, of one core", f"{figures['watched']:.2%}")
    table.add_row("answers a second", f"{figures['answers_per_s']:.1f}")
    for count in (FEW, MANY):
        rows, took_ms = figures[f"list_{count}_rows"], figures[f"list_{count}_ms"]
        table.add_row(f"list of {rows:,.0f} processes, ms", f"{took_ms:.0f}")
        table.add_row("  everybody else held up, at worst, ms", f"{figures[f'list_{count}_late_ms']:.1f}")
        table.add_row("  the same when nobody looks, ms", f"{figures[f'calm_{count}_late_ms']:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
