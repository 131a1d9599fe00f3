"""The node's end of the process in which matches are found: starts it, talks with it, and ends it.

A crash in native code, or a run without an end, costs that run only: the process is killed, what it has found so far is
the answer, and the next run has a new process. The interpreter of the node does nothing meanwhile but wait for a pipe,
so that nobody is held up.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, Final

import gevent
import gevent.socket
from gevent.lock import Semaphore

from anoma.matching.problem import Match, Offer, Outcome, Part, check, claims, outcome_of
from engines.intent_pool.intents import Unit
from engines.solver.frames import LENGTH
from erlang_bridge import etf
from erlang_bridge.errors import BridgeError
from erlang_bridge.kernel.give_way import give_way
from erlang_bridge.terms import Atom

log = logging.getLogger("engines.solver")

GRACE_S: Final = 5.0
"""How much longer than its time limit a run may take, its start included, before it is ended."""
VERIFY_S: Final = 60.0
"""How long the verification of one match may take."""

_OFFERS: Final = Atom("offers")
_SOLVE: Final = Atom("solve")
_VERIFY: Final = Atom("verify")
_SMALL_STEP: Final = 200
"""Offers that are made into terms before others have their turn."""


class WorkerFailed(BridgeError):
    """The process has ended, or has refused what it was asked for."""


class WorkerProcess:
    """One process, started when it is needed. Several greenlets may use it, one after the other."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: Any = None
        self._turn = Semaphore()
        self._cancelled = False

    @property
    def pid(self) -> int | None:
        """Of the process; None: there is none at the moment."""
        return None if self._process is None else self._process.pid

    def solve(self, offers: Sequence[Offer], time_limit_s: float, threads: int = 1) -> Outcome:
        """The best matches for offers, oldest first; see `anoma.matching.solving.solve`.

        An answer whose process crashed, was cancelled, or did not keep to its time, has what was found before that, and
        is not optimal.

        Raises:
            WorkerFailed: it has ended without finding anything, and was not told to.
        """
        with self._turn:
            self._cancelled = False
            parts: list[Part] = []
            error: WorkerFailed | None = None
            try:
                with gevent.Timeout(time_limit_s + GRACE_S, WorkerFailed("the optimiser did not keep to its time")):
                    for terms in terms_of(offers):
                        self._send((_OFFERS, terms))
                    self._send((_SOLVE, float(time_limit_s), threads))
                    matches: list[Match] = []
                    while (answer := self._receive()) is not _DONE:
                        match answer:
                            case (Atom("matches"), list(some)):
                                matches += [Match(tuple(lots)) for lots in some]
                                give_way()
                            case (Atom("part"), int(preference), int(bound), int(size)):
                                parts.append(Part(tuple(matches), preference, bound, size))
                                matches = []
                            case _:
                                raise WorkerFailed(f"the optimiser's process answers {answer!r:.80}")
            except WorkerFailed as failed:
                error = failed
            finally:
                # Half-way through an answer nobody could tell where the next one begins.
                if error is not None or sys.exc_info()[0] is not None:
                    self.close()
            if error is not None and not parts and not self._cancelled:
                raise error
            if error is not None and not self._cancelled:
                log.warning("a run of the optimiser ended early, with %d parts solved: %s", len(parts), error)
            return _outcome(offers, parts, complete=error is None)

    def verify(self, units: Sequence[tuple[Unit, ...]]) -> tuple[str | None, tuple[int, ...]]:
        """Whether units can be submitted together; see `batch.verify`.

        Raises:
            WorkerFailed: it has ended, or did not answer in time.
        """
        with self._turn:
            done = False
            try:
                with gevent.Timeout(VERIFY_S, WorkerFailed("the verification of a match did not end in time")):
                    self._send((_VERIFY, [list(of_one) for of_one in units]))
                    _, problem, culprits = self._receive()
                done = True
            finally:
                if not done:
                    self.close()
            return None if problem is None else problem.decode(), tuple(culprits)

    def cancel(self) -> None:
        """End the run that is under way: its answer is what it has found so far."""
        self._cancelled = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the process. The next request starts another one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        # Whoever reads from it hears of that.
        self._socket.close()
        # Killed is gone: this takes no longer than the system needs for that.
        process.wait()

    # -- the socket -------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._process is None:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            # A session of its own: what a terminal sends to the node, the node decides about.
            ours, its = socket.socketpair()
            with its:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "engines.solver.worker"],
                    stdin=its.fileno(),
                    stdout=its.fileno(),
                    env=environment,
                    start_new_session=True,
                )
            self._socket = gevent.socket.socket(fileno=ours.detach())

    def _send(self, request: Any) -> None:
        data = etf.encode(request)
        self._start()
        try:
            self._socket.sendall(LENGTH.pack(len(data)) + data)
        except OSError as error:
            raise WorkerFailed(f"the optimiser's process has ended: {error}") from None

    def _receive(self) -> Any:
        size = LENGTH.unpack(self._read(LENGTH.size))[0]
        answer = etf.decode(self._read(size))
        match answer:
            case (Atom("failed"), bytes(text)):
                raise WorkerFailed(f"the optimiser refuses: {text.decode()}")
        return answer

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                more = self._socket.recv(size - len(data))
            except OSError as error:
                raise WorkerFailed(f"the optimiser's process has ended: {error}") from None
            if not more:
                raise WorkerFailed("the optimiser's process has ended")
            data += more
        return bytes(data)


_DONE: Final = Atom("done")


def terms_of(offers: Sequence[Offer]) -> Iterator[list[Any]]:
    """Offers in integers, as the process takes them, some at a time; others have their turn in between."""
    kinds: dict[Any, int] = {}
    claimed: dict[Hashable, int] = {}
    terms: list[Any] = []
    for offer in offers:
        if len(terms) == _SMALL_STEP:
            yield terms
            give_way()
            terms = []
        delta = [(kinds.setdefault(kind, len(kinds)), quantity) for kind, quantity in offer.delta.items() if quantity]
        claim = [claimed.setdefault(one, len(claimed)) for one in claims(offer)]
        terms.append((delta, claim, offer.preference, offer.minimum, offer.maximum))
    yield terms


def _outcome(offers: Sequence[Offer], parts: list[Part], complete: bool) -> Outcome:
    outcome = outcome_of(parts)
    # The process is not trusted: what does not balance here is none of its answers.
    preference = check(offers, _one_at_a_time(outcome.matches))
    bound = outcome.bound
    if not complete:
        bound = sum(max(offer.preference, 0) * offer.maximum for offer in offers)
    return Outcome(outcome.matches, preference, preference == bound, bound)


def _one_at_a_time(matches: Iterable[Match]) -> Iterator[Match]:
    size = 0
    for match in matches:
        yield match
        size += len(match.lots)
        if size >= _SMALL_STEP:
            give_way()
            size = 0


__all__ = ["WorkerFailed", "WorkerProcess", "terms_of"]
