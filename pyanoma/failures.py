"""What the commands say, and the exit codes they end with, when something is wrong."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, NoReturn

import click

from erlang_bridge import (
    Atom,
    BadCookie,
    BridgeError,
    CallTimeout,
    ConfigError,
    ConnectionLost,
    EpmdError,
    ErlangException,
    ErlangExit,
    EtfEncodeError,
    HandshakeError,
    NameTaken,
    NoConnection,
)
from erlang_bridge.errors import (
    HandshakeTimeout,
    LostToSimultaneous,
    MissingFlags,
    NotAllowed,
    ProtocolError,
    TermSyntaxError,
)
from erlang_bridge.terms.text import format_term


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    """The other side said no, or a check found a problem."""
    USAGE = 2
    """A flag, an argument, the environment or the configuration has a wrong value."""
    UNREACHABLE = 3
    """No such node, no epmd, nothing listens, or the connection was lost."""
    REFUSED = 4
    """The node is there and refuses: wrong cookie, not allowed, missing flags, not the protocol."""
    NAME_TAKEN = 5
    """Another node of this name is running."""
    TIMEOUT = 6
    """It did not happen in time."""


EPILOG: Final = """\b
Exit codes:
  0  done
  1  the other side said no, or a check found a problem
  2  a wrong flag, argument, environment variable or configuration
  3  the node cannot be reached: unknown, down, or no epmd
  4  the node refuses: wrong cookie, not allowed, missing flags
  5  the node name is taken
  6  not done in time
"""


class StartFailed(BridgeError):
    """The supervision tree did not start: which child of it, and why.

    Args:
        reason: what the root supervisor ended with, a term.
    """

    def __init__(self, reason: Any) -> None:
        self.reason = reason
        child: list[str] = []
        while True:
            match reason:
                case (Atom("shutdown"), (Atom("failed_to_start_child"), name, inner)):
                    child.append(format_term(name))
                    reason = inner
                case (Atom(), bytes() as text):
                    shown = text.decode(errors="replace")
                    break
                case _:
                    shown = format_term(reason, most=300)
                    break
        super().__init__(f"{child[-1]} does not start: {shown}" if child else f"the node does not start: {shown}")


class NotInTime(BridgeError):
    """What a command waits for has not happened in time; says what that is."""


class ShellOff(BridgeError):
    """The node does not let anybody open a shell. The text is the node's own."""


_CODES: Final[tuple[tuple[type[BaseException], ExitCode], ...]] = (
    (ConfigError, ExitCode.USAGE),
    (TermSyntaxError, ExitCode.USAGE),
    (EtfEncodeError, ExitCode.USAGE),
    (NameTaken, ExitCode.NAME_TAKEN),
    (HandshakeTimeout, ExitCode.TIMEOUT),
    (CallTimeout, ExitCode.TIMEOUT),
    (NotInTime, ExitCode.TIMEOUT),
    (BadCookie, ExitCode.REFUSED),
    (NotAllowed, ExitCode.REFUSED),
    (MissingFlags, ExitCode.REFUSED),
    (ShellOff, ExitCode.REFUSED),
    (LostToSimultaneous, ExitCode.REFUSED),
    (ProtocolError, ExitCode.REFUSED),
    (EpmdError, ExitCode.UNREACHABLE),
    (HandshakeError, ExitCode.UNREACHABLE),
    (ConnectionLost, ExitCode.UNREACHABLE),
    (NoConnection, ExitCode.UNREACHABLE),
    (OSError, ExitCode.UNREACHABLE),
)
"""The first class that fits counts."""


class TreeEnded(BridgeError):
    """The supervision tree of a node has ended by itself.

    Attributes:
        reason: the exit reason of its root.
    """

    def __init__(self, reason: Any) -> None:
        self.reason = reason
        super().__init__(f"the supervision tree has ended: {format_term(reason, most=300)}")


def exit_code(error: BaseException) -> ExitCode:
    """The code for an error; 1 where none fits better."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


def in_words(error: BaseException) -> str:
    """An error in one line, terms in Erlang's syntax."""
    if isinstance(error, ErlangExit) and not error.hint:
        text = f"{error.call}: " if error.call else ""
        return text + format_term(error.reason, most=300)
    if isinstance(error, ErlangException) and not isinstance(error, ErlangExit):
        return f"the function raised {format_term(error.reason, most=300)}"
    return " ".join(str(error).split()) or type(error).__name__


class ReportingGroup(click.Group):
    """A group whose commands end with one line and an exit code, not with a traceback, when something is wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (BridgeError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            fail(ctx, error)


def fail(ctx: click.Context, error: BaseException) -> NoReturn:
    """End the command because of `error`."""
    command = f" {ctx.invoked_subcommand}" if ctx.invoked_subcommand else ""
    click.echo(f"pyanoma{command}: {in_words(error)}", err=True)
    ctx.exit(exit_code(error))
