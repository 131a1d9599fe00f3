"""``pyanoma doctor``: what is wrong with epmd, cookie, names, reachability, in words."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Final

import click

from pyanoma.commands.options import cookie_option, json_option, timeout_option
from pyanoma.diagnosis import Check, State, examine
from pyanoma.failures import ExitCode
from pyanoma.output import console, print_json, table

_SHOWN: Final = {State.OK: "[green]ok[/]", State.NOTE: "[yellow]note[/]", State.PROBLEM: "[red]PROBLEM[/]"}


@click.command()
@click.argument("node", required=False)
@click.option("--name", metavar="NAME@HOST", help="Also check this name for a node of ours. Default: PYANOMA_NAME.")
@cookie_option
@timeout_option("Time for each step of reaching NODE, in seconds.")
@json_option
@click.pass_context
def doctor(
    ctx: click.Context, node: str | None, name: str | None, cookie: str | None, timeout_s: float, as_json: bool
) -> None:
    """Check this machine, and whether NODE can be reached from it. Each problem comes with its remedy.

    Exits with 1 if there is a problem.
    """
    checks = examine(node, name or os.environ.get("PYANOMA_NAME") or None, cookie, os.environ, timeout_s)
    problems = sum(check.state is State.PROBLEM for check in checks)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        _print(checks, problems)
    ctx.exit(ExitCode.FAILED if problems else ExitCode.OK)


def _print(checks: list[Check], problems: int) -> None:
    shown = table("check", "", "found")
    for check in checks:
        remedy = f"\n[bold]→ {_escaped(check.remedy)}[/]" if check.remedy else ""
        shown.add_row(check.subject, _SHOWN[check.state], _escaped(check.found) + remedy)
    console().print(shown)
    click.echo("no problem found" if not problems else "1 problem" if problems == 1 else f"{problems} problems")


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
