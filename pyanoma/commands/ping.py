"""``pyanoma ping``: is a node there, and does it let us in?"""

from __future__ import annotations

from time import monotonic

import click

from erlang_bridge import Atom, BridgeError, Node
from erlang_bridge.errors import HandshakeError
from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, json_option, node_argument, timeout_option
from pyanoma.failures import exit_code, in_words
from pyanoma.output import print_json


def ask(node: Node, target: str, timeout_s: float) -> None:
    """What ``net_adm:ping`` asks a node that is connected.

    Raises:
        HandshakeError: it answers, and not ``yes``.
    """
    answer = node.call(("net_kernel", target), (Atom("is_auth"), node.name), timeout_s)
    if answer is not Atom("yes"):
        raise HandshakeError(target, f"its net_kernel says {answer}")


@click.command()
@node_argument
@cookie_option
@timeout_option()
@json_option
@click.pass_context
def ping(ctx: click.Context, node: str, cookie: str | None, timeout_s: float, as_json: bool) -> None:
    """Connect with NODE and ask whether it knows us: pong, or pang and the reason.

    Exits with 0 for pong; 3: it cannot be reached; 4: it refuses (wrong cookie, not allowed); 6: no answer in time.
    """
    started = monotonic()
    try:
        with connected(node, cookie, timeout_s) as client:
            connected_at = monotonic()
            ask(client, node, timeout_s)
            answered_at = monotonic()
    except BridgeError as error:
        if as_json:
            print_json({"node": node, "answer": "pang", "reason": in_words(error)})
        else:
            click.echo(f"pang {node}: {in_words(error)}")
        ctx.exit(exit_code(error))
    connect_ms, answer_ms = (connected_at - started) * 1000, (answered_at - connected_at) * 1000
    if as_json:
        print_json(
            {"node": node, "answer": "pong", "connect_ms": round(connect_ms, 2), "answer_ms": round(answer_ms, 2)}
        )
    else:
        click.echo(f"pong {node}: connected in {connect_ms:.1f} ms, answered in {answer_ms:.1f} ms")
