"""The handshake, in both roles: bytes in, bytes out; no socket, no clock, no source of random numbers.

Theory. The node that dials is A, the one that accepts is B::

    A > B   send_name        who A is
    B > A   status           ok | ok_simultaneous | named | alive    go on
                             nok | not_allowed                       the end
    A > B   true | false     only after alive
    B > A   challenge        who B is, and a number
    A > B   challenge reply  proof for B's number, and a number
    B > A   challenge ack    proof for A's number

`WE_STARTED` is A's side of it, `OTHER_STARTED` is B's: (state, what came) -> next state. What came is the name of a
message or the text of a status; for B also a `Verdict` of its own. Everything that is not in the tables is an error of
the peer. B stops twice for its owner to act: in `State.DECIDING` (who is this, do we want it: `OtherStarted.decide`)
and in `State.AUTHENTICATED`, where an older connection with the same peer can be torn down before
`OtherStarted.accept` sends the ack.

Source: ERTS, "Distribution Protocol", The Handshake in Detail; kernel ``dist_util.erl``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from hmac import compare_digest
from typing import Final

from erlang_bridge.dist.flags import (
    DFLAG_NAME_ME,
    DFLAG_PUBLISHED,
    expand_digest,
    missing_flags,
)
from erlang_bridge.dist.handshake_messages import (
    Challenge,
    ChallengeAck,
    ChallengeReply,
    SendName,
    Status,
    challenge_digest,
    decode_challenge,
    decode_challenge_ack,
    decode_challenge_reply,
    decode_send_name,
    decode_status,
    encode_challenge,
    encode_challenge_ack,
    encode_challenge_reply,
    encode_send_name,
    encode_status,
    is_node_name,
)
from erlang_bridge.errors import (
    BadCookie,
    HandshakeError,
    LocalProtocolError,
    LostToSimultaneous,
    MissingFlags,
    NotAllowed,
    RemoteProtocolError,
)
from erlang_bridge.terms import Atom


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who a node is to its peers."""

    name: str
    """Full name; only the host, without ``@``, for a node that takes the name its first peer grants."""
    creation: int
    """32 bits, at least 4; 0 while epmd has not given one."""
    flags: int
    """``DFLAG_*`` that it announces."""

    @property
    def is_dynamic(self) -> bool:
        """Whether the node still has to be given a name."""
        return "@" not in self.name

    def announced_flags(self) -> int:
        """The flags of ``send_name``: a node without a name asks for one, and is hidden."""
        return (self.flags | DFLAG_NAME_ME) & ~DFLAG_PUBLISHED if self.is_dynamic else self.flags


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection that is set up."""

    name: Atom
    creation: int
    flags: int
    """What both ends announced; `DFLAG_MANDATORY_25_DIGEST` expanded."""
    hidden: bool
    we_started: bool
    """Whether this node dialled."""
    published: bool = False
    """Whether it announces itself as visible, whatever we do. One that does not (a C node) is told nothing unasked."""


class State(Enum):
    """Where a handshake stands. The value says in words what is waited for."""

    WAIT_STATUS = "status"
    WAIT_CHALLENGE = "challenge"
    WAIT_ACK = "challenge ack"
    WAIT_NAME = "name"
    DECIDING = "decision"
    WAIT_ANSWER = "answer to alive"
    WAIT_REPLY = "challenge reply"
    AUTHENTICATED = "acceptance"
    CONNECTED = "nothing"
    FAILED = "nothing more"


class Verdict(Enum):
    """What B decides about A. The value is the text of the status that tells it."""

    OK = "ok"
    OK_SIMULTANEOUS = "ok_simultaneous"
    NOK = "nok"
    NOT_ALLOWED = "not_allowed"
    ALIVE = "alive"
    NAMED = "named"


WE_STARTED: Final[dict[tuple[State, str], State]] = {
    (State.WAIT_STATUS, "ok"): State.WAIT_CHALLENGE,
    (State.WAIT_STATUS, "ok_simultaneous"): State.WAIT_CHALLENGE,
    (State.WAIT_STATUS, "named"): State.WAIT_CHALLENGE,
    (State.WAIT_STATUS, "alive"): State.WAIT_CHALLENGE,
    (State.WAIT_STATUS, "nok"): State.FAILED,
    (State.WAIT_STATUS, "not_allowed"): State.FAILED,
    (State.WAIT_CHALLENGE, "challenge"): State.WAIT_ACK,
    (State.WAIT_ACK, "challenge_ack"): State.CONNECTED,
}
"""The side of the node that dialled."""

OTHER_STARTED: Final[dict[tuple[State, str], State]] = {
    (State.WAIT_NAME, "send_name"): State.DECIDING,
    (State.DECIDING, "ok"): State.WAIT_REPLY,
    (State.DECIDING, "ok_simultaneous"): State.WAIT_REPLY,
    (State.DECIDING, "named"): State.WAIT_REPLY,
    (State.DECIDING, "alive"): State.WAIT_ANSWER,
    (State.DECIDING, "nok"): State.FAILED,
    (State.DECIDING, "not_allowed"): State.FAILED,
    (State.WAIT_ANSWER, "true"): State.WAIT_REPLY,
    (State.WAIT_ANSWER, "false"): State.FAILED,
    (State.WAIT_REPLY, "challenge_reply"): State.AUTHENTICATED,
    (State.AUTHENTICATED, "accept"): State.CONNECTED,
}
"""The side of the node that was dialled."""

_OWNER_ACTS: Final = frozenset({State.DECIDING, State.AUTHENTICATED, State.CONNECTED, State.FAILED})


class Handshake:
    """What both roles share: the packets, the state, the end.

    Args:
        challenge: 32 random bits from a source that nobody can predict.
        length_size: bytes of a packet's length field: 2, or 4 inside TLS.
        max_packet_size: a longer packet is an error of the peer.
    """

    table: dict[tuple[State, str], State]

    def __init__(
        self, identity: NodeIdentity, state: State, challenge: int, *, length_size: int = 2, max_packet_size: int = 4096
    ) -> None:
        self.identity = identity
        self.state = state
        self.peer: Peer | None = None
        """Set in `State.CONNECTED`, and in `State.AUTHENTICATED`."""
        self._challenge = challenge
        self._length_size = length_size
        self._max_packet_size = max_packet_size
        self._received = b""

    @property
    def peer_name(self) -> str:
        """Name of the other node as far as it is known, else empty."""
        raise NotImplementedError

    def receive_data(self, data: bytes) -> bytes:
        """Take what the peer sent and give what is to be sent to it.

        Stops in the states in which the owner has to act; what is left then waits for the next call
        (``receive_data(b"")``), or for `take_rest`.

        Raises:
            HandshakeError: the handshake has failed; its class says how.
            RemoteProtocolError: the peer broke the protocol.
        """
        self._received += data
        answer = b""
        while self.state not in _OWNER_ACTS:
            packet = self._next_packet()
            if packet is None:
                break
            answer += self._receive_packet(packet)
        return answer

    def take_rest(self) -> bytes:
        """What came behind the last packet of the handshake: the first bytes of the connection."""
        rest, self._received = self._received, b""
        return rest

    def lost(self) -> HandshakeError:
        """Why the peer has closed the connection at this point, as far as the protocol tells."""
        raise NotImplementedError

    def _receive_packet(self, packet: bytes) -> bytes:
        raise NotImplementedError

    def _next_packet(self) -> bytes | None:
        if len(self._received) < self._length_size:
            return None
        size = int.from_bytes(self._received[: self._length_size], "big")
        if size > self._max_packet_size:
            raise RemoteProtocolError(
                f"a handshake packet of {size} bytes was announced, {self._max_packet_size} are allowed"
            )
        end = self._length_size + size
        if len(self._received) < end:
            return None
        packet, self._received = self._received[self._length_size : end], self._received[end:]
        return packet

    def _framed(self, packet: bytes) -> bytes:
        return len(packet).to_bytes(self._length_size, "big") + packet

    def _advance(self, what: str) -> State:
        following = self.table.get((self.state, what))
        if following is None:
            raise RemoteProtocolError(f"{what!r} came while the {self.state.value} was waited for")
        self.state = following
        return following

    def _new_peer(self, name: str, creation: int, ours: int, theirs: int, we_started: bool) -> Peer:
        common = expand_digest(ours) & expand_digest(theirs)
        hidden = not common & DFLAG_PUBLISHED
        published = bool(theirs & DFLAG_PUBLISHED)
        return Peer(Atom(name), creation, common & ~DFLAG_NAME_ME, hidden, we_started, published)


class WeStarted(Handshake):
    """The handshake of the node that dials.

    Args:
        dialled: full name of the node that is dialled; it has to answer with this name.
        cookie: the cookie for that node.
    """

    table = WE_STARTED

    def __init__(
        self,
        identity: NodeIdentity,
        dialled: str,
        cookie: bytes,
        challenge: int,
        *,
        length_size: int = 2,
        max_packet_size: int = 4096,
    ) -> None:
        super().__init__(
            identity, State.WAIT_STATUS, challenge, length_size=length_size, max_packet_size=max_packet_size
        )
        self.granted: NodeIdentity | None = None
        """Who this node is from now on, where it had no name and was given one."""
        self._dialled = dialled
        self._cookie = cookie
        self._theirs: Challenge | None = None

    @property
    def peer_name(self) -> str:
        return self._dialled

    def start(self) -> bytes:
        """The first packet: ``send_name``."""
        identity = self.identity
        creation = 0 if identity.is_dynamic else identity.creation
        return self._framed(encode_send_name(SendName(identity.name, identity.announced_flags(), creation)))

    def lost(self) -> HandshakeError:
        # A peer that finds our digest wrong says nothing: it closes.
        if self.state is State.WAIT_ACK:
            return BadCookie(self._dialled)
        return HandshakeError(self._dialled, f"it closed the connection when its {self.state.value} was expected")

    def _receive_packet(self, packet: bytes) -> bytes:
        if self.state is State.WAIT_STATUS:
            return self._receive_status(decode_status(packet))
        if self.state is State.WAIT_CHALLENGE:
            return self._receive_challenge(decode_challenge(packet))
        return self._receive_ack(decode_challenge_ack(packet))

    def _receive_status(self, status: Status) -> bytes:
        self._advance(status.text)
        if self.state is State.WAIT_CHALLENGE and (status.text == "named") != self.identity.is_dynamic:
            asked = "asked" if self.identity.is_dynamic else "did not ask"
            raise RemoteProtocolError(f"status {status.text!r} to a node that {asked} for a name")
        match status.text:
            case "nok":
                raise LostToSimultaneous(self._dialled)
            case "not_allowed":
                raise NotAllowed(self._dialled)
            case "alive":
                # It has not noticed that the earlier connection is gone, or we would not dial.
                return self._framed(encode_status(Status("true")))
            case "named":
                if not is_node_name(status.node_name):
                    raise RemoteProtocolError(f"it grants the name {status.node_name!r}, which is none")
                flags = self.identity.flags & ~DFLAG_PUBLISHED
                self.granted = replace(self.identity, name=status.node_name, creation=status.creation, flags=flags)
        return b""

    def _receive_challenge(self, challenge: Challenge) -> bytes:
        if challenge.node_name != self._dialled:
            raise HandshakeError(self._dialled, f"the node that answers there calls itself {challenge.node_name!r}")
        missing = missing_flags(challenge.flags)
        if missing:
            raise MissingFlags(self._dialled, missing)
        self._advance("challenge")
        self._theirs = challenge
        proof = challenge_digest(challenge.challenge, self._cookie)
        return self._framed(encode_challenge_reply(ChallengeReply(self._challenge, proof)))

    def _receive_ack(self, ack: ChallengeAck) -> bytes:
        if not compare_digest(ack.digest, challenge_digest(self._challenge, self._cookie)):
            raise BadCookie(self._dialled)
        self._advance("challenge_ack")
        theirs = self._theirs
        assert theirs is not None
        ours = self.identity.announced_flags()
        self.peer = self._new_peer(self._dialled, theirs.creation, ours, theirs.flags, we_started=True)
        return b""


class OtherStarted(Handshake):
    """The handshake of the node that is dialled."""

    table = OTHER_STARTED

    def __init__(
        self, identity: NodeIdentity, challenge: int, *, length_size: int = 2, max_packet_size: int = 4096
    ) -> None:
        super().__init__(identity, State.WAIT_NAME, challenge, length_size=length_size, max_packet_size=max_packet_size)
        self.send_name: SendName | None = None
        """What the peer said it is; set from `State.DECIDING` on."""
        self._granted: SendName | None = None
        self._cookie = b""
        self._proof = b""

    @property
    def wants_name(self) -> bool:
        """Whether the peer asks to be given a name; its ``send_name`` then has the host only."""
        return self.send_name is not None and bool(self.send_name.flags & DFLAG_NAME_ME)

    @property
    def peer_name(self) -> str:
        known = self._granted or self.send_name
        return "" if known is None else known.node_name

    def decide(self, verdict: Verdict, cookie: bytes = b"", *, name: str = "", creation: int = 0) -> bytes:
        """In `State.DECIDING`: what is thought of the peer. Gives what is to be sent.

        Args:
            cookie: the cookie for this peer, unless the verdict ends the handshake.
            name, creation: with `Verdict.NAMED`, what the peer is called from now on.
        """
        send_name = self.send_name
        if self.state is not State.DECIDING or send_name is None:
            raise LocalProtocolError(f"nothing to decide while the {self.state.value} is waited for")
        following = self._advance(verdict.value)
        self._cookie = cookie
        if verdict is Verdict.NAMED:
            self._granted = SendName(name, send_name.flags, creation)
        status = self._framed(encode_status(Status(verdict.value, name, creation)))
        return status + self._send_challenge() if following is State.WAIT_REPLY else status

    def accept(self) -> bytes:
        """In `State.AUTHENTICATED`: the last packet, after which the connection is up."""
        self._advance("accept")
        return self._framed(encode_challenge_ack(ChallengeAck(self._proof)))

    def lost(self) -> HandshakeError:
        return HandshakeError(self.peer_name, f"it closed the connection when its {self.state.value} was expected")

    def _receive_packet(self, packet: bytes) -> bytes:
        if self.state is State.WAIT_NAME:
            self.send_name = decode_send_name(packet)
            self._advance("send_name")
            return b""
        if self.state is State.WAIT_ANSWER:
            if self._advance(decode_status(packet).text) is State.FAILED:
                raise HandshakeError(self.peer_name, "it says that its earlier connection is alive")
            return self._send_challenge()
        return self._receive_reply(decode_challenge_reply(packet))

    def _announced_flags(self) -> int:
        # A node that asked for a name crashes (OTP 25) unless both flag words have NAME_ME.
        return (self.identity.flags | DFLAG_NAME_ME) & ~DFLAG_PUBLISHED if self.wants_name else self.identity.flags

    def _send_challenge(self) -> bytes:
        ours = self.identity
        return self._framed(
            encode_challenge(Challenge(ours.name, self._announced_flags(), ours.creation, self._challenge))
        )

    def _receive_reply(self, reply: ChallengeReply) -> bytes:
        if not compare_digest(reply.digest, challenge_digest(self._challenge, self._cookie)):
            self.state = State.FAILED
            raise BadCookie(self.peer_name)
        self._advance("challenge_reply")
        self._proof = challenge_digest(reply.challenge, self._cookie)
        theirs = self._granted or self.send_name
        assert theirs is not None
        self.peer = self._new_peer(
            theirs.node_name, theirs.creation, self._announced_flags(), theirs.flags, we_started=False
        )
        return b""
