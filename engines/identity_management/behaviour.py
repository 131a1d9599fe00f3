"""What Identity Management does: makes identities, shares them, and gives them up.

The private keys of an identity are in the backend that was asked for. With each identity goes a Commitment engine to
sign and a Decryption engine to decrypt with it, or one of the two; whoever has the address of one can use it. An
identity has an owner, who made it, and others may hold it with no more capabilities than it has; it ends with its last
holder. What an owner has given up can be connected to no more, and those who hold it keep it.

Differences from the specification:

* an identity has keys of its own, and their hash for a name; there it had the name of whoever asked, and so everybody
  could have one only;
* it has an owner, and deleting it is for those who hold it: known by their address, or by the authority that came with
  it; there everybody could delete everything;
* deleting ends its engines at the last holder; there they went on for ever;
* `params` and `backend` are looked at, and what is not offered is an error; there they were ignored. A remote
  connection is to the Identity Management of another node;
* its engines' addresses have their node, so that they are of use on other nodes, and names that cannot be guessed;
* an engine of it that crashes is started again under its name.

Source: nspec v0.2.0, "Identity management behaviour", "Identity management environment".
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from typing import Any, Final

from anoma.crypto.identities import ExternalKeys, InternalKeys
from anoma.crypto.keys import Secret
from anoma.crypto.primitives import derive
from anoma.persistent_map import EMPTY, PersistentMap
from engines.commitment.behaviour import CommitmentSettings
from engines.decryption.behaviour import DecryptionSettings
from engines.effects import CancelTimer, Effects, SetTimer, Spawn, StopChild
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed, on_ended, on_outcome
from engines.identity_management.backends import (
    LOCAL_MEMORY,
    Backend,
    Capabilities,
    IDParams,
    LocalConnection,
    RemoteConnection,
    not_offered,
)
from engines.identity_management.messages import (
    MESSAGES,
    ConnectIdentityReply,
    ConnectIdentityRequest,
    DeleteIdentityReply,
    DeleteIdentityRequest,
    Drawn,
    GenerateIdentityReply,
    GenerateIdentityRequest,
)
from engines.messages import Address, EngineID, Envelope
from engines.wire import Value, settings_from

EXISTS: Final = "Identity already exists"
NOT_FOUND: Final = "External identity not found"
NOT_AVAILABLE: Final = "Capabilities not available"
DOES_NOT_EXIST: Final = "Identity does not exist"
NOT_AUTHORIZED: Final = "Not authorized: the identity is held by others"
OTHER_BACKEND: Final = "The identity is in another backend"

KEYS_SIZE: Final = 64
AUTHORITY_SIZE: Final = 16
RANDOM_SIZE: Final = KEYS_SIZE + 32


@dataclass(frozen=True, slots=True)
class IdentityManagementSettings(Value):
    """What it can be started with; all of it has defaults.

    Attributes:
        remote_timeout_ms: how long another node's Identity Management has to answer.
        max_identities: how many identities it keeps.
    """

    remote_timeout_ms: int = 3000
    max_identities: int = 50_000

    def __post_init__(self) -> None:
        if self.remote_timeout_ms <= 0 or self.max_identities < 0:
            raise ValueError("expected a time above 0 and no less than 0 identities")


@dataclass(frozen=True, slots=True)
class Holding:
    """Somebody's share of an identity.

    Attributes:
        authority: who knows it may give the share up.
    """

    holder: Address
    capabilities: Capabilities
    authority: Secret


@dataclass(frozen=True, slots=True)
class IdentityInfo:
    """One identity.

    Attributes:
        keys: public.
        internal: private; None in a remote backend.
        capabilities: of its owner; those of others are within them.
        holdings: who has it; the owner is the first, while `owned`.
        owned: the owner has not given it up.
        shares: how often it has been handed out.
        seed: what the authorities are made of.
    """

    keys: ExternalKeys
    internal: InternalKeys | None
    backend: Backend
    capabilities: Capabilities
    commitment_engine: EngineID | None
    decryption_engine: EngineID | None
    seed: Secret
    holdings: tuple[Holding, ...] = ()
    owned: bool = True
    shares: int = 0

    @property
    def external_identity(self) -> str:
        return self.keys.external_identity

    def held_by(self, holder: Address, capabilities: Capabilities) -> tuple[IdentityInfo, Holding]:
        """With one share more."""
        authority = derive(self.seed.reveal(), f"pyanoma identity authority {self.shares}", AUTHORITY_SIZE)
        holding = Holding(holder, capabilities, Secret(authority))
        return replace(self, holdings=(*self.holdings, holding), shares=self.shares + 1), holding

    def holding_of(self, holder: Address, authority: bytes | None = None) -> int | None:
        """Position of the share of whoever that is."""
        for index, holding in enumerate(self.holdings):
            shown = authority is not None and hmac.compare_digest(holding.authority.reveal(), authority)
            if shown or holding.holder == holder:
                return index
        return None


@dataclass(frozen=True, slots=True)
class Draw:
    """Operation: random bytes for a request."""

    number: int
    size: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is not answered yet.

    Attributes:
        randomness: None until it has been drawn; from then on another node's answer is waited for.
    """

    envelope: Envelope
    randomness: Secret | None = None


