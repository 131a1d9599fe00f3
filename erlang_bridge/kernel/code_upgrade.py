"""Running processes go over to new code: all that can at once, or none; the rest when they come out of the old.

A server that is between two messages is moved. Where its class says so, its ``code_change`` is called first, in the
server's own process, while it is held; what it does to the state is taken back if any of them raises. A server in
the middle of a callback is left in the old code, with all that it can get at, and is moved when the callback returns;
where several modules were loaded meanwhile, through all of them. So is one that somebody has suspended: with
``sys:change_code``, or when it is resumed.

Source: OTP ``lib/sasl/src/release_handler_1.erl``, ``lib/stdlib/src/sys.erl``.
"""

from __future__ import annotations

import functools
import gc
import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import gevent
import greenlet

from erlang_bridge.errors import ModuleNotLoaded, ProcessExit
from erlang_bridge.etf.structs import default_structs
from erlang_bridge.kernel import code_generations, code_modules, code_relink, code_states
from erlang_bridge.kernel.code_generations import Change, in_words, place_of
from erlang_bridge.kernel.code_modules import Generation
from erlang_bridge.kernel.code_relink import Journal, Moves, Relinker, reachable
from erlang_bridge.kernel.code_states import Conversion, Unconvertible
from erlang_bridge.otp import sys_protocol
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.process import BehaviourProcess, Process, ProcessTable, Waiter
from erlang_bridge.process.process import DEAD, IDLE, READY
from erlang_bridge.process.records import Alias, Monitor, RemoteNode
from erlang_bridge.process.timer import Timer
from erlang_bridge.terms import Atom, Pid

log = logging.getLogger("erlang_bridge.kernel")

CALLBACK_GRACE_S: Final = 1.0
"""How long a load waits for callbacks that are under way. Meanwhile everybody goes on in the old code."""
CODE_CHANGE_S: Final = 5.0
"""How long a load waits for the next ``code_change`` to return."""
LOOK_EVERY_S: Final = 0.005
AT_ONCE: Final = 100
"""How many servers are to begin with their ``code_change`` at a time."""

UNDEFINED: Final = Atom("undefined")

_FOREIGN: Final = ("gevent", "greenlet", "logging", "threading")
_LOOKED_INTO: Final = ("collections", "builtins", "dataclasses", "functools", "types", "enum", "typing", "__main__")


@dataclass(frozen=True, slots=True)
class OldCode:
    """A process that is in old code.

    Attributes:
        name: what it is registered as.
        why: in words.
        path, line: where it is, or what it runs is defined.
    """

    pid: Pid
    name: Atom | None
    why: str
    path: str
    line: int

    def __str__(self) -> str:
        name = f" ({self.name})" if self.name is not None else ""
        return f"{self.pid}{name} {self.why}, {self.path}:{self.line}"


def tables() -> list[ProcessTable]:
    """The processes of every node in this interpreter: code is one for them all."""
    return [found for found in gc.get_referrers(ProcessTable) if type(found) is ProcessTable]


def processes() -> Iterator[Process]:
    """All of them."""
    for table in tables():
        yield from list(table.processes.values())


def users(module: str) -> Iterator[BehaviourProcess]:
    """The servers that run a module: their class is of it, or of one that imports it, be it through others."""
    known: dict[type, bool] = {}
    for process in processes():
        if isinstance(process, BehaviourProcess):
            cls = type(process.instance)
            if cls not in known:
                known[cls] = code_modules.uses(cls, module)
            if known[cls]:
                yield process


# -- who is in old code -----------------------------------------------------------------------


def frames_of(process: Process) -> Iterator[Any]:
    """The frames of a process's code, innermost first; none where it waits for its next message."""
    running = process.greenlet
    if running is None:
        return
    frame = sys._getframe() if running is greenlet.getcurrent() else running.gr_frame
    while frame is not None:
        if not str(frame.f_globals.get("__name__", "")).startswith("erlang_bridge.kernel.code_"):
            yield frame
        frame = frame.f_back


