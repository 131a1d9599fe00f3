"""Random transactions, and what they do, told twice: as programs, and by an interpreter of their descriptions.

The interpreter knows nothing of shards, locks and messages: it runs one transaction after the other on a dict.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anoma.nock.noun import Cell, Noun, nock_list, noun, term_of_noun
from anoma.programs import ABSENT, Read, Step, Write
from engines.mempool_worker.messages import TransactionCandidate, TransactionLabel
from erlang_bridge.terms import Atom

PYTHON, NOCK, NOCKMA = Atom("python"), Atom("nock"), Atom("nockma")
EXIT = 0x65786974
READ, WRITE, SUM, FAIL_IF_ODD, READ_IF_ODD, WRITE_IF_ODD, FAIL = (
    Atom(name) for name in ("read", "write", "sum", "fail_if_odd", "read_if_odd", "write_if_odd", "fail")
)


# -- the programs -----------------------------------------------------------------------------


def script(*operations: tuple[Any, ...]) -> Any:
    """A generator that does what its arguments say."""
    total = 0
    for operation, *rest in operations:
        if operation is READ or (operation is READ_IF_ODD and total % 2):
            value = yield Read(rest[0])
            total += value if type(value) is int else 0
        elif operation is WRITE or (operation is WRITE_IF_ODD and total % 2):
            yield Write(rest[0], rest[1])
        elif operation is SUM:
            yield Write(rest[0], rest[1] + total)
        elif operation is FAIL or (operation is FAIL_IF_ODD and total % 2):
            raise ValueError(f"the sum is {total}")


class Gather:
    """Asks for all of its reads at once, and writes what depends on the order in which it gets them."""

    def __init__(self, eager: int, lazy: list[Any], targets: list[Any]) -> None:
        self.count = eager + len(lazy)
        self.eager = eager
        self.lazy = tuple(lazy)
        self.targets = tuple(targets)

    def start(self, fingerprint: int, keys: frozenset[Any]) -> tuple[int, int, bool]:
        return 0, 7, False

    def step(self, state: tuple[int, int, bool], read: tuple[Any, Any] | None) -> Step:
        given, total, asked = state
        if read is not None:
            given, total = given + 1, (total * 31 + (read[1] if type(read[1]) is int else 5)) % 1_000_003
        outputs: list[Any] = [] if asked else [Read(key) for key in self.lazy]
        if given == self.count:
            outputs += [Write(key, total) for key in self.targets]
        return Step((given, total, True), tuple(outputs))

    def halted(self, state: tuple[int, int, bool]) -> bool:
        return state[0] == self.count


PROGRAMS: Mapping[str, Any] = {"script": script, "gather": Gather}


# -- descriptions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Spec:
    """One transaction.

    Attributes:
        kind: ``script``, ``gather``, ``nock`` or ``nockma``.
        body: what it does, in the form of its kind.
    """

    kind: str
    eager: frozenset[Any]
    lazy: frozenset[Any]
    will: frozenset[Any]
    may: frozenset[Any]
    body: Any
    id: bytes | None = None

    def candidate(self) -> TransactionCandidate:
        label = TransactionLabel(*(tuple(sorted(keys)) for keys in (self.eager, self.will, self.lazy, self.may)))
        return TransactionCandidate(label, self.executable(), self.id)

    def executable(self) -> Any:
        if self.kind == "script":
            return PYTHON, b"script", list(self.body)
        if self.kind == "gather":
            lazy, targets = self.body
            return PYTHON, b"gather", [len(self.eager), list(lazy), list(targets)]
        if self.kind == "nock":
            return NOCK, term_of_noun(two_stages(self.body))
        key, writes = self.body
        return NOCKMA, term_of_noun(by_reads(key, writes))


def two_stages(writes: tuple[tuple[Any, str, Any], ...]) -> Noun:
    """A core for the Elixir node's convention."""
    formula: Noun = noun(1, 0)
    for target, how, what in reversed(writes):
        formula = Cell(Cell(noun(1, target), _expression(how, what)), formula)
    return noun(noun(1, 0, formula, 0, 909), 0, 707)


def _expression(how: str, what: Any) -> Noun:
    if how == "constant":
        return noun(1, what)
    scry = noun(12, noun(1, 0), noun(0, 6), noun(1, what), 1, 0)
    return noun(4, scry) if how == "one_more" else scry


def by_reads(key: Any, writes: tuple[tuple[Any, str, Any], ...]) -> Noun:
    """A formula for the specification's convention: without a read it asks for `key`, with one it writes and exits."""
    requests: Noun = noun(1, 0)
    for target, how, what in reversed(writes):
        value = noun(1, what) if how == "constant" else noun(4, 0, 7) if how == "one_more" else noun(0, 7)
        requests = Cell(Cell(noun(1, target), value), requests)
    done = Cell(noun(1, EXIT), requests)
    ask = noun(1, 0, nock_list([key]))
    return noun(6, noun(3, 0, 3), done, ask)


@dataclass
class Expected:
    """What a transaction does when it is alone."""

    success: bool
    reads: dict[Any, Any] = field(default_factory=dict)
    writes: dict[Any, Any] = field(default_factory=dict)


class _Fails(Exception):
    pass


