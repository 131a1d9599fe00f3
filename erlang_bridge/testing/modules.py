"""Erlang modules for a BEAM under test: compiled by whichever release has a compiler, or ready made."""

from __future__ import annotations

import re
import subprocess
from base64 import b64decode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from erlang_bridge.testing.programs import clean_environment
from erlang_bridge.testing.releases import BeamRelease, NoBeam

INIT_ANSWER: Final = b64decode(
    "H4sIAAAAAAAAA01PTU/CQBCd2QIeOLgp4WI0Ek8ehRPHAsHERNTwkXirazpASdmSsgQ9+yv4Cf5KnCHbyCQv8/bNy+y8x9dxGwDf"
    "+8Pe6Dm1BABN+K+AgULYBNPvjcyvvIa3x9J29AXQc7MuC4JqPbWpi43d7qmoCK+v82SXUZzaeV6jIjN2cbkgF5/JgzyRPwYM7Zf/"
    "Mi7kFtQHrcI7ja0GPhxAhR3AKAqDFw34dnpr/IiChkgtHcDEFVNZ8LTeSL9mKEZFbvMZSq6GXyfPvc9c5q55Dt6rvK5G5Az3m59M"
    "lKVKQJM1nxkl8ZyM2xW0Xa149AdGywuEYAEAAA=="
)
"""The module ``init_answer``, whose ``init/1`` gives back its argument; compiled by OTP 25, loads on later ones too.

A supervisor or a gen_server of any shape without a compiler::

    beam.load_module(INIT_ANSWER)
    beam.eval("{ok, S} = supervisor:start_link(init_answer, {ok, {#{strategy => rest_for_one}, []}}), unlink(S), S")

Its source: ``-module(init_answer). -export([init/1]). init(Answer) -> Answer.``
"""


def compile_erlang(release: BeamRelease, source: str) -> bytes:
    """The object code of an Erlang module, for `Beam.load_module`.

    Args:
        release: one with a compiler, not newer than the BEAM that is to run the module.
        source: the whole module, with its ``-module(name).``

    Raises:
        ValueError: it does not compile; the text has the compiler's words.
        NoBeam: the release has no compiler.
    """
    if not release.compiler:
        raise NoBeam(f"{release} has no compiler")
    named = re.search(r"^-module\(\s*'?([^)']+?)'?\s*\)", source, re.MULTILINE)
    if named is None:
        raise ValueError("the source has no -module(name).")
    with TemporaryDirectory() as folder:
        home = Path(folder)
        path = home / f"{named[1]}.erl"
        path.write_text(source)
        made = subprocess.run(
            [release.program("erlc"), "+debug_info", "-o", folder, path],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env=clean_environment(home),
            check=False,
        )
        if made.returncode:
            raise ValueError(f"{path.name} does not compile: {made.stdout}{made.stderr}")
        return path.with_suffix(".beam").read_bytes()
