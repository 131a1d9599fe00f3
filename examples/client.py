"""A Python client of an Erlang service: the server in store.erl, as a mapping.

Start store@127.0.0.1 as the head of store.erl says, then::

    python client.py
"""

from collections.abc import Iterator, MutableMapping
from typing import Any

from erlang_bridge import Atom, Node


class Store(MutableMapping[Any, Any]):
    """What the Erlang server keeps. Any term is a key or a value; text comes back as `bytes`.

    Raises, from every operation: `NoConnection` while its node is down, `NoProcess` where it does not run.
    """

    def __init__(self, node: Node, server: Any) -> None:
        self.node = node
        self.server = server

    def __getitem__(self, key: Any) -> Any:
        match self.node.call(self.server, (Atom("get"), key)):
            case (Atom("ok"), value):
                return value
        raise KeyError(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.node.call(self.server, (Atom("put"), key, value))

    def __delitem__(self, key: Any) -> None:
        if not self.node.call(self.server, (Atom("remove"), key)):
            raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.node.call(self.server, Atom("keys")))

    def __len__(self) -> int:
        return len(self.node.call(self.server, Atom("keys")))

    def clear(self) -> None:
        self.node.cast(self.server, Atom("clear"))


def main(name: str = "client@127.0.0.1", store: str = "store@127.0.0.1", **options: Any) -> Store:
    """A store on a node of its own, which nobody needs to dial."""
    return Store(Node(name, listen=False, **options), ("store", store))


if __name__ == "__main__":
    fees = main(cookie="chocolate")
    fees["pay bob"] = 7
    fees[(Atom("block"), 1)] = [Atom("pending"), {"fee": 1.5}]
    for key, value in fees.items():
        print(key, "->", value)
    fees.node.stop()
