"""``pyanoma start``: run a node until it is told to end."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click
import gevent
import gevent.event

from pyanoma import application, memory, standard_input
from pyanoma.config import load_config
from pyanoma.failures import TreeEnded
from pyanoma.log_setup import LEVELS, set_up_logging


@click.command()
@click.option("--name", metavar="NAME@HOST", help="Full node name, such as py@127.0.0.1.")
@click.option("--cookie", metavar="COOKIE", help="The cluster's cookie. Default: RELEASE_COOKIE, ~/.erlang.cookie.")
@click.option("--hidden/--visible", default=None, help="Stay out of nodes() and of global; or not (the default).")
@click.option(
    "--connect", multiple=True, metavar="NODE", help="Connect with this node, and stay connected. Repeatable."
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="NAME=MODULE:CLASS",
    help="A server that others may start here with pyanoma:start_link(NAME, Args). Repeatable.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Configuration file. Default: PYANOMA_CONFIG.",
)
@click.option("--listen", metavar="ADDRESS", help="Address to listen on. Default: 127.0.0.1.")
@click.option("--ports", metavar="FIRST-LAST", help="Port to listen on, or a range to choose from. Default: any.")
@click.option("--epmd-port", metavar="PORT", help="Where epmd listens. Default: ERL_EPMD_PORT, 4369.")
@click.option(
    "--embedded-epmd/--no-embedded-epmd",
    default=None,
    help="Run an epmd in this node if none answers (the default); or not.",
)
@click.option(
    "--net-ticktime",
    metavar="SECONDS",
    help="After so long without a sign a node is dead; the same on all nodes. Default: 60.",
)
@click.option("--setup-time", metavar="SECONDS", help="Time for each step of connecting. Default: 7.")
@click.option("--allow", multiple=True, metavar="NODE|HOST", help="Only these may connect. Repeatable.")
@click.option(
    "--shell/--no-shell",
    default=None,
    help="Let others open a Python shell in this node (pyanoma shell, erl -remsh); or not (the default).",
)
@click.option(
    "--reload/--no-reload",
    default=None,
    help="Load modules again when their files change, for running processes; or not (the default).",
)
@click.option(
    "--program",
    "programs",
    multiple=True,
    metavar="NAME=MODULE:NAME",
    help="A program that transactions may name. Repeatable.",
)
@click.option(
    "--storage",
    metavar="sqlite|mnesia|memory",
    help="Where blocks and pending transactions are kept. Default: sqlite; memory forgets them.",
)
@click.option(
    "--storage-path",
    metavar="FILE",
    help="The SQLite file. Default: ~/.local/share/pyanoma/NAME@HOST.sqlite.",
)
@click.option(
    "--exit-with-stdin",
    is_flag=True,
    help="End when standard input ends: when the program that started this one has gone.",
)
@click.option("--log-level", metavar="LEVEL", help=f"{', '.join(LEVELS)}. Default: info.")
def start(config: Path | None, exit_with_stdin: bool, **flags: Any) -> None:
    """Run a node.

    Prints one line that begins with READY on standard output when it can be reached; logs go to standard error. On
    SIGTERM or SIGINT it stops its supervision tree in order and exits with 0. Should the tree end by itself, it exits
    with 1.

    Each flag is also a key of the configuration file and an environment variable: --net-ticktime is net_ticktime and
    PYANOMA_NET_TICKTIME. (--engine is engines and PYANOMA_ENGINES, with commas between several.) Flags come before
    the environment, and that before the file.
    """
    # Engines named on the command line are looked for where it was typed, as `python -m` does.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    flags["storage.backend"], flags["storage.path"] = flags.pop("storage"), flags.pop("storage_path")
    told_to_end = gevent.event.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, told_to_end.set)
    if exit_with_stdin:
        standard_input.call_at_end(told_to_end.set)
    settings = load_config(config, os.environ, flags)
    set_up_logging(settings.name, settings.log_level)
    memory.keep_freed_memory()
    running = application.start(settings)
    try:
        memory.settle()
        node = running.node
        port = node.registration.entry.port if node.registration is not None else 0
        ledger = settings.storage.path or settings.storage.backend
        ready = f"READY {node.name} pid={os.getpid()} port={port} ledger={ledger}"
        own = f" engines={','.join(sorted(settings.engines))}" if settings.engines else ""
        click.echo(ready + own)
        gevent.wait([told_to_end, running.ended], count=1)
        if running.ended.is_set():
            raise TreeEnded(running.reason)
    finally:
        running.stop()
