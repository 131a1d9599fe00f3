"""The process of the operating system in which matches are found and verified: ``python -m engines.solver.worker``.

It is told what to do on its standard input, and answers on its standard output; each message is four bytes of length,
and a term. It ends when its input ends, also in the middle of its work.

=========================================  ========================================================================
request                                    answers
=========================================  ========================================================================
``{offers, [Offer]}``                      none: they belong to the next problem
``{solve, TimeLimitS, Threads}``           ``{matches, [[{Offer, Lots}]]}``, some at a time, and
                                           ``{part, Preference, Bound, Offers}``, for each independent part of the
                                           problem as soon as it is solved; then ``done``
``{verify, [[Unit]]}``                     ``{verified, Problem, [Position]}``, see `batch.verify`
=========================================  ========================================================================

`Offer` is ``{[{Kind, Quantity}], [Claim], Preference, Minimum, Maximum}`` in integers: no two offers that are taken
have a claim in common. Where the answer is ``{failed, Text}``, it could not be done.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import Any, BinaryIO, Final

import ortools.sat.python.cp_model  # noqa: F401  # at the start of the process, not in its first run

from anoma.matching.problem import Match, Offer
from anoma.matching.solving import solve_parts
from anoma.resource_machine.errors import ResourceMachineError
from engines.intent_pool.intents import Unit
from engines.solver.batch import verify
from engines.solver.frames import LENGTH
from engines.wire import conversion_for
from erlang_bridge import etf
from erlang_bridge.terms import Atom

MATCHES: Final = Atom("matches")
PART: Final = Atom("part")
_SMALL: Final = 200
"""Offers in the matches of one answer: who reads them has other things to do."""
DONE: Final = Atom("done")
VERIFIED: Final = Atom("verified")
FAILED: Final = Atom("failed")


def main() -> None:
    """Do what is asked for, one request after the other."""
    # Libraries may print: that must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    offers: list[Offer] = []
    while True:
        _handle(etf.decode(requests.get()), answers, offers)


def _read(source: BinaryIO, requests: SimpleQueue[bytes]) -> None:
    while True:
        header = source.read(LENGTH.size)
        data = source.read(LENGTH.unpack(header)[0]) if len(header) == LENGTH.size else b""
        if not data:
            # Whoever wanted an answer is gone.
            os._exit(0)
        requests.put(data)


def _handle(request: Any, answers: BinaryIO, offers: list[Offer]) -> None:
    try:
        match request:
            case (Atom("offers"), list(terms)):
                offers += map(offer_of, terms)
            case (Atom("solve"), float(time_limit_s), int(threads)):
                everything = tuple(offers)
                offers.clear()
                for part in solve_parts(everything, time_limit_s, threads):
                    for matches in _some_at_a_time(part.matches):
                        _answer(answers, (MATCHES, matches))
                    _answer(answers, (PART, part.preference, part.bound, part.offers))
                _answer(answers, DONE)
            case (Atom("verify"), list(units)):
                problem, culprits = verify(_units(units))
                _answer(answers, (VERIFIED, problem, list(culprits)))
            case _:
                _answer(answers, (FAILED, b"no such request"))
    except (ValueError, RuntimeError, ResourceMachineError) as error:
        _answer(answers, (FAILED, str(error).encode()))


def _some_at_a_time(matches: Iterable[Match]) -> Iterator[list[Any]]:
    some: list[Any] = []
    size = 0
    for match in matches:
        some.append(list(match.lots))
        size += len(match.lots)
        if size >= _SMALL:
            yield some
            some, size = [], 0
    yield some


def _units(terms: list[Any]) -> list[tuple[Unit, ...]]:
    read = conversion_for(tuple[Unit, ...]).from_term
    assert read is not None
    return [read(term) for term in terms]


def _answer(answers: BinaryIO, term: Any) -> None:
    data = etf.encode(term)
    answers.write(LENGTH.pack(len(data)) + data)
    answers.flush()


def offer_of(term: Any) -> Offer:
    """The offer of a request."""
    delta, claims, preference, minimum, maximum = term
    return Offer(dict(delta), frozenset(claims), frozenset(), preference, minimum, maximum)


if __name__ == "__main__":
    main()
