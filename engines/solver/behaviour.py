"""What the Solver does: gathers intents, has matches found among them, and submits each match as one transaction.

Intents that come shortly after each other are solved together. One run is under way at a time, outside of the node's
interpreter. Each match that the resource machine verifies is composed and sent to the mempool worker; its intents are
in flight until the pool drops them. A match that fails gives its intents back: those that the state did not allow, or
all where that is none alone, are tried again later, and each time later than that.

Pure: functions of environment and message to effects.

Differences from the specification, which has no engine that solves, and from the Elixir node:

* All matches of a run are found together, and are the best: by integer programming. There all subsets are tried until
  one balances.
* Submitting does not wait; there the solver hears nothing until its transaction is in the mempool, without a limit.
* A transaction that fails gives its intents back; there they are lost to the solver. Who is to blame waits longer.
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
from engines.intent_pool.remembered import NOTHING, Index, Remembered, Tag, indexed, tags, tags_of, unindexed
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
from engines.solver.batch import Taken, Verified, composed, to_blame, units_taken
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
REST: Final = "rest"
"""Handle of the timer after which intents that rest may be solved again."""
POLL: Final = "poll"
"""Handle of the timer after which the worker is asked what has become of the submitted."""
POOL: Final = "pool"
"""Handle of the timer after which a pool that was gone is looked for again."""

POLL_S: Final = 5.0
POOL_S: Final = 1.0
FIRST_PAUSE_S: Final = 1.0
"""How long an intent rests after its match has failed, or a run; four times longer each time."""
LONGEST_PAUSE_S: Final = 600.0
LONGEST_AFTER_RUN_S: Final = 60.0

ID_SIZE: Final = 16

SPENT: Final = 0
"""Stands for the number of a match where it does not matter any more which."""
MOST_REMEMBERED: Final = 100_000


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
        submission: the match that it is in flight with, or one in flight that has a resource in common with it.
            `SPENT`: it has one in common with a match that was executed. None: it is free.
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
        units: what of each of them it is made of.
        id: of the transaction, chosen here.
        reference: comes back with the worker's answer.
        nullifiers, commitments: of what is submitted.
        fingerprint: of the transaction; None: it is not accepted yet.
        since: when it was sent, in seconds since 1970-01-01 UTC.
    """

    intents: tuple[Intent, ...]
    units: tuple[tuple[Unit, ...], ...]
    candidate: TransactionCandidate
    id: bytes
    reference: Reference
    nullifiers: frozenset[bytes]
    commitments: frozenset[bytes]
    since: float
    fingerprint: int | None = None


@dataclass(frozen=True, slots=True)
class SolverState:
    """State of a Solver.

    Attributes:
        known: the intents of the pool.
        of_tag: their nullifiers and commitments, and which of them have those.
        claims: nullifiers and commitments of the matches in flight, and which matches.
        spent: those of matches that were executed. The pool hears of them as well, and perhaps later.
        batch: number of the last run.
        running: the intents of the run under way, oldest first; none: there is none.
        gathering: whether the timer is set after which intents are solved.
        fresh: something has come since the last run began that could make another answer.
        wakes_at: when the timer is due that ends the first rest, in seconds since 1970-01-01 UTC; None: nobody rests.
        crashes: how many runs have failed since the last one that did not.
        submissions: by number, those of which it is not known how they have ended.
        of_fingerprint: which submission a transaction is.
        of_id: the same, by the transaction's own name.
        submitted, succeeded, failed: matches, counted.
        optimal: whether the last run has found the best answer.
        problem: what went wrong last.
    """

    known: PersistentMap[Intent, Known] = PersistentMap()  # noqa: RUF009  # immutable
    of_tag: Index = PersistentMap()  # noqa: RUF009  # immutable
    claims: PersistentMap[Tag, int] = PersistentMap()  # noqa: RUF009  # immutable
    spent: Remembered = NOTHING
    batch: int = 0
    running: tuple[Intent, ...] = ()
    gathering: bool = False
    fresh: bool = False
    wakes_at: float | None = None
    crashes: int = 0
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
    state = replace(turn.state, known=PersistentMap(), of_tag=PersistentMap(), fresh=True)
    for serial, intent in message.intents:
        state = _with(state, intent, replace(before.get(intent, Known(serial)), serial=serial))
    return _gather(turn, state)


