"""Matching intents: the optimiser beside exhaustive search, sizes to thousands, and what others on the node notice.

    python bench/bench_solver.py [--json]

Exhaustive search is what Anoma's Elixir node does; where it can finish, the answers are compared. Each market is made
from a fixed seed, so that two runs solve the same problems. The start of the optimiser's process is not in its times.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import gevent
from rich.console import Console
from rich.table import Table

from anoma.matching.exhaustive import exhaustive
from anoma.matching.problem import Offer, Outcome, check
from anoma.matching.solving import solve
from engines.solver.worker_process import WorkerProcess

SEED = 7
TIME_LIMIT_S = 20.0
SMALL = (8, 12, 16, 20)
LARGE = (1000, 5000)


def numbers(count: int, chances: random.Random) -> list[Offer]:
    """DumbIntents: one kind, up to a hundred of it."""
    return [Offer({0: chances.randint(1, 100) * chances.choice((-1, 1))}) for _ in range(count)]


def swaps(count: int, chances: random.Random) -> list[Offer]:
    """One of a kind for one of another, of a hundred kinds: rings have to be found."""
    return [_swap(chances, kinds=100) for _ in range(count)]


def preferences(count: int, chances: random.Random) -> list[Offer]:
    """The same, each worth something else."""
    return [_swap(chances, kinds=100, preference=chances.randint(1, 1000)) for _ in range(count)]


def quantities(count: int, chances: random.Random) -> list[Offer]:
    """One to five of a kind for one to five of another, of thirty kinds."""
    made = []
    for _ in range(count):
        gives, wants = chances.sample(range(30), 2)
        made.append(Offer({gives: -chances.randint(1, 5), wants: chances.randint(1, 5)}))
    return made


def alternatives(count: int, chances: random.Random) -> list[Offer]:
    """One of a kind for one of three others, in the order of preference."""
    made = []
    for group in range(count // 3):
        gives, *wants = chances.sample(range(50), 4)
        made += [Offer({gives: -1, kind: 1}, preference=3 - place, group=group) for place, kind in enumerate(wants)]
    return made


def conflicts(count: int, chances: random.Random) -> list[Offer]:
    """Half of them want to consume a resource that another one wants as well."""
    made = []
    for _ in range(count):
        resource = frozenset({chances.randrange(count // 2)})
        made.append(_swap(chances, kinds=50, preference=chances.randint(1, 10), nullifiers=resource))
    return made


def lots(count: int, chances: random.Random) -> list[Offer]:
    """Orders that can be filled in part, up to fifty lots, at five prices, of six kinds."""
    made = []
    for _ in range(count):
        gives, wants = chances.sample(range(6), 2)
        price = chances.choice([(1, 1), (2, 1), (1, 2), (3, 2), (2, 3)])
        made.append(Offer({gives: -price[0], wants: price[1]}, maximum=chances.randint(1, 50)))
    return made


def huge(count: int, chances: random.Random) -> list[Offer]:
    """Three belong together, in quantities of a hundred bits, of twenty kinds."""
    made = []
    for _ in range(count // 3):
        gives, wants = chances.sample(range(20), 2)
        parts = [(chances.getrandbits(100), chances.getrandbits(100)) for _ in range(2)]
        made += [Offer({gives: one, wants: other}) for one, other in parts]
        made.append(Offer({gives: -sum(one for one, _ in parts), wants: -sum(other for _, other in parts)}))
    chances.shuffle(made)
    return made


def _swap(chances: random.Random, kinds: int, **more: Any) -> Offer:
    gives, wants = chances.sample(range(kinds), 2)
    return Offer({gives: -1, wants: 1}, **more)


MARKETS: tuple[Callable[[int, random.Random], list[Offer]], ...] = (
    numbers,
    swaps,
    preferences,
    quantities,
    alternatives,
    conflicts,
    lots,
    huge,
)


def timed(search: Callable[[], Outcome]) -> tuple[float, Outcome]:
    started = time.perf_counter()
    outcome = search()
    return time.perf_counter() - started, outcome


def taken(outcome: Outcome) -> int:
    return sum(len(match.lots) for match in outcome.matches)


def against_exhaustive_search() -> list[dict[str, Any]]:
    rows = []
    for count in SMALL:
        offers = numbers(count, random.Random(SEED))
        brute_s, expected = timed(lambda offers=offers: exhaustive(offers))  # type: ignore[misc]
        ours_s, outcome = timed(lambda offers=offers: solve(offers, TIME_LIMIT_S))  # type: ignore[misc]
        rows.append(
            {
                "intents": count,
                "matched": taken(outcome),
                "exhaustive_s": brute_s,
                "optimiser_s": ours_s,
                "exhaustive_per_s": taken(expected) / brute_s,
                "optimiser_per_s": taken(outcome) / ours_s,
                "same": expected.preference == outcome.preference == check(offers, outcome.matches),
            }
        )
    return rows


def markets() -> list[dict[str, Any]]:
    rows = []
    for market in MARKETS:
        for count in LARGE:
            offers = market(count, random.Random(SEED))
            took_s, outcome = timed(lambda offers=offers: solve(offers, TIME_LIMIT_S))  # type: ignore[misc]
            assert check(offers, outcome.matches) == outcome.preference
            rows.append(
                {
                    "market": market.__name__,
                    "intents": len(offers),
                    "matched": taken(outcome),
                    "matches": len(outcome.matches),
                    "seconds": took_s,
                    "per_s": taken(outcome) / took_s,
                    "optimal": outcome.optimal,
                    "gap": outcome.bound - outcome.preference,
                }
            )
    return rows


class Others:
    """Somebody else on the node, who wants to run every millisecond."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            began = time.perf_counter()
            gevent.sleep(0.001)
            self.late_ms.append((time.perf_counter() - began) * 1000 - 1)

    def end(self) -> dict[str, float]:
        self._greenlet.kill()
        ordered = sorted(self.late_ms)
        return {
            "median_ms": ordered[len(ordered) // 2],
            "p99_ms": ordered[len(ordered) * 99 // 100],
            "worst_ms": ordered[-1],
        }


def latency() -> list[dict[str, Any]]:
    """How late others are: while nothing is solved, in another process, in a thread, and in the node itself."""
    offers = preferences(5000, random.Random(SEED))
    process = WorkerProcess()
    process.solve(offers[:2], TIME_LIMIT_S)
    ways: dict[str, Callable[[], Any]] = {
        "nothing": lambda: gevent.sleep(3),
        "process": lambda: process.solve(offers, TIME_LIMIT_S),
        "thread": lambda: gevent.get_hub().threadpool.apply(solve, (offers, TIME_LIMIT_S)),
        "node itself": lambda: solve(offers, TIME_LIMIT_S),
    }
    # A node does not keep what this program has made for its other figures, and does not look through it.
    gc.collect()
    gc.freeze()
    rows = []
    for name, run in ways.items():
        others = Others()
        gevent.sleep(0.05)
        run()
        rows.append({"solved in": name, **others.end()})
    process.close()
    return rows


def main() -> None:
    figures = {"exhaustive": against_exhaustive_search(), "markets": markets(), "latency": latency()}
    if "--json" in sys.argv[1:]:
        print(json.dumps(figures, indent=2))
        return
    titles = {
        "exhaustive": "One kind, beside exhaustive search",
        "markets": f"Markets; at most {TIME_LIMIT_S:g} s each",
        "latency": "How late others are while 5000 intents are solved",
    }
    for name, rows in figures.items():
        table = Table(*rows[0], title=titles[name])
        for row in rows:
            table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
        Console().print(table)


if __name__ == "__main__":
    main()
