"""A pool of workers that the whole cluster finds through ``pg``; one that crashes is started again.

::

    python pool.py

From a BEAM of the cluster (``erl -name a@127.0.0.1 -setcookie chocolate``)::

    pg:start_link(), net_adm:ping('pool@127.0.0.1').
    [Worker | _] = pg:get_members(hashers).
    gen_server:call(Worker, {hash, <<"secret">>, 100000}).
"""

import hashlib
from typing import Any

from erlang_bridge import Atom, ChildSpec, GenServer, Node, Reply, Supervisor, SupervisorFlags

HASHERS = Atom("hashers")


class Hasher(GenServer):
    def init(self, number: int) -> int:
        self.node.pg.join(HASHERS, self.pid)
        return number

    def handle_call(self, request: Any, caller: Any, number: int) -> Reply | None:
        match request:
            case (Atom("hash"), bytes(secret), int(rounds)):
                # In a thread: the other workers, and the node itself, go on meanwhile.
                digest = self.node.offload(hashlib.pbkdf2_hmac, "sha256", secret, b"salt", rounds)
                return Reply(digest, number)
        return None


class Pool(Supervisor):
    def init(self, size: int) -> Any:
        workers = [ChildSpec(f"hasher_{number}", (Hasher, number)) for number in range(1, size + 1)]
        return SupervisorFlags("one_for_one", intensity=10, period_s=60), workers


def main(name: str = "pool@127.0.0.1", size: int = 4, **options: Any) -> Node:
    """A node with a pool of `size` workers."""
    node = Node(name, **options)
    node.start(Pool, size, name="pool")
    return node


if __name__ == "__main__":
    with main(cookie="chocolate") as node:
        print("READY", node.name, flush=True)
        node.wait()