def intent_added(turn: SolverTurn, _args: None) -> SolverEffects:
    """Solve it soon, with those that come shortly after it."""
    message = turn.message
    assert isinstance(message, IntentAdded)
    state = turn.state
    if message.intent in state.known:
        return Effects(state)
    return _gather(turn, _with(replace(state, fresh=True), message.intent, Known(message.serial)))


def intent_removed(turn: SolverTurn, _args: None) -> SolverEffects:
    """Use it no more."""
    message = turn.message
    assert isinstance(message, IntentRemoved)
    return Effects(_without(turn.state, message.intent))


def _with(state: SolverState, intent: Intent, entry: Known) -> SolverState:
    """With an intent: it is not free while a match in flight has a resource in common with it."""
    if entry.submission is None:
        entry = replace(entry, submission=_claimed(state, intent))
    return replace(state, known=state.known.put(intent, entry), of_tag=indexed(state.of_tag, intent))


def _claimed(state: SolverState, intent: Intent) -> int | None:
    """A match, in flight or executed, that has a resource in common with an intent."""
    for tag in tags_of(intent):
        if tag in state.spent:
            return SPENT
        if tag in state.claims:
            return state.claims[tag]
    return None


def _without(state: SolverState, intent: Intent) -> SolverState:
    if intent not in state.known:
        return state
    return replace(state, known=state.known.without(intent), of_tag=unindexed(state.of_tag, intent))


