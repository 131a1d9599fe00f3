"""A Python node with many idle processes: ``python -m tests.gui.crowd NAME COUNT``."""

from __future__ import annotations

import os
import sys

from erlang_bridge import Node
from tests.servers import Idle

if __name__ == "__main__":
    name, count = sys.argv[1], int(sys.argv[2])
    port = int(os.environ["ERL_EPMD_PORT"])
    with Node(name, cookie=os.environ["PYANOMA_COOKIE"], epmd_port_number=port) as node:
        for _ in range(count):
            node.start(Idle)
        sys.stdout.write(f"READY {name}\n")
        sys.stdout.flush()
        node.wait()
