"""Which OTP release the other nodes run: asked once per connection, and only when somebody needs to know.

The handshake does not tell it, and a few replies differ by release (``sys:get_state``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from erlang_bridge.errors import BridgeError, NoConnection
from erlang_bridge.kernel import rpc
from erlang_bridge.terms import Atom

ASK_TIMEOUT_S: Final = 2.0


class PeerReleases:
    """What has been learnt about the peers of one node."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._known: dict[Atom, int | None] = {}
        self._waiting: dict[Atom, list[Callable[[int | None], None]]] = {}

    def known(self, node: Atom) -> int | None:
        return self._known.get(node)

    def forget(self, node: Atom) -> None:
        self._known.pop(node, None)

    def ask(self, node: Atom, answer: Callable[[int | None], None]) -> None:
        """Call `answer` with the release of `node`, at once where it is known; None where it does not tell in time."""
        if node in self._known:
            answer(self._known[node])
            return
        waiting = self._waiting.get(node)
        if waiting is not None:
            waiting.append(answer)
            return
        self._waiting[node] = [answer]
        self._node.table.add_body(lambda: self._learn(node))

    def _learn(self, node: Atom) -> None:
        release: int | None = None
        try:
            process = self._node.table.current()
            text = rpc.call(process, node, "erlang", "system_info", [Atom("otp_release")], ASK_TIMEOUT_S)
            release = int("".join(chr(code) for code in text))
        except NoConnection:
            # Nothing is known of a connection that may follow this one.
            self._answer(node, None)
            return
        except (BridgeError, TypeError, ValueError):
            pass
        self._known[node] = release
        self._answer(node, release)

    def _answer(self, node: Atom, release: int | None) -> None:
        for answer in self._waiting.pop(node, ()):
            answer(release)
