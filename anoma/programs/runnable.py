"""What every program is: a state that is stepped, by one read at a time.

Pure.

Source: nspec v0.2.0, "Executor behaviour", trait ``Runnable`` (``executeStep``, ``halted``, ``startingState``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from anoma.keys import Key
from erlang_bridge import etf
from erlang_bridge.terms import Atom


class Absent:
    """What a key reads as that was never written. There is one, `ABSENT`; it is false."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "ABSENT"

    def __copy__(self) -> Absent:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Absent:
        return self

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
"""Any term can be a value, so no term can stand for "none"."""


@dataclass(frozen=True, slots=True)
class Read:
    """A program asks for the value of a key."""

    key: Key


@dataclass(frozen=True, slots=True)
class Write:
    """A program gives a key a value, a term. Of several for one key the last counts."""

    key: Key
    value: Any


Output: TypeAlias = Read | Write


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a step.

    Attributes:
        state: the whole new state of the program.
        outputs: what it asks for and writes, in order.
    """

    state: Any
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A step could not be done; the transaction fails.

    Attributes:
        reason: in words.
    """

    reason: str


class Runnable(Protocol):
    """A program that is ready to run. All of it is functions of their arguments: a state can be stepped twice."""

    def start(self, fingerprint: int, keys: frozenset[Key]) -> Any:
        """The first state.

        Args:
            fingerprint: of the transaction.
            keys: those that its label names.
        """

    def step(self, state: Any, read: tuple[Key, Any] | None) -> Step | Failure:
        """Run up to where the program needs something that it does not have, or halts.

        Args:
            read: a key, and its value or `ABSENT`. None: there is nothing to begin with.
        """

    def halted(self, state: Any) -> bool:
        """Whether it is done."""


_LEAVES: Final = frozenset({bytes, int, Atom, type(None), bool})
"""Types whose values all are terms, and the same ones; a float may be infinite."""


def as_term(value: Any) -> Any:
    """A copy of a value as the term that it is: what a store gives back, and shared with nobody.

    Raises:
        EtfEncodeError: it is no term.

    Example:
        >>> as_term(("a", [1, 2]))
        (b'a', [1, 2])
    """
    kind = type(value)
    if kind in _LEAVES:
        return value
    if (kind is tuple or kind is list) and all(type(part) in _LEAVES for part in value):
        return value if kind is tuple else list(value)
    return etf.decode(etf.encode(value))
