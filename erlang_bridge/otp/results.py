"""What the callbacks of a `GenServer` return."""

from __future__ import annotations

from typing import Any, Final


class _Unset:
    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = _Unset()
"""Stands for an argument that was not given, where None would be a value."""


class Init:
    """From ``init`` when there is more to say than the state.

    Args:
        state: the first state.
        timeout_s: ``handle_info(Atom("timeout"), state)`` is called if no message comes within that time.
        continue_with: ``handle_continue`` is called with it before any message.

    Raises:
        ValueError: both are given; OTP's results have room for one.
    """

    __slots__ = ("continue_with", "state", "timeout_s")
    __match_args__ = ("state",)

    def __init__(self, state: Any, *, timeout_s: float | None = None, continue_with: Any = UNSET) -> None:
        self.state = state
        self.timeout_s = timeout_s
        self.continue_with = continue_with
        if timeout_s is not None and continue_with is not UNSET:
            raise _both()


class Reply:
    """From ``handle_call``: answer `value` and go on with `state`. The other arguments as for `Init`."""

    __slots__ = ("continue_with", "state", "timeout_s", "value")
    __match_args__ = ("value", "state")

    def __init__(self, value: Any, state: Any, *, timeout_s: float | None = None, continue_with: Any = UNSET) -> None:
        self.value = value
        self.state = state
        self.timeout_s = timeout_s
        self.continue_with = continue_with
        if timeout_s is not None and continue_with is not UNSET:
            raise _both()

    def __repr__(self) -> str:
        return f"Reply({self.value!r}, {self.state!r})"


class NoReply:
    """From any callback: go on with `state`. A call is answered later, with ``self.reply(caller, value)``.

    The other arguments as for `Init`.
    """

    __slots__ = ("continue_with", "state", "timeout_s")
    __match_args__ = ("state",)

    def __init__(self, state: Any, *, timeout_s: float | None = None, continue_with: Any = UNSET) -> None:
        self.state = state
        self.timeout_s = timeout_s
        self.continue_with = continue_with
        if timeout_s is not None and continue_with is not UNSET:
            raise _both()

    def __repr__(self) -> str:
        return f"NoReply({self.state!r})"


def _both() -> ValueError:
    return ValueError("a callback returns either timeout_s or continue_with, not both")


class Stop:
    """From any callback: terminate with `reason`, after answering `reply` where one is given.

    From ``init``, ``Stop(reason)`` is a failed start.
    """

    __slots__ = ("reason", "reply", "state")
    __match_args__ = ("reason", "state")

    def __init__(self, reason: Any, state: Any = None, *, reply: Any = UNSET) -> None:
        self.reason = reason
        self.state = state
        self.reply = reply

    def __repr__(self) -> str:
        return f"Stop({self.reason!r}, {self.state!r})"


class Ignore:
    """From ``init``: end without an error; the start function answers ``ignore``."""

    __slots__ = ()
