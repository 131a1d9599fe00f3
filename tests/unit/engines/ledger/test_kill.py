"""kill -9 of a process that writes a ledger, at random instants, until it has written 200 blocks."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from engines.ledger.records import Heights
from engines.ledger.sqlite_store import SqliteStore
from tests.ledgers import findings

BLOCKS = 200
ROOT = Path(__file__).parents[4]


@pytest.mark.fault
def test_nothing_acknowledged_is_lost(tmp_path: Path, rng: random.Random) -> None:
    path = tmp_path / "ledger.sqlite"
    seed = rng.randrange(1 << 32)
    ran = subprocess.run(
        [sys.executable, Path(__file__).with_name("kill.py"), path, str(BLOCKS), str(seed)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    told = json.loads(ran.stdout)
    assert told["status"] == 0, told
    assert told["kills"] >= 20, told["kills"]
    heights = [Heights(*map(int, line.split())) for line in told["acknowledged"]]
    # What was acknowledged once is there ever after: no height goes back, over all kills.
    for before, after in pairwise(heights):
        assert before.next_round <= after.next_round
        assert before.committed <= after.committed
        assert before.next_fingerprint <= after.next_fingerprint
    with SqliteStore(path) as store:
        # No half block, dense heights, one chain, versions as the blocks have them.
        assert findings(store) == []
        assert store.heights().next_round == BLOCKS + 1
        assert store.heights().next_fingerprint >= heights[-1].next_fingerprint
        blocks = list(store.blocks())
        assert [block.round for block in blocks] == list(range(1, BLOCKS + 1))
        assert [each.fingerprint for block in blocks for each in block.transactions] == list(range(1, BLOCKS * 3 + 1))
        assert store.versions(b"k") == [(i, i) for i in range(1, BLOCKS * 3 + 1)]
