"""What a Pub/Sub Topic does: checks what is published, puts it in order, and passes it on.

A message is passed on if its publisher may publish in the topic and has signed it; of each publisher in the order of
their numbers, after all that it depends on, and once to each subscriber. One that came too early waits: for a while
for the numbers before it, which then are left out; and for what it depends on, without which it is dropped.

On a node that is no relay of the topic, this engine is a subscriber of the relays, as long as it has subscribers
itself. Subscribers of this node and its cluster are watched; those of other nodes have to subscribe again in time.

Differences from the specification:

* The publishers are those of the topic's advert, or its creator alone.
* A message's id is the digest of what its publisher signs: the signature is not part of it.
* An acknowledgement says which message it acknowledges.
* Numbers that never come hold nobody up for longer than a while; so does a subscription whose node is gone.
* How messages get from node to node is open there: they go to the relays, and from there to the nodes that subscribe.

Pure: a function of environment and message to effects.

Source: nspec v0.2.0, "Pub/Sub Topic"; the behaviour is ours, the specification has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

from anoma.persistent_map import PersistentMap
from engines.effects import Effects, SetTimer, Unwatch, Watch
from engines.guards import EngineBehaviour, First, Turn, on, on_elapsed, on_ended, on_started
from engines.messages import Address, EngineID
from engines.network_registry.adverts import (
    NodeID,
    PublisherID,
    is_remote,
    is_signed_by,
    node_of,
    node_text,
    topic_name,
)
from engines.network_registry.messages import TopicAdvert
from engines.network_registry.work import Work, ignore_remote
from engines.pub_sub_topic.messages import (
    MESSAGES,
    Denied,
    Forward,
    NotSubscribed,
    SubReply,
    SubRequest,
    Success,
    TopicMsg,
    TopicMsgID,
    UnsubReply,
    UnsubRequest,
)
from engines.wire import Value, settings_from

HOLD: Final = "hold"
RENEW: Final = "renew"
MAX_AT_ONCE: Final = 64
"""Messages that are waited for no longer, in one turn."""
NOTE_S: Final = 1.0
"""No more than one line in the log within this time is about what others send."""

Place = tuple[PublisherID, int]
"""Publisher and number of a message."""


@dataclass(frozen=True, slots=True)
class TopicLimits(Value):
    """What topics may cost.

    Attributes:
        max_subscribers: of one topic.
        lease_s: how long another node's subscription lasts.
        hold_s: how long a message waits for those before it.
        max_waiting: messages that wait; beyond, further ones are dropped.
        max_known: ids that are remembered, of the latest messages: what depends on an older one is dropped.
        readers: nodes that may subscribe; None: all.
    """

    max_subscribers: int = 10_000
    lease_s: float = 600.0
    hold_s: float = 10.0
    max_waiting: int = 1_000
    max_known: int = 10_000
    readers: frozenset[bytes] | None = None


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """One topic.

    Attributes:
        node: this node.
        advert: the topic's.
        limits: for all topics of the node.
    """

    node: NodeID
    advert: TopicAdvert
    limits: TopicLimits = field(default_factory=TopicLimits)


@dataclass(frozen=True, slots=True)
class Held:
    """A message that came too early.

    Attributes:
        source: who it is from.
        since: when it came, in seconds since 1970-01-01 UTC.
    """

    message: TopicMsg
    id: TopicMsgID
    source: Address | None
    since: float


@dataclass(frozen=True, slots=True)
class TopicState:
    """Who subscribes, and what has come.

    Attributes:
        advert: the topic's latest.
        subscribers: until when, in seconds since 1970-01-01 UTC; those that are watched have no end.
        last_seq: number of the last message of each publisher that was passed on, or left out.
        known: of the messages that were passed on, the ids of the latest, and their numbers in `order`.
        order: the same the other way round.
        next_known: for the next of these numbers.
        waiting: messages that came too early.
        dependents: id of a message that is missing, and the places of those that wait for it.
        is_subscribed: whether the relays have been asked.
        noted_at: when the last line went to the log.
    """

    advert: TopicAdvert
    subscribers: PersistentMap[Address, float] = field(default_factory=PersistentMap)
    last_seq: PersistentMap[PublisherID, int] = field(default_factory=PersistentMap)
    known: PersistentMap[TopicMsgID, int] = field(default_factory=PersistentMap)
    order: PersistentMap[int, TopicMsgID] = field(default_factory=PersistentMap)
    next_known: int = 1
    waiting: PersistentMap[Place, Held] = field(default_factory=PersistentMap)
    dependents: PersistentMap[TopicMsgID, tuple[Place, ...]] = field(default_factory=PersistentMap)
    is_subscribed: bool = False
    noted_at: float = -NOTE_S


# -- operations -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Note:
    """Write to the log what whoever runs the node should know."""

    text: str


# -- actions ----------------------------------------------------------------------------------

Step = Work[TopicState]


def start(args: object) -> tuple[TopicSettings, TopicState]:
    """The settings, and the first state.

    Raises:
        ValueError: `args` is not `TopicSettings`.
    """
    settings = settings_from(TopicSettings, args)
    return settings, TopicState(settings.advert)


def begin(turn: Turn[TopicState], _args: None) -> Effects[TopicState]:
    """Subscribe at the relays, if this node is one itself."""
    work = Work(turn)
    renew(work)
    return work.effects()


def advert(turn: Turn[TopicState], _args: None) -> Effects[TopicState]:
    """Go by a newer advert."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, TopicAdvert)
    if message.id != turn.state.advert.id or message.version <= turn.state.advert.version:
        return Effects(turn.state)
    work.state = replace(work.state, advert=message)
    renew(work)
    return work.effects()


