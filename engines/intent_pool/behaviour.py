"""What the Intent Pool does: keeps intents until they are executed or taken back, and tells solvers of them.

With a ledger an intent is accepted once it lasts, and is looked up in the state before: what has been spent is refused,
also after a restart. One change is written at a time; what comes meanwhile goes with the next one. Without a ledger the
pool remembers what it has heard of, and forgets everything at its end.

What has been executed it hears of as `TransactionExecuted`, or reads in the blocks of its ledger.

Pure: functions of environment and message to effects.

Differences from the specification, which has no engine for intents, and from the Elixir node:

* `NewIntent` is answered; there only an event tells what has become of it.
* What is no intent is refused where it is read; there it ended the pool.
* The spent resources are looked up in the state; there the pool had to have heard of them since its start.
* An order that is executed in part stays in the pool with what is left of it; there are no orders there.
* Subscribers hear in one message what is in the pool when they begin to hear of changes, so that nothing falls between.

Source: Anoma's Elixir node, ``intents/intent_pool.ex``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from anoma.persistent_map import PersistentMap
from engines.effects import Effects, SetTimer, Unwatch, Watch
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed, on_ended, on_outcome, on_started
from engines.intent_pool.intents import Intent, after_execution
from engines.intent_pool.messages import (
    MESSAGES,
    AllIntents,
    AllIntentsReply,
    IntentAccepted,
    IntentAdded,
    IntentRefused,
    IntentRemoved,
    IntentsLoaded,
    IntentsStored,
    LoadFailed,
    LoadIntents,
    NewIntent,
    ReadBlock,
    Refusal,
    Removal,
    RemoveIntent,
    RemoveIntentReply,
    StoreFailed,
    StoreIntents,
    Subscribe,
    TransactionExecuted,
    Unsubscribe,
)
from engines.intent_pool.remembered import NOTHING, Index, Remembered, indexed, tags, unindexed
from engines.keeping.subscriptions import can_be_watched
from engines.ledger.messages import BlockCommitted
from engines.ledger.messages import Subscribe as SubscribeToBlocks
from engines.messages import Address, EngineID, Envelope, Message
from engines.wire import Value, settings_from

RETRY_S: Final = 1.0
"""Seconds until a ledger that has failed is tried again."""
RETRY: Final = "retry"
"""Handle of the timer for that."""

MAX_WAITING: Final = 100_000
"""Messages that wait for the ledger; further intents are refused."""


@dataclass(frozen=True, slots=True)
class IntentPoolSettings(Value):
    """What it can be started with; all of it has defaults.

    Attributes:
        ledger: the Ledger that keeps the intents: a name on the same node, or a name and a node. None: nothing lasts.
        table: name of the table there.
        capacity: how many intents it keeps.
        remembered: how many nullifiers and commitments it remembers having heard of.
    """

    ledger: str | EngineID | None = None
    table: str = "intents"
    capacity: int = 100_000
    remembered: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """An intent that is kept once the ledger keeps it.

    Attributes:
        envelope: of its `NewIntent`.
    """

    serial: int
    intent: Intent
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of an order: it is kept already, in its place, and the ledger has to follow."""

    serial: int
    intent: Intent


@dataclass(frozen=True, slots=True)
class Deletion:
    """An intent that is not kept any more, and that the ledger has to forget.

    Attributes:
        envelope: of its `RemoveIntent`, to be answered then; None: there was none.
    """

    serial: int
    envelope: Envelope | None = None


Change = Candidate | Rest | Deletion


@dataclass(frozen=True, slots=True)
class IntentPoolState:
    """State of an Intent Pool.

    Attributes:
        intents: those that are kept, and their serials.
        of_tag: nullifiers and commitments, and which intents have them.
        next_serial: of the next one.
        spent: nullifiers and commitments of which it has heard that they are.
        subscribers: those who want to hear news.
        loaded: whether what the ledger keeps has been read.
        held: what waits for that, in order.
        waiting: changes that go with the next write.
        coming: the intents among `waiting` and `flight`.
        flight: the changes that the ledger is asked for; none: it is asked for nothing.
        pause: the ledger has failed, and is tried again later.
        lost: the ledger was away, and blocks may have been missed.
    """

    intents: PersistentMap[Intent, int] = PersistentMap()  # noqa: RUF009  # immutable
    of_tag: Index = PersistentMap()  # noqa: RUF009  # immutable
    next_serial: int = 1
    spent: Remembered = NOTHING
    subscribers: tuple[Address, ...] = ()
    loaded: bool = False
    held: tuple[Envelope, ...] = ()
    waiting: tuple[Change, ...] = ()
    coming: PersistentMap[Intent, None] = PersistentMap()  # noqa: RUF009  # immutable
    flight: tuple[Change, ...] = ()
    pause: bool = False
    lost: bool = False


