"""``pyanoma tree``: the layout of a node's processes."""

from __future__ import annotations

from pathlib import Path

import click

from pyanoma.client import connected
from pyanoma.commands.options import cookie_option, json_option, node_argument, timeout_option
from pyanoma.inspection.processes import Reader, answered_within
from pyanoma.inspection.tree_svg import svg
from pyanoma.inspection.tree_text import as_json as trees_as_json
from pyanoma.inspection.tree_text import count_text, drawn
from pyanoma.inspection.trees import MOST_PROCESSES, SUPERVISORS, read_trees
from pyanoma.output import print_json, wide_console


@click.command()
@node_argument
@click.option("--app", metavar="NAME", help="This application only.")
@click.option(
    "--svg", "svg_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Draw into an SVG file."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=MOST_PROCESSES,
    show_default=True,
    help="Show at most so many processes of an application, those nearest to its root.",
)
@cookie_option
@timeout_option()
@json_option
def tree(
    node: str, app: str | None, svg_file: Path | None, limit: int, cookie: str | None, timeout_s: float, as_json: bool
) -> None:
    """Draw the applications of NODE, a Python node or a BEAM: supervisors, engines, links, queues.

    A process that has a ~ behind it is linked with what follows, beside its parent and children.

    Exits with 1 where there is no application NAME, or FILE cannot be written.
    """
    with connected(node, cookie, timeout_s) as client:
        reader = Reader(client, node, timeout_s)
        with answered_within(timeout_s, f"the applications of {node}"):
            trees = read_trees(reader, app, limit)
    if svg_file is not None:
        try:
            svg_file.write_text(svg(trees), encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"--svg: cannot write {svg_file}: {error.strerror}") from None
    if as_json:
        print_json(trees_as_json(trees))
        return
    processes = sum(len(found.parents) for found in trees.trees)
    said = f"{count_text(len(trees.trees), 'application')} with {processes:,} processes on {node}"
    if svg_file is not None:
        click.echo(f"{svg_file}: {said}")
        return
    screen = wide_console()
    for found in trees.trees:
        screen.print(drawn(trees, found))
    if trees.source == SUPERVISORS:
        said += ", as its supervisors tell: without runtime_tools there, what is only linked is not shown"
    click.echo(said)