def in_old_code(process: Process, generation: Generation) -> OldCode | None:
    """Where a process is in the code before `generation`; None: it is not."""
    old = generation.old
    if old is None or process.state == DEAD:
        return None
    namespace = old.namespace
    for frame in frames_of(process):
        if frame.f_globals is namespace:
            why = f"runs {frame.f_code.co_qualname}"
            return OldCode(process.pid, process.name, why, frame.f_code.co_filename, frame.f_lineno)
    if isinstance(process, BehaviourProcess):
        server = process.instance
        cls = next((base for base in type(server).__mro__ if base in generation.old_classes), None)
        if cls is not None:
            return OldCode(process.pid, process.name, _why(process, cls), *code_generations.line_of(cls))
        late = _late(server)
        if late is not None and any(generation in change.new for change, _ in late.steps):
            return OldCode(process.pid, process.name, _why(process, type(server)), *_line(type(server)))
    return None


def _why(process: Process, cls: type) -> str:
    system = process.instance._sys if isinstance(process, BehaviourProcess) else None
    if system is not None and system.late is not None:
        is_old = any(base in change.old_classes for change, _ in system.late.steps for base in cls.__mro__)
        what = f"is an old {cls.__qualname__}" if is_old else f"is a {cls.__qualname__} with an old state"
        if system.late.failure is not None:
            return f"{what}: {system.late.failure}"
        return f"{what}, " + ("suspended" if system.suspended else "in a callback")
    return f"is a {cls.__qualname__}, which the new code does not have"


def _line(cls: type) -> tuple[str, int]:
    return code_generations.line_of(cls)


def _late(server: Any) -> Late | None:
    system = getattr(server, "_sys", None)
    late = None if system is None else system.late
    return late if isinstance(late, Late) else None


# -- one process ------------------------------------------------------------------------------


def _boundary(server: Any) -> Callable[[Any], bool]:
    """What `server` can get at, but is not its own."""

    def is_boundary(value: Any) -> bool:
        kind: Any = type(value)
        return is_foreign(kind) and value is not server

    return is_boundary


@functools.lru_cache(maxsize=4096)
def is_foreign(kind: Any) -> bool:
    """Whether objects of a class are never part of a state. Clear the cache when done: it keeps classes."""
    if issubclass(kind, (GenServer, *_OF_THE_NODE)):
        return True
    root = kind.__module__.partition(".")[0] if isinstance(kind.__module__, str) else ""
    if root in _FOREIGN or (root in sys.stdlib_module_names and root not in _LOOKED_INTO):
        return True
    return kind.__qualname__ in ("Node", "CodeServer", "Scheduler") and root == "erlang_bridge"


_OF_THE_NODE: Final = (
    Process,
    ProcessTable,
    Timer,
    Waiter,
    Alias,
    Monitor,
    RemoteNode,
    sys_protocol.SystemState,
    Journal,
    Moves,
    Change,
    greenlet.greenlet,
)
"""They change while a server is held for its ``code_change``, and must not be set back with its state."""


def _roots(process: Process) -> list[Any]:
    roots: list[Any] = [process.mailbox, process.dictionary, process.label]
    if isinstance(process, BehaviourProcess):
        roots.append(process.instance)
    roots += [timer._message for timer in process.timers or ()]
    return roots


def code_change_of(cls: type, conversions: dict[type, Conversion]) -> Any:
    """The ``code_change`` that a server will have; None where it is every server's."""
    for base in cls.__mro__:
        conversion = conversions.get(base)
        found = vars(conversion.new if conversion is not None else base).get("code_change")
        if found is not None:
            return None if found is GenServer.code_change else found
    return None


