"""Every row of the table of exit signals."""

from __future__ import annotations

import pytest

from erlang_bridge.process.exit_rules import KILL, KILLED, NORMAL, SHUTDOWN, Outcome, is_quiet, receive_exit_signal
from erlang_bridge.terms import Atom

BOOM = Atom("boom")


@pytest.mark.parametrize(
    ("reason", "link", "trap_exit", "own", "expected"),
    [
        (KILL, False, False, False, (Outcome.DIE, KILLED)),
        (KILL, False, True, False, (Outcome.DIE, KILLED)),
        (KILL, False, True, True, (Outcome.DIE, KILLED)),
        (NORMAL, False, False, False, (Outcome.IGNORE, NORMAL)),
        (NORMAL, False, False, True, (Outcome.DIE, NORMAL)),
        (NORMAL, False, True, False, (Outcome.MESSAGE, NORMAL)),
        (NORMAL, False, True, True, (Outcome.MESSAGE, NORMAL)),
        (BOOM, False, False, False, (Outcome.DIE, BOOM)),
        (BOOM, False, True, False, (Outcome.MESSAGE, BOOM)),
        (NORMAL, True, False, False, (Outcome.IGNORE, NORMAL)),
        (NORMAL, True, True, False, (Outcome.MESSAGE, NORMAL)),
        (KILL, True, False, False, (Outcome.DIE, KILL)),
        (KILL, True, True, False, (Outcome.MESSAGE, KILL)),
        (KILLED, True, False, False, (Outcome.DIE, KILLED)),
        (BOOM, True, False, False, (Outcome.DIE, BOOM)),
        (BOOM, True, True, False, (Outcome.MESSAGE, BOOM)),
    ],
)
def test_rule(reason, link, trap_exit, own, expected):
    assert receive_exit_signal(reason, link=link, trap_exit=trap_exit, own=own) == expected


@pytest.mark.parametrize(
    ("reason", "quiet"),
    [(NORMAL, True), (SHUTDOWN, True), ((SHUTDOWN, BOOM), True), (BOOM, False), ((SHUTDOWN,), False), (KILLED, False)],
)
def test_orderly_ends(reason, quiet):
    assert is_quiet(reason) is quiet