def start(args: Any) -> tuple[IntentPoolSettings, IntentPoolState]:
    """The settings, see `IntentPoolSettings`, and the first state.

    Raises:
        ValueError: what cannot be settings.
    """
    settings = settings_from(IntentPoolSettings, args)
    if settings.capacity < 1 or settings.remembered < 0:
        raise ValueError("expected a capacity of at least 1, and no less than 0 remembered")
    return settings, IntentPoolState(loaded=settings.ledger is None)


# -- the ledger -------------------------------------------------------------------------------


def ledger_of(settings: IntentPoolSettings) -> EngineID:
    """The address of the ledger.

    Raises:
        ValueError: there is none.
    """
    if settings.ledger is None:
        raise ValueError("the pool has no ledger")
    return EngineID(None, settings.ledger) if isinstance(settings.ledger, str) else settings.ledger


def load(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState] | None:
    """Have the ledger's intents read, and hear of its blocks from now on."""
    if turn.settings.ledger is None:
        return None
    ledger = ledger_of(turn.settings)
    return Effects(
        replace(turn.state, pause=False, lost=False),
        messages=(turn.send(ledger, SubscribeToBlocks()),),
        watches=(Watch(ledger),),
        operations=(LoadIntents(ledger, turn.settings.table),),
    )


def take_over(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState]:
    """Keep what the ledger has kept, drop what is spent, and handle what has waited for that."""
    message = turn.message
    assert isinstance(message, IntentsLoaded)
    state = turn.state
    if state.loaded:
        # The ledger was away: what it has committed meanwhile counts, and nothing else of it is news.
        return _finish(turn, *_execute(turn, state, message.nullifiers, message.commitments))
    news: tuple[Envelope, ...] = ()
    for serial, intent in sorted(message.intents, key=lambda row: row[0]):
        if intent not in state.intents:
            state, told = _added(turn, state, intent, serial)
            news += told
    serials = [serial for serial, _ in message.intents] + list(message.unreadable)
    held = state.held
    state = replace(
        state,
        loaded=True,
        held=(),
        next_serial=max(serials, default=0) + 1,
        waiting=tuple(Deletion(serial) for serial in message.unreadable),
    )
    # What has been heard of since the ledger was read counts, too.
    heard = [state.spent.of(intent) for _, intent in message.intents]
    nullifiers = message.nullifiers.union(*(consumed for consumed, _ in heard))
    commitments = message.commitments.union(*(created for _, created in heard))
    state, told = _execute(turn, state, nullifiers, commitments)
    return _finish(turn, state, (*news, *told, *held))


def try_later(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState]:
    """Read the ledger again in a while."""
    return Effects(replace(turn.state, lost=True), timers=(SetTimer(RETRY, RETRY_S),))


def try_again(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState] | None:
    """Read the ledger, where that has not been done, or write to it what has waited."""
    if not turn.state.loaded or turn.state.lost:
        return load(turn, None)
    return _finish(turn, replace(turn.state, pause=False), ())


def _finish(
    turn: Turn[IntentPoolState], state: IntentPoolState, messages: tuple[Envelope, ...]
) -> Effects[IntentPoolState]:
    """The effects of a turn; with the next write, if there is something to be written and nothing in flight."""
    if state.flight or not state.waiting or state.pause:
        return Effects(state, messages=messages)
    rows: dict[int, Intent | None] = {}
    for change in state.waiting:
        rows[change.serial] = None if isinstance(change, Deletion) else change.intent
    store = StoreIntents(
        ledger_of(turn.settings),
        turn.settings.table,
        tuple((serial, intent) for serial, intent in rows.items() if intent is not None),
        tuple(serial for serial, intent in rows.items() if intent is None),
    )
    return Effects(replace(state, flight=state.waiting, waiting=()), messages=messages, operations=(store,))


def settle(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState]:
    """Keep the intents that last now, answer, and have written what has gathered meanwhile."""
    message = turn.message
    assert isinstance(message, IntentsStored)
    state = turn.state
    flight = state.flight
    state = replace(state, flight=())
    spent = dict(message.spent)
    messages: list[Envelope] = []
    for change in flight:
        if isinstance(change, Deletion):
            messages += _reply(turn, change.envelope, RemoveIntentReply(removed=True))
            continue
        if isinstance(change, Rest):
            continue
        state = replace(state, coming=state.coming.without(change.intent))
        # It may have been spent while it was on its way to the disk.
        refusal = spent.get(change.serial) or _spent(state, change.intent)
        if refusal is None:
            state, told = _added(turn, state, change.intent, change.serial)
            messages += _reply(turn, change.envelope, IntentAccepted(change.serial))
            messages += told
            continue
        if change.serial not in spent:
            state = replace(state, waiting=(*state.waiting, Deletion(change.serial)))
        messages += _refused(turn, state, change.intent, refusal, change.envelope)
    return _finish(turn, state, tuple(messages))