def migrate(
    server: Any, change: Change, journal: Journal, old_version: Any, extra: Any, *, is_late: bool = False
) -> set[int]:
    """Make a server one of the new code: its object, its state, what it can get at; then its ``code_change``.

    Runs in the server's process.

    Args:
        is_late: everybody else has gone over already: its mailbox and timers, too, are its own business.

    Returns:
        The ids of objects that others have taken the place of; `journal` keeps them.

    Raises:
        Unconvertible: a state cannot be converted.
        Exception: what ``code_change`` raised. Undo `journal` in either case.
    """
    process = server._process
    is_foreign = _boundary(server)
    roots = _roots(process) if is_late else [server, process.dictionary]
    held = reachable(roots, is_foreign)
    has_callback = code_change_of(type(server), change.conversions) is not None
    if has_callback:
        # Messages may come into its mailbox while code_change is blocked.
        journal.did(setattr, process, "dictionary", process.dictionary)
        journal.did(setattr, process, "label", process.label)
        code_relink.snapshot([value for value in held if value is not process.mailbox], journal)
    conversions = change.conversions
    if has_callback:
        conversions = {old: conversion.with_old_fields() for old, conversion in conversions.items()}
    own_conversion = change.conversions.get(type(server))
    moves = change.code.copy() if is_late else Moves()
    unset = code_states.convert_all([value for value in held if value is not server], conversions, moves, journal)
    if not has_callback and unset:
        raise _no_default(unset[0])
    Relinker(moves, journal, change.owned).within(_with_made(held, moves))
    if own_conversion is not None:
        _move_server(server, own_conversion, journal)
    replaced = {id(value) for value in moves.olds()}
    if not has_callback:
        return replaced
    state = server.code_change(old_version, server._state, extra)
    server._state = state
    replaced |= _narrow(server, change, conversions, journal)
    for value in reachable([server], _boundary(server)):
        conversion = next((c for c in change.conversions.values() if c.missing and type(value) is c.new), None)
        names = code_states.unset_fields(value) if conversion is not None else []
        if conversion is not None and names:
            raise Unconvertible(
                conversion.new,
                f"the field {names[0]} of {conversion.new.__qualname__} is new and has no default: "
                f"code_change of {type(server).__qualname__} has to set it",
            )
    return replaced


def _with_made(held: list[Any], moves: Moves) -> list[Any]:
    """Also the objects that have taken the place of some: they hold what those held."""
    return held + [moves.get(value) for value in held if moves.has(value)]


def _move_server(server: Any, conversion: Conversion, journal: Journal) -> None:
    """The object of a server stays the object that it is: it may be running, and others may hold methods of it."""
    if conversion.apply(server, journal) is not server:
        name = conversion.new.__qualname__
        raise Unconvertible(
            conversion.new, f"{name} has other __slots__ than before, and processes run it: restart them"
        )


def _narrow(server: Any, change: Change, wide: dict[type, Conversion], journal: Journal) -> set[int]:
    """Make what had the old fields beside the new ones have the new ones only."""
    narrow: dict[type, Conversion] = {}
    dropped: dict[type, tuple[str, ...]] = {}
    for old, conversion in wide.items():
        real = change.conversions[old]
        if conversion.new is not real.new:
            narrow[conversion.new] = Conversion(conversion.new, real.new)
            narrow[conversion.new].dropped = real.dropped
        elif real.dropped:
            dropped[real.new] = real.dropped
    if not narrow and not dropped:
        return set()
    held = reachable([server], _boundary(server))
    for value in held:
        for name in dropped.get(type(value), ()):
            (code_relink.own_dict(value) or {}).pop(name, None)
    moves = Moves()
    code_states.convert_all(held, narrow, moves, journal)
    Relinker(moves, journal, set()).within(_with_made(held, moves))
    return {id(value) for value in moves.olds()}


def _no_default(unset: tuple[Any, Conversion]) -> Unconvertible:
    _, conversion = unset
    name = conversion.new.__qualname__
    return Unconvertible(
        conversion.new,
        f"the field {conversion.missing[0]} of {name} is new and has no default, and objects of the old {name} are "
        "in use: give it a default, or the server a code_change that sets it",
    )


def refusal(
    change: Change, error: BaseException, process: Process | None, module: str | None = None
) -> ModuleNotLoaded:
    """An error in a process's move as that of the load; one without a traceback is where the process is."""
    where = f" in {process.pid}" if process is not None else ""
    if process is not None and process.name is not None:
        where += f" ({process.name})"
    name = module or change.new[-1].name
    if isinstance(error, Unconvertible):
        return ModuleNotLoaded(name, "code_change", f"{error}{where}", *_line(error.cls))
    paths = [generation.path for generation in change.new if generation.path is not None]
    path, line = place_of(error, paths[-1] if paths else "?")
    if line is None and process is not None:
        path, line = place_in(process) or (path, line)
    return ModuleNotLoaded(name, "code_change", f"{in_words(error)}{where}", path, line)


