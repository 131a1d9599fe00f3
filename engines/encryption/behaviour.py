"""What Encryption does: encrypts for an identity, or for one that reads for it.

Every sealed box needs a random key of its own, which is drawn before anything else. Who reads for whom is known by
Reads For. While its evidence is on the way, requests about the same identity wait together.

With the evidence the box is for the identity itself, where its keys are known, else for the nearest that reads for it.
Evidence has keys in it, so a name alone may be enough. A composition has no keys: its boxes are for one that reads for
it.

Differences from the specification:

* evidence counts over any number of steps; it is verified here once more, so that who can send in the name of Reads For
  can hide evidence, but not make it up;
* an error in the answer of Reads For is one for those who wait; there it was ignored;
* an answer that does not come in time is an error for those who wait; there they waited for ever;
* the configured address may be without a node: its own is meant;
* it is not stateless: requests that wait are its state, and the keys for them come from outside;
* threshold encryption is not offered, which is said; there it is marked as not implemented.

Source: nspec v0.2.0, "Encryption behaviour", "Encryption configuration", "Encryption environment".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from anoma.crypto.evidence import EvidenceGraph, ReadsForEvidence, name_of
from anoma.crypto.identities import ExternalKeys, NotOffered, Special, Threshold, encrypt_for
from anoma.crypto.keys import KEY_SIZE, KeyKind, KeyRefused, PrivateKey, Secret
from anoma.crypto.shares import Named
from anoma.persistent_map import EMPTY, PersistentMap
from engines.effects import CancelTimer, Effects, SetTimer
from engines.encryption.messages import MESSAGES, Drawn, Reply, Request
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed, on_outcome
from engines.messages import EngineID, Envelope
from engines.reads_for.messages import QueryReadsForEvidenceReply, QueryReadsForEvidenceRequest
from engines.wire import Value, settings_from

UNKNOWN: Final = (
    "Unknown identity: a name is a hash, and its keys are needed; give the identity in full, or list it in the "
    "configuration (identities), or ask with evidence that has them"
)

READS_FOR: Final = EngineID(None, "reads_for")


@dataclass(frozen=True, slots=True)
class EncryptionSettings(Value):
    """What it can be started with; all of it has defaults.

    Attributes:
        reads_for: address of the Reads For engine.
        evidence_timeout_ms: how long that has to answer.
        identities: identities in full, for requests that have their names.
    """

    reads_for: EngineID = READS_FOR
    evidence_timeout_ms: int = 3000
    identities: tuple[ExternalKeys | Threshold | Special, ...] = ()

    def __post_init__(self) -> None:
        if self.evidence_timeout_ms <= 0:
            raise ValueError("expected a time above 0 as evidence_timeout_ms")


@dataclass(frozen=True, slots=True)
class Draw:
    """Operation: random bytes for a request."""

    number: int
    size: int


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that waits for evidence.

    Attributes:
        number: those with lower ones came earlier.
        ephemeral: the key for its box.
    """

    number: int
    envelope: Envelope
    ephemeral: PrivateKey


@dataclass(frozen=True, slots=True)
class EncryptionState:
    """Its state.

    Attributes:
        requests: how many there have been.
        undrawn: requests whose random key is not there yet, by number.
        pending_requests: requests that wait for evidence, by the identity that they are about.
    """

    requests: int = 0
    undrawn: PersistentMap[int, Envelope] = EMPTY
    pending_requests: PersistentMap[Named, tuple[Pending, ...]] = EMPTY


EncryptionTurn = Turn[EncryptionState]
EncryptionEffects = Effects[EncryptionState]


def start(args: Any) -> tuple[EncryptionSettings, EncryptionState]:
    """Settings of nil or a map, see `EncryptionSettings`, and nobody waiting."""
    return settings_from(EncryptionSettings, args), EncryptionState()


def encrypt(turn: EncryptionTurn, _args: None) -> EncryptionEffects:
    """Draw the random key for the box."""
    number = turn.state.requests + 1
    undrawn = turn.state.undrawn.put(number, turn.envelope)
    return Effects(replace(turn.state, requests=number, undrawn=undrawn), operations=(Draw(number, KEY_SIZE),))