@dataclass(frozen=True, slots=True)
class IdentityManagementState:
    """Its state.

    Attributes:
        identities: by name.
        engines: names of the engines that it has started, to the identities that they are for.
        asked: requests that wait, by their number.
        requests: how many there have been.
    """

    identities: PersistentMap[str, IdentityInfo] = EMPTY
    engines: PersistentMap[str, str] = EMPTY
    asked: PersistentMap[int, Asked] = EMPTY
    requests: int = 0


IdentityTurn = Turn[IdentityManagementState]
IdentityEffects = Effects[IdentityManagementState]


def start(args: Any) -> tuple[IdentityManagementSettings, IdentityManagementState]:
    """Settings of nil or a map, see `IdentityManagementSettings`, and no identities."""
    return settings_from(IdentityManagementSettings, args), IdentityManagementState()


# -- actions ----------------------------------------------------------------------------------


def generate_identity(turn: IdentityTurn, _args: None) -> IdentityEffects | None:
    """Draw the random bytes for a new identity, or answer why there is none."""
    request = turn.message
    assert isinstance(request, GenerateIdentityRequest)
    if turn.sender is None:
        return None
    err = None
    if request.params is not IDParams.ED25519:
        err = f"Keys of the kind {request.params.value} are not offered; there is ed25519"
    elif isinstance(request.backend, LocalConnection):
        err = not_offered(request.backend)
    elif len(turn.state.identities) >= turn.settings.max_identities:
        err = f"There are {len(turn.state.identities)} identities, and no more are kept"
    if err is not None:
        return Effects(turn.state, replies=(GenerateIdentityReply(err=err),))
    return _draw(turn)


def connect_identity(turn: IdentityTurn, _args: None) -> IdentityEffects | None:
    """Share an identity, answer why not, or ask the node that has it."""
    request = turn.message
    assert isinstance(request, ConnectIdentityRequest)
    if turn.sender is None:
        return None
    backend = _backend(turn, request.backend)
    info = turn.state.identities.get(request.external_identity)
    if isinstance(backend, LocalConnection):
        err: str | None = not_offered(backend)
    elif info is None and isinstance(backend, RemoteConnection):
        return _draw(turn)
    elif info is None or not info.owned:
        err = NOT_FOUND
    elif info.holding_of(_holder(turn, turn.sender)) is not None:
        err = EXISTS
    elif info.backend != backend:
        err = OTHER_BACKEND
    elif not request.capabilities.within(info.capabilities):
        err = NOT_AVAILABLE
    else:
        info, holding = info.held_by(_holder(turn, turn.sender), request.capabilities)
        state = replace(turn.state, identities=turn.state.identities.put(info.external_identity, info))
        return Effects(state, replies=(_connected(info, holding),))
    return Effects(turn.state, replies=(ConnectIdentityReply(err=err),))


