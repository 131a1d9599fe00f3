"""Programs of every kind under labels: what they read and write, in which order, and when they fail."""

from __future__ import annotations

import copy
import itertools
import pickle
import random
import re
from typing import Any

import pytest

from anoma.nock.jam import jam
from anoma.nock.noun import noun_of_term, parse_noun, term_of_noun
from anoma.programs import ABSENT, Failure, Read, Step, Write
from anoma.programs.execution import Execution, Outcome, Rights, begin, receive
from anoma.programs.kinds import load
from anoma.programs.standard import STANDARD
from erlang_bridge import etf
from erlang_bridge.terms import Atom
from tests.property.ordering.cases import PROGRAMS, interpret, random_spec

PYTHON, NOCK, NOCKMA = Atom("python"), Atom("nock"), Atom("nockma")
A, B, C = b"a", b"b", b"c"


def rights(eager: str = "", lazy: str = "", will: str = "", may: str = "") -> Rights:
    return Rights(*(frozenset(letter.encode() for letter in letters) for letters in (eager, lazy, will, may)))


def run(
    executable: Any, allowed: Rights, store: dict[bytes, Any] | None = None, programs: Any = STANDARD, seed: int = 0
) -> Outcome:
    """Run a program to its end; its reads arrive in some order."""
    store = store or {}
    rng = random.Random(seed)
    execution, wanted = begin(load(executable, programs), allowed, 7)
    on_the_way = [*allowed.eager_reads, *wanted]
    while execution.outcome is None:
        key = on_the_way.pop(rng.randrange(len(on_the_way)))
        execution, wanted = receive(execution, key, store.get(key, ABSENT))
        on_the_way += wanted
    return execution.outcome


def python(function: Any, allowed: Rights, store: dict[bytes, Any] | None = None, args: Any = ()) -> Outcome:
    return run((PYTHON, b"it", list(args)), allowed, store, {"it": function})


def nock(text: str) -> Any:
    return term_of_noun(parse_noun(text))


# -- Python -------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [rights("ab", will="ab"), rights("a", "b", "a", "b"), rights("", "ab", "", "ab")])
def test_a_transfer(allowed: Rights):
    outcome = run((PYTHON, b"transfer", [A, B, 3]), allowed, {A: 5})
    assert outcome == Outcome(True, ((A, 5), (B, ABSENT)), ((A, 2), (B, 3)))


def test_an_exception_fails_it_and_says_where():
    outcome = run((PYTHON, b"transfer", [A, B, 9]), rights("ab", will="ab"), {A: 5})
    assert (outcome.success, outcome.writes) == (False, ())
    assert outcome.error is not None
    assert (
        "ValueError: expected an amount from 0 to 5, which is what there is, got 9, in standard.py, line"
        in outcome.error
    )


def test_reads_are_of_the_time_before_and_the_last_write_counts():
    def program() -> Any:
        yield Write(A, 1)
        before = yield Read(A)
        yield Write(A, before + 1)

    assert python(program, rights("a", will="a"), {A: 40}).writes == ((A, 41),)


def test_a_program_cannot_change_what_it_was_given():
    value = {Atom("list"): [1, 2]}
    args = [[1]]

    def program(numbers: list[int]) -> Any:
        read = yield Read(A)
        read[Atom("list")].append(3)
        numbers.append(2)
        yield Write(A, read)
        read[Atom("list")].append(4)
        again = yield Read(A)
        yield Write(B, [numbers, again])

    outcome = python(program, rights("a", will="ab"), {A: value}, args)
    assert value == {Atom("list"): [1, 2]}
    assert args == [[1]]
    assert dict(outcome.writes) == {A: {Atom("list"): [1, 2, 3]}, B: [[1, 2], {Atom("list"): [1, 2]}]}


def test_text_is_the_binary_that_a_store_gives_back():
    def program() -> Any:
        yield Write("a", ("text", {"key": 1}))

    assert python(program, rights(will="a")).writes == ((A, (b"text", {b"key": 1})),)


@pytest.mark.parametrize(
    ("program", "allowed", "told"),
    [
        (lambda: (yield Read(B)), rights("a"), "reads b'b', which its label does not allow"),
        (lambda: (yield Write(B, 1)), rights(may="a"), "writes b'b', which its label does not allow"),
        (lambda: (yield 7), rights(), r"should yield Read\(Key\) or Write\(Key, Value\), got 7"),
        (lambda: (yield Write(A, object())), rights(may="a"), "writes what is no term"),
        (lambda: (yield Read([1])), rights("a"), "unhashable"),
        (lambda: (yield from ()), rights(will="a"), "halts without writing b'a', as its label promises"),
        (lambda: 7, rights(), "expected a generator function"),
        (lambda x: (yield Write(A, x)), rights(will="a"), "TypeError"),
    ],
)
def test_what_fails_a_transaction(program: Any, allowed: Rights, told: str):
    outcome = python(program, allowed)
    assert not outcome.success
    assert outcome.writes == ()
    assert re.search(told, outcome.error or ""), outcome.error


