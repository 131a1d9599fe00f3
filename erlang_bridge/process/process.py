"""One process: its pid, mailbox, links, monitors, and the two ways to run it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import greenlet

from erlang_bridge.errors import ErlangExit, ProcessExit
from erlang_bridge.process.scheduler import MESSAGES_PER_TURN, SECONDS_PER_TURN, Worker
from erlang_bridge.terms import Atom, Pid

if TYPE_CHECKING:
    from erlang_bridge.process.table import ProcessTable

IDLE: Final = 0
"""Nothing to do; a message makes it ready."""
READY: Final = 1
"""In the run queue."""
RUNNING: Final = 2
"""A greenlet runs it, or is blocked in its code."""
DEAD: Final = 3

STATUS_NAMES: Final = {IDLE: "waiting", READY: "runnable", RUNNING: "running", DEAD: "exiting"}

LINKED: Final = 0
"""Value of an active entry in `Process.links`; any other value is the id of an unlink not yet acknowledged."""


class Process:
    """What is common to all processes. Made by `ProcessTable`, never directly.

    Most fields stay None until they are first needed: an idle process is a few hundred bytes.
    """

    __slots__ = (
        "aliases",
        "dictionary",
        "exit_reason",
        "greenlet",
        "group_leader",
        "initial_call",
        "label",
        "links",
        "longest_turn_s",
        "mailbox",
        "monitored_by",
        "monitors",
        "name",
        "needs_greenlet",
        "on_exit",
        "parent",
        "pending_calls",
        "pid",
        "reductions",
        "run_time_s",
        "state",
        "table",
        "timers",
        "trap_exit",
        "turns",
    )

    table: ProcessTable
    needs_greenlet: bool
    """True while it has to be resumed on its own greenlet: always for a body, inside `receive` for a behaviour."""
    pid: Pid
    name: Atom | None
    """The registered name."""
    state: int
    mailbox: deque[Any] | None
    links: dict[Pid, int] | None
    monitors: dict[Any, Any] | None
    """Those that this process has set: reference to target (`Process`, remote `Pid`, or ``(name, node)``) and tag."""
    monitored_by: dict[Any, Any] | None
    """Reference to watcher: a `Pid`, or a pending call; with the name that the monitor was set on, if it was."""
    aliases: set[Any] | None
    pending_calls: int
    """How many calls wait for a reply that may come to the pid in place of the alias."""
    trap_exit: bool
    group_leader: Pid | None
    parent: Pid | None
    label: Any
    dictionary: dict[Any, Any] | None
    initial_call: tuple[str, str, int] | None
    exit_reason: Any
    timers: set[Any] | None
    """Those whose message is for this pid; they end with the process."""
    greenlet: Any
    on_exit: Callable[[Any], None] | None
    """Called with the reason when the process ends, after links and monitors have been told. Must not raise."""
    reductions: int
    """Messages handled so far."""
    turns: int
    """How often it has had the CPU; a turn ends when it has nothing to do, has had its share, or blocks."""
    run_time_s: float
    """All turns together, without the time that its code was blocked."""
    longest_turn_s: float
    """For so long it has kept everybody else waiting."""

    def __init__(self, table: ProcessTable, pid: Pid) -> None:
        self.table = table
        self.needs_greenlet = False
        self.pid = pid
        self.name = None
        self.state = IDLE
        self.mailbox = None
        self.links = None
        self.monitors = None
        self.monitored_by = None
        self.aliases = None
        self.pending_calls = 0
        self.trap_exit = False
        self.group_leader = None
        self.parent = None
        self.label = None
        self.dictionary = None
        self.initial_call = None
        self.exit_reason = None
        self.timers = None
        self.greenlet = None
        self.on_exit = None
        self.reductions = 0
        self.turns = 0
        self.run_time_s = 0.0
        self.longest_turn_s = 0.0

    def __repr__(self) -> str:
        name = f" {self.name}" if self.name is not None else ""
        return f"<{type(self).__name__} {self.pid}{name} {STATUS_NAMES[self.state]}>"

    @property
    def alive(self) -> bool:
        return self.state != DEAD

    def deliver(self, message: Any) -> None:
        """Put `message` into the mailbox and have the process run. A dead process drops it."""
        state = self.state
        if state == DEAD:
            return
        if self.pending_calls and self.table.take_reply(self, message):
            return
        mailbox = self.mailbox
        if mailbox is None:
            spare = self.table.spare_mailboxes
            self.mailbox = mailbox = spare.pop() if spare else deque()
        mailbox.append(message)
        if state == IDLE:
            self.state = READY
            self.table.scheduler.enqueue(self)

    def check_alive(self) -> None:
        """Raise `ProcessExit` in the code of a process that has been ended meanwhile."""
        if self.state == DEAD and self.greenlet is greenlet.getcurrent():
            raise ProcessExit(self.exit_reason)

    # -- selective receive ----------------------------------------------------------------------

    def receive(self, match: Callable[[Any], bool] | None = None, timeout_s: float | None = None) -> Any:
        """Take the first message for which `match` is true, waiting for one if there is none.

        Args:
            match: None takes any message. Messages that do not match stay, in order.
            timeout_s: None waits for ever; 0 only looks.

        Raises:
            TimeoutError: no such message in time.
            ProcessExit: the process was ended meanwhile.
        """
        self.check_alive()
        if match is None and self.mailbox:
            return self.mailbox.popleft()
        skipped: list[Any] = []
        timer: Any = None
        expired: list[bool] = []
        try:
            while True:
                mailbox = self.mailbox
                while mailbox:
                    message = mailbox.popleft()
                    if match is None or match(message):
                        return message
                    skipped.append(message)
                if expired or timeout_s == 0:
                    raise TimeoutError(f"no matching message within {timeout_s:g} s")
                if timeout_s is not None and timer is None:
                    timer = self.table.scheduler.hub.loop.timer(timeout_s)
                    timer.start(self._wake, expired, update=True)
                self.wait()
        finally:
            if timer is not None:
                timer.stop()
                timer.close()
            if skipped and self.state != DEAD:
                if self.mailbox is None:
                    self.mailbox = deque()
                self.mailbox.extendleft(reversed(skipped))

    def _wake(self, expired: list[bool]) -> None:
        expired.append(True)
        if self.state == IDLE:
            self.state = READY
            self.table.scheduler.enqueue(self)

    def wait(self) -> None:
        """Give up the CPU until a message comes (or `_wake`)."""
        current = greenlet.getcurrent()
        if self.greenlet is not current:
            raise RuntimeError(f"only the process itself can receive its messages; {self.pid} is another one")
        self.state = IDLE
        try:
            self.table.scheduler.hub.switch()
        finally:
            # Also where an exception was thrown in, by a `gevent.Timeout` for one: it does not wait here any more.
            if self.state != DEAD:
                self.state = RUNNING
        if self.state == DEAD:
            raise ProcessExit(self.exit_reason)

    def resume(self) -> None:
        """Go on where the process waits. Called in the hub."""
        if self.state == READY:
            self.greenlet.switch()

    def count_turn(self, took_s: float) -> None:
        """Note a turn that ended because its code blocked."""
        self.turns += 1
        self.run_time_s += took_s
        if took_s > self.longest_turn_s:
            self.longest_turn_s = took_s

    def run_turn(self, worker: Worker) -> int:
        raise NotImplementedError(f"{type(self).__name__} has no turns")


class BodyProcess(Process):
    """Runs one function from start to end; its return is a ``normal`` exit.

    Runs on a greenlet from the scheduler's pool, which stays with it for as long as it lives: a process that starts,
    works and ends costs no new greenlet, one that waits in `receive` owns one.
    """

    __slots__ = ("body",)

    body: Callable[[], Any] | None

    def __init__(self, table: ProcessTable, pid: Pid, body: Callable[[], Any]) -> None:
        super().__init__(table, pid)
        self.body = body
        self.state = READY

    def run_turn(self, worker: Worker) -> int:
        """Run all of it; returns when it has ended."""
        if self.state != READY:
            return 1
        self.state = RUNNING
        self.greenlet = worker
        self.needs_greenlet = True
        worker.process = self
        body, self.body = self.body, None
        assert body is not None
        try:
            self.table.run_guarded(self, body)
        finally:
            self.greenlet = None
            worker.process = None
        return 1


class GuestProcess(Process):
    """Stands for a greenlet that is not a process (the main program, a web handler), while it calls into the node."""

    __slots__ = ("waiting",)

    waiting: bool
    """True inside `wait`."""

    def __init__(self, table: ProcessTable, pid: Pid) -> None:
        super().__init__(table, pid)
        self.needs_greenlet = True
        self.greenlet = greenlet.getcurrent()
        self.state = RUNNING
        self.waiting = False

    def wait(self) -> None:
        """As `Process.wait`; raises `ErlangExit` where it was ended meanwhile: the greenlet is none that has to die."""
        self.waiting = True
        try:
            super().wait()
        except ProcessExit as ended:
            raise ErlangExit(ended.reason, "the process that stood for the caller was ended") from None
        finally:
            self.waiting = False


class MessageHandler(Protocol):
    """The behaviour's side of a `BehaviourProcess`."""

    def first_turn(self) -> None:
        """Begin, before any message. As `handle_message`."""

    def handle_message(self, message: Any) -> None:
        """Handle one message. Turns exceptions into the end of the process; lets only `ProcessExit` through."""


