"""Which implementation is used can be forced, and is never silently another."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys

import pytest

from erlang_bridge import etf
from erlang_bridge.etf import decoder, encoder, structs
from erlang_bridge.terms import text


def imported(forced):
    return subprocess.run(
        [sys.executable, "-c", "from erlang_bridge import etf; print(etf.__impl__)"],
        env={**os.environ, "PYANOMA_ETF": forced, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_one_in_use_can_be_asked_for():
    assert imported(etf.__impl__).stdout.strip() == etf.__impl__


@pytest.mark.parametrize("forced", ["fast", ""])
def test_one_that_is_missing_is_an_error(forced):
    done = imported(forced)
    assert done.returncode != 0
    assert f"ImportError: PYANOMA_ETF={forced}: " in done.stderr


@pytest.mark.parametrize("module", [encoder, decoder, structs, text])
def test_examples(module):
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
