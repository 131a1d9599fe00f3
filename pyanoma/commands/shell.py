"""``pyanoma shell``: the Python prompt inside a node, from a machine without Erlang."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Final

import click
import gevent
from gevent.event import AsyncResult

from erlang_bridge import Atom, BridgeError, NoConnection, Node, OwnProcess, Pid
from erlang_bridge.kernel.group_leader import IoServer, Refused, prompt_text
from erlang_bridge.kernel.io_format import characters
from erlang_bridge.otp.gen_server import start_server
from erlang_bridge.otp.reports import charlist
from erlang_bridge.process.exit_rules import NOCONNECTION
from erlang_bridge.terms.text import format_term
from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, node_argument, timeout_option
from pyanoma.failures import ExitCode, ShellOff

INTERRUPT: Final = Atom("interrupt")
INTERRUPTED: Final = Atom("interrupted")
TERMINATED: Final = Atom("terminated")
BINARY: Final = Atom("binary")
ENCODING: Final = Atom("encoding")
UNICODE: Final = Atom("unicode")


class ShellEnded(BridgeError):
    """The shell on the node has ended, and not because it was told to from here."""

    def __init__(self, node: str, reason: Any) -> None:
        self.reason = reason
        super().__init__(f"the shell on {node} has ended: {format_term(reason, most=300)}")


class NoShell(BridgeError):
    """The node has no Python shell."""

    def __init__(self, node: str) -> None:
        super().__init__(f"{node} has no Python shell: it is no node of pyanoma, or of an earlier version")


class Screen:
    """What the shell writes to and reads from: standard output and input, neither of them a terminal."""

    def write(self, text: str) -> None:
        """Raises OSError: nobody reads it any more."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def read(self, prompt: str) -> str:
        """A line with its end, ``""`` at the end. Raises KeyboardInterrupt."""
        if prompt:
            self.write(prompt)
        line: str = gevent.get_hub().threadpool.apply(sys.stdin.readline)
        return line

    def close(self) -> None:
        """Put things back as they were."""


class TerminalLeader(IoServer):
    """The group leader of the shell: it lives here, the shell on the other node. Its argument is a `Screen`."""

    trap_exit: ClassVar[bool] = True
    _screen: Any
    _asked = ""

    def init(self, args: Any) -> Any:
        self._screen = args
        return super().init(args)

    def write(self, text: str) -> None:
        try:
            self._screen.write(text)
        except (OSError, ValueError) as error:
            raise Refused(TERMINATED) from error

    def read_line(self) -> str:
        asked, self._asked = self._asked, ""
        try:
            line: str = self._screen.read(asked)
        except KeyboardInterrupt:
            raise Refused(INTERRUPTED) from None
        return line

    def _prompt(self, prompt: Any) -> None:
        # Who reads the line shows it: the editor has to draw it again.
        self._asked = prompt_text(prompt)

    def options(self) -> list[Any]:
        return [(BINARY, self.device.binary), (ENCODING, UNICODE)]

    def set_options(self, options: list[Any]) -> None:
        for option in options:
            match option:
                case (Atom("binary"), bool(on)):
                    self.device.binary = on
                case Atom("binary" | "list") as form:
                    self.device.binary = form is BINARY

    def geometry(self, what: str) -> int:
        try:
            size = os.get_terminal_size(sys.stdout.fileno())
        except (OSError, ValueError) as error:
            raise Refused(Atom("enotsup")) from error
        return size.columns if what == "columns" else size.lines


@click.command()
@node_argument
@click.option("-c", "source", metavar="CODE", help="Run this, show what it shows, and end.")
@cookie_option
@timeout_option("Time to connect, and for the shell to start, in seconds.")
@click.pass_context
def shell(context: click.Context, node: str, source: str | None, cookie: str | None, timeout_s: float) -> None:
    """A Python prompt inside NODE, which has to run with --shell.

    Ctrl-C interrupts what runs there, Ctrl-D or exit() ends the shell; the node goes on. help_pyanoma() tells what
    there is beside Python.

    With -c, or where standard input is no terminal, all of it is run as one program: it ends at the first error, and
    the command then exits with 1, or with what the program has given to exit().
    """
    at_terminal = source is None and sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    if source is None and not at_terminal:
        source = sys.stdin.read() if sys.stdin is not None else ""
    with connected(node, cookie, timeout_s) as client:
        session = _Session(client, node, source)
        gevent.signal_handler(signal.SIGINT, session.interrupt)
        screen = _editor(session.complete) if at_terminal else Screen()
        try:
            code = session.run(screen, timeout_s)
        finally:
            screen.close()
    context.exit(code)


def _editor(complete: Callable[[str], tuple[str, list[str]]]) -> Any:
    from pyanoma.line_editor import LineEditor  # noqa: PLC0415  # not on every system, and only for terminals

    return LineEditor(complete)


class _Session:
    """One shell on the other node."""

    def __init__(self, client: Node, node: str, source: str | None) -> None:
        self._client = client
        self._node = node
        self._source = source
        self._shell: Pid | None = None
        self._leader: Pid | None = None

    def run(self, screen: Any, timeout_s: float) -> int:
        """Start it, and wait for its end; the exit code."""
        table = self._client.table
        self._leader = leader = start_server(table, TerminalLeader, screen, lambda answer: None)
        assert leader is not None
        reason = self._as_process(lambda own: self._start_and_wait(own, timeout_s))
        match reason:
            case Atom("normal"):
                return ExitCode.OK
            case (Atom("shutdown"), (Atom("exception"), int(code))):
                return code & 0xFF or ExitCode.FAILED
            case (Atom("shell_off"), bytes(text)):
                raise ShellOff(text.decode(errors="replace"))
            case (Atom("undef"), _):
                raise NoShell(self._node)
            case Atom("noconnection"):
                raise NoConnection(NOCONNECTION, f"the shell on {self._node}")
        raise ShellEnded(self._node, reason)

    def _start_and_wait(self, own: OwnProcess, timeout_s: float) -> Any:
        own.process.group_leader = self._leader
        options = {} if self._source is None else {Atom("source"): self._source.encode()}
        self._shell, monitor = self._client.spawn_remote(
            self._node, "pyanoma", "shell", [options], monitor=True, timeout_s=timeout_s
        )
        return own.receive(lambda message: type(message) is tuple and len(message) == 5 and message[1] == monitor)[4]

    def interrupt(self) -> None:
        """Interrupt what the shell runs."""
        shell = self._shell
        if shell is not None:
            gevent.spawn(self._client.exit, shell, INTERRUPT)

    def complete(self, before: str) -> tuple[str, list[str]]:
        """What TAB inserts after `before`, and the possibilities."""
        line = charlist(before[::-1])

        def ask(own: OwnProcess) -> Any:
            own.process.group_leader = self._leader
            return self._client.rpc(self._node, "edlin_expand", "expand", [line])

        try:
            _, insert, possibilities = self._as_process(ask)
        except BridgeError:
            return "", []
        return characters(insert), [characters(possibility) for possibility in possibilities]

    def _as_process(self, function: Callable[[OwnProcess], Any]) -> Any:
        """What `function` returns or raises, run as a process: only one can say to which terminal it belongs."""
        result: AsyncResult[Any] = AsyncResult()

        def run(own: OwnProcess) -> None:
            try:
                result.set(function(own))
            except BridgeError as error:
                result.set_exception(error)

        self._client.spawn(run)
        return result.get()
