"""A real Elixir node under a test's control: `Beam` whose language is Elixir."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from erlang_bridge.testing import evaluator
from erlang_bridge.testing.beams import Beam
from erlang_bridge.testing.releases import BeamRelease, NoBeam, clean_of_erlang


@dataclass(frozen=True, slots=True)
class ElixirRelease:
    """An installed Elixir.

    Attributes:
        version: such as ``1.14.0``.
        elixir: the start script ``elixir``; ``iex`` lies beside it.
        beam: the Erlang/OTP that it runs on.
    """

    version: str
    elixir: Path
    beam: BeamRelease

    def __str__(self) -> str:
        return f"Elixir {self.version} on OTP {self.beam.otp}"


def find_elixir(releases: Iterable[BeamRelease], elixir: Path | None = None) -> ElixirRelease | None:
    """An Elixir, or None where there is none, or not the Erlang/OTP that it runs on.

    Args:
        releases: those found, see `find_releases`.
        elixir: its start script; by default the one on the PATH.

    Raises:
        NoBeam: it is there and does not run.
    """
    found = elixir or shutil.which("elixir")
    if found is None:
        return None
    try:
        answer = subprocess.run(
            [found, "-e", 'IO.write("#{System.version()} #{System.otp_release()}")'],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            env=clean_of_erlang(os.environ) | {"LC_ALL": "C.UTF-8"},
            check=True,
        )
        version, otp = answer.stdout.split()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise NoBeam(f"{found} does not run: {error} {getattr(error, 'stderr', '')}".rstrip()) from error
    beams = [release for release in releases if release.otp == int(otp)]
    return ElixirRelease(version, Path(found), beams[0]) if beams else None


class Elixir(Beam):
    """An Elixir node. ``eval("Enum.sum(list)", list=[1, 2])`` evaluates Elixir; `eval_erlang` Erlang.

    Arguments, attributes and methods are `Beam`'s; `release` is an `ElixirRelease`'s `beam`.
    """

    language: ClassVar[str] = "elixir"
    name_prefix: ClassVar[str] = "elixir"

    def __init__(self, elixir: ElixirRelease, **options: object) -> None:
        self.elixir = elixir
        super().__init__(elixir.beam, **options)  # type: ignore[arg-type]  # the keyword arguments of Beam

    def _command(self) -> list[str]:
        # The start script splits what follows `--erl` at blanks; no flag of ours has one.
        flags = " ".join([*self._node_flags(), *self.arguments])
        return [str(self.elixir.elixir), "--erl", flags, "-e", evaluator.START_ELIXIR]
