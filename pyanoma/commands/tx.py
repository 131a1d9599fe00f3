"""``pyanoma tx``: submit transactions to a node, and see what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import monotonic
from typing import Any

import click

from engines.mempool_worker.messages import Stage, TransactionCandidate, TransactionLabel, TransactionStatus
from engines.mempool_worker.server import WORKER, transaction_status
from engines.mempool_worker.server import submit as submit_to
from erlang_bridge import Atom, Node
from erlang_bridge.terms.text import parse_term
from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, json_option, node_argument, timeout_option
from pyanoma.failures import ExitCode, NotInTime
from pyanoma.output import print_json
from pyanoma.transactions import following, status_json, status_text


@click.group()
def tx() -> None:
    """Transactions: submit them, and see what becomes of them."""


def keys_option(flag: str, text: str) -> Callable[[Any], Any]:
    """A flag that takes keys."""
    return click.option(flag, multiple=True, type=parse_term, metavar="KEY", help=f"{text} Repeatable.")


@tx.command()
@node_argument
@click.option(
    "--program", metavar="NAME", help="A program that the node knows: put, add, transfer, copy, swap, read .."
)
@click.option("--args", "arguments", type=parse_term, default="[]", metavar="TERM", help="Its arguments, a list.")
@click.option(
    "--nock", type=parse_term, metavar="TERM", help="A program in Nock: a noun, or a binary that is one jammed."
)
@click.option("--executable", type=parse_term, metavar="TERM", help="Any executable, such as {nockma, Noun}.")
@keys_option("--read", "A key that it reads.")
@keys_option("--write", "A key that it writes.")
@keys_option("--lazy-read", "A key that it may read.")
@keys_option("--may-write", "A key that it may write.")
@click.option("--id", "own_id", metavar="TEXT", help="Your own name for it: sent twice, it is still one transaction.")
@click.option("--wait/--no-wait", default=True, help="Wait until it is in a block (the default); or only accepted.")
@cookie_option
@timeout_option("Time to connect, for the answer, and for the block, in seconds each.")
@json_option
def submit(
    node: str,
    program: str | None,
    arguments: Any,
    nock: Any,
    executable: Any,
    read: tuple[Any, ...],
    write: tuple[Any, ...],
    lazy_read: tuple[Any, ...],
    may_write: tuple[Any, ...],
    own_id: str | None,
    wait: bool,
    cookie: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Have NODE order and run a transaction.

    What it touches has to be said beforehand: keys and values are terms in Erlang's syntax.

    \b
      pyanoma tx submit NODE --program put --args '[{apples, 3}]' --write apples
      pyanoma tx submit NODE --program transfer --args '[apples, pears, 2]' \\
          --read apples --read pears --write apples --write pears

    Exits with 1 where it is refused, or has failed; 6: it is not in a block in time (it may be later: see tx status).
    """
    chosen = [what for what in (program, nock, executable) if what is not None]
    if len(chosen) != 1:
        raise click.UsageError("expected one of --program, --nock and --executable")
    if program is not None:
        executable = (Atom("python"), Atom(program), arguments)
    elif nock is not None:
        executable = (Atom("nock"), nock)
    label = TransactionLabel(read, write, lazy_read, may_write)
    candidate = TransactionCandidate(label, executable, None if own_id is None else own_id.encode())
    with connected(node, cookie, timeout_s) as client:
        ack = submit_to(client, candidate, (WORKER, node), timeout_s)
        if not wait:
            told = {"fingerprint": ack.fingerprint, "resubmitted": ack.resubmitted, "hash": ack.tx_hash.hex()}
            again = ", as before" if ack.resubmitted else ""
            click.echo(json.dumps(told) if as_json else f"{ack.fingerprint} accepted{again}")
            return
        if not as_json:
            click.echo(f"{ack.fingerprint} accepted")
        last = _until_committed(client, node, ack.fingerprint, timeout_s, quiet=as_json)
    if as_json:
        print_json(status_json(last))
    if not last.success:
        click.get_current_context().exit(ExitCode.FAILED)


def _until_committed(client: Node, node: str, fingerprint: int, timeout_s: float, *, quiet: bool) -> TransactionStatus:
    deadline = monotonic() + timeout_s
    seen = Stage.ACCEPTED
    with following(client, node, fingerprint) as follower:
        while (left_s := deadline - monotonic()) > 0:
            status = follower.next(left_s)
            if status is None:
                break
            if status.stage is not seen and not quiet:
                click.echo(status_text(status))
            seen = status.stage
            if status.stage is Stage.COMMITTED:
                return status
    raise NotInTime(f"transaction {fingerprint} is in no block of {node} within {timeout_s:g} s; it is {seen.value}")


@tx.command()
@node_argument
@click.argument("fingerprint", type=click.IntRange(min=1), required=False)
@click.option("--id", "own_id", metavar="TEXT", help="Your own name for it, instead of the fingerprint.")
@cookie_option
@timeout_option()
@json_option
def status(
    node: str, fingerprint: int | None, own_id: str | None, cookie: str | None, timeout_s: float, as_json: bool
) -> None:
    """Tell what has become of the transaction with FINGERPRINT.

    Exits with 1 where NODE knows of none.
    """
    if (fingerprint is None) == (own_id is None):
        raise click.UsageError("expected a fingerprint, or --id")
    with connected(node, cookie, timeout_s) as client:
        id_bytes = None if own_id is None else own_id.encode()
        found = transaction_status(client, fingerprint, id_bytes, (WORKER, node), timeout_s)
    if as_json:
        print_json(status_json(found))
    else:
        click.echo(status_text(found))
    if found.stage is Stage.UNKNOWN:
        click.get_current_context().exit(ExitCode.FAILED)


@tx.command()
@node_argument
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many transactions are in blocks.")
@click.option("--for", "for_s", type=click.FloatRange(min=0), metavar="SECONDS", help="End after so long.")
@cookie_option
@timeout_option("Time to connect, in seconds.")
@json_option
def watch(
    node: str, count: int | None, for_s: float | None, cookie: str | None, timeout_s: float, as_json: bool
) -> None:
    """Show all transactions of NODE as they are accepted, run, and put into blocks. With --json, one object a line."""
    with connected(node, cookie, timeout_s) as client, following(client, node) as follower:
        deadline = None if for_s is None else monotonic() + for_s
        committed = 0
        while count is None or committed < count:
            left_s = None if deadline is None else deadline - monotonic()
            if left_s is not None and left_s <= 0:
                break
            told = follower.next(left_s)
            if told is None:
                break
            committed += told.stage is Stage.COMMITTED
            click.echo(json.dumps(status_json(told)) if as_json else status_text(told))
