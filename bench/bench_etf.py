"""The external term format: our codec beside erts' own in one run, and time per byte from 1 KB to 100 MB.

    python bench/bench_etf.py [--json] [--most MB]

Each figure is the best of several rounds; read the ratios, not the microseconds. Without ``erl`` and ``erlc`` on the
PATH the columns of erts stay empty. ``--most`` is the largest term of the second table (100 by default).
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from erlang_bridge import etf
from erlang_bridge.terms import Atom, ImproperList, Map, Pid, Reference

OURS = Pid(Atom("py@127.0.0.1"), 100, 0, 1732400000)
THEIRS = Pid(Atom("beam@127.0.0.1"), 87, 0, 1732400001)
REFERENCE = Reference(Atom("beam@127.0.0.1"), 1732400001, (12345, 67890, 1234567))
TAG = ImproperList([Atom("alias")], REFERENCE)
TRANSACTION = {
    Atom("__struct__"): Atom("Elixir.Anoma.Tx"),
    Atom("id"): b"x" * 32,
    Atom("index"): 12345,
    Atom("backend"): Atom("debug_bloblike"),
    Atom("code"): [b"a" * 40, b"b" * 40],
    Atom("nonce"): b"y" * 16,
    Atom("height"): 70000,
    Atom("ok"): True,
    Atom("parent"): None,
    Atom("cost"): 1.5,
}

MESSAGES: dict[str, Any] = {
    "small tuple": (Atom("tx"), 123456, b"z" * 32),
    "$gen_call": (Atom("$gen_call"), (THEIRS, TAG), (Atom("add"), 5)),
    "10 structs": [TRANSACTION] * 10,
    "string": list(b"hello world" * 10),
    "100k ints": list(range(1000, 101_000)),
    "10k tuples": [(Atom("k"), number, b"value") for number in range(10_000)],
    "1 MB binary": b"x" * 1_000_000,
    "big integer": (1 << 100_000) - 1,
}


def nested(wrap: Callable[[Any], Any], count: int) -> Any:
    term: Any = 1
    for _ in range(count):
        term = wrap(term)
    return term


# Name -> bytes of one element, and a term of so many elements.
SHAPES: dict[str, tuple[int, Callable[[int], Any]]] = {
    "binary": (1, lambda count: b"x" * count),
    "integer": (1, lambda count: (1 << 8 * min(count, 524_000)) - 1),
    "string": (2, lambda count: [7] * count),
    "integers": (5, lambda count: list(range(1000, 1000 + count))),
    "floats": (9, lambda count: [0.5] * count),
    "binaries": (15, lambda count: [b"0123456789"] * count),
    "tuples": (19, lambda count: [(Atom("k"), number, b"value") for number in range(count)]),
    "structs": (294, lambda count: [TRANSACTION] * count),
    "map": (15, lambda count: dict.fromkeys(range(256, 256 + count), b"value")),
    "map, list keys": (17, lambda count: Map(([number], 1) for number in range(256, 256 + min(count, 600_000)))),
    "pids": (31, lambda count: [Pid(Atom("a@127.0.0.1"), number, 0, 4) for number in range(count)]),
    "nested lists": (6, lambda count: nested(lambda inner: [inner], min(count, 2_000_000))),
    "nested maps": (8, lambda count: nested(lambda inner: {1: inner}, min(count, 1_500_000))),
}


def per_call(job: Callable[[], Any], count: int, rounds: int = 7) -> float:
    """Microseconds of processor time a call, the best of `rounds`."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        for _ in range(count):
            job()
        best = min(best, (time.process_time() - start) / count)
    return best * 1e6