@pytest.mark.parametrize("key", [1.0, True])
@pytest.mark.parametrize("kind", [Read, Write])
def test_what_is_only_equal_to_a_key_is_another(kind: Any, key: Any):
    def program() -> Any:
        yield kind(key) if kind is Read else kind(key, 7)

    one = frozenset((1,))
    outcome = python(program, Rights(lazy_reads=one, may_writes=one))
    assert not outcome.success
    assert "which its label does not allow" in str(outcome.error)


def test_more_than_a_block_can_hold_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("anoma.programs.execution.MOST_BYTES", 1000)
    outcome = run((PYTHON, b"copy", [A, B, C]), rights("a", will="bc"), {A: bytes(400)})
    assert (outcome.success, outcome.writes) == (False, ())
    assert outcome.error == "the program reads and writes more than 1000 bytes"
    assert outcome.reads == ((A, bytes(400)),)
    assert run((PYTHON, b"read", [A]), rights("a"), {A: bytes(1001)}).reads == ()


def test_a_program_that_exits_fails_alone():
    def program() -> Any:
        raise SystemExit(3)
        yield

    assert "SystemExit: 3" in str(python(program, rights()).error)


def test_failed_writes_leave_no_trace_and_reads_stay_known():
    def program() -> Any:
        yield Write(A, 1)
        yield Read(C)
        raise RuntimeError

    outcome = python(program, rights("b", "c", may="a"), {B: 2, C: 3})
    assert outcome == Outcome(False, ((B, 2), (C, 3)), (), outcome.error)
    assert "RuntimeError, in test_execution.py" in (outcome.error or "")


def test_a_state_can_be_stepped_twice():
    calls = itertools.count()

    def program() -> Any:
        next(calls)
        one = yield Read(A)
        yield Write(C, one)
        other = yield Read(B)
        yield Write(C, one + other)

    runnable = load((PYTHON, b"it", []), {"it": program})
    first = runnable.step(runnable.start(1, frozenset()), None)
    assert isinstance(first, Step)
    assert first.outputs == (Read(A),)
    second = runnable.step(first.state, (A, 1))
    assert isinstance(second, Step)
    assert second.outputs == (Write(C, 1), Read(B))
    ends = [runnable.step(second.state, (B, value)) for value in (10, 20)]
    assert [end.outputs for end in ends if isinstance(end, Step)] == [(Write(C, 11),), (Write(C, 21),)]
    again = runnable.step(first.state, (A, 5))
    assert isinstance(again, Step)
    assert again.outputs == (Write(C, 5), Read(B))
    # What goes straight on is not run again from its beginning.
    assert next(calls) == 3


class Impatient:
    """Asks for nothing and never halts."""

    def start(self, fingerprint: int, keys: frozenset[Any]) -> int:
        return 0

    def step(self, state: int, read: Any) -> Step | Failure:
        return Step(state + 1)

    def halted(self, state: int) -> bool:
        return False


class AsksTwice(Impatient):
    def step(self, state: int, read: Any) -> Step | Failure:
        return Step(state + 1, (Read(A),))


@pytest.mark.parametrize(
    ("program", "allowed"), [(Impatient, rights("a")), (Impatient, rights()), (AsksTwice, rights("", "a"))]
)
def test_neither_halting_nor_waiting_fails(program: Any, allowed: Rights):
    outcome = python(program, allowed)
    assert outcome.error == "the program neither halts nor waits for a read"


@pytest.mark.parametrize("seed", range(40))
def test_the_order_of_arrival_does_not_matter(seed: int):
    rng = random.Random(seed)
    keys = [b"key-%d" % number for number in range(4)]
    store = {key: rng.randint(0, 9) for key in keys if rng.random() < 0.7}
    spec = random_spec(rng, keys)
    allowed = Rights(spec.eager, spec.lazy, spec.will, spec.may)
    expected = interpret(spec, store)
    for order in range(4):
        outcome = run(spec.executable(), allowed, store, PROGRAMS, order)
        assert (outcome.success, dict(outcome.reads), dict(outcome.writes)) == (
            expected.success,
            expected.reads,
            expected.writes,
        )


