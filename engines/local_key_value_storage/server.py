"""The Local Key-Value Storage as a process, and what others call to use it.

From Erlang::

    Storage = {local_key_value_storage, 'py@127.0.0.1'},
    {set_value_reply, #{success := true}} =
        gen_server:call(Storage, {set_value_request, #{key => <<"k">>, value => <<"v">>}}),
    {get_value_reply, #{value := <<"v">>}} = gen_server:call(Storage, {get_value_request, #{key => <<"k">>}}).
"""

from __future__ import annotations

from typing import Any

from engines.engine import Client, Engine, ask
from engines.keeping import ledger
from engines.local_key_value_storage.behaviour import BEHAVIOUR
from engines.local_key_value_storage.messages import (
    NO_SUCH_KEY,
    DeleteValueRequest,
    GetValueRequest,
    SetValueRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)
from engines.messages import Message
from erlang_bridge import BridgeError, OwnProcess

LOCAL_KEY_VALUE_STORAGE = "local_key_value_storage"
"""The name that a node's own one is registered under."""


class StorageError(BridgeError):
    """The storage has not done what it was asked for; the text says why."""


def get(client: Client, key: str, storage: Any = LOCAL_KEY_VALUE_STORAGE, timeout_s: float | None = 5.0) -> str | None:
    """The value of `key`; None: it has none.

    Raises:
        StorageError: it cannot be told. ErlangExit: no answer, and why.
    """
    reply = ask(client, storage, GetValueRequest(key), timeout_s)
    if reply.error is not None:
        raise StorageError(reply.error)
    value: str | None = reply.value
    return value


def put(
    client: Client, key: str, value: str, storage: Any = LOCAL_KEY_VALUE_STORAGE, timeout_s: float | None = 5.0
) -> None:
    """Give `key` the value. When it returns, the value lasts as long as the storage's settings have it.

    Raises:
        StorageError: it is not stored. ErlangExit: no answer, and why.
    """
    reply = ask(client, storage, SetValueRequest(key, value), timeout_s)
    if not reply.success:
        raise StorageError(reply.error)


def delete(client: Client, key: str, storage: Any = LOCAL_KEY_VALUE_STORAGE, timeout_s: float | None = 5.0) -> bool:
    """Take the value of `key` away. False: it had none.

    Raises:
        StorageError: it is not deleted. ErlangExit: no answer, and why.
    """
    reply = ask(client, storage, DeleteValueRequest(key), timeout_s)
    if not reply.success and reply.error != NO_SUCH_KEY:
        raise StorageError(reply.error)
    success: bool = reply.success
    return success


def subscribe(own: OwnProcess, key: str, storage: Any = LOCAL_KEY_VALUE_STORAGE, *, prefix: bool = False) -> None:
    """Have the calling process sent an envelope with `ValueChanged` for every change, until it ends.

    Args:
        prefix: changes of all keys that begin with `key`.
    """
    ask(own, storage, SubscribeRequest(key, prefix))


def unsubscribe(own: OwnProcess, key: str, storage: Any = LOCAL_KEY_VALUE_STORAGE, *, prefix: bool = False) -> bool:
    """Take a subscription of the calling process back. False: there was none."""
    success: bool = ask(own, storage, UnsubscribeRequest(key, prefix)).success
    return success


class LocalKeyValueStorage(Engine):
    """Keeps texts under keys."""

    engine = BEHAVIOUR
    apart = ledger.KINDS

    def perform(self, operation: Any, own: OwnProcess) -> Message:
        return ledger.perform(operation, own)
