"""Answering requests for a table that a ledger keeps: in order, and no change is seen before it lasts.

Without a ledger a change is made in the turn of its request. With one:

* One write is in flight at most. What comes meanwhile waits, and goes with the next write, in its order.
* A request for a key that nothing in flight or waiting is about is answered at once, if it changes nothing. So reads
  go on while the disk is slow, and every request sees what came before it for its key.
* The data change, and replies and notifications are sent, when the write lasts. One that has failed changes nothing;
  whoever asked for it is told. Where it is not known whether it has, the table is read again before others go on.
* Until the table has been read at the start, requests wait. While it cannot be read, they are refused, and the reading
  is tried again every `RETRY_S`.

Pure: functions of environment and message to effects.

Source: ours; the specification does not say how storage lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from anoma.persistent_map import EMPTY, PersistentMap
from engines.effects import Effects, SetTimer, Unwatch, Watch
from engines.guards import On, Turn, on_elapsed, on_ended, on_outcome, on_started
from engines.keeping.messages import Load, Loaded, LoadFailed, Write, WriteFailed, Written
from engines.keeping.subscriptions import NO_SUBSCRIPTIONS, Subscriptions, can_be_watched
from engines.messages import EngineID, Envelope, Message
from erlang_bridge.terms import Atom

Data = TypeVar("Data")

RETRY_S: Final = 1.0
"""Seconds until a table that could not be read is tried again."""

MAX_WAITING: Final = 100_000
"""Requests that wait for the ledger; further ones are refused."""

LOAD: Final = "load"
"""Handle of the timer for reading the table again."""

CLOCK: Final = Atom("clock")
"""Key of the row that has the time of the last change. Keys of users are never atoms."""


@dataclass(frozen=True, slots=True)
class KeepingSettings:
    """Where a keeping engine's table is.

    Attributes:
        ledger: the Ledger that keeps it: a name on the same node, or a name and a node. None: nothing lasts longer than
            the engine.
        table: name of the table there. None: the engine's own name. Two engines must not share one.
    """

    ledger: str | EngineID | None = None
    table: str | None = None


@dataclass(frozen=True, slots=True)
class Handled(Generic[Data]):
    """What a request does to the data.

    Attributes:
        data: after it.
        reply: to whoever asked.
        items: rows to be set: keys, and values.
        deleted: rows to be deleted. With neither, `data` is as before.
        news: for those who have subscribed to `about`.
    """

    data: Data
    reply: Message
    items: tuple[tuple[Any, Any], ...] = ()
    deleted: tuple[Any, ...] = ()
    news: Message | None = None
    about: str = ""

    @property
    def writes(self) -> bool:
        return bool(self.items or self.deleted)


Handle = Callable[[Any, Data, Any, int], Handled[Data]]
"""Of settings, data, message, and the time in milliseconds since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class Rules(Generic[Data]):
    """What one type of keeping engine does of its own.

    Attributes:
        key_of: what a request is about: those about different things do not wait for each other.
        refused: the reply to a request that fails, with the reason in words.
        loaded: of settings and the rows of the table, the data. Raises ValueError: they are not its rows.
    """

    key_of: Callable[[Any], Hashable]
    refused: Callable[[Any, str], Message]
    loaded: Callable[[Any, tuple[tuple[Any, Any], ...]], Data]


