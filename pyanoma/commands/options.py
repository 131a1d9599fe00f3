"""Flags that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pyanoma.client import DEFAULT_TIMEOUT_S

Command = TypeVar("Command", bound=Callable[..., Any])


def node_argument(command: Command) -> Command:
    """``NODE``, the node that a command is about."""
    return click.argument("node")(command)


def cookie_option(command: Command) -> Command:
    """``--cookie``."""
    text = "The cluster's cookie. Default: PYANOMA_COOKIE, RELEASE_COOKIE, ~/.erlang.cookie."
    return click.option("--cookie", metavar="COOKIE", help=text)(command)


def json_option(command: Command) -> Command:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def timeout_option(text: str = "Time to connect, and then for the answer, in seconds.") -> Callable[[Command], Command]:
    """``--timeout``."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        default=DEFAULT_TIMEOUT_S,
        show_default=True,
        metavar="SECONDS",
        help=text,
    )
