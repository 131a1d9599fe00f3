"""Exit codes, and errors in one line."""

from __future__ import annotations

import pytest

from erlang_bridge import (
    Atom,
    BadCookie,
    CallTimeout,
    ConfigError,
    ConnectionLost,
    EpmdUnreachable,
    ErlangError,
    ErlangExit,
    NameTaken,
    NoConnection,
    NodeNotRegistered,
    NoProcess,
)
from erlang_bridge.errors import HandshakeError, HandshakeTimeout, MissingFlags, NotAllowed, TermSyntaxError
from pyanoma.failures import ExitCode, exit_code, in_words

NODE = "py@h"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("k", 1, "two"), ExitCode.USAGE),
        (TermSyntaxError("{", 1, "expected a term"), ExitCode.USAGE),
        (NameTaken("py", "h", 1), ExitCode.NAME_TAKEN),
        (EpmdUnreachable("h", 1, "why"), ExitCode.UNREACHABLE),
        (NodeNotRegistered(NODE, "h", 1), ExitCode.UNREACHABLE),
        (HandshakeError(NODE, "nothing answers"), ExitCode.UNREACHABLE),
        (ConnectionLost(NODE, "closed"), ExitCode.UNREACHABLE),
        (NoConnection(Atom("noconnection")), ExitCode.UNREACHABLE),
        (ConnectionRefusedError(), ExitCode.UNREACHABLE),
        (BadCookie(NODE), ExitCode.REFUSED),
        (NotAllowed(NODE), ExitCode.REFUSED),
        (MissingFlags(NODE, ("DFLAG_X",)), ExitCode.REFUSED),
        (HandshakeTimeout(NODE, "status", 1), ExitCode.TIMEOUT),
        (CallTimeout(Atom("timeout")), ExitCode.TIMEOUT),
        (NoProcess(Atom("noproc")), ExitCode.FAILED),
        (ErlangExit(Atom("boom")), ExitCode.FAILED),
        (ErlangError(Atom("undef")), ExitCode.FAILED),
    ],
)
def test_exit_codes(error: BaseException, code: ExitCode):
    assert exit_code(error) is code


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoProcess(Atom("noproc"), "x on py@h"), "x on py@h: noproc (no such process)"),
        (ErlangExit((Atom("boom"), b"x"), "x on py@h"), 'x on py@h: {boom,<<"x">>}'),
        (ErlangError((Atom("badmatch"), 1)), "the function raised {badmatch,1}"),
        (OSError("two\nlines"), "two lines"),
        (KeyError(), "KeyError"),
    ],
)
def test_errors_in_one_line(error: BaseException, words: str):
    assert in_words(error) == words
