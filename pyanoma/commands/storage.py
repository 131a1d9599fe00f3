"""``pyanoma storage``: the file that a node's ledger is kept in, while no node has it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import IO, Any, Final, NoReturn, Self

import click

from engines.ledger.errors import BadExport, LedgerError, NoLedger, NotALedger, NotEmpty, StoreLocked
from engines.ledger.records import Heights
from engines.ledger.sqlite_store import SqliteStore
from pyanoma.commands.options import json_option
from pyanoma.failures import ExitCode, in_words
from pyanoma.output import print_json

OWNER: Final = "the command `pyanoma storage`"
STANDARD: Final = "-"
"""Instead of the name of a file: standard output, or input."""

_EVERY_S: Final = 0.1

_CODES: Final[tuple[tuple[type[LedgerError], ExitCode], ...]] = (
    (StoreLocked, ExitCode.REFUSED),
    (NoLedger, ExitCode.USAGE),
    (NotALedger, ExitCode.USAGE),
    (NotEmpty, ExitCode.USAGE),
    (BadExport, ExitCode.FAILED),
)
"""The first class that fits counts; 1 for others."""

path_argument = click.argument("path", type=click.Path(path_type=Path))


@click.group()
def storage() -> None:
    """Check, write out and read in the file of a ledger: storage.path of a node's configuration.

    No node may run with it meanwhile. Exits with 4 where one does, with 2 where PATH is no ledger.
    """


@storage.command()
@path_argument
@json_option
@click.pass_context
def verify(ctx: click.Context, path: Path, as_json: bool) -> None:
    """Check everything in the ledger PATH against everything else.

    The chain of blocks, their hashes, dense heights, whole blocks, versions as the blocks have written them, and what
    waits to be executed. Says what is wrong, a line each, and exits with 1 where something is.
    """
    findings = []
    with (
        _reported(ctx, as_json),
        SqliteStore(path, owner=OWNER, create=False) as store,
        _Progress("checked") as progress,
    ):
        for finding in store.verify(progress):
            findings.append(finding)
            if not as_json:
                progress.clear()
                click.echo(f"{finding.kind}: {finding.where}: {finding.text}")
        heights = Heights() if findings else store.heights()
    if as_json:
        told = [asdict(finding) for finding in findings]
        print_json({"path": str(path), "ok": not findings, "heights": _told(heights, findings), "findings": told})
    elif findings:
        click.echo(f"{path}: {_count(len(findings), 'finding')}; import an earlier export into a new file", err=True)
    else:
        click.echo(f"{path}: {_extent(heights)}: all is well")
    if findings:
        ctx.exit(ExitCode.FAILED)


@storage.command()
@path_argument
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--force", is_flag=True, help="Write over FILE where it is there.")
@json_option
@click.pass_context
def export(ctx: click.Context, path: Path, file: Path, force: bool, as_json: bool) -> None:
    """Write the ledger PATH to FILE, as lines of JSON with a checksum; - is standard output.

    FILE is there when all of it is written, and not before. It has all of the ledger: blocks, what waits to be
    executed, tables. docs/storage.md describes it.
    """
    standard = str(file) == STANDARD
    if not standard and file.exists() and not force:
        raise click.UsageError(f"{file} is there already; choose another name, or write over it with --force")
    with (
        _reported(ctx, as_json),
        SqliteStore(path, owner=OWNER, create=False) as store,
        _Progress("written") as progress,
    ):
        heights = store.heights()
        if standard:
            lines = store.export(sys.stdout.buffer, progress)
            sys.stdout.buffer.flush()
        else:
            with _whole(file) as stream:
                lines = store.export(stream, progress)
    if as_json and not standard:
        print_json({"path": str(path), "file": str(file), "lines": lines, "heights": asdict(heights)})
    else:
        click.echo(f"{file}: {_extent(heights)}, {_count(lines, 'line')}", err=standard)


@storage.command(name="import")
@path_argument
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@json_option
@click.pass_context
def import_(ctx: click.Context, path: Path, file: Path, as_json: bool) -> None:
    """Make the ledger PATH of what was exported to FILE; - is standard input.

    PATH must not be there, or be an empty ledger. What is read is checked: where FILE is broken, was changed, or is
    something else, nothing is imported.
    """
    is_new = not path.exists()
    try:
        with (
            _reported(ctx, as_json),
            _source(file) as stream,
            _Progress("read") as progress,
            _opened(path, create=True) as store,
        ):
            heights = store.import_(stream, progress)
    except BaseException:
        if is_new:
            for left in (path, *(Path(f"{path}{end}") for end in ("-wal", "-shm", ".lock"))):
                with suppress(OSError):
                    left.unlink()
        raise
    if as_json:
        print_json({"path": str(path), "file": str(file), "heights": asdict(heights)})
    else:
        click.echo(f"{path}: {_extent(heights)}")


# -- pieces -----------------------------------------------------------------------------------


def _opened(path: Path, *, create: bool = False) -> SqliteStore:
    return SqliteStore(path, owner=OWNER, create=create)


@contextmanager
def _reported(ctx: click.Context, as_json: bool) -> Iterator[None]:
    """What goes wrong ends the command: in words, or as JSON, and with its exit code."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (LedgerError, OSError) as error:
        _end(ctx, error, as_json)


def _end(ctx: click.Context, error: Exception, as_json: bool) -> NoReturn:
    code = next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)
    if as_json:
        print_json({"error": type(error).__name__, "reason": in_words(error)})
    else:
        click.echo(f"pyanoma storage {ctx.info_name}: {in_words(error)}", err=True)
    ctx.exit(code)


@contextmanager
def _whole(file: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when all of it is on the disk."""
    part = Path(f"{file}.part")
    try:
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


@contextmanager
def _source(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == STANDARD:
        yield sys.stdin.buffer
    else:
        with file.open("rb") as stream:
            yield stream


class _Progress:
    """One line on the terminal that says how far it is; nothing where standard error is none."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._shown = sys.stderr.isatty()
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.clear()

    def __call__(self, count: int, of: int) -> None:
        if self._shown and monotonic() >= self._next:
            self._next = monotonic() + _EVERY_S
            total = f" of {of:,}" if of else ""
            click.echo(f"\r{count:,}{total} blocks {self._done}", nl=False, err=True)

    def clear(self) -> None:
        if self._shown and self._next:
            click.echo("\r\x1b[K", nl=False, err=True)


def _told(heights: Heights, findings: list[Any]) -> dict[str, int] | None:
    return None if findings else asdict(heights)


def _extent(heights: Heights) -> str:
    return (
        f"{_count(heights.next_round - 1, 'block')}, {_count(heights.committed, 'transaction')}, "
        f"{heights.pending:,} pending"
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
