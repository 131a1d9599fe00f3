"""What an epmd knows, and how it answers each request. No sockets and no clock: the caller tells the time.

Rules, as the real one has them: a name belongs to the connection that registered it until that ends; a name in use is
refused; registering, dumping and stopping are for local peers; what is not understood is answered by closing.
Ours differs in that it is part of a node and not a program: it refuses KILL, and knows no STOP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from erlang_bridge.epmd.messages import (
    CREATION_OF_REFUSAL,
    DIST_VERSION_HIGH,
    RESULT_ERROR,
    RESULT_OK,
    Alive2Reply,
    Alive2Request,
    DumpLine,
    DumpReply,
    DumpRequest,
    KillReply,
    KillRequest,
    NamesReply,
    NamesRequest,
    NodeEntry,
    Port2Reply,
    Port2Request,
    StopRequest,
    decode_request,
    encode_alive2_reply,
    encode_dump_reply,
    encode_kill_reply,
    encode_names_reply,
    encode_port2_reply,
)

LOWEST_CREATION: Final = 4
"""1 to 3 are those of nodes before OTP 23, 0 stands for "any"."""
REMEMBERED_NAMES: Final = 1000
"""Names of ended nodes whose creation is remembered (erts ``epmd_int.h``, MAX_UNREG_COUNT)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to do with a connection whose request has come.

    Attributes:
        reply: bytes to send; may be none.
        registered: the name that this connection holds from now on: keep it open and `Registrations.unregister` the
            name when it ends. None: close it.
    """

    reply: bytes = b""
    registered: str | None = None


CLOSE: Final = Answer()
"""No reply, close."""


@dataclass(frozen=True, slots=True)
class _Known:
    entry: NodeEntry
    creation: int
    connection: int


class Registrations:
    """The names registered with one epmd.

    Args:
        epmd_port: where that epmd listens; part of its replies.
        max_nodes: how many may be registered at a time; one more is refused like a name in use.
    """

    def __init__(self, epmd_port: int, *, max_nodes: int = 1000) -> None:
        self.epmd_port = epmd_port
        self.max_nodes = max_nodes
        self._active: dict[str, _Known] = {}
        self._unused: dict[str, _Known] = {}

    def names(self) -> dict[str, int]:
        """The registered nodes and their ports, latest registration first."""
        return {name: known.entry.port for name, known in reversed(self._active.items())}

    def answer(self, body: bytes, *, local_peer: bool, connection: int, now_s: float) -> Answer:
        """Carry out one request.

        Args:
            body: the request without its length.
            local_peer: whether it came from this machine.
            connection: number of the connection, for DUMP.
            now_s: Unix time, the creation of a name that is new.

        Raises:
            EpmdError: not a request. Close.
        """
        match decode_request(body):
            case Alive2Request(entry) if local_peer:
                return self._register(entry, connection, now_s)
            case Port2Request(name):
                known = self._active.get(name)
                return Answer(encode_port2_reply(Port2Reply(known.entry if known else None)))
            case NamesRequest():
                return Answer(encode_names_reply(NamesReply(self.epmd_port, tuple(self.names().items()))))
            case DumpRequest() if local_peer:
                return Answer(encode_dump_reply(self._dump()))
            case KillRequest() if local_peer:
                return Answer(encode_kill_reply(KillReply(killed=False)))
            case StopRequest() | Alive2Request() | DumpRequest() | KillRequest():
                return CLOSE

    def unregister(self, name: str) -> None:
        """The connection that held `name` has ended; its creation is remembered for the next node of that name."""
        known = self._active.pop(name, None)
        if known is None:
            return
        self._unused[name] = known
        while len(self._unused) > REMEMBERED_NAMES:
            del self._unused[next(iter(self._unused))]

    def _register(self, entry: NodeEntry, connection: int, now_s: float) -> Answer:
        # As one word, so that no name can look like another line of the reply to NAMES.
        lawful = entry.name.isprintable() and " " not in entry.name
        wide = entry.highest_version >= DIST_VERSION_HIGH
        if not lawful or entry.name in self._active or len(self._active) >= self.max_nodes:
            return Answer(encode_alive2_reply(Alive2Reply(RESULT_ERROR, CREATION_OF_REFUSAL, wide)))
        creation = self._next_creation(entry.name, now_s)
        self._active[entry.name] = _Known(entry, creation, connection)
        told = creation if wide else creation % 3 + 1
        return Answer(encode_alive2_reply(Alive2Reply(RESULT_OK, told, wide)), registered=entry.name)

    def _next_creation(self, name: str, now_s: float) -> int:
        # Never lower than the time, so that it grows as well when this epmd is gone and another has started since.
        last = self._unused.pop(name, None)
        creation = int(now_s) if last is None else max(int(now_s), last.creation + 1)
        creation &= 0xFFFFFFFF
        return max(creation, LOWEST_CREATION)

    def _dump(self) -> DumpReply:
        active, unused = (
            tuple(DumpLine(name, known.entry.port, known.connection) for name, known in names)
            for names in (reversed(self._active.items()), self._unused.items())
        )
        return DumpReply(self.epmd_port, active, unused)
