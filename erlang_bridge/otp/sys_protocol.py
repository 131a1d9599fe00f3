"""System messages: what ``sys`` asks of every OTP process.

``{system, From, Request}``, answered as a call is. A suspended server handles these and the exit of its parent,
nothing else.

Source: OTP ``lib/stdlib/src/sys.erl``; ``gen_server.erl``, the ``system_*`` exports.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from erlang_bridge.otp import gen, reports
from erlang_bridge.otp.readable import readable
from erlang_bridge.terms import Atom

if TYPE_CHECKING:
    from erlang_bridge.otp.gen_server import GenServer

OK: Final = Atom("ok")
ERROR: Final = Atom("error")
CALLBACK_FAILED: Final = Atom("callback_failed")
UNDEF: Final = Atom("undef")
DEFAULT_LOG_SIZE: Final = 10

PLAIN_STATE_RELEASES: Final = (25,)
"""Releases whose ``sys:get_state/1`` takes the bare state for the reply; later ones expect ``{ok, State}``."""


class Order:
    """What the node itself has a server do between two messages, suspended or not; stands in its mailbox."""

    __slots__ = ("run",)

    def __init__(self, run: Callable[[GenServer], None]) -> None:
        self.run = run


class LateCode(Protocol):
    """What a server that is still in old code has to do to come out of it; see `kernel.code_upgrade`."""

    def returned(self, server: GenServer) -> None:
        """A callback of it has returned, or it is resumed."""

    def change_code(self, server: GenServer, old_version: Any, extra: Any) -> BaseException | None:
        """Change its code now. What was raised; the server is as it was then."""


class SystemState:
    """What `sys` has switched on in one server; made with the first system message that needs it."""

    __slots__ = (
        "held",
        "late",
        "log",
        "messages_in",
        "messages_out",
        "reductions_before",
        "started",
        "statistics",
        "suspended",
        "trace",
        "waiting",
    )

    def __init__(self) -> None:
        self.suspended = False
        self.held = False
        """Whether new code is being put in its place: then it handles the exit of its parent and nothing else."""
        self.late: LateCode | None = None
        self.waiting: deque[Any] = deque()
        """Messages that came while suspended or held, in order."""
        self.trace = False
        self.log: deque[Any] | None = None
        self.statistics = False
        self.started: float = 0.0
        self.reductions_before = 0
        self.messages_in = 0
        self.messages_out = 0

    def event_in(self, server: GenServer, message: Any) -> None:
        self.messages_in += 1
        self._event(server, (Atom("in"), message))

    def event_out(self, server: GenServer, reply: Any, caller: gen.Caller) -> None:
        self.messages_out += 1
        self._event(server, (Atom("out"), reply, caller, server._state))

    def event_noreply(self, server: GenServer) -> None:
        self._event(server, (Atom("noreply"), server._state))

    def _event(self, server: GenServer, event: tuple[Any, ...]) -> None:
        if self.log is not None:
            self.log.append(event)
        if self.trace:
            shown = shown_events(server, [event])
            line = f"*DBG* {server._process.name or server._process.pid} {reports.shorten(shown, 4000)}\n"
            server._process.table.node.print_to(server._process.group_leader, line)


def handle_system_message(server: GenServer, caller: gen.Caller, request: Any) -> None:
    """Carry out one system request and answer it."""
    process = server._process
    table = process.table

    def answer(value: Any) -> None:
        gen.reply(process, table, caller, value)

    match request:
        case Atom("get_state"):
            _answer_state(server, caller)
        case (Atom("replace_state"), fun):
            # An Erlang fun cannot be run here: the caller's sys:replace_state raises, the state stays.
            answer((ERROR, (CALLBACK_FAILED, fun, (ERROR, UNDEF))))
        case Atom("get_status"):
            answer(status(server))
        case Atom("suspend"):
            system_of(server).suspended = True
            answer(OK)
        case Atom("resume"):
            answer(OK)
            resume(server)
        case (Atom("debug"), command):
            answer(_debug(server, command))
        case (Atom("terminate"), reason):
            answer(OK)
            server._terminate(reason, (gen.SYSTEM, caller, request))
        case (Atom("change_code"), _, old_version, extra) if system_of(server).suspended:
            answer(change_code(server, old_version, extra))
        case _:
            answer((ERROR, (Atom("unknown_system_msg"), request)))


def resume(server: GenServer) -> None:
    """Handle again what came while suspended, before anything newer. New code that it has missed comes first."""
    system = system_of(server)
    system.suspended = False
    if system.late is not None:
        system.late.returned(server)
    _handle_again(server, system)


def release(server: GenServer) -> None:
    """End its being held: what came meanwhile is handled before anything newer, also requests of `sys`."""
    system = system_of(server)
    system.held = False
    _handle_again(server, system)


def _handle_again(server: GenServer, system: SystemState) -> None:
    waiting, system.waiting = system.waiting, deque()
    process = server._process
    if not waiting:
        return
    if process.mailbox is None:
        process.mailbox = waiting
    else:
        process.mailbox.extendleft(reversed(waiting))


def change_code(server: GenServer, old_version: Any, extra: Any) -> Any:
    """``code_change`` of a suspended server: ``ok``, or ``{error, Reason}`` with the state as it was.

    One that was suspended when its module was loaded anew goes over to the new code with this.
    """
    late = system_of(server).late
    if late is not None:
        failure = late.change_code(server, old_version, extra)
        return OK if failure is None else (ERROR, reports.exit_reason(failure))
    try:
        state = server.code_change(old_version, server._state, extra)
    except Exception as error:
        return (ERROR, reports.exit_reason(error))
    server._state = state
    return OK


def status(server: GenServer) -> tuple[Any, ...]:
    """The reply to ``sys:get_status/1``."""
    process = server._process
    system = server._sys
    state = Atom("suspended" if system is not None and system.suspended else "running")
    name = process.name.name if process.name is not None else str(process.pid)
    parent = process.parent if process.parent is not None else process.pid
    dictionary = [
        (Atom("$initial_call"), server._initial_call()),
        (Atom("$ancestors"), reports.ancestors(process)),
        *((readable(key), readable(value)) for key, value in (process.dictionary or {}).items()),
    ]
    events = list(system.log) if system is not None and system.log is not None else []
    shown = server._shown({"state": server._state, "log": events})
    misc = [
        (Atom("header"), reports.charlist(f"Status for generic server {name}")),
        (
            Atom("data"),
            [
                (reports.charlist("Status"), state),
                (reports.charlist("Parent"), parent),
                (reports.charlist("Logged events"), readable(shown["log"])),
            ],
        ),
        (Atom("data"), [(reports.charlist("State"), readable(shown["state"]))]),
    ]
    # A supervisor is a gen_server to `sys`, in OTP too.
    module = (Atom("module"), Atom("gen_server"))
    return (Atom("status"), process.pid, module, [dictionary, state, parent, [], misc])


def _answer_state(server: GenServer, caller: gen.Caller) -> None:
    process = server._process
    table = process.table
    state = readable(server._state)

    def answer(release: int | None) -> None:
        shown = state if release in PLAIN_STATE_RELEASES else (OK, state)
        gen.reply(process if process.alive else None, table, caller, shown)

    node = caller[0].node
    if node is table.node_name:
        answer(None)
    else:
        table.release_of(node, answer)


def system_of(server: GenServer) -> SystemState:
    """The server's own; made now where it had none."""
    if server._sys is None:
        server._sys = SystemState()
    return server._sys


