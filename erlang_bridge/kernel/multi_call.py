"""One request to the servers of one name on many nodes, and the process on whose behalf it is made.

Source: OTP ``lib/stdlib/src/gen_server.erl``, ``multi_call/3``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from erlang_bridge.otp.gen import GEN_CALL, PendingCall
from erlang_bridge.process import PENDING, Process, ProcessTable
from erlang_bridge.process.exit_rules import NORMAL
from erlang_bridge.terms import Atom


@contextmanager
def calling_process(table: ProcessTable) -> Iterator[Process]:
    """The running process; in a greenlet that is none, a guest that ends with the block."""
    process = table.current()
    if process is not None:
        yield process
        return
    guest = table.add_guest()
    try:
        yield guest
    finally:
        table.exit(guest, NORMAL)


def is_connected(node: Any, name: Atom) -> bool:
    """Whether the connection of `node` with the node `name` is up; true of `node` itself."""
    if name is node.name:
        return True
    channel = node.connections.peek(name)
    return channel is not None and channel.state == "up"


def multi_call(
    process: Process, nodes: Iterable[Atom], name: Atom, request: Any, *, connect: bool = True
) -> dict[Atom, Any]:
    """Call the servers `name` on all `nodes` at once, and wait for every one of them.

    There is no time limit of its own: a node that does not answer is given up when its connection is.

    Args:
        connect: with those that are not connected; False leaves them out.

    Returns:
        Node to reply; nodes that cannot be reached, or have no such server, are left out.

    Raises:
        EtfEncodeError: the request has no term.
    """
    process.check_alive()
    ours = process.table.node_name
    if not connect:
        nodes = [node for node in nodes if is_connected(process.table.node, node)]
    calls: list[tuple[Atom, PendingCall]] = []
    try:
        for node in dict.fromkeys(nodes):
            pending = PendingCall(process)
            calls.append((node, pending))
            pending.start(name if node is ours else (name, node), GEN_CALL, request)
        for _, pending in calls:
            pending.wait()
    finally:
        for _, pending in calls:
            pending.finish()
    return {node: pending.result[0] for node, pending in calls if pending.failure is PENDING}
