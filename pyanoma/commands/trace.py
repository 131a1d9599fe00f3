"""``pyanoma trace``: the messages between the processes of a node, for a while."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import gevent

from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, json_option, node_argument, timeout_option
from pyanoma.inspection.processes import Reader, answered_within
from pyanoma.inspection.sequence_page import page
from pyanoma.inspection.sequence_text import as_json as sequence_as_json
from pyanoma.inspection.sequence_text import lines_of
from pyanoma.inspection.tracing import Trace
from pyanoma.output import print_json, wide_console

MOST_MESSAGES: Final = 1000
_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0}


def _duration(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """``5s``, ``500ms``, ``2m``; a number alone is seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", value.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found is not None and found[2] in _UNITS else 0.0
    if not 0 < seconds <= 3600:
        raise click.BadParameter(f"{value!r} is no time of at most an hour, such as 5s, 500ms or 2m")
    return seconds


@click.command()
@node_argument
@click.argument("processes", nargs=-1, metavar="[PROCESS]...")
@click.option(
    "--for",
    "seconds",
    callback=_duration,
    default="5s",
    show_default=True,
    metavar="TIME",
    help="How long: 5s, 500ms, 2m.",
)
@click.option(
    "--max",
    "most",
    type=click.IntRange(min=1, max=100_000),
    default=MOST_MESSAGES,
    show_default=True,
    help="End it after so many messages.",
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw a sequence diagram into a page for a browser.",
)
@cookie_option
@timeout_option()
@json_option
def trace(
    node: str,
    processes: tuple[str, ...],
    seconds: float,
    most: int,
    html_file: Path | None,
    cookie: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Watch the messages between the processes of NODE, a Python node or a BEAM with runtime_tools.

    PROCESS is a registered name or a pid such as '<0.12.0>'. Without any, all are watched but those that every node
    has. Processes that these start meanwhile are watched, too. Nothing of it stays on the node; control-C ends it
    early and shows what there is.

    Exits with 1 where there is no such process, or FILE cannot be written.
    """
    if html_file is not None:
        _check(html_file)
    with connected(node, cookie, timeout_s) as client:
        reader = Reader(client, node, timeout_s)
        with answered_within(timeout_s, f"the processes of {node}"):
            pids = [reader.find(text) for text in processes]
        running = Trace(reader, pids, seconds, most)
        interrupted = gevent.signal_handler(signal.SIGINT, running.interrupt)
        try:
            sequence = running.run()
        finally:
            interrupted.cancel()
        names = running.names
    if html_file is not None:
        _write(html_file, page(sequence, names, node))
    if as_json:
        print_json(sequence_as_json(sequence, names, node))
        return
    said = f"{len(sequence.messages):,} messages in {sequence.seconds:.3f} s on {node}"
    if sequence.left_out:
        said += f"; {sequence.left_out:,} trace events were left out, they came too fast"
    if html_file is None:
        screen = wide_console()
        for line in lines_of(sequence, names):
            screen.print(line, markup=False)
        click.echo(said)
    else:
        click.echo(f"{html_file}: {said}")


def _check(file: Path) -> None:
    """Whether it can be written: before the trace, which would be lost."""
    is_new = not file.exists()
    with _written(file), file.open("a"):
        pass
    if is_new:
        file.unlink()


def _write(file: Path, text: str) -> None:
    with _written(file):
        file.write_text(text, encoding="utf-8")


@contextmanager
def _written(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"--html: cannot write {file}: {error.strerror}") from None