def delete_identity(turn: IdentityTurn, _args: None) -> IdentityEffects | None:
    """Take a share back, and with the last of a capability the engine for it."""
    request = turn.message
    assert isinstance(request, DeleteIdentityRequest)
    if turn.sender is None:
        return None
    info = turn.state.identities.get(request.external_identity)
    if info is None:
        return Effects(turn.state, replies=(DeleteIdentityReply(DOES_NOT_EXIST),))
    index = info.holding_of(_holder(turn, turn.sender), request.authority)
    if index is None:
        return Effects(turn.state, replies=(DeleteIdentityReply(NOT_AUTHORIZED),))
    if info.backend != _backend(turn, request.backend):
        return Effects(turn.state, replies=(DeleteIdentityReply(OTHER_BACKEND),))
    holdings = info.holdings[:index] + info.holdings[index + 1 :]
    left = replace(info, holdings=holdings, owned=info.owned and index > 0)
    if isinstance(info.backend, RemoteConnection):
        return _given_up_elsewhere(turn, left, info.backend)
    commits = any(holding.capabilities.commits for holding in holdings)
    decrypts = any(holding.capabilities.decrypts for holding in holdings)
    gone = [
        engine.name
        for engine, needed in ((info.commitment_engine, commits), (info.decryption_engine, decrypts))
        if engine is not None and not needed
    ]
    engines = turn.state.engines
    for name in gone:
        engines = engines.without(name)
    left = replace(
        left,
        commitment_engine=info.commitment_engine if commits else None,
        decryption_engine=info.decryption_engine if decrypts else None,
    )
    state = replace(turn.state, identities=_kept(turn.state.identities, left), engines=engines)
    return Effects(state, replies=(DeleteIdentityReply(),), spawns=tuple(StopChild(name) for name in gone))


def drawn(turn: IdentityTurn, _args: None) -> IdentityEffects | None:
    """Make the identity, or ask the node that is to have it, or has it."""
    message = turn.message
    assert isinstance(message, Drawn)
    asked = turn.state.asked.get(message.number)
    if asked is None:
        return None
    request = asked.envelope.message
    assert isinstance(request, (GenerateIdentityRequest, ConnectIdentityRequest))
    backend = _backend(turn, request.backend)
    if not isinstance(backend, RemoteConnection):
        return _make(turn, message.number, asked, message.randomness)
    forwarded: GenerateIdentityRequest | ConnectIdentityRequest = replace(request, backend=LOCAL_MEMORY)
    waiting = turn.state.asked.put(message.number, replace(asked, randomness=message.randomness))
    return Effects(
        replace(turn.state, asked=waiting),
        messages=(turn.send(backend.external_identity, forwarded, reference=asked.envelope.reference),),
        timers=(SetTimer(message.number, turn.settings.remote_timeout_ms / 1000),),
    )


def generated_elsewhere(turn: IdentityTurn, _args: None) -> IdentityEffects | None:
    """Hand on the identity that another node has made, or why it has not."""
    reply = turn.message
    assert isinstance(reply, GenerateIdentityReply)
    number = _waiting_for(turn, GenerateIdentityRequest)
    if number is None:
        return _given_back(turn, reply)
    asked = turn.state.asked[number]
    if reply.err is not None or reply.keys is None:
        err = reply.err or "The other node has answered without the identity's keys"
        return _answered(turn, number, turn.state, GenerateIdentityReply(err=err))
    info, holding = _info_elsewhere(turn, asked, reply.keys, reply.commitment_engine, reply.decryption_engine)
    if reply.keys.external_identity in turn.state.identities:
        return _answered(turn, number, turn.state, GenerateIdentityReply(err=EXISTS))
    state = replace(turn.state, identities=turn.state.identities.put(info.external_identity, info))
    return _answered(turn, number, state, _generated(info, holding))


def connected_elsewhere(turn: IdentityTurn, _args: None) -> IdentityEffects | None:
    """Hand on another node's identity, or why it does not share it."""
    reply = turn.message
    assert isinstance(reply, ConnectIdentityReply)
    number = _waiting_for(turn, ConnectIdentityRequest)
    if number is None:
        return None
    asked = turn.state.asked[number]
    wanted: str = asked.envelope.message.external_identity  # type: ignore[attr-defined]  # `_waiting_for` has looked
    if reply.err is not None or reply.keys is None or reply.keys.external_identity != wanted:
        err = reply.err or "The other node has answered with another identity"
        return _answered(turn, number, turn.state, ConnectIdentityReply(err=err))
    if wanted in turn.state.identities:
        return _answered(turn, number, turn.state, ConnectIdentityReply(err=EXISTS))
    info, holding = _info_elsewhere(turn, asked, reply.keys, reply.commitment_engine, reply.decryption_engine)
    state = replace(turn.state, identities=turn.state.identities.put(wanted, info))
    return _answered(turn, number, state, _connected(info, holding))