def interpret(spec: Spec, store: Mapping[Any, Any]) -> Expected:
    """Run a transaction on a dict."""
    reads = {key: store.get(key, ABSENT) for key in spec.eager}
    writes: dict[Any, Any] = {}

    def read(key: Any) -> Any:
        if key in spec.eager:
            return reads[key]
        if key not in spec.lazy:
            raise _Fails
        reads[key] = store.get(key, ABSENT)
        return reads[key]

    def write(key: Any, value: Any) -> None:
        if key not in spec.will | spec.may:
            raise _Fails
        writes[key] = value

    try:
        {"script": _script, "gather": _gather, "nock": _nock, "nockma": _nockma}[spec.kind](spec, read, write)
        if not spec.will <= writes.keys():
            raise _Fails
    except _Fails:
        return Expected(False, reads)
    return Expected(True, reads, writes)


def _script(spec: Spec, read: Any, write: Any) -> None:
    total = 0
    for operation, *rest in spec.body:
        odd = total % 2 == 1
        if operation is READ or (operation is READ_IF_ODD and odd):
            value = read(rest[0])
            total += 0 if value is ABSENT else value
        elif operation is WRITE or (operation is WRITE_IF_ODD and odd):
            write(rest[0], rest[1])
        elif operation is SUM:
            write(rest[0], rest[1] + total)
        elif operation is FAIL or (operation is FAIL_IF_ODD and odd):
            raise _Fails


def _gather(spec: Spec, read: Any, write: Any) -> None:
    lazy, targets = spec.body
    if not spec.lazy.issuperset(lazy):
        # It asks for all of them before it is given any.
        raise _Fails
    total = 7
    for key in [*sorted(spec.eager), *lazy]:
        value = read(key)
        total = (total * 31 + (5 if value is ABSENT else value)) % 1_000_003
    for key in targets:
        write(key, total)


def _nock(spec: Spec, read: Any, write: Any) -> None:
    # A pair is evaluated head first, so the first write's value is read first.
    found = []
    for target, how, what in spec.body:
        value = what
        if how != "constant":
            value = read(what)
            if value is ABSENT:
                raise _Fails
        found.append((target, value + 1 if how == "one_more" else value))
    for target, value in reversed(found):
        write(target, value)


def _nockma(spec: Spec, read: Any, write: Any) -> None:
    key, writes = spec.body
    value = read(key)
    number = 0 if value is ABSENT else value
    for target, how, what in writes:
        write(target, what if how == "constant" else number + 1 if how == "one_more" else number)


# -- at random --------------------------------------------------------------------------------


def random_spec(rng: random.Random, keys: list[bytes]) -> Spec:
    """A transaction over some of the keys."""
    kind = rng.choices(["script", "gather", "nock", "nockma"], [6, 2, 2, 1])[0]
    reads: list[Any] = []
    sure: list[Any] = []
    perhaps: list[Any] = []
    body: Any
    if kind == "script":
        operations: list[Any] = []
        for _ in range(rng.randint(0, 5)):
            key = rng.choice(keys)
            which = rng.choices(
                [READ, WRITE, SUM, READ_IF_ODD, WRITE_IF_ODD, FAIL_IF_ODD, FAIL], [5, 3, 5, 2, 3, 1, 0.3]
            )[0]
            if which in (READ, READ_IF_ODD):
                operations.append((which, key))
                reads.append(key)
            elif which in (WRITE, SUM):
                operations.append((which, key, rng.randint(0, 9)))
                sure.append(key)
            elif which is WRITE_IF_ODD:
                operations.append((which, key, rng.randint(0, 9)))
                perhaps.append(key)
            else:
                operations.append((which,))
        body = tuple(operations)
    elif kind == "gather":
        reads = rng.sample(keys, rng.randint(0, min(3, len(keys))))
        sure = rng.sample(keys, rng.randint(0, min(2, len(keys))))
        body = None
    else:
        writes = []
        for target in rng.sample(keys, rng.randint(1, min(2, len(keys)))):
            how = rng.choice(["constant", "same", "one_more"])
            key = rng.choice(keys)
            what = rng.randint(0, 9) if how == "constant" else key
            if how != "constant":
                reads.append(key)
            sure.append(target)
            writes.append((target, how, what))
        body = tuple(writes)
        if kind == "nockma":
            reads = [rng.choice(keys)]
            body = (reads[0], body)
    eager = {key for key in reads if rng.random() < 0.5}
    lazy = set(reads) - eager
    may = {key for key in sure if rng.random() < 0.4} | {key for key in perhaps if rng.random() < 0.9}
    will = (set(sure) | set(perhaps)) - may
    if kind == "gather":
        body = (tuple(key for key in reads if key in lazy), tuple(sure))
    elif kind != "nockma":
        # Locks that the program has no use for.
        spare = [key for key in keys if key not in eager | lazy and rng.random() < 0.1]
        eager.update(spare[::2])
        lazy.update(spare[1::2])
        may.update(key for key in keys if key not in will and rng.random() < 0.1)
    if rng.random() < 0.06:
        # A label that does not allow what the program does.
        for keys_of in (eager, lazy, will, may):
            if keys_of and rng.random() < 0.5 and not (kind == "gather" and keys_of is eager):
                keys_of.discard(rng.choice(sorted(keys_of)))
    if kind == "nockma" and reads[0] not in eager:
        eager.clear()
    return Spec(kind, frozenset(eager), frozenset(lazy), frozenset(will), frozenset(may), body)