def counts() -> dict[str, int]:
    """Calls in one round, so that each takes about as long."""
    return {name: max(2, 400_000 // (len(etf.encode(term)) + 200)) for name, term in MESSAGES.items()}


def erts_figures() -> dict[str, tuple[float, float]]:
    """Name -> microseconds of ``term_to_binary`` and ``binary_to_term``."""
    if not shutil.which("erl") or not shutil.which("erlc"):
        return {}
    source = Path(__file__).with_name("codec.erl")
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["erlc", "-o", directory, str(source)], check=True, timeout=60)
        terms = Path(directory, "terms")
        repeat = counts()
        terms.write_bytes(etf.encode([(name, etf.encode(term), 10 * repeat[name]) for name, term in MESSAGES.items()]))
        command = ["erl", "-noinput", "+S", "1", "-pa", directory, "-run", "codec", "main", str(terms)]
        done = subprocess.run(command, check=True, timeout=300, capture_output=True, text=True)
    lines = [line.rsplit(" ", 2) for line in done.stdout.splitlines()]
    return {name: (float(encoding), float(decoding)) for name, encoding, decoding in lines}


def beside_erts() -> list[dict[str, Any]]:
    """One row for each of `MESSAGES`."""
    theirs = erts_figures()
    rows = []
    for name, term in MESSAGES.items():
        data = etf.encode(term)
        count = counts()[name]
        row: dict[str, Any] = {
            "term": name,
            "bytes": len(data),
            "encode_us": per_call(lambda term=term: etf.encode(term), count),
            "decode_us": per_call(lambda data=data: etf.decode(data), count),
        }
        if name in theirs:
            row["erts_encode_us"], row["erts_decode_us"] = theirs[name]
        rows.append(row)
    return rows


def packets() -> list[dict[str, Any]]:
    """Whole packets: 500 at a time in, one at a time out."""
    rows = []
    for name, control, payload in (
        ("SEND_SENDER, small tuple", (22, THEIRS, OURS), MESSAGES["small tuple"]),
        ("REG_SEND, $gen_call", (6, THEIRS, Atom(""), Atom("counter")), MESSAGES["$gen_call"]),
        ("ALIAS_SEND, reply", (33, OURS, REFERENCE), (TAG, Atom("ok"))),
    ):
        packet = etf.encode_signal(control, payload)
        many = packet * 500
        cut = per_call(lambda many=many: etf.cut_signals(many, 0, 1 << 20), 5) / 500
        encode = per_call(lambda c=control, p=payload: etf.encode_signal(c, p), 1000)
        rows.append({"packet": name, "bytes": len(packet), "encode_us": encode, "cut_us": cut})
    return rows


def growth(most: int) -> list[dict[str, Any]]:
    """Nanoseconds a byte, for each of `SHAPES` and each size up to `most` bytes."""
    rows = []
    for name, (element, make) in SHAPES.items():
        row: dict[str, Any] = {"shape": name, "encode": {}, "decode": {}}
        size = 1_000
        while size <= most:
            term = make(max(1, size // element))
            data = etf.encode(term)
            if row["encode"] and len(data) < size // 4:
                break  # the shape does not get so large
            count = max(1, 200_000 // size)
            rounds = 5 if size < 10_000_000 else 1
            row["encode"][size] = per_call(lambda term=term: etf.encode(term), count, rounds) * 1000 / len(data)
            del term
            row["decode"][size] = per_call(lambda data=data: etf.decode(data), count, rounds) * 1000 / len(data)
            size *= 10
        rows.append(row)
    return rows


def show(results: dict[str, list[dict[str, Any]]], console: Console) -> None:
    table = Table("term", "bytes", "encode us", "x erts", "decode us", "x erts", title="codec beside erts")
    for row in results["beside_erts"]:
        ratios = [
            f"{row[f'{way}_us'] / row[f'erts_{way}_us']:.1f}" if f"erts_{way}_us" in row else ""
            for way in ("encode", "decode")
        ]
        cells = (
            row["term"],
            f"{row['bytes']}",
            f"{row['encode_us']:.2f}",
            ratios[0],
            f"{row['decode_us']:.2f}",
            ratios[1],
        )
        table.add_row(*cells)
    console.print(table)
    table = Table("packet", "bytes", "encode us", "cut us", title="packets")
    for row in results["packets"]:
        table.add_row(row["packet"], f"{row['bytes']}", f"{row['encode_us']:.2f}", f"{row['cut_us']:.2f}")
    console.print(table)
    sizes = sorted({size for row in results["growth"] for size in row["encode"]})
    table = Table(
        "shape",
        "",
        *(f"{size // 1000} kB" if size < 1_000_000 else f"{size // 1_000_000} MB" for size in sizes),
        title="nanoseconds a byte, by size of the term",
    )
    for row in results["growth"]:
        for way in ("encode", "decode"):
            figures = (f"{row[way][size]:.2f}" if size in row[way] else "" for size in sizes)
            table.add_row(row["shape"] if way == "encode" else "", way, *figures)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="The codec beside erts', and time per byte.")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--most", type=float, default=100, metavar="MB", help="largest term of the growth table")
    options = parser.parse_args()
    results = {"beside_erts": beside_erts(), "packets": packets(), "growth": growth(int(options.most * 1_000_000))}
    if options.json:
        print(json.dumps({"implementation": etf.__impl__, **results}, indent=2))
    else:
        show(results, Console())


if __name__ == "__main__":
    main()
