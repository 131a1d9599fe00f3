"""The command line. Each command is a module of `commands`, imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

from erlang_bridge import __version__
from pyanoma.failures import EPILOG, ReportingGroup

COMMANDS: Final = (
    "start",
    "demo",
    "ping",
    "call",
    "ps",
    "tree",
    "info",
    "tx",
    "block",
    "intent",
    "storage",
    "shell",
    "trace",
    "reload",
    "push",
    "doctor",
)
"""In the order of the help. Each is the function of that name in the module of that name."""


class CommandModules(ReportingGroup):
    """The commands of `COMMANDS`: a node need not have in memory what only the demo uses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"pyanoma.commands.{cmd_name}"), cmd_name)
        return command


@click.group(cls=CommandModules, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.version_option(__version__, prog_name="pyanoma")
def pyanoma() -> None:
    """Python processes as citizens of an Erlang cluster."""
