"""The Template Minimum as a process, and what others call to use it.

From an Erlang process of the same node only (of another, the answer is ``{error, {not_handled, example_request}}``)::

    {example_reply, #{result := {reply_payload, #{payload := <<"1">>}}}} =
        gen_server:call(template_minimum, {example_request, #{arg_one => 1, arg_two => 2}}).
"""

from __future__ import annotations

from typing import Any

from engines.engine import Client, Engine, ask
from engines.template_minimum.behaviour import BEHAVIOUR
from engines.template_minimum.messages import ExampleRequest, ReplyError, ReplyPayload

TEMPLATE_MINIMUM = "template_minimum"
"""The name that a node's own one is registered under."""


def example(
    client: Client, arg_one: int, arg_two: int, template: Any = TEMPLATE_MINIMUM, timeout_s: float | None = 5.0
) -> ReplyPayload | ReplyError:
    """What `template` answers to an example.

    Raises:
        Refused: it is on another node. ErlangExit: no answer, and why.
    """
    result: ReplyPayload | ReplyError = ask(client, template, ExampleRequest(arg_one, arg_two), timeout_s).result
    return result


class TemplateMinimum(Engine):
    """Answers examples."""

    engine = BEHAVIOUR
