"""Tracing: what happens to chosen processes is told to tracers while it happens.

Costs nothing where nobody traces: there is no question to ask on the way of a message. Instead, a process that is
watched gets another class (`TracedBehaviour` and its kin, which have the same layout), and so has the table while
anything is watched at all. Both get their own class back when the last watch ends. Calls are in `breakpoints`.

Flags, as those of ``erlang:trace/3``:

======================================  ==============================================================================
``send``, ``receive``                   messages out and in; the reply to a call comes in as well
``call``                                calls of the functions that have a pattern
``procs``                               spawn, exit, register, unregister, link, unlink and their counterparts
``running``                             in and out: it runs, and waits again
``silent``                              no calls are told until a match specification says ``{silent, false}``
``set_on_spawn``, ``set_on_link``       who it spawns (links with) is watched alike; ``set_on_first_..``: only once
``arity``, ``timestamp`` and its kin    how events are told, see `TraceEvent`
======================================  ==============================================================================

Source: OTP, ``erlang:trace/3``, ``trace:process/4``.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from erlang_bridge.process.process import DEAD, LINKED, READY, BehaviourProcess, BodyProcess, GuestProcess, Process
from erlang_bridge.process.records import Alias, Monitor
from erlang_bridge.process.scheduler import Worker
from erlang_bridge.process.table import ProcessTable
from erlang_bridge.terms import Atom, Pid, Reference

if TYPE_CHECKING:
    from erlang_bridge.process.breakpoints import Breakpoints

log = logging.getLogger("erlang_bridge.trace")

SEND: Final = 1
RECEIVE: Final = 2
CALL: Final = 4
PROCS: Final = 8
RUNNING: Final = 16
SET_ON_SPAWN: Final = 32
SET_ON_LINK: Final = 64
SET_ON_FIRST_SPAWN: Final = 128
SET_ON_FIRST_LINK: Final = 256

MASKS: Final = {
    "send": SEND,
    "receive": RECEIVE,
    "call": CALL,
    "procs": PROCS,
    "running": RUNNING,
    "running_procs": RUNNING,
    "set_on_spawn": SET_ON_SPAWN,
    "set_on_link": SET_ON_LINK,
    "set_on_first_spawn": SET_ON_FIRST_SPAWN,
    "set_on_first_link": SET_ON_FIRST_LINK,
}
"""Flags that make something happen."""
STYLES: Final = frozenset(
    {"timestamp", "monotonic_timestamp", "strict_monotonic_timestamp", "cpu_timestamp", "arity", "silent"}
)
"""Flags that say how events are told."""

PROCESS: Final = Atom("process")

Mfa = tuple[str, str, int]
"""Module, function and number of arguments."""


class TraceEvent:
    """Something that happened to a process.

    Attributes:
        kind: ``send``, ``receive``, ``call``, ``return_from``, ``exception_from``, ``spawn``, ``spawned``, ``exit``,
            ``register``, ``unregister``, ``link``, ``unlink``, ``getting_linked``, ``getting_unlinked``, ``in``,
            ``out``; as the third element of OTP's trace messages.
        pid: whose event it is.
        details: what follows in OTP's trace message: for ``send`` the message and its destination.
        extra: what a match specification adds with ``{message, Term}``: an empty tuple, or one of one element.
        time_ns: wall clock, since the epoch. monotonic_ns: monotonic clock.
    """

    __slots__ = ("details", "extra", "kind", "monotonic_ns", "pid", "time_ns")

    def __init__(self, kind: str, pid: Pid, details: tuple[Any, ...], extra: tuple[Any, ...] = ()) -> None:
        self.kind = kind
        self.pid = pid
        self.details = details
        self.extra = extra
        self.time_ns = time.time_ns()
        self.monotonic_ns = time.monotonic_ns()

    def __repr__(self) -> str:
        return f"<TraceEvent {self.kind} of {self.pid}: {self.details!r}>"


class Spawned:
    """In the details of ``spawn`` and ``spawned``: the process, whose function is known only a moment later."""

    __slots__ = ("process",)

    def __init__(self, process: Process) -> None:
        self.process = process


class Tracer(Protocol):
    """Who is told. Bounded: it drops events, and counts them, when it cannot keep up."""

    def put(self, event: TraceEvent, flags: frozenset[str]) -> None:
        """Take an event of a process that is watched with `flags`. Must not block."""

    def owns(self, process: Process) -> bool:
        """Whether `process` serves this tracer: it is never watched itself."""


class Outcome(NamedTuple):
    """What a match specification says about an event that it lets through."""

    extra: tuple[Any, ...] = ()
    tell: bool = True
    """False: the event itself is not told."""
    returns: bool = False
    """Tell what the call returns, and (`exceptions`) what it raises."""
    exceptions: bool = False
    silent: bool | None = None


Matcher = Callable[[list[Any], Process], Outcome | None]
"""Looks at the arguments of an event; None: it does not match."""

EVERYTHING: Final = Outcome()


def match_everything(_arguments: list[Any], _process: Process) -> Outcome:
    """The matcher of an empty match specification."""
    return EVERYTHING


def match_nothing(_arguments: list[Any], _process: Process) -> None:
    """The matcher of a pattern that is off."""


class Watch:
    """One process, watched for one session."""

    __slots__ = ("flags", "is_running", "mask", "process", "session", "silent", "tracer")

    def __init__(self, session: Session, process: Process, tracer: Tracer) -> None:
        self.session = session
        self.process = process
        self.tracer = tracer
        self.is_running = False
        """Whether ``in`` has been told without an ``out`` so far."""
        self.set_flags(frozenset())

    def set_flags(self, flags: frozenset[str]) -> None:
        self.flags = flags
        self.mask = mask_of(flags)
        self.silent = "silent" in flags


class Session:
    """Tracing that is independent of any other.

    Attributes:
        calls: functions whose calls are told, with what looks at their arguments.
        send, receive: look at ``[To, Message]`` and ``[Node, Sender, Message]``; None stands for everything.
        new: flags and tracer of the processes that will be started.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.watches: dict[int, Watch] = {}
        self.calls: dict[Mfa, Matcher] = {}
        self.send: Matcher | None = None
        self.receive: Matcher | None = None
        self.new: tuple[frozenset[str], Tracer] | None = None
        self._has_failed = False

    def fails_first(self) -> bool:
        """True once: what fails with one event does so with each."""
        is_first, self._has_failed = not self._has_failed, True
        return is_first

    @property
    def is_active(self) -> bool:
        return bool(self.watches) or self.new is not None

    @property
    def wants_calls(self) -> bool:
        """Whether anybody is watched whose calls would be told."""
        if self.new is not None and mask_of(self.new[0]) & CALL:
            return True
        return any(watch.mask & CALL for watch in self.watches.values())


