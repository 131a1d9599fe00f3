"""A process learns that its standard input has ended, also while its code blocks."""

from __future__ import annotations

import subprocess
import sys

import pytest

WAITS = """
import gevent.event
from pyanoma.standard_input import call_at_end
ended = gevent.event.Event()
call_at_end(ended.set)
print("waiting", flush=True)
raise SystemExit(7 if ended.wait(20) else 8)
"""

BLOCKS = """
import time
from pyanoma.standard_input import call_at_end
call_at_end(lambda: None, last_resort_s=0.1)
print("waiting", flush=True)
time.sleep(20)
"""


@pytest.mark.parametrize(("program", "status"), [(WAITS, 7), (BLOCKS, 1)])
def test_end_of_standard_input(program: str, status: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.stdin.write("thrown away\n")
        process.stdin.flush()
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(15) == status


def test_no_standard_input() -> None:
    command = [sys.executable, "-c", WAITS]
    assert subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *command], timeout=15, check=False).returncode == 7
