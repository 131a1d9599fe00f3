"""The Static Configuration as a process, and what others call to use it.

From Erlang::

    {get_static_config_response, #{found := true, value := Value}} =
        gen_server:call({static_configuration, 'py@127.0.0.1'}, {get_static_config_request, #{key => <<"name">>}}).
"""

from __future__ import annotations

from typing import Any

from engines.engine import Client, Engine, ask
from engines.static_configuration.behaviour import BEHAVIOUR
from engines.static_configuration.messages import GetStaticConfigRequest

STATIC_CONFIGURATION = "static_configuration"
"""The name that a node's own one is registered under."""


def get(
    client: Client,
    key: str,
    default: Any = None,
    configuration: Any = STATIC_CONFIGURATION,
    timeout_s: float | None = 5.0,
) -> Any:
    """The value of `key`, a term; `default` where it has none.

    Raises:
        ErlangExit: no answer, and why.
    """
    reply = ask(client, configuration, GetStaticConfigRequest(key), timeout_s)
    return reply.value if reply.found else default


class StaticConfiguration(Engine):
    """Tells the values that it was started with."""

    engine = BEHAVIOUR