def drawn(turn: EncryptionTurn, _args: None) -> EncryptionEffects | None:
    """Answer, or wait for evidence, which is asked for once for all that wait for it."""
    message = turn.message
    assert isinstance(message, Drawn)
    envelope = turn.state.undrawn.get(message.number)
    if envelope is None:
        return None
    request = envelope.message
    assert isinstance(request, Request)
    settings: EncryptionSettings = turn.settings
    state = replace(turn.state, undrawn=turn.state.undrawn.without(message.number))
    pending = Pending(message.number, envelope, _ephemeral(message.randomness))
    if not request.use_reads_for:
        return Effects(state, messages=_answers(turn, (pending,), EvidenceGraph()))
    identity = _subject(settings, request.external_identity)
    waiting = state.pending_requests.get(identity)
    state = replace(state, pending_requests=state.pending_requests.put(identity, (*(waiting or ()), pending)))
    if waiting is not None:
        return Effects(state)
    query = QueryReadsForEvidenceRequest(identity, transitive=True)
    return Effects(
        state,
        messages=(turn.send(settings.reads_for, query),),
        timers=(SetTimer(identity, settings.evidence_timeout_ms / 1000),),
    )


def reads_for_reply(turn: EncryptionTurn, _args: None) -> EncryptionEffects | None:
    """Answer all who wait for the evidence."""
    answer = turn.message
    assert isinstance(answer, QueryReadsForEvidenceReply)
    identity = answer.external_identity
    waiting = turn.state.pending_requests.get(identity)
    if waiting is None:
        return None
    if answer.err is not None:
        err = f"{turn.settings.reads_for} has no evidence about the identity: {answer.err}"
        messages = _errors(turn, waiting, err)
    else:
        graph: EvidenceGraph[ReadsForEvidence] = EvidenceGraph(item for item in answer.evidence if item.is_valid)
        messages = _answers(turn, waiting, graph)
    return Effects(
        replace(turn.state, pending_requests=turn.state.pending_requests.without(identity)),
        messages=messages,
        timers=(CancelTimer(identity),),
    )


def give_up_waiting(turn: EncryptionTurn, _args: None) -> EncryptionEffects:
    """Answer those whose evidence has not come in time."""
    settings: EncryptionSettings = turn.settings
    pending = turn.state.pending_requests
    err = f"{settings.reads_for} has not answered in {settings.evidence_timeout_ms} ms"
    messages: tuple[Envelope, ...] = ()
    for identity in turn.handles:
        messages += _errors(turn, pending.get(identity, ()), err)
        pending = pending.without(identity)  # type: ignore[arg-type]  # the handles are identities
    return Effects(replace(turn.state, pending_requests=pending), messages=messages)


# -- pieces of them ---------------------------------------------------------------------------


def _from_reads_for(turn: EncryptionTurn) -> bool:
    sender, node = turn.sender, turn.config.node
    return isinstance(sender, EngineID) and sender.at(node) == turn.settings.reads_for.at(node)


def _ephemeral(randomness: Secret) -> PrivateKey:
    return PrivateKey(KeyKind.CURVE25519, randomness.reveal())


def _subject(settings: EncryptionSettings, identity: Named) -> Named:
    """What evidence is asked for: of compositions all is needed, of others the name."""
    full = _in_full(settings, identity)
    return full if isinstance(full, Threshold) else name_of(full)


def _in_full(settings: EncryptionSettings, identity: Named) -> Named:
    if isinstance(identity, str):
        return next((one for one in settings.identities if one.external_identity == identity), identity)
    return identity


def _answers(
    turn: EncryptionTurn, waiting: Iterable[Pending], graph: EvidenceGraph[ReadsForEvidence]
) -> tuple[Envelope, ...]:
    """The replies, in the order in which the requests came."""
    messages = []
    for pending in sorted(waiting, key=lambda one: one.number):
        request = pending.envelope.message
        assert isinstance(request, Request)
        messages.append(pending.envelope.reply(turn.own, _reply(turn.settings, request, pending.ephemeral, graph)))
    return tuple(message for message in messages if message is not None)


def _errors(turn: EncryptionTurn, waiting: Iterable[Pending], err: str) -> tuple[Envelope, ...]:
    ordered = sorted(waiting, key=lambda one: one.number)
    messages = [pending.envelope.reply(turn.own, Reply(b"", err)) for pending in ordered]
    return tuple(message for message in messages if message is not None)


def _reply(
    settings: EncryptionSettings, request: Request, ephemeral: PrivateKey, graph: EvidenceGraph[ReadsForEvidence]
) -> Reply:
    reader = graph.encryptor(_in_full(settings, request.external_identity))
    if reader is None:
        return Reply(b"", UNKNOWN)
    try:
        return Reply(encrypt_for(reader, request.data, ephemeral))
    except (NotOffered, KeyRefused) as error:
        return Reply(b"", str(error))


BEHAVIOUR: Final[EngineBehaviour[EncryptionState]] = EngineBehaviour(
    "encryption",
    MESSAGES,
    start,
    First(
        on(Request, encrypt),
        on_outcome(Drawn, drawn),
        on(QueryReadsForEvidenceReply, reads_for_reply, when=_from_reads_for),
        on_elapsed(give_up_waiting),
    ),
)
