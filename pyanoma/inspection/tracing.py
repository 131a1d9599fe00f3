"""Watches the messages of a node for a while, Python or BEAM, through ``dbg``'s relay.

The relay is a process on the node, linked with one here: however this ends, the node traces no longer.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from time import monotonic
from typing import Any, Final

from erlang_bridge import Atom, BridgeError, CallTimeout, ErlangError, ErlangExit, OwnProcess, Pid
from erlang_bridge.terms.text import pid_text
from pyanoma.inspection.processes import ProcessLine, Reader
from pyanoma.inspection.sequences import Event, Sequence, Sequencer, Who

FLAGS: Final = ("send", "receive", "procs", "set_on_spawn", "timestamp")
ELSEWHERE: Final = "elsewhere"
"""Who sends what tells nothing of its sender."""

_EXIT: Final = Atom("EXIT")
_SYSTEM: Final = frozenset(
    {"kernel", "stdlib", "sasl", "runtime_tools", "compiler", "crypto", "elixir", "iex", "logger"}
)
"""Applications whose processes are left out, unless they are named or exchange messages with others."""
_OURS: Final = ("erlang_bridge.", "pyanoma.connector.")
_SETTLE_S: Final = 0.5


class Unavailable(BridgeError):
    """The node cannot be traced."""


class Names:
    """What the processes of a trace are called, and which of them are the system's own."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lines: dict[Pid, ProcessLine | None] = {}
        self._is_system: dict[Pid, bool] = {}
        self._pids: dict[Atom, Pid | None] = {}

    def look(self, pid: Pid) -> ProcessLine | None:
        """Ask about a process, once, while it is alive."""
        if pid not in self._lines:
            found = self._reader.lines([pid]) if pid.node is self._reader.name else []
            self._lines[pid] = found[0] if found else None
        return self._lines[pid]

    def whereis(self, name: Atom) -> Pid | None:
        if self._pids.get(name) is None:
            found = self._reader.rpc("erlang", "whereis", [name])
            self._pids[name] = found if isinstance(found, Pid) else None
        return self._pids[name]

    def is_system(self, who: Who) -> bool:
        """Whether it belongs to what runs every node."""
        if not isinstance(who, Pid) or who.node is not self._reader.name:
            return False
        if who not in self._is_system:
            line = self.look(who)
            self._is_system[who] = line is not None and (
                line.initial_call.startswith(_OURS) or self._application(who) in _SYSTEM
            )
        return self._is_system[who]

    def _application(self, pid: Pid) -> str:
        try:
            match self._reader.rpc("application", "get_application", [pid]):
                case (Atom("ok"), Atom() as name):
                    return name.name
        except ErlangError:
            pass
        return ""

    def title(self, who: Who) -> str:
        """What it is called: name, label or code."""
        if who is None:
            return ELSEWHERE
        if isinstance(who, tuple):
            name, node = who
            return name.name if node is self._reader.name else f"{name.name}@{node.name}"
        line = self._lines.get(who)
        return line.title if line is not None else self.subtitle(who)

    def subtitle(self, who: Who) -> str:
        """Its pid."""
        return pid_text(who, self._reader.node) if isinstance(who, Pid) else ""


