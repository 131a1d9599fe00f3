"""What the Solver does: gathers intents, has matches found among them, and submits each match as one transaction.

Intents that come shortly after each other are solved together. One run is under way at a time, outside of the node's
interpreter. Each match that the resource machine verifies is composed and sent to the mempool worker; its intents are
in flight until the pool drops them. A match that fails gives its intents back; they are tried again later, and each
time later than that.

Pure: functions of environment and message to effects.

Differences from the specification, which has no engine that solves, and from the Elixir node:

* All matches of a run are found together, and are the best: by integer programming. There all subsets are tried until
  one balances.
* Submitting does not wait; there the solver hears nothing until its transaction is in the mempool, without a limit.
* A transaction that fails gives its intents back; there they are lost to the solver.
* An intent that is taken out of the pool is not used any more; there it is.
* A match of DumbIntents, which is no transaction, takes them out of the pool; there it does nothing.

Source: Anoma's Elixir node, ``intents/solver.ex``; nspec v0.2.0, "Intents".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

from anoma.keys import in_order
from anoma.persistent_map import PersistentMap
from anoma.resource_machine.execution import label_of
from anoma.resource_machine.transaction import Transaction
from engines.effects import Effects, SetTimer, Watch
from engines.executor.messages import ExecutorFinished
from engines.guards import (
    Elapsed,
    Ended,
    EngineBehaviour,
    First,
    Turn,
    on,
    on_elapsed,
    on_ended,
    on_outcome,
    on_started,
)
from engines.intent_pool.intents import Intent, Unit, after_taking
from engines.intent_pool.messages import (
    AllIntentsReply,
    IntentAdded,
    IntentRemoved,
    NewIntent,
    RemoveIntent,
    Subscribe,
    TransactionExecuted,
)
from engines.mempool_worker.messages import (
    Rejection,
    Stage,
    TransactionAck,
    TransactionCandidate,
    TransactionLabel,
    TransactionRejected,
    TransactionRequest,
    TransactionStatus,
    TransactionStatusRequest,
)
from engines.messages import EngineID, Envelope
from engines.solver.batch import Taken, Verified, composed
from engines.solver.messages import (
    MESSAGES,
    Cancel,
    Solve,
    Solved,
    SolveFailed,
    StatusReply,
    StatusRequest,
    StopSolving,
    UnsolvedReply,
    UnsolvedRequest,
)
from engines.wire import Value, settings_from
from erlang_bridge.terms import Atom, Reference

GATHER: Final = "gather"
"""Handle of the timer after which what has gathered is solved."""
POLL: Final = "poll"
"""Handle of the timer after which the worker is asked what has become of the submitted."""
POOL: Final = "pool"
"""Handle of the timer after which a pool that was gone is looked for again."""

POLL_S: Final = 5.0
POOL_S: Final = 1.0
FIRST_PAUSE_S: Final = 1.0
"""How long an intent rests after its match has failed; four times longer each time."""
LONGEST_PAUSE_S: Final = 600.0

ID_SIZE: Final = 16


def candidate_of(unit: Unit, id: bytes) -> TransactionCandidate | None:
    """The transaction of the node that a match is; None: it is none, and nothing is submitted.

    Args:
        unit: the composition.
        id: tells the transaction apart from all others.
    """
    if not isinstance(unit, Transaction):
        return None
    label = label_of(unit)
    keys = TransactionLabel(read=tuple(in_order(label.eager_reads)), write=tuple(in_order(label.will_writes)))
    return TransactionCandidate(keys, (Atom("resource_machine"), unit), id)


@dataclass(frozen=True, slots=True)
class SolverSettings(Value):
    """What it can be started with; all of it has defaults.

    Attributes:
        pool: the Intent Pool: a name on the same node, or a name and a node.
        worker: the Mempool Worker; likewise.
        gather_ms: how long intents are gathered before they are solved together.
        time_limit_ms: how long the optimiser may look for the best answer; then the best so far is used.
        threads: of the optimiser. More than one is faster on hard problems, and may choose among equals differently.
        most: how many intents are solved together; the oldest are.
        candidate: of a composition and an id, the transaction that it is submitted as, with that id; a Python function,
            see `candidate_of`.
    """

    pool: str | EngineID = "intent_pool"
    worker: str | EngineID = "mempool_worker"
    gather_ms: int = 200
    time_limit_ms: int = 10_000
    threads: int = 1
    most: int = 20_000
    candidate: Any = candidate_of

    def address(self, engine: str | EngineID) -> EngineID:
        return EngineID(None, engine) if isinstance(engine, str) else engine


@dataclass(frozen=True, slots=True)
class Known:
    """An intent of the pool.

    Attributes:
        serial: its number there.
        failures: how many matches with it have failed.
        rests_until: it is in no run before, in seconds since 1970-01-01 UTC.
        submission: the match that it is in flight with.
    """

    serial: int
    failures: int = 0
    rests_until: float = 0.0
    submission: int | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A match that has been submitted.

    Attributes:
        intents: those that it is made of.
        id: of the transaction, chosen here.
        nullifiers, commitments: of what is submitted.
        fingerprint: of the transaction; None: it is not accepted yet.
        since: when it was sent, in seconds since 1970-01-01 UTC.
    """

    intents: tuple[Intent, ...]
    candidate: TransactionCandidate
    id: bytes
    nullifiers: frozenset[bytes]
    commitments: frozenset[bytes]
    since: float
    fingerprint: int | None = None


