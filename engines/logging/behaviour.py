"""What the Logging engine does: keeps the newest entries of a logbook, and passes them on to the program's own log.

Where its settings name a ledger, entries are written there, many at a time, after they have come in: nobody waits for
that, and an entry can be read before it lasts. What a node that is killed had not written yet is lost. While the
ledger fails, entries are kept here, and written when it is back. At the start the newest of the ledger's come before
those that have come in meanwhile, and who asks waits for them.

Pure: functions of environment and message to effects.

Differences from the specification:

* The logbook can be read.
* Entries have a number, a time, a level, and who sent them.
* The logbook is bounded: the oldest entries make room for new ones.

Source: nspec v0.2.0, "Logging Behaviour".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from anoma.persistent_map import EMPTY, PersistentMap
from engines.effects import Effects, SetTimer
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed, on_outcome, on_started
from engines.keeping.behaviour import RETRY_S, KeepingSettings, ledger_of, milliseconds
from engines.keeping.messages import (
    LoadAppended,
    LoadedAppended,
    LoadFailed,
    WriteAppended,
    WriteFailed,
    WrittenAppended,
)
from engines.logging.messages import MESSAGES, Append, Entry, Level, ReadReply, ReadRequest
from engines.messages import Address, EngineID, Envelope
from engines.wire import settings_from
from erlang_bridge.terms import Atom, Pid

RETRY: Final = "retry"
"""Handle of the timer for asking a ledger again that has failed."""

MAX_BATCH: Final = 1000
"""Entries that are written in one go."""

MAX_READ: Final = 10_000
"""Entries in one reply, whatever its request asks for."""

MAX_WAITING: Final = 1000
"""Requests that wait while the logbook is being read; of further ones the oldest are answered with what is there."""

CUT: Final = "..."
"""Ends an entry that was too long."""


@dataclass(frozen=True, slots=True)
class LoggingSettings(KeepingSettings):
    """How much is kept, and where entries go.

    Attributes:
        ledger: the Ledger that keeps it: a name on the same node, or a name and a node. None: nothing lasts longer than
            the engine.
        table: name of the sequence there. None: the engine's own name. Two engines must not share one.
        capacity: entries that are kept.
        max_characters: of all entries that are kept together.
        max_entry: characters of one entry.
        logger: name of Python's logger that entries are passed on to; None: they are not.
        level: only entries that matter at least as much are passed on.
    """

    ledger: str | EngineID | None = None
    table: str | None = None
    capacity: int = 10_000
    max_characters: int = 16_000_000
    max_entry: int = 64_000
    logger: str | None = "anoma"
    level: Level = Level.INFO

    def __post_init__(self) -> None:
        if self.capacity < 1 or self.max_entry < len(CUT) or self.max_characters < self.max_entry:
            raise ValueError(
                f"expected a capacity of 1 or more, max_entry of {len(CUT)} or more, and max_characters of max_entry"
                f" or more, got {self.capacity}, {self.max_entry} and {self.max_characters}"
            )


@dataclass(frozen=True, slots=True)
class PassOn:
    """Operation: log an entry with Python's logging. Nothing comes of it."""

    logger: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class LoggingState:
    """The logbook, and how far it is written.

    Attributes:
        logbook: number to entry.
        last: number of the newest entry; 0: there was none yet.
        dropped: up to which number entries are gone.
        characters: in all entries together.
        loaded: whether what the ledger has is known.
        known: whether it has been once: the numbers are those in the ledger since.
        trouble: why the ledger is not written at the moment; None: it is, or there is none.
        foreign: whether the ledger's sequence is somebody else's: it is left alone.
        held: requests that wait for that, newest first.
        lasting: up to which number the ledger has the entries.
        writing: up to which number it is asked to write; None: it is not asked.
        sequence: number that the ledger has given to the last entry that it has.
    """

    logbook: PersistentMap[int, Entry]
    last: int = 0
    dropped: int = 0
    characters: int = 0
    loaded: bool = True
    known: bool = False
    trouble: str | None = None
    foreign: bool = False
    held: tuple[Envelope, ...] = ()
    lasting: int = 0
    writing: int | None = None
    sequence: int = 0


# -- the logbook ------------------------------------------------------------------------------