def give_up_waiting(turn: IdentityTurn, _args: None) -> IdentityEffects | None:
    """Answer requests whose other node has not."""
    state = turn.state
    messages = []
    for number in turn.handles:
        asked = state.asked.get(number)
        if asked is None or not isinstance(number, int):
            continue
        state = replace(state, asked=state.asked.without(number))
        err = f"The other node's identity_management has not answered in {turn.settings.remote_timeout_ms} ms"
        generating = isinstance(asked.envelope.message, GenerateIdentityRequest)
        answer = GenerateIdentityReply(err=err) if generating else ConnectIdentityReply(err=err)
        messages.append(asked.envelope.reply(turn.own, answer))
    return Effects(state, messages=tuple(message for message in messages if message is not None))


def restart_engine(turn: IdentityTurn, _args: None) -> IdentityEffects | None:
    """Start an engine of an identity again."""
    address = turn.ended.address
    if not isinstance(address, EngineID):
        return None
    info = turn.state.identities.get(turn.state.engines.get(address.name))
    if info is None:
        return None
    spawns = tuple(spawn for spawn in _engines_of(info) if spawn.name == address.name)
    return Effects(turn.state, spawns=spawns)


# -- pieces of them ---------------------------------------------------------------------------


def _holder(turn: IdentityTurn, address: Address) -> Address:
    """An address as it is compared: with its node, also for engines of the own one."""
    return address.at(turn.config.node) if isinstance(address, EngineID) else address


def _backend(turn: IdentityTurn, backend: Backend) -> Backend:
    """The backend with its node; a connection to this very engine is local memory."""
    if not isinstance(backend, RemoteConnection):
        return backend
    address = backend.external_identity.at(turn.config.node)
    return LOCAL_MEMORY if address == turn.own else RemoteConnection(address)


def _draw(turn: IdentityTurn) -> IdentityEffects:
    number = turn.state.requests + 1
    asked = turn.state.asked.put(number, Asked(turn.envelope))
    state = replace(turn.state, asked=asked, requests=number)
    return Effects(state, operations=(Draw(number, RANDOM_SIZE + 2 * AUTHORITY_SIZE),))


def _make(turn: IdentityTurn, number: int, asked: Asked, randomness: Secret) -> IdentityEffects:
    """A new identity in local memory, with its engines."""
    request = asked.envelope.message
    assert isinstance(request, GenerateIdentityRequest)
    data = randomness.reveal()
    internal = InternalKeys.of(Secret(data[:KEYS_SIZE]))
    names = data[RANDOM_SIZE:].hex()
    half = len(names) // 2
    committer = EngineID(turn.config.node, f"committer_{names[:half]}") if request.capabilities.commits else None
    decryptor = EngineID(turn.config.node, f"decryptor_{names[half:]}") if request.capabilities.decrypts else None
    seed = Secret(data[KEYS_SIZE:RANDOM_SIZE])
    info = IdentityInfo(internal.external, internal, LOCAL_MEMORY, request.capabilities, committer, decryptor, seed)
    if info.external_identity in turn.state.identities:
        return _answered(turn, number, turn.state, GenerateIdentityReply(err=EXISTS))
    assert asked.envelope.sender is not None
    info, holding = info.held_by(_holder(turn, asked.envelope.sender), request.capabilities)
    spawns = _engines_of(info)
    engines = turn.state.engines
    for spawn in spawns:
        engines = engines.put(spawn.name, info.external_identity)
    state = replace(turn.state, identities=turn.state.identities.put(info.external_identity, info), engines=engines)
    return replace(_answered(turn, number, state, _generated(info, holding)), spawns=spawns)


def _engines_of(info: IdentityInfo) -> tuple[Spawn, ...]:
    """How the engines of an identity in local memory are started."""
    if info.internal is None:
        return ()
    spawns = []
    if info.commitment_engine is not None:
        commitment = CommitmentSettings(info.keys, info.internal.signer, info.backend)
        spawns.append(Spawn("commitment", commitment, info.commitment_engine.name))
    if info.decryption_engine is not None:
        decryption = DecryptionSettings(info.internal.decryptor, info.backend)
        spawns.append(Spawn("decryption", decryption, info.decryption_engine.name))
    return tuple(spawns)