class BehaviourProcess(Process):
    """Handles messages one at a time with its `instance`, on greenlets lent by the scheduler."""

    __slots__ = ("fresh", "instance")

    instance: Any
    """The behaviour's own object, a `MessageHandler`."""
    fresh: bool
    """True until its first turn."""

    def __init__(self, table: ProcessTable, pid: Pid, instance: MessageHandler) -> None:
        super().__init__(table, pid)
        self.instance = instance
        self.fresh = False

    def start(self) -> None:
        """Have ``instance.first_turn`` run soon, before messages are handled."""
        self.fresh = True
        self.state = READY
        self.table.scheduler.enqueue(self)

    def wait(self) -> None:
        self.needs_greenlet = True
        try:
            super().wait()
        finally:
            self.needs_greenlet = False

    def run_turn(self, worker: Worker) -> int:
        """Handle up to `MESSAGES_PER_TURN` messages. Returns how many."""
        if self.state != READY:
            return 1
        self.state = RUNNING
        self.greenlet = worker
        worker.process = self
        left = MESSAGES_PER_TURN
        deadline = 0.0
        try:
            if self.fresh:
                self.fresh = False
                left -= 1
                self.instance.first_turn()
                if self.state == DEAD:
                    return 1
            mailbox = self.mailbox
            if mailbox:
                handle_message = self.instance.handle_message
                while True:
                    left -= 1
                    handle_message(mailbox.popleft())
                    if self.state == DEAD:
                        return MESSAGES_PER_TURN - left
                    # A callback may have put messages back or replaced the mailbox.
                    mailbox = self.mailbox
                    if not mailbox or not left:
                        break
                    now = time.monotonic()
                    if not deadline:
                        deadline = now + SECONDS_PER_TURN
                    elif now > deadline:
                        break
        except ProcessExit as ended:
            # Dead already, unless a callback has raised it by itself.
            self.table.exit(self, ended.reason)
            return MESSAGES_PER_TURN - left
        except BaseException as error:
            self.table.end_broken(self, error)
            if not isinstance(error, Exception):
                raise
            return MESSAGES_PER_TURN - left
        finally:
            self.greenlet = None
            worker.process = None
        done = MESSAGES_PER_TURN - left
        self.reductions += done
        if mailbox:
            self.state = READY
            self.table.scheduler.enqueue(self)
        else:
            self.state = IDLE
            if mailbox is not None:
                self.mailbox = None
                spare = self.table.spare_mailboxes
                if len(spare) < 1024:
                    spare.append(mailbox)
        return done
