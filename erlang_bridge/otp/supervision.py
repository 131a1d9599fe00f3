"""What a supervisor does when a child ends, cannot be started, or is asked for: decisions, no process and no clock.

A decision that has steps is a generator. It yields what is to be done (`Start`, `Terminate`, `Report`, `TryAgain`), is
sent what came of it, and returns its result; whoever runs it does these things one after the other. So the order in
which children are stopped and started is decided here, and can be tested without any::

    steps = supervision.child_ended(pid, reason, now_s=12.5)
    Report("child_terminated", ...)     -> None
    Terminate((last,))                  -> [(last, Atom("shutdown"))]
    Start(child)                        -> Started(new_pid) | Failed(reason)
    Start(last)                         -> ...
    return False                        # the supervisor goes on

This is for children with ids; those known by their pids alone are in `dynamic_supervision`.

Source: OTP ``lib/stdlib/src/supervisor.erl``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Any, Final, Literal, TypeVar

from erlang_bridge.otp.child_specs import UNDEFINED, ChildSpec, DynamicSupervisorFlags, SupervisorFlags
from erlang_bridge.otp.results import UNSET
from erlang_bridge.process.exit_rules import KILLED, SHUTDOWN, is_quiet
from erlang_bridge.terms import Atom, Pid, exact_key

OK: Final = Atom("ok")
ERROR: Final = Atom("error")
NOT_FOUND: Final = Atom("not_found")
RESTARTING: Final = Atom("restarting")
RUNNING: Final = Atom("running")
ALREADY_STARTED: Final = Atom("already_started")
ALREADY_PRESENT: Final = Atom("already_present")
FAILED_TO_START_CHILD: Final = Atom("failed_to_start_child")
REACHED_MAX_RESTART_INTENSITY: Final = Atom("reached_max_restart_intensity")

Context = Literal["start_error", "child_terminated", "shutdown_error", "shutdown"]


# -- children ---------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Child:
    """One child of a supervisor: a specification, and the process that there is for it, if any."""

    spec: ChildSpec
    extra: tuple[Any, ...] = ()
    """What ``start_child`` of a ``simple_one_for_one`` supervisor adds to the arguments."""
    pid: Pid | None = None
    """The process; while `restarting`, the one that ended last."""
    restarting: bool = False
    """Its start has failed and will be tried again."""

    @property
    def running(self) -> bool:
        return self.pid is not None and not self.restarting

    def shown_pid(self) -> Any:
        """The pid for ``which_children``."""
        if self.restarting:
            return RESTARTING
        return UNDEFINED if self.pid is None else self.pid

    def entry(self, id: Any) -> tuple[Any, ...]:
        """``{Id, Child, Type, Modules}``."""
        return id, self.shown_pid(), Atom(self.spec.type), self.spec.modules_term()

    def record(self) -> tuple[Any, ...]:
        """OTP's record of a child that could not be started, part of the answer to ``start_child``."""
        spec = self.spec
        return (
            Atom("child"),
            UNDEFINED,
            spec.id,
            spec.mfargs(self.extra),
            Atom(spec.restart),
            spec.significant,
            spec.shutdown_term(),
            Atom(spec.type),
            spec.modules_term(),
        )


# -- what is to be done -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Start this child and answer `Started` or `Failed`."""

    child: Child


@dataclass(frozen=True, slots=True)
class Started:
    """The child runs; or, with no pid, its start function said ``ignore``."""

    pid: Pid | None
    info: Any = UNSET

    def reply(self) -> tuple[Any, ...]:
        if self.pid is None:
            return OK, UNDEFINED
        return (OK, self.pid) if self.info is UNSET else (OK, self.pid, self.info)


@dataclass(frozen=True, slots=True)
class Failed:
    """The child could not be started."""

    reason: Any


@dataclass(frozen=True, slots=True)
class Terminate:
    """Stop these running children, all at once, and answer a list of each with its exit reason when all have ended."""

    children: Sequence[Child]


