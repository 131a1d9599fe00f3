"""What the Template is configured with, and what of it changes.

Pure: no processes, no clock.

Source: nspec v0.2.0, "Template Configuration" and "Template Environment".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TemplateSettings:
    """The specification's ``TemplateLocalCfg``.

    Attributes:
        example: a natural number.
        value: a text.
    """

    example: int = 1
    value: str = "hello world"

    def __post_init__(self) -> None:
        if self.example < 0:
            raise ValueError(f"expected a natural number as example, got {self.example}")


@dataclass(frozen=True, slots=True)
class CustomData:
    """What is in the task queue.

    Attributes:
        word: a text.
    """

    word: str


@dataclass(frozen=True, slots=True)
class TemplateState:
    """The specification's ``TemplateLocalState``.

    Attributes:
        task_queue: one word.
    """

    task_queue: CustomData = CustomData("taskQueue")


@dataclass(frozen=True, slots=True)
class FirstKindMailboxState:
    """One kind of state that a mailbox can have.

    Attributes:
        field_one: a natural number.
    """

    field_one: int


@dataclass(frozen=True, slots=True)
class SecondKindMailboxState:
    """The other kind.

    Attributes:
        field_one: a text.
        field_two: yes or no.
    """

    field_one: str
    field_two: bool


TemplateMailboxState = FirstKindMailboxState | SecondKindMailboxState


@dataclass(frozen=True, slots=True)
class FirstOptionTimerHandle:
    """One kind of handle that a timer can have.

    Attributes:
        arg_one: a natural number.
    """

    arg_one: int


@dataclass(frozen=True, slots=True)
class SecondOptionTimerHandle:
    """The other kind.

    Attributes:
        arg_one: a text.
        arg_two: yes or no.
    """

    arg_one: str
    arg_two: bool


TemplateTimerHandle = FirstOptionTimerHandle | SecondOptionTimerHandle