def shown_events(server: GenServer, events: Iterable[Any]) -> Any:
    """Events of the log as ``format_status`` lets people see them."""
    return readable(server._shown({"state": server._state, "log": list(events)})["log"])


def _debug(server: GenServer, command: Any) -> Any:
    system = system_of(server)
    match command:
        case (Atom("trace"), bool(on)):
            system.trace = on
        case (Atom("log"), True):
            system.log = deque(system.log or (), maxlen=DEFAULT_LOG_SIZE)
        case (Atom("log"), (True, int(size))) if size > 0:
            system.log = deque(system.log or (), maxlen=min(size, sys.maxsize))
        case (Atom("log"), False):
            system.log = None
        case (Atom("log"), Atom("get")):
            return (OK, shown_events(server, system.log or ()))
        case (Atom("log"), Atom("print")):
            for event in shown_events(server, system.log or ()):
                text = f"*DBG* {reports.shorten(event, 4000)}\n"
                server._process.table.node.print_to(server._process.group_leader, text)
        case (Atom("statistics"), True):
            system.statistics, system.started = True, time.time()
            system.reductions_before = server._process.reductions
            system.messages_in = system.messages_out = 0
        case (Atom("statistics"), False):
            system.statistics = False
        case (Atom("statistics"), Atom("get")):
            return (OK, _statistics(server, system))
        case (Atom("log_to_file"), False):
            pass  # it is never on
        case (Atom("log_to_file"), _):
            # A peer with the cookie must not be able to write files here. Nobody may: whom a request names as its
            # caller is the sender's word.
            return (ERROR, Atom("open_file"))
        case Atom("no_debug"):
            system.trace, system.log, system.statistics = False, None, False
        case _:
            # Also {install, Fun} and {remove, Fun}: funs of a BEAM cannot be run here.
            return Atom("unknown_debug")
    return OK


def _statistics(server: GenServer, system: SystemState) -> Any:
    if not system.statistics:
        return Atom("no_statistics")

    def local(when: float) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        parts = time.localtime(when)
        return (parts.tm_year, parts.tm_mon, parts.tm_mday), (parts.tm_hour, parts.tm_min, parts.tm_sec)

    return [
        (Atom("start_time"), local(system.started)),
        (Atom("current_time"), local(time.time())),
        (Atom("reductions"), server._process.reductions - system.reductions_before),
        (Atom("messages_in"), system.messages_in),
        (Atom("messages_out"), system.messages_out),
    ]
