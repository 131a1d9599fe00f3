"""``pyanoma intent``: give intents to a node's pool, take them back, and see what is there."""

from __future__ import annotations

from typing import TextIO

import click

from engines.intent_pool.server import INTENT_POOL, IntentNotAccepted, add_intent, all_intents, remove_intent
from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, json_option, node_argument, timeout_option
from pyanoma.failures import ExitCode
from pyanoma.intents import lines, read_intents, to_json
from pyanoma.output import console, print_json, table


@click.group()
def intent() -> None:
    """Intents: what somebody gives and wants, until the solver finds a match."""


# A DumbIntent may begin with a minus, as options do.
@intent.command(context_settings={"ignore_unknown_options": True})
@node_argument
@click.argument("intents", nargs=-1)
@click.option("--file", "source", type=click.File(), help="Read them from a file; - is standard input.")
@cookie_option
@timeout_option("Time to connect, and for the answer to each, in seconds.")
@json_option
def add(
    node: str, intents: tuple[str, ...], source: TextIO | None, cookie: str | None, timeout_s: float, as_json: bool
) -> None:
    """Give INTENTS to the pool of NODE.

    Each is JSON, or a term in Erlang's syntax; a file has one JSON document (an intent, or a list), or one term.

    \b
      pyanoma intent add NODE '{"gives": [{"label": "apples", "quantity": 3}], "wants": [{"label": "pears"}]}'
      pyanoma intent add NODE '{"choices": [{"lots": [{"value": -1}], "maximum": 10}]}'
      pyanoma intent add NODE "#{'__struct__' => 'Elixir.Anoma.RM.DumbIntent', value => 1}"

    What is given has to be there: a resource of the same label, quantity, data and nonce, or one that is "ephemeral".

    Exits with 1 where the pool refuses one; the others are kept.
    """
    texts = [*intents, *([source.read()] if source is not None else [])]
    if not texts:
        raise click.UsageError("expected intents, or --file")
    read = [one for text in texts for one in read_intents(text)]
    told: list[dict[str, int | str | None]] = []
    with connected(node, cookie, timeout_s) as client:
        for one in read:
            try:
                serial = add_intent(client, one, (INTENT_POOL, node), timeout_s)
                told.append({"serial": serial, "refused": None})
            except IntentNotAccepted as error:
                told.append({"serial": None, "refused": error.reason.value})
            if not as_json:
                last = told[-1]
                click.echo(f"refused: {last['refused']}" if last["serial"] is None else f"{last['serial']} accepted")
    if as_json:
        print_json(told)
    if any(one["serial"] is None for one in told):
        click.get_current_context().exit(ExitCode.FAILED)


@intent.command("list")
@node_argument
@cookie_option
@timeout_option()
@json_option
def list_(node: str, cookie: str | None, timeout_s: float, as_json: bool) -> None:
    """List the intents in the pool of NODE, oldest first."""
    with connected(node, cookie, timeout_s) as client:
        kept = all_intents(client, (INTENT_POOL, node), timeout_s)
    if as_json:
        print_json([to_json(serial, one) for serial, one in kept])
        return
    shown = table("#", "type", "gives and wants", right=("#",), whole=("#", "type"))
    for line in lines(kept):
        shown.add_row(*line)
    console().print(shown)


@intent.command()
@node_argument
@click.argument("serial", type=click.IntRange(min=1))
@cookie_option
@timeout_option()
@json_option
def remove(node: str, serial: int, cookie: str | None, timeout_s: float, as_json: bool) -> None:
    """Take the intent with this number out of the pool of NODE.

    Exits with 1 where there is none. What the solver has submitted already is not taken back.
    """
    with connected(node, cookie, timeout_s) as client:
        kept = dict(all_intents(client, (INTENT_POOL, node), timeout_s))
        removed = serial in kept and remove_intent(client, kept[serial], (INTENT_POOL, node), timeout_s)
    if as_json:
        print_json({"serial": serial, "removed": removed})
    else:
        click.echo(f"{serial} removed" if removed else f"there is no intent {serial}")
    if not removed:
        click.get_current_context().exit(ExitCode.FAILED)
