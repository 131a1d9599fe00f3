"""What a keeping engine has done outside of it, and what it hears of that.

None of these goes over the wire: the engine tells itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from engines.messages import EngineID, Message


@dataclass(frozen=True, slots=True)
class Load:
    """Read a whole table. `Loaded` or `LoadFailed` comes of it."""

    ledger: EngineID
    table: str


@dataclass(frozen=True, slots=True)
class Write:
    """Change rows of a table, all or none. `Written` or `WriteFailed` comes of it.

    Attributes:
        items: keys and the values they have from now on.
        deleted: keys to delete.
    """

    ledger: EngineID
    table: str
    items: tuple[tuple[Any, Any], ...]
    deleted: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class LoadAppended:
    """Read a whole sequence. `LoadedAppended` or `LoadFailed` comes of it."""

    ledger: EngineID
    table: str


@dataclass(frozen=True, slots=True)
class WriteAppended:
    """Add to a sequence, and drop its beginning. `WrittenAppended` or `WriteFailed` comes of it.

    Attributes:
        trim: what has a number up to this one is dropped.
    """

    ledger: EngineID
    table: str
    values: tuple[Any, ...]
    trim: int


class KeepingMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "keeping"


@dataclass(frozen=True, slots=True)
class Loaded(KeepingMessage):
    """The table.

    Attributes:
        items: keys and values, in any order.
    """

    items: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True, slots=True)
class LoadedAppended(KeepingMessage):
    """The sequence.

    Attributes:
        values: numbers and values, oldest first.
    """

    values: tuple[tuple[int, Any], ...]


@dataclass(frozen=True, slots=True)
class LoadFailed(KeepingMessage):
    """The ledger cannot be read.

    Attributes:
        text: why.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Written(KeepingMessage):
    """The change lasts."""


@dataclass(frozen=True, slots=True)
class WrittenAppended(KeepingMessage):
    """What was appended lasts.

    Attributes:
        last: number of the last value of the sequence.
    """

    last: int


@dataclass(frozen=True, slots=True)
class WriteFailed(KeepingMessage):
    """The change does not last, or it is not known whether it does.

    Attributes:
        text: why.
        certain: whether it is known that nothing has changed.
    """

    text: str
    certain: bool