def forward(turn: Turn[TopicState], _args: None) -> Effects[TopicState]:
    """Pass a message on, if it is in order and its time has come."""
    work = Work(turn)
    state = turn.state
    message = turn.message
    assert isinstance(message, Forward)
    topic_msg = message.message
    publisher = topic_msg.publisher
    place = (publisher, topic_msg.seq)
    if topic_msg.seq <= state.last_seq.get(publisher, 0) or place in state.waiting:
        return Effects(turn.state)
    topic = state.advert.id
    allowed = state.advert.publishers or frozenset((topic,))
    if publisher not in allowed:
        note(work, f"{node_text(publisher)[:16]} may not publish in topic {node_text(topic)[:16]}")
        return work.effects()
    if not is_signed_by(topic_msg, publisher, topic):
        what = f"a message in topic {node_text(topic)[:16]} is not signed by {node_text(publisher)[:16]}"
        note(work, f"{what}, who it says that it is from")
        return work.effects()
    is_next = topic_msg.seq == state.last_seq.get(publisher, 0) + 1 and all(
        dep in state.known for dep in topic_msg.deps
    )
    if not is_next and len(state.waiting) >= turn.settings.limits.max_waiting:
        what = f"{len(state.waiting)} messages wait in topic {node_text(topic)[:16]}"
        note(work, f"{what}; another one, of {node_text(publisher)[:16]}, is dropped")
        return work.effects()
    held = Held(topic_msg, topic_msg.id_in(topic), turn.sender, turn.time_s)
    work.state = replace(state, waiting=state.waiting.put(place, held))
    settle(work, [place])
    if len(work.state.waiting) and HOLD not in turn.environment.timers:
        work.timers.append(SetTimer(HOLD, turn.settings.limits.hold_s))
    return work.effects()


def note(work: Step, text: str) -> None:
    """Write to the log, unless that was done just now: others must not fill it."""
    if work.now - work.state.noted_at >= NOTE_S:
        work.state = replace(work.state, noted_at=work.now)
        work.operations.append(Note(text))


def settle(work: Step, places: list[Place]) -> None:
    """Pass on those of the messages whose time has come, and those that waited for them."""
    while places:
        publisher, seq = place = places.pop()
        state = work.state
        held = state.waiting.get(place)
        if held is None or seq != state.last_seq.get(publisher, 0) + 1:
            continue
        missing = next((dep for dep in held.message.deps if dep not in state.known), None)
        if missing is not None:
            waiting_for = state.dependents.get(missing, ())
            if place not in waiting_for:
                work.state = replace(state, dependents=state.dependents.put(missing, (*waiting_for, place)))
            continue
        pass_on(work, held)
        places.extend(step_on(work, place, held.id))