class Trace:
    """One trace of one node.

    Args:
        processes: whose messages; empty for all but the system's own.
    """

    def __init__(self, reader: Reader, processes: Several[Pid], seconds: float, most: int) -> None:
        self.names = Names(reader)
        self._reader = reader
        self._processes = processes
        self._seconds = seconds
        self._most = most
        self._is_interrupted = False

    def interrupt(self) -> None:
        """End it now, with what there is."""
        self._is_interrupted = True

    def run(self) -> Sequence:
        """Trace until the time is over, or there are as many messages as are wanted.

        Raises:
            Unavailable: the node has no ``dbg``. NoConnection: the node went away.
        """
        return self._reader.as_process(self._run)

    def _run(self, own: OwnProcess) -> Sequence:
        own.set_trap_exit(True)
        relay, session = self._start(own)
        sequencer = Sequencer(self._reader.name, self.names.whereis, own.pid.node)
        shown = 0
        try:
            everybody: list[Any] = [Atom("existing")]
            for who in self._processes or everybody:
                self._watch(relay, session, who)
            deadline = monotonic() + self._seconds
            while shown < self._most and not self._is_interrupted:
                left_s = deadline - monotonic()
                if left_s <= 0:
                    break
                try:
                    message = own.receive(timeout_s=min(left_s, 0.2))
                except TimeoutError:
                    continue
                if _is_exit(message, relay):
                    raise ErlangExit(message[2], f"the trace of {self._reader.node} has ended")
                shown += self._add(sequencer, message)
        finally:
            self._stop(own, relay, sequencer)
        sequence = sequencer.sequence
        sequence.entries = [entry for entry in sequence.entries if self._is_wanted(entry)][: self._most]
        return sequence

    def _start(self, own: OwnProcess) -> tuple[Pid, Any]:
        reader = self._reader
        if not reader.can("dbg", "do_relay", 2) and not reader.can("dbg", "do_relay", 3):
            raise Unavailable(f"{reader.node} cannot be traced: it has no runtime_tools")
        with_session = reader.can("dbg", "do_relay", 3)
        arguments: list[Any] = [Atom("dbg"), own.pid, own.pid] if with_session else [own.pid, own.pid]
        relay, _ = own.node.spawn_remote(reader.node, "dbg", "do_relay", arguments, link=True)

        def is_answer(message: Any) -> bool:
            return _is_exit(message, relay) or (type(message) is tuple and message[:1] == (Atom("started"),))

        try:
            answer = own.receive(is_answer, reader.timeout_s)
        except TimeoutError:
            raise CallTimeout(Atom("timeout"), f"the trace of {reader.node}") from None
        match answer:
            case (Atom("started"), _):
                return relay, None
            case (Atom("started"), _, session):
                return relay, session
            case (_, _, reason):
                raise ErlangExit(reason, f"the trace of {reader.node}")
        raise AssertionError("nothing else is received")

    def _watch(self, relay: Pid, session: Any, who: Any) -> None:
        flags: list[Any] = [Atom(flag) for flag in FLAGS]
        named = [(Atom("tracer"), relay)] if session is None else []
        self._reader.rpc("dbg", "erlang_trace", [*([] if session is None else [session]), who, True, [*named, *flags]])

    def _add(self, sequencer: Sequencer, message: Any) -> int:
        """Put a trace message in. Returns how many messages are to be shown more than before."""
        before = len(sequencer.sequence.entries)
        sequencer.add(message)
        entries = sequencer.sequence.entries[before:]
        for entry in entries:
            for who in (entry.who,) if isinstance(entry, Event) else (entry.sender, entry.receiver):
                if isinstance(who, Pid):
                    self.names.look(who)
        return sum(not isinstance(entry, Event) and self._is_wanted(entry) for entry in entries)

    def _is_wanted(self, entry: Any) -> bool:
        if self._processes:
            return True
        if isinstance(entry, Event):
            return not self.names.is_system(entry.who)
        ends = [who for who in (entry.sender, entry.receiver) if isinstance(who, Pid) and who.node is self._reader.name]
        return any(not self.names.is_system(who) for who in ends)

    def _stop(self, own: OwnProcess, relay: Pid, sequencer: Sequencer) -> None:
        """End the relay, and take what it has passed on before that."""
        own.exit(relay, Atom("done"))
        try:
            while not _is_exit(message := own.receive(timeout_s=_SETTLE_S), relay):
                sequencer.add(message)
        except TimeoutError:
            pass


def _is_exit(message: Any, relay: Pid) -> bool:
    return type(message) is tuple and len(message) == 3 and message[0] is _EXIT and message[1] == relay
