"""``pyanoma call``: one ``gen_server:call`` or ``cast``."""

from __future__ import annotations

import click

from erlang_bridge import ErlangExit
from erlang_bridge.terms.text import format_term, parse_term
from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, json_option, node_argument, timeout_option
from pyanoma.commands.ping import ask
from pyanoma.output import print_json


# A term may begin with a minus, as options do.
@click.command(context_settings={"ignore_unknown_options": True})
@node_argument
@click.argument("name")
@click.argument("term")
@click.option("--cast", is_flag=True, help="Send without waiting for a reply (gen_server:cast).")
@cookie_option
@timeout_option()
@json_option
def call(node: str, name: str, term: str, cast: bool, cookie: str | None, timeout_s: float, as_json: bool) -> None:
    """Call the server registered as NAME on NODE with TERM, and print its reply.

    TERM is in Erlang's syntax: 'count', '{add, 5}', '#{key => <<"value">>}'. Elixir's names are written in full:
    Elixir.MyApp.Server.

    Exits with 1 where there is no such process, or it ended during the call; 6: no reply in time. A cast is
    not answered, so nothing tells whether there is such a process.
    """
    request = parse_term(term)
    with connected(node, cookie, timeout_s) as client:
        if cast:
            client.cast((name, node), request)
            # Signals between two nodes keep their order: once this is answered, the cast is there.
            ask(client, node, timeout_s)
            reply = "ok"
        else:
            try:
                reply = format_term(client.call((name, node), request, timeout_s))
            except ErlangExit as error:
                error.call = f"{name} on {node}"
                raise
    if as_json:
        print_json({"node": node, "name": name, "reply": reply})
    else:
        click.echo(reply)
