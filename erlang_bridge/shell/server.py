"""The shell: a process that reads lines at its group leader, and has them run by an evaluator.

It is linked with the group leader that started it and ends with it. It is told by exit signals, as OTP's shell is:
``interrupt`` interrupts what runs, anything else ends the shell.

Source: OTP ``lib/stdlib/src/shell.erl``, ``lib/kernel/src/group.erl``.
"""

from __future__ import annotations

import logging
import platform
from types import CodeType
from typing import Any, Final

from erlang_bridge.errors import ProcessExit
from erlang_bridge.kernel.io_format import characters
from erlang_bridge.process import BodyProcess
from erlang_bridge.process.exit_rules import KILLED, NORMAL
from erlang_bridge.shell import display, preemption
from erlang_bridge.shell.evaluator import DONE, RUN, Context, Outcome, start_evaluator
from erlang_bridge.shell.helpers import install_helpers
from erlang_bridge.shell.statements import Statements
from erlang_bridge.shell.streams import INTERRUPTED, Terminal, redirection
from erlang_bridge.terms import Atom, Pid
from erlang_bridge.terms.text import format_term, pid_text

log = logging.getLogger("erlang_bridge.shell")

INTERRUPT: Final = Atom("interrupt")
UNICODE: Final = Atom("unicode")
SHUTDOWN: Final = Atom("shutdown")
EXCEPTION: Final = Atom("exception")


class Ended(Exception):
    """The shell is to end."""

    def __init__(self, reason: Any) -> None:
        self.reason = reason
        super().__init__(reason)


class Shell:
    """One shell.

    Args:
        source: run this and end, instead of reading lines.
    """

    def __init__(self, node: Any, process: BodyProcess, leader: Pid, source: str | None) -> None:
        self.node = node
        self.process = process
        self.leader = leader
        self.terminal = Terminal(node.table, leader)
        self.context = Context(self.terminal)
        self.statements = Statements(f"{process.pid.id}.{process.pid.serial}")
        self._source = source
        self._evaluator: BodyProcess | None = None
        redirection.open(self.terminal)
        redirection.assign(process, self.terminal)
        install_helpers(node, self.context)

    # -- its life -------------------------------------------------------------------------------

    def run(self) -> None:
        """The body of the process."""
        process = self.process
        process.trap_exit = True
        process.table.monitor(process, self.leader)
        try:
            reason = self._script(self._source) if self._source is not None else self._prompt_and_run()
        except Ended as ended:
            reason = ended.reason
        raise ProcessExit(reason)

    def close(self) -> None:
        """Leave nothing behind. Called when the process has ended, however it did."""
        evaluator, self._evaluator = self._evaluator, None
        if evaluator is not None:
            self.process.table.exit(evaluator, KILLED)
        redirection.close(self.terminal)
        self.statements.close()

    def _prompt_and_run(self) -> Any:
        self._write(
            f"Python {platform.python_version()} in the node {self.node.name}. "
            "help_pyanoma() tells what there is; exit() ends the shell.\n"
        )
        while True:
            reply = self._request((Atom("get_line"), UNICODE, self._prompt().encode()))
            match reply:
                case Atom("eof"):
                    self._write("\n")
                    return NORMAL
                case (Atom("error"), reason) if reason is INTERRUPTED:
                    self.statements.reset()
                    self._write("\nKeyboardInterrupt\n")
                    continue
                case (Atom("error"), reason):
                    return reason
            code = self._compile(characters(reply).rstrip("\r\n"))
            if code is not None:
                outcome = self._evaluate(code)
                if outcome.kind == "exit":
                    self._say_farewell(outcome.code)
                    return NORMAL

    def _script(self, source: str) -> Any:
        try:
            code = self.statements.script(source)
        except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError) as error:
            self._write(display.compile_error_text(error))
            return SHUTDOWN, (EXCEPTION, 1)
        outcome = self._evaluate(code)
        if outcome.kind == "failed":
            return SHUTDOWN, (EXCEPTION, 1)
        if outcome.kind == "exit" and outcome.code not in (None, 0):
            self._say_farewell(outcome.code)
            return SHUTDOWN, (EXCEPTION, outcome.code if isinstance(outcome.code, int) else 1)
        return NORMAL

    def _say_farewell(self, code: Any) -> None:
        if code is not None and not isinstance(code, int):
            self._write(f"{code}\n")

    # -- one statement --------------------------------------------------------------------------

    def _prompt(self) -> str:
        return f"({self.node.name}) {'...' if self.statements.pending else '>>>'} "

    def _compile(self, line: str) -> CodeType | None:
        try:
            return self.statements.push(line)
        except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError) as error:
            self._write(display.compile_error_text(error))
            return None

    def _evaluate(self, code: CodeType) -> Outcome:
        evaluator = self._evaluator
        if evaluator is None or not evaluator.alive:
            self._evaluator = evaluator = start_evaluator(self.context, self.process)
        self.process.table.send(self.process, evaluator.pid, (RUN, code))
        while True:
            message = self.process.receive()
            if type(message) is tuple and len(message) == 3 and message[0] is DONE:
                if message[1] == evaluator.pid:
                    outcome: Outcome = message[2]
                    return outcome
            elif self._is_end_of_evaluator(message):
                return Outcome("failed")
            else:
                self._handle(message)

    def _is_end_of_evaluator(self, message: Any) -> bool:
        evaluator = self._evaluator
        match message:
            case (Atom("EXIT"), pid, reason) if evaluator is not None and pid == evaluator.pid:
                self._evaluator = None
                ended = pid_text(pid, self.node.name)
                why = format_term(reason, most=500)
                self._write(f"*** the process {ended} of this shell has ended: {why}; the names are kept\n")
                return True
        return False

    def _handle(self, message: Any) -> None:
        """A message that is no answer. Raises `Ended`."""
        match message:
            case (Atom("EXIT"), _, reason) if reason is INTERRUPT:
                if self._evaluator is not None:
                    preemption.interrupt(self._evaluator)
            case (Atom("EXIT"), _, reason):
                if not self._is_end_of_evaluator(message):
                    raise Ended(reason)
            case (Atom("DOWN"), _, _, _, reason):
                raise Ended(reason)

    # -- the terminal ---------------------------------------------------------------------------

    def _write(self, text: str) -> None:
        self._request((Atom("put_chars"), UNICODE, text.encode(errors="replace")))

    def _request(self, asked: Any) -> Any:
        """A request to the group leader, and its reply. Raises `Ended` where it, or the shell, is to end."""
        process = self.process
        reference = process.table.make_reference()
        process.table.send(process, self.leader, (Atom("io_request"), process.pid, reference, asked))
        while True:
            message = process.receive()
            match message:
                case (Atom("io_reply"), answered, reply) if answered == reference:
                    return reply
                case (Atom("EXIT"), _, reason) if reason is INTERRUPT:
                    # The group leader has answered the request with an error, too.
                    continue
            self._handle(message)
