"""What an Executor sends and takes, besides the Shard's messages.

Source: nspec v0.2.0, "Executor messages". Timestamp and error of `ExecutorFinished`, and `ShardRestored`, are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engines.ledger.records import MaybeValue
from engines.messages import EngineID, Message
from engines.shard.messages import KVSRead, KVSReadRequest, KVSWrite


class ExecutorMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "executor"


@dataclass(frozen=True, slots=True)
class ExecutorFinished(ExecutorMessage):
    """A transaction has run, for better or worse. To the worker and to the issuer.

    Attributes:
        success: False: it has failed, and has written nothing.
        values_read: each key that it has read, and the value, or `ABSENT`; in the order of the keys.
        values_written: each key that it has written, and the value; in the order of the keys.
        timestamp: its fingerprint.
        error: why it has failed, in words; None where it has not.
    """

    success: bool
    values_read: tuple[tuple[Any, MaybeValue], ...]
    values_written: tuple[tuple[Any, Any], ...]
    timestamp: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ShardRestored(ExecutorMessage):
    """A shard that was gone is back, and knows the transaction's lock again: ask it again for what has not come.

    Attributes:
        shard: which.
    """

    shard: EngineID


MESSAGES: Final = (ExecutorFinished, ShardRestored, KVSRead, KVSReadRequest, KVSWrite)
