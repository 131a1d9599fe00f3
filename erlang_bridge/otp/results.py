"""What the callbacks of a `GenServer` return."""

from __future__ import annotations

from typing import Any, Final


class _Unset:
    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = _Unset()
"""Stands for an argument that was not given, where None would be a value."""


class _Continuing:
    __slots__ = ("continue_with", "state", "timeout_s")

    def __init__(self, state: Any, timeout_s: float | None, continue_with: Any) -> None:
        if timeout_s is not None and continue_with is not UNSET:
            raise ValueError("a callback returns either timeout_s or continue_with, not both")
        self.state = state
        self.timeout_s = timeout_s
        self.continue_with = continue_with


class Init(_Continuing):
    """From ``init`` when there is more to say than the state.

    Args:
        state: the first state.
        timeout_s: ``handle_info(Atom("timeout"), state)`` is called if no message comes within that time.
        continue_with: ``handle_continue`` is called with it before any message.
    """

    __slots__ = ()
    __match_args__ = ("state",)

    def __init__(self, state: Any, *, timeout_s: float | None = None, continue_with: Any = UNSET) -> None:
        super().__init__(state, timeout_s, continue_with)


class Reply(_Continuing):
    """From ``handle_call``: answer `value` and go on with `state`. The other arguments as for `Init`."""

    __slots__ = ("value",)
    __match_args__ = ("value", "state")

    def __init__(self, value: Any, state: Any, *, timeout_s: float | None = None, continue_with: Any = UNSET) -> None:
        super().__init__(state, timeout_s, continue_with)
        self.value = value

    def __repr__(self) -> str:
        return f"Reply({self.value!r}, {self.state!r})"


class NoReply(_Continuing):
    """From any callback: go on with `state`. A call is answered later, with ``self.reply(caller, value)``."""

    __slots__ = ()
    __match_args__ = ("state",)

    def __init__(self, state: Any, *, timeout_s: float | None = None, continue_with: Any = UNSET) -> None:
        super().__init__(state, timeout_s, continue_with)

    def __repr__(self) -> str:
        return f"NoReply({self.state!r})"


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
