"""What the Logging engine takes and sends.

Source: nspec v0.2.0, "Logging Messages". Levels, and that the logbook can be read, are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Final

from engines.messages import EngineID, Message
from engines.wire import Value
from erlang_bridge.terms import Pid


class Level(Enum):
    """How much an entry matters: the levels of OTP's logger, the least first."""

    DEBUG = "debug"
    INFO = "info"
    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"
    ALERT = "alert"
    EMERGENCY = "emergency"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return _RANKS[self]


_RANKS: Final = {level: rank for rank, level in enumerate(Level)}


class LoggingMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "logging"


@dataclass(frozen=True, slots=True)
class Entry(Value):
    """One entry of the logbook.

    Attributes:
        number: the entries are numbered from 1 in the order in which they came.
        time: when it came, in milliseconds since 1970-01-01 UTC.
        level: how much it matters.
        source: who sent it; None: that is not known.
        value: its text.
    """

    number: int
    time: int
    level: Level
    source: EngineID | Pid | None
    value: str


@dataclass(frozen=True, slots=True)
class Append(LoggingMessage):
    """Add an entry to the logbook. No reply, so it is to be cast: a call would wait for one until its timeout.

    Attributes:
        value: its text. What is longer than an entry may be is cut off.
        level: how much it matters.
    """

    value: str
    level: Level = Level.INFO


@dataclass(frozen=True, slots=True)
class ReadRequest(LoggingMessage):
    """Ask for entries; `ReadReply` comes back.

    Attributes:
        limit: at most so many, the newest ones.
        level: only those that matter at least as much.
        before: only those of lower numbers; None: all.
    """

    limit: int = 100
    level: Level = Level.DEBUG
    before: int | None = None


@dataclass(frozen=True, slots=True)
class ReadReply(LoggingMessage):
    """Entries of the logbook.

    Attributes:
        entries: newest first.
        more: whether there are older ones: ask again, with the last one's number as `before`.
        dropped: up to which number entries are gone, to make room.
        lasting: up to which number they last; 0 where no ledger keeps the logbook.
    """

    entries: tuple[Entry, ...]
    more: bool
    dropped: int
    lasting: int


MESSAGES: Final = (Append, ReadRequest, ReadReply)
