"""Running a program under a label: what it may read and write, in which order it gets what it reads, when it fails.

The order in which reads arrive does not matter: a program begins when all of its eager reads are there, gets those in
the order of the keys, and then the others in the order in which it has asked for them. What it writes is kept until it
halts.

Pure.

Source: nspec v0.2.0, "Executor behaviour"; repaired where that depends on the order of arrival, drops reads and writes
outside of the label, and leaves the last step out of the summary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from anoma.keys import Key, check_key, in_order
from anoma.programs.runnable import ABSENT, Failure, Read, Runnable, Step, as_term
from anoma.versioned_map import VersionedMap
from erlang_bridge import etf
from erlang_bridge.errors import BridgeError, brief

NO_KEYS: Final[frozenset[Any]] = frozenset()
MOST_BYTES: Final = 128 * 1024 * 1024
"""Of all that a program reads and writes, keys and values as terms. What is more cannot become part of a block."""

_MOST_ERROR: Final = 10_000
"""Characters of an error."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Which keys a program may touch, and how.

    Attributes:
        eager_reads: read in any case, and as soon as that can be.
        lazy_reads: read when the program asks for them.
        will_writes: written in any case.
        may_writes: perhaps written.
    """

    eager_reads: frozenset[Key] = NO_KEYS
    lazy_reads: frozenset[Key] = NO_KEYS
    will_writes: frozenset[Key] = NO_KEYS
    may_writes: frozenset[Key] = NO_KEYS

    @property
    def reads(self) -> frozenset[Key]:
        return self.eager_reads | self.lazy_reads if self.lazy_reads else self.eager_reads

    @property
    def writes(self) -> frozenset[Key]:
        return self.will_writes | self.may_writes if self.may_writes else self.will_writes

    def check(self) -> None:
        """See that all of them are keys, and that none is in two sets that exclude each other.

        Raises:
            ValueError: what is wrong.
        """
        for keys in (self.eager_reads, self.lazy_reads, self.will_writes, self.may_writes):
            for key in keys:
                check_key(key)
        for both, names in (
            (self.eager_reads & self.lazy_reads, "eager and lazy reads"),
            (self.will_writes & self.may_writes, "writes that will and that may be"),
        ):
            if both:
                raise ValueError(f"expected no key in both {names}, got {brief(in_order(both)[0], 80)} in both")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a program.

    Attributes:
        success: False: it has written nothing.
        reads: the eager reads, and the others that it was given, in the order of the keys; a value, or `ABSENT`.
            None where they are too large, for a program that has failed.
        writes: what it has written, in the order of the keys.
        error: why it failed, in words.
    """

    success: bool
    reads: tuple[tuple[Key, Any], ...] = ()
    writes: tuple[tuple[Key, Any], ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a program, between two arrivals.

    Attributes:
        state: of the program; it has none before it begins.
        arrived: every read that has arrived.
        given: keys of those that the program has been given.
        asked: keys that it has asked for and not been given, in that order.
        writes: what it has written so far.
        outcome: once it is over.
    """

    runnable: Runnable
    rights: Rights
    fingerprint: int
    state: Any = None
    begun: bool = False
    arrived: VersionedMap[Key, Any] = field(default_factory=VersionedMap)
    given: VersionedMap[Key, None] = field(default_factory=VersionedMap)
    asked: tuple[Key, ...] = ()
    writes: VersionedMap[Key, Any] = field(default_factory=VersionedMap)
    outcome: Outcome | None = None


def begin(runnable: Runnable, rights: Rights, fingerprint: int) -> tuple[Execution, tuple[Key, ...]]:
    """A program from its beginning.

    Returns:
        The run, and which of its lazy reads are wanted now.
    """
    return _go_on(Execution(runnable, rights, fingerprint))


def receive(execution: Execution, key: Key, value: Any) -> tuple[Execution, tuple[Key, ...]]:
    """A read has arrived. The second for one key, and what nobody has asked for, change nothing.

    Returns:
        As of `begin`.
    """
    rights = execution.rights
    arrived = execution.arrived
    if execution.outcome is not None or key in arrived:
        return execution, ()
    if key not in rights.eager_reads and key not in execution.asked:
        return execution, ()
    return _go_on(_with(execution, arrived=arrived.put(key, value)))


def _go_on(execution: Execution) -> tuple[Execution, tuple[Key, ...]]:
    """Give the program whatever there is for it, up to where it has to wait."""
    run = _Run(execution)
    run.go_on()
    return run.result(), tuple(run.wanted)


def _with(execution: Execution, *, arrived: VersionedMap[Key, Any]) -> Execution:
    return Execution(
        execution.runnable,
        execution.rights,
        execution.fingerprint,
        execution.state,
        execution.begun,
        arrived,
        execution.given,
        execution.asked,
        execution.writes,
    )


class _Run:
    """The steps of one arrival; what changes meanwhile."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.runnable = execution.runnable
        self.rights = execution.rights
        self.state = execution.state
        self.begun = execution.begun
        self.arrived = execution.arrived
        self.given = execution.given
        self.asked = list(execution.asked)
        self.writes = execution.writes
        self.wanted: list[Key] = []
        self.outcome: Outcome | None = None

    def result(self) -> Execution:
        return Execution(
            self.runnable,
            self.rights,
            self.execution.fingerprint,
            self.state,
            self.begun,
            self.arrived,
            self.given,
            tuple(self.asked),
            self.writes,
            self.outcome,
        )

    def go_on(self) -> None:
        eager = self.rights.eager_reads
        if not self.begun:
            if any(key not in self.arrived for key in eager):
                return
            self.begun = True
            keys = self.rights.reads | self.rights.writes
            self.state = self.runnable.start(self.execution.fingerprint, keys)
            if eager:
                for key in in_order(eager):
                    if not self.step((key, self.arrived[key])):
                        return
            elif not self.step(None):
                return
        while self.asked and self.asked[0] in self.arrived:
            key = self.asked.pop(0)
            if not self.step((key, self.arrived[key])):
                return
        if not self.asked:
            self.fail("the program neither halts nor waits for a read")

    def step(self, read: tuple[Key, Any] | None) -> bool:
        """One step. False: it was the last one."""
        if read is not None:
            self.given = self.given.put(read[0], None)
        stepped = self.runnable.step(self.state, read)
        if type(stepped) is not Step:
            reason = stepped.reason if type(stepped) is Failure else f"the program gave {brief(stepped, 80)}"
            self.fail(reason)
            return False
        self.state = stepped.state
        for output in stepped.outputs:
            problem = self.ask(output.key) if type(output) is Read else self.write(output)
            if problem is not None:
                self.fail(problem)
                return False
        if self.runnable.halted(self.state):
            self.halt()
            return False
        return True

    def ask(self, key: Key) -> str | None:
        rights = self.rights
        try:
            check_key(key)  # 1.0 and true are equal to 1 in Python, and are other terms
            if key in rights.lazy_reads:
                if key not in self.given and key not in self.asked:
                    self.asked.append(key)
                    if key not in self.arrived:
                        self.wanted.append(key)
                return None
            if key in rights.eager_reads:
                return None
        except ValueError:
            pass
        return f"the program reads {brief(key, 80)}, which its label does not allow"

    def write(self, output: Any) -> str | None:
        rights = self.rights
        key = output.key
        try:
            check_key(key)
        except ValueError:
            return f"the program writes {brief(key, 80)}, which its label does not allow"
        if key not in rights.will_writes and key not in rights.may_writes:
            return f"the program writes {brief(key, 80)}, which its label does not allow"
        try:
            value = as_term(output.value)
        except BridgeError as error:
            return f"the program writes what is no term: {error}"
        self.writes = self.writes.put(key, value)
        return None

    def halt(self) -> None:
        missing = [key for key in self.rights.will_writes if key not in self.writes]
        if missing:
            self.fail(f"the program halts without writing {brief(in_order(missing)[0], 80)}, as its label promises")
            return
        writes = tuple((key, self.writes[key]) for key in in_order(self.writes))
        reads = self.reads()
        if _bytes_of(reads) + _bytes_of(writes) > MOST_BYTES:
            self.fail(f"the program reads and writes more than {MOST_BYTES} bytes")
            return
        self.outcome = Outcome(True, reads, writes)
        self.over()

    def fail(self, error: str) -> None:
        reads = self.reads()
        if _bytes_of(reads) > MOST_BYTES:
            reads = ()
        # A program's own words may be anything; these are a term.
        text = error[:_MOST_ERROR].encode(errors="replace").decode()
        self.outcome = Outcome(False, reads, (), text)
        self.over()

    def reads(self) -> tuple[tuple[Key, Any], ...]:
        arrived = self.arrived
        keys = self.rights.eager_reads
        if self.rights.lazy_reads:
            keys = keys.union(self.given)
        return tuple((key, arrived[key]) for key in in_order(keys) if key in arrived)

    def over(self) -> None:
        """What the program was, and has asked for and not been given, is of no more use."""
        self.state = None
        self.asked = []
        self.wanted = []


def _bytes_of(pairs: tuple[tuple[Key, Any], ...]) -> int:
    """How large keys and values are as terms, about."""
    total = 0
    for pair in pairs:
        for part in pair:
            kind = type(part)
            if kind is bytes:
                total += len(part)
            elif kind is int:
                total += part.bit_length() >> 3
            elif part is not ABSENT:
                total += len(etf.encode(part))
    return total
