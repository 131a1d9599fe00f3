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
        beam: the Erlang/OTP that it runs on: the ``erl`` on the PATH.
    """

    version: str
    elixir: Path
    beam: BeamRelease

    def __str__(self) -> str:
        return f"Elixir {self.version} on OTP {self.beam.otp}"


def find_elixir(releases: Iterable[BeamRelease]) -> ElixirRelease | None:
    """The Elixir on the PATH, or None where there is none.

    Args:
        releases: those found (`find_releases`), among them the ``erl`` on the PATH, which it runs on.

    Raises:
        NoBeam: it is there and does not run.
    """
    found, erl = shutil.which("elixir"), shutil.which("erl")
    beam = next((release for release in releases if str(release.erl) == erl), None)
    if found is None or beam is None:
        return None
    try:
        answer = subprocess.run(
            [found, "-e", "IO.write(System.version())"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            env=clean_of_erlang(os.environ) | {"LC_ALL": "C.UTF-8"},
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoBeam(f"{found} does not run: {error} {getattr(error, 'stderr', '')}".rstrip()) from error
    return ElixirRelease(answer.stdout.strip(), Path(found), beam)


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
