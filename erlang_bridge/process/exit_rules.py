"""What an exit signal does to its receiver: decided here, carried out in `table`.

====================  =========================  ==============================
signal                receiver does not trap     receiver traps exits
====================  =========================  ==============================
explicit, ``kill``    dies of ``killed``         dies of ``killed``
explicit, ``normal``  ignored (own: dies)        message
explicit, other       dies of it                 message
link, ``normal``      ignored                    message
link, other           dies of it, also ``kill``  message
====================  =========================  ==============================

Source: Erlang Reference Manual, "Processes", Receiving Exit Signals; ERTS ``erl_proc_sig_queue.c``,
``handle_exit_signal``.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from erlang_bridge.terms import Atom

NORMAL: Final = Atom("normal")
KILL: Final = Atom("kill")
KILLED: Final = Atom("killed")
SHUTDOWN: Final = Atom("shutdown")
NOPROC: Final = Atom("noproc")
NOCONNECTION: Final = Atom("noconnection")


class Outcome(Enum):
    """What becomes of an exit signal."""

    IGNORE = "ignore"
    MESSAGE = "message"
    DIE = "die"


def receive_exit_signal(reason: Any, *, link: bool, trap_exit: bool, own: bool) -> tuple[Outcome, Any]:
    """What to do, and the reason to do it with.

    Args:
        reason: as it came.
        link: it came over a link, because the linked process died; else somebody sent it (``exit/2``).
        trap_exit: the receiver turns exit signals into messages.
        own: the receiver sent it to itself.
    """
    if not link and reason is KILL:
        return Outcome.DIE, KILLED
    if trap_exit:
        return Outcome.MESSAGE, reason
    if reason is NORMAL and not (own and not link):
        return Outcome.IGNORE, reason
    return Outcome.DIE, reason


def is_quiet(reason: Any) -> bool:
    """True for reasons that are an orderly end (``normal``, ``shutdown``, ``{shutdown, Term}``): no crash report."""
    return (
        reason is NORMAL or reason is SHUTDOWN or (type(reason) is tuple and len(reason) == 2 and reason[0] is SHUTDOWN)
    )
