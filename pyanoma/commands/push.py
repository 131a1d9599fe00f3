"""``pyanoma push``: load ``pyanoma_sup`` into a running BEAM."""

from __future__ import annotations

import click

from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, node_argument, timeout_option


@click.command()
@node_argument
@click.option(
    "--compile-on",
    metavar="NODE",
    help="Another BEAM that compiles it, not of a later release, where NODE has no compiler.",
)
@cookie_option
@timeout_option("Time to connect, and then for each of the calls that it takes, in seconds.")
def push(node: str, compile_on: str | None, cookie: str | None, timeout_s: float) -> None:
    """Load the Erlang module pyanoma_sup into NODE, compiled there; nothing is written to its disk.

    It has child specs that wait for a Python node that is down, and that start one.
    """
    with connected(node, cookie, timeout_s) as client:
        loaded = client.push_pyanoma_sup(node, compile_on=compile_on, timeout_s=timeout_s)
    click.echo(f"pyanoma_sup {'loaded into' if loaded else 'is already in'} {node}")
