"""docs/tracing.md: what it types into a BEAM works, and prints what it shows."""

from __future__ import annotations

import re

import pytest

from engines.ticker.server import Ticker
from erlang_bridge import Node
from erlang_bridge.process.tracing import MASKS, STYLES
from erlang_bridge.runtime_tools import trace_server
from erlang_bridge.testing.beams import Beam
from tests.pages import Page
from tests.waiting import until

PAGE = Page("docs/tracing.md")


@pytest.mark.otp(maximum=27)
def test_the_session(beam: Beam, node: Node):
    node.start(Ticker, 0, name="ticker")
    shell = beam.shell()
    blocks = [block for block in PAGE.blocks if block.section == "From Erlang: dbg"]
    assert [block.language for block in blocks] == ["erlang", "text", "erlang"]
    for block in blocks:
        if block.language == "erlang":
            text = block.text.replace("py@127.0.0.1", node.name.name)
            for expression in re.split(r"\.\n", text.strip() + "\n"):
                if expression:
                    shell.eval(expression)
        else:
            for line in block.text.strip().splitlines():
                # Where Erlang breaks a line depends on what is in it.
                shown = "".join(line.split())
                assert until(lambda shown=shown: shown in "".join(beam.log_text().split())), line


def test_flags_are_those_that_there_are():
    row = next(row for row in (PAGE.path.read_text()).splitlines() if row.startswith("| flags"))
    named = {name.strip("'") for name in re.findall(r"`([^`]+)`", row)}
    assert named == (set(MASKS) - {"running_procs"}) | (STYLES - {"cpu_timestamp"}) | trace_server.INERT
