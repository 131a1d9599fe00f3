"""``pyanoma demo``, as ``make run`` starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from erlang_bridge.testing.programs import clean_environment
from erlang_bridge.testing.releases import BeamRelease
from erlang_bridge.testing.terminal import Terminal
from tests.python_nodes import ROOT
from tests.waiting import until

DEMO = [sys.executable, "-m", "pyanoma", "demo"]


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        env=clean_environment(tmp_path, PYTHONPATH=str(ROOT), **environment),
        cwd=tmp_path,
        check=False,
    )


def pids(text: str) -> list[int]:
    return [int(pid) for pid in re.findall(r"\bprocess (\d+)", text)]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_demo(tmp_path: Path, beam_release: BeamRelease):
    done = run(tmp_path, "--erl", str(beam_release.erl))
    assert done.returncode == 0, done.stdout + done.stderr
    out = done.stdout
    assert f"Erlang/OTP {beam_release.otp}" in out
    assert "'ZeroDivisionError'" in out
    assert re.search(
        r"in function +'pyanoma\.demo\.counter':'Counter\.handle_call'/3 \(.*counter\.py(:|, line )\d+\)",
        " ".join(out.split()),  # a long path breaks the line
    )
    assert re.search(r"apples +ZeroDivisionError +python_engines +<[\d.]+> → <[\d.]+> +15 → 10 \(as started\)", out)
    assert re.search(r"pears +nothing +- +<[\d.]+> \(the same\) +22 \(kept\)", out)
    assert re.search(r"clicks +exit\(Pid, kill\) +python_engines +<[\d.]+> → <[\d.]+> +3 → 0 \(as started\)", out)
    assert re.search(r"python_engines +<0\.\d+\.0> +supervisor on beam@127\.0\.0\.1\n +├── apples", out)
    assert "5 committed in block 5, done, read alice = 6, bob = 4, wrote alice = 7, bob = 3" in out
    assert "what is done has left the pool" in out
    assert re.search(r"block \d+ is there, with the same hash [0-9a-f]{16}", out)
    assert "all three nodes stopped in order, with status 0" in out
    assert done.stderr == ""
    assert len(set(pids(out))) == 4
    assert not any(is_running(pid) for pid in pids(out))
    assert not list(tmp_path.glob("**/.erlang.cookie"))


def test_no_beam(tmp_path: Path):
    done = run(tmp_path, "--erl", "/bin/false")
    assert done.returncode == 1
    assert "✘ /bin/false does not run" in done.stdout
    assert "Traceback" not in done.stderr


def test_at_a_terminal_it_offers_to_stay(tmp_path: Path, beam_release: BeamRelease):
    command = [*DEMO, "--erl", str(beam_release.erl)]
    with Terminal(command, tmp_path, {"PYTHONPATH": str(ROOT)}) as demo:
        demo.expect(r"All nodes stay up until you press Enter", 40)
        shown = demo.expect(r"ERL_EPMD_PORT=(\d+) PYANOMA_COOKIE=(\w+) pyanoma ps (\S+)")
        listed = subprocess.run(
            [sys.executable, "-m", "pyanoma", "ps", shown[3]],
            capture_output=True,
            text=True,
            timeout=20,
            env=clean_environment(tmp_path, PYTHONPATH=str(ROOT), ERL_EPMD_PORT=shown[1], PYANOMA_COOKIE=shown[2]),
            cwd=tmp_path,
            check=True,
        )
        assert re.search(r"apples +pyanoma\.demo\.counter\.Counter:init/1", listed.stdout)
        (erl,) = re.findall(r"ERL_EPMD_PORT=\d+ (\S*erl -name .* -remsh \S+)$", demo.text, re.MULTILINE)
        with Terminal(erl.split(), tmp_path, {"ERL_EPMD_PORT": shown[1]}) as shell:
            shell.expect(r"^\(beam@127\.0\.0\.1\)1>")
            shell.type("gen_server:call({pears, 'py@127.0.0.1'}, {add, 1}).")
            shell.expect(r"^23$")
        demo.type("")
        demo.expect("everything as expected")
        assert demo.wait_exit() == 0
        assert not any(is_running(pid) for pid in pids(demo.text))


@pytest.mark.fault
def test_nothing_outlives_a_demo_that_is_killed(tmp_path: Path, beam_release: BeamRelease):
    command = [*DEMO, "--erl", str(beam_release.erl)]
    with Terminal(command, tmp_path, {"PYTHONPATH": str(ROOT)}) as demo:
        demo.expect(r"All nodes stay up until you press Enter", 40)
        demo.close()
        started = pids(demo.text)
    assert len(set(started)) == 4
    assert until(lambda: not any(is_running(pid) for pid in started), 15)


@pytest.mark.fault
def test_a_node_that_does_not_start_is_said(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'start' in sys.argv: raise SystemExit('no node today')\n"
    )
    done = subprocess.run(
        DEMO,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        env=clean_environment(tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}"),
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    assert "✘ the Python node did not start" in done.stdout
