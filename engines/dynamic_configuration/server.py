"""The Dynamic Configuration as a process, and what others call to use it.

From Erlang::

    Configuration = {dynamic_configuration, 'py@127.0.0.1'},
    {set_dynamic_config_response, #{success := true}} =
        gen_server:call(Configuration, {set_dynamic_config_request, #{key => <<"level">>, value => debug}}).
"""

from __future__ import annotations

from typing import Any

from engines.dynamic_configuration.behaviour import BEHAVIOUR
from engines.dynamic_configuration.messages import (
    NO_SUCH_KEY,
    DeleteDynamicConfigRequest,
    GetDynamicConfigRequest,
    SetDynamicConfigRequest,
    SubscribeDynamicConfigRequest,
    UnsubscribeDynamicConfigRequest,
)
from engines.engine import Client, Engine, ask
from engines.keeping import ledger
from engines.messages import Message
from erlang_bridge import BridgeError, OwnProcess

DYNAMIC_CONFIGURATION = "dynamic_configuration"
"""The name that a node's own one is registered under."""


class ConfigurationError(BridgeError):
    """The engine has not done what it was asked for; the text says why."""


def get(
    client: Client,
    key: str,
    default: Any = None,
    configuration: Any = DYNAMIC_CONFIGURATION,
    timeout_s: float | None = 5.0,
) -> Any:
    """The value of `key`, a term; `default` where it has none.

    Raises:
        ConfigurationError: it cannot be told. ErlangExit: no answer, and why.
    """
    reply = ask(client, configuration, GetDynamicConfigRequest(key), timeout_s)
    if reply.error is not None:
        raise ConfigurationError(reply.error)
    return reply.value if reply.found else default


def put(
    client: Client, key: str, value: Any, configuration: Any = DYNAMIC_CONFIGURATION, timeout_s: float | None = 5.0
) -> None:
    """Give `key` the value, a term.

    Raises:
        ConfigurationError: it is not stored. ErlangExit: no answer, and why.
    """
    reply = ask(client, configuration, SetDynamicConfigRequest(key, value), timeout_s)
    if not reply.success:
        raise ConfigurationError(reply.error)


def delete(client: Client, key: str, configuration: Any = DYNAMIC_CONFIGURATION, timeout_s: float | None = 5.0) -> bool:
    """Take the value of `key` away. False: it had none.

    Raises:
        ConfigurationError: it is not deleted. ErlangExit: no answer, and why.
    """
    reply = ask(client, configuration, DeleteDynamicConfigRequest(key), timeout_s)
    if not reply.success and reply.error != NO_SUCH_KEY:
        raise ConfigurationError(reply.error)
    success: bool = reply.success
    return success


def subscribe(own: OwnProcess, key: str, configuration: Any = DYNAMIC_CONFIGURATION, *, prefix: bool = False) -> None:
    """Have the calling process sent an envelope with `DynamicConfigChanged` for every change, until it ends.

    Args:
        prefix: changes of all keys that begin with `key`.
    """
    ask(own, configuration, SubscribeDynamicConfigRequest(key, prefix))


def unsubscribe(own: OwnProcess, key: str, configuration: Any = DYNAMIC_CONFIGURATION, *, prefix: bool = False) -> bool:
    """Take a subscription of the calling process back. False: there was none."""
    success: bool = ask(own, configuration, UnsubscribeDynamicConfigRequest(key, prefix)).success
    return success


class DynamicConfiguration(Engine):
    """Keeps settings that change while the node runs."""

    engine = BEHAVIOUR
    apart = ledger.KINDS

    def perform(self, operation: Any, own: OwnProcess) -> Message:
        return ledger.perform(operation, own)