def engine_ended(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """Look for a pool that has ended again in a while."""
    if turn.ended.address != _pool(turn):
        return None
    return Effects(turn.state, timers=(SetTimer(POOL, POOL_S),))


# -- a run ------------------------------------------------------------------------------------


def elapsed(turn: SolverTurn, _args: None) -> SolverEffects:
    """Solve what has gathered or has rested, ask what has become of the submitted, look for the pool."""
    effects: SolverEffects = Effects(turn.state)
    for handle in turn.handles:
        step = {GATHER: _solve, REST: _wake, POLL: _poll, POOL: _subscribe_again}[str(handle)]
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
    effects: SolverEffects = Effects(replace(state, running=(), optimal=message.optimal, crashes=0))
    for match in message.matches:
        effects = effects.then(_use(turn, effects.state, intents, match))
    return effects.then(_gather(turn, effects.state))


def solve_failed(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """Let the intents of the run rest for a while: it may be due to them. The longer, the more often."""
    message = turn.message
    assert isinstance(message, SolveFailed)
    state = turn.state
    if message.batch != state.batch or not state.running:
        return None
    pause = min(FIRST_PAUSE_S * 4.0 ** min(state.crashes, 20), LONGEST_AFTER_RUN_S)
    known = state.known
    for intent in state.running:
        entry = known.get(intent)
        if entry is not None:
            known = known.put(intent, replace(entry, rests_until=max(entry.rests_until, turn.time_s + pause)))
    state = replace(state, known=known, running=(), problem=message.text, crashes=state.crashes + 1)
    effects = _rest(turn, state, pause)
    return effects.then(_gather(turn, effects.state))


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
    ready = [
        (entry.serial, intent)
        for intent, entry in state.known.items()
        if entry.submission is None and entry.rests_until <= turn.time_s
    ]
    ready.sort(key=lambda pair: pair[0])
    intents = tuple(intent for _, intent in ready[: turn.settings.most])
    state = replace(state, fresh=False)
    if not intents:
        return Effects(state)
    state = replace(state, batch=state.batch + 1, running=intents)
    run = Solve(state.batch, intents, turn.settings.time_limit_ms / 1000, turn.settings.threads)
    return Effects(state, operations=(run,))


def _rest(turn: SolverTurn, state: SolverState, pause_s: float) -> SolverEffects:
    """Have the timer set that ends a rest of `pause_s`, where none is due before that."""
    at = turn.time_s + pause_s
    if state.wakes_at is not None and state.wakes_at <= at:
        return Effects(state)
    return Effects(replace(state, wakes_at=at), timers=(SetTimer(REST, pause_s),))


def _wake(turn: SolverTurn, state: SolverState) -> SolverEffects:
    """Solve soon: somebody has rested. The others do so for longer."""
    left = [entry.rests_until for entry in state.known.values() if entry.rests_until > turn.time_s]
    effects: SolverEffects = Effects(replace(state, wakes_at=None, fresh=True))
    if left:
        effects = effects.then(_rest(turn, effects.state, min(left) - turn.time_s))
    return effects.then(_gather(turn, effects.state))


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
    id = _id(turn, number, unit)
    candidate = turn.settings.candidate(unit, id)
    if candidate is None:
        return _taken_out(turn, replace(state, submitted=number, succeeded=state.succeeded + 1), intents, match.taken)
    reference = _reference(turn, number, id)
    units = tuple(units_taken(intents, match.taken))
    submission = Submission(
        members, units, candidate, id, reference, unit.nullifiers(), unit.commitments(), turn.time_s
    )
    claimed = tags(submission.nullifiers, submission.commitments)
    known, claims = state.known, state.claims
    for member in members:
        known = known.put(member, replace(known[member], submission=number))
    for tag in claimed:
        claims = claims.put(tag, number)
        for rival in state.of_tag.get(tag, ()):
            if known[rival].submission is None:
                known = known.put(rival, replace(known[rival], submission=number))
    idle = not state.submissions
    state = replace(
        state,
        known=known,
        claims=claims,
        submitted=number,
        submissions=state.submissions.put(number, submission),
        of_id=state.of_id.put(id, number),
    )
    timers = (SetTimer(POLL, POLL_S),) if idle else ()
    return Effects(state, messages=(_request(turn, submission),), timers=timers)


def _refused(turn: SolverTurn, state: SolverState, intents: tuple[Intent, ...], match: Verified) -> SolverEffects:
    """A match that the resource machine refuses: those that are to blame leave the pool, the others may match again."""
    culprits = tuple(intents[position] for position in match.culprits)
    rest = tuple(intents[part.intent] for part in match.taken if part.intent not in match.culprits)
    state = replace(state, problem=match.problem, fresh=True)
    if not culprits:
        return _give_back(turn, state, rest)
    for culprit in culprits:
        state = _without(state, culprit)
    return Effects(state, messages=tuple(turn.send(_pool(turn), RemoveIntent(culprit)) for culprit in culprits))


def _taken_out(
    turn: SolverTurn, state: SolverState, intents: tuple[Intent, ...], taken: tuple[Taken, ...]
) -> SolverEffects:
    """What is matched and is no transaction leaves the pool; what is left of it comes anew."""
    messages: list[Envelope] = []
    for part in taken:
        intent = intents[part.intent]
        state = _without(state, intent)
        messages.append(turn.send(_pool(turn), RemoveIntent(intent)))
        rest = after_taking(intent, part.choice, part.lots)
        if rest is not None:
            messages.append(turn.send(_pool(turn), NewIntent(rest)))
    return Effects(state, messages=tuple(messages))


def _give_back(turn: SolverTurn, state: SolverState, intents: tuple[Intent, ...]) -> SolverEffects:
    """Intents whose match has come to nothing rest, and may be in another one then."""
    known = state.known
    shortest = LONGEST_PAUSE_S
    for intent in intents:
        entry = known.get(intent)
        if entry is not None:
            pause = min(FIRST_PAUSE_S * 4.0 ** min(entry.failures, 20), LONGEST_PAUSE_S)
            entry = replace(entry, failures=entry.failures + 1, rests_until=turn.time_s + pause)
            known = known.put(intent, entry)
            shortest = min(shortest, pause)
    # Without those that rest, others may match.
    effects = _rest(turn, replace(state, known=known, fresh=True), shortest)
    return effects.then(_gather(turn, effects.state))


# -- the worker -------------------------------------------------------------------------------


def accepted(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """Remember under which fingerprint a match will be executed."""
    message = turn.message
    assert isinstance(message, TransactionAck)
    number = _number_of(turn)
    return None if number is None else _accepted(turn.state, number, message.fingerprint)


def _accepted(state: SolverState, number: int, fingerprint: int) -> SolverEffects:
    submission = replace(state.submissions[number], fingerprint=fingerprint)
    return Effects(
        replace(
            state,
            submissions=state.submissions.put(number, submission),
            of_fingerprint=state.of_fingerprint.put(fingerprint, number),
        )
    )


def rejected(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """Give the intents of a match back that the worker does not accept."""
    message = turn.message
    assert isinstance(message, TransactionRejected)
    number = _number_of(turn)
    if number is None or message.reason is Rejection.ID_TAKEN:
        return None
    return _failed(turn, turn.state, number, message.text, ())


def executed(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """A transaction has run: those of a match that has failed are given back."""
    message = turn.message
    assert isinstance(message, ExecutorFinished)
    number = turn.state.of_fingerprint.get(message.timestamp)
    if number is None:
        return None
    if message.success:
        return _succeeded(turn, turn.state, number)
    return _failed(turn, turn.state, number, message.error, message.values_read)


def status_told(turn: SolverTurn, _args: None) -> SolverEffects | None:
    """The worker says what has become of a match: submit it again if it knows of none."""
    message = turn.message
    assert isinstance(message, TransactionStatus)
    number = turn.state.of_id.get(message.id)
    if number is None:
        return None
    if message.stage is Stage.UNKNOWN:
        return Effects(turn.state, messages=(_request(turn, turn.state.submissions[number]),))
    if message.success is None:
        return _accepted(turn.state, number, message.fingerprint)
    if message.success:
        return _succeeded(turn, turn.state, number)
    return _failed(turn, turn.state, number, message.error, message.values_read)


def _succeeded(turn: SolverTurn, state: SolverState, number: int) -> SolverEffects:
    submission = state.submissions[number]
    claimed = tags(submission.nullifiers, submission.commitments)
    state = replace(
        _ended(state, number), spent=state.spent.add(claimed, MOST_REMEMBERED), succeeded=state.succeeded + 1
    )
    state = _free(state, number, {rival for tag in claimed for rival in state.of_tag.get(tag, ())})
    # The pool drops its intents: those that it does not hear of in another way as well.
    executed = TransactionExecuted(submission.nullifiers, submission.commitments)
    return Effects(state, messages=(turn.send(_pool(turn), executed),))


def _failed(
    turn: SolverTurn, state: SolverState, number: int, problem: str | None, values_read: tuple[tuple[Any, Any], ...]
) -> SolverEffects:
    """Give the intents of a match back. Where some are to blame these rest, and the others do not."""
    submission = state.submissions[number]
    claimed = tags(submission.nullifiers, submission.commitments)
    state = replace(_ended(state, number), failed=state.failed + 1, problem=problem)
    rivals = {rival for tag in claimed for rival in state.of_tag.get(tag, ())}
    state = _free(state, number, rivals.union(submission.intents))
    culprits = tuple(submission.intents[position] for position in to_blame(submission.units, values_read))
    return _give_back(turn, state, culprits or submission.intents)


def _ended(state: SolverState, number: int) -> SolverState:
    submission = state.submissions[number]
    claims = state.claims
    for tag in tags(submission.nullifiers, submission.commitments):
        if claims.get(tag) == number:
            claims = claims.without(tag)
    of_fingerprint = state.of_fingerprint
    if submission.fingerprint is not None:
        of_fingerprint = of_fingerprint.without(submission.fingerprint)
    return replace(
        state,
        claims=claims,
        submissions=state.submissions.without(number),
        of_fingerprint=of_fingerprint,
        of_id=state.of_id.without(submission.id),
    )


def _free(state: SolverState, number: int, intents: set[Intent]) -> SolverState:
    """Those of these intents that a match kept from being used may be, if no other one does."""
    known = state.known
    for intent in intents:
        entry = known.get(intent)
        if entry is not None and entry.submission == number:
            known = known.put(intent, replace(entry, submission=_claimed(state, intent)))
    return replace(state, known=known)


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


def _request(turn: SolverTurn, submission: Submission) -> Envelope:
    return turn.send(_worker(turn), TransactionRequest(submission.candidate), reference=submission.reference)


def _number_of(turn: SolverTurn) -> int | None:
    """Which submission the worker's answer is about; None: none of those under way."""
    reference = turn.envelope.reference
    if reference is None:
        return None
    number = reference.words[0]
    submission = turn.state.submissions.get(number)
    return None if submission is None or submission.reference != reference else number


def _reference(turn: SolverTurn, number: int, id: bytes) -> Reference:
    """A reference that no process makes: none has the creation 0. Nor has this engine made it before a restart."""
    return Reference(Atom(turn.config.node), 0, (number & 0xFFFFFFFF, int.from_bytes(id[:4]), int.from_bytes(id[4:8])))


def _id(turn: SolverTurn, number: int, unit: Unit) -> bytes:
    """A name for a transaction that no other one has, also after a restart."""
    digest = blake2b(f"{turn.own} {turn.time_s!r} {number}".encode(), digest_size=ID_SIZE)
    for tag in (*sorted(unit.nullifiers()), *sorted(unit.commitments())):
        digest.update(tag)
    return digest.digest()


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
