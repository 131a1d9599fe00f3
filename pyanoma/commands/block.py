"""``pyanoma block``: the blocks of a node."""

from __future__ import annotations

import click

from engines.ledger.server import LEDGER
from engines.ledger.server import block as block_of
from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, json_option, node_argument, timeout_option
from pyanoma.failures import ExitCode
from pyanoma.output import console, print_json, table
from pyanoma.transactions import block_json, error_text, pairs_text


@click.group()
def block() -> None:
    """Blocks: what is final."""


@block.command()
@node_argument
@click.argument("round_number", metavar="[ROUND]", type=click.IntRange(min=1), required=False)
@cookie_option
@timeout_option()
@json_option
def show(node: str, round_number: int | None, cookie: str | None, timeout_s: float, as_json: bool) -> None:
    """Show the block of that ROUND, or the last one.

    Exits with 1 where NODE has no such block.
    """
    with connected(node, cookie, timeout_s) as client:
        found = block_of(client, round_number or 0, (LEDGER, node), timeout_s)
    if found is None:
        what = f"no block {round_number}" if round_number else "no block yet"
        click.echo(f"{node} has {what}", err=True)
        click.get_current_context().exit(ExitCode.FAILED)
    if as_json:
        print_json(block_json(found))
        return
    click.echo(f"block {found.round}: transactions {found.first} to {found.last}")
    click.echo(f"hash {found.hash.hex()}, after {found.previous_hash.hex()}")
    shown = table("transaction", "outcome", "read", "written", right=("transaction",))
    for each in found.transactions:
        outcome = "done" if each.success else f"failed: {error_text(each.error)}"
        cells = (str(each.fingerprint), outcome, pairs_text(each.reads), pairs_text(each.writes))
        shown.add_row(*(cell.replace("[", r"\[") for cell in cells))
    console().print(shown)