def test_nobody_asked_and_twice_are_nothing():
    execution, wanted = begin(load((PYTHON, b"read", [A, B]), STANDARD), rights("", "ab"), 1)
    assert wanted == (A,)
    assert receive(execution, B, 1) == (execution, ())
    execution, wanted = receive(execution, A, 1)
    assert wanted == (B,)
    assert receive(execution, A, 2) == (execution, ())
    assert isinstance(execution, Execution)


def test_rights_that_exclude_each_other():
    with pytest.raises(ValueError, match="in both eager and lazy reads"):
        rights("a", "a").check()
    with pytest.raises(ValueError, match="in both writes that will and that may be"):
        rights("", "", "a", "a").check()
    rights("a", "b", "a", "b").check()


# -- Nock: the Elixir node's convention -----------------------------------------------------------


def test_a_constant_is_written():
    assert run((NOCK, nock("[[1 0 [1 [[97 41] 0]] 0 909] 0 707]")), rights(may="a")).writes == ((A, 41),)


ONE_MORE = "[[1 0 [[[1 98] 4 12 [1 0] [0 6] [1 97] 1 0] 1 0] 0 909] 0 707]"


@pytest.mark.parametrize("jammed", [False, True])
@pytest.mark.parametrize("allowed", [rights("a", will="b"), rights("", "a", "", "b")])
def test_scry_reads(allowed: Rights, jammed: bool):
    program = nock(ONE_MORE)
    if jammed:
        program = jam(noun_of_term(program))
    assert run((NOCK, program), allowed, {A: 41}) == Outcome(True, ((A, 41),), ((B, 42),))


def test_the_fingerprint_stands_at_axis_6():
    program = nock("[[1 0 [[[1 97] 0 6] 1 0] 0 909] 0 707]")
    assert run((NOCK, program), rights(may="a")).writes == ((A, 7),)


def test_keys_of_each_form_are_one_noun():
    for key in (97, b"a", Atom("a")):
        allowed = Rights(frozenset([key]), frozenset(), frozenset([B]))
        assert run((NOCK, nock(ONE_MORE)), allowed, {key: 1}).writes == ((B, 2),)
    allowed = Rights(frozenset([(b"a", 7)]), frozenset(), frozenset([B]))
    program = nock("[[1 0 [[[1 98] 12 [1 0] [0 6] [1 97 7 0] 1 0] 1 0] 0 909] 0 707]")
    assert run((NOCK, program), allowed, {(b"a", 7): 5}).writes == ((B, 5),)


@pytest.mark.parametrize(
    ("text", "allowed", "store", "told"),
    [
        (ONE_MORE, rights("a", will="b"), {}, "there is nothing to read at"),
        (ONE_MORE, rights(will="b"), {A: 1}, "the key 97 is not in the label"),
        (ONE_MORE, rights("a", will="c"), {A: 1}, "the key 98 is not in the label"),
        (ONE_MORE, rights("a", will="b"), {A: 1.5}, "expected a value that is a noun"),
        ("[[1 0 [1 5] 0 909] 0 707]", rights(), {}, "expected a list of \\[key value\\]"),
        ("[[1 0 [1 5 0] 0 909] 0 707]", rights(), {}, "expected \\[key value\\] in the list"),
        ("[[1 0 [12 [1 0] 1 5] 0 909] 0 707]", rights("a"), {A: 1}, "expected the list \\[id key\\]"),
        ("[[1 5] 0 707]", rights(), {}, "expected a cell with a core in its tail"),
        ("[[0 0] 0]", rights(), {}, "crashed"),
        ("[[1 0 [9 2 0 1] 0 909] 0 707]", rights(), {}, "out of gas: it may use 5000"),
    ],
)
def test_nock_that_fails(text: str, allowed: Rights, store: dict[bytes, Any], told: str):
    outcome = run((NOCK, nock(text), 5000), allowed, store)
    assert not outcome.success
    assert outcome.error is not None
    assert re.search(told, outcome.error), outcome.error


@pytest.mark.parametrize("kind", ["nock", "nockma"])
def test_a_value_that_is_large_only_as_a_term_fails(kind: str):
    # Each step makes [x x] of x: some hundred reductions, and 2^64 atoms.
    value = "[1 1]"
    for _ in range(64):
        value = f"[7 {value} [0 1] [0 1]]"
    writes = f"[[[1 97] {value}] [1 0]]"
    if kind == "nock":
        executable = (NOCK, nock(f"[[1 0 {writes} 0 909] 0 707]"))
    else:
        executable = (NOCKMA, nock(f"[[1 {0x65786974}] {writes}]"))
    outcome = run(executable, rights(will="a"))
    assert not outcome.success
    assert "expected a value of at most" in str(outcome.error), outcome.error


