"""The Solver as a process, and what others call to use it.

From Erlang::

    {status_reply, #{unsolved := N}} = gen_server:call({solver, 'py@127.0.0.1'}, status_request).
"""

from __future__ import annotations

import logging
from typing import Any

from engines.engine import Client, Engine, ask, tell
from engines.intent_pool.intents import Intent
from engines.messages import Message
from engines.solver.batch import Offers, Verified, units_taken
from engines.solver.behaviour import BEHAVIOUR
from engines.solver.messages import (
    Cancel,
    Solve,
    Solved,
    SolveFailed,
    StatusReply,
    StatusRequest,
    StopSolving,
    UnsolvedRequest,
)
from engines.solver.worker_process import WorkerFailed, WorkerProcess
from erlang_bridge import OwnProcess
from erlang_bridge.kernel.give_way import give_way

log = logging.getLogger("engines.solver")

SOLVER = "solver"
"""The name that a node's own Solver is registered under."""

_SMALL_STEP = 50
"""Intents that are looked at before others have their turn."""


def status(client: Client, solver: Any = SOLVER, timeout_s: float | None = 5.0) -> StatusReply:
    """How it stands.

    Raises:
        ErlangExit: no answer.
    """
    reply: StatusReply = ask(client, solver, StatusRequest(), timeout_s)
    return reply


def unsolved(client: Client, solver: Any = SOLVER, timeout_s: float | None = 5.0) -> tuple[Intent, ...]:
    """The intents that are in no match, oldest first.

    Raises:
        ErlangExit: no answer.
    """
    intents: tuple[Intent, ...] = ask(client, solver, UnsolvedRequest(), timeout_s).intents
    return intents


def stop_solving(client: Client, solver: Any = SOLVER) -> None:
    """Have the run that is under way end: what it has found so far is used. Does not wait."""
    tell(client, solver, StopSolving())


class Solver(Engine):
    """Finds intents that balance together, and submits them."""

    engine = BEHAVIOUR
    apart = (Solve,)

    def init(self, args: Any) -> Any:
        self._worker = WorkerProcess()
        # Lives as long as the solver does, however that ends, and takes the other process with it.
        self.node.spawn(_hold, self._worker, link=True)
        return super().init(args)

    def perform(self, operation: Any, own: OwnProcess) -> Message | None:
        if isinstance(operation, Cancel):
            self._worker.cancel()
            return None
        assert isinstance(operation, Solve)
        try:
            return self._solve(operation)
        except WorkerFailed as error:
            log.error("a run over %d intents failed: %s", len(operation.intents), error)
            return SolveFailed(operation.batch, str(error))

    def _solve(self, run: Solve) -> Solved:
        problem = Offers(())
        for number, _ in enumerate(problem.extend(run.intents)):
            if number % _SMALL_STEP == _SMALL_STEP - 1:
                give_way()
        outcome = self._worker.solve(problem.offers, run.time_limit_s, run.threads)
        matches = []
        for match in outcome.matches:
            taken = problem.taken(match)
            text, culprits = self._worker.verify(units_taken(run.intents, taken))
            if text is not None:
                log.warning("a match of %d intents is refused: %s", len(taken), text)
            matches.append(Verified(taken, text, tuple(taken[number].intent for number in culprits)))
            give_way()
        return Solved(run.batch, tuple(matches), outcome.optimal)


def _hold(own: OwnProcess, worker: WorkerProcess) -> None:
    try:
        while True:
            own.receive()
    finally:
        worker.close()