@dataclass(frozen=True, slots=True)
class Report:
    """Tell people. `together`: how many children this is about, where it is not `child` alone."""

    context: Context
    reason: Any
    child: Child
    together: int | None = None

    def offender(self) -> list[tuple[Atom, Any]]:
        """The child as OTP's reports have it."""
        child = self.child
        spec = child.spec
        if self.together is not None:
            who: tuple[Atom, Any] = (Atom("nb_children"), self.together)
        elif child.restarting:
            who = (Atom("pid"), (RESTARTING, UNDEFINED if child.pid is None else child.pid))
        else:
            who = (Atom("pid"), child.shown_pid())
        return [
            who,
            (Atom("id"), spec.id),
            (Atom("mfargs"), spec.mfargs(child.extra)),
            (Atom("restart_type"), Atom(spec.restart)),
            (Atom("significant"), spec.significant),
            (Atom("shutdown"), spec.shutdown_term()),
            (Atom("child_type"), Atom(spec.type)),
        ]


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Call ``try_again(child)`` after the messages that wait now: one of them may tell the supervisor to stop."""

    child: Child


Command = Start | Terminate | Report | TryAgain

_T = TypeVar("_T")
Steps = Generator[Command, Any, _T]


# -- rules ------------------------------------------------------------------------------------


def is_restarted(spec: ChildSpec, reason: Any) -> bool:
    """Whether a child that ended by itself is started again."""
    return spec.restart == "permanent" or (spec.restart == "transient" and not is_quiet(reason))


def is_reported(spec: ChildSpec, reason: Any) -> bool:
    """Whether the end of a child is worth a report."""
    return spec.restart == "permanent" or not is_quiet(reason)


def is_orderly_stop(spec: ChildSpec, reason: Any) -> bool:
    """Whether a child that was told to stop did so as it was told."""
    expected = KILLED if spec.shutdown_ms == "brutal_kill" else SHUTDOWN
    return reason is expected or (spec.restart != "permanent" and is_quiet(reason))


@dataclass(slots=True)
class RestartWindow:
    """The restarts of the last `period_s` seconds; more than `intensity` are too many.

    Counts in whole seconds, as OTP does: a restart that is just under ``period_s + 1`` seconds old may still count.
    """

    intensity: int
    period_s: int
    restarts: deque[int] = field(default_factory=deque)

    def add(self, now_s: float) -> bool:
        """Note a restart. False: it is one too many.

        Args:
            now_s: a time that never goes back.
        """
        now = floor(now_s)
        restarts = self.restarts
        while restarts and restarts[0] < now - self.period_s:
            restarts.popleft()
        restarts.append(now)
        return len(restarts) <= self.intensity


# -- supervision ------------------------------------------------------------------------------


class Supervision(ABC):
    """The children of one supervisor. See the subclasses.

    Args:
        is_alive: whether a process lives, as far as that can be told; it counts in the answers to some requests.
    """

    def __init__(self, intensity: int, period_s: int, is_alive: Callable[[Pid], bool]) -> None:
        self.window = RestartWindow(intensity, period_s)
        self.is_alive = is_alive

    def child_ended(self, pid: Pid, reason: Any, now_s: float) -> Steps[bool]:
        """A linked process has ended. True: the supervisor shall end too, with ``shutdown``.

        Args:
            pid: one that is no child is nothing to a supervisor.
            now_s: a time that never goes back.
        """
        child = self._by_pid(pid)
        if child is None:
            return False
        if is_reported(child.spec, reason):
            yield Report("child_terminated", reason, child)
        if is_restarted(child.spec, reason):
            return (yield from self._restart(child, now_s))
        self._forget(child)
        return self._ends_with(child)

    def try_again(self, child: Child, now_s: float) -> Steps[bool]:
        """Restart a child whose last start failed, unless somebody has stopped, started or deleted it meanwhile."""
        if not child.restarting or not self._holds(child):
            return False
        return (yield from self._restart(child, now_s))

    def _restart(self, child: Child, now_s: float) -> Steps[bool]:
        if not self.window.add(now_s):
            yield Report("shutdown", REACHED_MAX_RESTART_INTENSITY, child)
            self._forget(child)
            return True
        failed = yield from self._restart_now(child)
        if failed is not None:
            yield TryAgain(failed)
        return False

    def _stop(self, children: Sequence[Child]) -> Steps[None]:
        ends: list[tuple[Child, Any]] = yield Terminate(children)
        for child, reason in ends:
            if not is_orderly_stop(child.spec, reason):
                yield Report("shutdown_error", reason, child)

    @abstractmethod
    def start_all(self) -> Steps[Any]:
        """The first start of all children. None, or ``{failed_to_start_child, Id, Reason}`` with none left running."""

    @abstractmethod
    def terminate_all(self) -> Steps[None]:
        """The end of the supervisor."""

    @abstractmethod
    def which_children(self) -> list[tuple[Any, ...]]:
        """``[{Id, Child, Type, Modules}]``."""

    @abstractmethod
    def count_children(self) -> list[tuple[Atom, int]]:
        """``[{specs, N}, {active, N}, {supervisors, N}, {workers, N}]``."""

    @abstractmethod
    def which_child(self, id: Any) -> Any: ...
    @abstractmethod
    def child_spec(self, id: Any) -> Any: ...
    @abstractmethod
    def terminate_child(self, id: Any) -> Steps[Any]: ...
    @abstractmethod
    def restart_child(self, id: Any) -> Steps[Any]: ...
    @abstractmethod
    def delete_child(self, id: Any) -> Any: ...

    @abstractmethod
    def _by_pid(self, pid: Pid) -> Child | None:
        """The running child with that pid."""

    @abstractmethod
    def _holds(self, child: Child) -> bool: ...

    @abstractmethod
    def _forget(self, child: Child) -> None:
        """The process of a child has ended for good."""

    @abstractmethod
    def _restart_now(self, child: Child) -> Steps[Child | None]:
        """Start a child that ended, with the others that go with it. Returns the one that could not be started."""

    @abstractmethod
    def _ends_with(self, child: Child) -> bool:
        """Whether ``auto_shutdown`` ends the supervisor now that this child has ended by itself."""


class StaticSupervision(Supervision):
    """``one_for_one``, ``one_for_all`` and ``rest_for_one``: children with ids, in an order."""

    def __init__(self, flags: SupervisorFlags, specs: Iterable[ChildSpec], is_alive: Callable[[Pid], bool]) -> None:
        super().__init__(flags.intensity, flags.period_s, is_alive)
        self.flags = flags
        self.children: dict[Any, Child] = {exact_key(spec.id): Child(spec) for spec in specs}
        """In start order."""
        self._running: dict[Pid, Child] = {}

    def start_all(self) -> Steps[Any]:
        failed = yield from self._start(list(self.children.values()))
        if failed is None:
            return None
        yield from self.terminate_all()
        child, reason = failed
        return FAILED_TO_START_CHILD, child.spec.id, reason

    def terminate_all(self) -> Steps[None]:
        yield from self._terminate(list(self.children.values()))

    def change(self, flags: SupervisorFlags, specs: Sequence[ChildSpec]) -> None:
        """Take over what a new version of the supervisor says; running children go on, and keep their pids.

        Children that the new version does not name stay, after those that it does.
        """
        self.flags = flags
        self.window.intensity, self.window.period_s = flags.intensity, flags.period_s
        old, self.children = self.children, {}
        for spec in specs:
            child = old.pop(exact_key(spec.id), None) or Child(spec)
            child.spec = spec
            self.children[exact_key(spec.id)] = child
        self.children.update(old)

    # -- requests -------------------------------------------------------------------------------

    def start_child(self, spec: ChildSpec) -> Steps[Any]:
        present = self.children.get(exact_key(spec.id))
        if present is not None:
            return (ERROR, (ALREADY_STARTED, present.pid)) if present.running else (ERROR, ALREADY_PRESENT)
        child = Child(spec)
        result: Started | Failed = yield Start(child)
        if isinstance(result, Failed):
            reason = result.reason
            if type(reason) is tuple and len(reason) == 2 and reason[0] is ALREADY_STARTED:
                return ERROR, reason
            return ERROR, (reason, child.record())
        if spec.restart != "temporary":
            self._file(child, result.pid)
        elif result.pid is not None:
            child.spec = spec.without_arguments()
            self._file(child, result.pid)
        return result.reply()

    def terminate_child(self, id: Any) -> Steps[Any]:
        child = self.children.get(exact_key(id))
        if child is None:
            return ERROR, NOT_FOUND
        if child.running:
            yield from self._stop((child,))
        self._forget(child)
        return OK

    def restart_child(self, id: Any) -> Steps[Any]:
        child = self.children.get(exact_key(id))
        refused = _refusal(child)
        if child is None or refused is not None:
            return refused
        result: Started | Failed = yield Start(child)
        if isinstance(result, Failed):
            return ERROR, result.reason
        self._set_pid(child, result.pid)
        return result.reply()

    def delete_child(self, id: Any) -> Any:
        refused = _refusal(self.children.get(exact_key(id)))
        if refused is not None:
            return refused
        del self.children[exact_key(id)]
        return OK

    def child_spec(self, id: Any) -> Any:
        child = self.children.get(exact_key(id))
        return (ERROR, NOT_FOUND) if child is None else (OK, child.spec)

    def which_children(self) -> list[tuple[Any, ...]]:
        # The last started first: OTP's order.
        return [child.entry(child.spec.id) for child in reversed(self.children.values())]

    def which_child(self, id: Any) -> Any:
        child = self.children.get(exact_key(id))
        return (ERROR, NOT_FOUND) if child is None else (OK, child.entry(child.spec.id))

    def count_children(self) -> list[tuple[Atom, int]]:
        specs = [child.spec for child in self.children.values()]
        return counts(len(specs), sum(map(self.is_alive, self._running)), specs)

    # -- steps ----------------------------------------------------------------------------------

    def _start(self, children: Iterable[Child]) -> Steps[tuple[Child, Any] | None]:
        """Start in this order, up to the first that fails; that one is returned, with its reason."""
        for child in children:
            result: Started | Failed = yield Start(child)
            if isinstance(result, Failed):
                yield Report("start_error", result.reason, child)
                return child, result.reason
            if result.pid is None and child.spec.restart == "temporary":
                self._remove(child)
            else:
                self._set_pid(child, result.pid)
        return None

    def _terminate(self, children: Sequence[Child]) -> Steps[None]:
        """Stop those of `children` (in start order) that run, the last first; temporary ones are gone then."""
        for child in reversed(children):
            if child.running:
                yield from self._stop((child,))
            self._forget(child)

    def _restart_now(self, child: Child) -> Steps[Child | None]:
        if self.flags.strategy == "one_for_one":
            result: Started | Failed = yield Start(child)
            if isinstance(result, Failed):
                yield Report("start_error", result.reason, child)
                self._mark_restarting(child, child.pid)
                return child
            self._set_pid(child, result.pid)
            return None
        affected = list(self.children.values())
        if self.flags.strategy == "rest_for_one":
            affected = affected[affected.index(child) :]
        ended = child.pid
        self._set_pid(child, None)
        yield from self._terminate(affected)
        failed = yield from self._start([other for other in affected if self._holds(other)])
        if failed is None:
            return None
        self._mark_restarting(failed[0], ended if failed[0] is child else None)
        return failed[0]

    def _ends_with(self, child: Child) -> bool:
        if not child.spec.significant or self.flags.auto_shutdown == "never":
            return False
        if self.flags.auto_shutdown == "any_significant":
            return True
        left = (other for other in self.children.values() if other.running or other.restarting)
        return not any(other.spec.significant for other in left)

    # -- the table ------------------------------------------------------------------------------

    def _by_pid(self, pid: Pid) -> Child | None:
        return self._running.get(pid)

    def _holds(self, child: Child) -> bool:
        return self.children.get(exact_key(child.spec.id)) is child

    def _file(self, child: Child, pid: Pid | None) -> None:
        self.children[exact_key(child.spec.id)] = child
        self._set_pid(child, pid)

    def _set_pid(self, child: Child, pid: Pid | None) -> None:
        if child.pid is not None:
            self._running.pop(child.pid, None)
        child.pid, child.restarting = pid, False
        if pid is not None:
            self._running[pid] = child

    def _mark_restarting(self, child: Child, ended: Pid | None) -> None:
        self._set_pid(child, None)
        child.pid, child.restarting = ended, True

    def _forget(self, child: Child) -> None:
        self._set_pid(child, None)
        if child.spec.restart == "temporary":
            self._remove(child)

    def _remove(self, child: Child) -> None:
        self.children.pop(exact_key(child.spec.id), None)

    def __erlang_term__(self) -> dict[Atom, Any]:
        """What ``sys:get_state`` shows."""
        return {**shown_flags(self.flags, self.window), Atom("children"): self.which_children()}


def _refusal(child: Child | None) -> Any:
    """Why a child cannot be started or deleted by hand; None if it can."""
    if child is None:
        return ERROR, NOT_FOUND
    if child.restarting:
        return ERROR, RESTARTING
    return (ERROR, RUNNING) if child.pid is not None else None


def counts(specs: int, active: int, children: Sequence[ChildSpec]) -> list[tuple[Atom, int]]:
    """The answer to ``count_children``; `children` has the specification of each."""
    supervisors = sum(1 for spec in children if spec.type == "supervisor")
    return [
        (Atom("specs"), specs),
        (Atom("active"), active),
        (Atom("supervisors"), supervisors),
        (Atom("workers"), len(children) - supervisors),
    ]


def shown_flags(flags: DynamicSupervisorFlags | SupervisorFlags, window: RestartWindow) -> dict[Atom, Any]:
    """What ``sys:get_state`` shows of every supervisor."""
    shown: dict[Atom, Any] = {
        Atom("strategy"): Atom("one_for_one"),
        Atom("intensity"): flags.intensity,
        Atom("period"): flags.period_s,
        Atom("restarts"): list(window.restarts),
    }
    if isinstance(flags, SupervisorFlags):
        shown[Atom("strategy")] = Atom(flags.strategy)
        shown[Atom("auto_shutdown")] = Atom(flags.auto_shutdown)
    return shown
