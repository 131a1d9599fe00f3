"""``rb``: the report browser behind observer's log view, on the reports that the node keeps in memory.

``rb:start()`` starts the process ``rb_server``, which writes what it is asked for to an io device: that of the caller,
or the one that ``{start_log, Device}`` names. A device is a process; files are not written.

Source: OTP ``lib/sasl/src/rb.erl``, ``rb_format_supp.erl``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from erlang_bridge.errors import BridgeError
from erlang_bridge.kernel import io
from erlang_bridge.kernel.callables import RemoteCall
from erlang_bridge.kernel.give_way import give_way
from erlang_bridge.kernel.io_format import characters
from erlang_bridge.kernel.report_log import LoggedReport
from erlang_bridge.otp.gen_server import GenServer, wait_started
from erlang_bridge.otp.results import NoReply, Reply, Stop
from erlang_bridge.process.exit_rules import SHUTDOWN
from erlang_bridge.terms import Atom, Pid
from erlang_bridge.terms.text import format_term

RB_SERVER: Final = Atom("rb_server")
OK: Final = Atom("ok")
ERROR: Final = Atom("error")
ALL: Final = Atom("all")
BADARG: Final = Atom("badarg")
START_LOG: Final = Atom("start_log")
STANDARD_IO: Final = Atom("standard_io")
NOT_FOUND: Final = Atom("not_found")
NO_FILES: Final = Atom("eacces")
LONGEST_PATTERN: Final = 200
LONGEST_LINE: Final = 2000
CHARACTERS_A_TURN: Final = 2000
"""Of a text that is searched; with one repetition that takes some milliseconds at most."""
MOST_REPEATS: Final = 1
WRITE_TIMEOUT_S: Final = 30.0

HELP: Final = """
Report Browser Tool - usage
===========================
rb:start()           - start the rb_server with default options
rb:start(Options)    - where Options is a list of:
      {start_log, Device}
         - a pid or a registered name; default: standard_io
      {max, MaxNoOfReports}
         - an integer or 'all'; default: all
      {type, ReportType}
         - crash_report, supervisor_report, error, warning_msg, 'all', or a list of them