def mask_of(flags: Iterable[str]) -> int:
    """The flags that make something happen, as bits."""
    mask = 0
    for flag in flags:
        mask |= MASKS.get(flag, 0)
    return mask


class Tracing:
    """All tracing of one table."""

    def __init__(self, table: ProcessTable) -> None:
        self.table = table
        self.sessions: list[Session] = []
        self.breakpoints: Breakpoints | None = None
        self.is_telling = False
        """True while an event is being told: what that calls is none of the process's own doing."""
        self._watches: dict[int, list[Watch]] = {}
        self._serving: set[Pid] = set()
        self.workers: dict[int, Worker] = {}
        """Those in whose turn it is told when the process runs."""
        self._fresh: deque[tuple[Process, Process]] = deque()
        table.tracing = self

    # -- what is watched ------------------------------------------------------------------------

    def add_session(self, session: Session) -> None:
        self.sessions.append(session)

    def end_session(self, session: Session) -> None:
        """Stop watching for `session`, and forget it."""
        if session in self.sessions:
            self.sessions.remove(session)
        session.new = None
        session.calls.clear()
        for watch in list(session.watches.values()):
            self._forget(watch)
        self.refresh()

    def serve(self, process: Process) -> None:
        """Have `process`, which does nothing but serve a tracer, never be watched, by any session.

        Two of these that told of each other would not come to an end.
        """
        self._serving.add(process.pid)
        for watch in list(self.watches_of(process)):
            self._forget(watch)

    def serve_no_more(self, process: Process) -> None:
        self._serving.discard(process.pid)

    def watch(self, session: Session, process: Process, flags: frozenset[str], tracer: Tracer) -> bool:
        """Add `flags` to those that `process` is watched with. False: it is not to be watched, or by another tracer."""
        if process.state == DEAD or tracer.owns(process) or process.pid in self._serving:
            return False
        watch = session.watches.get(process.pid.id)
        if watch is None:
            watch = Watch(session, process, tracer)
            session.watches[process.pid.id] = watch
            self._watches.setdefault(process.pid.id, []).append(watch)
            traced = _TRACED.get(type(process))
            if traced is not None:
                process.__class__ = traced
        elif watch.tracer is not tracer:
            return False
        watch.set_flags(watch.flags | flags)
        return True

    def unwatch(self, session: Session, process: Process, flags: frozenset[str] | None) -> bool:
        """Take `flags` away, all of them where None. False: it was not watched."""
        watch = session.watches.get(process.pid.id)
        if watch is None:
            return False
        left: frozenset[str] = watch.flags - flags if flags is not None else frozenset()
        if mask_of(left):
            watch.set_flags(left)
        else:
            self._forget(watch)
        return True

    def drop_tracer(self, tracer: Tracer) -> None:
        """Everything that `tracer` was told of is watched no more."""
        for session in self.sessions:
            if session.new is not None and session.new[1] is tracer:
                session.new = None
            for watch in list(session.watches.values()):
                if watch.tracer is tracer:
                    self._forget(watch)
        self.refresh()

    def refresh(self) -> None:
        """Put the table's hooks and the breakpoints where sessions need them, and nowhere else."""
        is_active = any(session.is_active for session in self.sessions)
        table: Any = self.table
        kind: type = type(table)
        if is_active and kind is ProcessTable:
            table.__class__ = TracingProcessTable
        elif not is_active and kind is TracingProcessTable:
            self._fresh.clear()
            table.__class__ = ProcessTable
        if self.breakpoints is not None:
            self.breakpoints.refresh(self.sessions)

    def _forget(self, watch: Watch) -> None:
        number = watch.process.pid.id
        watch.session.watches.pop(number, None)
        watches = self._watches.get(number)
        if watches is None:
            return
        if watch in watches:
            watches.remove(watch)
        if not watches:
            del self._watches[number]
            plain = _PLAIN.get(type(watch.process))
            if plain is not None:
                watch.process.__class__ = plain
            if number in self.workers:
                self.workers.pop(number).__class__ = Worker

    def watches_of(self, process: Process) -> list[Watch]:
        return self._watches.get(process.pid.id, [])

    # -- what happens ---------------------------------------------------------------------------

    def tell(self, watch: Watch, event: TraceEvent) -> None:
        """Give an event to the tracer of `watch`. Never raises: the process has nothing to do with its tracers."""
        if self._fresh:
            self.tell_spawns()
        self._put(watch, event)

    def _put(self, watch: Watch, event: TraceEvent) -> None:
        was_telling, self.is_telling = self.is_telling, True
        try:
            watch.tracer.put(event, watch.flags)
        except Exception:  # a conversion of the user's own, in a message that is told
            if watch.session.fails_first():
                log.exception("an event of %s could not be told to its tracer; said once", event.pid)
        finally:
            self.is_telling = was_telling

    def happened(self, process: Process, mask: int, kind: str, *details: Any) -> None:
        """An event of `process`, for those who watch it with a flag of `mask`."""
        for watch in list(self._watches.get(process.pid.id, ())):
            if watch.mask & mask:
                self.tell(watch, TraceEvent(kind, process.pid, details))

    def sent(self, process: Process, destination: Any, message: Any) -> None:
        for watch in list(self._watches.get(process.pid.id, ())):
            if watch.mask & SEND:
                outcome = self.match(watch.session, watch.session.send, [destination, message], process)
                if outcome is not None and outcome.tell:
                    kind = "send" if self._exists(destination) else "send_to_non_existing_process"
                    self.tell(watch, TraceEvent(kind, process.pid, (message, destination), outcome.extra))

    def received(self, process: Process, message: Any) -> None:
        for watch in list(self._watches.get(process.pid.id, ())):
            if watch.mask & RECEIVE:
                # Who has sent it is not known any more when it arrives.
                about = [self.table.node_name, Atom("undefined"), message]
                outcome = self.match(watch.session, watch.session.receive, about, process)
                if outcome is not None and outcome.tell:
                    self.tell(watch, TraceEvent("receive", process.pid, (message,), outcome.extra))

    def match(
        self, session: Session, matcher: Matcher | None, arguments: list[Any], process: Process
    ) -> Outcome | None:
        if matcher is None:
            return EVERYTHING
        try:
            return matcher(arguments, process)
        except Exception:  # what the user's own values do when they are compared
            if session.fails_first():
                log.exception("a match specification could not look at an event of %s; said once", process.pid)
            return None

    def _exists(self, destination: Any) -> bool:
        table = self.table
        if type(destination) is Pid:
            return destination.node is not table.node_name or table.find(destination) is not None
        if type(destination) is Atom:
            return destination in table.names
        return True

    def spawned(self, process: Process) -> None:
        """`process` was started by the code that runs now."""
        spawner = self.table.current()
        for session in self.sessions:
            if session.new is not None:
                self.watch(session, process, *session.new)
        if spawner is None:
            return
        for watch in self.watches_of(spawner):
            self._inherit(watch, process, SET_ON_SPAWN, SET_ON_FIRST_SPAWN)
        if self.watches_of(spawner) or self.watches_of(process):
            # What it runs is set right after this; the events must not come after any other of it.
            self._fresh.append((spawner, process))
            self.table.scheduler.hub.loop.run_callback(self.tell_spawns)

    def tell_spawns(self) -> None:
        """Tell of the processes started since the last event."""
        while self._fresh:
            spawner, process = self._fresh.popleft()
            started = Spawned(process)
            for watch in self.watches_of(spawner):
                if watch.mask & PROCS:
                    self._put(watch, TraceEvent("spawn", spawner.pid, (process.pid, started)))
            for watch in self.watches_of(process):
                if watch.mask & PROCS:
                    self._put(watch, TraceEvent("spawned", process.pid, (spawner.pid, started)))

    def linked(self, process: Process, other: Process) -> None:
        for watch in list(self.watches_of(process)):
            self._inherit(watch, other, SET_ON_LINK, SET_ON_FIRST_LINK)

    def _inherit(self, watch: Watch, process: Process, always: int, once: int) -> None:
        if watch.mask & (always | once):
            inherited = watch.flags
            if watch.mask & once and not watch.mask & always:
                inherited = watch.flags - {"set_on_first_spawn" if once is SET_ON_FIRST_SPAWN else "set_on_first_link"}
                watch.set_flags(inherited)
            self.watch(watch.session, process, inherited, watch.tracer)

    def exited(self, process: Process, reason: Any) -> None:
        """`process` is about to end: the last events of it."""
        if self._fresh:
            self.tell_spawns()
        self.happened(process, PROCS, "exit", reason)
        if process.name is not None:
            self.happened(process, PROCS, "unregister", process.name)
        for watch in list(self.watches_of(process)):
            self._forget(watch)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is watched, nor will be."""
        return not self._watches and all(session.new is None for session in self.sessions)

    def runs(self, process: Process) -> bool:
        return any(watch.mask & RUNNING for watch in self.watches_of(process))

    def scheduled_in(self, process: Process) -> None:
        for watch in self.watches_of(process):
            if watch.mask & RUNNING and not watch.is_running:
                watch.is_running = True
                self.tell(watch, TraceEvent("in", process.pid, (function_of(process),)))

    def scheduled_out(self, process: Process) -> None:
        for watch in self.watches_of(process):
            if watch.is_running:
                watch.is_running = False
                if watch.mask & RUNNING:
                    self.tell(watch, TraceEvent("out", process.pid, (function_of(process),)))


def function_of(process: Process) -> Any:
    """Which function of it a process runs in its turns: ``{Module, Function, Arity}``; 0 where that is not known."""
    if isinstance(process, BehaviourProcess):
        kind = type(process.instance)
        return (Atom(f"{kind.__module__}.{kind.__qualname__}"[-255:]), Atom("handle_message"), 1)
    if process.initial_call is not None:
        module, function, arity = process.initial_call
        return (Atom(module[-255:]), Atom(function[-255:]), arity)
    return 0


# -- the hooks ------------------------------------------------------------------------------------


# The base's method is named, not looked up with super(): an event may end the session, and with it the class.


def tracing_of(process: Process) -> Tracing:
    """The tracing of the table of `process`."""
    tracing: Tracing = process.table.tracing
    return tracing


class TracedBehaviour(BehaviourProcess):
    """A behaviour process that is watched."""

    __slots__ = ()

    def deliver(self, message: Any) -> None:
        _told_of_delivery(self, message)
        BehaviourProcess.deliver(self, message)

    def count_turn(self, took_s: float) -> None:
        BehaviourProcess.count_turn(self, took_s)
        _told_of_blocking(self)

    def run_turn(self, worker: Worker) -> int:
        return _traced_turn(self, worker, BehaviourProcess.run_turn)


class TracedBody(BodyProcess):
    """A body process that is watched."""

    __slots__ = ()

    def deliver(self, message: Any) -> None:
        _told_of_delivery(self, message)
        BodyProcess.deliver(self, message)

    def count_turn(self, took_s: float) -> None:
        BodyProcess.count_turn(self, took_s)
        _told_of_blocking(self)

    def run_turn(self, worker: Worker) -> int:
        return _traced_turn(self, worker, BodyProcess.run_turn)


class TracedGuest(GuestProcess):
    """A guest that is watched. Its greenlet is not the scheduler's: nothing tells when that runs."""

    __slots__ = ()

    def deliver(self, message: Any) -> None:
        _told_of_delivery(self, message)
        GuestProcess.deliver(self, message)