def _answered(
    turn: IdentityTurn,
    number: int,
    state: IdentityManagementState,
    answer: GenerateIdentityReply | ConnectIdentityReply,
) -> IdentityEffects:
    """The answer to a request that has waited."""
    reply = turn.state.asked[number].envelope.reply(turn.own, answer)
    return Effects(
        replace(state, asked=state.asked.without(number)),
        messages=() if reply is None else (reply,),
        timers=(CancelTimer(number),),
    )


def _generated(info: IdentityInfo, holding: Holding) -> GenerateIdentityReply:
    return GenerateIdentityReply(
        info.commitment_engine, info.decryption_engine, info.external_identity, info.keys, holding.authority.reveal()
    )


def _connected(info: IdentityInfo, holding: Holding) -> ConnectIdentityReply:
    return ConnectIdentityReply(
        info.commitment_engine if holding.capabilities.commits else None,
        info.decryption_engine if holding.capabilities.decrypts else None,
        info.keys,
        holding.authority.reveal(),
    )


def _kept(identities: PersistentMap[str, IdentityInfo], info: IdentityInfo) -> PersistentMap[str, IdentityInfo]:
    """With the identity, unless nobody holds it any more."""
    if info.holdings:
        return identities.put(info.external_identity, info)
    return identities.without(info.external_identity)


# -- other nodes ------------------------------------------------------------------------------


def _waiting_for(turn: IdentityTurn, kind: type[GenerateIdentityRequest] | type[ConnectIdentityRequest]) -> int | None:
    """Number of the request that another node's answer is for: the oldest of that kind under its reference."""
    numbers = [
        number
        for number, asked in turn.state.asked.items()
        if isinstance(request := asked.envelope.message, kind)
        and asked.randomness is not None
        and _backend(turn, request.backend) == RemoteConnection(_as_engine(turn))
        and asked.envelope.reference == turn.envelope.reference
    ]
    return min(numbers, default=None)


def _as_engine(turn: IdentityTurn) -> EngineID:
    sender = turn.sender
    return sender.at(turn.config.node) if isinstance(sender, EngineID) else EngineID(None, "")


def _info_elsewhere(
    turn: IdentityTurn, asked: Asked, keys: ExternalKeys, committer: EngineID | None, decryptor: EngineID | None
) -> tuple[IdentityInfo, Holding]:
    request = asked.envelope.message
    assert isinstance(request, (GenerateIdentityRequest, ConnectIdentityRequest))
    assert asked.randomness is not None
    assert asked.envelope.sender is not None
    seed = Secret(asked.randomness.reveal()[KEYS_SIZE:RANDOM_SIZE])
    backend = _backend(turn, request.backend)
    node = _as_engine(turn).node or turn.config.node
    committer = None if committer is None else committer.at(node)
    decryptor = None if decryptor is None else decryptor.at(node)
    info = IdentityInfo(keys, None, backend, request.capabilities, committer, decryptor, seed)
    return info.held_by(_holder(turn, asked.envelope.sender), request.capabilities)


def _given_up_elsewhere(turn: IdentityTurn, left: IdentityInfo, backend: RemoteConnection) -> IdentityEffects:
    """Without a share of another node's identity; with the last one that node hears of it."""
    state = replace(turn.state, identities=_kept(turn.state.identities, left))
    request = DeleteIdentityRequest(left.external_identity)
    messages = () if left.holdings else (turn.send(backend.external_identity, request),)
    return Effects(state, replies=(DeleteIdentityReply(),), messages=messages)


def _given_back(turn: IdentityTurn, reply: GenerateIdentityReply) -> IdentityEffects | None:
    """An identity that came too late for whoever wanted it is not kept."""
    name = reply.external_identity
    if turn.sender is None or name is None or name in turn.state.identities:
        return None
    return Effects(turn.state, messages=(turn.send(turn.sender, DeleteIdentityRequest(name)),))


BEHAVIOUR: Final[EngineBehaviour[IdentityManagementState]] = EngineBehaviour(
    "identity_management",
    MESSAGES,
    start,
    First(
        on(GenerateIdentityRequest, generate_identity),
        on(ConnectIdentityRequest, connect_identity),
        on(DeleteIdentityRequest, delete_identity),
        on_outcome(Drawn, drawn),
        on(GenerateIdentityReply, generated_elsewhere),
        on(ConnectIdentityReply, connected_elsewhere),
        on_elapsed(give_up_waiting),
        on_ended(restart_engine),
    ),
    traps_exits=True,
)