def give_up(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState]:
    """Refuse the intents that cannot be kept; what is to be deleted is tried again later."""
    state = turn.state
    flight = state.flight
    messages: list[Envelope] = []
    again: list[Change] = []
    for change in flight:
        if not isinstance(change, Candidate):
            again.append(change)
            continue
        state = replace(state, coming=state.coming.without(change.intent))
        messages += _refused(turn, state, change.intent, Refusal.NOT_STORED, change.envelope)
        # Perhaps it was stored all the same.
        again.append(Deletion(change.serial))
    state = replace(state, flight=(), waiting=(*again, *state.waiting), pause=True)
    return Effects(state, messages=tuple(messages), timers=(SetTimer(RETRY, RETRY_S),))


# -- requests ---------------------------------------------------------------------------------


def hold(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState] | None:
    """Keep a message until the ledger has been read; it comes again then."""
    state = turn.state
    if len(state.held) >= MAX_WAITING:
        if not isinstance(turn.message, NewIntent):
            return None
        return Effects(state, replies=(IntentRefused(turn.message.intent, Refusal.FULL),))
    return Effects(replace(state, held=(*state.held, turn.envelope)))


def _not_loaded(turn: Turn[IntentPoolState]) -> bool:
    return not turn.state.loaded


def new_intent(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState]:
    """Keep the intent; with a ledger, once it lasts. Or refuse it."""
    message = turn.message
    assert isinstance(message, NewIntent)
    state = turn.state
    intent = message.intent
    refusal = _refusal(turn.settings, state, intent)
    if refusal is not None:
        refused = IntentRefused(intent, refusal)
        return Effects(state, replies=(refused,), messages=_news(turn, state, refused))
    serial = state.next_serial
    state = replace(state, next_serial=serial + 1)
    if turn.settings.ledger is None:
        state, news = _added(turn, state, intent, serial)
        return Effects(state, replies=(IntentAccepted(serial),), messages=news)
    state = replace(
        state,
        waiting=(*state.waiting, Candidate(serial, intent, turn.envelope)),
        coming=state.coming.put(intent, None),
    )
    return _finish(turn, state, ())


def remove_intent(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState]:
    """Forget the intent at once; with a ledger, answer when it is forgotten there."""
    message = turn.message
    assert isinstance(message, RemoveIntent)
    state = turn.state
    serial = state.intents.get(message.intent)
    if serial is None:
        return Effects(state, replies=(RemoveIntentReply(removed=False),))
    state = _forget(state, message.intent)
    news = _news(turn, state, IntentRemoved(serial, message.intent, Removal.REQUESTED))
    if turn.settings.ledger is None:
        return Effects(state, replies=(RemoveIntentReply(removed=True),), messages=news)
    state = replace(state, waiting=(*state.waiting, Deletion(serial, turn.envelope)))
    return _finish(turn, state, news)


def all_intents(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState]:
    """Answer with all that is kept."""
    return Effects(turn.state, replies=(_everything(turn.state),))


def subscribe(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState] | None:
    """Tell the sender of changes from now on, and of what there is. A sender who is not known cannot be told."""
    sender = turn.sender
    if sender is None:
        return None
    state = turn.state
    watches = (Watch(sender),) if can_be_watched(sender) else ()
    others = tuple(other for other in state.subscribers if other != sender)
    return Effects(replace(state, subscribers=(*others, sender)), replies=(_everything(state),), watches=watches)


def unsubscribe(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState] | None:
    """Tell the sender no more."""
    sender = turn.sender
    if sender is None or sender not in turn.state.subscribers:
        return None
    others = tuple(other for other in turn.state.subscribers if other != sender)
    return Effects(replace(turn.state, subscribers=others), watches=(Unwatch(sender),))


def forget_ended(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState] | None:
    """Forget a subscriber that has ended; look for the ledger again in a while."""
    state, address = turn.state, turn.ended.address
    if turn.settings.ledger is not None and address == ledger_of(turn.settings):
        return Effects(replace(state, pause=True, lost=True), timers=(SetTimer(RETRY, RETRY_S),))
    if address not in state.subscribers:
        return None
    return Effects(replace(state, subscribers=tuple(other for other in state.subscribers if other != address)))


# -- what is executed -------------------------------------------------------------------------


def block_committed(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState]:
    """Have the block read: what has it spent?"""
    message = turn.message
    assert isinstance(message, BlockCommitted)
    return Effects(turn.state, operations=(ReadBlock(ledger_of(turn.settings), message.round),))


