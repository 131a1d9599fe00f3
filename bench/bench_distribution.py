"""A BEAM talks to our node and to another BEAM, in one run: round trips, calls, one-way messages, large terms.

    python bench/bench_distribution.py [--json]

The driver is the same Erlang code (`distribution.erl`), on one scheduler, as is the BEAM beside us. Read the ratios.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from erlang_bridge import GenServer, Node, NoReply, Reply
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.epmd import Epmd
from erlang_bridge.testing.modules import compile_erlang
from erlang_bridge.testing.programs import free_port
from erlang_bridge.testing.releases import find_releases

JOBS = {
    "round_trip_us": "round trip of {tx, 1, <<1:256>>}",
    "call_us": "gen_server:call, one caller",
    "call_100_us": "gen_server:call, 100 callers",
    "one_way_us": "one-way message of one sender",
    "one_way_64k_us": "one-way binary of 64 KiB",
    "echo_1m_us": "echo of a binary of 1 MB",
    "echo_list_us": "echo of a list of 10,000 tuples",
}


class Echo(GenServer):
    def handle_info(self, message: Any, state: Any) -> Any:
        self.send(message[0], message[1])
        return NoReply(state)


class Sink(GenServer):
    def init(self, args: Any) -> int:
        return 0

    def handle_call(self, request: Any, caller: Any, state: int) -> Any:
        return Reply(state, state)

    def handle_info(self, message: Any, state: int) -> Any:
        return NoReply(state + 1)


def measure() -> dict[str, dict[str, float]]:
    release = next(found for found in find_releases() if found.compiler)
    source = Path(__file__).with_name("distribution.erl").read_text()
    module = compile_erlang(release, source)
    one_scheduler = ["+S", "1:1"]
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        epmd = Epmd(release, free_port(), directory)
        epmd.start()
        options: dict[str, Any] = {"epmd_port": epmd.port, "directory": directory, "arguments": one_scheduler}
        try:
            with (
                Beam(release, **options) as driver,
                Beam(release, **options) as other,
                Node("bench@127.0.0.1", cookie="chocolate", epmd_port_number=epmd.port) as node,
            ):
                for beam in (driver, other):
                    beam.load_module(module)
                other.eval("distribution:start_peer()")
                node.start(Echo, name="echo")
                node.start(Sink, name="sink")
                run = "distribution:run(N)"
                theirs = driver.eval(run, N=other.node, timeout_s=120)
                ours = driver.eval(run, N=node.name, timeout_s=120)
        finally:
            epmd.stop()
    return {
        "ours": {key.name: value for key, value in ours},
        "otp": {key.name: value for key, value in theirs},
    }


def main() -> None:
    results = measure()
    if "--json" in sys.argv[1:]:
        print(json.dumps(results))
        return
    table = Table("", "pyanoma", "BEAM", "pyanoma / BEAM", title="A BEAM and its peer, us for each, best of three")
    for name, what in JOBS.items():
        ours, theirs = results["ours"][name], results["otp"][name]
        table.add_row(what, f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
