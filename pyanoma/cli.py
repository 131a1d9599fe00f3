"""The command line. Each command is a module of `commands`."""

from __future__ import annotations

import click

from erlang_bridge import __version__
from pyanoma.commands.call import call
from pyanoma.commands.demo import demo
from pyanoma.commands.doctor import doctor
from pyanoma.commands.ping import ping
from pyanoma.commands.ps import ps
from pyanoma.commands.start import start
from pyanoma.failures import EPILOG, ReportingGroup


@click.group(cls=ReportingGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.version_option(__version__, prog_name="pyanoma")
def pyanoma() -> None:
    """Python processes as citizens of an Erlang cluster."""


for _command in (start, demo, ping, call, ps, doctor):
    pyanoma.add_command(_command)
