"""The process ``logger_proxy``: log events of other nodes' processes whose group leader is here go to Python's logging.

::

    {log, Level, Format, Args, Metadata}      {log, Level, StringOrReport, Metadata}

They come to the logger ``erlang_bridge.remote``; records carry ``erlang_pid``, ``erlang_node`` and ``erlang_metadata``.

Source: OTP ``lib/kernel/src/logger_proxy.erl``; ``logger.erl``, ``format_otp_report/1``; ``proc_lib.erl``,
``report_cb/2``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from erlang_bridge.kernel.io_format import FormatError, characters, format_text
from erlang_bridge.otp.gen_server import GenServer
from erlang_bridge.otp.results import NoReply
from erlang_bridge.terms import Atom, Map, Pid
from erlang_bridge.terms.text import format_term

remote_log = logging.getLogger("erlang_bridge.remote")

LEVELS: Final = {
    "emergency": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "notice": logging.INFO,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
"""Levels of OTP's logger to those of Python's."""


class LoggerProxy(GenServer):
    """Hands log events on; drops what is none."""

    def handle_call(self, request: Any, caller: Any, state: Any) -> NoReply:
        return NoReply(state)

    def handle_cast(self, message: Any, state: Any) -> NoReply:
        return NoReply(state)

    def handle_info(self, message: Any, state: Any) -> NoReply:
        match message:
            case (Atom("log"), Atom(level), (str() | bytes() | list()) as format_string, list() as arguments, metadata):
                self._log(level, metadata, _formatted, format_string, arguments)
            case (Atom("log"), Atom(level), report, metadata):
                self._log(level, metadata, report_text, report)
            case _:
                remote_log.debug("no log event: %s", format_term(message, most=500))
        return NoReply(state)

    def _log(self, level: str, metadata: Any, make_text: Any, *parts: Any) -> None:
        severity = LEVELS.get(level, logging.INFO)
        if not remote_log.isEnabledFor(severity):
            return
        details = metadata if isinstance(metadata, Mapping) else {}
        pid = details.get(Atom("pid"))
        try:
            text = make_text(*parts)
        except (FormatError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError):
            # Not what it says it is; shown all the same.
            text = format_term(parts, most=4000)
        extra = {
            "erlang_pid": pid,
            "erlang_node": pid.node if isinstance(pid, Pid) else None,
            "erlang_metadata": details,
        }
        remote_log.log(severity, "%s%s", f"{pid} " if pid is not None else "", text.strip("\n"), extra=extra)


def _formatted(format_string: Any, arguments: list[Any]) -> str:
    return format_text(format_string, arguments, unicode_range=True)


def report_text(report: Any) -> str:
    """A string or report of OTP's logger as text."""
    if isinstance(report, (bytes, str)):
        return characters(report)
    if isinstance(report, list) and not all(isinstance(item, tuple) for item in report):
        return characters(report)
    if isinstance(report, (dict, Map)):
        writer = _WRITERS.get(report.get(Atom("label")))
        return "\n".join(writer(report) if writer is not None else _pairs(report.items()))
    return "\n".join(_pairs(report))


def _shown(term: Any) -> str:
    """A term in the middle of a report: as it stands where that is text, else laid out."""
    if isinstance(term, list) and term and all(type(code) is int and code >= 32 for code in term):
        try:
            return "".join(map(chr, term))
        except (ValueError, OverflowError):
            pass
    return format_text("~tp", [term], unicode_range=True)


def _pairs(pairs: Iterable[Any]) -> Iterator[str]:
    for pair in pairs:
        if isinstance(pair, tuple) and len(pair) == 2:
            yield f"    {_shown(pair[0])}: {_shown(pair[1])}"
        else:
            yield f"    {_shown(pair)}"


def _crash(report: Any) -> Iterator[str]:
    own, neighbours = report[Atom("report")]
    yield "CRASH REPORT"
    yield "  crasher:"
    yield from _crasher(own)
    for neighbour in neighbours:
        yield "  neighbour:"
        yield from _crasher(neighbour[1] if isinstance(neighbour, tuple) else neighbour)


def _crasher(pairs: list[Any]) -> Iterator[str]:
    for key, value in pairs:
        match (key, value):
            case (Atom("initial_call"), (Atom(module), Atom(function), arguments)):
                arity = len(arguments) if isinstance(arguments, list) else arguments
                yield f"    initial call: {module}:{function}/{arity}"
            case (Atom("error_info"), (Atom(kind), reason, list() as stack)):
                yield f"    exception {kind}: {_shown(reason)}"
                yield from _stack(stack)
            case _:
                yield f"    {_shown(key)}: {_shown(value)}"


def _stack(stack: list[Any]) -> Iterator[str]:
    for entry in stack:
        match entry:
            case (Atom(module), Atom(function), arguments, list() as location):
                arity = len(arguments) if isinstance(arguments, list) else arguments
                known = dict(pair for pair in location if isinstance(pair, tuple) and len(pair) == 2)
                file, line = known.get(Atom("file")), known.get(Atom("line"))
                place = f" ({characters(file)}, line {line})" if file is not None else ""
                yield f"      in {module}:{function}/{arity}{place}"
            case _:
                yield f"      in {_shown(entry)}"


def _server(report: Any) -> Iterator[str]:
    yield f"** Generic server {_shown(report[Atom('name')])} terminating"
    yield f"** Last message in was {_shown(report[Atom('last_message')])}"
    yield f"** When Server state == {_shown(report[Atom('state')])}"
    yield f"** Reason for termination ==\n** {_shown(report[Atom('reason')])}"


def _supervisor(report: Any) -> Iterator[str]:
    yield "SUPERVISOR REPORT"
    yield from _pairs(report[Atom("report")])


_WRITERS: Final[dict[Any, Any]] = {
    (Atom("proc_lib"), Atom("crash")): _crash,
    (Atom("gen_server"), Atom("terminate")): _server,
    **{
        (Atom("supervisor"), Atom(context)): _supervisor
        for context in ("start_error", "child_terminated", "shutdown_error", "shutdown", "error", "progress")
    },
}
"""Reports that have a form of their own, by their label."""