def test_two_keys_that_are_one_noun_are_refused():
    outcome = run((NOCK, nock(ONE_MORE)), Rights(frozenset([97, A]), frozenset(), frozenset([B])), {A: 1, 97: 2})
    assert "cannot tell them apart" in (outcome.error or "")


# -- Nock: the specification's convention -----------------------------------------------------------

EXIT = 0x65786974
WRITE_ONE_MORE = f"[[1 {EXIT}] [[[1 98] 4 0 7] 1 0]]"


def test_a_read_is_a_step():
    assert run((NOCKMA, nock(WRITE_ONE_MORE)), rights("a", will="b"), {A: 41}).writes == ((B, 42),)


def test_a_key_that_is_not_there_is_zero():
    assert run((NOCKMA, nock(WRITE_ONE_MORE)), rights("a", will="b")) == Outcome(True, ((A, ABSENT),), ((B, 1),))


def test_it_asks_for_a_read():
    program = nock(f"[6 [3 0 3] {WRITE_ONE_MORE} 1 1 97 0]")
    assert run((NOCKMA, program), rights("", "a", "b"), {A: 41}) == Outcome(True, ((A, 41),), ((B, 42),))


def test_the_state_goes_on():
    # Counts its reads: [state + 1 requests], and exits when it is 2: state 1 writes and exits.
    program = nock(f"[6 [5 [0 2] 1 1] [[1 {EXIT}] [[[1 99] 0 7] 1 0]] [4 0 2] 1 0]")
    assert run((NOCKMA, program), rights("ab", will="c"), {A: 5, B: 6}).writes == ((C, 6),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1 0 0]", "neither halts nor waits"),
        ("[1 5]", "expected \\[state requests\\]"),
        ("[12 [1 0] 1 0 97 0]", "not for this kind of program"),
        ("[8 [1 9 2 0 1] 9 2 0 1]", "out of gas: it may use 1000"),
        ("[1 0 [99 1] 0]", "the key 99 is not in the label"),
    ],
)
def test_nockma_that_fails(text: str, told: str):
    outcome = run((NOCKMA, nock(text)), rights("a", may="b"), {A: 1})
    assert re.search(told, outcome.error or ""), outcome.error


# -- executables that are none ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("executable", "told"),
    [
        (7, "expected {Kind, ...} as executable"),
        ((), "expected {Kind, ...} as executable"),
        ((b"python", b"add", []), "expected {Kind, ...} as executable"),
        ((PYTHON, b"add"), "expected {python, Name, Args}"),
        ((PYTHON, b"no", []), "expected the name of a registered program"),
        ((PYTHON, 7, []), "expected the name of a registered program"),
        ((NOCK,), "expected {nock, Noun} or {nock, Noun, Gas}"),
        ((NOCK, -1), "expected a noun as program"),
        ((NOCK, b"\xff\xff"), "cannot be cued"),
        ((NOCK, [1], 0), "as gas, got 0"),
        ((NOCKMA, [1], True), "as gas"),
        ((NOCKMA, jam(5)), "expected a formula, a cell, as program"),
    ],
)
def test_no_executable(executable: Any, told: str):
    with pytest.raises(ValueError, match=re.escape(told)):
        load(executable, STANDARD)


def test_the_standard_programs():
    store = {A: 5, B: 7}
    assert run((PYTHON, b"add", [(A, 2)]), rights("a", will="a"), store).writes == ((A, 7),)
    assert run((PYTHON, b"swap", [A, B]), rights("ab", will="ab"), store).writes == ((A, 7), (B, 5))
    assert run((PYTHON, b"copy", [A, C]), rights("a", will="c"), store).writes == ((C, 5),)
    assert run((PYTHON, b"read", [A, B]), rights("", "ab"), store) == Outcome(True, ((A, 5), (B, 7)))
    assert not run((PYTHON, b"copy", [C, A]), rights("c", will="a"), store).success
    assert not run((PYTHON, b"swap", [A, C]), rights("ac", will="ac"), store).success
    assert not run((PYTHON, b"add", [(A, 1)]), rights("a", will="a"), {A: b"x"}).success
    assert run((PYTHON, b"transfer", [A, A, 3]), rights("a", will="a"), store).writes == ((A, 5),)


def test_absent_is_one_and_false():
    assert not ABSENT
    assert repr(ABSENT) == "ABSENT"
    assert copy.deepcopy(ABSENT) is ABSENT
    assert copy.copy(ABSENT) is ABSENT
    assert pickle.loads(pickle.dumps(ABSENT)) is ABSENT
    assert etf.encode(Atom("absent")) != etf.encode(b"absent")
