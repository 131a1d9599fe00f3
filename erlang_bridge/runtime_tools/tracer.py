"""Tracing from Python: ``node.trace``.

::

    with node.trace.session(["ticker"], ["send", "receive"], print) as tracer:
        ...                                        # print(event) for each message of that process

    tracer = node.trace.start(pid, ["call"], handler)
    tracer.calls("engines.ticker.server:Ticker.handle_call/3", returns=True)
    ...
    tracer.stop()

    node.trace.text(event)                         # "ticker << {'$gen_cast',increment}"

Costs nothing while nobody traces. An event that comes while its handler is behind by ``limit`` others is dropped and
counted: a process is never held up by who traces it.

The same hooks serve ``dbg``, ``ttb`` and ``trace`` of a BEAM; see `dbg`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

from erlang_bridge.process import Process, ProcessTable
from erlang_bridge.process.breakpoints import Breakpoints, Target
from erlang_bridge.process.process import DEAD
from erlang_bridge.process.tracing import (
    MASKS,
    STYLES,
    Matcher,
    Mfa,
    Outcome,
    Session,
    TraceEvent,
    Tracer,
    Tracing,
)
from erlang_bridge.runtime_tools import trace_terms
from erlang_bridge.runtime_tools.trace_targets import find_target, loaded_modules, targets_of
from erlang_bridge.terms import Atom, Pid
from erlang_bridge.terms.text import format_term

log = logging.getLogger("erlang_bridge.trace")

LIMIT: Final = 10_000
"""How many events wait for a process that is told of them."""

FLAGS: Final = frozenset(MASKS) | STYLES
EXISTING: Final = frozenset({"all", "processes", "existing", "existing_processes"})
NEW: Final = frozenset({"all", "processes", "new", "new_processes"})
PORTS: Final = frozenset({"ports", "existing_ports", "new_ports"})
ANY: Final = "_"

Handler = Callable[[TraceEvent], Any]


class ProcessTracer:
    """Delivers events to a process of this node, as long as its mailbox has room.

    Args:
        message: makes the message out of an event and the flags it is told with.
        dropped: makes the message that says how many events were left out before the next one; None sends none.
    """

    def __init__(
        self,
        process: Process,
        message: Callable[[TraceEvent, frozenset[str]], Any],
        dropped: Callable[[int], Any] | None,
        limit: int = LIMIT,
    ) -> None:
        self.process = process
        self.limit = limit
        self.dropped = 0
        """How many events there was no room for, all together."""
        self._message = message
        self._dropped_message = dropped
        self._missing = 0

    def owns(self, process: Process) -> bool:
        return process is self.process

    def put(self, event: TraceEvent, flags: frozenset[str]) -> None:
        process = self.process
        if process.state == DEAD:
            return
        if len(process.mailbox or ()) >= self.limit:
            self.dropped += 1
            self._missing += 1
            return
        if self._missing:
            missing, self._missing = self._missing, 0
            if self._dropped_message is not None:
                process.deliver(self._dropped_message(missing))
        process.deliver(self._message(event, flags))


class Traces:
    """All tracing of a node; its `trace`."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.table: ProcessTable = node.table
        self.tracing = Tracing(node.table)
        self.breakpoints = Breakpoints(self.tracing, self._find)
        self._running: list[Trace] = []
        node.at_stop(self.close)
        node.code.on_load(lambda _: self.breakpoints.lift(), lambda _: self.breakpoints.set_again())

    # -- for Python -----------------------------------------------------------------------------

    def start(
        self,
        processes: Any = "all",
        flags: Iterable[str] = ("send", "receive"),
        handler: Handler | None = None,
        *,
        calls: Iterable[str] = (),
        limit: int = LIMIT,
    ) -> Trace:
        """Trace until `Trace.stop`, or until the process that started it ends.

        Args:
            processes: a pid, a registered name, a list of these; ``"all"``, ``"existing"``, ``"new"``.
            flags: what to tell of them; see `erlang_bridge.process.tracing`.
            handler: called with each `TraceEvent`, in a process of its own: it may take its time. Without one the
                events are kept in `Trace.events`.
            calls: functions whose calls are told, see `Trace.calls`; the flag ``call`` is set by itself.
            limit: how many events may wait, or be kept.

        Raises:
            ValueError: an unknown flag, no such process or no such function.
        """
        trace = Trace(self, handler, limit)
        self._running.append(trace)
        try:
            patterns = list(calls)
            trace.watch(processes, *flags, *(["call"] if patterns else []))
            for pattern in patterns:
                if not trace.calls(pattern):
                    raise ValueError(f"there is no function {pattern}")
        except BaseException:
            trace.stop()
            raise
        return trace

    @contextmanager
    def session(
        self,
        processes: Any = "all",
        flags: Iterable[str] = ("send", "receive"),
        handler: Handler | None = None,
        *,
        calls: Iterable[str] = (),
        limit: int = LIMIT,
    ) -> Iterator[Trace]:
        """As `start`; ends with the block."""
        trace = self.start(processes, flags, handler, calls=calls, limit=limit)
        try:
            yield trace
        finally:
            trace.stop()

    def text(self, event: TraceEvent, most: int = 300) -> str:
        """An event in one line, with registered names in place of pids."""
        return trace_terms.event_text(event, self.name_of, most)

    def name_of(self, who: Any) -> str:
        """A process by its registered name or label, else by its pid; a name as it is."""
        if type(who) is Pid:
            process = self.table.find(who)
            if process is not None and process.name is not None:
                return process.name.name
            return str(who)
        return who if isinstance(who, str) else format_term(who)

    def close(self) -> None:
        """End everything that traces."""
        for trace in list(self._running):
            trace.stop()
        for session in list(self.tracing.sessions):
            self.tracing.end_session(session)

    # -- what tracers of any kind share ---------------------------------------------------------

    def _find(self, mfa: Mfa) -> Target | None:
        return find_target(mfa)

    def watch(self, session: Session, processes: Any, flags: frozenset[str], tracer: Tracer) -> int:
        """Watch with more flags. Returns how many processes that are.

        Raises:
            ValueError: no such process; one that another tracer of the session watches.
        """
        word = _word(processes)
        if word in PORTS:
            return 0
        found = self._existing(processes)
        count = sum(self.tracing.watch(session, process, flags, tracer) for process in found)
        if word in NEW:
            session.new = ((session.new[0] if session.new is not None else frozenset()) | flags, tracer)
        elif word not in EXISTING and not count:
            raise ValueError(f"{self.name_of(processes)} is traced by another tracer, or is one itself")
        self.tracing.refresh()
        return count

    def unwatch(self, session: Session, processes: Any, flags: frozenset[str] | None) -> int:
        """Take flags away (None: all). Raises ValueError: no such process."""
        word = _word(processes)
        if word in PORTS:
            return 0
        count = 0
        for process in self._existing(processes):
            self.tracing.unwatch(session, process, flags)
            count += 1
        if word in NEW and session.new is not None:
            left: frozenset[str] = session.new[0] - flags if flags is not None else frozenset()
            session.new = (left, session.new[1]) if left & MASKS.keys() else None
        self.tracing.refresh()
        return count

    def set_calls(
        self, session: Session, module: str, function: str, arity: int | None, matcher: Matcher | None
    ) -> int:
        """Tell of calls of functions from now on (None: no more). Returns how many functions that are.

        Args:
            module, function: ``"_"`` is every one.
            arity: None is every number of arguments.
        """
        if matcher is None:
            gone = [
                mfa
                for mfa in session.calls
                if module in (ANY, mfa[0]) and function in (ANY, mfa[1]) and arity in (None, mfa[2])
            ]
            for mfa in gone:
                del session.calls[mfa]
            count = len(gone)
        else:
            found = dict.fromkeys(self._functions(module, function, arity), matcher)
            session.calls.update(found)
            count = len(found)
        self.tracing.refresh()
        return count

    def _functions(self, module: str, function: str, arity: int | None) -> Iterator[Mfa]:
        if module != ANY and function != ANY and arity is not None:
            if self._find((module, function, arity)) is not None:
                yield (module, function, arity)
            return
        seen = False
        for name in loaded_modules() if module == ANY else (module,):
            for target in targets_of(name):
                if function in (ANY, target.mfa[1]) and arity in (None, target.mfa[2]):
                    seen = True
                    yield target.mfa
        if not seen and module != ANY and function != ANY:
            # One that a class has from this library.
            for number in range(16):
                if self._find((module, function, number)) is not None:
                    yield (module, function, number)

    def _existing(self, processes: Any) -> list[Process]:
        word = _word(processes)
        if word in EXISTING:
            return list(self.table.processes.values())
        if word in NEW:
            return []
        if isinstance(processes, (list, tuple, set, frozenset)):
            return [process for one in processes for process in self._existing(one)]
        if type(processes) is Pid:
            process = self.table.find(processes)
        else:
            process = self.table.names.get(Atom(word)) if word is not None else None
        if process is None:
            raise ValueError(f"there is no process {self.name_of(processes)}")
        return [process]

    def forget(self, trace: Trace) -> None:
        if trace in self._running:
            self._running.remove(trace)


