"""Writes blocks in processes that are killed at random instants; run by `test_kill`.

Arguments: the file, how many blocks, a seed. Prints, as one line of JSON, what was acknowledged and how often it was
killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from time import sleep

from engines.ledger.errors import LedgerError
from engines.ledger.records import CommittedTransaction, JournalEntry
from engines.ledger.sqlite_store import SqliteStore

A_BLOCK = 3
AHEAD = 5


def candidate(fingerprint: int) -> tuple[bytes, int, bytes]:
    return b"program", fingerprint, b"x" * (fingerprint % 700)


def write(path: str, blocks: int, acknowledge: int) -> None:
    """Go on where the ledger is, up to `blocks`; one line for each write that lasts: round, committed, next."""
    with SqliteStore(path) as store:
        heights = store.heights()
        while heights.next_round <= blocks:
            first = heights.committed + 1
            wanted = first + A_BLOCK + AHEAD
            entries = [JournalEntry(i, candidate(i)) for i in range(heights.next_fingerprint, wanted)]
            if heights.next_fingerprint < first + A_BLOCK:
                heights = store.append(entries)
                entries = []
                os.write(acknowledge, f"{heights.next_round} {heights.committed} {heights.next_fingerprint}\n".encode())
            done = [
                CommittedTransaction(i, candidate(i), writes=((b"k", i), ((b"own", i % 10), b"y" * (i % 300))))
                for i in range(first, first + A_BLOCK)
            ]
            heights = store.commit(done, also=entries)
            os.write(acknowledge, f"{heights.next_round} {heights.committed} {heights.next_fingerprint}\n".encode())


def main(path: str, blocks: int, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: list[str] = []
    kills = 0
    while True:
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                write(path, blocks, theirs)
            except LedgerError as error:
                os.write(theirs, f"failed: {error}\n".encode())
                os._exit(1)
            os._exit(0)
        os.close(theirs)
        # While it opens the file and mends what the one before has left, or when it has written a little.
        writes = chance.randrange(9)
        text = b""
        ended = False
        while not ended and text.count(b"\n") < writes:
            piece = os.read(ours, 65536)
            ended = not piece
            text += piece
        if not ended:
            sleep(chance.uniform(0, 0.002 if writes else 0.01))
            os.kill(child, signal.SIGKILL)
            kills += 1
            while piece := os.read(ours, 65536):
                text += piece
        os.close(ours)
        status = os.waitpid(child, 0)[1]
        acknowledged += text.decode().splitlines()
        if ended or status == 0:
            break
    sys.stdout.write(json.dumps({"status": status, "kills": kills, "acknowledged": acknowledged}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
