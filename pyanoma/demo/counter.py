"""The engine of the demo."""

from __future__ import annotations

from typing import Any

from erlang_bridge import Atom, GenServer, Reply


class Counter(GenServer):
    """Holds a number. The calls are ``read``, ``{add, N}`` and ``{divide, N}``; the last has a bug."""

    def init(self, start: Any) -> int:
        return int(start)

    def handle_call(self, request: Any, caller: Any, number: int) -> Reply | None:
        match request:
            case Atom("read"):
                return Reply(number, number)
            case (Atom("add"), int(amount)):
                return Reply(number + amount, number + amount)
            case (Atom("divide"), int(divisor)):
                return Reply(number // divisor, number // divisor)
        return None