rb:list()            - list all reports
rb:list(Type)        - list all reports of type Type
rb:grep(RegExp)      - print reports containing RegExp
rb:show(Number)      - print report no Number
rb:show(Type)        - print all reports of type Type
rb:show()            - print all reports
rb:rescan(Options)   - change options
rb:start_log(Device) - redirect all reports to an io device
rb:stop_log()        - redirect to standard_io
rb:stop()            - stop the rb_server
"""


class _Refused(Exception):
    def __init__(self, reason: Any) -> None:
        super().__init__(reason)
        self.reason = reason


class _Options:
    """What a server was started with, and what has been changed since."""

    def __init__(self) -> None:
        self.device: Any = STANDARD_IO
        self.most: int | None = None
        self.types: tuple[Atom, ...] | None = None

    def take(self, options: Any) -> None:
        for option in options if isinstance(options, list) else []:
            match option:
                case (Atom("start_log"), device):
                    self.device = _checked_device(device)
                case (Atom("max"), Atom("all")):
                    self.most = None
                case (Atom("max"), int(most)):
                    self.most = max(0, most)
                case (Atom("type"), kind):
                    self.types = _types(kind)


def _checked_device(device: Any) -> Any:
    if isinstance(device, (Pid, Atom)):
        return device
    raise _Refused(NO_FILES)


def _types(kind: Any) -> tuple[Atom, ...] | None:
    if kind is ALL:
        return None
    return tuple(each for each in (kind if isinstance(kind, list) else [kind]) if isinstance(each, Atom))


class RbServer(GenServer):
    """The process ``rb_server``. Requests are ``(request, device of the caller)``."""

    def init(self, args: Any) -> Any:
        options = _Options()
        try:
            options.take(args)
        except _Refused as refused:
            return Stop(refused.reason)
        return options

    def handle_call(self, request: Any, caller: Any, state: _Options) -> Any:
        match request:
            case (asked, leader):
                try:
                    return Reply(self._answer(asked, leader, state), state)
                except _Refused as refused:
                    return Reply((ERROR, refused.reason), state)
                except BridgeError as error:
                    # The device is gone, or refuses.
                    return Reply((ERROR, getattr(error, "reason", Atom("terminated"))), state)
        return Reply((ERROR, BADARG), state)

    def handle_cast(self, message: Any, state: _Options) -> NoReply:
        return NoReply(state)

    def _answer(self, asked: Any, leader: Any, state: _Options) -> Any:
        device = leader if state.device is STANDARD_IO else state.device
        match asked:
            case (Atom("rescan"), options):
                state.take(options)
            case (Atom("start_log"), new_device):
                state.device = _checked_device(new_device)
            case Atom("stop_log"):
                state.device = STANDARD_IO
            case (Atom("list"), kind):
                self._write(leader, _listed(self._reports(state, _types(kind))))
            case (Atom("log_list"), kind):
                self._write(device, _listed(self._reports(state, _types(kind))))
            case (Atom("show"), int(number)):
                self._show(device, (report for report in self._reports(state) if report.number == number))
            case (Atom("show"), kind):
                self._show(device, self._reports(state, _types(kind)))
            case (Atom("grep"), pattern):
                is_wanted = _matcher(pattern)
                for report in self._reports(state):
                    give_way()
                    text = _printed(report)
                    if is_wanted(text):
                        self._write(device, text)
        return OK

    def _reports(self, state: _Options, types: tuple[Atom, ...] | None = None) -> list[LoggedReport]:
        """Those that options and request ask for, the latest first."""
        found = [
            report
            for report in self.node.reports
            if (state.types is None or Atom(report.type) in state.types)
            and (types is None or Atom(report.type) in types)
        ]
        found.reverse()
        return found if state.most is None else found[: state.most]

    def _show(self, device: Any, reports: Iterable[LoggedReport]) -> None:
        for report in reports:
            self._write(device, _printed(report))

    def _write(self, device: Any, text: str) -> None:
        io.put_chars(self.process, device, text, WRITE_TIMEOUT_S)


def _printed(report: LoggedReport) -> str:
    pid = f"<0.{report.pid.id}.{report.pid.serial}>"
    name = f" ({report.name})" if report.name is not None else ""
    header = f"{report.title}  {pid}{name}".ljust(58)[:79] + report.date.rjust(21)
    return f"\n{header}\n{'=' * 79}\n{report.text()}\n"


def _listed(reports: list[LoggedReport]) -> str:
    rows = [("No", "Type", "Process", "Date     Time"), ("==", "====", "=======", "====     ====")]
    for report in reports:
        who = format_term(report.name) if report.name is not None else f"<0.{report.pid.id}.{report.pid.serial}>"
        rows.append((str(report.number), report.type, who, report.date))
    width = max(len(row[2]) for row in rows) + 1
    return "".join(f"{row[0]:>4}{row[1]:>20} {row[2]:>{width}}{row[3]:>20}\n" for row in rows)


def _matcher(pattern: Any) -> Callable[[str], bool]:
    """What ``rb:grep`` looks for: a regular expression, or ``{RegExp, Options}``, whose options are not looked at.

    Nothing can interrupt Python's regular expressions, and time grows with the power of the repetitions: one that has
    more than `MOST_REPEATS`, or repeats a group, is refused. Others have their turn while the text is gone through.
    """
    if isinstance(pattern, tuple) and len(pattern) == 2:
        pattern = pattern[0]
    try:
        text = characters(pattern)
        plain = re.sub(r"([*+?}])\?", r"\1", re.sub(r"\\.", "", text))
        repeats = len(re.findall(r"[*+{?]", plain))
        if len(text) > LONGEST_PATTERN or repeats > MOST_REPEATS or re.search(r"\)[*+{?]", plain):
            raise _Refused(BADARG)
        compiled = re.compile(text)
    except (re.error, TypeError, ValueError, RecursionError):
        raise _Refused(BADARG) from None

    def is_wanted(report: str) -> bool:
        searched = 0
        for line in report.splitlines():
            searched += len(line[:LONGEST_LINE])
            if searched > CHARACTERS_A_TURN:
                searched = 0
                give_way()
            if compiled.search(line[:LONGEST_LINE]):
                return True
        return False

    return is_wanted


def export(node: Any) -> None:
    """Export what is here to other nodes."""

    def start(options: Any = None) -> Any:
        return wait_started(node.table, RbServer, options or [], name=RB_SERVER, group_leader=node.whereis("user"))

    def stop() -> Any:
        process = node.table.names.get(RB_SERVER)
        if process is None:
            return (ERROR, NOT_FOUND)
        node.table.exit(process, SHUTDOWN)
        return OK

    def asking(make: Callable[..., Any], arity: int, name: str) -> None:
        def ask(call: RemoteCall, *arguments: Any) -> Any:
            leader = call.group_leader or node.whereis("user")
            return node.call(RB_SERVER, (make(*arguments), leader), None)

        node.export("rb", name, ask, with_call=True, arity=arity)

    def help_text(call: RemoteCall) -> Atom:
        io.put_chars(call.process, call.group_leader, HELP, WRITE_TIMEOUT_S)
        return OK

    node.export("rb", "start", start)
    node.export("rb", "stop", stop)
    for name in ("h", "help"):
        node.export("rb", name, help_text, with_call=True)
    for name in ("list", "log_list"):
        asking(lambda name=name: (Atom(name), ALL), 0, name)
        asking(lambda kind, name=name: (Atom(name), kind), 1, name)
    asking(lambda: (Atom("show"), ALL), 0, "show")
    asking(lambda which: (Atom("show"), which), 1, "show")
    asking(lambda pattern: (Atom("grep"), pattern), 1, "grep")
    asking(lambda: (Atom("rescan"), []), 0, "rescan")
    asking(lambda options: (Atom("rescan"), options), 1, "rescan")
    asking(lambda device: (Atom("start_log"), device), 1, "start_log")
    asking(lambda: Atom("stop_log"), 0, "stop_log")