@dataclass(frozen=True, slots=True)
class SolverState:
    """State of a Solver.

    Attributes:
        known: the intents of the pool.
        batch: number of the last run.
        running: the intents of the run under way, oldest first; none: there is none.
        gathering: whether the timer is set after which intents are solved.
        fresh: something has come since the last run began that could make another answer.
        submissions: by number, those of which it is not known how they have ended.
        of_fingerprint: which submission a transaction is.
        of_id: the same, by the transaction's own name.
        submitted, succeeded, failed: matches, counted.
        optimal: whether the last run has found the best answer.
        problem: what went wrong last.
    """

    known: PersistentMap[Intent, Known] = PersistentMap()  # noqa: RUF009  # immutable
    batch: int = 0
    running: tuple[Intent, ...] = ()
    gathering: bool = False
    fresh: bool = False
    submissions: PersistentMap[int, Submission] = PersistentMap()  # noqa: RUF009  # immutable
    of_fingerprint: PersistentMap[int, int] = PersistentMap()  # noqa: RUF009  # immutable
    of_id: PersistentMap[bytes, int] = PersistentMap()  # noqa: RUF009  # immutable
    submitted: int = 0
    succeeded: int = 0
    failed: int = 0
    optimal: bool = True
    problem: str | None = None


SolverTurn = Turn[SolverState]
SolverEffects = Effects[SolverState]


def start(args: Any) -> tuple[SolverSettings, SolverState]:
    """The settings, see `SolverSettings`, and the first state.

    Raises:
        ValueError: what cannot be settings.
    """
    settings = settings_from(SolverSettings, args)
    if not callable(settings.candidate):
        raise ValueError(f"expected a function as candidate, got {settings.candidate!r}")
    if settings.gather_ms < 0 or settings.time_limit_ms < 1 or settings.threads < 1 or settings.most < 1:
        raise ValueError("expected a gather_ms of at least 0, and time_limit_ms, threads and most of at least 1")
    return settings, SolverState()


# -- the pool ---------------------------------------------------------------------------------


def subscribe(turn: SolverTurn, _args: None) -> SolverEffects:
    """Ask the pool for its intents, and for news from then on."""
    pool = _pool(turn)
    return Effects(turn.state, messages=(turn.send(pool, Subscribe()),), watches=(Watch(pool),))


def take_over(turn: SolverTurn, _args: None) -> SolverEffects:
    """Know what the pool keeps, and nothing else. What was in flight still is."""
    message = turn.message
    assert isinstance(message, AllIntentsReply)
    before = turn.state.known
    known: PersistentMap[Intent, Known] = PersistentMap()
    for serial, intent in message.intents:
        known = known.put(intent, replace(before.get(intent, Known(serial)), serial=serial))
    return _gather(turn, replace(turn.state, known=known, fresh=True))


def intent_added(turn: SolverTurn, _args: None) -> SolverEffects:
    """Solve it soon, with those that come shortly after it."""
    message = turn.message
    assert isinstance(message, IntentAdded)
    state = turn.state
    entry = replace(state.known.get(message.intent, Known(message.serial)), serial=message.serial)
    return _gather(turn, replace(state, known=state.known.put(message.intent, entry), fresh=True))


