"""The Shard as a process, and what others call to use it."""

from __future__ import annotations

from typing import Any

from engines.engine import Client, Engine, ask
from engines.shard.behaviour import BEHAVIOUR
from engines.shard.messages import ShardStatusReply, ShardStatusRequest


def status(client: Client, shard: Any, timeout_s: float | None = 5.0) -> ShardStatusReply:
    """How much a shard has.

    Args:
        shard: its name on the client's node, an `EngineID`, a pid, or ``(name, node)``.

    Raises:
        ErlangExit: no answer, and why: `NoProcess`, `NoConnection`, `CallTimeout`.
    """
    reply: ShardStatusReply = ask(client, shard, ShardStatusRequest(), timeout_s)
    return reply


class Shard(Engine):
    """Keeps the versions of some keys, and serves reads."""

    engine = BEHAVIOUR
