"""Exceptions as exit reasons, and crash reports in OTP's shape.

A Python exception becomes ``{{'ValueError', <<"text">>}, Stacktrace}``; its stack trace has the Python module,
function, file and line of each frame of user code, innermost first, so that a BEAM's report or shell prints where it
happened.

Reports go to Python's `logging`, and to ``logger_proxy`` on the node of the process's group leader where that is
another node, which is where OTP logs what its own remote processes report.

Source: OTP ``lib/stdlib/src/proc_lib.erl`` (crash_report), ``gen_server.erl`` (error_info),
``lib/kernel/src/logger.erl``.
"""

from __future__ import annotations

import logging
import time
import traceback
from itertools import islice
from types import TracebackType
from typing import Any, Final

from erlang_bridge.errors import BridgeError, ErlangError, ErlangExit, ErlangThrow, ProcessExit
from erlang_bridge.otp.readable import readable, text_of
from erlang_bridge.process import Process
from erlang_bridge.process.breakpoints import is_breakpoint
from erlang_bridge.terms import Atom, Export, Pid
from erlang_bridge.terms.text import format_term

crash_log = logging.getLogger("erlang_bridge.crash")
otp_log = logging.getLogger("erlang_bridge.otp")

SHOWN_MESSAGES: Final = 20
"""How many of the messages that were waiting a crash report has."""

MOST_ANCESTORS: Final = 1000
"""So many of the processes that have started one another are named."""

GEN_SERVER: Final = Atom("gen_server")
LOGGER_PROXY: Final = Atom("logger_proxy")
NOCATCH: Final = Atom("nocatch")
UNDEFINED: Final = Atom("undefined")

# Frames of the machinery that calls user code; they tell its author nothing.
_MACHINERY: Final = ("erlang_bridge.otp.", "erlang_bridge.process.", "erlang_bridge.kernel.", "erlang_bridge.node")


def charlist(text: str) -> list[int]:
    """Text as Erlang's strings are: a list of code points."""
    return [ord(character) for character in text]


def stacktrace(error_traceback: TracebackType | None) -> list[Any]:
    """``[{Module, Function, Arity, [{file, String}, {line, N}]}]``, innermost frame first, at most 32 frames."""
    frames = []
    for frame, line in traceback.walk_tb(error_traceback):
        module = str(frame.f_globals.get("__name__", "?"))
        code = frame.f_code
        if is_breakpoint(code):
            continue
        arity = code.co_argcount - (1 if code.co_varnames[:1] == ("self",) else 0)
        location = [(Atom("file"), charlist(code.co_filename)), (Atom("line"), line)]
        frames.append((Atom(module[:255]), Atom(code.co_qualname[-255:]), arity, location))
    user = [frame for frame in frames if not frame[0].name.startswith(_MACHINERY)]
    return (user or frames)[::-1][:32]


def classify(error: BaseException) -> tuple[str, Any, list[Any]]:
    """An exception as Erlang has it: class (``error``, ``exit``, ``throw``), reason, stack trace."""
    trace = stacktrace(error.__traceback__)
    if isinstance(error, ErlangExit):
        return "exit", error.term, trace
    if isinstance(error, ErlangThrow):
        return "throw", error.reason, trace
    if isinstance(error, ErlangError):
        return "error", error.reason, error.stacktrace or trace
    if isinstance(error, ProcessExit):
        return "exit", error.reason, trace
    return "error", exception_term(error), trace


def exception_term(error: BaseException) -> Any:
    """``{'ValueError', <<"text">>}``."""
    text = text_of(error)
    if len(text) > 2000:
        text = text[:1997] + "..."
    return (Atom(type(error).__name__[:255]), text.encode(errors="replace"))


def exit_reason(error: BaseException) -> Any:
    """The reason of a process that this exception ends.

    ``{Reason, Stacktrace}`` for an error, an exit's own term, ``{{nocatch, Thrown}, Stacktrace}`` for a throw.
    """
    kind, reason, trace = classify(error)
    if kind == "exit":
        return reason
    if kind == "throw":
        return ((NOCATCH, reason), trace)
    return (reason, trace)


def ancestors(process: Process) -> list[Any]:
    """``'$ancestors'``: the parent, by name where it has one, then the parent's; the nearest `MOST_ANCESTORS`."""
    found: list[Any] = []
    parent = process.parent
    while parent is not None and len(found) < MOST_ANCESTORS:
        local = process.table.find(parent)
        found.append(parent if local is None or local.name is None else local.name)
        parent = local.parent if local is not None else None
    return found