_TRACED: Final[dict[type[Process], type[Process]]] = {
    BehaviourProcess: TracedBehaviour,
    BodyProcess: TracedBody,
    GuestProcess: TracedGuest,
}
_PLAIN: Final = {traced: plain for plain, traced in _TRACED.items()}


def _told_of_delivery(process: Process, message: Any) -> None:
    tracing = tracing_of(process)
    # What a tracer gets is not told to the tracers that watch it: it would never end where they watch each other.
    if process.state != DEAD and not tracing.is_telling:
        tracing.received(process, message)


def _told_of_blocking(process: Process) -> None:
    tracing_of(process).scheduled_out(process)


def _traced_turn(process: Any, worker: Worker, run_turn: Callable[[Any, Worker], int]) -> int:
    tracing = tracing_of(process)
    if process.state != READY or not tracing.runs(process):
        return run_turn(process, worker)
    tracing.scheduled_in(process)
    # For all of the turn, since whoever will wake it keeps its `switch` before it blocks.
    worker.__class__ = TracingWorker
    tracing.workers[process.pid.id] = worker
    try:
        return run_turn(process, worker)
    finally:
        worker.__class__ = Worker
        tracing.workers.pop(process.pid.id, None)
        tracing.scheduled_out(process)


class TracingWorker(Worker):
    """The greenlet of a process whose runs are told."""

    __slots__ = ()

    def switch(self, *arguments: Any, **keywords: Any) -> Any:
        _told_of_resumption(self)
        return Worker.switch(self, *arguments, **keywords)

    def throw(self, *arguments: Any, **keywords: Any) -> Any:
        _told_of_resumption(self)
        return Worker.throw(self, *arguments, **keywords)


