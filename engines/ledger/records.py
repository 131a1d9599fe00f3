"""The values that a ledger keeps.

Pure: no processes, no clock.

Source: nspec v0.2.0, "Mempool worker" (fingerprints), and its pages on blocks of the ledger. That a block is a run of
consecutive fingerprints, and the chain of hashes, are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from anoma.programs.runnable import ABSENT, Absent
from engines.messages import EngineID
from engines.wire import Value
from erlang_bridge.errors import brief
from erlang_bridge.etf.conversions import Conversion, Mismatch
from erlang_bridge.terms import Atom, Pid

HASH_BYTES: Final = 32
"""Of BLAKE3."""

NO_HASH: Final = bytes(HASH_BYTES)
"""Stands as the previous hash in the first block."""


if TYPE_CHECKING:
    MaybeValue = Any
else:

    class MaybeValue:
        """A value, or `ABSENT`. As a term: ``{value, Value}``, or the atom ``absent``."""

        @classmethod
        def wire_conversion(cls) -> Conversion:
            return Conversion(_maybe_from, _maybe_to)


_VALUE: Final = Atom("value")
_ABSENT: Final = Atom("absent")


def _maybe_from(term: Any) -> Any:
    if term is _ABSENT:
        return ABSENT
    if type(term) is tuple and len(term) == 2 and term[0] is _VALUE:
        return term[1]
    raise Mismatch(f"should be {{value, Value}} or absent, got {brief(term, 80)}")


def _maybe_to(value: Any) -> Any:
    return _ABSENT if isinstance(value, Absent) else (_VALUE, value)


@dataclass(frozen=True, slots=True)
class JournalEntry(Value):
    """A transaction that has been accepted, and is in no block yet.

    Attributes:
        fingerprint: its height, dense from 1.
        candidate: what it is to do, a term.
        issuer: who wants to hear of its end.
    """

    fingerprint: int
    candidate: Any
    issuer: EngineID | Pid | None = None


@dataclass(frozen=True, slots=True)
class CommittedTransaction(Value):
    """A transaction that has run, for better or worse.

    Attributes:
        fingerprint: its height.
        candidate: what it was to do, as in its `JournalEntry`.
        success: False: it has failed, and has written nothing.
        error: why it has failed, a term; None where it has not.
        reads: each key that it has read, and the value or `ABSENT`.
        writes: each key that it has written, once, and the value.
    """

    fingerprint: int
    candidate: Any
    success: bool = True
    error: Any = None
    reads: tuple[tuple[Any, MaybeValue], ...] = ()
    writes: tuple[tuple[Any, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Block(Value):
    """A run of consecutive transactions that became final together.

    Attributes:
        round: its number, dense from 1.
        first, last: fingerprints of its first and last transaction.
        previous_hash: the hash of the block before; `NO_HASH` in the first.
        hash: BLAKE3 of all the rest, see `blocks.block_hash`.
    """

    round: int
    first: int
    last: int
    transactions: tuple[CommittedTransaction, ...]
    previous_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Heights(Value):
    """How far a ledger is.

    Attributes:
        next_round: of the block to come.
        committed: the last fingerprint that is in a block; 0: none is.
        next_fingerprint: of the transaction to be accepted next.
    """

    next_round: int = 1
    committed: int = 0
    next_fingerprint: int = 1

    @property
    def pending(self) -> int:
        """How many transactions are accepted, and in no block yet."""
        return self.next_fingerprint - 1 - self.committed


__all__ = [
    "ABSENT",
    "HASH_BYTES",
    "NO_HASH",
    "Absent",
    "Block",
    "CommittedTransaction",
    "Heights",
    "JournalEntry",
    "MaybeValue",
]