def step_on(work: Step, place: Place, passed_on: TopicMsgID | None) -> list[Place]:
    """A message has been passed on, or is left out (None); the places of those whose time may have come by that."""
    state = work.state
    publisher, seq = place
    state = replace(state, waiting=state.waiting.without(place), last_seq=state.last_seq.put(publisher, seq))
    places: list[Place] = [(publisher, seq + 1)]
    if passed_on is not None:
        places.extend(state.dependents.get(passed_on, ()))
        known = state.known.put(passed_on, state.next_known)
        order = state.order.put(state.next_known, passed_on)
        oldest = state.next_known - work.settings.limits.max_known
        if oldest in order:
            known = known.without(order[oldest])
            order = order.without(oldest)
        state = replace(
            state,
            dependents=state.dependents.without(passed_on),
            known=known,
            order=order,
            next_known=state.next_known + 1,
        )
    work.state = state
    return places


def pass_on(work: Step, held: Held) -> None:
    """Give a message to all subscribers, and to the relays, but not back to where it is from."""
    state = work.state
    told = {held.source}
    for subscriber, until in state.subscribers.items():
        if until > work.now and subscriber not in told:
            told.add(subscriber)
            work.send(subscriber, Forward(held.message))
    for relay in relays(work):
        if relay not in told:
            told.add(relay)
            work.send(relay, Forward(held.message))


def relays(work: Step) -> list[EngineID]:
    """The engines of the topic on its relays, but for this one."""
    topic = work.state.advert
    own = work.settings.node
    return [EngineID(node_text(relay), topic_name(topic.id)) for relay in topic.relays if relay != own]


def subscribe(turn: Turn[TopicState], _args: None) -> Effects[TopicState]:
    """Take a subscriber, if it may be one."""
    work = Work(turn)
    state = turn.state
    message = turn.message
    assert isinstance(message, SubRequest)
    limits: TopicLimits = turn.settings.limits
    sender = turn.sender
    remote = is_remote(sender)
    is_new = sender not in state.subscribers
    may_read = (
        not remote
        or limits.readers is None
        or (isinstance(sender, EngineID) and node_of(sender.node) in limits.readers)
    )
    full = is_new and len(state.subscribers) >= limits.max_subscribers
    if sender is None or message.topic != state.advert.id or not may_read or full:
        return Effects(state, replies=(SubReply(message.topic, Denied()),))
    until = turn.time_s + limits.lease_s if remote else inf
    work.state = replace(state, subscribers=state.subscribers.put(sender, until))
    if not remote:
        work.watches.append(Watch(sender))
    work.replies.append(SubReply(message.topic, Success()))
    if not state.is_subscribed:
        renew(work)
    return work.effects()


def unsubscribe(turn: Turn[TopicState], _args: None) -> Effects[TopicState]:
    """Let a subscriber go."""
    work = Work(turn)
    message = turn.message
    assert isinstance(message, UnsubRequest)
    sender = turn.sender
    is_known = sender is not None and sender in turn.state.subscribers and message.topic == turn.state.advert.id
    if is_known:
        assert sender is not None
        remove(work, sender)
        if not is_remote(sender):
            work.watches.append(Unwatch(sender))
    work.replies.append(UnsubReply(message.topic, Success() if is_known else NotSubscribed()))
    return work.effects()


def remove(work: Step, subscriber: Address) -> None:
    """Forget a subscriber; without any, end the subscription at the relays."""
    state = work.state
    work.state = state = replace(state, subscribers=state.subscribers.without(subscriber))
    if state.is_subscribed and not is_needed(work):
        for relay in relays(work):
            work.send(relay, UnsubRequest(state.advert.id))
        work.state = replace(state, is_subscribed=False)


def subscriber_ended(turn: Turn[TopicState], _args: None) -> Effects[TopicState]:
    """Forget a subscriber that has ended."""
    work = Work(turn)
    remove(work, turn.ended.address)
    return work.effects()