def _told_of_resumption(worker: Worker) -> None:
    process = worker.process
    if process is not None and process.state != DEAD:
        tracing_of(process).scheduled_in(process)


class TracingProcessTable(ProcessTable):
    """The table while anything is watched."""

    tracing: Tracing

    def add_body(self, *arguments: Any, **keywords: Any) -> BodyProcess:
        tracing = self.tracing
        process = ProcessTable.add_body(self, *arguments, **keywords)
        tracing.spawned(process)
        return process

    def add_behaviour(self, *arguments: Any, **keywords: Any) -> BehaviourProcess:
        tracing = self.tracing
        process = ProcessTable.add_behaviour(self, *arguments, **keywords)
        tracing.spawned(process)
        return process

    def send(self, sender: Process | None, destination: Any, message: Any) -> None:
        tracing = self.tracing
        if sender is not None:
            tracing.sent(sender, destination, message)
            if type(destination) is tuple and len(destination) == 2 and destination[1] is self.node_name:
                # `send` calls itself with the name: that is not a second message.
                sender = None
        ProcessTable.send(self, sender, destination, message)

    def emit_if_connected(self, sender: Process, destination: tuple[Atom, Atom], message: Any) -> bool:
        tracing = self.tracing
        tracing.sent(sender, destination, message)
        return ProcessTable.emit_if_connected(self, sender, destination, message)

    def on_alias_message(self, reference: Reference, message: Any) -> None:
        entry = self.aliases.get(reference.words) if reference.creation == self.creation else None
        if entry is not None and type(entry) is not Alias:
            # The reply to a call does not go through the mailbox of its caller.
            self._received_aside(entry, message)
        ProcessTable.on_alias_message(self, reference, message)

    def _fire(self, owner: Process, entry: Monitor, reason: Any) -> None:
        if not isinstance(entry.watcher, Process):
            self._received_aside(entry.watcher, (entry.tag, entry.reference, PROCESS, entry.target, reason))
        ProcessTable._fire(self, owner, entry, reason)

    def _received_aside(self, waiting: Any, message: Any) -> None:
        process = getattr(waiting, "process", None)
        if isinstance(process, Process) and process.state != DEAD:
            self.tracing.received(process, message)

    def register(self, name: Atom, process: Process) -> None:
        tracing = self.tracing
        ProcessTable.register(self, name, process)
        tracing.happened(process, PROCS, "register", name)

    def unregister(self, name: Atom) -> None:
        tracing = self.tracing
        process = self.names.get(name)
        ProcessTable.unregister(self, name)
        if process is not None:
            tracing.happened(process, PROCS, "unregister", name)

    def link(self, process: Process, to: Pid) -> None:
        tracing = self.tracing
        was_linked = _is_linked(process, to)
        other = self.find(to)
        ProcessTable.link(self, process, to)
        if not was_linked and _is_linked(process, to):
            tracing.happened(process, PROCS, "link", to)
            if other is not None:
                tracing.happened(other, PROCS, "getting_linked", process.pid)
                tracing.linked(process, other)

    def unlink(self, process: Process, to: Pid) -> None:
        tracing = self.tracing
        was_linked = _is_linked(process, to)
        ProcessTable.unlink(self, process, to)
        if was_linked:
            tracing.happened(process, PROCS, "unlink", to)
            other = self.find(to)
            if other is not None:
                tracing.happened(other, PROCS, "getting_unlinked", process.pid)

    def on_link(self, from_pid: Pid, to: Pid) -> None:
        tracing = self.tracing
        process = self.find(to)
        ProcessTable.on_link(self, from_pid, to)
        if process is not None:
            tracing.happened(process, PROCS, "getting_linked", from_pid)

    def add_remote_link(self, process: Process, to: Pid) -> None:
        tracing = self.tracing
        ProcessTable.add_remote_link(self, process, to)
        tracing.happened(process, PROCS, "getting_linked", to)

    def on_unlink(self, from_pid: Pid, to: Pid, unlink_id: int | None) -> None:
        tracing = self.tracing
        process = self.find(to)
        was_linked = process is not None and _is_linked(process, from_pid)
        ProcessTable.on_unlink(self, from_pid, to, unlink_id)
        if process is not None and was_linked:
            tracing.happened(process, PROCS, "getting_unlinked", from_pid)

    def on_exit_signal(self, process: Process, sender: Pid, reason: Any, *, link: bool, linked: bool = False) -> None:
        tracing = self.tracing
        if link and process.state != DEAD and (linked or _is_linked(process, sender)):
            tracing.happened(process, PROCS, "getting_unlinked", sender)
        ProcessTable.on_exit_signal(self, process, sender, reason, link=link, linked=linked)

    def exit(self, process: Process, reason: Any) -> None:
        tracing = self.tracing
        if process.state != DEAD:
            tracing.exited(process, reason)
        ProcessTable.exit(self, process, reason)
        if tracing.is_idle:
            tracing.refresh()


def _is_linked(process: Process, to: Pid) -> bool:
    return process.links is not None and process.links.get(to) == LINKED