def crash_report(process: Process, error: BaseException, initial_call: tuple[Any, ...]) -> dict[Any, Any]:
    """The report that ``proc_lib`` makes of a process that ends abnormally.

    Args:
        initial_call: module, function, and number of arguments.
    """
    kind, reason, trace = classify(error)
    module, function, arity = initial_call
    arguments = [Atom(f"Argument__{number}") for number in range(1, arity + 1)]
    waiting = [readable(message) for message in islice(process.mailbox or (), SHOWN_MESSAGES)]
    about = [
        (Atom("initial_call"), (module, function, arguments)),
        (Atom("pid"), process.pid),
        (Atom("registered_name"), process.name if process.name is not None else []),
        *([(Atom("process_label"), process.label)] if process.label is not None else []),
        (Atom("error_info"), (Atom(kind), reason, trace)),
        (Atom("ancestors"), ancestors(process)),
        (Atom("message_queue_len"), len(process.mailbox or ())),
        (Atom("messages"), waiting),
        (Atom("links"), list(process.links or ())),
        (Atom("dictionary"), list((process.dictionary or {}).items())),
        (Atom("trap_exit"), process.trap_exit),
        (Atom("status"), Atom("running")),
        (Atom("heap_size"), 0),
        (Atom("stack_size"), 0),
        (Atom("reductions"), process.reductions),
    ]
    return {Atom("label"): (Atom("proc_lib"), Atom("crash")), Atom("report"): [about, []]}


def report_crash(process: Process, error: BaseException, initial_call: tuple[Any, ...]) -> None:
    """Log the crash of a process once: here, and on the group leader's node."""
    text = "".join(traceback.format_exception(error)).rstrip()
    name = f" ({process.name})" if process.name is not None else ""
    crash_log.error("process %s%s on %s crashed: %s", process.pid, name, process.table.node_name, text)
    metadata = {
        Atom("domain"): [Atom("otp"), Atom("sasl")],
        Atom("report_cb"): Export(Atom("proc_lib"), Atom("report_cb"), 2),
        Atom("logger_formatter"): {Atom("title"): charlist("CRASH REPORT")},
        Atom("error_logger"): {Atom("tag"): Atom("error_report"), Atom("type"): Atom("crash_report")},
    }
    forward(process, Atom("error"), crash_report(process, error, initial_call), metadata)


def report_server_terminating(
    process: Process,
    reason: Any,
    last_message: Any,
    state: Any,
    log: list[Any],
    module: str,
    error: BaseException | None = None,
) -> None:
    """The report that ``gen_server`` makes before it terminates abnormally.

    Args:
        error: what a callback raised; None where it asked to stop.
    """
    name = process.name if process.name is not None else process.pid
    crash_log.error(
        "GenServer %s terminating, reason %s; last message %s; state %s",
        name,
        shorten(reason),
        shorten(last_message),
        shorten(state),
    )
    client: Any = UNDEFINED
    match last_message:
        case (Atom("$gen_call"), (Pid() as caller, _), request):
            last_message, client = request, (caller, Atom("remote" if caller.node is not process.pid.node else "dead"))
    if isinstance(error, ErlangExit) and error.__traceback__ is not None:
        reason = (reason, stacktrace(error.__traceback__))
    report = {
        Atom("label"): (GEN_SERVER, Atom("terminate")),
        Atom("name"): name,
        Atom("last_message"): last_message,
        Atom("state"): state,
        Atom("log"): log,
        Atom("reason"): reason,
        Atom("client_info"): client,
        Atom("process_label"): process.label if process.label is not None else UNDEFINED,
        Atom("modules"): [Atom(module[:255])],
    }
    forward(process, Atom("error"), report, _server_metadata("error"))


def report_unhandled(process: Process, message: Any, module: str) -> None:
    """The report of a message that a server without ``handle_info`` got."""
    otp_log.warning(
        "%s %s received unexpected message in handle_info: %s", module, process.name or process.pid, shorten(message)
    )
    report = {
        Atom("label"): (GEN_SERVER, Atom("no_handle_info")),
        Atom("module"): Atom(module[:255]),
        Atom("message"): message,
    }
    forward(process, Atom("warning"), report, _server_metadata("warning_msg"))


def _server_metadata(tag: str) -> dict[Any, Any]:
    return {
        Atom("domain"): [Atom("otp")],
        Atom("report_cb"): Export(GEN_SERVER, Atom("format_log"), 2),
        Atom("error_logger"): {Atom("tag"): Atom(tag), Atom("report_cb"): Export(GEN_SERVER, Atom("format_log"), 1)},
    }


def forward(process: Process, level: Atom, report: dict[Any, Any], metadata: dict[Any, Any]) -> None:
    """Give a report to the node, and to ``logger_proxy`` on the node of the group leader, if that is another one.

    What has no term is reported as `readable` shows it: a report must never fail.
    """
    leader = process.group_leader
    table = process.table
    table.on_report(process, report, metadata)
    if leader is None or leader.node is table.node_name:
        return
    metadata = {
        **metadata,
        Atom("pid"): process.pid,
        Atom("gl"): leader,
        Atom("time"): time.time_ns() // 1000,
    }
    destination = (LOGGER_PROXY, leader.node)
    try:
        table.emit_if_connected(process, destination, (Atom("log"), level, readable(report), metadata))
    except (BridgeError, ValueError, TypeError) as error:
        crash_log.warning("the report of %s cannot be sent to %s: %s", process.pid, leader.node, error)


def shorten(term: Any, limit: int = 500) -> str:
    """A term as text for one line of a log, cut at `limit` characters."""
    try:
        text = format_term(term, most=limit)
    except (BridgeError, ValueError, TypeError, RecursionError):
        text = object.__repr__(term) if isinstance(term, (Pid, Atom)) else text_of(term, repr)
    return text if len(text) <= limit else text[: limit - 3] + "..."
