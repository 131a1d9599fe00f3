"""Programs in Python: generators that yield what they read and write.

::

    def transfer(source, target, amount):
        balance = yield Read(source)
        if balance < amount:
            raise ValueError("not enough")
        yield Write(source, balance - amount)
        yield Write(target, (yield Read(target)) + amount)

A program sees what it reads and its arguments, and what it yields is all that it does. It has to be a function of
those: it may be run again, from its beginning. Reads are of the time before the transaction: a program does not see
its own writes. An exception fails the transaction.

Instead of a generator function a class can be registered whose instances are `Runnable`.

Pure.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from anoma.keys import Key
from anoma.programs.runnable import ABSENT, Failure, Output, Read, Runnable, Step, Write, as_term
from anoma.versioned_map import VersionedMap
from erlang_bridge.errors import BridgeError, brief

Program = Callable[..., Any]
"""A generator function, or a class whose instances are `Runnable`."""

_NOTHING: Final = object()


class _Live:
    """A generator that stands where the latest state is, so that it need not be run again from its beginning."""

    __slots__ = ("generator",)

    def __init__(self, generator: Generator[Any, Any, Any]) -> None:
        self.generator: Generator[Any, Any, Any] | None = generator


@dataclass(frozen=True, slots=True)
class PythonState:
    """Where a program is.

    Attributes:
        known: what it has been given.
        position: how often it has yielded.
        waits_for: the key whose value it needs to go on.
    """

    known: VersionedMap[Key, Any]
    position: int = 0
    waits_for: Any = _NOTHING
    halted: bool = False
    live: _Live | None = field(default=None, compare=False, repr=False)


class PythonProgram:
    """A generator function with its arguments, as a `Runnable`."""

    __slots__ = ("args", "function", "name")

    def __init__(self, name: str, function: Program, args: Any) -> None:
        self.name = name
        self.function = function
        self.args = args

    def start(self, fingerprint: int, keys: frozenset[Key]) -> PythonState:  # other kinds use them
        return PythonState(VersionedMap())

    def halted(self, state: PythonState) -> bool:
        return state.halted

    def step(self, state: PythonState, read: tuple[Key, Any] | None) -> Step | Failure:
        if read is not None:
            state = replace(state, known=state.known.put(*read))
        if state.halted or (state.waits_for is not _NOTHING and state.waits_for not in state.known):
            return Step(state)
        outputs: list[Output] = []
        try:
            generator = self._generator(state)
            return Step(self._run(generator, state, outputs), tuple(outputs))
        except _NotAnOutput as error:
            return Failure(f"the program {self.name} {error}")
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a program raises is its transaction's failure
            return Failure(f"the program {self.name} failed: {_told(error)}")

    # -- pieces ---------------------------------------------------------------------------------

    def _generator(self, state: PythonState) -> Generator[Any, Any, Any]:
        """The generator, where `state` left it."""
        live = state.live
        if live is not None and live.generator is not None:
            generator, live.generator = live.generator, None
            return generator
        args = as_term(self.args)
        generator = self.function(*args) if type(args) is list else self.function(args)
        if not inspect.isgenerator(generator):
            raise TypeError(f"expected a generator function, and it gave {brief(generator, 80)}")
        running: Generator[Any, Any, Any] = generator
        value = None
        for _ in range(state.position):
            value = self._answer(running.send(value), state)
        return running

    @staticmethod
    def _answer(yielded: Any, state: PythonState) -> Any:
        if type(yielded) is Read:
            key = _key(yielded.key)
            return None if key == state.waits_for and key not in state.known else _own(state.known[key])
        return None

    @staticmethod
    def _run(generator: Generator[Any, Any, Any], state: PythonState, outputs: list[Output]) -> PythonState:
        known = state.known
        position = state.position
        value = None if state.waits_for is _NOTHING else _own(known[state.waits_for])
        while True:
            try:
                yielded = generator.send(value)
            except StopIteration:
                return PythonState(known, position, halted=True)
            position += 1
            kind = type(yielded)
            if kind is Write:
                outputs.append(Write(_key(yielded.key), _written(yielded)))
                value = None
            elif kind is Read:
                key = _key(yielded.key)
                found = known.get(key, _NOTHING)
                if found is _NOTHING:
                    outputs.append(Read(key))
                    return PythonState(known, position, key, live=_Live(generator))
                value = _own(found)
            else:
                raise _NotAnOutput(f"should yield Read(Key) or Write(Key, Value), got {brief(yielded, 80)}")


class _NotAnOutput(Exception):
    """What a program has done instead, in words."""


def _written(output: Write) -> Any:
    """What is written, as it is now: the program may go on changing its own."""
    try:
        return as_term(output.value)
    except BridgeError as error:
        raise _NotAnOutput(f"writes what is no term: {error}") from None


def _own(value: Any) -> Any:
    """A copy of what was read, which the program may change as it likes."""
    return value if value is ABSENT else as_term(value)


def python_program(parts: tuple[Any, ...], programs: Mapping[str, Program]) -> Runnable:
    """The program of ``{python, Name, Args}``.

    Raises:
        ValueError: it names none, in words.
    """
    if len(parts) != 2:
        raise ValueError("expected {python, Name, Args}")
    name, args = parts
    text = name.decode(errors="replace") if type(name) is bytes else getattr(name, "name", None)
    program = programs.get(text) if text is not None else None
    if text is None or program is None:
        known = ", ".join(sorted(programs)) or "none"
        raise ValueError(f"expected the name of a registered program, got {brief(name, 80)}; registered are: {known}")
    if inspect.isclass(program):
        try:
            construct: Any = program
            made = construct(*args) if type(args) is list else construct(args)
        except Exception as error:  # its constructor judges its arguments
            raise ValueError(f"the program {text} does not take {brief(args, 80)}: {error}") from error
        runnable: Runnable = made
        return runnable
    return PythonProgram(text, program, args)


def _key(key: Any) -> Key:
    return key.encode() if type(key) is str else key


def _told(error: BaseException) -> str:
    """An exception in words, with the file and line that it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{text}, in {frames[-1].filename.rpartition('/')[2]}, line {frames[-1].lineno}" if frames else text
