"""What the Template Minimum takes and sends.

Source: nspec v0.2.0, "Template Minimum Messages".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from engines.messages import Message
from engines.wire import Value


class TemplateMinimumMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "template_minimum"


@dataclass(frozen=True, slots=True)
class JustHi(TemplateMinimumMessage):
    """Say hello. Nothing comes of it."""


@dataclass(frozen=True, slots=True)
class ExampleRequest(TemplateMinimumMessage):
    """Ask for an example; `ExampleReply` comes back, to engines and processes of the same node only.

    Attributes:
        arg_one: a natural number; its digits come back.
        arg_two: a natural number; it does not.
    """

    arg_one: int
    arg_two: int

    def __post_init__(self) -> None:
        if self.arg_one < 0 or self.arg_two < 0:
            raise ValueError(f"expected two natural numbers, got {self.arg_one} and {self.arg_two}")


@dataclass(frozen=True, slots=True)
class ReplyPayload(Value):
    """The request could be answered.

    Attributes:
        payload: the answer.
    """

    payload: str


@dataclass(frozen=True, slots=True)
class ReplyError(Value):
    """The request could not be answered: its number has more digits than Python writes out.

    Attributes:
        error: why.
    """

    error: str


@dataclass(frozen=True, slots=True)
class ExampleReply(TemplateMinimumMessage):
    """The answer to an `ExampleRequest`.

    Attributes:
        result: what has come of it.
    """

    result: ReplyPayload | ReplyError


MESSAGES: Final = (JustHi, ExampleRequest, ExampleReply)
