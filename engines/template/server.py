"""The Template as a process, and what others call to use it.

From an Erlang process of the same node only (of another, the answer is ``{error, {not_handled, example_request}}``)::

    {example_reply, #{result := {example_reply_ok, #{arg_one := 1}}}} =
        gen_server:call(template, {example_request, #{arg_one => 1, arg_two => 2}}).
"""

from __future__ import annotations

from typing import Any

from engines.engine import Client, Engine, ask, tell
from engines.template.behaviour import BEHAVIOUR
from engines.template.messages import ExampleReplyError, ExampleReplyOk, ExampleRequest, JustHi

TEMPLATE = "template"
"""The name that a node's own Template is registered under."""


def just_hi(client: Client, template: Any = TEMPLATE) -> None:
    """Say hello. Does not wait."""
    tell(client, template, JustHi())


def example(
    client: Client, arg_one: int, arg_two: int, template: Any = TEMPLATE, timeout_s: float | None = 5.0
) -> ExampleReplyOk | ExampleReplyError:
    """What `template` answers to an example.

    Raises:
        Refused: it is on another node. ErlangExit: no answer, and why.
    """
    result: ExampleReplyOk | ExampleReplyError = ask(
        client, template, ExampleRequest(arg_one, arg_two), timeout_s
    ).result
    return result


class Template(Engine):
    """Takes a word over, and answers examples."""

    engine = BEHAVIOUR
