"""Keeps the node connected with the nodes that its configuration names."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from erlang_bridge import Atom, BridgeError, GenServer, NoReply

log = logging.getLogger("pyanoma")

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0

NODEDOWN: Final = Atom("nodedown")
TRY: Final = Atom("try")


@dataclass(slots=True)
class _Lost:
    """What the connector knows: for each node that is away, how long to wait after the next failure."""

    pauses_s: dict[Atom, float] = field(default_factory=dict)


class Connector(GenServer):
    """Dials a node again when the connection is lost, after a pause that grows up to half a minute.

    Args of ``init``: names of the nodes.
    """

    trap_exit: ClassVar[bool] = True

    def init(self, args: tuple[str, ...]) -> _Lost:
        self._wanted = frozenset(Atom(name) for name in args)
        self._stop_listening = self.node.monitor_nodes(None, self._on_nodedown)
        lost = _Lost()
        for name in self._wanted:
            # The application connects at its start; this one only looks after what is missing later.
            self._try_later(name, lost)
        return lost

    def terminate(self, reason: Any, state: _Lost) -> None:
        self._stop_listening()

    def _on_nodedown(self, name: Atom, hidden: bool, reason: str) -> None:
        # Called in the hub: only a message, and none once this process has ended.
        if name in self._wanted:
            self.process.deliver((NODEDOWN, name))

    def handle_info(self, message: Any, state: _Lost) -> NoReply:
        match message:
            case (Atom("nodedown"), Atom() as name):
                self._try_later(name, state)
            case (Atom("try"), Atom() as name):
                try:
                    self.node.connect(name)
                    state.pauses_s.pop(name, None)
                except BridgeError as error:
                    log.warning("%s", error)
                    self._try_later(name, state)
            case _:
                super().handle_info(message, state)
        return NoReply(state)

    def _try_later(self, name: Atom, state: _Lost) -> None:
        pause_s = state.pauses_s.get(name, FIRST_PAUSE_S)
        state.pauses_s[name] = min(2 * pause_s, LONGEST_PAUSE_S)
        self.send_after(pause_s, (TRY, name))