@dataclass(frozen=True, slots=True)
class Held:
    """A request that waits, and how it is handled."""

    envelope: Envelope
    handle: Handle[Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Requests that wait, newest first."""

    last: Held
    before: Waiting | None
    count: int


@dataclass(frozen=True, slots=True)
class Flight(Generic[Data]):
    """A write that the ledger has not answered yet.

    Attributes:
        data: what they are when it lasts.
        answers: the requests that it is made of, reads among them, and what they do, in order.
    """

    data: Data
    answers: tuple[tuple[Held, Handled[Data]], ...]


class Phase(Enum):
    """How an engine stands to its ledger."""

    MEMORY = "memory"
    """It has none."""
    LOADING = "loading"
    """Its table is being read."""
    READY = "ready"
    """The data are those of the table."""


NOTHING_TOUCHED: Final[PersistentMap[Hashable, None]] = EMPTY


@dataclass(frozen=True, slots=True)
class Keeping(Generic[Data]):
    """How far an engine is with its ledger.

    Attributes:
        known: whether the table has been read before: while it is read again, only keys in `uncertain` are in doubt.
        trouble: why the table cannot be read; None: it can, as far as is known.
        flight: the write that the ledger is asked for.
        waiting: the requests that came since.
        touched: what requests in flight or waiting are about, and what is uncertain.
        uncertain: what a write was about of which nobody knows whether it lasts.
    """

    phase: Phase
    known: bool = False
    trouble: str | None = None
    flight: Flight[Data] | None = None
    waiting: Waiting | None = None
    touched: PersistentMap[Hashable, None] = NOTHING_TOUCHED
    uncertain: PersistentMap[Hashable, None] = NOTHING_TOUCHED


@dataclass(frozen=True, slots=True)
class KeptState(Generic[Data]):
    """State of a keeping engine.

    Attributes:
        data: what lasts of the table.
        keeping: how far it is with its ledger.
        subscriptions: who is told of changes.
    """

    data: Data
    keeping: Keeping[Data]
    subscriptions: Subscriptions = NO_SUBSCRIPTIONS


def first_keeping(settings: KeepingSettings) -> Keeping[Any]:
    """What an engine of these settings begins with."""
    return Keeping(Phase.MEMORY if settings.ledger is None else Phase.LOADING)


def ledger_of(settings: KeepingSettings) -> EngineID:
    """The address of the ledger.

    Raises:
        ValueError: there is none.
    """
    if settings.ledger is None:
        raise ValueError("the engine has no ledger")
    return EngineID(None, settings.ledger) if isinstance(settings.ledger, str) else settings.ledger


def milliseconds(turn: Turn[Any]) -> int:
    """When the turn began, in milliseconds since 1970-01-01 UTC."""
    return int(turn.time_s * 1000)


# -- requests ---------------------------------------------------------------------------------


def request(turn: Turn[Any], rules: Rules[Any], handle: Handle[Any]) -> Effects[Any]:
    """Handle the message that the turn is about: now, or in its order."""
    state = turn.state
    keeping = state.keeping
    message: Any = turn.message
    held = Held(turn.envelope, handle)
    if keeping.phase is Phase.MEMORY:
        handled = handle(turn.settings, state.data, message, milliseconds(turn))
        # Among the messages, since replies go out after them, and the news are to come last.
        messages = _answer(turn, held, handled.reply) + _news(turn, state.subscriptions, handled)
        return Effects(replace(state, data=handled.data), messages=messages)
    key = rules.key_of(message)
    if (keeping.known or keeping.phase is Phase.READY) and key not in keeping.touched:
        handled = handle(turn.settings, state.data, message, milliseconds(turn))
        if not handled.writes:
            return Effects(state, replies=(handled.reply,))
    if keeping.trouble is not None:
        return Effects(state, replies=(rules.refused(message, keeping.trouble),))
    if keeping.phase is Phase.READY and keeping.flight is None:
        return _launch(turn, rules, state, [held])
    before = keeping.waiting
    count = 1 if before is None else before.count + 1
    if count > MAX_WAITING:
        return Effects(state, replies=(rules.refused(message, f"{MAX_WAITING} requests wait for the ledger already"),))
    waiting = Waiting(held, before, count)
    touched = keeping.touched.put(key, None)
    return Effects(replace(state, keeping=replace(keeping, waiting=waiting, touched=touched)))


def _waiting(keeping: Keeping[Any]) -> list[Held]:
    """The requests that wait, oldest first."""
    found = []
    entry = keeping.waiting
    while entry is not None:
        found.append(entry.last)
        entry = entry.before
    found.reverse()
    return found


def _in_order(requests: list[Held]) -> Waiting | None:
    entry: Waiting | None = None
    for count, held in enumerate(requests, 1):
        entry = Waiting(held, entry, count)
    return entry


def _keys(rules: Rules[Any], requests: list[Held]) -> PersistentMap[Hashable, None]:
    touched = NOTHING_TOUCHED
    for held in requests:
        touched = touched.put(rules.key_of(held.envelope.message), None)
    return touched


def _news(turn: Turn[Any], subscriptions: Subscriptions, handled: Handled[Any]) -> tuple[Envelope, ...]:
    if handled.news is None:
        return ()
    return tuple(turn.send(target, handled.news) for target in subscriptions.targets(handled.about))


def _answer(turn: Turn[Any], held: Held, reply: Message) -> tuple[Envelope, ...]:
    envelope = held.envelope.reply(turn.own, reply)
    return () if envelope is None else (envelope,)


def _launch(turn: Turn[Any], rules: Rules[Any], state: Any, requests: list[Held]) -> Effects[Any]:
    """Have the ledger write what `requests` change. Where that is nothing they are done."""
    data = state.data
    rows: dict[Any, tuple[Any] | None] = {}
    answers = []
    for held in requests:
        handled = held.handle(turn.settings, data, held.envelope.message, milliseconds(turn))
        data = handled.data
        rows.update(dict.fromkeys(handled.deleted))
        rows.update({key: (value,) for key, value in handled.items})
        answers.append((held, handled))
    if not rows:
        keeping = replace(state.keeping, waiting=None, flight=None, touched=NOTHING_TOUCHED)
        messages = tuple(envelope for held, handled in answers for envelope in _answer(turn, held, handled.reply))
        return Effects(replace(state, keeping=keeping), messages=messages)
    settings = turn.settings
    write = Write(
        ledger_of(settings),
        settings.table or turn.config.name,
        tuple((key, row[0]) for key, row in rows.items() if row is not None),
        tuple(key for key, row in rows.items() if row is None),
    )
    flight = Flight(data, tuple(answers))
    keeping = replace(state.keeping, waiting=None, flight=flight, touched=_keys(rules, requests))
    return Effects(replace(state, keeping=keeping), operations=(write,))


# -- what the ledger says ---------------------------------------------------------------------


def load_table(turn: Turn[Any], _args: None) -> Effects[Any] | None:
    """Have the table read, where a ledger keeps it."""
    settings = turn.settings
    if settings.ledger is None:
        return None
    return Effects(turn.state, operations=(Load(ledger_of(settings), settings.table or turn.config.name),))


def _loaded(turn: Turn[Any], rules: Rules[Any]) -> Effects[Any]:
    state = turn.state
    message = turn.message
    assert isinstance(message, Loaded)
    try:
        data = rules.loaded(turn.settings, message.items)
    except ValueError as error:
        table = turn.settings.table or turn.config.name
        return _unread(turn, rules, f"the table {table} of {ledger_of(turn.settings)} is another engine's: {error}")
    requests = _waiting(state.keeping)
    return _launch(turn, rules, replace(state, data=data, keeping=Keeping(Phase.READY, known=True)), requests)


def _unread(turn: Turn[Any], rules: Rules[Any], text: str) -> Effects[Any]:
    state = turn.state
    keeping = state.keeping
    messages = tuple(
        envelope
        for held in _waiting(keeping)
        for envelope in _answer(turn, held, rules.refused(held.envelope.message, text))
    )
    keeping = replace(keeping, trouble=text, waiting=None, touched=keeping.uncertain)
    return Effects(replace(state, keeping=keeping), messages=messages, timers=(SetTimer(LOAD, RETRY_S),))


def _written(turn: Turn[Any], rules: Rules[Any]) -> Effects[Any] | None:
    state = turn.state
    flight = state.keeping.flight
    if flight is None:
        return None
    messages: list[Envelope] = []
    for held, handled in flight.answers:
        messages += _answer(turn, held, handled.reply)
        messages += _news(turn, state.subscriptions, handled)
    after = replace(state, data=flight.data)
    done: Effects[Any] = Effects(after, messages=tuple(messages))
    return done.then(_launch(turn, rules, after, _waiting(state.keeping)))


def _write_failed(turn: Turn[Any], rules: Rules[Any]) -> Effects[Any] | None:
    state = turn.state
    message = turn.message
    flight = state.keeping.flight
    if flight is None:
        return None
    assert isinstance(message, WriteFailed)
    messages: list[Envelope] = []
    again: list[Held] = []
    for held, handled in flight.answers:
        request_message = held.envelope.message
        if not handled.writes and not message.certain:
            again.append(held)
            continue
        if not handled.writes:
            # What it has seen was not to be.
            now = held.handle(turn.settings, state.data, request_message, milliseconds(turn))
        else:
            now = handled
        reply = rules.refused(request_message, message.text) if now.writes else now.reply
        messages += _answer(turn, held, reply)
    refused: Effects[Any] = Effects(state, messages=tuple(messages))
    if message.certain:
        return refused.then(_launch(turn, rules, state, _waiting(state.keeping)))
    requests = again + _waiting(state.keeping)
    uncertain = _keys(rules, [held for held, _ in flight.answers])
    touched = uncertain
    for held in requests:
        touched = touched.put(rules.key_of(held.envelope.message), None)
    keeping: Keeping[Any] = Keeping(
        Phase.LOADING, known=True, waiting=_in_order(requests), touched=touched, uncertain=uncertain
    )
    load = Load(ledger_of(turn.settings), turn.settings.table or turn.config.name)
    return refused.then(Effects(replace(state, keeping=keeping), operations=(load,)))


# -- subscriptions ----------------------------------------------------------------------------


def subscribe(turn: Turn[Any], key: str, prefix: bool, reply: Message) -> Effects[Any] | None:
    """Tell the sender of changes from now on. A sender who is not known cannot be told."""
    sender = turn.sender
    if sender is None:
        return None
    state = turn.state
    watches = (Watch(sender),) if can_be_watched(sender) else ()
    after = replace(state, subscriptions=state.subscriptions.add(sender, key, prefix))
    return Effects(after, replies=(reply,), watches=watches)


def unsubscribe(turn: Turn[Any], key: str, prefix: bool, reply: Callable[[bool], Message]) -> Effects[Any] | None:
    """Do not tell the sender any more.

    Args:
        reply: of whether there was a subscription.
    """
    sender = turn.sender
    if sender is None:
        return None
    state = turn.state
    rest = state.subscriptions.remove(sender, key, prefix)
    watches: tuple[Unwatch, ...] = ()
    if rest is not state.subscriptions and sender not in rest.of_subscriber:
        watches = (Unwatch(sender),)
    there = rest is not state.subscriptions
    return Effects(replace(state, subscriptions=rest), replies=(reply(there),), watches=watches)


def forget_subscriber(turn: Turn[Any], _args: None) -> Effects[Any] | None:
    """Forget the subscriptions of one that has ended."""
    rest = turn.state.subscriptions.forget(turn.ended.address)
    return None if rest is turn.state.subscriptions else Effects(replace(turn.state, subscriptions=rest))


# -- guards -----------------------------------------------------------------------------------


def guards(rules: Rules[Any]) -> tuple[On[Any], ...]:
    """The guards that every keeping engine has beside those for its requests."""

    def take_over(turn: Turn[Any], _args: None) -> Effects[Any] | None:
        """Take over what the table has, and handle the requests that have waited for it."""
        return _loaded(turn, rules)

    def refuse_all(turn: Turn[Any], _args: None) -> Effects[Any] | None:
        """Refuse the requests that wait, and try again later."""
        message = turn.message
        assert isinstance(message, LoadFailed)
        return _unread(turn, rules, message.text)

    def settle(turn: Turn[Any], _args: None) -> Effects[Any] | None:
        """Let the change be seen, answer and notify, and have written what has gathered meanwhile."""
        return _written(turn, rules)

    def refuse(turn: Turn[Any], _args: None) -> Effects[Any] | None:
        """Refuse what is not stored; where that is not certain, have the table read again."""
        return _write_failed(turn, rules)

    return (
        on_started(load_table),
        on_outcome(Loaded, take_over),
        on_outcome(LoadFailed, refuse_all),
        on_outcome(Written, settle),
        on_outcome(WriteFailed, refuse),
        on_elapsed(load_table),
        on_ended(forget_subscriber),
    )