def sub_reply(turn: Turn[TopicState], _args: None) -> Effects[TopicState]:
    """Say so where a relay does not want this node."""
    message = turn.message
    assert isinstance(message, SubReply)
    if isinstance(message.result, Success):
        return Effects(turn.state)
    topic = node_text(message.topic)[:16]
    return Effects(turn.state, operations=(Note(f"{turn.sender} does not let this node have topic {topic}"),))


# -- timers -----------------------------------------------------------------------------------


def elapsed(turn: Turn[TopicState], _args: None) -> Effects[TopicState]:
    """Wait no longer for what does not come; subscribe again at the relays, and forget nodes that do not."""
    work = Work(turn)
    handles = turn.handles
    if HOLD in handles:
        wait_no_longer(work)
    if RENEW in handles:
        for subscriber, until in work.state.subscribers.items():
            if until <= work.now:
                remove(work, subscriber)
        renew(work)
    return work.effects()


def wait_no_longer(work: Step) -> None:
    """Leave out numbers that have not come in time, and messages whose dependencies have not."""
    hold_s = work.settings.limits.hold_s
    for _ in range(MAX_AT_ONCE):
        place = overdue(work)
        if place is None:
            break
        held = work.state.waiting[place]
        if any(dep not in work.state.known for dep in held.message.deps):
            settle(work, step_on(work, place, None))
        else:
            pass_on(work, held)
            settle(work, step_on(work, place, held.id))
    left = [held.since for held in work.state.waiting.values()]
    if left:
        soon = 0.01 if overdue(work) is not None else hold_s / 10
        work.timers.append(SetTimer(HOLD, max(soon, min(left) + hold_s - work.now)))
    known = work.state.waiting
    dependents = work.state.dependents
    for missing, places in dependents.items():
        kept = tuple(place for place in places if place in known)
        if not kept:
            dependents = dependents.without(missing)
        elif len(kept) < len(places):
            dependents = dependents.put(missing, kept)
    work.state = replace(work.state, dependents=dependents)


def overdue(work: Step) -> Place | None:
    """The message to wait for no longer, next; None: there is none.

    Of a publisher it is the one with the lowest number, once any of its messages has waited long enough. One that
    depends on another that waits has to wait for that.
    """
    state = work.state
    hold_s = work.settings.limits.hold_s
    ids = {held.id for held in state.waiting.values()}
    late = {publisher for (publisher, _), held in state.waiting.items() if held.since + hold_s <= work.now}
    lowest: dict[PublisherID, int] = {}
    for publisher, seq in state.waiting:
        lowest[publisher] = min(lowest.get(publisher, seq), seq)
    hopeless = None
    for place in sorted((publisher, lowest[publisher]) for publisher in late):
        missing = [dep for dep in state.waiting[place].message.deps if dep not in state.known]
        if not missing:
            return place
        if hopeless is None and not ids.intersection(missing):
            hopeless = place
    return hopeless


def is_needed(work: Step) -> bool:
    """Whether the relays' messages are of use here."""
    return len(work.state.subscribers) > 0 or work.settings.node in work.state.advert.relays


def renew(work: Step) -> None:
    """Subscribe at the relays, for another while."""
    if is_needed(work):
        for relay in relays(work):
            work.send(relay, SubRequest(work.state.advert.id))
        work.state = replace(work.state, is_subscribed=True)
    work.timers.append(SetTimer(RENEW, work.settings.limits.lease_s / 3))


BEHAVIOUR: Final[EngineBehaviour[TopicState]] = EngineBehaviour(
    "pub_sub_topic",
    MESSAGES,
    start,
    First(
        on_started(begin),
        on(Forward, forward),
        on(SubRequest, subscribe),
        on(UnsubRequest, unsubscribe),
        on(SubReply, sub_reply),
        on(TopicAdvert, advert, when=lambda turn: not is_remote(turn.sender)),
        on_elapsed(elapsed),
        on_ended(subscriber_ended),
        ignore_remote,
    ),
)