def with_entry(state: LoggingState, settings: LoggingSettings, entry: Entry) -> LoggingState:
    """The logbook with one more entry at its end, without the oldest ones if they have to make room."""
    logbook = state.logbook.put(entry.number, entry)
    characters = state.characters + len(entry.value)
    dropped = state.dropped
    while entry.number - dropped > settings.capacity or characters > settings.max_characters:
        dropped += 1
        oldest = logbook.get(dropped)
        if oldest is not None:
            characters -= len(oldest.value)
            logbook = logbook.without(dropped)
    return replace(state, logbook=logbook, last=entry.number, dropped=dropped, characters=characters)


def read(state: LoggingState, message: ReadRequest) -> ReadReply:
    """What answers a request: newest first."""
    limit = min(max(message.limit, 0), MAX_READ)
    number = state.last if message.before is None else min(message.before - 1, state.last)
    found: list[Entry] = []
    while number > state.dropped:
        entry = state.logbook.get(number)
        if entry is not None and entry.level.rank >= message.level.rank:
            if len(found) == limit:
                return ReadReply(tuple(found), True, state.dropped, state.lasting)
            found.append(entry)
        number -= 1
    return ReadReply(tuple(found), False, state.dropped, state.lasting)


def entry_to_term(entry: Entry) -> Any:
    """An entry as the ledger keeps it."""
    source = entry.source
    if isinstance(source, EngineID):
        where: Any = (None if source.node is None else source.node.encode(), source.name.encode())
    else:
        where = source
    return (entry.number, entry.time, Atom(entry.level.value), where, entry.value.encode())


def entry_from_term(term: Any) -> Entry:
    """An entry of what the ledger has.

    Raises:
        ValueError: it is none.
    """
    match term:
        case (int(number), int(time), Atom(level), where, bytes(value)):
            pass
        case _:
            raise ValueError(f"expected {{Number, Time, Level, Source, Text}}, got {term!r:.80}")
    match where:
        case None | Pid():
            source: EngineID | Pid | None = where
        case (None | bytes() as node, bytes(name)):
            source = EngineID(None if node is None else node.decode(), name.decode())
        case _:
            raise ValueError(f"expected {{Node, Name}}, a pid or nil as source, got {where!r:.80}")
    return Entry(number, time, Level(level), source, value.decode())


# -- actions ----------------------------------------------------------------------------------


def append(turn: Turn[LoggingState], _args: None) -> Effects[LoggingState]:
    """Add the entry, pass it on, and have it written where a ledger keeps the logbook."""
    message = turn.message
    assert isinstance(message, Append)
    state = turn.state
    done = _with(turn, state, message.level, turn.sender, message.value)
    return done.then(_write(turn, done.state))


def _with(
    turn: Turn[LoggingState], state: LoggingState, level: Level, source: Address | None, value: str
) -> Effects[LoggingState]:
    """Add an entry, and pass it on."""
    settings = turn.settings
    if len(value) > settings.max_entry:
        value = value[: settings.max_entry - len(CUT)] + CUT
    entry = Entry(state.last + 1, milliseconds(turn), level, source, value)
    passed = settings.logger is not None and level.rank >= settings.level.rank
    return Effects(with_entry(state, settings, entry), operations=(PassOn(settings.logger, entry),) if passed else ())


def read_entries(turn: Turn[LoggingState], _args: None) -> Effects[LoggingState]:
    """Answer with entries, newest first; while what the ledger has is being read, later."""
    message = turn.message
    state = turn.state
    assert isinstance(message, ReadRequest)
    if state.loaded:
        return Effects(state, replies=(read(state, message),))
    if len(state.held) < MAX_WAITING:
        return Effects(replace(state, held=(turn.envelope, *state.held)))
    held = (turn.envelope, *state.held[:-1])
    return Effects(replace(state, held=held), messages=_answers(turn, state, state.held[-1:]))


def load(turn: Turn[LoggingState], _args: None) -> Effects[LoggingState] | None:
    """Have what the ledger has read, where one keeps the logbook; and written what it does not have."""
    if turn.settings.ledger is None:
        return None
    if turn.state.loaded:
        return _write(turn, turn.state)
    return Effects(turn.state, operations=(_load(turn),))


