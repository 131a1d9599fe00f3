"""What the Template takes and sends.

Source: nspec v0.2.0, "Template Messages".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Final

from engines.messages import Message
from engines.wire import Value


class TemplateMessage(Message):
    """One of the messages below."""

    __slots__ = ()
    engine: ClassVar[str] = "template"


@dataclass(frozen=True, slots=True)
class JustHi(TemplateMessage):
    """Say hello. No reply."""


@dataclass(frozen=True, slots=True)
class ExampleRequest(TemplateMessage):
    """Ask for an example; `ExampleReply` comes back, to engines and processes of the same node only.

    Attributes:
        arg_one: a natural number; it comes back.
        arg_two: a natural number; it does not.
    """

    arg_one: int
    arg_two: int

    def __post_init__(self) -> None:
        if self.arg_one < 0 or self.arg_two < 0:
            raise ValueError(f"expected two natural numbers, got {self.arg_one} and {self.arg_two}")


@dataclass(frozen=True, slots=True)
class ExampleReplyOk(Value):
    """The request could be answered.

    Attributes:
        arg_one: that of the request.
    """

    arg_one: int


class ExampleReplyError(Enum):
    """The request could not be answered. The Template has no request of that kind."""

    EXAMPLE_ERROR_ONE = "example_error_one"
    EXAMPLE_ERROR_TWO = "example_error_two"


@dataclass(frozen=True, slots=True)
class ExampleReply(TemplateMessage):
    """The answer to an `ExampleRequest`.

    Attributes:
        result: what has come of it.
    """

    result: ExampleReplyOk | ExampleReplyError


MESSAGES: Final = (JustHi, ExampleRequest, ExampleReply)
