"""Calls of Python functions, told to who traces them.

A function with a breakpoint has another ``__code__`` while it is traced, one that asks whether the process that runs
it is watched and goes on with the original. So every way to reach the function is seen (names imported elsewhere,
tables of functions, methods that a subclass inherits), nothing else changes its identity, and an untraced function is
exactly what it was.

Arguments are told without ``self`` or ``cls``: ``{'engines.ticker.server', 'Ticker.handle_call', [Request, From,
State]}``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any, Final

import greenlet

from erlang_bridge.process.process import Process
from erlang_bridge.process.tracing import CALL, Matcher, Mfa, Session, TraceEvent, Tracing, Watch
from erlang_bridge.terms import Atom

_HOOK: Final = "the hook"
_UNSET: Final = object()


@dataclass(frozen=True, slots=True)
class Target:
    """A function as tracing names it.

    Attributes:
        mfa: module, name (``Class.method`` for those of classes) and number of arguments.
        function: the function itself.
        owner: calls on instances of other classes are not this one's; None for a function that is no method.
        is_bound: the first argument is ``self`` or ``cls``.
    """

    mfa: Mfa
    function: FunctionType
    owner: type | None
    is_bound: bool


@dataclass(frozen=True, slots=True)
class _Point:
    session: Session
    target: Target
    matcher: Matcher


class _Trap:
    """One function with a breakpoint."""

    def __init__(self, tracing: Tracing, function: FunctionType) -> None:
        self._tracing = tracing
        self.function = function
        self.code = function.__code__
        """What it goes on with: that of the function, or of a trap of another node, which was there before."""
        self.signature = code_of(function)
        self.points: list[_Point] = []
        self._original = FunctionType(
            self.code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        self._original.__kwdefaults__ = function.__kwdefaults__
        self._original.__qualname__ = function.__qualname__
        self._original.__annotations__ = function.__annotations__
        self._wrapped = function.__dict__.get("__wrapped__", _UNSET)

    def set(self) -> None:
        self._trapped = _trapped(self.code, self._hook)
        self.function.__code__ = self._trapped
        if self._wrapped is _UNSET:
            # For who asks for its signature meanwhile.
            self.function.__dict__["__wrapped__"] = self._original

    def lift(self) -> None:
        above = self._above()
        if above is not None:
            above.code = above._original.__code__ = self.code
        elif self.function.__code__ is self._trapped:
            self.function.__code__ = self.code
        # Else somebody has given it new code since.
        if self._wrapped is not _UNSET:
            return
        if above is not None and above._wrapped is self._original:
            above._wrapped = _UNSET
            self.function.__dict__["__wrapped__"] = above._original
        else:
            self.function.__dict__.pop("__wrapped__", None)

    def _above(self) -> _Trap | None:
        """The trap of another node that was set after this one, and goes on with it."""
        trap = _trap_of(self.function.__code__)
        while trap is not None and trap.code is not self._trapped:
            trap = _trap_of(trap.code)
        return trap

    def _hook(self, *arguments: Any, **keywords: Any) -> Any:
        tracing = self._tracing
        process = getattr(greenlet.getcurrent(), "process", None)
        if process is None or tracing.is_telling or process.table is not tracing.table:
            return self._original(*arguments, **keywords)
        watches = tracing.watches_of(process)
        if not watches:
            return self._original(*arguments, **keywords)
        return self._call(process, watches, arguments, keywords)

    def _call(
        self, process: Process, watches: list[Watch], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Any:
        tracing = self._tracing
        returning: list[tuple[Watch, Target, bool, bool]] = []
        for watch in list(watches):
            point = self._point_for(watch, arguments) if watch.mask & CALL else None
            if point is None:
                continue
            target = point.target
            told = _told_arguments(self.signature, target.is_bound, arguments, keywords)
            module, name, _ = target.mfa
            outcome = tracing.match(watch.session, point.matcher, told, process)
            if outcome is None:
                continue
            if outcome.silent is not None:
                watch.silent = outcome.silent
            if watch.silent:
                continue
            if outcome.tell:
                what: Any = len(told) if "arity" in watch.flags else told
                called = (Atom(module[-255:]), Atom(name[-255:]), what)
                tracing.tell(watch, TraceEvent("call", process.pid, (called,), outcome.extra))
            if outcome.returns or outcome.exceptions:
                returning.append((watch, target, outcome.returns, outcome.exceptions))
        if not returning:
            return self._original(*arguments, **keywords)
        try:
            value = self._original(*arguments, **keywords)
        except BaseException as error:
            self._tell_end(process, returning, "exception_from", error)
            raise
        self._tell_end(process, returning, "return_from", value)
        return value

    def _tell_end(
        self, process: Process, returning: list[tuple[Watch, Target, bool, bool]], kind: str, value: Any
    ) -> None:
        for watch, target, returns, exceptions in returning:
            # It may have ended since the call began.
            is_watched = watch.session.watches.get(process.pid.id) is watch and watch.mask & CALL
            if is_watched and (exceptions or (returns and kind == "return_from")):
                module, name, arity = target.mfa
                mfa = (Atom(module[-255:]), Atom(name[-255:]), arity)
                self._tracing.tell(watch, TraceEvent(kind, process.pid, (mfa, value)))

    def _point_for(self, watch: Watch, arguments: tuple[Any, ...]) -> _Point | None:
        """The one of the session that fits best: that of the most special class."""
        best: _Point | None = None
        for point in self.points:
            owner = point.target.owner if point.target.is_bound else None
            if point.session is not watch.session or (owner is not None and not _is_call_on(owner, arguments)):
                continue
            if (
                best is None
                or best.target.owner is None
                or (owner is not None and issubclass(owner, best.target.owner))
            ):
                best = point
        return best


class Breakpoints:
    """The breakpoints of a node.

    Args:
        find: the function of that name now; None where there is none any more.
    """

    def __init__(self, tracing: Tracing, find: Callable[[Mfa], Target | None]) -> None:
        self._tracing = tracing
        self._find = find
        self._traps: dict[FunctionType, _Trap] = {}
        self._is_lifted = False
        tracing.breakpoints = self

    @property
    def functions(self) -> list[FunctionType]:
        """Those that have a breakpoint."""
        return list(self._traps)

    def refresh(self, sessions: Iterable[Session]) -> None:
        """Set and lift, so that just those functions have one whose calls somebody is to be told of."""
        wanted: dict[FunctionType, list[_Point]] = {}
        if not self._is_lifted:
            for session in sessions:
                if session.calls and session.wants_calls:
                    for mfa, matcher in session.calls.items():
                        target = self._find(mfa)
                        if target is not None:
                            wanted.setdefault(target.function, []).append(_Point(session, target, matcher))
        for function in [function for function in self._traps if function not in wanted]:
            self._traps.pop(function).lift()
        for function, points in wanted.items():
            trap = self._traps.get(function)
            if trap is None:
                self._traps[function] = trap = _Trap(self._tracing, function)
                trap.set()
            trap.points = points

    def lift(self) -> None:
        """Take all of them away, until `set_again`: for whoever gives functions new code."""
        self._is_lifted = True
        self.refresh(())

    def set_again(self) -> None:
        """Set them in what has those names now."""
        self._is_lifted = False
        self.refresh(self._tracing.sessions)


def code_of(function: FunctionType) -> CodeType:
    """The code of a function as it was written, also while it has a breakpoint."""
    code = function.__code__
    while (trap := _trap_of(code)) is not None:
        code = trap.code
    return code


def is_breakpoint(code: CodeType) -> bool:
    """Whether this is what stands in the place of a function's own code while it has a breakpoint."""
    return _trap_of(code) is not None