class Late:
    """A server that is still in old code: what there is to be done when it comes out of it.

    Attributes:
        steps: the loads that it has missed, the first one first, and the version that each began with.
        failure: why it could not be moved; it stays in the old code.
    """

    __slots__ = ("failure", "steps")

    def __init__(self) -> None:
        self.steps: list[tuple[Change, Any]] = []
        self.failure: ModuleNotLoaded | None = None

    def returned(self, server: Any) -> None:
        """Its callback has returned, or it was resumed: move it, unless that has failed before."""
        if self.failure is None:
            self._move(server, None, [])

    def change_code(self, server: Any, old_version: Any, extra: Any) -> BaseException | None:
        """``sys:change_code``: move it now. What was raised, if anything was: it stays in the old code."""
        return self._move(server, old_version, extra)

    def _move(self, server: Any, old_version: Any, extra: Any) -> BaseException | None:
        process = server._process
        while self.steps:
            change, version = self.steps[0]
            journal = Journal()
            try:
                given = version if old_version is None else old_version
                migrate(server, change, journal, given, extra, is_late=True)
            except ProcessExit:
                raise
            except BaseException as error:
                journal.undo()
                self.failure = refusal(change, error, process)
                log.error("%s %s stays in old code: %s", process.pid, process.name or "", self.failure.what)
                if isinstance(error, KeyboardInterrupt):
                    raise
                return error
            # One that came while code_change was blocked is the next.
            self.steps.pop(0)
        process.instance._sys.late = None
        return None


# -- all of them ------------------------------------------------------------------------------


