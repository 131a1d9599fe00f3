"""What the Template does: takes a word over, and answers examples.

Pure: a function of environment and message to effects.

Differences from the specification:

* An engine or a process of the same node is local, whether or not its address says the node. In the specification
  every sender says its node, so that the guard for local ones never holds.
* The label that runs both actions, which no guard of the specification gives, is that of an `ExampleRequest` to
  mailbox 1. The two mailboxes begin with the two kinds of state that mailboxes can have.

Source: nspec v0.2.0, "Template Behaviour".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from engines.effects import Effects
from engines.environment import Mailbox, mailbox_of
from engines.guards import EngineBehaviour, First, GuardOutput, MessageArrived, Seq, Turn
from engines.messages import DEFAULT_MAILBOX
from engines.template.environment import (
    CustomData,
    FirstKindMailboxState,
    SecondKindMailboxState,
    TemplateSettings,
    TemplateState,
)
from engines.template.messages import MESSAGES, ExampleReply, ExampleReplyOk, ExampleRequest, JustHi
from engines.wire import settings_from

BOTH_MAILBOX: Final = 1
"""The mailbox whose requests run both actions."""


@dataclass(frozen=True, slots=True)
class FirstArgument:
    """A natural number that a guard gives to its actions."""

    data: int


@dataclass(frozen=True, slots=True)
class SecondArgument:
    """A text that a guard gives to its actions."""

    data: str


TemplateActionArguments = tuple[FirstArgument | SecondArgument, ...]

HELLO: Final = SecondArgument("Hello World!")


def just_hi(_turn: Turn[TemplateState], args: TemplateActionArguments) -> Effects[TemplateState] | None:
    """Take over the word that the guard gives."""
    match args:
        case (SecondArgument(data), *_):
            return Effects(TemplateState(CustomData(data)))
    return None


def example_reply(turn: Turn[TemplateState], _args: TemplateActionArguments) -> Effects[TemplateState] | None:
    """Answer with the request's first argument; the state stays."""
    message = turn.message
    if not isinstance(message, ExampleRequest):
        return None
    return Effects(turn.state, replies=(ExampleReply(ExampleReplyOk(message.arg_one)),))


JUST_HI: Final[Seq[TemplateState]] = Seq(just_hi)
EXAMPLE_REPLY: Final[Seq[TemplateState]] = Seq(example_reply)
DO_BOTH: Final[Seq[TemplateState]] = Seq(just_hi, example_reply)


def just_hi_guard(turn: Turn[TemplateState]) -> GuardOutput[TemplateState] | None:
    """Holds for `JustHi`: take over the word "Hello World!"."""
    return GuardOutput(JUST_HI, (HELLO,)) if isinstance(turn.message, JustHi) else None


def do_both_guard(turn: Turn[TemplateState]) -> GuardOutput[TemplateState] | None:
    """Holds for an `ExampleRequest` from the same node to mailbox 1: take over the word, and answer."""
    if example_reply_guard(turn) is None or mailbox_of(turn.envelope) != BOTH_MAILBOX:
        return None
    return GuardOutput(DO_BOTH, (HELLO,))


def example_reply_guard(turn: Turn[TemplateState]) -> GuardOutput[TemplateState] | None:
    """Holds for an `ExampleRequest` from the same node: answer it."""
    if not isinstance(turn.trigger, MessageArrived) or not isinstance(turn.message, ExampleRequest):
        return None
    return GuardOutput(EXAMPLE_REPLY, ()) if turn.is_local(turn.sender) else None


def start(args: Any) -> tuple[TemplateSettings, TemplateState]:
    """The settings, and the first state.

    Raises:
        ValueError: they are no settings.
    """
    return settings_from(TemplateSettings, args), TemplateState()


BEHAVIOUR: Final[EngineBehaviour[TemplateState]] = EngineBehaviour(
    "template",
    MESSAGES,
    start,
    First(just_hi_guard, do_both_guard, example_reply_guard),
    {
        DEFAULT_MAILBOX: Mailbox(FirstKindMailboxState(1)),
        BOTH_MAILBOX: Mailbox(SecondKindMailboxState("hello", field_two=True)),
    },
)