def take_over(turn: Turn[LoggingState], _args: None) -> Effects[LoggingState] | None:
    """Put what the ledger has before the entries that have come in meanwhile, and answer those who have waited."""
    message = turn.message
    state = turn.state
    assert isinstance(message, LoadedAppended)
    settings = turn.settings
    sequence = message.values[-1][0] if message.values else state.sequence
    try:
        earlier = {entry.number: entry for entry in (entry_from_term(term) for _, term in message.values)}
    except ValueError as error:
        text = f"the logbook is not kept: the sequence {_table(turn)} of the ledger has something else in it: {error}"
        alone = replace(state, loaded=True, foreign=True, held=())
        noted = _with(turn, alone, Level.ERROR, turn.own, text)
        return noted.then(Effects(noted.state, messages=_answers(turn, noted.state, state.held)))
    last = max(earlier, default=0)
    if state.known:
        # Read again, after a write of which nobody knew whether it lasts.
        known = replace(state, lasting=max(last, state.lasting))
    else:
        numbers = sorted(earlier)
        first = numbers[0] - 1 if numbers else 0
        known = LoggingState(EMPTY, first, first, lasting=last)
        for number in numbers:
            known = with_entry(known, settings, earlier[number])
        for number in range(state.dropped + 1, state.last + 1):
            known = with_entry(known, settings, replace(state.logbook[number], number=known.last + 1))
    known = replace(known, loaded=True, known=True, held=(), writing=None, sequence=sequence, trouble=None)
    answered = Effects(known, messages=_answers(turn, known, state.held))
    return answered.then(_write(turn, known))


def settle(turn: Turn[LoggingState], _args: None) -> Effects[LoggingState] | None:
    """Note how far the entries last, and have those written that have come since."""
    message = turn.message
    state = turn.state
    assert isinstance(message, WrittenAppended)
    if state.writing is None:
        return None
    after = replace(state, lasting=state.writing, writing=None, sequence=message.last, trouble=None)
    return _write(turn, after)


def put_off(turn: Turn[LoggingState], _args: None) -> Effects[LoggingState]:
    """Keep what the ledger has not got, and ask it again later; those who wait are answered with what is here."""
    message = turn.message
    state = turn.state
    assert isinstance(message, (LoadFailed, WriteFailed))
    lost_sight = isinstance(message, WriteFailed) and not message.certain
    after = replace(state, writing=None, held=(), loaded=state.loaded and not lost_sight, trouble=message.text)
    later = Effects(after, messages=_answers(turn, state, state.held), timers=(SetTimer(RETRY, RETRY_S),))
    if state.trouble is not None:
        return later
    return later.then(_with(turn, after, Level.ERROR, turn.own, f"the logbook is not written: {message.text}"))


def _answers(turn: Turn[LoggingState], state: LoggingState, held: tuple[Envelope, ...]) -> tuple[Envelope, ...]:
    """Replies to requests that have waited, the oldest first."""
    replies = []
    for envelope in reversed(held):
        message = envelope.message
        assert isinstance(message, ReadRequest)
        reply = envelope.reply(turn.own, read(state, message))
        if reply is not None:
            replies.append(reply)
    return tuple(replies)


def _table(turn: Turn[LoggingState]) -> str:
    name: str = turn.settings.table or turn.config.name
    return name


def _load(turn: Turn[LoggingState]) -> LoadAppended:
    return LoadAppended(ledger_of(turn.settings), _table(turn))


def _write(turn: Turn[LoggingState], state: LoggingState) -> Effects[LoggingState]:
    """Have written what the ledger has not got, if it is not writing already."""
    settings = turn.settings
    if settings.ledger is None or state.foreign or not state.loaded or state.writing is not None:
        return Effects(state)
    if RETRY in turn.environment.timers:
        return Effects(state)
    first = max(state.lasting, state.dropped) + 1
    last = min(state.last, first + MAX_BATCH - 1)
    values = tuple(entry_to_term(state.logbook[number]) for number in range(first, last + 1) if number in state.logbook)
    if not values:
        return Effects(state)
    trim = max(state.sequence + len(values) - settings.capacity, 0)
    write = WriteAppended(ledger_of(settings), _table(turn), values, trim)
    return Effects(replace(state, writing=last), operations=(write,))


def start(args: Any) -> tuple[LoggingSettings, LoggingState]:
    """The settings, and an empty logbook.

    Raises:
        ValueError: they are no settings.
    """
    settings = settings_from(LoggingSettings, args)
    return settings, LoggingState(EMPTY, loaded=settings.ledger is None)


BEHAVIOUR: Final[EngineBehaviour[LoggingState]] = EngineBehaviour(
    "logging",
    MESSAGES,
    start,
    First(
        on(Append, append),
        on(ReadRequest, read_entries),
        on_started(load),
        on_outcome(LoadedAppended, take_over),
        on_outcome(LoadFailed, put_off),
        on_outcome(WrittenAppended, settle),
        on_outcome(WriteFailed, put_off),
        on_elapsed(load),
    ),
)
