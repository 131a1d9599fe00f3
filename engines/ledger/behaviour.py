"""What the Ledger does: it has blocks, accepted transactions and other engines' tables written to what lasts, and read.

* One write is in flight at most. Changes that come meanwhile wait, and all of them go with the next write, which is one
  transaction; each is answered when it lasts, or is refused.
* Reading does not wait for writing.
* While the disk or the BEAM fails, what is to be written waits and is tried again, after a delay that grows. Those who
  have subscribed hear `Degraded`, and `Recovered` when all is well. A change that does not want to wait (``retry`` is
  false) is answered with the failure.

Differences from the specification:

* it has no such engine; what it says must last (fingerprints, locks that were acknowledged, versions) it does not keep
  anywhere.

Pure: functions of environment and message to effects.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from engines.effects import Effects, SetTimer, Unwatch, Watch
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed, on_ended, on_outcome, on_started
from engines.ledger.errors import Overloaded
from engines.ledger.messages import (
    CHANGES,
    MESSAGES,
    QUERIES,
    BlockCommitted,
    Change,
    Degraded,
    LedgerFailed,
    Recovered,
    StatusReply,
    StatusRequest,
    Subscribe,
    Unsubscribe,
)
from engines.ledger.operations import (
    Look,
    Looked,
    Open,
    Opened,
    OpenFailed,
    Write,
    WriteFailed,
    Written,
    failed,
)
from engines.ledger.records import Heights
from engines.messages import Address, Envelope, Message
from engines.wire import settings_from

RETRY: Final = "retry"
"""Handle of the timer for another attempt."""


class Backend(Enum):
    """What keeps the ledger."""

    MEMORY = "memory"
    SQLITE = "sqlite"
    MNESIA = "mnesia"


class Synchronous(Enum):
    """What a commit to an SQLite file outlasts: also a power cut, or the end of the process only."""

    FULL = "full"
    NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """What a Ledger is started with.

    Attributes:
        backend: what keeps it.
        path: of the file, for sqlite.
        synchronous: for sqlite.
        most_bytes: the file takes no more; None: no limit. For sqlite.
        beam: full name of the BEAM, for mnesia.
        name: what the names of the tables begin with, for mnesia.
        directory: of Mnesia's files, where it does not run yet, for mnesia.
        max_waiting: changes, and queries, that may wait; further ones are refused.
        batch: changes that go with one write.
        retry_first_s: seconds until a failed write is tried again; each time twice as long.
        retry_most_s: seconds, at most.
    """

    backend: Backend = Backend.MEMORY
    path: str | None = None
    synchronous: Synchronous = Synchronous.FULL
    most_bytes: int | None = None
    beam: str | None = None
    name: str = "pyanoma"
    directory: str | None = None
    max_waiting: int = 10_000
    batch: int = 1000
    retry_first_s: float = 0.1
    retry_most_s: float = 10.0


@dataclass(frozen=True, slots=True)
class LedgerState:
    """The Ledger's state.

    Attributes:
        opened: whether it is known how far the ledger is.
        heights: as far as that is known.
        waiting: changes that wait for the next write.
        in_flight: changes of the write that is under way, or is to be tried again.
        answered: places in there whose senders have been told that it failed, and may be made all the same.
        looking: how many queries are under way.
        failure: why it cannot be written; None: it can.
        attempts: how often that has been tried.
        subscribers: who hears news.
    """

    opened: bool = False
    heights: Heights = field(default_factory=Heights)
    waiting: tuple[Envelope, ...] = ()
    in_flight: tuple[Envelope, ...] = ()
    answered: frozenset[int] = frozenset()
    looking: int = 0
    failure: LedgerFailed | None = None
    attempts: int = 0
    subscribers: tuple[Address, ...] = ()


Effect = Effects[LedgerState]
LedgerTurn = Turn[LedgerState]


def start(args: Any) -> tuple[LedgerSettings, LedgerState]:
    """The settings, and the first state.

    Args:
        args: `LedgerSettings`, or a map of some of its fields; nil for a ledger in memory.

    Raises:
        ValueError: what is wrong with them.
    """
    settings = settings_from(LedgerSettings, args)
    if settings.backend is Backend.SQLITE and not settings.path:
        raise ValueError("expected path, the path of its file, for a ledger of the backend sqlite")
    if settings.backend is Backend.MNESIA and not settings.beam:
        raise ValueError("expected beam, the full name of a BEAM, for a ledger of the backend mnesia")
    for name in ("max_waiting", "batch", "retry_first_s", "retry_most_s"):
        if getattr(settings, name) <= 0:
            raise ValueError(f"{name}: expected a number greater than 0, got {getattr(settings, name)}")
    return settings, LedgerState()


# -- opening ----------------------------------------------------------------------------------


def open_store(turn: LedgerTurn, _args: None) -> Effect:
    """Begin: see how far the ledger is."""
    return Effects(turn.state, operations=(Open(),))


def opened(turn: LedgerTurn, _args: None) -> Effect:
    """It can be used: write what has gathered."""
    outcome = turn.message
    assert isinstance(outcome, Opened)
    return _go_on(turn, replace(turn.state, opened=True, heights=outcome.heights))


def open_failed(turn: LedgerTurn, _args: None) -> Effect:
    """It cannot be used: try again later."""
    outcome = turn.message
    assert isinstance(outcome, OpenFailed)
    return _degrade(turn, turn.state, outcome.failure)


# -- changes ----------------------------------------------------------------------------------


def accept_change(turn: LedgerTurn, _args: None) -> Effect:
    """Write it, now or with the next write."""
    state = turn.state
    change = turn.message
    assert isinstance(change, CHANGES)
    if state.failure is not None and not change.retry:
        # Nothing has been tried for it, so nothing can have changed.
        return Effects(state, replies=(replace(state.failure, certain=True),))
    if len(state.waiting) >= turn.settings.max_waiting:
        return Effects(state, replies=(_overloaded("changes", len(state.waiting)),))
    state = replace(state, waiting=(*state.waiting, turn.envelope))
    return _go_on(turn, state) if state.failure is None else Effects(state)


def written(turn: LedgerTurn, _args: None) -> Effect:
    """Answer those whose changes last, tell the news, and go on with what has gathered."""
    state, outcome = turn.state, turn.message
    assert isinstance(outcome, Written)
    replies = _replies(
        turn,
        (
            (envelope, answer)
            for place, (envelope, answer) in enumerate(zip(state.in_flight, outcome.answers, strict=True))
            if place not in state.answered
        ),
    )
    news: list[Message] = []
    before, heights = state.heights, outcome.heights
    if heights.committed > before.committed:
        # Of several blocks in one write the last is told: whoever follows the ledger reads on from where it was.
        news.append(BlockCommitted(heights.next_round - 1, before.committed + 1, heights.committed, outcome.hash))
    if state.failure is not None:
        news.append(Recovered())
    state = replace(state, heights=heights, in_flight=(), answered=frozenset(), failure=None, attempts=0)
    return Effects(state, messages=(*replies, *_news(turn, state, news))).then(_go_on(turn, state))


def write_failed(turn: LedgerTurn, _args: None) -> Effect:
    """Tell those who do not want to wait, and try again later."""
    state, outcome = turn.state, turn.message
    assert isinstance(outcome, WriteFailed)
    failure = outcome.failure
    told = [
        place
        for place, envelope in enumerate(state.in_flight)
        if place not in state.answered and not (failure.temporary and _change_of(envelope).retry)
    ]
    replies = _replies(turn, ((state.in_flight[place], failure) for place in told))
    answered = state.answered.union(told)
    if failure.certain:
        rest = tuple(envelope for place, envelope in enumerate(state.in_flight) if place not in answered)
        state = replace(state, in_flight=rest, answered=frozenset())
    else:
        # What may have been made is tried again as it was, so that the store can tell.
        state = replace(state, answered=answered)
    return Effects(state, messages=replies).then(_degrade(turn, state, failure))


def try_again(turn: LedgerTurn, _args: None) -> Effect:
    """Try what has failed once more."""
    state = turn.state
    if not state.opened or not (state.in_flight or state.waiting):
        return Effects(state, operations=(Open(),))
    return _write(turn, state)


def _go_on(turn: LedgerTurn, state: LedgerState) -> Effect:
    """Begin the next write, if none is under way and there is something to write."""
    if not state.opened or state.in_flight:
        return Effects(state)
    if not state.waiting:
        if state.failure is None:
            return Effects(state)
        calm = replace(state, failure=None, attempts=0)
        return Effects(calm, messages=_news(turn, calm, [Recovered()]))
    return _write(turn, state)


def _write(turn: LedgerTurn, state: LedgerState) -> Effect:
    if not state.in_flight:
        batch = turn.settings.batch
        state = replace(state, in_flight=state.waiting[:batch], waiting=state.waiting[batch:])
    return Effects(state, operations=(Write(tuple(map(_change_of, state.in_flight))),))


def _degrade(turn: LedgerTurn, state: LedgerState, failure: LedgerFailed) -> Effect:
    settings: LedgerSettings = turn.settings
    delay_s = min(settings.retry_first_s * 2 ** min(state.attempts, 32), settings.retry_most_s)
    is_news = state.failure is None or state.failure.kind != failure.kind
    state = replace(state, failure=failure, attempts=state.attempts + 1)
    news: list[Message] = [Degraded(failure.kind, failure.text)] if is_news else []
    return Effects(state, messages=_news(turn, state, news), timers=(SetTimer(RETRY, delay_s),))


# -- queries ----------------------------------------------------------------------------------


def look_up(turn: LedgerTurn, _args: None) -> Effect:
    """Read it, beside whatever else is under way."""
    state = turn.state
    if state.looking >= turn.settings.max_waiting:
        return Effects(state, replies=(_overloaded("queries", state.looking),))
    return Effects(replace(state, looking=state.looking + 1), operations=(Look(turn.envelope),))


def looked(turn: LedgerTurn, _args: None) -> Effect:
    """Answer with what was read."""
    outcome = turn.message
    assert isinstance(outcome, Looked)
    state = replace(turn.state, looking=turn.state.looking - 1)
    return Effects(state, messages=_replies(turn, ((outcome.envelope, outcome.answer),)))


def tell_status(turn: LedgerTurn, _args: None) -> Effect:
    """Answer with how it is."""
    state = turn.state
    failure = None if state.failure is None else state.failure.text
    waiting = len(state.waiting) + len(state.in_flight)
    return Effects(state, replies=(StatusReply(state.heights, waiting, failure, state.attempts),))


# -- news -------------------------------------------------------------------------------------


def subscribe(turn: LedgerTurn, _args: None) -> Effect | None:
    """Have the sender told of what comes; and, where it is so, that the ledger is degraded already."""
    state, sender = turn.state, turn.sender
    if sender is None:
        return None
    news = () if state.failure is None else (turn.send(sender, Degraded(state.failure.kind, state.failure.text)),)
    if sender in state.subscribers:
        return Effects(state, messages=news)
    return Effects(replace(state, subscribers=(*state.subscribers, sender)), messages=news, watches=(Watch(sender),))


def unsubscribe(turn: LedgerTurn, _args: None) -> Effect | None:
    """Tell the sender no more."""
    if turn.sender not in turn.state.subscribers:
        return None
    return Effects(_without(turn.state, turn.sender), watches=(Unwatch(turn.sender),))


def forget(turn: LedgerTurn, _args: None) -> Effect:
    """Tell one that has ended no more."""
    return Effects(_without(turn.state, turn.ended.address))


def _without(state: LedgerState, address: Address) -> LedgerState:
    return replace(state, subscribers=tuple(other for other in state.subscribers if other != address))


def _news(turn: LedgerTurn, state: LedgerState, news: list[Message]) -> tuple[Envelope, ...]:
    return tuple(turn.send(subscriber, message) for message in news for subscriber in state.subscribers)


# -- pieces -----------------------------------------------------------------------------------


def _replies(turn: LedgerTurn, answers: Any) -> tuple[Envelope, ...]:
    replies = (envelope.reply(turn.own, answer) for envelope, answer in answers)
    return tuple(reply for reply in replies if reply is not None)


def _change_of(envelope: Envelope) -> Change:
    change = envelope.message
    assert isinstance(change, CHANGES)
    return change


def _overloaded(what: str, count: int) -> LedgerFailed:
    return failed(Overloaded(f"the ledger is overloaded: {count} {what} wait already; try again later"))


BEHAVIOUR: Final[EngineBehaviour[LedgerState]] = EngineBehaviour(
    "ledger",
    MESSAGES,
    start,
    First(
        on_started(open_store),
        on_outcome(Opened, opened),
        on_outcome(OpenFailed, open_failed),
        on_outcome(Written, written),
        on_outcome(WriteFailed, write_failed),
        on_outcome(Looked, looked),
        *(on(change, accept_change) for change in CHANGES),
        *(on(query, look_up) for query in QUERIES),
        on(StatusRequest, tell_status),
        on(Subscribe, subscribe),
        on(Unsubscribe, unsubscribe),
        on_elapsed(try_again),
        on_ended(forget),
    ),
    traps_exits=True,
)
