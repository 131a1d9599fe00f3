"""Nock: evaluations per second beside the textbook's evaluator in one run, and jam, cue and mug of nouns of 1 MB.

    python bench/bench_nock.py [--json]

An evaluation is one reduction of the rules, as gas counts it: the peer, written here, does them one by one by calling
itself. Read the ratios; figures are the best of several rounds, in processor time.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from anoma.nock.evaluator import Evaluation, Running, metered_nock
from anoma.nock.jam import cue, jam
from anoma.nock.library import arm, layer
from anoma.nock.mug import mug
from anoma.nock.noun import Cell, Noun, noun, parse_noun, same

CALL = parse_noun("[9 2 0 1]")
DECREMENT = parse_noun("[8 [1 0] 8 [1 6 [5 [0 30] 4 0 6] [0 6] 9 2 10 [6 4 0 6] 0 1] 9 2 0 1]")
ACKERMANN = parse_noun(
    """
    [6 [5 [1 0] 0 12] [4 0 13]
     6 [5 [1 0] 0 13] [9 2 10 [6 [9 2 10 [6 0 12] 0 7] 1 1] 0 1]
     9 2 10 [6 [9 2 10 [6 0 12] 0 7] 9 2 10 [13 9 2 10 [6 0 13] 0 7] 0 1] 0 1]
    """
)


def textbook(s: Any, f: Any) -> Any:
    """Nock 4K by its rules. Calls in tail position are a loop, or Python's stack would end it at once."""
    while True:
        operation, rest = f.head, f.tail
        if type(operation) is Cell:
            return Cell(textbook(s, operation), textbook(s, rest))
        if operation == 0:
            return slot(rest, s)
        if operation == 1:
            return rest
        if operation == 2:
            s, f = textbook(s, rest.head), textbook(s, rest.tail)
        elif operation == 3:
            return 0 if type(textbook(s, rest)) is Cell else 1
        elif operation == 4:
            return textbook(s, rest) + 1
        elif operation == 5:
            return 0 if textbook(s, rest.head) == textbook(s, rest.tail) else 1
        elif operation == 6:
            f = rest.tail.tail if textbook(s, rest.head) else rest.tail.head
        elif operation == 7:
            s, f = textbook(s, rest.head), rest.tail
        elif operation == 8:
            s, f = Cell(textbook(s, rest.head), s), rest.tail
        elif operation == 9:
            s = textbook(s, rest.tail)
            f = slot(rest.head, s)
        elif operation == 10:
            value = textbook(s, rest.head.tail)
            return put(rest.head.head, value, textbook(s, rest.tail))
        else:
            f = rest.tail


def slot(axis: int, tree: Any) -> Any:
    if axis == 1:
        return tree
    above = slot(axis >> 1, tree)
    return above.tail if axis & 1 else above.head


def put(axis: int, value: Any, tree: Any) -> Any:
    if axis == 1:
        return value
    other = slot(axis ^ 1, tree)
    return put(axis >> 1, Cell(other, value) if axis & 1 else Cell(value, other), tree)


def seconds(job: Callable[[], Any], rounds: int = 5) -> float:
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        job()
        best = min(best, time.process_time() - start)
    return best


def evaluations() -> list[dict[str, Any]]:
    decrement = noun(DECREMENT, 20_000, 0)
    ackermann = noun(ACKERMANN, (2, 25), (DECREMENT, 0, 0))
    dec = arm(layer(1), 342)
    rows = []
    for name, core, peer in (
        ("decrement 20,000", decrement, textbook),
        ("Ackermann(2, 25)", ackermann, textbook),
        ("the library's dec of 20,000, no jet", Cell(dec.head, Cell(20_000, dec.tail.tail)), textbook),  # type: ignore[union-attr]
    ):
        done = metered_nock(core, CALL, jets=False)
        assert peer(core, CALL) == done.noun
        own = seconds(lambda core=core: metered_nock(core, CALL, jets=False))
        theirs = seconds(lambda core=core, peer=peer: peer(core, CALL), 3)
        rows.append(
            {
                "evaluation": name,
                "reductions": done.gas,
                "per_second": done.gas / own,
                "textbook_per_second": done.gas / theirs,
            }
        )
    core = Cell(dec.head, Cell(20_000, dec.tail.tail))  # type: ignore[union-attr]
    rows.append(
        {"evaluation": "the library's dec of 20,000, jet", "seconds": seconds(lambda: metered_nock(core, CALL))}
    )
    return rows


def suspended() -> dict[str, Any]:
    """What it costs to stop an evaluation every so many steps."""
    core = noun(DECREMENT, 20_000, 0)

    def run(steps: int) -> None:
        outcome = Evaluation.start(core, CALL).run(steps)
        while isinstance(outcome, Running):
            outcome = outcome.evaluation.run(steps)

    whole = seconds(lambda: run(10**9))
    return {f"every {steps} steps": seconds(lambda steps=steps: run(steps)) / whole for steps in (1000, 100, 10)}


def megabytes() -> list[dict[str, Any]]:
    source = random.Random(1)

    def tree(depth: int, bits: int) -> Noun:
        return source.getrandbits(bits) if depth == 0 else Cell(tree(depth - 1, bits), tree(depth - 1, bits))

    def row(count: int) -> Noun:
        built: Noun = 0
        for _ in range(count):
            built = Cell(source.getrandbits(source.randint(0, 40)), built)
        return built

    shapes = {
        "one atom": source.getrandbits(8_000_000),
        "16,384 atoms of 64 bytes": tree(14, 470),
        "a list of 270,000 numbers": row(270_000),
        "half a million small atoms": tree(19, 8),
    }
    rows = []
    for name, built in shapes.items():
        data = jam(built)
        assert same(cue(data), built)
        rows.append(
            {
                "noun": name,
                "bytes": len(data),
                "cue_s": seconds(lambda data=data: cue(data), 3),
                "jam_s": seconds(lambda built=built: jam(built), 3),
                "mug_s": seconds(lambda data=data: mug(cue(data)), 1),
            }
        )
    return rows


def show(results: dict[str, Any], console: Console) -> None:
    table = Table("evaluation", "reductions", "million / s", "textbook", "x textbook", title="Nock")
    for row in results["evaluations"]:
        if "per_second" not in row:
            table.add_row(row["evaluation"], "", f"{row['seconds'] * 1e6:.1f} us", "", "")
            continue
        own, theirs = row["per_second"], row["textbook_per_second"]
        cells = (f"{row['reductions']:,}", f"{own / 1e6:.2f}", f"{theirs / 1e6:.2f}", f"{own / theirs:.1f}")
        table.add_row(row["evaluation"], *cells)
    console.print(table)
    table = Table("stopped", "x time", title="an evaluation that is stopped and goes on")
    for name, ratio in results["suspended"].items():
        table.add_row(name, f"{ratio:.2f}")
    console.print(table)
    table = Table("noun", "bytes", "cue s", "jam s", "cue and mug s", title="nouns")
    for row in results["megabytes"]:
        figures = (f"{row[f'{what}_s']:.3f}" for what in ("cue", "jam", "mug"))
        table.add_row(row["noun"], f"{row['bytes']:,}", *figures)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Nock beside the textbook's evaluator; jam, cue and mug of 1 MB.")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    results = {"evaluations": evaluations(), "suspended": suspended(), "megabytes": megabytes()}
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        show(results, Console())


if __name__ == "__main__":
    main()
