"""What Verification does: tells whether a commitment is that of an identity, or of one that signs for it.

Whether others sign for it is known by Signs For. While its evidence is on the way, requests about the same identity
wait together.

Differences from the specification:

* evidence counts over any number of steps, and in compositions; it is verified here once more, so that who can send in
  the name of Signs For can hide evidence, but not make it up;
* an error in the answer of Signs For is one for those who wait; there it was ignored;
* an answer that does not come in time is an error for those who wait; there they waited for ever;
* the configured address may be without a node: its own is meant.

Source: nspec v0.2.0, "Verification behaviour", "Verification configuration", "Verification environment".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from anoma.crypto.evidence import EvidenceGraph, SignsForEvidence, name_of
from anoma.crypto.identities import ExternalKeys, Special, Threshold
from anoma.crypto.keys import Signature
from anoma.crypto.shares import Named
from anoma.persistent_map import EMPTY, PersistentMap
from engines.effects import CancelTimer, Effects, SetTimer
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed
from engines.messages import EngineID, Envelope
from engines.signs_for.messages import QuerySignsForEvidenceReply, QuerySignsForEvidenceRequest
from engines.verification.messages import MESSAGES, Reply, Request
from engines.wire import Value, settings_from

SIGNS_FOR: Final = EngineID(None, "signs_for")


@dataclass(frozen=True, slots=True)
class VerificationSettings(Value):
    """What it can be started with; all of it has defaults.

    Attributes:
        signs_for: address of the Signs For engine.
        evidence_timeout_ms: how long that has to answer.
        identities: identities in full, for requests that have their names and commitments without keys.
    """

    signs_for: EngineID = SIGNS_FOR
    evidence_timeout_ms: int = 3000
    identities: tuple[ExternalKeys | Threshold | Special, ...] = ()

    def __post_init__(self) -> None:
        if self.evidence_timeout_ms <= 0:
            raise ValueError("expected a time above 0 as evidence_timeout_ms")


@dataclass(frozen=True, slots=True)
class VerificationState:
    """Requests that wait for evidence, in order, by the identity that they are about."""

    pending_requests: PersistentMap[Named, tuple[Envelope, ...]] = EMPTY


VerificationTurn = Turn[VerificationState]
VerificationEffects = Effects[VerificationState]


def start(args: Any) -> tuple[VerificationSettings, VerificationState]:
    """Settings of nil or a map, see `VerificationSettings`, and nobody waiting."""
    return settings_from(VerificationSettings, args), VerificationState()


def verify(turn: VerificationTurn, _args: None) -> VerificationEffects:
    """Answer at once, or wait for evidence, which is asked for once for all that wait for it."""
    request = turn.message
    assert isinstance(request, Request)
    settings: VerificationSettings = turn.settings
    if not request.use_signs_for:
        return Effects(turn.state, replies=(_reply(settings, request, EvidenceGraph()),))
    identity = _subject(settings, request.external_identity)
    waiting = turn.state.pending_requests.get(identity)
    pending = turn.state.pending_requests.put(identity, (*(waiting or ()), turn.envelope))
    state = replace(turn.state, pending_requests=pending)
    if waiting is not None:
        return Effects(state)
    query = QuerySignsForEvidenceRequest(identity, transitive=True)
    return Effects(
        state,
        messages=(turn.send(settings.signs_for, query),),
        timers=(SetTimer(identity, settings.evidence_timeout_ms / 1000),),
    )


def signs_for_reply(turn: VerificationTurn, _args: None) -> VerificationEffects | None:
    """Answer all who wait for the evidence."""
    answer = turn.message
    assert isinstance(answer, QuerySignsForEvidenceReply)
    identity = answer.external_identity
    waiting = turn.state.pending_requests.get(identity)
    if waiting is None:
        return None
    settings: VerificationSettings = turn.settings
    messages = []
    if answer.err is not None:
        err = f"{settings.signs_for} has no evidence about the identity: {answer.err}"
        messages = [envelope.reply(turn.own, Reply(False, err)) for envelope in waiting]
    else:
        graph: EvidenceGraph[SignsForEvidence] = EvidenceGraph(item for item in answer.evidence if item.is_valid)
        for envelope in waiting:
            request = envelope.message
            assert isinstance(request, Request)
            messages.append(envelope.reply(turn.own, _reply(settings, request, graph)))
    return Effects(
        replace(turn.state, pending_requests=turn.state.pending_requests.without(identity)),
        messages=_those_that_go(messages),
        timers=(CancelTimer(identity),),
    )


def give_up_waiting(turn: VerificationTurn, _args: None) -> VerificationEffects:
    """Answer those whose evidence has not come in time."""
    settings: VerificationSettings = turn.settings
    pending = turn.state.pending_requests
    err = f"{settings.signs_for} has not answered in {settings.evidence_timeout_ms} ms"
    messages = []
    for identity in turn.handles:
        waiting = pending.get(identity, ())
        messages += [envelope.reply(turn.own, Reply(False, err)) for envelope in waiting]
        pending = pending.without(identity)  # type: ignore[arg-type]  # the handles are identities
    return Effects(replace(turn.state, pending_requests=pending), messages=_those_that_go(messages))


# -- pieces of them ---------------------------------------------------------------------------


def _from_signs_for(turn: VerificationTurn) -> bool:
    sender, node = turn.sender, turn.config.node
    return isinstance(sender, EngineID) and sender.at(node) == turn.settings.signs_for.at(node)


def _subject(settings: VerificationSettings, identity: Named) -> Named:
    """What evidence is asked for: of compositions all is needed, of others the name."""
    full = _in_full(settings, identity)
    return full if isinstance(full, Threshold) else name_of(full)


def _in_full(settings: VerificationSettings, identity: Named) -> Named:
    if isinstance(identity, str):
        return next((one for one in settings.identities if one.external_identity == identity), identity)
    return identity


def _reply(settings: VerificationSettings, request: Request, graph: EvidenceGraph[SignsForEvidence]) -> Reply:
    identity = graph.in_full(_in_full(settings, request.external_identity))
    if graph.verify(identity, request.data, request.commitment):
        return Reply(True)
    if isinstance(identity, str) and isinstance(request.commitment, Signature):
        err = "Unknown identity: a signature without keys needs them from elsewhere; give the identity in full"
        return Reply(False, err)
    return Reply(False)


def _those_that_go(messages: Iterable[Envelope | None]) -> tuple[Envelope, ...]:
    """Without those whose sender is not known."""
    return tuple(message for message in messages if message is not None)


BEHAVIOUR: Final[EngineBehaviour[VerificationState]] = EngineBehaviour(
    "verification",
    MESSAGES,
    start,
    First(
        on(Request, verify),
        on(QuerySignsForEvidenceReply, signs_for_reply, when=_from_signs_for),
        on_elapsed(give_up_waiting),
    ),
)