def _trap_of(code: CodeType) -> _Trap | None:
    for constant in code.co_consts:
        if type(constant) is MethodType and isinstance(constant.__self__, _Trap):
            return constant.__self__
    return None


def _trapped(code: CodeType, hook: Callable[..., Any]) -> CodeType:
    """Code that calls `hook`, in the place of `code`: as many free variables, the same name and line."""
    template = _template.__code__
    constants = tuple(hook if constant == _HOOK else constant for constant in template.co_consts)
    return template.replace(
        co_consts=constants,
        co_freevars=code.co_freevars,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        co_filename=code.co_filename,
        co_firstlineno=code.co_firstlineno,
    )


def _template(*arguments: Any, **keywords: Any) -> Any:
    hook: Any = "the hook"
    return hook(*arguments, **keywords)


def _is_call_on(owner: type, arguments: tuple[Any, ...]) -> bool:
    if not arguments:
        return False
    first = arguments[0]
    return isinstance(first, owner) or (isinstance(first, type) and issubclass(first, owner))


def _told_arguments(code: CodeType, is_bound: bool, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> list[Any]:
    told = list(arguments[1:] if is_bound else arguments)
    if keywords:
        positional = code.co_varnames[len(arguments) : code.co_argcount]
        told.extend(keywords[name] for name in positional if name in keywords)
        told.extend(value for name, value in keywords.items() if name not in positional)
    return told


def caller_of_traced() -> Mfa | None:
    """The function that has called the traced one. For matchers, which run between the two."""
    hook = _Trap._hook.__code__
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not hook:
        frame = frame.f_back
    # The traced function itself, then its caller.
    frame = frame.f_back if frame is not None else None
    frame = frame.f_back if frame is not None else None
    if frame is None:
        return None
    code = frame.f_code
    arity = code.co_argcount - (1 if code.co_varnames[:1] in (("self",), ("cls",)) else 0)
    return str(frame.f_globals.get("__name__", "?")), code.co_qualname, arity
