"""The last reports of a node's processes, kept in memory: crashes, what supervisors say of their children, errors.

What OTP's ``log_mf_h`` keeps in files. Only what is read later is made into text.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from erlang_bridge import etf
from erlang_bridge.errors import BridgeError
from erlang_bridge.kernel.logger_proxy import report_text
from erlang_bridge.otp.readable import readable
from erlang_bridge.otp.reports import shorten
from erlang_bridge.process import Process
from erlang_bridge.terms import Atom, Pid

MOST_REPORTS: Final = 1000
MOST_BYTES: Final = 4 << 20
MOST_BYTES_OF_ONE: Final = 64 << 10

ERROR_LOGGER: Final = Atom("error_logger")
TITLES: Final = {
    "crash_report": "CRASH REPORT",
    "supervisor_report": "SUPERVISOR REPORT",
    "warning_msg": "WARNING REPORT",
}
"""Headings by the type of a report; of all others: ``ERROR REPORT``."""


@dataclass(frozen=True, slots=True)
class LoggedReport:
    """One report.

    Attributes:
        number: from 1, never used twice.
        type: ``crash_report``, ``supervisor_report``, ``error`` or ``warning_msg``.
        pid, name: of the process that reported; the name it had then.
        when: seconds since the epoch.
    """

    number: int
    type: str
    pid: Pid
    name: Atom | None
    when: float
    _etf: bytes

    @property
    def date(self) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.when))

    @property
    def title(self) -> str:
        return TITLES.get(self.type, "ERROR REPORT")

    def text(self) -> str:
        """The report laid out as a BEAM's log has it; pids of its node as they are shown there, ``<0.12.0>``."""
        body = report_text(etf.decode(self._etf)).removeprefix(f"{self.title}\n")
        return re.sub(rf"<{re.escape(self.pid.node.name)}\.(\d+)\.(\d+)>", r"<0.\1.\2>", body)


class ReportLog:
    """The reports of one node, the oldest first. Bounded: the oldest go when there are too many."""

    def __init__(self) -> None:
        self._reports: deque[LoggedReport] = deque()
        self._size = 0
        self._last = 0

    def __len__(self) -> int:
        return len(self._reports)

    def __iter__(self) -> Iterator[LoggedReport]:
        return iter(list(self._reports))

    @property
    def size(self) -> int:
        """Bytes."""
        return self._size

    def add(self, process: Process, report: Any, metadata: dict[Any, Any]) -> None:
        """Keep what `process` reports, a report of OTP's logger with its metadata."""
        about = metadata.get(ERROR_LOGGER) or {}
        kind = about.get(Atom("type")) or about.get(Atom("tag")) or Atom("error")
        kept = self._kept(report)
        self._last += 1
        self._reports.append(LoggedReport(self._last, kind.name, process.pid, process.name, time.time(), kept))
        self._size += len(kept)
        while len(self._reports) > MOST_REPORTS or self._size > MOST_BYTES:
            self._size -= len(self._reports.popleft()._etf)

    def _kept(self, report: Any) -> bytes:
        try:
            kept = etf.encode(readable(report))
        except (BridgeError, RecursionError):
            kept = b""
        if not kept or len(kept) > MOST_BYTES_OF_ONE:
            return etf.encode(shorten(report, 4000).encode(errors="replace"))
        return kept