def intent_removed(turn: SolverTurn, _args: None) -> SolverEffects:
    """Use it no more."""
    message = turn.message
    assert isinstance(message, IntentRemoved)
    return Effects(replace(turn.state, known=turn.state.known.without(message.intent)))


def engine_ended(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """Look for a pool that has ended again in a while."""
    trigger = turn.trigger
    assert isinstance(trigger, Ended)
    if trigger.address != _pool(turn):
        return None
    return Effects(turn.state, timers=(SetTimer(POOL, POOL_S),))


# -- a run ------------------------------------------------------------------------------------


def elapsed(turn: SolverTurn, _args: None) -> SolverEffects:
    """Solve what has gathered, ask what has become of the submitted, look for the pool."""
    trigger = turn.trigger
    assert isinstance(trigger, Elapsed)
    effects: SolverEffects = Effects(turn.state)
    for handle in trigger.handles:
        step = {GATHER: _solve, POLL: _poll, POOL: _subscribe_again}[str(handle)]
        effects = effects.then(step(turn, effects.state))
    return effects


def solved(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """Submit the matches of which all intents are still there, and go on with what has come meanwhile."""
    message = turn.message
    assert isinstance(message, Solved)
    state = turn.state
    if message.batch != state.batch or not state.running:
        return None
    intents = state.running
    effects: SolverEffects = Effects(replace(state, running=(), optimal=message.optimal))
    for match in message.matches:
        effects = effects.then(_use(turn, effects.state, intents, match))
    return effects.then(_gather(turn, effects.state))


def solve_failed(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """Let the intents of the run rest for a while: it may be due to them."""
    message = turn.message
    assert isinstance(message, SolveFailed)
    state = turn.state
    if message.batch != state.batch or not state.running:
        return None
    intents = state.running
    return _give_back(turn, replace(state, running=(), problem=message.text), intents)


def stop_solving(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """End the run that is under way."""
    return Effects(turn.state, operations=(Cancel(),)) if turn.state.running else None


def _gather(turn: SolverTurn, state: SolverState) -> SolverEffects:
    """Have what is new solved after a while, if that is not about to happen."""
    if state.gathering or state.running or not state.fresh:
        return Effects(state)
    timer = SetTimer(GATHER, turn.settings.gather_ms / 1000)
    return Effects(replace(state, gathering=True), timers=(timer,))


def _solve(turn: SolverTurn, state: SolverState) -> SolverEffects:
    state = replace(state, gathering=False)
    if state.running:
        return Effects(state)
    free = [(entry, intent) for intent, entry in state.known.items() if entry.submission is None]
    resting = [entry.rests_until for entry, _ in free if entry.rests_until > turn.time_s]
    ready = sorted((entry.serial, number) for number, (entry, _) in enumerate(free) if entry.rests_until <= turn.time_s)
    intents = tuple(free[number][1] for _, number in ready[: turn.settings.most])
    state = replace(state, fresh=bool(resting))
    effects: SolverEffects = Effects(state)
    if intents:
        state = replace(state, batch=state.batch + 1, running=intents)
        run = Solve(state.batch, intents, turn.settings.time_limit_ms / 1000, turn.settings.threads)
        return Effects(state, operations=(run,))
    if resting:
        timer = SetTimer(GATHER, max(min(resting) - turn.time_s, 0.0))
        effects = Effects(replace(state, gathering=True), timers=(timer,))
    return effects


def _use(turn: SolverTurn, state: SolverState, intents: tuple[Intent, ...], match: Verified) -> SolverEffects:
    """Submit a match, or have its culprits forgotten."""
    members = tuple(intents[part.intent] for part in match.taken)
    if match.problem is not None:
        return _refused(turn, state, intents, match)
    if any(member not in state.known or state.known[member].submission is not None for member in members):
        # What is left of it may match otherwise.
        return Effects(replace(state, fresh=True))
    unit = composed(intents, match.taken)
    if not unit.is_balanced():
        return _give_back(turn, replace(state, problem="a match was not balanced, and was not submitted"), members)
    number = state.submitted + 1
    id = _id(turn, number)
    candidate = turn.settings.candidate(unit, id)
    if candidate is None:
        return _taken_out(turn, replace(state, submitted=number, succeeded=state.succeeded + 1), intents, match.taken)
    submission = Submission(members, candidate, id, unit.nullifiers(), unit.commitments(), turn.time_s)
    known = state.known
    for member in members:
        known = known.put(member, replace(known[member], submission=number))
    idle = not state.submissions
    state = replace(
        state,
        known=known,
        submitted=number,
        submissions=state.submissions.put(number, submission),
        of_id=state.of_id.put(id, number),
    )
    timers = (SetTimer(POLL, POLL_S),) if idle else ()
    return Effects(state, messages=(_request(turn, number, submission),), timers=timers)


def _refused(turn: SolverTurn, state: SolverState, intents: tuple[Intent, ...], match: Verified) -> SolverEffects:
    """A match that the resource machine refuses: those that are to blame leave the pool, the others may match again."""
    culprits = tuple(intents[position] for position in match.culprits)
    rest = tuple(intents[part.intent] for part in match.taken if part.intent not in match.culprits)
    state = replace(state, problem=match.problem, fresh=True)
    if not culprits:
        return _give_back(turn, state, rest)
    known = state.known
    for culprit in culprits:
        known = known.without(culprit)
    messages = tuple(turn.send(_pool(turn), RemoveIntent(culprit)) for culprit in culprits)
    return Effects(replace(state, known=known), messages=messages)


def _taken_out(
    turn: SolverTurn, state: SolverState, intents: tuple[Intent, ...], taken: tuple[Taken, ...]
) -> SolverEffects:
    """What is matched and is no transaction leaves the pool; what is left of it comes anew."""
    messages: list[Envelope] = []
    known = state.known
    for part in taken:
        intent = intents[part.intent]
        known = known.without(intent)
        messages.append(turn.send(_pool(turn), RemoveIntent(intent)))
        rest = after_taking(intent, part.choice, part.lots)
        if rest is not None:
            messages.append(turn.send(_pool(turn), NewIntent(rest)))
    return Effects(replace(state, known=known), messages=tuple(messages))


def _give_back(turn: SolverTurn, state: SolverState, intents: tuple[Intent, ...]) -> SolverEffects:
    """Intents whose match has come to nothing rest, and may be in another one then."""
    known = state.known
    for intent in intents:
        entry = known.get(intent)
        if entry is not None:
            pause = min(FIRST_PAUSE_S * 4.0 ** min(entry.failures, 20), LONGEST_PAUSE_S)
            entry = replace(entry, failures=entry.failures + 1, rests_until=turn.time_s + pause, submission=None)
            known = known.put(intent, entry)
    return _gather(turn, replace(state, known=known, fresh=True))


# -- the worker -------------------------------------------------------------------------------


def accepted(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """Remember under which fingerprint a match will be executed."""
    message = turn.message
    assert isinstance(message, TransactionAck)
    number = _number_of(turn)
    submission = turn.state.submissions.get(number)
    if submission is None:
        return None
    state = turn.state
    return Effects(
        replace(
            state,
            submissions=state.submissions.put(number, replace(submission, fingerprint=message.fingerprint)),
            of_fingerprint=state.of_fingerprint.put(message.fingerprint, number),
        )
    )


def rejected(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """Give the intents of a match back that the worker does not accept."""
    message = turn.message
    assert isinstance(message, TransactionRejected)
    number = _number_of(turn)
    if message.reason is Rejection.ID_TAKEN or number not in turn.state.submissions:
        return None
    return _ended(turn, turn.state, number, success=False, problem=message.text)


def executed(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """A transaction has run: those of a match that has failed are given back."""
    message = turn.message
    assert isinstance(message, ExecutorFinished)
    number = turn.state.of_fingerprint.get(message.timestamp)
    if number is None:
        return None
    return _ended(turn, turn.state, number, success=message.success, problem=message.error)


def status_told(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """The worker says what has become of a match: submit it again if it knows of none."""
    message = turn.message
    assert isinstance(message, TransactionStatus)
    number = turn.state.of_id.get(message.id)
    if number is None:
        return None
    if message.stage is Stage.UNKNOWN:
        return Effects(turn.state, messages=(_request(turn, number, turn.state.submissions[number]),))
    if message.success is None:
        state = turn.state
        return Effects(replace(state, of_fingerprint=state.of_fingerprint.put(message.fingerprint, number)))
    return _ended(turn, turn.state, number, success=message.success, problem=message.error)


def _ended(turn: SolverTurn, state: SolverState, number: int, *, success: bool, problem: str | None) -> SolverEffects:
    submission = state.submissions[number]
    of_fingerprint = state.of_fingerprint
    if submission.fingerprint is not None:
        of_fingerprint = of_fingerprint.without(submission.fingerprint)
    state = replace(
        state,
        submissions=state.submissions.without(number),
        of_fingerprint=of_fingerprint,
        of_id=state.of_id.without(submission.id),
    )
    if success:
        # The pool drops its intents: those that it does not hear of in another way as well.
        executed = TransactionExecuted(submission.nullifiers, submission.commitments)
        return Effects(replace(state, succeeded=state.succeeded + 1), messages=(turn.send(_pool(turn), executed),))
    still = tuple(
        intent for intent in submission.intents if (entry := state.known.get(intent)) and entry.submission == number
    )
    return _give_back(turn, replace(state, failed=state.failed + 1, problem=problem), still)


def _poll(turn: SolverTurn, state: SolverState) -> SolverEffects:
    """Ask for those that should have ended: a message may be lost with a worker that was started again."""
    if not state.submissions:
        return Effects(state)
    worker = _worker(turn)
    late = [number for number, submission in state.submissions.items() if submission.since <= turn.time_s - POLL_S]
    messages = tuple(
        turn.send(worker, TransactionStatusRequest(id=state.submissions[number].id)) for number in sorted(late)
    )
    return Effects(state, messages=messages, timers=(SetTimer(POLL, POLL_S),))


def _request(turn: SolverTurn, number: int, submission: Submission) -> Envelope:
    # A reference that no process makes: the number is in it, and comes back with the answer.
    reference = Reference(Atom(turn.config.node), 0, (number & 0xFFFFFFFF, number >> 32))
    return turn.send(_worker(turn), TransactionRequest(submission.candidate), reference=reference)


def _number_of(turn: SolverTurn) -> int:
    reference = turn.envelope.reference
    if reference is None or reference.creation != 0 or len(reference.words) != 2:
        return 0
    return reference.words[0] | reference.words[1] << 32


def _id(turn: SolverTurn, number: int) -> bytes:
    """A name for a transaction that no other one has, also after a restart."""
    text = f"{turn.own} {turn.time_s!r} {number}"
    return blake2b(text.encode(), digest_size=ID_SIZE).digest()


# -- requests ---------------------------------------------------------------------------------


def status(turn: SolverTurn, _args: None) -> SolverEffects:
    """Answer with how it stands."""
    state = turn.state
    in_flight = sum(1 for entry in state.known.values() if entry.submission is not None)
    reply = StatusReply(
        len(state.known) - in_flight,
        len(state.running),
        in_flight,
        state.submitted,
        state.succeeded,
        state.failed,
        state.optimal,
        state.problem,
    )
    return Effects(state, replies=(reply,))


def unsolved(turn: SolverTurn, _args: None) -> SolverEffects:
    """Answer with the intents that are in no match."""
    free = sorted(
        ((entry.serial, intent) for intent, entry in turn.state.known.items() if entry.submission is None),
        key=lambda pair: pair[0],
    )
    return Effects(turn.state, replies=(UnsolvedReply(tuple(intent for _, intent in free)),))


# -- pieces -----------------------------------------------------------------------------------


def _subscribe_again(turn: SolverTurn, state: SolverState) -> SolverEffects:
    pool = _pool(turn)
    return Effects(state, messages=(turn.send(pool, Subscribe()),), watches=(Watch(pool),))


def _pool(turn: SolverTurn) -> EngineID:
    pool: EngineID = turn.settings.address(turn.settings.pool)
    return pool


def _worker(turn: SolverTurn) -> EngineID:
    worker: EngineID = turn.settings.address(turn.settings.worker)
    return worker


BEHAVIOUR: Final[EngineBehaviour[SolverState]] = EngineBehaviour(
    "solver",
    MESSAGES,
    start,
    First(
        on_started(subscribe),
        on(AllIntentsReply, take_over),
        on(IntentAdded, intent_added),
        on(IntentRemoved, intent_removed),
        on_outcome(Solved, solved),
        on_outcome(SolveFailed, solve_failed),
        on(TransactionAck, accepted),
        on(TransactionRejected, rejected),
        on(TransactionStatus, status_told),
        on(ExecutorFinished, executed),
        on(StatusRequest, status),
        on(UnsolvedRequest, unsolved),
        on(StopSolving, stop_solving),
        on_elapsed(elapsed),
        on_ended(engine_ended),
    ),
)