class Trace:
    """One trace, started with `Traces.start`.

    Attributes:
        events: what was told, where there is no handler; the oldest first, at most ``limit``.
    """

    def __init__(self, traces: Traces, handler: Handler | None, limit: int) -> None:
        self.events: deque[TraceEvent] = deque()
        self._traces = traces
        self._handler = handler
        self._session = Session("python")
        self._limit = limit
        self._kept_dropped = 0
        self._is_stopped = False
        table = traces.table
        starter = table.current()
        # Nothing of it runs before this returns.
        process = table.add_body(self._run, group_leader=starter.group_leader if starter is not None else None)
        process.initial_call = (__name__, "Trace", 1)
        process.label = "tracer"
        process.on_exit = self._ended
        traces.tracing.serve(process)
        self._process = process
        self._starter = starter
        self._tracer = ProcessTracer(process, lambda event, flags: event, None, limit)
        traces.tracing.add_session(self._session)
        if starter is not None:
            table.monitor(process, starter.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        return not self._is_stopped

    @property
    def dropped(self) -> int:
        """How many events were left out."""
        return self._tracer.dropped + self._kept_dropped

    def watch(self, processes: Any, *flags: str) -> int:
        """Tell more, or of more processes; as `Traces.start`. Returns how many processes that are."""
        return self._traces.watch(self._session, processes, checked_flags(flags), self._tracer)

    def unwatch(self, processes: Any, *flags: str) -> int:
        """Tell less; without flags nothing of these processes any more."""
        return self._traces.unwatch(self._session, processes, checked_flags(flags) if flags else None)

    def calls(self, function: str, *, returns: bool = False, exceptions: bool = False) -> int:
        """Tell of the calls of a function, by those processes that are watched with ``call``.

        Args:
            function: ``"module:function"``, ``"module:Class.method"``, with or without ``/number of arguments``;
                ``"module"`` is all of it.
            returns: tell what it returns as well; `exceptions`: and what it raises.

        Returns:
            How many functions that are.
        """
        module, name, arity = parse_function(function)
        outcome = Outcome(returns=returns or exceptions, exceptions=exceptions)
        return self._traces.set_calls(self._session, module, name, arity, lambda arguments, process: outcome)

    def stop(self) -> None:
        """End it: everything is as it was before. Events that came until now are still handled. Idempotent."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._traces.tracing.end_session(self._session)
        self._traces.forget(self)
        # Behind the events that wait.
        self._process.deliver(None)

    def _ended(self, _reason: Any) -> None:
        """Its process is gone, killed perhaps: nobody would be told."""
        self._traces.tracing.serve_no_more(self._process)
        self.stop()

    def _run(self) -> None:
        process = self._process
        while True:
            message = process.receive()
            if type(message) is not TraceEvent:
                # Stopped, or the process that started it has ended.
                self.stop()
                return
            if self._handler is not None:
                try:
                    self._handler(message)
                except Exception:
                    log.exception("the handler of a trace has raised; the trace ends")
                    self.stop()
                    return
            elif len(self.events) < self._limit:
                self.events.append(message)
            else:
                self._kept_dropped += 1


def checked_flags(flags: Iterable[str]) -> frozenset[str]:
    """Raises ValueError: an unknown flag."""
    given = frozenset(flags)
    unknown = sorted(given - FLAGS)
    if unknown:
        raise ValueError(f"unknown flag {', '.join(unknown)}; known are {', '.join(sorted(FLAGS))}")
    return given


def parse_function(text: str) -> tuple[str, str, int | None]:
    """``module:Class.method/arity``; function and arity may be left out.

    Raises:
        ValueError: not of that form.

    Example:
        >>> parse_function("engines.ticker.server:Ticker.handle_call/3")
        ('engines.ticker.server', 'Ticker.handle_call', 3)
    """
    module, _, rest = text.partition(":")
    name, _, arity = rest.partition("/")
    if not module or (arity and not arity.isdecimal()):
        raise ValueError(f"expected module:function/arity, got {text!r}")
    return module, name or ANY, int(arity) if arity else None


def _word(processes: Any) -> str | None:
    if isinstance(processes, Atom):
        return processes.name
    return processes if isinstance(processes, str) else None
