"""What the Template Minimum does: answers examples.

Pure: a function of message to effects.

Differences from the specification:

* The action, which is left undone there, answers with the digits of the request's first argument: the reply's payload
  is a text.
* An engine or a process of the same node is local, whether or not its address says the node. In the specification
  every sender says its node, so that the guard for local ones never holds.

Source: nspec v0.2.0, "Template Minimum Behaviour".
"""

from __future__ import annotations

from typing import Any, Final

from engines.effects import Effects
from engines.guards import NO_SETTINGS, EngineBehaviour, First, Turn, on
from engines.template_minimum.messages import MESSAGES, ExampleReply, ExampleRequest, ReplyError, ReplyPayload


def example_reply(turn: Turn[None], _args: None) -> Effects[None]:
    """Answer with the digits of the request's first argument."""
    message = turn.message
    assert isinstance(message, ExampleRequest)
    try:
        result: ReplyPayload | ReplyError = ReplyPayload(str(message.arg_one))
    except ValueError:
        result = ReplyError("arg_one has too many digits")
    return Effects(None, replies=(ExampleReply(result),))


def from_same_node(turn: Turn[None]) -> bool:
    """Whether from the same node."""
    return turn.is_local(turn.sender)


def start(_args: Any) -> tuple[None, None]:
    """No settings and no state, whatever the argument."""
    return NO_SETTINGS, None


BEHAVIOUR: Final[EngineBehaviour[None]] = EngineBehaviour(
    "template_minimum", MESSAGES, start, First(on(ExampleRequest, example_reply, when=from_same_node))
)
