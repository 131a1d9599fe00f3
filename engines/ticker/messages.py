"""What the Ticker takes and sends.

==================  ===============================================  =========================
message             in an envelope                                   plain
==================  ===============================================  =========================
`Increment`         ``{ticker, increment, #{}}``                     cast ``increment``
`CountRequest`      ``{ticker, count_request, #{}}``                 call ``count``
`CountReply`        ``{ticker, count_reply, #{counter => Integer}}``   the integer, as the reply
==================  ===============================================  =========================

Source: nspec v0.2.0, "Ticker messages". The plain form is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engines.messages import Message
from erlang_bridge.terms import Atom

INCREMENT: Final = Atom("increment")
COUNT: Final = Atom("count")


class TickerMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "ticker"


@dataclass(frozen=True, slots=True)
class Increment(TickerMessage):
    """Raise the counter by one. No reply."""


@dataclass(frozen=True, slots=True)
class CountRequest(TickerMessage):
    """Ask for the counter; `CountReply` comes back."""


@dataclass(frozen=True, slots=True)
class CountReply(TickerMessage):
    """The counter, as it was when the request was handled."""

    counter: int


MESSAGES: Final = (Increment, CountRequest, CountReply)


def from_cast(request: Any) -> Increment | None:
    """The message that a cast in the plain form stands for."""
    return Increment() if request is INCREMENT else None


def from_call(request: Any) -> CountRequest | None:
    """The message that a call in the plain form stands for."""
    return CountRequest() if request is COUNT else None


def to_reply(message: Message) -> int:
    """A reply in the plain form."""
    assert isinstance(message, CountReply)
    return message.counter