class Upgrade:
    """One load: the processes' way from the old generations of some modules to the new ones."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self._prepared: dict[BehaviourProcess, Journal] = {}
        self._replaced: set[int] = set()
        self._owners = dict(change.old_classes)
        """Of both the old classes and the new ones: the old generation."""
        for old, conversion in change.conversions.items():
            self._owners[conversion.new] = change.old_classes[old]
        self._journal = Journal()
        self._own: set[int] = set()
        """Ids of what the journals of the servers consist of."""
        self._involved: dict[type, bool] = {}
        self.stragglers: list[Process] = []

    def run(self, grace_s: float) -> None:
        """Do it.

        Raises:
            ModuleNotLoaded: nobody has moved.
        """
        try:
            self._wait_for_callbacks(grace_s)
            self._switch_bases()
            while waiting := self._to_be_asked():
                self._ask(waiting)
            self._commit()
        except BaseException as error:
            self._journal.undo()
            for process, journal in self._prepared.items():
                journal.undo()
                _resume(process)
            if isinstance(error, ModuleNotLoaded) or not isinstance(error, Exception):
                raise
            # Of code that is asked while objects change: a key's __hash__ or __eq__.
            raise refusal(self.change, error, None) from error
        for process in self._prepared:
            _resume(process)

    # -- who ----------------------------------------------------------------------------------

    def _is_of_old_class(self, cls: type) -> bool:
        known = self._involved.get(cls)
        if known is None:
            known = self._involved[cls] = any(base in self._owners for base in cls.__mro__)
        return known

    def _is_involved(self, process: Process) -> bool:
        """Whether it runs a class of the old code, or has a state of such a class."""
        if not isinstance(process, BehaviourProcess):
            return False
        server = process.instance
        state = getattr(server, "_state", None)
        return self._is_of_old_class(type(server)) or type(state) in self.change.old_classes

    def _has_old_frame(self, process: Process) -> bool:
        old = self.change.old_namespaces()
        return any(id(frame.f_globals) in old for frame in frames_of(process))

    def _old_version(self, server: Any) -> Any:
        """That of its own module, where that changes; else of its state's."""
        for cls in (*type(server).__mro__, type(getattr(server, "_state", None))):
            generation = self._owners.get(cls)
            if generation is not None:
                return UNDEFINED if generation.version is None else generation.version
        return UNDEFINED

    def _wait_for_callbacks(self, grace_s: float) -> None:
        deadline = monotonic() + grace_s
        current = greenlet.getcurrent()
        busy = [
            process
            for process in processes()
            if isinstance(process, BehaviourProcess)
            and process.greenlet is not None
            and process.greenlet is not current
            and (self._is_involved(process) or self._has_old_frame(process) or self._holds_old(process))
        ]
        while busy and monotonic() < deadline:
            gevent.sleep(LOOK_EVERY_S)
            busy = [process for process in busy if process.greenlet is not None and process.state != DEAD]

    def _holds_old(self, process: Process) -> bool:
        """Whether a server of another module can get at objects of the old code, be it from a callback's variables.

        What is in a variable nobody can replace there; the callback may put it back into the state.
        """
        if not isinstance(process, BehaviourProcess) or not isinstance(process.instance, GenServer):
            return False
        old = self.change.old_classes
        return any(type(value) in old for value in self._reach(process))

    def _reach(self, process: Process) -> list[Any]:
        """All that a process can get at."""
        roots = _roots(process)
        for frame in frames_of(process):
            roots.extend(frame.f_locals.values())
        return reachable(roots, _boundary(getattr(process, "instance", None)))

    def _to_be_asked(self) -> list[BehaviourProcess]:
        """Servers with a ``code_change`` that has not been called yet, and can be."""
        return [
            process
            for process in processes()
            if isinstance(process, BehaviourProcess)
            and self._can_be_asked(process)
            and self._is_involved(process)
            and code_change_of(type(process.instance), self.change.conversions) is not None
        ]

    def _can_be_asked(self, process: BehaviourProcess) -> bool:
        return (
            process.greenlet is None
            and process not in self._prepared
            and not process.fresh
            and process.state in (IDLE, READY)
            and not _is_suspended(process)
        )

    # -- code_change --------------------------------------------------------------------------

    def _keeps_its_bases(self, cls: type) -> bool:
        """Whether a class is of the old code, also one that is no name there: what a class decorator replaced."""
        if cls in self.change.old_classes or code_states.is_passing(cls):
            return True
        generation = next((new for new in self.change.new if new.name == cls.__module__), None)
        return generation is not None and code_modules.at(generation.module, cls.__qualname__) is not cls

    def _switch_bases(self) -> None:
        """Classes of other modules inherit from the new classes now."""
        for old, conversion in self.change.conversions.items():
            cls: Any
            for cls in type.__subclasses__(old):
                if self._keeps_its_bases(cls):
                    continue
                bases = tuple(conversion.new if base is old else base for base in cls.__bases__)
                before = cls.__bases__
                try:
                    cls.__bases__ = bases
                except TypeError as error:
                    text = f"{cls.__qualname__} cannot have the new {old.__qualname__} as base: {error}"
                    raise refusal(self.change, Unconvertible(cls, text), None) from error
                self._journal.did(setattr, cls, "__bases__", before)

    def _ask(self, asked: list[BehaviourProcess]) -> None:
        """Have each of them suspend and call its ``code_change``, in its own process, and wait for them all."""
        failures: list[tuple[Process, BaseException]] = []
        waiting = set(asked)
        begun: set[BehaviourProcess] = set()
        over: list[bool] = []

        def order(process: BehaviourProcess) -> Callable[[Any], None]:
            def change(server: Any) -> None:
                if over:
                    return
                begun.add(process)
                system = sys_protocol.system_of(server)
                system.held = True
                journal = Journal(self._own)
                try:
                    replaced = migrate(server, self.change, journal, self._old_version(server), [])
                except ProcessExit:
                    waiting.discard(process)
                    raise
                except BaseException as error:  # noqa: BLE001  # whatever code_change raises
                    failures.append((process, error))
                    journal.undo()
                    _resume(process)
                    if isinstance(error, KeyboardInterrupt):
                        # Of the whole program; here it has only hit this process.
                        process.table.scheduler.hub.handle_system_error(type(error), error)
                else:
                    if over:
                        journal.undo()
                        _resume(process)
                    else:
                        self._prepared[process] = journal
                        self._replaced |= replaced
                waiting.discard(process)

            return change

        deadline = monotonic() + CODE_CHANGE_S
        left = len(waiting)
        given = 0
        try:
            while waiting and not failures:
                # Not all at once: what others are to do would stand behind them in the run queue.
                upto = min(len(asked), len(begun) + AT_ONCE)
                for process in asked[given:upto]:
                    if self._can_be_asked(process):
                        _give_order(process, order(process))
                    else:
                        begun.add(process)
                        waiting.discard(process)
                given = max(given, upto)
                gevent.sleep(LOOK_EVERY_S if len(waiting) == left else 0)
                if len(waiting) < left:
                    left, deadline = len(waiting), monotonic() + CODE_CHANGE_S
                    continue
                dead = {process for process in waiting if process.state == DEAD}
                begun |= dead
                waiting -= dead
                if waiting and monotonic() > deadline:
                    slow = min(waiting, key=lambda process: process.pid.id)
                    failures.append((slow, TimeoutError(f"code_change did not return within {CODE_CHANGE_S:g} s")))
        finally:
            over.append(True)
        if failures:
            failed, error = failures[0]
            raise refusal(self.change, error, failed, self._module_of(failed)) from error

    def _module_of(self, process: Process) -> str | None:
        server = getattr(process, "instance", None)
        for cls in (*type(server).__mro__, type(getattr(server, "_state", None))):
            generation = self._owners.get(cls)
            if generation is not None:
                return generation.name
        return None

    # -- at once ------------------------------------------------------------------------------

    def _commit(self) -> None:
        """Put the new code in the place of the old. Without a pause: nobody sees half of it."""
        change, journal = self.change, self._journal
        self._check_current()
        held = self._find_stragglers()
        versions = {process: self._old_version(process.instance) for process in self._late()}
        spared = held | change.owned | change.own() | self._replaced | self._own | {id(self._owners)}
        values = self._instances(spared)
        if any(change.conversions[type(value)].missing for value in values):
            # They cannot go over: only those that nobody uses any more may be in the way.
            del values
            gc.collect()
            values = self._instances(spared)
        try:
            for value in values:
                if isinstance(value, GenServer):
                    _move_server(value, change.conversions[type(value)], journal)
            unset = code_states.convert_all(values, change.conversions, change.code, journal)
            if unset:
                raise _no_default(unset[0])
        except Unconvertible as error:
            raise refusal(change, error, self._holder(values)) from error
        del values
        unheld = self._relink_states(spared)
        relinker = Relinker(change.code, journal, spared | change.own(), self._keeps_its_bases)
        relinker.everywhere([old for old in change.code.olds() if id(old) not in unheld])
        self._relink_data(relinker, spared)
        code_generations.bind_imported_names(
            change, list(sys.modules.values()), lambda module, name, value: _bind(journal, module, name, value)
        )
        for key, codec in change.structs.items():
            _set_item(journal, default_structs, key, codec)
        for generation in change.new:
            _set_item(journal, sys.modules, generation.name, generation.module)
            generation.old_classes = frozenset(
                cls for cls, owner in change.old_classes.items() if owner is generation.old
            )
        self._register(journal)
        for straggler, version in versions.items():
            system = sys_protocol.system_of(straggler.instance)
            if not isinstance(system.late, Late):
                system.late = Late()
            system.late.steps.append((change, version))

    def _relink_states(self, spared: set[int]) -> set[int]:
        """Give servers their new states, which is most of what there is to be done.

        Returns:
            The ids of old states that nobody else holds: the rest has to be searched for.
        """
        moves, journal = self.change.code, self._journal
        set_state: Any = vars(GenServer)["_state"].__set__

        def hand_over(server: Any, state: Any) -> int:
            """How often the old state is referred to afterwards."""
            journal.did(set_state, server, state)
            set_state(server, moves.get(state))
            return sys.getrefcount(state)

        # How it is with a state that nobody else holds is found out with one.
        server: Any = GenServer.__new__(GenServer)
        state: Any = _Probe()
        set_state(server, state)
        moves.add(state, None)
        alone = hand_over(server, state)
        del moves.table[id(state)]
        unheld = set()
        for process in processes():
            server = getattr(process, "instance", None)
            if not isinstance(server, GenServer) or id(server) in spared:
                continue
            state = server._state
            if moves.has(state) and hand_over(server, state) <= alone:
                unheld.add(id(state))
        return unheld

    def _check_current(self) -> None:
        """Another node of this interpreter may have loaded the module meanwhile."""
        for generation in self.change.new:
            if generation.old is None or sys.modules.get(generation.name) is not generation.old.module:
                text = "somebody else has loaded it at the same time"
                raise ModuleNotLoaded(generation.name, "not_purged", text, generation.path)

    def _register(self, journal: Journal) -> None:
        """Put into other modules' tables what importing the new modules has put there."""
        for entry in self.change.registrations:
            entry.put_back(journal)

    def _instances(self, spared: set[int]) -> list[Any]:
        return [value for value in code_states.instances(self.change.conversions) if id(value) not in spared]

    def _late(self) -> list[BehaviourProcess]:
        return [
            process
            for process in self.stragglers
            if isinstance(process, BehaviourProcess) and isinstance(process.instance, GenServer)
        ]

    def _find_stragglers(self) -> set[int]:
        """Note who cannot be moved now; the ids of all that is theirs."""
        held: set[int] = set()
        for process in processes():
            is_busy = process.greenlet is not None
            if not is_busy and not _is_suspended(process):
                continue
            is_in_it = is_busy and (self._has_old_frame(process) or self._holds_old(process))
            if not is_in_it and not self._is_involved(process):
                continue
            self.stragglers.append(process)
            held |= {id(value) for value in self._reach(process)}
        return held

    def _holder(self, values: Iterable[Any]) -> Process | None:
        """A process in whose state one of `values` is."""
        wanted = {id(value) for value in values}
        for process in processes():
            if id(getattr(getattr(process, "instance", None), "_state", None)) in wanted:
                return process
        return None

    def _relink_data(self, relinker: Relinker, spared: set[int]) -> None:
        """Replace the tables and objects that modules make at import, where code refers to them; not in states."""
        if not len(self.change.data):
            return
        data = Relinker(self.change.data, self._journal, spared | self.change.own())
        pending = self.change.data.olds()
        modules = {id(vars(module)) for module in list(sys.modules.values()) if hasattr(module, "__dict__")}
        known: dict[int, bool] = {}

        def is_code(holder: Any, depth: int) -> bool:
            key = id(holder)
            if key in modules or isinstance(holder, type) or relinker.is_class_dict(holder):
                return True
            kind = type(holder)
            if kind.__name__ in ("function", "cell"):
                return True
            if depth == 0 or isinstance(holder, (Process, GenServer)) or not code_relink.is_plain(holder):
                return False
            if key not in known:
                known[key] = False
                known[key] = any(is_code(above, depth - 1) for above in gc.get_referrers(holder))
            return known[key]

        while pending:
            holders = [holder for holder in code_relink.referrers(pending) if is_code(holder, 3)]
            pending = data.patch_all(holders)


