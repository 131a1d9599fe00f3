"""What supervisors tell people: in the log, and in OTP's shape to the group leader's node.

Source: OTP ``lib/stdlib/src/supervisor.erl``, ``report_error``, ``report_progress`` and ``extract_child/1``.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from erlang_bridge.otp import reports
from erlang_bridge.otp.readable import readable
from erlang_bridge.otp.supervision import Child, Report
from erlang_bridge.process import Process
from erlang_bridge.terms import Atom, Export

log = logging.getLogger("erlang_bridge.otp")

SUPERVISOR: Final = Atom("supervisor")

_IN_WORDS: Final = {
    "start_error": "could not start child %s (%s)",
    "child_terminated": "child %s (%s) terminated",
    "shutdown_error": "child %s (%s) did not shut down as told",
    "shutdown": "gives up because of child %s (%s)",
}


def supervisor_name(process: Process, module: Atom) -> tuple[Any, ...]:
    """``{local, Name}``, or ``{Pid, Module}`` for one without a name."""
    return (Atom("local"), process.name) if process.name is not None else (process.pid, module)


def report_error(process: Process, module: Atom, report: Report) -> None:
    """Log a fault of a child, here and on the group leader's node.

    Args:
        process: the supervisor's.
        module: the class of the supervisor, as a module.
    """
    child = report.child
    who = f"{report.together} of them" if report.together is not None else child.shown_pid()
    reports.crash_log.error(
        f"supervisor %s: {_IN_WORDS[report.context]}, reason %s",
        process.name or process.pid,
        reports.shorten(child.spec.id),
        who,
        reports.shorten(report.reason),
    )
    context = Atom(report.context)
    body = {
        Atom("label"): (SUPERVISOR, context),
        Atom("report"): [
            (SUPERVISOR, supervisor_name(process, module)),
            (Atom("errorContext"), context),
            (Atom("reason"), readable(report.reason)),
            (Atom("offender"), readable(report.offender())),
        ],
    }
    metadata = {
        Atom("domain"): [Atom("otp"), Atom("sasl")],
        Atom("report_cb"): Export(SUPERVISOR, Atom("format_log"), 2),
        Atom("logger_formatter"): {Atom("title"): reports.charlist("SUPERVISOR REPORT")},
        Atom("error_logger"): {
            Atom("tag"): Atom("error_report"),
            Atom("type"): Atom("supervisor_report"),
            Atom("report_cb"): Export(SUPERVISOR, Atom("format_log"), 1),
        },
    }
    reports.forward(process, Atom("error"), body, metadata)


def report_progress(process: Process, child: Child, pid: Any) -> None:
    """Log that a child was started. Not forwarded: a BEAM drops progress reports unless told otherwise."""
    log.debug("supervisor %s: started child %s (%s)", process.name or process.pid, child.spec.id, pid)