def transaction_executed(turn: Turn[IntentPoolState], _args: None) -> Effects[IntentPoolState] | None:
    """Drop the intents that cannot be executed any more, and keep what is left of orders."""
    message = turn.message
    assert isinstance(message, TransactionExecuted)
    if not message.nullifiers and not message.commitments:
        return None
    return _finish(turn, *_execute(turn, turn.state, message.nullifiers, message.commitments))


def _execute(
    turn: Turn[IntentPoolState], state: IntentPoolState, nullifiers: frozenset[bytes], commitments: frozenset[bytes]
) -> tuple[IntentPoolState, tuple[Envelope, ...]]:
    spent = tags(nullifiers, commitments)
    state = replace(state, spent=state.spent.add(spent, turn.settings.remembered))
    touched = {intent: state.intents[intent] for tag in spent for intent in state.of_tag.get(tag, ())}
    messages: tuple[Envelope, ...] = ()
    for intent, serial in sorted(touched.items(), key=_serial):
        state = _forget(state, intent)
        messages += _news(turn, state, IntentRemoved(serial, intent, Removal.EXECUTED))
        rest = after_execution(intent, nullifiers, commitments)
        change: Change = Deletion(serial)
        if rest is not None and rest not in state.intents and rest not in state.coming:
            state, told = _added(turn, state, rest, serial)
            messages += told
            change = Rest(serial, rest)
        if turn.settings.ledger is not None:
            state = replace(state, waiting=(*state.waiting, change))
    return state, messages


# -- pieces -----------------------------------------------------------------------------------


def _serial(pair: tuple[Intent, int]) -> int:
    return pair[1]


def _spent(state: IntentPoolState, intent: Intent) -> Refusal | None:
    """Why it cannot be executed, as far as the pool has heard."""
    nullifiers, commitments = state.spent.of(intent)
    if nullifiers:
        return Refusal.NULLIFIERS_PRESENT
    return Refusal.COMMITMENTS_PRESENT if commitments else None


def _refusal(settings: IntentPoolSettings, state: IntentPoolState, intent: Intent) -> Refusal | None:
    if intent in state.intents or intent in state.coming:
        return Refusal.ALREADY_PRESENT
    spent = _spent(state, intent)
    if spent is not None:
        return spent
    full = len(state.intents) + len(state.coming) >= settings.capacity or len(state.waiting) >= MAX_WAITING
    return Refusal.FULL if full else None


def _forget(state: IntentPoolState, intent: Intent) -> IntentPoolState:
    return replace(state, intents=state.intents.without(intent), of_tag=unindexed(state.of_tag, intent))


def _added(
    turn: Turn[IntentPoolState], state: IntentPoolState, intent: Intent, serial: int
) -> tuple[IntentPoolState, tuple[Envelope, ...]]:
    state = replace(state, intents=state.intents.put(intent, serial), of_tag=indexed(state.of_tag, intent))
    return state, _news(turn, state, IntentAdded(serial, intent))


def _everything(state: IntentPoolState) -> AllIntentsReply:
    return AllIntentsReply(tuple((serial, intent) for intent, serial in sorted(state.intents.items(), key=_serial)))


def _news(turn: Turn[IntentPoolState], state: IntentPoolState, message: Message) -> tuple[Envelope, ...]:
    return tuple(turn.send(subscriber, message) for subscriber in state.subscribers)


def _reply(turn: Turn[IntentPoolState], envelope: Envelope | None, message: Message) -> tuple[Envelope, ...]:
    reply = None if envelope is None else envelope.reply(turn.own, message)
    return () if reply is None else (reply,)


def _refused(
    turn: Turn[IntentPoolState], state: IntentPoolState, intent: Intent, reason: Refusal, envelope: Envelope
) -> tuple[Envelope, ...]:
    message = IntentRefused(intent, reason)
    return _reply(turn, envelope, message) + _news(turn, state, message)


BEHAVIOUR: Final[EngineBehaviour[IntentPoolState]] = EngineBehaviour(
    "intent_pool",
    MESSAGES,
    start,
    First(
        on_started(load),
        on_outcome(IntentsLoaded, take_over),
        on_outcome(LoadFailed, try_later),
        on_outcome(IntentsStored, settle),
        on_outcome(StoreFailed, give_up),
        on(BlockCommitted, block_committed, when=lambda turn: turn.settings.ledger is not None),
        *(on(message, hold, when=_not_loaded) for message in (NewIntent, RemoveIntent, AllIntents, Subscribe)),
        on(NewIntent, new_intent),
        on(RemoveIntent, remove_intent),
        on(AllIntents, all_intents),
        on(Subscribe, subscribe),
        on(Unsubscribe, unsubscribe),
        on(TransactionExecuted, transaction_executed),
        on_elapsed(try_again),
        on_ended(forget_ended),
    ),
)
