"""What the Solver takes and sends.

===================  ===============================================  ==================
message              what it asks for                                 reply
===================  ===============================================  ==================
`StatusRequest`      how it stands                                    `StatusReply`
`UnsolvedRequest`    the intents that are in no match                 `UnsolvedReply`
`StopSolving`        use what the run under way has found so far      none
===================  ===============================================  ==================

With the pool and the worker it speaks their messages.

Source: Anoma's Elixir node, ``intents/solver.ex``; nspec v0.2.0 has no engine that solves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from engines.executor.messages import ExecutorFinished
from engines.intent_pool.intents import Intent
from engines.intent_pool.messages import AllIntentsReply, IntentAdded, IntentRefused, IntentRemoved
from engines.mempool_worker.messages import TransactionAck, TransactionRejected, TransactionStatus
from engines.messages import Message
from engines.solver.batch import Verified


class SolverMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "solver"


@dataclass(frozen=True, slots=True)
class StatusRequest(SolverMessage):
    """Ask how the solver stands."""


@dataclass(frozen=True, slots=True)
class StatusReply(SolverMessage):
    """How the solver stands.

    Attributes:
        unsolved: how many intents are in no match.
        solving: how many of them are in the run under way.
        in_flight: how many are in matches that are submitted, and still in the pool.
        submitted: how many matches have been submitted.
        succeeded: how many of them have been executed.
        failed: how many of them have not.
        optimal: whether the last run has found the best answer; otherwise its time was up.
        problem: what went wrong last, in words.
    """

    unsolved: int
    solving: int
    in_flight: int
    submitted: int
    succeeded: int
    failed: int
    optimal: bool = True
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class UnsolvedRequest(SolverMessage):
    """Ask for the intents that are in no match."""


@dataclass(frozen=True, slots=True)
class UnsolvedReply(SolverMessage):
    """The intents that are in no match.

    Attributes:
        intents: oldest first.
    """

    intents: tuple[Intent, ...]


@dataclass(frozen=True, slots=True)
class StopSolving(SolverMessage):
    """End the run that is under way: what it has found so far is used."""


# -- what the solver has done outside of it, and hears of that: never over the wire -------------


@dataclass(frozen=True, slots=True)
class Solve:
    """Find the matches among intents, and verify them. `Solved` or `SolveFailed` comes of it.

    Attributes:
        batch: its number.
        intents: oldest first.
    """

    batch: int
    intents: tuple[Intent, ...]
    time_limit_s: float
    threads: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the run that is under way."""


@dataclass(frozen=True, slots=True)
class Solved(SolverMessage):
    """What a `Solve` has found.

    Attributes:
        batch: its number.
        matches: no intent is in two of them.
        optimal: whether there is no better answer.
    """

    batch: int
    matches: tuple[Verified, ...]
    optimal: bool = True


@dataclass(frozen=True, slots=True)
class SolveFailed(SolverMessage):
    """A `Solve` has found nothing, since something went wrong.

    Attributes:
        batch: its number.
        text: what.
    """

    batch: int
    text: str


MESSAGES: Final[tuple[type[Message], ...]] = (
    StatusRequest,
    StatusReply,
    UnsolvedRequest,
    UnsolvedReply,
    StopSolving,
    AllIntentsReply,
    IntentAdded,
    IntentRemoved,
    IntentRefused,
    TransactionAck,
    TransactionRejected,
    TransactionStatus,
    ExecutorFinished,
)
