"""Processes that we start on other nodes.

Source: ERTS, "Distribution Protocol", SPAWN_REQUEST.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from erlang_bridge.etf import opcodes as op
from erlang_bridge.process.base import TableBase
from erlang_bridge.process.exit_rules import NOCONNECTION
from erlang_bridge.process.process import Process
from erlang_bridge.terms import Atom, Pid, Reference

ABANDONED: Final = Atom("abandoned")

FLAG_LINK: Final = 1
FLAG_MONITOR: Final = 2
"""Flags of a spawn reply: what it has set up."""


class Spawns(TableBase):
    """Our requests under way."""

    def spawn_request(
        self,
        process: Process,
        node: Atom,
        mfa: tuple[Atom, Atom, list[Any]],
        options: list[Any],
        answer: Callable[[Any, int], None],
        *,
        group_leader: Pid | None = None,
        reference: Reference | None = None,
    ) -> Reference:
        """Ask `node` to start a process.

        `answer` gets its pid, or an atom that says why not, and the flags of the reply. The reference is also that of
        the monitor, where `options` has ``monitor``.
        """
        module, function, arguments = mfa
        if reference is None:
            reference = self.make_reference()
        leader = group_leader or process.group_leader or process.pid
        self._remote(node).spawns[reference] = answer
        control = (
            op.DOP_SPAWN_REQUEST,
            reference,
            process.pid,
            leader,
            (module, function, len(arguments)),
            options,
        )
        try:
            sent = self.emit(node, control, arguments, True)
        except Exception:
            self._remote(node).spawns.pop(reference, None)
            raise
        except BaseException:
            # Ended while it waited for room: the request is on its way.
            self.abandon_spawn(reference, process)
            raise
        if not sent:
            del self._remote(node).spawns[reference]
            answer(NOCONNECTION, 0)
        return reference

    def abandon_spawn(self, reference: Reference, process: Process) -> None:
        """Nobody waits for the reply of a spawn request any more; what it brings is taken back when it comes."""
        for node, remote in self.remote.items():
            if reference in remote.spawns:
                remote.spawns[reference] = partial(self._take_back_spawn, node, process, reference)
                return

    def _take_back_spawn(self, node: Atom, process: Process, reference: Reference, result: Any, flags: int) -> None:
        if type(result) is not Pid:
            return
        if flags & FLAG_LINK:
            reason = ABANDONED if process.alive else process.exit_reason
            self._emit_reason(node, (op.DOP_PAYLOAD_EXIT, process.pid, result), reason)
        if flags & FLAG_MONITOR:
            self._take_back_monitor(node, process, reference, result)

    def on_spawn_reply(self, node: Atom, reference: Reference, flags: int, result: Any) -> None:
        remote = self.remote.get(node)
        answer = remote.spawns.pop(reference, None) if remote is not None else None
        if answer is not None:
            answer(result, flags)