class _Probe:
    """In the place of a state."""

    __slots__ = ()


def _is_suspended(process: Process) -> bool:
    """By `sys`; not for a change of code."""
    system = getattr(getattr(process, "instance", None), "_sys", None)
    return system is not None and system.suspended


def held() -> list[Process]:
    """Servers that are held for a change of code: a load is under way, or was given up before they were done."""
    found = []
    for process in processes():
        system = getattr(getattr(process, "instance", None), "_sys", None)
        if system is not None and system.held and process.state != DEAD:
            found.append(process)
    return found


def place_in(process: Process) -> tuple[str, int] | None:
    """File and line where a process is in code that can be loaded; None where it is in none."""
    for frame in frames_of(process):
        module = sys.modules.get(str(frame.f_globals.get("__name__")))
        if module is not None and code_modules.is_project(module):
            return frame.f_code.co_filename, frame.f_lineno
    return None


def still_held(process: Process) -> str:
    """Where a server is that is held, in words."""
    place = place_in(process)
    name = f" ({process.name})" if process.name is not None else ""
    where = f", {place[0]}:{place[1]}" if place is not None else ""
    return f"{process.pid}{name} is still in the code_change of another load{where}"


def _give_order(process: BehaviourProcess, run: Callable[[Any], None]) -> None:
    """Have a server that is between two messages run something before its next one."""
    if process.mailbox is None:
        process.mailbox = deque()
    process.mailbox.appendleft(sys_protocol.Order(run))
    if process.state == IDLE:
        process.state = READY
        process.table.scheduler.enqueue(process)


def _resume(process: BehaviourProcess) -> None:
    """Go on after a change of code, with what has come meanwhile first."""
    if process.state == DEAD:
        return
    server = process.instance
    sys_protocol.release(server)
    if process.greenlet is not greenlet.getcurrent():
        # Who has this called from an order of its own has its time-out begin after that.
        server._start_timer()
    if process.mailbox and process.state == IDLE:
        process.state = READY
        process.table.scheduler.enqueue(process)


def _bind(journal: Journal, module: Any, name: str, value: Any) -> None:
    _set_item(journal, vars(module), name, value)


def _set_item(journal: Journal, table: dict[Any, Any], key: Any, value: Any) -> None:
    if key in table:
        journal.did(dict.__setitem__, table, key, table[key])
    else:
        journal.did(dict.pop, table, key, None)
    table[key] = value
